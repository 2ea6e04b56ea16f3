//! What the connections of a loop share.

use super::Settings;
use super::access::Journal;
use super::date::Date;
use super::places::{Places, PlacesOf};
use super::route::{Hosts, Table};
use std::net::IpAddr;
use std::sync::Arc;

/// What holds for all connections of a loop.
pub(crate) struct Rules {
    pub(crate) settings: Settings,
    pub(crate) hosts: Hosts,
    /// Where this edge listens itself.
    pub(crate) own_ports: Vec<u16>,
    pub(crate) table: Arc<Table>,
    pub(crate) websockets: Places,
    pub(crate) websockets_of: PlacesOf<IpAddr>,
    /// Of questions about tokens.
    pub(crate) introspections: Places,
    /// Of requests that the hub has in hand, and those of one caller elsewhere.
    pub(crate) hub: Places,
    pub(crate) hub_of: PlacesOf<IpAddr>,
    /// Of large bodies that are on their way to the hub.
    pub(crate) large_bodies: Places,
    /// Of relays through which much passes.
    pub(crate) streams: Places,
    /// For answers that begin now.
    pub(crate) date: Option<Date>,
    /// The number of the last request that was sent on.
    pub(crate) last_exchange: u64,
    /// Requests seen so far, refused ones included.
    pub(crate) requests: u64,
    /// Clients so far for whom there was no place.
    pub(crate) refused: u64,
    pub(crate) journal: Journal,
}
