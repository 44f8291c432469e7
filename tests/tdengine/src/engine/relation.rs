//! What a `select` reads from: a super table, a child, a plain table, or a table of `information_schema`.
//! A row is its columns, then the tags, then the name of the child.

use std::ops::ControlFlow;

use crate::{
    engine::{Session, database},
    error::SqlError,
    generated::Generated,
    sql::TableName,
    table::{Child, Column, Rows, Table},
    time::Precision,
    value::{DataType, Value},
    world::World,
};

/// The longest name of a table.
const TABLE_NAME: DataType = DataType::VarChar(192);

pub(super) struct Relation<'a> {
    pub precision: Precision,
    /// Columns, tags and `tbname`, as in a row.
    pub columns: Vec<Column>,
    /// How many of them are no tags.
    pub plain: usize,
    /// Whether the first column is the timestamp.
    pub timed: bool,
    source: Source<'a>,
}

enum Source<'a> {
    Children(Vec<(&'a String, &'a Child)>),
    Values(Vec<Vec<Value>>),
}

impl<'a> Relation<'a> {
    pub fn open(world: &'a World, session: &Session, name: &TableName) -> Result<Self, SqlError> {
        let owner = session.database_of(name)?;
        session.may_read(&owner)?;
        if owner == "information_schema" {
            return information_schema(world, &name.table);
        }
        let database = database(world, &owner)?;
        let (table, child) = database.find(&name.table).ok_or_else(SqlError::no_table)?;
        Ok(Self {
            precision: database.precision,
            columns: columns(table),
            plain: table.columns.len(),
            timed: true,
            source: Source::Children(
                table
                    .children
                    .iter()
                    .filter(|(name, _)| child.is_none_or(|child| child == *name))
                    .collect(),
            ),
        })
    }

    /// Where a column stands in a row.
    pub fn index(&self, name: &str) -> Result<usize, SqlError> {
        let same = |column: &Column| column.name == name;
        let found = self.columns.iter().position(same).or_else(|| {
            let time = matches!(name, "_rowts" | "_c0") && self.timed;
            time.then_some(0)
        });
        found.ok_or_else(|| SqlError::column(name))
    }

    /// The columns and tags of `*`.
    pub fn all(&self) -> std::ops::Range<usize> {
        0..self.columns.len() - usize::from(self.timed)
    }

    /// The only series, where it is generated.
    pub fn generated(&self) -> Option<&'a std::sync::Arc<Generated>> {
        match &self.source {
            Source::Children(children) => match &children[..] {
                [
                    (
                        _,
                        Child {
                            rows: Rows::Generated(table),
                            ..
                        },
                    ),
                ] => Some(table),
                _ => None,
            },
            Source::Values(_) => None,
        }
    }

    /// Shows every row whose timestamp lies in a range, child after child, in order of time.
    pub fn scan(&self, range: (i64, i64), mut visit: impl FnMut(&[Value]) -> ControlFlow<()>) {
        let _ = match &self.source {
            Source::Values(rows) => rows.iter().try_for_each(|row| visit(row)),
            Source::Children(children) => children.iter().try_for_each(|(name, child)| {
                let tail = tail(name, child);
                child.scan(range, &mut |row| {
                    row.extend_from_slice(&tail);
                    visit(row)
                })
            }),
        };
    }

    /// One row for each child, NULL but for the tags and the name.
    pub fn scan_tags(&self, mut visit: impl FnMut(&[Value])) {
        if let Source::Children(children) = &self.source {
            for (name, child) in children {
                let mut row = vec![Value::Null; self.plain];
                row.extend(tail(name, child));
                visit(&row);
            }
        }
    }
}

fn tail(name: &str, child: &Child) -> Vec<Value> {
    child
        .tags
        .iter()
        .cloned()
        .chain([Value::VarChar(name.as_bytes().to_vec())])
        .collect()
}

fn columns(table: &Table) -> Vec<Column> {
    let name = Column {
        name: "tbname".to_owned(),
        data_type: TABLE_NAME,
    };
    table.columns.iter().chain(&table.tags).cloned().chain([name]).collect()
}

/// The tables about users and databases, as
/// <https://docs.tdengine.com/tdengine-reference/sql-manual/metadata/> describes them.
/// A super user has one privilege, `all` on the database `all`; another has a `read` or a `write` for each database.
fn information_schema<'a>(world: &World, table: &str) -> Result<Relation<'a>, SqlError> {
    let text = |text: &str| Value::VarChar(text.as_bytes().to_vec());
    let flag = |flag: bool| Value::TinyInt(flag.into());
    let (columns, rows): (&[(&str, DataType)], Vec<Vec<Value>>) = match table {
        "ins_users" => (
            &[
                ("name", DataType::VarChar(24)),
                ("super", DataType::TinyInt),
                ("enable", DataType::TinyInt),
                ("sysinfo", DataType::TinyInt),
            ],
            world
                .users
                .iter()
                .map(|u| vec![text(&u.name), flag(u.super_user), flag(true), flag(true)])
                .collect(),
        ),
        "ins_user_privileges" => {
            let mut rows = Vec::new();
            for user in &world.users {
                let mut add = |privilege: &str, database: &str| {
                    rows.push(vec![text(&user.name), text(privilege), text(database), text("")]);
                };
                if user.super_user {
                    add("all", "all");
                }
                user.reads.iter().for_each(|database| add("read", database));
                user.writes.iter().for_each(|database| add("write", database));
            }
            let columns: &[_] = &[
                ("user_name", DataType::VarChar(24)),
                ("privilege", DataType::VarChar(10)),
                ("db_name", DataType::VarChar(65)),
                ("table_name", DataType::VarChar(193)),
            ];
            (columns, rows)
        }
        "ins_databases" => (
            &[("name", DataType::VarChar(64)), ("precision", DataType::VarChar(2))],
            world
                .databases
                .iter()
                .map(|(name, db)| vec![text(name), text(db.precision.name())])
                .collect(),
        ),
        _ => return Err(SqlError::no_table()),
    };
    Ok(Relation {
        precision: Precision::default(),
        columns: columns
            .iter()
            .map(|&(name, data_type)| Column {
                name: name.to_owned(),
                data_type,
            })
            .collect(),
        plain: columns.len(),
        timed: false,
        source: Source::Values(rows),
    })
}
