//! Models: made, listed, read, changed, deleted.

use crate::answer::{Envelope, Reply, created, ok};
use crate::app::App;
use crate::auth::{Reader, Submitter};
use crate::error::ApiError;
use crate::extract::{Json, NoQuery, Query, Segments};
use crate::{paging, schema};
use axum::extract::State;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use trainyard_jobs::submission;
use trainyard_jobs::{Model, ModelFilter, ModelPatch, ModelStatus, NewModel, Page};
use trainyard_parameters::quoted;
use utoipa::{IntoParams, ToSchema};

/// Which model.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ModelPath {
    /// The model's number.
    #[param(minimum = 1, example = 1)]
    pub id: i64,
}

/// What a new model is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewModelBody {
    /// What its owner calls it.
    #[schema(min_length = 1, max_length = 200, example = "pump 3, next day")]
    name: String,
    /// The plugin's name.
    #[schema(example = "dlinear")]
    plugin: String,
    /// A version of the plugin; absent: the newest at each submit.
    plugin_version: Option<String>,
    /// Free text.
    #[schema(max_length = 10000)]
    description: Option<String>,
    /// What a training learns from when it does not say: a data set, or a text with its JSON.
    #[schema(value_type = Option<schema::TrainingDataset>)]
    training_dataset: Option<Value>,
    /// Parameters that a training begins with; those of the submit go over them.
    training_parameters: Option<Map<String, Value>>,
}

/// What is to change; what is absent stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPatchBody {
    /// Another name.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200)]
    name: Option<Option<String>>,
    /// Another plugin.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = String, required = false)]
    plugin: Option<Option<String>>,
    /// Another version; null: the newest at each submit.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    plugin_version: Option<Option<String>>,
    /// Another text; null: none.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>, max_length = 10000)]
    description: Option<Option<String>>,
    /// Another data set; null: none.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<schema::TrainingDataset>)]
    training_dataset: Option<Option<Value>>,
    /// Other parameters, in place of all that were there; null: none.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<Object>)]
    training_parameters: Option<Option<Map<String, Value>>>,
}

/// Which models.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ModelQuery {
    /// Only those in one of these statuses, with commas between.
    #[param(example = "PENDING,TRAINING")]
    status: Option<String>,
    /// Only those whose name contains this, whatever the case.
    name: Option<String>,
    /// Only those of this plugin.
    plugin: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// So many at most; 50 when it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Makes a model, in DRAFT.
#[utoipa::path(post, path = "/models", tag = "models", request_body = NewModelBody, params(schema::IdempotencyKey),
    responses((status = 201, description = "The model", body = Envelope<schema::Model>),
        (status = 409, description = "The same request is being answered")))]
pub async fn create(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    _: NoQuery,
    Json(body): Json<NewModelBody>,
) -> Reply<Model> {
    let plugin = submission::plugin(&*app.services.store, &body.plugin, body.plugin_version.as_deref()).await?;
    let parameters = body.training_parameters.unwrap_or_default();
    submission::given_parameters(&plugin, &parameters)?;
    let model = NewModel {
        name: valid_name(body.name)?,
        description: valid_description(body.description)?,
        training_dataset: default_dataset(&app, body.training_dataset.as_ref(), &plugin).await?,
        training_parameters: Value::Object(parameters),
        plugin: body.plugin,
        plugin_version: body.plugin_version,
    };
    let model = app.services.store.create_model(model).await?;
    let details = json!({"name": model.name, "plugin": model.plugin});
    app.audit(&caller, "create-model", format!("model {}", model.id), details)
        .await;
    created(model)
}

/// Lists models, newest first.
#[utoipa::path(get, path = "/models", tag = "models", params(ModelQuery),
    responses((status = 200, description = "A page of models", body = Envelope<schema::Page<schema::Model>>)))]
pub async fn list(State(app): State<Arc<App>>, _: Reader, Query(query): Query<ModelQuery>) -> Reply<Page<Model>> {
    let mut status = Vec::new();
    for name in query
        .status
        .iter()
        .flat_map(|list| list.split(','))
        .filter(|name| !name.is_empty())
    {
        status.push(ModelStatus::parse(name).ok_or_else(|| {
            let all: Vec<&str> = ModelStatus::ALL.iter().map(|status| status.as_str()).collect();
            let message = format!("the query: {} is no status; they are {}", quoted(name), all.join(", "));
            ApiError::bad_request("bad-query", message)
        })?);
    }
    let filter = ModelFilter {
        status,
        name: query.name,
        plugin: query.plugin,
        before: paging::cursor(query.cursor.as_deref())?,
        limit: paging::limit(query.limit)?,
    };
    ok(app.services.store.models(&filter).await?)
}

/// Reads a model: its status, progress and result.
#[utoipa::path(get, path = "/models/{id}", tag = "models", params(ModelPath),
    responses((status = 200, description = "The model", body = Envelope<schema::Model>)))]
