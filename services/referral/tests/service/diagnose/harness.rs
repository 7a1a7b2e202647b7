//! The referral service over a real socket and a real database, beside neighbours in process.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::{
    common::v1 as common,
    ingestion::v1 as ingestion,
    records::v1 as records,
    referral::v1::{
        DiagnoseRequest, DiagnoseResponse, Diagnosis, DiagnosisProgress, GetDiagnosisRequest,
        diagnose_response::Content, diagnosis_service_client::DiagnosisServiceClient,
    },
    segmentation::v1 as segmentation,
};
use neurotriage_referral::{Dependencies, diagnosis::DiagnosisLimits};
use neurotriage_service_kit::{access::Access, client};
use neurotriage_testkit::{TestDb, issuer::Issuer};
use sea_orm::DatabaseConnection;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tonic::{Request, Status, Streaming, transport::Channel};
use uuid::Uuid;

use crate::support::{
    self, Served,
    neighbours::{self, World},
};

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server, its database and its neighbours.
pub(crate) struct Harness {
    pub(crate) client: DiagnosisServiceClient<Channel>,
    pub(crate) world: Arc<World>,
    pub(crate) db: TestDb,
    /// Cuts the connections to the neighbours.
    pub(crate) cut: watch::Sender<()>,
    replica: Replica,
    others: Channel,
    neighbours: JoinHandle<()>,
}

/// One process of the service.
pub(crate) struct Replica {
    pub(crate) client: DiagnosisServiceClient<Channel>,
    pub(crate) endpoint: String,
    served: Served,
}

impl Replica {
    async fn start(
        db: DatabaseConnection,
        others: Channel,
        diagnoses: DiagnosisLimits,
    ) -> anyhow::Result<Self> {
        let access = Access::development(([127, 0, 0, 1], 0).into())?;
        Self::start_for(db, others, diagnoses, access).await
    }

    async fn start_for(
        db: DatabaseConnection,
        others: Channel,
        diagnoses: DiagnosisLimits,
        access: Access,
    ) -> anyhow::Result<Self> {
        let others = support::dependencies(db, Some(others))?;
        let dependencies = Dependencies { diagnoses, access, ..others };
        Self::serve(dependencies).await
    }

    async fn serve(dependencies: Dependencies) -> anyhow::Result<Self> {
        let served = support::serve(dependencies).await?;
        let endpoint = served.endpoint.clone();
        let client = DiagnosisServiceClient::connect(endpoint.clone()).await?;
        Ok(Self { client, endpoint, served })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.client);
        self.served.stop().await
    }
}

pub(crate) async fn start(db: TestDb) -> anyhow::Result<Harness> {
    start_with(db, DiagnosisLimits::default()).await
}

pub(crate) async fn sqlite() -> anyhow::Result<Harness> {
    start(TestDb::sqlite::<Migrator>().await?).await
}

pub(crate) async fn start_with(db: TestDb, limits: DiagnosisLimits) -> anyhow::Result<Harness> {
    let world = World { any_patient: true.into(), ..World::default() };
    let world = Arc::new(world);
    let (address, neighbours) = neighbours::start(Arc::clone(&world)).await?;
    let cut = watch::Sender::new(());
    let address = relay(address, cut.clone()).await?;
    let others = client::channel(&format!("http://{address}"))?;
    let replica = Replica::start(db.service.clone(), others.clone(), limits).await?;
    let client = replica.client.clone();
    Ok(Harness { client, world, db, cut, replica, others, neighbours })
}

/// As [`sqlite`], but the service and the others let in whom `issuer` knows.
pub(crate) async fn sqlite_behind(issuer: &Issuer) -> anyhow::Result<Harness> {
    let world = Arc::new(World { any_patient: true.into(), ..World::default() });
    let others = neighbours::start_behind(Arc::clone(&world), issuer.access().await?);
    let (address, neighbours) = others.await?;
    let others = client::channel(&format!("http://{address}"))?;
    let db = TestDb::sqlite::<Migrator>().await?;
    let dependencies = Dependencies {
        access: issuer.access().await?,
        ..support::dependencies(db.db.clone(), Some(others.clone()))?
    };
    let replica = Replica::serve(dependencies).await?;
    let (client, cut) = (replica.client.clone(), watch::Sender::new(()));
    Ok(Harness { client, world, db, cut, replica, others, neighbours })
}

