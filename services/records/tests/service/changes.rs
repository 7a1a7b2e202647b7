//! Patients and entries changed, deleted, brought back and erased, in SQLite and PostgreSQL.

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    ContactPoint, ContactSystem, CreateNoteRequest, GetSymptomReportRequest, Handedness,
    LinkStudyRequest, ListPatientsRequest, ListStudyLinksRequest, ListSymptomReportsRequest,
    Patient, SearchPatientsRequest, Sex, UpdatePatientRequest,
};
use neurotriage_records::store::{entry_row, patient_row, search_token_row};
use neurotriage_testkit::databases;
use prost_types::{FieldMask, Timestamp};
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::{
    Harness, fields, metadata, named, number, patient, reason, refusal, start, stored,
};

const STUDY: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa";

fn by_number(text: &str) -> SearchPatientsRequest {
    SearchPatientsRequest { medical_record_number: Some(number(text)), ..Default::default() }
}

async fn listed(harness: &mut Harness, show_deleted: bool) -> Result<Vec<Patient>, Status> {
    let request = ListPatientsRequest { show_deleted, ..Default::default() };
    Ok(harness.client.list_patients(request).await?.into_inner().patients)
}

#[tokio::test]
async fn an_update_changes_what_the_mask_names() -> anyhow::Result<()> {
    type Change = fn(&mut Patient);
    let table: [(&str, Change); 10] = [
        ("medical_record_numbers", |p| p.medical_record_numbers = vec![number("MRN-77")]),
        ("name", |p| p.name = "Ada Sample".to_owned()),
        ("birth_date", |p| p.birth_date = String::new()),
        ("sex", |p| p.sex = Sex::Other.into()),
        ("handedness", |p| p.handedness = Handedness::Both.into()),
        ("address", |p| p.address = None),
        ("contact_points", |p| {
            p.contact_points = vec![ContactPoint {
                system: ContactSystem::Email.into(),
                value: "ada@mail.example".to_owned(),
            }];
        }),
        ("contact_persons", |p| p.contact_persons.clear()),
        ("consents", |p| p.consents.clear()),
        ("languages", |p| p.languages = vec!["en".to_owned()]),
    ];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut known = harness.create(patient(1)).await?;
        for (path, change) in &table {
            // Everything else of the request is wrong, and not looked at.
            let mut request = Patient {
                patient_id: known.patient_id.clone(),
                revision: known.revision,
                name: "n".repeat(300),
                birth_date: "yesterday".to_owned(),
                sex: 99,
                handedness: 99,
                languages: vec!["?".to_owned()],
                contact_points: vec![ContactPoint::default()],
                ..Patient::default()
            };
            let mut expected = known.clone();
            change(&mut expected);
            take(path, &expected, &mut request);
            let changed = harness.update(request, &[path]).await?;
            expected.revision = known.revision + 1;
            expected.updated_at = changed.updated_at;
            assert_eq!(changed, expected, "path: {path}");
            assert_eq!(harness.get(&known.patient_id).await?, changed, "path: {path}");
            known = changed;
        }
        assert_eq!(harness.search(by_number("mrn-77")).await?, [known.patient_id.clone()]);
        assert!(harness.search(by_number("MRN-1")).await?.is_empty());
        harness.create(patient(1)).await?;
        harness.stop().await?;
    }
    Ok(())
}

/// Puts one field of a patient into another.
fn take(path: &str, from: &Patient, to: &mut Patient) {
    match path {
        "medical_record_numbers" => {
            to.medical_record_numbers.clone_from(&from.medical_record_numbers);
        }
        "name" => to.name.clone_from(&from.name),
        "birth_date" => to.birth_date.clone_from(&from.birth_date),
        "sex" => to.sex = from.sex,
        "handedness" => to.handedness = from.handedness,
        "address" => to.address.clone_from(&from.address),
        "contact_points" => to.contact_points.clone_from(&from.contact_points),
        "contact_persons" => to.contact_persons.clone_from(&from.contact_persons),
        "consents" => to.consents.clone_from(&from.consents),
        "languages" => to.languages.clone_from(&from.languages),
        other => panic!("no field {other}"),
    }
}

