//! Who may do what.

use crate::client;
use crate::fixture::Server;
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use std::time::Duration;
use trainyard_jobs::Scope;

async fn as_(server: &Server, token: &str, method: &str, path: &str) -> client::Answer {
    let body = if method == "POST" { b"{}".as_slice() } else { b"" };
    server
        .send(
            method,
            path,
            &[("authorization", token), ("content-type", "application/json")],
            body,
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tokens_only_this_machine_itself_is_served() {
    let server = Server::start().await;
    let port = server.at.port();
    for host in ["localhost", "127.0.0.1", "[::1]", &format!("localhost:{port}")] {
        assert_eq!(
            server.send("GET", "/models", &[("host", host)], b"").await.status,
            200,
            "{host}"
        );
    }
    // A name of another site that leads here: DNS rebinding.
    let answer = server.send("GET", "/models", &[("host", "evil.example")], b"").await;
    assert!(
        answer.refused(403, "foreign-host")["remedy"]
            .as_str()
            .unwrap()
            .contains("token create")
    );
    // A page of another site.
    let own = format!("http://localhost:{port}");
    let host = format!("localhost:{port}");
    for (origin, status) in [
        (own.as_str(), 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost:1", 403),
    ] {
        let headers = [("host", host.as_str()), ("origin", origin)];
        assert_eq!(
            server.send("GET", "/models", &headers, b"").await.status,
            status,
            "{origin}"
        );
    }
    let upgrade = [
        ("origin", "http://evil.example"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ];
    server
        .send("GET", "/models/1/logs/stream", &upgrade, b"")
        .await
        .refused(403, "foreign-origin");
    // No answer invites pages of other sites.
    let answer = server.get("/models").await;
    assert!(
        answer.headers.keys().all(|name| !name.starts_with("access-control")),
        "{:?}",
        answer.headers
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_token_on_everything_but_the_public_needs_one() {
    let server = Server::start().await;
    let made = server
        .post("/tokens", json!({"name": "boss", "scopes": ["admin", "admin"]}))
        .await;
    assert_eq!(made.status, 201);
    let made = made.data();
    assert_eq!(made["token"]["scopes"], json!(["admin"]));
    let boss = format!("Bearer {}", made["secret"].as_str().unwrap());
    let answer = server.get("/models").await;
    answer.refused(401, "unauthorized");
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"trainyard\"");
    for path in [
        "//healthz",
        "//readyz",
        "//openapi.json",
        "//docs",
        "//docs/docs.js",
        "//docs/docs.css",
        "//",
    ] {
        assert!(server.get(path).await.status < 400, "{path}");
    }
    server.get("//metrics").await.refused(401, "unauthorized");
    server.get("//nowhere").await.refused(401, "unauthorized");
    assert_eq!(as_(&server, &boss, "GET", "/models").await.status, 200);
    // With a token, neither name nor origin matter: no page can have it.
    let headers = [
        ("authorization", boss.as_str()),
        ("host", "train.example"),
        ("origin", "https://a.example"),
    ];
    assert_eq!(server.send("GET", "/models", &headers, b"").await.status, 200);

    let list = as_(&server, &boss, "GET", "/tokens").await.data();
    assert_eq!(list["items"][0]["name"], "boss");
    let secret = made["secret"].as_str().unwrap();
    assert!(!list.to_string().contains(secret) && !list.to_string().contains("hash"));
    let audit = as_(&server, &boss, "GET", "/audit?limit=1").await.data();
    assert_eq!(
        (&audit["items"][0]["action"], &audit["items"][0]["who"]),
        (&json!("create-token"), &json!("local"))
    );
    assert!(!audit.to_string().contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_opens_its_own_doors() {
    let server = Server::start().await;
    let read = server.token("reader", &[Scope::Read], None).await;
    let submit = server.token("submitter", &[Scope::Submit], None).await;
    let upload = server.token("uploader", &[Scope::Upload], None).await;
    let admin = server.token("admin", &[Scope::Admin], None).await;
    // Whoever is let in gets 404 or 422 for what does not exist; the others 403.
    let doors: [(&str, &str, &[&str]); 8] = [
        ("GET", "/models", &[&read, &submit, &upload, &admin]),
        ("POST", "/tickets", &[&read, &submit, &upload, &admin]),
        ("POST", "/models/1/train", &[&submit, &admin]),
        ("POST", "/models/1/evaluate", &[&submit, &admin]),
        ("DELETE", "/models/1", &[&submit, &admin]),
        ("POST", "/datasets?name=a.csv", &[&upload, &admin]),
        ("DELETE", "/plugins/x/versions/1", &[&upload, &admin]),
        ("GET", "/audit", &[&admin]),
    ];
    for (method, path, allowed) in doors {
        for token in [&read, &submit, &upload, &admin] {
            let answer = as_(&server, token, method, path).await;
            assert_eq!(
                answer.status != 403,
                allowed.contains(&token.as_str()),
                "{method} {path}: {}",
                answer.text()
            );
        }
    }
    let refused = as_(&server, &read, "POST", "/models/1/train")
        .await
        .refused(403, "missing-scope");
    assert_eq!(refused["details"]["scope"], "submit");
    assert!(refused["message"].as_str().unwrap().contains("`submit`"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_end_when_they_expire_or_are_revoked() {
    let server = Server::start().await;
    let admin = server.token("admin", &[Scope::Admin], None).await;
    let short = server
        .token(
            "short",
            &[Scope::Read],
            Some(Utc::now() + TimeDelta::milliseconds(2500)),
        )
        .await;
    let other = server.token("other", &[Scope::Read], None).await;
    assert_eq!(as_(&server, &short, "GET", "/models").await.status, 200);
    tokio::time::sleep(Duration::from_millis(2000)).await;
    as_(&server, &short, "GET", "/models")
        .await
        .refused(401, "unauthorized");
    assert_eq!(as_(&server, &other, "GET", "/models").await.status, 200);
    let revoked = as_(&server, &admin, "DELETE", "/tokens/3").await.data();
    assert!(revoked["revoked_at"].is_string());
    as_(&server, &other, "GET", "/models")
        .await
        .refused(401, "unauthorized");
    as_(&server, &admin, "DELETE", "/tokens/99")
        .await
        .refused(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_the_last_token_is_revoked_opens_nothing() {
    let server = Server::start().await;
    assert_eq!(server.get("/models").await.status, 200, "there never was a token");
    let admin = server.token("admin", &[Scope::Admin], None).await;
    as_(&server, &admin, "DELETE", "/tokens/1").await.data();
    server.get("/models").await.refused(401, "unauthorized");
    as_(&server, &admin, "GET", "/models")
        .await
        .refused(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_ends_open_streams() {
    let server = Server::start_with(|options, _| options.look = Duration::from_millis(100)).await;
    let model = server.model().await;
    server.train(model).await;
    let token = server.token("reader", &[Scope::Read], None).await;
    let path = format!("/models/{model}/logs/stream?follow=true");
    let mut events = server.events(&path, &[("authorization", &token)]).await;
    assert!(events.next().await.is_some());
    // By another process, such as the command line.
    server.services.store.revoke_token(1).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), events.rest())
        .await
        .expect("the stream ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_counted_and_good_ones_let_in_all_the_same() {
    let server = Server::start_with(|options, _| options.auth_failures_per_minute = 3).await;
    let token = server.token("good", &[Scope::Read], None).await;
    for wrong in ["Bearer ty_wrong", "Basic eDp5", "Bearer"] {
        as_(&server, wrong, "GET", "/models").await.refused(401, "unauthorized");
    }
    let answer = as_(&server, "Bearer ty_again", "GET", "/models").await;
    answer.refused(429, "too-many-failures");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(as_(&server, &token, "GET", "/models").await.status, 200);
    // Two of them: nobody knows which counts.
    let both = [("authorization", token.as_str()), ("authorization", "Bearer ty_x")];
    assert_eq!(server.send("GET", "/models", &both, b"").await.status, 429);
    let text = as_(&server, &token, "GET", "//metrics").await.text();
    assert!(
        text.contains("trainyard_auth_failures_total{kind=\"unauthorized\"} 3"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_get() {
    let server = Server::start().await;
    let token = server.token("reader", &[Scope::Read], None).await;
    let ticket = async || {
        let data = as_(&server, &token, "POST", "/tickets").await.data();
        assert_eq!(data["expires_in"], 60);
        data["ticket"].as_str().unwrap().to_owned()
    };
    let one = ticket().await;
    assert_eq!(server.get(&format!("/models?limit=3&ticket={one}")).await.status, 200);
    server
        .get(&format!("/models?ticket={one}"))
        .await
        .refused(401, "unauthorized");
    let two = ticket().await;
    server
        .send("POST", &format!("/tickets?ticket={two}"), &[], b"")
        .await
        .refused(401, "unauthorized");
    // A ticket is good for what its token is, as long as that is.
    server
        .get(&format!("/audit?ticket={two}"))
        .await
        .refused(403, "missing-scope");
    let three = ticket().await;
    server.services.store.revoke_token(1).await.unwrap();
    let admin = server.token("admin", &[Scope::Admin], None).await;
    server
        .get(&format!("/models?ticket={three}"))
        .await
        .refused(401, "unauthorized");
    as_(&server, &admin, "GET", "/models").await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_would_be_of_no_use_is_not_made() {
    let server = Server::start().await;
    let refused = async |body: Value, says: &str| {
        let answer = server.post("/tokens", body).await.refused(422, "invalid-body");
        assert!(answer["message"].as_str().unwrap().contains(says), "{answer}");
    };
    refused(json!({"name": "x", "scopes": []}), "at least one").await;
    refused(
        json!({"name": "x", "scopes": ["root"]}),
        "scopes[0]: unknown variant `root`",
    )
    .await;
    refused(json!({"name": " ", "scopes": ["read"]}), "1 to 100").await;
    refused(json!({"name": "local", "scopes": ["read"]}), "local").await;
    refused(
        json!({"name": "x", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}),
        "over",
    )
    .await;
    refused(
        json!({"name": "x", "scopes": ["read"], "expires_at": "soon"}),
        "expires_at",
    )
    .await;
    // So this machine is still served without.
    assert_eq!(server.get("/models").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_are_not_keys_of_another() {
    let server = Server::start().await;
    server.upload_plugin("plugin dlinear 0.1.0").await.data();
    let one = server.token("one", &[Scope::Submit], None).await;
    let two = server.token("two", &[Scope::Submit], None).await;
    let mut made = Vec::new();
    for token in [&one, &two] {
        let headers = [("authorization", token.as_str()), ("idempotency-key", "same")];
        let body = json!({"name": "x", "plugin": "dlinear"});
        made.push(server.with_json("POST", "/models", &headers, body).await.data()["id"].clone());
    }
    assert_ne!(made[0], made[1]);
}
