//! `trainyard`: trains a plugin on a file, predicts with what came of it, helps to write plugins; runs the service, and
//! asks one.

mod args;
mod artifact;
mod client;
mod config;
mod data;
mod doctor;
mod failure;
mod library;
mod log;
mod output;
mod plugin;
mod predict;
mod project;
mod run;
mod service;
mod source;
mod stop;
mod token;
mod typed;

use args::{Arguments, Command, DataCommand, PlaceOptions, PluginCommand};
use config::{Config, Flags};
use failure::{Failure, Result};
use trainyard_sandbox::SandboxError;

/// glibc gives large blocks back and faults them in again: half the time of a training step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    // Before anything else is done: a runner shuts itself in first.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|name| name == trainyard_worker::runner::SUBCOMMAND)
    {
        return trainyard_worker::runner::main();
    }
    let arguments = Arguments::read();
    if let Some(threads) = arguments.threads() {
        // The same number is the same card for us, for workers and for the vendor's tools.
        if std::env::var_os("CUDA_DEVICE_ORDER").is_none() {
            // SAFETY: no other thread exists yet that could read the environment.
            unsafe { std::env::set_var("CUDA_DEVICE_ORDER", "PCI_BUS_ID") };
        }
        trainyard_kernels::configure_threads(threads);
    }
    let json = arguments.json();
    let outcome = dispatch(arguments.command);
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure, json);
            failure.exit_code()
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Run(options) => run::run(&options),
        Command::Predict(options) => match client::remote_model(&options.artifact) {
            Some(model) => client::predict(&options, model),
            None => predict::predict(&options),
        },
        Command::Plugin { command } => match command {
            PluginCommand::New(options) => plugin::new(&options),
            PluginCommand::Build(options) => plugin::build(&options),
            PluginCommand::Check(options) => plugin::check(&options),
            PluginCommand::Test(options) => plugin::test(&options),
            PluginCommand::Inspect(options) => plugin::inspect(&options),
            PluginCommand::List(options) if options.asks_server() => client::list_plugins(&options),
            PluginCommand::List(options) => plugin::list(options.client.json),
            PluginCommand::Push(options) => client::push_plugin(&options),
            PluginCommand::Delete(options) => client::delete_plugin(&options),
        },
        Command::Train(options) => client::train(&options),
        Command::Logs(options) => client::logs(&options),
        Command::Stop(options) => client::stop(&options),
        Command::Report(options) => client::report(&options),
        Command::Runs(options) => client::runs(&options),
        Command::Download(options) => client::download(&options),
        Command::Model { client, command } => client::model(&client, &command),
        Command::Schedule { client, command } => client::schedule(&client, &command),
        Command::Sweep { client, command } => client::sweep(&client, &command),
        Command::Workers(options) => client::workers(&options),
        Command::DeadLetters { client, command } => client::dead_letters(&client, &command),
        Command::Dataset { client, command } => client::dataset(&client, &command),
        Command::Data { command } => match command {
            DataCommand::Preview(options) => client::preview(&options),
            DataCommand::CheckSource(options) => source::check(&options),
        },
        Command::Up(options) => start(options.flags(), &options.place, service::up),
        Command::Serve(options) => start(options.flags(), &options.place, service::serve),
        Command::Worker(options) => start(options.flags(), &options.place, service::worker),
        Command::Doctor(options) => doctor::doctor(&options),
        Command::Token { place, json, command } => token::command(&place, &command, json),
        Command::Config { json, command } => config::command(&command, json),
    }
}

/// Runs a part of the service as it is configured.
fn start(flags: Flags, place: &PlaceOptions, part: fn(&Config) -> Result<()>) -> Result<()> {
    let config = Config::load(flags, place.config.as_deref())?;
    log::start(&config.log);
    part(&config)
}

/// The last words: one line for a person, or one JSON object for a program.
fn report(failure: &Failure, json: bool) {
    if json {
        let mut error = serde_json::json!({
            "event": "error",
            "code": failure.code(),
            "message": failure.to_string(),
        });
        if !failure.details().is_null() {
            error["details"] = failure.details().clone();
        }
        output::print_json(&error);
    } else {
        if let Failure::Sandbox(SandboxError::PythonSource(raised)) = failure {
            eprintln!("{}", raised.traceback);
        }
        eprintln!("error: {failure}");
        for reason in failure.reasons() {
            eprintln!("  - {reason}");
        }
        for line in failure.log() {
            eprintln!("  log: {line}");
        }
    }
}
