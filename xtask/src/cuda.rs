//! The program for NVIDIA cards, `cargo xtask build --cuda`, on a machine with or without CUDA's toolkit and with or without a card; and
//! the tests of what is meant for them, on a card where there is one and else on the emulator of `tests/cuda-emulator`.
//!
//! The driver and its libraries are loaded when a card is asked for, so that one program runs everywhere; to link it, empty libraries stand
//! in for them. Kernels are compiled by the toolkit's nvcc where there is one, and else by that of NVIDIA's packages for Python.

use std::ffi::{OsStr, OsString};
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
/// The version of CUDA's interfaces that the program is built for, and what a toolkit's own version has to begin with.
const VERSION: &str = "13000";
const RELEASE: &str = "13.";
/// The oldest card that is served when nothing is said: Ampere. Newer ones translate its code at the first start.
const CAPABILITY: &str = "80";
/// Loaded at run time; the linker wants to see them.
const LIBRARIES: [&str; 5] = ["cuda", "nvrtc", "curand", "cublas", "cublasLt"];
/// What a program on a card loads beside the driver.
const RUNTIME: [&str; 3] = ["libcublas.so.13", "libcublasLt.so.13", "libcurand.so.10"];

/// Builds `trainyard` with CUDA. `arguments`: `--capability NN`, such as 90.
pub fn build(arguments: &[&str]) -> Result<()> {
    let capability = match arguments {
        [] => CAPABILITY,
        ["--capability", number] if number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit()) => number,
        _ => bail!(
            "cargo xtask build --cuda takes --capability NN (such as 80 for A100, 89 for L4, 90 for H100) and nothing else"
        ),
    };
    can_compile()?;
    let toolkit = toolkit()?;
    console::build_if_possible()?;
    let links = stand_ins(&toolkit)?;
    let target = host()?;
    forget_other_kernels(&target, "release", &toolkit)?;
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
    /// What is looked at first for libraries: the emulator, or the toolkit's.
    libraries: Option<PathBuf>,
    card: String,
}

/// A card's bench where the machine has one, and else the emulator's.
pub fn bench() -> Result<Bench> {
    bench_on(card()?)
}

fn bench_on(card: Option<(String, String)>) -> Result<Bench> {
    can_compile()?;
    let target = host()?;
    let (toolkit, emulator, libraries, capability, card) = match card {
        Some((name, capability)) => {
            let toolkit = toolkit()?;
            let libraries = runtime(&toolkit)?;
            (toolkit, None, libraries, capability, name)
        }
        None => {
            let folder = emulator::build()?;
            let libraries = Some(folder.clone());
            (
                emulator::toolkit(),
                Some(folder),
                libraries,
                CAPABILITY.to_owned(),
                String::new(),
            )
        }
    };
    let links = stand_ins(&toolkit)?;
    forget_other_kernels(&target, "debug", &toolkit)?;
    Ok(Bench {
        target,
        toolkit,
        links,
        capability,
        emulator,
        libraries,
        card,
    })
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
            command
                .env("TRAINYARD_TEST_CUDA_EMULATOR", folder)
                // It hides this machine's cards, and would hide the emulator's.
                .env_remove("CUDA_VISIBLE_DEVICES");
        }
        find_first(&mut command, self.libraries.as_deref());
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
        let by_nextest = succeeds(cargo().args(["nextest", "--version"]));
        let runner: &[&str] = if by_nextest {
            &["nextest", "run", "--no-tests", "pass", "--no-fail-fast"]
        } else {
            &["test", "--lib", "--tests", "--no-fail-fast"]
        };
        let of = ["--package", "trainyard-kernels", "--features", "cuda"];
        run(self.command(runner).args(of).args(filters))?;
        // Once more as nobody's card is: what is not waited for is not done, and the last block comes first.
        if self.emulator.is_some() && filters.is_empty() {
            let files = [
                "--test",
                "cards",
                "--test",
                "candle_on_a_card",
                "--test",
                "sessions",
                "--test",
                "mixed",
            ];
            let mut late = self.command(if by_nextest {
                runner
            } else {
                &["test", "--no-fail-fast"]
            });
            late.args(of).args(files);
            run(late
                .env("CUDA_EMULATOR_STREAMS", "late")
                .env("CUDA_EMULATOR_ORDER", "backwards"))?;
        }
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
}

