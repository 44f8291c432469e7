//! Plugins: uploaded after a worker has inspected them, listed, deleted.

use crate::answer::{Answer, Envelope, Reply, ok};
use crate::app::App;
use crate::auth::{Caller, Reader, Uploader};
use crate::error::ApiError;
use crate::extract::{NoQuery, Query, Segments};
use crate::files::attachment;
use crate::staging::{self, Staged};
use crate::{idempotency, schema};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use trainyard_jobs::{PluginReport, PluginVersion, StoreError};
use trainyard_parameters::quoted;
use utoipa::{IntoParams, ToSchema};

/// Which plugin.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PluginPath {
    /// The plugin's name.
    #[param(example = "dlinear")]
    name: String,
}

/// Which version of which plugin.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct VersionPath {
    /// The plugin's name.
    #[param(example = "dlinear")]
    name: String,
    /// Its version.
    #[param(example = "0.1.0")]
    version: String,
}

/// Which version.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// A version; the newest when it is not said.
    version: Option<String>,
}

/// Types of bodies.
const TYPES: [&str; 3] = ["application/wasm", "text/x-python", "application/zip"];

fn key(digest: &str) -> String {
    format!("plugins/{digest}.wasm")
}

/// Uploads a plugin: its file as the body, or the field `file` of a form.
#[utoipa::path(post, path = "/plugins", tag = "plugins", params(schema::IdempotencyKey),
    request_body(content((Vec<u8> = "application/wasm"), (Vec<u8> = "text/x-python"),
        (Vec<u8> = "application/zip"), (Vec<u8> = "application/octet-stream"),
        (schema::FileForm = "multipart/form-data")), description = "A WebAssembly component, a file of Python source, or a zip of pure Python"),
    responses((status = 200, description = "This very plugin was there", body = Envelope<schema::PluginVersion>),
        (status = 201, description = "The plugin", body = Envelope<schema::PluginVersion>),
        (status = 409, description = "Another plugin has this name and version, or the same request is being answered"),
        (status = 422, description = "It is no plugin that can be used here; the details say why")))]
pub async fn upload(
    State(app): State<Arc<App>>,
    Uploader(caller): Uploader,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    staging::must_be(&headers, &TYPES)?;
    let staged = staging::receive(&app, &headers, body, app.options.max_plugin_bytes).await?;
    app.metrics.count_upload("plugin", staged.size);
    let key = idempotency::key(&headers, &caller)?;
    let fingerprint = idempotency::fingerprint(&[b"POST plugins", staged.digest.as_bytes()]);
    let work = {
        let app = app.clone();
        async move { add(&app, &caller, staged).await.into_response() }
    };
    idempotency::once(app, key, fingerprint, work).await
}

async fn add(app: &App, caller: &Caller, staged: Staged) -> Reply<PluginVersion> {
    let plugin = app.services.compute.inspect_plugin(staged.path.clone()).await?.plugin;
    let store = &app.services.store;
    match store.plugin(&plugin.name, Some(&plugin.version)).await {
        Ok(known) if known.digest == plugin.digest => return ok(known),
        Ok(_) => return Err(version_exists(&plugin)),
        Err(StoreError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    app.services
        .artifacts
        .put_file(&key(&plugin.digest), &staged.path)
        .await?;
    let plugin = store.add_plugin(plugin.clone()).await.map_err(|error| match error {
        StoreError::Conflict(_) => version_exists(&plugin),
        error => error.into(),
    })?;
    let subject = format!("plugin {} {}", plugin.name, plugin.version);
    app.audit(
        caller,
        "upload-plugin",
        subject,
        json!({"digest": plugin.digest, "size": plugin.size}),
    )
    .await;
    Ok(Answer(StatusCode::CREATED, plugin))
}

fn version_exists(plugin: &PluginVersion) -> ApiError {
    let message = format!(
        "there is another plugin {} in version {}",
        quoted(&plugin.name),
        quoted(&plugin.version)
    );
    ApiError::conflict("version-exists", message).remedy("give this one another version; a version never changes")
}

/// What a file would be as a plugin.
#[derive(Serialize, ToSchema)]
pub struct Checked {
    /// What would be stored.
    #[schema(value_type = schema::PluginVersion)]
    plugin: PluginVersion,
    /// Everything that was found, as `trainyard plugin inspect --json` prints it.
    #[schema(value_type = Object)]
    inspection: Value,
    /// Whether it is stored already: `same`, this very file; `other`, another file with this name and version.
    known: Option<&'static str>,
}

/// Inspects a plugin as an upload does, and stores nothing.
#[utoipa::path(post, path = "/plugins/check", tag = "plugins",
    request_body(content((Vec<u8> = "application/wasm"), (Vec<u8> = "text/x-python"),
        (Vec<u8> = "application/zip"), (Vec<u8> = "application/octet-stream"),
        (schema::FileForm = "multipart/form-data")), description = "A WebAssembly component, a file of Python source, or a zip of pure Python"),
    responses((status = 200, description = "It could be uploaded", body = Envelope<Checked>),
        (status = 422, description = "It is no plugin that can be used here; the details say why")))]
