//! Hospitals never see each other, and a token for one patient keeps to them.

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, CreateNoteRequest, CreatePatientRequest, CreateSymptomReportRequest,
    DeleteEntryRequest, DeletePatientRequest, EraseEntryRequest, ErasePatientRequest,
    GetNoteRequest, GetPatientRequest, GetStudyLinkRequest, GetSymptomReportRequest,
    LinkStudyRequest, ListNotesRequest, ListPatientsRequest, ListStudyLinksRequest,
    ListSymptomReportsRequest, MergePatientsRequest, Patient, SearchPatientsRequest,
    UndeletePatientRequest, UpdatePatientRequest, WatchChangesRequest,
    batch_create_request::Create, batch_create_result::Outcome,
};
use neurotriage_testkit::{TestDb, databases, issuer::Issuer};
use prost_types::FieldMask;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, TransactionTrait as _};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::{
    self, Client, Harness, Start, metadata, number, patient, reason, start_with, stored,
};

const STUDY: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa";
const EVERYTHING: &str = "user/*.cruds";

/// What one hospital has of one patient.
struct Records {
    patient: Patient,
    report_id: String,
    note_id: String,
    link_id: String,
    code: String,
}

async fn start_two(db: TestDb) -> anyhow::Result<(Harness, Issuer)> {
    let issuer = Issuer::start()?;
    let access = Some(issuer.access().await?);
    let harness = start_with(db, Start { access, ..Start::default() }).await?;
    Ok((harness, issuer))
}

async fn records(harness: &mut Harness, number: usize) -> Result<Records, Status> {
    let patient = harness.create(patient(number)).await?;
    let report = harness.report(&patient.patient_id, "headache").await?;
    let note = harness.note(&patient.patient_id, "seen today").await?;
    let link = harness.link(&patient.patient_id, &request_id()).await?;
    Ok(Records {
        patient,
        report_id: report.symptom_report_id,
        note_id: note.note_id,
        link_id: link.study_link_id,
        code: report.findings[0].code.clone(),
    })
}

fn request_id() -> String {
    Uuid::now_v7().to_string()
}

fn ended<T>(result: Result<T, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), reason(&status)),
    }
}

/// Calls every RPC that names a patient of theirs, and says how each ended.
async fn call_of_patient(client: &Client, of: &Records) -> Vec<(&'static str, (Code, String))> {
    let mut client = client.clone();
    let id = of.patient.patient_id.clone();
    let mut ends = Vec::new();
    let request = GetPatientRequest { patient_id: id.clone() };
    ends.push(("GetPatient", ended(client.get_patient(request).await)));
    let update_mask = Some(FieldMask { paths: vec!["sex".to_owned()] });
    let request = UpdatePatientRequest { patient: Some(of.patient.clone()), update_mask };
    ends.push(("UpdatePatient", ended(client.update_patient(request).await)));
    let request = CreateSymptomReportRequest {
        request_id: request_id(),
        patient_id: id.clone(),
        text: "headache".to_owned(),
        ..Default::default()
    };
    ends.push(("CreateSymptomReport", ended(client.create_symptom_report(request).await)));
    let request = GetSymptomReportRequest { symptom_report_id: of.report_id.clone() };
    ends.push(("GetSymptomReport", ended(client.get_symptom_report(request).await)));
    let request = ListSymptomReportsRequest { patient_id: id.clone(), ..Default::default() };
    ends.push(("ListSymptomReports", ended(client.list_symptom_reports(request).await)));
    let request = LinkStudyRequest {
        request_id: request_id(),
        patient_id: id.clone(),
        study_id: request_id(),
        ..Default::default()
    };
    ends.push(("LinkStudy", ended(client.link_study(request).await)));
    let request = ListStudyLinksRequest { patient_id: id.clone(), ..Default::default() };
    ends.push(("ListStudyLinks", ended(client.list_study_links(request).await)));
    let request = GetStudyLinkRequest { study_link_id: of.link_id.clone() };
    ends.push(("GetStudyLink", ended(client.get_study_link(request).await)));
    let request = CreateNoteRequest {
        request_id: request_id(),
        patient_id: id.clone(),
        text: "seen".to_owned(),
    };
    ends.push(("CreateNote", ended(client.create_note(request).await)));
    let request = GetNoteRequest { note_id: of.note_id.clone() };
    ends.push(("GetNote", ended(client.get_note(request).await)));
    let request = ListNotesRequest { patient_id: id.clone(), ..Default::default() };
    ends.push(("ListNotes", ended(client.list_notes(request).await)));
    for entry_id in [&of.report_id, &of.note_id, &of.link_id] {
        let request = DeleteEntryRequest { entry_id: entry_id.clone(), revision: 1 };
        ends.push(("DeleteEntry", ended(client.delete_entry(request).await)));
    }
    // An update before it may have been made.
    let revision = of.patient.revision + 1;
    let request = DeletePatientRequest { patient_id: id, revision };
    ends.push(("DeletePatient", ended(client.delete_patient(request).await)));
    ends
}

