//! A plugin's machine code as a file: how it is written, checked, and mapped into memory.
//!
//! A file is the code as wasmtime serialises it, and a trailer that names the plugin, hashes both, and marks the end. The
//! code comes first, so that it lies in memory as it lies in the file: page by page, to be mapped and not read.
//!
//! Two checks are made of such a file, by two parties:
//! - [`is_whole`] hashes all of it. It is for whoever keeps code, when it is stored or found again.
//! - The trailer alone is looked at when code is mapped ([`crate::Plugin::from_code`]): it is there, and it names the right
//!   plugin. It takes no time, and whoever hands the code over vouches for the rest.

use crate::engine::{EngineOptions, config};
use crate::error::SandboxError;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::sync::LazyLock;
use trainyard_parameters::one_line;

const MAGIC: &[u8; 16] = b"trainyard-code-2";
const HASH: usize = 32;
/// The plugin's digest, the hash of code and digest, the mark.
const TRAILER: usize = 2 * HASH + MAGIC.len();

/// The name of the file for a plugin's code: holds everything that decides what it compiles to, for an engine with the
/// default options. The same plugin has another name on another processor or with another version of this program.
pub fn code_name(digest: &str) -> String {
    static DEFAULT: LazyLock<Option<wasmtime::Engine>> =
        LazyLock::new(|| wasmtime::Engine::new(&config(&EngineOptions::default())).ok());
    match &*DEFAULT {
        Some(engine) => name(digest, engine),
        // Nothing can be compiled on such a machine, so nothing will be there under this name.
        None => format!("{digest}-without-engine"),
    }
}

/// Whether a file holds a plugin's machine code, complete and unchanged since it was written.
pub fn is_whole(mut file: &File, digest: &str) -> std::io::Result<bool> {
    let mut content = Vec::new();
    file.read_to_end(&mut content)?;
    Ok(unseal(&content).is_some_and(|(_, of)| hex(of) == digest))
}

/// Everything that decides what a plugin compiles to.
pub(crate) fn name(digest: &str, engine: &wasmtime::Engine) -> String {
    let mut hash = Sha256::new();
    hash.update(MAGIC);
    hash.update(digest);
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(cpu_features());
    // Holds wasmtime's version, the target and every setting of the compiler.
    engine.precompile_compatibility_hash().hash(&mut Feed(&mut hash));
    hex(&hash.finalize())
}

/// Code with its trailer.
pub(crate) fn seal(mut code: Vec<u8>, digest: &[u8; HASH]) -> Vec<u8> {
    code.extend_from_slice(digest);
    let hash = Sha256::digest(&code);
    code.extend_from_slice(&hash);
    code.extend_from_slice(MAGIC);
    code
}

/// The code in a file's content, and the digest of its plugin; nothing if it is damaged or of another kind.
pub(crate) fn unseal(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (hashed, rest) = content.split_at_checked(content.len().checked_sub(HASH + MAGIC.len())?)?;
    let (hash, magic) = rest.split_at(HASH);
    if magic != MAGIC || hash != Sha256::digest(hashed).as_slice() {
        return None;
    }
    hashed.split_at_checked(hashed.len().checked_sub(HASH)?)
}

/// SHA-256 of a file's content, in hexadecimal: how plugins are named everywhere.
pub fn digest(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Lets a `Hash` write into a hash that is the same in every process.
struct Feed<'a>(&'a mut Sha256);

impl Hasher for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// The instructions that the compiler may have used: a home folder may be shared between unlike machines.
fn cpu_features() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! present {
            ($($name:tt)*) => {
                [$(($name, std::arch::is_x86_feature_detected!($name))),*]
            };
        }
        present!(
            "sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "bmi1" "bmi2" "lzcnt"
            "cmpxchg16b" "avx512f" "avx512bitalg" "avx512dq" "avx512vl" "avx512vbmi"
        )
        .iter()
        .filter(|(_, present)| *present)
        .map(|(name, _)| format!("{name},"))
        .collect()
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH.to_owned()
    }
}

/// The component whose code is in a file, if the trailer names the right plugin.
///
/// # Safety
///
/// The file holds what [`seal`] made of a component's code, and nobody writes to it as long as this process lives.
#[cfg(unix)]
pub(crate) unsafe fn component(
    engine: &wasmtime::Engine,
    digest: &str,
    file: &File,
) -> Result<wasmtime::component::Component, SandboxError> {
    use std::os::unix::fs::FileExt;
    let io = |source| SandboxError::Io {
        what: "read the plugin's machine code".into(),
        source,
    };
    let foreign = || SandboxError::Code("it is not the code of this plugin".into());
    let size = file.metadata().map_err(io)?.len();
    let length = size
        .checked_sub(TRAILER as u64)
        .filter(|&code| code > 0)
        .ok_or_else(foreign)?;
    let mut trailer = [0; TRAILER];
    file.read_exact_at(&mut trailer, length).map_err(io)?;
    if hex(&trailer[..HASH]) != digest || trailer[2 * HASH..] != MAGIC[..] {
        return Err(foreign());
    }
    // SAFETY: the caller vouches for the content, and that it stays as it is.
    unsafe { loaded(engine, file, length as usize) }
        .map_err(io)?
        .map_err(|error| SandboxError::Code(one_line(&format!("{error:#}"))))
}

