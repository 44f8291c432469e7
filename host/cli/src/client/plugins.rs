//! Plugins on a server: uploaded, listed, deleted.

use super::api::Plugin;
use super::http::{Client, escaped};
use super::text;
use crate::args::{PluginDeleteOptions, PluginListOptions, PluginPushOptions};
use crate::failure::{Failure, Result};
use crate::{library, output, project};
use serde_json::{Value, json};
use trainyard_parameters::one_line;

/// Uploads a plugin; the server inspects it. The same again is fine.
pub fn push(options: &PluginPushOptions) -> Result<()> {
    let path = library::find(&options.plugin)?;
    let client = Client::new(&options.client.server)?;
    let content = project::content(&path)?;
    let media = match path.extension().and_then(|ending| ending.to_str()) {
        _ if path.is_dir() => "application/zip",
        Some("py") => "text/x-python",
        Some("zip") => "application/zip",
        _ => "application/wasm",
    };
    let plugin: Plugin = client.upload("/plugins", &[], media, (&content[..], content.len() as u64))?;
    if options.client.json {
        output::print_json(&json!({
            "event": "result",
            "name": plugin.name,
            "version": plugin.version,
            "digest": plugin.digest,
        }));
    } else {
        output::print(&format!(
            "{} {}\n  digest {}\n  use it: trainyard model create NAME --plugin {}",
            one_line(&plugin.name),
            one_line(&plugin.version),
            one_line(&plugin.digest),
            one_line(&plugin.name)
        ));
    }
    Ok(())
}

/// Lists the newest version of each plugin.
pub fn list(options: &PluginListOptions) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let plugins: Vec<Value> = client.list("/plugins")?;
    if options.client.json {
        plugins.iter().for_each(output::print_json);
        return Ok(());
    }
    let mut table = text::table(["plugin", "version", "does", "about"]);
    for plugin in read::<Plugin>(&client, plugins)? {
        let tasks = plugin.tasks.join(", ");
        table.add_row([plugin.name, plugin.version, tasks, plugin.summary].map(|text| one_line(&text)));
    }
    output::print(&match table.is_empty() {
        true => format!(
            "{} has no plugins; `trainyard plugin push FILE` uploads one",
            client.url()
        ),
        false => table.to_string(),
    });
    Ok(())
}

/// Deletes a version; the server refuses while something uses it.
pub fn delete(options: &PluginDeleteOptions) -> Result<()> {
    let client = Client::new(&options.client.server)?;
    let (name, version) = (escaped(&options.name), escaped(&options.version));
    let plugin: Value = client.delete(&format!("/plugins/{name}/versions/{version}"))?;
    if options.client.json {
        output::print_json(&plugin);
    } else {
        output::print(&format!("{} {} is deleted", options.name, options.version));
    }
    Ok(())
}

/// Values as what they are to be.
pub fn read<T: serde::de::DeserializeOwned>(client: &Client, values: Vec<Value>) -> Result<Vec<T>> {
    values
        .into_iter()
        .map(serde_json::from_value)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Failure::Stranger {
            url: client.url().to_owned(),
            problem: format!("the answer does not read: {error}"),
        })
}