#[tokio::test]
async fn an_update_that_is_wrong_changes_nothing() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(patient(1)).await?;
        let other = harness.create(patient(2)).await?;
        let masks: [(&str, &[&str]); 4] = [
            ("none", &[]),
            ("unknown", &["nickname"]),
            ("twice", &["name", "name"]),
            ("not to change", &["merged_patient_ids"]),
        ];
        for (case, paths) in masks {
            let status = harness.update(known.clone(), paths).await.expect_err(case);
            assert_eq!(fields(&status), ["update_mask"], "case: {case}");
        }
        let request = UpdatePatientRequest { patient: Some(known.clone()), update_mask: None };
        let status = harness.client.update_patient(request).await.unwrap_err();
        assert_eq!(fields(&status), ["update_mask"]);
        let request =
            UpdatePatientRequest { patient: None, update_mask: Some(FieldMask::default()) };
        let status = harness.client.update_patient(request).await.unwrap_err();
        assert_eq!(fields(&status), ["patient", "update_mask"]);

        let none = Patient { medical_record_numbers: Vec::new(), ..known.clone() };
        let status = harness.update(none, &["medical_record_numbers"]).await.unwrap_err();
        assert_eq!(fields(&status), ["patient.medical_record_numbers"]);

        let taken = Patient { medical_record_numbers: vec![number("mrn-2")], ..known.clone() };
        let status = harness.update(taken, &["medical_record_numbers"]).await.unwrap_err();
        assert_eq!(reason(&status), "MEDICAL_RECORD_NUMBER_TAKEN");
        assert_eq!(metadata(&status, "patientId"), other.patient_id);

        let stale = Patient { revision: 7, ..named(1, "Ada") };
        let stale = Patient { patient_id: known.patient_id.clone(), ..stale };
        let status = harness.update(stale, &["name"]).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::Aborted, "REVISION_STALE".to_owned()));
        assert_eq!(metadata(&status, "revision"), "1");

        let nobody = Patient { patient_id: Uuid::now_v7().to_string(), ..known.clone() };
        let status = harness.update(nobody, &["name"]).await.unwrap_err();
        assert_eq!(reason(&status), "PATIENT_NOT_FOUND");
        assert_eq!(harness.get(&known.patient_id).await?, known);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_updates_at_once_one_wins() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(patient(1)).await?;
        let calls: Vec<_> = (0..8)
            .map(|at| {
                let mut client = harness.client.clone();
                let request = UpdatePatientRequest {
                    patient: Some(Patient { name: format!("Name {at}"), ..known.clone() }),
                    update_mask: Some(FieldMask { paths: vec!["name".to_owned()] }),
                };
                tokio::spawn(async move { client.update_patient(request).await })
            })
            .collect();
        let mut won = Vec::new();
        for call in calls {
            match call.await? {
                Ok(response) => won.push(response.into_inner().patient),
                Err(status) => {
                    assert_eq!(reason(&status), "REVISION_STALE");
                    assert_eq!(metadata(&status, "revision"), "2");
                }
            }
        }
        assert_eq!(won, [Some(harness.get(&known.patient_id).await?)]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_is_deleted_is_hidden_until_brought_back() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(patient(1)).await?;
        let id = known.patient_id.clone();
        let report = harness.report(&id, "headache").await?;
        harness.note(&id, "seen today").await?;
        assert_eq!(refusal(harness.undelete(&id, 1).await).1, "NOT_DELETED");
        let status = harness.delete(&id, 5).await.unwrap_err();
        assert_eq!(metadata(&status, "revision"), "1");
        assert_eq!(harness.delete(&id, 1).await?, 2);

        let gone = (Code::NotFound, "PATIENT_NOT_FOUND".to_owned());
        assert_eq!(refusal(harness.get(&id).await), gone);
        assert_eq!(refusal(harness.delete(&id, 2).await), gone);
        assert_eq!(refusal(harness.update(known.clone(), &["name"]).await), gone);
        assert_eq!(refusal(harness.reports(&id).await), gone);
        assert_eq!(refusal(harness.notes(&id).await), gone);
        assert_eq!(refusal(harness.report(&id, "seizure").await), gone);
        assert_eq!(refusal(harness.link(&id, STUDY).await), gone);
        let request =
            GetSymptomReportRequest { symptom_report_id: report.symptom_report_id.clone() };
        let status = harness.client.get_symptom_report(request.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "SYMPTOM_REPORT_NOT_FOUND");
        let deleted = harness.delete_entry(&report.symptom_report_id, 1).await;
        assert_eq!(refusal(deleted).1, "ENTRY_NOT_FOUND");

        assert!(harness.search(by_number("MRN-1")).await?.is_empty());
        assert!(listed(&mut harness, false).await?.is_empty());
        let shown = listed(&mut harness, true).await?;
        assert_eq!((shown.len(), shown[0].patient_id.as_str()), (1, id.as_str()));
        assert!(shown[0].deleted_at.is_some() && shown[0].revision == 2);
        // The number stays theirs.
        let status = harness.create(patient(1)).await.unwrap_err();
        assert_eq!(metadata(&status, "patientId"), id);

        assert_eq!(refusal(harness.undelete(&id, 1).await).1, "REVISION_STALE");
        let back = harness.undelete(&id, 2).await?;
        let expected = Patient { revision: 3, updated_at: back.updated_at, ..known.clone() };
        assert_eq!(back, expected);
        assert_eq!(harness.get(&id).await?, back);
        assert_eq!(harness.search(by_number("MRN-1")).await?, std::slice::from_ref(&id));
        let stored = harness.client.get_symptom_report(request).await?.into_inner().report;
        assert_eq!(stored, Some(report));
        assert_eq!(harness.notes(&id).await?.len(), 1);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_erased_is_in_no_table() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let request_id = Uuid::now_v7().to_string();
        let kept = harness.create_as(&request_id, patient(1)).await?;
        let id = kept.patient_id.clone();
        let duplicate = harness.create(patient(2)).await?;
        let stays = harness.create(patient(3)).await?;
        harness.report(&stays.patient_id, "headache").await?;
        let report = harness.report(&id, "headache").await?;
        harness.report(&duplicate.patient_id, "seizure").await?;
        harness.note(&id, "seen today").await?;
        let link = harness.link(&id, STUDY).await?;
        harness.merge(&kept, &duplicate).await?;
        harness.delete_entry(&link.study_link_id, 1).await?;
        harness.delete(&id, 2).await?;
        // Not on what was seen of somebody before, and not by the id of who was merged away.
        let status = harness.erase(&id, 2).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::Aborted, "REVISION_STALE".to_owned()));
        assert_eq!(metadata(&status, "revision"), "3");
        for revision in [2, 3] {
            let status = harness.erase(&duplicate.patient_id, revision).await.unwrap_err();
            let refused = (Code::FailedPrecondition, "MERGED_AWAY".to_owned());
            assert_eq!((status.code(), reason(&status)), refused);
            assert_eq!(metadata(&status, "patientId"), id);
        }
        let before = stored::audit(harness.store()).await?;

        // Deleted patients too; deleted entries too.
        assert_eq!(harness.erase(&id, 3).await?, 4);
        let db = harness.store();
        for row in patient_row::Entity::find().all(db).await? {
            let erased = row.patient_id.to_string() != stays.patient_id;
            assert_eq!(row.content.is_none() && row.request_mac.is_none(), erased);
            assert_eq!(row.erased_at.is_some(), erased);
        }
        for row in entry_row::Entity::find().all(db).await? {
            let erased = row.patient_id.to_string() != stays.patient_id;
            assert_eq!(row.content.is_none() && row.request_mac.is_none(), erased);
        }
        let tokens = search_token_row::Entity::find().all(db).await?;
        assert!(tokens.iter().all(|row| row.patient_id.to_string() == stays.patient_id));
        assert!(!tokens.is_empty());
        // The audit is only added to.
        let after = stored::audit(db).await?;
        assert_eq!(after.len(), before.len() + 2);
        assert!(before.iter().all(|row| after.contains(row)));
        let by_hand = format!(
            "SELECT count(*) AS n FROM entry WHERE content IS NOT NULL AND patient_id = {}",
            stored::id(db, &id)
        );
        assert_eq!(stored::number(db, &by_hand).await?, 0);

        let gone = (Code::NotFound, "PATIENT_NOT_FOUND".to_owned());
        for id in [&id, &duplicate.patient_id] {
            assert_eq!(refusal(harness.get(id).await), gone);
            assert_eq!(refusal(harness.undelete(id, 4).await), gone);
            assert_eq!(refusal(harness.report(id, "headache").await), gone);
            for revision in [0, 3, 99] {
                assert_eq!(harness.erase(id, revision).await?, 0);
            }
        }
        let request = GetSymptomReportRequest { symptom_report_id: report.symptom_report_id };
        let status = harness.client.get_symptom_report(request).await.unwrap_err();
        assert_eq!(reason(&status), "SYMPTOM_REPORT_NOT_FOUND");
        assert_eq!(listed(&mut harness, true).await?, [stays]);
        // What the request said is gone too.
        let again = harness.create_as(&request_id, patient(1)).await;
        assert_eq!(refusal(again), (Code::FailedPrecondition, "DELETED_SINCE".to_owned()));
        // The numbers are free.
        harness.create(patient(1)).await?;
        harness.create(patient(2)).await?;
        assert_eq!(refusal(harness.erase(&Uuid::now_v7().to_string(), 1).await), gone);
        harness.stop().await?;
    }
    Ok(())
}

