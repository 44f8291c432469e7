//! `cargo xtask build --cuda`: the program for NVIDIA cards, on a machine with or without CUDA's toolkit and with or without a
//! card.
//!
//! The driver and its libraries are loaded when a card is asked for, so that one program runs everywhere; to link it, empty libraries stand
//! in for them. Kernels are compiled by the toolkit's nvcc where there is one, and else by that of NVIDIA's packages for Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{cargo, run, succeeds};
use crate::{console, paths, python};

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
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    println!(
        "building trainyard with CUDA for cards of compute capability {capability} and newer; the first time takes half an hour"
    );
    run(cargo()
        .args([
            "build",
            "--release",
            "--package",
            "trainyard",
            "--features",
            "cuda",
            "--target",
            &target,
        ])
        .env("NVCC", toolkit.join("bin/nvcc"))
        .env("CUDA_HOME", &toolkit)
        .env("CUDA_PATH", &toolkit)
        .env("CUDA_COMPUTE_CAP", capability)
        .env("CUDARC_CUDA_VERSION", VERSION)
        .env("NVCC_APPEND_FLAGS", "--compress-mode=size")
        // Of cudarc: candle asks it to link what it can also load.
        .env(
            flags,
            format!("--cfg feature=\"dynamic-loading\" -L native={}", links.display()),
        ))?;
    let program = paths::target().join(&target).join("release/trainyard");
    println!(
        "the program is {}; try it: {} run ridge --data FILE.csv --target COLUMN --device cuda",
        program.display(),
        program.display()
    );
    Ok(())
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

/// Empty libraries, and the one that is linked.
fn stand_ins(toolkit: &Path) -> Result<PathBuf> {
    let folder = paths::target().join("cuda-links");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for library in LIBRARIES {
        // An archive of nothing.
        fs::write(folder.join(format!("lib{library}.a")), b"!<arch>\n")?;
    }
    let runtime = find(toolkit, "libcudart_static.a").context("CUDA's toolkit has no libcudart_static.a")?;
    fs::copy(&runtime, folder.join("libcudart_static.a")).with_context(|| runtime.display().to_string())?;
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
