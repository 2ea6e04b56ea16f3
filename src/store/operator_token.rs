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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// The token, or the first word of the refusal's kind.
    fn outcome(read: Result<OperatorToken, OperatorTokenError>) -> Result<String, String> {
        read.map(|token| token.text).map_err(|error| {
            let kind = format!("{error:?}");
            kind.split(' ').next().unwrap_or_default().to_owned()
        })
    }

    #[test]
    fn the_file_holds_one_line() {
        let most = "t".repeat(FILE_LIMIT_BYTES);
        let too_much = "t".repeat(FILE_LIMIT_BYTES + 1);
        for (bytes, expected) in [
            (&b"a.b.c\n"[..], Ok("a.b.c")),
            (b"a.b.c", Ok("a.b.c")),
            (b"a.b.c\r\n", Ok("a.b.c")),
            (b"  a.b.c \n\n", Ok("a.b.c")),
            (most.as_bytes(), Ok(most.as_str())),
            (b"", Err("Missing")),
            (b"\n \t\r\n", Err("Missing")),
            (b"a.b.c\nd.e.f\n", Err("NotAToken")),
            (b"a b", Err("NotAToken")),
            (b"a\0b", Err("NotAToken")),
            ("ä".as_bytes(), Err("NotAToken")),
            (b"\xff\xfe", Err("NotAToken")),
            (too_much.as_bytes(), Err("TooLarge")),
            (&[b'x'; 1 << 20], Err("TooLarge")),
        ] {
            let home = TestDir::new("operator-lines");
            fs::write(path(home.path()), bytes).expect("written");
            fs::set_permissions(path(home.path()), fs::Permissions::from_mode(0o600)).expect("set");
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(outcome(read(home.path())), expected, "{:?}", &bytes[..bytes.len().min(20)]);
        }
    }

    #[test]
    fn what_is_written_is_read_back_without_a_warning() {
        let home = TestDir::new("operator-write");
        assert_eq!(outcome(read(home.path())), Err("Missing".to_owned()));
        write(home.path(), "a.b.c").expect("written");
        let token = read(home.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((token.text.as_str(), token.warnings.len()), ("a.b.c", 0));
        assert!(write(&home.join("nowhere"), "a").is_err());
    }

    #[test]
    fn a_loose_file_is_tightened_with_a_warning_and_a_link_refused() {
        let home = TestDir::new("operator-loose");
        write(home.path(), "a.b.c").expect("written");
        fs::set_permissions(path(home.path()), fs::Permissions::from_mode(0o640)).expect("set");
        let token = read(home.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(token.warnings, [format!("tightened {} from 0640 to 0600", path(home.path()).display())]);
        fs::rename(path(home.path()), home.join("real")).expect("moved");
        symlink("real", path(home.path())).expect("linked");
        assert_eq!(outcome(read(home.path())), Err("Symlink".to_owned()));
    }

    #[test]
    fn the_environment_goes_before_the_home_and_is_used_as_it_is() {
        let home = TestDir::new("operator-find");
        write(home.path(), "home").expect("written");
        fs::write(home.join("real"), "file\n").expect("written");
        fs::set_permissions(home.join("real"), fs::Permissions::from_mode(0o444)).expect("set");
        let link = home.join("link");
        symlink("real", &link).expect("linked");
        let nowhere = home.join("nowhere");
        for (text, file, expected) in [
            (None, None, Ok("home")),
            (None, Some(link.as_path()), Ok("file")),
            (Some(" text\n"), Some(link.as_path()), Ok("text")),
            (Some("a b"), None, Err("NotAToken")),
            (None, Some(nowhere.as_path()), Err("Missing")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(outcome(find(home.path(), text, file)), expected, "{text:?} {file:?}");
        }
        assert_eq!(fs::metadata(home.join("real")).expect("there").permissions().mode() & 0o777, 0o444);
    }
}
