//! Trainings at their times.

use crate::fixture::Server;
use chrono::{TimeDelta, Utc};
use serde_json::{Map, Value, json};
use std::time::Duration;
use trainyard_jobs::schedule::{Missed, NewSchedule};

fn schedule(model: i64, missed: Missed) -> NewSchedule {
    NewSchedule {
        name: "every night".into(),
        model_id: model,
        cron: "30 2 * * *".into(),
        time_zone: "Asia/Shanghai".into(),
        enabled: true,
        missed,
        submission: Map::from_iter([("training_parameters".to_owned(), json!({"epochs": 7}))]),
    }
}

async fn eventually(server: &Server, id: i64, holds: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..600 {
        let schedule = server.get(&format!("/schedules/{id}")).await.data();
        if holds(&schedule) {
            return schedule;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {}", server.get(&format!("/schedules/{id}")).await.data());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_made_read_changed_switched_off_and_deleted() {
    let server = Server::start().await;
    let model = server.model().await;
    let body = json!({"name": "every night", "model_id": model, "cron": "30 2 * * *", "time_zone": "Asia/Shanghai",
        "submission": {"training_parameters": {"epochs": 7}}});
    let made = server.post("/schedules", body).await.data();
    assert_eq!(made["missed"], "skip");
    assert!(made["next_at"].as_str().unwrap().contains("T18:30:00"), "{made}");
    assert_eq!(made["submission"], json!({"training_parameters": {"epochs": 7}}));
    let id = made["id"].as_i64().unwrap();
    let path = format!("/schedules/{id}");
    assert_eq!(server.get("/schedules").await.data()["items"], json!([made]));
    let off = server.patch(&path, json!({"enabled": false})).await.data();
    assert_eq!((&off["enabled"], &off["next_at"]), (&json!(false), &Value::Null));
    let on = server
        .patch(&path, json!({"enabled": true, "cron": "0 * * * *", "time_zone": "UTC"}))
        .await
        .data();
    assert!(on["next_at"].as_str().unwrap().contains(":00:00"), "{on}");
    server.delete(&path).await.data();
    server.get(&path).await.refused(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_with_words() {
    let server = Server::start().await;
    let model = server.model().await;
    let good = json!({"name": "n", "model_id": model, "cron": "30 2 * * *"});
    for (field, value, error, words) in [
        ("cron", json!("every night"), "invalid-schedule", "such as"),
        ("cron", json!("0 0 30 2 *"), "invalid-schedule", "never comes"),
        ("time_zone", json!("Mars"), "invalid-schedule", "no time zone"),
        ("name", json!(""), "invalid-body", "1 to 200"),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let refused = server.post("/schedules", body).await;
        let said = refused.refused(422, error);
        assert!(said["message"].as_str().unwrap().contains(words), "{said}");
    }
    let mut body = good.clone();
    body["model_id"] = json!(4711);
    server.post("/schedules", body).await.refused(422, "no-such-model");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_comes_trains_once_however_many_servers_there_are() {
    let first = Server::start().await;
    let services = first.services.clone();
    let _second = Server::start_with(move |_, own| *own = services).await;
    let model = first.model().await;
    let due = Utc::now() - TimeDelta::seconds(1);
    let store = &first.services.store;
    let id = store
        .add_schedule(schedule(model, Missed::Skip), Some(due))
        .await
        .unwrap()
        .id;
    let fired = eventually(&first, id, |schedule| !schedule["last_run"].is_null()).await;
    assert_eq!(fired["last_error"], Value::Null);
    assert!(fired["next_at"].as_str().unwrap().contains("T18:30:00"), "{fired}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let runs = first.get(&format!("/models/{model}/runs")).await.data();
    assert_eq!(runs["items"].as_array().unwrap().len(), 1);
    assert_eq!(runs["items"][0]["id"], fired["last_run"]);
    assert_eq!(runs["items"][0]["training_parameters"]["epochs"], 7);
    // While it goes on, the next time comes to nothing, and says why.
    let due = Utc::now() - TimeDelta::seconds(1);
    let id = store
        .add_schedule(schedule(model, Missed::Skip), Some(due))
        .await
        .unwrap()
        .id;
    let fired = eventually(&first, id, |schedule| !schedule["last_error"].is_null()).await;
    assert!(fired["last_error"].as_str().unwrap().contains("under way"), "{fired}");
    assert_eq!(fired["last_run"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_time_is_skipped_or_made_up_for_once() {
    let server = Server::start().await;
    let (skips, once) = (server.model().await, server.model().await);
    let long_ago = Utc::now() - TimeDelta::hours(30);
    let store = &server.services.store;
    let skipped = store
        .add_schedule(schedule(skips, Missed::Skip), Some(long_ago))
        .await
        .unwrap()
        .id;
    let made_up = store
        .add_schedule(schedule(once, Missed::Once), Some(long_ago))
        .await
        .unwrap()
        .id;
    let skipped = eventually(&server, skipped, |schedule| !schedule["last_at"].is_null()).await;
    assert!(skipped["last_error"].as_str().unwrap().contains("missed"), "{skipped}");
    eventually(&server, made_up, |schedule| !schedule["last_run"].is_null()).await;
    for (model, runs) in [(skips, 0), (once, 1)] {
        let all = server.get(&format!("/models/{model}/runs")).await.data();
        assert_eq!(all["items"].as_array().unwrap().len(), runs);
    }
}
