//! Rows from a server that speaks TDengine's protocol to the dataset file and on to batches, beside taos-ws-py and pandas.
//! Run it by `cargo xtask bench data`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use comfy_table::Table;
use serde_json::{Value, json};
use trainyard_data::tdengine::{DeviceQuery, Options, Request, Tdengine};
use trainyard_data::{
    BatchOptions, DType, DataFormat, Dataset, Frame, PrepareSpec, ReadOptions, SplitName, Task, Window,
};

/// Columns of numbers, besides the time.
const COLUMNS: usize = 7;
/// Rows of the comparison.
const COMPARED: u64 = 2_000_000;
/// How often both are measured, in turn.
const ROUNDS: usize = 3;
/// Rows whose memory is compared.
const SIZES: [u64; 3] = [1_000_000, 10_000_000, 100_000_000];

fn main() -> ExitCode {
    trainyard_benches::report(|| {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            // One measurement in a process of its own: its memory is all of it.
            ["one", dsn, train] => {
                println!("{}", one(dsn, train == "train")?);
                Ok(())
            }
            [] => compare(true),
            ["--quick"] => compare(false),
            _ => bail!("usage: cargo xtask bench data [--quick]"),
        }
    })
}

/// Fetches all there is; `train` goes on to one epoch of batches.
fn one(dsn: &str, train: bool) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let source = Tdengine::new(Options::new(format!("{dsn}/plant"), folder.path()))?;
    let query: DeviceQuery = serde_json::from_value(json!({"table": "generated"}))?;
    let request = Request {
        query: &query,
        columns: None,
        device_column: None,
        rows: None,
    };
    let begin = Instant::now();
    let fetched = runtime.block_on(source.fetch(request, &|_| {}))?;
    let seconds = begin.elapsed().as_secs_f64();
    let peak = peak_mib()?;
    let rows = fetched.rows;
    let bytes = fetched.file.metadata()?.len();
    let mut batches = 0;
    if train {
        let spec = PrepareSpec {
            time: Some(fetched.time.clone()),
            window: Some(Window {
                lookback: 96,
                horizon: 24,
            }),
            ..PrepareSpec::new(Task::Forecasting)
        };
        let options = ReadOptions {
            time: spec.time.clone(),
            ..ReadOptions::default()
        };
        let frame = Frame::from_file(fetched.file, "generated", DataFormat::Arrow, &options)?;
        let dataset = Dataset::prepare(frame, &spec)?;
        // Windows that do not overlap: every value is in one batch.
        let starts: Vec<usize> = (0..dataset.len(SplitName::Train)).step_by(120).collect();
        for chunk in starts.chunks(32) {
            batches += dataset.gather(SplitName::Train, chunk, DType::F32)?.size;
        }
        let options = BatchOptions {
            batch_size: 32,
            shuffle: Some((0, 0)),
            drop_last: false,
            dtype: DType::F32,
        };
        ensure!(dataset.batches(SplitName::Train, options)?.next().is_some(), "no batch");
    }
    Ok(json!({
        "rows": rows, "seconds": seconds, "all_seconds": begin.elapsed().as_secs_f64(), "peak_mib": peak,
        "mib": bytes >> 20, "batches": batches,
    }))
}

/// The most memory that this process has held.
fn peak_mib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? >> 10)
}

/// The stand-in, in a process of its own.
struct Server(Child, String);

impl Server {
    fn start(rows: u64) -> Result<Self> {
        let program = std::env::var("TRAINYARD_TEST_TDENGINE").context("run it by `cargo xtask bench data`")?;
        let mut child = Command::new(program)
            .args(["--generated", &rows.to_string(), "--columns", &COLUMNS.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut dsn = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut dsn)?;
        Ok(Server(child, dsn.trim().to_owned()))
    }

    /// What a process reports that reads from it.
    fn read(&self, command: &mut Command) -> Result<Value> {
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "{command:?} failed");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn ours(&self, train: bool) -> Result<Value> {
        let program = std::env::current_exe()?;
        self.read(Command::new(program).args(["one", &self.1, if train { "train" } else { "fetch" }]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or(f64::NAN)
}

fn compare(large: bool) -> Result<()> {
    let python = std::env::var("TRAINYARD_PYTHON").context("no Python with taos-ws-py and pandas")?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/reference/tdengine_pandas.py");
    let values = (COMPARED * (COLUMNS as u64 + 1)) as f64;
    println!(
        "{COMPARED} rows of a time and {COLUMNS} doubles, in turn; millions of values a second, times counted as values"
    );
    let server = Server::start(COMPARED)?;
    let mut table = Table::new();
    table.set_header([
        "round",
        "to the dataset file",
        "to a pandas frame",
        "ratio",
        "on to batches",
        "pandas on to batches",
        "ratio",
    ]);
    for round in 1..=ROUNDS {
        let ours = server.ours(true)?;
        let theirs = server.read(Command::new(&python).args([script, &server.1, &COMPARED.to_string()]))?;
        ensure!(ours["batches"] == theirs["batches"], "{ours} and {theirs}");
        let rate = |report: &Value, name: &str| values / number(report, name) / 1e6;
        let [file, frame] = [&ours, &theirs].map(|report| rate(report, "seconds"));
        let [batches, peer] = [&ours, &theirs].map(|report| rate(report, "all_seconds"));
        table.add_row([
            round.to_string(),
            format!("{file:.1}"),
            format!("{frame:.2}"),
            format!("{:.1}", file / frame),
            format!("{batches:.1}"),
            format!("{peer:.2}"),
            format!("{:.1}", batches / peer),
        ]);
    }
    println!("{table}");
    drop(server);
    if !large {
        return Ok(());
    }
    println!("memory of the process that fetches, at its highest");
    let mut table = Table::new();
    table.set_header(["rows", "file MiB", "seconds", "million values/s", "peak MiB"]);
    for rows in SIZES {
        let server = Server::start(rows)?;
        let ours = server.ours(false)?;
        let rate = (rows * (COLUMNS as u64 + 1)) as f64 / number(&ours, "seconds") / 1e6;
        table.add_row([
            rows.to_string(),
            ours["mib"].to_string(),
            format!("{:.1}", number(&ours, "seconds")),
            format!("{rate:.1}"),
            ours["peak_mib"].to_string(),
        ]);
    }
    println!("{table}");
    Ok(())
}
