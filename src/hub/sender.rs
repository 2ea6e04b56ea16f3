//! Pure: who sends a request, as the edge and the headers say.

use crate::manifest::discovery::Audience;
use crate::ops::discovery::Asked;
use crate::wire::Code;
use std::net::{IpAddr, Ipv4Addr};

/// What the headers say about the sender. Those named `X-Parachute-*` and `X-Forwarded-*` are the edge's own words:
/// what others sent under these names never comes here, except through a proxy on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Whoever the edge says nothing about is remote.
    pub(crate) audience: Audience,
    /// Who asks, as the edge makes it out.
    client: Option<IpAddr>,
    host: Option<String>,
    forwarded_proto: Option<String>,
    page: Page,
    /// `Sec-Fetch-Site` says that the request comes from a page of somebody else.
    is_foreign_fetch: bool,
    /// It is a browser that would show the answer.
    pub(crate) accepts_html: bool,
}

/// The page that caused the request (`Origin`).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Page {
    Unknown,
    Of(String),
    /// More than one header: nobody's.
    Unclear,
}

impl Default for Sender {
    fn default() -> Self {
        Self {
            audience: Audience::Remote,
            client: None,
            host: None,
            forwarded_proto: None,
            page: Page::Unknown,
            is_foreign_fetch: false,
            accepts_html: false,
        }
    }
}

impl Sender {
    /// Takes note of a header.
    pub(crate) fn read(&mut self, name: &str, value: &str) {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("x-parachute-layer") {
            self.audience = if value == "loopback" { Audience::Local } else { Audience::Remote };
        } else if is("x-parachute-client-ip") {
            self.client = value.parse().ok();
        } else if is("x-forwarded-proto") {
            self.forwarded_proto = Some(value.to_owned());
        } else if is("host") {
            self.host = Some(value.to_owned());
        } else if is("origin") {
            self.page = match self.page {
                Page::Unknown => Page::Of(value.to_owned()),
                Page::Of(_) | Page::Unclear => Page::Unclear,
            };
        } else if is("sec-fetch-site") {
            self.is_foreign_fetch = matches!(value, "cross-site" | "same-site");
        } else if is("accept") {
            self.accepts_html |= value.to_ascii_lowercase().contains("text/html");
        }
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { host: self.host.as_deref(), forwarded_proto: self.forwarded_proto.as_deref() }
    }

