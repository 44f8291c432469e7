//! The server as a program, for benchmarks and for clients in other languages. Prints its DSN on one line, then runs
//! until it is killed.
//!
//! `tdengine_server --captured FOLDER [--port PORT]`, or
//! `tdengine_server --generated ROWS [--columns K] [--null-every P] [--chunk ROWS_OF_A_BLOCK] [--port PORT]`

use std::{io, path::Path, process::ExitCode};

use trainyard_test_tdengine::{Generated, Server, World};

const USAGE: &str = "usage: tdengine_server (--captured FOLDER | --generated ROWS [--columns K] [--null-every P]) \
                     [--chunk ROWS] [--port PORT]";

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match world(std::env::args().skip(1)) {
        Ok((world, port)) => Server::start_at(world, port).await.map_err(|error| error.to_string()),
        Err(problem) => Err(problem),
    };
    match outcome {
        Ok(server) => {
            println!("{}", server.dsn());
            std::future::pending().await
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

fn world(mut arguments: impl Iterator<Item = String>) -> Result<(World, u16), String> {
    let (mut captured, mut generated, mut chunk, mut port) = (None, Generated::new(0, 8), None, 0);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or(USAGE)?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("{flag} takes a number, not {value}"))
        };
        match flag.as_str() {
            "--captured" => captured = Some(value),
            "--generated" => generated.rows = number()?,
            "--columns" => generated.columns = number()? as usize,
            "--null-every" => generated.null_every = Some(number()?.max(1)),
            "--chunk" => chunk = Some(number()?.max(1)),
            "--port" => port = u16::try_from(number()?).map_err(|_| USAGE)?,
            _ => return Err(USAGE.to_owned()),
        }
    }
    let mut world = match captured {
        Some(folder) => World::captured(Path::new(&folder)).map_err(|error: io::Error| format!("{folder}: {error}"))?,
        None if generated.rows > 0 => World::generated(generated),
        None => return Err(USAGE.to_owned()),
    };
    if let Some(chunk) = chunk {
        world.block_rows = chunk;
    }
    Ok((world, port))
}
