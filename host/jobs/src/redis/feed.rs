//! The feed: events lie in Redis, and readers pull them at their own pace. A channel says whose feed has something new.
//!
//! A line of the log lies in `ai:training:logs:{model}` as the original's clients read it, `{"timestamp", "level",
//! "message"}`, with a number and the run besides.

use super::connection::{Redis, words};
use crate::{BrokerError, Entry, Event, Feed, FeedItem, ModelId, RunId, Subscription};
use async_trait::async_trait;
use futures_util::StreamExt;
use redis::{RedisError, Script};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;

static PUBLISH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/publish.lua")));
static READ: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/read.lua")));
static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/forget.lua")));

const CHANNEL: &str = "trainyard:feed";
/// How long to wait before another try to connect or to read.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a reader looks, whatever it hears.
const LOOK: Duration = Duration::from_secs(5);

/// A [`Feed`] on Redis. Clones are the same.
#[derive(Clone)]
pub struct RedisFeed {
    redis: Redis,
    topics: Arc<Topics>,
}

/// Who waits for which model.
#[derive(Default)]
struct Topics(Mutex<HashMap<ModelId, Weak<Notify>>>);

impl Topics {
    fn lock(&self) -> MutexGuard<'_, HashMap<ModelId, Weak<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, model: ModelId) -> Arc<Notify> {
        let mut topics = self.lock();
        if let Some(topic) = topics.get(&model).and_then(Weak::upgrade) {
            return topic;
        }
        topics.retain(|_, topic| topic.strong_count() > 0);
        let topic = Arc::new(Notify::new());
        topics.insert(model, Arc::downgrade(&topic));
        topic
    }

    fn wake(&self, model: ModelId) {
        if let Some(topic) = self.lock().get(&model).and_then(Weak::upgrade) {
            topic.notify_waiters();
        }
    }

    fn wake_all(&self) {
        for topic in self.lock().values().filter_map(Weak::upgrade) {
            topic.notify_waiters();
        }
    }
}

impl RedisFeed {
    /// The feed of a server. Hears what is published from now on.
    pub async fn new(redis: Redis) -> Result<Self, BrokerError> {
        let topics = Arc::new(Topics::default());
        let mut heard = Some(listen(&redis).await?);
        let (weak, server) = (Arc::downgrade(&topics), redis.clone());
        tokio::spawn(async move {
            loop {
                let listening = match heard.take() {
                    Some(heard) => Ok(heard),
                    None => listen(&server).await,
                };
                let Ok(mut listening) = listening else {
                    tokio::time::sleep(PAUSE).await;
                    if weak.strong_count() == 0 {
                        return;
                    }
                    continue;
                };
                // What was said before this connection was not heard.
                match weak.upgrade() {
                    Some(topics) => topics.wake_all(),
                    None => return,
                }
                let mut said = listening.on_message();
                while let Some(message) = said.next().await {
                    let Some(topics) = weak.upgrade() else { return };
                    if let Ok(model) = message.get_payload::<ModelId>() {
                        topics.wake(model);
                    }
                }
            }
        });
        Ok(RedisFeed { redis, topics })
    }

    async fn read(&self, model: ModelId, after: u64, begins: bool) -> Result<State, RedisError> {
        type Answer = (Vec<String>, Vec<String>, u64, u64, u64, u64);
        let answer: Answer = READ
            .arg(model)
            .arg(after)
            .arg(begins)
            .invoke_async(&mut self.redis.connection.clone())
            .await?;
        let (logs, others, last, dropped_logs, dropped_others, life) = answer;
        let mut entries: Vec<Arc<Entry>> = Vec::with_capacity(logs.len() + others.len());
        // Of two pages that are both cut off, what comes after the end of one is not known yet.
        let full = |page: &[String]| {
            (page.len() >= PAGE)
                .then(|| page.last().and_then(|text| number(text)))
                .flatten()
        };
        let known = [full(&logs), full(&others)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(u64::MAX);
        entries.extend(logs.iter().filter_map(|text| log_entry(text)));
        entries.extend(
            others
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok().map(Arc::new)),
        );
        entries.retain(|entry| entry.number <= known);
        entries.sort_unstable_by_key(|entry| entry.number);
        Ok(State {
            entries,
            last,
            dropped: (dropped_logs, dropped_others),
            life,
        })
    }
}

/// Entries that the script gives of a list at once.
const PAGE: usize = 500;

/// What there is after a number.
struct State {
    entries: Vec<Arc<Entry>>,
    last: u64,
    /// The highest numbers that are no longer there, of logs and others.
    dropped: (u64, u64),
    /// Grows when the model is forgotten.
    life: u64,
}

async fn listen(redis: &Redis) -> Result<redis::aio::PubSub, RedisError> {
    let mut listening = redis.listening().await?;
    listening.subscribe(CHANNEL).await?;
    Ok(listening)
}

