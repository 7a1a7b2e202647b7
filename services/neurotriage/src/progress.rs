//! Steps of a run: shown on stderr while they run, and timed.

use std::{io::IsTerminal as _, time::Duration, time::Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    output::peak_memory_bytes,
    report::{Run, Step},
};

/// Pause between two frames of the spinner.
const TICK: Duration = Duration::from_millis(120);

/// The steps of one run.
///
/// On a terminal the running step has a bar; elsewhere each step writes one line when it ends.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    on_terminal: bool,
    quiet: bool,
    started: Instant,
    step_started: Instant,
    running: Option<&'static str>,
    steps: Vec<Step>,
}

impl Progress {
    /// Returns progress that is shown on stderr.
    pub fn on_stderr() -> Self {
        Self::new(std::io::stderr().is_terminal(), false)
    }

    /// Returns progress that is timed but not shown.
    pub fn hidden() -> Self {
        Self::new(false, true)
    }

    fn new(on_terminal: bool, quiet: bool) -> Self {
        let target =
            if on_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let now = Instant::now();
        Self {
            bar: ProgressBar::with_draw_target(None, target),
            on_terminal,
            quiet,
            started: now,
            step_started: now,
            running: None,
            steps: Vec::new(),
        }
    }

    /// Ends the running step and begins `name`.
    pub fn step(&mut self, name: &'static str) {
        self.end_step();
        self.running = Some(name);
        self.step_started = Instant::now();
        self.bar.reset();
        self.bar.unset_length();
        self.bar.set_style(style("{spinner} {prefix:12} {msg} {elapsed}"));
        self.bar.set_prefix(name);
        self.bar.set_message("");
        if self.on_terminal {
            self.bar.enable_steady_tick(TICK);
        }
    }

    /// Shows how far the running step has come; `units_total` is 0 while unknown.
    pub fn update(&self, units_done: u64, units_total: u64) {
        if units_total == 0 {
            return;
        }
        if self.bar.length() != Some(units_total) {
            self.bar.set_length(units_total);
            self.bar.set_style(style(
                "{spinner} {prefix:12} [{bar:30}] {percent:>3} % {msg} {elapsed}",
            ));
        }
        self.bar.set_position(units_done.min(units_total));
    }

    /// Says what the running step is busy with.
    pub fn message(&self, message: &str) {
        self.bar.set_message(message.to_owned());
    }

    fn end_step(&mut self) {
        let Some(name) = self.running.take() else { return };
        let seconds = self.step_started.elapsed().as_secs_f64();
        if self.on_terminal {
            self.bar.disable_steady_tick();
            self.bar.suspend(|| eprintln!("  {name:12} {seconds:.1} s"));
        } else if !self.quiet {
            eprintln!("{name}: {seconds:.1} s");
        }
        self.steps.push(Step { name, seconds });
    }

    /// Ends the last step and returns how the run went.
    pub fn finish(mut self) -> Run {
        self.end_step();
        self.bar.finish_and_clear();
        Run {
            steps: std::mem::take(&mut self.steps),
            total_seconds: self.started.elapsed().as_secs_f64(),
            peak_memory_bytes: peak_memory_bytes(),
        }
    }
}

/// Returns the style of `template`, or the plain default if it doesn't parse.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_timed_in_order() {
        let mut progress = Progress::hidden();
        progress.step("upload");
        progress.update(1, 2);
        progress.step("segment");
        let run = progress.finish();
        let names: Vec<_> = run.steps.iter().map(|step| step.name).collect();
        assert_eq!(names, ["upload", "segment"]);
        assert!(run.total_seconds >= run.steps.iter().map(|step| step.seconds).sum::<f64>());
    }
}
