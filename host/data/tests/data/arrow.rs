//! Arrow streams of many small batches, as a database's rows are kept.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, types::Int32Type,
};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use trainyard_data::{DataError, DataFormat, Dataset, Duplicates, Frame, ReadOptions, SplitName, Values, Warning};

use crate::files::forecast;

fn batch(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, array)| (*name, Arc::clone(array), true)))
        .unwrap()
}

fn read(batches: &[RecordBatch]) -> Result<Frame, DataError> {
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    let bytes = writer.into_inner().unwrap();
    Frame::from_bytes(bytes, "a.arrow", DataFormat::Arrow, &ReadOptions::default())
}

fn numbers(frame: &Frame, name: &str) -> Vec<Option<f64>> {
    let values = frame.numbers(name).unwrap().iter();
    values
        .map(|value| Some(*value).filter(|value| !value.is_nan()))
        .collect()
}

fn texts<'a>(frame: &'a Frame, name: &str) -> Vec<Option<&'a str>> {
    let Values::Text(text) = &frame.column(name).unwrap().values else {
        panic!("{name} is numbers");
    };
    (0..frame.rows()).map(|row| text.get(row)).collect()
}

/// The second of three rows is NULL, whatever its buffer holds.
fn middle_missing() -> Option<NullBuffer> {
    Some(NullBuffer::from(vec![true, false, true]))
}

#[test]
fn what_stands_under_a_null_is_never_seen() {
    macro_rules! array {
        ($array:ident, $values:expr) => {
            Arc::new($array::new(
                ScalarBuffer::from($values.to_vec()),
                middle_missing(),
            )) as ArrayRef
        };
    }
    let columns = [
        ("f64", array!(Float64Array, [1.0, f64::INFINITY, -3.0])),
        ("f32", array!(Float32Array, [1.0, 1e30, -3.0])),
        ("i8", array!(Int8Array, [1, i8::MAX, -3])),
        ("i16", array!(Int16Array, [1, i16::MAX, -3])),
        ("i32", array!(Int32Array, [1, i32::MIN, -3])),
        ("i64", array!(Int64Array, [1, i64::MAX, -3])),
        ("u8", array!(UInt8Array, [1, 255, 3])),
        ("u16", array!(UInt16Array, [1, 9, 3])),
        ("u32", array!(UInt32Array, [1, 9, 3])),
        ("u64", array!(UInt64Array, [1, 9, 3])),
        (
            "bool",
            Arc::new(BooleanArray::new(vec![true, true, false].into(), middle_missing())) as ArrayRef,
        ),
    ];
    // Slices, so that neither values nor validity begin at the buffer's first bit.
    let whole = batch(&columns);
    let frame = read(&[whole.clone(), whole.slice(1, 2), whole.slice(0, 2)]).unwrap();
    for (name, _) in &columns {
        let last = match *name {
            "bool" => 0.0,
            name if name.starts_with('u') => 3.0,
            _ => -3.0,
        };
        let expected = [Some(1.0), None, Some(last), None, Some(last), Some(1.0), None];
        assert_eq!(numbers(&frame, name), expected, "{name}");
    }
}

#[test]
fn integers_become_the_nearest_number() {
    let wide = Arc::new(UInt64Array::from(vec![u64::MAX, 1 << 53]));
    let frame = read(&[batch(&[
        ("x", wide),
        ("y", Arc::new(Int64Array::from(vec![i64::MIN, -1]))),
    ])])
    .unwrap();
    assert_eq!(
        numbers(&frame, "x"),
        [Some(18_446_744_073_709_551_615.0), Some(9_007_199_254_740_992.0)]
    );
    assert_eq!(numbers(&frame, "y"), [Some(-9_223_372_036_854_775_808.0), Some(-1.0)]);
}

fn dictionary(keys: &[Option<i32>], texts: &[Option<&str>]) -> ArrayRef {
    let (keys, texts) = (Int32Array::from(keys.to_vec()), StringArray::from(texts.to_vec()));
    Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts)).unwrap())
}

#[test]
fn devices_of_a_dictionary_are_told_apart_by_their_text() {
    let of = |keys: &[Option<i32>], texts: &[Option<&str>]| batch(&[("device", dictionary(keys, texts))]);
    let all = [Some("unused"), Some("b"), None, Some("a"), Some("b")];
    let frame = read(&[
        of(&[Some(1), None, Some(2), Some(3)], &all),
        of(&[Some(4), Some(1)], &all),
        // Another dictionary, as a writer may send in the middle.
        of(&[Some(0), Some(1)], &[Some("a"), Some("c")]),
        of(&[None], &[]),
    ])
    .unwrap();
    assert_eq!(
        texts(&frame, "device"),
        [
            Some("b"),
            None,
            None,
            Some("a"),
            Some("b"),
            Some("b"),
            Some("a"),
            Some("c"),
            None
        ]
    );
    let Values::Text(text) = &frame.column("device").unwrap().values else {
        panic!()
    };
    assert_eq!(text.texts, ["b", "a", "c"]);
}

#[test]
fn timestamps_of_every_unit_are_the_same_moment() {
    let columns: [ArrayRef; 4] = [
        Arc::new(TimestampSecondArray::from(vec![1_700_000_000, -1])),
        Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_000, -1_000])),
        Arc::new(TimestampMicrosecondArray::from(vec![1_700_000_000_000_000, -1_000_000])),
        Arc::new(TimestampNanosecondArray::from(vec![
            1_700_000_000_000_000_000,
            -1_000_000_000,
        ])),
    ];
    for column in columns {
        let frame = read(&[batch(&[("ts", column)])]).unwrap();
        assert_eq!(frame.time().unwrap().micros, [1_700_000_000_000_000, -1_000_000]);
        assert_eq!(frame.warnings(), []);
    }
    let far = Arc::new(TimestampMillisecondArray::from(vec![0, i64::MAX]));
    let error = read(&[batch(&[("ts", far)])]).unwrap_err().to_string();
    assert!(
        error.starts_with(r#"a.arrow: row 2: time column "ts" holds "9223372036854775807""#),
        "{error}"
    );
    let missing = TimestampNanosecondArray::new(ScalarBuffer::from(vec![0, 1, 2]), middle_missing());
    let first = batch(&[("ts", Arc::new(TimestampNanosecondArray::from(vec![0, 1])))]);
    let error = read(&[first, batch(&[("ts", Arc::new(missing))])])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(r#"a.arrow: row 4: time column "ts" holds "NULL""#),
        "{error}"
    );
}

#[test]
fn nanoseconds_within_one_microsecond_count_as_one_time() {
    let nanos = [
        1_000, 2_000, 2_001, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000, 9_000, 10_000,
    ];
    let x = Float64Array::from_iter_values((0..11).map(f64::from));
    let times = TimestampNanosecondArray::from(nanos.to_vec());
    let frame = read(&[batch(&[("ts", Arc::new(times)), ("x", Arc::new(x))])]).unwrap();
    assert_eq!(frame.warnings(), [Warning::FinerTimes { column: "ts".into() }]);
    let mut spec = forecast(1, 1);
    let error = Dataset::prepare(frame.clone(), &spec).unwrap_err().to_string();
    assert!(
        error.starts_with("a.arrow: row 2 and row 3 have the same time 1970-01-01 00:00:00.000002 to the microsecond, which is as fine as times are kept (1 rows"),
        "{error}"
    );
    spec.duplicates = Duplicates::Last;
    let data = Dataset::prepare(frame, &spec).unwrap();
    assert_eq!(data.summary().rows, 10);
    assert_eq!(data.rows(SplitName::Train), 6);
}
