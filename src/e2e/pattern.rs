//! Content of any length that both ends of a test know: byte N is N modulo 251. That is a prime, so that a block which
//! is lost, doubled or out of place shows.

const PERIOD: usize = 251;
/// How much of it is handed out at once.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    pub(crate) fn new() -> Self {
        Self((0..=250).cycle().take(PERIOD + BLOCK_BYTES).collect())
    }

    /// The content from `offset` on, at most a block of it.
    pub(crate) fn at(&self, offset: u64, bytes: usize) -> &[u8] {
        let start = (offset % PERIOD as u64) as usize;
        &self.0[start..start + bytes.min(BLOCK_BYTES)]
    }

    /// Where `bytes`, which begin at `offset`, are not as they should be.
    pub(crate) fn first_difference(&self, mut offset: u64, bytes: &[u8]) -> Option<u64> {
        for block in bytes.chunks(BLOCK_BYTES) {
            let expected = self.at(offset, block.len());
            if let Some(at) = (block != expected).then(|| block.iter().zip(expected).position(|(a, b)| a != b)) {
                return Some(offset + at.unwrap_or_default() as u64);
            }
            offset += block.len() as u64;
        }
        None
    }
}
