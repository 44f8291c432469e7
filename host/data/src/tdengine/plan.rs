//! Cuts what is to be read into ranges of time that are fetched, counted and tried again by themselves.

use arrow_array::{Array, ArrayRef, cast::AsArray, types::Int64Type};

use super::{
    connection::Connection,
    error::TdengineError,
    moment::TimePrecision,
    query::TagValue,
    statement::{Span, Statements},
};

/// Windows that rows are counted in, for each range that is to come of them.
const WINDOWS: u64 = 16;

/// A range of one device's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    /// The position of the device in the list.
    pub device: usize,
    pub span: Span,
    /// Rows that are expected, as the database counts them.
    pub rows: u64,
    /// The most rows to take.
    pub limit: Option<u64>,
}

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Figures {
    pub rows: u64,
    /// Values that are not NULL, by column.
    pub values: Vec<u64>,
    /// First and last time, in ticks.
    pub times: Option<(i64, i64)>,
}

impl Figures {
    /// Asks the database.
    pub async fn read(
        connection: &Connection,
        statements: &Statements,
        device: Option<&TagValue>,
        span: Span,
    ) -> Result<Self, TdengineError> {
        let answer = connection
            .query("counting rows", &statements.figures(device, span)?)
            .await?
            .all()
            .await?;
        let number =
            |column: &ArrayRef| -> Option<i64> { (column.len() == 1 && column.is_valid(0)).then(|| integer(column))? };
        let [rows, values @ .., first, last] = &answer[..] else {
            return Err(TdengineError::request("the database counts in a way that is not known"));
        };
        let count = |column: &ArrayRef| number(column).and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        Ok(Self {
            rows: count(rows),
            values: values.iter().map(count).collect(),
            times: number(first).zip(number(last)),
        })
    }
}

/// How many rows [`Statements::rows`] has.
pub(crate) async fn count(
    connection: &Connection,
    statements: &Statements,
    device: Option<&TagValue>,
    span: Span,
) -> Result<u64, TdengineError> {
    let answer = connection
        .query("counting rows", &statements.count(device, span)?)
        .await?
        .all()
        .await?;
    let count = answer.first().filter(|column| column.len() == 1).and_then(integer);
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0))
}

/// The first number of a column of counts or times.
fn integer(column: &ArrayRef) -> Option<i64> {
    integers(column).first().copied()
}

/// A column of counts or times, without NULLs.
fn integers(column: &ArrayRef) -> Vec<i64> {
    match arrow_cast::cast(column, &arrow_schema::DataType::Int64) {
        Ok(column) => column.as_primitive::<Int64Type>().iter().flatten().collect(),
        Err(_) => Vec::new(),
    }
}

/// One device's rows that are to be cut.
#[derive(Clone, Copy)]
pub(crate) struct Whole<'a> {
    /// The position of the device in the list, and what it is called in statements.
    pub device: (usize, Option<&'a TagValue>),
    /// Ticks, from the first on, without the second.
    pub span: (i64, i64),
    /// Rows in it.
    pub rows: u64,
}

impl Whole<'_> {
    /// The span, for statements.
    pub fn ticks(&self) -> Span {
        self.range(self.span, 0).span
    }

    fn range(&self, (from, to): (i64, i64), rows: u64) -> Range {
        Range {
            device: self.device.0,
            span: Span {
                from: Some(from),
                to: Some(to),
            },
            rows,
            limit: None,
        }
    }

    /// Cuts rows into ranges of about `size` rows, wherever the database's own counts allow it.
    pub async fn cut(
        &self,
        connection: &Connection,
        statements: &Statements,
        precision: TimePrecision,
        size: u64,
    ) -> Result<Vec<Range>, TdengineError> {
        let mut open = vec![(self.span, self.rows, self.rows <= size)];
        let mut ranges = Vec::new();
        while let Some((span, rows, settled)) = open.pop() {
            let windows = (rows / size).saturating_mul(WINDOWS).max(1);
            let width = span.1.saturating_sub(span.0) / i64::try_from(windows).unwrap_or(i64::MAX);
            if settled || width == 0 {
                ranges.push(self.range(span, rows));
                continue;
            }
            let sql = statements.histogram(self.device.1, self.range(span, 0).span, width, precision)?;
            let answer = connection.query("counting rows by time", &sql).await?.all().await?;
            let [starts, counts] = &answer[..] else {
                return Err(TdengineError::request("the database counts in a way that is not known"));
            };
            let counts = integers(counts);
            let sum = counts.iter().sum::<i64>().unsigned_abs();
            if sum != rows {
                // Rows may have come in the meantime; a server that died may have left some out.
                let now = count(connection, statements, self.device.1, self.range(span, 0).span).await?;
                if sum != now {
                    return Err(TdengineError::incomplete("counting rows by time", now, sum));
                }
            }
            let pieces = merged(span, integers(starts).into_iter().zip(counts), size);
            let alone = pieces.len() == 1;
            // What is so dense that it is still far too large is cut again.
            let again = |(piece, rows)| (piece, rows, alone || rows <= 2 * size);
            open.extend(pieces.into_iter().rev().map(again));
        }
        Ok(ranges)
    }

    /// Cuts windows into ranges of about `size` windows, at multiples of `align` ticks, each counted by itself.
    pub async fn cut_windows(
        &self,
        connection: &Connection,
        statements: &Statements,
        align: i64,
        size: u64,
    ) -> Result<Vec<Range>, TdengineError> {
        let mut ranges = Vec::new();
        for piece in cut(self.span, self.rows.div_ceil(size), align) {
            let rows = count(connection, statements, self.device.1, self.range(piece, 0).span).await?;
            if rows > 0 {
                ranges.push(self.range(piece, rows));
            }
        }
        Ok(ranges)
    }

    /// All rows as one range.
    pub fn uncut(&self) -> Vec<Range> {
        vec![self.range(self.span, self.rows)]
    }
}

