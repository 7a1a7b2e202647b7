//! What callers send is nowhere in logs, errors and the database as they sent it.
//!
//! Every text that a caller can send holds a mark that nothing else holds. All calls are made, right ones and wrong
//! ones; then everything that the process wrote is searched for the marks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may stop the test")]

#[path = "service/harness/mod.rs"]
#[allow(dead_code, reason = "the tests of the service use more")]
mod harness;

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, Write},
    sync::{Arc, Mutex, OnceLock},
};

use harness::{Caller, Harness, Start, start_with, stored};
use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    Address, BatchCreateRequest, Consent, ConsentScope, ContactPerson, ContactPoint, ContactSystem,
    Coordinates, CreateNoteRequest, CreatePatientRequest, CreateSymptomReportRequest,
    DeleteEntryRequest, DeletePatientRequest, EraseEntryRequest, ErasePatientRequest, Finding,
    GetNoteRequest, GetPatientRequest, GetPatientResponse, GetStudyLinkRequest,
    GetSymptomReportRequest, LinkStudyRequest, ListNotesRequest, ListPatientsRequest,
    ListStudyLinksRequest, ListSymptomReportsRequest, MedicalRecordNumber, MergePatientsRequest,
    Patient, SearchPatientsRequest, UndeletePatientRequest, UpdatePatientRequest,
    WatchChangesRequest, batch_create_request::Create, batch_create_result::Outcome,
    records_service_client::RecordsServiceClient,
};
use neurotriage_sealing::Keyring;
use neurotriage_testkit::{TestDb, databases};
use prost_types::FieldMask;
use sea_orm::{ConnectionTrait as _, DbBackend, Statement};
use secrecy::ExposeSecret as _;
use tonic::{Request, Response, Status, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{MakeWriter, format::FmtSpan},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};
use uuid::Uuid;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer stops").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Logs all that there is, spans with their fields too; once in a process.
fn logged() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let start = || {
        let log = Log::default();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(log.clone())
            .with_ansi(false)
            .with_span_events(FmtSpan::FULL);
        tracing_subscriber::registry().with(lines).with(LevelFilter::TRACE).init();
        log
    };
    LOG.get_or_init(start).clone()
}

/// Every table of the service.
const TABLES: [&str; 7] =
    ["patient", "entry", "search_token", "change", "audit_hospital", "audit_head", "audit_entry"];

/// How marks begin: texts, digits, dates.
const BEGINNINGS: [&str; 3] = ["zq", "7391", "19"];
/// How long marks are: texts, short ones, digits, dates.
const LENGTHS: [usize; 4] = [16, 8, 12, 10];

/// Makes texts that nothing else holds.
#[derive(Default)]
struct Marks(Vec<String>);

impl Marks {
    fn made(&mut self, mark: String) -> String {
        self.0.push(mark.clone());
        mark
    }

    fn text(&mut self) -> String {
        let mark = format!("Zq{}", &Uuid::new_v4().simple().to_string()[..14]);
        self.made(mark)
    }

    /// A mark of digits.
    fn digits(&mut self) -> String {
        let number = Uuid::new_v4().as_u128() % 100_000_000;
        self.made(format!("7391{number:08}").replace('0', "7"))
    }

    /// A patient with a mark in every field.
    fn patient(&mut self, birth_date: &str) -> Patient {
        let longitude_degrees = format!("12.{}", self.digits()).parse().expect("a number");
        let mut point = |system: ContactSystem| {
            let value = match system {
                ContactSystem::Email => format!("{}@mail.example", self.text()),
                ContactSystem::Phone | ContactSystem::Unspecified => self.digits(),
            };
            ContactPoint { system: system.into(), value }
        };
        let contact_points = vec![point(ContactSystem::Phone), point(ContactSystem::Email)];
        let of_person = vec![point(ContactSystem::Phone)];
        let short = self.text()[..8].to_owned();
        let tag = format!("ko-{}", self.made(short));
        Patient {
            medical_record_numbers: vec![MedicalRecordNumber {
                issuer: self.text(),
                number: self.text(),
            }],
            name: format!("{} {}", self.text(), self.text()),
            birth_date: self.made(birth_date.to_owned()),
            address: Some(Address {
                lines: vec![self.text()],
                city: self.text(),
                district: self.text(),
                postal_code: self.text(),
                country: String::new(),
                coordinates: Some(Coordinates { latitude_degrees: 1.5, longitude_degrees }),
            }),
            contact_points,
            contact_persons: vec![ContactPerson {
                relationship: 3,
                name: self.text(),
                contact_points: of_person,
            }],
            consents: vec![Consent {
                scope: ConsentScope::Sharing.into(),
                given: true,
                decided_on: self.made("1987-06-05".to_owned()),
            }],
            languages: vec![tag],
            ..Patient::default()
        }
    }

