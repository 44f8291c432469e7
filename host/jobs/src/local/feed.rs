//! A feed in memory, for a server and workers in one process.
//!
//! A model's topic is two rings, so that a talkative log does not push out what happened besides. Readers pull from them
//! at their own pace; whoever publishes only wakes them.

use crate::{Entry, Event, Feed, FeedItem, ModelId, RunId, Subscription};
use async_trait::async_trait;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const LOGS: usize = 1000;
const OTHERS: usize = 2000;
/// How long a topic is remembered after its last event.
const KEPT: Duration = Duration::from_secs(3600);
/// How often old topics are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// A [`Feed`] in memory. Clones are the same feed.
#[derive(Clone)]
pub struct LocalFeed {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    topics: HashMap<ModelId, Arc<Topic>>,
    swept: Instant,
}

struct Topic {
    rings: Mutex<Rings>,
    /// There is more to read, or nothing ever again.
    changed: Notify,
}

struct Rings {
    logs: Ring,
    others: Ring,
    /// The number of the newest event, or the one before the first to come.
    last: u64,
    published: Instant,
    closed: bool,
}

/// The last events of some kind, in order of their numbers.
struct Ring {
    entries: VecDeque<Arc<Entry>>,
    most: usize,
    /// The highest number that is no longer here.
    dropped: u64,
}

/// Mutexes here guard no promise that a panic could break.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ring {
    fn new(most: usize, dropped: u64) -> Self {
        Ring {
            entries: VecDeque::new(),
            most,
            dropped,
        }
    }

    fn push(&mut self, entry: Arc<Entry>) {
        if self.entries.len() == self.most
            && let Some(oldest) = self.entries.pop_front()
        {
            self.dropped = oldest.number;
        }
        self.entries.push_back(entry);
    }

    /// The first event after a number.
    fn after(&self, number: u64) -> Option<&Arc<Entry>> {
        self.entries
            .get(self.entries.partition_point(|entry| entry.number <= number))
    }

    fn clear(&mut self) {
        if let Some(newest) = self.entries.back() {
            self.dropped = newest.number;
        }
        self.entries = VecDeque::new();
    }
}

impl Topic {
    /// Numbers begin with the time in microseconds. Nobody publishes a million events a second for long, so a topic that
    /// begins later, after a restart too, begins higher.
    fn new() -> Self {
        let last = u64::try_from(chrono::Utc::now().timestamp_micros()).unwrap_or(0);
        Topic {
            rings: Mutex::new(Rings {
                logs: Ring::new(LOGS, last),
                others: Ring::new(OTHERS, last),
                last,
                published: Instant::now(),
                closed: false,
            }),
            changed: Notify::new(),
        }
    }
}

impl Shared {
    fn topic(&mut self, model: ModelId) -> Arc<Topic> {
        self.topics
            .entry(model)
            .or_insert_with(|| Arc::new(Topic::new()))
            .clone()
    }

    /// Forgets what is too old, now and then.
    fn sweep(&mut self) {
        if self.swept.elapsed() < SWEEP {
            return;
        }
        self.swept = Instant::now();
        self.topics.retain(|_, topic| {
            let mut rings = lock(&topic.rings);
            if rings.published.elapsed() < KEPT {
                return true;
            }
            rings.logs.clear();
            rings.others.clear();
            // Somebody may still wait for the next event. New readers come through the map, which is locked.
            Arc::strong_count(topic) > 1
        });
    }
}

impl LocalFeed {
    /// An empty feed.
    pub fn new() -> Self {
        LocalFeed {
            shared: Arc::new(Mutex::new(Shared {
                topics: HashMap::new(),
                swept: Instant::now(),
            })),
        }
    }
}

impl Default for LocalFeed {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Feed for LocalFeed {
    async fn publish(&self, model: ModelId, run: &RunId, event: Event) -> u64 {
        let topic = {
            let mut shared = lock(&self.shared);
            shared.sweep();
            shared.topic(model)
        };
        let number = {
            let mut rings = lock(&topic.rings);
            rings.last += 1;
            rings.published = Instant::now();
            let number = rings.last;
            let ring = if matches!(event, Event::Log { .. }) {
                &mut rings.logs
            } else {
                &mut rings.others
            };
            ring.push(Arc::new(Entry {
                number,
                run_id: run.clone(),
                event,
            }));
            number
        };
        topic.changed.notify_waiters();
        number
    }

