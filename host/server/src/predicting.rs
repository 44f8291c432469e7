//! Predicting with a result, and judging it on other rows. A worker does both, in a process of its own.

use crate::answer::{Answer, Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Submitter;
use crate::error::ApiError;
use crate::extract::{self, NoQuery, OptionalJson, Query, Segments, content_type};
use crate::models::ModelPath;
use crate::{datasets, schema};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;
use trainyard_data::DataFormat;
use trainyard_data::tdengine::Sink;
use trainyard_jobs::submission;
use trainyard_jobs::{PredictInput, PredictOptions, Prediction, Rows};
use utoipa::{IntoParams, ToSchema};

const TYPES: &str = "application/json, text/csv, application/vnd.apache.arrow.stream or application/vnd.apache.parquet";

/// How to predict.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PredictQuery {
    /// Forecasts from every window that the rows have, not from the last one alone.
    rolling: Option<bool>,
    /// A run that is TRAINED; the model's newest when it is not said.
    run: Option<String>,
}

/// A body that says more than rows.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct PredictBody<'a> {
    /// The rows; or else there is a `dataset`.
    #[serde(borrow)]
    #[schema(value_type = Vec<schema::Row>, required = false)]
    rows: Option<&'a RawValue>,
    /// Where rows come from, in the form of `training_dataset`: all else in it is the model's own already.
    #[schema(value_type = schema::TrainingDataset, required = false)]
    dataset: Option<Value>,
    /// Where the prediction is written, too. It needs no other right than predicting does: what may be written where, the
    /// operator's TDengine user decides.
    #[schema(value_type = Option<schema::Sink>)]
    sink: Option<Sink>,
    /// Adds a column `anomaly_score` to forecasts of the past: how far the values that came are from those that were
    /// predicted, in standard deviations of the training rows. Needs `rolling`, which a `dataset` is then without saying so.
    #[schema(required = false, default = false)]
    score: bool,
}

/// Either form of what to predict for.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only described, never made")]
enum PredictForm<'a> {
    /// Rows alone.
    Alone(Vec<schema::Row>),
    /// Rows or a data set, and what becomes of the prediction.
    InObject(PredictBody<'a>),
}

/// Predicted values.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described, never made")]
pub struct Predicted {
    /// `forecast` (with several windows), the time column or `row`, then the targets, or the class and a `p(class)` each.
    columns: Vec<String>,
    /// In the order of the columns.
    rows: Vec<Vec<Value>>,
    /// What may be wrong.
    warnings: Vec<String>,
    /// Rows that were written to the sink, where there is one.
    #[schema(required = false)]
    written: u64,
}

/// What to judge on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateBody {
    /// A data set, in the form of `training_dataset`; the run's own when it is absent. Its test rows count.
    #[schema(value_type = Option<schema::TrainingDataset>)]
    dataset: Option<Value>,
    /// A run that is TRAINED; the model's newest when it is absent.
    run: Option<String>,
}

/// Figures of a result on some rows.
#[derive(Serialize, ToSchema)]
pub struct Evaluated {
    /// By name.
    metrics: Map<String, Value>,
    /// What may be wrong.
    warnings: Vec<String>,
}

/// Predicts for rows that are sent, or for those of a data set.
#[utoipa::path(post, path = "/models/{id}/predict", tag = "results", params(ModelPath, PredictQuery),
    request_body(content(
        (PredictForm<'_> = "application/json", examples(
            ("rows" = (summary = "Rows that are sent", value = json!([{"ts": "2024-05-01 00:00:00", "value": 1.5}]))),
            ("device" = (summary = "The next hours of a device",
                value = json!({"dataset": {"device_id": "machine-7", "start_time": "-7d"}}))),
            ("scores" = (summary = "Anomaly scores of a month, written back",
                value = json!({
                    "dataset": {"device_id": "machine-7", "start_time": "2024-01-01", "end_time": "2024-02-01"},
                    "score": true, "sink": {"database": "plant", "table": "anomalies"}
                }))),
        )),
        (String = "text/csv"), (Vec<u8> = "application/vnd.apache.arrow.stream"),
        (Vec<u8> = "application/vnd.apache.parquet")),
        description = "Rows with the columns that the model learned from, or where they are"),
    responses((status = 200, description = "The prediction", content(
            (Envelope<Predicted> = "application/json"), (String = "text/csv"))),
        (status = 409, description = "There is no result yet, or no TDengine server that can be used"),
        (status = 502, description = "TDengine cannot be reached, or fails"),
        (status = 504, description = "TDengine does not answer in time")))]
