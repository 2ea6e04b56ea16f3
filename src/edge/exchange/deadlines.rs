//! Pure: how long a connection may take for what it is doing, and what follows when it takes longer.

use super::{Connection, Rules, State};
use crate::edge::Settings;
use crate::edge::answer::Answer;
use crate::edge::asks::{Asks, Release};
use crate::edge::framing::Reader;
use crate::edge::identity;
use crate::edge::relay::{Relay, Reply, Unavailable, Upstream};
use std::mem;
use std::time::{Duration, Instant};

fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// For an answer of the hub to be taken, from its head on, but for streams: a thread of the hub waits for that.
const HUB_ANSWER_TAKEN: Duration = Duration::from_secs(60);

impl Connection {
    /// When to call [`Self::advance`] at the latest; `None` means that only an event can change anything.
    pub(crate) fn deadline(&self, settings: &Settings) -> Option<Instant> {
        let blocked = self.taking.map(|pace| pace.due(settings.limits.stall_timeout));
        let own = match &self.state {
            State::Idle { since, .. } => Some(*since + settings.limits.idle_timeout),
            State::Head { since, .. } => Some(*since + settings.limits.head_timeout),
            State::Relaying(relay) => sooner(self.half_closed_until(relay), self.relay_deadline(relay, settings)),
            State::Closing { .. } | State::Closed => None,
            State::Lingering { until } => Some(*until),
        };
        sooner(blocked, own)
    }

    fn relay_deadline(&self, relay: &Relay, settings: &Settings) -> Option<Instant> {
        let (answer_timeout, silence) = match relay.module {
            None => (settings.limits.hub_answer_timeout, None),
            Some(_) => (settings.limits.module_answer_timeout, settings.limits.module_silence),
        };
        let awaits_body = self.awaits_body(relay);
        let upstream = match (relay.upstream, relay.reply) {
            (Upstream::Collecting { until } | Upstream::Waiting { until, .. }, _) => Some(until),
            (Upstream::Identifying { since, .. }, _) => Some(since + identity::ANSWER_TIMEOUT),
            (Upstream::Opening { since }, _) => Some(since + settings.limits.connect_timeout),
            // Whose turn it is to send has a time of its own.
            (_, Reply::Head { .. }) if awaits_body => None,
            (_, Reply::Head { .. }) => Some(relay.moved_at + answer_timeout),
            // It takes nothing of what waits for it.
            (_, Reply::Tunnel) if !relay.to_upstream.is_empty() => Some(relay.moved_at + settings.limits.stall_timeout),
            (_, Reply::Body { reader: Reader::Length { .. }, .. }) if relay.module.is_none() => {
                Some(relay.answered_at + HUB_ANSWER_TAKEN)
            }
            // While nothing of it is read, its silence means nothing.
            (_, Reply::Body { .. }) if relay.upstream_room(self.to_client.len()) == 0 => None,
            (_, Reply::Body { .. }) => silence.map(|silence| relay.moved_at + silence),
            (_, Reply::Tunnel) => None,
        };
        let body = awaits_body.then(|| relay.sending.due(settings.limits.stall_timeout));
        sooner(upstream, body)
    }

    /// It is the client's turn to send a part of its request.
    pub(super) fn awaits_body(&self, relay: &Relay) -> bool {
        let is_open = matches!(relay.upstream, Upstream::Open { .. }) && relay.to_upstream.is_empty();
        relay.reply != Reply::Tunnel
            && (is_open || relay.is_collecting())
            && relay.client_room(self.from_client.len()) > 0
    }

    /// Ends what has taken too long.
    pub(super) fn expire(&mut self, now: Instant, rules: &mut Rules, asks: &mut Asks) {
        if self.deadline(&rules.settings).is_none_or(|deadline| now < deadline) || self.has_gone(now) {
            return;
        }
        self.cut_off = self.must_reset();
        let blocked = self.taking.is_some_and(|pace| now >= pace.due(rules.settings.limits.stall_timeout));
        match mem::replace(&mut self.state, State::Closed) {
            State::Relaying(mut relay) if blocked => {
                asks.gone = relay.module.is_none().then_some(relay.id);
                asks.release = Some(Release::Close);
                relay.log(false, self.to_client.len(), now, &mut rules.journal);
            }
            _ if blocked => {}
            State::Head { since, .. } => {
                self.refuse(Answer::SlowRequest, since, now, rules);
                self.state = State::Closing { linger: true };
            }
            // Whoever asked goes on to wait, or is told what holds now.
            State::Relaying(relay) if relay.is_waiting() => self.state = State::Relaying(relay),
            State::Relaying(mut relay) if matches!(relay.upstream, Upstream::Identifying { .. }) => {
                relay.upstream = Upstream::Refused(Unavailable::Unidentified);
                self.state = State::Relaying(relay);
            }
            State::Relaying(mut relay) if matches!(relay.upstream, Upstream::Opening { .. }) => {
                asks.release = Some(Release::Close);
                relay.upstream = Upstream::Refused(Unavailable::Down);
                self.state = State::Relaying(relay);
            }
            State::Relaying(mut relay) => {
                asks.gone = relay.module.is_none().then_some(relay.id);
                asks.release = Some(Release::Close);
                let slow_client = self.awaits_body(&relay);
                self.state = State::Closing { linger: !self.cut_off };
                if let Reply::Head { .. } = relay.reply {
                    let answer = if slow_client { Answer::SlowRequest } else { Answer::UpstreamTimeout };
                    let bytes = answer.write(relay.manner(true, rules.date), self.to_client.tail());
                    relay.log_answer(answer, bytes, now, &mut rules.journal);
                } else {
                    relay.log(false, 0, now, &mut rules.journal);
                }
            }
            State::Idle { .. } | State::Closing { .. } | State::Lingering { .. } | State::Closed => {}
        }
    }
}
