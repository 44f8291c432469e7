//! A plugin's parameters: what its schema allows, what a user gave, and the whole that the plugin is called with.
//!
//! The schema is a JSON Schema (2020-12) of one object. The checking is done by the `jsonschema` crate; here are the rules
//! beyond it (every name must be known, defaults are filled in) and the words.

use crate::text::{one_line, quoted};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The largest schema, in bytes.
const LARGEST: usize = 256 << 10;
/// The most parameters of one plugin.
const MOST: usize = 500;

/// What a plugin can be told.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Schema(Value);

/// One parameter that cannot be as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParameterProblem {
    /// The parameter, with the place in it: `layers[1]`.
    pub parameter: String,
    /// What is wrong.
    pub problem: String,
    /// What would be right.
    pub allowed: String,
}

impl std::fmt::Display for ParameterProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "parameter {} {}; {}",
            quoted(&self.parameter),
            self.problem,
            self.allowed
        )
    }
}

impl Schema {
    /// Reads and checks a schema. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("it has more than {LARGEST} bytes"));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        if value.get("type") != Some(&json!("object")) {
            return Err("it must be an object with \"type\": \"object\"".into());
        }
        match value.get("properties") {
            None => {}
            Some(Value::Object(properties)) if properties.len() > MOST => {
                return Err(format!("it has more than {MOST} parameters"));
            }
            Some(Value::Object(properties)) => {
                if let Some((name, _)) = properties.iter().find(|(_, p)| !p.is_object()) {
                    return Err(format!("the parameter {} must be an object", quoted(name)));
                }
            }
            Some(_) => return Err("its \"properties\" must be an object".into()),
        }
        let schema = Schema(value);
        schema.validator()?;
        for (name, property) in schema.properties() {
            let Some(default) = property.get("default") else {
                continue;
            };
            let validator = compile(&schema.alone(property))
                .map_err(|problem| format!("the parameter {}: {problem}", quoted(name)))?;
            if !validator.is_valid(default) {
                return Err(format!(
                    "the default {} of the parameter {} is not allowed; {}",
                    shown(default),
                    quoted(name),
                    allowed(property)
                ));
            }
        }
        Ok(schema)
    }

    /// The parameters by name, each with its own schema.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &Value)> {
        let properties = self.0.get("properties").and_then(Value::as_object);
        properties
            .into_iter()
            .flatten()
            .map(|(name, property)| (name.as_str(), property))
    }

    /// What a parameter may be, for a list of parameters: `a number greater than 0, default 0.001`.
    pub fn allowed(&self, name: &str) -> Option<String> {
        self.property(name).map(allowed)
    }

    /// The parameters that a plugin is called with: those given, and the defaults of the others. Gives every problem
    /// there is.
    pub fn complete(&self, given: &Value) -> Result<Value, Vec<ParameterProblem>> {
        let empty = Map::new();
        let given = match given {
            Value::Null => &empty,
            Value::Object(given) => given,
            other => {
                return Err(vec![ParameterProblem {
                    parameter: "parameters".into(),
                    problem: format!("are {}", shown(other)),
                    allowed: "give a JSON object of names and values".into(),
                }]);
            }
        };
        let mut problems: Vec<_> = given
            .keys()
            .filter(|name| self.property(name).is_none())
            .map(|name| self.unknown(name))
            .collect();
        let mut whole = Map::new();
        for (name, property) in self.properties() {
            match given.get(name).or_else(|| property.get("default")) {
                Some(value) => {
                    whole.insert(name.to_owned(), value.clone());
                }
                None if self.requires(name) => problems.push(ParameterProblem {
                    parameter: name.to_owned(),
                    problem: "is missing".into(),
                    allowed: format!("give {}", allowed(property)),
                }),
                None => {}
            }
        }
        let whole = Value::Object(whole);
        if problems.is_empty() {
            match self.validator() {
                Ok(validator) => {
                    problems.extend(validator.iter_errors(&whole).map(|e| self.explain(&e)));
                }
                Err(problem) => problems.push(ParameterProblem {
                    parameter: "parameters".into(),
                    problem,
                    allowed: "correct the plugin's schema".into(),
                }),
            }
        }
        if problems.is_empty() { Ok(whole) } else { Err(problems) }
    }

    /// A value as a command line spells it (`1e-3`, `true`, `64,32`, `[64,32]`, `a text`), by the parameter's type.
    pub fn parse_value(&self, name: &str, text: &str) -> Result<Value, ParameterProblem> {
        let property = self.property(name).ok_or_else(|| self.unknown(name))?;
        read(property, text).ok_or_else(|| ParameterProblem {
            parameter: name.to_owned(),
            problem: format!("cannot be {}", quoted(text)),
            allowed: format!("it is {}", allowed(property)),
        })
    }

    fn property(&self, name: &str) -> Option<&Value> {
        self.0.get("properties")?.get(name)
    }

    fn requires(&self, name: &str) -> bool {
        let required = self.0.get("required").and_then(Value::as_array);
        required.is_some_and(|required| required.iter().any(|one| one == name))
    }

    /// One property as a schema of its own, which can still refer to the definitions of the whole.
    fn alone(&self, property: &Value) -> Value {
        let mut alone = property.clone();
        if let Some(definitions) = self.0.get("$defs") {
            alone["$defs"] = definitions.clone();
        }
        alone
    }

    fn validator(&self) -> Result<jsonschema::Validator, String> {
        compile(&self.0)
    }

    fn unknown(&self, name: &str) -> ParameterProblem {
        let names: Vec<_> = self.properties().map(|(name, _)| name).collect();
        let close = names
            .iter()
            .map(|known| (distance(name, known), known))
            .filter(|(distance, _)| *distance <= (name.chars().count() / 3).max(1))
            .min_by_key(|(distance, _)| *distance);
        let listed = if names.is_empty() {
            "the plugin has no parameters".to_owned()
        } else {
            format!("the plugin has {}", one_line(&names.join(", ")))
        };
        ParameterProblem {
            parameter: name.to_owned(),
            problem: "is not known".into(),
            allowed: match close {
                Some((_, close)) => format!("did you mean {}? {listed}", quoted(close)),
                None => listed,
            },
        }
    }

    fn explain(&self, error: &jsonschema::ValidationError<'_>) -> ParameterProblem {
        let path = error.instance_path().as_str();
        let mut place = String::new();
        let mut schema = Some(&self.0);
        for part in path.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            if place.is_empty() {
                place = part.clone();
            } else {
                place.push_str(&format!("[{part}]"));
            }
            schema = schema.and_then(|schema| {
                let property = schema.get("properties").and_then(|p| p.get(&part));
                property.or_else(|| schema.get("items"))
            });
        }
        if place.is_empty() {
            return ParameterProblem {
                parameter: "parameters".into(),
                problem: format!("do not go together: {}", one_line(&error.to_string())),
                allowed: "see the plugin's schema".into(),
            };
        }
        ParameterProblem {
            parameter: place,
            problem: format!("cannot be {}", shown(error.instance())),
            allowed: match schema.map(allowed) {
                Some(allowed) if !allowed.is_empty() => format!("it is {allowed}"),
                _ => one_line(&error.to_string()),
            },
        }
    }
}

