//! What a module is handed by file, because an environment can be looked at: its key to the hub, and the keys by which
//! it may check tokens itself (operator-token B9).

use super::atomic::{self, Links, PRIVATE, Target, Trust};
use super::{Home, StoreError};
use crate::manifest::Short;
use std::path::{Path, PathBuf};

const RUN: &str = "run";
const KEY: &str = "hub.key";
const VERIFY_KEYS: &str = "verify-keys.json";
/// Largest key file that is read; a key has 43 characters.
const KEY_LIMIT_BYTES: usize = 256;

/// Where the key stands that a child of the module shows to the hub.
pub(crate) fn key_file(home: &Home, short: &Short) -> PathBuf {
    home.path().join(in_run_dir(short, KEY))
}

/// Where the keys stand by which the module checks tokens, if it has any.
pub(crate) fn verify_keys_file(home: &Home, short: &Short) -> PathBuf {
    home.path().join(in_run_dir(short, VERIFY_KEYS))
}

/// Whether this is the name of the file beside a module's key that the next key is written into.
pub(crate) fn is_spare_key(name: &str) -> bool {
    name.strip_prefix(KEY) == Some(atomic::SPARE)
}

/// Writes the key that a child of the module shows to the hub. A new child needs a new one, so it is not waited for until
/// the disk has it.
pub(crate) fn write_key(home: &Home, short: &Short, key: &str) -> Result<(), StoreError> {
    atomic::swap_volatile(home, &in_run_dir(short, KEY), format!("{key}\n").as_bytes())
}

/// The key that the module's child was handed; `None` where there is no file, or one that is not ours alone.
pub(crate) fn read_key(home: &Home, short: &Short) -> Option<String> {
    let target = Target::locate(home, Path::new(&in_run_dir(short, KEY)), Links::Refuse).ok()??;
    let secret = target.read_secret(KEY_LIMIT_BYTES, Trust::Ours).ok()??;
    std::str::from_utf8(secret.as_slice()).ok().map(|text| text.trim_ascii().to_owned())
}

/// Writes the keys by which the module checks tokens.
pub(crate) fn write_verify_keys(home: &Home, short: &Short, json: &[u8]) -> Result<(), StoreError> {
    atomic::write(home, in_run_dir(short, VERIFY_KEYS), json, PRIVATE)
}

/// Whether the module was handed keys to check tokens with.
pub(crate) fn has_verify_keys(home: &Home, short: &Short) -> bool {
    verify_keys_file(home, short).is_file()
}

/// Takes the keys back from a module that is to have none any more.
pub(crate) fn remove_verify_keys(home: &Home, short: &Short) -> Result<(), StoreError> {
    let relative = in_run_dir(short, VERIFY_KEYS);
    if atomic::is_missing(home, &relative) { Ok(()) } else { atomic::remove(home, &relative) }
}

fn in_run_dir(short: &Short, name: &str) -> PathBuf {
    Path::new(short.as_str()).join(RUN).join(name)
}
