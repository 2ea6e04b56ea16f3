//! Field lines, `Host`, and the fields that must not cross (RFC 9112 §5, §3.2; RFC 9110 §7.2, §7.6.1, §7.8, §10.1.1).

use super::corpus::{BAD, check};
use super::*;

/// Field lines, and what becomes of `GET /a HTTP/1.1` with them and nothing else.
const HOSTS: &[(&str, &[u8], &str)] = &[
    ("plain", b"Host: localhost\r\n", "GET /a"),
    ("no space, other case", b"hOsT:LOCALHOST\r\n", "GET /a"),
    ("space around", b"Host: \t localhost \t\r\n", "GET /a"),
    ("with a port", b"Host: localhost:1939\r\n", "GET /a"),
    ("with a dot at the end", b"Host: localhost.\r\n", "GET /a"),
    ("an address", b"Host: 127.0.0.1:80\r\n", "GET /a"),
    ("an IPv6 address", b"Host: [::1]:80\r\n", "GET /a"),
    ("an IPv4 address inside IPv6", b"Host: [::ffff:127.0.0.1]\r\n", "GET /a"),
    ("none", b"X: y\r\n", BAD),
    ("empty", b"Host:\r\n", BAD),
    ("two that are the same", b"Host: localhost\r\nHost: localhost\r\n", BAD),
    ("two", b"Host: localhost\r\nX: y\r\nhost: evil.example\r\n", BAD),
    ("a list", b"Host: localhost, evil.example\r\n", BAD),
    ("two words", b"Host: localhost evil.example\r\n", BAD),
    ("with a tab inside", b"Host: local\thost\r\n", BAD),
    ("with a user", b"Host: localhost@evil.example\r\n", BAD),
    ("a URL", b"Host: http://localhost\r\n", BAD),
    ("with a path", b"Host: localhost/a\r\n", BAD),
    ("with a query", b"Host: localhost?a\r\n", BAD),
    ("with a fragment", b"Host: localhost#a\r\n", BAD),
    ("with a backslash", b"Host: localhost\\evil.example\r\n", BAD),
    ("with an escape (stricter)", b"Host: local%68ost\r\n", BAD),
    ("quoted", b"Host: \"localhost\"\r\n", BAD),
    ("with NUL", b"Host: localhost\0.evil.example\r\n", BAD),
    ("with a high byte", b"Host: localhost\xff\r\n", BAD),
    ("in UTF-8", b"Host: caf\xc3\xa9\r\n", BAD),
    ("with no digits for a port (stricter)", b"Host: localhost:\r\n", BAD),
    ("only a port", b"Host: :80\r\n", BAD),
    ("port 0", b"Host: localhost:0\r\n", BAD),
    ("a port that is too large", b"Host: localhost:65536\r\n", BAD),
    ("a port with a sign", b"Host: localhost:+80\r\n", BAD),
    ("a port in hex", b"Host: localhost:0x50\r\n", BAD),
    ("two ports", b"Host: localhost:80:81\r\n", BAD),
    ("a port behind a space", b"Host: localhost :80\r\n", BAD),
    ("IPv6 without brackets", b"Host: ::1\r\n", BAD),
    ("IPv6 with half a bracket", b"Host: [::1\r\n", BAD),
    ("IPv6 with a zone", b"Host: [fe80::1%25lo]\r\n", BAD),
    ("IPv6 with a zone that is not encoded", b"Host: [fe80::1%lo]\r\n", BAD),
    ("a name in brackets", b"Host: [localhost]\r\n", BAD),
    ("something behind the bracket", b"Host: [::1].evil.example\r\n", BAD),
    ("only a dot", b"Host: .\r\n", BAD),
    ("a dot in front", b"Host: .localhost\r\n", BAD),
    ("two dots at the end", b"Host: ..\r\n", BAD),
    ("goes on in the next line", b"Host: localhost\r\n .evil.example\r\n", BAD),
    // Understood, and none of ours: the next request may be for us.
    ("another", b"Host: evil.example\r\n", "421"),
    ("ours and more", b"Host: localhost.evil.example\r\n", "421"),
    ("ours in other numbers", b"Host: 2130706433\r\n", "421"),
    ("ours in short", b"Host: 127.1\r\n", "421"),
    ("ours in hex", b"Host: 0x7f.0.0.1\r\n", "421"),
    ("every address", b"Host: 0.0.0.0\r\n", "421"),
];

