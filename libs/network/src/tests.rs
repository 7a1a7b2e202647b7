//! Behaviour across modules: training, storing, resuming, segmenting.

mod cuda;

use std::{path::Path, sync::Arc};

use ndarray::{Array3, Array4, Axis};
use neurotriage_dataset::{DatasetError, Sample, SampleSource};
use neurotriage_domain::{BlobDigest, Modality};

use crate::*;

const SIDE: usize = 16;

/// A bright ball with a brighter core at a place that depends on the index.
struct Balls;

fn ball(side: usize, index: u64) -> Sample {
    let middle = [6, 7 + (index % 3) as usize, 9 - (index % 2) as usize].map(|c| c * side / 16);
    let labels = Array3::from_shape_fn((side, side, side), |(x, y, z)| {
        let distance: f64 = [x, y, z]
            .iter()
            .zip(middle)
            .map(|(&a, b)| (a as f64 - b as f64).powi(2))
            .sum::<f64>()
            .sqrt()
            * 16.0
            / side as f64;
        match distance {
            d if d < 1.5 => 1,
            d if d < 3.0 => 4,
            d if d < 5.0 => 2,
            _ => 0,
        }
    });
    let mut image = Array4::zeros((4, side, side, side));
    for (channel, mut volume) in image.axis_iter_mut(Axis(0)).enumerate() {
        volume.zip_mut_with(&labels, |value, &label| {
            *value = 0.1 + f32::from(label) * (channel as f32 - 1.2);
        });
    }
    Sample { image, labels, origin: "ball" }
}

impl SampleSource for Balls {
    fn sample(&self, index: u64) -> Result<Sample, DatasetError> {
        Ok(ball(SIDE, index))
    }
}

/// A source whose samples make the loss infinite.
struct Broken;

impl SampleSource for Broken {
    fn sample(&self, index: u64) -> Result<Sample, DatasetError> {
        let mut sample = ball(SIDE, index);
        sample.image.fill(f32::NAN);
        Ok(sample)
    }
}

fn small() -> NetworkConfig {
    NetworkConfig { dropout: vec![0.1, 0.0, 0.0], ..NetworkConfig::residual(&[6, 8, 10]) }
}

fn quick(steps_max: u64) -> TrainConfig {
    TrainConfig {
        device: DeviceChoice::Cpu,
        threads: 1,
        steps_max,
        max_minutes: 0.0,
        log_steps: 1,
        validate_minutes: 0.0,
        checkpoint_minutes: 0.0,
        network: small(),
        ..TrainConfig::default()
    }
}

fn run_in(folder: &Path, start: Start) -> TrainRun {
    TrainRun {
        folder: folder.to_owned(),
        start,
        provenance: Provenance { name: "test".to_owned(), ..Provenance::default() },
        profile: "whole/1".to_owned(),
    }
}

fn train_balls(config: &TrainConfig, folder: &Path, start: Start) -> (TrainOutcome, Vec<f64>) {
    let source: Arc<dyn SampleSource> = Arc::new(Balls);
    let mut losses = Vec::new();
    let sample = ball(SIDE, 3);
    let case = ValidationCase { name: "ball".into(), image: sample.image, labels: sample.labels };
    let outcome = train(
        config,
        &source,
        &[case],
        &run_in(folder, start),
        &TrainControl::default(),
        &mut |progress| losses.push(progress.loss),
    )
    .unwrap();
    (outcome, losses)
}

#[test]
fn training_lowers_the_loss_and_finds_the_ball() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = quick(150);
    config.optimiser.learning_rate = 1e-2;
    config.schedule.warmup_steps = 5;
    config.ema_decay = 0.9;
    let (outcome, losses) = train_balls(&config, folder.path(), Start::Fresh);
    assert!(losses[140] < 0.5 * losses[0], "{} then {}", losses[0], losses[140]);
    let report = outcome.card.validation.unwrap();
    assert!(report.mean.wt > 0.8, "{report:?}");
    assert_eq!((outcome.card.steps, outcome.card.window), (150, [SIDE; 3]));
    let log = std::fs::read_to_string(folder.path().join(METRICS_FILE)).unwrap();
    assert_eq!(log.lines().count(), 151);
    let model = Model::load_folder(folder.path(), DeviceChoice::Cpu).unwrap();
    let image = ball(SIDE, 3).image;
    let options = SegmentOptions {
        post_processing: PostProcessing::NONE,
        ..SegmentOptions::for_model(model.card())
    };
    let found = segment(&model, image.view(), &options, &mut |_, _| (), &|| false).unwrap();
    assert!(found.labels.iter().any(|&label| label == 4));
    assert!((0.0..=1.0).contains(&found.uncertainty.lesion_entropy_bits_mean));
}

