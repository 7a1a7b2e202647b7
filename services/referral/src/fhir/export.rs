//! Putting a patient's story together.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use neurotriage_domain::{PatientId, SegmentationId};
use neurotriage_fhir::story::{
    Assessment as ToldAssessment, Hospital as ToldHospital, Referral, ReferralStatus, Segmentation,
    Story, Study, Verdict as ToldVerdict,
};
use neurotriage_service_kit::audit::Call;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{FhirError, Span, StorySources, StoryStore};
use crate::{
    assessment::Assessment,
    crosscheck::Verdict,
    directory::DirectoryStore,
    hospital::Hospital,
    lifecycle::{
        referral::{State, Status, Terms},
        store::{LifecycleStore, Listed},
    },
};

/// Most symptom reports, and most notes, of one story.
const REPORTS_MAX: usize = 2_000;
/// Most studies, assessments, segmentations and referrals of one story, each.
const DERIVED_MAX: usize = 500;
// Each is noted, and that they were searched, at once.
const _: () = assert!(DERIVED_MAX < neurotriage_audit::EVENTS_MAX);
/// Segmentations that are asked for at a time.
const ASKED_MAX: usize = 8;

/// Which parts of a story are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Symptom reports and findings.
    pub symptoms: bool,
    /// Notes.
    pub notes: bool,
    /// Imaging studies.
    pub imaging: bool,
    /// Assessments and segmentations.
    pub assessments: bool,
    /// Referrals and hospitals.
    pub referrals: bool,
}

impl Parts {
    /// Every part.
    pub const ALL: Self =
        Self { symptoms: true, notes: true, imaging: true, assessments: true, referrals: true };
    /// None: the patient alone.
    pub const NONE: Self = Self {
        symptoms: false,
        notes: false,
        imaging: false,
        assessments: false,
        referrals: false,
    };

    /// Returns the names of those that are wanted.
    fn names(self) -> Vec<&'static str> {
        let named = [
            (self.symptoms, "symptoms"),
            (self.notes, "notes"),
            (self.imaging, "imaging"),
            (self.assessments, "assessments"),
            (self.referrals, "referrals"),
        ];
        named.into_iter().filter(|(wanted, _)| *wanted).map(|(_, name)| name).collect()
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// Who asks.
    pub call: Call,
    /// Whose story.
    pub patient_id: PatientId,
    /// Only what was stored then or later.
    pub from: Option<OffsetDateTime>,
    /// Which parts.
    pub parts: Parts,
}

/// Where a story is read from.
#[derive(Clone, Debug)]
pub struct Exporter<S, L, U> {
    /// Assessments, diagnoses and hospitals.
    pub store: S,
    /// Referrals.
    pub lifecycle: L,
    /// The other services.
    pub sources: U,
}

impl<S: StoryStore + DirectoryStore, L: LifecycleStore, U: StorySources> Exporter<S, L, U> {
    /// Returns the story that is asked for. What is not there is left out. That it leaves the system is noted when
    /// this returns.
    ///
    /// # Errors
    /// [`FhirError::PatientNotFound`]; [`FhirError::TooLarge`]; [`FhirError::Failed`] if the call may not touch the
    /// patient, or a service is away.
    pub async fn story(&self, request: ExportRequest) -> Result<Story, FhirError> {
        let ExportRequest { call, patient_id, from, parts } = request;
        if let Err(error) = call.check_patient(patient_id) {
            return Err(self.store.deny_export(&call, patient_id, error).await);
        }
        let patient = self.sources.stored_patient(patient_id).await?;
        let patient_id = PatientId::from(patient.patient_id);
        // What other services and this one keep of merged patients keeps their ids, which a token for one patient does
        // not reach.
        let all: Vec<PatientId> = std::iter::once(patient_id)
            .chain(patient.merged.iter().copied().map(PatientId::from))
            .filter(|one| call.check_patient(*one).is_ok())
            .collect();
        let mut story = Story {
            patient,
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Story::default()
        };
        let reports = Span { from, max: REPORTS_MAX };
        let derived = Span { from, max: DERIVED_MAX };
        if parts.symptoms {
            story.reports = self.sources.stored_reports(patient_id, reports).await?;
        }
        if parts.notes {
            story.notes = self.sources.stored_notes(patient_id, reports).await?;
        }
        if parts.imaging {
            story.studies = self.studies(patient_id, &all, derived).await?;
        }
        if parts.assessments {
            let assessments = self.store.assessments_of(&call, &all, derived).await?;
            story.segmentations = self.segmentations(&call, &assessments, &all, derived).await?;
            story.assessments = assessments.into_iter().map(told_assessment).collect();
        }
        if parts.referrals {
            story.referrals = self.referrals(&call, &all, derived).await?;
            story.hospitals = self.hospitals(&story.referrals).await?;
        }
        self.store.note_export(&call, patient_id, &parts.names()).await?;
        Ok(story)
    }