    fn report(&mut self, patient_id: &str) -> CreateSymptomReportRequest {
        CreateSymptomReportRequest {
            request_id: Uuid::now_v7().to_string(),
            patient_id: patient_id.to_owned(),
            text: format!("headache and {}. {}", self.text(), self.text()),
            findings: vec![Finding {
                code: format!("NT:{}", self.text()),
                display_name: self.text(),
                matched_text: self.text(),
                present: Some(true),
                ..Finding::default()
            }],
            ..CreateSymptomReportRequest::default()
        }
    }

    /// Returns those that are in `bytes`, with what stands around each.
    fn found_in(&self, bytes: &[u8]) -> BTreeSet<String> {
        let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        let marks: HashSet<String> = self.0.iter().map(|mark| mark.to_ascii_lowercase()).collect();
        let mut found = BTreeSet::new();
        // One look for how marks begin, since there are hundreds of them and much to search.
        for (at, _) in BEGINNINGS.iter().flat_map(|beginning| text.match_indices(beginning)) {
            let is_mark =
                |chars: usize| text.get(at..at + chars).is_some_and(|own| marks.contains(own));
            if LENGTHS.into_iter().any(is_mark) {
                let around =
                    text.as_bytes().get(at.saturating_sub(200)..at + 20).unwrap_or_default();
                found.insert(String::from_utf8_lossy(around).into_owned());
            }
        }
        found
    }
}

/// What the calls were answered with, where they were refused.
#[derive(Default)]
struct Refusals(Vec<Status>);

