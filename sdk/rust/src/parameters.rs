//! What a user can set, from one struct: its JSON Schema for the host, and its values from the host's JSON.

use crate::error::Result;

#[doc(hidden)]
pub use crate::json::Value;
pub use trainyard_sdk_derive::{Choice, Parameters};

/// A set of parameters. Derive it:
///
/// ```
/// use trainyard_sdk::{Choice, Parameters};
///
/// #[derive(Parameters)]
/// struct Settings {
///     /// Passes over the training data.
///     #[param(default = 10, range = 1..=1000)]
///     epochs: usize,
///     /// How far a step goes.
///     #[param(default = 0.005, exclusive_min = 0.0)]
///     learning_rate: f64,
///     /// Units in each hidden layer.
///     #[param(default = [64, 64], min = 1, length = 0..=8)]
///     hidden: Vec<usize>,
///     /// What the loss measures.
///     #[param(default = "squared")]
///     loss: Loss,
///     /// Rows in a season; found out from the data when it is not set.
///     #[param(min = 2)]
///     season: Option<usize>,
/// }
///
/// #[derive(Choice, Debug, PartialEq)]
/// enum Loss { Squared, Absolute }
///
/// let settings = Settings::from_json(r#"{"epochs": 3, "loss": "absolute"}"#).unwrap();
/// assert_eq!((settings.epochs, settings.learning_rate, settings.loss), (3, 0.005, Loss::Absolute));
/// assert_eq!((settings.hidden, settings.season), (vec![64, 64], None));
/// ```
pub trait Parameters: Sized {
    /// A JSON Schema (2020-12) of an object.
    fn schema() -> String;

    /// The values in a JSON object; those that are missing have their defaults. The host has checked names and ranges before
    /// a plugin sees them; here a value of the wrong type is an error that names its parameter.
    fn from_json(json: &str) -> Result<Self>;
}

impl Parameters for () {
    fn schema() -> String {
        object_schema(&[])
    }
    fn from_json(_: &str) -> Result<Self> {
        Ok(())
    }
}