/// Kernels that another nvcc has compiled are compiled again: the crate that has them does not notice.
fn forget_other_kernels(target: &str, profile: &str, toolkit: &Path) -> Result<()> {
    let mark = paths::target().join(target).join(profile).join(".nvcc");
    let nvcc = toolkit.join("bin/nvcc");
    let of_compiler = if toolkit == emulator::toolkit() {
        // It is a script of this checkout.
        emulator::hash(&nvcc)?.to_string()
    } else {
        release_of(&nvcc).unwrap_or_default()
    };
    let compiler = format!("{}\n{of_compiler}\n", nvcc.display());
    if fs::read_to_string(&mark).is_ok_and(|text| text == compiler) {
        return Ok(());
    }
    if mark.is_file() {
        for package in ["candle-kernels", "trainyard-kernels"] {
            let clean = ["clean", "--quiet", "--package", package, "--target", target];
            run(cargo()
                .args(clean)
                .args(["--profile", if profile == "debug" { "dev" } else { profile }]))?;
        }
    }
    let folder = mark.parent().unwrap_or(&mark);
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(&mark, compiler).with_context(|| mark.display().to_string())
}

/// Runs the kernels' tests on a card or on the emulator. `arguments`: filters for the test runner; before them `--emulator` for the
/// emulator where there is a card, too.
pub fn test(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["--emulator", filters @ ..] => bench_on(None)?.test(filters),
        filters => bench()?.test(filters),
    }
}

/// The folder of a real nvcc that is here already: of a toolkit, or of NVIDIA's packages.
pub fn nvcc_here() -> Result<Option<PathBuf>> {
    let packages = paths::target().join("python/cuda");
    let installed = || find(&packages, "nvcc").and_then(|nvcc| Some(nvcc.ancestors().nth(2)?.to_owned()));
    Ok(toolkit_here()?.or_else(installed))
}

/// Compiles our kernels by the real nvcc, for an old card and for a new one, and assembles them: the emulator takes what only g++
/// understands, and does not see registers that are put into memory.
pub fn kernels_by_nvcc(toolkit: &Path) -> Result<()> {
    let folder = paths::target().join("cuda-checked");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let assembler = toolkit.join("bin/ptxas");
    let mut jobs = Vec::new();
    for entry in fs::read_dir(paths::root().join("host/kernels/src/cuda"))? {
        let source = entry?.path();
        if source.extension() == Some(OsStr::new("cu")) {
            jobs.extend(["80", "90"].map(|capability| (source.clone(), capability)));
        }
    }
    jobs.sort();
    emulator::side_by_side(&jobs, |(source, capability)| {
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        let ptx = folder.join(format!("{name}-{capability}.ptx"));
        emulator::finished(
            Command::new(toolkit.join("bin/nvcc"))
                .args([
                    "-ptx",
                    "-std=c++17",
                    "-O3",
                    &format!("-arch=compute_{capability}"),
                    "-o",
                ])
                .args([&ptx, source]),
        )?;
        if !assembler.is_file() {
            return Ok(());
        }
        let said = emulator::finished(
            Command::new(&assembler)
                .args(["-v", &format!("-arch=sm_{capability}"), "-o"])
                .arg(ptx.with_extension("cubin"))
                .arg(&ptx),
        )?;
        let spilled = spills(&said);
        if !spilled.is_empty() {
            bail!(
                "{name}.cu for compute capability {capability} puts registers into memory: {}",
                spilled.join("; ")
            );
        }
        Ok(())
    })?;
    fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    println!(
        "{} compilations by {}{}",
        jobs.len(),
        toolkit.join("bin/nvcc").display(),
        if assembler.is_file() {
            ""
        } else {
            "; there is no ptxas beside it, so nothing was assembled"
        }
    );
    Ok(())
}

