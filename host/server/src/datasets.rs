//! Data sets: files that are uploaded after a worker has read them.

use crate::answer::{Answer, Envelope, Reply, ok};
use crate::app::App;
use crate::auth::{Caller, Reader, Submitter, Uploader};
use crate::error::ApiError;
use crate::extract::{Json, NoQuery, Query, Segments, content_type, unsupported};
use crate::plugins::in_use;
use crate::staging::{self, Staged};
use crate::{idempotency, paging, schema};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use trainyard_data::DataFormat;
use trainyard_jobs::submission;
use trainyard_jobs::{DataReport, Page, StoredDataset};
use trainyard_parameters::quoted;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Types of bodies, each with its format.
const TYPES: [(&str, DataFormat); 7] = [
    ("text/csv", DataFormat::Csv),
    ("text/tab-separated-values", DataFormat::Tsv),
    ("application/vnd.apache.parquet", DataFormat::Parquet),
    ("application/parquet", DataFormat::Parquet),
    ("application/vnd.apache.arrow.stream", DataFormat::Arrow),
    ("application/vnd.apache.arrow.file", DataFormat::Arrow),
    ("application/json", DataFormat::Json),
];

/// The format of a body's type.
pub fn format_of_type(content_type: &str) -> Option<DataFormat> {
    TYPES
        .iter()
        .find(|(name, _)| *name == content_type)
        .map(|(_, format)| *format)
}

/// Which data set.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct DatasetPath {
    /// The data set's id, a UUID.
    #[param(example = "4f4c5c0e-7f1c-4b3b-9a53-9b8a3c1f5d2e")]
    id: String,
}

/// What an upload is called.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UploadQuery {
    /// The file's name. Its ending says how it is written; without one, the `Content-Type` does.
    #[param(min_length = 1, max_length = 200, example = "pump3.csv")]
    name: Option<String>,
}

/// Which data sets.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DatasetQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// So many at most; 50 when it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Uploads a data set: the file as the body, or the field `file` of a form.
#[utoipa::path(post, path = "/datasets", tag = "datasets", params(UploadQuery, schema::IdempotencyKey),
    request_body(content((String = "text/csv"), (String = "text/tab-separated-values"),
        (Vec<u8> = "application/vnd.apache.parquet"), (Vec<u8> = "application/vnd.apache.arrow.stream"),
        (Vec<schema::Row> = "application/json"), (Vec<u8> = "application/octet-stream"),
        (schema::FileForm = "multipart/form-data")), description = "A table: CSV, TSV, Parquet, Arrow IPC or JSON rows"),
    responses((status = 201, description = "The data set", body = Envelope<schema::StoredDataset>),
        (status = 409, description = "The same request is being answered"),
        (status = 422, description = "It cannot be read as a table; the message says where")))]
pub async fn upload(
    State(app): State<Arc<App>>,
    Uploader(caller): Uploader,
    Query(query): Query<UploadQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    if let Some(name) = &query.name {
        valid_name(name)?;
    }
    // Told before the whole file is sent, where it can be known.
    let is_form = content_type(&headers).as_deref() == Some("multipart/form-data");
    if !is_form {
        format(query.name.as_deref(), content_type(&headers).as_deref())?;
    }
    let staged = staging::receive(&app, &headers, body, app.options.max_dataset_bytes).await?;
    app.metrics.count_upload("dataset", staged.size);
    let name = query.name.or(staged.name.clone());
    let format = format(name.as_deref(), staged.content_type.as_deref())?;
    let name = name.unwrap_or_else(|| format!("data.{format}"));
    valid_name(&name)?;
    let key = idempotency::key(&headers, &caller)?;
    let what = [
        b"POST datasets".as_slice(),
        name.as_bytes(),
        format.as_str().as_bytes(),
        staged.digest.as_bytes(),
    ];
    let fingerprint = idempotency::fingerprint(&what);
    let work = {
        let app = app.clone();
        async move { add(&app, &caller, staged, name, format).await.into_response() }
    };
    idempotency::once(app, key, fingerprint, work).await
}

async fn add(app: &App, caller: &Caller, staged: Staged, name: String, format: DataFormat) -> Reply<StoredDataset> {
    let report = app
        .services
        .compute
        .inspect_data(staged.path.clone(), &name, format)
        .await?;
    let dataset = StoredDataset {
        id: Uuid::new_v4().to_string(),
        name,
        format,
        size: staged.size,
        digest: staged.digest.clone(),
        rows: report.rows,
        report: serde_json::to_value(&report).map_err(ApiError::internal)?,
        created_at: chrono::Utc::now(),
    };
    app.services.artifacts.put_file(&dataset.key(), &staged.path).await?;
    let key = dataset.key();
    let dataset = match app.services.store.add_dataset(dataset).await {
        Ok(dataset) => dataset,
        Err(error) => {
            // With no row, nobody would ever find the file.
            let _ = app.services.artifacts.delete(&key).await;
            return Err(error.into());
        }
    };
    let details = json!({"name": dataset.name, "rows": dataset.rows, "digest": dataset.digest});
    app.audit(caller, "upload-dataset", format!("dataset {}", dataset.id), details)
        .await;
    Ok(Answer(StatusCode::CREATED, dataset))
}

