//! The write itself: optimistic against writers that ignore the lock, and looking at what it displaced.

use super::{EditError, SERVICES, SERVICES_MAX_BYTES, Services};
use crate::manifest::Problem;
use crate::manifest::services::{self, Document};
use crate::store::StoreError;
use crate::store::atomic::{self, Links, PUBLIC, Target};
use crate::sys::fs::{Rename, Stat};
use std::io;
use std::path::Path;

/// How often an edit begins anew because the file changed under it.
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

impl Services {
    /// Reads, edits and writes; the lock is held.
    pub(super) fn commit<T>(&self, mut edit: impl FnMut(&mut Document) -> Result<T, Problem>) -> Result<T, EditError> {
        let mut last_path = self.home.services_json();
        for _ in 0..EDIT_TRIES {
            let target = self.target()?;
            let base = self.base(&target)?;
            let mut edited = base.document.clone();
            let outcome = edit(&mut edited).map_err(EditError::Refused)?;
            if edited.same_content(&base.document) {
                return Ok(outcome);
            }
            if self.put(&target, &base, edited)? {
                return Ok(outcome);
            }
            last_path = target.path().to_owned();
        }
        Err(StoreError::Contended { path: last_path, tries: EDIT_TRIES }.into())
    }

    fn target(&self) -> Result<Target, StoreError> {
        let target = Target::locate(&self.home, Path::new(SERVICES), Links::Follow)?;
        target.ok_or_else(|| StoreError::NoHome { path: self.home.path().to_owned() })
    }

    fn base(&self, target: &Target) -> Result<Base, StoreError> {
        let Some((bytes, stat)) = target.read(SERVICES_MAX_BYTES)? else {
            return Ok(Base { bytes: None, stat: None, document: Document::empty() });
        };
        match super::parse(target, &bytes) {
            Ok(document) => Ok(Base { bytes: Some(bytes), stat: Some(stat), document }),
            Err(error) => {
                let document = self.recover(target, &bytes, error)?;
                // The unusable file was moved aside, unless it was mended while we looked.
                Ok(Base { bytes: None, stat: None, document })
            }
        }
    }

    /// Puts `edited` in the place of `base`. `false` when the file had changed already and nothing was written.
    fn put(&self, target: &Target, base: &Base, mut edited: Document) -> Result<bool, StoreError> {
        let mode = atomic::permitted(&self.home, PUBLIC);
        let Some(mut expected) = base.bytes.clone() else {
            let staged = target.stage(&edited.to_bytes(), mode)?;
            return match rename_new(&staged) {
                Ok(()) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(source) => Err(target.write_error(source)),
            };
        };
        let mut expected_document = base.document.clone();
        for _ in 0..MERGE_TRIES {
            let bytes = edited.to_bytes();
            let staged = target.stage(&bytes, mode)?;
            // Only before the first write: afterwards the edit is out, and what others did has to be merged.
            if base.bytes.as_ref() == Some(&expected) && target.stat()? != base.stat {
                return Ok(false);
            }
            match staged.commit(Rename::Exchange) {
                Ok(()) => {}
                Err(error) if cannot_exchange(&error) => {
                    staged.commit(Rename::Replace).map_err(|source| target.write_error(source))?;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(source) => return Err(target.write_error(source)),
            }
            let displaced = staged.read_displaced(SERVICES_MAX_BYTES)?.unwrap_or_default();
            if displaced == expected {
                return Ok(true);
            }
            // Somebody slipped in between our look and the exchange, and what they wrote is out of the way now.
            let Ok(theirs) = Document::parse(&displaced) else {
                self.keep_displaced(&displaced)?;
                return Ok(true);
            };
            let merged = services::merge(&expected_document, &edited, &theirs);
            if merged.same_content(&edited) {
                return Ok(true);
            }
            (expected, expected_document, edited) = (bytes, edited, merged);
        }
        Err(StoreError::Contended { path: target.path().to_owned(), tries: MERGE_TRIES })
    }
}

/// Puts a first file in place, without replacing one that has just come into being where the kernel can see to that.
fn rename_new(staged: &atomic::Staged<'_>) -> io::Result<()> {
    match staged.commit(Rename::NoReplace) {
        Err(error) if cannot_exchange(&error) => staged.commit(Rename::Replace),
        other => other,
    }
}

/// The kernel or the file system knows no flags for a rename.
fn cannot_exchange(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}
