//! The queue beside Celery: jobs that do nothing, on the same Redis, in the same run. `cargo xtask bench broker`.
//!
//! Both get the same messages from the same producer, acknowledge late, and write results where Celery's clients look for
//! them. Celery runs as its users run it (prefork, a process a core); ours takes and acknowledges through the queue's own
//! interface, which is all that a job costs there: what a training costs besides is in `bench service`. Then a hundred
//! trials of a sweep, on a real `trainyard up` (the program that `TRAINYARD` names).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine;
use comfy_table::{Table, presets};
use futures_util::StreamExt;
use redis::AsyncCommands;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use trainyard_benches::up::Up;
use trainyard_jobs::redis::{Redis, RedisBroker, RedisBrokerOptions};
use trainyard_jobs::{Broker, Outcome};
use trainyard_test_servers::Redis as Server;

/// Jobs that wait when the clock starts.
const JOBS: usize = 3_000;
/// Round trips, one after the other.
const TRIPS: usize = 300;
/// Jobs that ours has in hand at once.
const AT_ONCE: usize = 32;
/// Each is measured so often, in turn; the middle one counts.
const ROUNDS: usize = 3;
const QUEUE: &str = "ai_evaluation";

fn main() -> std::process::ExitCode {
    trainyard_benches::report(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run())
    })
}

async fn run() -> Result<()> {
    let python = std::env::var("TRAINYARD_PYTHON").context("TRAINYARD_PYTHON names no Python with Celery")?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        println!("round {} of {ROUNDS}", round + 1);
        theirs.push(celery(&python).await.context("Celery")?);
        ours.push(trainyard().await.context("Trainyard")?);
    }
    let middle = |all: &[Measured], figure: Figure| {
        let mut all: Vec<f64> = all.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(["", "Celery", "Trainyard", "ratio", "aim"]);
    let figures: [(&str, Figure, &str); 3] = [
        ("jobs a second", |measured| measured.rate, "6 or more"),
        ("round trip p50, ms", |measured| measured.p50, "1/3 or less"),
        ("round trip p99, ms", |measured| measured.p99, ""),
    ];
    for (name, figure, aim) in figures {
        let (theirs, ours) = (middle(&theirs, figure), middle(&ours, figure));
        table.add_row([
            name.into(),
            format!("{theirs:.2}"),
            format!("{ours:.2}"),
            format!("{:.2}", ours / theirs),
            aim.to_owned(),
        ]);
    }
    println!("{table}");
    sweep()
}

type Figure = fn(&Measured) -> f64;

struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
}

async fn celery(python: &str) -> Result<Measured> {
    let server = server()?;
    let cores = std::thread::available_parallelism()?.get().to_string();
    let worker = Command::new(python)
        .args([
            "-m",
            "celery",
            "-A",
            "celery_peer",
            "worker",
            "-Q",
            QUEUE,
            "-c",
            &cores,
            "-P",
            "prefork",
            "-l",
            "ERROR",
        ])
        .args(["--without-gossip", "--without-mingle"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("C_FORCE_ROOT", "1")
        .env("BROKER", server.url(0))
        .env("BACKEND", server.url(1))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("celery does not start")?;
    let worker = Ended(worker);
    let measured = measure(&server).await;
    drop(worker);
    measured
}

async fn trainyard() -> Result<Measured> {
    let server = server()?;
    let options = RedisBrokerOptions {
        rate_limit: 0,
        ..RedisBrokerOptions::default()
    };
    let broker = RedisBroker::new(Redis::connect(&server.url(0)).await?, options).await?;
    // As a worker does: one takes, as long as there is room, and what it took is done beside.
    let taker = tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else {
                return;
            };
            let delivery = match broker.take(&[QUEUE], "bench", Duration::from_secs(60)).await {
                Ok(Some(delivery)) => delivery,
                Ok(None) => {
                    broker.wait(&[QUEUE], Duration::from_secs(5)).await;
                    continue;
                }
                Err(_) => return,
            };
            let broker = broker.clone();
            tokio::spawn(async move {
                let _ = broker.acknowledge(&delivery, &Outcome::Done(Value::Null)).await;
                drop(permit);
            });
        }
    });
    let measured = measure(&server).await;
    taker.abort();
    measured
}

