//! A TDengine server that fails, refuses, or allows too much: what the service and `data check-source` say of it.

use crate::harness::{Service, plugin};
use crate::stand_in::{StandIn, done, meters};
use serde_json::{Value, json};
use std::process::Command;
use trainyard_test_tdengine::{Fault, On, Then};

/// `trainyard data check-source` with these users. Gives the exit code and all that it says.
fn check_source(settings: &[(&str, &str)], more: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_trainyard"))
        .args(["data", "check-source"])
        .args(more)
        .env_remove("TRAINYARD_CONFIG")
        .env("XDG_CONFIG_HOME", "/nowhere")
        .env("TRAINYARD_TDENGINE_CONNECT_TIMEOUT", "1")
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// The causes of a job's end.
#[track_caller]
fn error_of(service: &Service, id: i64) -> String {
    let model = service.wait_for(id, &["ERROR"]);
    model["error_log"].as_str().unwrap().to_owned()
}

#[test]
fn a_server_that_fails_ends_the_job_with_the_cause() {
    let mut stand_in = StandIn::meters();
    let Some(dlinear) = plugin("dlinear") else { return };
    let service = stand_in.service(&[
        ("TRAINYARD_TDENGINE_QUERY_TIMEOUT", "1"),
        ("TRAINYARD_TDENGINE_CONNECT_TIMEOUT", "1"),
    ]);
    service.upload_plugin(&dlinear);
    let id = service.create_model("meters", "dlinear", &meters(&json!({})), &json!({"epochs": 1}));

    stand_in
        .server()
        .fault(Fault::always(On::Query("count(*)".into()), Then::Hang));
    service.train(id, &json!({}));
    let error = error_of(&service, id);
    assert!(
        error.starts_with("tdengine.timeout: ") && error.contains("did not answer within 1 s"),
        "{error}"
    );
    let preview = service.post("/api/v2/ai/datasets/preview", &json!({"dataset": meters(&json!({}))}));
    assert_eq!(preview.error(504), "tdengine.timeout");
    stand_in.server().clear_faults();

    let missing = json!({"training_dataset": meters(&json!({"table": "metres"}))});
    service.train(id, &missing);
    let error = error_of(&service, id);
    assert!(
        error.starts_with("tdengine.") && error.contains("does not exist"),
        "{error}"
    );

    service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);

    stand_in.kill();
    service.train(id, &json!({"training_dataset": meters(&json!({"refresh": true}))}));
    let error = error_of(&service, id);
    assert!(error.starts_with("tdengine.connection: "), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn a_wrong_password_is_told_at_the_start_and_by_each_job() {
    let stand_in = StandIn::meters();
    let Some(dlinear) = plugin("dlinear") else { return };
    let service = stand_in.service(&[("TRAINYARD_TDENGINE_DSN", &stand_in.dsn("reader:wr0ng"))]);
    service.upload_plugin(&dlinear);
    let id = service.create_model("meters", "dlinear", &meters(&json!({})), &json!({}));
    service.train(id, &json!({}));
    let error = error_of(&service, id);
    assert!(error.starts_with("tdengine.login: "), "{error}");
    let log = || std::fs::read_to_string(service.folder.path().join("errors.txt")).unwrap();
    service.eventually("a warning", || log().contains("trainings cannot read from TDengine"));
    assert!(!log().contains("wr0ng") && !error.contains("wr0ng"), "{}", log());
}

#[test]
fn a_user_that_may_write_is_warned_of_at_the_start() {
    let stand_in = StandIn::meters();
    let service = stand_in.service(&[("TRAINYARD_TDENGINE_DSN", &stand_in.dsn("writer:s3cret"))]);
    let log = || std::fs::read_to_string(service.folder.path().join("errors.txt")).unwrap();
    service.eventually("a warning", || log().contains("can write; give a read-only user"));
    assert!(!log().contains("s3cret"), "{}", log());

    let service = stand_in.service(&[]);
    let log = || std::fs::read_to_string(service.folder.path().join("errors.txt")).unwrap();
    service.eventually("a line", || log().contains("TDengine at 127.0.0.1:"));
    assert!(!log().contains("can write"), "{}", log());
}

#[test]
fn without_a_server_the_source_says_so() {
    let service = Service::start();
    let dataset = json!({"dataset": {"device_id": "machine-7"}});
    let answer = service.post("/api/v2/ai/datasets/preview", &dataset);
    assert_eq!(answer.error(409), "tdengine.not-configured");
    let (code, said) = check_source(&[], &[]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("TRAINYARD_TDENGINE_DSN"), "{said}");
}

#[test]
fn a_source_is_tried_step_by_step() {
    let mut stand_in = StandIn::meters();
    let (reader, writer) = (stand_in.dsn("reader:s3cret"), stand_in.dsn("writer:s3cret"));
    let dsn = "TRAINYARD_TDENGINE_DSN";
    let write_dsn = "TRAINYARD_TDENGINE_WRITE_DSN";

    let (code, said) = check_source(&[(dsn, &reader), (write_dsn, &writer)], &[]);
    assert_eq!(code, 0, "{said}");
    for part in [
        "reader:***@127.0.0.1",
        "version 3.3.3.0",
        "may only read",
        "plant is there",
        "writer:***@",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert!(!said.contains("s3cret") && !said.contains("warning"), "{said}");

    let (code, said) = check_source(&[(dsn, &writer), (write_dsn, &reader)], &["--json"]);
    assert_eq!(code, 0, "{said}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["reader"]["access"], &said["writer"]["access"]),
        (&json!("can_write"), &json!("read_only")),
        "{said}"
    );
    assert_eq!(said["warnings"].as_array().unwrap().len(), 2, "{said}");

    let shown = Command::new(env!("CARGO_BIN_EXE_trainyard"))
        .args(["config", "show"])
        .env_remove("TRAINYARD_CONFIG")
        .env("XDG_CONFIG_HOME", "/nowhere")
        .envs([(dsn, &reader), (write_dsn, &writer)])
        .output()
        .unwrap();
    let shown = done(&shown);
    assert!(shown.contains("writer:***@") && !shown.contains("s3cret"), "{shown}");

    let failed = |address: &str, step: &str, says: &str| {
        let (code, said) = check_source(&[(dsn, address)], &[]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.lines()
                .any(|line| line.starts_with(step) && line.ends_with("failed")),
            "{said}"
        );
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap();
        assert!(error.contains(says) && !error.contains("s3cret"), "{error}");
    };
    failed(&stand_in.dsn("reader:wrong"), "user", "refuses the login");
    stand_in.server().fault(Fault::always(On::Login, Then::Hang));
    failed(&reader, "connected", "did not answer within 1 s");
    stand_in.kill();
    failed(&reader, "connected", "no connection");
}
