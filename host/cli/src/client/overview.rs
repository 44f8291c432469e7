//! What a table turned out to be, as a server tells it, for a person: its rows, devices, gaps and columns.

use super::text;
use crate::output;
use serde_json::Value;
use trainyard_parameters::one_line;

/// Heights of a spark line.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Characters that it has at most: with the figures beside it, a line of a terminal.
const WIDTH: usize = 24;
/// Devices that are named.
const NAMED: usize = 4;

/// Rows, devices, time and gaps, each in a line.
pub fn facts(report: &Value) -> Vec<(&'static str, String)> {
    let number = |name: &str| report[name].as_u64();
    let rows = text::count(number("rows").unwrap_or_default());
    let mut facts = vec![match number("counted") {
        Some(counted) => ("rows", format!("{rows} were read, of {}", text::count(counted))),
        None => ("rows", rows),
    }];
    facts.extend(devices(&report["devices"]).map(|devices| ("devices", devices)));
    if let Some([first, last]) = report["time"].as_array().map(Vec::as_slice) {
        facts.push(("time", format!("{} to {}", text::value(first), text::value(last))));
    }
    if let gaps @ Value::Object(_) = &report["gaps"] {
        facts.push(("step", text::value(&gaps["step"])));
        facts.push(("gaps", self::gaps(gaps)));
    }
    facts
}

fn devices(devices: &Value) -> Option<String> {
    let first = devices["first"].as_array()?;
    let count = devices["count"].as_u64().unwrap_or(first.len() as u64);
    let named = |device: &Value| format!("{} ({})", text::value(&device["name"]), rows(&device["rows"]));
    let mut names: Vec<String> = first.iter().take(NAMED).map(named).collect();
    if count > names.len() as u64 {
        names.push("…".into());
    }
    Some(format!("{}: {}", text::count(count), names.join(", ")))
}

fn rows(count: &Value) -> String {
    match count.as_u64().unwrap_or_default() {
        1 => "1 row".into(),
        count => format!("{} rows", text::count(count)),
    }
}

fn gaps(gaps: &Value) -> String {
    let Some(longest) = gaps["longest"].as_array().and_then(|longest| longest.first()) else {
        return "none".into();
    };
    let device = match &longest["device"] {
        Value::Null => String::new(),
        device => format!(" of {}", text::value(device)),
    };
    format!(
        "{}, {} missing; the longest{device} from {} to {} ({})",
        text::count(gaps["count"].as_u64().unwrap_or_default()),
        rows(&gaps["missing_rows"]),
        text::value(&longest["from"]),
        text::value(&longest["to"]),
        rows(&longest["missing_rows"])
    )
}

/// A table of the columns, and what may be wrong.
pub fn print(report: &Value) {
    let mut table = text::table(["column", "type", "missing", "min", "mean", "max", "course"]);
    let rows = report["rows"].as_u64().unwrap_or_default();
    for column in report["columns"].as_array().into_iter().flatten() {
        let number = |name: &str| text::figure(&column[name]);
        table.add_row([
            text::value(&column["name"]),
            text::value(&column["type"]),
            missing(column["missing"].as_u64().unwrap_or_default(), rows),
            number("min"),
            number("mean"),
            number("max"),
            spark(column["spark"].as_array().map_or(&[], Vec::as_slice)),
        ]);
    }
    for column in 2..6 {
        text::right(&mut table, column);
    }
    if !table.is_empty() {
        output::print(&table.to_string());
    }
    for warning in report["warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        output::print(&format!("warning: {}", one_line(warning)));
    }
}

fn missing(missing: u64, rows: u64) -> String {
    match missing {
        0 => "0".into(),
        missing => format!(
            "{} ({:.1} %)",
            text::count(missing),
            100.0 * missing as f64 / rows.max(1) as f64
        ),
    }
}

/// A line of blocks, as high as the values are; a space where there is none.
fn spark(points: &[Value]) -> String {
    // Several points to a character, where there are more of them than that.
    let each = points.len().div_ceil(WIDTH).max(1);
    let means: Vec<Option<f64>> = points
        .chunks(each)
        .map(|points| {
            let values: Vec<f64> = points.iter().filter_map(Value::as_f64).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        })
        .collect();
    let present = || means.iter().flatten().copied();
    let (Some(least), Some(most)) = (present().reduce(f64::min), present().reduce(f64::max)) else {
        return String::new();
    };
    let height = |value: f64| match most - least {
        span if span > 0.0 => BLOCKS[((value - least) / span * 7.0).round().clamp(0.0, 7.0) as usize],
        _ => BLOCKS[3],
    };
    means.iter().map(|mean| mean.map_or(' ', height)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(points: &Value) -> String {
        spark(points.as_array().unwrap())
    }

    #[test]
    fn a_spark_line_is_as_high_as_the_values_and_empty_where_there_are_none() {
        assert_eq!(of(&json!([0, 1, 2, 3, 4, 5, 6, 7])), "▁▂▃▄▅▆▇█");
        assert_eq!(of(&json!([-1.5, null, 2.0])), "▁ █");
        assert_eq!(of(&json!([3, 3])), "▄▄");
        assert_eq!(of(&json!([null, null])), "");
        assert_eq!(of(&json!([])), "");
        let many: Vec<usize> = (0..60).collect();
        let line = of(&json!(many));
        assert_eq!(line.chars().count(), 20);
        assert!(line.starts_with('▁') && line.ends_with('█'), "{line}");
    }

    #[test]
    fn rows_devices_and_gaps_are_told_in_a_line_each() {
        let report = json!({
            "rows": 1_000_000, "counted": 5_000_000, "time": ["2024-01-01", "2024-02-01"],
            "gaps": {"step": "1 h", "count": 2, "missing_rows": 1200,
                "longest": [{"device": "a", "from": "2024-01-02", "to": "2024-01-09", "missing_rows": 1100}]},
            "devices": {"count": 6, "first": [{"name": "a", "rows": 2000}, {"name": "b", "rows": 1}]},
        });
        let lines: Vec<String> = facts(&report)
            .iter()
            .map(|(name, text)| format!("{name} {text}"))
            .collect();
        assert_eq!(
            lines,
            [
                "rows 1,000,000 were read, of 5,000,000",
                "devices 6: a (2,000 rows), b (1 row), …",
                "time 2024-01-01 to 2024-02-01",
                "step 1 h",
                "gaps 2, 1,200 rows missing; the longest of a from 2024-01-02 to 2024-01-09 (1,100 rows)",
            ]
        );
        let none = facts(&json!({"rows": 3, "gaps": {"step": "1 h", "count": 0, "missing_rows": 0, "longest": []}}));
        assert_eq!(none[2], ("gaps", "none".into()));
        assert_eq!(missing(3, 1000), "3 (0.3 %)");
    }
}
