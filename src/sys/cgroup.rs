//! Control groups of version 2 (cgroups(7), and the kernel's `admin-guide/cgroup-v2.rst`): a process stays in the one that
//! it was born in, whatever it does to its process group, its parents or its environment. Only root, and who owns the
//! group, can take it out.
//!
//! A group is a directory. Whoever may not make any, or finds none mounted, is the usual case and no error.

use super::fault::point;
use super::fs::{self, FileLock};
use super::pid::Pid;
use super::proc;
use super::{cvt, cvt_r};
use std::ffi::{CString, OsStr, OsString};
use std::fs::Permissions;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Groups below one that are looked into, more than a path can name in each other; whoever makes more is still killed with
/// the rest.
const GROUPS_MAX: usize = 4096;
/// What the lists of the kernel are read to: more than a hundred thousand processes in one group.
const LIST_MAX_BYTES: u64 = 1024 * 1024;

/// Whoever begins while others sweep tries again for so long: they take a moment.
const SWEEP_PATIENCE: Duration = Duration::from_secs(1);

/// The group that this process is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    directory: PathBuf,
    /// It is the topmost that this process can see.
    is_top: bool,
}

impl Own {
    /// `None` where no hierarchy of version 2 is mounted, or we are in a part of it that is not.
    pub(crate) fn find() -> Option<Self> {
        let read = |path: &str| std::fs::read(path).unwrap_or_default();
        own_group(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// Whether groups may be made below it: whoever manages the others must have left it to us. systemd marks what it
    /// has left to somebody; in a container, and on a machine without such a manager, the topmost is nobody else's.
    pub(crate) fn is_delegated(&self) -> bool {
        self.is_top || ["user.delegate", "trusted.delegate"].iter().any(|name| self.has_mark(name))
    }

    fn has_mark(&self, name: &str) -> bool {
        let (Ok(path), Ok(name)) = (CString::new(self.directory.as_os_str().as_bytes()), CString::new(name)) else {
            return false;
        };
        let mut value = [0u8; 1];
        // SAFETY: both names are terminated strings, and pointer and length are those of a live, writable array.
        let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        length == 1 && value == *b"1"
    }

    /// The group of that name below it, which need not be there.
    pub(crate) fn below(&self, name: &str) -> Group {
        Group { directory: self.directory.join(name) }
    }

    /// Removes the groups below it whose names begin like this, of [`Locked`]s that are gone, as far as nobody is in
    /// them.
    pub(crate) fn sweep(&self, beginning: &str) {
        for name in fs::names(&self.directory).unwrap_or_default() {
            if !name.as_bytes().starts_with(beginning.as_bytes()) {
                continue;
            }
            let group = Group { directory: self.directory.join(name) };
            // Somebody's who lives is locked.
            if let Ok(lock) = group.lock(Instant::now()) {
                let _is_in_use = group.remove();
                drop(lock);
            }
        }
    }
}

/// A group of this process's own, with others below it. Marked as somebody's until it is dropped.
#[derive(Debug)]
pub(crate) struct Locked {
    group: Group,
    _lock: FileLock,
}

impl Locked {
    /// Makes it. Fails where the kernel is of before 5.14, and cannot end a group as a whole.
    pub(crate) fn make(group: Group) -> io::Result<Self> {
        // Whoever sweeps may take it away before it is locked, and has it locked meanwhile.
        let deadline = Instant::now() + SWEEP_PATIENCE;
        loop {
            match Self::make_once(&group, deadline) {
                Err(error) if is_gone(&error) && Instant::now() < deadline => {}
                Err(error) => return Err(error),
                Ok(lock) => return Ok(Self { group, _lock: lock }),
            }
        }
    }

    fn make_once(group: &Group, deadline: Instant) -> io::Result<FileLock> {
        group.make()?;
        let lock = group.lock(deadline)?;
        // Nobody takes it away any more; it may be gone already.
        match [KILL, PROCESSES].map(|file| group.directory.join(file).exists()) {
            [true, _] => Ok(lock),
            [false, true] => {
                group.remove()?;
                Err(io::ErrorKind::Unsupported.into())
            }
            [false, false] => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.group.directory
    }

    /// The group of that name below it, which need not be there.
    pub(crate) fn below(&self, name: &str) -> Group {
        Group { directory: self.group.directory.join(name) }
    }

    /// Removes it and those below it, as far as nobody is in them.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.group.remove()
    }
}

/// A group by its place, there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    directory: PathBuf,
}

/// Holds who is in the group, a number a line.
const PROCESSES: &str = "cgroup.procs";
/// Says whether anybody is in the group or below it.
const EVENTS: &str = "cgroup.events";
/// Ends all that are in the group and below it, and who is being forked there.
const KILL: &str = "cgroup.kill";

impl Group {
    /// Makes it, if it is not there.
    fn make(&self) -> io::Result<()> {
        point("cgroup")?;
        match std::fs::create_dir(&self.directory) {
            // Runtimes read the limits of their own group, as whatever user they run, and our umask would hide it.
            Ok(()) => std::fs::set_permissions(&self.directory, Permissions::from_mode(0o755)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes it, if it is not there, and opens it for whoever is to be born in it.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        self.make()?;
        fs::Dir::open(&self.directory).map(fs::Dir::into_fd)
    }

    fn lock(&self, deadline: Instant) -> io::Result<FileLock> {
        FileLock::acquire(fs::open_read(&self.directory)?, deadline)
    }

    /// Removes it if nobody is in it or below it, which then is certain: whoever is not there can have no more children
    /// there. Otherwise those that are, as far as they can be told: there may be more. `None`: it is gone.
    ///
    /// Who has ended does not count, and needs no descriptor to be told from those that have not.
    pub(crate) fn leave(&self) -> io::Result<Option<Vec<Pid>>> {
        match remove_directory(&self.directory) {
            Ok(()) => return Ok(None),
            Err(error) if is_gone(&error) => return Ok(None),
            // Somebody is in it, or there is one below it, or it is not ours to remove.
            Err(_) => {}
        }
        if self.is_empty()? {
            let _next_time = self.remove();
            return Ok(None);
        }
        self.members().map(Some)
    }

    /// Whether nobody is in it or below it, or it is gone.
    fn is_empty(&self) -> io::Result<bool> {
        let Some(events) = read_if_there(&self.directory.join(EVENTS))? else { return Ok(true) };
        Ok(events.split(|byte| *byte == b'\n').any(|line| line == b"populated 0"))
    }

    /// Who is in it and below it now. There may be more: those of another PID namespace cannot be told.
    pub(crate) fn members(&self) -> io::Result<Vec<Pid>> {
        let mut members = Vec::new();
        for directory in self.tree() {
            let list = read_if_there(&directory.join(PROCESSES))?.unwrap_or_default();
            members.extend(proc::pids_in(&list).filter(|pid| *pid > 0));
        }
        Ok(members)
    }

    /// Its directory and those below it, each before those in it. Of more than [`GROUPS_MAX`] there are some that have
    /// none in them, which makes room for others when they are removed.
    fn tree(&self) -> Vec<PathBuf> {
        let (mut found, mut others) = (Vec::new(), vec![self.directory.clone()]);
        while let Some(directory) = others.pop().filter(|_| found.len() < GROUPS_MAX) {
            // One that has gone meanwhile has none.
            let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
            let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            others.extend(groups.map(|entry| entry.path()));
            found.push(directory);
        }
        found
    }

    /// Ends all that are in it and below it, whoever they belong to. One that is not there is no error.
    pub(crate) fn kill(&self) -> io::Result<()> {
        point("cgroup.kill")?;
        let file = std::fs::File::options().write(true).open(self.directory.join(KILL));
        match file.and_then(|file| fs::write_all(&file, b"1")) {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes it and those below it, as far as nobody is in them. One that is not there is no error.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let mut outcome = Ok(());
        for directory in self.tree().iter().rev() {
            outcome = match remove_directory(directory) {
                Err(error) if !is_gone(&error) => Err(error),
                _ => Ok(()),
            };
        }
        outcome
    }
}

/// Makes the calling process a member. Async-signal-safe.
pub(super) fn join(processes: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: pointer and length are those of a constant.
    cvt(unsafe { libc::write(processes.as_raw_fd(), b"0".as_ptr().cast(), 1) as libc::c_int }).map(drop)
}

/// The file by which processes become members of a group that is open.
pub(super) fn open_processes(group: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let name = c"cgroup.procs";
    // SAFETY: the descriptor is open and the name a terminated constant.
    let fd = cvt_r(|| unsafe { libc::openat(group.as_raw_fd(), name.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn remove_directory(directory: &Path) -> io::Result<()> {
    point("rmdir")?;
    std::fs::remove_dir(directory)
}

/// ENODEV is what the files of a group say that has gone while they were open.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

/// `None`: it is gone, or of a kind that has no such list.
fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    point("open")?;
    let mut bytes = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(LIST_MAX_BYTES).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if is_gone(&error) || error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// From proc_pid_mountinfo(5) and the `0::` line of cgroups(7). The path in that line, and the root in that of the mount,
/// begin at the top of our cgroup namespace.
fn own_group(mounts: &[u8], groups: &[u8]) -> Option<Own> {
    let path = groups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
    let path = Path::new(OsStr::from_bytes(path));
    // What lies above our namespace, or was removed under us, is not ours to divide.
    let is_usable = path.is_absolute()
        && !path.as_os_str().as_bytes().ends_with(b" (deleted)")
        && path.components().all(|part| part != std::path::Component::ParentDir);
    if !is_usable {
        return None;
    }
    let mount = |line: &[u8]| -> Option<PathBuf> {
        let mut fields = line.split(|byte| *byte == b' ');
        let (root, point) = (unescaped(fields.nth(3)?), unescaped(fields.next()?));
        // Optional fields come before a lone dash, the type behind it.
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        let below = path.strip_prefix(root).ok().filter(|_| kind == b"cgroup2")?;
        Some(Path::new(&point).join(below))
    };
    // The last one hides those before it.
    let directory = mounts.rsplit(|byte| *byte == b'\n').find_map(mount)?;
    Some(Own { directory, is_top: path == Path::new("/") })
}

/// Blanks, tabs, line ends and backslashes are octal there.
fn unescaped(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                bytes.push(escaped);
                rest = behind.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*byte);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests;
