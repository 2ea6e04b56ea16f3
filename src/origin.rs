//! Pure: which origin and which issuers hold, from given facts.
//!
//! The one resolver for tokens, children and command line (operator-token B5, files §10). A request never adds to the
//! set: neither its `Host` nor a forwarding header is a fact. Only what a caller is told about itself may come from
//! its own request, while no origin is configured.
#![forbid(unsafe_code)]

use std::fmt;

/// The hub's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origins {
    /// What new tokens are issued under and what the world should call us.
    pub(crate) canonical: String,
    /// Every origin whose tokens are accepted; the canonical one is first.
    pub(crate) issuers: Vec<String>,
    /// Whether the canonical one was configured; otherwise it holds on this machine only.
    pub(crate) is_configured: bool,
}

impl Origins {
    /// What the sender of a request is told that our origin is (http-api §1.2). `of_request` is the origin that it
    /// asked, see [`of_request`].
    pub(crate) fn told(&self, of_request: Option<String>) -> String {
        of_request.filter(|_| !self.is_configured).unwrap_or_else(|| self.canonical.clone())
    }

    /// Whether a page of `origin` is one of ours. `of_request` is the origin that was asked: its host was checked, so a
    /// page of the same one came from here.
    pub(crate) fn is_own(&self, origin: &str, of_request: Option<&str>) -> bool {
        canonical(origin).is_ok_and(|origin| self.issuers.contains(&origin) || of_request == Some(origin.as_str()))
    }
}

/// The origin that a request asked, by its `Host` and the first scheme of its `X-Forwarded-Proto`; `None` when they
/// make none.
pub(crate) fn of_request(host: &str, forwarded_proto: Option<&str>) -> Option<String> {
    let first = forwarded_proto.and_then(|schemes| schemes.split(',').next()).map_or("", str::trim);
    let scheme = if first.eq_ignore_ascii_case("https") { "https" } else { "http" };
    canonical(&format!("{scheme}://{host}")).ok()
}

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginError {
    pub(crate) value: String,
    pub(crate) reason: &'static str,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no origin: {}; write it like https://example.org or http://box:8080",
            self.value, self.reason
        )
    }
}

impl std::error::Error for OriginError {}

/// The origins of a hub on `port`: the configured one, where there is one, and this machine's own names for the port.
/// A configured one that cannot be used is an error, because tokens issued under another would not be accepted later.
pub(crate) fn resolve(port: u16, configured: Option<&str>) -> Result<Origins, OriginError> {
    let loopback = |host: &str| match port {
        80 => format!("http://{host}"),
        _ => format!("http://{host}:{port}"),
    };
    let own = loopback("127.0.0.1");
    let first = match configured {
        Some(configured) => canonical(configured)?,
        None => own.clone(),
    };
    let mut issuers = vec![first.clone()];
    for issuer in [loopback("localhost"), own] {
        if !issuers.contains(&issuer) {
            issuers.push(issuer);
        }
    }
    Ok(Origins { canonical: first, issuers, is_configured: configured.is_some() })
}

/// Whether an origin, as [`canonical`] spells it, is a name of this machine for itself.
pub(crate) fn is_loopback(origin: &str) -> bool {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let host = split_port(authority).map_or(authority, |(host, _)| host);
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The one spelling of an origin: scheme and host in lower case, no default port, no slash at the end.
pub(crate) fn canonical(text: &str) -> Result<String, OriginError> {
    let error = |reason| OriginError { value: text.to_owned(), reason };
    let (scheme, rest) = text.split_once("://").ok_or_else(|| error("it has no scheme"))?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return Err(error("its scheme is neither http nor https")),
    };
    let authority = rest.trim_end_matches('/');
    if authority.contains(['/', '?', '#']) {
        return Err(error("it has a path, a query or a fragment"));
    }
    if authority.contains('@') {
        return Err(error("it has a user name"));
    }
    let (host, port) = split_port(authority).ok_or_else(|| error("its host is not well formed"))?;
    if !is_host(host) {
        return Err(error("its host is not well formed"));
    }
    let host = host.to_ascii_lowercase();
    match port {
        None => Ok(format!("{scheme}://{host}")),
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number == default_port && !port.starts_with('+') => Ok(format!("{scheme}://{host}")),
            // The standard library takes a plus sign.
            Ok(number) if number != 0 && !port.starts_with('+') => Ok(format!("{scheme}://{host}:{number}")),
            _ => Err(error("its port is not an integer 1..65535")),
        },
    }
}

