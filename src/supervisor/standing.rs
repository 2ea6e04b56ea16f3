//! How a module stands towards its callers: read for every request, without a lock.

use super::Status;
use crate::manifest::Short;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
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

/// Where a module's worker shows it, whichever that is: one word, so that no reader ever sees half a change.
#[derive(Debug)]
pub(crate) struct Board {
    /// Three bits for the variant, above them the milliseconds of `since` after the first look at the clock.
    word: AtomicU64,
}

const KIND_BITS: u32 = 3;
/// Nobody supervises the module.
const NOBODY: u64 = 7;

impl Board {
    /// Of a module that nobody supervises.
    pub(crate) fn new() -> Self {
        // The first look at the clock comes before the first child, or all that are older would be of one age.
        epoch();
        Self { word: AtomicU64::new(NOBODY) }
    }

    /// `None`: nobody supervises it.
    pub(crate) fn get(&self) -> Option<Standing> {
        decode(self.word.load(Ordering::SeqCst))
    }

    /// Whether it is different from before.
    pub(crate) fn set(&self, standing: Standing) -> bool {
        self.replace(encode(standing))
    }

    /// From now on nobody supervises the module; whether somebody did.
    pub(super) fn clear(&self) -> bool {
        self.replace(NOBODY)
    }

    fn replace(&self, word: u64) -> bool {
        // Ordered strictly with the count of those who wait for a change.
        self.word.swap(word, Ordering::SeqCst) != word
    }
}

/// The board of each module, the same for as long as anybody looks at it: whoever holds the board of a module that is
/// forgotten and registered anew sees how the new one stands.
#[derive(Default)]
pub(super) struct Boards {
    by_short: HashMap<Short, Weak<Board>>,
}

impl Boards {
    pub(super) fn of(&mut self, short: &Short) -> Arc<Board> {
        if let Some(board) = self.by_short.get(short).and_then(Weak::upgrade) {
            return board;
        }
        if self.by_short.len() == self.by_short.capacity() {
            self.by_short.retain(|_, board| board.strong_count() > 0);
        }
        let board = Arc::new(Board::new());
        self.by_short.insert(short.clone(), Arc::downgrade(&board));
        board
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

fn decode(word: u64) -> Option<Standing> {
    let since = epoch() + Duration::from_millis(word >> KIND_BITS);
    Some(match word & ((1 << KIND_BITS) - 1) {
        NOBODY => return None,
        1 => Standing::Starting,
        2 => Standing::Restarting,
        3 => Standing::Crashed,
        4 => Standing::Up { since },
        5 => Standing::Unbound { since },
        _ => Standing::Stopped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_standing_is_read_as_it_was_shown() {
        let board = Board::new();
        assert_eq!(board.get(), None);
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
            assert_eq!(board.get(), Some(standing));
        }
        assert!(board.clear() && !board.clear());
        assert_eq!(board.get(), None);
    }

    #[test]
    fn a_module_has_one_board_for_as_long_as_somebody_looks_at_it() {
        let mut boards = Boards::default();
        let short = |number: usize| Short::parse(&format!("m{number}")).expect("a short");
        let (held, others) = (boards.of(&short(0)), 1..1000);
        held.set(Standing::Crashed);
        for other in others {
            assert_eq!(boards.of(&short(other)).get(), None);
        }
        assert!(Arc::ptr_eq(&held, &boards.of(&short(0))));
        assert!(
            boards.by_short.len() < 100,
            "{} boards are remembered for one that is looked at",
            boards.by_short.len()
        );
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
