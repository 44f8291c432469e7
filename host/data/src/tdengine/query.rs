//! What to read: the part of a request's `training_dataset` that is about TDengine.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    moment::Moment,
    name::{Name, text_literal},
};
use crate::error::quoted;

/// Rows to read: which devices, which times, and how they are thinned out. Never a text that a server would run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceQuery {
    /// The database; the configured one when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Name>,
    /// A super table, or a table. `device_data` when it is not said.
    #[serde(default = "device_data")]
    pub table: Name,
    /// The devices to read, by the values of the device column. All that the tags leave when it is not said.
    #[serde(default, with = "one_or_more", skip_serializing_if = "Option::is_none")]
    pub device_id: Option<Vec<TagValue>>,
    /// Values that tags (or columns) must have: one, or any of several.
    #[serde(default, with = "tag_filter", skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<Name, Vec<TagValue>>,
    /// The first time; what is there when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Moment>,
    /// The time before which the rows end: it is not read itself. The moment of reading when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Moment>,
    /// The zone of times without an offset.
    #[serde(default = "shanghai", deserialize_with = "zone")]
    pub time_zone: Tz,
    /// The width of windows that the database makes one row of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// What becomes of the values in a window: one function for all columns, or one for each. The mean when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregates>,
    /// What stands in windows without rows.
    #[serde(default, skip_serializing_if = "Fill::is_none")]
    pub fill: Fill,
    /// At most so many rows of each device: the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Reads again what is at hand already: values that were overwritten in place are not noticed otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refresh: bool,
}

/// The fields of a [`DeviceQuery`].
pub const QUERY_FIELDS: [&str; 12] = [
    "database",
    "table",
    "device_id",
    "tags",
    "start_time",
    "end_time",
    "time_zone",
    "interval",
    "aggregate",
    "fill",
    "limit",
    "refresh",
];

fn device_data() -> Name {
    Name::new("device_data").expect("this is a name")
}

fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    let name = String::deserialize(deserializer)?;
    name.parse().map_err(|_| {
        serde::de::Error::custom(format!(
            "time_zone {} is not known: write a name such as Asia/Shanghai, Europe/Berlin or UTC",
            quoted(&name)
        ))
    })
}

fn shanghai() -> Tz {
    Tz::Asia__Shanghai
}

impl Default for DeviceQuery {
    fn default() -> Self {
        Self {
            database: None,
            table: device_data(),
            device_id: None,
            tags: BTreeMap::new(),
            start_time: None,
            end_time: None,
            time_zone: shanghai(),
            interval: None,
            aggregate: None,
            fill: Fill::None,
            limit: None,
            refresh: false,
        }
    }
}

impl DeviceQuery {
    /// Checks what one field alone cannot tell. The error is one line.
    pub fn check(&self) -> Result<(), String> {
        if self.interval.is_none() && self.aggregate.is_some() {
            return Err("aggregate needs an interval, such as \"10m\"".to_owned());
        }
        if self.interval.is_none() && self.fill != Fill::None {
            return Err(
                "fill needs an interval, such as \"10m\"; preprocess fills what is missing in single rows".to_owned(),
            );
        }
        if self.device_id.as_ref().is_some_and(Vec::is_empty) {
            return Err("device_id is an empty list: name a device, or leave it out for all".to_owned());
        }
        if let Some((name, _)) = self.tags.iter().find(|(_, values)| values.is_empty()) {
            return Err(format!("tags: {name} has an empty list of values: name one"));
        }
        if self.limit == Some(0) {
            return Err("limit is 0: it must be at least 1".to_owned());
        }
        for value in self.device_id.iter().flatten().chain(self.tags.values().flatten()) {
            value.sql()?;
        }
        Ok(())
    }
}

/// A value of a tag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TagValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
}

impl TagValue {
    /// As it stands in a statement. The error is one line.
    pub(crate) fn sql(&self) -> Result<String, String> {
        match self {
            Self::Bool(value) => Ok(value.to_string()),
            Self::Int(value) => Ok(value.to_string()),
            Self::Float(value) if value.is_finite() => Ok(format!("{value:?}")),
            Self::Float(value) => Err(format!("{value} is no value of a tag")),
            Self::Text(text) => text_literal(text),
        }
    }
}

