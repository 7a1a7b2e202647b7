//! Calls on the referral service: hospitals, assessments, diagnoses, referrals, FHIR.

use std::time::Duration;

use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    fhir::v1::{
        EntryOutcome, ExportPatientRequest, ExportPatientResponse, ImportBundleHeader,
        ImportBundleRequest, ImportBundleResponse, import_bundle_request,
    },
    records::v1::Coordinates,
    referral::v1::{
        Actor, ActorRole, AssessRequest, AssessResponse, CompareStudiesRequest,
        CompareStudiesResponse, CreateReferralRequest, CreateReferralResponse, DeadLetterRelease,
        DiagnoseRequest, DiagnoseResponse, Diagnosis, DirectoryForm, ExportHospitalsRequest,
        ExportHospitalsResponse, GetAssessmentRequest, GetAssessmentResponse, GetDiagnosisRequest,
        GetDiagnosisResponse, GetHospitalRequest, GetHospitalResponse, GetReferralRequest,
        GetReferralResponse, ImportHospitalsHeader, ImportHospitalsRequest,
        ImportHospitalsResponse, ListDeadLettersRequest, ListDeadLettersResponse,
        ListEventsRequest, ListEventsResponse, ListHospitalsRequest, ListHospitalsResponse,
        ListReferralsRequest, ListReferralsResponse, MoveReferralRequest, MoveReferralResponse,
        Referral, ReferralMove, ReleaseDeadLetterRequest, ReleaseDeadLetterResponse,
        SearchHospitalsRequest, SearchHospitalsResponse, Timepoint, WatchEventsRequest,
        WatchEventsResponse, diagnose_response, import_hospitals_request, timepoint,
        watch_events_request::Subject,
    },
};
use neurotriage_testkit::issuer::HOSPITAL;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::Status;

use crate::{Drive, id, marks::Marks};

/// Longest wait for an event to be given up.
const DELIVERY_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

fn hospitals(name: &str) -> String {
    format!("referral.v1.HospitalDirectoryService/{name}")
}

fn assessments(name: &str) -> String {
    format!("referral.v1.ReferralService/{name}")
}

fn diagnoses(name: &str) -> String {
    format!("referral.v1.DiagnosisService/{name}")
}

fn referrals(name: &str) -> String {
    format!("referral.v1.ReferralLifecycleService/{name}")
}

fn fhir(name: &str) -> String {
    format!("fhir.v1.FhirService/{name}")
}

fn hospital_file(text: &str) -> Vec<ImportHospitalsRequest> {
    use import_hospitals_request::Content;
    let header = ImportHospitalsHeader {
        form: DirectoryForm::Csv.into(),
        ..ImportHospitalsHeader::default()
    };
    let contents = [Content::Header(header), Content::Piece(text.as_bytes().to_vec())];
    contents.map(|content| ImportHospitalsRequest { content: Some(content) }).to_vec()
}

