//! How a runner is shut in, and what a worker makes of one that does not behave.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
#[path = "common/runners.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod runners;

use runners::{launcher, program};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use trainyard_worker::process::{Launcher, ProcessError};
use trainyard_worker::protocol::{Isolation, Order, Report, files};

#[test]
fn a_runner_can_do_its_work_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let scratch = root.path().join("scratch");
    fs::create_dir(&scratch).unwrap();
    // On a card more of the system can be seen, and nothing of its users.
    for card in [false, true] {
        checked(root.path(), &scratch, card);
    }
}

fn checked(root: &Path, scratch: &Path, card: bool) {
    let output = Command::new(program())
        .args(["runner", "--self-check"])
        .args(card.then_some("--card"))
        .arg(scratch)
        .output()
        .unwrap();
    let lines: Vec<Value> = common::text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let isolation: Isolation = serde_json::from_value(lines[0]["isolation"].clone()).unwrap();
    if !isolation.landlock || !isolation.seccomp {
        println!(
            "skipped: this kernel cannot shut a runner in: {}",
            isolation.missing.join("; ")
        );
        return;
    }
    for line in &lines[1..] {
        assert_eq!(line["allowed"], line["expected"], "{line}");
    }
    assert!(output.status.success() && lines.len() > 20, "{lines:?}");
    assert_eq!(
        fs::read_dir(root).unwrap().count(),
        1,
        "nothing beside the scratch folder"
    );
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0, "nothing in it");
}

#[tokio::test]
async fn a_runner_says_how_it_is_shut_in_and_has_nothing_of_its_parents() {
    let (_root, launcher) = launcher();
    let runner = launcher.start().await.unwrap();
    assert!(
        runner.isolation().missing.is_empty() || !runner.isolation().landlock || !runner.isolation().seccomp,
        "{:?}",
        runner.isolation()
    );
    let scratch = fs::metadata(runner.scratch()).unwrap();
    assert_eq!(scratch.permissions().mode() & 0o777, 0o700);
    let environ = fs::read(format!("/proc/{}/environ", runner.pid())).unwrap_or_default();
    assert!(environ.is_empty(), "{}", common::text(&environ));
}

#[tokio::test]
async fn a_link_in_the_scratch_folder_is_not_followed() {
    let (_root, launcher) = launcher();
    let runner = launcher.start().await.unwrap();
    symlink("/etc/passwd", runner.scratch().join(files::WEIGHTS)).unwrap();
    let error = runner.open_result(files::WEIGHTS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the runner's file model.safetensors cannot be used: it is a link"
    );
    assert!(runner.open_result("../lock").is_err());
}

/// Not a test by itself: the process that the next test kills.
#[tokio::test]
async fn a_worker_that_is_about_to_die() {
    let Some(root) = std::env::var_os("TRAINYARD_TEST_DYING_WORKER") else {
        return;
    };
    let launcher = Launcher::new(program(), root.into()).unwrap();
    let runner = launcher.start().await.unwrap();
    println!("runner {}", runner.pid());
    std::future::pending::<()>().await;
}

#[test]
fn a_runner_ends_with_its_worker_however_that_ends() {
    use std::io::{BufRead, BufReader};
    let root = tempfile::tempdir().unwrap();
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_worker_that_is_about_to_die", "--nocapture"])
        .env("TRAINYARD_TEST_DYING_WORKER", root.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = BufReader::new(worker.stdout.take().unwrap())
        .lines()
        .find_map(|line| line.unwrap().split_once("runner ").map(|(_, pid)| pid.to_owned()))
        .unwrap();
    assert!(lives(&pid));
    worker.kill().unwrap();
    worker.wait().unwrap();
    for _ in 0..200 {
        if !lives(&pid) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!lives(&pid), "the runner {pid} outlives its worker");
    let launcher = Launcher::new(program(), root.path().to_owned()).unwrap();
    assert_eq!(launcher.clean().unwrap(), 1, "its folder is cleared away");
}

/// Whether a process runs. One that is dead and that nobody waits for does not.
fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with(['Z', 'X']))
}

/// A program in place of the runner's: says something over its standard input, the socket, and then does something.
fn impostor(root: &Path, says: &[u8], then: &str) -> Launcher {
    let (said, program) = (root.join("said"), root.join("impostor"));
    fs::write(&said, says).unwrap();
    fs::write(&program, format!("#!/bin/sh\ncat {} >&0\n{then}\n", said.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    Launcher::new(program, root.join("scratch")).unwrap()
}

fn frame(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn ready() -> Vec<u8> {
    let report = Report::Ready(Isolation {
        landlock: true,
        seccomp: true,
        missing: vec![],
    });
    frame(&serde_json::to_string(&report).unwrap())
}

#[tokio::test]
async fn a_runner_that_does_not_start_is_an_error_that_says_why() {
    for (says, then, part) in [
        (
            &b""[..],
            "echo no such thing >&2; exit 3",
            "ended with exit code 3 (no such thing)",
        ),
        (b"", "kill -SEGV $$", "was killed by signal 11 (SIGSEGV)"),
        (
            b"garbage, and no message",
            "sleep 60",
            "does not keep to the protocol: a message of 1651663207 bytes",
        ),
        (b"\x03\0\0\0{}}", "sleep 60", "does not keep to the protocol"),
        (b"\xff\xff\xff\xff", "sleep 60", "a message of 4294967295 bytes"),
        (&frame("\"opened\""), "sleep 60", "it did not begin with `ready`"),
        (b"", "exec 0>&-; sleep 60", "closed its socket and did not end"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let error = match impostor(root.path(), says, then).start().await {
            Ok(_) => panic!("{then} was taken for a runner"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(part), "{error}");
    }
    let root = tempfile::tempdir().unwrap();
    let absent = Launcher::new("/absent/trainyard".into(), root.path().to_owned()).unwrap();
    let error = absent.start().await.err().unwrap().to_string();
    assert!(
        error.contains("could not be started") && error.contains("No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn a_runner_that_talks_nonsense_later_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let flood: Vec<u8> = (0..10_000).flat_map(|_| frame("\"checkpoint\"")).collect();
    let says = [ready(), flood, frame("{\"trained\":7}")].concat();
    let mut runner = impostor(root.path(), &says, "sleep 60").start().await.unwrap();
    let mut checkpoints = 0;
    let error = loop {
        match runner.next().await {
            Ok(Report::Checkpoint) => checkpoints += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert_eq!(checkpoints, 10_000);
    assert!(matches!(error, ProcessError::Protocol(_)), "{error}");
}

#[tokio::test]
async fn a_runner_that_does_not_listen_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let runner = impostor(root.path(), &ready(), "sleep 60").start().await.unwrap();
    // Far more than a socket holds.
    let error = loop {
        let data = trainyard_worker::protocol::DataFile {
            format: trainyard_data::DataFormat::Csv,
            name: "x".repeat(1 << 20),
            columns: trainyard_jobs::RowColumns::default(),
        };
        let order = Order::Do(Box::new(trainyard_worker::protocol::Task::Data(data)));
        if let Err(error) = runner.send(&order, &[]).await {
            break error;
        }
    };
    assert!(matches!(error, ProcessError::Deaf), "{error}");
    assert!(matches!(
        runner.send(&Order::Stop, &[]).await,
        Err(ProcessError::Protocol(_))
    ));
    runner.kill().await;
    let left = fs::read_dir(root.path().join("scratch")).unwrap();
    assert_eq!(left.count(), 0, "nobody holds the launcher any more");
}
