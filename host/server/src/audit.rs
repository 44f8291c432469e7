//! Who changed what: a line in the store and one in the log for every change, without secrets.

use crate::app::App;
use crate::auth::Caller;
use serde_json::Value;

impl App {
    /// Writes down a change that has been made. A failure is logged and no more: the change cannot be taken back.
    pub async fn audit(&self, caller: &Caller, action: &'static str, subject: impl AsRef<str>, details: Value) {
        let (who, subject) = (caller.who.as_str(), subject.as_ref());
        tracing::info!(target: "audit", who, action, subject, %details);
        if let Err(error) = self.services.store.audit(who, action, subject, &details).await {
            tracing::error!(target: "audit", who, action, subject, %error, "the audit log could not be written");
        }
    }
}