/// Brings in the callers' hospital, and makes every call on the directory.
pub(crate) async fn list_hospitals(drive: &mut Drive) {
    let Drive { calls, marks } = drive;
    let columns = "hospital_id,name,city,latitude_degrees,longitude_degrees,capabilities,capacity,\
                   accepts_referrals,identifiers";
    let row = |id: &str, latitude: f64, marks: &mut Marks| {
        let (name, city, number) = (marks.text(), marks.text(), marks.text());
        format!("{id},{name},{city},{latitude},127.1,neurosurgery,0.4,true,urn:oid:1.2|{number}\n")
    };
    let good = format!("{columns}\n{}", row(HOSPITAL, 37.6, marks));
    let report: ImportHospitalsResponse =
        calls.right_stream(&hospitals("ImportHospitals"), hospital_file(&good)).await;
    assert_eq!((report.created, report.refused_count), (1, 0));
    let wrong = format!("{columns}\n{}{}", row("example-2", 97.6, marks), row("A b", 1.0, marks));
    let report: ImportHospitalsResponse =
        calls.right_stream(&hospitals("ImportHospitals"), hospital_file(&wrong)).await;
    assert_eq!(report.refused_count, 2);
    // Lists of persons are no part of a directory.
    let persons = format!("{columns},contact_person {}\n{}", marks.text(), marks.text());
    calls.wrong_stream(&hospitals("ImportHospitals"), hospital_file(&persons)).await;
    let request = ExportHospitalsRequest { form: DirectoryForm::Csv.into() };
    let file: ExportHospitalsResponse = calls.right(&hospitals("ExportHospitals"), request).await;
    assert!(!marks.found_in(&file.piece).is_empty());
    let request = GetHospitalRequest { hospital_id: HOSPITAL.to_owned() };
    calls.right::<_, GetHospitalResponse>(&hospitals("GetHospital"), request).await;
    let request = ListHospitalsRequest::default();
    calls.right::<_, ListHospitalsResponse>(&hospitals("ListHospitals"), request).await;
    let longitude_degrees = format!("127.{}", marks.digits()).parse().unwrap();
    let from = Some(Coordinates { latitude_degrees: 37.6, longitude_degrees });
    let request = SearchHospitalsRequest { from, ..Default::default() };
    calls.right::<_, SearchHospitalsResponse>(&hospitals("SearchHospitals"), request).await;
}

/// Assesses a segmentation against a report, and returns the assessment's id.
pub(crate) async fn assess(drive: &mut Drive, report_id: &str, segmentation_id: &str) -> String {
    let Drive { calls, marks } = drive;
    let request = AssessRequest {
        request_id: id(),
        symptom_report_id: report_id.to_owned(),
        segmentation_id: segmentation_id.to_owned(),
        hospitals_max: 2,
    };
    let made: AssessResponse = calls.right(&assessments("Assess"), request).await;
    let assessment = made.assessment.unwrap();
    // What was not understood of the symptoms is here too.
    assert!(!marks.found_in(assessment.not_understood.concat().as_bytes()).is_empty());
    assert!(!assessment.hospitals.is_empty(), "{}", assessment.hospitals_reason);
    let assessment_id = assessment.assessment_id;
    let request = GetAssessmentRequest { assessment_id: assessment_id.clone() };
    calls.right::<_, GetAssessmentResponse>(&assessments("GetAssessment"), request).await;
    assessment_id
}

async fn diagnose(drive: &mut Drive, study_id: &str, report_id: &str) -> Diagnosis {
    let request = DiagnoseRequest {
        request_id: id(),
        study_id: study_id.to_owned(),
        symptom_report_id: report_id.to_owned(),
        hospitals_max: 2,
        model_id: String::new(),
    };
    let told: DiagnoseResponse = drive.calls.right(&diagnoses("Diagnose"), request).await;
    let Some(diagnose_response::Content::Diagnosis(diagnosis)) = told.content else {
        panic!("the stream ended without a diagnosis")
    };
    diagnosis
}

/// Diagnoses two studies of one patient and compares them.
pub(crate) async fn compare(drive: &mut Drive, report_id: &str, study_ids: [&str; 2]) {
    let mut times = Vec::new();
    for study_id in study_ids {
        let diagnosis = diagnose(drive, study_id, report_id).await;
        let diagnosis_id = diagnosis.diagnosis_id;
        let request = GetDiagnosisRequest { diagnosis_id: diagnosis_id.clone() };
        drive.calls.right::<_, GetDiagnosisResponse>(&diagnoses("GetDiagnosis"), request).await;
        let source = Some(timepoint::Source::DiagnosisId(diagnosis_id));
        times.push(Timepoint { source, acquired_on: drive.marks.day() });
    }
    times.sort_by(|one, other| one.acquired_on.cmp(&other.acquired_on));
    let Drive { calls, marks } = drive;
    let request =
        CompareStudiesRequest { earlier: times.first().cloned(), later: times.last().cloned() };
    calls.right::<_, CompareStudiesResponse>(&diagnoses("CompareStudies"), request.clone()).await;
    let mut wrong = request.clone();
    wrong.earlier.as_mut().unwrap().acquired_on = marks.text();
    calls.wrong(&diagnoses("CompareStudies"), wrong).await;
    let turned = CompareStudiesRequest { earlier: request.later, later: request.earlier };
    calls.wrong(&diagnoses("CompareStudies"), turned).await;
    let request = DiagnoseRequest {
        request_id: id(),
        study_id: study_ids[0].to_owned(),
        symptom_report_id: report_id.to_owned(),
        hospitals_max: 2,
        // Well formed, and nobody's.
        model_id: marks.text(),
    };
    calls.wrong(&diagnoses("Diagnose"), request).await;
}

