//! [`Epochs`]: the loop around a training, with everything that a person watching it expects.

mod checkpoint;
mod early_stopping;

use crate::data::{self, Batch, BatchIter, Split};
use crate::error::Result;
use crate::nn::Scope;
use crate::optim::{Optimizer, Schedule};
use crate::run;
use crate::tensor::Tensor;
use checkpoint::{Best, Checkpoint};
use early_stopping::EarlyStopping;
use std::cell::Cell;
use std::rc::Rc;

/// The most progress reports in an epoch, and checkpoints in a run. There is no clock to pace them by, and each costs a
/// little: a report waits for the device, a checkpoint copies all parameters.
const REPORTS_PER_EPOCH: usize = 20;
const CHECKPOINTS_PER_RUN: usize = 20;

/// Trains a network over a number of epochs: shuffled batches, progress, validation, learning-rate schedule, early stopping,
/// the best epoch's parameters, checkpoints, and an end when someone asks the job to stop.
///
/// [`fit`](Epochs::fit) needs the loss of a batch and does the rest. [`run`](Epochs::run) leaves the inside of an epoch to you.
///
/// ```no_run
/// # use trainyard_sdk::{nn::{mse_loss, Linear, Module, Scope}, optim::{Adam, Schedule}, Epochs, Model, Result};
/// # fn example() -> Result<Model> {
/// let scope = Scope::new();
/// let net = Linear::new(&scope, 8, 1)?;
/// let optimizer = Adam::new(0.01).build(&scope.parameters())?;
/// Epochs::new(20)
///     .batch_size(64)
///     .patience(3)
///     .schedule(Schedule::exponential(0.9))
///     .fit(&scope, &optimizer, |batch| mse_loss(&net.forward(&batch.x)?, &batch.y))?;
/// Ok(scope.to_model())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Epochs {
    epochs: usize,
    batch_size: usize,
    patience: usize,
    schedule: Schedule,
    clip: Option<f64>,
    keep_last: bool,
}

/// How a training went.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The validation loss of each epoch; empty where there is no validation.
    pub validation: Vec<f64>,
    /// The epoch, counted from zero, that the parameters are from; absent where it is the last.
    pub best_epoch: Option<usize>,
    /// Whether someone stopped the job before its end.
    pub stopped: bool,
}

impl Epochs {
    /// At most that many epochs, in batches of 32, without early stopping, at a constant learning rate.
    pub fn new(epochs: usize) -> Self {
        Self {
            epochs,
            batch_size: 32,
            patience: 0,
            schedule: Schedule::constant(),
            clip: None,
            keep_last: false,
        }
    }

    /// Ends with the last epoch's parameters instead of the best epoch's. For a learning rate that falls to almost nothing: the
    /// last parameters are then the most settled, while an early, coarse epoch can have the least validation loss by accident.
    pub fn keep_last(mut self) -> Self {
        self.keep_last = true;
        self
    }

    /// Samples in a batch.
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = size;
        self
    }

    /// Ends after so many epochs in a row without a smaller validation loss; 0 (the default) never does.
    pub fn patience(mut self, epochs: usize) -> Self {
        self.patience = epochs;
        self
    }

    /// How the learning rate changes from epoch to epoch.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Scales the gradients of every step so that their joint norm is at most `max_norm`.
    pub fn clip_grad_norm(mut self, max_norm: f64) -> Self {
        self.clip = Some(max_norm);
        self
    }

    /// Minimises the mean of `loss` over the batches of the training split; validates by its mean over the validation split.
    pub fn fit(self, scope: &Scope, optimizer: &Optimizer, loss: impl Fn(&Batch) -> Result<Tensor>) -> Result<History> {
        self.run(scope, optimizer, |epoch| {
            for batch in epoch.batches() {
                epoch.minimize(&loss(&batch?)?)?;
            }
            epoch.validate(&loss)
        })
    }

    /// Calls `train` for each epoch; it gives the validation loss (smaller is better), or `None` for no validation.
    ///
    /// ```no_run
    /// # use trainyard_sdk::{nn::{mse_loss, Module, Scope}, optim::Optimizer, Epochs, Result};
    /// # fn example(scope: &Scope, optimizer: &Optimizer, net: &dyn Module, noise: f64) -> Result<()> {
    /// Epochs::new(10).run(scope, optimizer, |epoch| {
    ///     for batch in epoch.batches() {
    ///         let batch = batch?;
    ///         let noisy = (&batch.x + batch.x.zeros_like()?)?;
    ///         epoch.minimize(&mse_loss(&net.forward(&noisy)?, &batch.y)?)?;
    ///     }
    ///     epoch.validate(|batch| mse_loss(&net.forward(&batch.x)?, &batch.y))
    /// })?;
    /// # Ok(()) }
    /// ```
    pub fn run<V: Into<Option<f64>>>(
        mut self,
        scope: &Scope,
        optimizer: &Optimizer,
        mut train: impl FnMut(&mut Epoch<'_>) -> Result<V>,
    ) -> Result<History> {
        let base_rate = optimizer.learning_rate();
        let steps = data::batches(Split::Train).size(self.batch_size).count();
        let mut best = Best::default();
        let mut history = History::default();
        let mut early = EarlyStopping::new(self.patience);
        let mut rate = self.schedule.factor(0, None);
        let mut done = 0;
        if let Some(checkpoint) = Checkpoint::resume(scope, optimizer, &mut best)? {
            crate::info!("going on after epoch {} of {}", checkpoint.epochs, self.epochs);
            // Patience and schedule follow from the losses of the earlier attempt.
            for epoch in 0..checkpoint.epochs {
                let loss = checkpoint.validation.get(epoch).copied();
                loss.inspect(|&loss| _ = early.observe(loss));
                rate = self.schedule.factor(epoch + 1, loss);
            }
            (done, history.validation) = (checkpoint.epochs, checkpoint.validation);
        }

        while done < self.epochs && !early.is_over() && !history.stopped {
            optimizer.set_learning_rate(base_rate * rate)?;
            scope.set_training(true);
            let mut epoch = Epoch {
                index: done,
                step: 0,
                steps,
                settings: &self,
                scope,
                optimizer,
                loss: None,
                validation: history.validation.last().copied(),
                skipped: optimizer.skipped_steps(),
                stop: Rc::default(),
            };
            let validation = train(&mut epoch)?.into();
            epoch.finish(validation)?;
            history.stopped = epoch.stop.get();
            if let Some(loss) = validation {
                history.validation.push(loss);
                if early.observe(loss) && !self.keep_last {
                    best.keep(scope)?;
                }
            }
            done += 1;
            rate = self.schedule.factor(done, validation);
            if done < self.epochs && done.is_multiple_of(self.epochs.div_ceil(CHECKPOINTS_PER_RUN)) && !history.stopped
            {
                Checkpoint {
                    epochs: done,
                    validation: history.validation.clone(),
                }
                .save(scope, optimizer, &best)?;
            }
        }
        history.best_epoch = early.best_epoch().filter(|_| !self.keep_last);
        if let Some(epoch) = history.best_epoch {
            best.restore(scope)?;
            crate::info!("kept epoch {} of {done}, with the smallest validation loss", epoch + 1);
        }
        scope.set_training(false);
        Ok(history)
    }
}

