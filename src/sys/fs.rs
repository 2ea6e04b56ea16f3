//! The one door for files below the home: everything that opens, writes, syncs, renames, removes or locks one.
//!
//! Names are taken relative to an open directory ([`Dir`]), so nobody can swap a path between check and use. No call
//! follows a symbolic link in the last component, and every descriptor is born close-on-exec. Files come back as
//! [`std::fs::File`]; what may fail in a way worth a test still goes through a function here.

use super::{cvt, cvt_r};
use std::ffi::{CString, OsStr};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a taken lock is left alone before it is tried again (files §14.3).
const LOCK_POLL: Duration = Duration::from_millis(20);

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    Directory,
    Symlink,
    /// FIFO, socket or device: opening or reading it may block or act.
    Other,
}

/// What the kernel says about a file; two equal ones mean an unchanged file, but for writes within one clock tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) size_bytes: u64,
    /// Permission bits only.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    /// Nanoseconds since 1970.
    pub(crate) mtime_ns: i128,
    pub(crate) ctime_ns: i128,
}

/// How a name is put in the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rename {
    /// Whatever stood there is gone.
    Replace,
    /// Fails with `AlreadyExists` when something stands there.
    NoReplace,
    /// Both names must exist and change places.
    Exchange,
}

impl Dir {
    /// Opens a directory; a symbolic link in the last component is refused.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        open_at(libc::AT_FDCWD, path.as_os_str(), libc::O_RDONLY | libc::O_DIRECTORY, 0).map(Self)
    }

    /// Opens the directory `name` in this one.
    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        open_at(self.0.as_raw_fd(), name, libc::O_RDONLY | libc::O_DIRECTORY, 0).map(Self)
    }

    /// Makes the directory `name`, with `mode` less the umask.
    pub(crate) fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let name = c_string(name)?;
        // SAFETY: the descriptor is open and the name is a terminated string that outlives the call.
        cvt(unsafe { libc::mkdirat(self.0.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
    }

    /// Opens `name` for reading. Never blocks, not even on a FIFO: look at [`stat_of`] before the first read.
    pub(crate) fn open_read(&self, name: &OsStr) -> io::Result<File> {
        open_at(self.0.as_raw_fd(), name, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0).map(File::from)
    }

    /// Creates `name` for writing; it must not exist.
    pub(crate) fn create_new(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        open_at(self.0.as_raw_fd(), name, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, mode).map(File::from)
    }

    /// Opens `name` for appending, and creates it when it is missing.
    pub(crate) fn open_append(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK | libc::O_NOCTTY;
        open_at(self.0.as_raw_fd(), name, flags, mode).map(File::from)
    }

    /// Opens `name` to hold a lock on it, and creates it when it is missing.
    pub(crate) fn open_lock(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOCTTY;
        open_at(self.0.as_raw_fd(), name, flags, mode).map(File::from)
    }

    /// What stands under `name`; a symbolic link is not followed.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        let name = c_string(name)?;
        let mut stat = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: the descriptor is open, the name is terminated, and the buffer has the size of a stat.
        cvt(unsafe { libc::fstatat(self.0.as_raw_fd(), name.as_ptr(), stat.as_mut_ptr(), libc::AT_SYMLINK_NOFOLLOW) })?;
        // SAFETY: all-zero bytes are a valid stat, and the kernel has filled it.
        Ok(Stat::from_kernel(&unsafe { stat.assume_init() }))
    }

    /// What this directory itself is.
    pub(crate) fn own_stat(&self) -> io::Result<Stat> {
        stat_of(&File::from(self.0.try_clone()?))
    }

    /// Sets this directory's own permission bits.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        set_mode(&File::from(self.0.try_clone()?), mode)
    }

    /// Renames `from` to `to`, both in this directory. `NoReplace` and `Exchange` fail with `Unsupported` or
    /// `InvalidInput` where the kernel or the file system cannot.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr, how: Rename) -> io::Result<()> {
        let (from, to) = (c_string(from)?, c_string(to)?);
        let dir = self.0.as_raw_fd();
        let Some(flags) = how.flags()? else {
            // SAFETY: the descriptor is open and both names are terminated strings that outlive the call.
            return cvt(unsafe { libc::renameat(dir, from.as_ptr(), dir, to.as_ptr()) }).map(drop);
        };
        #[cfg(target_os = "linux")]
        {
            // SAFETY: the descriptor is open and both names are terminated strings that outlive the call.
            cvt(unsafe { libc::renameat2(dir, from.as_ptr(), dir, to.as_ptr(), flags) }).map(drop)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _: u32 = flags;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Removes the file `name`.
    pub(crate) fn unlink(&self, name: &OsStr) -> io::Result<()> {
        let name = c_string(name)?;
        // SAFETY: the descriptor is open and the name is a terminated string that outlives the call.
        cvt(unsafe { libc::unlinkat(self.0.as_raw_fd(), name.as_ptr(), 0) }).map(drop)
    }

    /// Waits until the directory's entries are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // SAFETY: fsync touches no memory of ours and the descriptor is open.
        cvt_r(|| unsafe { libc::fsync(self.0.as_raw_fd()) }).map(drop)
    }
}

