//! What one connection answers to each request: its login, its open results, and the faults in between.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use crate::{
    engine::{self, Answer, Session},
    error::SqlError,
    fault::{Faults, Moment, Then},
    reply::{self, ADAPTER_ERROR},
    request::Request,
    result_set::ResultSet,
    world::World,
};

/// What all connections of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub world: Mutex<World>,
    pub faults: Faults,
    pub statements: Mutex<Vec<String>>,
    pub blocks_sent: AtomicU64,
    pub connections: AtomicUsize,
    results: AtomicU64,
}

impl Shared {
    pub fn new(world: World) -> Self {
        Self {
            world: Mutex::new(world),
            faults: Faults::default(),
            statements: Mutex::new(Vec::new()),
            blocks_sent: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            results: AtomicU64::new(0),
        }
    }
}

/// Locks, whether or not another holder panicked: a test that failed shall say so itself.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be done with the socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Output {
    Text(String),
    Binary(Vec<u8>),
    /// The first half of this message's frame, then the end.
    Half(Box<Output>),
    Close(u16, String),
    Drop,
}

/// A result that is being fetched.
struct Open {
    result: Arc<ResultSet>,
    sql: Arc<str>,
    /// Rows and blocks that were counted so far.
    rows: u64,
    blocks: u64,
    /// The rows of the block that was counted and can be fetched, and the fault that it was counted with.
    pending: Option<(Range<u64>, Option<Then>)>,
}

/// The state of one connection.
pub(crate) struct Answers {
    shared: Arc<Shared>,
    session: Mutex<Option<Session>>,
    open: Mutex<HashMap<u64, Open>>,
}

