//! Connections to one Redis server.

use crate::BrokerError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError};
use std::time::Duration;

/// How long to connect.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take: a server that hangs says nothing.
const ANSWER: Duration = Duration::from_secs(5);

/// What a server is, and how it keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its version.
    pub version: String,
    /// Whether it writes what it acknowledged to a file; unknown where it does not tell.
    pub append_only: Option<bool>,
    /// What it does when its memory is full; unknown where it does not tell.
    pub eviction: Option<String>,
}

/// A Redis server and the number of a database. Clones share a connection, which is made again when it is lost.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    pub(super) connection: ConnectionManager,
    pub(super) database: i64,
}

impl Redis {
    /// Connects to a server, `redis://user:password@host:port/database`, or `rediss://` with TLS.
    pub async fn connect(url: &str) -> Result<Self, BrokerError> {
        let client = Client::open(url)
            .map_err(|error| BrokerError::Unavailable(format!("Redis's URL cannot be read: {}", words(&error))))?;
        let info = client.get_connection_info();
        let (address, database) = (info.addr().to_string(), info.redis_settings().db());
        let failed = |why: String| BrokerError::Unavailable(format!("Redis at {address}: {why}"));
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500));
        let mut connection =
            tokio::time::timeout(2 * CONNECT, ConnectionManager::new_with_config(client.clone(), config))
                .await
                .map_err(|_| failed("it does not answer".into()))?
                .map_err(|error| failed(words(&error)))?;
        let server: String = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await
            .map_err(|error| failed(words(&error)))?;
        let version = server
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"))
            .unwrap_or("of an unknown version")
            .to_owned();
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < 7) {
            return Err(failed(format!(
                "it is Redis {version}; Trainyard needs Redis 7 or later"
            )));
        }
        Ok(Redis {
            client,
            connection,
            database,
        })
    }

    /// What an operator should know of the server.
    pub async fn settings(&self) -> Result<Settings, BrokerError> {
        let info: String = redis::cmd("INFO").query_async(&mut self.connection.clone()).await?;
        let said = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        Ok(Settings {
            version: said("redis_version").unwrap_or_default(),
            append_only: said("aof_enabled").map(|enabled| enabled == "1"),
            eviction: said("maxmemory_policy"),
        })
    }

    /// A connection for commands that wait.
    pub(super) async fn waiting(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// A connection that hears channels.
    pub(super) async fn listening(&self) -> Result<PubSub, RedisError> {
        match tokio::time::timeout(2 * CONNECT, self.client.get_async_pubsub()).await {
            Ok(listening) => listening,
            Err(_) => Err(RedisError::from((ErrorKind::Io, "it does not answer"))),
        }
    }
}

/// Why Redis cannot be used.
pub(super) fn words(error: &RedisError) -> String {
    if error.is_timeout() {
        return "it does not answer".into();
    }
    match error.code() {
        Some("OOM") => "it is out of memory; give it more, or another `maxmemory`".into(),
        Some("MISCONF") => "it cannot write to its disk".into(),
        Some("READONLY") => "it is a read-only replica".into(),
        Some("LOADING") => "it is still reading its data".into(),
        Some("NOAUTH" | "WRONGPASS") => "it wants another user or password".into(),
        _ => error.to_string(),
    }
}

impl From<RedisError> for BrokerError {
    fn from(error: RedisError) -> Self {
        BrokerError::Unavailable(words(&error))
    }
}
