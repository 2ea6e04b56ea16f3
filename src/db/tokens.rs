//! Table `tokens`: the registry. A token without a row here is not valid (operator-token B6).

use super::{Db, DbError};
use rusqlite::{OptionalExtension, params};

/// Expired tokens stay on record for that long.
const KEPT_AFTER_EXPIRY_S: i64 = 30 * 86_400;
/// Rows that one transaction of [`Tokens::purge`] deletes, so that it never holds the lock for long.
const PURGE_CHUNK: usize = 500;

/// Why a token exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CreatedVia {
    /// The first one of a hub.
    OperatorMint,
    /// In place of an earlier one.
    Rotate,
}

impl CreatedVia {
    fn as_str(self) -> &'static str {
        match self {
            Self::OperatorMint => "operator_mint",
            Self::Rotate => "rotate",
        }
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
    pub(crate) iat: i64,
    pub(crate) exp: i64,
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
}

pub(crate) struct Tokens<'a>(pub(super) &'a Db);

impl Tokens<'_> {
    pub(crate) fn find(&self, jti: &str) -> Result<Option<TokenRow>, DbError> {
        self.0.read("look up a token", |connection| {
            connection
                .query_row(
                    "SELECT token_sha256, kid, exp, revoked_at, revoke_after FROM tokens WHERE jti = ?1",
                    params![jti],
                    |row| {
                        Ok(TokenRow {
                            sha256: row.get(0)?,
                            kid: row.get(1)?,
                            exp: row.get(2)?,
                            revoked_at: row.get(3)?,
                            revoke_after: row.get(4)?,
                        })
                    },
                )
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

    /// Registers `token`, durably, before anybody is given it. Together with that, revokes every live token of the
    /// same audience for the reason in `replacing`, if there is one; returns how many.
    pub(crate) fn register(
        &self,
        token: &NewToken<'_>,
        replacing: Option<&str>,
        now_unix: i64,
    ) -> Result<usize, DbError> {
        self.0.write("register a token", |transaction| {
            let revoked = match replacing {
                None => 0,
                Some(reason) => transaction.execute(
                    "UPDATE tokens SET revoked_at = ?2, revoke_reason = ?3 \
                     WHERE aud = ?1 AND exp > ?2 AND revoked_at IS NULL",
                    params![token.aud, now_unix, reason],
                )?,
            };
            transaction.execute(
                "INSERT INTO tokens (jti, token_sha256, kid, sub, aud, scope, client_id, created_via, iat, exp) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                params![
                    token.jti,
                    token.sha256,
                    token.kid,
                    token.sub,
                    token.aud,
                    token.scope,
                    token.client_id,
                    token.created_via.as_str(),
                    token.iat,
                    token.exp,
                ],
            )?;
            Ok(revoked)
        })
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
