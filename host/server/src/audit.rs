//! Who changed what: a line in the store and one in the log for every change, without secrets.

use crate::app::App;
use crate::auth::Caller;
use serde_json::Value;

impl App {
    /// Writes down a change that has been made. A failure is logged and no more: the change cannot be taken back.
    pub async fn audit(&self, caller: &Caller, action: &'static str, subject: impl AsRef<str>, details: Value) {
        self.note(&caller.who, action, subject.as_ref(), &details).await;
    }

    /// The same of somebody who sent no request, such as a schedule.
    pub async fn note(&self, who: &str, action: &'static str, subject: &str, details: &Value) {
        tracing::info!(target: "audit", who, action, subject, %details);
        if let Err(error) = self.services.store.audit(who, action, subject, details).await {
            tracing::error!(target: "audit", who, action, subject, %error, "the audit log could not be written");
        }
    }
}
