//! What goes over the socket: the captured conversation, the binary requests, and every fault.

#![allow(clippy::unwrap_used)]

use std::{path::PathBuf, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message},
};
use trainyard_test_tdengine::{DataType, Fault, Generated, On, Precision, Server, Then, User, Value, World};

const SQL: &str = "select * from plant.generated";

/// A client that says exactly what it is told to.
struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn connect(server: &Server) -> Result<Self, Error> {
        let stream = TcpStream::connect(server.address()).await?;
        Ok(Self(
            client_async(format!("ws://{}/ws", server.address()), stream).await?.0,
        ))
    }

    async fn log_in(server: &Server) -> Self {
        let mut client = Self::connect(server).await.unwrap();
        let reply = client
            .ask("conn", json!({"user": "root", "password": "taosdata", "db": ""}))
            .await;
        assert_eq!(reply["code"], 0);
        client
    }

    async fn say(&mut self, action: &str, mut args: Json) {
        args["req_id"] = 7.into();
        self.0
            .send(Message::text(json!({"action": action, "args": args}).to_string()))
            .await
            .unwrap();
    }

    async fn hear(&mut self) -> Option<Result<Message, Error>> {
        timeout(Duration::from_secs(5), self.0.next())
            .await
            .expect("an answer comes")
    }

    async fn ask(&mut self, action: &str, args: Json) -> Json {
        self.say(action, args).await;
        let Some(Ok(Message::Text(text))) = self.hear().await else {
            panic!("{action} is answered in text")
        };
        serde_json::from_str(&text).unwrap()
    }

    async fn query(&mut self, sql: &str) -> Json {
        self.ask("query", json!({ "sql": sql })).await
    }

    async fn block(&mut self, id: &Json) -> Vec<u8> {
        self.say("fetch_block", json!({ "id": id })).await;
        let Some(Ok(Message::Binary(bytes))) = self.hear().await else {
            panic!("a block is bytes")
        };
        bytes.to_vec()
    }

    async fn nothing_comes(&mut self) -> bool {
        timeout(Duration::from_millis(100), self.0.next()).await.is_err()
    }
}

async fn generated(rows: u64) -> Server {
    Server::start(World::generated(Generated::new(rows, 1))).await.unwrap()
}

fn error(code: i32, message: &str) -> Then {
    Then::Error {
        code,
        message: message.into(),
    }
}

/// A reply without what differs from time to time.
fn lasting(reply: &Json) -> Json {
    let mut reply = reply.clone();
    for changing in ["req_id", "timing", "id"] {
        reply.as_object_mut().unwrap().remove(changing);
    }
    reply
}

#[tokio::test]
async fn the_captured_conversation_is_repeated_byte_for_byte() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tdengine-wire");
    if !folder.exists() {
        return println!("skipped: {} is not here", folder.display());
    }
    let transcript: Json = serde_json::from_slice(&std::fs::read(folder.join("transcript.json")).unwrap()).unwrap();
    let server = Server::start(World::captured(&folder).unwrap()).await.unwrap();
    for engine in [false, true] {
        if engine {
            server.with_world(World::forget_recorded_answers);
        }
        let mut client = Client::connect(&server).await.unwrap();
        for step in transcript["login"].as_array().unwrap() {
            let args = step["send"].get("args").cloned().unwrap_or(json!({}));
            let reply = client.ask(step["send"]["action"].as_str().unwrap(), args).await;
            assert_eq!(lasting(&reply), lasting(&step["recv"]));
        }
        for query in transcript["queries"].as_array().unwrap() {
            let reply = client.query(query["sql"].as_str().unwrap()).await;
            assert_eq!(lasting(&reply), lasting(&query["query_reply"]));
            for fetch in query["fetches"].as_array().unwrap() {
                let fetched = client.ask("fetch", json!({ "id": reply["id"] })).await;
                assert_eq!(lasting(&fetched), lasting(&fetch["reply"]));
                let Some(place) = fetch.get("block") else { continue };
                let file = std::fs::read(folder.join(query["blocks_file"].as_str().unwrap())).unwrap();
                let offset = place["offset"].as_u64().unwrap() as usize;
                let block = client.block(&reply["id"]).await;
                assert_eq!(block.len(), place["length"].as_u64().unwrap() as usize);
                assert_eq!(block[8..16], reply["id"].as_u64().unwrap().to_le_bytes());
                if query["name"] != "etth1_daily" || !engine {
                    assert!(
                        block[16..] == file[offset + 16..offset + block.len()],
                        "{}",
                        query["name"]
                    );
                }
            }
        }
    }
    let refused = Client::connect(&server)
        .await
        .unwrap()
        .ask("conn", json!({"user": "root", "password": "no"}))
        .await;
    assert_eq!(lasting(&refused), lasting(&transcript["login_refused"]["recv"]));
}

