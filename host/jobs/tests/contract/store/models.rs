//! Models: made, read, listed, changed, deleted.

use crate::contract::fixtures::{bring, new_model, new_run, run_in, submitted};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use trainyard_jobs::{
    ModelFilter, ModelPatch, ModelStatus, NewModel, RunFilter, RunState, SeriesPoint, Store, StoreError,
};

fn filter(limit: u32) -> ModelFilter {
    ModelFilter {
        limit,
        ..ModelFilter::default()
    }
}

async fn names(store: &dyn Store, filter: ModelFilter) -> Vec<String> {
    store
        .models(&filter)
        .await
        .unwrap()
        .items
        .into_iter()
        .map(|model| model.name)
        .collect()
}

pub async fn a_new_model_is_a_draft_and_comes_back_as_it_was_made(store: &dyn Store) {
    let wanted = new_model("风电 forecast");
    let model = store.create_model(wanted.clone()).await.unwrap();
    assert_eq!(store.model(model.id).await.unwrap(), model);
    assert_eq!((model.status, model.progress), (ModelStatus::Draft, 0.0));
    let same = NewModel {
        name: model.name,
        description: model.description,
        plugin: model.plugin,
        plugin_version: model.plugin_version,
        training_dataset: model.training_dataset,
        training_parameters: model.training_parameters,
    };
    assert_eq!(same, wanted);
    assert_eq!(
        (model.task_id, model.trained_run, model.file_path, model.error_log),
        (None, None, None, None)
    );
    assert_eq!(
        (model.started_at, model.finished_at, model.resource_usage),
        (None, None, None)
    );
    assert!(model.metrics.is_empty());
}

pub async fn numbers_of_models_are_never_given_twice(store: &dyn Store) {
    let first = store.create_model(new_model("a")).await.unwrap();
    store.delete_model(first.id).await.unwrap();
    let second = store.create_model(new_model("b")).await.unwrap();
    assert!(second.id > first.id);
}

pub async fn a_patch_changes_what_it_names_and_nothing_else(store: &dyn Store) {
    let model = store.create_model(new_model("a")).await.unwrap();
    let same = store.update_model(model.id, ModelPatch::default()).await.unwrap();
    assert_eq!(
        trainyard_jobs::Model {
            updated_at: model.updated_at,
            ..same
        },
        model
    );

    let patch = ModelPatch {
        name: Some("Ä".into()),
        plugin_version: Some(Some("2.0.0".into())),
        training_dataset: Some(Value::Null),
        ..ModelPatch::default()
    };
    let changed = store.update_model(model.id, patch).await.unwrap();
    assert_eq!(store.model(model.id).await.unwrap(), changed);
    assert_eq!(
        (changed.name.as_str(), changed.plugin_version.as_deref()),
        ("Ä", Some("2.0.0"))
    );
    assert_eq!(changed.training_dataset, Value::Null);
    assert_eq!(changed.training_parameters, model.training_parameters);
    assert!(changed.updated_at >= model.updated_at);
    assert_eq!(
        names(
            store,
            ModelFilter {
                name: Some("ä".into()),
                ..filter(9)
            }
        )
        .await,
        ["Ä"]
    );

    let patch = ModelPatch {
        description: Some(String::new()),
        plugin: Some("mlp".into()),
        plugin_version: Some(None),
        training_parameters: Some(json!({})),
        ..ModelPatch::default()
    };
    let changed = store.update_model(model.id, patch).await.unwrap();
    assert_eq!(
        (changed.name.as_str(), changed.plugin.as_str(), changed.plugin_version),
        ("Ä", "mlp", None)
    );
}

