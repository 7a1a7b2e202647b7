//! The command `fhir`: a patient's story out of a running suite, and bundles into it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use neurotriage_fhir::bundle::BYTES_MAX;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    fhir::v1::{
        EntryNote, EntryOutcome, EntryResult, ExportPatientRequest, ImportBundleHeader,
        ImportBundleRequest, ImportBundleResponse, StoryPart,
        fhir_service_client::FhirServiceClient, import_bundle_request::Content,
    },
};
use tokio::runtime::Runtime;

use crate::{
    output::{print, write_whole},
    remote::{self, ServiceChannel, TokenArgs},
    report::plain,
    services::{FILE_TIMEOUT, REFERRAL_ENDPOINT, answer, asking, refused, within},
};

/// Refused entries that are shown before the rest is counted.
const SHOWN_MAX: usize = 50;

/// What `fhir` takes.
#[derive(Debug, Args)]
pub struct FhirCommandArgs {
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
    /// Writes a patient's story as a FHIR R4 Bundle.
    Export {
        /// The patient: a UUID.
        patient_id: String,
        /// File to write; stdout if not given.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Parts to write, such as symptoms,imaging; all if not given.
        #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
        parts: Vec<Part>,
    },
    /// Brings the patients, symptoms and hospitals of a FHIR R4 Bundle in. Wrong entries are named and left
    /// out; the same bundle again changes nothing.
    Import {
        /// The bundle, in JSON.
        file: PathBuf,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

/// A part of a story.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Part {
    /// Symptom reports and findings.
    Symptoms,
    /// Notes.
    Notes,
    /// Imaging studies.
    Imaging,
    /// Assessments, with what was found in the images.
    Assessments,
    /// Referrals and the hospitals they go to.
    Referrals,
}

impl Part {
    fn wire(self) -> StoryPart {
        match self {
            Self::Symptoms => StoryPart::Symptoms,
            Self::Notes => StoryPart::Notes,
            Self::Imaging => StoryPart::Imaging,
            Self::Assessments => StoryPart::Assessments,
            Self::Referrals => StoryPart::Referrals,
        }
    }
}

/// Asks the service.
///
/// # Errors
/// If a file can't be read or written, the service does not answer or refuses, or entries of the bundle
/// are wrong.
pub fn run(runtime: &Runtime, args: FhirCommandArgs) -> anyhow::Result<()> {
    let FhirCommandArgs { action, endpoint, token } = args;
    runtime.block_on(async {
        let mut fhir = FhirServiceClient::new(remote::connect(&endpoint, &token)?);
        let asked = || asking("referral", &endpoint);
        match action {
            Action::Export { patient_id, output, parts } => {
                let parts = parts.into_iter().map(|part| part.wire().into()).collect();
                let request = ExportPatientRequest { patient_id, created_from: None, parts };
                let bytes = export(&mut fhir, request).await.with_context(asked)?;
                write(output.as_deref(), bytes)
            }
            Action::Import { file, dry_run } => {
                let bytes = read(&file)?;
                let response = import(&mut fhir, dry_run, bytes).await.with_context(asked)?;
                let (text, refused) = report_text(&response);
                print(&text)?;
                match refused {
                    0 => Ok(()),
                    1 => bail!("1 entry was refused"),
                    _ => bail!("{refused} entries were refused"),
                }
            }
        }
    })
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let size = fs::metadata(file).with_context(|| format!("read {}", file.display()))?.len();
    let fits = usize::try_from(size).is_ok_and(|size| size <= BYTES_MAX);
    ensure!(fits, "{} has {size} bytes; at most {BYTES_MAX} are taken", file.display());
    fs::read(file).with_context(|| format!("read {}", file.display()))
}

fn write(output: Option<&Path>, bytes: Vec<u8>) -> anyhow::Result<()> {
    let Some(file) = output else {
        let text = String::from_utf8(bytes).context("the service sent no UTF-8")?;
        return print(&format!("{text}\n"));
    };
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let name = file.file_name().context("name a file, not a folder")?;
    write_whole(folder, &name.to_string_lossy(), &bytes)?;
    Ok(())
}

async fn export(
    fhir: &mut FhirServiceClient<ServiceChannel>,
    request: ExportPatientRequest,
) -> anyhow::Result<Vec<u8>> {
    const ACTION: &str = "export patient";
    let mut stream = answer(ACTION, fhir.export_patient(within(FILE_TIMEOUT, request))).await?;
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await.map_err(|status| refused(ACTION, &status))? {
        bytes.extend(message.piece);
        ensure!(bytes.len() <= BYTES_MAX, "the service sent more than {BYTES_MAX} bytes");
    }
    Ok(bytes)
}

async fn import(
    fhir: &mut FhirServiceClient<ServiceChannel>,
    dry_run: bool,
    bytes: Vec<u8>,
) -> anyhow::Result<ImportBundleResponse> {
    let mut contents = vec![Content::Header(ImportBundleHeader { dry_run })];
    contents.extend(bytes.chunks(CHUNK_BYTES_MAX).map(|piece| Content::Piece(piece.to_vec())));
    let messages =
        contents.into_iter().map(|content| ImportBundleRequest { content: Some(content) });
    let request = within(FILE_TIMEOUT, tokio_stream::iter(messages.collect::<Vec<_>>()));
    answer("import bundle", fhir.import_bundle(request)).await
}

/// Returns what was done in words, and how many entries were refused.
fn report_text(response: &ImportBundleResponse) -> (String, usize) {
    let count =
        |of: EntryOutcome| response.entries.iter().filter(|entry| entry.outcome() == of).count();
    let refused = count(EntryOutcome::Refused);
    let done = if response.written { "" } else { "nothing was written; it would be: " };
    let mut text = format!(
        "{done}{} entries created, {} changed, {} known, {refused} refused, {} passed over\n",
        count(EntryOutcome::Created),
        count(EntryOutcome::Updated),
        count(EntryOutcome::Unchanged),
        count(EntryOutcome::PassedOver),
    );
    let wrong = response.entries.iter().filter(|entry| entry.outcome() == EntryOutcome::Refused);
    for entry in wrong.take(SHOWN_MAX) {
        let place = format!("entry[{}] {}", entry.index, entry.resource_type);
        if entry.problems.is_empty() {
            text.push_str(&plain(&format!("refused: {place}: {}", entry.reason)));
            text.push('\n');
        }
        for problem in &entry.problems {
            let line =
                format!("refused ({}): {}: {}", entry.reason, problem.path, problem.description);
            text.push_str(&plain(&line));
            text.push('\n');
        }
    }
    if refused > SHOWN_MAX {
        text.push_str(&format!("and {} more refused\n", refused - SHOWN_MAX));
    }
    let mut passed: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for entry in &response.entries {
        if entry.outcome() == EntryOutcome::PassedOver {
            *passed.entry((&entry.resource_type, &entry.reason)).or_default() += 1;
        }
    }
    for ((resource_type, reason), count) in passed {
        text.push_str(&plain(&format!("passed over: {count} {resource_type}: {reason}")));
        text.push('\n');
    }
    text.push_str(&notes_text(response));
    (text, refused)
}

/// Returns what was left out of entries that were taken.
fn notes_text(response: &ImportBundleResponse) -> String {
    let is_taken = |entry: &&EntryResult| {
        !matches!(entry.outcome(), EntryOutcome::Refused | EntryOutcome::PassedOver)
    };
    let taken = response.entries.iter().filter(is_taken);
    let notes: Vec<&EntryNote> = taken.flat_map(|entry| &entry.notes).collect();
    let mut text = String::new();
    for note in notes.iter().take(SHOWN_MAX) {
        text.push_str(&plain(&format!("left out: {}: {}", note.path, note.reason)));
        text.push('\n');
    }
    if notes.len() > SHOWN_MAX {
        text.push_str(&format!("and {} more left out\n", notes.len() - SHOWN_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use neurotriage_proto::fhir::v1::EntryProblem;

    use super::*;

    #[test]
    fn a_report_says_what_was_refused_and_does_not_drive_the_terminal() {
        let entry = |outcome: EntryOutcome, reason: &str| EntryResult {
            resource_type: "Patient".to_owned(),
            outcome: outcome.into(),
            reason: reason.to_owned(),
            ..Default::default()
        };
        let problem = EntryProblem {
            path: "entry[1].resource.birthDate".to_owned(),
            description: "\u{1b}[31m lies in the future".to_owned(),
        };
        let wrong = EntryResult {
            index: 1,
            problems: vec![problem],
            ..entry(EntryOutcome::Refused, "ELEMENTS_WRONG")
        };
        let mut entries = vec![entry(EntryOutcome::Created, ""), wrong.clone()];
        entries.extend(vec![entry(EntryOutcome::PassedOver, "of no kind"); 3]);
        entries.extend(vec![wrong; 59]);
        let (text, refused) = report_text(&ImportBundleResponse { entries, written: false });
        assert_eq!(refused, 60);
        let begins =
            "nothing was written; it would be: 1 entries created, 0 changed, 0 known, 60 refused";
        assert!(text.starts_with(begins), "{text}");
        let line = "refused (ELEMENTS_WRONG): entry[1].resource.birthDate: [31m lies in the future";
        assert!(text.contains(line), "{text}");
        assert!(
            text.contains("and 10 more refused\npassed over: 3 Patient: of no kind\n"),
            "{text}"
        );
    }

    #[test]
    fn a_report_says_what_was_left_out_of_what_was_taken() {
        let note = EntryNote {
            path: "entry[0].resource.telecom[0].system".to_owned(),
            reason: "is missing".to_owned(),
        };
        let entry = |outcome: EntryOutcome, notes: Vec<EntryNote>| EntryResult {
            outcome: outcome.into(),
            notes,
            ..Default::default()
        };
        let entries = vec![
            entry(EntryOutcome::Created, vec![note.clone(); SHOWN_MAX + 3]),
            entry(EntryOutcome::PassedOver, vec![note.clone()]),
        ];
        let (text, refused) = report_text(&ImportBundleResponse { entries, written: true });
        assert_eq!(refused, 0);
        let line = "left out: entry[0].resource.telecom[0].system: is missing\n";
        assert_eq!(text.matches(line).count(), SHOWN_MAX);
        assert!(text.ends_with("and 3 more left out\n"), "{text}");
    }

    #[test]
    fn a_file_that_is_too_large_is_not_sent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(u64::try_from(BYTES_MAX).unwrap() + 1).unwrap();
        let error = read(file.path()).unwrap_err().to_string();
        assert!(error.contains("at most 16777216"), "{error}");
    }
}
