//! `trainyard doctor`: tries everything that the configuration names, and says how to mend what fails.

use crate::args::DoctorOptions;
use crate::config::{self, Config, without_secrets};
use crate::failure::{Failure, Result};
use crate::output;
use crate::service;
use serde_json::json;
use std::sync::Arc;
use trainyard_data::tdengine::{Access, Options, Tdengine};
use trainyard_jobs::Broker;
use trainyard_jobs::local::{DiskArtifacts, LocalFeed};
use trainyard_jobs::redis::{Redis, RedisBroker};
use trainyard_jobs::sqlite::{Database, SqliteBroker, SqliteStore};
use trainyard_parameters::one_line;
use trainyard_worker::{Devices, Services, Worker, WorkerOptions};

/// What came of trying something.
enum Finding {
    Good(String),
    /// It works, but not as it should.
    Doubtful(String),
    Bad(String),
}

use Finding::{Bad, Doubtful, Good};

struct Report {
    json: bool,
    bad: usize,
}

impl Report {
    fn add(&mut self, what: &str, finding: Finding) {
        let (word, text) = match finding {
            Good(text) => ("ok", text),
            Doubtful(text) => ("warning", text),
            Bad(text) => {
                self.bad += 1;
                ("FAILED", text)
            }
        };
        if self.json {
            output::print_json(&json!({"what": what, "outcome": word.to_lowercase(), "message": text}));
        } else {
            output::print(&format!("{word:<8} {what:<10} {}", one_line(&text)));
        }
    }
}

/// Tries everything; an error when something failed.
pub fn doctor(options: &DoctorOptions) -> Result<()> {
    let config = Config::load(options.place.flags(), options.place.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::Service(format!("nothing can be tried: {error}")))?;
    let mut report = Report {
        json: options.json,
        bad: 0,
    };
    runtime.block_on(examine(&config, !options.no_cards, &mut report));
    match report.bad {
        0 => Ok(()),
        1 => Err(Failure::Service("one thing does not work; see above".into())),
        bad => Err(Failure::Service(format!("{bad} things do not work; see above"))),
    }
}

async fn examine(config: &Config, with_cards: bool, report: &mut Report) {
    let usable = config::usable(config);
    for (key, problem) in &usable.warnings {
        report.add("settings", Doubtful(format!("{key}: {problem}")));
    }
    for (key, problem) in &usable.mistakes {
        report.add("settings", Bad(format!("{key}: {problem}")));
    }
    if usable.mistakes.is_empty() {
        report.add("settings", Good(format!("data in {}", config.data_dir.display())));
    }
    database(config, report).await;
    redis(config, report).await;
    if config.database.url.is_some() != config.redis.url.is_some() {
        let (there, missing) = if config.database.url.is_some() {
            ("database.url", "redis.url")
        } else {
            ("redis.url", "database.url")
        };
        let text = format!(
            "{there} is set and {missing} is not: that serves one machine alone; several need both, and [s3] or a shared data_dir"
        );
        report.add("settings", Doubtful(text));
    }
    artifacts(config, report).await;
    tdengine(config, report).await;
    python(report);
    if with_cards {
        cards(config, report).await;
    }
    sandbox(config, report).await;
}

async fn database(config: &Config, report: &mut Report) {
    let place = match &config.database.url {
        Some(url) => without_secrets(url),
        None => "a SQLite file in the data folder".into(),
    };
    let tried = async {
        let store = service::open_store(config)
            .await
            .map_err(|failure| failure.to_string())?;
        store.check().await.map_err(|error| error.to_string())?;
        store.workers().await.map_err(|error| error.to_string())
    };
    let finding = match tried.await {
        Ok(workers) => {
            let alive = workers.iter().filter(|worker| worker.is_alive()).count();
            Good(format!(
                "{place}: it can be written to; {}",
                if alive == 1 {
                    "1 worker is there".into()
                } else {
                    format!("{alive} workers are there")
                }
            ))
        }
        Err(error) => Bad(format!(
            "{place}: {error}; see to [database] url: user, password, that the server runs, and that the user may create tables"
        )),
    };
    report.add("database", finding);
}

async fn redis(config: &Config, report: &mut Report) {
    let Some(url) = &config.redis.url else {
        report.add("redis", Good("none is configured: the queue is on this machine".into()));
        return;
    };
    let place = without_secrets(url);
    let tried = async {
        let redis = Redis::connect(url).await?;
        let broker = RedisBroker::new(redis.clone(), config.redis.broker()).await?;
        let (waiting, taken) = broker.depth().await?;
        Ok::<_, trainyard_jobs::BrokerError>((redis.settings().await?, waiting, taken))
    };
    match tried.await {
        Ok((settings, waiting, taken)) => {
            let depth = format!("{waiting} jobs wait, {taken} are taken");
            report.add("redis", Good(format!("{place}: version {}; {depth}", settings.version)));
            if settings.append_only == Some(false) {
                let text = "it writes no append-only file: jobs that wait are lost when it dies (trainings are found again in the database); set `appendonly yes`";
                report.add("redis", Doubtful(text.into()));
            }
            if let Some(policy) = settings.eviction.filter(|policy| policy != "noeviction") {
                let text = format!(
                    "it drops keys when memory is short ({policy}), jobs among them; set `maxmemory-policy noeviction`"
                );
                report.add("redis", Doubtful(text));
            }
        }
        Err(error) => {
            let text = format!("{place}: {error}; see to [redis] url, and that Redis 7 or later runs there");
            report.add("redis", Bad(text));
        }
    }
}