pub async fn read(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<ModelPath>,
    _: NoQuery,
) -> Reply<Model> {
    ok(app.services.store.model(path.id).await?)
}

/// Changes a model; not while it is trained.
#[utoipa::path(patch, path = "/models/{id}", tag = "models", params(ModelPath), request_body = ModelPatchBody,
    responses((status = 200, description = "The model as it is now", body = Envelope<schema::Model>),
        (status = 409, description = "A run is under way")))]
pub async fn update(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<ModelPath>,
    _: NoQuery,
    Json(body): Json<ModelPatchBody>,
) -> Reply<Model> {
    let model = app.services.store.model(path.id).await?;
    let mut changed = Vec::new();
    let mut patch = ModelPatch::default();
    if let Some(name) = body.name {
        changed.push("name");
        patch.name = Some(valid_name(not_null("name", name)?)?);
    }
    if let Some(description) = body.description {
        changed.push("description");
        patch.description = Some(valid_description(description)?);
    }
    if let Some(plugin) = body.plugin {
        changed.push("plugin");
        patch.plugin = Some(not_null("plugin", plugin)?);
    }
    if let Some(version) = body.plugin_version {
        changed.push("plugin_version");
        patch.plugin_version = Some(version);
    } else if patch.plugin.as_ref().is_some_and(|plugin| *plugin != model.plugin) {
        // A version of another plugin says nothing.
        patch.plugin_version = Some(None);
    }
    let plugin = patch.plugin.as_deref().unwrap_or(&model.plugin);
    let version = patch.plugin_version.clone().unwrap_or(model.plugin_version);
    // Looked up only where it matters: a model whose plugin is gone may still be renamed.
    let needs_plugin = changed.iter().any(|field| !matches!(*field, "name" | "description"))
        || body.training_dataset.is_some()
        || body.training_parameters.is_some();
    if needs_plugin {
        let plugin = submission::plugin(&*app.services.store, plugin, version.as_deref()).await?;
        if let Some(dataset) = body.training_dataset {
            changed.push("training_dataset");
            patch.training_dataset = Some(default_dataset(&app, dataset.as_ref(), &plugin).await?);
        }
        if let Some(parameters) = body.training_parameters {
            changed.push("training_parameters");
            let parameters = parameters.unwrap_or_default();
            submission::given_parameters(&plugin, &parameters)?;
            patch.training_parameters = Some(Value::Object(parameters));
        }
    }
    let model = app.services.store.update_model(path.id, patch).await?;
    app.audit(
        &caller,
        "change-model",
        format!("model {}", model.id),
        json!({"fields": changed}),
    )
    .await;
    ok(model)
}

/// Deletes a model with its runs and results; not while it is trained.
#[utoipa::path(delete, path = "/models/{id}", tag = "models", params(ModelPath),
    responses((status = 200, description = "What was deleted", body = Envelope<schema::DeletedModel>),
        (status = 409, description = "A run is under way")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Submitter(caller): Submitter,
    Segments(path): Segments<ModelPath>,
    _: NoQuery,
) -> Reply<Value> {
    let runs = app.services.store.delete_model(path.id).await?;
    app.audit(
        &caller,
        "delete-model",
        format!("model {}", path.id),
        json!({"runs": runs.len()}),
    )
    .await;
    app.services.feed.forget(path.id).await;
    // The rows are gone, so nobody can reach the files any more: an error here leaves rubbish, and no more than that.
    if let Err(error) = app.services.artifacts.delete_all(&format!("models/{}", path.id)).await {
        tracing::warn!(%error, model = path.id, "the files of a deleted model are left behind");
    }
    ok(json!({"id": path.id, "runs": runs}))
}

fn valid_name(name: String) -> Result<String, ApiError> {
    let length = name.chars().count();
    if length > 200 || name.trim().is_empty() || name.chars().any(char::is_control) {
        let message = format!("name has {length} characters; it has 1 to 200 of them, and no control characters");
        return Err(ApiError::unprocessable("invalid-body", message));
    }
    Ok(name)
}

fn valid_description(text: Option<String>) -> Result<String, ApiError> {
    let text = text.unwrap_or_default();
    let length = text.chars().count();
    if length > 10_000 {
        return Err(ApiError::unprocessable(
            "invalid-body",
            format!("description has {length} characters; at most 10000"),
        ));
    }
    Ok(text)
}

async fn default_dataset(
    app: &App,
    given: Option<&Value>,
    plugin: &trainyard_jobs::PluginVersion,
) -> Result<Value, ApiError> {
    match given {
        None | Some(Value::Null) => Ok(Value::Null),
        Some(given) => {
            let dataset = submission::dataset(&*app.services.store, given, plugin).await?;
            serde_json::to_value(dataset).map_err(ApiError::internal)
        }
    }
}

fn not_null<T>(name: &str, value: Option<T>) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::unprocessable("invalid-body", format!("{name} may not be null")))
}

/// Tells a field that is null from one that is absent.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
