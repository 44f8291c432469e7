//! The TDengine server, and how it is asked.

use super::Config;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use trainyard_data::tdengine::{Limits, Options, Patience};

/// What a DSN begins with: before `://`, and before a `+` there.
const SCHEMES: [&str; 6] = ["ws", "wss", "taos", "taosws", "http", "https"];
/// What a part of a DSN is called that is a secret, too.
const SECRET_PARTS: [&str; 5] = ["token", "pass", "secret", "key", "code"];

/// Which server, and how it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TdengineConfig {
    /// Where rows come from, and as whom.
    pub dsn: Option<String>,
    /// Where predictions are written, and as whom.
    pub write_dsn: Option<String>,
    /// Connections that one fetch uses at once.
    pub connections: usize,
    /// Seconds to connect and log in.
    pub connect_timeout: u64,
    /// Seconds for the answer to a query.
    pub query_timeout: u64,
    /// Seconds for each block of rows.
    pub block_timeout: u64,
    /// Rows that one job may fetch.
    pub max_rows: u64,
    /// MiB that one job may fetch.
    pub max_mb: u64,
    /// Seconds that fetching may take.
    pub max_time: u64,
    /// MiB of fetched rows that are kept.
    pub cache_mb: u64,
}

impl Default for TdengineConfig {
    fn default() -> Self {
        let Options {
            connections,
            cache_bytes,
            patience,
            limits,
            ..
        } = Options::new("", "");
        TdengineConfig {
            dsn: None,
            write_dsn: None,
            connections,
            connect_timeout: patience.connect.as_secs(),
            query_timeout: patience.query.as_secs(),
            block_timeout: patience.block.as_secs(),
            max_rows: limits.rows,
            max_mb: limits.bytes >> 20,
            max_time: limits.time.as_secs(),
            cache_mb: cache_bytes >> 20,
        }
    }
}

impl TdengineConfig {
    /// What cannot be as it is set, without a word of the secrets.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (key, dsn) in [("tdengine.dsn", &self.dsn), ("tdengine.write_dsn", &self.write_dsn)] {
            let scheme = |dsn: &String| Some(dsn.split_once("://")?.0.split('+').next()?.to_owned());
            if dsn
                .as_ref()
                .is_some_and(|dsn| !scheme(dsn).is_some_and(|s| SCHEMES.contains(&s.as_str())))
            {
                found.push((key, "it does not begin with ws://, wss:// or taos://".into()));
            }
        }
        if self.write_dsn.is_some() && self.dsn.is_none() {
            found.push(("tdengine.write_dsn", "there is no tdengine.dsn to read with".into()));
        }
        found
    }
}

impl Config {
    /// The server that is configured, with its fetched rows in a folder.
    pub fn tdengine_options(&self, folder: &Path) -> Option<Options> {
        let tdengine = &self.tdengine;
        let defaults = Options::new(tdengine.dsn.clone()?, folder);
        Some(Options {
            write_dsn: tdengine.write_dsn.clone(),
            cache_bytes: tdengine.cache_mb << 20,
            connections: tdengine.connections,
            patience: Patience {
                connect: Duration::from_secs(tdengine.connect_timeout),
                query: Duration::from_secs(tdengine.query_timeout),
                block: Duration::from_secs(tdengine.block_timeout),
                ..defaults.patience
            },
            limits: Limits {
                rows: tdengine.max_rows,
                bytes: tdengine.max_mb << 20,
                time: Duration::from_secs(tdengine.max_time),
            },
            ..defaults
        })
    }
}

/// A secret as it may be shown: of an address, all but the password and what else is secret in it.
pub fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return "(secret)".into();
    };
    // A password may have characters that should have been escaped; what follows the last @ is none of it.
    let (who, host) = rest.rsplit_once('@').unwrap_or(("", rest));
    let who = match who.split_once(':') {
        Some((user, _)) => format!("{user}:***@"),
        None if who.is_empty() => String::new(),
        None => format!("{who}@"),
    };
    let (host, query) = match host.split_once('?') {
        Some((host, query)) => (host, Some(query)),
        None => (host, None),
    };
    let part = |part: &str| match part.split_once('=') {
        Some((name, _))
            if SECRET_PARTS
                .iter()
                .any(|secret| name.to_ascii_lowercase().contains(secret)) =>
        {
            format!("{name}=***")
        }
        _ => part.to_owned(),
    };
    let query = query.map(|query| format!("?{}", query.split('&').map(part).collect::<Vec<_>>().join("&")));
    format!("{scheme}://{who}{host}{}", query.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (dsn, shown) in [
            ("ws://root:taosdata@h:6041/plant", "ws://root:***@h:6041/plant"),
            ("wss://a:p@ss:w/rd@h/plant?x=1", "wss://a:***@h/plant?x=1"),
            ("ws://a:p?q@h", "ws://a:***@h"),
            ("ws://h:6041", "ws://h:6041"),
            ("ws://reader@h", "ws://reader@h"),
            ("wss://h?token=abc&timezone=UTC", "wss://h?token=***&timezone=UTC"),
            (
                "taos://a:b@h:6030?libraryPath=/usr/lib/libtaos.so",
                "taos://a:***@h:6030?libraryPath=/usr/lib/libtaos.so",
            ),
            ("ty_abc", "(secret)"),
        ] {
            assert_eq!(without_secrets(dsn), shown);
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_told_without_the_secret() {
        let config = TdengineConfig {
            write_dsn: Some("root:taosdata@h".into()),
            ..TdengineConfig::default()
        };
        let problems = config.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(!format!("{problems:?}").contains("taosdata"));
    }

    #[test]
    fn the_defaults_are_those_of_the_source() {
        let config = Config {
            tdengine: TdengineConfig {
                dsn: Some("ws://h".into()),
                ..TdengineConfig::default()
            },
            ..Config::default()
        };
        let options = config.tdengine_options(Path::new("f")).unwrap();
        assert_eq!(format!("{options:?}"), format!("{:?}", Options::new("ws://h", "f")));
        assert!(Config::default().tdengine_options(Path::new("f")).is_none());
    }
}
