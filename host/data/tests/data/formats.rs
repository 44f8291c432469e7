//! One table in every format, from a path, an open file or bytes; and what is told of it.

use std::{fs::File, sync::Arc};

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use serde_json::json;
use trainyard_data::{
    DType, DataError, DataFormat, Dataset, Frame, PrepareSpec, ReadOptions, SplitName, Task, Values, Warning,
};

use crate::files::TestFile;

const CSV: &str = "time,x,kind\n2024-01-01 00:00,1.5,a\n2024-01-01 01:00,,b\n2024-01-01 02:00,-3,\n";

fn batch() -> RecordBatch {
    let time = StringArray::from(vec!["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 02:00"]);
    let x = Float64Array::from(vec![Some(1.5), None, Some(-3.0)]);
    let kind = StringArray::from(vec![Some("a"), Some("b"), None]);
    RecordBatch::try_from_iter([
        ("time", Arc::new(time) as ArrayRef),
        ("x", Arc::new(x) as ArrayRef),
        ("kind", Arc::new(kind) as ArrayRef),
    ])
    .unwrap()
}

fn written(format: DataFormat) -> Vec<u8> {
    match format {
        DataFormat::Csv => CSV.into(),
        DataFormat::Tsv => CSV.replace(',', "\t").into(),
        DataFormat::Parquet => {
            let mut writer = ArrowWriter::try_new(Vec::new(), batch().schema(), None).unwrap();
            writer.write(&batch()).unwrap();
            writer.into_inner().unwrap()
        }
        DataFormat::Arrow => {
            let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch().schema()).unwrap();
            writer.write(&batch()).unwrap();
            writer.into_inner().unwrap()
        }
        DataFormat::Json => json!([
            {"time": "2024-01-01 00:00", "x": 1.5, "kind": "a"},
            {"time": "2024-01-01 01:00", "kind": "b"},
            {"kind": null, "x": -3, "time": "2024-01-01 02:00"},
        ])
        .to_string()
        .into(),
    }
}

fn json_frame(text: &str) -> Result<Frame, DataError> {
    Frame::from_bytes(text.to_owned(), "a.json", DataFormat::Json, &ReadOptions::default())
}

#[test]
fn every_format_gives_the_same_table_from_everywhere() {
    let options = ReadOptions::default();
    for &format in DataFormat::ALL {
        let bytes = written(format);
        let name = format!("a.{format}");
        let file = TestFile::new(&name, &bytes);
        let frames = [
            Frame::read(&file.path(), &options).unwrap(),
            Frame::from_file(File::open(file.path()).unwrap(), &name, format, &options).unwrap(),
            Frame::from_bytes(bytes, &name, format, &options).unwrap(),
        ];
        for frame in &frames {
            assert_eq!(
                (frame.rows(), &frame.names()[..]),
                (3, &["time", "x", "kind"].map(String::from)[..])
            );
            assert_eq!(
                frame.time().unwrap().micros[2] - frame.time().unwrap().micros[0],
                7_200_000_000
            );
            let x = frame.numbers("x").unwrap();
            assert!(x[0] == 1.5 && x[1].is_nan() && x[2] == -3.0, "{format}: {x:?}");
            let Values::Text(kind) = &frame.column("kind").unwrap().values else {
                panic!("{format}");
            };
            assert_eq!([kind.get(0), kind.get(1), kind.get(2)], [Some("a"), Some("b"), None]);
        }
        assert_eq!(frames[1].source(), name);
    }
}

#[test]
fn a_file_is_read_from_its_beginning_whoever_has_read_from_it() {
    use std::io::{Seek, SeekFrom};
    let file = TestFile::csv(CSV);
    let mut open = File::open(file.path()).unwrap();
    open.seek(SeekFrom::End(0)).unwrap();
    let frame = Frame::from_file(open, "a.csv", DataFormat::Csv, &ReadOptions::default()).unwrap();
    assert_eq!(frame.rows(), 3);
}

#[test]
fn only_the_columns_that_are_wanted_are_read() {
    let options = ReadOptions {
        time: Some("time".into()),
        columns: Some(vec!["x".into()]),
        device: None,
    };
    for &format in DataFormat::ALL {
        let frame = Frame::from_bytes(written(format), "a", format, &options).unwrap();
        assert_eq!(frame.names(), ["time", "x"], "{format}");
        let absent = ReadOptions {
            columns: Some(vec!["y".into()]),
            ..options.clone()
        };
        let error = Frame::from_bytes(written(format), "a", format, &absent).unwrap_err();
        assert_eq!(error.code(), "data.no-such-column", "{format}");
    }
}

