//! What the server holds: users, databases, and answers that a real server gave.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{
    engine::{self, Answer, Session},
    error::SqlError,
    generated::Generated,
    result_set::{RecordedBlock, ResultSet, Source},
    table::{Child, Column, Database, Rows, Table},
    time::Precision,
    value::{DataType, Value},
};

/// Who may log in, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// Whether everything is allowed, as for `root`.
    pub super_user: bool,
    /// The databases that may be read.
    pub reads: Vec<String>,
    /// The databases that may be written.
    pub writes: Vec<String>,
}

impl User {
    /// `root` with the password `taosdata`, as a new server has it.
    pub fn root() -> Self {
        Self {
            name: "root".to_owned(),
            password: "taosdata".to_owned(),
            super_user: true,
            reads: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Someone who may only read one database.
    pub fn reader(name: &str, password: &str, database: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: password.to_owned(),
            super_user: false,
            reads: vec![database.to_owned()],
            writes: Vec::new(),
        }
    }
}

/// What a real server answered to one statement.
#[derive(Debug, Clone)]
pub(crate) enum Recorded {
    Rows(ResultSet),
    Refusal(SqlError),
}

/// Everything the server holds. Tables are made with the methods here, or with [`execute`](World::execute).
#[derive(Debug, Clone)]
pub struct World {
    /// Who may log in.
    pub users: Vec<User>,
    /// The most rows of a block; a real server sends 3072.
    pub block_rows: u64,
    /// What the server calls its version.
    pub version: String,
    pub(crate) databases: BTreeMap<String, Database>,
    pub(crate) recorded: HashMap<String, Recorded>,
}

impl World {
    /// No databases; `root` logs in with `taosdata`.
    pub fn empty() -> Self {
        Self {
            users: vec![User::root()],
            block_rows: 3072,
            version: "3.3.3.0.alpha".to_owned(),
            databases: BTreeMap::new(),
            recorded: HashMap::new(),
        }
    }

    /// The table `plant.generated` with rows made by a formula.
    pub fn generated(table: Generated) -> Self {
        let mut world = Self::empty();
        world
            .create_database("plant", Precision::Milliseconds)
            .create_generated_table("plant.generated", table);
        world
    }

    /// Runs a statement as `root` and gives its rows (none for a statement that changes something).
    ///
    /// # Errors
    ///
    /// As a client would see them.
    pub fn execute(&mut self, sql: &str) -> Result<Vec<Vec<Value>>, SqlError> {
        let mut session = Session {
            user: User::root(),
            database: None,
        };
        match engine::execute(self, &mut session, sql)? {
            Answer::Update { .. } => Ok(Vec::new()),
            Answer::Rows(result) => Ok(match &result.source {
                Source::Rows(rows) => rows.clone(),
                Source::Generated(table, columns, rows) => {
                    let whole = rows.clone().map(|row| table.row(row).collect::<Vec<_>>());
                    whole
                        .map(|row| columns.iter().map(|&column| row[column].clone()).collect())
                        .collect()
                }
                Source::Recorded(blocks) => {
                    let decode = |b: &RecordedBlock| crate::decode::decode_block(&b.bytes, &result.columns);
                    blocks.iter().filter_map(decode).flatten().collect()
                }
            }),
        }
    }

    /// Makes a database, or empties the one of that name.
    pub fn create_database(&mut self, name: &str, precision: Precision) -> &mut Self {
        self.forget(name);
        self.databases.insert(
            name.to_owned(),
            Database {
                precision,
                ..Database::default()
            },
        );
        self
    }

    /// Makes a super table `database.table`. The first column is the timestamp.
    ///
    /// # Panics
    ///
    /// When there is no such database.
    pub fn create_super_table(
        &mut self,
        name: &str,
        columns: &[(&str, DataType)],
        tags: &[(&str, DataType)],
    ) -> &mut Self {
        let table = Table {
            columns: named(columns),
            tags: named(tags),
            children: BTreeMap::new(),
        };
        let (database, name) = self.database(name);
        database.tables.insert(name, table);
        self
    }

