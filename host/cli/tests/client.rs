//! The commands that ask a server, against a server that says what a test wants it to say: refusals, lost connections, and
//! what no server should say.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/scripted.rs"]
mod scripted;

use common::{refusal, text};
use scripted::{Answer, Request, Server, model, run};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::Duration;

fn trainyard(server: &Server, arguments: &[&str]) -> Output {
    command(arguments).args(["--url", server.url()]).output().unwrap()
}

/// The binary, with no configuration of whoever runs the tests.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainyard"));
    command.args(arguments);
    for name in ["TRAINYARD_URL", "TRAINYARD_TOKEN", "TRAINYARD_CONFIG"] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

fn error(output: &Output) -> String {
    let stderr = text(&output.stderr);
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "not one line of error: {stderr}");
    errors[0].to_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

fn events(output: &Output) -> Vec<String> {
    lines(output)
        .iter()
        .map(|line| line["event"].as_str().unwrap_or("?").to_owned())
        .collect()
}

#[test]
fn nobody_there_is_told_with_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let (code, error) = refusal(&["model", "list", "--url", &url]);
    assert_eq!(code, 1);
    for part in [&url, "connection refused", "trainyard up", "--url", "TRAINYARD_URL"] {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
    let data = common::weather();
    let (code, error) = refusal(&["predict", "my-modle", "--data", data.to_str().unwrap(), "--url", &url]);
    assert_eq!(code, 2);
    assert!(
        error.contains("there is no folder `my-modle`") && error.contains(&url),
        "{error}"
    );
    let (code, error) = refusal(&["model", "list", "--url", "127.0.0.1"]);
    assert_eq!(code, 2);
    assert!(error.contains("http://HOST:PORT"), "{error}");
}

