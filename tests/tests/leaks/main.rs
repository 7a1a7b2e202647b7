//! No patient data is in what the four programs write or send: logs, spans, errors and events.
//!
//! Every text that a caller can send holds a mark that nothing else holds. All RPCs are called, rightly and wrongly,
//! with everything logged; then all that the programs let out is searched for the marks.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod everywhere;
mod images;
mod marks;
mod patients;
mod receivers;
mod referrals;

use std::{collections::BTreeSet, fs, path::Path};

use neurotriage_proto::records::v1::GetPatientRequest;
use neurotriage_testkit::{
    TestDb,
    issuer::{Issuer, claims},
};
use neurotriage_tests::deployment::{Ground, SERVICES};
use secrecy::ExposeSecret as _;
use serde_json::json;
use uuid::Uuid;

use crate::{
    calls::Calls,
    everywhere::Contracts,
    marks::Marks,
    receivers::{Collector, Webhook},
};

/// Everything that the callers may do.
const SCOPES: &str = "user/*.cruds user/Model.cruds user/Training.cruds user/Hospital.cruds";

/// Services whose texts are an operator's and of no patient: cards of models, training files, names of hospitals. Whoever
/// sent one that is wrong is told what stands in it. In logs, spans and events they are no more than others.
const OPERATORS: [&str; 3] = [
    "segmentation.v1.ModelService/",
    "segmentation.v1.TrainingService/",
    "referral.v1.HospitalDirectoryService/",
];

/// RPCs that refuse no text: they ask for none, or say in their answer what is wrong.
const ANSWER_ANYTHING: [&str; 2] =
    ["records.v1.RecordsService/BatchCreate", "segmentation.v1.SegmentationService/GetModel"];

/// The calls and what they hold.
pub(crate) struct Drive {
    pub(crate) calls: Calls,
    pub(crate) marks: Marks,
}

pub(crate) fn id() -> String {
    Uuid::now_v7().to_string()
}

/// Calls every RPC there is with a mark in every text, where ids, tokens and names of fields belong too.
async fn send_marks_everywhere(drive: &mut Drive, contracts: &Contracts) {
    let Drive { calls, marks } = drive;
    let mut answered = Vec::new();
    for rpc in &contracts.rpcs {
        let requests = contracts.requests(rpc, marks);
        let mut refused = false;
        if rpc.takes_stream {
            refused |= calls.any(&rpc.name, requests.clone()).await;
        }
        for request in requests {
            refused |= calls.any(&rpc.name, vec![request]).await;
        }
        if !refused {
            answered.push(rpc.name.as_str());
        }
    }
    assert_eq!(answered, ANSWER_ANYTHING);
}

/// Shows tokens that are none, of others and of too little, to each service; returns those that must be nowhere.
async fn show_tokens(drive: &mut Drive, issuer: &Issuer) -> Vec<String> {
    let (as_is, poor) = (claims(SCOPES).unwrap(), claims("openid").unwrap());
    let mut marked = as_is.clone();
    for claim in ["sub", "client_id", "purpose_of_use", "name", "hospital_id"] {
        marked[claim] = json!(drive.marks.text());
    }
    let mut expired = as_is.clone();
    expired["exp"] = json!(1);
    let sign = |claims| issuer.sign(claims).unwrap();
    let other = Issuer::start().unwrap().sign(&as_is).unwrap();
    let tokens =
        vec![drive.marks.text(), sign(&marked), sign(&expired), sign(&poor), other, sign(&as_is)];
    let rpcs = [
        "ingestion.v1.IngestionService/GetStudy",
        "segmentation.v1.SegmentationService/GetSegmentation",
        "records.v1.RecordsService/GetPatient",
        "referral.v1.ReferralService/GetAssessment",
    ];
    for rpc in rpcs {
        for token in &tokens {
            let before = drive.calls.act_as(token);
            drive.calls.wrong(rpc, GetPatientRequest { patient_id: drive.marks.text() }).await;
            drive.calls.act_again_as(before);
        }
        // A path that is none.
        let (service, _) = rpc.split_once('/').unwrap();
        let path = format!("{service}/{}", drive.marks.text());
        drive.calls.wrong(&path, GetPatientRequest { patient_id: drive.marks.text() }).await;
    }
    tokens
}

