//! Stream sockets that never block: connecting, reading into spare room, writing, half-closing.

use super::address::Room;
use super::{cvt, cvt_r, wide};
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Takes one waiting connection, ready for use: not blocking, close-on-exec. `WouldBlock` means that none waits.
pub(crate) fn accept(listener: &TcpListener) -> io::Result<(OwnedFd, SocketAddr)> {
    let (mut room, mut length) = (Room::new(), Room::length());
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let fd = cvt_r(|| {
        // SAFETY: both pointers are those of live, writable values, and `length` is the size of the first.
        unsafe { libc::accept4(listener.as_raw_fd(), (&raw mut room).cast(), &raw mut length, flags) }
    })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((fd, room.address()?))
}

/// Has small writes sent at once; what a listener accepts inherits it.
pub(crate) fn send_at_once(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)
}

/// Has the kernel ask a silent peer whether it is still there, and end the connection of one that has vanished; what a
/// listener accepts inherits it. Takes `idle_s` seconds of silence and `probes` questions, `interval_s` seconds apart.
pub(crate) fn keep_alive(fd: BorrowedFd<'_>, idle_s: i32, interval_s: i32, probes: i32) -> io::Result<()> {
    let options = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle_s),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, interval_s),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, probes),
    ];
    for (level, option, value) in options {
        set_option(fd, level, option, value)?;
    }
    Ok(())
}

fn set_option(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(mem::size_of::<libc::c_int>()).expect("four bytes");
    // SAFETY: the pointer is that of a live value, and `length` is its size.
    cvt(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), length) })?;
    Ok(())
}

/// The process or the machine has no descriptor left (EMFILE, ENFILE).
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// The network or the memory of the machine cannot take a connection now (ENOBUFS, ENOMEM).
pub(crate) fn is_out_of_memory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
}

/// Whether the descriptor with this number is open, and is of the same socket. The number may be that of a descriptor
/// which somebody else has closed meanwhile.
pub(crate) fn is_copy(number: RawFd, socket: BorrowedFd<'_>) -> bool {
    let (one, other) = (identity(number), identity(socket.as_raw_fd()));
    one.is_some() && one == other
}

/// What no two open files have in common; `None` when the number is of none.
fn identity(number: RawFd) -> Option<(libc::dev_t, u64)> {
    // SAFETY: a stat is plain numbers, and all of them zero is a valid value.
    let mut stat: wide::stat = unsafe { mem::zeroed() };
    // SAFETY: the pointer is that of a live, writable stat; a number that is no descriptor is an error and no more.
    cvt(unsafe { wide::fstat(number, &raw mut stat) }).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// Connects to a Unix socket without waiting. `WouldBlock` means that its queue is full: try again later.
pub(crate) fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    // SAFETY: sockaddr_un is plain bytes, and all of them zero is a valid value.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // One byte is left for the terminating NUL.
    if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: socket touches no memory of ours.
    let fd =
        cvt(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    connect(&fd, &address)?;
    Ok(fd)
}

/// `address` must be one of the kernel's socket addresses.
pub(super) fn connect<A>(fd: &OwnedFd, address: &A) -> io::Result<()> {
    let length = libc::socklen_t::try_from(mem::size_of::<A>()).expect("a hundred bytes at most");
    // SAFETY: the address lives through the call, and `length` is its size.
    cvt_r(|| unsafe { libc::connect(fd.as_raw_fd(), std::ptr::from_ref(address).cast(), length) }).map(drop)
}

/// Appends what there is to read, at most `limit` bytes; 0 means that the peer sends no more. The room for it is
/// reserved and not cleared first.
pub(crate) fn receive(fd: BorrowedFd<'_>, into: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    into.reserve(limit);
    let room = &mut into.spare_capacity_mut()[..limit];
    let read = loop {
        // SAFETY: the pointer and length are those of live memory that only we can write; recv never reads it.
        match usize::try_from(unsafe { libc::recv(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) }) {
            Ok(read) => break read,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    };
    let filled = into.len() + read;
    // SAFETY: recv has written the `read` bytes behind the old end, and `read` is at most the reserved `limit`.
    unsafe { into.set_len(filled) };
    Ok(read)
}

/// How many bytes have come that are unread; 0 where that cannot be told.
pub(crate) fn unread(fd: BorrowedFd<'_>) -> usize {
    let mut count: libc::c_int = 0;
    // SAFETY: the pointer is that of a live, writable number, as this request wants it.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    if result == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
}

/// Whether nothing has come that is unread: neither bytes nor an end.
pub(crate) fn is_silent(fd: BorrowedFd<'_>) -> bool {
    let mut byte = 0_u8;
    // SAFETY: the pointer is that of a live, writable byte, and the length is 1.
    let read = unsafe { libc::recv(fd.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    read < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

/// Writes what the socket takes now. A peer that has gone is an error, not a signal.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and length are those of a live slice.
        match usize::try_from(unsafe {
            libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL)
        }) {
            Ok(sent) => return Ok(sent),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

/// Says that no more will be written. The other direction stays open.
pub(crate) fn shutdown_write(fd: BorrowedFd<'_>) {
    // SAFETY: shutdown touches no memory of ours. A peer that has gone already needs to hear nothing.
    let _ = cvt(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) });
}

/// Has closing the socket reset the connection, so that its peer does not take what it got for all there is; what has not
/// been sent is thrown away (socket(7), `SO_LINGER`).
pub(crate) fn reset_on_close(fd: BorrowedFd<'_>) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = libc::socklen_t::try_from(mem::size_of::<libc::linger>()).expect("eight bytes");
    // SAFETY: the pointer is that of a live value, and `length` is its size. A socket that has no such option is closed as
    // usual.
    let _ = cvt(unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), length)
    });
}