#[test]
fn the_seed_network_trains_with_its_own_loss() {
    let folder = tempfile::tempdir().unwrap();
    let mut network = NetworkConfig::seed(3);
    network.widths = vec![4, 8];
    network.dropout = vec![0.1, 0.1, 0.1];
    let config = TrainConfig {
        network,
        device: DeviceChoice::Cpu,
        threads: 1,
        steps_max: 3,
        log_steps: 1,
        ..TrainConfig::seed_original()
    };
    let (outcome, losses) = train_balls(&config, folder.path(), Start::Fresh);
    assert!(losses.iter().all(|loss| (0.75..1.5).contains(loss)), "{losses:?}");
    assert!(outcome.card.validation.unwrap().cases[0].seed.is_some());
}

#[test]
fn a_resumed_run_equals_an_unbroken_one() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = quick(6);
    let (unbroken, losses) = train_balls(&config, whole.path(), Start::Fresh);
    let source: Arc<dyn SampleSource> = Arc::new(Balls);
    let control = TrainControl::default();
    let mut count = 0;
    let run = run_in(broken.path(), Start::Fresh);
    let first = train(&config, &source, &[], &run, &control, &mut |_| {
        count += 1;
        if count == 3 {
            control.cancel();
        }
    });
    assert!(first.unwrap().cancelled);
    let (resumed, rest) = train_balls(&config, broken.path(), Start::Resume);
    assert_eq!(rest[..3], losses[3..6]);
    assert_eq!(resumed.card.weights_sha256, unbroken.card.weights_sha256);
    let log = std::fs::read_to_string(broken.path().join(METRICS_FILE)).unwrap();
    assert_eq!(log.lines().count(), 7);
}

#[test]
fn a_run_resumes_only_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let source: Arc<dyn SampleSource> = Arc::new(Balls);
    let resume = |config: &TrainConfig| {
        let run = run_in(folder.path(), Start::Resume);
        train(config, &source, &[], &run, &TrainControl::default(), &mut |_| ()).unwrap_err()
    };
    assert!(matches!(resume(&quick(2)), NetworkError::Resume { .. }));
    train_balls(&quick(1), folder.path(), Start::Fresh);
    let table = [
        TrainConfig { seed: 1, ..quick(2) },
        TrainConfig { batch: 2, ..quick(2) },
        TrainConfig { network: NetworkConfig::residual(&[6, 8, 12]), ..quick(2) },
    ];
    for config in table {
        assert!(matches!(resume(&config), NetworkError::Resume { .. }));
    }
}

#[test]
fn a_loss_that_is_not_finite_is_skipped_and_then_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let source: Arc<dyn SampleSource> = Arc::new(Broken);
    let config = TrainConfig { skipped_steps_max: 3, ..quick(10) };
    let mut skipped = 0;
    let run = run_in(folder.path(), Start::Fresh);
    let control = TrainControl::default();
    let error = train(&config, &source, &[], &run, &control, &mut |progress| {
        skipped = progress.skipped;
    });
    assert!(matches!(error, Err(NetworkError::Diverged { steps: 3 })));
    assert_eq!(skipped, 2);
}

fn card() -> ModelCard {
    set_compute_threads(1); // tiny tensors: a second thread only waits
    ModelCard::untrained(small(), Modality::ALL.to_vec(), [8; 3])
}

