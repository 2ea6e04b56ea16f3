//! Table `module_keys`: modules that another keeper runs, and the hashes of their keys (operator-token B9).

use super::auth_log::{self, Entry};
use super::{Db, DbError, epoch};
use rusqlite::{OptionalExtension, params};

pub(crate) struct ModuleKeys<'a>(pub(super) &'a Db);

impl ModuleKeys<'_> {
    /// The modules with the hashes of their keys.
    pub(crate) fn all(&self) -> Result<Vec<(String, [u8; 32])>, DbError> {
        self.0.read("read the modules' keys", |connection| {
            let mut query = connection.prepare("SELECT short, key_sha256 FROM module_keys")?;
            query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }

    /// Stores the hash of a module's key in the place of an earlier one, which is taken back by that.
    pub(crate) fn put(&self, short: &str, sha256: &[u8; 32], entry: &Entry<'_>, now_unix: i64) -> Result<(), DbError> {
        self.0.write("store a module's key", |transaction| {
            let earlier = "SELECT 1 FROM module_keys WHERE short = ?1";
            if transaction.query_row(earlier, params![short], |_| Ok(())).optional()?.is_some() {
                epoch::raise(transaction, now_unix)?;
            }
            transaction.execute(
                "INSERT INTO module_keys (short, key_sha256, created_at) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (short) DO UPDATE SET key_sha256 = excluded.key_sha256, created_at = excluded.created_at",
                params![short, sha256, now_unix],
            )?;
            auth_log::note(transaction, entry, now_unix)
        })
    }

    /// Forgets the key of a module; whether there was one.
    pub(crate) fn remove(&self, short: &str, entry: &Entry<'_>, now_unix: i64) -> Result<bool, DbError> {
        self.0.write("forget a module's key", |transaction| {
            let removed = transaction.execute("DELETE FROM module_keys WHERE short = ?1", params![short])?;
            if removed > 0 {
                epoch::raise(transaction, now_unix)?;
                auth_log::note(transaction, entry, now_unix)?;
            }
            Ok(removed > 0)
        })
    }
}