#[tokio::test]
async fn a_binary_client_gets_count_and_block_at_once() {
    let server = generated(4000).await;
    let mut client = Client::log_in(&server).await;
    let request = |id: u64, action: u64| [7u64, id, action].into_iter().flat_map(u64::to_le_bytes).chain([1, 0]);
    let query: Vec<u8> = request(0, 6)
        .chain((SQL.len() as u32).to_le_bytes())
        .chain(SQL.bytes())
        .collect();
    client.0.send(Message::binary(query)).await.unwrap();
    let Some(Ok(Message::Text(reply))) = client.hear().await else {
        panic!("a query is answered in text")
    };
    let reply: Json = serde_json::from_str(&reply).unwrap();
    assert_eq!((&reply["action"], &reply["code"]), (&json!("binary_query"), &json!(0)));
    let id = reply["id"].as_u64().unwrap();
    let mut finished = Vec::new();
    for rows in [3072u32, 928, 0, 0] {
        client
            .0
            .send(Message::binary(request(id, 7).collect::<Vec<u8>>()))
            .await
            .unwrap();
        let Some(Ok(Message::Binary(answer))) = client.hear().await else {
            panic!("a block is bytes")
        };
        assert_eq!(
            answer[..18],
            [[0xFF; 8], 7u64.to_le_bytes()]
                .concat()
                .into_iter()
                .chain([1, 0])
                .collect::<Vec<_>>()
        );
        assert_eq!(answer[26..34], 7u64.to_le_bytes());
        let code = u32::from_le_bytes(answer[34..38].try_into().unwrap());
        finished.push((code, answer.last().copied()));
        if rows > 0 {
            assert_eq!(
                answer[42..51],
                id.to_le_bytes().into_iter().chain([0]).collect::<Vec<_>>()
            );
            assert_eq!(answer[51..55], (answer.len() as u32 - 55).to_le_bytes());
            assert_eq!(answer[63..67], rows.to_le_bytes());
        }
    }
    assert_eq!(finished[2..], [(0, Some(1)), (0xFFFF, Some(1))]);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let server = generated(1).await;
    let mut client = Client::connect(&server).await.unwrap();
    assert_eq!(client.query(SQL).await["message"], "server not connected");
    let mut client = Client::log_in(&server).await;
    assert_eq!(client.ask("dance", json!({})).await["code"], 0xFFFF);
    assert_eq!(client.ask("fetch", json!({"id": 99})).await["message"], "result is nil");
    let id = client.query(SQL).await["id"].clone();
    assert_eq!(
        client.ask("fetch_block", json!({ "id": id })).await["message"],
        "block is nil"
    );
    client.say("free_result", json!({ "id": id })).await;
    assert_eq!(
        client.ask("fetch", json!({ "id": id })).await["message"],
        "result is nil"
    );
    assert_eq!(server.statements(), [SQL, SQL]);
    client.0.send(Message::Ping("x".into())).await.unwrap();
    assert!(matches!(client.hear().await, Some(Ok(Message::Pong(_)))));
}

#[tokio::test]
async fn faults_of_a_connection() {
    let server = generated(1).await;
    let stream = |then| {
        server.fault(Fault::once(On::Connect, then));
        Client::connect(&server)
    };
    assert!(timeout(Duration::from_millis(100), stream(Then::Hang)).await.is_err());
    assert!(stream(Then::Drop).await.is_err());
    assert!(stream(Then::Garbage).await.is_err());
    assert!(stream(Then::BadText).await.is_err());
    assert!(stream(Then::Delay(Duration::from_millis(1))).await.is_ok());
    let Err(Error::Http(response)) = stream(error(503, "busy")).await else {
        panic!("refused by HTTP")
    };
    assert_eq!(response.status(), 503);
    let mut closed = stream(Then::CloseFrame(1001, "away".into())).await.unwrap();
    assert!(matches!(closed.hear().await, Some(Ok(Message::Close(Some(frame)))) if frame.reason == "away"));
    assert!(Client::connect(&server).await.is_ok());
}

#[tokio::test]
async fn faults_of_version_login_and_query() {
    let server = generated(1).await;
    server.fault(Fault::always(On::Version, Then::BadText));
    let mut client = Client::connect(&server).await.unwrap();
    for _ in 0..2 {
        client.say("version", json!({})).await;
        assert!(matches!(client.hear().await, Some(Ok(Message::Text(text))) if !text.starts_with('{')));
    }
    server.fault(Fault {
        on: On::Login,
        then: error(855, "no"),
        times: Some(1),
    });
    assert_eq!(
        client
            .ask("conn", json!({"user": "root", "password": "taosdata"}))
            .await["message"],
        "no"
    );

    let mut client = Client::log_in(&server).await;
    server.fault(Fault::once(On::Query("generated".into()), Then::Hang));
    server.fault(Fault::once(
        On::Query(String::new()),
        Then::Delay(Duration::from_millis(200)),
    ));
    client.say("query", json!({ "sql": SQL })).await;
    assert!(client.nothing_comes().await);
    client.say("query", json!({ "sql": SQL })).await;
    assert_eq!(
        client.query(SQL).await["id"],
        1,
        "another request is answered meanwhile"
    );
    assert!(matches!(client.hear().await, Some(Ok(Message::Text(_)))));

    server.fault(Fault::once(On::Query(String::new()), Then::DropMidMessage));
    client.say("query", json!({ "sql": SQL })).await;
    assert!(!matches!(client.hear().await, Some(Ok(_))));

    server.fault(Fault::always(On::Query(String::new()), Then::Drop));
    server.clear_faults();
    assert_eq!(Client::log_in(&server).await.query(SQL).await["code"], 0);
}

