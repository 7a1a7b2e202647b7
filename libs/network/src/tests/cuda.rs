//! The same on a CUDA device as on the CPU. Skipped, and said so, where there is none.

#![allow(clippy::print_stdout, reason = "says what was skipped and how far the devices differ")]

use super::*;

/// Returns the first CUDA device, or says that the test is skipped.
fn cuda() -> Option<DeviceChoice> {
    let device = DeviceChoice::Cuda(0);
    if device.resolve().is_ok() {
        return Some(device);
    }
    println!("skipped: libtorch sees no CUDA device");
    None
}

fn most(gaps: impl Iterator<Item = f64>) -> f64 {
    gaps.fold(0.0, f64::max)
}

#[test]
fn a_run_on_cuda_follows_the_run_on_the_cpu() {
    let Some(device) = cuda() else { return };
    let mut seed = NetworkConfig::seed(4);
    seed.widths = vec![4, 8];
    seed.dropout = vec![];
    let networks =
        [(NetworkConfig::residual(&[6, 8, 10]), LossKind::RegionLog), (seed, LossKind::Seed)];
    for (network, loss) in networks {
        for (batch, accumulate) in [(1, 1), (2, 1), (1, 2)] {
            let config = TrainConfig {
                network: network.clone(),
                loss,
                batch,
                accumulate,
                ema_decay: 0.5,
                ..quick(4)
            };
            let folder = tempfile::tempdir().unwrap();
            let (_, slow) = train_balls(&config, folder.path(), Start::Fresh);
            let folder = tempfile::tempdir().unwrap();
            let config = TrainConfig { device, ..config };
            let (_, fast) = train_balls(&config, folder.path(), Start::Fresh);
            let gap = most(slow.iter().zip(&fast).map(|(slow, fast)| (slow - fast).abs() / slow));
            println!("{loss:?}, batch {batch} times {accumulate}: losses differ by {gap:.1e}");
            // Convolutions round to TF32 there.
            assert!(slow.len() == 5 && gap < 0.02, "{slow:?} and {fast:?}");
        }
    }
}

#[test]
fn every_precision_learns_on_cuda_and_resumes() {
    let Some(device) = cuda() else { return };
    for precision in [TrainPrecision::F32, TrainPrecision::Bf16, TrainPrecision::F16] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = TrainConfig { device, precision, ema_decay: 0.9, ..quick(150) };
        config.optimiser.learning_rate = 1e-2;
        config.schedule.warmup_steps = 5;
        let source: Arc<dyn SampleSource> = Arc::new(Balls);
        let (control, mut told) = (TrainControl::default(), Vec::new());
        let run = run_in(folder.path(), Start::Fresh);
        let first = train(&config, &source, &[], &run, &control, &mut |progress| {
            told.push((progress.loss, progress.skipped, progress.loss_scale));
            if progress.step == 60 {
                control.cancel();
            }
        });
        assert!(first.unwrap().cancelled);
        let (outcome, rest) = train_balls(&config, folder.path(), Start::Resume);
        let report = outcome.card.validation.unwrap();
        let (_, skipped, scale) = told.last().unwrap();
        println!("{precision:?}: {:?}, {skipped} steps skipped, scale {scale:?}", report.mean);
        assert!(rest.last().unwrap() < &(0.5 * told[0].0), "{precision:?}: {rest:?}");
        assert!(report.mean.wt > 0.8, "{precision:?}: {report:?}");
        assert_eq!(scale.is_some(), precision == TrainPrecision::F16);
        // The model is read by a machine without the device.
        Model::load_folder(folder.path(), DeviceChoice::Cpu).unwrap();
    }
}

#[test]
fn a_model_says_on_cuda_what_it_says_on_the_cpu() {
    let Some(device) = cuda() else { return };
    let network = NetworkConfig { detail_width: 8, ..NetworkConfig::residual(&[6, 8, 10]) };
    let card = ModelCard { network, window: [24; 3], ..card() };
    let image = ball(40, 2).image;
    for window in [Window::WholeBox { otherwise: [24; 3] }, Window::Sliding([24; 3])] {
        let answer = |device: DeviceChoice| {
            let model = Model::untrained(&card, device).unwrap();
            assert_eq!(model.device_name(), device.to_string());
            let options = SegmentOptions { window, ..SegmentOptions::for_model(model.card()) };
            segment(&model, image.view(), &options, &mut |_, _| (), &|| false).unwrap()
        };
        let (slow, fast) = (answer(DeviceChoice::Cpu), answer(device));
        let pairs = slow.probabilities.iter().zip(&fast.probabilities);
        let gap = most(pairs.map(|(slow, fast)| f64::from((slow - fast).abs())));
        println!("{window:?}: probabilities differ by {gap:.1e}");
        assert!(gap < 5e-3, "{window:?}: {gap}");
    }
}
