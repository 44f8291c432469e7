//! Sees to sweeps: ends trials early where the plan says so, stops what is to be stopped, and names the best at the end. Every
//! server has a sweeper, and one at a time works: whoever holds the office.

use crate::app::App;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use trainyard_jobs::sweep::{Asha, Sweep, SweepState, Told};
use trainyard_jobs::{RunId, StoreError};
use uuid::Uuid;

/// How often one looks while there are sweeps, and while there are none.
const BUSY: Duration = Duration::from_millis(250);
const IDLE: Duration = Duration::from_secs(1);
/// How long the office stays ours without a word.
const LEASE: Duration = Duration::from_secs(10);

/// Works until the server closes.
pub async fn run(app: Arc<App>) {
    let me = Uuid::new_v4().to_string();
    let mut closing = app.closing.clone();
    // A trial is judged once at each rung.
    let mut judged = HashSet::new();
    loop {
        let pause = match look(&app, &me, &mut judged).await {
            Ok(true) => BUSY,
            Ok(false) => IDLE,
            Err(error) => {
                tracing::warn!(%error, "sweeps cannot be looked at");
                IDLE
            }
        };
        tokio::select! {
            _ = closing.wait_for(|closing| *closing) => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Whether there is something to see to.
async fn look(app: &App, me: &str, judged: &mut HashSet<(RunId, u64)>) -> Result<bool, StoreError> {
    let store = &app.services.store;
    let sweeps = store.unfinished_sweeps().await?;
    if sweeps.is_empty() {
        judged.clear();
        return Ok(false);
    }
    if !store.hold("sweeps", me, LEASE).await? {
        return Ok(true);
    }
    for sweep in sweeps {
        if sweep.ended == sweep.trials {
            finish(app, &sweep).await?;
        } else if sweep.state == SweepState::Stopping {
            app.stop_trials(sweep.id).await?;
        } else if let Some(asha) = sweep.plan.asha {
            judge(app, &sweep, asha, judged).await?;
        }
    }
    Ok(true)
}

/// Ends the trials that are not among the best at the rung that they have reached.
async fn judge(app: &App, sweep: &Sweep, asha: Asha, judged: &mut HashSet<(RunId, u64)>) -> Result<(), StoreError> {
    let store = &app.services.store;
    let (metric, goal) = (&sweep.plan.figure.metric, sweep.plan.figure.goal);
    let all = store.told(sweep.id, metric, None).await?;
    let reached = |told: &Told| asha.rung(told.steps);
    let mut rungs: Vec<u64> = all.iter().filter_map(reached).collect();
    rungs.sort_unstable();
    rungs.dedup();
    let mut ended = Vec::new();
    for rung in rungs {
        let fresh: Vec<&RunId> = all
            .iter()
            .filter(|told| reached(told) == Some(rung) && !judged.contains(&(told.run_id.clone(), rung)))
            .map(|told| &told.run_id)
            .collect();
        if fresh.is_empty() {
            continue;
        }
        let up_to = store.told(sweep.id, metric, Some(rung)).await?;
        let there: Vec<&Told> = up_to
            .iter()
            .filter(|told| all.iter().any(|now| now.run_id == told.run_id && now.steps >= rung))
            .collect();
        let values: Vec<f64> = there.iter().map(|told| told.best(goal)).collect();
        for told in there.iter().filter(|told| fresh.contains(&&told.run_id)) {
            judged.insert((told.run_id.clone(), rung));
            if !asha.goes_on(told.best(goal), &values, goal) {
                ended.push(told.run_id.clone());
            }
        }
    }
    for run in ended {
        app.stop_run(&run).await?;
    }
    Ok(())
}

async fn finish(app: &App, sweep: &Sweep) -> Result<(), StoreError> {
    let store = &app.services.store;
    let trials = store.trials(sweep.id).await?;
    let best = trials.best();
    let state = match sweep.state {
        SweepState::Stopping => SweepState::Stopped,
        _ => SweepState::Finished,
    };
    let note = match best {
        None => {
            let trained = trials.items.iter().find(|trial| !trial.metrics.is_empty());
            Some(match trained {
                Some(trial) => {
                    let known: Vec<&str> = trial.metrics.keys().map(String::as_str).collect();
                    format!(
                        "no trial with a result told {}; their results have {}: name one as metric",
                        trials.figure.metric,
                        known.join(", ")
                    )
                }
                None => "no trial came to a result".into(),
            })
        }
        Some(best) if state == SweepState::Finished && sweep.plan.adopt => match store.adopt(&best.run_id).await {
            Ok(_) => Some(format!("model {} has the best trial's result", sweep.model_id)),
            Err(StoreError::Active { .. }) => Some(format!(
                "model {} was being trained and keeps its own result; adopt the best trial to change that",
                sweep.model_id
            )),
            Err(error) => return Err(error),
        },
        Some(_) => None,
    };
    let best = best.map(|trial| &trial.run_id);
    store.change_sweep(sweep.id, state, best, note.as_deref()).await?;
    Ok(())
}

impl App {
    /// Stops every trial of a sweep that is not over.
    pub async fn stop_trials(&self, sweep: i64) -> Result<(), StoreError> {
        for trial in self.services.store.trials(sweep).await?.items {
            if !trial.state.is_final() && !trial.stop_requested {
                self.stop_run(&trial.run_id).await?;
            }
        }
        Ok(())
    }

    /// Stops a run, if it is not over yet.
    async fn stop_run(&self, run: &RunId) -> Result<(), StoreError> {
        match self.services.store.request_stop(run).await {
            Ok(run) => {
                self.end_stopped(&run).await;
                Ok(())
            }
            Err(StoreError::Illegal { .. } | StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
