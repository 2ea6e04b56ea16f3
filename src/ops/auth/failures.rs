//! Pure: how often an address may fail to show a good token.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// In which failures count; further attempts wait until the oldest has left it.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. One more takes the place of the one that has failed longest ago, so that nobody can
/// fill the memory by coming from everywhere.
const ADDRESSES_LIMIT: usize = 1024;
/// What one customer of a provider has at the least, so that its single addresses mean nothing (RFC 6177).
const IPV6_PREFIX: u128 = !0 << 64;

/// Failed attempts by address. An attempt that was denied does not count, so that a client which goes on trying is let
/// in again.
#[derive(Debug)]
pub(crate) struct Failures {
    /// Of one address inside the window.
    limit: usize,
    /// Oldest first, never empty.
    by_address: HashMap<IpAddr, VecDeque<Instant>>,
}

impl Failures {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, by_address: HashMap::new() }
    }

    /// How long this address has to wait; `None` when it may try.
    pub(crate) fn wait(&self, from: IpAddr, now: Instant) -> Option<Duration> {
        let failures = self.by_address.get(&network(from))?;
        let oldest_that_counts = failures.len().checked_sub(self.limit).and_then(|at| failures.get(at))?;
        let free_at = *oldest_that_counts + WINDOW;
        free_at.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Notes a failure.
    pub(crate) fn record(&mut self, from: IpAddr, now: Instant) {
        let from = network(from);
        if self.by_address.len() >= ADDRESSES_LIMIT && !self.by_address.contains_key(&from) {
            self.make_room(now);
        }
        let failures = self.by_address.entry(from).or_default();
        failures.push_back(now);
        while failures.len() > self.limit {
            failures.pop_front();
        }
    }

    /// Forgets whoever has not failed inside the window, or at least the one that failed longest ago.
    fn make_room(&mut self, now: Instant) {
        let last = |failures: &VecDeque<Instant>| failures.back().copied();
        self.by_address.retain(|_, failures| last(failures).is_some_and(|at| now.duration_since(at) < WINDOW));
        if self.by_address.len() >= ADDRESSES_LIMIT {
            let oldest = self.by_address.iter().min_by_key(|(_, failures)| last(failures)).map(|(address, _)| *address);
            oldest.and_then(|address| self.by_address.remove(&address));
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & IPV6_PREFIX).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 10;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_eleventh_attempt_waits_until_the_first_has_left_the_window() {
        let (start, from) = (Instant::now(), ip("203.0.113.7"));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut failures = Failures::new(LIMIT);
        for second in 0..10 {
            assert_eq!(failures.wait(from, at(second)), None, "attempt at {second} s");
            failures.record(from, at(second));
        }
        for (second, expected_s) in [(9, Some(51)), (30, Some(30)), (59, Some(1)), (60, None), (1000, None)] {
            assert_eq!(failures.wait(from, at(second)).map(|wait| wait.as_secs()), expected_s, "at {second} s");
        }
        failures.record(from, at(60));
        assert_eq!(failures.wait(from, at(60)).map(|wait| wait.as_secs()), Some(1), "the next one counts again");
        assert_eq!(failures.by_address[&from].len(), LIMIT, "no more are kept");
        assert_eq!(failures.wait(ip("203.0.113.8"), at(60)), None, "another address is not held to account");
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        for (failed, other, is_one) in [
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.6", false),
            ("::ffff:203.0.113.7", "203.0.113.7", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            let (mut failures, now) = (Failures::new(LIMIT), Instant::now());
            (0..LIMIT).for_each(|_| failures.record(ip(failed), now));
            assert_eq!(failures.wait(ip(other), now).is_some(), is_one, "{failed} and {other}");
        }
    }

    #[test]
    fn no_flood_of_addresses_fills_the_memory() {
        let (mut failures, start) = (Failures::new(LIMIT), Instant::now());
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..5000_u32 {
            failures.record(address(number), start + Duration::from_millis(u64::from(number)));
            assert!(failures.by_address.len() <= ADDRESSES_LIMIT, "after {number}");
        }
        assert!(failures.by_address.contains_key(&address(4999)) && !failures.by_address.contains_key(&address(0)));
        failures.record(address(9999), start + Duration::from_secs(600));
        assert_eq!(failures.by_address.len(), 1, "what is past is forgotten when room is needed");
    }
}
