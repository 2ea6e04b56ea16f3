//! Table `auth_log`: who did what with keys and tokens (operator-token D17). Never holds a token.

use super::{Db, DbError};
use rusqlite::{Connection, params};

/// Rows that are kept; the oldest go first.
const ROWS_LIMIT: i64 = 10_000;

/// By which way it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// The hub's own doing.
    Hub,
    /// The control API.
    Http,
    /// A command that worked on the database itself.
    Cli,
}

impl Via {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Http => "http",
            Self::Cli => "cli",
        }
    }
}

/// A line to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) action: &'a str,
    pub(crate) jti: Option<&'a str>,
    pub(crate) parent_jti: Option<&'a str>,
    pub(crate) sub: Option<&'a str>,
    pub(crate) via: Via,
    /// Who asked, as far as that is known: an address.
    pub(crate) peer: Option<&'a str>,
    pub(crate) result: &'a str,
}

/// A line that was written, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) id: i64,
    /// Unix seconds.
    pub(crate) at: i64,
    pub(crate) action: String,
    pub(crate) jti: Option<String>,
    pub(crate) parent_jti: Option<String>,
    pub(crate) sub: Option<String>,
    pub(crate) via: String,
    pub(crate) peer: Option<String>,
    pub(crate) result: String,
}

/// Writes a line, inside the transaction of what it tells of.
pub(super) fn note(transaction: &Connection, entry: &Entry<'_>, now_unix: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO auth_log (at, action, jti, parent_jti, sub, via, peer, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            now_unix,
            entry.action,
            entry.jti,
            entry.parent_jti,
            entry.sub,
            entry.via.as_str(),
            entry.peer,
            entry.result
        ],
    )?;
    let newest = transaction.last_insert_rowid();
    transaction.execute("DELETE FROM auth_log WHERE id <= ?1", params![newest - ROWS_LIMIT])?;
    Ok(())
}

pub(crate) struct AuthLog<'a>(pub(super) &'a Db);

impl AuthLog<'_> {
    /// For what changed nothing and is to be known all the same.
    pub(crate) fn note(&self, entry: &Entry<'_>, now_unix: i64) -> Result<(), DbError> {
        self.0.write("write the audit log", |transaction| note(transaction, entry, now_unix))
    }

    /// The newest `limit` lines, newest first.
    pub(crate) fn newest(&self, limit: u32) -> Result<Vec<Logged>, DbError> {
        self.0.read("read the audit log", |connection| {
            let mut query = connection.prepare(
                "SELECT id, at, action, jti, parent_jti, sub, via, peer, result FROM auth_log ORDER BY id DESC LIMIT ?1",
            )?;
            let rows = query.query_map(params![limit], |row| {
                Ok(Logged {
                    id: row.get(0)?,
                    at: row.get(1)?,
                    action: row.get(2)?,
                    jti: row.get(3)?,
                    parent_jti: row.get(4)?,
                    sub: row.get(5)?,
                    via: row.get(6)?,
                    peer: row.get(7)?,
                    result: row.get(8)?,
                })
            })?;
            rows.collect()
        })
    }
}
