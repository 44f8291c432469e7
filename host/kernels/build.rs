//! Compiles the CUDA kernels of `src/cuda` to PTX, which the driver compiles for its card when they are loaded. Only with the feature
//! `cuda`; `NVCC` names the compiler and `CUDA_COMPUTE_CAP` the oldest card.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// As `gpu::device` names them.
const MODULES: [&str; 6] = ["elementwise", "index", "optim", "recurrent", "reduce", "rows"];

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/cuda");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return ExitCode::SUCCESS;
    }
    println!("cargo::rerun-if-env-changed=NVCC");
    println!("cargo::rerun-if-env-changed=CUDA_COMPUTE_CAP");
    let compiler = std::env::var("NVCC").unwrap_or_else(|_| "nvcc".to_owned());
    let capability = std::env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".to_owned());
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    for module in MODULES {
        let source = Path::new("src/cuda").join(module).with_extension("cu");
        let ptx = folder.join(module).with_extension("ptx");
        let compiled = Command::new(&compiler)
            .args([
                "-ptx",
                "-std=c++17",
                "-O3",
                &format!("-arch=compute_{capability}"),
                "-o",
            ])
            .args([&ptx, &source])
            .status();
        match compiled {
            Ok(status) if status.success() && ptx.is_file() => {}
            Ok(status) => {
                println!(
                    "cargo::error={compiler} did not compile {} ({status})",
                    source.display()
                );
                return ExitCode::FAILURE;
            }
            Err(error) => {
                println!(
                    "cargo::error={compiler} cannot be run ({error}); build with `cargo xtask build --cuda`, which gets it, or name it in NVCC"
                );
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
