//! The edge from outside: real TCP clients, a real Unix socket behind it.

use crate::manifest::mounts::Mount;
use crate::manifest::{Port, Short};
use std::time::Duration;

/// A mount of the module `wiki` with nothing special about it; a test says what it is about.
pub(crate) fn mount(path: &str) -> Mount {
    let short = Short::parse("wiki").expect("a short");
    Mount {
        path: path.to_owned(),
        process: short.clone(),
        short,
        port: Port::new(2000).expect("a port"),
        strip: false,
        local_only: false,
        websocket: false,
        hold: Duration::ZERO,
        hub_credentials: false,
    }
}

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
