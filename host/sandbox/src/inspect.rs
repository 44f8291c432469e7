//! What a plugin needs, and whether this host has it, told without running any of its code.

use crate::bindings;
use crate::code::hex;
use crate::description::Description;
use crate::error::SandboxError;
use crate::load;
use crate::sniff::{self, Kind};
use crate::surface::{Interface, Name, Surface};
use semver::Version;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::sync::LazyLock;
use trainyard_parameters::one_line;

/// The package of the contract.
const PACKAGE: &str = "trainyard:plugin";

/// The host's side of the contract, as the bindings were generated from it.
static CONTRACT: LazyLock<Surface> = LazyLock::new(|| {
    Surface::of_world(bindings::COMPONENT_TYPE)
        .ok()
        .flatten()
        .expect("the contract was encoded by the build of this very program")
});

/// The version of the contract that this host speaks.
pub fn contract_version() -> String {
    own_version().to_string()
}

fn own_version() -> &'static Version {
    CONTRACT.exports[0]
        .name
        .version
        .as_ref()
        .expect("the contract has a version")
}

/// One of the contract's interfaces, imported or exported, by its short name.
fn own_interface(name: &str) -> Option<&'static Interface> {
    let mut all = CONTRACT.imports.iter().chain(&CONTRACT.exports);
    all.find(|interface| interface.name.interface == name)
}

/// One thing that does not fit, with the way to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The interface, with its version.
    pub interface: String,
    /// The function or type in it; absent where it is the interface as a whole.
    pub item: Option<String>,
    /// What this host has, in the words of WIT.
    pub expected: Option<String>,
    /// What the plugin has, in the words of WIT.
    pub found: Option<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)?;
        if let Some(expected) = &self.expected {
            write!(f, ", expected `{expected}`")?;
        }
        if let Some(found) = &self.found {
            write!(f, ", found `{found}`")?;
        }
        write!(f, "; {}", self.remedy)
    }
}

/// An interface that a plugin imports or exports, and the functions that it uses of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// The interface, with its version.
    pub interface: String,
    /// Its functions.
    pub functions: Vec<String>,
    /// Whether this host has all of it, just so.
    pub fits: bool,
}

/// What a plugin is and needs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// Module or component.
    pub kind: Kind,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// Bytes of the file.
    pub size: usize,
    /// The version of the contract that it was built against, if it uses the contract at all.
    pub contract: Option<String>,
    /// The version that this host speaks.
    pub host_contract: String,
    /// What it imports of the contract.
    pub imports: Vec<Used>,
    /// What it imports of WASI, which gives it nothing: no files, no network, no environment.
    pub wasi: Vec<String>,
    /// What it exports.
    pub exports: Vec<Used>,
    /// What does not fit. Empty: it can be run here.
    pub problems: Vec<Problem>,
    /// What it says about itself, where it could be asked.
    pub description: Option<Description>,
}

impl Inspection {
    /// Inspects a file's content. Fails only where it is no plugin at all; whatever does not fit is in
    /// [`problems`](Inspection::problems).
    pub fn of(bytes: &[u8]) -> Result<Self, SandboxError> {
        let kind = sniff::sniff(bytes)?;
        if kind.is_python() {
            // Its imports and exports are the engine's; what is wrong with it shows when it is loaded.
            let mut inspection = Self::empty(bytes, kind);
            inspection.contract = Some(contract_version());
            return Ok(inspection);
        }
        Self::of_component(bytes, kind, &load::component(bytes, kind)?)
    }

    /// Inspects a file's content, and the component that was made of it.
    pub(crate) fn of_component(bytes: &[u8], kind: Kind, component: &[u8]) -> Result<Self, SandboxError> {
        let surface = Surface::of_component(component).map_err(|error| load::damaged(&error))?;
        let mut inspection = Self::empty(bytes, kind);
        inspection.compare(&surface);
        Ok(inspection)
    }

    fn empty(bytes: &[u8], kind: Kind) -> Self {
        Inspection {
            kind,
            digest: hex(&Sha256::digest(bytes)),
            size: bytes.len(),
            contract: None,
            host_contract: contract_version(),
            imports: Vec::new(),
            wasi: Vec::new(),
            exports: Vec::new(),
            problems: Vec::new(),
            description: None,
        }
    }

