//! A server that dies, hangs, lies or refuses: every row comes, or an error says what did not.

use crate::common::*;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use trainyard_data::tdengine::{Limits, Progress};

const ROWS: u64 = 20_000;

async fn server() -> Server {
    let mut world = World::empty();
    world.execute("create database plant").unwrap();
    world.execute("create table plant.t (ts timestamp, y double)").unwrap();
    for batch in 0..ROWS / 1000 {
        let rows: String = (batch * 1000..(batch + 1) * 1000)
            .map(|row| format!(" ({}, {row}.0)", 1_700_000_000_000 + row * 1000))
            .collect();
        world.execute(&format!("insert into plant.t values{rows}")).unwrap();
    }
    Server::start(world).await.unwrap()
}

fn source(server: &Server, folder: &tempfile::TempDir) -> Tdengine {
    Tdengine::new(quick(server, folder)).unwrap()
}

fn quick(server: &Server, folder: &tempfile::TempDir) -> Options {
    let mut options = options(&format!("{}/plant", server.dsn()), folder.path());
    options.range_rows = 5_000;
    let short = Duration::from_millis(300);
    (options.patience.connect, options.patience.query, options.patience.block) = (short, short, short);
    options
}

fn rows_of(fetched: Fetched) {
    let frame = frame(fetched);
    assert!(
        frame
            .numbers("y")
            .unwrap()
            .iter()
            .zip(0..)
            .all(|(y, row)| *y == f64::from(row))
    );
    assert_eq!(frame.rows() as u64, ROWS);
}

fn all() -> serde_json::Value {
    json!({"table": "t"})
}

fn fault(on: On, then: Then, times: u32) -> Fault {
    Fault {
        on,
        then,
        times: Some(times),
    }
}

