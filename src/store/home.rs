//! The root of everything that the hub keeps: opened once, checked once, and where in it things are.

use super::StoreError;
use super::modes::PRIVATE;
use crate::manifest::Short;
use crate::shell;
use crate::sys::fs::{self, Dir, FileLock, Kind, Stat};
use crate::token;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Directories that we make are nobody else's business (files §14.2).
const DIR_MODE: u32 = 0o700;

const RUN_DIR: &str = "hub/run";

/// Whether a missing home is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    Yes,
    No,
}

/// The open home. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Home(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    private: bool,
    warnings: Vec<String>,
    mark: String,
}

impl Home {
    /// Opens the home, and makes it (mode 0700) when it is missing and `create` says so. Refuses one that another user
    /// owns; one that others may write gets a warning.
    pub(crate) fn open(path: &Path, create: Create) -> Result<Self, StoreError> {
        if !path.is_absolute() {
            return Err(StoreError::Relative { path: path.to_owned() });
        }
        if path.exists() && !path.is_dir() {
            return Err(StoreError::NotADirectory { path: path.to_owned() });
        }
        if create == Create::Yes {
            fs::make_dirs(path, DIR_MODE).map_err(|source| StoreError::Write { path: path.to_owned(), source })?;
        }
        let read_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => StoreError::NoHome { path: path.to_owned() },
            _ => StoreError::Read { path: path.to_owned(), source },
        };
        // The home itself may be a symbolic link to a data disk: it is resolved once, here.
        let resolved = path.canonicalize().map_err(read_error)?;
        let dir = Dir::open(&resolved).map_err(read_error)?;
        let stat = dir.own_stat().map_err(read_error)?;
        if stat.uid != fs::effective_uid() {
            return Err(StoreError::ForeignOwner { path: resolved, owner_uid: stat.uid });
        }
        let warnings = (stat.mode & 0o022 != 0)
            .then(|| {
                format!(
                    "{} can be written by others (mode {:04o}); run: chmod 700 {}",
                    resolved.display(),
                    stat.mode,
                    shell::word(&resolved)
                )
            })
            .into_iter()
            .collect();
        let path_digest = token::sha256(resolved.as_os_str().as_bytes());
        let path_number = u64::from_be_bytes(path_digest.first_chunk().copied().unwrap_or_default());
        let mark = format!("{}-{}/{path_number:016x}", stat.dev, stat.ino);
        Ok(Self(Arc::new(Inner { path: resolved, private: stat.mode & 0o077 == 0, warnings, mark })))
    }

    /// The absolute path, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// What tells it from a copy of it, which has all its files: device and inode of the directory, and a digest of its path.
    pub(crate) fn mark(&self) -> &str {
        &self.0.mark
    }

    /// Whether that is a mark of this home. One of both is enough: a home may be seen under several paths, and a file
    /// system in layers gives the same directory another inode now and then.
    pub(super) fn has_mark(&self, mark: &str) -> bool {
        let (ours, theirs) = (self.mark().split_once('/'), mark.split_once('/'));
        ours.zip(theirs).is_some_and(|((directory, path), (their_directory, their_path))| {
            directory == their_directory || path == their_path
        })
    }

    /// What the operator should know about the home itself.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.0.warnings
    }

    /// Whether nobody else can look in. Only then may a file in it be readable by all.
    pub(crate) fn is_private(&self) -> bool {
        self.0.private
    }

    /// Takes the right to write the home from others, if they have it; whether they had.
    pub(crate) fn make_private(&self) -> Result<bool, StoreError> {
        let error = |source| StoreError::Write { path: self.path().to_owned(), source };
        let dir = Dir::open(self.path()).map_err(error)?;
        let writable = dir.own_stat().map_err(error)?.mode & 0o022 != 0;
        if writable {
            dir.set_mode(DIR_MODE).map_err(error)?;
        }
        Ok(writable)
    }

    pub(crate) fn services_json(&self) -> PathBuf {
        self.path().join("services.json")
    }

    /// A module's own directory: its `.env`, its logs, its data.
    pub(crate) fn module_dir(&self, short: &Short) -> PathBuf {
        self.path().join(short.as_str())
    }

    pub(crate) fn log_dir(&self, short: &Short) -> PathBuf {
        self.module_dir(short).join("logs")
    }

    /// The package root of an adopted command, see [`super::modules::write_manifest`].
    pub(crate) fn adopted_dir(&self, short: &Short) -> PathBuf {
        self.modules_dir().join(short.as_str())
    }

    /// Where the package roots of adopted commands are.
    pub(crate) fn modules_dir(&self) -> PathBuf {
        self.path().join("modules")
    }

    /// Where the running hub keeps its identity, its lock and its socket.
    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path().join(RUN_DIR)
    }

    /// Makes the directory `relative` and those above it, each 0700, and opens it. [`Home::run_dir`] is made private
    /// when an older release left it open to others, because the socket relies on it.
    pub(crate) fn make_dir(&self, relative: &Path) -> Result<Dir, StoreError> {
        let write_error = |path: &Path| {
            let path = self.path().join(path);
            move |source| StoreError::Write { path, source }
        };
        let mut dir = Dir::open(self.path()).map_err(write_error(Path::new("")))?;
        let mut done = PathBuf::new();
        for name in names(relative) {
            done.push(name);
            // It is there already but for the first time.
            dir = match self.open_checked(&dir, name, &done) {
                Err(StoreError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    match dir.make_dir(name, DIR_MODE) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            return Err(write_error(&done)(error));
                        }
                        Ok(()) | Err(_) => self.open_checked(&dir, name, &done)?,
                    }
                }
                opened => opened?,
            };
        }
        if done == Path::new(RUN_DIR) && dir.own_stat().map_err(write_error(&done))?.mode & 0o077 != 0 {
            dir.set_mode(DIR_MODE).map_err(write_error(&done))?;
        }
        Ok(dir)
    }

    /// Opens the file `relative` to hold a lock on it, and makes it and its directory when they are missing.
    pub(super) fn open_lock(&self, relative: &Path) -> Result<File, StoreError> {
        let path = self.path().join(relative);
        let dir = self.make_dir(relative.parent().unwrap_or(Path::new("")))?;
        let name = relative.file_name().unwrap_or_default();
        match dir.stat(name).map(|stat| stat.kind) {
            Ok(Kind::Symlink) => return Err(StoreError::Symlink { path }),
            Ok(Kind::Regular) | Err(_) => {}
            Ok(_) => return Err(StoreError::NotRegular { path }),
        }
        dir.open_lock(name, PRIVATE).map_err(|source| StoreError::Write { path, source })
    }

    /// Takes the lock in the file `relative`; waits until `deadline` for another holder.
    pub(super) fn lock(&self, relative: &Path, deadline: Instant) -> Result<FileLock, StoreError> {
        let path = self.path().join(relative);
        let file = self.open_lock(relative)?;
        FileLock::acquire(file, deadline).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StoreError::Locked { path, holder: None },
            _ => StoreError::Write { path, source },
        })
    }

    /// Opens the directory `relative`; `None` when it or one above it is missing.
    pub(super) fn open_dir(&self, relative: &Path) -> Result<Option<Dir>, StoreError> {
        let mut dir =
            Dir::open(self.path()).map_err(|source| StoreError::Read { path: self.path().to_owned(), source })?;
        let mut done = PathBuf::new();
        for name in names(relative) {
            done.push(name);
            match self.open_checked(&dir, name, &done) {
                Ok(next) => dir = next,
                Err(StoreError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(dir))
    }

    /// One step down, not through a symbolic link and not into somebody else's directory.
    fn open_checked(&self, dir: &Dir, name: &OsStr, done: &Path) -> Result<Dir, StoreError> {
        let path = || self.path().join(done);
        let next = dir.open_dir(name).map_err(|source| match dir.stat(name).map(|stat| stat.kind) {
            Ok(Kind::Symlink) => StoreError::Symlink { path: path() },
            Ok(Kind::Directory) | Err(_) => StoreError::Read { path: path(), source },
            Ok(_) => StoreError::NotADirectory { path: path() },
        })?;
        let stat = next.own_stat().map_err(|source| StoreError::Read { path: path(), source })?;
        if !is_trusted(&stat) {
            return Err(StoreError::ForeignOwner { path: path(), owner_uid: stat.uid });
        }
        Ok(next)
    }
}

/// Whether we or root own it: nobody else may put words into our mouth.
pub(super) fn is_trusted(stat: &Stat) -> bool {
    stat.uid == 0 || stat.uid == fs::effective_uid()
}

/// The names of a relative path. What would lead elsewhere is left out: callers build these paths from constants and
/// from [`Short`]s.
fn names(relative: &Path) -> impl Iterator<Item = &OsStr> {
    relative.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name),
        Component::CurDir | Component::ParentDir | Component::RootDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestHome, short};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_home_is_made_private_and_only_when_asked() {
        let parent = TestHome::new();
        let path = parent.path().join("deep/home");
        assert!(matches!(Home::open(&path, Create::No), Err(StoreError::NoHome { .. })));
        let home = Home::open(&path, Create::Yes).expect("a new home");
        assert_eq!(std::fs::metadata(&path).expect("a directory").permissions().mode() & 0o777, 0o700);
        assert!(home.is_private() && home.warnings().is_empty());
        assert_eq!(home.path(), path);
        assert!(matches!(Home::open(Path::new("relative"), Create::Yes), Err(StoreError::Relative { .. })));
        assert!(!Path::new("relative").exists());
        parent.put("file", "");
        for create in [Create::Yes, Create::No] {
            let refused = Home::open(&parent.path().join("file"), create);
            assert!(matches!(refused, Err(StoreError::NotADirectory { .. })), "{create:?}: {refused:?}");
        }
    }

    #[test]
    fn an_open_home_gets_a_warning_and_a_foreign_one_is_refused() {
        let parent = TestHome::new();
        for (mode, warnings, private) in [(0o700, 0, true), (0o755, 0, false), (0o770, 1, false), (0o777, 1, false)] {
            std::fs::set_permissions(parent.path(), std::fs::Permissions::from_mode(mode)).expect("a mode");
            let home = Home::open(parent.path(), Create::Yes).expect("ours");
            assert_eq!((home.warnings().len(), home.is_private()), (warnings, private), "{mode:o}");
        }
        // Only root can give a directory away; without that the rule cannot be shown.
        if std::os::unix::fs::chown(parent.path(), Some(65_534), None).is_ok() {
            let error = Home::open(parent.path(), Create::Yes).expect_err("foreign");
            assert!(matches!(error, StoreError::ForeignOwner { owner_uid: 65_534, .. }), "{error}");
        }
    }

    #[test]
    fn a_home_knows_its_mark_at_another_path_or_with_another_inode_and_not_that_of_a_copy() {
        let parent = TestHome::new();
        let open = |name: &str| Home::open(&parent.path().join(name), Create::Yes).expect("a home");
        let before = open("a").mark().to_owned();
        std::fs::rename(parent.path().join("a"), parent.path().join("b")).expect("moved");
        assert!(open("b").has_mark(&before), "the same directory at another path");
        assert!(open("a").has_mark(&before), "another directory at the same path");
        assert!(!open("c").has_mark(&before));
        for garbage in ["", "/", "x", "1-2"] {
            assert!(!open("b").has_mark(garbage), "{garbage:?}");
        }
    }

    #[test]
    fn a_link_to_the_home_is_resolved_once() {
        let parent = TestHome::new();
        std::fs::create_dir(parent.path().join("real")).expect("a directory");
        symlink(parent.path().join("real"), parent.path().join("link")).expect("a link");
        let home = Home::open(&parent.path().join("link/"), Create::Yes).expect("a home");
        assert_eq!(home.path(), parent.path().join("real"));
    }

    #[test]
    fn paths_are_where_the_contract_says() {
        let home = TestHome::new();
        let below = |path: PathBuf| path.strip_prefix(home.path()).expect("below the home").to_owned();
        assert_eq!(below(home.services_json()), Path::new("services.json"));
        assert_eq!(below(home.log_dir(&short("wiki"))), Path::new("wiki/logs"));
        assert_eq!(below(home.run_dir()), Path::new("hub/run"));
    }
}
