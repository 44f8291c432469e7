//! Runs of a model: listed and read, and the series of figures that their plugins told.

use crate::answer::{Envelope, Reply, ok};
use crate::app::App;
use crate::auth::Reader;
use crate::error::ApiError;
use crate::extract::{NoQuery, Query, Segments};
use crate::models::ModelPath;
use crate::{paging, schema};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use trainyard_jobs::{Model, ModelId, Page, Run, RunFilter, RunState, SeriesPoint, StoreError};
use utoipa::{IntoParams, ToSchema};

/// Which run of which model.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RunPath {
    /// The model's number.
    #[param(minimum = 1, example = 1)]
    id: i64,
    /// The run's name: a `task_id`.
    #[param(example = "0d4b6f2e-6a4e-4d6c-9c54-0d3f2f0f8f11")]
    run: String,
}

/// Which runs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RunsQuery {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// So many at most; 50 when it is not said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// Which series, and how fine.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// A run; the current or last one when it is not said.
    run: Option<String>,
    /// Only the series of this name.
    #[param(example = "loss")]
    name: Option<String>,
    /// Points of a series at most; 500 when it is not said. Where there are more, the extremes are kept.
    #[param(minimum = 4, maximum = 5000)]
    points: Option<u32>,
}

/// A figure that the plugin told, over time.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Series {
    /// Such as `loss`.
    name: String,
    /// The plugin's step, seconds since the run began to be worked on, the value.
    #[schema(value_type = Vec<[f64; 3]>)]
    points: Vec<(u64, f64, f64)>,
}

/// The series of a run.
#[derive(Serialize, ToSchema)]
pub struct AllSeries {
    /// The run.
    run_id: String,
    /// By name.
    items: Vec<Series>,
}

impl App {
    /// A run, if it is one of this model.
    pub async fn run_of(&self, model: &Model, run: &str) -> Result<Run, ApiError> {
        let found = self.services.store.run(&run.to_owned()).await?;
        if found.model_id == model.id {
            Ok(found)
        } else {
            Err(ApiError::not_found("run", run))
        }
    }

    /// The run that is asked for: the named one, or the one that made the model what it is; 409 if there never was one.
    pub async fn asked_run(&self, model: &Model, named: Option<&str>) -> Result<Run, ApiError> {
        match named.or(model.task_id.as_deref()) {
            Some(run) => self.run_of(model, run).await,
            None => self.last_run(model.id).await?.ok_or_else(|| {
                ApiError::conflict("no-run", format!("model {} was never trained", model.id))
                    .remedy("submit a training with POST …/train")
            }),
        }
    }

    /// The last run. A stopped one is none that the model knows of: it is what it was before.
    pub async fn last_run(&self, model: ModelId) -> Result<Option<Run>, StoreError> {
        let filter = RunFilter {
            model_id: model,
            before: None,
            limit: 1,
        };
        Ok(self.services.store.runs(&filter).await?.items.pop())
    }

    /// A run that has a result: the named one, or the one that the model predicts with.
    pub async fn trained_run(&self, model: &Model, named: Option<&str>) -> Result<Run, ApiError> {
        let Some(run) = named.or(model.trained_run.as_deref()) else {
            let message = format!("model {} is {} and has no result yet", model.id, model.status);
            return Err(ApiError::conflict("not-trained", message).remedy("train it first"));
        };
        let run = self.run_of(model, run).await?;
        if run.state != RunState::Trained {
            let message = format!("run {} is {} and has no result", run.id, run.state);
            return Err(ApiError::conflict("not-trained", message).remedy("name a run that is TRAINED, or none"));
        }
        Ok(run)
    }
}

/// Lists a model's runs, newest first.
#[utoipa::path(get, path = "/models/{id}/runs", tag = "runs", params(ModelPath, RunsQuery),
    responses((status = 200, description = "A page of runs", body = Envelope<schema::Page<schema::Run>>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<ModelPath>,
    Query(query): Query<RunsQuery>,
) -> Reply<Page<Run>> {
    let filter = RunFilter {
        model_id: app.services.store.model(path.id).await?.id,
        before: paging::cursor(query.cursor.as_deref())?,
        limit: paging::limit(query.limit)?,
    };
    ok(app.services.store.runs(&filter).await?)
}

/// Reads a run.
#[utoipa::path(get, path = "/models/{id}/runs/{run}", tag = "runs", params(RunPath),
    responses((status = 200, description = "The run", body = Envelope<schema::Run>)))]
