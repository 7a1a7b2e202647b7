use ndarray::Array4;

use super::*;
use crate::{Uncertainty, entropy_map};

fn clear() -> OutcomeEvidence {
    OutcomeEvidence {
        marked_ml: 80.0,
        peak_smoothed: 1.0,
        undecided_ml: 8.0,
        confidence: 0.95,
        mirror_spread: 0.02,
    }
}

fn sound() -> StudyCondition {
    StudyCondition {
        missing: Vec::new(),
        alike: None,
        skewness_gap: Some(2.0),
        space: StudySpace::Template,
        brain_centre_mm: BRAIN_CENTRE_MM,
        brain_ml: 1_400.0,
        edge_mm_max: 1.0,
    }
}

fn quiet() -> OutcomeEvidence {
    OutcomeEvidence {
        marked_ml: 0.0,
        peak_smoothed: 0.1,
        undecided_ml: 0.0,
        confidence: 0.0,
        mirror_spread: 0.0,
    }
}

#[test]
fn a_clear_marking_is_a_tumour_and_a_quiet_image_has_none() {
    assert_eq!(decide(&clear(), &sound()), Outcome::Tumour);
    assert_eq!(decide(&quiet(), &sound()), Outcome::NoTumourFound);
    // Below what is listed as a lesion, and nothing that looks like tumour.
    let speck = OutcomeEvidence { marked_ml: MARKED_ML_MIN - 0.01, ..quiet() };
    assert_eq!(decide(&speck, &sound()), Outcome::NoTumourFound);
}

#[test]
fn each_doubt_alone_withholds_the_answer() {
    let (e, s) = (clear(), sound());
    // (evidence, study, doubt)
    let table = [
        (
            OutcomeEvidence { marked_ml: 0.3, undecided_ml: 0.1, ..e },
            s.clone(),
            Doubt::TinyMarking { marked_ml: 0.3 },
        ),
        (
            OutcomeEvidence { confidence: 0.4, ..e },
            s.clone(),
            Doubt::LowConfidence { confidence: 0.4 },
        ),
        (
            OutcomeEvidence { mirror_spread: 0.3, ..e },
            s.clone(),
            Doubt::MirrorsDisagree { spread: 0.3 },
        ),
        (
            OutcomeEvidence { undecided_ml: 80.0, ..e },
            s.clone(),
            Doubt::Undecided { undecided_ml: 80.0 },
        ),
        (
            OutcomeEvidence { peak_smoothed: 0.8, ..quiet() },
            s.clone(),
            Doubt::UnmarkedPeak { peak: 0.8 },
        ),
        (
            e,
            StudyCondition { missing: vec![Modality::T1ce], ..s.clone() },
            Doubt::SequenceMissing(Modality::T1ce),
        ),
        (e, StudyCondition { space: StudySpace::Foreign, ..s.clone() }, Doubt::ForeignSpace),
        (e, StudyCondition { edge_mm_max: 5.0, ..s.clone() }, Doubt::CoarseVoxels { edge_mm: 5.0 }),
        (
            e,
            StudyCondition { brain_ml: 300.0, ..s.clone() },
            Doubt::BrainVolume { brain_ml: 300.0 },
        ),
        (
            e,
            StudyCondition { brain_ml: 4_000.0, ..s.clone() },
            Doubt::BrainVolume { brain_ml: 4_000.0 },
        ),
        (OutcomeEvidence { marked_ml: 700.0, ..e }, s.clone(), Doubt::TooMuchMarked { share: 0.5 }),
    ];
    for (evidence, condition, doubt) in table {
        let reasons = vec![doubt];
        assert_eq!(decide(&evidence, &condition), Outcome::NotSure { reasons }, "{doubt}");
    }
}

#[test]
fn a_degraded_study_is_never_said_to_be_free_of_tumour() {
    let condition = StudyCondition { missing: vec![Modality::Flair], ..sound() };
    let reasons = vec![Doubt::SequenceMissing(Modality::Flair)];
    assert_eq!(decide(&quiet(), &condition), Outcome::NotSure { reasons });
}

