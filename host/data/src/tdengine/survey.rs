//! A look at the database: what the query's names stand for, which devices there are, and how much of each.

use arrow_array::{Array, cast::AsArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    block::ColumnType,
    connection::Connection,
    error::TdengineError,
    fetch::Request,
    moment::Moment,
    name::Name,
    plan::Figures,
    query::{DeviceQuery, TagValue},
    source::{Tdengine, retried},
    statement::{DeviceColumn, Span, Statements},
    table::TableSchema,
};
use crate::error::quoted;

/// What tells devices apart when nothing else is said.
const DEVICE: &str = "device_id";
/// The name of the device column where the tables of a super table are the devices.
const TABLE_NAME: &str = "tbname";
/// Devices in one data set.
const MOST_DEVICES: usize = 10_000;

/// What a look at the database gives.
pub(super) struct Survey {
    pub database: Name,
    pub schema: TableSchema,
    pub statements: Statements,
    pub types: Vec<(Name, ColumnType)>,
    pub device_column: Option<String>,
    pub devices: Vec<TagValue>,
    /// Those that have no rows in the span.
    pub silent: Vec<String>,
    pub span: Span,
}

impl Survey {
    pub fn device(&self, device: usize) -> Option<&TagValue> {
        self.devices.get(device)
    }

    fn time(&self, ticks: i64) -> String {
        let moment = self.schema.precision.moment(ticks);
        moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)
    }

    /// What messages call a device's rows in a span.
    pub fn called(&self, device: usize, span: Span) -> String {
        let mut words = self.schema.name.clone();
        if let Some(device) = self.device(device) {
            words += &format!(", device {}", quoted(&device.to_string()));
        }
        let time = |ticks: i64| self.time(ticks);
        match (span.from.map(time), span.to.map(time)) {
            (Some(from), Some(to)) => words + &format!(", {from} to {to}"),
            (Some(from), None) => words + &format!(", from {from}"),
            (None, Some(to)) => words + &format!(", before {to}"),
            (None, None) => words,
        }
    }
}

