//! `--watch`: does it again whenever the file is saved.

use crate::failure::{Failure, Result};
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How often the file is looked at. A look costs some microseconds, and editors save in ways that no notice tells apart.
const LOOK: Duration = Duration::from_millis(50);

/// Does some work, and does it again whenever the file has changed, if that is wanted. Then a failure is told, not final.
pub fn repeat(watch: bool, path: &Path, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    if !watch {
        return work();
    }
    loop {
        let seen = stamp(path);
        if std::io::stdout().is_terminal() {
            print!("\x1b[2J\x1b[H");
        }
        if let Err(failure) = work() {
            crate::report(&failure, false);
        }
        eprintln!("-- waiting for a change of {} (Ctrl-C ends)", path.display());
        while stamp(path) == seen || stamp(path).is_none() {
            std::thread::sleep(LOOK);
        }
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).map_err(Failure::file("look at", path)).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
