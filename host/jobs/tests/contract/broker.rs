//! The queue: what a `Broker` has to keep to.

use crate::contract::fixtures::number;
use futures_util::future::{join, join_all};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use trainyard_jobs::{Broker, BrokerError, Delivery, Job, JobKind, Outcome, Signal, labelled, served};

const QUEUES: &[&str] = &["training"];
/// A lease that no test outlives.
const LONG: Duration = Duration::from_secs(600);
/// A lease to outlive.
const SHORT: Duration = Duration::from_millis(100);
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

const DONE: Outcome = Outcome::Done(serde_json::Value::Null);

fn job(run: &str) -> Job {
    Job {
        run: run.to_owned(),
        kind: JobKind::Train,
        // A model is trained by one run at a time.
        model: number(run),
        config: json!({"training_dataset": {"source": "upload"}, "training_parameters": {"epochs": 3}}),
        priority: 0,
    }
}

async fn add(broker: &dyn Broker, run: &str) {
    broker.enqueue("training", &job(run)).await.unwrap();
}

async fn take(broker: &dyn Broker, lease: Duration) -> Delivery {
    broker
        .take(QUEUES, "worker-1", lease)
        .await
        .unwrap()
        .expect("a run waits")
}

async fn nothing_to_take(broker: &dyn Broker) {
    assert_eq!(broker.take(QUEUES, "worker-9", LONG).await.unwrap(), None);
}

/// Waits for a lease that was not renewed to run out.
async fn take_when_lost(broker: &dyn Broker) -> Delivery {
    let start = Instant::now();
    loop {
        if let Some(delivery) = broker.take(QUEUES, "worker-2", LONG).await.unwrap() {
            return delivery;
        }
        assert!(start.elapsed() < PATIENCE, "the lease never ran out");
        broker.wait(QUEUES, Duration::from_millis(50)).await;
    }
}

fn lost<T: std::fmt::Debug>(result: Result<T, BrokerError>, run: &str) {
    assert!(
        matches!(&result, Err(BrokerError::LeaseLost { run: lost }) if lost == run),
        "{result:?}"
    );
}

pub async fn runs_are_taken_in_the_order_of_submits(broker: &dyn Broker) {
    for number in 0..20 {
        add(broker, &format!("r{number}")).await;
    }
    for number in 0..20 {
        let delivery = take(broker, LONG).await;
        assert_eq!((delivery.job.run, delivery.deliveries), (format!("r{number}"), 1));
    }
    nothing_to_take(broker).await;
}

pub async fn a_worker_takes_from_its_queues_alone(broker: &dyn Broker) {
    broker.enqueue("large", &job("r1")).await.unwrap();
    broker.enqueue("'; DROP TABLE queue; --", &job("r2")).await.unwrap();
    nothing_to_take(broker).await;
    assert_eq!(broker.take(&[], "w", LONG).await.unwrap(), None);
    let delivery = broker
        .take(&["training", "'; DROP TABLE queue; --"], "w", LONG)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(delivery.job.run, "r2");
    let delivery = broker.take(&["training", "large"], "w", LONG).await.unwrap().unwrap();
    assert_eq!(delivery.job.run, "r1");
}

pub async fn eight_workers_at_once_never_take_the_same_run(broker: &dyn Broker) {
    let wanted: BTreeSet<String> = (0..200).map(|number| format!("r{number}")).collect();
    for run in &wanted {
        add(broker, run).await;
    }
    let worker = async |name: String| {
        let mut taken = Vec::new();
        while let Some(delivery) = broker.take(QUEUES, &name, LONG).await.unwrap() {
            taken.push(delivery);
        }
        taken
    };
    let taken: Vec<_> = join_all((0..8).map(|number| worker(format!("w{number}"))))
        .await
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(taken.len(), 200);
    assert!(taken.iter().all(|delivery| delivery.deliveries == 1));
    assert_eq!(
        taken
            .iter()
            .map(|delivery| delivery.receipt.clone())
            .collect::<BTreeSet<_>>()
            .len(),
        200
    );
    assert_eq!(
        taken
            .into_iter()
            .map(|delivery| delivery.job.run)
            .collect::<BTreeSet<_>>(),
        wanted
    );
    assert_eq!(broker.depth().await.unwrap(), (0, 200));
}

