//! The edge from outside: real TCP clients, a real Unix socket behind it.

/// Small and repeatable: the seed is printed by whoever fails.
pub(crate) struct Random {
    pub(crate) seed: u64,
    state: u64,
}

impl Random {
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 8];
        crate::sys::random::fill(&mut bytes);
        Self::with_seed(u64::from_ne_bytes(bytes))
    }

    pub(crate) fn with_seed(seed: u64) -> Self {
        Self { seed, state: seed | 1 }
    }

    /// xorshift64*
    pub(crate) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).unwrap_or_default() % limit
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

mod hostile;
mod modules;
mod relaying;
mod support;
