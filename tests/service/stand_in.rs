//! A stand-in for a TDengine server, and a service that reads from it.

use crate::harness::{Service, root};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use trainyard_test_tdengine::{DataType, Precision, Server, User, World};

/// A server that speaks TDengine's protocol, in this process.
pub struct StandIn {
    server: Option<Server>,
    runtime: tokio::runtime::Runtime,
}

impl StandIn {
    /// With a user `reader` who may only read `plant`, and one that may write there, too; both with the password `s3cret`.
    pub fn start(mut world: World) -> Self {
        world.users.push(User::reader("reader", "s3cret", "plant"));
        world.users.push(User {
            writes: vec!["plant".into()],
            ..User::reader("writer", "s3cret", "plant")
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let server = runtime.block_on(Server::start(world)).unwrap();
        StandIn {
            server: Some(server),
            runtime,
        }
    }

    /// What a real server answered; nothing where that is not at hand.
    pub fn captured() -> Option<Self> {
        let folder = root().join("../shared/data/tdengine-wire");
        if !folder.is_dir() {
            println!("skipped: {} is not here", folder.display());
            return None;
        }
        Some(Self::start(World::captured(&folder).unwrap()))
    }

    /// Three devices, each with another level, a row a minute.
    pub fn meters() -> Self {
        let mut world = World::empty();
        world
            .create_database("plant", Precision::Milliseconds)
            .create_super_table(
                "plant.meters",
                &[
                    ("ts", DataType::Timestamp),
                    ("current", DataType::Double),
                    ("voltage", DataType::Float),
                ],
                &[("device_id", DataType::NChar(32)), ("site", DataType::NChar(32))],
            );
        for (number, device) in ["pump-1", "pump-2", "it's"].into_iter().enumerate() {
            let table = format!("plant.m{number}");
            let rows = (0..400_i64).map(|row| {
                let wave = (row as f64 / 20.0).sin() + 10.0 * number as f64;
                vec![
                    (1_714_521_600_000 + 60_000 * row).into(),
                    wave.into(),
                    (220.0 + wave).into(),
                ]
            });
            world
                .create_child_table(&table, "meters", [device, "berlin"])
                .insert(&table, rows);
        }
        Self::start(world)
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub fn dsn(&self, who: &str) -> String {
        format!("ws://{who}@{}/plant", self.server().address())
    }

    /// A service that reads from here, with further settings.
    pub fn service(&self, settings: &[(&str, &str)]) -> Service {
        let dsn = self.dsn("reader:s3cret");
        let write_dsn = self.dsn("writer:s3cret");
        let own = [
            ("TRAINYARD_TDENGINE_DSN", dsn.as_str()),
            ("TRAINYARD_TDENGINE_WRITE_DSN", &write_dsn),
        ];
        Service::with(&[&own[..], settings].concat())
    }

    /// Ends it as if its process had been killed.
    pub fn kill(&mut self) {
        let server = self.server.take();
        self.runtime.block_on(async { drop(server) });
    }
}

/// The binary, asking a service.
pub fn trainyard(service: &Service, arguments: &[&str], input: &Value) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trainyard"))
        .args(arguments)
        .env_remove("TRAINYARD_CONFIG")
        .env("TRAINYARD_URL", format!("http://{}", service.address))
        .env("XDG_CONFIG_HOME", service.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = input.to_string();
    // A command that reads nothing may be gone.
    let _ = child.stdin.take().unwrap().write_all(text.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
pub fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

pub fn meters(more: &Value) -> Value {
    let mut dataset =
        json!({"source": "tdengine", "table": "meters", "target": "current", "lookback": 24, "horizon": 6});
    dataset
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    dataset
}
