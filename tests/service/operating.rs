//! The commands of operators: sweeps, workers, dead letters, doctor. What they print, and what they say of mistakes.

use crate::harness::{Service, plugin, program};
use serde_json::{Value, json};
use std::time::Duration;

#[track_caller]
fn text(service: &Service, arguments: &[&str]) -> String {
    let output = service.cli(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn lines(service: &Service, arguments: &[&str]) -> Vec<Value> {
    let text = text(service, &[arguments, &["--json"]].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The exit code, and the last words.
fn refused(service: &Service, arguments: &[&str]) -> (i32, String) {
    let output = service.cli(arguments);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_sweep_is_started_watched_shown_and_adopted() {
    if plugin("ridge").is_none() {
        return;
    }
    let service = Service::start();
    text(&service, &["plugin", "push", "ridge"]);
    text(&service, &["model", "create", "line", "--plugin", "ridge"]);
    let rows: String = (0..60).map(|i| format!("{i},{}\n", 3 * i + i % 5)).collect();
    std::fs::write(service.folder.path().join("line.csv"), format!("x,y\n{rows}")).unwrap();
    let data = ["--data", "line.csv", "--task", "regression", "--target", "y"];
    let start = [
        &[
            "sweep",
            "start",
            "line",
            "--vary",
            "alpha=1e-3..10:log",
            "--trials",
            "5",
        ],
        &data[..],
    ]
    .concat();
    let made = text(&service, &start);
    assert!(
        made.contains("sweep 1 of model 1 (line): 5 trials") && made.contains("sweep watch 1"),
        "{made}"
    );
    let watched = text(&service, &["sweep", "watch", "1"]);
    assert!(watched.contains("FINISHED, 5 of 5 trials are over"), "{watched}");
    assert!(watched.contains("model 1 has the best trial's result"), "{watched}");
    assert_eq!(watched.matches("TRAINED").count(), 5, "{watched}");
    let shown = lines(&service, &["sweep", "show", "1"]);
    assert_eq!(
        (shown.len(), &shown[0]["state"], &shown[1]["state"]),
        (6, &json!("FINISHED"), &json!("TRAINED"))
    );
    let grid = [
        &[
            "sweep",
            "start",
            "line",
            "--method",
            "grid",
            "--vary",
            "alpha=0.1,1,10",
            "--keep-model",
        ],
        &data[..],
    ]
    .concat();
    assert_eq!(lines(&service, &grid)[0]["trials"], 3);
    text(&service, &["sweep", "watch", "2"]);
    let best = lines(&service, &["sweep", "show", "2"])[0]["best_run"]
        .as_str()
        .unwrap()
        .to_owned();
    let before = lines(&service, &["model", "show", "line"]);
    assert!(!before[0].to_string().contains(&best), "{before:?}");
    text(&service, &["sweep", "adopt", "2"]);
    let after = lines(&service, &["model", "show", "line"]);
    assert!(after[0].to_string().contains(&best), "{after:?}");
    assert_eq!(lines(&service, &["sweep", "list", "line"]).len(), 2);

    for (arguments, code, words) in [
        (&["sweep", "start", "line", "--vary", "alpha"][..], 2, "has no ="),
        (&["sweep", "start", "line", "--vary", "alpha=1..x"], 2, "is no number"),
        (
            &["sweep", "start", "line", "--vary", "alpha=1..2:cube"],
            2,
            "means nothing",
        ),
        (&["sweep", "start", "line", "--vary", "alfa=1,2"], 5, "has alpha"),
        (&["sweep", "start", "line", "--vary", "alpha=1,x"], 5, "`x`"),
        (&["sweep", "stop", "1"], 1, "FINISHED already"),
        (&["sweep", "show", "77"], 2, "no sweep"),
    ] {
        let (got, said) = refused(&service, arguments);
        assert!(said.contains(words) && got == code, "{arguments:?}: {got} {said}");
    }
}

#[test]
fn workers_and_dead_letters_are_listed() {
    let service = Service::with(&[("TRAINYARD_WORKER_LABELS", "large")]);
    // A worker says what it is when it begins.
    let workers = loop {
        match lines(&service, &["workers"]) {
            workers if workers.is_empty() => std::thread::sleep(Duration::from_millis(50)),
            workers => break workers,
        }
    };
    assert_eq!(workers[0]["labels"], json!(["large"]));
    assert_eq!(
        workers[0]["queues"],
        json!(["ai_training", "ai_sweeps", "ai_evaluation"])
    );
    let table = text(&service, &["workers"]);
    assert!(
        table.contains("idle") && table.contains("large") && table.contains("0 of "),
        "{table}"
    );
    assert!(text(&service, &["dead-letters", "list"]).contains("nothing was given up"));
    let (code, said) = refused(&service, &["dead-letters", "replay"]);
    assert!(code == 2 && said.contains("--all"), "{said}");
    assert_eq!(text(&service, &["dead-letters", "replay", "--all"]), "");
    let (_, said) = refused(&service, &["dead-letters", "discard", "nobody"]);
    assert!(said.contains("no dead letter"), "{said}");
}

#[test]
fn doctor_says_what_works_and_how_to_mend_what_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = |settings: &[(&str, &str)], arguments: &[&str]| {
        program(folder.path(), &[&["doctor"], arguments].concat(), &[])
            .envs(settings.iter().copied())
            .output()
            .unwrap()
    };
    let good = doctor(&[], &[]);
    let text = String::from_utf8(good.stdout).unwrap();
    assert!(good.status.success(), "{text}");
    for line in ["ok       database", "ok       files", "ok       sandbox"] {
        assert!(text.contains(line), "{text}");
    }
    let settings = [
        ("TRAINYARD_DATABASE_URL", "postgres://me:secret@127.0.0.1:1/plant"),
        ("TRAINYARD_REDIS_URL", "redis://:secret@127.0.0.1:1/0"),
        ("TRAINYARD_S3_BUCKET", "models"),
        ("TRAINYARD_S3_ENDPOINT", "http://127.0.0.1:1"),
        ("TRAINYARD_S3_ACCESS_KEY_ID", "me"),
        ("TRAINYARD_S3_SECRET_ACCESS_KEY", "secret"),
    ];
    let bad = doctor(&settings, &["--json"]);
    let text = String::from_utf8(bad.stdout).unwrap();
    assert_eq!(bad.status.code(), Some(1), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (what, words) in [
        ("database", "[database] url"),
        ("redis", "[redis] url"),
        ("files", "[s3]"),
    ] {
        let found = lines.iter().find(|line| line["what"] == what).unwrap();
        assert_eq!(found["outcome"], "failed", "{found}");
        assert!(found["message"].as_str().unwrap().contains(words), "{found}");
    }
}
