//! Pure: one request on its way to an upstream, and its answer on the way back.

use super::access::{self, Entry, Journal, Outcome};
use super::answer::{Answer, Manner};
use super::buffer::{self, Incoming, Outgoing};
use super::exchange::{Destination, History};
use super::framing::{self, BadFraming, Body, Coding, Piece, Reader};
use super::head::{self, Version};
use super::headers::{self, Author, Framed};
use super::hold::{self, Next};
use super::places::Place;
use super::route::Module;
use crate::supervisor::standing::Standing;
use std::sync::Arc;
use std::time::Instant;

/// What the hub takes. Its largest bodies are module settings; whatever reads them holds them in memory.
pub(crate) const MAX_BODY_BYTES: u64 = 1024 * 1024;
/// What may wait in either direction of a connection: enough for one large write, small times 1,024 connections.
pub(crate) const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// Interim answers, such as 103, before the real one; they are not passed on (see the folder's rule).
const MAX_INTERIM: u32 = 16;
/// A request that got no answer is sent again at most so often.
const MAX_REPEATS: u32 = 2;
/// The first read of an answer; most are smaller.
const FIRST_READ_BYTES: usize = 8 * 1024;
/// Below it, copying is cheaper than giving a buffer away.
const SWAP_BYTES: usize = 4 * 1024;

/// The state of one request.
pub(crate) struct Relay {
    /// Names the exchange towards the hub.
    pub(crate) id: u64,
    pub(crate) request: Request,
    /// Whom it is for; `None`: the hub.
    pub(crate) module: Option<Arc<Module>>,
    /// It asks for a WebSocket, and these are the places it takes.
    pub(crate) websocket: Option<Vec<Place>>,
    /// Its place among those who wait for the module.
    pub(crate) waiting: Option<(Place, Place)>,
    /// Until when it waits for the module to come back, however often that goes away again meanwhile.
    pub(crate) hold_until: Option<Instant>,
    pub(crate) upstream: Upstream,
    /// How the module stood when a socket was last asked for.
    pub(crate) tried: Option<Standing>,
    pub(crate) repeats: u32,
    /// Interim answers so far.
    pub(crate) interim: u32,
    pub(crate) from_upstream: Incoming,
    pub(crate) to_upstream: Outgoing,
    pub(crate) reply: Reply,
    /// When the request last got on: a part of it came, or was taken by the upstream.
    pub(crate) moved_at: Instant,
    /// Its line in the access log, as far as it is known.
    pub(crate) entry: Option<Box<Entry>>,
    pub(crate) tally: Tally,
}

/// What the access log says of an exchange.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    /// Of the upstream's answer; `None` while there is none.
    status: Option<u16>,
    /// Content on its way to the client, sent or not.
    answer_bytes: u64,
    request_bytes: u64,
}

impl Tally {
    /// So much of what was on its way will never arrive.
    pub(crate) fn lose(&mut self, bytes: usize) {
        self.answer_bytes = self.answer_bytes.saturating_sub(count(bytes));
    }
}

/// What stays of a request's head once it is on its way, and the state of its body.
pub(crate) struct Request {
    pub(crate) version: Version,
    pub(crate) is_head: bool,
    /// Doing it twice is doing it once (RFC 9110 §9.2.2).
    pub(crate) idempotent: bool,
    pub(crate) keep_alive: bool,
    /// A failure is shown as a page.
    pub(crate) wants_html: bool,
    pub(crate) body: Reader,
    pub(crate) coding: Coding,
    /// Of the body.
    pub(crate) limit_bytes: u64,
}

/// The other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Asked for; `fresh`: not one that has been used before.
    Wanted {
        fresh: bool,
    },
    /// The module is on its way back, or it has just `failed`, standing like this, and nobody has said what becomes of
    /// it.
    Waiting {
        until: Instant,
        failed: Option<Standing>,
    },
    /// Asked for, and on its way since then.
    Opening {
        since: Instant,
    },
    Open {
        reused: bool,
    },
    /// It takes no more, but may still have something to say.
    Deaf {
        reused: bool,
    },
    /// It has closed the connection; `cleanly`: after all that it had to say.
    Ended {
        reused: bool,
        cleanly: bool,
    },
    /// There is none to be had.
    Refused(Unavailable),
}

/// Why there is no upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Nobody listens.
    Down,
    /// No more connections are opened now.
    Busy,
}

/// The answer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Head {
        scanned: usize,
    },
    Body {
        reader: Reader,
        coding: Coding,
        reusable: bool,
    },
    /// The connection has become a WebSocket: bytes both ways, until one side ends.
    Tunnel,
}