#[tokio::test]
async fn faults_of_a_block() {
    let server = generated(10_000).await;
    let fetch = async |then: Then| {
        server.clear_faults();
        server.fault(Fault::once(
            On::Block {
                query: "generated".into(),
                after: 1,
            },
            then,
        ));
        let mut client = Client::log_in(&server).await;
        let id = client.query(SQL).await["id"].clone();
        assert_eq!(client.ask("fetch", json!({ "id": id })).await["rows"], 3072);
        client.block(&id).await;
        client.say("fetch", json!({ "id": id })).await;
        (client, id)
    };
    let text = async |client: &mut Client| match client.hear().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str::<Json>(&text).unwrap(),
        other => panic!("text comes, not {other:?}"),
    };

    let (mut client, _) = fetch(Then::End).await;
    assert_eq!(text(&mut client).await["completed"], true);

    let (mut client, _) = fetch(error(0x0405, "gone")).await;
    assert_eq!(text(&mut client).await["code"], 0x0405);

    let (mut client, _) = fetch(Then::Hang).await;
    assert!(client.nothing_comes().await);

    let (mut client, _) = fetch(Then::Drop).await;
    assert!(!matches!(client.hear().await, Some(Ok(_))));

    let (mut client, id) = fetch(Then::LoseRows(72)).await;
    assert_eq!(text(&mut client).await["rows"], 3072);
    let block = client.block(&id).await;
    assert_eq!(block[24..28], 3000u32.to_le_bytes());

    let (mut client, id) = fetch(Then::Garbage).await;
    assert_eq!(text(&mut client).await["rows"], 3072);
    let block = client.block(&id).await;
    assert_eq!(block[8..16], id.as_u64().unwrap().to_le_bytes());
    assert_ne!(block[16..20], 1u32.to_le_bytes());

    let before = server.blocks_sent();
    let (mut client, id) = fetch(Then::DropMidMessage).await;
    assert_eq!(text(&mut client).await["rows"], 3072);
    client.say("fetch_block", json!({ "id": id })).await;
    assert!(!matches!(client.hear().await, Some(Ok(_))));
    assert_eq!(server.blocks_sent(), before + 2);
}

#[tokio::test]
async fn a_dropped_server_is_gone_at_once_and_its_port_is_free() {
    let server = generated(1).await;
    let port = server.address().port();
    let mut client = Client::log_in(&server).await;
    assert_eq!(server.connections(), 1);
    drop(server);
    assert!(!matches!(client.hear().await, Some(Ok(_))), "no close frame comes");
    let again = Server::start_at(World::empty(), port).await.unwrap();
    Client::log_in(&again).await;
}

#[tokio::test]
async fn a_reader_may_read_one_database_and_no_more() {
    let mut world = World::empty();
    for name in ["open", "secret"] {
        world
            .create_database(name, Precision::Milliseconds)
            .create_table(
                &format!("{name}.t"),
                &[("ts", DataType::Timestamp), ("v", DataType::Int)],
            )
            .insert(&format!("{name}.t"), [vec![Value::from(0i64), Value::from(1)]]);
    }
    world.users.push(User::reader("eve", "eve", "open"));
    let server = Server::start(world).await.unwrap();
    let mut client = Client::connect(&server).await.unwrap();
    let login = client
        .ask("conn", json!({"user": "eve", "password": "eve", "db": "open"}))
        .await;
    assert_eq!(login["code"], 0);
    assert_eq!(client.query("select v from t").await["code"], 0);
    let denied = "Permission denied or target object not exist";
    for sql in [
        "select v from secret.t",
        "insert into open.t values (1, 1)",
        "drop database open",
    ] {
        assert_eq!(client.query(sql).await["message"], denied, "{sql}");
    }
    let privileges = server.with_world(|world| {
        let table = "information_schema.ins_user_privileges";
        world.execute(&format!(
            "select user_name, privilege, db_name, table_name from {table} where user_name = 'eve'"
        ))
    });
    assert_eq!(
        privileges.unwrap(),
        [["eve", "read", "open", ""].map(|text| Value::VarChar(text.into()))]
    );
    let root = server.with_world(|world| {
        world.execute("select name, super, sysinfo from information_schema.ins_users where name = 'root'")
    });
    assert_eq!(
        root.unwrap(),
        [[Value::VarChar("root".into()), Value::TinyInt(1), Value::TinyInt(1)]]
    );
}
