//! How the server can be told to misbehave.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// One way to misbehave: where, how, and how often.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Where it happens.
    pub on: On,
    /// What happens.
    pub then: Then,
    /// How many times; `None` is for ever.
    pub times: Option<u32>,
}

impl Fault {
    /// Happens the next time, and then no more.
    pub fn once(on: On, then: Then) -> Self {
        Self {
            on,
            then,
            times: Some(1),
        }
    }

    /// Happens every time.
    pub fn always(on: On, then: Then) -> Self {
        Self { on, then, times: None }
    }
}

/// Where a fault happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum On {
    /// When a client has connected and asks for the WebSocket.
    Connect,
    /// When it asks for the version.
    Version,
    /// When it logs in.
    Login,
    /// When it sends a statement that contains this text; every statement contains `""`.
    Query(String),
    /// When it fetches from a query that contains this text and has given `after` blocks already.
    Block {
        /// A part of the statement; every statement contains `""`.
        query: String,
        /// Blocks that went well before.
        after: u64,
    },
}

/// What happens instead of the answer. A fault of blocks (`DropMidMessage`, `Garbage`, `LoseRows`) does its work on the
/// bytes of the block, after its count of rows was told; the others on what is asked for first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Waits, then answers as usual. Other requests of the connection are answered meanwhile.
    Delay(Duration),
    /// Never answers this request, but keeps the connection.
    Hang,
    /// Closes the socket without a close frame.
    Drop,
    /// Sends the first half of the answer's frame, then closes the socket.
    DropMidMessage,
    /// Sends a close frame with this code and reason.
    CloseFrame(u16, String),
    /// Says that the result is complete although rows are missing, as a server that was killed may. Only for a block.
    End,
    /// Answers with this error. A client that connects gets `code` as its HTTP status.
    Error {
        /// TDengine's number for the error.
        code: i32,
        /// The text beside it.
        message: String,
    },
    /// Sends a binary message that starts as it should and goes on with random bytes.
    Garbage,
    /// Sends a text that is not JSON.
    BadText,
    /// Counts as usual, but the block lacks so many rows at its end. Only for a block.
    LoseRows(u64),
}

/// What the server is about to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment<'a> {
    Connect,
    Version,
    Login,
    Query(&'a str),
    Block { query: &'a str, sent: u64 },
}

impl On {
    fn is(&self, moment: Moment) -> bool {
        match (self, moment) {
            (Self::Connect, Moment::Connect) | (Self::Version, Moment::Version) | (Self::Login, Moment::Login) => true,
            (Self::Query(part), Moment::Query(sql)) => sql.contains(part),
            (Self::Block { query, after }, Moment::Block { query: sql, sent }) => sql.contains(query) && *after == sent,
            _ => false,
        }
    }
}

/// The faults that are still to happen, shared by all connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<Fault>>>);

impl Faults {
    pub fn add(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The first fault of a moment; it happens one time less from now on.
    pub fn take(&self, moment: Moment) -> Option<Then> {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = faults
            .iter_mut()
            .find(|fault| fault.times != Some(0) && fault.on.is(moment))?;
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        Some(fault.then.clone())
    }
}
