//! The way out where rustup cannot download: a distribution's compiler, its copy of the standard library's source, and
//! `-Z build-std`. A stable compiler accepts that only with `RUSTC_BOOTSTRAP=1`, which is set for these builds alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::TARGET;
use crate::find::Rustc;

/// Plugins and the SDK are written for this version (minor number of Rust 1.x) or later.
const OLDEST_MINOR: u32 = 95;

/// A compiler that the distribution installed, with the source of its standard library.
#[derive(Debug, Clone)]
pub struct Distribution {
    rustc: PathBuf,
    cargo: PathBuf,
    version: String,
    linker: Option<PathBuf>,
}

impl Distribution {
    /// Path and version, for a person to read.
    pub fn name(&self) -> String {
        format!("{} ({})", self.rustc.display(), self.version)
    }

    /// `cargo build` for plugins, without the profile or the target directory.
    ///
    /// `home` becomes its CARGO_HOME: this cargo is of another version than the one in daily use, and keeping their
    /// caches apart keeps either from having to read the other's.
    pub fn cargo_build(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(["build", "-Z", "build-std=std,panic_abort"]);
        command
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", &self.rustc)
            .env("CARGO_HOME", home);
        // Set by rustup's proxies and by `cargo run`, for another compiler.
        for name in [
            "RUSTUP_TOOLCHAIN",
            "CARGO",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "LD_LIBRARY_PATH",
        ] {
            command.env_remove(name);
        }
        if let Some(linker) = &self.linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }
}

/// The newest usable compiler of the distribution; `active` lends its linker.
pub(crate) fn find(active: &Rustc) -> Option<Distribution> {
    let mut suffixes = vec![(0, String::new())];
    // Ubuntu has versions side by side: rustc-1.95, cargo-1.95.
    for entry in fs::read_dir("/usr/bin").ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(suffix) = name.strip_prefix("rustc")
            && let Some(minor) = suffix.strip_prefix("-1.").and_then(|minor| minor.parse().ok())
        {
            suffixes.push((minor, suffix.to_owned()));
        }
    }
    suffixes.sort_unstable();
    suffixes.iter().rev().find_map(|(_, suffix)| {
        let (rustc, cargo) = (
            PathBuf::from(format!("/usr/bin/rustc{suffix}")),
            PathBuf::from(format!("/usr/bin/cargo{suffix}")),
        );
        let found = Rustc::ask(&rustc, Path::new("/"))?;
        let usable = cargo.is_file()
            && minor(&found.version)? >= OLDEST_MINOR
            && found.sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file();
        usable.then(|| Distribution {
            rustc,
            cargo,
            linker: active.bundled_linker().or_else(|| found.bundled_linker()),
            version: found.version,
        })
    })
}

/// 95, of `rustc 1.95.0 (…)` and of a package's version `1.95.0+dfsg1-1`.
fn minor(version: &str) -> Option<u32> {
    version
        .trim_start_matches("rustc ")
        .strip_prefix("1.")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// The packages that would help on this distribution; `None` where apt has none new enough, or where there is no apt.
///
/// With `refresh` apt's lists are updated first when they hold nothing suitable, as they are empty on a fresh machine.
pub(crate) fn packages(refresh: bool) -> Option<Vec<String>> {
    let found = known_packages();
    if found.is_some() || !refresh {
        return found;
    }
    run_as_root(&["apt-get", "update", "--quiet"]).ok()?;
    known_packages()
}

fn known_packages() -> Option<Vec<String>> {
    // Debian's stable releases carry a recent Rust for their browsers, under names of its own.
    let mut sets = vec![["rustc-web", "cargo-web", "rust-web-src"].map(str::to_owned)];
    let search = Command::new("apt-cache")
        .args(["search", "--names-only", r"^rustc-1\.[0-9]+$"])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&search.stdout).into_owned();
    let mut minors: Vec<u32> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.strip_prefix("rustc-1.")?.parse().ok())
        .collect();
    minors.sort_unstable_by(|a, b| b.cmp(a));
    sets.extend(minors.iter().map(|n| {
        [
            format!("rustc-1.{n}"),
            format!("cargo-1.{n}"),
            format!("rust-1.{n}-src"),
        ]
    }));
    sets.push(["rustc", "cargo", "rust-src"].map(str::to_owned));
    let set = sets
        .into_iter()
        .find(|set| candidate_minor(&set[0]).is_some_and(|minor| minor >= OLDEST_MINOR))?;
    // A C linker is for the build scripts and macros of dependencies.
    Some(set.into_iter().chain(["gcc".to_owned()]).collect())
}

/// The version that apt would install.
fn candidate_minor(package: &str) -> Option<u32> {
    let output = Command::new("apt-cache")
        .args(["policy", package])
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    minor(text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?)
}

pub(crate) fn install(packages: &[String]) -> Result<(), String> {
    eprintln!("installing {} (some 150 MB) to build for {TARGET}", packages.join(" "));
    let mut words = vec!["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"];
    words.extend(packages.iter().map(String::as_str));
    run_as_root(&words)
}

/// Runs a command as root, by sudo when this is someone else; its output goes to stderr.
fn run_as_root(words: &[&str]) -> Result<(), String> {
    let id = Command::new("id")
        .arg("-u")
        .output()
        .map_err(|error| format!("id: {error}"))?;
    let mut command = if String::from_utf8_lossy(&id.stdout).trim() == "0" {
        Command::new(words[0])
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--non-interactive", "env", "DEBIAN_FRONTEND=noninteractive", words[0]]);
        sudo
    };
    let status = command
        .args(&words[1..])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .map_err(|error| format!("{} needs root, and sudo does not run: {error}", words[..2].join(" ")))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{} failed ({status}); it needs root", words[..2].join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn reads_the_minor_version_of_a_compiler_and_of_a_package() {
        assert_eq!(
            minor("rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"),
            Some(96)
        );
        assert_eq!(minor("1.96.0+dfsg1-1~deb12u2"), Some(96));
        assert_eq!(minor("(none)"), None);
    }
}
