//! Patients and symptom reports over a socket, in SQLite and PostgreSQL.

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::{
    common::v1::Side,
    records::v1::{
        CreatePatientRequest, GetPatientRequest, GetSymptomReportRequest, ListPatientsRequest,
        ListSymptomReportsRequest, MedicalRecordNumber, Patient,
    },
};
use neurotriage_records::store::{entry_row, patient_row};
use neurotriage_testkit::databases;
use sea_orm::{EntityTrait as _, PaginatorTrait as _};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::{Harness, fields, metadata, patient, reason, refusal, start};

#[tokio::test]
async fn a_patient_comes_back_as_stored() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let created = harness.create(patient(1)).await?;
        assert_eq!(created.revision, 1);
        let expected = Patient {
            patient_id: created.patient_id.clone(),
            created_at: created.created_at,
            updated_at: created.created_at,
            revision: 1,
            ..patient(1)
        };
        assert_eq!(created, expected);
        let bare = Patient {
            medical_record_numbers: vec![MedicalRecordNumber {
                issuer: "I".to_owned(),
                number: " 2 ".to_owned(),
            }],
            ..Patient::default()
        };
        let bare = harness.create(bare).await?;
        assert_eq!((bare.medical_record_numbers[0].number.as_str(), &bare.address), ("2", &None));
        for created in [created, bare] {
            let request = GetPatientRequest { patient_id: created.patient_id.clone() };
            let stored = harness.client.get_patient(request).await?.into_inner().patient;
            assert_eq!(stored, Some(created));
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_report_keeps_the_text_and_what_was_understood() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let patient_id = harness.create(patient(1)).await?.patient_id;
        let text = "Weakness of the right arm, 두통은 없다. Purple elephants.";
        let created = harness.report(&patient_id, text).await?;
        assert_eq!(created.text, text);
        assert_eq!(created.patient_id, patient_id);
        assert_eq!(created.not_understood, ["Purple elephants"]);
        assert!(!created.lexicon_version.is_empty());
        let [weakness, headache] = created.findings.as_slice() else {
            anyhow::bail!("findings: {:?}", created.findings);
        };
        assert_eq!((weakness.finding_id.as_str(), weakness.present), ("hemiparesis", Some(true)));
        assert_eq!(weakness.side(), Side::Right);
        assert_eq!(weakness.code, "HP:0001269");
        assert_eq!(weakness.matched_text, "Weakness of the right arm");
        assert_eq!((headache.finding_id.as_str(), headache.present), ("headache", Some(false)));
        assert_eq!(headache.side(), Side::Unspecified);
        let request =
            GetSymptomReportRequest { symptom_report_id: created.symptom_report_id.clone() };
        let stored = harness.client.get_symptom_report(request).await?.into_inner().report;
        assert_eq!(stored, Some(created));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_repeated_create_returns_what_the_first_one_made() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let request = Uuid::now_v7().to_string();
        let first = harness.create_as(&request, patient(1)).await?;
        assert_eq!(harness.create_as(&request, patient(1)).await?, first);
        let status = harness.create_as(&request, patient(2)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::AlreadyExists, "REQUEST_ID_REUSED".into())
        );

        let report = harness.report_as(&request, &first.patient_id, "headache").await?;
        assert_eq!(harness.report_as(&request, &first.patient_id, "headache").await?, report);
        let status = harness.report_as(&request, &first.patient_id, "seizure").await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::AlreadyExists, "REQUEST_ID_REUSED".into())
        );
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_repeated_create_shows_nothing_of_what_is_deleted() -> anyhow::Result<()> {
    let gone = (Code::FailedPrecondition, "DELETED_SINCE".to_owned());
    let nobody = (Code::NotFound, "PATIENT_NOT_FOUND".to_owned());
    let reused = (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned());
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let [of_patient, of_report] = [(); 2].map(|()| Uuid::now_v7().to_string());
        let known = harness.create_as(&of_patient, patient(1)).await?;
        let id = known.patient_id.clone();
        let report = harness.report_as(&of_report, &id, "headache").await?;

        harness.delete_entry(&report.symptom_report_id, 1).await?;
        let status = harness.report_as(&of_report, &id, "headache").await.unwrap_err();
        assert_eq!((status.code(), reason(&status)), gone);
        assert_eq!(metadata(&status, "requestId"), of_report);
        assert!(!format!("{status:?}").contains("headache"));
        assert_eq!(refusal(harness.report_as(&of_report, &id, "seizure").await), reused);

        harness.delete(&id, 1).await?;
        assert_eq!(refusal(harness.create_as(&of_patient, patient(1)).await), gone);
        assert_eq!(refusal(harness.create_as(&of_patient, patient(2)).await), reused);
        // Of a patient who is not there nothing is made, nor was.
        assert_eq!(refusal(harness.report_as(&of_report, &id, "headache").await), nobody);
        let back = harness.undelete(&id, 2).await?;
        assert_eq!(harness.create_as(&of_patient, patient(1)).await?, back);

        // Who was merged since is who remains, deleted or not.
        let kept = harness.create(patient(3)).await?;
        let merged = harness.merge(&kept, &back).await?;
        assert_eq!(harness.create_as(&of_patient, patient(1)).await?, merged);
        let revision = harness.delete(&kept.patient_id, merged.revision).await?;
        assert_eq!(refusal(harness.create_as(&of_patient, patient(1)).await), gone);
        harness.erase(&kept.patient_id, revision).await?;
        assert_eq!(refusal(harness.create_as(&of_patient, patient(1)).await), gone);
        assert_eq!(patient_row::Entity::find().count(harness.store()).await?, 2);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_that_run_at_once_store_one_record() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let request_id = Uuid::now_v7().to_string();
        let calls: Vec<_> = (0..16)
            .map(|_| {
                let mut client = harness.client.clone();
                let request = CreatePatientRequest {
                    request_id: request_id.clone(),
                    patient: Some(patient(1)),
                };
                tokio::spawn(async move { client.create_patient(request).await })
            })
            .collect();
        let mut made = Vec::new();
        for call in calls {
            made.push(call.await??.into_inner().patient.expect("a patient"));
        }
        assert!(made.iter().all(|one| *one == made[0]));
        assert_eq!(patient_row::Entity::find().count(&harness.db.db).await?, 1);

        let patient_id = made[0].patient_id.clone();
        let calls: Vec<_> = (0..16)
            .map(|_| {
                let mut client = harness.client.clone();
                let request = neurotriage_proto::records::v1::CreateSymptomReportRequest {
                    request_id: request_id.clone(),
                    patient_id: patient_id.clone(),
                    text: "headache".to_owned(),
                    ..Default::default()
                };
                tokio::spawn(async move { client.create_symptom_report(request).await })
            })
            .collect();
        let mut ids = Vec::new();
        for call in calls {
            ids.push(call.await??.into_inner().report.expect("a report").symptom_report_id);
        }
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(entry_row::Entity::find().count(&harness.db.db).await?, 1);
        // Different requests at once do not disturb each other.
        harness.report(&patient_id, "seizure").await?;
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn patients_come_in_pages_newest_first() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let empty = harness.client.list_patients(ListPatientsRequest::default()).await?;
        assert!(empty.into_inner().patients.is_empty());
        let mut ids = Vec::new();
        for number in 0..5 {
            ids.push(harness.create(patient(number)).await?.patient_id);
        }
        ids.reverse();
        for page_size in [1, 2, 5, 6, 0] {
            assert_eq!(
                listed_patients(&mut harness, page_size).await?,
                ids,
                "pages of {page_size}"
            );
        }
        harness.stop().await?;
    }
    Ok(())
}

