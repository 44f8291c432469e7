//! From Arrow arrays to plain columns: one copy of each value, by a loop of its array's own type.
//!
//! What stands in an array's buffer under a NULL may be anything; it is never looked at.

use arrow_array::{
    Array, ArrayRef, StringArray,
    cast::AsArray,
    types::{
        Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
        TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
        UInt64Type,
    },
};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, TimeUnit};

use crate::{TextValues, text::TextBuilder};

/// Appends an array of numbers, NULL as NaN.
pub(crate) fn push_numbers(values: &mut Vec<f64>, array: &ArrayRef) -> Result<(), ArrowError> {
    let before = values.len();
    macro_rules! push {
        ($($type:ident => $array:ty,)+) => {
            match array.data_type() {
                DataType::Float64 => values.extend_from_slice(array.as_primitive::<Float64Type>().values()),
                $(DataType::$type => {
                    values.extend(array.as_primitive::<$array>().values().iter().map(|&value| value as f64));
                })+
                DataType::Boolean => values.extend(array.as_boolean().values().iter().map(|value| f64::from(u8::from(value)))),
                // Decimals, half floats, dictionaries of numbers, and NULL throughout.
                _ => return push_numbers(values, &cast(array, &DataType::Float64)?),
            }
        };
    }
    push! {
        Float32 => Float32Type,
        Int8 => Int8Type,
        Int16 => Int16Type,
        Int32 => Int32Type,
        Int64 => Int64Type,
        UInt8 => UInt8Type,
        UInt16 => UInt16Type,
        UInt32 => UInt32Type,
        UInt64 => UInt64Type,
    }
    if let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) {
        for (value, valid) in values[before..].iter_mut().zip(nulls) {
            *value = if valid { *value } else { f64::NAN };
        }
    }
    Ok(())
}

/// Why an array is no time column.
pub(crate) enum NoTime {
    /// What stands in this row is no time, or too far away.
    Row(usize, String),
    Type(ArrowError),
}

/// Appends an array of timestamps or dates in microseconds. Says whether some were finer than that, and cut off.
pub(crate) fn push_times(micros: &mut Vec<i64>, array: &ArrayRef) -> Result<bool, NoTime> {
    let cast_to_micros;
    let (array, unit) = match array.data_type() {
        DataType::Timestamp(unit, _) => (array, *unit),
        _ => {
            let unit = TimeUnit::Microsecond;
            cast_to_micros = cast(array, &DataType::Timestamp(unit, None)).map_err(NoTime::Type)?;
            (&cast_to_micros, unit)
        }
    };
    if let Some(row) = first_null(array.nulls()) {
        return Err(NoTime::Row(row, "NULL".to_owned()));
    }
    match unit {
        TimeUnit::Second => push_coarser(micros, array.as_primitive::<TimestampSecondType>().values(), 1_000_000)?,
        TimeUnit::Millisecond => {
            push_coarser(micros, array.as_primitive::<TimestampMillisecondType>().values(), 1_000)?
        }
        TimeUnit::Microsecond => {
            micros.extend_from_slice(array.as_primitive::<TimestampMicrosecondType>().values());
        }
        TimeUnit::Nanosecond => {
            let nanos = array.as_primitive::<TimestampNanosecondType>().values();
            micros.extend(nanos.iter().map(|nanos| nanos / 1_000));
            return Ok(nanos.iter().any(|nanos| nanos % 1_000 != 0));
        }
    }
    Ok(false)
}

/// Times in a coarser unit, of which each is so many microseconds.
fn push_coarser(micros: &mut Vec<i64>, times: &ScalarBuffer<i64>, each: i64) -> Result<(), NoTime> {
    let most = i64::MAX / each;
    match times.iter().position(|time| !(-most..=most).contains(time)) {
        Some(row) => Err(NoTime::Row(row, times[row].to_string())),
        None => {
            micros.extend(times.iter().map(|time| time * each));
            Ok(())
        }
    }
}

fn first_null(nulls: Option<&NullBuffer>) -> Option<usize> {
    nulls?.iter().position(|valid| !valid)
}

/// Gathers a column of text from arrays of texts and of dictionaries of them.
#[derive(Default)]
pub(crate) struct TextGatherer {
    text: TextBuilder,
    /// The last array's dictionary, and the code of each of its texts that was met.
    dictionary: Option<(StringArray, Vec<u32>)>,
}

impl TextGatherer {
    /// Appends an array, NULL as a missing text.
    pub fn push(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        match array.data_type() {
            DataType::Dictionary(_, values) if **values == DataType::Utf8 => self.push_dictionary(array),
            _ => {
                let array = cast(array, &DataType::Utf8)?;
                array.as_string::<i32>().iter().for_each(|text| self.text.push(text));
            }
        }
        Ok(())
    }

    fn push_dictionary(&mut self, array: &ArrayRef) {
        let array = array.as_any_dictionary();
        let texts = array.values().as_string::<i32>();
        if texts.is_empty() {
            // All keys are NULL.
            (0..array.len()).for_each(|_| self.text.push(None));
            return;
        }
        // An IPC stream sends a dictionary once, so its texts need not be looked up again with every batch.
        let same = |known: &StringArray| known.to_data().ptr_eq(&texts.to_data());
        let (texts, codes) = match self.dictionary.take() {
            Some(known) if same(&known.0) => known,
            _ => (texts.clone(), vec![TextValues::MISSING; texts.len()]),
        };
        let (_, codes) = self.dictionary.insert((texts.clone(), codes));
        for (row, key) in array.normalized_keys().into_iter().enumerate() {
            if array.is_null(row) || texts.is_null(key) {
                self.text.push(None);
                continue;
            }
            if codes[key] == TextValues::MISSING {
                codes[key] = self.text.code(texts.value(key));
            }
            self.text.push_code(codes[key]);
        }
    }

    /// The column.
    pub fn finish(self) -> TextValues {
        self.text.finish()
    }
}
