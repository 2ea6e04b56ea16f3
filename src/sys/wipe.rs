//! Overwriting secrets in memory in a way that the compiler may not leave out.

use std::sync::atomic::{Ordering, compiler_fence};

/// Fills `secret` with zeros. For the `Drop` of what holds a key: a plain store to memory that dies is optimised away.
pub(crate) fn wipe(secret: &mut [u8]) {
    for byte in secret {
        // SAFETY: the reference is to a live, writable byte; a volatile write of a `u8` has no other demand.
        unsafe { std::ptr::write_volatile(byte, 0) };
    }
    compiler_fence(Ordering::SeqCst);
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_is_left() {
        let mut secret = *b"secret";
        super::wipe(&mut secret);
        assert_eq!(secret, [0; 6]);
    }
}
