//! Files as spreadsheets, pandas and databases write them.

use std::{fs::File, sync::Arc};

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Int64Array, ListArray,
    RecordBatch, StringArray, TimestampMillisecondArray, types::Int32Type,
};
use parquet::arrow::ArrowWriter;
use trainyard_data::{Frame, ReadOptions, TimeFormat, Values, Warning, format_time};

use crate::files::TestFile;

fn read(file: &TestFile) -> Frame {
    Frame::read(&file.path(), &ReadOptions::default()).unwrap()
}

fn numbers(frame: &Frame, name: &str) -> Vec<Option<f64>> {
    frame
        .numbers(name)
        .unwrap()
        .iter()
        .map(|&v| (!v.is_nan()).then_some(v))
        .collect()
}

fn texts<'a>(frame: &'a Frame, name: &str) -> Vec<Option<&'a str>> {
    match &frame.column(name).unwrap().values {
        Values::Text(text) => (0..frame.rows()).map(|row| text.get(row)).collect(),
        Values::Numeric(numbers) => panic!("{numbers:?}"),
    }
}

#[test]
fn the_separator_is_found_out() {
    for (name, content) in [
        ("a.csv", "x,y\n1,2\n"),
        ("a.csv", "x;y\n1;2\n"),
        ("a.csv", "x\ty\n1\t2\n"),
        ("a.tsv", "x\ty\n1\t2\n"),
        ("A.CSV", "x,y\r\n1,2"),
        ("a.csv", "\u{feff}x,y\n 1 ,\"2\"\n"),
        ("a.csv", "\"x\",\"y\"\n1,2\n\n"),
    ] {
        let frame = read(&TestFile::new(name, content));
        assert_eq!(frame.names(), ["x", "y"], "{content:?}");
        assert_eq!(
            [frame.numbers("x").unwrap(), frame.numbers("y").unwrap()],
            [[1.0], [2.0]],
            "{content:?}"
        );
    }
    let frame = read(&TestFile::csv("\"a,b,c\";y\n1;2\n"));
    assert_eq!(frame.names(), ["a,b,c", "y"]);
    assert_eq!(read(&TestFile::csv("x\n1\n2\n")).rows(), 2);
}

#[test]
fn missing_values_are_written_in_many_ways() {
    let frame = read(&TestFile::csv(
        "x,y\n1,a\n,\nNA,NA\nn/a,b\nNaN,a\nnan,\nNULL,null\nNone,-\n-,x\n-2,y\n",
    ));
    assert_eq!(
        numbers(&frame, "x"),
        [Some(1.0), None, None, None, None, None, None, None, None, Some(-2.0)]
    );
    assert_eq!(
        texts(&frame, "y"),
        [
            Some("a"),
            None,
            None,
            Some("b"),
            Some("a"),
            None,
            None,
            None,
            Some("x"),
            Some("y")
        ]
    );
    let frame = read(&TestFile::csv("x,y\n,a\nNA,b\n3,c\n"));
    assert_eq!(numbers(&frame, "x"), [None, None, Some(3.0)]);
}

#[test]
fn numbers_are_read_to_their_last_bit() {
    let frame = read(&TestFile::csv("x\n0.1\n1e-3\n-1.5E+2\n+7\n.5\n123456789012345678\n"));
    assert_eq!(
        frame.numbers("x").unwrap(),
        [0.1, 1e-3, -150.0, 7.0, 0.5, 123_456_789_012_345_680.0]
    );
}

#[test]
fn a_column_of_labels_may_be_numbers_at_first() {
    let frame = read(&TestFile::csv("x,code\n1,007\n2,B\n3,C\n"));
    assert_eq!(texts(&frame, "code"), [Some("007"), Some("B"), Some("C")]);
    assert_eq!(frame.numbers("code").unwrap_err().code(), "data.not-numeric");
    let frame = read(&TestFile::csv("x,code\n1,007\n2,8\n3,C\n"));
    assert_eq!(frame.numbers("code").unwrap_err().code(), "data.text-in-number");
}

#[test]
fn columns_without_a_name_are_ignored_with_a_warning() {
    let frame = read(&TestFile::csv(",x,\n0,5,\n1,6,\n"));
    assert_eq!(frame.names(), ["x"]);
    assert_eq!(frame.warnings(), [Warning::Unnamed { positions: vec![1, 3] }]);
}

