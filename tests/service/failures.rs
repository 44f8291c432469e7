//! What goes wrong on the way, and what becomes of the jobs.

use crate::harness::{Service, signal};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_runner_that_is_killed_is_replaced_and_the_training_goes_on() {
    let service = Service::with(&[("TRAINYARD_WORKER_WARM", "0")]);
    let Some(id) = service.create_slow_weather(100) else {
        return;
    };
    let run = service.train(id, &json!({}));
    service.wait_for(id, &["TRAINING"]);
    let [runner] = service.runners()[..] else {
        panic!("{:?}", service.runners())
    };
    signal(runner, "KILL");
    service.eventually("a second attempt", || service.run(id, &run)["attempt"] == 2);
    service.wait_for(id, &["TRAINED"]);
    let log = service.get(&format!("/api/v2/ai/models/{id}/artifact?file=log.jsonl"));
    let log = String::from_utf8_lossy(&log.bytes).into_owned();
    assert!(log.contains("SIGKILL") && log.contains("attempt 2 of 3"), "{log}");
}

#[test]
fn a_job_whose_runner_dies_three_times_ends_in_error_with_the_cause() {
    let service = Service::with(&[("TRAINYARD_WORKER_WARM", "0")]);
    let Some(id) = service.create_hostile("endless-loop") else {
        return;
    };
    let run = service.train(id, &json!({}));
    for attempt in 1..=3 {
        service.eventually("the next attempt trains", || {
            let run = service.run(id, &run);
            run["attempt"] == attempt && run["state"] == "TRAINING"
        });
        let [runner] = service.runners()[..] else {
            panic!("{:?}", service.runners())
        };
        signal(runner, "KILL");
    }
    let model = service.wait_for(id, &["ERROR"]);
    assert!(model["error_log"].as_str().unwrap().contains("SIGKILL"), "{model}");
    service.eventually("it is a dead letter", || {
        let letters = service.get("/api/v2/ai/dead-letters").data();
        letters["items"][0]["run_id"] == run
    });
    let again = service
        .post(&format!("/api/v2/ai/dead-letters/{run}/replay"), &json!({}))
        .data();
    service.eventually("it is tried again", || {
        service.run(id, again["task_id"].as_str().unwrap())["state"] == "TRAINING"
    });
    assert_eq!(service.get("/api/v2/ai/dead-letters").data()["items"], json!([]));
    service.stop(id).data();
    service.wait_for(id, &["DRAFT", "ERROR"]);
    service.eventually("no scratch folder is left", || {
        service.files("scratch").iter().all(|file| file.ends_with("/lock"))
    });
}

#[test]
fn killed_in_the_middle_of_ten_jobs_every_one_ends_once() {
    let mut service = Service::with(&[
        ("TRAINYARD_WORKER_LEASE_SECONDS", "3"),
        ("TRAINYARD_WORKER_RENEW_SECONDS", "1"),
    ]);
    let mut jobs = Vec::new();
    for _ in 0..10 {
        let Some(id) = service.create_weather(400) else { return };
        let run = service.train(id, &json!({}));
        jobs.push((id, run));
    }
    service.eventually("some are done, some are not", || {
        let statuses: Vec<_> = jobs
            .iter()
            .map(|(id, _)| service.model(*id)["status"].clone())
            .collect();
        statuses.contains(&json!("TRAINED")) && statuses.contains(&json!("TRAINING"))
    });
    let runners = service.runners();
    assert!(!runners.is_empty());
    service.signal("KILL");
    service.wait();
    service.eventually("runners die with their worker", || {
        runners
            .iter()
            .all(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z")))
    });
    service.start_again();
    for (id, run) in &jobs {
        let model = service.wait_for(*id, &["TRAINED"]);
        assert_eq!(model["trained_run"], json!(run));
        let kept = || service.files(&format!("artifacts/models/{id}"));
        service.eventually("one result, whole, and nothing else", || kept().len() == 4);
    }
    service.eventually("no scratch folder is left", || {
        service.files("scratch").iter().all(|file| !file.contains("job-"))
    });
    let depth = service.get("/metrics");
    assert_eq!(depth.status, 200);
}

#[test]
fn too_long_and_too_large_end_in_error_with_what_to_do() {
    let service = Service::start();
    let Some(id) = service.create_hostile("endless-loop") else {
        return;
    };
    service.train(id, &json!({"time_limit": 2}));
    let model = service.wait_for(id, &["ERROR"]);
    let error = model["error_log"].as_str().unwrap();
    assert!(
        error.contains("time limit of 2 s") && error.contains("time_limit"),
        "{error}"
    );

    let Some(id) = service.create_hostile("tensor-memory") else {
        return;
    };
    service.train(id, &json!({"memory_limit_mb": 300}));
    let model = service.wait_for(id, &["ERROR"]);
    let error = model["error_log"].as_str().unwrap();
    assert!(error.contains("memory"), "{error}");
}

#[test]
fn a_time_limit_that_is_near_asks_the_plugin_to_return_what_it_has() {
    let service = Service::start();
    let Some(id) = service.create_hostile("until-stopped") else {
        return;
    };
    service.train(id, &json!({"time_limit": 10}));
    service.wait_for(id, &["TRAINED"]);
    let log = service.get(&format!("/api/v2/ai/models/{id}/artifact?file=log.jsonl"));
    assert!(String::from_utf8_lossy(&log.bytes).contains("time limit of 10 s is near"));
}

#[test]
fn a_hundred_thousand_lines_lose_nothing_in_the_full_log() {
    let service = Service::start();
    let Some(id) = service.create_hostile("log-flood") else {
        return;
    };
    service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);
    let log = service.get(&format!("/api/v2/ai/models/{id}/artifact?file=log.jsonl"));
    let log = String::from_utf8(log.bytes).unwrap();
    let mut expected = 0;
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if line["message"] == format!("line {expected}") {
            expected += 1;
        }
    }
    assert_eq!(expected, 100_000);
    // The live log keeps the last thousand, and says that there were more.
    let events: Vec<_> = service
        .stream(&format!("/api/v2/ai/models/{id}/logs/stream?after=1"), &[])
        .collect();
    assert_eq!(events.iter().filter(|event| event.name == "gap").count(), 1);
    let lines: Vec<_> = events.iter().filter(|event| event.name.is_empty()).collect();
    assert_eq!(lines.len(), 1000);
    assert_eq!(lines.last().unwrap().data["message"], "line 99999");
}

