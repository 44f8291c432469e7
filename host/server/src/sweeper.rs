//! Sees to sweeps: ends trials early where the plan says so, stops what is to be stopped, and names the best at the end. Every
//! server has a sweeper, and one at a time works: whoever holds the office.

use crate::app::App;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trainyard_jobs::sweep::{Asha, Sweep, SweepState};
use trainyard_jobs::{RunId, StoreError};
use uuid::Uuid;

/// How often trials are judged: figures are written twice a second, and reading those of many trials takes the database a while.
const JUDGE: Duration = Duration::from_secs(1);
/// How often one looks while there are sweeps, and while there are none.
const BUSY: Duration = Duration::from_millis(250);
const IDLE: Duration = Duration::from_secs(1);
/// How long the office stays ours without a word.
const LEASE: Duration = Duration::from_secs(10);

/// Works until the server closes.
pub async fn run(app: Arc<App>) {
    let me = Uuid::new_v4().to_string();
    let mut closing = app.closing.clone();
    let mut judge = Judge::default();
    loop {
        let pause = match look(&app, &me, &mut judge).await {
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
async fn look(app: &App, me: &str, judge: &mut Judge) -> Result<bool, StoreError> {
    let store = &app.services.store;
    let sweeps = store.unfinished_sweeps().await?;
    if sweeps.is_empty() {
        *judge = Judge::default();
        return Ok(false);
    }
    if !store.hold("sweeps", me, LEASE).await? {
        return Ok(true);
    }
    let judges = judge.last.is_none_or(|last| last.elapsed() >= JUDGE);
    if judges {
        judge.last = Some(Instant::now());
    }
    for sweep in sweeps {
        if sweep.ended == sweep.trials {
            finish(app, &sweep).await?;
        } else if sweep.state == SweepState::Stopping {
            stop_trials(app, &sweep).await?;
        } else if let Some(asha) = sweep.plan.asha
            && judges
        {
            judge.trials(app, &sweep, asha).await?;
        }
    }
    Ok(true)
}

/// Ends trials early.
#[derive(Default)]
struct Judge {
    last: Option<Instant>,
    /// A trial is judged once at each rung.
    judged: HashSet<(RunId, u64)>,
}

impl Judge {
    /// Ends the trials that are not among the best at the highest rung that they have reached.
    async fn trials(&mut self, app: &App, sweep: &Sweep, asha: Asha) -> Result<(), StoreError> {
        let store = &app.services.store;
        let (metric, goal) = (&sweep.plan.figure.metric, sweep.plan.figure.goal);
        let steps: HashMap<RunId, u64> = store
            .told(sweep.id, metric, None)
            .await?
            .into_iter()
            .map(|told| (told.run_id, told.steps))
            .collect();
        let mut by_rung: BTreeMap<u64, HashSet<&RunId>> = BTreeMap::new();
        for (run, steps) in &steps {
            if let Some(rung) = asha.rung(*steps)
                && self.judged.insert((run.clone(), rung))
            {
                by_rung.entry(rung).or_default().insert(run);
            }
        }
        for (rung, fresh) in by_rung {
            let mut there = store.told(sweep.id, metric, Some(rung)).await?;
            there.retain(|told| steps.get(&told.run_id).is_some_and(|steps| *steps >= rung));
            let values: Vec<f64> = there.iter().map(|told| told.best(goal)).collect();
            for told in there.iter().filter(|told| fresh.contains(&told.run_id)) {
                if !asha.goes_on(told.best(goal), &values, goal) {
                    app.stop_run(&told.run_id).await?;
                }
            }
        }
        Ok(())
    }
}

/// Stops every trial that is not over.
async fn stop_trials(app: &App, sweep: &Sweep) -> Result<(), StoreError> {
    for trial in app.services.store.trials(sweep.id).await?.items {
        if !trial.state.is_final() && !trial.stop_requested {
            app.stop_run(&trial.run_id).await?;
        }
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
