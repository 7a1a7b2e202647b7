//! Every way in which the service refuses, and how it starts, is watched and ends.

use std::time::Duration;

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, ContactPoint, CreateNoteRequest, CreatePatientRequest,
    CreateSymptomReportRequest, Finding, GetNoteRequest, GetPatientRequest, GetStudyLinkRequest,
    GetSymptomReportRequest, LinkStudyRequest, ListNotesRequest, ListPatientsRequest,
    ListStudyLinksRequest, ListSymptomReportsRequest, MedicalRecordNumber, MergePatientsRequest,
    Patient, SearchPatientsRequest, UpdatePatientRequest, batch_create_request::Create,
    batch_create_result::Outcome, records_service_server::SERVICE_NAME,
};
use neurotriage_records::store::patient_row;
use neurotriage_testkit::{TestDb, databases};
use prost_types::FieldMask;
use sea_orm::{ConnectionTrait as _, EntityTrait as _, PaginatorTrait as _};
use tokio::time::timeout;
use tonic::{Code, Request, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::harness::{fields, patient, reason, refusal, start};

/// Longest that a test waits for something that happens at once.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_absent_is_not_found() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let id = Uuid::now_v7().to_string();

        let request = GetPatientRequest { patient_id: id.clone() };
        let status = harness.client.get_patient(request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "PATIENT_NOT_FOUND")
        );
        let info = status.get_details_error_info().expect("details");
        assert_eq!(info.domain, "records.neurotriage.example");
        assert_eq!(info.metadata["patientId"], id);

        let status = harness.report(&id, "headache").await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "PATIENT_NOT_FOUND")
        );

        let request = ListSymptomReportsRequest { patient_id: id.clone(), ..Default::default() };
        let status = harness.client.list_symptom_reports(request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::NotFound, "PATIENT_NOT_FOUND")
        );

        // Nor is there an entry of another kind, or one that was deleted.
        let patient_id = harness.create(patient(1)).await?.patient_id;
        let report = harness.report(&patient_id, "headache").await?.symptom_report_id;
        let note = harness.note(&patient_id, "seen").await?.note_id;
        let deleted = harness.note(&patient_id, "seen twice").await?.note_id;
        harness.delete_entry(&deleted, 1).await?;
        let absent = |name: &str| (Code::NotFound, name.to_owned());
        for symptom_report_id in [&id, &note] {
            let request = GetSymptomReportRequest { symptom_report_id: symptom_report_id.clone() };
            let got = refusal(harness.client.get_symptom_report(request).await);
            assert_eq!(got, absent("SYMPTOM_REPORT_NOT_FOUND"));
        }
        for study_link_id in [&id, &note] {
            let request = GetStudyLinkRequest { study_link_id: study_link_id.clone() };
            let got = refusal(harness.client.get_study_link(request).await);
            assert_eq!(got, absent("STUDY_LINK_NOT_FOUND"));
        }
        for note_id in [&id, &report, &deleted] {
            let request = GetNoteRequest { note_id: note_id.clone() };
            let got = refusal(harness.client.get_note(request).await);
            assert_eq!(got, absent("NOTE_NOT_FOUND"));
        }
        let got = harness.client.get_note(GetNoteRequest { note_id: note }).await?.into_inner();
        assert_eq!(got.note.expect("a note").text, "seen");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_number_belongs_to_one_patient_of_an_issuer() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        harness.create(patient(1)).await?;
        let status = harness.create(patient(1)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::AlreadyExists, "MEDICAL_RECORD_NUMBER_TAKEN")
        );
        assert!(!status.message().contains("MRN-1"));
        let mut elsewhere = patient(1);
        elsewhere.medical_record_numbers[0].issuer = "Another Hospital".to_owned();
        harness.create(elsewhere).await?;
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn values_that_are_none_are_named_where_they_stand() -> anyhow::Result<()> {
    type Spoil = fn(&mut Patient);
    let patients: [(&str, Spoil, &[&str]); 7] = [
        ("sex", |p| p.sex = 5, &["sex"]),
        ("hand", |p| p.handedness = i32::MIN, &["handedness"]),
        (
            "second contact",
            |p| p.contact_points.push(ContactPoint { system: 0, value: "110".to_owned() }),
            &["contact_points[1].system"],
        ),
        (
            "contact behind one that can't be read",
            |p| {
                let point = |system, value: &str| ContactPoint { system, value: value.to_owned() };
                p.contact_points = vec![point(9, "110"), point(1, "none")];
            },
            &["contact_points[0].system"],
        ),
        (
            "person",
            |p| {
                p.contact_persons[0].relationship = 7;
                p.contact_persons[0].contact_points[0].system = 3;
            },
            &["contact_persons[0].relationship", "contact_persons[0].contact_points[0].system"],
        ),
        (
            "consent",
            |p| {
                p.consents[0].scope = 0;
                p.consents[0].decided_on = "2026-02-30".to_owned();
            },
            &["consents[0].scope", "consents[0].decided_on"],
        ),
        ("birth date", |p| p.birth_date = "1960-2-29".to_owned(), &["birth_date"]),
    ];
    type SpoilReport = fn(&mut CreateSymptomReportRequest);
    let reports: [(&str, SpoilReport, &[&str]); 4] = [
        ("reporter", |r| r.reporter = 5, &["reporter"]),
        (
            "finding",
            |r| {
                let finding = Finding {
                    side: 9,
                    onset: 9,
                    course: 9,
                    severity: 9,
                    origin: 9,
                    ..r.findings[0].clone()
                };
                r.findings.push(Finding { code: "NT:other".to_owned(), ..finding });
            },
            &[
                "findings[1].side",
                "findings[1].onset",
                "findings[1].course",
                "findings[1].severity",
                "findings[1].origin",
            ],
        ),
        (
            "time",
            |r| r.reported_at = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
            &["reported_at"],
        ),
        (
            "part of a second",
            |r| r.reported_at = Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
            &["reported_at"],
        ),
    ];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        for (case, spoil, wrong) in &patients {
            let mut spoilt = patient(1);
            spoil(&mut spoilt);
            let status = harness.create(spoilt).await.expect_err(case);
            let wrong: Vec<String> = wrong.iter().map(|field| format!("patient.{field}")).collect();
            assert_eq!(fields(&status), wrong, "case: {case}");
        }
        let patient_id = harness.create(patient(1)).await?.patient_id;
        let finding = Finding {
            code: "NT:sample".to_owned(),
            display_name: "Sample".to_owned(),
            present: Some(true),
            ..Finding::default()
        };
        for (case, spoil, wrong) in &reports {
            let mut request = CreateSymptomReportRequest {
                request_id: Uuid::now_v7().to_string(),
                patient_id: patient_id.clone(),
                text: "headache".to_owned(),
                findings: vec![finding.clone()],
                ..Default::default()
            };
            spoil(&mut request);
            let status = harness.client.create_symptom_report(request).await.expect_err(case);
            assert_eq!(fields(&status), *wrong, "case: {case}");
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_finding_says_whether_it_is_there() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let patient_id = harness.create(patient(1)).await?.patient_id;
        let finding = |present| Finding {
            code: "NT:sample".to_owned(),
            display_name: "Sample".to_owned(),
            present,
            ..Finding::default()
        };
        let of = |findings: Vec<Finding>| CreateSymptomReportRequest {
            request_id: Uuid::now_v7().to_string(),
            patient_id: patient_id.clone(),
            findings,
            ..Default::default()
        };
        let unsaid = of(vec![Finding { code: "NT:first".to_owned(), ..finding(Some(true)) }, {
            // Nothing else is wrong with it, as there would be with a denial.
            Finding { onset: 1, ..finding(None) }
        }]);
        let status = harness.client.create_symptom_report(unsaid.clone()).await.unwrap_err();
        assert_eq!(fields(&status), ["findings[1].present"]);
        let create = BatchCreateRequest { create: Some(Create::SymptomReport(unsaid)) };
        let stream = tokio_stream::once(create);
        let results = harness.client.batch_create(stream).await?.into_inner().results;
        let Some(Outcome::Error(error)) = &results[0].outcome else { panic!("{results:?}") };
        assert_eq!(error.field_violations[0].field, "findings[1].present");
        assert_eq!(error.field_violations.len(), 1);
        for present in [true, false] {
            let request = of(vec![finding(Some(present))]);
            let report = harness.client.create_symptom_report(request).await?.into_inner().report;
            assert_eq!(report.expect("a report").findings[0].present, Some(present));
        }
        // A denial of no side is one of every side.
        let left = Finding { side: 1, ..finding(Some(true)) };
        let contradiction = of(vec![left, finding(Some(false))]);
        let status = harness.client.create_symptom_report(contradiction).await.unwrap_err();
        assert_eq!(fields(&status), ["findings[1].present"]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() -> anyhow::Result<()> {
    let mut harness = start(TestDb::sqlite::<Migrator>().await?).await?;
    let known = harness.create(patient(1)).await?;
    let out = Some(prost_types::Timestamp { seconds: 0, nanos: -1 });
    let none = || "none".to_owned();
    let wrong = || Patient { name: "n".repeat(300), birth_date: none(), sex: 99, ..known.clone() };
    let mut client = harness.client.clone();

    let request = CreatePatientRequest { request_id: none(), patient: Some(wrong()) };
    let status = client.create_patient(request).await.unwrap_err();
    let of_patient = ["patient.name", "patient.birth_date", "patient.sex"];
    assert_eq!(fields(&status), [["request_id"].as_slice(), &of_patient].concat());

    let paths = ["name", "nickname", "sex"].map(str::to_owned).to_vec();
    let patient = Some(Patient { patient_id: none(), ..wrong() });
    let update_mask = Some(FieldMask { paths });
    let status =
        client.update_patient(UpdatePatientRequest { patient, update_mask }).await.unwrap_err();
    let expected = ["patient.patient_id", "update_mask", "patient.name", "patient.sex"];
    assert_eq!(fields(&status), expected);

    let request = CreateSymptomReportRequest {
        request_id: none(),
        patient_id: none(),
        text: "a\0b".to_owned(),
        reporter: 9,
        reported_at: out,
        findings: vec![Finding { code: none(), side: 9, ..Default::default() }],
    };
    let status = client.create_symptom_report(request).await.unwrap_err();
    let expected = [
        "request_id",
        "patient_id",
        "reporter",
        "reported_at",
        "findings[0].side",
        "findings[0].present",
        "text",
        "findings[0].code",
        "findings[0].display_name",
    ];
    assert_eq!(fields(&status), expected);

    let request = LinkStudyRequest {
        request_id: none(),
        patient_id: none(),
        study_id: none(),
        acquired_on: none(),
        description: "two\nlines".to_owned(),
    };
    let status = client.link_study(request).await.unwrap_err();
    let expected = ["request_id", "patient_id", "study_id", "acquired_on", "description"];
    assert_eq!(fields(&status), expected);
    let request =
        CreateNoteRequest { request_id: none(), patient_id: none(), text: " ".to_owned() };
    let status = client.create_note(request).await.unwrap_err();
    assert_eq!(fields(&status), ["request_id", "patient_id", "text"]);

    let request = ListPatientsRequest {
        page_size: 201,
        page_token: none(),
        created_from: out,
        created_before: out,
        updated_from: out,
        show_deleted: false,
    };
    let status = client.list_patients(request).await.unwrap_err();
    let times = ["created_from", "created_before"];
    let page = ["page_token", "page_size"];
    assert_eq!(fields(&status), [times.as_slice(), &["updated_from"], &page].concat());
    let request = ListSymptomReportsRequest {
        patient_id: none(),
        page_size: 201,
        page_token: none(),
        code: "N".repeat(129),
        created_from: out,
        created_before: out,
    };
    let status = client.list_symptom_reports(request).await.unwrap_err();
    assert_eq!(fields(&status), [["patient_id", "code"].as_slice(), &times, &page].concat());
    let (patient_id, page_token, page_size) = (none(), none(), 201);
    let request = ListNotesRequest { patient_id, page_size, page_token };
    let status = client.list_notes(request).await.unwrap_err();
    assert_eq!(fields(&status), [["patient_id"].as_slice(), &page].concat());
    let request = ListStudyLinksRequest { patient_id: none(), page_size: 201, page_token: none() };
    let status = client.list_study_links(request).await.unwrap_err();
    assert_eq!(fields(&status), [["patient_id"].as_slice(), &page].concat());

    let request = SearchPatientsRequest {
        name_prefix: "k".to_owned(),
        medical_record_number: Some(MedicalRecordNumber::default()),
        birth_date: none(),
        code: "N".repeat(129),
        page_size: 201,
        page_token: none(),
    };
    let status = client.search_patients(request).await.unwrap_err();
    let criteria = ["medical_record_number", "birth_date", "code", "name_prefix"];
    assert_eq!(fields(&status), [criteria.as_slice(), &page].concat());
    let request = MergePatientsRequest {
        patient_id: none(),
        duplicate_patient_id: none(),
        ..Default::default()
    };
    let status = client.merge_patients(request).await.unwrap_err();
    assert_eq!(fields(&status), ["patient_id", "duplicate_patient_id"]);
    drop(client);
    harness.stop().await
}

#[tokio::test]
async fn wrong_pages_are_refused() -> anyhow::Result<()> {
    let mut harness = start(TestDb::sqlite::<Migrator>().await?).await?;
    let patient_id = harness.create(patient(1)).await?.patient_id;
    let table = [
        ("too large", 201, String::new(), "page_size"),
        ("not a token", 0, "banana".to_owned(), "page_token"),
        ("an id", 0, patient_id.clone(), "page_token"),
    ];
    for (case, page_size, page_token, field) in table {
        let request =
            ListPatientsRequest { page_size, page_token: page_token.clone(), ..Default::default() };
        let status = harness.client.list_patients(request).await.expect_err(case);
        assert_eq!(fields(&status), [field], "case: {case}");
        let patient_id = patient_id.clone();
        let request =
            ListSymptomReportsRequest { patient_id, page_size, page_token, ..Default::default() };
        let status = harness.client.list_symptom_reports(request).await.expect_err(case);
        assert_eq!(fields(&status), [field], "case: {case}");
    }
    harness.stop().await
}

#[tokio::test]
async fn a_database_that_is_away_asks_to_try_again() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        harness.db.service.clone().close().await?;
        let status = harness.create(patient(1)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unavailable, "DATABASE_UNAVAILABLE")
        );
        assert!(status.get_details_retry_info().is_some());
        drop((harness.client, harness.channel));
        let _ = harness.stop.send(());
        harness.server.await??;
        harness.db.drop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_broken_store_says_nothing_about_itself() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        harness.create(patient(1)).await?;
        harness.db.db.execute_unprepared("DROP TABLE audit_entry").await?;
        let status = harness.create(patient(2)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "STORE_FAILED"));
        assert_eq!(status.message(), "internal error");
        // Nothing is stored, and nothing read, without its audit entry.
        assert_eq!(patient_row::Entity::find().count(&harness.db.db).await?, 1);
        let status =
            harness.client.list_patients(ListPatientsRequest::default()).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn health_names_the_service_and_turns_when_it_ends() -> anyhow::Result<()> {
    let harness = start(TestDb::sqlite::<Migrator>().await?).await?;
    let mut health = HealthClient::new(harness.channel.clone());
    for service in ["", SERVICE_NAME] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = health.check(request).await?.into_inner().status;
        assert_eq!(status, ServingStatus::Serving as i32, "service: {service}");
    }
    let request = HealthCheckRequest { service: "nobody".to_owned() };
    assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);

    // A watcher sees the turn, and does not hold the server up.
    let request = HealthCheckRequest { service: SERVICE_NAME.to_owned() };
    let mut watch = health.watch(request).await?.into_inner();
    let seen = watch.message().await?.expect("a first state").status;
    assert_eq!(seen, ServingStatus::Serving as i32);
    let _ = harness.stop.send(());
    let seen = timeout(PATIENCE, watch.message()).await??.expect("a second state").status;
    assert_eq!(seen, ServingStatus::NotServing as i32);
    drop((harness.client, harness.channel, health, watch));
    timeout(PATIENCE, harness.server).await???;
    harness.db.drop().await
}

