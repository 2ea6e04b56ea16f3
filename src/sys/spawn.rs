//! From a prepared specification to a child in a process group of its own.
//!
//! The fork is the one of vfork(2), on a stack of its own: the child borrows our memory until it calls exec. A plain
//! fork copies the map of every thread's stack, which with a thousand modules takes longer than everything else
//! together, and holds up whoever touches new memory meanwhile.
//!
//! Everything is allocated before. Between fork and exec the child makes only async-signal-safe system calls, writes
//! to nothing but its own stack, and says over a close-on-exec pipe which step failed, and with which errno; the
//! pipe's end without a word is success. Until then the thread that forked stands still, and whoever can hold up the
//! child, as a process of the user that it has become can by stopping it, holds up that one: see [`Newborn`].

use super::fault::point;
use super::process::{Child, Family, Pid, Signal, close_range_unshared};
use super::{cvt, poll, signals, wide};
use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

/// A resource that can be limited per child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Nofile,
    Core,
    Fsize,
    AddressSpace,
    Nproc,
    Cpu,
    Memlock,
    Stack,
}

impl Resource {
    const ALL: [Self; 8] =
        [Self::Nofile, Self::Core, Self::Fsize, Self::AddressSpace, Self::Nproc, Self::Cpu, Self::Memlock, Self::Stack];

    // The constant's type differs between C libraries, and so must the field that holds it.
    fn number(self) -> libc::c_int {
        (match self {
            Self::Nofile => libc::RLIMIT_NOFILE,
            Self::Core => libc::RLIMIT_CORE,
            Self::Fsize => libc::RLIMIT_FSIZE,
            Self::AddressSpace => libc::RLIMIT_AS,
            Self::Nproc => libc::RLIMIT_NPROC,
            Self::Cpu => libc::RLIMIT_CPU,
            Self::Memlock => libc::RLIMIT_MEMLOCK,
            Self::Stack => libc::RLIMIT_STACK,
        }) as libc::c_int
    }
}

/// A limit of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) resource: Resource,
    pub(crate) soft: u64,
    /// `None` leaves the hub's.
    pub(crate) hard: Option<u64>,
}

/// Who the child becomes; needs root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// The supplementary groups.
    pub(crate) groups: Vec<u32>,
}

/// All that a child needs, in the form that the kernel takes.
#[derive(Debug)]
pub(crate) struct SpawnSpec {
    /// The file to execute; no search takes place.
    pub(crate) program: CString,
    pub(crate) argv: Strings,
    /// `KEY=value`, the whole environment.
    pub(crate) environment: Strings,
    pub(crate) directory: Option<CString>,
    pub(crate) umask: u32,
    pub(crate) limits: Vec<Limit>,
    pub(crate) credentials: Option<Credentials>,
    /// Sent to the child when the thread that forked it dies.
    pub(crate) parent_death_signal: Signal,
}

/// The longest string that exec hands on, with its NUL: 32 pages of 4 KiB (execve(2)). The pages of some machines are
/// larger, and there exec alone says it.
const STRING_MAX_BYTES: usize = if cfg!(target_os = "linux") { 32 * 4096 } else { usize::MAX };

/// Why a string cannot be handed to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It would end early.
    Nul,
    TooLong {
        bytes: usize,
    },
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nul => f.write_str("holds a NUL byte"),
            Self::TooLong { bytes } => {
                write!(f, "has {bytes} bytes; the kernel hands at most {} on in one piece", STRING_MAX_BYTES - 1)
            }
        }
    }
}

/// A list of strings for the kernel: one behind the other in one block, each with a NUL at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Strings {
    block: Vec<u8>,
}

impl Strings {
    /// Appends the string that the parts make together; nothing, when a child could not be handed it.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> Result<(), Unfit> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(Unfit::Nul);
        }
        let bytes = parts.iter().map(|part| part.len()).sum();
        if bytes >= STRING_MAX_BYTES {
            return Err(Unfit::TooLong { bytes });
        }
        parts.iter().for_each(|part| self.block.extend_from_slice(part));
        self.block.push(0);
        Ok(())
    }

    /// As exec takes them; ends with a null pointer. They point into this list.
    fn pointers(&self) -> Vec<*const libc::c_char> {
        let strings = self.block.split_inclusive(|byte| *byte == 0);
        strings.map(|string| string.as_ptr().cast()).chain([std::ptr::null()]).collect()
    }
}

/// Where between fork and exec the child failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Pipe,
    Fork,
    Group,
    Stdio,
    Limit(Resource),
    Credentials,
    Directory,
    ParentDeath,
    Exec,
    /// Any of these that took too long.
    OnTheWay,
}

