//! The dataset file: an Arrow IPC stream that grows by whole ranges.
//!
//! Each range is written to a part of its own as its blocks come, several at once. A part that is complete is appended by
//! the kernel, in order of time; one that is not is thrown away, and nothing of it is ever seen.

use std::{
    fs::File,
    io::{self, IoSlice, Seek, Write},
    path::Path,
    sync::Arc,
};

use arrow_array::{
    ArrayRef, DictionaryArray, RecordBatch, RecordBatchOptions, StringArray, new_empty_array, types::Int32Type,
};
use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamEncoder;
use arrow_schema::{ArrowError, DataType, Field, Schema};

use crate::ipc::ROWS;

/// The columns of a dataset file.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    schema: Arc<Schema>,
    devices: Option<Arc<StringArray>>,
}

impl Layout {
    /// The time, the device where there are several, and the other columns; `rows` are expected.
    pub fn new(time: Field, device: Option<(&str, Vec<String>)>, columns: Vec<Field>, rows: u64) -> Self {
        let mut fields = vec![time];
        let devices = device.map(|(name, devices)| {
            let r#type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            fields.push(Field::new(name, r#type, false));
            Arc::new(StringArray::from(devices))
        });
        fields.extend(columns);
        Self {
            schema: Arc::new(Schema::new_with_metadata(
                fields,
                std::collections::HashMap::from([(ROWS.to_owned(), rows.to_string())]),
            )),
            devices,
        }
    }

    /// A batch of the columns that came, of one device.
    fn batch(&self, device: usize, mut columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        let rows = columns.first().map_or(0, |time| time.len());
        if let Some(devices) = &self.devices {
            let keys = arrow_array::Int32Array::from_value(device as i32, rows);
            let column = DictionaryArray::<Int32Type>::try_new(keys, devices.clone())?;
            columns.insert(1, Arc::new(column));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    fn encoder(&self) -> Result<(StreamEncoder, Vec<Buffer>), ArrowError> {
        let mut encoder = StreamEncoder::try_new(&self.schema)?;
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| new_empty_array(field.data_type()));
        let mut columns: Vec<ArrayRef> = columns.collect();
        if self.devices.is_some() {
            columns.remove(1);
        }
        let head = encoder.encode(&self.batch(0, columns)?)?;
        Ok((encoder, head))
    }
}

/// One range's batches, in a file without a name.
pub(crate) struct Part {
    layout: Layout,
    device: usize,
    encoder: StreamEncoder,
    file: File,
    pub rows: u64,
    pub bytes: u64,
}

impl Part {
    pub fn new(folder: &Path, layout: &Layout, device: usize) -> io::Result<Self> {
        // The head is the whole file's, and written once.
        let (encoder, _) = layout.encoder().map_err(io::Error::other)?;
        Ok(Self {
            layout: layout.clone(),
            device,
            encoder,
            file: tempfile::tempfile_in(folder)?,
            rows: 0,
            bytes: 0,
        })
    }

    /// Writes a block's columns.
    pub fn write(&mut self, columns: Vec<ArrayRef>) -> io::Result<()> {
        let batch = self.layout.batch(self.device, columns).map_err(io::Error::other)?;
        let buffers = self.encoder.encode(&batch).map_err(io::Error::other)?;
        self.bytes += write_all(&mut self.file, &buffers)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }
}

/// The dataset file while it grows.
pub(crate) struct Spool {
    file: tempfile::NamedTempFile,
    encoder: StreamEncoder,
    pub rows: u64,
    pub bytes: u64,
}

impl Spool {
    pub fn new(folder: &Path, layout: &Layout) -> io::Result<Self> {
        let (encoder, head) = layout.encoder().map_err(io::Error::other)?;
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
        let bytes = write_all(file.as_file_mut(), &head)?;
        Ok(Self {
            file,
            encoder,
            rows: 0,
            bytes,
        })
    }

    /// Appends a complete part.
    pub fn append(&mut self, mut part: Part) -> io::Result<()> {
        part.file.rewind()?;
        // The kernel copies from file to file.
        let copied = io::copy(&mut part.file, self.file.as_file_mut())?;
        if copied != part.bytes {
            return Err(io::Error::other(format!(
                "a part of {} bytes has become one of {copied}",
                part.bytes
            )));
        }
        self.rows += part.rows;
        self.bytes += copied;
        Ok(())
    }

    /// The whole file, with its end.
    pub fn finish(mut self) -> io::Result<tempfile::NamedTempFile> {
        let end = self.encoder.finish().map_err(io::Error::other)?;
        write_all(self.file.as_file_mut(), &end)?;
        self.file.as_file_mut().rewind()?;
        Ok(self.file)
    }
}

/// What the names of files begin with that are not complete.
pub(crate) const UNFINISHED: &str = ".unfinished-";

fn write_all(file: &mut File, buffers: &[Buffer]) -> io::Result<u64> {
    let total = buffers.iter().map(|buffer| buffer.len() as u64).sum();
    let mut slices: Vec<IoSlice<'_>> = buffers.iter().map(|buffer| IoSlice::new(buffer)).collect();
    let mut rest = &mut slices[..];
    // Empty slices at the front would look like a full disk.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataFormat, Frame, ReadOptions};
    use arrow_array::{Float64Array, TimestampMillisecondArray};
    use arrow_schema::TimeUnit;

    fn columns(rows: std::ops::Range<i64>) -> Vec<ArrayRef> {
        let values = rows.clone().map(|row| (row % 3 != 0).then_some(row as f64));
        vec![
            Arc::new(TimestampMillisecondArray::from_iter_values(rows).with_timezone("+00:00")),
            Arc::new(values.collect::<Float64Array>()),
        ]
    }

    #[test]
    fn parts_become_one_stream_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let time = Field::new(
            "ts",
            DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())),
            false,
        );
        let value = Field::new("value", DataType::Float64, true);
        let devices = vec!["a".to_owned(), "b".to_owned()];
        let layout = Layout::new(time, Some(("device_id", devices)), vec![value], 6);
        let mut parts: Vec<Part> = [0, 0, 1]
            .map(|device| Part::new(folder.path(), &layout, device).unwrap())
            .into();
        parts[1].write(columns(3..5)).unwrap();
        parts[0].write(columns(0..2)).unwrap();
        parts[0].write(columns(2..3)).unwrap();
        parts[2].write(columns(0..1)).unwrap();
        let mut spool = Spool::new(folder.path(), &layout).unwrap();
        for part in parts {
            spool.append(part).unwrap();
        }
        assert_eq!(spool.rows, 6);
        let file = spool.finish().unwrap().into_file();
        let frame = Frame::from_file(file, "x", DataFormat::Arrow, &ReadOptions::default()).unwrap();
        assert_eq!(frame.time().unwrap().micros, [0, 1000, 2000, 3000, 4000, 0]);
        let values: Vec<String> = frame.numbers("value").unwrap().iter().map(f64::to_string).collect();
        assert_eq!(values, ["NaN", "1", "2", "NaN", "4", "NaN"]);
        let crate::Values::Text(devices) = &frame.column("device_id").unwrap().values else {
            panic!()
        };
        let devices: Vec<_> = (0..6).map(|row| devices.get(row).unwrap()).collect();
        assert_eq!(devices, ["a", "a", "a", "a", "a", "b"]);
    }
}
