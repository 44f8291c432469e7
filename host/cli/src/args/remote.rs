//! The commands that ask a server.

use clap::{Args, Subcommand};
use std::path::PathBuf;
use trainyard_data::{Duplicates, Missing, Scaling, Split, Task};
use trainyard_jobs::DeviceChoice;

/// Which server, and as whom.
#[derive(Args)]
#[command(next_help_heading = "Server")]
pub struct ServerOptions {
    /// The server's address; else TRAINYARD_URL, else client.url of trainyard.toml, else http://127.0.0.1:8080
    #[arg(long, value_name = "URL", global = true)]
    pub url: Option<String>,
    /// A token; better in TRAINYARD_TOKEN, where other users of this machine cannot see it
    #[arg(long, value_name = "TOKEN", global = true)]
    pub token: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

#[derive(Args)]
pub struct ClientOptions {
    #[command(flatten)]
    pub server: ServerOptions,
    /// Prints one JSON object a line instead of text
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Args)]
pub struct PluginListOptions {
    /// Lists the plugins on the server
    #[arg(long)]
    pub server: bool,
    #[command(flatten)]
    pub client: ClientOptions,
}

impl PluginListOptions {
    /// Whether a server is asked, and not the library here.
    pub fn asks_server(&self) -> bool {
        self.server || self.client.server.url.is_some()
    }
}

#[derive(Args)]
pub struct PluginPushOptions {
    /// A plugin's file, or the name of one in the library
    pub plugin: String,
    #[command(flatten)]
    pub client: ClientOptions,
}

#[derive(Args)]
pub struct PluginDeleteOptions {
    /// The plugin's name
    pub name: String,
    /// Which version
    pub version: String,
    #[command(flatten)]
    pub client: ClientOptions,
}

#[derive(Subcommand)]
pub enum DatasetCommand {
    /// Uploads a file: .csv, .tsv, .parquet, .arrow or .json
    Push {
        /// The file
        file: PathBuf,
        /// What to call it; the file's name when not given
        #[arg(long)]
        name: Option<String>,
    },
    /// Lists the data sets, newest first
    List,
    /// Shows a data set: its columns and first rows
    Show {
        /// Its id or name
        #[arg(value_name = "DATASET")]
        dataset: String,
    },
    /// Deletes a data set
    Delete {
        /// Its id or name
        #[arg(value_name = "DATASET")]
        dataset: String,
    },
}

#[derive(Args)]
pub struct PreviewOptions {
    /// A .json file that holds a training_dataset, or - for standard input; or a data set on the server by id or name, or
    /// file:PATH for a file on the worker's machine
    #[arg(long, value_name = "FILE")]
    pub dataset: String,
    #[command(flatten)]
    pub client: ClientOptions,
}

#[derive(Subcommand)]
pub enum ModelCommand {
    /// Makes a model: a name, a plugin, and what a training uses when it is not told
    Create(ModelCreateOptions),
    /// Lists the models, newest first
    List {
        /// Only those in this status: DRAFT, PENDING, PREPARING, TRAINING, TRAINED, ERROR; several with commas
        #[arg(long, value_name = "STATUS", value_delimiter = ',')]
        status: Vec<String>,
        /// Only those whose name contains this
        #[arg(long)]
        name: Option<String>,
        /// Only those of this plugin
        #[arg(long)]
        plugin: Option<String>,
    },
    /// Shows a model
    Show {
        /// Its number or name
        model: String,
    },
    /// Deletes a model with all its trainings and results
    Delete {
        /// Its number or name
        model: String,
    },
}

#[derive(Args)]
pub struct ModelCreateOptions {
    /// What to call it
    pub name: String,
    /// The plugin, on the server: NAME or NAME@VERSION; the newest at each training when no version is given
    #[arg(long)]
    pub plugin: String,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    #[command(flatten)]
    pub data: TrainingDataOptions,
    /// A parameter of the plugin, as name=value; can be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", help_heading = "Training")]
    pub parameters: Vec<String>,
}

