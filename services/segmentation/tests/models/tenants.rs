//! One hospital tries to reach another's segmentations, and one patient another's.

use neurotriage_domain::{HospitalId, PatientId, StudyId};
use neurotriage_migrations::segmentation::Migrator;
use neurotriage_proto::segmentation::v1::{
    DownloadMaskRequest, GetSegmentationRequest, LocaliseRequest, SegmentStudyRequest,
    Segmentation, localise_request, segment_study_response::Content,
    segmentation_service_client::SegmentationServiceClient,
};
use neurotriage_segmentation::store::segmentation_row;
use neurotriage_service_kit::{
    database,
    tenant::{self, Mode},
};
use neurotriage_testkit::{
    TestDb, databases,
    issuer::{Bearer, Issuer},
};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ConnectionTrait as _, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, Statement,
};
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};
use uuid::Uuid;

use super::harness::{Files, Ground, Running, reason};

const A: &str = "north-lake";
const B: &str = "south-lake";

type Client = SegmentationServiceClient<InterceptedService<Channel, Bearer>>;

fn client(running: &Running, bearer: Bearer) -> Client {
    SegmentationServiceClient::with_interceptor(running.channel.clone(), bearer)
}

/// Returns the segmentation as it is stored: the first answer tells the time more finely.
async fn segment(client: &mut Client, study_id: &str) -> Result<Segmentation, Status> {
    let made = segment_once(client, study_id).await?;
    let found = get(client, &made.segmentation_id).await?;
    assert_eq!(found.segmentation_id, made.segmentation_id);
    Ok(found)
}

async fn segment_once(client: &mut Client, study_id: &str) -> Result<Segmentation, Status> {
    let request = SegmentStudyRequest { study_id: study_id.to_owned() };
    let mut stream = client.segment_study(request).await?.into_inner();
    while let Some(message) = stream.message().await? {
        if let Some(Content::Segmentation(made)) = message.content {
            return Ok(made);
        }
    }
    Err(Status::internal("the stream ended without a result"))
}

async fn get(client: &mut Client, segmentation_id: &str) -> Result<Segmentation, Status> {
    let request = GetSegmentationRequest { segmentation_id: segmentation_id.to_owned() };
    Ok(client.get_segmentation(request).await?.into_inner().segmentation.unwrap_or_default())
}

async fn download(client: &mut Client, segmentation_id: &str) -> Result<usize, Status> {
    let request = DownloadMaskRequest { segmentation_id: segmentation_id.to_owned() };
    let mut stream = client.download_mask(request).await?.into_inner();
    let mut bytes = 0;
    while let Some(message) = stream.message().await? {
        bytes += message.data.len();
    }
    Ok(bytes)
}

async fn localise(client: &mut Client, study_id: &str) -> Result<(), Status> {
    let content = Some(localise_request::Content::StudyId(study_id.to_owned()));
    client.localise(tokio_stream::once(LocaliseRequest { content })).await.map(drop)
}