#[test]
fn where_the_brain_lies_counts_in_the_space_of_the_template_only() {
    let condition =
        StudyCondition { space: StudySpace::Foreign, brain_centre_mm: [0.0; 3], ..sound() };
    let reasons = vec![Doubt::ForeignSpace];
    assert_eq!(decide(&clear(), &condition), Outcome::NotSure { reasons });
    // Each axis has a tolerance of its own.
    let [x, y, z] = BRAIN_CENTRE_MM;
    for (centre, sure) in [([x + 9.0, y - 17.0, z + 19.0], true), ([x + 11.0, y, z], false)] {
        let condition = StudyCondition { brain_centre_mm: centre, ..sound() };
        assert_eq!(decide(&clear(), &condition) == Outcome::Tumour, sure);
    }
}

#[test]
fn every_doubt_is_told_and_each_in_words() {
    let evidence = OutcomeEvidence { confidence: 0.4, mirror_spread: 0.3, ..clear() };
    let condition = StudyCondition { space: StudySpace::Foreign, ..sound() };
    let Outcome::NotSure { reasons } = decide(&evidence, &condition) else {
        panic!("this is doubtful");
    };
    let words: Vec<String> = reasons.iter().map(Doubt::to_string).collect();
    assert_eq!(
        words,
        [
            "the images are not in the space of the template that the model was trained in",
            "confidence in the marking is low (0.40 of 1)",
            "the marking changes when the images are mirrored (standard deviation 0.30)",
        ]
    );
    let missing = Doubt::SequenceMissing(Modality::T1ce).to_string();
    assert_eq!(missing, "the t1ce sequence is missing or empty");
}

#[test]
fn the_numbers_are_gathered_from_the_probabilities() {
    // A cube of 20 voxels of probability 1 in a cube of 40, beside it a slab of 0.5.
    let mut probabilities = Array4::<f32>::zeros((3, 40, 40, 40));
    let mut labels = Array3::<u8>::zeros((40, 40, 40));
    for ((x, y, z), label) in labels.indexed_iter_mut() {
        let inside = [x, y, z].iter().all(|at| (10..30).contains(at));
        if inside {
            *label = 2;
            probabilities[[0, x, y, z]] = 1.0;
        } else if x < 2 {
            probabilities[[0, x, y, z]] = 0.5;
        }
    }
    let segmentation = Segmentation {
        labels,
        entropy_bits: entropy_map(probabilities.view()),
        probabilities,
        mirror_spread: Array3::from_elem((40, 40, 40), 0.1),
        uncertainty: Uncertainty::default(),
        repaired_voxels: 0,
    };
    // Voxels of 1 x 1 x 2 mm: 2 mm3.
    let spacing = VoxelSpacing::from_mm([1.0, 1.0, 2.0]).unwrap();
    let found = OutcomeEvidence::of(&segmentation, spacing);
    assert!((found.marked_ml - 16.0).abs() < 1e-9);
    assert!((found.undecided_ml - 6.4).abs() < 1e-9);
    assert!((found.undecided_share() - 6.4 / 22.4).abs() < 1e-9);
    assert!((found.mirror_spread - 0.1).abs() < 1e-6);
    assert!((found.confidence - 0.8_f64.cbrt()).abs() < 1e-6);
    // Its middle is five standard deviations from its edge.
    assert!(found.peak_smoothed > 0.999);
}

#[test]
fn one_bright_voxel_is_smoothed_away() {
    let mut probability = Array3::<f32>::zeros((21, 21, 21));
    probability[[10, 10, 10]] = 1.0;
    let spacing = VoxelSpacing::from_mm([1.0; 3]).unwrap();
    // The middle of a Gaussian of 2 mm: (2 pi 4)^(-3/2) = 0.0079.
    assert!((peak(&probability, spacing) - 0.0079).abs() < 2e-4);
}
