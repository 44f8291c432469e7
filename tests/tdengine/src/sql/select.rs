//! `select`: items, conditions, partitions, windows, order and limits.

use super::{parser::Parser, syntax::*, tokens::Token};
use crate::{error::SqlError, value::Value};

impl Parser<'_> {
    /// After the word `select`.
    pub fn select_statement(&mut self) -> Result<Statement, SqlError> {
        if let Some(constant) = self.constant()? {
            return Ok(constant);
        }
        let distinct = self.word("distinct");
        let mut items = vec![self.item()?];
        while self.symbol(",") {
            items.push(self.item()?);
        }
        self.expect_word("from")?;
        if self.symbol("(") {
            let [
                Item {
                    expression: Expression::Aggregate(Function::Count, None),
                    name,
                },
            ] = &items[..]
            else {
                return self.refuse();
            };
            self.expect_word("select")?;
            let inner = self.select_statement()?;
            self.expect_symbol(")")?;
            return Ok(Statement::CountOf(Box::new(inner), name.clone()));
        }
        let from = self.table_name()?;
        let mut select = Select {
            distinct,
            items,
            from,
            conditions: Vec::new(),
            partition: Vec::new(),
            interval: None,
            order: Vec::new(),
            limit: None,
            offset: 0,
        };
        self.clauses(&mut select)?;
        Ok(Statement::Select(select))
    }

    fn clauses(&mut self, select: &mut Select) -> Result<(), SqlError> {
        if self.word("where") {
            select.conditions.push(self.condition()?);
            while self.word("and") {
                select.conditions.push(self.condition()?);
            }
        }
        if self.word("partition") {
            self.expect_word("by")?;
            select.partition.push(self.name()?);
            while self.symbol(",") {
                select.partition.push(self.name()?);
            }
        }
        if self.word("interval") {
            select.interval = Some(self.interval()?);
        }
        if self.word("order") {
            self.expect_word("by")?;
            loop {
                let name = self.order_name()?;
                let descending = self.word("desc");
                if !descending {
                    self.word("asc");
                }
                select.order.push((name, descending));
                if !self.symbol(",") {
                    break;
                }
            }
        }
        if self.word("limit") {
            select.limit = Some(self.whole_number()?);
            if self.word("offset") {
                select.offset = self.whole_number()?;
            } else if self.symbol(",") {
                select.offset = select.limit.replace(self.whole_number()?).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// `server_version()` or `server_status()`
    fn constant(&mut self) -> Result<Option<Statement>, SqlError> {
        let start = self.start();
        let constant = match self.peek() {
            Token::Word { name, quoted: false } if name == "server_version" => Constant::ServerVersion,
            Token::Word { name, quoted: false } if name == "server_status" => Constant::ServerStatus,
            _ => return Ok(None),
        };
        self.advance();
        self.expect_symbol("(")?;
        self.expect_symbol(")")?;
        let name = self.alias(start)?;
        Ok(Some(Statement::Constant(constant, name)))
    }

    fn item(&mut self) -> Result<Item, SqlError> {
        let start = self.start();
        if self.symbol("*") {
            return Ok(Item {
                expression: Expression::All,
                name: String::new(),
            });
        }
        let function = match (self.peek(), self.peek_second()) {
            (Token::Word { name, quoted: false }, Token::Symbol("(")) => Some(function(name)),
            _ => None,
        };
        let (expression, default) = match function {
            Some(Some(function)) => {
                self.advance();
                self.advance();
                let column = if function == Function::Count && self.symbol("*") {
                    None
                } else {
                    Some(self.name()?)
                };
                self.expect_symbol(")")?;
                (Expression::Aggregate(function, column), None)
            }
            Some(None) => return self.refuse(),
            None => {
                let name = self.name()?;
                let expression = match name.as_str() {
                    "_wstart" => Expression::WindowStart,
                    "_wend" => Expression::WindowEnd,
                    _ => Expression::Column(name.clone()),
                };
                (expression, Some(name))
            }
        };
        let alias = self.alias(start)?;
        // a bare column is called without its backticks
        let unnamed = alias == self.sql[start..self.end()];
        Ok(Item {
            expression,
            name: default.filter(|_| unnamed).unwrap_or(alias),
        })
    }

    /// `[as] name`, or else the text since `start`.
    fn alias(&mut self, start: usize) -> Result<String, SqlError> {
        let written = self.sql[start..self.end()].to_owned();
        if self.word("as") {
            return self.name();
        }
        match self.name() {
            Ok(name) => Ok(name),
            Err(_) => Ok(written),
        }
    }

    /// A name, or a function as it was selected.
    fn order_name(&mut self) -> Result<String, SqlError> {
        let start = self.start();
        if let (Token::Word { name, .. }, Token::Symbol("(")) = (self.peek(), self.peek_second()) {
            if function(name).is_none() {
                return self.refuse();
            }
            self.advance();
            self.advance();
            if !self.symbol("*") {
                self.name()?;
            }
            self.expect_symbol(")")?;
            return Ok(self.sql[start..self.end()].to_owned());
        }
        self.name()
    }

    fn condition(&mut self) -> Result<Condition, SqlError> {
        let column = self.name()?;
        if self.word("is") {
            let negated = self.word("not");
            self.expect_word("null")?;
            return Ok(Condition {
                column,
                test: Test::IsNull { negated },
            });
        }
        if self.word("between") {
            let low = self.literal()?;
            self.expect_word("and")?;
            return Ok(Condition {
                column,
                test: Test::Between(low, self.literal()?),
            });
        }
        let negated = self.word("not");
        if self.word("in") {
            let values = self.list(Self::literal)?;
            return Ok(Condition {
                column,
                test: Test::In { values, negated },
            });
        }
        let comparison = match self.peek() {
            Token::Symbol("=") => Comparison::Equal,
            Token::Symbol("!=" | "<>") => Comparison::NotEqual,
            Token::Symbol("<") => Comparison::Less,
            Token::Symbol("<=") => Comparison::LessOrEqual,
            Token::Symbol(">") => Comparison::Greater,
            Token::Symbol(">=") => Comparison::GreaterOrEqual,
            _ => return self.refuse(),
        };
        if negated {
            return self.refuse();
        }
        self.advance();
        Ok(Condition {
            column,
            test: Test::Compare(comparison, self.literal()?),
        })
    }

    fn interval(&mut self) -> Result<Interval, SqlError> {
        self.expect_symbol("(")?;
        let (count, unit) = match self.peek().clone() {
            Token::Duration(count, unit) => (count, Some(unit)),
            Token::Integer(count) => (i64::try_from(count).unwrap_or_default(), None),
            Token::Text(text) => match text.char_indices().last() {
                Some((at, unit)) => (text[..at].parse().unwrap_or_default(), Some(unit)),
                None => return self.refuse(),
            },
            _ => return self.refuse(),
        };
        if count <= 0 {
            return self.refuse();
        }
        self.advance();
        self.expect_symbol(")")?;
        let fill = if self.word("fill") { self.fill()? } else { Fill::None };
        Ok(Interval { count, unit, fill })
    }

    fn fill(&mut self) -> Result<Fill, SqlError> {
        self.expect_symbol("(")?;
        let Token::Word { name, quoted: false } = self.peek().clone() else {
            return self.refuse();
        };
        let fill = match name.as_str() {
            "none" => Fill::None,
            "null" => Fill::Null { forced: false },
            "null_f" => Fill::Null { forced: true },
            "prev" => Fill::Previous,
            "next" => Fill::Next,
            "linear" => Fill::Linear,
            "value" | "value_f" => Fill::Value {
                values: Vec::new(),
                forced: name == "value_f",
            },
            _ => return self.refuse(),
        };
        self.advance();
        let fill = match fill {
            Fill::Value { forced, .. } => {
                let mut values: Vec<Value> = Vec::new();
                while self.symbol(",") {
                    values.push(self.literal()?);
                }
                Fill::Value { values, forced }
            }
            other => other,
        };
        self.expect_symbol(")")?;
        Ok(fill)
    }
}

fn function(name: &str) -> Option<Function> {
    Some(match name {
        "count" => Function::Count,
        "first" => Function::First,
        "last" => Function::Last,
        "min" => Function::Min,
        "max" => Function::Max,
        "sum" => Function::Sum,
        "avg" => Function::Avg,
        "spread" => Function::Spread,
        "stddev" => Function::Stddev,
        _ => return None,
    })
}