impl Refusals {
    fn add<T>(&mut self, case: &str, result: Result<Response<T>, Status>) {
        match result {
            Ok(_) => panic!("{case} was not refused"),
            Err(status) => self.0.push(status),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for status in &self.0 {
            bytes.extend_from_slice(status.message().as_bytes());
            bytes.extend_from_slice(status.details());
            bytes.extend_from_slice(format!("{:?}", status.metadata()).as_bytes());
        }
        bytes
    }
}

/// Makes every call as it should be; returns the patient who is left.
async fn call_rightly(harness: &mut Harness, marks: &mut Marks) -> Result<String, Status> {
    let mut client = harness.client.clone();
    let mut made = Vec::new();
    for birth_date in ["1907-03-14", "1908-04-15"] {
        let request_id = Uuid::now_v7().to_string();
        let patient = Some(marks.patient(birth_date));
        let request = CreatePatientRequest { request_id, patient };
        client.create_patient(request.clone()).await?;
        made.push(client.create_patient(request).await?.into_inner().patient.expect("a patient"));
    }
    let id = made[0].patient_id.clone();
    harness.get(&id).await?;
    let report = client.create_symptom_report(marks.report(&id)).await?.into_inner().report;
    let report = report.expect("a report");
    let request = GetSymptomReportRequest { symptom_report_id: report.symptom_report_id };
    client.get_symptom_report(request).await?;
    harness.reports(&id).await?;
    let code = report.findings[0].code.clone();
    let request = ListSymptomReportsRequest {
        patient_id: id.clone(),
        code: code.clone(),
        ..Default::default()
    };
    assert_eq!(client.list_symptom_reports(request).await?.into_inner().reports.len(), 1);
    let note = harness.note(&id, &marks.text()).await?;
    harness.notes(&id).await?;
    let link = LinkStudyRequest {
        request_id: Uuid::now_v7().to_string(),
        patient_id: id.clone(),
        study_id: Uuid::now_v7().to_string(),
        acquired_on: marks.made("1991-02-03".to_owned()),
        description: marks.text(),
    };
    client.link_study(link).await?;
    let request = ListStudyLinksRequest { patient_id: id.clone(), ..Default::default() };
    client.list_study_links(request).await?;
    let searches = [
        SearchPatientsRequest { name_prefix: made[0].name.clone(), ..Default::default() },
        SearchPatientsRequest { birth_date: "1907-03-14".to_owned(), ..Default::default() },
        SearchPatientsRequest {
            medical_record_number: made[0].medical_record_numbers.first().cloned(),
            ..Default::default()
        },
        SearchPatientsRequest { code, ..Default::default() },
    ];
    for request in searches {
        assert_eq!(harness.search(request).await?, std::slice::from_ref(&id));
    }
    client.list_patients(ListPatientsRequest::default()).await?;
    let changed = Patient { patient_id: id.clone(), revision: 1, ..marks.patient("1909-05-16") };
    harness.update(changed, &["name", "birth_date", "medical_record_numbers", "address"]).await?;
    let kept = harness.get(&id).await?;
    let merged = harness.merge(&kept, &made[1]).await?;
    harness.delete_entry(&note.note_id, 1).await?;
    harness.erase_entry(&note.note_id, 2).await?;
    let revision = harness.delete(&id, merged.revision).await?;
    harness.undelete(&id, revision).await?;
    let create = Create::SymptomReport(marks.report(&id));
    let creates = tokio_stream::once(BatchCreateRequest { create: Some(create) });
    client.batch_create(creates).await?;
    let request = WatchChangesRequest { from_beginning: true, ..Default::default() };
    client.watch_changes(request).await?.into_inner().message().await?;
    let gone = harness.create(marks.patient("1910-06-17")).await?;
    harness.report(&gone.patient_id, &marks.text()).await?;
    harness.erase(&gone.patient_id, 1).await?;
    Ok(id)
}

/// Makes every call as it should not be.
async fn call_wrongly(
    harness: &mut Harness,
    marks: &mut Marks,
    id: &str,
) -> anyhow::Result<Refusals> {
    let (mut client, mut refusals) = (harness.client.clone(), Refusals::default());
    let id = id.to_owned();
    let taken = harness.get(&id).await?.medical_record_numbers;
    let request_id = Uuid::now_v7().to_string();
    let other = Patient { medical_record_numbers: taken.clone(), ..marks.patient("1911-07-18") };
    let request = CreatePatientRequest { request_id, patient: Some(other) };
    refusals.add("number taken", client.create_patient(request).await);
    type Spoil = fn(&mut Patient, String);
    let spoils: [Spoil; 12] = [
        |p, mark| p.name = format!("a\n{mark}"),
        |p, mark| p.name = mark.repeat(30),
        |p, mark| p.birth_date = mark,
        |p, mark| p.medical_record_numbers[0].number = format!("{mark}\0"),
        |p, mark| {
            p.medical_record_numbers =
                vec![MedicalRecordNumber { issuer: mark.clone(), number: mark }; 2]
        },
        |p, mark| p.languages = vec![format!("{mark} ?")],
        |p, mark| p.contact_points[0].value = mark,
        |p, mark| p.contact_points[1].value = mark,
        |p, mark| p.contact_persons[0].name = mark.repeat(30),
        |p, mark| p.consents[0].decided_on = mark,
        |p, mark| p.address.get_or_insert_default().country = mark,
        |p, mark| p.address.get_or_insert_default().lines = vec![mark.clone(), mark.repeat(30)],
    ];
    for spoil in spoils {
        let mut wrong = marks.patient("1912-08-19");
        spoil(&mut wrong, marks.text());
        let request_id = Uuid::now_v7().to_string();
        let request = CreatePatientRequest { request_id, patient: Some(wrong.clone()) };
        refusals.add("wrong patient", client.create_patient(request).await);
        let paths = paths();
        wrong.patient_id = id.clone();
        let request =
            UpdatePatientRequest { patient: Some(wrong), update_mask: Some(FieldMask { paths }) };
        refusals.add("wrong update", client.update_patient(request).await);
    }
    let update_mask = Some(FieldMask { paths: vec![marks.text()] });
    let patient = Some(Patient { patient_id: id.clone(), ..marks.patient("1913-09-20") });
    let request = UpdatePatientRequest { patient, update_mask };
    refusals.add("mask", client.update_patient(request).await);

    // Names where ids belong.
    let name = |marks: &mut Marks| marks.text();
    let request = CreatePatientRequest { request_id: name(marks), patient: None };
    refusals.add("request id", client.create_patient(request).await);
    let request = GetPatientRequest { patient_id: name(marks) };
    refusals.add("get", client.get_patient(request).await);
    let request = ListPatientsRequest { page_token: name(marks), ..Default::default() };
    refusals.add("list", client.list_patients(request).await);
    let request = DeletePatientRequest { patient_id: name(marks), revision: 1 };
    refusals.add("delete", client.delete_patient(request).await);
    let request = UndeletePatientRequest { patient_id: name(marks), revision: 1 };
    refusals.add("undelete", client.undelete_patient(request).await);
    let request = ErasePatientRequest { patient_id: name(marks), revision: 1 };
    refusals.add("erase", client.erase_patient(request).await);
    let request = MergePatientsRequest {
        patient_id: id.clone(),
        duplicate_patient_id: name(marks),
        ..Default::default()
    };
    refusals.add("merge", client.merge_patients(request).await);
    let request = GetSymptomReportRequest { symptom_report_id: name(marks) };
    refusals.add("get report", client.get_symptom_report(request).await);
    let request = ListSymptomReportsRequest { patient_id: name(marks), ..Default::default() };
    refusals.add("list reports", client.list_symptom_reports(request).await);
    let request = LinkStudyRequest {
        request_id: Uuid::now_v7().to_string(),
        patient_id: id.clone(),
        study_id: name(marks),
        acquired_on: name(marks),
        description: name(marks),
    };
    refusals.add("link", client.link_study(request.clone()).await);
    let study_id = Uuid::now_v7().to_string();
    let description = format!("a\n{}", name(marks));
    let request = LinkStudyRequest { study_id, description, ..request };
    refusals.add("link", client.link_study(request).await);
    let request = GetStudyLinkRequest { study_link_id: name(marks) };
    refusals.add("get link", client.get_study_link(request).await);
    let request = ListStudyLinksRequest { patient_id: name(marks), ..Default::default() };
    refusals.add("list links", client.list_study_links(request).await);
    let request = CreateNoteRequest {
        request_id: Uuid::now_v7().to_string(),
        patient_id: id.clone(),
        text: format!("{}\0", name(marks)),
    };
    refusals.add("note", client.create_note(request).await);
    let request = GetNoteRequest { note_id: name(marks) };
    refusals.add("get note", client.get_note(request).await);
    let request = ListNotesRequest { patient_id: name(marks), ..Default::default() };
    refusals.add("list notes", client.list_notes(request).await);
    let request = DeleteEntryRequest { entry_id: name(marks), revision: 1 };
    refusals.add("delete entry", client.delete_entry(request).await);
    let request = EraseEntryRequest { entry_id: name(marks), revision: 1 };
    refusals.add("erase entry", client.erase_entry(request).await);
    let request = WatchChangesRequest { resume_token: name(marks), ..Default::default() };
    refusals.add("watch", client.watch_changes(request).await);
    let request = WatchChangesRequest { patient_id: name(marks), ..Default::default() };
    refusals.add("watch", client.watch_changes(request).await);
    let searches = [
        SearchPatientsRequest { name_prefix: vec![name(marks); 9].join(" "), ..Default::default() },
        SearchPatientsRequest { birth_date: name(marks), ..Default::default() },
        SearchPatientsRequest { code: name(marks).repeat(9), ..Default::default() },
        SearchPatientsRequest {
            medical_record_number: Some(MedicalRecordNumber {
                issuer: name(marks),
                number: String::new(),
            }),
            ..Default::default()
        },
        SearchPatientsRequest {
            name_prefix: name(marks),
            page_token: name(marks),
            ..Default::default()
        },
    ];
    for request in searches {
        refusals.add("search", client.search_patients(request).await);
    }
    let mut wrong = marks.report(&id);
    wrong.text = format!("{}\0", name(marks));
    wrong.findings[0].code = name(marks);
    wrong.findings.push(Finding { finding_id: name(marks), ..Finding::default() });
    refusals.add("report", client.create_symptom_report(wrong.clone()).await);
    let creates = tokio_stream::iter([
        BatchCreateRequest { create: Some(Create::SymptomReport(wrong)) },
        BatchCreateRequest {
            create: Some(Create::Patient(CreatePatientRequest {
                request_id: Uuid::now_v7().to_string(),
                patient: Some(Patient {
                    medical_record_numbers: taken,
                    ..marks.patient("1914-10-21")
                }),
            })),
        },
    ]);
    for result in client.batch_create(creates).await?.into_inner().results {
        let Some(Outcome::Error(error)) = result.outcome else { panic!("it was stored") };
        refusals.0.push(Status::internal(format!("{error:?}")));
    }

    // A path that is none, with a name in it.
    let path: PathAndQuery =
        format!("/neurotriage.records.v1.RecordsService/{}", name(marks)).parse()?;
    let mut grpc = tonic::client::Grpc::new(harness.channel.clone());
    grpc.ready().await?;
    let codec = ProstCodec::<GetPatientRequest, GetPatientResponse>::default();
    let request = Request::new(GetPatientRequest { patient_id: name(marks) });
    refusals.add("path", grpc.unary(request, path, codec).await);
    Ok(refusals)
}

/// What of a patient can be wrong.
fn paths() -> Vec<String> {
    let names = [
        "medical_record_numbers",
        "name",
        "birth_date",
        "address",
        "contact_points",
        "contact_persons",
        "consents",
        "languages",
    ];
    names.map(str::to_owned).to_vec()
}

/// Returns the database as whoever takes its files finds it.
async fn raw(db: &TestDb) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if db.db.get_database_backend() == DbBackend::Sqlite {
        let path = db.url.expose_secret().trim_start_matches("sqlite://").to_owned();
        for end in ["", "-wal"] {
            bytes.extend(std::fs::read(format!("{path}{end}"))?);
        }
        return Ok(bytes);
    }
    for table in TABLES {
        let sql = format!("SELECT row_to_json(t)::text AS row FROM {table} AS t");
        for row in db.db.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await? {
            bytes.extend(row.try_get::<String>("", "row")?.into_bytes());
        }
    }
    Ok(bytes)
}

