//! The commands of operators: sweeps, workers, dead letters, doctor. What they print, and what they say of mistakes.

#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

struct Service {
    folder: tempfile::TempDir,
    process: Child,
    url: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainyard"));
    command
        .current_dir(folder)
        .env_remove("TRAINYARD_CONFIG")
        .env_remove("TRAINYARD_URL")
        .env("XDG_CONFIG_HOME", folder);
    command
}

impl Service {
    /// None, with words, where the plugins are not built.
    fn start() -> Option<Self> {
        let plugins = std::env::var_os("TRAINYARD_PLUGINS").map(PathBuf::from);
        if !plugins.is_some_and(|folder| folder.join("ridge.wasm").is_file()) {
            println!("skipped: the plugins are not built; `cargo xtask test` does it");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut process = program(folder.path())
            .args([
                "up",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                "data",
                "--label",
                "large",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some((_, address)) = line.split_once("at http://") {
                break format!("http://{}", address.trim());
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Some(Service { folder, process, url })
    }

    fn output(&self, arguments: &[&str]) -> Output {
        program(self.folder.path())
            .args(arguments)
            .args(["--url", &self.url])
            .output()
            .unwrap()
    }

    #[track_caller]
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.text(&[arguments, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The exit code, and the last words.
    fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.output(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn a_sweep_is_started_watched_shown_and_adopted() {
    let Some(service) = Service::start() else { return };
    service.text(&["plugin", "push", "ridge"]);
    service.text(&["model", "create", "line", "--plugin", "ridge"]);
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
    let made = service.text(&start);
    assert!(
        made.contains("sweep 1 of model 1 (line): 5 trials") && made.contains("sweep watch 1"),
        "{made}"
    );
    let watched = service.text(&["sweep", "watch", "1"]);
    assert!(watched.contains("FINISHED, 5 of 5 trials are over"), "{watched}");
    assert!(watched.contains("model 1 has the best trial's result"), "{watched}");
    assert_eq!(watched.matches("TRAINED").count(), 5, "{watched}");
    let shown = service.json(&["sweep", "show", "1"]);
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
    assert_eq!(service.json(&grid)[0]["trials"], 3);
    service.text(&["sweep", "watch", "2"]);
    let best = service.json(&["sweep", "show", "2"])[0]["best_run"]
        .as_str()
        .unwrap()
        .to_owned();
    let before = service.json(&["model", "show", "line"]);
    assert!(!before[0].to_string().contains(&best), "{before:?}");
    service.text(&["sweep", "adopt", "2"]);
    let after = service.json(&["model", "show", "line"]);
    assert!(after[0].to_string().contains(&best), "{after:?}");
    assert_eq!(service.json(&["sweep", "list", "line"]).len(), 2);

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
        let (got, said) = service.refused(arguments);
        assert!(said.contains(words) && got == code, "{arguments:?}: {got} {said}");
    }
}

#[test]
fn workers_and_dead_letters_are_listed() {
    let Some(service) = Service::start() else { return };
    // A worker says what it is when it begins.
    let workers = loop {
        match service.json(&["workers"]) {
            workers if workers.is_empty() => std::thread::sleep(std::time::Duration::from_millis(50)),
            workers => break workers,
        }
    };
    assert_eq!(workers[0]["labels"], json!(["large"]));
    assert_eq!(
        workers[0]["queues"],
        json!(["ai_training", "ai_sweeps", "ai_evaluation"])
    );
    let text = service.text(&["workers"]);
    assert!(
        text.contains("idle") && text.contains("large") && text.contains("0 of "),
        "{text}"
    );
    assert!(service.text(&["dead-letters", "list"]).contains("nothing was given up"));
    let (code, said) = service.refused(&["dead-letters", "replay"]);
    assert!(code == 2 && said.contains("--all"), "{said}");
    assert_eq!(service.text(&["dead-letters", "replay", "--all"]), "");
    let (_, said) = service.refused(&["dead-letters", "discard", "nobody"]);
    assert!(said.contains("no dead letter"), "{said}");
}

#[test]
fn doctor_says_what_works_and_how_to_mend_what_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let doctor = |settings: &[(&str, &str)], arguments: &[&str]| {
        program(folder.path())
            .args(["doctor", "--data-dir", "data"])
            .args(arguments)
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
