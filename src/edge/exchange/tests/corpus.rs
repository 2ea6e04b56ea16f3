//! What becomes of messages that somebody wrote to mislead one of two readers. The rows are in `request_*` and
//! `responses`; a verdict that is stricter than RFC 9110 and 9112 ask for says so in its name.

use super::play::Play;
use crate::edge::framing::{self, Body, Piece, Reader};
use crate::edge::head;
use std::time::Duration;

/// Refused, and nothing behind it is read as a request.
pub(super) const BAD: &str = "400 end";

/// Comes behind every message: it is a request of its own, or it is nothing.
const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What a connection made of its client's bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The whole requests that an upstream got.
    pub(super) requests: Vec<String>,
    /// The answers that no upstream gave.
    pub(super) refusals: Vec<u16>,
    /// No further request is taken.
    pub(super) over: bool,
    /// A part of a request is there.
    pub(super) waits: bool,
}

impl Seen {
    /// In the words of the tables: requests and refusals, then whether it is over or waits for more.
    fn told(&self) -> String {
        let refusals = self.refusals.iter().map(u16::to_string);
        let mut words: Vec<String> = self.requests.iter().cloned().chain(refusals).collect();
        words.extend(self.over.then(|| "end".to_owned()));
        words.extend(self.waits.then(|| "waits".to_owned()));
        words.join(" ")
    }
}

/// Sends the bytes in steps, and answers every whole request. All of them are for the hub.
pub(super) fn seen(bytes: &[u8], step: usize) -> Seen {
    seen_by(Play::new(), bytes, step)
}

/// The same in this play.
fn seen_by(mut play: Play, bytes: &[u8], step: usize) -> Seen {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let mut rest = bytes;
    let mut whole = Vec::new();
    loop {
        let before = rest.len();
        rest = play.client(rest, step);
        let complete = play.open && !play.waits_for_client();
        if complete {
            whole.push(request(play.upstreams.last().expect("opened")));
            play.upstream(ANSWER, usize::MAX);
        }
        if !complete && (rest.len() == before || rest.is_empty()) {
            break;
        }
    }
    let answers = responses(&play.to_client);
    let mut refusals: Vec<u16> = answers.iter().map(|answer| answer.0).filter(|status| *status >= 200).collect();
    refusals.retain(|status| *status != 200);
    Seen { requests: whole, refusals, over: play.is_over(), waits: play.waits_for_client() }
}

/// Reads strictly what an upstream got: exactly one request. Its method, target and body.
fn request(bytes: &[u8]) -> String {
    let shown = String::from_utf8_lossy(bytes);
    let Ok(Some(end)) = head::end(bytes, &mut 0) else { panic!("no head was sent on: {shown}") };
    let (head, rest) = bytes.split_at(end);
    let Ok(request) = head::request(head) else { panic!("a bad head was sent on: {shown}") };
    let Ok(body) = framing::request_body(&request.fields, request.version) else {
        panic!("bad framing was sent on: {shown}");
    };
    assert_eq!(request.fields.all("host").count(), 1, "{shown}");
    let connection = request.fields.all("connection").collect::<Vec<_>>();
    assert!(connection.is_empty() || connection == [b"close"], "{shown}");
    for name in ["upgrade", "http2-settings", "te", "trailer", "keep-alive", "expect", "proxy-connection"] {
        assert!(!request.fields.has(name), "{name} was sent on: {shown}");
    }
    let Ok((content, used, true)) = read(body, rest) else { panic!("a part of a body was sent on: {shown}") };
    assert_eq!(used, rest.len(), "something was sent on behind the request: {shown}");
    let chunked = if body == Body::Chunked { " chunked" } else { "" };
    let space = if content.is_empty() { "" } else { " " };
    let content = String::from_utf8_lossy(&content);
    format!("{} {}{chunked}{space}{content}", request.method, request.target)
}

/// The body at the beginning of `bytes`, how many of them it took, and whether it is complete.
fn read(body: Body, bytes: &[u8]) -> Result<(Vec<u8>, usize, bool), framing::BadFraming> {
    let mut reader = Reader::new(body);
    let (mut content, mut used) = (Vec::new(), 0);
    while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty() && !reader.is_done()) {
        let Piece { skip, take } = reader.next(rest)?;
        content.extend_from_slice(&rest[skip..skip + take]);
        used += skip + take;
    }
    Ok((content, used, reader.is_done()))
}

/// Reads strictly what a client that sent GETs got: status, body, and whether that is complete.
pub(super) fn responses(mut bytes: &[u8]) -> Vec<(u16, String, bool)> {
    responses_to(&mut bytes, false)
}

/// The same for a client whose requests were all HEAD, if `to_head`.
pub(super) fn responses_to(bytes: &mut &[u8], to_head: bool) -> Vec<(u16, String, bool)> {
    let mut responses = Vec::new();
    while !bytes.is_empty() {
        let shown = String::from_utf8_lossy(bytes).into_owned();
        let Ok(Some(end)) = head::end(bytes, &mut 0) else { panic!("no head was answered: {shown}") };
        let (head, rest) = bytes.split_at(end);
        let Ok(response) = head::response(head) else { panic!("a bad head was answered: {shown}") };
        let body = framing::response_body(&response.fields, response.version, response.status, to_head);
        let body = body.unwrap_or_else(|bad| panic!("{bad}: {shown}"));
        let (content, used, complete) = read(body, rest).unwrap_or_else(|bad| panic!("{bad}: {shown}"));
        let content = String::from_utf8_lossy(&content).into_owned();
        responses.push((response.status, content, complete || body == Body::UntilClose));
        *bytes = rest.get(used..).unwrap_or_default();
    }
    responses
}

/// Plays one row, at once and in small steps, and then with another request behind it.
pub(super) fn check(name: &str, bytes: &[u8], expected: &str) {
    for step in [usize::MAX, 1, 3] {
        let alone = seen(bytes, step);
        assert_eq!(alone.told(), expected, "{name}, in steps of {step}: {}", String::from_utf8_lossy(bytes));
        if alone.waits {
            continue;
        }
        let mut followed = seen(&[bytes, PROBE].concat(), step);
        if !alone.over {
            assert_eq!(followed.requests.pop().as_deref(), Some("GET /probe"), "{name}, in steps of {step}");
        }
        assert_eq!(followed, alone, "{name} with another request behind it, in steps of {step}");
    }
}

/// Plays one row for a module, which gets a body as it comes and not all in one.
pub(super) fn check_for_module(name: &str, bytes: &[u8], expected: &str) {
    for step in [usize::MAX, 1, 3] {
        let (play, _board) = Play::with_module_at("/a", Duration::ZERO);
        let told = seen_by(play, bytes, step).told();
        assert_eq!(told, expected, "{name}, in steps of {step}: {}", String::from_utf8_lossy(bytes));
    }
}
