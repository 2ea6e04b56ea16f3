//! Pure: which origin and which issuers hold, from given facts.
//!
//! The one resolver for tokens, children and command line (operator-token B5, files §10). A request never adds to the
//! set: neither its `Host` nor a forwarding header is a fact. Only what a caller is told about itself may come from
//! its own request, while no origin is configured.
#![forbid(unsafe_code)]

use std::fmt;

/// What an origin is made of: the surroundings of a process, and what `hub.db` remembers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) port: u16,
    /// What `parachute hub set-origin` stored.
    pub(crate) stored: Option<&'a str>,
    /// What the environment says.
    pub(crate) configured: Option<&'a str>,
    /// What the record of an exposure says. It was not written for us to check: what is no origin, or means this machine
    /// only, is none.
    pub(crate) exposed: Option<&'a str>,
    /// What the last hub issued under, for commands: they do not know what that hub was told.
    pub(crate) last: Option<&'a str>,
    /// Origins of the past whose tokens are still good.
    pub(crate) earlier: &'a [String],
}

/// Where the canonical origin comes from, in the words of the API (http-api §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Settings,
    Env,
    /// The record of an exposure.
    Expose,
    /// Nobody has said one: callers are told the one that they asked, and tokens are issued under this machine's name.
    Request,
}

impl Source {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Env => "env",
            Self::Expose => "expose",
            Self::Request => "request",
        }
    }
}

/// The hub's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origins {
    /// What new tokens are issued under and what the world should call us.
    pub(crate) canonical: String,
    pub(crate) source: Source,
    /// The origins that somebody has given us, the canonical one first; empty when nobody has.
    pub(crate) given: Vec<String>,
    /// Every origin whose tokens are accepted; the canonical one is first.
    pub(crate) issuers: Vec<String>,
    /// This machine's own names for the port.
    loopback: [String; 2],
}

impl Origins {
    /// What the sender of a request is told that our origin is (http-api §1.2). `of_request` is the origin that it
    /// asked, see [`of_request`].
    pub(crate) fn told(&self, of_request: Option<String>) -> String {
        of_request.filter(|_| self.source == Source::Request).unwrap_or_else(|| self.canonical.clone())
    }

    /// Whether a page of `origin` is one of ours. `of_request` is the origin that was asked: its host was checked, so a
    /// page of the same one came from here. An origin of the past may be somebody else's by now.
    pub(crate) fn is_own(&self, origin: &str, of_request: Option<&str>) -> bool {
        canonical(origin).is_ok_and(|origin| {
            self.given.contains(&origin) || self.loopback.contains(&origin) || of_request == Some(origin.as_str())
        })
    }

    /// This machine's name for the hub.
    pub(crate) fn own(&self) -> &str {
        let [_, own] = &self.loopback;
        own
    }

    /// The given origin whose host and port these are. Whether a proxy has told us of https does not matter.
    pub(crate) fn given_at(&self, host: &str) -> Option<&str> {
        let is_at = |given: &&String| {
            let scheme = given.split_once("://").map_or("", |(scheme, _)| scheme);
            canonical(&format!("{scheme}://{host}")).is_ok_and(|asked| asked == **given)
        };
        self.given.iter().find(is_at).map(String::as_str)
    }