/// The kernels that ptxas says spill, from what `-v` prints.
fn spills(said: &str) -> Vec<String> {
    let mut kernel = "?";
    let mut found = Vec::new();
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("Function properties for ") {
            kernel = rest.trim();
        }
        let number = line
            .split(" bytes spill stores")
            .next()
            .and_then(|before| before.rsplit(' ').next());
        if line.contains(" bytes spill stores") && number != Some("0") {
            found.push(format!("{kernel}: {}", line.trim()));
        }
    }
    found
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
    can_compile()?;
    let (toolkit, target) = (toolkit()?, host()?);
    let libraries = runtime(&toolkit)?;
    let links = stand_ins(&toolkit)?;
    forget_other_kernels(&target, "release", &toolkit)?;
    let mut command = cargo();
    prepared(command.args(arguments), &target, &toolkit, &links, &capability);
    find_first(&mut command, libraries.as_deref());
    Ok(Some(command))
}

/// The machine's first card and its compute capability, such as 90.
fn card() -> Result<Option<(String, String)>> {
    if std::env::var("CUDA_VISIBLE_DEVICES").is_ok_and(|cards| hides_all(&cards)) {
        return Ok(None);
    }
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
        return Ok(Some((name.trim().to_owned(), capability_of(capability))));
    }
    Ok(Path::new("/dev/nvidiactl")
        .exists()
        .then(|| ("an NVIDIA card".to_owned(), CAPABILITY.to_owned())))
}

/// Whether CUDA_VISIBLE_DEVICES leaves no card.
fn hides_all(cards: &str) -> bool {
    let first = cards.split(',').next().unwrap_or_default().trim();
    first.is_empty() || first.starts_with('-')
}

/// `9.0` as 90; what a driver says that does not know it is the oldest card.
fn capability_of(said: &str) -> String {
    let digits = said.trim().replace('.', "");
    let is_number = digits.len() >= 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits } else { CAPABILITY.to_owned() }
}

/// What takes half an hour does not fail at its end for want of a compiler.
fn can_compile() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("what is meant for NVIDIA cards is built on Linux alone");
    }
    if !succeeds(Command::new("g++").arg("--version")) {
        bail!("there is no g++, which nvcc compiles with (Debian, Ubuntu: sudo apt-get install g++)");
    }
    Ok(())
}

/// The toolkit's folder of the libraries that a program on a card loads, where the system does not find them by itself; an error where
/// nobody does.
fn runtime(toolkit: &Path) -> Result<Option<PathBuf>> {
    // Not on every user's path.
    let known = ["ldconfig", "/sbin/ldconfig"]
        .iter()
        .find_map(|program| Command::new(program).arg("-p").output().ok())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    runtime_in(toolkit, std::env::var_os("LD_LIBRARY_PATH"), &known)
}

