//! Whoever sent a request, and the extractors by which a handler says what it needs.

use crate::error::ApiError;
use axum::extract::FromRequestParts;
use axum::http::{StatusCode, request::Parts};
use trainyard_jobs::{Scope, Token};

/// Whoever sent a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Caller {
    /// The token's name, or `local`.
    pub who: String,
    /// The token's number; none where no token is needed.
    pub token: Option<i64>,
    scopes: Vec<Scope>,
}

impl Caller {
    /// Someone on this machine, while there are no tokens. May do everything.
    pub fn local() -> Self {
        Caller {
            who: "local".into(),
            token: None,
            scopes: vec![Scope::Admin],
        }
    }

    /// Whoever has a token.
    pub fn of(token: &Token) -> Self {
        Caller {
            who: token.name.clone(),
            token: Some(token.id),
            scopes: token.scopes.clone(),
        }
    }

    /// Whether this is allowed. `admin` is everything, and every scope allows to look.
    pub fn may(&self, scope: Scope) -> bool {
        match scope {
            Scope::Read => !self.scopes.is_empty(),
            scope => self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin),
        }
    }

    /// What tells this caller from others, for keys of idempotent requests.
    pub fn key(&self) -> String {
        self.token.map_or_else(|| "local".into(), |id| id.to_string())
    }

    fn must(self, scope: Scope) -> Result<Self, ApiError> {
        if self.may(scope) {
            return Ok(self);
        }
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "missing-scope",
            format!(
                "the token {} lacks the scope `{}`",
                trainyard_parameters::quoted(&self.who),
                scope.as_str()
            ),
        )
        .remedy("use a token that has it")
        .details(serde_json::json!({"scope": scope.as_str()})))
    }
}

macro_rules! needs {
    ($($(#[$about:meta])* $name:ident: $scope:ident;)+) => { $(
        $(#[$about])*
        pub struct $name(pub Caller);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
                match parts.extensions.get::<Caller>() {
                    Some(caller) => caller.clone().must(Scope::$scope).map($name),
                    None => Err(ApiError::internal("a handler that needs a caller is among the public paths")),
                }
            }
        }
    )+ };
}

needs! {
    /// Someone who may look.
    Reader: Read;
    /// Someone who may make, change, train, stop and delete models, and predict.
    Submitter: Submit;
    /// Someone who may upload and delete plugins and data sets.
    Uploader: Upload;
    /// Someone who may do everything.
    Admin: Admin;
}
