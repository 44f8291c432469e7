//! Builds `tests/cuda-emulator`: libraries that stand in for NVIDIA's driver and its libraries, and the CUDA kernels compiled for this
//! machine's processor, so that what runs on a card is tested where there is none.

mod rewrite;

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::process::{cargo, shown};

/// A stand-in library, its sources, and the name that programs link or load it by.
struct Library {
    file: &'static str,
    sources: &'static [&'static str],
    /// Also found by this name.
    alias: Option<&'static str>,
}

/// What the others share comes first.
const LIBRARIES: [Library; 6] = [
    Library {
        file: "libcuda_emulator.so",
        sources: &["state.cpp", "streams.cpp", "blocks.cpp"],
        alias: None,
    },
    Library {
        file: "libcuda.so.1",
        sources: &["driver.cpp"],
        alias: Some("libcuda.so"),
    },
    Library {
        file: "libcublas.so.13",
        sources: &["blas.cpp"],
        alias: Some("libcublas.so"),
    },
    Library {
        file: "libcublasLt.so.13",
        sources: &["blas_lt.cpp"],
        alias: Some("libcublasLt.so"),
    },
    Library {
        file: "libcurand.so.10",
        sources: &["rand.cpp"],
        alias: Some("libcurand.so"),
    },
    Library {
        file: "libnvidia-ml.so.1",
        sources: &["nvml.cpp"],
        alias: Some("libnvidia-ml.so"),
    },
];

/// candle's kernels that are not emulated: quantised weights, which nothing here uses.
const LEFT_OUT: [&str; 2] = ["quantized", "mmvq_gguf"];

const OF_LIBRARIES: [&str; 7] = [
    "-std=c++17",
    "-O2",
    "-ftree-vectorize",
    "-g1",
    "-fPIC",
    "-Wall",
    "-Wextra",
];
/// Kernels are compiled so that each access to memory asks first. A card knows no aliasing rules, its integers wrap, and a product and
/// a sum are one operation to it.
const OF_KERNELS: [&str; 18] = [
    "-std=c++17",
    "-O2",
    "-g1",
    "-fPIC",
    "-w",
    "-fvisibility=hidden",
    "-fno-gnu-unique",
    "-fno-strict-aliasing",
    "-fwrapv",
    "-ffp-contract=fast",
    "-fsanitize=kernel-address",
    "--param",
    "asan-instrumentation-with-call-threshold=0",
    "--param",
    "asan-stack=0",
    "--param=asan-globals=0",
    "-fsanitize=alignment,bounds",
    "-fno-sanitize-recover=alignment,bounds",
];

/// What this processor has, so that a product and a sum can be one operation.
fn of_processor() -> &'static [&'static str] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("fma") {
        return &["-mfma"];
    }
    &[]
}

/// Whether the emulator can be built here.
pub fn available() -> Result<()> {
    if !cfg!(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )) {
        bail!("the CUDA emulator is for Linux on x86-64 and aarch64");
    }
    if !is_gcc(compiler()) {
        bail!("there is no g++ (Debian, Ubuntu: sudo apt-get install g++)");
    }
    Ok(())
}

/// The folder of the stand-in for CUDA's toolkit, with `bin/nvcc`.
pub fn toolkit() -> PathBuf {
    sources().join("toolkit")
}

/// Builds what has changed. Gives the folder to have in `LD_LIBRARY_PATH`.
pub fn build() -> Result<PathBuf> {
    available()?;
    let folder = paths::target().join("cuda-emulator");
    let kernels = folder.join("kernels");
    fs::create_dir_all(&kernels).with_context(|| kernels.display().to_string())?;
    let _alone = alone_in(&folder)?;
    let common = hash_of(&files_in(&sources().join("include"))?)?;
    let mut library_sources = files_in(&sources().join("src"))?;
    library_sources.extend(files_in(&sources().join("include"))?);
    let of_libraries = hash_of(&library_sources)?;

    let mut built = 0;
    // Each is linked with the first.
    let (first, others) = LIBRARIES.split_at(1);
    for group in [first, others] {
        let jobs: Vec<_> = group
            .iter()
            .filter(|library| !is_current(&folder.join(library.file), of_libraries))
            .collect();
        built += jobs.len();
        side_by_side(&jobs, |library| library_for(library, &folder, of_libraries))?;
    }

    let mut names = Vec::new();
    let mut jobs = Vec::new();
    for (group, directory) in [
        ("candle", candle_kernels()?),
        ("trainyard", paths::root().join("host/kernels/src/cuda")),
        ("test", sources().join("tests")),
    ] {
        if !directory.is_dir() {
            continue;
        }
        // Only what lies in the folder itself: of candle's, the folders in it hold kernels for quantised weights.
        let mut sources = files_in(&directory)?;
        sources.retain(|file| file.parent() == Some(&directory));
        let shared: Vec<_> = sources
            .iter()
            .filter(|file| has_extension(file, "cuh"))
            .cloned()
            .collect();
        let shared = hash_of(&shared)?;
        for source in sources.into_iter().filter(|file| has_extension(file, "cu")) {
            let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if group == "candle" && LEFT_OUT.contains(&stem.as_str()) {
                continue;
            }
            let target = kernels.join(format!("{group}-{stem}.so"));
            let hash = joint(&[common, shared, hash_of(std::slice::from_ref(&source))?]);
            names.push(target.clone());
            if !is_current(&target, hash) {
                jobs.push((source, target, hash));
            }
        }
    }
    for file in files_in(&kernels)? {
        if has_extension(&file, "so") && !names.contains(&file) {
            fs::remove_file(&file).with_context(|| file.display().to_string())?;
        }
    }
    built += jobs.len();
    side_by_side(&jobs, |(source, target, hash)| {
        kernels_of(source, target, *hash, &folder)
    })?;
    if built == 0 {
        println!("the CUDA emulator is as its sources are: {}", folder.display());
    } else {
        println!("the CUDA emulator is {}", folder.display());
    }
    Ok(folder)
}