impl Answers {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            session: Mutex::new(None),
            open: Mutex::new(HashMap::new()),
        }
    }

    /// The fault that a request meets.
    pub fn fault(&self, request: &Request) -> Option<Then> {
        let faults = &self.shared.faults;
        match request {
            Request::Version { .. } => faults.take(Moment::Version),
            Request::Login { .. } => faults.take(Moment::Login),
            Request::Query { sql, .. } => faults.take(Moment::Query(sql)),
            Request::Fetch { id, .. } | Request::FetchRawBlock { id, .. } => {
                let (query, sent) = lock(&self.open)
                    .get(id)
                    .map(|open| (Arc::clone(&open.sql), open.blocks))?;
                faults.take(Moment::Block { query: &query, sent })
            }
            _ => None,
        }
    }

    /// The answer to a request, with the fault that it met.
    pub fn answer(&self, request: &Request, fault: Option<Then>, since: Instant) -> Option<Output> {
        let fetches = matches!(request, Request::Fetch { .. } | Request::FetchRawBlock { .. });
        match fault {
            Some(Then::Hang) => None,
            Some(Then::Drop) => Some(Output::Drop),
            Some(Then::CloseFrame(code, reason)) => Some(Output::Close(code, reason)),
            Some(Then::BadText) => Some(Output::Text("this is not JSON".to_owned())),
            Some(Then::Error { code, message }) => refuse(request, &SqlError { code, message }, since),
            Some(Then::Garbage) if !fetches => Some(Output::Binary(random_bytes(1000))),
            Some(Then::DropMidMessage) if !fetches => self
                .answer(request, None, since)
                .map(|output| Output::Half(Box::new(output))),
            fault => self.usual_answer(request, fault, since),
        }
    }

    fn usual_answer(&self, request: &Request, fault: Option<Then>, since: Instant) -> Option<Output> {
        match request {
            Request::Version { req_id } => Some(Output::Text(reply::version(
                *req_id,
                &lock(&self.shared.world).version,
                since,
            ))),
            Request::Login {
                user,
                password,
                database,
                req_id,
            } => match self.login(user, password, database) {
                Ok(()) => Some(Output::Text(reply::login(*req_id, since))),
                Err(error) => refuse(request, &error, since),
            },
            Request::Query { req_id, sql, action } => match self.query(sql) {
                Ok(Answer::Update { affected_rows }) => {
                    Some(Output::Text(reply::updated(action, *req_id, affected_rows, since)))
                }
                Ok(Answer::Rows(result)) => {
                    let id = self.shared.results.fetch_add(1, Ordering::Relaxed) + 1;
                    let text = reply::found(action, *req_id, id, &result, since);
                    let (result, sql) = (Arc::new(result), Arc::from(sql.as_str()));
                    lock(&self.open).insert(
                        id,
                        Open {
                            result,
                            sql,
                            rows: 0,
                            blocks: 0,
                            pending: None,
                        },
                    );
                    Some(Output::Text(text))
                }
                Err(error) => refuse(request, &error, since),
            },
            Request::Fetch { req_id, id } => match self.advance(*id, fault) {
                Ok((result, rows)) => Some(Output::Text(reply::fetched(
                    *req_id,
                    *id,
                    &result,
                    rows.end - rows.start,
                    since,
                ))),
                Err(error) => refuse(request, &error, since),
            },
            Request::FetchBlock { id, .. } => match self.pending(*id) {
                Ok((result, rows, fault)) => Some(self.block(&result, rows, fault, reply::block_prefix(*id, since))),
                Err(error) => refuse(request, &error, since),
            },
            Request::FetchRawBlock { req_id, id } => match self.advance(*id, fault) {
                Ok((_, rows)) if rows.is_empty() => {
                    Some(Output::Binary(reply::raw_block_prefix(*req_id, *id, None, since)))
                }
                Ok(_) => match self.pending(*id) {
                    Ok((result, rows, fault)) => {
                        let mut prefix = reply::raw_block_prefix(*req_id, *id, Some(Ok(())), since);
                        prefix.extend_from_slice(&[0; 4]);
                        Some(self.raw_block(&result, rows, fault, prefix))
                    }
                    Err(error) => refuse(request, &error, since),
                },
                Err(error) => refuse(request, &error, since),
            },
            Request::FreeResult { id } => {
                lock(&self.open).remove(id);
                None
            }
            Request::Unknown { reason, .. } => refuse(request, &SqlError::new(ADAPTER_ERROR, reason), since),
            Request::Malformed => None,
        }
    }

    fn login(&self, name: &str, password: &str, database: &str) -> Result<(), SqlError> {
        let world = lock(&self.shared.world);
        let user = world
            .users
            .iter()
            .find(|user| user.name == name && user.password == password);
        let user = user
            .ok_or_else(|| SqlError::new(0x0357, "Authentication failure"))?
            .clone();
        let database = Some(database).filter(|name| !name.is_empty());
        if database.is_some_and(|name| !world.databases.contains_key(name)) {
            return Err(SqlError::no_database());
        }
        *lock(&self.session) = Some(Session {
            user,
            database: database.map(str::to_owned),
        });
        Ok(())
    }

    fn query(&self, sql: &str) -> Result<Answer, SqlError> {
        let mut session = lock(&self.session);
        let session = session
            .as_mut()
            .ok_or_else(|| SqlError::new(ADAPTER_ERROR, "server not connected"))?;
        engine::execute(&mut lock(&self.shared.world), session, sql)
    }

    /// Counts the next block of a result; the result is gone with its last.
    fn advance(&self, id: u64, fault: Option<Then>) -> Result<(Arc<ResultSet>, Range<u64>), SqlError> {
        let block_rows = lock(&self.shared.world).block_rows;
        let mut results = lock(&self.open);
        let open = results
            .get_mut(&id)
            .ok_or_else(|| SqlError::new(ADAPTER_ERROR, "result is nil"))?;
        let count = match fault {
            Some(Then::End) => 0,
            _ => open.result.block_rows(open.rows, block_rows),
        };
        let rows = open.rows..open.rows + count;
        let result = Arc::clone(&open.result);
        if count == 0 {
            results.remove(&id);
        } else {
            open.rows = rows.end;
            open.blocks += 1;
            open.pending = Some((rows.clone(), fault));
        }
        Ok((result, rows))
    }

    /// The block that was counted last.
    #[allow(clippy::type_complexity, reason = "used in two places, right here")]
    fn pending(&self, id: u64) -> Result<(Arc<ResultSet>, Range<u64>, Option<Then>), SqlError> {
        let refused = |message| SqlError::new(ADAPTER_ERROR, message);
        let results = lock(&self.open);
        let open = results.get(&id).ok_or_else(|| refused("result is nil"))?;
        let (rows, fault) = open.pending.clone().ok_or_else(|| refused("block is nil"))?;
        Ok((Arc::clone(&open.result), rows, fault))
    }

    /// A message of what stands before the block, and the block.
    fn block(&self, result: &ResultSet, mut rows: Range<u64>, fault: Option<Then>, mut message: Vec<u8>) -> Output {
        match fault {
            Some(Then::Garbage) => message.extend(random_bytes(1000)),
            Some(Then::LoseRows(lost)) => {
                rows.end = rows.end.saturating_sub(lost).max(rows.start);
                result.encode(&mut message, rows);
            }
            _ => result.encode(&mut message, rows),
        }
        self.shared.blocks_sent.fetch_add(1, Ordering::Relaxed);
        match fault {
            Some(Then::DropMidMessage) => Output::Half(Box::new(Output::Binary(message))),
            _ => Output::Binary(message),
        }
    }

    /// The same, where the last four bytes before the block are its length.
    fn raw_block(&self, result: &ResultSet, rows: Range<u64>, fault: Option<Then>, prefix: Vec<u8>) -> Output {
        let at = prefix.len();
        let mut output = self.block(result, rows, fault, prefix);
        let message = match &mut output {
            Output::Half(inner) => inner.as_mut(),
            whole => whole,
        };
        if let Output::Binary(message) = message {
            let length = (message.len() - at) as u32;
            message[at - 4..at].copy_from_slice(&length.to_le_bytes());
        }
        output
    }
}

/// The answer that says an error.
fn refuse(request: &Request, error: &SqlError, since: Instant) -> Option<Output> {
    let (action, req_id) = match request {
        Request::Version { req_id } => ("version", req_id),
        Request::Login { req_id, .. } => ("conn", req_id),
        Request::Query { req_id, action, .. } => (*action, req_id),
        Request::Fetch { req_id, .. } => ("fetch", req_id),
        Request::FetchBlock { req_id, .. } => ("fetch_block", req_id),
        Request::FetchRawBlock { req_id, id } => {
            return Some(Output::Binary(reply::raw_block_prefix(
                *req_id,
                *id,
                Some(Err(error)),
                since,
            )));
        }
        Request::Unknown { req_id, action, .. } => (action.as_str(), req_id),
        Request::FreeResult { .. } | Request::Malformed => return None,
    };
    Some(Output::Text(reply::refusal(action, *req_id, error, since)))
}

/// Bytes without any order, the same at every start.
pub(crate) fn random_bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}
