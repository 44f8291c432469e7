//! What happens right now: what a `Feed` has to keep to.

use chrono::Utc;
use serde_json::Map;
use std::time::Duration;
use trainyard_jobs::{Event, Feed, FeedItem, LogLevel, RunState, Subscription};

const PATIENCE: Duration = Duration::from_secs(30);

fn log(message: &str) -> Event {
    Event::Log {
        timestamp: Utc::now(),
        level: LogLevel::Info,
        message: message.into(),
    }
}

fn progress(current: u64) -> Event {
    Event::Progress {
        timestamp: chrono::Utc::now(),
        progress: 1.0,
        current,
        total: 9999,
        metrics: Map::new(),
        seconds_left: None,
    }
}

async fn publish(feed: &dyn Feed, event: Event) -> u64 {
    feed.publish(1, &"r1".to_owned(), event).await
}

async fn next(subscription: &mut Box<dyn Subscription>) -> FeedItem {
    tokio::time::timeout(PATIENCE, subscription.next())
        .await
        .expect("an event comes")
        .expect("the feed is open")
}

/// The number of the next event, or none for a gap.
async fn number(subscription: &mut Box<dyn Subscription>) -> Option<u64> {
    match next(subscription).await {
        FeedItem::Entry(entry) => Some(entry.number),
        FeedItem::Gap { .. } => None,
    }
}

async fn nothing_comes(subscription: &mut Box<dyn Subscription>) {
    let item = tokio::time::timeout(Duration::from_millis(30), subscription.next()).await;
    assert!(item.is_err(), "{item:?}");
}

pub async fn events_come_in_the_order_they_were_published(feed: &dyn Feed) {
    let mut early = feed.subscribe(1, None).await;
    let events = [
        log("reads 7 rows"),
        Event::Status {
            status: RunState::Training,
            progress: 5.0,
            attempt: 1,
        },
        progress(1),
        log("epoch 1"),
        Event::End {
            status: RunState::Error,
            error: Some("out of memory".into()),
        },
    ];
    let mut numbers = Vec::new();
    for event in events.clone() {
        numbers.push(publish(feed, event).await);
    }
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(numbers[4] < 1 << 53, "fits a JavaScript number");
    let mut late = feed.subscribe(1, None).await;
    for subscription in [&mut early, &mut late] {
        for (event, number) in events.iter().zip(&numbers) {
            let FeedItem::Entry(entry) = next(subscription).await else {
                panic!()
            };
            assert_eq!(
                (&entry.number, entry.run_id.as_str(), &entry.event),
                (number, "r1", event)
            );
        }
        nothing_comes(subscription).await;
    }
}

pub async fn models_do_not_hear_each_other(feed: &dyn Feed) {
    let mut other = feed.subscribe(2, None).await;
    publish(feed, log("of model 1")).await;
    nothing_comes(&mut other).await;
    assert!(feed.last_logs(2, 9).await.is_empty());
}

pub async fn reading_goes_on_after_a_number(feed: &dyn Feed) {
    let mut numbers = Vec::new();
    for current in 0..10 {
        numbers.push(publish(feed, progress(current)).await);
    }
    let mut subscription = feed.subscribe(1, Some(numbers[6])).await;
    for expected in &numbers[7..] {
        assert_eq!(number(&mut subscription).await, Some(*expected));
    }
    let mut subscription = feed.subscribe(1, Some(numbers[9])).await;
    nothing_comes(&mut subscription).await;
    let next = publish(feed, progress(10)).await;
    assert_eq!(number(&mut subscription).await, Some(next));
}

pub async fn a_waiting_reader_wakes(feed: &dyn Feed) {
    let mut subscription = feed.subscribe(1, None).await;
    let publish = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        publish(feed, log("at last")).await
    };
    let (got, published) = futures_util::future::join(number(&mut subscription), publish).await;
    assert_eq!(got, Some(published));
}

