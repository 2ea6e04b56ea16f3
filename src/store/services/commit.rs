//! The write itself: optimistic against writers that ignore the lock, and looking at what it displaced.

use super::journal::Journal;
use super::recover::Instead;
use super::{EditError, SERVICES_MAX_BYTES, Services};
use crate::manifest::Problem;
use crate::manifest::services::{self, Document};
use crate::store::StoreError;
use crate::store::atomic::{self, PUBLIC, Staged, Target};
use crate::sys::fs::{Rename, Stat};
use std::io;
use std::time::SystemTime;

/// How often an edit is made on what stands there, because the file changed under it.
const EDIT_TRIES: u32 = 5;
/// How often a displaced foreign version is merged in. Every round is one write against one foreign write.
const MERGE_TRIES: u32 = 16;

/// What an edit started from.
struct Base {
    /// `None` for a missing file.
    bytes: Option<Vec<u8>>,
    stat: Option<Stat>,
    document: Document,
}

/// What to do about a change between reading and writing that is noticed in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtChange {
    BeginAnew,
    Merge,
}

impl Services {
    /// Reads, edits and writes; the lock is held.
    pub(super) fn commit<T>(
        &self,
        journal: &mut Journal,
        mut edit: impl FnMut(&mut Document) -> Result<T, Problem>,
    ) -> Result<T, EditError> {
        let mut last_path = self.home.services_json();
        for left in (0..EDIT_TRIES).rev() {
            let target = self.target()?;
            let Some(base) = self.base(&target)? else { continue };
            let redone = services::redone(&base.document, journal.edits()).map(|(document, _)| document);
            let started = redone.unwrap_or_else(|| base.document.clone());
            let mut edited = started.clone();
            let outcome = edit(&mut edited).map_err(EditError::Refused)?;
            if edited.same_content(&base.document) {
                return Ok(outcome);
            }
            // The last time whatever was written in between is merged, so that a busy file is no reason to fail.
            let at_change = if left == 0 { AtChange::Merge } else { AtChange::BeginAnew };
            let edits = services::edits(&started, &edited);
            journal.suspend(&self.home, &edits)?;
            if self.put(&target, &base, edited, at_change)? {
                if !edits.is_empty() {
                    // Without the note nobody mends this edit, should another program undo it; it is done all the same.
                    let _unprotected = journal.record(&self.home, SystemTime::now(), edits);
                }
                return Ok(outcome);
            }
            last_path = target.path().to_owned();
        }
        Err(StoreError::Contended { path: last_path, tries: EDIT_TRIES }.into())
    }

    fn target(&self) -> Result<Target, StoreError> {
        self.located()?.ok_or_else(|| StoreError::NoHome { path: self.home.path().to_owned() })
    }

    /// What is there now; `None` when it had to be recovered first, was changing, or was away for a moment.
    fn base(&self, target: &Target) -> Result<Option<Base>, StoreError> {
        let Some((bytes, stat)) = target.read(SERVICES_MAX_BYTES)? else {
            if self.comes_back(target)? {
                return Ok(None);
            }
            return Ok(Some(Base { bytes: None, stat: None, document: Document::empty() }));
        };
        match super::parse(target, &bytes) {
            Ok(document) => Ok(Some(Base { bytes: Some(bytes), stat: Some(stat), document })),
            Err(error) => {
                self.recover(target, &bytes, &error)?;
                Ok(None)
            }
        }
    }