    /// The problems as an error, if there are any.
    pub fn check(&self) -> Result<(), SandboxError> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(SandboxError::ContractMismatch(self.problems.clone()))
        }
    }

    fn compare(&mut self, surface: &Surface) {
        for name in &surface.bare {
            let name = one_line(name);
            self.problems.push(Problem {
                problem: format!("it imports `{name}`, which is no interface of the contract"),
                interface: name,
                item: None,
                expected: None,
                found: None,
                remedy: "import only what the contract has".into(),
            });
        }
        for interface in &surface.imports {
            self.import(interface);
        }
        for interface in &surface.exports {
            self.export(interface);
        }
        for own in &CONTRACT.exports {
            let there = surface
                .exports
                .iter()
                .any(|export| export.name.package == PACKAGE && export.name.interface == own.name.interface);
            if !there {
                self.problems.push(Problem {
                    interface: own.name.full.clone(),
                    item: None,
                    expected: None,
                    found: None,
                    problem: format!("it does not export the interface {}", own.name),
                    remedy: "export describe, train, evaluate and predict, as a plugin built with the SDK does".into(),
                });
            }
        }
    }

    fn import(&mut self, interface: &Interface) {
        let name = &interface.name;
        if name.package != PACKAGE {
            return self.foreign_import(name);
        }
        self.contract.get_or_insert_with(|| version(name));
        let before = self.problems.len();
        if let Some(problem) = other_version(name) {
            self.problems.push(problem);
        } else if let Some(own) = own_interface(&name.interface) {
            self.types(interface, own);
            for (item, found) in &interface.functions {
                match own.function(item) {
                    None => self.problems.push(Problem {
                        interface: name.full.clone(),
                        item: Some(item.clone()),
                        expected: None,
                        found: Some(found.clone()),
                        problem: format!("it imports {}, which {name} lacks in this host", spoken(item)),
                        remedy: newer(name),
                    }),
                    Some(expected) if expected != found => self.problems.push(Problem {
                        interface: name.full.clone(),
                        item: Some(item.clone()),
                        problem: format!("it imports {} of {name} otherwise than this host has it", spoken(item)),
                        expected: Some(expected.to_owned()),
                        found: Some(found.clone()),
                        remedy: rebuild(),
                    }),
                    Some(_) => {}
                }
            }
        } else {
            self.problems.push(Problem {
                interface: name.full.clone(),
                item: None,
                expected: None,
                found: None,
                problem: format!("it imports the interface {name}, which this host lacks"),
                remedy: newer(name),
            });
        }
        self.imports.push(used(interface, self.problems.len() == before));
    }

    fn foreign_import(&mut self, name: &Name) {
        let package = name.package.strip_prefix("wasi:");
        let known = package.is_some_and(|package| WASI.contains(&package));
        if known && name.version.as_ref().is_some_and(|v| v.major == 0 && v.minor == 2) {
            return self.wasi.push(name.full.clone());
        }
        self.problems.push(Problem {
            interface: name.full.clone(),
            item: None,
            expected: None,
            found: None,
            problem: format!("it imports the interface {name}, which no host of the contract has"),
            remedy: match package {
                Some(_) => format!(
                    "this host has WASI 0.2 of {}, all empty; build without it",
                    WASI.join(", ")
                ),
                None => "import only what the contract has".into(),
            },
        });
    }

    fn export(&mut self, interface: &Interface) {
        let name = &interface.name;
        let before = self.problems.len();
        // What else it exports is nobody's business.
        if name.package == PACKAGE {
            self.contract.get_or_insert_with(|| version(name));
            if let Some(problem) = other_version(name) {
                self.problems.push(problem);
            } else if let Some(own) = own_interface(&name.interface) {
                self.types(interface, own);
                self.exported_functions(interface, own);
            }
        }
        self.exports.push(used(interface, self.problems.len() == before));
    }

    fn exported_functions(&mut self, theirs: &Interface, own: &Interface) {
        let name = &theirs.name;
        for (item, expected) in &own.functions {
            let found = theirs.function(item);
            if found == Some(expected) {
                continue;
            }
            let problem = match found {
                None => format!("it does not export {} of {name}", spoken(item)),
                Some(_) => format!(
                    "it exports {} of {name} otherwise than the contract has it",
                    spoken(item)
                ),
            };
            self.problems.push(Problem {
                interface: name.full.clone(),
                item: Some(item.clone()),
                expected: Some(expected.clone()),
                found: found.map(str::to_owned),
                problem,
                remedy: rebuild(),
            });
        }
    }

    /// Compares the types that a plugin uses of an interface.
    fn types(&mut self, theirs: &Interface, own: &Interface) {
        for (item, found) in &theirs.types {
            let expected = own.ty(item);
            if expected != Some(found) {
                self.problems.push(Problem {
                    interface: theirs.name.full.clone(),
                    item: Some(item.clone()),
                    problem: format!("the type `{item}` of {} is another one than this host's", theirs.name),
                    expected: expected.map(str::to_owned),
                    found: Some(found.clone()),
                    remedy: rebuild(),
                });
            }
        }
    }
}

