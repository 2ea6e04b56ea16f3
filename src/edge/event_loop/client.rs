//! A client: its socket and its connection, and the bytes between them and the upstream.

use super::upstreams::UpstreamSocket;
use crate::edge::exchange::Connection;
use crate::edge::slab::Key;
use crate::edge::socket::{Read, Socket};
use crate::sys::epoll::Epoll;
use crate::sys::socket;
use std::net::IpAddr;
use std::time::Instant;

pub(super) struct Client {
    pub(super) socket: Socket,
    /// Whose connections are counted together.
    pub(super) network: IpAddr,
    pub(super) connection: Connection,
    pub(super) upstream: Option<Key>,
    /// Its entry in `deadlines`.
    pub(super) deadline: Option<Instant>,
}

impl Client {
    /// Reads once, as much as the connection wants. True when something has changed.
    pub(super) fn read(&mut self, now: Instant) -> bool {
        let room = self.connection.client_room();
        if room == 0 {
            // Nothing is wanted from it now, so that its end is all there is to know.
            if self.socket.is_broken() {
                self.connection.client_broke(now);
            } else if self.socket.is_hung_up() {
                self.connection.client_will_end(self.socket.unread(), now);
            }
            return false;
        }
        if !self.socket.is_readable() {
            return false;
        }
        match self.socket.read(self.connection.client_tail(), room) {
            Read::Some(count) => self.connection.client_read(count, now),
            Read::Nothing => return false,
            Read::Ended => self.connection.client_hung_up(now),
            Read::Broken => self.connection.client_broke(now),
        }
        true
    }

    pub(super) fn read_upstream(&mut self, upstream: &mut UpstreamSocket, now: Instant) -> bool {
        let room = self.connection.upstream_room();
        if room == 0 || upstream.connecting.is_some() || !upstream.socket.is_readable() {
            return false;
        }
        let Some(tail) = self.connection.upstream_tail() else { return false };
        match upstream.socket.read(tail, room) {
            Read::Some(_) => self.connection.upstream_read(now),
            Read::Nothing => return false,
            Read::Ended => self.connection.upstream_ended(true),
            Read::Broken => self.connection.upstream_ended(false),
        }
        true
    }

    pub(super) fn write_upstream(&mut self, upstream: &mut UpstreamSocket, epoll: &Epoll, now: Instant) -> bool {
        if upstream.connecting.is_some() || self.connection.to_upstream().is_empty() {
            return false;
        }
        match upstream.socket.write(self.connection.to_upstream(), epoll) {
            Ok(0) => false,
            Ok(count) => {
                self.connection.upstream_sent(count, now);
                true
            }
            // It still waits for the rest, and no answer would come.
            Err(error) if socket::is_out_of_memory(&error) => {
                self.connection.upstream_ended(false);
                true
            }
            Err(_) => {
                self.connection.upstream_deaf();
                true
            }
        }
    }

    pub(super) fn write(&mut self, epoll: &Epoll, now: Instant) -> bool {
        if self.connection.to_client().is_empty() {
            return false;
        }
        match self.socket.write(self.connection.to_client(), epoll) {
            Ok(count) => {
                self.connection.client_sent(count, now);
                count > 0
            }
            Err(_) => {
                self.connection.client_broke(now);
                true
            }
        }
    }
}
