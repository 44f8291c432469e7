//! A TDengine server that rows are read from.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    cache::Cache,
    connection::{Connection, Connections, Patience},
    error::TdengineError,
};

/// Tries of everything that may succeed at another.
pub(crate) const TRIES: u32 = 4;

/// Which server, and how it is used.
#[derive(Debug, Clone)]
pub struct Options {
    /// `ws://user:password@host:6041/database`, `wss://…`, or `taos://…?libraryPath=…` for the native driver.
    pub dsn: String,
    /// The DSN of a user that may write predictions; without it nothing is ever written.
    pub write_dsn: Option<String>,
    /// Where fetched data sets lie; for one process alone.
    pub folder: PathBuf,
    /// Bytes of fetched data sets that are kept.
    pub cache_bytes: u64,
    /// Connections that one fetch uses at once.
    pub connections: usize,
    /// Rows that are fetched, counted and tried again together, about.
    pub range_rows: u64,
    /// How long we wait for the server.
    pub patience: Patience,
    /// How much one job may fetch.
    pub limits: Limits,
}

impl Options {
    /// The defaults for a server and a folder.
    pub fn new(dsn: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self {
            dsn: dsn.into(),
            write_dsn: None,
            folder: folder.into(),
            cache_bytes: 10 << 30,
            connections: 4,
            range_rows: 500_000,
            patience: Patience::default(),
            limits: Limits::default(),
        }
    }
}

/// How much one job may fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub rows: u64,
    /// Bytes of the dataset file.
    pub bytes: u64,
    /// From the first statement to the last row.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 200_000_000,
            bytes: 32 << 30,
            time: Duration::from_secs(3600),
        }
    }
}

/// A server to read from, and perhaps to write to. Nothing is connected before it is needed.
#[derive(Debug)]
pub struct Tdengine {
    pub(crate) read: Arc<Connections>,
    pub(crate) write: Option<Arc<Connections>>,
    pub(crate) cache: Cache,
    pub(crate) options: Options,
}

impl Tdengine {
    /// Checks the DSN and makes the folder.
    pub fn new(options: Options) -> Result<Self, TdengineError> {
        let connections =
            |dsn: &String| Connections::new(dsn, options.patience.clone(), options.connections).map(Arc::new);
        Ok(Self {
            read: connections(&options.dsn)?,
            write: options.write_dsn.as_ref().map(connections).transpose()?,
            cache: Cache::new(&options.folder, options.cache_bytes)
                .map_err(|error| TdengineError::disk(&options.folder.display().to_string(), error))?,
            options,
        })
    }

    /// Host and port, for messages.
    pub fn server(&self) -> &str {
        &self.read.server
    }
}

/// Does something with a connection; what may succeed at another try is tried again, with longer and longer pauses.
pub(crate) async fn retried<T, Work: Future<Output = Result<T, TdengineError>>>(
    connections: &Arc<Connections>,
    range: &str,
    mut work: impl FnMut(Arc<Connection>) -> Work,
) -> Result<T, TdengineError> {
    let mut pause = connections.patience.pause;
    let mut tries = 1;
    loop {
        let tried = match connections.take().await.map(Arc::new) {
            Ok(connection) => {
                let done = work(connection.clone()).await;
                if done.is_ok()
                    && let Some(connection) = Arc::into_inner(connection)
                {
                    connection.give_back().await;
                }
                done
            }
            Err(error) => Err(error),
        };
        match tried {
            Err(error) if error.is_transient() && tries < TRIES => {
                tracing::warn!(range, %error, tries, "TDengine is asked again");
                tokio::time::sleep(pause).await;
                pause *= 2;
                tries += 1;
            }
            Err(error) if error.is_transient() => return Err(error.after_tries(range, TRIES)),
            done => return done,
        }
    }
}
