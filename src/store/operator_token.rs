//! `operator.token`: one line, 0600, the key to the hub on its own machine (operator-token B7).

use crate::sys::secret_file::{self, SecretFileError, Trust};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Largest file that is read; a token is at most as long.
const FILE_LIMIT_BYTES: usize = 4096;

/// A token as somebody left it for us; whether it is any good, only the hub says.
pub(crate) struct OperatorToken {
    pub(crate) text: String,
    /// What reading had to put right, as sentences for standard error or the log.
    pub(crate) warnings: Vec<String>,
}

/// Why there is no operator token.
#[derive(Debug)]
pub(crate) enum OperatorTokenError {
    /// No file, or an empty one.
    Missing {
        path: PathBuf,
    },
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
    HardLinked {
        path: PathBuf,
        names: u64,
    },
    TooLarge {
        path: PathBuf,
        limit_bytes: usize,
    },
    /// Something other than one line of printable ASCII.
    NotAToken {
        source_name: String,
    },
    Read {
        path: PathBuf,
        source: io::Error,
    },
    Write {
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for OperatorTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => {
                write!(f, "no operator token at {}; parachute serve creates one when it starts", path.display())
            }
            Self::Symlink { path } => write!(
                f,
                "{} is a symbolic link and is not followed; replace it with the file itself, mode 0600",
                path.display()
            ),
            Self::NotRegular { path } => write!(f, "{} is not a regular file; remove it", path.display()),
            Self::ForeignOwner { path, uid, ours } => write!(
                f,
                "{} belongs to uid {uid} and not to us ({ours}); run as its owner, or chown it",
                path.display()
            ),
            Self::HardLinked { path, names } => write!(
                f,
                "{} has {names} names, so somebody else may read or change it under another; remove it and start \
                 parachute serve again",
                path.display()
            ),
            Self::TooLarge { path, limit_bytes } => {
                write!(f, "{} is larger than {limit_bytes} bytes and holds no token; remove it", path.display())
            }
            Self::NotAToken { source_name } => {
                write!(f, "{source_name} does not hold one line of printable ASCII, so it holds no token")
            }
            Self::Read { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Write { path, source } => write!(f, "cannot write {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for OperatorTokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Some(source),
            Self::Missing { .. }
            | Self::Symlink { .. }
            | Self::NotRegular { .. }
            | Self::ForeignOwner { .. }
            | Self::HardLinked { .. }
            | Self::TooLarge { .. }
            | Self::NotAToken { .. } => None,
        }
    }
}

/// Where the hub of this home keeps it.
pub(crate) fn path(home: &Path) -> PathBuf {
    home.join("operator.token")
}

/// Reads the home's own token. A file that others could read is made private, with a warning; one that is not ours
/// alone is refused.
pub(crate) fn read(home: &Path) -> Result<OperatorToken, OperatorTokenError> {
    read_file(path(home), Trust::Ours)
}

/// The token for a client: `text` (`PARACHUTE_OPERATOR_TOKEN`) before `file` (`PARACHUTE_OPERATOR_TOKEN_FILE`) before
/// the home's own. The first two are used as they are: a container's secret may be a link and belong to anybody.
pub(crate) fn find(home: &Path, text: Option<&str>, file: Option<&Path>) -> Result<OperatorToken, OperatorTokenError> {
    match (text, file) {
        (Some(text), _) => {
            let token = one_line(text.as_bytes());
            let token = token
                .ok_or_else(|| OperatorTokenError::NotAToken { source_name: "PARACHUTE_OPERATOR_TOKEN".into() })?;
            Ok(OperatorToken { text: token.to_owned(), warnings: Vec::new() })
        }
        (None, Some(file)) => read_file(file.to_owned(), Trust::AsGiven),
        (None, None) => read(home),
    }
}

/// Puts `token` into the home's file, whatever is there now. After an error the old file is as it was.
pub(crate) fn write(home: &Path, token: &str) -> Result<(), OperatorTokenError> {
    let path = path(home);
    secret_file::write(&path, format!("{token}\n").as_bytes())
        .map_err(|source| OperatorTokenError::Write { path, source })
}

fn read_file(path: PathBuf, trust: Trust) -> Result<OperatorToken, OperatorTokenError> {
    let secret = match secret_file::read(&path, FILE_LIMIT_BYTES, trust) {
        Ok(secret) => secret,
        Err(error) => return Err(refused(path, error)),
    };
    if secret.as_slice().trim_ascii().is_empty() {
        return Err(OperatorTokenError::Missing { path });
    }
    let Some(text) = one_line(secret.as_slice()) else {
        return Err(OperatorTokenError::NotAToken { source_name: path.display().to_string() });
    };
    let warnings = secret.loose_mode.map(|mode| format!("tightened {} from {mode:04o} to 0600", path.display()));
    Ok(OperatorToken { text: text.to_owned(), warnings: warnings.into_iter().collect() })
}

/// The text without the white space around it, when what is left has none inside.
fn one_line(bytes: &[u8]) -> Option<&str> {
    let line = bytes.trim_ascii();
    let printable = !line.is_empty() && line.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(line).ok().filter(|_| printable)
}

fn refused(path: PathBuf, error: SecretFileError) -> OperatorTokenError {
    match error {
        SecretFileError::Io(source) if source.kind() == io::ErrorKind::NotFound => OperatorTokenError::Missing { path },
        SecretFileError::Io(source) => OperatorTokenError::Read { path, source },
        SecretFileError::Symlink => OperatorTokenError::Symlink { path },
        SecretFileError::NotRegular => OperatorTokenError::NotRegular { path },
        SecretFileError::ForeignOwner { uid, ours } => OperatorTokenError::ForeignOwner { path, uid, ours },
        SecretFileError::HardLinked { names } => OperatorTokenError::HardLinked { path, names },
        SecretFileError::TooLarge { limit_bytes } => OperatorTokenError::TooLarge { path, limit_bytes },
    }
}
