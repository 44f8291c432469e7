//! Classes: from the labels in a column to indices.
//!
//! Indices follow the labels' order (numbers by size, texts by letter), those of the training rows first. So labels that
//! appear later in validation or test rows change no index of a training row.

use std::collections::HashMap;

use crate::{DataError, Frame, TextValues, Values, Warning, error::quoted};

/// Different fractions than this many are measurements, not classes.
const MOST_FRACTIONS: usize = 20;

/// A target column as classes.
#[derive(Debug)]
pub(crate) struct Labels {
    /// A code for every row: rows with the same code have the same label.
    codes: Vec<u32>,
    /// The label of each code.
    names: Vec<String>,
    /// The codes in the labels' order.
    order: Vec<u32>,
}

impl Labels {
    pub fn read(frame: &Frame, column: &str) -> Result<Self, DataError> {
        match &frame.column(column)?.values {
            Values::Text(text) => {
                let mut order: Vec<u32> = (0..text.texts.len() as u32).collect();
                order.sort_by_key(|&code| &text.texts[code as usize]);
                Ok(Self {
                    codes: text.codes.clone(),
                    names: text.texts.clone(),
                    order,
                })
            }
            Values::Numeric(values) => Self::from_numbers(frame, column, values),
        }
    }

    fn from_numbers(frame: &Frame, column: &str, values: &[f64]) -> Result<Self, DataError> {
        let mut known: HashMap<u64, u32> = HashMap::new();
        let mut numbers: Vec<f64> = Vec::new();
        let mut codes = Vec::with_capacity(values.len());
        for (row, &value) in values.iter().enumerate() {
            if value.is_infinite() {
                let (file, place) = (frame.source().to_owned(), frame.place(row));
                return Err(DataError::Infinite {
                    file,
                    place,
                    column: column.to_owned(),
                });
            }
            if value.is_nan() {
                codes.push(TextValues::MISSING);
                continue;
            }
            let value = value + 0.0; // -0 and 0 are one class
            codes.push(*known.entry(value.to_bits()).or_insert_with(|| {
                numbers.push(value);
                numbers.len() as u32 - 1
            }));
        }
        if numbers.len() > MOST_FRACTIONS && numbers.iter().any(|number| number.fract() != 0.0) {
            return Err(DataError::BadRequest {
                problem: format!(
                    "{}: column {} has {} different numbers with fractions, which are no classes",
                    frame.source(),
                    quoted(column),
                    numbers.len()
                ),
                remedy: "choose another target, or a regression",
            });
        }
        let mut order: Vec<u32> = (0..numbers.len() as u32).collect();
        order.sort_by(|&a, &b| numbers[a as usize].total_cmp(&numbers[b as usize]));
        Ok(Self {
            codes,
            names: numbers.iter().map(f64::to_string).collect(),
            order,
        })
    }

    /// Whether a row has no label.
    pub fn is_missing(&self, row: usize) -> bool {
        self.codes[row] == TextValues::MISSING
    }

    /// Class indices of some rows, none of them missing, among a model's classes. A class that the model does not know is
    /// an error.
    pub fn indices_in(&self, classes: &[String], frame: &Frame, rows: &[usize]) -> Result<Vec<u32>, DataError> {
        let known: Vec<Option<u32>> = self
            .names
            .iter()
            .map(|name| classes.iter().position(|class| class == name).map(|index| index as u32))
            .collect();
        let index = |&row: &usize| {
            known[self.codes[row] as usize].ok_or_else(|| DataError::BadRequest {
                problem: format!(
                    "{}: {}: the model does not know the class {}",
                    frame.source(),
                    frame.place(row),
                    quoted(&self.names[self.codes[row] as usize])
                ),
                remedy: "leave such rows out, or train with them",
            })
        };
        rows.iter().map(index).collect()
    }

    /// Class indices of some rows, none of them missing, of which the first `training` are for training; and the labels in
    /// the order of their indices.
    pub fn indices(&self, rows: &[usize], training: usize, warnings: &mut Vec<Warning>) -> (Vec<u32>, Vec<String>) {
        let appears = |rows: &[usize]| {
            let mut appears = vec![false; self.names.len()];
            rows.iter().for_each(|&row| appears[self.codes[row] as usize] = true);
            appears
        };
        let (in_training, anywhere) = (appears(&rows[..training]), appears(rows));
        let pick = |wanted: &dyn Fn(usize) -> bool| {
            self.order
                .iter()
                .map(|&code| code as usize)
                .filter(|&code| wanted(code))
                .collect()
        };
        let seen: Vec<usize> = pick(&|code| in_training[code]);
        let unseen: Vec<usize> = pick(&|code| anywhere[code] && !in_training[code]);
        warnings.extend(unseen.iter().map(|&code| Warning::UnseenClass {
            class: self.names[code].clone(),
        }));
        if let [only] = seen[..] {
            warnings.push(Warning::OneClass {
                class: self.names[only].clone(),
            });
        }
        let classes: Vec<usize> = seen.into_iter().chain(unseen).collect();
        let mut index_of = vec![0; self.names.len()];
        classes
            .iter()
            .enumerate()
            .for_each(|(index, &code)| index_of[code] = index as u32);
        let indices = rows.iter().map(|&row| index_of[self.codes[row] as usize]).collect();
        (
            indices,
            classes.into_iter().map(|code| self.names[code].clone()).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Column;

    fn labels(values: Values) -> Labels {
        Labels::read(
            &Frame::new(
                "a.csv",
                vec![Column {
                    name: "y".into(),
                    values,
                }],
                None,
            )
            .unwrap(),
            "y",
        )
        .unwrap()
    }

    fn text(texts: &[&str]) -> Values {
        let mut builder = crate::text::TextBuilder::default();
        texts
            .iter()
            .for_each(|&text| builder.push((!text.is_empty()).then_some(text)));
        Values::Text(builder.finish())
    }

    #[test]
    fn numbers_are_ordered_by_size_and_texts_by_letter() {
        let (indices, classes) =
            labels(Values::Numeric(vec![10.0, 2.0, -0.0, 0.0])).indices(&[0, 1, 2, 3], 4, &mut Vec::new());
        assert_eq!(
            (indices, classes),
            (vec![2, 1, 0, 0], vec!["0".into(), "2".into(), "10".into()])
        );
        let (indices, classes) = labels(text(&["ok", "", "fail"])).indices(&[0, 2], 2, &mut Vec::new());
        assert_eq!((indices, classes), (vec![1, 0], vec!["fail".into(), "ok".into()]));
    }

    #[test]
    fn a_class_of_the_test_rows_changes_no_training_index() {
        let mut warnings = Vec::new();
        let (indices, classes) = labels(text(&["c", "b", "a"])).indices(&[0, 1, 2], 2, &mut warnings);
        assert_eq!(
            (indices, classes),
            (vec![1, 0, 2], vec!["b".into(), "c".into(), "a".into()])
        );
        assert_eq!(warnings, [Warning::UnseenClass { class: "a".into() }]);
    }

    #[test]
    fn measurements_are_no_classes() {
        let values = Values::Numeric((0..30).map(|i| f64::from(i) + 0.5).collect());
        let frame = Frame::new(
            "a.csv",
            vec![Column {
                name: "y".into(),
                values,
            }],
            None,
        )
        .unwrap();
        let error = Labels::read(&frame, "y").unwrap_err().to_string();
        assert!(
            error.contains("30 different numbers") && error.contains("regression"),
            "{error}"
        );
    }
}
