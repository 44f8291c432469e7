//! Plain buffers of numbers, and copying rows and columns into them fast.

use crate::{DataError, FittedColumn, error::quoted};

/// The type of a buffer's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DType {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
}

impl DType {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Numbers in row-major order, last dimension fastest.
#[derive(Debug, Clone, PartialEq)]
pub enum Buffer {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// Class indices.
    U32(Vec<u32>),
}

impl Buffer {
    /// How many numbers.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::U32(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers as `f64`, whatever they are stored as.
    pub fn to_f64(&self) -> Vec<f64> {
        match self {
            Self::F32(values) => values.iter().map(|&value| f64::from(value)).collect(),
            Self::F64(values) => values.clone(),
            Self::U32(values) => values.iter().map(|&value| f64::from(value)).collect(),
        }
    }
}

/// Numbers with a shape of rows and columns, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// `rows * columns` numbers.
    pub values: Vec<f64>,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

/// A number that a buffer can hold.
pub(crate) trait Element: Copy {
    fn from_f64(value: f64) -> Self;
    fn wrap(values: Vec<Self>) -> Buffer;
}

impl Element for f32 {
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    fn wrap(values: Vec<Self>) -> Buffer {
        Buffer::F32(values)
    }
}

impl Element for f64 {
    fn from_f64(value: f64) -> Self {
        value
    }

    fn wrap(values: Vec<Self>) -> Buffer {
        Buffer::F64(values)
    }
}

/// Which columns of a matrix to copy. Neighbours in order are the usual case, and copied as slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pick {
    Neighbours { first: usize, count: usize },
    Scattered(Vec<usize>),
}

impl Pick {
    pub fn new(columns: Vec<usize>) -> Self {
        let first = columns.first().copied().unwrap_or(0);
        if columns
            .iter()
            .enumerate()
            .all(|(offset, &column)| column == first + offset)
        {
            Self::Neighbours {
                first,
                count: columns.len(),
            }
        } else {
            Self::Scattered(columns)
        }
    }

    /// How many columns.
    pub fn count(&self) -> usize {
        match self {
            Self::Neighbours { count, .. } => *count,
            Self::Scattered(columns) => columns.len(),
        }
    }
}

/// The scaled numbers of a data set: `rows * columns`, row-major, kept once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    values: Vec<f64>,
    columns: usize,
}

impl Matrix {
    /// A matrix of columns of one length, each scaled as fitted.
    pub fn scaled<'a>(columns: impl Iterator<Item = (&'a [f64], &'a FittedColumn)>) -> Self {
        let columns: Vec<_> = columns.collect();
        let rows = columns.first().map_or(0, |(values, _)| values.len());
        let mut values = Vec::with_capacity(rows * columns.len());
        for row in 0..rows {
            values.extend(
                columns
                    .iter()
                    .map(|(values, fitted)| (values[row] - fitted.center) / fitted.scale),
            );
        }
        Self {
            values,
            columns: columns.len(),
        }
    }

    /// Appends `count` rows from `first` on, of the picked columns.
    pub fn copy_rows<E: Element>(&self, first: usize, count: usize, pick: &Pick, out: &mut Vec<E>) {
        let rows = &self.values[first * self.columns..(first + count) * self.columns];
        match pick {
            Pick::Neighbours { count, .. } if *count == self.columns => {
                out.extend(rows.iter().map(|&v| E::from_f64(v)))
            }
            Pick::Neighbours { count: 0, .. } => {}
            Pick::Neighbours { first, count: 1 } => {
                out.extend(rows.chunks_exact(self.columns).map(|row| E::from_f64(row[*first])));
            }
            Pick::Neighbours { first, count } => {
                for row in rows.chunks_exact(self.columns) {
                    out.extend(row[*first..first + count].iter().map(|&v| E::from_f64(v)));
                }
            }
            Pick::Scattered(columns) => {
                for row in rows.chunks_exact(self.columns) {
                    out.extend(columns.iter().map(|&column| E::from_f64(row[column])));
                }
            }
        }
    }
}

/// Multiplies every row of `values` back to its columns' own units: `value * scale + center`.
pub(crate) fn unscale(values: &mut [f64], scales: &[(f64, f64)]) -> Result<(), DataError> {
    if scales.is_empty() || !values.len().is_multiple_of(scales.len()) {
        return Err(DataError::BadRequest {
            problem: format!("{} values cannot be rows of {} targets", values.len(), scales.len()),
            remedy: "give values whose last dimension is the targets",
        });
    }
    for row in values.chunks_exact_mut(scales.len()) {
        for (value, (center, scale)) in row.iter_mut().zip(scales) {
            *value = *value * scale + center;
        }
    }
    Ok(())
}

/// A refusal to make a batch of no samples.
pub(crate) fn no_batch(what: &str) -> DataError {
    DataError::BadRequest {
        problem: format!("{} is 0", quoted(what)),
        remedy: "it must be at least 1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(columns: Vec<usize>) -> Vec<f64> {
        let plain = FittedColumn {
            name: String::new(),
            center: 0.0,
            scale: 1.0,
            mean: 0.0,
        };
        let values = [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0], [100.0, 200.0, 300.0]];
        let matrix = Matrix::scaled(values.iter().map(|values| (values.as_slice(), &plain)));
        let mut out = Vec::new();
        matrix.copy_rows::<f64>(1, 2, &Pick::new(columns), &mut out);
        out
    }

    #[test]
    fn rows_come_with_the_picked_columns_in_their_order() {
        assert_eq!(picked(vec![0, 1, 2]), [2.0, 20.0, 200.0, 3.0, 30.0, 300.0]);
        assert_eq!(picked(vec![1, 2]), [20.0, 200.0, 30.0, 300.0]);
        assert_eq!(picked(vec![1]), [20.0, 30.0]);
        assert_eq!(picked(vec![2, 0]), [200.0, 2.0, 300.0, 3.0]);
        assert_eq!(picked(vec![]), [0.0; 0]);
    }

    #[test]
    fn unscaling_needs_whole_rows() {
        let mut values = vec![1.0, 1.0, 2.0, 2.0];
        unscale(&mut values, &[(5.0, 2.0), (0.0, 10.0)]).unwrap();
        assert_eq!(values, [7.0, 10.0, 9.0, 20.0]);
        assert_eq!(
            unscale(&mut values, &[(0.0, 1.0); 3]).unwrap_err().code(),
            "data.bad-request"
        );
    }
}
