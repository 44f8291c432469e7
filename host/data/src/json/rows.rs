//! Walks through the array, row by row: hands every value to the [`Gatherer`] as it comes, and keeps none.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Gatherer;
use crate::{DataError, csv::is_missing};

/// One value.
pub(super) enum Cell<'a> {
    Missing,
    Number(f64),
    /// Kept apart, for times counted in nanoseconds do not fit a float.
    Integer(i64),
    Text(Cow<'a, str>),
    /// A list or an object.
    Nested,
}

/// The whole array.
pub(super) struct Rows<'g, 'a>(pub &'g mut Gatherer<'a>);

struct Row<'g, 'a>(&'g mut Gatherer<'a>);
struct Name<'g, 'a>(&'g mut Gatherer<'a>);

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(Row(self.0))?.is_some() {
            if let Err(problem) = self.0.end_row() {
                return Err(self.0.fail(problem));
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Row<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, row: D) -> Result<(), D::Error> {
        row.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object from column to value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut row: A) -> Result<(), A::Error> {
        while let Some(position) = row.next_key_seed(Name(self.0))? {
            let cell = row.next_value_seed(Value)?;
            if let Err(problem) = self.0.add(position, cell) {
                return Err(self.0.fail(problem));
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Name<'_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<usize, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }

    fn visit_str<E>(self, name: &str) -> Result<usize, E> {
        Ok(self.0.position(name))
    }
}

struct Value;

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Cell<'de>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Cell<'de>, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text, a boolean or null")
    }

    fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::Missing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell<'de>, E> {
        Ok(Cell::Integer(i64::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell<'de>, E> {
        Ok(Cell::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Cell<'de>, E> {
        Ok(i64::try_from(value).map_or(Cell::Number(value as f64), Cell::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Cell<'de>, E> {
        Ok(Cell::Number(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell<'de>, E> {
        let text = text.trim();
        Ok(match is_missing(text) {
            true => Cell::Missing,
            false => Cell::Text(text.to_owned().into()),
        })
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cell<'de>, E> {
        let text = text.trim();
        Ok(match is_missing(text) {
            true => Cell::Missing,
            false => Cell::Text(text.into()),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cell<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::Nested)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Cell<'de>, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Nested)
    }
}

impl Gatherer<'_> {
    /// Ends the reading: the error behind the one that is given back is the one that counts.
    fn fail<E: serde::de::Error>(&mut self, problem: DataError) -> E {
        self.problem = Some(problem);
        E::custom("the data cannot be used")
    }
}
