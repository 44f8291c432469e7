//! Predictions, written to a table of the user's.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{
    error::TdengineError,
    moment::TimePrecision,
    name::{Name, text_literal},
    source::{Tdengine, retried},
    table::TableSchema,
};

/// The server takes statements of 1 MiB; names and tags come on top of the rows.
const STATEMENT: usize = 512 << 10;
/// Rows of one statement.
const BATCH: usize = 10_000;
/// Bytes that a text may have.
const TEXT: usize = 128;

/// Where predictions go: a super table with a table for each run (and device), made when it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// The database, which must be there; the configured one when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Name>,
    /// The super table.
    pub table: Name,
    /// The device that the predictions are for: a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
}

/// A column of predictions.
#[derive(Debug, Clone, PartialEq)]
pub enum SinkColumn {
    /// Numbers; what is not finite becomes NULL.
    Numbers(Vec<f64>),
    /// Names of classes.
    Texts(Vec<String>),
}

/// Predictions to write.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkRows {
    /// Whose they are: tags.
    pub run_id: String,
    /// The run's model.
    pub model_id: i64,
    /// Microseconds since 1970. Of several rows of one time the last counts.
    pub times: Vec<i64>,
    /// Names and values.
    pub columns: Vec<(String, SinkColumn)>,
}

impl Tdengine {
    /// Writes predictions; how many rows. Whatever was written for these times by the same run is overwritten.
    pub async fn write(&self, sink: &Sink, rows: &SinkRows) -> Result<u64, TdengineError> {
        let Some(connections) = &self.write else {
            return Err(TdengineError::request(
                "nothing may be written to TDengine here: the operator has configured no user that writes ([tdengine] write_dsn)",
            ));
        };
        let database = match (&sink.database, connections.database()) {
            (Some(name), _) => name.clone(),
            (None, Some(name)) => Name::new(name).map_err(TdengineError::dsn)?,
            (None, None) => return Err(TdengineError::request("sink names no database: add \"database\"")),
        };
        let (database, statements) = (&database, &Statements::new(&database, sink, rows)?);
        let called = format!("{database}.{}", sink.table);
        let precision = retried(connections, &called, |connection| async move {
            connection.execute("making the table", &statements.create).await?;
            let schema = TableSchema::read(&connection, database, &sink.table).await?;
            statements.check(&schema)?;
            Ok(schema.precision)
        })
        .await?;
        let mut written = 0;
        let mut begin = 0;
        while begin < rows.times.len() {
            let (sql, end) = statements.insert(rows, begin, precision)?;
            let sql = &sql;
            let count = retried(connections, &called, |connection| async move {
                connection.execute("writing predictions", sql).await
            })
            .await?;
            if count != end - begin {
                return Err(TdengineError::incomplete(
                    &format!("{called}: writing predictions"),
                    (end - begin) as u64,
                    count as u64,
                ));
            }
            written += count as u64;
            begin = end;
        }
        Ok(written)
    }
}

struct Statements {
    create: String,
    /// Of every insert, up to the rows.
    insert: String,
    columns: Vec<Name>,
}

impl Statements {
    fn new(database: &Name, sink: &Sink, rows: &SinkRows) -> Result<Self, TdengineError> {
        if rows.times.is_empty() {
            return Err(TdengineError::no_rows("there are no predictions to write"));
        }
        let mut columns = Vec::new();
        for (name, _) in &rows.columns {
            let column = Name::new(name.clone())
                .map_err(|error| TdengineError::request(format!("a predicted column cannot be written: {error}")))?;
            if ["ts", "run_id", "model_id", "device_id"].contains(&column.as_str()) || columns.contains(&column) {
                return Err(TdengineError::request(format!(
                    "a predicted column is called {column}, and the table has such a column already"
                )));
            }
            columns.push(column);
        }
        let types = rows.columns.iter().map(|(_, values)| match values {
            SinkColumn::Numbers(_) => "double".to_owned(),
            SinkColumn::Texts(_) => format!("nchar({TEXT})"),
        });
        let defined: String = columns
            .iter()
            .zip(types)
            .map(|(name, r#type)| format!(", {} {type}", name.sql()))
            .collect();
        let table = format!("{}.{}", database.sql(), sink.table.sql());
        let device = sink.device_id.as_deref().unwrap_or_default();
        // The run's id is ours; the device's name is anybody's, and its digest has only letters and digits.
        let digest = super::cache::Cache::key(&(&sink.table, &rows.run_id, device));
        let child = Name::new(format!("run_{}", &digest[..40])).map_err(TdengineError::request)?;
        let tags = [
            text_literal(&rows.run_id).map_err(TdengineError::request)?,
            rows.model_id.to_string(),
            text_literal(device).map_err(TdengineError::request)?,
        ];
        let names: String = columns.iter().map(|name| format!(", {}", name.sql())).collect();
        Ok(Self {
            create: format!(
                "create stable if not exists {table} (`ts` timestamp{defined}) tags (`run_id` nchar(64), `model_id` bigint, `device_id` nchar({TEXT}))"
            ),
            insert: format!(
                "insert into {}.{} using {table} (`run_id`, `model_id`, `device_id`) tags ({}) (`ts`{names}) values",
                database.sql(),
                child.sql(),
                tags.join(", ")
            ),
            columns,
        })
    }

    /// A table that is there already must have what is to be written.
    fn check(&self, schema: &TableSchema) -> Result<(), TdengineError> {
        let tags = ["run_id", "model_id", "device_id"];
        for (name, is_tag) in self
            .columns
            .iter()
            .map(|name| (name.as_str(), false))
            .chain(tags.map(|tag| (tag, true)))
        {
            if schema.get(name)?.is_tag != is_tag || schema.time.as_str() != "ts" {
                return Err(TdengineError::request(format!(
                    "{} is not a table for predictions: it needs a time `ts`, the predicted columns, and the tags run_id, model_id and device_id; name a new one, it is made",
                    schema.name
                )));
            }
        }
        Ok(())
    }

    /// The statement of the rows from one on, and the first row that is not in it.
    fn insert(
        &self,
        rows: &SinkRows,
        begin: usize,
        precision: TimePrecision,
    ) -> Result<(String, usize), TdengineError> {
        let mut sql = self.insert.clone();
        let mut end = begin;
        while end < rows.times.len() && end - begin < BATCH && sql.len() < STATEMENT {
            let micros = rows.times[end];
            let ticks = match precision {
                TimePrecision::Millisecond => Some(micros.div_euclid(1_000)),
                TimePrecision::Microsecond => Some(micros),
                TimePrecision::Nanosecond => micros.checked_mul(1_000),
            };
            let ticks = ticks.ok_or_else(|| {
                TdengineError::request("a time is too far away for a database that counts nanoseconds")
            })?;
            let _ = write!(sql, " ({ticks}");
            for (name, values) in &rows.columns {
                match values {
                    SinkColumn::Numbers(values) if values[end].is_finite() => {
                        let _ = write!(sql, ", {:?}", values[end]);
                    }
                    SinkColumn::Numbers(_) => sql.push_str(", NULL"),
                    SinkColumn::Texts(texts) => {
                        let text = &texts[end];
                        if text.chars().count() > TEXT {
                            return Err(TdengineError::request(format!(
                                "a value of {name} has more than {TEXT} characters"
                            )));
                        }
                        sql.push_str(", ");
                        sql.push_str(&text_literal(text).map_err(TdengineError::request)?);
                    }
                }
            }
            sql.push(')');
            end += 1;
        }
        Ok((sql, end))
    }
}
