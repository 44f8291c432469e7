//! The service under load: how quickly it answers, starts a training, and tells what happens. `cargo xtask bench service`.
//!
//! It starts a real `trainyard up` (the program that `TRAINYARD` names) in a folder of its own, with plugins from
//! `TRAINYARD_PLUGINS` and `TRAINYARD_GUESTS`, and talks to it as any client does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use trainyard_benches::up::Up;

/// Requests whose time is taken while all cores train.
const REQUESTS: usize = 3_000;
/// Trainings whose start is timed.
const STARTS: usize = 30;
/// Live streams open at the same time.
const CLIENTS: usize = 200;

fn main() -> std::process::ExitCode {
    trainyard_benches::report(run)
}

fn run() -> Result<()> {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(["", "p50", "p99", "worst", "aim"]);
    let mut row = |what: &str, mut times: Vec<Duration>, aim: &str| {
        times.sort();
        let at = |share: f64| milliseconds(times[((times.len() - 1) as f64 * share).round() as usize]);
        table.add_row([what.into(), at(0.5), at(0.99), at(1.0), aim.to_owned()]);
    };

    let service = Service::start()?;
    let cores = std::thread::available_parallelism()?.get();
    println!("{cores} cores; each measurement in a service of its own, optimised build");

    row(
        "GET a model, at rest",
        service.answers(service.model("dlinear", json!({"epochs": 1}))?)?,
        "",
    );
    let busy: Vec<i64> = (0..cores).map(|_| service.train_long()).collect::<Result<_>>()?;
    row(
        "GET a model, all cores training",
        service.answers(busy[0])?,
        "p99 20 ms",
    );
    drop(service);

    let service = Service::start()?;
    row("submit to first progress, warm", service.starts()?, "100 ms");
    drop(service);

    let service = Service::start()?;
    row("push of a new .py to first progress", service.pushes()?, "500 ms");
    drop(service);

    let service = Service::start()?;
    row("progress to 200 live streams", service.live()?, "p50 5 ms, p99 25 ms");
    drop(service);
    println!("{table}");

    let service = Service::start()?;
    let (lines, seconds) = service.log_lines()?;
    println!("full log of a job that logs 100000 lines: {lines} lines, job took {seconds:.2} s");
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// A service in a folder of its own, ended with this value.
struct Service(Up);

impl Service {
    fn start() -> Result<Self> {
        Ok(Service(Up::start()?))
    }

    fn connect(&self) -> Result<Client> {
        let stream = TcpStream::connect(&self.0.address)?;
        stream.set_nodelay(true)?;
        Ok(Client {
            address: self.0.address.clone(),
            reader: BufReader::new(stream),
        })
    }

    fn call(&self, method: &str, path: &str, body: &[u8], kind: &str) -> Result<Value> {
        self.connect()?.call(method, path, body, kind)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.call("POST", path, body.to_string().as_bytes(), "application/json")
    }

    /// A model of a plugin, ready to train.
    fn model(&self, plugin: &str, parameters: Value) -> Result<i64> {
        let content = std::fs::read(find(plugin)?)?;
        self.call("POST", "/api/v2/ai/plugins", &content, "application/wasm")?;
        let (csv, mut dataset) = match plugin {
            "hostile" => (
                (0..40).fold("x,y\n".to_owned(), |csv, i| csv + &format!("{i},{}\n", 2 * i)),
                json!({"task": "regression", "target": "y"}),
            ),
            _ => (
                std::fs::read_to_string("examples/data/seattle-weather.csv")?,
                json!({"time": "date", "target": ["temp_max", "temp_min"], "lookback": 60, "horizon": 7}),
            ),
        };
        let id = self.call("POST", "/api/v2/ai/datasets?name=data.csv", csv.as_bytes(), "text/csv")?["id"].clone();
        dataset["source"] = json!("upload");
        dataset["dataset_id"] = id;
        let body =
            json!({"name": plugin, "plugin": plugin, "training_dataset": dataset, "training_parameters": parameters});
        self.post("/api/v2/ai/models", &body)?["id"].as_i64().context("no id")
    }

    fn train(&self, model: i64) -> Result<()> {
        self.post(&format!("/api/v2/ai/models/{model}/train"), &json!({}))
            .map(drop)
    }

    fn wait(&self, model: i64, status: &str) -> Result<()> {
        loop {
            let now = self.call("GET", &format!("/api/v2/ai/models/{model}"), b"", "")?;
            if now["status"] == status {
                return Ok(());
            }
            if now["status"] == "ERROR" {
                bail!("{}", now["error_log"]);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn train_long(&self) -> Result<i64> {
        let model = self.model("dlinear", json!({"epochs": 1000, "batch_size": 1, "patience": 0}))?;
        self.train(model)?;
        self.wait(model, "TRAINING")?;
        Ok(model)
    }

    fn answers(&self, model: i64) -> Result<Vec<Duration>> {
        let mut client = self.connect()?;
        let path = format!("/api/v2/ai/models/{model}");
        let mut times = Vec::with_capacity(REQUESTS);
        for _ in 0..REQUESTS {
            let started = Instant::now();
            client.call("GET", &path, b"", "")?;
            times.push(started.elapsed());
            // As many clients that poll do together, not as fast as one can.
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(times)
    }

    fn starts(&self) -> Result<Vec<Duration>> {
        let model = self.model("dlinear", json!({"epochs": 2}))?;
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let mut events = self
                .connect()?
                .stream(&format!("/api/v2/ai/models/{model}/logs/stream?follow=true&after=0"))?;
            // Lets the warm runner be there again, and skips what is remembered of earlier runs.
            std::thread::sleep(Duration::from_millis(300));
            let submitted = SystemTime::now();
            let started = Instant::now();
            self.train(model)?;
            loop {
                let (name, data) = events.next()?;
                if name == "progress" && stamped(&data)? >= submitted {
                    times.push(started.elapsed());
                    break;
                }
            }
            self.wait(model, "TRAINED")?;
        }
        Ok(times)
    }

    /// A plugin of Python source that nobody has seen before: uploaded, made a model of, submitted, until it reports progress.
    fn pushes(&self) -> Result<Vec<Duration>> {
        let csv = std::fs::read_to_string("examples/data/seattle-weather.csv")?;
        let dataset = self.call("POST", "/api/v2/ai/datasets?name=data.csv", csv.as_bytes(), "text/csv")?["id"].clone();
        let source = std::fs::read_to_string("examples/python/forecast_mlp.py")?;
        let mut times = Vec::new();
        for push in 0..=STARTS {
            let source = source.replace("    tasks =", &format!("    version = \"0.0.{push}\"\n    tasks ="));
            let started = Instant::now();
            self.call("POST", "/api/v2/ai/plugins", source.as_bytes(), "text/x-python")?;
            let body = json!({
                "name": "weather", "plugin": "forecast-mlp", "training_parameters": {"steps": 50},
                "training_dataset": {
                    "source": "upload", "dataset_id": dataset, "time": "date", "target": ["temp_max"], "lookback": 14, "horizon": 3,
                },
            });
            let model = self.post("/api/v2/ai/models", &body)?["id"].as_i64().context("no id")?;
            let mut events = self
                .connect()?
                .stream(&format!("/api/v2/ai/models/{model}/logs/stream?follow=true&after=0"))?;
            self.train(model)?;
            while events.next()?.0 != "progress" {}
            // The first one waits for the engine to be compiled.
            if push > 0 {
                times.push(started.elapsed());
            }
            self.wait(model, "TRAINED")?;
            std::thread::sleep(Duration::from_millis(300));
        }
        Ok(times)
    }

    fn live(&self) -> Result<Vec<Duration>> {
        let model = self.train_long()?;
        let (told, heard) = mpsc::channel();
        for _ in 0..CLIENTS {
            let mut events = self
                .connect()?
                .stream(&format!("/api/v2/ai/models/{model}/logs/stream"))?;
            let told = told.clone();
            let since = SystemTime::now() + Duration::from_secs(2);
            std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
                while let Ok((name, data)) = events.next() {
                    let now = SystemTime::now();
                    if name != "progress" || now < since {
                        continue;
                    }
                    let Ok(stamp) = stamped(&data) else { continue };
                    if told.send(now.duration_since(stamp).unwrap_or_default()).is_err() {
                        return;
                    }
                }
            })?;
        }
        let until = Instant::now() + Duration::from_secs(12);
        let mut times = Vec::new();
        while Instant::now() < until {
            if let Ok(time) = heard.recv_timeout(Duration::from_millis(100)) {
                times.push(time);
            }
        }
        println!("{} events reached {CLIENTS} live streams in 10 s", times.len());
        Ok(times)
    }

    fn log_lines(&self) -> Result<(usize, f64)> {
        let model = self.model("hostile", json!({"mode": "log-flood"}))?;
        let started = Instant::now();
        self.train(model)?;
        self.wait(model, "TRAINED")?;
        let seconds = started.elapsed().as_secs_f64();
        let mut client = self.connect()?;
        let log = client
            .bytes(
                "GET",
                &format!("/api/v2/ai/models/{model}/artifact?file=log.jsonl"),
                b"",
                "",
            )?
            .1;
        let lines = String::from_utf8_lossy(&log)
            .lines()
            .filter(|line| line.contains("\"line "))
            .count();
        Ok((lines, seconds))
    }
}

/// When the runner told of it.
fn stamped(data: &Value) -> Result<SystemTime> {
    let at = data["timestamp"].as_str().context("no time in a progress event")?;
    Ok(chrono::DateTime::parse_from_rfc3339(at)?.into())
}

fn find(plugin: &str) -> Result<PathBuf> {
    ["TRAINYARD_PLUGINS", "TRAINYARD_GUESTS"]
        .iter()
        .filter_map(std::env::var_os)
        .map(|folder| Path::new(&folder).join(format!("{plugin}.wasm")))
        .find(|path| path.is_file())
        .with_context(|| format!("the plugin {plugin} is not built"))
}

/// One connection.
struct Client {
    address: String,
    reader: BufReader<TcpStream>,
}

impl Client {
    fn call(&mut self, method: &str, path: &str, body: &[u8], kind: &str) -> Result<Value> {
        let (status, body) = self.bytes(method, path, body, kind)?;
        let answer: Value = serde_json::from_slice(&body)?;
        if status >= 300 {
            bail!("{method} {path}: {status} {answer}");
        }
        Ok(answer["data"].clone())
    }

    fn bytes(&mut self, method: &str, path: &str, body: &[u8], kind: &str) -> Result<(u16, Vec<u8>)> {
        let (status, length) = self.head(method, path, body, kind)?;
        let mut content = Vec::new();
        match length {
            Some(length) => drop((&mut self.reader).take(length).read_to_end(&mut content)?),
            None => {
                while let Some(chunk) = self.chunk()? {
                    content.extend(chunk);
                }
            }
        }
        Ok((status, content))
    }

    /// Sends a request and reads the head of the answer: the status, and the body's length if it is known.
    fn head(&mut self, method: &str, path: &str, body: &[u8], kind: &str) -> Result<(u16, Option<u64>)> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if method != "GET" {
            request += &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        }
        let mut request = format!("{request}\r\n").into_bytes();
        request.extend(body);
        self.reader.get_mut().write_all(&request)?;
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let status = line
            .split(' ')
            .nth(1)
            .with_context(|| format!("no answer: {line:?}"))?
            .parse()?;
        let mut length = None;
        loop {
            line.clear();
            self.reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                return Ok((status, length));
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.parse()?);
            }
        }
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).with_context(|| format!("no chunk: {line:?}"))?;
        let mut chunk = vec![0; length + 2];
        self.reader.read_exact(&mut chunk)?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    fn stream(mut self, path: &str) -> Result<Events> {
        let (status, _) = self.head("GET", path, b"", "")?;
        if status != 200 {
            bail!("{path}: {status}");
        }
        Ok(Events {
            client: self,
            text: String::new(),
        })
    }
}

/// A live stream.
struct Events {
    client: Client,
    text: String,
}

impl Events {
    /// The next event: its name and data.
    fn next(&mut self) -> Result<(String, Value)> {
        loop {
            while let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    let name = field("event: ").unwrap_or_default().to_owned();
                    return Ok((name, serde_json::from_str(data)?));
                }
            }
            let chunk = self.client.chunk()?.context("the stream ended")?;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
    }
}
