//! Pure: what a whole head leads to: a request on its way, or an answer of our own.

use super::answer::{self, Answer, Manner};
use super::buffer::{Incoming, Outgoing};
use super::exchange::Rules;
use super::framing::{self, Body, Coding, Reader};
use super::head::{self, Request, Version};
use super::headers::{self, Provenance, Recipient};
use super::layer;
use super::path;
use super::places::Place;
use super::relay::{self, MAX_BODY_BYTES, Relay, Reply, Upstream};
use super::route::{self, Target};
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
    let mut refuse = |answer: Answer<'_>, head_only: bool, keep: bool| {
        answer.write(Manner { head_only, close: !keep, ..Manner::default() }, to_client);
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
    let module = match route::target(&rules.hosts, &rules.table, layer, request.host, &path.path) {
        Target::Hub => None,
        Target::Module(module) => Some(module),
        Target::Refuse(route::Refusal::ForeignHost) => return refuse(Answer::ForeignHost(request.host), is_head, keep),
    };
    let allowance = if module.is_none() { MAX_BODY_BYTES } else { u64::MAX };
    if matches!(body, Body::Length(length) if length > allowance) {
        return refuse(Answer::BodyTooLarge, is_head, false);
    }
    let websocket = match &module {
        Some(module) if asks_for_websocket(&request, body) => {
            if !module.mount.websocket {
                return refuse(Answer::NoWebSocket, is_head, keep);
            }
            match websocket_place(rules, &request, peer) {
                Some(places) => Some(places),
                None => return refuse(Answer::TooManyWebSockets, is_head, keep),
            }
        }
        // The hub has none: the request is one like any other.
        Some(_) | None => None,
    };
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
    let recipient = match &module {
        None => Recipient::Hub,
        Some(module) => Recipient::Module {
            mount: &module.mount,
            spelling: &module.spelling,
            websocket: websocket.is_some(),
            is_hub_bearer: rules.settings.is_hub_bearer,
        },
    };
    let from = Provenance { exchange: id, peer, layer };
    let mut to_upstream = Outgoing::default();
    headers::write_request(&request, &path, body, &from, recipient, to_upstream.tail());
    let relay = Relay {
        id,
        request: relay::Request {
            version: request.version,
            is_head,
            idempotent: matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE"),
            keep_alive,
            wants_html: module.is_some() && answer::wants_html(&request.fields),
            body: Reader::new(body),
            coding: if body == Body::Chunked { Coding::Chunked } else { Coding::Plain },
            allowance,
        },
        module,
        websocket,
        waiting: None,
        hold_until: None,
        upstream: Upstream::Wanted { fresh: false },
        tried: None,
        repeats: 0,
        interim: 0,
        from_upstream: Incoming::default(),
        to_upstream,
        reply: Reply::Head { scanned: 0 },
        moved_at: now,
    };
    Begun::Relaying(Box::new(relay))
}

/// RFC 6455 §4.1, as far as it is the edge's business.
fn asks_for_websocket(request: &Request<'_>, body: Body) -> bool {
    request.method == "GET"
        && request.version == Version::Http11
        && body == Body::Empty
        && request.fields.lists("upgrade", "websocket")
        && request.fields.lists("connection", "upgrade")
}

/// A place among all WebSockets and one among those of this client.
fn websocket_place(rules: &mut Rules, request: &Request<'_>, peer: SocketAddr) -> Option<Vec<Place>> {
    let client = layer::client_ip(peer.ip(), &request.fields);
    let overall = rules.websockets.take(rules.settings.limits.websockets)?;
    let of_client = rules.websockets_of.take(client, rules.settings.limits.websockets_per_ip)?;
    Some(vec![overall, of_client])
}
