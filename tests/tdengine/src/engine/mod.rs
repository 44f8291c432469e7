//! Carries out statements on the tables of a [`World`].

mod aggregate;
mod condition;
mod definition;
mod fill;
mod insert;
mod project;
mod relation;
mod select;
mod windows;

use crate::{
    block::ResultColumn,
    error::SqlError,
    result_set::ResultSet,
    sql::{self, Constant, Statement, TableName},
    table::Database,
    time::Precision,
    value::{DataType, Value},
    world::{Recorded, User, World},
};

/// The longest statement, in bytes.
const SQL_LIMIT: usize = 1_048_576;

/// Who asks, and the database that a name without one is of.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub user: User,
    pub database: Option<String>,
}

impl Session {
    /// The database of a name.
    pub fn database_of(&self, name: &TableName) -> Result<String, SqlError> {
        name.database
            .clone()
            .or_else(|| self.database.clone())
            .ok_or_else(|| SqlError::new(0x2616, "Database not specified"))
    }

    fn may_read(&self, database: &str) -> Result<(), SqlError> {
        let user = &self.user;
        let allowed = user.super_user || user.reads.iter().chain(&user.writes).any(|name| name == database);
        if allowed || database == "information_schema" {
            Ok(())
        } else {
            Err(SqlError::denied())
        }
    }

    fn may_write(&self, database: &str) -> Result<(), SqlError> {
        let allowed = self.user.super_user || self.user.writes.iter().any(|name| name == database);
        if allowed { Ok(()) } else { Err(SqlError::denied()) }
    }
}

/// What a statement leads to.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Rows(ResultSet),
    Update { affected_rows: u64 },
}

/// Carries out one statement.
pub(crate) fn execute(world: &mut World, session: &mut Session, text: &str) -> Result<Answer, SqlError> {
    if text.len() > SQL_LIMIT {
        return Err(SqlError::too_long());
    }
    match world.recorded.get(text) {
        Some(Recorded::Rows(result)) => return Ok(Answer::Rows(result.clone())),
        Some(Recorded::Refusal(error)) => return Err(error.clone()),
        None => {}
    }
    let affected_rows = match sql::parse(text)? {
        Statement::Use(name) => {
            world.databases.get(&name).ok_or_else(SqlError::no_database)?;
            session.database = Some(name);
            0
        }
        Statement::CreateDatabase {
            name,
            if_not_exists,
            precision,
        } => definition::create_database(world, session, name, if_not_exists, precision)?,
        Statement::DropDatabase { name, if_exists } => definition::drop_database(world, session, &name, if_exists)?,
        Statement::CreateTable {
            name,
            if_not_exists,
            columns,
            tags,
        } => definition::create_table(world, session, &name, if_not_exists, columns, tags)?,
        Statement::CreateChildren(children) => {
            for child in children {
                definition::create_child(world, session, &child.name, child.if_not_exists, &child.using)?;
            }
            0
        }
        Statement::DropTable { name, if_exists } => definition::drop_table(world, session, &name, if_exists)?,
        Statement::Insert(inserts) => insert::insert(world, session, &inserts)?,
        query => return query_rows(world, session, &query).map(Answer::Rows),
    };
    Ok(Answer::Update { affected_rows })
}

fn query_rows(world: &World, session: &Session, query: &Statement) -> Result<ResultSet, SqlError> {
    match query {
        Statement::Select(select) => select::select(world, session, select),
        Statement::CountOf(inner, name) => {
            let count = query_rows(world, session, inner)?.rows();
            Ok(one_value(name, DataType::BigInt, Value::BigInt(count as i64)))
        }
        Statement::Constant(Constant::ServerVersion, name) => {
            let version = world.version.as_bytes().to_vec();
            Ok(one_value(
                name,
                DataType::VarChar(version.len() as u32),
                Value::VarChar(version),
            ))
        }
        Statement::Constant(Constant::ServerStatus, name) => Ok(one_value(name, DataType::Int, Value::Int(1))),
        Statement::Describe(name) => definition::describe(world, session, name),
        _ => Err(SqlError::syntax("select")),
    }
}

fn one_value(name: &str, data_type: DataType, value: Value) -> ResultSet {
    let column = ResultColumn {
        name: name.to_owned(),
        data_type,
    };
    ResultSet::new(vec![column], Precision::default(), vec![vec![value]])
}

/// A database that a table is looked for in.
fn database<'a>(world: &'a World, name: &str) -> Result<&'a Database, SqlError> {
    world.databases.get(name).ok_or_else(SqlError::no_database_of_table)
}
