//! Pure: a request as the hub or a module gets it.

use super::{
    HEAD_BYTES, HUB_COOKIE, Names, hub_cookies, is_hop_by_hop, is_our_own, mentions_hub_cookie, names_some,
    write_address, write_field, write_length, write_number,
};
use crate::edge::framing::Body;
use crate::edge::head::{self, Field, Request};
use crate::edge::identity::Caller;
use crate::edge::layer::{self, Layer};
use crate::edge::path::{self, Path};
use crate::manifest::mounts::Mount;
use std::net::{IpAddr, SocketAddr};

/// Written anew from what we know.
static FORWARDING: Names<5> =
    Names::of(["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto"]);

/// Some frameworks take what stands in these for the path that was asked, which would lead around a page that not everybody
/// may see.
static OTHER_PATHS: Names<3> = Names::of(["x-original-uri", "x-original-url", "x-rewrite-url"]);

/// Whether the value of an `Authorization` field is a token that the hub issued for itself.
pub(crate) type IsHubBearer = fn(&[u8]) -> bool;

/// What the edge knows about a request and tells the upstream.
pub(crate) struct Provenance<'a> {
    /// Names the exchange when its client has gone.
    pub(crate) exchange: u64,
    pub(crate) peer: SocketAddr,
    /// What the peer says about its client is believed.
    pub(crate) is_believed: bool,
    pub(crate) layer: Layer,
    /// Who asks, as far as it is known.
    pub(crate) client: IpAddr,
    /// Under which name the client has asked, if that is told by somebody who is believed and is a name of ours. Many
    /// proxies hand on what the client says of it.
    pub(crate) host: Option<&'a str>,
}

/// Who gets a request.
#[derive(Clone, Copy)]
pub(crate) enum Recipient<'a> {
    Hub,
    Module {
        mount: &'a Mount,
        /// The mount as paths spell it.
        spelling: &'a str,
        /// The connection is to become a WebSocket.
        websocket: bool,
        is_hub_bearer: IsHubBearer,
    },
}

/// Appends the request as its recipient gets it.
pub(crate) fn write_request(
    request: &Request<'_>,
    path: &Path<'_>,
    body: Body,
    from: &Provenance<'_>,
    to: Recipient<'_>,
    out: &mut Vec<u8>,
) {
    // As the client sent it, unlike http-api §9.4, where it is the module's own address: frameworks compare it with the
    // `Origin` of a form or a WebSocket, and make of it the addresses of their pages and cookies. The edge has looked at it.
    let host = request.host.map_or("localhost", |host| host.text);
    let prefix = match to {
        Recipient::Module { mount, spelling, .. } if mount.strip => Some(spelling),
        Recipient::Hub | Recipient::Module { .. } => None,
    };
    let is_closed = matches!(to, Recipient::Module { mount, .. } if mount.is_closed());
    out.reserve(HEAD_BYTES);
    let seen = prefix.map_or(&*path.path, |prefix| path::below(&path.path, prefix));
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(seen.as_bytes());
    if let Some(query) = path.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b"\r\n");
    let fields = &request.fields;
    let names_some = names_some(fields);
    for field in fields.iter() {
        let ours =
            field.is("host") || FORWARDING.have(field) || is_our_own(field) || (is_closed && OTHER_PATHS.have(field));
        if ours || is_hop_by_hop(field, fields, names_some) || (!from.is_believed && layer::is_said_by_proxies(field)) {
            continue;
        }
        match to {
            // The hub's reader hangs up on a byte that is not ASCII, and of fields that may have one it reads cookies.
            Recipient::Hub if !field.value.is_ascii() => {
                let cookies = if field.is("cookie") { hub_cookies(field.value) } else { Vec::new() };
                if !cookies.is_empty() {
                    write_field(field.name, &cookies, out);
                }
            }
            Recipient::Module { mount, is_hub_bearer, .. } if !mount.hub_credentials => {
                write_without_hub_credentials(field, is_hub_bearer, out);
            }
            Recipient::Hub | Recipient::Module { .. } => write_field(field.name, field.value, out),
        }
    }
    match body {
        Body::Empty if matches!(request.method, "POST" | "PUT" | "PATCH") => write_field("Content-Length", b"0", out),
        Body::Empty | Body::UntilClose => {}
        Body::Length(length) => write_length(length, out),
        Body::Chunked => write_field("Transfer-Encoding", b"chunked", out),
    }
    write_forwarding(request, host, from, out);
    if let Some(prefix) = prefix {
        write_field("X-Forwarded-Prefix", prefix.as_bytes(), out);
    }
    write_field("X-Parachute-Layer", from.layer.as_str().as_bytes(), out);
    out.extend_from_slice(b"X-Parachute-Client-IP: ");
    write_address(from.client, out);
    out.extend_from_slice(b"\r\n");
    match to {
        // The hub's server holds a thread for every connection that may bring another request.
        Recipient::Hub => {
            out.extend_from_slice(b"X-Parachute-Exchange: ");
            write_number(from.exchange, out);
            out.extend_from_slice(b"\r\nConnection: close\r\n\r\n");
        }
        Recipient::Module { websocket: true, .. } => {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        }
        Recipient::Module { websocket: false, .. } => out.extend_from_slice(b"\r\n"),
    }
}

