//! Keys that are bound to a file outside the home: each stored secret is a master only together with it, so that the
//! database, or a backup of it, signs nothing by itself (operator-token B2). Rotation goes on as without.

use super::{AuthError, Authority, DATABASE_NAME, Surroundings};
use crate::db::{Db, DbError};
use crate::store::{Home, signing_key};
use crate::token::keyring::FileKey;
use std::path::Path;

/// Setting that holds the mark of the file that the keys are bound to.
const MARK_KEY: &str = "key_file";

/// Whether the keys in the database are those of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// To this file, or, when there is none, to none.
    AsTold,
    /// To none or to another: what they have signed is void from now on.
    Otherwise,
}

/// Reads the file, if there is one.
pub(super) fn read(surroundings: &Surroundings) -> Result<Option<FileKey>, AuthError> {
    let Some(path) = surroundings.signing_key_file.as_deref() else { return Ok(None) };
    let bad = |path: &Path, reason| AuthError::KeyFile { path: path.to_owned(), reason };
    match signing_key::read(path, FileKey::parse).map_err(AuthError::KeyFileStore)? {
        None => Err(bad(path, "there is no such file")),
        Some(None) => Err(bad(path, "it does not hold base64url of at least 32 bytes")),
        Some(Some(key)) => Ok(Some(key)),
    }
}

/// Compares the file with what the keys are bound to. Keys that are bound to a file do not work without one.
pub(super) fn compare(db: &Db, key: Option<&FileKey>) -> Result<Bound, AuthError> {
    match (db.settings().get(MARK_KEY)?, key.map(FileKey::mark)) {
        (Some(_), None) => Err(AuthError::OtherKeyFile),
        (stored, mark) if stored == mark => Ok(Bound::AsTold),
        (_, _) => Ok(Bound::Otherwise),
    }
}

/// Why the next hub would not work with the file that it is told of, or without one; nothing is changed.
pub(crate) fn check_key_file(home: &Home, surroundings: &Surroundings) -> Result<(), AuthError> {
    let key = read(surroundings)?;
    let Some(db) = Db::look(&home.path().join(DATABASE_NAME))? else { return Ok(()) };
    compare(&db, key.as_ref()).map(drop)
}

/// Stores to which file the keys are bound from now on.
pub(super) fn bind(db: &Db, key: Option<&FileKey>, now_unix: i64) -> Result<(), DbError> {
    match key {
        Some(key) => db.settings().put(MARK_KEY, &key.mark(), now_unix),
        None => Ok(()),
    }
}

impl Authority {
    /// Binds the keys to the file that this hub was told of, if they are not: with a new key, and everything void that
    /// the ones before have signed. The hub calls it before it issues anything.
    pub(super) fn adopt_key_file(&self, fresh: bool, now_unix: i64) -> Result<Option<usize>, AuthError> {
        if compare(&self.db, self.file_key.as_ref())? == Bound::AsTold {
            return Ok(None);
        }
        let void = if fresh { 0 } else { self.void_all_keys(now_unix)? };
        // After the keys: when this fails the next hub does both again.
        bind(&self.db, self.file_key.as_ref(), now_unix)?;
        Ok(Some(void))
    }
}
