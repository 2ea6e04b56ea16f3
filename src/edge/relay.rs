//! Pure: one request on its way to an upstream, and its answer on the way back.

use super::answer::Answer;
use super::buffer::{self, Incoming, Outgoing};
use super::framing::{self, BadFraming, Body, Coding, Piece, Reader};
use super::head::{self, Version};
use super::headers::{self, Framed};
use std::time::Instant;

/// What the hub takes. Its largest bodies are module settings; whatever reads them holds them in memory.
pub(crate) const MAX_BODY_BYTES: u64 = 1024 * 1024;
/// What may wait in either direction of a connection: enough for one large write, small times 1,024 connections.
pub(crate) const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// The first read of an answer; most are smaller.
const FIRST_READ_BYTES: usize = 8 * 1024;
/// Below it, copying is cheaper than giving a buffer away.
const SWAP_BYTES: usize = 4 * 1024;

/// The state of one request.
pub(crate) struct Relay {
    /// Names the exchange towards the hub.
    pub(crate) id: u64,
    pub(crate) request: Request,
    pub(crate) upstream: Upstream,
    pub(crate) from_upstream: Incoming,
    pub(crate) to_upstream: Outgoing,
    pub(crate) reply: Reply,
    /// When the request last got on: a part of it came, or was taken by the upstream.
    pub(crate) moved_at: Instant,
}

/// What stays of a request's head once it is on its way, and the state of its body.
pub(crate) struct Request {
    pub(crate) version: Version,
    pub(crate) is_head: bool,
    /// Doing it twice is doing it once (RFC 9110 §9.2.2).
    pub(crate) idempotent: bool,
    pub(crate) keep_alive: bool,
    pub(crate) body: Reader,
    pub(crate) coding: Coding,
    /// How much of the limit is left.
    pub(crate) allowance: u64,
}

/// The other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// Asked for; `fresh`: not one that has been used before.
    Wanted {
        fresh: bool,
    },
    /// Asked for, and on its way.
    Opening,
    Open {
        reused: bool,
    },
    /// It takes no more, but may still have something to say.
    Deaf {
        reused: bool,
    },
    /// It has closed the connection.
    Ended {
        reused: bool,
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
    Head { scanned: usize },
    Body { reader: Reader, coding: Coding, reusable: bool },
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
}

impl Relay {
    /// How much of the request's body to read now.
    pub(crate) fn client_room(&self, waiting: usize) -> usize {
        if self.request.body.is_done() {
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
            (Upstream::Open { .. } | Upstream::Deaf { .. }, Reply::Body { .. }) => {
                MAX_BUFFER_BYTES.saturating_sub(waiting + to_client)
            }
            (Upstream::Wanted { .. } | Upstream::Opening | Upstream::Ended { .. } | Upstream::Refused(_), _) => 0,
        }
    }

    pub(crate) fn opened(&mut self, reused: bool) {
        self.upstream = Upstream::Open { reused };
        // Only a socket that was idle can have been closed without our fault, and only then is a second try due.
        if reused {
            self.to_upstream.keep_sent();
        } else {
            self.to_upstream.forget_sent();
        }
    }

    /// The upstream has closed the connection, or it broke.
    pub(crate) fn upstream_ended(&mut self) {
        if let Upstream::Open { reused } | Upstream::Deaf { reused } = self.upstream {
            self.upstream = Upstream::Ended { reused };
        }
    }

    /// The upstream takes no more of the request. It may have answered before.
    pub(crate) fn upstream_deaf(&mut self) {
        if let Upstream::Open { reused } = self.upstream {
            self.upstream = Upstream::Deaf { reused };
        }
    }

    /// Moves what can be moved.
    pub(crate) fn advance(&mut self, from_client: &mut Incoming, to_client: &mut Outgoing) -> Progress {
        if let Err(failure) = self.pass_request(from_client) {
            return self.failed(failure);
        }
        loop {
            match self.reply {
                Reply::Head { scanned } => match self.read_head(scanned, to_client) {
                    Ok(true) => {}
                    Ok(false) => return self.without_head(),
                    Err(()) => return Progress::Failed(Answer::UpstreamUnreachable),
                },
                Reply::Body { .. } => return self.pass_reply(to_client),
            }
        }
    }

