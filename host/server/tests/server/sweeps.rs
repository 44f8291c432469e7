//! Sweeps: what is taken and what is refused, and how a server sees them to their end. Workers, and what they gave up.

use crate::fixture::Server;
use serde_json::{Value, json};
use std::time::Duration;
use trainyard_jobs::state::Change;
use trainyard_jobs::{Job, JobKind, Outcome, SeriesPoint, WorkerDetails};

async fn eventually(server: &Server, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..600 {
        let found = server.get(path).await.data();
        if holds(&found) {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {}", server.get(path).await.data());
}

async fn start(server: &Server, model: i64, body: Value) -> (String, Vec<String>) {
    let sweep = server.post(&format!("/models/{model}/sweep"), body).await.data();
    assert_eq!(sweep["state"], "RUNNING");
    let path = format!("/sweeps/{}", sweep["id"]);
    let trials = server.get(&format!("{path}/trials")).await.data();
    let runs = trials["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trial| trial["run_id"].as_str().unwrap().to_owned());
    (path, runs.collect())
}

/// A trial tells a loss at a step, as its worker would.
async fn tell(server: &Server, run: &str, step: u64, loss: f64) {
    let point = SeriesPoint {
        step,
        seconds: 0.1,
        name: "validation_loss".into(),
        value: loss,
    };
    server.series(run, &[point]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_is_tried_and_the_model_gets_the_best() {
    let server = Server::start().await;
    let model = server.model().await;
    let body = json!({"method": "grid", "space": {"epochs": [1, 2, 3]}, "submission": {"labels": ["gpu"]}});
    let (path, runs) = start(&server, model, body).await;
    assert_eq!(runs.len(), 3);
    for (run, loss) in runs.iter().zip([0.3, 0.1, 0.2]) {
        tell(&server, run, 1, loss).await;
        server.finish(run).await;
    }
    let over = eventually(&server, &path, |sweep| sweep["state"] == "FINISHED").await;
    assert_eq!((&over["best_run"], &over["ended"]), (&json!(runs[1]), &json!(3)));
    let best = server.get(&format!("/models/{model}")).await.data();
    assert_eq!(
        (&best["status"], &best["trained_run"]),
        (&json!("TRAINED"), &json!(runs[1]))
    );
    let trials = server.get(&format!("{path}/trials")).await.data();
    assert_eq!(
        (&trials["metric"], &trials["goal"]),
        (&json!("validation_loss"), &json!("minimize"))
    );
    assert_eq!(trials["items"][1]["parameters"], json!({"epochs": 2}));
    assert_eq!(trials["items"][1]["value"], 0.1);
    // A trial is a run of the model for whoever names it, and not in its list.
    let run = server.get(&format!("/models/{model}/runs/{}", runs[0])).await.data();
    assert_eq!((&run["labels"], &run["sweep_id"]), (&json!(["gpu"]), &over["id"]));
    assert_eq!(
        server.get(&format!("/models/{model}/runs")).await.data()["items"],
        json!([])
    );
    // Another one can be chosen.
    let adopted = server
        .post(&format!("{path}/adopt"), json!({"run_id": runs[2]}))
        .await
        .data();
    assert_eq!(adopted["id"], runs[2]);
    assert_eq!(
        server.get(&format!("/models/{model}")).await.data()["trained_run"],
        runs[2]
    );
    server
        .post(&format!("{path}/adopt"), json!({"run_id": "no"}))
        .await
        .refused(404, "not-found");
    server
        .post(&format!("{path}/stop"), json!({}))
        .await
        .refused(409, "sweep-over");
    assert_eq!(
        server.get(&format!("/models/{model}/sweeps")).await.data()["items"],
        json!([over])
    );
    assert_eq!(server.get("/sweeps").await.data()["items"][0]["id"], over["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worse_trials_are_ended_early() {
    let server = Server::start().await;
    let model = server.model().await;
    let body = json!({"method": "asha", "space": {"epochs": {"min": 1, "max": 100}}, "trials": 6,
        "asha": {"min_steps": 2, "reduction": 3}, "seed": 1});
    let (path, runs) = start(&server, model, body).await;
    for run in &runs {
        server.begin(run).await;
        // Before the first rung nobody is judged.
        tell(&server, run, 1, 0.9).await;
    }
    for (run, loss) in runs.iter().zip([0.6, 0.5, 0.1, 0.2, 0.3, 0.4]) {
        tell(&server, run, 2, loss).await;
    }
    let ended = |trials: &Value, which: usize| trials["items"][which]["stop_requested"] == true;
    // Whoever comes to the rung first may go on: how many came before the server looked is chance. The last two are not among
    // the best third, however many there were; the third is.
    let both = |trials: &Value| ended(trials, 4) && ended(trials, 5);
    let trials = eventually(&server, &format!("{path}/trials"), both).await;
    assert!(!ended(&trials, 2), "{trials}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_stopped_and_keeps_what_it_has() {
    let server = Server::start().await;
    let model = server.model().await;
    let body = json!({"space": {"epochs": [1, 2, 3, 4]}, "trials": 4, "method": "random"});
    let (path, runs) = start(&server, model, body).await;
    tell(&server, &runs[0], 1, 0.5).await;
    server.finish(&runs[0]).await;
    let busy = server.begin(&runs[1]).await;
    let stopping = server.post(&format!("{path}/stop"), json!({})).await.data();
    assert_eq!(stopping["state"], "STOPPING");
    let states = |trials: &Value| {
        let items = trials["items"].as_array().unwrap().iter();
        items.map(|trial| trial["state"].clone()).collect::<Vec<_>>()
    };
    let stopped = json!(["TRAINED", "TRAINING", "CANCELLED", "CANCELLED"]);
    eventually(&server, &format!("{path}/trials"), |trials| {
        json!(states(trials)) == stopped
    })
    .await;
    // The worker that has one ends it.
    server
        .services
        .store
        .change(&busy.id, busy.token, Change::Cancel)
        .await
        .unwrap();
    let over = eventually(&server, &path, |sweep| sweep["state"] == "STOPPED").await;
    assert_eq!(over["best_run"], runs[0]);
    assert_eq!(server.get(&format!("/models/{model}")).await.data()["status"], "DRAFT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_makes_no_sense_is_refused_with_words() {
    let server = Server::start().await;
    let model = server.model().await;
    for (body, error, words) in [
        (json!({"space": {}, "trials": 3}), "invalid-sweep", "names no parameter"),
        (
            json!({"space": {"epoch": [1]}, "trials": 3}),
            "invalid-sweep",
            "there are `epochs`",
        ),
        (json!({"space": {"epochs": [1]}}), "invalid-sweep", "trials is missing"),
        (
            json!({"space": {"epochs": [0, 1]}, "method": "grid"}),
            "invalid-parameters",
            "epochs",
        ),
        (
            json!({"space": {"epochs": [1]}, "trials": 1, "asha": {}}),
            "invalid-sweep",
            "another one",
        ),
        (
            json!({"space": {"epochs": [1]}, "trials": 1, "method": "asha", "asha": {"min_steps": 0}}),
            "invalid-sweep",
            "at least 1",
        ),
        (
            json!({"space": {"epochs": [1]}, "trials": 1, "submission": {"labels": ["A b"]}}),
            "invalid-label",
            "A b",
        ),
    ] {
        let refused = server.post(&format!("/models/{model}/sweep"), body.clone()).await;
        let said = refused.refused(422, error);
        assert!(said["message"].as_str().unwrap().contains(words), "{body}: {said}");
    }
    let body = json!({"space": {"epochs": [1]}, "trials": 1});
    server.post("/models/4711/sweep", body).await.refused(404, "not-found");
    assert_eq!(server.get("/sweeps").await.data()["items"], json!([]));
    server.get("/sweeps/1").await.refused(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_say_what_they_are_and_a_run_says_when_none_can_take_it() {
    let server = Server::start().await;
    assert_eq!(server.get("/workers").await.data()["items"], json!([]));
    let details = WorkerDetails {
        queues: vec!["ai_training".into()],
        labels: vec!["gpu".into()],
        slots: 2,
        running: vec!["r1".into()],
        ..WorkerDetails::default()
    };
    server.services.store.announce_worker("w1", &details).await.unwrap();
    let workers = server.get("/workers").await.data();
    let worker = &workers["items"][0];
    assert_eq!(
        (&worker["name"], &worker["alive"], &worker["running"]),
        (&json!("w1"), &json!(true), &json!(["r1"]))
    );
    for (labels, warned) in [(json!(["gpu"]), false), (json!(["gpu", "large"]), true)] {
        let model = server.model().await;
        let body = json!({"labels": labels});
        let run = server.post(&format!("/models/{model}/train"), body).await.data();
        let run = run["task_id"].as_str().unwrap();
        let log = server.get(&format!("/models/{model}/logs")).await.data();
        assert_eq!(
            log.to_string().contains("no worker that is there now has the labels"),
            warned,
            "{log}"
        );
        assert_eq!(
            server.get(&format!("/models/{model}/runs/{run}")).await.data()["labels"],
            labels
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_listed_tried_again_and_forgotten() {
    let server = Server::start().await;
    let broker = &server.services.broker;
    let (first, second) = (server.model().await, server.model().await);
    for model in [first, second] {
        let run = server.train(model).await;
        let delivery = broker
            .take(&["ai_training"], "w", Duration::from_secs(60))
            .await
            .unwrap()
            .unwrap();
        server.fail(&run, "its runner died").await;
        broker
            .acknowledge(&delivery, &Outcome::GivenUp("its runner died".into()))
            .await
            .unwrap();
    }
    // One that came through the queue alone has no row.
    let alone = Job {
        run: "alone".into(),
        kind: JobKind::Evaluate,
        model: first,
        config: json!({}),
        priority: 0,
    };
    broker.enqueue("ai_evaluation", &alone).await.unwrap();
    let delivery = broker
        .take(&["ai_evaluation"], "w", Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    broker
        .acknowledge(&delivery, &Outcome::GivenUp("it died".into()))
        .await
        .unwrap();

    let letters = server.get("/dead-letters").await.data();
    let items = letters["items"].as_array().unwrap();
    let models: Vec<_> = items
        .iter()
        .map(|letter| letter["model_id"].as_i64().unwrap())
        .collect();
    assert_eq!(models, [first, second, first]);
    assert_eq!(
        (&items[1]["error"], &items[1]["queue"]),
        (&json!("its runner died"), &json!("ai_training"))
    );
    let run = items[1]["run_id"].as_str().unwrap();
    let replayed = server
        .post(&format!("/dead-letters/{run}/replay"), json!({}))
        .await
        .data();
    let again = replayed["task_id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/models/{second}")).await.data()["task_id"], again);
    let (before, after) = (
        server.get(&format!("/models/{second}/runs/{run}")).await.data(),
        server.get(&format!("/models/{second}/runs/{again}")).await.data(),
    );
    assert_eq!(before["seed"], after["seed"]);
    assert_eq!(after["state"], "PENDING");
    server.post("/dead-letters/alone/replay", json!({})).await.data();
    let delivery = broker
        .take(&["ai_evaluation"], "w", Duration::from_secs(60))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((delivery.job.kind, delivery.job.model), (JobKind::Evaluate, first));
    assert_ne!(delivery.job.run, "alone");
    let left = server.get("/dead-letters").await.data();
    let left = left["items"][0]["run_id"].as_str().unwrap().to_owned();
    server.delete(&format!("/dead-letters/{left}")).await.data();
    server
        .delete(&format!("/dead-letters/{left}"))
        .await
        .refused(404, "not-found");
    server
        .post(&format!("/dead-letters/{left}/replay"), json!({}))
        .await
        .refused(404, "not-found");
    assert_eq!(server.get("/dead-letters").await.data()["items"], json!([]));
}
