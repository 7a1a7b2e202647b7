//! Trains a model as a TOML file says.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget};
use neurotriage_network::{CARD_FILE, TrainConfig, ValidationReport, WEIGHTS_FILE};
pub(crate) use neurotriage_training::TRAINED_ON;
use neurotriage_training::{
    CURVES_FILE, FOLDS_FILE, FoldEvent, Folds, FoldsReport, Job, Start, TrainControl, TrainOutcome,
    TrainProgress, TrainingFile, run_folds,
};
use tokio::runtime::Runtime;

use crate::{cli::TrainArgs, output::print, progress::style, signal};

/// Parts of the bar: the share done is a fraction.
const BAR_PARTS: u64 = 10_000;
/// Pause between two plain lines where stderr is no terminal.
const LINE_PAUSE: Duration = Duration::from_secs(60);

/// Trains, and leaves weights, card, checkpoint, log and curves in the output folder. Ctrl-C ends the
/// run after the step at hand; `--resume` goes on from there.
///
/// # Errors
/// If the file, a case or a setting is wrong, or the training fails.
pub fn run(runtime: &Runtime, args: &TrainArgs) -> anyhow::Result<()> {
    check_config(&args.config)?;
    let file = TrainingFile::read(&args.config)
        .with_context(|| format!("follow {}", args.config.display()))?;
    let count = args.folds.or(file.data.folds.map(|folds| folds.count));
    match (args.all_folds, count, args.fold) {
        (true, Some(count), _) => run_all(runtime, file, count),
        (true, None, _) => {
            bail!("name the number of folds: --folds COUNT or data.folds in the file")
        }
        (false, Some(count), Some(index)) => {
            let fold = file.fold(Folds { count, index }).context("choose another --fold")?;
            run_one(runtime, fold, args)
        }
        (false, Some(_), None) if args.folds.is_some() => {
            bail!("--folds needs --fold INDEX or --all-folds")
        }
        (false, _, _) => run_one(runtime, file, args),
    }
}

/// Refuses a training file that is not there, with a word on which would be right.
///
/// # Errors
/// If there is no such file.
pub(crate) fn check_config(path: &Path) -> anyhow::Result<()> {
    ensure!(
        path.exists() && !path.is_dir(),
        "no training file {}; name a TOML file with --config, such as \
         assets/models/train-default.toml",
        path.display()
    );
    Ok(())
}

fn run_one(runtime: &Runtime, file: TrainingFile, args: &TrainArgs) -> anyhow::Result<()> {
    let out = file.out.clone();
    let start = if args.resume { Start::Resume } else { Start::Fresh };
    let outcome = signal::until_stopped(runtime, TrainControl::cancel, move |control| {
        eprintln!("reading cases");
        let job = Job::prepare(&file)?;
        eprintln!("{}", job.summary());
        let mut shown = Shown::new(&file.train);
        let outcome = job.run(start, control, &mut |at| shown.update(at));
        shown.end();
        outcome
    })?;
    tell(&out, &outcome?)
}

/// Trains every fold and tells the Dice of each case by the model that did not learn from it.
fn run_all(runtime: &Runtime, file: TrainingFile, count: usize) -> anyhow::Result<()> {
    let out = file.out.clone();
    let report = signal::until_stopped(runtime, TrainControl::cancel, move |control| {
        let mut shown: Option<Shown> = None;
        let report = run_folds(&file, count, control, &mut |event| match event {
            FoldEvent::Skipped(fold) => {
                eprintln!("fold {} was finished before", fold.folds.index);
            }
            FoldEvent::Begins { folds, start, summary } => {
                let how = match start {
                    Start::Fresh => "begins",
                    Start::Resume => "goes on",
                };
                eprintln!("fold {} of {} {how}: {summary}", folds.index, folds.count);
                if let Some(before) = shown.replace(Shown::new(&file.train)) {
                    before.end();
                }
            }
            FoldEvent::Progress(at) => {
                if let Some(shown) = &mut shown {
                    shown.update(at);
                }
            }
        });
        if let Some(shown) = shown {
            shown.end();
        }
        report
    })?;
    tell_folds(&out, &report?)
}

