//! From the way in which a plugin stopped to an error that a person understands.

use crate::error::{LimitExceeded, SandboxError, Trap};
use crate::limits::Limits;
use crate::state::State;
use trainyard_parameters::one_line;
use wasmtime::WasmBacktrace;
use wasmtime_wasi::I32Exit;

/// What the clock interrupts a plugin with.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(crate) struct Interrupted;

/// The error of a call that WebAssembly ended.
pub(crate) fn explain(error: &wasmtime::Error, state: &State, function: &'static str, limits: &Limits) -> SandboxError {
    if error.is::<Interrupted>() {
        return stopped(state, function, limits);
    }
    let text = format!("{error:#}");
    if let Some(requested) = state.memory.refused() {
        return SandboxError::GuestMemory {
            function,
            limit: limits.guest_memory,
            requested,
        };
    }
    // wasmtime has no types for these.
    if text.contains("fuel allocated for hostcalls") {
        return SandboxError::Limit {
            function,
            limit: LimitExceeded {
                name: "message size".into(),
                limit: limits.message_bytes as u64,
                current: 0,
                requested: 0,
            },
        };
    }
    if text.contains("store handle limit exceeded") {
        return SandboxError::Limit {
            function,
            limit: LimitExceeded {
                name: "handles".into(),
                limit: u64::from(limits.handles),
                current: 0,
                requested: 0,
            },
        };
    }
    let reporter = &state.host.reporter;
    SandboxError::Trap(Box::new(Trap {
        function,
        reason: reason(error, &text, reporter.last_words()),
        backtrace: backtrace(error),
        log: reporter.last_lines(),
    }))
}

/// The error of a call that came from outside to an end.
pub(crate) fn stopped(state: &State, function: &'static str, limits: &Limits) -> SandboxError {
    if state.host.control.has_expired() {
        SandboxError::Timeout {
            function,
            limit: match function {
                "describe" => limits.describe_time,
                _ => limits.wall_time,
            },
        }
    } else {
        SandboxError::Cancelled { function }
    }
}

fn reason(error: &wasmtime::Error, text: &str, last_words: Option<String>) -> String {
    use wasmtime::Trap;
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return format!("it ended its process with code {}", exit.0);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        let reason = match trap {
            Trap::StackOverflow => "stack overflow: it called itself too deep",
            // Compilers keep a second stack at the start of the plugin's memory.
            Trap::MemoryOutOfBounds if is_recursion(error) => "stack overflow: it called itself too deep",
            Trap::MemoryOutOfBounds => "it used memory that it does not have",
            Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => {
                "it called a function that does not exist"
            }
            Trap::IntegerDivisionByZero => "integer division by zero",
            Trap::IntegerOverflow => "integer overflow",
            Trap::BadConversionToInteger => "it made an integer of a number that has none",
            Trap::UnreachableCodeReached => {
                return match last_words {
                    Some(message) => format!("panic: {}", one_line(&message)),
                    None => "it gave up (a panic or an abort without a message)".to_owned(),
                };
            }
            Trap::CannotEnterComponent | Trap::CannotLeaveComponent => "it called the host where that is forbidden",
            other => return other.to_string(),
        };
        return reason.to_owned();
    }
    let root = error.root_cause().to_string();
    for (sign, reason) in [
        (
            "unknown handle index",
            "it used a handle that it had dropped, or never had",
        ),
        (
            "cannot remove owned resource while borrowed",
            "it gave away a tensor that it was lending",
        ),
        ("borrow handles still remain", "it kept a borrowed handle"),
        ("is not a resource", "it used a handle of another kind"),
        ("handle index", "it used a handle of another kind"),
    ] {
        if text.contains(sign) {
            return format!("{reason} ({})", one_line(&root));
        }
    }
    one_line(&root)
}

/// Whether the innermost functions are mostly one and the same.
fn is_recursion(error: &wasmtime::Error) -> bool {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else {
        return false;
    };
    let frames = trace.frames();
    let most = frames
        .iter()
        .map(|frame| {
            frames
                .iter()
                .filter(|other| other.func_index() == frame.func_index())
                .count()
        })
        .max();
    frames.len() >= 12 && most.is_some_and(|most| most * 3 >= frames.len())
}

/// The plugin's own functions, innermost first, without the machinery of its language.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    const DEEPEST: usize = 16;
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let machinery = [
        "core::",
        "std::",
        "alloc::",
        "dlmalloc::",
        "__rust",
        "rust_",
        "cabi_",
        "wit_bindgen",
        "wit-component",
        "canonical",
        "memcpy",
        "memset",
        "memmove",
        "malloc",
        "abort",
    ];
    let mut names: Vec<String> = Vec::new();
    for frame in trace.frames() {
        let Some(name) = frame.func_name() else {
            continue;
        };
        let name = format!("{:#}", rustc_demangle::demangle(name));
        let plain = name.trim_start_matches(['<', '&', '_']);
        if machinery
            .iter()
            .any(|start| plain.starts_with(start) || name.starts_with(start))
        {
            continue;
        }
        let name = one_line(&name);
        if names.last() != Some(&name) {
            names.push(name);
        }
        if names.len() == DEEPEST {
            break;
        }
    }
    names
}