fn sources() -> PathBuf {
    paths::root().join("tests/cuda-emulator")
}

/// A compiler, and what comes before its own arguments: `ccache g++` is one and its argument.
#[derive(Hash)]
struct Compiler(Vec<String>);

impl Compiler {
    fn usual() -> Compiler {
        Compiler(vec!["g++".to_owned()])
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.0[0]);
        command.args(&self.0[1..]);
        command
    }
}

/// GCC: the one of CXX if it is one, since others put other calls before accesses.
fn compiler() -> &'static Compiler {
    static FOUND: OnceLock<Compiler> = OnceLock::new();
    FOUND.get_or_init(|| {
        let words = std::env::var("CXX").unwrap_or_default();
        let named = Compiler(words.split_whitespace().map(str::to_owned).collect());
        if named.0.is_empty() {
            return Compiler::usual();
        }
        if !is_gcc(&named) {
            println!("CXX ({words}) is not GCC, which the CUDA emulator takes: g++ compiles it");
            return Compiler::usual();
        }
        named
    })
}

fn is_gcc(compiler: &Compiler) -> bool {
    let output = compiler.command().arg("--version").output();
    output.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Free Software Foundation")
    })
}

/// Nobody else builds in the folder as long as the file that this gives is open.
pub fn alone_in(folder: &Path) -> Result<fs::File> {
    let path = folder.join(".lock");
    let file = fs::File::create(&path).with_context(|| path.display().to_string())?;
    file.lock().with_context(|| path.display().to_string())?;
    Ok(file)
}

/// Writes what differs from what is there, which programs may be reading: it takes its place at once.
pub fn write_changed(target: &Path, content: &[u8]) -> Result<()> {
    if fs::read(target).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let made = unfinished(target);
    fs::write(&made, content).with_context(|| made.display().to_string())?;
    fs::rename(&made, target).with_context(|| target.display().to_string())
}

/// Where cargo keeps the sources of candle's kernels.
fn candle_kernels() -> Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--all-features"])
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "candle-kernels")
        .and_then(|package| package["manifest_path"].as_str())
        .and_then(|manifest| Some(Path::new(manifest).parent()?.join("src")))
        .context("candle-kernels is not among the workspace's dependencies any more")
}

fn library_for(library: &Library, folder: &Path, hash: u64) -> Result<()> {
    println!("compiling {}", library.file);
    let target = folder.join(library.file);
    let made = unfinished(&target);
    let mut command = compiler().command();
    // A newer compiler may warn of what nobody here has seen.
    let strict = std::env::var_os("CI").map(|_| "-Werror");
    command
        .args(OF_LIBRARIES)
        .args(strict)
        .args(["-shared", "-Wl,-z,defs", &format!("-Wl,-soname,{}", library.file)])
        .args(library.sources.iter().map(|name| sources().join("src").join(name)))
        .arg("-o")
        .arg(&made);
    if library.file != LIBRARIES[0].file {
        command
            .arg("-L")
            .arg(folder)
            .args(["-l:libcuda_emulator.so", "-Wl,-rpath,$ORIGIN"]);
    }
    command.args(["-ldl", "-lpthread"]);
    finished(&mut command)?;
    fs::rename(&made, &target).with_context(|| target.display().to_string())?;
    if let Some(alias) = library.alias {
        let alias = folder.join(alias);
        if fs::read_link(&alias).is_ok_and(|target| target == Path::new(library.file)) {
            return stamp(&target, hash);
        }
        let made = unfinished(&alias);
        if made.symlink_metadata().is_ok() {
            fs::remove_file(&made).with_context(|| made.display().to_string())?;
        }
        std::os::unix::fs::symlink(library.file, &made).with_context(|| made.display().to_string())?;
        fs::rename(&made, &alias).with_context(|| alias.display().to_string())?;
    }
    stamp(&target, hash)
}

