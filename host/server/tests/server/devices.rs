//! Data sets of devices: what is refused before any database hears of it, previews, predictions for them, and what becomes
//! of a database's troubles.

use crate::fixture::Server;
use serde_json::{Value, json};
use trainyard_jobs::{PredictInput, Source};

/// A data set of devices with a field more.
fn with(name: &str, value: Value) -> Value {
    let mut dataset = json!({"source": "tdengine"});
    dataset[name] = value;
    dataset
}

#[tokio::test(flavor = "multi_thread")]
async fn the_originals_three_fields_are_a_data_set() {
    let server = Server::start().await;
    let model = server.model().await;
    let given =
        json!({"device_id": "machine-7", "start_time": "2024-01-01 00:00:00", "end_time": "2024-02-01 00:00:00"});
    server
        .post(&format!("/models/{model}/train"), json!({"training_dataset": given}))
        .await
        .data();
    let run = server.get(&format!("/models/{model}/runs")).await.data()["items"][0].clone();
    let dataset = &run["training_dataset"];
    assert_eq!(
        (&dataset["source"], &dataset["table"], &dataset["time_zone"]),
        (&json!("tdengine"), &json!("device_data"), &json!("Asia/Shanghai")),
        "{dataset}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_database_could_read_is_refused_at_the_submit() {
    let server = Server::start().await;
    let model = server.model().await;
    let paths = [
        (format!("/models/{model}/train"), "training_dataset"),
        ("/datasets/preview".to_owned(), "dataset"),
    ];
    let range = |start: &str, end: &str| json!({"source": "tdengine", "start_time": start, "end_time": end});
    let refused = [
        (with("table", json!("device_data; drop database plant")), "no name"),
        (with("table", json!("a`b")), "no name"),
        (with("database", json!("plant.device_data")), "no name"),
        (with("columns", json!(["value", "count(*)"])), "no name"),
        (with("target", json!("value` from x --")), "no name"),
        (with("device_column", json!("sn = 1 or 1")), "no name"),
        (with("time", json!("ts, tbname")), "no name"),
        (with("tags", json!({"site' or '1'='1": "a"})), "no name"),
        (with("tags", json!({"site": []})), "empty list"),
        (with("device_id", json!("a\u{1}b")), "control character"),
        (with("device_id", json!([])), "empty list"),
        (with("start_time", json!("' or 1=1")), "no time"),
        (with("start_time", json!("2024-13-01")), "no time"),
        (with("time_zone", json!("Mars/Olympus")), "time_zone"),
        (with("interval", json!("10 m; drop")), "no interval"),
        (with("aggregate", json!("avg")), "needs an interval"),
        (with("fill", json!("linear")), "needs an interval"),
        (with("limit", json!(0)), "at least 1"),
        (with("sql", json!("select 1")), "no field"),
        (with("path", json!("a.csv")), "no field"),
        (with("start_time", json!("-9000000000000d")), "too long ago"),
        (range("2024-02-01", "2024-01-01"), "is not before"),
        (range("2024-01-01", "2024-01-01"), "is not before"),
        (range("2024-01-01T00:00:00Z", "2024-01-01 08:00:00"), "is not before"),
        (range("-1d", "-30d"), "is not before"),
        (
            json!({"source": "tdengine", "time_zone": "Europe/Berlin", "start_time": "2024-03-31 02:30:00"}),
            "does not exist",
        ),
    ];
    for (dataset, says) in &refused {
        for (path, field) in &paths {
            let mut body = json!({});
            body[field] = dataset.clone();
            let answer = server.post(path, body).await.refused(422, "invalid-dataset");
            assert!(
                answer["message"].as_str().unwrap().contains(says),
                "{dataset}: {answer}"
            );
        }
    }
    assert!(server.compute.looked.lock().unwrap().is_none(), "no worker heard of it");
    // These may hold rows when a worker reads them.
    for dataset in [
        range("-30d", "now"),
        range("now", "2999-01-01"),
        range("-1d", "2999-01-01"),
    ] {
        server
            .post("/datasets/preview", json!({"dataset": dataset}))
            .await
            .data();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_the_rows_are() {
    let server = Server::start().await;
    let report = server
        .post("/datasets/preview", json!({"dataset": {"device_id": "machine-7"}}))
        .await
        .data();
    assert_eq!((&report["rows"], &report["counted"]), (&json!(3), &json!(5)));
    assert_eq!(report["gaps"]["longest"][0]["to"], "2024-01-04");
    assert_eq!(report["columns"][0]["spark"], json!([1.0, null, 3.0]));
    let looked = server.compute.looked.lock().unwrap().take().unwrap();
    assert!(matches!(looked.source, Source::Tdengine(_)));
    for (body, error) in [
        (json!({}), "invalid-body"),
        (json!({"dataset": 7}), "invalid-dataset"),
        (json!({"dataset": {}}), "invalid-dataset"),
        (
            json!({"dataset": {"source": "upload", "dataset_id": "x"}}),
            "no-such-dataset",
        ),
        (json!({"dataset": {"device_id": "a"}, "rows": 1}), "invalid-body"),
    ] {
        server.post("/datasets/preview", body).await.refused(422, error);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_databases_troubles_are_not_the_requests_fault() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    server.finish(&run).await;
    for (code, status) in [
        ("tdengine.not-configured", 409),
        ("tdengine.login", 409),
        ("tdengine.connection", 502),
        ("tdengine.server", 502),
        ("tdengine.driver", 502),
        ("tdengine.garbled", 502),
        ("tdengine.incomplete", 502),
        ("tdengine.timeout", 504),
        ("tdengine.disk", 503),
        ("tdengine.not-found", 422),
        ("tdengine.no-rows", 422),
        ("tdengine.limit", 422),
        ("tdengine.permission", 422),
        ("data.no-rows", 422),
    ] {
        *server.compute.refuses.lock().unwrap() = Some(code);
        let body = json!({"dataset": {"device_id": "machine-7"}});
        server
            .post("/datasets/preview", body.clone())
            .await
            .refused(status, code);
        server
            .post(&format!("/models/{model}/predict"), body)
            .await
            .refused(status, code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_can_be_for_a_data_set_scored_and_written() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    server.finish(&run).await;
    let path = format!("/models/{model}/predict");
    let dataset = json!({"device_id": "machine-7", "start_time": "-7d"});
    let asked = || server.compute.asked.lock().unwrap().take().unwrap();

    let plain = server.post(&path, json!({"dataset": dataset})).await.data();
    assert!(plain.get("written").is_none(), "{plain}");
    let (input, options) = asked();
    assert!(matches!(input, PredictInput::Dataset(_)));
    assert!(!options.rolling && !options.score && options.sink.is_none());

    let body = json!({"dataset": dataset, "score": true, "sink": {"database": "plant", "table": "anomalies", "device_id": "m'7"}});
    assert_eq!(server.post(&path, body).await.data()["written"], 3);
    let (_, options) = asked();
    assert!(options.rolling && options.score, "a score is of the past");
    let sink = options.sink.unwrap();
    assert_eq!(
        (sink.table.as_str(), sink.device_id.as_deref()),
        ("anomalies", Some("m'7"))
    );
    let audit = server.get("/audit").await.data()["items"][0].clone();
    assert_eq!(
        (&audit["action"], &audit["details"]["rows"]),
        (&json!("write-prediction"), &json!(3)),
        "{audit}"
    );

    let rows = json!({"rows": [{"a": 1}], "score": true, "sink": {"table": "t"}});
    server.post(&format!("{path}?rolling=true"), rows.clone()).await.data();
    assert!(matches!(asked().0, PredictInput::Rows(_)));
    server.post(&path, rows).await.refused(422, "score-needs-rolling");
    server
        .post(
            &format!("{path}?rolling=false"),
            json!({"dataset": dataset, "score": true}),
        )
        .await
        .refused(422, "score-needs-rolling");
    for (body, error) in [
        (json!({}), "invalid-body"),
        (json!({"rows": [], "dataset": dataset}), "invalid-body"),
        (json!({"rows": null}), "invalid-body"),
        (json!({"dataset": dataset, "sink": {}}), "invalid-body"),
        (json!({"dataset": dataset, "sink": {"table": "a b"}}), "invalid-body"),
        (
            json!({"dataset": dataset, "sink": {"table": "a", "sql": 1}}),
            "invalid-body",
        ),
        (
            json!({"dataset": dataset, "sink": {"table": "a", "device_id": "\n"}}),
            "invalid-sink",
        ),
        (json!({"dataset": dataset, "scores": true}), "invalid-body"),
        (
            json!({"dataset": {"device_id": "a", "table": "a b"}}),
            "invalid-dataset",
        ),
    ] {
        server.post(&path, body).await.refused(422, error);
    }
    assert!(server.compute.asked.lock().unwrap().is_none());
}
