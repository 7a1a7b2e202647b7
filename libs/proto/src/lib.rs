//! Generated messages, clients and servers for every `neurotriage.*` protobuf package.
//!
//! Written by the build script from `proto/`; nothing generated is committed.

/// Encoded `FileDescriptorSet` of every package, for gRPC server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/neurotriage_descriptor.bin"));

/// Most bytes of a file in one message of a chunked stream: 1 MiB.
pub const CHUNK_BYTES_MAX: usize = 1024 * 1024;

macro_rules! package {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        pub mod $name {
            /// First version of the package.
            #[allow(
                missing_docs,
                unreachable_pub,
                clippy::all,
                reason = "generated code; the documentation is in the .proto files"
            )]
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    };
}

package!(
    /// Vocabulary that several services share.
    common,
    "neurotriage.common.v1"
);
package!(
    /// Records in and out as HL7 FHIR R4.
    fhir,
    "neurotriage.fhir.v1"
);
package!(
    /// Receiving, checking and preparing MRI studies.
    ingestion,
    "neurotriage.ingestion.v1"
);
package!(
    /// Patients and the symptoms they report.
    records,
    "neurotriage.records.v1"
);
package!(
    /// Comparing image and symptoms, and finding a hospital.
    referral,
    "neurotriage.referral.v1"
);
package!(
    /// Marking the tumour and naming the brain regions it touches.
    segmentation,
    "neurotriage.segmentation.v1"
);
