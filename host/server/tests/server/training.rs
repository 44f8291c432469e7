//! Trainings: submitted, refused, stopped, and asked for twice.

use crate::fixture::Server;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use trainyard_jobs::{Broker, BrokerError, DeadLetter, Delivery, Job, Outcome, QueueDepth, RunId, Signal};
use trainyard_server::Options;

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_answers_as_the_original_and_waits_in_the_queue() {
    let server = Server::start().await;
    let model = server.model().await;
    let answer = server.send("POST", &format!("/models/{model}/train"), &[], b"").await;
    assert_eq!(answer.status, 200);
    let data = answer.data();
    assert_eq!(data["status"], "PENDING");
    assert_eq!(
        data["training_parameters"],
        json!({"epochs": 10, "learning_rate": 0.001})
    );
    assert_eq!(
        data["limits"],
        json!({"time_seconds": 3600, "memory_mb": 2048, "device": "auto", "tf32": false})
    );
    let run = data["task_id"].as_str().unwrap();
    let read = server.get(&format!("/models/{model}")).await.data();
    assert_eq!((&read["status"], &read["task_id"]), (&json!("PENDING"), &json!(run)));
    let taken = server
        .services
        .broker
        .take(&["ai_training"], "w", Duration::from_secs(9))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(taken.job.run, run);

    let again = server.post(&format!("/models/{model}/train"), json!({})).await;
    let refused = again.refused(409, "already-training");
    assert_eq!(refused["details"], json!({"run": run, "status": "PENDING"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_submit_says_goes_over_what_the_model_says() {
    let server = Server::start().await;
    let model = server.model().await;
    server
        .patch(
            &format!("/models/{model}"),
            json!({"training_parameters": {"epochs": 3, "learning_rate": 0.5}}),
        )
        .await
        .data();
    // Where it is computed may stand among the parameters, and counts where nothing else is said of it.
    let body = json!({"training_parameters": {"epochs": 7, "device": "cpu", "tf32": true}, "seed": 42, "time_limit": 60,
        "memory_limit_mb": 512, "device": "cuda:2"});
    let data = server.post(&format!("/models/{model}/train"), body).await.data();
    assert_eq!(data["training_parameters"], json!({"epochs": 7, "learning_rate": 0.5}));
    assert_eq!(
        (&data["seed"], &data["limits"]),
        (
            &json!(42),
            &json!({"time_seconds": 60, "memory_mb": 512, "device": "cuda:2", "tf32": true})
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_may_be_a_text_with_json_as_in_the_original() {
    let server = Server::start().await;
    let model = server.model().await;
    let text = r#"{"source": "file", "path": "plant/pump.csv", "lookback": 3, "horizon": 2}"#;
    server
        .post(&format!("/models/{model}/train"), json!({"training_dataset": text}))
        .await
        .data();
    let run = server.get(&format!("/models/{model}/runs")).await.data()["items"][0].clone();
    assert_eq!(
        (&run["training_dataset"]["path"], &run["training_dataset"]["lookback"]),
        (&json!("plant/pump.csv"), &json!(3))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submit_that_cannot_be_done_says_all_that_is_wrong() {
    let server = Server::start().await;
    let model = server.model().await;
    let dataset = server.upload_csv("ts,a,b\n1,2,3\n").await["id"].clone();
    let path = format!("/models/{model}/train");
    let refused = async |body: Value, error: &str, says: &str| {
        let answer = server.post(&path, body).await.refused(422, error);
        assert!(answer["message"].as_str().unwrap().contains(says), "{answer}");
        answer
    };
    let all = refused(
        json!({"training_parameters": {"epochs": 0, "learning_rate": -1}}),
        "invalid-parameters",
        "epochs",
    )
    .await;
    assert_eq!(all["details"]["problems"].as_array().unwrap().len(), 2, "{all}");
    refused(
        json!({"training_parameters": {"epoch": 1}}),
        "invalid-parameters",
        "epoch",
    )
    .await;
    refused(json!({"time_limit": 0}), "invalid-limit", "1 to 3600").await;
    refused(json!({"time_limit": 3601}), "invalid-limit", "1 to 3600").await;
    refused(json!({"time_limit": -1}), "invalid-body", "time_limit").await;
    refused(json!({"time_limit": 1.5}), "invalid-body", "time_limit").await;
    refused(json!({"memory_limit_mb": 1}), "invalid-limit", "64 to").await;
    refused(json!({"memory_limit_mb": u64::MAX}), "invalid-limit", "64 to").await;
    refused(json!({"seed": u64::MAX}), "invalid-body", "seed").await;
    refused(json!({"epochs": 1}), "invalid-body", "unknown field `epochs`").await;
    let with = |more: Value| {
        let mut given = json!({"source": "upload", "dataset_id": dataset, "lookback": 1, "horizon": 1});
        given.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"training_dataset": given})
    };
    let unknown = refused(with(json!({"target": "y"})), "no-such-column", "it has `ts`, `a`, `b`").await;
    assert_eq!(unknown["details"]["columns"], json!(["ts", "a", "b"]));
    refused(with(json!({"columns": ["a", "c"]})), "no-such-column", "`c`").await;
    refused(with(json!({"time": "when"})), "no-such-column", "`when`").await;
    refused(
        with(json!({"dataset_id": "x' OR '1'='1"})),
        "no-such-dataset",
        "there is no data set",
    )
    .await;
    refused(with(json!({"task": "classification"})), "invalid-dataset", "").await;
    for path in ["../etc/passwd", "a/../../b", "", "/data/../etc/shadow"] {
        refused(
            json!({"training_dataset": {"source": "file", "path": path}}),
            "invalid-dataset",
            "path",
        )
        .await;
    }
    refused(
        json!({"training_dataset": {"source": "file", "path": "a\u{0}b"}}),
        "nul-character",
        "U+0000",
    )
    .await;
    refused(json!({"training_dataset": "{"}), "invalid-dataset", "not JSON").await;
    assert_eq!(server.get(&format!("/models/{model}")).await.data()["status"], "DRAFT");

    let bare = server
        .post("/models", json!({"name": "bare", "plugin": "dlinear"}))
        .await
        .data();
    let answer = server
        .post(&format!("/models/{}/train", bare["id"]), json!({}))
        .await
        .refused(422, "no-dataset");
    assert!(
        answer["remedy"].as_str().unwrap().contains("training_dataset"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_is_stopped_at_once_and_the_model_is_what_it_was() {
    let server = Server::start().await;
    let model = server.model().await;
    server
        .post(&format!("/models/{model}/stop"), json!({}))
        .await
        .refused(409, "not-training");
    let run = server.train(model).await;
    let stopped = server
        .send("POST", &format!("/models/{model}/stop"), &[], b"")
        .await
        .data();
    assert_eq!((&stopped["id"], &stopped["state"]), (&json!(run), &json!("CANCELLED")));
    assert_eq!(server.services.broker.depth().await.unwrap(), (0, 0));
    assert_eq!(server.get(&format!("/models/{model}")).await.data()["status"], "DRAFT");
    let told = server
        .events(&format!("/models/{model}/logs/stream"), &[])
        .await
        .rest()
        .await;
    assert_eq!(told.last().unwrap().data["status"], "CANCELLED");
    assert!(told.last().unwrap().id.is_some(), "the end was published");
    server
        .post(&format!("/models/{model}/stop"), json!({}))
        .await
        .refused(409, "not-training");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_that_is_trained_the_worker_is_told() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    server.begin(&run).await;
    let mut signals = server.services.broker.signals();
    let asked = server
        .send("POST", &format!("/models/{model}/stop"), &[], b"")
        .await
        .data();
    assert_eq!(
        (&asked["state"], &asked["stop_requested"]),
        (&json!("TRAINING"), &json!(true))
    );
    assert_eq!(signals.recv().await.unwrap(), Signal::Stop(run));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_again_with_its_key_is_done_once() {
    let server = Server::start().await;
    let model = server.model().await;
    let path = format!("/models/{model}/train");
    let key = [("idempotency-key", "retry-1")];
    let first = server.with_json("POST", &path, &key, json!({"seed": 1})).await;
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = server.with_json("POST", &path, &key, json!({"seed": 1})).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"));
    assert_eq!(again.json(), first.json());
    server
        .with_json("POST", &path, &key, json!({"seed": 2}))
        .await
        .refused(422, "idempotency-mismatch");

    let key = [("idempotency-key", "make-1")];
    let body = json!({"name": "twin", "plugin": "dlinear"});
    let one = server.with_json("POST", "/models", &key, body.clone()).await;
    let two = server.with_json("POST", "/models", &key, body).await;
    assert_eq!((one.status, two.status, one.data()), (201, 201, two.data()));
    assert_eq!(
        server.get("/models?name=twin").await.data()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    for bad in ["", "with space", &"x".repeat(256)] {
        let answer = server
            .with_json("POST", "/models", &[("idempotency-key", bad)], json!({}))
            .await;
        answer.refused(400, "bad-idempotency-key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_leaves_the_key_free() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    let path = format!("/models/{model}/train");
    let key = [("idempotency-key", "later")];
    server
        .with_json("POST", &path, &key, json!({}))
        .await
        .refused(409, "already-training");
    server.finish(&run).await;
    server.with_json("POST", &path, &key, json!({})).await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_at_once_start_one_run() {
    let server = Arc::new(Server::start().await);
    let model = server.model().await;
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { server.post(&format!("/models/{model}/train"), json!({})).await.status })
        })
        .collect();
    let mut good = 0;
    for answer in asked {
        match answer.await.unwrap() {
            200 => good += 1,
            status => assert_eq!(status, 409),
        }
    }
    assert_eq!(good, 1);
}

/// A queue that is away.
struct Away;

#[async_trait]
impl Broker for Away {
    async fn enqueue(&self, _: &str, _: &Job) -> Result<(), BrokerError> {
        Err(BrokerError::Unavailable("connection refused".into()))
    }
    async fn take(&self, _: &[&str], _: &str, _: Duration) -> Result<Option<Delivery>, BrokerError> {
        Ok(None)
    }
    async fn wait(&self, _: &[&str], _: Duration) {}
    async fn renew(&self, _: &Delivery, _: Duration) -> Result<(), BrokerError> {
        Ok(())
    }
    async fn report(&self, _: &Delivery, _: &Value) -> Result<(), BrokerError> {
        Ok(())
    }
    async fn acknowledge(&self, _: &Delivery, _: &Outcome) -> Result<(), BrokerError> {
        Ok(())
    }
    async fn release(&self, _: &Delivery) -> Result<(), BrokerError> {
        Ok(())
    }
    async fn withdraw(&self, _: &RunId) -> Result<bool, BrokerError> {
        Err(BrokerError::Unavailable("connection refused".into()))
    }
    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, BrokerError> {
        Err(BrokerError::Unavailable("connection refused".into()))
    }
    async fn remove_dead_letter(&self, _: &RunId) -> Result<Option<DeadLetter>, BrokerError> {
        Err(BrokerError::Unavailable("connection refused".into()))
    }
    async fn queues(&self) -> Result<Vec<QueueDepth>, BrokerError> {
        Err(BrokerError::Unavailable("connection refused".into()))
    }
    async fn signal(&self, _: Signal) -> Result<(), BrokerError> {
        Err(BrokerError::Unavailable("connection refused".into()))
    }
    fn signals(&self) -> broadcast::Receiver<Signal> {
        broadcast::channel(1).1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_queue_away_a_run_is_taken_all_the_same_and_readiness_says_so() {
    let server = Server::start_with(|_: &mut Options, services| services.broker = Arc::new(Away)).await;
    let model = server.model().await;
    let run = server.train(model).await;
    assert_eq!(server.get(&format!("/models/{model}")).await.data()["task_id"], run);
    let not_ready = server.get("//readyz").await;
    let said = not_ready.refused(503, "not-ready");
    assert!(
        said["message"].as_str().unwrap().contains("connection refused"),
        "{said}"
    );
    assert_eq!(said["details"]["store"], "ok");
    assert_ne!(not_ready.header("retry-after"), "");
    assert_eq!(
        server.post(&format!("/models/{model}/stop"), json!({})).await.data()["state"],
        "CANCELLED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_training_that_needs_a_card_goes_to_workers_that_have_one() {
    let server = Server::start().await;
    for (body, labels) in [
        (json!({"device": "cuda"}), json!(["gpu"])),
        (json!({"device": "cuda:1"}), json!(["gpu"])),
        (json!({"training_parameters": {"device": "cuda"}}), json!(["gpu"])),
        (json!({"device": "cuda", "labels": ["large"]}), json!(["large"])),
        (json!({"device": "auto"}), json!([])),
        (json!({"device": "cpu"}), json!([])),
    ] {
        let model = server.model().await;
        server
            .post(&format!("/models/{model}/train"), body.clone())
            .await
            .data();
        let run = server.get(&format!("/models/{model}/runs")).await.data()["items"][0].clone();
        assert_eq!(run["labels"], labels, "{body}");
    }
    let model = server.model().await;
    for (body, code, words) in [
        (json!({"device": "gpu"}), "invalid-body", "auto, cpu, cuda or cuda:N"),
        (json!({"device": 0}), "invalid-body", "string"),
        (
            json!({"training_parameters": {"device": "gpu"}}),
            "invalid-device",
            "auto, cpu, cuda or cuda:N",
        ),
        (
            json!({"training_parameters": {"tf32": 1}}),
            "invalid-device",
            "true or false",
        ),
    ] {
        let refused = server
            .post(&format!("/models/{model}/train"), body)
            .await
            .refused(422, code);
        assert!(refused["message"].as_str().unwrap().contains(words), "{refused}");
    }
}
