//! Sockets to the hub and to modules: connecting them, and keeping them for the next request.

use super::{EventLoop, KIND_SHIFT, UPSTREAM};
use crate::edge::asks::{Destination, Open, Release};
use crate::edge::exchange::Connection;
use crate::edge::relay::Unavailable;
use crate::edge::slab::Key;
use crate::edge::socket::Socket;
use crate::sys::{connect, socket};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

pub(super) struct UpstreamSocket {
    pub(super) socket: Socket,
    pub(super) to: Destination,
    /// To which address, until it is known whether it could be connected.
    pub(super) connecting: Option<IpAddr>,
    /// `None` while it waits in the pool.
    pub(super) owner: Option<Key>,
}

impl EventLoop {
    pub(super) fn release(&mut self, key: Key, release: Option<Release>, now: Instant) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        upstream.owner = None;
        let closes = if release == Some(Release::Reuse) && !upstream.socket.is_readable() {
            self.pool.put(upstream.to, key, now)
        } else {
            Some(key)
        };
        if let Some(key) = closes {
            self.upstreams.remove(key);
        }
    }

    /// Finds a socket for `owner`, or begins to connect one, and tells its connection.
    pub(super) fn open(&mut self, open: Open, owner: Key, now: Instant) {
        while let Some(key) = self.pool.take(open.to, open.history, now) {
            let Some(upstream) = self.upstreams.get_mut(key) else { continue };
            // What came since the last wait would be taken for the answer to a request that has not been sent.
            if upstream.socket.is_silent() {
                upstream.owner = Some(owner);
                return self.opened(owner, Some(key), |connection| connection.upstream_opened(true));
            }
            self.upstreams.remove(key);
        }
        match open.to {
            Destination::Hub => match self.open_hub(owner) {
                Ok(key) => self.opened(owner, Some(key), |connection| connection.upstream_opened(false)),
                Err(why) => self.opened(owner, None, |connection| connection.upstream_refused(why)),
            },
            Destination::Port(port) => self.connect(port, Ipv4Addr::LOCALHOST.into(), owner),
        }
    }

    fn opened(&mut self, owner: Key, upstream: Option<Key>, tell: impl FnOnce(&mut Connection)) {
        let Some(client) = self.clients.get_mut(owner) else { return };
        client.upstream = upstream;
        tell(&mut client.connection);
    }

    fn open_hub(&mut self, owner: Key) -> Result<Key, Unavailable> {
        let epoll = &self.epoll;
        let opened = socket::connect_unix(&self.hub_socket).and_then(|fd| {
            self.upstreams.try_insert_with(|key| {
                let socket = Socket::new(fd, UPSTREAM << KIND_SHIFT | key.to_bits(), epoll)?;
                Ok(UpstreamSocket { socket, to: Destination::Hub, connecting: None, owner: Some(owner) })
            })
        });
        opened.map_err(|error| {
            self.complaints.say("cannot reach the hub", &error);
            // A full queue means that the hub lives and does not keep up.
            if error.kind() == io::ErrorKind::WouldBlock { Unavailable::Busy } else { Unavailable::Down }
        })
    }

    fn connect(&mut self, port: u16, address: IpAddr, owner: Key) {
        let epoll = &self.epoll;
        let begun = connect::begin(SocketAddr::new(address, port)).and_then(|attempt| {
            attempt.stream.set_nodelay(true)?;
            self.upstreams.try_insert_with(|key| {
                let socket = Socket::connecting(attempt.stream.into(), UPSTREAM << KIND_SHIFT | key.to_bits(), epoll)?;
                let to = Destination::Port(port);
                Ok(UpstreamSocket { socket, to, connecting: Some(address), owner: Some(owner) })
            })
        });
        match begun {
            Ok(key) => {
                if let Some(client) = self.clients.get_mut(owner) {
                    client.upstream = Some(key);
                }
            }
            Err(error) if socket::is_out_of_descriptors(&error) || socket::is_out_of_memory(&error) => {
                self.complaints.say("cannot connect to a module", &error);
                self.opened(owner, None, |connection| connection.upstream_refused(Unavailable::Busy));
            }
            Err(_) => self.opened(owner, None, |connection| connection.upstream_refused(Unavailable::Down)),
        }
    }

    /// It may be known how connecting went.
    pub(super) fn connected(&mut self, key: Key, owner: Key) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        if !upstream.socket.is_writable() {
            return;
        }
        let (to, address) = (upstream.to, upstream.connecting.take());
        if upstream.socket.connected().is_ok() {
            return self.opened(owner, Some(key), |connection| connection.upstream_opened(false));
        }
        self.upstreams.remove(key);
        match (to, address) {
            // Some servers listen on the one address that `localhost` means to them.
            (Destination::Port(port), Some(IpAddr::V4(_))) => self.connect(port, Ipv6Addr::LOCALHOST.into(), owner),
            _ => self.opened(owner, None, |connection| connection.upstream_refused(Unavailable::Down)),
        }
    }
}
