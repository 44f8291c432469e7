//! A training: data, plugin, checkpoints, evaluation, model.

use super::Bit;
use super::connection::Connection;
use super::desk::{content, report, tasks};
use super::refusal::Refusal;
use super::scratch::Scratch;
use crate::artifact::{About, Origin, decode_checkpoint, encode_checkpoint, encode_weights};
use crate::protocol::{DataFile, Report, files};
use serde_json::{Value, json};
use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use trainyard_data::{Dataset, Frame};
use trainyard_jobs::{LogLevel, TrainingDataset};
use trainyard_sandbox::{Checkpoint, Event, Job, Limits, Plugin, Runner, SandboxError};

/// How often one looks whether to go on waiting for a checkpoint to be stored.
const LOOK: Duration = Duration::from_millis(20);

/// All that a training takes.
pub(super) struct Training<'a> {
    pub connection: &'a Arc<Connection>,
    pub scratch: &'a Scratch,
    pub plugin: Plugin,
    pub dataset: TrainingDataset,
    pub data: DataFile,
    pub data_file: File,
    pub parameters: Value,
    pub seed: u32,
    pub limits: Limits,
    pub checkpoint: Option<File>,
}

impl Training<'_> {
    /// Trains and judges; the model lies in the scratch folder then.
    pub fn run(self, bit: Bit) -> Result<Report, Refusal> {
        let description = self.plugin.describe(&self.limits)?;
        // What was typed wrong is said before anything large is read.
        let parameters = description
            .parameters
            .complete(&self.parameters)
            .map_err(SandboxError::InvalidParameters)?;
        let spec = self.dataset.spec(&tasks(&description), &self.data.columns)?;
        let frame = Frame::from_file(self.data_file, &self.data.name, self.data.format, &spec.read_options())?;
        let dataset = Dataset::prepare(frame, &spec)?;
        let prepared = Report::Prepared {
            summary: serde_json::to_value(dataset.summary()).unwrap_or_default(),
            warnings: dataset.warnings().iter().map(ToString::to_string).collect(),
        };
        say(self.connection, &prepared)?;

        let job = Job {
            parameters: parameters.clone(),
            seed: self.seed,
            dataset: Some(dataset.clone()),
            limits: self.limits,
            control: bit.control.clone(),
            ..Job::default()
        };
        let (connection, scratch) = (self.connection.clone(), self.scratch.clone());
        let on_event = move |event| match event {
            Event::Checkpoint(checkpoint) => store(&connection, &scratch, &checkpoint, &bit),
            event => {
                if let Some(report) = report(event) {
                    // Whether anyone still listens shows when the next order is read.
                    let _ = connection.say(&report);
                }
            }
        };
        let mut runner = Runner::new(&self.plugin, job, on_event)?;
        if let Some(checkpoint) = &self.checkpoint {
            runner.resume_from(decode_checkpoint(&content(checkpoint)?, runner.session())?);
        }
        let model = runner.train()?;
        let metrics: Vec<(String, f64)> = runner
            .evaluate(&model)?
            .into_iter()
            .map(|metric| (metric.name, metric.value))
            .collect();
        let origin = Origin {
            description: &description,
            digest: self.plugin.digest(),
            engine: self.plugin.engine_digest(),
            parameters,
            seed: self.seed,
            dataset: &dataset,
        };
        let about = About::of(origin, &model, &metrics);
        self.scratch.leave(files::WEIGHTS, &encode_weights(&model)?)?;
        self.scratch.leave(files::ABOUT, &about.encode()?)?;
        Ok(Report::Trained { metrics })
    }
}

/// Leaves a checkpoint for the worker, and waits until it is safe: the next one takes its place. A checkpoint that cannot
/// be left is no reason to end a training.
fn store(connection: &Connection, scratch: &Scratch, checkpoint: &Checkpoint, bit: &Bit) {
    let left = encode_checkpoint(checkpoint)
        .map_err(Refusal::from)
        .and_then(|bytes| scratch.leave(files::CHECKPOINT, &bytes));
    if let Err(refusal) = left {
        let message = format!("the checkpoint could not be stored: {}", refusal.message());
        let level = LogLevel::Warning;
        let _ = connection.say(&Report::Log { level, message });
        return;
    }
    if connection.say(&Report::Checkpoint).is_err() {
        return;
    }
    while let Err(RecvTimeoutError::Timeout) = bit.stored.recv_timeout(LOOK) {
        if bit.control.is_cancelled() {
            return;
        }
    }
}

fn say(connection: &Connection, report: &Report) -> Result<(), Refusal> {
    match connection.say(report) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::new(
            "too-long",
            "the data's summary is too long to tell; use fewer columns",
        )),
        Err(error) => Err(Refusal::new("io", format!("the worker does not listen: {error}")).with_details(json!(null))),
    }
}
