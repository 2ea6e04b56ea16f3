//! A socket together with what epoll has said about it.

use crate::sys::epoll::{Epoll, Event, Interest};
use crate::sys::{connect, socket};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

pub(crate) struct Socket {
    fd: OwnedFd,
    token: u64,
    readable: bool,
    writable: bool,
    hung_up: bool,
    broken: bool,
    /// Room to write is asked for only after the first time that there was none: most sockets never need it, and
    /// a Unix socket would report it after every read of its peer.
    watches_room: bool,
}

/// What reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes.
    Some(usize),
    Nothing,
    /// The peer sends no more.
    Ended,
    Broken,
}

impl Socket {
    /// Puts the socket under watch.
    pub(crate) fn new(fd: OwnedFd, token: u64, epoll: &Epoll) -> io::Result<Self> {
        epoll.add(fd.as_fd(), token, Interest::Read)?;
        Ok(Self { fd, token, readable: false, writable: true, hung_up: false, broken: false, watches_room: false })
    }

    /// Puts a socket under watch that is being connected: it is writable when it is known how that went.
    pub(crate) fn connecting(fd: OwnedFd, token: u64, epoll: &Epoll) -> io::Result<Self> {
        epoll.add(fd.as_fd(), token, Interest::ReadWrite)?;
        Ok(Self { fd, token, readable: false, writable: false, hung_up: false, broken: false, watches_room: true })
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// How connecting has gone, once it is writable.
    pub(crate) fn connected(&self) -> io::Result<()> {
        connect::decided(self.fd.as_fd())
    }

    /// Takes in what epoll has said.
    pub(crate) fn note(&mut self, event: Event) {
        self.readable |= event.readable;
        self.writable |= event.writable;
        self.hung_up |= event.hung_up;
        self.broken |= event.broken;
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Nothing has come that is unread, whether or not epoll has said so by now.
    pub(crate) fn is_silent(&self) -> bool {
        !self.readable && socket::is_silent(self.fd.as_fd())
    }

    /// The peer sends no more once everything has been read.
    pub(crate) fn is_hung_up(&self) -> bool {
        self.hung_up
    }

    /// How much of what it has sent is unread.
    pub(crate) fn unread(&self) -> usize {
        socket::unread(self.fd.as_fd())
    }

    /// The peer takes nothing, either.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Appends what there is, at most `limit` bytes.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>, limit: usize) -> Read {
        match socket::receive(self.fd.as_fd(), into, limit) {
            Ok(0) => {
                self.readable = false;
                self.hung_up = true;
                Read::Ended
            }
            Ok(count) => {
                // Less than asked for was all there is (epoll(7)), unless the end is still to be read.
                self.readable = count == limit || self.hung_up;
                Read::Some(count)
            }
            Err(error) => {
                self.readable = false;
                if error.kind() == io::ErrorKind::WouldBlock { Read::Nothing } else { Read::Broken }
            }
        }
    }

    /// Writes what the kernel takes; 0 when it takes nothing now, which is said by an event when it changes.
    pub(crate) fn write(&mut self, bytes: &[u8], epoll: &Epoll) -> io::Result<usize> {
        if !self.writable {
            return Ok(0);
        }
        let count = match socket::send(self.fd.as_fd(), bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if count < bytes.len() {
            self.writable = false;
            if !self.watches_room {
                epoll.modify(self.fd.as_fd(), self.token, Interest::ReadWrite)?;
                self.watches_room = true;
            }
        }
        Ok(count)
    }

    /// Closing it will tell the peer that something went wrong.
    pub(crate) fn reset_on_close(&self) {
        socket::reset_on_close(self.fd.as_fd());
    }

    pub(crate) fn shut_down_write(&self) {
        socket::shutdown_write(self.fd.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reaches_itself_has_reached_no_module() {
        let epoll = Epoll::new().expect("epoll");
        let socket = Socket::connecting(connect::to_itself(), 1, &epoll).expect("a socket");
        assert_eq!(socket.connected().expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
    }
}
