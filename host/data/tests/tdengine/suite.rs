//! What holds of every TDengine server: run against the stand-in, and against a real one where `TDENGINE_DSN` names it.
//!
//! The suite makes databases of its own, fills them by statements, reads them by queries, compares every value, and drops
//! them.

use crate::common::*;
use std::fmt::Write;
use taos::{AsyncQueryable, AsyncTBuilder, Taos, TaosBuilder};
use trainyard_data::tdengine::{Sink, SinkColumn, SinkRows};
use trainyard_test_tdengine::{Server, World};

const ROWS: i64 = 5_000;

/// The value of a row; what is missing is left out on purpose.
fn value(device: i64, row: i64) -> Option<f64> {
    ((row + device) % 97 != 5).then(|| ((row * 37 + device * 11) % 1009) as f64 / 7.0)
}

async fn connect(dsn: &str) -> Taos {
    TaosBuilder::from_dsn(dsn).unwrap().build().await.unwrap()
}

async fn fill(taos: &Taos, database: &str, precision: &str, start: i64, step: i64) {
    taos.exec(format!("drop database if exists {database}")).await.unwrap();
    // Without keep, rows older than ten years are refused.
    taos.exec(format!(
        "create database {database} vgroups 1 keep 36500 precision '{precision}'"
    ))
    .await
    .unwrap();
    taos.exec(format!(
        "create stable {database}.meters (ts timestamp, `value` double, quality int, note nchar(16)) tags (device_id nchar(32), site varchar(16), line int)"
    ))
    .await
    .unwrap();
    for (device, (name, site)) in DEVICES.iter().enumerate() {
        let device = device as i64;
        for batch in 0..ROWS / 500 {
            let mut sql = format!(
                "insert into {database}.d{device} using {database}.meters tags ('{}', '{site}', {device}) values",
                name.replace('\\', "\\\\").replace('\'', "\\'")
            );
            for row in batch * 500..(batch + 1) * 500 {
                let value = value(device, row).map_or("NULL".to_owned(), |value| format!("{value:?}"));
                let note = if row % 5 == 0 {
                    format!("'第{row}'")
                } else {
                    "NULL".into()
                };
                write!(sql, " ({}, {value}, {row}, {note})", start + row * step).unwrap();
            }
            taos.exec(sql).await.unwrap();
        }
    }
}

/// One of them has a name that would end a statement early, were it not escaped.
const DEVICES: [(&str, &str); 3] = [("m-1", "north"), ("it's \\ m", "south"), ("m-3", "north")];

/// The whole suite. `name` is for the databases.
async fn holds(dsn: &str, name: &str) {
    let taos = connect(dsn).await;
    for (precision, per_second) in [("ms", 1_000), ("us", 1_000_000), ("ns", 1_000_000_000)] {
        let database = format!("{name}_{precision}");
        let start = 1_700_000_000 * per_second;
        let step = per_second * 10;
        fill(&taos, &database, precision, start, step).await;
        let folder = tempfile::tempdir().unwrap();
        let mut small = options(dsn, folder.path());
        small.range_rows = 700;
        let source = Tdengine::new(small).unwrap();

        reads_one_device(&source, &database).await;
        reads_several_devices(&source, &database).await;
        reads_ranges_and_windows(&source, &database).await;
        writes_back(&source, &database).await;
        let report = source.check().await.unwrap();
        assert!(
            report.version.starts_with('3') && report.database_found.is_none(),
            "{report:?}"
        );
        let named = |name: &str| Tdengine::new(options(&format!("{dsn}/{name}"), folder.path())).unwrap();
        assert_eq!(named(&database).check().await.unwrap().database_found, Some(true));
        assert_eq!(named("nowhere").check().await.unwrap().database_found, Some(false));
        taos.exec(format!("drop database {database}")).await.unwrap();
    }
}