impl fmt::Display for TagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// The width of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    count: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Seconds,
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

/// How units are written (ours and TDengine's), TDengine's letter, and their nanoseconds, where they always have as many.
const UNITS: [(&[&str], char, Unit, Option<i64>); 10] = [
    (&["ns", "b"], 'b', Unit::Nanoseconds, Some(1)),
    (&["us", "u"], 'u', Unit::Microseconds, Some(1_000)),
    (&["ms", "a"], 'a', Unit::Milliseconds, Some(1_000_000)),
    (&["s"], 's', Unit::Seconds, Some(1_000_000_000)),
    (&["m", "min"], 'm', Unit::Minutes, Some(60_000_000_000)),
    (&["h"], 'h', Unit::Hours, Some(3_600_000_000_000)),
    (&["d"], 'd', Unit::Days, None),
    (&["w"], 'w', Unit::Weeks, None),
    (&["M", "n", "month"], 'n', Unit::Months, None),
    (&["y"], 'y', Unit::Years, None),
];

impl Interval {
    /// As it stands in a statement.
    pub(crate) fn sql(self) -> String {
        let (_, letter, ..) = UNITS[self.unit as usize];
        format!("{}{letter}", self.count)
    }

    /// Nanoseconds, where that does not depend on the calendar.
    pub(crate) fn nanos(self) -> Option<i64> {
        UNITS[self.unit as usize].3?.checked_mul(i64::from(self.count))
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (count, unit) = text.split_at(digits);
        let unit = UNITS.iter().find(|(written, ..)| written.contains(&unit));
        match (count.parse(), unit) {
            (Ok(count @ 1..), Some((_, _, unit, _))) => Ok(Self { count, unit: *unit }),
            _ => Err(format!(
                "{} is no interval: write a number and a unit, such as 10m (ns, us, ms, s, m, h, d, w, M for months, y)",
                quoted(text)
            )),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (written, ..) = UNITS[self.unit as usize];
        write!(f, "{}{}", self.count, written[0])
    }
}

impl Serialize for Interval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What becomes of a window's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregate {
    /// Their mean.
    #[default]
    Avg,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their sum.
    Sum,
    /// How many there are.
    Count,
    /// The first that is not NULL.
    First,
    /// The last that is not NULL.
    Last,
    /// The largest less the smallest.
    Spread,
    /// Their standard deviation.
    Stddev,
}

impl Aggregate {
    /// The function's name in a statement.
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::First => "first",
            Self::Last => "last",
            Self::Spread => "spread",
            Self::Stddev => "stddev",
        }
    }
}

/// A function for every column, or one for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Aggregates {
    /// The same for all.
    All(Aggregate),
    /// By column; the mean for those that are not named.
    ByColumn(BTreeMap<Name, Aggregate>),
}

impl Aggregates {
    /// The function of a column.
    pub(crate) fn of(&self, column: &Name) -> Aggregate {
        match self {
            Self::All(aggregate) => *aggregate,
            Self::ByColumn(each) => each.get(column).copied().unwrap_or_default(),
        }
    }
}

/// What stands in windows without rows.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// Such windows are left out.
    #[default]
    None,
    /// NULL: a missing value.
    Null,
    /// What the window before has.
    Previous,
    /// A straight line between the neighbours.
    Linear,
    /// This number.
    Value(f64),
}

impl Fill {
    fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Whether a window's value depends on other windows.
    pub(crate) fn looks_around(self) -> bool {
        matches!(self, Self::Previous | Self::Linear)
    }

    /// As it stands in a statement, for so many columns.
    pub(crate) fn sql(self, columns: usize) -> String {
        match self {
            Self::None => "fill(none)".to_owned(),
            Self::Null => "fill(null)".to_owned(),
            Self::Previous => "fill(prev)".to_owned(),
            Self::Linear => "fill(linear)".to_owned(),
            Self::Value(value) => format!("fill(value{})", format!(", {value:?}").repeat(columns)),
        }
    }
}

/// One value or a list of them.
mod one_or_more {
    use super::{Deserialize, Deserializer, Serialize, Serializer, TagValue};

