//! What can be typed. Here is what works on this machine alone; [`service`] has what runs and sets up a service,
//! [`remote`] what asks one.

mod remote;
mod service;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use trainyard_data::{Duplicates, Missing, Scaling, Split, Task};
use trainyard_jobs::DeviceChoice;
use trainyard_kernels::Device;

pub use remote::*;
pub use service::*;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  something outside went wrong: a file, the disk, the compiler, the server
  2  the command line or the configuration is wrong
  3  the data cannot be used
  4  the plugin or the artifact cannot be used
  5  the parameters are not the plugin's
  6  the algorithm failed
  7  a limit was reached: time, memory, handles
  130  cancelled with Ctrl-C, or the training was stopped";

/// The commands as `trainyard --help` groups them.
const GROUPS: [(&str, &[&str]); 3] = [
    ("On this machine, from files to files", &["run", "predict", "plugin"]),
    (
        "With a server (at --url or TRAINYARD_URL)",
        &[
            "train",
            "logs",
            "stop",
            "report",
            "runs",
            "download",
            "model",
            "dataset",
            "data",
            "schedule",
            "sweep",
            "workers",
            "dead-letters",
        ],
    ),
    (
        "The server itself",
        &["up", "serve", "worker", "doctor", "token", "config"],
    ),
];

/// Trains models with algorithms that arrive as WebAssembly plugins.
#[derive(Parser)]
#[command(name = "trainyard", version, after_help = EXIT_CODES, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

impl Arguments {
    /// Reads the command line; says what is wrong with it and ends the process if it cannot be read.
    pub fn read() -> Self {
        let matches = command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Threads that compute, 0 for one a core; none where nothing is computed in this process.
    pub fn threads(&self) -> Option<usize> {
        match &self.command {
            Command::Run(options) => Some(options.limits.threads),
            Command::Predict(options) => Some(options.limits.threads),
            Command::Plugin { .. } => Some(0),
            _ => None,
        }
    }

    pub fn json(&self) -> bool {
        match &self.command {
            Command::Run(options) => options.json,
            Command::Predict(options) => options.json,
            Command::Plugin { command } => match command {
                PluginCommand::Check(options) => options.json,
                PluginCommand::Test(options) => options.json,
                PluginCommand::Inspect(options) => options.json,
                PluginCommand::Push(options) => options.client.json,
                PluginCommand::Delete(options) => options.client.json,
                PluginCommand::List(options) => options.client.json,
                PluginCommand::New(_) | PluginCommand::Build(_) => false,
            },
            Command::Train(options) => options.client.json,
            Command::Logs(options) => options.client.json,
            Command::Stop(options) | Command::Runs(options) => options.client.json,
            Command::Report(options) => options.client.json,
            Command::Download(options) => options.client.json,
            Command::Model { client, .. }
            | Command::Dataset { client, .. }
            | Command::Schedule { client, .. }
            | Command::Sweep { client, .. }
            | Command::DeadLetters { client, .. } => client.json,
            Command::Workers(client) => client.json,
            Command::Doctor(options) => options.json,
            Command::Data { command } => match command {
                DataCommand::Preview(options) => options.client.json,
                DataCommand::CheckSource(options) => options.json,
            },
            Command::Up(_) | Command::Serve(_) | Command::Worker(_) => false,
            Command::Token { json, .. } | Command::Config { json, .. } => *json,
        }
    }
}

/// The command line, with its commands in groups.
pub fn command() -> clap::Command {
    let command = Arguments::command();
    let mut listed = String::new();
    for (heading, names) in GROUPS {
        listed.push_str(&format!("\n{heading}:\n"));
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            listed.push_str(&format!(
                "  {name:<12} {}\n",
                about.map(ToString::to_string).unwrap_or_default()
            ));
        }
    }
    let command = command.mut_subcommand("run", |run| run.mut_arg("file", |file| file.required(true)));
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n{listed}\nOptions:\n{{options}}{{after-help}}"
    ))
}

