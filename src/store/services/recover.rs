//! What happens to a `services.json` that cannot be parsed (files §14.4): a writer keeps a copy, goes on from the
//! backup and from what is known besides, and says so.

use super::journal::Journal;
use super::{EditError, SERVICES, SERVICES_MAX_BYTES, Services};
use crate::manifest::Short;
use crate::manifest::services::{self, Document, Listing};
use crate::stamp;
use crate::store::atomic::{self, Links, PRIVATE, PUBLIC, Staged, Target};
use crate::store::{StoreError, modules};
use crate::sys::fs::{self, Rename};
use crate::sys::random;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

pub(super) const BACKUP: &str = "services.json.bak";

/// A writer that truncates in place leaves a broken file for a moment, and one that moves it away none: it gets this
/// long, in this many looks.
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
    /// Rows that came from elsewhere.
    pub(crate) rebuilt: Rebuilt,
}

/// The names of the rows that no backup gave back as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rebuilt {
    /// They stood whole in the unusable file, or in a backup that is unusable too.
    pub(crate) salvaged: Vec<String>,
    /// What our edits of the last seconds did to them was done again.
    pub(crate) redone: Vec<String>,
    /// Commands that were adopted; what their rows said beyond their manifests is lost.
    pub(crate) adopted: Vec<String>,
}

/// What took the place of a file that could not be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instead {
    Backup,
    /// There was no backup.
    EmptyList,
    /// It came while we wrote, and our document stands.
    Ours,
    /// The same, and what somebody wrote after it stands.
    Later,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rebuilt { salvaged, redone, adopted } = &self.rebuilt;
        let instead = match self.instead {
            Instead::Backup => "its backup took its place",
            Instead::EmptyList if self.rebuilt == Rebuilt::default() => "the list begins empty",
            Instead::EmptyList => "no backup can be used",
            Instead::Ours => "what was written here stands",
            Instead::Later => "what was written after it stands",
        };
        write!(f, "{}; it is kept as {} and {instead}", self.reason, self.saved.display())?;
        if !salvaged.is_empty() {
            write!(f, "; what could be read of it gave back {}", salvaged.join(", "))?;
        }
        if !redone.is_empty() {
            write!(f, "; changes of the last seconds were made again: {}", redone.join(", "))?;
        }
        if !adopted.is_empty() {
            let names = adopted.join(", ");
            write!(f, "; {names}: registered again for this machine only, other settings of the row are lost")?;
        }
        Ok(())
    }
}

impl Services {
    /// Saves the document as `services.json.bak` when that holds something else. A missing file and one without rows do
    /// not replace a backup.
    ///
    /// Of a document that cannot be parsed and has no backup that can be used, what stands whole in either is saved, and
    /// of `last`, the list as it was known before, the rows that do not: whoever mends the list has them then.
    pub(crate) fn save_backup(&self, last: &Listing) -> Result<(), StoreError> {
        // One that cannot be read is written anew, or refused as what it is.
        let backup = self.backup().ok().flatten();
        let document = match self.document() {
            Err(StoreError::Syntax { .. }) if backup.is_some() => return Ok(()),
            Err(StoreError::Syntax { .. }) => self.remembered(last)?,
            document => document?,
        };
        let unchanged = backup.is_some_and(|backup| backup.same_content(&document));
        if unchanged || document.entries().is_empty() {
            return Ok(());
        }
        let bytes = super::to_bytes(&document, &self.home.path().join(BACKUP))?;
        atomic::write(&self.home, BACKUP, &bytes, PRIVATE)
    }

    /// Mends a document that cannot be parsed, and keeps the original; see [`Services::take_recoveries`]. For the boot:
    /// nobody has decided anything since. When nothing of it is known elsewhere it stays as it is, for somebody to mend.
    pub(crate) fn restore(&self) -> Result<(), EditError> {
        let Some(target) = self.located()? else { return Ok(()) };
        let Some((bytes, _)) = target.read(SERVICES_MAX_BYTES)? else { return Ok(()) };
        if Document::parse(&bytes).is_err() && !self.rebuild(&bytes, &Listing::default())?.0.entries().is_empty() {
            self.edit(|_| Ok(()))?;
        }
        Ok(())
    }

    /// A list that is not there is one without rows, unless its backup has some: then somebody has moved it away, and to
    /// begin anew would be the end of the others.
    pub(super) fn look_for_list(&self) -> Result<(), StoreError> {
        let Some(target) = self.located()? else { return Ok(()) };
        let has_rows = |backup: Document| !backup.entries().is_empty();
        if target.stat()?.is_some() || !self.backup()?.is_some_and(has_rows) {
            return Ok(());
        }
        Err(StoreError::NoList { path: target.path().to_owned(), backup: self.home.path().join(BACKUP) })
    }

    /// Whether a list that was not there is there again. Fails when it stays away and its backup has rows.
    pub(super) fn comes_back(&self, target: &Target) -> Result<bool, StoreError> {
        for _ in 0..MENDING_LOOKS {
            if self.look_for_list().is_ok() {
                break;
            }
            fs::pause(MENDING_PAUSE);
        }
        self.look_for_list()?;
        Ok(target.stat()?.is_some())
    }

