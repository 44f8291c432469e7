//! What a client asks, as text or as bytes.

use serde::Deserialize;

/// One request, with the number that its answer carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Version {
        req_id: u64,
    },
    Login {
        req_id: u64,
        user: String,
        password: String,
        database: String,
    },
    /// `action` is what the answer calls itself.
    Query {
        req_id: u64,
        sql: String,
        action: &'static str,
    },
    Fetch {
        req_id: u64,
        id: u64,
    },
    FetchBlock {
        req_id: u64,
        id: u64,
    },
    /// Count and block in one answer.
    FetchRawBlock {
        req_id: u64,
        id: u64,
    },
    FreeResult {
        id: u64,
    },
    /// What this server cannot do, and why, in the words of the answer.
    Unknown {
        req_id: u64,
        action: String,
        reason: String,
    },
    /// No answer is possible.
    Malformed,
}

#[derive(Deserialize)]
struct Text {
    action: String,
    #[serde(default)]
    args: Args,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Args {
    req_id: u64,
    id: u64,
    sql: String,
    user: String,
    password: String,
    db: String,
}

impl Request {
    /// A request of JSON: `{"action": ..., "args": {...}}`.
    pub fn from_text(text: &str) -> Self {
        let Ok(Text { action, args }) = serde_json::from_str(text) else {
            return Self::Malformed;
        };
        let Args {
            req_id,
            id,
            sql,
            user,
            password,
            db,
        } = args;
        match action.as_str() {
            "version" => Self::Version { req_id },
            "conn" => Self::Login {
                req_id,
                user,
                password,
                database: db,
            },
            "query" => Self::Query {
                req_id,
                sql,
                action: "query",
            },
            "fetch" => Self::Fetch { req_id, id },
            "fetch_block" => Self::FetchBlock { req_id, id },
            "free_result" => Self::FreeResult { id },
            _ => Self::Unknown {
                req_id,
                reason: format!("unknown action {action}"),
                action,
            },
        }
    }

    /// A request of bytes, little-endian: `u64` request, `u64` message or result, `u64` action, `u16` version 1; then
    /// for a query (action 6) a `u32` length and the statement. Action 7 fetches from the result.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let (Some(req_id), Some(id), Some(action)) = (number(0), number(8), number(16)) else {
            return Self::Malformed;
        };
        let unknown = |action: &str, reason: String| Self::Unknown {
            req_id,
            action: action.to_owned(),
            reason,
        };
        let name = match action {
            6 => "binary_query",
            7 => "fetch_raw_block",
            _ => return unknown("unknown", format!("unknown binary action {action}")),
        };
        match bytes.get(24..26) {
            Some([1, 0]) => {}
            Some(version) => {
                let version = u16::from_le_bytes([version[0], version[1]]);
                return unknown(name, format!("unknown {} version:{version}", name.replace('_', " ")));
            }
            None => return unknown(name, "message length is too short".to_owned()),
        }
        if action == 7 {
            return Self::FetchRawBlock { req_id, id };
        }
        let Some(length) = bytes
            .get(26..30)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
        else {
            return unknown(name, "message length is too short".to_owned());
        };
        match bytes.get(30..30 + length) {
            Some(sql) => Self::Query {
                req_id,
                sql: String::from_utf8_lossy(sql).into_owned(),
                action: name,
            },
            None => {
                let rest = bytes.len() - 30;
                unknown(
                    name,
                    format!("uncompleted message, sql length:{length}, remainMessageLength:{rest}"),
                )
            }
        }
    }
}
