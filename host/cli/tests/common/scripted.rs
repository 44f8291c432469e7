//! A server that answers as a test says: no more of HTTP than that needs.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What was asked.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How often the same was asked before.
    pub times: usize,
}

impl Request {
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path below the API's base.
    pub fn path(&self) -> &str {
        let path = self.target.split('?').next().unwrap();
        path.strip_prefix("/api/v2/ai").unwrap_or(path)
    }

    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is answered: bytes, after which the connection is closed.
#[derive(Debug, Clone)]
pub struct Answer {
    bytes: Vec<u8>,
    wait: Duration,
}

impl Answer {
    /// Whatever bytes.
    pub fn raw(bytes: &str) -> Self {
        Answer {
            bytes: bytes.as_bytes().to_vec(),
            wait: Duration::ZERO,
        }
    }

    /// Nothing at all.
    pub fn hang_up() -> Self {
        Self::raw("")
    }

    pub fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string();
        let length = body.len();
        Self::raw(&format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    pub fn data(data: &Value) -> Self {
        Self::json(200, &json!({"code": 200, "data": data}))
    }

    pub fn error(status: u16, error: &str, message: &str, details: Option<Value>) -> Self {
        Self::json(
            status,
            &json!({"code": status, "error": error, "message": message, "details": details}),
        )
    }

    /// Keeps the connection open for a while.
    pub fn and_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

/// A running server. It ends with the test's process.
pub struct Server {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Server { url, requests }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until something was asked.
    pub fn wait_for(&self, wanted: impl Fn(&Request) -> bool) {
        let start = Instant::now();
        while !self.requests().iter().any(&wanted) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "it was not asked: {:?}",
                self.requests()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &(dyn Fn(&Request) -> Answer + Send + Sync)) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let Some(mut request) = read(&mut reader, &mut writer) else {
        return;
    };
    let answer = {
        let mut seen = seen.lock().unwrap();
        let same = |old: &&Request| old.method == request.method && old.path() == request.path();
        request.times = seen.iter().filter(same).count();
        let answer = answer(&request);
        seen.push(request);
        answer
    };
    // The client may have gone away.
    let _ = writer.write_all(&answer.bytes).and_then(|()| writer.flush());
    std::thread::sleep(answer.wait);
    let _ = writer.shutdown(std::net::Shutdown::Both);
}

fn read(reader: &mut impl BufRead, writer: &mut impl Write) -> Option<Request> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|size| *size > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let by_name: HashMap<_, _> = headers.iter().cloned().collect();
    if by_name.contains_key("expect") {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length = by_name
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        target,
        headers,
        body,
        times: 0,
    })
}

/// A model as a server tells it.
pub fn model(id: i64, name: &str) -> Value {
    json!({
        "id": id, "name": name, "description": "", "plugin": "dlinear", "plugin_version": null, "status": "DRAFT",
        "progress": 0.0, "task_id": "r", "trained_run": null, "training_dataset": null, "training_parameters": {},
        "metrics": {}, "file_path": null, "error_log": null, "started_at": null, "finished_at": null,
        "resource_usage": null, "created_at": "2026-01-31T12:05:09Z", "updated_at": "2026-01-31T12:05:09Z",
        "something_of_a_later_version": 1,
    })
}

/// A run of model 7 in some state.
pub fn run(state: &str) -> Value {
    json!({
        "id": "r", "model_id": 7, "state": state, "progress": 100.0, "attempt": 1, "worker": "w", "stop_requested": false,
        "plugin": "dlinear", "plugin_version": "1.0.0", "plugin_digest": "0", "training_dataset": {},
        "training_parameters": {}, "seed": 1, "limits": {"time_seconds": 1, "memory_mb": 1}, "metrics": {"mse": 0.37412},
        "file_path": null, "checkpoint": null, "error_log": "time-limit: the job was killed", "lineage": null,
        "resource_usage": {"cpu_percent": 90.0, "memory_mb": 80.0, "gpu_util": 0.0, "duration_seconds": 4.2},
        "created_at": "2026-01-31T12:05:09Z", "started_at": null, "finished_at": null,
    })
}
