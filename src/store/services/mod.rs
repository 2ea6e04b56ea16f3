//! `services.json` on the disk: read by everybody at any time, written under a lock that modules do not know of
//! (files §14.3 and §14.4).

mod commit;
mod journal;
mod moved;
mod recover;
#[cfg(test)]
mod tests;

pub(crate) use moved::{Moved, move_home};
pub(crate) use recover::Recovery;

use super::atomic::{Links, Target};
use super::{Home, StoreError};
use crate::manifest::Problem;
use crate::manifest::services::{self, Document, Listing};
use crate::sys::fs::{FileLock, Stat};
use crate::token;
use journal::Journal;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

const SERVICES: &str = "services.json";
const LOCK: &str = "services.json.lock";
/// Who holds it gets the lock next.
const GATE: &str = "services.gate";
const GATE_DIR: &str = "hub/run";
const SERVICES_MAX_BYTES: u64 = 1 << 20;

/// How long an edit waits for another one of ours.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// The list of modules of one home. Shared between threads.
#[derive(Debug)]
pub(crate) struct Services {
    home: Home,
    cache: Mutex<Option<Seen>>,
    recoveries: Mutex<Vec<Recovery>>,
}

/// The list as it was read last.
#[derive(Debug)]
struct Seen {
    /// `None`: there was no file.
    stat: Option<Stat>,
    /// Of what the file held, while its times might not show the next change.
    digest: Option<[u8; 32]>,
    listing: Arc<Listing>,
    presence: Presence,
}

/// Whether the file was still there at the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    There,
    Away,
    /// And somebody has been told.
    KnownAway,
}

impl Seen {
    /// What it said before the file went.
    fn as_it_was(&mut self) -> Arc<Listing> {
        if self.presence == Presence::There {
            self.presence = Presence::Away;
        }
        Arc::clone(&self.listing)
    }

    fn has_rows(&self) -> bool {
        !self.listing.entries().is_empty()
    }
}

/// Why an edit did not happen. The file is as it was.
#[derive(Debug)]
pub(crate) enum EditError {
    Store(StoreError),
    /// The edit itself is not possible.
    Refused(Problem),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Refused(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for EditError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused(_) => None,
        }
    }
}

impl From<StoreError> for EditError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Services {
    pub(crate) fn new(home: Home) -> Self {
        Self { home, cache: Mutex::new(None), recoveries: Mutex::new(Vec::new()) }
    }

    /// What it says now, the same `Arc` while it says the same; a missing file says what it said before, or nothing, and
    /// is an error while its backup has rows.
    /// Costs one `stat` while the file is unchanged, and just after a change a look at its bytes. Never writes and never
    /// waits for a writer.
    pub(crate) fn read(&self) -> Result<Arc<Listing>, StoreError> {
        let Some(target) = self.located()? else { return Ok(Arc::default()) };
        let (now, stat) = (SystemTime::now(), target.stat()?);
        let before = match self.cache().as_mut() {
            Some(seen) if seen.stat == stat && seen.digest.is_none() => {
                seen.presence = Presence::There;
                return Ok(Arc::clone(&seen.listing));
            }
            // Editors and scripts move it away and put it back: a list that is away is not one without modules.
            Some(seen) if stat.is_none() && seen.has_rows() => return Ok(seen.as_it_was()),
            Some(seen) => seen.digest.map(|digest| (digest, Arc::clone(&seen.listing))),
            None => None,
        };
        let read = target.read(SERVICES_MAX_BYTES)?;
        if let (None, Some(seen)) = (&read, self.cache().as_mut().filter(|seen| seen.has_rows())) {
            return Ok(seen.as_it_was());
        }
        let stat = read.as_ref().map(|(_, stat)| *stat);
        let bytes = read.as_ref().map(|(bytes, _)| bytes.as_slice());
        if bytes.is_none() {
            self.look_for_list()?;
        }
        let is_settled = stat.is_none_or(|stat| stat.is_settled(now));
        let digest = bytes.filter(|_| !is_settled || before.is_some()).map(token::sha256);
        let listing = match before.filter(|(held, _)| Some(*held) == digest) {
            Some((_, listing)) => listing,
            None => Arc::new(Listing::from(parse_or_empty(&target, bytes)?)),
        };
        let digest = digest.filter(|_| !is_settled);
        *self.cache() = Some(Seen { stat, digest, listing: Arc::clone(&listing), presence: Presence::There });
        Ok(listing)
    }

    /// Whether the last reads found no file, and gave back what it had said; true once for every time that it goes.
    pub(crate) fn has_gone(&self) -> bool {
        let mut cache = self.cache();
        let Some(seen) = cache.as_mut().filter(|seen| seen.presence == Presence::Away) else { return false };
        seen.presence = Presence::KnownAway;
        true
    }