#[test]
fn a_model_survives_its_files_and_refuses_others() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::untrained(&card(), DeviceChoice::Cpu).unwrap();
    let saved = model.save(folder.path()).unwrap();
    let read = Model::load_folder(folder.path(), DeviceChoice::Cpu).unwrap();
    assert_eq!(read.card(), &saved);
    let image = ball(SIDE, 0).image;
    let options = SegmentOptions::for_model(&saved);
    let run = |model: &Model| {
        segment(model, image.view(), &options, &mut |_, _| (), &|| false).unwrap().probabilities
    };
    let gap = (run(&model) - run(&read)).iter().fold(0.0_f32, |most, gap| most.max(gap.abs()));
    assert!(gap < 5e-3, "half precision moved a probability by {gap}");

    let weights = std::fs::read(folder.path().join(WEIGHTS_FILE)).unwrap();
    let other_hash = ModelCard { weights_sha256: BlobDigest::from_bytes([7; 32]), ..saved.clone() };
    let other_shape = ModelCard { network: NetworkConfig::residual(&[6, 8, 12]), ..saved.clone() };
    let other_depth = ModelCard { network: NetworkConfig::residual(&[6, 8]), ..saved.clone() };
    let load = |card: &ModelCard| Model::load(&weights, card, DeviceChoice::Cpu).unwrap_err();
    assert!(matches!(load(&other_hash), NetworkError::WeightsHash { .. }));
    assert!(matches!(load(&other_shape), NetworkError::Weights { .. }));
    assert!(matches!(load(&other_depth), NetworkError::Weights { .. }));
    let old = ModelCard { card_version: 99, ..saved };
    assert!(matches!(load(&old), NetworkError::Config { setting: "card_version", .. }));
    assert!(ModelCard::from_json(b"{}").is_err());
}

/// Two models of one network and different weights.
fn pair() -> [Model; 2] {
    [1, 2].map(|seed| {
        let mut card = ModelCard { seed, steps: 10 * seed, ..card() };
        card.provenance.licence = "research".to_owned();
        card.provenance.data = format!("cases {seed}");
        Model::untrained(&card, DeviceChoice::Cpu).unwrap()
    })
}

#[test]
fn a_combined_model_answers_with_the_mean_of_its_members_and_survives_its_files() {
    let image = ball(SIDE, 0).image;
    let run = |model: &Model| {
        let options = SegmentOptions::for_model(model.card());
        let mut passes = 0;
        let found = segment(model, image.view(), &options, &mut |done, _| passes = done, &|| false);
        (found.unwrap(), passes)
    };
    let ((first, _), (second, _)) = (run(&pair()[0]), run(&pair()[1]));
    let both = Model::combine(pair().into(), "both").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let saved = both.save(folder.path()).unwrap();
    assert_eq!((saved.members, saved.steps), (2, 30));
    assert_eq!(saved.provenance.name, "both");
    assert_eq!(saved.provenance.data, "cases 1; cases 2");
    let read = Model::load_folder(folder.path(), DeviceChoice::Cpu).unwrap();
    assert_eq!(read.parameter_count(), 2 * pair()[0].parameter_count());
    for model in [&both, &read] {
        let (found, passes) = run(model);
        assert_eq!(passes, 4, "two members on two mirror images");
        let mean = (&first.probabilities + &second.probabilities) / 2.0;
        let gap = (found.probabilities - mean).iter().fold(0.0_f32, |most, g| most.max(g.abs()));
        assert!(gap < 5e-3, "{gap}");
        // Members that differ spread the answer, even where each mirror image agrees.
        let spread = found.mirror_spread.sum();
        assert!(spread > first.mirror_spread.sum() && spread > second.mirror_spread.sum());
    }
    let one = ModelCard { members: 1, ..saved };
    let weights = std::fs::read(folder.path().join(WEIGHTS_FILE)).unwrap();
    let refused = Model::load(&weights, &one, DeviceChoice::Cpu).unwrap_err();
    assert!(matches!(refused, NetworkError::Weights { .. }));
}

