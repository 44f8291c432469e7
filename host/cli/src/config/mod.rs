//! What an operator can set, with the defaults. `trainyard.toml` beside the sources documents all of it.
//!
//! [`layers`] gathers it from flags, environment and file; [`check`] says what cannot be as it is set; [`command`] shows it.

mod check;
mod command;
mod layers;
mod shared;
mod tdengine;

use crate::failure::Result;
use serde::{Deserialize, Serialize};
use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

pub use check::usable;
pub use command::command;
pub use layers::Flags;
pub use shared::{DatabaseConfig, RedisConfig, S3Config};
pub use tdengine::{TdengineConfig, without_secrets};

/// The documented file, with every default.
const DOCUMENTED: &str = include_str!("../../trainyard.toml");

/// Settings that are secrets, or hold one.
const SECRETS: [&str; 6] = [
    "database.url",
    "redis.url",
    "s3.secret_access_key",
    "tdengine.dsn",
    "tdengine.write_dsn",
    "client.token",
];

/// All settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the database, uploaded files and results are.
    pub data_dir: PathBuf,
    pub server: ServerConfig,
    pub worker: WorkerConfig,
    pub database: DatabaseConfig,
    pub redis: RedisConfig,
    pub s3: S3Config,
    pub tdengine: TdengineConfig,
    pub limits: LimitsConfig,
    pub log: LogConfig,
    pub client: ClientConfig,
}

/// How the server serves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Connections at once.
    pub max_connections: usize,
    /// Seconds for an answer.
    pub request_timeout: u64,
    /// The largest plugin, in MiB.
    pub max_plugin_mb: u64,
    /// The largest data set, in MiB.
    pub max_dataset_mb: u64,
    /// Seconds after which a silent live stream says that it is alive.
    pub keep_alive: u64,
}

/// How a worker works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// How it is called in rows and logs.
    pub name: Option<String>,
    /// Trainings at once; one for each core when absent.
    pub slots: Option<usize>,
    /// Threads that compute, for each training.
    pub threads: usize,
    /// Runner processes kept ready.
    pub warm: usize,
    /// The queues that are served.
    pub queues: Vec<String>,
    /// What this worker has, for trainings that ask for it.
    pub labels: Vec<String>,
    /// The cards that trainings may use.
    pub devices: String,
    /// Seconds between two checks of a card that nothing runs on.
    pub card_check_seconds: u64,
    /// Seconds that a card's driver may take to answer.
    pub card_patience_seconds: u64,
    /// Seconds after which a silent worker counts as dead.
    pub lease_seconds: u64,
    /// Seconds between two words of life.
    pub renew_seconds: u64,
    /// Seconds that trainings have to reach a checkpoint at a shutdown.
    pub drain_seconds: u64,
    /// Folders from which trainings may read files.
    pub data_roots: Vec<PathBuf>,
    /// Predictions and inspections at once.
    pub compute_slots: Option<usize>,
    /// Models kept open for predictions.
    pub open_models: usize,
    /// The longest log of a training, in MiB.
    pub log_mb: u64,
}

/// What trainings may use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Seconds that a training may take.
    pub time_seconds: u64,
    /// MiB that a training may hold when its submit does not say.
    pub memory_mb: u64,
    /// MiB that a submit may ask for at most; see [`LimitsConfig::largest_memory_mb`] for when it is absent.
    pub max_memory_mb: Option<u64>,
    /// The same of a card's memory, for a submit that is for a card alone; 0 is as much as the card has.
    pub max_gpu_memory_mb: u64,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    pub format: LogFormat,
    pub level: LogLevel,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one object a line.
    Json,
}

/// The least that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Which server commands ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// Its address.
    pub url: String,
    /// The token that is sent.
    pub token: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: default_data_dir(),
            server: ServerConfig::default(),
            worker: WorkerConfig::default(),
            database: DatabaseConfig::default(),
            redis: RedisConfig::default(),
            s3: S3Config::default(),
            tdengine: TdengineConfig::default(),
            limits: LimitsConfig::default(),
            log: LogConfig::default(),
            client: ClientConfig::default(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            max_connections: 1024,
            request_timeout: 30,
            max_plugin_mb: 64,
            max_dataset_mb: 4096,
            keep_alive: 15,
        }
    }
}

impl Default for WorkerConfig {
    fn default() -> Self {
        WorkerConfig {
            name: None,
            slots: None,
            threads: 1,
            warm: 2,
            queues: trainyard_jobs::JobKind::ALL
                .map(|kind| kind.queue().to_owned())
                .to_vec(),
            labels: Vec::new(),
            devices: "auto".into(),
            card_check_seconds: 30,
            card_patience_seconds: 60,
            lease_seconds: 5,
            renew_seconds: 2,
            drain_seconds: 10,
            data_roots: Vec::new(),
            compute_slots: None,
            open_models: 4,
            log_mb: 256,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            time_seconds: 3600,
            memory_mb: 4096,
            max_memory_mb: None,
            max_gpu_memory_mb: 0,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            format: LogFormat::Text,
            level: LogLevel::Info,
        }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig {
            url: "http://127.0.0.1:8080".into(),
            token: None,
        }
    }
}

impl Config {
    /// What flags, environment and file say, over the defaults. `file` is what `--config` names. Warnings go to the
    /// person; the first mistake is the error.
    pub fn load(flags: Flags, file: Option<&Path>) -> Result<Self> {
        let gathered = layers::gather(flags, env::vars_os(), file)?;
        for warning in &gathered.warnings {
            eprintln!("warning: {warning}");
        }
        gathered.whole()
    }
}

impl LimitsConfig {
    /// MiB that a training may ask for at most: as set, or four fifths of what this machine, or the group of processes
    /// that it runs in, may use.
    pub fn largest_memory_mb(&self) -> u64 {
        self.max_memory_mb.unwrap_or_else(|| machine_memory_mb() / 5 * 4)
    }
}

/// MiB of memory that there are for this process and its children.
fn machine_memory_mb() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .map(|kilobytes| kilobytes >> 10);
    // "max" when there is no limit, which is no number.
    let group = read("/sys/fs/cgroup/memory.max")
        .trim()
        .parse::<u64>()
        .ok()
        .map(|bytes| bytes >> 20);
    match (memory, group) {
        (Some(memory), Some(group)) => memory.min(group),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => 16 << 10,
    }
}

/// `$XDG_DATA_HOME/trainyard` or `~/.local/share/trainyard`.
fn default_data_dir() -> PathBuf {
    home_folder("XDG_DATA_HOME", ".local/share").join("trainyard")
}

/// A folder of the user's by its variable, or below the home folder; the current one where there is no home.
fn home_folder(variable: &str, below: &str) -> PathBuf {
    // As the XDG specification says, a relative path is no folder.
    let said = env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    said.or_else(|| env::home_dir().map(|home| home.join(below)))
        .unwrap_or_default()
}

/// The names of all settings, such as `server.listen`, with their defaults as JSON.
fn settings() -> Vec<(String, serde_json::Value)> {
    let config = Config {
        // Only a path could fail to be JSON; this one cannot.
        data_dir: PathBuf::new(),
        ..Config::default()
    };
    flat(&config)
}

/// The values of a configuration by the names of the settings.
fn flat(config: &Config) -> Vec<(String, serde_json::Value)> {
    let mut all = Vec::new();
    if let Ok(serde_json::Value::Object(top)) = serde_json::to_value(config) {
        for (name, value) in top {
            match value {
                serde_json::Value::Object(section) => {
                    all.extend(section.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
                }
                value => all.push((name, value)),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
