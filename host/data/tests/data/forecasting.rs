//! Time series: windows of scaled rows, none of which the training rows can see into the future by.

use proptest::prelude::*;
use trainyard_data::{
    Column, DType, Dataset, Frame, Missing, PrepareSpec, Scaling, SplitName, Task, TimeColumn, TimeFormat, Values,
    Warning, Window,
};

use crate::files::{forecast, hourly, shared};

/// Every training batch, as numbers that are equal only if all their bits are.
fn training_bits(data: &Dataset) -> Vec<u64> {
    let samples: Vec<usize> = (0..data.len(SplitName::Train)).collect();
    let batch = data.gather(SplitName::Train, &samples, DType::F64).unwrap();
    batch
        .x
        .to_f64()
        .into_iter()
        .chain(batch.y.unwrap().to_f64())
        .map(f64::to_bits)
        .collect()
}

#[test]
fn the_standard_benchmark_has_the_papers_windows() {
    let Some(path) = shared("ETTh1.csv") else { return };
    let mut spec = forecast(336, 96);
    spec.split = "8640/2880/2880".parse().unwrap();
    let data = Dataset::open(&path, &spec).unwrap();
    let sizes = [SplitName::Train, SplitName::Validation, SplitName::Test].map(|split| data.len(split));
    assert_eq!(sizes, [8209, 2785, 2785]);
    let schema = data.schema();
    assert_eq!(schema.features, ["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]);
    assert_eq!(schema.targets, schema.features);
    let batch = data.gather(SplitName::Test, &[0, 2784], DType::F32).unwrap();
    assert_eq!((batch.x_shape, batch.y_shape), (vec![2, 336, 7], vec![2, 96, 7]));
    // The mean and standard deviation of OT over the first 8640 rows, by numpy.
    let oil = &data.preprocessing().features[6];
    assert!((oil.center - 17.128_261_698_227_1).abs() < 1e-9, "{}", oil.center);
    assert!((oil.scale - 9.176_491_024_944_333).abs() < 1e-9, "{}", oil.scale);
    let summary = data.summary();
    assert_eq!((summary.rows, summary.step.as_deref()), (17_420, Some("1 h")));
    assert_eq!(summary.splits[2].time.as_ref().unwrap().0, "2017-10-24 00:00:00");
    assert_eq!(data.target_rows(SplitName::Test, 0).unwrap()[0], 11_520);
}

#[test]
fn a_real_machine_whose_clock_was_set_back_can_be_used_once_that_is_settled() {
    let Some(path) = shared("machine_temperature_system_failure.csv") else {
        return;
    };
    let mut spec = forecast(12, 3);
    let error = Dataset::open(&path, &spec).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 10151: 2014-01-07 02:00:00 comes after 2014-01-07 02:55:00"),
        "{error}"
    );
    spec.sort = true;
    let error = Dataset::open(&path, &spec).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("line 10139 and line 10151 have the same time 2014-01-07 02:00:00"),
        "{error}"
    );
    spec.duplicates = trainyard_data::Duplicates::Mean;
    let data = Dataset::open(&path, &spec).unwrap();
    assert_eq!(data.summary().step.as_deref(), Some("5 min"));
}

#[test]
fn validation_and_test_windows_look_back_into_the_part_before() {
    let mut spec = forecast(3, 2);
    spec.scaling = Scaling::None;
    let data = Dataset::open(&hourly(40, |_, _| None).path(), &spec).unwrap();
    assert_eq!([data.rows(SplitName::Train), data.rows(SplitName::Validation)], [24, 8]);
    assert_eq!(
        [data.len(SplitName::Train), data.len(SplitName::Validation)],
        [24 - 3 - 2 + 1, 8 - 2 + 1]
    );
    let a = |split, sample| {
        let batch = data.gather(split, &[sample], DType::F64).unwrap();
        let every_other = |buffer: trainyard_data::Buffer| buffer.to_f64().into_iter().step_by(2).collect::<Vec<_>>();
        (every_other(batch.x), every_other(batch.y.unwrap()))
    };
    assert_eq!(a(SplitName::Train, 19), (vec![19.0, 20.0, 21.0], vec![22.0, 23.0]));
    assert_eq!(a(SplitName::Validation, 0), (vec![21.0, 22.0, 23.0], vec![24.0, 25.0]));
    assert_eq!(a(SplitName::Test, 6), (vec![35.0, 36.0, 37.0], vec![38.0, 39.0]));
}

