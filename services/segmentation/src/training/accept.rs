//! What a training file from a caller may say.

use std::path::{Component, Path};

use neurotriage_domain::{DomainError as _, ErrorCode, FieldViolation, Modality};
use neurotriage_training::{TrainingError, TrainingFile};
use sha2::{Digest as _, Sha256};

use super::{TrainerError, TrainingSettings};
use crate::registry::ModelId;

/// Longest message of the parser that is repeated.
const MESSAGE_CHARS_MAX: usize = 500;

/// A training file that may run.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) file: TrainingFile,
    pub(super) model_id: ModelId,
}

/// Returns the SHA-256 of a training file, in hexadecimal.
pub(super) fn content_hash(text: &str) -> String {
    use std::fmt::Write as _;
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a string can't fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

/// Reads a training file and holds it to what the service offers. The folder it writes to is set
/// by the caller, whatever the file says.
pub(super) fn accept(text: &str, settings: &TrainingSettings) -> Result<Accepted, TrainerError> {
    let with_out = text_with_out(text);
    let mut file = TrainingFile::parse(&with_out).map_err(unreadable)?;
    let mut violations = Vec::new();
    let mut refuse = |field: &str, description: String| {
        violations.push(FieldViolation { field: format!("training_file.{field}"), description });
    };
    let model_id = file.model.name.parse::<ModelId>();
    if model_id.is_err() {
        refuse("model.name", "1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`".to_owned());
    }
    if file.model.licence.trim().is_empty() {
        refuse("model.licence", "must say how the weights may be used".to_owned());
    }
    if file.train.channels != Modality::ALL {
        refuse("train.channels", "flair, t1, t1ce, t2: what studies have".to_owned());
    }
    if file.train.start_from.is_some() {
        refuse("train.start_from", "a path of this machine; leave it out".to_owned());
    }
    if !file.data.case_folders.is_empty() {
        refuse("data.case_folders", "name cases below data.cases_env instead".to_owned());
    }
    for (field, variable) in
        [("data.cases_env", &file.data.cases_env), ("data.shapes_env", &file.data.shapes_env)]
    {
        let known = |name: &String| settings.data_variables.contains(name);
        if variable.as_ref().is_some_and(|name| !known(name)) {
            refuse(field, format!("one of {}", settings.data_variables.join(", ")));
        }
    }
    for (field, cases) in
        [("data.cases", &file.data.cases), ("data.validation", &file.data.validation)]
    {
        if !cases.iter().all(|case| is_plain_name(case)) {
            refuse(field, "names of folders, without `/`, `\\` or `..`".to_owned());
        }
    }
    if file.train.max_minutes > settings.minutes_max {
        refuse("train.max_minutes", format!("at most {}", settings.minutes_max));
    }
    let Ok(model_id) = model_id else { return Err(TrainerError::Invalid(violations)) };
    if !violations.is_empty() {
        return Err(TrainerError::Invalid(violations));
    }
    if file.train.max_minutes == 0.0 {
        file.train.max_minutes = settings.minutes_max;
    }
    file.train.threads = file.train.threads.clamp(1, settings.threads_max.max(1));
    Ok(Accepted { file, model_id })
}

/// A file that names no folder to write to is right here: the service chooses it.
fn text_with_out(text: &str) -> String {
    let top = text.lines().take_while(|line| !line.trim_start().starts_with('['));
    let named = top.into_iter().any(|line| line.split('=').next().unwrap_or("").trim() == "out");
    if named { text.to_owned() } else { format!("out = \"\"\n{text}") }
}

/// Returns whether the name is one folder, here and on other systems.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    one && !name.contains(['/', '\\', '\0'])
}

fn unreadable(error: TrainingError) -> TrainerError {
    if error.code() != ErrorCode::InvalidArgument {
        return TrainerError::Training { reason: error.reason(), text: "read it".to_owned() };
    }
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        text = format!("{text}: {source}");
    }
    let description = text.chars().take(MESSAGE_CHARS_MAX).collect();
    TrainerError::Invalid(vec![FieldViolation { field: "training_file".to_owned(), description }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> TrainingSettings {
        TrainingSettings {
            folder: "/nowhere".into(),
            runs_max: 1,
            data_variables: vec!["CASES".to_owned(), "SHAPES".to_owned()],
            threads_max: 2,
            minutes_max: 60.0,
        }
    }

    fn file(train: &str, data: &str) -> String {
        format!(
            "[model]\nname = 'a-1'\nlicence = 'CC0'\n[train]\nmax_minutes = 5.0\n{train}\n[data]\n{data}\n"
        )
    }

    #[test]
    fn a_file_reaches_only_what_the_service_offers() {
        // (what the row is for, lines of [train], lines of [data], field that is wrong)
        let table = [
            ("good", "", "cases_env = 'CASES'\ncases = ['a', 'b.c']", None),
            ("other variable", "", "cases_env = 'HOME'\ncases = ['a']", Some("data.cases_env")),
            ("other shapes", "", "shapes_env = 'HOME'", Some("data.shapes_env")),
            ("path", "", "case_folders = ['/etc']", Some("data.case_folders")),
            ("up", "", "cases_env = 'CASES'\ncases = ['..']", Some("data.cases")),
            ("far up", "", "cases_env = 'CASES'\ncases = ['a/../../b']", Some("data.cases")),
            ("root", "", "cases_env = 'CASES'\ncases = ['/etc']", Some("data.cases")),
            ("here", "", "cases_env = 'CASES'\ncases = ['.']", Some("data.cases")),
            ("slash", "", "cases_env = 'CASES'\ncases = ['a/']", Some("data.cases")),
            ("backslash", "", "cases_env = 'CASES'\ncases = ['a\\b']", Some("data.cases")),
            ("empty", "", "cases_env = 'CASES'\ncases = ['']", Some("data.cases")),
            ("judge", "", "cases_env = 'CASES'\nvalidation = ['../x']", Some("data.validation")),
            ("start", "start_from = '/etc'", "", Some("train.start_from")),
            ("unknown", "step_max = 3", "", Some("")),
            ("broken", "batch = 0", "", Some("")),
        ];
        for (case, train, data, expected) in table {
            match (accept(&file(train, data), &settings()), expected) {
                (Ok(accepted), None) => assert_eq!(accepted.model_id.as_str(), "a-1"),
                (Err(TrainerError::Invalid(violations)), Some(field)) => {
                    let right = format!("training_file.{field}");
                    assert_eq!(violations[0].field, right.trim_end_matches('.'), "case: {case}");
                }
                (got, _) => panic!("case: {case}: {got:?}"),
            }
        }
    }

    #[test]
    fn folder_threads_and_time_are_the_services() {
        let text = file("threads = 64", "").replace("max_minutes = 5.0", "max_minutes = 0.0");
        let accepted = accept(&format!("out = '/etc'\n{text}"), &settings()).unwrap();
        assert_eq!((accepted.file.train.threads, accepted.file.train.max_minutes), (2, 60.0));
        let long = file("", "").replace("5.0", "61.0");
        assert!(matches!(accept(&long, &settings()), Err(TrainerError::Invalid(_))));
        let nameless = file("", "").replace("a-1", "../a");
        assert!(matches!(accept(&nameless, &settings()), Err(TrainerError::Invalid(_))));
        let unlicensed = file("", "").replace("CC0", "");
        assert!(matches!(accept(&unlicensed, &settings()), Err(TrainerError::Invalid(_))));
    }
}
