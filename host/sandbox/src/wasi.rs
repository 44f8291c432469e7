//! WASI for plugins from languages that cannot do without it: every function is there, and none gives anything.
//!
//! No files, arguments, environment or network. Standard output and error become lines of the log. Random numbers follow
//! from the job's seed, and the clocks stand still, so that the same job gives the same bytes. Waiting for a time ends at
//! once, since a wait in the host could not be interrupted.

use crate::report::{Level, Reporter};
use crate::state::State;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamResult, subscribe};
use wasmtime_wasi::{Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView, async_trait};

/// Handles of WASI's own.
const HANDLES: usize = 10_000;
/// Bytes of a line that are kept until it ends.
const LINE: usize = 64 << 10;
/// Most bytes of random numbers in one call.
const RANDOM: u64 = 1 << 20;

/// One instance's empty world.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    outputs: [Output; 2],
}

impl Wasi {
    /// Logs what was written since the last whole line.
    pub(crate) fn finish(&self) {
        self.outputs.iter().for_each(Output::finish);
    }

    pub(crate) fn new(seed: u32, reporter: &Reporter) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let outputs = [Level::Info, Level::Warn].map(|level| Output::new(level, reporter));
        let context = WasiCtx::builder()
            .stdout(outputs[0].clone())
            .stderr(outputs[1].clone())
            .secure_random(generator("random", seed))
            .insecure_random(generator("insecure", seed))
            .insecure_random_seed(u128::from(seed))
            .max_random_size(RANDOM)
            .wall_clock(Standstill)
            .monotonic_clock(Standstill)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Wasi {
            context,
            table,
            outputs,
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self
            .wasi
            .as_mut()
            .expect("an instance that was linked with WASI was given one");
        WasiCtxView {
            ctx: &mut wasi.context,
            table: &mut wasi.table,
        }
    }
}

/// What WASI's functions run on, where this thread calls them. The one that wasmtime-wasi would make by itself watches over
/// files and sockets, which a process that has shut itself in may not.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().build()
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    let mut clock = linker.instance("wasi:clocks/monotonic-clock@0.2.12")?;
    for wait in ["subscribe-instant", "subscribe-duration"] {
        clock.func_wrap(wait, |mut store, (_,): (u64,)| {
            let table = WasiView::ctx(store.data_mut()).table;
            let now = table.push(Now)?;
            Ok((subscribe(table, now)?,)) as wasmtime::Result<(Resource<DynPollable>,)>
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// Bytes that follow from a seed, in a long cycle.
fn generator(purpose: &str, seed: u32) -> Deterministic {
    let cycle = (0u32..256)
        .flat_map(|block| Sha256::digest(format!("{purpose} {seed} {block}")))
        .collect();
    Deterministic::new(cycle)
}

/// A time that has come already.
struct Now;

#[async_trait]
impl Pollable for Now {
    async fn ready(&mut self) {}
}

/// A clock that stands at the start of the year 2000.
struct Standstill;

impl HostWallClock for Standstill {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::from_secs(946_684_800)
    }
}

impl HostMonotonicClock for Standstill {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

/// Standard output or error: each line that ends goes to the log.
#[derive(Clone)]
struct Output {
    level: Level,
    reporter: Reporter,
    line: Arc<Mutex<Vec<u8>>>,
}

impl Output {
    fn new(level: Level, reporter: &Reporter) -> Self {
        Output {
            level,
            reporter: reporter.clone(),
            line: Default::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs a line that has no end yet.
    fn finish(&self) {
        let line = std::mem::take(&mut *self.lock());
        if !line.is_empty() {
            self.reporter.log(self.level, &String::from_utf8_lossy(&line));
        }
    }

    fn take(&self, bytes: &[u8]) {
        let mut line = self.lock();
        line.extend_from_slice(bytes);
        let whole = match line.iter().rposition(|&byte| byte == b'\n') {
            Some(end) => end + 1,
            None if line.len() >= LINE => line.len(),
            None => return,
        };
        let rest = line.split_off(whole);
        let text = std::mem::replace(&mut *line, rest);
        self.reporter.log(self.level, &String::from_utf8_lossy(&text));
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this form.
        StdoutStream::async_stream(&std::io::empty())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(LINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::hex;
    use crate::limits::Limits;

    #[test]
    fn output_becomes_lines_of_the_log() {
        let reporter = Reporter::new(&Limits::default(), |_| {});
        let output = Output::new(Level::Info, &reporter);
        let other = output.clone();
        output.take(b"one\ntw");
        other.take(b"o\nthree");
        assert_eq!(reporter.last_lines(), ["one", "two"]);
        output.finish();
        other.finish();
        assert_eq!(reporter.last_lines(), ["one", "two", "three"]);
    }

    #[test]
    fn random_bytes_follow_from_the_seed() {
        let bytes = |seed| {
            use wasmtime_wasi::Rng;
            let mut bytes = [0; 16];
            generator("random", seed).fill_bytes(&mut bytes);
            hex(&bytes)
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }
}