/// What a training learns from. Whatever is not said stays as the model has it.
#[derive(Args, Default)]
#[command(next_help_heading = "Data (what is not said stays as the model has it)")]
pub struct TrainingDataOptions {
    /// A file to train on; uploaded first, unless the server has the same content already
    #[arg(long = "data", value_name = "FILE", conflicts_with = "dataset")]
    pub file: Option<PathBuf>,
    /// A data set on the server by id or name, file:PATH for a file on the worker's machine, or a .json file (- for
    /// standard input) that holds the whole training_dataset, such as one of TDengine
    #[arg(long, value_name = "DATASET")]
    pub dataset: Option<String>,
    /// What to predict: columns, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub target: Option<Vec<String>>,
    /// What to learn from: columns, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "COLUMNS")]
    pub features: Option<Vec<String>>,
    /// The column with the time
    #[arg(long, value_name = "COLUMN")]
    pub time: Option<String>,
    /// What to learn: forecasting, regression or classification
    #[arg(long)]
    pub task: Option<Task>,
    /// Rows that a forecast looks back on
    #[arg(long, value_name = "N")]
    pub lookback: Option<u32>,
    /// Rows that a forecast looks ahead
    #[arg(long, value_name = "N")]
    pub horizon: Option<u32>,
    /// Training/validation/test, in order of time: fractions or rows
    #[arg(long, value_name = "A/B/C")]
    pub split: Option<Split>,
    /// Missing values: auto, error, drop, forward, linear or mean
    #[arg(long, value_name = "HOW")]
    pub missing: Option<Missing>,
    /// Scaling by the training rows: none, standard, min_max or robust
    #[arg(long, value_name = "HOW")]
    pub scaling: Option<Scaling>,
    /// Sorts the rows by time, where rows out of order are an error otherwise
    #[arg(long)]
    pub sort: bool,
    /// Repeated times: error, first, last or mean
    #[arg(long, value_name = "HOW")]
    pub duplicates: Option<Duplicates>,
}

#[derive(Args)]
pub struct TrainOptions {
    /// The model's number or name
    pub model: String,
    #[command(flatten)]
    pub asked: AskedOptions,
    /// Watches until the end; what happens at a terminal when nothing is said. Ctrl-C leaves the training alone
    #[arg(long, conflicts_with = "detach", help_heading = "Training")]
    pub watch: bool,
    /// Returns once the training is submitted; what happens in a script when nothing is said
    #[arg(long, help_heading = "Training")]
    pub detach: bool,
    #[command(flatten)]
    pub client: ClientOptions,
}

/// What is asked of a training, over what the model has.
#[derive(Args)]
pub struct AskedOptions {
    #[command(flatten)]
    pub data: TrainingDataOptions,
    /// A parameter of the plugin, as name=value; can be repeated. Given ones replace the model's
    #[arg(long = "param", value_name = "NAME=VALUE", help_heading = "Training")]
    pub parameters: Vec<String>,
    /// Random numbers and shuffling follow from it
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub seed: Option<u32>,
    /// The most seconds that the training may take
    #[arg(long, value_name = "SECONDS", help_heading = "Training", value_parser = clap::value_parser!(u64).range(1..))]
    pub time_limit: Option<u64>,
    /// The most MiB that the training may hold
    #[arg(long, value_name = "MB", help_heading = "Training", value_parser = clap::value_parser!(u64).range(1..))]
    pub memory: Option<u64>,
    /// Something that the worker has to have, such as gpu; can be repeated
    #[arg(long = "label", value_name = "LABEL", help_heading = "Training")]
    pub labels: Vec<String>,
    /// Where the tensors are to be: auto (a card where the worker has one that works), cpu, cuda or cuda:N. With cuda it goes to a
    /// worker with the label gpu
    #[arg(long, value_name = "DEVICE", help_heading = "Training")]
    pub device: Option<DeviceChoice>,
    /// Lets a card multiply f32 matrices with the shorter mantissa of TF32: faster, and less exact
    #[arg(long, help_heading = "Training")]
    pub tf32: bool,
}