#[derive(Subcommand)]
pub enum Command {
    /// Trains a plugin on a file and evaluates it
    Run(RunOptions),
    /// Predicts with a trained model: a folder here, or a model on a server
    Predict(PredictOptions),
    /// Writes, builds, checks, inspects and uploads plugins
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },

    /// Trains a model
    Train(TrainOptions),
    /// Shows the log of a training, and follows it
    Logs(LogsOptions),
    /// Stops the training of a model
    Stop(ModelOptions),
    /// Shows what came of a training
    Report(RunChoice),
    /// Lists the trainings of a model
    Runs(ModelOptions),
    /// Fetches a trained model as a folder, as `trainyard run` writes it
    Download(DownloadOptions),
    /// Makes, lists, shows and deletes models
    Model {
        #[command(flatten)]
        client: ClientOptions,
        #[command(subcommand)]
        command: ModelCommand,
    },
    /// Uploads, lists, shows and deletes data sets
    Dataset {
        #[command(flatten)]
        client: ClientOptions,
        #[command(subcommand)]
        command: DatasetCommand,
    },
    /// Trains models at their times, such as every night
    Schedule {
        #[command(flatten)]
        client: ClientOptions,
        #[command(subcommand)]
        command: ScheduleCommand,
    },
    /// Tries many parameters, and finds the best
    Sweep {
        #[command(flatten)]
        client: ClientOptions,
        #[command(subcommand)]
        command: SweepCommand,
    },
    /// Lists the workers: what each serves and does
    Workers(ClientOptions),
    /// Lists, tries again or forgets jobs that were given up
    DeadLetters {
        #[command(flatten)]
        client: ClientOptions,
        #[command(subcommand)]
        command: DeadLetterCommand,
    },
    /// Looks at data before a training: its rows, and the server that they come from
    Data {
        #[command(subcommand)]
        command: DataCommand,
    },

    /// Runs the whole service on this machine: server, worker, database, files
    Up(UpOptions),
    /// Runs the server alone
    Serve(ServeOptions),
    /// Runs a worker alone
    Worker(WorkerOptions),
    /// Tries everything that the configuration names, and says how to mend what fails
    Doctor(DoctorOptions),
    /// Makes, lists and revokes tokens, in the data folder of this machine
    Token {
        #[command(flatten)]
        place: PlaceOptions,
        /// Prints one JSON object a line instead of text
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Shows and checks the configuration
    Config {
        /// Prints one JSON object a line instead of text
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand)]
pub enum PluginCommand {
    /// Writes a new plugin in Rust or Python, ready to change
    New(NewOptions),
    /// Builds a plugin's folder into a .wasm file
    Build(BuildOptions),
    /// Says whether this host can run a plugin, and if not, why and how to mend it
    Check(CheckOptions),
    /// Trains, evaluates and predicts in the sandbox, on a sample or your own data, and says where the time went
    Test(TestOptions),
    /// Shows what a plugin is, needs, and can be told
    Inspect(FileOptions),
    /// Lists the plugins in the library, or on a server
    List(PluginListOptions),
    /// Uploads a plugin to a server
    Push(PluginPushOptions),
    /// Deletes a version of a plugin from a server
    Delete(PluginDeleteOptions),
}

#[derive(Subcommand)]
pub enum DataCommand {
    /// Reads the rows that a training would learn from, on a server, and says what they are
    Preview(PreviewOptions),
    /// Tries the TDengine server that is configured on this machine ([tdengine] dsn)
    CheckSource(CheckSourceOptions),
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

#[derive(Args, Clone)]
#[command(next_help_heading = "Data")]
pub struct DataOptions {
    /// The data: .csv, .tsv or .parquet
    #[arg(long = "data", value_name = "FILE")]
    pub file: Option<PathBuf>,
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
    /// Where tensors live: cpu, cuda, cuda:N, or auto (a card where there is one that can be used)
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Lets a card multiply f32 matrices with the shorter mantissa of TF32: faster, and less exact
    #[arg(long)]
    pub tf32: bool,
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

impl LimitOptions {
    /// Where tensors are to live. Looks for a card where that is to be found out, which starts threads of its driver's: not before this
    /// program has set up its own.
    pub fn device(&self) -> Device {
        match self.device {
            DeviceChoice::Auto => Device::best(),
            DeviceChoice::Cpu => Device::Cpu,
            DeviceChoice::Cuda => Device::Cuda(0),
            DeviceChoice::Card(number) => Device::Cuda(number as usize),
        }
    }
}

#[derive(Args)]
pub struct PredictOptions {
    /// The folder that `trainyard run --out` wrote; or the number or name of a model on a server
    #[arg(value_name = "FOLDER|MODEL")]
    pub artifact: PathBuf,
    /// The data: .csv, .tsv or .parquet, with the columns that the model was trained on
    #[arg(
        long = "data",
        value_name = "FILE",
        required_unless_present = "dataset",
        conflicts_with = "dataset"
    )]
    pub file: Option<PathBuf>,
    /// Data that a server reads: a .json file that holds a training_dataset, or - for standard input; or an uploaded data
    /// set by id or name
    #[arg(long, value_name = "FILE")]
    pub dataset: Option<String>,
    /// Forecasts from every window of the data, not from the last one alone
    #[arg(long)]
    pub rolling: bool,
    /// Adds how far off each forecast was, in standard deviations; forecasts from every window
    #[arg(long)]
    pub score: bool,
    /// Writes the prediction to a table of TDengine's, too; made when it is missing
    #[arg(long, value_name = "DATABASE.TABLE", conflicts_with = "file")]
    pub sink: Option<String>,
    /// Writes a CSV file instead of printing
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub limits: LimitOptions,
    #[command(flatten)]
    pub server: ServerOptions,
    /// Prints one JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct NewOptions {
    /// The plugin's name, which is also the folder's
    pub name: String,
    /// The language: a crate in Rust, or one file in Python
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// Where to write it; for Rust a folder of the plugin's name when not given, for Python this folder
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

/// What a plugin is written in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Language {
    Rust,
    Python,
}

#[derive(Args)]
pub struct CheckOptions {
    /// A plugin's file, or the name of one in the library
    pub plugin: String,
    /// Checks again whenever the file is saved
    #[arg(long)]
    pub watch: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct TestOptions {
    /// A plugin's file, the folder of a plugin in Rust, or the name of one in the library
    pub plugin: String,
    #[command(flatten)]
    pub data: DataOptions,
    /// A parameter of the plugin, as name=value; can be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", help_heading = "Training")]
    pub parameters: Vec<String>,
    /// Random numbers and shuffling follow from it
    #[arg(long, default_value_t = 0, value_name = "N", help_heading = "Training")]
    pub seed: u32,
    #[command(flatten)]
    pub limits: LimitOptions,
    /// Tests again whenever the file is saved
    #[arg(long)]
    pub watch: bool,
    /// Prints one JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct FileOptions {
    /// A plugin's file, or the name of one in the library
    pub plugin: String,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests;
