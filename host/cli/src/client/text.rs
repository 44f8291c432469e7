//! How what a server tells is written for a person.

use crate::output;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, Value};
use std::time::Duration;
use trainyard_parameters::one_line;

/// An empty table under a header.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

/// Numbers end where their digits do.
pub fn right(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// `2026-01-31 12:05:09` of `2026-01-31T12:05:09.123456Z`.
pub fn time(timestamp: &str) -> String {
    let seconds = timestamp
        .get(..19)
        .filter(|_| timestamp.as_bytes().get(10) == Some(&b'T'));
    one_line(&seconds.map_or_else(|| timestamp.to_owned(), |text| text.replace('T', " ")))
}

/// Figures in one line: `mse 0.3741  mae 0.3961`.
pub fn figures(metrics: &Map<String, Value>, most: usize) -> String {
    let spelled = |(name, value): (&String, &Value)| format!("{} {}", one_line(name), figure(value));
    metrics.iter().take(most).map(spelled).collect::<Vec<_>>().join("  ")
}

/// A figure, in digits that count.
pub fn figure(value: &Value) -> String {
    value.as_f64().map_or_else(|| "-".into(), output::number)
}

/// A count as a person reads it: `1,200,000`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value of JSON in a line: texts without quotes, lists with commas.
pub fn value(value: &Value) -> String {
    one_line(&match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(self::value).collect::<Vec<_>>().join(", ")
        }
        value => value.to_string(),
    })
}

/// Name and value pairs in one line, such as parameters.
pub fn pairs(object: &Value) -> String {
    let pairs = object.as_object().into_iter().flatten();
    let spelled: Vec<String> = pairs
        .map(|(name, v)| format!("{}={}", one_line(name), value(v)))
        .collect();
    if spelled.is_empty() {
        "-".into()
    } else {
        spelled.join(" ")
    }
}

/// Seconds as a person says them.
pub fn seconds(seconds: f64) -> String {
    output::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// Where a training's rows come from, and what becomes of them, in one line.
pub fn dataset(dataset: &Value) -> String {
    let Value::Object(fields) = dataset else {
        return value(dataset);
    };
    let mut parts = Vec::new();
    for (name, field) in fields {
        match (name.as_str(), field) {
            (_, Value::Null) | ("source", _) => {}
            ("dataset_id" | "path", field) => parts.insert(0, value(field)),
            ("preprocess", object) => parts.extend(Some(pairs(object)).filter(|text| text != "-")),
            (name, field) => parts.push(format!("{}={}", one_line(name), value(field))),
        }
    }
    parts.join(" ")
}

/// Lines of `name  value`, the names padded to one width.
pub fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{name:width$}  {value}");
    facts.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_server_tells_is_short_and_in_one_line() {
        assert_eq!(time("2026-01-31T12:05:09.123Z"), "2026-01-31 12:05:09");
        assert_eq!(time("odd\n"), "odd");
        assert_eq!(value(&json!(["a", 1, null])), "a, 1, -");
        assert_eq!(value(&json!("a\u{1b}[31m\nb")), "a\u{fffd}[31m b");
        assert_eq!(pairs(&json!({"lr": 0.1, "layers": [1, 2]})), "lr=0.1 layers=1, 2");
        assert_eq!(pairs(&json!({})), "-");
        assert_eq!(figure(&json!(0.37512)), "0.3751");
        assert_eq!([7, 999, 1000, 1_200_000].map(count), ["7", "999", "1,000", "1,200,000"]);
        assert_eq!(
            dataset(
                &json!({"source": "upload", "target": ["y"], "task": null, "dataset_id": "d", "preprocess": {"sort": true}})
            ),
            "d target=y sort=true"
        );
        assert_eq!(facts(&[("a", "1".into()), ("bcd", "2".into())]), "a    1\nbcd  2");
    }
}