const FIELDS: &[(&str, &[u8], &str)] = &[
    ("no value", b"X:\r\n", "GET /a"),
    ("a high byte in a value", b"X: \xff\xfe\r\n", "GET /a"),
    ("a tab in a value", b"X: a\tb\r\n", "GET /a"),
    ("every character of a name", b"!#$%&'*+-.^_`|~09azAZ: y\r\n", "GET /a"),
    ("space before the colon", b"X : y\r\n", BAD),
    ("tab before the colon", b"X\t: y\r\n", BAD),
    ("space in a name", b"X Y: z\r\n", BAD),
    ("no colon", b"X\r\n", BAD),
    ("an equals sign instead of a colon", b"X=y\r\n", BAD),
    ("no name", b": y\r\n", BAD),
    ("two colons in front", b":: y\r\n", BAD),
    ("NUL in a name", b"X\0: y\r\n", BAD),
    ("a high byte in a name", b"X\xff: y\r\n", BAD),
    ("UTF-8 in a name", b"caf\xc3\xa9: y\r\n", BAD),
    ("a parenthesis in a name", b"X(): y\r\n", BAD),
    ("a quoted name", b"\"X\": y\r\n", BAD),
    ("a slash in a name", b"X/Y: z\r\n", BAD),
    ("CR in a name", b"X\rY: z\r\n", BAD),
    ("LF in a name", b"X\nY: z\r\n", BAD),
    ("NUL in a value", b"X: a\0b\r\n", BAD),
    ("DEL in a value", b"X: a\x7fb\r\n", BAD),
    ("vertical tab in a value", b"X: a\x0bb\r\n", BAD),
    ("form feed in a value", b"X: a\x0cb\r\n", BAD),
    ("escape in a value", b"X: \x1b[2J\r\n", BAD),
    ("the control character 1 in a value", b"X: \x01\r\n", BAD),
    ("CR in a value", b"X: a\rY: b\r\n", BAD),
    ("CR at the end of a value", b"X: a\r\r\n", BAD),
    ("LF in a value", b"X: a\nY: b\r\n", BAD),
    ("goes on behind a space", b"X: a\r\n b\r\n", BAD),
    ("goes on behind a tab", b"X: a\r\n\tb\r\n", BAD),
    ("goes on with nothing", b"X: a\r\n \r\n", BAD),
    ("a value that begins in the next line", b"X:\r\n a\r\n", BAD),
    ("a field that goes on in the last line", b"X: a\r\n Content-Length: 5\r\n", BAD),
    ("an expectation that we do not know", b"Expect: 200-ok\r\n", "417"),
    ("an empty expectation", b"Expect:\r\n", "417"),
    ("two expectations", b"Expect: 100-continue\r\nExpect: 100-continue\r\n", "417"),
    ("an expectation without a body", b"Expect: 100-Continue\r\n", "GET /a"),
    (
        "an upgrade to HTTP/2",
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
        "GET /a",
    ),
    ("an upgrade that is not named", b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\n", "GET /a"),
    ("an upgrade to TLS", b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", "GET /a"),
    ("a WebSocket of the hub", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", "GET /a"),
    ("what is between us and the client", b"TE: trailers\r\nTrailer: X\r\nProxy-Connection: close\r\n", "GET /a"),
    ("Connection with nothing in it", b"Connection: , ,\t,\r\n", "GET /a"),
    ("Connection that says close among others", b"Connection: te,,CLOSE ,\r\n", "GET /a end"),
    ("Connection that only looks like close", b"Connection: \"close\", closed\r\n", "GET /a"),
];

fn with_fields(fields: &[u8]) -> Vec<u8> {
    [b"GET /a HTTP/1.1\r\n", fields, b"\r\n"].concat()
}

#[test]
fn a_host_is_one_name_or_none() {
    for (name, fields, expected) in HOSTS {
        check(name, &with_fields(fields), expected);
    }
}

#[test]
fn a_field_has_one_meaning_or_none() {
    for (name, fields, expected) in FIELDS {
        // In front of everything and behind everything.
        check(name, &with_fields(&[fields, &b"Host: localhost\r\n"[..]].concat()), expected);
        check(name, &with_fields(&[&b"Host: localhost\r\n"[..], fields].concat()), expected);
    }
}

#[test]
fn a_head_is_of_limited_size() {
    let host = b"Host: localhost\r\n";
    let most = head::MAX_FIELDS - 1;
    let long = |bytes: usize| [&host[..], b"X: ", &vec![b'x'; bytes], b"\r\n"].concat();
    let frame = with_fields(&long(0)).len();
    for (name, fields, passes) in [
        ("as many fields as there may be", [&host[..], &b"X: y\r\n".repeat(most)].concat(), true),
        ("one field more", [&host[..], &b"X: y\r\n".repeat(most + 1)].concat(), false),
        ("as many bytes as there may be", long(MAX_HEAD_BYTES - frame), true),
        ("one byte more", long(MAX_HEAD_BYTES - frame + 1), false),
    ] {
        for step in [usize::MAX, 100, 1] {
            // With our own fields it is larger than what we would read.
            let mut play = Play::new();
            play.client(&with_fields(&fields), step);
            assert_eq!(play.upstreams.len(), usize::from(passes), "{name}, in steps of {step}");
            assert_eq!(play.said().starts_with("HTTP/1.1 431 "), !passes, "{name}, in steps of {step}");
        }
    }
}

/// What a client names in `Connection` is taken out of its own request: never what we write, nor what we judge it by.
#[test]
fn nobody_can_have_our_own_fields_taken_out() {
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Parachute-Layer",
        "X-Parachute-Client-IP",
        "X-Parachute-Exchange",
        "Connection",
    ] {
        for framing in ["Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"] {
            let request = format!(
                "POST /a HTTP/1.1\r\nHost: localhost\r\nConnection: {name}\r\nX-Forwarded-For: 1.2.3.4\r\n{framing}"
            );
            // What a proxy on this machine says about its client makes the request a stranger's, named or not.
            let mut play = Play::new();
            play.client(request.as_bytes(), usize::MAX);
            assert!(play.upstreams.is_empty() && play.said().starts_with("HTTP/1.1 421 "), "{name}: {}", play.said());

            let request = request.replace("X-Forwarded-For: 1.2.3.4\r\n", "");
            let mut play = Play::new();
            play.client(request.as_bytes(), usize::MAX);
            let sent = String::from_utf8(play.upstreams.concat()).expect("text");
            for line in [
                "Host: localhost",
                "X-Forwarded-For: 127.0.0.1",
                "X-Forwarded-Proto: http",
                "X-Forwarded-Host: localhost",
                "X-Parachute-Layer: loopback",
                "X-Parachute-Client-IP: 127.0.0.1",
                "X-Parachute-Exchange: 1",
                "Connection: close",
                framing.lines().next().expect("a line"),
            ] {
                assert_eq!(sent.lines().filter(|sent| *sent == line).count(), 1, "{name}: {line} in {sent}");
            }
        }
    }
    // Its own it may take out, which makes it less, never more.
    let mut play = Play::new();
    let request = b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: Authorization, cookie\r\n\
        Authorization: Bearer x\r\nCookie: a=b\r\nAccept: x\r\n\r\n";
    play.client(request, usize::MAX);
    let sent = String::from_utf8(play.upstreams.concat()).expect("text");
    assert!(!sent.contains("Bearer") && !sent.contains("a=b") && sent.contains("\r\nAccept: x\r\n"), "{sent}");
}

/// For the mutations of `fuzz`.
pub(super) fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let fields = FIELDS.iter().map(|(_, fields, _)| with_fields(&[&b"Host: localhost\r\n"[..], fields].concat()));
    fields.chain(HOSTS.iter().map(|(_, fields, _)| with_fields(fields)))
}
