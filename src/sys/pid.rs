//! The number of a process.

/// A process id as the kernel counts them: above zero.
pub(crate) type Pid = i32;

pub(crate) fn own_pid() -> Pid {
    // SAFETY: getpid cannot fail.
    unsafe { libc::getpid() }
}
