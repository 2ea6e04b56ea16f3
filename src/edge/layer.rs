//! Pure: how far away a caller is (expose §8).

use super::head::{Field, Fields};
use super::headers;
use crate::config::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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

/// The proxies elsewhere that are believed like those on this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(Vec<Network>);

impl Proxies {
    pub(crate) fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// The programs of this machine come from these two addresses, whatever network they are counted in.
    fn have(&self, address: IpAddr) -> bool {
        let is_ours =
            matches!(address.to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST));
        !is_ours && self.0.iter().any(|network| network.has(address))
    }

    /// Whether what the peer says about its client is believed.
    pub(crate) fn believe(&self, peer: IpAddr) -> bool {
        is_loopback(peer) || self.have(peer)
    }

    /// The layer of a caller at `peer`. Whoever comes through a proxy elsewhere comes from anywhere; any other peer could
    /// have written `Tailscale-User-Login` itself.
    pub(crate) fn layer(&self, peer: IpAddr, fields: &Fields<'_>) -> Layer {
        if is_loopback(peer) && !self.have(peer) { of_neighbour(fields) } else { Layer::Public }
    }

    /// Who asks, as far as it is known: the peer, or whom a proxy that is believed names. The last address in
    /// `X-Forwarded-For` is what that proxy has seen itself; where this is a proxy that is believed as well, the one before
    /// it is what that one has seen. Everything before may be a claim. So may the other fields be where a proxy hands them
    /// on as they came: they count only where nothing else is said.
    pub(crate) fn client_ip(&self, peer: IpAddr, fields: &Fields<'_>) -> IpAddr {
        if !self.believe(peer) {
            return peer;
        }
        let mut nearest = None;
        for value in fields.all("x-forwarded-for").rev() {
            for hop in value.rsplit(|byte| *byte == b',') {
                match address(hop) {
                    Some(hop) if self.have(hop) => nearest = Some(hop),
                    Some(client) => return client.to_canonical(),
                    None => return nearest.unwrap_or(peer).to_canonical(),
                }
            }
        }
        let named = || ["x-real-ip", "cf-connecting-ip"].iter().find_map(|name| fields.first(name)).and_then(address);
        nearest.or_else(named).unwrap_or(peer).to_canonical()
    }
}

/// The layer of a caller on this machine, which may be a proxy.
fn of_neighbour(fields: &Fields<'_>) -> Layer {
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

/// Whose address it is for limits: an IPv6 address stands for its /64, which is what one customer gets at least.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address @ IpAddr::V4(_) => address,
    }
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
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nTailscale-Funnel-Request: ?0\r\n", Layer::Tailnet),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nTailscale-User-Name: ?1\r\n", Layer::Tailnet),
            ("127.0.0.1", "Tailscale-Funnel-Request: ?0\r\n", Layer::Public),
            ("127.0.0.1", "Tailscale-User-Login: a@b\r\nCF-Ray: 1\r\n", Layer::Public),
            ("192.168.1.7", "Tailscale-User-Login: a@b\r\n", Layer::Public),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let request = head::request(text.as_bytes()).expect("a good head");
            assert_eq!(
                Proxies::default().layer(peer.parse().expect("address"), &request.fields),
                expected,
                "{peer} with {fields:?}"
            );
        }
    }

    #[test]
    fn one_customer_is_one_network() {
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            let network = network(address.parse().expect("an address"));
            assert_eq!(network.to_string(), expected, "{address}");
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
            let client = Proxies::default().client_ip(peer.parse().expect("address"), &request.fields);
            assert_eq!(client.to_string(), expected, "{peer} with {fields:?}");
        }
    }

    #[test]
    fn a_proxy_elsewhere_is_believed_when_it_is_named_and_never_near() {
        let networks = ["10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "::1/128"];
        let networks = networks.map(|text| Network::parse(text).expect("a network"));
        let proxies = Proxies::new(networks.into());
        for (peer, fields, layer, client) in [
            ("10.0.0.1", "", Layer::Public, "10.0.0.1"),
            ("::ffff:10.0.0.1", "X-Forwarded-For: 1.2.3.4\r\n", Layer::Public, "1.2.3.4"),
            ("10.0.0.1", "Tailscale-User-Login: a@b\r\nX-Forwarded-For: 1.2.3.4\r\n", Layer::Public, "1.2.3.4"),
            ("10.0.0.1", "X-Forwarded-For: 127.0.0.1\r\n", Layer::Public, "127.0.0.1"),
            ("10.0.0.1", "X-Real-IP: 1.2.3.4\r\n", Layer::Public, "1.2.3.4"),
            ("10.0.0.1", "X-Real-IP: 6.6.6.6\r\nX-Forwarded-For: 1.2.3.4\r\n", Layer::Public, "1.2.3.4"),
            ("10.0.0.1", "X-Forwarded-For: 6.6.6.6, 1.2.3.4, 10.9.9.9\r\n", Layer::Public, "1.2.3.4"),
            ("10.0.0.1", "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: fd00::1\r\n", Layer::Public, "1.2.3.4"),
            ("10.0.0.1", "X-Forwarded-For: 6.6.6.6, unknown, 10.9.9.9\r\n", Layer::Public, "10.9.9.9"),
            ("10.0.0.1", "X-Forwarded-For: 10.9.9.9\r\n", Layer::Public, "10.9.9.9"),
            ("11.0.0.1", "X-Forwarded-For: 1.2.3.4\r\n", Layer::Public, "11.0.0.1"),
            ("fd00::7", "X-Forwarded-For: 2001:db8::1\r\n", Layer::Public, "2001:db8::1"),
            ("127.0.0.2", "", Layer::Public, "127.0.0.2"),
            // Where the commands come from.
            ("127.0.0.1", "", Layer::Loopback, "127.0.0.1"),
            ("::1", "", Layer::Loopback, "::1"),
            ("::1", "X-Forwarded-For: 1.2.3.4\r\n", Layer::Public, "1.2.3.4"),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let request = head::request(text.as_bytes()).expect("a good head");
            let peer = peer.parse().expect("address");
            let found = (proxies.layer(peer, &request.fields), proxies.client_ip(peer, &request.fields).to_string());
            assert_eq!(found, (layer, client.to_owned()), "{peer} with {fields:?}");
        }
    }
}
