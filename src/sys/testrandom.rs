//! Chance for tests that try many inputs: whoever fails prints the seed.

/// xorshift64*: enough for choosing what to break.
pub(crate) struct Random {
    pub(crate) seed: u64,
    state: u64,
}

impl Random {
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 8];
        super::random::fill(&mut bytes);
        let seed = u64::from_ne_bytes(bytes);
        Self { seed, state: seed | 1 }
    }

    /// Less than `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let word = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        usize::try_from(word).unwrap_or_default() % limit
    }

    /// `bytes` with a few places cut, doubled, or replaced by a piece of `spice`.
    pub(crate) fn mutated(&mut self, bytes: &[u8], spice: &[&[u8]]) -> Vec<u8> {
        let mut mutated = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(mutated.len() + 1);
            let end = (at + self.below(9)).min(mutated.len());
            let piece = match self.below(4) {
                0 => Vec::new(),
                1 => mutated.get(at..end).unwrap_or_default().repeat(2),
                2 => vec![u8::try_from(self.below(256)).expect("a byte")],
                _ => spice.get(self.below(spice.len())).copied().unwrap_or_default().to_vec(),
            };
            mutated.splice(at..end, piece);
        }
        mutated
    }
}