/// Passes connections on to `target`; those that are open end when `cut` changes.
async fn relay(target: SocketAddr, cut: watch::Sender<()>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let mut cut = cut.subscribe();
            tokio::spawn(async move {
                let mut to = TcpStream::connect(target).await?;
                tokio::select! {
                    passed = copy_bidirectional(&mut from, &mut to) => passed.map(drop),
                    _ = cut.changed() => Ok(()),
                }
            });
        }
    });
    Ok(address)
}

impl Harness {
    /// Starts another process on the same database.
    pub(crate) async fn another_replica(&self) -> anyhow::Result<Replica> {
        Replica::start(self.db.service.clone(), self.others.clone(), DiagnosisLimits::default())
            .await
    }

    /// Starts another process on the same database, for whom `access` lets in.
    pub(crate) async fn replica_for(&self, access: Access) -> anyhow::Result<Replica> {
        let (db, others) = (self.db.service.clone(), self.others.clone());
        Replica::start_for(db, others, DiagnosisLimits::default(), access).await
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        drop(self.client);
        self.replica.stop().await?;
        self.neighbours.abort();
        self.db.drop().await
    }

    /// Lets the other services know a patient with one study and one report.
    pub(crate) fn patient(&self) -> DiagnoseRequest {
        let patient_id = Uuid::now_v7().to_string();
        let study_id = self.study(&patient_id, vec![lesion(42.0, [-30.0, 20.0, 40.0], 25.0)]);
        let report = records::SymptomReport {
            symptom_report_id: Uuid::now_v7().to_string(),
            patient_id,
            findings: vec![records::Finding {
                finding_id: "apathy".to_owned(),
                code: "NT:apathy".to_owned(),
                display_name: "apathy".to_owned(),
                present: Some(true),
                matched_text: "apathy".to_owned(),
                ..Default::default()
            }],
            lexicon_version: "lexicon-7".to_owned(),
            ..Default::default()
        };
        let symptom_report_id = report.symptom_report_id.clone();
        self.world.reports.lock().unwrap().insert(symptom_report_id.clone(), report);
        DiagnoseRequest {
            request_id: Uuid::now_v7().to_string(),
            study_id,
            symptom_report_id,
            hospitals_max: 3,
            model_id: String::new(),
        }
    }

    /// Lets the records service know a patient by an old id.
    pub(crate) fn merge(&self, old_id: &str, patient_id: &str) {
        let patient = records::Patient { patient_id: patient_id.to_owned(), ..Default::default() };
        self.world.patients.lock().unwrap().insert(old_id.to_owned(), patient);
    }

    /// Lets the other services know a study and what it will show.
    pub(crate) fn study(&self, patient_id: &str, lesions: Vec<segmentation::Lesion>) -> String {
        let study_id = Uuid::now_v7().to_string();
        let study = ingestion::Study {
            study_id: study_id.clone(),
            patient_id: patient_id.to_owned(),
            created_at: Some(std::time::SystemTime::now().into()),
            prepared: Some(ingestion::PreparedStudy {
                blob: Some(common::BlobReference { digest: "b6".repeat(32), size_bytes: 9 }),
                profile: "whole".to_owned(),
                profile_version: 1,
            }),
            ..Default::default()
        };
        self.world.studies.lock().unwrap().insert(study_id.clone(), study);
        self.world.lesions.lock().unwrap().insert(study_id.clone(), lesions);
        study_id
    }

    pub(crate) async fn diagnose(&self, request: &DiagnoseRequest) -> Result<Watched, Status> {
        read(begin(&self.client, request).await?).await
    }

    pub(crate) async fn get(&self, diagnosis_id: &str) -> Result<Diagnosis, Status> {
        let request = GetDiagnosisRequest { diagnosis_id: diagnosis_id.to_owned() };
        let answer = self.client.clone().get_diagnosis(request).await?.into_inner();
        answer.diagnosis.ok_or_else(|| Status::internal("no diagnosis in the answer"))
    }

    /// Holds the network up.
    pub(crate) fn hold(&self) {
        self.world.network_free.send_replace(false);
    }