fn refused<T>(result: Result<T, Status>, case: &str) -> (Code, String) {
    let Err(status) = result else { panic!("case: {case}: not refused") };
    (status.code(), reason(&status))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hospital_reaches_nothing_of_another() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (ground, issuer) = (Ground::new().await?, Issuer::start()?);
        let start = Files::tiny("first", 1).start();
        let running = ground.serve_to(&db.service, start, issuer.access().await?).await?;
        let mut a = client(&running, issuer.caller(A, "user/*.cruds")?);
        let mut b = client(&running, issuer.caller(B, "user/*.cruds")?);
        let study_id = StudyId::generate().to_string();
        let of_a = segment(&mut a, &study_id).await?;
        assert_eq!(get(&mut a, &of_a.segmentation_id).await?, of_a);
        assert!(download(&mut a, &of_a.segmentation_id).await? > 0);

        let absent = (Code::NotFound, "SEGMENTATION_NOT_FOUND".to_owned());
        assert_eq!(refused(get(&mut b, &of_a.segmentation_id).await, "get"), absent);
        assert_eq!(refused(download(&mut b, &of_a.segmentation_id).await, "download"), absent);
        let absent = (Code::NotFound, "STUDY_NOT_SEGMENTED".to_owned());
        assert_eq!(refused(localise(&mut b, &study_id).await, "localise"), absent);

        // The study and the weights are the same, and yet A's answer is not B's.
        let of_b = segment(&mut b, &study_id).await?;
        assert_ne!(of_b.segmentation_id, of_a.segmentation_id);
        assert_eq!(segment(&mut a, &study_id).await?, of_a);
        assert_eq!(segment(&mut b, &study_id).await?, of_b);
        drop((a, b));
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_one_patient_reaches_no_other() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (ground, issuer) = (Ground::new().await?, Issuer::start()?);
        let start = Files::tiny("first", 1).start();
        let running = ground.serve_to(&db.service, start, issuer.access().await?).await?;
        // Every study is of one patient.
        let mut owner = client(&running, issuer.patient(A, &ground.patient_id.to_string())?);
        let mut other = client(&running, issuer.patient(A, &PatientId::generate().to_string())?);
        let study_id = StudyId::generate().to_string();
        let denied = (Code::PermissionDenied, "OTHER_PATIENT".to_owned());
        assert_eq!(refused(segment(&mut other, &study_id).await, "segment"), denied);
        assert_eq!(segmentation_row::Entity::find().count(&db.db).await?, 0, "nothing was made");
        let made = segment(&mut owner, &study_id).await?;
        assert_eq!(get(&mut owner, &made.segmentation_id).await?, made);
        assert!(download(&mut owner, &made.segmentation_id).await? > 0);

        assert_eq!(refused(segment(&mut other, &study_id).await, "stored"), denied);
        assert_eq!(refused(get(&mut other, &made.segmentation_id).await, "get"), denied);
        assert_eq!(refused(download(&mut other, &made.segmentation_id).await, "download"), denied);
        drop((owner, other));
        running.stop().await?;
        db.drop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_keeps_hospitals_apart() -> anyhow::Result<()> {
    let Some(db) = TestDb::postgres::<Migrator>().await? else { return Ok(()) };
    let (ground, issuer) = (Ground::new().await?, Issuer::start()?);
    let start = Files::tiny("first", 1).start();
    let running = ground.serve_to(&db.service, start, issuer.access().await?).await?;
    let mut a = client(&running, issuer.caller(A, "user/*.cruds")?);
    segment(&mut a, &StudyId::generate().to_string()).await?;
    let row = segmentation_row::Entity::find().one(&db.db).await?.expect("a row");
    assert_eq!(row.hospital_id, A);

    assert_eq!(segmentation_row::Entity::find().count(&db.service).await?, 0, "no setting");
    let b: HospitalId = B.parse()?;
    let transaction = tenant::begin(&db.service, &b, Mode::Write).await?;
    assert_eq!(segmentation_row::Entity::find().count(&transaction).await?, 0);
    let taken = segmentation_row::Entity::update_many()
        .set(segmentation_row::ActiveModel { hospital_id: Set(B.to_owned()), ..Default::default() })
        .exec(&transaction)
        .await?;
    assert_eq!(taken.rows_affected, 0);
    let mut forged = row.clone().into_active_model();
    (forged.segmentation_id, forged.study_id) = (Set(Uuid::now_v7()), Set(Uuid::now_v7()));
    assert!(forged.insert(&transaction).await.is_err(), "a row in A's name");
    transaction.rollback().await?;
    assert_eq!(segmentation_row::Entity::find().all(&db.db).await?, [row]);
    drop(a);
    running.stop().await?;
    db.drop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_as_its_transaction_begins_leaves_none_behind() -> anyhow::Result<()>
{
    let Some(db) = TestDb::postgres::<Migrator>().await? else { return Ok(()) };
    let (one, a): (_, HospitalId) = (database::connect(&db.url, 1).await?, A.parse()?);
    // Statements outside a transaction have one each.
    let transaction = async || -> anyhow::Result<i64> {
        let sql = "SELECT txid_current() AS id";
        let row = one.query_one_raw(Statement::from_string(one.get_database_backend(), sql)).await;
        Ok(row?.expect("a row").try_get("", "id")?)
    };
    for polls in (1..=8).cycle().take(64) {
        let mut begun = Box::pin(tenant::begin(&one, &a, Mode::Write));
        for _ in 0..polls {
            if futures::poll!(&mut begun).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(begun);
        assert_ne!(transaction().await?, transaction().await?, "after {polls} polls");
    }
    one.close().await?;
    db.drop().await
}