pub async fn predict(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<ModelPath>,
    Query(query): Query<PredictQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let given = content_type(&headers).unwrap_or_else(|| "not said".into());
    let format = datasets::format_of_type(&given).ok_or_else(|| extract::unsupported(&given, TYPES))?;
    let model = app.services.store.model(path.id).await?;
    let run = app.trained_run(&model, query.run.as_deref()).await?;
    let compute = &app.services.compute;
    let body = extract::read(&headers, body, app.options.max_predict_bytes, app.options.body_timeout).await?;
    let (input, mut options) = match format {
        DataFormat::Json => asked(&app, &body).await?,
        format => (rows(format, body)?, PredictOptions::default()),
    };
    let from_dataset = matches!(input, PredictInput::Dataset(_));
    options.rolling = query.rolling.unwrap_or(options.score && from_dataset);
    if options.score && !options.rolling {
        let message =
            "a score says how far off forecasts of the past were, and the last forecast is of what has not come";
        return Err(
            ApiError::unprocessable("score-needs-rolling", message).remedy("add ?rolling=true, or leave out score")
        );
    }
    let sink = options.sink.clone();
    let prediction = compute.predict(&run, input, options).await?;
    if let (Some(sink), Some(written)) = (sink, prediction.written) {
        let details = json!({"run": run.id, "sink": sink, "rows": written});
        app.audit(&caller, "write-prediction", format!("model {}", model.id), details)
            .await;
    }
    let accepts = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if accepts
        .split(',')
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "text/csv"))
    {
        return csv(&prediction);
    }
    Ok(Answer(StatusCode::OK, prediction).into_response())
}

/// Judges a result on rows that it did not learn from.
#[utoipa::path(post, path = "/models/{id}/evaluate", tag = "results", params(ModelPath),
    request_body = Option<EvaluateBody>,
    responses((status = 200, description = "The figures", body = Envelope<Evaluated>),
        (status = 409, description = "There is no result yet, or no TDengine server that can be used"),
        (status = 502, description = "TDengine cannot be reached, or fails"),
        (status = 504, description = "TDengine does not answer in time")))]
pub async fn evaluate(
    State(app): State<Arc<App>>,
    _: Submitter,
    Segments(path): Segments<ModelPath>,
    _: NoQuery,
    OptionalJson(body): OptionalJson<EvaluateBody>,
) -> Reply<Evaluated> {
    let model = app.services.store.model(path.id).await?;
    let run = app.trained_run(&model, body.run.as_deref()).await?;
    let dataset = match &body.dataset {
        Some(given) => Some(submission::any_dataset(&*app.services.store, given).await?),
        None => None,
    };
    let evaluation = app.services.compute.evaluate(&run, dataset).await?;
    ok(Evaluated {
        metrics: evaluation.metrics,
        warnings: evaluation.warnings,
    })
}

/// What a JSON body asks for.
async fn asked(app: &App, body: &Bytes) -> Result<(PredictInput, PredictOptions), ApiError> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Ok((json_rows(body.clone())?, PredictOptions::default()));
    }
    let object: PredictBody<'_> = extract::json(body)?;
    let input = match (object.rows, &object.dataset) {
        (Some(rows), None) => json_rows(body.slice_ref(rows.get().as_bytes()))?,
        (None, Some(dataset)) => PredictInput::Dataset(submission::any_dataset(&*app.services.store, dataset).await?),
        (given, _) => {
            let many = if given.is_some() { "both" } else { "neither" };
            return Err(ApiError::unprocessable(
                "invalid-body",
                format!("the body: it needs rows or a dataset, and has {many}"),
            )
            .remedy("send {\"rows\":[…]} or {\"dataset\":{…}}"));
        }
    };
    if let Some(sink) = &object.sink {
        submission::sink(sink)?;
    }
    let options = PredictOptions {
        rolling: false,
        score: object.score,
        sink: object.sink,
    };
    Ok((input, options))
}

/// The rows of a JSON array, as it stands. It is only looked over: a worker reads it.
fn json_rows(array: Bytes) -> Result<PredictInput, ApiError> {
    let Objects = extract::json(&array)?;
    rows(DataFormat::Json, array)
}

fn rows(format: DataFormat, content: Bytes) -> Result<PredictInput, ApiError> {
    if content.is_empty() {
        return Err(ApiError::unprocessable("no-rows", "there are no rows to predict for"));
    }
    Ok(PredictInput::Rows(Rows { format, content }))
}

/// An array of objects, of which nothing is kept.
struct Objects;

impl<'de> Deserialize<'de> for Objects {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AnArray)
    }
}

struct AnArray;

impl<'de> Visitor<'de> for AnArray {
    type Value = Objects;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows, each an object of column and value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Objects, A::Error> {
        while rows.next_element::<AnObject>()?.is_some() {}
        Ok(Objects)
    }
}

struct AnObject;

impl<'de> Deserialize<'de> for AnObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnObject)
    }
}

impl<'de> Visitor<'de> for AnObject {
    type Value = AnObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row: an object of column and value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut cells: A) -> Result<AnObject, A::Error> {
        while cells.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(AnObject)
    }
}

fn csv(prediction: &Prediction) -> Result<Response, ApiError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&prediction.columns).map_err(ApiError::internal)?;
    for row in &prediction.rows {
        let cells = row.iter().map(|cell| match cell {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        writer.write_record(cells).map_err(ApiError::internal)?;
    }
    let text = writer.into_inner().map_err(ApiError::internal)?;
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