/// What a producer sees of whoever serves the queue.
async fn measure(server: &Server) -> Result<Measured> {
    let client = redis::Client::open(server.url(0))?;
    let mut queue = client.get_multiplexed_async_connection().await?;
    let mut results = redis::Client::open(server.url(1))?
        .get_multiplexed_async_connection()
        .await?;
    // The first ones wake it, and show that it is there.
    for number in 0..20 {
        trip(&client, &mut queue, &format!("warm-{number}")).await?;
    }
    let mut trips = Vec::with_capacity(TRIPS);
    for number in 0..TRIPS {
        trips.push(trip(&client, &mut queue, &format!("trip-{number}")).await?);
    }
    trips.sort();
    let before: usize = redis::cmd("DBSIZE").query_async(&mut results).await?;
    let messages: Vec<String> = (0..JOBS).map(|number| message(&format!("job-{number}"))).collect();
    let start = Instant::now();
    queue.lpush::<_, _, ()>(QUEUE, messages).await?;
    loop {
        let done: usize = redis::cmd("DBSIZE").query_async(&mut results).await?;
        if done >= before + JOBS {
            break;
        }
        if start.elapsed() > Duration::from_secs(120) {
            bail!("after two minutes {} of {JOBS} jobs are done", done - before);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let rate = JOBS as f64 / start.elapsed().as_secs_f64();
    let at = |share: f64| trips[((trips.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    Ok(Measured {
        rate,
        p50: at(0.5),
        p99: at(0.99),
    })
}

/// From the message to the word that its result is there.
async fn trip(client: &redis::Client, queue: &mut redis::aio::MultiplexedConnection, id: &str) -> Result<Duration> {
    let mut told = client.get_async_pubsub().await?;
    told.subscribe(format!("celery-task-meta-{id}")).await?;
    let mut told = told.into_on_message();
    let message = message(id);
    let start = Instant::now();
    queue.lpush::<_, _, ()>(QUEUE, message).await?;
    let heard = tokio::time::timeout(Duration::from_secs(60), told.next()).await;
    heard
        .context("a minute passed without a result")?
        .context("Redis is gone")?;
    Ok(start.elapsed())
}

/// As Celery's `send_task` writes it.
fn message(id: &str) -> String {
    let body = json!([[7, {}], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]);
    json!({
        "body": base64::engine::general_purpose::STANDARD.encode(body.to_string()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {
            "lang": "py", "task": "app.tasks.ai.evaluate_model", "id": id, "shadow": null, "eta": null, "expires": null,
            "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": id, "parent_id": null,
            "argsrepr": "[7, {}]", "kwargsrepr": "{}", "origin": "bench", "ignore_result": false,
            "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {},
        },
        "properties": {
            "correlation_id": id, "reply_to": "bench", "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
            "priority": 0, "body_encoding": "base64", "delivery_tag": format!("tag-{id}"),
        },
    })
    .to_string()
}

fn server() -> Result<Server> {
    Server::start()?.context("redis-server is not installed (Debian: apt-get install redis-server)")
}

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Celery ends its own processes when it is told to end.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

/// A hundred trials that do next to nothing, on one machine: what they take is what a trial costs.
fn sweep() -> Result<()> {
    let service = Up::start()?;
    let trainyard = |arguments: &[&str]| -> Result<Vec<Value>> {
        let said = Command::new(&service.program)
            .args(arguments)
            .args(["--json", "--url"])
            .arg(format!("http://{}", service.address))
            .output()?;
        if !said.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&said.stdout));
        }
        let lines = String::from_utf8_lossy(&said.stdout).into_owned();
        Ok(lines
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    };
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/seattle-weather.csv");
    let data = data.to_string_lossy().into_owned();
    trainyard(&["plugin", "push", "ridge"])?;
    trainyard(&["model", "create", "line", "--plugin", "ridge"])?;
    trainyard(&["train", "line", "--data", &data, "--target", "temp_max", "--watch"])?;
    let mut walls = Vec::new();
    for seed in 1..=5 {
        let seed = seed.to_string();
        let start = [
            "sweep",
            "start",
            "line",
            "--vary",
            "alpha=1e-4..1e2:log",
            "--trials",
            "100",
            "--seed",
            &seed,
        ];
        let made = trainyard(&start)?;
        let id = made.first().context("no sweep")?["id"].to_string();
        let last = trainyard(&["sweep", "watch", &id])?;
        let sweep = last
            .iter()
            .find(|line| line["state"] == "FINISHED")
            .context("the sweep did not finish")?;
        let time = |name: &str| -> Result<chrono::DateTime<chrono::Utc>> {
            Ok(sweep[name].as_str().context("no time")?.parse()?)
        };
        walls.push((time("finished_at")? - time("created_at")?).as_seconds_f64());
    }
    walls.sort_by(f64::total_cmp);
    println!(
        "100 trials of ridge, from the request to the best model: {:.2} s (five sweeps: {:.2} to {:.2}); aim 1 s or less",
        walls[2], walls[0], walls[4]
    );
    Ok(())
}
