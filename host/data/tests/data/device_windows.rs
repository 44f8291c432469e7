//! Windows of several devices against a plain search, and one device against none.

use std::ops::Range;

use proptest::prelude::*;
use trainyard_data::{
    BatchOptions, Column, DType, Dataset, Frame, Missing, PrepareSpec, Scaling, Split, SplitName, Task, TextValues,
    TimeColumn, TimeFormat, Values, Warning, Window,
};

const SPLITS: [SplitName; 3] = [SplitName::Train, SplitName::Validation, SplitName::Test];

fn numbers(name: &str, values: Vec<f64>) -> Column {
    Column {
        name: name.into(),
        values: Values::Numeric(values),
    }
}

fn devices(codes: &[u32]) -> Column {
    let texts = (0..10).map(|device| format!("device {device}")).collect();
    Column {
        name: "device".into(),
        values: Values::Text(TextValues {
            texts,
            codes: codes.to_vec(),
            stray: None,
        }),
    }
}

/// A frame whose rows are a minute apart.
fn frame(rows: usize, columns: Vec<Column>) -> Frame {
    let time = TimeColumn {
        name: "ts".into(),
        micros: (0..rows as i64).map(|row| row * 60_000_000).collect(),
        format: TimeFormat::Epoch { per_second: 1 },
        guessed: false,
    };
    Frame::new("random", columns, Some(time)).unwrap()
}

/// Positions of the parts among so many rows of one device.
fn parts(split: Split, rows: usize) -> [Range<usize>; 3] {
    let ends = match split {
        Split::Rows([train, validation, test]) => [train, train + validation, train + validation + test],
        Split::Fractions([train, validation, test]) => {
            [train, train + validation, train + validation + test].map(|share| (share * rows as f64).round() as usize)
        }
    };
    let ends = ends.map(|end| end.min(rows));
    [0..ends[0], ends[0]..ends[1], ends[1]..ends[2]]
}

/// Each device's rows, by the first of them.
fn rows_of_devices(codes: &[u32]) -> Vec<Vec<usize>> {
    let mut found: Vec<(u32, Vec<usize>)> = Vec::new();
    for (row, &code) in codes.iter().enumerate() {
        match found.iter_mut().find(|(known, _)| *known == code) {
            Some((_, rows)) => rows.push(row),
            None => found.push((code, vec![row])),
        }
    }
    found.into_iter().map(|(_, rows)| rows).collect()
}

/// The windows of a part as rows of the source, by trying every place in every device.
fn plain_search(codes: &[u32], split: Split, part: usize, window: Window) -> Vec<Vec<usize>> {
    let (lookback, length) = (window.lookback as usize, window.rows());
    let mut windows = Vec::new();
    for rows in rows_of_devices(codes) {
        let part_rows = &parts(split, rows.len())[part];
        for start in 0..rows.len() {
            let (ahead, end) = (start + lookback, start + length);
            let inside = ahead >= part_rows.start && end <= part_rows.end;
            if inside && (part > 0 || start >= part_rows.start) {
                windows.push(rows[start..end].to_vec());
            }
        }
    }
    windows
}

/// The windows of a data set whose only feature and target is the row of the source.
fn windows(data: &Dataset, split: SplitName) -> Vec<Vec<usize>> {
    let size = data.len(split);
    let options = BatchOptions {
        batch_size: 7,
        shuffle: None,
        drop_last: false,
        dtype: DType::F64,
    };
    let mut windows = Vec::new();
    for batch in data.batches(split, options).unwrap() {
        let (x, y) = (batch.x.to_f64(), batch.y.unwrap().to_f64());
        let (x, y) = (x.chunks(batch.x_shape[1]), y.chunks(batch.y_shape[1]));
        windows.extend(
            x.zip(y)
                .map(|(x, y)| x.iter().chain(y).map(|&row| row as usize).collect()),
        );
    }
    assert_eq!(windows.len(), size);
    windows
}

fn split() -> impl Strategy<Value = Split> {
    prop_oneof![
        Just("0.6/0.2/0.2".parse().unwrap()),
        Just("0.5/0/0.25".parse().unwrap()),
        (1usize..20, 0usize..8, 0usize..8).prop_map(|(train, validation, test)| Split::Rows([train, validation, test])),
    ]
}