#[test]
fn the_time_is_the_first_column_if_name_and_content_say_so() {
    for name in ["ts", "time", "Date", "datetime", "TIMESTAMP"] {
        let frame = read(&TestFile::csv(format!("{name},x\n2024-01-01 00:00,1\n")));
        assert_eq!(frame.time().map(|time| time.name.as_str()), Some(name));
    }
    assert!(read(&TestFile::csv("when,x\n2024-01-01,1\n")).time().is_none());
    assert!(read(&TestFile::csv("x,time\n1,2024-01-01\n")).time().is_none());
    let frame = read(&TestFile::csv("time,x\n0,1\n1,2\n"));
    assert_eq!(frame.numbers("time").unwrap(), [0.0, 1.0]);
    assert_eq!(frame.warnings(), [Warning::TimeAsNumber { column: "time".into() }]);
}

#[test]
fn only_the_columns_asked_for_are_read() {
    let file = TestFile::csv("t,x,y,bad\n2024-01-01,1,2,3\n2024-01-02,1,2,oops\n");
    let options = ReadOptions {
        time: Some("t".into()),
        columns: Some(vec!["y".into()]),
        device: None,
    };
    let frame = Frame::read(&file.path(), &options).unwrap();
    assert_eq!(frame.names(), ["t", "y"]);
    let options = ReadOptions {
        time: None,
        columns: Some(vec!["z".into()]),
        device: None,
    };
    assert_eq!(
        Frame::read(&file.path(), &options).unwrap_err().code(),
        "data.no-such-column"
    );
}

/// A Parquet file of these columns, in two row groups.
fn parquet(columns: &[(&str, ArrayRef)]) -> TestFile {
    let batch = RecordBatch::try_from_iter(columns.iter().map(|(name, array)| (*name, Arc::clone(array)))).unwrap();
    let file = TestFile::new("machine.parquet", "");
    let mut writer = ArrowWriter::try_new(File::create(file.path()).unwrap(), batch.schema(), None).unwrap();
    let half = batch.num_rows() / 2;
    writer.write(&batch.slice(0, half)).unwrap();
    writer.flush().unwrap();
    writer.write(&batch.slice(half, batch.num_rows() - half)).unwrap();
    writer.close().unwrap();
    file
}

fn column<A: arrow_array::Array + 'static>(array: A) -> ArrayRef {
    Arc::new(array)
}

#[test]
fn parquet_columns_of_every_kind_become_numbers_text_or_time() {
    let hours = [0, 3_600_000, 7_200_000];
    let frame = read(&parquet(&[
        ("integers", column(Int64Array::from(vec![Some(1), None, Some(3)]))),
        ("floats", column(Float32Array::from(vec![0.5, 1.5, f32::NAN]))),
        (
            "switch",
            column(BooleanArray::from(vec![Some(true), Some(false), None])),
        ),
        (
            "price",
            column(
                Decimal128Array::from(vec![150, 275, -5])
                    .with_precision_and_scale(10, 2)
                    .unwrap(),
            ),
        ),
        ("state", column(StringArray::from(vec![Some("ok"), None, Some("worn")]))),
        (
            "line",
            column(["a", "b", "a"].into_iter().collect::<DictionaryArray<Int32Type>>()),
        ),
        (
            "list",
            column(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
                Some(vec![Some(
                    1
                )]);
                3
            ])),
        ),
        ("at", column(TimestampMillisecondArray::from(hours.to_vec()))),
    ]));
    assert_eq!(numbers(&frame, "integers"), [Some(1.0), None, Some(3.0)]);
    assert_eq!(numbers(&frame, "floats"), [Some(0.5), Some(1.5), None]);
    assert_eq!(numbers(&frame, "switch"), [Some(1.0), Some(0.0), None]);
    assert_eq!(numbers(&frame, "price"), [Some(1.5), Some(2.75), Some(-0.05)]);
    assert_eq!(texts(&frame, "state"), [Some("ok"), None, Some("worn")]);
    assert_eq!(texts(&frame, "line"), [Some("a"), Some("b"), Some("a")]);
    assert_eq!(
        frame.warnings(),
        [Warning::OtherType {
            columns: vec!["list".into()]
        }]
    );
    let time = frame.time().unwrap();
    assert_eq!((time.name.as_str(), time.guessed), ("at", true));
    let written: Vec<String> = time
        .micros
        .iter()
        .map(|&micros| format_time(micros, time.format))
        .collect();
    assert_eq!(
        written,
        ["1970-01-01 00:00:00", "1970-01-01 01:00:00", "1970-01-01 02:00:00"]
    );
    let error = frame.numbers("state").unwrap_err();
    assert!(error.to_string().contains("row 1"), "{error}");
}