fn block(after: u64) -> On {
    On::Block {
        query: "order by `ts`".into(),
        after: after as _,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_for_a_while_costs_nothing_but_time() {
    let server = server().await;
    for (name, fault) in [
        ("the connection drops", fault(block(1), Then::Drop, 2)),
        ("it drops within a message", fault(block(1), Then::DropMidMessage, 2)),
        (
            "it is closed",
            fault(block(0), Then::CloseFrame(1001, "going away".into()), 1),
        ),
        ("rows end early", fault(block(1), Then::End, 2)),
        (
            "the counts end early",
            fault(
                On::Block {
                    query: "order by _wstart".into(),
                    after: 0,
                },
                Then::End,
                2,
            ),
        ),
        ("rows are lost", fault(block(1), Then::LoseRows(7), 1)),
        ("a block never comes", fault(block(1), Then::Hang, 1)),
        ("a block is garbage", fault(block(0), Then::Garbage, 1)),
        (
            "an answer is no JSON",
            fault(On::Query("order by `ts`".into()), Then::BadText, 1),
        ),
        (
            "the answer never comes",
            fault(On::Query("count".into()), Then::Hang, 1),
        ),
        ("the login never ends", fault(On::Login, Then::Hang, 1)),
        ("the version never comes", fault(On::Version, Then::Hang, 1)),
        ("nobody answers", fault(On::Connect, Then::Drop, 2)),
        (
            "the server is short of something",
            fault(
                On::Query("order by `ts`".into()),
                Then::Error {
                    code: 0x0115,
                    message: "out of memory".into(),
                },
                2,
            ),
        ),
        (
            "it is slow",
            fault(block(0), Then::Delay(Duration::from_millis(100)), 3),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        server.fault(fault);
        match fetch(&source(&server, &folder), all(), None).await {
            Ok(fetched) => rows_of(fetched),
            Err(error) => panic!("{name}: {error}"),
        }
        server.clear_faults();
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "{name}: something is left in the folder"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_wrong_is_told_with_range_and_counts() {
    let server = server().await;
    for (then, code, words) in [
        (
            Then::End,
            "tdengine.incomplete",
            vec![
                "2023-11-14T",
                " to ",
                "TDengine counts ",
                " rows, but ",
                " came",
                "4 tries",
            ],
        ),
        (Then::LoseRows(1), "tdengine.incomplete", vec!["rows, but ", " came"]),
        (
            Then::Drop,
            "tdengine.connection",
            vec!["plant.t", "2023-11-14T", "4 tries"],
        ),
        (
            Then::Hang,
            "tdengine.timeout",
            vec!["did not answer within 0.3 s", "4 tries"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        server.fault(Fault {
            on: block(0),
            then,
            times: None,
        });
        let begun = Instant::now();
        let error = fetch(&source(&server, &folder), all(), None).await.unwrap_err();
        server.clear_faults();
        assert_eq!(error.code(), code, "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_is_not_tried_again() {
    let server = server().await;
    for (on, code, message, name) in [
        (On::Login, 0x0357, "Authentication failure", "tdengine.login"),
        (
            On::Query("order by `ts`".into()),
            0x2602,
            "Invalid column name: y",
            "tdengine.refused",
        ),
        (
            On::Query("count".into()),
            0x2600,
            "syntax error near \"x\"",
            "tdengine.refused",
        ),
        (
            On::Query("describe".into()),
            0x2662,
            "Fail to get table info, error: Table does not exist",
            "tdengine.refused",
        ),
        (
            On::Query("describe".into()),
            0x2644,
            "Permission denied or target object not exist",
            "tdengine.permission",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let before = server.statements().len();
        server.fault(Fault {
            on,
            then: Then::Error {
                code,
                message: message.into(),
            },
            times: None,
        });
        let error = fetch(&source(&server, &folder), all(), None).await.unwrap_err();
        server.clear_faults();
        assert_eq!(error.code(), name, "{error}");
        assert!(
            error.to_string().contains(message) && error.to_string().contains("127.0.0.1:"),
            "{error}"
        );
        assert!(
            !error.to_string().contains("tries") && !error.to_string().contains("taosdata"),
            "{error}"
        );
        // Each connection asks for the status; everything else is said once.
        let mut said = server.statements().split_off(before);
        said.retain(|sql| !sql.contains("server_status"));
        let count = said.len();
        said.sort();
        said.dedup();
        assert_eq!(said.len(), count, "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_wrong_address_are_told_apart() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let wrong = server.dsn().replace("taosdata", "s3cret-of-ours");
    let error = fetch(
        &Tdengine::new(options(&format!("{wrong}/plant"), folder.path())).unwrap(),
        all(),
        None,
    )
    .await
    .unwrap_err();
    assert_eq!(error.code(), "tdengine.login", "{error}");
    assert!(!error.to_string().contains("s3cret"), "{error}");
    let address = server.address();
    drop(server);
    let dsn = format!("ws://root:s3cret-of-ours@{address}/plant");
    let error = fetch(&Tdengine::new(options(&dsn, folder.path())).unwrap(), all(), None)
        .await
        .unwrap_err();
    assert_eq!(error.code(), "tdengine.connection", "{error}");
    assert!(
        error.to_string().contains(&address.to_string()) && !error.to_string().contains("s3cret"),
        "{error}"
    );
    for dsn in ["nonsense", "mysql://a:b@c", "", "ws://"] {
        if let Err(error) = Tdengine::new(options(dsn, folder.path())) {
            assert_eq!(error.code(), "tdengine.dsn");
        }
    }
    let error = Tdengine::new(options("mysql://a:s3cret@c", folder.path()))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("mysql") && error.contains("ws://") && !error.contains("s3cret"),
        "{error}"
    );
    // The driver would take a server that is slower for one of another age.
    let mut patient = options("ws://h:1", folder.path());
    patient.patience.connect = Duration::from_secs(8);
    assert!(
        Tdengine::new(patient)
            .unwrap_err()
            .to_string()
            .contains("less than 8 s")
    );
    let mut native = options(
        "taos://root:s3cret@h:6030/plant?libraryPath=/nowhere/libtaos.so",
        folder.path(),
    );
    native.patience.connect = Duration::from_secs(1);
    let error = fetch(&Tdengine::new(native).unwrap(), all(), None)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("h:6030") && !error.contains("s3cret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_ends_the_fetch_in_time() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let source = source(&server, &folder);
    server.fault(Fault {
        on: block(0),
        then: Then::Delay(Duration::from_millis(100)),
        times: None,
    });
    let begun = Instant::now();
    let fetching = tokio::spawn(async move { fetch(&source, all(), None).await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    drop(server);
    let error = fetching.await.unwrap().unwrap_err();
    assert!(
        ["tdengine.connection", "tdengine.timeout"].contains(&error.code()),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_told_with_what_to_do() {
    let server = server().await;
    let limited = |limits: Limits| {
        let folder = tempfile::tempdir().unwrap();
        let mut options = quick(&server, &folder);
        options.limits = limits;
        let source = Tdengine::new(options).unwrap();
        async move {
            let _folder = folder;
            fetch(&source, all(), None).await.unwrap_err()
        }
    };
    let error = limited(Limits {
        rows: 100,
        ..Limits::default()
    })
    .await;
    assert!(
        error.code() == "tdengine.limit"
            && error
                .to_string()
                .contains("20000 rows are asked for, and a job may fetch 100"),
        "{error}"
    );
    let error = limited(Limits {
        bytes: 100_000,
        ..Limits::default()
    })
    .await;
    assert!(
        error.code() == "tdengine.limit" && error.to_string().contains("that a job may fetch"),
        "{error}"
    );
    server.fault(Fault {
        on: block(0),
        then: Then::Delay(Duration::from_millis(250)),
        times: None,
    });
    let error = limited(Limits {
        time: Duration::from_millis(400),
        ..Limits::default()
    })
    .await;
    assert!(
        error.code() == "tdengine.limit" && error.to_string().contains("took longer than"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_ends_with_all_rows_whatever_has_to_be_fetched_again() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let source = source(&server, &folder);
    server.fault(fault(block(1), Then::Drop, 1));
    let told: Mutex<Vec<Progress>> = Mutex::default();
    let query: DeviceQuery = serde_json::from_value(all()).unwrap();
    let request = Request {
        query: &query,
        columns: None,
        device_column: None,
        rows: None,
    };
    let fetched = source
        .fetch(request, &|progress| told.lock().unwrap().push(progress))
        .await
        .unwrap();
    rows_of(fetched);
    let told = told.into_inner().unwrap();
    assert!(
        told.len() >= 4
            && told
                .iter()
                .all(|progress| progress.total == ROWS && progress.rows <= ROWS),
        "{told:?}"
    );
    assert_eq!(told.iter().map(|progress| progress.rows).max(), Some(ROWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_nobody_waits_for_leaves_nothing() {
    let server = server().await;
    let folder = tempfile::tempdir().unwrap();
    let source = source(&server, &folder);
    server.fault(Fault {
        on: block(1),
        then: Then::Hang,
        times: None,
    });
    let fetching = tokio::time::timeout(Duration::from_millis(100), fetch(&source, all(), None)).await;
    assert!(fetching.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert!(server.connections() <= 4);
    server.clear_faults();
    rows_of(fetch(&source, all(), None).await.unwrap());
}
