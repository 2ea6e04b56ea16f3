//! Pure: one client connection's life as a state machine, request after request.
//!
//! Owns no socket and reads no clock. The event loop puts bytes in and takes bytes out, calls [`Connection::advance`]
//! and does what it asks; [`Connection::deadline`] says when it wants to be called although nothing has happened.
#![deny(clippy::wildcard_enum_match_arm)]

mod deadlines;
mod leaving;
#[cfg(test)]
mod tests;

use super::access::{Journal, Outcome};
use super::answer::{Answer, Manner};
use super::asks::{Asks, Destination, Open, Release};
use super::begin::{self, Begun, Head};
use super::buffer::{Incoming, Outgoing};
use super::head::{self, MAX_HEAD_BYTES};
use super::identity::Verdict;
use super::pace::{self, Pace};
use super::relay::{MAX_BUFFER_BYTES, Progress, Relay, Reply, Unavailable, Upstream};
use super::rules::Rules;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// One read of a head; most fit.
const HEAD_READ_BYTES: usize = 4 * 1024;
/// How long we go on reading after the last answer, so that the client sees all of it and not a reset, which whatever it
/// still sends would become (RFC 9112 §9.6). Most clients end at once.
const LINGER: Duration = Duration::from_secs(2);
/// What is thrown away in one read meanwhile.
const LINGER_READ_BYTES: usize = 16 * 1024;

/// A program that connects sends its request at once; until then it is not taken for one that wants nothing.
const FRESH: Duration = Duration::from_millis(100);

/// Which connections give way to a new one when there is no place: first those that can be closed without harm, to which
/// all has been sent or which have asked nothing, then those whose request does not come to its end, of which a stranger
/// could make as many as there are places: heads, the first of which may not have begun, and bodies and answers that are
/// sent and taken too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dispensable {
    Lingering,
    Idle,
    Unfinished,
    Slow,
}

/// A client's connection.
pub(crate) struct Connection {
    peer: SocketAddr,
    state: State,
    from_client: Incoming,
    to_client: Outgoing,
    /// How the client takes what waits for it, while something does.
    taking: Option<Pace>,
    /// Its place is one of those that are kept for programs on this machine.
    reserved: bool,
    /// Since when it sends no more, or has gone altogether; TCP does not tell them apart.
    hung_up: Option<Instant>,
    /// All that it has sent has been read.
    ended: bool,
    /// Its body lacks more than is still unread of it.
    falls_short: bool,
    /// It takes nothing, either.
    broken: bool,
    /// When it last took something.
    took_at: Option<Instant>,
    /// A part of an answer is sent that ends with the connection, and the rest will not come.
    cut_off: bool,
    /// What is still to be sent is the end of an answer, and may be known as such by that of the connection alone.
    ends_answer: bool,
    /// The loop is stopping: no further request.
    draining: bool,
}

