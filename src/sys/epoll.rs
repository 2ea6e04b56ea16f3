//! Readiness of many descriptors (epoll(7)), always edge-triggered, and an eventfd that wakes the waiting thread.

use super::cvt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// What [`Epoll::wait`] takes from the kernel in one call.
const EVENTS_PER_WAIT: usize = 128;

/// A set of watched descriptors. A descriptor leaves it by being closed.
pub(crate) struct Epoll {
    fd: OwnedFd,
    buffer: Vec<libc::epoll_event>,
}

/// What to be told about. Hang-ups and errors are always reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// There is something to read, or the peer sends no more.
    Read,
    /// The same, and that there is room to write.
    ReadWrite,
}

impl Interest {
    fn bits(self) -> u32 {
        let read = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;
        let bits = match self {
            Self::Read => read,
            Self::ReadWrite => read | libc::EPOLLOUT,
        };
        bits as u32
    }
}

/// A change of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// The number given with [`Epoll::add`].
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer sends no more, or the connection is broken.
    pub(crate) hung_up: bool,
    /// The connection is broken, or has ended in both directions.
    pub(crate) broken: bool,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1 touches no memory of ours.
        let fd = cvt(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, buffer: Vec::with_capacity(EVENTS_PER_WAIT) })
    }

    /// Watches `fd` until it is closed. What is ready already is reported by the next wait.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Replaces the interest in `fd`. What is ready already is reported again by the next wait.
    pub(crate) fn modify(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(&self, operation: libc::c_int, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest.bits(), u64: token };
        // SAFETY: both descriptors are open, and the kernel only reads `event` during the call.
        cvt(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) })?;
        Ok(())
    }

    /// Blocks until something is ready or `timeout` has passed (`None`: for ever); the changes replace those in
    /// `events`. A signal ends the wait early, with no changes.
    pub(crate) fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        // Rounded up: a wait that ends before the deadline would only be followed by another one.
        let timeout_ms =
            timeout.map_or(-1, |t| libc::c_int::try_from(t.as_micros().div_ceil(1000)).unwrap_or(i32::MAX));
        let capacity = libc::c_int::try_from(self.buffer.capacity()).unwrap_or(1);
        // SAFETY: the buffer has room for `capacity` events, and the kernel writes no more than that.
        let result =
            cvt(unsafe { libc::epoll_wait(self.fd.as_raw_fd(), self.buffer.as_mut_ptr(), capacity, timeout_ms) });
        let count = match result {
            Ok(count) => usize::try_from(count).unwrap_or(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel has written the first `count` events.
        unsafe { self.buffer.set_len(count) };
        events.extend(self.buffer.drain(..).map(|event| {
            let bits = event.events as i32;
            let broken = bits & (libc::EPOLLHUP | libc::EPOLLERR) != 0;
            Event {
                token: event.u64,
                readable: bits & (libc::EPOLLIN | libc::EPOLLRDHUP) != 0 || broken,
                writable: bits & libc::EPOLLOUT != 0 || broken,
                hung_up: bits & libc::EPOLLRDHUP != 0 || broken,
                broken,
            }
        }));
        Ok(())
    }
}

/// Ends another thread's [`Epoll::wait`] that watches it.
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd touches no memory of ours.
        let fd = cvt(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }

    /// Never blocks. Every write is a new edge, so nobody needs to read the counter; a full one has woken its reader.
    pub(crate) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the pointer and length are those of a live array.
        let _ = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_edge_is_reported_once_and_a_hang_up_is_named() {
        let (watched, mut peer) = UnixStream::pair().expect("pair");
        let mut epoll = Epoll::new().expect("epoll");
        let mut events = Vec::new();
        epoll.add(watched.as_fd(), 7, Interest::Read).expect("add");
        epoll.wait(&mut events, Some(Duration::ZERO)).expect("wait");
        assert_eq!(events, []);

        peer.write_all(b"x").expect("write");
        epoll.wait(&mut events, None).expect("wait");
        assert_eq!(events, [Event { token: 7, readable: true, writable: false, hung_up: false, broken: false }]);
        epoll.wait(&mut events, Some(Duration::ZERO)).expect("wait");
        assert_eq!(events, [], "an edge comes once");

        epoll.modify(watched.as_fd(), 8, Interest::ReadWrite).expect("modify");
        epoll.wait(&mut events, None).expect("wait");
        assert_eq!(events, [Event { token: 8, readable: true, writable: true, hung_up: false, broken: false }]);

        drop(peer);
        epoll.wait(&mut events, None).expect("wait");
        assert!(events.iter().any(|event| event.hung_up), "{events:?}");
    }

    #[test]
    fn the_waker_wakes_every_time() {
        let waker = Waker::new().expect("eventfd");
        let mut epoll = Epoll::new().expect("epoll");
        let mut events = Vec::new();
        epoll.add(waker.fd(), 1, Interest::Read).expect("add");
        for _ in 0..3 {
            waker.wake();
            epoll.wait(&mut events, None).expect("wait");
            assert_eq!(events.len(), 1);
        }
    }
}