fn compile(schema: &Value) -> Result<jsonschema::Validator, String> {
    jsonschema::options()
        .with_draft(jsonschema::Draft::Draft202012)
        // A schema comes from a plugin: it may not fetch anything, and no pattern may take for ever.
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(schema)
        .map_err(|error| {
            one_line(&format!(
                "it is not a JSON Schema: {error} (at {})",
                error.instance_path()
            ))
        })
}

/// What a value may be, in words.
fn allowed(schema: &Value) -> String {
    let mut text = if let Some(Value::Array(options)) = schema.get("enum") {
        let options: Vec<_> = options.iter().map(shown).collect();
        format!("one of {}", options.join(", "))
    } else {
        let types = match schema.get("type") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        };
        let items = schema.get("items").map(allowed).filter(|items| !items.is_empty());
        let words: Vec<_> = types.iter().map(|ty| word(ty, items.as_deref())).collect();
        words.join(" or ")
    };
    text.push_str(&range(schema));
    if let Some(default) = schema.get("default") {
        text.push_str(&format!(", default {}", shown(default)));
    }
    text
}

fn word(ty: &str, items: Option<&str>) -> String {
    match (ty, items) {
        ("integer", _) => "a whole number".into(),
        ("number", _) => "a number".into(),
        ("boolean", _) => "true or false".into(),
        ("string", _) => "a text".into(),
        ("array", Some(items)) => format!("a list, each {items}"),
        ("array", None) => "a list".into(),
        ("object", _) => "an object".into(),
        (other, _) => other.into(),
    }
}

