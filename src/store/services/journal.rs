//! `hub/run/services.edits`: what our last edits of `services.json` did, so that they can be done again when a writer
//! that knows no lock has put back an older list (files §14.3).
//!
//! Written under the lock of `services.json`, after the edit. A power failure may take it back: then the other writers
//! are gone as well.

use crate::manifest::services::Edit;
use crate::stamp;
use crate::store::atomic::{self, PRIVATE};
use crate::store::{Home, StoreError};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};

const NAME: &str = "hub/run/services.edits";
/// Some thousand edits; of more than that within the window the oldest are left out.
const MAX_BYTES: usize = 256 << 10;
/// No module takes longer from reading the list to writing it; after that what is not as we left it is meant so.
const WINDOW: Duration = Duration::from_secs(10);

/// The edits of the last seconds, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// With the time of each in Unix milliseconds.
    edits: Vec<(u64, Edit)>,
}

impl Journal {
    /// What a later release or a dying process left there is no edit. A clock that was set back ends all of them.
    pub(super) fn read(home: &Home, now: SystemTime) -> Result<Self, StoreError> {
        let bytes = atomic::read(home, NAME, MAX_BYTES as u64)?.unwrap_or_default();
        let now_ms = stamp::unix_ms(now);
        let is_recent = |at: u64| now_ms.checked_sub(at).is_some_and(|age| u128::from(age) <= WINDOW.as_millis());
        let edits = bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let line: Value = serde_json::from_slice(line).ok()?;
            let at = line.get("at").and_then(Value::as_u64).filter(|at| is_recent(*at))?;
            Some((at, Edit::from_json(line.get("edit")?)?))
        });
        Ok(Self { edits: edits.collect() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    pub(super) fn edits(&self) -> impl Iterator<Item = &Edit> {
        self.edits.iter().map(|(_, edit)| edit)
    }

    /// Takes what was noted of the same rows as `edits` out of the file, until [`Journal::record`] puts it back: an edit
    /// that is made and not noted, because its process died or the disk failed, must not look like one that was undone.
    pub(super) fn suspend(&self, home: &Home, edits: &[Edit]) -> Result<(), StoreError> {
        let is_touched = |noted: &Edit| edits.iter().any(|edit| edit.name() == noted.name());
        if !self.edits().any(is_touched) {
            return Ok(());
        }
        save(home, self.edits.iter().filter(|(_, edit)| !is_touched(edit)))
    }

    /// Adds `edits` and writes all. Who holds the lock of the list is the only one who may.
    pub(super) fn record(&mut self, home: &Home, now: SystemTime, edits: Vec<Edit>) -> Result<(), StoreError> {
        let now_ms = stamp::unix_ms(now);
        self.edits.extend(edits.into_iter().map(|edit| (now_ms, edit)));
        save(home, self.edits.iter())
    }
}

fn save<'a>(home: &Home, edits: impl DoubleEndedIterator<Item = &'a (u64, Edit)>) -> Result<(), StoreError> {
    let mut lines: Vec<String> = Vec::new();
    let mut size_bytes = 0;
    for (at, edit) in edits.rev() {
        let line = format!("{}\n", json!({ "at": at, "edit": edit.to_json() }));
        size_bytes += line.len();
        if size_bytes > MAX_BYTES {
            break;
        }
        lines.push(line);
    }
    lines.reverse();
    atomic::write_volatile(home, Path::new(NAME), lines.concat().as_bytes(), PRIVATE)
}
