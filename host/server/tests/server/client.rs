//! A small HTTP client that can also be rude: it sends what it is told to, byte by byte.

use serde_json::Value;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than anything here takes, on a machine that is busy with something else.
pub const LONG: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The data of a good answer, whose envelope is checked.
    #[track_caller]
    pub fn data(&self) -> Value {
        let json = self.json();
        assert!(self.status < 300, "{} {json}", self.status);
        assert_eq!(json["code"], self.status, "{json}");
        json["data"].clone()
    }

    /// The stable name of an error, whose envelope is checked.
    #[track_caller]
    pub fn error(&self) -> String {
        let json = self.json();
        assert!(self.status >= 400, "{} {json}", self.status);
        assert_eq!(json["code"], self.status, "{json}");
        let message = json["message"].as_str().unwrap_or_else(|| panic!("no message: {json}"));
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        json["error"]
            .as_str()
            .unwrap_or_else(|| panic!("no error: {json}"))
            .to_owned()
    }

    #[track_caller]
    pub fn refused(&self, status: u16, error: &str) -> Value {
        assert_eq!((self.status, self.error().as_str()), (status, error), "{}", self.text());
        self.json()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A request as it goes over the wire.
pub fn wire(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head += "host: localhost\r\n";
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" || method == "PATCH" {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head += "connection: close\r\n\r\n";
    [head.as_bytes(), body].concat()
}

pub async fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    raw(to, &wire(method, path, headers, body)).await
}

/// Sends bytes and reads one answer to its end.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(to).await.unwrap();
        let (mut from, mut into) = stream.split();
        // A server that has seen enough answers before it has read everything.
        let sending = async {
            let _ = into.write_all(bytes).await;
            std::future::pending::<()>().await
        };
        let reading = async {
            let mut all = Vec::new();
            let _ = from.read_to_end(&mut all).await;
            all
        };
        tokio::select! {
            all = reading => parse(&all),
            () = sending => unreachable!(),
        }
    };
    timeout(LONG, exchange).await.expect("an answer in time")
}

pub fn parse(all: &[u8]) -> Answer {
    let end = all.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(all)));
    let (status, headers) = head(std::str::from_utf8(&all[..end]).unwrap());
    let mut body = all[end + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|how| how == "chunked") {
        body = unchunked(&body);
    }
    Answer { status, headers, body }
}

fn head(text: &str) -> (u16, HashMap<String, String>) {
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    (status, headers)
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
    body
}

/// An open stream of server-sent events.
pub struct Events {
    stream: BufReader<TcpStream>,
    pub headers: HashMap<String, String>,
    text: String,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    pub id: Option<u64>,
    pub name: Option<String>,
    pub data: Value,
}

impl Events {
    pub async fn open(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(&wire("GET", path, headers, b"")).await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut text = String::new();
        while !text.ends_with("\r\n\r\n") {
            assert_ne!(
                timeout(LONG, stream.read_line(&mut text)).await.unwrap().unwrap(),
                0,
                "{text}"
            );
        }
        let (status, headers) = head(text.trim_end());
        assert_eq!(status, 200, "{text}");
        Events {
            stream,
            headers,
            text: String::new(),
        }
    }

    /// The next block of lines: an event, a comment or a setting; none at the end.
    pub async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block = self.text[..end].to_owned();
                self.text.drain(..end + 2);
                return Some(block);
            }
            let mut size = String::new();
            timeout(LONG, self.stream.read_line(&mut size))
                .await
                .expect("an event in time")
                .unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            if size == 0 {
                return None;
            }
            let mut chunk = vec![0; size + 2];
            timeout(LONG, self.stream.read_exact(&mut chunk))
                .await
                .unwrap()
                .unwrap();
            self.text.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
    }

    /// The next event; comments and settings are skipped.
    pub async fn next(&mut self) -> Option<Sent> {
        loop {
            let block = self.block().await?;
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            };
            if let Some(data) = field("data") {
                return Some(Sent {
                    id: field("id").map(|id| id.parse().unwrap()),
                    name: field("event").map(str::to_owned),
                    data: serde_json::from_str(data).unwrap(),
                });
            }
        }
    }

    /// Everything until the stream ends.
    pub async fn rest(&mut self) -> Vec<Sent> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}
