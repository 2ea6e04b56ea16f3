//! What modules say of themselves, read again only when the file changed.

use crate::manifest::module::Manifest;
use crate::manifest::services::Row;
use crate::store::{StoreError, modules};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Modules remembered; a home with more of them reads the others again each time.
const REMEMBERED_LIMIT: usize = 2048;

/// Which file was read, and in which state.
type Seen = (u64, u64, u64, i64, i64, i64, i64);

/// A file as it was, and what it held; `None` when it was not there.
type Remembered = (Seen, Option<Arc<Manifest>>);

/// Shared between threads.
#[derive(Default)]
pub(crate) struct Manifests {
    remembered: Mutex<HashMap<PathBuf, Remembered>>,
}

impl Manifests {
    /// The manifest below a row's `installDir`; `None` when there is none. One `stat` when the file is as it was.
    pub(super) fn of(&self, row: &Row) -> Result<Option<Arc<Manifest>>, StoreError> {
        let Some(install_dir) = &row.install_dir else { return Ok(None) };
        let seen = seen(install_dir);
        if let Some(seen) = seen
            && let Some((last, manifest)) = super::lock(&self.remembered).get(install_dir)
            && *last == seen
        {
            return Ok(manifest.clone());
        }
        let manifest = modules::read_manifest(install_dir)?.map(Arc::new);
        if let Some(seen) = seen {
            let mut remembered = super::lock(&self.remembered);
            if remembered.len() < REMEMBERED_LIMIT || remembered.contains_key(install_dir) {
                remembered.insert(install_dir.clone(), (seen, manifest.clone()));
            }
        }
        Ok(manifest)
    }
}

fn seen(install_dir: &Path) -> Option<Seen> {
    let file = fs::metadata(install_dir.join(".parachute/module.json")).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()))
}