pub async fn a_run_whose_lease_ran_out_goes_to_another_worker(broker: &dyn Broker) {
    add(broker, "r1").await;
    let first = take(broker, SHORT).await;
    let second = take_when_lost(broker).await;
    assert_eq!((second.job.run.as_str(), second.deliveries), ("r1", 2));
    assert_ne!(second.receipt, first.receipt);
    lost(broker.renew(&first, LONG).await, "r1");
    lost(broker.acknowledge(&first, &DONE).await, "r1");
    lost(broker.release(&first).await, "r1");
    // None of that disturbed whoever has it now.
    nothing_to_take(broker).await;
    broker.renew(&second, LONG).await.unwrap();
    broker.acknowledge(&second, &DONE).await.unwrap();
    assert_eq!(broker.depth().await.unwrap(), (0, 0));
}

pub async fn a_lost_run_comes_before_those_that_wait(broker: &dyn Broker) {
    add(broker, "r1").await;
    take(broker, SHORT).await;
    tokio::time::sleep(SHORT * 2).await;
    add(broker, "r2").await;
    assert_eq!(take(broker, LONG).await.job.run, "r1");
    assert_eq!(take(broker, LONG).await.job.run, "r2");
}

pub async fn a_renewed_lease_holds(broker: &dyn Broker) {
    add(broker, "r1").await;
    let delivery = take(broker, SHORT).await;
    broker.renew(&delivery, LONG).await.unwrap();
    tokio::time::sleep(SHORT * 3).await;
    nothing_to_take(broker).await;
    assert_eq!(broker.depth().await.unwrap(), (0, 1));
    // Also shorter than it was: from now on counts.
    broker.renew(&delivery, SHORT).await.unwrap();
    assert_eq!(take_when_lost(broker).await.deliveries, 2);
}

pub async fn an_acknowledged_run_is_gone(broker: &dyn Broker) {
    add(broker, "r1").await;
    let delivery = take(broker, LONG).await;
    broker.acknowledge(&delivery, &DONE).await.unwrap();
    nothing_to_take(broker).await;
    lost(broker.acknowledge(&delivery, &DONE).await, "r1");
    lost(broker.renew(&delivery, LONG).await, "r1");
    lost(broker.release(&delivery).await, "r1");
    // And may come again.
    add(broker, "r1").await;
    assert_eq!(take(broker, LONG).await.deliveries, 1);
}

pub async fn a_run_given_back_is_taken_at_once(broker: &dyn Broker) {
    add(broker, "r1").await;
    add(broker, "r2").await;
    let delivery = take(broker, LONG).await;
    broker.release(&delivery).await.unwrap();
    lost(broker.release(&delivery).await, "r1");
    let again = take(broker, LONG).await;
    assert_eq!((again.job.run.as_str(), again.deliveries), ("r1", 2));
    lost(broker.acknowledge(&delivery, &DONE).await, "r1");
    broker.acknowledge(&again, &DONE).await.unwrap();
}

pub async fn only_a_run_that_nobody_has_is_withdrawn(broker: &dyn Broker) {
    add(broker, "r1").await;
    add(broker, "r2").await;
    let delivery = take(broker, LONG).await;
    assert!(!broker.withdraw(&"r1".into()).await.unwrap());
    broker.renew(&delivery, LONG).await.unwrap();
    assert!(broker.withdraw(&"r2".into()).await.unwrap());
    assert!(!broker.withdraw(&"r2".into()).await.unwrap());
    assert!(!broker.withdraw(&"r3".into()).await.unwrap());
    nothing_to_take(broker).await;
    broker.release(&delivery).await.unwrap();
    assert!(broker.withdraw(&"r1".into()).await.unwrap());
}

pub async fn a_run_is_queued_once(broker: &dyn Broker) {
    join_all((0..8).map(|_| add(broker, "r1"))).await;
    add(broker, "r2").await;
    broker.enqueue("large", &job("r1")).await.unwrap();
    assert_eq!(broker.depth().await.unwrap(), (2, 0));
    let delivery = take(broker, LONG).await;
    assert_eq!(delivery.job.run, "r1");
    // Nor while it is taken: whoever has it keeps it.
    add(broker, "r1").await;
    assert_eq!(broker.depth().await.unwrap(), (1, 1));
    broker.renew(&delivery, LONG).await.unwrap();
    assert_eq!(take(broker, LONG).await.job.run, "r2");
}

pub async fn depth_counts_a_lost_run_as_waiting(broker: &dyn Broker) {
    for run in ["r1", "r2", "r3"] {
        add(broker, run).await;
    }
    take(broker, LONG).await;
    take(broker, Duration::ZERO).await;
    assert_eq!(broker.depth().await.unwrap(), (2, 1));
    let queues = broker.queues().await.unwrap();
    let training = queues.iter().find(|queue| queue.queue == QUEUES[0]).unwrap();
    assert_eq!((training.waiting, training.taken), (2, 1));
    // The others are named, too, though nothing is in them.
    assert!(queues.iter().any(|queue| (queue.waiting, queue.taken) == (0, 0)));
    assert!(queues.is_sorted_by(|a, b| a.queue < b.queue));
}

