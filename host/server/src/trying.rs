//! A plugin is tried before it is uploaded: a training of a moment, of which nothing is kept.

use crate::answer::{Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Uploader;
use crate::error::ApiError;
use crate::extract::{self, NoQuery};
use crate::runs::{self, Series};
use crate::schema;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use trainyard_data::DataFormat;
use trainyard_jobs::submission;
use trainyard_jobs::{Attempt, Rows, TrainingDataset};
use utoipa::ToSchema;

/// What to try, and on what.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptBody {
    /// The plugin: a file of Python source.
    source: String,
    /// Rows to learn from, as CSV with a line of names; where they are absent, those of the data set's source.
    rows: Option<String>,
    /// What is learned, and from what. Needs no source where there are `rows`.
    #[schema(value_type = schema::TrainingDataset)]
    training_dataset: Map<String, Value>,
    /// Parameters; those that are absent have their defaults.
    #[serde(default)]
    training_parameters: Map<String, Value>,
    /// What every random number follows from; 0 when it is not said.
    #[serde(default)]
    #[schema(format = Int64, minimum = 0, maximum = 4294967295u32)]
    seed: u32,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
pub struct AttemptResult {
    /// Figures on the test rows, by name.
    metrics: Map<String, Value>,
    /// The figures that the plugin told, over time: the first 2000 points of each.
    series: Vec<Series>,
    /// The first 1000 lines of its log: timestamp, level, message.
    log: Vec<Value>,
    /// What may be wrong with the data.
    warnings: Vec<String>,
    /// Seconds that it took.
    seconds: f64,
}

/// Tries a plugin of Python source: trains it at once and gives what it said and how it was judged. Nothing is kept.
#[utoipa::path(post, path = "/plugins/try", tag = "plugins", request_body = AttemptBody,
    responses((status = 200, description = "What came of it", body = Envelope<AttemptResult>),
        (status = 422, description = "It is no plugin that can be used here, its data cannot be used, or it failed; the details say more"),
        (status = 504, description = "It took too long")))]
pub async fn attempt(
    State(app): State<Arc<App>>,
    _: Uploader,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Reply<AttemptResult> {
    extract::must_be_json(&headers)?;
    let body = extract::read(&headers, body, app.options.max_predict_bytes, app.options.body_timeout).await?;
    let asked: AttemptBody = extract::json(&body)?;
    let dataset = dataset(&app, asked.training_dataset, asked.rows.is_some()).await?;
    let rows = asked.rows.map(|text| Rows {
        format: DataFormat::Csv,
        content: Bytes::from(text),
    });
    let tried = app
        .services
        .compute
        .try_plugin(Attempt {
            source: asked.source,
            dataset,
            rows,
            parameters: asked.training_parameters,
            seed: asked.seed,
        })
        .await?;
    let mut points = tried.series;
    points.sort_by(|a, b| a.name.cmp(&b.name));
    ok(AttemptResult {
        metrics: tried.metrics,
        series: runs::by_name(points),
        log: tried.log,
        warnings: tried.warnings,
        seconds: tried.seconds,
    })
}

async fn dataset(app: &App, mut given: Map<String, Value>, has_rows: bool) -> Result<TrainingDataset, ApiError> {
    if !has_rows {
        return Ok(submission::any_dataset(&*app.services.store, &Value::Object(given)).await?);
    }
    if given.contains_key("source") {
        let message = "the body: there are rows, and training_dataset has a source as well";
        return Err(ApiError::unprocessable("invalid-body", message).remedy("leave one of them out"));
    }
    // Where the rows come from is known; everything else is said as for a data set that was uploaded.
    given.insert("source".into(), "upload".into());
    given.insert("dataset_id".into(), "rows".into());
    TrainingDataset::parse(&Value::Object(given)).map_err(|error| ApiError::unprocessable("invalid-dataset", error))
}
