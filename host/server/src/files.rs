//! The files of a run's result: one of them, or all in a tar archive. Both are streamed, however large.

use crate::app::App;
use crate::auth::Reader;
use crate::error::ApiError;
use crate::extract::{Query, Segments};
use crate::models::ModelPath;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tar::{EntryType, Header};
use trainyard_jobs::{ArtifactError, Artifacts, StoredObject};
use utoipa::IntoParams;

/// How long an address is good to which a client is sent.
const LINKED: Duration = Duration::from_secs(300);
/// What a tar archive is made of.
const BLOCK: u64 = 512;

/// Which file.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FileQuery {
    /// A run; the one that the model predicts with when it is not said.
    run: Option<String>,
    /// A file of the result; all of them as a tar archive when it is not said.
    #[param(example = "model.safetensors")]
    file: Option<String>,
}

/// Downloads a result.
#[utoipa::path(get, path = "/models/{id}/artifact", tag = "results", params(ModelPath, FileQuery),
    responses((status = 200, description = "A tar archive, or the file", content(
            (Vec<u8> = "application/x-tar"), (Vec<u8> = "application/octet-stream"),
            (String = "application/json"))),
        (status = 307, description = "The file is to be fetched from the bucket itself, where the operator has it so"),
        (status = 409, description = "There is no result yet")))]
pub async fn download(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<ModelPath>,
    Query(query): Query<FileQuery>,
) -> Result<Response, ApiError> {
    let model = app.services.store.model(path.id).await?;
    let run = app.trained_run(&model, query.run.as_deref()).await?;
    let prefix = run
        .file_path
        .ok_or_else(|| ApiError::not_found("result of run", &run.id))?;
    // A file is looked for among those that there are: a name can be no way to anything else.
    let files = app.services.artifacts.list(&prefix).await?;
    let files: Vec<(String, StoredObject)> = files
        .into_iter()
        .filter_map(|file| Some((file.key.strip_prefix(&prefix)?.strip_prefix('/')?.to_owned(), file)))
        .collect();
    match query.file {
        Some(wanted) => {
            let (name, file) = files
                .iter()
                .find(|(name, _)| *name == wanted)
                .ok_or_else(|| missing(&wanted, &files))?;
            if let Some(address) = app.services.artifacts.link(&file.key, LINKED).await? {
                return redirect(&address);
            }
            let (size, content) = app.services.artifacts.stream(&file.key).await?;
            let kind = if name.ends_with(".json") {
                "application/json"
            } else {
                "application/octet-stream"
            };
            let last = name.rsplit('/').next().unwrap_or(name);
            Ok(attachment(Body::from_stream(content), size, kind, last))
        }
        None if files.is_empty() => Err(ApiError::not_found("result of run", &run.id)),
        None => {
            let size = files
                .iter()
                .map(|(_, file)| BLOCK + file.size.next_multiple_of(BLOCK))
                .sum::<u64>()
                + 2 * BLOCK;
            let name = format!("model-{}-{}.tar", model.id, run.id);
            Ok(attachment(
                archive(app.services.artifacts.clone(), files)?,
                size,
                "application/x-tar",
                &name,
            ))
        }
    }
}

/// Sends a client elsewhere, once: the address is not good for long.
fn redirect(address: &str) -> Result<Response, ApiError> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    let location = HeaderValue::from_str(address).map_err(ApiError::internal)?;
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn missing(wanted: &str, files: &[(String, StoredObject)]) -> ApiError {
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    ApiError::not_found("file", wanted).remedy(format!("there are {}", names.join(", ")))
}

/// A file to keep.
pub fn attachment(body: Body, size: u64, content_type: &'static str, name: &str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    // Whatever the name is, it can end neither the quotes nor the header.
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    response
}

/// A tar archive, made while it is read.
fn archive(artifacts: Arc<dyn Artifacts>, files: Vec<(String, StoredObject)>) -> Result<Body, ApiError> {
    let mut parts = Vec::with_capacity(files.len());
    for (name, file) in files {
        parts.push((head(&name, file.size).map_err(ApiError::internal)?, file));
    }
    let files = stream::iter(parts).flat_map(move |(head, file)| {
        let artifacts = artifacts.clone();
        let content = stream::once(async move { content(&*artifacts, file).await }).flat_map(|content| match content {
            Ok(content) => content,
            Err(error) => stream::iter([Err(error)]).boxed(),
        });
        stream::iter([Ok(head)]).chain(content)
    });
    let end = stream::iter([Ok(zeros(2 * BLOCK))]);
    Ok(Body::from_stream(files.chain(end)))
}

async fn content(
    artifacts: &dyn Artifacts,
    file: StoredObject,
) -> Result<stream::BoxStream<'static, Result<Bytes, ArtifactError>>, ArtifactError> {
    let (size, content) = artifacts.stream(&file.key).await?;
    if size != file.size {
        // The head with its size is sent already. An archive that breaks off is better than a wrong one.
        return Err(ArtifactError::Source(format!(
            "{}: it changed while it was read",
            file.key
        )));
    }
    let padding = size.next_multiple_of(BLOCK) - size;
    Ok(content.chain(stream::iter([Ok(zeros(padding))])).boxed())
}

fn head(name: &str, size: u64) -> io::Result<Bytes> {
    let mut head = Header::new_ustar();
    head.set_path(name)?;
    head.set_size(size);
    head.set_mode(0o644);
    head.set_entry_type(EntryType::Regular);
    head.set_cksum();
    Ok(Bytes::copy_from_slice(head.as_bytes()))
}

fn zeros(count: u64) -> Bytes {
    const ZEROS: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];
    Bytes::from_static(&ZEROS).slice(..count as usize)
}
