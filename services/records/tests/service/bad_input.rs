//! Bad input, kind by kind, to every call that stores: INVALID_ARGUMENT with every wrong field once, and nothing stored.

use std::marker::PhantomData;

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, BatchCreateResponse, Course, CreateNoteRequest, CreateNoteResponse,
    CreatePatientRequest, CreatePatientResponse, CreateSymptomReportRequest,
    CreateSymptomReportResponse, Finding, LinkStudyRequest, LinkStudyResponse,
    ListSymptomReportsRequest, MedicalRecordNumber, Patient, SearchPatientsRequest, Severity,
    UpdatePatientRequest, WatchChangesRequest, batch_create_request::Create,
    batch_create_result::Outcome,
};
use neurotriage_testkit::databases;
use prost::{Message, bytes::Buf as _, bytes::BufMut as _};
use prost_types::FieldMask;
use tonic::{
    Code, Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};
use uuid::Uuid;

use crate::harness::{Harness, fields, patient, reason, start, stored};

const SQL: &str = "Robert'); DROP TABLE patient;--";
/// The masks of every field of a patient that callers change.
const PATHS: [&str; 10] = [
    "medical_record_numbers",
    "name",
    "birth_date",
    "sex",
    "handedness",
    "address",
    "contact_points",
    "contact_persons",
    "consents",
    "languages",
];
/// More than a message may have.
const TOO_LONG_BYTES: usize = 5 * 1024 * 1024;

/// Spoils a patient. Behind it stand the paths of what is wrong then, below the patient.
type Spoil = (&'static str, fn(&mut Patient), &'static [&'static str]);

const PATIENTS: [Spoil; 22] = [
    ("born in the future", |p| p.birth_date = "2999-01-01".to_owned(), &["birth_date"]),
    ("born too long ago", |p| p.birth_date = "1879-12-31".to_owned(), &["birth_date"]),
    ("no date", |p| p.birth_date = "29/02/1960".to_owned(), &["birth_date"]),
    ("no such day", |p| p.birth_date = "1961-02-29".to_owned(), &["birth_date"]),
    ("long name", |p| p.name = "가".repeat(257), &["name"]),
    ("long name, and SQL", |p| p.name = SQL.repeat(40), &["name"]),
    ("control character in the name", |p| p.name = "Kim\u{1b}Hana".to_owned(), &["name"]),
    ("line break in the name", |p| p.name = "Kim\nHana".to_owned(), &["name"]),
    ("SQL as a name", |p| p.name = SQL.to_owned(), &["name"]),
    ("SQL, a condition", |p| p.name = "' OR '1'='1".to_owned(), &["name"]),
    ("SQL, a comment", |p| p.name = "admin'/*".to_owned(), &["name"]),
    (
        "SQL as a contact's name",
        |p| p.contact_persons[0].name = SQL.to_owned(),
        &["contact_persons[0].name"],
    ),
    ("unknown sex", |p| p.sex = 99, &["sex"]),
    ("unknown hand", |p| p.handedness = -1, &["handedness"]),
    (
        "unknown relationship",
        |p| p.contact_persons[0].relationship = 99,
        &["contact_persons[0].relationship"],
    ),
    ("unknown consent", |p| p.consents[0].scope = 99, &["consents[0].scope"]),
    (
        "control characters in a number",
        |p| {
            p.medical_record_numbers[0] =
                MedicalRecordNumber { issuer: "a\0b".to_owned(), number: "1\t2".to_owned() };
        },
        &["medical_record_numbers[0].issuer", "medical_record_numbers[0].number"],
    ),
    (
        "long number",
        |p| p.medical_record_numbers[0].number = "1".repeat(65),
        &["medical_record_numbers[0].number"],
    ),
    ("no number", |p| p.medical_record_numbers.clear(), &["medical_record_numbers"]),
    (
        "address",
        |p| {
            let address = p.address.as_mut().expect("an address");
            address.lines = vec!["1 Sample\nStreet".to_owned()];
            address.city = "c".repeat(129);
            address.coordinates.as_mut().expect("a place").latitude_degrees = f64::NAN;
        },
        &["address.lines[0]", "address.city", "address.coordinates.latitude_degrees"],
    ),
    (
        "consent in the future",
        |p| p.consents[0].decided_on = "2999-01-01".to_owned(),
        &["consents[0].decided_on"],
    ),
    (
        "contacts and languages",
        |p| {
            p.contact_points[0].value = "call me".to_owned();
            p.languages = vec!["Korean".to_owned(), "ko_KR".to_owned()];
        },
        &["contact_points[0].value", "languages[1]"],
    ),
];

#[tokio::test]
async fn of_a_patient() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(patient(1)).await?;
        for (case, spoil, wrong) in PATIENTS {
            let wrong: Vec<String> = wrong.iter().map(|field| format!("patient.{field}")).collect();
            let mut spoilt = patient(2);
            spoil(&mut spoilt);
            let create = CreatePatientRequest { request_id: id(), patient: Some(spoilt) };
            let refused = harness.client.create_patient(create.clone()).await.expect_err(case);
            assert_invalid(&refused, &wrong, case);
            let refused = in_a_batch(&mut harness, Create::Patient(create)).await?;
            assert_eq!(refused, wrong, "in a batch: {case}");

            let mut spoilt = known.clone();
            spoil(&mut spoilt);
            let update_mask = Some(FieldMask { paths: PATHS.map(str::to_owned).to_vec() });
            let update = UpdatePatientRequest { patient: Some(spoilt), update_mask };
            let refused = harness.client.update_patient(update).await.expect_err(case);
            assert_invalid(&refused, &wrong, case);
        }
        assert_eq!(harness.get(&known.patient_id).await?, known);
        assert_eq!(stored::number(harness.store(), "SELECT count(*) AS n FROM patient").await?, 1);
        harness.stop().await?;
    }
    Ok(())
}

