//! The parameters of trials: combinations of a space, all of them or some at random.

use super::{MOST_TRIALS, Method};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use trainyard_parameters::quoted;

/// One parameter's values.
enum Values {
    List(Vec<Value>),
    Range {
        from: f64,
        to: f64,
        logarithmic: bool,
        whole: bool,
        points: Option<usize>,
    },
}

/// The parameters of every trial: `count` of them, or all that a grid has.
pub fn draw(
    method: Method,
    space: &Map<String, Value>,
    types: impl Fn(&str) -> Option<Value>,
    count: Option<usize>,
    seed: u32,
) -> Result<Vec<Map<String, Value>>, String> {
    if space.is_empty() {
        return Err(r#"space names no parameter; it is an object such as {"learning_rate": {"min": 0.0001, "max": 0.1, "log": true}, "layers": [[32], [64, 32]]}"#.into());
    }
    let values: Vec<(&String, Values)> = space
        .iter()
        .map(|(name, given)| Ok((name, read(name, given, types(name).as_ref())?)))
        .collect::<Result<_, String>>()?;
    match method {
        Method::Grid => {
            if count.is_some() {
                return Err("trials is given, but a grid tries every combination; leave it out, or use random".into());
            }
            grid(&values)
        }
        Method::Random | Method::Asha => {
            let count = count.ok_or("trials is missing: how many combinations are to be tried?")?;
            if !(1..=MOST_TRIALS).contains(&count) {
                return Err(format!("trials is {count}; it has to be 1 to {MOST_TRIALS}"));
            }
            let mut random = ChaCha8Rng::seed_from_u64(seed.into());
            Ok(at_random(&values, count, &mut random))
        }
    }
}

fn read(name: &str, given: &Value, schema: Option<&Value>) -> Result<Values, String> {
    let name = quoted(name);
    match given {
        Value::Array(list) if list.is_empty() => Err(format!("space: {name} has no values")),
        Value::Array(list) => Ok(Values::List(list.clone())),
        Value::Object(range) => {
            let known = ["min", "max", "log", "points"];
            if let Some(other) = range.keys().find(|key| !known.contains(&key.as_str())) {
                return Err(format!(
                    "space: {name} says {}, which means nothing; a range has {}",
                    quoted(other),
                    known.join(", ")
                ));
            }
            let number = |key: &str| {
                range
                    .get(key)
                    .and_then(Value::as_f64)
                    .ok_or_else(|| format!("space: {name} is a range and needs a number as {key}"))
            };
            let (from, to) = (number("min")?, number("max")?);
            let logarithmic = match range.get("log") {
                None => false,
                Some(Value::Bool(log)) => *log,
                Some(other) => return Err(format!("space: log of {name} is {other}; it is true or false")),
            };
            if from >= to {
                return Err(format!(
                    "space: {name} goes from {from} to {to}; min has to be below max"
                ));
            }
            if logarithmic && from <= 0.0 {
                return Err(format!("space: {name} is logarithmic, so its min has to be above 0"));
            }
            let points = match range.get("points") {
                None => None,
                Some(points) => Some(
                    points
                        .as_u64()
                        .and_then(|points| usize::try_from(points).ok())
                        .filter(|points| (2..=MOST_TRIALS).contains(points))
                        .ok_or_else(|| format!("space: points of {name} is {points}; it is 2 to {MOST_TRIALS}"))?,
                ),
            };
            let kind = schema.and_then(|schema| schema["type"].as_str());
            match kind {
                Some("integer" | "number") | None => {}
                Some(kind) => {
                    return Err(format!(
                        "space: {name} is a range, but the plugin wants {kind}; give a list of values"
                    ));
                }
            }
            Ok(Values::Range {
                from,
                to,
                logarithmic,
                whole: kind == Some("integer"),
                points,
            })
        }
        other => Err(format!(
            r#"space: {name} is {other}; it is a list of values, or a range such as {{"min": 0.001, "max": 0.1, "log": true}}"#
        )),
    }
}

/// The value of a range at a place from 0 to 1.
fn at(values: &Values, place: f64) -> Value {
    match values {
        Values::List(list) => {
            let index = (place * list.len() as f64) as usize;
            list[index.min(list.len() - 1)].clone()
        }
        Values::Range {
            from,
            to,
            logarithmic,
            whole,
            ..
        } => {
            let value = if *logarithmic {
                (from.ln() + place * (to.ln() - from.ln())).exp()
            } else {
                from + place * (to - from)
            };
            // Rounding may lead out at the ends.
            let value = value.clamp(*from, *to);
            if *whole {
                json!(value.round() as i64)
            } else {
                json!(value)
            }
        }
    }
}

fn grid(values: &[(&String, Values)]) -> Result<Vec<Map<String, Value>>, String> {
    let mut trials = vec![Map::new()];
    for (name, values) in values {
        let mut points: Vec<Value> = match values {
            Values::List(list) => list.clone(),
            Values::Range { points: None, .. } => {
                return Err(format!(
                    "space: {} is a range; a grid needs to know how many points of it: add \"points\", or list the values",
                    quoted(name)
                ));
            }
            Values::Range {
                points: Some(points), ..
            } => (0..*points)
                .map(|point| at(values, point as f64 / (*points - 1) as f64))
                .collect(),
        };
        // Whole numbers of a narrow range come twice.
        points.dedup();
        if trials.len().saturating_mul(points.len()) > MOST_TRIALS {
            return Err(format!(
                "the grid has more than {MOST_TRIALS} combinations; use fewer values, or random with a number of trials"
            ));
        }
        trials = trials
            .iter()
            .flat_map(|trial| {
                points.iter().map(|point| {
                    let mut trial = trial.clone();
                    trial.insert((*name).clone(), point.clone());
                    trial
                })
            })
            .collect();
    }
    Ok(trials)
}

/// Different ones, as long as that is possible.
fn at_random(values: &[(&String, Values)], count: usize, random: &mut ChaCha8Rng) -> Vec<Map<String, Value>> {
    let mut seen = HashSet::new();
    let mut trials = Vec::with_capacity(count);
    let mut left = count * 20;
    while trials.len() < count && left > 0 {
        left -= 1;
        let trial: Map<String, Value> = values
            .iter()
            .map(|(name, values)| ((*name).clone(), at(values, random.random::<f64>())))
            .collect();
        if seen.insert(Value::Object(trial.clone()).to_string()) {
            trials.push(trial);
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn types(name: &str) -> Option<Value> {
        Some(match name {
            "epochs" => json!({"type": "integer"}),
            "loss" => json!({"type": "string"}),
            _ => json!({"type": "number"}),
        })
    }

    #[test]
    fn a_grid_has_every_combination_once() {
        let space = space(json!({"lr": [0.1, 0.01], "epochs": {"min": 1, "max": 3, "points": 3}}));
        let trials = draw(Method::Grid, &space, types, None, 0).unwrap();
        assert_eq!(trials.len(), 6);
        assert_eq!(Value::Object(trials[1].clone()), json!({"lr": 0.1, "epochs": 2}));
        assert_eq!(Value::Object(trials[5].clone()), json!({"lr": 0.01, "epochs": 3}));
    }

    #[test]
    fn a_seed_gives_its_trials_and_another_seed_gives_others() {
        let space = space(json!({"lr": {"min": 1e-4, "max": 1.0, "log": true}, "epochs": {"min": 2, "max": 9}}));
        let draw = |seed| draw(Method::Random, &space, types, Some(200), seed).unwrap();
        let trials = draw(7);
        assert_eq!(trials, draw(7));
        assert_ne!(trials, draw(8));
        assert_eq!(trials.len(), 200);
        let mut decades = [0; 4];
        for trial in &trials {
            let rate = trial["lr"].as_f64().unwrap();
            assert!((1e-4..=1.0).contains(&rate), "{rate}");
            decades[(-rate.log10()).min(3.999).floor() as usize] += 1;
            assert!((2..=9).contains(&trial["epochs"].as_i64().unwrap()));
        }
        // Each decade of a logarithmic range has about the same share.
        assert!(decades.iter().all(|count| (25..=75).contains(count)), "{decades:?}");
    }

    #[test]
    fn a_small_space_gives_no_trial_twice() {
        let space = space(json!({"epochs": {"min": 1, "max": 3}}));
        assert_eq!(draw(Method::Random, &space, types, Some(50), 0).unwrap().len(), 3);
    }

    #[test]
    fn what_is_no_space_is_told_where_and_how() {
        for (method, given, count, words) in [
            (Method::Random, json!({}), Some(3), "names no parameter"),
            (
                Method::Random,
                json!({"lr": 3}),
                Some(3),
                "a list of values, or a range",
            ),
            (Method::Random, json!({"lr": []}), Some(3), "has no values"),
            (
                Method::Random,
                json!({"lr": {"min": 2, "max": 1}}),
                Some(3),
                "min has to be below max",
            ),
            (
                Method::Random,
                json!({"lr": {"min": 0, "max": 1, "log": true}}),
                Some(3),
                "above 0",
            ),
            (
                Method::Random,
                json!({"lr": {"min": 0, "max": 1, "step": 1}}),
                Some(3),
                "`step`",
            ),
            (
                Method::Random,
                json!({"lr": {"min": 0}}),
                Some(3),
                "needs a number as max",
            ),
            (
                Method::Random,
                json!({"loss": {"min": 0, "max": 1}}),
                Some(3),
                "wants string",
            ),
            (Method::Random, json!({"lr": [1]}), None, "trials is missing"),
            (Method::Asha, json!({"lr": [1]}), Some(0), "1 to 1000"),
            (Method::Grid, json!({"lr": {"min": 0, "max": 1}}), None, "\"points\""),
            (Method::Grid, json!({"lr": [1]}), Some(3), "every combination"),
            (
                Method::Grid,
                json!({"a": {"min": 0, "max": 1, "points": 100}, "b": {"min": 0, "max": 1, "points": 11}}),
                None,
                "more than 1000",
            ),
        ] {
            let error = draw(method, &space(given.clone()), types, count, 0).unwrap_err();
            assert!(error.contains(words), "{given}: {error}");
        }
    }
}