pub async fn a_model_under_way_is_neither_changed_nor_deleted(store: &dyn Store) {
    for state in [RunState::Pending, RunState::Preparing, RunState::Training] {
        let run = run_in(store, state.as_str(), state).await;
        let before = store.model(run.model_id).await.unwrap();
        let update = store
            .update_model(run.model_id, ModelPatch::default())
            .await
            .map(|_| ());
        let delete = store.delete_model(run.model_id).await.map(|_| ());
        let submit = store.submit(new_run("another", run.model_id)).await.map(|_| ());
        for result in [update, delete, submit] {
            let error = result.unwrap_err();
            let StoreError::Active {
                model,
                run: name,
                state: now,
            } = &error
            else {
                panic!("{error:?}")
            };
            assert_eq!((*model, name, *now), (run.model_id, &run.id, state));
            assert!(error.to_string().contains(&run.id), "{error}");
        }
        assert_eq!(store.model(run.model_id).await.unwrap(), before);
    }
}

pub async fn models_are_listed_newest_first_by_status_name_and_plugin(store: &dyn Store) {
    for name in ["one", "Two", "three"] {
        store.create_model(new_model(name)).await.unwrap();
    }
    let other = NewModel {
        plugin: "mlp".into(),
        ..new_model("a hundred % sure_thing")
    };
    store.create_model(other).await.unwrap();
    run_in(store, "trained", RunState::Trained).await;
    run_in(store, "waiting", RunState::Pending).await;

    let all = ["waiting", "trained", "a hundred % sure_thing", "three", "Two", "one"];
    assert_eq!(names(store, filter(100)).await, all);
    assert_eq!(names(store, filter(2)).await, all[..2]);
    assert_eq!(names(store, filter(0)).await, [""; 0]);

    let by_name = |name: &str| ModelFilter {
        name: Some(name.into()),
        ..filter(100)
    };
    assert_eq!(names(store, by_name("TWO")).await, ["Two"]);
    assert_eq!(names(store, by_name("%")).await, ["a hundred % sure_thing"]);
    assert_eq!(names(store, by_name("e_t")).await, ["a hundred % sure_thing"]);
    assert_eq!(
        names(store, by_name("r")).await,
        ["trained", "a hundred % sure_thing", "three"]
    );

    let by_status = |status: &[ModelStatus]| ModelFilter {
        status: status.to_vec(),
        ..filter(100)
    };
    assert_eq!(names(store, by_status(&[ModelStatus::Draft])).await, all[2..]);
    assert_eq!(
        names(store, by_status(&[ModelStatus::Trained, ModelStatus::Pending])).await,
        all[..2]
    );
    assert_eq!(names(store, by_status(&[ModelStatus::Error])).await, [""; 0]);
    assert_eq!(
        names(
            store,
            ModelFilter {
                plugin: Some("mlp".into()),
                ..filter(100)
            }
        )
        .await,
        all[2..3]
    );
    let everything = ModelFilter {
        status: vec![ModelStatus::Draft],
        name: Some("O".into()),
        plugin: Some("dlinear".into()),
        ..filter(100)
    };
    assert_eq!(names(store, everything).await, ["Two", "one"]);
}

pub async fn models_are_counted_by_status(store: &dyn Store) {
    run_in(store, "a", RunState::Trained).await;
    run_in(store, "b", RunState::Trained).await;
    run_in(store, "c", RunState::Cancelled).await;
    run_in(store, "d", RunState::Training).await;
    let mut counts = store.count_models().await.unwrap();
    counts.retain(|(_, count)| *count > 0);
    let expected = [
        (ModelStatus::Draft, 1),
        (ModelStatus::Training, 1),
        (ModelStatus::Trained, 2),
    ];
    assert_eq!(counts, expected);
}

