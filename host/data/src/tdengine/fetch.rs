//! From a query to a dataset file: look, count, cut, fetch, compare.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::{DataType, Field};
use chrono::Utc;
use futures_util::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::{
    block::ColumnType,
    cache::{Cache, Entry},
    connection::Connection,
    error::TdengineError,
    moment::Moment,
    name::Name,
    plan::{Figures, Range, Whole, count, limited},
    query::{DeviceQuery, Fill},
    source::{Tdengine, retried},
    spool::{Layout, Part, Spool},
    survey::Survey,
};
/// Rows that are not worth a range of their own.
const SMALLEST_RANGE: u64 = 20_000;
/// All offsets of time zones are multiples of this, so windows that divide it begin at the same times in every zone.
const QUARTER_HOUR: i64 = 15 * 60 * 1_000_000_000;

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Which rows.
    pub query: &'a DeviceQuery,
    /// The columns; all of numbers when there are none. Of `device_data`, `value`, if it has that.
    pub columns: Option<&'a [String]>,
    /// The tag or column that tells devices apart; `device_id` when it is not said, or the tables of a super table without it.
    pub device_column: Option<&'a str>,
    /// At most so many rows of each device, whatever the query says.
    pub rows: Option<u64>,
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows that are there.
    pub rows: u64,
    /// Rows that are to come in all.
    pub total: u64,
}

/// A device and how many of its rows are in the data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceRows {
    /// The device column's value.
    pub name: String,
    /// Rows.
    pub rows: u64,
}

/// A dataset file: an uncompressed Arrow IPC stream of the time, the device where there are several, and the columns.
#[derive(Debug)]
pub struct Fetched {
    /// To be read from its beginning.
    pub file: File,
    /// What messages call it: `database.table`.
    pub name: String,
    /// Rows in the file.
    pub rows: u64,
    /// Rows that the database has in the time range: more, where a limit left some out or windows made fewer of them.
    pub counted: u64,
    /// The devices, in the file's order.
    pub devices: Vec<DeviceRows>,
    /// The time column's name.
    pub time: String,
    /// The device column's name, if the file has one.
    pub device_column: Option<String>,
    /// Whether it was at hand already.
    pub cached: bool,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Tdengine {
    /// Fetches rows, or finds them at hand. `progress` is told as rows come.
    pub fn fetch<'a>(
        &'a self,
        request: Request<'a>,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Fetched, TdengineError>> {
        let limit = self.options.limits.time;
        // In a box, so that the compiler sees here, and not at every caller, that any thread may go on with it.
        Box::pin(async move {
            match tokio::time::timeout(limit, self.fetch_in_time(request, progress)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(TdengineError::limit(format!(
                    "fetching the rows took longer than {} s; ask for fewer rows, or let the operator raise the limit",
                    limit.as_secs()
                ))),
            }
        })
    }

