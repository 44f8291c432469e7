//! A plugin's parameters: the schema it declares, what a user gave, and the whole that the plugin is called with.
//!
//! Whoever takes parameters (the command line, the server, the sandbox) checks them with the same [`Schema`], so that a
//! mistake is told when it is made. WebAssembly, HTTP and jobs are unknown here.

mod schema;
mod text;

pub use schema::{ParameterProblem, Schema, distance};
pub use text::{one_line, quoted};
