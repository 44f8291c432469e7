//! Runs: submitted, listed, measured.

use crate::contract::fixtures::{bring, check_rows, claimed, new_model, new_run, run_in, submitted, usage};
use std::collections::BTreeSet;
use trainyard_jobs::state::Change;
use trainyard_jobs::{ModelStatus, NewRun, RunFilter, RunState, SeriesPoint, Store, StoreError};

pub async fn a_submit_writes_the_run_and_its_model(store: &dyn Store) {
    let model = store.create_model(new_model("a")).await.unwrap();
    let wanted = new_run("r1", model.id);
    let run = store.submit(wanted.clone()).await.unwrap();
    check_rows(store, &run).await;
    let same = NewRun {
        id: run.id,
        model_id: run.model_id,
        plugin: run.plugin,
        plugin_version: run.plugin_version,
        plugin_digest: run.plugin_digest,
        training_dataset: run.training_dataset,
        training_parameters: run.training_parameters,
        seed: run.seed,
        limits: run.limits,
        labels: run.labels,
    };
    assert_eq!(same, wanted);
    assert_eq!(
        (run.state, run.progress, run.attempt, run.stop_requested),
        (RunState::Pending, 0.0, 0, false)
    );
    assert_eq!(
        (run.worker, run.started_at, run.finished_at, run.error_log),
        (None, None, None, None)
    );
}

pub async fn a_submit_forgets_the_last_run_but_not_its_result(store: &dyn Store) {
    let first = run_in(store, "r1", RunState::Trained).await;
    let again = store.submit(new_run("r2", first.model_id)).await.unwrap();
    let failed = bring(store, again, RunState::Error).await;
    store.usage(&failed.id, &usage(50.0)).await.unwrap();
    store.submit(new_run("r3", first.model_id)).await.unwrap();

    let model = store.model(first.model_id).await.unwrap();
    assert_eq!(
        (model.status, model.progress, model.task_id.as_deref()),
        (ModelStatus::Pending, 0.0, Some("r3"))
    );
    assert_eq!(
        (model.error_log, model.started_at, model.finished_at),
        (None, None, None)
    );
    assert_eq!(model.resource_usage, None);
    assert_eq!(model.trained_run.as_deref(), Some("r1"));
    assert_eq!((model.metrics, model.file_path), (first.metrics, first.file_path));
}

pub async fn of_many_submits_at_once_one_wins(store: &dyn Store) {
    let model = store.create_model(new_model("wanted")).await.unwrap().id;
    let names: Vec<String> = (0..32).map(|number| format!("r{number}")).collect();
    let submits = names.iter().map(|name| store.submit(new_run(name, model)));
    let results = futures_util::future::join_all(submits).await;

    let won: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(won.len(), 1);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        let StoreError::Active {
            run,
            state: RunState::Pending,
            ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(run, &won[0].id);
    }
    assert_eq!(store.unfinished_runs().await.unwrap().len(), 1);
    check_rows(store, won[0]).await;
}

pub async fn a_run_needs_a_model_and_a_name_of_its_own(store: &dyn Store) {
    let error = store.submit(new_run("r1", 4711)).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no model 4711");
    submitted(store, "r1").await;
    let other = store.create_model(new_model("b")).await.unwrap();
    let error = store.submit(new_run("r1", other.id)).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Conflict(why) if why.contains("r1")),
        "{error:?}"
    );
    assert_eq!(store.model(other.id).await.unwrap(), other);
}