#[tokio::test]
async fn nothing_that_was_sent_is_anywhere_in_plain() -> anyhow::Result<()> {
    let log = logged();
    for db in databases::<Migrator>().await? {
        let mut marks = Marks::default();
        let mut harness = start_with(db, Start::default()).await?;
        harness.client =
            RecordsServiceClient::with_interceptor(harness.channel.clone(), Caller::default());
        let id = call_rightly(&mut harness, &mut marks).await?;
        let mut refusals = call_wrongly(&mut harness, &mut marks, &id).await?;
        assert!(marks.0.len() > 200 && refusals.0.len() > 45, "{}", refusals.0.len());

        // A key that does not open, and a database that fails.
        let db = harness.leave().await?;
        let other = harness::KEYS.replace("AQIDBAUG", "BQIDBAUG");
        let keyring = Keyring::parse(&other)?;
        let harness = start_with(db, Start { keyring, ..Start::default() }).await?;
        let mut client = harness.client.clone();
        let request = GetPatientRequest { patient_id: id };
        refusals.add("wrong key", client.get_patient(request).await);
        stored::run(harness.store(), "DROP TABLE change").await?;
        let request_id = Uuid::now_v7().to_string();
        let sent = marks.patient("1915-11-22");
        let request = CreatePatientRequest { request_id, patient: Some(sent.clone()) };
        refusals.add("no table", client.create_patient(request).await);
        harness.db.db.execute_unprepared("CREATE TABLE change (sequence integer)").await?;

        let logged = log.0.lock().expect("no writer stops").clone();
        for (case, bytes) in [
            ("in refusals", &refusals.bytes()),
            ("in the database", &raw(&harness.db).await?),
            ("in the log", &logged),
        ] {
            let found = marks.found_in(bytes);
            assert!(
                found.is_empty(),
                "{case}, {}: {:#?}",
                found.len(),
                found.iter().take(5).collect::<Vec<_>>()
            );
        }
        let text = String::from_utf8_lossy(&logged);
        assert!(!marks.found_in(format!("{sent:?}").as_bytes()).is_empty());
        // It is there to be found: the spans and what is said of failures are logged.
        for said in
            ["rpc", "unknown", "create_patient", "request failed", "open content", "write patient"]
        {
            assert!(text.contains(said), "{said} is not in the log");
        }
        harness.stop().await?;
    }
    Ok(())
}