async fn reads_one_device(source: &Tdengine, database: &str) {
    for (device, (name, _)) in DEVICES.iter().enumerate() {
        let request = json!({"database": database, "table": "meters", "device_id": name});
        let fetched = fetch(source, request, Some(&["value", "quality", "note"]))
            .await
            .unwrap();
        assert_eq!((fetched.rows, fetched.counted), (ROWS as u64, ROWS as u64));
        let frame = frame(fetched);
        let times: Vec<i64> = (0..ROWS).map(|row| (1_700_000_000 + row * 10) * 1_000_000).collect();
        assert_eq!(frame.time().unwrap().micros, times);
        let values = frame.numbers("value").unwrap();
        for row in 0..ROWS {
            let expected = value(device as i64, row).unwrap_or(f64::NAN);
            assert_eq!(values[row as usize].to_bits(), expected.to_bits(), "{name}, row {row}");
        }
        assert!(
            frame
                .numbers("quality")
                .unwrap()
                .iter()
                .zip(0..)
                .all(|(value, row)| *value == f64::from(row))
        );
        let Values::Text(notes) = &frame.column("note").unwrap().values else {
            panic!()
        };
        for row in 0..ROWS as usize {
            assert_eq!(
                notes.get(row).map(str::to_owned),
                (row % 5 == 0).then(|| format!("第{row}"))
            );
        }
    }
}

async fn reads_several_devices(source: &Tdengine, database: &str) {
    for (filter, expected) in [
        (json!({}), vec!["it's \\ m", "m-1", "m-3"]),
        (json!({"device_id": ["m-3", "m-1"]}), vec!["m-3", "m-1"]),
        (json!({"tags": {"site": "north"}}), vec!["m-1", "m-3"]),
        (json!({"tags": {"line": [1, 2]}}), vec!["it's \\ m", "m-3"]),
        (json!({"device_id": ["m-1", "m-4", "m-3"]}), vec!["m-1", "m-3"]),
    ] {
        let mut request = json!({"database": database, "table": "meters"});
        request
            .as_object_mut()
            .unwrap()
            .extend(filter.as_object().unwrap().clone());
        let fetched = fetch(source, request, Some(&["value"])).await.unwrap();
        let devices: Vec<_> = fetched.devices.iter().map(|device| device.name.clone()).collect();
        assert_eq!(devices, expected, "{filter}");
        let told = fetched
            .notes
            .iter()
            .any(|note| note.contains("a device without rows") && note.contains("m-4"));
        assert_eq!(told, filter.to_string().contains("m-4"), "{:?}", fetched.notes);
        assert_eq!(fetched.device_column.as_deref(), Some("device_id"));
        let frame = frame(fetched);
        assert_eq!(frame.rows(), ROWS as usize * expected.len());
        let Values::Text(column) = &frame.column("device_id").unwrap().values else {
            panic!()
        };
        for (device, name) in expected.iter().enumerate() {
            let number = DEVICES.iter().position(|(known, _)| known == name).unwrap() as i64;
            for row in [0, 4, 5, ROWS - 1] {
                let at = device * ROWS as usize + row as usize;
                assert_eq!(column.get(at), Some(*name));
                let expected = value(number, row).unwrap_or(f64::NAN);
                assert_eq!(frame.numbers("value").unwrap()[at].to_bits(), expected.to_bits());
            }
        }
    }
}

