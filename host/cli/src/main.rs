//! `trainyard`: trains a plugin on a file, predicts with what came of it, and helps to write plugins.

mod args;
mod artifact;
mod data;
mod failure;
mod library;
mod output;
mod plugin;
mod predict;
mod run;
mod stop;

use args::{Command, PluginCommand};
use clap::Parser;
use failure::Failure;

/// glibc gives large blocks back and faults them in again: half the time of a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let arguments = args::Arguments::parse();
    trainyard_kernels::configure_threads(arguments.threads());
    let json = arguments.json();
    let outcome = match arguments.command {
        Command::Run(options) => run::run(&options),
        Command::Predict(options) => predict::predict(&options),
        Command::Plugin { command } => match command {
            PluginCommand::New(options) => plugin::new(&options),
            PluginCommand::Build(options) => plugin::build(&options),
            PluginCommand::Check(options) => plugin::check(&options),
            PluginCommand::Inspect(options) => plugin::inspect(&options),
            PluginCommand::List => plugin::list(),
        },
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, json);
            failure.exit_code()
        }
    }
}

/// The last words: one line for a person, or one JSON object for a program.
fn report(failure: &Failure, json: bool) {
    if json {
        output::print_json(&serde_json::json!({
            "event": "error",
            "code": failure.code(),
            "message": failure.to_string(),
        }));
    } else {
        eprintln!("error: {failure}");
        for line in failure.log() {
            eprintln!("  log: {line}");
        }
    }
}
