//! How a module stands towards its callers: read for every request, without a lock.

use super::Status;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Hears that a module stands differently now. Called on the module's thread: it must not block.
pub(crate) type OnChange = Arc<dyn Fn() + Send + Sync>;

/// What a caller can expect of the module now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It takes requests.
    Up {
        since: Instant,
    },
    /// It runs and nothing listens yet, or not any more.
    Unbound {
        since: Instant,
    },
    /// On its first way up.
    Starting,
    /// It was up and is being brought back.
    Restarting,
    Crashed,
    Stopped,
}

/// Where the worker shows it. One word, so that no reader ever sees half a change.
#[derive(Debug)]
pub(crate) struct Board {
    /// Three bits for the variant, above them the milliseconds of `since` after the first look at the clock.
    word: AtomicU64,
}

const KIND_BITS: u32 = 3;

impl Board {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(encode(Standing::Stopped)) }
    }

    pub(crate) fn get(&self) -> Standing {
        decode(self.word.load(Ordering::SeqCst))
    }

    /// Whether it is different from before.
    pub(crate) fn set(&self, standing: Standing) -> bool {
        let word = encode(standing);
        // Ordered strictly with the count of those who wait for a change.
        self.word.swap(word, Ordering::SeqCst) != word
    }
}

/// What follows for callers. `was_up`: it has been up since it was last stopped or had crashed for good.
pub(super) fn standing(status: Status, ready: bool, was_up: bool, since: Instant) -> Standing {
    match status {
        Status::Running if ready => Standing::Up { since },
        Status::Running => Standing::Unbound { since },
        Status::Starting | Status::Restarting if was_up => Standing::Restarting,
        Status::Starting | Status::Restarting => Standing::Starting,
        Status::Crashed => Standing::Crashed,
        Status::Stopped => Standing::Stopped,
    }
}

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

fn encode(standing: Standing) -> u64 {
    let at = |since: Instant| {
        let ms = since.saturating_duration_since(epoch()).as_millis();
        u64::try_from(ms).unwrap_or_default() << KIND_BITS
    };
    match standing {
        Standing::Stopped => 0,
        Standing::Starting => 1,
        Standing::Restarting => 2,
        Standing::Crashed => 3,
        Standing::Up { since } => 4 | at(since),
        Standing::Unbound { since } => 5 | at(since),
    }
}

fn decode(word: u64) -> Standing {
    let since = epoch() + Duration::from_millis(word >> KIND_BITS);
    match word & ((1 << KIND_BITS) - 1) {
        1 => Standing::Starting,
        2 => Standing::Restarting,
        3 => Standing::Crashed,
        4 => Standing::Up { since },
        5 => Standing::Unbound { since },
        _ => Standing::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standing_is_read_as_it_was_shown() {
        let board = Board::new();
        assert_eq!(board.get(), Standing::Stopped);
        let since = epoch() + Duration::from_millis(12_345);
        for standing in [
            Standing::Up { since },
            Standing::Unbound { since },
            Standing::Starting,
            Standing::Restarting,
            Standing::Crashed,
            Standing::Stopped,
        ] {
            assert!(board.set(standing), "{standing:?}");
            assert!(!board.set(standing), "{standing:?} twice");
            assert_eq!(board.get(), standing);
        }
    }

    #[test]
    fn only_what_was_up_is_being_brought_back() {
        let since = epoch();
        for (status, ready, was_up, expected) in [
            (Status::Running, true, true, Standing::Up { since }),
            (Status::Running, false, false, Standing::Unbound { since }),
            (Status::Starting, false, false, Standing::Starting),
            (Status::Starting, false, true, Standing::Restarting),
            (Status::Restarting, false, false, Standing::Starting),
            (Status::Restarting, false, true, Standing::Restarting),
            (Status::Crashed, false, true, Standing::Crashed),
            (Status::Stopped, false, true, Standing::Stopped),
        ] {
            assert_eq!(standing(status, ready, was_up, since), expected, "{status:?} {ready} {was_up}");
        }
    }
}
