//! Pure: base64url, HS256, claims, scopes. The only place that names `hmac` and `sha2`.
//!
//! A token is `header.payload.signature` like every JWT, but only what [`mint`] writes is accepted: the header is one
//! of a table and compared as bytes, and the payload must be, byte for byte, what its claims serialise to
//! (operator-token B3, B4). Knows no clock and no registry: time comes in as an argument, and whether a token is
//! registered is asked by `ops::auth`.
#![forbid(unsafe_code)]

pub(crate) mod attest;
pub(crate) mod b64;
pub(crate) mod claims;
pub(crate) mod digest;
pub(crate) mod grant;
mod hex;
pub(crate) mod keyring;
pub(crate) mod mint;
pub(crate) mod proof;
pub(crate) mod scope;
pub(crate) mod verify;

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

/// Longest token that is looked at (B4, step 1).
pub(crate) const TOKEN_LIMIT_BYTES: usize = 4096;

/// What the registry keeps of a token instead of the token.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Whether two hashes are equal, in a time that does not tell where they differ.
pub(crate) fn same_hash(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let difference = one.iter().zip(other).fold(0, |seen, (a, b)| seen | (a ^ b));
    std::hint::black_box(difference) == 0
}

/// Whether the value of an `Authorization` header is a bearer that the hub issued for itself, going by its header
/// alone: it is kept from those whom it was not issued for, so a forged one may be kept as well.
pub(crate) fn is_hub_bearer(value: &[u8]) -> bool {
    std::str::from_utf8(value).ok().and_then(from_authorization).is_some_and(is_of_hub)
}

/// The same of a token itself.
pub(crate) fn is_of_hub(token: &str) -> bool {
    let header = token.split('.').next().and_then(|header| b64::decode(header.as_bytes()));
    header.is_some_and(|header| header.starts_with(keyring::HEADER_START.as_bytes()) && header.ends_with(b".hub\"}"))
}

/// The token in the value of an `Authorization` header: `Bearer` in any case, one or more spaces, and nothing after
/// the token. `None` for any other value.
pub(crate) fn from_authorization(value: &str) -> Option<&str> {
    let (scheme, rest) = value.split_once(' ')?;
    let token = rest.trim_start_matches(' ');
    let clean = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && clean).then_some(token)
}