    /// Puts `edited` in the place of `base`. `false` when the file had changed already and nothing was written.
    fn put(&self, target: &Target, base: &Base, edited: Document, at_change: AtChange) -> Result<bool, StoreError> {
        let mode = atomic::permitted(&self.home, PUBLIC);
        let bytes = super::to_bytes(&edited, target.path())?;
        let staged = target.stage(&bytes, mode)?;
        let Some(expected) = &base.bytes else {
            return match rename_new(&staged) {
                Ok(()) => staged.settle().map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(source) => Err(target.write_error(source)),
            };
        };
        if at_change == AtChange::BeginAnew && target.stat()? != base.stat {
            return Ok(false);
        }
        match staged.commit(Rename::Exchange) {
            Ok(()) => {}
            Err(error) if has_no_flags(&error) => {
                // What is displaced cannot be looked at here, so there is only the look before.
                if target.stat()? != base.stat {
                    return Ok(false);
                }
                staged.commit(Rename::Replace).map_err(|source| target.write_error(source))?;
                return staged.settle().map(|()| true);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(target.write_error(source)),
        }
        let ours = Placed { staged, bytes, document: edited };
        let settled = match read_displaced(&ours.staged) {
            Ok(displaced) if displaced == *expected => ours.staged.settle(),
            Ok(displaced) => self.merge_displaced(target, base.document.clone(), ours, displaced),
            Err(error) => Err(self.take_back(&ours, error)),
        };
        settled.map(|()| true)
    }

    /// `ours` is in place, and `displaced` is what somebody wrote between our look and the exchange: brings both together
    /// until nobody is in between any more. `base` is what our document was made from.
    fn merge_displaced<'a>(
        &self,
        target: &'a Target,
        mut base: Document,
        mut ours: Placed<'a>,
        mut displaced: Vec<u8>,
    ) -> Result<(), StoreError> {
        for _ in 0..MERGE_TRIES {
            let Ok(theirs) = Document::parse(&displaced) else {
                self.keep_displaced(&displaced, "that cannot be parsed")
                    .map_err(|error| self.take_back(&ours, error))?;
                return target.sync();
            };
            let merged = services::merge(&base, &ours.document, &theirs);
            if merged.same_content(&ours.document) {
                return target.sync();
            }
            let next = self.exchange(target, merged).map_err(|error| self.take_back(&ours, error))?;
            displaced = read_displaced(&next.staged).map_err(|error| self.take_back(&next, error))?;
            let before = std::mem::replace(&mut ours, next);
            if displaced == before.bytes {
                return target.sync();
            }
            base = before.document;
        }
        self.keep_displaced(&displaced, "again and again while it was written here")
            .map_err(|error| self.take_back(&ours, error))?;
        target.sync()
    }

    /// Against a writer that never rests only a quick exchange wins: the disk is waited for at the end.
    fn exchange<'a>(&self, target: &'a Target, document: Document) -> Result<Placed<'a>, StoreError> {
        let bytes = super::to_bytes(&document, target.path())?;
        let staged = target.stage_unsynced(&bytes, atomic::permitted(&self.home, PUBLIC))?;
        staged.commit(Rename::Exchange).map_err(|source| target.write_error(source))?;
        Ok(Placed { staged, bytes, document })
    }

    /// What `ours` displaced cannot be brought together with it, because of `error`: it takes its place again. What can
    /// neither stand nor be merged is kept under another name.
    fn take_back(&self, ours: &Placed<'_>, error: StoreError) -> StoreError {
        match ours.staged.commit(Rename::Exchange) {
            // What cannot be read now is most likely what we have just written.
            Ok(()) if read_displaced(&ours.staged).map_or(true, |taken_out| taken_out == ours.bytes) => error,
            // Somebody came in between again: theirs is the later one.
            Ok(()) if ours.staged.commit(Rename::Exchange).is_ok() => {
                self.keep_staged(&ours.staged, Instead::Later);
                error
            }
            Ok(()) | Err(_) => {
                self.keep_staged(&ours.staged, Instead::Ours);
                match error {
                    StoreError::Write { path, source } => StoreError::Unsettled { path, source },
                    other => other,
                }
            }
        }
    }
}

/// A document of ours in the file's place, and under the temporary name what it displaced.
struct Placed<'a> {
    staged: Staged<'a>,
    bytes: Vec<u8>,
    document: Document,
}

fn read_displaced(staged: &Staged<'_>) -> Result<Vec<u8>, StoreError> {
    Ok(staged.read_displaced(SERVICES_MAX_BYTES)?.unwrap_or_default())
}

/// Puts a first file in place, without replacing one that has just come into being where the kernel can see to that.
fn rename_new(staged: &atomic::Staged<'_>) -> io::Result<()> {
    match staged.commit(Rename::NoReplace) {
        Err(error) if has_no_flags(&error) => staged.commit(Rename::Replace),
        other => other,
    }
}

/// The kernel or the file system knows no flags for a rename.
fn has_no_flags(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}