/// How far the relay has got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It waits for a socket.
    Waiting,
    /// The answer is complete. `reusable`: so is the request, and the upstream expects another one.
    Answered { reusable: bool },
    /// Nothing of an answer has been sent: send this one.
    Failed(Answer<'static>),
    /// A part of an answer has been sent, and there will not be more: the client must not take it for the whole.
    Broken,
    /// The WebSocket is over, and everything from the upstream is on its way to the client.
    Over,
}

impl Relay {
    /// How much of the request's body to read now.
    pub(crate) fn client_room(&self, waiting: usize) -> usize {
        if self.request.body.is_done() && self.reply != Reply::Tunnel {
            return 0;
        }
        MAX_BUFFER_BYTES.saturating_sub(waiting + self.to_upstream.len())
    }

    /// How much of the answer to read now.
    pub(crate) fn upstream_room(&self, to_client: usize) -> usize {
        let waiting = self.from_upstream.len();
        match (self.upstream, self.reply) {
            (Upstream::Open { .. } | Upstream::Deaf { .. }, Reply::Head { .. }) => {
                head::MAX_HEAD_BYTES.saturating_sub(waiting).min(FIRST_READ_BYTES)
            }
            (Upstream::Open { .. } | Upstream::Deaf { .. }, Reply::Body { .. } | Reply::Tunnel) => {
                MAX_BUFFER_BYTES.saturating_sub(waiting + to_client)
            }
            (
                Upstream::Wanted { .. }
                | Upstream::Waiting { .. }
                | Upstream::Opening { .. }
                | Upstream::Ended { .. }
                | Upstream::Refused(_),
                _,
            ) => 0,
        }
    }

    pub(crate) fn opened(&mut self, reused: bool) {
        self.upstream = Upstream::Open { reused };
        // A socket that was idle may have been closed without anybody's fault, and a module may be restarted under its
        // callers: then a second try is due, and this is what it takes.
        if reused || (self.module.is_some() && self.request.idempotent && self.repeats < MAX_REPEATS) {
            self.to_upstream.keep_sent();
        } else {
            self.to_upstream.forget_sent();
        }
    }

    /// The upstream has closed the connection, or, not `cleanly`, it broke.
    pub(crate) fn upstream_ended(&mut self, cleanly: bool) {
        if let Upstream::Open { reused } | Upstream::Deaf { reused } = self.upstream {
            self.upstream = Upstream::Ended { reused, cleanly };
        }
    }

    /// The upstream takes no more of the request. It may have answered before.
    pub(crate) fn upstream_deaf(&mut self) {
        if let Upstream::Open { reused } = self.upstream {
            self.upstream = Upstream::Deaf { reused };
        }
    }

    /// Moves what can be moved.
    pub(crate) fn advance(&mut self, now: Instant, from_client: &mut Incoming, to_client: &mut Outgoing) -> Progress {
        if let Err(failure) = self.pass_request(from_client) {
            return self.failed(failure);
        }
        if let Upstream::Waiting { until, failed } = self.upstream {
            let standing = self.standing();
            let next = hold::while_waiting(standing, failed, now >= until, now);
            if let Some(failure) = self.follow(next, now) {
                // It is up, took the request and hung up on it: that is no module on its way.
                let hung_up = self.repeats > 0 && matches!(standing, Some(Standing::Up { .. }));
                return Progress::Failed(if hung_up { Answer::UpstreamUnreachable } else { failure });
            }
        }
        loop {
            match self.reply {
                Reply::Head { scanned } => match self.read_head(scanned, to_client) {
                    Ok(true) => {}
                    Ok(false) => return self.without_head(now),
                    Err(()) => return Progress::Failed(Answer::UpstreamUnreachable),
                },
                Reply::Body { .. } => return self.pass_reply(to_client),
                Reply::Tunnel => return self.pass_tunnel(from_client, to_client),
            }
        }
    }

    pub(crate) fn destination(&self) -> Destination {
        self.module.as_ref().map_or(Destination::Hub, |module| Destination::Port(module.mount.port.get()))
    }

    /// Which socket will do.
    pub(crate) fn history(&self, fresh: bool) -> History {
        if fresh || self.websocket.is_some() {
            History::Fresh
        } else if self.request.idempotent {
            History::Any
        } else {
            History::JustUsed
        }
    }

