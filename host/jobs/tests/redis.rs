#![allow(clippy::unwrap_used, reason = "tests")]
//! The contracts of queue and feed, kept on a real Redis, and what only a server that others share can do. Celery itself
//! is in `tests/celery`.

mod contract;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use trainyard_jobs::redis::{Redis, RedisBroker, RedisBrokerOptions, RedisFeed};
use trainyard_jobs::{Broker, BrokerError, Event, Feed, FeedItem, Job, JobKind, LogLevel, Outcome, Signal};
use trainyard_test_servers::Redis as Server;

const LONG: Duration = Duration::from_secs(600);
const PATIENCE: Duration = Duration::from_secs(30);

/// An adapter, and the server that it is on.
struct Adapter<T> {
    port: T,
    server: Server,
}

fn unlimited() -> RedisBrokerOptions {
    RedisBrokerOptions {
        rate_limit: 0,
        ..RedisBrokerOptions::default()
    }
}

async fn broker_on(server: &Server, options: RedisBrokerOptions) -> RedisBroker {
    let redis = Redis::connect(&server.url(0)).await.unwrap();
    RedisBroker::new(redis, options).await.unwrap()
}

async fn broker() -> Option<Adapter<RedisBroker>> {
    let server = Server::start().unwrap()?;
    Some(Adapter {
        port: broker_on(&server, unlimited()).await,
        server,
    })
}

async fn feed() -> Option<Adapter<RedisFeed>> {
    let server = Server::start().unwrap()?;
    let redis = Redis::connect(&server.url(0)).await.unwrap();
    Some(Adapter {
        port: RedisFeed::new(redis).await.unwrap(),
        server,
    })
}

broker_contract!(broker);
feed_contract!(feed);

fn job(run: &str) -> Job {
    Job {
        run: run.to_owned(),
        kind: JobKind::Train,
        // A model is trained by one run at a time.
        model: contract::fixtures::number(run),
        config: json!({"training_parameters": {"epochs": 3}}),
        priority: 0,
    }
}

