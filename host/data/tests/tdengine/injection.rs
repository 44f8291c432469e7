//! Hostile names, values and times: none reaches the server as anything but a value.

use crate::common::*;

/// What someone may try.
const HOSTILE: [&str; 48] = [
    "'",
    "''",
    "\"",
    "`",
    "``",
    "\\",
    "\\'",
    "\\\\'",
    "';",
    "'; drop database plant; --",
    "' or '1'='1",
    "' or 1=1 --",
    "' or 1=1 #",
    "\\' or 1=1 --",
    "\\\\' or 1=1 --",
    "') or ('1'='1",
    "' union select * from plant.t --",
    "x' and ts < now --",
    "x'; insert into plant.t values (now, 1); --",
    "x`; drop table plant.t; --",
    "`) or (`1`=`1`",
    "/* */",
    "x'/**/or/**/1=1",
    "--",
    "; select 1",
    "%",
    "_",
    "%' or device_id like '%",
    "0x27204f5220313d31",
    "char(39)",
    "concat('a','b')",
    "\u{2019} or 1=1",
    "\u{ff07} or 1=1",
    "\u{02bc}",
    "ʻ or 1=1",
    "\u{202e}' or 1=1",
    "😀'",
    "名'; drop",
    "NULL",
    "null'",
    "true",
    "1e309",
    "-1",
    "1; drop",
    "${jndi:x}",
    "{{7*7}}",
    "$(id)",
    "a' interval(1s) fill(value, 1) --",
];
/// Characters that a reader on the way might end a text at.
const CONTROL: [&str; 6] = ["a\0' or 1=1", "\n' or 1=1", "a\r\nb", "\u{1b}[2J", "a\tb", "\u{85}"];

async fn source() -> (Server, Tdengine, tempfile::TempDir) {
    let mut world = World::empty();
    world.execute("create database plant").unwrap();
    world
        .execute("create stable plant.t (ts timestamp, y double) tags (device_id nchar(64), site nchar(64))")
        .unwrap();
    world
        .execute("insert into plant.a using plant.t tags ('secret', 'secret') values (1700000000000, 1.0)")
        .unwrap();
    let server = Server::start(world).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = Tdengine::new(options(&format!("{}/plant", server.dsn()), folder.path())).unwrap();
    (server, source, folder)
}

/// A statement without its names, texts and numbers: what a server would do, whatever the values are.
fn skeleton(sql: &str) -> (String, Vec<String>) {
    let (mut bones, mut texts) = (String::new(), Vec::new());
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '`' => {
                bones.push('N');
                assert!(
                    chars
                        .by_ref()
                        .take_while(|c| *c != '`')
                        .all(|c| c.is_ascii_alphanumeric() || c == '_'),
                    "{sql}"
                );
            }
            '\'' => {
                let mut text = String::new();
                loop {
                    match chars.next().unwrap_or_else(|| panic!("a text does not end: {sql}")) {
                        '\\' => text.push(chars.next().unwrap()),
                        '\'' => break,
                        c => text.push(c),
                    }
                }
                assert_ne!(chars.peek(), Some(&'\''), "two texts in a row read as one: {sql}");
                texts.push(text);
                bones.push('T');
            }
            c if c.is_ascii_digit() => {
                while chars.next_if(|c| c.is_ascii_digit()).is_some() {}
                bones.push('0');
            }
            c => bones.push(c),
        }
    }
    (bones, texts)
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_stay_values() {
    let (server, source, _folder) = source().await;
    let plain = |value: &str| json!({"table": "t", "device_id": value, "tags": {"site": [value, "x"]}, "start_time": 1, "end_time": 1_800_000_000});
    fetch(&source, plain("nobody"), None).await.unwrap_err();
    let harmless: Vec<String> = server.statements().iter().map(|sql| skeleton(sql).0).collect();
    assert!(harmless.len() >= 4, "{harmless:?}");
    for hostile in HOSTILE {
        let before = server.statements().len();
        let error = fetch(&source, plain(hostile), None).await.unwrap_err();
        assert_eq!(error.code(), "tdengine.no-rows", "{hostile}: {error}");
        let statements = server.statements().split_off(before);
        let mut seen = 0;
        for sql in &statements {
            let (bones, texts) = skeleton(sql);
            assert!(harmless.contains(&bones), "{hostile}: {sql}");
            seen += texts.iter().filter(|text| *text == hostile).count();
        }
        assert!(seen > 0, "{hostile} never arrived: {statements:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_any_name_is_read_and_no_other() {
    let (server, source, _folder) = source().await;
    for (number, hostile) in HOSTILE.iter().enumerate() {
        let text = hostile.replace('\\', "\\\\").replace('\'', "\\'");
        let sql = format!(
            "insert into plant.h{number} using plant.t tags ('{text}', 'h') values ({}, {number}.0)",
            1_700_000_000_000i64
        );
        server.with_world(|world| world.execute(&sql).unwrap());
    }
    for (number, hostile) in HOSTILE.iter().enumerate() {
        let fetched = fetch(&source, json!({"table": "t", "device_id": hostile}), None)
            .await
            .unwrap();
        assert_eq!(fetched.devices[0].name, *hostile);
        assert_eq!(frame(fetched).numbers("y").unwrap(), [number as f64], "{hostile}");
    }
    // Devices that the server itself names are no better.
    let all = fetch(&source, json!({"table": "t", "tags": {"site": "h"}}), None)
        .await
        .unwrap();
    assert_eq!((all.rows, all.devices.len()), (HOSTILE.len() as u64, HOSTILE.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_value_is_refused_before_anything_is_sent() {
    let (server, source, _folder) = source().await;
    for hostile in CONTROL {
        let error = fetch(&source, json!({"table": "t", "device_id": hostile}), None)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("control character"), "{error}");
        assert!(!error.to_string().contains(['\n', '\0', '\u{1b}']));
    }
    for hostile in HOSTILE.iter().chain(&CONTROL) {
        for field in ["database", "table", "start_time", "end_time", "time_zone", "interval"] {
            // Some of them are numbers, and numbers are times.
            if field.ends_with("_time") && hostile.trim().parse::<i64>().is_ok() {
                continue;
            }
            // These two are letters alone: a name like any other.
            if ["database", "table"].contains(&field) && ["NULL", "true", "_", "0x27204f5220313d31"].contains(hostile) {
                continue;
            }
            let mut request = json!({"table": "t"});
            request[field] = json!(hostile);
            let read: Result<DeviceQuery, _> = serde_json::from_value(request);
            assert!(read.is_err(), "{field}: {hostile}");
        }
        let tags: Result<DeviceQuery, _> = serde_json::from_value(json!({"table": "t", "tags": {*hostile: 1}}));
        assert!(tags.is_err() || ["NULL", "true", "_"].contains(hostile), "{hostile}");
    }
    assert_eq!(server.statements().len(), 0);
    // A column is looked up among those there are.
    for hostile in HOSTILE.iter().chain(&CONTROL) {
        let error = fetch(&source, json!({"table": "t"}), Some(&[hostile]))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("has no column"), "{hostile}: {error}");
    }
    for sql in server.statements() {
        assert!(skeleton(&sql).1.is_empty(), "{sql}");
    }
}
