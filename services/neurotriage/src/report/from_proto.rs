//! Makes a [`Report`] from the services' answers.

use neurotriage_domain::{RegionName, Side};
use neurotriage_proto::{
    common::v1 as common, ingestion::v1 as ingestion, records::v1 as records,
    referral::v1 as referral, segmentation::v1 as segmentation,
};

use super::{
    Alternative, Assessment, Cause, EloquentArea, Factor, Finding, Fit, Hospital, Image, Language,
    Lesion, Model, NOTICE, Outcome, Pivot, Place, Placement, Referral, RegionProbability,
    RegionShare, Report, Requirement, Run, SCHEMA_VERSION, Software, Space, Study, StudyFile,
    Symptoms, TumourHint, Verdict, Volumes,
};

/// The services' answers about one patient.
pub struct Answers {
    /// The caller's name of the study.
    pub case: String,
    /// True if the study is a phantom.
    pub phantom: bool,
    /// When the report is made: RFC 3339, UTC.
    pub generated_at: String,
    /// From ingestion.
    pub study: ingestion::Study,
    /// From segmentation.
    pub segmentation: segmentation::Segmentation,
    /// From segmentation.
    pub model: segmentation::Model,
    /// From records.
    pub symptoms: records::SymptomReport,
    /// From referral.
    pub assessment: referral::Assessment,
    /// Where the patient lives; `None` if unknown.
    pub home: Option<Place>,
    /// How the run went.
    pub run: Run,
}

/// Returns the report of these answers.
pub fn report(answers: Answers) -> Report {
    let Answers {
        case,
        phantom,
        generated_at,
        study,
        segmentation,
        model,
        symptoms,
        assessment,
        home,
        run,
    } = answers;
    let model = self::model(&segmentation, &model, study.prepared.as_ref());
    let study = self::study(case, phantom, &study, &segmentation, &assessment);
    let image = image(segmentation);
    Report {
        schema_version: SCHEMA_VERSION,
        notice: NOTICE,
        generated_at,
        software: Software { name: "neurotriage", version: env!("CARGO_PKG_VERSION") },
        study,
        headline: Language::English.wording().headline(&image),
        image,
        symptoms: self::symptoms(symptoms, &assessment),
        referral: Referral {
            hospitals: assessment.hospitals.iter().cloned().map(hospital).collect(),
            reason: assessment.hospitals_reason.clone(),
            home,
            requirements: assessment.requirements.iter().map(requirement).collect(),
            tumour_hints: assessment.tumour_hints.iter().map(tumour_hint).collect(),
            ranking_version: assessment.ranking_version.clone(),
        },
        assessment: self::assessment(assessment),
        model,
        run,
    }
}

fn study(
    case: String,
    phantom: bool,
    study: &ingestion::Study,
    segmentation: &segmentation::Segmentation,
    assessment: &referral::Assessment,
) -> Study {
    let geometry = study.geometry.clone().unwrap_or_default();
    let files = study.volumes.iter().map(|volume| StudyFile {
        modality: modality(volume.modality()).to_owned(),
        file_name: volume.file_name.clone(),
        sha256: volume.blob.as_ref().map_or_else(String::new, |blob| blob.digest.clone()),
    });
    Study {
        case,
        patient_id: study.patient_id.clone(),
        study_id: study.study_id.clone(),
        segmentation_id: segmentation.segmentation_id.clone(),
        symptom_report_id: assessment.symptom_report_id.clone(),
        assessment_id: assessment.assessment_id.clone(),
        shape: geometry.shape,
        spacing_mm: geometry.spacing_mm,
        orientation: geometry.orientation,
        files: files.collect(),
        phantom,
    }
}

fn modality(modality: common::Modality) -> &'static str {
    match modality {
        common::Modality::Unspecified => "unknown",
        common::Modality::Flair => "flair",
        common::Modality::T1 => "t1",
        common::Modality::T1ce => "t1ce",
        common::Modality::T2 => "t2",
    }
}

pub(crate) fn side(side: common::Side) -> Option<Side> {
    match side {
        common::Side::Unspecified => None,
        common::Side::Left => Some(Side::Left),
        common::Side::Right => Some(Side::Right),
        common::Side::Midline => Some(Side::Midline),
    }
}

fn model(
    segmentation: &segmentation::Segmentation,
    model: &segmentation::Model,
    prepared: Option<&ingestion::PreparedStudy>,
) -> Model {
    Model {
        model_id: segmentation.model_id.clone(),
        weights_sha256: segmentation.weights_sha256.clone(),
        device: model.device.clone(),
        inference_seconds: segmentation.inference_seconds,
        profile: prepared.map_or_else(String::new, |prepared| prepared.profile.clone()),
        profile_version: prepared.map_or(0, |prepared| prepared.profile_version),
    }
}