async fn listed_patients(harness: &mut Harness, page_size: u32) -> Result<Vec<String>, Status> {
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPatientsRequest { page_size, page_token, ..Default::default() };
        let page = harness.client.list_patients(request).await?.into_inner();
        assert!(page_size == 0 || page.patients.len() <= page_size as usize);
        seen.extend(page.patients.into_iter().map(|patient| patient.patient_id));
        if page.next_page_token.is_empty() {
            return Ok(seen);
        }
        page_token = page.next_page_token;
    }
}

#[tokio::test]
async fn reports_are_listed_for_their_patient_only() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let patient_id = harness.create(patient(1)).await?.patient_id;
        let other = harness.create(patient(2)).await?.patient_id;
        let mut ids = Vec::new();
        for text in ["headache", "seizure", "두통"] {
            ids.push(harness.report(&patient_id, text).await?.symptom_report_id);
        }
        ids.reverse();
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let patient_id = patient_id.clone();
            let request = ListSymptomReportsRequest {
                patient_id,
                page_size: 2,
                page_token,
                ..Default::default()
            };
            let page = harness.client.list_symptom_reports(request).await?.into_inner();
            seen.extend(page.reports.into_iter().map(|report| report.symptom_report_id));
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        assert_eq!(seen, ids);
        let request = ListSymptomReportsRequest { patient_id: other, ..Default::default() };
        let page = harness.client.list_symptom_reports(request).await?.into_inner();
        assert!(page.reports.is_empty());
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn wrong_fields_are_named() -> anyhow::Result<()> {
    type Spoil = fn(&mut CreatePatientRequest);
    fn of(request: &mut CreatePatientRequest) -> &mut Patient {
        request.patient.get_or_insert_default()
    }
    let table: [(&str, Spoil, &[&str]); 8] = [
        ("request id", |r| r.request_id = "x".into(), &["request_id"]),
        ("no patient", |r| r.patient = None, &["patient"]),
        ("number", |r| of(r).medical_record_numbers.clear(), &["patient.medical_record_numbers"]),
        (
            "two fields",
            |r| {
                of(r).medical_record_numbers[0].issuer.clear();
                of(r).name = "n".repeat(257);
            },
            &["patient.medical_record_numbers[0].issuer", "patient.name"],
        ),
        ("birth date", |r| of(r).birth_date = "yesterday".into(), &["patient.birth_date"]),
        ("sex", |r| of(r).sex = 99, &["patient.sex"]),
        ("hand", |r| of(r).handedness = -1, &["patient.handedness"]),
        (
            "home",
            |r| {
                let address = of(r).address.get_or_insert_default();
                address.coordinates.get_or_insert_default().longitude_degrees = 181.0;
            },
            &["patient.address.coordinates.longitude_degrees"],
        ),
    ];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        for (case, spoil, wrong) in &table {
            let mut request = CreatePatientRequest {
                request_id: Uuid::now_v7().to_string(),
                patient: Some(patient(1)),
            };
            spoil(&mut request);
            let status = harness.client.create_patient(request).await.expect_err(case);
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::InvalidArgument, "INVALID_FIELDS")
            );
            assert_eq!(fields(&status), *wrong, "case: {case}");
        }
        assert_eq!(patient_row::Entity::find().count(&harness.db.db).await?, 0);

        let known = harness.create(patient(1)).await?.patient_id;
        let long = "가".repeat(20_001);
        let request = Uuid::now_v7().to_string();
        let reports = [
            ("request id", "x", known.as_str(), "headache", "request_id"),
            ("patient id", request.as_str(), "김하나", "headache", "patient_id"),
            ("empty text", request.as_str(), known.as_str(), "", "text"),
            ("long text", request.as_str(), known.as_str(), long.as_str(), "text"),
            ("NUL", request.as_str(), known.as_str(), "a\0b", "text"),
        ];
        for (case, request, patient_id, text, field) in reports {
            let status = harness.report_as(request, patient_id, text).await.expect_err(case);
            assert_eq!(fields(&status), [field], "case: {case}");
            let shown = format!("{status:?}");
            assert!(!shown.contains("김하나"), "case: {case}: {shown}");
        }
        harness.stop().await?;
    }
    Ok(())
}
