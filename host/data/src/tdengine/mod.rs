//! Rows of devices from TDengine: structured queries in, a dataset file out; predictions back.
//!
//! A [`DeviceQuery`] never holds a statement. Names are checked and looked up, values are escaped, times are sent as whole
//! numbers in the database's own precision. Rows are fetched in ranges of time, several at once, each range compared with
//! the database's own count; they go to an Arrow IPC file as they come, so that memory does not grow with them.

mod block;
mod cache;
mod check;
mod connection;
mod error;
mod fetch;
mod moment;
mod name;
mod plan;
mod query;
mod sink;
mod source;
mod spool;
mod statement;
mod survey;
mod table;

pub use check::{Access, SourceReport};
pub use connection::Patience;
pub use error::TdengineError;
pub use fetch::{DeviceRows, Fetched, Progress, Request};
pub use moment::{Ago, Moment, TimePrecision};
pub use name::Name;
pub use query::{Aggregate, Aggregates, DeviceQuery, Fill, Interval, QUERY_FIELDS, TagValue};
pub use sink::{Sink, SinkColumn, SinkRows};
pub use source::{Limits, Options, Tdengine};
