//! Pure: bytes on their way in and out. Their owner bounds them by what it asks to be read.

use std::ops::Range;

/// Bytes that came from a socket and wait to be understood.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    bytes: Vec<u8>,
    start: usize,
}

impl Incoming {
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where to append what is read.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        &mut self.bytes
    }

    /// The first `count` bytes have been dealt with.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Gives the memory back when there is nothing in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// Bytes that wait to be written to a socket.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// What has been sent stays, so that it can be sent again.
    kept: bool,
}

impl Outgoing {
    pub(crate) fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where to append what is to be sent.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if self.sent > 0 && !self.kept {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        &mut self.bytes
    }

    /// The first `count` pending bytes are with the kernel.
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent = (self.sent + count).min(self.bytes.len());
        if self.is_empty() && !self.kept {
            self.bytes.clear();
            self.sent = 0;
        }
    }

    pub(crate) fn keep_sent(&mut self) {
        self.kept = true;
    }

    /// What has been sent need not be sent again.
    pub(crate) fn forget_sent(&mut self) {
        self.kept = false;
        self.sent(0);
    }

    pub(crate) fn was_kept(&self) -> bool {
        self.kept
    }

    /// What is in memory, sent or not.
    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Something is kept although it has been sent.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent > 0
    }

    /// Everything that was kept is pending again.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// Puts `bytes` in the place of those in `range`, unless some of what is there has been sent already.
    pub(crate) fn replace(&mut self, range: Range<usize>, bytes: Vec<u8>) {
        if self.sent == 0 && range.start <= range.end && range.end <= self.bytes.len() {
            self.bytes.splice(range, bytes);
        }
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
        self.kept = false;
    }

    /// Gives the memory back when there is nothing in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

/// Moves everything from one to the other without copying; false, with nothing done, when the other is not empty.
pub(crate) fn swap(from: &mut Incoming, to: &mut Outgoing) -> bool {
    if from.start > 0 || to.kept || !to.is_empty() {
        return false;
    }
    to.clear();
    std::mem::swap(&mut from.bytes, &mut to.bytes);
    true
}
