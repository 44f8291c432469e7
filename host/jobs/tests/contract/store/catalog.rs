//! Plugins and data sets.

use crate::contract::fixtures::{at, bring, dataset, new_model, new_run, plugin, run_in};
use serde_json::json;
use trainyard_jobs::{ModelPatch, NewModel, PluginVersion, RunState, Store, StoreError};

async fn versions(store: &dyn Store, name: &str) -> Vec<String> {
    store
        .plugin_versions(name)
        .await
        .unwrap()
        .into_iter()
        .map(|plugin| plugin.version)
        .collect()
}

pub async fn a_plugin_comes_back_as_it_was_kept(store: &dyn Store) {
    let wanted = plugin("dlinear", "1.2.0");
    assert_eq!(store.add_plugin(wanted.clone()).await.unwrap(), wanted);
    assert_eq!(store.plugin("dlinear", Some("1.2.0")).await.unwrap(), wanted);
    let bare = PluginVersion {
        contract: None,
        tasks: vec![],
        ..plugin("bare", "0.0.1")
    };
    assert_eq!(store.add_plugin(bare.clone()).await.unwrap(), bare);
    assert!(store.has_plugin_digest(&wanted.digest).await.unwrap());
    assert!(!store.has_plugin_digest("another").await.unwrap());
}

pub async fn the_same_plugin_again_is_fine_and_another_content_is_not(store: &dyn Store) {
    let first = store.add_plugin(plugin("dlinear", "1.2.0")).await.unwrap();
    let again = PluginVersion {
        created_at: at("2027-01-01T00:00:00Z"),
        ..first.clone()
    };
    assert_eq!(store.add_plugin(again).await.unwrap(), first);
    let other = PluginVersion {
        digest: "other".into(),
        ..first.clone()
    };
    let error = store.add_plugin(other).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Conflict(why) if why.contains("dlinear 1.2.0")),
        "{error:?}"
    );
    assert_eq!(store.plugin("dlinear", None).await.unwrap(), first);
}

pub async fn the_newest_plugin_is_so_by_semantic_version(store: &dyn Store) {
    for version in ["1.9.0", "1.10.0", "1.10.0-rc.1", "0.99.99", "1.2.3"] {
        store.add_plugin(plugin("dlinear", version)).await.unwrap();
    }
    store.add_plugin(plugin("arima", "0.1.0")).await.unwrap();
    assert_eq!(
        versions(store, "dlinear").await,
        ["1.10.0", "1.10.0-rc.1", "1.9.0", "1.2.3", "0.99.99"]
    );
    assert_eq!(versions(store, "nobody").await, [""; 0]);
    assert_eq!(store.plugin("dlinear", None).await.unwrap().version, "1.10.0");
    let newest: Vec<_> = store
        .plugins()
        .await
        .unwrap()
        .into_iter()
        .map(|p| (p.name, p.version))
        .collect();
    assert_eq!(
        newest,
        [("arima".into(), "0.1.0".into()), ("dlinear".into(), "1.10.0".into())]
    );
    for (name, version) in [("nobody", None), ("dlinear", Some("1.10")), ("nobody", Some("1.10.0"))] {
        let error = store.plugin(name, version).await.unwrap_err();
        assert!(
            matches!(error, StoreError::NotFound { what: "plugin", .. }),
            "{error:?}"
        );
    }
}

async fn refused(store: &dyn Store, version: &str, named: &[&str]) {
    let error = store.delete_plugin("dlinear", version).await.unwrap_err();
    let StoreError::Conflict(why) = &error else {
        panic!("{error:?}")
    };
    assert!(named.iter().all(|name| why.contains(name)), "{why}");
}

