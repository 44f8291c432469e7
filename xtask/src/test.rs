//! `cargo xtask test`: everything that has to hold before a change goes in. CI runs just this.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use trainyard_test_servers::Postgres;

use crate::process::{cargo, run as run_command, succeeds};
use crate::{client, console, contract, cuda, emulator, engine, paths, plugins, python, servers, setup};

/// With `filters` (names or options for the test runner): only the tests they choose, without the other checks.
pub fn run(filters: &[&str]) -> Result<()> {
    let mut steps = Steps::default();
    let everything = filters.is_empty();

    // What is quick to fail comes first. A failed step does not hide what the later ones have to say.
    if everything {
        steps.run("format", || run_command(cargo().args(["fmt", "--all", "--check"])));
        for workspace in ["plugins", "tests/guests", "benches/plugin"] {
            if let Some(mut cargo) = cargo_in(workspace) {
                let name = format!("format of {workspace}");
                steps.run(&name, || run_command(cargo.args(["fmt", "--all", "--check"])));
            }
        }
    }

    if everything {
        steps.run("packaging", || {
            run_command(Command::new("bash").arg(paths::root().join("packaging/check.sh")))
        });
    }

    let built = steps.run("set-up", setup::run)
        && steps.run("plugins", plugins::library)
        && (!paths::root().join("tests/guests/Cargo.toml").is_file() || steps.run("guests", plugins::guests));
    // Where there is no Python the rest is tested all the same, and the tests of plugins in Python say that they skip.
    let python_engine = match python::available() {
        Ok(()) => steps.run("Python engine", || engine::run().map(drop)),
        Err(error) => {
            steps.skip("Python engine", &error.to_string());
            false
        }
    };

    // Before the program is compiled, which has the page inside.
    let page = match console::available() {
        Ok(()) => steps.run("console", console::build),
        Err(error) => {
            steps.skip("console", &error.to_string());
            false
        }
    };
    if everything && page {
        steps.run("types and logic of the console", console::check);
    }

    if everything {
        steps.run("lints", || {
            run_command(cargo().args(["clippy", "--workspace", "--all-targets"]).args(DENY))
        });
        for workspace in ["plugins", "tests/guests"] {
            if let Some(mut cargo) = cargo_in(workspace) {
                // Checked for this machine: distributions seldom have a clippy for WebAssembly, and the code is the same.
                let name = format!("lints of {workspace}");
                cargo.env("CARGO_TARGET_DIR", paths::target().join("wasm-lints"));
                steps.run(&name, || {
                    run_command(cargo.args(["clippy", "--workspace", "--all-targets"]).args(DENY))
                });
            }
        }
    }

    if everything {
        match cuda::nvcc_here() {
            Ok(Some(toolkit)) => drop(steps.run("kernels by nvcc", || cuda::kernels_by_nvcc(&toolkit))),
            Ok(None) => steps.skip(
                "kernels by nvcc",
                "there is no nvcc here (cargo xtask build --cuda gets it)",
            ),
            Err(error) => steps.skip("kernels by nvcc", &error.to_string()),
        }
    }

    // What is meant for NVIDIA cards: on a card where there is one, and else on the emulator. It is compiled by itself, which takes long
    // the first time; so who asks for some tests gets those of cards when he names them.
    let mut cards = None;
    if everything || filters.iter().any(|filter| filter.contains("card")) {
        match emulator::available() {
            Ok(()) => {
                let mut bench = None;
                steps.run("CUDA emulator or toolkit", || {
                    bench = Some(cuda::bench()?);
                    Ok(())
                });
                if let Some(bench) = bench {
                    if everything {
                        steps.run("lints of CUDA", || bench.lint());
                        steps.run("kernels with CUDA", || bench.test(&[]));
                    }
                    if built {
                        steps.run("program with CUDA", || {
                            cards = Some((emulator::build()?, bench.program()?));
                            Ok(())
                        });
                    }
                }
            }
            Err(error) => steps.skip("kernels with CUDA", &error.to_string()),
        }
    }

    if built {
        let postgres = servers::start();
        let python = python::for_tests();
        let prepared = |mut command: Command| {
            command
                .env("TRAINYARD_PLUGINS", paths::plugins())
                .env("TRAINYARD_GUESTS", paths::guests());
            if let Ok(python) = &python {
                command.env("TRAINYARD_PYTHON", python);
            }
            if python_engine {
                command.env("TRAINYARD_PYTHON_ENGINE", paths::python_engine());
            }
            if let Some(postgres) = &postgres {
                command.env(Postgres::SHARED, postgres.address());
            }
            if let Some((emulator, program)) = &cards {
                command
                    .env("TRAINYARD_TEST_CUDA_EMULATOR", emulator)
                    .env("TRAINYARD_TEST_CUDA_PROGRAM", program);
            }
            command
        };
        if let Err(error) = &python {
            steps.skip("tests that need Python", &error.to_string());
        }
        steps.run("tests", || run_command(prepared(test_runner()).args(filters)));
        if everything {
            match &python {
                Ok(_) => drop(steps.run("requests made up from the API's description", contract::run_all)),
                Err(error) => steps.skip("requests made up from the API's description", &error.to_string()),
            }
            if python_engine {
                steps.run("Python client", client::test);
            } else {
                steps.skip("Python client", "it needs the Python engine");
            }
            if page && servers::chromium().is_ok() {
                steps.run("console in a browser", || console::in_browser(&[]));
            } else {
                steps.skip("console in a browser", "it needs the console and Chromium");
            }
            steps.run("examples in documentation", || {
                run_command(prepared(cargo()).args(["test", "--workspace", "--doc"]))
            });
        }
    } else {
        steps.skip("tests", "they need the plugins");
    }
    steps.finish()
}