    /// How its failure is told.
    pub(crate) fn manner(&self, close: bool) -> Manner<'_> {
        Manner {
            head_only: self.request.is_head,
            close,
            html: self.request.wants_html,
            module: self.module.as_ref().map(|module| module.mount.short.as_str()),
        }
    }

    /// The exchange is over: its answer came to its end, or was broken off with so many bytes unsent.
    pub(crate) fn log(&mut self, complete: bool, unsent: usize, now: Instant, journal: &mut Journal) {
        let entry = self.entry.take();
        let Tally { status, answer_bytes, request_bytes } = self.tally;
        let by = match (status, &self.module) {
            (None, module) => access::Author::Edge(module.as_ref().map(|module| module.mount.short.as_str())),
            (Some(_), Some(module)) => access::Author::Module(module.mount.short.as_str()),
            (Some(_), None) => access::Author::Hub,
        };
        let bytes = answer_bytes.saturating_sub(count(unsent));
        journal.close(entry, &Outcome { status, by, bytes, received_bytes: request_bytes, complete }, now);
    }

    /// The exchange is over: the edge has given this answer, with so much content.
    pub(crate) fn log_answer(&mut self, answer: Answer<'_>, bytes: usize, now: Instant, journal: &mut Journal) {
        let entry = self.entry.take();
        let module = self.module.as_ref().map(|module| module.mount.short.as_str());
        let outcome = Outcome { received_bytes: self.tally.request_bytes, ..Outcome::of_edge(answer, module, bytes) };
        journal.close(entry, &outcome, now);
    }

    pub(crate) fn standing(&self) -> Option<Standing> {
        self.module.as_ref().and_then(|module| module.standing())
    }

    /// Whether it has to wait before anything is tried.
    pub(crate) fn hold_before(&mut self, now: Instant) -> Option<Answer<'static>> {
        match hold::before(self.standing()) {
            Next::Connect => None,
            next => self.follow(next, now),
        }
    }

    /// Does what was decided about a module that does not answer; an answer is what its caller is told.
    fn follow(&mut self, next: Next, now: Instant) -> Option<Answer<'static>> {
        let failed = match next {
            Next::Connect => {
                self.waiting = None;
                self.upstream = Upstream::Wanted { fresh: false };
                return None;
            }
            Next::Hold => None,
            Next::Settle => self.tried,
            Next::Starting => return Some(Answer::ModuleStarting),
            Next::Unreachable => return Some(Answer::ModuleUnreachable),
        };
        if matches!(self.upstream, Upstream::Waiting { failed: before, .. } if before == failed) {
            return None;
        }
        let module = self.module.as_ref()?;
        if module.mount.hold.is_zero() {
            return Some(self.told_at_once(now));
        }
        let hold = module.mount.hold;
        let until = if failed.is_some() { now + hold::SETTLE } else { *self.hold_until.get_or_insert(now + hold) };
        if self.waiting.is_none() {
            self.waiting = module.wait();
            if self.waiting.is_none() {
                return Some(Answer::ModuleStarting);
            }
        }
        self.upstream = Upstream::Waiting { until, failed };
        // What changed before there was a place was told to nobody.
        match hold::while_waiting(self.standing(), failed, now >= until, now) {
            same if same == next => None,
            other => self.follow(other, now),
        }
    }

    /// What a caller is told whose module is not waited for.
    fn told_at_once(&self, now: Instant) -> Answer<'static> {
        match hold::after_failure(self.standing(), true, now) {
            Next::Unreachable => Answer::ModuleUnreachable,
            Next::Connect | Next::Hold | Next::Settle | Next::Starting => Answer::ModuleStarting,
        }
    }

    /// What to do after a failure. A child that took the place of the one that was tried has not failed yet.
    fn after_failure(&self, now: Instant) -> Next {
        match self.standing() {
            standing @ Some(Standing::Up { .. }) if standing != self.tried => Next::Connect,
            standing => hold::after_failure(standing, false, now),
        }
    }

    /// The module could not be reached.
    fn unreached(&mut self, now: Instant) -> Progress {
        let next = self.after_failure(now);
        self.follow(next, now).map_or(Progress::Waiting, Progress::Failed)
    }

    /// Whether it waits for a word about its module.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.upstream, Upstream::Waiting { .. })
    }

    /// Everything that the client still says goes to the upstream before the tunnel is given up.
    pub(crate) fn owes_upstream(&self, from_client: &Incoming) -> bool {
        self.reply == Reply::Tunnel
            && matches!(self.upstream, Upstream::Open { .. })
            && !(from_client.is_empty() && self.to_upstream.is_empty())
    }

    fn pass_tunnel(&mut self, from_client: &mut Incoming, to_client: &mut Outgoing) -> Progress {
        if matches!(self.upstream, Upstream::Open { .. }) {
            self.tally.request_bytes += count(splice(from_client, &mut self.to_upstream));
        } else {
            from_client.consume(from_client.len());
            self.to_upstream.clear();
        }
        self.tally.answer_bytes += count(splice(&mut self.from_upstream, to_client));
        let ended = matches!(self.upstream, Upstream::Ended { .. } | Upstream::Deaf { .. });
        if ended && self.from_upstream.is_empty() { Progress::Over } else { Progress::Waiting }
    }

    fn failed(&self, answer: Answer<'static>) -> Progress {
        match self.reply {
            Reply::Head { .. } => Progress::Failed(answer),
            Reply::Body { .. } | Reply::Tunnel => Progress::Broken,
        }
    }

    fn pass_request(&mut self, from_client: &mut Incoming) -> Result<(), Answer<'static>> {
        let Request { body, coding, limit_bytes, .. } = &mut self.request;
        if body.is_done() {
            return Ok(());
        }
        let before = from_client.len();
        let moved = &mut self.tally.request_bytes;
        match pump(body, *coding, from_client, &mut self.to_upstream, moved, *limit_bytes) {
            Ok(()) => {}
            Err(Stopped::Framing(bad)) => return Err(Answer::BadFraming(bad)),
            Err(Stopped::TooLarge) => return Err(Answer::BodyTooLarge),
        }
        if from_client.len() == before {
            return Ok(());
        }
        match self.upstream {
            Upstream::Deaf { .. } | Upstream::Ended { .. } => self.to_upstream.clear(),
            // Too much to be kept for a second try.
            _ if self.to_upstream.held() > MAX_BUFFER_BYTES => self.to_upstream.forget_sent(),
            _ => {}
        }
        Ok(())
    }

    /// Reads the answer's head; false while it is not complete. An error means that it is none.
    fn read_head(&mut self, mut scanned: usize, to_client: &mut Outgoing) -> Result<bool, ()> {
        if self.from_upstream.is_empty() {
            return Ok(false);
        }
        if !head::may_begin_answer(self.from_upstream.bytes()) {
            return Err(());
        }
        let Some(end) = head::end(self.from_upstream.bytes(), &mut scanned).map_err(drop)? else {
            self.reply = Reply::Head { scanned };
            return Ok(false);
        };
        let bytes = self.from_upstream.bytes().get(..end).unwrap_or_default();
        let response = head::response(bytes).map_err(drop)?;
        if response.status == 101 {
            // To another protocol than the one that was asked for, or without being asked at all.
            let agreed = response.version == Version::Http11 && response.fields.lists("upgrade", "websocket");
            if self.websocket.is_none() || !agreed {
                return Err(());
            }
            headers::write_switch(&response, to_client.tail());
            self.tally.status = Some(response.status);
            self.request.keep_alive = false;
            self.reply = Reply::Tunnel;
            self.to_upstream.forget_sent();
            self.from_upstream.consume(end);
            return Ok(true);
        }
        if response.status >= 200 {
            let Request { version, is_head, .. } = self.request;
            let body = framing::response_body(&response.fields, response.version, response.status, is_head);
            let body = body.map_err(drop)?;
            // What announces a body that it must not have may send it all the same, later.
            let may_go_on = response.status == 204
                && (response.fields.has("transfer-encoding")
                    || response.fields.first("content-length").is_some_and(|length| length != b"0"));
            let reusable = response.version == Version::Http11
                && body != Body::UntilClose
                && !may_go_on
                && !response.fields.lists("connection", "close");
            let (sent_as, coding) = match (body, version) {
                (Body::Chunked | Body::UntilClose, Version::Http11) => (Body::Chunked, Coding::Chunked),
                (Body::Chunked | Body::UntilClose, Version::Http10) => (Body::UntilClose, Coding::Plain),
                (Body::Empty | Body::Length(_), _) => (body, Coding::Plain),
            };
            // An answer before the end of the request: what is left of it would have to be read for nothing.
            self.request.keep_alive &= self.request.body.is_done() && version == Version::Http11;
            let framed = Framed { body: sent_as, close: !self.request.keep_alive };
            let by = if self.module.is_some() { Author::Module } else { Author::Hub };
            headers::write_response(&response, framed, by, to_client.tail());
            self.tally.status = Some(response.status);
            self.websocket = None;
            self.to_upstream.forget_sent();
            self.reply = Reply::Body { reader: Reader::new(body), coding, reusable };
        } else {
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(());
            }
            self.reply = Reply::Head { scanned: 0 };
        }
        self.from_upstream.consume(end);
        Ok(true)
    }

    /// What follows while there is no head.
    fn without_head(&mut self, now: Instant) -> Progress {
        match self.upstream {
            Upstream::Wanted { .. }
            | Upstream::Waiting { .. }
            | Upstream::Opening { .. }
            | Upstream::Open { .. }
            | Upstream::Deaf { .. } => Progress::Waiting,
            Upstream::Refused(Unavailable::Busy) => Progress::Failed(Answer::Busy),
            Upstream::Refused(Unavailable::Down) if self.module.is_some() => self.unreached(now),
            Upstream::Refused(Unavailable::Down) => Progress::Failed(Answer::HubDown),
            Upstream::Ended { reused, .. } => {
                let unheard = self.from_upstream.is_empty() && self.interim == 0;
                let repeatable = self.request.idempotent || !self.to_upstream.has_sent();
                if !unheard || !repeatable || !self.to_upstream.was_kept() {
                    return Progress::Failed(Answer::UpstreamUnreachable);
                }
                self.to_upstream.rewind();
                self.repeats += 1;
                if reused {
                    self.upstream = Upstream::Wanted { fresh: true };
                    Progress::Waiting
                } else {
                    // It hung up on a request that had just reached it: it is ending, or it does so every time.
                    let waits = self.module.as_ref().is_some_and(|module| !module.mount.hold.is_zero());
                    match self.after_failure(now) {
                        next @ (Next::Hold | Next::Settle | Next::Connect) if waits => {
                            self.follow(next, now).map_or(Progress::Waiting, Progress::Failed)
                        }
                        _ => Progress::Failed(Answer::UpstreamUnreachable),
                    }
                }
            }
        }
    }

    fn pass_reply(&mut self, to_client: &mut Outgoing) -> Progress {
        let Reply::Body { reader, coding, reusable } = &mut self.reply else { return Progress::Waiting };
        let moved = &mut self.tally.answer_bytes;
        if pump(reader, *coding, &mut self.from_upstream, to_client, moved, u64::MAX).is_err() {
            return Progress::Broken;
        }
        let ended = matches!(self.upstream, Upstream::Ended { .. });
        let complete = matches!(self.upstream, Upstream::Ended { cleanly: true, .. });
        if *reader == Reader::UntilClose && complete && self.from_upstream.is_empty() {
            *reader = Reader::Done;
            coding.finish(to_client.tail());
        }
        if reader.is_done() {
            let all_said = self.request.body.is_done() && self.to_upstream.is_empty();
            let open = matches!(self.upstream, Upstream::Open { .. });
            // Bytes behind the end belong to no request of ours: such a peer is not asked again.
            return Progress::Answered { reusable: *reusable && all_said && open && self.from_upstream.is_empty() };
        }
        if ended && self.from_upstream.is_empty() { Progress::Broken } else { Progress::Waiting }
    }
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Moves as many bytes as there is room for, and says how many.
fn splice(from: &mut Incoming, to: &mut Outgoing) -> usize {
    let waiting = from.len();
    if waiting == 0 || (waiting >= SWAP_BYTES && buffer::swap(from, to)) {
        return waiting;
    }
    let count = waiting.min(MAX_BUFFER_BYTES.saturating_sub(to.len()));
    to.tail().extend_from_slice(from.bytes().get(..count).unwrap_or_default());
    from.consume(count);
    count
}

enum Stopped {
    Framing(BadFraming),
    TooLarge,
}

/// Moves as much of a body as is there and has room. `moved` counts its content, of which there may be a `limit`.
fn pump(
    reader: &mut Reader,
    coding: Coding,
    from: &mut Incoming,
    to: &mut Outgoing,
    moved: &mut u64,
    limit: u64,
) -> Result<(), Stopped> {
    while !from.is_empty() && !reader.is_done() && to.len() < MAX_BUFFER_BYTES {
        let Piece { skip, take } = reader.next(from.bytes()).map_err(Stopped::Framing)?;
        if count(take) > limit - *moved {
            return Err(Stopped::TooLarge);
        }
        *moved += count(take);
        let whole = skip == 0 && take == from.len();
        if !(whole && take >= SWAP_BYTES && coding == Coding::Plain && buffer::swap(from, to)) {
            from.consume(skip);
            let part = from.bytes().get(..take).unwrap_or_default();
            coding.write(part, to.tail());
            from.consume(take);
        }
        if reader.is_done() {
            coding.finish(to.tail());
        }
    }
    Ok(())
}
