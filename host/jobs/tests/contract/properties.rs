//! Whatever several workers and users do, in whatever order, some things stay true of the rows.

use crate::contract::fixtures::{fail, finish, new_model, new_run, usage};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::{HashMap, HashSet};
use trainyard_jobs::state::Change;
use trainyard_jobs::{Claim, ModelId, ModelStatus, Run, RunFilter, RunId, RunState, Store, StoreError};

/// Something that a user or a worker does. Runs, and what a worker remembers of one, are chosen from those there are.
#[derive(Debug, Clone)]
pub enum Step {
    Submit(Index),
    Claim(Index, usize),
    Stop(Index),
    /// With what some worker remembers, which may be old.
    Change(Index, usize),
    Progress(Index, f64),
    Usage(Index, f64),
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => any::<Index>().prop_map(Step::Submit),
        4 => (any::<Index>(), 0..3_usize).prop_map(|(run, worker)| Step::Claim(run, worker)),
        1 => any::<Index>().prop_map(Step::Stop),
        8 => (any::<Index>(), 0..6_usize).prop_map(|(memory, change)| Step::Change(memory, change)),
        3 => (any::<Index>(), -10.0..200.0).prop_map(|(memory, progress)| Step::Progress(memory, progress)),
        1 => (any::<Index>(), 0.0..800.0).prop_map(|(run, cpu)| Step::Usage(run, cpu)),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a test knows beside the store.
#[derive(Default)]
struct World {
    models: Vec<ModelId>,
    runs: Vec<RunId>,
    /// A run as some worker saw it when it took it.
    memories: Vec<Run>,
    /// What each model showed when it was last at rest: its status and last run.
    at_rest: HashMap<ModelId, (ModelStatus, Option<RunId>)>,
    trained: HashSet<RunId>,
}

/// Does the steps, and looks at every row after each.
pub async fn invariants_hold(store: &dyn Store, steps: &[Step]) {
    let mut world = World::default();
    for name in ["a", "b"] {
        let model = store.create_model(new_model(name)).await.unwrap();
        world.models.push(model.id);
        world.at_rest.insert(model.id, (model.status, model.task_id));
    }
    for step in steps {
        take(store, &mut world, step).await;
        check(store, &mut world).await;
    }
}

async fn take(store: &dyn Store, world: &mut World, step: &Step) {
    match step {
        Step::Submit(model) => {
            let model = *model.get(&world.models);
            let active = store.model(model).await.unwrap().status.is_active();
            let id = format!("r{}", world.runs.len());
            match store.submit(new_run(&id, model)).await {
                Ok(run) => {
                    assert!(!active);
                    world.runs.push(run.id.clone());
                    world.memories.push(run);
                }
                Err(StoreError::Active { .. }) => assert!(active),
                Err(error) => panic!("{error:?}"),
            }
        }
        Step::Claim(run, worker) if !world.runs.is_empty() => {
            let run = run.get(&world.runs);
            if let Claim::Taken(run) = store.claim(run, &format!("w{worker}")).await.unwrap() {
                assert!(
                    world
                        .memories
                        .iter()
                        .all(|old| old.id != run.id || old.token < run.token)
                );
                world.memories.push(*run);
            }
        }
        Step::Stop(run) if !world.runs.is_empty() => match store.request_stop(run.get(&world.runs)).await {
            Ok(_) | Err(StoreError::Illegal { .. }) => {}
            Err(error) => panic!("{error:?}"),
        },
        Step::Change(memory, change) if !world.memories.is_empty() => {
            let memory = memory.get(&world.memories);
            let change = match change {
                0 | 1 => Change::Train,
                2 if memory.token % 2 == 0 => Change::PutBack,
                2 => Change::Release,
                3 => fail("why"),
                4 => Change::Cancel,
                _ => finish(&memory.id),
            };
            let before = store.run(&memory.id).await.unwrap();
            match store.change(&memory.id, memory.token, change.clone()).await {
                Ok(after) => {
                    assert_eq!(memory.token, before.token, "an old token wrote");
                    if after.state == RunState::Trained {
                        assert!(world.trained.insert(after.id), "trained twice");
                    }
                }
                Err(StoreError::Fenced { .. }) => assert_ne!(memory.token, before.token),
                Err(StoreError::Illegal { .. }) => {
                    assert_eq!(trainyard_jobs::state::next(before.state, &change), None);
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        Step::Progress(memory, progress) if !world.memories.is_empty() => {
            let memory = memory.get(&world.memories);
            let before = store.run(&memory.id).await.unwrap();
            match store
                .progress(&memory.id, memory.token, *progress, &usage(*progress))
                .await
            {
                Ok(()) => {
                    assert_eq!(memory.token, before.token, "an old token wrote");
                    assert!(store.run(&memory.id).await.unwrap().progress >= before.progress);
                }
                Err(StoreError::Fenced { .. }) => assert_eq!(store.run(&memory.id).await.unwrap(), before),
                Err(error) => panic!("{error:?}"),
            }
        }
        Step::Usage(run, cpu) if !world.runs.is_empty() => {
            match store.usage(run.get(&world.runs), &usage(*cpu)).await {
                Ok(()) | Err(StoreError::Illegal { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        _ => {}
    }
}

async fn check(store: &dyn Store, world: &mut World) {
    let mut unfinished = HashSet::new();
    for id in &world.models {
        let model = store.model(*id).await.unwrap();
        let runs = store
            .runs(&RunFilter {
                model_id: *id,
                before: None,
                limit: 1000,
            })
            .await
            .unwrap()
            .items;
        let active: Vec<_> = runs.iter().filter(|run| !run.state.is_final()).collect();
        assert!(active.len() <= 1);
        assert_eq!(model.status.is_active(), active.len() == 1);
        unfinished.extend(active.iter().map(|run| run.id.clone()));
        match &model.task_id {
            Some(task) => {
                let run = runs.iter().find(|run| run.id == *task).expect("the model's own run");
                assert_eq!(run.state.model_status(), Some(model.status));
                assert_eq!((model.progress, &model.error_log), (run.progress, &run.error_log));
                assert_eq!(model.resource_usage, run.resource_usage);
            }
            None => assert_eq!(model.status, ModelStatus::Draft),
        }
        if let Some(trained) = &model.trained_run {
            assert!(world.trained.contains(trained));
        }
        for run in &runs {
            assert_eq!(run.finished_at.is_some(), run.state.is_final());
            assert!((0.0..=100.0).contains(&run.progress));
            assert!(run.attempt <= trainyard_jobs::state::MOST_ATTEMPTS);
        }
        // A run that was stopped leaves its model where it found it; any other end moves it on.
        let shown = (model.status, model.task_id.clone());
        if active.is_empty() {
            let newest_counts = runs.first().is_some_and(|run| run.state != RunState::Cancelled);
            let before = world
                .at_rest
                .insert(*id, shown.clone())
                .expect("known since it was made");
            if !newest_counts {
                assert_eq!(shown, before);
            }
        }
    }
    let listed: HashSet<_> = store
        .unfinished_runs()
        .await
        .unwrap()
        .into_iter()
        .map(|run| run.id)
        .collect();
    assert_eq!(listed, unfinished);
}
