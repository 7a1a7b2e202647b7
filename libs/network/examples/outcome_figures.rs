//! Prints what the thresholds of `neurotriage_network::outcome` rest on.
//!
//! ```text
//! cargo run --release -p neurotriage-network --example outcome_figures -- MODEL CASES [KIND...]
//! ```
//!
//! `MODEL` is a folder that holds `model.safetensors` and `card.json`, `CASES` one of real studies with
//! their truth, or `-`. Kinds: `real` (the studies), `healed` (those brains with the tumour taken out), `healthy` (phantoms without
//! tumour), `phantom` (with one), `spoilt` (real studies, spoilt on purpose). All if none is named.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a development tool")]

use std::{env, fs, path::PathBuf, time::Instant};

use ndarray::{Array3, Array4, ArrayView4, Axis};
use neurotriage_dataset::{
    AugmentConfig, CachedCase, MixConfig, MixSource, SampleSource as _, Shares,
};
use neurotriage_domain::{Modality, VoxelSpacing};
use neurotriage_imaging::{
    CaseFiles,
    components::{Connectivity, label_components},
    prepare,
};
use neurotriage_network::{
    DeviceChoice, Model, OutcomeEvidence, PostProcessing, SegmentOptions, StudyCondition,
    decide_outcome, lesion_certainties, repair, segment,
};

const PHANTOMS: u64 = 8;

fn main() {
    let mut args = env::args().skip(1);
    let model = args.next().unwrap();
    let model = Model::load_folder(&PathBuf::from(model), DeviceChoice::Cpu).unwrap();
    let folders = folders(&args.next().unwrap());
    let kinds: Vec<String> = args.collect();
    let wanted = |kind: &str| kinds.is_empty() || kinds.iter().any(|named| named == kind);
    println!(
        "study                           marked  peak undecided share  conf spread entropy brain   s  answer"
    );
    let cases = real_cases(&folders);
    for (name, image, truth) in &cases {
        if wanted("real") {
            show(&model, &format!("real {name}"), image.view(), Some(truth));
        }
    }
    if wanted("spoilt") {
        for (name, image, _) in cases.iter().take(2) {
            spoilt(&model, name, image);
        }
    }
    if wanted("healed") && !cases.is_empty() {
        drawn(&model, "healed", Shares { healthy: 1.0, ..NO_SHARES }, cached(&folders));
    }
    if wanted("healthy") {
        drawn(&model, "healthy", Shares { healthy: 1.0, ..NO_SHARES }, Vec::new());
    }
    if wanted("phantom") {
        drawn(&model, "phantom", Shares { phantom: 1.0, ..NO_SHARES }, Vec::new());
    }
}

const NO_SHARES: Shares =
    Shares { real: 0.0, transplant: 0.0, paste: 0.0, phantom: 0.0, healthy: 0.0 };

fn folders(root: &str) -> Vec<PathBuf> {
    if root == "-" {
        return Vec::new();
    }
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

fn cached(folders: &[PathBuf]) -> Vec<CachedCase> {
    folders.iter().map(|folder| CachedCase::load(folder).unwrap()).collect()
}

fn real_cases(folders: &[PathBuf]) -> Vec<(String, Array4<f32>, Array3<u8>)> {
    let read = |folder: &PathBuf| {
        let files = CaseFiles::find(folder).unwrap();
        let study = files.read_study().unwrap();
        let truth = study.align_mask(files.read_truth().unwrap().unwrap(), "truth").unwrap();
        let prepared = prepare(&study).unwrap();
        let truth = prepared.crop().view(&truth.voxels).unwrap().to_owned();
        (files.id.clone(), prepared.channels().clone(), truth)
    };
    folders.iter().map(read).collect()
}

/// Draws samples without any change, as large as a head.
fn drawn(model: &Model, name: &str, shares: Shares, cases: Vec<CachedCase>) {
    let augment = AugmentConfig {
        rotation_degrees: 0.0,
        affine: 0.0,
        elastic: 0.0,
        flip_x: 0.0,
        flip_other: 0.0,
        gamma: 0.0,
        histogram: 0.0,
        linear: 0.0,
        bias: 0.0,
        noise: 0.0,
        blur: 0.0,
        coarse: 0.0,
        dropout: 0.0,
        ..AugmentConfig::default()
    };
    let config = MixConfig {
        patch: [176, 208, 176],
        shares,
        contrast_deviation: 0.12,
        augment,
        ..MixConfig::default()
    };
    let source = MixSource::new(config, cases, None).unwrap();
    for index in 0..PHANTOMS {
        let sample = source.sample(index).unwrap();
        show(model, &format!("{name} {index}"), sample.image.view(), Some(&sample.labels));
    }
}

fn spoilt(model: &Model, name: &str, image: &Array4<f32>) {
    let (channels, x, ..) = image.dim();
    let head = image.map_axis(Axis(0), |lane| lane.iter().any(|&value| value != 0.0));
    let put = |what: &str, image: Array4<f32>| {
        show(model, &format!("{what} {name}"), image.view(), None);
    };
    put("reversed", image.select(Axis(0), &[3, 2, 1, 0]));
    put("t1<->t1ce", image.select(Axis(0), &[0, 2, 1, 3]));
    put("flair<->t1", image.select(Axis(0), &[1, 0, 2, 3]));
    put("all flair", image.select(Axis(0), &[0; 4]));
    put("inverted", image.mapv(|value| -value));
    let mut state = 1_u64;
    let mut noise = || {
        // Twelve uniform numbers: as good as normal for this.
        (0..12).fold(-6.0_f32, |sum, _| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            sum + (state >> 40) as f32 / (1_u64 << 24) as f32
        })
    };
    let mut noisy = image.clone();
    let mut pure = image.clone();
    for channel in 0..channels {
        for ((place, &inside), (noisy, pure)) in head.indexed_iter().zip(
            noisy
                .index_axis_mut(Axis(0), channel)
                .iter_mut()
                .zip(pure.index_axis_mut(Axis(0), channel).iter_mut()),
        ) {
            let _ = place;
            if inside {
                *pure = noise();
                *noisy += 1.5 * noise();
            }
        }
    }
    put("pure noise", pure);
    put("noise 1.5", noisy);
    let indices: Vec<usize> = (0..x).map(|at| (at + x / 3) % x).collect();
    put("rolled", image.select(Axis(1), &indices));
    let half: Vec<usize> = (0..x / 2).collect();
    put("half", image.select(Axis(1), &half));
    let third: Vec<usize> = (0..image.dim().3 / 3).collect();
    put("lowest third", image.select(Axis(3), &third));
    for modality in Modality::ALL {
        let mut missing = image.clone();
        missing.index_axis_mut(Axis(0), modality.channel()).fill(0.0);
        put(&format!("no {modality}"), missing);
    }
}

