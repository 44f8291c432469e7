//! Rows of devices from TDengine, and predictions back to it.

use crate::harness::{plugin, root};
use crate::stand_in::{StandIn, done, meters, trainyard};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use trainyard_test_tdengine::{Fault, On, Then};

#[test]
fn etth1_from_tdengine_trains_as_the_file_does_and_its_rows_are_counted_as_they_come() {
    let (Some(stand_in), Some(dlinear)) = (StandIn::captured(), plugin("dlinear")) else {
        return;
    };
    for after in 0..5 {
        let query = "`ot`".to_owned();
        let slow = Then::Delay(Duration::from_millis(300));
        stand_in.server().fault(Fault::once(On::Block { query, after }, slow));
    }
    let service = stand_in.service(&[]);
    service.upload_plugin(&dlinear);
    let prepared = json!({"lookback": 96, "horizon": 24, "split": "8640/2880/2880"});
    let with = |source: Value| {
        let mut whole = prepared.clone();
        whole
            .as_object_mut()
            .unwrap()
            .extend(source.as_object().unwrap().clone());
        whole
    };
    let parameters = json!({"epochs": 1});
    let dataset = with(json!({"source": "tdengine", "table": "transformer", "end_time": "2018-07-01", "target": "ot"}));
    let id = service.create_model("etth1", "dlinear", &dataset, &parameters);
    let run = service.train(id, &json!({"seed": 1}));
    let events: Vec<_> = service
        .stream(&format!("/api/v2/ai/models/{id}/logs/stream?after=1"), &[])
        .collect();
    let model = service.wait_for(id, &["TRAINED"]);
    assert_eq!(model["task_id"], json!(run));
    let counts: Vec<u64> = events
        .iter()
        .filter(|event| event.name == "progress" && event.data["total"] == 17_420)
        .map(|event| event.data["current"].as_u64().unwrap())
        .collect();
    assert!(
        counts.len() >= 2 && counts.is_sorted() && counts.iter().any(|count| (1..17_420).contains(count)),
        "{counts:?}"
    );
    let log = service.get(&format!("/api/v2/ai/models/{id}/artifact?file=log.jsonl"));
    let log = String::from_utf8(log.bytes).unwrap();
    assert!(log.contains("plant.transformer: 17420 rows fetched"), "{log}");

    let csv = std::fs::read_to_string(root().join("../shared/data/ETTh1.csv")).unwrap();
    let upload = service.upload_csv("ETTh1.csv", &csv);
    let dataset = with(json!({"source": "upload", "dataset_id": upload, "target": "OT"}));
    let other = service.create_model("file", "dlinear", &dataset, &parameters);
    service.train(other, &json!({"seed": 1}));
    let other = service.wait_for(other, &["TRAINED"]);
    assert_eq!(model["metrics"], other["metrics"]);

    // What is at hand is not fetched again.
    service.train(id, &json!({"seed": 2}));
    service.wait_for(id, &["TRAINED"]);
    let log = service.get(&format!("/api/v2/ai/models/{id}/artifact?file=log.jsonl"));
    let log = String::from_utf8(log.bytes).unwrap();
    assert!(
        log.contains("plant.transformer: 17420 rows were at hand already"),
        "{log}"
    );
}

#[test]
fn several_devices_are_one_data_set() {
    let stand_in = StandIn::meters();
    let Some(dlinear) = plugin("dlinear") else { return };
    let service = stand_in.service(&[]);
    service.upload_plugin(&dlinear);
    // By the command line, from a file.
    let file = service.folder.path().join("meters.json");
    std::fs::write(&file, meters(&json!({"tags": {"site": "berlin"}})).to_string()).unwrap();
    let file = file.to_str().unwrap();
    done(&trainyard(
        &service,
        &["model", "create", "meters", "--plugin", "dlinear"],
        &Value::Null,
    ));
    let train = [
        "train",
        "meters",
        "--dataset",
        file,
        "--param",
        "epochs=1",
        "--watch",
        "--json",
    ];
    let said = done(&trainyard(&service, &train, &Value::Null));
    assert!(said.contains("plant.meters: 1200 rows of 3 devices"), "{said}");
    let result: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&result["event"], &result["status"]),
        (&json!("result"), &json!("TRAINED"))
    );

    let preview = ["data", "preview", "--dataset", "-"];
    let said = done(&trainyard(&service, &preview, &meters(&json!({}))));
    for part in [
        "1,200",
        "3: ",
        "pump-1 (400 rows)",
        "1 min",
        "none",
        "current",
        "▁",
        "█",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    let only = meters(&json!({"device_id": ["it's"], "end_time": "2024-05-01T01:00:00Z", "columns": ["voltage"]}));
    let report = service
        .post("/api/v2/ai/datasets/preview", &json!({"dataset": only}))
        .data();
    assert_eq!(report["rows"], 60, "{report}");
    let names: Vec<&Value> = report["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert!(names.contains(&&json!("voltage")), "{names:?}");
}

#[test]
fn predictions_and_scores_are_written_back_with_the_run_and_the_device() {
    let stand_in = StandIn::meters();
    let Some(dlinear) = plugin("dlinear") else { return };
    let service = stand_in.service(&[]);
    service.upload_plugin(&dlinear);
    let id = service.create_model("meters", "dlinear", &meters(&json!({})), &json!({"epochs": 1}));
    let run = service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);

    let path = format!("/api/v2/ai/models/{id}/predict");
    let pump = json!({"source": "tdengine", "table": "meters", "device_id": "pump-1"});
    let next = service
        .post(&path, &json!({"dataset": pump, "sink": {"table": "forecasts"}}))
        .data();
    assert_eq!(
        (&next["written"], next["rows"].as_array().unwrap().len()),
        (&json!(6), 6)
    );
    let read = |sql: &str| {
        let rows = stand_in.server().with_world(|world| world.execute(sql)).unwrap();
        rows.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>()
    };
    let kept = read("select ts, current, run_id, device_id from plant.forecasts order by ts");
    assert_eq!(kept.len(), 6);
    assert!(
        kept.iter().all(|row| row.contains(&run) && row.contains("pump-1")),
        "{kept:?}"
    );
    // The minute after the last one.
    assert!(kept[0].contains("1714545600000"), "{kept:?}");

    // By the command line, with scores.
    let predict = [
        "predict",
        "meters",
        "--dataset",
        "-",
        "--score",
        "--sink",
        "plant.anomalies",
        "--json",
    ];
    let said = done(&trainyard(&service, &predict, &pump));
    assert!(said.contains("anomaly_score"), "{said}");
    let scored = read("select ts, anomaly_score from plant.anomalies order by ts");
    // All but the first 24 minutes can be predicted; no time is there twice.
    assert_eq!(scored.iter().collect::<BTreeSet<_>>().len(), scored.len());
    assert!(scored.len() >= 376, "{}", scored.len());

    let taken = service.post(&path, &json!({"dataset": pump, "sink": {"table": "meters"}}));
    assert_eq!(taken.status, 422, "{}", taken.json());
    let message = taken.json()["message"].to_string();
    assert!(
        message.contains("plant.meters") && message.contains("run_id"),
        "{message}"
    );
}