fn number(text: &str) -> Option<u64> {
    text.strip_prefix(r#"{"number":"#)?.split(',').next()?.parse().ok()
}

/// An entry as it lies in Redis, without what the script puts in front.
fn written(run: &RunId, event: &Event) -> (bool, Result<String, serde_json::Error>) {
    let mut entry = Map::new();
    entry.insert("run_id".into(), json!(run));
    let log = if let Event::Log {
        timestamp,
        level,
        message,
    } = event
    {
        entry.insert("timestamp".into(), json!(timestamp));
        entry.insert("level".into(), json!(level));
        entry.insert("message".into(), json!(message));
        true
    } else {
        entry.insert("event".into(), json!(event));
        false
    };
    (log, serde_json::to_string(&entry).map(|text| text[1..].to_owned()))
}

fn log_entry(text: &str) -> Option<Arc<Entry>> {
    let mut line: Map<String, Value> = serde_json::from_str(text).ok()?;
    let mut part = |name: &str| line.remove(name).unwrap_or_default();
    Some(Arc::new(Entry {
        number: part("number").as_u64()?,
        run_id: part("run_id").as_str().unwrap_or_default().to_owned(),
        event: Event::Log {
            timestamp: serde_json::from_value(part("timestamp")).ok()?,
            level: serde_json::from_value(part("level")).ok()?,
            message: part("message").as_str().unwrap_or_default().to_owned(),
        },
    }))
}

#[async_trait]
impl Feed for RedisFeed {
    async fn publish(&self, model: ModelId, run: &RunId, event: Event) -> u64 {
        let (log, text) = written(run, &event);
        let Ok(text) = text else { return 0 };
        let published: Result<u64, _> = PUBLISH
            .arg(model)
            .arg(log)
            .arg(text)
            .invoke_async(&mut self.redis.connection.clone())
            .await;
        published.unwrap_or_else(|error| {
            tracing::debug!(model, error = words(&error), "an event is lost");
            0
        })
    }

    async fn subscribe(&self, model: ModelId, after: Option<u64>) -> Box<dyn Subscription> {
        let mut reader = Reader {
            topic: self.topics.of(model),
            feed: self.clone(),
            model,
            cursor: after.unwrap_or(0),
            known: (0, 0),
            gap: None,
            life: None,
            ready: VecDeque::new(),
        };
        // Without an answer it is as if it began when there is one.
        if let Ok(state) = self.read(model, reader.cursor, true).await {
            reader.begin(&state, after);
        }
        Box::new(reader)
    }

    async fn last_logs(&self, model: ModelId, count: usize) -> Vec<Arc<Entry>> {
        if count == 0 {
            return Vec::new();
        }
        let lines: Result<Vec<String>, _> = redis::cmd("LRANGE")
            .arg(format!("ai:training:logs:{model}"))
            .arg(-i64::try_from(count).unwrap_or(i64::MAX))
            .arg(-1)
            .query_async(&mut self.redis.connection.clone())
            .await;
        lines
            .unwrap_or_else(|error| {
                tracing::warn!(model, error = words(&error), "the last lines of the log cannot be read");
                Vec::new()
            })
            .iter()
            .filter_map(|text| log_entry(text))
            .collect()
    }

    async fn forget(&self, model: ModelId) {
        let done: Result<(), _> = FORGET.arg(model).invoke_async(&mut self.redis.connection.clone()).await;
        if let Err(error) = done {
            tracing::warn!(
                model,
                error = words(&error),
                "a deleted model's events stay until they are an hour old"
            );
        }
    }
}

struct Reader {
    topic: Arc<Notify>,
    feed: RedisFeed,
    model: ModelId,
    /// The last number that it had.
    cursor: u64,
    /// What had been dropped of logs and others when it was last told of a gap, or began.
    known: (u64, u64),
    /// It came with this number, from the future, and has not been told of the gap yet.
    gap: Option<u64>,
    /// The model's when it began.
    life: Option<u64>,
    /// What was read and not given out yet.
    ready: VecDeque<Arc<Entry>>,
}

impl Reader {
    fn begin(&mut self, state: &State, after: Option<u64>) {
        self.life = Some(state.life);
        match after {
            None => self.known = state.dropped,
            Some(after) if after > state.last => {
                self.known = state.dropped;
                self.gap = Some(after);
                self.cursor = 0;
            }
            Some(_) => {}
        }
    }

    /// The next item if there is one; `Some(None)` at the end.
    async fn poll(&mut self) -> Result<Option<Option<FeedItem>>, RedisError> {
        if self.ready.is_empty() {
            let state = self.feed.read(self.model, self.cursor, false).await?;
            if *self.life.get_or_insert(state.life) != state.life {
                return Ok(Some(None));
            }
            let Some(next) = state.entries.first().map(|entry| entry.number) else {
                // A gap is told when it is known where it ends.
                return Ok(None);
            };
            let missed =
                state.dropped.0 > self.cursor.max(self.known.0) || state.dropped.1 > self.cursor.max(self.known.1);
            if missed || self.gap.is_some() {
                self.known = state.dropped;
                return Ok(Some(Some(FeedItem::Gap {
                    after: self.gap.take().unwrap_or(self.cursor),
                    next,
                })));
            }
            self.ready = state.entries.into();
        }
        Ok(self.ready.pop_front().map(|entry| {
            self.cursor = entry.number;
            Some(FeedItem::Entry(entry))
        }))
    }
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&mut self) -> Option<FeedItem> {
        let topic = self.topic.clone();
        loop {
            // Listens before it looks, so that nothing can be published unheard between the two.
            let changed = topic.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.poll().await {
                Ok(Some(item)) => return item,
                Ok(None) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep(LOOK) => {}
                    }
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}
