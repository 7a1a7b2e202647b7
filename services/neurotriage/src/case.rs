//! The command `diagnose`: checks its input, runs the suite, writes the report.

mod overlay;

use std::{
    fs,
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use neurotriage_anatomy::Localisation;
use neurotriage_domain::Modality;
use neurotriage_imaging::CaseFiles;
use neurotriage_proto::records::v1::Handedness;
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};
use tokio::runtime::Runtime;

use crate::{
    cli::{DiagnoseArgs, HandednessArg},
    diagnose::{Case, diagnose},
    model,
    output::{print, write_whole},
    phantom,
    progress::Progress,
    report::{Report, fhir, from_proto, from_proto::Answers, html, json, terminal},
    services::Services,
    signal::stop_signal,
    suite::{Ports, Suite},
    up::DataFolder,
};

/// Most bytes of a file of symptoms; the records service takes 20,000 characters.
const SYMPTOMS_BYTES_MAX: u64 = 64 * 1024;

/// A report and where its files are.
pub struct Made {
    /// The report.
    pub report: Report,
    /// Folder with `report.json`, `report.html`, `report.fhir.json`, `overlay.png` and `mask.nii.gz`.
    pub folder: PathBuf,
}

/// Takes one case through the system and prints its report.
///
/// # Errors
/// If the input is wrong, which is found before any work where it can be; if a step fails.
pub fn run(runtime: &Runtime, args: DiagnoseArgs) -> anyhow::Result<()> {
    let as_json = args.json;
    let made = runtime.block_on(async {
        tokio::select! {
            made = make(args, Progress::on_stderr()) => made,
            signal = stop_signal() => {
                signal?;
                bail!("interrupted");
            }
        }
    })?;
    if as_json {
        print(&json::render(&made.report)?)?;
        eprintln!("{}", made.folder.display());
        return Ok(());
    }
    let text = if std::io::stdout().is_terminal() {
        terminal::render_coloured(&made.report)
    } else {
        terminal::render_plain(&made.report)
    };
    print(&format!("{text}\n{}\n", made.folder.display()))
}

/// Takes one case through the system and writes its files.
///
/// # Errors
/// As [`run`].
pub async fn make(args: DiagnoseArgs, mut progress: Progress) -> anyhow::Result<Made> {
    let symptoms = symptoms(&args)?;
    let found = args.case.as_deref().map(CaseFiles::find).transpose()?;
    let now = OffsetDateTime::now_utc();
    let name = case_name(args.case.as_deref());
    let folder = out_folder(args.out.as_deref(), &name, now)?;
    let files = match found {
        Some(files) => files,
        None => {
            progress.step("phantom");
            let folder = folder.clone();
            let write = move || {
                CaseFiles::find(&phantom::write_default(&folder)?)
                    .context("find the phantom's files")
            };
            tokio::task::spawn_blocking(write).await.context("phantom ended abnormally")??
        }
    };
    let case = Case {
        name,
        files: Modality::ALL.into_iter().zip(files.images.iter().cloned()).collect(),
        phantom: args.case.is_none(),
        symptoms,
        handedness: handedness(args.handedness),
        home: args.home,
        hospitals_max: args.hospitals,
    };
    progress.step("start");
    let data = DataFolder::open(args.data.as_deref())?;
    let (model_args, language) = (args.model, args.language);
    let model = tokio::task::spawn_blocking(move || model::start(&model_args))
        .await
        .context("reading the model ended abnormally")??;
    let suite = Suite::start(data.path(), Ports::Free, model).await?;
    let mut services = Services::connect(suite.endpoints())?;
    let generated_at = now.replace_nanosecond(0)?.format(&Rfc3339)?;
    let diagnosis = diagnose(&mut services, &case, generated_at, &mut progress).await?;
    drop(services);
    suite.stop().await?;
    progress.step("picture");
    let (mut answers, mask) = (diagnosis.answers, diagnosis.mask);
    let mask_path = write_whole(&folder, "mask.nii.gz", &mask)?;
    let localisation = localisation(&answers);
    let draw = move || overlay::render(&files, &mask_path, localisation.as_ref());
    let drawn = tokio::task::spawn_blocking(draw).await.context("picture ended abnormally")??;
    answers.run = progress.finish();
    let report = from_proto::report(answers);
    write_whole(&folder, "overlay.png", &drawn.overlay_png)?;
    let page = html::render(&report, &drawn.for_page, language);
    write_whole(&folder, "report.html", page.as_bytes())?;
    let resource = fhir::render(&report, &page, language)?;
    write_whole(&folder, "report.fhir.json", resource.as_bytes())?;
    // Last, so that its presence says that the others are there.
    write_whole(&folder, "report.json", json::render(&report)?.as_bytes())?;
    Ok(Made { report, folder })
}

/// Returns what the localiser knows; `None` if the answers hold nothing that can be read.
fn localisation(answers: &Answers) -> Option<Localisation> {
    let localisation = answers.segmentation.localisation.as_ref()?;
    serde_json::from_str(&localisation.json).ok()
}

