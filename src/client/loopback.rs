//! Where the hub is, told to `ureq` in place of a resolver: a verb looks no name up, so the system's resolver, which
//! would be a twentieth of the static binary, is not linked.

use std::net::{Ipv4Addr, SocketAddr};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Answers every question with 127.0.0.1 and this port.
#[derive(Debug)]
pub(super) struct Loopback(SocketAddr);

impl Loopback {
    pub(super) fn new(port: u16) -> Self {
        Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }
}

impl Resolver for Loopback {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        found.push(self.0);
        Ok(found)
    }
}
