//! The program for NVIDIA cards, `cargo xtask build --cuda`, on a machine with or without CUDA's toolkit and with or without a card; and
//! the tests of what is meant for them, on a card where there is one and else on the emulator of `tests/cuda-emulator`.
//!
//! The driver and its libraries are loaded when a card is asked for, so that one program runs everywhere; to link it, empty libraries stand
//! in for them. Kernels are compiled by the toolkit's nvcc where there is one, and else by that of NVIDIA's packages for Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, run, succeeds};
use crate::{console, emulator, paths, python};

/// What nvcc needs, in the version that candle is built for. Each without what it asks for: some gigabytes that only run programs.
const PACKAGES: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.*",
    "nvidia-nvvm==13.0.*",
    "nvidia-cuda-crt==13.0.*",
    "nvidia-cuda-runtime==13.0.*",
    "nvidia-cuda-cccl==13.0.*",
];
/// The version of CUDA's interfaces that the program is built for.
const VERSION: &str = "13000";
/// The oldest card that is served when nothing is said: Ampere. Newer ones translate its code at the first start.
const CAPABILITY: &str = "80";
/// Loaded at run time; the linker wants to see them.
const LIBRARIES: [&str; 5] = ["cuda", "nvrtc", "curand", "cublas", "cublasLt"];

/// Builds `trainyard` with CUDA. `arguments`: `--capability NN`, such as 90.
pub fn build(arguments: &[&str]) -> Result<()> {
    let capability = match arguments {
        [] => CAPABILITY,
        ["--capability", number] if number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit()) => number,
        _ => bail!(
            "cargo xtask build --cuda takes --capability NN (such as 80 for A100, 89 for L4, 90 for H100) and nothing else"
        ),
    };
    console::build_if_possible()?;
    let toolkit = toolkit()?;
    let links = stand_ins(&toolkit)?;
    let target = host()?;
    println!(
        "building trainyard with CUDA for cards of compute capability {capability} and newer; the first time takes half an hour"
    );
    run(prepared(
        cargo().args(["build", "--release", "--package", "trainyard", "--features", "cuda"]),
        &target,
        &toolkit,
        &links,
        capability,
    )
    .env("NVCC_APPEND_FLAGS", "--compress-mode=size"))?;
    let program = paths::target().join(&target).join("release/trainyard");
    println!(
        "the program is {}; try it: {} run ridge --data FILE.csv --target COLUMN --device cuda",
        program.display(),
        program.display()
    );
    Ok(())
}

/// Where tests of what is meant for cards run.
pub struct Bench {
    target: String,
    toolkit: PathBuf,
    links: PathBuf,
    capability: String,
    /// The emulator's folder, where there is no card.
    pub emulator: Option<PathBuf>,
    card: String,
}

/// A card's bench where the machine has one, and else the emulator's.
pub fn bench() -> Result<Bench> {
    let target = host()?;
    let (toolkit, emulator, capability, card) = match card()? {
        Some((name, capability)) => (toolkit()?, None, capability, name),
        None => {
            let folder = emulator::build()?;
            (emulator::toolkit(), Some(folder), CAPABILITY.to_owned(), String::new())
        }
    };
    let links = stand_ins(&toolkit)?;
    let bench = Bench {
        target,
        toolkit,
        links,
        capability,
        emulator,
        card,
    };
    bench.forget_other_kernels()?;
    Ok(bench)
}

