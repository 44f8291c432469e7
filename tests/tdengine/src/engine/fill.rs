//! `fill(...)`: what stands in the windows that have no rows.

use std::collections::BTreeMap;

use crate::{
    error::SqlError,
    sql::Fill,
    time::{Precision, Width},
    value::{DataType, Value},
};

/// The most windows that are made.
const LIMIT: usize = 10_000_000;

/// Windows by where they start, each with the results of its functions.
type Windows = BTreeMap<i64, Vec<Value>>;

/// Adds the windows without rows between the ends of `range`, both of which the statement has to give.
pub(super) fn fill(
    windows: Windows,
    fill: &Fill,
    width: Width,
    precision: Precision,
    (from, to): (i64, i64),
    types: &[DataType],
) -> Result<Windows, SqlError> {
    let forced = match fill {
        Fill::None => return Ok(windows),
        Fill::Null { forced } | Fill::Value { forced, .. } => *forced,
        Fill::Previous | Fill::Next | Fill::Linear => false,
    };
    let constants = constants(fill, types)?;
    let unknown = || {
        SqlError::new(
            0x263B,
            "Start(end) time of query range required or time range too large",
        )
    };
    if from == i64::MIN || to == i64::MAX {
        return Err(unknown());
    }
    if windows.is_empty() && !forced {
        return Ok(windows);
    }
    let mut out = windows.clone();
    let mut start = width.start_of(from, precision);
    while start <= to {
        if out.len() > LIMIT {
            return Err(unknown());
        }
        if !windows.contains_key(&start) {
            out.insert(start, made(&windows, start, fill, &constants, types));
        }
        start = width.next(start, precision);
    }
    Ok(out)
}

fn constants(fill: &Fill, types: &[DataType]) -> Result<Vec<Value>, SqlError> {
    match fill {
        Fill::Value { values, .. } if values.len() == types.len() => values
            .iter()
            .zip(types)
            .map(|(value, data_type)| value.cast(*data_type).ok_or_else(|| SqlError::syntax("fill(value")))
            .collect(),
        Fill::Value { .. } => Err(SqlError::new(0x2600, "Filled values number mismatch")),
        _ => Ok(vec![Value::Null; types.len()]),
    }
}

fn made(windows: &Windows, start: i64, fill: &Fill, constants: &[Value], types: &[DataType]) -> Vec<Value> {
    let before = |column: usize| {
        windows
            .range(..start)
            .rev()
            .find(|(_, values)| !values[column].is_null())
    };
    let after = |column: usize| windows.range(start..).find(|(_, values)| !values[column].is_null());
    let value = |(column, data_type): (usize, &DataType)| match fill {
        Fill::Previous => before(column).map_or(Value::Null, |(_, values)| values[column].clone()),
        Fill::Next => after(column).map_or(Value::Null, |(_, values)| values[column].clone()),
        Fill::Linear => {
            let between = || {
                let ((left, low), (right, high)) = (before(column)?, after(column)?);
                let (low, high) = (low[column].as_float()?, high[column].as_float()?);
                let share = (start - left) as f64 / (right - left) as f64;
                Value::Double(low + (high - low) * share).cast(*data_type)
            };
            between().unwrap_or(Value::Null)
        }
        _ => constants[column].clone(),
    };
    types.iter().enumerate().map(value).collect()
}
