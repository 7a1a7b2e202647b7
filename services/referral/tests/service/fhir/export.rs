//! Stories that go out.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use neurotriage_proto::{
    common::v1::{Modality, Side},
    fhir::v1::{EntryOutcome, ExportPatientRequest, StoryPart},
    ingestion::v1::{StoredVolume, Study},
    records::v1::{
        Address, ContactPoint, ContactSystem, Coordinates, Finding, FindingOrigin, Handedness,
        MedicalRecordNumber, Note, Patient, Reporter, Severity, Sex, StudyLink, SymptomReport,
    },
    referral::v1::{
        AssessRequest, CreateReferralRequest,
        referral_lifecycle_service_client::ReferralLifecycleServiceClient,
        referral_service_client::ReferralServiceClient,
    },
    segmentation::v1::{Lesion, Localisation, Outcome, RegionShare, Segmentation, Space},
};
use serde_json::Value;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::harness::{Harness, assert_refused, leave, outcomes};

fn id() -> String {
    Uuid::now_v7().to_string()
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 123_456_000 })
}

/// When the first of the reports was stored.
const FIRST: i64 = 1_790_000_000;

struct Case {
    patient_id: String,
    merged_id: String,
    report_id: String,
    segmentation_id: String,
}

fn finding(code: &str, name: &str, side: Side, present: bool) -> Finding {
    Finding {
        finding_id: name.to_owned(),
        code: code.to_owned(),
        display_name: name.to_owned(),
        side: side.into(),
        present: Some(present),
        severity: Severity::Severe.into(),
        origin: FindingOrigin::Caller.into(),
        ..Default::default()
    }
}

/// Puts a patient into the neighbours: 250 reports, one that was merged in, a study with a lesion.
fn fill(harness: &Harness) -> Case {
    let world = &harness.world;
    let case = Case { patient_id: id(), merged_id: id(), report_id: id(), segmentation_id: id() };
    let coordinates = Some(Coordinates { latitude_degrees: 37.5, longitude_degrees: 127.0 });
    let patient = Patient {
        patient_id: case.patient_id.clone(),
        revision: 2,
        created_at: at(FIRST),
        updated_at: at(FIRST),
        medical_record_numbers: vec![MedicalRecordNumber {
            issuer: "견본 병원 (fictional)".to_owned(),
            number: "가-7".to_owned(),
        }],
        name: "한가람".to_owned(),
        birth_date: "1961-05-17".to_owned(),
        sex: Sex::Female.into(),
        handedness: Handedness::Right.into(),
        address: Some(Address { country: "KR".to_owned(), coordinates, ..Default::default() }),
        contact_points: vec![ContactPoint {
            system: ContactSystem::Phone.into(),
            value: "+82 2 0000 0000".to_owned(),
        }],
        languages: vec!["ko".to_owned()],
        merged_patient_ids: vec![case.merged_id.clone()],
        ..Default::default()
    };
    world.patients.lock().unwrap().insert(case.patient_id.clone(), patient);
    let mut reports = world.reports.lock().unwrap();
    for number in 0..250 {
        let report = SymptomReport {
            symptom_report_id: if number == 0 { case.report_id.clone() } else { id() },
            patient_id: case.patient_id.clone(),
            created_at: at(FIRST + number),
            reported_at: at(FIRST + number),
            reporter: Reporter::Patient.into(),
            text: format!("오른팔에 힘이 빠져요 {number}"),
            findings: vec![
                finding("HP:0001269", "hemiparesis", Side::Right, true),
                finding("HP:0001250", "seizure", Side::Unspecified, number % 2 == 0),
            ],
            lexicon_version: "1".to_owned(),
            revision: 1,
            ..Default::default()
        };
        reports.insert(report.symptom_report_id.clone(), report);
    }
    drop(reports);
    let note = Note {
        note_id: id(),
        patient_id: case.patient_id.clone(),
        created_at: at(FIRST),
        revision: 1,
        text: "Comes with her sister.".to_owned(),
    };
    world.notes.lock().unwrap().insert(note.note_id.clone(), note);
    fill_images(harness, &case);
    case
}

