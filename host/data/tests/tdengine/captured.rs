//! What a real server held, read through its own bytes.

use crate::common::*;
use trainyard_data::{Dataset, PrepareSpec, SplitName, Task, Window};

async fn source() -> Option<(Server, Tdengine, tempfile::TempDir)> {
    let world = World::captured(&captures()?).unwrap();
    let server = Server::start(world).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Tdengine::new(options(&format!("{}/plant", server.dsn()), folder.path())).unwrap();
    Some((server, source, folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn etth1_equals_the_file_bit_for_bit() {
    let Some((_server, source, _folder)) = source().await else {
        return;
    };
    let fetched = fetch(&source, json!({"table": "transformer", "device_id": "etth1"}), None)
        .await
        .unwrap();
    assert_eq!((fetched.rows, fetched.name.as_str()), (17_420, "plant.transformer"));
    let read = frame(fetched);
    let file = captures().unwrap().join("../ETTh1.csv");
    let csv = Frame::read(&file, &ReadOptions::default()).unwrap();
    assert_eq!(read.time().unwrap().micros, csv.time().unwrap().micros);
    for (name, theirs) in ["hufl", "hull", "mufl", "mull", "lufl", "lull", "ot"]
        .iter()
        .zip(csv.columns())
    {
        let Values::Numeric(theirs) = &theirs.values else {
            panic!()
        };
        let ours = read.numbers(name).unwrap();
        assert!(
            ours.iter().map(|v| v.to_bits()).eq(theirs.iter().map(|v| v.to_bits())),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_request_reads_ts_and_value_with_the_nulls_where_they_were_put() {
    let Some((server, source, _folder)) = source().await else {
        return;
    };
    let request =
        json!({"device_id": "machine-7", "start_time": "2013-12-02T00:00:00Z", "end_time": "2014-02-28T00:00:00Z"});
    let fetched = fetch(&source, request, None).await.unwrap();
    let read = frame(fetched);
    assert_eq!(read.names(), ["ts", "value"]);
    // The bound is not read itself; the capture's, which was, has one row more.
    let csv = captures().unwrap().join("../machine_temperature_system_failure.csv");
    let csv = Frame::read(&csv, &ReadOptions::default()).unwrap();
    let mut expected: Vec<(i64, f64)> = Vec::new();
    let times = &csv.time().unwrap().micros;
    for (row, (time, value)) in times.iter().zip(csv.numbers("value").unwrap()).enumerate() {
        let value = if row % 97 == 5 { f64::NAN } else { *value };
        // Rows with a repeated time overwrite.
        match expected.iter_mut().rev().take(50).find(|(seen, _)| seen == time) {
            Some(seen) => seen.1 = value,
            None => expected.push((*time, value)),
        }
    }
    expected.sort_by_key(|(time, _)| *time);
    let end = 1_393_545_600_000_000;
    expected.retain(|(time, _)| (1_385_942_400_000_000..end).contains(time));
    assert_eq!(read.rows(), expected.len());
    for ((time, value), (ours, number)) in expected
        .iter()
        .zip(read.time().unwrap().micros.iter().zip(read.numbers("value").unwrap()))
    {
        assert_eq!((time, value.to_bits()), (ours, number.to_bits()));
    }
    assert!(server.statements().iter().all(|sql| !sql.contains("quality")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_comes_as_what_it_is() {
    let Some((_server, source, _folder)) = source().await else {
        return;
    };
    let request = json!({"database": "plant_us", "table": "alltypes"});
    let all = ["b", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f", "d", "s", "n"];
    let read = frame(fetch(&source, request, Some(&all)).await.unwrap());
    assert_eq!(
        read.time().unwrap().micros,
        [1_704_067_200_000_001, 1_704_067_200_000_002, 1_704_067_200_000_003]
    );
    let numbers = [
        ("b", 1.0, 0.0),
        ("i1", -8.0, -127.0),
        ("i2", -16.0, -32_767.0),
        ("i4", -32.0, -2_147_483_647.0),
        ("i8", -64.0, -9_223_372_036_854_775_807.0),
        ("u1", 8.0, 254.0),
        ("u2", 16.0, 65_534.0),
        ("u4", 32.0, 4_294_967_294.0),
        ("u8", 64.0, 18_446_744_073_709_551_614.0),
        ("f", 1.5, -0.5),
        ("d", 2.25, 1e300),
    ];
    for (name, first, last) in numbers {
        let values = read.numbers(name).unwrap();
        assert_eq!((values[0], values[2]), (first, last), "{name}");
        assert!(values[1].is_nan(), "{name}");
    }
    for (name, first) in [("s", "abc"), ("n", "温度")] {
        let Values::Text(texts) = &read.column(name).unwrap().values else {
            panic!()
        };
        assert_eq!((texts.get(0), texts.get(1)), (Some(first), None), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_ranges_give_the_same_file_as_one_large_one() {
    let Some((server, _, folder)) = source().await else {
        return;
    };
    let mut options = options(&format!("{}/plant", server.dsn()), folder.path());
    options.range_rows = 1_000;
    let many = Tdengine::new(options.clone()).unwrap();
    options.range_rows = 1_000_000;
    options.connections = 1;
    options.folder = folder.path().join("one");
    let one = Tdengine::new(options).unwrap();
    let request = json!({"table": "transformer", "device_id": "etth1"});
    let before = server.statements().len();
    let many = frame(fetch(&many, request.clone(), None).await.unwrap());
    let fetches = server.statements()[before..]
        .iter()
        .filter(|sql| sql.contains("order by"))
        .count();
    assert!((17..=40).contains(&fetches), "{fetches}");
    let one = frame(fetch(&one, request, None).await.unwrap());
    assert_eq!(many.time(), one.time());
    assert_eq!(many.columns(), one.columns());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_devices_train_without_windows_across_them() {
    let mut world = World::empty();
    for sql in [
        "create database plant",
        "create stable plant.meters (ts timestamp, y double) tags (device_id nchar(8))",
    ] {
        world.execute(sql).unwrap();
    }
    for device in 0..3 {
        let rows: String = (0..100)
            .map(|row| format!(" ({}, {}.0)", 1_000 * row, device * 1000 + row))
            .collect();
        world
            .execute(&format!(
                "insert into plant.d{device} using plant.meters tags ('d{device}') values{rows}"
            ))
            .unwrap();
    }
    let server = Server::start(world).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Tdengine::new(options(&server.dsn(), folder.path())).unwrap();
    let fetched = fetch(&source, json!({"database": "plant", "table": "meters"}), None)
        .await
        .unwrap();
    let spec = PrepareSpec {
        time: Some(fetched.time.clone()),
        device: fetched.device_column.clone(),
        window: Some(Window {
            lookback: 8,
            horizon: 2,
        }),
        scaling: trainyard_data::Scaling::None,
        ..PrepareSpec::new(Task::Forecasting)
    };
    let read = Frame::from_file(fetched.file, "plant.meters", DataFormat::Arrow, &spec.read_options()).unwrap();
    let dataset = Dataset::prepare(read, &spec).unwrap();
    assert_eq!(dataset.len(SplitName::Train), 3 * (70 - 9));
    assert_eq!(dataset.len(SplitName::Test), 3 * (20 - 1));
    for split in [SplitName::Train, SplitName::Validation, SplitName::Test] {
        let all: Vec<usize> = (0..dataset.len(split)).collect();
        let batch = dataset.gather(split, &all, trainyard_data::DType::F64).unwrap();
        for window in batch.x.to_f64().chunks(8) {
            assert!(window.windows(2).all(|pair| pair[1] - pair[0] == 1.0), "{window:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_left_out_and_refused_by_name() {
    let mut world = World::empty();
    for sql in [
        "create database plant",
        "create table plant.shapes (ts timestamp, y double, g geometry(64), v varbinary(16))",
        "insert into plant.shapes (ts, y) values (1000, 1.5)",
    ] {
        world.execute(sql).unwrap();
    }
    let server = Server::start(world).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Tdengine::new(options(&server.dsn(), folder.path())).unwrap();
    let request = json!({"database": "plant", "table": "shapes"});
    let read = frame(fetch(&source, request.clone(), None).await.unwrap());
    assert_eq!(read.names(), ["ts", "y"]);
    for (name, word) in [("g", "GEOMETRY"), ("v", "VARBINARY")] {
        let error = fetch(&source, request.clone(), Some(&[name]))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(name) && error.contains(word) && error.contains("leave it out"),
            "{error}"
        );
    }
    assert!(
        server
            .statements()
            .iter()
            .all(|sql| !sql.contains('*') || sql.contains("count(*)"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named_with_what_is() {
    let Some((_server, source, _folder)) = source().await else {
        return;
    };
    for (request, columns, code, words) in [
        (
            json!({"table": "transformer"}),
            vec!["OT"],
            "tdengine.not-found",
            vec!["\"OT\"", "did you mean ot?", "device_id"],
        ),
        (
            json!({"table": "transformer"}),
            vec!["nope"],
            "tdengine.not-found",
            vec!["plant.transformer", "\"nope\"", "hufl"],
        ),
        (
            json!({"table": "nope"}),
            vec![],
            "tdengine.refused",
            vec!["plant.nope: ", "Table does not exist"],
        ),
        (
            json!({"database": "nope", "table": "t"}),
            vec![],
            "tdengine.refused",
            vec!["Database not exist"],
        ),
        (
            json!({"table": "transformer", "tags": {"site": "x"}}),
            vec![],
            "tdengine.not-found",
            vec!["\"site\""],
        ),
        (
            json!({"table": "transformer", "device_id": "nobody"}),
            vec![],
            "tdengine.no-rows",
            vec!["nobody", "none at any time"],
        ),
        (
            json!({"table": "transformer", "start_time": "2024-01-01"}),
            vec![],
            "tdengine.no-rows",
            vec!["2016-07-01T00:00:00Z", "start_time"],
        ),
        (
            json!({"table": "transformer", "start_time": "2018-01-02", "end_time": "2018-01-01"}),
            vec![],
            "tdengine.bad-request",
            vec!["is not before"],
        ),
        (
            json!({"table": "transformer", "interval": "1h", "aggregate": {"nope": "avg"}}),
            vec![],
            "tdengine.bad-request",
            vec!["nope"],
        ),
    ] {
        let columns = (!columns.is_empty()).then_some(&columns[..]);
        let error = fetch(&source, request.clone(), columns).await.unwrap_err();
        assert_eq!(error.code(), code, "{request}: {error}");
        for word in words {
            assert!(error.to_string().contains(word), "{request}: {word}: {error}");
        }
        assert!(!error.to_string().contains('\n') && !error.to_string().contains("taosdata"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_one_row() {
    let Some((_server, source, _folder)) = source().await else {
        return;
    };
    let request = json!({
        "table": "transformer", "device_id": "etth1", "interval": "1d", "fill": "null",
        "start_time": "2016-07-01T00:00:00Z", "end_time": "2018-07-01T00:00:00Z",
    });
    let days = frame(fetch(&source, request, Some(&["ot"])).await.unwrap());
    assert_eq!(days.rows(), 730);
    let csv = Frame::read(&captures().unwrap().join("../ETTh1.csv"), &ReadOptions::default()).unwrap();
    let first: f64 = csv.numbers("OT").unwrap()[..24].iter().sum::<f64>() / 24.0;
    assert!((days.numbers("ot").unwrap()[0] - first).abs() < 1e-9);
}
