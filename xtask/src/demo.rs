//! `cargo xtask demo`: from a fresh clone to a trained model.

use anyhow::Result;

use crate::process::{self, cargo, shown};
use crate::{paths, plugins, setup};

/// Sixty days of Seattle's weather in, the next week's temperatures out; enough epochs to watch the bar move for a few seconds.
const RUN: &[&str] = &[
    "run",
    "dlinear",
    "--data",
    "examples/data/seattle-weather.csv",
    "--time",
    "date",
    "--target",
    "temp_max,temp_min",
    "--lookback",
    "60",
    "--horizon",
    "7",
    "--split",
    "0.7/0.1/0.2",
    "--param",
    "epochs=1000",
    "--param",
    "learning_rate_decay=0.997",
    "--param",
    "patience=0",
    "--out",
];

pub fn run() -> Result<()> {
    setup::run()?;
    plugins::library()?;
    println!("building trainyard, optimised; the first time takes some minutes");
    process::run(cargo().args(["build", "--release", "--package", "trainyard"]))?;

    let out = paths::target().join("demo");
    let mut trainyard = std::process::Command::new(paths::target().join("release/trainyard"));
    trainyard
        .args(RUN)
        .arg(&out)
        .current_dir(paths::root())
        .env("TRAINYARD_PLUGINS", paths::plugins());
    process::run(&mut trainyard)?;

    println!("\nThat was: {}", shown(&trainyard));
    println!("\nWhat next?");
    println!(
        "  export PATH=\"{}:$PATH\" TRAINYARD_PLUGINS=\"{}\"",
        paths::target().join("release").display(),
        paths::plugins().display()
    );
    println!(
        "  trainyard predict {} --data examples/data/seattle-weather.csv",
        out.display()
    );
    println!("  trainyard plugin new my-plugin      # an algorithm of your own, in Rust");
    println!("  trainyard run --help                # your own data");
    Ok(())
}
