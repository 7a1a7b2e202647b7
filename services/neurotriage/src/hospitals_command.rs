//! The command `hospitals`: the directory of a running referral service, and a check of a file without
//! one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    records::v1::Coordinates,
    referral::v1::{
        DirectoryForm, ExportHospitalsRequest, GetHospitalRequest, Hospital, ImportHospitalsHeader,
        ImportHospitalsRequest, ImportHospitalsResponse, ImportMode, SearchHospitalsRequest,
        hospital_directory_service_client::HospitalDirectoryServiceClient,
        import_hospitals_request::Content,
    },
};
use neurotriage_referral::directory::{self, FileForm};
use tokio::runtime::Runtime;

use crate::{
    cli::coordinates,
    output::{print, write_whole},
    remote::{self, ServiceChannel, TokenArgs},
    report::plain,
    services::{CALL_TIMEOUT, FILE_TIMEOUT, REFERRAL_ENDPOINT, answer, asking, refused, within},
};

/// Refused rows that are shown before the rest is counted.
const SHOWN_MAX: usize = 50;

/// What `hospitals` takes.
#[derive(Debug, Args)]
pub struct HospitalsCommandArgs {
    #[command(subcommand)]
    action: Action,

    /// Where the referral service answers.
    #[arg(long, env = "REFERRAL_ENDPOINT", global = true, default_value = REFERRAL_ENDPOINT)]
    endpoint: String,

    /// As whom.
    #[command(flatten)]
    token: TokenArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Says what is wrong with a file, without a service.
    Check {
        /// The file.
        file: PathBuf,
        /// Its form; told by its name if not given.
        #[arg(long, value_enum)]
        form: Option<Form>,
    },
    /// Brings the hospitals of a file in: new ones are added, known ones changed. Wrong rows are named
    /// and left out.
    Import {
        /// The file.
        file: PathBuf,
        /// Its form; told by its name if not given.
        #[arg(long, value_enum)]
        form: Option<Form>,
        /// Close the hospitals that the file does not name. Does nothing if a row is wrong.
        #[arg(long)]
        replace: bool,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Writes the directory to a file.
    Export {
        /// The file.
        file: PathBuf,
        /// Its form; told by its name if not given.
        #[arg(long, value_enum)]
        form: Option<Form>,
    },
    /// Shows one hospital.
    Show {
        /// Its id.
        hospital_id: String,
    },
    /// Finds the hospitals nearest to a place.
    Search {
        /// The place: degrees north and east, such as 37.57,126.98.
        #[arg(long, value_name = "LATITUDE,LONGITUDE", value_parser = coordinates, allow_hyphen_values = true)]
        from: (f64, f64),
        /// Greatest distance, in kilometres.
        #[arg(long, value_name = "KM")]
        within_km: Option<f64>,
        /// What a hospital must offer, such as neurosurgery,awake_mapping.
        #[arg(long, value_delimiter = ',', value_name = "NAME")]
        offers: Vec<String>,
        /// Language that a hospital must speak, such as ko.
        #[arg(long, value_name = "TAG", default_value = "", hide_default_value = true)]
        language: String,
        /// Show hospitals that take no referrals as well.
        #[arg(long)]
        closed_too: bool,
        /// Most hospitals to show.
        #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(1..=200))]
        max: u32,
    },
}

/// The form of a file.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// CSV with a header line.
    Csv,
    /// A FHIR R4 bundle in JSON.
    Fhir,
}

impl Form {
    fn of(form: Option<Self>, file: &Path) -> anyhow::Result<Self> {
        if let Some(form) = form {
            return Ok(form);
        }
        let extension = file.extension().map(|name| name.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Fhir),
            _ => bail!("{} is neither .csv nor .json; give --form", file.display()),
        }
    }

    fn wire(self) -> DirectoryForm {
        match self {
            Self::Csv => DirectoryForm::Csv,
            Self::Fhir => DirectoryForm::FhirBundle,
        }
    }

    fn domain(self) -> FileForm {
        match self {
            Self::Csv => FileForm::Csv,
            Self::Fhir => FileForm::FhirBundle,
        }
    }
}