/// All of a data set's numbers as bits, and what was learned of its columns.
fn everything(data: &Dataset) -> impl PartialEq + std::fmt::Debug {
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let of = |split: SplitName| {
        let samples: Vec<usize> = (0..data.len(split)).rev().collect();
        let batch = data.gather(split, &samples, DType::F64).unwrap();
        let targets: Vec<Vec<usize>> = samples
            .iter()
            .map(|&sample| data.target_rows(split, sample).unwrap())
            .collect();
        (
            bits(batch.x.to_f64()),
            batch.y.map(|y| bits(y.to_f64())),
            bits(data.features(split).values),
            data.classes(split).map(<[u32]>::to_vec),
            (data.rows(split), targets),
        )
    };
    let state = data.preprocessing();
    let learned = (
        state.features.clone(),
        state.targets.clone(),
        state.classes.clone(),
        state.step,
    );
    (SPLITS.map(of), learned, data.warnings().to_vec(), data.summary().splits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn windows_are_those_that_a_plain_search_in_each_device_finds(
        codes in prop::collection::vec(0u32..4, 1..90), same in 0u32..4, alone in 0usize..60,
        split in split(), lookback in 1u32..6, horizon in 1u32..5,
        gaps in prop::option::of(prop::collection::vec(prop::bool::weighted(0.03), 150)),
    ) {
        // Turns at random, then a long piece of one device.
        let codes = [codes, vec![same; alone]].concat();
        let rows = codes.len();
        let window = Window { lookback, horizon };
        let mut spec = PrepareSpec::new(Task::Forecasting);
        (spec.window, spec.split, spec.device) = (Some(window), split, Some("device".into()));
        (spec.scaling, spec.missing) = (Scaling::None, Missing::Drop);
        spec.target = vec!["row".into()];
        let is_gap = |row: usize| gaps.as_ref().is_some_and(|gaps| gaps[row]);
        // Every place in a window counts, whatever column a value is missing in.
        let other = (0..rows).map(|row| if is_gap(row) { f64::NAN } else { 0.5 }).collect();
        let mut columns = vec![numbers("row", (0..rows).map(|row| row as f64).collect()), devices(&codes)];
        spec.features = Some(vec!["row".into()]);
        if gaps.is_some() {
            columns.push(numbers("other", other));
            spec.target.push("other".into());
        }
        let prepared = Dataset::prepare(frame(rows, columns), &spec);

        let longest = rows_of_devices(&codes).iter().map(Vec::len).max().unwrap();
        let asked = match split {
            Split::Rows(parts) => parts.iter().sum(),
            Split::Fractions(_) => 0,
        };
        let all: Vec<Vec<Vec<usize>>> = (0..3).map(|part| plain_search(&codes, split, part, window)).collect();
        let part_rows = |part: usize| -> Vec<usize> {
            let rows = rows_of_devices(&codes);
            rows.iter().map(|rows| parts(split, rows.len())[part].len()).collect()
        };
        let without = (0..3).any(|part| all[part].is_empty() && (part == 0 || part_rows(part).iter().any(|rows| *rows > 0)));
        if asked > longest || without {
            let code = if asked > longest { "data.split-too-large" } else { "data.too-few-rows" };
            prop_assert_eq!(prepared.unwrap_err().code(), code);
            return Ok(());
        }
        let whole: Vec<Vec<Vec<usize>>> = all
            .iter()
            .map(|windows| windows.iter().filter(|rows| !rows.iter().any(|&row| is_gap(row))).cloned().collect())
            .collect();
        let data = match prepared {
            Ok(data) => data,
            Err(error) => {
                let none_left = (0..3).any(|part| whole[part].is_empty() && !all[part].is_empty());
                prop_assert!(none_left && ["data.no-whole-window", "data.all-missing"].contains(&error.code()), "{}", error);
                return Ok(());
            }
        };
        for (part, split) in SPLITS.into_iter().enumerate() {
            let found: Vec<Vec<usize>> = if gaps.is_some() {
                let first = |sample| data.gather(split, &[sample], DType::F64).unwrap().x.to_f64()[0] as usize;
                (0..data.len(split)).map(|sample| vec![first(sample)]).collect()
            } else {
                windows(&data, split)
            };
            let expected: Vec<Vec<usize>> = match gaps.is_some() {
                true => whole[part].iter().map(|rows| vec![rows[0]]).collect(),
                false => whole[part].clone(),
            };
            prop_assert_eq!(&found, &expected);
            // The rows of the devices that have a window.
            let rows: usize = rows_of_devices(&codes)
                .iter()
                .filter(|rows| all[part].iter().any(|window| rows.contains(&window[0])))
                .map(|rows| parts(spec.split, rows.len())[part].len())
                .sum();
            prop_assert_eq!(data.rows(split), rows);
        }
        let short: usize = data
            .warnings()
            .iter()
            .map(|warning| match warning {
                Warning::ShortDevices { devices, more } => devices.len() + more,
                _ => 0,
            })
            .sum();
        let expected: usize = (0..3)
            .filter(|&part| !all[part].is_empty())
            .map(|part| {
                let has = |rows: &&Vec<usize>| !all[part].iter().any(|window| rows.contains(&window[0]));
                rows_of_devices(&codes).iter().filter(has).count()
            })
            .sum();
        prop_assert_eq!(short, expected);
    }

    #[test]
    fn a_single_device_is_the_same_to_the_bit_as_a_series_without_a_device_column(
        values in prop::collection::vec(prop::option::weighted(0.9, -1e3f64..1e3), 60..120),
        task in prop::sample::select(Task::ALL), missing in prop::sample::select(Missing::ALL),
        scaling in prop::sample::select(Scaling::ALL), split in split(),
    ) {
        let rows = values.len() / 3;
        let column = |c: usize| (0..rows).map(|row| values[row * 3 + c].unwrap_or(f64::NAN)).collect::<Vec<f64>>();
        let target = match task {
            Task::Classification => column(2).into_iter().map(|value| (value / 500.0).round()).collect(),
            _ => column(2),
        };
        let columns = vec![numbers("a", column(0)), numbers("b", column(1)), numbers("y", target)];
        let mut spec = PrepareSpec::new(task);
        (spec.missing, spec.scaling, spec.split) = (missing, scaling, split);
        match task {
            Task::Forecasting => spec.window = Some(Window { lookback: 3, horizon: 2 }),
            _ => spec.target = vec!["y".into()],
        }
        let without = Dataset::prepare(frame(rows, columns.clone()), &spec);
        spec.device = Some("device".into());
        let with = Dataset::prepare(frame(rows, [columns, vec![devices(&vec![3; rows])]].concat()), &spec);
        match (without, with) {
            (Ok(without), Ok(with)) => prop_assert_eq!(everything(&without), everything(&with)),
            (without, with) => prop_assert_eq!(without.err(), with.err()),
        }
    }
}
