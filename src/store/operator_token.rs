//! `operator.token`: one line, 0600, the key to the hub on its own machine (operator-token B7).

use super::atomic::{self, Links, PRIVATE, Target, Trust};
use super::{Home, StoreError};
use crate::sys::fs::FileLock;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const NAME: &str = "operator.token";
const LOCK: &str = "operator.lock";
/// Replacing the token is two writes that wait for the disk.
const LOCK_WAIT: Duration = Duration::from_secs(10);
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
    Missing { path: PathBuf },
    /// Something other than one line of printable ASCII.
    NotAToken { source_name: String },
    /// A directory, FIFO, socket or device was given; it may well stay where it is.
    NotAFile { path: PathBuf },
    /// The file cannot be used.
    Store(StoreError),
}

impl fmt::Display for OperatorTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => {
                write!(f, "no operator token at {}", path.display())
            }
            Self::NotAToken { source_name } => {
                write!(f, "{source_name} does not hold one line of printable ASCII, so it holds no token")
            }
            Self::NotAFile { path } => write!(f, "{} is not a regular file, so it holds no token", path.display()),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for OperatorTokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Missing { .. } | Self::NotAToken { .. } | Self::NotAFile { .. } => None,
        }
    }
}

impl From<StoreError> for OperatorTokenError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Held by whoever replaces the token: who gets it looks again whether that is still to be done. Waits at most
/// [`LOCK_WAIT`] for another.
pub(crate) fn lock(home: &Home) -> Result<FileLock, StoreError> {
    home.lock(&Path::new("hub/run").join(LOCK), Instant::now() + LOCK_WAIT)
}

/// Where the hub of this home keeps it.
pub(crate) fn path(home: &Home) -> PathBuf {
    home.path().join(NAME)
}

/// Reads the home's own token. A file that others could read is made private, with a warning; one that is not ours
/// alone is refused.
pub(crate) fn read(home: &Home) -> Result<OperatorToken, OperatorTokenError> {
    let target = Target::locate(home, Path::new(NAME), Links::Refuse)?;
    read_file(target, &path(home), Trust::Ours)
}

/// The token for a client: `text` (`PARACHUTE_OPERATOR_TOKEN`) before `file` (`PARACHUTE_OPERATOR_TOKEN_FILE`) before
/// the home's own. The first two are used as they are: a container's secret may be a link and belong to anybody.
pub(crate) fn find(home: &Home, text: Option<&str>, file: Option<&Path>) -> Result<OperatorToken, OperatorTokenError> {
    match (text, file) {
        (Some(text), _) => {
            let token = one_line(text.as_bytes());
            let token = token
                .ok_or_else(|| OperatorTokenError::NotAToken { source_name: "PARACHUTE_OPERATOR_TOKEN".into() })?;
            Ok(OperatorToken { text: token.to_owned(), warnings: Vec::new() })
        }
        (None, Some(file)) => match Target::given(file).map(|target| read_file(target, file, Trust::AsGiven)) {
            Err(StoreError::NotRegular { path })
            | Ok(Err(OperatorTokenError::Store(StoreError::NotRegular { path }))) => {
                Err(OperatorTokenError::NotAFile { path })
            }
            Err(error) => Err(error.into()),
            Ok(outcome) => outcome,
        },
        (None, None) => read(home),
    }
}

/// Whether a token could be put into the home's file, or what stands in its place: nothing is to be revoked for one that
/// cannot be written then.
pub(crate) fn look_at_place(home: &Home) -> Result<(), StoreError> {
    atomic::look_at_place(home, Path::new(NAME))
}

/// Puts `token` into the home's file. A link in its place is refused. After an error the old file is as it was.
pub(crate) fn write(home: &Home, token: &str) -> Result<(), StoreError> {
    atomic::write(home, NAME, format!("{token}\n").as_bytes(), PRIVATE)
}

