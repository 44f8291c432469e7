//! The queue as a table. A lease is a time in a row, so it needs no connection that stays open.
//!
//! Within a process a waiting worker wakes at once; what another process enqueues it finds by looking four times a
//! second.

use super::database::Database;
use super::rows::{from_json, from_small, json, now, time};
use crate::broker::MOST_DEAD_LETTERS;
use crate::{Broker, BrokerError, DeadLetter, Delivery, Job, JobKind, Outcome, QueueDepth, RunId, Signal, Timestamp};
use async_trait::async_trait;
use sqlx::Row;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::Instant;

/// How often a waiting worker looks.
const LOOK: Duration = Duration::from_millis(250);

/// A [`Broker`] on a SQLite file.
#[derive(Clone)]
pub struct SqliteBroker {
    pub(super) database: Database,
}

impl SqliteBroker {
    /// The broker of a database.
    pub fn new(database: Database) -> Self {
        SqliteBroker { database }
    }

    /// Whether a run of these queues waits or has lost its worker.
    async fn has_some(&self, queues: &[&str]) -> Result<bool, BrokerError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM queue WHERE queue IN (SELECT value FROM json_each(?1))
                 AND (lease_until IS NULL OR lease_until <= ?2))",
        )
        .bind(json(queues)?)
        .bind(time(&now()))
        .fetch_one(&self.database.readers)
        .await?)
    }
}

/// The end of a lease from now on; what no calendar holds never ends.
fn until(lease: Duration) -> Timestamp {
    let lease = chrono::TimeDelta::from_std(lease).unwrap_or(chrono::TimeDelta::days(36_500));
    now() + lease.min(chrono::TimeDelta::days(36_500))
}

/// One statement did one row, or the lease is lost.
fn held(delivery: &Delivery, done: sqlx::sqlite::SqliteQueryResult) -> Result<(), BrokerError> {
    match done.rows_affected() {
        0 => Err(lost(delivery)),
        _ => Ok(()),
    }
}

fn lost(delivery: &Delivery) -> BrokerError {
    BrokerError::LeaseLost {
        run: delivery.job.run.clone(),
    }
}

#[async_trait]
impl Broker for SqliteBroker {
    async fn enqueue(&self, queue: &str, job: &Job) -> Result<(), BrokerError> {
        sqlx::query(
            "INSERT INTO queue (run_id, queue, priority, job) VALUES (?, ?, ?, ?) ON CONFLICT (run_id) DO NOTHING",
        )
        .bind(&job.run)
        .bind(queue)
        .bind(job.priority)
        .bind(json(job)?)
        .execute(&self.database.writer)
        .await?;
        self.database.enqueued.notify_waiters();
        Ok(())
    }

