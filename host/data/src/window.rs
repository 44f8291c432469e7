//! Which rows a sample starts at. Windows are never stored: a batch copies their rows from the matrix.

use std::ops::Range;

use crate::Window;

/// The first rows of a split's samples, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Starts {
    /// `count` samples that start at `first`, `first + 1`, and so on.
    Run { first: usize, count: usize },
    /// Samples with gaps between them.
    List(Vec<usize>),
}

impl Starts {
    pub const NONE: Self = Self::Run { first: 0, count: 0 };

    pub fn len(&self) -> usize {
        match self {
            Self::Run { count, .. } => *count,
            Self::List(starts) => starts.len(),
        }
    }

    /// The first row of a sample, which must exist.
    pub fn get(&self, sample: usize) -> usize {
        match self {
            Self::Run { first, .. } => first + sample,
            Self::List(starts) => starts[sample],
        }
    }

    /// Keeps the samples whose `rows` rows are all whole.
    pub fn whole(self, rows: usize, gaps: &Gaps) -> Self {
        let whole: Vec<usize> = (0..self.len())
            .map(|sample| self.get(sample))
            .filter(|&start| gaps.none_in(start..start + rows))
            .collect();
        if whole.len() == self.len() {
            self
        } else {
            Self::List(whole)
        }
    }
}

/// The windows whose look ahead lies in `part`. They may look back before it only if `look_back_before` says so: training
/// windows must not (there is nothing there), validation and test windows do.
pub(crate) fn windows(part: &Range<usize>, window: Window, look_back_before: bool) -> Starts {
    let first = if look_back_before {
        part.start.saturating_sub(window.lookback as usize)
    } else {
        part.start
    };
    let count = (part.end + 1).saturating_sub(first + window.rows());
    if count == 0 || part.is_empty() {
        Starts::NONE
    } else {
        Starts::Run { first, count }
    }
}

/// How many rows before each row have something missing.
pub(crate) struct Gaps(Vec<usize>);

impl Gaps {
    /// From which rows have something missing; `None` if none has.
    pub fn new(missing: &[bool]) -> Option<Self> {
        let mut before = Vec::with_capacity(missing.len() + 1);
        let mut count = 0;
        before.push(0);
        before.extend(missing.iter().map(|&missing| {
            count += usize::from(missing);
            count
        }));
        (count > 0).then_some(Self(before))
    }

    /// Whether all of these rows are whole.
    pub fn none_in(&self, rows: Range<usize>) -> bool {
        self.0[rows.start] == self.0[rows.end]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn starts(starts: &Starts) -> Vec<usize> {
        (0..starts.len()).map(|sample| starts.get(sample)).collect()
    }

    #[test]
    fn the_papers_split_gives_the_papers_numbers_of_windows() {
        let window = Window {
            lookback: 336,
            horizon: 96,
        };
        assert_eq!(
            windows(&(0..8640), window, false),
            Starts::Run { first: 0, count: 8209 }
        );
        assert_eq!(
            windows(&(8640..11520), window, true),
            Starts::Run {
                first: 8304,
                count: 2785
            }
        );
        assert_eq!(
            windows(&(11520..14400), window, true),
            Starts::Run {
                first: 11184,
                count: 2785
            }
        );
    }

    #[test]
    fn a_part_shorter_than_a_window_has_none() {
        let window = Window {
            lookback: 3,
            horizon: 2,
        };
        assert_eq!(windows(&(0..4), window, false).len(), 0);
        assert_eq!(windows(&(0..5), window, false).len(), 1);
        assert_eq!(windows(&(10..11), window, true).len(), 0);
        assert_eq!(windows(&(10..10), window, true).len(), 0);
    }

    proptest! {
        #[test]
        fn windows_are_those_that_a_plain_search_finds(
            start in 0usize..30, length in 0usize..30, lookback in 1u32..8, horizon in 1u32..8, before: bool,
            gaps in prop::collection::vec(prop::bool::weighted(0.1), 60),
        ) {
            let part = start..start + length;
            let window = Window { lookback, horizon };
            let (lookback, horizon) = (lookback as usize, horizon as usize);
            let expected: Vec<usize> = (0..60)
                .filter(|&row| {
                    let (ahead, end) = (row + lookback, row + lookback + horizon);
                    let inside = ahead >= part.start && end <= part.end && (before || row >= part.start);
                    inside && !gaps[row..end].contains(&true)
                })
                .collect();
            let mut found = windows(&part, window, before);
            if let Some(gaps) = Gaps::new(&gaps) {
                found = found.whole(window.rows(), &gaps);
            }
            prop_assert_eq!(starts(&found), expected);
        }
    }
}
