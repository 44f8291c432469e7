//! Gathers a column of text: every different text is kept once.

use std::collections::HashMap;

use crate::TextValues;

/// Collects texts row by row, and notices when most of them are numbers.
#[derive(Debug, Default)]
pub(crate) struct TextBuilder {
    known: HashMap<String, u32>,
    values: TextValues,
    /// Of each different text, whether it is a number.
    numeric: Vec<bool>,
    numbers: usize,
    others: usize,
    first_other: Option<usize>,
}

impl TextBuilder {
    /// A builder that starts with some rows without a text.
    pub fn after_missing(rows: usize) -> Self {
        let mut builder = Self::default();
        builder.values.codes.resize(rows, TextValues::MISSING);
        builder
    }

    /// Adds a row.
    pub fn push(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            self.values.codes.push(TextValues::MISSING);
            return;
        };
        let last = self.values.codes.last().copied();
        let code = match last.filter(|&code| self.values.texts.get(code as usize).is_some_and(|last| last == text)) {
            Some(code) => code,
            None => self.code(text),
        };
        self.push_code(code);
    }

    /// The code of a text, for [`TextBuilder::push_code`]. It has to be used: a text without a row would be in the column.
    pub fn code(&mut self, text: &str) -> u32 {
        if let Some(&code) = self.known.get(text) {
            return code;
        }
        let code = self.values.texts.len() as u32;
        self.known.insert(text.to_owned(), code);
        self.values.texts.push(text.to_owned());
        self.numeric.push(text.parse::<f64>().is_ok());
        code
    }

    /// Adds a row of a text whose code is known.
    pub fn push_code(&mut self, code: u32) {
        if self.numeric[code as usize] {
            self.numbers += 1;
        } else {
            self.others += 1;
            self.first_other.get_or_insert(self.values.codes.len());
        }
        self.values.codes.push(code);
    }

    /// The column.
    pub fn finish(mut self) -> TextValues {
        self.values.stray = self.first_other.filter(|_| self.numbers > self.others);
        self.values
    }
}
