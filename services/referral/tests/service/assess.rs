//! Assessments over a real socket, with a real database and the other services in process.

use std::sync::Arc;

use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::{
    common::v1::Side,
    ingestion::v1::Study,
    records::v1::{Address, Coordinates, Finding, Handedness, Patient, SymptomReport},
    referral::v1::{
        AssessRequest, Assessment, Fit, GetAssessmentRequest, Verdict,
        referral_service_client::ReferralServiceClient,
    },
    segmentation::v1::{Lesion, Localisation, Outcome, RegionShare, Segmentation, Space},
};
use neurotriage_service_kit::client;
use neurotriage_testkit::{TestDb, databases};
use tokio::task::JoinHandle;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::{
    self, Served,
    neighbours::{self, Known, World},
};

struct Harness {
    client: ReferralServiceClient<Channel>,
    db: TestDb,
    served: Served,
    world: Arc<World>,
    neighbours: JoinHandle<()>,
}

async fn start(db: TestDb, known: Known) -> anyhow::Result<Harness> {
    let world = Arc::new(World::from(known));
    let (others, neighbours) = neighbours::start(Arc::clone(&world)).await?;
    let others = client::channel(&format!("http://{others}"))?;
    start_beside(db, Some(others), world, neighbours).await
}

async fn start_beside(
    db: TestDb,
    others: Option<Channel>,
    world: Arc<World>,
    neighbours: JoinHandle<()>,
) -> anyhow::Result<Harness> {
    let served = support::serve(support::dependencies(db.service.clone(), others)?).await?;
    let client = ReferralServiceClient::connect(served.endpoint.clone()).await?;
    Ok(Harness { client, db, served, world, neighbours })
}

impl Harness {
    async fn stop(self) -> anyhow::Result<()> {
        drop(self.client);
        self.served.stop().await?;
        self.neighbours.abort();
        self.db.drop().await
    }

    async fn assess(&mut self, request: &AssessRequest) -> Result<Assessment, Status> {
        let response = self.client.assess(request.clone()).await?;
        response
            .into_inner()
            .assessment
            .ok_or_else(|| Status::internal("no assessment in the answer"))
    }
}

/// One patient with one report and one segmentation.
struct Case {
    patient_id: String,
    request: AssessRequest,
    study_id: String,
}

impl Case {
    fn new() -> Self {
        let id = || Uuid::now_v7().to_string();
        let request = AssessRequest {
            request_id: id(),
            symptom_report_id: id(),
            segmentation_id: id(),
            hospitals_max: 3,
        };
        Self { patient_id: id(), request, study_id: id() }
    }

    fn known(&self, findings: Vec<Finding>) -> Known {
        let mut known = Known::default();
        let report = SymptomReport {
            symptom_report_id: self.request.symptom_report_id.clone(),
            patient_id: self.patient_id.clone(),
            findings,
            not_understood: vec!["whizzing".to_owned()],
            ..Default::default()
        };
        known.reports.insert(report.symptom_report_id.clone(), report);
        let patient = Patient {
            patient_id: self.patient_id.clone(),
            handedness: Handedness::Right.into(),
            birth_date: "1961-05-17".to_owned(),
            address: Some(Address {
                coordinates: Some(Coordinates { latitude_degrees: 37.5, longitude_degrees: 127.0 }),
                ..Default::default()
            }),
            ..Default::default()
        };
        known.patients.insert(patient.patient_id.clone(), patient);
        let segmentation = Segmentation {
            segmentation_id: self.request.segmentation_id.clone(),
            study_id: self.study_id.clone(),
            model_id: "model-1".to_owned(),
            localisation: Some(localisation()),
            ..Default::default()
        };
        known.segmentations.insert(segmentation.segmentation_id.clone(), segmentation);
        let study = Study {
            study_id: self.study_id.clone(),
            patient_id: self.patient_id.clone(),
            ..Default::default()
        };
        known.studies.insert(study.study_id.clone(), study);
        known
    }
}

fn localisation() -> Localisation {
    let share = |region: &str, site_weight| RegionShare {
        region: region.to_owned(),
        site_weight,
        ..Default::default()
    };
    let regions = vec![share("frontal_left", 0.6), share("frontal_right", 0.4)];
    Localisation {
        space: Space::Sri24.into(),
        lesions: vec![Lesion { volume_ml: 42.0, regions, ..Default::default() }],
        ..Default::default()
    }
}

fn finding(finding_id: &str, side: Side, present: bool) -> Finding {
    Finding {
        finding_id: finding_id.to_owned(),
        code: format!("NT:{finding_id}"),
        display_name: finding_id.replace('_', " "),
        side: side.into(),
        present: Some(present),
        matched_text: finding_id.to_owned(),
        ..Default::default()
    }
}

fn frontal_findings() -> Vec<Finding> {
    vec![
        finding("personality_change", Side::Unspecified, true),
        finding("apathy", Side::Unspecified, true),
        finding("headache", Side::Unspecified, true),
        finding("seizure", Side::Unspecified, false),
    ]
}

