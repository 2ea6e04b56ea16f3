//! The addresses of IP sockets, as the kernel writes them.

use super::cvt;
use std::io;
use std::mem;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Room for an address of either family.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) union Room {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// `getsockname` and its sister.
type Ask = unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

impl Room {
    pub(super) fn new() -> Self {
        // SAFETY: both are plain numbers, for which zero is a value.
        unsafe { mem::zeroed() }
    }

    /// How large it is, for the kernel to know.
    pub(super) fn length() -> libc::socklen_t {
        libc::socklen_t::try_from(mem::size_of::<Self>()).expect("a few bytes")
    }

    /// What the kernel has written here.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        // SAFETY: the family stands at the same place in both, and all bytes have been set.
        match libc::c_int::from(unsafe { self.v4.sin_family }) {
            libc::AF_INET => {
                // SAFETY: any bytes are a value of it.
                let v4 = unsafe { self.v4 };
                let ip = v4.sin_addr.s_addr.to_ne_bytes().into();
                Ok(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: any bytes are a value of it.
                let v6 = unsafe { self.v6 };
                let ip = v6.sin6_addr.s6_addr.into();
                Ok(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// The address of the socket itself.
pub(super) fn own(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    ask(libc::getsockname, fd)
}

/// The address of its peer.
pub(super) fn peer(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    ask(libc::getpeername, fd)
}

fn ask(which: Ask, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let (mut room, mut length) = (Room::new(), Room::length());
    // SAFETY: both pointers are those of live, writable values, and `length` is the size of the first.
    cvt(unsafe { which(fd.as_raw_fd(), (&raw mut room).cast(), &raw mut length) })?;
    room.address()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn both_ends_of_both_families_are_named() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("bind");
            let stream = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
            assert_eq!(own(stream.as_fd()).expect("own"), stream.local_addr().expect("own"));
            assert_eq!(peer(stream.as_fd()).expect("peer"), stream.peer_addr().expect("peer"));
            assert!(peer(listener.as_fd()).is_err(), "it has none");
        }
        let (unix, _other) = std::os::unix::net::UnixStream::pair().expect("pair");
        assert_eq!(own(unix.as_fd()).expect_err("another family").kind(), io::ErrorKind::Unsupported);
    }
}
