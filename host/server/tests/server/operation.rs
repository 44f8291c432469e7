//! Health, figures, and the API's description.

use crate::client::Answer;
use crate::fixture::Server;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use trainyard_jobs::Scope;

#[tokio::test(flavor = "multi_thread")]
async fn it_is_alive_and_ready_and_counts() {
    let server = Server::start().await;
    assert_eq!(server.get("//healthz").await.data()["status"], "alive");
    let parts = json!({"store": "ok", "artifacts": "ok", "queue": "ok"});
    assert_eq!(
        server.get("//readyz").await.data(),
        json!({"status": "ready", "parts": parts})
    );
    let model = server.model().await;
    server.train(model).await;
    server.get("/nope").await.refused(404, "not-found");
    let answer = server.get("//metrics").await;
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("trainyard_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    for line in [
        "trainyard_http_requests_total{route=\"/api/v2/ai/models/{id}/train\",method=\"POST\",status=\"200\"} 1",
        "trainyard_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"} 1",
        "trainyard_models{status=\"PENDING\"} 1",
        "trainyard_queue_runs{status=\"waiting\"} 1",
        "trainyard_live_streams 0",
        "trainyard_uploaded_bytes_total{kind=\"plugin\"} 20",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.contains("trainyard_build_info{version="), "{text}");
    assert!(text.contains("trainyard_http_request_seconds_bucket{"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_served_to_anyone_with_all_its_files() {
    let server = Server::start().await;
    // It says nothing of models or data: those it has to ask for.
    server.token("someone", &[Scope::Read], None).await;
    let page = server.get("//").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    let policy = page.header("content-security-policy").to_owned();
    for rule in [
        "default-src 'none'",
        "script-src 'self';",
        "style-src 'self';",
        "connect-src 'self';",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let text = page.text();
    assert!(text.contains("<title>Trainyard</title>"), "{text}");
    assert!(!text.contains("style=") && !text.contains("<script>"), "inline: {text}");
    for file in text.split('"').filter(|part| part.starts_with("/assets/")) {
        let headers = [("accept-encoding", "gzip")];
        let answer = server.send("GET", &format!("/{file}"), &headers, b"").await;
        assert_eq!(
            (answer.status, answer.header("content-encoding")),
            (200, "gzip"),
            "{file}"
        );
        assert!(answer.header("cache-control").contains("immutable"), "{file}");
        let kind = match file.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(answer.header("content-type"), kind, "{file}");
        let whole = server.get(&format!("/{file}")).await;
        match answer.headers.get("content-encoding").map(String::as_str) {
            Some("gzip") => assert!(whole.body.len() > answer.body.len(), "{file}"),
            // Too small to gain anything.
            other => assert_eq!((other, &whole.body), (None, &answer.body), "{file}"),
        }
    }
    server.get("//assets/nope.js").await.refused(404, "not-found");
    server.get("/models").await.refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_listed_with_those_who_serve_them() {
    let server = Server::start().await;
    let model = server.model().await;
    server.train(model).await;
    let queues = server.get("/queues").await.data();
    let training = json!({"name": "ai_training", "waiting": 1, "taken": 0, "workers": 0});
    assert!(queues["items"].as_array().unwrap().contains(&training), "{queues}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_no_other_host_for_anything() {
    let server = Server::start().await;
    for path in ["//docs", "//docs/docs.js", "//docs/docs.css"] {
        let answer = server.get(path).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer
                .header("content-security-policy")
                .starts_with("default-src 'none'; script-src 'self'")
        );
        assert!(!answer.text().contains("://"), "{path} names another host");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    let page = server.get("//docs").await.text();
    assert!(
        !page.contains("<script>") && !page.contains("style=") && !page.contains("onclick"),
        "inline"
    );
    assert_eq!(server.get("/models").await.header("cache-control"), "no-store");
}

fn description() -> Value {
    serde_json::to_value(trainyard_server::openapi()).unwrap()
}

/// Every operation: its path, method and description.
fn operations(api: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    all
}

fn filled(path: &str) -> String {
    let path = path
        .replace("{id}", "1")
        .replace("{run}", "r")
        .replace("{name}", "n")
        .replace("{version}", "1.0.0");
    assert!(!path.contains('{'), "{path}");
    format!("/{path}")
}

#[test]
fn the_description_is_whole() {
    let api = description();
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let all = operations(&api);
    assert!(all.len() >= 40, "{}", all.len());
    let mut ids = BTreeSet::new();
    for (path, method, operation) in &all {
        let what = format!("{method} {path}");
        assert!(
            operation["summary"].as_str().is_some_and(|text| !text.is_empty()),
            "{what}: no summary"
        );
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{what}");
        assert!(
            ids.insert(operation["operationId"].to_string()),
            "{what}: {} is there twice",
            operation["operationId"]
        );
        for status in ["400", "500"] {
            assert!(operation["responses"][status].is_object(), "{what}: {status}");
        }
        let public = operation.get("security").is_some();
        assert_eq!(operation["responses"].get("401").is_none(), public, "{what}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let error = json!({"$ref": "#/components/schemas/Error"});
            if status.as_str() >= "400" {
                assert_eq!(
                    response["content"]["application/json"]["schema"], error,
                    "{what} {status}"
                );
            }
        }
        let mut placed: Vec<&str> = Vec::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(
                parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{what}: {parameter}"
            );
            placed.push(parameter["name"].as_str().unwrap());
        }
        let unique: BTreeSet<&str> = placed.iter().copied().collect();
        assert_eq!(unique.len(), placed.len(), "{what}: {placed:?}");
        for part in path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        {
            assert!(placed.contains(&part), "{what}: {part}");
        }
    }
    references(&api, &api);
}

/// Every reference must lead somewhere.
fn references(part: &Value, api: &Value) {
    match part {
        Value::Object(map) => {
            if let Some(Value::String(to)) = map.get("$ref") {
                let to = to.strip_prefix('#').unwrap();
                assert!(api.pointer(to).is_some(), "{to} is not there");
            }
            map.values().for_each(|inner| references(inner, api));
        }
        Value::Array(list) => list.iter().for_each(|inner| references(inner, api)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_that_is_described_is_there_and_takes_no_unknown_parameters() {
    let server = Server::start().await;
    let api = server.get("//openapi.json").await.json();
    assert_eq!(api, description());
    for (path, method, _) in operations(&api) {
        let answer = server
            .send(&method, &filled(&path), &[("content-type", "application/json")], b"{}")
            .await;
        assert_ne!(answer.status, 405, "{method} {path}");
        if answer.status == 404 {
            let message = answer.json()["message"].as_str().unwrap().to_owned();
            assert!(!message.contains("route"), "{method} {path}: {message}");
        }
        assert!(answer.status < 500, "{method} {path}: {}", answer.text());
        let unknown = server
            .send(
                &method,
                &format!("{}?zzz=1", filled(&path)),
                &[("content-type", "application/json")],
                b"{}",
            )
            .await;
        unknown.refused(400, "bad-query");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_forgets_to_ask_who_is_there() {
    let server = Server::start().await;
    let token = server.token("useless", &[], None).await;
    for (path, method, operation) in operations(&description()) {
        if operation.get("security").is_some() {
            continue;
        }
        let path = filled(&path);
        server.send(&method, &path, &[], b"").await.refused(401, "unauthorized");
        // A token that allows nothing at all.
        server
            .send(&method, &path, &[("authorization", &token)], b"")
            .await
            .refused(403, "missing-scope");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_as_described() {
    let server = Server::start().await;
    let api = description();
    let check = |template: &str, method: &str, answer: &Answer| {
        let operation = &api["paths"][template][method];
        let response = &operation["responses"][answer.status.to_string()];
        assert!(
            response.is_object(),
            "{method} {template}: {} is not described: {}",
            answer.status,
            answer.text()
        );
        let schema = &response["content"]["application/json"]["schema"];
        let whole = json!({"$ref": "#/s", "s": schema, "components": api["components"]});
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(&whole)
            .unwrap();
        let json = answer.json();
        let problems: Vec<String> = validator
            .iter_errors(&json)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "{method} {template}: {problems:#?}\n{json:#}");
    };
    let base = |rest: &str| format!("/api/v2/ai{rest}");
    let model = server.model().await;
    let get = async |template: &str, path: &str| {
        let answer = server.get(path).await;
        check(&base(template), "get", &answer);
        answer
    };
    get("/models/{id}", &format!("/models/{model}")).await;
    get("/models/{id}/report", &format!("/models/{model}/report")).await;
    let answer = server.post(&format!("/models/{model}/train"), json!({})).await;
    check(&base("/models/{id}/train"), "post", &answer);
    let run = answer.data()["task_id"].as_str().unwrap().to_owned();
    check(
        &base("/models/{id}/train"),
        "post",
        &server.post(&format!("/models/{model}/train"), json!({})).await,
    );
    get("/models/{id}/runs/{run}", &format!("/models/{model}/runs/{run}")).await;
    let point = trainyard_jobs::SeriesPoint {
        step: 0,
        seconds: 0.0,
        name: "loss".into(),
        value: 2.0,
    };
    server.series(&run, &[point]).await;
    server.finish(&run).await;
    get("/models", "/models").await;
    get("/models/{id}", &format!("/models/{model}")).await;
    get("/models/{id}", "/models/x").await;
    get("/models/{id}/runs", &format!("/models/{model}/runs")).await;
    get("/models/{id}/metrics", &format!("/models/{model}/metrics")).await;
    get("/models/{id}/report", &format!("/models/{model}/report")).await;
    get("/models/{id}/logs", &format!("/models/{model}/logs")).await;
    check(
        &base("/models/{id}/predict"),
        "post",
        &server
            .post(&format!("/models/{model}/predict"), json!([{"a": 1}]))
            .await,
    );
    let device = json!({"device_id": "machine-7"});
    let sink = json!({"dataset": device, "score": true, "sink": {"table": "anomalies"}});
    check(
        &base("/models/{id}/predict"),
        "post",
        &server.post(&format!("/models/{model}/predict"), sink).await,
    );
    check(
        &base("/datasets/preview"),
        "post",
        &server.post("/datasets/preview", json!({"dataset": device})).await,
    );
    let whole = json!({"training_dataset": {
        "source": "tdengine", "database": "plant", "table": "meters", "device_id": ["a", 7, true],
        "tags": {"site": ["b", "c"], "line": 1.5}, "start_time": "-30d", "end_time": 1714521600, "time_zone": "UTC",
        "interval": "10m", "aggregate": {"value": "max"}, "fill": {"value": 0.5}, "limit": 1000, "refresh": true,
        "device_column": "sn", "columns": ["value"], "target": "value", "lookback": 2, "horizon": 1,
    }});
    let answer = server.patch(&format!("/models/{model}"), whole).await;
    assert_eq!(answer.data()["training_dataset"]["tags"]["site"], json!(["b", "c"]));
    check(&base("/models/{id}"), "patch", &answer);
    check(
        &base("/models/{id}/evaluate"),
        "post",
        &server.post(&format!("/models/{model}/evaluate"), json!({})).await,
    );
    let answer = server.post(&format!("/models/{model}/stop"), json!({})).await;
    check(&base("/models/{id}/stop"), "post", &answer);
    get("/plugins", "/plugins").await;
    get("/plugins/{name}", "/plugins/dlinear").await;
    get("/plugins/{name}/versions", "/plugins/dlinear/versions").await;
    get("/plugins/{name}/schema", "/plugins/dlinear/schema").await;
    check(
        &base("/plugins"),
        "post",
        &server.upload_plugin("plugin dlinear 0.1.0").await,
    );
    check(&base("/plugins"), "post", &server.upload_plugin("garbage").await);
    get("/datasets", "/datasets").await;
    let dataset = server.get("/datasets").await.data()["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    get("/datasets/{id}", &format!("/datasets/{dataset}")).await;
    get("/datasets/{id}/preview", &format!("/datasets/{dataset}/preview")).await;
    check(
        &base("/datasets/{id}"),
        "delete",
        &server.delete(&format!("/datasets/{dataset}")).await,
    );
    get("/audit", "/audit").await;
    get("/audit", "/audit?limit=0").await;
    check("/healthz", "get", &server.get("//healthz").await);
    check("/readyz", "get", &server.get("//readyz").await);
    check(
        &base("/models/{id}"),
        "patch",
        &server.patch(&format!("/models/{model}"), json!({"name": "y"})).await,
    );
    check(
        &base("/models/{id}"),
        "delete",
        &server.delete(&format!("/models/{model}")).await,
    );
    check(&base("/tickets"), "post", &server.post("/tickets", json!({})).await);
    check(
        &base("/tokens"),
        "post",
        &server.post("/tokens", json!({"name": "a", "scopes": ["read"]})).await,
    );
    check(&base("/models"), "get", &server.get("/models").await);
}
