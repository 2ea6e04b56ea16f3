//! The signals that the main thread waits for, as a descriptor.

use super::pid::Pid;
use super::{cvt, poll, proc};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the main thread acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// SIGTERM or SIGINT: take the hub down; the second time, hurry.
    Terminate(Sender),
    /// SIGHUP: look at the files again.
    Reload,
    /// A child has ended; one of them is named.
    Child(i32),
}

/// Where a signal came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender {
    signal: &'static str,
    /// 0 for the kernel, as when Ctrl-C is typed, and for who is not in our pid namespace.
    pid: Pid,
    /// Its real user.
    uid: u32,
}

/// `SIGTERM from process 4321 (systemd, user 0)`; a process that has ended meanwhile has no name any more.
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signal, pid, uid } = self;
        if *pid == 0 {
            return write!(f, "{signal} from a terminal or another pid namespace");
        }
        match proc::name(*pid) {
            Some(name) => write!(f, "{signal} from process {pid} ({name}, user {uid})"),
            None => write!(f, "{signal} from process {pid} (user {uid})"),
        }
    }
}

/// A signalfd over SIGTERM, SIGINT, SIGHUP and SIGCHLD.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks these signals for this thread and every thread that it starts. Call it before there are others.
    pub(crate) fn block() -> io::Result<Self> {
        // Whoever started us may ignore it, and then the kernel collects our children itself (sigaction(2)). The others
        // are not lost to anybody who blocks them.
        // SAFETY: no handler is set, and signal touches no memory.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        // SAFETY: sigset_t is plain data; sigemptyset makes it valid before anything reads it.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is that of a live, writable set.
        unsafe { libc::sigemptyset(&raw mut set) };
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGCHLD] {
            // SAFETY: the pointer is that of a live, writable set, and the number is a valid signal.
            unsafe { libc::sigaddset(&raw mut set, signal) };
        }
        // SAFETY: both pointers are valid; the old mask is not wanted.
        let result = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        // SAFETY: the pointer is that of a live set.
        let fd = cvt(unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) })?;
        // SAFETY: the descriptor is new and owned by nobody else.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// The next signal that has arrived; `None` when there is none.
    pub(crate) fn next(&self) -> io::Result<Option<Received>> {
        // signalfd_siginfo begins with the signal's number; the sender's pid is its fourth 32-bit word, and the fifth its
        // user (signalfd(2)).
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        match poll::read_some(self.fd.as_fd(), &mut info)? {
            None | Some(0) => Ok(None),
            Some(_) => {
                let word = |index: usize| {
                    let mut bytes = [0u8; 4];
                    bytes.copy_from_slice(&info[index * 4..index * 4 + 4]);
                    i32::from_ne_bytes(bytes)
                };
                let sender = |signal| Sender { signal, pid: word(3), uid: word(4).cast_unsigned() };
                Ok(Some(match word(0) {
                    libc::SIGCHLD => Received::Child(word(3)),
                    libc::SIGHUP => Received::Reload,
                    libc::SIGINT => Received::Terminate(sender("SIGINT")),
                    _ => Received::Terminate(sender("SIGTERM")),
                }))
            }
        }
    }

    /// By whom we have been asked to end since the last look. For the time before anything is started: files are read
    /// after it, and children that have ended are collected then.
    pub(crate) fn take_terminate(&self) -> io::Result<Option<Sender>> {
        let mut asked_by = None;
        while let Some(received) = self.next()? {
            if let Received::Terminate(sender) = received {
                asked_by = Some(sender);
            }
        }
        Ok(asked_by)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A file that may not grow further, because whoever started us has set RLIMIT_FSIZE, makes a write fail and does not end
/// the process.
pub(crate) fn outlive_size_limit() {
    // SAFETY: no handler is set, and signal touches no memory.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// From now on SIGINT ends the process with exit code 0, at once and without any clean-up. One that whoever started us
/// has set to be ignored stays so.
pub(crate) fn end_well_on_interrupt() {
    extern "C" fn end_well(_signal: libc::c_int) {
        // SAFETY: _exit is async-signal-safe, touches no memory of ours and does not return.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: sigaction is plain data for which all zeroes is a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: nothing is set, and the last pointer is that of a live, writable sigaction.
    let known = unsafe { libc::sigaction(libc::SIGINT, std::ptr::null(), &raw mut action) } == 0;
    if known && action.sa_sigaction == libc::SIG_DFL {
        // SAFETY: the handler is a function for the whole life of the process and does only what a handler may.
        unsafe { libc::signal(libc::SIGINT, end_well as *const () as libc::sighandler_t) };
    }
}

/// The signals, without the real-time ones, whose action in this process is not the default one.
pub(super) fn altered() -> Vec<libc::c_int> {
    let is_altered = |signal: &libc::c_int| {
        // SAFETY: sigaction is plain data for which all zeroes is a valid value.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: nothing is set, and the last pointer is that of a live, writable sigaction.
        let known = unsafe { libc::sigaction(*signal, std::ptr::null(), &raw mut action) } == 0;
        known && action.sa_sigaction != libc::SIG_DFL
    };
    (1..=31).filter(is_altered).collect()
}
