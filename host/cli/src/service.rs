//! `trainyard up`, `serve` and `worker`: the parts of the service put together, on SQLite and the local disk or on the
//! servers that the configuration names.

use crate::config::{Config, without_secrets};
use crate::failure::{Failure, Result};
use crate::source;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use trainyard_jobs::local::{DiskArtifacts, LocalFeed};
use trainyard_jobs::postgres::PostgresStore;
use trainyard_jobs::redis::{Redis, RedisBroker, RedisFeed};
use trainyard_jobs::s3::S3Artifacts;
use trainyard_jobs::sqlite::{Database, SqliteBroker, SqliteStore};
use trainyard_jobs::submission::Allowance;
use trainyard_jobs::{Artifacts, Broker, Feed, Store, postgres};
use trainyard_worker::{Devices, Services, Worker, WorkerOptions};

/// Which parts run in this process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    All,
    Server,
    Worker,
}

/// Server and worker in one process: the whole product on one machine.
pub fn up(config: &Config) -> Result<()> {
    run(config, Parts::All)
}

/// The server alone. Workers with the same configuration do the jobs.
pub fn serve(config: &Config) -> Result<()> {
    run(config, Parts::Server)
}

/// A worker alone.
pub fn worker(config: &Config) -> Result<()> {
    run(config, Parts::Worker)
}

fn run(config: &Config, parts: Parts) -> Result<()> {
    // What is written is for this user alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Service(format!("the service cannot start: {error}")))?;
    let outcome = runtime.block_on(start(config, parts));
    // What is still running by now was given its time.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn start(config: &Config, parts: Parts) -> Result<()> {
    // First of all: what waits for a server that does not answer ends when it is told to.
    let shutdown = signals()?;
    let mut services = tokio::select! {
        services = services(config) => services?,
        () = ended(shutdown.clone()) => return Ok(()),
    };
    let fetched = match config.tdengine.dsn {
        Some(_) => Some(OwnFolder::claim(&config.data_dir.join("tdengine"))?),
        None => None,
    };
    services.tdengine = fetched
        .as_ref()
        .and_then(|fetched| config.tdengine_options(&fetched.path));

    // A server takes no jobs, but what somebody waits for (inspections, predictions) is done here.
    let worker = start_worker(config, &services, parts).await?;
    // A server clears away what an earlier one left of uploads, and not what another has.
    let staging = match parts {
        Parts::Worker => None,
        Parts::All | Parts::Server => Some(OwnFolder::claim(&config.data_dir.join("staging"))?),
    };
    let server = match &staging {
        None => None,
        Some(staging) => {
            let listener = tokio::net::TcpListener::bind(config.server.listen)
                .await
                .map_err(|error| {
                    Failure::Service(format!(
                        "{}: cannot listen there: {error}; choose another address with --listen",
                        config.server.listen
                    ))
                })?;
            let address = listener
                .local_addr()
                .map_err(|error| Failure::Service(format!("the service cannot start: {error}")))?;
            let offered = trainyard_server::Services {
                store: services.store.clone(),
                broker: services.broker.clone(),
                feed: services.feed.clone(),
                artifacts: services.artifacts.clone(),
                compute: worker.compute(),
            };
            announce(&services.store, address, parts).await;
            Some(trainyard_server::serve(
                listener,
                offered,
                config.server_options(&staging.path),
                ended(shutdown.clone()),
            ))
        }
    };
    if parts == Parts::Worker {
        println!("worker ready; jobs come from {}", config.queue_place());
    }
    let serving = async {
        match server {
            Some(server) => server.await,
            None => Ok(()),
        }
    };
    let working = async {
        let looking = async {
            source::tell(&worker).await;
            std::future::pending().await
        };
        let shutdown = ended(shutdown.clone());
        let doing = async {
            match parts {
                Parts::Server => worker.attend(shutdown).await,
                Parts::All | Parts::Worker => worker.run(shutdown).await,
            }
        };
        tokio::select! {
            () = doing => {}
            () = looking => {}
        }
    };
    let (served, ()) = tokio::join!(serving, working);
    served.map_err(|error| Failure::Service(format!("the server failed: {error}")))
}