#[tokio::test]
async fn an_assessment_is_stored_and_a_repeated_request_returns_it() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let case = Case::new();
        let mut harness = start(db, case.known(frontal_findings())).await?;

        let assessment = harness.assess(&case.request).await?;
        // Every call to another service has a deadline.
        for (method, deadline) in harness.world.deadlines.lock().unwrap().iter() {
            assert_eq!(deadline, "10000000u", "{method}");
        }
        assert_eq!(assessment.verdict(), Verdict::Concordant);
        assert!(assessment.concordance.is_some_and(|concordance| concordance > 0.65));
        assert_eq!(assessment.patient_id, case.patient_id);
        assert_eq!(assessment.confirmed_site, "frontal_left");
        assert_eq!(assessment.model_id, "model-1");
        assert_eq!(assessment.not_understood, ["whizzing"]);
        assert!(!assessment.evidence_version.is_empty());
        assert!(assessment.created_at.is_some());
        let fits: Vec<Fit> = assessment.findings.iter().map(|finding| finding.fit()).collect();
        assert_eq!(fits, [Fit::Explained, Fit::Explained, Fit::NotLocalising, Fit::Absent]);
        assert_eq!(assessment.hospitals.len(), 3);
        assert_eq!(assessment.hospitals_reason, "");
        let first = assessment.hospitals[0].hospital.clone().unwrap_or_default();
        assert!(first.capabilities.contains(&"awake_mapping".to_owned()));
        assert!(assessment.hospitals[0].distance_km.is_some());

        assert_eq!(harness.assess(&case.request).await?, assessment);
        let request = GetAssessmentRequest { assessment_id: assessment.assessment_id.clone() };
        let stored = harness.client.get_assessment(request).await?.into_inner().assessment;
        assert_eq!(stored, Some(assessment));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn requests_at_the_same_time_get_one_answer() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let case = Case::new();
        let harness = start(db, case.known(frontal_findings())).await?;
        let assess = || {
            let (mut client, request) = (harness.client.clone(), case.request.clone());
            async move { client.assess(request).await }
        };
        let (a, b, c) = tokio::try_join!(assess(), assess(), assess())?;
        let a = a.into_inner();
        assert_eq!(a, b.into_inner());
        assert_eq!(a, c.into_inner());
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn field_defects_do_not_agree_with_a_frontal_lesion() -> anyhow::Result<()> {
    let case = Case::new();
    let findings = vec![
        finding("hemianopia", Side::Right, true),
        finding("gait_disturbance", Side::Unspecified, true),
    ];
    let mut harness = start(TestDb::sqlite::<Migrator>().await?, case.known(findings)).await?;
    let assessment = harness.assess(&case.request).await?;
    assert_eq!(assessment.verdict(), Verdict::Discordant);
    assert!(assessment.next_checks.contains(&"formal visual field test".to_owned()));
    assert_eq!(assessment.symptom_regions[0].side(), Side::Left);
    harness.stop().await
}

