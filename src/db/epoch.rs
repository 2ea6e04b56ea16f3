//! How often something was taken back: raised with every revocation and every new key, never lowered. A copy of the
//! database that is put back into place is known by a lower one (operator-token B8).

use super::{Db, DbError};
use rusqlite::{Connection, OptionalExtension};

const KEY: &str = "epoch";
/// It stays here, which is as far as the note beside the database goes. SQLite would make a float of what is too high.
pub(crate) const EPOCH_MAX: u64 = 1 << 53;
/// More than it is ever raised by between two copies of a database.
pub(crate) const BEYOND_ANY_COPY: u64 = 1 << 32;

/// Raises it inside the transaction of what it counts.
pub(super) fn raise(transaction: &Connection, now_unix: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO settings (key, value, updated_at) VALUES (?1, '1', ?2) ON CONFLICT (key) \
         DO UPDATE SET value = CAST(min(CAST(value AS INTEGER), ?3 - 1) + 1 AS TEXT), updated_at = excluded.updated_at",
        rusqlite::params![KEY, now_unix, EPOCH_MAX.cast_signed()],
    )?;
    Ok(())
}

/// Sets it to at least `least`, inside a transaction.
pub(super) fn raise_to(transaction: &Connection, least: u64, now_unix: i64) -> rusqlite::Result<()> {
    let least = least.min(EPOCH_MAX).cast_signed();
    transaction.execute(
        "INSERT INTO settings (key, value, updated_at) VALUES (?1, CAST(?2 AS TEXT), ?3) ON CONFLICT (key) \
         DO UPDATE SET value = CAST(min(max(CAST(value AS INTEGER), ?2), ?4) AS TEXT), updated_at = excluded.updated_at",
        rusqlite::params![KEY, least, now_unix, EPOCH_MAX.cast_signed()],
    )?;
    Ok(())
}

pub(super) fn read(connection: &Connection) -> rusqlite::Result<u64> {
    let text = connection.query_row("SELECT value FROM settings WHERE key = ?1", [KEY], |row| row.get(0));
    let text: Option<String> = text.optional()?;
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0))
}

impl Db {
    /// How often something was taken back; 0 at first.
    pub(crate) fn epoch(&self) -> Result<u64, DbError> {
        self.read("read the epoch", read)
    }
}
