//! Pure: somebody before a page of a module that not everybody may see (http-api §9.7).
//!
//! Who shows nothing is sent away at once. Whether what somebody shows is good only the hub's database knows, so that
//! the request waits for the hub's word, like one whose module wants to know its caller, and before anything else is
//! done about it: no place is taken, no module waited for, and no body asked for. It asks again before every further try.

use super::head::{self, Request};
use super::headers;
use crate::manifest::gates::Needs;
use std::net::IpAddr;
use std::sync::Arc;

/// What the hub is told of those who ask itself, as the edge writes it for modules, too.
const ABOUT_SENDER: [&str; 6] =
    ["host", "origin", "sec-fetch-site", "x-forwarded-proto", "x-parachute-client-ip", "x-parachute-layer"];

/// Asks whether the sender of a request may see a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) needs: Arc<Needs>,
    /// The values of the request's `Cookie` fields.
    pub(crate) cookies: Vec<String>,
    /// Fields that say who sends it, and whose page had a browser do so.
    pub(crate) sender: Vec<(String, String)>,
    /// It may change something, or becomes a WebSocket.
    pub(crate) can_change: bool,
}

/// How far a request has got that is for what not everybody may see.
#[derive(Debug, Default)]
pub(crate) struct Visiting {
    /// The hub has let it in.
    pub(crate) is_in: bool,
    /// Its path, for somebody who would read a page.
    pub(crate) page: Option<String>,
    /// What its token lacks.
    pub(crate) lacks: Option<String>,
    pub(crate) owed: Option<Owed>,
}

/// What is still to be done once it is let in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owed {
    /// It asks for a WebSocket, and these are whose places it takes.
    pub(crate) websocket: Option<IpAddr>,
    /// Its client waits for a word before it sends the body.
    pub(crate) go_ahead: bool,
}

impl Visit {
    /// `None` when the request shows nothing by which anybody could be let in. Who sends it is still to be told.
    pub(crate) fn of(request: &Request<'_>, needs: Arc<Needs>, can_change: bool) -> Option<Self> {
        let cookies = || request.fields.all("cookie");
        let shows_any = request.fields.has("authorization") || cookies().any(headers::mentions_hub_cookie);
        let text = |value: &[u8]| match str::from_utf8(value) {
            Ok(text) if text.is_ascii() => text.to_owned(),
            _ => String::from_utf8_lossy(&headers::hub_cookies(value)).into_owned(),
        };
        shows_any.then(|| Self { needs, cookies: cookies().map(text).collect(), sender: Vec::new(), can_change })
    }

    /// Takes who sends the request from its head as the module is to get it.
    pub(super) fn read_sender(&mut self, head: &[u8]) {
        for line in String::from_utf8_lossy(head).split("\r\n").skip(1) {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if ABOUT_SENDER.iter().any(|about| name.eq_ignore_ascii_case(about)) {
                self.sender.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}

/// Whether whoever is sent away would read a page: programs that say nothing are told in JSON.
pub(crate) fn wants_page(request: &Request<'_>) -> bool {
    let is_html = |range: &[u8]| {
        let kind = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        kind.eq_ignore_ascii_case(b"text/html") || kind.eq_ignore_ascii_case(b"application/xhtml+xml")
    };
    matches!(request.method, "GET" | "HEAD") && request.fields.all("accept").flat_map(head::words).any(is_html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::gates::Whom;

    fn visit(fields: &str) -> Option<Visit> {
        let text = format!("GET /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let request = head::request(text.as_bytes()).expect("a good head");
        Visit::of(&request, Arc::new(Needs { whom: Whom::HubUsers, ..Needs::NONE }), false)
    }

    #[test]
    fn who_shows_neither_a_token_nor_a_cookie_of_the_hubs_shows_nothing() {
        for (fields, cookies) in [
            ("", None),
            ("Cookie: a=b\r\n", None),
            ("Cookie: session=x; parachute=1\r\n", None),
            ("Proxy-Authorization: Bearer x\r\n", None),
            ("X-Parachute-Subject: operator\r\n", None),
            ("Authorization:\r\n", Some(&[][..])),
            ("authorization: Basic x\r\nCookie: a=b\r\n", Some(&["a=b"])),
            ("Cookie: a=b; parachute_hub_session=x\r\n", Some(&["a=b; parachute_hub_session=x"])),
            ("Cookie: a=b\r\nCookie: parachute_hub_session=x\r\n", Some(&["a=b", "parachute_hub_session=x"])),
        ] {
            let found = visit(fields).map(|visit| visit.cookies);
            assert_eq!(found, cookies.map(|all| all.iter().map(|one| (*one).to_owned()).collect()), "{fields:?}");
        }
    }

    #[test]
    fn the_sender_is_who_the_edge_says_it_is() {
        let mut visit = visit("Authorization: Bearer x\r\n").expect("something is shown");
        let head =
            b"POST /origin: x HTTP/1.1\r\nHost: a\r\norigin: http://a\r\nCookie: b\r\nX-Forwarded-For: 1.2.3.4\r\n\
            X-Parachute-Layer: public\r\nX-Parachute-Client-IP: 1.2.3.4\r\n\r\nOrigin: http://b\r\n";
        visit.read_sender(head.split_at(head.len() - b"Origin: http://b\r\n".len()).0);
        let expected = [
            ("Host", "a"),
            ("origin", "http://a"),
            ("X-Parachute-Layer", "public"),
            ("X-Parachute-Client-IP", "1.2.3.4"),
        ];
        assert_eq!(visit.sender, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn only_who_names_html_gets_a_page() {
        for (method, fields, expected) in [
            ("GET", "Accept: text/html\r\n", true),
            ("HEAD", "Accept: application/json, Text/HTML;q=0.8\r\n", true),
            ("GET", "Accept: application/xhtml+xml\r\n", true),
            ("POST", "Accept: text/html\r\n", false),
            ("GET", "Accept: */*\r\n", false),
            ("GET", "Accept: application/json\r\n", false),
            ("GET", "Accept: text/htmlx\r\n", false),
            ("GET", "", false),
        ] {
            let text = format!("{method} /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let request = head::request(text.as_bytes()).expect("a good head");
            assert_eq!(wants_page(&request), expected, "{method} {fields:?}");
        }
    }
}
