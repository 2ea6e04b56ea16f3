//! What the rest of the hub sees of a worker.

use super::Snapshot;
use crate::manifest::Short;
use std::sync::{Mutex, PoisonError};

/// A module's last state, shown by its worker and read by everybody.
#[derive(Debug)]
pub(super) struct Published {
    snapshot: Mutex<Snapshot>,
    /// As its settings said at its last start.
    depends_on: Mutex<Vec<Short>>,
}

impl Published {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self { snapshot: Mutex::new(snapshot), depends_on: Mutex::default() }
    }

    pub(super) fn set_depends_on(&self, others: &[Short]) {
        *self.depends_on.lock().unwrap_or_else(PoisonError::into_inner) = others.to_vec();
    }

    pub(super) fn depends_on(&self) -> Vec<Short> {
        self.depends_on.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn get(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }
}