pub async fn read(State(app): State<Arc<App>>, _: Reader, Segments(path): Segments<RunPath>, _: NoQuery) -> Reply<Run> {
    let model = app.services.store.model(path.id).await?;
    ok(app.run_of(&model, &path.run).await?)
}

/// Reads the figures that the plugin told over time, also while it trains.
#[utoipa::path(get, path = "/models/{id}/metrics", tag = "runs", params(ModelPath, SeriesQuery),
    responses((status = 200, description = "The series", body = Envelope<AllSeries>),
        (status = 409, description = "The model was never trained")))]
pub async fn series(
    State(app): State<Arc<App>>,
    _: Reader,
    Segments(path): Segments<ModelPath>,
    Query(query): Query<SeriesQuery>,
) -> Reply<AllSeries> {
    let most = paging::within("points", query.points.unwrap_or(500), 4, 5000)?;
    let model = app.services.store.model(path.id).await?;
    let run = app.asked_run(&model, query.run.as_deref()).await?;
    let points = app.services.store.series(&run.id).await?;
    let mut items = by_name(points);
    items.retain(|series| query.name.as_ref().is_none_or(|name| *name == series.name));
    for series in &mut items {
        series.points = thinned(std::mem::take(&mut series.points), most as usize);
    }
    ok(AllSeries { run_id: run.id, items })
}

/// Points as series. They come in order of name and step.
pub fn by_name(points: Vec<SeriesPoint>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for SeriesPoint {
        step,
        seconds,
        name,
        value,
    } in points
    {
        match all.last_mut().filter(|series| series.name == name) {
            Some(series) => series.points.push((step, seconds, value)),
            None => all.push(Series {
                name,
                points: vec![(step, seconds, value)],
            }),
        }
    }
    all
}

impl Series {
    /// Its first, last, smallest and largest value.
    pub fn summary(&self) -> Value {
        let values = || self.points.iter().map(|point| point.2);
        serde_json::json!({
            "name": self.name,
            "points": self.points.len(),
            "first": values().next(),
            "last": values().next_back(),
            "min": values().reduce(f64::min),
            "max": values().reduce(f64::max),
        })
    }
}

/// At most so many points: the first, the last, and of each part between its smallest and its largest. What a person
/// looks for in a curve are its ends and its spikes, and an average would hide these.
fn thinned(points: Vec<(u64, f64, f64)>, most: usize) -> Vec<(u64, f64, f64)> {
    let [first, between @ .., last] = points.as_slice() else {
        return points;
    };
    if points.len() <= most {
        return points;
    }
    let parts = (most - 2) / 2;
    let mut kept = vec![*first];
    for part in 0..parts {
        let bounds = (part * between.len() / parts)..((part + 1) * between.len() / parts);
        let by_value = |a: &usize, b: &usize| between[*a].2.total_cmp(&between[*b].2);
        let (low, high) = (bounds.clone().min_by(by_value), bounds.max_by(by_value));
        if let (Some(low), Some(high)) = (low, high) {
            kept.push(between[low.min(high)]);
            if low != high {
                kept.push(between[low.max(high)]);
            }
        }
    }
    kept.push(*last);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_the_ends_and_the_spikes() {
        let mut points: Vec<_> = (0..10_000).map(|i| (i, 0.0, (i as f64 / 100.0).sin())).collect();
        points[1234].2 = 50.0;
        points[8765].2 = -50.0;
        let kept = thinned(points.clone(), 100);
        assert!(kept.len() <= 100 && kept.len() > 90, "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), (points[0], points[9999]));
        assert!(kept.contains(&points[1234]) && kept.contains(&points[8765]));
        assert!(kept.is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn few_points_stay_as_they_are() {
        let points: Vec<_> = (0..5).map(|i| (i, 0.0, 1.0)).collect();
        assert_eq!(thinned(points.clone(), 5), points);
        assert_eq!(thinned(points[..1].to_vec(), 4), points[..1]);
        assert_eq!(thinned(points.clone(), 4).len(), 4);
    }
}
