//! A module's own `module.json`, in its package or, for an adopted command, below the home (files §4).

use super::atomic::{self, Target};
use super::home::is_trusted;
use super::{Home, StoreError};
use crate::manifest::module::Manifest;
use crate::manifest::{Short, json};
use crate::sys::fs::Dir;
use serde_json::Value;
use std::path::Path;

const MANIFEST_MAX_BYTES: u64 = 256 << 10;
const MANIFEST_PATH: &str = ".parachute/module.json";

/// Anybody may write there.
const WORLD_WRITABLE: u32 = 0o002;

/// Reads the manifest of the package at `install_dir`; `None` when it has none. The directory must exist, belong to us
/// or root, and not be writable by everybody. Read anew at every spawn: nothing of it is kept.
pub(crate) fn read_manifest(install_dir: &Path) -> Result<Option<Manifest>, StoreError> {
    if !install_dir.is_absolute() {
        return Err(StoreError::Relative { path: install_dir.to_owned() });
    }
    let read_error = |source| StoreError::Read { path: install_dir.to_owned(), source };
    // Package managers install through symbolic links: they are resolved once, and what they lead to is judged.
    let real = install_dir.canonicalize().map_err(read_error)?;
    let stat = Dir::open(&real).and_then(|dir| dir.own_stat()).map_err(read_error)?;
    if !is_trusted(&stat) {
        return Err(StoreError::ForeignOwner { path: real, owner_uid: stat.uid });
    }
    if stat.mode & WORLD_WRITABLE != 0 {
        return Err(StoreError::LooseMode { path: real, mode: stat.mode });
    }
    let Some(target) = Target::outside(&real.join(MANIFEST_PATH))? else { return Ok(None) };
    let Some((bytes, _)) = target.read(MANIFEST_MAX_BYTES)? else { return Ok(None) };
    let path = target.path().to_owned();
    Manifest::parse(&bytes).map(Some).map_err(|problem| StoreError::Syntax { path, problem })
}

/// Writes the manifest of an adopted command to `<home>/modules/<short>/.parachute/module.json`, once it is a valid one.
pub(crate) fn write_manifest(home: &Home, short: &Short, manifest: &Value) -> Result<(), StoreError> {
    let relative = Path::new("modules").join(short.as_str()).join(MANIFEST_PATH);
    Manifest::from_value(manifest)
        .map_err(|problem| StoreError::Syntax { path: home.path().join(&relative), problem })?;
    atomic::write(home, relative, &json::to_bytes(manifest), atomic::PUBLIC)
}

/// Takes the manifest of an adopted command away; whatever else is in its directory stays.
pub(crate) fn remove_manifest(home: &Home, short: &Short) -> Result<(), StoreError> {
    let relative = Path::new("modules").join(short.as_str()).join(MANIFEST_PATH);
    atomic::remove(home, &relative)
}
