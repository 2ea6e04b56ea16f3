//! Processes: our own settings, a child, its exit, its group.

pub(crate) use super::pid::{Pid, own_pid};

use super::fault::point;
use super::poll::PollSet;
use super::proc::OwnChildren;
use super::{cvt, cvt_r, wide};
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// A signal that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Term,
    Int,
    Hup,
    Quit,
    Usr1,
    Usr2,
    Kill,
    Winch,
}

impl Signal {
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Term => libc::SIGTERM,
            Self::Int => libc::SIGINT,
            Self::Hup => libc::SIGHUP,
            Self::Quit => libc::SIGQUIT,
            Self::Usr1 => libc::SIGUSR1,
            Self::Usr2 => libc::SIGUSR2,
            Self::Kill => libc::SIGKILL,
            Self::Winch => libc::SIGWINCH,
        }
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// The umask we were started with; children get it back.
static INHERITED_UMASK: AtomicU32 = AtomicU32::new(0o022);

/// Files that we make are nobody else's business (files §14.2, rule 1).
pub(crate) fn restrict_umask() {
    // SAFETY: umask cannot fail and touches no memory.
    let inherited = unsafe { libc::umask(0o077) };
    INHERITED_UMASK.store(inherited, Ordering::Relaxed);
}

/// The umask that this process was started with.
pub(crate) fn inherited_umask() -> u32 {
    INHERITED_UMASK.load(Ordering::Relaxed)
}

/// The effective user and group of this process.
pub(crate) fn own_ids() -> (u32, u32) {
    // SAFETY: both calls cannot fail and touch no memory.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Whether the file may be executed with our rights.
pub(crate) fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: the pointer is that of a live, terminated string.
    unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) == 0 }
}

/// Whether this thread is the one that the process began with: the only one that may fork.
pub(crate) fn is_main_thread() -> bool {
    // SAFETY: gettid cannot fail.
    unsafe { libc::gettid() == libc::getpid() }
}

/// Makes every descriptor that we inherited, beside the first three, end at our own exec: a listener of whoever
/// started us must not reach the modules. Kernels without `close_range` leave them as they are. Only for a process with
/// one thread: others would go on with open files of their own. Whether the kernel can, see [`close_range_unshared`].
pub(crate) fn seal_inherited_descriptors() -> bool {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    close_range_unshared(3, CLOSE_RANGE_CLOEXEC)
}

/// Gives this thread open files of its own and closes those from `first` on, or marks them with the further flags;
/// whoever shared them keeps theirs. Copies nothing that it closes. `false`, and nothing has happened, where the kernel
/// cannot, or may not. Async-signal-safe.
pub(super) fn close_range_unshared(first: libc::c_uint, further_flags: libc::c_uint) -> bool {
    const CLOSE_RANGE_UNSHARE: libc::c_uint = 2;
    let flags = CLOSE_RANGE_UNSHARE | further_flags;
    // SAFETY: close_range takes no pointer.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) == 0 }
}

/// Enough for a hundred modules, or for a thousand connections.
pub(crate) const USUAL_DESCRIPTORS: usize = 1024;

/// Makes room for `count` open descriptors at once, by opening `any` of them once more at the end of it. Otherwise the
/// kernel makes room as it is needed, twice as much each time, and where there is more than one thread it waits for all
/// of them, some 10 ms. What cannot be had now comes like that.
pub(crate) fn reserve_descriptors(any: BorrowedFd<'_>, count: usize) {
    let Some(highest) = count.checked_sub(1).and_then(|highest| libc::c_int::try_from(highest).ok()) else { return };
    // SAFETY: fcntl with F_DUPFD_CLOEXEC takes no pointer.
    let Ok(fd) = cvt(unsafe { libc::fcntl(any.as_raw_fd(), libc::F_DUPFD_CLOEXEC, highest) }) else { return };
    // SAFETY: the descriptor is new and owned by nobody else.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
}

/// The soft and hard limit of open files that we were started with; children get them back.
static INHERITED_NOFILE: OnceLock<(u64, u64)> = OnceLock::new();

