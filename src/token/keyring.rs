//! The keys that sign and verify: a master secret per kid, and from it one key per owner (operator-token B2, B3).

use super::b64;
use crate::sys::wipe::wipe;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Separates keys that sign tokens from other keys that a master may be asked for.
const SIGN_LABEL: &[u8] = b"parachute/v1/sign";
/// The same for the keys by which modules show the hub who they are.
const MODULE_LABEL: &[u8] = b"parachute/v1/module-auth";
/// The same for the marks that prove that a cursor is one of ours.
const CURSOR_LABEL: &[u8] = b"parachute/v1/cursor";
/// The same for what becomes of a stored secret under a key from a file.
const MASTER_LABEL: &[u8] = b"parachute/v1/master";
/// The same for the mark by which a key from a file is known again.
const FILE_LABEL: &[u8] = b"parachute/v1/key-file";
/// Fewest bytes of such a key (RFC 7518 §3.2).
const FILE_KEY_BYTES: usize = 32;

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

/// A key from outside the database. With it a stored secret is only half of a master: a copy of the database alone
/// signs nothing.
pub(crate) struct FileKey(Secret);

impl FileKey {
    /// From base64url of at least 32 bytes; `None` for anything else.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        // Common tools write the padding.
        let text = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
        let mut bytes = b64::decode(text)?;
        let key = (bytes.len() >= FILE_KEY_BYTES).then(|| Self(Secret::take(&mut super::sha256(&bytes))));
        wipe(&mut bytes);
        key
    }

    /// The master that a stored secret stands for.
    pub(crate) fn master(&self, stored: &Secret) -> Secret {
        Secret::take(&mut derive(&self.0, MASTER_LABEL, &[stored.expose()]))
    }

    /// What tells this key from another, and nothing else about it.
    pub(crate) fn mark(&self) -> String {
        b64::encode(&derive(&self.0, FILE_LABEL, &[]))
    }
}

/// HMAC over the label and the words, with a NUL before each word.
pub(super) fn derive(key: &Secret, label: &[u8], words: &[&[u8]]) -> [u8; 32] {
    let mut mac = hmac(key.expose());
    mac.update(label);
    for word in words {
        mac.update(&[0]);
        mac.update(word);
    }
    mac.finalize().into_bytes().into()
}

/// A master secret as the database keeps it.
pub(crate) struct Master {
    pub(crate) kid: String,
    pub(crate) secret: Secret,
    pub(crate) state: MasterState,
}

impl Master {
    fn derive(&self, label: &[u8], words: &[&[u8]]) -> [u8; 32] {
        derive(&self.secret, label, words)
    }

    /// What a child of the module `short` shows to be known by. `nonce` makes it good for one child.
    pub(crate) fn module_key(&self, short: &str, nonce: &[u8; 16]) -> Secret {
        Secret::take(&mut self.derive(MODULE_LABEL, &[short.as_bytes(), nonce]))
    }

    /// Which one it is and what it is good for.
    pub(crate) fn standing(&self) -> (&str, MasterState) {
        (&self.kid, self.state)
    }

    /// Whether it is good for nothing any more.
    pub(crate) fn is_over(&self, now_unix: i64) -> bool {
        matches!(self.state, MasterState::VerifyUntil(until) if until <= now_unix)
    }

    /// The mark of a cursor.
    pub(crate) fn cursor_mark(&self, cursor: &[u8]) -> [u8; 32] {
        self.derive(CURSOR_LABEL, &[cursor])
    }

    /// The key that signs, and verifies, tokens of `owner`: whoever has it can forge those and no others.
    pub(crate) fn key_of(&self, owner: &str) -> Secret {
        Secret::take(&mut self.derive(SIGN_LABEL, &[owner.as_bytes()]))
    }
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
        let header = format!(r#"{HEADER_START}{}.{owner}"}}"#, master.kid);
        Self {
            kid: master.kid.clone(),
            owner: owner.to_owned(),
            header: b64::encode(header.as_bytes()),
            secret: master.key_of(owner),
            state: master.state,
        }
    }

    /// A key as somebody has it who was handed it.
    #[cfg(test)]
    pub(crate) fn for_test(kid: &str, owner: &str, mut secret: [u8; 32]) -> Self {
        let header = b64::encode(format!(r#"{HEADER_START}{kid}.{owner}"}}"#).as_bytes());
        let (kid, owner) = (kid.to_owned(), owner.to_owned());
        Self { kid, owner, header, secret: Secret::take(&mut secret), state: MasterState::Active }
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

/// Whether the token's header could be one of a hub, whatever key it names.
pub(crate) fn is_shaped_like_ours(token: &str) -> bool {
    let header = token.split('.').next().and_then(|header| b64::decode(header.as_bytes()));
    header.is_some_and(|header| header.starts_with(HEADER_START.as_bytes()))
}

pub(super) fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
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
