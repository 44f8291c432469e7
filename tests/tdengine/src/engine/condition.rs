//! `where`: a conjunction of tests, and the range of time that follows from them.

use std::cmp::Ordering;

use crate::{
    engine::relation::Relation,
    error::SqlError,
    sql::{Comparison, Condition, Test},
    value::{DataType, Value},
};

/// The tests of a `where`, on the columns of a relation.
pub(super) struct Filter {
    tests: Vec<(usize, Test)>,
    /// The timestamps that can pass, first and last.
    pub range: (i64, i64),
}

impl Filter {
    pub fn new(relation: &Relation, conditions: &[Condition]) -> Result<Self, SqlError> {
        let mut filter = Self {
            tests: Vec::new(),
            range: (i64::MIN, i64::MAX),
        };
        for condition in conditions {
            let index = relation.index(&condition.column)?;
            let column = &relation.columns[index];
            let mut test = condition.test.clone();
            if column.data_type == DataType::Timestamp {
                let read = |value: &mut Value| {
                    if let Value::NChar(text) = value {
                        let wrong = || SqlError::new(0x2635, format!("Incorrect TIMESTAMP value: '{text}'"));
                        *value = Value::Timestamp(relation.precision.parse(text).ok_or_else(wrong)?);
                    }
                    Ok(())
                };
                match &mut test {
                    Test::Compare(_, value) => read(value)?,
                    Test::In { values, .. } => values.iter_mut().try_for_each(read)?,
                    Test::Between(low, high) => [low, high].into_iter().try_for_each(read)?,
                    Test::IsNull { .. } => {}
                }
            }
            if !(index == 0 && relation.timed && filter.narrow(&test)) {
                filter.tests.push((index, test));
            }
        }
        Ok(filter)
    }

    /// Whether the range of time says it all.
    pub fn is_range(&self) -> bool {
        self.tests.is_empty()
    }

    /// Whether no test looks at a column below `index` or at the time.
    pub fn only_from(&self, index: usize) -> bool {
        self.range == (i64::MIN, i64::MAX) && self.tests.iter().all(|(column, _)| *column >= index)
    }

    pub fn passes(&self, row: &[Value]) -> bool {
        self.tests.iter().all(|(index, test)| passes(&row[*index], test))
    }

    /// Narrows the range of time, where the test does no more than that.
    fn narrow(&mut self, test: &Test) -> bool {
        let whole = |value: &Value| value.as_integer().and_then(|v| i64::try_from(v).ok());
        let (low, high) = match test {
            Test::Compare(comparison, value) => match (comparison, whole(value)) {
                (Comparison::Equal, Some(v)) => (v, v),
                (Comparison::Less, Some(v)) if v > i64::MIN => (i64::MIN, v - 1),
                (Comparison::LessOrEqual, Some(v)) => (i64::MIN, v),
                (Comparison::Greater, Some(v)) if v < i64::MAX => (v + 1, i64::MAX),
                (Comparison::GreaterOrEqual, Some(v)) => (v, i64::MAX),
                _ => return false,
            },
            Test::Between(low, high) => match (whole(low), whole(high)) {
                (Some(low), Some(high)) => (low, high),
                _ => return false,
            },
            Test::In { .. } | Test::IsNull { .. } => return false,
        };
        self.range = (self.range.0.max(low), self.range.1.min(high));
        true
    }
}

fn passes(value: &Value, test: &Test) -> bool {
    match test {
        Test::IsNull { negated } => value.is_null() != *negated,
        _ if value.is_null() => false,
        Test::In { values, negated } => values.iter().any(|v| compare(value, v) == Some(Ordering::Equal)) != *negated,
        Test::Between(low, high) => {
            compare(value, low).is_some_and(Ordering::is_ge) && compare(value, high).is_some_and(Ordering::is_le)
        }
        Test::Compare(comparison, literal) => compare(value, literal).is_some_and(|order| match comparison {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }),
    }
}

/// Numbers by value, texts by their bytes, a text against a number as a number; `None` where there is no order.
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left.as_bytes(), right.as_bytes()) {
        (Some(left), Some(right)) => return Some(left.cmp(right)),
        (Some(_), None) => return left.cast(DataType::Double)?.as_float()?.partial_cmp(&right.as_float()?),
        (None, Some(_)) => return left.as_float()?.partial_cmp(&right.cast(DataType::Double)?.as_float()?),
        (None, None) => {}
    }
    match (left.as_integer(), right.as_integer()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_float()?.partial_cmp(&right.as_float()?),
    }
}

/// The order of `order by`: NULL first.
pub(super) fn order(left: &Value, right: &Value) -> Ordering {
    match (left.is_null(), right.is_null()) {
        (false, false) => compare(left, right).unwrap_or(Ordering::Equal),
        (left, right) => right.cmp(&left),
    }
}
