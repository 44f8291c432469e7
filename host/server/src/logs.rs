//! The log of a run: its last lines while it goes on, the full one afterwards.

use crate::answer::{Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Reader;
use crate::error::ApiError;
use crate::extract::{Query, Segments};
use crate::models::ModelPath;
use crate::paging;
use axum::extract::State;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use trainyard_jobs::{ArtifactError, Event, Run};
use utoipa::{IntoParams, ToSchema};

/// Lines of the live log that are remembered.
const LIVE: usize = 1000;
/// A line that is longer is nothing that a worker wrote.
const LONGEST_LINE: usize = 1 << 20;

/// Which log, and how much of it.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// A run; the current or last one when it is not said.
    run: Option<String>,
    /// So many lines at most, the last ones; 1000 when it is not said.
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// A line of a log.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described, never made")]
pub struct LogLine {
    /// When.
    timestamp: chrono::DateTime<chrono::Utc>,
    /// DEBUG, INFO, WARNING or ERROR.
    level: String,
    /// The line.
    message: String,
}

/// Lines of a log.
#[derive(Serialize, ToSchema)]
pub struct LogLines {
    /// The run.
    run_id: String,
    /// The lines, oldest first.
    #[schema(value_type = Vec<LogLine>)]
    items: Vec<Value>,
}

/// Reads the last lines of a run's log.
#[utoipa::path(get, path = "/models/{id}/logs", tag = "runs", params(ModelPath, LogQuery),
    responses((status = 200, description = "The lines", body = Envelope<LogLines>),
        (status = 409, description = "The model was never trained")))]
pub async fn read(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<ModelPath>,
    Query(query): Query<LogQuery>,
) -> Reply<LogLines> {
    let limit = paging::within("limit", query.limit.unwrap_or(1000), 1, 10_000)?;
    let model = app.services.store.model(path.id).await?;
    let run = app.asked_run(&model, query.run.as_deref()).await?;
    let items = of_run(&app, &run, limit as usize).await?;
    ok(LogLines { run_id: run.id, items })
}

/// The last lines of a run's log, oldest first: the stored log where there is one, or else what the feed remembers.
pub async fn of_run(app: &App, run: &Run, limit: usize) -> Result<Vec<Value>, ApiError> {
    if run.state.is_final() {
        let prefix = run
            .file_path
            .clone()
            .unwrap_or_else(|| format!("models/{}/runs/{}", run.model_id, run.id));
        match stored(app, &format!("{prefix}/log.jsonl"), limit).await {
            // It was stopped before a worker had it, or its worker died.
            Err(ArtifactError::NotFound { .. }) => {}
            lines => return Ok(lines?),
        }
    }
    let entries = app.services.feed.last_logs(run.model_id, LIVE).await;
    let mut lines: VecDeque<Value> = VecDeque::new();
    for entry in entries.iter().filter(|entry| entry.run_id == run.id) {
        if let Event::Log {
            timestamp,
            level,
            message,
        } = &entry.event
        {
            push(
                &mut lines,
                json!({"timestamp": timestamp, "level": level, "message": message}),
                limit,
            );
        }
    }
    Ok(lines.into())
}

/// The last lines of a stored log, of which no more than those is in memory.
async fn stored(app: &App, key: &str, limit: usize) -> Result<Vec<Value>, ArtifactError> {
    let (_, mut content) = app.services.artifacts.stream(key).await?;
    let mut lines = VecDeque::new();
    let mut rest = Vec::new();
    while let Some(chunk) = content.next().await {
        for part in chunk?.split_inclusive(|byte| *byte == b'\n') {
            rest.extend_from_slice(part);
            if part.ends_with(b"\n") || rest.len() > LONGEST_LINE {
                push_text(&mut lines, &rest, limit);
                rest.clear();
            }
        }
    }
    push_text(&mut lines, &rest, limit);
    Ok(lines.into())
}

fn push_text(lines: &mut VecDeque<Value>, text: &[u8], limit: usize) {
    // The last line may be half a line, of a worker that was killed.
    if let Ok(line) = serde_json::from_slice(text) {
        push(lines, line, limit);
    }
}

fn push(lines: &mut VecDeque<Value>, line: Value, limit: usize) {
    if lines.len() == limit {
        lines.pop_front();
    }
    lines.push_back(line);
}
