//! The four services as processes of their own over Postgres, as they are deployed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use neurotriage::{
    diagnose::{Case, diagnose, upload},
    phantom,
    progress::Progress,
    report::from_proto,
    services::{Endpoints, Services},
};
use neurotriage_domain::Modality;
use neurotriage_imaging::CaseFiles;
use neurotriage_proto::{
    records::v1::{CreateSymptomReportRequest, Handedness},
    referral::v1::{
        CompareStudiesRequest, DiagnoseRequest, Diagnosis, DiagnosisState, DiagnosisStep,
        ImagingChange, Timepoint, diagnose_response,
        diagnosis_service_client::DiagnosisServiceClient, timepoint,
    },
    segmentation::v1::{SegmentStudyRequest, segment_study_response::Content},
};
use neurotriage_testkit::TestDb;
use neurotriage_tests::{
    deployment::keyring,
    programs::program,
    server::{Server, free_ports},
};
use secrecy::ExposeSecret as _;
use tonic::{Code, transport::Channel};
use uuid::Uuid;

struct Deployment {
    servers: Vec<Server>,
    segmentation: Server,
    endpoints: Endpoints,
}

/// The services with a database of their own, and the setting that says where it is.
const SERVICES: [(&str, &str); 4] = [
    ("ingestion", "INGESTION_DATABASE_URL"),
    ("segmentation", "SEGMENTATION_DATABASE_URL"),
    ("records", "RECORDS_DATABASE_URL"),
    ("referral", "REFERRAL_DATABASE_URL"),
];

async fn deploy(databases: &[TestDb], keyring: &str, blobs: &Path) -> Deployment {
    let ports = free_ports(4).unwrap();
    let endpoint = |index: usize| format!("http://127.0.0.1:{}", ports[index]);
    let listen = |index: usize| format!("127.0.0.1:{}", ports[index]);
    let endpoints = Endpoints {
        ingestion: endpoint(0),
        segmentation: endpoint(1),
        records: endpoint(2),
        referral: endpoint(3),
    };
    let blobs = format!("file://{}", blobs.display());
    let mut environment: Vec<(&str, String)> = vec![
        ("INGESTION_LISTEN", listen(0)),
        ("SEGMENTATION_LISTEN", listen(1)),
        ("RECORDS_LISTEN", listen(2)),
        ("REFERRAL_LISTEN", listen(3)),
        ("BLOBS_URL", blobs),
        ("INGESTION_ENDPOINT", endpoint(0)),
        ("SEGMENTATION_ENDPOINT", endpoint(1)),
        ("RECORDS_ENDPOINT", endpoint(2)),
        ("SEGMENTATION_DEVICE", "cpu".to_owned()),
        ("KEYRING", keyring.to_owned()),
    ];
    for ((_, setting), database) in SERVICES.iter().zip(databases) {
        environment.push((setting, database.url.expose_secret().to_owned()));
    }
    let migrated = tokio::process::Command::new(program("neurotriage-migrate").unwrap())
        .arg("up")
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .output()
        .await
        .unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let mut servers = Vec::new();
    for (name, endpoint) in [
        ("neurotriage-ingestion", &endpoints.ingestion),
        ("neurotriage-records", &endpoints.records),
        ("neurotriage-referral", &endpoints.referral),
    ] {
        servers.push(Server::start(name, endpoint, &environment).await.unwrap());
    }
    let segmentation =
        Server::start("neurotriage-segmentation", &endpoints.segmentation, &environment)
            .await
            .unwrap();
    Deployment { servers, segmentation, endpoints }
}

fn case(folder: &Path) -> Case {
    let files = CaseFiles::find(&phantom::write_default(folder).unwrap()).unwrap();
    Case {
        name: "flow".to_owned(),
        files: Modality::ALL.into_iter().zip(files.images).collect(),
        phantom: true,
        symptoms: phantom::DEFAULT_SYMPTOMS.to_owned(),
        handedness: Handedness::Right,
        home: None,
        hospitals_max: 2,
    }
}

fn asked(study_id: &str, symptom_report_id: &str) -> DiagnoseRequest {
    DiagnoseRequest {
        request_id: Uuid::now_v7().to_string(),
        study_id: study_id.to_owned(),
        symptom_report_id: symptom_report_id.to_owned(),
        hospitals_max: 2,
        model_id: String::new(),
    }
}

