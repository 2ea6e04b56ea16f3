//! Pure: how far away a caller is (expose §8).

use super::head::{Field, Fields};
use super::headers;
use std::net::{IpAddr, SocketAddr};

/// The farther layer wins when the evidence is mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// A program on this machine.
    Loopback,
    /// Somebody in the owner's tailnet, by way of `tailscale serve` on this machine.
    Tailnet,
    Public,
}

impl Layer {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Tailnet => "tailnet",
            Self::Public => "public",
        }
    }
}

/// 127/8 and ::1, also as an IPv4 address inside IPv6.
pub(crate) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// The layer of a caller at `peer`. Only a proxy on this machine is believed; any other peer could have written
/// `Tailscale-User-Login` itself.
pub(crate) fn of(peer: IpAddr, fields: &Fields<'_>) -> Layer {
    if !is_loopback(peer) {
        return Layer::Public;
    }
    let (mut tailnet, mut proxied) = (false, false);
    for field in fields.iter() {
        // An empty one counts, too: it was a proxy that wrote it.
        if !is_of_proxy(field) {
            continue;
        }
        match field.is("tailscale-user-login") {
            true => tailnet = true,
            false if is_tailscales(field) => proxied = true,
            false => return Layer::Public,
        }
    }
    match (tailnet, proxied) {
        (true, _) => Layer::Tailnet,
        (false, true) => Layer::Public,
        (false, false) => Layer::Loopback,
    }
}

/// Whether a proxy has written the field. Whoever else does wants to count as farther away, which takes nothing from
/// anybody.
fn is_of_proxy(field: Field<'_>) -> bool {
    field.is("via") || field.is("forwarded") || is_said_by_proxies(field)
}

/// Whether `tailscale serve` writes such a field for somebody of the tailnet; through a funnel comes everybody.
fn is_tailscales(field: Field<'_>) -> bool {
    let is_funnels = field.is("tailscale-funnel-request") && field.value == b"?1";
    !is_funnels && (headers::begins_with(field, "tailscale-") || headers::begins_with(field, "x-forwarded-"))
}

/// So begin the names of what only a proxy next to us can know.
const SAID_BY_PROXIES: [&str; 5] = ["cf-", "tailscale-", "true-client-ip", "x-forwarded-", "x-real-ip"];

/// Whether the field says what only a proxy next to us can know. From anybody else it is a claim.
pub(crate) fn is_said_by_proxies(field: Field<'_>) -> bool {
    let first = field.name.as_bytes().first().map(u8::to_ascii_lowercase);
    matches!(first, Some(b'c' | b't' | b'x')) && SAID_BY_PROXIES.iter().any(|start| headers::begins_with(field, start))
}

/// Who asks, as far as it is known: the peer, or whom a proxy on this machine names. The last address in
/// `X-Forwarded-For` is what that proxy has seen itself; everything before it may be a claim. So may `CF-Connecting-IP`
/// be where another proxy than Cloudflare's is in front of us, which hands it on as it came: it counts only where
/// nothing else is said. Cloudflare's says both.
pub(crate) fn client_ip(peer: IpAddr, fields: &Fields<'_>) -> IpAddr {
    if !is_loopback(peer) {
        return peer;
    }
    let named = match fields.all("x-forwarded-for").last() {
        Some(value) => value.rsplit(|byte| *byte == b',').next().and_then(address),
        None => fields.first("cf-connecting-ip").and_then(address),
    };
    named.unwrap_or(peer).to_canonical()
}

