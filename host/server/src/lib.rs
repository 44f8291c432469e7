//! The service over HTTP: REST, live streams, and who may use them.
//!
//! Requests are checked and answered at once. The server never trains, compiles, reads foreign data or runs a plugin: that is
//! what a worker is for, which it reaches through the ports of `trainyard-jobs` ([`Services`]).
//!
//! - `gate` is what every request passes, and `router` lists every route with its handler;
//! - each kind of thing has a file: `models`, `training`, `datasets`, `plugins` and so on;
//! - `auth` decides who may do what, `live` streams what happens, `connections` limits what a client may cost.
//!
//! WebAssembly is unknown here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod access;
mod answer;
mod app;
mod audit;
mod auth;
mod connections;
mod console;
mod datasets;
mod error;
mod extract;
mod files;
mod gate;
mod idempotency;
mod live;
mod logs;
mod metrics;
mod models;
mod openapi;
mod operation;
mod options;
mod paging;
mod patience;
mod plugins;
mod predicting;
mod report;
mod router;
mod runs;
mod scheduler;
mod schedules;
mod schema;
mod staging;
mod sweeper;
mod sweeps;
pub mod tokens;
mod training;
mod trying;
mod workers;

pub use app::Services;
pub use options::Options;

use app::App;
use std::io;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The service's description, as `/openapi.json` gives it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    router::describe()
}

/// Serves on a listener until `shutdown`. Then no connection is accepted any more, live streams end, and what is under way
/// has a little time.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    staging::prepare(&options.staging)?;
    let (closing, closed) = watch::channel(false);
    let app = App::new(services, options, closed);
    let router = router::build(app.clone());
    tokio::spawn(scheduler::run(app.clone()));
    tokio::spawn(sweeper::run(app.clone()));
    connections::serve(listener, router, app, shutdown, closing).await
}
