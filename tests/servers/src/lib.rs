//! Real servers for tests and benchmarks, each on a free port in a folder of its own: they end with the value that
//! started them, and with the process if it is killed.

mod postgres;
mod process;
mod redis;

pub use postgres::Postgres;
pub use process::free_port;
pub use redis::Redis;
