//! Pure: what a whole head leads to: a request on its way, or an answer of our own.

use super::answer::Answer;
use super::buffer::{Incoming, Outgoing};
use super::exchange::Rules;
use super::framing::{self, Body, Coding, Reader};
use super::head::{self, Version};
use super::headers::{self, Provenance};
use super::relay::{self, MAX_BODY_BYTES, Relay, Reply, Upstream};
use super::route::{self, Target};
use super::{layer, path};
use std::net::SocketAddr;
use std::time::Instant;

/// What a head leads to.
pub(crate) enum Begun {
    Relaying(Box<Relay>),
    /// Answered already. `keep`: another request may follow.
    Answered {
        keep: bool,
    },
}

/// What follows from a whole head. `has_more`: bytes behind it are there already.
pub(crate) fn begin(
    bytes: &[u8],
    has_more: bool,
    peer: SocketAddr,
    now: Instant,
    rules: &mut Rules,
    to_client: &mut Vec<u8>,
) -> Begun {
    let mut refuse = |answer: Answer<'_>, is_head: bool, keep: bool| {
        answer.write(is_head, !keep, to_client);
        Begun::Answered { keep }
    };
    let request = match head::request(bytes) {
        Ok(request) => request,
        Err(bad) => return refuse(Answer::BadHead(bad), false, false),
    };
    let is_head = request.method == "HEAD";
    let body = match framing::request_body(&request.fields, request.version) {
        Ok(body) => body,
        Err(bad) => return refuse(Answer::BadFraming(bad), is_head, false),
    };
    // A 1.0 client that knows more has to say so, and none that matters does.
    let keep_alive = request.version == Version::Http11 && !request.fields.lists("connection", "close");
    let keep = keep_alive && body == Body::Empty;
    let path = match path::normalise(request.target) {
        Ok(path) => path,
        Err(bad) => return refuse(Answer::BadPath(bad), is_head, keep),
    };
    let layer = layer::of(peer.ip(), &request.fields);
    match route::target(&rules.hosts, layer, request.host, &path.path) {
        Target::Hub => {}
        Target::Refuse(route::Refusal::ForeignHost) => return refuse(Answer::ForeignHost(request.host), is_head, keep),
    }
    if matches!(body, Body::Length(length) if length > MAX_BODY_BYTES) {
        return refuse(Answer::BodyTooLarge, is_head, false);
    }
    let mut expectations = request.fields.all("expect");
    let expects = expectations.next();
    if expects.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) || expectations.next().is_some() {
        return refuse(Answer::Expectation, is_head, keep);
    }
    if expects.is_some() && body != Body::Empty && !has_more && request.version == Version::Http11 {
        to_client.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    rules.last_exchange += 1;
    let id = rules.last_exchange;
    let mut to_upstream = Outgoing::default();
    headers::write_request(&request, &path, body, &Provenance { exchange: id, peer, layer }, to_upstream.tail());
    let relay = Relay {
        id,
        request: relay::Request {
            version: request.version,
            is_head,
            idempotent: matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE"),
            keep_alive,
            body: Reader::new(body),
            coding: if body == Body::Chunked { Coding::Chunked } else { Coding::Plain },
            allowance: MAX_BODY_BYTES,
        },
        upstream: Upstream::Wanted { fresh: false },
        from_upstream: Incoming::default(),
        to_upstream,
        reply: Reply::Head { scanned: 0 },
        moved_at: now,
    };
    Begun::Relaying(Box::new(relay))
}
