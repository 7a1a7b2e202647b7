//! The table. A new RPC goes here in the change that adds it; a test compares it with the contracts.
//!
//! A call that makes a service ask others needs, besides, what those calls need: the caller's token goes
//! with them.

use super::{Owner, ServiceRules};
use crate::scope::{Action, Permission, Resource};

const fn may(resource: Resource, action: Action) -> Permission {
    Permission { resource, action }
}

/// Every service's rules.
pub(super) const SERVICES: &[ServiceRules<'static>] = &[
    (
        "neurotriage.records.v1.RecordsService",
        &[
            ("CreatePatient", Owner::Hospital, &[may(Resource::Patient, Action::Create)]),
            ("GetPatient", Owner::Patient, &[may(Resource::Patient, Action::Read)]),
            ("ListPatients", Owner::Hospital, &[may(Resource::Patient, Action::Search)]),
            ("SearchPatients", Owner::Hospital, &[may(Resource::Patient, Action::Search)]),
            // An answer with the whole record is a reading of it.
            (
                "UpdatePatient",
                Owner::Patient,
                &[may(Resource::Patient, Action::Read), may(Resource::Patient, Action::Update)],
            ),
            ("DeletePatient", Owner::Patient, &[may(Resource::Patient, Action::Delete)]),
            (
                "UndeletePatient",
                Owner::Hospital,
                &[may(Resource::Patient, Action::Read), may(Resource::Patient, Action::Delete)],
            ),
            ("ErasePatient", Owner::Hospital, &[may(Resource::Patient, Action::Delete)]),
            (
                "MergePatients",
                Owner::Hospital,
                &[
                    may(Resource::Patient, Action::Read),
                    may(Resource::Patient, Action::Update),
                    may(Resource::Patient, Action::Delete),
                ],
            ),
            (
                "CreateSymptomReport",
                Owner::Patient,
                &[may(Resource::SymptomReport, Action::Create)],
            ),
            ("GetSymptomReport", Owner::Patient, &[may(Resource::SymptomReport, Action::Read)]),
            ("ListSymptomReports", Owner::Patient, &[may(Resource::SymptomReport, Action::Search)]),
            ("LinkStudy", Owner::Patient, &[may(Resource::Study, Action::Create)]),
            ("GetStudyLink", Owner::Patient, &[may(Resource::Study, Action::Read)]),
            ("ListStudyLinks", Owner::Patient, &[may(Resource::Study, Action::Search)]),
            ("CreateNote", Owner::Patient, &[may(Resource::Note, Action::Create)]),
            ("GetNote", Owner::Patient, &[may(Resource::Note, Action::Read)]),
            ("ListNotes", Owner::Patient, &[may(Resource::Note, Action::Search)]),
            // A report, a link or a note: which of them is known only once it was read.
            (
                "DeleteEntry",
                Owner::Patient,
                &[
                    may(Resource::SymptomReport, Action::Delete),
                    may(Resource::Study, Action::Delete),
                    may(Resource::Note, Action::Delete),
                ],
            ),
            (
                "EraseEntry",
                Owner::Hospital,
                &[
                    may(Resource::SymptomReport, Action::Delete),
                    may(Resource::Study, Action::Delete),
                    may(Resource::Note, Action::Delete),
                ],
            ),
            (
                "BatchCreate",
                Owner::Hospital,
                &[
                    may(Resource::Patient, Action::Create),
                    may(Resource::SymptomReport, Action::Create),
                    may(Resource::Study, Action::Create),
                    may(Resource::Note, Action::Create),
                ],
            ),
            (
                "WatchChanges",
                Owner::Hospital,
                &[
                    may(Resource::Patient, Action::Read),
                    may(Resource::SymptomReport, Action::Read),
                    may(Resource::Study, Action::Read),
                    may(Resource::Note, Action::Read),
                ],
            ),
        ],
    ),
    (
        "neurotriage.ingestion.v1.IngestionService",
        &[
            ("UploadStudy", Owner::Patient, &[may(Resource::Study, Action::Create)]),
            ("GetStudy", Owner::Patient, &[may(Resource::Study, Action::Read)]),
            ("ListStudies", Owner::Patient, &[may(Resource::Study, Action::Search)]),
            ("DownloadVolume", Owner::Patient, &[may(Resource::Study, Action::Read)]),
        ],
    ),
    (
        "neurotriage.segmentation.v1.SegmentationService",
        &[
            // Answers with what another caller had made, too.
            (
                "SegmentStudy",
                Owner::Patient,
                &[
                    may(Resource::Segmentation, Action::Create),
                    may(Resource::Segmentation, Action::Read),
                ],
            ),
            ("GetSegmentation", Owner::Patient, &[may(Resource::Segmentation, Action::Read)]),
            ("DownloadMask", Owner::Patient, &[may(Resource::Segmentation, Action::Read)]),
            // Of an uploaded mask nobody knows whose it is.
            ("Localise", Owner::Hospital, &[may(Resource::Segmentation, Action::Read)]),
            ("GetModel", Owner::Deployment, &[may(Resource::Model, Action::Read)]),
        ],
    ),
    (
        "neurotriage.segmentation.v1.ModelService",
        &[
            ("ListModels", Owner::Deployment, &[may(Resource::Model, Action::Search)]),
            ("DescribeModel", Owner::Deployment, &[may(Resource::Model, Action::Read)]),
            ("ImportModel", Owner::Deployment, &[may(Resource::Model, Action::Create)]),
            ("ExportModel", Owner::Deployment, &[may(Resource::Model, Action::Read)]),
            ("LoadModel", Owner::Deployment, &[may(Resource::Model, Action::Update)]),
            ("PromoteModel", Owner::Deployment, &[may(Resource::Model, Action::Update)]),
            ("RollbackModel", Owner::Deployment, &[may(Resource::Model, Action::Update)]),
            ("ListPromotions", Owner::Deployment, &[may(Resource::Model, Action::Search)]),
        ],
    ),
    (
        "neurotriage.segmentation.v1.TrainingService",
        &[
            ("StartTraining", Owner::Deployment, &[may(Resource::Training, Action::Create)]),
            ("WatchTraining", Owner::Deployment, &[may(Resource::Training, Action::Read)]),
            ("GetTraining", Owner::Deployment, &[may(Resource::Training, Action::Read)]),
            ("ListTrainings", Owner::Deployment, &[may(Resource::Training, Action::Search)]),
            ("CancelTraining", Owner::Deployment, &[may(Resource::Training, Action::Update)]),
            ("ResumeTraining", Owner::Deployment, &[may(Resource::Training, Action::Update)]),
        ],
    ),
    (
        "neurotriage.referral.v1.ReferralService",
        &[
            ("Assess", Owner::Patient, &[may(Resource::Assessment, Action::Create)]),
            ("GetAssessment", Owner::Patient, &[may(Resource::Assessment, Action::Read)]),
        ],
    ),
    (
        "neurotriage.referral.v1.DiagnosisService",
        &[
            // Watches and answers with what another caller began, too.
            (
                "Diagnose",
                Owner::Patient,
                &[
                    may(Resource::Assessment, Action::Create),
                    may(Resource::Assessment, Action::Read),
                ],
            ),
            ("GetDiagnosis", Owner::Patient, &[may(Resource::Assessment, Action::Read)]),
            ("CompareStudies", Owner::Patient, &[may(Resource::Assessment, Action::Read)]),
        ],
    ),
    (
        "neurotriage.referral.v1.ReferralLifecycleService",
        &[
            ("CreateReferral", Owner::Patient, &[may(Resource::Referral, Action::Create)]),
            ("MoveReferral", Owner::Patient, &[may(Resource::Referral, Action::Update)]),
            ("GetReferral", Owner::Patient, &[may(Resource::Referral, Action::Read)]),
            ("ListReferrals", Owner::Hospital, &[may(Resource::Referral, Action::Search)]),
            ("ListEvents", Owner::Hospital, &[may(Resource::Referral, Action::Read)]),
            ("WatchEvents", Owner::Hospital, &[may(Resource::Referral, Action::Read)]),
            ("ListDeadLetters", Owner::Hospital, &[may(Resource::Referral, Action::Search)]),
            ("ReleaseDeadLetter", Owner::Hospital, &[may(Resource::Referral, Action::Update)]),
        ],
    ),
    (
        "neurotriage.fhir.v1.FhirService",
        &[
            // Gives out what the services keep of a patient, each of which checks its own.
            (
                "ExportPatient",
                Owner::Patient,
                &[
                    may(Resource::Patient, Action::Read),
                    may(Resource::SymptomReport, Action::Read),
                    may(Resource::Study, Action::Read),
                    may(Resource::Segmentation, Action::Read),
                    may(Resource::Assessment, Action::Read),
                    may(Resource::Referral, Action::Read),
                ],
            ),
            // Hospitals in the bundle need the rights on the directory, which the handler looks for.
            (
                "ImportBundle",
                Owner::Hospital,
                &[
                    may(Resource::Patient, Action::Create),
                    may(Resource::SymptomReport, Action::Create),
                ],
            ),
        ],
    ),
    (
        "neurotriage.referral.v1.HospitalDirectoryService",
        &[
            (
                "ImportHospitals",
                Owner::Deployment,
                &[may(Resource::Hospital, Action::Create), may(Resource::Hospital, Action::Update)],
            ),
            ("ExportHospitals", Owner::Deployment, &[may(Resource::Hospital, Action::Search)]),
            ("GetHospital", Owner::Deployment, &[may(Resource::Hospital, Action::Read)]),
            ("ListHospitals", Owner::Deployment, &[may(Resource::Hospital, Action::Search)]),
            ("SearchHospitals", Owner::Deployment, &[may(Resource::Hospital, Action::Search)]),
        ],
    ),
];
