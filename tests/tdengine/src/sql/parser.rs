//! Reads a statement word by word. What is not understood is a syntax error near it, as in the server.

use super::{
    syntax::{Statement, TableName},
    tokens::{Token, tokens},
};
use crate::{error::SqlError, value::Value};

/// Words that cannot be a name without backticks.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "as",
    "asc",
    "between",
    "bigint",
    "binary",
    "bool",
    "by",
    "column",
    "comment",
    "cache",
    "create",
    "database",
    "delete",
    "desc",
    "describe",
    "distinct",
    "double",
    "drop",
    "end",
    "exists",
    "fill",
    "float",
    "from",
    "geometry",
    "group",
    "having",
    "if",
    "in",
    "index",
    "insert",
    "int",
    "integer",
    "interval",
    "into",
    "is",
    "join",
    "json",
    "keep",
    "like",
    "limit",
    "match",
    "nchar",
    "next",
    "not",
    "null",
    "offset",
    "on",
    "or",
    "order",
    "partition",
    "precision",
    "prev",
    "range",
    "select",
    "session",
    "show",
    "slimit",
    "smallint",
    "stable",
    "start",
    "state",
    "table",
    "tables",
    "tag",
    "tags",
    "timestamp",
    "tinyint",
    "to",
    "topic",
    "union",
    "unsigned",
    "use",
    "user",
    "using",
    "value",
    "values",
    "varbinary",
    "varchar",
    "view",
    "where",
];

/// The statement a text is.
pub(crate) fn parse(sql: &str) -> Result<Statement, SqlError> {
    let mut parser = Parser {
        sql,
        tokens: tokens(sql)?,
        at: 0,
    };
    let statement = parser.statement()?;
    parser.symbol(";");
    match parser.peek() {
        Token::End => Ok(statement),
        _ => parser.refuse(),
    }
}

/// Where in a statement the reading stands.
pub(super) struct Parser<'a> {
    pub sql: &'a str,
    tokens: Vec<(Token, usize, usize)>,
    at: usize,
}

impl Parser<'_> {
    fn statement(&mut self) -> Result<Statement, SqlError> {
        if self.word("select") {
            self.select_statement()
        } else if self.word("describe") || self.word("desc") {
            Ok(Statement::Describe(self.table_name()?))
        } else if self.word("use") {
            Ok(Statement::Use(self.name()?))
        } else if self.word("insert") {
            self.insert()
        } else if self.word("create") {
            self.create()
        } else if self.word("drop") {
            self.drop_statement()
        } else {
            self.refuse()
        }
    }

    pub fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    /// The token after the next one.
    pub fn peek_second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    pub fn advance(&mut self) {
        self.at = (self.at + 1).min(self.tokens.len() - 1);
    }

    /// A syntax error near the next token.
    pub fn refuse<T>(&self) -> Result<T, SqlError> {
        Err(SqlError::syntax(&self.sql[self.tokens[self.at].1..]))
    }

    /// The byte the next token starts at.
    pub fn start(&self) -> usize {
        self.tokens[self.at].1
    }

    /// The byte after the last token that was read.
    pub fn end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].2
    }

    /// Reads a keyword if it is the next token.
    pub fn word(&mut self, keyword: &str) -> bool {
        let here = matches!(self.peek(), Token::Word { name, quoted: false } if name == keyword);
        if here {
            self.advance();
        }
        here
    }

    pub fn expect_word(&mut self, keyword: &str) -> Result<(), SqlError> {
        if self.word(keyword) { Ok(()) } else { self.refuse() }
    }

    /// Reads a sign if it is the next token.
    pub fn symbol(&mut self, symbol: &str) -> bool {
        let here = matches!(self.peek(), Token::Symbol(s) if *s == symbol);
        if here {
            self.advance();
        }
        here
    }

    pub fn expect_symbol(&mut self, symbol: &str) -> Result<(), SqlError> {
        if self.symbol(symbol) { Ok(()) } else { self.refuse() }
    }

    /// A name: any word in backticks, or one that is not reserved.
    pub fn name(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Token::Word { name, quoted } if *quoted || !RESERVED.contains(&name.as_str()) => {
                let name = name.clone();
                self.advance();
                Ok(name)
            }
            _ => self.refuse(),
        }
    }

    pub fn table_name(&mut self) -> Result<TableName, SqlError> {
        let first = self.name()?;
        Ok(match self.symbol(".") {
            true => TableName {
                database: Some(first),
                table: self.name()?,
            },
            false => TableName {
                database: None,
                table: first,
            },
        })
    }

    pub fn whole_number(&mut self) -> Result<u64, SqlError> {
        match *self.peek() {
            Token::Integer(number) if number <= u64::MAX.into() => {
                self.advance();
                Ok(number as u64)
            }
            _ => self.refuse(),
        }
    }

    /// `(x, x, ...)`
    pub fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, SqlError>) -> Result<Vec<T>, SqlError> {
        self.expect_symbol("(")?;
        let mut out = vec![one(self)?];
        while self.symbol(",") {
            out.push(one(self)?);
        }
        self.expect_symbol(")")?;
        Ok(out)
    }

    /// A number, a text, `true`, `false` or `null`.
    pub fn literal(&mut self) -> Result<Value, SqlError> {
        let negative = self.symbol("-");
        if !negative {
            self.symbol("+");
        }
        let sign = if negative { -1 } else { 1 };
        let value = match self.peek().clone() {
            Token::Integer(number) => match (i64::try_from(sign * number), u64::try_from(sign * number)) {
                (Ok(number), _) => Value::BigInt(number),
                (_, Ok(number)) => Value::UBigInt(number),
                _ => Value::Double((sign * number) as f64),
            },
            Token::Float(number) => Value::Double(f64::from(sign as i8) * number),
            _ if negative => return self.refuse(),
            Token::Text(text) => Value::NChar(text),
            Token::Word { name, quoted: false } => match name.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                _ => return self.refuse(),
            },
            _ => return self.refuse(),
        };
        self.advance();
        Ok(value)
    }
}
