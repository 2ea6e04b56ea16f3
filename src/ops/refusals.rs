//! How often the log says that somebody was refused. Whoever can reach the hub can cause refusals without end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Refusals of one cause are said at most this often.
const INTERVAL: Duration = Duration::from_secs(1);

/// What was refused, and why: both are words of the program and none of the sender's, so that there are a few dozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cause {
    pub(super) of: Of,
    pub(super) why: &'static str,
}

/// Who was refused. A flood of one kind hides nothing of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// Whoever shows a token, or a browser's session, to the hub itself.
    Caller,
    /// Whoever says to be a module.
    Module,
    /// What a module was shown by a caller of its own.
    Shown,
    /// Whoever was let in, because the hub cannot do it.
    Hub,
}

/// What was said of each cause: a flood of one hides no other.
#[derive(Default)]
pub(super) struct Refusals(HashMap<Cause, Said>);

struct Said {
    at: Instant,
    unsaid: u64,
}

impl Refusals {
    /// Takes note of one more refusal. When it is to be said, how many of its cause were not said since the last one
    /// that was.
    pub(super) fn count(&mut self, cause: Cause, now: Instant) -> Option<u64> {
        let Some(said) = self.0.get_mut(&cause) else {
            self.0.insert(cause, Said { at: now, unsaid: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(said.at) < INTERVAL {
            said.unsaid += 1;
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_said_once_a_second_with_what_was_left_out() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        let (forged, expired) = (Cause { of: Of::Caller, why: "signature" }, Cause { of: Of::Caller, why: "expired" });
        let shown = Cause { of: Of::Shown, ..forged };
        for (ms, cause, said) in [
            (0, forged, Some(0)),
            (1, forged, None),
            (2, expired, Some(0)),
            (3, shown, Some(0)),
            (999, forged, None),
            (1_000, forged, Some(2)),
            (1_001, expired, None),
            (1_999, forged, None),
            (9_000, forged, Some(1)),
            (9_000, expired, Some(1)),
            (20_000, expired, Some(0)),
        ] {
            assert_eq!(refusals.count(cause, start + Duration::from_millis(ms)), said, "{cause:?} after {ms} ms");
        }
        assert_eq!(refusals.0.len(), 3);
    }
}
