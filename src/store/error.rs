//! What can go wrong with a file, in sentences that name it and say what to do.

use crate::manifest::Problem;
use crate::shell;
use crate::sys::socket::is_out_of_descriptors;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A file below the home, or a module's, that cannot be used.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// The kernel would not open or read it.
    Read {
        path: PathBuf,
        source: io::Error,
    },
    /// It could not be written; what was there before is untouched.
    Write {
        path: PathBuf,
        source: io::Error,
    },
    /// It is written, and a power failure may still take that back.
    Unsettled {
        path: PathBuf,
        source: io::Error,
    },
    /// The home is not there, and was not to be made.
    NoHome {
        path: PathBuf,
    },
    /// The list of modules is not there, and its backup has rows.
    NoList {
        path: PathBuf,
        backup: PathBuf,
    },
    /// The note of the database's epoch is there and is no number.
    NoEpoch {
        path: PathBuf,
    },
    /// A module's directory is not there.
    NoPackage {
        path: PathBuf,
    },
    /// The home's path does not begin with `/`.
    Relative {
        path: PathBuf,
    },
    TooLarge {
        path: PathBuf,
        limit_bytes: u64,
    },
    /// What was to be written could not be read again.
    Overfull {
        path: PathBuf,
        limit_bytes: u64,
    },
    /// A directory, FIFO, socket or device.
    NotRegular {
        path: PathBuf,
    },
    /// Something else where a directory belongs.
    NotADirectory {
        path: PathBuf,
    },
    /// A symbolic link where none may be.
    Symlink {
        path: PathBuf,
    },
    /// Somebody else owns it.
    ForeignOwner {
        path: PathBuf,
        owner_uid: u32,
    },
    /// It is to be ours alone, and others may reach it under another name.
    HardLinked {
        path: PathBuf,
        names: u64,
    },
    /// Others may write it.
    LooseMode {
        path: PathBuf,
        mode: u32,
    },
    /// A secret that others can get at.
    Exposed {
        path: PathBuf,
        mode: u32,
    },
    NotUtf8 {
        path: PathBuf,
    },
    /// Its text does not say what it must.
    Syntax {
        path: PathBuf,
        problem: Problem,
    },
    /// Another process holds its lock.
    Locked {
        path: PathBuf,
        holder: Option<u32>,
    },
    /// The hub that wrote it runs on, although its lock is free: somebody has removed the file of it.
    HubLives {
        path: PathBuf,
        pid: u32,
    },
    /// Others wrote it again and again while we did.
    Contended {
        path: PathBuf,
        tries: u32,
    },
}

impl StoreError {
    /// Whether somebody has to put the file right, and trying again is of no use.
    pub(crate) fn is_invalid(&self) -> bool {
        match self {
            Self::Relative { .. }
            | Self::NoList { .. }
            | Self::NoEpoch { .. }
            | Self::TooLarge { .. }
            | Self::NotRegular { .. }
            | Self::NotADirectory { .. }
            | Self::Symlink { .. }
            | Self::ForeignOwner { .. }
            | Self::HardLinked { .. }
            | Self::LooseMode { .. }
            | Self::Exposed { .. }
            | Self::NotUtf8 { .. }
            | Self::Syntax { .. } => true,
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Unsettled { .. }
            | Self::NoHome { .. }
            | Self::NoPackage { .. }
            | Self::Overfull { .. }
            | Self::Locked { .. }
            | Self::HubLives { .. }
            | Self::Contended { .. } => false,
        }
    }

