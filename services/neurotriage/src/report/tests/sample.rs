//! One patient with everything that a report can show.

use neurotriage_proto::{
    common::v1 as common, ingestion::v1 as ingestion, records::v1 as records,
    referral::v1 as referral, segmentation::v1 as segmentation,
};

use super::super::{Place, Report, Run, Step, from_proto, from_proto::Answers};

const LEFT: i32 = common::Side::Left as i32;
const RIGHT: i32 = common::Side::Right as i32;

fn share(
    region: &str,
    display_name: &str,
    side: i32,
    share: f64,
    core_share: f64,
) -> segmentation::RegionShare {
    segmentation::RegionShare {
        region: region.into(),
        display_name: display_name.into(),
        side,
        volume_ml: 84.2 * share,
        share,
        core_share,
        site_weight: (share + core_share) / 2.0,
        snomed_code: "83251001".into(),
        ..Default::default()
    }
}

fn probability(
    region: &str,
    display_name: &str,
    side: i32,
    probability: f64,
) -> referral::RegionProbability {
    referral::RegionProbability {
        region: region.into(),
        display_name: display_name.into(),
        side,
        probability,
    }
}

fn coded(
    finding_id: &str,
    code: &str,
    display_name: &str,
    side: i32,
    present: bool,
) -> records::Finding {
    records::Finding {
        finding_id: finding_id.into(),
        code: code.into(),
        display_name: display_name.into(),
        side,
        present: Some(present),
        matched_text: format!("words of {display_name}"),
        ..Default::default()
    }
}

fn findings() -> Vec<(records::Finding, referral::Fit, &'static str)> {
    vec![
        (
            coded("hemiparesis", "HP:0001269", "hemiparesis", RIGHT, true),
            referral::Fit::Explained,
            "Weakness of the right side points to the left frontal lobe, where 61 % of the lesion lies.",
        ),
        (
            coded("expressive_aphasia", "HP:0002427", "expressive aphasia", 0, true),
            referral::Fit::Explained,
            "Points to the left frontal lobe in a right-handed patient.",
        ),
        (
            coded("tinnitus", "HP:0000360", "tinnitus", LEFT, true),
            referral::Fit::Unexplained,
            "Points to the cerebellopontine angle, where no lesion lies.",
        ),
        (
            coded("headache", "HP:0002315", "headache", 0, true),
            referral::Fit::NotLocalising,
            "Headache occurs with a tumour anywhere.",
        ),
        (
            coded("seizure", "HP:0001250", "seizure", 0, false),
            referral::Fit::Absent,
            "The text denies it.",
        ),
    ]
}

/// Returns where a finding of [`findings`] points.
fn points_to(finding_id: &str) -> Vec<referral::RegionProbability> {
    match finding_id {
        "hemiparesis" | "expressive_aphasia" => vec![
            probability("frontal_left", "left frontal lobe", LEFT, 0.7),
            probability("parietal_left", "left parietal lobe", LEFT, 0.3),
        ],
        "tinnitus" => vec![probability(
            "cerebellopontine_angle_left",
            "left cerebellopontine angle",
            LEFT,
            1.0,
        )],
        _ => Vec::new(),
    }
}

fn hospital(
    id: &str,
    name: &str,
    score: f64,
    distance_km: Option<f64>,
) -> referral::RankedHospital {
    let factor = |name: &str, value, weight, explanation: &str| referral::RankingFactor {
        name: name.into(),
        value,
        weight,
        explanation: explanation.into(),
    };
    referral::RankedHospital {
        hospital: Some(referral::Hospital {
            hospital_id: id.into(),
            name: name.into(),
            city: "Seoul".into(),
            location: Some(records::Coordinates {
                latitude_degrees: 37.55 + score / 10.0,
                longitude_degrees: 127.0,
            }),
            capabilities: vec![
                "neurosurgery".into(),
                "awake_mapping".into(),
                "radiotherapy".into(),
            ],
            accepts_referrals: true,
            ..Default::default()
        }),
        score,
        factors: vec![
            factor(
                "capability",
                1.0,
                0.6,
                "Offers neurosurgery and awake mapping, which the left frontal lobe asks for.",
            ),
            factor("travel", score / 2.0, 0.4, "12 km from the patient's home."),
        ],
        distance_km,
        reason: "Treats tumours of the left frontal lobe with awake mapping.".into(),
        ..Default::default()
    }
}

