//! What the servers have in common: finding the program, a free port, starting, waiting, ending.

use std::ffi::OsStr;
use std::io::{self, Error};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer.
const START: Duration = Duration::from_secs(60);

/// A program on the path, or where distributions keep it.
pub fn find(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(folders.iter().cloned())
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// A port that was free a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Tries a few times.
pub fn attempts<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..4 {
        if let Ok(done) = attempt() {
            return Ok(done);
        }
    }
    attempt()
}

/// A server's process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// The signal that ends it well.
    ending: rustix::process::Signal,
}

impl Process {
    /// Starts a server, and waits until it says that it is ready and its port answers. What it says goes to a file, which an
    /// error quotes. The port alone would not do: another server may have taken it first.
    pub fn start(
        mut command: Command,
        port: u16,
        log: &Path,
        ready: &str,
        ending: rustix::process::Signal,
    ) -> io::Result<Self> {
        let output = std::fs::File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        // SAFETY: the closure makes one system call and touches no memory.
        unsafe {
            // Ends with the thread that started it, should the test be killed.
            command.pre_exec(|| {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                    .map_err(Error::from)
            });
        }
        let mut child = command.spawn()?;
        let start = Instant::now();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while !std::fs::read_to_string(log).is_ok_and(|said| said.contains(ready))
            || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err()
        {
            let ended = child.try_wait()?;
            if ended.is_some() || start.elapsed() > START {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Error::other(format!(
                    "{} did not start:\n{}",
                    command.get_program().to_string_lossy(),
                    std::fs::read_to_string(log).unwrap_or_default()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Process { child, ending })
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Ends it at once, without a word, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::CONT);
        self.signal(self.ending);
        let start = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.kill();
    }
}

/// Runs a command to its end.
pub fn run(
    program: &Path,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    adjust: impl Fn(&mut Command),
) -> io::Result<String> {
    let mut command = Command::new(program);
    command.args(args);
    adjust(&mut command);
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::other(format!(
        "{} failed: {}{}",
        program.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )))
}
