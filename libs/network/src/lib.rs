//! Networks: their shape, training, storage and use. The only crate that links libtorch.
//!
//! - [`NetworkConfig`] describes a network, [`TrainConfig`] a training run;
//! - [`train()`] turns a [`neurotriage_dataset::SampleSource`] into a [`Model`] and its [`ModelCard`];
//! - [`segment()`] turns a normalised study into a [`Segmentation`];
//! - [`lesion_certainties`] and [`decide_outcome`] say how far it may be trusted;
//! - [`evaluate`] scores a model on whole cases.
//!
//! Arrays come and go as `ndarray`; no tensor leaves this crate. Volumes are `[x, y, z]`, tensors
//! `[batch, channel, x, y, z]`. One thread should own a [`Model`]: libtorch's memory grows with
//! every thread that calls it. Everything here is for research use and no medical device.

mod best;
mod card;
mod checkpoint;
mod config;
mod error;
mod journal;
mod layers;
mod loader;
mod loss;
pub mod measure;
mod memory;
mod model;
mod network;
mod optimiser;
pub mod outcome;
mod parameters;
mod postprocess;
mod precision;
mod predict;
mod random;
mod residual;
mod scores;
mod seed;
mod segment;
mod step;
mod store;
mod train;
mod train_config;
mod trainer;
mod uncertainty;
mod validate;
mod window;

pub use card::{
    CARD_VERSION, CaseScores, INTENDED_USE, MEMBERS_MAX, ModelCard, Provenance, RegionDice,
    SeedScores, ValidationReport,
};
pub use checkpoint::CHECKPOINT_FILE;
pub use config::{Architecture, NetworkConfig};
pub use error::NetworkError;
pub use journal::METRICS_FILE;
pub use loss::LossKind;
pub use memory::memory_needed_bytes;
pub use model::{CARD_FILE, Model, WEIGHTS_FILE};
pub use neurotriage_device::{DeviceChoice, MissingDevice, UnknownDevice, set_compute_threads};
pub use optimiser::{OptimiserConfig, OptimiserKind, ScheduleConfig, ScheduleKind};
pub use outcome::{
    Doubt, Outcome, OutcomeEvidence, StudyCondition, StudySpace, decide as decide_outcome,
};
pub use postprocess::{PostProcessing, repair};
pub use precision::TrainPrecision;
pub use scores::{BatchScores, ValidationScores};
pub use segment::{Mirroring, SegmentOptions, Segmentation, UnknownMirroring, Window, segment};
pub use train::{
    Start, TrainControl, TrainOutcome, TrainProgress, TrainRun, ValidationCase, train,
};
pub use train_config::TrainConfig;
pub use uncertainty::{
    LESION_NUMBER_MAX, LesionCertainty, SURE_PROBABILITY, Uncertainty, confidence, entropy_map,
    lesion_certainties, mask_certainty,
};
pub use validate::evaluate;

#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;