fn image(segmentation: segmentation::Segmentation) -> Image {
    let outcome = match segmentation.outcome() {
        segmentation::Outcome::Unspecified => None,
        segmentation::Outcome::Tumour => Some(Outcome::Tumour),
        segmentation::Outcome::NoTumourFound => Some(Outcome::NoTumourFound),
        segmentation::Outcome::NotSure => Some(Outcome::NotSure),
    };
    let localisation = segmentation.localisation.unwrap_or_default();
    let space = match localisation.space() {
        segmentation::Space::Sri24 => Space::Sri24,
        segmentation::Space::Mni152 => Space::Mni152,
        segmentation::Space::Unspecified | segmentation::Space::Unknown => Space::Unknown,
    };
    let placement = localisation.placement.as_ref().and_then(placement);
    let lesions: Vec<Lesion> = localisation.lesions.into_iter().map(lesion).collect();
    let mut volumes =
        Volumes { whole_ml: 0.0, necrotic_core_ml: 0.0, oedema_ml: 0.0, enhancing_ml: 0.0 };
    for lesion in &lesions {
        volumes.whole_ml += lesion.volumes.whole_ml;
        volumes.necrotic_core_ml += lesion.volumes.necrotic_core_ml;
        volumes.oedema_ml += lesion.volumes.oedema_ml;
        volumes.enhancing_ml += lesion.volumes.enhancing_ml;
    }
    Image {
        outcome,
        outcome_reasons: segmentation.outcome_reasons,
        volumes,
        uncertainty: segmentation.uncertainty,
        space,
        space_reason: localisation.space_reason,
        placement,
        atlas: localisation.atlas,
        components_ignored: localisation.components_ignored,
        lesions,
        localiser_details: serde_json::from_str(&localisation.json).unwrap_or_default(),
    }
}

fn placement(placement: &segmentation::Placement) -> Option<Placement> {
    let registered = match placement.placed_by() {
        segmentation::PlacedBy::Unspecified => return None,
        segmentation::PlacedBy::Header => false,
        segmentation::PlacedBy::Registration => true,
    };
    let shift = placement.midline_shift.as_ref();
    Some(Placement {
        registered,
        moved_mm: placement.moved_mm,
        midline_shift_right_mm: shift.map(|shift| shift.right_mm),
    })
}

fn lesion(lesion: segmentation::Lesion) -> Lesion {
    let side = side(lesion.side());
    Lesion {
        volumes: Volumes {
            whole_ml: lesion.volume_ml,
            necrotic_core_ml: lesion.necrotic_core_ml,
            oedema_ml: lesion.oedema_ml,
            enhancing_ml: lesion.enhancing_ml,
        },
        centroid_mm: lesion.centroid_mm,
        diameter_max_mm: lesion.diameter_max_mm,
        side,
        crosses_midline: lesion.crosses_midline,
        share_across_midline: lesion.share_across_midline,
        main_region: lesion.main_region,
        share_assigned_by_distance: lesion.share_assigned_by_distance,
        confidence: lesion.confidence,
        uncertainty: lesion.uncertainty,
        mirror_spread: lesion.mirror_spread,
        regions: lesion.regions.into_iter().map(region_share).collect(),
        eloquent: lesion.eloquent.into_iter().map(eloquent).collect(),
        touches_ventricles: lesion.touches_ventricles,
        touches_cortex: lesion.touches_cortex,
        satellites: lesion.satellites,
    }
}

fn region_share(region: segmentation::RegionShare) -> RegionShare {
    let side = side(region.side());
    RegionShare {
        region: region.region,
        display_name: region.display_name,
        side,
        volume_ml: region.volume_ml,
        share: region.share,
        core_share: region.core_share,
        site_weight: region.site_weight,
        snomed_code: region.snomed_code,
        is_uncertain: region.is_uncertain,
    }
}

fn eloquent(area: segmentation::EloquentArea) -> EloquentArea {
    EloquentArea {
        area: area.area,
        display_name: area.display_name,
        function: area.function,
        distance_mm: area.distance_mm,
        overlap_ml: area.overlap_ml,
    }
}

fn symptoms(symptoms: records::SymptomReport, assessment: &referral::Assessment) -> Symptoms {
    let compared: Vec<Finding> = assessment.findings.iter().cloned().filter_map(finding).collect();
    // The referral service compares every finding; one that it left out is still shown.
    let findings = symptoms.findings.into_iter().map(|coded| {
        let same = |finding: &&Finding| {
            finding.finding_id == coded.finding_id
                && finding.matched_text == coded.matched_text
                && finding.side == side(coded.side())
        };
        compared.iter().find(same).cloned().unwrap_or_else(|| not_compared(coded))
    });
    Symptoms {
        findings: findings.collect(),
        text: symptoms.text,
        not_understood: symptoms.not_understood,
        lexicon_version: symptoms.lexicon_version,
    }
}

