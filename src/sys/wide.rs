//! Calls under their names of a 64-bit machine. On a 32-bit Linux the plain names mean files below 2 GiB, limits below
//! 4 GiB and 16-bit users.

#[cfg(target_os = "linux")]
pub(super) use libc::{
    O_LARGEFILE, fstat64 as fstat, fstatat64 as fstatat, getrlimit64 as getrlimit, rlimit64 as rlimit,
    setrlimit64 as setrlimit, stat64 as stat,
};
#[cfg(not(target_os = "linux"))]
pub(super) use libc::{fstat, fstatat, getrlimit, rlimit, setrlimit, stat};
#[cfg(not(target_os = "linux"))]
pub(super) const O_LARGEFILE: libc::c_int = 0;

// The kernel's table of an old 32-bit machine has both; a user cut to 16 bits can be root.
#[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
pub(super) use libc::{SYS_setgid, SYS_setgroups, SYS_setuid};
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
pub(super) use libc::{SYS_setgid32 as SYS_setgid, SYS_setgroups32 as SYS_setgroups, SYS_setuid32 as SYS_setuid};
