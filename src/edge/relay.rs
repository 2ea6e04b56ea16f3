//! Pure: one request on its way to an upstream, and its answer on the way back.

mod asking;
mod collect;
mod flow;
mod reply;
mod tally;
mod waiting;

pub(crate) use collect::HubBound;
#[cfg(test)]
pub(crate) use flow::{LARGE_READ_BYTES, MAX_STREAMS};
pub(crate) use tally::Tally;

use super::access::Entry;
use super::answer::{Answer, Manner};
use super::asks::{Destination, History};
use super::buffer::{Incoming, Outgoing};
use super::date::Date;
use super::denial::Denial;
use super::framing::{Coding, Reader};
use super::head::{self, Version};
use super::identity::Identity;
use super::pace::Pace;
use super::places::Place;
use super::route::Module;
use super::visit::Visiting;
use crate::supervisor::standing::Standing;
use flow::{Stopped, count, pump, splice};
use std::sync::Arc;
use std::time::Instant;

/// What the hub takes. Its largest bodies are module settings; whatever reads them holds them in memory.
pub(crate) const MAX_BODY_BYTES: u64 = 1024 * 1024;
/// What may wait in either direction of a connection: enough for one large write, small times 1,024 connections.
pub(crate) const MAX_BUFFER_BYTES: usize = 64 * 1024;
/// A request that got no answer is sent to at most so many children of its module, one after the other. One that brings
/// its module down each time must not use up the restarts that the module has (design §4).
const MAX_CHILDREN: u32 = 2;
/// The first read of an answer; most are smaller.
const FIRST_READ_BYTES: usize = 8 * 1024;

/// The state of one request.
pub(crate) struct Relay {
    /// Names the exchange towards the hub.
    pub(crate) id: u64,
    pub(crate) request: Request,
    /// Whom it is for; `None`: the hub.
    pub(crate) module: Option<Arc<Module>>,
    /// It is for the hub.
    pub(crate) hub_bound: Option<Box<HubBound>>,
    /// It asks for a WebSocket, and these are the places it takes.
    pub(crate) websocket: Option<Vec<Place>>,
    /// It asks about a token, and this is its place among those that do.
    pub(crate) _introspection: Option<Place>,
    /// The hub is to be asked about its caller.
    pub(crate) identity: Option<Box<Identity>>,
    /// Not everybody may see what it asks for.
    pub(crate) visiting: Option<Box<Visiting>>,
    /// Much has passed already, and this is its place among those that read more at once.
    pub(crate) stream: Option<Place>,
    /// Its place among those who wait for the module.
    pub(crate) waiting: Option<(Place, Place)>,
    /// Until when it waits for the module to come back, however often that goes away again meanwhile.
    pub(crate) hold_until: Option<Instant>,
    pub(crate) upstream: Upstream,
    /// How the module stood when a socket was last asked for.
    pub(crate) tried: Option<Standing>,
    /// How the child stood that it was sent to last, and how many it was sent to.
    pub(crate) sent_to: Option<(Option<Standing>, u32)>,
    pub(crate) repeats: u32,
    /// Interim answers so far.
    pub(crate) interim: u32,
    pub(crate) from_upstream: Incoming,
    pub(crate) to_upstream: Outgoing,
    pub(crate) reply: Reply,
    /// When the request last got on: a part of it came, or was taken by the upstream.
    pub(crate) moved_at: Instant,
    /// How the client sends its body.
    pub(crate) sending: Pace,
    /// When the answer's head was there.
    pub(crate) answered_at: Instant,
    /// Its line in the access log, as far as it is known.
    pub(crate) entry: Option<Box<Entry>>,
    pub(crate) tally: Tally,
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
    /// Requests that may wait for the module at a time.
    pub(crate) most_held: usize,
}

