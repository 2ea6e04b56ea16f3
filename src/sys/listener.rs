//! Which socket listens on an address, from the kernel's table of sockets (sock_diag(7)). To ask for one address takes
//! microseconds; /proc/net/tcp walks through the table of all connections, however few there are.

use super::cvt;
use super::fault::point;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// SOCK_DIAG_BY_FAMILY and NLM_F_REQUEST of the kernel's headers.
const BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
/// NLMSG_ERROR: a number below zero follows the header.
const ERROR: u16 = 2;
/// TCP_LISTEN in the kernel's table.
const LISTEN: u8 = 10;
/// A header of netlink(7), and behind it inet_diag_req_v2 in the question and inet_diag_msg in the answer.
const HEADER_BYTES: usize = 16;
const QUESTION_BYTES: usize = HEADER_BYTES + 56;
const ANSWER_BYTES: usize = HEADER_BYTES + 72;
const INODE_AT: usize = ANSWER_BYTES - 4;

/// The inode of the socket that a connection to `address` reaches; `None` when nobody listens there. An error means
/// that this kernel does not tell.
pub(crate) fn inode(address: SocketAddr) -> io::Result<Option<u64>> {
    point("sock_diag")?;
    let (kind, protocol) = (libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_SOCK_DIAG);
    // SAFETY: socket takes no pointer.
    let fd = cvt(unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) })?;
    // SAFETY: the descriptor is new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let question = question(address);
    // SAFETY: pointer and length are those of a live array. Without an address it goes to the kernel.
    let sent = unsafe { libc::send(socket.as_raw_fd(), question.as_ptr().cast(), question.len(), 0) };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = [0u8; 512];
    // SAFETY: pointer and length are those of a live, writable array. The answer is there once `send` has returned.
    let got = unsafe { libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT) };
    match usize::try_from(got) {
        Ok(got) => read(answer.get(..got).unwrap_or_default()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

fn question(address: SocketAddr) -> [u8; QUESTION_BYTES] {
    let mut question = [0; QUESTION_BYTES];
    let mut put = |at: usize, bytes: &[u8]| question[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(QUESTION_BYTES as u32).to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &REQUEST.to_ne_bytes());
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    put(16, &[family as u8, libc::IPPROTO_TCP as u8]);
    put(20, &u32::MAX.to_ne_bytes());
    put(24, &address.port().to_be_bytes());
    match address.ip() {
        IpAddr::V4(ip) => put(28, &ip.octets()),
        IpAddr::V6(ip) => put(28, &ip.octets()),
    }
    // INET_DIAG_NOCOOKIE: any socket will do.
    put(64, &[0xff; 8]);
    question
}

fn read(answer: &[u8]) -> io::Result<Option<u64>> {
    let unknown = || io::Error::from(io::ErrorKind::InvalidData);
    let bytes = |at: usize| -> io::Result<[u8; 4]> {
        answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(unknown)
    };
    let [low, high, ..] = bytes(4)?;
    match u16::from_ne_bytes([low, high]) {
        ERROR => match io::Error::from_raw_os_error(i32::from_ne_bytes(bytes(HEADER_BYTES)?).wrapping_neg()) {
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            error => Err(error),
        },
        BY_FAMILY => {
            let inode = u64::from(u32::from_ne_bytes(bytes(INODE_AT)?));
            let listens = answer.get(HEADER_BYTES + 1) == Some(&LISTEN);
            if listens { Ok(Some(inode)) } else { Err(unknown()) }
        }
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{proc, process};
    use std::net::TcpListener;

    #[test]
    fn the_socket_that_a_connection_would_reach_is_found() {
        for (bound, asked) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "127.0.0.1"), ("[::1]:0", "::1")] {
            let Ok(listener) = TcpListener::bind(bound) else { continue };
            let port = listener.local_addr().expect("bound").port();
            let address = SocketAddr::new(asked.parse().expect("an address"), port);
            let inode = inode(address).expect("the kernel tells").expect("somebody listens");
            assert_eq!(proc::holds_socket(process::own_pid(), &[inode]), Some(true), "{bound}");
            drop(listener);
            assert_eq!(super::inode(address).expect("the kernel tells"), None, "{bound}");
        }
    }

    #[test]
    fn an_answer_that_is_cut_or_says_something_else_is_an_error() {
        let mut answer = [0; ANSWER_BYTES];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        answer[HEADER_BYTES + 1] = LISTEN;
        answer[INODE_AT..].copy_from_slice(&7u32.to_ne_bytes());
        assert_eq!(read(&answer).expect("whole"), Some(7));
        for cut in 0..ANSWER_BYTES {
            assert!(read(&answer[..cut]).is_err(), "{cut}");
        }
        answer[HEADER_BYTES + 1] = 1;
        assert!(read(&answer).is_err(), "a connection");
        answer[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        for (errno, none) in [(libc::ENOENT, true), (libc::EPERM, false)] {
            answer[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&(-errno).to_ne_bytes());
            assert_eq!(read(&answer).is_ok_and(|inode| inode.is_none()), none, "{errno}");
        }
    }
}
