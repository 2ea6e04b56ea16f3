//! Table `hs_keys`: the master secrets (operator-token B2).

use super::{Db, DbError};
use rusqlite::{OptionalExtension, params};

/// What a key is still good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyState {
    /// Signs and verifies.
    Active,
    /// Verifies until then, in Unix seconds.
    VerifyUntil(i64),
}

/// A key that is good for something. The caller wipes the secret.
pub(crate) struct KeyRow {
    pub(crate) kid: String,
    pub(crate) secret: [u8; 32],
    pub(crate) state: KeyState,
}

pub(crate) struct Keys<'a>(pub(super) &'a Db);

impl Keys<'_> {
    /// The keys that sign or verify at `now_unix`.
    pub(crate) fn usable(&self, now_unix: i64) -> Result<Vec<KeyRow>, DbError> {
        self.0.read("read the keys", |connection| {
            let mut query = connection.prepare(
                "SELECT kid, secret, state = 'active', coalesce(verify_until, 0) FROM hs_keys \
                 WHERE state = 'active' OR (state = 'verify' AND verify_until > ?1) ORDER BY created_at DESC",
            )?;
            let rows = query.query_map(params![now_unix], |row| {
                let state = if row.get(2)? { KeyState::Active } else { KeyState::VerifyUntil(row.get(3)?) };
                Ok(KeyRow { kid: row.get(0)?, secret: row.get(1)?, state })
            })?;
            rows.collect()
        })
    }

    /// Makes this the active key unless there is one already.
    pub(crate) fn ensure_active(&self, kid: &str, secret: &[u8; 32], now_unix: i64) -> Result<(), DbError> {
        let active = "SELECT 1 FROM hs_keys WHERE state = 'active'";
        let exists = |connection: &rusqlite::Connection| connection.query_row(active, [], |_| Ok(())).optional();
        if self.0.read("look for a key", exists)?.is_some() {
            return Ok(());
        }
        self.0.write("store a new key", |transaction| {
            if exists(transaction)?.is_none() {
                transaction.execute(
                    "INSERT INTO hs_keys (kid, secret, state, created_at) VALUES (?1, ?2, 'active', ?3)",
                    params![kid, secret, now_unix],
                )?;
            }
            Ok(())
        })
    }
}
