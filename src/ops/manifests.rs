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

/// Hears that a manifest is not what it was, on the thread of whoever saw it: it must not block.
pub(crate) type OnManifest = Box<dyn Fn() + Send + Sync>;

/// Shared between threads.
pub(crate) struct Manifests {
    remembered: Mutex<HashMap<PathBuf, Remembered>>,
    on_change: OnManifest,
}

impl Manifests {
    pub(crate) fn new(on_change: OnManifest) -> Self {
        Self { remembered: Mutex::default(), on_change }
    }

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
        let read = modules::read_manifest(install_dir).map(|manifest| manifest.map(Arc::new));
        if self.remember(install_dir, seen, read.as_ref().ok().cloned()) {
            (self.on_change)();
        }
        read
    }

    /// Whether something else was remembered. `read`: `None` when the file cannot be used, which is tried again each time.
    fn remember(&self, install_dir: &Path, seen: Option<Seen>, read: Option<Option<Arc<Manifest>>>) -> bool {
        let mut remembered = super::lock(&self.remembered);
        let (Some(seen), Some(manifest)) = (seen, read) else { return remembered.remove(install_dir).is_some() };
        if remembered.len() >= REMEMBERED_LIMIT && !remembered.contains_key(install_dir) {
            return false;
        }
        remembered.insert(install_dir.to_owned(), (seen, manifest));
        true
    }
}

/// Where the manifest of a module in this directory is.
pub(super) fn file(install_dir: &Path) -> PathBuf {
    install_dir.join(".parachute/module.json")
}

fn seen(install_dir: &Path) -> Option<Seen> {
    let file = fs::metadata(file(install_dir)).ok()?;
    Some((file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()))
}
