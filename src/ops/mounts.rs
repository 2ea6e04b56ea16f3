//! Which paths belong to which module now.

use super::Hub;
use crate::manifest::mounts::{Mount, mounts};

impl Hub {
    /// The mounts of all usable rows; `None`, with the reason in the log, when `services.json` cannot be read. Blocks
    /// for a `stat` a module, and for reading what changed. The supervisor hears of a change on the way.
    pub(crate) fn mounts(&self) -> Option<Vec<Mount>> {
        match self.reconcile() {
            // A manifest that cannot be read is said where the module is started, and shown in its row.
            Ok(document) => Some(mounts(&document, |row| self.parts.manifests.of(row).ok().flatten())),
            Err(error) => {
                (self.parts.log)(&format!("the routes stay as they were: {error}"));
                None
            }
        }
    }
}
