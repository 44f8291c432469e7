//! Runner processes of the real binary, as a worker has them.

use serde_json::{Value, json};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use trainyard_data::DataFormat;
use trainyard_jobs::{RowColumns, TrainingDataset};
use trainyard_worker::process::{Launcher, Runner};
use trainyard_worker::protocol::{DataFile, Order, PluginIdentity, Report, Task, TaskLimits, files};

/// A launcher of the real binary, and the folder of its runners' scratch folders.
pub fn launcher() -> (TempDir, Launcher) {
    let root = tempfile::tempdir().unwrap();
    let launcher = Launcher::new(program(), root.path().join("scratch")).unwrap();
    (root, launcher)
}

pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_trainyard").into()
}

/// A plugin of the library, if it is built.
pub fn plugin(name: &str) -> Option<PathBuf> {
    crate::common::have_plugins()
        .then(|| Path::new(&std::env::var_os("TRAINYARD_PLUGINS").unwrap()).join(format!("{name}.wasm")))
}

/// The guest that misbehaves, if it is built.
pub fn hostile() -> Option<PathBuf> {
    let folder = std::env::var_os("TRAINYARD_GUESTS");
    if folder.is_none() {
        println!("skipped: TRAINYARD_GUESTS does not name the folder of the built guests; `cargo xtask test` does");
    }
    Some(Path::new(&folder?).join("hostile.wasm"))
}

pub async fn give(runner: &Runner, task: Task, files: &[&File]) {
    let files: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
    runner.send(&Order::Do(Box::new(task)), &files).await.unwrap();
}

/// What a runner says until its task is over, that included. Checkpoints are taken to be stored.
pub async fn heard(runner: &mut Runner) -> Vec<Report> {
    let mut heard = Vec::new();
    loop {
        let report = runner.next().await.unwrap();
        if report == Report::Checkpoint {
            runner.send(&Order::CheckpointStored, &[]).await.unwrap();
        }
        let goes_on = matches!(
            report,
            Report::Prepared { .. } | Report::Progress { .. } | Report::Log { .. } | Report::Checkpoint
        );
        heard.push(report);
        if !goes_on {
            return heard;
        }
    }
}

/// The last word on a task.
pub async fn answer(runner: &mut Runner) -> Report {
    heard(runner).await.pop().unwrap()
}

/// The code and the line of a task that could not be done.
pub fn failed(report: Report) -> (String, String) {
    match report {
        Report::Failed { code, message, .. } => (code, message),
        other => panic!("it did not fail: {other:?}"),
    }
}

pub fn read(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A plugin that a runner has compiled.
pub struct Compiled {
    pub identity: PluginIdentity,
    pub plugin: File,
    pub code: File,
    pub inspection: Value,
}

pub fn inspect() -> Task {
    Task::Inspect {
        name: "plugin.wasm".into(),
        engine: None,
    }
}

/// Has a plugin compiled by a runner of its own.
pub async fn compiled(launcher: &Launcher, plugin: &Path) -> Compiled {
    let mut runner = launcher.start().await.unwrap();
    let file = File::open(plugin).unwrap();
    give(&runner, inspect(), &[&file]).await;
    let inspection = match answer(&mut runner).await {
        Report::Inspected { inspection } => inspection,
        other => panic!("{other:?}"),
    };
    let code = runner.open_result(files::CODE).unwrap();
    runner.kill().await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    Compiled {
        identity: PluginIdentity {
            name: text(&inspection["description"]["name"]),
            version: text(&inspection["description"]["version"]),
            digest: text(&inspection["digest"]),
            engine: None,
        },
        plugin: file,
        code,
        inspection,
    }
}

pub fn limits() -> TaskLimits {
    TaskLimits {
        time_seconds: 120,
        tensor_memory: 1 << 30,
        threads: 1,
        on_card: false,
        tf32: false,
    }
}

/// A training, as a worker orders it.
pub struct Training<'a> {
    pub compiled: &'a Compiled,
    pub dataset: Value,
    pub data: &'a Path,
    pub parameters: Value,
    pub seed: u32,
    pub checkpoint: Option<&'a File>,
}

impl Training<'_> {
    pub async fn order(&self, runner: &Runner) {
        let data = File::open(self.data).unwrap();
        let mut files = vec![&self.compiled.plugin, &self.compiled.code, &data];
        files.extend(self.checkpoint);
        let task = Task::Train {
            plugin: self.compiled.identity.clone(),
            dataset: dataset(&self.dataset),
            data: data_file(self.data.file_name().unwrap().to_str().unwrap()),
            parameters: self.parameters.clone(),
            seed: self.seed,
            limits: limits(),
            resume: self.checkpoint.is_some(),
        };
        give(runner, task, &files).await;
    }
}

/// A file of data, by a name that says how it is written.
pub fn data_file(name: &str) -> DataFile {
    DataFile {
        format: DataFormat::of_name(name).unwrap(),
        name: name.to_owned(),
        columns: RowColumns::default(),
    }
}

/// A data set of a file, with more to say about it.
pub fn dataset(more: &Value) -> TrainingDataset {
    let mut dataset = json!({"source": "file", "path": "anywhere"});
    let object = dataset.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    TrainingDataset::parse(&dataset).unwrap()
}