#[test]
fn json_columns_are_numbers_if_all_their_values_are() {
    let frame = json_frame(
        r#"[{"a": 1, "b": true, "c": 1.5, "d": "NaN"}, {"b": false, "c": "x", "e": 9}, {"a": null, "b": 2, "c": 3, "d": 4}]"#,
    )
    .unwrap();
    assert_eq!(frame.names(), ["a", "b", "c", "d", "e"]);
    assert_eq!(frame.numbers("b").unwrap(), [1.0, 0.0, 2.0]);
    let e = frame.numbers("e").unwrap();
    assert!(e[0].is_nan() && e[1] == 9.0 && e[2].is_nan());
    let d = frame.numbers("d").unwrap();
    assert!(d[0].is_nan() && d[1].is_nan() && d[2] == 4.0);
    let Values::Text(c) = &frame.column("c").unwrap().values else {
        panic!("numbers");
    };
    assert_eq!([c.get(0), c.get(1), c.get(2)], [Some("1.5"), Some("x"), Some("3")]);
    assert_eq!(c.stray, Some(1), "it was probably meant to be numbers");
}

#[test]
fn json_times_are_counts_or_texts_and_count_as_numbers_where_they_are_none() {
    let nanoseconds = json_frame(r#"[{"ts": 1700000000000000001}, {"ts": 1700000001000000001}]"#).unwrap();
    assert_eq!(nanoseconds.time().unwrap().micros[0], 1_700_000_000_000_000);
    let plain = json_frame(r#"[{"time": 0.5}, {"time": 0.75}]"#).unwrap();
    assert_eq!(plain.numbers("time").unwrap(), [0.5, 0.75]);
    assert!(matches!(plain.warnings(), [Warning::TimeAsNumber { .. }]));
    let error = json_frame(r#"[{"ts": "2024-01-01"}, {"x": 1}]"#)
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(r#"a.json: row 2: time column "ts" holds "null""#),
        "{error}"
    );
}

#[test]
fn json_that_is_no_table_is_refused_with_its_place() {
    for (text, part) in [
        ("", "a.json: line 1: is not JSON"),
        ("{\"x\": 1}", "line 1: is not an array of objects"),
        ("[\n{\"x\": 1},\n7]", "line 3: is not an array of objects"),
        ("[{\"x\": 1},\n{\"x\": ]", "line 2: is not JSON"),
        ("[{\"x\": 1}] more", "is not JSON"),
        ("[]", "has no rows of data"),
        (
            "[{\"x\": 1}, {\"x\": [1, 2]}]",
            "row 2: column \"x\" holds a list or an object",
        ),
        (
            "[{\"x\": {\"y\": {}}}]",
            "row 1: column \"x\" holds a list or an object",
        ),
        ("[{\"x\": 1, \"x\": 2}]", "row 1: column \"x\" is given twice"),
    ] {
        let error = json_frame(text).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{text}: {error}");
    }
    let deep = format!("[{{\"x\": {}", "[".repeat(100_000));
    json_frame(&deep).unwrap_err();
    let rows: Vec<String> = (0..3_000).map(|row| format!("{{\"column{row}\":1}}")).collect();
    let error = json_frame(&format!("[{}]", rows.join(","))).unwrap_err().to_string();
    assert!(error.contains("nearly all of them empty"), "{error}");
}

#[test]
fn a_damaged_arrow_stream_is_refused() {
    let whole = written(DataFormat::Arrow);
    let read = |bytes: Vec<u8>| Frame::from_bytes(bytes, "a.arrow", DataFormat::Arrow, &ReadOptions::default());
    for bytes in [b"ARROW1 but no stream".to_vec(), whole[..40].to_vec(), Vec::new()] {
        let error = read(bytes).unwrap_err().to_string();
        assert!(
            error.contains("is no whole Arrow IPC stream") && !error.contains('\n'),
            "{error}"
        );
    }
}

#[test]
fn an_overview_has_figures_and_the_first_rows() {
    let frame = Frame::from_bytes(CSV, "a.csv", DataFormat::Csv, &ReadOptions::default()).unwrap();
    let overview = serde_json::to_value(frame.overview()).unwrap();
    assert_eq!(
        overview,
        json!({
            "rows": 3,
            "columns": [
                {"name": "time", "type": "time", "missing": 0},
                {"name": "x", "type": "number", "missing": 1, "min": -3.0, "max": 1.5, "mean": -0.75, "spark": [1.5, null, -3.0]},
                {"name": "kind", "type": "text", "missing": 1, "distinct": 2},
            ],
            "time": ["2024-01-01 00:00", "2024-01-01 02:00"],
            "gaps": {"step": "1 h", "count": 0, "missing_rows": 0, "longest": []},
            "head": [
                ["2024-01-01 00:00", 1.5, "a"],
                ["2024-01-01 01:00", null, "b"],
                ["2024-01-01 02:00", -3.0, null],
            ],
            "warnings": [],
        })
    );
    let long: String = (0..100).map(|i| format!("{i}\n")).collect();
    let frame = Frame::from_bytes(format!("x\n{long}"), "a.csv", DataFormat::Csv, &ReadOptions::default()).unwrap();
    assert_eq!(frame.overview().head.len(), 20);
    // 100 rows in 60 stretches of one or two.
    let spark = &frame.overview().columns[0].spark;
    assert_eq!((spark.len(), &spark[..4]), (60, &[0.5, 2.5, 4.0, 5.5].map(Some)[..]));
}

fn frame(text: &str) -> Frame {
    Frame::from_bytes(text.to_owned(), "a.csv", DataFormat::Csv, &ReadOptions::default()).unwrap()
}

#[test]
fn a_model_is_judged_in_its_own_scales_and_classes() {
    let rows: String = (0..10).map(|i| format!("{i},{}\n", ["b", "a"][i % 2])).collect();
    let mut spec = PrepareSpec::new(Task::Classification);
    spec.target = vec!["y".into()];
    let trained = Dataset::prepare(frame(&format!("x,y\n{rows}")), &spec).unwrap();
    let state = trained.preprocessing();

    // The same rows give the same test split.
    let again = state.evaluation_spec(spec.split);
    let judged = Dataset::for_evaluation(frame(&format!("x,y\n{rows}")), &again, state).unwrap();
    let batch = |data: &Dataset| data.gather(SplitName::Test, &[0, 1], DType::F64).unwrap();
    assert_eq!(batch(&judged), batch(&trained));
    assert_eq!(judged.preprocessing().classes, ["a", "b"]);

    // Other rows are seen with the eyes of the training.
    let all = state.evaluation_spec(trainyard_data::Split::Rows([0, 0, 2]));
    let judged = Dataset::for_evaluation(frame("y,x\nb,100\nb,200\n"), &all, state).unwrap();
    let fitted = &state.features[0];
    let expected = [100.0, 200.0].map(|x| (x - fitted.center) / fitted.scale);
    assert_eq!(batch(&judged).x.to_f64(), expected);
    assert_eq!(batch(&judged).y.unwrap().to_f64(), [1.0, 1.0]);

    let error = Dataset::for_evaluation(frame("x,y\n1,b\n2,c\n"), &all, state).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.csv: line 3: the model does not know the class \"c\": leave such rows out, or train with them"
    );
}

#[test]
fn a_forecast_is_judged_by_rows_of_another_file() {
    let rows = |from: i32, to: i32| -> String { (from..to).map(|i| format!("{i}\n")).collect() };
    let mut spec = PrepareSpec::new(Task::Forecasting);
    spec.window = Some(trainyard_data::Window {
        lookback: 3,
        horizon: 2,
    });
    let trained = Dataset::prepare(frame(&format!("x\n{}", rows(0, 40))), &spec).unwrap();
    let state = trained.preprocessing();
    let other = state.evaluation_spec("4/0/4".parse().unwrap());
    let judged = Dataset::for_evaluation(frame(&format!("x\n{}", rows(100, 108))), &other, state).unwrap();
    assert_eq!(judged.len(SplitName::Test), 3);
    let batch = judged.gather(SplitName::Test, &[0], DType::F64).unwrap();
    let fitted = &state.features[0];
    let expected: Vec<f64> = (101..104)
        .map(|x| (f64::from(x) - fitted.center) / fitted.scale)
        .collect();
    assert_eq!(batch.x.to_f64(), expected);
}