#[tokio::test]
async fn a_doubtful_image_gives_no_verdict_and_no_site_and_hospitals_for_any_tumour()
-> anyhow::Result<()> {
    // (outcome, what the first reason says)
    let table = [
        (Outcome::NotSure, "It is not sure what the image shows"),
        (Outcome::NoTumourFound, "No tumour was found"),
    ];
    for (outcome, reason) in table {
        let case = Case::new();
        let mut known = case.known(frontal_findings());
        for segmentation in known.segmentations.values_mut() {
            segmentation.outcome = outcome.into();
            segmentation.outcome_reasons = vec!["confidence is low".to_owned()];
        }
        let mut harness = start(TestDb::sqlite::<Migrator>().await?, known).await?;
        let assessment = harness.assess(&case.request).await?;
        assert_eq!(assessment.verdict(), Verdict::InsufficientEvidence);
        assert_eq!((assessment.concordance, assessment.confirmed_site.as_str()), (None, ""));
        assert!(assessment.reasons[0].starts_with(reason), "{:?}", assessment.reasons);
        let doubt = assessment.reasons[0].contains("confidence is low");
        assert_eq!(doubt, outcome == Outcome::NotSure);
        // Neurosurgery near home: nothing is called for by a site.
        assert_eq!(assessment.hospitals.len(), 3);
        let capability = &assessment.hospitals[0].factors[0].explanation;
        assert!(capability.contains("nothing more special is called for"), "{capability}");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn assess_refuses_what_it_should() -> anyhow::Result<()> {
    let case = Case::new();
    let mut known = case.known(frontal_findings());
    // A second report whose segmentation is of someone else, and holes in what is known.
    let id = || Uuid::now_v7().to_string();
    let base = &case.request;
    let fresh = |change: &dyn Fn(&mut AssessRequest)| {
        let mut request = AssessRequest { request_id: id(), ..base.clone() };
        change(&mut request);
        request
    };
    let (stranger, lost, orphan, nobody) = (id(), id(), id(), id());
    let segmentation = known.segmentations[&base.segmentation_id].clone();
    let study_of_stranger =
        Study { study_id: stranger.clone(), patient_id: id(), ..Default::default() };
    known.studies.insert(stranger.clone(), study_of_stranger);
    for (segmentation_id, study_id) in [(&stranger, &stranger), (&lost, &lost)] {
        let other = Segmentation {
            segmentation_id: segmentation_id.clone(),
            study_id: study_id.clone(),
            ..segmentation.clone()
        };
        known.segmentations.insert(segmentation_id.clone(), other);
    }
    let unplaced = Segmentation { localisation: None, ..segmentation };
    known.segmentations.insert(orphan.clone(), unplaced);
    let mut report = known.reports[&base.symptom_report_id].clone();
    report.patient_id = nobody.clone();
    known.reports.insert(nobody.clone(), report);

    let unsaid = id();
    let mut report = known.reports[&base.symptom_report_id].clone();
    report.findings[1].present = None;
    known.reports.insert(unsaid.clone(), report);

    let mut harness = start(TestDb::sqlite::<Migrator>().await?, known).await?;
    harness.assess(base).await?;
    // (what the row is for, request, code, reason)
    let table = [
        ("no ids", AssessRequest::default(), Code::InvalidArgument, "INVALID_FIELDS"),
        (
            "request id",
            fresh(&|r| r.request_id = "banana".into()),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        (
            "too many hospitals",
            fresh(&|r| r.hospitals_max = 51),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        (
            "no report",
            fresh(&|r| r.symptom_report_id = id()),
            Code::NotFound,
            "SYMPTOM_REPORT_NOT_FOUND",
        ),
        (
            "no segmentation",
            fresh(&|r| r.segmentation_id = id()),
            Code::NotFound,
            "SEGMENTATION_NOT_FOUND",
        ),
        (
            "no study",
            fresh(&|r| r.segmentation_id = lost.clone()),
            Code::NotFound,
            "STUDY_NOT_FOUND",
        ),
        (
            "no patient",
            fresh(&|r| r.symptom_report_id = nobody.clone()),
            Code::NotFound,
            "PATIENT_NOT_FOUND",
        ),
        (
            "someone else",
            fresh(&|r| r.segmentation_id = stranger.clone()),
            Code::FailedPrecondition,
            "DIFFERENT_PATIENTS",
        ),
        (
            "no localisation",
            fresh(&|r| r.segmentation_id = orphan.clone()),
            Code::Internal,
            "UPSTREAM_MALFORMED",
        ),
        (
            "a finding neither present nor denied",
            fresh(&|r| r.symptom_report_id = unsaid.clone()),
            Code::Internal,
            "UPSTREAM_MALFORMED",
        ),
        (
            "used request id",
            AssessRequest { hospitals_max: 4, ..base.clone() },
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
        ),
    ];
    for (case, request, code, reason) in table {
        let status = harness.assess(&request).await.expect_err(case);
        assert_eq!(status.code(), code, "case: {case}: {status}");
        let info = status.get_details_error_info().expect(case);
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            (reason, "referral.neurotriage.example"),
            "case: {case}"
        );
    }
    let violations = harness.assess(&AssessRequest::default()).await.expect_err("invalid");
    let fields: Vec<String> = violations
        .get_details_bad_request()
        .map(|bad| bad.field_violations.into_iter().map(|violation| violation.field).collect())
        .unwrap_or_default();
    assert_eq!(fields, ["request_id", "symptom_report_id", "segmentation_id"]);
    harness.stop().await
}

#[tokio::test]
async fn a_service_that_is_away_is_unavailable_with_a_time_to_retry() -> anyhow::Result<()> {
    let db = TestDb::sqlite::<Migrator>().await?;
    let mut harness = start_beside(db, None, Arc::default(), tokio::spawn(async {})).await?;
    let status = harness.assess(&Case::new().request).await.expect_err("nobody answers");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.get_details_retry_info().is_some_and(|retry| retry.retry_delay.is_some()));
    harness.stop().await
}

#[tokio::test]
async fn get_assessment_refuses_what_it_should() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db, Known::default()).await?;
        let unknown = Uuid::now_v7().to_string();
        for (case, assessment_id, code, reason) in [
            ("not an id", "banana", Code::InvalidArgument, "INVALID_FIELDS"),
            ("unknown", unknown.as_str(), Code::NotFound, "ASSESSMENT_NOT_FOUND"),
        ] {
            let request = GetAssessmentRequest { assessment_id: assessment_id.to_owned() };
            let status = harness.client.get_assessment(request).await.expect_err(case);
            assert_eq!(status.code(), code, "case: {case}");
            assert_eq!(status.get_details_error_info().expect(case).reason, reason, "case: {case}");
        }
        harness.stop().await?;
    }
    Ok(())
}
