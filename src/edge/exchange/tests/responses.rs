//! Answers (RFC 9112 §4, §6, §9; RFC 9110 §15). Whatever an upstream says: the client gets one whole answer, one that is
//! visibly cut off, or a 502; and a socket that was out of step once is not used again.

use super::corpus::{responses, responses_to};
use super::*;

/// What an upstream does behind its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Stays,
    Ends,
    Breaks,
    /// The answer has more behind it, which can only be seen when it comes together.
    Babbles,
}
use Then::{Babbles, Breaks, Ends, Stays};

/// An answer, and what the client gets of it: status, content, whether that was cut off; then what becomes of the
/// upstream; `end`: the client's connection ends, too.
type Rows = &'static [(&'static str, &'static [u8], Then, &'static str)];

const HEADS: Rows = &[
    ("plain", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Stays, "200 hello, reused"),
    ("no content", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "200, reused"),
    ("no reason", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", Stays, "200, reused"),
    ("a reason in other bytes", b"HTTP/1.1 200 caf\xe9\r\nContent-Length: 0\r\n\r\n", Stays, "200, reused"),
    ("an unknown status", b"HTTP/1.1 599 X\r\nContent-Length: 0\r\n\r\n", Stays, "599, reused"),
    ("the last one", b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n", Stays, "200, closed"),
    ("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", Stays, "200 hello, closed"),
    (
        "HTTP/1.0, kept alive",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
        Stays,
        "200, closed",
    ),
    ("nothing", b"", Ends, "502, closed"),
    ("a reset", b"", Breaks, "502, closed"),
    ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le", Ends, "502, closed"),
    ("another protocol", b"SSH-2.0-x\r\n\r\n", Stays, "502, closed"),
    ("content without a head", b"<!doctype html>\r\n\r\n", Ends, "502, closed"),
    ("an empty line in front", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("space in front", b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("HTTP/2", b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("HTTP/0.9", b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("a version in lower case", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("a radio", b"ICY 200 OK\r\n\r\n", Stays, "502, closed"),
    ("status 099", b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("status 600", b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("status 999", b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("a status with a sign", b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("no status", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("two spaces before the status", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("tab before the status", b"HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("NUL in the reason", b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("CR in the reason", b"HTTP/1.1 200 O\rK: x\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("only LFs", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", Stays, "502, closed"),
    ("one LF", b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("CR in a value", b"HTTP/1.1 200 OK\r\nX: y\rSet-Cookie: a\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("a value that goes on", b"HTTP/1.1 200 OK\r\nX: y\r\n z\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("NUL in a value", b"HTTP/1.1 200 OK\r\nX: \0\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("no colon", b"HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("no name", b"HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
    ("space before a colon", b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 0\r\n\r\n", Stays, "502, closed"),
];

const FRAMING: Rows = &[
    (
        "chunks",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Stays,
        "200 hello, reused",
    ),
    (
        "extensions and trailers",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;c\r\nX: y\r\n\r\n",
        Stays,
        "200 hello, reused",
    ),
    ("the end of the connection", b"HTTP/1.1 200 OK\r\n\r\nhello", Ends, "200 hello, closed"),
    ("nothing before the end", b"HTTP/1.1 200 OK\r\n\r\n", Ends, "200, closed"),
    ("HTTP/1.0 without a length", b"HTTP/1.0 200 OK\r\n\r\nhello", Ends, "200 hello, closed"),
    ("a reset where the end should be", b"HTTP/1.1 200 OK\r\n\r\nhello", Breaks, "200 hello cut, closed end"),
    (
        "a length and chunks",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Stays,
        "502, closed",
    ),
    ("chunks of HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Stays, "502, closed"),
    ("two lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Stays, "502, closed"),
    (
        "one length twice (stricter)",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        Stays,
        "502, closed",
    ),
    ("a list of lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", Stays, "502, closed"),
    ("a length with a plus", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", Stays, "502, closed"),
    ("a length with a minus", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", Stays, "502, closed"),
    ("a length in hex", b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello", Stays, "502, closed"),
    ("an empty length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello", Stays, "502, closed"),
    ("2^63", b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello", Stays, "502, closed"),
    ("xchunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nhello", Ends, "502, closed"),
    ("chunked, identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\nhello", Ends, "502, closed"),
    (
        "gzip, which nobody asked for",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        Stays,
        "502, closed",
    ),
    (
        "chunked twice",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Stays,
        "502, closed",
    ),
    ("an empty encoding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nhello", Ends, "502, closed"),
    ("vertical tab", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", Stays, "502, closed"),
    (
        "space before the colon",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        Stays,
        "502, closed",
    ),
    // Told before it was seen.
    ("less than the length", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", Ends, "200 hello cut, closed end"),
    (
        "a reset within the length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        Breaks,
        "200 hello cut, closed end",
    ),
    (
        "no last chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        Ends,
        "200 hello cut, closed end",
    ),
    ("half a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", Ends, "200 hel cut, closed end"),
    (
        "no end behind the last chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        Ends,
        "200 hello cut, closed end",
    ),
    (
        "a chunk's size with 0x",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
        Stays,
        "200 cut, closed end",
    ),
    (
        "a chunk's size with a minus",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
        Stays,
        "200 cut, closed end",
    ),
    (
        "a chunk of 2^64",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\nhello",
        Stays,
        "200 cut, closed end",
    ),
    (
        "space behind a chunk's size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n",
        Stays,
        "200 cut, closed end",
    ),
    (
        "LF behind a chunk's size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n",
        Stays,
        "200 cut, closed end",
    ),
    (
        "more than a chunk's size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello world\r\n",
        Stays,
        "200 hello cut, closed end",
    ),
    (
        "a trailer without a colon",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX\r\n\r\n",
        Stays,
        "200 hello cut, closed end",
    ),
    // Behind the end.
    ("more than the length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello world", Babbles, "200 hello, closed"),
    (
        "more than the last chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX",
        Babbles,
        "200, closed",
    ),
    (
        "an answer to nothing",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        Babbles,
        "200, closed",
    ),
];

const BY_STATUS: Rows = &[
    ("204", b"HTTP/1.1 204 No Content\r\n\r\n", Stays, "204, reused"),
    ("204 of no length", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Stays, "204, reused"),
    ("204 that announces content", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Stays, "204, closed"),
    (
        "204 that announces chunks",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        Stays,
        "204, closed",
    ),
    ("204 with content", b"HTTP/1.1 204 No Content\r\n\r\nhello", Babbles, "204, closed"),
    ("304", b"HTTP/1.1 304 Not Modified\r\n\r\n", Stays, "304, reused"),
    ("304 of a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Stays, "304, closed"),
    ("304 of chunks", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", Stays, "304, closed"),
    ("304 with content", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", Babbles, "304, closed"),
    ("304 with a bad length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n", Stays, "502, closed"),
    ("205", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Stays, "205, reused"),
    ("100 first", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "200, reused"),
    (
        "103 first",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        Stays,
        "200, reused",
    ),
    ("100 and no more", b"HTTP/1.1 100 Continue\r\n\r\n", Ends, "502, closed"),
    ("100 with content", b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n", Stays, "502, closed"),
    (
        "101 that nobody asked for",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        Stays,
        "502, closed",
    ),
    (
        "101 to HTTP/2",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        Stays,
        "502, closed",
    ),
];

const TO_HEAD: Rows = &[
    // What is announced may come later.
    ("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Stays, "200, closed"),
    ("no length", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Stays, "200, reused"),
    ("chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Stays, "200, closed"),
    ("neither", b"HTTP/1.1 200 OK\r\n\r\n", Stays, "200, closed"),
    ("204", b"HTTP/1.1 204 No Content\r\n\r\n", Stays, "204, reused"),
    ("content", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Babbles, "200, closed"),
    ("chunks that come", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Babbles, "200, closed"),
    ("HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Stays, "200, closed"),
    ("a bad length", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Stays, "502, closed"),
    ("both", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Stays, "502, closed"),
];

/// The client speaks HTTP/1.0, and its connection ends with every answer.
const TO_OLD: Rows = &[
    ("a length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Stays, "200 hello, reused end"),
    (
        "chunks",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        Stays,
        "200 hello, reused end",
    ),
    ("neither", b"HTTP/1.1 200 OK\r\n\r\nhello", Ends, "200 hello, closed end"),
    (
        "100 first",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        Stays,
        "200, reused end",
    ),
];

const NEXT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";

/// What the client and the upstream see of one exchange, in the words of the tables.
fn told(request: &[u8], answer: &[u8], then: Then, step: usize) -> String {
    let mut play = Play::new();
    play.client(request, usize::MAX);
    play.upstream(answer, step);
    match then {
        Stays | Babbles => {}
        Ends => play.upstream_ends(),
        Breaks => play.upstream_breaks(),
    }
    let to_head = request.starts_with(b"HEAD");
    let mut told = String::new();
    for (status, content, complete) in responses_to(&mut play.to_client.as_slice(), to_head) {
        // Why it is refused is said in words of our own.
        let content = if status == 502 { String::new() } else { content };
        let space = if content.is_empty() { "" } else { " " };
        told.push_str(&format!("{status}{space}{content}{}", if complete { "" } else { " cut" }));
    }
    match play.released.as_slice() {
        [] => told.push_str(", waits"),
        [Release::Reuse] => told.push_str(", reused"),
        [Release::Close] => told.push_str(", closed"),
        more => panic!("one upstream was given back {} times", more.len()),
    }
    if play.is_over() {
        told.push_str(" end");
    } else if !play.released.is_empty() {
        // The next request has an answer of its own.
        let before = play.to_client.len();
        play.client(GET, usize::MAX);
        play.upstream(NEXT, usize::MAX);
        let next = responses(play.to_client.get(before..).unwrap_or_default());
        assert_eq!(next, [(200, "next".to_owned(), true)]);
    }
    told
}

fn check(name: &str, request: &[u8], answer: &[u8], then: Then, expected: &str) {
    let steps: &[usize] = if then == Babbles { &[usize::MAX] } else { &[usize::MAX, 1, 3] };
    for step in steps {
        let shown = String::from_utf8_lossy(answer);
        assert_eq!(told(request, answer, then, *step), expected, "{name}, in steps of {step}: {shown}");
    }
}

#[test]
fn an_answer_is_whole_or_visibly_not() {
    for (name, answer, then, expected) in [HEADS, FRAMING, BY_STATUS].into_iter().flatten() {
        check(name, GET, answer, *then, expected);
    }
}

#[test]
fn an_answer_fits_its_request() {
    for (name, answer, then, expected) in TO_HEAD {
        check(name, b"HEAD /a HTTP/1.1\r\nHost: localhost\r\n\r\n", answer, *then, expected);
    }
    for (name, answer, then, expected) in TO_OLD {
        check(name, b"GET /a HTTP/1.0\r\n\r\n", answer, *then, expected);
    }
}

#[test]
fn an_answer_has_limits() {
    let interim = |count: usize| [&b"HTTP/1.1 103 X\r\n\r\n".repeat(count)[..], NEXT].concat();
    check("as many interim answers as there may be", GET, &interim(16), Stays, "200 next, reused");
    check("one more", GET, &interim(17), Stays, "502, closed");
    let fields =
        |count: usize| [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", &b"X: y\r\n".repeat(count)[..], b"\r\n"].concat();
    check("as many fields as there may be", GET, &fields(head::MAX_FIELDS - 1), Stays, "200, reused");
    check("one field more", GET, &fields(head::MAX_FIELDS), Stays, "502, closed");
    let huge = [b"HTTP/1.1 200 OK\r\nX: ", &vec![b'x'; MAX_HEAD_BYTES][..], b"\r\n\r\n"].concat();
    check("a head without an end in sight", GET, &huge, Stays, "502, closed");
}

/// For the mutations of `fuzz`.
pub(super) fn seeds() -> impl Iterator<Item = Vec<u8>> {
    [HEADS, FRAMING, BY_STATUS, TO_HEAD].into_iter().flatten().map(|(_, answer, _, _)| answer.to_vec())
}

#[test]
fn trailers_and_interim_answers_are_dropped_by_rule() {
    let interim =
        |status: &str| format!("HTTP/1.1 {status} Hint\r\nLink: </hint>; rel=preload\r\nX-Hint: hint\r\n\r\n");
    let last =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Hint\r\n\r\n3\r\nabc\r\n0\r\nX-Hint: hint\r\n\r\n";
    for (version, end) in [("1.1", "3\r\nabc\r\n0\r\n\r\n"), ("1.0", "\r\n\r\nabc")] {
        for statuses in [&["103"][..], &["100"], &["102"], &["199"], &["100", "103", "103"]] {
            let mut play = Play::new();
            let fields = "Host: localhost\r\nTE: trailers\r\n";
            play.client(format!("GET /a HTTP/{version}\r\n{fields}\r\n").as_bytes(), usize::MAX);
            for status in statuses {
                play.upstream(interim(status).as_bytes(), usize::MAX);
                assert_eq!(play.said(), "", "HTTP/{version} {statuses:?}: the answer has not begun");
            }
            play.upstream(last.as_bytes(), usize::MAX);
            let said = play.said();
            assert!(said.starts_with("HTTP/1.1 200 OK\r\n") && said.ends_with(end), "{said}");
            assert!(!said.to_ascii_lowercase().contains("hint"), "{said}");
        }
    }
    let mut upload = Play::new();
    let fields = "Host: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X-Hint\r\n";
    let body = "3\r\nabc\r\n0\r\nX-Hint: hint\r\n\r\n";
    upload.client(format!("PUT /a HTTP/1.1\r\n{fields}\r\n{body}").as_bytes(), usize::MAX);
    let got = String::from_utf8_lossy(&upload.upstreams.concat()).to_ascii_lowercase();
    assert!(got.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n") && !got.contains("hint"), "{got}");
}
