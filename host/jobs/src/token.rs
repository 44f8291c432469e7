//! Bearer tokens. The secret is shown once, when it is made; only its hash is kept.

use crate::Timestamp;
use serde::{Deserialize, Serialize};

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To look at everything but tokens.
    Read,
    /// To make, change, train, stop and delete models, and to predict.
    Submit,
    /// To upload and delete plugins and data sets.
    Upload,
    /// Everything, tokens included.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Read, Scope::Submit, Scope::Upload, Scope::Admin];

    /// The name in rows and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Submit => "submit",
            Scope::Upload => "upload",
            Scope::Admin => "admin",
        }
    }

    /// The scope of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// A token as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What it is for.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends; absent: never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// A token to keep.
#[derive(Debug, Clone, PartialEq)]
pub struct NewToken {
    /// What it is for.
    pub name: String,
    /// SHA-256 of the secret. The secret is 32 random bytes, so a slow hash would gain nothing.
    pub hash: [u8; 32],
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it ends; absent: never.
    pub expires_at: Option<Timestamp>,
}