impl Step {
    const IN_CHILD: [Self; 6] =
        [Self::Group, Self::Stdio, Self::Credentials, Self::Directory, Self::ParentDeath, Self::Exec];
    /// From here on the bytes of the limits, in the order of [`Resource::ALL`].
    const FIRST_LIMIT: u8 = 16;

    /// The step that a child has reported by this byte.
    fn of_byte(byte: u8) -> Self {
        let limit = byte.checked_sub(Self::FIRST_LIMIT).and_then(|index| Resource::ALL.get(usize::from(index)));
        let other = || Self::IN_CHILD.get(usize::from(byte)).copied();
        limit.map(|resource| Self::Limit(*resource)).or_else(other).unwrap_or(Self::Exec)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pipe => "making its pipes",
            Self::Fork => "fork",
            Self::Group => "making its process group",
            Self::Stdio => "connecting its output",
            Self::Limit(Resource::Nofile) => "setting run.limits.nofile",
            Self::Limit(Resource::Core) => "setting run.limits.core",
            Self::Limit(Resource::Fsize) => "setting run.limits.fsize",
            Self::Limit(Resource::AddressSpace) => "setting run.limits.as",
            Self::Limit(Resource::Nproc) => "setting run.limits.nproc",
            Self::Limit(Resource::Cpu) => "setting run.limits.cpu",
            Self::Limit(Resource::Memlock) => "setting run.limits.memlock",
            Self::Limit(Resource::Stack) => "setting run.limits.stack",
            Self::Credentials => "changing to its user",
            Self::Directory => "changing to its directory",
            Self::ParentDeath => "asking for the parent-death signal",
            Self::Exec => "exec",
            Self::OnTheWay => "reaching its program",
        }
    }
}

/// A child that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpawnFailure {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

impl SpawnFailure {
    /// Whether the machine was short of something, so that trying again later is right.
    pub(crate) fn is_transient(self) -> bool {
        matches!(self.errno, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::ETXTBSY | libc::EINTR)
            || self.step == Step::OnTheWay
    }

    pub(crate) fn is_not_found(self) -> bool {
        self.errno == libc::ENOENT
    }

    /// It may not be done with our rights.
    pub(crate) fn is_not_permitted(self) -> bool {
        self.errno == libc::EPERM
    }

    /// Neither a binary for this machine nor a script that names its interpreter.
    pub(crate) fn is_not_a_program(self) -> bool {
        self.errno == libc::ENOEXEC
    }

    pub(crate) fn error(self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }

    /// Nothing was tried: the hub is on its way down.
    pub(crate) fn cancelled() -> Self {
        Self { step: Step::Fork, errno: libc::ECANCELED }
    }

    /// It was killed on its way to its program, see [`Newborn`].
    pub(crate) fn took_too_long() -> Self {
        Self { step: Step::OnTheWay, errno: libc::ETIME }
    }

    pub(crate) fn is_cancelled(self) -> bool {
        self.errno == libc::ECANCELED
    }