    /// The file that it is about.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::Unsettled { path, .. }
            | Self::NoHome { path }
            | Self::NoList { path, .. }
            | Self::NoEpoch { path }
            | Self::NoPackage { path }
            | Self::Relative { path }
            | Self::TooLarge { path, .. }
            | Self::Overfull { path, .. }
            | Self::NotRegular { path }
            | Self::NotADirectory { path }
            | Self::Symlink { path }
            | Self::ForeignOwner { path, .. }
            | Self::HardLinked { path, .. }
            | Self::LooseMode { path, .. }
            | Self::Exposed { path, .. }
            | Self::NotUtf8 { path }
            | Self::Syntax { path, .. }
            | Self::Locked { path, .. }
            | Self::HubLives { path, .. }
            | Self::Contended { path, .. } => path,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path().display();
        match self {
            Self::Read { source, .. } => {
                write!(f, "cannot read {path}: {source}; {}", advice(source, "check the file and its permissions"))
            }
            Self::Write { source, .. } => {
                let advice = advice(source, "check space and permissions");
                write!(f, "cannot write {path}: {source}; it is as it was before; {advice}")
            }
            Self::Unsettled { source, .. } => {
                write!(f, "{path} is written, but the disk did not confirm it: {source}; check the disk")
            }
            Self::NoHome { .. } => write!(f, "{path} does not exist; start the hub once, or set PARACHUTE_HOME"),
            Self::NoList { backup, .. } => {
                let backup = backup.display();
                write!(
                    f,
                    "{path} is not there, and {backup} has its rows; put it back or copy that one to it, or to begin anew move that one away"
                )
            }
            // Whoever took it away would have an older copy accepted.
            Self::NoEpoch { .. } => write!(
                f,
                "{path} holds no number, so that hub.db may be an older copy; no token is accepted until: parachute auth \
                 rotate-key --now"
            ),
            Self::NoPackage { .. } => {
                write!(f, "its directory {path} does not exist; bring it back or install the module anew")
            }
            Self::Relative { .. } => write!(f, "{path} is not an absolute path; give one that begins with \"/\""),
            Self::TooLarge { limit_bytes, .. } => {
                write!(f, "{path} is larger than {limit_bytes} bytes; trim it or move it away")
            }
            Self::Overfull { limit_bytes, .. } => {
                write!(f, "{path} would be larger than {limit_bytes} bytes; it is as it was before; trim it first")
            }
            Self::NotRegular { .. } => write!(f, "{path} is not a regular file; move it away"),
            Self::NotADirectory { .. } => write!(f, "{path} is not a directory; move it away"),
            Self::Symlink { .. } => {
                write!(f, "{path} is a symbolic link that is not followed; put the file itself there")
            }
            Self::ForeignOwner { owner_uid, .. } => {
                write!(f, "{path} belongs to user {owner_uid}; run as that user, or change its owner")
            }
            Self::HardLinked { names, .. } => {
                write!(f, "{path} has {names} names, so others may read or change it under another; move it away")
            }
            Self::LooseMode { mode, .. } => {
                write!(
                    f,
                    "{path} can be written by others (mode {mode:04o}); run: chmod go-w {}",
                    shell::word(self.path())
                )
            }
            Self::Exposed { mode, .. } => {
                write!(
                    f,
                    "{path} holds a secret and is open to others (mode {mode:04o}); run: chmod 0600 {}",
                    shell::word(self.path())
                )
            }
            Self::NotUtf8 { .. } => write!(f, "{path} is not UTF-8 text; save it as UTF-8"),
            Self::Syntax { problem, .. } => write!(f, "{path} cannot be used: {problem}; correct it or move it away"),
            Self::Locked { holder: Some(pid), .. } => {
                write!(f, "{path} is locked by process {pid}; wait for it or end it, then try again")
            }
            Self::Locked { holder: None, .. } => {
                write!(f, "{path} is locked by another process; wait for it or end it, then try again")
            }
            Self::HubLives { pid, .. } => write!(
                f,
                "process {pid}, which {path} names, runs, although it does not hold hub/run/hub.lock; unless this is a copy of \
                 another home in use, end it with: kill {pid}"
            ),
            Self::Contended { tries, .. } => {
                write!(f, "{path} was changed by others during each of {tries} attempts to write it; try again")
            }
        }
    }
}

/// What to do about it; `usual` where the file itself, or its disk, stands in the way.
fn advice<'a>(source: &io::Error, usual: &'a str) -> &'a str {
    if is_out_of_descriptors(source) { "close some files or raise the limit of open files" } else { usual }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } | Self::Unsettled { source, .. } => Some(source),
            Self::NoHome { .. }
            | Self::NoList { .. }
            | Self::NoEpoch { .. }
            | Self::NoPackage { .. }
            | Self::Relative { .. }
            | Self::TooLarge { .. }
            | Self::Overfull { .. }
            | Self::NotRegular { .. }
            | Self::NotADirectory { .. }
            | Self::Symlink { .. }
            | Self::ForeignOwner { .. }
            | Self::HardLinked { .. }
            | Self::LooseMode { .. }
            | Self::Exposed { .. }
            | Self::NotUtf8 { .. }
            | Self::Syntax { .. }
            | Self::Locked { .. }
            | Self::HubLives { .. }
            | Self::Contended { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_advised_helps_against_what_went_wrong() {
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        const ENOSPC: i32 = 28;
        let descriptors = "; close some files or raise the limit of open files";
        for (errno, of_read, of_write) in [
            (EMFILE, descriptors, descriptors),
            (ENFILE, descriptors, descriptors),
            (ENOSPC, "; check the file and its permissions", "; check space and permissions"),
        ] {
            let source = || io::Error::from_raw_os_error(errno);
            let read = StoreError::Read { path: "/p".into(), source: source() }.to_string();
            let write = StoreError::Write { path: "/p".into(), source: source() }.to_string();
            assert!(read.ends_with(of_read) && write.ends_with(of_write), "{read}, {write}");
        }
    }
}
