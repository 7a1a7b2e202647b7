//! The log of a run: one JSON object a line.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{NetworkError, Start, TrainProgress, store::write_whole};

/// Name of the log in a run's folder: one JSON object a line.
pub const METRICS_FILE: &str = "metrics.jsonl";

/// The log of a run.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
}

/// What of a line decides whether it stays.
#[derive(Deserialize)]
struct Line {
    step: u64,
}

impl Journal {
    /// Opens the log. A resumed run, which has done `step` steps, takes out lines of later steps: it
    /// does them again.
    pub(crate) fn open(folder: &Path, start: Start, step: u64) -> Result<Self, NetworkError> {
        let path = folder.join(METRICS_FILE);
        let failed = |source| NetworkError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        match start {
            Start::Fresh => options.write(true).create(true).truncate(true),
            Start::Resume => options.append(true).create(true),
        };
        if start == Start::Resume && path.exists() {
            let text = fs::read_to_string(&path).map_err(failed)?;
            let kept = lines_until(&text, step);
            if kept != text {
                write_whole(&path, kept.as_bytes())?;
            }
        }
        let file = options.open(&path).map_err(failed)?;
        Ok(Self { path, file })
    }

    /// Adds a line.
    pub(crate) fn write(&mut self, progress: &TrainProgress) -> Result<(), NetworkError> {
        let mut line = serde_json::to_vec(progress)
            .map_err(|source| NetworkError::Json { what: "training log", source })?;
        line.push(b'\n');
        let failed = |source| NetworkError::Io { path: self.path.clone(), source };
        self.file.write_all(&line).map_err(failed)
    }
}

/// Returns the whole lines up to a step; a line that a kill has cut is left out.
fn lines_until(text: &str, step: u64) -> String {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter(|line| serde_json::from_str::<Line>(line).is_ok_and(|line| line.step <= step))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_after_the_checkpoint_and_cut_lines_are_taken_out() {
        let text = "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st";
        assert_eq!(lines_until(text, 2), "{\"step\":1}\n{\"step\":2}\n");
        assert_eq!(lines_until(text, 9), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
        assert_eq!(lines_until("", 1), "");
    }
}