#[test]
fn a_scratch_folder_that_is_deleted_is_told_and_mended() {
    let service = Service::with(&[("TRAINYARD_WORKER_WARM", "0")]);
    let Some(id) = service.create_hostile("until-stopped") else {
        return;
    };
    service.train(id, &json!({"time_limit": 20}));
    service.wait_for(id, &["TRAINING"]);
    std::fs::remove_dir_all(service.data_dir().join("scratch")).unwrap();
    let model = service.wait_for(id, &["ERROR"]);
    assert!(!model["error_log"].as_str().unwrap().is_empty(), "{model}");
    // The next job makes it again.
    service.train(id, &json!({"training_parameters": {"mode": "fine"}}));
    service.wait_for(id, &["TRAINED"]);
}

#[test]
fn a_disk_that_is_full_ends_in_a_clear_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
        .arg(folder.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: no small disk can be mounted here");
        return;
    }
    let outcome = std::panic::catch_unwind(|| full_disk(folder.path()));
    let _ = std::process::Command::new("umount")
        .arg("-l")
        .arg(folder.path())
        .status();
    outcome.unwrap();
}

fn full_disk(disk: &std::path::Path) {
    let service = Service::start();
    // Artifacts go to the small disk.
    let artifacts = service.data_dir().join("artifacts");
    let Some(id) = service.create_weather(3) else { return };
    service.train(id, &json!({}));
    let before = service.wait_for(id, &["TRAINED"]);
    copy(&artifacts, disk);
    std::fs::rename(&artifacts, service.data_dir().join("moved")).unwrap();
    std::os::unix::fs::symlink(disk, &artifacts).unwrap();
    // Fill it.
    let mut left = 32 << 20;
    let mut filler = std::fs::File::create(disk.join("filler")).unwrap();
    while left > 0 && std::io::Write::write_all(&mut filler, &[0; 4096]).is_ok() {
        left -= 4096;
    }
    drop(filler);
    service.train(id, &json!({}));
    let model = service.wait_for(id, &["ERROR"]);
    let error = model["error_log"].as_str().unwrap();
    assert!(error.contains("disk is full") || error.contains("No space"), "{error}");
    assert_eq!(service.get("/readyz").status, 503);
    // The result of before is still there.
    assert_eq!(model["trained_run"], before["trained_run"]);
    std::fs::remove_file(disk.join("filler")).unwrap();
    let weights = service.get(&format!("/api/v2/ai/models/{id}/artifact?file=model.safetensors"));
    assert_eq!(weights.status, 200);
    service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_database_that_cannot_be_written_is_told_and_comes_back() {
    let service = Service::start();
    let Some(id) = service.create_hostile("fine") else {
        return;
    };
    // Root may write whatever the permissions say, so somebody holds the database instead.
    let database = service.data_dir().join("trainyard.db");
    assert_eq!(
        std::fs::metadata(&database).unwrap().permissions().mode() & 0o077,
        0,
        "others cannot read it"
    );
    let hold = std::process::Command::new("python3")
        .args(["-c", "import sqlite3,sys,time\nc=sqlite3.connect(sys.argv[1],isolation_level=None)\nc.execute('BEGIN IMMEDIATE')\nprint('held',flush=True)\ntime.sleep(9)\nc.execute('ROLLBACK')"])
        .arg(&database)
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut hold) = hold else {
        println!("skipped: no python3 to hold the database");
        return;
    };
    let mut word = [0; 4];
    std::io::Read::read_exact(hold.stdout.as_mut().unwrap(), &mut word).unwrap();
    let path = format!("/api/v2/ai/models/{id}/train");
    let answer = service.post(&path, &json!({}));
    assert_eq!(answer.status, 503, "{}", answer.json());
    assert!(
        answer.json()["message"].as_str().unwrap().contains("database"),
        "{}",
        answer.json()
    );
    assert_eq!(service.model(id)["status"], "DRAFT", "reading goes on");
    hold.wait().unwrap();
    service.train(id, &json!({}));
    service.wait_for(id, &["TRAINED"]);
}
