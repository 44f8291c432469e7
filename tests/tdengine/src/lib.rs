//! A server that speaks taosAdapter's WebSocket protocol, for tests and benchmarks of its clients.
//!
//! It runs in the test's own process on a free port, holds its tables in memory ([`World`]), understands the part of
//! SQL that clients which read series need, and can be told to misbehave ([`Fault`]). What it sends is laid out as
//! TDengine 3.3.3 lays it out.
//!
//! ```
//! use trainyard_test_tdengine::{DataType, Fault, On, Precision, Server, Then, Value, World};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let mut world = World::empty();
//! world
//!     .create_database("plant", Precision::Milliseconds)
//!     .create_super_table(
//!         "plant.meters",
//!         &[("ts", DataType::Timestamp), ("current", DataType::Float)],
//!         &[("location", DataType::NChar(16))],
//!     )
//!     .create_child_table("plant.d1", "meters", ["hall"])
//!     .insert("plant.d1", (0..10).map(|i| vec![Value::from(1_000 * i), Value::from(0.5 * i as f64)]));
//! let server = Server::start(world).await?;
//! println!("connect to {}", server.dsn());
//! server.fault(Fault::once(On::Block { query: "meters".into(), after: 0 }, Then::DropMidMessage));
//! # Ok(())
//! # }
//! ```
//!
//! The client's own library is unknown here: requests are read from the wire, so any client can be tested.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod block;
mod captured;
mod connection;
mod decode;
mod engine;
mod error;
mod fault;
mod generated;
mod reply;
mod request;
mod result_set;
mod server;
mod sql;
mod table;
mod time;
mod value;
mod world;

pub use error::SqlError;
pub use fault::{Fault, On, Then};
pub use generated::Generated;
pub use server::Server;
pub use time::Precision;
pub use value::{DataType, Value};
pub use world::{User, World};
