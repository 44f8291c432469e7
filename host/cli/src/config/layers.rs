//! The layers of the configuration: command line over environment over file. Each value is tried on its own, so that every
//! mistake is found, with the place where it was made.

use super::{Config, check, home_folder, settings};
use crate::failure::{Failure, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::Value;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// Variables that begin with `TRAINYARD_` and are no settings: the library of plugins, the cache of machine code, the
/// checkout, and what tests and benchmarks are told.
const OTHERS: [&str; 8] = [
    "TRAINYARD_BENCH_PLUGIN",
    "TRAINYARD_CACHE",
    "TRAINYARD_CONFIG",
    "TRAINYARD_GUESTS",
    "TRAINYARD_PLUGINS",
    "TRAINYARD_PYTHON_ENGINE",
    "TRAINYARD_PYTHON",
    "TRAINYARD_SDK",
];

/// Settings that the command line says.
#[derive(Debug, Default)]
pub struct Flags(Vec<(&'static str, &'static str, Value)>);

impl Flags {
    /// Adds what an option says, if it was given.
    pub fn with(mut self, option: &'static str, key: &'static str, value: Option<impl Into<Value>>) -> Self {
        self.0.extend(value.map(|value| (option, key, value.into())));
        self
    }

    /// Adds what an option says that names folders.
    pub fn with_folders(self, option: &'static str, key: &'static str, folders: &[PathBuf]) -> Self {
        let folders: Vec<Value> = folders
            .iter()
            .map(|path| Value::from(path.to_string_lossy().as_ref()))
            .collect();
        self.with(option, key, (!folders.is_empty()).then_some(folders))
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Variable(String),
    Option(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) => f.write_str(name),
            Origin::Option(name) => f.write_str(name),
        }
    }
}

/// What was gathered. What cannot be used is among the mistakes and left out.
#[derive(Debug)]
pub struct Gathered {
    pub config: Config,
    pub origins: BTreeMap<String, Origin>,
    pub file: Option<PathBuf>,
    pub warnings: Vec<String>,
    pub mistakes: Vec<String>,
}

impl Gathered {
    /// The configuration, if there is no mistake.
    pub fn whole(self) -> Result<Config> {
        match &self.mistakes[..] {
            [] => Ok(self.config),
            [one] => Err(Failure::Config(one.clone())),
            [first, rest @ ..] => Err(Failure::Config(format!(
                "{first} (and {} more: `trainyard config check` says all)",
                rest.len()
            ))),
        }
    }

    /// Where a setting comes from.
    pub fn origin(&self, key: &str) -> &Origin {
        self.origins.get(key).unwrap_or(&Origin::Default)
    }
}

/// Gathers all layers. `file` is what `--config` names. An error is a file that cannot be read.
pub fn gather(
    flags: Flags,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    file: Option<&Path>,
) -> Result<Gathered> {
    let mut variables: Vec<(String, OsString)> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        // An empty variable is as good as none.
        .filter(|(name, value)| name.starts_with("TRAINYARD_") && !value.is_empty())
        .collect();
    variables.sort();
    let file = find(file, &variables);
    let mut layers = Layers::default();
    if let Some(path) = &file {
        let text = std::fs::read_to_string(path).map_err(Failure::file("read the configuration", path))?;
        layers.file(path, &text);
    }
    layers.environment(&variables);
    for (option, key, value) in flags.0 {
        layers.set(key.to_owned(), value, Origin::Option(option));
    }
    Ok(layers.gathered(file))
}

/// The file: named, or in its usual places.
fn find(named: Option<&Path>, variables: &[(String, OsString)]) -> Option<PathBuf> {
    if let Some(path) = named {
        return Some(path.to_path_buf());
    }
    if let Some((_, path)) = variables.iter().find(|(name, _)| name == "TRAINYARD_CONFIG") {
        return Some(PathBuf::from(path));
    }
    let usual = home_folder("XDG_CONFIG_HOME", ".config").join("trainyard/trainyard.toml");
    [PathBuf::from("trainyard.toml"), usual]
        .into_iter()
        .find(|path| path.is_file())
}

#[derive(Default)]
struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
    warnings: Vec<String>,
    /// With the line of the file, by which they are sorted; 0 elsewhere.
    mistakes: Vec<(usize, String)>,
}

