//! FHIR over a real socket, with a real database and the other services in process.

mod ehr;
mod export;
mod harness;
mod import;