/// Returns the finished diagnosis, and the steps that were told on the way.
async fn diagnosed(
    client: &mut DiagnosisServiceClient<Channel>,
    request: &DiagnoseRequest,
) -> (Diagnosis, Vec<DiagnosisStep>) {
    let mut stream = client.diagnose(request.clone()).await.unwrap().into_inner();
    let mut steps = Vec::new();
    loop {
        let message = stream.message().await.unwrap().unwrap();
        match message.content.unwrap() {
            diagnose_response::Content::Progress(progress) => steps.push(progress.step()),
            diagnose_response::Content::Diagnosis(diagnosis) => {
                assert_eq!(diagnosis.state(), DiagnosisState::Finished);
                return (diagnosis, steps);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deployed_services_answer_the_whole_flow_and_drain_at_sigterm() {
    let mut databases = Vec::new();
    for _ in SERVICES {
        let Some(database) = TestDb::empty_postgres().await.unwrap() else { return };
        databases.push(database);
    }
    let keyring = keyring().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let Deployment { servers, segmentation, endpoints } =
        deploy(&databases, &keyring, &folder.path().join("blobs")).await;
    let mut services = Services::connect(&endpoints).unwrap();
    let case = case(&folder.path().join("case"));
    let mut progress = Progress::hidden();
    let now = "2026-01-01T00:00:00Z".to_owned();
    let diagnosis = diagnose(&mut services, &case, now, &mut progress).await.unwrap();
    assert!(diagnosis.mask.starts_with(&[0x1F, 0x8B]), "mask is no gzip");
    let report = from_proto::report(diagnosis.answers);
    assert!(!report.symptoms.findings.is_empty());
    assert!(report.referral.hospitals.len() <= 2);

    let unknown = CreateSymptomReportRequest {
        request_id: Uuid::now_v7().to_string(),
        patient_id: Uuid::now_v7().to_string(),
        text: "headache".to_owned(),
        ..CreateSymptomReportRequest::default()
    };
    let refused = services.records.create_symptom_report(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused:?}");

    let mut client = DiagnosisServiceClient::connect(endpoints.referral.clone()).await.unwrap();
    let known = asked(&report.study.study_id, &report.study.symptom_report_id);
    let (first, _) = diagnosed(&mut client, &known).await;
    assert_eq!(first.segmentation_id, report.study.segmentation_id);
    let (again, _) = diagnosed(&mut client, &known).await;
    assert_eq!(again, first);
    let study = upload(&mut services, &case, &report.study.patient_id, &progress).await.unwrap();
    let (second, steps) =
        diagnosed(&mut client, &asked(&study.study_id, &report.study.symptom_report_id)).await;
    for step in [DiagnosisStep::Check, DiagnosisStep::Segment, DiagnosisStep::Assess] {
        assert!(steps.contains(&step), "{step:?} is not in {steps:?}");
    }
    let provenance = second.provenance.as_ref().unwrap();
    assert_eq!(provenance.weights_sha256.len(), 64);
    for version in [&provenance.atlas, &provenance.evidence_version, &provenance.lexicon_version] {
        assert!(!version.is_empty(), "{provenance:?}");
    }
    let dated = |diagnosis: Diagnosis, day: &str| Timepoint {
        source: Some(timepoint::Source::DiagnosisId(diagnosis.diagnosis_id)),
        acquired_on: day.to_owned(),
    };
    let request = CompareStudiesRequest {
        earlier: Some(dated(first, "2026-01-01")),
        later: Some(dated(second, "2026-03-01")),
    };
    let compared = client.compare_studies(request).await.unwrap().into_inner();
    let comparison = compared.comparison.unwrap();
    assert_eq!(comparison.interval_days, 59);
    // The files are the same.
    assert!(comparison.volumes.iter().all(|volume| volume.change_ml == 0.0), "{comparison:?}");
    let change = comparison.enhancing.unwrap().change();
    assert!(matches!(change, ImagingChange::Stable | ImagingChange::NotMeasurable), "{change:?}");
    drop(client);

    // A study that is being segmented when SIGTERM comes is finished first.
    let study = upload(&mut services, &case, &report.study.patient_id, &progress).await.unwrap();
    let request = SegmentStudyRequest { study_id: study.study_id };
    let mut stream = services.segmentation.segment_study(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(matches!(first.content, Some(Content::Progress(_))), "{first:?}");
    segmentation.terminate().await.unwrap();
    let mut finished = false;
    while let Some(message) = stream.message().await.unwrap() {
        finished = matches!(message.content, Some(Content::Segmentation(_)));
    }
    assert!(finished, "the call was cut off");
    drop(stream);
    drop(services);
    assert_eq!(segmentation.exit_code().await.unwrap(), 0);
    for server in servers {
        server.terminate().await.unwrap();
        assert_eq!(server.exit_code().await.unwrap(), 0);
    }
    for ((service, _), database) in SERVICES.iter().zip(databases) {
        let entries = verified(service, &database, &keyring).await;
        assert!(entries > 0, "{service} left no audit");
        database.drop().await.unwrap();
    }
}

/// Verifies the audit of a service by the command, and returns how many entries it has.
async fn verified(service: &str, database: &TestDb, keyring: &str) -> u64 {
    let verified = tokio::process::Command::new(program("neurotriage").unwrap())
        .args([service, "verify-audit"])
        .env("DATABASE_URL", database.url.expose_secret())
        .env("KEYRING", keyring)
        .output()
        .await
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let text = String::from_utf8(verified.stdout).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}