impl Layers {
    /// Takes a value that can be used alone; what cannot is a mistake.
    fn set(&mut self, key: String, value: Value, origin: Origin) {
        match try_alone(&key, &value) {
            Ok(()) => drop(self.values.insert(key, (value, origin))),
            Err(problem) => self.mistake(&origin, &format!("{key}: {problem}")),
        }
    }

    fn mistake(&mut self, origin: &Origin, problem: &str) {
        self.mistakes.push((line(origin), format!("{origin}: {problem}")));
    }

    fn file(&mut self, path: &Path, text: &str) {
        let origin = |at: usize| Origin::File {
            path: path.to_path_buf(),
            line: 1 + text.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count(),
        };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            // What follows a mistake of form may be misread; one thing after the other.
            for error in errors {
                self.mistake(
                    &origin(error.span().map_or(0, |span| span.start)),
                    &one_line(error.message()),
                );
            }
            return;
        }
        let names = settings();
        let sections: Vec<&str> = names
            .iter()
            .filter_map(|(name, _)| Some(name.split_once('.')?.0))
            .collect();
        for (key, value) in table.into_inner() {
            let place = origin(key.span().start);
            let key = key.into_inner().into_owned();
            match value.into_inner() {
                DeValue::Table(inner) if sections.contains(&key.as_str()) => {
                    for (name, value) in inner {
                        let place = origin(name.span().start);
                        self.setting(place, format!("{key}.{}", name.get_ref()), value, &names);
                    }
                }
                DeValue::Table(_) if !names.iter().any(|(name, _)| *name == key) => {
                    let close = closest(&key, sections.iter().copied()).map(|name| format!("[{name}]"));
                    self.mistake(
                        &place,
                        &format!("there is no section [{key}]{}", did_you_mean(close.as_deref())),
                    );
                }
                _ if sections.contains(&key.as_str()) => {
                    self.mistake(
                        &place,
                        &format!("{key} is a section: write [{key}] on a line, and its settings below"),
                    );
                }
                inner => {
                    let value = toml::Spanned::new(0..0, inner);
                    self.setting(place, key, value, &names);
                }
            }
        }
    }

    fn setting(
        &mut self,
        origin: Origin,
        key: String,
        value: toml::Spanned<DeValue<'_>>,
        names: &[(String, serde_json::Value)],
    ) {
        if !names.iter().any(|(name, _)| *name == key) {
            let close = closest(&key, names.iter().map(|(name, _)| name.as_str()));
            self.mistake(&origin, &format!("there is no setting {key}{}", did_you_mean(close)));
            return;
        }
        match Value::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => self.set(key, value, origin),
            Err(error) => self.mistake(&origin, &format!("{key}: {}", one_line(error.message()))),
        }
    }

    fn environment(&mut self, variables: &[(String, OsString)]) {
        let names: Vec<(String, String)> = settings().into_iter().map(|(key, _)| (variable(&key), key)).collect();
        for (name, value) in variables {
            let origin = Origin::Variable(name.clone());
            let Some((_, key)) = names.iter().find(|(known, _)| known == name) else {
                if !OTHERS.contains(&name.as_str()) && !name.starts_with("TRAINYARD_TEST_") {
                    let known = names.iter().map(|(name, _)| name.as_str()).chain(OTHERS);
                    self.warnings.push(format!(
                        "the variable {name} means nothing{}",
                        did_you_mean(closest(name, known))
                    ));
                }
                continue;
            };
            let Some(text) = value.to_str() else {
                self.mistake(&origin, &format!("{key}: the text is not UTF-8"));
                continue;
            };
            self.set(key.clone(), from_text(key, text.trim()), origin);
        }
    }

    fn gathered(mut self, file: Option<PathBuf>) -> Gathered {
        let mut table = toml::Table::new();
        for (key, (value, _)) in &self.values {
            insert(&mut table, key, value.clone());
        }
        let mut config = Config::deserialize(Value::Table(table)).unwrap_or_else(|error| {
            self.mistakes.push((0, one_line(error.message())));
            Config::default()
        });
        let origins: BTreeMap<_, _> = self
            .values
            .into_iter()
            .map(|(key, (_, origin))| (key, origin))
            .collect();
        // Paths in a file are relative to it, others to where the command is typed.
        let absolute = |path: &Path, key: &str| {
            let base = match origins.get(key) {
                Some(Origin::File { path, .. }) => path.parent().unwrap_or(Path::new("")),
                _ => Path::new(""),
            };
            let joined = base.join(path);
            std::path::absolute(&joined).unwrap_or(joined)
        };
        for (key, problem) in check::problems(&config) {
            let origin = origins.get(key).unwrap_or(&Origin::Default);
            self.mistakes
                .push((line(origin), format!("{origin}: {key}: {problem}")));
        }
        self.mistakes.sort_by_key(|(line, _)| *line);
        config.data_dir = absolute(&config.data_dir, "data_dir");
        for root in &mut config.worker.data_roots {
            *root = absolute(root, "worker.data_roots");
        }
        Gathered {
            config,
            origins,
            file,
            warnings: self.warnings,
            mistakes: self.mistakes.into_iter().map(|(_, mistake)| mistake).collect(),
        }
    }
}