/// The other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// None is wanted before the whole body is there, which it has to be by then.
    Collecting {
        until: Instant,
    },
    /// Asked for; `fresh`: not one that has been used before. `identified`: what the hub says of the caller stands in
    /// the request, for this try.
    Wanted {
        fresh: bool,
        identified: bool,
    },
    /// The module is on its way back, or it has just `failed`, standing like this, and nobody has said what becomes of
    /// it.
    Waiting {
        until: Instant,
        failed: Option<Standing>,
    },
    /// One is wanted once the hub has said who the caller is, which it was asked then.
    Identifying {
        since: Instant,
        fresh: bool,
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
    /// The hub cannot say who the caller is.
    Unidentified,
    /// The caller may not see the page.
    Denied(Denial),
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
        let taken = if self.is_collecting() { 0 } else { self.to_upstream.len() };
        self.room(waiting + taken)
    }

    /// How much of its body has not been passed on; `None` when nobody knows.
    pub(crate) fn lacks(&self) -> Option<u64> {
        match self.request.body {
            Reader::Length { remaining } => Some(remaining),
            Reader::Done => Some(0),
            Reader::Chunked(_) | Reader::UntilClose => None,
        }
    }

    /// Its body is on its way, and nobody else has heard of it.
    pub(crate) fn is_collecting(&self) -> bool {
        matches!(self.upstream, Upstream::Collecting { .. })
    }

    /// How much of the answer to read now.
    pub(crate) fn upstream_room(&self, to_client: usize) -> usize {
        let waiting = self.from_upstream.len();
        match (self.upstream, self.reply) {
            (Upstream::Open { .. } | Upstream::Deaf { .. }, Reply::Head { .. }) => {
                head::MAX_HEAD_BYTES.saturating_sub(waiting).min(FIRST_READ_BYTES)
            }
            (Upstream::Open { .. } | Upstream::Deaf { .. }, Reply::Body { .. } | Reply::Tunnel) => {
                self.room(waiting + to_client)
            }
            (
                Upstream::Collecting { .. }
                | Upstream::Wanted { .. }
                | Upstream::Waiting { .. }
                | Upstream::Identifying { .. }
                | Upstream::Opening { .. }
                | Upstream::Ended { .. }
                | Upstream::Refused(_),
                _,
            ) => 0,
        }
    }

    pub(crate) fn opened(&mut self, reused: bool) {
        self.upstream = Upstream::Open { reused };
        let children = match self.sent_to {
            Some((last, children)) if last == self.tried => children,
            last => last.map_or(0, |(_, children)| children) + 1,
        };
        self.sent_to = Some((self.tried, children));
        // A socket that was idle may have been closed without anybody's fault, and a module may be restarted under its
        // callers: then another try is due, and this is what it takes. A child on its way down may hang up on both.
        if reused || (self.module.is_some() && self.request.idempotent && children < MAX_CHILDREN) {
            self.to_upstream.keep_sent();
        } else {
            self.to_upstream.forget_sent();
        }
    }

    /// As many children as may be have had it, and the last of them is not there any more.
    pub(super) fn has_worn_out(&self) -> bool {
        self.sent_to.is_some_and(|(last, children)| children >= MAX_CHILDREN && self.standing() != last)
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

    /// Moves what can be moved. An answer that begins now, at `date`, says so.
    pub(crate) fn advance(
        &mut self,
        (now, date): (Instant, Option<Date>),
        from_client: &mut Incoming,
        to_client: &mut Outgoing,
    ) -> Progress {
        if let Err(failure) = self.pass_request(from_client).and_then(|()| self.collect()) {
            return self.failed(failure);
        }
        if let Some(failure) = self.look_again(now) {
            return Progress::Failed(failure);
        }
        loop {
            match self.reply {
                Reply::Head { scanned } => match self.read_head(scanned, date, to_client) {
                    // A whole interim answer is a sign of life, and each has the time for a head.
                    Ok(true) => (self.moved_at, self.answered_at) = (now, now),
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

    /// How its failure is told; of the module nobody hears who was not let in.
    pub(crate) fn manner(&self, close: bool, date: Option<Date>) -> Manner<'_> {
        let (visiting, is_let_in) = (self.visiting.as_deref(), self.is_let_in());
        Manner {
            head_only: self.request.is_head,
            close,
            date,
            html: self.request.wants_html && is_let_in,
            module: self.module.as_ref().filter(|_| is_let_in).map(|module| module.mount.short.as_str()),
            page: visiting.and_then(|visiting| visiting.page.as_deref()),
            lacks: visiting.and_then(|visiting| visiting.lacks.as_deref()),
        }
    }

    /// Only the end of the connection tells the client where the answer ends.
    pub(crate) fn is_delimited_by_close(&self) -> bool {
        matches!(self.reply, Reply::Body { reader: Reader::Chunked(_) | Reader::UntilClose, coding: Coding::Plain, .. })
    }

    /// Whether the client may know the end of its body by that of the connection alone.
    pub(crate) fn has_no_mark_at_its_end(&self) -> bool {
        matches!(self.reply, Reply::Body { coding: Coding::Plain, .. })
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
        let most = if self.is_collecting() { usize::MAX } else { MAX_BUFFER_BYTES };
        let Request { body, coding, limit_bytes, .. } = &mut self.request;
        if body.is_done() {
            return Ok(());
        }
        let before = from_client.len();
        let moved = &mut self.tally.request_bytes;
        match pump(body, *coding, from_client, (&mut self.to_upstream, most), moved, *limit_bytes) {
            Ok(()) => {}
            Err(Stopped::Framing(bad)) => return Err(Answer::BadFraming(bad)),
            Err(Stopped::TooLarge) => return Err(Answer::BodyTooLarge { limit_bytes: *limit_bytes }),
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
}
