//! The queue. What has to be one step is a script (`scripts/`); this gives them what they need and says what came of it.
//!
//! A waiting worker wakes when a server or worker of ours says that something waits, when a list becomes longer, whoever
//! made it so, and when a time comes: a lease ends, a delay, the wait for a turn.

use super::celery::{self, Asked};
use super::connection::Redis;
use super::control::Control;
use super::events::Events;
use super::waking::Waking;
use crate::broker::MOST_DEAD_LETTERS;
use crate::{Broker, BrokerError, DeadLetter, Delivery, Job, JobKind, Outcome, QueueDepth, RunId, Signal, Timestamp};
use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use futures_util::StreamExt;
use redis::{RedisError, Script};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

macro_rules! script {
    ($name:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/common.lua"),
                include_str!(concat!("scripts/", $name))
            ))
        })
    };
}

static ENQUEUE: LazyLock<Script> = script!("enqueue.lua");
static TAKE: LazyLock<Script> = script!("take.lua");
static DUE: LazyLock<Script> = script!("due.lua");
static LOCK: LazyLock<Script> = script!("lock.lua");
static EXHUME: LazyLock<Script> = script!("exhume.lua");
static RENEW: LazyLock<Script> = script!("renew.lua");
static ACKNOWLEDGE: LazyLock<Script> = script!("acknowledge.lua");
static RELEASE: LazyLock<Script> = script!("release.lua");
static WITHDRAW: LazyLock<Script> = script!("withdraw.lua");
static DEPTH: LazyLock<Script> = script!("depth.lua");
static QUEUES: LazyLock<Script> = script!("queues.lua");

/// The channel on which it is said that something waits.
const WAITING: &str = "trainyard:waiting";
/// The channel of signals.
const SIGNALS: &str = "trainyard:signals";
/// Signals that a receiver may lag behind.
const LAG: usize = 1024;
/// How often a waiting worker looks, whatever it hears: at what came with another priority, say.
const LOOK: Duration = Duration::from_millis(250);
/// How long to wait before another try to connect.
const PAUSE: Duration = Duration::from_millis(500);
/// Seconds that a model stays locked for a run without a word.
const LOCKED: u64 = 3600;
/// How long a training waits for another of its model before it is looked at again.
const TURN: TimeDelta = TimeDelta::seconds(2);

/// What an operator can set.
#[derive(Debug, Clone)]
pub struct RedisBrokerOptions {
    /// The number of the database that results are kept in: Celery's `result_backend`.
    pub results: i64,
    /// Trainings that may begin in a minute, over all workers: Celery's `rate_limit`. 0 is no limit.
    pub rate_limit: u32,
}

impl Default for RedisBrokerOptions {
    fn default() -> Self {
        RedisBrokerOptions {
            results: 1,
            rate_limit: 10,
        }
    }
}

/// What this process has of a delivery.
pub(super) struct Held {
    pub asked: Asked,
    pub worker: String,
    pub since: f64,
}

pub(super) struct Shared {
    pub redis: Redis,
    pub options: RedisBrokerOptions,
    pub events: Events,
    pub signals: broadcast::Sender<Signal>,
    /// By receipt.
    held: Mutex<HashMap<String, Held>>,
    /// The worker that takes jobs here, with its queues; none where none does.
    pub serving: watch::Sender<Option<(String, Vec<String>)>>,
    waking: Arc<Waking>,
}

/// A [`Broker`] on Redis. Clones are the same.
#[derive(Clone)]
pub struct RedisBroker {
    pub(super) shared: Arc<Shared>,
}

