//! What is checked before a sweep is taken.

use super::{Asha, Figure, Goal, MOST_TRIALS, Method, Plan, draw};
use crate::submission::{self, Allowance, Refusal, Submission, SubmissionError};
use crate::{Model, NewRun, PluginVersion, Store};
use serde::Deserialize;
use serde_json::{Map, Value};
use trainyard_parameters::quoted;
use uuid::Uuid;

/// The figure that plugins of our own tools tell after each pass over the data.
const USUAL: &str = "validation_loss";

/// What is asked of a sweep.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// How trials are chosen.
    pub method: Method,
    /// By parameter: a list of values, or a range.
    pub space: Map<String, Value>,
    /// How many trials; a grid has as many as it has.
    pub trials: Option<usize>,
    /// What is judged by; `validation_loss` when it is not said, and where the plugin tells none the first figure of its results.
    pub metric: Option<String>,
    /// Which values are better; as the plugin says of the figure, or else small ones, when it is not said.
    pub goal: Option<Goal>,
    /// What random choices follow from.
    pub seed: Option<u32>,
    /// How trials are ended early.
    pub asha: Option<Asha>,
    /// Whether the model gets the best trial's result.
    pub adopt: bool,
    /// What is asked of each training besides.
    pub submission: Submission,
}

/// A sweep of a model: its plan and its trials.
pub async fn new_sweep(
    store: &dyn Store,
    model: &Model,
    request: Request,
    allowance: &Allowance,
) -> Result<(Plan, Vec<NewRun>), SubmissionError> {
    let plugin = submission::plugin(store, &model.plugin, model.plugin_version.as_deref()).await?;
    let schema = submission::schema(&plugin)?;
    for name in request.space.keys() {
        if schema.allowed(name).is_none() {
            let known: Vec<String> = schema.properties().map(|(name, _)| quoted(name)).collect();
            let message = format!(
                "space: {} is no parameter of {} {}; there are {}",
                quoted(name),
                plugin.name,
                plugin.version,
                known.join(", ")
            );
            return Err(refused(message).into());
        }
    }
    let asha = match (request.method, request.asha) {
        (Method::Asha, asha) => Some(asha.unwrap_or_default()),
        (_, None) => None,
        (_, Some(_)) => return Err(refused("asha is given, but the method is another one").into()),
    };
    if let Some(Asha { min_steps, reduction }) = asha
        && !(min_steps >= 1 && (2..=MOST_TRIALS as u64).contains(&reduction))
    {
        let message = format!(
            "asha: min_steps is {min_steps} and reduction {reduction}; they are at least 1 and 2 to {MOST_TRIALS}"
        );
        return Err(refused(message).into());
    }
    let seed = request.seed.unwrap_or_else(|| Uuid::new_v4().as_fields().0);
    let types = |name: &str| {
        let found = schema.properties().find(|(known, _)| *known == name);
        found.map(|(_, property)| property.clone())
    };
    let drawn = draw(request.method, &request.space, types, request.trials, seed).map_err(refused)?;
    // Trials with one seed differ by their parameters alone.
    let base = Submission {
        seed: Some(request.submission.seed.unwrap_or(seed)),
        ..request.submission
    };
    let mut trials: Vec<NewRun> = Vec::with_capacity(drawn.len());
    let mut given = model.training_parameters.as_object().cloned().unwrap_or_default();
    given.extend(base.training_parameters.clone());
    for parameters in drawn {
        let trial = match trials.first() {
            None => {
                let mut asked = base.clone();
                asked.training_parameters.extend(parameters);
                submission::new_run(store, model, id(), asked, allowance).await?
            }
            // The rest of it is the same, and was looked up.
            Some(first) => {
                let mut given = given.clone();
                given.extend(parameters);
                NewRun {
                    id: id(),
                    training_parameters: submission::all_parameters(&plugin, given)?,
                    ..first.clone()
                }
            }
        };
        trials.push(trial);
    }
    let (figure, otherwise) = figures(&plugin, request.metric, request.goal);
    let plan = Plan {
        method: request.method,
        space: request.space,
        figure,
        otherwise,
        seed,
        asha,
        adopt: request.adopt,
    };
    Ok((plan, trials))
}

fn id() -> String {
    Uuid::new_v4().to_string()
}

fn figures(plugin: &PluginVersion, metric: Option<String>, goal: Option<Goal>) -> (Figure, Option<Figure>) {
    let listed = plugin.metrics.as_array().into_iter().flatten();
    let known: Vec<Figure> = listed
        .filter_map(|metric| {
            Some(Figure {
                metric: metric["name"].as_str()?.to_owned(),
                goal: if metric["maximize"].as_bool()? {
                    Goal::Maximize
                } else {
                    Goal::Minimize
                },
            })
        })
        .collect();
    match metric {
        Some(metric) => {
            let usual = known
                .iter()
                .find(|known| known.metric == metric)
                .map(|known| known.goal);
            let goal = goal.or(usual).unwrap_or(Goal::Minimize);
            (Figure { metric, goal }, None)
        }
        None => {
            let usual = Figure {
                metric: USUAL.into(),
                goal: goal.unwrap_or(Goal::Minimize),
            };
            (usual, known.into_iter().next())
        }
    }
}

fn refused(message: impl AsRef<str>) -> Box<Refusal> {
    Refusal::new("invalid-sweep", message)
}