    /// Whether the backup could take the list's place; when there is none there is nothing wrong with it.
    pub(crate) fn look_at_backup(&self) -> Result<(), StoreError> {
        let Some(target) = Target::locate(&self.home, Path::new(BACKUP), Links::Refuse)? else { return Ok(()) };
        let Some((bytes, _)) = target.read(SERVICES_MAX_BYTES)? else { return Ok(()) };
        super::parse(&target, &bytes).map(drop)
    }

    /// `None` when there is none, or none that can be parsed.
    fn backup(&self) -> Result<Option<Document>, StoreError> {
        let bytes = atomic::read(&self.home, BACKUP, SERVICES_MAX_BYTES)?;
        Ok(bytes.and_then(|bytes| Document::parse(&bytes).ok()))
    }

    fn remembered(&self, last: &Listing) -> Result<Document, StoreError> {
        let target = self.located()?.map(|target| target.read(SERVICES_MAX_BYTES)).transpose()?.flatten();
        let (document, _, _) = self.rebuild(&target.map(|(bytes, _)| bytes).unwrap_or_default(), last)?;
        Ok(document)
    }

    /// What can take the place of the unusable file: its backup, then whatever rows stand whole in the file itself or in
    /// a backup that is unusable too, then those of `last`, then the commands that were adopted.
    fn rebuild(&self, spoilt: &[u8], last: &Listing) -> Result<(Document, Instead, Rebuilt), StoreError> {
        // A disk that does not give it back now may do so later: then nothing must have taken its place.
        let backup = atomic::read(&self.home, BACKUP, SERVICES_MAX_BYTES)?.unwrap_or_default();
        let (mut document, instead) = match Document::parse(&backup) {
            Ok(document) => (document, Instead::Backup),
            Err(_) => (Document::empty(), Instead::EmptyList),
        };
        let mut salvaged = document.salvage(spoilt);
        salvaged.extend(document.salvage(&backup));
        document.add_listed(last);
        // What our edits of the last seconds wrote is better known than what a manifest says.
        let noted = Journal::read(&self.home, SystemTime::now()).unwrap_or_default();
        let (mut document, redone) =
            services::redone(&document, noted.edits()).unwrap_or_else(|| (document, Vec::new()));
        let adopted = document.add_usable(&self.adopted()?);
        Ok((document, instead, Rebuilt { salvaged, redone, adopted }))
    }

    /// Rows for the commands that were adopted. Who might reach them is not known, so nobody from elsewhere may.
    fn adopted(&self) -> Result<Vec<Value>, StoreError> {
        let names = match fs::names(&self.home.modules_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(|source| StoreError::Read { path: self.home.modules_dir(), source })?,
        };
        let shorts = names.iter().filter_map(|name| Short::parse(name.to_str()?).ok());
        let rows = shorts.filter_map(|short| {
            let install_dir = self.home.adopted_dir(&short);
            // One that cannot be read is no module that could be started.
            let manifest = modules::read_manifest(&install_dir).ok().flatten()?;
            Some(json!({
                "name": manifest.manifest_name, "port": manifest.port.get(), "paths": manifest.paths,
                "health": manifest.health, "version": modules::NO_VERSION, "installDir": install_dir.to_str()?,
                "publicExposure": "loopback",
            }))
        });
        Ok(rows.collect())
    }

    /// Keeps a copy of the unusable file, then puts what is known of it in its place: at no time is there no file. Does nothing when the file changes meanwhile. The lock is held.
    pub(super) fn recover(&self, target: &Target, bytes: &[u8], error: &StoreError) -> Result<(), StoreError> {
        let unchanged = || Ok::<_, StoreError>(target.read(SERVICES_MAX_BYTES)?.is_some_and(|(now, _)| now == bytes));
        for _ in 0..MENDING_LOOKS {
            fs::pause(MENDING_PAUSE);
            if !unchanged()? {
                return Ok(());
            }
        }
        let saved = self.keep(bytes)?;
        let (document, instead, rebuilt) = self.rebuild(bytes, &Listing::default())?;
        let bytes = super::to_bytes(&document, target.path())?;
        let staged = target.stage(&bytes, atomic::permitted(&self.home, PUBLIC))?;
        if unchanged()? {
            staged.commit(Rename::Replace).map_err(|source| target.write_error(source))?;
            self.note(Recovery { saved, reason: error.to_string(), instead, rebuilt });
            staged.settle()?;
        }
        Ok(())
    }

    /// Keeps a foreign version that was displaced by ours and stands nowhere; `why` ends the sentence about it.
    pub(super) fn keep_displaced(&self, bytes: &[u8], why: &str) -> Result<(), StoreError> {
        let saved = self.keep(bytes)?;
        let reason = format!("somebody wrote a {SERVICES} {why}");
        self.note(Recovery { saved, reason, instead: Instead::Ours, rebuilt: Rebuilt::default() });
        Ok(())
    }

    /// The same, where nothing more can be written: the file itself gets another name.
    pub(super) fn keep_staged(&self, staged: &Staged<'_>, instead: Instead) {
        let reason = format!("somebody wrote {SERVICES} while it was written here, which failed");
        if let Ok(saved) = staged.keep_as(&aside_name(SystemTime::now())) {
            self.note(Recovery { saved, reason, instead, rebuilt: Rebuilt::default() });
        }
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
