//! Table `hs_keys`: the master secrets (operator-token B2, B8).

use super::auth_log::{self, Entry};
use super::good;
use super::tokens::{self, NewToken, Replacing};
use super::{Db, DbError, epoch};
use rusqlite::{Connection, OptionalExtension, params};

/// Keys that sign or verify at a time; every token's header is compared with each.
pub(crate) const USABLE_LIMIT: i64 = 4;

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

/// The keys as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyStanding {
    pub(crate) usable: u64,
    pub(crate) active_since_unix: Option<i64>,
}

/// What becomes of the keys before a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retire {
    /// The active one verifies until its last token has expired.
    WithLastToken,
    /// The active one verifies until then, in Unix seconds.
    At(i64),
    /// All are dead at once, and their tokens revoked.
    Now,
}

/// What a rotation did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rotated {
    /// Until when the key before still verifies, in Unix seconds; `None` when it does not.
    pub(crate) verify_until: Option<i64>,
    /// Live tokens that end before their time, as jti and subject.
    pub(crate) ending: Vec<(String, String)>,
}

pub(crate) struct Keys<'a>(pub(super) &'a Db);

impl Keys<'_> {
    /// The keys that sign or verify at `now_unix`.
    pub(crate) fn usable(&self, now_unix: i64) -> Result<Vec<KeyRow>, DbError> {
        self.0.read("read the keys", |connection| {
            let mut query = connection.prepare(
                "SELECT kid, secret, state = 'active', coalesce(verify_until, 0) FROM hs_keys \
                 WHERE state = 'active' OR (state = 'verify' AND verify_until > ?1) \
                 ORDER BY state <> 'active', created_at DESC",
            )?;
            let rows = query.query_map(params![now_unix], |row| {
                let state = if row.get(2)? { KeyState::Active } else { KeyState::VerifyUntil(row.get(3)?) };
                Ok(KeyRow { kid: row.get(0)?, secret: row.get(1)?, state })
            })?;
            rows.collect()
        })
    }

    /// How many keys sign or verify at `now_unix`, and since when there is the active one.
    pub(crate) fn standing(&self, now_unix: i64) -> Result<KeyStanding, DbError> {
        self.0.read("count the keys", |connection| {
            connection.query_row(
                "SELECT count(*) FILTER (WHERE state = 'active' OR (state = 'verify' AND verify_until > ?1)), \
                 max(created_at) FILTER (WHERE state = 'active') FROM hs_keys",
                params![now_unix],
                |row| {
                    let usable: i64 = row.get(0)?;
                    Ok(KeyStanding { usable: usable.unsigned_abs(), active_since_unix: row.get(1)? })
                },
            )
        })
    }

    /// Makes this the active key unless there is one already, and buries those whose time was over at `over_unix`. The
    /// first key that a database ever has raises its epoch to `least_epoch`: no token of an earlier database is good
    /// under that key, so that none that was taken back comes to life with it.
    pub(crate) fn ensure_active(
        &self,
        kid: &str,
        secret: &[u8; 32],
        least_epoch: u64,
        now_unix: i64,
        over_unix: i64,
    ) -> Result<(), DbError> {
        let active = "SELECT 1 FROM hs_keys WHERE state = 'active'";
        let exists = |connection: &Connection| connection.query_row(active, [], |_| Ok(())).optional();
        let all_is_well = self.0.read("look for a key", |connection| {
            Ok(exists(connection)?.is_some() && !is_any_over(connection, over_unix)?)
        })?;
        if all_is_well {
            return Ok(());
        }
        self.0.write("store a new key", |transaction| {
            bury_what_is_over(transaction, over_unix)?;
            if exists(transaction)?.is_none() {
                let any = transaction.query_row("SELECT 1 FROM hs_keys", [], |_| Ok(())).optional()?;
                if any.is_none() {
                    epoch::raise_to(transaction, least_epoch, now_unix)?;
                }
                insert_active(transaction, kid, secret, now_unix)?;
            }
            Ok(())
        })
    }

    /// Buries the keys whose time was over at `over_unix`.
    pub(crate) fn bury(&self, over_unix: i64) -> Result<(), DbError> {
        let is_over = self.0.read("look for keys that are over", |connection| is_any_over(connection, over_unix))?;
        if !is_over {
            return Ok(());
        }
        self.0.write("bury a key", |transaction| bury_what_is_over(transaction, over_unix))
    }

    /// Puts a new key into the place of the active one, and registers an operator token under it, in one piece.
    /// Unless `retire` says that they die now, earlier operator tokens go on until `operator_until`. `least_epoch` is
    /// the highest that was ever seen. `None`: there are as many usable keys as may be, and nothing was changed.
    #[expect(clippy::too_many_arguments, reason = "one transaction, and each is a column of it")]
    pub(crate) fn rotate(
        &self,
        kid: &str,
        secret: &[u8; 32],
        retire: Retire,
        operator: &NewToken<'_>,
        operator_until: i64,
        least_epoch: u64,
        entry: &Entry<'_>,
        now_unix: i64,
    ) -> Result<Option<Rotated>, DbError> {
        let count = format!("SELECT count(*) FROM hs_keys WHERE {}", good::key("kid", "?1"));
        self.0.write("rotate the key", |transaction| {
            let usable: i64 = transaction.query_row(&count, params![now_unix], |row| row.get(0))?;
            if retire != Retire::Now && usable >= USABLE_LIMIT {
                return Ok(None);
            }
            let replaced = Replacing::Until { aud: operator.aud, until: operator_until, reason: "key rotated" };
            if retire != Retire::Now {
                tokens::replace(transaction, replaced, now_unix)?;
            }
            let rotated = retire_active(transaction, retire, now_unix)?;
            insert_active(transaction, kid, secret, now_unix)?;
            tokens::insert(transaction, operator)?;
            epoch::raise_to(transaction, least_epoch, now_unix)?;
            epoch::raise(transaction, now_unix)?;
            auth_log::note(transaction, entry, now_unix)?;
            Ok(Some(rotated))
        })
    }
}

