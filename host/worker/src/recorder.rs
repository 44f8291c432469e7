//! What a run tells, brought to where it belongs: the feed at once, the full log to a file, the series and the progress to
//! the store in batches.

use crate::failure::Failure;
use chrono::Utc;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::time::{Duration, Instant};
use trainyard_jobs::{Event, Feed, LogLevel, ResourceUsage, Run, RunState, SeriesPoint, Store, Timestamp};

/// Progress is published at most so often; what comes between is overtaken by what follows.
const PUBLISH: Duration = Duration::from_millis(20);
/// Series and progress are written to the store so often.
const SAVE: Duration = Duration::from_millis(500);
/// Points of one series before every second one is left out, and so on.
const POINTS: u32 = 4_000;
/// Series of one run. A plugin that invents names without end gets no more.
const SERIES: usize = 200;
/// Progress when all rows are there.
const FETCHED: f64 = 2.0;
/// Progress when the plugin starts, and when it has done all its steps.
const TRAINING: (f64, f64) = (5.0, 99.0);

/// Records one attempt at a run.
pub(crate) struct Recorder {
    feed: Arc<dyn Feed>,
    store: Arc<dyn Store>,
    run: Run,
    started: Instant,
    log: Log,
    progress: f64,
    /// When the plugin began, for the time that is left.
    training_since: Option<(Instant, f64)>,
    pending: Option<Event>,
    published: Instant,
    saved: Instant,
    points: Vec<SeriesPoint>,
    strides: HashMap<String, Stride>,
    first_progress: bool,
    usage: ResourceUsage,
}

/// Which points of a series are kept: every so many.
#[derive(Default)]
struct Stride {
    seen: u64,
    kept: u32,
    every: u32,
}

impl Recorder {
    /// For a run that has just been claimed. `folder` gets the log.
    pub fn new(
        feed: Arc<dyn Feed>,
        store: Arc<dyn Store>,
        run: Run,
        folder: &Path,
        log_bytes: u64,
    ) -> Result<Self, Failure> {
        let now = Instant::now();
        let age = run
            .started_at
            .map_or(0.0, |at| (Utc::now() - at).as_seconds_f64().max(0.0));
        Ok(Recorder {
            feed,
            store,
            log: Log::create(folder.join("log.jsonl"), log_bytes)?,
            run,
            started: now.checked_sub(Duration::from_secs_f64(age)).unwrap_or(now),
            progress: 0.0,
            training_since: None,
            pending: None,
            published: now.checked_sub(PUBLISH).unwrap_or(now),
            saved: now,
            points: Vec::new(),
            strides: HashMap::new(),
            first_progress: true,
            usage: ResourceUsage::default(),
        })
    }

    /// Seconds since the run was first worked on.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// A line for everyone who watches, and for the full log.
    pub async fn log(&mut self, level: LogLevel, message: String) {
        let timestamp = Utc::now();
        self.log
            .line(&json!({"timestamp": timestamp, "level": level, "message": message}));
        let event = Event::Log {
            timestamp,
            level,
            message,
        };
        self.publish(event).await;
    }

    /// The run's state changed.
    pub async fn status(&mut self, status: RunState, progress: f64) {
        self.flush().await;
        self.progress = self.progress.max(progress);
        self.publish(Event::Status {
            status,
            progress: self.progress,
            attempt: self.run.attempt,
        })
        .await;
    }

    /// The run is over.
    pub async fn end(&mut self, status: RunState, error: Option<String>) {
        let progress = if status == RunState::Trained {
            100.0
        } else {
            self.progress
        };
        self.status(status, progress).await;
        self.publish(Event::End { status, error }).await;
    }

    /// So many rows are there.
    pub async fn rows(&mut self, rows: u64, total: u64) {
        let share = (rows as f64 / total.max(1) as f64).clamp(0.0, 1.0);
        self.progress = self.progress.max(FETCHED * share);
        self.pending = Some(Event::Progress {
            timestamp: Utc::now(),
            progress: self.progress,
            current: rows,
            total,
            metrics: Map::new(),
            seconds_left: None,
        });
        if self.published.elapsed() >= PUBLISH {
            self.flush().await;
        }
    }

