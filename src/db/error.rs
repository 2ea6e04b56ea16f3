//! What can be wrong with the database, without rusqlite's types.

use rusqlite::ErrorCode;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What kind of trouble SQLite reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Busy,
    Corrupt,
    NotADatabase,
    Io,
    Full,
    ReadOnly,
    CannotOpen,
    Other,
}

impl Class {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
                Self::Busy
            }
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt,
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::SystemIoFailure) => Self::Io,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::CannotOpen,
            _ => Self::Other,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Corrupt => "corrupt",
            Self::NotADatabase => "not a database",
            Self::Io => "io",
            Self::Full => "disk full",
            Self::ReadOnly => "read-only",
            Self::CannotOpen => "cannot open",
            Self::Other => "other",
        }
    }
}

/// The field `db` of `/health`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DbHealth {
    Ok,
    Failing(Class),
    /// The file was deleted; what is written now is lost.
    PathGone,
    /// Another file has taken its name; what is written now is lost.
    PathReplaced,
}

impl DbHealth {
    /// Whether its contents are beyond use, and no time mends that.
    pub(crate) fn is_damage(self) -> bool {
        matches!(self, Self::Failing(Class::Corrupt | Class::NotADatabase))
    }
}

impl fmt::Display for DbHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => write!(f, "ok"),
            Self::Failing(class) => write!(f, "error: {}", class.as_str()),
            Self::PathGone => write!(f, "error: path-gone"),
            Self::PathReplaced => write!(f, "error: path-replaced"),
        }
    }
}

/// Why the database cannot be used.
#[derive(Debug)]
pub(crate) enum DbError {
    Symlink {
        path: PathBuf,
    },
    NotRegular {
        path: PathBuf,
    },
    ForeignOwner {
        path: PathBuf,
        uid: u32,
        ours: u32,
    },
    /// The TypeScript hub's.
    Predecessor {
        path: PathBuf,
    },
    /// A SQLite database of some other program.
    NotOurs {
        path: PathBuf,
        application_id: i32,
        version: i64,
    },
    /// A later release wrote it.
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    /// A file operation around the database failed.
    Files {
        path: PathBuf,
        doing: &'static str,
        source: io::Error,
    },
    /// SQLite reported `message` while `doing`.
    Sqlite {
        path: PathBuf,
        doing: &'static str,
        class: Class,
        message: String,
    },
}

impl DbError {
    pub(super) fn sqlite(path: &Path, doing: &'static str, source: &rusqlite::Error) -> Self {
        Self::Sqlite { path: path.to_owned(), doing, class: Class::of(source), message: source.to_string() }
    }

    /// The same about the file where it will be.
    pub(crate) fn at(mut self, there: &Path) -> Self {
        let (Self::Symlink { path }
        | Self::NotRegular { path }
        | Self::ForeignOwner { path, .. }
        | Self::Predecessor { path }
        | Self::NotOurs { path, .. }
        | Self::Newer { path, .. }
        | Self::Files { path, .. }
        | Self::Sqlite { path, .. }) = &mut self;
        there.clone_into(path);
        self
    }

    /// Whether somebody has to put the file right, and trying again is of no use.
    pub(crate) fn is_invalid(&self) -> bool {
        match self {
            Self::Symlink { .. }
            | Self::NotRegular { .. }
            | Self::ForeignOwner { .. }
            | Self::Predecessor { .. }
            | Self::NotOurs { .. }
            | Self::Newer { .. } => true,
            Self::Files { .. } | Self::Sqlite { .. } => false,
        }
    }

    /// Whether the database is another program's.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Predecessor { .. } | Self::NotOurs { .. })
    }

    /// Whether the file's contents are beyond use.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Sqlite { class: Class::Corrupt | Class::NotADatabase, .. })
    }

    /// Whether it is the file that is at fault, so that a copy of its bytes is no worse than it is.
    pub(crate) fn is_of_the_file(&self) -> bool {
        // What cannot be written to while it is only read has a rollback journal that a crash has left.
        let lasts = matches!(self, Self::Sqlite { class: Class::ReadOnly | Class::Other, .. });
        self.is_damage() || self.is_invalid() || lasts
    }

    /// Whether its contents cannot be had, which says nothing of them.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Sqlite { class: Class::Io | Class::CannotOpen, .. })
    }

    /// Whether another process has it, so that the same may work a moment later.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Sqlite { class: Class::Busy, .. })
    }

    /// Whether there may have been none when it was opened, although there was one a moment before.
    pub(super) fn is_of_a_missing_file(&self) -> bool {
        matches!(self, Self::Sqlite { class: Class::CannotOpen, .. })
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symlink { path } => write!(
                f,
                "{} is a symbolic link, which is not followed because it holds keys; put the file itself there",
                path.display()
            ),
            Self::NotRegular { path } => write!(f, "{} is not a regular file; move it away", path.display()),
            Self::ForeignOwner { path, uid, ours } => write!(
                f,
                "{} belongs to uid {uid} and not to us ({ours}), so keys in it are not trusted; chown it or run as its owner",
                path.display()
            ),
            Self::Predecessor { path } => write!(
                f,
                "{} belongs to the TypeScript hub and is left as it is; set PARACHUTE_HOME to another directory, or move the \
                 file away",
                path.display()
            ),
            Self::NotOurs { path, application_id, version } => write!(
                f,
                "{} is a database of another program (application id {application_id}, schema version {version}) and is left \
                 as it is; move it away",
                path.display()
            ),
            Self::Newer { path, found, known } => write!(
                f,
                "{} has schema version {found} and this release knows {known}; install the newer release again",
                path.display()
            ),
            Self::Files { path, doing, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            Self::Sqlite { path, doing, class, message } => {
                write!(f, "{}: cannot {doing}: {message} ({})", path.display(), class.as_str())?;
                match class {
                    Class::Io | Class::Full => f.write_str("; is the disk full?"),
                    Class::Busy => f.write_str("; another program has it; end that one or try again in a moment"),
                    Class::Corrupt | Class::NotADatabase | Class::ReadOnly | Class::CannotOpen | Class::Other => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for DbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Files { source, .. } => Some(source),
            Self::Symlink { .. }
            | Self::NotRegular { .. }
            | Self::ForeignOwner { .. }
            | Self::Predecessor { .. }
            | Self::NotOurs { .. }
            | Self::Newer { .. }
            | Self::Sqlite { .. } => None,
        }
    }
}