/// Asks the service, or reads the file.
///
/// # Errors
/// If the file can't be read, the service does not answer or refuses, or rows of the file are wrong.
pub fn run(runtime: &Runtime, args: HospitalsCommandArgs) -> anyhow::Result<()> {
    let HospitalsCommandArgs { action, endpoint, token } = args;
    if let Action::Check { file, form } = &action {
        return check(file, Form::of(*form, file)?);
    }
    runtime.block_on(async {
        let mut directory =
            HospitalDirectoryServiceClient::new(remote::connect(&endpoint, &token)?);
        let asked = || asking("referral", &endpoint);
        match action {
            Action::Check { .. } => Ok(()),
            Action::Import { file, form, replace, dry_run } => {
                let form = Form::of(form, &file)?;
                let mode = if replace { ImportMode::Replace } else { ImportMode::Merge };
                let header =
                    ImportHospitalsHeader { form: form.wire().into(), mode: mode.into(), dry_run };
                let bytes = read(&file, form)?;
                let report = import(&mut directory, header, bytes).await.with_context(asked)?;
                print(&report_text(&report))?;
                ensure!(report.refused_count == 0, "{} rows were refused", report.refused_count);
                Ok(())
            }
            Action::Export { file, form } => {
                let form = Form::of(form, &file)?;
                let bytes = export(&mut directory, form).await.with_context(asked)?;
                let folder = match file.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() => folder,
                    Some(_) | None => Path::new("."),
                };
                let name = file.file_name().context("name a file, not a folder")?;
                write_whole(folder, &name.to_string_lossy(), &bytes)?;
                Ok(())
            }
            Action::Show { hospital_id } => {
                let request = within(CALL_TIMEOUT, GetHospitalRequest { hospital_id });
                let call = directory.get_hospital(request);
                let response = answer("get hospital", call).await.with_context(asked)?;
                print(&details(&response.hospital.context("service named no hospital")?))
            }
            Action::Search { from, within_km, offers, language, closed_too, max } => {
                let (latitude_degrees, longitude_degrees) = from;
                let request = SearchHospitalsRequest {
                    from: Some(Coordinates { latitude_degrees, longitude_degrees }),
                    within_km,
                    capabilities: offers,
                    only_accepting: !closed_too,
                    language,
                    hospitals_max: max,
                };
                let call = directory.search_hospitals(within(CALL_TIMEOUT, request));
                let response = answer("search hospitals", call).await.with_context(asked)?;
                if response.hospitals.is_empty() {
                    return print("no hospital of the directory fits\n");
                }
                let mut text = String::new();
                for found in response.hospitals {
                    let hospital = found.hospital.context("service named no hospital")?;
                    text.push_str(&format!("{:8.1} km  {}\n", found.distance_km, line(&hospital)));
                }
                print(&text)
            }
        }
    })
}

fn read(file: &Path, form: Form) -> anyhow::Result<Vec<u8>> {
    let size = fs::metadata(file).with_context(|| format!("read {}", file.display()))?.len();
    let bytes_max = form.domain().bytes_max();
    let fits = usize::try_from(size).is_ok_and(|size| size <= bytes_max);
    ensure!(fits, "{} has {size} bytes; at most {bytes_max} are taken", file.display());
    fs::read(file).with_context(|| format!("read {}", file.display()))
}

fn check(file: &Path, form: Form) -> anyhow::Result<()> {
    let bytes = read(file, form)?;
    let read = directory::read(form.domain(), &bytes)
        .with_context(|| format!("check {}", file.display()))?;
    let mut text = format!("{} hospitals are good\n", read.hospitals.len());
    let refused = read.refused.len();
    let rows = read.refused.into_iter().map(|refusal| {
        let hospital_id = refusal.hospital_id.unwrap_or_default();
        refused_line(&refusal.place, &hospital_id, &refusal.field, &refusal.problem)
    });
    text.push_str(&shown(rows, refused));
    for entry in &read.passed_over {
        text.push_str(&format!("passed over: {}\n", plain(entry)));
    }
    print(&text)?;
    ensure!(refused == 0, "{refused} rows are wrong");
    Ok(())
}

async fn import(
    directory: &mut HospitalDirectoryServiceClient<ServiceChannel>,
    header: ImportHospitalsHeader,
    bytes: Vec<u8>,
) -> anyhow::Result<ImportHospitalsResponse> {
    let mut contents = vec![Content::Header(header)];
    contents.extend(bytes.chunks(CHUNK_BYTES_MAX).map(|piece| Content::Piece(piece.to_vec())));
    let messages =
        contents.into_iter().map(|content| ImportHospitalsRequest { content: Some(content) });
    let request = within(FILE_TIMEOUT, tokio_stream::iter(messages.collect::<Vec<_>>()));
    answer("import hospitals", directory.import_hospitals(request)).await
}

