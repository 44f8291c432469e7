//! Tokens, tickets, and the log of who changed what.

use crate::answer::{Envelope, Reply, created, ok};
use crate::app::App;
use crate::auth::{Admin, Reader, TICKET_LIFETIME};
use crate::error::ApiError;
use crate::extract::{Json, NoQuery, Query, Segments};
use crate::{paging, schema, tokens};
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use trainyard_jobs::{NewToken, Scope, Token};
use utoipa::{IntoParams, ToSchema};

/// Which token.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct TokenPath {
    /// The token's number.
    #[param(minimum = 1, example = 1)]
    id: i64,
}

/// What a token is to allow.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTokenBody {
    /// What it is for; it stands in the audit log.
    #[schema(min_length = 1, max_length = 100, example = "nightly trainings")]
    name: String,
    /// What it allows. Every scope allows to look; `admin` is everything.
    #[schema(value_type = Vec<schema::Scope>, min_items = 1)]
    scopes: Vec<Scope>,
    /// When it ends; absent: never.
    expires_at: Option<DateTime<Utc>>,
}

/// A new token, with the secret that is shown this once.
#[derive(Serialize, ToSchema)]
pub struct CreatedToken {
    /// What to send as `Authorization: Bearer …`. It cannot be read again.
    #[schema(example = "ty_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG")]
    secret: String,
    /// The token as it is listed.
    #[schema(value_type = schema::Token)]
    token: Token,
}

/// A ticket.
#[derive(Serialize, ToSchema)]
pub struct Ticket {
    /// What to put in a URL as `?ticket=…`, once.
    ticket: String,
    /// Seconds for which it is good.
    #[schema(example = 60)]
    expires_in: u64,
}

/// How much of the audit log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// So many lines at most, the newest; 50 when it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the tokens, without their secrets.
#[utoipa::path(get, path = "/tokens", tag = "access",
    responses((status = 200, description = "All tokens, ended ones too", body = Envelope<schema::All<schema::Token>>)))]
pub async fn list(State(app): State<Arc<App>>, _: Admin, _: NoQuery) -> Reply<Value> {
    let tokens: Vec<Token> = app
        .services
        .store
        .tokens()
        .await?
        .into_iter()
        .map(|(token, _)| token)
        .collect();
    ok(json!({"items": tokens}))
}

/// Makes a token. From the first one on, every request needs one.
#[utoipa::path(post, path = "/tokens", tag = "access", request_body = NewTokenBody,
    responses((status = 201, description = "The token and its secret", body = Envelope<CreatedToken>)))]
pub async fn create(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    _: NoQuery,
    Json(body): Json<NewTokenBody>,
) -> Reply<CreatedToken> {
    let refused = |message: &str| Err(ApiError::unprocessable("invalid-body", message));
    let length = body.name.chars().count();
    if body.name.trim().is_empty() || length > 100 || body.name.chars().any(char::is_control) {
        return refused("name has 1 to 100 characters, and no control characters");
    }
    if body.name == "local" {
        return refused("name may not be `local`: so the audit log calls those who need no token");
    }
    if body.scopes.is_empty() {
        return refused("scopes must name at least one of read, submit, upload, admin");
    }
    if body.expires_at.is_some_and(|end| end <= Utc::now()) {
        return refused("expires_at is over already");
    }
    let (secret, hash) = tokens::generate();
    let mut scopes = body.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    let token = NewToken {
        name: body.name,
        hash,
        scopes,
        expires_at: body.expires_at,
    };
    let token = app.services.store.add_token(token).await?;
    app.auth.changed().await;
    let details = json!({"name": token.name, "scopes": token.scopes, "expires_at": token.expires_at});
    app.audit(&caller, "create-token", format!("token {}", token.id), details)
        .await;
    created(CreatedToken { secret, token })
}

/// Revokes a token. It stays in the list.
#[utoipa::path(delete, path = "/tokens/{id}", tag = "access", params(TokenPath),
    responses((status = 200, description = "The token", body = Envelope<schema::Token>)))]
pub async fn revoke(
    State(app): State<Arc<App>>,
    Admin(caller): Admin,
    Segments(path): Segments<TokenPath>,
    _: NoQuery,
) -> Reply<Token> {
    let token = app.services.store.revoke_token(path.id).await?;
    app.auth.changed().await;
    app.audit(
        &caller,
        "revoke-token",
        format!("token {}", token.id),
        json!({"name": token.name}),
    )
    .await;
    ok(token)
}

/// Gives a ticket for one GET request of a client that cannot send a header, such as a browser's EventSource.
#[utoipa::path(post, path = "/tickets", tag = "access",
    responses((status = 200, description = "The ticket", body = Envelope<Ticket>)))]
pub async fn ticket(State(app): State<Arc<App>>, Reader(caller): Reader, _: NoQuery) -> Reply<Ticket> {
    ok(Ticket {
        ticket: app.auth.tickets.issue(caller),
        expires_in: TICKET_LIFETIME.as_secs(),
    })
}

/// Reads who changed what, newest first.
#[utoipa::path(get, path = "/audit", tag = "access", params(AuditQuery),
    responses((status = 200, description = "Lines of the audit log",
        body = Envelope<schema::All<schema::AuditLine>>)))]
pub async fn audit(State(app): State<Arc<App>>, _: Admin, Query(query): Query<AuditQuery>) -> Reply<Value> {
    let limit = paging::within("limit", query.limit.unwrap_or(50), 1, 1000)?;
    ok(json!({"items": app.services.store.audit_log(limit).await?}))
}
