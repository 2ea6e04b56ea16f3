//! Table `settings`: what the hub remembers of itself, as text.

use super::auth_log::{self, Entry};
use super::{Db, DbError};
use rusqlite::{OptionalExtension, params};

pub(crate) struct Settings<'a>(pub(super) &'a Db);

impl Settings<'_> {
    /// The value under `key`, which becomes `value` when there is none.
    pub(crate) fn get_or_insert(&self, key: &str, value: &str, now_unix: i64) -> Result<String, DbError> {
        let get = |connection: &rusqlite::Connection| {
            connection.query_row("SELECT value FROM settings WHERE key = ?1", params![key], |row| row.get(0)).optional()
        };
        if let Some(found) = self.0.read("read a setting", get)? {
            return Ok(found);
        }
        self.0.write("store a setting", |transaction| {
            transaction.execute(
                "INSERT INTO settings (key, value, updated_at) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO NOTHING",
                params![key, value, now_unix],
            )?;
            Ok(get(transaction)?.unwrap_or_else(|| value.to_owned()))
        })
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<String>, DbError> {
        self.0.read("read a setting", |connection| {
            connection.query_row("SELECT value FROM settings WHERE key = ?1", params![key], |row| row.get(0)).optional()
        })
    }

    /// Stores `value` under `key`.
    pub(crate) fn put(&self, key: &str, value: &str, now_unix: i64) -> Result<(), DbError> {
        self.0.write("store a setting", |transaction| {
            transaction.execute(
                "INSERT INTO settings (key, value, updated_at) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
                params![key, value, now_unix],
            )?;
            Ok(())
        })
    }

    /// Stores `value` under `key`, or with `None` takes the setting away, and notes that in the audit log.
    pub(crate) fn replace(
        &self,
        key: &str,
        value: Option<&str>,
        entry: &Entry<'_>,
        now_unix: i64,
    ) -> Result<(), DbError> {
        self.0.write("store a setting", |transaction| {
            match value {
                Some(value) => transaction.execute(
                    "INSERT INTO settings (key, value, updated_at) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at",
                    params![key, value, now_unix],
                )?,
                None => transaction.execute("DELETE FROM settings WHERE key = ?1", params![key])?,
            };
            auth_log::note(transaction, entry, now_unix)
        })
    }

    /// The newest `limit` settings whose key begins with `prefix`: what follows the prefix, and when it was stored.
    pub(crate) fn below(&self, prefix: &str, limit: u32) -> Result<Vec<(String, i64)>, DbError> {
        self.0.read("read settings", |connection| {
            let mut query = connection.prepare(
                "SELECT substr(key, length(?1) + 1), updated_at FROM settings WHERE substr(key, 1, length(?1)) = ?1 \
                 ORDER BY updated_at DESC LIMIT ?2",
            )?;
            let rows = query.query_map(params![prefix, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// Forgets the settings whose key begins with `prefix` and that were stored before `before_unix`.
    pub(crate) fn forget_below(&self, prefix: &str, before_unix: i64) -> Result<(), DbError> {
        self.0.write("forget settings", |transaction| {
            transaction.execute(
                "DELETE FROM settings WHERE substr(key, 1, length(?1)) = ?1 AND updated_at < ?2",
                params![prefix, before_unix],
            )?;
            Ok(())
        })
    }
}
