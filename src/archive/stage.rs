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
pub(super) const DIR_MODE: u32 = 0o700;

pub(super) struct Stage {
    pub(super) path: PathBuf,
    /// Held as long as somebody works on it; `None` where directories cannot be locked, and so nobody sweeps.
    _lock: Option<FileLock>,
}

impl Stage {
    /// A new one in the directory `beside`, without what earlier ones have left there.
    pub(super) fn new(beside: &Path) -> Result<Self, ArchiveError> {
        sweep(beside);
        let path = beside.join(format!("{BEGIN}{}{END}", random::hex(RANDOM_BYTES)));
        fs::make_dirs(&path, DIR_MODE).map_err(|source| ArchiveError::Write { path: path.clone(), source })?;
        let lock = lock(&path).ok();
        Ok(Self { path, _lock: lock })
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
            .is_ok_and(|stat| stat.kind == Kind::Directory && stat.uid == fs::effective_uid() && stat.mode == DIR_MODE);
        // Who works on one has its lock, which goes with the process.
        if let Some(Ok(_lock)) = is_ours.then(|| lock(&path)) {
            let _ = fs::remove_tree(&path);
        }
    }
}

fn is_stage(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(BEGIN)?.strip_suffix(END));
    random.is_some_and(|r| r.len() == 2 * RANDOM_BYTES && r.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn lock(path: &Path) -> io::Result<FileLock> {
    FileLock::acquire(fs::open_read(path)?, Instant::now())
}
