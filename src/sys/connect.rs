//! Connecting to a port of this host without waiting for it.

use super::{address, cvt, socket};
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// A connection attempt: the socket becomes writable when it is decided.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Non-blocking and close-on-exec.
    pub(crate) stream: TcpStream,
    /// The kernel connected it at once, as it usually does on loopback.
    pub(crate) connected: bool,
}

/// How an attempt has gone, once the socket is writable or said to be connected. One that the kernel has connected to
/// itself was refused: it may do so when nobody listens on a port that it also hands out to clients.
pub(crate) fn decided(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut error: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(mem::size_of::<libc::c_int>()).expect("four bytes");
    // SAFETY: both pointers are those of live, writable values, and `length` is the size of the first.
    cvt(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut error).cast(), &raw mut length)
    })?;
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    if address::own(fd)? == address::peer(fd)? { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
}

/// Begins to connect. An error is the answer "nobody listens", or a shortage of descriptors.
pub(crate) fn begin(address: SocketAddr) -> io::Result<Attempt> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: socket takes no pointer.
    let fd = cvt(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor is new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let result = match address.ip() {
        IpAddr::V4(ip) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                sin_zero: [0; 8],
            };
            socket::connect(&socket, &address)
        }
        IpAddr::V6(ip) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: ip.octets() },
                sin6_scope_id: 0,
            };
            socket::connect(&socket, &address)
        }
    };
    let connected = match result {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => false,
        Err(error) => return Err(error),
    };
    Ok(Attempt { stream: TcpStream::from(socket), connected })
}

/// A socket that is connected to itself, as happens by chance on a port of the kernel's own range.
#[cfg(test)]
pub(crate) fn to_itself() -> OwnedFd {
    // SAFETY: socket takes no pointer.
    let fd = cvt(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) }).expect("a socket");
    // SAFETY: the descriptor is new and owned by nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut name = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let length = libc::socklen_t::try_from(mem::size_of::<libc::sockaddr_in>()).expect("a few bytes");
    // SAFETY: the pointer and length are those of a live address.
    cvt(unsafe { libc::bind(fd.as_raw_fd(), (&raw const name).cast(), length) }).expect("any port");
    name.sin_port = address::own(std::os::fd::AsFd::as_fd(&fd)).expect("its address").port().to_be();
    socket::connect(&fd, &name).expect("nobody else listens there");
    fd
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::fd::AsFd;

    #[test]
    fn a_socket_that_is_its_own_peer_reached_nobody() {
        let own = to_itself();
        assert_eq!(decided(own.as_fd()).expect_err("nobody").kind(), io::ErrorKind::ConnectionRefused);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
        let stream = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        decided(stream.as_fd()).expect("somebody");
    }
}
