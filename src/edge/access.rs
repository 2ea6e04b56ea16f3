//! Pure: what the access log says of each request, when it is over. Nothing is kept while nobody asks for it.
//!
//! A line is printable ASCII, whatever the client has sent: nothing in it ends a line or a string, or speaks to a
//! terminal. Of the fields only those are looked at that [`Entry`] names, so that no `Authorization` and no cookie can
//! get into it; secrets in addresses are taken out by `redact`. A connection that never came to a whole head, or for
//! which there was no place, has made no request, and has no line.

mod redact;
#[cfg(test)]
mod tests;

use super::answer::Answer;
use super::head::{Request, Version};
use crate::config::AccessFormat;
use crate::stamp;
use redact::redacted;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

/// What is shown of an address; a longer one ends with dots.
const ADDRESS_BYTES: usize = 2048;
/// The same for any other field.
const FIELD_BYTES: usize = 512;
/// Shown where something was cut off.
const CUT: &[u8] = b"...";
/// The status of a request whose client left before the answer (nginx; http-api §9.4).
const CLIENT_LEFT: u16 = 499;

/// What is known of a request from its head. Secrets are out of it already.
#[derive(Debug)]
pub(crate) struct Entry {
    began: Instant,
    peer: IpAddr,
    client: IpAddr,
    /// `None` where a request that was refused had none.
    method: Option<Vec<u8>>,
    target: Vec<u8>,
    protocol: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
    referer: Option<Vec<u8>>,
    user_agent: Option<Vec<u8>>,
    request_id: Option<Vec<u8>>,
}

impl Entry {
    fn of(request: &Request<'_>, peer: IpAddr, client: IpAddr, began: Instant) -> Self {
        let field = |name: &str| request.fields.first(name).map(|value| cut(value.to_vec(), FIELD_BYTES));
        let protocol = match request.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        };
        Self {
            began,
            peer,
            client,
            method: Some(request.method.as_bytes().to_vec()),
            target: address(request.target.as_bytes()),
            protocol: Some(protocol.as_bytes().to_vec()),
            host: field("host"),
            referer: request.fields.first("referer").map(address),
            user_agent: field("user-agent"),
            request_id: field("x-request-id"),
        }
    }

    /// Of a head that could not be read. Its first line is shown for what it looks like.
    fn of_unread(bytes: &[u8], peer: IpAddr, began: Instant) -> Self {
        let start = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let line = start.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let (method, rest) = match split_at(line, line.iter().position(|byte| *byte == b' ')) {
            Some((method, rest)) if !method.is_empty() && method.iter().all(u8::is_ascii_alphanumeric) => {
                (Some(cut(method.to_vec(), FIELD_BYTES)), rest)
            }
            _ => (None, line),
        };
        let (target, protocol) = match split_at(rest, rest.iter().rposition(|byte| *byte == b' ')) {
            Some((target, protocol)) if protocol.starts_with(b"HTTP/") && !protocol.contains(&b'=') => {
                (target, Some(cut(protocol.to_vec(), FIELD_BYTES)))
            }
            _ => (rest, None),
        };
        let (target, client) = (address(target), peer);
        let (host, referer, user_agent, request_id) = (None, None, None, None);
        Self { began, peer, client, method, target, protocol, host, referer, user_agent, request_id }
    }
}