pub async fn pages_hold_every_run_once_while_runs_are_added(store: &dyn Store) {
    let model = store.create_model(new_model("a")).await.unwrap().id;
    let mut wanted = BTreeSet::new();
    for number in 0..11 {
        let run = store.submit(new_run(&format!("r{number}"), model)).await.unwrap();
        wanted.insert(store.request_stop(&run.id).await.unwrap().id);
    }
    run_in(store, "of another model", RunState::Trained).await;
    let mut seen = Vec::new();
    let mut filter = RunFilter {
        model_id: model,
        before: None,
        limit: 3,
    };
    loop {
        let page = store.runs(&filter).await.unwrap();
        seen.extend(page.items.into_iter().map(|run| run.id));
        let later = store
            .submit(new_run(&format!("later than {}", seen.len()), model))
            .await
            .unwrap();
        store.request_stop(&later.id).await.unwrap();
        match page.next {
            Some(next) => filter.before = Some(next.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(seen[0], "r10");
    assert_eq!(seen[10], "r0");
    assert_eq!(seen.len(), wanted.len());
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), wanted);
}

pub async fn what_is_not_over_is_found_oldest_first(store: &dyn Store) {
    for (id, state) in [
        ("r1", RunState::Training),
        ("r2", RunState::Trained),
        ("r3", RunState::Pending),
    ] {
        run_in(store, id, state).await;
    }
    for (id, state) in [
        ("r4", RunState::Error),
        ("r5", RunState::Cancelled),
        ("r6", RunState::Preparing),
    ] {
        run_in(store, id, state).await;
    }
    let ids: Vec<_> = store
        .unfinished_runs()
        .await
        .unwrap()
        .into_iter()
        .map(|run| run.id)
        .collect();
    assert_eq!(ids, ["r1", "r3", "r6"]);
}

pub async fn progress_keeps_to_its_state_and_only_grows(store: &dyn Store) {
    let run = run_in(store, "r1", RunState::Preparing).await;
    let report = async |progress: f64| {
        store
            .progress(&run.id, run.token, progress, &usage(progress))
            .await
            .unwrap();
        let now = store.run(&run.id).await.unwrap();
        check_rows(store, &now).await;
        now.progress
    };
    assert_eq!(report(-3.0).await, 0.0);
    assert_eq!(report(2.5).await, 2.5);
    assert_eq!(report(1.0).await, 2.5);
    assert_eq!(report(80.0).await, 5.0);
    let training = store.change(&run.id, run.token, Change::Train).await.unwrap();
    assert_eq!(training.progress, 5.0);
    assert_eq!(report(0.0).await, 5.0);
    assert_eq!(report(33.3).await, 33.3);
    assert_eq!(report(f64::NAN).await, 33.3);
    assert_eq!(report(f64::INFINITY).await, 99.0);
    assert_eq!(report(50.0).await, 99.0);
    assert_eq!(store.run(&run.id).await.unwrap().resource_usage, Some(usage(50.0)));
    // A figure that cannot be written is none.
    assert_eq!(report(f64::NEG_INFINITY).await, 99.0);
    assert_eq!(store.run(&run.id).await.unwrap().resource_usage, Some(usage(0.0)));
}

pub async fn training_begins_at_five_percent_and_another_attempt_at_none(store: &dyn Store) {
    let run = run_in(store, "r1", RunState::Training).await;
    assert_eq!(run.progress, 5.0);
    store.progress(&run.id, run.token, 60.0, &usage(1.0)).await.unwrap();
    let again = claimed(store, "r1", "worker-2").await;
    assert_eq!(
        (again.progress, again.attempt, again.worker.as_deref()),
        (0.0, 2, Some("worker-2"))
    );
    assert_eq!(again.started_at, run.started_at);
    check_rows(store, &again).await;
}

pub async fn use_in_all_is_written_when_a_run_is_over(store: &dyn Store) {
    let run = run_in(store, "r1", RunState::Training).await;
    let error = store.usage(&run.id, &usage(1.0)).await.unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Illegal {
                state: RunState::Training,
                ..
            }
        ),
        "{error:?}"
    );
    let run = store
        .change(&run.id, run.token, crate::contract::fixtures::finish("r1"))
        .await
        .unwrap();
    store.usage(&run.id, &usage(75.5)).await.unwrap();
    let run = store.run(&run.id).await.unwrap();
    assert_eq!(run.resource_usage, Some(usage(75.5)));
    check_rows(store, &run).await;

    // The model has gone on since: the old run's use is not the model's any more.
    store.submit(new_run("r2", run.model_id)).await.unwrap();
    store.usage(&run.id, &usage(99.0)).await.unwrap();
    assert_eq!(store.run(&run.id).await.unwrap().resource_usage, Some(usage(99.0)));
    assert_eq!(store.model(run.model_id).await.unwrap().resource_usage, None);
}

pub async fn a_checkpoint_outlives_its_attempt(store: &dyn Store) {
    let run = run_in(store, "r1", RunState::Training).await;
    store
        .note_checkpoint(&run.id, run.token, "checkpoints/r1/7")
        .await
        .unwrap();
    let again = claimed(store, "r1", "worker-2").await;
    assert_eq!(again.checkpoint.as_deref(), Some("checkpoints/r1/7"));
    let error = store
        .note_checkpoint(&run.id, run.token, "checkpoints/r1/9")
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Fenced { .. }), "{error:?}");
    assert_eq!(
        store.run(&run.id).await.unwrap().checkpoint.as_deref(),
        Some("checkpoints/r1/7")
    );
}

fn point(name: &str, step: u64, value: f64) -> SeriesPoint {
    SeriesPoint {
        step,
        seconds: step as f64 / 3.0,
        name: name.into(),
        value,
    }
}

pub async fn a_series_comes_back_in_order_of_name_and_step(store: &dyn Store) {
    let run = run_in(store, "r1", RunState::Training).await;
    submitted(store, "r2").await;
    let points = [
        point("loss", 10, 0.1 + 0.2),
        point("loss", 2, 1e-300),
        point("accuracy", 7, f64::MAX),
    ];
    store.add_series(&run.id, &points).await.unwrap();
    store.add_series(&run.id, &[]).await.unwrap();
    let expected = vec![points[2].clone(), points[1].clone(), points[0].clone()];
    assert_eq!(store.series(&run.id).await.unwrap(), expected);
    assert!(store.series(&"r2".to_owned()).await.unwrap().is_empty());

    // What is said again of a step counts.
    store.add_series(&run.id, &[point("loss", 2, 3.0)]).await.unwrap();
    assert_eq!(store.series(&run.id).await.unwrap()[1].value, 3.0);
    store.clear_series(&run.id, 7).await.unwrap();
    assert_eq!(store.series(&run.id).await.unwrap(), [point("loss", 2, 3.0)]);
    store.clear_series(&run.id, 0).await.unwrap();
    assert!(store.series(&run.id).await.unwrap().is_empty());
}

pub async fn a_series_holds_finite_numbers_alone(store: &dyn Store) {
    let run = run_in(store, "r1", RunState::Training).await;
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = store
            .add_series(&run.id, &[point("loss", 1, 1.0), point("loss", 2, value)])
            .await
            .unwrap_err();
        assert!(
            matches!(&error, StoreError::Conflict(why) if why.contains("loss of step 2")),
            "{error:?}"
        );
    }
    assert!(store.series(&run.id).await.unwrap().is_empty());
}

pub async fn a_series_needs_a_run(store: &dyn Store) {
    let id = "nobody".to_owned();
    assert!(matches!(
        store.add_series(&id, &[point("a", 1, 1.0)]).await,
        Err(StoreError::NotFound { .. })
    ));
    assert!(matches!(store.series(&id).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(
        store.clear_series(&id, 0).await,
        Err(StoreError::NotFound { .. })
    ));
}