/// Spoils a report of a finding that is there. Behind it stand the paths of what is wrong then.
type SpoilReport = (&'static str, fn(&mut CreateSymptomReportRequest), &'static [&'static str]);

const REPORTS: [SpoilReport; 12] = [
    ("long text", |r| r.text = "a".repeat(20_001), &["text"]),
    ("control character", |r| r.text = "head\u{7}ache".to_owned(), &["text"]),
    (
        "nothing",
        |r| {
            r.text = " \n".to_owned();
            r.findings.clear();
        },
        &["text"],
    ),
    ("unknown reporter", |r| r.reporter = 99, &["reporter"]),
    (
        "reported in the future",
        |r| {
            let seconds = 32_503_680_000;
            r.reported_at = Some(prost_types::Timestamp { seconds, nanos: 0 });
        },
        &["reported_at"],
    ),
    ("SQL as a code", |r| r.findings[0].code = SQL.to_owned(), &["findings[0].code"]),
    (
        "one wrong code twice",
        |r| {
            r.findings[0].code = "G43".to_owned();
            r.findings.push(r.findings[0].clone());
        },
        &["findings[0].code", "findings[1].code"],
    ),
    (
        "a code and a finding that contradict",
        |r| {
            r.findings[0].code = "HP:0001250".to_owned();
            r.findings[0].finding_id = "hemiparesis".to_owned();
        },
        &["findings[0].finding_id"],
    ),
    (
        "present and denied",
        |r| r.findings.push(Finding { present: Some(false), ..r.findings[0].clone() }),
        &["findings[1].present"],
    ),
    (
        "present, and denied with a severity",
        |r| {
            let denied = Finding { present: Some(false), ..r.findings[0].clone() };
            r.findings.push(Finding {
                severity: Severity::Mild.into(),
                course: Course::Stable.into(),
                ..denied
            });
        },
        &["findings[1].present"],
    ),
    (
        "unknown values",
        |r| {
            r.findings[0].side = 99;
            r.findings[0].severity = 99;
        },
        &["findings[0].side", "findings[0].severity"],
    ),
    (
        "control character in a name",
        |r| r.findings[0].display_name = "a\u{85}b".to_owned(),
        &["findings[0].display_name"],
    ),
];

#[tokio::test]
async fn of_an_entry() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let patient_id = harness.create(patient(1)).await?.patient_id;
        for (case, spoil, wrong) in REPORTS {
            let mut request = report(&patient_id);
            spoil(&mut request);
            let refused = harness.client.create_symptom_report(request.clone()).await;
            assert_invalid(&refused.expect_err(case), wrong, case);
            let refused = in_a_batch(&mut harness, Create::SymptomReport(request)).await?;
            assert_eq!(refused, wrong, "in a batch: {case}");
        }
        for text in [String::new(), " \t".to_owned(), "n".repeat(20_001), "a\0b".to_owned()] {
            let request = CreateNoteRequest { text, ..note(&patient_id) };
            let refused = harness.client.create_note(request.clone()).await.unwrap_err();
            assert_invalid(&refused, &["text"], "note");
            assert_eq!(in_a_batch(&mut harness, Create::Note(request)).await?, ["text"]);
        }
        let request = LinkStudyRequest {
            study_id: SQL.to_owned(),
            acquired_on: "2999-01-01".to_owned(),
            description: "d".repeat(257),
            ..link(&patient_id)
        };
        let wrong = ["study_id", "description", "acquired_on"];
        let refused = harness.client.link_study(request.clone()).await.unwrap_err();
        assert_invalid(&refused, &wrong, "link");
        assert_eq!(in_a_batch(&mut harness, Create::StudyLink(request)).await?, wrong);
        assert_eq!(stored::number(harness.store(), "SELECT count(*) AS n FROM entry").await?, 0);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_a_question() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let patient_id = harness.create(patient(1)).await?.patient_id;
        let searches = [
            SearchPatientsRequest { name_prefix: SQL.to_owned(), ..Default::default() },
            SearchPatientsRequest { birth_date: "2999-01-01".to_owned(), ..Default::default() },
            SearchPatientsRequest { code: SQL.to_owned(), ..Default::default() },
            SearchPatientsRequest { code: "seizure".to_owned(), ..Default::default() },
        ];
        for (request, field) in
            searches.into_iter().zip(["name_prefix", "birth_date", "code", "code"])
        {
            let refused = harness.search(request).await.expect_err(field);
            assert_invalid(&refused, &[field], "search");
        }
        let code = "HP:1\0".to_owned();
        let request = ListSymptomReportsRequest { patient_id, code, ..Default::default() };
        let refused = harness.client.list_symptom_reports(request).await.unwrap_err();
        assert_invalid(&refused, &["code"], "list");
        let request = WatchChangesRequest {
            resume_token: "none".to_owned(),
            patient_id: "none".to_owned(),
            ..Default::default()
        };
        let refused = harness.client.watch_changes(request).await.unwrap_err();
        assert_invalid(&refused, &["resume_token", "patient_id"], "watch");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn sql_is_text_where_a_text_may_be_anything() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut given = patient(1);
        given.name = "O'Brien-Smith, \"Polly\"".to_owned();
        given.medical_record_numbers[0] =
            MedicalRecordNumber { issuer: SQL.to_owned(), number: format!("1 {SQL}") };
        let address = given.address.as_mut().expect("an address");
        address.lines = vec![SQL.to_owned()];
        SQL.clone_into(&mut address.city);
        let kept = harness.create(given.clone()).await?;
        let id = kept.patient_id.clone();
        assert_eq!(
            (kept.name, kept.medical_record_numbers.clone(), kept.address),
            (given.name, given.medical_record_numbers, given.address)
        );
        let medical_record_number = kept.medical_record_numbers.first().cloned();
        let by_number = SearchPatientsRequest { medical_record_number, ..Default::default() };
        assert_eq!(harness.search(by_number).await?, std::slice::from_ref(&id));
        assert_eq!(harness.note(&id, SQL).await?.text, SQL);
        assert_eq!(harness.report(&id, SQL).await?.text, SQL);
        let request = LinkStudyRequest { description: SQL.to_owned(), ..link(&id) };
        let stored = harness.client.link_study(request).await?.into_inner().link;
        assert_eq!(stored.expect("a link").description, SQL);
        assert_eq!(harness.notes(&id).await?.len(), 1);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_bytes_that_are_no_text() -> anyhow::Result<()> {
    const MARK: &str = "MARKMARK";
    let mark = || MARK.to_owned();
    let patient_of = |patient| CreatePatientRequest { request_id: id(), patient: Some(patient) };
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(patient(1)).await?.patient_id;
        let mut contact = patient(2);
        contact.contact_persons[0].name = mark();
        let name = patient_of(Patient { name: mark(), ..patient(2) });
        let request_id = CreatePatientRequest { request_id: mark(), ..patient_of(patient(2)) };
        for (field, request) in [
            ("request_id", request_id),
            ("patient.name", name.clone()),
            ("patient.contact_persons.name", patient_of(contact)),
        ] {
            let refused =
                send_raw::<CreatePatientResponse>(&harness, "CreatePatient", &request).await;
            assert_malformed(&refused, field);
        }
        let request = CreateSymptomReportRequest { text: mark(), ..report(&known) };
        let refused =
            send_raw::<CreateSymptomReportResponse>(&harness, "CreateSymptomReport", &request)
                .await;
        assert_malformed(&refused, "text");
        let request = CreateNoteRequest { text: mark(), ..note(&known) };
        let refused = send_raw::<CreateNoteResponse>(&harness, "CreateNote", &request).await;
        assert_malformed(&refused, "text");
        let request = LinkStudyRequest { description: mark(), ..link(&known) };
        let refused = send_raw::<LinkStudyResponse>(&harness, "LinkStudy", &request).await;
        assert_malformed(&refused, "description");
        // It ends a batch.
        let request = BatchCreateRequest { create: Some(Create::Patient(name)) };
        let refused = send_raw::<BatchCreateResponse>(&harness, "BatchCreate", &request).await;
        assert_malformed(&refused, "create.patient.name");
        assert_eq!(stored::number(harness.store(), "SELECT count(*) AS n FROM patient").await?, 1);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn of_messages_that_are_too_long() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(patient(1)).await?.patient_id;
        let long = || "s".repeat(TOO_LONG_BYTES);
        let request = CreateNoteRequest { text: long(), ..note(&known) };
        let create = BatchCreateRequest { create: Some(Create::Note(request.clone())) };
        let batch = harness.client.batch_create(tokio_stream::once(create)).await;
        let patient = Patient { name: long(), ..patient(2) };
        let patient = CreatePatientRequest { request_id: id(), patient: Some(patient) };
        let text = CreateSymptomReportRequest { text: long(), ..report(&known) };
        for refused in [
            harness.client.create_note(request).await.unwrap_err(),
            harness.client.create_patient(patient).await.unwrap_err(),
            harness.client.create_symptom_report(text).await.unwrap_err(),
            batch.unwrap_err(),
        ] {
            assert_eq!(
                (refused.code(), reason(&refused).as_str()),
                (Code::InvalidArgument, "MESSAGE_TOO_LONG")
            );
            assert_eq!(fields(&refused), [""]);
        }
        harness.stop().await?;
    }
    Ok(())
}

fn id() -> String {
    Uuid::now_v7().to_string()
}

fn report(patient_id: &str) -> CreateSymptomReportRequest {
    let finding = Finding {
        code: "NT:sample".to_owned(),
        display_name: "Sample".to_owned(),
        present: Some(true),
        ..Finding::default()
    };
    CreateSymptomReportRequest {
        request_id: id(),
        patient_id: patient_id.to_owned(),
        text: "headache".to_owned(),
        findings: vec![finding],
        ..Default::default()
    }
}

fn note(patient_id: &str) -> CreateNoteRequest {
    let text = "seen".to_owned();
    CreateNoteRequest { request_id: id(), patient_id: patient_id.to_owned(), text }
}

fn link(patient_id: &str) -> LinkStudyRequest {
    LinkStudyRequest {
        request_id: id(),
        patient_id: patient_id.to_owned(),
        study_id: id(),
        ..Default::default()
    }
}

#[track_caller]
fn assert_invalid(refused: &Status, wrong: &[impl AsRef<str>], case: &str) {
    let kind = (refused.code(), reason(refused));
    assert_eq!(kind, (Code::InvalidArgument, "INVALID_FIELDS".to_owned()), "case: {case}");
    let wrong: Vec<&str> = wrong.iter().map(AsRef::as_ref).collect();
    assert_eq!(fields(refused), wrong, "case: {case}");
}

#[track_caller]
fn assert_malformed(refused: &Status, field: &str) {
    let kind = (refused.code(), reason(refused));
    assert_eq!(kind, (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()), "field: {field}");
    assert_eq!(fields(refused), [field]);
    assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
}

/// Returns the wrong fields of a create, sent by itself in a batch.
async fn in_a_batch(harness: &mut Harness, create: Create) -> anyhow::Result<Vec<String>> {
    let create = BatchCreateRequest { create: Some(create) };
    let batch = harness.client.batch_create(tokio_stream::once(create)).await?.into_inner();
    let Some(Outcome::Error(error)) = batch.results.into_iter().next().and_then(|one| one.outcome)
    else {
        anyhow::bail!("it was stored");
    };
    assert_eq!(
        (error.code, error.reason.as_str()),
        (Code::InvalidArgument.into(), "INVALID_FIELDS")
    );
    Ok(error.field_violations.into_iter().map(|violation| violation.field).collect())
}

/// Sends a request whose marked text is bytes that are no UTF-8, and returns the refusal.
async fn send_raw<A: Message + Default + 'static>(
    harness: &Harness,
    rpc: &str,
    request: &impl Message,
) -> Status {
    const WRONG: &[u8] = b"\xffsecret\xff";
    let mut bytes = request.encode_to_vec();
    let at = bytes.windows(WRONG.len()).position(|part| part == b"MARKMARK").expect("a mark");
    bytes[at..at + WRONG.len()].copy_from_slice(WRONG);
    let mut grpc = tonic::client::Grpc::new(harness.channel.clone());
    grpc.ready().await.expect("a connection");
    let path = format!("/neurotriage.records.v1.RecordsService/{rpc}");
    let path = path.parse().expect("a path");
    grpc.unary(Request::new(bytes), path, Raw::<A>(PhantomData)).await.map(|_| ()).expect_err(rpc)
}

/// Sends bytes as they are.
struct Raw<A>(PhantomData<A>);

impl<A: Message + Default + 'static> Codec for Raw<A> {
    type Encode = Vec<u8>;
    type Decode = A;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        Self(PhantomData)
    }
}

impl<A> Encoder for Raw<A> {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl<A: Message + Default> Decoder for Raw<A> {
    type Item = A;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<A>, Status> {
        let read = A::decode(from.copy_to_bytes(from.remaining()));
        read.map(Some).map_err(|_| Status::unknown("unreadable"))
    }
}
