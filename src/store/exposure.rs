//! Reading `expose-state.json`. It is never written here.

use super::atomic::{self, SMALL_FILE_MAX_BYTES};
use super::{Home, StoreError};
use crate::manifest::exposure::Exposure;
use crate::sys::fs;
use std::path::PathBuf;

const NAME: &str = "expose-state.json";

pub(crate) fn path(home: &Home) -> PathBuf {
    home.path().join(NAME)
}

/// How the hub is exposed; `None` when it is not. An error is for telling only: who cannot read it goes on as if
/// nothing were exposed (files §14.4), and the file stays as it is.
pub(crate) fn read(home: &Home) -> Result<Option<Exposure>, StoreError> {
    let Some(bytes) = atomic::read(home, NAME, SMALL_FILE_MAX_BYTES)? else { return Ok(None) };
    Exposure::parse(&bytes).map(Some).map_err(|problem| StoreError::Syntax { path: path(home), problem })
}

/// Which file it was, by device, inode, size and time; `None` where there is none. Equal ones mean that it has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u64, u64, u64, i128);

/// What tells without reading it whether the file is another than before. Costs a `stat`.
pub(crate) fn stamp(home: &Home) -> Option<Stamp> {
    let facts = fs::stat(&path(home)).ok()?;
    Some(Stamp(facts.dev, facts.ino, facts.size_bytes, facts.mtime_ns))
}
