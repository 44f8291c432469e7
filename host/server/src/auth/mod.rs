//! Who may do what.
//!
//! Once a token was made, every request but a few public ones needs one; that the last of them is revoked or ended opens
//! nothing. As long as there never was one, only this machine is served, and then browsers are watched ([`local`]): a page of another site must not be able to train a model here.
//! Handlers say what they need with an extractor of [`caller`], so that none can be written without thinking of it.

mod caller;
mod failures;
mod local;
mod tickets;

pub use caller::{Admin, Caller, Reader, Submitter, Uploader};
pub use tickets::LIFETIME as TICKET_LIFETIME;

use crate::error::ApiError;
use crate::tokens;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use failures::Failures;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tickets::Tickets;
use tokio::sync::Mutex;
use trainyard_jobs::{Store, StoreError, Token};

/// How old what is known of the tokens may be: the time after which a revocation counts in every process.
const FRESH: Duration = Duration::from_millis(800);

type Known = Arc<Vec<(Token, [u8; 32])>>;

/// Tokens, tickets and failures.
pub struct Auth {
    store: Arc<dyn Store>,
    known: Mutex<Option<(Instant, Known)>>,
    /// Single-use tickets for clients that cannot send a header.
    pub tickets: Tickets,
    failures: Failures,
}

impl Auth {
    /// With the failures that one address may have a minute.
    pub fn new(store: Arc<dyn Store>, failures_per_minute: u32) -> Self {
        Auth {
            store,
            known: Mutex::new(None),
            tickets: Tickets::default(),
            failures: Failures::new(failures_per_minute),
        }
    }

    /// Who sends a request, or why it is refused.
    pub async fn admit(
        &self,
        peer: IpAddr,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Caller, ApiError> {
        let known = self.tokens().await?;
        if known.is_empty() {
            local::check(peer, headers)?;
            return Ok(Caller::local());
        }
        let tokens = usable(&known);
        if let Some(secret) = bearer(headers) {
            let hash = tokens::hash(secret);
            // Every hash is compared to its end, so that the time tells nothing.
            let mut found = None;
            for (token, known) in &tokens {
                if bool::from(hash.ct_eq(known)) {
                    found = Some(token);
                }
            }
            return match found {
                Some(token) => Ok(Caller::of(token)),
                None => Err(self.refuse(peer, "the token is unknown, expired or revoked")),
            };
        }
        if headers.contains_key(header::AUTHORIZATION) {
            return Err(self.refuse(peer, "the Authorization header is not `Bearer <token>`"));
        }
        match ticket(method, uri) {
            Some(ticket) => match self.tickets.take(&ticket).filter(|caller| allows(&tokens, caller)) {
                Some(caller) => Ok(caller),
                None => Err(self.refuse(peer, "the ticket is unknown, expired or used already")),
            },
            // Someone who has not tried anything is told so, and not counted.
            None => Err(unauthorized("this needs a token")),
        }
    }

    /// Whether what a caller came in with still counts.
    pub async fn still(&self, caller: &Caller) -> bool {
        match (self.tokens().await, caller.token) {
            // The store may be away for a moment; nobody is thrown out for that.
            (Err(_), _) => true,
            (Ok(known), None) => known.is_empty(),
            (Ok(known), Some(_)) => allows(&usable(&known), caller),
        }
    }

    /// Looks again at the next request, because a token was made or revoked here.
    pub async fn changed(&self) {
        *self.known.lock().await = None;
    }

    /// Every token that ever was.
    async fn tokens(&self) -> Result<Known, StoreError> {
        let mut known = self.known.lock().await;
        if let Some((since, tokens)) = &*known
            && since.elapsed() < FRESH
        {
            return Ok(tokens.clone());
        }
        let since = Instant::now();
        let tokens = Arc::new(self.store.tokens().await?);
        *known = Some((since, tokens.clone()));
        Ok(tokens)
    }

    /// 401, or 429 for an address that has tried too often. Whoever has a good token is let in even then: addresses are
    /// shared, and one with a wrong token must not lock out the others.
    fn refuse(&self, peer: IpAddr, why: &str) -> ApiError {
        match self.failures.count(peer) {
            None => unauthorized(why),
            Some(wait) => ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-failures",
                format!("{why}, and {peer} has tried too often"),
            )
            .remedy("wait, then use a token that an administrator gave you")
            .retry_after(wait.as_secs().max(1)),
        }
    }
}

/// The tokens that count now.
fn usable(known: &[(Token, [u8; 32])]) -> Vec<&(Token, [u8; 32])> {
    let now = chrono::Utc::now();
    let counts = |token: &Token| token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now);
    known.iter().filter(|(token, _)| counts(token)).collect()
}

fn unauthorized(why: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", why)
        .remedy("send `Authorization: Bearer <token>`; `trainyard token create` makes one")
}

fn allows(tokens: &[&(Token, [u8; 32])], caller: &Caller) -> bool {
    tokens.iter().any(|(token, _)| Some(token.id) == caller.token)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let value = given.next()?.to_str().ok()?;
    // Two of them: nobody knows which one counts.
    if given.next().is_some() {
        return None;
    }
    let (scheme, secret) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}

fn ticket(method: &Method, uri: &Uri) -> Option<String> {
    if method != Method::GET {
        return None;
    }
    form_urlencoded::parse(uri.query()?.as_bytes())
        .find(|(name, _)| name == "ticket")
        .map(|(_, ticket)| ticket.into_owned())
}
