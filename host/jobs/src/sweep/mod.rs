//! Sweeps: many trainings of one model over a space of parameters, and which of them is best.
//!
//! Every trial's parameters are drawn when a sweep is made, so that a space which the plugin's schema forbids is refused
//! before anything runs, and the same seed gives the same trials.

mod request;
mod space;

use crate::{ModelId, RunId, RunState, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use request::{Request, new_sweep};
use space::draw;

/// The most trials of a sweep.
pub const MOST_TRIALS: usize = 1000;

/// How trials are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Every combination.
    Grid,
    /// Combinations at random.
    Random,
    /// At random, and those that are not among the best at their rungs are ended early.
    Asha,
}

/// Asynchronous successive halving, in its form that ends trials: Li et al., "A System for Massively Parallel
/// Hyperparameter Tuning", 2020, <https://arxiv.org/abs/1810.05934>; the rungs are at `min_steps * reduction^k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Asha {
    /// No trial is judged before so many of the plugin's steps.
    pub min_steps: u64,
    /// Of so many trials at a rung, one goes on.
    pub reduction: u64,
}

impl Default for Asha {
    fn default() -> Self {
        Asha {
            min_steps: 1,
            reduction: 3,
        }
    }
}

impl Asha {
    /// The highest rung that a number of steps has reached, if any.
    pub fn rung(&self, steps: u64) -> Option<u64> {
        let mut rung = self.min_steps.max(1);
        if steps < rung {
            return None;
        }
        while let Some(next) = rung.checked_mul(self.reduction.max(2)).filter(|next| *next <= steps) {
            rung = next;
        }
        Some(rung)
    }

    /// Whether a trial with this value goes on, among all (itself with them) that have reached its rung.
    pub fn goes_on(&self, value: f64, all: &[f64], goal: Goal) -> bool {
        let reduction = self.reduction.max(2) as usize;
        if all.len() < reduction {
            return true;
        }
        let better = all.iter().filter(|other| goal.is_better(**other, value)).count();
        better < all.len() / reduction
    }
}

/// Which figures are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// Small ones.
    Minimize,
    /// Large ones.
    Maximize,
}

impl Goal {
    /// Whether the first is better than the second.
    pub fn is_better(self, first: f64, second: f64) -> bool {
        match self {
            Goal::Minimize => first < second,
            Goal::Maximize => first > second,
        }
    }
}

/// What trials are judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its name.
    pub metric: String,
    /// Which values of it are better.
    pub goal: Goal,
}

/// What a sweep does. Everything is checked before it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How trials are chosen.
    pub method: Method,
    /// By parameter: a list of values, or a range.
    pub space: Map<String, Value>,
    /// The figure that is judged by: one that the plugin tells while it trains, of which the best value counts, or one of its
    /// result.
    #[serde(flatten)]
    pub figure: Figure,
    /// Another one, of the results, for plugins that tell nothing of the first.
    pub otherwise: Option<Figure>,
    /// What random choices follow from.
    pub seed: u32,
    /// How trials are ended early, if they are.
    pub asha: Option<Asha>,
    /// Whether the model gets the best trial's result at the end.
    pub adopt: bool,
}

/// Where a sweep is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SweepState {
    /// Some of its trials are not over.
    Running,
    /// Somebody stopped it, and its trials are being stopped.
    Stopping,
    /// All trials are over.
    Finished,
    /// It was stopped.
    Stopped,
}

impl SweepState {
    /// Every state.
    pub const ALL: [SweepState; 4] = [
        SweepState::Running,
        SweepState::Stopping,
        SweepState::Finished,
        SweepState::Stopped,
    ];

    /// The name in rows and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            SweepState::Running => "RUNNING",
            SweepState::Stopping => "STOPPING",
            SweepState::Finished => "FINISHED",
            SweepState::Stopped => "STOPPED",
        }
    }

    /// The state of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing more happens.
    pub const fn is_final(self) -> bool {
        matches!(self, SweepState::Finished | SweepState::Stopped)
    }
}

/// A sweep as it is stored and shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sweep {
    /// Given by the store.
    pub id: i64,
    /// The model whose parameters are tried.
    pub model_id: ModelId,
    /// Where it is.
    pub state: SweepState,
    /// What it does.
    #[serde(flatten)]
    pub plan: Plan,
    /// Its trials.
    pub trials: u64,
    /// Those that are over.
    pub ended: u64,
    /// The best trial, when it is over and there is one.
    pub best_run: Option<RunId>,
    /// What became of the best, or why there is none.
    pub note: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A trial: a run of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The run's name.
    pub run_id: RunId,
    /// Where it is.
    pub state: RunState,
    /// 0 to 100.
    pub progress: f64,
    /// Whether it was ended early, by the sweep or with it.
    pub stop_requested: bool,
    /// The parameters that the sweep varies.
    pub parameters: Map<String, Value>,
    /// Figures of its result.
    pub metrics: Map<String, Value>,
    /// The best value so far of the figure that the sweep judges by.
    pub value: Option<f64>,
    /// The last step at which the plugin told that figure.
    pub steps: Option<u64>,
    /// The worker that has it or had it last.
    pub worker: Option<String>,
    /// Why it failed.
    pub error_log: Option<String>,
    /// When a worker first took it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// The trials of a sweep, and what they are judged by.
#[derive(Debug, Clone, PartialEq)]
pub struct Trials {
    /// What `value` of each is of.
    pub figure: Figure,
    /// In the order in which they were drawn.
    pub items: Vec<Trial>,
}

impl Trials {
    /// The best of those that have a result.
    pub fn best(&self) -> Option<&Trial> {
        let mut best: Option<(&Trial, f64)> = None;
        for trial in self.items.iter().filter(|trial| trial.state == RunState::Trained) {
            let Some(value) = trial.value else { continue };
            if best.is_none_or(|(_, known)| self.figure.goal.is_better(value, known)) {
                best = Some((trial, value));
            }
        }
        best.map(|(trial, _)| trial)
    }
}

/// What was told of one figure by one trial, up to some step.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Whose.
    pub run_id: RunId,
    /// The smallest value.
    pub least: f64,
    /// The largest value.
    pub most: f64,
    /// The last step.
    pub steps: u64,
}

impl Told {
    /// The best value.
    pub fn best(&self, goal: Goal) -> f64 {
        match goal {
            Goal::Minimize => self.least,
            Goal::Maximize => self.most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rungs_lie_where_the_paper_puts_them() {
        let asha = Asha {
            min_steps: 2,
            reduction: 3,
        };
        let rungs: Vec<_> = [0, 1, 2, 5, 6, 17, 18, 53, 54].map(|steps| asha.rung(steps)).to_vec();
        assert_eq!(
            rungs,
            [
                None,
                None,
                Some(2),
                Some(2),
                Some(6),
                Some(6),
                Some(18),
                Some(18),
                Some(54)
            ]
        );
        assert!(asha.rung(u64::MAX).is_some());
    }

    #[test]
    fn one_of_so_many_goes_on() {
        let asha = Asha::default();
        let all = [0.5, 0.1, 0.3, 0.2, 0.9, 0.4];
        let kept: Vec<_> = all
            .into_iter()
            .filter(|value| asha.goes_on(*value, &all, Goal::Minimize))
            .collect();
        assert_eq!(kept, [0.1, 0.2]);
        assert!(asha.goes_on(0.9, &all, Goal::Maximize));
        // The first ones have nobody to be compared with.
        assert!(asha.goes_on(9.0, &[9.0, 1.0], Goal::Minimize));
    }
}
