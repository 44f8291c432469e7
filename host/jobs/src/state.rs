//! The state machine of a run: which change may happen in which state.
//!
//! ```text
//!            claim             train             finish
//!  PENDING ────────► PREPARING ───────► TRAINING ───────► TRAINED
//!    ▲  │   release,  │   │    release,  │   │
//!    │  │  put back   │   │   put back   │   │
//!    └──┼─────────────┘   │   ◄──────────┘   │
//!       └───────── fail, cancel ─────────────┴──► ERROR, CANCELLED
//! ```
//!
//! A run whose worker died is claimed again from PREPARING or TRAINING: that is the same arrow to PREPARING, with the next
//! attempt and token.

use crate::{Finished, RunState};

/// Times that a run is taken before it is given up: a job that kills its worker three times would kill a fourth.
pub const MOST_ATTEMPTS: u32 = 3;

/// Something that happens to a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A worker takes it.
    Claim {
        /// Which.
        worker: String,
    },
    /// The data is ready and the plugin starts.
    Train,
    /// There is a result.
    Finish(Box<Finished>),
    /// There will be none.
    Fail {
        /// What was wrong, where, and what to do.
        error: String,
    },
    /// Someone stopped it.
    Cancel,
    /// The worker gives it back unfinished, because it shuts down. The attempt does not count.
    Release,
    /// The worker gives it back unfinished, because its card failed. The attempt counts.
    PutBack,
}

impl Change {
    /// The verb, for messages.
    pub const fn verb(&self) -> &'static str {
        match self {
            Change::Claim { .. } => "claimed",
            Change::Train => "trained",
            Change::Finish(_) => "finished",
            Change::Fail { .. } => "failed",
            Change::Cancel => "cancelled",
            Change::Release => "given back",
            Change::PutBack => "put back",
        }
    }
}

/// The state that a change leads to, or none where it may not happen.
pub const fn next(state: RunState, change: &Change) -> Option<RunState> {
    use RunState::{Cancelled, Error, Pending, Preparing, Trained, Training};
    Some(match (state, change) {
        (Pending | Preparing | Training, Change::Claim { .. }) => Preparing,
        (Preparing, Change::Train) => Training,
        (Training, Change::Finish(_)) => Trained,
        (Pending | Preparing | Training, Change::Fail { .. }) => Error,
        (Pending | Preparing | Training, Change::Cancel) => Cancelled,
        (Preparing | Training, Change::Release | Change::PutBack) => Pending,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use RunState::{Cancelled, Error, Pending, Preparing, Trained, Training};

    fn changes() -> Vec<Change> {
        let finished = Finished {
            metrics: serde_json::Map::new(),
            file_path: String::new(),
            lineage: serde_json::Value::Null,
        };
        vec![
            Change::Claim { worker: String::new() },
            Change::Train,
            Change::Finish(Box::new(finished)),
            Change::Fail { error: String::new() },
            Change::Cancel,
            Change::Release,
            Change::PutBack,
        ]
    }

    #[test]
    fn every_pair_of_state_and_change_is_as_drawn() {
        #[rustfmt::skip]
        let drawn = [
            (Pending,   [Some(Preparing), None,           None,          Some(Error), Some(Cancelled), None, None]),
            (Preparing, [Some(Preparing), Some(Training), None,          Some(Error), Some(Cancelled), Some(Pending), Some(Pending)]),
            (Training,  [Some(Preparing), None,           Some(Trained), Some(Error), Some(Cancelled), Some(Pending), Some(Pending)]),
            (Trained,   [None; 7]),
            (Error,     [None; 7]),
            (Cancelled, [None; 7]),
        ];
        for (state, expected) in drawn {
            for (change, expected) in changes().iter().zip(expected) {
                assert_eq!(next(state, change), expected, "{state} {}", change.verb());
            }
        }
    }

    #[test]
    fn nothing_follows_a_final_state() {
        for state in RunState::ALL.into_iter().filter(|state| state.is_final()) {
            assert!(changes().iter().all(|change| next(state, change).is_none()));
        }
    }
}