/// Puts windows, each with its start and its rows, together to pieces of at most `size` rows where that can be. Cuts lie
/// where windows start.
fn merged((from, to): (i64, i64), windows: impl Iterator<Item = (i64, i64)>, size: u64) -> Vec<((i64, i64), u64)> {
    let (mut begin, mut rows) = (from, 0);
    let mut pieces = Vec::new();
    for (start, count) in windows {
        let count = u64::try_from(count).unwrap_or(0);
        if rows > 0 && rows + count > size && (begin + 1..to).contains(&start) {
            pieces.push(((begin, start), rows));
            (begin, rows) = (start, 0);
        }
        rows += count;
    }
    pieces.push(((begin, to), rows));
    pieces
}

/// Cuts a span into at most so many pieces of about one width, at multiples of `align`.
fn cut((from, to): (i64, i64), pieces: u64, align: i64) -> Vec<(i64, i64)> {
    let width = i128::from(to) - i128::from(from);
    let pieces = i128::from(pieces);
    let align = i128::from(align.max(1));
    let mut cuts = vec![from];
    for piece in 1..pieces {
        let at = (i128::from(from) + width * piece / pieces).div_euclid(align) * align;
        if let Ok(at) = i64::try_from(at)
            && at > *cuts.last().unwrap_or(&from)
            && at < to
        {
            cuts.push(at);
        }
    }
    cuts.push(to);
    cuts.windows(2).map(|pair| (pair[0], pair[1])).collect()
}

/// Ends the ranges of each device after so many rows.
pub(crate) fn limited(ranges: Vec<Range>, limit: Option<u64>) -> Vec<Range> {
    let Some(limit) = limit else { return ranges };
    let (mut device, mut left) = (usize::MAX, limit);
    let mut kept = Vec::new();
    for mut range in ranges {
        if range.device != device {
            (device, left) = (range.device, limit);
        }
        if left == 0 {
            continue;
        }
        if range.rows > left {
            (range.rows, range.limit) = (left, Some(left));
        }
        left -= range.rows;
        kept.push(range);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_cover_a_span_once(from: i32, width in 1i64..100_000, pieces in 1u64..50, align in 1i64..1000) {
            let from = i64::from(from);
            let pieces = cut((from, from + width), pieces, align);
            prop_assert_eq!((pieces[0].0, pieces[pieces.len() - 1].1), (from, from + width));
            prop_assert!(pieces.iter().all(|(from, to)| from < to));
            prop_assert!(pieces.windows(2).all(|pair| pair[0].1 == pair[1].0 && pair[0].1 % align == 0));
        }
    }

    proptest! {
        #[test]
        fn windows_become_pieces_that_keep_every_row(
            counts in prop::collection::vec((1i64..20, 0i64..50), 1..40), size in 1u64..100,
        ) {
            // The first window alone may begin before the span.
            let mut start = -counts[0].0 - 1;
            let windows: Vec<(i64, i64)> = counts.iter().enumerate().map(|(at, (width, count))| {
                start = if at == 0 { start } else { start.max(0) + width };
                (start, *count)
            }).collect();
            let span = (0, start.max(0) + 5);
            let pieces = merged(span, windows.iter().copied(), size);
            prop_assert_eq!(pieces.iter().map(|(_, rows)| rows).sum::<u64>(), counts.iter().map(|(_, count)| *count as u64).sum::<u64>());
            prop_assert!(pieces.iter().all(|((from, to), _)| from < to));
            prop_assert!(pieces.windows(2).all(|pair| pair[0].0.1 == pair[1].0.0));
            prop_assert_eq!((pieces[0].0.0, pieces[pieces.len() - 1].0.1), span);
            let largest = counts.iter().map(|(_, count)| *count as u64).max().unwrap();
            prop_assert!(pieces.iter().all(|(_, rows)| *rows <= size.max(largest) + largest));
        }
    }

    #[test]
    fn the_widest_span_is_cut_without_overflow() {
        assert_eq!(cut((i64::MIN, i64::MAX), 4, 1).len(), 4);
    }

    #[test]
    fn a_limit_counts_for_each_device() {
        let range = |device, rows| Range {
            device,
            span: Span::default(),
            rows,
            limit: None,
        };
        let ranges = vec![range(0, 5), range(0, 5), range(0, 5), range(1, 3)];
        let rows: Vec<_> = limited(ranges, Some(7))
            .iter()
            .map(|r| (r.device, r.rows, r.limit))
            .collect();
        assert_eq!(rows, [(0, 5, None), (0, 2, Some(2)), (1, 3, None)]);
    }
}