    /// The plugin went on.
    pub async fn progress(
        &mut self,
        timestamp: Timestamp,
        (current, total, fraction): (u32, u32, f64),
        metrics: Vec<(String, f64)>,
    ) {
        if std::mem::take(&mut self.first_progress) && self.run.attempt > 1 {
            // An attempt that goes on from a checkpoint says its steps after it again.
            let cleared = self.store.clear_series(&self.run.id, u64::from(current)).await;
            if let Err(error) = cleared {
                tracing::warn!(run = self.run.id, %error, "the series of an earlier attempt stays");
            }
        }
        let (low, high) = TRAINING;
        self.progress = self.progress.max(low + (high - low) * fraction.clamp(0.0, 1.0));
        let now = Instant::now();
        let (since, done) = *self.training_since.get_or_insert((now, fraction));
        let seconds_left = (fraction > done).then(|| {
            let per_fraction = (now - since).as_secs_f64() / (fraction - done);
            per_fraction * (1.0 - fraction)
        });
        for (name, value) in &metrics {
            self.point(current, name, *value);
        }
        let metrics: Map<String, Value> = metrics.into_iter().map(|(name, value)| (name, json!(value))).collect();
        self.pending = Some(Event::Progress {
            timestamp,
            progress: self.progress,
            current: u64::from(current),
            total: u64::from(total),
            metrics,
            seconds_left,
        });
        if now - self.published >= PUBLISH {
            self.flush().await;
        }
    }

    fn point(&mut self, step: u32, name: &str, value: f64) {
        if !self.strides.contains_key(name) {
            if self.strides.len() >= SERIES {
                return;
            }
            self.strides.insert(
                name.to_owned(),
                Stride {
                    every: 1,
                    ..Stride::default()
                },
            );
        }
        let Some(stride) = self.strides.get_mut(name) else {
            return;
        };
        stride.seen += 1;
        if (stride.seen - 1) % u64::from(stride.every) != 0 {
            return;
        }
        stride.kept += 1;
        if stride.kept >= POINTS {
            stride.kept /= 2;
            stride.every = stride.every.saturating_mul(2);
        }
        self.points.push(SeriesPoint {
            step: u64::from(step),
            seconds: self.started.elapsed().as_secs_f64(),
            name: name.to_owned(),
            value,
        });
    }

    /// When progress that was held back is due.
    pub fn due(&self) -> Option<Instant> {
        self.pending.as_ref().map(|_| self.published + PUBLISH)
    }

    /// Publishes progress that was held back.
    pub async fn flush(&mut self) {
        if let Some(event) = self.pending.take() {
            self.published = Instant::now();
            self.publish(event).await;
        }
    }

    /// What the run uses right now.
    pub async fn usage(&mut self, usage: ResourceUsage) {
        self.usage = usage.clone();
        self.publish(Event::Usage(usage)).await;
    }

    /// Writes to the store what is to be kept, if it is time.
    pub async fn save(&mut self) -> Result<(), Failure> {
        if self.saved.elapsed() < SAVE {
            return Ok(());
        }
        self.save_now().await
    }

    /// Writes to the store what is to be kept.
    pub async fn save_now(&mut self) -> Result<(), Failure> {
        self.saved = Instant::now();
        self.log.flush();
        if !self.points.is_empty() {
            self.store.add_series(&self.run.id, &self.points).await?;
            self.points.clear();
        }
        let (id, token) = (&self.run.id, self.run.token);
        self.store.progress(id, token, self.progress, &self.usage).await?;
        Ok(())
    }

    /// The full log so far, closed for writing.
    pub fn finish_log(&mut self) -> &Path {
        self.log.flush();
        &self.log.path
    }

    /// What could not be written of the log, if anything.
    pub fn log_problem(&self) -> Option<&str> {
        self.log.problem.as_deref()
    }

    async fn publish(&self, event: Event) {
        self.feed.tell(&self.run, event).await;
    }
}

/// The full log: one JSON object a line.
struct Log {
    path: PathBuf,
    file: BufWriter<std::fs::File>,
    left: u64,
    problem: Option<String>,
}

impl Log {
    fn create(path: PathBuf, bytes: u64) -> Result<Self, Failure> {
        // Attempts of one worker share a folder: the later goes on in the earlier's log.
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| Failure::ours(&path.display().to_string(), error))?;
        let written = file.metadata().map_or(0, |metadata| metadata.len());
        Ok(Log {
            file: BufWriter::with_capacity(64 << 10, file),
            path,
            left: bytes.saturating_sub(written),
            problem: None,
        })
    }

    fn line(&mut self, line: &Value) {
        if self.problem.is_some() {
            return;
        }
        let text = format!("{line}\n");
        let written = if text.len() as u64 > self.left {
            self.problem = Some("it grew too long".into());
            let note = json!({"timestamp": Utc::now(), "level": "WARNING",
                "message": "the log is cut off here: it grew too long"});
            writeln!(self.file, "{note}")
        } else {
            self.left -= text.len() as u64;
            self.file.write_all(text.as_bytes())
        };
        if let Err(error) = written {
            self.problem = Some(error.to_string());
        }
    }

    fn flush(&mut self) {
        if let Err(error) = self.file.flush() {
            self.problem.get_or_insert(error.to_string());
        }
    }
}
