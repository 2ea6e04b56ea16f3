//! What modules print: bytes to lines, the ring, the rotated file, the console, and readers that follow.

/// The last lines of a module, numbered.
pub(crate) struct Ring {}