/// `path` is how it was named; a missing target is one whose directory is not there.
fn read_file(target: Option<Target>, path: &Path, trust: Trust) -> Result<OperatorToken, OperatorTokenError> {
    let missing = || OperatorTokenError::Missing { path: path.to_owned() };
    let target = target.ok_or_else(missing)?;
    let secret = target.read_secret(FILE_LIMIT_BYTES, trust)?.ok_or_else(missing)?;
    if secret.as_slice().trim_ascii().is_empty() {
        return Err(missing());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestHome;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The token, or the first word of the refusal's kind.
    fn outcome(read: Result<OperatorToken, OperatorTokenError>) -> Result<String, String> {
        read.map(|token| token.text).map_err(|error| {
            let kind = format!("{error:?}");
            let kind = kind.strip_prefix("Store(").unwrap_or(&kind);
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
            let home = TestHome::new();
            fs::write(path(&home), bytes).expect("written");
            fs::set_permissions(path(&home), fs::Permissions::from_mode(0o600)).expect("set");
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(outcome(read(&home)), expected, "{:?}", &bytes[..bytes.len().min(20)]);
        }
    }

    #[test]
    fn what_is_written_is_read_back_without_a_warning() {
        let home = TestHome::new();
        assert_eq!(outcome(read(&home)), Err("Missing".to_owned()));
        write(&home, "a.b.c").expect("written");
        let token = read(&home).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((token.text.as_str(), token.warnings.len()), ("a.b.c", 0));
    }

    /// A command reads it while the hub renews it.
    #[test]
    fn a_token_that_is_being_replaced_reads_as_the_old_or_the_new_one() {
        let home = TestHome::new();
        write(&home, "a.b.c").expect("written");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut reads = 0_u32;
                while !is_over.load(Ordering::Relaxed) || reads == 0 {
                    let token = outcome(read(&home));
                    assert!(matches!(token.as_deref(), Ok("a.b.c" | "d.e.f")), "{token:?} after {reads}");
                    reads += 1;
                }
            });
            for number in 0..300 {
                write(&home, if number % 2 == 0 { "d.e.f" } else { "a.b.c" }).expect("written");
            }
            is_over.store(true, Ordering::Relaxed);
            reader.join().expect("every read had a token");
        });
    }

    #[test]
    fn a_loose_file_is_tightened_with_a_warning_and_a_link_refused() {
        let home = TestHome::new();
        write(&home, "a.b.c").expect("written");
        fs::set_permissions(path(&home), fs::Permissions::from_mode(0o640)).expect("set");
        let token = read(&home).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(token.warnings, [format!("tightened {} from 0640 to 0600", path(&home).display())]);
        fs::rename(path(&home), home.path().join("real")).expect("moved");
        symlink("real", path(&home)).expect("linked");
        assert_eq!(outcome(read(&home)), Err("Symlink".to_owned()));
    }

    #[test]
    fn the_environment_goes_before_the_home_and_is_used_as_it_is() {
        let home = TestHome::new();
        write(&home, "home").expect("written");
        fs::write(home.path().join("real"), "file\n").expect("written");
        fs::set_permissions(home.path().join("real"), fs::Permissions::from_mode(0o444)).expect("set");
        let link = home.path().join("link");
        symlink("real", &link).expect("linked");
        let nowhere = home.path().join("nowhere");
        for (text, file, expected) in [
            (None, None, Ok("home")),
            (None, Some(link.as_path()), Ok("file")),
            (Some(" text\n"), Some(link.as_path()), Ok("text")),
            (Some("a b"), None, Err("NotAToken")),
            (None, Some(nowhere.as_path()), Err("Missing")),
            (None, Some(Path::new("/dev/null")), Err("NotAFile")),
            (None, Some(home.path()), Err("NotAFile")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(outcome(find(&home, text, file)), expected, "{text:?} {file:?}");
        }
        assert_eq!(fs::metadata(home.path().join("real")).expect("there").permissions().mode() & 0o777, 0o444);
    }

    /// C38: the names under which others write their temporary files are not ours.
    #[test]
    fn c38_a_link_that_waits_beside_the_file_leads_nowhere() {
        let home = TestHome::new();
        let target = home.put("target", "untouched");
        for name in ["operator.token.tmp", ".operator.token.tmp", "operator.token.new"] {
            symlink(&target, home.path().join(name)).expect("linked");
        }
        write(&home, "a.b.c").expect("written");
        assert_eq!((outcome(read(&home)), home.text("target")), (Ok("a.b.c".to_owned()), "untouched".to_owned()));
        fs::remove_file(path(&home)).expect("removed");
        symlink(&target, path(&home)).expect("linked");
        assert!(matches!(write(&home, "a.b.c"), Err(StoreError::Symlink { .. })));
        assert_eq!(home.text("target"), "untouched");
    }

    #[test]
    fn the_lock_lets_one_at_a_time_replace_it() {
        let home = TestHome::new();
        let held = lock(&home).expect("free");
        let mode = fs::metadata(home.run_dir().join(LOCK)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(held);
        lock(&home).expect("free again");
    }
}