/// Asks the server itself.
async fn ask<T: redis::FromRedisValue>(server: &Server, database: u8, command: &[&str]) -> T {
    let client = redis::Client::open(server.url(database)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd(command[0])
        .arg(&command[1..])
        .query_async(&mut connection)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_job_leaves_its_result_and_nothing_else() {
    let Some(Adapter { port: broker, server }) = broker().await else {
        return;
    };
    broker.enqueue("q", &job("r1")).await.unwrap();
    let delivery = broker.take(&["q"], "w", LONG).await.unwrap().unwrap();
    assert_eq!(delivery.job, job("r1"));
    broker.report(&delivery, &json!({"progress": 40.0})).await.unwrap();
    let meta: String = ask(&server, 1, &["GET", "celery-task-meta-r1"]).await;
    let meta: Value = serde_json::from_str(&meta).unwrap();
    assert_eq!(
        (&meta["status"], &meta["result"]["progress"]),
        (&json!("PROGRESS"), &json!(40.0))
    );
    broker
        .acknowledge(&delivery, &Outcome::Done(json!({"mae": 0.5})))
        .await
        .unwrap();
    let meta: String = ask(&server, 1, &["GET", "celery-task-meta-r1"]).await;
    let meta: Value = serde_json::from_str(&meta).unwrap();
    assert_eq!(
        (&meta["status"], &meta["result"]),
        (&json!("SUCCESS"), &json!({"mae": 0.5}))
    );
    let left: i64 = ask(&server, 1, &["TTL", "celery-task-meta-r1"]).await;
    assert!((86_300..=86_400).contains(&left), "{left}");
    let mut keys: Vec<String> = ask(&server, 0, &["KEYS", "*"]).await;
    keys.sort();
    assert_eq!(keys, ["trainyard:queues"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_come_in_their_order_and_in_the_order_of_submits_within() {
    let Some(Adapter {
        port: broker,
        server: _server,
    }) = broker().await
    else {
        return;
    };
    for (run, priority) in [("c", 9), ("a1", 0), ("b", 4), ("a2", 0), ("a3", 2)] {
        broker.enqueue("q", &Job { priority, ..job(run) }).await.unwrap();
    }
    let mut runs = Vec::new();
    while let Some(delivery) = broker.take(&["q"], "w", LONG).await.unwrap() {
        runs.push(delivery.job.run);
    }
    assert_eq!(runs, ["a1", "a2", "a3", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_enqueues_wakes_a_worker_at_once() {
    let Some(Adapter { port: worker, server }) = broker().await else {
        return;
    };
    let other = broker_on(&server, unlimited()).await;
    for round in 0..10 {
        let start = Instant::now();
        let enqueue = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            other.enqueue("q", &job(&format!("r{round}"))).await.unwrap();
        };
        futures_util::future::join(worker.wait(&["q"], PATIENCE), enqueue).await;
        assert!(start.elapsed() < PATIENCE / 2);
        assert!(worker.take(&["q"], "w", LONG).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_other_processes() {
    let Some(Adapter { port: worker, server }) = broker().await else {
        return;
    };
    let other = broker_on(&server, unlimited()).await;
    let mut signals = worker.signals();
    other.signal(Signal::Stop("r1".into())).await.unwrap();
    let heard = tokio::time::timeout(PATIENCE, signals.recv()).await.unwrap().unwrap();
    assert_eq!(heard, Signal::Stop("r1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_trainings_a_minute_begin_over_all_workers_and_evaluations_go_on() {
    let Some(server) = Server::start().unwrap() else { return };
    let brokers = [
        broker_on(&server, RedisBrokerOptions::default()).await,
        broker_on(&server, RedisBrokerOptions::default()).await,
    ];
    for number in 0..15 {
        brokers[0].enqueue("q", &job(&format!("r{number}"))).await.unwrap();
    }
    let mut taken = 0;
    for round in 0..20 {
        let delivery = brokers[round % 2].take(&["q"], "w", LONG).await.unwrap();
        taken += u32::from(delivery.is_some());
    }
    assert_eq!(taken, 10);
    let evaluation = Job {
        kind: JobKind::Evaluate,
        ..job("e1")
    };
    brokers[0].enqueue("e", &evaluation).await.unwrap();
    let delivery = brokers[1].take(&["q", "e"], "w", LONG).await.unwrap().unwrap();
    assert_eq!(delivery.job, evaluation);
    // A second turn comes after six seconds; waiting for it does not spin, and does not end early.
    let start = Instant::now();
    let turn = loop {
        if let Some(delivery) = brokers[0].take(&["q"], "w", LONG).await.unwrap() {
            break delivery;
        }
        brokers[0].wait(&["q"], PATIENCE).await;
        assert!(start.elapsed() < PATIENCE);
    };
    assert_eq!(turn.job.run, "r10");
    assert!(start.elapsed() > Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_put_aside() {
    let Some(Adapter { port: broker, server }) = broker().await else {
        return;
    };
    for nonsense in [
        "",
        "nonsense",
        "[1]",
        r#"{"headers": {"id": 7}}"#,
        r#"{"headers": {"id": "x"}, "properties": {}}"#,
    ] {
        let _: u64 = ask(&server, 0, &["LPUSH", "q", nonsense]).await;
    }
    broker.enqueue("q", &job("r1")).await.unwrap();
    assert_eq!(broker.take(&["q"], "w", LONG).await.unwrap().unwrap().job.run, "r1");
    let aside: u64 = ask(&server, 0, &["LLEN", "trainyard:unreadable"]).await;
    assert_eq!(aside, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_keeps_what_it_acknowledged() {
    let Some(Adapter {
        port: broker,
        mut server,
    }) = broker().await
    else {
        return;
    };
    for number in 0..50 {
        broker.enqueue("q", &job(&format!("r{number}"))).await.unwrap();
    }
    let first = broker.take(&["q"], "w", LONG).await.unwrap().unwrap();
    let lost = broker.take(&["q"], "w", Duration::from_secs(1)).await.unwrap().unwrap();
    // Its file is written once a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.kill();
    let error = broker.enqueue("q", &job("x")).await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error:?}");
    assert!(broker.take(&["q"], "w", LONG).await.is_err());
    let start = Instant::now();
    broker.wait(&["q"], Duration::from_millis(300)).await;
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "waiting without a server must not spin"
    );
    server.restart().unwrap();
    let start = Instant::now();
    while broker.depth().await.is_err() {
        assert!(start.elapsed() < PATIENCE, "it was never found again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    broker.renew(&first, LONG).await.unwrap();
    let mut runs = vec![first.job.run.clone()];
    while let Some(delivery) = broker.take(&["q"], "w", LONG).await.unwrap() {
        runs.push(delivery.job.run);
    }
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 50);
    assert!(matches!(
        broker.acknowledge(&lost, &Outcome::Stopped).await,
        Err(BrokerError::LeaseLost { .. })
    ));
    broker.acknowledge(&first, &Outcome::Done(Value::Null)).await.unwrap();
    // And it is heard again.
    let mut signals = broker.signals();
    let start = Instant::now();
    loop {
        broker.signal(Signal::Stop("r1".into())).await.unwrap();
        if tokio::time::timeout(Duration::from_millis(200), signals.recv())
            .await
            .is_ok()
        {
            break;
        }
        assert!(start.elapsed() < PATIENCE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_does_not_hang_us() {
    let Some(Adapter { port: broker, server }) = broker().await else {
        return;
    };
    broker.enqueue("q", &job("r1")).await.unwrap();
    server.freeze();
    let start = Instant::now();
    let error = broker.enqueue("q", &job("r2")).await.unwrap_err();
    assert!(error.to_string().contains("does not answer"), "{error}");
    assert!(start.elapsed() < PATIENCE);
    server.thaw();
    let start = Instant::now();
    while broker
        .take(&["q"], "w", LONG)
        .await
        .map_or(true, |taken| taken.is_none())
    {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_not_redis_is_named() {
    let refused = Redis::connect("redis://:secret@127.0.0.1:1/0")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("Redis at 127.0.0.1:1") && !refused.contains("secret"),
        "{refused}"
    );
    let url = Redis::connect("no url").await.err().unwrap().to_string();
    assert!(url.contains("URL cannot be read"), "{url}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_lies_where_the_originals_clients_look() {
    let Some(Adapter { port: feed, server }) = feed().await else {
        return;
    };
    let event = Event::Log {
        timestamp: "2026-01-02T03:04:05Z".parse().unwrap(),
        level: LogLevel::Warning,
        message: "Epoch 1/100, Loss: \"0.523\" \u{1f600}".into(),
    };
    for _ in 0..1005 {
        feed.publish(7, &"r1".to_owned(), event.clone()).await;
    }
    let lines: Vec<String> = ask(&server, 0, &["LRANGE", "ai:training:logs:7", "0", "-1"]).await;
    assert_eq!(lines.len(), 1000);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["timestamp"], "2026-01-02T03:04:05Z");
    assert_eq!(line["level"], "WARNING");
    assert_eq!(line["message"], "Epoch 1/100, Loss: \"0.523\" \u{1f600}");
    let left: i64 = ask(&server, 0, &["TTL", "ai:training:logs:7"]).await;
    assert!((3590..=3600).contains(&left), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_in_another_process_sees_every_event_over_a_dead_server() {
    let Some(Adapter { port: feed, mut server }) = feed().await else {
        return;
    };
    let other = RedisFeed::new(Redis::connect(&server.url(0)).await.unwrap())
        .await
        .unwrap();
    let mut reader = other.subscribe(7, None).await;
    let event = |message: String| Event::Log {
        timestamp: chrono::Utc::now(),
        level: LogLevel::Info,
        message,
    };
    let first = feed.publish(7, &"r1".to_owned(), event("a".into())).await;
    let next = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap();
    assert!(matches!(next, FeedItem::Entry(entry) if entry.number == first));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    server.kill();
    assert_eq!(feed.publish(7, &"r1".to_owned(), event("lost".into())).await, 0);
    server.restart().unwrap();
    let start = Instant::now();
    let second = loop {
        let number = feed.publish(7, &"r1".to_owned(), event("b".into())).await;
        if number > 0 {
            break number;
        }
        assert!(start.elapsed() < PATIENCE);
    };
    let next = tokio::time::timeout(PATIENCE, reader.next()).await.unwrap().unwrap();
    assert!(
        matches!(&next, FeedItem::Entry(entry) if entry.number == second),
        "{next:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_locked_while_a_run_trains_it() {
    let Some(server) = Server::start().unwrap() else { return };
    let broker = broker_on(&server, unlimited()).await;
    let key = "ai:training:lock:7";
    for run in ["r1", "r2"] {
        broker.enqueue("q", &Job { model: 7, ..job(run) }).await.unwrap();
    }
    let first = broker.take(&["q"], "w", LONG).await.unwrap().unwrap();
    assert_eq!(ask::<String>(&server, 0, &["GET", key]).await, first.job.run);
    assert!(ask::<i64>(&server, 0, &["TTL", key]).await > 3590);
    // The other waits its turn, and loses none of its own.
    assert_eq!(broker.take(&["q"], "w", LONG).await.unwrap(), None);
    let _: i64 = ask(&server, 0, &["EXPIRE", key, "60"]).await;
    broker.renew(&first, LONG).await.unwrap();
    assert!(ask::<i64>(&server, 0, &["TTL", key]).await > 3590);
    broker.acknowledge(&first, &Outcome::Stopped).await.unwrap();
    assert_eq!(ask::<Option<String>>(&server, 0, &["GET", key]).await, None);
    let second = loop {
        match broker.take(&["q"], "w", LONG).await.unwrap() {
            Some(delivery) => break delivery,
            None => broker.wait(&["q"], Duration::from_secs(1)).await,
        }
    };
    assert_eq!(second.job.run, "r2");
    // Somebody else's lock is left to them.
    let _: String = ask(&server, 0, &["SET", key, "another program"]).await;
    broker.release(&second).await.unwrap();
    assert_eq!(ask::<String>(&server, 0, &["GET", key]).await, "another program");
    assert_eq!(broker.take(&["q"], "w", LONG).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_waits_for_its_model_takes_nobodys_turn() {
    let Some(server) = Server::start().unwrap() else { return };
    let options = RedisBrokerOptions {
        rate_limit: 2,
        ..RedisBrokerOptions::default()
    };
    let broker = broker_on(&server, options).await;
    for (run, model) in [("r1", 7), ("r2", 7), ("r3", 8)] {
        broker.enqueue("q", &Job { model, ..job(run) }).await.unwrap();
    }
    let taken = async || {
        broker
            .take(&["q"], "w", LONG)
            .await
            .unwrap()
            .map(|delivery| delivery.job.run)
    };
    assert_eq!(taken().await.as_deref(), Some("r1"));
    // The second waits for the first; two may begin in a minute, and it has not.
    assert_eq!(taken().await.as_deref(), Some("r3"));
    assert_eq!(taken().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_goes_to_another_worker_takes_one_turn() {
    let Some(server) = Server::start().unwrap() else { return };
    let options = RedisBrokerOptions {
        rate_limit: 1,
        ..RedisBrokerOptions::default()
    };
    let broker = broker_on(&server, options).await;
    broker.enqueue("q", &job("r1")).await.unwrap();
    for worker in ["w1", "w2", "w3"] {
        let taken = broker.take(&["q"], worker, LONG).await.unwrap();
        let taken = taken.unwrap_or_else(|| panic!("nothing for {worker}"));
        broker.release(&taken).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_in_a_queue_that_nobody_serves_is_not_done_later() {
    let Some(server) = Server::start().unwrap() else { return };
    let broker = broker_on(&server, unlimited()).await;
    // As a producer of Celery puts it there.
    for run in ["r1", "r2"] {
        let message = json!({
            "body": "W1s3LCB7fV0sIHt9LCB7fV0=", "content-encoding": "utf-8", "content-type": "application/json",
            "headers": {"id": run, "task": "app.tasks.ai.evaluate_model"},
            "properties": {"delivery_tag": run, "body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "q"}},
        });
        let _: i64 = ask(&server, 0, &["LPUSH", "q", &message.to_string()]).await;
    }
    assert!(!broker.withdraw(&"r1".to_owned()).await.unwrap());
    let taken = broker.take(&["q"], "w", LONG).await.unwrap().unwrap();
    assert_eq!((taken.job.run.as_str(), taken.deliveries), ("r2", 1));
    let result: String = ask(&server, 1, &["GET", "celery-task-meta-r1"]).await;
    assert!(result.contains("REVOKED"), "{result}");
    assert_eq!(ask::<i64>(&server, 0, &["EXISTS", "trainyard:revoked"]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_a_time_that_is_none_fails_with_words() {
    let Some(server) = Server::start().unwrap() else { return };
    let broker = broker_on(&server, unlimited()).await;
    let message = json!({
        "body": "W1s3LCB7fV0sIHt9LCB7fV0=", "content-encoding": "utf-8", "content-type": "application/json",
        "headers": {"id": "r1", "task": "app.tasks.ai.train_model", "eta": "tomorrow"},
        "properties": {"delivery_tag": "t1", "body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": "q"}},
    });
    let _: i64 = ask(&server, 0, &["LPUSH", "q", &message.to_string()]).await;
    assert_eq!(broker.take(&["q"], "w", LONG).await.unwrap(), None);
    let result: String = ask(&server, 1, &["GET", "celery-task-meta-r1"]).await;
    assert!(result.contains("FAILURE") && result.contains("tomorrow"), "{result}");
    assert_eq!(ask::<i64>(&server, 0, &["HLEN", "unacked"]).await, 0);
}
