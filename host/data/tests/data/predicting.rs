//! A model's stored state, applied to a file it has never seen.

use trainyard_data::{
    BatchOptions, DType, Dataset, Duplicates, Missing, PrepareSpec, Preprocessing, Scaling, SplitName, Task, Warning,
    format_time,
};

use crate::files::{TestFile, forecast, hourly, table};

/// The state of a model trained on 40 hourly rows, as it comes back from its file.
fn state(edit: impl FnOnce(&mut PrepareSpec)) -> Preprocessing {
    let mut spec = forecast(3, 2);
    edit(&mut spec);
    let data = Dataset::open(&hourly(40, |_, _| None).path(), &spec).unwrap();
    serde_json::from_str(&serde_json::to_string_pretty(data.preprocessing()).unwrap()).unwrap()
}

#[test]
fn a_forecast_starts_after_the_last_row_and_goes_on_at_the_usual_step() {
    let state = state(|_| {});
    let file = hourly(10, |_, _| None);
    let data = Dataset::open_for_predict(&file.path(), &state, false).unwrap();
    assert_eq!(data.len(SplitName::Predict), 1);
    assert_eq!([data.len(SplitName::Train), data.len(SplitName::Test)], [0, 0]);
    let batch = data.gather(SplitName::Predict, &[0], DType::F64).unwrap();
    assert_eq!((batch.x_shape, batch.y, batch.y_shape), (vec![1, 3, 2], None, vec![]));
    let feature = &state.features[0];
    let a: Vec<f64> = batch
        .x
        .to_f64()
        .into_iter()
        .step_by(2)
        .map(|v| v * feature.scale + feature.center)
        .collect();
    assert!(
        a.iter()
            .zip([7.0, 8.0, 9.0])
            .all(|(a, expected)| (a - expected).abs() < 1e-12),
        "{a:?}"
    );
    let times = data.target_times(SplitName::Predict, 0).unwrap().unwrap();
    let written: Vec<String> = times
        .iter()
        .map(|&time| format_time(time, data.time_format().unwrap()))
        .collect();
    assert_eq!(written, ["2024-01-01 10:00:00", "2024-01-01 11:00:00"]);
    assert_eq!(data.target_rows(SplitName::Predict, 0).unwrap(), [10, 11]);
}

#[test]
fn rolling_forecasts_use_every_window_there_is() {
    let data = Dataset::open_for_predict(&hourly(10, |_, _| None).path(), &state(|_| {}), true).unwrap();
    assert_eq!(data.len(SplitName::Predict), 8);
    assert_eq!(data.target_rows(SplitName::Predict, 0).unwrap(), [3, 4]);
    assert_eq!(data.target_rows(SplitName::Predict, 7).unwrap(), [10, 11]);
    let options = BatchOptions {
        batch_size: 5,
        shuffle: None,
        drop_last: false,
        dtype: DType::F32,
    };
    let sizes: Vec<usize> = data
        .batches(SplitName::Predict, options)
        .unwrap()
        .map(|batch| batch.size)
        .collect();
    assert_eq!(sizes, [5, 3]);
}

#[test]
fn exactly_one_window_is_enough_and_less_is_not() {
    let data = Dataset::open_for_predict(&hourly(3, |_, _| None).path(), &state(|_| {}), false).unwrap();
    assert_eq!(data.len(SplitName::Predict), 1);
    let file = hourly(2, |_, _| None);
    let error = Dataset::open_for_predict(&file.path(), &state(|_| {}), false).unwrap_err();
    assert_eq!(
        file.message(&error),
        "machine.csv: the given part has 2 of 2 rows, but the model looks back on 3: give it more rows before the time to forecast"
    );
}

#[test]
fn the_training_rows_scales_are_used_whatever_the_new_file_holds() {
    let state = state(|spec| spec.scaling = Scaling::MinMax);
    let file = hourly(10, |_, name| (name == "a").then(|| "230".into()));
    let data = Dataset::open_for_predict(&file.path(), &state, false).unwrap();
    // Training rows held 0 to 23.
    assert_eq!(data.column(SplitName::Predict, "a").unwrap(), [10.0; 10]);
}

