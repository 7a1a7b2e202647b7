//! What every call leaves in the audit, in SQLite and PostgreSQL.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use neurotriage_audit::{Break, Part};
use neurotriage_domain::{PatientId, StudyId};
use neurotriage_imaging::nifti::write_mask_gz;
use neurotriage_migrations::segmentation::Migrator;
use neurotriage_phantom::{Phantom, PhantomSpec};
use neurotriage_proto::segmentation::v1::{
    DownloadMaskRequest, FilePiece, GetModelRequest, GetSegmentationRequest, LocaliseRequest,
    SegmentStudyRequest, Segmentation, localise_request, segment_study_response::Content,
    segmentation_service_client::SegmentationServiceClient,
};
use neurotriage_segmentation::store::segmentation_row;
use neurotriage_service_kit::{
    audit::{audit_entry_row, audit_head_row, verify},
    telemetry::{self, TelemetryConfig, TelemetryGuard},
};
use neurotriage_testkit::{
    TestDb, databases,
    issuer::{Bearer, Issuer},
};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, IntoActiveModel as _,
    PaginatorTrait as _, QueryFilter as _,
};
use tokio::{task::JoinSet, time::timeout};
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use uuid::Uuid;

use super::{
    PATIENCE,
    harness::{Files, Ground, Running, keyring, list_request, reason},
};

const HOSPITAL: &str = "north-lake";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Traces, as the service's own program has them; once in a process.
fn traced() {
    static GUARD: OnceLock<TelemetryGuard> = OnceLock::new();
    GUARD.get_or_init(|| {
        let log_filter = "off,neurotriage_service_kit::telemetry=info".to_owned();
        telemetry::init("test", &TelemetryConfig { otlp_endpoint: None, log_filter })
            .expect("first in the process")
    });
}

/// A caller within a trace.
#[derive(Clone)]
struct Traced(Bearer);

impl Interceptor for Traced {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let mut request = self.0.call(request)?;
        request.metadata_mut().insert("traceparent", MetadataValue::from_static(TRACE));
        Ok(request)
    }
}

/// The calls of one caller.
#[derive(Clone)]
struct Client(SegmentationServiceClient<InterceptedService<Channel, Traced>>);

impl Client {
    fn new(running: &Running, bearer: Bearer) -> Self {
        let channel = running.channel.clone();
        Self(SegmentationServiceClient::with_interceptor(channel, Traced(bearer)))
    }

    async fn segment(&mut self, study_id: StudyId) -> Result<Segmentation, Status> {
        let request = SegmentStudyRequest { study_id: study_id.to_string() };
        let mut stream = self.0.segment_study(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            if let Some(Content::Segmentation(made)) = message.content {
                return Ok(made);
            }
        }
        Err(Status::internal("the stream ended without a result"))
    }

    async fn get(&mut self, segmentation_id: &str) -> Result<(), Status> {
        let request = GetSegmentationRequest { segmentation_id: segmentation_id.to_owned() };
        self.0.get_segmentation(request).await.map(drop)
    }

    /// Begins to receive a mask, and receives nothing of it.
    async fn download(&mut self, segmentation_id: &str) -> Result<(), Status> {
        let request = DownloadMaskRequest { segmentation_id: segmentation_id.to_owned() };
        self.0.download_mask(request).await.map(drop)
    }

    async fn localise(&mut self, content: localise_request::Content) -> Result<(), Status> {
        let request = LocaliseRequest { content: Some(content) };
        self.0.localise(tokio_stream::once(request)).await.map(drop)
    }

    async fn localise_study(&mut self, study_id: StudyId) -> Result<(), Status> {
        self.localise(localise_request::Content::StudyId(study_id.to_string())).await
    }
}

/// A service, its database and an issuer of tokens for it.
struct World {
    db: TestDb,
    ground: Ground,
    issuer: Issuer,
    running: Running,
}

