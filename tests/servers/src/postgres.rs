//! `postgres`, without waiting for the disk.

use crate::process::{Process, attempts, find, free_port, run};
use rustix::process::Signal;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Names the address of a server that is shared by many tests, each in a database of its own: making a server takes more
/// than a second.
const SHARED: &str = "TRAINYARD_TEST_POSTGRES";
/// PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// A PostgreSQL server, or a share in one.
#[derive(Debug)]
pub struct Postgres {
    /// None where the server is another's.
    server: Option<Server>,
    address: String,
    databases: AtomicU32,
}

#[derive(Debug)]
struct Server {
    process: Option<Process>,
    program: PathBuf,
    port: u16,
    folder: TempDir,
}

fn folders() -> Vec<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    versions.reverse();
    versions
}

/// As whom a server's programs run.
fn as_whom(command: &mut Command) {
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
}

impl Postgres {
    /// Where `postgres` is; none where it is not installed.
    pub fn program() -> Option<PathBuf> {
        let program = find("postgres", &folders())?;
        // It has to lie beside the others of its version.
        let beside = program.canonicalize().ok()?.with_file_name("initdb").is_file();
        (beside && find("psql", &folders()).is_some()).then_some(program)
    }

    /// A share in the server that the environment names, else a server of its own; none, with words, where PostgreSQL is
    /// not installed.
    pub fn start() -> io::Result<Option<Self>> {
        match std::env::var(SHARED) {
            Ok(address) if !address.is_empty() => Ok(Some(Postgres {
                server: None,
                address,
                databases: AtomicU32::new(0),
            })),
            _ => Self::start_own(),
        }
    }

    /// A server of its own, which can be killed.
    pub fn start_own() -> io::Result<Option<Self>> {
        let Some(program) = Self::program() else {
            eprintln!("SKIPPED: PostgreSQL is not installed (Debian: apt-get install postgresql)");
            return Ok(None);
        };
        let program = program.canonicalize()?;
        let folder = tempfile::tempdir()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data)?;
        if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(&data, Some(NOBODY), Some(NOBODY))?;
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let initdb = program.with_file_name("initdb");
        let data = data.to_string_lossy().into_owned();
        let args = [
            "-D",
            &data,
            "-U",
            "trainyard",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale",
            "C.UTF-8",
            "-N",
        ];
        run(&initdb, args, as_whom)?;
        let mut server = Server {
            process: None,
            program,
            port: 0,
            folder,
        };
        // Another process may take the port that was free a moment ago.
        let port = attempts(|| {
            server.port = free_port()?;
            server.start().map(|()| server.port)
        })?;
        Ok(Some(Postgres {
            server: Some(server),
            address: format!("postgres://trainyard@127.0.0.1:{port}"),
            databases: AtomicU32::new(0),
        }))
    }

    /// The address of the server, for the environment of other processes: [`Postgres::SHARED`].
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The variable that names a server to share.
    pub const SHARED: &'static str = SHARED;

    /// Makes an empty database and gives its address.
    pub fn database(&self) -> io::Result<String> {
        let name = format!(
            "t{}_{}",
            std::process::id(),
            self.databases.fetch_add(1, Ordering::Relaxed)
        );
        let all = format!("{}/postgres", self.address);
        // A number may come back after a while, in a server that outlives the tests.
        self.sql(&all, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))?;
        self.sql(&all, &format!("CREATE DATABASE {name}"))?;
        Ok(format!("{}/{name}", self.address))
    }

    /// Runs statements in a database; gives what they say, a row a line, columns parted by `|`.
    pub fn sql(&self, database: &str, statements: &str) -> io::Result<String> {
        sql(database, statements)
    }

    /// Ends the server at once, as `kill -9` does. Only one of its own.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.server.as_mut().and_then(|server| server.process.take()) {
            // Its children would go on for a moment and hold the port.
            process.signal(Signal::QUIT);
            std::thread::sleep(Duration::from_millis(100));
            process.kill();
        }
    }

    /// Starts it again after [`Postgres::kill`].
    pub fn restart(&mut self) -> io::Result<()> {
        self.server.as_mut().map_or(Ok(()), Server::start)
    }

    /// Stops it in its tracks: connections stay, and nothing answers.
    pub fn freeze(&self) {
        self.signal_all("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal_all("-CONT");
    }

    fn signal_all(&self, signal: &str) {
        if let Some(process) = self.server.as_ref().and_then(|server| server.process.as_ref()) {
            // A process a connection, and each would answer by itself.
            let pid = process.pid().to_string();
            let _ = Command::new("pkill").args([signal, "-P", &pid]).status();
            let _ = Command::new("kill").args([signal, &pid]).status();
        }
    }
}

fn sql(database: &str, statements: &str) -> io::Result<String> {
    let psql = find("psql", &folders()).ok_or_else(|| io::Error::other("psql is not installed"))?;
    let args = [
        "-X",
        "-q",
        "-t",
        "-A",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        database,
        "-c",
        statements,
    ];
    Ok(run(&psql, args, |_| ())?.trim().to_owned())
}

impl Server {
    fn start(&mut self) -> io::Result<()> {
        let data: &Path = &self.folder.path().join("data");
        let mut command = Command::new(&self.program);
        command.arg("-D").arg(data).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            // What was committed outlives a killed server, though not a machine that loses its power.
            "fsync=off",
            "full_page_writes=off",
            "max_connections=300",
            "cluster_name=trainyard-test",
        ] {
            command.args(["-c", setting]);
        }
        as_whom(&mut command);
        let log = self.folder.path().join("postgres.log");
        self.process = Some(Process::start(
            command,
            self.port,
            &log,
            "ready to accept connections",
            Signal::INT,
        )?);
        // It listens before it is ready.
        let database = format!("postgres://trainyard@127.0.0.1:{}/postgres", self.port);
        let start = Instant::now();
        while let Err(error) = sql(&database, "SELECT 1") {
            if start.elapsed() > Duration::from_secs(60) {
                return Err(error);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
