//! What callers name studies and files, which may be a patient's name: sealed in the database, and sealed again.

use std::collections::BTreeSet;

use neurotriage_ingestion::store::{
    admin::{RotateError, rotate_keys},
    study_row,
};
use neurotriage_migrations::ingestion::Migrator;
use neurotriage_proto::ingestion::v1::{
    GetStudyRequest, ListStudiesRequest, Study, UploadStudyRequest, upload_study_request::Content,
};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::{
    audit::{audit_head_row, audit_hospital_row, verify},
    tenant,
};
use neurotriage_testkit::{TestDb, databases, issuer::Issuer};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseConnection, DbBackend, EntityTrait as _,
    PaginatorTrait as _, QueryFilter as _,
};
use sea_orm_migration::MigratorTrait as _;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    client::{client, get, list, refused},
    harness::{Harness, KEYS, Place, Start, keyring, reason, start, start_at, study},
    stored,
};

/// In everything that callers may name.
const MARK: &str = "ZqMarkname";
/// Rows of another hospital: more than are sealed again at a time.
const OTHERS: usize = 230;

const NEW_KEYS: &str = "seal:s2:active:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4A=\n\
    audit:a2:active:oaKjpKWmp6ipqqusra6vsLGys7S1tre4ubq7vL2+v8A=";

fn new() -> Keyring {
    Keyring::parse(NEW_KEYS).expect("the new keys of the tests")
}

/// The new keys write, the old ones read.
fn both() -> Keyring {
    let text = format!("{NEW_KEYS}\n{}", KEYS.replace(":active:", ":retired:"));
    Keyring::parse(&text).expect("both keys of the tests")
}

async fn start_keyed(place: Place, keyring: Keyring) -> anyhow::Result<Harness> {
    start_at(place, Start { keyring, ..Start::default() }).await
}

fn id() -> String {
    Uuid::now_v7().to_string()
}

/// An upload that has the mark in every name.
fn marked(request_id: &str, patient: &str) -> Vec<UploadStudyRequest> {
    let mut messages = study(request_id, patient);
    for message in &mut messages {
        match &mut message.content {
            Some(Content::Header(header)) => header.accession = format!("{MARK} 1"),
            Some(Content::Chunk(chunk)) => chunk.file_name = format!("{MARK}_{}", chunk.file_name),
            None => {}
        }
    }
    messages
}

fn has_mark(text: &str) -> bool {
    let mark = MARK.to_lowercase();
    let bytes: [String; 2] =
        [&mark, MARK].map(|mark| mark.bytes().map(|byte| format!("{byte:02x}")).collect());
    text.contains(&mark) || bytes.iter().any(|bytes| text.contains(bytes))
}

fn assert_named(study: &Study) {
    assert_eq!(study.accession, format!("{MARK} 1"));
    let names: Vec<&str> = study.volumes.iter().map(|volume| volume.file_name.as_str()).collect();
    let expected =
        ["flair", "t1", "t1ce", "t2"].map(|modality| format!("{MARK}_case_{modality}.nii.gz"));
    assert_eq!(names, expected);
}

/// What was uploaded, and by which request.
struct Known {
    study: Study,
    request_id: String,
}

impl Known {
    async fn upload(harness: &mut Harness) -> Result<Self, Status> {
        let request_id = id();
        let study = harness.upload_whole(marked(&request_id, &id())).await?;
        assert_named(&study);
        Ok(Self { study, request_id })
    }

    /// Checks that it is read, listed and known by its request as it was.
    async fn check(&self, harness: &mut Harness) -> anyhow::Result<()> {
        let Study { study_id, patient_id, .. } = self.study.clone();
        let request = GetStudyRequest { study_id };
        let read = harness.client.get_study(request).await?.into_inner().study;
        assert_eq!(read.as_ref(), Some(&self.study));
        let request = ListStudiesRequest { patient_id: patient_id.clone(), ..Default::default() };
        let listed = harness.client.list_studies(request).await?.into_inner().studies;
        assert_eq!(listed, std::slice::from_ref(&self.study));
        let again = harness.upload_whole(marked(&self.request_id, &patient_id)).await?;
        assert_eq!(again, self.study);
        // Other names alone are another upload.
        let other = harness.upload(study(&self.request_id, &patient_id)).await;
        let other = other.expect_err("other names");
        assert_eq!(reason(&other), "REQUEST_ID_REUSED");
        Ok(())
    }
}

