//! Pure: what is said about a browser's way in.

use serde::{Deserialize, Serialize};

/// `POST /api/auth/open`. `Debug` is left out: whoever has the address is let in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenReply {
    /// Good once, and not for long.
    pub(crate) url: String,
    pub(crate) expires_at: String,
}