pub async fn a_reader_that_stopped_waiting_loses_nothing(feed: &dyn Feed) {
    let mut subscription = feed.subscribe(1, None).await;
    for current in 0..50 {
        // Gives up again and again, as a server does that also sends something to keep a connection.
        let _ = tokio::time::timeout(Duration::ZERO, subscription.next()).await;
        let published = publish(feed, progress(current)).await;
        assert_eq!(number(&mut subscription).await, Some(published));
    }
}

pub async fn a_slow_reader_holds_up_nobody_and_is_told_of_the_gap_once(feed: &dyn Feed) {
    let mut slow = feed.subscribe(1, None).await;
    let first = publish(feed, progress(0)).await;
    assert_eq!(number(&mut slow).await, Some(first));
    let mut last = 0;
    for current in 1..10_000 {
        last = publish(feed, progress(current)).await;
    }
    let FeedItem::Gap { after, next: oldest } = next(&mut slow).await else {
        panic!("events were lost silently")
    };
    assert_eq!(after, first);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        numbers.push(number(&mut slow).await.expect("one gap"));
    }
    assert_eq!(numbers[0], oldest);
    assert_eq!(numbers.len(), 2000);
    assert!(numbers.is_sorted_by(|a, b| a < b));
}

pub async fn a_number_from_before_what_is_remembered_gives_a_gap(feed: &dyn Feed) {
    let first = publish(feed, log("0")).await;
    let second = publish(feed, log("1")).await;
    for line in 2..=1000 {
        publish(feed, log(&line.to_string())).await;
    }
    // The first line is gone; whoever had it has missed nothing.
    let mut subscription = feed.subscribe(1, Some(first)).await;
    assert_eq!(number(&mut subscription).await, Some(second));
    publish(feed, log("1001")).await;
    let mut subscription = feed.subscribe(1, Some(first)).await;
    let FeedItem::Gap { after, next } = next(&mut subscription).await else {
        panic!()
    };
    assert_eq!(after, first);
    assert_eq!(number(&mut subscription).await, Some(next));
    // From the start of what is remembered there is no gap.
    let mut subscription = feed.subscribe(1, None).await;
    assert_eq!(number(&mut subscription).await, Some(next));
}

pub async fn a_talkative_log_pushes_nothing_else_out(feed: &dyn Feed) {
    let start = publish(feed, log("start")).await;
    let mut others = Vec::new();
    for current in 0..10 {
        for line in 0..200 {
            publish(feed, log(&format!("{current}.{line}"))).await;
        }
        others.push(publish(feed, progress(current)).await);
    }
    let mut subscription = feed.subscribe(1, Some(start)).await;
    let mut gaps = 0;
    let (mut logs, mut rest, mut numbers) = (0, Vec::new(), Vec::new());
    while rest.len() < 10 {
        match next(&mut subscription).await {
            FeedItem::Gap { after, next } => {
                gaps += 1;
                assert_eq!((after, next), (start, others[0]));
            }
            FeedItem::Entry(entry) => {
                numbers.push(entry.number);
                match entry.event {
                    Event::Log { .. } => logs += 1,
                    _ => rest.push(entry.number),
                }
            }
        }
    }
    assert_eq!((gaps, logs), (1, 1000));
    assert_eq!(rest, others);
    assert!(numbers.is_sorted_by(|a, b| a < b));
}

pub async fn every_later_loss_is_a_gap_of_its_own(feed: &dyn Feed) {
    publish(feed, progress(0)).await;
    let mut subscription = feed.subscribe(1, None).await;
    for round in 0..3 {
        for line in 0..1500 {
            publish(feed, log(&line.to_string())).await;
        }
        let (mut gaps, mut logs) = (0, 0);
        while logs < 1000 {
            match next(&mut subscription).await {
                FeedItem::Gap { .. } => gaps += 1,
                FeedItem::Entry(entry) => logs += u32::from(matches!(entry.event, Event::Log { .. })),
            }
        }
        assert_eq!(gaps, 1, "round {round}");
        nothing_comes(&mut subscription).await;
    }
}