/// Raises the soft limit of open files to the hard one. Returns what holds now.
pub(crate) fn raise_nofile() -> io::Result<u64> {
    let mut limit = wide::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is that of a live, writable rlimit.
    cvt(unsafe { wide::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    let _ = INHERITED_NOFILE.set((limit.rlim_cur, limit.rlim_max));
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is that of a live rlimit.
    cvt(unsafe { wide::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

/// The limit of open files (soft, hard) before [`raise_nofile`]; `None` when that was not called.
pub(crate) fn inherited_nofile() -> Option<(u64, u64)> {
    INHERITED_NOFILE.get().copied()
}

/// Forbids core dumps of this process: they would hold keys. Children get the inherited limit back.
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    let mut limit = wide::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is that of a live, writable rlimit.
    cvt(unsafe { wide::getrlimit(libc::RLIMIT_CORE, &raw mut limit) })?;
    let _ = INHERITED_CORE_SOFT.set(limit.rlim_cur);
    limit.rlim_cur = 0;
    // SAFETY: the pointer is that of a live rlimit.
    cvt(unsafe { wide::setrlimit(libc::RLIMIT_CORE, &raw const limit) }).map(drop)
}

static INHERITED_CORE_SOFT: OnceLock<u64> = OnceLock::new();

/// The soft core limit before [`forbid_core_dumps`].
pub(crate) fn inherited_core_soft() -> Option<u64> {
    INHERITED_CORE_SOFT.get().copied()
}

/// Orphaned descendants become our children, so that nothing escapes by forking twice. `false` where the kernel
/// has no such thing.
pub(crate) fn become_subreaper() -> bool {
    // SAFETY: this prctl takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 }
}

/// Fewer malloc arenas: with a thread per module each would keep pages of its own.
pub(crate) fn share_allocator_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt only changes settings of the allocator and is called before other threads exist.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2)
    };
}

/// A child of ours and everything that pins its identity. Dropping it does not end the process.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    pidfd: Option<OwnedFd>,
}

impl Child {
    /// Takes over a process that this process has just forked and nobody has reaped. Without a pidfd only SIGCHLD
    /// tells of its end, which workers hear of on kernels without pidfds alone.
    pub(super) fn adopt(pid: Pid, pidfd: Option<OwnedFd>) -> Self {
        Self { pid, pidfd }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable once the child has ended; `None` on kernels without pidfd.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// How it ended, if it has, without collecting it: its pid and its group's number stay ours.
    pub(crate) fn peek(&self) -> io::Result<Option<Exit>> {
        wait(self.pid, libc::WNOHANG | libc::WNOWAIT)
    }

    /// Signals every process of the child's group, also those that are stopped, and the child itself when it has left
    /// that group. A group that is already empty is not an error.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        // SAFETY: kill touches no memory of ours. The group's number cannot belong to anyone else: the leader is not
        // reaped before `reap` consumes `self`.
        let to_group = heard(signal, |number| cvt(unsafe { libc::kill(-self.pid, number) }));
        // Asked afterwards: whoever leaves later has heard it as a member.
        let to_itself = if self.leads_its_group() { Ok(()) } else { self.signal_itself(signal) };
        to_group.and(to_itself)
    }

    fn leads_its_group(&self) -> bool {
        // SAFETY: getpgid takes no pointer.
        cvt(unsafe { libc::getpgid(self.pid) }).is_ok_and(|group| group == self.pid)
    }

    fn signal_itself(&self, signal: Signal) -> io::Result<()> {
        heard(signal, |number| match &self.pidfd {
            Some(pidfd) => send_by_pidfd(pidfd.as_fd(), number),
            // SAFETY: kill touches no memory of ours. The number is the child's until `reap` consumes `self`.
            None => cvt(unsafe { libc::kill(self.pid, number) }),
        })
    }

    /// Collects the exit status of a child that has ended. Consumes it: nobody can signal a pid that the kernel may
    /// have given away. Hands the child back when it has not ended yet.
    pub(crate) fn reap(self, family: &Family) -> Result<Exit, Self> {
        let leaders = &mut family.lock().leaders;
        match wait(self.pid, libc::WNOHANG) {
            Ok(Some(exit)) => {
                leaders.remove(&self.pid);
                Ok(exit)
            }
            // ECHILD: somebody else collected it, so its status is lost and its number is not ours any more.
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => {
                leaders.remove(&self.pid);
                Ok(Exit::Code(-1))
            }
            Ok(None) | Err(_) => Err(self),
        }
    }