/// Opens database, queue, feed and files, wherever the configuration says that they are.
async fn services(config: &Config) -> Result<Services> {
    let failed = |error: &dyn std::fmt::Display| Failure::Service(error.to_string());
    // One connection writes to the file, so rows and queue share it.
    let file = match (&config.database.url, &config.redis.url) {
        (Some(_), Some(_)) => None,
        _ => Some(open_database(&config.data_dir).await?),
    };
    let store = match (&config.database.url, &file) {
        (None, Some(file)) => Arc::new(SqliteStore::new(file.clone())),
        _ => open_store(config).await?,
    };
    let (broker, feed): (Arc<dyn Broker>, Arc<dyn Feed>) = match (&config.redis.url, file) {
        (None, Some(file)) => (Arc::new(SqliteBroker::new(file)), Arc::new(LocalFeed::new())),
        (url, _) => {
            let url = url.as_deref().unwrap_or_default();
            let redis = Redis::connect(url).await.map_err(|error| failed(&error))?;
            let broker = RedisBroker::new(redis.clone(), config.redis.broker())
                .await
                .map_err(|error| failed(&error))?;
            let feed = RedisFeed::new(redis).await.map_err(|error| failed(&error))?;
            (Arc::new(broker), Arc::new(feed))
        }
    };
    let artifacts = open_artifacts(config)?;
    Ok(Services {
        store,
        broker,
        feed,
        artifacts,
        tdengine: None,
    })
}

/// Opens the files: those of a bucket, or of a folder below the data folder.
pub fn open_artifacts(config: &Config) -> Result<Arc<dyn Artifacts>> {
    Ok(match config.s3.options() {
        Some(options) => {
            let opened = S3Artifacts::new(&options, &config.data_dir.join("fetched"));
            Arc::new(opened.map_err(|error| Failure::Service(error.to_string()))?)
        }
        None => {
            let opened = DiskArtifacts::open(&config.data_dir.join("artifacts"));
            Arc::new(opened.map_err(|error| Failure::Service(format!("{}: {error}", config.data_dir.display())))?)
        }
    })
}

/// Opens the rows: those of PostgreSQL, or of the SQLite file below the data folder.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>> {
    Ok(match &config.database.url {
        Some(url) => {
            let database = postgres::Database::open(url)
                .await
                .map_err(|error| Failure::Service(error.to_string()))?;
            Arc::new(PostgresStore::new(database))
        }
        None => Arc::new(SqliteStore::new(open_database(&config.data_dir).await?)),
    })
}

/// A folder that no other process uses, as long as this is held.
struct OwnFolder {
    path: PathBuf,
    _lock: std::fs::File,
}

impl OwnFolder {
    /// Takes the first free one below a folder: those of processes that have ended are used again.
    fn claim(below: &Path) -> Result<Self> {
        for number in 1.. {
            let folder = below.join(number.to_string());
            std::fs::create_dir_all(&folder).map_err(Failure::file("create the folder", &folder))?;
            let path = folder.join("lock");
            let lock = std::fs::File::create(&path).map_err(Failure::file("create", &path))?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(OwnFolder {
                        path: folder,
                        _lock: lock,
                    });
                }
                Err(std::fs::TryLockError::WouldBlock) => {}
                Err(std::fs::TryLockError::Error(error)) => return Err(Failure::file("lock", &path)(error)),
            }
        }
        unreachable!("numbers do not end")
    }
}

/// Opens the database below a data folder; makes both when they are missing.
async fn open_database(folder: &Path) -> Result<Database> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(Failure::file("create the folder", folder))?;
    Database::open(&folder.join("trainyard.db"))
        .await
        .map_err(|error| Failure::Service(format!("{}: {error}", folder.display())))
}