    /// Who is held to account for failed attempts; nobody for programs on this machine, which could read the token's
    /// file as well.
    pub(crate) fn client(&self) -> Option<IpAddr> {
        match self.audience {
            Audience::Local => None,
            // Of whom nothing is said, those did not come through the edge; all such share one address.
            Audience::Remote => Some(self.client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
        }
    }

    /// Whether a program on this machine asks, directly and by a name of this machine: no page, and no proxy or tunnel,
    /// which the edge sees to (`edge::layer`).
    pub(crate) fn is_program_here(&self) -> bool {
        self.audience == Audience::Local
            && self.page == Page::Unknown
            && !self.is_foreign_fetch
            && self.asked().is_by_loopback_name()
    }

    /// Who asks, for a log.
    pub(crate) fn shown(&self) -> String {
        self.client().map_or_else(|| "this machine".to_owned(), |address| address.to_string())
    }

    /// What makes it doubtful that whoever sends this means it: somebody else's page may have made a browser do so. A
    /// cookie the browser sends `by_cookie` itself: then the page has to say that it is ours (http-api §11). `is_own` knows
    /// our pages.
    pub(crate) fn forgery(&self, by_cookie: bool, is_own: impl Fn(&str) -> bool) -> Option<Code> {
        match by_cookie {
            _ if self.is_foreign_page(&is_own) => Some(Code::CsrfOriginMismatch),
            true if !self.is_own_page(&is_own) => Some(Code::CsrfOriginRequired),
            true | false => None,
        }
    }

    /// Whether the request was caused by a page that is one of ours beyond doubt.
    pub(crate) fn is_own_page(&self, is_own: impl FnOnce(&str) -> bool) -> bool {
        matches!(&self.page, Page::Of(origin) if is_own(origin))
    }

    /// Whether the request was caused by a page that is not one of ours; `is_own` knows ours.
    pub(crate) fn is_foreign_page(&self, is_own: impl FnOnce(&str) -> bool) -> bool {
        match &self.page {
            Page::Of(origin) => !is_own(origin),
            Page::Unclear => true,
            Page::Unknown => self.is_foreign_fetch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(headers: &[(&str, &str)]) -> Sender {
        let mut sender = Sender::default();
        headers.iter().for_each(|(name, value)| sender.read(name, value));
        sender
    }

    #[test]
    fn who_is_held_to_account_is_whom_the_edge_names_unless_on_this_machine() {
        for (layer, client, expected) in [
            ("loopback", "127.0.0.1", None),
            ("public", "203.0.113.7", Some("203.0.113.7")),
            ("tailnet", "2001:db8::2", Some("2001:db8::2")),
            ("public", "127.0.0.1", Some("127.0.0.1")),
            ("public", "junk", Some("0.0.0.0")),
            ("junk", "127.0.0.1", Some("127.0.0.1")),
        ] {
            let named =
                [("X-Parachute-Layer", layer), ("X-Parachute-Client-IP", client), ("X-Forwarded-For", "6.6.6.6")];
            let expected = expected.map(|address| address.parse().expect("an address"));
            assert_eq!(sender(&named).client(), expected, "{layer} {client}");
        }
        assert!(sender(&[]).client().is_some(), "whoever nothing is said about is a stranger");
        assert_eq!(sender(&[]).audience, Audience::Remote);
    }

    #[test]
    fn a_foreign_page_is_known_by_origin_and_without_it_by_the_browsers_word() {
        let is_own = |origin: &str| origin == "http://ours";
        for (headers, foreign) in [
            (&[][..], false),
            (&[("Origin", "http://ours")], false),
            (&[("Origin", "http://theirs")], true),
            (&[("Origin", "null")], true),
            (&[("Origin", "")], true),
            (&[("Origin", "http://ours"), ("Origin", "http://ours")], true),
            (&[("Origin", "http://ours"), ("Sec-Fetch-Site", "cross-site")], false),
            (&[("Sec-Fetch-Site", "cross-site")], true),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("Sec-Fetch-Site", "same-origin")], false),
            (&[("Sec-Fetch-Site", "none")], false),
        ] {
            assert_eq!(sender(headers).is_foreign_page(is_own), foreign, "{headers:?}");
            let named = headers.contains(&("Origin", "http://ours"));
            assert_eq!(sender(headers).is_own_page(is_own), named && !foreign, "{headers:?}");
            let mismatch = foreign.then_some(Code::CsrfOriginMismatch);
            assert_eq!(sender(headers).forgery(false, is_own), mismatch, "{headers:?}");
            let required = (!named).then_some(Code::CsrfOriginRequired);
            assert_eq!(sender(headers).forgery(true, is_own), mismatch.or(required), "{headers:?}");
        }
    }

    #[test]
    fn a_program_on_this_machine_comes_straight_and_by_its_name() {
        let (here, host) = (("X-Parachute-Layer", "loopback"), ("Host", "127.0.0.1:1939"));
        for (headers, expected) in [
            (&[here, host][..], true),
            (&[here, ("Host", "localhost:1939"), ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "x")], true),
            (&[here, ("Host", "[::1]:1939")], true),
            (&[here], false),
            (&[host], false),
            (&[("X-Parachute-Layer", "public"), host], false),
            (&[("X-Parachute-Layer", "tailnet"), host], false),
            (&[here, ("Host", "a.example")], false),
            (&[here, ("Host", "127.0.0.1.a.example")], false),
            (&[here, host, ("Origin", "http://127.0.0.1:1939")], false),
            (&[here, host, ("Origin", "null")], false),
            (&[here, host, ("Sec-Fetch-Site", "cross-site")], false),
        ] {
            assert_eq!(sender(headers).is_program_here(), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_browser_says_that_it_shows_html() {
        for (accept, expected) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("Text/HTML", true),
            ("*/*", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(sender(&[("Accept", accept)]).accepts_html, expected, "{accept:?}");
        }
    }
}