#[test]
fn models_that_do_not_fit_each_other_are_not_combined() {
    let said = |models: Vec<Model>| Model::combine(models, "all").unwrap_err().to_string();
    let with = |change: &dyn Fn(&mut ModelCard)| {
        let [first, _] = pair();
        let mut card = first.card().clone();
        change(&mut card);
        vec![first, Model::untrained(&card, DeviceChoice::Cpu).unwrap()]
    };
    assert!(said(Vec::new()).contains("no model"));
    assert!(said(with(&|card| card.network.widths = vec![4, 6, 8])).contains("networks differ"));
    assert!(said(with(&|card| card.channels.reverse())).contains("channels differ"));
    assert!(said(with(&|card| card.profile = "seed/1".to_owned())).contains("preprocessing"));
    let licence = |card: &mut ModelCard| card.provenance.licence = "other".to_owned();
    assert!(said(with(&licence)).contains("licences differ"));
    let many = (0..=MEMBERS_MAX / 2).flat_map(|_| pair()).collect();
    assert!(said(many).contains("members: is 10, must be 1 to 8"));
}

#[test]
fn windows_agree_with_each_other_where_the_image_is_the_same_everywhere() {
    // Without normalisation and with padding cut off by the weights the seed network sees the
    // same surroundings in the middle of every window.
    let network = NetworkConfig { widths: vec![2, 3], dropout: vec![], ..NetworkConfig::seed(4) };
    let card = ModelCard { network, window: [24; 3], ..card() };
    let model = Model::untrained(&card, DeviceChoice::Cpu).unwrap();
    let image = Array4::from_elem((4, 40, 37, 41), 0.7_f32);
    let mut options = SegmentOptions::for_model(&card);
    let mut run = |window, passes: usize| {
        options.window = window;
        let mut seen = (0, 0);
        let found =
            segment(&model, image.view(), &options, &mut |done, all| seen = (done, all), &|| false);
        assert_eq!(seen, (passes, passes));
        found.unwrap()
    };
    let whole = run(Window::WholeBox { otherwise: [24; 3] }, 1);
    let cut = run(Window::Sliding([24; 3]), 27);
    for region in 0..3 {
        let middle = [region, 20, 18, 20];
        let gap = whole.probabilities[middle] - cut.probabilities[middle];
        assert!(gap.abs() < 1e-3, "{gap}");
    }
}

#[test]
fn windows_give_what_the_whole_box_gives() {
    // Without normalisation a voxel depends on its surroundings only: 9 voxels to each side. Near
    // the edge of a window they are cut off, where its weight is at most exp(-(15 / 6)^2 / 2) = .04
    // of the window's middle. Windows start at even voxels, so that pooling sees the same pairs.
    let network = NetworkConfig { widths: vec![4, 6], dropout: vec![], ..NetworkConfig::seed(4) };
    let card = ModelCard { network, window: [48; 3], ..card() };
    let model = Model::untrained(&card, DeviceChoice::Cpu).unwrap();
    let mut image = Array4::from_shape_fn((4, 72, 60, 48), |(c, x, y, z)| {
        let wave = |at: usize, step: f32| (at as f32 / step + c as f32).sin();
        wave(x, 5.0) + wave(y, 7.0) * wave(z, 3.0)
    });
    // A corner of air.
    image
        .slice_each_axis_mut(
            |axis| if axis.axis.index() == 0 { (..).into() } else { (..20).into() },
        )
        .fill(0.0);
    for mirroring in [Mirroring::Off, Mirroring::LeftRight] {
        let run = |window| {
            let options = SegmentOptions {
                window,
                mirroring,
                skip_air: true,
                ..SegmentOptions::for_model(&card)
            };
            segment(&model, image.view(), &options, &mut |_, _| (), &|| false).unwrap()
        };
        let whole = run(Window::WholeBox { otherwise: [48; 3] });
        let cut = run(Window::Sliding([48; 3]));
        let gap = |a: f32, b: f32| (a - b).abs();
        let most = whole
            .probabilities
            .iter()
            .zip(&cut.probabilities)
            .map(|(&a, &b)| gap(a, b))
            .fold(0.0, f32::max);
        assert!(most < 0.01, "{most}");
        let spread = whole
            .mirror_spread
            .iter()
            .zip(&cut.mirror_spread)
            .map(|(&a, &b)| gap(a, b))
            .fold(0.0, f32::max);
        assert!(spread < 0.01, "{spread}");
        let contrast = whole
            .probabilities
            .index_axis(Axis(0), 0)
            .iter()
            .fold(0.0, |most: f32, p| most.max(*p));
        assert!(contrast > 0.05, "the answer says something: {contrast}");
    }
}