pub async fn a_plugin_that_is_used_stays(store: &dyn Store) {
    for version in ["1.2.0", "1.3.0"] {
        store.add_plugin(plugin("dlinear", version)).await.unwrap();
    }
    // A model that names no version can do with another.
    let any = store.create_model(new_model("any version")).await.unwrap();
    assert_eq!(store.delete_plugin("dlinear", "1.3.0").await.unwrap().version, "1.3.0");
    refused(store, "1.2.0", &["any version"]).await;
    store.add_plugin(plugin("dlinear", "1.3.0")).await.unwrap();
    // A model that names it.
    let pinned = NewModel {
        plugin_version: Some("1.2.0".into()),
        ..new_model("pinned")
    };
    let pinned = store.create_model(pinned).await.unwrap();
    refused(store, "1.2.0", &["pinned"]).await;
    store.delete_model(pinned.id).await.unwrap();
    // A run that is not over, and a result that was made with it.
    let run = store.submit(new_run("r1", any.id)).await.unwrap();
    refused(store, "1.2.0", &["any version"]).await;
    bring(store, run, RunState::Trained).await;
    refused(store, "1.2.0", &["any version"]).await;
    store.delete_model(any.id).await.unwrap();
    assert_eq!(
        store.delete_plugin("dlinear", "1.2.0").await.unwrap().digest,
        "digest of dlinear 1.2.0"
    );
    let error = store.delete_plugin("dlinear", "1.2.0").await.unwrap_err();
    assert_eq!(error.to_string(), "there is no plugin dlinear 1.2.0");
}

pub async fn of_many_users_of_a_plugin_some_are_named(store: &dyn Store) {
    store.add_plugin(plugin("dlinear", "1.2.0")).await.unwrap();
    for number in 0..10 {
        store
            .create_model(new_model(&format!("model number {number}")))
            .await
            .unwrap();
    }
    refused(store, "1.2.0", &["model number 0", "model number 2", "7 more"]).await;
}

pub async fn a_data_set_comes_back_as_it_was_kept(store: &dyn Store) {
    let wanted = dataset("house-1");
    assert_eq!(store.add_dataset(wanted.clone()).await.unwrap(), wanted);
    assert_eq!(store.dataset("house-1").await.unwrap(), wanted);
    let error = store.add_dataset(wanted).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Conflict(why) if why.contains("house-1")),
        "{error:?}"
    );
    for result in [store.dataset("nobody").await, store.delete_dataset("nobody").await] {
        assert!(
            matches!(&result, Err(StoreError::NotFound { id, .. }) if id == "nobody"),
            "{result:?}"
        );
    }
}

pub async fn pages_hold_every_data_set_once_while_some_are_added(store: &dyn Store) {
    for number in 0..7 {
        store.add_dataset(dataset(&format!("d{number}"))).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = store.datasets(cursor.as_deref(), 3).await.unwrap();
        seen.extend(page.items.into_iter().map(|dataset| dataset.id));
        store
            .add_dataset(dataset(&format!("later than {}", seen.len())))
            .await
            .unwrap();
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["d6", "d5", "d4", "d3", "d2", "d1", "d0"]);
}

pub async fn a_cursor_that_no_page_gave_out_gives_nothing(store: &dyn Store) {
    store.add_dataset(dataset("d")).await.unwrap();
    for cursor in ["", "x", "0", "-1", "1; DROP TABLE datasets", "99999999999999999999"] {
        assert!(
            store.datasets(Some(cursor), 3).await.unwrap().items.is_empty(),
            "{cursor}"
        );
    }
}

pub async fn a_data_set_that_is_used_stays(store: &dyn Store) {
    store.add_dataset(dataset("house-1")).await.unwrap();
    store.add_dataset(dataset("house-2")).await.unwrap();
    let run = run_in(store, "by default", RunState::Training).await;
    let refused = async || {
        let error = store.delete_dataset("house-1").await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Conflict(why) if why.contains("by default")),
            "{error:?}"
        );
    };
    refused().await;
    store
        .change(&run.id, run.token, trainyard_jobs::state::Change::Cancel)
        .await
        .unwrap();
    refused().await;
    // No longer the default, but of a run that waits.
    let patch = ModelPatch {
        training_dataset: Some(json!(null)),
        ..ModelPatch::default()
    };
    store.update_model(run.model_id, patch).await.unwrap();
    store.submit(new_run("r2", run.model_id)).await.unwrap();
    refused().await;
    store.request_stop(&"r2".to_owned()).await.unwrap();
    assert_eq!(store.delete_dataset("house-1").await.unwrap(), dataset("house-1"));
    assert_eq!(store.delete_dataset("house-2").await.unwrap().id, "house-2");
}
