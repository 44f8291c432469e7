//! The driver, with a time limit on everything it does, and its panics turned into errors.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::ArrayRef;
use futures_util::{FutureExt, TryStreamExt};
use taos::{AsyncFetchable, AsyncQueryable, AsyncTBuilder, Dsn, IntoDsn, Precision, Taos, TaosBuilder};
use tokio::sync::Mutex;

use super::{
    block::{ColumnType, decode},
    error::TdengineError,
    moment::TimePrecision,
};

/// How long the driver waits for the server's version before it takes it for one of another age, and misreads it.
const DRIVERS_PATIENCE: Duration = Duration::from_secs(8);

/// The driver ends each answer with a word to the server that nothing answers, and leaves Nagle's algorithm on: until that
/// word is acknowledged, which a server's system puts off for 40 ms, the connection can say nothing more.
const REST: Duration = Duration::from_millis(45);

/// How long we wait for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// To connect and log in; less than 8 seconds.
    pub connect: Duration,
    /// For the answer to a statement.
    pub query: Duration,
    /// For each block of rows.
    pub block: Duration,
    /// Before the second try; twice as long before each further one.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            query: Duration::from_secs(60),
            block: Duration::from_secs(30),
            pause: Duration::from_millis(500),
        }
    }
}

/// Connections that are not in use, and how to make more.
#[derive(Debug)]
pub(crate) struct Connections {
    dsn: Dsn,
    /// Host and port: what messages call the server. Never the password.
    pub server: String,
    pub patience: Patience,
    /// With the time of their last word; those that have rested longest are in front.
    idle: Mutex<VecDeque<(Taos, Instant)>>,
    /// So many may rest.
    most: usize,
}

impl Connections {
    pub fn new(dsn: &str, patience: Patience, most: usize) -> Result<Self, TdengineError> {
        // The driver's words may repeat the DSN, password included.
        let dsn = dsn.into_dsn().map_err(|_| TdengineError::dsn("it is no address"))?;
        if !matches!(dsn.driver.as_str(), "ws" | "wss" | "http" | "https" | "taos" | "taosws") {
            return Err(TdengineError::dsn(format!("{}:// is not known", dsn.driver)));
        }
        if patience.connect >= DRIVERS_PATIENCE {
            return Err(TdengineError::dsn(
                "the time limit for connecting must be less than 8 s",
            ));
        }
        let server = match dsn.addresses.first() {
            Some(address) => address.to_string(),
            None => "localhost".to_owned(),
        };
        Ok(Self {
            dsn,
            server,
            patience,
            idle: Mutex::default(),
            most: most.max(1),
        })
    }

    /// The database that the DSN names.
    pub fn database(&self) -> Option<&str> {
        self.dsn.subject.as_deref().filter(|name| !name.is_empty())
    }

    /// The user that the DSN names, or the driver's default.
    pub fn user(&self) -> &str {
        self.dsn.username.as_deref().unwrap_or("root")
    }

    /// A connection, from those at hand or a new one. It comes back by [`Connection::give_back`] when all went well.
    pub async fn take(self: &Arc<Self>) -> Result<Connection, TdengineError> {
        let idle = {
            let mut idle = self.idle.lock().await;
            match idle.front() {
                // One more is sooner there than this one can speak.
                Some((_, since)) if since.elapsed() < REST && idle.len() < self.most => None,
                _ => idle.pop_front(),
            }
        };
        let taos = match idle {
            Some((taos, _)) => taos,
            None => self.open().await?,
        };
        Ok(Connection {
            taos,
            all: self.clone(),
        })
    }

    async fn open(&self) -> Result<Taos, TdengineError> {
        let what = "connecting";
        let connect = async {
            let mut dsn = self.dsn.clone();
            // A database that is missing is better reported by the statement that needs it.
            dsn.subject = None;
            let builder = TaosBuilder::from_dsn(dsn)?;
            let taos = builder.build().await?;
            // The driver connects at the first statement.
            taos.exec("select server_status()").await?;
            Ok(taos)
        };
        self.within(self.patience.connect, what, connect).await
    }

