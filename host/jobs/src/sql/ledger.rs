//! Who may do what and who did what: tokens, idempotency keys, the audit log.

use super::database::Database;
use super::dialect::SqlRow;
use super::rows::{from_json, from_optional_time, from_time, json, now, time};
use crate::{IdempotentRequest, NewToken, Replay, StoreError, Token};
use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json as object};
use sqlx::Row;

/// How long an idempotency key is remembered.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// A request that is not answered after so long never will be: its server died. No upload may take longer.
const ABANDONED: TimeDelta = TimeDelta::hours(1);

fn read_token(row: &SqlRow) -> Result<Token, sqlx::Error> {
    Ok(Token {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        scopes: from_json(row, "scopes")?,
        created_at: from_time(row, "created_at")?,
        expires_at: from_optional_time(row, "expires_at")?,
        revoked_at: from_optional_time(row, "revoked_at")?,
    })
}

pub(super) async fn add_token(database: &Database, token: NewToken) -> Result<Token, StoreError> {
    let mut transaction = database.write().await?;
    let inserted = sqlx::query(
        "INSERT INTO tokens (name, hash, scopes, created_at, expires_at) VALUES ($1, $2, $3, $4, $5) RETURNING *",
    )
    .bind(&token.name)
    .bind(&token.hash[..])
    .bind(json(&token.scopes)?)
    .bind(time(&now()))
    .bind(token.expires_at.as_ref().map(time))
    .fetch_one(&mut *transaction)
    .await;
    let token = match inserted {
        Ok(row) => read_token(&row)?,
        Err(error)
            if error
                .as_database_error()
                .is_some_and(|error| error.is_unique_violation()) =>
        {
            return Err(StoreError::Conflict("there is a token with this secret already".into()));
        }
        Err(error) => return Err(error.into()),
    };
    transaction.commit().await?;
    Ok(token)
}

pub(super) async fn tokens(database: &Database) -> Result<Vec<(Token, [u8; 32])>, StoreError> {
    let rows = sqlx::query("SELECT * FROM tokens ORDER BY id")
        .fetch_all(&database.readers)
        .await?;
    let mut tokens = Vec::with_capacity(rows.len());
    for row in &rows {
        let hash: &[u8] = row.try_get("hash")?;
        let hash = hash
            .try_into()
            .map_err(|_| StoreError::Unavailable("a token's hash in the database is not 32 bytes long".into()))?;
        tokens.push((read_token(row)?, hash));
    }
    Ok(tokens)
}

pub(super) async fn revoke_token(database: &Database, id: i64) -> Result<Token, StoreError> {
    let mut transaction = database.write().await?;
    let row = sqlx::query("UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING *")
        .bind(id)
        .bind(time(&now()))
        .fetch_optional(&mut *transaction)
        .await?;
    let token = read_token(&row.ok_or_else(|| StoreError::NotFound {
        what: "token",
        id: id.to_string(),
    })?)?;
    transaction.commit().await?;
    Ok(token)
}

pub(super) async fn begin(database: &Database, request: &IdempotentRequest) -> Result<Replay, StoreError> {
    let now = now();
    let mut transaction = database.write().await?;
    sqlx::query("DELETE FROM idempotency_keys WHERE created_at < $1 OR (status IS NULL AND created_at < $2)")
        .bind(time(&(now - KEPT)))
        .bind(time(&(now - ABANDONED)))
        .execute(&mut *transaction)
        .await?;
    let reserved = sqlx::query(
        "INSERT INTO idempotency_keys (key, fingerprint, created_at) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING",
    )
    .bind(&request.key)
    .bind(&request.fingerprint)
    .bind(time(&now))
    .execute(&mut *transaction)
    .await?;
    if reserved.rows_affected() > 0 {
        transaction.commit().await?;
        return Ok(Replay::New);
    }
    let known = sqlx::query("SELECT fingerprint, status, body FROM idempotency_keys WHERE key = $1")
        .bind(&request.key)
        .fetch_optional(&mut *transaction)
        .await?;
    let replay = match known {
        // Whoever had it gave it free this instant; asking again will do.
        None => Replay::InProgress,
        Some(row) if row.try_get::<&str, _>("fingerprint")? != request.fingerprint => Replay::Mismatch,
        Some(row) => match (
            row.try_get::<Option<i32>, _>("status")?
                .and_then(|status| u16::try_from(status).ok()),
            row.try_get::<Option<String>, _>("body")?,
        ) {
            (Some(status), Some(body)) => Replay::Answered { status, body },
            _ => Replay::InProgress,
        },
    };
    transaction.commit().await?;
    Ok(replay)
}

pub(super) async fn end(
    database: &Database,
    request: &IdempotentRequest,
    answer: Option<(u16, &str)>,
) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    // An answer that was given once stays.
    match answer {
        Some((status, body)) => {
            sqlx::query(
                "UPDATE idempotency_keys SET status = $3, body = $4
                 WHERE key = $1 AND fingerprint = $2 AND status IS NULL",
            )
            .bind(&request.key)
            .bind(&request.fingerprint)
            .bind(i32::from(status))
            .bind(body)
            .execute(&mut *transaction)
            .await?;
        }
        None => {
            sqlx::query("DELETE FROM idempotency_keys WHERE key = $1 AND fingerprint = $2 AND status IS NULL")
                .bind(&request.key)
                .bind(&request.fingerprint)
                .execute(&mut *transaction)
                .await?;
        }
    }
    Ok(transaction.commit().await?)
}

pub(super) async fn audit(
    database: &Database,
    who: &str,
    action: &str,
    subject: &str,
    details: &Value,
) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    sqlx::query("INSERT INTO audit_log (at, who, action, subject, details) VALUES ($1, $2, $3, $4, $5)")
        .bind(time(&now()))
        .bind(who)
        .bind(action)
        .bind(subject)
        .bind(json(details)?)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}

pub(super) async fn audit_log(database: &Database, limit: u32) -> Result<Vec<Value>, StoreError> {
    let rows = sqlx::query("SELECT at, who, action, subject, details FROM audit_log ORDER BY id DESC LIMIT $1")
        .bind(i64::from(limit))
        .fetch_all(&database.readers)
        .await?;
    let mut lines = Vec::with_capacity(rows.len());
    for row in &rows {
        lines.push(object!({
            "at": from_time(row, "at")?.to_rfc3339_opts(SecondsFormat::Micros, true),
            "who": row.try_get::<&str, _>("who")?,
            "action": row.try_get::<&str, _>("action")?,
            "subject": row.try_get::<&str, _>("subject")?,
            "details": from_json::<Value>(row, "details")?,
        }));
    }
    Ok(lines)
}

pub(super) async fn check(database: &Database) -> Result<(), StoreError> {
    let mut transaction = database.write().await?;
    sqlx::query("INSERT INTO health (one, checked_at) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET checked_at = $1")
        .bind(time(&now()))
        .execute(&mut *transaction)
        .await?;
    Ok(transaction.commit().await?)
}
