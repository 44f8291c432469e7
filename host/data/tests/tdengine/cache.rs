//! Data sets that are at hand already.

use crate::common::*;
use std::sync::Arc;

async fn source() -> (Server, Arc<Tdengine>, tempfile::TempDir) {
    let mut world = World::empty();
    world.execute("create database plant").unwrap();
    world.execute("create table plant.t (ts timestamp, y double)").unwrap();
    let rows: String = (0..2_000)
        .map(|row| format!(" ({}, {row}.5)", 1_700_000_000_000i64 + row * 1000))
        .collect();
    world.execute(&format!("insert into plant.t values{rows}")).unwrap();
    let server = Server::start(world).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Tdengine::new(options(&format!("{}/plant", server.dsn()), folder.path())).unwrap();
    (server, Arc::new(source), folder)
}

fn fixed() -> serde_json::Value {
    json!({"table": "t", "end_time": 1_700_001_000})
}

/// How many times rows were asked for.
fn fetches(server: &Server) -> usize {
    server
        .statements()
        .iter()
        .filter(|sql| sql.contains("order by"))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_trainings_on_the_same_rows_fetch_them_once() {
    let (server, source, _folder) = source().await;
    let all = (0..10).map(|_| {
        let source = source.clone();
        tokio::spawn(async move { fetch(&source, fixed(), None).await.unwrap() })
    });
    let mut first = 0;
    for fetched in futures_util::future::join_all(all).await {
        let fetched = fetched.unwrap();
        first += usize::from(!fetched.cached);
        assert_eq!(frame(fetched).numbers("y").unwrap()[999], 999.5);
    }
    assert_eq!((fetches(&server), first), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_past_its_fetch_is_never_at_hand() {
    let (server, source, _folder) = source().await;
    for request in [
        json!({"table": "t"}),
        json!({"table": "t", "end_time": "now"}),
        json!({"table": "t", "end_time": "2100-01-01"}),
        json!({"table": "t", "start_time": "-9y", "end_time": 1_700_001_000}),
    ] {
        let before = fetches(&server);
        for _ in 0..2 {
            assert!(
                !fetch(&source, request.clone(), None).await.unwrap().cached,
                "{request}"
            );
        }
        assert_eq!(fetches(&server) - before, 2, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_values_that_came_later_are_noticed() {
    let (server, source, _folder) = source().await;
    assert_eq!(fetch(&source, fixed(), None).await.unwrap().rows, 1_000);
    server.with_world(|world| {
        world
            .execute("insert into plant.t values (1700000000500, 7.0)")
            .unwrap()
    });
    let again = fetch(&source, fixed(), None).await.unwrap();
    assert_eq!((again.rows, again.cached), (1_001, false));
    server.with_world(|world| {
        world
            .execute("insert into plant.t values (1700000000500, NULL)")
            .unwrap()
    });
    let again = fetch(&source, fixed(), None).await.unwrap();
    assert!(!again.cached);
    assert!(frame(again).numbers("y").unwrap()[1].is_nan());
    // Another value in the same place is not seen without being asked for.
    server.with_world(|world| {
        world
            .execute("insert into plant.t values (1700000001000, 8.0)")
            .unwrap()
    });
    assert!(fetch(&source, fixed(), None).await.unwrap().cached);
    let mut refreshed = fixed();
    refreshed["refresh"] = json!(true);
    let refreshed = frame(fetch(&source, refreshed, None).await.unwrap());
    assert_eq!(refreshed.numbers("y").unwrap()[2], 8.0);
    assert_eq!(
        frame(fetch(&source, fixed(), None).await.unwrap())
            .numbers("y")
            .unwrap()[2],
        8.0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_question_is_not_answered_by_what_is_at_hand() {
    let (_server, source, _folder) = source().await;
    fetch(&source, fixed(), None).await.unwrap();
    for (name, value) in [
        ("limit", json!(10)),
        ("start_time", json!(1_700_000_500)),
        ("interval", json!("10s")),
        ("device_id", json!("x")),
    ] {
        let mut request = fixed();
        request[name] = value;
        match fetch(&source, request, None).await {
            Ok(fetched) => assert!(!fetched.cached && fetched.rows < 1_000, "{name}"),
            Err(error) => assert!(error.to_string().contains("device_id"), "{name}: {error}"),
        }
    }
    // A limit that leaves nothing out changes nothing.
    let mut request = fixed();
    request["limit"] = json!(1_000);
    assert!(fetch(&source, request, None).await.unwrap().cached);
    // The same window, another function.
    let windows =
        |function: &str| json!({"table": "t", "end_time": 1_700_001_000, "interval": "10s", "aggregate": function});
    let min = frame(fetch(&source, windows("min"), None).await.unwrap());
    let max = frame(fetch(&source, windows("max"), None).await.unwrap());
    assert_eq!(
        (min.numbers("y").unwrap()[1], max.numbers("y").unwrap()[1]),
        (10.5, 19.5)
    );
}
