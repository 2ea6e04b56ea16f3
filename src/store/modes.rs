//! The modes of the files in a home.

/// What only we may read.
pub(crate) const PRIVATE: u32 = 0o600;
/// What others may read, as far as they can look into the home at all.
pub(crate) const PUBLIC: u32 = 0o644;
