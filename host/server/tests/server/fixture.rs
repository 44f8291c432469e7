//! A server on a free port, with real adapters in a folder that goes away with it.

use crate::client::{self, Answer, Events};
use crate::compute::Pretender;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use trainyard_jobs::local::{DiskArtifacts, LocalFeed};
use trainyard_jobs::sqlite::{Database, SqliteBroker, SqliteStore};
use trainyard_jobs::state::Change;
use trainyard_jobs::{Claim, Event, Finished, LogLevel, ModelId, NewToken, Run, Scope, SeriesPoint, Timestamp};
use trainyard_server::{Options, Services, serve, tokens};

/// Where everything of the service is.
pub const BASE: &str = "/api/v2/ai";

pub struct Server {
    pub at: SocketAddr,
    pub services: Services,
    pub compute: Arc<Pretender>,
    pub folder: TempDir,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_, _| ()).await
    }

    /// With other options or services than usual.
    pub async fn start_with(change: impl FnOnce(&mut Options, &mut Services)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("trainyard.db")).await.unwrap();
        let compute = Arc::new(Pretender::default());
        let mut services = Services {
            store: Arc::new(SqliteStore::new(database.clone())),
            broker: Arc::new(SqliteBroker::new(database)),
            feed: Arc::new(LocalFeed::new()),
            artifacts: Arc::new(DiskArtifacts::open(&folder.path().join("artifacts")).unwrap()),
            compute: compute.clone(),
        };
        let mut options = Options {
            staging: folder.path().join("staging"),
            ..Options::default()
        };
        change(&mut options, &mut services);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let task = tokio::spawn(serve(listener, services.clone(), options, shutdown));
        Server {
            at,
            services,
            compute,
            folder,
            stop: Some(stop),
            task,
        }
    }

    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let path = if path.starts_with("//") {
            path[1..].to_owned()
        } else {
            format!("{BASE}{path}")
        };
        client::send(self.at, method, &path, headers, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"").await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.with_json("POST", path, &[], body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.with_json("PATCH", path, &[], body).await
    }

    pub async fn with_json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send(method, path, &headers, body.to_string().as_bytes()).await
    }

    pub async fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        Events::open(self.at, &format!("{BASE}{path}"), headers).await
    }

    pub async fn upload_plugin(&self, text: &str) -> Answer {
        self.send(
            "POST",
            "/plugins",
            &[("content-type", "application/wasm")],
            text.as_bytes(),
        )
        .await
    }

    pub async fn upload_csv(&self, text: &str) -> Value {
        self.send("POST", "/datasets?name=pump.csv", &[], text.as_bytes())
            .await
            .data()
    }

    /// A model with its plugin and a data set.
    pub async fn model(&self) -> ModelId {
        self.upload_plugin("plugin dlinear 0.1.0").await.data();
        let dataset = self.upload_csv("ts,a,b\n1,2,3\n2,3,4\n").await;
        let body = json!({
            "name": "pump", "plugin": "dlinear",
            "training_dataset": {"source": "upload", "dataset_id": dataset["id"], "lookback": 1, "horizon": 1},
        });
        self.post("/models", body).await.data()["id"].as_i64().unwrap()
    }

    /// Submits a training; gives the run's name.
    pub async fn train(&self, model: ModelId) -> String {
        let answer = self.post(&format!("/models/{model}/train"), json!({})).await.data();
        answer["task_id"].as_str().unwrap().to_owned()
    }

    /// Does what a worker does until the plugin trains.
    pub async fn begin(&self, run: &str) -> Run {
        let store = &self.services.store;
        let Claim::Taken(taken) = store.claim(&run.to_owned(), "tester").await.unwrap() else {
            panic!("{run} cannot be taken");
        };
        store.change(&taken.id, taken.token, Change::Train).await.unwrap()
    }

    /// Does what a worker does with a run, to a good end.
    pub async fn finish(&self, run: &str) -> Run {
        let run = self.begin(run).await;
        let prefix = format!("models/{}/runs/{}", run.model_id, run.id);
        let files = [
            ("model.safetensors", "weights".repeat(100)),
            ("metadata.json", "{}".into()),
            ("log.jsonl", log()),
        ];
        for (name, content) in files {
            self.services
                .artifacts
                .put(&format!("{prefix}/{name}"), content.into())
                .await
                .unwrap();
        }
        let mut metrics = serde_json::Map::new();
        metrics.insert("mse".into(), json!(0.5));
        let finished = Finished {
            metrics,
            file_path: prefix,
            lineage: json!({"rows": 2}),
        };
        self.services
            .store
            .change(&run.id, run.token, Change::Finish(Box::new(finished)))
            .await
            .unwrap()
    }

    pub async fn fail(&self, run: &str, error: &str) -> Run {
        let run = self.begin(run).await;
        let change = Change::Fail { error: error.into() };
        self.services.store.change(&run.id, run.token, change).await.unwrap()
    }

    pub async fn series(&self, run: &str, points: &[SeriesPoint]) {
        self.services.store.add_series(&run.to_owned(), points).await.unwrap();
    }

    /// Publishes a line of the log.
    pub async fn log(&self, model: ModelId, run: &str, message: &str) -> u64 {
        let line = Event::Log {
            timestamp: chrono::Utc::now(),
            level: LogLevel::Info,
            message: message.into(),
        };
        self.publish(model, run, line).await
    }

    pub async fn publish(&self, model: ModelId, run: &str, event: Event) -> u64 {
        self.services.feed.publish(model, &run.to_owned(), event).await
    }

    /// Makes a token; gives its header's value.
    pub async fn token(&self, name: &str, scopes: &[Scope], expires_at: Option<Timestamp>) -> String {
        let (secret, hash) = tokens::generate();
        let token = NewToken {
            name: name.into(),
            hash,
            scopes: scopes.to_vec(),
            expires_at,
        };
        self.services.store.add_token(token).await.unwrap();
        // What the server knows of tokens may be a second old.
        tokio::time::sleep(Duration::from_secs(1)).await;
        format!("Bearer {secret}")
    }
}

/// A full log, of two lines.
pub fn log() -> String {
    let line = |message| json!({"timestamp": "2025-12-11T08:00:00Z", "level": "INFO", "message": message}).to_string();
    format!("{}\n{}\n", line("first"), line("last"))
}
