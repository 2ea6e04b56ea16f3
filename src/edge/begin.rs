//! Pure: what a whole head leads to: a request on its way, or an answer of our own.

use super::access::Outcome;
use super::answer::{self, Answer, Manner};
use super::buffer::{Incoming, Outgoing};
use super::denial::Denial;
use super::framing::{self, Body, Coding, Reader};
use super::head::{self, Request, Version};
use super::headers::{self, Provenance, Recipient};
use super::identity::Identity;
use super::initiator;
use super::layer::{self, Layer};
use super::pace::Pace;
use super::path;
use super::places::Place;
use super::relay::{self, HubBound, MAX_BODY_BYTES, Relay, Reply, Tally, Upstream};
use super::route::{self, Module, Target};
use super::rules::Rules;
use super::visit::{self, Owed, Visit, Visiting};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Where programs on this machine ask about tokens. Nobody else is answered there, so only their questions count.
const INTROSPECTION: &str = "/oauth/introspect";

/// Lets a client send the body that it has announced.
const GO_AHEAD: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a head leads to.
pub(crate) enum Begun {
    Relaying(Box<Relay>),
    /// Answered already. `keep`: another request may follow.
    Answered {
        keep: bool,
    },
}

/// A whole head, and where it came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) bytes: &'a [u8],
    /// Bytes behind it are there already.
    pub(crate) has_more: bool,
    pub(crate) peer: SocketAddr,
    /// Its connection has a place that is kept for programs on this machine.
    pub(crate) reserved: bool,
    /// When it began to come.
    pub(crate) since: Instant,
}

/// Why a request goes nowhere.
struct Refused<'a> {
    answer: Answer<'a>,
    head_only: bool,
    /// Another request may follow.
    keep: bool,
    /// The path of whoever is sent away and would read why.
    page: Option<String>,
}

/// What follows from a whole head.
pub(crate) fn begin(head: Head<'_>, now: Instant, rules: &mut Rules, to_client: &mut Vec<u8>) -> Begun {
    let (entry, sent_on) = match head::request(head.bytes) {
        Ok(request) => {
            let client = rules.settings.proxies.client_ip(head.peer.ip(), &request.fields);
            let entry = rules.journal.open(&request, head.peer, client, head.since);
            (entry, send_on(&request, head, client, now, rules, to_client))
        }
        Err(bad) => {
            let entry = rules.journal.open_unread(head.bytes, head.peer, head.since);
            let head_only = head::is_of_head_request(head.bytes);
            (entry, Err(Refused { answer: Answer::BadHead(bad), head_only, keep: false, page: None }))
        }
    };
    match sent_on {
        Ok(mut relay) => {
            relay.entry = entry;
            Begun::Relaying(relay)
        }
        Err(Refused { answer, head_only, keep, page }) => {
            let page = page.as_deref();
            let manner = Manner { head_only, close: !keep, date: rules.date, page, ..Manner::default() };
            let bytes = answer.write(manner, to_client);
            rules.journal.close(entry, &Outcome::of_edge(answer, None, bytes), now);
            Begun::Answered { keep }
        }
    }
}