    async fn fetch_in_time(
        &self,
        request: Request<'_>,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Fetched, TdengineError> {
        let query = request.query;
        query.check().map_err(TdengineError::request)?;
        let now = Utc::now();
        let limit = [query.limit, request.rows].into_iter().flatten().min();
        let called = query.table.to_string();
        let survey = retried(&self.read, &called, |connection| async move {
            self.survey(&connection, &request, now).await
        })
        .await?;
        let (survey, figures) = self.figures(survey).await?;
        // A limit that leaves nothing out is none: a preview and a training share what was fetched.
        let limit =
            limit.filter(|limit| query.interval.is_some() || figures.iter().any(|figures| figures.rows > *limit));
        let fixed = |moment: Option<Moment>| moment.is_some_and(|moment| !matches!(moment, Moment::Ago(_)));
        let passed = survey
            .span
            .to
            .is_some_and(|to| survey.schema.precision.moment(to) <= now);
        let cacheable = fixed(query.end_time) && (query.start_time.is_none() || fixed(query.start_time)) && passed;
        let key = Cache::key(&(
            &self.read.server,
            (
                &survey.database,
                &survey.schema.name,
                &survey.device_column,
                &survey.devices,
            ),
            (&query.tags, query.interval, &query.aggregate, query.fill, limit),
            survey
                .types
                .iter()
                .map(|(name, r#type)| format!("{name} {type:?}"))
                .collect::<Vec<_>>(),
            (survey.span.from, survey.span.to, survey.schema.precision),
        ));
        let counted = Cache::key(&figures);
        let _turn = match cacheable {
            true => Some(self.cache.turn(&key).await),
            false => None,
        };
        if cacheable
            && !query.refresh
            && let Some((file, entry)) = self.cache.find(&key, &counted)
        {
            progress(Progress {
                rows: entry.rows,
                total: entry.rows,
            });
            return Ok(self.fetched(&survey, &figures, limit, file, entry.rows, true));
        }
        let ranges = self.ranges(&survey, &figures, query, limit).await?;
        let spool = self.fetch_ranges(&survey, &ranges, progress).await?;
        let rows = spool.rows;
        let kept = spawn_blocking({
            let cache_folder = self.cache.folder().display().to_string();
            move || {
                spool
                    .finish()
                    .map_err(|error| TdengineError::disk(&cache_folder, error))
            }
        });
        let file = joined(kept.await)??;
        let disk = |error| TdengineError::disk(&self.cache.folder().display().to_string(), error);
        let file = match cacheable {
            true => self
                .cache
                .keep(&key, &Entry { figures: counted, rows }, file)
                .map_err(disk)?,
            // Readers must not be able to write; without its name it is gone when the last of them is.
            false => File::open(file.path()).map_err(disk)?,
        };
        Ok(self.fetched(&survey, &figures, limit, file, rows, false))
    }

    async fn ranges(
        &self,
        survey: &Survey,
        figures: &[Figures],
        query: &DeviceQuery,
        limit: Option<u64>,
    ) -> Result<Vec<Range>, TdengineError> {
        let total: u64 = figures.iter().map(|figures| figures.rows).sum();
        // Enough ranges for every connection to have work, if they are worth it.
        let share = total / self.options.connections.max(1) as u64;
        let size = share.max(SMALLEST_RANGE).min(self.options.range_rows).max(1);
        let each = stream::iter(0..figures.len()).map(|device| async move {
            let Some(span) = figures[device].times else {
                return Ok(Vec::new());
            };
            let (first, last) = span;
            let filled = query.interval.is_some() && query.fill != Fill::None;
            // Windows are filled from the beginning of the range to its end, not only between the rows.
            let from = survey.span.from.filter(|_| filled).unwrap_or(first);
            let to = survey.span.to.filter(|_| filled && query.end_time.is_some());
            let whole = Whole {
                device: (device, survey.device(device)),
                span: (from, to.unwrap_or(last.saturating_add(1))),
                rows: figures[device].rows,
            };
            let called = survey.called(device, whole.ticks());
            retried(&self.read, &called, |connection| async move {
                cut(&connection, survey, query, whole, size).await
            })
            .await
        });
        let ranges: Vec<Vec<Range>> = each.buffered(self.options.connections.max(1)).try_collect().await?;
        let ranges = limited(ranges.into_iter().flatten().collect(), limit);
        let rows: u64 = ranges.iter().map(|range| range.rows).sum();
        if rows > self.options.limits.rows {
            return Err(TdengineError::limit(format!(
                "{}: {rows} rows are asked for, and a job may fetch {}; ask for a shorter time, wider intervals or fewer devices, or let the operator raise the limit",
                survey.schema.name, self.options.limits.rows
            )));
        }
        Ok(ranges)
    }

    /// Fetches the ranges, several at once, and puts them together in their order.
    async fn fetch_ranges(
        &self,
        survey: &Survey,
        ranges: &[Range],
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Spool, TdengineError> {
        let precision = survey.schema.precision;
        let field =
            |name: &Name, r#type: ColumnType, nullable| Field::new(name.as_str(), r#type.arrow(precision), nullable);
        let columns: Vec<Field> = match survey.statements.has_windows() {
            // What a function makes of a column has a type of its own; as numbers they are all the same to us.
            true => survey
                .types
                .iter()
                .map(|(name, _)| Field::new(name.as_str(), DataType::Float64, true))
                .collect(),
            false => survey
                .types
                .iter()
                .map(|(name, r#type)| field(name, *r#type, true))
                .collect(),
        };
        let devices: Vec<String> = survey.devices.iter().map(ToString::to_string).collect();
        let device = survey
            .device_column
            .as_deref()
            .zip((devices.len() > 1).then_some(devices));
        let total = ranges.iter().map(|range| range.rows).sum();
        let layout = Layout::new(
            field(&survey.schema.time, ColumnType::Timestamp, false),
            device,
            columns,
            total,
        );
        let folder = self.cache.folder().to_owned();
        let disk = |error: std::io::Error| TdengineError::disk(&folder.display().to_string(), error);
        let mut spool = Spool::new(&folder, &layout).map_err(disk)?;
        let received = AtomicU64::new(0);
        let bytes = AtomicU64::new(0);
        let parts = stream::iter(0..ranges.len()).map(|at| {
            let range = &ranges[at];
            let (layout, received, bytes) = (&layout, &received, &bytes);
            async move {
                let called = survey.called(range.device, range.span);
                let again = &AtomicBool::new(false);
                let (rows_before, bytes_before) = (&AtomicU64::new(0), &AtomicU64::new(0));
                let called = called.as_str();
                retried(&self.read, called, |connection| async move {
                    // What an attempt that failed brought does not count.
                    received.fetch_sub(rows_before.swap(0, Ordering::Relaxed), Ordering::Relaxed);
                    bytes.fetch_sub(bytes_before.swap(0, Ordering::Relaxed), Ordering::Relaxed);
                    // The rows are counted again then, too: some may have come in the meantime.
                    let expected = match again.swap(true, Ordering::Relaxed) {
                        false => range.rows,
                        true => count(&connection, &survey.statements, survey.device(range.device), range.span)
                            .await?
                            .min(range.limit.unwrap_or(u64::MAX)),
                    };
                    let came = |rows: u64, more: u64| {
                        rows_before.fetch_add(rows, Ordering::Relaxed);
                        bytes_before.fetch_add(more, Ordering::Relaxed);
                        progress(Progress {
                            rows: received.fetch_add(rows, Ordering::Relaxed) + rows,
                            total,
                        });
                        bytes.fetch_add(more, Ordering::Relaxed) + more <= self.options.limits.bytes
                    };
                    let part = self.fetch_range(&connection, survey, range, layout, &came).await?;
                    match part.rows == expected {
                        true => Ok(part),
                        false => Err(TdengineError::incomplete(called, expected, part.rows)),
                    }
                })
                .await
            }
        });
        let mut parts = std::pin::pin!(parts.buffered(self.options.connections.max(1)));
        while let Some(part) = parts.try_next().await? {
            let folder = folder.display().to_string();
            let appended = spawn_blocking(move || {
                spool.append(part)?;
                Ok(spool)
            });
            spool = joined(appended.await)?.map_err(|error: std::io::Error| TdengineError::disk(&folder, error))?;
        }
        Ok(spool)
    }

    async fn fetch_range(
        &self,
        connection: &Connection,
        survey: &Survey,
        range: &Range,
        layout: &Layout,
        came: &(dyn Fn(u64, u64) -> bool + Send + Sync),
    ) -> Result<Part, TdengineError> {
        let sql = survey
            .statements
            .rows(survey.device(range.device), range.span, range.limit)?;
        let mut rows = connection.query("fetching rows", &sql).await?;
        let folder = self.cache.folder();
        let disk = |error: std::io::Error| TdengineError::disk(&folder.display().to_string(), error);
        let mut part = Part::new(folder, layout, range.device).map_err(disk)?;
        let mut next = rows.next().await?;
        while let Some(columns) = next.take() {
            let columns = match survey.statements.has_windows() {
                true => as_numbers(columns)?,
                false => columns,
            };
            let rows_in_block = columns.first().map_or(0, |time| time.len()) as u64;
            // One block is written while the next one is on its way.
            let written = spawn_blocking(move || {
                let before = part.bytes;
                part.write(columns)?;
                let added = part.bytes - before;
                Ok((part, added))
            });
            let (written, block) = tokio::join!(written, rows.next());
            let added;
            (part, added) = joined(written)?.map_err(disk)?;
            if !came(rows_in_block, added) {
                return Err(TdengineError::limit(format!(
                    "{}: the rows take more than the {} MiB that a job may fetch; ask for a shorter time, fewer columns or wider intervals, or let the operator raise the limit",
                    survey.schema.name,
                    self.options.limits.bytes >> 20
                )));
            }
            next = block?;
        }
        Ok(part)
    }

    fn fetched(
        &self,
        survey: &Survey,
        figures: &[Figures],
        limit: Option<u64>,
        file: File,
        rows: u64,
        cached: bool,
    ) -> Fetched {
        let most = limit.unwrap_or(u64::MAX);
        let windows = survey.statements.has_windows();
        let devices = survey.devices.iter().zip(figures).map(|(device, figures)| DeviceRows {
            name: device.to_string(),
            rows: if windows { figures.rows } else { figures.rows.min(most) },
        });
        let mut notes = Vec::new();
        if !survey.silent.is_empty() {
            notes.push(format!(
                "{}: {} without rows in this time left out: {}",
                survey.schema.name,
                match survey.silent.len() {
                    1 => "a device".to_owned(),
                    count => format!("{count} devices"),
                },
                crate::error::listed(&survey.silent)
            ));
        }
        if !survey.schema.unusable.is_empty() {
            notes.push(format!(
                "{}: columns whose names cannot be used are left out: {}",
                survey.schema.name,
                crate::error::listed(&survey.schema.unusable)
            ));
        }
        Fetched {
            file,
            name: survey.schema.name.clone(),
            rows,
            counted: figures.iter().map(|figures| figures.rows).sum(),
            devices: devices.collect(),
            time: survey.schema.time.to_string(),
            device_column: survey.device_column.clone().filter(|_| survey.devices.len() > 1),
            cached,
            notes,
        }
    }
}

/// Cuts a device's rows into ranges; not where that would change what the database makes of them.
async fn cut(
    connection: &Connection,
    survey: &Survey,
    query: &DeviceQuery,
    whole: Whole<'_>,
    size: u64,
) -> Result<Vec<Range>, TdengineError> {
    let (statements, precision) = (&survey.statements, survey.schema.precision);
    let Some(interval) = query.interval else {
        return whole.cut(connection, statements, precision, size).await;
    };
    let rows = count(connection, statements, whole.device.1, whole.ticks()).await?;
    let whole = Whole { rows, ..whole };
    match interval.nanos() {
        Some(nanos) if rows > size && !query.fill.looks_around() && QUARTER_HOUR % nanos == 0 => {
            let align = QUARTER_HOUR / (1_000_000_000 / precision.per_second());
            whole.cut_windows(connection, statements, align, size).await
        }
        _ => Ok(whole.uncut()),
    }
}

fn as_numbers(columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, TdengineError> {
    let numbers = columns.into_iter().enumerate().map(|(at, column)| match at {
        0 => Ok(column),
        _ => cast(&column, &DataType::Float64),
    });
    numbers
        .collect::<Result<_, _>>()
        .map_err(|error| TdengineError::request(format!("a window's values are no numbers: {error}")))
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, TdengineError> {
    result.map_err(|error| TdengineError::disk("writing rows", error))
}
