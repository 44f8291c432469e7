//! What a user of a plugin sees of its parameters: the schema that `#[derive(Parameters)]` writes, and how values are read.

use trainyard_sdk::optim::Kind;
use trainyard_sdk::{Choice, Parameters};

/// Every kind of parameter.
#[derive(Debug, Parameters)]
struct Settings {
    /// Passes over
    /// the training data.
    #[param(default = 10, range = 1..=1000)]
    epochs: usize,
    /// How far a step goes.
    #[param(default = 5e-3, exclusive_min = 0, max = 1)]
    learning_rate: f64,
    /// Units in each hidden layer.
    #[param(default = [64, 32], min = 1, length = 0..=8)]
    hidden: Vec<u32>,
    /// Whether "all" channels share weights.
    #[param(default = true)]
    shared: bool,
    /// How to solve it.
    #[param(default = "fast", choices = ["fast", "exact"])]
    solver: String,
    /// What is measured.
    #[param(default = "mean_absolute")]
    loss: Loss,
    /// How weights are changed.
    #[param(default = "adamw")]
    optimizer: Kind,
    /// Rows in a season.
    #[param(min = 2)]
    season: Option<u32>,
    /// Where to begin.
    #[param(default = -1, range = -5..5)]
    r#where: i32,
}

#[derive(Choice, Clone, Copy, Debug, PartialEq)]
enum Loss {
    MeanSquared,
    MeanAbsolute,
}

#[test]
fn the_schema_is_json_schema_with_every_default_and_range() {
    let expected = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "epochs": {
                "description": "Passes over the training data.", "type": "integer", "minimum": 1, "maximum": 1000, "default": 10
            },
            "learning_rate": {
                "description": "How far a step goes.", "type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.005
            },
            "hidden": {
                "description": "Units in each hidden layer.", "type": "array",
                "items": { "type": "integer", "minimum": 1, "maximum": 4294967295_u32 },
                "minItems": 0, "maxItems": 8, "default": [64, 32]
            },
            "shared": { "description": "Whether \"all\" channels share weights.", "type": "boolean", "default": true },
            "solver": {
                "description": "How to solve it.", "type": "string", "enum": ["fast", "exact"], "default": "fast"
            },
            "loss": {
                "description": "What is measured.", "type": "string", "enum": ["mean_squared", "mean_absolute"],
                "default": "mean_absolute"
            },
            "optimizer": {
                "description": "How weights are changed.", "type": "string", "enum": ["sgd", "adam", "adamw"], "default": "adamw"
            },
            "season": {
                "description": "Rows in a season.", "type": ["integer", "null"], "minimum": 2, "maximum": 4294967295_u32,
                "default": null
            },
            "where": {
                "description": "Where to begin.", "type": "integer", "minimum": -5, "exclusiveMaximum": 5, "default": -1
            }
        }
    });
    let schema: serde_json::Value = serde_json::from_str(&Settings::schema()).unwrap();
    assert_eq!(schema, expected);
    // In the order of the struct, as a form shows them.
    let order = [
        "epochs",
        "learning_rate",
        "hidden",
        "shared",
        "solver",
        "loss",
        "optimizer",
        "season",
        "where",
    ];
    let places = order.map(|name| Settings::schema().find(&format!("\"{name}\":")).unwrap());
    assert!(places.is_sorted());
}

#[test]
fn the_schema_of_no_parameters_allows_none() {
    let schema: serde_json::Value = serde_json::from_str(&<()>::schema()).unwrap();
    assert_eq!(schema["properties"], serde_json::json!({}));
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn what_is_not_given_has_its_default() {
    let settings = Settings::from_json("{}").unwrap();
    assert_eq!((settings.epochs, settings.learning_rate), (10, 0.005));
    assert_eq!(
        (settings.hidden.as_slice(), settings.shared),
        ([64, 32].as_slice(), true)
    );
    assert_eq!((settings.solver.as_str(), settings.loss), ("fast", Loss::MeanAbsolute));
    assert_eq!(
        (settings.optimizer, settings.season, settings.r#where),
        (Kind::Adamw, None, -1)
    );
}

#[test]
fn what_is_given_is_read() {
    let json = r#"{"epochs": 3.0, "learning_rate": 1, "hidden": [], "shared": false, "solver": "exact",
        "loss": "mean_squared", "optimizer": "sgd", "season": 24, "where": -5}"#;
    let settings = Settings::from_json(json).unwrap();
    assert_eq!((settings.epochs, settings.learning_rate), (3, 1.0));
    assert_eq!((settings.hidden.len(), settings.shared), (0, false));
    assert_eq!((settings.solver.as_str(), settings.loss), ("exact", Loss::MeanSquared));
    assert_eq!(
        (settings.optimizer, settings.season, settings.r#where),
        (Kind::Sgd, Some(24), -5)
    );
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_its_name() {
    let error = |json| Settings::from_json(json).unwrap_err().to_string();
    assert_eq!(
        error(r#"{"epochs": "ten"}"#),
        "parameter `epochs`: an integer in range is expected, not ten"
    );
    assert_eq!(
        error(r#"{"epochs": 1.5}"#),
        "parameter `epochs`: an integer in range is expected, not that number"
    );
    assert_eq!(
        error(r#"{"epochs": -1}"#),
        "parameter `epochs`: an integer in range is expected, not that number"
    );
    assert_eq!(
        error(r#"{"hidden": 64}"#),
        "parameter `hidden`: a list is expected, not that number"
    );
    assert_eq!(
        error(r#"{"shared": null}"#),
        "parameter `shared`: true or false is expected, not null"
    );
    assert_eq!(
        error(r#"{"loss": "median"}"#),
        "parameter `loss`: one of mean_squared, mean_absolute is expected, not median"
    );
    assert_eq!(error("[1"), "the parameters are not valid JSON");
}
