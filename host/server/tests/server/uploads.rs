//! Plugins and data sets: uploaded, refused, listed, deleted.

use crate::fixture::Server;
use serde_json::{Value, json};

fn form(field: &str, file: &str, content: &str) -> (String, Vec<u8>) {
    let body = format!(
        "--XX\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--XX\r\n\
         content-disposition: form-data; name=\"{field}\"; filename=\"{file}\"\r\n\r\n{content}\r\n--XX--\r\n"
    );
    ("multipart/form-data; boundary=XX".into(), body.into_bytes())
}

/// Nothing of any upload may be left in the staging folder.
fn nothing_staged(server: &Server) {
    let left: Vec<_> = std::fs::read_dir(server.folder.path().join("staging"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_uploaded_listed_and_deleted() {
    let server = Server::start().await;
    let first = server.upload_plugin("plugin dlinear 0.1.0").await;
    assert_eq!(first.status, 201);
    let plugin = first.data();
    assert_eq!(
        (&plugin["name"], &plugin["version"]),
        (&json!("dlinear"), &json!("0.1.0"))
    );
    let key = format!("plugins/{}.wasm", plugin["digest"].as_str().unwrap());
    assert_eq!(
        server.services.artifacts.get(&key).await.unwrap(),
        "plugin dlinear 0.1.0"
    );

    let again = server.upload_plugin("plugin dlinear 0.1.0").await;
    assert_eq!((again.status, again.data()), (200, plugin.clone()));
    server
        .upload_plugin("plugin dlinear 0.1.0 changed")
        .await
        .refused(409, "version-exists");
    assert_eq!(server.upload_plugin("plugin dlinear 0.10.0").await.status, 201);
    assert_eq!(server.upload_plugin("plugin dlinear 0.9.0").await.status, 201);

    let list = server.get("/plugins").await.data();
    assert_eq!(
        (&list["items"][0]["version"], &list["items"][1]),
        (&json!("0.10.0"), &Value::Null)
    );
    assert_eq!(server.get("/plugins/dlinear").await.data()["version"], "0.10.0");
    let versions = server.get("/plugins/dlinear/versions").await.data();
    let versions: Vec<&str> = versions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["0.10.0", "0.9.0", "0.1.0"]);
    assert_eq!(server.get("/plugins/dlinear/versions/0.1.0").await.data(), plugin);
    assert_eq!(
        server.get("/plugins/dlinear/schema").await.data()["properties"]["epochs"]["default"],
        10
    );
    server
        .get("/plugins/dlinear/schema?version=7.0.0")
        .await
        .refused(404, "not-found");
    for path in [
        "/plugins/nope",
        "/plugins/nope/versions",
        "/plugins/dlinear/versions/7.0.0",
        "/plugins/nope/schema",
    ] {
        server.get(path).await.refused(404, "not-found");
    }

    server.delete("/plugins/dlinear/versions/0.1.0").await.data();
    server
        .delete("/plugins/dlinear/versions/0.1.0")
        .await
        .refused(404, "not-found");
    assert!(server.services.artifacts.get(&key).await.is_err());
    nothing_staged(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_in_use_stays() {
    let server = Server::start().await;
    let model = server.model().await;
    server
        .patch(&format!("/models/{model}"), json!({"plugin_version": "0.1.0"}))
        .await
        .data();
    server
        .delete("/plugins/dlinear/versions/0.1.0")
        .await
        .refused(409, "in-use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_plugin_is_refused_with_every_reason() {
    let server = Server::start().await;
    let refused = server.upload_plugin("garbage").await.refused(422, "not-a-plugin");
    assert_eq!(refused["details"]["reasons"].as_array().unwrap().len(), 2);
    server.upload_plugin("").await.refused(422, "empty-upload");
    let csv = [("content-type", "text/csv")];
    server
        .send("POST", "/plugins", &csv, b"plugin x 1.0.0")
        .await
        .refused(415, "unsupported-media-type");
    assert_eq!(server.get("/plugins").await.data()["items"], json!([]));
    nothing_staged(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_worker_says_has_its_answer() {
    let server = Server::start().await;
    assert_eq!(server.upload_plugin("busy").await.refused(503, "busy")["code"], 503);
    server.upload_plugin("slow").await.refused(422, "took-too-long");
    server.upload_plugin("broken").await.refused(503, "worker-failed");
    server.upload_plugin("panic").await.refused(500, "internal");
    nothing_staged(&server);
    server.upload_plugin("plugin fine 1.0.0").await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_is_uploaded_looked_at_and_deleted() {
    let server = Server::start().await;
    let answer = server
        .send("POST", "/datasets?name=pump%203.csv", &[], b"ts,a\n1,2\n2,3\n")
        .await;
    assert_eq!(answer.status, 201);
    let dataset = answer.data();
    assert_eq!(
        (&dataset["name"], &dataset["format"], &dataset["rows"]),
        (&json!("pump 3.csv"), &json!("csv"), &json!(2))
    );
    let path = format!("/datasets/{}", dataset["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.data(), dataset);
    let preview = server.get(&format!("{path}/preview")).await.data();
    assert_eq!(
        (&preview["columns"][1]["name"], &preview["head"][0]),
        (&json!("a"), &json!(["1", "2"]))
    );
    let key = format!("datasets/{}.csv", dataset["id"].as_str().unwrap());
    assert_eq!(server.services.artifacts.get(&key).await.unwrap(), "ts,a\n1,2\n2,3\n");
    server.upload_csv("x\n1\n").await;
    let page = server.get("/datasets?limit=1").await.data();
    assert_eq!(page["items"][0]["name"], "pump.csv");
    let next = page["next"].as_str().unwrap();
    assert_eq!(
        server.get(&format!("/datasets?limit=1&cursor={next}")).await.data()["items"][0],
        dataset
    );
    server.delete(&path).await.data();
    server.get(&path).await.refused(404, "not-found");
    server.get(&format!("{path}/preview")).await.refused(404, "not-found");
    assert!(server.services.artifacts.get(&key).await.is_err());
    nothing_staged(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_format_comes_from_the_name_or_else_from_the_type() {
    let server = Server::start().await;
    let send = async |path: &str, kind: &str| {
        let headers = [("content-type", kind)];
        server
            .send("POST", path, if kind.is_empty() { &[] } else { &headers }, b"a\n1\n")
            .await
    };
    assert_eq!(send("/datasets?name=x.tsv", "text/csv").await.data()["format"], "tsv");
    assert_eq!(
        send("/datasets", "text/csv; charset=utf-8").await.data()["name"],
        "data.csv"
    );
    assert_eq!(
        send("/datasets?name=x", "application/vnd.apache.parquet").await.data()["format"],
        "parquet"
    );
    send("/datasets?name=x.exe", "").await.refused(422, "unknown-format");
    send("/datasets", "application/octet-stream")
        .await
        .refused(422, "unknown-format");
    send("/datasets", "image/png")
        .await
        .refused(415, "unsupported-media-type");
    send("/datasets?name=", "text/csv").await.refused(422, "invalid-name");
    send(&format!("/datasets?name={}.csv", "x".repeat(200)), "text/csv")
        .await
        .refused(422, "invalid-name");
    send("/datasets?name=a%0ab.csv", "text/csv")
        .await
        .refused(422, "invalid-name");
    // A name is a name and no way to anywhere.
    let dataset = send("/datasets?name=..%2F..%2Fetc%2Fpasswd.csv", "").await.data();
    assert_eq!(dataset["name"], "../../etc/passwd.csv");
    server
        .get(&format!("/datasets/{}", dataset["id"].as_str().unwrap()))
        .await
        .data();
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_taken_too() {
    let server = Server::start().await;
    let (kind, body) = form("file", "form.csv", "a\n1\n");
    let dataset = server
        .send("POST", "/datasets", &[("content-type", &kind)], &body)
        .await
        .data();
    assert_eq!((&dataset["name"], &dataset["size"]), (&json!("form.csv"), &json!(4)));
    let (kind, body) = form("file", "x.wasm", "plugin form 1.0.0");
    assert_eq!(
        server
            .send("POST", "/plugins", &[("content-type", &kind)], &body)
            .await
            .status,
        201
    );
    let (kind, body) = form("other", "x.csv", "a\n1\n");
    server
        .send("POST", "/datasets", &[("content-type", &kind)], &body)
        .await
        .refused(422, "no-file");
    let kind = [("content-type", "multipart/form-data")];
    server
        .send("POST", "/datasets", &kind, b"x")
        .await
        .refused(400, "malformed-form");
    let kind = [("content-type", "multipart/form-data; boundary=XX")];
    server
        .send("POST", "/datasets", &kind, b"--XX\r\nhalf")
        .await
        .refused(400, "malformed-form");
    nothing_staged(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_whether_it_is_announced_or_not() {
    let server = Server::start_with(|options, _| {
        options.max_dataset_bytes = 1000;
        options.max_plugin_bytes = 1000;
    })
    .await;
    let large = vec![b'x'; 300_000];
    server
        .send("POST", "/datasets?name=a.csv", &[], &large)
        .await
        .refused(413, "too-large");
    server
        .send("POST", "/plugins", &[], &large)
        .await
        .refused(413, "too-large");
    let (kind, body) = form("file", "form.csv", &"x".repeat(5000));
    server
        .send("POST", "/datasets", &[("content-type", &kind)], &body)
        .await
        .refused(413, "too-large");
    let mut chunked = b"POST /api/v2/ai/datasets?name=a.csv HTTP/1.1\r\nhost: localhost\r\n\
        transfer-encoding: chunked\r\n\r\n"
        .to_vec();
    for _ in 0..100 {
        chunked.extend_from_slice(format!("{:x}\r\n{}\r\n", 500, "y".repeat(500)).as_bytes());
    }
    let answer = crate::client::raw(server.at, &chunked).await.refused(413, "too-large");
    assert_eq!(answer["details"]["limit"], 1000);
    nothing_staged(&server);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_a_key_is_stored_once() {
    let server = Server::start().await;
    let key = [("idempotency-key", "k")];
    let one = server.send("POST", "/datasets?name=a.csv", &key, b"a\n1\n").await;
    let two = server.send("POST", "/datasets?name=a.csv", &key, b"a\n1\n").await;
    assert_eq!((one.status, two.status, one.data()), (201, 201, two.data()));
    assert_eq!(two.header("idempotency-replayed"), "true");
    server
        .send("POST", "/datasets?name=a.csv", &key, b"a\n2\n")
        .await
        .refused(422, "idempotency-mismatch");
    assert_eq!(
        server.get("/datasets").await.data()["items"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_in_use_stays() {
    let server = Server::start().await;
    let model = server.model().await;
    let dataset = server.get("/datasets").await.data()["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    server
        .delete(&format!("/datasets/{dataset}"))
        .await
        .refused(409, "in-use");
    server.delete(&format!("/models/{model}")).await.data();
    server.delete(&format!("/datasets/{dataset}")).await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_checked_without_being_stored() {
    let server = Server::start().await;
    let check = async |text: &str| {
        let headers = [("content-type", "application/wasm")];
        server.send("POST", "/plugins/check", &headers, text.as_bytes()).await
    };
    let checked = check("plugin dlinear 0.1.0").await.data();
    assert_eq!(
        (&checked["plugin"]["name"], &checked["known"]),
        (&json!("dlinear"), &Value::Null)
    );
    assert_eq!(server.get("/plugins").await.data()["items"], json!([]));
    let refusal = check("no plugin").await.refused(422, "not-a-plugin");
    assert_eq!(refusal["details"]["reasons"], json!(["no magic", "no exports"]));
    nothing_staged(&server);

    server.upload_plugin("plugin dlinear 0.1.0").await;
    assert_eq!(check("plugin dlinear 0.1.0").await.data()["known"], "same");
    assert_eq!(check("plugin dlinear 0.1.0 changed").await.data()["known"], "other");
    let headers = [("content-type", "text/html")];
    let answer = server.send("POST", "/plugins/check", &headers, b"plugin a 1.0.0").await;
    answer.refused(415, "unsupported-media-type");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_file_comes_back_as_it_was() {
    let server = Server::start().await;
    server.upload_plugin("plugin dlinear 0.1.0").await;
    let answer = server.get("/plugins/dlinear/versions/0.1.0/file").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "plugin dlinear 0.1.0"));
    // Neither a component nor a zip: Python source.
    assert_eq!(answer.header("content-type"), "text/x-python; charset=utf-8");
    let named = answer.header("content-disposition");
    assert_eq!(named, "attachment; filename=\"dlinear-0.1.0.py\"");
    let answer = server.get("/plugins/dlinear/versions/9.0.0/file").await;
    answer.refused(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_tried_on_rows_or_on_a_data_set() {
    let server = Server::start().await;
    let body = json!({
        "source": "plugin x 1.0.0", "rows": "a,b\n1,2\n", "seed": 7,
        "training_dataset": {"target": "b", "task": "regression"},
    });
    let tried = server.post("/plugins/try", body.clone()).await.data();
    assert_eq!(tried["metrics"]["mse"], 7);
    assert_eq!(tried["warnings"], json!(["8 bytes"]));
    assert_eq!(tried["log"][0]["message"], "b");
    let names: Vec<&Value> = tried["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["a", "loss"]);
    assert_eq!(tried["series"][1]["points"], json!([[1, 1.0, 1.0], [2, 2.0, 0.5]]));
    assert_eq!(server.get("/plugins").await.data()["items"], json!([]));

    let id = server.upload_csv("a,b\n1,2\n").await["id"].clone();
    let mut on_dataset = body.clone();
    on_dataset["training_dataset"] = json!({"source": "upload", "dataset_id": id, "target": "b"});
    let both = server.post("/plugins/try", on_dataset.clone()).await;
    both.refused(422, "invalid-body");
    on_dataset.as_object_mut().unwrap().remove("rows");
    assert_eq!(
        server.post("/plugins/try", on_dataset).await.data()["warnings"],
        json!([])
    );

    let refused = async |field: &str, value: Value, error: &str| {
        let mut body = body.clone();
        body[field] = value;
        server.post("/plugins/try", body).await.refused(422, error)
    };
    let failed = refused("source", json!("x = 1"), "not-a-plugin").await;
    assert_eq!(failed["details"]["log"], json!(["line 1"]));
    refused("training_dataset", json!({"target": "b", "nope": 1}), "invalid-dataset").await;
    refused("rows", json!(7), "invalid-body").await;
    refused("nope", json!(7), "invalid-body").await;
}