impl World {
    async fn start(db: TestDb) -> anyhow::Result<Self> {
        traced();
        let (ground, issuer) = (Ground::new().await?, Issuer::start()?);
        let start = Files::tiny("first", 1).start();
        let running = ground.serve_to(&db.service, start, issuer.access().await?).await?;
        Ok(Self { db, ground, issuer, running })
    }

    fn nurse(&self) -> anyhow::Result<Client> {
        let nurse = self.issuer.caller_for(HOSPITAL, "user/*.cruds", ("nurse-7", "TREAT"))?;
        Ok(Client::new(&self.running, nurse))
    }

    fn patient(&self, patient_id: PatientId) -> anyhow::Result<Client> {
        let patient = self.issuer.patient(HOSPITAL, &patient_id.to_string())?;
        Ok(Client::new(&self.running, patient))
    }

    /// Checks that the audit is whole, and ends.
    async fn stop(self) -> anyhow::Result<()> {
        let report = verify(&self.db.service, &keyring(), &[], "").await?;
        assert_eq!(report.broken().count(), 0, "{:?}", report.broken().next());
        assert_eq!(report.entries(), entries(&self.db.db).await?.len() as u64);
        self.running.stop().await?;
        self.db.drop().await
    }
}

async fn entries(db: &DatabaseConnection) -> anyhow::Result<Vec<audit_entry_row::Model>> {
    Ok(audit_entry_row::Entity::find().all(db).await?)
}

fn word(row: &audit_entry_row::Model) -> String {
    let audit_entry_row::Model { action, resource_kind, outcome, detail, .. } = row;
    format!("{action} {resource_kind} {outcome} {detail}").trim_end().to_owned()
}

/// What was seen of the audit.
struct Seen {
    db: DatabaseConnection,
    caller: (&'static str, &'static str),
    rows: BTreeSet<(i32, i64)>,
}

impl Seen {
    fn of(world: &World) -> Self {
        let caller = ("nurse-7", "TREAT");
        Self { db: world.db.db.clone(), caller, rows: BTreeSet::new() }
    }

    /// Returns what is new, in order of the words: what was done, and to which record.
    async fn rows(&mut self) -> anyhow::Result<Vec<(String, Uuid)>> {
        let mut news = Vec::new();
        for row in entries(&self.db).await? {
            if !self.rows.insert((row.shard, row.sequence)) {
                continue;
            }
            assert_eq!((row.actor.as_str(), row.purpose.as_str()), self.caller);
            assert_eq!(row.hospital_id, HOSPITAL);
            assert_eq!(row.trace_id.as_deref(), Some(TRACE_ID));
            news.push((word(&row), row.resource_id.expect("a record")));
        }
        news.sort();
        Ok(news)
    }

    /// Checks that what is new is `word` alone, of the record `id`.
    async fn only(&mut self, word: &str, id: Uuid) -> anyhow::Result<()> {
        assert_eq!(self.rows().await?, [(word.to_owned(), id)]);
        Ok(())
    }

    async fn nothing(&mut self) -> anyhow::Result<()> {
        assert_eq!(self.rows().await?, []);
        Ok(())
    }
}

