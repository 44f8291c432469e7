//! What every handler has: the ports, the options, and the little that a server remembers between requests.

use crate::auth::Auth;
use crate::metrics::Metrics;
use crate::operation::Readiness;
use crate::options::Options;
use std::sync::Arc;
use tokio::sync::watch;
use trainyard_jobs::{Artifacts, Broker, Compute, Feed, Store};

/// The ports that a server works on.
#[derive(Clone)]
pub struct Services {
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Which run is next.
    pub broker: Arc<dyn Broker>,
    /// What happens right now.
    pub feed: Arc<dyn Feed>,
    /// Files.
    pub artifacts: Arc<dyn Artifacts>,
    /// Who does what somebody waits for.
    pub compute: Arc<dyn Compute>,
}

/// A server's state.
pub struct App {
    /// The ports.
    pub services: Services,
    /// What the operator set.
    pub options: Options,
    /// Who may do what.
    pub auth: Auth,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether everything can be used.
    pub readiness: Readiness,
    /// Turns true when the server is to end.
    pub closing: watch::Receiver<bool>,
}

impl App {
    /// A server's state at its start.
    pub fn new(services: Services, options: Options, closing: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(App {
            auth: Auth::new(services.store.clone(), options.auth_failures_per_minute),
            metrics: Metrics::new(),
            readiness: Readiness::default(),
            services,
            options,
            closing,
        })
    }
}
