//! Steps 1 to 7 of verification (operator-token B4), and the grammar of 8 and 9. The first failure wins.

use super::claims::{self, Claims, Shape, is_jti, owner_of};
use super::keyring::Keyring;
use super::scope::Scopes;
use super::{TOKEN_LIMIT_BYTES, b64, sha256};
use std::fmt;

/// Of HMAC-SHA256.
const SIGNATURE_BYTES: usize = 32;
/// How far ahead of ours the clock of whoever minted may run, in seconds.
const SKEW_LIMIT_S: u64 = 60;
/// From here on it is not skew: one of the two clocks is wrong.
const CLOCK_WRONG_S: u64 = 3600;

/// What a token must be for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect<'a> {
    /// Origins that may have minted it, canonical; `None` for any that this hub ever had.
    pub(crate) issuers: Option<&'a [String]>,
    pub(crate) audience: Accept<'a>,
    /// Our own hub id.
    pub(crate) hid: &'a str,
    pub(crate) now_unix: i64,
}

/// Which audiences the caller accepts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Accept<'a> {
    /// One of these.
    Named(&'a [&'a str]),
    /// Any that belongs to this owner, see [`owner_of`].
    OwnedBy(&'a str),
}

impl Accept<'_> {
    fn takes(self, audience: &str) -> bool {
        match self {
            Self::Named(names) => names.contains(&audience),
            Self::OwnedBy(owner) => owner_of(audience) == Some(owner),
        }
    }
}

/// A token that is genuine and in force; whether it is registered is still to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    pub(crate) scopes: Scopes,
    /// Of the whole token, as the registry keeps it.
    pub(crate) sha256: [u8; 32],
    pub(crate) kid: String,
    /// When its key stops verifying, in Unix seconds; `None` while the key is active.
    pub(crate) key_usable_until: Option<i64>,
}

/// Why a token is refused. For the log and for whoever can read the token's file anyway; a remote caller is told
/// nothing but `unauthenticated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenError {
    /// Not three parts of base64url within the limits.
    Encoding,
    /// Genuine, but its payload breaks a rule.
    Payload(Shape),
    Key,
    Signature,
    Expired {
        at_unix: u64,
    },
    NotYetValid,
    /// It is from more than an hour ahead: some clock is wrong.
    Clock {
        now_unix: i64,
        stamp_unix: u64,
    },
    Issuer,
    Audience,
    Unregistered,
    Revoked,
}

impl TokenError {
    /// One word for the log, as the specification has it.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Encoding | Self::Payload(_) => "malformed",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Expired { .. } => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Clock { .. } => "clock",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Unregistered => "unregistered",
            Self::Revoked => "revoked",
        }
    }

    /// The same, and what is malformed: no two causes share it.
    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self::Payload(shape) => shape.rule(),
            other => other.code(),
        }
    }

    /// Whether it was signed by us all the same, so that what it says of itself is true.
    pub(crate) fn is_of_a_genuine_token(self) -> bool {
        match self {
            Self::Encoding | Self::Payload(_) | Self::Key | Self::Signature => false,
            Self::Expired { .. }
            | Self::NotYetValid
            | Self::Clock { .. }
            | Self::Issuer
            | Self::Audience
            | Self::Unregistered
            | Self::Revoked => true,
        }
    }
}

impl Shape {
    /// What the rule is about.
    fn rule(self) -> &'static str {
        match self {
            Self::Json => "its fields",
            Self::Spelling => "its spelling",
            Self::Version => "v",
            Self::Subject => "sub",
            Self::Times => "iat, nbf and exp",
            Self::ScopeSet => "pa_scope_set",
            Self::Scope => "scope",
            Self::Permissions => "permissions",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule())
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code();
        match self {
            Self::Encoding => write!(f, "{code}: it is not three parts of base64url"),
            Self::Payload(shape) => write!(f, "{code}: the payload breaks the rule on {shape}"),
            Self::Key => write!(f, "{code}: no usable key of this hub has its header"),
            Self::Signature => write!(f, "{code}: it was not signed with this hub's key"),
            Self::Expired { at_unix } => write!(f, "{code}: it expired at {at_unix} (unix seconds)"),
            Self::NotYetValid => write!(f, "{code}: it is from the future"),
            Self::Clock { now_unix, stamp_unix } => write!(
                f,
                "{code}: it says {stamp_unix} and this machine says {now_unix} (unix seconds); check the clock"
            ),
            Self::Issuer => write!(f, "{code}: another hub or another origin issued it"),
            Self::Audience => write!(f, "{code}: it is meant for something else"),
            Self::Unregistered => write!(f, "{code}: this hub has no record of it"),
            Self::Revoked => write!(f, "{code}: it was revoked"),
        }
    }
}

