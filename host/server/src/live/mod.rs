//! Live streams of what happens to a model: its log, status, progress and use of the machine.
//!
//! A stream pulls from the feed at its client's pace, so that a slow client holds up nobody. The feed may be silent though
//! a run goes on or ended: its worker died, or is another process. Then the stream looks at the rows and says what they
//! say, so that every stream ends when its run does.

mod socket;
mod sse;
mod words;

use crate::app::App;
use crate::auth::{Caller, Reader};
use crate::connections::Peer;
use crate::error::ApiError;
use crate::extract::{Query, Segments};
use crate::models::ModelPath;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use trainyard_jobs::{Entry, Event, FeedItem, ModelId, RunId, RunState, StoreError, Subscription};
use utoipa::IntoParams;

/// How long the feed may take to give what it remembers of a run that is over.
const RECALL: Duration = Duration::from_millis(200);

/// How a stream goes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamQuery {
    /// Begins after the event of this id, as the header `Last-Event-ID` does.
    after: Option<u64>,
    /// Goes on when the run is over, and with the runs that follow.
    follow: Option<bool>,
}

/// Follows a run live, as server-sent events or, on an upgrade, as a WebSocket.
///
/// A log line is a plain message `{"timestamp","level","message"}` with an id. Events named `status`, `progress`, `usage`
/// and `end` are about the run that their `run_id` names. `gap` says that events were lost between two ids. The stream ends
/// after `end`. On a WebSocket each message is a JSON text `{"id","event","data"}`, where a log line's event is `log`.
#[utoipa::path(get, path = "/models/{id}/logs/stream", tag = "runs",
    params(ModelPath, StreamQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Begins after this event")),
    responses((status = 200, description = "Server-sent events", body = String, content_type = "text/event-stream"),
        (status = 101, description = "A WebSocket, where the request asks for one")))]
pub async fn stream(
    State(app): State<Arc<App>>,
    Reader(caller): Reader,
    Segments(path): Segments<ModelPath>,
    Query(query): Query<StreamQuery>,
    Extension(peer): Extension<Peer>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // EventSource sends the id that it saw last; after a lost connection that is newer than the URL.
    let last = match headers.get("last-event-id") {
        None => None,
        Some(id) if id.is_empty() => None,
        Some(id) => Some(id.to_str().ok().and_then(|id| id.trim().parse().ok()).ok_or_else(|| {
            ApiError::bad_request("bad-last-event-id", "the Last-Event-ID is not an id of this stream")
        })?),
    };
    let follow = query.follow.unwrap_or(false);
    let wants_socket = headers
        .get(header::UPGRADE)
        .is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let live = Live::open(app, caller, path.id, last.or(query.after), follow).await?;
    if !wants_socket {
        return Ok(sse::response(live));
    }
    match upgrade {
        Ok(upgrade) => Ok(socket::response(upgrade, live, peer)),
        Err(rejection) => Err(ApiError::bad_request("bad-upgrade", rejection.to_string())),
    }
}

/// What a stream says next.
enum Message {
    /// Something that happened.
    Entry(Arc<Entry>),
    /// Events were lost.
    Gap { after: u64, next: u64 },
    /// What a row says, for want of an event.
    FromRow { run: Option<RunId>, event: RowEvent },
    /// Nothing has happened for a while.
    Alive,
}

/// What can be told from a run's row.
enum RowEvent {
    Happened(Event),
    /// There never was a run that could end.
    NoRun,
}

/// An open stream.
struct Live {
    app: Arc<App>,
    caller: Caller,
    model: ModelId,
    subscription: Box<dyn Subscription>,
    closing: watch::Receiver<bool>,
    /// The run that is watched: the one under way, or the last one.
    run: Option<RunId>,
    /// Leaves out what is about other runs.
    only_run: bool,
    follow: bool,
    /// What was last said about the watched run's state.
    told: Option<RunState>,
    /// Its end was told.
    ended: bool,
    over: bool,
    /// The feed was silent since the last look.
    silent: bool,
    look_every: Duration,
    look_at: Instant,
    alive_at: Instant,
}

