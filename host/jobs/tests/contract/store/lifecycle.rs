//! States, tokens, attempts, stopping.

use crate::contract::fixtures::{
    bring, check_rows, claimed, fail, finish, finished, new_run, run_in, submitted, usage,
};
use trainyard_jobs::state::{Change, MOST_ATTEMPTS, next};
use trainyard_jobs::{Claim, Model, ModelStatus, Run, RunState, Store, StoreError};

const ACTIVE: [RunState; 3] = [RunState::Pending, RunState::Preparing, RunState::Training];

pub async fn every_change_in_every_state_is_as_the_state_machine_says(store: &dyn Store) {
    for state in RunState::ALL {
        let changes = [
            Change::Train,
            finish("x"),
            fail("why"),
            Change::Cancel,
            Change::Release,
            Change::PutBack,
        ];
        for change in changes {
            let name = format!("{state} {}", change.verb());
            let before = run_in(store, &name, state).await;
            let expected = next(state, &change);
            match (store.change(&before.id, before.token, change.clone()).await, expected) {
                (Ok(after), Some(expected)) => {
                    assert_eq!(after.state, expected, "{name}");
                    assert_eq!(after.finished_at.is_some(), expected.is_final(), "{name}");
                    check_rows(store, &after).await;
                }
                (Err(StoreError::Illegal { run, state: now, verb }), None) => {
                    assert_eq!((run, now, verb), (name, state, change.verb()));
                    check_rows(store, &before).await;
                }
                (result, _) => panic!("{name}: {result:?}"),
            }
        }
        // Claiming has a method of its own, and cannot be had by the other.
        let name = format!("{state} claimed");
        let before = run_in(store, &name, state).await;
        let change = Change::Claim { worker: "sly".into() };
        assert!(
            matches!(
                store.change(&name, before.token, change).await,
                Err(StoreError::Illegal { .. })
            ),
            "{name}"
        );
        match store.claim(&name, "worker-2").await.unwrap() {
            Claim::Taken(after) => {
                assert!(!state.is_final(), "{name}");
                assert_eq!(
                    (after.state, after.attempt),
                    (RunState::Preparing, before.attempt + 1),
                    "{name}"
                );
                assert!(after.token > before.token, "{name}");
                check_rows(store, &after).await;
            }
            Claim::Over(over) => {
                assert!(state.is_final() && over == state, "{name}");
                check_rows(store, &before).await;
            }
            Claim::GivenUp(run) => panic!("{name}: {run:?}"),
        }
    }
}

pub async fn a_good_end_is_written_in_full(store: &dyn Store) {
    let run = run_in(store, "r1", RunState::Training).await;
    store.progress(&run.id, run.token, 98.0, &usage(3.0)).await.unwrap();
    let run = store.change(&run.id, run.token, finish("r1")).await.unwrap();
    check_rows(store, &run).await;
    let result = finished("r1");
    assert_eq!(
        (run.metrics, run.file_path, run.lineage),
        (result.metrics, Some(result.file_path), result.lineage)
    );
    assert_eq!(run.progress, 100.0);
    assert!(run.started_at.unwrap() <= run.finished_at.unwrap());
    let model = store.model(run.model_id).await.unwrap();
    assert_eq!((model.status, model.progress), (ModelStatus::Trained, 100.0));
}

pub async fn a_bad_end_keeps_the_last_result(store: &dyn Store) {
    let first = run_in(store, "r1", RunState::Trained).await;
    let again = store.submit(new_run("r2", first.model_id)).await.unwrap();
    let failed = bring(store, again, RunState::Error).await;
    check_rows(store, &failed).await;
    let model = store.model(first.model_id).await.unwrap();
    assert_eq!(model.error_log.as_deref(), Some("no such column: load"));
    assert_eq!(model.trained_run.as_deref(), Some("r1"));
    assert_eq!((model.metrics, model.file_path), (first.metrics, first.file_path));
}

/// Everything that takes a token, with one; each has to say that the run is someone else's.
async fn all_fenced(store: &dyn Store, id: &str, token: i64) {
    let id = id.to_owned();
    let before = store.run(&id).await.unwrap();
    let model = store.model(before.model_id).await.unwrap();
    let claim = Change::Claim { worker: "old".into() };
    for change in [
        Change::Train,
        finish("old"),
        fail("old"),
        Change::Cancel,
        Change::Release,
        Change::PutBack,
        claim,
    ] {
        let verb = change.verb();
        let error = store.change(&id, token, change).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Fenced { run } if *run == id),
            "{verb}: {error:?}"
        );
    }
    let progress = store.progress(&id, token, 50.0, &usage(1.0)).await;
    assert!(matches!(progress, Err(StoreError::Fenced { .. })), "{progress:?}");
    let checkpoint = store.note_checkpoint(&id, token, "old").await;
    assert!(matches!(checkpoint, Err(StoreError::Fenced { .. })), "{checkpoint:?}");
    assert_eq!(store.run(&id).await.unwrap(), before);
    assert_eq!(store.model(before.model_id).await.unwrap(), model);
}

