//! What a person gets wrong ends in one line that says what, where, and what to do; with an exit code that says which kind it was.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{have_plugins, refusal, trainyard, weather};
use std::fs;

/// A run of `ridge` or `dlinear` on a small file that must be refused.
fn bad_data(content: &str, more: &[&str]) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    fs::write(&file, content).unwrap();
    let out = folder.path().join("out");
    let arguments = [
        &[
            "run",
            more[0],
            "--data",
            file.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ],
        &more[1..],
    ]
    .concat();
    let found = refusal(&arguments);
    assert!(!out.exists(), "nothing is written when the data is refused");
    found
}

/// Rows of hours and two columns.
fn hours(rows: usize) -> String {
    let mut csv = "time,a,b\n".to_owned();
    for i in 0..rows {
        csv += &format!(
            "2024-01-{:02}T{:02}:00:00Z,{},{}\n",
            i / 24 + 1,
            i % 24,
            (i * 7) % 11,
            (i * 3) % 5
        );
    }
    csv
}

const FORECAST: [&str; 5] = ["dlinear", "--lookback", "8", "--horizon", "2"];

#[test]
fn bad_data_is_named_by_file_row_and_column() {
    if !have_plugins() {
        return;
    }
    let check = |content: &str, more: &[&str], says: &[&str]| {
        let (code, error) = bad_data(content, more);
        assert_eq!(code, 3, "{error}");
        for part in says {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    };
    check(&hours(40), &["ridge", "--target", "c"], &["data.csv", "\"c\"", "a"]);
    check(
        &hours(40).replacen(",7,", ",seven,", 1),
        &["ridge", "--target", "a"],
        &["data.csv", "line 3", "\"a\"", "seven"],
    );
    check("time,a,b\n", &FORECAST, &["data.csv", "no rows"]);
    check(
        &hours(20),
        &["dlinear", "--lookback", "18", "--horizon", "4"],
        &["data.csv", "rows"],
    );
    check(
        &hours(40).replacen("2024-01-01T05", "05 o'clock", 1),
        &[&FORECAST[..], &["--time", "time"]].concat(),
        &["line 7", "05 o'clock"],
    );
    let mut lines: Vec<String> = hours(40).lines().map(str::to_owned).collect();
    lines.swap(5, 9);
    check(&lines.join("\n"), &FORECAST, &["data.csv", "--sort"]);
    let mut lines: Vec<String> = hours(40).lines().map(str::to_owned).collect();
    lines[6] = lines[5].clone();
    check(&lines.join("\n"), &FORECAST, &["data.csv", "--duplicates"]);
    let missing: String = hours(40)
        .lines()
        .map(|l| {
            if l.starts_with("time") {
                format!("{l},c\n")
            } else {
                format!("{l},\n")
            }
        })
        .collect();
    check(&missing, &FORECAST, &["data.csv", "\"c\""]);
    check(
        &hours(40).replacen(",7,", ",inf,", 1),
        &FORECAST,
        &["data.csv", "line 3", "\"a\"", "inf"],
    );
    check("", &FORECAST, &["data.csv"]);
}

#[test]
fn a_constant_column_is_a_warning_that_names_it() {
    if !have_plugins() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    let csv: String = hours(60)
        .lines()
        .map(|l| {
            if l.starts_with("time") {
                format!("{l},c\n")
            } else {
                format!("{l},5\n")
            }
        })
        .collect();
    fs::write(&file, csv).unwrap();
    let out = folder.path().join("out");
    let output = trainyard(&[
        "run",
        "dlinear",
        "--data",
        file.to_str().unwrap(),
        "--lookback",
        "8",
        "--horizon",
        "2",
        "--param",
        "epochs=1",
        "--param",
        "kernel=3",
        "--out",
        out.to_str().unwrap(),
    ]);
    let stderr = common::text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr
            .lines()
            .any(|l| l.starts_with("warning: ") && l.contains("\"c\"")),
        "{stderr}"
    );
}

#[test]
fn wrong_parameters_are_refused_with_what_is_allowed() {
    if !have_plugins() {
        return;
    }
    let data = weather();
    let run = |parameter: &str| {
        refusal(&[
            "run",
            "dlinear",
            "--data",
            data.to_str().unwrap(),
            "--lookback",
            "8",
            "--horizon",
            "2",
            "--param",
            parameter,
        ])
    };
    let (code, error) = run("epoch=3");
    assert_eq!(code, 5);
    assert!(
        error.contains("did you mean `epochs`") || error.contains("did you mean \"epochs\""),
        "{error}"
    );
    let (_, error) = run("epochs=0");
    assert!(
        error.contains("epochs") && error.contains('1') && error.contains("1000"),
        "{error}"
    );
    let (_, error) = run("learning_rate=fast");
    assert!(error.contains("learning_rate") && error.contains("fast"), "{error}");
    let (code, error) = run("epochs");
    assert_eq!(code, 2);
    assert!(error.contains("name=value"), "{error}");
}

#[test]
fn what_is_no_plugin_is_said_to_be_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (code, error) = refusal(&["plugin", "check", &file("a.wasm", b"\x7fELF\x02\x01\x01")]);
    assert_eq!(code, 4);
    assert!(error.contains("not a plugin"), "{error}");
    let (code, error) = refusal(&["plugin", "check", "no-such-plugin"]);
    assert_eq!(code, 2);
    assert!(error.contains("no-such-plugin") && error.contains("library"), "{error}");
    let data = weather();
    let (code, _) = refusal(&["run", &file("b.wasm", b""), "--data", data.to_str().unwrap()]);
    assert_eq!(code, 4);
    let (code, error) = refusal(&[
        "predict",
        folder.path().to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ]);
    assert_eq!(code, 4);
    assert!(error.contains("is not a model"), "{error}");
}

#[test]
fn limits_end_a_run_with_their_own_exit_code() {
    if !have_plugins() {
        return;
    }
    let data = weather();
    let out = tempfile::tempdir().unwrap();
    let base = [
        "run",
        "dlinear",
        "--data",
        data.to_str().unwrap(),
        "--lookback",
        "60",
        "--horizon",
        "7",
        "--out",
        out.path().to_str().unwrap(),
    ];
    let (code, error) = refusal(
        &[
            &base[..],
            &["--timeout", "1", "--param", "epochs=1000", "--param", "patience=0"],
        ]
        .concat(),
    );
    assert_eq!(code, 7);
    assert!(
        error.contains("longer than 1 s") && error.contains("--timeout"),
        "{error}"
    );
    let (code, error) = refusal(&[&base[..], &["--memory", "1", "--param", "batch_size=1024"]].concat());
    assert_eq!(code, 7);
    assert!(error.contains("tensor memory") && error.contains("1 MiB"), "{error}");
    let (code, error) = refusal(&[&base[..], &["--device", "cuda"]].concat());
    assert_eq!(code, 1);
    assert!(error.contains("cuda:0 is not available"), "{error}");
}