/// Mutexes here guard no promise that a panic could break.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RedisBroker {
    /// The broker of a server. Hears what others say from now on.
    pub async fn new(redis: Redis, options: RedisBrokerOptions) -> Result<Self, BrokerError> {
        let shared = Arc::new(Shared {
            events: Events::new(redis.clone()),
            waking: Waking::new(redis.clone()),
            redis,
            options,
            signals: broadcast::Sender::new(LAG),
            held: Mutex::default(),
            serving: watch::Sender::new(None),
        });
        let heard = listen(&shared).await?;
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            let mut heard = Some(heard);
            while let Some(shared) = weak.upgrade() {
                let listening = match heard.take() {
                    Some(heard) => Ok(heard),
                    None => listen(&shared).await,
                };
                drop(shared);
                match listening {
                    Ok(heard) => hear(&weak, heard).await,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
        Control::start(&shared);
        Ok(RedisBroker { shared })
    }

    async fn held(&self, script: redis::ScriptInvocation<'_>, delivery: &Delivery) -> Result<(), BrokerError> {
        let ours: bool = script.invoke_async(&mut self.shared.redis.connection.clone()).await?;
        if ours {
            return Ok(());
        }
        Err(BrokerError::LeaseLost {
            run: delivery.job.run.clone(),
        })
    }

    /// Ends a message that never becomes a job.
    async fn settle(&self, asked: &Asked, receipt: &str, outcome: &Outcome) -> Result<(), BrokerError> {
        let place = Place {
            run: &asked.run,
            tag: &asked.tag,
            receipt,
            lock: String::new(),
        };
        self.shared
            .acknowledge(&place, asked.ignore_result, outcome, String::new())
            .await?;
        self.shared.events.ended(asked, outcome, None);
        Ok(())
    }

    /// Puts back what was taken, to be taken again at a time, and not before.
    async fn later(&self, asked: &Asked, receipt: &str, due: Timestamp) -> Result<(), BrokerError> {
        let begins = asked.task == JobKind::Train.task();
        let _: bool = RELEASE
            .arg(&asked.tag)
            .arg(receipt)
            .arg(due.timestamp_millis())
            .arg("")
            .arg(if begins { self.shared.options.rate_limit } else { 0 })
            .invoke_async(&mut self.shared.redis.connection.clone())
            .await?;
        Ok(())
    }

    /// A connection, once the queues that there always are have been named.
    async fn named(&self) -> Result<redis::aio::ConnectionManager, BrokerError> {
        let mut connection = self.shared.redis.connection.clone();
        redis::cmd("SADD")
            .arg("trainyard:queues")
            .arg(JobKind::ALL.map(JobKind::queue).as_slice())
            .query_async::<()>(&mut connection)
            .await?;
        Ok(connection)
    }
}

impl Shared {
    /// Whether it was still ours.
    async fn acknowledge(
        &self,
        place: &Place<'_>,
        ignore_result: bool,
        outcome: &Outcome,
        letter: String,
    ) -> Result<bool, RedisError> {
        let result = if ignore_result {
            String::new()
        } else {
            celery::result(place.run, outcome).to_string()
        };
        ACKNOWLEDGE
            .arg(place.tag)
            .arg(place.receipt)
            .arg(self.redis.database)
            .arg(self.options.results)
            .arg(celery::result_key(place.run))
            .arg(result)
            .arg(celery::RESULT_KEPT)
            .arg(&place.lock)
            .arg(letter)
            .arg(MOST_DEAD_LETTERS)
            .invoke_async(&mut self.redis.connection.clone())
            .await
    }

    /// Takes a run that nobody has out of its queue, and says that it was stopped; whether it was there.
    pub async fn withdraw_and_say(&self, run: &str) -> Result<bool, RedisError> {
        let mut connection = self.redis.connection.clone();
        let there: bool = WITHDRAW.arg(run).invoke_async(&mut connection).await?;
        if there {
            let meta = celery::result(run, &Outcome::Stopped).to_string();
            self.say(run, &meta).await?;
        }
        Ok(there)
    }

    /// Writes a result where Celery's clients look for it, and tells those that wait.
    async fn say(&self, run: &str, meta: &str) -> Result<(), RedisError> {
        let key = celery::result_key(run);
        redis::pipe()
            .atomic()
            .cmd("SELECT")
            .arg(self.options.results)
            .ignore()
            .cmd("SET")
            .arg(&key)
            .arg(meta)
            .arg("EX")
            .arg(celery::RESULT_KEPT)
            .ignore()
            .cmd("PUBLISH")
            .arg(&key)
            .arg(meta)
            .ignore()
            .cmd("SELECT")
            .arg(self.redis.database)
            .ignore()
            .query_async(&mut self.redis.connection.clone())
            .await
    }

    /// What this process has taken.
    pub fn active<T>(&self, look: impl Fn(&Held) -> T) -> Vec<T> {
        lock(&self.held).values().map(look).collect()
    }
}

async fn listen(shared: &Shared) -> Result<redis::aio::PubSub, BrokerError> {
    let mut listening = shared.redis.listening().await?;
    listening.subscribe(&[WAITING, SIGNALS]).await?;
    Ok(listening)
}

/// Passes on what is said until the connection ends.
async fn hear(shared: &std::sync::Weak<Shared>, mut listening: redis::aio::PubSub) {
    if let Some(shared) = shared.upgrade() {
        // Whatever was said meanwhile was not heard.
        shared.waking.wake();
    }
    let mut said = listening.on_message();
    while let Some(message) = said.next().await {
        let Some(shared) = shared.upgrade() else { return };
        if message.get_channel_name() == WAITING {
            shared.waking.wake();
        } else if let Ok(run) = message.get_payload::<String>() {
            let _ = shared.signals.send(Signal::Stop(run));
        }
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn enqueue(&self, queue: &str, job: &Job) -> Result<(), BrokerError> {
        let message = celery::task(queue, job);
        let tag = message["properties"]["delivery_tag"].as_str().unwrap_or_default();
        let _: bool = ENQUEUE
            .arg(&job.run)
            .arg(tag)
            .arg(queue)
            .arg(job.priority)
            .arg(message.to_string())
            .arg(0)
            .invoke_async(&mut self.shared.redis.connection.clone())
            .await?;
        Ok(())
    }

    async fn take(&self, queues: &[&str], worker: &str, lease: Duration) -> Result<Option<Delivery>, BrokerError> {
        if queues.is_empty() {
            return Ok(None);
        }
        let now = (
            worker.to_owned(),
            queues.iter().map(|queue| (*queue).to_owned()).collect(),
        );
        let begins = self.shared.serving.send_if_modified(|serving| {
            let changed = serving.as_ref() != Some(&now);
            if changed {
                *serving = Some(now);
            }
            changed
        });
        if begins {
            // What others put there is counted and found, too.
            redis::cmd("SADD")
                .arg("trainyard:queues")
                .arg(queues)
                .query_async::<()>(&mut self.shared.redis.connection.clone())
                .await?;
        }
        loop {
            let receipt = celery::fresh();
            let taken: Option<(String, u32)> = TAKE
                .arg(worker)
                .arg(&receipt)
                .arg(milliseconds(lease))
                .arg(self.shared.options.rate_limit)
                .arg(queues)
                .invoke_async(&mut self.shared.redis.connection.clone())
                .await?;
            let Some((entry, deliveries)) = taken else {
                return Ok(None);
            };
            let asked = match Asked::read(&entry) {
                Ok(asked) => asked,
                Err(error) => {
                    // It stays leased, and comes again until somebody can read it.
                    tracing::error!(error, "a message in the queue cannot be read");
                    continue;
                }
            };
            let now = Utc::now();
            let is_late = asked.expires.is_some_and(|expires| expires < now);
            if is_late || deliveries == 0 {
                tracing::info!(
                    run = asked.run,
                    is_late,
                    "a job that was revoked, or whose time to begin is over, is dropped"
                );
                self.settle(&asked, &receipt, &Outcome::Stopped).await?;
                continue;
            }
            if let Some(eta) = asked.eta.filter(|eta| *eta > now) {
                self.later(&asked, &receipt, eta).await?;
                continue;
            }
            let job = match &asked.job {
                Ok(job) => job.clone(),
                Err(error) => {
                    tracing::warn!(run = asked.run, error, "a job cannot be done");
                    self.settle(&asked, &receipt, &Outcome::Failed(error.clone())).await?;
                    continue;
                }
            };
            let key = lock_of(&job);
            if !key.is_empty() {
                let ours: bool = LOCK
                    .arg(&key)
                    .arg(&job.run)
                    .arg(LOCKED)
                    .invoke_async(&mut self.shared.redis.connection.clone())
                    .await?;
                if !ours {
                    tracing::debug!(run = job.run, key, "another training has the model");
                    self.later(&asked, &receipt, now + TURN).await?;
                    continue;
                }
            }
            self.shared.events.received(worker, &asked);
            let held = Held {
                asked,
                worker: worker.to_owned(),
                since: Utc::now().timestamp_micros() as f64 / 1e6,
            };
            let receipt = format!("{}/{receipt}", held.asked.tag);
            lock(&self.shared.held).insert(receipt.clone(), held);
            return Ok(Some(Delivery {
                job,
                receipt,
                deliveries,
            }));
        }
    }

    async fn wait(&self, queues: &[&str], at_most: Duration) {
        let end = tokio::time::Instant::now() + at_most;
        loop {
            // Listens before it looks, so that nothing can come unheard between the two.
            let woken = self.shared.waking.woken();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let due: Result<(i64, bool), _> = DUE
                .arg(self.shared.options.rate_limit)
                .arg(queues)
                .invoke_async(&mut self.shared.redis.connection.clone())
                .await;
            // Where looking fails, taking fails too and says why; here it only must not spin.
            let (due, limited) = due.unwrap_or((-1, true));
            if due == 0 {
                return;
            }
            if !limited {
                self.shared.waking.listen(queues);
            }
            let soon = u64::try_from(due).map_or(LOOK, Duration::from_millis).min(LOOK);
            let look = (tokio::time::Instant::now() + soon).min(end);
            tokio::select! {
                () = woken => return,
                () = tokio::time::sleep_until(look) => {}
            }
            if look == end {
                return;
            }
        }
    }

    async fn renew(&self, delivery: &Delivery, lease: Duration) -> Result<(), BrokerError> {
        let place = Place::of(delivery);
        let mut script = RENEW.arg(place.tag);
        script
            .arg(place.receipt)
            .arg(milliseconds(lease))
            .arg(place.lock)
            .arg(LOCKED);
        self.held(script, delivery).await
    }

    async fn report(&self, delivery: &Delivery, progress: &Value) -> Result<(), BrokerError> {
        let ignored = lock(&self.shared.held)
            .get(&delivery.receipt)
            .is_none_or(|held| held.asked.ignore_result);
        if ignored {
            return Ok(());
        }
        let run = &delivery.job.run;
        Ok(self
            .shared
            .say(run, &celery::progress(run, progress).to_string())
            .await?)
    }

    async fn acknowledge(&self, delivery: &Delivery, outcome: &Outcome) -> Result<(), BrokerError> {
        let held = lock(&self.shared.held).remove(&delivery.receipt);
        let ignored = held.as_ref().is_some_and(|held| held.asked.ignore_result);
        let route = held
            .as_ref()
            .and_then(|held| held.asked.delivery_info["routing_key"].as_str());
        let letter = match outcome {
            Outcome::GivenUp(error) => {
                let letter = DeadLetter {
                    queue: route.unwrap_or(delivery.job.kind.queue()).to_owned(),
                    job: delivery.job.clone(),
                    error: error.clone(),
                    at: Utc::now(),
                };
                serde_json::to_string(&letter).map_err(|error| BrokerError::Unavailable(error.to_string()))?
            }
            _ => String::new(),
        };
        let ours = self
            .shared
            .acknowledge(&Place::of(delivery), ignored, outcome, letter)
            .await?;
        if let Some(held) = &held {
            self.shared.events.ended(&held.asked, outcome, Some(held));
        }
        if ours {
            return Ok(());
        }
        Err(BrokerError::LeaseLost {
            run: delivery.job.run.clone(),
        })
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        lock(&self.shared.held).remove(&delivery.receipt);
        let place = Place::of(delivery);
        let mut script = RELEASE.arg(place.tag);
        let rate = match delivery.job.kind {
            // It goes on elsewhere, or has not begun: either way it is taken once more, and counts once.
            JobKind::Train => self.shared.options.rate_limit,
            JobKind::Trial | JobKind::Evaluate => 0,
        };
        script.arg(place.receipt).arg(0).arg(place.lock).arg(rate);
        self.held(script, delivery).await
    }

    async fn withdraw(&self, run: &RunId) -> Result<bool, BrokerError> {
        Ok(self.shared.withdraw_and_say(run).await?)
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, BrokerError> {
        let letters: Vec<String> = redis::cmd("LRANGE")
            .arg("trainyard:dead")
            .arg(0)
            .arg(-1)
            .query_async(&mut self.shared.redis.connection.clone())
            .await?;
        letters.iter().map(|letter| read_letter(letter)).collect()
    }

    async fn remove_dead_letter(&self, run: &RunId) -> Result<Option<DeadLetter>, BrokerError> {
        let letter: Option<String> = EXHUME
            .arg(run)
            .invoke_async(&mut self.shared.redis.connection.clone())
            .await?;
        letter.map(|letter| read_letter(&letter)).transpose()
    }

    async fn queues(&self) -> Result<Vec<QueueDepth>, BrokerError> {
        let text: String = QUEUES.prepare_invoke().invoke_async(&mut self.named().await?).await?;
        let mut queues: Vec<QueueDepth> =
            serde_json::from_str(&text).map_err(|error| BrokerError::Unavailable(format!("the queues: {error}")))?;
        queues.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(queues)
    }

    /// Asked every second by whoever watches over a server: counts, and reads no message.
    async fn depth(&self) -> Result<(u64, u64), BrokerError> {
        Ok(DEPTH.prepare_invoke().invoke_async(&mut self.named().await?).await?)
    }

    async fn signal(&self, signal: Signal) -> Result<(), BrokerError> {
        let Signal::Stop(run) = signal;
        redis::cmd("PUBLISH")
            .arg(SIGNALS)
            .arg(run)
            .query_async::<()>(&mut self.shared.redis.connection.clone())
            .await?;
        Ok(())
    }

    fn signals(&self) -> broadcast::Receiver<Signal> {
        self.shared.signals.subscribe()
    }
}

/// What the scripts know a delivery by.
struct Place<'a> {
    run: &'a str,
    tag: &'a str,
    receipt: &'a str,
    /// The key of the model's lock; empty where there is none.
    lock: String,
}

impl<'a> Place<'a> {
    fn of(delivery: &'a Delivery) -> Self {
        let (tag, receipt) = delivery.receipt.rsplit_once('/').unwrap_or((&delivery.receipt, ""));
        Place {
            run: &delivery.job.run,
            tag,
            receipt,
            lock: lock_of(&delivery.job),
        }
    }
}

/// The key of the lock that a job needs; empty where it needs none.
fn lock_of(job: &Job) -> String {
    match job.kind {
        JobKind::Train => format!("ai:training:lock:{}", job.model),
        JobKind::Trial | JobKind::Evaluate => String::new(),
    }
}

fn read_letter(text: &str) -> Result<DeadLetter, BrokerError> {
    serde_json::from_str(text)
        .map_err(|error| BrokerError::Unavailable(format!("a dead letter cannot be read: {error}")))
}

fn milliseconds(time: Duration) -> u64 {
    // No lease needs to be longer than a year, and a script's numbers are exact up to 2^53.
    u64::try_from(time.as_millis())
        .unwrap_or(u64::MAX)
        .min(365 * 24 * 3_600_000)
}
