//! Pure: a client that sends no more. It may have gone, or wait for what it has asked; TCP does not tell them apart.

use super::{Connection, State};
use crate::edge::relay::{Relay, Reply};
use std::time::{Duration, Instant};

/// How long a client is waited with that sends no more, from its last sign of life. HTTP lets a client say so behind a
/// whole request and wait for the answer, as `nc -N` does; but to TCP it looks like one that has gone, until it is sent
/// something, which it resets. A quick answer is given, and one that has begun goes on while it is taken. The upstream of
/// a client that has gone is to hear of it within a second, so that longer is not possible. nginx and Envoy give up at
/// once, HAProxy does with `abortonclose`.
pub(super) const HALF_CLOSED: Duration = Duration::from_millis(500);

impl Connection {
    /// The client sends no more, and all that it has sent has been read.
    pub(crate) fn client_hung_up(&mut self, now: Instant) {
        self.hung_up.get_or_insert(now);
        self.ended = true;
    }

    /// The client sends no more than these bytes, which are still unread.
    pub(crate) fn client_will_end(&mut self, unread: usize, now: Instant) {
        if unread == 0 {
            return self.client_hung_up(now);
        }
        let Some(relay) = self.relay().filter(|relay| relay.reply != Reply::Tunnel) else { return };
        let there = u64::try_from(self.from_client.len().saturating_add(unread)).unwrap_or(u64::MAX);
        let is_whole = relay.request.body.is_done();
        self.falls_short = relay.lacks().is_some_and(|lacks| lacks > there);
        // Otherwise they may be the rest of it, which is known once they have been read.
        if is_whole || self.falls_short {
            self.hung_up.get_or_insert(now);
        }
    }

    /// The client's socket is broken: nothing that waits for it will ever arrive.
    pub(crate) fn client_broke(&mut self, now: Instant) {
        let unsent = self.to_client.len();
        if let Some(relay) = self.relay_mut() {
            relay.tally.lose(unsent);
        }
        self.to_client.clear();
        self.broken = true;
        self.client_hung_up(now);
        if matches!(self.state, State::Closing { .. }) {
            self.state = State::Closed;
        }
    }

    /// Whether nobody waits for the answer any more.
    pub(super) fn has_gone(&self, now: Instant) -> bool {
        let (Some(_), Some(relay)) = (self.hung_up, self.relay()) else { return false };
        if relay.owes_upstream(&self.from_client) {
            return false;
        }
        let is_over = match self.half_closed_until(relay) {
            Some(until) => now >= until,
            // A body that will not come to its end, or a tunnel.
            None => self.falls_short || (self.ended && self.from_client.is_empty()),
        };
        self.broken || is_over
    }

    /// How long a client that sends no more is waited with for an answer to a request that is whole.
    pub(super) fn half_closed_until(&self, relay: &Relay) -> Option<Instant> {
        let since = self.hung_up.filter(|_| relay.request.body.is_done() && relay.reply != Reply::Tunnel)?;
        // Who has to take the request first cannot answer it.
        let since = if matches!(relay.reply, Reply::Head { .. }) { since.max(relay.moved_at) } else { since };
        Some(self.took_at.map_or(since, |at| at.max(since)) + HALF_CLOSED)
    }
}
