//! Table `tokens`: the registry. A token without a row here is not valid (operator-token B6).

use super::auth_log::{self, Entry};
use super::{Db, DbError, epoch, good};
use rusqlite::{Connection, OptionalExtension, params};

mod list;

pub(crate) use list::{Filter, Listed};

/// Expired tokens stay on record for that long.
const KEPT_AFTER_EXPIRY_S: i64 = 30 * 86_400;
/// Rows that one transaction of [`Tokens::purge`] deletes, so that it never holds the lock for long.
const PURGE_CHUNK: usize = 500;
/// Generations that a revocation goes down; longer chains than any that minting makes.
const CASCADE_DEPTH: u32 = 64;
/// A use is noted when the last one was this long ago (B6).
const USE_INTERVAL_S: i64 = 3_600;

/// Why a token exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreatedVia {
    /// The first one of a hub, or one made by hand.
    OperatorMint,
    /// In place of an earlier one.
    Rotate,
    /// In place of one that an earlier origin had issued.
    Heal,
    /// Somebody asked for it.
    CliMint,
}

impl CreatedVia {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OperatorMint => "operator_mint",
            Self::Rotate => "rotate",
            Self::Heal => "heal",
            Self::CliMint => "cli_mint",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::OperatorMint, Self::Rotate, Self::Heal, Self::CliMint].into_iter().find(|via| via.as_str() == text)
    }
}

/// A token to be registered. Times are Unix seconds.
pub(crate) struct NewToken<'a> {
    pub(crate) jti: &'a str,
    pub(crate) sha256: &'a [u8; 32],
    pub(crate) kid: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) aud: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) created_via: CreatedVia,
    pub(crate) parent_jti: Option<&'a str>,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    /// As JSON.
    pub(crate) permissions: Option<&'a str>,
}

/// What verification needs of a registered token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenRow {
    pub(crate) sha256: [u8; 32],
    pub(crate) kid: String,
    pub(crate) exp: i64,
    pub(crate) revoked_at: Option<i64>,
    /// From then on it is as good as revoked.
    pub(crate) revoke_after: Option<i64>,
    pub(crate) last_used_at: Option<i64>,
}

/// Which tokens a new one takes the place of. Being replaced never reaches their children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replacing<'a> {
    Nothing,
    /// Every live one of this audience is revoked at once.
    Now {
        aud: &'a str,
        reason: &'a str,
    },
    /// Every live one of this audience goes on until then at most.
    Until {
        aud: &'a str,
        until: i64,
        reason: &'a str,
    },
}

/// What a parent may still have minted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) live_children: u64,
    pub(crate) window_start: i64,
    pub(crate) in_window: u64,
}

/// What became of a request to register a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    Done,
    /// The parent has as many live children as it may have; the first of them expires then, in Unix seconds.
    TooMany {
        until: i64,
    },
    /// The parent has had many minted lately.
    TooFast,
    /// The parent is not in force any more: it was taken back while its child was made.
    ParentOver,
    /// The key that it was signed with signs nothing any more.
    KeyRetired,
}

/// What a revocation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// When the token was revoked for the first time.
    pub(crate) at: i64,
    /// Tokens that this call took back, the named one and its descendants.
    pub(crate) count: u64,
}

pub(crate) struct Tokens<'a>(pub(super) &'a Db);

