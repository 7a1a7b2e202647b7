//! Training jobs: what a training file says, the data it names, and the run itself.
//!
//! [`TrainingFile`] is the TOML file, [`run`] follows it from the first case read to the model
//! written. Knows no command line, no service and no tensor. Models are for research use and no
//! medical device.

mod config;
mod curves;
mod data;
mod error;
mod events;
mod files;
mod folds;
mod job;

pub use config::{DataConfig, ModelConfig, Profile, TrainingFile};
pub use curves::{CURVES_FILE, curves, write_curves};
pub use data::TRAINED_ON;
pub use error::TrainingError;
pub use folds::{FOLD_FILE, FOLDS_FILE, FoldEvent, FoldScores, Folds, FoldsReport, run_folds};
pub use job::{Job, TENSORBOARD_FOLDER, run};
pub use neurotriage_network::{Start, TrainControl, TrainOutcome, TrainProgress};
