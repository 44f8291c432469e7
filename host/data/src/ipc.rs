//! Reads Arrow's IPC streams: record batches, one after the other, uncompressed.

use std::io::Read;

use arrow_ipc::reader::StreamReader;

use crate::{DataError, Frame, Place, ReadOptions, parquet::of_batches};

/// The entry of a schema's metadata that says how many rows the stream has, so that room is made for them at once. A stream
/// without it, or with other rows, is read all the same.
pub(crate) const ROWS: &str = "trainyard:rows";

/// Reads a stream of at most so many bytes.
pub(crate) fn read(stream: impl Read, bytes: u64, source: String, options: &ReadOptions) -> Result<Frame, DataError> {
    let damaged = |error: arrow_schema::ArrowError| DataError::Malformed {
        file: source.clone(),
        place: Place::File,
        problem: format!(
            "is no whole Arrow IPC stream ({})",
            crate::error::quoted(&error.to_string())
        ),
        remedy: "write it again as an uncompressed stream (not as an Arrow file)",
    };
    let reader = StreamReader::try_new(stream, None).map_err(&damaged)?;
    let schema = reader.schema();
    let said = schema.metadata().get(ROWS).and_then(|rows| rows.parse::<u64>().ok());
    // A row with a time takes eight bytes at least; whoever says more is not believed.
    let rows = said.unwrap_or(0).min(bytes / 8) as usize;
    of_batches(
        source.clone(),
        &schema,
        rows,
        reader.map(|batch| batch.map_err(&damaged)),
        options,
    )
}
