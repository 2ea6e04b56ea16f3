//! clone3(2), for a child that is born into a control group. The C libraries have no function for it, and with a stack of
//! its own the child cannot return from one.

use crate::sys::fault::point;
use crate::sys::process::Pid;
use std::io;
use std::os::fd::BorrowedFd;

/// What the child is to be, beside its first function.
#[cfg_attr(
    not(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64")),
    allow(dead_code, reason = "nobody reads it there")
)]
pub(super) struct Birth<'a> {
    pub(super) flags: libc::c_int,
    /// Written with CLONE_PIDFD.
    pub(super) pidfd: *mut libc::c_int,
    /// Written with CLONE_CHILD_SETTID.
    pub(super) child_tid: *mut Pid,
    pub(super) stack: &'a mut Vec<u8>,
    /// Where the stack begins, in its allocation, a multiple of 16 bytes.
    pub(super) top: *mut u8,
    pub(super) group: BorrowedFd<'a>,
}

pub(super) type Main = extern "C" fn(*mut libc::c_void) -> libc::c_int;

/// Forks a child that shares our memory into the group: like `clone` of the C library, whose safety it has. Fails where
/// nobody has tried it, and on kernels of before 5.7.
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
pub(super) unsafe fn clone_into(birth: Birth<'_>, main: Main, argument: *mut libc::c_void) -> io::Result<Pid> {
    use std::os::fd::AsRawFd;

    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    /// `struct clone_args` of the kernel, as of 5.7.
    #[repr(C, align(8))]
    struct Arguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }

    let bottom = birth.stack.as_mut_ptr();
    let arguments = Arguments {
        flags: birth.flags as u64 | CLONE_INTO_CGROUP,
        pidfd: birth.pidfd.expose_provenance() as u64,
        child_tid: birth.child_tid.expose_provenance() as u64,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: bottom.expose_provenance() as u64,
        stack_size: (birth.top.addr() - bottom.addr()) as u64,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: birth.group.as_raw_fd() as u64,
    };
    point("clone3")?;
    let result: i64;
    // SAFETY: the kernel reads `arguments` and writes where the caller says; it keeps all our registers but three. The
    // child has registers and a stack of its own, on which it calls `main`, which never returns.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const arguments,
            in("rsi") size_of::<Arguments>(),
            in("r12") argument,
            in("r13") main,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match i32::try_from(result) {
        Ok(pid) if pid > 0 => Ok(pid),
        Ok(errno) => Err(io::Error::from_raw_os_error(errno.wrapping_neg())),
        Err(_) => Err(io::Error::from_raw_os_error(libc::EIO)),
    }
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64")))]
pub(super) unsafe fn clone_into(_: Birth<'_>, _: Main, _: *mut libc::c_void) -> io::Result<Pid> {
    Err(io::ErrorKind::Unsupported.into())
}