impl Tokens<'_> {
    /// Whether a token that is on record is good.
    pub(crate) fn is_good(&self, jti: &str, now_unix: i64) -> Result<bool, DbError> {
        let query = format!("SELECT EXISTS (SELECT 1 FROM tokens WHERE jti = ?1 AND {})", good::token("?2"));
        self.0.read("look up a token", |connection| {
            connection.query_row(&query, params![jti, now_unix], |row| row.get(0))
        })
    }

    pub(crate) fn find(&self, jti: &str) -> Result<Option<TokenRow>, DbError> {
        self.0.read("look up a token", |connection| {
            let mut query = connection.prepare(
                "SELECT token_sha256, kid, exp, revoked_at, revoke_after, last_used_at FROM tokens WHERE jti = ?1",
            )?;
            query
                .query_row(params![jti], |row| {
                    Ok(TokenRow {
                        sha256: row.get(0)?,
                        kid: row.get(1)?,
                        exp: row.get(2)?,
                        revoked_at: row.get(3)?,
                        revoke_after: row.get(4)?,
                        last_used_at: row.get(5)?,
                    })
                })
                .optional()
        })
    }

    /// How many tokens for `aud` are neither expired nor revoked.
    pub(crate) fn count_live(&self, aud: &str, now_unix: i64) -> Result<u64, DbError> {
        self.0.read("count the tokens", |connection| {
            let count: i64 = connection.query_row(
                "SELECT count(*) FROM tokens WHERE aud = ?1 AND exp > ?2 AND revoked_at IS NULL \
                 AND (revoke_after IS NULL OR revoke_after > ?2)",
                params![aud, now_unix],
                |row| row.get(0),
            )?;
            Ok(count.unsigned_abs())
        })
    }

    /// When the newest one was issued, by the clock of that moment.
    pub(crate) fn newest_iat(&self) -> Result<Option<i64>, DbError> {
        self.0.read("look for the newest token", |connection| {
            connection.query_row("SELECT max(iat) FROM tokens", [], |row| row.get(0))
        })
    }

    /// Registers `token`, durably, before anybody is given it, and takes back what it replaces; how many those are.
    pub(crate) fn register(
        &self,
        token: &NewToken<'_>,
        replacing: Replacing<'_>,
        entry: &Entry<'_>,
        now_unix: i64,
    ) -> Result<usize, DbError> {
        self.0.write("register a token", |transaction| {
            let replaced = replace(transaction, replacing, now_unix)?;
            if replaced > 0 {
                epoch::raise(transaction, now_unix)?;
            }
            insert(transaction, token)?;
            auth_log::note(transaction, entry, now_unix)?;
            Ok(replaced)
        })
    }

    /// Registers `token` as a child of its parent, if that is in force at this moment and has not too many already, and
    /// if the key that it was signed with is still the active one. All in one transaction: a revocation comes before it
    /// and is seen here, or after it and finds the child.
    pub(crate) fn register_child(
        &self,
        token: &NewToken<'_>,
        quota: Quota,
        entry: &Entry<'_>,
        now_unix: i64,
    ) -> Result<Registered, DbError> {
        let standing = format!(
            "SELECT EXISTS (SELECT 1 FROM tokens WHERE jti = ?1 AND {}), \
             EXISTS (SELECT 1 FROM hs_keys WHERE kid = ?2 AND state = 'active')",
            good::token("?3")
        );
        self.0.write("register a token", |transaction| {
            let (parent, key): (bool, bool) =
                transaction.query_row(&standing, params![token.parent_jti, token.kid, now_unix], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })?;
            if !parent {
                return Ok(Registered::ParentOver);
            }
            if !key {
                return Ok(Registered::KeyRetired);
            }
            let (live, until, lately): (i64, Option<i64>, i64) = transaction.query_row(
                "SELECT count(*) FILTER (WHERE exp > ?2 AND revoked_at IS NULL), \
                 min(exp) FILTER (WHERE exp > ?2 AND revoked_at IS NULL), count(*) FILTER (WHERE iat BETWEEN ?3 AND ?2) \
                 FROM tokens WHERE parent_jti = ?1",
                params![token.parent_jti, now_unix, quota.window_start],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )?;
            if live.unsigned_abs() >= quota.live_children {
                return Ok(Registered::TooMany { until: until.unwrap_or(now_unix) });
            }
            if lately.unsigned_abs() >= quota.in_window {
                return Ok(Registered::TooFast);
            }
            insert(transaction, token)?;
            auth_log::note(transaction, entry, now_unix)?;
            Ok(Registered::Done)
        })
    }

    /// Revokes a token and, with `cascade`, all that descend from it. `None` when there is no such token.
    pub(crate) fn revoke(
        &self,
        jti: &str,
        cascade: bool,
        entry: &Entry<'_>,
        now_unix: i64,
    ) -> Result<Option<Revoked>, DbError> {
        self.0.write("revoke a token", |transaction| {
            let before: Option<Option<i64>> = transaction
                .query_row("SELECT revoked_at FROM tokens WHERE jti = ?1", params![jti], |row| row.get(0))
                .optional()?;
            let Some(before) = before else { return Ok(None) };
            let depth = if cascade { CASCADE_DEPTH } else { 0 };
            let count = transaction.execute(
                "WITH RECURSIVE line(jti, depth) AS (SELECT ?1, 0 UNION SELECT tokens.jti, line.depth + 1 FROM tokens \
                 JOIN line ON tokens.parent_jti = line.jti WHERE line.depth < ?3) \
                 UPDATE tokens SET revoked_at = ?2, revoke_reason = CASE jti WHEN ?1 THEN 'revoked' ELSE 'parent revoked' END \
                 WHERE jti IN (SELECT jti FROM line) AND revoked_at IS NULL",
                params![jti, now_unix, depth],
            )?;
            if count > 0 {
                epoch::raise(transaction, now_unix)?;
                auth_log::note(transaction, entry, now_unix)?;
            }
            Ok(Some(Revoked { at: before.unwrap_or(now_unix), count: count as u64 }))
        })
    }

    /// Revokes every live token of a subject but `spared` and their descendants; how many.
    pub(crate) fn revoke_subject(
        &self,
        sub: &str,
        spared: Option<&str>,
        entry: &Entry<'_>,
        now_unix: i64,
    ) -> Result<u64, DbError> {
        self.0.write("revoke tokens", |transaction| {
            let count = transaction.execute(
                "WITH RECURSIVE line(jti, depth) AS (SELECT jti, 0 FROM tokens WHERE sub = ?1 AND exp > ?2 \
                 AND (?3 IS NULL OR jti <> ?3) UNION SELECT tokens.jti, line.depth + 1 FROM tokens \
                 JOIN line ON tokens.parent_jti = line.jti WHERE line.depth < ?4) \
                 UPDATE tokens SET revoked_at = ?2, revoke_reason = 'revoked with its subject' \
                 WHERE jti IN (SELECT jti FROM line) AND revoked_at IS NULL AND exp > ?2",
                params![sub, now_unix, spared, CASCADE_DEPTH],
            )?;
            if count > 0 {
                epoch::raise(transaction, now_unix)?;
            }
            auth_log::note(transaction, entry, now_unix)?;
            Ok(count as u64)
        })
    }

    /// Notes that a token was used, unless that was noted lately.
    pub(crate) fn touch(&self, jti: &str, now_unix: i64) -> Result<(), DbError> {
        self.0.write("note the use of a token", |transaction| {
            transaction.execute(
                "UPDATE tokens SET last_used_at = ?2 \
                 WHERE jti = ?1 AND (coalesce(last_used_at, 0) <= ?3 OR last_used_at > ?2)",
                params![jti, now_unix, now_unix - USE_INTERVAL_S],
            )?;
            Ok(())
        })
    }

    /// Whether a use at `now_unix` is worth a write. One in the future was noted by a clock that was wrong.
    pub(crate) fn is_use_worth_noting(row: &TokenRow, now_unix: i64) -> bool {
        row.last_used_at.is_none_or(|at| at <= now_unix - USE_INTERVAL_S || at > now_unix)
    }

    /// Deletes what expired long ago.
    pub(crate) fn purge(&self, now_unix: i64) -> Result<(), DbError> {
        let before = now_unix - KEPT_AFTER_EXPIRY_S;
        let old = self.0.read("look for old tokens", |connection| {
            connection
                .query_row("SELECT count(*) FROM tokens WHERE exp < ?1", params![before], |row| row.get::<_, i64>(0))
        })?;
        for _ in 0..usize::try_from(old).unwrap_or(0).div_ceil(PURGE_CHUNK) {
            self.0.write("delete old tokens", |transaction| {
                transaction.execute(
                    "DELETE FROM tokens WHERE jti IN (SELECT jti FROM tokens WHERE exp < ?1 LIMIT ?2)",
                    params![before, i64::try_from(PURGE_CHUNK).unwrap_or(i64::MAX)],
                )
            })?;
        }
        Ok(())
    }
}