/// Who acts: what stands for an organisation is marked too.
struct Actors {
    referrer_id: String,
}

impl Actors {
    fn step(&self, referral: &Referral, kind: ReferralMove, reason: &str) -> MoveReferralRequest {
        let by_referrer = matches!(kind, ReferralMove::Request | ReferralMove::Cancel);
        let (role, actor_id) = match by_referrer {
            true => (ActorRole::Referrer, self.referrer_id.as_str()),
            false => (ActorRole::Hospital, HOSPITAL),
        };
        MoveReferralRequest {
            request_id: id(),
            referral_id: referral.referral_id.clone(),
            expected_revision: referral.revision,
            actor: Some(Actor { role: role.into(), actor_id: actor_id.to_owned() }),
            r#move: kind.into(),
            reason: reason.to_owned(),
            scheduled_at: None,
        }
    }
}

async fn draft(drive: &mut Drive, assessment_id: &str, referrer_id: &str) -> Referral {
    let request = CreateReferralRequest {
        request_id: id(),
        assessment_id: assessment_id.to_owned(),
        hospital_id: HOSPITAL.to_owned(),
        referrer_id: referrer_id.to_owned(),
        deadline_at: None,
    };
    let rpc = referrals("CreateReferral");
    let drafted: CreateReferralResponse = drive.calls.right(&rpc, request).await;
    drafted.referral.unwrap()
}

/// Refers a patient twice: one referral is declined, one withdrawn. The first event is never taken by the webhook.
pub(crate) async fn refer(drive: &mut Drive, patient_id: &str, assessment_id: &str) {
    let actors = Actors { referrer_id: drive.marks.text() };
    let mut referral = draft(drive, assessment_id, &actors.referrer_id).await;
    let withdrawn = draft(drive, assessment_id, &actors.referrer_id).await;
    let (why, other) = (drive.marks.text(), drive.marks.text());
    let steps =
        [(ReferralMove::Request, ""), (ReferralMove::Receive, ""), (ReferralMove::Decline, &why)];
    for (kind, reason) in steps {
        let request = actors.step(&referral, kind, reason);
        let moved: MoveReferralResponse =
            drive.calls.right(&referrals("MoveReferral"), request).await;
        referral = moved.referral.unwrap();
    }
    assert_eq!(referral.reason, why);
    let calls = &mut drive.calls;
    let request = actors.step(&withdrawn, ReferralMove::Cancel, &other);
    calls.right::<_, MoveReferralResponse>(&referrals("MoveReferral"), request).await;
    let referral_id = || referral.referral_id.clone();
    let request = GetReferralRequest { referral_id: referral_id(), ..Default::default() };
    calls.right::<_, GetReferralResponse>(&referrals("GetReferral"), request).await;
    let lists = [
        ListReferralsRequest { patient_id: patient_id.to_owned(), ..Default::default() },
        ListReferralsRequest { referrer_id: actors.referrer_id.clone(), ..Default::default() },
        ListReferralsRequest { hospital_id: HOSPITAL.to_owned(), ..Default::default() },
    ];
    for request in lists {
        let listed: ListReferralsResponse = calls.right(&referrals("ListReferrals"), request).await;
        assert!(!listed.referrals.is_empty());
    }
    let request = ListEventsRequest { referral_id: referral_id(), ..Default::default() };
    let listed: ListEventsResponse = calls.right(&referrals("ListEvents"), request).await;
    assert_eq!(listed.events.len(), 4);
    let request = WatchEventsRequest {
        subject: Some(Subject::ReferralId(referral_id())),
        ..WatchEventsRequest::default()
    };
    calls.answers::<_, WatchEventsResponse>(&referrals("WatchEvents"), vec![request], 4).await;
    release(drive).await;

    let Drive { calls, marks } = drive;
    let (reason, long) = (marks.text(), marks.text().repeat(40));
    for (kind, reason) in [
        (ReferralMove::Accept, ""),
        (ReferralMove::Request, reason.as_str()),
        (ReferralMove::Decline, reason.as_str()),
        (ReferralMove::Cancel, long.as_str()),
    ] {
        let request = actors.step(&referral, kind, reason);
        calls.wrong(&referrals("MoveReferral"), request).await;
    }
    let nobody = Actors { referrer_id: format!("{} {}", marks.text(), marks.text()) };
    let request = nobody.step(&referral, ReferralMove::Cancel, &reason);
    calls.wrong(&referrals("MoveReferral"), request).await;
}

