//! Pure: what a connection asks of the loop.

use super::identity::Question;
use std::sync::Arc;

/// What [`super::exchange::Connection::advance`] asks for, to be done in this order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asks {
    /// Give this exchange's upstream back.
    pub(crate) release: Option<Release>,
    /// Say that nobody waits for this exchange any more.
    pub(crate) gone: Option<u64>,
    /// Ask the hub who the caller of this exchange is, and tell the connection, by `identified`.
    pub(crate) identify: Option<(u64, Arc<Question>)>,
    /// Open an upstream and tell the connection, by `upstream_opened` or `upstream_refused`.
    pub(crate) open: Option<Open>,
    /// Tell the client that no more will be sent; everything has been.
    pub(crate) shut_down: bool,
    /// Close the client's socket and forget the connection.
    pub(crate) close: bool,
}

/// What becomes of an upstream's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    Reuse,
    Close,
}

/// Which socket is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) to: Destination,
    pub(crate) history: History,
}

/// The other end of an upstream's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Destination {
    /// The private socket.
    Hub,
    /// Of this machine.
    Port(u16),
}

/// What a socket may have been used for before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    Any,
    /// Used a moment ago, so that it is hardly being closed by the other side just now: for what must not be sent twice.
    JustUsed,
    Fresh,
}
