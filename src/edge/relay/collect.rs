//! Pure: the body of a request for the hub, which is taken in as a whole before the hub hears of it.
//!
//! Everything that the hub is asked costs it a thread until it has answered. A body that comes as slowly as its sender
//! likes would hold that thread for as long; here it holds a buffer, and for a limited time.

use super::{MAX_BODY_BYTES, MAX_BUFFER_BYTES, Relay, Upstream};
use crate::config::Limits;
use crate::edge::answer::Answer;
use crate::edge::head::MAX_HEAD_BYTES;
use crate::edge::layer::network;
use crate::edge::places::{Place, Places, PlacesOf};
use std::net::IpAddr;

/// Bodies at once that need more than a connection's usual buffer; no route of the hub takes one. With one mebibyte for
/// each, this is what all of them together may hold.
const MAX_LARGE_BODIES: usize = 16;
/// What is kept of a request: its head, its body, and as much again of framing as a head may have. A body in tiny chunks
/// reaches this limit before that of its content.
const MAX_KEPT_BYTES: usize = MAX_BODY_BYTES as usize + 2 * MAX_HEAD_BYTES;

/// One in so many of the hub's places is kept for programs on this machine.
const KEPT_PART: usize = 8;

/// What a request for the hub takes of what all such requests share.
#[derive(Debug)]
pub(crate) struct HubBound {
    /// Whose places are counted; `None`: a program on this machine, which has those that are kept for it.
    pub(crate) caller: Option<IpAddr>,
    /// Among the requests that the hub has in hand, and among those of this caller; held until it has answered.
    pub(crate) places: Option<(Place, Option<Place>)>,
    /// Of large bodies.
    pub(crate) large_bodies: Places,
    pub(crate) large: Option<Place>,
}

impl HubBound {
    /// Takes its places, unless it has them; false when there is none.
    pub(crate) fn take_places(&mut self, limits: &Limits, hub: &Places, hub_of: &mut PlacesOf<IpAddr>) -> bool {
        if self.places.is_some() {
            return true;
        }
        self.places = match self.caller {
            None => hub.take(limits.hub_connections).map(|place| (place, None)),
            Some(caller) => hub.take(limits.hub_connections - limits.hub_connections / KEPT_PART).and_then(|place| {
                let of_caller = hub_of.take(network(caller), limits.hub_connections_per_ip)?;
                Some((place, Some(of_caller)))
            }),
        };
        self.places.is_some()
    }
}

impl Relay {
    /// Looks at how much of its body there is.
    pub(super) fn collect(&mut self) -> Result<(), Answer<'static>> {
        let (Upstream::Collecting { .. }, Some(bound)) = (self.upstream, &mut self.hub_bound) else { return Ok(()) };
        let held = self.to_upstream.held();
        if held > MAX_KEPT_BYTES {
            return Err(Answer::BodyTooLarge { limit_bytes: self.request.limit_bytes });
        }
        if held > MAX_BUFFER_BYTES && bound.large.is_none() {
            bound.large = bound.large_bodies.take(MAX_LARGE_BODIES);
            if bound.large.is_none() {
                return Err(Answer::Busy);
            }
        }
        if self.request.body.is_done() {
            self.upstream = Upstream::Wanted { fresh: false, identified: false };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_cannot_have_all_places_and_some_are_kept_for_this_machine() {
        let limits = Limits { hub_connections: 16, hub_connections_per_ip: 5, ..Limits::default() };
        let (hub, mut hub_of, large) = (Places::default(), PlacesOf::default(), Places::default());
        let mut held = Vec::new();
        let mut takes = |caller: Option<&str>, times: usize| {
            let taken = (0..times).filter(|_| {
                let caller = caller.map(|caller| caller.parse().expect("an address"));
                let mut bound = HubBound { caller, places: None, large_bodies: large.clone(), large: None };
                let taken = bound.take_places(&limits, &hub, &mut hub_of);
                assert!(!taken || bound.take_places(&limits, &hub, &mut hub_of), "who has one needs no other");
                held.push(bound);
                taken
            });
            taken.count()
        };
        assert_eq!(takes(Some("192.0.2.1"), 20), 5);
        assert_eq!(takes(Some("2001:db8::1"), 3), 3);
        assert_eq!(takes(Some("2001:db8::2"), 3), 2, "of the same network");
        assert_eq!(takes(Some("192.0.2.2"), 20), 4, "what is left but for those kept");
        assert_eq!(takes(None, 20), 2);
        drop(held);
        assert_eq!(hub.taken(), 0);
    }
}
