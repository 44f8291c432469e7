//! Live streams as WebSockets, with the few lines of the protocol that a client needs.

use crate::client::LONG;
use crate::fixture::{BASE, Server};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use trainyard_jobs::{Event, RunState};

struct Socket(TcpStream);

#[derive(Debug, PartialEq)]
enum Frame {
    Text(Value),
    Ping,
    Close,
}

impl Socket {
    async fn open(server: &Server, path: &str) -> Self {
        let mut stream = TcpStream::connect(server.at).await.unwrap();
        let request = format!(
            "GET {BASE}{path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LONG, stream.read_u8()).await.unwrap().unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        assert!(
            head.to_ascii_lowercase().contains("s3pplmbitxaq9kygzzhzrbk+xoo="),
            "{head}"
        );
        Socket(stream)
    }

    async fn next(&mut self) -> Frame {
        let read = async {
            let kind = self.0.read_u8().await.unwrap();
            let length = match self.0.read_u8().await.unwrap() {
                126 => self.0.read_u16().await.unwrap().into(),
                127 => self.0.read_u64().await.unwrap(),
                short => short.into(),
            };
            let mut content = vec![0; length.try_into().unwrap()];
            self.0.read_exact(&mut content).await.unwrap();
            match kind & 0x0f {
                1 => Frame::Text(serde_json::from_slice(&content).unwrap()),
                8 => Frame::Close,
                9 => Frame::Ping,
                other => panic!("a frame of kind {other}"),
            }
        };
        timeout(LONG, read).await.expect("a frame in time")
    }

    /// A frame of at most 125 bytes, masked as clients have to, with a mask that changes nothing.
    async fn send(&mut self, kind: u8, content: &[u8]) {
        let head = [0x80 | kind, 0x80 | content.len() as u8, 0, 0, 0, 0];
        self.0.write_all(&[&head, content].concat()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_gets_one_json_text_an_event_and_is_closed_after_the_end() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    let mut socket = Socket::open(&server, &format!("/models/{model}/logs/stream")).await;
    let Frame::Text(status) = socket.next().await else {
        panic!("no text")
    };
    assert_eq!(
        (&status["event"], &status["data"]["status"]),
        (&json!("status"), &json!("PENDING"))
    );
    let id = server.log(model, &run, "hello").await;
    let Frame::Text(line) = socket.next().await else {
        panic!("no text")
    };
    assert_eq!(
        (&line["id"], &line["event"], &line["data"]["message"]),
        (&json!(id), &json!("log"), &json!("hello"))
    );
    // What a client says is not listened to, but for its goodbye.
    socket.send(1, b"{\"hello\":1}").await;
    server.finish(&run).await;
    server
        .publish(
            model,
            &run,
            Event::End {
                status: RunState::Trained,
                error: None,
            },
        )
        .await;
    let Frame::Text(end) = socket.next().await else {
        panic!("no text")
    };
    assert_eq!(end["event"], "end");
    assert_eq!(socket.next().await, Frame::Close);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_socket_is_pinged() {
    let server = Server::start_with(|options, _| options.keep_alive = Duration::from_millis(100)).await;
    let model = server.model().await;
    server.train(model).await;
    let mut socket = Socket::open(&server, &format!("/models/{model}/logs/stream")).await;
    let mut pings = 0;
    while pings < 2 {
        if socket.next().await == Frame::Ping {
            socket.send(10, b"").await;
            pings += 1;
        }
    }
    // A client that says goodbye is let go.
    socket.send(8, b"").await;
    let mut rest = Vec::new();
    timeout(LONG, socket.0.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn half_an_upgrade_is_refused() {
    let server = Server::start().await;
    let model = server.model().await;
    let headers = [("upgrade", "websocket")];
    let answer = server
        .send("GET", &format!("/models/{model}/logs/stream"), &headers, b"")
        .await;
    answer.refused(400, "bad-upgrade");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_shutdown_streams_end_and_the_server_does() {
    let mut server = Server::start().await;
    let model = server.model().await;
    server.train(model).await;
    let path = format!("/models/{model}/logs/stream?follow=true");
    let mut socket = Socket::open(&server, &path).await;
    let mut events = server.events(&path, &[]).await;
    assert!(events.next().await.is_some());
    server.stop.take().unwrap().send(()).unwrap();
    events.rest().await;
    while socket.next().await != Frame::Close {}
    drop(socket);
    timeout(LONG, server.task).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(server.at).await.is_err());
}