/// Appends who the hub says that the caller is. Nobody else's fields of these names ever get as far as this.
pub(crate) fn write_caller(caller: &Caller, out: &mut Vec<u8>) {
    let Caller { subject, scope, token_id, proven_at, proof } = caller;
    write_field("X-Parachute-Subject", subject.as_bytes(), out);
    write_field("X-Parachute-Scope", scope.as_bytes(), out);
    write_field("X-Parachute-Token-Id", token_id.as_bytes(), out);
    write_field("X-Parachute-Proof-Time", proven_at.to_string().as_bytes(), out);
    write_field("X-Parachute-Proof", proof.as_bytes(), out);
}

/// A field as a module gets it that has not asked for what authenticates its callers to the hub.
fn write_without_hub_credentials(field: Field<'_>, is_hub_bearer: IsHubBearer, out: &mut Vec<u8>) {
    if field.is("authorization") && is_hub_bearer(field.value) {
        return;
    }
    if !field.is("cookie") || !mentions_hub_cookie(field.value) {
        return write_field(field.name, field.value, out);
    }
    let pairs = field.value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let kept: Vec<&[u8]> = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with(HUB_COOKIE)).collect();
    if !kept.is_empty() {
        write_field(field.name, &kept.join(&b"; "[..]), out);
    }
}

/// The way so far. What somebody claims who is not believed is left out.
fn write_forwarding(request: &Request<'_>, host: &str, from: &Provenance<'_>, out: &mut Vec<u8>) {
    let said = |name| {
        let all = request.fields.all(name).filter(|value| value.is_ascii() && !value.is_empty());
        all.take(if from.is_believed { usize::MAX } else { 0 })
    };
    out.extend_from_slice(b"X-Forwarded-For: ");
    for earlier in said("x-forwarded-for") {
        out.extend_from_slice(earlier);
        out.extend_from_slice(b", ");
    }
    write_address(from.peer.ip(), out);
    out.extend_from_slice(b"\r\n");
    let scheme = said("x-forwarded-proto").flat_map(head::words).next();
    let is_secure = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
    write_field("X-Forwarded-Proto", if is_secure { b"https" } else { b"http" }, out);
    write_field("X-Forwarded-Host", from.host.unwrap_or(host).as_bytes(), out);
    let mut forwarded = said("forwarded").peekable();
    if forwarded.peek().is_some() {
        out.extend_from_slice(b"Forwarded: ");
        for earlier in forwarded {
            out.extend_from_slice(earlier);
            out.extend_from_slice(b", ");
        }
        // An address with colons stands in brackets, and those in quotes (RFC 7239 §6).
        let (before, behind): (&[u8], &[u8]) =
            if from.peer.is_ipv6() { (b"for=\"[", b"]\"\r\n") } else { (b"for=", b"\r\n") };
        out.extend_from_slice(before);
        write_address(from.peer.ip(), out);
        out.extend_from_slice(behind);
    }
}