/// `path`: that of LD_LIBRARY_PATH; `known`: what `ldconfig -p` prints.
fn runtime_in(toolkit: &Path, path: Option<OsString>, known: &str) -> Result<Option<PathBuf>> {
    let searched: Vec<PathBuf> = path.iter().flat_map(std::env::split_paths).collect();
    let by_itself = |library: &&str| {
        searched.iter().any(|folder| folder.join(library).is_file())
            || known
                .lines()
                .any(|line| line.trim().starts_with(&format!("{library} ")))
    };
    let missing: Vec<_> = RUNTIME.iter().copied().filter(|library| !by_itself(library)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    let mut folders = ["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"]
        .iter()
        .map(|folder| toolkit.join(folder));
    if let Some(folder) = folders.find(|folder| missing.iter().all(|library| folder.join(library).is_file())) {
        return Ok(Some(folder));
    }
    bail!(
        "there is a card here, and {} cannot be found, which programs on it load; install CUDA's toolkit 13.0, or pip install \
         'nvidia-cublas==13.0.*' 'nvidia-curand==10.4.*' and name their folder in LD_LIBRARY_PATH",
        missing.join(", ")
    )
}

/// Lets a command look into this folder first for libraries.
fn find_first(command: &mut Command, folder: Option<&Path>) {
    let Some(folder) = folder else { return };
    let mut folders = vec![folder.to_owned()];
    folders.extend(
        std::env::var_os("LD_LIBRARY_PATH")
            .iter()
            .flat_map(std::env::split_paths),
    );
    if let Ok(joined) = std::env::join_paths(folders) {
        command.env("LD_LIBRARY_PATH", joined);
    }
}

/// What cargo is told so that candle's CUDA backend is compiled for this target.
fn prepared<'a>(
    command: &'a mut Command,
    target: &str,
    toolkit: &Path,
    links: &Path,
    capability: &str,
) -> &'a mut Command {
    command
        .args(["--target", target])
        .env("NVCC", toolkit.join("bin/nvcc"))
        .env("CUDA_HOME", toolkit)
        .env("CUDA_PATH", toolkit)
        .env("CUDA_COMPUTE_CAP", capability)
        .env("CUDARC_CUDA_VERSION", VERSION);
    let ours = [
        // Of cudarc: candle asks it to link what it can also load.
        "--cfg".to_owned(),
        "feature=\"dynamic-loading\"".to_owned(),
        "-L".to_owned(),
        format!("native={}", links.display()),
    ];
    let of_target = format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_"));
    let set = |name: &str| std::env::var(name).ok();
    match with_flags_of_all(set("CARGO_ENCODED_RUSTFLAGS"), set("RUSTFLAGS"), &ours) {
        // Cargo would take those alone.
        Some(flags) => command.env("CARGO_ENCODED_RUSTFLAGS", flags).env_remove("RUSTFLAGS"),
        None => {
            let theirs = set(&of_target).map(|theirs| theirs + " ").unwrap_or_default();
            command.env(of_target, theirs + &ours.join(" "))
        }
    }
}

/// Flags that the environment has for every target, as cargo takes them, with ours behind; nothing where it has none.
fn with_flags_of_all(encoded: Option<String>, plain: Option<String>, ours: &[String]) -> Option<String> {
    let mut flags: Vec<String> = match (encoded, plain) {
        (Some(encoded), _) => encoded.split('\x1f').map(str::to_owned).collect(),
        (None, Some(plain)) => plain.split_whitespace().map(str::to_owned).collect(),
        (None, None) => return None,
    };
    flags.retain(|flag| !flag.is_empty());
    flags.extend_from_slice(ours);
    Some(flags.join("\x1f"))
}

/// A toolkit that is installed here: the one that is named, else the usual one.
fn toolkit_here() -> Result<Option<PathBuf>> {
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        let Some(folder) = std::env::var_os(name).map(PathBuf::from) else {
            continue;
        };
        let nvcc = folder.join("bin/nvcc");
        if nvcc.is_file() {
            let release =
                release_of(&nvcc).with_context(|| format!("{}, which {name} names, does not run", nvcc.display()))?;
            if !release.starts_with(RELEASE) {
                bail!(
                    "{}, which {name} names, is CUDA's toolkit {release}, and the program is built with {RELEASE}x; name another folder, or none",
                    folder.display()
                );
            }
            return Ok(Some(folder));
        }
    }
    let usual = PathBuf::from("/usr/local/cuda");
    match release_of(&usual.join("bin/nvcc")) {
        Some(release) if release.starts_with(RELEASE) => Ok(Some(usual)),
        Some(release) => {
            println!(
                "{} is CUDA's toolkit {release}, and not {RELEASE}x: passed over",
                usual.display()
            );
            Ok(None)
        }
        None => Ok(None),
    }
}

/// The release that an nvcc is of, such as 13.0.
fn release_of(nvcc: &Path) -> Option<String> {
    let output = Command::new(nvcc).arg("--version").output().ok()?;
    release_in(&String::from_utf8_lossy(&output.stdout))
}

fn release_in(said: &str) -> Option<String> {
    let (_, after) = said.split_once("release ")?;
    let end = after
        .find(|c: char| c != '.' && !c.is_ascii_digit())
        .unwrap_or(after.len());
    Some(after[..end].to_owned())
}

