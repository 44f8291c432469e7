//! Sweeps, their trials, and workers.

use crate::contract::fixtures::{finish, new_model, new_run};
use serde_json::json;
use trainyard_jobs::state::Change;
use trainyard_jobs::sweep::{Asha, Figure, Goal, Method, Plan, Sweep, SweepState};
use trainyard_jobs::{
    Claim, ModelId, ModelStatus, NewRun, Run, RunFilter, RunState, SeriesPoint, Store, StoreError, WorkerDetails,
};

fn plan() -> Plan {
    Plan {
        method: Method::Asha,
        space: json!({"lr": [0.1, 0.2, 0.3]}).as_object().cloned().unwrap(),
        figure: Figure {
            metric: "validation_loss".into(),
            goal: Goal::Minimize,
        },
        otherwise: Some(Figure {
            metric: "mae".into(),
            goal: Goal::Minimize,
        }),
        seed: 7,
        asha: Some(Asha::default()),
        adopt: true,
    }
}

fn trial(id: &str, model: ModelId, rate: f64) -> NewRun {
    NewRun {
        training_parameters: json!({"lr": rate, "epochs": 3}),
        labels: vec!["gpu".into()],
        ..new_run(id, model)
    }
}

async fn sweep(store: &dyn Store) -> (Sweep, Vec<Run>) {
    let model = store.create_model(new_model("a")).await.unwrap();
    let trials = [("t1", 0.1), ("t2", 0.2), ("t3", 0.3)].map(|(id, rate)| trial(id, model.id, rate));
    store.add_sweep(model.id, &plan(), &trials).await.unwrap()
}

async fn claim(store: &dyn Store, id: &str) -> Run {
    match store.claim(&id.to_owned(), "w").await.unwrap() {
        Claim::Taken(run) => *run,
        other => panic!("{other:?}"),
    }
}

async fn train(store: &dyn Store, id: &str, losses: &[f64]) -> Run {
    let run = claim(store, id).await;
    let run = store.change(&run.id, run.token, Change::Train).await.unwrap();
    let points: Vec<SeriesPoint> = losses
        .iter()
        .enumerate()
        .map(|(step, loss)| SeriesPoint {
            step: step as u64 + 1,
            seconds: 0.1,
            name: "validation_loss".into(),
            value: *loss,
        })
        .collect();
    store.add_series(&run.id, &points).await.unwrap();
    store.change(&run.id, run.token, finish(id)).await.unwrap()
}

pub async fn trials_are_runs_that_the_model_knows_nothing_of(store: &dyn Store) {
    let (sweep, runs) = sweep(store).await;
    assert_eq!((sweep.state, sweep.trials, sweep.ended), (SweepState::Running, 3, 0));
    assert_eq!(sweep.plan, plan());
    assert_eq!(runs[0].sweep_id, Some(sweep.id));
    assert_eq!(store.run(&"t1".to_owned()).await.unwrap(), runs[0]);
    assert_eq!(runs[0].queue(), "ai_sweeps@gpu");
    let before = store.model(sweep.model_id).await.unwrap();
    train(store, "t1", &[0.5, 0.3, 0.4]).await;
    let failing = claim(store, "t2").await;
    store
        .progress(&failing.id, failing.token, 3.0, &Default::default())
        .await
        .unwrap();
    let change = Change::Fail {
        error: "no luck".into(),
    };
    store.change(&failing.id, failing.token, change).await.unwrap();
    store.usage(&failing.id, &Default::default()).await.unwrap();
    store.request_stop(&"t3".to_owned()).await.unwrap();
    assert_eq!(store.model(sweep.model_id).await.unwrap(), before);
    // They are not listed among its runs, and do not keep it from being trained.
    let filter = RunFilter {
        model_id: sweep.model_id,
        before: None,
        limit: 10,
    };
    assert_eq!(store.runs(&filter).await.unwrap().items, []);
    store.submit(new_run("r1", sweep.model_id)).await.unwrap();
    let states: Vec<RunState> = store
        .trials(sweep.id)
        .await
        .unwrap()
        .items
        .iter()
        .map(|trial| trial.state)
        .collect();
    assert_eq!(states, [RunState::Trained, RunState::Error, RunState::Cancelled]);
    assert_eq!(store.sweep(sweep.id).await.unwrap().ended, 3);
}

pub async fn trials_wait_in_the_queue_like_other_runs(store: &dyn Store) {
    let (_, runs) = sweep(store).await;
    assert_eq!(store.unfinished_runs().await.unwrap(), runs);
}

pub async fn trials_are_judged_by_what_they_told(store: &dyn Store) {
    let (sweep, _) = sweep(store).await;
    train(store, "t1", &[0.5, 0.3, 0.4]).await;
    train(store, "t2", &[0.2, 0.9]).await;
    let trials = store.trials(sweep.id).await.unwrap();
    let told: Vec<_> = trials.items.iter().map(|trial| (trial.value, trial.steps)).collect();
    assert_eq!(told, [(Some(0.3), Some(3)), (Some(0.2), Some(2)), (None, None)]);
    assert_eq!(trials.best().unwrap().run_id, "t2");
    assert_eq!(
        trials.items[1].parameters,
        json!({"lr": 0.2}).as_object().cloned().unwrap()
    );
    let mut early = store.told(sweep.id, "validation_loss", Some(1)).await.unwrap();
    early.sort_by(|one, other| one.run_id.cmp(&other.run_id));
    assert_eq!((early[0].least, early[0].most, early[0].steps), (0.5, 0.5, 1));
    assert_eq!(store.told(sweep.id, "loss", None).await.unwrap(), []);
}