fn finding(compared: referral::FindingFit) -> Option<Finding> {
    let fit = match compared.fit() {
        referral::Fit::Unspecified => Fit::NotCompared,
        referral::Fit::Explained => Fit::Explained,
        referral::Fit::Unexplained => Fit::Unexplained,
        referral::Fit::NotLocalising => Fit::NotLocalising,
        referral::Fit::Absent => Fit::Denied,
    };
    let points_to = compared.points_to.into_iter().map(region_probability).collect();
    Some(Finding { fit, reason: compared.reason, points_to, ..not_compared(compared.finding?) })
}

fn not_compared(coded: records::Finding) -> Finding {
    let side = side(coded.side());
    Finding {
        // What does not say that it is denied is not shown as denied.
        fit: if coded.present == Some(false) { Fit::Denied } else { Fit::NotCompared },
        finding_id: coded.finding_id,
        code: coded.code,
        display_name: coded.display_name,
        side,
        matched_text: coded.matched_text,
        reason: String::new(),
        points_to: Vec::new(),
    }
}

fn region_probability(region: referral::RegionProbability) -> RegionProbability {
    let side = side(region.side());
    RegionProbability {
        region: region.region,
        display_name: region.display_name,
        side,
        probability: region.probability,
    }
}

fn verdict(verdict: referral::Verdict) -> Verdict {
    match verdict {
        referral::Verdict::Concordant => Verdict::Concordant,
        referral::Verdict::PartlyConcordant => Verdict::PartlyConcordant,
        referral::Verdict::Discordant => Verdict::Discordant,
        referral::Verdict::Unspecified | referral::Verdict::InsufficientEvidence => {
            Verdict::InsufficientEvidence
        }
    }
}

fn alternative(alternative: &referral::Alternative) -> Alternative {
    let cause = match alternative.cause() {
        referral::Cause::Unspecified => Cause::Unknown,
        referral::Cause::RaisedPressure => Cause::RaisedPressure,
        referral::Cause::SeizureAftermath => Cause::SeizureAftermath,
        referral::Cause::MassEffect => Cause::MassEffect,
        referral::Cause::SecondLesion => Cause::SecondLesion,
        referral::Cause::OtherDisease => Cause::OtherDisease,
    };
    Alternative {
        cause,
        finding_ids: alternative.finding_ids.clone(),
        reason: alternative.reason.clone(),
    }
}

fn pivot(pivot: &referral::Pivot) -> Pivot {
    Pivot {
        finding_id: pivot.finding_id.clone(),
        verdict_without: verdict(pivot.verdict_without()),
    }
}

fn assessment(assessment: referral::Assessment) -> Assessment {
    let verdict = verdict(assessment.verdict());
    let alternatives: Vec<Alternative> = assessment.alternatives.iter().map(alternative).collect();
    let pivots: Vec<Pivot> = assessment.pivots.iter().map(pivot).collect();
    let confirmed_site_name = assessment
        .confirmed_site
        .parse::<RegionName>()
        .map_or_else(|_| assessment.confirmed_site.clone(), RegionName::display_name);
    let regions = |regions: Vec<referral::RegionProbability>| {
        regions.into_iter().map(region_probability).collect()
    };
    let mut made = Assessment {
        verdict,
        concordance: assessment.concordance,
        reasons: assessment.reasons,
        symptom_regions: regions(assessment.symptom_regions),
        image_regions: regions(assessment.image_regions),
        confirmed_site: assessment.confirmed_site,
        confirmed_site_name,
        site_confidence: assessment.site_confidence,
        urgent_signs: assessment.urgent_signs,
        to_consider: Vec::new(),
        alternatives,
        pivots,
        expected_but_absent: assessment.expected_but_absent,
        worth_asking: assessment.worth_asking,
        next_checks: assessment.next_checks,
        evidence_version: assessment.evidence_version,
    };
    made.to_consider = Language::English.wording().to_consider(&made);
    made
}

fn requirement(requirement: &referral::Requirement) -> Requirement {
    Requirement {
        capability: requirement.capability.clone(),
        why: requirement.why.clone(),
        essential: requirement.essential,
    }
}

fn tumour_hint(hint: &referral::TumourHint) -> TumourHint {
    TumourHint {
        kind: hint.kind.clone(),
        reason: hint.reason.clone(),
        capabilities: hint.capabilities.clone(),
        source: hint.source.clone(),
    }
}

fn hospital(ranked: referral::RankedHospital) -> Hospital {
    let hospital = ranked.hospital.unwrap_or_default();
    let factors = ranked.factors.into_iter().map(|factor| Factor {
        name: factor.name,
        value: factor.value,
        weight: factor.weight,
        explanation: factor.explanation,
    });
    Hospital {
        hospital_id: hospital.hospital_id,
        name: hospital.name,
        city: hospital.city,
        location: hospital.location.map(|location| Place {
            latitude_degrees: location.latitude_degrees,
            longitude_degrees: location.longitude_degrees,
        }),
        capabilities: hospital.capabilities,
        score: ranked.score,
        factors: factors.collect(),
        distance_km: ranked.distance_km,
        travel_minutes: ranked.travel_minutes,
        beds_free: hospital.beds_free,
        reason: ranked.reason,
    }
}
