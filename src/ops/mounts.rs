//! Which paths belong to which module now.

use super::Hub;
use super::manifests;
use crate::manifest::mounts::{Mount, mounts};
use std::path::PathBuf;

/// The mounts of all usable rows, and the manifests that had a say in them, there or not.
pub(crate) struct Mounts {
    pub(crate) mounts: Vec<Mount>,
    pub(crate) manifests: Vec<PathBuf>,
}

impl Hub {
    /// Where the modules are; `None`, with the reason in the log, when `services.json` cannot be read. Blocks for a
    /// `stat` a module, and for reading what changed. The supervisor hears of a change on the way.
    pub(crate) fn mounts(&self) -> Option<Mounts> {
        match self.reconcile() {
            Ok(document) => {
                let rows = document.entries().iter().filter_map(|entry| entry.row.as_deref().ok());
                let manifests = rows.filter_map(|row| row.install_dir.as_deref()).map(manifests::file).collect();
                // A manifest that cannot be read is said where the module is started, and shown in its row.
                let mounts = mounts(&document, |row| self.parts.manifests.of(row).ok().flatten());
                Some(Mounts { mounts, manifests })
            }
            Err(error) => {
                (self.parts.log)(&format!("the routes stay as they were: {error}"));
                None
            }
        }
    }
}
