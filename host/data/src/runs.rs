//! Row numbers as runs of neighbours: the rows of a part, or the rows that its windows start at.
//!
//! A series is one run and each further device one more, however many rows they have. Windows are never stored: a batch
//! copies their rows from the matrix.

use std::ops::Range;

/// Numbers in order, of which each run's follow each other without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Runs {
    /// None of them is empty.
    runs: Vec<Run>,
    len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    numbers: Range<usize>,
    /// How many numbers come in the runs before.
    before: usize,
}

impl Runs {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds numbers at the end; nothing where the range ends before it starts.
    pub fn push(&mut self, numbers: Range<usize>) {
        if numbers.is_empty() {
            return;
        }
        let before = self.len;
        self.len += numbers.len();
        match self.runs.last_mut() {
            Some(last) if last.numbers.end == numbers.start => last.numbers.end = numbers.end,
            _ => self.runs.push(Run { numbers, before }),
        }
    }

    /// The number at a position, which must exist.
    pub fn get(&self, position: usize) -> usize {
        let run = match &self.runs[..] {
            [only] => only,
            runs => &runs[runs.partition_point(|run| run.before <= position) - 1],
        };
        run.numbers.start + (position - run.before)
    }

    /// The runs, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<usize>> + Clone + '_ {
        self.runs.iter().map(|run| run.numbers.clone())
    }

    /// What stands at these numbers, in order.
    pub fn values<'a, T: Copy>(&'a self, all: &'a [T]) -> impl Iterator<Item = T> + Clone + 'a {
        self.iter().flat_map(move |run| all[run].iter().copied())
    }

    /// Of the rows that windows of `rows` rows start at, those whose windows hold no missing row.
    pub fn whole(&self, rows: usize, missing: &[bool]) -> Self {
        let mut whole = Self::default();
        for run in self.iter() {
            let mut from = run.start;
            for row in (run.start..run.end + rows - 1).filter(|&row| missing[row]) {
                whole.push(from..(row + 1).saturating_sub(rows));
                // It is in the windows that start at it, and up to `rows - 1` before it.
                from = row + 1;
            }
            whole.push(from..run.end);
        }
        whole
    }
}

impl From<Range<usize>> for Runs {
    fn from(numbers: Range<usize>) -> Self {
        let mut runs = Self::default();
        runs.push(numbers);
        runs
    }
}

impl FromIterator<Range<usize>> for Runs {
    fn from_iter<I: IntoIterator<Item = Range<usize>>>(ranges: I) -> Self {
        let mut runs = Self::default();
        ranges.into_iter().for_each(|range| runs.push(range));
        runs
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(runs: &Runs) -> Vec<usize> {
        (0..runs.len()).map(|position| runs.get(position)).collect()
    }

    #[test]
    fn neighbouring_ranges_become_one_run_and_empty_ones_none() {
        let runs: Runs = [0..3, 3..5, 5..5, 7..9].into_iter().collect();
        assert_eq!(runs.iter().collect::<Vec<_>>(), [0..5, 7..9]);
        assert_eq!(numbers(&runs), [0, 1, 2, 3, 4, 7, 8]);
        assert!(Runs::from(4..4).is_empty());
    }

    proptest! {
        #[test]
        fn numbers_are_those_of_the_ranges_one_after_the_other(
            ranges in prop::collection::vec((0usize..5, 0usize..6), 0..12),
        ) {
            let mut end = 0;
            let ranges: Vec<Range<usize>> = ranges
                .into_iter()
                .map(|(gap, length)| {
                    let start = end + gap;
                    end = start + length;
                    start..end
                })
                .collect();
            let runs: Runs = ranges.iter().cloned().collect();
            let expected: Vec<usize> = ranges.into_iter().flatten().collect();
            prop_assert_eq!(&numbers(&runs), &expected);
            let all: Vec<usize> = (0..end).collect();
            prop_assert_eq!(runs.values(&all).collect::<Vec<_>>(), expected);
        }
    }
}
