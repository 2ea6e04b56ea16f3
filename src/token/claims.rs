//! What a token says, and the rules that both minting and verifying hold it to (operator-token B3, B5).

use super::scope::Scopes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The audience of the operator token.
pub(crate) const AUDIENCE_OPERATOR: &str = "operator";
/// The audience of other tokens for the hub's own API.
pub(crate) const AUDIENCE_HUB: &str = "hub";
/// The owner of the hub's signing key; see [`owner_of`].
pub(crate) const OWNER_HUB: &str = "hub";

/// The only version there is.
pub(crate) const VERSION: u64 = 1;
/// Longest life of any token: a leap year.
const LIFETIME_LIMIT_S: u64 = 31_622_400;
/// Times beyond it are not exact as JSON numbers everywhere.
const TIME_LIMIT: u64 = 1 << 53;
const SUBJECT_LIMIT_BYTES: usize = 128;
const PERMISSIONS_LIMIT_BYTES: usize = 2048;
const PERMISSIONS_LIMIT_DEPTH: usize = 8;
const PERMISSION_KEY_LIMIT_CHARS: usize = 64;

/// The payload; the order of the fields is the order in the token.
///
/// Never `flatten` here: it turns off the detection of duplicate fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    pub(crate) v: u64,
    /// Canonical origin of the hub when it was minted.
    pub(crate) iss: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    /// Unix seconds, like `nbf` and `exp`.
    pub(crate) iat: u64,
    pub(crate) nbf: u64,
    pub(crate) exp: u64,
    pub(crate) jti: String,
    pub(crate) client_id: String,
    /// Scopes, separated by single spaces.
    pub(crate) scope: String,
    /// Vaults that the token is pinned to; empty for none.
    pub(crate) vault_scope: Vec<String>,
    /// Name of the scope set; there exactly when `aud` is `operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pa_scope_set: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<Map<String, Value>>,
    /// The hub that minted it, whatever its origin is called.
    pub(crate) hid: String,
}

/// Why a payload is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Not the JSON of exactly these fields.
    Json,
    /// Not spelled the one way in which minting spells it.
    Spelling,
    Version,
    Subject,
    Times,
    ScopeSet,
    Scope,
    Permissions,
}

impl Claims {
    /// The payload's bytes.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and maps with string keys always serialise")
    }

    /// Reads a payload whose signature was checked. Only what [`Claims::to_json`] writes for the same claims passes,
    /// so whitespace, another order, duplicates at any depth, `null` and a byte order mark are all refused at once.
    pub(crate) fn from_json(payload: &[u8]) -> Result<Self, Shape> {
        let claims: Self = serde_json::from_slice(payload).map_err(|_| Shape::Json)?;
        if claims.to_json() != payload {
            return Err(Shape::Spelling);
        }
        claims.check()?;
        Ok(claims)
    }

    /// The rules that need neither a clock nor a hub. Minting obeys them too, so nothing is minted that will not pass.
    pub(crate) fn check(&self) -> Result<(), Shape> {
        let rules = [
            (Shape::Version, self.v == VERSION),
            (Shape::Subject, is_subject(&self.sub)),
            (Shape::Times, self.times_are_sane()),
            (Shape::ScopeSet, self.pa_scope_set.is_some() == (self.aud == AUDIENCE_OPERATOR)),
            (Shape::Scope, Scopes::parse(&self.scope).is_some()),
            (Shape::Permissions, self.permissions.as_ref().is_none_or(permissions_are_small)),
        ];
        rules.into_iter().find(|(_, holds)| !holds).map_or(Ok(()), |(shape, _)| Err(shape))
    }

    fn times_are_sane(&self) -> bool {
        [self.iat, self.nbf, self.exp].iter().all(|time| *time <= TIME_LIMIT)
            && self.exp > self.iat
            && self.exp - self.iat <= LIFETIME_LIMIT_S
    }
}

fn permissions_are_small(permissions: &Map<String, Value>) -> bool {
    let size = serde_json::to_vec(permissions).map_or(usize::MAX, |json| json.len());
    size <= PERMISSIONS_LIMIT_BYTES
        && permissions.iter().all(|(key, value)| key_is_short(key) && is_shallow(value, PERMISSIONS_LIMIT_DEPTH - 1))
}

fn key_is_short(key: &str) -> bool {
    key.chars().count() <= PERMISSION_KEY_LIMIT_CHARS
}

/// Whether `value` has at most `depth_left` further levels of arrays and objects.
fn is_shallow(value: &Value, depth_left: usize) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(items) => depth_left > 0 && items.iter().all(|item| is_shallow(item, depth_left - 1)),
        Value::Object(fields) => {
            depth_left > 0 && fields.iter().all(|(key, value)| key_is_short(key) && is_shallow(value, depth_left - 1))
        }
    }
}

/// Whose key signs tokens for `audience`: `operator` and `hub` belong to the hub, `vault` and `vault.work` to the vault.
/// `None` when nobody owns it.
pub(crate) fn owner_of(audience: &str) -> Option<&str> {
    if matches!(audience, AUDIENCE_OPERATOR | AUDIENCE_HUB) {
        return Some(OWNER_HUB);
    }
    let (module, resource) = match audience.split_once('.') {
        Some((module, resource)) => (module, Some(resource)),
        None => (audience, None),
    };
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let reserved = matches!(module, AUDIENCE_OPERATOR | AUDIENCE_HUB);
    (is_name(module) && !reserved && resource.is_none_or(is_name)).then_some(module)
}

/// What a token says of itself. Nothing is checked: it may be forged, and is good for choosing words, or the narrower of
/// two things, and for nothing else.
pub(crate) fn unverified(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    Claims::from_json(&super::b64::decode(payload.as_bytes())?).ok()
}

/// Who a token may be for.
pub(crate) fn is_subject(text: &str) -> bool {
    (1..=SUBJECT_LIMIT_BYTES).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// 16 random bytes in base64url.
pub(crate) fn is_jti(text: &str) -> bool {
    text.len() == 22 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
