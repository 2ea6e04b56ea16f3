//! Pure: which fields cross the edge, and the one canonical head that is written in either direction.

#[cfg(test)]
mod tests;
mod to_client;
mod to_upstream;

pub(crate) use to_client::{Author, Framed, write_response, write_switch};
pub(crate) use to_upstream::{IsHubBearer, Provenance, Recipient, write_caller, write_request};

use super::head::{self, Field, Fields, Lengths};
use std::io::Write;
use std::net::IpAddr;

/// Names of fields.
struct Names<const N: usize> {
    names: [&'static str; N],
    lengths: Lengths,
}

impl<const N: usize> Names<N> {
    const fn of(names: [&'static str; N]) -> Self {
        let (mut lengths, mut rest) = (Lengths::NONE, names.as_slice());
        while let [name, others @ ..] = rest {
            lengths = lengths.and(name);
            rest = others;
        }
        Self { names, lengths }
    }

    /// Whether the field's name could be taken for one of them.
    fn have(&self, field: Field<'_>) -> bool {
        self.lengths.has_that_of(field.name) && self.names.iter().any(|name| is_alike(field.name, name))
    }
}

/// Mean something between two neighbours only (RFC 9110 §7.6.1), or are written anew from what we know.
static NOT_PASSED_ON: Names<12> = Names::of([
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
]);

/// The beginning of the hub's cookies' names.
const HUB_COOKIE: &[u8] = b"parachute_hub_";

/// Room for most heads at once; a longer one grows it.
const HEAD_BYTES: usize = 1024;
/// Of the largest u64.
const MAX_DIGITS: usize = 20;

/// Whether the `Connection` fields name others than those that are never passed on, which takes a closer look.
fn names_some(fields: &Fields<'_>) -> bool {
    let is_known = |word: &[u8]| word.eq_ignore_ascii_case(b"keep-alive") || word.eq_ignore_ascii_case(b"upgrade");
    fields.all("connection").flat_map(head::words).any(|word| !is_known(word))
}

fn is_hop_by_hop(field: Field<'_>, fields: &Fields<'_>, names_some: bool) -> bool {
    NOT_PASSED_ON.have(field) || (names_some && fields.lists("connection", field.name))
}

fn is_our_own(field: Field<'_>) -> bool {
    begins_with(field, "x-parachute-")
}

/// Whether the beginning of the field's name could be taken for `ours`.
pub(super) fn begins_with(field: Field<'_>, ours: &str) -> bool {
    field.name.get(..ours.len()).is_some_and(|start| is_alike(start, ours))
}

/// Whether `name` could be taken for `ours`. Servers that hand fields on as variables (CGI, WSGI, PHP) make the same of
/// a hyphen and of an underscore, so that `X_Forwarded_For` would be heard where we have taken `X-Forwarded-For` away.
fn is_alike(name: &str, ours: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == ours.len() && name.bytes().zip(ours.bytes()).all(|(a, b)| plain(a) == b)
}

/// The hub's cookies of a field in which others are no ASCII: what any module has set must not sign anybody out.
pub(super) fn hub_cookies(value: &[u8]) -> Vec<u8> {
    let pairs = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| pair.starts_with(HUB_COOKIE) && pair.is_ascii()).collect::<Vec<_>>().join(&b"; "[..])
}

/// Whether a cookie of the hub's may be in it.
pub(super) fn mentions_hub_cookie(value: &[u8]) -> bool {
    value.windows(HUB_COOKIE.len()).any(|part| part == HUB_COOKIE)
}

fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    write_number(length, out);
    out.extend_from_slice(b"\r\n");
}

/// In decimal. `write!` takes ten times as long, which shows where it is done for every request.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; MAX_DIGITS];
    let mut start = MAX_DIGITS;
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        // Below ten.
        *digit += (number % 10) as u8;
        number /= 10;
        start = at;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (at, octet) in address.octets().into_iter().enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        write_number(octet.into(), out);
    }
}