    async fn take(&self, queues: &[&str], worker: &str, lease: Duration) -> Result<Option<Delivery>, BrokerError> {
        let row = sqlx::query(
            "UPDATE queue SET receipt = ?1, worker = ?2, lease_until = ?3, deliveries = deliveries + 1
             WHERE number = (SELECT number FROM queue WHERE queue IN (SELECT value FROM json_each(?4))
                 AND (lease_until IS NULL OR lease_until <= ?5) ORDER BY priority, number LIMIT 1)
             RETURNING job, receipt, deliveries",
        )
        .bind(uuid::Uuid::new_v4().to_string())
        .bind(worker)
        .bind(time(&until(lease)))
        .bind(json(queues)?)
        .bind(time(&now()))
        .fetch_optional(&self.database.writer)
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Delivery {
            job: from_json(&row, "job")?,
            receipt: row.try_get("receipt")?,
            deliveries: from_small(&row, "deliveries")?,
        }))
    }

    async fn wait(&self, queues: &[&str], at_most: Duration) {
        let end = Instant::now() + at_most;
        loop {
            // Listens before it looks, so that nothing can be enqueued unheard between the two.
            let enqueued = self.database.enqueued.notified();
            tokio::pin!(enqueued);
            enqueued.as_mut().enable();
            // Where looking fails, taking fails too and says why; here it only must not spin.
            if self.has_some(queues).await.unwrap_or(false) {
                return;
            }
            let look = (Instant::now() + LOOK).min(end);
            tokio::select! {
                () = enqueued => return,
                () = tokio::time::sleep_until(look) => {}
            }
            if look == end {
                return;
            }
        }
    }

    async fn renew(&self, delivery: &Delivery, lease: Duration) -> Result<(), BrokerError> {
        // One that ran out while nobody else came is as good as held.
        let done = sqlx::query("UPDATE queue SET lease_until = ?3 WHERE run_id = ?1 AND receipt = ?2")
            .bind(&delivery.job.run)
            .bind(&delivery.receipt)
            .bind(time(&until(lease)))
            .execute(&self.database.writer)
            .await?;
        held(delivery, done)
    }

    async fn report(&self, _: &Delivery, _: &serde_json::Value) -> Result<(), BrokerError> {
        // Whoever submits here reads the row.
        Ok(())
    }

    async fn acknowledge(&self, delivery: &Delivery, outcome: &Outcome) -> Result<(), BrokerError> {
        let mut transaction = self.database.write().await?;
        let queue: Option<String> =
            sqlx::query_scalar("DELETE FROM queue WHERE run_id = ? AND receipt = ? RETURNING queue")
                .bind(&delivery.job.run)
                .bind(&delivery.receipt)
                .fetch_optional(&mut *transaction)
                .await?;
        let Some(queue) = queue else {
            return Err(lost(delivery));
        };
        if let Outcome::GivenUp(error) = outcome {
            let letter = DeadLetter {
                queue,
                job: delivery.job.clone(),
                error: error.clone(),
                at: now(),
            };
            sqlx::query("INSERT OR REPLACE INTO dead_letters (run_id, letter) VALUES (?, ?)")
                .bind(&delivery.job.run)
                .bind(json(&letter)?)
                .execute(&mut *transaction)
                .await?;
            sqlx::query("DELETE FROM dead_letters WHERE number <= (SELECT max(number) FROM dead_letters) - ?")
                .bind(i64::try_from(MOST_DEAD_LETTERS).unwrap_or(i64::MAX))
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    async fn release(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        let done = sqlx::query(
            "UPDATE queue SET receipt = NULL, worker = NULL, lease_until = NULL WHERE run_id = ? AND receipt = ?",
        )
        .bind(&delivery.job.run)
        .bind(&delivery.receipt)
        .execute(&self.database.writer)
        .await?;
        held(delivery, done)?;
        self.database.enqueued.notify_waiters();
        Ok(())
    }

    async fn withdraw(&self, run: &RunId) -> Result<bool, BrokerError> {
        let done = sqlx::query("DELETE FROM queue WHERE run_id = ? AND (lease_until IS NULL OR lease_until <= ?)")
            .bind(run)
            .bind(time(&now()))
            .execute(&self.database.writer)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn dead_letters(&self) -> Result<Vec<DeadLetter>, BrokerError> {
        let rows = sqlx::query("SELECT letter FROM dead_letters ORDER BY number DESC")
            .fetch_all(&self.database.readers)
            .await?;
        Ok(rows
            .iter()
            .map(|row| from_json(row, "letter"))
            .collect::<Result<_, _>>()?)
    }

    async fn remove_dead_letter(&self, run: &RunId) -> Result<Option<DeadLetter>, BrokerError> {
        let row = sqlx::query("DELETE FROM dead_letters WHERE run_id = ? RETURNING letter")
            .bind(run)
            .fetch_optional(&self.database.writer)
            .await?;
        Ok(row.map(|row| from_json(&row, "letter")).transpose()?)
    }

    async fn queues(&self) -> Result<Vec<QueueDepth>, BrokerError> {
        let rows = sqlx::query(
            "SELECT queue, count(*) AS jobs, count(*) FILTER (WHERE lease_until > ?) AS taken \
             FROM queue GROUP BY queue ORDER BY queue",
        )
        .bind(time(&now()))
        .fetch_all(&self.database.readers)
        .await?;
        let mut queues: Vec<QueueDepth> = JobKind::ALL
            .map(|kind| QueueDepth {
                queue: kind.queue().to_owned(),
                waiting: 0,
                taken: 0,
            })
            .into();
        for row in rows {
            let queue: String = row.try_get("queue")?;
            let taken = super::rows::from_integer(&row, "taken")?;
            let waiting = super::rows::from_integer(&row, "jobs")?.saturating_sub(taken);
            queues.retain(|known| known.queue != queue);
            queues.push(QueueDepth { queue, waiting, taken });
        }
        queues.sort_by(|a, b| a.queue.cmp(&b.queue));
        Ok(queues)
    }

    async fn signal(&self, signal: Signal) -> Result<(), BrokerError> {
        // Nobody who listens is fine: workers also look at the row.
        let _ = self.database.signals.send(signal);
        Ok(())
    }

    fn signals(&self) -> broadcast::Receiver<Signal> {
        self.database.signals.subscribe()
    }
}