    /// The same with all that stands in the file, read anew.
    fn document(&self) -> Result<Document, StoreError> {
        let Some(target) = self.located()? else { return Ok(Document::empty()) };
        let read = target.read(SERVICES_MAX_BYTES)?;
        parse_or_empty(&target, read.as_ref().map(|(bytes, _)| bytes.as_slice()))
    }

    /// `None` without a home.
    fn located(&self) -> Result<Option<Target>, StoreError> {
        Target::locate(&self.home, Path::new(SERVICES), Links::Follow)
    }

    /// Changes the document and writes it, durably. `edit` may be called more than once, each time with a fresh
    /// document: whenever somebody else wrote in between. When it changes nothing, nothing is written. Waits at most
    /// 2 s for another edit, then for the disk.
    ///
    /// What a writer that knows no lock has undone of earlier edits is done again, see [`Services::repair`].
    ///
    /// A file that cannot be parsed is kept under another name and the backup takes its place, see [`Services::take_recoveries`].
    pub(crate) fn edit<T>(&self, edit: impl FnMut(&mut Document) -> Result<T, Problem>) -> Result<T, EditError> {
        let _lock = self.lock()?;
        // Notes that cannot be read are none: what they would mend is for the next edit that can.
        let mut journal = Journal::read(&self.home, SystemTime::now()).unwrap_or_default();
        let outcome = self.commit(&mut journal, edit);
        // A foreign writer that came between the edit and its note was seen by nobody. What this look cannot see, the
        // next pass does.
        if outcome.is_ok() && self.undone_of(&journal).is_ok_and(|undone| !undone.is_empty()) {
            let _seen_by_the_next = self.commit(&mut journal, |_| Ok(()));
        }
        *self.cache() = None;
        outcome
    }

    /// The rows of which a writer that knows no lock has undone what edits of the last seconds did. Never writes.
    pub(crate) fn undone(&self) -> Result<Vec<String>, StoreError> {
        self.undone_of(&Journal::read(&self.home, SystemTime::now())?)
    }

    /// Whether what was noted of the last edits can be read.
    pub(crate) fn look_at_journal(&self) -> Result<(), StoreError> {
        Journal::read(&self.home, SystemTime::now()).map(drop)
    }

    fn undone_of(&self, journal: &Journal) -> Result<Vec<String>, StoreError> {
        if journal.is_empty() {
            return Ok(Vec::new());
        }
        let document = self.document()?;
        Ok(services::redone(&document, journal.edits()).map(|(_, names)| names).unwrap_or_default())
    }

    /// Does those edits again; the names of the rows. For whoever sees that the file has changed.
    pub(crate) fn repair(&self) -> Result<Vec<String>, EditError> {
        let undone = self.undone()?;
        if !undone.is_empty() {
            self.edit(|_| Ok(()))?;
        }
        Ok(undone)
    }

    /// What edits had to put aside since the last call, for whoever made them.
    pub(crate) fn take_recoveries(&self) -> Vec<Recovery> {
        std::mem::take(&mut *self.recoveries.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits its turn: whoever waits first holds the gate, so that a writer that never rests cannot take the lock again
    /// before others had it.
    fn lock(&self) -> Result<FileLock, StoreError> {
        let deadline = Instant::now() + LOCK_WAIT;
        let gate = self.take(GATE_DIR, GATE, deadline)?;
        let lock = self.take("", LOCK, deadline)?;
        drop(gate);
        Ok(lock)
    }

    fn take(&self, directory: &str, name: &str, deadline: Instant) -> Result<FileLock, StoreError> {
        self.home.lock(&Path::new(directory).join(name), deadline).map_err(|error| match error {
            // Also who waits at the gate waits for it.
            StoreError::Locked { holder, .. } => StoreError::Locked { path: self.home.path().join(LOCK), holder },
            other => other,
        })
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Option<Seen>> {
        // It is replaced as a whole, so a panic elsewhere leaves it sound.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to stand in the file `path`: nothing that would be refused when it is read again.
fn to_bytes(document: &Document, path: &Path) -> Result<Vec<u8>, StoreError> {
    let overfull = || StoreError::Overfull { path: path.to_owned(), limit_bytes: SERVICES_MAX_BYTES };
    document.to_bytes_within(SERVICES_MAX_BYTES).ok_or_else(overfull)
}

/// The whole document; without a file an empty one.
fn parse_or_empty(target: &Target, bytes: Option<&[u8]>) -> Result<Document, StoreError> {
    bytes.map_or_else(|| Ok(Document::empty()), |bytes| parse(target, bytes))
}

fn parse(target: &Target, bytes: &[u8]) -> Result<Document, StoreError> {
    Document::parse(bytes).map_err(|problem| StoreError::Syntax { path: target.path().to_owned(), problem })
}
