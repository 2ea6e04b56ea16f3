//! A connection is opened when the client says so, and never because an earlier one broke: at the other end of a new one
//! there may be somebody else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use ureq::unversioned::transport::{ConnectionDetails, Connector, TcpConnector};

/// What `ureq` opens connections by. Clones are the same gate.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    is_open: Arc<AtomicBool>,
    tcp: Arc<TcpConnector>,
}

/// A new connection would have been needed, and the gate was shut. Nothing was sent.
#[derive(Debug)]
struct Shut;

impl Gate {
    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// Whether this failure is that the gate was shut.
    pub(super) fn has_refused(error: &ureq::Error) -> bool {
        matches!(error, ureq::Error::Other(reason) if reason.is::<Shut>())
    }
}

impl Connector for Gate {
    type Out = <TcpConnector as Connector>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<()>) -> Result<Option<Self::Out>, ureq::Error> {
        if !self.is_open.load(Ordering::Relaxed) {
            return Err(ureq::Error::Other(Box::new(Shut)));
        }
        self.tcp.connect(details, chained)
    }
}

impl fmt::Display for Shut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hub closed the connection on which it had proved who it is")
    }
}

impl std::error::Error for Shut {}
