//! Chance for tests that try many inputs: whoever fails prints the seed, and PARACHUTE_TEST_SEED makes the same choices
//! again.

/// xorshift64*: enough for choosing what to break.
pub(crate) struct Random {
    pub(crate) seed: u64,
    state: u64,
}

impl Random {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration")]
    pub(crate) fn new() -> Self {
        if let Ok(seed) = std::env::var("PARACHUTE_TEST_SEED") {
            return Self::with_seed(seed.parse().expect("PARACHUTE_TEST_SEED is a number"));
        }
        let mut bytes = [0; 8];
        super::random::fill(&mut bytes);
        Self::with_seed(u64::from_ne_bytes(bytes))
    }

    pub(crate) fn with_seed(seed: u64) -> Self {
        Self { seed, state: seed | 1 }
    }

    /// 48 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// Less than `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap_or_default() % limit
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// At most so many.
    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| u8::try_from(self.below(256)).expect("a byte")).collect()
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

impl Drop for Random {
    #[expect(clippy::print_stderr, reason = "the program under test may have panicked before the test could say it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PARACHUTE_TEST_SEED={}", self.seed);
        }
    }
}
