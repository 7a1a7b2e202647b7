//! Training jobs: what a training file says, the data it names, and the run itself.
//!
//! [`TrainingFile`] is the TOML file, [`run`] follows it from the first case read to the model
//! written. Knows no command line, no service and no tensor. Models are for research use and no
//! medical device.

mod config;
mod data;
mod error;
mod job;

pub use config::{DataConfig, ModelConfig, Profile, TrainingFile};
pub use data::TRAINED_ON;
pub use error::TrainingError;
pub use job::{Job, run};
pub use neurotriage_network::{Start, TrainControl, TrainOutcome, TrainProgress};
