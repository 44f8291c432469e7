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
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;
use trainyard_data::{Dataset, Frame};
use trainyard_jobs::{LogLevel, TrainingDataset};
use trainyard_kernels::Device;
use trainyard_sandbox::{Checkpoint, Description, Event, Job, Limits, Plugin, Runner, SandboxError};

/// How often one looks whether to go on waiting for a checkpoint to be stored.
const LOOK: Duration = Duration::from_millis(20);

/// All that a training takes.
pub(super) struct Training<'a> {
    pub connection: &'a Arc<Connection>,
    pub scratch: &'a Scratch,
    pub plugin: &'a Plugin,
    pub description: &'a Description,
    pub data: Rows<'a>,
    pub parameters: Value,
    pub seed: u32,
    pub limits: Limits,
    pub device: Device,
    pub tf32: bool,
    pub checkpoint: Option<File>,
}

/// The rows to learn from.
pub(super) struct Rows<'a> {
    pub dataset: TrainingDataset,
    pub data: DataFile,
    pub file: File,
    /// What the last training in this process prepared, if there was one.
    pub prepared: &'a mut Option<Prepared>,
}

/// A data set, and what it was prepared from: trials of a sweep learn from the same.
pub(super) struct Prepared {
    dataset: TrainingDataset,
    data: DataFile,
    file: FileIdentity,
    rows: Dataset,
}

/// Tells files apart, and versions of one: device, inode, length, and time of the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileIdentity(u64, u64, u64, i64, i64);

impl FileIdentity {
    fn of(file: &File) -> std::io::Result<Self> {
        let file = file.metadata()?;
        Ok(FileIdentity(
            file.dev(),
            file.ino(),
            file.len(),
            file.mtime(),
            file.mtime_nsec(),
        ))
    }
}

impl Rows<'_> {
    /// Reads and prepares the rows, unless that has been done.
    fn prepare(self, description: &Description) -> Result<Dataset, Refusal> {
        let Rows {
            dataset,
            data,
            file,
            prepared,
        } = self;
        let identity = FileIdentity::of(&file)
            .map_err(|error| Refusal::new("io", format!("{}: cannot be looked at: {error}", data.name)))?;
        if let Some(last) = prepared.as_ref()
            && (last.file, &last.data, &last.dataset) == (identity, &data, &dataset)
        {
            return Ok(last.rows.clone());
        }
        // Two at a time may be more than there is memory for.
        *prepared = None;
        let spec = dataset.spec(&tasks(description), &data.columns)?;
        let frame = Frame::from_file(file, &data.name, data.format, &spec.read_options())?;
        let rows = Dataset::prepare(frame, &spec)?;
        *prepared = Some(Prepared {
            dataset,
            data,
            file: identity,
            rows: rows.clone(),
        });
        Ok(rows)
    }
}

impl Training<'_> {
    /// Trains and judges; the model lies in the scratch folder then.
    pub fn run(self, bit: Bit) -> Result<Report, Refusal> {
        let description = self.description;
        // What was typed wrong is said before anything large is read.
        let parameters = description
            .parameters
            .complete(&self.parameters)
            .map_err(SandboxError::InvalidParameters)?;
        let dataset = self.data.prepare(description)?;
        let prepared = Report::Prepared {
            summary: serde_json::to_value(dataset.summary()).unwrap_or_default(),
            warnings: dataset.warnings().iter().map(ToString::to_string).collect(),
        };
        say(self.connection, &prepared)?;

        let job = Job {
            parameters: parameters.clone(),
            seed: self.seed,
            dataset: Some(dataset.clone()),
            device: self.device,
            tf32: self.tf32,
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
        let mut runner = Runner::new(self.plugin, job, on_event)?;
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
            description,
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
