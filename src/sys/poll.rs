//! Waiting for descriptors: `poll(2)`, and an eventfd that wakes a thread which waits.

use super::cvt_r;
use super::fault::point;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// The descriptors of one wait, reused from wait to wait.
#[derive(Default)]
pub(crate) struct PollSet {
    entries: Vec<libc::pollfd>,
}

/// Where a descriptor sits in a [`PollSet`] until its next `clear`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(usize);

impl PollSet {
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Waits for data, an end or an error of `fd`.
    pub(crate) fn readable(&mut self, fd: BorrowedFd<'_>) -> Slot {
        self.add(fd, libc::POLLIN)
    }

    /// Waits until `fd` takes data (for a connecting socket: until it is connected or refused).
    pub(crate) fn writable(&mut self, fd: BorrowedFd<'_>) -> Slot {
        self.add(fd, libc::POLLOUT)
    }

    /// Waits for nothing but that whoever read at the other end of `fd` has gone.
    pub(crate) fn abandoned(&mut self, fd: BorrowedFd<'_>) -> Slot {
        self.add(fd, 0)
    }

    fn add(&mut self, fd: BorrowedFd<'_>, events: libc::c_short) -> Slot {
        self.entries.push(libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
        Slot(self.entries.len() - 1)
    }

    /// Blocks until something is ready or `deadline` has passed; `None` waits for ever.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        cvt_r(|| {
            let timeout_ms = deadline.map_or(-1, |at| millis_up(at.saturating_duration_since(Instant::now())));
            // SAFETY: pointer and length are those of a live vector; the descriptors' numbers are only read.
            unsafe { libc::poll(self.entries.as_mut_ptr(), self.entries.len() as libc::nfds_t, timeout_ms) }
        })
        .map(drop)
    }

    /// Whether the last wait found anything at `slot`: data, room, end or error.
    pub(crate) fn is_ready(&self, slot: Slot) -> bool {
        self.entries.get(slot.0).is_some_and(|entry| entry.revents != 0)
    }
}

/// Whole milliseconds, rounded up, so that a wait never ends just before its deadline.
fn millis_up(wait: Duration) -> libc::c_int {
    libc::c_int::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
}

/// An eventfd: wakes a thread that polls it. Any number of wakes before a look count as one.
#[derive(Debug)]
pub(crate) struct Waker {
    fd: OwnedFd,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        point("eventfd")?;
        // SAFETY: eventfd takes no pointer.
        let fd = super::cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor is new and owned by nobody else.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    pub(crate) fn wake(&self) {
        let one = 1u64;
        // SAFETY: the pointer is that of a live u64. A full counter (EAGAIN) already means that the reader will wake.
        unsafe { libc::write(self.fd.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Forgets the wakes so far.
    pub(crate) fn drain(&self) {
        let mut count = 0u64;
        // SAFETY: the pointer is that of a live, writable u64. EAGAIN means that nobody woke us.
        unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads what is there: `Ok(None)` when nothing is (for a non-blocking descriptor), `Ok(Some(0))` at the end.
pub(crate) fn read_some(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        // SAFETY: pointer and length are those of a live, writable slice.
        let read = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        match usize::try_from(read) {
            Ok(read) => return Ok(Some(read)),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                error => return Err(error),
            },
        }
    }
}
