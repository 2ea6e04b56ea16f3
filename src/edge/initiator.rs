//! Pure: whose page had a browser send a request.

use super::head::{self, Host, Request};
use super::route::Hosts;

/// Whether a page that is none of ours had a browser send this. A browser says from which page it asks where the request
/// changes something or becomes a WebSocket (`Origin`), and else whether that is another site (`Sec-Fetch-Site`). A
/// program says neither.
pub(crate) fn is_foreign(hosts: &Hosts, request: &Request<'_>) -> bool {
    let mut origins = request.fields.all("origin");
    match (origins.next(), origins.next()) {
        // Pages of other ports of this machine are of the same site, and not of ours.
        (None, _) => request.fields.all("sec-fetch-site").any(|site| matches!(site, b"cross-site" | b"same-site")),
        (Some(origin), None) => !is_own(hosts, origin, request.host),
        // Which of them the browser has written nobody knows.
        (Some(_), Some(_)) => true,
    }
}

/// Whether a page of this origin was served by us: under the name that the request asks, another one of this machine at
/// the same port, or one that is configured.
fn is_own(hosts: &Hosts, origin: &[u8], asked: Option<Host<'_>>) -> bool {
    let origin = std::str::from_utf8(origin).unwrap_or_default();
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let Some((authority, name)) = authority.and_then(|text| Some((text, head::host_name(text)?))) else { return false };
    let is_here = |asked: Host<'_>| {
        let both_local = hosts.is_local(name) && hosts.is_local(asked.name);
        (both_local || name.eq_ignore_ascii_case(asked.name)) && port(authority) == port(asked.text)
    };
    asked.is_some_and(is_here) || hosts.is_configured(name)
}

/// What stands behind the colon that is in no address.
fn port(authority: &str) -> &str {
    authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::OwnHosts;

    #[test]
    fn a_foreign_page_is_known_by_origin_and_without_it_by_the_browsers_word() {
        let hosts =
            Hosts::new(OwnHosts::of(&["https://box.example.org"]), &["lan.example:1939".to_owned()], Vec::new());
        for (host, fields, foreign) in [
            ("localhost:1939", "", false),
            ("localhost:1939", "Origin: http://localhost:1939\r\n", false),
            ("localhost:1939", "Origin: http://127.0.0.1:1939\r\n", false),
            ("[::1]:1939", "Origin: http://LOCALHOST:1939\r\n", false),
            ("[::1]", "Origin: http://[::1]\r\n", false),
            ("localhost:1939", "Origin: http://localhost:3000\r\n", true),
            ("localhost:1939", "Origin: http://localhost\r\n", true),
            ("localhost:1939", "Origin: http://[::1]\r\n", true),
            ("localhost:1939", "Origin: https://box.example.org\r\n", false),
            ("localhost:1939", "Origin: http://lan.example:1939\r\n", false),
            ("lan.example:1939", "Origin: http://lan.example:1939\r\n", false),
            ("localhost:1939", "Origin: http://evil.example\r\n", true),
            ("localhost:1939", "Origin: http://localhost.evil.example:1939\r\n", true),
            ("localhost:1939", "Origin: http://localhost:1939@evil.example\r\n", true),
            ("localhost:1939", "Origin: null\r\n", true),
            ("localhost:1939", "Origin:\r\n", true),
            ("localhost:1939", "Origin: file://\r\n", true),
            ("localhost:1939", "Origin: chrome-extension://localhost:1939\r\n", true),
            ("localhost:1939", "Origin: http://localhost:1939\r\nOrigin: http://localhost:1939\r\n", true),
            ("localhost:1939", "Origin: http://localhost:1939\r\nSec-Fetch-Site: cross-site\r\n", false),
            ("localhost:1939", "Sec-Fetch-Site: cross-site\r\n", true),
            ("localhost:1939", "Sec-Fetch-Site: same-site\r\n", true),
            ("localhost:1939", "Sec-Fetch-Site: same-origin\r\n", false),
            ("localhost:1939", "Sec-Fetch-Site: none\r\n", false),
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
            let request = head::request(text.as_bytes()).expect("a good head");
            assert_eq!(is_foreign(&hosts, &request), foreign, "{host} {fields:?}");
        }
    }
}
