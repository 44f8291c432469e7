//! From a file to a plugin that is ready to run: recognised, wrapped, checked against the contract, compiled.

use crate::bindings::PluginPre;
use crate::cache::Cache;
use crate::code::{self, hex};
use crate::description::Description;
use crate::engine::Engine;
use crate::error::SandboxError;
use crate::inspect::{Inspection, Problem};
use crate::limits::Limits;
use crate::python::{Finding, Source};
use crate::sniff::{self, Kind};
use crate::state::State;
use crate::surface::Surface;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;
use trainyard_kernels::bytes;
use trainyard_parameters::one_line;
use wasmtime::component::Component;

/// The largest file that is taken.
const LARGEST: u64 = 128 << 20;
/// What Python calls a file that came without a name.
const UNNAMED: &str = "plugin.py";

/// Where a plugin's machine code came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The cache.
    Cached,
    /// The compiler just now.
    Compiled,
    /// The compiler just now, and the cache could not keep it for the reason given.
    NotKept(String),
    /// Whoever started this process, and had it compiled before.
    Given,
}

/// A plugin that is ready to run, any number of times. A clone is the same plugin.
#[derive(Clone)]
pub struct Plugin {
    engine: Engine,
    pre: PluginPre<State>,
    kind: Kind,
    digest: String,
    origin: Origin,
    wasi: bool,
    /// For the Python engine, which `pre` is then, and its digest.
    source: Option<(Source, String)>,
}

impl Plugin {
    /// Loads a file.
    pub fn open(engine: &Engine, path: impl AsRef<Path>) -> Result<Self, SandboxError> {
        let path = path.as_ref();
        Self::load_named(engine, &read(path)?, &path.display().to_string())
    }

    /// Loads a file's content.
    pub fn load(engine: &Engine, content: &[u8]) -> Result<Self, SandboxError> {
        Self::load_named(engine, content, UNNAMED)
    }

    /// Loads the content of a file that has a name, by which Python calls it in its messages.
    pub fn load_named(engine: &Engine, content: &[u8], name: &str) -> Result<Self, SandboxError> {
        check_size(content.len() as u64)?;
        let kind = sniff::sniff(content)?;
        if kind.is_python() {
            let (component, digest, origin) = engine.python()?;
            return Self::python(engine, &component, (&digest, origin), (content, kind, name));
        }
        let digest = Sha256::digest(content).into();
        let (component, origin) = from_cache_or(engine, &digest, || compiled(engine, content, kind))?;
        Self::ready(engine, &component, kind, hex(&digest), origin)
    }

    /// Python source on the engine's component.
    fn python(
        engine: &Engine,
        component: &Component,
        (digest, origin): (&str, Origin),
        (content, kind, name): (&[u8], Kind, &str),
    ) -> Result<Self, SandboxError> {
        let mut plugin = Self::ready(engine, component, kind, hex(&Sha256::digest(content)), origin)?;
        let name = name.to_owned();
        plugin.source = Some((
            Source {
                content: content.into(),
                name,
            },
            digest.to_owned(),
        ));
        Ok(plugin)
    }

    /// As [`Plugin::from_code`], for Python source: the code is the Python engine's, which `engine_digest` names.
    ///
    /// # Safety
    ///
    /// As of [`Plugin::from_code`].
    #[cfg(unix)]
    pub unsafe fn python_from_code(
        engine: &Engine,
        engine_digest: &str,
        code: &std::fs::File,
        content: &[u8],
        name: &str,
    ) -> Result<Self, SandboxError> {
        check_size(content.len() as u64)?;
        let kind = sniff::sniff(content)?;
        // SAFETY: the caller vouches for the file.
        let component = unsafe { code::component(engine.wasmtime(), engine_digest, code) }?;
        Self::python(
            engine,
            &component,
            (engine_digest, Origin::Given),
            (content, kind, name),
        )
    }