    /// Makes a plain table `database.table`. The first column is the timestamp.
    ///
    /// # Panics
    ///
    /// When there is no such database.
    pub fn create_table(&mut self, name: &str, columns: &[(&str, DataType)]) -> &mut Self {
        let (database, name) = self.database(name);
        let children = BTreeMap::from([(name.clone(), Child::new(Vec::new()))]);
        database.tables.insert(
            name,
            Table {
                columns: named(columns),
                tags: Vec::new(),
                children,
            },
        );
        self
    }

    /// Makes a child `database.table` of a super table of the same database, with its tags in order.
    ///
    /// # Panics
    ///
    /// When there is no such super table, or a tag does not fit its type.
    pub fn create_child_table<V: Into<Value>>(
        &mut self,
        name: &str,
        super_table: &str,
        tags: impl IntoIterator<Item = V>,
    ) -> &mut Self {
        let (database, name) = self.database(name);
        let table = database
            .tables
            .get_mut(super_table)
            .expect("the super table is made before its children");
        let tags: Vec<_> = tags.into_iter().map(Into::into).collect();
        let tags = cast_row(&table.tags, &tags).unwrap_or_else(|| panic!("{tags:?} are not tags of {super_table}"));
        table.children.insert(name.clone(), Child::new(tags));
        database.children.insert(name, super_table.to_owned());
        self
    }

    /// Adds rows to a plain or a child table: the timestamp first, then all columns. A number is taken for a timestamp
    /// as it is. A row of the same timestamp is replaced.
    ///
    /// # Panics
    ///
    /// When there is no such table, or a value does not fit its column.
    pub fn insert(&mut self, name: &str, rows: impl IntoIterator<Item = Vec<Value>>) -> &mut Self {
        let (database, name) = self.database(name);
        let (columns, child) = database.rows_mut(&name).expect("the table is made before its rows");
        let Rows::Stored(stored) = &mut child.rows else {
            panic!("{name} is generated")
        };
        for row in rows {
            let mut row = cast_row(columns, &row).unwrap_or_else(|| panic!("{row:?} is not a row of {name}"));
            let Value::Timestamp(timestamp) = row.remove(0) else {
                panic!("a row of {name} has no timestamp")
            };
            stored.insert(timestamp, row);
        }
        self
    }

    /// Makes a plain table `database.table` whose rows are a formula.
    ///
    /// # Panics
    ///
    /// When there is no such database.
    pub fn create_generated_table(&mut self, name: &str, table: Generated) -> &mut Self {
        let doubles: Vec<_> = (0..table.columns).map(|column| format!("c{column}")).collect();
        let mut columns = vec![("ts", DataType::Timestamp)];
        columns.extend(doubles.iter().map(|name| (name.as_str(), DataType::Double)));
        self.create_table(name, &columns);
        let (database, name) = self.database(name);
        if let Some((_, child)) = database.rows_mut(&name) {
            child.rows = Rows::Generated(Arc::new(table));
        }
        self
    }

    /// From now on the engine answers, also where a real server's answer is known.
    pub fn forget_recorded_answers(&mut self) {
        self.recorded.clear();
    }

    /// Drops the recorded answers about a database that is about to change.
    pub(crate) fn forget(&mut self, database: &str) {
        let name = format!(" {database}.");
        self.recorded.retain(|sql, _| !sql.contains(&name));
    }

    /// The database of `database.table`, about to change, and the table's name.
    fn database(&mut self, name: &str) -> (&mut Database, String) {
        let (database, table) = name.split_once('.').expect("a table is called database.table");
        self.forget(database);
        let database = self
            .databases
            .get_mut(database)
            .expect("the database is made before its tables");
        (database, table.to_owned())
    }
}

fn named(columns: &[(&str, DataType)]) -> Vec<Column> {
    columns
        .iter()
        .map(|&(name, data_type)| Column {
            name: name.to_owned(),
            data_type,
        })
        .collect()
}

/// Values in the types of their columns.
pub(crate) fn cast_row(columns: &[Column], values: &[Value]) -> Option<Vec<Value>> {
    (columns.len() == values.len()).then_some(())?;
    columns
        .iter()
        .zip(values)
        .map(|(column, value)| value.cast(column.data_type))
        .collect()
}
