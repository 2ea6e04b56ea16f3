//! The keys that sign and verify: a master secret per kid, and from it one key per owner (operator-token B2, B3).

use super::b64;
use crate::sys::wipe::wipe;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Separates keys that sign tokens from other keys that a master may be asked for.
const SIGN_LABEL: &[u8] = b"parachute/v1/sign";

/// 32 secret bytes. Has no `Debug` and is not `Clone`; wiped when dropped.
pub(crate) struct Secret(Box<[u8; 32]>);

impl Secret {
    /// Takes the bytes over; the caller's array is wiped.
    pub(crate) fn take(bytes: &mut [u8; 32]) -> Self {
        let secret = Self(Box::new(*bytes));
        wipe(bytes);
        secret
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(self.0.as_mut_slice());
    }
}

/// A master secret as the database keeps it.
pub(crate) struct Master {
    pub(crate) kid: String,
    pub(crate) secret: Secret,
    pub(crate) state: MasterState,
}

/// What a master is still good for; dead ones never get here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MasterState {
    /// Signs and verifies.
    Active,
    /// Verifies until then, in Unix seconds.
    VerifyUntil(i64),
}

/// The key of one owner under one master.
pub(crate) struct Key {
    kid: String,
    owner: String,
    /// The only header that tokens under this key have, in base64url.
    header: String,
    secret: Secret,
    state: MasterState,
}

/// What every header begins with, before the key's number, a dot and its owner.
pub(super) const HEADER_START: &str = r#"{"alg":"HS256","typ":"JWT","kid":""#;

impl Key {
    fn derive(master: &Master, owner: &str) -> Self {
        let mut mac = hmac(master.secret.expose());
        mac.update(SIGN_LABEL);
        mac.update(&[0]);
        mac.update(owner.as_bytes());
        let mut derived: [u8; 32] = mac.finalize().into_bytes().into();
        let header = format!(r#"{HEADER_START}{}.{owner}"}}"#, master.kid);
        Self {
            kid: master.kid.clone(),
            owner: owner.to_owned(),
            header: b64::encode(header.as_bytes()),
            secret: Secret::take(&mut derived),
            state: master.state,
        }
    }

    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    pub(crate) fn header(&self) -> &str {
        &self.header
    }

    /// When it stops verifying, in Unix seconds; `None` for the active key.
    pub(crate) fn usable_until(&self) -> Option<i64> {
        match self.state {
            MasterState::Active => None,
            MasterState::VerifyUntil(until) => Some(until),
        }
    }

    /// HMAC-SHA256 over `signed`.
    pub(crate) fn sign(&self, signed: &[u8]) -> [u8; 32] {
        let mut mac = hmac(self.secret.expose());
        mac.update(signed);
        mac.finalize().into_bytes().into()
    }

    /// Whether `signature` is the one over `signed`; takes the same time wherever it differs.
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8; 32]) -> bool {
        let mut mac = hmac(self.secret.expose());
        mac.update(signed);
        mac.verify_slice(signature).is_ok()
    }
}

fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// Every key that is good for something, for each of the owners asked for.
pub(crate) struct Keyring {
    keys: Vec<Key>,
}

impl Keyring {
    /// Derives the keys of `owners` from each master.
    pub(crate) fn new(masters: &[Master], owners: &[&str]) -> Self {
        let keys = masters.iter().flat_map(|master| owners.iter().map(|owner| Key::derive(master, owner))).collect();
        Self { keys }
    }

    /// The key whose header is exactly this, while it is usable. Nothing parses the header: an algorithm, a key or an
    /// extension that a caller names is never looked at.
    pub(crate) fn by_header(&self, header: &str, now_unix: i64) -> Option<&Key> {
        self.keys
            .iter()
            .find(|key| key.header == header)
            .filter(|key| key.usable_until().is_none_or(|until| now_unix < until))
    }

    /// The key that signs for `owner`.
    pub(crate) fn active(&self, owner: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.state == MasterState::Active && key.owner == owner)
    }
}
