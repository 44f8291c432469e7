//! A real `trainyard up` in a folder of its own, and what `curl` would do to it.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A plugin that `cargo xtask test` has built; without it a test says that it skips.
pub fn plugin(name: &str) -> Option<PathBuf> {
    let found = ["TRAINYARD_PLUGINS", "TRAINYARD_GUESTS"]
        .iter()
        .filter_map(std::env::var_os)
        .map(|folder| Path::new(&folder).join(format!("{name}.wasm")))
        .find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: the plugin {name} is not built; `cargo xtask test` does it");
    }
    found
}

/// A service under test. Killed when it goes out of scope.
pub struct Service {
    pub folder: tempfile::TempDir,
    /// `up` or `serve`.
    part: &'static str,
    process: Child,
    pub address: String,
    settings: Vec<(String, String)>,
}

/// An answer of the service.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// What is in the envelope, which must be as the original's.
    #[track_caller]
    pub fn data(&self) -> Value {
        let answer = self.json();
        assert!((200..300).contains(&self.status), "{} {answer}", self.status);
        assert_eq!(answer["code"], self.status, "{answer}");
        answer["data"].clone()
    }

    /// The error's name; the status must be this one.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        let answer = self.json();
        assert_eq!(self.status, status, "{answer}");
        assert_eq!(answer["code"], status, "{answer}");
        assert!(
            answer["message"].as_str().is_some_and(|text| !text.is_empty()),
            "{answer}"
        );
        answer["error"].as_str().unwrap().to_owned()
    }
}