pub async fn a_claim_fences_whoever_had_the_run(store: &dyn Store) {
    let waiting = submitted(store, "r1").await;
    let first = claimed(store, "r1", "worker-1").await;
    all_fenced(store, "r1", waiting.token).await;
    store.change(&first.id, first.token, Change::Train).await.unwrap();
    let second = claimed(store, "r1", "worker-2").await;
    all_fenced(store, "r1", first.token).await;
    let second = store.change(&second.id, second.token, Change::Train).await.unwrap();
    store.change(&second.id, second.token, finish("r1")).await.unwrap();
    all_fenced(store, "r1", first.token).await;
    // Tokens that nobody was ever given.
    all_fenced(store, "r1", second.token + 1).await;
    all_fenced(store, "r1", -1).await;
}

pub async fn whoever_gave_a_run_back_cannot_write_it(store: &dyn Store) {
    let first = run_in(store, "r1", RunState::Training).await;
    let back = store.change(&first.id, first.token, Change::Release).await.unwrap();
    assert_eq!((back.state, back.attempt, back.progress), (RunState::Pending, 0, 0.0));
    check_rows(store, &back).await;
    all_fenced(store, "r1", first.token).await;
    let again = claimed(store, "r1", "worker-2").await;
    assert_eq!(again.attempt, 1);
    assert_eq!(again.started_at, first.started_at);
    all_fenced(store, "r1", first.token).await;
}

pub async fn a_run_that_is_put_back_counts_as_taken(store: &dyn Store) {
    submitted(store, "r1").await;
    for attempt in 1..=MOST_ATTEMPTS {
        let run = claimed(store, "r1", "worker-0").await;
        let back = store.change(&run.id, run.token, Change::PutBack).await.unwrap();
        assert_eq!(
            (back.state, back.attempt, back.progress),
            (RunState::Pending, attempt, 0.0)
        );
        check_rows(store, &back).await;
        all_fenced(store, "r1", run.token).await;
    }
    let last = store.claim(&"r1".to_owned(), "worker-1").await.unwrap();
    assert!(matches!(last, Claim::GivenUp(_)), "{last:?}");
}

pub async fn progress_and_checkpoints_of_a_run_that_is_over_are_refused(store: &dyn Store) {
    for state in [RunState::Trained, RunState::Error, RunState::Cancelled] {
        let run = run_in(store, state.as_str(), state).await;
        let progress = store.progress(&run.id, run.token, 50.0, &usage(1.0)).await;
        assert!(matches!(progress, Err(StoreError::Fenced { .. })), "{progress:?}");
        let checkpoint = store.note_checkpoint(&run.id, run.token, "late").await;
        assert!(matches!(checkpoint, Err(StoreError::Fenced { .. })), "{checkpoint:?}");
        check_rows(store, &run).await;
    }
}

pub async fn of_many_claims_at_once_the_last_alone_can_write(store: &dyn Store) {
    submitted(store, "r1").await;
    let id = "r1".to_owned();
    let workers: Vec<String> = (0..MOST_ATTEMPTS).map(|number| format!("worker-{number}")).collect();
    let claims = futures_util::future::join_all(workers.iter().map(|worker| store.claim(&id, worker))).await;
    let runs: Vec<Run> = claims
        .into_iter()
        .map(|claim| match claim.unwrap() {
            Claim::Taken(run) => *run,
            other => panic!("{other:?}"),
        })
        .collect();
    let last = runs.iter().map(|run| run.token).max().unwrap();
    let mut written = 0;
    for run in &runs {
        let result = store.change(&id, run.token, Change::Train).await;
        assert_eq!(result.is_ok(), run.token == last);
        written += u32::from(result.is_ok());
    }
    assert_eq!(written, 1);
}

pub async fn a_run_that_was_taken_three_times_is_given_up(store: &dyn Store) {
    submitted(store, "r1").await;
    for attempt in 1..=MOST_ATTEMPTS {
        // Giving it back in between does not count.
        let run = claimed(store, "r1", "worker-0").await;
        store.change(&run.id, run.token, Change::Release).await.unwrap();
        assert_eq!(claimed(store, "r1", "worker-9").await.attempt, attempt);
    }
    let Claim::GivenUp(run) = store.claim(&"r1".to_owned(), "worker-4").await.unwrap() else {
        panic!()
    };
    check_rows(store, &run).await;
    assert_eq!((run.state, run.attempt), (RunState::Error, MOST_ATTEMPTS));
    let error = run.error_log.unwrap();
    assert!(error.contains("3 attempts") && error.contains("worker-9"), "{error}");
    let claim = store.claim(&"r1".to_owned(), "worker-4").await.unwrap();
    assert_eq!(claim, Claim::Over(RunState::Error));
}

pub async fn a_run_that_waits_is_stopped_at_once(store: &dyn Store) {
    let run = submitted(store, "r1").await;
    let stopped = store.request_stop(&run.id).await.unwrap();
    assert_eq!((stopped.state, stopped.stop_requested), (RunState::Cancelled, true));
    assert!(stopped.finished_at.is_some());
    check_rows(store, &stopped).await;
    assert_eq!(
        store.claim(&run.id, "worker-1").await.unwrap(),
        Claim::Over(RunState::Cancelled)
    );
}

