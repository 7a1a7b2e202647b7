//! The loop of a run: steps, validations, checkpoints.

use std::{sync::Arc, time::Instant};

use neurotriage_dataset::SampleSource;
use tch::Device;

use crate::{
    BatchScores, ModelCard, NetworkError, TrainConfig, TrainControl, TrainOutcome, TrainProgress,
    TrainRun, ValidationCase, ValidationReport,
    best::Verdict,
    checkpoint::RunState,
    journal::Journal,
    loader::Loader,
    memory,
    model::write_model,
    network::Network,
    optimiser::clip_gradients,
    precision::StepEnd,
    scores::batch_scores,
    step::{Batch, Found, Pass},
    validate::{Judged, validate},
};

/// Share of the old mean in the moving average of the loss.
const LOSS_MEAN_DECAY: f64 = 0.98;

/// What one step gave.
#[derive(Clone, Copy)]
struct StepResult {
    loss: f64,
    gradient_norm: f64,
    learning_rate: f64,
    end: StepEnd,
    scores: Option<BatchScores>,
}

/// A caller's ear and hand.
struct Watch<'a> {
    control: &'a TrainControl,
    on_progress: &'a mut dyn FnMut(&TrainProgress),
}

pub(crate) struct Trainer<'a> {
    config: &'a TrainConfig,
    run: &'a TrainRun,
    network: Network,
    device: Device,
    state: RunState,
    journal: Journal,
    began: Instant,
    /// Seconds of earlier parts of the run.
    before: f64,
    next_validation: f64,
    next_checkpoint: f64,
    last: StepResult,
}

impl<'a> Trainer<'a> {
    pub(crate) fn new(
        config: &'a TrainConfig,
        run: &'a TrainRun,
        network: Network,
        device: Device,
        state: RunState,
        journal: Journal,
    ) -> Self {
        let before = state.counters.elapsed_seconds;
        let last = StepResult {
            loss: state.counters.loss_mean,
            gradient_norm: 0.0,
            learning_rate: 0.0,
            end: StepEnd::Finite,
            scores: None,
        };
        Self {
            config,
            run,
            network,
            device,
            state,
            journal,
            began: Instant::now(),
            before,
            next_validation: before + 60.0 * config.validate_minutes,
            next_checkpoint: before + 60.0 * config.checkpoint_minutes,
            last,
        }
    }

    pub(crate) fn run(
        mut self,
        source: &Arc<dyn SampleSource>,
        cases: &[ValidationCase],
        control: &TrainControl,
        on_progress: &mut dyn FnMut(&TrainProgress),
    ) -> Result<TrainOutcome, NetworkError> {
        let mut watch = Watch { control, on_progress };
        let samples = (self.config.batch * self.config.accumulate) as u64;
        let first = self.state.counters.step * samples;
        let mut loader = Loader::start(source, first, self.config.loader_threads)?;
        let mut skipped_in_a_row = 0;
        let mut memory_checked = false;
        while !self.is_over() && !control.is_cancelled() {
            if !cases.is_empty() && self.is_validation_due() {
                self.validate(cases, &mut watch)?;
                continue;
            }
            let batches = self.next_batches(&mut loader)?;
            if !memory_checked {
                memory::check(self.config, self.state.counters.window, self.device)?;
                memory_checked = true;
            }
            self.last = self.step(&batches)?;
            drop(batches);
            skipped_in_a_row =
                if self.last.end == StepEnd::Finite { 0 } else { skipped_in_a_row + 1 };
            if skipped_in_a_row >= self.config.skipped_steps_max {
                return Err(NetworkError::Diverged { steps: skipped_in_a_row });
            }
            if self.is_logged(self.state.counters.step) {
                self.tell(None, &mut watch)?;
            }
            if self.is_checkpoint_due() {
                self.save()?;
                self.next_checkpoint =
                    self.elapsed_seconds() + 60.0 * self.config.checkpoint_minutes;
            }
        }
        drop(loader);
        self.finish(cases, &mut watch)
    }

