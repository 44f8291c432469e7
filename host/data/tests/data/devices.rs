//! Several devices in one file: each is a series of its own, and all are learned from together.

use trainyard_data::{
    DType, Dataset, DeviceSummary, Duplicates, Frame, Missing, OverviewOptions, PrepareSpec, Preprocessing, Scaling,
    ShortDevice, SplitName, Task, Warning,
};

use crate::files::{TestFile, forecast, table};

/// Hourly rows of devices, as `device,x` one after the other; each device's hours count up from midnight.
fn machines(rows: &[(&str, &str)]) -> TestFile {
    let mut text = "ts,machine,x\n".to_owned();
    for (row, (machine, x)) in rows.iter().enumerate() {
        let hour = rows[..row].iter().filter(|(other, _)| other == machine).count();
        text += &format!("2024-01-{:02} {:02}:00,{machine},{x}\n", 1 + hour / 24, hour % 24);
    }
    TestFile::csv(text)
}

/// Rows of devices that take turns; `a` counts from 0, `b` from 100, and so on.
fn in_turns(devices: &[(&'static str, usize)]) -> Vec<(&'static str, String)> {
    let most = devices.iter().map(|(_, rows)| *rows).max().unwrap();
    let rows = (0..most).flat_map(|row| {
        let there = devices.iter().enumerate().filter(move |(_, (_, rows))| row < *rows);
        there.map(move |(device, (name, _))| (*name, (device * 100 + row).to_string()))
    });
    rows.collect()
}

fn file(devices: &[(&'static str, usize)]) -> TestFile {
    let rows = in_turns(devices);
    machines(
        &rows
            .iter()
            .map(|(machine, x)| (*machine, x.as_str()))
            .collect::<Vec<_>>(),
    )
}

fn of_machines(lookback: u32, horizon: u32) -> PrepareSpec {
    let mut spec = forecast(lookback, horizon);
    (spec.device, spec.scaling) = (Some("machine".into()), Scaling::None);
    spec
}

fn opened(file: &TestFile, spec: &PrepareSpec) -> Dataset {
    Dataset::open(&file.path(), spec).unwrap()
}

/// What each sample looks back on and ahead to, of the only column.
fn samples(data: &Dataset, split: SplitName) -> Vec<(Vec<f64>, Vec<f64>)> {
    let sample = |sample| {
        let batch = data.gather(split, &[sample], DType::F64).unwrap();
        (batch.x.to_f64(), batch.y.unwrap().to_f64())
    };
    (0..data.len(split)).map(sample).collect()
}

fn named(name: &str, rows: usize) -> DeviceSummary {
    let name = name.to_owned();
    DeviceSummary { name, rows }
}

#[test]
fn windows_stay_within_a_device_however_its_rows_lie() {
    let data = opened(&file(&[("a", 10), ("b", 10)]), &of_machines(3, 1));
    assert_eq!(data.schema().features, ["x"]);
    assert_eq!(data.warnings(), []);
    let firsts = |split| samples(&data, split).iter().map(|(x, _)| x[0]).collect::<Vec<_>>();
    assert_eq!(firsts(SplitName::Train), [0.0, 1.0, 2.0, 100.0, 101.0, 102.0]);
    assert_eq!(firsts(SplitName::Validation), [3.0, 4.0, 103.0, 104.0]);
    assert_eq!(
        samples(&data, SplitName::Test)[2],
        (vec![105.0, 106.0, 107.0], vec![108.0])
    );
    assert_eq!(data.column(SplitName::Test, "x").unwrap(), [8.0, 9.0, 108.0, 109.0]);
    assert_eq!(data.features(SplitName::Validation).values, [6.0, 7.0, 106.0, 107.0]);
    assert_eq!(data.rows(SplitName::Train), 12);
    // One device after the other.
    assert_eq!(data.target_rows(SplitName::Test, 2).unwrap(), [18]);
    let times = data.target_times(SplitName::Test, 2).unwrap().unwrap();
    assert_eq!(times[0], data.target_times(SplitName::Test, 0).unwrap().unwrap()[0]);
}

#[test]
fn scales_and_means_are_those_of_all_training_rows_together() {
    let mut spec = of_machines(2, 1);
    spec.scaling = Scaling::MinMax;
    let data = opened(&file(&[("a", 10), ("b", 20)]), &spec);
    let fitted = &data.preprocessing().features[0];
    // Training rows are 0 to 5 and 100 to 111.
    assert_eq!((fitted.center, fitted.scale), (0.0, 111.0));
    assert_eq!(fitted.mean, (15.0 + 1_266.0) / 18.0);
}

#[test]
fn missing_values_are_filled_within_their_device() {
    let a = ["0", "1", "", "3", "", "", "6", "", "8", "9"].map(|x| ("a", x));
    let b = ["", "101", "102", "103", "104", "105", "", "107", "108", "109"].map(|x| ("b", x));
    let data = opened(&machines(&[a, b].concat()), &of_machines(1, 1));
    assert_eq!(
        data.column(SplitName::Train, "x").unwrap(),
        [0.0, 1.0, 2.0, 3.0, 3.0, 3.0, 101.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    );
    assert_eq!(
        data.column(SplitName::Validation, "x").unwrap(),
        [6.0, 6.0, 105.0, 107.0]
    );
    assert_eq!(data.summary().missing, 6);
}

#[test]
fn a_device_without_a_value_to_learn_from_takes_the_mean_with_a_warning() {
    let a = ["0", "2", "4", "6", "8", "10", "12", "14", "16", "18"].map(|x| ("a", x));
    let b = ["", "", "", "", "", "", "", "7", "8", "9"].map(|x| ("b", x));
    let data = opened(&machines(&[a, b].concat()), &of_machines(1, 1));
    assert_eq!(data.column(SplitName::Train, "x").unwrap()[6..], [5.0; 6]);
    assert_eq!(data.column(SplitName::Validation, "x").unwrap(), [12.0, 14.0, 7.0, 7.0]);
    assert_eq!(
        data.warnings()[0].to_string(),
        r#"column "x" has no value in the training rows of some devices; the mean of all stands in: "b""#
    );
}

#[test]
fn a_device_too_short_for_a_part_is_left_out_of_it_with_a_warning() {
    let data = opened(&file(&[("a", 10), ("b", 4), ("c", 20)]), &of_machines(3, 2));
    let device = |device: &str, part, rows, needed| ShortDevice {
        device: device.into(),
        part,
        rows,
        needed,
    };
    let devices = vec![
        device("b", SplitName::Train, 2, 5),
        device("b", SplitName::Validation, 1, 3),
        device("b", SplitName::Test, 1, 2),
    ];
    assert_eq!(data.warnings(), [Warning::ShortDevices { devices, more: 0 }]);
    assert_eq!(
        data.warnings()[0].to_string(),
        r#"devices with too few rows were left out: "b" of the training part (2 rows, 5 needed), "b" of the validation part (1 rows, 3 needed), "b" of the test part (1 rows, 2 needed)"#
    );
    assert_eq!(data.rows(SplitName::Train), 18);
    assert_eq!(
        data.column(SplitName::Test, "x").unwrap(),
        [8.0, 9.0, 216.0, 217.0, 218.0, 219.0]
    );
    assert_eq!(data.summary().devices, [named("a", 10), named("b", 4), named("c", 20)]);
}

#[test]
fn a_warning_of_many_short_devices_is_cut() {
    let mut rows = vec![("long", "1"); 20];
    let names: Vec<String> = (0..30).map(|device| format!("m{device}")).collect();
    rows.extend(names.iter().map(|name| (name.as_str(), "2")));
    let data = opened(&machines(&rows), &of_machines(3, 2));
    let shown = data.warnings()[0].to_string();
    assert!(
        shown.contains(r#""m19" of the training part (1 rows, 5 needed) and 70 more"#),
        "{shown}"
    );
}

#[test]
fn no_device_with_enough_rows_is_an_error() {
    let file = file(&[("a", 5), ("b", 6), ("c", 4)]);
    assert_eq!(
        file.refusal(&of_machines(3, 2)),
        "machine.csv: the training part has 4 of 6 rows, but one window needs 5 (lookback 3 + horizon 2), and none of the 3 devices has more rows: choose a smaller --lookback or --horizon, another --split, or give more data"
    );
    let mut spec = of_machines(1, 1);
    spec.split = "6/2/2".parse().unwrap();
    assert!(
        file.refusal(&spec)
            .starts_with("machine.csv: has 6 rows, but the split 6/2/2 asks for 10")
    );
}

#[test]
fn a_split_by_rows_is_of_each_device() {
    let mut spec = of_machines(1, 1);
    spec.split = "4/2/2".parse().unwrap();
    // What is left over is looked at by nobody, whatever it holds.
    let a = ["0", "1", "2", "3", "4", "5", "6", "7", "inf", ""].map(|x| ("a", x));
    let b = ["100", "101", "102", "103", "104", "105", "106"].map(|x| ("b", x));
    spec.missing = Missing::Error;
    let data = opened(&machines(&[&a[..], &b[..]].concat()), &spec);
    assert_eq!(
        data.column(SplitName::Train, "x").unwrap(),
        [0.0, 1.0, 2.0, 3.0, 100.0, 101.0, 102.0, 103.0]
    );
    assert_eq!(data.column(SplitName::Test, "x").unwrap(), [6.0, 7.0, 106.0]);
    assert_eq!(data.summary().missing, 0);
}

#[test]
fn order_and_repeated_times_are_matters_of_one_device() {
    let text = |rows: &str| TestFile::csv(format!("ts,machine,x\n{rows}"));
    let rows = |machine: &str, hours: &[u32]| -> String {
        let row = |hour: &u32| format!("2024-01-01 {hour:02}:00,{machine},{hour}\n");
        hours.iter().map(row).collect()
    };
    let hours: Vec<u32> = (0..10).collect();
    opened(&text(&(rows("a", &hours) + &rows("b", &hours))), &of_machines(1, 1));
    let backwards = text(&(rows("b", &[9]) + &rows("a", &hours) + &rows("b", &hours[..9])));
    assert_eq!(
        backwards.refusal(&of_machines(1, 1)),
        "machine.csv: line 13: 2024-01-01 00:00 comes after 2024-01-01 09:00, so the rows are not in order of time: sort the file, or have it sorted (--sort)"
    );
    let mut spec = of_machines(1, 1);
    (spec.sort, spec.duplicates) = (true, Duplicates::First);
    let data = opened(&backwards, &spec);
    assert_eq!(data.column(SplitName::Test, "x").unwrap(), [8.0, 9.0, 8.0, 9.0]);
    let repeated = text(&(rows("a", &hours) + &rows("b", &[0, 1]) + &rows("b", &hours[1..])));
    assert!(
        repeated
            .refusal(&of_machines(1, 1))
            .contains("line 13 and line 14 have the same time")
    );
    let data = opened(&repeated, &spec);
    assert_eq!(data.summary().devices, [named("a", 10), named("b", 10)]);
}

#[test]
fn numbers_may_tell_devices_apart() {
    let rows = in_turns(&[("7", 10), ("12", 10)]);
    let file = machines(
        &rows
            .iter()
            .map(|(machine, x)| (*machine, x.as_str()))
            .collect::<Vec<_>>(),
    );
    let data = opened(&file, &of_machines(3, 1));
    assert_eq!(data.schema().features, ["x"]);
    assert_eq!(data.summary().devices, [named("7", 10), named("12", 10)]);
}

#[test]
fn the_device_column_is_neither_feature_nor_target_nor_the_time() {
    let file = file(&[("a", 10), ("b", 10)]);
    let mut spec = of_machines(3, 1);
    spec.features = Some(vec!["x".into(), "machine".into()]);
    let apart = r#"machine.csv: column "machine" tells devices apart, so it is neither feature nor target: choose other columns, or no device column"#;
    assert_eq!(file.refusal(&spec), apart);
    (spec.features, spec.target) = (None, vec!["machine".into()]);
    assert_eq!(file.refusal(&spec), apart);
    (spec.target, spec.time, spec.device) = (Vec::new(), Some("ts".into()), Some("ts".into()));
    assert!(
        file.refusal(&spec)
            .starts_with(r#"machine.csv: column "ts" is the time, so it tells no devices apart"#)
    );
    (spec.features, spec.device) = (Some(vec!["x".into()]), Some("machin".into()));
    assert!(
        file.refusal(&spec)
            .starts_with(r#"machine.csv: has no column "machin" (did you mean "machine"?)"#)
    );
}

const PUMPS: &str = "\
pump,pressure,state
A,1,ok
B,10,worn
A,2,ok
A,,ok
B,20,broken
A,4,worn
B,30,ok
B,40,ok
";

#[test]
fn tables_are_cut_device_by_device_too() {
    let mut spec = table(Task::Classification, "state");
    (spec.device, spec.scaling) = (Some("pump".into()), Scaling::None);
    spec.split = "0.5/0.25/0.25".parse().unwrap();
    let data = opened(&TestFile::csv(PUMPS), &spec);
    let x = |split| data.features(split).values;
    assert_eq!(x(SplitName::Train), [1.0, 2.0, 10.0, 20.0]);
    assert_eq!(x(SplitName::Validation), [30.0]);
    assert_eq!(x(SplitName::Test), [4.0, 40.0]);
    assert_eq!(data.schema().classes, ["broken", "ok", "worn"]);
    assert_eq!(data.classes(SplitName::Train).unwrap(), [1, 1, 2, 0]);
    assert_eq!(data.classes(SplitName::Test).unwrap(), [2, 1]);
    assert_eq!(data.column(SplitName::Test, "state").unwrap(), [2.0, 1.0]);
    let batch = data.gather(SplitName::Test, &[1, 0], DType::F64).unwrap();
    assert_eq!(
        (batch.x.to_f64(), batch.y.unwrap().to_f64()),
        (vec![40.0, 4.0], vec![1.0, 2.0])
    );
    // Among the pumps' rows one after the other.
    assert_eq!(data.target_rows(SplitName::Test, 1).unwrap(), [7]);
    assert_eq!(data.warnings(), [Warning::RowsDropped { rows: 1 }]);
}

#[test]
fn a_summary_names_the_first_devices() {
    let names = ["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, 10));
    let summary = opened(&file(&names), &of_machines(3, 1)).summary();
    assert_eq!(
        (summary.device_count, summary.rows, summary.step.as_deref()),
        (7, 70, Some("1 h"))
    );
    let shown = summary.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(
        lines[0].ends_with("70 rows, 2024-01-01 00:00 to 2024-01-01 09:00, one every 1 h"),
        "{shown}"
    );
    assert_eq!(
        lines[1],
        r#"  7 devices: "a" (10 rows), "b" (10 rows), "c" (10 rows), "d" (10 rows), "e" (10 rows) and 2 more"#
    );
    assert_eq!(summary.splits[0].time.as_ref().unwrap().1, "2024-01-01 05:00");
    let series = opened(
        &machines(&[("a", "1"), ("a", "2"), ("a", "3"), ("a", "4"), ("a", "5")]),
        &forecast(1, 1),
    )
    .summary();
    assert!(series.devices.is_empty() && !series.to_string().contains("device"));
    assert!(!serde_json::to_string(&series).unwrap().contains("device"));
}

#[test]
fn the_fingerprint_is_of_the_devices_too_but_not_of_how_their_rows_lie() {
    let print = |file: &TestFile, spec| opened(file, spec).fingerprint().to_owned();
    let spec = of_machines(3, 1);
    let in_turn = file(&[("a", 10), ("b", 10)]);
    let mut rows = in_turns(&[("a", 10), ("b", 10)]);
    rows.sort();
    let mut one_by_one: Vec<(&str, &str)> = rows.iter().map(|(machine, x)| (*machine, x.as_str())).collect();
    one_by_one.sort_by_key(|(machine, x)| (*machine, x.parse::<u32>().unwrap()));
    assert_eq!(print(&in_turn, &spec), print(&machines(&one_by_one), &spec));
    assert_ne!(print(&in_turn, &spec), print(&file(&[("a", 10), ("c", 10)]), &spec));
}

#[test]
fn predictions_are_for_one_device_at_a_time() {
    let data = opened(&file(&[("a", 10), ("b", 10)]), &of_machines(3, 1));
    let state: Preprocessing = serde_json::from_str(&serde_json::to_string(data.preprocessing()).unwrap()).unwrap();
    assert_eq!(state.device.as_deref(), Some("machine"));
    let both = file(&[("a", 4), ("b", 4)]);
    let error = Dataset::open_for_predict(&both.path(), &state, false).unwrap_err();
    assert_eq!(
        both.message(&error),
        r#"machine.csv: column "machine" tells 2 devices apart ("a", "b"): predict for one device at a time"#
    );
    let without =
        TestFile::csv("ts,x\n2024-01-01 00:00,0\n2024-01-01 01:00,1\n2024-01-01 02:00,2\n2024-01-01 03:00,3\n");
    for file in [&file(&[("new", 4)]), &without] {
        let data = Dataset::open_for_predict(&file.path(), &state, false).unwrap();
        let batch = data.gather(SplitName::Predict, &[0], DType::F64).unwrap();
        assert_eq!(batch.x.to_f64(), [1.0, 2.0, 3.0]);
        assert!(data.summary().devices.is_empty());
    }
}

#[test]
fn a_model_of_several_devices_is_judged_by_the_rows_of_each() {
    let trained = opened(&file(&[("a", 10), ("b", 10)]), &of_machines(3, 1));
    let state = trained.preprocessing();
    let other = file(&[("c", 4), ("d", 6), ("e", 3)]);
    let spec = state.evaluation_spec(trainyard_data::Split::Fractions([0.0, 0.0, 1.0]));
    let frame = Frame::read(&other.path(), &spec.read_options()).unwrap();
    let data = Dataset::for_evaluation(frame, &spec, state).unwrap();
    let firsts: Vec<f64> = samples(&data, SplitName::Test).iter().map(|(x, _)| x[0]).collect();
    assert_eq!(firsts, [0.0, 100.0, 101.0, 102.0]);
    assert!(matches!(data.warnings(), [Warning::ShortDevices { devices, more: 0 }] if devices.len() == 1));
}

#[test]
fn models_from_before_there_were_devices_still_load() {
    let data = opened(&file(&[("a", 10)]), &of_machines(3, 1));
    let mut state = serde_json::to_value(data.preprocessing()).unwrap();
    state.as_object_mut().unwrap().remove("device").unwrap();
    let state: Preprocessing = serde_json::from_value(state).unwrap();
    assert_eq!(state.device, None);
}

#[test]
fn an_overview_tells_devices_apart() {
    let mut rows = in_turns(&[("a", 3), ("b", 5)]);
    rows.swap(0, 1);
    let file = machines(
        &rows
            .iter()
            .map(|(machine, x)| (*machine, x.as_str()))
            .collect::<Vec<_>>(),
    );
    let frame = Frame::read(&file.path(), &Default::default()).unwrap();
    let device = Some("machine".to_owned());
    let overview = frame.overview_with(&OverviewOptions { device }).unwrap();
    assert_eq!(
        (overview.device_count, &overview.devices[..]),
        (2, &[named("b", 5), named("a", 3)][..])
    );
    let gaps = overview.gaps.unwrap();
    assert_eq!((gaps.step.as_str(), gaps.count), ("1 h", 0));
    assert_eq!(overview.columns[2].spark, [100.0, 101.0, 102.0, 103.0, 104.0].map(Some));
    assert_eq!(
        frame.overview_with(&OverviewOptions::default()).unwrap(),
        frame.overview()
    );
    let device = Some("site".to_owned());
    let error = frame.overview_with(&OverviewOptions { device }).unwrap_err();
    assert_eq!(error.code(), "data.no-such-column");
}
