//! Pure: which fields cross the edge, and the one canonical head that is written in either direction.

use super::framing::Body;
use super::head::{Field, Fields, Request, Response};
use super::layer::{self, Layer};
use super::path::Path;
use crate::manifest::mounts::Mount;
use std::io::Write;
use std::net::SocketAddr;

/// Mean something between two neighbours only (RFC 9110 §7.6.1), or are written anew from what we know.
const NOT_PASSED_ON: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    // Belongs to an upgrade to HTTP/2, which is never passed on.
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What only a proxy next to us can know. From anybody else such fields are claims, and are left out.
const SAID_BY_PROXIES: [&str; 9] = [
    "cf-connecting-ip",
    "cf-ray",
    "tailscale-funnel-request",
    "tailscale-user-login",
    "tailscale-user-name",
    "tailscale-user-profile-pic",
    "true-client-ip",
    "x-forwarded-port",
    "x-real-ip",
];
/// Written anew from what we know.
const FORWARDING: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-prefix", "x-forwarded-proto"];
/// The beginning of the hub's cookies' names.
const HUB_COOKIE: &[u8] = b"parachute_hub_";

/// Room for most heads at once; a longer one grows it.
const HEAD_BYTES: usize = 1024;

/// Whether the value of an `Authorization` field is a token that the hub issued for itself.
pub(crate) type IsHubBearer = fn(&[u8]) -> bool;

/// What the edge knows about a request and tells the upstream.
pub(crate) struct Provenance {
    /// Names the exchange when its client has gone.
    pub(crate) exchange: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) layer: Layer,
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
    from: &Provenance,
    to: Recipient<'_>,
    out: &mut Vec<u8>,
) {
    let host = request.host.unwrap_or("localhost");
    let prefix = match to {
        Recipient::Module { mount, spelling, .. } if mount.strip => Some(spelling),
        Recipient::Hub | Recipient::Module { .. } => None,
    };
    out.reserve(HEAD_BYTES);
    let rest = prefix.and_then(|prefix| path.path.strip_prefix(prefix)).unwrap_or(&path.path);
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(if rest.is_empty() { b"/" } else { rest.as_bytes() });
    if let Some(query) = path.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b"\r\n");
    let fields = &request.fields;
    let names_some = fields.has("connection");
    let trusted = layer::is_loopback(from.peer.ip());
    for field in fields.iter() {
        let ours = field.is("host") || is_one_of(field, &FORWARDING) || is_our_own(field);
        if ours || is_hop_by_hop(field, fields, names_some) || (!trusted && is_one_of(field, &SAID_BY_PROXIES)) {
            continue;
        }
        match to {
            // The hub's reader hangs up on a byte that is not ASCII, and no field that it reads may have one.
            Recipient::Hub if !field.value.is_ascii() => {}
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
    write_forwarding(request, host, from, trusted, out);
    if let Some(prefix) = prefix {
        write_field("X-Forwarded-Prefix", prefix.as_bytes(), out);
    }
    // Writing to a Vec cannot fail.
    let _ = write!(out, "X-Parachute-Layer: {}\r\n", from.layer.as_str());
    let _ = match to {
        // The hub's server holds a thread for every connection that may bring another request.
        Recipient::Hub => write!(
            out,
            "X-Parachute-Exchange: {}\r\nX-Parachute-Peer: {}\r\nConnection: close\r\n\r\n",
            from.exchange, from.peer
        ),
        Recipient::Module { websocket, .. } => {
            let upgrade = if websocket { "Connection: Upgrade\r\nUpgrade: websocket\r\n" } else { "" };
            write!(out, "X-Parachute-Client-IP: {}\r\n{upgrade}\r\n", layer::client_ip(from.peer.ip(), fields))
        }
    };
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

fn mentions_hub_cookie(value: &[u8]) -> bool {
    value.windows(HUB_COOKIE.len()).any(|part| part == HUB_COOKIE)
}

/// The way so far. Only a proxy on this machine is believed, which is `trusted`; what anybody else claims is left out.
fn write_forwarding(request: &Request<'_>, host: &str, from: &Provenance, trusted: bool, out: &mut Vec<u8>) {
    let said = |name: &str| {
        let value = if trusted { request.fields.first(name) } else { None };
        value.filter(|value| value.is_ascii() && !value.is_empty())
    };
    out.extend_from_slice(b"X-Forwarded-For: ");
    if trusted {
        for earlier in request.fields.all("x-forwarded-for").filter(|value| value.is_ascii() && !value.is_empty()) {
            out.extend_from_slice(earlier);
            out.extend_from_slice(b", ");
        }
    }
    let _ = write!(out, "{}\r\n", from.peer.ip());
    write_field("X-Forwarded-Proto", said("x-forwarded-proto").unwrap_or(b"http"), out);
    write_field("X-Forwarded-Host", said("x-forwarded-host").unwrap_or(host.as_bytes()), out);
    if let Some(forwarded) = said("forwarded") {
        write_field("Forwarded", forwarded, out);
    }
}

/// What the client is told about the connection and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Framed {
    pub(crate) body: Body,
    /// The connection ends after this answer.
    pub(crate) close: bool,
}

/// Whose answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    Hub,
    Module,
}