#[test]
fn a_feature_that_the_file_lacks_is_named() {
    let file = TestFile::csv("date,a,c\n2024-01-01,1,2\n");
    let error = Dataset::open_for_predict(&file.path(), &state(|_| {}), false).unwrap_err();
    assert!(
        file.message(&error).starts_with(r#"machine.csv: has no column "b""#),
        "{error}"
    );
    assert_eq!(error.code(), "data.no-such-column");
}

#[test]
fn bad_rows_are_refused_as_in_training() {
    let refused = |edit: &dyn Fn(usize, &str) -> Option<String>, state: &Preprocessing| {
        let file = hourly(10, edit);
        file.message(&Dataset::open_for_predict(&file.path(), state, false).unwrap_err())
    };
    let usual = state(|_| {});
    let message = refused(&|row, name| (row == 4 && name == "b").then(|| "x".into()), &usual);
    assert!(
        message.starts_with(r#"machine.csv: line 6: column "b" is a column of numbers"#),
        "{message}"
    );
    let message = refused(&|row, name| (row == 4 && name == "b").then(|| "inf".into()), &usual);
    assert!(
        message.starts_with(r#"machine.csv: line 6: column "b" is infinite"#),
        "{message}"
    );
    let message = refused(&|_, name| (name == "b").then(String::new), &usual);
    assert!(
        message.starts_with(r#"machine.csv: column "b" has no value in the 10 given rows"#),
        "{message}"
    );
    let message = refused(
        &|row, name| (row == 9 && name == "date").then(|| "2020-01-01 00:00".into()),
        &usual,
    );
    assert!(
        message.contains("line 11: 2020-01-01 00:00:00 comes after 2024-01-01 08:00:00"),
        "{message}"
    );
    let strict = state(|spec| spec.missing = Missing::Error);
    let message = refused(&|row, name| (row == 1 && name == "a").then(String::new), &strict);
    assert!(
        message.starts_with(r#"machine.csv: line 3: column "a" is missing (1 missing in all)"#),
        "{message}"
    );
    let dropping = state(|spec| spec.missing = Missing::Drop);
    let message = refused(&|row, name| (row == 8 && name == "a").then(String::new), &dropping);
    assert!(
        message.starts_with(r#"machine.csv: line 10: column "a" is missing within the last 3 rows"#),
        "{message}"
    );
}

#[test]
fn gaps_are_filled_by_the_models_own_policy() {
    for (missing, expected) in [(Missing::Linear, 7.0), (Missing::Forward, 6.0), (Missing::Mean, 11.5)] {
        let state = state(|spec| {
            spec.missing = missing;
            spec.scaling = Scaling::None;
        });
        let file = hourly(10, |row, name| (row == 7 && name == "a").then(String::new));
        let data = Dataset::open_for_predict(&file.path(), &state, false).unwrap();
        assert_eq!(data.column(SplitName::Predict, "a").unwrap()[7], expected, "{missing}");
    }
}

#[test]
fn order_and_repeats_are_settled_as_in_training() {
    let state = state(|spec| (spec.sort, spec.duplicates, spec.scaling) = (true, Duplicates::Last, Scaling::None));
    let file = TestFile::csv("date,a,b\n2024-01-03,3,0\n2024-01-01,1,0\n2024-01-02,2,0\n2024-01-02,22,0\n");
    let data = Dataset::open_for_predict(&file.path(), &state, false).unwrap();
    assert_eq!(data.column(SplitName::Predict, "a").unwrap(), [1.0, 22.0, 3.0]);
}

fn table_state(missing: Missing) -> Preprocessing {
    let mut spec = table(Task::Classification, "state");
    (spec.missing, spec.scaling, spec.split) = (missing, Scaling::None, "1/0/0".parse().unwrap());
    let text = "date,x,z,state\n2024-01-01,1,5,ok\n2024-01-02,2,6,worn\n2024-01-03,3,7,ok\n";
    let data = Dataset::open(&TestFile::csv(text).path(), &spec).unwrap();
    serde_json::from_str(&serde_json::to_string(data.preprocessing()).unwrap()).unwrap()
}

#[test]
fn a_table_is_predicted_row_by_row_without_its_target_in_the_files_order() {
    let state = table_state(Missing::Drop);
    assert_eq!(state.classes, ["ok", "worn"]);
    let file = TestFile::csv("z,x\n20,10\n,11\n22,12\n");
    let data = Dataset::open_for_predict(&file.path(), &state, false).unwrap();
    assert_eq!(data.len(SplitName::Predict), 2);
    assert_eq!(data.features(SplitName::Predict).values, [10.0, 20.0, 12.0, 22.0]);
    assert_eq!(data.target_rows(SplitName::Predict, 1).unwrap(), [2]);
    assert_eq!(data.warnings(), [Warning::RowsDropped { rows: 1 }]);
    assert_eq!(data.classes(SplitName::Predict), None);
}

#[test]
fn a_single_row_with_a_missing_value_can_take_the_training_mean() {
    let file = TestFile::csv("x,z\n,9\n");
    let data = Dataset::open_for_predict(&file.path(), &table_state(Missing::Mean), false).unwrap();
    assert_eq!(data.features(SplitName::Predict).values, [2.0, 9.0]);
}

#[test]
fn a_table_keeps_its_times() {
    let file = TestFile::csv("date,x,z\n2024-06-01,1,9\n2024-05-01,,9\n2024-04-01,1,9\n");
    let data = Dataset::open_for_predict(&file.path(), &table_state(Missing::Drop), false).unwrap();
    let times = data.target_times(SplitName::Predict, 1).unwrap().unwrap();
    assert_eq!(format_time(times[0], data.time_format().unwrap()), "2024-04-01");
}