#[test]
fn one_column_can_be_predicted_from_others() {
    let mut spec = forecast(2, 1);
    spec.scaling = Scaling::None;
    spec.features = Some(vec!["b".into()]);
    spec.target = vec!["a".into()];
    let data = Dataset::open(&hourly(40, |_, _| None).path(), &spec).unwrap();
    let batch = data.gather(SplitName::Train, &[5], DType::F64).unwrap();
    assert_eq!(batch.x.to_f64(), [(5.0_f64 * 0.7).sin(), (6.0_f64 * 0.7).sin()]);
    assert_eq!(batch.y.unwrap().to_f64(), [7.0]);
    assert_eq!((batch.x_shape, batch.y_shape), (vec![1, 2, 1], vec![1, 1, 1]));
}

#[test]
fn targets_can_keep_their_units_while_the_same_features_are_scaled() {
    let mut spec = forecast(2, 1);
    spec.scale_target = false;
    let data = Dataset::open(&hourly(40, |_, _| None).path(), &spec).unwrap();
    assert_eq!(
        data.targets(SplitName::Test)
            .values
            .iter()
            .step_by(2)
            .copied()
            .collect::<Vec<_>>(),
        (32..40).map(f64::from).collect::<Vec<_>>()
    );
    assert!(data.features(SplitName::Train).values.iter().sum::<f64>().abs() < 1e-9);
}

#[test]
fn gaps_in_time_are_fine() {
    let skipped =
        |row: usize, name: &str| (name == "date" && row > 30).then(|| format!("2025-03-01 {:02}:00", row - 31));
    let data = Dataset::open(&hourly(40, skipped).path(), &forecast(3, 2)).unwrap();
    assert_eq!(data.summary().step.as_deref(), Some("1 h"));
}

#[test]
fn a_series_needs_no_time_column() {
    let text: String = (0..40).map(|row| format!("{row}\n")).collect();
    let file = crate::files::TestFile::csv(format!("level\n{text}"));
    let data = Dataset::open(&file.path(), &forecast(3, 2)).unwrap();
    assert_eq!(data.len(SplitName::Train), 20);
    assert_eq!(data.target_times(SplitName::Train, 0).unwrap(), None);
}

#[test]
fn windows_with_gaps_are_left_out_and_no_others() {
    let mut spec = forecast(3, 2);
    (spec.missing, spec.scaling) = (Missing::Drop, Scaling::None);
    let file = hourly(40, |row, name| (row == 10 && name == "b").then(String::new));
    let data = Dataset::open(&file.path(), &spec).unwrap();
    let starts: Vec<usize> = (0..data.len(SplitName::Train))
        .map(|s| data.target_rows(SplitName::Train, s).unwrap()[0] - 3)
        .collect();
    assert_eq!(
        starts,
        (0..20)
            .filter(|start| !(start..&(start + 5)).contains(&&10))
            .collect::<Vec<_>>()
    );
    assert_eq!(data.warnings(), [Warning::WindowsDropped { windows: 5 }]);
}

#[test]
fn a_part_without_any_value_is_filled_from_before_with_a_warning() {
    let file = hourly(40, |row, name| (row >= 32 && name == "a").then(String::new));
    let mut spec = forecast(3, 2);
    spec.scaling = Scaling::None;
    let data = Dataset::open(&file.path(), &spec).unwrap();
    assert_eq!(data.column(SplitName::Test, "a").unwrap(), [31.0; 8]);
    assert_eq!(
        data.warnings(),
        [Warning::EmptyPart {
            column: "a".into(),
            part: "test"
        }]
    );
}

