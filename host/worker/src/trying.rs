//! A plugin is tried: it trains for a moment, somebody waits for what it says, and nothing is kept.

use crate::compute::{Desk, UNNAMED, in_memory, unexpected};
use crate::failure::Failure;
use crate::protocol::{DataFile, PluginIdentity, Report, Task};
use chrono::Utc;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::time::Instant;
use trainyard_jobs::{Attempt, ComputeError, Rows, SeriesPoint, TrainingDataset, Tried};

/// Lines of the log that are kept, the first ones.
const LINES: usize = 1_000;
/// Points of a series that are kept, the first ones; and series.
const POINTS: usize = 2_000;
const SERIES: usize = 64;

impl Desk {
    /// Trains with a plugin of Python source.
    pub(crate) async fn attempt(&self, attempt: Attempt) -> Result<Tried, ComputeError> {
        let failed = |error: std::io::Error| ComputeError::Failed(error.to_string());
        let plugin = in_memory(attempt.source.as_bytes()).map_err(failed)?;
        let Some((engine, code)) = self.code().engine_for(&plugin).await? else {
            let message = "this is no Python source of a plugin: it needs a class that is decorated with @algorithm";
            return Err(Failure::job("not-a-plugin", message).into());
        };
        let (file, data) = match attempt.rows {
            Some(rows) => given(&attempt.dataset, rows).map_err(failed)?,
            None => {
                let opened = self.rows(&attempt.dataset, None).await?;
                (opened.file, opened.data)
            }
        };
        let task = Task::Train {
            plugin: PluginIdentity {
                // Its messages call it as an inspection does.
                name: UNNAMED.trim_end_matches(".py").to_owned(),
                version: String::new(),
                digest: trainyard_sandbox::digest(attempt.source.as_bytes()),
                engine: Some(engine),
            },
            dataset: attempt.dataset,
            data,
            parameters: Value::Object(attempt.parameters),
            seed: attempt.seed,
            limits: self.limits(),
            resume: false,
        };
        let mut heard = Heard::default();
        let (report, runner) = self
            .once_hearing(task, &[&plugin, &code, &file], &mut |report| heard.take(report))
            .await?;
        runner.kill().await;
        match report {
            Report::Trained { metrics } => Ok(Tried {
                metrics: metrics
                    .into_iter()
                    .map(|(name, value)| (name, json!(value)))
                    .collect::<Map<_, _>>(),
                seconds: heard.since.elapsed().as_secs_f64(),
                series: heard.points,
                log: heard.log,
                warnings: heard.warnings,
            }),
            other => Err(unexpected(&other).into()),
        }
    }
}

/// Rows that came with the request, as a file.
fn given(dataset: &TrainingDataset, rows: Rows) -> std::io::Result<(std::fs::File, DataFile)> {
    let data = DataFile {
        format: rows.format,
        name: "the rows".to_owned(),
        columns: dataset.row_columns(),
    };
    Ok((in_memory(&rows.content)?, data))
}

/// What a runner said on the way.
struct Heard {
    since: Instant,
    warnings: Vec<String>,
    log: Vec<Value>,
    points: Vec<SeriesPoint>,
    counts: HashMap<String, usize>,
}

impl Default for Heard {
    fn default() -> Self {
        Heard {
            since: Instant::now(),
            warnings: Vec::new(),
            log: Vec::new(),
            points: Vec::new(),
            counts: HashMap::new(),
        }
    }
}

impl Heard {
    fn take(&mut self, report: Report) {
        match report {
            Report::Prepared { warnings, .. } => self.warnings = warnings,
            Report::Log { level, message } if self.log.len() < LINES => {
                self.log
                    .push(json!({"timestamp": Utc::now(), "level": level, "message": message}));
            }
            Report::Progress { current, metrics, .. } => {
                let seconds = self.since.elapsed().as_secs_f64();
                for (name, value) in metrics {
                    if self.counts.len() >= SERIES && !self.counts.contains_key(&name) {
                        continue;
                    }
                    let count = self.counts.entry(name.clone()).or_default();
                    *count += 1;
                    if *count <= POINTS {
                        let step = u64::from(current);
                        self.points.push(SeriesPoint {
                            step,
                            seconds,
                            name,
                            value,
                        });
                    }
                }
            }
            _ => {}
        }
    }
}