/// A type that one parameter can have: `bool`, integers, `f32`, `f64`, `String`, an enum that derives [`Choice`],
/// an `Option` or a `Vec` of these.
pub trait Parameter: Sized {
    /// The members of its schema, without braces.
    #[doc(hidden)]
    fn schema(limits: &Limits, nullable: bool) -> String;
    /// The value; an error says what was expected.
    #[doc(hidden)]
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// What the attribute of a parameter says about its values, as JSON text.
#[doc(hidden)]
#[derive(Clone, Copy, Default)]
pub struct Limits {
    pub minimum: Option<&'static str>,
    pub exclusive_minimum: Option<&'static str>,
    pub maximum: Option<&'static str>,
    pub exclusive_maximum: Option<&'static str>,
    /// The inside of a JSON array.
    pub choices: Option<&'static str>,
    pub min_items: Option<&'static str>,
    pub max_items: Option<&'static str>,
}

/// One parameter, as the derive macro sees it: JSON text all through, so that it only has to be joined.
#[doc(hidden)]
pub struct Property {
    pub name: &'static str,
    pub description: &'static str,
    pub default: &'static str,
    pub limits: Limits,
    pub schema: fn(&Limits, bool) -> String,
}

#[doc(hidden)]
pub fn object_schema(properties: &[Property]) -> String {
    let mut text = String::from(
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,"properties":{"#,
    );
    for (index, property) in properties.iter().enumerate() {
        let Property {
            name,
            description,
            default,
            limits,
            schema,
        } = property;
        let comma = if index > 0 { "," } else { "" };
        let members = schema(limits, false);
        text += &[
            comma,
            name,
            ":{\"description\":",
            description,
            ",",
            &members,
            ",\"default\":",
            default,
            "}",
        ]
        .concat();
    }
    text + "}}"
}

/// The host's JSON object, on its way into a struct.
#[doc(hidden)]
pub struct Object(Value);

#[doc(hidden)]
impl Object {
    pub fn parse(json: &str) -> Result<Self> {
        Ok(Self(Value::parse(json).ok_or("the parameters are not valid JSON")?))
    }

    /// A member, or its default, which is JSON text.
    pub fn get<T: Parameter>(&self, name: &str, default: &str) -> Result<T> {
        let value = match self.0.get(name) {
            Some(value) => T::from_value(value),
            // The macro wrote it: it is valid JSON.
            None => T::from_value(&Value::parse(default).unwrap_or(Value::Null)),
        };
        value.map_err(|message| format!("parameter `{name}`: {message}").into())
    }
}

fn mismatch<T>(expected: &str, value: &Value) -> Result<T, String> {
    Err(format!("{expected} is expected, not {}", kind(value)))
}

/// Named by kind: printing a number would make the plugin larger.
fn kind(value: &Value) -> &str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "that number",
        Value::Text(text) => text,
        Value::List(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// `"type":"..."`, the choices, and the limits of a number.
fn leaf(kind: &str, limits: &Limits, nullable: bool) -> String {
    let mut text = match nullable {
        true => format!(r#""type":["{kind}","null"]"#),
        false => format!(r#""type":"{kind}""#),
    };
    if let Some(choices) = limits.choices {
        let null = if nullable { ",null" } else { "" };
        text += &format!(r#","enum":[{choices}{null}]"#);
    }
    let bounds = [
        ("minimum", limits.minimum),
        ("exclusiveMinimum", limits.exclusive_minimum),
        ("maximum", limits.maximum),
        ("exclusiveMaximum", limits.exclusive_maximum),
    ];
    for (name, bound) in bounds {
        if let Some(bound) = bound {
            text += &format!(r#","{name}":{bound}"#);
        }
    }
    text
}

macro_rules! integers {
    ($($type:ty: $minimum:expr, $maximum:expr;)+) => {
        $(impl Parameter for $type {
            fn schema(limits: &Limits, nullable: bool) -> String {
                let mut limits = *limits;
                if limits.exclusive_minimum.is_none() {
                    limits.minimum = limits.minimum.or($minimum);
                }
                if limits.exclusive_maximum.is_none() {
                    limits.maximum = limits.maximum.or($maximum);
                }
                leaf("integer", &limits, nullable)
            }
            fn from_value(value: &Value) -> Result<Self, String> {
                match value {
                    // A cast saturates: out of range, it does not come back as it was.
                    Value::Number(number) if *number as $type as f64 == *number => Ok(*number as $type),
                    _ => mismatch("an integer in range", value),
                }
            }
        })+
    };
}
// The limits of every integer type are told, so that the host refuses what would not fit; of 64 bits those that a JSON
// number has everywhere. `usize` is 32 bits in a plugin.
integers! {
    u8: Some("0"), Some("255");
    u16: Some("0"), Some("65535");
    u32: Some("0"), Some("4294967295");
    usize: Some("0"), Some("4294967295");
    u64: Some("0"), Some("9007199254740991");
    i32: Some("-2147483648"), Some("2147483647");
    i64: Some("-9007199254740991"), Some("9007199254740991");
}

impl Parameter for f64 {
    fn schema(limits: &Limits, nullable: bool) -> String {
        leaf("number", limits, nullable)
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Number(number) => Ok(*number),
            _ => mismatch("a number", value),
        }
    }
}

impl Parameter for f32 {
    fn schema(limits: &Limits, nullable: bool) -> String {
        f64::schema(limits, nullable)
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        Ok(f64::from_value(value)? as f32)
    }
}

impl Parameter for bool {
    fn schema(limits: &Limits, nullable: bool) -> String {
        leaf("boolean", limits, nullable)
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Bool(value) => Ok(*value),
            _ => mismatch("true or false", value),
        }
    }
}

impl Parameter for String {
    fn schema(limits: &Limits, nullable: bool) -> String {
        leaf("string", limits, nullable)
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            _ => mismatch("a text", value),
        }
    }
}

impl<T: Parameter> Parameter for Option<T> {
    fn schema(limits: &Limits, _: bool) -> String {
        T::schema(limits, true)
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        if *value == Value::Null {
            Ok(None)
        } else {
            T::from_value(value).map(Some)
        }
    }
}

impl<T: Parameter> Parameter for Vec<T> {
    fn schema(limits: &Limits, nullable: bool) -> String {
        let mut text = leaf("array", &Limits::default(), nullable);
        text += &[",\"items\":{", &T::schema(limits, false), "}"].concat();
        for (name, bound) in [("minItems", limits.min_items), ("maxItems", limits.max_items)] {
            if let Some(bound) = bound {
                text += &format!(r#","{name}":{bound}"#);
            }
        }
        text
    }
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::List(items) => items.iter().map(T::from_value).collect(),
            _ => mismatch("a list", value),
        }
    }
}

/// For the code that [`Choice`] generates: `names` as they are written, in the order of the variants.
#[doc(hidden)]
pub fn choice_schema(names: &'static str, nullable: bool) -> String {
    leaf(
        "string",
        &Limits {
            choices: Some(names),
            ..Limits::default()
        },
        nullable,
    )
}

#[doc(hidden)]
pub fn choice_index(names: &[&str], value: &Value) -> Result<usize, String> {
    let place = match value {
        Value::Text(text) => names.iter().position(|name| name == text),
        _ => None,
    };
    place.ok_or_else(|| format!("one of {} is expected, not {}", names.join(", "), kind(value)))
}
