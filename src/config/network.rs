//! Pure: an address or a network, as a variable names it.

use std::net::IpAddr;

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    first: IpAddr,
    prefix_bits: u32,
}

impl Network {
    /// `10.1.2.3`, `10.0.0.0/8`, `fd00::/8`; an IPv4 network inside IPv6 is that network. What follows the prefix may be
    /// there and means nothing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let written: IpAddr = address.parse().ok()?;
        let prefix_bits = match prefix {
            None => width_bits(written),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        if prefix_bits > width_bits(written) {
            return None;
        }
        let first = written.to_canonical();
        // What an IPv4 address has in front inside IPv6.
        let in_front = width_bits(written) - width_bits(first);
        match prefix_bits.checked_sub(in_front) {
            Some(prefix_bits) => Some(Self { first, prefix_bits }),
            None => Some(Self { first: written, prefix_bits }),
        }
    }

    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let width = width_bits(address);
        // A shift by the whole width means that no bit has to be the same.
        let differing = (bits(self.first) ^ bits(address)).checked_shr(width - self.prefix_bits.min(width));
        width == width_bits(self.first) && differing.unwrap_or_default() == 0
    }
}

fn width_bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_the_addresses_that_begin_like_it() {
        for (network, has, has_not) in [
            ("10.1.2.3", &["10.1.2.3", "::ffff:10.1.2.3"][..], &["10.1.2.4", "::1", "::a01:203"][..]),
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.9.9.9"], &["11.0.0.0", "9.255.255.255"]),
            ("10.9.9.9/8", &["10.0.0.1"], &["11.0.0.1"]),
            ("172.16.0.0/12", &["172.16.0.1", "172.31.255.255"], &["172.32.0.0", "172.15.255.255"]),
            ("192.168.1.7/31", &["192.168.1.6", "192.168.1.7"], &["192.168.1.8"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::1", "2001:db8::1"]),
            ("::/0", &["::1", "2001:db8::1"], &["1.2.3.4"]),
            ("fd00::/8", &["fd00::1", "fdff:ffff::"], &["fe00::1", "fc00::1"]),
            ("2001:db8::1", &["2001:db8::1"], &["2001:db8::2"]),
            ("2001:db8::/127", &["2001:db8::", "2001:db8::1"], &["2001:db8::2"]),
            ("::ffff:10.0.0.0/104", &["10.1.1.1", "::ffff:10.1.1.1"], &["11.1.1.1"]),
        ] {
            let parsed = Network::parse(network).unwrap_or_else(|| panic!("{network} is a network"));
            let holds = |address: &&str| parsed.has(address.parse().expect("an address"));
            assert!(has.iter().all(holds), "{network} has not all of {has:?}");
            assert!(!has_not.iter().any(holds), "{network} has some of {has_not:?}");
        }
    }

    #[test]
    fn what_is_no_network_is_none() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/ 8",
            "10.0.0.0/8/8",
            "10.0.0.0/0x8",
            "10.0.0.0/99999999999",
            "10.0.0/8",
            "10",
            "::/129",
            "[::1]",
            "fe80::1%eth0",
            "localhost",
            "10.0.0.1:80",
            " 10.0.0.1",
            "10.0.0.1-10.0.0.9",
            "*",
        ] {
            assert_eq!(Network::parse(text), None, "{text:?}");
        }
    }
}