#[tokio::test]
async fn a_call_that_runs_at_shutdown_is_answered() -> anyhow::Result<()> {
    let mut harness = start(TestDb::sqlite::<Migrator>().await?).await?;
    let patient_id = harness.create(patient(1)).await?.patient_id;
    // A writer that holds the database keeps the call running.
    let blocker = sea_orm::TransactionTrait::begin(&harness.db.db).await?;
    blocker.execute_unprepared("UPDATE patient SET revision = revision").await?;
    let mut client = harness.client.clone();
    let request = neurotriage_proto::records::v1::CreateSymptomReportRequest {
        request_id: Uuid::now_v7().to_string(),
        patient_id,
        text: "headache".to_owned(),
        ..Default::default()
    };
    let call =
        tokio::spawn(async move { client.create_symptom_report(Request::new(request)).await });
    // The call has reached the store once this one, sent after it on the same connection, is back.
    let health = HealthCheckRequest::default();
    HealthClient::new(harness.channel.clone()).check(health).await?;
    let mut watch = HealthClient::new(harness.channel.clone())
        .watch(HealthCheckRequest::default())
        .await?
        .into_inner();
    watch.message().await?;
    let _ = harness.stop.send(());
    timeout(PATIENCE, watch.message()).await??;
    blocker.commit().await?;
    let report = timeout(PATIENCE, call).await???.into_inner().report.expect("a report");
    assert_eq!(report.findings.len(), 1);
    drop((harness.client, harness.channel, watch));
    timeout(PATIENCE, harness.server).await???;
    harness.db.drop().await
}

#[tokio::test]
async fn reflection_lists_the_service() -> anyhow::Result<()> {
    let harness = start(TestDb::sqlite::<Migrator>().await?).await?;
    let names = services(harness.channel.clone()).await?;
    for name in [SERVICE_NAME, "grpc.health.v1.Health"] {
        assert!(names.iter().any(|listed| listed == name), "{name} in {names:?}");
    }
    harness.stop().await
}

async fn services(channel: Channel) -> anyhow::Result<Vec<String>> {
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers =
        client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    let answer = answers.message().await?.and_then(|answer| answer.message_response);
    match answer {
        Some(MessageResponse::ListServicesResponse(list)) => {
            Ok(list.service.into_iter().map(|service| service.name).collect())
        }
        other => anyhow::bail!("no list of services: {other:?}"),
    }
}

#[tokio::test]
async fn a_database_without_the_schema_is_refused_at_start() -> anyhow::Result<()> {
    use neurotriage_service_kit::database;
    for db in databases::<neurotriage_migrations::referral::Migrator>().await? {
        let error = database::check_schema::<Migrator>(&db.db).await.unwrap_err();
        assert!(error.to_string().contains("neurotriage-migrate up"), "{error}");
        db.drop().await?;
    }
    Ok(())
}
