//! Models over their whole life.

use crate::fixture::Server;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_made_read_changed_and_deleted() {
    let server = Server::start().await;
    server.upload_plugin("plugin dlinear 0.1.0").await.data();
    let made = server
        .post("/models", json!({"name": "pump 3", "plugin": "dlinear"}))
        .await;
    assert_eq!(made.status, 201);
    let made = made.data();
    assert_eq!((&made["status"], &made["progress"]), (&json!("DRAFT"), &json!(0.0)));
    assert_eq!(made["training_parameters"], json!({}));
    let path = format!("/models/{}", made["id"]);
    assert_eq!(server.get(&path).await.data(), made);

    let change = json!({"name": "pump 4", "plugin_version": "0.1.0", "training_parameters": {"epochs": 3}});
    let changed = server.patch(&path, change).await.data();
    assert_eq!(
        (&changed["name"], &changed["plugin_version"]),
        (&json!("pump 4"), &json!("0.1.0"))
    );
    let changed = server
        .patch(&path, json!({"plugin_version": null, "description": "x"}))
        .await
        .data();
    assert_eq!(
        (&changed["plugin_version"], &changed["name"]),
        (&Value::Null, &json!("pump 4"))
    );
    assert_eq!(changed["training_parameters"], json!({"epochs": 3}));
    let changed = server
        .patch(&path, json!({"training_parameters": null, "description": null}))
        .await
        .data();
    assert_eq!(
        (&changed["training_parameters"], &changed["description"]),
        (&json!({}), &json!(""))
    );
    assert_eq!(server.patch(&path, json!({})).await.data()["name"], "pump 4");

    assert_eq!(server.delete(&path).await.data()["runs"], json!([]));
    server.get(&path).await.refused(404, "not-found");
    server.delete(&path).await.refused(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_model_lacks_or_has_wrong_is_named() {
    let server = Server::start().await;
    server.upload_plugin("plugin dlinear 0.1.0").await.data();
    let refused = async |body: Value, status: u16, error: &str, says: &str| {
        let answer = server.post("/models", body).await.refused(status, error);
        assert!(answer["message"].as_str().unwrap().contains(says), "{answer}");
    };
    let with = |more: Value| {
        let mut body = json!({"name": "x", "plugin": "dlinear"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    refused(
        json!({"plugin": "dlinear"}),
        422,
        "invalid-body",
        "missing field `name`",
    )
    .await;
    refused(json!([]), 422, "invalid-body", "").await;
    refused(
        with(json!({"nmae": 1})),
        422,
        "invalid-body",
        "unknown field `nmae`, expected one of `name`, `plugin`",
    )
    .await;
    refused(with(json!({"name": ""})), 422, "invalid-body", "1 to 200").await;
    refused(
        with(json!({"name": "x".repeat(201)})),
        422,
        "invalid-body",
        "201 characters",
    )
    .await;
    refused(with(json!({"name": "a\nb"})), 422, "invalid-body", "control").await;
    refused(with(json!({"name": 7})), 422, "invalid-body", "name: invalid type").await;
    refused(
        with(json!({"description": "x".repeat(10_001)})),
        422,
        "invalid-body",
        "10001",
    )
    .await;
    refused(with(json!({"plugin": "nope"})), 422, "no-such-plugin", "`nope`").await;
    refused(with(json!({"plugin_version": "9.9.9"})), 422, "no-such-plugin", "9.9.9").await;
    refused(
        with(json!({"training_parameters": {"epoch": 1}})),
        422,
        "invalid-parameters",
        "epoch",
    )
    .await;
    refused(
        with(json!({"training_parameters": {"epochs": 0}})),
        422,
        "invalid-parameters",
        "epochs",
    )
    .await;
    refused(
        with(json!({"training_parameters": []})),
        422,
        "invalid-body",
        "training_parameters",
    )
    .await;
    refused(
        with(json!({"training_dataset": {"source": "ftp"}})),
        422,
        "invalid-dataset",
        "ftp",
    )
    .await;
    refused(
        with(json!({"training_dataset": {"source": "upload", "dataset_id": "x"}})),
        422,
        "no-such-dataset",
        "`x`",
    )
    .await;
    assert_eq!(server.get("/models").await.data()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn models_come_in_pages_newest_first_and_can_be_looked_for() {
    let server = Server::start().await;
    server.upload_plugin("plugin dlinear 0.1.0").await.data();
    server.upload_plugin("plugin other 0.1.0").await.data();
    for i in 0..5 {
        let plugin = if i == 4 { "other" } else { "dlinear" };
        server
            .post("/models", json!({"name": format!("Pump {i}"), "plugin": plugin}))
            .await
            .data();
    }
    let mut seen = Vec::new();
    let mut path = "/models?limit=2".to_owned();
    loop {
        let page = server.get(&path).await.data();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|model| model["name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => path = format!("/models?limit=2&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["Pump 4", "Pump 3", "Pump 2", "Pump 1", "Pump 0"]);
    let count = async |query: &str| {
        server.get(&format!("/models?{query}")).await.data()["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(count("name=pump%203").await, 1);
    assert_eq!(count("plugin=other").await, 1);
    assert_eq!(count("status=DRAFT,TRAINING").await, 5);
    assert_eq!(count("status=TRAINED").await, 0);
    // What looks like a pattern or a statement is only text.
    assert_eq!(count("name=%25").await, 0);
    assert_eq!(count("name=%27%20OR%201%3D1%20--").await, 0);
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "cursor=x",
        "status=NOPE",
        "limit=1&limit=2",
        "page=1",
    ] {
        server.get(&format!("/models?{query}")).await.refused(400, "bad-query");
    }
    let unknown = server.get("/models?page=1").await.json();
    assert!(
        unknown["message"]
            .as_str()
            .unwrap()
            .contains("expected one of `status`"),
        "{unknown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_trained_cannot_be_changed_or_deleted() {
    let server = Server::start().await;
    let model = server.model().await;
    let run = server.train(model).await;
    let path = format!("/models/{model}");
    let refused = server
        .patch(&path, json!({"name": "x"}))
        .await
        .refused(409, "already-training");
    assert_eq!(refused["details"]["run"], run);
    server.delete(&path).await.refused(409, "already-training");
    server.finish(&run).await;
    server.patch(&path, json!({"name": "x"})).await.data();
    assert_eq!(server.delete(&path).await.data()["runs"], json!([run]));
    assert_eq!(
        server
            .services
            .artifacts
            .list(&format!("models/{model}"))
            .await
            .unwrap(),
        []
    );
    let audit = server.get("/audit").await.data();
    let actions: Vec<&str> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions[..3], ["delete-model", "change-model", "train"]);
    assert_eq!(audit["items"][0]["who"], "local");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_plugin_leaves_the_old_ones_version_behind() {
    let server = Server::start().await;
    server.upload_plugin("plugin dlinear 0.1.0").await.data();
    server.upload_plugin("plugin other 2.0.0").await.data();
    let body = json!({"name": "x", "plugin": "dlinear", "plugin_version": "0.1.0"});
    let model = server.post("/models", body).await.data();
    let path = format!("/models/{}", model["id"]);
    server
        .patch(&path, json!({"plugin": "nope"}))
        .await
        .refused(422, "no-such-plugin");
    let changed = server.patch(&path, json!({"plugin": "other"})).await.data();
    assert_eq!(
        (&changed["plugin"], &changed["plugin_version"]),
        (&json!("other"), &Value::Null)
    );
    server
        .patch(&path, json!({"name": null}))
        .await
        .refused(422, "invalid-body");
}