    #[derive(Deserialize, Serialize)]
    #[serde(untagged)]
    pub(super) enum OneOrMore {
        One(TagValue),
        More(Vec<TagValue>),
    }

    impl From<OneOrMore> for Vec<TagValue> {
        fn from(values: OneOrMore) -> Self {
            match values {
                OneOrMore::One(value) => vec![value],
                OneOrMore::More(values) => values,
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(values: &Option<Vec<TagValue>>, serializer: S) -> Result<S::Ok, S::Error> {
        match values.as_deref() {
            Some([one]) => one.serialize(serializer),
            values => values.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<TagValue>>, D::Error> {
        Ok(Option::<OneOrMore>::deserialize(deserializer)?.map(Into::into))
    }
}

/// Tags with one value or a list of them.
mod tag_filter {
    use super::{BTreeMap, Deserialize, Deserializer, Name, Serialize, Serializer, TagValue, one_or_more::OneOrMore};

    pub(super) fn serialize<S: Serializer>(
        tags: &BTreeMap<Name, Vec<TagValue>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        tags.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<Name, Vec<TagValue>>, D::Error> {
        let tags = BTreeMap::<Name, OneOrMore>::deserialize(deserializer)?;
        Ok(tags.into_iter().map(|(name, values)| (name, values.into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: serde_json::Value) -> Result<DeviceQuery, String> {
        let query: DeviceQuery = serde_json::from_value(value).map_err(|error| error.to_string())?;
        query.check()?;
        Ok(query)
    }

    #[test]
    fn the_originals_three_fields_are_enough() {
        let query =
            read(json!({"device_id": "machine-7", "start_time": "2024-01-01", "end_time": "2024-02-01"})).unwrap();
        assert_eq!(query.table.as_str(), "device_data");
        assert_eq!(query.time_zone, chrono_tz::Asia::Shanghai);
        assert_eq!(query.device_id, Some(vec![TagValue::Text("machine-7".into())]));
        let again = read(serde_json::to_value(&query).unwrap()).unwrap();
        assert_eq!(again, query);
    }

    #[test]
    fn a_full_query_survives_json() {
        let query = read(json!({
            "database": "plant", "table": "meters", "device_id": ["a", 7], "tags": {"site": "berlin", "line": [1, 2]},
            "start_time": "-30d", "end_time": 1714521600, "time_zone": "Europe/Berlin", "interval": "10m",
            "aggregate": {"value": "max"}, "fill": {"value": 0.5}, "limit": 10, "refresh": true,
        }))
        .unwrap();
        assert_eq!(query.interval.unwrap().sql(), "10m");
        assert_eq!(query.fill.sql(2), "fill(value, 0.5, 0.5)");
        assert_eq!(read(serde_json::to_value(&query).unwrap()).unwrap(), query);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (value, expected) in [
            (json!({"table": "a b"}), "no name"),
            (json!({"fill": "linear"}), "needs an interval"),
            (json!({"aggregate": "avg"}), "needs an interval"),
            (json!({"interval": "0m"}), "no interval"),
            (json!({"interval": "10 minutes"}), "no interval"),
            (json!({"device_id": []}), "empty list"),
            (json!({"tags": {"a": []}}), "empty list"),
            (json!({"tags": {"a; drop": 1}}), "no name"),
            (json!({"limit": 0}), "at least 1"),
            (json!({"time_zone": "Mars/Base"}), "Mars/Base"),
            (json!({"device_id": "a\u{0}b"}), "control character"),
            (json!({"aggregate": "drop", "interval": "1h"}), "did not match"),
            (json!({"start_time": "yesterday"}), "no time"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }

    #[test]
    fn intervals_are_written_as_the_database_does() {
        for (text, sql, nanos) in [
            ("500ms", "500a", Some(500_000_000)),
            ("1h", "1h", Some(3_600_000_000_000)),
            ("1d", "1d", None),
            ("2M", "2n", None),
            ("7b", "7b", Some(7)),
        ] {
            let interval: Interval = text.parse().unwrap();
            assert_eq!((interval.sql().as_str(), interval.nanos()), (sql, nanos));
            assert_eq!(interval.to_string().parse::<Interval>().unwrap(), interval);
        }
    }
}