/// Host, with its brackets if it has any, and port text.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    Some(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty()
        && host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, expected) in [
            ("https://a.example", Some("https://a.example")),
            ("HTTPS://A.Example/", Some("https://a.example")),
            ("https://a.example:443", Some("https://a.example")),
            ("http://a.example:443", Some("http://a.example:443")),
            ("http://box:80//", Some("http://box")),
            ("http://127.0.0.1:1939", Some("http://127.0.0.1:1939")),
            ("http://[::1]:1939", Some("http://[::1]:1939")),
            ("https://[::1]:443", Some("https://[::1]")),
            ("", None),
            ("a.example", None),
            ("ftp://a.example", None),
            ("https://", None),
            ("https:///", None),
            ("https://a.example/x", None),
            ("https://a.example?x", None),
            ("https://a.example#x", None),
            ("https://u:p@a.example", None),
            ("https://a..example", None),
            ("https://a.example:", None),
            ("https://a.example:0", None),
            ("https://a.example:65536", None),
            ("https://a.example:+80", None),
            ("https://a b", None),
            ("https://a\nb", None),
            ("https://[::1", None),
            ("https://[::1]x", None),
            ("https://[a]", None),
            (" https://a.example", None),
        ] {
            assert_eq!(canonical(text).ok().as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn the_issuers_are_the_configured_origin_and_this_machines_names_for_the_port() {
        for (port, configured, canonical, issuers) in [
            (1939, None, "http://127.0.0.1:1939", &["http://127.0.0.1:1939", "http://localhost:1939"][..]),
            (80, None, "http://127.0.0.1", &["http://127.0.0.1", "http://localhost"]),
            (
                1939,
                Some("https://A.example/"),
                "https://a.example",
                &["https://a.example", "http://localhost:1939", "http://127.0.0.1:1939"],
            ),
            (
                1939,
                Some("http://localhost:1939"),
                "http://localhost:1939",
                &["http://localhost:1939", "http://127.0.0.1:1939"],
            ),
        ] {
            let origins = resolve(port, configured).expect("a good origin");
            assert_eq!(origins.canonical, canonical, "{port} {configured:?}");
            assert_eq!(origins.issuers, issuers, "{port} {configured:?}");
        }
        assert!(resolve(1939, Some("a.example")).is_err());
    }

    #[test]
    fn the_names_of_this_machine_are_loopback() {
        for (origin, expected) in [
            ("http://127.0.0.1:1939", true),
            ("http://127.0.0.1", true),
            ("http://127.8.8.8:1", true),
            ("http://localhost:1939", true),
            ("http://[::1]:1939", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("https://a.example", false),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1:1939", false),
        ] {
            assert_eq!(is_loopback(origin), expected, "{origin}");
        }
    }

    #[test]
    fn a_request_tells_its_origin() {
        for (host, proto, expected) in [
            ("box:1939", None, Some("http://box:1939")),
            ("Box:80", Some("http"), Some("http://box")),
            ("box", Some("https"), Some("https://box")),
            ("box", Some(" HTTPS , http"), Some("https://box")),
            ("box", Some("http, https"), Some("http://box")),
            ("[::1]:1939", Some(""), Some("http://[::1]:1939")),
            ("", None, None),
            ("a b", None, None),
            ("a/b", None, None),
            ("u@box", None, None),
            ("box:0", None, None),
        ] {
            assert_eq!(of_request(host, proto).as_deref(), expected, "{host:?} {proto:?}");
        }
    }

    #[test]
    fn callers_are_told_the_configured_origin_else_the_one_that_they_asked() {
        let asked = || Some("http://lan.example:1939".to_owned());
        for (configured, asked, expected) in [
            (None, asked(), "http://lan.example:1939"),
            (None, None, "http://127.0.0.1:1939"),
            (Some("https://a.example"), asked(), "https://a.example"),
            (Some("https://a.example"), None, "https://a.example"),
        ] {
            let origins = resolve(1939, configured).expect("a good origin");
            assert_eq!(origins.told(asked.clone()), expected, "{configured:?} {asked:?}");
        }
    }

    #[test]
    fn a_page_is_ours_by_configuration_or_because_it_came_from_where_it_asks() {
        let origins = resolve(1939, Some("https://a.example")).expect("a good origin");
        for (origin, expected) in [
            ("https://a.example", true),
            ("https://A.example:443", true),
            ("http://localhost:1939", true),
            ("http://127.0.0.1:1939", true),
            ("http://lan.example:1939", true),
            ("https://lan.example:1939", false),
            ("http://a.example", false),
            ("http://localhost:3000", false),
            ("http://localhost", false),
            ("https://a.example.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(origins.is_own(origin, Some("http://lan.example:1939")), expected, "{origin:?}");
        }
        assert!(!origins.is_own("http://lan.example:1939", None));
    }
}
