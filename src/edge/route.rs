//! Pure: which upstream a request goes to, by host, distance and path (design §5, "Host").

use super::head;
use super::layer::Layer;
use std::net::IpAddr;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The hub's private socket.
    Hub,
    Refuse(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The host is none of ours: a page that points its own name at this machine, or a proxy nobody told us about.
    ForeignHost,
}

/// The names and addresses under which we answer.
#[derive(Debug)]
pub(crate) struct Hosts {
    /// Host names of the configured origins, and the ones that are allowed besides; lower case.
    configured: Vec<String>,
    listening: Vec<IpAddr>,
}

impl Hosts {
    /// `origins` are URLs, `allowed` are names with or without a port; what is neither is left out.
    pub(crate) fn new(origins: &[String], allowed: &[String], listening: Vec<IpAddr>) -> Self {
        let authority = |origin: &String| {
            let rest = origin.split_once("://").map_or(origin.as_str(), |(_, rest)| rest);
            rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned()
        };
        let configured = origins
            .iter()
            .map(authority)
            .chain(allowed.iter().cloned())
            .filter_map(|host| head::host_name(&host).map(str::to_ascii_lowercase))
            .collect();
        // A wildcard is no address of ours: browsers connect to 0.0.0.0 on behalf of any page.
        Self { configured, listening: listening.into_iter().filter(|ip| !ip.is_unspecified()).collect() }
    }

    fn is_configured(&self, name: &str) -> bool {
        self.configured.iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    fn is_local(&self, name: &str) -> bool {
        if name.eq_ignore_ascii_case("localhost") {
            return true;
        }
        name.parse::<IpAddr>()
            .is_ok_and(|address| super::layer::is_loopback(address) || self.listening.contains(&address))
    }
}

/// Chooses. `host` is the host field, which only HTTP/1.0 may leave out: no browser does, so that a local caller
/// without one cannot be a foreign page.
pub(crate) fn target(hosts: &Hosts, layer: Layer, host: Option<&str>, path: &str) -> Target {
    let name = host.and_then(head::host_name);
    let known = match (layer, name) {
        (Layer::Loopback, None) => true,
        (Layer::Loopback, Some(name)) => hosts.is_local(name) || hosts.is_configured(name),
        (Layer::Tailnet | Layer::Public, name) => {
            is_open_to_everyone(path) || name.is_some_and(|name| hosts.is_configured(name))
        }
    };
    if known { Target::Hub } else { Target::Refuse(Refusal::ForeignHost) }
}

/// What the hub says to anybody who asks under any name.
fn is_open_to_everyone(path: &str) -> bool {
    path == "/health" || path.starts_with("/.well-known/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Layer::{Loopback, Public, Tailnet};

    fn hosts() -> Hosts {
        Hosts::new(
            &["https://Box.example.org".to_owned(), "http://box.ts.net:8443/path".to_owned(), "nonsense//".to_owned()],
            &["lan.example:1939".to_owned(), "a b".to_owned()],
            vec!["192.168.1.5".parse().expect("address"), "0.0.0.0".parse().expect("address")],
        )
    }

    #[test]
    fn the_host_decides_before_anything_else() {
        let hosts = hosts();
        for (layer, host, path, passes) in [
            (Loopback, Some("localhost"), "/", true),
            (Loopback, Some("LOCALHOST.:1939"), "/", true),
            (Loopback, Some("127.0.0.1:1939"), "/api/modules", true),
            (Loopback, Some("127.9.9.9"), "/", true),
            (Loopback, Some("[::1]:1939"), "/", true),
            (Loopback, Some("[::ffff:127.0.0.1]"), "/", true),
            (Loopback, Some("box.example.org"), "/api/modules", true),
            (Loopback, Some("BOX.TS.NET"), "/", true),
            (Loopback, Some("lan.example"), "/", true),
            (Loopback, Some("192.168.1.5:1939"), "/", true),
            (Loopback, None, "/", true),
            (Loopback, Some("evil.example"), "/", false),
            (Loopback, Some("evil.example"), "/health", false),
            (Loopback, Some("localhost.evil.example"), "/", false),
            (Loopback, Some("127.0.0.1.evil.example"), "/", false),
            (Loopback, Some("0.0.0.0"), "/", false),
            (Loopback, Some("[::]"), "/", false),
            (Loopback, Some("192.168.1.6"), "/", false),
            (Loopback, Some("2130706433"), "/", false),
            (Public, Some("box.example.org"), "/api/modules", true),
            (Public, Some("lan.example:80"), "/", true),
            (Public, Some("localhost"), "/api/modules", false),
            (Public, Some("192.168.1.5"), "/api/modules", false),
            (Public, Some("evil.example"), "/health", true),
            (Public, Some("evil.example"), "/.well-known/parachute.json", true),
            (Public, Some("evil.example"), "/healthy", false),
            (Public, Some("evil.example"), "/.well-knownx", false),
            (Public, Some("evil.example"), "/", false),
            (Public, None, "/health", true),
            (Public, None, "/oauth/token", false),
            (Tailnet, Some("box.ts.net"), "/api/modules", true),
            (Tailnet, Some("other.ts.net"), "/api/modules", false),
        ] {
            let expected = if passes { Target::Hub } else { Target::Refuse(Refusal::ForeignHost) };
            assert_eq!(target(&hosts, layer, host, path), expected, "{layer:?} {host:?} {path}");
        }
    }
}
