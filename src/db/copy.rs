//! The database of one moment as a file of its own, and a look at one without changing it.

use super::{DbError, open};
use crate::sys::fs;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// It holds keys.
const FILE_MODE: u32 = 0o600;

/// Copies our database at `from`, which may be in use, to the new file `to` (0600). `false` when there is
/// none. Writers wait for nothing; what they write meanwhile is not in the copy.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<bool, DbError> {
    let from = open::resolve(from)?;
    let Some(before) = open::inspect(&from)?.filter(|facts| facts.size_bytes > 0) else { return Ok(false) };
    // One that nobody has open is copied from a disk, too, that is full or takes no files of SQLite's beside it.
    if !open::is_in_use(&from)? {
        let copied = open::identify(&from, open::UNCHANGEABLE).and_then(|connection| copy_all(&connection, &from, to));
        // Somebody who has opened it meanwhile may have left it again: what was read may be of two moments.
        if !open::is_in_use(&from)? && open::inspect(&from)? == Some(before) {
            return copied.map(|()| true);
        }
        drop(fs::unlink(to));
    }
    open::look_inside(&from)?;
    copy_all(&open::connect(&from, OpenFlags::SQLITE_OPEN_READ_WRITE)?, &from, to).map(|()| true)
}

fn copy_all(connection: &Connection, from: &Path, to: &Path) -> Result<(), DbError> {
    // A path is bytes, and SQLite asks no more of it.
    let name = ToSqlOutput::Borrowed(ValueRef::Text(to.as_os_str().as_bytes()));
    connection.execute("VACUUM INTO ?1", [name]).map_err(|source| DbError::sqlite(from, "copy it", &source))?;
    fs::set_mode_at(to, FILE_MODE).map_err(|source| open::files(to, "make private", source))
}

/// Whether what stands at `path` is a sound database of ours, and its epoch (see [`super::Db::epoch`]) where that can be
/// read; none is fine, and so is one that is empty. Changes nothing, whether a hub has it open or not.
pub(crate) fn verify(path: &Path) -> Result<Option<u64>, DbError> {
    let path = open::resolve(path)?;
    match open::inspect(&path)? {
        Some(facts) if facts.size_bytes > 0 => open::look_from_outside(&path),
        _ => Ok(None),
    }
}
