//! The commands that run and set up a service.

use crate::config::Flags;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Where the configuration and the data are.
#[derive(Args)]
#[command(next_help_heading = "Configuration (over TRAINYARD_* and trainyard.toml; see `trainyard config default`)")]
pub struct PlaceOptions {
    /// The configuration file
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Where the database and the files are
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
}

#[derive(Args)]
pub struct UpOptions {
    #[command(flatten)]
    pub place: PlaceOptions,
    #[command(flatten)]
    pub server: ListenOptions,
    #[command(flatten)]
    pub worker: WorkOptions,
}

#[derive(Args)]
pub struct ServeOptions {
    #[command(flatten)]
    pub place: PlaceOptions,
    #[command(flatten)]
    pub server: ListenOptions,
}

#[derive(Args)]
pub struct WorkerOptions {
    #[command(flatten)]
    pub place: PlaceOptions,
    #[command(flatten)]
    pub worker: WorkOptions,
}

#[derive(Args)]
pub struct ListenOptions {
    /// Where the server listens
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
}

#[derive(Args)]
pub struct WorkOptions {
    /// Trainings at once; one for each core when nothing says otherwise
    #[arg(long, value_name = "N")]
    pub slots: Option<usize>,
    /// The queues that are served, with commas: ai_training, ai_sweeps, ai_evaluation when nothing says otherwise
    #[arg(long, value_name = "QUEUES", value_delimiter = ',')]
    pub queues: Vec<String>,
    /// Something that this worker has, such as gpu, for trainings that ask for it; can be repeated
    #[arg(long = "label", value_name = "LABEL")]
    pub labels: Vec<String>,
    /// The cards that trainings may use: auto (all that there are), none, or a list such as cuda:0,cuda:1
    #[arg(long, value_name = "CARDS")]
    pub devices: Option<String>,
    /// A folder from which trainings may read files; can be repeated
    #[arg(long = "data-root", value_name = "DIR")]
    pub data_roots: Vec<PathBuf>,
}

#[derive(Args)]
pub struct CheckSourceOptions {
    #[command(flatten)]
    pub place: PlaceOptions,
    /// Prints one JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct DoctorOptions {
    #[command(flatten)]
    pub place: PlaceOptions,
    /// Leaves cards alone: to try one takes some of its memory, from whatever computes there. For what asks again and again
    #[arg(long)]
    pub no_cards: bool,
    /// Prints one JSON object a line instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Subcommand)]
pub enum TokenCommand {
    /// Makes a token and prints its secret, once
    Create {
        /// What it is for
        name: String,
        /// What it allows: read, submit, upload, admin; several with commas
        #[arg(
            long = "scope",
            value_delimiter = ',',
            value_name = "SCOPES",
            default_value = "read,submit,upload"
        )]
        scopes: Vec<String>,
        /// When it ends, such as 12h, 30d or 8w; never when not given
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Lists the tokens
    List,
    /// Revokes a token, at once
    Revoke {
        /// Its number
        id: i64,
    },
}

#[derive(Subcommand)]
pub enum ConfigCommand {
    /// Prints the configuration that is in force, and where each value comes from
    Show {
        #[command(flatten)]
        place: PlaceOptions,
    },
    /// Prints the documented configuration file with every default
    Default,
    /// Says every mistake in a configuration, and whether its folders and addresses can be used
    Check {
        /// The file; the one that would be used when not given
        file: Option<PathBuf>,
    },
}

impl PlaceOptions {
    /// What they say, as settings.
    pub fn flags(&self) -> Flags {
        let folder = self
            .data_dir
            .as_ref()
            .map(|folder| folder.to_string_lossy().into_owned());
        Flags::default().with("--data-dir", "data_dir", folder)
    }
}

impl ListenOptions {
    fn add(&self, flags: Flags) -> Flags {
        flags.with("--listen", "server.listen", self.listen.as_deref())
    }
}

impl WorkOptions {
    fn add(&self, flags: Flags) -> Flags {
        let slots = self.slots.map(|slots| i64::try_from(slots).unwrap_or(i64::MAX));
        flags
            .with("--slots", "worker.slots", slots)
            .with("--queues", "worker.queues", list(&self.queues))
            .with("--label", "worker.labels", list(&self.labels))
            .with("--devices", "worker.devices", self.devices.as_deref())
            .with_folders("--data-root", "worker.data_roots", &self.data_roots)
    }
}

/// A list that was given.
fn list(texts: &[String]) -> Option<Vec<String>> {
    (!texts.is_empty()).then(|| texts.to_vec())
}

impl UpOptions {
    /// What they say, as settings.
    pub fn flags(&self) -> Flags {
        self.worker.add(self.server.add(self.place.flags()))
    }
}

impl ServeOptions {
    /// What they say, as settings.
    pub fn flags(&self) -> Flags {
        self.server.add(self.place.flags())
    }
}

impl WorkerOptions {
    /// What they say, as settings.
    pub fn flags(&self) -> Flags {
        self.worker.add(self.place.flags())
    }
}