/// Maps the code, to be read and run in place.
#[cfg(all(unix, target_arch = "x86_64"))]
unsafe fn loaded(
    engine: &wasmtime::Engine,
    file: &File,
    length: usize,
) -> std::io::Result<wasmtime::Result<wasmtime::component::Component>> {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    // It is never unmapped: wasmtime may look at it until its very last user is gone, and whoever maps code does so for a
    // few plugins in a process's life.
    // SAFETY: a new mapping at an address of the kernel's choice; nothing else is there.
    let start = unsafe {
        mmap(
            std::ptr::null_mut(),
            length,
            ProtFlags::READ,
            MapFlags::PRIVATE,
            file,
            0,
        )
    }?;
    let Some(code) = std::ptr::NonNull::new(std::ptr::slice_from_raw_parts_mut(start.cast(), length)) else {
        return Err(std::io::Error::other("it was mapped to nowhere"));
    };
    // SAFETY: the caller vouches for the content, and that it stays as it is; the mapping is never taken away.
    Ok(unsafe { wasmtime::component::Component::deserialize_raw(engine, code) })
}

/// Reads the code. On processors that must be told of new code, only wasmtime itself makes it executable, in its own memory.
#[cfg(all(unix, not(target_arch = "x86_64")))]
unsafe fn loaded(
    engine: &wasmtime::Engine,
    file: &File,
    length: usize,
) -> std::io::Result<wasmtime::Result<wasmtime::component::Component>> {
    use std::os::unix::fs::FileExt;
    let mut code = vec![0; length];
    file.read_exact_at(&mut code, 0)?;
    // SAFETY: the caller vouches for the content.
    Ok(unsafe { wasmtime::component::Component::deserialize(engine, code) })
}

/// Lets wasmtime run code in memory that is not its own.
#[cfg(all(unix, target_arch = "x86_64"))]
pub(crate) fn allow_mapped(config: &mut wasmtime::Config) {
    config.with_custom_code_memory(Some(std::sync::Arc::new(Executable)));
}

/// Makes code executable, wherever it lies. This processor needs not be told of it.
#[cfg(all(unix, target_arch = "x86_64"))]
struct Executable;

#[cfg(all(unix, target_arch = "x86_64"))]
impl wasmtime::CustomCodeMemory for Executable {
    fn required_alignment(&self) -> usize {
        rustix::param::page_size()
    }

    fn publish_executable(&self, start: *const u8, length: usize) -> wasmtime::Result<()> {
        use rustix::mm::{MprotectFlags, mprotect};
        let whole = length.next_multiple_of(self.required_alignment());
        // SAFETY: wasmtime hands over pages that hold its code and nothing else, and does not write to them any more.
        unsafe {
            mprotect(
                start.cast_mut().cast(),
                whole,
                MprotectFlags::READ | MprotectFlags::EXEC,
            )
        }?;
        Ok(())
    }

    fn unpublish_executable(&self, start: *const u8, length: usize) -> wasmtime::Result<()> {
        use rustix::mm::{MprotectFlags, mprotect};
        let whole = length.next_multiple_of(self.required_alignment());
        // SAFETY: wasmtime hands over pages that no code runs in any more. A file's own pages stay as they are: the
        // mapping is private.
        unsafe {
            mprotect(
                start.cast_mut().cast(),
                whole,
                MprotectFlags::READ | MprotectFlags::WRITE,
            )
        }?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_comes_off_only_whole() {
        let sealed = seal(b"machine code".to_vec(), &[7; HASH]);
        assert_eq!(unseal(&sealed), Some((&b"machine code"[..], &[7; HASH][..])));
        for place in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[place] ^= 1;
            assert_eq!(unseal(&flipped), None, "byte {place}");
            assert_eq!(unseal(&sealed[..place]), None, "cut at {place}");
        }
    }

    #[test]
    fn a_name_depends_on_the_plugin_and_on_nothing_that_changes() {
        assert_eq!(code_name("a"), code_name("a"));
        assert_ne!(code_name("a"), code_name("b"));
    }
}