const DENY: [&str; 3] = ["--", "-D", "warnings"];

/// Cargo in a workspace that is not part of the main one, where it exists.
fn cargo_in(workspace: &str) -> Option<Command> {
    let folder = paths::root().join(workspace);
    folder.join("Cargo.toml").is_file().then(|| {
        let mut cargo = cargo();
        cargo.current_dir(folder);
        cargo
    })
}

/// cargo-nextest, which runs each test in a process of its own; cargo's own runner where it is not installed.
fn test_runner() -> Command {
    let mut command = cargo();
    if succeeds(cargo().args(["nextest", "--version"])) {
        command.args(["nextest", "run", "--workspace", "--no-tests", "pass", "--no-fail-fast"]);
    } else {
        println!(
            "cargo-nextest is not installed, so `cargo test` runs the tests (cargo install cargo-nextest --locked)"
        );
        command.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"]);
    }
    command
}

/// What has been done, how it went and how long it took.
#[derive(Default)]
struct Steps {
    done: Vec<(String, Outcome)>,
}

enum Outcome {
    Passed(Duration),
    Failed(Duration, String),
    Skipped(String),
}

impl Steps {
    /// Runs one step; whether it passed.
    fn run(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> bool {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let result = step();
        let took = started.elapsed();
        let passed = result.is_ok();
        let outcome = match result {
            Ok(()) => Outcome::Passed(took),
            Err(error) => {
                eprintln!("error: {error:#}");
                Outcome::Failed(took, format!("{error:#}"))
            }
        };
        self.done.push((name.to_owned(), outcome));
        passed
    }

    fn skip(&mut self, name: &str, why: &str) {
        self.done.push((name.to_owned(), Outcome::Skipped(why.to_owned())));
    }

    /// Prints the summary; an error when a step failed.
    fn finish(self) -> Result<()> {
        println!("\n== summary");
        let mut failed = Vec::new();
        for (name, outcome) in &self.done {
            match outcome {
                Outcome::Passed(took) => println!("  ok      {:>6.1} s  {name}", took.as_secs_f64()),
                Outcome::Skipped(why) => println!("  skipped           {name}: {why}"),
                Outcome::Failed(took, why) => {
                    println!("  FAILED  {:>6.1} s  {name}: {why}", took.as_secs_f64());
                    failed.push(name.as_str());
                }
            }
        }
        if failed.is_empty() {
            println!("All is well.");
            return Ok(());
        }
        let advice = if failed[0].starts_with("format") {
            "`cargo fmt --all`, in the folder named, mends the format"
        } else {
            "each one's own messages are above, under `==` and its name"
        };
        bail!(
            "{} of {} steps failed ({}); {advice}",
            failed.len(),
            self.done.len(),
            failed.join(", ")
        )
    }
}
