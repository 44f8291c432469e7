//! `trainyard report`: what came of a training, on one page of the terminal.

use super::api::{Model, Run};
use super::http::Client;
use super::plugins::read;
use super::text;
use super::watch::{Figure, figures};
use crate::args::RunChoice;
use crate::failure::Result;
use crate::output;
use serde::Deserialize;
use serde_json::Value;
use trainyard_parameters::one_line;

/// Columns that a curve takes.
const WIDTH: usize = 60;

#[derive(Deserialize)]
struct Report {
    model: Model,
    run: Run,
    metrics: Vec<Figure>,
    #[serde(default)]
    parameters: Vec<Parameter>,
    waited_seconds: Option<f64>,
    worked_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct Parameter {
    name: String,
    value: Value,
    #[serde(default)]
    default: Value,
    description: Option<String>,
}

/// Shows the report of a training, the last one when none is named.
pub fn report(options: &RunChoice) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let model = client.model(&options.model)?;
    let run = options.run.as_deref().map(|run| ("run", run));
    let value: Value = client.get(&format!("/models/{}/report", model.id), run.as_slice())?;
    if options.client.json {
        output::print_json(&value);
        return Ok(());
    }
    let report = read::<Report>(&client, vec![value])?.remove(0);
    output::print(&heading(&report.model, &report.run));
    if !report.metrics.is_empty() {
        output::print(&figures(&report.metrics));
    }
    // Curves are worth a request, not a failure.
    let query = [("run", report.run.id.as_str()), ("points", "200")];
    if let Ok(series) = client.get::<AllSeries>(&format!("/models/{}/metrics", model.id), &query) {
        let curves = curves(&series.items);
        if !curves.is_empty() {
            output::print(&curves);
        }
    }
    if !report.parameters.is_empty() {
        output::print(&parameters(&report.parameters));
    }
    output::print(&text::facts(&facts(&report)));
    if let Some(error) = &report.run.error_log {
        output::print("error");
        error
            .lines()
            .for_each(|line| output::print(&format!("  {}", one_line(line))));
    }
    Ok(())
}

fn heading(model: &Model, run: &Run) -> String {
    let taken = if model.trained_run.as_deref() == Some(run.id.as_str()) {
        "; the model predicts with it"
    } else {
        ""
    };
    format!(
        "model {} ({}), run {}: {}{taken}",
        model.id,
        one_line(&model.name),
        one_line(&run.id),
        one_line(&run.state)
    )
}

fn parameters(parameters: &[Parameter]) -> String {
    let mut table = text::table(["parameter", "value", "default", "meaning"]);
    for parameter in parameters {
        table.add_row([
            one_line(&parameter.name),
            text::value(&parameter.value),
            text::value(&parameter.default),
            one_line(parameter.description.as_deref().unwrap_or_default()),
        ]);
    }
    table.to_string()
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let run = &report.run;
    let mut facts = vec![
        ("plugin", one_line(&format!("{} {}", run.plugin, run.plugin_version))),
        ("digest", one_line(&run.plugin_digest)),
        ("seed", run.seed.to_string()),
        ("data", text::dataset(&run.training_dataset)),
    ];
    facts.extend(trained_on(&run.lineage["data"]).into_iter().map(|line| ("", line)));
    facts.push(("limits", text::pairs(&run.limits)));
    let seconds = [("waited", report.waited_seconds), ("took", report.worked_seconds)];
    facts.extend(
        seconds
            .into_iter()
            .filter_map(|(name, seconds)| Some((name, text::seconds(seconds?)))),
    );
    if let Some(usage) = &run.resource_usage {
        facts.push((
            "used",
            format!(
                "processor {:.0} %, memory {:.0} MiB",
                usage.cpu_percent, usage.memory_mb
            ),
        ));
        facts.extend(usage.card().map(|card| ("card", card)));
    }
    if run.attempt > 1 {
        facts.push(("attempts", run.attempt.to_string()));
    }
    let times = [
        ("submitted", Some(&run.created_at)),
        ("started", run.started_at.as_ref()),
        ("ended", run.finished_at.as_ref()),
    ];
    facts.extend(times.into_iter().filter_map(|(name, at)| Some((name, text::time(at?)))));
    facts.extend(run.worker.as_deref().map(|worker| ("worker", one_line(worker))));
    facts
}