pub async fn check(
    State(app): State<Arc<App>>,
    _: Uploader,
    _: NoQuery,
    headers: HeaderMap,
    body: Body,
) -> Reply<Checked> {
    staging::must_be(&headers, &TYPES)?;
    let staged = staging::receive(&app, &headers, body, app.options.max_plugin_bytes).await?;
    let PluginReport { plugin, inspection } = app.services.compute.inspect_plugin(staged.path.clone()).await?;
    let known = match app.services.store.plugin(&plugin.name, Some(&plugin.version)).await {
        Ok(known) if known.digest == plugin.digest => Some("same"),
        Ok(_) => Some("other"),
        Err(StoreError::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    ok(Checked {
        plugin,
        inspection,
        known,
    })
}

/// Downloads the file of a version of a plugin.
#[utoipa::path(get, path = "/plugins/{name}/versions/{version}/file", tag = "plugins", params(VersionPath),
    responses((status = 200, description = "As it was uploaded", content(
        (Vec<u8> = "application/wasm"), (String = "text/x-python"), (Vec<u8> = "application/zip")))))]
pub async fn file(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<VersionPath>,
    _: NoQuery,
) -> Result<Response, ApiError> {
    let plugin = app.services.store.plugin(&path.name, Some(&path.version)).await?;
    let (size, mut content) = app.services.artifacts.stream(&key(&plugin.digest)).await?;
    // Told by the first bytes, as they were when it came.
    let first = content.next().await.transpose()?.unwrap_or_default();
    let (ending, kind) = match first.get(..4) {
        Some(b"\0asm") => ("wasm", TYPES[0]),
        Some(b"PK\x03\x04") => ("zip", TYPES[2]),
        _ => ("py", "text/x-python; charset=utf-8"),
    };
    let body = Body::from_stream(stream::once(async { Ok(first) }).chain(content));
    let name = format!("{}-{}.{ending}", plugin.name, plugin.version);
    Ok(attachment(body, size, kind, &name))
}

/// Lists the newest version of each plugin.
#[utoipa::path(get, path = "/plugins", tag = "plugins",
    responses((status = 200, description = "All plugins, by name", body = Envelope<schema::All<schema::PluginVersion>>)))]
pub async fn list(State(app): State<Arc<App>>, _: Reader, _: NoQuery) -> Reply<Value> {
    ok(json!({"items": app.services.store.plugins().await?}))
}

/// Reads the newest version of a plugin.
#[utoipa::path(get, path = "/plugins/{name}", tag = "plugins", params(PluginPath),
    responses((status = 200, description = "The plugin", body = Envelope<schema::PluginVersion>)))]
pub async fn read(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<PluginPath>,
    _: NoQuery,
) -> Reply<PluginVersion> {
    ok(app.services.store.plugin(&path.name, None).await?)
}

/// Lists the versions of a plugin, newest first.
#[utoipa::path(get, path = "/plugins/{name}/versions", tag = "plugins", params(PluginPath),
    responses((status = 200, description = "Its versions", body = Envelope<schema::All<schema::PluginVersion>>)))]
pub async fn versions(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<PluginPath>,
    _: NoQuery,
) -> Reply<Value> {
    let versions = app.services.store.plugin_versions(&path.name).await?;
    if versions.is_empty() {
        return Err(ApiError::not_found("plugin", &path.name));
    }
    ok(json!({"items": versions}))
}

/// Reads a version of a plugin.
#[utoipa::path(get, path = "/plugins/{name}/versions/{version}", tag = "plugins", params(VersionPath),
    responses((status = 200, description = "The plugin", body = Envelope<schema::PluginVersion>)))]
pub async fn version(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<VersionPath>,
    _: NoQuery,
) -> Reply<PluginVersion> {
    ok(app.services.store.plugin(&path.name, Some(&path.version)).await?)
}

/// Reads the JSON Schema of a plugin's parameters.
#[utoipa::path(get, path = "/plugins/{name}/schema", tag = "plugins", params(PluginPath, VersionQuery),
    responses((status = 200, description = "A JSON Schema (2020-12) of one object", body = Envelope<schema::JsonSchema>)))]
pub async fn parameters(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<PluginPath>,
    Query(query): Query<VersionQuery>,
) -> Reply<Value> {
    ok(app
        .services
        .store
        .plugin(&path.name, query.version.as_deref())
        .await?
        .parameters)
}

/// Deletes a version of a plugin; not while a model uses it.
#[utoipa::path(delete, path = "/plugins/{name}/versions/{version}", tag = "plugins", params(VersionPath),
    responses((status = 200, description = "What was deleted", body = Envelope<schema::PluginVersion>),
        (status = 409, description = "A model or a run uses it")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Uploader(caller): Uploader,
    Segments(path): Segments<VersionPath>,
    _: NoQuery,
) -> Reply<PluginVersion> {
    let store = &app.services.store;
    let plugin = store.delete_plugin(&path.name, &path.version).await.map_err(in_use)?;
    let subject = format!("plugin {} {}", plugin.name, plugin.version);
    app.audit(&caller, "delete-plugin", subject, json!({"digest": plugin.digest}))
        .await;
    // Two versions may have the same content.
    if !store.has_plugin_digest(&plugin.digest).await?
        && let Err(error) = app.services.artifacts.delete(&key(&plugin.digest)).await
    {
        tracing::warn!(%error, plugin = %plugin.name, "the file of a deleted plugin is left behind");
    }
    ok(plugin)
}

/// What is used by something cannot be deleted.
pub fn in_use(error: StoreError) -> ApiError {
    match error {
        StoreError::Conflict(message) => ApiError::conflict("in-use", message),
        error => error.into(),
    }
}
