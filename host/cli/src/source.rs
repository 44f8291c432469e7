//! The TDengine server that is configured: tried when a worker starts, and by `trainyard data check-source`.

use crate::args::CheckSourceOptions;
use crate::config::{Config, without_secrets};
use crate::failure::{Failure, Result};
use crate::output;
use serde_json::json;
use trainyard_data::tdengine::{Access, Options, SourceReport, Tdengine, TdengineError};
use trainyard_parameters::one_line;
use trainyard_worker::Worker;

/// Says in the log what a worker's server is, and what is wrong with it. The worker works in any case.
pub async fn tell(worker: &Worker) {
    match worker.check_source().await {
        None => {}
        Some(Err(error)) => {
            tracing::warn!(code = error.code(), "trainings cannot read from TDengine now: {error}");
        }
        Some(Ok(report)) => {
            tracing::info!(
                "TDengine at {}, version {}, user {}",
                report.server,
                report.version,
                report.user
            );
            if report.access == Access::CanWrite {
                tracing::warn!("{}", advice(&report));
            }
        }
    }
}

/// Tries the server step by step.
pub fn check(options: &CheckSourceOptions) -> Result<()> {
    let config = Config::load(options.place.flags(), options.place.config.as_deref())?;
    let folder = std::env::temp_dir().join(format!("trainyard-check-source-{}", std::process::id()));
    let Some(reader) = config.tdengine_options(&folder) else {
        return Err(Failure::Config(
            "no TDengine server is configured: set dsn in [tdengine] of trainyard.toml, or TRAINYARD_TDENGINE_DSN, to ws://USER:PASSWORD@HOST:6041/DATABASE"
                .into(),
        ));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::Service(format!("nothing can be tried: {error}")))?;
    let outcome = runtime.block_on(try_both(reader, options.json));
    // Nothing was fetched, so it is empty.
    let _ = std::fs::remove_dir(&folder);
    outcome
}

async fn try_both(mut reader: Options, json: bool) -> Result<()> {
    let say = |name: &str, text: &str| {
        if !json {
            output::print(&format!("{name:<10} {text}"));
        }
    };
    let writer = reader.write_dsn.take().map(|dsn| Options { dsn, ..reader.clone() });
    say("address", &without_secrets(&reader.dsn));
    let read = try_one(reader, &say).await?;
    let mut warnings = Vec::new();
    match read.access {
        Access::ReadOnly => say("access", "it may only read, as it should be"),
        Access::CanWrite => {
            say("access", "it may write");
            warnings.push(advice(&read));
        }
        Access::Unknown => say("access", "the server does not tell what it may do"),
    }
    match (&read.database, read.database_found) {
        (None, _) => say("database", "none; data sets name one"),
        (Some(name), Some(true)) => say("database", &format!("{name} is there")),
        (Some(name), None) => say(
            "database",
            &format!("{name}; the server does not tell whether it is there"),
        ),
        (Some(name), Some(false)) => {
            say("database", &format!("{name} is not there"));
            warnings.push(format!(
                "TDengine at {} shows the user {} no database {name}; see to the name at the end of [tdengine] dsn, or let an administrator `grant read on {name}.* to {}`",
                read.server, read.user, read.user
            ));
        }
    }
    let written = match writer {
        None => {
            say(
                "writer",
                "none: predictions cannot be written to TDengine (write_dsn is not set)",
            );
            None
        }
        Some(writer) => {
            say("writer", &without_secrets(&writer.dsn));
            let written = try_one(writer, &say).await?;
            if written.access == Access::ReadOnly {
                warnings.push(format!(
                    "the user {} of [tdengine] write_dsn may only read; let an administrator `grant write on {}.* to {}`",
                    written.user,
                    written.database.as_deref().unwrap_or("DATABASE"),
                    written.user
                ));
            }
            Some(written)
        }
    };
    if json {
        output::print_json(&json!({"event": "result", "reader": read, "writer": written, "warnings": warnings}));
    }
    for warning in warnings.iter().filter(|_| !json) {
        output::print(&format!("warning: {warning}"));
    }
    Ok(())
}

/// Tries one user, and says how far that goes.
async fn try_one(options: Options, say: &impl Fn(&str, &str)) -> Result<SourceReport> {
    let looked = async { Tdengine::new(options)?.check().await };
    match looked.await {
        Ok(report) => {
            say(
                "connected",
                &format!("to {}, version {}", report.server, one_line(&report.version)),
            );
            say("user", &one_line(&report.user));
            Ok(report)
        }
        Err(error) => {
            say(failed_step(&error), "failed");
            Err(error.into())
        }
    }
}

/// How far it went.
fn failed_step(error: &TdengineError) -> &'static str {
    match error.code() {
        "tdengine.dsn" => "address",
        "tdengine.login" => "user",
        _ => "connected",
    }
}

/// What to do about a user who can do more than it should.
fn advice(report: &SourceReport) -> String {
    format!(
        "the user {} of [tdengine] dsn can write; give a read-only user: `create user trainyard pass '…'` and `grant read on {}.* to trainyard`",
        report.user,
        report.database.as_deref().unwrap_or("DATABASE")
    )
}
