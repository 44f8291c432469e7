//! Every statement that is ever sent, made of checked names, escaped values and whole numbers alone.

use super::{
    error::TdengineError,
    moment::TimePrecision,
    name::Name,
    query::{Aggregates, DeviceQuery, Fill, Interval, TagValue},
    table::TableSchema,
};

/// Times in the database's ticks, from the first on, without the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub from: Option<i64>,
    pub to: Option<i64>,
}

/// What tells devices apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceColumn {
    /// A tag, or a column.
    Named(Name),
    /// The tables of a super table.
    TableName,
}

impl DeviceColumn {
    fn sql(&self) -> String {
        match self {
            Self::Named(name) => name.sql(),
            Self::TableName => "tbname".to_owned(),
        }
    }
}

/// The statements about one table that a request needs.
#[derive(Debug, Clone)]
pub(crate) struct Statements {
    from: String,
    time: String,
    columns: Vec<Name>,
    filter: Vec<String>,
    device: Option<DeviceColumn>,
    windows: Option<(Interval, Aggregates, Fill)>,
}

pub(crate) fn describe(database: &Name, table: &Name) -> String {
    format!("describe {}.{}", database.sql(), table.sql())
}

/// One time, for the precision that comes with it.
pub(crate) fn peek(time: &Name, database: &Name, table: &Name) -> String {
    format!("select {} from {}.{} limit 1", time.sql(), database.sql(), table.sql())
}

/// `select server_version()`.
pub(crate) const VERSION: &str = "select server_version()";

/// A database, if it is there.
pub(crate) fn database(name: &str) -> Result<String, String> {
    Ok(format!(
        "select name from information_schema.ins_databases where name = {}",
        super::name::text_literal(name)?
    ))
}

/// Whether a user may do everything.
pub(crate) fn super_user(user: &str) -> Result<String, String> {
    Ok(format!(
        "select name, super from information_schema.ins_users where name = {}",
        super::name::text_literal(user)?
    ))
}

/// What a user may do, and where.
pub(crate) fn privileges(user: &str) -> Result<String, String> {
    Ok(format!(
        "select user_name, privilege, db_name from information_schema.ins_user_privileges where user_name = {}",
        super::name::text_literal(user)?
    ))
}

impl Statements {
    /// Checks that everything the query names is there.
    pub fn new(
        database: &Name,
        schema: &TableSchema,
        columns: Vec<Name>,
        query: &DeviceQuery,
        device: Option<DeviceColumn>,
    ) -> Result<Self, TdengineError> {
        let mut filter = Vec::new();
        for (name, values) in &query.tags {
            schema.get(name.as_str())?;
            filter.push(one_of(&name.sql(), values)?);
        }
        let windows = query.interval.map(|interval| {
            let aggregates = query.aggregate.clone().unwrap_or(Aggregates::All(Default::default()));
            (interval, aggregates, query.fill)
        });
        if let Some((_, Aggregates::ByColumn(each), _)) = &windows
            && let Some(stray) = each.keys().find(|name| !columns.contains(name))
        {
            return Err(TdengineError::request(format!(
                "aggregate names {stray}, which is not among the columns that are read"
            )));
        }
        let table = &query.table;
        Ok(Self {
            from: format!("{}.{}", database.sql(), table.sql()),
            time: schema.time.sql(),
            columns,
            filter,
            device,
            windows,
        })
    }

    /// Whether rows are windows of time.
    pub fn has_windows(&self) -> bool {
        self.windows.is_some()
    }

    /// The devices there are.
    pub fn devices(&self) -> Option<String> {
        let device = self.device.as_ref()?.sql();
        Some(format!(
            "select distinct {device} from {}{}",
            self.from,
            where_all(self.filter.clone())
        ))
    }

    /// How many rows, how many values in each column, the first and the last time.
    pub fn figures(&self, device: Option<&TagValue>, span: Span) -> Result<String, TdengineError> {
        let mut items = vec!["count(*)".to_owned()];
        items.extend(self.columns.iter().map(|column| format!("count({})", column.sql())));
        items.extend(["first", "last"].map(|function| format!("{function}({})", self.time)));
        Ok(format!(
            "select {} from {}{}",
            items.join(", "),
            self.from,
            self.condition(device, span)?
        ))
    }

    /// How many rows [`Statements::rows`] has.
    pub fn count(&self, device: Option<&TagValue>, span: Span) -> Result<String, TdengineError> {
        let condition = self.condition(device, span)?;
        Ok(match self.windows {
            None => format!("select count(*) from {}{condition}", self.from),
            Some(_) => format!("select count(*) from ({})", self.windowed(&condition)),
        })
    }

    /// How many rows there are in each window of so many ticks.
    pub fn histogram(
        &self,
        device: Option<&TagValue>,
        span: Span,
        width: i64,
        precision: TimePrecision,
    ) -> Result<String, TdengineError> {
        let unit = match precision {
            TimePrecision::Millisecond => 'a',
            TimePrecision::Microsecond => 'u',
            TimePrecision::Nanosecond => 'b',
        };
        let (from, condition) = (&self.from, self.condition(device, span)?);
        Ok(format!(
            "select _wstart, count(*) from {from}{condition} interval({width}{unit}) order by _wstart"
        ))
    }

    /// The rows, in order of time.
    pub fn rows(&self, device: Option<&TagValue>, span: Span, limit: Option<u64>) -> Result<String, TdengineError> {
        let condition = self.condition(device, span)?;
        let limit = limit.map(|limit| format!(" limit {limit}")).unwrap_or_default();
        Ok(match self.windows {
            None => {
                let mut items = vec![self.time.clone()];
                items.extend(self.columns.iter().map(Name::sql));
                let (items, from, time) = (items.join(", "), &self.from, &self.time);
                format!("select {items} from {from}{condition} order by {time}{limit}")
            }
            Some(_) => format!("{} order by _wstart{limit}", self.windowed(&condition)),
        })
    }

    fn windowed(&self, condition: &str) -> String {
        let Some((interval, aggregates, fill)) = &self.windows else {
            return String::new();
        };
        let mut items = vec!["_wstart".to_owned()];
        items.extend(
            self.columns
                .iter()
                .map(|column| format!("{}({})", aggregates.of(column).sql(), column.sql())),
        );
        let fill = match fill {
            Fill::None => String::new(),
            fill => format!(" {}", fill.sql(self.columns.len())),
        };
        format!(
            "select {} from {}{condition} interval({}){fill}",
            items.join(", "),
            self.from,
            interval.sql()
        )
    }

    fn condition(&self, device: Option<&TagValue>, span: Span) -> Result<String, TdengineError> {
        let mut conditions = Vec::new();
        if let (Some(column), Some(device)) = (&self.device, device) {
            conditions.push(one_of(&column.sql(), std::slice::from_ref(device))?);
        }
        conditions.extend(self.filter.iter().cloned());
        conditions.extend(span.from.map(|from| format!("{} >= {from}", self.time)));
        conditions.extend(span.to.map(|to| format!("{} < {to}", self.time)));
        Ok(where_all(conditions))
    }
}

fn where_all(conditions: Vec<String>) -> String {
    match conditions.is_empty() {
        true => String::new(),
        false => format!(" where {}", conditions.join(" and ")),
    }
}

fn one_of(column: &str, values: &[TagValue]) -> Result<String, TdengineError> {
    let literals: Result<Vec<String>, String> = values.iter().map(TagValue::sql).collect();
    let literals = literals.map_err(TdengineError::request)?;
    Ok(match &literals[..] {
        [one] => format!("{column} = {one}"),
        several => format!("{column} in ({})", several.join(", ")),
    })
}
