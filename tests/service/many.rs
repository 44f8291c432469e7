//! Several services over one PostgreSQL and one Redis, with files that they share, as on several machines.

use crate::harness::{Service, plugin, signal};
use serde_json::json;
use std::time::{Duration, Instant};
use trainyard_test_servers::{Postgres, Redis};

/// What the services have in common.
struct Plant {
    _postgres: Postgres,
    _redis: Redis,
    settings: Vec<(String, String)>,
}

impl Plant {
    fn start() -> Option<Self> {
        plugin("dlinear")?;
        let (postgres, redis) = (Postgres::start().unwrap()?, Redis::start().unwrap()?);
        let settings = [
            ("TRAINYARD_DATABASE_URL", postgres.database().unwrap()),
            ("TRAINYARD_REDIS_URL", redis.url(0)),
            ("TRAINYARD_REDIS_RATE_LIMIT", "0".into()),
            ("TRAINYARD_WORKER_SLOTS", "1".into()),
            ("TRAINYARD_WORKER_LEASE_SECONDS", "6".into()),
            ("TRAINYARD_WORKER_RENEW_SECONDS", "2".into()),
        ];
        Some(Plant {
            settings: settings.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            _postgres: postgres,
            _redis: redis,
        })
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        self.settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

#[test]
fn a_training_goes_on_elsewhere_when_its_machine_dies() {
    let Some(plant) = Plant::start() else { return };
    let first = Service::with(&plant.settings());
    let id = first.create_slow_weather(1000).unwrap();
    let second = Service::beside(&first, &plant.settings());
    let run = first.train(id, &json!({}));
    first.wait_for(id, &["TRAINING"]);
    let had = first.run(id, &run)["worker"].as_str().unwrap().to_owned();
    let (dies, lives) = if had.contains(&format!("worker-{}@", first.pid())) {
        (&first, &second)
    } else {
        assert!(had.contains(&format!("worker-{}@", second.pid())), "{had}");
        (&second, &first)
    };
    signal(dies.pid(), "KILL");
    let died = Instant::now();
    lives.eventually("another takes it", || {
        let run = lives.run(id, &run);
        run["attempt"] == 2 && run["state"] == "TRAINING"
    });
    // Seven seconds on a machine that has nothing else to do: a lease, and a moment.
    println!("it went on after {:.1} s", died.elapsed().as_secs_f64());
    assert_ne!(lives.run(id, &run)["worker"], had);
    lives.stop(id).data();
    lives.wait_for(id, &["DRAFT"]);
}

#[test]
fn what_one_machine_does_is_seen_live_on_another_and_is_stopped_from_there() {
    let Some(plant) = Plant::start() else { return };
    let first = Service::with(&plant.settings());
    let id = first.create_slow_weather(1000).unwrap();
    let second = Service::beside(&first, &plant.settings());
    let run = second.train(id, &json!({}));
    first.wait_for(id, &["TRAINING"]);
    let worker = first.run(id, &run)["worker"].as_str().unwrap().to_owned();
    let (works, watches) = if worker.contains(&format!("worker-{}@", first.pid())) {
        (&first, &second)
    } else {
        (&second, &first)
    };
    let mut events = watches.stream(&format!("/api/v2/ai/models/{id}/logs/stream"), &[]);
    let progress = events.by_ref().find(|event| event.name == "progress").unwrap();
    assert_eq!(progress.data["run_id"], run);
    let asked = Instant::now();
    watches.stop(id).data();
    let end = events.find(|event| event.name == "end").unwrap();
    assert_eq!(end.data["status"], "CANCELLED");
    assert!(asked.elapsed() < Duration::from_secs(30));
    works.wait_for(id, &["DRAFT"]);
    // Both say the same, and predict alike with what either has trained.
    let quick = works.create_weather(2).unwrap();
    works.train(quick, &json!({}));
    let (here, there) = (
        works.wait_for(quick, &["TRAINED"]),
        watches.wait_for(quick, &["TRAINED"]),
    );
    assert_eq!(here["metrics"], there["metrics"]);
    let body = json!({"dataset": here["training_dataset"]});
    let path = format!("/api/v2/ai/models/{quick}/predict");
    assert_eq!(works.post(&path, &body).data(), watches.post(&path, &body).data());
}