#[tokio::test]
async fn hospitals_never_see_each_other() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (mut harness, issuer) = start_two(db).await?;
        harness.act_as(&issuer.caller("north", EVERYTHING)?);
        let north = records(&mut harness, 1).await?;
        let deleted = harness.create(patient(3)).await?;
        harness.delete(&deleted.patient_id, 1).await?;
        let before = stored::dump(harness.store()).await?;
        let of_north = before.matches("\"north\"").count();

        let mut south = harness.client_of(&issuer.caller("south", EVERYTHING)?);
        for (rpc, end) in call_of_patient(&south, &north).await {
            assert_eq!(end.0, Code::NotFound, "{rpc}");
        }
        let id = north.patient.patient_id.clone();
        let request =
            UndeletePatientRequest { patient_id: deleted.patient_id.clone(), revision: 2 };
        assert_eq!(ended(south.undelete_patient(request).await).1, "PATIENT_NOT_FOUND");
        for patient_id in [id.clone(), deleted.patient_id] {
            let request = ErasePatientRequest { patient_id, revision: 1 };
            assert_eq!(ended(south.erase_patient(request).await).1, "PATIENT_NOT_FOUND");
        }
        for entry_id in [&north.report_id, &north.note_id, &north.link_id] {
            let request = EraseEntryRequest { entry_id: entry_id.clone(), revision: 1 };
            assert_eq!(ended(south.erase_entry(request).await).1, "ENTRY_NOT_FOUND");
        }
        // The same number and the same request are another patient there.
        let request = CreatePatientRequest { request_id: request_id(), patient: Some(patient(1)) };
        let own = south.create_patient(request).await?.into_inner().patient.expect("a patient");
        assert_ne!(own.patient_id, id);
        for (patient_id, duplicate_patient_id) in [(&id, &own.patient_id), (&own.patient_id, &id)] {
            let request = MergePatientsRequest {
                patient_id: patient_id.clone(),
                revision: 1,
                duplicate_patient_id: duplicate_patient_id.clone(),
                duplicate_revision: 1,
            };
            assert_eq!(ended(south.merge_patients(request).await).1, "PATIENT_NOT_FOUND");
        }
        let create = Create::Note(CreateNoteRequest {
            request_id: request_id(),
            patient_id: id.clone(),
            text: "seen".to_owned(),
        });
        let creates = tokio_stream::once(BatchCreateRequest { create: Some(create) });
        let results = south.batch_create(creates).await?.into_inner().results;
        let Some(Outcome::Error(error)) = &results[0].outcome else { panic!("{results:?}") };
        assert_eq!(error.reason, "PATIENT_NOT_FOUND");

        let all = ListPatientsRequest { show_deleted: true, ..Default::default() };
        let listed = south.list_patients(all).await?.into_inner().patients;
        assert_eq!(listed, std::slice::from_ref(&own));
        let searches = [
            SearchPatientsRequest { name_prefix: "김하".to_owned(), ..Default::default() },
            SearchPatientsRequest { birth_date: "1960-02-29".to_owned(), ..Default::default() },
            SearchPatientsRequest {
                medical_record_number: Some(number("MRN-1")),
                ..Default::default()
            },
        ];
        for request in searches {
            let found = south.search_patients(request).await?.into_inner().patients;
            assert_eq!(found, std::slice::from_ref(&own));
        }
        let request = SearchPatientsRequest { code: north.code.clone(), ..Default::default() };
        assert!(south.search_patients(request).await?.into_inner().patients.is_empty());
        // Nothing of the one was touched by the other.
        let after = stored::dump(harness.store()).await?;
        assert_eq!(after.matches("\"north\"").count(), of_north);

        let request = WatchChangesRequest { from_beginning: true, ..Default::default() };
        let mut changes = south.watch_changes(request).await?.into_inner();
        harness.note(&id, "seen again").await?;
        let request = CreateNoteRequest {
            request_id: request_id(),
            patient_id: own.patient_id.clone(),
            text: "seen".to_owned(),
        };
        let note = south.create_note(request).await?.into_inner().note.expect("a note");
        let mut told = Vec::new();
        while told.len() < 2 {
            let next = changes.message().await?.expect("that nothing ends it");
            told.extend(next.change.map(|change| change.record_id));
        }
        assert_eq!(told, [own.patient_id.clone(), note.note_id]);

        assert_eq!(harness.get(&id).await?, north.patient);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn numbers_and_requests_of_two_hospitals_are_their_own() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (harness, issuer) = start_two(db).await?;
        let request = request_id();
        let mut made = Vec::new();
        for (hospital, name) in [("north", "Ada"), ("south", "Bo")] {
            let mut client = harness.client_of(&issuer.caller(hospital, EVERYTHING)?);
            let patient = Some(harness::named(1, name));
            let create = CreatePatientRequest { request_id: request.clone(), patient };
            let first = client.create_patient(create.clone()).await?.into_inner().patient;
            let again = client.create_patient(create).await?.into_inner().patient;
            assert_eq!(first, again);
            let patient = first.expect("a patient");
            for study in 0..2 {
                let link = LinkStudyRequest {
                    request_id: request.clone(),
                    patient_id: patient.patient_id.clone(),
                    study_id: STUDY.to_owned(),
                    ..Default::default()
                };
                client.link_study(link).await.unwrap_or_else(|error| panic!("{study}: {error}"));
            }
            made.push(patient);
        }
        assert_ne!(made[0].patient_id, made[1].patient_id);
        assert_eq!((made[0].name.as_str(), made[1].name.as_str()), ("Ada", "Bo"));
        // Whoever reads the database can't tell that the numbers are one.
        let shared = "SELECT count(*) AS n FROM search_token AS one JOIN search_token AS other \
             ON one.token = other.token WHERE one.hospital_id <> other.hospital_id";
        assert_eq!(stored::number(harness.store(), shared).await?, 0);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_patient_keeps_to_them() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (mut harness, issuer) = start_two(db).await?;
        harness.act_as(&issuer.caller("north", EVERYTHING)?);
        let own = records(&mut harness, 1).await?;
        let other = records(&mut harness, 2).await?;
        let id = own.patient.patient_id.clone();
        let mut client = harness.client_of(&issuer.patient("north", &id)?);

        for (rpc, end) in call_of_patient(&client, &other).await {
            let expected = (Code::PermissionDenied, "OTHER_PATIENT".to_owned());
            assert_eq!(end, expected, "{rpc}");
        }
        assert_eq!(harness.get(&other.patient.patient_id).await?, other.patient);
        assert_eq!(harness.reports(&other.patient.patient_id).await?.len(), 1);

        // What is about several patients is not for such a token.
        let of_several = [
            ended(client.list_patients(ListPatientsRequest::default()).await),
            ended(
                client
                    .search_patients(SearchPatientsRequest {
                        name_prefix: "김하".to_owned(),
                        ..Default::default()
                    })
                    .await,
            ),
            ended(
                client
                    .create_patient(CreatePatientRequest {
                        request_id: request_id(),
                        patient: Some(patient(9)),
                    })
                    .await,
            ),
            ended(client.merge_patients(MergePatientsRequest::default()).await),
            ended(
                client
                    .erase_patient(ErasePatientRequest { patient_id: id.clone(), revision: 1 })
                    .await,
            ),
            ended(
                client
                    .undelete_patient(UndeletePatientRequest {
                        patient_id: id.clone(),
                        revision: 1,
                    })
                    .await,
            ),
            ended(client.erase_entry(EraseEntryRequest::default()).await),
            ended(client.batch_create(tokio_stream::empty()).await),
            ended(client.watch_changes(WatchChangesRequest::default()).await),
        ];
        for (at, end) in of_several.into_iter().enumerate() {
            assert_eq!(end, (Code::PermissionDenied, "SCOPE_MISSING".to_owned()), "call {at}");
        }

        for (rpc, end) in call_of_patient(&client, &own).await {
            assert_eq!(end, (Code::Ok, String::new()), "{rpc}");
        }
        let request = DeleteEntryRequest { entry_id: request_id(), revision: 1 };
        assert_eq!(ended(client.delete_entry(request).await).0, Code::NotFound);
        // The same id in another hospital is nobody.
        let mut elsewhere = harness.client_of(&issuer.patient("south", &id)?);
        let request = GetPatientRequest { patient_id: id };
        assert_eq!(ended(elsewhere.get_patient(request).await).0, Code::NotFound);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_for_one_patient_learns_of_no_other_from_errors() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (mut harness, issuer) = start_two(db).await?;
        harness.act_as(&issuer.caller("north", EVERYTHING)?);
        let own = harness.create(patient(1)).await?;
        let other = harness.create(patient(2)).await?;
        let (theirs, ours) = (request_id(), request_id());
        harness.link(&other.patient_id, &theirs).await?;
        harness.link(&own.patient_id, &ours).await?;

        let taking = Patient { medical_record_numbers: vec![number("MRN-2")], ..own.clone() };
        // Who may know of all is told who it is.
        let status = harness.update(taking.clone(), &["medical_record_numbers"]).await.unwrap_err();
        assert_eq!(metadata(&status, "patientId"), other.patient_id);
        let status = harness.link(&own.patient_id, &theirs).await.unwrap_err();
        assert_eq!(metadata(&status, "patientId"), other.patient_id);

        harness.act_as(&issuer.patient("north", &own.patient_id)?);
        let taken = harness.update(taking, &["medical_record_numbers"]).await.unwrap_err();
        assert_eq!(reason(&taken), "MEDICAL_RECORD_NUMBER_TAKEN");
        let linked = harness.link(&own.patient_id, &theirs).await.unwrap_err();
        assert_eq!(reason(&linked), "STUDY_LINKED");
        for status in [taken, linked] {
            assert_eq!(metadata(&status, "patientId"), "");
            let shown = format!("{status:?} {}", String::from_utf8_lossy(status.details()));
            assert!(!shown.contains(&other.patient_id), "{shown}");
        }
        // Of themselves they know.
        let status = harness.link(&own.patient_id, &ours).await.unwrap_err();
        assert_eq!(metadata(&status, "patientId"), own.patient_id);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_for_who_was_merged_away_reaches_nobody() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (mut harness, issuer) = start_two(db).await?;
        harness.act_as(&issuer.caller("north", EVERYTHING)?);
        let kept = records(&mut harness, 1).await?;
        let mut gone = records(&mut harness, 2).await?;
        let repeated = request_id();
        harness.report_as(&repeated, &gone.patient.patient_id, "seizure").await?;
        let merged = harness.merge(&kept.patient, &gone.patient).await?;
        gone.patient.revision = merged.revision;
        let denied = (Code::PermissionDenied, "OTHER_PATIENT".to_owned());

        // Not by the id that the token names, not by that of who remains, and not by an entry's.
        let client = harness.client_of(&issuer.patient("north", &gone.patient.patient_id)?);
        for of in [&gone, &kept] {
            for (rpc, end) in call_of_patient(&client, of).await {
                assert_eq!(end, denied, "{rpc}");
            }
        }
        let of_all = std::mem::replace(&mut harness.client, client);
        let again = harness.report_as(&repeated, &gone.patient.patient_id, "seizure").await;
        assert_eq!(ended(again), denied);
        harness.client = of_all;
        assert_eq!(harness.get(&kept.patient.patient_id).await?, merged);
        assert_eq!(harness.reports(&kept.patient.patient_id).await?.len(), 3);

        // Nor that who remains is deleted for a while.
        let revision = harness.delete(&merged.patient_id, merged.revision).await?;
        let mut client = harness.client_of(&issuer.patient("north", &gone.patient.patient_id)?);
        for patient_id in [&gone.patient.patient_id, &kept.patient.patient_id] {
            let request = GetPatientRequest { patient_id: patient_id.clone() };
            assert_eq!(ended(client.get_patient(request).await), denied);
        }
        let merged = harness.undelete(&merged.patient_id, revision).await?;
        gone.patient.revision = merged.revision;

        // A token for who remains reaches all that is theirs now.
        let of = Records { patient: merged, ..gone };
        let client = harness.client_of(&issuer.patient("north", &kept.patient.patient_id)?);
        for (rpc, end) in call_of_patient(&client, &of).await {
            assert_eq!(end, (Code::Ok, String::new()), "{rpc}");
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_a_token_nothing_is_answered() -> anyhow::Result<()> {
    let (mut harness, issuer) = start_two(TestDb::sqlite::<Migrator>().await?).await?;
    let end = harness.get(&request_id()).await.map(drop);
    assert_eq!(ended(end), (Code::Unauthenticated, "TOKEN_MISSING".to_owned()));
    harness.act_as(&Issuer::start()?.caller("north", EVERYTHING)?);
    assert_eq!(ended(harness.get(&request_id()).await).0, Code::Unauthenticated);
    harness.act_as(&issuer.caller("north", "user/*.rs")?);
    let end = ended(harness.create(patient(1)).await);
    assert_eq!(end, (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));
    assert_eq!(ended(harness.get(&request_id()).await).0, Code::NotFound);
    harness.stop().await
}

/// Tables whose rows are of one hospital each. The list of hospitals itself is read by verifications.
const GUARDED: [&str; 6] =
    ["patient", "entry", "search_token", "change", "audit_head", "audit_entry"];

/// Runs a statement as the service's role with the setting of a hospital, or none; takes it back.
async fn run_as(
    db: &DatabaseConnection,
    hospital: Option<&str>,
    sql: &str,
) -> anyhow::Result<Result<u64, String>> {
    let transaction = db.begin().await?;
    if let Some(hospital) = hospital {
        let set = format!("SELECT set_config('app.tenant', '{hospital}', true)");
        transaction.execute_unprepared(&set).await?;
    }
    let done = transaction.execute_unprepared(sql).await;
    transaction.rollback().await?;
    Ok(done.map(|done| done.rows_affected()).map_err(|error| error.to_string()))
}

#[tokio::test]
async fn the_database_keeps_hospitals_apart_by_itself() -> anyhow::Result<()> {
    let Some(db) = TestDb::postgres::<Migrator>().await? else { return Ok(()) };
    let (mut harness, issuer) = start_two(db).await?;
    for hospital in ["north", "south"] {
        harness.act_as(&issuer.caller(hospital, EVERYTHING)?);
        records(&mut harness, 1).await?;
    }
    // Bound are even those who own the tables, and may do more than the service.
    let role = harness.db.owner().await?;
    let admin = harness.db.db.clone();
    for table in GUARDED {
        let of = |hospital: &str| {
            let sql = format!("SELECT count(*) AS n FROM {table} WHERE hospital_id = '{hospital}'");
            let admin = admin.clone();
            async move { stored::number(&admin, &sql).await }
        };
        let south = of("south").await?.unsigned_abs();
        assert!(of("north").await? > 0 && south > 0, "{table}");
        let read = format!("SELECT * FROM {table}");
        let touch = format!("UPDATE {table} SET hospital_id = hospital_id");
        // Its own rows are seen, so that what follows tells something.
        assert_eq!(run_as(&role, Some("south"), &read).await?, Ok(south), "{table}");
        for hospital in [None, Some(""), Some("nowhere"), Some("SOUTH"), Some("south' OR '1'='1")] {
            let hospital = hospital.map(|hospital| hospital.replace('\'', "''"));
            let hospital = hospital.as_deref();
            for sql in [&read, &touch, &format!("DELETE FROM {table}")] {
                assert_eq!(run_as(&role, hospital, sql).await?, Ok(0), "{table}: {sql}");
            }
        }
        for sql in [
            format!("SELECT * FROM {table} WHERE hospital_id = 'north'"),
            format!("UPDATE {table} SET hospital_id = 'south' WHERE hospital_id = 'north'"),
            format!("DELETE FROM {table} WHERE hospital_id = 'north'"),
        ] {
            assert_eq!(run_as(&role, Some("south"), &sql).await?, Ok(0), "{table}: {sql}");
        }
        // Rows can't be given to another hospital, nor made for it.
        let give = format!("UPDATE {table} SET hospital_id = 'north'");
        let make = format!("INSERT INTO {table} SELECT * FROM {table}_of_north");
        let copy = format!(
            "CREATE TABLE {table}_of_north AS SELECT * FROM {table} WHERE hospital_id = 'north'; \
             GRANT SELECT ON {table}_of_north TO PUBLIC"
        );
        admin.execute_unprepared(&copy).await?;
        for sql in [give, make] {
            let refused = run_as(&role, Some("south"), &sql).await?.unwrap_err();
            assert!(refused.contains("row-level security"), "{table}: {sql}: {refused}");
        }
        // Nor can the owner of the tables look past it.
        let unbound = "SET LOCAL row_security = off; ".to_owned() + &read;
        let refused = run_as(&role, Some("south"), &unbound).await?.unwrap_err();
        assert!(refused.contains("row-level security"), "{table}: {refused}");
    }
    // Every table with a hospital, but the list of them, is guarded.
    let unguarded = "SELECT count(*) AS n FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
         WHERE c.relkind = 'r' AND a.attname = 'hospital_id' AND c.relname NOT LIKE '%_of_north' \
         AND NOT (c.relrowsecurity AND c.relforcerowsecurity) AND c.relname <> 'audit_hospital'";
    assert_eq!(stored::number(&admin, unguarded).await?, 0);
    harness.stop().await
}