/// The folder with `bin/nvcc` and `include`.
fn toolkit() -> Result<PathBuf> {
    if let Some(found) = toolkit_here()? {
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
    let _alone = emulator::alone_in(&folder)?;
    for library in LIBRARIES {
        emulator::write_changed(&folder.join(format!("lib{library}.a")), EMPTY)?;
    }
    // candle asks for the shared one, which would have to be on every machine that runs the program.
    let runtime = folder.join("libcudart.a");
    if emulated {
        emulator::write_changed(&runtime, EMPTY)?;
    } else {
        let found = find(toolkit, "libcudart_static.a").context("CUDA's toolkit has no libcudart_static.a")?;
        let content = fs::read(&found).with_context(|| found.display().to_string())?;
        emulator::write_changed(&runtime, &content)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_environment_are_kept() {
        let ours = ["--cfg".to_owned(), "x".to_owned()];
        let joined = |encoded: Option<&str>, plain: Option<&str>| {
            with_flags_of_all(encoded.map(str::to_owned), plain.map(str::to_owned), &ours)
        };
        assert_eq!(joined(None, None), None);
        assert_eq!(
            joined(None, Some(" -C  debuginfo=0 ")).as_deref(),
            Some("-C\x1fdebuginfo=0\x1f--cfg\x1fx")
        );
        assert_eq!(
            joined(Some("-L\x1f/a b"), Some("-W y")).as_deref(),
            Some("-L\x1f/a b\x1f--cfg\x1fx")
        );
        assert_eq!(joined(Some(""), None).as_deref(), Some("--cfg\x1fx"));
    }

    #[test]
    fn versions_are_read() {
        let said = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 12.4, V12.4.131\n";
        assert_eq!(release_in(said).as_deref(), Some("12.4"));
        assert_eq!(release_in("no version"), None);
        assert_eq!(
            (capability_of(" 9.0"), capability_of("12.0"), capability_of("[N/A]")),
            ("90".to_owned(), "120".to_owned(), "80".to_owned())
        );
        assert!(hides_all("") && hides_all("-1") && hides_all(" ,0") && !hides_all("0,-1"));
    }

    #[test]
    fn libraries_are_looked_for_before_anything_is_compiled() {
        let folder = tempfile::tempdir().expect("a folder");
        let (toolkit, searched) = (folder.path().join("toolkit"), folder.path().join("searched"));
        for place in [toolkit.join("lib64"), searched.clone()] {
            fs::create_dir_all(&place).expect("a folder");
        }
        let put = |place: &Path, name: &str| fs::write(place.join(name), "").expect("a file");
        let error =
            runtime_in(&toolkit, None, "\tlibcublas.so.12 (libc6,x86-64) => /x\n").expect_err("there is nothing");
        for name in RUNTIME {
            assert!(error.to_string().contains(name), "{error}");
        }
        RUNTIME.iter().for_each(|name| put(&toolkit.join("lib64"), name));
        let found = runtime_in(&toolkit, None, "").expect("the toolkit has them");
        assert_eq!(found, Some(toolkit.join("lib64")));
        put(&searched, RUNTIME[0]);
        put(&searched, RUNTIME[1]);
        let found = runtime_in(&toolkit, Some(searched.clone().into()), "").expect("the toolkit has the third");
        assert_eq!(found, Some(toolkit.join("lib64")));
        let known = format!("\t{} (libc6,x86-64) => /x\n", RUNTIME[2]);
        let found = runtime_in(&toolkit, Some(searched.into()), &known).expect("the system has them");
        assert_eq!(found, None);
    }

    #[test]
    fn kernels_that_spill_are_named() {
        let said = "ptxas info    : Function properties for sum_f32\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
                    ptxas info    : Function properties for sort_f64\n    8 bytes stack frame, 16 bytes spill stores, 12 bytes spill loads\n";
        assert_eq!(
            spills(said),
            ["sort_f64: 8 bytes stack frame, 16 bytes spill stores, 12 bytes spill loads"]
        );
    }
}