    fn at(step: Step, error: &io::Error) -> Self {
        Self { step, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

/// A forked child. `outcome` tells whether it got to exec.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) child: Child,
    /// Non-blocking.
    pub(crate) stdout: OwnedFd,
    /// Non-blocking.
    pub(crate) stderr: OwnedFd,
    pub(crate) outcome: Outcome,
}

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
            // Eight bytes are written at once, and a pipe delivers so few of them together.
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

/// The step's byte, see [`Step::of_byte`], and the errno.
const MESSAGE_BYTES: usize = 5;

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

    /// Forks. Whether the child has reached its program says the [`Outcome`], which is known then.
    pub(crate) fn spawn(&self, spec: &SpawnSpec, newborn: &Newborn, family: &Family) -> Result<Spawned, SpawnFailure> {
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

        let mut pidfd = None;
        let forked = family.add(|| {
            let (pid, fd) = prepared.fork(family.has_pidfds())?;
            pidfd = fd;
            Ok(pid)
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
        Ok(Spawned { child: Child::adopt(pid, pidfd), stdout, stderr, outcome: Outcome { pipe: outcome } })
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

/// What the child needs between fork and exec: plain numbers and pointers into memory of the parent's making.
struct Prepared<'a> {
    spec: &'a SpawnSpec,
    newborn: &'a Newborn,
    argv: *const *const libc::c_char,
    environment: *const *const libc::c_char,
    stdio: [libc::c_int; 3],
    outcome: libc::c_int,
    /// From here on the child has none of our open files; `None`: it has a copy of all.
    leave_from: Option<libc::c_uint>,
    /// Signals that get their default action back.
    altered: &'a [libc::c_int],
    parent: Pid,
}

/// What the child needs until exec; the deepest call is a system call.
const CHILD_STACK_BYTES: usize = 64 * 1024;

/// The child's first function.
extern "C" fn child_main(prepared: *mut libc::c_void) -> libc::c_int {
    // SAFETY: `fork` passes a `Prepared` that it keeps alive, and unchanged, until the child has left its memory.
    let prepared = unsafe { &*prepared.cast::<Prepared<'_>>() };
    prepared.run()
}

impl Prepared<'_> {
    /// Returns once the child has called exec or ended: until then this thread stands still. The pidfd is made with
    /// the child: when no descriptor is left for it, there is no child either that nobody would see end.
    fn fork(&self, with_pidfd: bool) -> io::Result<(Pid, Option<OwnedFd>)> {
        point("fork")?;
        let mut stack: Vec<u8> = Vec::with_capacity(CHILD_STACK_BYTES);
        // SAFETY: the end of the allocation, which is one past its last byte; stacks grow down.
        let top = unsafe { stack.as_mut_ptr().add(CHILD_STACK_BYTES) };
        // The calling convention wants 16 bytes.
        let top = top.map_addr(|address| address & !15);
        // The child's number is there before the child can be stopped.
        let mut flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
        if with_pidfd {
            flags |= libc::CLONE_PIDFD;
        }
        if self.leave_from.is_some() {
            // Until it leaves them.
            flags |= libc::CLONE_FILES;
        }
        let mut pidfd: libc::c_int = -1;
        let argument = std::ptr::from_ref(self).cast_mut().cast();
        let no_tls = std::ptr::null_mut::<libc::c_void>();
        let newborn = self.newborn.pid.as_ptr();
        // SAFETY: with CLONE_VFORK this thread, and with it everything that `self` borrows, waits until the child has
        // left our memory; the child runs `child_main` on a stack that nobody else uses, makes only system calls
        // there and never returns. Files, directory, umask and signal actions are its own copies. The two pointers to
        // which the kernel writes the pidfd and the pid are those of live, writable numbers, the second an atomic one.
        let pid =
            cvt(unsafe { libc::clone(child_main, top.cast(), flags, argument, &raw mut pidfd, no_tls, newborn) })?;
        // SAFETY: a descriptor that the kernel has made is new, close-on-exec and owned by nobody else.
        let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
        Ok((pid, pidfd))
    }

    /// The child's whole life before exec. Allocates nothing and takes no lock.
    fn run(&self) -> ! {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_in_the_child_has_the_index_that_it_reports() {
        let order = [Step::Group, Step::Stdio, Step::Credentials, Step::Directory, Step::ParentDeath, Step::Exec];
        for (byte, step) in (0..).zip(order) {
            assert_eq!(Step::of_byte(byte), step);
        }
        for resource in Resource::ALL {
            assert_eq!(Step::of_byte(Step::FIRST_LIMIT + resource as u8), Step::Limit(resource));
        }
        for unknown in [6, 15, 24, 255] {
            assert_eq!(Step::of_byte(unknown), Step::Exec);
        }
    }

    #[test]
    fn strings_are_whole_and_end_where_they_say() {
        let mut strings = Strings::default();
        for fit in [&[&b"A"[..], b"=", b"1"][..], &[], &[b"\xff"]] {
            assert_eq!(strings.push(fit), Ok(()));
        }
        for holds_nul in [&[&b"B="[..], b"1\x002"][..], &[b"\0"]] {
            assert_eq!(strings.push(holds_nul), Err(Unfit::Nul));
        }
        let pointers = strings.pointers();
        assert_eq!((pointers.len(), pointers[3].is_null()), (4, true));
        let offset = |index: usize| pointers[index].addr() - pointers[0].addr();
        assert_eq!((&strings.block[..], offset(1), offset(2)), (&b"A=1\0\0\xff\0"[..], 4, 5));
    }

    #[test]
    fn a_shortage_is_transient_and_a_missing_file_is_not() {
        for (errno, transient) in [
            (libc::EAGAIN, true),
            (libc::ENOMEM, true),
            (libc::EMFILE, true),
            (libc::ETXTBSY, true),
            (libc::ENOENT, false),
            (libc::EACCES, false),
            (libc::ENOEXEC, false),
        ] {
            assert_eq!(SpawnFailure { step: Step::Exec, errno }.is_transient(), transient, "errno {errno}");
        }
    }
}