/// Takes patients the whole way, and makes every call rightly and wrongly.
async fn drive_all(drive: &mut Drive, ground: &Ground) {
    referrals::list_hospitals(drive).await;
    let (patient, report) = patients::admit(drive).await;
    let patient_id = patient.patient_id.as_str();
    patients::call_rightly(drive, (&patient, &report)).await;
    patients::call_wrongly(drive, &patient).await;

    let phantom = images::phantom_files(&ground.folder().join("phantom"));
    let files = images::study(&mut drive.marks, &phantom);
    let (study, segmentation_id) = images::segmented(drive, patient_id, &files).await;
    let later = images::study(&mut drive.marks, &phantom);
    let (later, _) = images::segmented(drive, patient_id, &later).await;
    images::call_rightly(drive, &study, &segmentation_id).await;
    images::call_wrongly(drive, patient_id, &files, &phantom[1]).await;

    let report_id = report.symptom_report_id.as_str();
    let assessment_id = referrals::assess(drive, report_id, &segmentation_id).await;
    referrals::compare(drive, report_id, [&study.study_id, &later.study_id]).await;
    referrals::refer(drive, patient_id, &assessment_id).await;
    referrals::exchange_bundles(drive, patient_id).await;

    images::exchange_models(drive, &ground.folder().join("model")).await;
    images::train(drive).await;
}

/// What must be nowhere, and where it was found.
struct Search {
    marks: Marks,
    secrets: Vec<String>,
    found: Vec<String>,
}

impl Search {
    fn look(&mut self, place: &str, bytes: &[u8]) {
        let places = self.marks.found_in(bytes);
        if let Some(first) = places.first() {
            self.found.push(format!("{place} holds {} marks: {first:?}", places.len()));
        }
        let text = String::from_utf8_lossy(bytes);
        if let Some(number) = self.secrets.iter().position(|secret| text.contains(secret)) {
            self.found.push(format!("{place} holds secret {number}"));
        }
    }
}

/// Returns the settings of every program, with a mark where a setting is secret.
fn settings(
    marks: &mut Marks,
    collector: &Collector,
    webhook: &Webhook,
    folder: &Path,
) -> Vec<(&'static str, String)> {
    let secret = format!("{}{}", marks.text(), marks.text());
    vec![
        ("LOG_FILTER", "trace".to_owned()),
        ("OTLP_ENDPOINT", collector.endpoint.clone()),
        // Its path may be a token.
        ("REFERRAL_EVENTS_WEBHOOK_URL", format!("http://{}/{}", webhook.address, marks.text())),
        ("REFERRAL_EVENTS_WEBHOOK_SECRET", secret),
        // A phantom lies where its header says, and how sure the network is matters little here.
        ("SEGMENTATION_REGISTRATION", "unknown".to_owned()),
        ("SEGMENTATION_MIRRORING", "off".to_owned()),
        ("TRAINING_FOLDER", folder.join("runs").display().to_string()),
        ("NEUROTRIAGE_CASES", folder.display().to_string()),
    ]
}