    /// Lets the network go on.
    pub(crate) fn release(&self) {
        self.world.network_free.send_replace(true);
    }

    /// Waits until as many calls of the network were dropped by their caller.
    pub(crate) async fn dropped(&self, count: u64) -> anyhow::Result<()> {
        let mut dropped = self.world.dropped.subscribe();
        tokio::time::timeout(PATIENCE, dropped.wait_for(|found| *found >= count)).await??;
        Ok(())
    }
}

/// A lesion of the left frontal lobe whose half enhances.
pub(crate) fn lesion(
    volume_ml: f64,
    centroid_template_mm: [f64; 3],
    diameter_mm: f64,
) -> segmentation::Lesion {
    let axial = segmentation::AxialDiameters {
        longest_mm: diameter_mm,
        perpendicular_mm: diameter_mm,
        product_mm2: diameter_mm * diameter_mm,
    };
    segmentation::Lesion {
        volume_ml,
        enhancing_ml: volume_ml / 2.0,
        main_region: "frontal_left".to_owned(),
        regions: vec![segmentation::RegionShare {
            region: "frontal_left".to_owned(),
            site_weight: 1.0,
            ..Default::default()
        }],
        centroid_template_mm: centroid_template_mm.to_vec(),
        axial: Some(axial),
        enhancing_axial: Some(axial),
        ..Default::default()
    }
}

/// What a caller saw.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) progress: Vec<DiagnosisProgress>,
    pub(crate) sequences: Vec<u64>,
    pub(crate) diagnosis: Diagnosis,
}

pub(crate) type Events = Streaming<DiagnoseResponse>;

/// Calls without waiting for messages.
pub(crate) async fn begin(
    client: &DiagnosisServiceClient<Channel>,
    request: &DiagnoseRequest,
) -> Result<Events, Status> {
    Ok(client.clone().diagnose(request.clone()).await?.into_inner())
}

/// As [`begin`], with a deadline.
pub(crate) async fn begin_within(
    client: &DiagnosisServiceClient<Channel>,
    request: &DiagnoseRequest,
    time: Duration,
) -> Result<Events, Status> {
    let mut request = Request::new(request.clone());
    request.set_timeout(time);
    Ok(client.clone().diagnose(request).await?.into_inner())
}

/// As [`begin`], with a token.
pub(crate) async fn begin_as(
    client: &DiagnosisServiceClient<Channel>,
    request: &DiagnoseRequest,
    token: &str,
) -> Result<Events, Status> {
    let mut request = Request::new(request.clone());
    let value = format!("Bearer {token}").parse();
    let value = value.map_err(|_| Status::internal("token is no metadata"))?;
    request.metadata_mut().insert("authorization", value);
    Ok(client.clone().diagnose(request).await?.into_inner())
}

/// Reads until the network has begun and returns the diagnosis's id.
pub(crate) async fn until_segmenting(events: &mut Events) -> anyhow::Result<String> {
    let step = i32::from(neurotriage_proto::referral::v1::DiagnosisStep::Segment);
    loop {
        let message = tokio::time::timeout(PATIENCE, events.message()).await??;
        let message = message.ok_or_else(|| anyhow::anyhow!("ended before the network began"))?;
        if let Some(Content::Progress(progress)) = message.content
            && progress.step == step
        {
            return Ok(message.diagnosis_id);
        }
    }
}

/// Reads to the end.
pub(crate) async fn read(mut events: Events) -> Result<Watched, Status> {
    let (mut progress, mut sequences, mut found) = (Vec::new(), Vec::new(), None);
    loop {
        let message = tokio::time::timeout(PATIENCE, events.message());
        let message = message.await.map_err(|_| Status::internal("no message in time"))??;
        let Some(message) = message else {
            break;
        };
        sequences.push(message.sequence);
        match message.content {
            Some(Content::Progress(at)) => progress.push(at),
            Some(Content::Diagnosis(diagnosis)) => {
                assert_eq!(diagnosis.diagnosis_id, message.diagnosis_id);
                found = Some(diagnosis);
            }
            None => return Err(Status::internal("a message without content")),
        }
    }
    let diagnosis = found.ok_or_else(|| Status::internal("no diagnosis at the end"))?;
    Ok(Watched { progress, sequences, diagnosis })
}
