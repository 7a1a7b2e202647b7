//! One training job, from its file to its model.

use std::process::Command;

use neurotriage_network::{
    Provenance, Start, TrainControl, TrainOutcome, TrainProgress, TrainRun, train,
};

use crate::{
    TrainingError, TrainingFile,
    data::{self, Data},
};

/// A job whose data is read.
pub struct Job<'a> {
    file: &'a TrainingFile,
    data: Data,
}

impl<'a> Job<'a> {
    /// Checks the file and reads the data that it names: about 150 MB for each case.
    ///
    /// # Errors
    /// As [`TrainingFile::check`]; [`TrainingError::Variable`], [`TrainingError::Case`] and
    /// [`TrainingError::Samples`] if the data can't be used.
    pub fn prepare(file: &'a TrainingFile) -> Result<Self, TrainingError> {
        file.check()?;
        Ok(Self { file, data: data::load(&file.data, file.train.seed)? })
    }

    /// Returns counts and names of what is learned from and of what judges, in words.
    pub fn summary(&self) -> &str {
        &self.data.summary
    }

    /// Trains, and leaves weights, card, checkpoint and log in the folder `out` of the file.
    ///
    /// # Errors
    /// [`TrainingError::Network`] if the run fails.
    pub fn run(
        &self,
        start: Start,
        control: &TrainControl,
        on_progress: &mut dyn FnMut(&TrainProgress),
    ) -> Result<TrainOutcome, TrainingError> {
        let (file, data) = (self.file, &self.data);
        let run = TrainRun {
            folder: file.out.clone(),
            start,
            provenance: Provenance {
                name: file.model.name.clone(),
                data: format!("{}; {}", file.model.data, data.summary),
                git_revision: git_revision(),
                licence: file.model.licence.clone(),
            },
            profile: data.profile.clone(),
        };
        Ok(train(&file.train, &data.source, &data.validation, &run, control, on_progress)?)
    }
}

/// Reads the data that a training file names, trains, and leaves the model in its folder `out`.
///
/// Blocks until the run ends, fails, or is ended by `control`; call it from a thread of its own.
/// `on_progress` is called every `log_steps` steps and after each validation.
///
/// # Errors
/// As [`Job::prepare`] and [`Job::run`].
pub fn run(
    file: &TrainingFile,
    start: Start,
    control: &TrainControl,
    on_progress: &mut dyn FnMut(&TrainProgress),
) -> Result<TrainOutcome, TrainingError> {
    Job::prepare(file)?.run(start, control, on_progress)
}

/// Returns the commit of the working folder, for the model's card.
fn git_revision() -> String {
    let output = Command::new("git").args(["rev-parse", "HEAD"]).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        Ok(_) | Err(_) => "unknown".to_owned(),
    }
}