/// The study was uploaded for the patient who was merged in, and is linked to the one who remains.
fn fill_images(harness: &Harness, case: &Case) {
    let world = &harness.world;
    let volume =
        |modality: Modality| StoredVolume { modality: modality.into(), ..Default::default() };
    let study = Study {
        study_id: id(),
        patient_id: case.merged_id.clone(),
        accession: "case-7".to_owned(),
        created_at: at(FIRST),
        volumes: [Modality::Flair, Modality::T1, Modality::T1ce, Modality::T2].map(volume).to_vec(),
        ..Default::default()
    };
    for (study_id, acquired_on) in [(study.study_id.clone(), "2026-09-20"), (id(), "")] {
        let link = StudyLink {
            study_link_id: id(),
            patient_id: case.patient_id.clone(),
            study_id,
            created_at: at(FIRST),
            acquired_on: acquired_on.to_owned(),
            ..Default::default()
        };
        world.links.lock().unwrap().insert(link.study_link_id.clone(), link);
    }
    let lesion = Lesion {
        volume_ml: 30.0,
        enhancing_ml: 10.0,
        diameter_max_mm: 41.5,
        side: Side::Left.into(),
        main_region: "frontal_left".to_owned(),
        regions: vec![RegionShare {
            region: "frontal_left".to_owned(),
            display_name: "left frontal lobe".to_owned(),
            side: Side::Left.into(),
            volume_ml: 30.0,
            share: 1.0,
            site_weight: 1.0,
            snomed_code: "83251001".to_owned(),
            ..Default::default()
        }],
        confidence: Some(0.9),
        ..Default::default()
    };
    let segmentation = Segmentation {
        segmentation_id: case.segmentation_id.clone(),
        study_id: study.study_id.clone(),
        model_id: "model-1".to_owned(),
        weights_sha256: "ab".repeat(32),
        created_at: at(FIRST),
        localisation: Some(Localisation {
            space: Space::Sri24.into(),
            lesions: vec![lesion],
            atlas: "atlas 3".to_owned(),
            ..Default::default()
        }),
        outcome: Outcome::Tumour.into(),
        ..Default::default()
    };
    let mut segmentations = world.segmentations.lock().unwrap();
    segmentations.insert(segmentation.segmentation_id.clone(), segmentation);
    drop(segmentations);
    world.studies.lock().unwrap().insert(study.study_id.clone(), study);
}

/// Has the patient assessed and referred. The study was uploaded for another id of the same patient, so
/// for the assessment it is the patient's.
async fn assess_and_refer(harness: &Harness, case: &Case) -> anyhow::Result<()> {
    let set_owner = |owner: &str| {
        for study in harness.world.studies.lock().unwrap().values_mut() {
            study.patient_id = owner.to_owned();
        }
    };
    set_owner(&case.patient_id);
    let mut referral = ReferralServiceClient::connect(harness.endpoint.clone()).await?;
    let request = AssessRequest {
        request_id: id(),
        symptom_report_id: case.report_id.clone(),
        segmentation_id: case.segmentation_id.clone(),
        hospitals_max: 3,
    };
    let assessment = referral.assess(request).await?.into_inner().assessment.unwrap();
    set_owner(&case.merged_id);
    let mut lifecycle = ReferralLifecycleServiceClient::connect(harness.endpoint.clone()).await?;
    let request = CreateReferralRequest {
        request_id: id(),
        assessment_id: assessment.assessment_id,
        hospital_id: "sample-a".to_owned(),
        referrer_id: "practice-7".to_owned(),
        deadline_at: None,
    };
    lifecycle.create_referral(request).await?;
    Ok(())
}

fn all(patient_id: &str) -> ExportPatientRequest {
    ExportPatientRequest { patient_id: patient_id.to_owned(), ..Default::default() }
}

fn kinds(bundle: &Value) -> BTreeMap<&str, usize> {
    let mut kinds = BTreeMap::new();
    for entry in bundle["entry"].as_array().unwrap() {
        *kinds.entry(entry["resource"]["resourceType"].as_str().unwrap()).or_default() += 1;
    }
    kinds
}

