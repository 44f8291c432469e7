//! `trainyard data preview`: the rows that a training would learn from, read by the server.

use super::datasets::named;
use super::http::Client;
use super::{overview, text};
use crate::args::PreviewOptions;
use crate::failure::Result;
use crate::output;
use serde_json::{Value, json};

/// Asks for the rows, and shows what they are.
pub fn preview(options: &PreviewOptions) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let dataset = Value::Object(named(&client, &options.dataset)?.fields);
    let report: Value = client.work("/datasets/preview", &[], &json!({"dataset": dataset}))?;
    if options.client.json {
        output::print_json(&report);
        return Ok(());
    }
    let source = dataset["source"].as_str().unwrap_or("tdengine");
    let mut facts = vec![(
        "source",
        format!("{} {}", text::value(&json!(source)), text::dataset(&dataset)),
    )];
    facts.extend(overview::facts(&report));
    output::print(&text::facts(&facts));
    overview::print(&report);
    Ok(())
}
