//! Several services over one PostgreSQL and one Redis, with files that they share, as on several machines.

use crate::harness::{Service, plugin, signal};
use serde_json::json;
use std::collections::HashSet;
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

#[test]
fn a_job_that_asks_for_a_label_goes_to_the_worker_that_has_it() {
    let Some(plant) = Plant::start() else { return };
    let first = Service::with(&plant.settings());
    let id = first.create_weather(2).unwrap();
    let run = first.train(id, &json!({"labels": ["gpu"]}));
    first.eventually("it is said that nobody can take it", || {
        let log = first.get(&format!("/api/v2/ai/models/{id}/logs")).data();
        log.to_string()
            .contains("no worker that is there now has the labels gpu")
    });
    assert_eq!(first.run(id, &run)["state"], "PENDING");
    let mut settings = plant.settings();
    settings.push(("TRAINYARD_WORKER_LABELS", "gpu,large"));
    let second = Service::beside(&first, &settings);
    first.wait_for(id, &["TRAINED"]);
    let worker = first.run(id, &run)["worker"].as_str().unwrap().to_owned();
    assert!(worker.contains(&format!("worker-{}@", second.pid())), "{worker}");
    first.eventually("both are listed", || {
        let workers = first.get("/api/v2/ai/workers").data();
        let items = workers["items"].as_array().unwrap();
        items.iter().filter(|worker| worker["alive"] == true).count() == 2
    });
}

#[test]
fn trials_of_a_sweep_are_spread_over_all_workers() {
    let Some(plant) = Plant::start() else { return };
    let first = Service::with(&plant.settings());
    let id = first.create_weather(30).unwrap();
    let _second = Service::beside(&first, &plant.settings());
    first.eventually("both are listed", || {
        first.get("/api/v2/ai/workers").data()["items"]
            .as_array()
            .unwrap()
            .len()
            == 2
    });
    let body = json!({"space": {"learning_rate": {"min": 0.0001, "max": 0.1, "log": true}}, "trials": 12, "seed": 3});
    let sweep = first.post(&format!("/api/v2/ai/models/{id}/sweep"), &body).data();
    let path = format!("/api/v2/ai/sweeps/{}", sweep["id"]);
    first.eventually("the sweep is over", || first.get(&path).data()["state"] == "FINISHED");
    let sweep = first.get(&path).data();
    let trials = first.get(&format!("{path}/trials")).data();
    let items = trials["items"].as_array().unwrap();
    assert!(items.iter().all(|trial| trial["state"] == "TRAINED"), "{trials}");
    let workers: HashSet<&str> = items.iter().map(|trial| trial["worker"].as_str().unwrap()).collect();
    assert_eq!(workers.len(), 2, "{trials}");
    let least = items
        .iter()
        .map(|trial| trial["value"].as_f64().unwrap())
        .fold(f64::INFINITY, f64::min);
    let best = items.iter().find(|trial| trial["run_id"] == sweep["best_run"]).unwrap();
    assert_eq!(best["value"], least);
    let model = first.model(id);
    assert_eq!(
        (&model["status"], &model["trained_run"]),
        (&json!("TRAINED"), &sweep["best_run"])
    );
    // What a trial has learnt predicts.
    let body = json!({"dataset": model["training_dataset"]});
    first.post(&format!("/api/v2/ai/models/{id}/predict"), &body).data();
    // The same once more, and stopped.
    let body = json!({"space": {"learning_rate": [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]}, "method": "grid",
        "submission": {"training_parameters": {"epochs": 1000, "batch_size": 1}}});
    let sweep = first.post(&format!("/api/v2/ai/models/{id}/sweep"), &body).data();
    let path = format!("/api/v2/ai/sweeps/{}", sweep["id"]);
    first.eventually("some train", || {
        let trials = first.get(&format!("{path}/trials")).data();
        let items = trials["items"].as_array().unwrap();
        items.iter().filter(|trial| trial["state"] == "TRAINING").count() == 2
    });
    first.post(&format!("{path}/stop"), &json!({})).data();
    first.eventually("the sweep is stopped", || first.get(&path).data()["state"] == "STOPPED");
    assert_eq!(first.get(&path).data()["ended"], 6);
    assert_eq!(first.model(id)["trained_run"], model["trained_run"]);
}

#[test]
fn a_server_alone_inspects_and_predicts_and_workers_alone_train() {
    let Some(plant) = Plant::start() else { return };
    let server = Service::serving(&plant.settings());
    let id = server.create_weather(2).unwrap();
    server.train(id, &json!({}));
    assert_eq!(server.get("/api/v2/ai/workers").data()["items"], json!([]));
    let _other = Service::beside(&server, &plant.settings());
    let model = server.wait_for(id, &["TRAINED"]);
    let body = json!({"dataset": model["training_dataset"]});
    let predicted = server.post(&format!("/api/v2/ai/models/{id}/predict"), &body).data();
    assert!(predicted.to_string().len() > 100, "{predicted}");
}