#[tokio::test]
async fn names_are_sealed_and_come_back_as_they_were() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let mut harness = start(db, 4).await?;
        let known = Known::upload(&mut harness).await?;
        known.check(&mut harness).await?;
        let dump = stored::dump(harness.store()).await?;
        assert!(dump.contains("v1.s1.") && !has_mark(&dump), "{dump}");

        // What is sealed opens where it was sealed only.
        let other = Known::upload(&mut harness).await?;
        let rows = study_row::Entity::find().all(harness.store()).await?;
        let names = |at: usize| study_row::ActiveModel {
            names: Set(rows[at].names.clone()),
            ..Default::default()
        };
        update(harness.store(), rows[0].study_id, names(1)).await?;
        for study in [&known.study, &other.study] {
            let request = GetStudyRequest { study_id: study.study_id.clone() };
            let read = harness.client.get_study(request).await;
            let moved = study.study_id == rows[0].study_id.to_string();
            assert_eq!(read.is_err(), moved);
            let Err(status) = read else { continue };
            assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
        }
        update(harness.store(), rows[0].study_id, names(0)).await?;
        known.check(&mut harness).await?;
        // Nor does the database take a readable name beside a sealed one.
        let accession = Set(MARK.to_owned());
        let readable = study_row::ActiveModel { accession, ..Default::default() };
        assert!(update(harness.store(), rows[0].study_id, readable).await.is_err());

        // Another hospital knows of nothing.
        let start = Start { access: Some(issuer.access().await?), ..Start::default() };
        let harness = start_at(harness.leave().await?, start).await?;
        let mut stranger = client(&harness, issuer.caller("south-lake", "user/*.cruds")?);
        let refusal = refused(get(&mut stranger, &known.study.study_id).await, "stranger");
        assert_eq!(refusal, (Code::NotFound, "STUDY_NOT_FOUND".to_owned()));
        assert_eq!(list(&mut stranger, &known.study.patient_id).await?, 0);
        drop(stranger);
        harness.stop().await?;
    }
    Ok(())
}

async fn update(
    db: &DatabaseConnection,
    study_id: Uuid,
    columns: study_row::ActiveModel,
) -> anyhow::Result<()> {
    let updated = study_row::Entity::update_many()
        .set(columns)
        .filter(study_row::Column::StudyId.eq(study_id))
        .exec(db)
        .await?;
    anyhow::ensure!(updated.rows_affected == 1, "no such row");
    Ok(())
}

/// Puts the database back to the step before names were sealed, with the study as that version wrote it, and as many
/// of a hospital that never called since; then applies the step.
async fn age(db: &TestDb, known: &Known) -> anyhow::Result<()> {
    let study_id: Uuid = known.study.study_id.parse()?;
    let row = study_row::Entity::find_by_id(study_id).one(&db.db).await?.expect("a row");
    // One connection, as the program has.
    let alone = db.owner().await?;
    Migrator::down(&alone, Some(1)).await?;
    let mut volumes = row.volumes.clone();
    for (volume, known) in
        volumes.as_array_mut().expect("a list").iter_mut().zip(&known.study.volumes)
    {
        volume["file_name"] = known.file_name.clone().into();
    }
    let old = study_row::ActiveModel {
        accession: Set(known.study.accession.clone()),
        volumes: Set(volumes),
        content_hash: Set("5e".repeat(32)),
        ..Default::default()
    };
    update(&db.db, study_id, old.clone()).await?;
    let others = (0..OTHERS).map(|_| study_row::ActiveModel {
        study_id: Set(Uuid::now_v7()),
        request_id: Set(Uuid::now_v7()),
        hospital_id: Set("west-lake".to_owned()),
        patient_id: Set(row.patient_id),
        created_at: Set(row.created_at),
        geometry: Set(row.geometry.clone()),
        prepared: Set(row.prepared.clone()),
        ..old.clone()
    });
    study_row::Entity::insert_many(others).exec_without_returning(&db.db).await?;
    Migrator::up(&alone, None).await?;
    alone.close().await?;
    Ok(())
}

/// Returns how many rows a worker's transaction sees, which is of no hospital.
async fn seen_across(db: &TestDb) -> anyhow::Result<u64> {
    let across = tenant::begin_across(&db.service).await?;
    let count = study_row::Entity::find().count(&across).await?;
    across.rollback().await?;
    Ok(count)
}