pub async fn a_run_that_is_worked_on_is_only_marked(store: &dyn Store) {
    for state in [RunState::Preparing, RunState::Training] {
        let run = run_in(store, state.as_str(), state).await;
        let marked = store.request_stop(&run.id).await.unwrap();
        assert_eq!(
            marked,
            Run {
                stop_requested: true,
                ..run.clone()
            }
        );
        check_rows(store, &marked).await;
        // Twice is fine.
        assert_eq!(store.request_stop(&run.id).await.unwrap(), marked);
        let stopped = store.change(&run.id, run.token, Change::Cancel).await.unwrap();
        check_rows(store, &stopped).await;
    }
}

pub async fn a_run_to_stop_is_not_taken_again(store: &dyn Store) {
    // Its worker dies.
    let run = run_in(store, "r1", RunState::Training).await;
    store.request_stop(&run.id).await.unwrap();
    assert_eq!(
        store.claim(&run.id, "worker-2").await.unwrap(),
        Claim::Over(RunState::Cancelled)
    );
    check_rows(store, &store.run(&run.id).await.unwrap()).await;
    // Its worker shuts down.
    let run = run_in(store, "r2", RunState::Training).await;
    store.request_stop(&run.id).await.unwrap();
    store.change(&run.id, run.token, Change::Release).await.unwrap();
    assert_eq!(
        store.claim(&run.id, "worker-2").await.unwrap(),
        Claim::Over(RunState::Cancelled)
    );
}

pub async fn what_is_over_cannot_be_stopped(store: &dyn Store) {
    for state in [RunState::Trained, RunState::Error, RunState::Cancelled] {
        let run = run_in(store, state.as_str(), state).await;
        let error = store.request_stop(&run.id).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Illegal { verb: "stopped", .. }),
            "{error:?}"
        );
        check_rows(store, &run).await;
    }
}

pub async fn a_stopped_run_leaves_its_model_exactly_as_it_was(store: &dyn Store) {
    for last in [
        None,
        Some(RunState::Trained),
        Some(RunState::Error),
        Some(RunState::Cancelled),
    ] {
        for stopped_in in ACTIVE {
            let name = format!("{last:?} {stopped_in}");
            let model = match last {
                None => {
                    store
                        .create_model(crate::contract::fixtures::new_model(&name))
                        .await
                        .unwrap()
                        .id
                }
                Some(last) => {
                    let run = run_in(store, &format!("{name} before"), last).await;
                    store.usage(&run.id, &usage(100.0 / 3.0)).await.unwrap();
                    run.model_id
                }
            };
            let before = store.model(model).await.unwrap();
            let run = store.submit(new_run(&name, model)).await.unwrap();
            let mut run = bring(store, run, stopped_in).await;
            if stopped_in == RunState::Pending {
                run = store.request_stop(&run.id).await.unwrap();
            } else {
                store.progress(&run.id, run.token, 77.7, &usage(12.0)).await.unwrap();
                run = store.change(&run.id, run.token, Change::Cancel).await.unwrap();
            }
            assert_eq!(run.state, RunState::Cancelled);
            let after = store.model(model).await.unwrap();
            assert!(after.updated_at >= before.updated_at);
            assert_eq!(
                Model {
                    updated_at: before.updated_at,
                    ..after
                },
                before,
                "{name}"
            );
            // What the stopped run used is the run's alone.
            store.usage(&run.id, &usage(1.0)).await.unwrap();
            assert_eq!(
                store.model(model).await.unwrap().resource_usage,
                before.resource_usage,
                "{name}"
            );
            // And it can be trained again.
            let again = store.submit(new_run(&format!("{name} again"), model)).await.unwrap();
            bring(store, again, RunState::Trained).await;
        }
    }
}

pub async fn what_is_not_there_is_not_found(store: &dyn Store) {
    let id = "nobody".to_owned();
    let results = [
        store.run(&id).await.map(|_| ()),
        store.claim(&id, "w").await.map(|_| ()),
        store.change(&id, 0, Change::Cancel).await.map(|_| ()),
        store.progress(&id, 0, 1.0, &usage(1.0)).await,
        store.usage(&id, &usage(1.0)).await,
        store.note_checkpoint(&id, 0, "key").await,
        store.request_stop(&id).await.map(|_| ()),
    ];
    for result in results {
        assert!(
            matches!(&result, Err(StoreError::NotFound { what: "run", id }) if id == "nobody"),
            "{result:?}"
        );
    }
    let results = [
        store.model(4711).await.map(|_| ()),
        store
            .update_model(4711, trainyard_jobs::ModelPatch::default())
            .await
            .map(|_| ()),
        store.delete_model(4711).await.map(|_| ()),
    ];
    for result in results {
        assert!(
            matches!(&result, Err(StoreError::NotFound { what: "model", id }) if id == "4711"),
            "{result:?}"
        );
    }
}
