//! Pure: an answer as the client gets it.

use super::{HEAD_BYTES, HUB_COOKIE, is_hop_by_hop, is_our_own, names_some, write_field, write_length, write_number};
use crate::edge::date::Date;
use crate::edge::framing::{self, Body};
use crate::edge::head::{Field, Fields, Response};

/// What the client is told about the connection and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Framed {
    pub(crate) body: Body,
    /// The connection ends after this answer.
    pub(crate) close: bool,
    /// For an answer that does not say when it was made; `None`: there is no clock.
    pub(crate) date: Option<Date>,
    /// Not everybody may see it, so that no cache on the way may keep it for others.
    pub(crate) is_private: bool,
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
    // What the upstream has said to us alone, the client is not told.
    let told = names_some(fields).then(|| fields.filtered(|field| !is_hop_by_hop(field, fields, true)));
    let told = told.as_ref().unwrap_or(fields);
    // A browser that is not told of a type finds it out.
    if by == Author::Module && is_html(fields) {
        write_safety(told, out);
    }
    // Beside another word of the module's this one holds as well: caches heed the narrowest.
    if framed.is_private && !is_kept_private(told) {
        write_field("Cache-Control", b"private", out);
    }
    match framed.body {
        Body::Empty => {
            if let Some(length) = framing::declared_length(fields).filter(|_| response.status != 204) {
                write_length(length, out);
            }
        }
        Body::Length(length) => write_length(length, out),
        Body::Chunked => write_field("Transfer-Encoding", b"chunked", out),
        Body::UntilClose => {}
    }
    if let Some(date) = framed.date.filter(|_| !told.has("date")) {
        write_field("Date", date.text(), out);
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
    out.extend_from_slice(b"HTTP/1.1 ");
    write_number(response.status.into(), out);
    out.push(b' ');
    out.extend_from_slice(response.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    let fields = &response.fields;
    let names_some = names_some(fields);
    for field in fields.iter() {
        let forged = by == Author::Module && sets_hub_cookie(field);
        if !forged && !is_hop_by_hop(field, fields, names_some) && !is_our_own(field) {
            write_field(field.name, field.value, out);
        }
    }
}

/// Whether the module itself keeps its answer from caches that others use, too.
fn is_kept_private(fields: &Fields<'_>) -> bool {
    ["private", "no-store"].iter().any(|word| fields.lists("cache-control", word))
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
    // Beside another policy of the module's this one holds as well: browsers heed all of them.
    if !has_frame_policy(fields) {
        write_field("Content-Security-Policy", b"frame-ancestors 'self'", out);
    }
}

/// Whether an answer says into which frames it may come.
fn has_frame_policy(fields: &Fields<'_>) -> bool {
    let policies = fields.all("content-security-policy").flat_map(|value| value.split(|byte| *byte == b','));
    let mut directives = policies.flat_map(|policy| policy.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    let is_of_frames = |directive: &[u8]| {
        let name = directive.split(u8::is_ascii_whitespace).next();
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"frame-ancestors"))
    };
    fields.has("x-frame-options") || directives.any(is_of_frames)
}

/// A module that sets the hub's cookies would log its visitors in or out of the hub. Browsers send a cookie without a
/// name as its bare value, which can look like any other.
fn sets_hub_cookie(field: Field<'_>) -> bool {
    if !field.is("set-cookie") {
        return false;
    }
    let is_padding = |byte: &u8| matches!(byte, b'=' | b' ' | b'\t');
    let start = field.value.iter().position(|byte| !is_padding(byte)).unwrap_or_default();
    field.value.get(start..).is_some_and(|cookie| cookie.starts_with(HUB_COOKIE))
}