async fn export(
    directory: &mut HospitalDirectoryServiceClient<ServiceChannel>,
    form: Form,
) -> anyhow::Result<Vec<u8>> {
    const ACTION: &str = "export hospitals";
    let request = within(FILE_TIMEOUT, ExportHospitalsRequest { form: form.wire().into() });
    let mut stream = answer(ACTION, directory.export_hospitals(request)).await?;
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await.map_err(|status| refused(ACTION, &status))? {
        bytes.extend(message.piece);
        let bytes_max = form.domain().bytes_max();
        ensure!(bytes.len() <= bytes_max, "the service sent more than {bytes_max} bytes");
    }
    Ok(bytes)
}

fn report_text(report: &ImportHospitalsResponse) -> String {
    let ImportHospitalsResponse { created, updated, unchanged, closed, .. } = report;
    let done = if report.written { "" } else { "nothing was written; it would be: " };
    let mut text = format!(
        "{done}{created} added, {updated} changed, {unchanged} as they were, {closed} closed; directory \
         at revision {}\n",
        report.revision
    );
    let rows = report.refused.iter().map(|refusal| {
        refused_line(&refusal.place, &refusal.hospital_id, &refusal.field, &refusal.problem)
    });
    text.push_str(&shown(rows, usize::try_from(report.refused_count).unwrap_or(usize::MAX)));
    for entry in &report.passed_over {
        text.push_str(&format!("passed over: {}\n", plain(entry)));
    }
    text
}

fn refused_line(place: &str, hospital_id: &str, field: &str, problem: &str) -> String {
    let of = if hospital_id.is_empty() { String::new() } else { format!(", {hospital_id}") };
    plain(&format!("refused: {place}{of}, {field}: {problem}"))
}

/// Returns the first lines and how many more there are.
fn shown(lines: impl Iterator<Item = String>, count: usize) -> String {
    let mut text: String = lines.take(SHOWN_MAX).map(|line| line + "\n").collect();
    if count > SHOWN_MAX {
        text.push_str(&format!("and {} more refused\n", count - SHOWN_MAX));
    }
    text
}

fn line(hospital: &Hospital) -> String {
    let closed = if hospital.accepts_referrals { "" } else { "  takes no referrals" };
    plain(&format!("{}  {}, {}{closed}", hospital.hospital_id, hospital.name, hospital.city))
}

fn details(hospital: &Hospital) -> String {
    let mut text = format!("{}\n", line(hospital));
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<12}{}\n", plain(&value)));
        }
    };
    if let Some(place) = hospital.location {
        row("place", format!("{}, {}", place.latitude_degrees, place.longitude_degrees));
    }
    row("offers", hospital.capabilities.join(", "));
    row("capacity", format!("{:.0} % of referrals", 100.0 * hospital.capacity));
    row("free beds", hospital.beds_free.map_or_else(String::new, |beds| beds.to_string()));
    row("languages", hospital.languages.join(", "));
    for identifier in &hospital.identifiers {
        row("known as", format!("{} {}", identifier.system, identifier.value));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_told_by_the_name() {
        for (file, form) in [("a.csv", "Csv"), ("b/a.CSV", "Csv"), ("a.json", "Fhir")] {
            let told = Form::of(None, Path::new(file)).unwrap();
            assert_eq!(format!("{told:?}"), form, "{file}");
        }
        let error = Form::of(None, Path::new("a.txt")).unwrap_err().to_string();
        assert!(error.contains("--form"), "{error}");
        assert!(matches!(Form::of(Some(Form::Csv), Path::new("a.txt")), Ok(Form::Csv)));
    }

    #[test]
    fn a_report_says_what_was_refused_and_does_not_drive_the_terminal() {
        let refusal = neurotriage_proto::referral::v1::RefusedHospital {
            place: "line 3".to_owned(),
            hospital_id: "example-2".to_owned(),
            field: "name".to_owned(),
            problem: "\u{1b}[31m is empty".to_owned(),
        };
        let report = ImportHospitalsResponse {
            created: 1,
            refused_count: 60,
            refused: vec![refusal; 60],
            ..Default::default()
        };
        let text = report_text(&report);
        assert!(text.starts_with("nothing was written; it would be: 1 added"), "{text}");
        assert!(text.contains("refused: line 3, example-2, name: [31m is empty"), "{text}");
        assert!(text.ends_with("and 10 more refused\n"), "{text}");
    }

    #[test]
    fn a_checked_file_names_its_wrong_rows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hospitals.csv");
        fs::write(&file, "hospital_id,name\n").unwrap();
        let error = format!("{:#}", check(&file, Form::Csv).unwrap_err());
        assert!(error.contains("`city` is missing"), "{error}");
        let missing = folder.path().join("missing.csv");
        let error = format!("{:#}", check(&missing, Form::Csv).unwrap_err());
        assert!(error.contains("missing.csv"), "{error}");
    }
}
