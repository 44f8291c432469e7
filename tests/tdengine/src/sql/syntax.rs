//! Statements as they are understood.

use crate::{
    table::Column,
    time::{Precision, Width},
    value::Value,
};

/// `db.table`; without `db.` it is of the session's database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub database: Option<String>,
    pub table: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Statement {
    Select(Select),
    /// `select count(*) from (select ...)`, and the name of its column.
    CountOf(Box<Statement>, String),
    /// A `select` of a constant: its name and value.
    Constant(Constant, String),
    Describe(TableName),
    Use(String),
    CreateDatabase {
        name: String,
        if_not_exists: bool,
        precision: Precision,
    },
    DropDatabase {
        name: String,
        if_exists: bool,
    },
    CreateTable {
        name: TableName,
        if_not_exists: bool,
        columns: Vec<Column>,
        tags: Vec<Column>,
    },
    CreateChildren(Vec<CreateChild>),
    DropTable {
        name: TableName,
        if_exists: bool,
    },
    Insert(Vec<Insert>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Constant {
    ServerVersion,
    ServerStatus,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CreateChild {
    pub name: TableName,
    pub if_not_exists: bool,
    pub using: Using,
}

/// `using db.stb [(names)] tags (values)`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Using {
    pub super_table: TableName,
    pub names: Option<Vec<String>>,
    pub values: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Insert {
    pub into: TableName,
    pub using: Option<Using>,
    pub columns: Option<Vec<String>>,
    pub rows: Vec<Vec<Value>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Select {
    pub distinct: bool,
    pub items: Vec<Item>,
    pub from: TableName,
    pub conditions: Vec<Condition>,
    pub partition: Vec<String>,
    pub interval: Option<Interval>,
    /// Names to sort by, and whether from the highest down.
    pub order: Vec<(String, bool)>,
    pub limit: Option<u64>,
    pub offset: u64,
}

/// One thing that is selected, and the name of its column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub expression: Expression,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expression {
    /// `*`
    All,
    /// A column, a tag or `tbname`.
    Column(String),
    /// `_wstart`
    WindowStart,
    /// `_wend`
    WindowEnd,
    /// A function of a column; `None` is `*`.
    Aggregate(Function, Option<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Count,
    First,
    Last,
    Min,
    Max,
    Sum,
    Avg,
    Spread,
    Stddev,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub column: String,
    pub test: Test,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Compare(Comparison, Value),
    In { values: Vec<Value>, negated: bool },
    Between(Value, Value),
    IsNull { negated: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `interval(count unit) fill(...)`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Interval {
    pub count: i64,
    /// `None` counts units of the database's precision.
    pub unit: Option<char>,
    pub fill: Fill,
}

impl Interval {
    pub fn width(&self, precision: Precision) -> Option<Width> {
        match self.unit {
            Some(unit) => Width::new(self.count, unit, precision),
            None => (self.count > 0).then_some(Width::Fixed(self.count)),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fill {
    None,
    /// NULL in windows without rows; `forced` even when no window has rows.
    Null {
        forced: bool,
    },
    /// One value for each function selected.
    Value {
        values: Vec<Value>,
        forced: bool,
    },
    Previous,
    Next,
    Linear,
}