pub async fn pages_hold_every_model_once_while_models_are_added(store: &dyn Store) {
    let mut wanted = BTreeSet::new();
    for number in 0..25 {
        wanted.insert(store.create_model(new_model(&format!("m{number}"))).await.unwrap().id);
    }
    let mut seen = Vec::new();
    let mut filter = filter(4);
    loop {
        let page = store.models(&filter).await.unwrap();
        assert!(page.items.len() <= 4);
        seen.extend(page.items.iter().map(|model| model.id));
        // Newer ones come at the front, where this reader has been; one that it has yet to see goes.
        store.create_model(new_model("later")).await.unwrap();
        if seen.len() == 12 {
            let gone = *wanted.iter().nth(3).unwrap();
            store.delete_model(gone).await.unwrap();
            wanted.remove(&gone);
        }
        match page.next {
            Some(next) => filter.before = Some(next.parse().unwrap()),
            None => break,
        }
    }
    assert!(seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), wanted);
}

pub async fn the_last_page_says_that_it_is_the_last(store: &dyn Store) {
    for number in 0..4 {
        store.create_model(new_model(&number.to_string())).await.unwrap();
    }
    assert!(store.models(&filter(4)).await.unwrap().next.is_none());
    assert!(store.models(&filter(3)).await.unwrap().next.is_some());
}

pub async fn deleting_a_model_takes_its_runs_and_their_series(store: &dyn Store) {
    let run = run_in(store, "r1", RunState::Trained).await;
    let again = store.submit(new_run("r2", run.model_id)).await.unwrap();
    bring(store, again, RunState::Error).await;
    let other = submitted(store, "r3").await;
    let point = SeriesPoint {
        step: 1,
        seconds: 0.5,
        name: "loss".into(),
        value: 0.1,
    };
    store.add_series(&run.id, &[point]).await.unwrap();

    let mut gone = store.delete_model(run.model_id).await.unwrap();
    gone.sort();
    assert_eq!(gone, ["r1", "r2"]);
    assert!(matches!(
        store.model(run.model_id).await,
        Err(StoreError::NotFound { what: "model", .. })
    ));
    for id in &gone {
        assert!(matches!(
            store.run(id).await,
            Err(StoreError::NotFound { what: "run", .. })
        ));
        assert!(matches!(
            store.series(id).await,
            Err(StoreError::NotFound { what: "run", .. })
        ));
    }
    assert_eq!(store.run(&other.id).await.unwrap(), other);
    let runs = RunFilter {
        model_id: run.model_id,
        before: None,
        limit: 10,
    };
    assert!(store.runs(&runs).await.unwrap().items.is_empty());
}

pub async fn a_name_that_is_sql_stays_a_name(store: &dyn Store) {
    let names = [
        "x'); DROP TABLE runs; --",
        "' OR '1'='1",
        "\"; --",
        "\u{0}",
        "%_\\",
        "$1 ?1 :a",
        "🚂",
    ];
    for name in names {
        let model = match store.create_model(new_model(name)).await {
            // PostgreSQL's texts hold every character but this.
            Err(StoreError::Conflict(_)) if name == "\0" => continue,
            made => made.unwrap(),
        };
        assert_eq!(store.model(model.id).await.unwrap().name, name);
        let found = store
            .models(&ModelFilter {
                name: Some(name.into()),
                ..filter(100)
            })
            .await
            .unwrap();
        assert_eq!(
            found.items.iter().map(|model| model.id).collect::<Vec<_>>(),
            [model.id],
            "{name}"
        );
        let plugin = ModelFilter {
            plugin: Some(name.into()),
            ..filter(100)
        };
        assert!(store.models(&plugin).await.unwrap().items.is_empty());
        let id = name.to_owned();
        assert!(matches!(store.run(&id).await, Err(StoreError::NotFound { .. })));
        let run = store.submit(new_run(name, model.id)).await.unwrap();
        assert_eq!(store.run(&run.id).await.unwrap(), run);
        store.request_stop(&run.id).await.unwrap();
        assert!(matches!(
            store.plugin(name, Some(name)).await,
            Err(StoreError::NotFound { .. })
        ));
        assert!(matches!(store.dataset(name).await, Err(StoreError::NotFound { .. })));
        store.audit(name, name, name, &json!({"name": name})).await.unwrap();
        assert_eq!(store.audit_log(1).await.unwrap()[0]["who"], name);
    }
}