/// What the rows turned out to be, in lines.
fn trained_on(data: &Value) -> Vec<String> {
    let told = |name: &str| data.get(name).filter(|value| !value.is_null()).map(text::value);
    let mut lines = Vec::new();
    if let Some(rows) = told("rows") {
        let time = data["time"]
            .as_array()
            .map(|ends| ends.iter().map(text::value).collect::<Vec<_>>().join(" to "));
        let step = told("step").map(|step| format!("one every {step}"));
        let missing = data["missing"]
            .as_u64()
            .filter(|count| *count > 0)
            .map(|count| format!("{count} values missing"));
        let parts: Vec<String> = [Some(format!("{rows} rows")), time, step, missing]
            .into_iter()
            .flatten()
            .collect();
        lines.push(parts.join(", "));
    }
    let splits = data["splits"].as_array().into_iter().flatten();
    let splits: Vec<String> = splits
        .map(|split| format!("{} {}", text::value(&split["name"]), text::value(&split["rows"])))
        .collect();
    lines.extend(Some(splits.join(", ")).filter(|splits| !splits.is_empty()));
    for (name, label) in [
        ("features", "from"),
        ("targets", "to"),
        ("classes", "classes"),
        ("fingerprint", "fingerprint"),
    ] {
        lines.extend(
            told(name)
                .filter(|value| !value.is_empty())
                .map(|value| format!("{label} {value}")),
        );
    }
    lines
}

#[derive(Deserialize)]
struct AllSeries {
    items: Vec<Series>,
}

/// A figure over time: step, seconds, value.
#[derive(Deserialize)]
struct Series {
    name: String,
    points: Vec<(f64, f64, f64)>,
}

/// A line for each figure: its curve, where it began and where it ended.
fn curves(all: &[Series]) -> String {
    let width = all.iter().map(|series| series.name.chars().count()).max().unwrap_or(0);
    let lines = all.iter().filter_map(|series| {
        let values: Vec<f64> = series.points.iter().map(|(_, _, value)| *value).collect();
        let (first, last) = (output::number(*values.first()?), output::number(*values.last()?));
        Some(format!(
            "{:width$}  {}  {first} to {last}",
            one_line(&series.name),
            curve(&values)
        ))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Values as a line of bars, the smallest the lowest.
fn curve(values: &[f64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let (least, most) = values
        .iter()
        .fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    let columns = values.len().min(WIDTH);
    let bar = |column: usize| {
        let part = &values[column * values.len() / columns..(column + 1) * values.len() / columns];
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        let height = if most > least {
            (mean - least) / (most - least)
        } else {
            0.0
        };
        BARS[(height * 7.0).round().clamp(0.0, 7.0) as usize]
    };
    (0..columns).map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_curve_falls_as_its_values_do() {
        assert_eq!(curve(&[7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]), "█▇▆▅▄▃▂▁");
        assert_eq!(curve(&[2.0, 2.0]), "▁▁");
        assert_eq!(curve(&[]), "");
        assert_eq!(
            curve(&(0..1000).map(f64::from).collect::<Vec<_>>()).chars().count(),
            WIDTH
        );
    }

    #[test]
    fn rows_are_told_as_they_were_found() {
        let data = json!({
            "source": "a.csv", "rows": 1461, "time": ["2012-01-01", "2015-12-31"], "step": "1 d", "missing": 0,
            "splits": [{"name": "train", "rows": 1023}, {"name": "test", "rows": 292}], "features": ["a", "b"],
            "targets": ["b"], "classes": [], "fingerprint": "ab",
        });
        let expected = [
            "1461 rows, 2012-01-01 to 2015-12-31, one every 1 d",
            "train 1023, test 292",
            "from a, b",
            "to b",
            "fingerprint ab",
        ];
        assert_eq!(trained_on(&data), expected);
        assert!(trained_on(&Value::Null).is_empty());
    }

    #[test]
    fn every_figure_has_a_line() {
        let series: AllSeries = serde_json::from_value(json!({"run_id": "r", "items": [
            {"name": "loss", "points": [[1, 0.1, 2.0], [2, 0.2, 1.0]]},
            {"name": "val_mse", "points": [[2, 0.2, 3.0]]},
        ]}))
        .unwrap();
        assert_eq!(
            curves(&series.items),
            "loss     █▁  2.0000 to 1.0000\nval_mse  ▁  3.0000 to 3.0000"
        );
    }
}