    /// The canonical origin, if it means this hub on other machines, too.
    pub(crate) fn public(&self) -> Option<&str> {
        (!is_this_machine(&self.canonical)).then_some(self.canonical.as_str())
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

/// The origins that follow: the stored one before the configured one, then the one that the hub is exposed under, the
/// last hub's, and this machine's name for the port (http-api §1.2). One that was given and cannot be used is an error, because tokens issued under another
/// would not be accepted later.
pub(crate) fn resolve(facts: &Facts<'_>) -> Result<Origins, OriginError> {
    let loopback = ["localhost", "127.0.0.1"].map(|host| match facts.port {
        80 => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    });
    let (stored, configured) = (facts.stored.map(canonical).transpose()?, facts.configured.map(canonical).transpose()?);
    let exposed = facts.exposed.and_then(|exposed| canonical(exposed).ok()).filter(|exposed| !is_this_machine(exposed));
    let source = match (&stored, &configured, &exposed) {
        (Some(_), _, _) => Source::Settings,
        (None, Some(_), _) => Source::Env,
        (None, None, Some(_)) => Source::Expose,
        (None, None, None) => Source::Request,
    };
    let given: Vec<String> = distinct(stored.into_iter().chain(configured).chain(exposed));
    // It was stored by a hub, in the one spelling.
    let last = facts.last.map(str::to_owned);
    let [_, own] = &loopback;
    let canonical = given.first().cloned().or(last).unwrap_or_else(|| own.clone());
    let issuers = std::iter::once(&canonical).chain(&given).chain(&loopback).chain(facts.earlier);
    Ok(Origins { issuers: distinct(issuers.cloned()), canonical, source, given, loopback })
}

fn distinct(origins: impl Iterator<Item = String>) -> Vec<String> {
    let mut all = Vec::new();
    for origin in origins {
        if !all.contains(&origin) {
            all.push(origin);
        }
    }
    all
}

/// Whether an origin, as [`canonical`] spells it, is a name of this machine for itself.
pub(crate) fn is_loopback(origin: &str) -> bool {
    let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let host = split_port(authority).map_or(authority, |(host, _)| host);
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Whether what somebody wrote for an origin means this machine and no other, in any spelling that programs take for it
/// (files §10). What is no origin means nothing of the kind.
pub(crate) fn is_this_machine(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.trim_end_matches('/');
    let host = split_port(authority).map_or(authority, |(host, _)| host);
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let bare = bare.strip_suffix('.').unwrap_or(bare);
    let is_short_loopback = || {
        let parts: Vec<&str> = bare.split('.').collect();
        let is_number = |part: &&str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        parts.first() == Some(&"127") && (2..=4).contains(&parts.len()) && parts.iter().all(is_number)
    };
    let address = bare.parse::<std::net::IpAddr>().map(|address| address.to_canonical());
    bare == "localhost" || address.is_ok_and(|ip| ip.is_loopback() || ip.is_unspecified()) || is_short_loopback()
}

/// The one spelling of an origin that is to be stored; unlike [`canonical`], a slash at the end is refused, because it
/// would promise a path (files §10).
pub(crate) fn to_store(text: &str) -> Result<String, OriginError> {
    if text.ends_with('/') {
        return Err(OriginError { value: text.to_owned(), reason: "it ends with a slash" });
    }
    canonical(text)
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
    host.len() <= 253
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
            ("https://[::1]", Some("https://[::1]")),
            ("https://my-box_1.a.example", Some("https://my-box_1.a.example")),
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
            ("https://a.example:+443", None),
            ("https://a b", None),
            ("https://a\nb", None),
            ("https://[::1", None),
            ("https://[::1]x", None),
            ("https://[a]", None),
            (" https://a.example", None),
        ] {
            assert_eq!(canonical(text).ok().as_deref(), expected, "{text:?}");
        }
        let name = |length: usize| format!("https://{}", "a.".repeat(200).get(..length).expect("as long"));
        assert!(canonical(&name(253)).is_ok() && canonical(&name(255)).is_err(), "a name has 253 bytes at most");
    }

    fn configured(configured: Option<&str>) -> Origins {
        resolve(&Facts { port: 1939, configured, ..Facts::default() }).expect("a good origin")
    }

    /// files §15, case 16
    #[test]
    fn the_first_that_says_an_origin_wins_and_all_of_them_may_have_issued() {
        const LOCAL: &str = "http://localhost:1939";
        const OWN: &str = "http://127.0.0.1:1939";
        let earlier = ["https://old.example".to_owned(), OWN.to_owned()];
        for (stored, configured, last, source, issuers) in [
            (None, None, None, Source::Request, &[OWN, LOCAL, "https://old.example"][..]),
            (
                None,
                Some("https://A.example/"),
                None,
                Source::Env,
                &["https://a.example", LOCAL, OWN, "https://old.example"],
            ),
            (
                Some("https://s.example"),
                Some("https://a.example"),
                Some("https://l.example"),
                Source::Settings,
                &["https://s.example", "https://a.example", LOCAL, OWN, "https://old.example"],
            ),
            (
                None,
                Some("https://a.example"),
                Some("https://l.example"),
                Source::Env,
                &["https://a.example", LOCAL, OWN, "https://old.example"],
            ),
            (
                None,
                None,
                Some("https://l.example"),
                Source::Request,
                &["https://l.example", LOCAL, OWN, "https://old.example"],
            ),
            (None, Some(LOCAL), None, Source::Env, &[LOCAL, OWN, "https://old.example"]),
        ] {
            let origins = resolve(&Facts { port: 1939, stored, configured, last, earlier: &earlier, exposed: None })
                .expect("good origins");
            let row = format!("{stored:?} {configured:?} {last:?}");
            assert_eq!(
                (origins.source, origins.issuers.iter().map(String::as_str).collect::<Vec<_>>()),
                (source, issuers.to_vec()),
                "{row}"
            );
            assert_eq!(origins.canonical, issuers[0], "{row}");
            assert!(
                !origins.is_own("https://old.example", None) && !origins.is_own("https://l.example", None),
                "{row}"
            );
        }
        assert_eq!(resolve(&Facts { port: 80, ..Facts::default() }).expect("ours").canonical, "http://127.0.0.1");
        for bad in
            [Facts { stored: Some("x"), ..Facts::default() }, Facts { configured: Some("x"), ..Facts::default() }]
        {
            assert!(resolve(&bad).is_err(), "{bad:?}");
        }
    }

    /// files §15, case 16
    #[test]
    fn what_the_hub_is_exposed_under_comes_after_what_was_said_and_cannot_break_it() {
        const E: &str = "https://e.example";
        for (stored, configured, exposed, canonical, source) in [
            (None, None, E, E, Source::Expose),
            (None, None, "HTTPS://E.example:443/", E, Source::Expose),
            (None, Some("https://a.example"), E, "https://a.example", Source::Env),
            (Some("https://s.example"), None, E, "https://s.example", Source::Settings),
            (None, None, "http://127.0.0.1:1939", "http://127.0.0.1:1939", Source::Request),
            (None, None, "http://LOCALHOST.:1939", "http://127.0.0.1:1939", Source::Request),
            (None, None, "http://0.0.0.0", "http://127.0.0.1:1939", Source::Request),
            (None, None, "https://e.example/path", "http://127.0.0.1:1939", Source::Request),
            (None, None, "nonsense", "http://127.0.0.1:1939", Source::Request),
        ] {
            let exposed = Some(exposed);
            let facts = Facts { port: 1939, stored, configured, exposed, ..Facts::default() };
            let origins = resolve(&facts).expect("good origins");
            assert_eq!((origins.canonical.as_str(), origins.source), (canonical, source), "{facts:?}");
            let accepted = exposed.is_some_and(|exposed| exposed.eq_ignore_ascii_case(E) || exposed.ends_with(":443/"));
            assert_eq!(origins.issuers.iter().any(|issuer| issuer == E), accepted, "{facts:?}");
            assert_eq!(origins.is_own(E, None), accepted, "{facts:?}");
        }
        let facts = Facts { port: 1939, exposed: Some(E), last: Some("https://l.example"), ..Facts::default() };
        assert_eq!(resolve(&facts).expect("good").canonical, E, "also for a command");
    }

    #[test]
    fn a_given_origin_is_known_by_its_host_and_port() {
        let origins = configured(Some("https://a.example"));
        for (host, expected) in [
            ("a.example", Some("https://a.example")),
            ("A.example:443", Some("https://a.example")),
            ("a.example:80", None),
            ("b.example", None),
            ("127.0.0.1:1939", None),
            ("", None),
            ("a.example/x", None),
        ] {
            assert_eq!(origins.given_at(host), expected, "{host}");
        }
        assert_eq!((origins.own(), configured(None).given_at("127.0.0.1:1939")), ("http://127.0.0.1:1939", None));
    }

    /// files §15, case 16
    #[test]
    fn this_machine_has_many_spellings() {
        for (text, expected) in [
            ("http://127.0.0.1:1939", true),
            ("HTTP://LOCALHOST", true),
            ("https://localhost/", true),
            ("http://localhost.:1939", true),
            ("http://127.1", true),
            ("http://127.0.1:80", true),
            ("http://0.0.0.0:1939", true),
            ("http://[::1]", true),
            ("http://[::]:1939", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://[::ffff:0.0.0.0]", true),
            ("https://a.example", false),
            ("http://127.0.0.1.a.example", false),
            ("http://127.12345678", true),
            ("http://127", false),
            ("http://127.example", false),
            ("http://127.0.a.1", false),
            ("http://127.1a", false),
            ("http://127..1", false),
            ("http://127.123456789", false),
            ("http://127.0.0.0.1", false),
            ("http://128.1", false),
            ("127.0.0.1", false),
            ("", false),
        ] {
            assert_eq!(is_this_machine(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_stored_ends_with_its_host_or_port() {
        for (text, expected) in [
            ("https://A.example", Some("https://a.example")),
            ("https://a.example:443", Some("https://a.example")),
            ("http://box:8080", Some("http://box:8080")),
            ("https://a.example/", None),
            ("https://a.example/x", None),
            ("https://u@a.example", None),
            ("https://a.example?x", None),
            ("https://a.example#x", None),
            ("ftp://a.example", None),
            ("https://", None),
            ("a.example", None),
            ("", None),
        ] {
            assert_eq!(to_store(text).ok().as_deref(), expected, "{text:?}");
        }
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
            assert_eq!(self::configured(configured).told(asked.clone()), expected, "{configured:?} {asked:?}");
        }
    }

    #[test]
    fn a_page_is_ours_by_configuration_or_because_it_came_from_where_it_asks() {
        let origins = configured(Some("https://a.example"));
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