/// One epoch, inside [`Epochs::run`].
pub struct Epoch<'a> {
    index: usize,
    step: usize,
    steps: usize,
    settings: &'a Epochs,
    scope: &'a Scope,
    optimizer: &'a Optimizer,
    /// The last loss that was read, and the validation loss of the epoch before.
    loss: Option<f64>,
    validation: Option<f64>,
    /// Steps that loss scaling had skipped when it began.
    skipped: usize,
    /// Set by the batches, which end early when someone stops the job.
    stop: Rc<Cell<bool>>,
}

impl Epoch<'_> {
    /// Its number, counted from zero.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The batches of the training split, in this epoch's random order. They end early when someone stops the job.
    pub fn batches(&self) -> impl Iterator<Item = Result<Batch>> + use<> {
        let batches: BatchIter = data::batches(Split::Train)
            .size(self.settings.batch_size)
            .shuffle(self.index)
            .into_iter();
        let stop = self.stop.clone();
        batches.take_while(move |_| {
            stop.set(run::should_stop());
            !stop.get()
        })
    }

    /// One training step, with progress every so many steps.
    pub fn minimize(&mut self, loss: &Tensor) -> Result<()> {
        self.step += 1;
        let reports = self.step.is_multiple_of(self.steps.div_ceil(REPORTS_PER_EPOCH).max(1));
        let skipped = reports.then(|| self.optimizer.skipped_steps());
        match self.settings.clip {
            None => self.optimizer.minimize(loss)?,
            Some(max_norm) => {
                self.optimizer.zero_grad()?;
                self.optimizer.scale_loss(loss)?.backward()?;
                self.optimizer.clip_grad_norm(max_norm)?;
                self.optimizer.step()?;
            }
        }
        let Some(skipped) = skipped else { return Ok(()) };
        // A step that loss scaling skipped has changed nothing, and its loss need not be finite: the one before it stands.
        if self.optimizer.skipped_steps() == skipped {
            self.loss = Some(self.finite(loss.item()?, "loss")?);
        }
        self.report()
    }

    /// The mean of `loss` over the validation split, in evaluation mode; `None` where that split is empty, or when someone
    /// stopped the job.
    pub fn validate(&self, loss: impl Fn(&Batch) -> Result<Tensor>) -> Result<Option<f64>> {
        if self.stop.get() || data::size(Split::Validation) == 0 {
            return Ok(None);
        }
        let (mut sum, mut samples) = (0.0, 0);
        self.scope.evaluating(|| {
            for batch in data::batches(Split::Validation) {
                let batch = batch?;
                sum += loss(&batch)?.item()? * batch.size as f64;
                samples += batch.size;
            }
            Ok(Some(sum / samples as f64))
        })
    }

    fn finish(&mut self, validation: Option<f64>) -> Result<()> {
        let skipped = self.optimizer.skipped_steps();
        if skipped != self.skipped {
            crate::info!("epoch {}: {} steps skipped", self.index + 1, skipped - self.skipped);
        }
        if let Some(loss) = validation {
            self.validation = Some(self.finite(loss, "validation loss")?);
        }
        self.report()
    }

    fn report(&self) -> Result<()> {
        let metrics = [("loss", self.loss), ("validation_loss", self.validation)];
        let metrics: Vec<_> = metrics
            .iter()
            .filter_map(|&(name, value)| Some((name, value?)))
            .collect();
        let current = self.index * self.steps + self.step.min(self.steps);
        run::progress(current, self.settings.epochs * self.steps, &metrics)
    }

    fn finite(&self, value: f64, name: &str) -> Result<f64> {
        if value.is_finite() {
            return Ok(value);
        }
        let (epoch, step) = (self.index + 1, self.step);
        Err(format!(
            "the {name} is no longer a finite number (epoch {epoch}, step {step}): try a smaller learning rate"
        )
        .into())
    }
}