fn insert_active(transaction: &Connection, kid: &str, secret: &[u8; 32], now_unix: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO hs_keys (kid, secret, state, created_at) VALUES (?1, ?2, 'active', ?3)",
        params![kid, secret, now_unix],
    )?;
    Ok(())
}

fn is_any_over(connection: &Connection, over_unix: i64) -> rusqlite::Result<bool> {
    let over = "SELECT 1 FROM hs_keys WHERE state = 'verify' AND verify_until <= ?1";
    Ok(connection.query_row(over, params![over_unix], |_| Ok(())).optional()?.is_some())
}

/// A dead key's row stays for the record, its secret does not.
fn bury_what_is_over(transaction: &Connection, now_unix: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE hs_keys SET state = 'dead', secret = zeroblob(32) WHERE state = 'verify' AND verify_until <= ?1",
        params![now_unix],
    )?;
    Ok(())
}

fn retire_active(transaction: &Connection, retire: Retire, now_unix: i64) -> rusqlite::Result<Rotated> {
    if retire == Retire::Now {
        let ending = ending(transaction, None, now_unix)?;
        transaction.execute(
            "UPDATE tokens SET revoked_at = ?1, revoke_reason = 'key withdrawn' WHERE revoked_at IS NULL AND exp > ?1",
            params![now_unix],
        )?;
        transaction.execute(
            "UPDATE hs_keys SET state = 'dead', secret = zeroblob(32), rotated_at = ?1, verify_until = NULL \
             WHERE state <> 'dead'",
            params![now_unix],
        )?;
        return Ok(Rotated { verify_until: None, ending });
    }
    let last: Option<i64> = transaction.query_row(
        "SELECT max(min(exp, coalesce(revoke_after, exp))) FROM tokens \
         WHERE revoked_at IS NULL AND kid = (SELECT kid FROM hs_keys WHERE state = 'active')",
        [],
        |row| row.get(0),
    )?;
    let (until, ending) = match retire {
        Retire::At(at) => (at, ending(transaction, Some(at), now_unix)?),
        Retire::WithLastToken | Retire::Now => (last.unwrap_or(now_unix), Vec::new()),
    };
    // By the clock alone it is not buried, which may be wrong: only when it was asked for, or has no token to check.
    let is_over = until <= now_unix && (matches!(retire, Retire::At(_)) || last.is_none());
    transaction.execute(
        "UPDATE hs_keys SET state = iif(?3, 'dead', 'verify'), secret = iif(?3, zeroblob(32), secret), rotated_at = ?1, \
         verify_until = ?2 WHERE state = 'active'",
        params![now_unix, until, is_over],
    )?;
    Ok(Rotated { verify_until: (until > now_unix).then_some(until), ending })
}

/// The live tokens that the active key will not see to their end at `at`; `None` for all that are live.
fn ending(transaction: &Connection, at: Option<i64>, now_unix: i64) -> rusqlite::Result<Vec<(String, String)>> {
    let mut query = transaction.prepare(&format!(
        "SELECT jti, sub FROM tokens WHERE {} \
         AND (?2 IS NULL OR min(exp, coalesce(revoke_after, exp)) > ?2 \
              AND kid = (SELECT kid FROM hs_keys WHERE state = 'active')) ORDER BY iat, jti",
        good::token("?1")
    ))?;
    query.query_map(params![now_unix, at], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}
