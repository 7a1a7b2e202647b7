//! Compiles `proto/**` to Rust without `protoc`, and keeps the descriptor set for reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const PROTO_ROOT: &str = "../../proto";
const PROTO_FILES: &[&str] = &[
    "neurotriage/common/v1/common.proto",
    "neurotriage/fhir/v1/fhir.proto",
    "neurotriage/ingestion/v1/ingestion.proto",
    "neurotriage/records/v1/records.proto",
    "neurotriage/referral/v1/directory.proto",
    "neurotriage/referral/v1/diagnosis.proto",
    "neurotriage/referral/v1/lifecycle.proto",
    "neurotriage/referral/v1/referral.proto",
    "neurotriage/segmentation/v1/model.proto",
    "neurotriage/segmentation/v1/segmentation.proto",
    "neurotriage/segmentation/v1/training.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={PROTO_ROOT}");
    let descriptors = protox::compile(PROTO_FILES, [PROTO_ROOT])?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out_dir.join("neurotriage_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
