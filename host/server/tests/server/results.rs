//! What came of trainings: runs, series, reports, files, predictions.

use crate::client::Answer;
use crate::fixture::Server;
use serde_json::{Value, json};
use std::io::Read;
use trainyard_data::DataFormat;
use trainyard_jobs::{PredictInput, SeriesPoint};

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_newest_first_and_read_by_name() {
    let server = Server::start().await;
    let model = server.model().await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = server.train(model).await;
        server.finish(&run).await;
        runs.insert(0, run);
    }
    let mut seen = Vec::new();
    let mut path = format!("/models/{model}/runs?limit=2");
    loop {
        let page = server.get(&path).await.data();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|run| run["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/models/{model}/runs?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, runs);
    let run = server.get(&format!("/models/{model}/runs/{}", runs[1])).await.data();
    assert_eq!(
        (&run["state"], &run["metrics"]["mse"]),
        (&json!("TRAINED"), &json!(0.5))
    );
    assert!(run.get("token").is_none(), "the fencing token is nobody's business");
    server
        .get(&format!("/models/{model}/runs/nope"))
        .await
        .refused(404, "not-found");
    let other = server
        .post("/models", json!({"name": "other", "plugin": "dlinear"}))
        .await
        .data()["id"]
        .clone();
    server
        .get(&format!("/models/{other}/runs/{}", runs[0]))
        .await
        .refused(404, "not-found");
    server.get("/models/99/runs").await.refused(404, "not-found");
    server
        .get(&format!("/models/{model}/runs?cursor=x"))
        .await
        .refused(400, "bad-query");
}

#[tokio::test(flavor = "multi_thread")]
async fn series_can_be_read_while_it_trains_and_are_thinned() {
    let server = Server::start().await;
    let model = server.model().await;
    let path = format!("/models/{model}/metrics");
    server.get(&path).await.refused(409, "no-run");
    let run = server.train(model).await;
    server.begin(&run).await;
    let point = |step: u64, name: &str, value| SeriesPoint {
        step,
        seconds: step as f64,
        name: name.into(),
        value,
    };
    let mut points: Vec<_> = (0..1000)
        .map(|step| point(step, "loss", 1.0 / (step + 1) as f64))
        .collect();
    points[500].value = 99.0;
    points.push(point(0, "accuracy", 0.5));
    server.series(&run, &points).await;
    let data = server.get(&path).await.data();
    assert_eq!(data["run_id"], run);
    let [accuracy, loss] = data["items"].as_array().unwrap().as_slice() else {
        panic!("{data}")
    };
    assert_eq!(accuracy, &json!({"name": "accuracy", "points": [[0, 0.0, 0.5]]}));
    let kept = loss["points"].as_array().unwrap();
    assert!(
        kept.len() <= 500 && kept.contains(&json!([500, 500.0, 99.0])),
        "{}",
        kept.len()
    );
    assert_eq!(
        (&kept[0], &kept[kept.len() - 1]),
        (&json!([0, 0.0, 1.0]), &json!([999, 999.0, 0.001]))
    );
    let one = server
        .get(&format!("{path}?name=loss&points=10&run={run}"))
        .await
        .data();
    assert!(one["items"][0]["points"].as_array().unwrap().len() <= 10);
    assert_eq!(one["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        server.get(&format!("{path}?name=nope")).await.data()["items"],
        json!([])
    );
    server.get(&format!("{path}?points=3")).await.refused(400, "bad-query");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_has_everything_on_one_page() {
    let server = Server::start().await;
    let model = server.model().await;
    let path = format!("/models/{model}/report");
    server.get(&path).await.refused(409, "no-run");
    let run = server.train(model).await;
    let waiting = server.get(&path).await.data();
    assert_eq!(
        (&waiting["run"]["state"], &waiting["worked_seconds"]),
        (&json!("PENDING"), &Value::Null)
    );
    let point = SeriesPoint {
        step: 0,
        seconds: 0.0,
        name: "loss".into(),
        value: 2.0,
    };
    server
        .series(
            &run,
            &[
                point.clone(),
                SeriesPoint {
                    step: 1,
                    value: 1.0,
                    ..point
                },
            ],
        )
        .await;
    server.finish(&run).await;
    let report = server.get(&path).await.data();
    assert_eq!(
        (&report["model"]["id"], &report["run"]["id"]),
        (&json!(model), &json!(run))
    );
    let metric = json!({"name": "mse", "value": 0.5, "summary": "mean squared error", "maximize": false});
    assert_eq!(report["metrics"], json!([metric]));
    let epochs = json!({"name": "epochs", "value": 10, "default": 10, "description": "How often the rows are seen"});
    assert_eq!(report["parameters"][0], epochs);
    let loss = json!({"name": "loss", "points": 2, "first": 2.0, "last": 1.0, "min": 1.0, "max": 2.0});
    assert_eq!(report["series"], json!([loss]));
    assert!(report["waited_seconds"].is_number() && report["worked_seconds"].is_number());
    assert_eq!(
        (&report["run"]["lineage"]["rows"], &report["log"]),
        (&json!(2), &json!([]))
    );

    let failed = server.train(model).await;
    server.log(model, &failed, "reading").await;
    server.fail(&failed, "row 7: no number").await;
    let report = server.get(&path).await.data();
    assert_eq!(report["run"]["error_log"], "row 7: no number");
    assert_eq!(report["log"][0]["message"], "reading");
    assert_eq!(
        server.get(&format!("{path}?run={run}")).await.data()["run"]["state"],
        "TRAINED"
    );
    server.get(&format!("{path}?run=nope")).await.refused(404, "not-found");
}

fn files(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    let mut files = Vec::new();
    for entry in tar::Archive::new(answer.body.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        files.push((name, content));
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_downloaded_as_an_archive_or_file_by_file() {
    let server = Server::start().await;
    let model = server.model().await;
    let path = format!("/models/{model}/artifact");
    server.get(&path).await.refused(409, "not-trained");
    let run = server.train(model).await;
    server
        .get(&format!("{path}?run={run}"))
        .await
        .refused(409, "not-trained");
    server.finish(&run).await;
    let archive = server.get(&path).await;
    assert_eq!(archive.header("content-type"), "application/x-tar");
    assert_eq!(
        archive.header("content-disposition"),
        format!("attachment; filename=\"model-{model}-{run}.tar\"")
    );
    let files = files(&archive);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["log.jsonl", "metadata.json", "model.safetensors"]);
    assert_eq!(files[2].1, "weights".repeat(100));

    let file = server.get(&format!("{path}?file=model.safetensors&run={run}")).await;
    assert_eq!(
        (file.text(), file.header("content-length")),
        ("weights".repeat(100), "700")
    );
    assert_eq!(
        file.header("content-disposition"),
        "attachment; filename=\"model.safetensors\""
    );
    assert_eq!(file.header("x-content-type-options"), "nosniff");
    for name in [
        "nope",
        "",
        ".",
        "..",
        "../../../trainyard.db",
        "/etc/passwd",
        "x%0d%0aset-cookie:%20a",
        "%22",
    ] {
        let answer = server.get(&format!("{path}?file={name}")).await;
        answer.refused(404, "not-found");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_any_form_get_a_prediction() {
    let server = Server::start().await;
    let model = server.model().await;
    let path = format!("/models/{model}/predict");
    server.post(&path, json!([{"a": 1}])).await.refused(409, "not-trained");
    let run = server.train(model).await;
    server.finish(&run).await;
    let asked = || {
        let (input, options) = server.compute.asked.lock().unwrap().take().unwrap();
        let PredictInput::Rows(rows) = input else {
            panic!("{input:?}")
        };
        (
            rows.format,
            String::from_utf8(rows.content.to_vec()).unwrap(),
            options.rolling,
        )
    };
    let predicted = server.post(&path, json!([{"a": 1}])).await.data();
    assert_eq!(
        (&predicted["columns"], &predicted["warnings"]),
        (&json!(["row", "y"]), &json!(["few rows"]))
    );
    assert_eq!(asked(), (DataFormat::Json, r#"[{"a":1}]"#.into(), false));
    server
        .post(
            &format!("{path}?rolling=true&run={run}"),
            json!({"rows": [{"a": 1}, {"a": null}]}),
        )
        .await
        .data();
    assert_eq!(asked(), (DataFormat::Json, r#"[{"a":1},{"a":null}]"#.into(), true));
    server
        .send("POST", &path, &[("content-type", "text/csv")], b"a\n1\n")
        .await
        .data();
    assert_eq!(asked(), (DataFormat::Csv, "a\n1\n".into(), false));
    for (kind, format) in [
        ("application/vnd.apache.parquet", DataFormat::Parquet),
        ("application/vnd.apache.arrow.stream", DataFormat::Arrow),
    ] {
        server
            .send("POST", &path, &[("content-type", kind)], b"bytes")
            .await
            .data();
        assert_eq!(asked().0, format);
    }
    let headers = [
        ("content-type", "text/csv"),
        ("accept", "text/html;q=0.1, text/csv;q=0.9"),
    ];
    let csv = server.send("POST", &path, &headers, b"a\n1\n").await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.text(), "row,y\n0,1.5\n1,\"a \"\"b\"\", c\"\n2,\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_table_gets_none() {
    let server = Server::start_with(|options, _| options.max_predict_bytes = 1000).await;
    let model = server.model().await;
    let run = server.train(model).await;
    server.finish(&run).await;
    let path = format!("/models/{model}/predict");
    for (body, status, error) in [
        (json!(7), 422, "invalid-body"),
        (json!([1]), 422, "invalid-body"),
        (json!({"row": []}), 422, "invalid-body"),
        (json!({"rows": 1}), 422, "invalid-body"),
        (json!({"rows": [[1]]}), 422, "invalid-body"),
        (json!([{"a": "x".repeat(2000)}]), 413, "too-large"),
    ] {
        server.post(&path, body).await.refused(status, error);
    }
    let json = [("content-type", "application/json")];
    server
        .send("POST", &path, &json, b"[{\"a\":1},")
        .await
        .refused(400, "malformed-json");
    server
        .send("POST", &path, &json, b"")
        .await
        .refused(400, "malformed-json");
    server
        .send("POST", &path, &[("content-type", "text/csv")], b"")
        .await
        .refused(422, "no-rows");
    server
        .send("POST", &path, &[("content-type", "text/html")], b"x")
        .await
        .refused(415, "unsupported-media-type");
    server
        .send("POST", &path, &[], b"x")
        .await
        .refused(415, "unsupported-media-type");
    server
        .post(&format!("{path}?rolling=yes"), json!([]))
        .await
        .refused(400, "bad-query");
    server
        .post(&format!("{path}?run=nope"), json!([]))
        .await
        .refused(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_is_judged_on_its_own_rows_or_on_others() {
    let server = Server::start().await;
    let model = server.model().await;
    let path = format!("/models/{model}/evaluate");
    server.post(&path, json!({})).await.refused(409, "not-trained");
    let run = server.train(model).await;
    server.finish(&run).await;
    let own = server.send("POST", &path, &[], b"").await.data();
    assert_eq!(own, json!({"metrics": {"mse": 0.25, "given": false}, "warnings": []}));
    let other = server.upload_csv("ts,a,b\n1,2,3\n").await["id"].clone();
    let dataset = json!({"source": "upload", "dataset_id": other});
    let judged = server.post(&path, json!({"dataset": dataset, "run": run})).await.data();
    assert_eq!(judged["metrics"]["given"], true);
    server
        .post(&path, json!({"dataset": {"source": "upload", "dataset_id": "x"}}))
        .await
        .refused(422, "no-such-dataset");
    server
        .post(&path, json!({"datset": 1}))
        .await
        .refused(422, "invalid-body");
}