impl Tdengine {
    /// Looks what there is.
    pub(super) async fn survey(
        &self,
        connection: &Connection,
        request: &Request<'_>,
        now: DateTime<Utc>,
    ) -> Result<Survey, TdengineError> {
        let query = request.query;
        let database = match (&query.database, self.read.database()) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => Name::new(name).map_err(TdengineError::dsn)?,
            (None, None) => {
                return Err(TdengineError::request(
                    "the query names no database, and neither does the configured DSN: add \"database\"",
                ));
            }
        };
        let schema = TableSchema::read(connection, &database, &query.table).await?;
        let device = match request.device_column {
            Some(name) if name == TABLE_NAME => Some(DeviceColumn::TableName),
            Some(name) => Some(DeviceColumn::Named(schema.get(name)?.name.clone())),
            None => match schema.find(DEVICE) {
                Some(column) => Some(DeviceColumn::Named(column.name.clone())),
                None if query.device_id.is_some() && !schema.has_tags() => {
                    schema.get(DEVICE)?;
                    None
                }
                None => schema.has_tags().then_some(DeviceColumn::TableName),
            },
        };
        let device_column = device.as_ref().map(|device| match device {
            DeviceColumn::Named(name) => name.to_string(),
            DeviceColumn::TableName => TABLE_NAME.to_owned(),
        });
        let value = ["value".to_owned()];
        let wanted = match request.columns {
            None if query.table == DeviceQuery::default().table && schema.find("value").is_some() => Some(&value[..]),
            wanted => wanted,
        };
        let chosen: Vec<_> = schema.choose(wanted)?;
        let chosen = chosen
            .into_iter()
            .filter(|column| Some(column.name.as_str()) != device_column.as_deref());
        let columns: Vec<(Name, ColumnType)> = chosen.map(|column| (column.name.clone(), column.r#type)).collect();
        if query.interval.is_some()
            && let Some((name, _)) = columns.iter().find(|(_, r#type)| !r#type.is_number())
        {
            return Err(TdengineError::request(format!(
                "{}: {name} holds no numbers, so its windows cannot be aggregated; leave it out, or leave out interval",
                schema.name
            )));
        }
        let ticks = |moment: Option<Moment>| {
            let resolve = |moment: Moment| schema.precision.ticks(moment.resolve(query.time_zone, now)?);
            moment.map(resolve).transpose().map_err(TdengineError::request)
        };
        let span = Span {
            from: ticks(query.start_time)?,
            to: Some(match ticks(query.end_time)? {
                Some(to) => to,
                None => schema.precision.ticks(now).map_err(TdengineError::request)?,
            }),
        };
        if span.from.is_some_and(|from| span.to.is_some_and(|to| from >= to)) {
            let shown = |moment: Option<Moment>| moment.map_or("now".to_owned(), |moment| moment.to_string());
            return Err(TdengineError::request(format!(
                "start_time {} is not before end_time {}",
                shown(query.start_time),
                shown(query.end_time)
            )));
        }
        let names = columns.iter().map(|(name, _)| name.clone()).collect();
        let statements = Statements::new(&database, &schema, names, query, device)?;
        let devices = match (&query.device_id, statements.devices()) {
            (Some(named), _) => named.clone().into_iter().fold(Vec::new(), |mut devices, device| {
                if !devices.contains(&device) {
                    devices.push(device);
                }
                devices
            }),
            (None, Some(distinct)) => {
                let other = connection.another().await?;
                let devices = devices(&other, &distinct).await?;
                other.give_back().await;
                devices
            }
            (None, None) => Vec::new(),
        };
        if devices.len() > MOST_DEVICES {
            return Err(TdengineError::limit(format!(
                "{} has {} devices, and a data set has at most {MOST_DEVICES}: name some in device_id, or filter by tags",
                schema.name,
                devices.len()
            )));
        }
        Ok(Survey {
            database,
            types: columns,
            device_column,
            devices,
            silent: Vec::new(),
            span,
            statements,
            schema,
        })
    }

    /// Counts each device's rows. Those without any are left out.
    pub(super) async fn figures(&self, mut survey: Survey) -> Result<(Survey, Vec<Figures>), TdengineError> {
        let each = stream::iter(0..survey.devices.len().max(1)).map(|device| {
            let survey = &survey;
            async move {
                let range = survey.called(device, survey.span);
                retried(&self.read, &range, |connection| async move {
                    Figures::read(&connection, &survey.statements, survey.device(device), survey.span).await
                })
                .await
            }
        });
        let figures: Vec<Figures> = each.buffered(self.options.connections.max(1)).try_collect().await?;
        if figures.iter().all(|figures| figures.rows == 0) {
            return Err(self.nothing(&survey).await);
        }
        let mut rows = figures.iter().map(|figures| figures.rows);
        let (heard, silent) = survey.devices.into_iter().partition(|_| rows.next() > Some(0));
        (survey.devices, survey.silent) = (heard, names(silent));
        let figures = figures.into_iter().filter(|figures| figures.rows > 0).collect();
        Ok((survey, figures))
    }

    /// Says that there is nothing, and where there is something.
    async fn nothing(&self, survey: &Survey) -> TdengineError {
        let what = match &survey.devices[..] {
            [] | [_] => survey.called(0, survey.span),
            several => format!(
                "{} devices of {}",
                several.len(),
                survey.called(usize::MAX, survey.span)
            ),
        };
        let elsewhere = retried(&self.read, &what, |connection| async move {
            // Of several, some may have rows elsewhere and some nowhere: then the table speaks for all.
            let only = match &survey.devices[..] {
                [only] => Some(only),
                _ => None,
            };
            Figures::read(&connection, &survey.statements, only, Span::default()).await
        });
        let hint = match elsewhere.await {
            Ok(Figures {
                times: Some((first, last)),
                ..
            }) => {
                let (who, also) = match survey.devices.len() {
                    0 | 1 => ("there are some", ""),
                    _ => ("the table has some", "device_id, "),
                };
                let (first, last) = (survey.time(first), survey.time(last));
                format!("{who} from {first} to {last}: see to {also}start_time and end_time")
            }
            _ => "there are none at any time: see to device_id, tags and table".to_owned(),
        };
        TdengineError::no_rows(format!("{what}: no rows; {hint}"))
    }
}

/// The values of the device column.
async fn devices(connection: &Connection, sql: &str) -> Result<Vec<TagValue>, TdengineError> {
    let answer = connection.query("listing devices", sql).await?.all().await?;
    let Some(column) = answer.first() else {
        return Ok(Vec::new());
    };
    let mut devices: Vec<TagValue> = match column.data_type() {
        DataType::Utf8 => {
            let mut texts: Vec<&str> = column.as_string::<i32>().iter().flatten().collect();
            texts.sort_unstable();
            texts.into_iter().map(|text| TagValue::Text(text.to_owned())).collect()
        }
        r#type if r#type.is_integer() => {
            let numbers = cast(column, &DataType::Int64).map_err(|error| TdengineError::request(error.to_string()))?;
            let mut numbers: Vec<i64> = numbers
                .as_primitive::<arrow_array::types::Int64Type>()
                .iter()
                .flatten()
                .collect();
            numbers.sort_unstable();
            numbers.into_iter().map(TagValue::Int).collect()
        }
        _ => {
            return Err(TdengineError::request(
                "devices are told apart by texts or whole numbers: choose another device_column",
            ));
        }
    };
    devices.dedup();
    Ok(devices)
}

fn names(devices: Vec<TagValue>) -> Vec<String> {
    devices.iter().map(ToString::to_string).collect()
}