async fn reads_ranges_and_windows(source: &Tdengine, database: &str) {
    let start = 1_700_000_000;
    // Half-open: the row at the end is not read.
    let request = json!({"database": database, "table": "meters", "device_id": "m-1", "start_time": start + 100, "end_time": start + 200});
    let frame_of = |fetched| frame(fetched);
    let some = frame_of(fetch(source, request, Some(&["quality"])).await.unwrap());
    assert_eq!(
        some.numbers("quality").unwrap(),
        [10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0]
    );

    let request = json!({"database": database, "table": "meters", "device_id": "m-1", "limit": 1500});
    let some = frame_of(fetch(source, request, Some(&["quality"])).await.unwrap());
    assert_eq!(some.rows(), 1500);
    assert_eq!(some.numbers("quality").unwrap()[1499], 1499.0);

    // Windows of a minute, of six rows each; the start is a whole minute less 20 s.
    let request = json!({
        "database": database, "table": "meters", "device_id": "m-1", "interval": "1m",
        "aggregate": {"quality": "sum", "value": "count"},
    });
    let windows = frame_of(
        fetch(source, request.clone(), Some(&["quality", "value"]))
            .await
            .unwrap(),
    );
    let minute = |row: i64| (start + row * 10).div_euclid(60) * 60;
    let mut expected: Vec<(i64, f64, f64)> = Vec::new();
    for row in 0..ROWS {
        if expected.last().is_none_or(|(time, ..)| *time != minute(row)) {
            expected.push((minute(row), 0.0, 0.0));
        }
        let last = expected.last_mut().unwrap();
        (last.1, last.2) = (
            last.1 + row as f64,
            last.2 + f64::from(u8::from(value(0, row).is_some())),
        );
    }
    let times: Vec<i64> = expected.iter().map(|(time, ..)| time * 1_000_000).collect();
    assert_eq!(windows.time().unwrap().micros, times);
    let sums: Vec<f64> = expected.iter().map(|(_, sum, _)| *sum).collect();
    assert_eq!(windows.numbers("quality").unwrap(), sums);
    let counts: Vec<f64> = expected.iter().map(|(.., count)| *count).collect();
    assert_eq!(windows.numbers("value").unwrap(), counts);

    // Five seconds: every other window is empty.
    for (fill, second) in [
        (json!("null"), f64::NAN),
        (json!({"value": -1}), -1.0),
        (json!("previous"), 0.0),
        (json!("linear"), 0.5),
    ] {
        let request = json!({
            "database": database, "table": "meters", "device_id": "m-1", "interval": "5s", "fill": fill,
            "start_time": start, "end_time": start + 60, "aggregate": "avg",
        });
        let filled = frame_of(fetch(source, request, Some(&["quality"])).await.unwrap());
        let values = filled.numbers("quality").unwrap();
        assert_eq!((values.len(), values[0]), (12, 0.0), "{fill}");
        assert!(
            values[1] == second || values[1].is_nan() && second.is_nan(),
            "{fill}: {}",
            values[1]
        );
    }
}

async fn writes_back(source: &Tdengine, database: &str) {
    let sink: Sink =
        serde_json::from_value(json!({"database": database, "table": "forecasts", "device_id": "it's"})).unwrap();
    let rows = SinkRows {
        run_id: "6ff8b2f0-run".into(),
        model_id: 7,
        times: (0..2_500).map(|row| (1_700_000_000 + row) * 1_000_000).collect(),
        columns: vec![
            (
                "value".into(),
                SinkColumn::Numbers(
                    (0..2_500)
                        .map(|row| if row == 3 { f64::NAN } else { f64::from(row) / 3.0 })
                        .collect(),
                ),
            ),
            (
                "class".into(),
                SinkColumn::Texts((0..2_500).map(|row| format!("'{row}\\")).collect()),
            ),
        ],
    };
    // Twice: the second overwrites the first.
    for _ in 0..2 {
        assert_eq!(source.write(&sink, &rows).await.unwrap(), 2_500);
    }
    let request =
        json!({"database": database, "table": "forecasts", "tags": {"run_id": "6ff8b2f0-run", "device_id": "it's"}});
    let fetched = fetch(source, request, Some(&["value", "class"])).await.unwrap();
    assert_eq!(fetched.rows, 2_500);
    let frame = frame(fetched);
    let values = frame.numbers("value").unwrap();
    assert!(values[3].is_nan());
    assert!(
        (0..2_500)
            .filter(|row| *row != 3)
            .all(|row| values[row] == row as f64 / 3.0)
    );
    let Values::Text(classes) = &frame.column("class").unwrap().values else {
        panic!()
    };
    assert_eq!(classes.get(77), Some("'77\\"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_of_the_stand_in() {
    let server = Server::start(World::empty()).await.unwrap();
    holds(&server.dsn(), "trainyard_suite").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_of_a_real_server() {
    let Ok(dsn) = std::env::var("TDENGINE_DSN") else {
        println!("skipped: TDENGINE_DSN names no server (ws://user:password@host:6041)");
        return;
    };
    holds(&dsn, &format!("trainyard_suite_{}", std::process::id())).await;
}
