//! Tickets: a browser's `EventSource`, `WebSocket` and download links cannot send a header, and a token in a URL ends up
//! in logs. A ticket in the URL is good once, for a minute.

use super::Caller;
use crate::tokens;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(60);

/// More than this at once is somebody who never uses them; the oldest go.
const MOST: usize = 10_000;

/// Tickets by their hash.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<[u8; 32], (Instant, Caller)>>);

impl Tickets {
    /// A new ticket, good for whatever its owner may do.
    pub fn issue(&self, caller: Caller) -> String {
        let ticket = tokens::random();
        let now = Instant::now();
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() >= MOST {
            tickets.retain(|_, (since, _)| now - *since < LIFETIME);
            if tickets.len() >= MOST
                && let Some(oldest) = tickets
                    .iter()
                    .min_by_key(|(_, (since, _))| *since)
                    .map(|(hash, _)| *hash)
            {
                tickets.remove(&oldest);
            }
        }
        tickets.insert(tokens::hash(&ticket), (now, caller));
        ticket
    }

    /// Uses a ticket up.
    pub fn take(&self, ticket: &str) -> Option<Caller> {
        let mut tickets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked up by hash: what the time of a comparison tells is of no use to anyone.
        let (since, caller) = tickets.remove(&tokens::hash(ticket))?;
        (since.elapsed() < LIFETIME).then_some(caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once() {
        let tickets = Tickets::default();
        let ticket = tickets.issue(Caller::local());
        assert_eq!(tickets.take("x"), None);
        assert_eq!(tickets.take(&ticket), Some(Caller::local()));
        assert_eq!(tickets.take(&ticket), None);
    }
}
