//! What every handler has: the ports, the options, and the little that a server remembers between requests.

use crate::auth::Auth;
use crate::error::ApiError;
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
    /// A worker for what is to be done at once; without one, such requests are 503.
    pub compute: Option<Arc<dyn Compute>>,
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

    /// The worker, or 503.
    pub fn compute(&self) -> Result<Arc<dyn Compute>, ApiError> {
        self.services.compute.clone().ok_or_else(|| {
            ApiError::unavailable("no-worker", "this server has no worker that could do this at once")
                .remedy("start one beside it, as `trainyard up` does")
        })
    }
}