async fn start_worker(config: &Config, services: &Services, parts: Parts) -> Result<Worker> {
    let program = std::env::current_exe().map_err(Failure::file("find", Path::new("trainyard")))?;
    let mut options = config.worker_options(program);
    if parts == Parts::Server {
        // It takes no trainings, and nothing else is done on a card.
        options.devices = Devices::None;
    }
    let worker = Worker::start(services.clone(), options)
        .await
        .map_err(|error| Failure::Service(error.to_string()))?;
    for missing in &worker.isolation().missing {
        eprintln!("warning: plugins are shut in less than they should be: {missing}");
    }
    if let Some(cards) = worker.cards().filter(|_| parts != Parts::Server) {
        eprintln!("{cards}");
    }
    Ok(worker)
}

async fn announce(store: &Arc<dyn Store>, address: std::net::SocketAddr, parts: Parts) {
    println!("trainyard {} at http://{address}", env!("CARGO_PKG_VERSION"));
    println!("  documentation of the API: http://{address}/docs");
    if parts == Parts::Server {
        println!("  this process takes no trainings; start `trainyard worker` with the same configuration for that");
    }
    if store.tokens().await.is_ok_and(|tokens| tokens.is_empty()) {
        println!(
            "  there is no token yet, so only this machine is served: `trainyard token create NAME --scope admin` makes one"
        );
    }
    println!("Ctrl-C ends it; running jobs go on from their last checkpoint at the next start.");
}

/// Becomes true at the first Ctrl-C or SIGTERM; the second ends the process.
fn signals() -> Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let failed = |error: std::io::Error| Failure::Service(format!("signals cannot be received: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (told, shutdown) = watch::channel(false);
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if again {
                std::process::exit(130);
            }
            eprintln!("shutting down: jobs go to their next checkpoint; once more ends at once");
            let _ = told.send(true);
        }
    });
    Ok(shutdown)
}

async fn ended(mut shutdown: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it all hope of a signal.
    let _ = shutdown.wait_for(|ended| *ended).await;
}

impl Config {
    /// Where the queue is, without its password.
    fn queue_place(&self) -> String {
        match &self.redis.url {
            Some(url) => without_secrets(url),
            None => self.data_dir.display().to_string(),
        }
    }

    /// What trainings may ask for.
    fn allowance(&self) -> Allowance {
        Allowance {
            time_seconds: self.limits.time_seconds,
            memory_mb: self.limits.largest_memory_mb(),
            gpu_memory_mb: self.limits.max_gpu_memory_mb,
            usual_memory_mb: self.limits.memory_mb,
        }
    }

    /// What the server is to do.
    fn server_options(&self, staging: &Path) -> trainyard_server::Options {
        let defaults = trainyard_server::Options::default();
        trainyard_server::Options {
            allowance: self.allowance(),
            max_connections: self.server.max_connections,
            request_timeout: Duration::from_secs(self.server.request_timeout),
            max_plugin_bytes: self.server.max_plugin_mb << 20,
            max_dataset_bytes: self.server.max_dataset_mb << 20,
            keep_alive: Duration::from_secs(self.server.keep_alive),
            staging: staging.to_owned(),
            ..defaults
        }
    }

    /// What the worker is to do.
    pub fn worker_options(&self, program: PathBuf) -> WorkerOptions {
        let defaults = WorkerOptions::new(program, &self.data_dir);
        let worker = &self.worker;
        WorkerOptions {
            python_engine: crate::library::python_engine(),
            name: worker.name.clone().unwrap_or(defaults.name),
            slots: worker.slots.unwrap_or(defaults.slots),
            threads: worker.threads,
            warm: worker.warm,
            queues: worker.queues.clone(),
            labels: worker.labels.clone(),
            // What is no list of cards is a mistake of the configuration, and was refused.
            devices: worker.devices.parse().unwrap_or_default(),
            card_check: Duration::from_secs(worker.card_check_seconds),
            card_patience: Duration::from_secs(worker.card_patience_seconds),
            allowance: self.allowance(),
            lease: Duration::from_secs(worker.lease_seconds),
            renew: Duration::from_secs(worker.renew_seconds),
            drain: Duration::from_secs(worker.drain_seconds),
            data_roots: worker.data_roots.clone(),
            compute_slots: worker.compute_slots.unwrap_or(defaults.compute_slots),
            open_models: worker.open_models,
            log_bytes: worker.log_mb << 20,
            ..defaults
        }
    }
}
