//! Developer commands: `cargo xtask help`.
//!
//! Each command does its own set-up, says what it runs, and ends in one line that says what went wrong and how to mend it.

mod bench;
mod client;
mod console;
mod contract;
mod cuda;
mod demo;
mod emulator;
mod engine;
mod paths;
mod plugins;
mod process;
mod python;
mod reference;
mod servers;
mod service;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Developer commands of Trainyard

  cargo xtask setup             make sure that plugins can be built here
  cargo xtask demo              build everything, start the service, train a forecaster on a small real series
  cargo xtask test              format, lints, every test; what CI runs
  cargo xtask test NAME...      only the tests whose name contains one of these (any option of the test runner works too)
  cargo xtask test --cuda       the kernels' tests on this machine's NVIDIA card, or on the CUDA emulator where there is none; --emulator: on that anyway
  cargo xtask build --cuda      build the program for NVIDIA cards, with CUDA's toolkit or without; --capability NN: the oldest card
  cargo xtask plugins           build plugins/ to WebAssembly; --guests: the hostile ones of tests/guests as well
  cargo xtask engine            build the Python engine, which runs plugins of Python source
  cargo xtask emulator          build the CUDA emulator, on which the tests run what is meant for NVIDIA cards; --program: and a program for it
  cargo xtask console           build the web page into the next build of the program; --test: its tests; --browser: those in a browser
  cargo xtask client            make again what of the clients follows from the API's description; --test: the Python client's tests
  cargo xtask bench kernels     one training step: plugin, native and PyTorch; --quick: fewer sizes; --threads N
  cargo xtask bench python      the same step written in Python: plugin, the Rust plugin and PyTorch; starts of instances
  cargo xtask bench dlinear ETTh1.csv     ten epochs of the plugin and of its PyTorch twin
  cargo xtask bench data        rows from TDengine's protocol to batches, and taos-ws-py with pandas; --quick: no memory
  cargo xtask bench broker      the queue beside Celery: jobs a second, round trips; a hundred trials of a sweep
  cargo xtask bench gpu         training steps on the card beside PyTorch's; --cpu: small ones on the processor; --quick
  cargo xtask bench service     the service under load: answers, starts, live streams
  cargo xtask reference         compute the numbers in tests/reference again, with PyTorch and scikit-learn

Build results go to target/, or to CARGO_TARGET_DIR where that is set.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        ["setup"] => setup::run(),
        ["demo"] => demo::run(),
        ["test", "--cuda", rest @ ..] => cuda::test(rest),
        ["test", rest @ ..] => test::run(rest),
        ["engine"] => engine::run().map(drop),
        ["build", "--cuda", rest @ ..] => cuda::build(rest),
        ["emulator", rest @ ..] => cuda::emulator(rest),
        ["console"] => console::build(),
        ["console", "--test"] => console::check(),
        ["console", "--browser", rest @ ..] => console::in_browser(rest),
        ["client"] => client::write(),
        ["client", "--test"] => client::test(),
        ["plugins"] => plugins::run(false),
        ["plugins", "--guests"] => plugins::run(true),
        ["bench", "kernels", rest @ ..] => bench::kernels(rest),
        ["bench", "python"] => bench::python(),
        ["bench", "dlinear", data] => bench::dlinear(data),
        ["bench", "data", rest @ ..] => bench::data(rest),
        ["bench", "broker"] => bench::broker(),
        ["bench", "gpu", rest @ ..] => bench::gpu(rest),
        ["bench", "service"] => bench::service(),
        ["bench", ..] => {
            bail!(
                "say which benchmark: cargo xtask bench kernels [--quick], bench python, bench broker, bench service, bench gpu [--cpu], bench data [--quick], or bench dlinear ETTh1.csv"
            )
        }
        ["reference"] => reference::run(),
        [
            command @ ("setup" | "demo" | "engine" | "client" | "console" | "plugins" | "reference"),
            rest @ ..,
        ] => {
            bail!(
                "{command} does not take `{}`; `cargo xtask help` lists what there is",
                rest.join(" ")
            )
        }
        [other, ..] => bail!("no command `{other}`; `cargo xtask help` lists what there is"),
    }
}
