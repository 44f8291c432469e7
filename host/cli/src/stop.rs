//! Ctrl-C: the first asks the algorithm to return what it has, the second stops it.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use trainyard_sandbox::Control;

static PRESSED: AtomicUsize = AtomicUsize::new(0);

/// Lets Ctrl-C stop the job that `control` belongs to.
pub fn on_interrupt(control: Control) {
    // It can only fail when a handler is installed already; Ctrl-C then ends the process, which is fine, too.
    let _ = ctrlc::set_handler(move || match PRESSED.fetch_add(1, SeqCst) {
        0 => {
            control.stop();
            eprintln!("\nstopping after this step, keeping what is trained so far; press Ctrl-C again to give up");
        }
        1 => control.cancel(),
        _ => std::process::exit(130),
    });
}