    fn finish(
        mut self,
        cases: &[ValidationCase],
        watch: &mut Watch<'_>,
    ) -> Result<TrainOutcome, NetworkError> {
        let cancelled = watch.control.is_cancelled();
        let stopped_early = !cancelled && self.done() < 1.0;
        if !cases.is_empty() && !cancelled && !self.is_validated() {
            // A validation takes a while: what is trained must not be lost with it.
            self.save()?;
            self.validate(cases, watch)?;
        }
        let card = self.save()?;
        Ok(TrainOutcome { card, cancelled, stopped_early })
    }

    fn elapsed_seconds(&self) -> f64 {
        self.before + self.began.elapsed().as_secs_f64()
    }

    fn done(&self) -> f64 {
        self.config.share_done(self.state.counters.step, self.elapsed_seconds())
    }

    fn is_over(&self) -> bool {
        self.done() >= 1.0 || self.state.counters.best.is_over(self.config.patience)
    }

    fn is_logged(&self, step: u64) -> bool {
        step.is_multiple_of(self.config.log_steps)
    }

    /// Returns whether the weights at hand have been validated.
    fn is_validated(&self) -> bool {
        let counters = &self.state.counters;
        counters.validation.as_ref().is_some_and(|report| report.step == counters.step)
    }

    fn is_validation_due(&self) -> bool {
        let (config, step) = (self.config, self.state.counters.step);
        let by_clock =
            config.validate_minutes > 0.0 && self.elapsed_seconds() >= self.next_validation;
        let by_steps = config.validate_steps > 0 && step.is_multiple_of(config.validate_steps);
        step > 0 && (by_clock || by_steps) && !self.is_validated()
    }

    fn is_checkpoint_due(&self) -> bool {
        let (config, step) = (self.config, self.state.counters.step);
        let by_clock =
            config.checkpoint_minutes > 0.0 && self.elapsed_seconds() >= self.next_checkpoint;
        by_clock || (config.checkpoint_steps > 0 && step.is_multiple_of(config.checkpoint_steps))
    }

    fn next_batches(&mut self, loader: &mut Loader) -> Result<Vec<Batch>, NetworkError> {
        let mut batches = Vec::with_capacity(self.config.accumulate);
        for _ in 0..self.config.accumulate {
            let (batch, window) = Batch::draw(loader, self.config, self.device)?;
            self.state.counters.window = window;
            batches.push(batch);
        }
        Ok(batches)
    }

    /// Moves the weights one step; leaves them alone if loss or gradient are not finite.
    fn step(&mut self, batches: &[Batch]) -> Result<StepResult, NetworkError> {
        let step = self.state.counters.step;
        let factor = self.config.schedule.factor(step, self.done());
        let learning_rate = self.config.optimiser.learning_rate * factor;
        let scale = self.state.counters.loss_scale.map_or(1.0, |scale| scale.value);
        let pass = Pass {
            config: self.config,
            network: &self.network,
            weights: &self.state.weights,
            step,
            scale,
        };
        let Found { loss, gradients, logits, labels } = pass.gradients(batches)?;
        let (mut gradient_norm, mut end) = (0.0, StepEnd::Overflowed);
        if let Some(mut gradients) = gradients {
            if scale != 1.0 {
                let _guard = tch::no_grad_guard();
                for gradient in &mut gradients {
                    let _ = gradient.f_mul_scalar_(1.0 / scale)?;
                }
            }
            gradient_norm = clip_gradients(&mut gradients, self.config.gradient_norm_max)?;
            if gradient_norm.is_finite() {
                self.state.advance(&gradients, learning_rate, self.config.ema_decay)?;
                end = StepEnd::Finite;
            }
        }
        let scores = if self.is_logged(step + 1) && end == StepEnd::Finite {
            Some(batch_scores(self.config.network.architecture, &logits, &labels)?)
        } else {
            None
        };
        let result = StepResult { loss, gradient_norm, learning_rate, end, scores };
        self.count(&result);
        Ok(result)
    }

