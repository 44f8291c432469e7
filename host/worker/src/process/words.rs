//! What a runner writes to its standard error: a few last lines are kept, for whoever looks for the cause of its death.

use std::collections::VecDeque;
use std::io::Read;
use std::process::ChildStderr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use trainyard_parameters::one_line;

/// Lines that are kept.
const LINES: usize = 20;
/// Bytes of one line that are kept.
const LONGEST: usize = 1_000;

/// Bytes that are read as fast as they come. After that, a runner waits: it is not to keep its worker busy.
const PATIENCE: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(20);

/// The last lines. A clone is the same lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Words(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    lines: Mutex<VecDeque<String>>,
    /// No more will come.
    ended: AtomicBool,
}

impl Words {
    /// Reads until the end, on a thread of its own: a pipe that nobody empties would hold the runner up.
    pub fn listen(stderr: ChildStderr) -> std::io::Result<Self> {
        let words = Words::default();
        let heard = words.clone();
        std::thread::Builder::new()
            .name("runner-stderr".into())
            .stack_size(64 << 10)
            .spawn(move || heard.read(stderr))?;
        Ok(words)
    }

    /// The last lines, the newest last.
    pub fn last(&self) -> Vec<String> {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Whether all has been heard.
    pub fn ended(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    fn read(&self, mut from: impl Read) {
        let mut line = Vec::new();
        let mut buffer = [0; 4096];
        let mut heard = 0;
        // An error is the end as well.
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            heard += length;
            if heard > PATIENCE {
                std::thread::sleep(PAUSE);
            }
            for &byte in &buffer[..length] {
                match byte {
                    b'\n' => self.keep(&std::mem::take(&mut line)),
                    _ if line.len() < LONGEST => line.push(byte),
                    _ => {}
                }
            }
        }
        self.keep(&line);
        self.0.ended.store(true, Ordering::Release);
    }

    fn keep(&self, line: &[u8]) {
        let text = one_line(&String::from_utf8_lossy(line));
        if text.trim().is_empty() {
            return;
        }
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_long_ones_cut() {
        let words = Words::default();
        let text: String = (0..100).map(|i| format!("line {i}\n")).collect();
        words.read(format!("{text}\x1b[2J{}", "x".repeat(100_000)).as_bytes());
        let lines = words.last();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[LINES - 2], "line 99");
        assert!(lines[LINES - 1].len() <= LONGEST + 10 && !lines[LINES - 1].contains('\x1b'));
    }
}
