//! Parameters as they are typed: `--param name=value`, read by the plugin's schema.

use crate::failure::{Failure, Result};
use serde_json::{Map, Value};
use trainyard_parameters::Schema;

/// The parameters that were given, without the defaults of the others.
pub fn parameters(typed: &[String], schema: &Schema) -> Result<Map<String, Value>> {
    let mut given = Map::new();
    for pair in typed {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(Failure::Usage(format!("--param {pair}: write it as name=value")));
        };
        let value = schema
            .parse_value(name.trim(), text.trim())
            .map_err(|problem| Failure::Parameter(problem.to_string()))?;
        if given.insert(name.trim().to_owned(), value).is_some() {
            return Err(Failure::Parameter(format!(
                "parameter `{}` is given twice",
                name.trim()
            )));
        }
    }
    Ok(given)
}
