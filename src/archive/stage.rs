//! A directory that is made beside its place, and is gone again unless it got there.

use super::ArchiveError;
use crate::sys::fs::{self, FileLock, Kind};
use crate::sys::random;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// What the name begins with; random digits and [`END`] follow.
const BEGIN: &str = ".parachute.";
const END: &str = ".tmp";
const RANDOM_BYTES: usize = 8;
/// How often one begins anew. A sweeper takes only what it meets between two calls of its maker.
const TRIES: usize = 64;
pub(super) const DIR_MODE: u32 = 0o700;
/// Who may give files away.
pub(super) const ROOT_UID: u32 = 0;

pub(super) struct Stage {
    pub(super) path: PathBuf,
    /// Held as long as somebody works on it; `None` where directories cannot be locked, and so nobody sweeps.
    _lock: Option<FileLock>,
}

impl Stage {
    /// A new one in the directory `beside`, without what earlier ones have left there.
    pub(super) fn new(beside: &Path) -> Result<Self, ArchiveError> {
        sweep(beside);
        let mut tries = 0;
        loop {
            let path = beside.join(format!("{BEGIN}{}{END}", random::hex(RANDOM_BYTES)));
            let locked = fs::make_dirs(&path, DIR_MODE).and_then(|()| lock(&path));
            tries += 1;
            match locked {
                Ok(lock) => return Ok(Self { path, _lock: lock }),
                // Somebody who sweeps was faster with the lock, and takes it for one whose maker was killed.
                Err(error) if is_taken(&error) && tries < TRIES => {}
                Err(source) => {
                    let _ = fs::remove_tree(&path);
                    return Err(ArchiveError::Write { path, source });
                }
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_tree(&self.path);
    }
}

/// Removes the stages in the directory `beside` whose makers were killed.
pub(super) fn sweep(beside: &Path) {
    for name in fs::names(beside).unwrap_or_default().iter().filter(|name| is_stage(name)) {
        let path = beside.join(name);
        let is_ours = fs::stat(&path)
            .is_ok_and(|stat| stat.kind == Kind::Directory && is_of_us(stat.uid) && stat.mode & 0o777 == DIR_MODE);
        // Who works on one has its lock, which goes with the process; without locks there is no telling.
        if let Some(Ok(Some(_lock))) = is_ours.then(|| lock(&path)) {
            let _ = fs::remove_tree(&path);
        }
    }
}

fn is_stage(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(BEGIN)?.strip_suffix(END));
    random.is_some_and(|r| r.len() == 2 * RANDOM_BYTES && r.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether one of this owner may be ours: root gives one away before it is moved to its place.
fn is_of_us(uid: u32) -> bool {
    [uid, ROOT_UID].contains(&fs::effective_uid())
}

/// The lock of the stage at `path`; `None` where directories cannot be locked. An error that [`is_taken`] when another
/// has it, or has had it and removed the stage.
fn lock(path: &Path) -> io::Result<Option<FileLock>> {
    let file = fs::open_read(path)?;
    let lock = match FileLock::acquire(file, Instant::now()) {
        Err(error) if !is_taken(&error) => return Ok(None),
        lock => lock?,
    };
    let (locked, there) = (fs::stat_of(lock.file())?, fs::stat(path)?);
    match (locked.dev, locked.ino) == (there.dev, there.ino) {
        true => Ok(Some(lock)),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotFound)
}
