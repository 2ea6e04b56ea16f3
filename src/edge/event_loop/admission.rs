//! Who is let in, and who gives way for it when there is no place.

use super::client::Client;
use super::{CLIENT, EventLoop, KIND_SHIFT};
use crate::edge::exchange::Connection;
use crate::edge::socket::Socket;
use crate::edge::{Settings, accept, layer};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// One in so many connections is kept for programs on this machine.
const KEPT_PART: usize = 32;

/// Whether there is a place for a newcomer.
enum Place {
    Free {
        reserved: bool,
    },
    /// Once somebody has been read who came just before it: strangers that a proxy brings give their kept place back then.
    Perhaps,
    None,
}

/// What came of looking for somebody to give way.
#[derive(PartialEq, Eq)]
enum Shed {
    One,
    /// Those who could have not been read since they came or asked, which is done in the next turn.
    Unread,
    None,
}

impl EventLoop {
    pub(super) fn accept(&mut self, now: Instant) {
        if self.stop_by.is_some() {
            return;
        }
        let mut newcomers = mem::take(&mut self.delayed);
        // The others wait in the kernel until those have been let in or refused.
        self.accept_again = !newcomers.is_empty();
        if newcomers.is_empty() {
            let turn = self.acceptor.accept(now);
            (newcomers, self.accept_again) = (turn.accepted, turn.more);
        }
        for (fd, peer) in newcomers {
            self.admit(fd, peer, now);
        }
        self.accept_again |= !self.delayed.is_empty();
    }

    /// Takes a new client in, if there is a place or one can be made.
    fn admit(&mut self, fd: OwnedFd, peer: SocketAddr, now: Instant) {
        // On a socket for both families an IPv4 peer comes inside an IPv6 address.
        let address = peer.ip().to_canonical();
        let peer = SocketAddr::new(address, peer.port());
        let network = layer::network(address);
        let of_network = self.clients_of.get(&network).copied().unwrap_or_default();
        let Settings { limits, proxies, .. } = &self.rules.settings;
        let too_many_of_one = !proxies.believe(address)
            && of_network >= limits.connections_per_ip
            && self.shed_one(|client| client.network == network && client.connection.is_lingering(), now) != Shed::One;
        let connection = match if too_many_of_one { Place::None } else { self.find_place(peer, now) } {
            Place::Free { reserved: true } => Connection::reserved(peer, now),
            Place::Free { reserved: false } => Connection::new(peer, now),
            Place::Perhaps => return self.delayed.push((fd, peer)),
            Place::None => {
                self.rules.refused += 1;
                self.shared.counters.refused.store(self.rules.refused, Ordering::Relaxed);
                return accept::refuse(&fd, self.rules.date);
            }
        };
        // The token has the key in it, and the socket has the token in it: the place is taken first.
        let epoll = &self.epoll;
        let inserted = self.clients.try_insert_with(|key| {
            let socket = Socket::new(fd, CLIENT << KIND_SHIFT | key.to_bits(), epoll)?;
            Ok(Client { socket, network, connection, upstream: None, deadline: None })
        });
        match inserted {
            Ok(key) => {
                *self.clients_of.entry(network).or_default() += 1;
                self.count();
                self.schedule(key);
            }
            Err(error) => self.complaints.say("cannot watch a connection", &error),
        }
    }

    /// Whether there is a place for a new client, which may be made for it. Those that are kept for programs on this
    /// machine are counted apart, and only who may be one takes them, or takes them away from another.
    fn find_place(&mut self, peer: SocketAddr, now: Instant) -> Place {
        let most = self.rules.settings.limits.connections;
        let kept = most / KEPT_PART;
        let usual = most - kept;
        let all = self.clients.len();
        let reserved =
            if all < usual { 0 } else { self.clients.iter().filter(|(_, one)| one.connection.is_reserved()).count() };
        if all - reserved < usual || self.shed_one(|client| !client.connection.is_reserved(), now) == Shed::One {
            return Place::Free { reserved: false };
        }
        if !layer::is_loopback(peer.ip()) {
            return Place::None;
        }
        if reserved < kept {
            return Place::Free { reserved: true };
        }
        match self.shed_one(|client| client.connection.is_reserved(), now) {
            Shed::One => Place::Free { reserved: true },
            Shed::Unread => Place::Perhaps,
            Shed::None => Place::None,
        }
    }

    /// Closes the connection among these that is the first to give way.
    fn shed_one(&mut self, is_among: impl Fn(&Client) -> bool, now: Instant) -> Shed {
        let (mut first, mut unread) = (None, false);
        for (key, client) in self.clients.iter().filter(|(_, client)| is_among(client)) {
            let Some((why, since)) = client.connection.dispensable(now) else { continue };
            if first.is_some_and(|first| (why, since, key) >= first) {
                continue;
            }
            // Who came in this turn had none to ask in, and who has asked since is read in the next: no byte keeps its
            // place for longer.
            if client.connection.is_idle() && (since >= now || client.socket.unread() > 0) {
                unread = true;
            } else {
                first = Some((why, since, key));
            }
        }
        match first {
            Some((_, _, key)) => {
                self.close(key, now);
                Shed::One
            }
            None if unread => Shed::Unread,
            None => Shed::None,
        }
    }
}
