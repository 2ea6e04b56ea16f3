//! From a prepared specification to a child in a process group of its own.
//!
//! The fork is the one of vfork(2), on a stack of its own: the child borrows our memory until it calls exec. A plain
//! fork copies the map of every thread's stack, which with a thousand modules takes longer than everything else
//! together, and holds up whoever touches new memory meanwhile.
//!
//! Everything is allocated before. Between fork and exec the child makes only async-signal-safe system calls, writes
//! to nothing but its own stack and its [`Newborn`], and says over a close-on-exec pipe which step failed, and with which errno; the
//! pipe's end without a word is success. Until then the thread that forked stands still, and whoever can hold up the
//! child, as a process of the user that it has become can by stopping it, holds up that one: see [`Newborn`].

mod clone3;
mod failure;
mod prepared;
mod spec;

pub(crate) use failure::{SpawnFailure, Step};
pub(crate) use spec::{Credentials, Limit, Resource, SpawnSpec, Strings, Unfit};

use super::fault::point;
use super::process::{Child, Family, Pid};
use super::{cvt, poll, signals};
use prepared::Prepared;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

/// A forked child. `outcome` tells whether it got to exec.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) child: Child,
    /// Non-blocking.
    pub(crate) stdout: OwnedFd,
    /// Non-blocking.
    pub(crate) stderr: OwnedFd,
    pub(crate) outcome: Outcome,
    /// Why it is not in the control group that was asked for.
    pub(crate) outside: Option<io::Error>,
}

/// The step's byte, see [`Step`], and the errno.
const MESSAGE_BYTES: usize = 5;

/// The child's end of the story, readable when it is known.
#[derive(Debug)]
pub(crate) struct Outcome {
    pipe: OwnedFd,
}

impl AsFd for Outcome {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Outcome {
    /// `Some(Ok)` once the program runs, `Some(Err)` when a step failed, `None` while it is not known.
    pub(crate) fn get(&self) -> Option<Result<(), SpawnFailure>> {
        let mut message = [0u8; MESSAGE_BYTES];
        match poll::read_some(self.pipe.as_fd(), &mut message) {
            Ok(None) => None,
            Ok(Some(0)) => Some(Ok(())),
            // Five bytes are written at once, and a pipe delivers so few of them together.
            Ok(Some(_)) => {
                let [step, errno @ ..] = message;
                Some(Err(SpawnFailure { step: Step::of_byte(step), errno: i32::from_ne_bytes(errno) }))
            }
            Err(error) => Some(Err(SpawnFailure::at(Step::Exec, &error))),
        }
    }
}

/// A child on its way to its program, for the one who waits to be handed it and alone collects it. That one can get it,
/// and with it the thread that forks, out of where it is held up.
#[derive(Debug, Default)]
pub(crate) struct Newborn {
    /// 0 while there is none.
    pid: AtomicI32,
    /// Why it could not join its control group; 0 while nothing is known against it.
    outside: AtomicI32,
}

impl Newborn {
    /// Its number, once there is one.
    pub(crate) fn pid(&self) -> Option<Pid> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// Has one go on that was stopped.
    pub(crate) fn resume(&self) {
        self.send(libc::SIGCONT);
    }

    pub(crate) fn kill(&self) {
        self.send(libc::SIGKILL);
    }

    fn send(&self, number: libc::c_int) {
        if let Some(pid) = self.pid() {
            // SAFETY: kill touches no memory of ours. The number is the child's: nobody but the caller collects it.
            unsafe { libc::kill(pid, number) };
        }
    }
}

/// Makes children. Belongs to the main thread, because the parent-death signal follows the thread that forked.
#[derive(Debug)]
pub(crate) struct Spawner {
    null: OwnedFd,
    /// Where the ends of a child's pipes are while it is made, below all that is opened later: then it does not have to
    /// take over, and close again, a thousand open files of ours. `None` where the kernel cannot leave those behind.
    places: Option<[OwnedFd; 3]>,
    /// Signals whose action is not the default one: Rust ignores SIGPIPE, and whoever started us may have ignored others.
    altered: Vec<libc::c_int>,
}

impl Spawner {
    /// To be made before anything else is opened. `has_close_range`: what [`seal_inherited_descriptors`] said.
    ///
    /// [`seal_inherited_descriptors`]: super::process::seal_inherited_descriptors
    pub(crate) fn new(has_close_range: bool) -> io::Result<Self> {
        let null = OwnedFd::from(super::fs::open_read(Path::new("/dev/null"))?);
        let place = || {
            // The first three are the child's own.
            // SAFETY: fcntl with F_DUPFD_CLOEXEC takes no pointer.
            let fd = cvt(unsafe { libc::fcntl(null.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) })?;
            // SAFETY: the descriptor is new and owned by nobody else.
            Ok::<_, io::Error>(unsafe { OwnedFd::from_raw_fd(fd) })
        };
        let places = if has_close_range { Some([place()?, place()?, place()?]) } else { None };
        Ok(Self { null, places, altered: signals::altered() })
    }

