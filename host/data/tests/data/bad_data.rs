//! Every way in which data can be bad ends in one line that says where and what to do.

use trainyard_data::{DataError, Dataset, Duplicates, Missing, PrepareSpec, Task};

use crate::files::{TestFile, forecast, hourly, table};

#[test]
fn a_column_that_does_not_exist_gets_the_list_and_a_suggestion() {
    let mut spec = forecast(3, 2);
    spec.target = vec!["A1".into()];
    let file = TestFile::csv("date,a1,b\n2024-01-01,1,2\n");
    assert_eq!(
        file.refusal(&spec),
        r#"machine.csv: has no column "A1" (did you mean "a1"?): its columns are "date", "a1", "b""#
    );
    spec.target = vec!["pressure".into()];
    assert_eq!(
        file.refusal(&spec),
        r#"machine.csv: has no column "pressure": its columns are "date", "a1", "b""#
    );
    spec.time = Some("dat".into());
    assert!(
        file.refusal(&spec)
            .contains(r#"no column "dat" (did you mean "date"?)"#)
    );
}

#[test]
fn text_in_a_number_says_line_column_and_text() {
    let file = hourly(40, |row, name| (row == 11 && name == "b").then(|| "oops".into()));
    assert_eq!(
        file.refusal(&forecast(3, 2)),
        r#"machine.csv: line 13: column "b" is a column of numbers but holds "oops": correct it, leave it empty for missing, or leave the column out (--features)"#
    );
}

#[test]
fn lines_are_counted_as_editors_do_whatever_the_file_looks_like() {
    let file = TestFile::csv("a,b\r\n1,2\r\n\r\n\r\n3,4\r\n5,x\r\n");
    assert!(
        file.refusal(&table(Task::Regression, "b"))
            .starts_with("machine.csv: line 6: ")
    );
    let file = TestFile::csv("a,note,b\n1,\"two\nlines\",2\n2,ok,3\n3,ok,x\n");
    assert!(
        file.refusal(&table(Task::Regression, "b"))
            .starts_with("machine.csv: line 5: ")
    );
    let file = TestFile::csv("a,b\n\n1,2\n3,4\n3,x");
    assert!(
        file.refusal(&table(Task::Regression, "b"))
            .starts_with("machine.csv: line 5: ")
    );
}

#[test]
fn a_decimal_comma_is_explained() {
    let file = TestFile::csv("a;b\n1,5;2\n2,5;3\n");
    assert_eq!(
        file.refusal(&table(Task::Regression, "a")),
        r#"machine.csv: line 2: column "a" holds text ("1,5"), but a feature or target must be a number: write decimals with a point, as in 3.14"#
    );
}

#[test]
fn no_rows_are_an_error_whether_or_not_there_is_a_header() {
    for content in ["", "date,a,b\n", "date,a,b", "\n\n"] {
        let file = TestFile::csv(content);
        assert_eq!(
            file.refusal(&forecast(3, 2)),
            "machine.csv: has no rows of data: check that it is the right file and that its export finished",
            "{content:?}"
        );
    }
}

#[test]
fn fewer_rows_than_a_window_say_how_many_there_are_and_are_needed() {
    assert_eq!(
        hourly(40, |_, _| None).refusal(&forecast(20, 5)),
        "machine.csv: the training part has 24 of 40 rows, but one window needs 25 (lookback 20 + horizon 5): choose a smaller --lookback or --horizon, another --split, or give more data"
    );
    assert_eq!(
        hourly(40, |_, _| None).refusal(&forecast(5, 9)),
        "machine.csv: the validation part has 8 of 40 rows, but one window needs 9 (horizon 9; it looks back into the rows before): choose a smaller --horizon, another --split, or give more data"
    );
}

#[test]
fn a_time_that_cannot_be_read_says_what_could_be() {
    let file = hourly(40, |row, name| {
        (row == 4 && name == "date").then(|| "01.02.2024".into())
    });
    let mut spec = forecast(3, 2);
    let message = file.refusal(&spec);
    assert!(
        message.starts_with(r#"machine.csv: line 6: time column "date" holds "01.02.2024": expected 2016-07-01, "#)
    );
    spec.time = Some("a".into());
    let message = file.refusal(&spec);
    assert!(
        message.starts_with(r#"machine.csv: line 2: time column "a" holds "0": expected "#),
        "{message}"
    );
}

#[test]
fn rows_out_of_order_name_the_first_and_can_be_sorted() {
    let swapped = |row: usize, name: &str| match (row, name) {
        (7, "date") => Some("2024-01-01 03:30:00".into()),
        _ => None,
    };
    let file = hourly(40, swapped);
    let mut spec = forecast(3, 2);
    assert_eq!(
        file.refusal(&spec),
        "machine.csv: line 9: 2024-01-01 03:30:00 comes after 2024-01-01 06:00:00, so the rows are not in order of time: sort the file, or have it sorted (--sort)"
    );
    spec.sort = true;
    spec.scaling = trainyard_data::Scaling::None;
    let data = Dataset::open(&file.path(), &spec).unwrap();
    let a = data.column(trainyard_data::SplitName::Train, "a").unwrap();
    assert_eq!(a[..9], [0.0, 1.0, 2.0, 3.0, 7.0, 4.0, 5.0, 6.0, 8.0]);
}

#[test]
fn repeated_times_name_the_rows_and_can_be_settled() {
    let repeated = |row: usize, name: &str| match (row, name) {
        (5 | 6, "date") => Some("2024-01-01 04:00:00".into()),
        _ => None,
    };
    let file = hourly(40, repeated);
    let mut spec = forecast(3, 2);
    assert_eq!(
        file.refusal(&spec),
        "machine.csv: line 6 and line 7 have the same time 2024-01-01 04:00:00 (2 rows repeat an earlier time): remove one, or choose which counts (--duplicates first, last or mean)"
    );
    spec.scaling = trainyard_data::Scaling::None;
    for (duplicates, fifth) in [
        (Duplicates::First, 4.0),
        (Duplicates::Last, 6.0),
        (Duplicates::Mean, 5.0),
    ] {
        spec.duplicates = duplicates;
        let data = Dataset::open(&file.path(), &spec).unwrap();
        let a = data.column(trainyard_data::SplitName::Train, "a").unwrap();
        assert_eq!(a[..6], [0.0, 1.0, 2.0, 3.0, fifth, 7.0]);
    }
}

#[test]
fn a_column_without_training_values_is_named() {
    let file = hourly(40, |row, name| (row < 24 && name == "b").then(String::new));
    for missing in Missing::ALL.iter().copied() {
        let mut spec = forecast(3, 2);
        spec.missing = missing;
        assert_eq!(
            file.refusal(&spec),
            r#"machine.csv: column "b" has no value in the 24 training rows: leave the column out, or check how the file was exported"#
        );
    }
    let file = TestFile::csv("a,b\n,1\nNA,2\nnull,3\n");
    assert!(
        file.refusal(&table(Task::Regression, "b"))
            .contains(r#"column "a" has no value"#)
    );
}

#[test]
fn an_infinite_value_says_line_and_column() {
    for infinite in ["inf", "-Infinity", "1e999"] {
        let file = hourly(40, |row, name| (row == 3 && name == "a").then(|| infinite.into()));
        assert_eq!(
            file.refusal(&forecast(3, 2)),
            r#"machine.csv: line 5: column "a" is infinite: correct the value, or leave it empty to have it treated as missing"#
        );
    }
}

#[test]
fn a_missing_value_is_an_error_only_when_asked_for() {
    let file = hourly(40, |row, name| (row % 10 == 9 && name == "a").then(|| "NaN".into()));
    let mut spec = forecast(3, 2);
    assert!(Dataset::open(&file.path(), &spec).is_ok());
    spec.missing = Missing::Error;
    assert_eq!(
        file.refusal(&spec),
        r#"machine.csv: line 11: column "a" is missing (4 missing in all): fill it in, or choose what happens to missing values (--missing drop, forward, linear or mean)"#
    );
}

#[test]
fn windows_that_all_touch_a_gap_are_an_error_that_names_the_first() {
    let file = hourly(40, |row, name| (row % 4 == 2 && name == "b").then(String::new));
    let mut spec = forecast(3, 2);
    spec.missing = Missing::Drop;
    assert_eq!(
        file.refusal(&spec),
        r#"machine.csv: every window of the training part contains a missing value (first at line 4, column "b"): fill them instead of dropping (--missing linear), or use shorter windows"#
    );
}

#[test]
fn a_damaged_csv_says_which_line() {
    let spec = table(Task::Regression, "b");
    let short = TestFile::csv("a,b\n1,2\n3\n");
    assert!(
        short
            .refusal(&spec)
            .starts_with("machine.csv: line 3: has 1 fields, but the header has 2: ")
    );
    let long = TestFile::csv("a,b\n1,2\n3,4,5\n");
    assert!(
        long.refusal(&spec)
            .starts_with("machine.csv: line 3: has 3 fields, but the header has 2: ")
    );
    let latin = TestFile::csv(b"a,b\n1,2\n3,\xb0C\n");
    assert_eq!(
        latin.refusal(&spec),
        "machine.csv: line 3: is not UTF-8 text: save the file as CSV in UTF-8"
    );
    let headless = TestFile::csv("1,2\n3,4\n");
    assert!(headless.refusal(&spec).contains("line 1: names of columns are needed"));
    let twice = TestFile::csv("a,b,a\n1,2,3\n");
    assert_eq!(
        twice.refusal(&spec),
        r#"machine.csv: column "a" appears twice (columns 1 and 3): rename one of them"#
    );
}

#[test]
fn a_file_that_is_absent_or_of_another_kind_is_named() {
    let spec = table(Task::Regression, "b");
    let file = TestFile::new("notes.txt", "hello");
    assert!(
        file.refusal(&spec)
            .starts_with("notes.txt: only .csv, .tsv, .parquet, .arrow and .json files are read")
    );
    for name in ["absent.csv", "absent.parquet", "absent"] {
        let error = Dataset::open(name.as_ref(), &spec).unwrap_err();
        assert_eq!(error.code(), "data.unreadable", "{error}");
    }
    let file = TestFile::new("broken.parquet", "PAR1 but nothing else");
    assert!(
        file.refusal(&spec)
            .starts_with("broken.parquet: the file: is no whole Parquet file")
    );
}

#[test]
fn a_spec_that_contradicts_itself_is_refused_with_a_remedy() {
    let file = TestFile::csv("time,a,b,c\n2024-01-01,1,2,x\n2024-01-02,2,3,y\n");
    let refused = |spec: &PrepareSpec| file.refusal(spec);
    assert!(refused(&PrepareSpec::new(Task::Forecasting)).contains("--lookback N --horizon N"));
    assert!(refused(&forecast(0, 1)).contains("at least 1"));
    assert!(refused(&PrepareSpec::new(Task::Regression)).contains(r#"--target NAME): its columns are "time", "a""#));
    let mut spec = table(Task::Regression, "a");
    spec.window = forecast(1, 1).window;
    assert!(refused(&spec).contains("has no windows"));
    spec.window = None;
    spec.features = Some(vec!["a".into(), "b".into()]);
    assert!(refused(&spec).contains("both a feature and the target"));
    spec.features = Some(vec!["b".into(), "b".into()]);
    assert!(refused(&spec).contains("named twice"));
    (spec.features, spec.time) = (Some(vec!["time".into()]), Some("time".into()));
    assert!(refused(&spec).contains("is the time"));
    spec.features = Some(vec!["c".into()]);
    assert!(refused(&spec).contains(r#"line 2: column "c" holds text ("x")"#));
    spec.features = Some(vec![]);
    assert!(refused(&spec).contains("no column of numbers to learn from"));
    let mut spec = table(Task::Classification, "c");
    spec.target.push("a".into());
    assert!(refused(&spec).contains("name one target"));
}

#[test]
fn every_error_has_a_stable_code() {
    let error = "x".parse::<trainyard_data::Split>().unwrap_err();
    assert_eq!(error.code(), "data.bad-split");
    let error = Dataset::open("x.csv".as_ref(), &forecast(1, 1)).unwrap_err();
    assert!(matches!(error, DataError::Unreadable { .. }));
    assert_eq!(error.code(), "data.unreadable");
}
