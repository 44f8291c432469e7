//! The runner: a process that shuts itself in and then does what it is told, over its standard input, a socket.
//!
//! `trainyard runner SCRATCH PARENT` is started by a worker ([`crate::process`]) and by nobody else; `trainyard runner
//! --self-check SCRATCH` shuts itself in the same way, tries what must not work, and prints what happened. With `--card` before the
//! folder it does so as one that computes on a card; `--check-card SCRATCH PARENT` shuts itself in, tries the card, prints what it is, and ends.
//!
//! One thread listens, so that an order to stop arrives; a task runs on another.

mod card;
mod check;
mod connection;
mod desk;
mod isolation;
mod landlock;
mod refusal;
mod scratch;
mod seccomp;
mod train;

use crate::protocol::{Order, Report, Task};
use connection::Connection;
use desk::Desk;
use rustix::process::Pid;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use trainyard_sandbox::Control;

/// The name of the hidden subcommand.
pub const SUBCOMMAND: &str = "runner";

/// The first argument of one that computes on a card.
pub(crate) const ON_CARD: &str = "--card";
/// The argument of one that only tries the card.
pub(crate) const CHECK_CARD: &str = "--check-card";

/// Stack of the thread that does the tasks: compilers and readers of foreign files may go deep.
const STACK: usize = 16 << 20;

/// Runs the subcommand, with the process's own arguments. To be called before anything else has been done: while there is
/// one thread, and nothing is open.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(2).collect();
    let done = match &arguments[..] {
        [option, scratch, parent] if option == CHECK_CARD => {
            number(&parent.to_string_lossy()).and_then(|parent| card::check(Path::new(scratch), parent))
        }
        [option, scratch] if option == "--self-check" => return check::main(Path::new(scratch), false),
        [option, card, scratch] if option == "--self-check" && card == ON_CARD => {
            return check::main(Path::new(scratch), true);
        }
        [card, scratch, parent] if card == ON_CARD => run(Path::new(scratch), &parent.to_string_lossy(), true),
        [scratch, parent] => run(Path::new(scratch), &parent.to_string_lossy(), false),
        _ => Err("this is started by a worker; by hand, use `trainyard runner --self-check FOLDER`".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(scratch: &Path, parent: &str, on_card: bool) -> Result<(), String> {
    let parent = number(parent)?;
    // How many cores a container allows is in files that cannot be read later.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // It is remembered where it is needed later: for the pages that hold machine code.
    rustix::param::page_size();
    let open: Option<fn() -> _> = on_card.then_some(card::open);
    // As long as this process lives, its tasks find the card open.
    let (isolation, _card) = isolation::shut_in(scratch, Some(parent), open)?;
    let connection = Connection::of_standard_input().map_err(|error| format!("there is no socket: {error}"))?;
    let connection = Arc::new(connection);
    let desk = Desk::new(connection.clone(), scratch.to_owned()).map_err(|error| error.to_string())?;
    say(&connection, &Report::Ready(isolation))?;
    let mut listener = Listener {
        connection,
        state: State::Idle(Box::new(desk)),
        cores,
        threads: None,
    };
    while let Some((order, files)) = listener
        .connection
        .next()
        .map_err(|error| format!("the order: {error}"))?
    {
        listener.obey(order, files)?;
    }
    // The worker is gone, or wants nothing more. Whatever still runs ends with the process.
    std::process::exit(0)
}

fn number(parent: &str) -> Result<Pid, String> {
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    parent.ok_or_else(|| "the last argument is no process number".into())
}

fn say(connection: &Connection, report: &Report) -> Result<(), String> {
    let said = connection.say(report);
    said.map(drop)
        .map_err(|error| format!("the worker does not listen: {error}"))
}

/// What the listening thread knows.
struct Listener {
    connection: Arc<Connection>,
    state: State,
    /// Threads that can run at a time here.
    cores: usize,
    /// Threads that compute, once that is known.
    threads: Option<usize>,
}

enum State {
    Idle(Box<Desk>),
    Busy(JoinHandle<Box<Desk>>, Reins),
    /// For a moment, between the two.
    Between,
}

/// What holds a task that is being done.
struct Reins {
    control: Control,
    stored: Sender<()>,
}

/// The task's side of it.
pub(crate) struct Bit {
    pub control: Control,
    /// Hears of every checkpoint that is safe.
    pub stored: Receiver<()>,
}

impl Listener {
    fn obey(&mut self, order: Order, files: Vec<std::fs::File>) -> Result<(), String> {
        match (order, &self.state) {
            (Order::Do(task), _) => self.start(*task, files)?,
            (Order::Stop, State::Busy(_, reins)) => reins.control.stop(),
            (Order::Cancel, State::Busy(_, reins)) => reins.control.cancel(),
            // Nobody may be listening any more: the task is over.
            (Order::CheckpointStored, State::Busy(_, reins)) => drop(reins.stored.send(())),
            // It came too late.
            (Order::Stop | Order::Cancel | Order::CheckpointStored, _) => {}
        }
        Ok(())
    }

    fn start(&mut self, task: Task, files: Vec<std::fs::File>) -> Result<(), String> {
        // One that has just reported its end may still be on its way out.
        let mut desk = match std::mem::replace(&mut self.state, State::Between) {
            State::Idle(desk) => desk,
            State::Busy(thread, _) => thread.join().map_err(|_| "the task's thread fell over")?,
            State::Between => return Err("the last task's thread could not be started".into()),
        };
        // The first task decides; before it, no thread has been started that reads the environment.
        if self.threads.is_none() {
            let threads = match task.threads() {
                0 => self.cores,
                threads => threads,
            };
            trainyard_kernels::configure_threads(threads);
            self.threads = Some(threads);
        }
        let control = Control::new();
        let (stored, hears) = channel();
        let bit = Bit {
            control: control.clone(),
            stored: hears,
        };
        let thread = std::thread::Builder::new()
            .name("task".into())
            .stack_size(STACK)
            .spawn(move || {
                desk.perform(task, files, bit);
                desk
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        self.state = State::Busy(thread, Reins { control, stored });
        Ok(())
    }
}

impl Task {
    fn threads(&self) -> usize {
        match self {
            Task::Train { limits, .. } | Task::Open { limits, .. } => limits.threads,
            Task::Predict { .. } | Task::Evaluate { .. } | Task::Inspect { .. } | Task::Compile | Task::Data { .. } => {
                0
            }
        }
    }
}