/// Waits for the event that the webhook refused, and skips it.
async fn release(drive: &mut Drive) {
    let calls = &mut drive.calls;
    let began = Instant::now();
    let dead = loop {
        let request = ListDeadLettersRequest::default();
        let listed: ListDeadLettersResponse =
            calls.right(&referrals("ListDeadLetters"), request).await;
        match listed.dead_letters.into_iter().next() {
            Some(dead) => break dead,
            None if began.elapsed() > DELIVERY_MAX => panic!("no event was given up"),
            None => sleep(PAUSE).await,
        }
    };
    let request = ReleaseDeadLetterRequest {
        event_id: dead.event.unwrap().event_id,
        release: DeadLetterRelease::Skip.into(),
        dead_at: dead.dead_at,
    };
    calls.right::<_, ReleaseDeadLetterResponse>(&referrals("ReleaseDeadLetter"), request).await;
}

fn bundle_pieces(bundle: &str) -> Vec<ImportBundleRequest> {
    use import_bundle_request::Content;
    let pieces = bundle.as_bytes().chunks(CHUNK_BYTES_MAX).map(|one| Content::Piece(one.to_vec()));
    let header = Content::Header(ImportBundleHeader { dry_run: false });
    let contents = std::iter::once(header).chain(pieces);
    contents.map(|content| ImportBundleRequest { content: Some(content) }).collect()
}

/// Returns a bundle of one patient with a finding and a note.
fn bundle(marks: &mut Marks) -> Value {
    let full_url = format!("urn:uuid:{}", id());
    let subject = json!({ "reference": full_url });
    json!({
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": { "system": "urn:oid:1.2.410.9", "value": marks.text() },
        "entry": [
            { "fullUrl": full_url, "resource": {
                "resourceType": "Patient",
                "id": marks.text(),
                "identifier": [{ "system": format!("urn:x:{}", marks.text()), "value": marks.text() }],
                "name": [{ "text": marks.text(), "family": marks.text(), "given": [marks.text()] }],
                "telecom": [{ "system": "phone", "value": marks.digits() }],
                "address": [{ "line": [marks.text()], "city": marks.text() }],
                "contact": [{
                    "name": { "text": marks.text() },
                    "telecom": [{ "system": "phone", "value": marks.digits() }],
                }],
                "birthDate": marks.day(),
                "text": { "status": "generated", "div": marks.text() },
            }},
            { "fullUrl": format!("urn:uuid:{}", id()), "resource": {
                "resourceType": "Observation", "status": "final",
                "code": {
                    "coding": [{ "system": "http://human-phenotype-ontology.org", "code": "HP:0001250" }],
                    "text": marks.text(),
                },
                "subject": subject,
                "valueBoolean": true,
                "note": [{ "text": marks.text() }],
            }},
            { "fullUrl": format!("urn:uuid:{}", id()), "resource": {
                "resourceType": "Observation", "status": "final",
                "code": { "coding": [{ "system": "urn:x-neurotriage:code", "code": "note" }] },
                "subject": subject,
                "valueString": marks.text(),
            }},
        ],
    })
}