    /// Forks, into the control group that is open if there is one and the kernel lets it. Whether the child has reached
    /// its program says the [`Outcome`], which is known then.
    pub(crate) fn spawn(
        &self,
        spec: &SpawnSpec,
        newborn: &Newborn,
        family: &Family,
        group: Option<BorrowedFd<'_>>,
    ) -> Result<Spawned, SpawnFailure> {
        debug_assert!(super::process::is_main_thread());
        let pipe = || pipe().map_err(|error| SpawnFailure::at(Step::Pipe, &error));
        let (stdout, child_stdout) = pipe()?;
        let (stderr, child_stderr) = pipe()?;
        let (outcome, child_outcome) = pipe()?;
        let mut ends = [child_stdout.as_raw_fd(), child_stderr.as_raw_fd(), child_outcome.as_raw_fd()];
        if let Some(places) = &self.places {
            for (end, place) in ends.iter_mut().zip(places) {
                *end = duplicate_onto(*end, place).map_err(|error| SpawnFailure::at(Step::Pipe, &error))?;
            }
        }
        let null = self.null.as_raw_fd();
        let last_end = ends.into_iter().fold(null, libc::c_int::max);

        let argv = spec.argv.pointers();
        let environment = spec.environment.pointers();
        let prepared = Prepared {
            spec,
            newborn,
            argv: argv.as_ptr(),
            environment: environment.as_ptr(),
            stdio: [null, ends[0], ends[1]],
            outcome: ends[2],
            leave_from: self.places.is_some().then_some(last_end as libc::c_uint + 1),
            altered: &self.altered,
            parent: super::process::own_pid(),
        };

        let (mut pidfd, mut outside) = (None, None);
        let forked = family.add(|| {
            let forked = prepared.fork(family.has_pidfds(), group)?;
            (pidfd, outside) = (forked.pidfd, forked.outside);
            Ok(forked.pid)
        });
        // The pipes end with the child alone. This cannot fail, because something is open there.
        for place in self.places.iter().flatten() {
            let _ = duplicate_onto(null, place);
        }
        let pid = forked.map_err(|error| SpawnFailure::at(Step::Fork, &error))?;
        // In both, child and parent: whoever comes first. In the parent it fails once the child has called exec, which
        // then has done it itself.
        // SAFETY: setpgid touches no memory; the pid is our unreaped child.
        unsafe { libc::setpgid(pid, pid) };
        let (child, outcome) = (Child::adopt(pid, pidfd), Outcome { pipe: outcome });
        Ok(Spawned { child, stdout, stderr, outcome, outside })
    }
}

/// Opens `fd` as `place` too, in whose place it then stands; its number.
fn duplicate_onto(fd: libc::c_int, place: &OwnedFd) -> io::Result<libc::c_int> {
    // SAFETY: dup3 takes no pointer, and what `place` stood for is nobody's any more.
    cvt(unsafe { libc::dup3(fd, place.as_raw_fd(), libc::O_CLOEXEC) })
}

/// A close-on-exec pipe whose read end does not block.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    point("pipe")?;
    // SAFETY: the pointer is that of a live array of two.
    cvt(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: both descriptors are new and owned by nobody else.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: fcntl with F_SETFL takes no pointer.
    cvt(unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((read, write))
}

/// Makes a busy pipe larger, so that its writer blocks less often. Refused where the user's pipe budget is spent.
pub(crate) fn enlarge_pipe(fd: BorrowedFd<'_>, bytes: i32) -> bool {
    // SAFETY: fcntl with F_SETPIPE_SZ takes no pointer.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) >= 0 }
}