impl Bench {
    /// Cargo for the target and with the features of tests on a card.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = cargo();
        prepared(
            command.args(arguments),
            &self.target,
            &self.toolkit,
            &self.links,
            &self.capability,
        );
        command
            .env("TRAINYARD_TEST_DEVICE", "cuda:0")
            .env_remove("TRAINYARD_TEST_CUDA_EMULATOR");
        if let Some(folder) = &self.emulator {
            command.env("TRAINYARD_TEST_CUDA_EMULATOR", folder);
            let mut folders = vec![folder.clone()];
            folders.extend(
                std::env::var_os("LD_LIBRARY_PATH")
                    .iter()
                    .flat_map(std::env::split_paths),
            );
            if let Ok(joined) = std::env::join_paths(folders) {
                command.env("LD_LIBRARY_PATH", joined);
            }
        }
        command
    }

    /// The program with CUDA as the tests have it.
    pub fn program(&self) -> Result<PathBuf> {
        run(&mut self.command(&["build", "--package", "trainyard", "--features", "cuda"]))?;
        Ok(paths::target().join(&self.target).join("debug/trainyard"))
    }

    /// Lints of what is compiled with CUDA alone.
    pub fn lint(&self) -> Result<()> {
        run(self
            .command(&[
                "clippy",
                "--package",
                "trainyard-kernels",
                "--features",
                "cuda",
                "--all-targets",
            ])
            .args(["--", "-D", "warnings"]))
    }

    /// The kernels' tests. `filters`: for the test runner.
    pub fn test(&self, filters: &[&str]) -> Result<()> {
        let runner: &[&str] = if succeeds(cargo().args(["nextest", "--version"])) {
            &["nextest", "run", "--no-tests", "pass", "--no-fail-fast"]
        } else {
            &["test", "--lib", "--tests", "--no-fail-fast"]
        };
        run(self
            .command(runner)
            .args(["--package", "trainyard-kernels", "--features", "cuda"])
            .args(filters))?;
        println!("{}", self.shown());
        Ok(())
    }

    /// What the tests have run on, in words.
    fn shown(&self) -> String {
        match &self.emulator {
            Some(_) => "no card here: the CUDA kernels ran on the emulator".to_owned(),
            None => format!("the CUDA kernels ran on {}", self.card),
        }
    }

    /// Kernels that another nvcc has compiled are compiled again: the crate that has them does not notice.
    fn forget_other_kernels(&self) -> Result<()> {
        let mark = paths::target().join(&self.target).join("debug/.nvcc");
        let compiler = self.toolkit.join("bin/nvcc").display().to_string();
        if fs::read_to_string(&mark).is_ok_and(|text| text == compiler) {
            return Ok(());
        }
        if mark.is_file() {
            for package in ["candle-kernels", "trainyard-kernels"] {
                run(cargo().args(["clean", "--quiet", "--package", package, "--target", &self.target]))?;
            }
        }
        let folder = mark.parent().unwrap_or(&mark);
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fs::write(&mark, compiler).with_context(|| mark.display().to_string())
    }
}

/// Runs the kernels' tests on a card or on the emulator. `filters`: for the test runner.
pub fn test(filters: &[&str]) -> Result<()> {
    bench()?.test(filters)
}

/// Builds the emulator and, if asked for, a program that runs on it.
pub fn emulator(arguments: &[&str]) -> Result<()> {
    match arguments {
        [] => emulator::build().map(drop),
        ["--program"] => {
            let folder = emulator::build()?;
            let program = bench()?.program()?;
            println!(
                "to run it on the emulator: LD_LIBRARY_PATH={} {} run ridge --data FILE.csv --target COLUMN --device cuda",
                folder.display(),
                program.display()
            );
            Ok(())
        }
        _ => bail!("cargo xtask emulator takes --program and nothing else"),
    }
}

/// Cargo with what a benchmark of this machine's card is built with; nothing where there is no card.
pub fn on_card(arguments: &[&str]) -> Result<Option<Command>> {
    let Some((_, capability)) = card()? else {
        return Ok(None);
    };
    let (toolkit, target) = (toolkit()?, host()?);
    let links = stand_ins(&toolkit)?;
    let mut command = cargo();
    prepared(command.args(arguments), &target, &toolkit, &links, &capability);
    Ok(Some(command))
}

