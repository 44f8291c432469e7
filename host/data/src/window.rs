//! Which rows the windows of a part start at.

use std::ops::Range;

use crate::Window;

/// The first rows of the windows whose look ahead lies in `part`. They look back no further than `earliest`: for training
/// that is the part's own first row, for validation and test the first row of the series.
pub(crate) fn windows(part: &Range<usize>, window: Window, earliest: usize) -> Range<usize> {
    let first = part.start.saturating_sub(window.lookback as usize).max(earliest);
    let count = match part.is_empty() {
        true => 0,
        false => (part.end + 1).saturating_sub(first + window.rows()),
    };
    first..first + count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::runs::Runs;

    #[test]
    fn the_papers_split_gives_the_papers_numbers_of_windows() {
        let window = Window {
            lookback: 336,
            horizon: 96,
        };
        assert_eq!(windows(&(0..8640), window, 0), 0..8209);
        assert_eq!(windows(&(8640..11520), window, 0), 8304..8304 + 2785);
        assert_eq!(windows(&(11520..14400), window, 0), 11184..11184 + 2785);
    }

    #[test]
    fn a_part_shorter_than_a_window_has_none() {
        let window = Window {
            lookback: 3,
            horizon: 2,
        };
        assert_eq!(windows(&(0..4), window, 0).len(), 0);
        assert_eq!(windows(&(0..5), window, 0).len(), 1);
        assert_eq!(windows(&(10..11), window, 0).len(), 0);
        assert_eq!(windows(&(10..10), window, 0).len(), 0);
        assert_eq!(windows(&(10..12), window, 8).len(), 0);
    }

    proptest! {
        #[test]
        fn windows_are_those_that_a_plain_search_finds(
            start in 0usize..30, length in 0usize..30, lookback in 1u32..8, horizon in 1u32..8, back in 0usize..12,
            gaps in prop::collection::vec(prop::bool::weighted(0.1), 60),
        ) {
            let part = start..start + length;
            let earliest = start.saturating_sub(back);
            let window = Window { lookback, horizon };
            let (lookback, horizon) = (lookback as usize, horizon as usize);
            let expected: Vec<usize> = (earliest..60)
                .filter(|&row| {
                    let (ahead, end) = (row + lookback, row + lookback + horizon);
                    ahead >= part.start && end <= part.end && !gaps[row..end].contains(&true)
                })
                .collect();
            let found = Runs::from(windows(&part, window, earliest)).whole(window.rows(), &gaps);
            prop_assert_eq!(found.iter().flatten().collect::<Vec<_>>(), expected);
        }
    }
}