async fn artifacts(config: &Config, report: &mut Report) {
    let place = match config.s3.options() {
        Some(options) => format!(
            "bucket {} at {}",
            options.bucket,
            options.endpoint.as_deref().unwrap_or("Amazon")
        ),
        None => config.data_dir.join("artifacts").display().to_string(),
    };
    let tried = async {
        let artifacts = service::open_artifacts(config).map_err(|failure| failure.to_string())?;
        artifacts.check().await.map_err(|error| error.to_string())
    };
    let finding = match tried.await {
        Ok(()) => Good(format!("{place}: a file can be stored")),
        Err(error) if config.s3.options().is_some() => Bad(format!(
            "{place}: {error}; see to [s3]: endpoint, region, keys, and that the bucket is there and may be written to"
        )),
        Err(error) => Bad(format!(
            "{place}: {error}; see to data_dir: room on the disk, and its owner"
        )),
    };
    report.add("files", finding);
}

async fn tdengine(config: &Config, report: &mut Report) {
    let folder = std::env::temp_dir().join(format!("trainyard-doctor-{}", std::process::id()));
    let Some(mut reader) = config.tdengine_options(&folder) else {
        report.add("tdengine", Good("none is configured".into()));
        return;
    };
    let writer = reader.write_dsn.take().map(|dsn| Options { dsn, ..reader.clone() });
    for (name, options) in [("tdengine", Some(reader)), ("sink", writer)] {
        let Some(options) = options else { continue };
        let place = without_secrets(&options.dsn);
        let looked = async { Tdengine::new(options)?.check().await };
        let finding = match looked.await {
            Ok(found) if name == "tdengine" && found.access == Access::CanWrite => Doubtful(format!(
                "{place}: version {}; the user {} may write, and need not: `trainyard data check-source` says more",
                found.version, found.user
            )),
            Ok(found) if name == "sink" && found.access == Access::ReadOnly => {
                Bad(format!("{place}: the user {} may only read", found.user))
            }
            Ok(found) => Good(format!("{place}: version {}, user {}", found.version, found.user)),
            Err(error) => Bad(format!("{place}: {error}")),
        };
        report.add(name, finding);
    }
    // Nothing was fetched, so it is empty.
    let _ = std::fs::remove_dir(&folder);
}

fn python(report: &mut Report) {
    let finding = match crate::library::python_engine() {
        Some(file) if file.is_file() => Good(format!("the engine is {}", file.display())),
        Some(file) => Bad(format!("{}: there is no such file; see to TRAINYARD_PYTHON_ENGINE", file.display())),
        None => Doubtful(
            "there is no engine, so plugins of Python source are refused: put python-engine.wasm beside the program, or set TRAINYARD_PYTHON_ENGINE".into(),
        ),
    };
    report.add("python", finding);
}

/// Looks for the cards that a worker would use, and tries each.
async fn cards(config: &Config, report: &mut Report) {
    let Ok(devices) = config.worker.devices.parse::<Devices>() else {
        // A mistake of the settings, which has been told.
        return;
    };
    let tried = async {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        // What the driver compiles for a card is kept where the worker finds it.
        let options = WorkerOptions {
            scratch: folder.path().to_owned(),
            ..config.worker_options(program)
        };
        trainyard_worker::examine(&options)
            .await
            .map_err(|error| error.to_string())
    };
    let found = match tried.await {
        Ok(found) => found,
        Err(error) => return report.add("cards", Bad(format!("they cannot be looked for: {error}"))),
    };
    for card in &found.cards {
        let name = card
            .name
            .as_deref()
            .map_or_else(String::new, |name| format!(" ({name})"));
        let memory = card
            .memory_mb
            .map_or_else(String::new, |memory| format!(", {memory} MiB"));
        report.add(
            "cards",
            match &card.problem {
                None => Good(format!("cuda:{}{name}{memory}: it computes", card.index)),
                Some(problem) => {
                    let text = format!("cuda:{}{name}: {problem}", card.index);
                    // Whoever names cards wants them.
                    if devices == Devices::Auto {
                        Doubtful(text)
                    } else {
                        Bad(text)
                    }
                }
            },
        );
    }
    if found.cards.is_empty() {
        report.add(
            "cards",
            match found.problem {
                Some(problem) => Doubtful(format!(
                    "none can be used, so trainings run on the processor: {problem}"
                )),
                None if devices == Devices::None => Good("none is to be used (worker.devices)".into()),
                None => Good("there is none, or this build is not for them; trainings run on the processor".into()),
            },
        );
    }
}

/// Starts a runner, as a worker does.
async fn sandbox(config: &Config, report: &mut Report) {
    let tried = async {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let database = Database::open(&folder.path().join("doctor.db"))
            .await
            .map_err(|error| error.to_string())?;
        let services = Services {
            store: Arc::new(SqliteStore::new(database.clone())),
            broker: Arc::new(SqliteBroker::new(database)),
            feed: Arc::new(LocalFeed::new()),
            artifacts: Arc::new(
                DiskArtifacts::open(&folder.path().join("artifacts")).map_err(|error| error.to_string())?,
            ),
            tdengine: None,
        };
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut options = config.worker_options(program);
        options.scratch = folder.path().join("scratch");
        options.code = folder.path().join("code");
        // They have been looked at.
        options.devices = Devices::None;
        let worker = Worker::start(services, options)
            .await
            .map_err(|error| error.to_string())?;
        let missing = worker.isolation().missing.clone();
        worker.attend(std::future::ready(())).await;
        Ok::<_, String>(missing)
    };
    match tried.await {
        Ok(missing) if missing.is_empty() => {
            report.add("sandbox", Good("a runner starts, and is shut in".into()));
        }
        Ok(missing) => {
            for what in missing {
                let text = format!("plugins are shut in less than they should be: {what}");
                report.add("sandbox", Doubtful(text));
            }
        }
        Err(error) => report.add("sandbox", Bad(format!("no runner starts: {error}"))),
    }
}