#[tokio::test]
async fn what_an_earlier_version_left_readable_is_read_until_it_is_sealed() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let mut harness = start(db, 4).await?;
        let known = Known::upload(&mut harness).await?;
        let place = harness.leave().await?;
        age(&place.db, &known).await?;
        assert!(has_mark(&stored::dump(&place.db.db).await?));
        let mut harness = start_keyed(place, keyring()).await?;
        known.check(&mut harness).await?;
        let sealed = Known::upload(&mut harness).await?;
        let is_postgres = harness.store().get_database_backend() == DbBackend::Postgres;
        let unsealed = OTHERS as u64 + 1;
        if is_postgres {
            assert_eq!(seen_across(&harness.db).await?, unsealed, "and not the sealed one");
        }

        // As the service's role, beside the service.
        let rotated = rotate_keys(&harness.db.service, &keyring()).await?;
        assert_eq!((rotated.seen, rotated.resealed), (unsealed + 1, unsealed));
        let dump = stored::dump(harness.store()).await?;
        assert!(!has_mark(&dump) && !dump.contains(&"5e".repeat(32)), "{dump}");
        if is_postgres {
            assert_eq!(seen_across(&harness.db).await?, 0);
        }
        known.check(&mut harness).await?;
        sealed.check(&mut harness).await?;
        let again = rotate_keys(&harness.db.service, &keyring()).await?;
        assert_eq!((again.seen, again.resealed), (rotated.seen, 0));

        let rows = stored::audit(harness.store()).await?;
        let resealed: Vec<_> = rows.iter().filter(|row| row.action == "reseal").collect();
        let ids: BTreeSet<Uuid> = resealed.iter().filter_map(|row| row.resource_id).collect();
        assert_eq!((resealed.len() as u64, ids.len() as u64), (unsealed, unsealed));
        for row in resealed {
            assert_eq!(row.actor, "neurotriage-ingestion rotate-keys");
            let said = (row.purpose.as_str(), row.resource_kind.as_str(), row.outcome.as_str());
            assert_eq!(said, ("HSYSADMIN", "study", "done"));
        }
        let report = verify(&harness.db.service, &keyring(), &[], "").await?;
        assert_eq!(report.broken().count(), 0, "{:?}", report.broken().next());
        assert_eq!(audit_hospital_row::Entity::find().count(harness.store()).await?, 2);

        let start = Start { access: Some(issuer.access().await?), ..Start::default() };
        let harness = start_at(harness.leave().await?, start).await?;
        let mut west = client(&harness, issuer.caller("west-lake", "user/*.cruds")?);
        let patient_id = known.study.patient_id.clone();
        let request = ListStudiesRequest { patient_id, page_size: 200, ..Default::default() };
        let studies = west.list_studies(request).await?.into_inner().studies;
        assert_eq!(studies.len(), 200);
        studies.iter().for_each(assert_named);
        drop(west);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn names_stay_readable_while_keys_change() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db, 4).await?;
        let known = Known::upload(&mut harness).await?;

        // The new keys write; nothing was sealed again yet.
        let mut harness = start_keyed(harness.leave().await?, both()).await?;
        known.check(&mut harness).await?;
        let between = Known::upload(&mut harness).await?;
        let rotated = rotate_keys(&harness.db.service, &both()).await?;
        assert_eq!((rotated.seen, rotated.resealed), (2, 1));
        known.check(&mut harness).await?;
        for row in study_row::Entity::find().all(harness.store()).await? {
            let names = row.names.expect("sealed");
            assert!(names.starts_with("v1.s2."), "{names}");
        }
        let heads = audit_head_row::Entity::find().all(harness.store()).await?;
        assert!(heads.len() == 64 && heads.iter().all(|row| row.mac.starts_with("h1.a2.")));

        // The old keys are gone.
        let mut harness = start_keyed(harness.leave().await?, new()).await?;
        known.check(&mut harness).await?;
        between.check(&mut harness).await?;
        let report = verify(&harness.db.service, &new(), &[], "").await?;
        assert_eq!(report.broken().count(), 0, "{:?}", report.broken().next());

        // What does not open is not sealed again, and not lost.
        let before = study_row::Entity::find().all(harness.store()).await?;
        let without = format!(
            "seal:s3:active:{}\n{}",
            "gYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en6A=",
            NEW_KEYS.lines().nth(1).expect("the key of the audit")
        );
        let without = Keyring::parse(&without)?;
        let refusal = rotate_keys(&harness.db.service, &without).await.unwrap_err();
        assert!(matches!(refusal, RotateError::Store(_)), "{refusal:?}");
        assert_eq!(study_row::Entity::find().all(harness.store()).await?, before);
        let mut harness = start_keyed(harness.leave().await?, without).await?;
        let request = GetStudyRequest { study_id: known.study.study_id.clone() };
        let status = harness.client.get_study(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
        let mut harness = start_keyed(harness.leave().await?, new()).await?;
        known.check(&mut harness).await?;
        harness.stop().await?;
    }
    Ok(())
}
