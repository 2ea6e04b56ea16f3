//! The private Unix socket between the edge and the hub.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::store::identity::HubLock;
use crate::sys::fs::{self, Kind};

/// Below the home's run directory.
const NAME: &str = "hub.sock";
/// `sun_path` of unix(7), less the NUL at its end, in bytes.
const PATH_LIMIT_BYTES: usize = 107;

/// A bound socket that only this user can reach.
pub(super) struct PrivateSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Keeps a path through it alive.
    directory: Option<File>,
}

#[derive(Debug)]
pub(crate) enum SocketError {
    /// Something that is no socket has its name.
    NotASocket {
        path: PathBuf,
    },
    Bind {
        path: PathBuf,
        source: io::Error,
    },
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASocket { path } => {
                write!(f, "{} is in the way of the hub's socket; move it away", path.display())
            }
            Self::Bind { path, source } => write!(f, "cannot listen on {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotASocket { .. } => None,
            Self::Bind { source, .. } => Some(source),
        }
    }
}

impl PrivateSocket {
    /// Listens on `hub.sock` below `run`, a directory of mode 0700. Whoever holds the hub lock may take away what an
    /// earlier hub left there.
    pub(super) fn bind(run: &Path, _held: &HubLock) -> Result<Self, SocketError> {
        Self::bind_in(run)
    }

    fn bind_in(run: &Path) -> Result<Self, SocketError> {
        let full = run.join(NAME);
        let failed = |source| SocketError::Bind { path: full.clone(), source };
        match fs::stat(&full) {
            Ok(found) if found.kind == Kind::Socket => fs::unlink(&full).map_err(failed)?,
            Ok(_) => return Err(SocketError::NotASocket { path: full }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // A home deep down makes the path too long for the kernel; through the open directory it is always short.
        let (path, directory) = if full.as_os_str().as_bytes().len() <= PATH_LIMIT_BYTES {
            (full.clone(), None)
        } else {
            let directory = fs::open_read(run).map_err(failed)?;
            (PathBuf::from(format!("/proc/self/fd/{}/{NAME}", directory.as_raw_fd())), Some(directory))
        };
        let listener = fs::listen(&path).map_err(failed)?;
        fs::set_mode_at(&full, 0o600).map_err(failed)?;
        Ok(Self { listener, path, directory })
    }

    /// Where this process connects to; another process may not be able to follow it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The listener, and what keeps its path usable: to be held for as long as anybody connects.
    pub(super) fn into_parts(self) -> (UnixListener, Option<File>) {
        (self.listener, self.directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    use std::os::unix::net::UnixStream;

    /// A directory of its own for a test, removed with it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            let name = format!("parachute-serve-{}-{}", std::process::id(), sys::random::hex(6));
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("a temp dir can be made");
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _best_effort = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_socket_is_private_and_replaces_a_stale_one_only() {
        let scratch = Scratch::new();
        drop(PrivateSocket::bind_in(&scratch.0).expect("bound"));
        let again = PrivateSocket::bind_in(&scratch.0).expect("bound over the stale one");
        let mode = fs::metadata(scratch.0.join(NAME)).expect("bound").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(UnixStream::connect(again.path()).is_ok());
        fs::remove_file(scratch.0.join(NAME)).expect("bound");
        fs::write(scratch.0.join(NAME), "mine").expect("writable");
        assert!(matches!(PrivateSocket::bind_in(&scratch.0), Err(SocketError::NotASocket { .. })));
        assert_eq!(fs::read(scratch.0.join(NAME)).expect("still there"), b"mine");
    }

    #[test]
    fn a_home_deep_down_has_a_socket_too() {
        let scratch = Scratch::new();
        let deep = scratch.0.join("d".repeat(PATH_LIMIT_BYTES));
        fs::create_dir(&deep).expect("writable");
        let socket = PrivateSocket::bind_in(&deep).expect("bound through the directory");
        assert!(UnixStream::connect(socket.path()).is_ok());
        assert!(fs::symlink_metadata(deep.join(NAME)).expect("bound").file_type().is_socket());
    }
}
