//! Whether a card works: a process of its own computes something on it, shut in as a runner would be.

use crate::process::{CheckProblem, Kept, Launcher};
use crate::protocol::CheckedCard;
use std::ffi::OsString;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Why a card is of no use.
#[derive(Debug)]
pub(super) struct Problem {
    /// One line.
    pub text: String,
    /// As long as this can be had, the process that tried the card has not ended.
    pub hangs: Option<Weak<dyn std::any::Any + Send + Sync>>,
}

/// Tries the card that is number 0 in this environment, for no longer than this. Gives what the card says of itself.
pub(super) async fn check(
    launcher: &Launcher,
    environment: Vec<(OsString, OsString)>,
    patience: Duration,
) -> Result<CheckedCard, Problem> {
    let failed = |text| Problem { text, hangs: None };
    let kept: Kept = Arc::new(());
    let process = Arc::downgrade(&kept);
    let check = launcher.check_card(environment, kept).await;
    let check = check.map_err(|error| failed(format!("it could not be checked: {error}")))?;
    match check.outcome(patience).await {
        Ok(printed) => serde_json::from_slice(&printed)
            .map_err(|error| failed(format!("the process that checked it said something else: {error}"))),
        Err(CheckProblem::Failed(text)) => Err(failed(text)),
        Err(CheckProblem::Hung) => Err(Problem {
            text: format!(
                "the driver did not answer in {} s; see `nvidia-smi` and the kernel's log",
                patience.as_secs()
            ),
            hangs: Some(process),
        }),
    }
}