    /// Runs what the driver does; no longer than allowed.
    async fn within<T>(
        &self,
        limit: Duration,
        what: &str,
        work: impl Future<Output = Result<T, taos::Error>>,
    ) -> Result<T, TdengineError> {
        match tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(Ok(done))) => Ok(done),
            Ok(Ok(Err(error))) => Err(TdengineError::of_driver(&self.server, what, &error)),
            Ok(Err(panic)) => {
                let words = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("it panicked");
                Err(TdengineError::driver(&self.server, what, words))
            }
            Err(_) => Err(TdengineError::silent(&self.server, what, limit)),
        }
    }
}

/// A connection that is ours for now. Dropped, it is closed: nobody knows what state it is in.
#[derive(Debug)]
pub(crate) struct Connection {
    taos: Taos,
    all: Arc<Connections>,
}

impl Connection {
    /// Asks for rows. `what` is for messages.
    pub async fn query(&self, what: &'static str, sql: &str) -> Result<Rows<'_>, TdengineError> {
        let all = &*self.all;
        let set = all.within(all.patience.query, what, self.taos.query(sql)).await?;
        let columns = set
            .fields()
            .iter()
            .map(|field| (field.name().to_owned(), ColumnType::of_wire(field.ty() as u8)))
            .collect();
        let precision = match set.precision() {
            Precision::Millisecond => TimePrecision::Millisecond,
            Precision::Microsecond => TimePrecision::Microsecond,
            Precision::Nanosecond => TimePrecision::Nanosecond,
        };
        Ok(Rows {
            // Blocks on their way point into it: it must not move.
            set: Box::new(set),
            columns,
            precision,
            all,
            what,
        })
    }

    /// Runs a statement without rows; how many it wrote.
    pub async fn execute(&self, what: &'static str, sql: &str) -> Result<usize, TdengineError> {
        self.all
            .within(self.all.patience.query, what, self.taos.exec(sql))
            .await
    }

    /// One more to the same server: it can speak at once, when this one has just spoken.
    pub async fn another(&self) -> Result<Self, TdengineError> {
        self.all.take().await
    }

    /// Puts it back for others.
    pub async fn give_back(self) {
        let mut idle = self.all.idle.lock().await;
        if idle.len() < self.all.most {
            idle.push_back((self.taos, Instant::now()));
        }
    }
}

/// Rows as they come.
pub(crate) struct Rows<'a> {
    set: Box<taos::ResultSet>,
    /// Names and types.
    pub columns: Vec<(String, ColumnType)>,
    /// What the database counts time in.
    pub precision: TimePrecision,
    all: &'a Connections,
    what: &'static str,
}

impl Rows<'_> {
    /// The next rows, a column each; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<ArrayRef>>, TdengineError> {
        if let Some((name, _)) = self.columns.iter().find(|(_, r#type)| *r#type == ColumnType::Other) {
            return Err(TdengineError::request(format!(
                "column {name} has a type that cannot be read"
            )));
        }
        let all = self.all;
        let block = async {
            let mut blocks = self.set.blocks();
            blocks.try_next().await
        };
        let Some(block) = all.within(all.patience.block, self.what, block).await? else {
            return Ok(None);
        };
        // The driver's own views panic on some types and are not aligned.
        let types = self.columns.iter().map(|(_, r#type)| *r#type);
        decode(block.as_raw_bytes(), types, self.precision)
            .map(Some)
            .map_err(|problem| TdengineError::garbled(&all.server, problem))
    }

    /// All rows of a short answer, a column each.
    pub async fn all(mut self) -> Result<Vec<ArrayRef>, TdengineError> {
        let mut blocks = Vec::new();
        while let Some(block) = self.next().await? {
            blocks.push(block);
        }
        let columns = (0..self.columns.len()).map(|column| {
            let parts: Vec<&dyn arrow_array::Array> = blocks.iter().map(|block| &*block[column] as _).collect();
            match parts.is_empty() {
                true => Ok(arrow_array::new_empty_array(
                    &self.columns[column].1.arrow(self.precision),
                )),
                false => arrow_select::concat::concat(&parts),
            }
        });
        columns
            .collect::<Result<_, _>>()
            .map_err(|error| TdengineError::garbled(&self.all.server, error))
    }
}