/// Appends the head of an answer as the client gets it. With an empty body the length that the upstream gave stays,
/// because it is that of the body a GET would have had.
pub(crate) fn write_response(response: &Response<'_>, framed: Framed, by: Author, out: &mut Vec<u8>) {
    out.reserve(HEAD_BYTES);
    write_passed_on(response, by, out);
    let fields = &response.fields;
    if by == Author::Module && is_html(fields) {
        write_safety(fields, out);
    }
    match framed.body {
        Body::Empty => {
            let length = fields.first("content-length");
            if let Some(length) = length.filter(|_| response.status != 204) {
                write_field("Content-Length", length, out);
            }
        }
        Body::Length(length) => write_length(length, out),
        Body::Chunked => write_field("Transfer-Encoding", b"chunked", out),
        Body::UntilClose => {}
    }
    if framed.close {
        write_field("Connection", b"close", out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of the answer with which a connection becomes a WebSocket.
pub(crate) fn write_switch(response: &Response<'_>, out: &mut Vec<u8>) {
    write_passed_on(response, Author::Module, out);
    out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
}

/// The status and the fields that are the upstream's to say.
fn write_passed_on(response: &Response<'_>, by: Author, out: &mut Vec<u8>) {
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", response.status, response.reason);
    let fields = &response.fields;
    let names_some = fields.has("connection");
    for field in fields.iter() {
        let forged = by == Author::Module && sets_hub_cookie(field);
        if !forged && !is_hop_by_hop(field, fields, names_some) && !is_our_own(field) {
            write_field(field.name, field.value, out);
        }
    }
}

fn is_html(fields: &Fields<'_>) -> bool {
    let kind = fields.first("content-type").and_then(|value| value.get(.."text/html".len()));
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/html"))
}

/// All modules share one origin: none is shown inside a foreign page, nor taken for another type, unless it says so.
fn write_safety(fields: &Fields<'_>, out: &mut Vec<u8>) {
    if !fields.has("x-content-type-options") {
        write_field("X-Content-Type-Options", b"nosniff", out);
    }
    if !fields.has("content-security-policy") && !fields.has("x-frame-options") {
        write_field("Content-Security-Policy", b"frame-ancestors 'self'", out);
    }
}

fn is_hop_by_hop(field: Field<'_>, fields: &Fields<'_>, names_some: bool) -> bool {
    is_one_of(field, &NOT_PASSED_ON) || (names_some && fields.lists("connection", field.name))
}

/// A module that sets the hub's cookies would log its visitors in or out of the hub. Browsers send a cookie without a
/// name as its bare value, which can look like any other.
fn sets_hub_cookie(field: Field<'_>) -> bool {
    let is_padding = |byte: &u8| matches!(byte, b'=' | b' ' | b'\t');
    let start = field.value.iter().position(|byte| !is_padding(byte)).unwrap_or_default();
    field.is("set-cookie") && field.value.get(start..).is_some_and(|cookie| cookie.starts_with(HUB_COOKIE))
}

fn is_our_own(field: Field<'_>) -> bool {
    const PREFIX: &str = "x-parachute-";
    field.name.get(..PREFIX.len()).is_some_and(|start| is_alike(start, PREFIX))
}

fn is_one_of(field: Field<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| is_alike(field.name, name))
}

/// Whether `name` could be taken for `ours`. Servers that hand fields on as variables (CGI, WSGI, PHP) make the same of
/// a hyphen and of an underscore, so that `X_Forwarded_For` would be heard where we have taken `X-Forwarded-For` away.
fn is_alike(name: &str, ours: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == ours.len() && name.bytes().zip(ours.bytes()).all(|(a, b)| plain(a) == b)
}

fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    let _ = write!(out, "Content-Length: {length}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::{head, path};
    use crate::manifest::{Port, Short};
    use std::time::Duration;

    /// The fields that the hub gets, without the two lines that every request has, as `name: value` lines.
    fn passed(peer: &str, fields: &str) -> String {
        let text = String::from_utf8(written("/a?b", peer, fields, Recipient::Hub)).expect("text");
        let rest = text.strip_prefix("GET /a?b HTTP/1.1\r\nHost: Box\r\n").expect("the canonical beginning");
        rest.strip_suffix("\r\n\r\n").expect("an end").replace("\r\n", "\n")
    }

    fn written(target: &str, peer: &str, fields: &str, to: Recipient<'_>) -> Vec<u8> {
        let text = format!("GET {target} HTTP/1.1\r\nHost: Box\r\n{fields}\r\n");
        let request = head::request(text.as_bytes()).expect("a good head");
        let peer: SocketAddr = peer.parse().expect("address");
        let from = Provenance { exchange: 7, peer, layer: layer::of(peer.ip(), &request.fields) };
        let mut out = Vec::new();
        write_request(&request, &path::normalise(request.target).expect("path"), Body::Empty, &from, to, &mut out);
        out
    }

    fn mount(strip: bool, hub_credentials: bool) -> Mount {
        Mount {
            path: "/wi ki".to_owned(),
            short: Short::parse("wiki").expect("a short"),
            process: Short::parse("wiki").expect("a short"),
            port: Port::new(2000).expect("a port"),
            strip,
            local_only: false,
            websocket: false,
            hold: Duration::ZERO,
            hub_credentials,
        }
    }

    /// The request that a module gets, from this machine.
    fn for_module(target: &str, fields: &str, mount: &Mount, websocket: bool) -> String {
        let to =
            Recipient::Module { mount, spelling: "/wi%20ki", websocket, is_hub_bearer: |value| value == b"Bearer hub" };
        String::from_utf8_lossy(&written(target, "127.0.0.1:9", fields, to)).replace("\r\n", "\n")
    }

    #[test]
    fn a_module_sees_its_own_paths() {
        for (target, strip, first, prefix) in [
            ("/wi%20ki/a?b=/wi", false, "GET /wi%20ki/a?b=/wi HTTP/1.1", None),
            ("/wi%20ki/a?b", true, "GET /a?b HTTP/1.1", Some("/wi%20ki")),
            ("/wi%20ki", true, "GET / HTTP/1.1", Some("/wi%20ki")),
            ("/wi%20ki/", true, "GET / HTTP/1.1", Some("/wi%20ki")),
            ("/wi%20ki?x", true, "GET /?x HTTP/1.1", Some("/wi%20ki")),
        ] {
            let request = for_module(target, "X-Forwarded-Prefix: /forged\r\n", &mount(strip, false), false);
            assert_eq!(request.lines().next(), Some(first), "{target}");
            let line = request.lines().find(|line| line.starts_with("X-Forwarded-Prefix"));
            assert_eq!(line.and_then(|line| line.strip_prefix("X-Forwarded-Prefix: ")), prefix, "{target}");
        }
    }

    #[test]
    fn what_authenticates_to_the_hub_stays_with_the_hub() {
        for (fields, open, expected) in [
            ("Authorization: Bearer hub\r\n", false, ""),
            ("Authorization: Bearer hub\r\n", true, "Authorization: Bearer hub\n"),
            ("authorization: Bearer own\r\n", false, "authorization: Bearer own\n"),
            ("Cookie: a=1; parachute_hub_session=x;b=2\r\n", false, "Cookie: a=1; b=2\n"),
            ("Cookie: parachute_hub_csrf=x\r\n", false, ""),
            ("Cookie: parachute_hub_csrf=x; a=1\r\n", true, "Cookie: parachute_hub_csrf=x; a=1\n"),
            ("Cookie: a=parachute_hub_; b=\r\n", false, "Cookie: a=parachute_hub_; b=\n"),
            ("X-Text: caf\u{e9}\r\n", false, "X-Text: caf\u{e9}\n"),
        ] {
            let request = for_module("/wi%20ki", fields, &mount(false, open), false);
            let expected = format!(
                "GET /wi%20ki HTTP/1.1\nHost: Box\n{expected}X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\n\
                 X-Forwarded-Host: Box\nX-Parachute-Layer: loopback\nX-Parachute-Client-IP: 127.0.0.1\n\n"
            );
            assert_eq!(request, expected, "{fields:?}");
        }
    }

    #[test]
    fn a_websocket_is_asked_for_in_our_own_words() {
        let fields = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
        let request = for_module("/wi%20ki", fields, &mount(false, false), true);
        assert!(request.contains("\nSec-WebSocket-Key: k\n"), "{request}");
        assert!(request.ends_with("\nConnection: Upgrade\nUpgrade: websocket\n\n"), "{request}");
        let plain = for_module("/wi%20ki", fields, &mount(false, false), false);
        assert!(!plain.contains("Upgrade"), "{plain}");
        let response = head::response(
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
              Set-Cookie: parachute_hub_session=x\r\nSec-WebSocket-Accept: a\r\n\r\n",
        );
        let mut out = Vec::new();
        write_switch(&response.expect("a good head"), &mut out);
        let expected = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a\r\nConnection: Upgrade\r\n\
            Upgrade: websocket\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn what_only_a_proxy_can_know_is_believed_from_this_machine_only() {
        let fields = "X-Real-IP: 1.2.3.4\r\nCF-Connecting-IP: 1.2.3.4\r\nTailscale-User-Login: a@b\r\n";
        let mount = mount(false, false);
        let to = Recipient::Module { mount: &mount, spelling: "/wi%20ki", websocket: false, is_hub_bearer: |_| false };
        for (peer, kept, client) in [("127.0.0.1:9", 3, "1.2.3.4"), ("10.0.0.1:9", 0, "10.0.0.1")] {
            let text = String::from_utf8(written("/x", peer, fields, to)).expect("text");
            let said = text.lines().filter(|line| fields.contains(line) && line.contains(": ")).count();
            assert_eq!(said, kept, "{peer}: {text}");
            assert!(text.contains(&format!("X-Parachute-Client-IP: {client}\r\n")), "{peer}: {text}");
        }
    }

    #[test]
    fn pages_of_modules_are_kept_out_of_foreign_frames() {
        for (fields, by, expected) in [
            ("Content-Type: text/html\r\n", Author::Module, 2),
            ("Content-Type: Text/HTML; charset=x\r\n", Author::Module, 2),
            ("Content-Type: text/html\r\n", Author::Hub, 0),
            ("Content-Type: text/plain\r\n", Author::Module, 0),
            ("Content-Type: text/html\r\nX-Frame-Options: DENY\r\n", Author::Module, 1),
            (
                "Content-Type: text/html\r\nContent-Security-Policy: x\r\nX-Content-Type-Options: nosniff\r\n",
                Author::Module,
                0,
            ),
        ] {
            let head = format!(
                "HTTP/1.1 200 OK\r\n{fields}Set-Cookie: parachute_hub_session=x\r\nSet-Cookie: a=b\r\n\
                    set-cookie: =parachute_hub_session=y\r\nSet-Cookie: = = parachute_hub_csrf\r\n\r\n"
            );
            let response = head::response(head.as_bytes()).expect("a good head");
            let mut out = Vec::new();
            write_response(&response, Framed { body: Body::UntilClose, close: false }, by, &mut out);
            let text = String::from_utf8(out).expect("text");
            let added = text.lines().filter(|line| !head.contains(line)).count();
            assert_eq!(added, expected, "{fields:?}: {text}");
            assert_eq!(text.contains("parachute_hub_"), by == Author::Hub, "{text}");
            assert!(text.contains("Set-Cookie: a=b\r\n"), "{text}");
        }
    }

    const LOCAL_END: &str = "X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: Box\n\
        X-Parachute-Layer: loopback\nX-Parachute-Exchange: 7\nX-Parachute-Peer: 127.0.0.1:9\nConnection: close";

    #[test]
    fn only_end_to_end_fields_reach_the_hub() {
        for (fields, expected) in [
            ("", ""),
            ("Accept: */*\r\nCookie: a=b\r\n", "Accept: */*\nCookie: a=b\n"),
            (
                "Accept-Encoding: gzip\r\nAuthorization: Bearer x\r\n",
                "Accept-Encoding: gzip\nAuthorization: Bearer x\n",
            ),
            ("Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-Stay: 2\r\n", "X-Stay: 2\n"),
            ("Connection: a\r\nConnection: b\r\nA: 1\r\nB: 2\r\nC: 3\r\n", "C: 3\n"),
            ("Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: websocket\r\n", ""),
            ("Proxy-Authorization: x\r\nProxy-Authenticate: y\r\nExpect: 100-continue\r\n", ""),
            ("X-Parachute-Layer: loopback\r\nx-parachute-peer: 1\r\nX-PARACHUTE-Exchange: 1\r\n", ""),
            ("X_Forwarded_For: 1.2.3.4\r\nx_parachute_layer: loopback\r\nX-Parachute_Peer: 1\r\n", ""),
            ("Transfer_Encoding: chunked\r\nContent_Length: 5\r\nX_Own: 1\r\n", "X_Own: 1\n"),
            ("Upgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", ""),
            ("X-Text: caf\u{e9}\r\nX-Stay: 2\r\n", "X-Stay: 2\n"),
        ] {
            assert_eq!(passed("127.0.0.1:9", fields), format!("{expected}{LOCAL_END}"), "{fields:?}");
        }
    }

    #[test]
    fn forwarding_fields_are_believed_from_this_machine_only() {
        let said = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\n\
            X-Forwarded-Host: public.example\r\nForwarded: for=1.2.3.4\r\n";
        for (peer, expected) in [
            (
                "127.0.0.1:9",
                "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1\nX-Forwarded-Proto: https\n\
                 X-Forwarded-Host: public.example\nForwarded: for=1.2.3.4\n\
                 X-Parachute-Layer: public\nX-Parachute-Exchange: 7\nX-Parachute-Peer: 127.0.0.1:9\nConnection: close",
            ),
            (
                "10.0.0.1:9",
                "X-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: Box\n\
                 X-Parachute-Layer: public\nX-Parachute-Exchange: 7\nX-Parachute-Peer: 10.0.0.1:9\nConnection: close",
            ),
        ] {
            assert_eq!(passed(peer, said), expected, "{peer}");
        }
    }

    #[test]
    fn an_answer_loses_what_was_meant_for_us() {
        for (head, body, close, expected) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Type: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nContent-Length: 3\r\n\r\n",
                Body::Length(3),
                false,
                "HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: 3\r\n\r\n",
            ),
            (
                "HTTP/1.1 200 Very good\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nX-Parachute-Layer: x\r\n\r\n",
                Body::Chunked,
                true,
                "HTTP/1.1 200 Very good\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"x\"\r\n\r\n",
                Body::Empty,
                false,
                "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n",
            ),
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
                Body::Empty,
                false,
                "HTTP/1.1 204 No Content\r\n\r\n",
            ),
            ("HTTP/1.0 200\r\n\r\n", Body::UntilClose, true, "HTTP/1.1 200 \r\nConnection: close\r\n\r\n"),
        ] {
            let response = head::response(head.as_bytes()).expect("a good head");
            let mut out = Vec::new();
            write_response(&response, Framed { body, close }, Author::Hub, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
