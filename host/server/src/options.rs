//! What an operator may set.

use std::path::PathBuf;
use std::time::Duration;
use trainyard_jobs::submission::Allowance;

/// Limits and defaults of the server.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What trainings may ask for.
    pub allowance: Allowance,
    /// Where uploads lie until they are checked and stored. What is left of an earlier server is removed at the start.
    pub staging: PathBuf,
    /// Bytes of a JSON body at most.
    pub max_body_bytes: u64,
    /// Bytes of an uploaded plugin at most.
    pub max_plugin_bytes: u64,
    /// Bytes of an uploaded data set at most.
    pub max_dataset_bytes: u64,
    /// Bytes of rows to predict for at most.
    pub max_predict_bytes: u64,
    /// Bytes of a URL at most.
    pub max_uri_bytes: usize,
    /// Bytes of a request's headers at most, and how many there may be.
    pub max_header_bytes: usize,
    /// Headers of a request at most.
    pub max_headers: usize,
    /// Connections at the same time; further ones are turned away with 503.
    pub max_connections: usize,
    /// The time for a request's head, and for a connection to wait for its next request.
    pub head_timeout: Duration,
    /// The time for the next bytes of a body.
    pub body_timeout: Duration,
    /// The time for an upload as a whole.
    pub upload_timeout: Duration,
    /// The time for an answer, but for uploads, predictions and what is sent bit by bit.
    pub request_timeout: Duration,
    /// The time after which a client that does not read is dropped.
    pub stall_timeout: Duration,
    /// How often a live stream says that it is alive.
    pub keep_alive: Duration,
    /// How often a live stream looks at the rows, when its feed is silent.
    pub look: Duration,
    /// The time for requests under way to end, at a shutdown.
    pub shutdown_grace: Duration,
    /// Wrong tokens a minute from one address; further ones are 429.
    pub auth_failures_per_minute: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            allowance: Allowance::default(),
            staging: std::env::temp_dir().join("trainyard-uploads"),
            max_body_bytes: 1 << 20,
            max_plugin_bytes: 64 << 20,
            max_dataset_bytes: 4 << 30,
            max_predict_bytes: 16 << 20,
            max_uri_bytes: 8 << 10,
            max_header_bytes: 32 << 10,
            max_headers: 100,
            max_connections: 1024,
            head_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(30),
            upload_timeout: Duration::from_secs(3600),
            request_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
            look: Duration::from_secs(1),
            shutdown_grace: Duration::from_secs(5),
            auth_failures_per_minute: 10,
        }
    }
}