fn valid_name(name: &str) -> Result<(), ApiError> {
    let length = name.chars().count();
    if name.trim().is_empty() || length > 200 || name.chars().any(char::is_control) {
        let message = format!("the name has {length} characters; it has 1 to 200 of them, and no control characters");
        return Err(ApiError::unprocessable("invalid-name", message));
    }
    Ok(())
}

/// How a file is written: by its name's ending, or else by its type.
fn format(name: Option<&str>, content_type: Option<&str>) -> Result<DataFormat, ApiError> {
    if let Some(format) = name
        .and_then(DataFormat::of_name)
        .or_else(|| content_type.and_then(format_of_type))
    {
        return Ok(format);
    }
    let remedy = "let ?name= end in .csv, .tsv, .parquet, .arrow or .json, or send the Content-Type of the format";
    Err(match (name, content_type) {
        (_, None | Some("application/octet-stream" | "application/x-www-form-urlencoded")) => {
            let name = name.map(|name| format!(" {}", quoted(name))).unwrap_or_default();
            ApiError::unprocessable(
                "unknown-format",
                format!("it cannot be told how the file{name} is written"),
            )
        }
        (_, Some(given)) => unsupported(given, "text/csv"),
    }
    .remedy(remedy))
}

/// Lists data sets, newest first.
#[utoipa::path(get, path = "/datasets", tag = "datasets", params(DatasetQuery),
    responses((status = 200, description = "A page of data sets",
        body = Envelope<schema::Page<schema::StoredDataset>>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Reader,
    Query(query): Query<DatasetQuery>,
) -> Reply<Page<StoredDataset>> {
    paging::cursor::<u64>(query.cursor.as_deref())?;
    ok(app
        .services
        .store
        .datasets(query.cursor.as_deref(), paging::limit(query.limit)?)
        .await?)
}

/// Reads what is known of a data set.
#[utoipa::path(get, path = "/datasets/{id}", tag = "datasets", params(DatasetPath),
    responses((status = 200, description = "The data set", body = Envelope<schema::StoredDataset>)))]
pub async fn read(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<DatasetPath>,
    _: NoQuery,
) -> Reply<StoredDataset> {
    ok(app.services.store.dataset(&path.id).await?)
}

/// Reads the first rows of a data set, and what its columns are.
#[utoipa::path(get, path = "/datasets/{id}/preview", tag = "datasets", params(DatasetPath),
    responses((status = 200, description = "The report of the upload", body = Envelope<schema::DataReport>)))]
pub async fn preview(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<DatasetPath>,
    _: NoQuery,
) -> Reply<Value> {
    ok(app.services.store.dataset(&path.id).await?.report)
}

/// What to look at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewBody {
    /// A data set, in the form of `training_dataset`.
    #[schema(value_type = schema::TrainingDataset)]
    dataset: Value,
}

/// Reads the rows of a data set as a training would, up to a million of each device from a database, and says what they
/// are.
#[utoipa::path(post, path = "/datasets/preview", tag = "datasets",
    request_body(content = PreviewBody, examples(
        ("device" = (summary = "A month of a device", value = json!({
            "dataset": {"device_id": "machine-7", "start_time": "2024-01-01", "end_time": "2024-02-01"}
        }))),
        ("site" = (summary = "All devices of a site, a row every ten minutes", value = json!({
            "dataset": {"source": "tdengine", "database": "plant", "table": "meters", "tags": {"site": "berlin"},
                "start_time": "-30d", "interval": "10m"}
        }))))),
    responses((status = 200, description = "What the rows are", body = Envelope<schema::DataReport>),
        (status = 409, description = "There is no TDengine server that can be used"),
        (status = 502, description = "TDengine cannot be reached, or fails"),
        (status = 504, description = "TDengine does not answer in time")))]
pub async fn look(
    State(app): State<Arc<App>>,
    _: Submitter,
    _: NoQuery,
    Json(body): Json<PreviewBody>,
) -> Reply<DataReport> {
    let dataset = submission::any_dataset(&*app.services.store, &body.dataset).await?;
    ok(app.services.compute.preview(dataset).await?)
}

/// Deletes a data set; not while a model or a run uses it.
#[utoipa::path(delete, path = "/datasets/{id}", tag = "datasets", params(DatasetPath),
    responses((status = 200, description = "What was deleted", body = Envelope<schema::StoredDataset>),
        (status = 409, description = "A model or a run uses it")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Uploader(caller): Uploader,
    Segments(path): Segments<DatasetPath>,
    _: NoQuery,
) -> Reply<StoredDataset> {
    let dataset = app.services.store.delete_dataset(&path.id).await.map_err(in_use)?;
    app.audit(
        &caller,
        "delete-dataset",
        format!("dataset {}", dataset.id),
        json!({"name": dataset.name}),
    )
    .await;
    if let Err(error) = app.services.artifacts.delete(&dataset.key()).await {
        tracing::warn!(%error, dataset = %dataset.id, "the file of a deleted data set is left behind");
    }
    ok(dataset)
}
