//! How often something was taken back: raised with every revocation and every new key, never lowered. A copy of the
//! database that is put back into place is known by a lower one (operator-token B8).

use super::{Db, DbError};
use rusqlite::{Connection, OptionalExtension};

const KEY: &str = "epoch";

/// Raises it inside the transaction of what it counts.
pub(super) fn raise(transaction: &Connection, now_unix: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO settings (key, value, updated_at) VALUES (?1, '1', ?2) \
         ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT), updated_at = excluded.updated_at",
        rusqlite::params![KEY, now_unix],
    )?;
    Ok(())
}

/// Sets it to at least `least`, inside a transaction.
pub(super) fn raise_to(transaction: &Connection, least: u64, now_unix: i64) -> rusqlite::Result<()> {
    let least = i64::try_from(least).unwrap_or(i64::MAX);
    transaction.execute(
        "INSERT INTO settings (key, value, updated_at) VALUES (?1, CAST(?2 AS TEXT), ?3) ON CONFLICT (key) \
         DO UPDATE SET value = CAST(max(CAST(value AS INTEGER), ?2) AS TEXT), updated_at = excluded.updated_at",
        rusqlite::params![KEY, least, now_unix],
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
