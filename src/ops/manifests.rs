//! What modules say of themselves, read again only when the file changed.

use crate::manifest::module::Manifest;
use crate::manifest::services::{Listing, Row};
use crate::store::{StoreError, modules};
use crate::sys::fs::{self, Stat};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// Modules remembered; a home with more of them reads the others again each time.
const REMEMBERED_LIMIT: usize = 2048;

/// A file as it was, and what it held.
struct Remembered {
    /// `None` while its times may not show the next change.
    settled: Option<Stat>,
    /// `None` when it was taken away while it was looked at.
    manifest: Option<Arc<Manifest>>,
}

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

    /// The manifest below a row's `installDir`; `None` when there is none. One `stat` when the file is as it was; just
    /// after a change it is read each time.
    pub(super) fn of(&self, row: &Row) -> Result<Option<Arc<Manifest>>, StoreError> {
        let Some(install_dir) = &row.install_dir else { return Ok(None) };
        let (now, stat) = (SystemTime::now(), fs::stat_followed(&file(install_dir)).ok());
        if let Some(stat) = stat
            && let Some(last) = super::lock(&self.remembered).get(install_dir)
            && last.settled == Some(stat)
        {
            return Ok(last.manifest.clone());
        }
        let read = modules::read_manifest(install_dir).map(|manifest| manifest.map(Arc::new));
        let held = stat.zip(read.as_ref().ok()).map(|(stat, manifest)| Remembered {
            settled: stat.is_settled(now).then_some(stat),
            manifest: manifest.clone(),
        });
        if self.remember(install_dir, held) {
            (self.on_change)();
        }
        read
    }

    /// Forgets those of modules that the list has no more: however many come and go, there is room for who is there.
    pub(super) fn forget_others(&self, document: &Listing) {
        let rows = document.entries().iter().filter_map(|entry| entry.row.as_ref().ok());
        let listed: HashSet<&Path> = rows.filter_map(|row| row.install_dir.as_deref()).collect();
        let mut remembered = super::lock(&self.remembered);
        remembered.retain(|install_dir, _| listed.contains(install_dir.as_path()));
        let room = remembered.len() * 2;
        remembered.shrink_to(room);
    }

    /// Whether that is news. `held`: `None` when the file cannot be used, which is tried again each time.
    fn remember(&self, install_dir: &Path, held: Option<Remembered>) -> bool {
        let mut remembered = super::lock(&self.remembered);
        let Some(held) = held else { return remembered.remove(install_dir).is_some() };
        if let Some(last) = remembered.get_mut(install_dir) {
            let is_news = last.manifest != held.manifest;
            *last = held;
            return is_news;
        }
        if remembered.len() >= REMEMBERED_LIMIT {
            return false;
        }
        remembered.insert(install_dir.to_owned(), held);
        true
    }
}

/// Where the manifest of a module in this directory is.
pub(super) fn file(install_dir: &Path) -> PathBuf {
    install_dir.join(".parachute/module.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::services::Document;
    use crate::sys::testdir::TestDir;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn put(dir: &TestDir, port: u16) {
        let manifest =
            json!({"name": "wiki", "manifestName": "wiki", "port": port, "paths": ["/wiki"], "health": "/health"});
        std::fs::create_dir_all(dir.join(".parachute")).expect("made");
        std::fs::write(dir.join(".parachute/module.json"), manifest.to_string()).expect("written");
    }

    fn list(dir: &TestDir) -> Listing {
        let row = json!({"name": "wiki", "port": 3000, "paths": ["/wiki"], "health": "/health", "version": "1",
            "installDir": dir.path()});
        Document::parse(json!({"services": [row]}).to_string().as_bytes()).expect("a list").into()
    }

    fn row(dir: &TestDir) -> Arc<Row> {
        Arc::clone(list(dir).entries()[0].row.as_ref().expect("a good row"))
    }

    /// The kernel's clock for a file's times stands still for some milliseconds, and a file that is written in place keeps
    /// its number and, as here, its size.
    #[test]
    fn a_change_that_no_time_shows_is_seen_and_told_once() {
        let dir = TestDir::new("manifests");
        let told = Arc::new(AtomicUsize::new(0));
        let teller = Arc::clone(&told);
        let manifests = Manifests::new(Box::new(move || {
            teller.fetch_add(1, Ordering::Relaxed);
        }));
        put(&dir, 4000);
        let row = row(&dir);
        let port = || manifests.of(&row).expect("a good file").map(|manifest| manifest.port.get());
        for (number, expected) in (4001..4200).enumerate() {
            put(&dir, expected);
            assert_eq!((port(), port()), (Some(expected), Some(expected)));
            assert_eq!(told.load(Ordering::Relaxed), number + 1, "looking again is no news");
        }
    }

    #[test]
    fn a_settled_file_is_read_once() {
        let dir = TestDir::new("manifests");
        put(&dir, 4000);
        let (manifests, row) = (Manifests::new(Box::new(|| {})), row(&dir));
        let read = || manifests.of(&row).expect("a good file").expect("there");
        let settled = std::iter::repeat_with(|| {
            fs::pause(fs::RACY);
            read()
        })
        .find(|_| super::super::lock(&manifests.remembered).values().all(|held| held.settled.is_some()))
        .expect("it settles");
        assert!(Arc::ptr_eq(&settled, &read()));
        std::fs::remove_file(file(dir.path())).expect("removed");
        assert_eq!(manifests.of(&row).expect("none is no error"), None);
    }
    #[test]
    fn who_has_no_row_any_more_takes_no_room() {
        let (gone, there) = (TestDir::new("manifests-gone"), TestDir::new("manifests-there"));
        let manifests = Manifests::new(Box::new(|| {}));
        for dir in [&gone, &there] {
            put(dir, 4000);
            assert!(manifests.of(&row(dir)).expect("a good file").is_some());
        }
        manifests.forget_others(&list(&there));
        let remembered: Vec<_> = super::super::lock(&manifests.remembered).keys().cloned().collect();
        assert_eq!(remembered, [there.path()]);
    }
}
