//! Names of databases, tables, columns and tags: the only texts that are ever part of a statement as they are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest name that TDengine has: a table's.
const LONGEST: usize = 192;

/// A name of letters, digits and underscores that does not begin with a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// Checks a text. The error is one line.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let mut bytes = text.bytes();
        let begins = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if begins && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') && text.len() <= LONGEST {
            Ok(Self(text))
        } else {
            Err(format!(
                "{} is no name that can be used: names are letters, digits and underscores, do not begin with a digit, and have at most {LONGEST} characters",
                crate::error::quoted(&text)
            ))
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As it stands in a statement: in back quotes, because some are reserved words (`value`).
    pub fn sql(&self) -> String {
        format!("`{}`", self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// A text as it stands in a statement: quoted and escaped. A character that could end it early for some reader is refused.
pub(crate) fn text_literal(text: &str) -> Result<String, String> {
    if let Some(found) = text.chars().find(|c| c.is_control()) {
        return Err(format!(
            "{} has a control character ({}): values are plain text",
            crate::error::quoted(text),
            found.escape_unicode()
        ));
    }
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for c in text.chars() {
        if matches!(c, '\\' | '\'') {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal.push('\'');
    Ok(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_and_underscores() {
        for good in ["ts", "_wstart", "Device_1", "value"] {
            assert_eq!(Name::new(good).unwrap().sql(), format!("`{good}`"));
        }
        for bad in [
            "", "1a", "a-b", "a b", "a`b", "a'b", "a;b", "a.b", "größe", "a\0", "a\n", "名",
        ] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
        assert!(Name::new("a".repeat(193)).is_err());
    }

    #[test]
    fn a_text_cannot_end_early() {
        assert_eq!(text_literal("it's").unwrap(), r"'it\'s'");
        assert_eq!(text_literal(r"a\").unwrap(), r"'a\\'");
        assert_eq!(text_literal(r"\' or 1=1").unwrap(), r"'\\\' or 1=1'");
        assert!(text_literal("a\0b").is_err() && text_literal("a\nb").is_err());
    }
}
