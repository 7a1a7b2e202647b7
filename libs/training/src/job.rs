//! One training job, from its file to its model.

use std::process::Command;

use neurotriage_network::{
    Provenance, Start, TrainControl, TrainOutcome, TrainProgress, TrainRun, train,
};

use crate::{
    TrainingError, TrainingFile,
    curves::write_curves,
    data::{self, Data},
    events::EventFile,
};

/// Name of the folder of TensorBoard's event files in a run's folder.
pub const TENSORBOARD_FOLDER: &str = "tensorboard";

/// A job whose data is read.
pub struct Job {
    file: TrainingFile,
    data: Data,
}

impl Job {
    /// Checks the file and reads the data that it names: about 150 MB for each case.
    ///
    /// # Errors
    /// As [`TrainingFile::check`]; [`TrainingError::Variable`], [`TrainingError::Case`] and
    /// [`TrainingError::Samples`] if the data can't be used.
    pub fn prepare(file: &TrainingFile) -> Result<Self, TrainingError> {
        file.check()?;
        let file = file.divided();
        let data = data::load(&file.data, file.train.seed)?;
        Ok(Self { file, data })
    }

    /// Returns counts and names of what is learned from and of what judges, in words.
    pub fn summary(&self) -> &str {
        &self.data.summary
    }

    /// Trains, and leaves weights, card, checkpoint, log, curves and event files in the folder `out`
    /// of the file. The curves are drawn anew after each validation and at the end.
    ///
    /// # Errors
    /// [`TrainingError::Network`] if the run fails, [`TrainingError::Io`] if there is no room for
    /// its folder. Curves and events that can't be written end no run: they are left out with a
    /// warning.
    pub fn run(
        &self,
        start: Start,
        control: &TrainControl,
        on_progress: &mut dyn FnMut(&TrainProgress),
    ) -> Result<TrainOutcome, TrainingError> {
        let (file, data) = (&self.file, &self.data);
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
        let mut events = noted(EventFile::create(&file.out.join(TENSORBOARD_FOLDER)));
        let mut follow = |at: &TrainProgress| {
            if let Some(open) = &mut events
                && noted(open.write(at)).is_none()
            {
                events = None;
            }
            if at.validation.is_some() {
                let _ = noted(write_curves(&file.out));
            }
            on_progress(at);
        };
        let outcome =
            train(&file.train, &data.source, &data.validation, &run, control, &mut follow)?;
        let _ = noted(write_curves(&file.out));
        Ok(outcome)
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

/// Returns what was made, or nothing and a warning: pictures of a run are not worth its end.
fn noted<T>(made: Result<T, TrainingError>) -> Option<T> {
    made.inspect_err(|error| tracing::warn!(error = %error, "curves or events not written")).ok()
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