/// A descriptor that is kept only to be given up when the process has no other one left. Takes a single one to make, so
/// that it can be made again in the place of the one that was given up.
pub(crate) fn spare_descriptor() -> io::Result<OwnedFd> {
    Ok(OwnedFd::from(UnixDatagram::unbound()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::{Duration, Instant};

    #[test]
    fn a_copy_is_one_until_it_is_closed_whoever_gets_its_number_then() {
        let (socket, other) = UnixStream::pair().expect("pair");
        let copy = socket.try_clone().expect("a copy");
        let number = copy.as_raw_fd();
        assert!(is_copy(number, socket.as_fd()));
        assert!(!is_copy(other.as_raw_fd(), socket.as_fd()));
        drop(copy);
        let _next = UnixStream::pair().expect("somebody who may get the number");
        assert!(!is_copy(number, socket.as_fd()));
        assert!(!is_copy(-1, socket.as_fd()));
    }

    #[test]
    fn receive_appends_up_to_the_limit_and_says_the_end() {
        let (ours, mut peer) = UnixStream::pair().expect("pair");
        ours.set_nonblocking(true).expect("nonblocking");
        let mut buffer = b"ab".to_vec();
        let empty = receive(ours.as_fd(), &mut buffer, 4).expect_err("nothing to read");
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        peer.write_all(b"cdefgh").expect("write");
        assert_eq!(unread(ours.as_fd()), 6);
        assert_eq!(receive(ours.as_fd(), &mut buffer, 4).expect("read"), 4);
        assert_eq!((&buffer[..], unread(ours.as_fd())), (&b"abcdef"[..], 2));
        peer.shutdown(Shutdown::Both).expect("shut down");
        assert_eq!(receive(ours.as_fd(), &mut buffer, 4).expect("read"), 2);
        assert_eq!(receive(ours.as_fd(), &mut buffer, 4).expect("read"), 0);
        assert_eq!(buffer, b"abcdefgh");
    }

    #[test]
    fn a_socket_is_silent_until_something_comes_and_looking_takes_nothing() {
        let (ours, mut peer) = UnixStream::pair().expect("pair");
        assert!(is_silent(ours.as_fd()));
        peer.write_all(b"x").expect("write");
        assert!(!is_silent(ours.as_fd()) && !is_silent(ours.as_fd()));
        assert_eq!(receive(ours.as_fd(), &mut Vec::new(), 4).expect("read"), 1);
        assert!(is_silent(ours.as_fd()));
        drop(peer);
        assert!(!is_silent(ours.as_fd()), "an end is something");
    }

    /// How it fails at last: what was closed here may be open for a moment more in a child that another test has forked.
    fn in_the_end<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::ErrorKind {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match attempt() {
                Err(error) => return error.kind(),
                Ok(_) => assert!(Instant::now() < deadline, "it does not fail"),
            }
            crate::sys::fs::pause(Duration::from_millis(1));
        }
    }

    #[test]
    fn connect_unix_reaches_a_listener_and_names_what_is_not_there() {
        let dir = std::env::temp_dir().join(format!("parachute-{}-{}", std::process::id(), crate::sys::random::hex(4)));
        std::fs::create_dir(&dir).expect("directory");
        let path = dir.join("s");
        assert_eq!(connect_unix(&path).expect_err("no socket").kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).expect("bind");
        let ours = connect_unix(&path).expect("connect");
        assert_eq!(send(ours.as_fd(), b"hello").expect("send"), 5);
        shutdown_write(ours.as_fd());
        let mut text = String::new();
        listener.accept().expect("accept").0.read_to_string(&mut text).expect("read");
        assert_eq!(text, "hello");
        drop(listener);
        assert_eq!(in_the_end(|| connect_unix(&path)), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_unix(&dir.join("x".repeat(200))).expect_err("too long").kind(), io::ErrorKind::InvalidInput);
        std::fs::remove_dir_all(&dir).expect("clean up");
    }

    fn number_of(fd: &OwnedFd, level: libc::c_int, option: libc::c_int) -> libc::c_int {
        let mut value: libc::c_int = -1;
        let mut length = libc::socklen_t::try_from(mem::size_of::<libc::c_int>()).expect("four bytes");
        // SAFETY: both pointers are those of live, writable values, and `length` is the size of the first.
        cvt(unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length) })
            .expect("an option that there is");
        value
    }

    #[test]
    fn what_is_accepted_does_not_block_sends_at_once_and_notices_who_vanishes() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).expect("bind");
            listener.set_nonblocking(true).expect("nonblocking");
            send_at_once(listener.as_fd()).expect("an option that there is");
            keep_alive(listener.as_fd(), 60, 15, 4).expect("options that there are");
            assert_eq!(accept(&listener).expect_err("nobody waits").kind(), io::ErrorKind::WouldBlock);
            let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
            let (fd, peer) = accept(&listener).expect("a client waits");
            assert_eq!(peer, client.local_addr().expect("address"));
            let kept = [
                (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
                (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
                (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
                (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
            ];
            assert_eq!(kept.map(|(level, option)| number_of(&fd, level, option)), [1, 60, 15, 4]);
            let mut accepted = TcpStream::from(fd);
            assert!(accepted.nodelay().expect("an option that there is"));
            assert_eq!(accepted.read(&mut [0; 1]).expect_err("nothing to read").kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_loopback_port_is_reached_or_known_to_refuse() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        let tried = |port| {
            let attempt = crate::sys::connect::begin((std::net::Ipv4Addr::LOCALHOST, port).into())?;
            let mut polls = crate::sys::poll::PollSet::default();
            polls.writable(attempt.stream.as_fd());
            polls.wait(None).expect("poll");
            crate::sys::connect::decided(attempt.stream.as_fd())
        };
        tried(port).expect("connected");
        drop(listener);
        assert_eq!(in_the_end(|| tried(port)), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn send_to_a_peer_that_has_gone_is_an_error() {
        let (ours, peer) = UnixStream::pair().expect("pair");
        peer.shutdown(Shutdown::Both).expect("shut down");
        assert_eq!(send(ours.as_fd(), b"x").expect_err("gone").kind(), io::ErrorKind::BrokenPipe);
    }
}