    fn count(&mut self, result: &StepResult) {
        let counters = &mut self.state.counters;
        match result.end {
            StepEnd::Finite => {
                let decay = if counters.step == counters.skipped { 0.0 } else { LOSS_MEAN_DECAY };
                counters.loss_mean = decay * counters.loss_mean + (1.0 - decay) * result.loss;
            }
            StepEnd::Overflowed => {
                counters.skipped += 1;
                tracing::warn!(
                    step = counters.step,
                    "step skipped: loss or gradient is not finite"
                );
            }
        }
        counters.loss_scale = counters.loss_scale.map(|scale| scale.after(result.end));
        counters.step += 1;
    }

    /// Logs the last step, and a validation if there was one.
    fn tell(&mut self, judged: Option<Judged>, watch: &mut Watch<'_>) -> Result<(), NetworkError> {
        let (validation, validation_scores) = match judged {
            Some(judged) => (Some(judged.report), judged.scores),
            None => (None, None),
        };
        let counters = &self.state.counters;
        let progress = TrainProgress {
            step: counters.step,
            done: self.done(),
            minutes: self.elapsed_seconds() / 60.0,
            loss: self.last.loss,
            loss_mean: counters.loss_mean,
            learning_rate: self.last.learning_rate,
            gradient_norm: self.last.gradient_norm,
            skipped: counters.skipped,
            loss_scale: counters.loss_scale.map(|scale| scale.value),
            training: self.last.scores.filter(|_| validation.is_none()),
            validation,
            validation_scores,
        };
        self.journal.write(&progress)?;
        (watch.on_progress)(&progress);
        Ok(())
    }

    fn validate(
        &mut self,
        cases: &[ValidationCase],
        watch: &mut Watch<'_>,
    ) -> Result<(), NetworkError> {
        let card = self.card();
        let average = std::slice::from_ref(&self.state.ema);
        let parts = (&self.network, average, self.device);
        let step = self.state.counters.step;
        let judged = validate(parts, (&card, Some(self.config.loss)), step, cases, watch.control)?;
        let Some(judged) = judged else {
            return Ok(());
        };
        self.state.counters.validation = Some(judged.report.clone());
        if self.config.patience > 0
            && self.state.counters.best.take(&judged.report) == Verdict::Better
        {
            self.state.best = Some(self.state.ema.duplicate()?);
        }
        self.next_validation = self.elapsed_seconds() + 60.0 * self.config.validate_minutes;
        self.tell(Some(judged), watch)
    }

    fn card(&self) -> ModelCard {
        let counters = &self.state.counters;
        let (network, channels) = (self.config.network.clone(), self.config.channels.clone());
        let mut provenance = self.run.provenance.clone();
        if let Some(first) = &counters.started_from {
            provenance.data.push_str(&format!("; first weights: {first}"));
        }
        ModelCard {
            provenance,
            profile: self.run.profile.clone(),
            seed: self.config.seed,
            steps: counters.step,
            minutes: self.elapsed_seconds() / 60.0,
            validation: counters.validation.clone(),
            ..ModelCard::untrained(network, channels, counters.window)
        }
    }

    /// Writes checkpoint, model and card. The model has the best weights where the run looks for
    /// them, else the last.
    fn save(&mut self) -> Result<ModelCard, NetworkError> {
        self.state.counters.elapsed_seconds = self.elapsed_seconds();
        self.state.write(&self.run.folder, self.config, &self.network)?;
        let card = self.card();
        let best: Option<&ValidationReport> = self.state.counters.best.report.as_ref();
        let (weights, card) = match (&self.state.best, best) {
            (Some(weights), Some(report)) => {
                let card =
                    ModelCard { steps: report.step, validation: Some(report.clone()), ..card };
                (weights, card)
            }
            _ => (&self.state.ema, card),
        };
        write_model(&self.run.folder, &self.network, &[weights], card)
    }
}
