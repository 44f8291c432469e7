//! Databases and tables are made, described and dropped.

use std::collections::BTreeMap;

use crate::{
    block::ResultColumn,
    engine::{Session, database},
    error::SqlError,
    result_set::ResultSet,
    sql::{TableName, Using},
    table::{Child, Column, Database, Table},
    time::Precision,
    value::{DataType, Value},
    world::World,
};

pub(super) fn create_database(
    world: &mut World,
    session: &Session,
    name: String,
    if_not_exists: bool,
    precision: Precision,
) -> Result<u64, SqlError> {
    if !session.user.super_user {
        return Err(SqlError::denied());
    }
    match (world.databases.contains_key(&name), if_not_exists) {
        (true, true) => {}
        (true, false) => return Err(SqlError::new(0x0381, "Database already exists")),
        (false, _) => {
            world.create_database(&name, precision);
        }
    }
    Ok(0)
}

pub(super) fn drop_database(
    world: &mut World,
    session: &Session,
    name: &str,
    if_exists: bool,
) -> Result<u64, SqlError> {
    if !session.user.super_user {
        return Err(SqlError::denied());
    }
    world.forget(name);
    match world.databases.remove(name).is_none() && !if_exists {
        true => Err(SqlError::no_database()),
        false => Ok(0),
    }
}

/// The database of a name, to be changed.
fn writable<'a>(world: &'a mut World, session: &Session, name: &TableName) -> Result<&'a mut Database, SqlError> {
    let owner = session.database_of(name)?;
    session.may_write(&owner)?;
    world.forget(&owner);
    world.databases.get_mut(&owner).ok_or_else(SqlError::no_database)
}

fn exists(database: &Database, name: &str, if_not_exists: bool) -> Result<bool, SqlError> {
    match (database.find(name).is_some(), if_not_exists) {
        (true, false) => Err(SqlError::new(0x0603, "Table already exists")),
        (here, _) => Ok(here),
    }
}

pub(super) fn create_table(
    world: &mut World,
    session: &Session,
    name: &TableName,
    if_not_exists: bool,
    columns: Vec<Column>,
    tags: Vec<Column>,
) -> Result<u64, SqlError> {
    let database = writable(world, session, name)?;
    if exists(database, &name.table, if_not_exists)? {
        return Ok(0);
    }
    if columns
        .first()
        .is_none_or(|column| column.data_type != DataType::Timestamp)
    {
        return Err(SqlError::new(0x2641, "First column must be timestamp"));
    }
    let mut names: Vec<_> = columns.iter().chain(&tags).map(|column| &column.name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(SqlError::new(0x263C, "Duplicated column names"));
    }
    let children = match tags.is_empty() {
        true => BTreeMap::from([(name.table.clone(), Child::new(Vec::new()))]),
        false => BTreeMap::new(),
    };
    database.tables.insert(
        name.table.clone(),
        Table {
            columns,
            tags,
            children,
        },
    );
    Ok(0)
}

/// Makes a child, or leaves the one there is where `if_not_exists`.
pub(super) fn create_child(
    world: &mut World,
    session: &Session,
    name: &TableName,
    if_not_exists: bool,
    using: &Using,
) -> Result<(), SqlError> {
    let parent = session.database_of(&using.super_table)?;
    let database = writable(world, session, name)?;
    if parent != session.database_of(name)? {
        return Err(SqlError::syntax(&parent));
    }
    if exists(database, &name.table, if_not_exists)? {
        return Ok(());
    }
    let parent = &using.super_table.table;
    let precision = database.precision;
    let table = database
        .tables
        .get_mut(parent)
        .filter(|table| table.is_super())
        .ok_or_else(SqlError::no_table)?;
    let mut tags = vec![Value::Null; table.tags.len()];
    let names = using
        .names
        .clone()
        .unwrap_or_else(|| table.tags.iter().map(|tag| tag.name.clone()).collect());
    if names.len() != using.values.len() {
        return Err(SqlError::new(0x260D, "Tags number not matched"));
    }
    for (name, value) in names.iter().zip(&using.values) {
        let same = |tag: &Column| tag.name == *name;
        let index = table.tags.iter().position(same).ok_or_else(|| SqlError::column(name))?;
        tags[index] = super::insert::fit(value, &table.tags[index], precision)?;
    }
    table.children.insert(name.table.clone(), Child::new(tags));
    database.children.insert(name.table.clone(), parent.clone());
    Ok(())
}

pub(super) fn drop_table(
    world: &mut World,
    session: &Session,
    name: &TableName,
    if_exists: bool,
) -> Result<u64, SqlError> {
    let database = writable(world, session, name)?;
    match database.children.remove(&name.table) {
        Some(parent) => {
            database
                .tables
                .get_mut(&parent)
                .and_then(|table| table.children.remove(&name.table));
        }
        None => {
            if database.tables.remove(&name.table).is_none() && !if_exists {
                return Err(SqlError::new(0x2603, "Table does not exist"));
            }
            database.children.retain(|_, parent| *parent != name.table);
        }
    }
    Ok(0)
}

/// `describe`: a row for each column and tag. Encodings and compressions are the defaults of
/// <https://docs.tdengine.com/tdengine-reference/sql-manual/manage-data-compression/>.
pub(super) fn describe(world: &World, session: &Session, name: &TableName) -> Result<ResultSet, SqlError> {
    let owner = session.database_of(name)?;
    session.may_read(&owner)?;
    let (table, _) = database(world, &owner)?
        .find(&name.table)
        .ok_or_else(SqlError::no_table)?;
    let text = |text: &str| Value::VarChar(text.as_bytes().to_vec());
    let row = |column: &Column, tag: bool| {
        let [encode, compress, level] = match tag {
            true => ["disabled"; 3],
            false => storage(column.data_type),
        };
        vec![
            text(&column.name),
            text(column.data_type.name()),
            Value::Int(column.data_type.length() as i32),
            text(if tag { "TAG" } else { "" }),
            text(encode),
            text(compress),
            text(level),
        ]
    };
    let columns = [
        ("field", DataType::VarChar(64)),
        ("type", DataType::VarChar(20)),
        ("length", DataType::Int),
        ("note", DataType::VarChar(16)),
        ("encode", DataType::VarChar(12)),
        ("compress", DataType::VarChar(12)),
        ("level", DataType::VarChar(12)),
    ];
    let rows = table
        .columns
        .iter()
        .map(|c| row(c, false))
        .chain(table.tags.iter().map(|t| row(t, true)))
        .collect();
    let columns = columns
        .map(|(name, data_type)| ResultColumn {
            name: name.to_owned(),
            data_type,
        })
        .to_vec();
    Ok(ResultSet::new(columns, Precision::default(), rows))
}

/// Encoding, compression and level of a column.
fn storage(data_type: DataType) -> [&'static str; 3] {
    match data_type {
        DataType::Bool => ["bit-packing", "zstd", "medium"],
        DataType::TinyInt | DataType::UTinyInt | DataType::SmallInt | DataType::USmallInt => {
            ["simple8b", "zlib", "medium"]
        }
        DataType::Int | DataType::UInt => ["simple8b", "lz4", "medium"],
        DataType::BigInt | DataType::UBigInt | DataType::Timestamp => ["delta-i", "lz4", "medium"],
        DataType::Float | DataType::Double => ["delta-d", "lz4", "medium"],
        _ => ["disabled", "zstd", "medium"],
    }
}