fn tell_folds(out: &Path, report: &FoldsReport) -> anyhow::Result<()> {
    let mut text = String::new();
    if report.finished < report.count {
        text.push_str("stopped early; go on with the same command\n");
    }
    let heading = format!("Dice after {} of {} folds", report.finished, report.count);
    text.push_str(&format!("{heading:28} WT     TC     ET\n"));
    let mean = report.mean.map(|dice| ("mean", dice));
    let cases = report.cases.iter().map(|case| (case.name.as_str(), case.dice));
    for (name, dice) in cases.chain(mean) {
        text.push_str(&format!("{name:28} {:.3}  {:.3}  {:.3}\n", dice.wt, dice.tc, dice.et));
    }
    text.push_str("research use only; no medical device\n");
    let out = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    text.push_str(&format!("{}\n", out.join(FOLDS_FILE).display()));
    print(&text)
}

fn tell(out: &Path, outcome: &TrainOutcome) -> anyhow::Result<()> {
    let out = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    let mut text = String::new();
    if outcome.cancelled {
        text.push_str("stopped early; go on with --resume\n");
    }
    if outcome.stopped_early {
        text.push_str("ended for want of a better validation; the model is that of the best\n");
    }
    if let Some(validation) = &outcome.card.validation {
        text.push_str(&scores(validation));
    }
    text.push_str(&format!(
        "{} steps in {:.1} minutes\n{}\n{}\n{}\n",
        outcome.card.steps,
        outcome.card.minutes,
        out.join(WEIGHTS_FILE).display(),
        out.join(CARD_FILE).display(),
        out.join(CURVES_FILE).display()
    ));
    print(&text)
}

fn scores(report: &ValidationReport) -> String {
    let mut text = format!("Dice at step {}          WT     TC     ET\n", report.step);
    for case in &report.cases {
        let dice = case.dice;
        text.push_str(&format!(
            "{:28} {:.3}  {:.3}  {:.3}\n",
            case.name, dice.wt, dice.tc, dice.et
        ));
    }
    let mean = report.mean;
    text.push_str(&format!("{:28} {:.3}  {:.3}  {:.3}\n", "mean", mean.wt, mean.tc, mean.et));
    text
}

/// Progress on stderr: a bar on a terminal, else a line a minute.
struct Shown {
    bar: ProgressBar,
    on_terminal: bool,
    began: Instant,
    done_before: Option<f64>,
    last_line: Option<Instant>,
}

impl Shown {
    fn new(config: &TrainConfig) -> Self {
        let on_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let target =
            if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(BAR_PARTS), target);
        bar.set_style(style("[{bar:40}] {percent:>3} % {msg}"));
        // 0 minutes are no limit.
        let time = match config.max_minutes {
            limit if limit > 0.0 => format!(" or {limit} minutes"),
            _ => String::new(),
        };
        eprintln!(
            "training on {} with {} threads, until {} steps{time}",
            config.device, config.threads, config.steps_max
        );
        Self { bar, on_terminal, began: Instant::now(), done_before: None, last_line: None }
    }

    fn update(&mut self, at: &TrainProgress) {
        let before = *self.done_before.get_or_insert(at.done);
        let left = time_left(self.began.elapsed(), before, at.done)
            .map_or_else(String::new, |left| format!(", {} left", minutes(left)));
        let line = format!(
            "step {} loss {:.4} rate {:.1e}{left}",
            at.step, at.loss_mean, at.learning_rate
        );
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to BAR_PARTS"
        )]
        let part = (at.done.clamp(0.0, 1.0) * BAR_PARTS as f64) as u64;
        self.bar.set_position(part);
        self.bar.set_message(line.clone());
        let due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_PAUSE);
        if !self.on_terminal && due {
            eprintln!("{:>3.0} % {line}", at.done * 100.0);
            self.last_line = Some(Instant::now());
        }
        if let Some(validation) = &at.validation {
            let text = scores(validation);
            self.bar.suspend(|| eprint!("{text}"));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Returns the time left if the rest goes as the part since `before`; `None` while unknown.
fn time_left(elapsed: Duration, before: f64, done: f64) -> Option<Duration> {
    let share = done - before;
    if share <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 - done).max(0.0) / share).ok()
}

fn minutes(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    if minutes < 60 {
        format!("{minutes} min")
    } else {
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_share_done_since_the_start() {
        let hour = Duration::from_secs(3600);
        assert_eq!(time_left(hour, 0.0, 0.5), Some(hour));
        assert_eq!(time_left(hour, 0.5, 0.75), Some(hour), "a resumed run starts at its share");
        assert_eq!(time_left(hour, 0.0, 0.0), None);
        assert_eq!(time_left(hour, 0.0, 1.0), Some(Duration::ZERO));
        assert_eq!(minutes(Duration::from_secs(7500)), "2 h 05 min");
    }
}