    /// What is linked and what was uploaded, as one.
    async fn studies(
        &self,
        patient_id: PatientId,
        all: &[PatientId],
        span: Span,
    ) -> Result<Vec<Study>, FhirError> {
        let mut studies: BTreeMap<Uuid, Study> = BTreeMap::new();
        for patient_id in all {
            for study in self.sources.uploaded_studies(*patient_id, span).await? {
                studies.insert(study.study_id, study);
            }
        }
        for link in self.sources.linked_studies(patient_id, span).await? {
            let study = studies.entry(link.study_id).or_default();
            study.study_id = link.study_id;
            study.acquired_on = link.acquired_on;
            study.description = link.description;
        }
        if studies.len() > span.max {
            return Err(FhirError::TooLarge { what: "studies" });
        }
        Ok(studies.into_values().rev().collect())
    }

    async fn segmentations(
        &self,
        call: &Call,
        assessments: &[Assessment],
        all: &[PatientId],
        span: Span,
    ) -> Result<Vec<Segmentation>, FhirError> {
        let mut ids: BTreeSet<SegmentationId> =
            assessments.iter().map(|assessment| assessment.request.segmentation_id).collect();
        ids.extend(self.store.segmentations_of(call, all, span).await?);
        if ids.len() > span.max {
            return Err(FhirError::TooLarge { what: "segmentations" });
        }
        let found: Vec<Option<Segmentation>> = stream::iter(ids.into_iter().rev())
            .map(|segmentation_id| self.sources.found_segmentation(segmentation_id))
            .buffered(ASKED_MAX)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn referrals(
        &self,
        call: &Call,
        all: &[PatientId],
        span: Span,
    ) -> Result<Vec<Referral>, FhirError> {
        let limit = u32::try_from(span.max).unwrap_or(u32::MAX);
        let mut referrals = Vec::new();
        for patient_id in all {
            let listed = Listed::OfPatient(*patient_id);
            let (found, more) = self.lifecycle.list(call, &listed, &[], None, limit).await?;
            let new_enough = |(terms, _): &(Terms, Status)| {
                span.from.is_none_or(|from| terms.created_at >= from)
            };
            referrals.extend(found.into_iter().filter(new_enough).map(told_referral));
            if more || referrals.len() > span.max {
                return Err(FhirError::TooLarge { what: "referrals" });
            }
        }
        Ok(referrals)
    }

    async fn hospitals(&self, referrals: &[Referral]) -> Result<Vec<ToldHospital>, FhirError> {
        let ids: BTreeSet<&str> =
            referrals.iter().map(|referral| referral.hospital_id.as_str()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let snapshot = self.store.snapshot().await?;
        let found = ids.into_iter().filter_map(|id| snapshot.find(&id.parse().ok()?));
        Ok(found.map(told_hospital).collect())
    }
}

fn told_assessment(assessment: Assessment) -> ToldAssessment {
    let findings = assessment.findings;
    let comparison = findings.comparison;
    ToldAssessment {
        assessment_id: assessment.assessment_id.as_uuid(),
        created_at: assessment.created_at,
        symptom_report_id: assessment.request.symptom_report_id.as_uuid(),
        segmentation_id: assessment.request.segmentation_id.as_uuid(),
        verdict: match comparison.verdict {
            Verdict::Concordant => ToldVerdict::Concordant,
            Verdict::PartlyConcordant => ToldVerdict::PartlyConcordant,
            Verdict::Discordant => ToldVerdict::Discordant,
            Verdict::InsufficientEvidence => ToldVerdict::InsufficientEvidence,
        },
        concordance: comparison.concordance,
        reasons: comparison.reasons,
        urgent_signs: comparison.urgent_signs,
        site: comparison
            .confirmed_site
            .map(|site| (site.to_string(), site.display_name(), site.side)),
        hospitals: findings.ranking.hospitals.into_iter().map(|one| one.hospital.name).collect(),
        evidence_version: findings.evidence_version,
        ranking_version: findings.ranking.rules_version,
    }
}

fn told_referral((terms, status): (Terms, Status)) -> Referral {
    let told = match status.state {
        State::Draft => ReferralStatus::Draft,
        State::Requested | State::Received | State::Accepted | State::Scheduled => {
            ReferralStatus::Active
        }
        State::Completed => ReferralStatus::Completed,
        State::Declined | State::Cancelled | State::Expired => ReferralStatus::Revoked,
    };
    Referral {
        referral_id: terms.referral_id.as_uuid(),
        status: told,
        state: status.state.as_str().to_owned(),
        assessment_id: terms.assessment_id.as_uuid(),
        hospital_id: terms.hospital_id.to_string(),
        referrer_id: terms.referrer_id.as_str().to_owned(),
        created_at: terms.created_at,
        scheduled_at: status.scheduled_at,
        reason: status.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
    }
}

fn told_hospital(hospital: &Hospital) -> ToldHospital {
    ToldHospital {
        hospital_id: hospital.hospital_id.to_string(),
        name: hospital.name.clone(),
        city: hospital.city.clone(),
        identifiers: hospital
            .identifiers
            .iter()
            .map(|one| (one.system.clone(), one.value.clone()))
            .collect(),
    }
}
