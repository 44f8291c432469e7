//! What the tests of the TDengine source share.

pub use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use trainyard_data::tdengine::{DeviceQuery, Fetched, Options, Patience, Request, Tdengine, TdengineError};
pub use trainyard_data::{DataFormat, Frame, ReadOptions, Values};
pub use trainyard_test_tdengine::{Fault, On, Server, Then, World};

/// Options that fail fast.
pub fn options(dsn: &str, folder: &Path) -> Options {
    let mut options = Options::new(dsn, folder);
    options.write_dsn = Some(dsn.to_owned());
    options.patience = Patience {
        connect: Duration::from_secs(2),
        query: Duration::from_secs(5),
        block: Duration::from_secs(5),
        pause: Duration::from_millis(5),
    };
    options
}

/// Fetches what a request names.
pub async fn fetch(
    source: &Tdengine,
    request: serde_json::Value,
    columns: Option<&[&str]>,
) -> Result<Fetched, TdengineError> {
    let query: DeviceQuery = serde_json::from_value(request).unwrap();
    let columns: Option<Vec<String>> = columns.map(|columns| columns.iter().map(|&name| name.to_owned()).collect());
    let request = Request {
        query: &query,
        columns: columns.as_deref(),
        device_column: None,
        rows: None,
    };
    source.fetch(request, &|_| {}).await
}

/// Reads a dataset file.
pub fn frame(fetched: Fetched) -> Frame {
    let options = ReadOptions {
        time: Some(fetched.time),
        ..ReadOptions::default()
    };
    Frame::from_file(fetched.file, &fetched.name, DataFormat::Arrow, &options).unwrap()
}

/// Where the captured answers are, if they are there.
pub fn captures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tdengine-wire");
    if folder.exists() {
        return Some(folder);
    }
    println!("skipped: the captured answers are absent");
    None
}