    async fn subscribe(&self, model: ModelId, after: Option<u64>) -> Box<dyn Subscription> {
        let topic = lock(&self.shared).topic(model);
        let (cursor, known, gap) = {
            let rings = lock(&topic.rings);
            let dropped = (rings.logs.dropped, rings.others.dropped);
            match after {
                None => (0, dropped, None),
                Some(after) if after > rings.last => (0, dropped, Some(after)),
                Some(after) => (after, (0, 0), None),
            }
        };
        Box::new(Reader {
            topic,
            cursor,
            known,
            gap,
        })
    }

    async fn last_logs(&self, model: ModelId, count: usize) -> Vec<Arc<Entry>> {
        let Some(topic) = lock(&self.shared).topics.get(&model).cloned() else {
            return Vec::new();
        };
        let rings = lock(&topic.rings);
        let logs = &rings.logs.entries;
        logs.range(logs.len().saturating_sub(count)..).cloned().collect()
    }

    async fn forget(&self, model: ModelId) {
        let topic = lock(&self.shared).topics.remove(&model);
        if let Some(topic) = topic {
            let mut rings = lock(&topic.rings);
            rings.closed = true;
            rings.logs.clear();
            rings.others.clear();
            drop(rings);
            topic.changed.notify_waiters();
        }
    }
}

struct Reader {
    topic: Arc<Topic>,
    /// The last number that it had.
    cursor: u64,
    /// What had been dropped of logs and others when it was last told of a gap, or began.
    known: (u64, u64),
    /// It came with this number, from the future, and has not been told of the gap yet.
    gap: Option<u64>,
}

impl Reader {
    /// The next item if there is one; `Some(None)` at the end.
    fn poll(&mut self) -> Option<Option<FeedItem>> {
        let rings = lock(&self.topic.rings);
        if rings.closed {
            return Some(None);
        }
        let (log, other) = (rings.logs.after(self.cursor), rings.others.after(self.cursor));
        let entry = match (log, other) {
            (Some(log), Some(other)) if log.number < other.number => log,
            (_, Some(other)) => other,
            (Some(log), None) => log,
            // A gap is told when it is known where it ends.
            (None, None) => return None,
        };
        let dropped = (rings.logs.dropped, rings.others.dropped);
        let missed = dropped.0 > self.cursor.max(self.known.0) || dropped.1 > self.cursor.max(self.known.1);
        if missed || self.gap.is_some() {
            self.known = dropped;
            return Some(Some(FeedItem::Gap {
                after: self.gap.take().unwrap_or(self.cursor),
                next: entry.number,
            }));
        }
        self.cursor = entry.number;
        Some(Some(FeedItem::Entry(entry.clone())))
    }
}

#[async_trait]
impl Subscription for Reader {
    async fn next(&mut self) -> Option<FeedItem> {
        let topic = self.topic.clone();
        loop {
            // Listens before it looks, so that nothing can be published unheard between the two.
            let changed = topic.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(item) = self.poll() {
                return item;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogLevel;

    fn log() -> Event {
        Event::Log {
            timestamp: chrono::Utc::now(),
            level: LogLevel::Info,
            message: "a".into(),
        }
    }

    /// Puts a topic's last event, and the last search for old topics, into the past.
    fn pass(feed: &LocalFeed, model: ModelId, time: Duration) {
        let mut shared = lock(&feed.shared);
        shared.swept = Instant::now().checked_sub(time).unwrap();
        lock(&shared.topics[&model].rings).published = shared.swept;
    }

    #[tokio::test]
    async fn an_hour_after_its_last_event_a_topic_is_forgotten() {
        let (feed, run) = (LocalFeed::new(), "r".to_owned());
        feed.publish(1, &run, log()).await;
        pass(&feed, 1, KEPT - Duration::from_secs(60));
        feed.publish(2, &run, log()).await;
        assert_eq!(feed.last_logs(1, 9).await.len(), 1);
        pass(&feed, 1, KEPT + Duration::from_secs(60));
        feed.publish(2, &run, log()).await;
        assert!(feed.last_logs(1, 9).await.is_empty());
        assert_eq!(lock(&feed.shared).topics.len(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_longer_than_an_hour_still_gets_the_next_event() {
        let (feed, run) = (LocalFeed::new(), "r".to_owned());
        let first = feed.publish(1, &run, log()).await;
        let mut reader = feed.subscribe(1, Some(first)).await;
        pass(&feed, 1, KEPT * 2);
        feed.publish(2, &run, log()).await;
        assert!(feed.last_logs(1, 9).await.is_empty());
        let next = feed.publish(1, &run, log()).await;
        let Some(FeedItem::Entry(entry)) = reader.next().await else {
            panic!("nothing was missed")
        };
        assert_eq!(entry.number, next);
        drop(reader);
        pass(&feed, 1, KEPT * 2);
        feed.publish(2, &run, log()).await;
        assert_eq!(lock(&feed.shared).topics.len(), 1);
    }
}