#[test]
fn a_missing_or_wrong_token_is_told_with_what_to_do() {
    let refused = Answer::error(401, "unauthorized", "a token is needed", None);
    let server = Server::start(move |_| refused.clone());
    let output = trainyard(&server, &["model", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("TRAINYARD_TOKEN"), "{}", error(&output));
    let output = trainyard(&server, &["model", "list", "--token", "ty_wrong"]);
    assert!(error(&output).contains("revoked"), "{}", error(&output));
    assert_eq!(
        server.requests().last().unwrap().header("authorization"),
        Some("Bearer ty_wrong")
    );

    let lacks = Answer::error(
        403,
        "missing-scope",
        "the token `a` lacks the scope `upload`",
        Some(json!({"scope": "upload"})),
    );
    let server = Server::start(move |_| lacks.clone());
    let output = trainyard(&server, &["model", "list", "--token", "ty_x"]);
    assert!(error(&output).contains("--scope upload"), "{}", error(&output));
}

#[test]
fn a_refusal_has_the_servers_words_and_each_reason() {
    let reasons = json!([
        {"problem": "it imports `x`", "expected": "func()", "remedy": "import only what the contract has"},
        {"problem": "it does not export `train`", "remedy": "export it"},
    ]);
    let server = Server::start(move |request| match request.path() {
        "/plugins" => Answer::error(422, "contract-mismatch", "it does not fit", Some(reasons.clone())),
        _ => Answer::error(409, "in-use", "model 7 uses it", None),
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.wasm");
    std::fs::write(&file, b"\0asm").unwrap();
    let output = trainyard(&server, &["plugin", "push", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("error: it does not fit"), "{stderr}");
    assert!(
        stderr.contains("- it imports `x`, expected `func()`; import only"),
        "{stderr}"
    );
    assert!(stderr.contains("- it does not export `train`; export it"), "{stderr}");

    let output = trainyard(&server, &["plugin", "push", file.to_str().unwrap(), "--json"]);
    let last = lines(&output).pop().unwrap();
    assert_eq!(
        (&last["event"], &last["code"]),
        (&json!("error"), &json!("contract-mismatch"))
    );
    assert_eq!(last["details"].as_array().unwrap().len(), 2);

    // One reason is in the message already.
    let output = trainyard(&server, &["plugin", "delete", "a", "1.0.0"]);
    assert_eq!(
        (output.status.code(), error(&output).as_str()),
        (Some(1), "error: model 7 uses it")
    );
}

#[test]
fn a_training_under_way_is_told_with_what_to_do() {
    let server = Server::start(|request| match (request.method(), request.path()) {
        ("GET", "/models/7") => Answer::data(&model(7, "pump")),
        _ => Answer::json(
            409,
            &json!({"code": 409, "error": "already-training", "message": "model 7 is TRAINING",
                "remedy": "wait until it is over, or stop it", "details": {"run": "r", "status": "TRAINING"}}),
        ),
    });
    let output = trainyard(&server, &["train", "7", "--detach"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        error(&output),
        "error: model 7 is TRAINING; wait until it is over, or stop it"
    );
}

#[test]
fn who_is_no_trainyard_is_told_so() {
    let server = Server::start(|_| Answer::raw("HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\n<html>"));
    let output = trainyard(&server, &["model", "list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error(&output).contains("does not answer as a Trainyard server does"),
        "{}",
        error(&output)
    );
    let server = Server::start(|_| Answer::data(&json!("what?")));
    assert!(error(&trainyard(&server, &["model", "list"])).contains("does not read"));
}

#[test]
fn a_lost_answer_is_asked_for_again_and_a_change_made_once() {
    let server = Server::start(|request| match (request.method(), request.path(), request.times) {
        (_, _, 0) => Answer::hang_up(),
        ("GET", "/models/7", _) => Answer::data(&model(7, "pump")),
        ("POST", "/models/7/train", 1) => Answer::error(409, "in-progress", "it is being answered", None),
        ("POST", "/models/7/train", _) => Answer::data(&json!({"task_id": "r", "status": "PENDING"})),
        ("POST", "/models/7/stop", _) => Answer::data(&run("CANCELLED")),
        _ => Answer::error(404, "not-found", "there is no such path", None),
    });
    let output = trainyard(&server, &["train", "7", "--detach", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        lines(&output)[0],
        json!({"event": "submitted", "model": 7, "run_id": "r", "status": "PENDING"})
    );
    let requests = server.requests();
    let keys: Vec<_> = requests
        .iter()
        .filter(|request| request.path() == "/models/7/train")
        .map(|request| request.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 36), "{keys:?}");

    // Without a key, nobody knows whether it was done.
    let output = trainyard(&server, &["stop", "7"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains("was lost"), "{}", error(&output));
}

/// A server with a run whose stream is what a test says for each connection, and that is over once `ends` of them were
/// made.
fn streaming(streams: Vec<String>, ends: &'static str) -> Server {
    let last = streams.len() - 1;
    Server::start(move |request| match (request.method(), request.path()) {
        ("GET", "/models/7") => Answer::data(&model(7, "pump")),
        ("POST", "/models/7/train") => Answer::data(&json!({"task_id": "r", "status": "PENDING"})),
        ("GET", "/models/7/logs/stream") => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
            let body = &streams[request.times.min(last)];
            let end = if request.times >= last { "0\r\n\r\n" } else { "" };
            Answer::raw(&format!("{head}{:x}\r\n{body}\r\n{end}", body.len()))
        }
        ("GET", "/models/7/runs/r") => Answer::data(&run(if request.times >= last { ends } else { "TRAINING" })),
        ("GET", "/models/7/report") => Answer::data(&json!({
            "metrics": [{"name": "mse", "value": 0.37412, "summary": "mean squared error", "maximize": false}]
        })),
        _ => Answer::error(404, "not-found", "there is no such path", None),
    })
}

const FIRST: &str = "\
retry: 1000\n\n\
id: 1\nevent: status\ndata: {\"run_id\":\"r\",\"status\":\"TRAINING\",\"progress\":5.0,\"attempt\":1}\n\n\
id: 2\ndata: {\"timestamp\":\"2026-01-31T12:05:09Z\",\"level\":\"INFO\",\"message\":\"epoch 1\"}\n\n\
:\n\n\
id: 3\nevent: progress\ndata: {\"run_id\":\"r\",\"progress\":40.0,\"current\":1,\"total\":3,\"metrics\":{\"loss\":0.5},\"seconds_left\":2.0}\n\n\
id: 4\ndata: {\"timestamp\":\"2026-01-31T12:05:10Z\",\"level\":\"INFO\",\"mess";
const SECOND: &str = "\
id: 4\ndata: {\"timestamp\":\"2026-01-31T12:05:10Z\",\"level\":\"INFO\",\"message\":\"epoch 2\"}\n\n\
id: 5\nevent: status\ndata: {\"run_id\":\"another\",\"status\":\"PENDING\",\"progress\":0.0,\"attempt\":0}\n\n\
event: gap\ndata: {\"after\":5,\"next\":9}\n\n\
id: 9\nevent: end\ndata: {\"run_id\":\"r\",\"status\":\"TRAINED\",\"error\":null}\n\n";

#[test]
fn a_lost_stream_goes_on_after_the_last_event_that_was_seen() {
    let server = streaming(vec![FIRST.into(), SECOND.into()], "TRAINED");
    let output = trainyard(&server, &["train", "7", "--watch", "--json"]);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert_eq!(
        events(&output),
        [
            "submitted",
            "status",
            "log",
            "progress",
            "reconnecting",
            "log",
            "gap",
            "end",
            "result"
        ]
    );
    let lines = lines(&output);
    assert_eq!(lines[5]["message"], "epoch 2");
    assert_eq!(lines[3]["metrics"], json!({"loss": 0.5}));
    assert_eq!(
        (&lines[8]["metrics"], &lines[8]["status"]),
        (&json!({"mse": 0.37412}), &json!("TRAINED"))
    );
    let requests = server.requests();
    let after: Vec<_> = requests
        .iter()
        .filter(|request| request.path().ends_with("/stream"))
        .map(|request| request.header("last-event-id").map(str::to_owned))
        .collect();
    assert_eq!(after, [None, Some("3".to_owned())]);
}

#[test]
fn where_there_is_no_terminal_every_event_is_a_line_of_json() {
    let server = streaming(vec![FIRST.into(), SECOND.into()], "TRAINED");
    let output = trainyard(&server, &["train", "7", "--watch"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(events(&output).last().map(String::as_str), Some("result"));
}

#[test]
fn how_a_training_ended_is_the_exit_code() {
    let end = |state: &'static str| streaming(vec![SECOND.into()], state);
    let output = trainyard(&end("CANCELLED"), &["train", "7", "--watch", "--json"]);
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(lines(&output).pop().unwrap()["code"], "cancelled");
    let output = trainyard(&end("ERROR"), &["train", "7", "--watch", "--json"]);
    assert_eq!(output.status.code(), Some(7));
    let last = lines(&output).pop().unwrap();
    assert_eq!(
        (&last["code"], &last["message"]),
        (&json!("time-limit"), &json!("the job was killed"))
    );
}

#[test]
fn the_row_is_believed_where_no_end_is_told() {
    let silent = "id: 1\ndata: {\"level\":\"INFO\",\"message\":\"x\"}\n\n";
    let server = streaming(vec![silent.into(), silent.into()], "TRAINED");
    let output = trainyard(&server, &["logs", "7", "--follow"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("mean squared error"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn logs_of_a_run_that_is_over_are_its_lines() {
    let server = Server::start(|request| match request.path() {
        "/models" => Answer::data(&json!({"items": [model(6, "pump 2"), model(7, "pump")], "next": null})),
        "/models/7/runs/r" => Answer::data(&run("TRAINED")),
        "/models/7/logs" => Answer::data(&json!({"run_id": "r", "items": [
            {"timestamp": "2026-01-31T12:05:09Z", "level": "WARNING", "message": "odd \u{1b}[31m"},
        ]})),
        _ => Answer::error(404, "not-found", "there is no such path", None),
    });
    let output = trainyard(&server, &["logs", "pump", "--follow"]);
    assert_eq!(
        text(&output.stdout),
        "2026-01-31 12:05:09  WARNING odd \u{fffd}[31m\n",
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_name_that_is_no_model_or_several_is_told_with_what_there_is() {
    let server = Server::start(|_| {
        Answer::data(&json!({"items": [model(6, "pump"), model(7, "pump"), model(8, "pump 3")], "next": null}))
    });
    let output = trainyard(&server, &["model", "show", "pump"]);
    assert_eq!(output.status.code(), Some(2));
    let said = error(&output);
    assert!(
        said.contains('6') && said.contains('7') && !said.contains('8'),
        "{said}"
    );
    let output = trainyard(&server, &["model", "show", "pum"]);
    assert!(error(&output).contains("pump 3"), "{}", error(&output));
}

#[test]
fn lists_are_read_to_their_end() {
    let server = Server::start(|request| match request.query("cursor") {
        None => Answer::data(&json!({"items": [model(9, "a")], "next": "9"})),
        Some(_) => Answer::data(&json!({"items": [model(3, "b")], "next": null})),
    });
    let output = trainyard(&server, &["model", "list", "--status", "trained", "--json"]);
    let numbers: Vec<_> = lines(&output).iter().map(|model| model["id"].clone()).collect();
    assert_eq!(numbers, [json!(9), json!(3)]);
    assert_eq!(server.requests()[0].query("status"), Some("TRAINED"));
    let output = trainyard(&server, &["model", "list"]);
    assert!(text(&output.stdout).contains("dlinear"), "{}", text(&output.stdout));
}

#[test]
fn a_file_is_uploaded_once_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    std::fs::write(&file, "a,b\n1,2\n").unwrap();
    let digest = "f1ebb0f91b2c7a0a7a6b8f7f7a2ff0f2ee1ef3e5f4a1a6f0d1a7a1a7a1a7a1a7";
    let known = |digest: &str| {
        json!({"id": "d", "name": "old.csv", "format": "csv", "size": 8, "digest": digest, "rows": 1,
            "report": {}, "created_at": "2026-01-31T12:05:09Z"})
    };
    let server = Server::start(move |request| match (request.method(), request.path()) {
        ("GET", "/models/7") => Answer::data(&model(7, "pump")),
        ("GET", "/datasets") => Answer::data(&json!({"items": [known(digest)], "next": null})),
        ("POST", "/datasets") => Answer::data(&known("new")),
        _ => Answer::data(&json!({"task_id": "r", "status": "PENDING"})),
    });
    let train = [
        "train",
        "7",
        "--detach",
        "--data",
        file.to_str().unwrap(),
        "--target",
        "b",
        "--scaling",
        "none",
    ];
    let output = trainyard(&server, &train);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let requests = server.requests();
    let upload = requests.iter().find(|request| request.method() == "POST").unwrap();
    assert_eq!(
        (upload.path(), upload.query("name"), upload.body.as_slice()),
        ("/datasets", Some("data.csv"), &b"a,b\n1,2\n"[..])
    );
    assert_eq!(upload.header("content-type"), Some("text/csv"));
    let submit: Value = serde_json::from_slice(&requests.last().unwrap().body).unwrap();
    assert_eq!(
        submit["training_dataset"],
        json!({"source": "upload", "dataset_id": "d", "target": ["b"], "preprocess": {"scaling": "none"}})
    );

    let own = Sha256::digest(b"a,b\n1,2\n")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    let server = Server::start(move |request| match (request.method(), request.path()) {
        ("GET", "/datasets") => Answer::data(&json!({"items": [known(&own)], "next": null})),
        _ => Answer::error(500, "internal", "it must not be sent again", None),
    });
    let output = trainyard(&server, &["dataset", "push", file.to_str().unwrap(), "--json"]);
    assert_eq!(lines(&output)[0]["new"], false, "{}", text(&output.stderr));
}

#[test]
fn typed_parameters_are_read_by_the_plugins_schema() {
    let server = Server::start(|request| match (request.method(), request.path()) {
        ("GET", "/plugins/dlinear/schema") => Answer::data(&json!({
            "type": "object", "properties": {"epochs": {"type": "integer", "minimum": 1, "default": 10}}
        })),
        ("POST", "/models") => Answer::data(&model(7, "pump")),
        _ => Answer::error(404, "not-found", "there is no such path", None),
    });
    let output = trainyard(
        &server,
        &[
            "model",
            "create",
            "pump",
            "--plugin",
            "dlinear@1.0.0",
            "--param",
            "epochs=3",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let requests = server.requests();
    assert_eq!(requests[0].query("version"), Some("1.0.0"));
    let body: Value = serde_json::from_slice(&requests[1].body).unwrap();
    assert_eq!(
        body,
        json!({"name": "pump", "plugin": "dlinear", "plugin_version": "1.0.0", "training_parameters": {"epochs": 3}})
    );
    let output = trainyard(
        &server,
        &["model", "create", "pump", "--plugin", "dlinear", "--param", "epoch=3"],
    );
    assert_eq!(output.status.code(), Some(5));
    assert!(error(&output).contains("did you mean `epochs`"), "{}", error(&output));
}

#[test]
fn predictions_are_written_as_those_of_a_model_here() {
    let server = Server::start(|request| match (request.method(), request.path()) {
        ("GET", "/models/7") => Answer::data(&model(7, "pump")),
        _ => Answer::data(
            &json!({"columns": ["time", "y"], "rows": [["2026-01-01", 1.5], ["2026-01-02", null]],
            "warnings": ["2 rows are odd"]}),
        ),
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    std::fs::write(&file, "a\n1\n").unwrap();
    let file = file.to_str().unwrap();
    let output = trainyard(&server, &["predict", "7", "--data", file, "--rolling"]);
    assert_eq!(
        text(&output.stdout),
        "time,y\n2026-01-01,1.5\n2026-01-02,\n",
        "{}",
        text(&output.stderr)
    );
    assert!(text(&output.stderr).contains("warning: 2 rows are odd"));
    let requests = server.requests();
    let sent = requests.last().unwrap();
    assert_eq!(
        (sent.query("rolling"), sent.header("content-type")),
        (Some("true"), Some("text/csv"))
    );
    let output = trainyard(&server, &["predict", "7", "--data", file, "--json"]);
    assert_eq!(events(&output), ["warning", "prediction", "prediction", "result"]);
    assert_eq!(lines(&output)[1]["values"], json!({"time": "2026-01-01", "y": 1.5}));
}

#[test]
fn an_archive_that_is_cut_off_leaves_nothing() {
    let server = Server::start(|request| match request.path() {
        "/models/7" => Answer::data(&model(7, "pump")),
        _ => {
            Answer::raw("HTTP/1.1 200 OK\r\ncontent-type: application/x-tar\r\ncontent-length: 4096\r\n\r\nmodel.json")
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let output = trainyard(&server, &["download", "7", "--out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(4));
    assert!(error(&output).contains("nothing was written"), "{}", error(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_server_can_be_named_in_a_file_or_the_environment() {
    let server = Server::start(|request| {
        let token = request.header("authorization").unwrap_or("none").to_owned();
        Answer::data(&json!({"items": [model(1, &token)], "next": null}))
    });
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("trainyard.toml");
    std::fs::write(
        &config,
        format!("[client]\nurl = \"{}\"\ntoken = \"ty_file\"\n", server.url()),
    )
    .unwrap();
    let said = |command: &mut Command| text(&command.output().unwrap().stdout);
    let list = ["model", "list", "--json"];
    assert!(said(command(&list).args(["--config", config.to_str().unwrap()])).contains("Bearer ty_file"));
    assert!(said(command(&list).env("TRAINYARD_CONFIG", &config)).contains("Bearer ty_file"));
    assert!(said(command(&list).current_dir(folder.path())).contains("Bearer ty_file"));
    let environment = said(
        command(&list)
            .env("TRAINYARD_CONFIG", &config)
            .env("TRAINYARD_TOKEN", "ty_env"),
    );
    assert!(environment.contains("Bearer ty_env"), "{environment}");
}

#[test]
fn a_configuration_is_checked_shown_and_documented() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("trainyard.toml");
    let path = config.to_str().unwrap();
    std::fs::write(
        &config,
        "[server]\nlistn = \"127.0.0.1:1\"\n[worker]\nslots = \"two\"\n",
    )
    .unwrap();
    let output = command(&["config", "check", path]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stdout);
    assert!(
        said.contains(&format!(
            "{path}:2: there is no setting server.listn; did you mean server.listen?"
        )),
        "{said}"
    );
    assert!(
        said.contains(&format!("{path}:4: worker.slots: it is the text \"two\"")),
        "{said}"
    );

    let documented = text(&command(&["config", "default"]).output().unwrap().stdout);
    std::fs::write(
        &config,
        documented.replace("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:0\""),
    )
    .unwrap();
    let output = command(&["config", "check", path])
        .env("TRAINYARD_DATA_DIR", folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );

    let output = command(&["config", "show", "--config", path, "--json"])
        .env("TRAINYARD_TOKEN", "ty_secret")
        .output()
        .unwrap();
    let settings = lines(&output);
    let find = |name: &str| settings.iter().find(|setting| setting["setting"] == name).unwrap();
    assert_eq!(find("server.listen")["value"], "127.0.0.1:0");
    assert_eq!(find("client.token")["from"], "TRAINYARD_TOKEN");
    assert!(!text(&output.stdout).contains("ty_secret"), "a secret is not shown");
}

#[test]
fn tokens_are_made_listed_and_revoked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let token = |arguments: &[&str]| {
        command(&[&["token"], arguments].concat())
            .arg("--data-dir")
            .arg(&data)
            .arg("--json")
            .output()
            .unwrap()
    };
    let output = token(&["create", "ci", "--scope", "read,submit", "--expires", "30d"]);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    let made = lines(&output).remove(0);
    assert!(made["secret"].as_str().unwrap().starts_with("ty_"), "{made}");
    assert_eq!(made["token"]["scopes"], json!(["read", "submit"]));
    assert!(made["token"]["expires_at"].is_string());

    let id = made["token"]["id"].to_string();
    let output = token(&["list"]);
    assert_eq!(lines(&output)[0]["name"], "ci");
    assert!(
        !text(&output.stdout).contains(made["secret"].as_str().unwrap()),
        "it is shown once"
    );
    assert!(token(&["revoke", &id]).status.success());
    assert!(lines(&token(&["list"]))[0]["revoked_at"].is_string());

    for (arguments, says) in [
        (vec!["revoke", "99"], "trainyard token list"),
        (vec!["create", "x", "--scope", "write"], "read, submit, upload, admin"),
        (vec!["create", "x", "--expires", "soon"], "30d"),
        (vec!["create", ""], "1 to 100"),
    ] {
        let output = token(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            text(&output.stdout).contains(says),
            "{arguments:?}: {}",
            text(&output.stdout)
        );
    }
}

#[test]
fn ctrl_c_leaves_the_training_alone() {
    let server = Server::start(|request| match (request.method(), request.path()) {
        ("GET", "/models/7") => Answer::data(&model(7, "pump")),
        ("POST", "/models/7/train") => Answer::data(&json!({"task_id": "r", "status": "PENDING"})),
        ("GET", "/models/7/logs/stream") => Answer::raw(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n4\r\n:\n\n\n\r\n",
        )
        .and_wait(Duration::from_secs(30)),
        _ => Answer::data(&run("TRAINING")),
    });
    let mut child = command(&["train", "7", "--watch", "--url", server.url()])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    server.wait_for(|request: &Request| request.path().ends_with("/stream"));
    // The handler is there before the stream is asked for.
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(status.code(), Some(130));
    let said = text(&output.stderr);
    assert!(
        said.contains("trainyard logs 7 --follow") && said.contains("trainyard stop 7"),
        "{said}"
    );
    assert!(
        server
            .requests()
            .iter()
            .all(|request| !request.path().ends_with("/stop"))
    );
}
