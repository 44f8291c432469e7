//! `insert into`: rows of one or several tables, which may be made on the way.

use crate::{
    engine::{Session, definition::create_child},
    error::SqlError,
    sql::Insert,
    table::{Column, Rows},
    time::Precision,
    value::{DataType, Value},
    world::World,
};

/// Adds the rows of every table, or refuses at the first that does not fit; the count of rows.
///
/// A row of a timestamp that is there overwrites it: with NULL too where the statement says NULL; a column that the
/// statement leaves out keeps its value.
pub(super) fn insert(world: &mut World, session: &Session, inserts: &[Insert]) -> Result<u64, SqlError> {
    let mut count = 0;
    for insert in inserts {
        let owner = session.database_of(&insert.into)?;
        session.may_write(&owner)?;
        if let Some(using) = &insert.using {
            create_child(world, session, &insert.into, true, using)?;
        }
        world.forget(&owner);
        let database = world
            .databases
            .get_mut(&owner)
            .ok_or_else(SqlError::no_database_of_table)?;
        let precision = database.precision;
        let (columns, child) = database.rows_mut(&insert.into.table).ok_or_else(SqlError::no_table)?;
        let Rows::Stored(stored) = &mut child.rows else {
            return Err(SqlError::denied());
        };
        let named = named_columns(columns, insert)?;
        for row in &insert.rows {
            let (timestamp, values) = one_row(columns, &named, row, precision)?;
            let old = stored
                .entry(timestamp)
                .or_insert_with(|| vec![Value::Null; columns.len() - 1]);
            for (index, value) in values {
                old[index - 1] = value;
            }
            count += 1;
        }
    }
    Ok(count)
}

/// Where the values of a row belong.
fn named_columns(columns: &[Column], insert: &Insert) -> Result<Vec<usize>, SqlError> {
    let Some(names) = &insert.columns else {
        return Ok((0..columns.len()).collect());
    };
    let named = names
        .iter()
        .map(|name| {
            columns
                .iter()
                .position(|c| c.name == *name)
                .ok_or_else(|| SqlError::column(name))
        })
        .collect::<Result<Vec<_>, _>>()?;
    match named.contains(&0) {
        true => Ok(named),
        false => Err(SqlError::new(0x2600, "Primary timestamp column should not be null")),
    }
}

/// The timestamp, and the other values with the columns they are of.
fn one_row(
    columns: &[Column],
    named: &[usize],
    row: &[Value],
    precision: Precision,
) -> Result<(i64, Vec<(usize, Value)>), SqlError> {
    if row.len() != named.len() {
        return Err(SqlError::new(0x263F, "Illegal number of columns"));
    }
    let mut timestamp = None;
    let mut values = Vec::with_capacity(row.len());
    for (&index, value) in named.iter().zip(row) {
        match (index, fit(value, &columns[index], precision)?) {
            (0, Value::Timestamp(value)) => timestamp = Some(value),
            (0, _) => {}
            (index, value) => values.push((index, value)),
        }
    }
    let timestamp = timestamp.ok_or_else(|| SqlError::new(0x2600, "Primary timestamp column should not be null"))?;
    Ok((timestamp, values))
}

/// A literal in the type of a column.
pub(super) fn fit(value: &Value, column: &Column, precision: Precision) -> Result<Value, SqlError> {
    let refused = || SqlError::new(0x2600, format!("Invalid value for column {}", column.name));
    match (value, column.data_type) {
        (Value::NChar(text), DataType::Timestamp) => precision
            .parse(text)
            .map(Value::Timestamp)
            .ok_or_else(|| SqlError::new(0x2600, "invalid timestamp")),
        // '\x98f46e' is written in hexadecimal
        (Value::NChar(text), DataType::VarBinary(_) | DataType::Geometry(_)) if text.starts_with("\\x") => {
            let digits = &text.as_bytes()[2..];
            let (pairs, rest) = digits.as_chunks::<2>();
            let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let bytes = pairs
                .iter()
                .map(byte)
                .collect::<Option<Vec<u8>>>()
                .filter(|_| rest.is_empty());
            let bytes = bytes.ok_or_else(refused)?;
            Value::VarBinary(bytes)
                .cast(column.data_type)
                .ok_or_else(|| too_long(column))
        }
        (Value::NChar(_), data_type) if data_type.width().is_none() => {
            value.cast(data_type).ok_or_else(|| too_long(column))
        }
        _ => value.cast(column.data_type).ok_or_else(refused),
    }
}

fn too_long(column: &Column) -> SqlError {
    SqlError::new(0x2653, format!("Value too long for column/tag: {}", column.name))
}
