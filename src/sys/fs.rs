//! The one door for files: everything that makes, opens, writes, cuts, syncs, renames, removes or locks one.
//!
//! Names below the home are taken relative to an open directory ([`Dir`]), so nobody can swap a path between check and
//! use. The functions that take a path are for what is not replaced as a whole and must not cost a descriptor more:
//! logs, the database, the socket. Nothing opened is a symbolic link in the last component, and every descriptor is
//! born close-on-exec. Files come back as [`std::fs::File`]; what may fail in a way worth a test still goes through a
//! function here.

use super::fault::{self, point};
use super::{cvt, cvt_r, wide};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// How long a taken lock is left alone before it is tried again. Shorter than the 20 ms of files §14.3: with a queue of
/// writers every hand-over costs half of it.
const LOCK_POLL: Duration = Duration::from_millis(5);
/// A file that changed less than this ago may change again without its times showing it: the kernel's clock for
/// them ticks every 4 to 10 ms.
pub(crate) const RACY: Duration = Duration::from_millis(50);

/// An open directory.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

/// What kind of thing a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Regular,
    Directory,
    Symlink,
    Socket,
    /// FIFO or device: opening or reading it may block or act.
    Other,
}

/// What the kernel says about a file; two equal ones mean an unchanged file, if the first is [settled](Stat::is_settled).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) kind: Kind,
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    pub(crate) size_bytes: u64,
    /// Permission bits only.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// How many names it has.
    pub(crate) links: u64,
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

    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// Makes the directory `name`, with `mode` less the umask.
    pub(crate) fn make_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let name = c_string(name)?;
        point("mkdir")?;
        // SAFETY: the descriptor is open and the name is a terminated string that outlives the call.
        cvt(unsafe { libc::mkdirat(self.0.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
    }

    /// Opens `name` for reading. Never blocks, not even on a FIFO: look at [`stat_of`] before the first read.
    pub(crate) fn open_read(&self, name: &OsStr) -> io::Result<File> {
        open_at(self.0.as_raw_fd(), name, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0).map(File::from)
    }

    /// Opens `name`, which must exist, for writing from its start on. Never blocks: look at [`stat_of`] before the first
    /// write.
    pub(crate) fn open_write(&self, name: &OsStr) -> io::Result<File> {
        open_at(self.0.as_raw_fd(), name, libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0).map(File::from)
    }

    /// Creates `name` for writing and for reading back; it must not exist.
    pub(crate) fn create_new(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        open_at(self.0.as_raw_fd(), name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, mode).map(File::from)
    }

    /// Creates a file without a name for writing and for reading back: whatever ends us, nothing is left of it before
    /// [`Dir::link`]. Fails where the kernel or the file system cannot, or could not link it later.
    #[cfg(target_os = "linux")]
    pub(crate) fn create_unnamed(&self, mode: u32) -> io::Result<File> {
        let file =
            open_at(self.0.as_raw_fd(), OsStr::new("."), libc::O_RDWR | libc::O_TMPFILE, mode).map(File::from)?;
        // Without /proc it can never get a name.
        stat(&descriptor(&file)).map(|_| file)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn create_unnamed(&self, _mode: u32) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a file that was created unnamed the name `name` in this directory; it must not exist.
    pub(crate) fn link(&self, file: &File, name: &OsStr) -> io::Result<()> {
        let (from, name) = (c_string(descriptor(file).as_os_str())?, c_string(name)?);
        let (here, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
        point("link")?;
        // SAFETY: the descriptor is open and both names are terminated strings that outlive the call.
        cvt(unsafe { libc::linkat(here, from.as_ptr(), self.0.as_raw_fd(), name.as_ptr(), follow) }).map(drop)
    }

    /// Opens `name` for appending, and creates it when it is missing.
    pub(crate) fn open_append(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        open_append_at(self.0.as_raw_fd(), name, mode)
    }

    /// Opens `name` to hold a lock on it, and creates it when it is missing.
    pub(crate) fn open_lock(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOCTTY;
        open_at(self.0.as_raw_fd(), name, flags, mode).map(File::from)
    }

    /// What stands under `name`; a symbolic link is not followed.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        stat_at(self.0.as_raw_fd(), name, libc::AT_SYMLINK_NOFOLLOW)
    }

    /// What this directory itself is.
    pub(crate) fn own_stat(&self) -> io::Result<Stat> {
        stat_of(&self.0)
    }

    /// Sets this directory's own permission bits.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        set_mode(&self.0, mode)
    }

    /// Renames `from` to `to`, both in this directory. `NoReplace` and `Exchange` fail with `Unsupported` or
    /// `InvalidInput` where the kernel or the file system cannot.
    pub(crate) fn rename(&self, from: &OsStr, to: &OsStr, how: Rename) -> io::Result<()> {
        let dir = self.0.as_raw_fd();
        let Some(flags) = how.flags()? else {
            return rename_at(dir, from, to);
        };
        let (from, to) = (c_string(from)?, c_string(to)?);
        point("rename")?;
        #[cfg(target_os = "linux")]
        {
            // musl has no function for it.
            let call = libc::SYS_renameat2;
            // SAFETY: the descriptor is open and both names are terminated strings that outlive the call.
            cvt(unsafe { libc::syscall(call, dir, from.as_ptr(), dir, to.as_ptr(), flags) as libc::c_int }).map(drop)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _: u32 = flags;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Removes the file `name`.
    pub(crate) fn unlink(&self, name: &OsStr) -> io::Result<()> {
        unlink_at(self.0.as_raw_fd(), name)
    }

    /// Waits until the directory's entries are on the disk. On a file system that cannot sync a directory there is
    /// nothing to wait for.
    pub(crate) fn sync(&self) -> io::Result<()> {
        point("fsync of the directory")?;
        // SAFETY: fsync touches no memory of ours and the descriptor is open.
        match cvt_r(|| unsafe { libc::fsync(self.0.as_raw_fd()) }) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            other => other.map(drop),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
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
    fn from_kernel(stat: &wide::stat) -> Self {
        Self {
            kind: match stat.st_mode & libc::S_IFMT {
                libc::S_IFREG => Kind::Regular,
                libc::S_IFDIR => Kind::Directory,
                libc::S_IFLNK => Kind::Symlink,
                libc::S_IFSOCK => Kind::Socket,
                _ => Kind::Other,
            },
            dev: stat.st_dev,
            ino: stat.st_ino,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            #[allow(clippy::unnecessary_cast, reason = "it has 32 bits on other machines")]
            links: stat.st_nlink as u64,
            mtime_ns: nanos(stat.st_mtime, stat.st_mtime_nsec),
            ctime_ns: nanos(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// Whether the times of the file, looked at no earlier than `now`, were old enough to show its next change.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let age_ns = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX) - self.mtime_ns.max(self.ctime_ns);
        // A time in the future shows nothing either: the clock was set back.
        age_ns > i128::try_from(RACY.as_nanos()).unwrap_or(i128::MAX)
    }
}

/// Makes the directory at `path` and those above it that are missing, with `mode` less the umask.
pub(crate) fn make_dirs(path: &Path, mode: u32) -> io::Result<()> {
    point("mkdir")?;
    DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// The names in the directory at `path`, sorted, without `.` and `..`.
pub(crate) fn names(path: &Path) -> io::Result<Vec<OsString>> {
    point("open")?;
    let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name()));
    let mut names = entries.collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Opens what stands at `path` for reading, and follows symbolic links: for what the machine or a package keeps there.
/// Never blocks, not even on a FIFO: look at [`stat_of`] before the first read where one may stand there.
pub(crate) fn open_read(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    point("open")?;
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Opens the file at `path` for appending and for reading back, and creates it when it is missing.
pub(crate) fn open_append(path: &Path, mode: u32) -> io::Result<File> {
    open_append_at(libc::AT_FDCWD, path.as_os_str(), mode)
}

/// What stands at `path`; a symbolic link in the last component is not followed.
pub(crate) fn stat(path: &Path) -> io::Result<Stat> {
    stat_at(libc::AT_FDCWD, path.as_os_str(), libc::AT_SYMLINK_NOFOLLOW)
}

/// What `path` leads to, through whatever links.
pub(crate) fn stat_followed(path: &Path) -> io::Result<Stat> {
    stat_at(libc::AT_FDCWD, path.as_os_str(), 0)
}

/// Renames `from` to `to`; whatever stood there is gone.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_at(libc::AT_FDCWD, from.as_os_str(), to.as_os_str())
}

/// Removes the file at `path`.
pub(crate) fn unlink(path: &Path) -> io::Result<()> {
    unlink_at(libc::AT_FDCWD, path.as_os_str())
}

/// Removes the directory at `path` with all in it; symbolic links in it are removed, not followed.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    point("unlink")?;
    std::fs::remove_dir_all(path)
}

/// Sets the permission bits of what stands at `path`, without opening it. Follows a symbolic link: look first.
pub(crate) fn set_mode_at(path: &Path, mode: u32) -> io::Result<()> {
    let path = c_string(path.as_os_str())?;
    point("chmod")?;
    // SAFETY: the path is a terminated string that outlives the call.
    cvt(unsafe { libc::chmod(path.as_ptr(), mode) }).map(drop)
}

/// Makes a socket at `path` and listens on it.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    point("bind")?;
    UnixListener::bind(path)
}

/// What an open file or directory is.
pub(crate) fn stat_of(file: &impl AsFd) -> io::Result<Stat> {
    point("stat")?;
    filled(|stat| {
        // SAFETY: the descriptor is open and the buffer has the size of a stat.
        unsafe { wide::fstat(file.as_fd().as_raw_fd(), stat) }
    })
}

/// Reads from where the file stands to its end; `None` when there are more than `limit_bytes`.
pub(crate) fn read_to_limit(file: &File, limit_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    Ok(read_into(file, limit_bytes, &mut bytes)?.then_some(bytes))
}

/// Like [`read_to_limit`], behind what is in `bytes`; `false` when there is more. With room for one byte more than the
/// limit it is not moved, so that no copy is left behind of what was read.
pub(crate) fn read_into(file: &File, limit_bytes: u64, bytes: &mut Vec<u8>) -> io::Result<bool> {
    point("read")?;
    let read = file.take(limit_bytes.saturating_add(1)).read_to_end(bytes)?;
    Ok(u64::try_from(read).is_ok_and(|read| read <= limit_bytes))
}

/// Writes what the kernel takes of `bytes` in one call and returns how much that was.
pub(crate) fn write(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    fault::before_write(file, bytes)?;
    file.write(bytes)
}

/// Writes all of `bytes`. On a file opened for appending, a line in one call stays in one piece.
pub(crate) fn write_all(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    fault::before_write(file, bytes)?;
    file.write_all(bytes)
}

/// Waits until the file's bytes are on the disk.
pub(crate) fn sync(file: &File) -> io::Result<()> {
    point("fsync")?;
    file.sync_all()
}

/// Sets the permission bits of an open file or directory, whatever the umask says.
pub(crate) fn set_mode(file: &impl AsFd, mode: u32) -> io::Result<()> {
    point("chmod")?;
    // SAFETY: fchmod touches no memory of ours and the descriptor is open.
    cvt(unsafe { libc::fchmod(file.as_fd().as_raw_fd(), mode) }).map(drop)
}

/// Gives an open file or directory to a user and a group. Only root may.
pub(crate) fn set_owner(file: &impl AsFd, uid: u32, gid: u32) -> io::Result<()> {
    point("chown")?;
    // SAFETY: fchown touches no memory of ours and the descriptor is open.
    cvt(unsafe { libc::fchown(file.as_fd().as_raw_fd(), uid, gid) }).map(drop)
}

/// Sets the time of the last change of an open file or directory.
pub(crate) fn set_mtime(file: &impl AsFd, mtime: SystemTime) -> io::Result<()> {
    point("utime")?;
    File::from(file.as_fd().try_clone_to_owned()?).set_modified(mtime)
}

/// Cuts an open file to `size_bytes`. Only for files that are not to be old or new as a whole: logs, a lock's holder.
pub(crate) fn set_size(file: &File, size_bytes: u64) -> io::Result<()> {
    point("truncate")?;
    file.set_len(size_bytes)
}

/// An exclusive `flock`, released when this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock, waiting for another holder until `deadline`; then `WouldBlock`.
    pub(crate) fn acquire(file: File, deadline: Instant) -> io::Result<Self> {
        point("flock")?;
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

impl Drop for FileLock {
    /// Closing alone would leave the lock with a child that another thread has forked and that has yet to exec.
    fn drop(&mut self) {
        // SAFETY: flock touches no memory of ours and the descriptor is open.
        let _closed_next = unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// Lets time pass, at most `duration`; a signal may cut it short.
pub(crate) fn pause(duration: Duration) {
    let timeout_ms = libc::c_int::try_from(duration.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: with no descriptors the null pointer is never read.
    unsafe { libc::poll(std::ptr::null_mut(), 0, timeout_ms) };
}

/// Whether names in the directory can be made and removed by us.
pub(crate) fn may_change(dir: &Path) -> io::Result<()> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: the pointer is that of a live string with its NUL, which is only read.
    cvt(unsafe { libc::access(path.as_ptr(), libc::W_OK | libc::X_OK) }).map(drop)
}

/// Who we are to the file system.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: geteuid cannot fail and touches no memory.
    unsafe { libc::geteuid() }
}

fn open_at(dir: RawFd, name: &OsStr, flags: libc::c_int, mode: u32) -> io::Result<OwnedFd> {
    let name = c_string(name)?;
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC | wide::O_LARGEFILE;
    point("open")?;
    // SAFETY: the name is a terminated string that outlives the call; the mode is passed as the variadic int it is.
    let fd = cvt_r(|| unsafe { libc::openat(dir, name.as_ptr(), flags, mode) })?;
    // SAFETY: openat has just returned this descriptor and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn open_append_at(dir: RawFd, name: &OsStr, mode: u32) -> io::Result<File> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_APPEND | libc::O_NONBLOCK | libc::O_NOCTTY;
    open_at(dir, name, flags, mode).map(File::from)
}

fn stat_at(dir: RawFd, name: &OsStr, flags: libc::c_int) -> io::Result<Stat> {
    let name = c_string(name)?;
    point("stat")?;
    filled(|stat| {
        // SAFETY: the name is a terminated string that outlives the call, and the buffer has the size of a stat.
        unsafe { wide::fstatat(dir, name.as_ptr(), stat, flags) }
    })
}

/// How wide the two are is the C library's affair.
fn nanos(seconds: impl Into<i128>, nanos: impl Into<i128>) -> i128 {
    seconds.into() * 1_000_000_000 + nanos.into()
}

/// What `call` puts into the buffer that it is given.
fn filled(call: impl FnOnce(*mut wide::stat) -> libc::c_int) -> io::Result<Stat> {
    let mut stat = MaybeUninit::<wide::stat>::zeroed();
    cvt(call(stat.as_mut_ptr()))?;
    // SAFETY: all-zero bytes are a valid stat, and the kernel has filled it.
    Ok(Stat::from_kernel(&unsafe { stat.assume_init() }))
}

fn rename_at(dir: RawFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
    let (from, to) = (c_string(from)?, c_string(to)?);
    point("rename")?;
    // SAFETY: both names are terminated strings that outlive the call.
    cvt(unsafe { libc::renameat(dir, from.as_ptr(), dir, to.as_ptr()) }).map(drop)
}

fn unlink_at(dir: RawFd, name: &OsStr) -> io::Result<()> {
    let name = c_string(name)?;
    point("unlink")?;
    // SAFETY: the name is a terminated string that outlives the call.
    cvt(unsafe { libc::unlinkat(dir, name.as_ptr(), 0) }).map(drop)
}

/// What leads to an open file without a name.
fn descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn c_string(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
