//! Reading `expose-state.json`. It is never written here.

use super::atomic::{self, SMALL_FILE_MAX_BYTES};
use super::{Home, StoreError};
use crate::manifest::exposure::Exposure;
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
