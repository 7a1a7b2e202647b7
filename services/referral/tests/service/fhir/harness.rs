//! The service beside neighbours that keep what is imported.

use std::{fs, path::Path, sync::Arc};

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::fhir::v1::{
    EntryOutcome, ExportPatientRequest, ImportBundleHeader, ImportBundleRequest,
    ImportBundleResponse, fhir_service_client::FhirServiceClient, import_bundle_request::Content,
};
use neurotriage_service_kit::client;
use neurotriage_testkit::{TestDb, databases};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{
    self, Served,
    neighbours::{self, World},
};

pub(crate) struct Harness {
    pub(crate) client: FhirServiceClient<Channel>,
    pub(crate) world: Arc<World>,
    pub(crate) db: TestDb,
    pub(crate) endpoint: String,
    pub(crate) others: Channel,
    served: Served,
    neighbours: JoinHandle<()>,
}

impl Harness {
    pub(crate) async fn start(db: TestDb) -> anyhow::Result<Self> {
        let world = Arc::new(World::default());
        let (others, neighbours) = neighbours::start(Arc::clone(&world)).await?;
        let others = client::channel(&format!("http://{others}"))?;
        let dependencies = support::dependencies(db.db.clone(), Some(others.clone()))?;
        let served = support::serve(dependencies).await?;
        let endpoint = served.endpoint.clone();
        let mut client = FhirServiceClient::connect(endpoint.clone()).await?;
        // Whatever it answers, it has filled the directory by then.
        let _ = client.export_patient(ExportPatientRequest::default()).await;
        Ok(Self { client, world, db, endpoint, others, served, neighbours })
    }

    /// One for each kind of database.
    pub(crate) async fn all() -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::new();
        for db in databases::<Migrator>().await? {
            all.push(Self::start(db).await?);
        }
        Ok(all)
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.client);
        self.served.stop().await?;
        self.neighbours.abort();
        self.db.drop().await
    }

    pub(crate) async fn export(&mut self, request: ExportPatientRequest) -> Result<Value, Status> {
        let mut stream = self.client.export_patient(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(message) = stream.message().await? {
            assert!((1..=1024 * 1024).contains(&message.piece.len()));
            bytes.extend(message.piece);
        }
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    pub(crate) async fn import(&mut self, bundle: &Value) -> ImportBundleResponse {
        self.send(bundle.to_string().as_bytes(), false).await.unwrap()
    }

    pub(crate) async fn send(
        &mut self,
        bytes: &[u8],
        dry_run: bool,
    ) -> Result<ImportBundleResponse, Status> {
        let mut contents = vec![Content::Header(ImportBundleHeader { dry_run })];
        contents.extend(bytes.chunks(1024 * 1024).map(|piece| Content::Piece(piece.to_vec())));
        self.send_contents(contents).await
    }

    pub(crate) async fn send_contents(
        &mut self,
        contents: Vec<Content>,
    ) -> Result<ImportBundleResponse, Status> {
        let message = |content| ImportBundleRequest { content: Some(content) };
        let messages: Vec<ImportBundleRequest> = contents.into_iter().map(message).collect();
        let answer = self.client.import_bundle(tokio_stream::iter(messages)).await?;
        Ok(answer.into_inner())
    }

    /// Numbers of patients, reports and notes that the records keep.
    pub(crate) fn kept(&self) -> (usize, usize, usize) {
        let world = &self.world;
        let patients = world.patients.lock().unwrap().len();
        (patients, world.reports.lock().unwrap().len(), world.notes.lock().unwrap().len())
    }
}

/// Leaves a bundle where `cargo xtask test` has it validated.
pub(crate) fn leave(name: &str, bundle: &Value) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fhir");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bundle.to_string()).unwrap();
}

pub(crate) fn outcomes(response: &ImportBundleResponse) -> Vec<EntryOutcome> {
    response.entries.iter().map(|entry| entry.outcome()).collect()
}

pub(crate) fn assert_refused<T>(result: Result<T, Status>, code: Code, reason: &str, case: &str) {
    let Err(status) = result else { panic!("case: {case}: not refused") };
    assert_eq!(status.code(), code, "case: {case}: {status}");
    let info = status.get_details_error_info().expect(case);
    assert_eq!(info.reason, reason, "case: {case}");
}

const HPO: &str = "http://human-phenotype-ontology.org";

/// A bundle of one patient with two findings and a note.
pub(crate) fn bundle(number: &str, name: &str) -> Value {
    let finding = |id: &str, code: &str, present: bool| {
        json!({ "fullUrl": format!("urn:uuid:{id}"), "resource": {
            "resourceType": "Observation", "status": "final",
            "code": { "coding": [{ "system": HPO, "code": code }] },
            "subject": { "reference": format!("urn:uuid:p-{number}") },
            "effectiveDateTime": "2026-11-20T09:30:00+09:00",
            "valueBoolean": present,
        }})
    };
    json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            { "fullUrl": format!("urn:uuid:p-{number}"), "resource": {
                "resourceType": "Patient",
                "identifier": [{ "system": "urn:oid:1.2.410.9", "value": number }],
                "name": [{ "text": name }],
                "birthDate": "1990-02-28",
            }},
            finding("o1", "HP:0001250", true),
            finding("o2", "HP:0002315", false),
            { "fullUrl": "urn:uuid:n1", "resource": {
                "resourceType": "Observation", "status": "final",
                "code": { "coding": [{ "system": "urn:x-neurotriage:code", "code": "note" }] },
                "subject": { "reference": format!("urn:uuid:p-{number}") },
                "valueString": "Comes with her sister.",
            }},
        ],
    })
}