pub async fn a_number_from_the_future_gives_a_gap_and_then_everything(feed: &dyn Feed) {
    let first = publish(feed, log("a")).await;
    let second = publish(feed, progress(1)).await;
    let future = second + 1_000_000_000;
    let mut subscription = feed.subscribe(1, Some(future)).await;
    assert_eq!(
        next(&mut subscription).await,
        FeedItem::Gap {
            after: future,
            next: first
        }
    );
    assert_eq!(number(&mut subscription).await, Some(first));
    assert_eq!(number(&mut subscription).await, Some(second));
    nothing_comes(&mut subscription).await;
    // Also where nothing has happened yet: told as soon as it is known where to go on.
    let mut subscription = feed.subscribe(7, Some(future)).await;
    let published = feed.publish(7, &"r7".to_owned(), log("a")).await;
    assert_eq!(
        next(&mut subscription).await,
        FeedItem::Gap {
            after: future,
            next: published
        }
    );
    assert_eq!(number(&mut subscription).await, Some(published));
}

pub async fn the_last_lines_of_the_log_come_oldest_first(feed: &dyn Feed) {
    assert!(feed.last_logs(1, 5).await.is_empty());
    for line in 0..1200 {
        publish(feed, log(&line.to_string())).await;
        publish(feed, progress(line)).await;
    }
    let lines = async |count| {
        let entries = feed.last_logs(1, count).await;
        let lines = entries.iter().map(|entry| match &entry.event {
            Event::Log { message, .. } => message.clone(),
            other => panic!("{other:?}"),
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(lines(3).await, ["1197", "1198", "1199"]);
    assert_eq!(lines(0).await, [""; 0]);
    let all = lines(5000).await;
    assert_eq!((all.len(), all[0].as_str()), (1000, "200"));
}

pub async fn a_forgotten_model_has_no_past_and_its_readers_end(feed: &dyn Feed) {
    let old = publish(feed, log("a")).await;
    let mut reader = feed.subscribe(1, Some(old)).await;
    let (ended, ()) = futures_util::future::join(reader.next(), feed.forget(1)).await;
    assert_eq!(ended, None);
    assert_eq!(reader.next().await, None);
    assert!(feed.last_logs(1, 9).await.is_empty());
    feed.forget(1).await;
    feed.forget(2).await;
    // A model of that number that comes later goes on counting.
    assert!(publish(feed, log("b")).await > old);
    let mut reader = feed.subscribe(1, Some(old)).await;
    assert_eq!(number(&mut reader).await, None);
}

pub async fn many_publish_at_once_and_every_number_is_given_once(feed: &dyn Feed) {
    let mut subscription = feed.subscribe(1, None).await;
    let publisher = async || {
        let mut numbers = Vec::new();
        for current in 0..100 {
            numbers.push(publish(feed, progress(current)).await);
            tokio::task::yield_now().await;
        }
        assert!(numbers.is_sorted_by(|a, b| a < b));
        numbers
    };
    let mut numbers: Vec<_> = futures_util::future::join_all((0..8).map(|_| publisher()))
        .await
        .into_iter()
        .flatten()
        .collect();
    numbers.sort_unstable();
    for expected in numbers {
        assert_eq!(number(&mut subscription).await, Some(expected));
    }
    nothing_comes(&mut subscription).await;
}

/// Of two feeds, one after the other, as when a process starts again.
pub async fn numbers_grow_over_a_restart(before: &dyn Feed, after: &dyn Feed) {
    let mut old = 0;
    for current in 0..100 {
        old = publish(before, progress(current)).await;
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let mut reader = after.subscribe(1, Some(old)).await;
    let new = publish(after, progress(0)).await;
    assert!(new > old);
    // The reader that came back is told that it may have missed something.
    assert_eq!(next(&mut reader).await, FeedItem::Gap { after: old, next: new });
}
