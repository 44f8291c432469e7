//! Predicting with a result, and judging it on other rows. A worker does both, in a process of its own.

use crate::answer::{Answer, Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Submitter;
use crate::error::ApiError;
use crate::extract::{self, NoQuery, OptionalJson, Query, Segments, content_type};
use crate::models::ModelPath;
use crate::{checks, datasets, schema};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use trainyard_data::DataFormat;
use trainyard_jobs::{Prediction, Rows};
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

/// Rows in an object.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RowsBody<'a> {
    /// The rows.
    #[serde(borrow)]
    #[schema(value_type = Vec<schema::Row>)]
    rows: &'a RawValue,
}

/// Either form of rows.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only described, never made")]
enum RowsForm {
    Alone(Vec<schema::Row>),
    InObject { rows: Vec<schema::Row> },
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

/// Predicts for rows.
#[utoipa::path(post, path = "/models/{id}/predict", tag = "results", params(ModelPath, PredictQuery),
    request_body(content((RowsForm = "application/json"), (String = "text/csv"),
        (Vec<u8> = "application/vnd.apache.arrow.stream"), (Vec<u8> = "application/vnd.apache.parquet")),
        description = "Rows with the columns that the model learned from"),
    responses((status = 200, description = "The prediction", content(
            (Envelope<Predicted> = "application/json"), (String = "text/csv"))),
        (status = 409, description = "There is no result yet")))]
pub async fn predict(
    State(app): State<Arc<App>>,
    _: Submitter,
    Segments(path): Segments<ModelPath>,
    Query(query): Query<PredictQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let given = content_type(&headers).unwrap_or_else(|| "not said".into());
    let format = datasets::format_of_type(&given).ok_or_else(|| extract::unsupported(&given, TYPES))?;
    let model = app.services.store.model(path.id).await?;
    let run = app.trained_run(&model, query.run.as_deref()).await?;
    let compute = app.compute()?;
    let body = extract::read(&headers, body, app.options.max_predict_bytes, app.options.body_timeout).await?;
    let content = if format == DataFormat::Json {
        json_rows(body)?
    } else {
        body
    };
    if content.is_empty() {
        return Err(ApiError::unprocessable("no-rows", "there are no rows to predict for"));
    }
    let prediction = compute
        .predict(&run, Rows { format, content }, query.rolling.unwrap_or(false))
        .await?;
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
        (status = 409, description = "There is no result yet")))]
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
        Some(given) => Some(checks::any_dataset(&app, given).await?),
        None => None,
    };
    let evaluation = app.compute()?.evaluate(&run, dataset).await?;
    ok(Evaluated {
        metrics: evaluation.metrics,
        warnings: evaluation.warnings,
    })
}

/// The array of rows in a JSON body, as it stands. It is only looked over: a worker reads it.
fn json_rows(body: Bytes) -> Result<Bytes, ApiError> {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let rows = if first == Some(&b'{') {
        let inner: RowsBody<'_> = extract::json(&body)?;
        body.slice_ref(inner.rows.get().as_bytes())
    } else {
        body.clone()
    };
    let Objects = extract::json(&rows)?;
    Ok(rows)
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