impl std::error::Error for TokenError {}

/// Checks everything about `token` that needs no registry. Junk costs at most one HMAC.
pub(crate) fn check(token: &str, keyring: &Keyring, expect: &Expect<'_>) -> Result<Verified, TokenError> {
    let parts = Parts::of(token).ok_or(TokenError::Encoding)?;
    let key = keyring.by_header(parts.header, expect.now_unix).ok_or(TokenError::Key)?;

    let signature: [u8; SIGNATURE_BYTES] =
        b64::decode(parts.signature.as_bytes()).and_then(|bytes| bytes.try_into().ok()).ok_or(TokenError::Encoding)?;
    // Over the bytes as they came, not over a second spelling of them.
    if !key.verifies(parts.signed.as_bytes(), &signature) {
        return Err(TokenError::Signature);
    }

    // The limit on the token keeps the payload below the 3,072 bytes of step 4.
    let payload = b64::decode(parts.payload.as_bytes()).ok_or(TokenError::Encoding)?;
    let claims = Claims::from_json(&payload).map_err(TokenError::Payload)?;
    check_times(&claims, expect.now_unix)?;
    if claims.hid != expect.hid || !expect.issuers.is_none_or(|known| known.contains(&claims.iss)) {
        return Err(TokenError::Issuer);
    }
    if owner_of(&claims.aud) != Some(key.owner()) || !expect.audience.takes(&claims.aud) {
        return Err(TokenError::Audience);
    }
    if !is_jti(&claims.jti) {
        return Err(TokenError::Unregistered);
    }
    let scopes = Scopes::parse(&claims.scope).ok_or(TokenError::Payload(Shape::Scope))?;
    Ok(Verified {
        claims,
        scopes,
        sha256: sha256(token.as_bytes()),
        kid: key.kid().to_owned(),
        key_usable_until: key.usable_until(),
    })
}

/// Whether it is a token of some hub like this one, with nothing cut off. Says nothing of whether anybody accepts it.
pub(crate) fn is_whole(token: &str) -> bool {
    let signature = Parts::of(token).and_then(|parts| b64::decode(parts.signature.as_bytes()));
    signature.is_some_and(|bytes| bytes.len() == SIGNATURE_BYTES) && claims::unverified(token).is_some()
}

struct Parts<'a> {
    /// Header and payload with the dot between them.
    signed: &'a str,
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    /// `None` unless there are exactly three parts, none of them empty, all ASCII and short enough.
    fn of(token: &'a str) -> Option<Self> {
        if token.len() > TOKEN_LIMIT_BYTES || !token.is_ascii() {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let whole = !header.is_empty() && !payload.is_empty() && !signature.is_empty() && !payload.contains('.');
        whole.then_some(Self { signed, header, payload, signature })
    }
}

fn check_times(claims: &Claims, now_unix: i64) -> Result<(), TokenError> {
    // The claims' own check keeps times below 2^53; a time before 1970 is as good as 1970 here.
    let now = u64::try_from(now_unix).unwrap_or(0);
    if now >= claims.exp {
        return Err(TokenError::Expired { at_unix: claims.exp });
    }
    let stamp_unix = claims.iat.max(claims.nbf);
    let ahead_s = stamp_unix.saturating_sub(now);
    if ahead_s > CLOCK_WRONG_S {
        return Err(TokenError::Clock { now_unix, stamp_unix });
    }
    if ahead_s > SKEW_LIMIT_S {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}
