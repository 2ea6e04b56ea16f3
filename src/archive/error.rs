//! What can go wrong with an archive.

use crate::db::DbError;
use crate::store::StoreError;
use std::fmt;
use std::io;
use std::path::PathBuf;

#[derive(Debug)]
pub(crate) enum ArchiveError {
    /// A file, or a directory, of the home or of the archive.
    Read {
        path: PathBuf,
        source: io::Error,
    },
    Write {
        path: PathBuf,
        source: io::Error,
    },
    /// The same, and what is there already could not be taken back.
    Torn {
        path: PathBuf,
        source: io::Error,
    },
    /// Something stands where something new is to be.
    Exists {
        path: PathBuf,
    },
    /// The archive is to lie in the home that it is made of.
    InsideHome {
        path: PathBuf,
    },
    /// The archive is damaged, or not one of ours.
    Malformed {
        path: PathBuf,
        at_bytes: u64,
        reason: String,
    },
    Database(DbError),
    /// The new home, or a file of ours in it.
    Store(StoreError),
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Write { path, source } => {
                write!(f, "cannot write {}: {source}; nothing is left of it", path.display())
            }
            Self::Torn { path, source } => {
                write!(
                    f,
                    "cannot write {}: {source}; a part is left there, empty it before another try",
                    path.display()
                )
            }
            Self::Exists { path } => write!(f, "{} is there already and is not overwritten", path.display()),
            Self::InsideHome { path } => {
                write!(
                    f,
                    "{} lies in the home itself, and would be lost with it; name a file elsewhere",
                    path.display()
                )
            }
            Self::Malformed { path, at_bytes, reason } => {
                write!(f, "{} cannot be used: at byte {at_bytes}, {reason}; nothing was changed", path.display())
            }
            Self::Database(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ArchiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } | Self::Torn { source, .. } => Some(source),
            Self::Database(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Exists { .. } | Self::InsideHome { .. } | Self::Malformed { .. } => None,
        }
    }
}

impl From<StoreError> for ArchiveError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<DbError> for ArchiveError {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}
