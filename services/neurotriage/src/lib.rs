//! The command `neurotriage`: diagnose a case, run the services, train and evaluate models.
//!
//! Each command is a module: [`case`] (`diagnose`), [`up`], [`phantom`], [`train`], [`evaluate`],
//! [`localise`]. [`suite`] runs the four services in this process; [`diagnose`] talks to them over
//! gRPC alone, so it works with deployed ones too, as whom [`remote`] says; [`report`] is what a reader sees.

pub mod case;
pub mod cli;
mod combine;
pub mod diagnose;
pub mod evaluate;
mod fetch;
pub mod fhir_command;
pub mod hospitals_command;
mod keyring;
pub mod localise;
mod model;
pub mod model_command;
pub mod operator_command;
mod outlines;
mod output;
pub mod phantom;
pub mod progress;
pub mod remote;
pub mod report;
pub mod services;
mod signal;
pub mod suite;
pub mod train;
pub mod train_remote;
pub mod training_command;
pub mod up;
