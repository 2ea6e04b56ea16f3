//! Pure: whether a client keeps up, sending its body or taking its answer.

use std::time::{Duration, Instant};

/// Slower than any line that people use: whoever is slower over a whole allowance holds a place and does nothing with it.
pub(crate) const MIN_BYTES_PER_S: u64 = 256;
/// Who has lost as much of its allowance gives way when there is no other place.
pub(crate) const SLOW: Duration = Duration::from_secs(5);

/// A client's allowance of time, the stall timeout, is used up by waiting for it and earned back by bytes, as if
/// [`MIN_BYTES_PER_S`] came: one byte now and then is not enough, and a large body may take as long as it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Of the allowance, up to then.
    spent: Duration,
    since: Instant,
}

impl Pace {
    /// Nothing is used up.
    pub(crate) fn new(now: Instant) -> Self {
        Self { spent: Duration::ZERO, since: now }
    }

    /// So many bytes came or were taken.
    pub(crate) fn moved(&mut self, bytes: usize, now: Instant) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = Duration::from_millis(bytes.saturating_mul(1000) / MIN_BYTES_PER_S);
        *self = Self { spent: self.lost(now).saturating_sub(earned), since: now };
    }

    /// Until now it was not the client who was waited for.
    pub(crate) fn excuse(&mut self, now: Instant) {
        self.since = now;
    }

    /// What of the allowance is used up.
    pub(crate) fn lost(&self, now: Instant) -> Duration {
        self.spent + now.saturating_duration_since(self.since)
    }

    /// When all of it is.
    pub(crate) fn due(&self, allowance: Duration) -> Instant {
        self.since + allowance.saturating_sub(self.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_slow_for_long_has_no_more_time_and_who_pauses_earns_it_back() {
        const ALLOWANCE: Duration = Duration::from_secs(30);
        let start = Instant::now();
        let after = |ms: u64| start + Duration::from_millis(ms);
        for (name, moves, due_ms) in [
            ("nothing", &[][..], 30_000),
            ("a byte a second", &[(1_000, 1), (2_000, 1), (3_000, 1)], 30_009),
            ("just enough", &[(1_000, 256), (2_000, 256), (3_000, 256)], 33_000),
            ("much at first is no credit", &[(0, 1_000_000), (20_000, 1)], 30_003),
            ("a pause, and on", &[(29_000, 10_000)], 59_000),
            ("a pause, and hardly on", &[(29_000, 512)], 32_000),
        ] {
            let mut pace = Pace::new(start);
            moves.iter().for_each(|(ms, bytes)| pace.moved(*bytes, after(*ms)));
            assert_eq!(pace.due(ALLOWANCE), after(due_ms), "{name}");
        }
        let mut excused = Pace::new(start);
        excused.excuse(after(20_000));
        assert_eq!((excused.due(ALLOWANCE), excused.lost(after(21_000))), (after(50_000), Duration::from_secs(1)));
    }
}