/// Compiles one file of kernels: through the preprocessor, rewritten, then by the compiler.
fn kernels_of(source: &Path, target: &Path, hash: u64, folder: &Path) -> Result<()> {
    println!("compiling {} for the processor", shown_path(source));
    let include = sources().join("include");
    let (text, object) = (
        unfinished(&target.with_extension("ii")),
        unfinished(&target.with_extension("o")),
    );
    finished(
        compiler()
            .command()
            .args(["-std=c++17", "-x", "c++", "-E", "-include"])
            .arg(include.join("cuda_emulator.h"))
            .arg("-I")
            .arg(&include)
            .arg(source)
            .arg("-o")
            .arg(&text),
    )?;
    let preprocessed = fs::read_to_string(&text).with_context(|| text.display().to_string())?;
    let source = fs::canonicalize(source).with_context(|| source.display().to_string())?;
    let rewritten = rewrite::rewrite(&preprocessed, &source.display().to_string())
        .with_context(|| format!("{} cannot be compiled for the processor", shown_path(&source)))?;
    fs::write(&text, rewritten).with_context(|| text.display().to_string())?;
    finished(
        compiler()
            .command()
            .args(OF_KERNELS)
            .args(of_processor())
            .args(["-x", "c++-cpp-output", "-c"])
            .arg(&text)
            .arg("-o")
            .arg(&object),
    )?;
    finished(
        compiler()
            .command()
            .args(["-shared", "-Wl,-z,defs"])
            .arg(&object)
            .arg("-o")
            .arg(unfinished(target))
            .arg("-L")
            .arg(folder)
            .args(["-l:libcuda_emulator.so", "-Wl,-rpath,$ORIGIN/..", "-lm"]),
    )?;
    fs::rename(unfinished(target), target).with_context(|| target.display().to_string())?;
    fs::remove_file(&text).with_context(|| text.display().to_string())?;
    fs::remove_file(&object).with_context(|| object.display().to_string())?;
    stamp(target, hash)
}

/// Where a file is written before it takes its place at once: tests may be loading the one that is there. Another process that writes
/// it, too, has another name for it.
fn unfinished(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new{}", std::process::id()));
    target.with_file_name(name)
}

fn has_extension(file: &Path, extension: &str) -> bool {
    file.extension().is_some_and(|found| found == extension)
}

fn shown_path(file: &Path) -> String {
    match file.strip_prefix(paths::root()) {
        Ok(inside) => inside.display().to_string(),
        // Of a crate's own folder.
        Err(_) => {
            let mut parts: Vec<_> = file.iter().rev().take(3).map(|part| part.to_string_lossy()).collect();
            parts.reverse();
            parts.join("/")
        }
    }
}

/// The files below a folder, in order.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_in(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn hash_of(files: &[PathBuf]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    (
        compiler(),
        OF_LIBRARIES,
        OF_KERNELS,
        of_processor(),
        include_str!("mod.rs"),
        include_str!("rewrite.rs"),
    )
        .hash(&mut hasher);
    for file in files {
        file.hash(&mut hasher);
        fs::read(file)
            .with_context(|| file.display().to_string())?
            .hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Of one file, by its content alone.
pub fn hash(file: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(file)
        .with_context(|| file.display().to_string())?
        .hash(&mut hasher);
    Ok(hasher.finish())
}

fn joint(hashes: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hashes.hash(&mut hasher);
    hasher.finish()
}

fn stamp_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".built");
    target.with_file_name(name)
}

fn is_current(target: &Path, hash: u64) -> bool {
    target.is_file() && fs::read_to_string(stamp_of(target)).is_ok_and(|text| text == hash.to_string())
}

fn stamp(target: &Path, hash: u64) -> Result<()> {
    let file = stamp_of(target);
    fs::write(&file, hash.to_string()).with_context(|| file.display().to_string())
}

/// Runs a compiler: what it said, which is the error when it fails.
pub fn finished(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        // One mistake in a template fills the screen.
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<_> = said.lines().take(40).collect();
        bail!("`{}` failed:\n{}", shown(command), said.join("\n"));
    }
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Does all jobs, as many at once as there are processors; the first error when one fails.
pub fn side_by_side<T: Sync>(jobs: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(jobs.len()) {
            scope.spawn(|| {
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(job) {
                        next.store(jobs.len(), Ordering::Relaxed);
                        failed
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .get_or_insert(error);
                    }
                }
            });
        }
    });
    failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}