impl Service {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With settings as environment variables, such as `TRAINYARD_WORKER_SLOTS`.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::launched(folder, "up", settings)
    }

    /// Another service, whose files are those of a first: as two machines with a disk in common.
    pub fn beside(first: &Self, settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let files = folder.path().join("data/artifacts");
        std::os::unix::fs::symlink(first.data_dir().join("artifacts"), files).unwrap();
        Self::launched(folder, "up", settings)
    }

    /// A server that takes no trainings.
    pub fn serving(settings: &[(&str, &str)]) -> Self {
        Self::launched(tempfile::tempdir().unwrap(), "serve", settings)
    }

    fn launched(folder: tempfile::TempDir, part: &'static str, settings: &[(&str, &str)]) -> Self {
        let settings: Vec<_> = settings
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let (process, address) = launch(folder.path(), part, &settings);
        Service {
            folder,
            part,
            process,
            address,
            settings,
        }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits until the process is gone; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let limit = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < limit, "the service does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts again over the same folder, after it has ended.
    pub fn start_again(&mut self) {
        (self.process, self.address) = launch(self.folder.path(), self.part, &self.settings);
    }

    /// The runner processes that are there.
    pub fn runners(&self) -> Vec<u32> {
        children(self.pid())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("Content-Type", "application/json")];
        self.request("POST", path, &headers, body.to_string().as_bytes())
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], b"")
    }

    /// One request, one connection.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if method != "GET" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(body);
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        let mut bytes = Vec::new();
        read_body(&mut reader, &headers, &mut bytes);
        Answer { status, bytes }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Opens a live stream.
    pub fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut stream = self.connect();
        let mut head = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n",
            self.address
        );
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        assert_eq!(status, 200, "{headers:?}");
        Events {
            reader: Box::new(BufReader::new(Chunked { inner: reader, left: 0 })),
        }
    }

    /// One of the commands that ask a service.
    pub fn cli(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_trainyard"))
            .args(arguments)
            .args(["--url", &format!("http://{}", self.address)])
            .current_dir(self.folder.path())
            .env_remove("TRAINYARD_CONFIG")
            .env("XDG_CONFIG_HOME", self.folder.path())
            .output()
            .unwrap()
    }

    // What users do, in one line each.

    pub fn upload_plugin(&self, file: &Path) -> Value {
        let content = std::fs::read(file).unwrap();
        let headers = [("Content-Type", "application/wasm")];
        self.request("POST", "/api/v2/ai/plugins", &headers, &content).data()
    }

    pub fn upload_csv(&self, name: &str, content: &str) -> String {
        let headers = [("Content-Type", "text/csv")];
        let path = format!("/api/v2/ai/datasets?name={name}");
        let data = self.request("POST", &path, &headers, content.as_bytes()).data();
        data["id"].as_str().unwrap().to_owned()
    }

    pub fn create_model(&self, name: &str, plugin: &str, dataset: &Value, parameters: &Value) -> i64 {
        let model = self.post(
            "/api/v2/ai/models",
            &json!({"name": name, "plugin": plugin, "training_dataset": dataset, "training_parameters": parameters}),
        );
        model.data()["id"].as_i64().unwrap()
    }

    /// The hostile plugin in one of its modes, on a small table.
    pub fn create_hostile(&self, mode: &str) -> Option<i64> {
        self.upload_plugin(&plugin("hostile")?);
        let rows: String = (0..40).map(|i| format!("{i},{}\n", 2 * i)).collect();
        let id = self.upload_csv("line.csv", &format!("x,y\n{rows}"));
        let dataset = json!({"source": "upload", "dataset_id": id, "task": "regression", "target": "y"});
        Some(self.create_model(mode, "hostile", &dataset, &json!({"mode": mode})))
    }

    /// A forecaster of the weather in Seattle that takes so many epochs, of some 30 steps.
    pub fn create_weather(&self, epochs: u32) -> Option<i64> {
        self.create_forecaster(&json!({"epochs": epochs, "patience": 0}))
    }

    /// The same with some 1000 steps an epoch.
    pub fn create_slow_weather(&self, epochs: u32) -> Option<i64> {
        self.create_forecaster(&json!({"epochs": epochs, "patience": 0, "batch_size": 1}))
    }

    fn create_forecaster(&self, parameters: &Value) -> Option<i64> {
        self.upload_plugin(&plugin("dlinear")?);
        let csv = std::fs::read_to_string(root().join("examples/data/seattle-weather.csv")).unwrap();
        let id = self.upload_csv("seattle-weather.csv", &csv);
        let dataset = json!({"source": "upload", "dataset_id": id, "time": "date", "target": ["temp_max", "temp_min"],
            "lookback": 60, "horizon": 7});
        Some(self.create_model("weather", "dlinear", &dataset, parameters))
    }

    pub fn model(&self, id: i64) -> Value {
        self.get(&format!("/api/v2/ai/models/{id}")).data()
    }

    pub fn run(&self, id: i64, run: &str) -> Value {
        self.get(&format!("/api/v2/ai/models/{id}/runs/{run}")).data()
    }

    pub fn train(&self, id: i64, body: &Value) -> String {
        let data = self.post(&format!("/api/v2/ai/models/{id}/train"), body).data();
        assert_eq!(data["status"], "PENDING");
        data["task_id"].as_str().unwrap().to_owned()
    }

    pub fn stop(&self, id: i64) -> Answer {
        self.post(&format!("/api/v2/ai/models/{id}/stop"), &json!({}))
    }

    /// Waits until a model is in one of these; what it is then.
    #[track_caller]
    pub fn wait_for(&self, id: i64, statuses: &[&str]) -> Value {
        let limit = Instant::now() + PATIENCE;
        loop {
            let model = self.model(id);
            let status = model["status"].as_str().unwrap();
            if statuses.contains(&status) {
                return model;
            }
            assert!(Instant::now() < limit, "never {statuses:?}: {model}");
            assert!(
                !statuses.contains(&"TRAINED") || status != "ERROR",
                "{}",
                model["error_log"]
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn eventually(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < limit, "never: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The files below a folder of the data folder.
    pub fn files(&self, below: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.data_dir().join(below)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(self.data_dir()).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program over a folder, with settings and none of whoever runs the tests. Its errors go to a file there.
pub fn program(folder: &Path, arguments: &[&str], settings: &[(String, String)]) -> Command {
    let errors = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("errors.txt"))
        .unwrap();
    let built = env!("CARGO_BIN_EXE_trainyard");
    let other = settings.iter().find(|(name, _)| name == "TRAINYARD_TEST_PROGRAM");
    let mut command = Command::new(other.map_or(built, |(_, program)| program));
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(folder.join("data"))
        .current_dir(folder)
        .env_remove("TRAINYARD_CONFIG")
        .env("XDG_CONFIG_HOME", folder)
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .stderr(errors);
    command
}

fn launch(folder: &Path, part: &str, settings: &[(String, String)]) -> (Child, String) {
    let mut process = program(folder, &[part, "--listen", "127.0.0.1:0"], settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let address = loop {
        let Some(Ok(line)) = lines.next() else {
            let errors = std::fs::read_to_string(folder.join("errors.txt")).unwrap_or_default();
            panic!("the service did not start: {errors}");
        };
        if let Some((_, address)) = line.split_once("at http://") {
            break address.trim().to_owned();
        }
    };
    // Nobody reads what follows, but it must not block.
    std::thread::spawn(move || lines.for_each(drop));
    (process, address)
}

/// The processes that another has started.
pub fn children(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name is in parentheses and may hold anything; state and parent follow.
        let mut words = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        if words.next() != Some("Z") && words.next() == Some(&of.to_string()) {
            found.push(pid);
        }
    }
    found
}

/// Sends a signal to a process, by its name.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "kill -s {name} {pid}");
}

/// One event of a live stream.
#[derive(Debug, Clone)]
pub struct Event {
    pub id: Option<u64>,
    pub name: String,
    pub data: Value,
}

/// A live stream.
pub struct Events {
    reader: Box<dyn BufRead + Send>,
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut event = Event {
            id: None,
            name: String::new(),
            data: Value::Null,
        };
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() && !event.data.is_null() {
                return Some(event);
            }
            match line.split_once(": ") {
                Some(("id", id)) => event.id = id.parse().ok(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                // Comments and the time to reconnect.
                _ => {}
            }
        }
    }
}

fn read_head(reader: &mut impl BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line
        .split(' ')
        .nth(1)
        .unwrap_or_else(|| panic!("no answer: {line:?}"))
        .parse()
        .unwrap();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => return (status, headers),
        }
    }
}

fn read_body(reader: &mut BufReader<TcpStream>, headers: &[(String, String)], bytes: &mut Vec<u8>) {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    if header("transfer-encoding") == Some("chunked") {
        Chunked { inner: reader, left: 0 }.read_to_end(bytes).unwrap();
    } else if let Some(length) = header("content-length") {
        reader.take(length.parse().unwrap()).read_to_end(bytes).unwrap();
    } else {
        reader.read_to_end(bytes).unwrap();
    }
}

/// Takes HTTP's chunks off a body.
struct Chunked<R> {
    inner: R,
    left: usize,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            self.inner.read_line(&mut line)?;
            if line.trim().is_empty() {
                // The end of the chunk before, or of everything.
                line.clear();
                if self.inner.read_line(&mut line)? == 0 {
                    return Ok(0);
                }
            }
            self.left = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            if self.left == 0 {
                return Ok(0);
            }
        }
        let wanted = buffer.len().min(self.left);
        let read = self.inner.read(&mut buffer[..wanted])?;
        self.left -= read;
        Ok(read)
    }
}
