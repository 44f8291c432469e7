//! What wakes a worker that waits: a list that became longer, whoever made it so.

use super::connection::Redis;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Seconds that a connection waits for a list to become longer.
const LISTEN: u64 = 2;
/// How long to wait before another try to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// Wakes those who wait.
pub struct Waking {
    redis: Redis,
    woken: Notify,
    /// By queue: somebody waits for it to become longer.
    queues: Mutex<HashMap<String, Arc<Notify>>>,
}

impl Waking {
    pub fn new(redis: Redis) -> Arc<Self> {
        Arc::new(Waking {
            redis,
            woken: Notify::new(),
            queues: Mutex::default(),
        })
    }

    /// Something may be there.
    pub fn wake(&self) {
        self.woken.notify_waiters();
    }

    /// Ends at the next [`Waking::wake`].
    pub fn woken(&self) -> Notified<'_> {
        self.woken.notified()
    }

    /// Wakes everyone soon, and once, if one of these queues is not empty or ceases to be.
    ///
    /// Each takes a connection, so those of labels are left out: a worker has many of them, and what our own servers put there
    /// is said.
    pub fn listen(self: &Arc<Self>, queues: &[&str]) {
        for queue in queues.iter().filter(|queue| !queue.contains('@')) {
            let mut known = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = known.entry((*queue).to_owned()).or_insert_with(|| {
                let asked = Arc::new(Notify::new());
                tokio::spawn(hear(Arc::downgrade(self), (*queue).to_owned(), asked.clone()));
                asked
            });
            asked.notify_one();
        }
    }
}

/// Waits on a queue, as often as it is asked to.
async fn hear(waking: std::sync::Weak<Waking>, queue: String, asked: Arc<Notify>) {
    let mut connection = None;
    loop {
        asked.notified().await;
        let Some(redis) = waking.upgrade().map(|waking| waking.redis.clone()) else {
            return;
        };
        let listening = match connection.take() {
            Some(connection) => Ok(connection),
            None => redis.waiting().await,
        };
        let Ok(mut listening) = listening else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Takes the next message out and puts it back where it was, in one step: a wait that changes nothing.
        let mut moved = redis::cmd("BLMOVE");
        moved.arg(&queue).arg(&queue).arg("RIGHT").arg("RIGHT").arg(LISTEN);
        match moved.query_async::<Option<redis::Value>>(&mut listening).await {
            Ok(found) => {
                connection = Some(listening);
                if found.is_some()
                    && let Some(waking) = waking.upgrade()
                {
                    waking.wake();
                }
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
