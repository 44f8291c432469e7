//! `trainyard runner --self-check FOLDER`: tries from inside what a runner must not be able to do.

use super::isolation;
use rustix::process::Pid;
use serde_json::json;
use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Shuts this process in as a runner is, with the folder as its scratch folder, and prints one line of JSON about each
/// attempt. Succeeds if everything came out as it has to. `card`: as one that computes on a card, without one.
pub(super) fn main(scratch: &Path, card: bool) -> ExitCode {
    let parent = rustix::process::getppid();
    let open: Option<fn() -> Result<(), String>> = card.then_some(|| Ok(()));
    let isolation = match isolation::shut_in(scratch, parent, open) {
        Ok((isolation, _)) => isolation,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", json!({ "isolation": isolation }));
    let mut report = Checked(true);
    works(&mut report, scratch);
    names(&mut report, card);
    files(&mut report, scratch);
    network(&mut report);
    processes(&mut report, parent);
    // Last: if it works, this program is gone.
    report.must_fail("run another program in its place", || {
        Err(Command::new("/bin/true").exec())
    });
    match report.0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Whether everything has come out as it has to.
struct Checked(bool);

impl Checked {
    fn must_fail(&mut self, what: &str, attempt: impl FnOnce() -> io::Result<()>) {
        self.tell(what, false, attempt());
    }

    fn must_work(&mut self, what: &str, attempt: impl FnOnce() -> io::Result<()>) {
        self.tell(what, true, attempt());
    }

    fn tell(&mut self, what: &str, expected: bool, outcome: io::Result<()>) {
        let allowed = outcome.is_ok();
        self.0 &= allowed == expected;
        let error = outcome.err().map(|error| error.to_string());
        println!(
            "{}",
            json!({ "what": what, "allowed": allowed, "expected": expected, "error": error })
        );
    }
}

fn works(report: &mut Checked, scratch: &Path) {
    let (file, other) = (scratch.join("self-check"), scratch.join("self-check.other"));
    report.must_work("write a file in the scratch folder", || fs::write(&file, "text"));
    report.must_work("rename it", || fs::rename(&file, &other));
    report.must_work("read it", || fs::read(&other).map(drop));
    report.must_work("remove it", || fs::remove_file(&other));
    report.must_work("start a thread", || {
        let thread = std::thread::Builder::new().spawn(|| ())?;
        thread.join().map_err(|_| io::Error::other("it fell over"))
    });
}

/// On a card the driver gives its threads their names by way of files, also once all is shut.
fn names(report: &mut Checked, card: bool) {
    let name = || {
        let (told, number) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().spawn(move || {
            let _ = told.send(rustix::thread::gettid().as_raw_nonzero());
            let _ = wait.recv();
        })?;
        let number = number.recv().map_err(io::Error::other)?;
        let named = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/self/task/{number}/comm"))
            .and_then(|mut file| io::Write::write_all(&mut file, b"driver"));
        drop(done);
        thread.join().map_err(|_| io::Error::other("it fell over"))?;
        named
    };
    match card {
        true => report.must_work("name another thread", name),
        false => report.must_fail("name another thread", name),
    }
}

fn files(report: &mut Checked, scratch: &Path) {
    report.must_fail("read /etc/passwd", || File::open("/etc/passwd").map(drop));
    report.must_fail("list the root folder", || fs::read_dir("/").map(drop));
    let outside = scratch.parent().unwrap_or(scratch).join("self-check");
    report.must_fail("write a file beside the scratch folder", || fs::write(&outside, "text"));
    report.must_fail("make a link in the scratch folder", || {
        std::os::unix::fs::symlink("/etc/passwd", scratch.join("self-check.link"))
    });
    report.must_fail("make a folder in the scratch folder", || {
        fs::create_dir(scratch.join("self-check.folder"))
    });
}

fn network(report: &mut Checked) {
    report.must_fail("listen on TCP", || TcpListener::bind("127.0.0.1:0").map(drop));
    report.must_fail("connect over TCP", || {
        // Nobody listens there; if that is the answer, it was asked.
        refused(TcpStream::connect("127.0.0.1:9").map(drop))
    });
    report.must_fail("open a UDP socket", || UdpSocket::bind("127.0.0.1:0").map(drop));
    report.must_fail("connect to a Unix socket", || {
        refused(UnixStream::connect("/trainyard-self-check").map(drop))
    });
    report.must_fail("make a pair of sockets", || UnixStream::pair().map(drop));
}

/// An answer from the network counts as having reached it.
fn refused(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => Ok(()),
        outcome => outcome,
    }
}

fn processes(report: &mut Checked, parent: Option<Pid>) {
    report.must_fail("start another program", || {
        Command::new("/bin/true").spawn()?.wait().map(drop)
    });
    report.must_fail("make a user namespace", || {
        // SAFETY: changes nothing that this program relies on.
        answer(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER) })
    });
    report.must_fail("use io_uring", || {
        // SAFETY: with no place for parameters, the kernel refuses it in any case.
        let asked = answer(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) });
        match asked {
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
            asked => asked,
        }
    });
    let Some(parent) = parent else {
        return;
    };
    let number = parent.as_raw_nonzero().get();
    report.must_fail("signal the parent", || Ok(rustix::process::test_kill_process(parent)?));
    report.must_fail("trace the parent", || {
        // SAFETY: the parent's memory is not touched, and it is not stopped.
        answer(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, number, 0, 0) })
    });
    report.must_fail("read the parent's environment", || {
        fs::read(format!("/proc/{number}/environ")).map(drop)
    });
}

fn answer(returned: libc::c_long) -> io::Result<()> {
    match returned {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
