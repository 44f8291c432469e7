//! The part of TDengine's SQL that this server understands: words, then statements.

mod parser;
mod select;
mod syntax;
mod tokens;
mod write;

pub(crate) use parser::parse;
pub(crate) use syntax::*;