fn refused(result: Result<(), Status>, case: &str) -> (Code, String) {
    let Err(status) = result else { panic!("case: {case}: not refused") };
    (status.code(), reason(&status))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_on_segmentations_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let world = World::start(db).await?;
        let (mut nurse, mut seen) = (world.nurse()?, Seen::of(&world));
        let study_id = StudyId::generate();
        let made = nurse.segment(study_id).await?.segmentation_id;
        let id: Uuid = made.parse()?;
        seen.only("create segmentation done", id).await?;
        assert_eq!(nurse.segment(study_id).await?.segmentation_id, made);
        seen.only("create segmentation done reason=REPEATED", id).await?;

        nurse.get(&made).await?;
        seen.only("read segmentation done", id).await?;
        // Before its first byte.
        nurse.download(&made).await?;
        seen.only("read segmentation done fields=mask", id).await?;
        nurse.localise_study(study_id).await?;
        seen.only("read segmentation done fields=localisation", id).await?;

        let unknown = Uuid::now_v7();
        nurse.get(&unknown.to_string()).await.unwrap_err();
        seen.only("read segmentation failed reason=SEGMENTATION_NOT_FOUND", unknown).await?;
        nurse.download(&unknown.to_string()).await.unwrap_err();
        seen.only("read segmentation failed reason=SEGMENTATION_NOT_FOUND", unknown).await?;
        let unsegmented = StudyId::generate();
        nurse.localise_study(unsegmented).await.unwrap_err();
        let absent = "read study failed reason=STUDY_NOT_SEGMENTED";
        seen.only(absent, unsegmented.as_uuid()).await?;

        // The row is there, and the file is not.
        let row = segmentation_row::Entity::find_by_id(id).one(&world.db.db).await?;
        let digest = row.expect("a row").mask_digest;
        let digest = digest.rsplit(':').next().expect("a digest");
        std::fs::remove_file(
            world.ground.folder.path().join("sha256").join(&digest[..2]).join(digest),
        )?;
        nurse.download(&made).await.unwrap_err();
        let [read, gone] = [
            "read segmentation done fields=mask",
            "read segmentation failed reason=BLOB_NOT_FOUND",
        ];
        assert_eq!(seen.rows().await?, [(read.to_owned(), id), (gone.to_owned(), id)]);

        // All of one study is in one chain.
        let rows = entries(&world.db.db).await?;
        let of_study = rows.iter().filter(|row| row.resource_id == Some(id));
        let shards: BTreeSet<i32> = of_study.map(|row| row.shard).collect();
        assert_eq!(shards.len(), 1);
        drop(nurse);
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_stored_patients_is_not_noted() -> anyhow::Result<()> {
    let mask = write_mask_gz(&Phantom::generate(&PhantomSpec::new(5))?.truth)?;
    for db in databases::<Migrator>().await? {
        let mut world = World::start(db).await?;
        let (mut nurse, mut seen) = (world.nurse()?, Seen::of(&world));
        let piece = FilePiece { file_name: "mask.nii.gz".to_owned(), data: mask.clone() };
        nurse.localise(localise_request::Content::Mask(piece)).await?;
        nurse.0.get_model(GetModelRequest {}).await?;
        for wrong in ["", "banana"] {
            nurse.get(wrong).await.unwrap_err();
            nurse.download(wrong).await.unwrap_err();
            let wrong = localise_request::Content::StudyId(wrong.to_owned());
            nurse.localise(wrong).await.unwrap_err();
        }
        let bare = world.running.segmentation.get_segmentation(GetSegmentationRequest {
            segmentation_id: Uuid::now_v7().to_string(),
        });
        assert_eq!(bare.await.unwrap_err().code(), Code::Unauthenticated);
        let bare = world.running.models.list_models(list_request(0, "")).await;
        assert_eq!(bare.unwrap_err().code(), Code::Unauthenticated);
        seen.nothing().await?;
        drop(nurse);
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_denied_is_noted_beside_what_it_was_denied() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let world = World::start(db).await?;
        let mut owner = world.patient(world.ground.patient_id)?;
        let mut other = world.patient(PatientId::generate())?;
        let mut seen = Seen { caller: ("user-7", "NOT-STATED"), ..Seen::of(&world) };
        let study_id = StudyId::generate();
        let denied = (Code::PermissionDenied, "OTHER_PATIENT".to_owned());
        assert_eq!(refused(other.segment(study_id).await.map(drop), "segment"), denied);
        seen.only("create study denied reason=OTHER_PATIENT", study_id.as_uuid()).await?;

        let made = owner.segment(study_id).await?.segmentation_id;
        let id: Uuid = made.parse()?;
        seen.only("create segmentation done", id).await?;
        owner.get(&made).await?;
        seen.only("read segmentation done", id).await?;
        owner.download(&made).await?;
        seen.only("read segmentation done fields=mask", id).await?;

        let noted = "read segmentation denied reason=OTHER_PATIENT";
        assert_eq!(refused(other.get(&made).await, "get"), denied);
        seen.only(noted, id).await?;
        assert_eq!(refused(other.download(&made).await, "download"), denied);
        seen.only(noted, id).await?;
        assert_eq!(refused(other.segment(study_id).await.map(drop), "again"), denied);
        seen.only("create study denied reason=OTHER_PATIENT", study_id.as_uuid()).await?;
        let unknown = Uuid::now_v7();
        assert_eq!(refused(other.get(&unknown.to_string()).await, "unknown").0, Code::NotFound);
        seen.only("read segmentation failed reason=SEGMENTATION_NOT_FOUND", unknown).await?;

        let rows = entries(&world.db.db).await?;
        let of_study = rows.iter().filter(|row| row.resource_id != Some(unknown));
        let shards: BTreeSet<i32> = of_study.map(|row| row.shard).collect();
        assert_eq!(shards.len(), 1, "all of one study is in one chain");
        drop((owner, other));
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_ingestion_is_noted() -> anyhow::Result<()> {
    traced();
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let ground = Ground::behind(issuer.access().await?).await?;
        let running = ground.serve(&db.service, Files::tiny("first", 1).start()).await?;
        let world = World { db, ground, issuer, running };
        let mut seen = Seen::of(&world);
        let who = ("nurse-7", "TREAT");
        let alone = world.issuer.caller_for(HOSPITAL, "user/Segmentation.cr", who)?;
        let mut alone = Client::new(&world.running, alone);
        let study_id = StudyId::generate();
        let status = refused(alone.segment(study_id).await.map(drop), "segment");
        assert_eq!(status, (Code::PermissionDenied, "UPSTREAM_PERMISSION_DENIED".to_owned()));
        let denied = "create study denied reason=UPSTREAM_PERMISSION_DENIED";
        seen.only(denied, study_id.as_uuid()).await?;
        assert_eq!(segmentation_row::Entity::find().count(&world.db.db).await?, 0);
        drop(alone);
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let world = World::start(db).await?;
        let (mut nurse, mut seen) = (world.nurse()?, Seen::of(&world));
        let study_id = StudyId::generate();
        let closed = world.ground.gate.write().await;
        let request = SegmentStudyRequest { study_id: study_id.to_string() };
        drop(nurse.0.segment_study(request).await?);
        let mut rows = Vec::new();
        let noted = async {
            while rows.is_empty() {
                tokio::task::yield_now().await;
                rows = seen.rows().await?;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, noted).await??;
        let cancelled = "create study failed reason=CANCELLED".to_owned();
        assert_eq!(rows, [(cancelled, study_id.as_uuid())]);
        drop(closed);
        seen.nothing().await?;
        assert_eq!(segmentation_row::Entity::find().count(&world.db.db).await?, 0);
        drop(nurse);
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_nothing_is_stored_and_nothing_read() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let world = World::start(db).await?;
        let (mut nurse, mut seen) = (world.nurse()?, Seen::of(&world));
        let mut owner = world.patient(world.ground.patient_id)?;
        let study_id = StudyId::generate();
        let made = nurse.segment(study_id).await?.segmentation_id;
        seen.rows().await?;
        let heads = audit_head_row::Entity::find().all(&world.db.db).await?;
        audit_head_row::Entity::delete_many().exec(&world.db.db).await?;

        let failed = (Code::Internal, "STORE_FAILED".to_owned());
        let fresh = nurse.segment(StudyId::generate()).await.map(drop);
        assert_eq!(refused(fresh, "segment"), failed);
        assert_eq!(refused(nurse.segment(study_id).await.map(drop), "repeat"), failed);
        assert_eq!(refused(nurse.get(&made).await, "get"), failed);
        assert_eq!(refused(owner.get(&made).await, "get of a patient"), failed);
        assert_eq!(refused(nurse.download(&made).await, "download"), failed);
        assert_eq!(refused(nurse.localise_study(study_id).await, "localise"), failed);
        let unknown = nurse.get(&Uuid::now_v7().to_string()).await;
        assert_eq!(refused(unknown, "unknown"), failed, "a refusal is noted or not told");
        assert_eq!(segmentation_row::Entity::find().count(&world.db.db).await?, 1);
        seen.nothing().await?;

        let heads = heads.into_iter().map(|head| head.into_active_model());
        audit_head_row::Entity::insert_many(heads).exec_without_returning(&world.db.db).await?;
        nurse.get(&made).await?;
        drop((nurse, owner));
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_altered_or_removed_is_found() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let world = World::start(db).await?;
        let mut nurse = world.nurse()?;
        let made = nurse.segment(StudyId::generate()).await?.segmentation_id;
        for _ in 0..4 {
            nurse.get(&made).await?;
        }
        let db = &world.db.db;
        let rows = entries(db).await?;
        let broken = async || -> anyhow::Result<Vec<Break>> {
            let report = verify(&world.db.service, &keyring(), &[], "").await?;
            Ok(report.broken().map(|(_, why)| why.clone()).collect())
        };
        assert_eq!((rows.len(), broken().await?), (5, vec![]));

        let third = audit_entry_row::Column::Sequence.eq(3);
        audit_entry_row::Entity::update_many()
            .col_expr(audit_entry_row::Column::Actor, "nobody".into())
            .filter(third.clone())
            .exec(db)
            .await?;
        let altered = Break::Altered { sequence: 3, part: Part::Content };
        assert_eq!(broken().await?, [altered]);
        audit_entry_row::Entity::delete_many().filter(third).exec(db).await?;
        assert_eq!(broken().await?, [Break::Removed { first: 3, last: 3 }]);

        let third = rows.into_iter().find(|row| row.sequence == 3).expect("a third");
        audit_entry_row::Entity::insert(third.into_active_model())
            .exec_without_returning(db)
            .await?;
        drop(nurse);
        world.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_audit_is_whole_after_a_mixed_load() -> anyhow::Result<()> {
    const TASKS: usize = 24;
    const STEPS: usize = 4;
    for db in databases::<Migrator>().await? {
        let world = World::start(db).await?;
        let nurse = world.nurse()?;
        let studies = [StudyId::generate(), StudyId::generate()];
        // Several ask for each study at a time, and one of them makes it.
        let mut firsts = JoinSet::new();
        for &study_id in studies.iter().cycle().take(4) {
            let mut client = nurse.clone();
            firsts.spawn(async move {
                Ok::<_, Status>((study_id, client.segment(study_id).await?.segmentation_id))
            });
        }
        let mut made = BTreeSet::new();
        while let Some(first) = firsts.join_next().await {
            made.insert(first??);
        }
        assert_eq!(made.len(), studies.len());
        let made: Arc<Vec<_>> = Arc::new(made.into_iter().collect());
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let (mut client, made) = (nurse.clone(), Arc::clone(&made));
            tasks.spawn(async move {
                for step in 0..STEPS {
                    let (study_id, id) = &made[(task + step) % made.len()];
                    match (task + step) % 4 {
                        0 => drop(client.segment(*study_id).await?),
                        1 => client.get(id).await?,
                        2 => client.download(id).await?,
                        _ => drop(client.get(&Uuid::now_v7().to_string()).await.unwrap_err()),
                    }
                }
                Ok::<_, Status>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let rows = entries(&world.db.db).await?;
        let count = |expected: &str| rows.iter().filter(|row| word(row) == expected).count();
        let each = TASKS * STEPS / 4;
        assert_eq!(count("create segmentation done"), 2);
        assert_eq!(count("create segmentation done reason=REPEATED"), 2 + each);
        assert_eq!(count("read segmentation done"), each);
        assert_eq!(count("read segmentation done fields=mask"), each);
        let absent = "read segmentation failed reason=SEGMENTATION_NOT_FOUND";
        assert_eq!(count(absent), each);
        assert_eq!(rows.len(), 4 + 4 * each);
        drop(nurse);
        world.stop().await?;
    }
    Ok(())
}