#[tokio::test]
async fn a_story_goes_out_whole_and_comes_back() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let case = fill(&harness);
        assess_and_refer(&harness, &case).await?;
        let bundle = harness.export(all(&case.patient_id)).await?;
        leave("service-story.json", &bundle);
        let expected = [
            ("Condition", 1),
            ("Device", 2),
            ("DiagnosticReport", 1),
            ("ImagingStudy", 2),
            // 250 reports of two findings, a note, the tumour, its lesion, the verdict.
            ("Observation", 750 + 1 + 3),
            ("Organization", 1),
            ("Patient", 1),
            ("Provenance", 2),
            ("ServiceRequest", 1),
        ];
        assert_eq!(kinds(&bundle), BTreeMap::from(expected));
        let study = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["resource"]["status"] == "available");
        assert_eq!(study.unwrap()["resource"]["started"], "2026-09-20");

        let again = harness.import(&bundle).await;
        let known = outcomes(&again);
        let told = |outcome: &&EntryOutcome| **outcome == EntryOutcome::Unchanged;
        assert_eq!(known.iter().filter(told).count(), 752);
        let over = |outcome: &&EntryOutcome| **outcome == EntryOutcome::PassedOver;
        assert_eq!(known.iter().filter(over).count(), known.len() - 752);
        assert_eq!(harness.kept(), (1, 250, 1));

        // Into records that know nothing.
        let sent = harness.world.reports.lock().unwrap()[&case.report_id].clone();
        harness.world.patients.lock().unwrap().clear();
        harness.world.reports.lock().unwrap().clear();
        harness.world.notes.lock().unwrap().clear();
        let fresh = harness.import(&bundle).await;
        assert_eq!(harness.kept(), (1, 250, 1), "{:?}", fresh.entries[0]);
        let patient = harness.world.patients.lock().unwrap().values().next().cloned().unwrap();
        assert_eq!((patient.name.as_str(), patient.sex()), ("한가람", Sex::Female));
        assert_eq!(patient.address.as_ref().unwrap().coordinates.unwrap().latitude_degrees, 37.5);
        let reports = harness.world.reports.lock().unwrap().clone();
        let came = reports.values().find(|report| report.text == sent.text).unwrap();
        let said = |report: &SymptomReport| {
            let of = |one: &Finding| (one.code.clone(), one.side, one.present, one.severity);
            report.findings.iter().map(of).collect::<Vec<_>>()
        };
        assert_eq!(said(came), said(&sent));
        assert_eq!((came.reporter, came.reported_at), (sent.reporter, sent.reported_at));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn parts_and_times_narrow_a_story() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let case = fill(&harness);
        assess_and_refer(&harness, &case).await?;
        let parts = |parts: &[StoryPart]| ExportPatientRequest {
            parts: parts.iter().map(|part| i32::from(*part)).collect(),
            ..all(&case.patient_id)
        };
        let notes = harness.export(parts(&[StoryPart::Notes])).await?;
        assert_eq!(kinds(&notes), BTreeMap::from([("Observation", 1), ("Patient", 1)]));
        let late = ExportPatientRequest {
            created_from: at(FIRST + 248),
            ..parts(&[StoryPart::Symptoms, StoryPart::Notes, StoryPart::Imaging])
        };
        let late = harness.export(late).await?;
        assert_eq!(kinds(&late), BTreeMap::from([("Observation", 6), ("Patient", 1)]));
        // What a referral rests on is named by its identifier, and not in the bundle.
        let referrals = harness.export(parts(&[StoryPart::Referrals])).await?;
        leave("service-referrals.json", &referrals);
        let expected = [("Organization", 1), ("Patient", 1), ("ServiceRequest", 1)];
        assert_eq!(kinds(&referrals), BTreeMap::from(expected));
        // A segmentation that is gone is left out.
        harness.world.segmentations.lock().unwrap().clear();
        let gone = harness.export(parts(&[StoryPart::Assessments])).await?;
        leave("service-gone.json", &gone);
        assert_eq!(kinds(&gone)["DiagnosticReport"], 1);
        assert!(!kinds(&gone).contains_key("Condition"));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_exported_is_refused() -> anyhow::Result<()> {
    for mut harness in Harness::all().await? {
        let case = fill(&harness);
        let answer = harness.export(all("banana")).await;
        assert_refused(answer, Code::InvalidArgument, "INVALID_FIELDS", "no UUID");
        let part = ExportPatientRequest { parts: vec![0], ..all(&case.patient_id) };
        let answer = harness.export(part).await;
        assert_refused(answer, Code::InvalidArgument, "INVALID_FIELDS", "no part");
        let wrong = |nanos| ExportPatientRequest {
            created_from: Some(prost_types::Timestamp { seconds: 1, nanos }),
            parts: vec![0, 99],
            ..all("banana")
        };
        for nanos in [-1, 1_000_000_000] {
            let status = harness.export(wrong(nanos)).await.unwrap_err();
            let details = status.get_details_bad_request().unwrap();
            let fields: Vec<&str> =
                details.field_violations.iter().map(|wrong| wrong.field.as_str()).collect();
            assert_eq!(fields, ["patient_id", "created_from", "parts"], "{nanos}");
        }
        let answer = harness.export(all(&id())).await;
        assert_refused(answer, Code::NotFound, "PATIENT_NOT_FOUND", "nobody");
        harness.world.patients_away.store(true, Ordering::SeqCst);
        let answer = harness.export(all(&case.patient_id)).await;
        assert_refused(answer, Code::Unavailable, "UPSTREAM_UNAVAILABLE", "records away");
        harness.world.patients_away.store(false, Ordering::SeqCst);
        let note = |_| Note {
            note_id: id(),
            patient_id: case.patient_id.clone(),
            text: "x".to_owned(),
            ..Default::default()
        };
        let many = (0..2_001).map(note).map(|note| (note.note_id.clone(), note));
        harness.world.notes.lock().unwrap().extend(many);
        let answer = harness.export(all(&case.patient_id)).await;
        assert_refused(answer, Code::FailedPrecondition, "EXPORT_TOO_LARGE", "too many notes");
        harness.stop().await?;
    }
    Ok(())
}
