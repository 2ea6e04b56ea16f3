//! The fork, and what the child does between it and exec.

use super::clone3::{self, Birth};
use super::failure::Step;
use super::spec::SpawnSpec;
use super::{MESSAGE_BYTES, Newborn};
use crate::sys::fault::point;
use crate::sys::process::{Pid, close_range_unshared};
use crate::sys::{cgroup, cvt, wide};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// What the child needs between fork and exec: plain numbers and pointers into memory of the parent's making.
pub(super) struct Prepared<'a> {
    pub(super) spec: &'a SpawnSpec,
    pub(super) newborn: &'a Newborn,
    pub(super) argv: *const *const libc::c_char,
    pub(super) environment: *const *const libc::c_char,
    pub(super) stdio: [libc::c_int; 3],
    pub(super) outcome: libc::c_int,
    /// From here on the child has none of our open files; `None`: it has a copy of all.
    pub(super) leave_from: Option<libc::c_uint>,
    /// Signals that get their default action back.
    pub(super) altered: &'a [libc::c_int],
    pub(super) parent: Pid,
}

/// Whether it would be in the way of any fork.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE))
}

/// What the child needs until exec; the deepest call is a system call.
const CHILD_STACK_BYTES: usize = 64 * 1024;

/// A child that is there, and has left our memory.
pub(super) struct Forked {
    pub(super) pid: Pid,
    pub(super) pidfd: Option<OwnedFd>,
    /// Why it is not in the control group that was asked for.
    pub(super) outside: Option<io::Error>,
}

/// What the child's first function is handed.
struct Handed<'a> {
    prepared: &'a Prepared<'a>,
    /// The members of the group that it is to join by itself.
    join: Option<BorrowedFd<'a>>,
}

