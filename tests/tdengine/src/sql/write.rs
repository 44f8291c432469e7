//! Statements that change something: `create`, `drop` and `insert`.

use super::{parser::Parser, syntax::*, tokens::Token};
use crate::{error::SqlError, table::Column, time::Precision, value::DataType};

/// Options of `create database` that are accepted and not heeded, each with one value.
const DATABASE_OPTIONS: &[&str] = &[
    "buffer",
    "cachemodel",
    "cachesize",
    "comp",
    "duration",
    "keep",
    "maxrows",
    "minrows",
    "pages",
    "pagesize",
    "replica",
    "single_stable",
    "stt_trigger",
    "table_prefix",
    "table_suffix",
    "tsdb_pagesize",
    "vgroups",
    "wal_fsync_period",
    "wal_level",
    "wal_retention_period",
    "wal_retention_size",
];

impl Parser<'_> {
    /// After the word `create`.
    pub fn create(&mut self) -> Result<Statement, SqlError> {
        if self.word("database") {
            let if_not_exists = self.if_not_exists()?;
            let name = self.name()?;
            let precision = self.database_options()?;
            return Ok(Statement::CreateDatabase {
                name,
                if_not_exists,
                precision,
            });
        }
        let is_super = self.word("stable");
        if !is_super {
            self.expect_word("table")?;
        }
        let if_not_exists = self.if_not_exists()?;
        let name = self.table_name()?;
        if !is_super && self.word("using") {
            let mut children = vec![CreateChild {
                name,
                if_not_exists,
                using: self.using()?,
            }];
            while !matches!(self.peek(), Token::End | Token::Symbol(";")) {
                let if_not_exists = self.if_not_exists()?;
                let name = self.table_name()?;
                self.expect_word("using")?;
                children.push(CreateChild {
                    name,
                    if_not_exists,
                    using: self.using()?,
                });
            }
            return Ok(Statement::CreateChildren(children));
        }
        let columns = self.list(Self::column)?;
        let tags = match is_super {
            true => {
                self.expect_word("tags")?;
                self.list(Self::column)?
            }
            false if self.word("tags") => self.list(Self::column)?,
            false => Vec::new(),
        };
        Ok(Statement::CreateTable {
            name,
            if_not_exists,
            columns,
            tags,
        })
    }

    /// After the word `drop`.
    pub fn drop_statement(&mut self) -> Result<Statement, SqlError> {
        let database = self.word("database");
        if !database && !self.word("stable") {
            self.expect_word("table")?;
        }
        let if_exists = self.word("if");
        if if_exists {
            self.expect_word("exists")?;
        }
        Ok(match database {
            true => Statement::DropDatabase {
                name: self.name()?,
                if_exists,
            },
            false => Statement::DropTable {
                name: self.table_name()?,
                if_exists,
            },
        })
    }

    /// After the word `insert`: one or several tables with their rows.
    pub fn insert(&mut self) -> Result<Statement, SqlError> {
        self.expect_word("into")?;
        let mut inserts = Vec::new();
        loop {
            let into = self.table_name()?;
            let mut columns = self.column_names()?;
            let using = if self.word("using") { Some(self.using()?) } else { None };
            if columns.is_none() {
                columns = self.column_names()?;
            }
            if !self.word("values") {
                self.expect_word("value")?;
            }
            let mut rows = vec![self.list(Self::literal)?];
            loop {
                let comma = self.symbol(",");
                match self.peek() {
                    Token::Symbol("(") => rows.push(self.list(Self::literal)?),
                    _ if comma => return self.refuse(),
                    _ => break,
                }
            }
            inserts.push(Insert {
                into,
                using,
                columns,
                rows,
            });
            if matches!(self.peek(), Token::End | Token::Symbol(";")) {
                return Ok(Statement::Insert(inserts));
            }
        }
    }

    fn column_names(&mut self) -> Result<Option<Vec<String>>, SqlError> {
        match self.peek() {
            Token::Symbol("(") => self.list(Self::name).map(Some),
            _ => Ok(None),
        }
    }

    /// After the word `using`.
    fn using(&mut self) -> Result<Using, SqlError> {
        let super_table = self.table_name()?;
        let names = self.column_names()?;
        self.expect_word("tags")?;
        Ok(Using {
            super_table,
            names,
            values: self.list(Self::literal)?,
        })
    }

    fn if_not_exists(&mut self) -> Result<bool, SqlError> {
        let here = self.word("if");
        if here {
            self.expect_word("not")?;
            self.expect_word("exists")?;
        }
        Ok(here)
    }

    fn database_options(&mut self) -> Result<Precision, SqlError> {
        let mut precision = Precision::default();
        loop {
            if self.word("precision") {
                precision = match self.peek() {
                    Token::Text(text) => match Precision::from_name(text) {
                        Some(precision) => precision,
                        None => return self.refuse(),
                    },
                    _ => return self.refuse(),
                };
                self.advance();
                continue;
            }
            match self.peek() {
                Token::Word { name, quoted: false } if DATABASE_OPTIONS.contains(&name.as_str()) => self.advance(),
                _ => return Ok(precision),
            }
            loop {
                match self.peek() {
                    Token::Integer(_) | Token::Duration(..) | Token::Text(_) => self.advance(),
                    _ => return self.refuse(),
                }
                if !self.symbol(",") {
                    break;
                }
            }
        }
    }

    fn column(&mut self) -> Result<Column, SqlError> {
        let name = self.name()?;
        let Token::Word {
            name: data_type,
            quoted: false,
        } = self.peek().clone()
        else {
            return self.refuse();
        };
        self.advance();
        let data_type = match data_type.as_str() {
            "bool" => DataType::Bool,
            "tinyint" if self.word("unsigned") => DataType::UTinyInt,
            "tinyint" => DataType::TinyInt,
            "smallint" if self.word("unsigned") => DataType::USmallInt,
            "smallint" => DataType::SmallInt,
            "int" | "integer" if self.word("unsigned") => DataType::UInt,
            "int" | "integer" => DataType::Int,
            "bigint" if self.word("unsigned") => DataType::UBigInt,
            "bigint" => DataType::BigInt,
            "float" => DataType::Float,
            "double" => DataType::Double,
            "timestamp" => DataType::Timestamp,
            "json" => DataType::Json,
            "varchar" | "binary" => DataType::VarChar(self.length()?),
            "nchar" => DataType::NChar(self.length()?),
            "varbinary" => DataType::VarBinary(self.length()?),
            "geometry" => DataType::Geometry(self.length()?),
            _ => return self.refuse(),
        };
        Ok(Column { name, data_type })
    }

    fn length(&mut self) -> Result<u32, SqlError> {
        self.expect_symbol("(")?;
        let Ok(length) = u32::try_from(self.whole_number()?) else {
            return self.refuse();
        };
        if !(1..=65_517).contains(&length) {
            return self.refuse();
        }
        self.expect_symbol(")")?;
        Ok(length)
    }
}