fn range(schema: &Value) -> String {
    let at = |key: &str| schema.get(key).filter(|value| value.is_number());
    let mut parts = Vec::new();
    match (at("minimum"), at("maximum")) {
        (Some(low), Some(high)) => parts.push(format!("from {low} to {high}")),
        (Some(low), None) => parts.push(format!("of at least {low}")),
        (None, Some(high)) => parts.push(format!("of at most {high}")),
        (None, None) => {}
    }
    if let Some(low) = at("exclusiveMinimum") {
        parts.push(format!("greater than {low}"));
    }
    if let Some(high) = at("exclusiveMaximum") {
        parts.push(format!("less than {high}"));
    }
    if let Some(step) = at("multipleOf") {
        parts.push(format!("that is a multiple of {step}"));
    }
    for (key, what) in [
        ("minItems", "with at least {} items"),
        ("maxItems", "with at most {} items"),
        ("minLength", "of at least {} characters"),
        ("maxLength", "of at most {} characters"),
    ] {
        if let Some(n) = at(key) {
            parts.push(what.replace("{}", &n.to_string()));
        }
    }
    if parts.is_empty() {
        String::new()
    } else {
        format!(" {}", parts.join(" and "))
    }
}

fn shown(value: &Value) -> String {
    const LONGEST: usize = 100;
    let text = one_line(&value.to_string());
    if text.chars().count() > LONGEST {
        text.chars().take(LONGEST).collect::<String>() + "…"
    } else {
        text
    }
}

/// Reads a value by the first of its types that takes it.
fn read(schema: &Value, text: &str) -> Option<Value> {
    let types: Vec<&str> = match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => {
            let json = serde_json::from_str(text).ok();
            return Some(json.unwrap_or_else(|| Value::String(text.into())));
        }
    };
    // A text takes anything, so it is asked last.
    let (texts, others): (Vec<&str>, Vec<&str>) = types.into_iter().partition(|ty| *ty == "string");
    others.into_iter().chain(texts).find_map(|ty| read_as(ty, schema, text))
}

fn read_as(ty: &str, schema: &Value, text: &str) -> Option<Value> {
    let trimmed = text.trim();
    match ty {
        "string" => Some(Value::String(text.into())),
        "null" => (trimmed == "null" || trimmed.is_empty()).then_some(Value::Null),
        "boolean" => trimmed.to_ascii_lowercase().parse().ok().map(Value::Bool),
        "integer" => {
            if let Ok(whole) = trimmed.parse::<i64>() {
                return Some(whole.into());
            }
            // 1e3 is a whole number too, as far as doubles tell.
            let number = trimmed.parse::<f64>().ok()?;
            let exact = number.fract() == 0.0 && number.abs() < 9e15;
            exact.then(|| (number as i64).into())
        }
        "number" => {
            if let Ok(whole) = trimmed.parse::<i64>() {
                return Some(whole.into());
            }
            let number = trimmed.parse::<f64>().ok()?;
            serde_json::Number::from_f64(number).map(Value::Number)
        }
        "array" => {
            if trimmed.starts_with('[') {
                return serde_json::from_str(trimmed).ok().filter(Value::is_array);
            }
            let none = json!({});
            let items = schema.get("items").unwrap_or(&none);
            let parts = trimmed.split(',').filter(|part| !part.trim().is_empty());
            let values: Option<Vec<_>> = parts.map(|part| read(items, part.trim())).collect();
            values.map(Value::Array)
        }
        "object" => serde_json::from_str(trimmed).ok().filter(Value::is_object),
        _ => None,
    }
}