/// The child's first function.
extern "C" fn child_main(handed: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `fork` passes a `Handed` that it keeps alive, and unchanged, until the child has left its memory.
    let handed = unsafe { &*handed.cast::<Handed<'_>>() };
    handed.prepared.run(handed.join)
}

impl Prepared<'_> {
    /// Returns once the child has called exec or ended: until then this thread stands still. The pidfd is made with
    /// the child: when no descriptor is left for it, there is no child either that nobody would see end.
    ///
    /// A child is born into its control group where the kernel can do that. To join it later, which is all that others
    /// can, takes the kernel some milliseconds on most releases, since it waits for every other fork.
    pub(super) fn fork(&self, with_pidfd: bool, group: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
        point("fork")?;
        let mut outside = None;
        if let Some(group) = group {
            match self.fork_as(with_pidfd, Some(group), None) {
                Ok((pid, pidfd)) => return Ok(Forked { pid, pidfd, outside: None }),
                Err(error) if is_shortage(&error) => return Err(error),
                // Whatever the matter is with the group: the child comes all the same.
                Err(_) => match cgroup::open_processes(group) {
                    Ok(members) => {
                        let (pid, pidfd) = self.fork_as(with_pidfd, None, Some(members.as_fd()))?;
                        let errno = self.newborn.outside.load(Ordering::Relaxed);
                        outside = (errno != 0).then(|| io::Error::from_raw_os_error(errno));
                        return Ok(Forked { pid, pidfd, outside });
                    }
                    Err(error) => outside = Some(error),
                },
            }
        }
        let (pid, pidfd) = self.fork_as(with_pidfd, None, None)?;
        Ok(Forked { pid, pidfd, outside })
    }

    fn fork_as(
        &self,
        with_pidfd: bool,
        born_in: Option<BorrowedFd<'_>>,
        join: Option<BorrowedFd<'_>>,
    ) -> io::Result<(Pid, Option<OwnedFd>)> {
        let mut stack: Vec<u8> = Vec::with_capacity(CHILD_STACK_BYTES);
        // SAFETY: the end of the allocation, which is one past its last byte; stacks grow down.
        let top = unsafe { stack.as_mut_ptr().add(CHILD_STACK_BYTES) };
        // The calling convention wants 16 bytes.
        let top = top.map_addr(|address| address & !15);
        // The child's number is there before the child can be stopped.
        let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_CHILD_SETTID;
        if with_pidfd {
            flags |= libc::CLONE_PIDFD;
        }
        if self.leave_from.is_some() {
            // Until it leaves them.
            flags |= libc::CLONE_FILES;
        }
        let mut pidfd: libc::c_int = -1;
        let handed = Handed { prepared: self, join };
        let argument = std::ptr::from_ref(&handed).cast_mut().cast();
        let newborn = self.newborn.pid.as_ptr();
        let pid = match born_in {
            Some(group) => {
                let birth = Birth { flags, pidfd: &raw mut pidfd, child_tid: newborn, stack: &mut stack, top, group };
                // SAFETY: as below.
                unsafe { clone3::clone_into(birth, child_main, argument) }?
            }
            None => {
                let no_tls = std::ptr::null_mut::<libc::c_void>();
                let flags = flags | libc::SIGCHLD;
                // SAFETY: with CLONE_VFORK this thread, and with it everything that `handed` borrows, waits until the
                // child has left our memory; the child runs `child_main` on a stack that nobody else uses, makes only
                // system calls there and never returns. Files, directory, umask and signal actions are its own copies.
                // The two pointers to which the kernel writes the pidfd and the pid are those of live, writable numbers,
                // the second an atomic one.
                cvt(unsafe { libc::clone(child_main, top.cast(), flags, argument, &raw mut pidfd, no_tls, newborn) })?
            }
        };
        // SAFETY: a descriptor that the kernel has made is new, close-on-exec and owned by nobody else.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        Ok((pid, pidfd))
    }

    /// The child's whole life before exec. Allocates nothing and takes no lock.
    fn run(&self, join: Option<BorrowedFd<'_>>) -> ! {
        // While its open files are the parent's.
        if let Some(Err(error)) = join.map(cgroup::join) {
            self.newborn.outside.store(error.raw_os_error().unwrap_or(libc::EIO), Ordering::Relaxed);
        }
        let (step, errno) = match self.steps() {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        let mut message = [step; MESSAGE_BYTES];
        message[1..].copy_from_slice(&errno.to_ne_bytes());
        // SAFETY: write and _exit are async-signal-safe; the pointer is that of a live array.
        unsafe {
            libc::write(self.outcome, message.as_ptr().cast(), MESSAGE_BYTES);
            libc::_exit(127)
        }
    }

    /// Each error is the step's byte, see [`Step::of_byte`], and the errno.
    fn steps(&self) -> Result<std::convert::Infallible, (u8, i32)> {
        // SAFETY (of every block below): an async-signal-safe call with numbers, or with pointers into memory that
        // the parent prepared and that this copy of the address space keeps unchanged.
        let check = |index: u8, result: libc::c_int| {
            // SAFETY: errno is this thread's own.
            if result == -1 { Err((index, unsafe { *libc::__errno_location() })) } else { Ok(()) }
        };

        // First of all: until then its open files are the parent's.
        if let Some(first) = self.leave_from
            && !close_range_unshared(first, 0)
        {
            check(1, -1)?;
        }
        // SAFETY: see above.
        check(0, unsafe { libc::setpgid(0, 0) })?;

        for (target, source) in self.stdio.iter().enumerate() {
            let target = target as libc::c_int;
            if *source == target {
                // The hub itself runs with this number closed: dup2 onto itself would keep close-on-exec.
                // SAFETY: see above.
                check(1, unsafe { libc::fcntl(target, libc::F_SETFD, 0) })?;
            } else {
                // SAFETY: see above.
                check(1, unsafe { libc::dup2(*source, target) })?;
            }
        }

        // SAFETY: see above.
        unsafe { libc::umask(self.spec.umask as libc::mode_t) };
        for limit in &self.spec.limits {
            let byte = Step::FIRST_LIMIT + limit.resource as u8;
            let resource = limit.resource.number();
            let mut both = wide::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: see above.
            check(byte, unsafe { wide::getrlimit(resource as _, &raw mut both) })?;
            both.rlim_cur = limit.soft;
            // The hub's own must not be below what is asked for.
            both.rlim_max = limit.hard.unwrap_or(both.rlim_max).max(limit.soft);
            // SAFETY: see above.
            check(byte, unsafe { wide::setrlimit(resource as _, &raw const both) })?;
        }

        if let Some(credentials) = &self.spec.credentials {
            // The bare system calls: the C library's functions would change every thread that it knows of, and what
            // it knows is the parent's.
            let groups = credentials.groups.as_ptr();
            // SAFETY: see above.
            check(2, unsafe { libc::syscall(wide::SYS_setgroups, credentials.groups.len(), groups) as libc::c_int })?;
            // SAFETY: see above.
            check(2, unsafe { libc::syscall(wide::SYS_setgid, credentials.gid) as libc::c_int })?;
            // SAFETY: see above.
            check(2, unsafe { libc::syscall(wide::SYS_setuid, credentials.uid) as libc::c_int })?;
        }

        // After the change of user, so that the directory is judged with its rights.
        if let Some(directory) = &self.spec.directory {
            // SAFETY: see above.
            check(3, unsafe { libc::chdir(directory.as_ptr()) })?;
        }

        // After the change of user, which would clear it. A parent that has died meanwhile sends nothing any more.
        let signal = self.spec.parent_death_signal.number() as libc::c_ulong;
        // SAFETY: see above.
        check(4, unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) })?;
        // SAFETY: see above.
        if unsafe { libc::getppid() } != self.parent {
            return Err((4, libc::ESRCH));
        }

        // What is ignored stays so beyond exec, and until then an action of ours would be run in the child.
        for signal in self.altered {
            // SAFETY: see above.
            unsafe { libc::signal(*signal, libc::SIG_DFL) };
        }
        // SAFETY: see above; sigset_t is plain data and sigemptyset makes it valid.
        unsafe {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        }

        // SAFETY: see above; both arrays end with a null pointer.
        unsafe { libc::execve(self.spec.program.as_ptr(), self.argv, self.environment) };
        check(5, -1)?;
        Err((5, libc::EIO))
    }
}
