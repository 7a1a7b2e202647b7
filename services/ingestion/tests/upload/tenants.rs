//! One hospital tries to reach another's studies, and one patient another's.

use neurotriage_domain::HospitalId;
use neurotriage_ingestion::store::study_row;
use neurotriage_migrations::ingestion::Migrator;
use neurotriage_service_kit::tenant::{self, Mode};
use neurotriage_testkit::{TestDb, databases, issuer::Issuer};
use sea_orm::{
    ActiveModelTrait as _, ActiveValue::Set, ColumnTrait as _, EntityTrait as _,
    IntoActiveModel as _, PaginatorTrait as _, QueryFilter as _,
};
use tonic::Code;
use uuid::Uuid;

use super::{
    client::{client, download, get, list, refused, upload},
    harness::start_for,
};

const A: &str = "north-lake";
const B: &str = "south-lake";

#[tokio::test]
async fn a_hospital_reaches_nothing_of_another() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let harness = start_for(db, 4, issuer.access().await?).await?;
        let mut a = client(&harness, issuer.caller(A, "user/*.cruds")?);
        let mut b = client(&harness, issuer.caller(B, "user/*.cruds")?);
        let (request_id, patient) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        let study_id = upload(&mut a, &request_id, &patient).await?;
        assert_eq!(get(&mut a, &study_id).await?, patient);
        assert!(download(&mut a, &study_id).await? > 0);

        let not_found = (Code::NotFound, "STUDY_NOT_FOUND".to_owned());
        assert_eq!(refused(get(&mut b, &study_id).await, "get"), not_found);
        assert_eq!(refused(download(&mut b, &study_id).await, "download"), not_found);
        assert_eq!(list(&mut b, &patient).await?, 0);
        // The same request id and content, whose objects are in the blob store already.
        let own = upload(&mut b, &request_id, &patient).await?;
        assert_ne!(own, study_id);
        assert_eq!(list(&mut a, &patient).await?, 1);
        assert_eq!(list(&mut b, &patient).await?, 1);
        // Other content under A's request id is B's own affair.
        let third = Uuid::now_v7().to_string();
        upload(&mut a, &third, &patient).await?;
        upload(&mut b, &third, &Uuid::now_v7().to_string()).await?;

        // What A repeats is A's.
        assert_eq!(upload(&mut a, &request_id, &patient).await?, study_id);
        assert_eq!(upload(&mut b, &request_id, &patient).await?, own);
        drop((a, b));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_patient_reaches_no_other() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let harness = start_for(db, 4, issuer.access().await?).await?;
        let (mine, other) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        let mut doctor = client(&harness, issuer.caller(A, "user/*.cruds")?);
        let mut patient = client(&harness, issuer.patient(A, &mine)?);
        let of_other = upload(&mut doctor, &Uuid::now_v7().to_string(), &other).await?;
        let of_mine = upload(&mut patient, &Uuid::now_v7().to_string(), &mine).await?;
        assert_eq!(get(&mut patient, &of_mine).await?, mine);
        assert!(download(&mut patient, &of_mine).await? > 0);
        assert_eq!(list(&mut patient, &mine).await?, 1);

        let denied = (Code::PermissionDenied, "OTHER_PATIENT".to_owned());
        assert_eq!(refused(get(&mut patient, &of_other).await, "get"), denied);
        assert_eq!(refused(download(&mut patient, &of_other).await, "download"), denied);
        assert_eq!(refused(list(&mut patient, &other).await, "list"), denied);
        let written = upload(&mut patient, &Uuid::now_v7().to_string(), &other).await;
        assert_eq!(refused(written, "upload"), denied);
        assert_eq!(list(&mut doctor, &other).await?, 1, "nothing was written");

        // The same patient id at another hospital is another patient.
        let mut stranger = client(&harness, issuer.patient(B, &mine)?);
        let not_found = (Code::NotFound, "STUDY_NOT_FOUND".to_owned());
        assert_eq!(refused(get(&mut stranger, &of_mine).await, "stranger"), not_found);
        assert_eq!(list(&mut stranger, &mine).await?, 0);
        drop((doctor, patient, stranger));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_database_itself_keeps_hospitals_apart() -> anyhow::Result<()> {
    let Some(db) = TestDb::postgres::<Migrator>().await? else { return Ok(()) };
    let issuer = Issuer::start()?;
    let harness = start_for(db, 4, issuer.access().await?).await?;
    let mut a = client(&harness, issuer.caller(A, "user/*.cruds")?);
    let patient = Uuid::now_v7().to_string();
    upload(&mut a, &Uuid::now_v7().to_string(), &patient).await?;
    let row = study_row::Entity::find().one(&harness.db.db).await?.expect("a row");
    assert_eq!(row.hospital_id, A);

    let service = &harness.db.service;
    assert_eq!(study_row::Entity::find().count(service).await?, 0, "no setting");
    let b: HospitalId = B.parse()?;
    let transaction = tenant::begin(service, &b, Mode::Write).await?;
    assert_eq!(study_row::Entity::find().count(&transaction).await?, 0);
    let taken = study_row::Entity::update_many()
        .set(study_row::ActiveModel { hospital_id: Set(B.to_owned()), ..Default::default() })
        .filter(study_row::Column::StudyId.eq(row.study_id))
        .exec(&transaction)
        .await?;
    assert_eq!(taken.rows_affected, 0);
    let deleted = study_row::Entity::delete_many().exec(&transaction).await?;
    assert_eq!(deleted.rows_affected, 0);
    let mut forged = row.clone().into_active_model();
    (forged.study_id, forged.request_id) = (Set(Uuid::now_v7()), Set(Uuid::now_v7()));
    assert!(forged.insert(&transaction).await.is_err(), "a row in A's name");
    transaction.rollback().await?;
    assert_eq!(study_row::Entity::find().all(&harness.db.db).await?, [row]);
    drop(a);
    harness.stop().await
}
