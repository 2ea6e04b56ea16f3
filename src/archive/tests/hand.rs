//! Archives made by hand, as good or as bad as a test wants them.

use super::*;
use crate::archive::tar::{BLOCK_BYTES, Header, Kind, Owner, encode, padding};
use crate::token::digest::Digest;

pub(super) const OURS: Owner = Owner { uid: 0, gid: 0 };

/// An archive entry by entry, with the sums that belong to it unless `sums` says otherwise.
pub(super) struct Hand {
    pub(super) bytes: Vec<u8>,
    pub(super) sums: String,
    pub(super) owner: Owner,
}

impl Hand {
    pub(super) fn new() -> Self {
        let mut hand = Self { bytes: Vec::new(), sums: String::new(), owner: OURS };
        hand.file(ABOUT, br#"{"format":1,"version":"0","created_at":"x"}"#);
        hand
    }

    pub(super) fn header(&mut self, name: &str, kind: Kind, size_bytes: u64) {
        let (name, owner) = (name.to_owned(), self.owner);
        self.bytes.extend(encode(&Header { name, kind, mode: 0o755, owner, size_bytes, mtime_s: 0 }));
    }

    pub(super) fn directory(&mut self, name: &str) {
        self.header(name, Kind::Directory, 0);
    }

    pub(super) fn file(&mut self, name: &str, content: &[u8]) {
        self.header(name, Kind::File, content.len() as u64);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len() + padding(content.len() as u64), 0);
        let mut digest = Digest::default();
        digest.update(content);
        self.sums.push_str(&sum_line(&digest.hex(), name));
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        let sums = std::mem::take(&mut self.sums);
        self.file(SUMS, sums.as_bytes());
        self.bytes.resize(self.bytes.len() + 2 * BLOCK_BYTES, 0);
        self.bytes
    }
}

pub(super) fn made(make: impl FnOnce(&mut Hand)) -> Vec<u8> {
    let mut hand = Hand::new();
    make(&mut hand);
    hand.end()
}
