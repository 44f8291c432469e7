//! What can be typed.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use trainyard_data::{Duplicates, Missing, Scaling, Split, Task};
use trainyard_kernels::Device;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something outside went wrong: a file, the disk, the compiler
  2  the command line is wrong
  3  the data cannot be used
  4  the plugin or the artifact cannot be used
  5  the parameters are not the plugin's
  6  the algorithm failed
  7  a limit was reached: time, memory, handles
  130  cancelled with Ctrl-C";

/// Trains models with algorithms that arrive as WebAssembly plugins.
#[derive(Parser)]
#[command(name = "trainyard", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    pub fn threads(&self) -> usize {
        match &self.command {
            Command::Run(options) => options.limits.threads,
            Command::Predict(options) => options.limits.threads,
            Command::Plugin { .. } => 0,
        }
    }

    pub fn json(&self) -> bool {
        match &self.command {
            Command::Run(options) => options.json,
            Command::Predict(options) => options.json,
            Command::Plugin { command } => match command {
                PluginCommand::Check(options) | PluginCommand::Inspect(options) => options.json,
                _ => false,
            },
        }
    }
}

#[derive(Subcommand)]
pub enum Command {
    /// Trains a plugin on a file and evaluates it
    Run(RunOptions),
    /// Predicts with a trained model
    Predict(PredictOptions),
    /// Writes, builds, checks and inspects plugins
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
}

#[derive(Subcommand)]
pub enum PluginCommand {
    /// Writes a new plugin in Rust, ready to build
    New(NewOptions),
    /// Builds a plugin's folder into a .wasm file
    Build(BuildOptions),
    /// Says whether this host can run a plugin, and if not, why and how to mend it
    Check(FileOptions),
    /// Shows what a plugin is, needs, and can be told
    Inspect(FileOptions),
    /// Lists the plugins in the library
    List,
}

#[derive(Args)]
pub struct RunOptions {
    /// A plugin's file, or the name of one in the library such as dlinear
    pub plugin: String,
    #[command(flatten)]
    pub data: DataOptions,
    /// A parameter of the plugin, as name=value; can be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", help_heading = "Training")]
    pub parameters: Vec<String>,
    /// Random numbers and shuffling follow from it
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Training")]
    pub seed: u32,
    /// Where to write the model; an existing model there is replaced
    #[arg(long, value_name = "DIR", help_heading = "Training")]
    pub out: Option<PathBuf>,
    /// Goes on from the checkpoint that an interrupted run left in --out
    #[arg(long, requires = "out", help_heading = "Training")]
    pub resume: bool,
    #[command(flatten)]
    pub limits: LimitOptions,
    /// Prints one JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Data")]
pub struct DataOptions {
    /// The data: .csv, .tsv or .parquet
    #[arg(long = "data", value_name = "FILE")]
    pub file: PathBuf,
    /// What to predict: columns, separated by commas. Forecasting: all columns of numbers when not given
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub target: Vec<String>,
    /// What to learn from: columns, separated by commas. All columns of numbers when not given
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub features: Option<Vec<String>>,
    /// The column with the time; found by its name when not given
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// What to learn: forecasting, regression or classification. Follows from the other options when not given
    #[arg(long)]
    pub task: Option<Task>,
    /// Rows that a forecast looks back on
    #[arg(long, value_name = "N")]
    pub lookback: Option<u32>,
    /// Rows that a forecast looks ahead
    #[arg(long, value_name = "N")]
    pub horizon: Option<u32>,
    /// Training/validation/test, in order of time: fractions or rows
    #[arg(long, default_value_t = Split::default(), value_name = "A/B/C")]
    pub split: Split,
    /// Missing values: auto, error, drop, forward, linear or mean
    #[arg(long, default_value_t = Missing::Auto, value_name = "HOW")]
    pub missing: Missing,
    /// Scaling by the training rows: none, standard, min_max or robust
    #[arg(long, default_value_t = Scaling::Standard, value_name = "HOW")]
    pub scaling: Scaling,
    /// Sorts the rows by time, where rows out of order are an error otherwise
    #[arg(long)]
    pub sort: bool,
    /// Repeated times: error, first, last or mean
    #[arg(long, default_value_t = Duplicates::Error, value_name = "HOW")]
    pub duplicates: Duplicates,
}

#[derive(Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitOptions {
    /// Where tensors live: cpu, cuda or cuda:N
    #[arg(long, default_value_t = Device::Cpu)]
    pub device: Device,
    /// The most seconds that the plugin may run
    #[arg(long, default_value_t = 3600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: u64,
    /// The most MiB that the job's tensors may hold
    #[arg(long, default_value_t = 4096, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=1 << 30))]
    pub memory: u64,
    /// Threads that compute; 0 is one for each core. The result does not depend on it
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
}

#[derive(Args)]
pub struct PredictOptions {
    /// The folder that `trainyard run --out` wrote
    pub artifact: PathBuf,
    /// The data: .csv, .tsv or .parquet, with the columns that the model was trained on
    #[arg(long = "data", value_name = "FILE")]
    pub file: PathBuf,
    /// Forecasts from every window of the file, not from the last one alone
    #[arg(long)]
    pub rolling: bool,
    /// Writes a CSV file instead of printing
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub limits: LimitOptions,
    /// Prints one JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct NewOptions {
    /// The plugin's name, which is also the folder's
    pub name: String,
    /// Where to write it; a folder of the plugin's name when not given
    #[arg(long, value_name = "DIR")]
    pub path: Option<PathBuf>,
    /// The folder of the Rust SDK, for a checkout that is elsewhere
    #[arg(long, value_name = "DIR")]
    pub sdk: Option<PathBuf>,
}

#[derive(Args)]
pub struct BuildOptions {
    /// The plugin's folder
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Where to write the .wasm file; next to Cargo.toml when not given
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
pub struct FileOptions {
    /// A plugin's file, or the name of one in the library
    pub plugin: String,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}