#[test]
fn what_is_no_name_or_time_never_reaches_the_server() {
    let stand_in = StandIn::meters();
    let Some(dlinear) = plugin("dlinear") else { return };
    let service = stand_in.service(&[]);
    service.upload_plugin(&dlinear);
    let id = service.create_model("meters", "dlinear", &meters(&json!({})), &json!({}));
    let names = [
        "meters; drop database plant",
        "meters`",
        "`meters`",
        "plant.meters",
        "meters where 1=1",
        "meters--",
        "meters/**/",
        "meters\u{0}",
        "meters\n",
        "1meters",
        "m\u{e9}ters",
        "",
        "'meters'",
        "(select * from meters)",
    ];
    let mut datasets: Vec<Value> = Vec::new();
    for name in names {
        datasets.push(meters(&json!({"table": name})));
        datasets.push(meters(&json!({"database": name})));
        datasets.push(meters(&json!({"columns": [name]})));
        datasets.push(meters(&json!({"target": name})));
        datasets.push(meters(&json!({"device_column": name})));
        let tags = serde_json::Map::from_iter([(name.to_owned(), json!("a"))]);
        datasets.push(meters(&json!({"tags": tags})));
    }
    for time in ["' or 1=1 --", "now + 1d", "2024-05-01' or '1'='1", "now()", "-1d; drop"] {
        datasets.push(meters(&json!({"start_time": time})));
        datasets.push(meters(&json!({"end_time": time})));
    }
    for more in [
        json!({"interval": "1m) fill(null"}),
        json!({"interval": "1m", "aggregate": "avg(x), sum"}),
        json!({"interval": "1m", "fill": "value, 1); drop"}),
        json!({"device_id": "a\u{7}"}),
        json!({"limit": "1; drop"}),
        json!({"time_zone": "UTC'"}),
    ] {
        datasets.push(meters(&more));
    }
    for dataset in &datasets {
        for (path, body) in [
            (
                format!("/api/v2/ai/models/{id}/train"),
                json!({"training_dataset": dataset}),
            ),
            ("/api/v2/ai/datasets/preview".into(), json!({"dataset": dataset})),
        ] {
            let answer = service.post(&path, &body);
            assert_eq!(answer.status, 422, "{dataset}: {}", answer.json());
        }
    }
    let asked = |statement: &String| {
        !["server_status", "server_version", "information_schema"]
            .iter()
            .any(|own| statement.contains(own))
    };
    let statements = stand_in.server().statements();
    let strange: Vec<_> = statements.iter().filter(|statement| asked(statement)).collect();
    assert!(strange.is_empty(), "{strange:?}");

    // A device's name may be anything; it is a value, and nothing else.
    let hostile = "' or '1'='1";
    let answer = service.post(
        "/api/v2/ai/datasets/preview",
        &json!({"dataset": meters(&json!({"device_id": hostile}))}),
    );
    assert_eq!(answer.status, 422, "{}", answer.json());
    let statements = stand_in.server().statements();
    let named: Vec<_> = statements
        .iter()
        .filter(|statement| statement.contains(" or "))
        .collect();
    assert!(
        !named.is_empty() && named.iter().all(|statement| statement.contains(r"'\' or \'1\'=\'1'")),
        "{named:?}"
    );
}