impl Rename {
    /// The flags of `renameat2`, or `None` where plain `renameat` does.
    fn flags(self) -> io::Result<Option<u32>> {
        match self {
            Self::Replace => Ok(None),
            #[cfg(target_os = "linux")]
            Self::NoReplace => Ok(Some(libc::RENAME_NOREPLACE)),
            #[cfg(target_os = "linux")]
            Self::Exchange => Ok(Some(libc::RENAME_EXCHANGE)),
            #[cfg(not(target_os = "linux"))]
            Self::NoReplace | Self::Exchange => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Stat {
    fn from_kernel(stat: &libc::stat) -> Self {
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            kind: match stat.st_mode & libc::S_IFMT {
                libc::S_IFREG => Kind::Regular,
                libc::S_IFDIR => Kind::Directory,
                libc::S_IFLNK => Kind::Symlink,
                _ => Kind::Other,
            },
            dev: stat.st_dev,
            ino: stat.st_ino,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// What an open file is.
pub(crate) fn stat_of(file: &File) -> io::Result<Stat> {
    let meta = file.metadata()?;
    let kind = meta.file_type();
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(Stat {
        kind: if kind.is_file() {
            Kind::Regular
        } else if kind.is_dir() {
            Kind::Directory
        } else {
            Kind::Other
        },
        dev: meta.dev(),
        ino: meta.ino(),
        size_bytes: meta.size(),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        mtime_ns: nanos(meta.mtime(), meta.mtime_nsec()),
        ctime_ns: nanos(meta.ctime(), meta.ctime_nsec()),
    })
}

/// Reads from where the file stands to its end; `None` when there are more than `limit_bytes`.
pub(crate) fn read_to_limit(file: &File, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(u64::try_from(bytes.len()).is_ok_and(|length| length <= limit_bytes).then_some(bytes))
}

/// Writes all of `bytes`. On a file opened for appending, a line in one call stays in one piece.
pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)
}

/// Waits until the file's bytes are on the disk.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Sets the permission bits of an open file, whatever the umask says.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))
}

/// Cuts an open file to nothing. Only for files that hold no data of their own, such as a lock's holder.
pub(crate) fn truncate(file: &File) -> io::Result<()> {
    file.set_len(0)
}

/// An exclusive `flock`, released when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock, waiting for another holder until `deadline`; then `WouldBlock`.
    pub(crate) fn acquire(file: File, deadline: Instant) -> io::Result<Self> {
        loop {
            // SAFETY: flock touches no memory of ours and the descriptor is open.
            match cvt_r(|| unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
                Ok(_) => return Ok(Self { file }),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => pause(LOCK_POLL),
            }
        }
    }

    /// The locked file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}

/// Lets time pass, at most `duration`; a signal may cut it short.
pub(crate) fn pause(duration: Duration) {
    let timeout_ms = libc::c_int::try_from(duration.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: with no descriptors the null pointer is never read.
    unsafe { libc::poll(std::ptr::null_mut(), 0, timeout_ms) };
}

/// Who we are to the file system.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: geteuid cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}

fn open_at(dir: RawFd, name: &OsStr, flags: libc::c_int, mode: u32) -> io::Result<OwnedFd> {
    let name = c_string(name)?;
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the name is a terminated string that outlives the call; the mode is passed as the variadic int it is.
    let fd = cvt_r(|| unsafe { libc::openat(dir, name.as_ptr(), flags, mode) })?;
    // SAFETY: openat has just returned this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_string(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