/// The machine's first card and its compute capability, such as 90.
fn card() -> Result<Option<(String, String)>> {
    let asked = Command::new("nvidia-smi")
        .args(["--query-gpu=name,compute_cap", "--format=csv,noheader"])
        .output();
    if let Ok(output) = asked
        && output.status.success()
    {
        let text = String::from_utf8_lossy(&output.stdout);
        let Some((name, capability)) = text.lines().next().and_then(|line| line.rsplit_once(',')) else {
            bail!("nvidia-smi does not say which card this is: {}", text.trim());
        };
        return Ok(Some((name.trim().to_owned(), capability.trim().replace('.', ""))));
    }
    Ok(Path::new("/dev/nvidiactl")
        .exists()
        .then(|| ("an NVIDIA card".to_owned(), CAPABILITY.to_owned())))
}

/// What cargo is told so that candle's CUDA backend is compiled for this target.
fn prepared<'a>(
    command: &'a mut Command,
    target: &str,
    toolkit: &Path,
    links: &Path,
    capability: &str,
) -> &'a mut Command {
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    command
        .args(["--target", target])
        .env("NVCC", toolkit.join("bin/nvcc"))
        .env("CUDA_HOME", toolkit)
        .env("CUDA_PATH", toolkit)
        .env("CUDA_COMPUTE_CAP", capability)
        .env("CUDARC_CUDA_VERSION", VERSION)
        // Of cudarc: candle asks it to link what it can also load.
        .env(
            flags,
            format!("--cfg feature=\"dynamic-loading\" -L native={}", links.display()),
        )
}

/// The folder with `bin/nvcc` and `include`.
fn toolkit() -> Result<PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH"]
        .iter()
        .filter_map(std::env::var_os)
        .map(PathBuf::from);
    let usual = std::iter::once(PathBuf::from("/usr/local/cuda"));
    if let Some(found) = named.chain(usual).find(|folder| folder.join("bin/nvcc").is_file()) {
        println!("CUDA's toolkit is {}", found.display());
        return Ok(found);
    }
    println!("there is no CUDA toolkit here: nvcc comes from NVIDIA's packages for Python (300 MB)");
    let environment = python::environment_without_dependencies("cuda", &PACKAGES)?;
    let nvcc = find(&environment, "nvcc").context("NVIDIA's packages for Python have no nvcc any more")?;
    // Some of them come without the right to be run.
    for program in fs::read_dir(nvcc.parent().unwrap_or(&nvcc))? {
        succeeds(Command::new("chmod").arg("+x").arg(program?.path()));
    }
    if !succeeds(Command::new(&nvcc).arg("--version")) {
        bail!(
            "{} does not run; install CUDA's toolkit 13.0, and name its folder in CUDA_HOME",
            nvcc.display()
        );
    }
    let toolkit = nvcc.ancestors().nth(2).context("nvcc stands in no folder")?;
    Ok(toolkit.to_owned())
}

/// Empty libraries, and the one that is linked: the runtime, as part of the program. The emulator's launchers need none.
fn stand_ins(toolkit: &Path) -> Result<PathBuf> {
    /// An archive of nothing.
    const EMPTY: &[u8] = b"!<arch>\n";
    let emulated = toolkit == emulator::toolkit();
    let folder = paths::target().join(if emulated { "cuda-emulator/links" } else { "cuda-links" });
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for library in LIBRARIES {
        fs::write(folder.join(format!("lib{library}.a")), EMPTY)?;
    }
    // candle asks for the shared one, which would have to be on every machine that runs the program.
    let runtime = folder.join("libcudart.a");
    if emulated {
        fs::write(&runtime, EMPTY)?;
    } else {
        let found = find(toolkit, "libcudart_static.a").context("CUDA's toolkit has no libcudart_static.a")?;
        fs::copy(&found, &runtime).with_context(|| found.display().to_string())?;
    }
    Ok(folder)
}

/// This machine's target. Flags for a named target are not those of build scripts.
fn host() -> Result<String> {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output()?;
    let host = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if host.is_empty() {
        bail!("rustc does not say what it compiles for");
    }
    Ok(host)
}

/// A file of this name below a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.file_name().is_some_and(|found| found == name) {
                return Some(path);
            }
        }
    }
    None
}