#[test]
fn mirror_images_that_agree_have_no_spread_and_others_have() {
    let model = Model::untrained(&card(), DeviceChoice::Cpu).unwrap();
    let run = |image: &Array4<f32>, mirroring| {
        let options = SegmentOptions { mirroring, ..SegmentOptions::for_model(model.card()) };
        segment(&model, image.view(), &options, &mut |_, _| (), &|| false).unwrap()
    };
    let greatest = |map: &Array3<f32>| map.iter().fold(0.0_f32, |most, value| most.max(*value));
    let image = ball(SIDE, 1).image;
    let off = run(&image, Mirroring::Off);
    assert_eq!(greatest(&off.mirror_spread), 0.0);
    let both = run(&image, Mirroring::LeftRight);
    assert!((1e-4..=0.5).contains(&greatest(&both.mirror_spread)));
    // Two passes: the deviation is half their difference; one of them is the pass alone.
    for (x, y, z) in [(6, 7, 9), (2, 3, 4), (12, 8, 8)] {
        let (single, mean) = (off.probabilities[[0, x, y, z]], both.probabilities[[0, x, y, z]]);
        let gap = ((single - mean).abs() - both.mirror_spread[[x, y, z]]).abs();
        assert!(gap < 1e-5, "{gap}");
    }
    let all = run(&image, Mirroring::All);
    assert!(greatest(&all.mirror_spread) > 0.0);
    assert!(all.uncertainty.lesion_mirror_spread_mean <= 0.5);
    // An image alike in a mirror: the two answers are mirror images, and so is their spread.
    let even = Array4::from_shape_fn((4, SIDE, SIDE, SIDE), |(_, x, y, z)| {
        1.0 + x.min(SIDE - 1 - x) as f32 + (y * z) as f32 / 50.0
    });
    let spread = run(&even, Mirroring::LeftRight).mirror_spread;
    for x in 0..SIDE / 2 {
        let gap = spread[[x, 5, 6]] - spread[[SIDE - 1 - x, 5, 6]];
        assert!(gap.abs() < 1e-5, "{x}: {gap}");
    }
}

#[test]
fn segmenting_keeps_the_grid_stops_when_told_and_refuses_what_does_not_fit() {
    let model = Model::untrained(&card(), DeviceChoice::Cpu).unwrap();
    let mut options = SegmentOptions::for_model(model.card());
    options.mirroring = Mirroring::All;
    let run = |image: &Array4<f32>, cancel: bool| {
        segment(&model, image.view(), &options, &mut |_, _| (), &|| cancel)
    };
    let mut image = Array4::<f32>::zeros((4, 13, 10, 9));
    let air = run(&image, false).unwrap();
    assert!(air.labels.iter().all(|&label| label == 0));
    image
        .slice_each_axis_mut(|axis| match axis.axis.index() {
            0 => (..).into(),
            _ => (3..8).into(),
        })
        .fill(1.0);
    let found = run(&image, false).unwrap();
    assert_eq!(found.labels.dim(), (13, 10, 9));
    assert_eq!(found.probabilities.dim(), (3, 13, 10, 9));
    assert!(found.probabilities[[0, 0, 0, 0]] == 0.0 && found.probabilities[[0, 5, 5, 5]] > 0.0);
    assert!(matches!(run(&image, true), Err(NetworkError::Cancelled)));
    assert!(matches!(run(&Array4::zeros((3, 8, 8, 8)), false), Err(NetworkError::Shape { .. })));
    image[[0, 0, 0, 0]] = f32::NAN;
    assert!(matches!(run(&image, false), Err(NetworkError::NotFinite)));
}

#[test]
fn a_model_can_be_handed_to_the_thread_that_owns_it() {
    fn sendable<T: Send>() {}
    sendable::<Model>();
    sendable::<NetworkError>();
}