/// Finds out whom a request is for and writes it anew for them, if nothing is against it. `client` is who asks.
fn send_on<'a>(
    request: &Request<'a>,
    head: Head<'_>,
    client: IpAddr,
    now: Instant,
    rules: &mut Rules,
    to_client: &mut Vec<u8>,
) -> Result<Box<Relay>, Refused<'a>> {
    let is_head = request.method == "HEAD";
    let refuse = |answer: Answer<'a>, keep: bool| Refused { answer, head_only: is_head, keep, page: None };
    let body = framing::request_body(&request.fields, request.version)
        .map_err(|bad| refuse(Answer::BadFraming(bad), false))?;
    // A 1.0 client that knows more has to say so, and none that matters does.
    let keep_alive = request.version == Version::Http11 && !request.fields.lists("connection", "close");
    let keep = keep_alive && body == Body::Empty;
    let path = path::normalise(request.target).map_err(|bad| refuse(Answer::BadPath(bad), keep))?;
    let layer = rules.settings.proxies.layer(head.peer.ip(), &request.fields);
    if head.reserved && layer != Layer::Loopback {
        rules.refused += 1;
        return Err(refuse(Answer::Busy, false));
    }
    let module = match route::target(&rules.hosts, &rules.table, layer, request.host.map(|host| host.name), &path.path)
    {
        Target::Hub => None,
        Target::Module(module) => Some(module).filter(|module| !module.misses_suffix(request.method, &path.path)),
        Target::Refuse(route::Refusal::ForeignHost) => {
            return Err(refuse(Answer::ForeignHost(request.host.map(|host| host.text)), keep));
        }
    };
    let limits = &rules.settings.limits;
    let limit_bytes = if module.is_none() { MAX_BODY_BYTES } else { limits.module_body_bytes.unwrap_or(u64::MAX) };
    let most_held = limits.held;
    if matches!(body, Body::Length(length) if length > limit_bytes) {
        return Err(refuse(Answer::BodyTooLarge { limit_bytes }, false));
    }
    let becomes_websocket = asks_for_websocket(request, body);
    // A module for this machine may trust whoever reaches it, and any page can have a browser try.
    let is_for_here = module.as_ref().is_some_and(|module| module.mount.local_only);
    let can_change = becomes_websocket || !matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
    if is_for_here && can_change && initiator::is_foreign(&rules.hosts, request) {
        return Err(refuse(Answer::ForeignPage, keep));
    }
    let page = || visit::wants_page(request).then(|| path.path.clone().into_owned());
    let send_away = |why| Refused { page: page(), ..refuse(Answer::Denied(why), keep) };
    let needs = module.as_ref().and_then(|module| module.needs(&path.path));
    let visit = needs.map(|needs| Visit::of(request, needs, can_change));
    let visit = visit.map(|visit| visit.ok_or_else(|| send_away(Denial::Unauthenticated))).transpose()?;
    let websocket = match &module {
        // Its places are taken once it is let in.
        Some(_) if becomes_websocket && visit.is_some() => Some(Vec::new()),
        Some(module) if becomes_websocket => {
            Some(websocket_places(rules, module, client).map_err(|answer| refuse(answer, keep))?)
        }
        // The hub has none: the request is one like any other.
        Some(_) | None => None,
    };
    let introspection = if module.is_none() && layer == Layer::Loopback && path.path == INTROSPECTION {
        // More are told to come again (operator-token B9).
        let place = rules.introspections.take(rules.settings.limits.introspections);
        Some(place.ok_or_else(|| refuse(Answer::Busy, keep))?)
    } else {
        None
    };
    let mut expectations = request.fields.all("expect");
    let expects = expectations.next();
    if expects.is_some_and(|value| !value.eq_ignore_ascii_case(b"100-continue")) || expectations.next().is_some() {
        return Err(refuse(Answer::Expectation, keep));
    }
    let go_ahead = expects.is_some() && body != Body::Empty && !head.has_more && request.version == Version::Http11;
    let visiting = visit.is_some().then(|| {
        let owed = Owed { websocket: becomes_websocket.then_some(client), go_ahead };
        Box::new(Visiting { page: page(), owed: Some(owed), ..Visiting::default() })
    });
    if go_ahead && visiting.is_none() {
        to_client.extend_from_slice(GO_AHEAD);
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
    let is_believed = rules.settings.proxies.believe(head.peer.ip());
    let told = request.fields.first("x-forwarded-host").filter(|_| is_believed);
    let host = told.and_then(|host| rules.hosts.own(host));
    let from = Provenance { exchange: id, peer: head.peer, is_believed, layer, client, host };
    let mut to_upstream = Outgoing::default();
    headers::write_request(request, &path, body, &from, recipient, to_upstream.tail());
    let is_asked = |module: &&Arc<Module>| module.mount.proof_headers || visit.is_some();
    let identity = module.as_ref().filter(is_asked).and_then(|module| {
        let (shown, is_to_tell) = (request.fields.all("authorization"), module.mount.proof_headers);
        Identity::new(module.mount.process.clone(), shown, is_to_tell, visit, to_upstream.pending()).map(Box::new)
    });
    if visiting.is_some() && identity.is_none() {
        return Err(send_away(Denial::Unavailable));
    }
    let hub_bound = module.is_none().then(|| {
        let caller = (layer != Layer::Loopback).then_some(client);
        Box::new(HubBound { caller, places: None, large_bodies: rules.large_bodies.clone(), large: None })
    });
    let upstream = if hub_bound.is_some() && body != Body::Empty {
        Upstream::Collecting { until: now + rules.settings.limits.hub_body_timeout }
    } else {
        Upstream::Wanted { fresh: false, identified: false }
    };
    Ok(Box::new(Relay {
        id,
        request: relay::Request {
            version: request.version,
            is_head,
            idempotent: matches!(request.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE"),
            keep_alive,
            wants_html: module.is_some() && answer::wants_html(&request.fields),
            body: Reader::new(body),
            coding: if body == Body::Chunked { Coding::Chunked } else { Coding::Plain },
            limit_bytes,
            most_held,
        },
        module,
        hub_bound,
        websocket,
        _introspection: introspection,
        identity,
        visiting,
        stream: None,
        waiting: None,
        hold_until: None,
        upstream,
        tried: None,
        sent_to: None,
        repeats: 0,
        interim: 0,
        from_upstream: Incoming::default(),
        to_upstream,
        reply: Reply::Head { scanned: 0 },
        moved_at: now,
        sending: Pace::new(now),
        answered_at: now,
        entry: None,
        tally: Tally::default(),
    }))
}

/// Does what was put off until the hub has let the request in; an answer is why that is in vain.
pub(crate) fn go_on(relay: &mut Relay, rules: &mut Rules, to_client: &mut Vec<u8>) -> Result<(), Answer<'static>> {
    let Some(Owed { websocket, go_ahead }) = relay.visiting.as_mut().and_then(|visiting| visiting.owed.take()) else {
        return Ok(());
    };
    if let (Some(client), Some(module)) = (websocket, &relay.module) {
        relay.websocket = Some(websocket_places(rules, module, client)?);
    }
    if go_ahead {
        to_client.extend_from_slice(GO_AHEAD);
    }
    Ok(())
}

/// RFC 6455 §4.1, as far as it is the edge's business.
fn asks_for_websocket(request: &Request<'_>, body: Body) -> bool {
    request.method == "GET"
        && request.version == Version::Http11
        && body == Body::Empty
        && request.fields.lists("upgrade", "websocket")
        && request.fields.lists("connection", "upgrade")
}

/// A place among all WebSockets and one among those of this client, if the module takes any.
fn websocket_places(rules: &mut Rules, module: &Module, client: IpAddr) -> Result<Vec<Place>, Answer<'static>> {
    if !module.mount.websocket {
        return Err(Answer::NoWebSocket);
    }
    let mut take = || {
        let client = layer::network(client);
        let overall = rules.websockets.take(rules.settings.limits.websockets)?;
        let of_client = rules.websockets_of.take(client, rules.settings.limits.websockets_per_ip)?;
        Some(vec![overall, of_client])
    };
    take().ok_or(Answer::TooManyWebSockets)
}