#[derive(Subcommand)]
pub enum SweepCommand {
    /// Trains a model with many parameters, on all workers, and gives it the best result
    Start {
        /// The model's number or name
        model: String,
        /// A parameter and its values, as NAME=VALUE,VALUE or NAME=MIN..MAX, with :log for a logarithmic range and :N for N
        /// points of a grid; can be repeated
        #[arg(long, value_name = "NAME=VALUES", required = true)]
        vary: Vec<String>,
        /// Every combination, some at random, or some at random of which the worse are ended early
        #[arg(long, value_name = "HOW", default_value = "random", value_parser = ["grid", "random", "asha"])]
        method: String,
        /// How many combinations; 20 when not given, and not for a grid
        #[arg(long, value_name = "N")]
        trials: Option<u32>,
        /// What trials are judged by; validation_loss when not given, where the plugin tells it, or its first test metric
        #[arg(long, value_name = "NAME")]
        metric: Option<String>,
        /// Which values of it are better; as the plugin says, or else small ones, when not given
        #[arg(long, value_parser = ["minimize", "maximize"])]
        goal: Option<String>,
        /// With asha: no trial is ended before so many of the plugin's steps
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        min_steps: u64,
        /// With asha: of so many trials one goes on
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=1000))]
        reduction: u64,
        /// Leaves the model as it is
        #[arg(long)]
        keep_model: bool,
        /// Returns once the sweep is submitted; what happens in a script
        #[arg(long)]
        detach: bool,
        #[command(flatten)]
        asked: Box<AskedOptions>,
    },
    /// Lists sweeps
    List {
        /// Those of one model: its number or name
        model: Option<String>,
    },
    /// Shows a sweep and its trials, the best first
    Show {
        /// Its number
        id: i64,
        /// Every trial
        #[arg(long)]
        all: bool,
    },
    /// Shows a sweep until it is over
    Watch {
        /// Its number
        id: i64,
    },
    /// Stops a sweep; the results that are there stay
    Stop {
        /// Its number
        id: i64,
    },
    /// Gives the model a trial's result
    Adopt {
        /// The sweep's number
        id: i64,
        /// The trial; the best when not given
        #[arg(long, value_name = "RUN")]
        run: Option<String>,
    },
}

#[derive(Subcommand)]
pub enum DeadLetterCommand {
    /// Lists them, newest first
    List,
    /// Tries them again, as new trainings
    Replay {
        /// The runs
        runs: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "runs")]
        all: bool,
    },
    /// Forgets them; their runs stay as they are
    Discard {
        /// The runs
        runs: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "runs")]
        all: bool,
    },
}

#[derive(Subcommand)]
pub enum ScheduleCommand {
    /// Trains a model at its times
    Create {
        /// The model's number or name
        model: String,
        /// Minute, hour, day of the month, month, day of the week: "30 2 * * *" is every night at half past two
        #[arg(long, value_name = "TIMES")]
        cron: String,
        /// Whose clock that is, such as Asia/Shanghai
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        time_zone: String,
        /// What to call it; the model's name and the times when not given
        #[arg(long)]
        name: Option<String>,
        /// What becomes of times at which no server was there: nothing, or one training
        #[arg(long, value_name = "POLICY", default_value = "skip", value_parser = ["skip", "once"])]
        missed: String,
        #[command(flatten)]
        asked: Box<AskedOptions>,
    },
    /// Lists the schedules with their next times
    List,
    /// Shows a schedule
    Show {
        /// Its number
        id: i64,
    },
    /// Switches a schedule off
    Pause {
        /// Its number
        id: i64,
    },
    /// Switches a schedule on again
    Resume {
        /// Its number
        id: i64,
    },
    /// Deletes a schedule; its trainings stay
    Delete {
        /// Its number
        id: i64,
    },
}

#[derive(Args)]
pub struct ModelOptions {
    /// The model's number or name
    pub model: String,
    #[command(flatten)]
    pub client: ClientOptions,
}

#[derive(Args)]
pub struct RunChoice {
    /// The model's number or name
    pub model: String,
    /// Which training; the last one when not given
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    #[command(flatten)]
    pub client: ClientOptions,
}

#[derive(Args)]
pub struct LogsOptions {
    /// The model's number or name
    pub model: String,
    /// Goes on until the training ends
    #[arg(long, short, conflicts_with = "run")]
    pub follow: bool,
    /// Which training; the last one when not given
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// The last lines only
    #[arg(long, value_name = "N")]
    pub lines: Option<u32>,
    #[command(flatten)]
    pub client: ClientOptions,
}

#[derive(Args)]
pub struct DownloadOptions {
    /// The model's number or name
    pub model: String,
    /// Where to write it; a folder of the model's name when not given. An existing model there is replaced
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Which training; the one that the model predicts with when not given
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    #[command(flatten)]
    pub client: ClientOptions,
}
