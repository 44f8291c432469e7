//! Live streams as server-sent events.

use crate::client::{Events, Sent, wire};
use crate::fixture::{BASE, Server};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use trainyard_jobs::local::LocalFeed;
use trainyard_jobs::{Event, ResourceUsage, RunState};

fn end(status: RunState) -> Event {
    Event::End { status, error: None }
}

fn names(sent: &[Sent]) -> Vec<&str> {
    sent.iter()
        .map(|event| event.name.as_deref().unwrap_or("log"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_from_the_submit_to_its_end() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    let mut events = server.events(&format!("/models/{model}/logs/stream"), &[]).await;
    assert_eq!(events.headers["content-type"], "text/event-stream");
    assert_eq!(events.headers["x-accel-buffering"], "no");
    assert!(events.headers["cache-control"].contains("no-store"));
    assert_eq!(events.block().await.unwrap(), "retry: 1000");
    let pending = events.next().await.unwrap();
    assert_eq!(
        (pending.name.as_deref(), &pending.data["status"]),
        (Some("status"), &json!("PENDING"))
    );
    assert_eq!(pending.data["run_id"], run);

    let id = server.log(model, &run, "Epoch 1/100,\nLoss: 0.523 \u{1F682}").await;
    let line = events.next().await.unwrap();
    assert_eq!((line.id, line.name), (Some(id), None));
    assert_eq!(line.data["message"], "Epoch 1/100,\nLoss: 0.523 \u{1F682}");
    let fields: Vec<&String> = line.data.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["timestamp", "level", "message"]);

    let mut metrics = Map::new();
    metrics.insert("loss".into(), json!(0.5));
    let progress = Event::Progress {
        timestamp: chrono::Utc::now(),
        progress: 40.0,
        current: 4,
        total: 10,
        metrics,
        seconds_left: Some(3.0),
    };
    server.publish(model, &run, progress).await;
    server
        .publish(
            model,
            &run,
            Event::Usage(ResourceUsage {
                memory_mb: 12.0,
                ..Default::default()
            }),
        )
        .await;
    server.finish(&run).await;
    server.publish(model, &run, end(RunState::Trained)).await;
    let rest = events.rest().await;
    assert_eq!(names(&rest), ["progress", "usage", "end"]);
    assert_eq!(
        (&rest[0].data["metrics"]["loss"], &rest[1].data["memory_mb"]),
        (&json!(0.5), &json!(12.0))
    );
    assert_eq!(rest[2].data, json!({"run_id": run, "status": "TRAINED", "error": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    let mut ids = Vec::new();
    for i in 0..10 {
        ids.push(server.log(model, &run, &format!("line {i}")).await);
    }
    let path = format!("/models/{model}/logs/stream");
    for (query, header) in [
        ("".into(), ids[3].to_string()),
        (format!("?after={}", ids[3]), String::new()),
    ] {
        let headers = [("last-event-id", header.as_str())];
        let headers = if header.is_empty() { &[][..] } else { &headers };
        let mut events = server.events(&format!("{path}{query}"), headers).await;
        assert_eq!(events.next().await.unwrap().data["message"], "line 4");
    }
    // What a browser saw last counts more than the URL that it began with.
    let last = ids[7].to_string();
    let mut events = server
        .events(&format!("{path}?after={}", ids[0]), &[("last-event-id", &last)])
        .await;
    assert_eq!(events.next().await.unwrap().data["message"], "line 8");
    let bad = server.send("GET", &path, &[("last-event-id", "x")], b"").await;
    bad.refused(400, "bad-last-event-id");
    server.get(&format!("{path}?after=x")).await.refused(400, "bad-query");
    server.get("/models/99/logs/stream").await.refused(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_dropped_is_told_as_a_gap() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    let first = server.log(model, &run, "first").await;
    for i in 0..1200 {
        server.log(model, &run, &format!("line {i}")).await;
    }
    let mut events = server
        .events(&format!("/models/{model}/logs/stream?after={first}"), &[])
        .await;
    let gap = events.next().await.unwrap();
    assert_eq!((gap.id, gap.name.as_deref()), (None, Some("gap")));
    assert_eq!(gap.data["after"], first);
    let next = events.next().await.unwrap();
    assert_eq!(
        (Some(&gap.data["next"]), &next.data["message"]),
        (next.id.map(|id| json!(id)).as_ref(), &json!("line 200"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_under_way_the_last_run_is_told_and_the_stream_ends() {
    let server = Server::start().await;
    let model = server.model().await;
    let path = format!("/models/{model}/logs/stream");
    let never = server.events(&path, &[]).await.rest().await;
    assert_eq!(names(&never), ["end"]);
    assert_eq!(never[0].data, json!({"run_id": null, "status": null, "error": null}));

    let first = server.train(model).await;
    server.log(model, &first, "of the first").await;
    server.fail(&first, "no rows").await;
    let ended = Event::End {
        status: RunState::Error,
        error: Some("no rows".into()),
    };
    server.publish(model, &first, ended).await;
    let second = server.train(model).await;
    server.log(model, &second, "of the second").await;
    server.finish(&second).await;
    server.publish(model, &second, end(RunState::Trained)).await;

    let told = server.events(&path, &[]).await.rest().await;
    assert_eq!(names(&told), ["status", "log", "end"], "{told:?}");
    assert_eq!(told[1].data["message"], "of the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_though_the_feed_is_silent() {
    // A feed that nobody publishes to, as when the worker is gone with its process.
    let server = Server::start_with(|options, services| {
        options.look = Duration::from_millis(50);
        services.feed = Arc::new(LocalFeed::new());
    })
    .await;
    let model = server.model().await;
    let run = server.train(model).await;
    let mut events = server.events(&format!("/models/{model}/logs/stream"), &[]).await;
    assert_eq!(events.next().await.unwrap().data["status"], "PENDING");
    server.begin(&run).await;
    // Preparation may have been seen too.
    let mut status = events.next().await.unwrap();
    if status.data["status"] == "PREPARING" {
        status = events.next().await.unwrap();
    }
    assert_eq!((status.id, &status.data["status"]), (None, &json!("TRAINING")));
    let row = server.services.store.run(&run).await.unwrap();
    let fail = trainyard_jobs::state::Change::Fail { error: "killed".into() };
    server.services.store.change(&run, row.token, fail).await.unwrap();
    let rest = events.rest().await;
    assert_eq!(names(&rest), ["status", "end"]);
    assert_eq!(
        rest[1].data,
        json!({"run_id": run, "status": "ERROR", "error": "killed"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_goes_on_over_runs_until_the_model_is_gone() {
    let server = Server::start_with(|options, _| options.look = Duration::from_millis(50)).await;
    let model = server.model().await;
    let mut events = server
        .events(&format!("/models/{model}/logs/stream?follow=true"), &[])
        .await;
    for round in 0..2 {
        let run = server.train(model).await;
        server.log(model, &run, &format!("round {round}")).await;
        server.finish(&run).await;
        server.publish(model, &run, end(RunState::Trained)).await;
    }
    let mut seen = Vec::new();
    while seen.iter().filter(|name| *name == "end").count() < 2 {
        let event = events.next().await.unwrap();
        seen.push(event.name.unwrap_or("log".into()));
    }
    assert_eq!(seen.iter().filter(|name| *name == "log").count(), 2, "{seen:?}");
    server.delete(&format!("/models/{model}")).await.data();
    events.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_says_that_it_is_alive() {
    let server = Server::start_with(|options, _| options.keep_alive = Duration::from_millis(100)).await;
    let model = server.model().await;
    server.train(model).await;
    let mut events = server.events(&format!("/models/{model}/logs/stream"), &[]).await;
    let mut comments = 0;
    while comments < 3 {
        comments += usize::from(events.block().await.unwrap() == ":");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_holds_up_nobody_and_is_dropped() {
    let server = Server::start_with(|options, _| options.stall_timeout = Duration::from_millis(500)).await;
    let model = server.model().await;
    let run = server.train(model).await;
    let path = format!("{BASE}/models/{model}/logs/stream?follow=true");
    let mut slow = TcpStream::connect(server.at).await.unwrap();
    slow.write_all(&wire("GET", &path, &[], b"")).await.unwrap();
    let mut fast = Events::open(server.at, &path, &[]).await;
    assert_eq!(fast.next().await.unwrap().name.as_deref(), Some("status"));
    let long = "x".repeat(64 << 10);
    let started = Instant::now();
    // Far more than the sockets between can hold.
    for _ in 0..400 {
        server.log(model, &run, &long).await;
        assert_eq!(fast.next().await.unwrap().name, None);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let open = async || {
        let text = server.get("//metrics").await.text();
        text.lines()
            .find_map(|line| line.strip_prefix("trainyard_live_streams ")?.parse::<u32>().ok())
            .unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while open().await > 1 {
        assert!(Instant::now() < deadline, "the slow reader is still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_live_and_afterwards_in_full() {
    let server = Server::start().await;
    let model = server.model().await;
    let path = format!("/models/{model}/logs");
    server.get(&path).await.refused(409, "no-run");
    let run = server.train(model).await;
    for i in 0..5 {
        server.log(model, &run, &format!("line {i}")).await;
    }
    let lines = async |query: &str| {
        let data = server.get(&format!("{path}{query}")).await.data();
        assert_eq!(data["run_id"], run);
        let said = |line: &Value| line["message"].as_str().unwrap().to_owned();
        data["items"].as_array().unwrap().iter().map(said).collect::<Vec<_>>()
    };
    assert_eq!(lines("?limit=2").await, ["line 3", "line 4"]);
    server.finish(&run).await;
    assert_eq!(lines("").await, ["first", "last"]);
    assert_eq!(lines(&format!("?limit=1&run={run}")).await, ["last"]);
    server.get(&format!("{path}?run=nope")).await.refused(404, "not-found");
    server.get(&format!("{path}?limit=0")).await.refused(400, "bad-query");
}
