//! `--watch`: does it again whenever the file is saved.

use crate::failure::Result;
use crate::project::stamp;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

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
