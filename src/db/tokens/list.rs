//! The registry as people and modules look at it.

use super::{CreatedVia, Tokens};
use crate::db::{DbError, good};
use rusqlite::{OptionalExtension, Row, params};

/// What is read of a token at the time that `now` stands for.
fn columns(now: &str) -> String {
    format!(
        "jti, sub, aud, scope, client_id, created_via, parent_jti, iat, exp, permissions, revoked_at, revoke_after, \
         revoke_reason, last_used_at, {}",
        state(now)
    )
}

/// What a token is worth at the time that `now` stands for, in a word.
fn state(now: &str) -> String {
    format!(
        "CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN exp <= {now} THEN 'expired' \
         WHEN revoke_after <= {now} THEN 'revoked' WHEN NOT ({}) THEN 'void' \
         WHEN revoke_after IS NOT NULL THEN 'replaced' ELSE 'good' END",
        good::key("kid", now)
    )
}

/// A registered token, without anything that would help to use it. Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) jti: String,
    pub(crate) sub: String,
    pub(crate) aud: String,
    pub(crate) scope: String,
    pub(crate) client_id: String,
    pub(crate) created_via: String,
    pub(crate) parent_jti: Option<String>,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    /// JSON.
    pub(crate) permissions: Option<String>,
    pub(crate) revoked_at: Option<i64>,
    pub(crate) revoke_after: Option<i64>,
    pub(crate) revoke_reason: Option<String>,
    pub(crate) last_used_at: Option<i64>,
    /// In a word: `good`; `replaced`, which is good for a while; or `revoked`, `expired`, or `void` for its key's sake.
    pub(crate) state: String,
}

/// Which tokens are wanted; `None` is any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// In the state `revoked`, also because the time that it was left is over.
    pub(crate) revoked: Option<bool>,
    /// Good at the moment, whatever ends the others.
    pub(crate) active: Option<bool>,
    pub(crate) subject: Option<String>,
    pub(crate) created_via: Option<CreatedVia>,
    /// Only what is behind this one, as time and jti.
    pub(crate) after: Option<(i64, String)>,
}

impl Tokens<'_> {
    /// Everything on record about one token.
    pub(crate) fn show(&self, jti: &str, now_unix: i64) -> Result<Option<Listed>, DbError> {
        let query = format!("SELECT {} FROM tokens WHERE jti = ?1", columns("?2"));
        self.0.read("look up a token", |connection| {
            connection.query_row(&query, params![jti, now_unix], listed).optional()
        })
    }

    /// At most `limit` tokens, newest first.
    pub(crate) fn list(&self, filter: &Filter, limit: u32, now_unix: i64) -> Result<Vec<Listed>, DbError> {
        // Whoever comes behind a place in this order stays behind it, whatever is minted meanwhile.
        let query = format!(
            "SELECT {} FROM tokens WHERE (?1 IS NULL OR ({} = 'revoked') = ?1) \
             AND (?2 IS NULL OR sub = ?2) AND (?3 IS NULL OR created_via = ?3) \
             AND (?4 IS NULL OR (iat, jti) < (?4, ?5)) AND (?8 IS NULL OR ({}) = ?8) \
             ORDER BY iat DESC, jti DESC LIMIT ?6",
            columns("?7"),
            state("?7"),
            good::token("?7")
        );
        let via = filter.created_via.map(CreatedVia::as_str);
        let after = filter.after.as_ref();
        let (after_iat, after_jti) = (after.map(|(iat, _)| *iat), after.map(|(_, jti)| jti.as_str()));
        self.0.read("list the tokens", |connection| {
            let mut query = connection.prepare(&query)?;
            let values =
                params![filter.revoked, filter.subject, via, after_iat, after_jti, limit, now_unix, filter.active];
            query.query_map(values, listed)?.collect()
        })
    }

    /// The jti of at most `limit` tokens that have not expired and are not good any more, sorted: they were taken back, or
    /// their key was before its time.
    pub(crate) fn revoked(&self, limit: u32, now_unix: i64) -> Result<Vec<String>, DbError> {
        self.0.read("list the revoked tokens", |connection| {
            let mut query = connection.prepare(&format!(
                "SELECT jti FROM (SELECT jti, exp FROM tokens WHERE exp > ?1 AND NOT ({}) \
                 ORDER BY exp DESC LIMIT ?2) ORDER BY jti",
                good::token("?1")
            ))?;
            query.query_map(params![now_unix, limit], |row| row.get(0))?.collect()
        })
    }
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    Ok(Listed {
        jti: row.get(0)?,
        sub: row.get(1)?,
        aud: row.get(2)?,
        scope: row.get(3)?,
        client_id: row.get(4)?,
        created_via: row.get(5)?,
        parent_jti: row.get(6)?,
        iat: row.get(7)?,
        exp: row.get(8)?,
        permissions: row.get(9)?,
        revoked_at: row.get(10)?,
        revoke_after: row.get(11)?,
        revoke_reason: row.get(12)?,
        last_used_at: row.get(13)?,
        state: row.get(14)?,
    })
}