fn show(model: &Model, name: &str, image: ArrayView4<'_, f32>, truth: Option<&Array3<u8>>) {
    let start = Instant::now();
    let options = SegmentOptions::for_model(model.card());
    let found = segment(model, image, &options, &mut |_, _| (), &|| false).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let spacing = VoxelSpacing::ONE_MM;
    let begun = Instant::now();
    let evidence = OutcomeEvidence::of(&found, spacing);
    let condition = StudyCondition::of_channels(image);
    let extra = begun.elapsed().as_secs_f64();
    println!(
        "{name:30} {:7.2} {:5.2} {:9.2} {:5.2} {:5.2} {:6.3} {:7.3} {:5.0} {seconds:3.0} {extra:3.1} {:?}",
        evidence.marked_ml,
        evidence.peak_smoothed,
        evidence.undecided_ml,
        evidence.undecided_share(),
        evidence.confidence,
        evidence.mirror_spread,
        found.uncertainty.lesion_entropy_bits_mean,
        condition.brain_ml,
        decide_outcome(&evidence, &condition),
    );
    let pieces = label_components(&found.labels, |label| label != 0, Connectivity::Corners26);
    for lesion in lesion_certainties(pieces.labels.view(), &found).unwrap().into_iter().flatten() {
        println!(
            "    lesion {:7} voxels, p {:.3} h {:.3} s {:.3} doubtful {:.3} confidence {:.3}",
            lesion.voxels,
            lesion.probability_mean,
            lesion.entropy_bits_mean,
            lesion.mirror_spread_mean,
            lesion.doubtful_share,
            lesion.confidence
        );
    }
    if let Some(truth) = truth.filter(|truth| truth.iter().any(|&label| label != 0)) {
        rules(&found, truth);
    }
}

/// Prints Dice of the three regions and pieces of the core and of the enhancing tumour, by rule.
fn rules(found: &neurotriage_network::Segmentation, truth: &Array3<u8>) {
    let none = PostProcessing::NONE;
    let usual = PostProcessing::default();
    let table = [
        ("none", none),
        ("default", usual),
        (
            "core 50, et 30",
            PostProcessing { core_voxels_min: 50, enhancing_component_voxels_min: 30, ..usual },
        ),
        (
            "peaks .7",
            PostProcessing {
                component_peak_min: 0.7,
                core_peak_min: 0.7,
                enhancing_peak_min: 0.7,
                ..usual
            },
        ),
        (
            "both",
            PostProcessing {
                core_voxels_min: 50,
                enhancing_component_voxels_min: 30,
                component_peak_min: 0.7,
                core_peak_min: 0.7,
                enhancing_peak_min: 0.7,
                ..usual
            },
        ),
    ];
    for (name, settings) in table {
        let mut labels = raw(found);
        repair(&mut labels, found.probabilities.view(), &settings).unwrap();
        let counts = neurotriage_metrics::overlap::confusion(truth.view(), labels.view()).unwrap();
        let line: Vec<String> = neurotriage_domain::TumourRegion::ALL
            .into_iter()
            .map(|region| {
                let pieces = label_components(
                    &labels,
                    |label| region.contains(label),
                    Connectivity::Corners26,
                );
                format!("{:.4} ({} pieces)", counts.region(region).dice(), pieces.sizes.len())
            })
            .collect();
        println!("    {name:16} wt, tc, et: {}", line.join("  "));
    }
}

fn raw(found: &neurotriage_network::Segmentation) -> Array3<u8> {
    let (_, x, y, z) = found.probabilities.dim();
    Array3::from_shape_fn((x, y, z), |(x, y, z)| {
        let p = |region: usize| found.probabilities[[region, x, y, z]] > 0.5;
        if p(2) {
            4
        } else if p(1) {
            1
        } else if p(0) {
            2
        } else {
            0
        }
    })
}
