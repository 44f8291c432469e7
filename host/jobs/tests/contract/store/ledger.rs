//! Tokens, idempotency keys, the audit log, and whether writing works.

use crate::contract::fixtures::at;
use serde_json::json;
use trainyard_jobs::{IdempotentRequest, NewToken, Replay, Scope, Store, StoreError};

pub async fn a_token_comes_back_with_its_hash(store: &dyn Store) {
    let hash = std::array::from_fn(|byte| byte as u8);
    let end = at("2030-01-01T00:00:00.000001Z");
    let token = NewToken {
        name: "ci".into(),
        hash,
        scopes: Scope::ALL.to_vec(),
        expires_at: Some(end),
    };
    let first = store.add_token(token.clone()).await.unwrap();
    assert_eq!(
        (first.name.as_str(), &first.scopes[..], first.expires_at),
        ("ci", &Scope::ALL[..], Some(end))
    );
    let error = store.add_token(token).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error:?}");

    let forever = NewToken {
        name: "ui".into(),
        hash: [255; 32],
        scopes: vec![],
        expires_at: None,
    };
    let second = store.add_token(forever).await.unwrap();
    assert_eq!(store.tokens().await.unwrap(), [(first, hash), (second, [255; 32])]);
}

pub async fn a_revoked_token_stays_listed_with_the_time(store: &dyn Store) {
    let token = NewToken {
        name: "ci".into(),
        hash: [1; 32],
        scopes: vec![Scope::Read],
        expires_at: None,
    };
    let token = store.add_token(token).await.unwrap();
    let revoked = store.revoke_token(token.id).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(store.revoke_token(token.id).await.unwrap(), revoked);
    assert_eq!(store.tokens().await.unwrap(), [(revoked, [1; 32])]);
    let error = store.revoke_token(4711).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no token 4711");
}

fn request(key: &str, fingerprint: &str) -> IdempotentRequest {
    IdempotentRequest {
        key: key.into(),
        fingerprint: fingerprint.into(),
    }
}

pub async fn a_request_with_a_key_is_answered_once(store: &dyn Store) {
    let first = request("k", "f");
    assert_eq!(store.begin_idempotent(&first).await.unwrap(), Replay::New);
    assert_eq!(store.begin_idempotent(&first).await.unwrap(), Replay::InProgress);
    assert_eq!(
        store.begin_idempotent(&request("k", "g")).await.unwrap(),
        Replay::Mismatch
    );
    assert_eq!(store.begin_idempotent(&request("l", "f")).await.unwrap(), Replay::New);

    store
        .end_idempotent(&first, Some((201, "{\"code\":200}")))
        .await
        .unwrap();
    let answered = Replay::Answered {
        status: 201,
        body: "{\"code\":200}".into(),
    };
    assert_eq!(store.begin_idempotent(&first).await.unwrap(), answered);
    assert_eq!(
        store.begin_idempotent(&request("k", "g")).await.unwrap(),
        Replay::Mismatch
    );
    // Neither another answer nor none changes what was answered.
    store.end_idempotent(&first, Some((500, "late"))).await.unwrap();
    store.end_idempotent(&first, None).await.unwrap();
    assert_eq!(store.begin_idempotent(&first).await.unwrap(), answered);
}

pub async fn a_key_without_an_answer_is_free_again(store: &dyn Store) {
    let first = request("k", "f");
    assert_eq!(store.begin_idempotent(&first).await.unwrap(), Replay::New);
    store.end_idempotent(&request("k", "g"), None).await.unwrap();
    assert_eq!(store.begin_idempotent(&first).await.unwrap(), Replay::InProgress);
    store.end_idempotent(&first, None).await.unwrap();
    assert_eq!(store.begin_idempotent(&request("k", "g")).await.unwrap(), Replay::New);
}

pub async fn of_many_requests_with_one_key_at_once_one_is_new(store: &dyn Store) {
    let requests: Vec<_> = (0..16).map(|_| request("k", "f")).collect();
    let replays = futures_util::future::join_all(requests.iter().map(|request| store.begin_idempotent(request))).await;
    let new = replays
        .into_iter()
        .filter(|replay| matches!(replay, Ok(Replay::New)))
        .count();
    assert_eq!(new, 1);
}

pub async fn the_audit_log_is_read_newest_first(store: &dyn Store) {
    for number in 0..5 {
        store
            .audit(
                "token ci",
                "model.delete",
                &format!("model {number}"),
                &json!({"n": number}),
            )
            .await
            .unwrap();
    }
    let lines = store.audit_log(2).await.unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["subject"], "model 4");
    assert_eq!(lines[0]["details"], json!({"n": 4}));
    assert_eq!(
        (&lines[1]["who"], &lines[1]["action"]),
        (&json!("token ci"), &json!("model.delete"))
    );
    assert!(lines[0]["at"].as_str().unwrap() >= lines[1]["at"].as_str().unwrap());
}

pub async fn a_store_that_works_says_so(store: &dyn Store) {
    store.check().await.unwrap();
    store.check().await.unwrap();
}
