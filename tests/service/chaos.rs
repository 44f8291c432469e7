//! Whatever dies, and whenever: every training ends once, with a result or with a cause, and nothing is left over.
//!
//! What is killed and when follows from a seed, which is printed: `TRAINYARD_CHAOS_SEED` does the same again, as far as
//! the machine does. `TRAINYARD_CHAOS_JOBS` says how many trainings.

use crate::harness::{Service, children, plugin, program, root};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trainyard_test_servers::{Postgres, Redis};

const WORKERS: usize = 3;
const JOBS: u64 = 500;
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(420);

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn said(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A worker alone, in a folder of its own that outlives it.
struct Worker {
    folder: tempfile::TempDir,
    settings: Vec<(String, String)>,
    process: Child,
}

impl Worker {
    fn start(artifacts: &Path, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::os::unix::fs::symlink(artifacts, folder.path().join("data/artifacts")).unwrap();
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let process = launch(folder.path(), &settings);
        Worker {
            folder,
            settings,
            process,
        }
    }

    fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.process = launch(self.folder.path(), &self.settings);
    }

    /// Ends it as an operator does, when it has begun.
    fn end(&mut self) {
        let limit = Instant::now() + Duration::from_secs(60);
        let output = self.folder.path().join("output.txt");
        while !std::fs::read_to_string(&output).unwrap().contains("worker ready") {
            assert!(self.is_alive() && Instant::now() < limit, "{}", self.words());
            std::thread::sleep(Duration::from_millis(20));
        }
        crate::harness::signal(self.process.id(), "TERM");
        while self.is_alive() {
            assert!(Instant::now() < limit, "a worker does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn words(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("errors.txt")).unwrap_or_default()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(folder: &Path, settings: &[(String, String)]) -> Child {
    let output = std::fs::File::create(folder.join("output.txt")).unwrap();
    program(folder, &["worker"], settings)
        .env("TRAINYARD_LOG_LEVEL", "warn")
        .stdout(output)
        .spawn()
        .unwrap()
}

/// Sends a request until the server's database and queue are there again.
fn patiently(server: &Service, path: &str, body: &Value) -> Value {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = server.post(path, body);
        if answer.status != 503 {
            return answer.data();
        }
        assert!(Instant::now() < limit, "503 for a minute: {}", answer.json());
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn lines(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| !line.is_empty());
    rows.map(|line| line.split('|').collect()).collect()
}

#[test]
fn whatever_dies_every_training_ends_once_and_leaves_nothing_behind() {
    let Some(plain) = plugin("plain") else { return };
    let (Some(mut postgres), Some(mut redis)) = (Postgres::start_own().unwrap(), Redis::start().unwrap()) else {
        return;
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = said("TRAINYARD_CHAOS_SEED").unwrap_or(now.as_nanos() as u64);
    let jobs = said("TRAINYARD_CHAOS_JOBS").unwrap_or(JOBS);
    println!("TRAINYARD_CHAOS_SEED={seed} TRAINYARD_CHAOS_JOBS={jobs}");
    let mut random = Random(seed);
    let database = postgres.database().unwrap();
    let redis_url = redis.url(0);
    let settings = [
        ("TRAINYARD_DATABASE_URL", database.as_str()),
        ("TRAINYARD_REDIS_URL", &redis_url),
        ("TRAINYARD_REDIS_RATE_LIMIT", "0"),
        ("TRAINYARD_WORKER_SLOTS", "2"),
        ("TRAINYARD_WORKER_WARM", "1"),
    ];
    let mut server = Service::serving(&settings);
    server.upload_plugin(&plain);
    let csv = std::fs::read_to_string(root().join("examples/data/seattle-weather.csv")).unwrap();
    let data = server.upload_csv("weather.csv", &csv);
    let dataset = json!({"source": "upload", "dataset_id": data, "time": "date", "target": ["temp_max"], "lookback": 4,
        "horizon": 1, "columns": ["temp_max", "temp_min"]});
    let artifacts = server.data_dir().join("artifacts");
    let mut workers: Vec<Worker> = (0..WORKERS).map(|_| Worker::start(&artifacts, &settings)).collect();

    let submitter = std::thread::scope(|scope| {
        let submits = scope.spawn(|| {
            let mut runs = HashMap::new();
            for number in 0..jobs {
                let body = json!({"name": format!("m{number}"), "plugin": "plain", "training_dataset": dataset,
                    "training_parameters": {"epochs": 1 + number % 20}});
                let model = patiently(&server, "/api/v2/ai/models", &body)["id"].as_i64().unwrap();
                // A submit whose answer was lost may have been taken all the same: then the model says so.
                let answer = loop {
                    let answer = server.post(&format!("/api/v2/ai/models/{model}/train"), &json!({}));
                    match answer.status {
                        503 => std::thread::sleep(Duration::from_millis(100)),
                        409 => break patient_model(&server, model),
                        _ => break answer.data(),
                    }
                };
                runs.insert(model, answer["task_id"].as_str().unwrap().to_owned());
            }
            runs
        });
        let start = Instant::now();
        let mut deaths = HashMap::from([("worker", 0), ("runner", 0), ("redis", 0), ("postgres", 0)]);
        let mut next_outage = 8;
        let (mut orphans, mut failovers) = (Vec::new(), Vec::new());
        loop {
            std::thread::sleep(Duration::from_millis(150 + random.below(500)));
            assert!(start.elapsed() < PATIENCE, "it takes too long; what died: {deaths:?}");
            for worker in &mut workers {
                if !worker.is_alive() {
                    panic!("a worker ended by itself: {}", worker.words());
                }
            }
            // What a killed worker had: when another has it, or has brought it to its end.
            let text = postgres
                .sql(
                    &database,
                    "SELECT id, attempt, state FROM trainyard.runs WHERE attempt > 0",
                )
                .unwrap();
            let now: HashMap<&str, (u64, &str)> = lines(&text)
                .into_iter()
                .map(|row| (row[0], (row[1].parse().unwrap(), row[2])))
                .collect();
            orphans.retain(|(run, attempt, since): &(String, u64, Instant)| {
                let (taken, state) = now[run.as_str()];
                let settled = taken > *attempt || matches!(state, "TRAINED" | "ERROR");
                if settled {
                    failovers.push(since.elapsed().as_secs_f64());
                }
                !settled
            });
            let left = postgres
                .sql(
                    &database,
                    "SELECT count(*) FROM trainyard.runs WHERE finished_at IS NULL",
                )
                .unwrap();
            if submits.is_finished() && left == "0" {
                break;
            }
            next_outage -= 1;
            if next_outage == 0 {
                next_outage = 10 + random.below(10);
                // One after the other at first, then whichever.
                let turns = [deaths["redis"], deaths["postgres"]];
                if turns == [0, 0] || turns != [1, 0] && random.below(2) == 0 {
                    redis.kill();
                    std::thread::sleep(Duration::from_millis(random.below(1500)));
                    redis.restart().unwrap();
                    *deaths.get_mut("redis").unwrap() += 1;
                } else {
                    postgres.kill();
                    std::thread::sleep(Duration::from_millis(random.below(1500)));
                    postgres.restart().unwrap();
                    *deaths.get_mut("postgres").unwrap() += 1;
                }
                continue;
            }
            let chosen = random.below(WORKERS as u64) as usize;
            if random.below(4) == 0 {
                let name = format!("worker-{}@", workers[chosen].process.id());
                workers[chosen].kill();
                let had = format!(
                    "SELECT id, attempt FROM trainyard.runs WHERE worker LIKE '{name}%' AND state IN ('PREPARING', 'TRAINING')"
                );
                for row in lines(&postgres.sql(&database, &had).unwrap()) {
                    orphans.push((row[0].to_owned(), row[1].parse().unwrap(), Instant::now()));
                }
                *deaths.get_mut("worker").unwrap() += 1;
                std::thread::sleep(Duration::from_millis(random.below(1000)));
                workers[chosen].start_again();
            } else if let runners = children(workers[chosen].process.id())
                && !runners.is_empty()
            {
                let runner = runners[random.below(runners.len() as u64) as usize];
                // It may have ended since.
                let _ = Command::new("kill")
                    .args(["-9", &runner.to_string()])
                    .stderr(Stdio::null())
                    .status();
                *deaths.get_mut("runner").unwrap() += 1;
            }
        }
        println!(
            "{jobs} trainings over after {:.0} s; what died: {deaths:?}",
            start.elapsed().as_secs_f64()
        );
        failovers.sort_by(f64::total_cmp);
        if let Some(last) = failovers.last() {
            println!(
                "{} trainings of killed workers went on elsewhere: half of them within {:.1} s, all within {last:.1} s",
                failovers.len(),
                failovers[failovers.len() / 2]
            );
        }
        if jobs >= JOBS {
            assert!(deaths.values().all(|count| *count > 0), "{deaths:?}");
        }
        submits.join().unwrap()
    });

    // Each one ended once, and its model says the same.
    assert_eq!(submitter.len() as u64, jobs);
    let text = postgres
        .sql(
            &database,
            "SELECT runs.id, model_id, state, status, attempt, coalesce(file_path, ''), replace(left(coalesce(runs.error_log, ''), 150), E'\n', ' ')
             FROM trainyard.runs JOIN t_ai_models AS model ON model.id = model_id AND model.task_id = runs.id ORDER BY model_id",
        )
        .unwrap();
    let rows = lines(&text);
    assert_eq!(rows.len() as u64, jobs, "a run for each model");
    let mut ends: HashMap<String, u64> = HashMap::new();
    let mut results = HashMap::new();
    for row in &rows {
        let [run, model, state, status, attempt, path, error] = row[..] else {
            panic!("{row:?}")
        };
        assert_eq!(submitter[&model.parse::<i64>().unwrap()], run);
        assert_eq!(state, status);
        match state {
            "TRAINED" => drop(results.insert(run, path)),
            "ERROR" => {
                assert!(!error.is_empty(), "{row:?}");
                println!("run {run}, attempt {attempt}: {error}");
            }
            _ => panic!("{row:?}"),
        }
        *ends.entry(format!("{state} at attempt {attempt}")).or_default() += 1;
    }
    println!("{ends:?}");
    assert!(results.len() as u64 * 10 >= jobs * 9, "few came to a result: {ends:?}");

    // The queue is empty: what was acknowledged is gone, and what is put there again is seen to be over.
    server.eventually("the queue is empty", || {
        let keys = keys(&redis_url);
        let left = |key: &String| {
            [
                "unacked",
                "unacked_index",
                "trainyard:taken",
                "trainyard:leases",
                "trainyard:tasks",
            ]
            .contains(&key.as_str())
                || key.starts_with("ai:training:lock:")
                || key.starts_with("ai_training")
        };
        assert!(keys.iter().any(|key| key.starts_with("ai:training:logs:")), "{keys:?}");
        !keys.iter().any(left)
    });
    for worker in &mut workers {
        worker.end();
    }
    server.signal("TERM");
    server.wait();
    // What killed workers left half-written goes when nobody uses the folder and somebody opens it.
    for worker in &mut workers {
        worker.start_again();
        let limit = Instant::now() + Duration::from_secs(60);
        let scratch = worker.folder.path().join("data/scratch");
        let left = || -> Vec<String> {
            let entries = std::fs::read_dir(&scratch).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.filter(|name| name.starts_with("job-")).collect()
        };
        while !left().is_empty() {
            assert!(Instant::now() < limit, "folders of jobs are left: {:?}", left());
            std::thread::sleep(Duration::from_millis(50));
        }
        worker.end();
        let left: Vec<_> = std::fs::read_dir(&scratch)
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert!(
            left.is_empty(),
            "{left:?} are left by runners of {}",
            worker.process.id()
        );
    }
    // Nothing is there but whole results, and the logs of what failed.
    let mut files: HashMap<String, u64> = HashMap::new();
    for file in server.files("artifacts/models") {
        let file = file.strip_prefix("artifacts/").unwrap();
        let (folder, name) = file.rsplit_once('/').unwrap();
        let run = file.split('/').nth(3).unwrap();
        match results.get(run) {
            Some(path) => assert_eq!(&folder, path, "{file} is left over"),
            None => assert_eq!(name, "log.jsonl", "{file} is left over"),
        }
        *files.entry(run.to_owned()).or_default() += 1;
    }
    for run in results.keys() {
        assert_eq!(files.get(*run), Some(&4), "{run} is not whole");
    }
}

/// The keys in Redis, asked for in its own protocol.
fn keys(url: &str) -> Vec<String> {
    let address = url.trim_start_matches("redis://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"KEYS *\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let mut next = || {
        line.clear();
        reader.read_line(&mut line).unwrap();
        line.trim_end_matches("\r\n").to_owned()
    };
    let count: usize = next().trim_start_matches('*').parse().unwrap();
    let mut keys = Vec::with_capacity(count);
    for _ in 0..count {
        next();
        keys.push(next());
    }
    keys
}

/// A model's run that is under way, or its last.
fn patient_model(server: &Service, model: i64) -> Value {
    loop {
        let answer = server.get(&format!("/api/v2/ai/models/{model}"));
        if answer.status != 503 {
            return answer.data();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