    /// Compiles a component of the contract without asking it about itself: the content of a file of its machine code.
    pub fn machine_code(engine: &Engine, content: &[u8]) -> Result<Vec<u8>, SandboxError> {
        check_size(content.len() as u64)?;
        let digest = Sha256::digest(content).into();
        let component = compiled(engine, content, sniff::sniff(content)?)?;
        Ok(code::seal(
            component.serialize().map_err(SandboxError::engine)?,
            &digest,
        ))
    }

    /// Compiles a file's content for other processes to use with [`Plugin::from_code`]: the plugin, and the content of a
    /// file of its machine code. Asks no cache.
    pub fn compile(engine: &Engine, content: &[u8]) -> Result<(Self, Vec<u8>), SandboxError> {
        check_size(content.len() as u64)?;
        let kind = sniff::sniff(content)?;
        let digest = Sha256::digest(content).into();
        let component = compiled(engine, content, kind)?;
        let sealed = code::seal(component.serialize().map_err(SandboxError::engine)?, &digest);
        let plugin = Self::ready(engine, &component, kind, hex(&digest), Origin::Compiled)?;
        Ok((plugin, sealed))
    }

    /// A plugin from a file of machine code that [`Plugin::compile`] made, in another process with an engine like this
    /// one. The file is mapped, not read: a large plugin is there as quickly as a small one. Code of another plugin, and
    /// of another version of this program, is refused.
    ///
    /// # Safety
    ///
    /// The file holds machine code, and nothing here looks whether it is what the compiler made. The caller vouches that it
    /// is ([`code::is_whole`] tells whether it is whole), and that nobody writes to the file as long as this process
    /// lives.
    #[cfg(unix)]
    pub unsafe fn from_code(engine: &Engine, digest: &str, code: &std::fs::File) -> Result<Self, SandboxError> {
        // SAFETY: the caller vouches for the file.
        let component = unsafe { code::component(engine.wasmtime(), digest, code) }?;
        // Whatever it was, it is a component now.
        Self::ready(engine, &component, Kind::Component, digest.to_owned(), Origin::Given)
    }

    fn ready(
        engine: &Engine,
        component: &Component,
        kind: Kind,
        digest: String,
        origin: Origin,
    ) -> Result<Self, SandboxError> {
        let wasi = component
            .component_type()
            .imports(engine.wasmtime())
            .any(|(name, _)| name.starts_with("wasi:"));
        let pre = engine
            .linker(wasi)?
            .instantiate_pre(component)
            .and_then(PluginPre::new)
            .map_err(|error| mismatch(&format!("{error:#}")))?;
        Ok(Plugin {
            engine: engine.clone(),
            pre,
            kind,
            digest,
            origin,
            wasi,
            source: None,
        })
    }

    /// SHA-256 of the Python engine that runs it, in hexadecimal; nothing for WebAssembly.
    pub fn engine_digest(&self) -> Option<&str> {
        self.source.as_ref().map(|(_, digest)| digest.as_str())
    }

    pub(crate) fn source(&self) -> Option<&Source> {
        self.source.as_ref().map(|(source, _)| source)
    }

    /// Everything in Python source that will not work here; nothing for WebAssembly.
    pub fn findings(&self, limits: &Limits) -> Result<Vec<Finding>, SandboxError> {
        match self.source() {
            Some(source) => crate::run::findings(self, source, limits),
            None => Ok(Vec::new()),
        }
    }

    /// SHA-256 of the file, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Module or component.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where its machine code came from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Asks the plugin about itself.
    pub fn describe(&self, limits: &Limits) -> Result<Description, SandboxError> {
        crate::run::describe(self, limits)
    }

    /// The shortest of so many instantiations, for benchmarks.
    pub fn time_to_instantiate(&self, times: u32) -> Result<Duration, SandboxError> {
        crate::run::time_to_instantiate(self, times)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn pre(&self) -> &PluginPre<State> {
        &self.pre
    }

    pub(crate) fn uses_wasi(&self) -> bool {
        self.wasi
    }
}

impl Inspection {
    /// Inspects a file, and asks it about itself if it fits this host.
    pub fn of_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Self, SandboxError> {
        let path = path.as_ref();
        Inspection::of_named(engine, &read(path)?, &path.display().to_string())
    }