    fn failed(&self, answer: Answer<'static>) -> Progress {
        match self.reply {
            Reply::Head { .. } => Progress::Failed(answer),
            Reply::Body { .. } => Progress::Broken,
        }
    }

    fn pass_request(&mut self, from_client: &mut Incoming) -> Result<(), Answer<'static>> {
        let Request { body, coding, allowance, .. } = &mut self.request;
        if body.is_done() {
            return Ok(());
        }
        let before = from_client.len();
        match pump(body, *coding, from_client, &mut self.to_upstream, allowance) {
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
        let Some(end) = head::end(self.from_upstream.bytes(), &mut scanned).map_err(drop)? else {
            self.reply = Reply::Head { scanned };
            return Ok(false);
        };
        let bytes = self.from_upstream.bytes().get(..end).unwrap_or_default();
        let response = head::response(bytes).map_err(drop)?;
        // Nobody asked for another protocol: `Upgrade` is not passed on.
        if response.status == 101 {
            return Err(());
        }
        if response.status >= 200 {
            let Request { version, is_head, .. } = self.request;
            let body = framing::response_body(&response.fields, response.version, response.status, is_head);
            let body = body.map_err(drop)?;
            let reusable = response.version == Version::Http11
                && body != Body::UntilClose
                && !response.fields.lists("connection", "close");
            let (sent_as, coding) = match (body, version) {
                (Body::Chunked | Body::UntilClose, Version::Http11) => (Body::Chunked, Coding::Chunked),
                (Body::Chunked | Body::UntilClose, Version::Http10) => (Body::UntilClose, Coding::Plain),
                (Body::Empty | Body::Length(_), _) => (body, Coding::Plain),
            };
            // An answer before the end of the request: what is left of it would have to be read for nothing.
            self.request.keep_alive &= self.request.body.is_done() && version == Version::Http11;
            let framed = Framed { body: sent_as, close: !self.request.keep_alive };
            headers::write_response(&response, framed, to_client.tail());
            self.reply = Reply::Body { reader: Reader::new(body), coding, reusable };
        } else {
            self.reply = Reply::Head { scanned: 0 };
        }
        self.from_upstream.consume(end);
        Ok(true)
    }

    /// What follows while there is no head.
    fn without_head(&mut self) -> Progress {
        match self.upstream {
            Upstream::Wanted { .. } | Upstream::Opening | Upstream::Open { .. } | Upstream::Deaf { .. } => {
                Progress::Waiting
            }
            Upstream::Refused(Unavailable::Down) => Progress::Failed(Answer::HubDown),
            Upstream::Refused(Unavailable::Busy) => Progress::Failed(Answer::Busy),
            Upstream::Ended { reused } => {
                let unheard = self.from_upstream.is_empty() && self.reply == Reply::Head { scanned: 0 };
                let repeatable = self.request.idempotent || !self.to_upstream.has_sent();
                if reused && unheard && repeatable && self.to_upstream.was_kept() {
                    self.to_upstream.rewind();
                    self.upstream = Upstream::Wanted { fresh: true };
                    Progress::Waiting
                } else {
                    Progress::Failed(Answer::UpstreamUnreachable)
                }
            }
        }
    }

    fn pass_reply(&mut self, to_client: &mut Outgoing) -> Progress {
        let Reply::Body { reader, coding, reusable } = &mut self.reply else { return Progress::Waiting };
        let mut no_limit = u64::MAX;
        if pump(reader, *coding, &mut self.from_upstream, to_client, &mut no_limit).is_err() {
            return Progress::Broken;
        }
        let ended = matches!(self.upstream, Upstream::Ended { .. });
        if *reader == Reader::UntilClose && ended && self.from_upstream.is_empty() {
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

enum Stopped {
    Framing(BadFraming),
    TooLarge,
}

/// Moves as much of a body as is there and has room.
fn pump(
    reader: &mut Reader,
    coding: Coding,
    from: &mut Incoming,
    to: &mut Outgoing,
    allowance: &mut u64,
) -> Result<(), Stopped> {
    while !from.is_empty() && !reader.is_done() && to.len() < MAX_BUFFER_BYTES {
        let Piece { skip, take } = reader.next(from.bytes()).map_err(Stopped::Framing)?;
        let body_bytes = u64::try_from(take).unwrap_or(u64::MAX);
        *allowance = allowance.checked_sub(body_bytes).ok_or(Stopped::TooLarge)?;
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