async fn nothing_is_let_out(databases: Option<[String; 4]>) -> anyhow::Result<()> {
    let issuer = Issuer::start()?;
    let (collector, webhook) = (Collector::start().await?, Webhook::start().await?);
    let (mut marks, folder) = (Marks::default(), tempfile::tempdir()?);
    let mut settings = settings(&mut marks, &collector, &webhook, folder.path());
    settings.extend(issuer.settings());
    let ground = match databases {
        Some(urls) => Ground::on_postgres(urls, settings).await?,
        None => Ground::new(settings).await?,
    };
    let servers = ground.start_logged().await?;

    let mut whole = claims(SCOPES)?;
    for claim in ["sub", "client_id", "name"] {
        whole[claim] = json!(marks.text());
    }
    let token = issuer.sign(&whole)?;
    let mut drive = Drive { calls: Calls::new(&ground, &token), marks };
    let contracts = Contracts::read();
    drive_all(&mut drive, &ground).await;
    let all: BTreeSet<String> = contracts.rpcs.iter().map(|rpc| rpc.name.clone()).collect();
    assert_eq!(all, drive.calls.answered, "an RPC is not called here, or is no more");
    send_marks_everywhere(&mut drive, &contracts).await;
    let mut secrets = show_tokens(&mut drive, &issuer).await;
    secrets.push(token);
    // The last part signs: it alone makes a token worth something.
    let signatures = secrets.iter().filter_map(|token| token.rsplit_once('.'));
    let signatures: Vec<String> = signatures.map(|(_, last)| last.to_owned()).collect();
    secrets.extend(signatures);

    for server in &servers {
        server.terminate().await?;
    }
    let Drive { mut calls, marks } = drive;
    let refusals = std::mem::take(&mut calls.refusals);
    // Connections that are open keep a service.
    drop(calls);
    for server in servers {
        assert_eq!(server.exit_code().await?, 0);
    }
    assert!(marks.count() > 500 && refusals.len() > 150, "{} {}", marks.count(), refusals.len());
    let mut search = Search { marks, secrets, found: Vec::new() };
    for (rpc, status) in &refusals {
        if !OPERATORS.iter().any(|service| rpc.starts_with(service)) {
            search.look(rpc, &Calls::said(status));
        }
    }
    look_in_what_is_written(&mut search, &ground)?;
    look_in_what_is_sent(&mut search, &collector, &webhook);
    assert!(search.found.is_empty(), "{:#?}", search.found);
    Ok(())
}

fn look_in_what_is_written(search: &mut Search, ground: &Ground) -> anyhow::Result<()> {
    for (service, _, _) in SERVICES {
        let log = fs::read(ground.log(service))?;
        search.look(&format!("the log of {service}"), &log);
        // It is there to be found.
        let log = String::from_utf8_lossy(&log);
        for said in ["\"TRACE\"", "\"DEBUG\"", "\"rpc\"", "\"h2::", "call refused"] {
            assert!(log.contains(said), "{said} is not in the log of {service}");
        }
    }
    Ok(())
}

fn look_in_what_is_sent(search: &mut Search, collector: &Collector, webhook: &Webhook) {
    let spans = collector.spans();
    search.look("what the collector got", &spans);
    let spans = String::from_utf8_lossy(&spans);
    let programs = SERVICES.map(|(_, program, _)| program);
    let rpcs = ["GetPatient", "UploadStudy", "SegmentStudy", "ImportBundle"];
    for said in programs.into_iter().chain(rpcs) {
        assert!(spans.contains(said), "{said} is in no span");
    }
    let deliveries = webhook.deliveries();
    search.look("what the webhook got", &deliveries);
    let deliveries = String::from_utf8_lossy(&deliveries);
    let delivered = deliveries.matches("\"event_id\"").count();
    assert!(delivered >= 3, "{delivered} events: {deliveries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_patient_data_is_in_logs_spans_errors_and_events() -> anyhow::Result<()> {
    nothing_is_let_out(None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn over_postgres_no_patient_data_is_let_out_either() -> anyhow::Result<()> {
    let mut databases = Vec::new();
    for _ in SERVICES {
        let Some(database) = TestDb::empty_postgres().await? else { return Ok(()) };
        databases.push(database);
    }
    let url = |at: usize| databases[at].url.expose_secret().to_owned();
    nothing_is_let_out(Some([url(0), url(1), url(2), url(3)])).await?;
    for database in databases {
        database.drop().await?;
    }
    Ok(())
}