/// Takes back what a new token replaces, inside its transaction; how many.
pub(super) fn replace(transaction: &Connection, replacing: Replacing<'_>, now_unix: i64) -> rusqlite::Result<usize> {
    match replacing {
        Replacing::Nothing => Ok(0),
        Replacing::Now { aud, reason } => transaction.execute(
            "UPDATE tokens SET revoked_at = ?2, revoke_reason = ?3 WHERE aud = ?1 AND exp > ?2 AND revoked_at IS NULL",
            params![aud, now_unix, reason],
        ),
        Replacing::Until { aud, until, reason } => transaction.execute(
            "UPDATE tokens SET revoke_after = ?3, revoke_reason = ?4 WHERE aud = ?1 AND exp > ?2 \
             AND revoked_at IS NULL AND coalesce(revoke_after, exp) > ?3",
            params![aud, now_unix, until, reason],
        ),
    }
}

pub(super) fn insert(transaction: &Connection, token: &NewToken<'_>) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO tokens (jti, token_sha256, kid, sub, aud, scope, client_id, created_via, parent_jti, iat, exp, \
         permissions) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            token.jti,
            token.sha256,
            token.kid,
            token.sub,
            token.aud,
            token.scope,
            token.client_id,
            token.created_via.as_str(),
            token.parent_jti,
            token.iat,
            token.exp,
            token.permissions,
        ],
    )?;
    Ok(())
}