pub async fn where_nothing_is_told_results_count(store: &dyn Store) {
    let (sweep, _) = sweep(store).await;
    train(store, "t3", &[]).await;
    let trials = store.trials(sweep.id).await.unwrap();
    assert_eq!(trials.figure.metric, "mae");
    assert_eq!(trials.best().map(|trial| trial.run_id.as_str()), Some("t3"));
    assert!(trials.items[2].value.is_some());
}

pub async fn a_model_gets_the_result_of_a_trial(store: &dyn Store) {
    let (sweep, _) = sweep(store).await;
    assert!(matches!(
        store.adopt(&"t1".to_owned()).await,
        Err(StoreError::Illegal { .. })
    ));
    let run = train(store, "t1", &[0.5]).await;
    let waiting = store.submit(new_run("r1", sweep.model_id)).await.unwrap();
    assert!(matches!(store.adopt(&run.id).await, Err(StoreError::Active { .. })));
    store.request_stop(&waiting.id).await.unwrap();
    store.adopt(&run.id).await.unwrap();
    let model = store.model(sweep.model_id).await.unwrap();
    assert_eq!((model.status, model.progress), (ModelStatus::Trained, 100.0));
    assert_eq!(
        (model.task_id.as_ref(), model.trained_run.as_ref()),
        (Some(&run.id), Some(&run.id))
    );
    assert_eq!((model.metrics, model.file_path), (run.metrics, run.file_path));
    assert_eq!((model.started_at, model.finished_at), (run.started_at, run.finished_at));
}

pub async fn a_sweep_ends_once(store: &dyn Store) {
    let (sweep, _) = sweep(store).await;
    assert_eq!(store.unfinished_sweeps().await.unwrap(), std::slice::from_ref(&sweep));
    assert!(
        store
            .change_sweep(sweep.id, SweepState::Stopping, None, None)
            .await
            .unwrap()
    );
    assert!(
        !store
            .change_sweep(sweep.id, SweepState::Stopping, None, None)
            .await
            .unwrap()
    );
    let best = "t1".to_owned();
    let stopped = store.change_sweep(sweep.id, SweepState::Stopped, Some(&best), Some("so"));
    assert!(stopped.await.unwrap());
    assert!(
        !store
            .change_sweep(sweep.id, SweepState::Finished, None, None)
            .await
            .unwrap()
    );
    let sweep = store.sweep(sweep.id).await.unwrap();
    assert_eq!(
        (sweep.state, sweep.best_run, sweep.note),
        (SweepState::Stopped, Some(best), Some("so".into()))
    );
    assert!(sweep.finished_at.is_some());
    assert_eq!(store.unfinished_sweeps().await.unwrap(), []);
    assert_eq!(store.sweeps(Some(sweep.model_id)).await.unwrap().len(), 1);
    assert_eq!(store.sweeps(Some(sweep.model_id + 1)).await.unwrap(), []);
    assert_eq!(store.sweeps(None).await.unwrap().len(), 1);
}

pub async fn a_sweep_is_all_there_or_not_at_all(store: &dyn Store) {
    let model = store.create_model(new_model("a")).await.unwrap();
    let twice = [trial("t1", model.id, 0.1), trial("t1", model.id, 0.2)];
    assert!(matches!(
        store.add_sweep(model.id, &plan(), &twice).await,
        Err(StoreError::Conflict(_))
    ));
    assert_eq!(store.sweeps(None).await.unwrap(), []);
    assert_eq!(store.unfinished_runs().await.unwrap(), []);
    let missing = store.add_sweep(model.id + 1, &plan(), &[]).await;
    assert!(matches!(missing, Err(StoreError::NotFound { .. })), "{missing:?}");
}

pub async fn a_model_with_trials_under_way_is_not_deleted(store: &dyn Store) {
    let (sweep, runs) = sweep(store).await;
    assert!(matches!(
        store.delete_model(sweep.model_id).await,
        Err(StoreError::Active { .. })
    ));
    for run in &runs {
        store.request_stop(&run.id).await.unwrap();
    }
    assert_eq!(store.delete_model(sweep.model_id).await.unwrap(), ["t1", "t2", "t3"]);
    assert!(matches!(store.sweep(sweep.id).await, Err(StoreError::NotFound { .. })));
}

pub async fn workers_are_what_they_last_said(store: &dyn Store) {
    let details = |slots| WorkerDetails {
        queues: vec!["ai_training".into()],
        labels: vec!["gpu".into()],
        slots,
        running: vec!["r1".into()],
        load: [0.5, 0.25, 0.125],
        ..WorkerDetails::default()
    };
    store.announce_worker("b", &details(1)).await.unwrap();
    store.announce_worker("a", &details(1)).await.unwrap();
    store.announce_worker("b", &details(2)).await.unwrap();
    let workers = store.workers().await.unwrap();
    let names: Vec<_> = workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(workers[1].details, details(2));
    assert!(workers[0].is_alive());
    assert!(workers[0].can_take("ai_training", &["gpu".into()]));
    assert!(!workers[0].can_take("ai_training", &["large".into()]));
    assert!(!workers[0].can_take("ai_sweeps", &[]));
    store.leave_worker("a").await.unwrap();
    store.leave_worker("nobody").await.unwrap();
    assert_eq!(store.workers().await.unwrap().len(), 1);
}
