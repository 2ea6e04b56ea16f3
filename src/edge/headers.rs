//! Pure: which fields cross the edge, and the one canonical head that is written in either direction.

use super::framing::Body;
use super::head::{Field, Fields, Request, Response};
use super::layer::{self, Layer};
use super::path::Path;
use std::io::Write;
use std::net::SocketAddr;

/// Mean something between two neighbours only (RFC 9110 §7.6.1), or are written anew from what we know.
const NOT_PASSED_ON: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the edge knows about a request and tells the hub.
pub(crate) struct Provenance {
    /// Names the exchange when its client has gone.
    pub(crate) exchange: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) layer: Layer,
}

/// Appends the request as the hub gets it.
pub(crate) fn write_request(request: &Request<'_>, path: &Path<'_>, body: Body, from: &Provenance, out: &mut Vec<u8>) {
    let host = request.host.unwrap_or("localhost");
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.path.as_bytes());
    if let Some(query) = path.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(host.as_bytes());
    out.extend_from_slice(b"\r\n");
    let fields = &request.fields;
    let names_some = fields.has("connection");
    for field in fields.iter() {
        let ours = field.is("host") || is_forwarding(field) || starts_with(field.name, "x-parachute-");
        // The hub's reader hangs up on a byte that is not ASCII, and no field that it reads may have one.
        if ours || !field.value.is_ascii() || is_hop_by_hop(field, fields, names_some) {
            continue;
        }
        write_field(field.name, field.value, out);
    }
    match body {
        Body::Empty if matches!(request.method, "POST" | "PUT" | "PATCH") => write_field("Content-Length", b"0", out),
        Body::Empty | Body::UntilClose => {}
        Body::Length(length) => write_length(length, out),
        Body::Chunked => write_field("Transfer-Encoding", b"chunked", out),
    }
    write_forwarding(request, host, from, out);
    // The hub's server holds a thread for every connection that may bring another request.
    // Writing to a Vec cannot fail.
    let _ = write!(
        out,
        "X-Parachute-Exchange: {}\r\nX-Parachute-Peer: {}\r\nX-Parachute-Layer: {}\r\nConnection: close\r\n\r\n",
        from.exchange,
        from.peer,
        from.layer.as_str()
    );
}

/// The way so far. Only a proxy on this machine is believed; what anybody else claims is left out.
fn write_forwarding(request: &Request<'_>, host: &str, from: &Provenance, out: &mut Vec<u8>) {
    let trusted = layer::is_loopback(from.peer.ip());
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

/// Appends the head of an answer as the client gets it. With an empty body the length that the upstream gave stays,
/// because it is that of the body a GET would have had.
pub(crate) fn write_response(response: &Response<'_>, framed: Framed, out: &mut Vec<u8>) {
    let _ = write!(out, "HTTP/1.1 {} {}\r\n", response.status, response.reason);
    let fields = &response.fields;
    let names_some = fields.has("connection");
    for field in fields.iter() {
        if !is_hop_by_hop(field, fields, names_some) && !starts_with(field.name, "x-parachute-") {
            write_field(field.name, field.value, out);
        }
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

fn is_hop_by_hop(field: Field<'_>, fields: &Fields<'_>, names_some: bool) -> bool {
    NOT_PASSED_ON.iter().any(|name| field.is(name)) || (names_some && fields.lists("connection", field.name))
}

fn is_forwarding(field: Field<'_>) -> bool {
    field.is("forwarded")
        || field.is("x-forwarded-for")
        || field.is("x-forwarded-proto")
        || field.is("x-forwarded-host")
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
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

    /// The fields that the hub gets, without the two lines that every request has, as `name: value` lines.
    fn passed(peer: &str, fields: &str) -> String {
        let text = format!("GET /a?b HTTP/1.1\r\nHost: Box\r\n{fields}\r\n");
        let request = head::request(text.as_bytes()).expect("a good head");
        let peer: SocketAddr = peer.parse().expect("address");
        let from = Provenance { exchange: 7, peer, layer: layer::of(peer.ip(), &request.fields) };
        let mut out = Vec::new();
        write_request(&request, &path::normalise(request.target).expect("path"), Body::Empty, &from, &mut out);
        let text = String::from_utf8(out).expect("text");
        let rest = text.strip_prefix("GET /a?b HTTP/1.1\r\nHost: Box\r\n").expect("the canonical beginning");
        rest.strip_suffix("\r\n\r\n").expect("an end").replace("\r\n", "\n")
    }

    const LOCAL_END: &str = "X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: Box\n\
        X-Parachute-Exchange: 7\nX-Parachute-Peer: 127.0.0.1:9\nX-Parachute-Layer: loopback\nConnection: close";

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
                 X-Parachute-Exchange: 7\nX-Parachute-Peer: 127.0.0.1:9\nX-Parachute-Layer: public\nConnection: close",
            ),
            (
                "10.0.0.1:9",
                "X-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: Box\n\
                 X-Parachute-Exchange: 7\nX-Parachute-Peer: 10.0.0.1:9\nX-Parachute-Layer: public\nConnection: close",
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
            write_response(&response, Framed { body, close }, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }
}
