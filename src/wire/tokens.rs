//! Pure: what is said about tokens on the wire (operator-token A11, B9). Times are ISO 8601, UTC, milliseconds, except
//! in the answer of introspection, whose fields RFC 7662 fixes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `POST /api/auth/mint-token`. An unknown field is an error: a typing mistake must not widen a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MintRequest {
    pub(crate) scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<String>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<Map<String, Value>>,
}

/// Its answer: the only place where a token is ever said.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Minted {
    pub(crate) jti: String,
    pub(crate) token: String,
    pub(crate) expires_at: String,
    pub(crate) scope: String,
    pub(crate) audience: String,
    pub(crate) subject: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<Map<String, Value>>,
}

/// `POST /api/auth/revoke-token`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeRequest {
    pub(crate) jti: String,
    /// Whether what was minted with it goes, too; it does unless this says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cascade: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevokeReply {
    pub(crate) jti: String,
    /// The first time.
    pub(crate) revoked_at: String,
    /// How many this call took back; 0 when that was done before.
    pub(crate) revoked: u64,
    pub(crate) subject: String,
    pub(crate) scope: String,
}

/// `POST /api/auth/revoke-all`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevokeAllRequest {
    pub(crate) subject: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevokeAllReply {
    pub(crate) subject: String,
    pub(crate) revoked: u64,
}

/// One token of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenInfo {
    pub(crate) jti: String,
    /// Always null: there are no user accounts.
    pub(crate) user_id: Option<String>,
    pub(crate) subject: String,
    pub(crate) audience: String,
    pub(crate) client_id: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: String,
    pub(crate) created_via: String,
    pub(crate) parent_jti: Option<String>,
    pub(crate) expires_at: String,
    pub(crate) revoked_at: Option<String>,
    /// From then on it is as good as revoked.
    pub(crate) revoke_after: Option<String>,
    pub(crate) revoke_reason: Option<String>,
    /// To the hour.
    pub(crate) last_used_at: Option<String>,
    /// What it is worth at the moment: `good`; `replaced`, which is good until `revoke_after`; `revoked`, `expired`; or
    /// `void`, whose key is over.
    #[serde(default)]
    pub(crate) state: String,
    pub(crate) permissions: Option<Value>,
}

/// `GET /api/auth/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenList {
    pub(crate) tokens: Vec<TokenInfo>,
    pub(crate) next_cursor: Option<String>,
}

/// `POST /api/auth/operator/rotate`. The token itself is in its file only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RenewalReply {
    pub(crate) renewed: bool,
    /// Why not, in a word: `not_due` or `not_renewable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope_set: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
}

/// One line of `GET /api/auth/log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) id: i64,
    pub(crate) at: String,
    pub(crate) action: String,
    pub(crate) jti: Option<String>,
    pub(crate) parent_jti: Option<String>,
    pub(crate) subject: Option<String>,
    pub(crate) via: String,
    pub(crate) peer: Option<String>,
    pub(crate) result: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogReply {
    /// Newest first.
    pub(crate) entries: Vec<LogEntry>,
}

/// `GET /.well-known/parachute-revocation.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RevocationList {
    pub(crate) generated_at: String,
    /// Sorted.
    pub(crate) jtis: Vec<String>,
}

/// What every answer to `POST /oauth/introspect` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct IsActive {
    pub(crate) active: bool,
}

/// `POST /oauth/introspect` of a token that is good for the module that asks; of any other only `active`, which is
/// false then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Introspection<'a> {
    pub(crate) active: bool,
    pub(crate) iss: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) aud: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) client_id: &'a str,
    /// Unix seconds, like the next two.
    pub(crate) exp: u64,
    pub(crate) iat: u64,
    pub(crate) nbf: u64,
    pub(crate) jti: &'a str,
    pub(crate) token_type: &'static str,
    pub(crate) vault_scope: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<&'a Map<String, Value>>,
}
