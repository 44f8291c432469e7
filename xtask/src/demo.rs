//! `cargo xtask demo`: from a fresh clone to a model trained by the service.
//!
//! It does what a user does, with the commands that a user types, and shows each of them.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, cargo};
use crate::service::Service;
use crate::{console, engine, paths, plugins, python, setup};

const DATA: &str = "examples/data/seattle-weather.csv";

/// Sixty days of Seattle's weather in, the next week's temperatures out; enough epochs to watch the bar move for a few seconds.
const TRAIN: &[&str] = &[
    "train",
    "weather",
    "--data",
    DATA,
    "--time",
    "date",
    "--target",
    "temp_max,temp_min",
    "--lookback",
    "60",
    "--horizon",
    "7",
    "--param",
    "epochs=1000",
    "--param",
    "learning_rate_decay=0.997",
    "--param",
    "patience=0",
    "--watch",
];

/// An LSTM, as it would be written for PyTorch.
const PYTHON: &[&[&str]] = &[
    &["plugin", "push", "examples/python/forecast_lstm.py"],
    &["model", "create", "weather-lstm", "--plugin", "forecast-lstm"],
    &[
        "train",
        "weather-lstm",
        "--data",
        DATA,
        "--time",
        "date",
        "--target",
        "temp_max,temp_min",
        "--lookback",
        "14",
        "--horizon",
        "3",
        "--param",
        "steps=600",
        "--watch",
    ],
];

pub fn run() -> Result<()> {
    setup::run()?;
    plugins::library()?;
    // Everything but plugins in Python works without it.
    let python = python::available().and_then(|()| engine::run());
    console::build_if_possible()?;
    println!("building trainyard, optimised; the first time takes some minutes");
    process::run(cargo().args(["build", "--release", "--package", "trainyard"]))?;

    // Each demo starts from nothing.
    let data = paths::target().join("demo");
    if data.exists() {
        std::fs::remove_dir_all(&data).with_context(|| format!("cannot empty {}", data.display()))?;
    }
    let demo = Demo {
        service: Service::start(&program(), &data)?,
    };
    demo.command(&["plugin", "push", "dlinear"])?;
    demo.command(&["model", "create", "weather", "--plugin", "dlinear"])?;
    demo.command(TRAIN)?;
    demo.command(&["report", "weather"])?;
    demo.command(&["predict", "weather", "--data", DATA])?;
    match python {
        Ok(_) => {
            println!("\nThe same with an algorithm that is a Python file:");
            for command in PYTHON {
                demo.command(command)?;
            }
        }
        Err(error) => println!("\nPlugins in Python are left out: {error:#}"),
    }
    demo.what_next();
    demo.until_interrupted()
}

/// The service, and how to talk to it. It ends with the demo.
struct Demo {
    service: Service,
}

impl Demo {
    fn command(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(paths::root())
            .env("TRAINYARD_URL", format!("http://{}", self.service.address))
            .env("TRAINYARD_PLUGINS", paths::plugins());
        println!();
        process::run(&mut command)
    }

    fn what_next(&self) {
        let address = &self.service.address;
        println!("\nThe service is at http://{address}: open it in a browser to watch and steer trainings. What next?");
        println!(
            "  export PATH=\"{}:$PATH\" TRAINYARD_PLUGINS=\"{}\" TRAINYARD_URL=http://{address}",
            paths::target().join("release").display(),
            paths::plugins().display()
        );
        println!("  curl http://{address}/api/v2/ai/models            # the API is described at http://{address}/docs");
        println!("  trainyard train weather --param epochs=50 --watch");
        println!(
            "  trainyard plugin new my-algo --lang python      # an algorithm of your own (or in Rust, without --lang)"
        );
    }

    /// Where a person sits at a terminal, the service stays until they have seen enough.
    fn until_interrupted(mut self) -> Result<()> {
        if !std::io::stdin().is_terminal() {
            return Ok(());
        }
        println!("\nCtrl-C ends the service and this demo.");
        self.service.wait()?;
        Ok(())
    }
}

fn program() -> PathBuf {
    paths::target().join("release/trainyard")
}
