//! What happens to a `services.json` that cannot be parsed (files §14.4): a writer keeps a copy, goes on from the
//! backup, and says so.

use super::{EditError, SERVICES, SERVICES_MAX_BYTES, Services};
use crate::manifest::services::Document;
use crate::stamp;
use crate::store::StoreError;
use crate::store::atomic::{self, PRIVATE, PUBLIC, Target};
use crate::sys::fs::{self, Rename};
use crate::sys::random;
use std::fmt;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

const BACKUP: &str = "services.json.bak";

/// A writer that truncates in place leaves a broken file for a moment: it gets this long, in this many looks.
const MENDING_LOOKS: u32 = 4;
const MENDING_PAUSE: Duration = Duration::from_millis(50);

/// A file that could not be parsed and was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Where the original is now.
    pub(crate) saved: PathBuf,
    /// Why it could not be used.
    pub(crate) reason: String,
    pub(crate) instead: Instead,
}

/// What took the place of a file that could not be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instead {
    Backup,
    /// There was no backup.
    EmptyList,
    /// It came while we wrote, and our document stands.
    Ours,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instead = match self.instead {
            Instead::Backup => "its backup took its place",
            Instead::EmptyList => "the list begins empty",
            Instead::Ours => "what the hub wrote stands",
        };
        write!(f, "{}; it is kept as {} and {instead}", self.reason, self.saved.display())
    }
}

impl Services {
    /// Saves the document as `services.json.bak` when that holds something else. For after a good read. A missing
    /// file and one without rows do not replace a backup.
    pub(crate) fn save_backup(&self) -> Result<(), StoreError> {
        let document = self.document()?;
        // One that cannot be read is written anew, or refused as what it is.
        let unchanged = self.backup().ok().flatten().is_some_and(|backup| backup.same_content(&document));
        if unchanged || document.entries().is_empty() {
            return Ok(());
        }
        atomic::write(&self.home, BACKUP, &document.to_bytes(), PRIVATE)
    }

    /// Lets the backup take the place of a document that cannot be parsed, which is kept; see
    /// [`Services::take_recoveries`]. For the boot: nobody has decided anything since. Without a backup that can be
    /// used it stays as it is, for somebody to mend.
    pub(crate) fn restore_backup(&self) -> Result<(), EditError> {
        let is_spoilt = matches!(self.document(), Err(StoreError::Syntax { .. } | StoreError::NotUtf8 { .. }));
        if is_spoilt && self.backup()?.is_some() {
            self.edit(|_| Ok(()))?;
        }
        Ok(())
    }

    /// `None` when there is none, or none that can be parsed.
    fn backup(&self) -> Result<Option<Document>, StoreError> {
        let bytes = atomic::read(&self.home, BACKUP, SERVICES_MAX_BYTES)?;
        Ok(bytes.and_then(|bytes| Document::parse(&bytes).ok()))
    }

    /// Keeps a copy of the unusable file, then puts the backup, or an empty list, in its place: at no time is there no
    /// file. Does nothing when the file changes meanwhile. The lock is held.
    pub(super) fn recover(&self, target: &Target, bytes: &[u8], error: &StoreError) -> Result<(), StoreError> {
        let unchanged = || Ok::<_, StoreError>(target.read(SERVICES_MAX_BYTES)?.is_some_and(|(now, _)| now == bytes));
        for _ in 0..MENDING_LOOKS {
            fs::pause(MENDING_PAUSE);
            if !unchanged()? {
                return Ok(());
            }
        }
        let saved = self.keep(bytes)?;
        // A disk that does not give it back now may do so later: then nothing must have taken its place.
        let backup = self.backup()?;
        let instead = if backup.is_some() { Instead::Backup } else { Instead::EmptyList };
        let replacement = backup.unwrap_or_else(Document::empty).to_bytes();
        let staged = target.stage(&replacement, atomic::permitted(&self.home, PUBLIC))?;
        if unchanged()? {
            staged.commit(Rename::Replace).map_err(|source| target.write_error(source))?;
            self.note(Recovery { saved, reason: error.to_string(), instead });
            staged.settle()?;
        }
        Ok(())
    }

    /// Keeps a foreign version that was displaced by ours and cannot be parsed.
    pub(super) fn keep_displaced(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let saved = self.keep(bytes)?;
        let reason = format!("somebody wrote a {SERVICES} that cannot be parsed");
        self.note(Recovery { saved, reason, instead: Instead::Ours });
        Ok(())
    }

    fn keep(&self, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let name = aside_name(SystemTime::now());
        atomic::write(&self.home, &name, bytes, PRIVATE)?;
        Ok(self.home.path().join(name))
    }

    fn note(&self, recovery: Recovery) {
        self.recoveries.lock().unwrap_or_else(PoisonError::into_inner).push(recovery);
    }
}

/// `services.json.corrupt-<utc>-<random>`: two in one second stay apart.
fn aside_name(now: SystemTime) -> String {
    format!("{SERVICES}.corrupt-{}-{}", stamp::compact(now), random::hex(2))
}
