//! `trainyard token`: tokens, made and revoked in the database itself, so that the first one needs no token.

use crate::args::{PlaceOptions, TokenCommand};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::{output, service};
use comfy_table::{Table, presets};
use serde_json::json;
use std::time::Duration;
use trainyard_jobs::{NewToken, Scope, Store, StoreError, Timestamp, Token};
use trainyard_parameters::one_line;

/// Does what was asked for.
pub fn command(place: &PlaceOptions, command: &TokenCommand, json: bool) -> Result<()> {
    let config = Config::load(place.flags(), place.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Service(format!("the database cannot be opened: {error}")))?;
    runtime.block_on(async {
        let store = &*service::open_store(&config).await?;
        match command {
            TokenCommand::Create { name, scopes, expires } => {
                create(store, name, scopes, expires.as_deref(), json).await
            }
            TokenCommand::List => list(store, json).await,
            TokenCommand::Revoke { id } => revoke(store, *id, json).await,
        }
    })
}

async fn create(store: &dyn Store, name: &str, scopes: &[String], expires: Option<&str>, json: bool) -> Result<()> {
    let name = name.trim();
    if !(1..=100).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(Failure::Usage(
            "a token's name has 1 to 100 characters, in one line".into(),
        ));
    }
    let scopes = read_scopes(scopes)?;
    let expires_at = expires.map(end).transpose()?;
    let (secret, hash) = trainyard_server::tokens::generate();
    let token = NewToken {
        name: name.to_owned(),
        hash,
        scopes,
        expires_at,
    };
    let token = store.add_token(token).await.map_err(failed)?;
    if json {
        output::print_json(&json!({"event": "result", "token": token, "secret": secret}));
        return Ok(());
    }
    output::print(&secret);
    eprintln!(
        "token {}: {} may {}{}",
        token.id,
        one_line(&token.name),
        spelled(&token),
        token
            .expires_at
            .map(|at| format!(" until {}", time(&at)))
            .unwrap_or_default()
    );
    eprintln!(
        "This is the only time that it is shown. Use it: export TRAINYARD_TOKEN=…, or the header `Authorization: Bearer …`"
    );
    Ok(())
}

async fn list(store: &dyn Store, json: bool) -> Result<()> {
    let tokens = store.tokens().await.map_err(failed)?;
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_BORDERS_ONLY)
        .set_header(["token", "name", "may", "made", "ends", "state"]);
    for (token, _) in &tokens {
        if json {
            output::print_json(&json!(token));
            continue;
        }
        table.add_row([
            token.id.to_string(),
            one_line(&token.name),
            spelled(token),
            time(&token.created_at),
            token.expires_at.as_ref().map_or_else(|| "never".into(), time),
            state(token, chrono::Utc::now()),
        ]);
    }
    if !json {
        output::print(&match table.is_empty() {
            true => {
                "there are no tokens, so only this machine is served; `trainyard token create NAME` makes one".into()
            }
            false => table.to_string(),
        });
    }
    Ok(())
}

async fn revoke(store: &dyn Store, id: i64, json: bool) -> Result<()> {
    let token = store.revoke_token(id).await.map_err(failed)?;
    if json {
        output::print_json(&json!({"event": "result", "token": token}));
    } else {
        output::print(&format!("token {} ({}) is revoked", token.id, one_line(&token.name)));
    }
    Ok(())
}

fn failed(error: StoreError) -> Failure {
    match error {
        StoreError::NotFound { .. } => Failure::Usage(format!("{error}; `trainyard token list` shows all")),
        error => Failure::Service(error.to_string()),
    }
}

fn read_scopes(names: &[String]) -> Result<Vec<Scope>> {
    let mut scopes = Vec::new();
    for name in names {
        let scope = Scope::parse(&name.trim().to_lowercase()).ok_or_else(|| {
            let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
            Failure::Usage(format!("there is no scope `{name}`; there are {}", all.join(", ")))
        })?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

fn spelled(token: &Token) -> String {
    token
        .scopes
        .iter()
        .map(|scope| scope.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn state(token: &Token, now: Timestamp) -> String {
    match (&token.revoked_at, &token.expires_at) {
        (Some(at), _) => format!("revoked {}", time(at)),
        (None, Some(at)) if *at <= now => "expired".into(),
        _ => "valid".into(),
    }
}

fn time(at: &Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// When something ends that lasts for `30d`.
fn end(text: &str) -> Result<Timestamp> {
    let wrong = || Failure::Usage(format!("`{text}` is no time; write it as 12h, 30d or 8w"));
    let lasts = lasts(text).ok_or_else(wrong)?;
    let lasts = chrono::TimeDelta::from_std(lasts).map_err(|_| wrong())?;
    chrono::Utc::now().checked_add_signed(lasts).ok_or_else(wrong)
}

/// The time that `90m`, `12h`, `30d` or `8w` say.
fn lasts(text: &str) -> Option<Duration> {
    let (unit, size) = [("m", 60), ("h", 3600), ("d", 86400), ("w", 7 * 86400)]
        .into_iter()
        .find(|(unit, _)| text.ends_with(unit))?;
    let count: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
    // A century is as good as never, which is said by leaving it out.
    let seconds = count
        .checked_mul(size)
        .filter(|seconds| (1..=100 * 366 * 86400).contains(seconds))?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(lasts("90m"), Some(Duration::from_secs(5400)));
        assert_eq!(lasts("12h"), Some(Duration::from_secs(43200)));
        assert_eq!(lasts("30d"), Some(Duration::from_secs(30 * 86400)));
        assert_eq!(lasts("8w"), Some(Duration::from_secs(56 * 86400)));
        for wrong in [
            "",
            "30",
            "d",
            "-1d",
            "0d",
            "1y",
            "1.5d",
            "99999999999999999999d",
            "9999999w",
        ] {
            assert_eq!(lasts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn scopes_are_read_and_counted_once() {
        let read = |names: &[&str]| read_scopes(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(read(&["read", "Submit", "read"]).unwrap(), [Scope::Read, Scope::Submit]);
        assert!(
            read(&["write"])
                .unwrap_err()
                .to_string()
                .contains("read, submit, upload, admin")
        );
    }
}
