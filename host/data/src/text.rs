//! Gathers a column of text: every different text is kept once.

use std::collections::HashMap;

use crate::TextValues;

/// Collects texts row by row, and notices when most of them are numbers.
#[derive(Debug, Default)]
pub(crate) struct TextBuilder {
    known: HashMap<String, u32>,
    values: TextValues,
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
        if text.parse::<f64>().is_ok() {
            self.numbers += 1;
        } else {
            self.others += 1;
            self.first_other.get_or_insert(self.values.codes.len());
        }
        let code = match self.known.get(text) {
            Some(&code) => code,
            None => {
                let code = self.values.texts.len() as u32;
                self.known.insert(text.to_owned(), code);
                self.values.texts.push(text.to_owned());
                code
            }
        };
        self.values.codes.push(code);
    }

    /// The column.
    pub fn finish(mut self) -> TextValues {
        self.values.stray = self.first_other.filter(|_| self.numbers > self.others);
        self.values
    }
}