/// Takes a patient's story out, and brings bundles in, right ones and wrong ones.
pub(crate) async fn exchange_bundles(drive: &mut Drive, patient_id: &str) {
    let Drive { calls, marks } = drive;
    let request = ExportPatientRequest {
        patient_id: patient_id.to_owned(),
        ..ExportPatientRequest::default()
    };
    let story: ExportPatientResponse = calls.right(&fhir("ExportPatient"), request).await;
    assert!(!marks.found_in(&story.piece).is_empty());
    let good = bundle(marks);
    let imported = import(drive, &good).await;
    let patient = imported.entries.first().unwrap();
    assert_eq!(patient.outcome(), EntryOutcome::Created, "{patient:?}");

    let marks = &mut drive.marks;
    // (element of the bundle, what stands there)
    let table = [
        ("/entry/0/resource/birthDate", json!(marks.text())),
        ("/entry/0/resource/resourceType", json!(marks.text())),
        ("/entry/0/resource/identifier/0/value", json!(marks.text().repeat(20))),
        ("/entry/0/resource/name/0/text", json!(marks.text().repeat(40))),
        ("/entry/0/resource/name/0/text", json!(format!("{}\n", marks.text()))),
        ("/entry/0/resource/name", json!({ marks.text(): marks.text() })),
        ("/entry/0/resource/telecom/0/system", json!(marks.text())),
        ("/entry/0/resource/telecom/0/value", json!(marks.text())),
        ("/entry/0/fullUrl", json!(marks.text())),
        ("/entry/1/resource/subject/reference", json!(format!("Patient/{}", marks.text()))),
        ("/entry/1/resource/status", json!(marks.text())),
        ("/entry/1/resource/code/coding/0/code", json!(marks.text())),
        ("/entry/1/resource/valueBoolean", json!(marks.text())),
        ("/entry/2/resource/valueString", json!(marks.text().repeat(2_000))),
        ("/entry/2/resource", json!(marks.text())),
        ("/entry/2", json!({ marks.text(): marks.text() })),
    ];
    for (path, value) in table {
        let mut wrong = bundle(&mut drive.marks);
        *wrong.pointer_mut(path).unwrap() = value;
        import(drive, &wrong).await;
    }
    let Drive { calls, marks } = drive;
    let twice = format!(r#"{{"{0}": 1, "{0}": 2}}"#, marks.text());
    let unfinished = format!(r#"{{"resourceType": "{}", "type": {}"#, marks.text(), marks.text());
    let other = json!({ "resourceType": marks.text(), "type": marks.text() }).to_string();
    for text in [marks.text(), twice, unfinished, other] {
        calls.wrong_stream(&fhir("ImportBundle"), bundle_pieces(&text)).await;
    }
}

/// Brings a bundle in and keeps what is said of it.
async fn import(drive: &mut Drive, bundle: &Value) -> ImportBundleResponse {
    let rpc = fhir("ImportBundle");
    let messages = bundle_pieces(&bundle.to_string());
    let report: ImportBundleResponse = drive.calls.right_stream(&rpc, messages).await;
    let said = String::from_utf8_lossy(&report.encode_to_vec()).into_owned();
    drive.calls.refusals.push((rpc, Status::unknown(said)));
    report
}
