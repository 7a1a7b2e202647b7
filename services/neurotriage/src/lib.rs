//! The command `neurotriage`: diagnose a case, run the services, train and evaluate models.

pub mod report;