fn used(interface: &Interface, fits: bool) -> Used {
    Used {
        interface: interface.name.full.clone(),
        functions: interface.functions.iter().map(|(name, _)| name.clone()).collect(),
        fits,
    }
}

/// The packages of WASI that a plugin may import.
const WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

fn version(name: &Name) -> String {
    name.version.as_ref().map_or("none".to_owned(), Version::to_string)
}

/// The part of a version within which every plugin fits every host that is not older.
fn line(version: &Version) -> String {
    if version.major == 0 {
        format!("0.{}", version.minor)
    } else {
        version.major.to_string()
    }
}

fn other_version(name: &Name) -> Option<Problem> {
    let own = own_version();
    if name.version.as_ref().map(line) == Some(line(own)) {
        return None;
    }
    let own_line = line(own);
    let theirs = version(name);
    Some(Problem {
        interface: name.full.clone(),
        item: None,
        expected: Some(own.to_string()),
        problem: format!("it needs version {theirs} of the contract and this host speaks {own_line} ({name})"),
        found: Some(theirs),
        remedy: if name.version.as_ref() > Some(own) {
            format!("upgrade the host, or build the plugin with version {own_line} of the SDK")
        } else {
            format!("build the plugin with version {own_line} of the SDK")
        },
    })
}

/// The remedy for something that this host has not got.
fn newer(name: &Name) -> String {
    if name.version.as_ref() > Some(own_version()) {
        format!(
            "upgrade the host, or build the plugin with version {} of the SDK",
            own_version()
        )
    } else {
        format!(
            "it is not in version {} of the contract; build the plugin with the SDK",
            version(name)
        )
    }
}

fn rebuild() -> String {
    format!(
        "build the plugin with version {} of the SDK, unchanged",
        line(own_version())
    )
}

/// `[method]tensor.matmul` as a person says it.
fn spoken(item: &str) -> String {
    match item.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some(("constructor", resource)) => format!("the constructor of `{resource}`"),
        Some((_, name)) => format!("`{name}`"),
        None => format!("`{item}`"),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kind      {}", self.kind)?;
        writeln!(f, "digest    sha256:{}", self.digest)?;
        writeln!(f, "size      {}", trainyard_kernels::bytes(self.size as u64))?;
        let contract = self.contract.as_deref().unwrap_or("none");
        writeln!(f, "contract  {contract} (this host: {})", self.host_contract)?;
        if let Some(description) = &self.description {
            writeln!(f, "name      {} {}", description.name, description.version)?;
            writeln!(f, "summary   {}", description.summary)?;
            writeln!(f, "tasks     {}", description.tasks.join(", "))?;
        }
        for used in &self.imports {
            let mark = if used.fits { "" } else { "  (does not fit)" };
            writeln!(
                f,
                "imports   {}: {} functions{mark}",
                used.interface,
                used.functions.len()
            )?;
        }
        if self.wasi.is_empty() {
            writeln!(f, "wasi      none")?;
        } else {
            writeln!(
                f,
                "wasi      {} interfaces, all empty: no files, no network, no environment",
                self.wasi.len()
            )?;
        }
        for used in &self.exports {
            writeln!(f, "exports   {}: {}", used.interface, used.functions.join(", "))?;
        }
        for problem in &self.problems {
            writeln!(f, "problem   {problem}")?;
        }
        if self.problems.is_empty() {
            writeln!(f, "fits      yes")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_is_in_the_program() {
        assert_eq!(contract_version(), "0.1.0");
        let tensor = own_interface("tensor").unwrap();
        assert_eq!(
            tensor.function("[method]tensor.matmul"),
            Some("[method]tensor.matmul: func(self: borrow<tensor>, other: borrow<tensor>) -> result<tensor, error>")
        );
        assert_eq!(own_interface("algorithm").unwrap().functions.len(), 4);
    }

    #[test]
    fn versions_of_one_line_go_together() {
        let line = |text| line(&Version::parse(text).unwrap());
        assert_eq!(line("0.1.7"), line("0.1.0"));
        assert_ne!(line("0.2.0"), line("0.1.0"));
        assert_eq!(line("2.1.0"), line("2.5.0"));
    }
}
