//! What a table has, as its server describes it.

use arrow_array::{Array, cast::AsArray};

use super::{
    block::ColumnType,
    connection::Connection,
    error::TdengineError,
    moment::TimePrecision,
    name::Name,
    statement::{describe, peek},
};
use crate::error::{listed, quoted};

/// A table or super table.
#[derive(Debug, Clone)]
pub(crate) struct TableSchema {
    /// `database.table`.
    pub name: String,
    /// The first column: the rows' times.
    pub time: Name,
    pub precision: TimePrecision,
    /// All columns but the time.
    pub columns: Vec<ColumnSchema>,
    /// Columns whose names cannot be used.
    pub unusable: Vec<String>,
}

/// A column or a tag.
#[derive(Debug, Clone)]
pub(crate) struct ColumnSchema {
    pub name: Name,
    pub r#type: ColumnType,
    /// The type's name, as the server writes it.
    pub word: String,
    pub is_tag: bool,
}

impl TableSchema {
    /// Asks the server.
    pub async fn read(connection: &Connection, database: &Name, table: &Name) -> Result<Self, TdengineError> {
        let name = format!("{database}.{table}");
        let fields = connection
            .query("describing the table", &describe(database, table))
            .await
            .map_err(|error| error.about(&name))?
            .all()
            .await?;
        let [fields, words, _, notes] = fields.get(..4).unwrap_or_default() else {
            return Err(TdengineError::request(format!(
                "{name} is described in a way that is not known"
            )));
        };
        let (Some(fields), Some(words), Some(notes)) = (
            fields.as_string_opt::<i32>(),
            words.as_string_opt::<i32>(),
            notes.as_string_opt::<i32>(),
        ) else {
            return Err(TdengineError::request(format!(
                "{name} is described in a way that is not known"
            )));
        };
        let mut unusable = Vec::new();
        let mut columns = Vec::new();
        for row in 0..fields.len() {
            let word = words.value(row);
            match Name::new(fields.value(row)) {
                Ok(name) => columns.push(ColumnSchema {
                    name,
                    r#type: ColumnType::of_word(word),
                    word: word.to_owned(),
                    is_tag: notes.value(row).eq_ignore_ascii_case("TAG"),
                }),
                Err(_) => unusable.push(fields.value(row).to_owned()),
            }
        }
        if columns
            .first()
            .is_none_or(|first| first.r#type != ColumnType::Timestamp)
        {
            return Err(TdengineError::request(format!(
                "{name} does not begin with a column of times whose name can be used"
            )));
        }
        let time = columns.remove(0).name;
        let other = connection.another().await?;
        let precision = other
            .query("reading the table's precision", &peek(&time, database, table))
            .await?
            .precision;
        other.give_back().await;
        Ok(Self {
            name,
            time,
            precision,
            columns,
            unusable,
        })
    }

    /// A column or a tag.
    pub fn find(&self, name: &str) -> Option<&ColumnSchema> {
        self.columns.iter().find(|column| column.name.as_str() == name)
    }

    /// A column or a tag, or an error that lists those there are.
    pub fn get(&self, name: &str) -> Result<&ColumnSchema, TdengineError> {
        self.find(name).ok_or_else(|| {
            let close = self
                .columns
                .iter()
                .find(|column| column.name.as_str().eq_ignore_ascii_case(name));
            let hint = match close {
                Some(column) => format!("; large and small letters differ: did you mean {}?", column.name),
                None => String::new(),
            };
            let of = |tags: bool| -> Vec<String> {
                let of = self.columns.iter().filter(|column| column.is_tag == tags);
                of.map(|column| column.name.to_string()).collect()
            };
            let tags = match of(true) {
                tags if tags.is_empty() => String::new(),
                tags => format!(" and the tags {}", listed(&tags)),
            };
            TdengineError::missing(format!(
                "{} has no column {}; it has {}, {}{tags}{hint}",
                self.name,
                quoted(name),
                self.time,
                listed(&of(false)),
            ))
        })
    }

    /// The columns of these names; all of numbers when none are named. The time is always read, and not among them.
    pub fn choose(&self, names: Option<&[String]>) -> Result<Vec<&ColumnSchema>, TdengineError> {
        let Some(names) = names else {
            let numbers = self
                .columns
                .iter()
                .filter(|column| !column.is_tag && column.r#type.is_number());
            let numbers: Vec<_> = numbers.collect();
            return match numbers.is_empty() {
                true => Err(TdengineError::missing(format!(
                    "{} has no column of numbers",
                    self.name
                ))),
                false => Ok(numbers),
            };
        };
        let mut chosen: Vec<&ColumnSchema> = Vec::new();
        for name in names.iter().filter(|name| *name != self.time.as_str()) {
            let column = self.get(name)?;
            if column.r#type == ColumnType::Other {
                return Err(TdengineError::request(format!(
                    "{}: column {} is a {}, which cannot be read; leave it out",
                    self.name, column.name, column.word
                )));
            }
            if !chosen.iter().any(|other| other.name == column.name) {
                chosen.push(column);
            }
        }
        if chosen.is_empty() {
            return Err(TdengineError::request(format!(
                "{}: name a column besides {}",
                self.name, self.time
            )));
        }
        Ok(chosen)
    }

    pub fn has_tags(&self) -> bool {
        self.columns.iter().any(|column| column.is_tag)
    }
}