    /// Ends its group and leaves it to whoever looks for strangers: nobody is there any more to wait for it.
    pub(crate) fn abandon(self, family: &Family) {
        // What cannot be signalled is left to the end of the hub, too.
        let _ = self.signal(Signal::Kill);
        family.lock().leaders.remove(&self.pid);
        // The signal that tells of its end may have come before.
        let _ = family.strangers();
    }
}

/// `waitid` for one process; `None` when it has not ended.
fn wait(pid: Pid, options: libc::c_int) -> io::Result<Option<Exit>> {
    // SAFETY: siginfo_t is plain data for which all zeroes is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    cvt_r(|| {
        // SAFETY: the pointer is that of a live, writable siginfo_t.
        unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, libc::WEXITED | options) }
    })?;
    // SAFETY: after a successful waitid the kernel has filled the fields of a child's event, or left all zeroes.
    let (ended, status) = unsafe { (info.si_pid(), info.si_status()) };
    if ended == 0 {
        return Ok(None);
    }
    Ok(Some(if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) }))
}

fn open_pidfd(pid: Pid) -> io::Result<OwnedFd> {
    point("pidfd_open")?;
    // SAFETY: pidfd_open takes no pointer; the descriptor that it makes is close-on-exec.
    let fd = cvt(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) as libc::c_int })?;
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether this is why nobody can have a pidfd here: an old kernel, or a sandbox that lets nobody have one.
pub(crate) fn has_no_pidfds(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// A process that is not a supervised child, held by a pidfd so that its number cannot come to mean another.
#[derive(Debug)]
pub(crate) struct Held {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Held {
    /// Opens `pid` and then asks `still` whether it is the process that was meant; the answer holds from then on.
    /// `None` when it has gone.
    pub(crate) fn open(pid: Pid, still: impl FnOnce() -> bool) -> io::Result<Option<Self>> {
        match open_pidfd(pid) {
            Ok(pidfd) => Ok(still().then_some(Self { pid, pidfd })),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Readable once the process has ended.
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Also when it is stopped. One that has ended meanwhile is not an error.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        heard(signal, |number| send_by_pidfd(self.pidfd(), number))
    }

    /// Whether all its threads have ended. What it leaves behind has been handed over by then.
    pub(crate) fn has_ended(&self) -> bool {
        let mut polls = PollSet::default();
        let slot = polls.readable(self.pidfd());
        polls.wait(Some(Instant::now())).is_ok() && polls.is_ready(slot)
    }
}

/// Signals a process that is no child of ours and that nobody can hold, if `still` says that it is the one that was meant.
/// Between the two its number comes to mean another only if the kernel goes through all its numbers meanwhile. One that
/// has ended is not an error.
pub(crate) fn signal_unheld(pid: Pid, signal: Signal, still: impl Fn() -> bool) -> io::Result<()> {
    heard(signal, |number| {
        if !still() {
            return Ok(0);
        }
        // SAFETY: kill touches no memory of ours.
        cvt(unsafe { libc::kill(pid, number) })
    })
}

fn send_by_pidfd(pidfd: BorrowedFd<'_>, number: libc::c_int) -> io::Result<libc::c_int> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the siginfo pointer may be null; the pidfd names exactly the process that was opened.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, no_info, 0) };
    cvt(result as libc::c_int)
}

/// Has `send` send the signal, and then whoever is stopped go on: until then it would hear of nothing but KILL.
fn heard(signal: Signal, send: impl Fn(libc::c_int) -> io::Result<libc::c_int>) -> io::Result<()> {
    let further = (signal != Signal::Kill).then_some(libc::SIGCONT);
    for number in [signal.number()].into_iter().chain(further) {
        match send(number) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            other => other.map(drop)?,
        }
    }
    Ok(())
}

/// How often the children are listed, while some of them end each time, before nobody can be told who is there. Whoever forks
/// or collects a child waits meanwhile.
const LISTINGS_MAX: u32 = 256;

/// The pids of the children that we forked and have not reaped. Collecting a child and listing children take turns,
/// because the kernel's list may skip entries when one is removed while it is read.
#[derive(Debug)]
pub(crate) struct Family {
    known: Mutex<Known>,
    /// Read under the lock of `known`.
    children: OwnChildren,
    has_pidfds: bool,
    /// Counts who asks for strangers and who looks, in the order in which they do.
    asked: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    leaders: HashSet<Pid>,
    /// When the newest look began that found no stranger.
    alone_at: u64,
}

impl Family {
    /// Fails when it cannot be told now how the end of a child is heard of, as when descriptors have run out.
    pub(crate) fn new() -> io::Result<Self> {
        let has_pidfds = match open_pidfd(own_pid()) {
            Ok(_) => true,
            Err(error) if has_no_pidfds(&error) => false,
            Err(error) => return Err(error),
        };
        let (known, asked) = (Mutex::default(), AtomicU64::new(1));
        Ok(Self { known, children: OwnChildren::open()?, has_pidfds, asked })
    }

    /// One whose children are those that a test writes to a file.
    #[cfg(test)]
    pub(crate) fn listed_in(list: &std::path::Path) -> Self {
        let list = std::fs::File::open(list).expect("the test's list");
        Self { children: OwnChildren::listed_in(list), ..Self::new().expect("a family") }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `fork` and, before anyone can look, notes the child it made.
    pub(super) fn add(&self, fork: impl FnOnce() -> io::Result<Pid>) -> io::Result<Pid> {
        let mut known = self.lock();
        let pid = fork()?;
        known.leaders.insert(pid);
        Ok(pid)
    }

    /// Whether the kernel wakes each worker for its own child; otherwise SIGCHLD must.
    pub(crate) fn has_pidfds(&self) -> bool {
        self.has_pidfds
    }

    /// Whether the kernel lists the children of a process.
    pub(crate) fn lists_children(&self) -> bool {
        self.children.are_listed()
    }

    pub(crate) fn is_leader(&self, pid: Pid) -> bool {
        self.lock().leaders.contains(&pid)
    }

    /// Signals a stranger that the kernel lets nobody hold, if `still` says that it is the process that was meant.
    /// `false` when it is no child of ours: it has gone, or its own parent lives and keeps it.
    pub(crate) fn signal_stranger(&self, pid: Pid, signal: Signal, still: impl FnOnce() -> bool) -> io::Result<bool> {
        // Whoever collects a child waits for the lock, so that the number cannot come to mean another.
        let known = self.lock();
        let is_stranger = !known.leaders.contains(&pid) && matches!(wait(pid, libc::WNOHANG | libc::WNOWAIT), Ok(None));
        if !is_stranger || !still() {
            return Ok(false);
        }
        // SAFETY: kill touches no memory of ours. The number is that of a child which is not collected.
        heard(signal, |number| cvt(unsafe { libc::kill(pid, number) })).map(|()| true)
    }

    /// Children of ours that we did not fork: orphans that came to us as their subreaper. Those that have ended are
    /// collected on the way. Empty proves that no descendant of a dead leader is left anywhere. Fails when that cannot be
    /// told now, as when descriptors have run out.
    ///
    /// The kernel takes the longer the more children there are, and when all modules end at once everybody asks: whoever
    /// waited while another one looked, and found nobody, need not look again, if that look began after the question.
    pub(crate) fn strangers(&self) -> io::Result<Vec<Pid>> {
        let asked_at = self.asked.fetch_add(1, Ordering::AcqRel);
        let mut known = self.lock();
        if known.alone_at > asked_at {
            return Ok(Vec::new());
        }
        for _ in 0..LISTINGS_MAX {
            let began_at = self.asked.fetch_add(1, Ordering::AcqRel);
            let mut strangers = self.children.read()?;
            strangers.retain(|pid| !known.leaders.contains(pid));
            if strangers.is_empty() {
                known.alone_at = began_at;
                return Ok(strangers);
            }
            let listed = strangers.len();
            strangers.retain(|pid| matches!(wait(*pid, libc::WNOHANG), Ok(None)));
            // One that ended after it was listed may have left us its own children meanwhile.
            if strangers.len() == listed {
                return Ok(strangers);
            }
        }
        Err(io::Error::other("children end faster than they can be listed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;
    use std::time::{Duration, Instant};

    #[test]
    fn room_for_descriptors_is_made() {
        // In a table of its own: the one that all tests share may be as large as it may get.
        let test = || {
            assert!(close_range_unshared(3, 0), "this thread has a table of its own");
            let size = || -> usize {
                let status = std::fs::read_to_string("/proc/thread-self/status").expect("our status");
                let line = status.lines().find_map(|line| line.strip_prefix("FDSize:")).expect("a size");
                line.trim().parse().expect("a number")
            };
            let file = std::fs::File::open("/dev/null").expect("opened");
            let wanted = size() + 1;
            reserve_descriptors(file.as_fd(), wanted);
            assert!(size() >= wanted, "{} of {wanted}", size());
            // More than anybody may have, and none at all.
            for count in [usize::MAX, libc::c_int::MAX as usize, 0] {
                reserve_descriptors(file.as_fd(), count);
            }
        };
        std::thread::spawn(test).join().expect("it passes");
    }

    /// Without a pidfd a number is signalled only while it is a child's for certain.
    #[test]
    fn a_stranger_that_cannot_be_held_is_signalled_only_if_it_is_the_one() {
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().expect("a child");
        let pid = Pid::try_from(child.id()).expect("a pid");
        let family = Family::new().expect("a family");
        let told = |pid, is_it: bool| family.signal_stranger(pid, Signal::Kill, || is_it).expect("allowed");
        assert!(!told(own_pid(), true), "not our child");
        assert!(!told(pid, false), "another one by now");
        family.add(|| Ok(pid)).expect("noted");
        assert!(!told(pid, true), "a leader");
        assert_eq!(child.try_wait().expect("ours"), None, "it was left alone");
        family.lock().leaders.clear();
        assert!(told(pid, true));
        child.wait().expect("ours");
        assert!(!told(pid, true), "collected");
    }

    #[test]
    fn a_child_that_is_abandoned_is_ended_and_becomes_a_stranger() {
        use std::os::unix::process::CommandExt;
        let dir = TestDir::new("abandoned");
        let list = dir.join("children");
        std::fs::write(&list, "").expect("written");
        let family = Family::listed_in(&list);
        let mut sleep = std::process::Command::new("/bin/sleep");
        sleep.arg("600").process_group(0);
        let pid = family.add(|| sleep.spawn().map(|child| child.id() as Pid)).expect("a child");
        Child::adopt(pid, None).abandon(&family);
        assert!(!family.is_leader(pid), "whoever looks for strangers collects it");
        assert_eq!(wait(pid, 0).expect("it is there"), Some(Exit::Signal(libc::SIGKILL)));
    }

    /// As when they end faster than they can be listed: whoever forks or collects a child waits meanwhile.
    #[test]
    fn a_list_that_is_never_the_same_as_who_is_there_is_given_up() {
        let dir = TestDir::new("listings");
        let list = dir.join("children");
        std::fs::write(&list, format!("{} ", own_pid())).expect("written");
        let family = Family::listed_in(&list);
        let error = family.strangers().expect_err("nobody is no child of its own");
        assert_eq!(error.to_string(), "children end faster than they can be listed");
    }

    /// Whoever waits for another one's look takes it for its own only if it began after the question.
    #[test]
    fn a_look_answers_those_who_asked_before_it_and_nobody_else() {
        let dir = TestDir::new("family");
        let list = dir.join("children");
        std::fs::write(&list, "").expect("written");
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().expect("a child");
        let stranger = Pid::try_from(child.id()).expect("a pid");
        let family = Family::listed_in(&list);
        assert!(family.strangers().expect("read").is_empty(), "nobody is there");
        let deadline = Instant::now() + Duration::from_secs(60);
        for asked_before in [true, false] {
            std::thread::scope(|scope| {
                // Somebody looks, and finds nobody, just before the stranger comes.
                let mut known = family.lock();
                let look = || family.asked.fetch_add(1, Ordering::AcqRel);
                let mut began_at = look();
                let asker = scope.spawn(|| family.strangers().expect("read"));
                while family.asked.load(Ordering::Acquire) == began_at + 1 {
                    assert!(Instant::now() < deadline, "nobody asks");
                    std::thread::yield_now();
                }
                if asked_before {
                    began_at = look();
                }
                known.alone_at = began_at;
                std::fs::write(&list, format!("{stranger} ")).expect("written");
                drop(known);
                let told = asker.join().expect("no panic");
                assert_eq!(told.is_empty(), asked_before, "{told:?}");
                assert_eq!(family.strangers().expect("read"), [stranger], "whoever asks now is told");
            });
        }
        child.kill().expect("it lives");
        child.wait().expect("reaped");
    }
}
