//! SHA-256 of what does not fit into memory.

use super::hex;
use sha2::{Digest as _, Sha256};

/// A hash in the making.
#[derive(Clone, Default)]
pub(crate) struct Digest(Sha256);

impl Digest {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Lower-case hex, as `sha256sum` prints it.
    pub(crate) fn hex(self) -> String {
        hex::encode(&self.0.finalize())
    }
}