/// An address as proxies write it; some add a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse::<IpAddr>().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::head;

    #[test]
    fn the_layer_follows_from_peer_and_evidence() {
        for (peer, fields, expected) in [
            ("127.0.0.1", "", Layer::Loopback),
            ("127.8.0.1", "", Layer::Loopback),
            ("::1", "", Layer::Loopback),
            ("::ffff:127.0.0.1", "", Layer::Loopback),
            ("192.168.1.7", "", Layer::Public),
            ("::ffff:10.0.0.1", "", Layer::Public),
            ("0.0.0.0", "", Layer::Public),
            ("127.0.0.1", "X-Forwarded-For: 1.2.3.4\r\n", Layer::Public),
            ("127.0.0.1", "x-forwarded-host:\r\n", Layer::Public),
            ("127.0.0.1", "Forwarded: for=1.2.3.4\r\n", Layer::Public),
            ("127.0.0.1", "X-Forwarded-Proto: https\r\n", Layer::Public),
            ("127.0.0.1", "X-Forwarded-Port: 443\r\n", Layer::Public),
            ("127.0.0.1", "X-Real-IP: 127.0.0.1\r\n", Layer::Public),
            ("127.0.0.1", "X_Real_IP: 127.0.0.1\r\n", Layer::Public),
            ("127.0.0.1", "True-Client-IP: 127.0.0.1\r\n", Layer::Public),
            ("127.0.0.1", "Via: 1.1 box\r\n", Layer::Public),
            ("127.0.0.1", "Viable: 1\r\nX-Request-ID: 1\r\nCookie: a=b\r\nTE: trailers\r\n", Layer::Loopback),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nVia: 1.1 box\r\n", Layer::Public),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nX-Real-IP: 1.2.3.4\r\n", Layer::Public),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nForwarded: for=1.2.3.4\r\n", Layer::Public),
            ("127.0.0.1", "CF-Visitor: x\r\n", Layer::Public),
            ("127.0.0.1", "CF-Ray: 1\r\n", Layer::Public),
            ("127.0.0.1", "CF-Connecting-IP: 1.2.3.4\r\n", Layer::Public),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\n", Layer::Tailnet),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nX-Forwarded-For: 100.1.1.1\r\n", Layer::Tailnet),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nTailscale-Funnel-Request: ?1\r\n", Layer::Public),
            ("127.0.0.1", "Tailscale-Funnel-Request: ?0\r\n", Layer::Public),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nCF-Ray: 1\r\n", Layer::Public),
            ("192.168.1.7", "Tailscale-User-Login: a@b\r\n", Layer::Public),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let request = head::request(text.as_bytes()).expect("a good head");
            assert_eq!(of(peer.parse().expect("address"), &request.fields), expected, "{peer} with {fields:?}");
        }
    }

    #[test]
    fn the_client_is_whom_the_nearest_proxy_has_seen() {
        for (peer, fields, expected) in [
            ("127.0.0.1", "", "127.0.0.1"),
            ("127.0.0.1", "X-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
            ("127.0.0.1", "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\n", "1.2.3.4"),
            ("127.0.0.1", "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: ::ffff:1.2.3.4\r\n", "1.2.3.4"),
            ("127.0.0.1", "X-Forwarded-For: 1.2.3.4, nonsense\r\n", "127.0.0.1"),
            ("127.0.0.1", "X-Forwarded-For: 6.6.6.6, unknown\r\nCF-Connecting-IP: 6.6.6.6\r\n", "127.0.0.1"),
            ("127.0.0.1", "X-Forwarded-For:\r\nCF-Connecting-IP: 6.6.6.6\r\n", "127.0.0.1"),
            ("127.0.0.1", "X-Forwarded-For: 1.2.3.4:4711\r\n", "1.2.3.4"),
            ("127.0.0.1", "X-Forwarded-For: [2001:db8::2]:443\r\n", "2001:db8::2"),
            ("127.0.0.1", "X-Forwarded-For: [2001:db8::2]\r\n", "2001:db8::2"),
            ("127.0.0.1", "X-Forwarded-For: 1.2.3.4:x\r\n", "127.0.0.1"),
            ("127.0.0.1", "X-Forwarded-For: \u{ff}\r\n", "127.0.0.1"),
            ("::1", "CF-Connecting-IP: 2001:db8::1\r\n", "2001:db8::1"),
            // A visitor's own word, which a proxy that does not know it hands on.
            ("::1", "CF-Connecting-IP: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n", "1.2.3.4"),
            ("::ffff:127.0.0.1", "", "127.0.0.1"),
            ("10.0.0.1", "X-Forwarded-For: 1.2.3.4\r\nCF-Connecting-IP: 1.2.3.4\r\n", "10.0.0.1"),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let request = head::request(text.as_bytes()).expect("a good head");
            let client = client_ip(peer.parse().expect("address"), &request.fields);
            assert_eq!(client.to_string(), expected, "{peer} with {fields:?}");
        }
    }
}
