//! The functions over many values: count, first, last, min, max, sum, avg, spread, stddev.

use std::cmp::Ordering;

use crate::{
    engine::condition::compare,
    error::SqlError,
    sql::Function,
    value::{DataType, Value},
};

/// The type of a function's result over a column; the error where the column cannot be summed.
pub(super) fn result_type(function: Function, column: DataType) -> Result<DataType, SqlError> {
    let refused = || SqlError::new(0x2802, format!("Invalid parameter data type : {}", name(function)));
    Ok(match function {
        Function::Count => DataType::BigInt,
        Function::First | Function::Last => column,
        Function::Min | Function::Max if matches!(column, DataType::Json | DataType::Geometry(_)) => {
            return Err(refused());
        }
        Function::Min | Function::Max => column,
        _ if column == DataType::Timestamp && function == Function::Spread => DataType::Double,
        _ if !column.is_number() && column != DataType::Bool => return Err(refused()),
        Function::Sum => match column {
            DataType::Float | DataType::Double => DataType::Double,
            DataType::UTinyInt | DataType::USmallInt | DataType::UInt | DataType::UBigInt => DataType::UBigInt,
            _ => DataType::BigInt,
        },
        Function::Avg | Function::Spread | Function::Stddev => DataType::Double,
    })
}

fn name(function: Function) -> &'static str {
    match function {
        Function::Count => "count",
        Function::First => "first",
        Function::Last => "last",
        Function::Min => "min",
        Function::Max => "max",
        Function::Sum => "sum",
        Function::Avg => "avg",
        Function::Spread => "spread",
        Function::Stddev => "stddev",
    }
}

/// What a function has seen so far.
#[derive(Debug, Clone)]
pub(super) struct Aggregate {
    function: Function,
    count: u64,
    sum: f64,
    whole: i128,
    /// Of the squares.
    squares: f64,
    /// The value kept by first, last, min and max, and when it was.
    kept: Option<(i128, Value)>,
    low: f64,
    high: f64,
}

impl Aggregate {
    pub fn new(function: Function) -> Self {
        Self {
            function,
            count: 0,
            sum: 0.0,
            whole: 0,
            squares: 0.0,
            kept: None,
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        }
    }

    /// Takes one value of a row with a timestamp.
    pub fn add(&mut self, time: &Value, value: &Value) {
        if value.is_null() {
            return;
        }
        self.count += 1;
        match self.function {
            Function::Count => {}
            Function::First | Function::Last | Function::Min | Function::Max => self.keep(time, value),
            Function::Sum | Function::Avg | Function::Spread | Function::Stddev => {
                let number = value.as_float().unwrap_or_default();
                self.sum += number;
                self.whole += value.as_integer().unwrap_or_default();
                self.squares += number * number;
                self.low = self.low.min(number);
                self.high = self.high.max(number);
            }
        }
    }

    fn keep(&mut self, time: &Value, value: &Value) {
        let time = time.as_integer().unwrap_or_default();
        let better = match &self.kept {
            None => true,
            Some((kept, old)) => match self.function {
                Function::First => time < *kept,
                Function::Last => time >= *kept,
                Function::Min => compare(value, old) == Some(Ordering::Less),
                _ => compare(value, old) == Some(Ordering::Greater),
            },
        };
        if better {
            self.kept = Some((time, value.clone()));
        }
    }

    /// The result, in the type that [`result_type`] says.
    pub fn result(&self, data_type: DataType) -> Value {
        let count = self.count as f64;
        match self.function {
            Function::Count => Value::BigInt(self.count as i64),
            _ if self.count == 0 => Value::Null,
            Function::First | Function::Last | Function::Min | Function::Max => {
                self.kept.as_ref().map_or(Value::Null, |(_, value)| value.clone())
            }
            Function::Sum => match data_type {
                DataType::Double => Value::Double(self.sum),
                DataType::UBigInt => Value::UBigInt(self.whole as u64),
                _ => Value::BigInt(self.whole as i64),
            },
            Function::Avg => Value::Double(self.sum / count),
            Function::Spread => Value::Double(self.high - self.low),
            Function::Stddev => {
                let mean = self.sum / count;
                Value::Double((self.squares / count - mean * mean).max(0.0).sqrt())
            }
        }
    }
}
