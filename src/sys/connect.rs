//! Connecting to a port of this host without waiting for it.

use super::{cvt, socket};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};

/// A connection attempt: the socket becomes writable when it is decided.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Non-blocking and close-on-exec.
    pub(crate) stream: TcpStream,
    /// The kernel connected it at once, as it usually does on loopback.
    pub(crate) connected: bool,
}

/// Whether the kernel has connected the socket to itself, which it may do when nobody listens on a port that it also
/// hands out to clients.
pub(crate) fn is_connected_to_itself(stream: &TcpStream) -> bool {
    matches!((stream.local_addr(), stream.peer_addr()), (Ok(local), Ok(peer)) if local == peer)
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