#[test]
fn a_data_frame_as_pandas_stores_it_can_be_read() {
    let file = TestFile::new("frame.parquet", include_bytes!("../reference/frame.parquet"));
    let frame = read(&file);
    assert_eq!(frame.names(), ["date", "flow", "count", "open", "site", "note"]);
    assert_eq!(
        numbers(&frame, "flow"),
        [Some(1.5), None, Some(3.5), Some(4.5), Some(5.5)]
    );
    assert_eq!(
        numbers(&frame, "count"),
        [Some(1.0), Some(2.0), None, Some(4.0), Some(5.0)]
    );
    assert_eq!(
        numbers(&frame, "open"),
        [Some(1.0), Some(0.0), Some(1.0), Some(1.0), Some(0.0)]
    );
    assert_eq!(
        texts(&frame, "site"),
        [Some("A"), Some("B"), Some("A"), None, Some("B")]
    );
    assert_eq!(
        texts(&frame, "note"),
        [Some("x"), None, Some("y"), Some("y"), Some("x")]
    );
    let time = frame.time().unwrap();
    assert_eq!(format_time(time.micros[1], time.format), "2024-02-29 23:15:00Z");
}

#[test]
fn parquet_times_may_be_dates_texts_or_counts() {
    let x = || ("x", column(Int64Array::from(vec![1, 2])));
    let frame = read(&parquet(&[
        x(),
        ("day", column(Date32Array::from(vec![19_723, 19_724]))),
    ]));
    let time = frame.time().unwrap();
    assert_eq!(format_time(time.micros[1], time.format), "2024-01-02");
    let frame = read(&parquet(&[
        ("time", column(StringArray::from(vec!["2024-01-01", "2024-01-02"]))),
        x(),
    ]));
    assert_eq!(frame.time().unwrap().micros[0], 1_704_067_200_000_000);
    let file = parquet(&[
        x(),
        (
            "t",
            column(Int64Array::from(vec![1_704_067_200_000, 1_704_067_260_000])),
        ),
    ]);
    let options = ReadOptions {
        time: Some("t".into()),
        columns: None,
        device: None,
    };
    let frame = Frame::read(&file.path(), &options).unwrap();
    assert_eq!(frame.time().unwrap().format, TimeFormat::Epoch { per_second: 1_000 });
    assert_eq!(frame.names(), ["t", "x"]);
}

#[test]
fn a_missing_time_in_parquet_names_its_row() {
    let file = parquet(&[
        (
            "at",
            column(TimestampMillisecondArray::from(vec![Some(0), Some(1), None])),
        ),
        ("x", column(Int64Array::from(vec![1, 2, 3]))),
    ]);
    let error = Frame::read(&file.path(), &ReadOptions::default()).unwrap_err();
    assert!(
        file.message(&error)
            .starts_with(r#"machine.parquet: row 3: time column "at" holds "NULL""#),
        "{error}"
    );
}

#[test]
fn csv_and_parquet_of_the_same_data_have_the_same_fingerprint() {
    let csv = TestFile::csv("date,x\n2024-01-01,1\n2024-01-02,\n2024-01-03,3\n2024-01-04,4\n");
    let parquet = parquet(&[
        ("date", column(Date32Array::from(vec![19_723, 19_724, 19_725, 19_726]))),
        ("x", column(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]))),
    ]);
    let mut spec = crate::files::forecast(1, 1);
    spec.split = "1/0/0".parse().unwrap();
    let print = |file: &TestFile| {
        trainyard_data::Dataset::open(&file.path(), &spec)
            .unwrap()
            .fingerprint()
            .to_owned()
    };
    assert_eq!(print(&csv), print(&parquet));
}