/// The parts before and behind the byte at `at`.
fn split_at(bytes: &[u8], at: Option<usize>) -> Option<(&[u8], &[u8])> {
    let at = at?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

fn address(bytes: &[u8]) -> Vec<u8> {
    cut(redacted(bytes), ADDRESS_BYTES)
}

fn cut(mut bytes: Vec<u8>, limit_bytes: usize) -> Vec<u8> {
    if bytes.len() > limit_bytes {
        bytes.truncate(limit_bytes);
        bytes.extend_from_slice(CUT);
    }
    bytes
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome<'a> {
    /// `None`: the client left before there was one.
    pub(crate) status: Option<u16>,
    pub(crate) by: Author<'a>,
    /// Of the answer's content, as far as it was sent.
    pub(crate) bytes: u64,
    /// Of the request's content.
    pub(crate) received_bytes: u64,
    /// The answer came to its end.
    pub(crate) complete: bool,
}

impl<'a> Outcome<'a> {
    /// The edge has given this answer, with so much content, in the place of a module or before there was one.
    pub(crate) fn of_edge(answer: Answer<'_>, module: Option<&'a str>, bytes: usize) -> Self {
        let (status, bytes) = (Some(answer.status()), u64::try_from(bytes).unwrap_or(u64::MAX));
        Self { status, by: Author::Edge(module), bytes, received_bytes: 0, complete: true }
    }
}

/// Who has answered, or would have.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Author<'a> {
    /// The edge itself; for whom, if it has got so far.
    Edge(Option<&'a str>),
    Hub,
    Module(&'a str),
}

/// The lines that wait to be taken to where they are written.
#[derive(Debug)]
pub(crate) struct Journal {
    format: Option<AccessFormat>,
    /// The same moment on both clocks.
    now: (Instant, SystemTime),
    text: Vec<u8>,
    lines: u64,
}

impl Journal {
    /// `None` keeps nothing.
    pub(crate) fn new(format: Option<AccessFormat>, now: (Instant, SystemTime)) -> Self {
        Self { format, now, text: Vec::new(), lines: 0 }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.format.is_some()
    }

    /// Both clocks as they are now; a wall clock that was set shows in the lines that follow.
    pub(crate) fn set_clocks(&mut self, now: (Instant, SystemTime)) {
        self.now = now;
    }

    /// What to keep of a request until it is over.
    pub(crate) fn open(
        &self,
        request: &Request<'_>,
        peer: SocketAddr,
        client: IpAddr,
        began: Instant,
    ) -> Option<Box<Entry>> {
        self.format.map(|_| Box::new(Entry::of(request, peer.ip(), client, began)))
    }

    /// The same for a head that is none.
    pub(crate) fn open_unread(&self, bytes: &[u8], peer: SocketAddr, began: Instant) -> Option<Box<Entry>> {
        self.format.map(|_| Box::new(Entry::of_unread(bytes, peer.ip(), began)))
    }

    /// The request is over.
    pub(crate) fn close(&mut self, entry: Option<Box<Entry>>, outcome: &Outcome<'_>, now: Instant) {
        let (Some(format), Some(entry)) = (self.format, entry) else { return };
        let (clock, wall) = self.now;
        let at = wall.checked_sub(clock.saturating_duration_since(entry.began)).unwrap_or(wall);
        let took = now.saturating_duration_since(entry.began);
        match format {
            AccessFormat::Combined => write_combined(&entry, outcome, at, &mut self.text),
            AccessFormat::Json => write_json(&entry, outcome, at, took, &mut self.text),
        }
        self.text.push(b'\n');
        self.lines += 1;
    }

    pub(crate) fn waiting_bytes(&self) -> usize {
        self.text.len()
    }

    /// The lines since the last time, and how many; `None` when there is none.
    pub(crate) fn take(&mut self) -> Option<(Vec<u8>, u64)> {
        let taken = (std::mem::take(&mut self.text), std::mem::take(&mut self.lines));
        (taken.1 > 0).then_some(taken)
    }
}

/// Apache's `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`.
fn write_combined(entry: &Entry, outcome: &Outcome<'_>, at: SystemTime, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{} - - [{}] \"", entry.client, stamp::log_date(at));
    let parts = [entry.method.as_ref(), Some(&entry.target), entry.protocol.as_ref()];
    for (number, part) in parts.into_iter().flatten().enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        write_escaped(part, out);
    }
    let _ = write!(out, "\" {} ", outcome.status.unwrap_or(CLIENT_LEFT));
    let _ = match outcome.bytes {
        0 => write!(out, "-"),
        bytes => write!(out, "{bytes}"),
    };
    for field in [&entry.referer, &entry.user_agent] {
        out.extend_from_slice(b" \"");
        write_escaped(field.as_deref().unwrap_or(b"-"), out);
        out.push(b'"');
    }
}

/// As Apache does: quotes and backslashes behind a backslash, every byte that is not printable ASCII in hex.
fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => out.push(*byte),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: String,
    client: IpAddr,
    peer: IpAddr,
    method: Option<Cow<'a, str>>,
    path: Cow<'a, str>,
    protocol: Option<Cow<'a, str>>,
    host: Option<Cow<'a, str>>,
    status: u16,
    bytes: u64,
    received_bytes: u64,
    duration_ms: f64,
    module: Option<&'a str>,
    answered_by: &'static str,
    complete: bool,
    referer: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
    request_id: Option<Cow<'a, str>>,
}

fn write_json(entry: &Entry, outcome: &Outcome<'_>, at: SystemTime, took: Duration, out: &mut Vec<u8>) {
    let (answered_by, module) = match outcome.by {
        Author::Edge(module) => ("edge", module),
        Author::Hub => ("hub", None),
        Author::Module(module) => ("module", Some(module)),
    };
    let line = Line {
        time: stamp::iso(at),
        client: entry.client,
        peer: entry.peer,
        method: text(&entry.method),
        path: String::from_utf8_lossy(&entry.target),
        protocol: text(&entry.protocol),
        host: text(&entry.host),
        status: outcome.status.unwrap_or(CLIENT_LEFT),
        bytes: outcome.bytes,
        received_bytes: outcome.received_bytes,
        // Microseconds are enough, and few enough to be exact.
        duration_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
        module,
        answered_by,
        complete: outcome.complete,
        referer: text(&entry.referer),
        user_agent: text(&entry.user_agent),
        request_id: text(&entry.request_id),
    };
    // Writing to a Vec cannot fail, and all keys are strings.
    let _ = line.serialize(&mut serde_json::Serializer::with_formatter(out, Ascii));
}

fn text(field: &Option<Vec<u8>>) -> Option<Cow<'_, str>> {
    field.as_deref().map(String::from_utf8_lossy)
}

/// JSON in printable ASCII.
struct Ascii;

impl serde_json::ser::Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
        if fragment.bytes().all(is_plain) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            match u8::try_from(character) {
                Ok(byte) if is_plain(byte) => writer.write_all(&[byte])?,
                _ => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        write!(writer, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
