//! Where the world reaches the hub.

use super::error::ServeError;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Bound sockets, all on one port.
pub(super) struct Listeners {
    pub(super) sockets: Vec<TcpListener>,
    pub(super) port: u16,
    host: IpAddr,
}

impl Listeners {
    /// A URL that works on this machine, and a word where others can use it as well.
    pub(super) fn shown(&self) -> String {
        if self.host.is_unspecified() {
            format!("http://localhost:{} on all interfaces", self.port)
        } else {
            format!("http://{}", SocketAddr::new(self.host, self.port))
        }
    }
}

/// Binds the given address, or 127.0.0.1 and, where the machine has it, ::1. Port 0 stands for any free one.
pub(super) fn bind(host: Option<IpAddr>, port: u16) -> Result<Listeners, ServeError> {
    let first_host = host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let first = bind_one(SocketAddr::new(first_host, port))?;
    let port = match first.local_addr() {
        Ok(address) => address.port(),
        Err(source) => return Err(ServeError::Listen { address: SocketAddr::new(first_host, port), source }),
    };
    let mut sockets = vec![first];
    if host.is_none() {
        match bind_one(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)) {
            Ok(second) => sockets.push(second),
            // A program on ::1 would get what is meant for us from whoever says "localhost".
            Err(error @ ServeError::PortInUse { .. }) => return Err(error),
            // A machine without IPv6.
            Err(_) => {}
        }
    }
    Ok(Listeners { sockets, port, host: first_host })
}

fn bind_one(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortInUse { address },
        io::ErrorKind::AddrNotAvailable => ServeError::NoSuchAddress { address },
        _ => ServeError::Listen { address, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_from_a_foreign_address() {
        let listeners = bind(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), 0).expect("a free port");
        assert_eq!(listeners.shown(), format!("http://127.0.0.1:{}", listeners.port));
        let second = bind(None, listeners.port).err();
        assert!(matches!(second, Some(ServeError::PortInUse { address }) if address.port() == listeners.port));
        // Reserved for documentation (RFC 5737), so no machine has it.
        let foreign = bind(Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), 0).err();
        assert!(matches!(foreign, Some(ServeError::NoSuchAddress { .. })), "{foreign:?}");
    }

    #[test]
    fn all_interfaces_are_shown_as_a_usable_address() {
        let listeners = bind(Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), 0).expect("a free port");
        assert_eq!(listeners.shown(), format!("http://localhost:{} on all interfaces", listeners.port));
    }
}