pub async fn waiting_ends_when_a_run_comes(broker: &dyn Broker) {
    let start = Instant::now();
    let wait = broker.wait(QUEUES, PATIENCE);
    let submit = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        add(broker, "r1").await;
    };
    join(wait, submit).await;
    assert!(start.elapsed() < PATIENCE);
    let delivery = take(broker, LONG).await;
    // Also when it is given back.
    join(broker.wait(QUEUES, PATIENCE), broker.release(&delivery))
        .await
        .1
        .unwrap();
    assert!(start.elapsed() < PATIENCE);
    // And at once when one is there already.
    broker.wait(QUEUES, PATIENCE).await;
    assert!(start.elapsed() < PATIENCE);
}

pub async fn waiting_ends_when_a_lease_runs_out(broker: &dyn Broker) {
    let start = Instant::now();
    add(broker, "r1").await;
    take(broker, SHORT).await;
    broker.wait(QUEUES, PATIENCE).await;
    assert!(start.elapsed() < PATIENCE);
    take_when_lost(broker).await;
}

pub async fn waiting_ends_when_nothing_comes(broker: &dyn Broker) {
    broker.enqueue("large", &job("r1")).await.unwrap();
    tokio::time::timeout(PATIENCE, broker.wait(QUEUES, Duration::from_millis(30)))
        .await
        .unwrap();
    tokio::time::timeout(PATIENCE, broker.wait(QUEUES, Duration::ZERO))
        .await
        .unwrap();
    nothing_to_take(broker).await;
}

pub async fn a_signal_reaches_everyone_who_listens(broker: &dyn Broker) {
    // To nobody is fine.
    broker.signal(Signal::Stop("r0".into())).await.unwrap();
    let (mut first, mut second) = (broker.signals(), broker.signals());
    broker.signal(Signal::Stop("r1".into())).await.unwrap();
    for receiver in [&mut first, &mut second] {
        let mut hear = async || tokio::time::timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
        let mut signal = hear().await;
        if signal == Signal::Stop("r0".into()) {
            // It was still on its way.
            signal = hear().await;
        }
        assert_eq!(signal, Signal::Stop("r1".into()));
    }
}

pub async fn what_is_given_up_is_kept_until_somebody_takes_it(broker: &dyn Broker) {
    for run in ["r1", "r2"] {
        add(broker, run).await;
        let delivery = take(broker, LONG).await;
        let outcome = Outcome::GivenUp(format!("{run} died"));
        broker.acknowledge(&delivery, &outcome).await.unwrap();
    }
    nothing_to_take(broker).await;
    let letters = broker.dead_letters().await.unwrap();
    let listed: Vec<_> = letters
        .iter()
        .map(|letter| (letter.job.run.as_str(), letter.error.as_str(), letter.queue.as_str()))
        .collect();
    assert_eq!(listed, [("r2", "r2 died", "training"), ("r1", "r1 died", "training")]);
    let letter = broker.remove_dead_letter(&"r1".to_owned()).await.unwrap().unwrap();
    assert_eq!(letter.job, job("r1"));
    assert_eq!(broker.remove_dead_letter(&"r1".to_owned()).await.unwrap(), None);
    assert_eq!(broker.dead_letters().await.unwrap().len(), 1);
}

pub async fn jobs_that_ask_for_labels_go_to_workers_that_have_them(broker: &dyn Broker) {
    let labels = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let all = ["training".to_owned()];
    for (run, asked) in [("plain", &[][..]), ("gpu", &["gpu"]), ("both", &["large", "gpu"])] {
        let queue = labelled("training", &labels(asked));
        broker.enqueue(&queue, &job(run)).await.unwrap();
    }
    let takes = async |has: &[&str]| {
        let queues = served(&all, &labels(has));
        let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
        let taken = broker.take(&queues, "w", LONG).await.unwrap();
        taken.map(|delivery| delivery.job.run)
    };
    assert_eq!(takes(&["large"]).await.as_deref(), Some("plain"));
    assert_eq!(takes(&[]).await, None);
    assert_eq!(takes(&["gpu"]).await.as_deref(), Some("gpu"));
    assert_eq!(takes(&["gpu"]).await, None);
    assert_eq!(takes(&["gpu", "large", "arm"]).await.as_deref(), Some("both"));
}