impl Live {
    async fn open(
        app: Arc<App>,
        caller: Caller,
        id: ModelId,
        after: Option<u64>,
        follow: bool,
    ) -> Result<Self, ApiError> {
        let model = app.services.store.model(id).await?;
        let run = match model.task_id.filter(|_| model.status.is_active()) {
            Some(run) => Some(run),
            None => app.last_run(id).await?.map(|run| run.id),
        };
        let subscription = app.services.feed.subscribe(id, after).await;
        app.metrics.streams.inc();
        let look = app.options.look;
        let look_every = if model.status.is_active() || follow {
            look
        } else {
            look.min(RECALL)
        };
        let now = Instant::now();
        Ok(Live {
            closing: app.closing.clone(),
            look_at: now + look_every,
            alive_at: now + app.options.keep_alive,
            app,
            caller,
            model: id,
            subscription,
            run,
            only_run: after.is_none() && !follow,
            follow,
            told: None,
            ended: false,
            over: false,
            silent: true,
            look_every,
        })
    }

    /// What comes next; none at the end. Safe to drop while it waits.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if self.over || *self.closing.borrow() {
                return None;
            }
            let now = Instant::now();
            if now >= self.look_at {
                let said = self.look().await;
                (self.silent, self.look_at) = (true, Instant::now() + self.look_every);
                if said.is_some() {
                    return self.say(said);
                }
                continue;
            }
            if now >= self.alive_at {
                return self.say(Some(Message::Alive));
            }
            tokio::select! {
                biased;
                _ = self.closing.changed() => {}
                item = self.subscription.next() => match item {
                    Some(item) => if let Some(message) = self.take(item) {
                        return self.say(Some(message));
                    },
                    // The model is deleted, or the feed is gone.
                    None => self.over = true,
                },
                () = sleep_until(self.look_at.min(self.alive_at)) => {}
            }
        }
    }

    fn say(&mut self, message: Option<Message>) -> Option<Message> {
        self.alive_at = Instant::now() + self.app.options.keep_alive;
        if !matches!(message, Some(Message::Alive)) {
            self.app.metrics.events.inc();
        }
        message
    }

    /// What an item of the feed means for this stream.
    fn take(&mut self, item: FeedItem) -> Option<Message> {
        self.silent = false;
        let entry = match item {
            FeedItem::Gap { after, next } => return Some(Message::Gap { after, next }),
            FeedItem::Entry(entry) => entry,
        };
        let is_watched = self.run.as_ref() == Some(&entry.run_id);
        if self.only_run && !is_watched {
            return None;
        }
        if self.follow && !is_watched {
            self.run = Some(entry.run_id.clone());
            (self.told, self.ended) = (None, false);
        }
        if is_watched || self.follow {
            match &entry.event {
                Event::Status { status, .. } => self.told = Some(*status),
                Event::End { status, .. } => {
                    (self.told, self.ended) = (Some(*status), true);
                    self.over = !self.follow;
                }
                _ => {}
            }
        }
        Some(Message::Entry(entry))
    }

    /// Looks whether the stream may go on, and, when the feed is silent, at what the rows say.
    async fn look(&mut self) -> Option<Message> {
        if !self.app.auth.still(&self.caller).await {
            self.over = true;
            return None;
        }
        if !self.silent {
            return None;
        }
        if self.follow {
            if let Err(StoreError::NotFound { .. }) = self.app.services.store.model(self.model).await {
                self.over = true;
                return None;
            }
            if let Ok(Some(last)) = self.app.last_run(self.model).await
                && self.run.as_ref() != Some(&last.id)
            {
                self.run = Some(last.id);
                (self.told, self.ended) = (None, false);
            }
        }
        let Some(run) = self.run.clone() else {
            self.over = !self.follow;
            return (!self.follow).then_some(Message::FromRow {
                run: None,
                event: RowEvent::NoRun,
            });
        };
        let row = match self.app.services.store.run(&run).await {
            Ok(row) => row,
            Err(StoreError::NotFound { .. }) => {
                self.over = !self.follow;
                return None;
            }
            // The store may be away for a moment.
            Err(_) => return None,
        };
        let event = if self.told != Some(row.state) {
            self.told = Some(row.state);
            // The end, if it is one, comes with the next look, at once.
            if row.state.is_final() {
                self.look_every = self.look_every.min(Duration::from_millis(1));
            }
            Event::Status {
                status: row.state,
                progress: row.progress,
                attempt: row.attempt,
            }
        } else if row.state.is_final() && !self.ended {
            self.ended = true;
            self.over = !self.follow;
            self.look_every = self.app.options.look;
            Event::End {
                status: row.state,
                error: row.error_log,
            }
        } else {
            return None;
        };
        Some(Message::FromRow {
            run: Some(run),
            event: RowEvent::Happened(event),
        })
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.app.metrics.streams.dec();
    }
}
