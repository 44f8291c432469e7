//! Plugins that are Python source: what passes between the host and the Python engine beside the contract.
//!
//! The engine is a component of the contract that has no algorithm of its own. Each instance is handed the source first, and is
//! asked for the exception when a call of it has failed. It is trusted no more than a plugin.

use crate::error::SandboxError;
use crate::state::State;
use std::sync::Arc;
use trainyard_parameters::one_line;
use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, ComponentType, Instance, Lift, Lower, TypedFunc};

/// The interface of `sdk/python/engine/wit`.
const LOADER: &str = "trainyard:python/loader@0.1.0";
/// Characters of a traceback that are kept.
const TRACEBACK: usize = 32_000;

/// An author's source.
#[derive(Clone)]
pub(crate) struct Source {
    pub content: Arc<[u8]>,
    /// What messages call its file.
    pub name: String,
}

/// An exception of the author's own code, as Python shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, ComponentType, Lift)]
#[component(record)]
pub struct Raised {
    /// The name of its type, for example `ValueError`.
    pub kind: String,
    /// What it says.
    pub message: String,
    /// The file of the innermost line of the author's own.
    pub file: Option<String>,
    /// That line's number, counted from one.
    pub line: Option<u32>,
    /// The function that it is in.
    pub function: Option<String>,
    /// The line itself.
    pub code: Option<String>,
    /// Python's own text, of several lines.
    pub traceback: String,
}

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&one_line(&self.kind))?;
        if !self.message.is_empty() {
            write!(f, ": {}", one_line(&self.message))?;
        }
        let (Some(file), Some(line)) = (&self.file, self.line) else {
            return Ok(());
        };
        write!(f, " ({}, line {line}", one_line(file))?;
        if let Some(function) = self.function.as_deref().filter(|name| *name != "<module>") {
            write!(f, ", in {}", one_line(function))?;
        }
        if let Some(code) = &self.code {
            write!(f, ": `{}`", one_line(code))?;
        }
        f.write_str(")")
    }
}

impl Raised {
    /// The same with a text of bounded length and without control characters, which a terminal would obey.
    fn cleaned(mut self) -> Self {
        let plain = |c: char| match c {
            '\n' | '\t' => c,
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        self.traceback = self.traceback.chars().take(TRACEBACK).map(plain).collect();
        self
    }
}

/// Something in a source that will not work.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, ComponentType, Lift)]
#[component(record)]
pub struct Finding {
    /// The file in the source.
    pub file: String,
    /// Counted from one; 0 where it is the file as a whole.
    pub line: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&one_line(&self.file))?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}; {}", one_line(&self.message), one_line(&self.remedy))
    }
}

/// A source's content, and what its file is called.
type Given<'a> = (&'a [u8], &'a str);

/// Hands an instance of the engine its source.
pub(crate) fn load(
    store: &mut Store<State>,
    instance: &Instance,
    source: &Source,
) -> wasmtime::Result<Result<(), SandboxError>> {
    let load: TypedFunc<Given<'_>, (Result<(), Raised>,)> = function(store, instance, "load")?;
    let (loaded,) = load.call(&mut *store, (&source.content, &source.name))?;
    Ok(loaded.map_err(|raised| SandboxError::PythonSource(Box::new(raised.cleaned()))))
}

/// Everything in a source that will not work.
pub(crate) fn check(store: &mut Store<State>, instance: &Instance, source: &Source) -> wasmtime::Result<Vec<Finding>> {
    let check: TypedFunc<Given<'_>, (Vec<Finding>,)> = function(store, instance, "check")?;
    Ok(check.call(&mut *store, (&source.content, &source.name))?.0)
}

/// The exception behind the call that has just failed.
pub(crate) fn last_raised(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Option<Raised>> {
    let last: TypedFunc<(), (Option<Raised>,)> = function(store, instance, "last-raised")?;
    Ok(last.call(&mut *store, ())?.0.map(Raised::cleaned))
}

fn function<P, R>(store: &mut Store<State>, instance: &Instance, name: &str) -> wasmtime::Result<TypedFunc<P, R>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let missing = || {
        wasmtime::Error::msg(format!(
            "the Python engine has no {LOADER}#{name}: build it again with `cargo xtask engine`"
        ))
    };
    let (_, loader) = instance.get_export(&mut *store, None, LOADER).ok_or_else(missing)?;
    let (_, index) = instance
        .get_export(&mut *store, Some(&loader), name)
        .ok_or_else(missing)?;
    instance.get_typed_func(&mut *store, index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_one_line_for_a_person() {
        let raised = Raised {
            kind: "ValueError".into(),
            message: "no\nsuch thing".into(),
            file: Some("my_algo.py".into()),
            line: Some(12),
            function: Some("train".into()),
            code: Some("x = f(y)".into()),
            traceback: "Traceback\n\x1b[31m".into(),
        };
        assert_eq!(
            raised.to_string(),
            "ValueError: no such thing (my_algo.py, line 12, in train: `x = f(y)`)"
        );
        assert_eq!(raised.cleaned().traceback, "Traceback\n\u{fffd}[31m");
    }
}