enum State {
    /// Nothing of a request is there.
    Idle {
        since: Instant,
        /// An empty line has been left out, and only one is.
        skipped: bool,
    },
    /// A part of a head is there.
    Head {
        since: Instant,
        scanned: usize,
    },
    Relaying(Box<Relay>),
    /// Ends when everything is sent; `linger`: that was an answer or a part of one, and no reset is to tell of its end.
    Closing {
        linger: bool,
    },
    /// Everything is sent, and what the client still sends is thrown away.
    Lingering {
        until: Instant,
    },
    Closed,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, now: Instant) -> Self {
        Self {
            peer,
            state: State::Idle { since: now, skipped: false },
            from_client: Incoming::default(),
            to_client: Outgoing::default(),
            taking: None,
            reserved: false,
            hung_up: None,
            ended: false,
            falls_short: false,
            broken: false,
            took_at: None,
            cut_off: false,
            ends_answer: false,
            draining: false,
        }
    }

    /// The same in a place that is kept for programs on this machine: it is refused if it turns out to be none.
    pub(crate) fn reserved(peer: SocketAddr, now: Instant) -> Self {
        Self { reserved: true, ..Self::new(peer, now) }
    }

    /// Whether its place is one of those.
    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved
    }

    /// How much to read from the client now, at most; 0 leaves it in the kernel, which slows the client down.
    pub(crate) fn client_room(&self) -> usize {
        let waiting = self.from_client.len();
        match &self.state {
            // Whoever asks on and on without listening has to wait.
            State::Idle { .. } | State::Head { .. } if self.to_client.len() >= MAX_BUFFER_BYTES => 0,
            State::Idle { .. } | State::Head { .. } => MAX_HEAD_BYTES.saturating_sub(waiting).min(HEAD_READ_BYTES),
            State::Relaying(relay) => relay.client_room(waiting),
            State::Lingering { .. } => LINGER_READ_BYTES,
            State::Closing { .. } | State::Closed => 0,
        }
    }

    /// Where to append what was read from the client; report it with [`Self::client_read`].
    pub(crate) fn client_tail(&mut self) -> &mut Vec<u8> {
        self.from_client.tail()
    }

    /// So many bytes.
    pub(crate) fn client_read(&mut self, count: usize, now: Instant) {
        if let State::Relaying(relay) = &mut self.state {
            relay.moved_at = now;
            relay.sending.moved(count, now);
        }
    }

    /// Bytes for the client.
    pub(crate) fn to_client(&self) -> &[u8] {
        self.to_client.pending()
    }

    /// An attempt to write them took `count`.
    pub(crate) fn client_sent(&mut self, count: usize, now: Instant) {
        self.to_client.sent(count);
        if count > 0 {
            self.took_at = Some(now);
        }
        // Who is not read because its answer waits for the client is not silent.
        if count > 0
            && let Some(relay) = self.relay_mut()
            && matches!(relay.reply, Reply::Body { .. })
        {
            relay.moved_at = now;
        }
        if self.to_client.is_empty() {
            self.taking = None;
        } else {
            self.taking.get_or_insert_with(|| Pace::new(now)).moved(count, now);
        }
    }

    /// How much to read from the upstream now, at most.
    pub(crate) fn upstream_room(&self) -> usize {
        self.relay().map_or(0, |relay| relay.upstream_room(self.to_client.len()))
    }

    /// Something was read from the upstream. A part of a head is nothing yet: there is one time for all of it.
    pub(crate) fn upstream_read(&mut self, now: Instant) {
        if let Some(relay) = self.relay_mut()
            && relay.module.is_some()
            && !matches!(relay.reply, Reply::Head { .. })
        {
            relay.moved_at = now;
        }
    }

    /// Where to append what was read from the upstream; `None` when nothing is expected.
    pub(crate) fn upstream_tail(&mut self) -> Option<&mut Vec<u8>> {
        self.relay_mut().map(|relay| relay.from_upstream.tail())
    }

    /// Bytes for the upstream.
    pub(crate) fn to_upstream(&self) -> &[u8] {
        match self.relay() {
            Some(relay) if matches!(relay.upstream, Upstream::Open { .. }) => relay.to_upstream.pending(),
            _ => &[],
        }
    }

    /// The upstream took `count` of them.
    pub(crate) fn upstream_sent(&mut self, count: usize, now: Instant) {
        if let Some(relay) = self.relay_mut() {
            relay.to_upstream.sent(count);
            relay.moved_at = now;
        }
    }

    pub(crate) fn upstream_opened(&mut self, reused: bool) {
        if let Some(relay) = self.relay_mut() {
            relay.opened(reused);
        }
    }

    pub(crate) fn upstream_refused(&mut self, why: Unavailable) {
        if let Some(relay) = self.relay_mut() {
            relay.upstream = Upstream::Refused(why);
        }
    }

    /// The hub has said who the caller of this exchange is.
    pub(crate) fn identified(&mut self, exchange: u64, verdict: &Verdict) {
        if let Some(relay) = self.relay_mut()
            && relay.id == exchange
        {
            relay.identified(verdict);
        }
    }

    /// The upstream sends no more. Not `cleanly`: its connection broke, and more may have been on its way.
    pub(crate) fn upstream_ended(&mut self, cleanly: bool) {
        if let Some(relay) = self.relay_mut() {
            relay.upstream_ended(cleanly);
        }
    }

    /// The upstream takes no more.
    pub(crate) fn upstream_deaf(&mut self) {
        if let Some(relay) = self.relay_mut() {
            relay.upstream_deaf();
        }
    }

    /// Whether its request waits for a word about a module.
    pub(crate) fn is_waiting(&self) -> bool {
        self.relay().is_some_and(Relay::is_waiting)
    }

    /// Whether all has been sent and only what its client may still send is waited for.
    pub(crate) fn is_lingering(&self) -> bool {
        matches!(self.state, State::Lingering { .. })
    }

    /// Whether its end costs its client nothing: that has been sent everything, and nothing `unread` makes a reset of it.
    pub(crate) fn is_done(&self, unread: impl FnOnce() -> usize) -> bool {
        self.is_lingering() && unread() == 0
    }

    /// Whether it has all that it has asked for, and has asked for nothing more.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle { .. }) && self.to_client.is_empty()
    }

    /// Why it could give way to another and since when; among several the smallest is the one to give up first.
    pub(crate) fn dispensable(&self, now: Instant) -> Option<(Dispensable, Instant)> {
        match &self.state {
            State::Idle { since, .. } if self.is_idle() => {
                let is_fresh = self.took_at.is_none() && now.saturating_duration_since(*since) < FRESH;
                Some((if is_fresh { Dispensable::Unfinished } else { Dispensable::Idle }, *since))
            }
            State::Head { since, .. } => Some((Dispensable::Unfinished, *since)),
            State::Lingering { until } => Some((Dispensable::Lingering, *until - LINGER)),
            State::Idle { .. } | State::Relaying(_) | State::Closing { .. } | State::Closed => {
                let sending = self.relay().filter(|relay| self.awaits_body(relay)).map(|relay| relay.sending);
                let lost = [sending, self.taking].into_iter().flatten().map(|pace| pace.lost(now)).max()?;
                let since = now.checked_sub(lost).filter(|_| lost >= pace::SLOW)?;
                Some((Dispensable::Slow, since))
            }
        }
    }

    /// No further request is taken. What is running goes on.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        if let Some(relay) = self.relay_mut() {
            relay.request.keep_alive = false;
        }
    }

    /// The connection is closed whatever it is doing: what was under way is over.
    pub(crate) fn give_up(&mut self, now: Instant, journal: &mut Journal) {
        let unsent = self.to_client.len();
        if let Some(relay) = self.relay_mut() {
            relay.log(false, unsent, now, journal);
        }
    }

    /// Whether the connection is to end with a reset: where an answer ends with it, an ordinary end would make a part of it
    /// look like the whole (http-api H16).
    pub(crate) fn must_reset(&self) -> bool {
        let is_part = self.ends_answer && !self.to_client.is_empty();
        self.cut_off || is_part || self.relay().is_some_and(Relay::is_delimited_by_close)
    }

    /// Does all that can be done without a socket, and asks for the rest.
    pub(crate) fn advance(&mut self, now: Instant, rules: &mut Rules) -> Asks {
        let mut asks = Asks::default();
        self.expire(now, rules, &mut asks);
        // Every round ends a state; a pipelined client brings one head after the other.
        while self.step(now, rules, &mut asks) && asks == Asks::default() {}
        asks.close = matches!(self.state, State::Closed);
        asks
    }

    /// One step; false when it waits for a socket.
    fn step(&mut self, now: Instant, rules: &mut Rules, asks: &mut Asks) -> bool {
        let has_gone = self.has_gone(now);
        match &mut self.state {
            State::Idle { .. } | State::Head { .. } => self.step_head(now, rules),
            State::Relaying(relay) => {
                if has_gone {
                    asks.gone = relay.module.is_none().then_some(relay.id);
                    asks.release = Some(Release::Close);
                    // A WebSocket has no other end than that one side leaves.
                    let complete = relay.reply == Reply::Tunnel;
                    relay.log(complete, self.to_client.len(), now, &mut rules.journal);
                    self.state = State::Closed;
                    return false;
                }
                let progress = relay.advance((now, rules.date), &mut self.from_client, &mut self.to_client);
                relay.look_for_stream(&rules.streams);
                self.excuse_client(now);
                self.step_relay(progress, now, asks, rules)
            }
            State::Closing { linger } if self.to_client.is_empty() => {
                if *linger && !self.ended {
                    asks.shut_down = true;
                    self.state = State::Lingering { until: now + LINGER };
                } else {
                    self.state = State::Closed;
                }
                false
            }
            State::Lingering { .. } => {
                self.from_client = Incoming::default();
                if self.ended {
                    self.state = State::Closed;
                }
                false
            }
            State::Closing { .. } | State::Closed => false,
        }
    }

    /// While somebody else is waited for, its body need not come.
    fn excuse_client(&mut self, now: Instant) {
        let awaited = self.relay().is_none_or(|relay| self.awaits_body(relay));
        if !awaited && let Some(relay) = self.relay_mut() {
            relay.sending.excuse(now);
        }
    }

    fn step_relay(&mut self, progress: Progress, now: Instant, asks: &mut Asks, rules: &mut Rules) -> bool {
        let State::Relaying(relay) = &mut self.state else { return false };
        match progress {
            Progress::Waiting => {
                let Upstream::Wanted { fresh, identified } = relay.upstream else { return false };
                if !relay.is_let_in() {
                    asks.identify = relay.identify(fresh, now).map(|question| (relay.id, question));
                    return false;
                }
                if let Err(answer) = begin::go_on(relay, rules, self.to_client.tail()) {
                    return self.fail(answer, now, asks, rules);
                }
                if !relay.renew(&rules.table) {
                    return self.fail(Answer::ModuleStarting, now, asks, rules);
                }
                // A row that names a port of ours would have each request call for the next.
                if matches!(relay.destination(), Destination::Port(port) if rules.own_ports.contains(&port)) {
                    return self.fail(Answer::ModuleUnreachable, now, asks, rules);
                }
                if let Some(answer) = relay.hold_before(now) {
                    return self.fail(answer, now, asks, rules);
                }
                if let Some(bound) = &mut relay.hub_bound
                    && !bound.take_places(&rules.settings.limits, &rules.hub, &mut rules.hub_of)
                {
                    return self.fail(Answer::Busy, now, asks, rules);
                }
                // A socket that turned out to be closed is given back first, and so is an attempt that has taken too long.
                asks.release = asks.release.or((relay.repeats > 0).then_some(Release::Close));
                if !relay.is_waiting() {
                    let question = if identified { None } else { relay.identify(fresh, now) };
                    if let Some(question) = question {
                        asks.identify = Some((relay.id, question));
                    } else {
                        asks.open = Some(Open { to: relay.destination(), history: relay.history(fresh) });
                        relay.tried = relay.standing();
                        relay.upstream = Upstream::Opening { since: now };
                        // However long it was held: the time for an answer begins when it can be asked.
                        relay.moved_at = now;
                    }
                }
                false
            }
            Progress::Answered { reusable } => {
                asks.release = Some(if reusable { Release::Reuse } else { Release::Close });
                self.ends_answer = relay.has_no_mark_at_its_end();
                let keep = relay.request.keep_alive && relay.request.body.is_done();
                relay.log(true, 0, now, &mut rules.journal);
                self.next(keep, now);
                true
            }
            Progress::Failed(answer) => self.fail(answer, now, asks, rules),
            Progress::Broken | Progress::Over => {
                asks.release = Some(Release::Close);
                relay.log(progress == Progress::Over, 0, now, &mut rules.journal);
                self.cut_off = relay.is_delimited_by_close();
                self.state = State::Closing { linger: !self.cut_off };
                true
            }
        }
    }

    /// Answers instead of the upstream.
    fn fail(&mut self, answer: Answer<'static>, now: Instant, asks: &mut Asks, rules: &mut Rules) -> bool {
        let State::Relaying(relay) = &mut self.state else { return false };
        asks.release = Some(Release::Close);
        let keep = relay.request.keep_alive && relay.request.body.is_done();
        let bytes = answer.write(relay.manner(!keep, rules.date), self.to_client.tail());
        relay.log_answer(answer, bytes, now, &mut rules.journal);
        self.next(keep, now);
        true
    }

    /// After an answer.
    fn next(&mut self, keep: bool, now: Instant) {
        self.state = if keep { State::Idle { since: now, skipped: false } } else { State::Closing { linger: true } };
    }

    fn step_head(&mut self, now: Instant, rules: &mut Rules) -> bool {
        // Old clients send an empty line behind a body (RFC 9112 §2.2).
        let mut half_a_line = false;
        if let State::Idle { skipped: skipped @ false, .. } = &mut self.state {
            if self.from_client.bytes().starts_with(b"\r\n") {
                self.from_client.consume(2);
                *skipped = true;
            }
            half_a_line = !*skipped && self.from_client.bytes() == b"\r";
        }
        if self.from_client.is_empty() || half_a_line {
            self.from_client.release();
            self.to_client.release();
            if self.ended || self.draining {
                self.state = State::Closing { linger: false };
                return true;
            }
            return false;
        }
        if self.to_client.len() >= MAX_BUFFER_BYTES {
            return false;
        }
        let (since, mut scanned) = match self.state {
            State::Head { since, scanned } => (since, scanned),
            State::Idle { .. }
            | State::Relaying(_)
            | State::Closing { .. }
            | State::Lingering { .. }
            | State::Closed => (now, 0),
        };
        match head::end(self.from_client.bytes(), &mut scanned) {
            Ok(Some(end)) => {
                rules.requests += 1;
                let bytes = self.from_client.bytes().get(..end).unwrap_or_default();
                let (has_more, reserved) = (self.from_client.len() > end, self.reserved);
                let head = Head { bytes, has_more, peer: self.peer, reserved, since };
                let begun = begin::begin(head, now, rules, self.to_client.tail());
                self.from_client.consume(end);
                match begun {
                    Begun::Relaying(mut relay) => {
                        relay.request.keep_alive &= !self.draining;
                        self.state = State::Relaying(relay);
                    }
                    Begun::Answered { keep } => self.next(keep && !self.draining, now),
                }
                true
            }
            Ok(None) if self.ended => {
                self.state = State::Closing { linger: false };
                true
            }
            Ok(None) => {
                self.state = State::Head { since, scanned };
                false
            }
            Err(bad) => {
                self.refuse(Answer::BadHead(bad), since, now, rules);
                self.next(false, now);
                true
            }
        }
    }

    /// Answers a head that is none, or never came to its end.
    fn refuse(&mut self, answer: Answer<'_>, since: Instant, now: Instant, rules: &mut Rules) {
        rules.requests += 1;
        let entry = rules.journal.open_unread(self.from_client.bytes(), self.peer, since);
        let head_only = head::is_of_head_request(self.from_client.bytes());
        let bytes = answer.write(Manner { head_only, ..Manner::closing(rules.date) }, self.to_client.tail());
        rules.journal.close(entry, &Outcome::of_edge(answer, None, bytes), now);
    }

    fn relay(&self) -> Option<&Relay> {
        if let State::Relaying(relay) = &self.state { Some(relay) } else { None }
    }

    fn relay_mut(&mut self) -> Option<&mut Relay> {
        if let State::Relaying(relay) = &mut self.state { Some(relay) } else { None }
    }
}
