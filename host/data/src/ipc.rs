//! Reads Arrow's IPC streams: record batches, one after the other, uncompressed.

use std::io::Read;

use arrow_ipc::reader::StreamReader;

use crate::{DataError, Frame, Place, ReadOptions, parquet::of_batches};

pub(crate) fn read(stream: impl Read, source: String, options: &ReadOptions) -> Result<Frame, DataError> {
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
    of_batches(
        source.clone(),
        &schema,
        reader.map(|batch| batch.map_err(&damaged)),
        options,
    )
}
