//! Files: regular ones, in the scratch folder, and none elsewhere. Descriptors that are open already stay usable.
//!
//! On a card the driver opens files later, too: its devices, its libraries, and what the kernel tells of machine and process. It
//! starts threads of its own before that, and a thread keeps the rules that it was born with: so they are born with wider
//! ones. The layers intersect: what is to be allowed later is in both.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::path::{Path, PathBuf};

/// What the driver reads to find out about the machine, and libraries.
const READ: [&str; 16] = [
    "/etc/ld.so.cache",
    "/etc/nvidia",
    "/lib",
    "/lib64",
    "/proc/cpuinfo",
    "/proc/devices",
    "/proc/driver/nvidia",
    "/proc/meminfo",
    "/proc/self",
    "/proc/sys/vm",
    "/sys/bus/pci",
    "/sys/devices",
    "/sys/module/nvidia",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local",
];
/// The same while it starts: it is not known by every version what it looks at.
const READ_AT_FIRST: [&str; 12] = [
    "/dev/shm",
    "/dev/urandom",
    // What the C library looks at when it loads a library or asks for a user's name.
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/nvidia",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/sys",
    "/usr",
];
/// Where threads get their names. The driver names its own, at its start and later, and some versions refuse to start where they cannot.
/// Of other processes this says nothing: it is this one's folder, under the number that it has at the time.
const THREADS: &str = "/proc/self/task";
/// What it writes to while it starts.
const WRITTEN_AT_FIRST: [&str; 2] = ["/dev/null", "/dev/zero"];
/// The driver's devices that have nothing to do with computing: for screens, and for the fabric between cards.
const NOT_FOR_COMPUTING: [&str; 2] = ["nvidia-modeset", "nvidia-nvswitch"];

/// Restricts this thread and all that it starts. Gives what the kernel lacks of it, if anything.
pub(super) fn restrict(scratch: &Path, card: bool) -> Result<Option<String>, String> {
    let mut rules = rules()?;
    rules = allow(rules, scratch, kept())?;
    if card {
        for path in READ.iter().map(PathBuf::from).chain(libraries()).chain(cache()) {
            rules = allow_if_there(rules, &path, AccessFs::ReadFile | AccessFs::ReadDir)?;
        }
        rules = threads(devices(rules)?)?;
    }
    told(rules.restrict_self().map_err(|error| error.to_string())?)
}

/// Restricts this thread and all that it starts to what a driver may need to start. What is to be allowed later has to be allowed
/// here, too.
pub(super) fn restrict_driver(scratch: &Path) -> Result<(), String> {
    let mut rules = allow(rules()?, scratch, kept())?;
    for path in READ_AT_FIRST
        .iter()
        .map(PathBuf::from)
        .chain(libraries())
        .chain(services())
    {
        rules = allow_if_there(rules, &path, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    for path in WRITTEN_AT_FIRST.iter().map(PathBuf::from).chain(cache()) {
        rules = allow_if_there(rules, &path, kept() | AccessFs::ReadDir | AccessFs::MakeDir)?;
    }
    rules = threads(devices(rules)?)?;
    // The devices are looked for once more, for the rules that come later.
    rules = allow_if_there(rules, Path::new("/dev"), AccessFs::ReadDir.into())?;
    rules.restrict_self().map(drop).map_err(|error| error.to_string())
}

/// What may be done in a folder to keep files there.
fn kept() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::RemoveFile
}

fn rules() -> Result<RulesetCreated, String> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V4)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(|rules| rules.create())
        .map_err(|error| error.to_string())
}

fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, String> {
    let opened = PathFd::new(path).map_err(|error| error.to_string())?;
    rules
        .add_rule(PathBeneath::new(opened, access))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn allow_if_there(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, String> {
    match std::fs::metadata(path) {
        Err(_) => Ok(rules),
        Ok(found) if found.is_dir() => allow(rules, path, access),
        // Of a file, only what can be done with one.
        Ok(_) => allow(rules, path, access & AccessFs::from_file(ABI::V5)),
    }
}

/// The card's own files, for reading, writing and the driver's commands.
fn devices(mut rules: RulesetCreated) -> Result<RulesetCreated, String> {
    let used = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    for (name, path) in begins("/dev", "nvidia") {
        if !NOT_FOR_COMPUTING.iter().any(|other| name.starts_with(other)) {
            rules = allow_if_there(rules, &path, used)?;
        }
    }
    Ok(rules)
}

/// What the driver's services leave for those that use it, such as the one that keeps cards ready.
fn services() -> impl Iterator<Item = PathBuf> {
    begins("/run", "nvidia-").map(|(_, path)| path)
}

/// What in a folder begins like this.
fn begins(folder: &str, beginning: &'static str) -> impl Iterator<Item = (String, PathBuf)> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(move |(name, _)| name.starts_with(beginning))
}

/// The names of this process's threads.
fn threads(rules: RulesetCreated) -> Result<RulesetCreated, String> {
    let used = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::Truncate;
    let folder = PathFd::new(THREADS).map_err(|error| format!("{THREADS}: {error}"))?;
    let rules = rules
        .add_rule(PathBeneath::new(&folder, used))
        .map_err(|error| format!("{THREADS}: {error}"))?;
    // A rule is bound to what the kernel holds of the folder, which it may forget and make anew while nobody has it open.
    std::mem::forget(folder);
    Ok(rules)
}

/// The folders of libraries that the worker's environment names.
fn libraries() -> impl Iterator<Item = PathBuf> {
    let named = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&named)
        .filter(|path| path.is_absolute())
        .collect();
    folders.into_iter()
}

/// Where the driver keeps what it has compiled.
fn cache() -> Option<PathBuf> {
    std::env::var_os("CUDA_CACHE_PATH").map(PathBuf::from)
}

fn told(status: RestrictionStatus) -> Result<Option<String>, String> {
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(None),
        RulesetStatus::PartiallyEnforced => Ok(Some(format!(
            "this kernel has an older version of it ({}), so that seccomp alone refuses network and signals",
            match status.landlock {
                LandlockStatus::Available { effective_abi, .. } => format!("{effective_abi:?}"),
                other => format!("{other:?}"),
            }
        ))),
        RulesetStatus::NotEnforced => {
            Err("this kernel has none; it takes Linux 5.13, with landlock switched on".into())
        }
    }
}