#[test]
fn later_rows_never_change_what_is_trained_on() {
    for missing in Missing::ALL
        .iter()
        .copied()
        .filter(|&missing| missing != Missing::Error)
    {
        for scaling in Scaling::ALL.iter().copied() {
            let mut spec = forecast(3, 2);
            (spec.missing, spec.scaling) = (missing, scaling);
            let trained_on = |later: &dyn Fn(usize) -> Option<String>| {
                let edit = |row: usize, name: &str| match (row, name) {
                    (24.., "a" | "b") => later(row),
                    // Gaps inside, at the start and at the very end of the training rows.
                    (0 | 7 | 8 | 23, "b") => Some(String::new()),
                    _ => None,
                };
                training_bits(&Dataset::open(&hourly(40, edit).path(), &spec).unwrap())
            };
            let usual = trained_on(&|_| None);
            assert_eq!(
                usual,
                trained_on(&|row| Some(format!("{}", row as f64 * -1e6))),
                "{missing} {scaling}"
            );
            assert_eq!(
                usual,
                trained_on(&|row| matches!(row, 31 | 39).then(String::new)),
                "{missing} {scaling}"
            );
        }
    }
}

#[test]
fn the_fingerprint_is_of_the_data_and_not_of_the_file() {
    let print = |edit: &dyn Fn(usize, &str) -> Option<String>, spec: &PrepareSpec| {
        Dataset::open(&hourly(40, edit).path(), spec)
            .unwrap()
            .fingerprint()
            .to_owned()
    };
    let spec = forecast(3, 2);
    let usual = print(&|_, _| None, &spec);
    assert_eq!(usual.len(), 64);
    assert_eq!(
        usual,
        print(&|row, name| (row == 3 && name == "a").then(|| "3.000".into()), &spec)
    );
    assert_ne!(
        usual,
        print(&|row, name| (row == 39 && name == "a").then(|| "3".into()), &spec)
    );
    let mut only_b = spec.clone();
    (only_b.features, only_b.target) = (Some(vec!["b".into()]), vec!["b".into()]);
    let of_b = print(&|_, _| None, &only_b);
    assert_ne!(usual, of_b);
    assert_eq!(
        of_b,
        print(&|row, name| (row == 39 && name == "a").then(|| "3".into()), &only_b)
    );
}

/// A series of any numbers, as a frame.
fn frame(values: &[f64], columns: usize) -> Frame {
    let rows = values.len() / columns;
    let column = |c: usize| Column {
        name: format!("c{c}"),
        values: Values::Numeric((0..rows).map(|row| values[row * columns + c]).collect()),
    };
    let micros = (0..rows as i64).map(|row| row * 60_000_000).collect();
    let time = TimeColumn {
        name: "ts".into(),
        micros,
        format: TimeFormat::Epoch { per_second: 1 },
        guessed: false,
    };
    Frame::new("random", (0..columns).map(column).collect(), Some(time)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_batch_holds_the_rows_that_a_plain_copy_would(
        values in prop::collection::vec(-1e3f64..1e3, 120..200),
        columns in 1usize..5, lookback in 1u32..6, horizon in 1u32..4, first_target in 0usize..4,
        samples in prop::collection::vec(0usize..1_000, 1..8),
    ) {
        let mut spec = PrepareSpec::new(Task::Forecasting);
        spec.window = Some(Window { lookback, horizon });
        let targets: Vec<usize> = [first_target % columns, 0, columns - 1].into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().rev().collect();
        spec.target = targets.iter().map(|c| format!("c{c}")).collect();
        let data = Dataset::prepare(frame(&values, columns), &spec).unwrap();
        let (lookback, horizon) = (lookback as usize, horizon as usize);
        for split in [SplitName::Train, SplitName::Validation, SplitName::Test] {
            if data.is_empty(split) {
                continue;
            }
            let samples: Vec<usize> = samples.iter().map(|sample| sample % data.len(split)).collect();
            let batch = data.gather(split, &samples, DType::F64).unwrap();
            let fitted = &data.preprocessing().features;
            let scaled = |row: usize, c: usize| (values[row * columns + c] - fitted[c].center) / fitted[c].scale;
            let mut x = Vec::new();
            let mut y = Vec::new();
            for &sample in &samples {
                let ahead = data.target_rows(split, sample).unwrap();
                prop_assert_eq!(ahead.len(), horizon);
                for row in ahead[0] - lookback..ahead[0] {
                    x.extend((0..columns).map(|c| scaled(row, c)));
                }
                for row in ahead {
                    y.extend(targets.iter().map(|&c| scaled(row, c)));
                }
            }
            prop_assert_eq!(batch.x.to_f64(), x);
            prop_assert_eq!(batch.y.unwrap().to_f64(), y);
        }
    }
}