fn timestamp(of: Option<Timestamp>) -> Timestamp {
    of.expect("a time")
}

#[tokio::test]
async fn lists_keep_to_their_filters_and_tokens_to_their_lists() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut made = Vec::new();
        for at in 0..4 {
            made.push(harness.create(patient(at)).await?);
        }
        let third = made[2].clone();
        let changed =
            harness.update(Patient { name: "Ada".to_owned(), ..made[0].clone() }, &["name"]);
        let changed = changed.await?;
        let client = harness.client.clone();
        let of = |filter: ListPatientsRequest| {
            let mut client = client.clone();
            async move {
                let page = client.list_patients(filter).await?.into_inner();
                Ok::<_, Status>(page.patients.into_iter().map(|p| p.patient_id).collect::<Vec<_>>())
            }
        };
        let ids: Vec<String> = made.iter().map(|patient| patient.patient_id.clone()).collect();
        let from = ListPatientsRequest { created_from: third.created_at, ..Default::default() };
        assert_eq!(of(from.clone()).await?, [ids[3].clone(), ids[2].clone()]);
        let before = ListPatientsRequest { created_before: third.created_at, ..Default::default() };
        assert_eq!(of(before).await?, [ids[1].clone(), ids[0].clone()]);
        let updated =
            ListPatientsRequest { updated_from: changed.updated_at, ..Default::default() };
        assert_eq!(of(updated).await?, [ids[0].clone()]);
        let both = ListPatientsRequest { created_before: third.created_at, ..from.clone() };
        assert!(of(both).await?.is_empty());
        let out = Timestamp { nanos: -1, ..timestamp(third.created_at) };
        let wrong = ListPatientsRequest { created_from: Some(out), ..Default::default() };
        assert_eq!(fields(&of(wrong).await.unwrap_err()), ["created_from"]);

        let first = ListPatientsRequest { page_size: 1, ..Default::default() };
        let token = harness.client.list_patients(first.clone()).await?.into_inner().next_page_token;
        assert!(!token.is_empty());
        let next = ListPatientsRequest { page_token: token.clone(), ..first.clone() };
        assert_eq!(of(next.clone()).await?, [ids[2].clone()]);
        let others = [
            ListPatientsRequest { show_deleted: true, ..next.clone() },
            ListPatientsRequest { created_from: third.created_at, ..next.clone() },
            ListPatientsRequest { updated_from: third.created_at, ..next },
        ];
        for other in others {
            assert_eq!(fields(&of(other).await.unwrap_err()), ["page_token"]);
        }
        let search = SearchPatientsRequest { page_token: token.clone(), ..by_number("MRN-1") };
        assert_eq!(fields(&harness.search(search).await.unwrap_err()), ["page_token"]);
        let patient_id = ids[0].clone();
        let reports =
            ListSymptomReportsRequest { patient_id, page_token: token, ..Default::default() };
        let status = harness.client.list_symptom_reports(reports).await.unwrap_err();
        assert_eq!(fields(&status), ["page_token"]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_entry_is_neither_shown_nor_found() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let id = harness.create(patient(1)).await?.patient_id;
        let headache = harness.report(&id, "headache").await?;
        let seizure = harness.report(&id, "seizure. no headache").await?;
        let code = headache.findings[0].code.clone();
        let by_code = SearchPatientsRequest { code: code.clone(), ..Default::default() };
        assert_eq!(harness.search(by_code.clone()).await?, std::slice::from_ref(&id));
        let mut client = harness.client.clone();
        let with_code =
            ListSymptomReportsRequest { patient_id: id.clone(), code, ..Default::default() };
        let page = client.list_symptom_reports(with_code.clone()).await?.into_inner();
        assert_eq!(page.reports, std::slice::from_ref(&headache), "what is denied is not found");
        let later = ListSymptomReportsRequest {
            patient_id: id.clone(),
            created_from: seizure.created_at,
            ..Default::default()
        };
        let page = client.list_symptom_reports(later).await?.into_inner();
        assert_eq!(page.reports, std::slice::from_ref(&seizure));

        let report_id = headache.symptom_report_id.clone();
        let status = harness.delete_entry(&report_id, 2).await.unwrap_err();
        assert_eq!(
            (reason(&status).as_str(), metadata(&status, "revision").as_str()),
            ("REVISION_STALE", "1")
        );
        assert_eq!(harness.delete_entry(&report_id, 1).await?, 2);
        assert_eq!(refusal(harness.delete_entry(&report_id, 2).await).1, "ENTRY_NOT_FOUND");
        assert!(harness.search(by_code).await?.is_empty());
        assert!(client.list_symptom_reports(with_code).await?.into_inner().reports.is_empty());
        assert_eq!(harness.reports(&id).await?, [seizure]);
        let record_id = stored::id(harness.store(), &report_id);
        let left = format!("SELECT count(*) AS n FROM search_token WHERE record_id = {record_id}");
        assert_eq!(stored::number(harness.store(), &left).await?, 0);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_entry_is_erased_by_itself() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let kept = harness.create(patient(1)).await?;
        let id = kept.patient_id.clone();
        let request_id = Uuid::now_v7().to_string();
        let report = harness.report_as(&request_id, &id, "seizure").await?;
        let report_id = report.symptom_report_id;
        let (stays, note) = (harness.report(&id, "headache").await?, harness.note(&id, "x").await?);
        let link = harness.link(&id, STUDY).await?;

        let nobody = harness.erase_entry(&Uuid::now_v7().to_string(), 1).await;
        assert_eq!(refusal(nobody), (Code::NotFound, "ENTRY_NOT_FOUND".to_owned()));
        assert_eq!(fields(&harness.erase_entry("", 1).await.unwrap_err()), ["entry_id"]);
        let status = harness.erase_entry(&report_id, 2).await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), (Code::Aborted, "REVISION_STALE".to_owned()));
        assert_eq!(metadata(&status, "revision"), "1");

        // One that is there, one that was deleted, and one whose patient was.
        assert_eq!(harness.erase_entry(&report_id, 1).await?, 2);
        assert_eq!(harness.delete_entry(&note.note_id, 1).await?, 2);
        assert_eq!(harness.erase_entry(&note.note_id, 2).await?, 3);
        let revision = harness.delete(&id, kept.revision).await?;
        assert_eq!(harness.erase_entry(&link.study_link_id, 1).await?, 2);
        harness.undelete(&id, revision).await?;
        for (entry_id, revision) in [(&report_id, 2), (&note.note_id, 3), (&link.study_link_id, 2)]
        {
            for named in [0, revision, 99] {
                assert_eq!(harness.erase_entry(entry_id, named).await?, revision);
            }
            assert_eq!(
                refusal(harness.delete_entry(entry_id, revision).await).1,
                "ENTRY_NOT_FOUND"
            );
        }
        for row in entry_row::Entity::find().all(harness.store()).await? {
            let erased = row.entry_id.to_string() != stays.symptom_report_id;
            assert_eq!(row.content.is_none() && row.request_mac.is_none(), erased);
            assert_eq!(row.erased_at.is_some(), erased);
        }
        let tokens = search_token_row::Entity::find().all(harness.store()).await?;
        let gone = |row: &search_token_row::Model| {
            [&report_id, &link.study_link_id].contains(&&row.record_id.to_string())
        };
        assert!(!tokens.iter().any(gone), "{tokens:?}");

        assert_eq!(harness.reports(&id).await?, [stays]);
        assert!(harness.notes(&id).await?.is_empty());
        let again = harness.report_as(&request_id, &id, "seizure").await;
        assert_eq!(refusal(again), (Code::FailedPrecondition, "DELETED_SINCE".to_owned()));
        // The study may be linked again: to whom it is of.
        let other = harness.create(patient(2)).await?.patient_id;
        harness.link(&other, STUDY).await?;
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_study_is_linked_once() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let id = harness.create(patient(1)).await?.patient_id;
        let other = harness.create(patient(2)).await?.patient_id;
        let link = harness.link(&id, STUDY).await?;
        assert_eq!(link.acquired_on, "2026-01-02");
        for patient_id in [&id, &other] {
            let status = harness.link(patient_id, STUDY).await.unwrap_err();
            assert_eq!(
                (status.code(), reason(&status)),
                (Code::AlreadyExists, "STUDY_LINKED".to_owned())
            );
            assert_eq!(metadata(&status, "patientId"), id);
        }
        let list = |patient_id: &str| ListStudyLinksRequest {
            patient_id: patient_id.to_owned(),
            ..Default::default()
        };
        let links = harness.client.list_study_links(list(&id)).await?.into_inner().links;
        assert_eq!(links, std::slice::from_ref(&link));
        harness.delete_entry(&link.study_link_id, 1).await?;
        let again = harness.link(&other, &STUDY.to_uppercase()).await?;
        let links = harness.client.list_study_links(list(&other)).await?.into_inner().links;
        assert_eq!(links, [again]);

        let wrong = LinkStudyRequest {
            request_id: Uuid::now_v7().to_string(),
            patient_id: id,
            study_id: STUDY.to_owned(),
            acquired_on: "soon".to_owned(),
            description: "two\nlines".to_owned(),
        };
        let status = harness.client.link_study(wrong).await.unwrap_err();
        assert_eq!(fields(&status), ["acquired_on", "description"]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn notes_come_back_newest_first() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let id = harness.create(patient(1)).await?.patient_id;
        let request_id = Uuid::now_v7().to_string();
        let request = |text: &str| CreateNoteRequest {
            request_id: request_id.clone(),
            patient_id: id.clone(),
            text: text.to_owned(),
        };
        let mut client = harness.client.clone();
        let first = client.create_note(request("오늘 진료\n둘째 줄")).await?.into_inner().note;
        let again = client.create_note(request("오늘 진료\n둘째 줄")).await?.into_inner().note;
        assert_eq!(again, first);
        let status = client.create_note(request("other")).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED");
        let second = harness.note(&id, "seen again").await?;
        assert_eq!(harness.notes(&id).await?, [second, first.expect("a note")]);
        assert_eq!(fields(&harness.note(&id, " \n").await.unwrap_err()), ["text"]);
        assert_eq!(entry_row::Entity::find().count(harness.store()).await?, 2);
        harness.stop().await?;
    }
    Ok(())
}
