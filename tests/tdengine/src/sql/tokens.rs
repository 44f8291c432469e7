//! Words, numbers, texts and signs of a statement.

use crate::error::SqlError;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// A word in lower case, or what stood between backticks.
    Word {
        name: String,
        quoted: bool,
    },
    Text(String),
    Integer(i128),
    Float(f64),
    /// A number with a unit, such as `15m`.
    Duration(i64, char),
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 17] = [
    "!=", "<>", "<=", ">=", "(", ")", ",", ".", "*", "=", "<", ">", "-", "+", ";", "/", "%",
];

/// The tokens of a statement, each with the byte it starts at and the byte after it.
pub(crate) fn tokens(sql: &str) -> Result<Vec<(Token, usize, usize)>, SqlError> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        at += sql[at..].len() - sql[at..].trim_start().len();
        let rest = &sql[at..];
        let Some(first) = rest.chars().next() else {
            out.push((Token::End, at, at));
            return Ok(out);
        };
        let (token, length) = match first {
            '`' => quoted_name(rest),
            '\'' | '"' => text(rest, first),
            '0'..='9' => number(rest),
            '_' | 'a'..='z' | 'A'..='Z' => {
                let length = word_length(rest);
                Some((
                    Token::Word {
                        name: rest[..length].to_ascii_lowercase(),
                        quoted: false,
                    },
                    length,
                ))
            }
            _ => SYMBOLS
                .into_iter()
                .find(|s| rest.starts_with(s))
                .map(|s| (Token::Symbol(s), s.len())),
        }
        .ok_or_else(|| SqlError::syntax(rest))?;
        out.push((token, at, at + length));
        at += length;
    }
}

fn word_length(rest: &str) -> usize {
    rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
        .unwrap_or(rest.len())
}

fn quoted_name(rest: &str) -> Option<(Token, usize)> {
    let end = rest[1..].find('`')?;
    Some((
        Token::Word {
            name: rest[1..1 + end].to_owned(),
            quoted: true,
        },
        end + 2,
    ))
}

/// A text in quotes: a backslash takes the next character as it is (but `\n`, `\r` and `\t`), a doubled quote is one.
/// A backslash before `%`, `_` or `x` stays, as it does in the server, for patterns and bytes.
fn text(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut out = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next()?.1 {
                'n' => out.push('\n'),
                'r' => out.push('\r'),
                't' => out.push('\t'),
                kept @ ('%' | '_' | 'x') => out.extend(['\\', kept]),
                other => out.push(other),
            },
            c if c == quote => match characters.next_if(|(_, next)| *next == quote) {
                Some(_) => out.push(quote),
                None => return Some((Token::Text(out), at + 1)),
            },
            c => out.push(c),
        }
    }
    None
}

fn number(rest: &str) -> Option<(Token, usize)> {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |n| from + n)
    };
    let mut end = digits(0);
    let mut whole = true;
    if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        end = digits(end + 1);
        whole = false;
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
            whole = false;
        }
    }
    match word_length(&rest[end..]) {
        0 if whole => Some((Token::Integer(rest[..end].parse().ok()?), end)),
        0 => Some((Token::Float(rest[..end].parse().ok()?), end)),
        1 if whole => {
            let unit = rest[end..].chars().next()?.to_ascii_lowercase();
            Some((Token::Duration(rest[..end].parse().ok()?, unit), end + 1))
        }
        _ => None,
    }
}
