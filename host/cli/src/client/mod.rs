//! The commands that ask a server. Each module is about one thing of the server's; [`http`] sends, [`api`] names.

mod api;
mod datasets;
mod download;
mod http;
mod logs;
mod models;
mod overview;
mod plugins;
mod predict;
mod preview;
mod report;
mod schedules;
mod screen;
mod sse;
mod sweeps;
mod text;
mod train;
mod watch;
mod workers;

pub use datasets::command as dataset;
pub use download::download;
pub use http::base_url;
pub use logs::logs;
pub use models::{command as model, runs, stop};
pub use plugins::{delete as delete_plugin, list as list_plugins, push as push_plugin};
pub use predict::{predict, remote_model};
pub use preview::preview;
pub use report::report;
pub use schedules::command as schedule;
pub use sweeps::command as sweep;
pub use train::train;
pub use workers::{dead_letters, workers};
