//! The hub's database; the only place that names `rusqlite`. One file per table.
//!
//! One connection behind a mutex: every call is short, waits at most [`open::BUSY_TIMEOUT`] for another process, and
//! returns plain values. Every commit is synced before the call returns, because what is written here are keys and
//! tokens. Knows nothing of tokens' contents.
#![forbid(unsafe_code)]

mod auth_log;
mod copy;
mod epoch;
mod error;
mod good;
mod keys;
mod module_keys;
mod open;
mod settings;
mod tokens;

#[cfg(test)]
mod tests;

pub(crate) use auth_log::{AuthLog, Entry, Logged, Via};
pub(crate) use copy::{copy, verify};
pub(crate) use epoch::{BEYOND_ANY_COPY, EPOCH_MAX};
pub(crate) use error::{DbError, DbHealth};
pub(crate) use keys::{KeyStanding, KeyState, Keys, Retire, USABLE_LIMIT};
pub(crate) use module_keys::ModuleKeys;
pub(crate) use settings::Settings;
pub(crate) use tokens::{
    CreatedVia, Filter, Listed, NewToken, Quota, Registered, Replacing, Revoked, TokenRow, Tokens,
};

use crate::sys::fs;
use error::Class;
use rusqlite::Connection;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `hub.db`, open and of the newest schema.
pub(crate) struct Db {
    connection: Mutex<Connection>,
    path: PathBuf,
    /// Device and inode of the file that is open.
    identity: (u64, u64),
    /// Size and time of the file when it was last looked at anew, and what was found.
    looked_at: Mutex<((u64, i128), DbHealth)>,
    /// Our own writes, which `PRAGMA data_version` does not count.
    writes: AtomicU64,
    notices: Vec<String>,
}

/// Changes whenever anybody has written to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    others: i64,
    ours: u64,
}

impl Db {
    /// Opens the database, creating it (0600) where there is none. A damaged one is moved aside and replaced; one of
    /// another program or of a later release is refused and left as it is (files §14.5). Its directory must exist.
    pub(crate) fn open(path: &Path) -> Result<Self, DbError> {
        Ok(Self::of(open::open(path)?))
    }

    fn of(opened: open::Opened) -> Self {
        Self {
            connection: Mutex::new(opened.connection),
            path: opened.path,
            identity: opened.identity,
            looked_at: Mutex::new((opened.stamp, DbHealth::Ok)),
            writes: AtomicU64::new(0),
            notices: opened.notices,
        }
    }

    /// Opens the database to read from it only. `None` where there is none, or one that a hub has yet to bring to this
    /// release's schema. Changes nothing: a damaged one is an error.
    pub(crate) fn look(path: &Path) -> Result<Option<Self>, DbError> {
        let opened = open::look(path)?;
        Ok(opened.map(Self::of))
    }

    /// What opening had to put right, as sentences for the log.
    pub(crate) fn notices(&self) -> &[String] {
        &self.notices
    }

    pub(crate) fn keys(&self) -> Keys<'_> {
        Keys(self)
    }

    pub(crate) fn tokens(&self) -> Tokens<'_> {
        Tokens(self)
    }

    pub(crate) fn settings(&self) -> Settings<'_> {
        Settings(self)
    }

    pub(crate) fn auth_log(&self) -> AuthLog<'_> {
        AuthLog(self)
    }

    pub(crate) fn module_keys(&self) -> ModuleKeys<'_> {
        ModuleKeys(self)
    }

    /// Whether what was read earlier still holds: equal versions mean that nobody wrote in between.
    pub(crate) fn version(&self) -> Result<Version, DbError> {
        let connection = self.lock();
        // Under the lock, so that no write of ours can fall between the two numbers.
        let ours = self.writes.load(Ordering::Relaxed);
        let others = connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(|source| self.error("ask whether it changed", &source))?;
        Ok(Version { others, ours })
    }

    /// Whether the database answers and is still the file at its path. For `/health`.
    pub(crate) fn check(&self) -> DbHealth {
        if let Some(lost) = self.lost() {
            return lost;
        }
        match self.lock().query_row("SELECT count(*) FROM hs_keys", [], |row| row.get::<_, i64>(0)) {
            Ok(_) => self.look_anew(),
            Err(error) => DbHealth::Failing(Class::of(&error)),
        }
    }

    /// What a connection of its own finds, when somebody has written to the file: ours has pages of before in its memory.
    fn look_anew(&self) -> DbHealth {
        let Ok(facts) = fs::stat(&self.path) else { return DbHealth::Ok };
        let stamp = (facts.size_bytes, facts.mtime_ns);
        let mut looked_at = self.looked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if looked_at.0 != stamp {
            let found = match facts.size_bytes {
                // Whoever opened it would take it for a new one, and its log away.
                0 => Ok(DbHealth::Failing(Class::Corrupt)),
                _ => open::look_inside(&self.path).map(|()| DbHealth::Ok),
            };
            *looked_at = match found {
                Ok(health) => (stamp, health),
                Err(DbError::Sqlite { class: class @ (Class::Corrupt | Class::NotADatabase), .. }) => {
                    (stamp, DbHealth::Failing(class))
                }
                Err(DbError::NotOurs { .. }) => (stamp, DbHealth::Failing(Class::NotADatabase)),
                // What a later release, or somebody who changes rights, makes of it is for the next hub to judge.
                Err(error) if error.is_invalid() => (stamp, DbHealth::Ok),
                // It cannot be told now; the next look tells.
                Err(_) => return looked_at.1,
            };
        }
        looked_at.1
    }

    /// Whether its file is no longer the one at its path; no, where that cannot be told. Costs a `stat` and waits for
    /// nobody.
    pub(crate) fn lost(&self) -> Option<DbHealth> {
        match fs::stat(&self.path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Some(DbHealth::PathGone)
            }
            Err(_) => None,
            Ok(facts) if (facts.dev, facts.ino) != self.identity => Some(DbHealth::PathReplaced),
            Ok(_) => None,
        }
    }

    /// Closes the file, which takes the log beside it into it. For the end of a hub: whoever asks later finds no tables.
    pub(crate) fn close(&self) {
        // Without a place for an empty database the kernel closes the file, and the next one to open it has the log.
        if let Ok(empty) = Connection::open_in_memory() {
            *self.lock() = empty;
        }
    }

    /// Runs `run` while nobody else can ask the database.
    #[cfg(test)]
    pub(crate) fn while_held<T>(&self, run: impl FnOnce() -> T) -> T {
        let _held = self.lock();
        run()
    }

    /// What no caller of ours would do.
    #[cfg(test)]
    pub(crate) fn execute_for_test(&self, sql: &str) {
        self.lock().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn number_for_test(&self, sql: &str) -> i64 {
        self.lock().query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The connection. A panic of another holder leaves it usable: its transaction was rolled back.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `statements` in one transaction that takes the write lock at once.
    fn write<T>(
        &self,
        doing: &'static str,
        statements: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        let mut connection = self.lock();
        let written = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).and_then(|open| {
            let value = statements(&open)?;
            open.commit()?;
            Ok(value)
        });
        // Also after a failure: whether a failed commit is in the file is not known.
        self.writes.fetch_add(1, Ordering::Relaxed);
        written.map_err(|source| self.error(doing, &source))
    }

    fn read<T>(
        &self,
        doing: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, DbError> {
        query(&self.lock()).map_err(|source| self.error(doing, &source))
    }

    fn error(&self, doing: &'static str, source: &rusqlite::Error) -> DbError {
        DbError::sqlite(&self.path, doing, source)
    }
}