/// Fewest changes of one letter between two names, in any case of letters.
pub fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::parse(
            r#"{
            "type": "object",
            "properties": {
                "lr": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.001},
                "epochs": {"type": "integer", "minimum": 1, "maximum": 10000, "default": 10},
                "layers": {"type": "array", "items": {"type": "integer", "minimum": 1}, "default": [64, 32], "maxItems": 4},
                "loss": {"type": "string", "enum": ["mse", "mae"], "default": "mse"},
                "shuffle": {"type": "boolean", "default": true},
                "note": {"type": "string"},
                "patience": {"type": ["integer", "null"], "default": null}
            }
        }"#,
        )
        .unwrap()
    }

    #[test]
    fn defaults_are_filled_in() {
        let whole = schema().complete(&json!({"lr": 0.5})).unwrap();
        assert_eq!(
            whole,
            json!({"lr": 0.5, "epochs": 10, "layers": [64, 32], "loss": "mse", "shuffle": true, "patience": null})
        );
        assert_eq!(schema().complete(&Value::Null).unwrap()["lr"], 0.001);
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_the_range() {
        let refused = |given: Value| schema().complete(&given).unwrap_err()[0].to_string();
        assert_eq!(
            refused(json!({"lr": 5})),
            "parameter `lr` cannot be 5; it is a number of at most 1 and greater than 0, default 0.001"
        );
        assert_eq!(
            refused(json!({"epochs": 0})),
            "parameter `epochs` cannot be 0; it is a whole number from 1 to 10000, default 10"
        );
        assert_eq!(
            refused(json!({"loss": "hinge"})),
            r#"parameter `loss` cannot be "hinge"; it is one of "mse", "mae", default "mse""#
        );
        assert_eq!(
            refused(json!({"layers": [64, 0]})),
            "parameter `layers[1]` cannot be 0; it is a whole number of at least 1"
        );
        assert!(refused(json!({"shuffle": "yes"})).contains("it is true or false"));
        assert!(refused(json!({"epochs": 1.5})).contains("a whole number"));
        assert!(refused(json!([1])).contains("JSON object"));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_and_all() {
        let problems = schema().complete(&json!({"epoch": 3, "warp": 9})).unwrap_err();
        assert_eq!(problems.len(), 2);
        let text = problems[0].to_string();
        assert!(text.contains("did you mean `epochs`?"), "{text}");
        let text = problems[1].to_string();
        assert!(text.contains("the plugin has lr, epochs, layers"), "{text}");
    }

    #[test]
    fn a_required_one_without_default_is_asked_for() {
        let schema =
            Schema::parse(r#"{"type":"object","properties":{"target":{"type":"string"}},"required":["target"]}"#)
                .unwrap();
        let text = schema.complete(&json!({})).unwrap_err()[0].to_string();
        assert_eq!(text, "parameter `target` is missing; give a text");
    }

    #[test]
    fn command_line_values_follow_the_type() {
        let schema = schema();
        for (name, text, value) in [
            ("lr", "1e-3", json!(0.001)),
            ("lr", "1", json!(1)),
            ("epochs", "1e3", json!(1000)),
            ("layers", "64,32", json!([64, 32])),
            ("layers", "[8]", json!([8])),
            ("layers", "", json!([])),
            ("loss", "mae", json!("mae")),
            ("note", "12", json!("12")),
            ("shuffle", "False", json!(false)),
            ("patience", "null", json!(null)),
            ("patience", "3", json!(3)),
        ] {
            assert_eq!(schema.parse_value(name, text).unwrap(), value, "{name}={text}");
        }
        for (name, text) in [
            ("lr", "fast"),
            ("lr", "inf"),
            ("epochs", "1.5"),
            ("layers", "a,b"),
            ("shuffle", "maybe"),
            ("lrr", "1"),
        ] {
            let problem = schema.parse_value(name, text).unwrap_err().to_string();
            assert!(!problem.contains('\n') && problem.len() < 200, "{problem}");
        }
    }

    #[test]
    fn a_schema_that_makes_no_sense_is_refused() {
        for (text, expected) in [
            ("[", "not JSON"),
            ("[]", "\"type\": \"object\""),
            (r#"{"type":"object","properties":[]}"#, "must be an object"),
            (r#"{"type":"object","properties":{"a":1}}"#, "parameter `a`"),
            (
                r#"{"type":"object","properties":{"a":{"type":"quux"}}}"#,
                "not a JSON Schema",
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"integer","minimum":1,"default":0}}}"#,
                "the default 0 of the parameter `a` is not allowed",
            ),
            (
                r#"{"type":"object","properties":{"a":{"$ref":"https://example.com/s.json"}}}"#,
                "not a JSON Schema",
            ),
            (
                r#"{"type":"object","properties":{"a":{"pattern":"(a+)+(?=b)\\1"}}}"#,
                "not a JSON Schema",
            ),
        ] {
            let problem = Schema::parse(text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
        let many: Map<String, Value> = (0..501).map(|i| (format!("p{i}"), json!({}))).collect();
        let text = json!({"type": "object", "properties": many}).to_string();
        assert!(Schema::parse(&text).unwrap_err().contains("more than 500"));
        assert!(Schema::parse(&" ".repeat(300_000)).is_err());
    }
}
