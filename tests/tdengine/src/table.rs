//! Databases and their tables: columns, tags, and the rows of each child.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use crate::{
    generated::Generated,
    time::Precision,
    value::{DataType, Value},
};

/// A column or a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub name: String,
    pub data_type: DataType,
}

/// Tables under one name and one precision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Database {
    pub precision: Precision,
    /// Super tables and plain tables.
    pub tables: BTreeMap<String, Table>,
    /// The super table of each child table.
    pub children: BTreeMap<String, String>,
}

impl Database {
    /// A table, and which child of it the name stands for (a plain table has one, of its own name).
    pub fn find(&self, name: &str) -> Option<(&Table, Option<&str>)> {
        if let Some(table) = self.tables.get(name) {
            return Some((table, None));
        }
        let (child, parent) = self.children.get_key_value(name)?;
        Some((self.tables.get(parent)?, Some(child)))
    }

    /// The child that rows are inserted into, with the columns and the tags of its table.
    pub fn rows_mut(&mut self, name: &str) -> Option<(&[Column], &mut Child)> {
        let table = match self.children.get(name) {
            Some(parent) => self.tables.get_mut(parent)?,
            None => self.tables.get_mut(name).filter(|table| !table.is_super())?,
        };
        Some((&table.columns, table.children.get_mut(name)?))
    }
}

/// A super table with its children, or a plain table, which is its own only child.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    /// The first is the timestamp.
    pub columns: Vec<Column>,
    /// None for a plain table.
    pub tags: Vec<Column>,
    pub children: BTreeMap<String, Child>,
}

/// One series of rows.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub tags: Vec<Value>,
    pub rows: Rows,
}

/// The rows of a child, by their timestamps.
#[derive(Debug, Clone)]
pub(crate) enum Rows {
    Stored(BTreeMap<i64, Vec<Value>>),
    Generated(Arc<Generated>),
}

impl Table {
    pub fn is_super(&self) -> bool {
        !self.tags.is_empty()
    }
}

impl Child {
    pub fn new(tags: Vec<Value>) -> Self {
        Self {
            tags,
            rows: Rows::Stored(BTreeMap::new()),
        }
    }

    /// Shows every row in `from..=to` whole, the timestamp first, in order of time.
    pub fn scan(
        &self,
        (from, to): (i64, i64),
        visit: &mut dyn FnMut(&mut Vec<Value>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut row = Vec::new();
        match &self.rows {
            Rows::Stored(rows) if from <= to => {
                for (timestamp, values) in rows.range(from..=to) {
                    row.clear();
                    row.push(Value::Timestamp(*timestamp));
                    row.extend_from_slice(values);
                    visit(&mut row)?;
                }
            }
            Rows::Generated(table) => {
                for index in table.between(from, to) {
                    row.clear();
                    row.extend(table.row(index));
                    visit(&mut row)?;
                }
            }
            Rows::Stored(_) => {}
        }
        ControlFlow::Continue(())
    }
}