fn symptoms(args: &DiagnoseArgs) -> anyhow::Result<String> {
    let Some(given) = &args.symptoms else {
        ensure!(
            args.case.is_none(),
            "no symptoms are given; add --symptoms with the patient's words or a text file"
        );
        return Ok(phantom::DEFAULT_SYMPTOMS.to_owned());
    };
    let text = if is_file(given) { read_symptoms(Path::new(given))? } else { given.clone() };
    ensure!(
        !text.trim().is_empty(),
        "symptoms are empty; give --symptoms the patient's words or a text file that holds them"
    );
    Ok(text)
}

fn is_file(given: &str) -> bool {
    // A text with line breaks or longer than any path is never looked up.
    given.len() < 4096 && Path::new(given).is_file()
}

fn read_symptoms(path: &Path) -> anyhow::Result<String> {
    let failed = || format!("read symptoms from {}", path.display());
    let mut bytes = Vec::new();
    let file = fs::File::open(path).with_context(failed)?;
    file.take(SYMPTOMS_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(failed)?;
    ensure!(
        bytes.len() as u64 <= SYMPTOMS_BYTES_MAX,
        "{}: larger than {SYMPTOMS_BYTES_MAX} bytes; keep the patient's words only",
        path.display()
    );
    String::from_utf8(bytes)
        .with_context(|| format!("{}: not UTF-8 text; save it as UTF-8", path.display()))
}

fn handedness(given: Option<HandednessArg>) -> Handedness {
    match given {
        None => Handedness::Unspecified,
        Some(HandednessArg::Right) => Handedness::Right,
        Some(HandednessArg::Left) => Handedness::Left,
        Some(HandednessArg::Both) => Handedness::Both,
    }
}

/// Longest name of a case; ingestion takes 128 characters.
const NAME_CHARS_MAX: usize = 100;

fn case_name(case: Option<&Path>) -> String {
    let Some(case) = case else { return "phantom".to_owned() };
    // `.` and `..` have no name of their own.
    let whole = case.canonicalize().unwrap_or_else(|_| case.to_owned());
    let name = whole.file_name().map_or_else(|| "case".into(), |name| name.to_string_lossy());
    name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect()
}

fn out_folder(named: Option<&Path>, case: &str, now: OffsetDateTime) -> anyhow::Result<PathBuf> {
    let folder = match named {
        Some(folder) => folder.to_owned(),
        None => {
            let time =
                now.format(format_description!("[year][month][day]T[hour][minute][second]Z"))?;
            Path::new("out").join(format!("{case}-{time}"))
        }
    };
    fs::create_dir_all(&folder)
        .with_context(|| format!("create output folder {}", folder.display()))?;
    folder.canonicalize().with_context(|| format!("open output folder {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: DiagnoseArgs,
    }

    fn args(line: &[&str]) -> DiagnoseArgs {
        Line::parse_from([&["test"], line].concat()).args
    }

    #[test]
    fn symptoms_are_words_or_a_file_and_never_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("symptoms.txt");
        fs::write(&file, "두통이 심하다").unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(symptoms(&args(&["--symptoms", "headache"])).unwrap(), "headache");
        assert_eq!(symptoms(&args(&["--symptoms", path])).unwrap(), "두통이 심하다");
        assert!(!symptoms(&args(&[])).unwrap().is_empty(), "a phantom has symptoms");
        fs::write(folder.path().join("large.txt"), vec![b'a'; 70_000]).unwrap();
        fs::write(folder.path().join("latin.txt"), [0xE9, 0xE8]).unwrap();
        fs::write(folder.path().join("empty.txt"), " \n").unwrap();
        let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let table = [
            ("empty", vec!["--symptoms".to_owned(), String::new()], "symptoms are empty"),
            ("blank", vec!["--symptoms".into(), "  \n".into()], "symptoms are empty"),
            ("blank file", vec!["--symptoms".into(), file("empty.txt")], "symptoms are empty"),
            ("none for a real case", vec!["--case".into(), ".".into()], "add --symptoms"),
            ("large file", vec!["--symptoms".into(), file("large.txt")], "larger than 65536 bytes"),
            ("not UTF-8", vec!["--symptoms".into(), file("latin.txt")], "not UTF-8"),
        ];
        for (case, line, expected) in table {
            let line: Vec<&str> = line.iter().map(String::as_str).collect();
            let error = format!("{:#}", symptoms(&args(&line)).unwrap_err());
            assert!(error.contains(expected), "case {case}: {error}");
        }
    }

    #[test]
    fn a_case_is_named_after_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let case = folder.path().join("case-7");
        fs::create_dir(&case).unwrap();
        assert_eq!(case_name(Some(&case)), "case-7");
        assert_eq!(case_name(Some(&case.join("."))), "case-7");
        assert_eq!(case_name(None), "phantom");
        let made =
            out_folder(Some(&case.join("deep/out")), "x", OffsetDateTime::UNIX_EPOCH).unwrap();
        assert!(made.is_absolute() && made.is_dir());
    }
}
