//! Pure: which fields cross the edge, and the one canonical head that is written in either direction.

#[cfg(test)]
mod tests;
mod to_client;
mod to_upstream;

pub(crate) use to_client::{Author, Framed, write_response, write_switch};
pub(crate) use to_upstream::{IsHubBearer, Provenance, Recipient, write_caller, write_request};

use super::head::{Field, Fields};
use std::io::Write;

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

/// The beginning of the hub's cookies' names.
const HUB_COOKIE: &[u8] = b"parachute_hub_";

/// Room for most heads at once; a longer one grows it.
const HEAD_BYTES: usize = 1024;

fn is_hop_by_hop(field: Field<'_>, fields: &Fields<'_>, names_some: bool) -> bool {
    is_one_of(field, &NOT_PASSED_ON) || (names_some && fields.lists("connection", field.name))
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