/// Answers about one patient with everything that a report can show.
pub(crate) fn answers() -> Answers {
    let lesion = segmentation::Lesion {
        volume_ml: 84.2,
        necrotic_core_ml: 12.3,
        oedema_ml: 50.1,
        enhancing_ml: 21.8,
        centroid_mm: vec![-31.0, 22.5, 40.0],
        diameter_max_mm: 71.6,
        side: LEFT,
        crosses_midline: true,
        share_across_midline: 0.22,
        main_region: "frontal_left".into(),
        regions: vec![
            share("frontal_left", "left frontal lobe", LEFT, 0.61, 0.74),
            share("frontal_right", "right frontal lobe", RIGHT, 0.22, 0.2),
            share("corpus_callosum", "corpus callosum", 3, 0.11, 0.06),
            share("insula_left", "left insula", LEFT, 0.04, 0.0),
            share("caudate_left", "left caudate nucleus", LEFT, 0.002, 0.0),
        ],
        share_assigned_by_distance: 0.08,
        ..Default::default()
    };
    let symptoms = records::SymptomReport {
        symptom_report_id: "018f0000-0000-7000-8000-000000000004".into(),
        text: "Right arm weak for a month, cannot find words.\nHeadache. No seizures. Ringing in the left ear. The cat is blue.".into(),
        findings: findings().into_iter().map(|(finding, _, _)| finding).collect(),
        not_understood: vec!["The cat is blue".into()],
        lexicon_version: "lexicon-1".into(),
        ..Default::default()
    };
    let volume = |modality: common::Modality| ingestion::StoredVolume {
        modality: modality.into(),
        file_name: format!("case_{}.nii.gz", modality.as_str_name().to_lowercase()),
        blob: Some(common::BlobReference { digest: "ab".repeat(32), size_bytes: 9 }),
    };
    Answers {
        case: "case-0001".into(),
        phantom: false,
        generated_at: "2026-11-22T20:00:00Z".into(),
        study: ingestion::Study {
            study_id: "018f0000-0000-7000-8000-000000000001".into(),
            patient_id: "018f0000-0000-7000-8000-000000000002".into(),
            geometry: Some(common::Geometry {
                shape: vec![240, 240, 155],
                affine_mm: Vec::new(),
                orientation: "LPS".into(),
                spacing_mm: vec![1.0, 1.0, 1.0],
            }),
            volumes: vec![volume(common::Modality::Flair), volume(common::Modality::T1)],
            prepared: Some(ingestion::PreparedStudy {
                blob: None,
                profile: "whole".into(),
                profile_version: 1,
            }),
            ..Default::default()
        },
        segmentation: segmentation::Segmentation {
            segmentation_id: "018f0000-0000-7000-8000-000000000003".into(),
            model_id: "default-2026-11".into(),
            weights_sha256: "0123456789abcdef".repeat(4),
            localisation: Some(segmentation::Localisation {
                space: segmentation::Space::Sri24.into(),
                lesions: vec![lesion],
                components_ignored: 2,
                atlas: "sri24-lobes-1".into(),
                json: "{\"more\": 1}".into(),
                ..Default::default()
            }),
            uncertainty: Some(0.21),
            inference_seconds: 21.4,
            ..Default::default()
        },
        model: segmentation::Model { device: "cpu".into(), ..Default::default() },
        symptoms,
        assessment: assessment(),
        home: Some(Place { latitude_degrees: 37.57, longitude_degrees: 126.98 }),
        run: Run {
            steps: vec![
                Step { name: "upload", seconds: 1.2 },
                Step { name: "segment", seconds: 22.9 },
            ],
            total_seconds: 25.0,
            peak_memory_bytes: Some(1_500_000_000),
        },
    }
}

fn assessment() -> referral::Assessment {
    referral::Assessment {
        assessment_id: "018f0000-0000-7000-8000-000000000005".into(),
        symptom_report_id: "018f0000-0000-7000-8000-000000000004".into(),
        verdict: referral::Verdict::PartlyConcordant.into(),
        concordance: Some(0.71),
        reasons: vec![
            "Weakness of the right side and expressive aphasia both point to the left frontal lobe, which holds most of the lesion.".into(),
            "Tinnitus is not explained by the lesion.".into(),
        ],
        findings: findings()
            .into_iter()
            .map(|(finding, fit, reason)| referral::FindingFit {
                points_to: points_to(&finding.finding_id),
                finding: Some(finding), fit: fit.into(), reason: reason.into(),
            })
            .collect(),
        symptom_regions: vec![
            probability("frontal_left", "left frontal lobe", LEFT, 0.55),
            probability("cerebellopontine_angle_left", "left cerebellopontine angle", LEFT, 0.18),
            probability("parietal_left", "left parietal lobe", LEFT, 0.1),
        ],
        image_regions: vec![
            probability("frontal_left", "left frontal lobe", LEFT, 0.68),
            probability("frontal_right", "right frontal lobe", RIGHT, 0.2),
            probability("corpus_callosum", "corpus callosum", 3, 0.08),
        ],
        confirmed_site: "frontal_left".into(),
        not_understood: vec!["The cat is blue".into()],
        urgent_signs: vec!["Headache with vomiting in the morning can mean raised pressure.".into()],
        hospitals: vec![hospital("first", "First Hospital", 0.91, Some(12.4)), hospital("second", "Second Hospital", 0.64, None)],
        evidence_version: "evidence-3".into(),
        model_id: "default-2026-11".into(),
        next_checks: vec!["audiometry".into(), "functional MRI of language".into()],
        alternatives: vec![referral::Alternative {
            cause: referral::Cause::SecondLesion.into(),
            finding_ids: vec!["tinnitus".into()],
            reason: "A second lesion would explain tinnitus: no part of this one lies there.".into(),
        }],
        pivots: vec![referral::Pivot {
            finding_id: "expressive_aphasia".into(),
            verdict_without: referral::Verdict::PartlyConcordant.into(),
        }],
        expected_but_absent: vec!["apathy".into()],
        requirements: vec![
            referral::Requirement {
                capability: "neurosurgery".into(),
                why: "for any brain tumour".into(),
                essential: true,
            },
            referral::Requirement {
                capability: "awake_mapping".into(),
                why: "because language may lie in or near the left frontal lobe".into(),
                essential: false,
            },
        ],
        tumour_hints: vec![referral::TumourHint {
            kind: "lower_grade_glioma".into(),
            reason: "One lesion of a cerebral lobe hardly enhances, as lower-grade gliomas do; they are removed \
                as far as function allows."
                .into(),
            capabilities: vec!["awake_mapping".into()],
            source: "a guideline".into(),
        }],
        ranking_version: "ranking-4".into(),
        site_confidence: Some(0.8),
        worth_asking: vec!["abulia".into(), "anosmia".into()],
        ..Default::default()
    }
}

pub(crate) fn report() -> Report {
    from_proto::report(answers())
}
