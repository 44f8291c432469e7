//! The rule while there are no tokens: only this machine, and no page of another site through a browser on it.
//!
//! A page elsewhere can send requests to `localhost` (it shows its `Origin` then), and with DNS rebinding it can even
//! give this machine's address a name of its own (the `Host` is that name then). Both are refused.

use crate::error::ApiError;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use std::net::IpAddr;
use trainyard_parameters::quoted;

/// What a reverse proxy adds. Behind one on this machine, the whole world would come from here.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Refuses what does not come from this machine itself.
pub fn check(peer: IpAddr, headers: &HeaderMap) -> Result<(), ApiError> {
    if !peer.to_canonical().is_loopback() {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "no-tokens",
            format!("{peer} is not this machine, and there is no token yet"),
        )
        .remedy("make one on the server's machine with `trainyard token create`"));
    }
    if let Some(name) = FORWARDED.iter().find(|name| headers.contains_key(**name)) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "no-tokens",
            format!("the request was passed on by a proxy (it has {name}), and there is no token yet"),
        )
        .remedy("make one on the server's machine with `trainyard token create`"));
    }
    let host = only(headers, &header::HOST)
        .filter(|host| is_local(host))
        .ok_or_else(|| {
            let given = headers
                .get(header::HOST)
                .map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
            ApiError::new(
                StatusCode::FORBIDDEN,
                "foreign-host",
                format!(
                    "the Host header is {}, not this machine",
                    quoted(&given.unwrap_or_default())
                ),
            )
            .remedy("use localhost or 127.0.0.1, or make a token with `trainyard token create`")
        })?;
    if !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    // Another port is another origin: another program of this machine, or of another user on it.
    let own = only(headers, &header::ORIGIN).and_then(|origin| origin.split_once("://"));
    if own.is_some_and(|(scheme, rest)| matches!(scheme, "http" | "https") && rest.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "foreign-origin",
        "the request comes from a page of another site",
    )
    .remedy("make a token with `trainyard token create` and send it"))
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str, origin: Option<&str>) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check("127.0.0.1".parse().unwrap(), &headers).map_err(|error| error.name().to_owned())
    }

    #[test]
    fn this_machine_has_three_names() {
        for host in [
            "localhost",
            "localhost:8000",
            "LOCALHOST:1",
            "127.0.0.1:8000",
            "[::1]:8000",
            "[::1]",
        ] {
            assert_eq!(asked(host, None), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "localhost:",
            "a:localhost",
        ] {
            assert_eq!(asked(host, None), Err("foreign-host".into()), "{host}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        assert_eq!(asked("localhost:8000", Some("http://localhost:8000")), Ok(()));
        for origin in [
            "null",
            "http://evil.example",
            "http://localhost:3000",
            "http://localhost:8000.evil.example",
            "x",
        ] {
            assert_eq!(
                asked("localhost:8000", Some(origin)),
                Err("foreign-origin".into()),
                "{origin}"
            );
        }
    }

    #[test]
    fn other_machines_are_refused_also_behind_a_proxy_on_this_one() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:8000".parse().unwrap());
        headers.insert("x-forwarded-for", "203.0.113.7".parse().unwrap());
        let refused = check("127.0.0.1".parse().unwrap(), &headers).unwrap_err();
        assert_eq!(refused.name(), "no-tokens");
        let refused = check("10.0.0.1".parse().unwrap(), &HeaderMap::new()).unwrap_err();
        assert_eq!(refused.name(), "no-tokens");
    }
}