    /// As [`Inspection::of_file`], of a file's content. The name is what messages call it.
    pub fn of_named(engine: &Engine, content: &[u8], name: &str) -> Result<Self, SandboxError> {
        let mut inspection = Inspection::of(content)?;
        if inspection.problems.is_empty() {
            let plugin = Plugin::load_named(engine, content, name)?;
            inspection.description = Some(plugin.describe(&Limits::default())?);
        }
        Ok(inspection)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SandboxError> {
    let io = |source| SandboxError::Io {
        what: format!("read the plugin {}", path.display()),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        return Err(SandboxError::NotAPlugin {
            found: format!("{} is a folder", path.display()),
            remedy: "give the .wasm file that is built from it, or the .py file".into(),
        });
    }
    check_size(metadata.len())?;
    std::fs::read(path).map_err(io)
}

fn check_size(size: u64) -> Result<(), SandboxError> {
    if size > LARGEST {
        return Err(SandboxError::NotAPlugin {
            found: format!("the file has {}", bytes(size)),
            remedy: format!("a plugin has at most {}", bytes(LARGEST)),
        });
    }
    Ok(())
}

/// A component of a file that is no plugin by itself, from the cache if it is there.
pub(crate) fn component_of_file(engine: &Engine, path: &Path) -> Result<(Component, String, Origin), SandboxError> {
    let content = read(path)?;
    let digest = Sha256::digest(&content).into();
    let (component, origin) = from_cache_or(engine, &digest, || compiled(engine, &content, sniff::sniff(&content)?))?;
    Ok((component, hex(&digest), origin))
}

fn from_cache_or(
    engine: &Engine,
    digest: &[u8; 32],
    compile: impl FnOnce() -> Result<Component, SandboxError>,
) -> Result<(Component, Origin), SandboxError> {
    if let Some(component) = engine.cache().and_then(|cache| cached(engine, cache, digest)) {
        return Ok((component, Origin::Cached));
    }
    let component = compile()?;
    let origin = kept(engine, &component, digest);
    Ok((component, origin))
}

/// What the cache has of a plugin.
fn cached(engine: &Engine, cache: &Cache, digest: &[u8; 32]) -> Option<Component> {
    let code = cache.read(&code::name(&hex(digest), engine.wasmtime()))?;
    // SAFETY: the bytes are what `Component::serialize` gave: the cache's folder can be written by us alone, and the
    // content has just matched the hash that was stored with it.
    unsafe { Component::deserialize(engine.wasmtime(), code) }.ok()
}

/// Puts a compiled plugin into the cache, if there is one.
fn kept(engine: &Engine, component: &Component, digest: &[u8; 32]) -> Origin {
    let Some(cache) = engine.cache() else {
        return Origin::Compiled;
    };
    let name = code::name(&hex(digest), engine.wasmtime());
    let kept = component
        .serialize()
        .map_err(|error| error.to_string())
        .and_then(|code| {
            cache
                .write(&name, &code::seal(code, digest))
                .map_err(|error| error.to_string())
        });
    match kept {
        Ok(()) => Origin::Compiled,
        Err(reason) => Origin::NotKept(reason),
    }
}

/// Wraps, checks and compiles.
fn compiled(engine: &Engine, content: &[u8], kind: Kind) -> Result<Component, SandboxError> {
    let wrapped = component(content, kind)?;
    Inspection::of_component(content, kind, &wrapped)?.check()?;
    Component::from_binary(engine.wasmtime(), &wrapped).map_err(|error| SandboxError::NotAPlugin {
        found: format!("it cannot be compiled: {}", one_line(&format!("{error:#}"))),
        remedy: "build it with the SDK".into(),
    })
}

/// The component that a file is, or becomes.
pub(crate) fn component(content: &[u8], kind: Kind) -> Result<Cow<'_, [u8]>, SandboxError> {
    match kind {
        Kind::Component => Ok(Cow::Borrowed(content)),
        Kind::Module => wrap(content).map(Cow::Owned),
        Kind::Python | Kind::PythonZip => Err(SandboxError::NotAPlugin {
            found: "it is Python source".into(),
            remedy: "it is run by the Python engine, and not compiled".into(),
        }),
    }
}

/// Makes a component of a core module that carries the types of its world.
fn wrap(content: &[u8]) -> Result<Vec<u8>, SandboxError> {
    let module = sniff::module(content)?;
    let refuse = |found: String, remedy: &str| SandboxError::NotAPlugin {
        found,
        remedy: remedy.to_owned(),
    };
    if let Some((_, name)) = module.imports.iter().find(|(module, _)| module.starts_with("wasi_")) {
        return Err(refuse(
            format!("it is a module for WASI preview 1 (it imports {})", one_line(name)),
            "build it for wasm32-unknown-unknown, or as a component for wasm32-wasip2",
        ));
    }
    if module.worlds.is_empty() {
        let imports = match module.imports.first() {
            Some((module, name)) => format!(", and imports {}.{}", one_line(module), one_line(name)),
            None => String::new(),
        };
        return Err(refuse(
            format!(
                "it is a WebAssembly module that was not built with the SDK: it carries no types of the contract{imports}"
            ),
            "build it with `trainyard plugin build`, or make it a component that exports the contract",
        ));
    }
    wasmparser::Validator::new()
        .validate_all(content)
        .map_err(|error| damaged(&error))?;
    check_worlds(&module.worlds)?;
    // What the encoder reads has been checked, but it was not written for files from anywhere.
    let encoded = std::panic::catch_unwind(|| {
        wit_component::ComponentEncoder::default()
            .validate(true)
            .module(content)
            .and_then(|mut encoder| encoder.encode())
            .map_err(|error| format!("{error:#}"))
    });
    match encoded {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(error)) => Err(mismatch(&error)),
        Err(_) => Err(mismatch("the types that the module carries make no sense")),
    }
}

/// The encoder recurses without end over packages that depend on each other in a circle. A plugin's world has the
/// interfaces of one package, so no more than that is let through.
fn check_worlds(worlds: &[&[u8]]) -> Result<(), SandboxError> {
    let mut package = None;
    for world in worlds {
        let surface = Surface::of_world(world).map_err(|error| damaged(&error))?;
        let Some(surface) = surface else {
            return Err(mismatch(
                "the types that the module carries are in a form that is not known",
            ));
        };
        if let Some(name) = surface.bare.iter().chain(&surface.bare_exports).next() {
            return Err(mismatch(&format!("its world has {name}, which is no interface")));
        }
        for interface in surface.imports.iter().chain(&surface.exports) {
            let theirs = (&interface.name.package, &interface.name.version);
            let first = package.get_or_insert((theirs.0.clone(), theirs.1.clone()));
            if (&first.0, &first.1) != theirs {
                return Err(mismatch(&format!(
                    "the world of a module has interfaces of one package, and this one has {} besides {}",
                    interface.name, first.0
                )));
            }
        }
    }
    Ok(())
}

pub(crate) fn damaged(error: &wasmparser::BinaryReaderError) -> SandboxError {
    SandboxError::NotAPlugin {
        found: format!(
            "the file is damaged WebAssembly: {} (at byte {})",
            one_line(error.message()),
            error.offset()
        ),
        remedy: "build or download it again".into(),
    }
}

/// For what the inspection did not find first.
fn mismatch(error: &str) -> SandboxError {
    SandboxError::ContractMismatch(vec![Problem {
        interface: String::new(),
        item: None,
        expected: None,
        found: None,
        problem: one_line(error),
        remedy: format!(
            "build it with the SDK for version {} of the contract",
            crate::inspect::contract_version()
        ),
    }])
}
