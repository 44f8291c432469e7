//! Whatever is sent, the answer is a refusal in our envelope, and the server goes on.

use crate::client::{self, LONG, raw};
use crate::fixture::{BASE, Server};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_none_name_nothing() {
    let server = Server::start().await;
    for id in [
        "abc",
        "0",
        "-1",
        "1.5",
        "9223372036854775807",
        "9223372036854775808",
        "99999999999999999999999",
        "1%20",
        "%27%20OR%201=1--",
        "..",
        "%2e%2e%2f",
        "%ff",
        "1;drop",
        "null",
        "NaN",
        "%F0%9F%9A%82",
    ] {
        let answer = server.get(&format!("/models/{id}")).await;
        answer.refused(404, "not-found");
        let answer = server.post(&format!("/models/{id}/train"), json!({})).await;
        assert!(matches!(answer.status, 404 | 405), "{id}: {}", answer.text());
    }
    server.get("/models/%00").await.refused(400, "nul-character");
    server.get("/models?name=%00").await.refused(400, "nul-character");
    server.get("/models?name=%ff%fe").await.data();
    server
        .get("/datasets/x%27%20OR%20%271%27=%271")
        .await
        .refused(404, "not-found");
    server.get("/plugins/..%2f..%2fetc").await.refused(404, "not-found");
    server.get("/models?cursor=1%27--").await.refused(400, "bad-query");
    assert_eq!(server.get("/datasets?cursor=1%27--").await.status / 100, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_other_routes_and_no_other_methods() {
    let server = Server::start().await;
    for path in [
        "//",
        "//api",
        "//api/v1/ai/models",
        "//api/v2/ai/",
        "//api/v2/ai/nope",
        "//../etc/passwd",
        "//models",
    ] {
        let answer = server.get(path).await;
        if path != "//" {
            answer.refused(404, "not-found");
        }
    }
    for (method, path) in [
        ("PUT", "/models/1"),
        ("DELETE", "/models"),
        ("POST", "//healthz"),
        ("OPTIONS", "/models"),
        ("BREW", "/models"),
    ] {
        let answer = server.send(method, path, &[], b"").await;
        answer.refused(405, "method-not-allowed");
        assert!(
            answer.header("allow").contains("GET"),
            "{method} {path}: {:?}",
            answer.headers
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_not_what_they_should_be_are_placed() {
    let server = Server::start().await;
    let json = [("content-type", "application/json")];
    let send = async |body: &[u8]| server.send("POST", "/models", &json, body).await;
    let at = send(b"{\n  \"name\": ,\n}").await.refused(400, "malformed-json");
    assert_eq!(at["details"]["line"], 2);
    assert!(at["message"].as_str().unwrap().contains("line 2 column"), "{at}");
    send(b"").await.refused(400, "malformed-json");
    send(b"{\"name\":\"x\"").await.refused(400, "malformed-json");
    send(b"{} {}").await.error();
    send(b"\xff\xfe{}").await.refused(400, "malformed-json");
    send(b"{\"name\":\"\xff\"}").await.refused(400, "malformed-json");
    send(b"{\"name\":\"\\ud800\",\"plugin\":\"x\"}")
        .await
        .refused(400, "malformed-json");
    send(b"{\"name\":\"a\\u0000b\",\"plugin\":\"x\"}")
        .await
        .refused(422, "nul-character");
    send(b"{\"name\":\"x\",\"name\":\"y\",\"plugin\":\"x\"}")
        .await
        .refused(422, "invalid-body");
    send("[".repeat(100_000).as_bytes()).await.error();
    let deep = format!(
        "{{\"name\":\"x\",\"plugin\":\"x\",\"training_parameters\":{{\"a\":{}",
        "[".repeat(100_000)
    );
    send(deep.as_bytes()).await.refused(400, "malformed-json");
    let huge = format!(
        "{{\"name\":\"x\",\"plugin\":\"x\",\"training_parameters\":{{\"epochs\":1{}}}}}",
        "0".repeat(400)
    );
    send(huge.as_bytes()).await.refused(400, "malformed-json");
    send(&vec![b' '; (1 << 20) + 1]).await.refused(413, "too-large");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "",
    ] {
        let answer = server.send("POST", "/models", &[("content-type", kind)], b"{}").await;
        answer.refused(415, "unsupported-media-type");
    }
    let mine = [("content-type", "application/merge-patch+json; charset=utf-8")];
    server
        .send("POST", "/models", &mine, b"{}")
        .await
        .refused(422, "invalid-body");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_anything_in_them_are_names() {
    let server = Server::start().await;
    server.upload_plugin("plugin dlinear 0.1.0").await.data();
    for name in [
        "'; DROP TABLE t_ai_models; --",
        "<script>alert(1)</script>",
        "${jndi:ldap://x}",
        "\u{202e}abc",
        "名前 🚂",
        "%s%n",
    ] {
        let made = server
            .post("/models", json!({"name": name, "plugin": "dlinear"}))
            .await
            .data();
        assert_eq!(
            server.get(&format!("/models/{}", made["id"])).await.data()["name"],
            name
        );
    }
    assert_eq!(server.get("/models").await.data()["items"].as_array().unwrap().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_limits() {
    let server = Server::start().await;
    server
        .get(&format!("/models?name={}", "x".repeat(9000)))
        .await
        .refused(414, "uri-too-long");
    server
        .send("GET", "/models", &[("x-large", &"x".repeat(40_000))], b"")
        .await
        .refused(431, "headers-too-large");
    let many: Vec<(String, &str)> = (0..110).map(|i| (format!("x-{i}"), "y")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    server
        .send("GET", "/models", &many, b"")
        .await
        .refused(431, "headers-too-large");
    // What is not HTTP at all ends the connection, and no other.
    for bytes in [
        b"\x16\x03\x01\x02\x00".as_slice(),
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        &[0; 4096],
    ] {
        let mut stream = TcpStream::connect(server.at).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = timeout(LONG, stream.read_to_end(&mut rest))
            .await
            .expect("the connection ends");
    }
    // Two lengths are how requests are smuggled past a proxy.
    let smuggled =
        b"POST /api/v2/ai/models HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 7\r\n\r\n{}GET /x";
    assert_eq!(raw(server.at, smuggled).await.status, 400);
    assert_eq!(server.get("/models").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_its_time_is_not_waited_for() {
    let server = Server::start_with(|options, _| {
        options.head_timeout = Duration::from_millis(300);
        options.body_timeout = Duration::from_millis(300);
    })
    .await;
    let started = Instant::now();
    let mut slow = TcpStream::connect(server.at).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: ").await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(LONG, slow.read_to_end(&mut rest))
        .await
        .expect("the connection ends");
    for path in ["/models", "/datasets?name=a.csv"] {
        let head = format!(
            "POST {BASE}{path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{{"
        );
        let answer = raw(server.at, head.as_bytes()).await;
        answer.refused(408, "request-timeout");
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    let left: Vec<_> = std::fs::read_dir(server.folder.path().join("staging"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_told_so() {
    let server = Server::start_with(|options, _| options.max_connections = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.at).await.unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await
            .unwrap();
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    client::send(server.at, "GET", "/healthz", &[], b"")
        .await
        .refused(503, "too-many-connections");
    held.pop();
    let deadline = Instant::now() + Duration::from_secs(20);
    while client::send(server.at, "GET", "/healthz", &[], b"").await.status != 200 {
        assert!(Instant::now() < deadline, "the place is not free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.at).await.unwrap();
    let head =
        format!("POST {BASE}/datasets?name=a.csv HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\na,b\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let staging = server.folder.path().join("staging");
    // The folder is made by the first upload.
    let count = || std::fs::read_dir(&staging).map_or(0, Iterator::count);
    let deadline = Instant::now() + Duration::from_secs(20);
    while count() == 0 {
        assert!(Instant::now() < deadline, "the upload does not begin");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    while count() > 0 {
        assert!(Instant::now() < deadline, "the upload is left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
