//! The host names of the hub's own origins, which may change while it runs.

use super::head;
use std::sync::{Arc, PoisonError, RwLock};

/// Host names whose bearers may use everything from everywhere. All clones are one: whoever changes it tells the edge.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnHosts(Arc<RwLock<Vec<String>>>);

impl OwnHosts {
    /// From the next request on these are the origins, as URLs; what is none is left out.
    pub(crate) fn replace(&self, origins: &[String]) {
        let hosts = origins.iter().filter_map(|origin| host_of(origin)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hosts;
    }

    /// Whether this is one of them, in any case of its letters.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|host| host.eq_ignore_ascii_case(name))
    }

    #[cfg(test)]
    pub(super) fn of(origins: &[&str]) -> Self {
        let hosts = Self::default();
        hosts.replace(&origins.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>());
        hosts
    }
}

fn host_of(origin: &str) -> Option<String> {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    head::host_name(authority).map(str::to_ascii_lowercase)
}
