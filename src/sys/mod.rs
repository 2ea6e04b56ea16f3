//! The fence around `unsafe`: the only place that names `libc`. Every kernel call that can fail and matters has its
//! one door here, so that a test build can make the N-th one fail. Must not know anything of ours.
#![allow(unsafe_code)]

pub(crate) mod account;
mod address;
pub(crate) mod cgroup;
pub(crate) mod connect;
pub(crate) mod epoll;
pub(crate) mod fault;
pub(crate) mod fs;
pub(crate) mod inotify;
pub(crate) mod listener;
pub(crate) mod memchr;
pub(crate) mod memory;
mod pid;
pub(crate) mod poll;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod spawn;
#[cfg(test)]
pub(crate) mod testdir;
#[cfg(test)]
pub(crate) mod testrandom;
mod wide;
pub(crate) mod wipe;

use std::io;

/// Turns the kernel's -1 into the error in `errno`.
pub(crate) fn cvt(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Like [`cvt`], again and again while a signal interrupts the call.
pub(crate) fn cvt_r(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    loop {
        match cvt(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