fn line(origin: &Origin) -> usize {
    match origin {
        Origin::File { line, .. } => *line,
        _ => 0,
    }
}

/// The variable of a setting.
pub fn variable(key: &str) -> String {
    // A user of the client has nothing else in mind.
    let name = key.strip_prefix("client.").unwrap_or(key);
    format!("TRAINYARD_{}", name.replace('.', "_").to_uppercase())
}

/// A variable's text in the form that the setting takes: a number, a truth, a text, or a list.
fn from_text(key: &str, text: &str) -> Value {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let list = Value::Array(parts.map(Value::from).collect());
    let number = text.parse::<i64>().ok().map(Value::Integer);
    let truth = text.parse::<bool>().ok().map(Value::Boolean);
    let fits = |value: &Value| try_alone(key, value).is_ok();
    number
        .into_iter()
        .chain(truth)
        .chain([list])
        .find(fits)
        .unwrap_or_else(|| Value::from(text))
}

/// Whether a setting can have a value; the error says why not.
fn try_alone(key: &str, value: &Value) -> std::result::Result<(), String> {
    let mut table = toml::Table::new();
    insert(&mut table, key, value.clone());
    match Config::deserialize(Value::Table(table)) {
        Ok(_) => Ok(()),
        Err(error) => Err(plain(error.message())),
    }
}

fn insert(table: &mut toml::Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, name)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(toml::Table::new()));
            if let Value::Table(section) = section {
                section.insert(name.to_owned(), value);
            }
        }
    }
}

/// What the reader of TOML says, in words for whoever does not write Rust.
fn plain(message: &str) -> String {
    let words = [
        ("invalid type: ", "it is "),
        ("invalid value: ", "it is "),
        ("unknown variant ", "it is "),
        ("expected usize", "expected a whole number of at least 0"),
        ("expected u64", "expected a whole number of at least 0"),
        (
            "expected socket address",
            "expected an address and a port such as 127.0.0.1:8080",
        ),
        (
            "invalid socket address syntax",
            "expected an address and a port such as 127.0.0.1:8080",
        ),
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list such as [\"a\", \"b\"]"),
        ("expected path string", "expected a text"),
        ("expected a string", "expected a text"),
        ("string \"", "the text \""),
        ("integer `", "the number `"),
    ];
    words
        .iter()
        .fold(one_line(message), |text, (from, to)| text.replace(from, to))
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The name that someone who wrote `name` most likely meant.
fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |name: &str| {
        name.rsplit_once('.')
            .map_or_else(|| name.to_owned(), |(_, last)| last.to_owned())
    };
    known
        .map(|candidate| {
            // The right name in the wrong section is close, too.
            let whole = trainyard_parameters::distance(name, candidate);
            let alone = 1 + trainyard_parameters::distance(&last(name), &last(candidate));
            (whole.min(alone), candidate)
        })
        .filter(|(distance, _)| *distance <= (last(name).chars().count() / 3).max(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn did_you_mean(close: Option<&str>) -> String {
    close.map_or_else(String::new, |name| format!("; did you mean {name}?"))
}
