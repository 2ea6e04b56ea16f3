//! Pure: how often a module may fail, and how long it waits before it is tried again (design §4, "restart").

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Failures inside [`WINDOW`] that end quick restarts.
pub(crate) const MAX_FAILURES: usize = 3;
/// Failures farther apart than this do not add up.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);
/// Whoever ran this long before it failed is restarted at once.
const RAN_WELL: Duration = Duration::from_secs(10);
/// Healthy running for this long forgives everything.
pub(crate) const FORGIVE_AFTER: Duration = Duration::from_secs(60);
/// The first wait after an early death; doubles up to [`QUICK_CAP`].
const QUICK_FIRST: Duration = Duration::from_millis(500);
const QUICK_CAP: Duration = Duration::from_secs(30);
/// The first wait of a module that is `crashed`; doubles up to [`SLOW_CAP`].
const SLOW_FIRST: Duration = Duration::from_secs(30);
const SLOW_CAP: Duration = Duration::from_secs(300);
/// Waits differ by up to this many percent either way, so that modules that failed together do not return together.
const JITTER_PERCENT: u64 = 10;

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Try again after this wait; zero means at once.
    Quick(Duration),
    /// Too many failures: `crashed`, and tried again after this long wait unless it is to give up.
    Slow(Duration),
}

/// The failures of one module and the waits that follow from them.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    failures: VecDeque<Instant>,
    quick_level: u32,
    slow_level: u32,
    obstacle_level: u32,
    shortage_level: u32,
    random: u64,
}

impl Budget {
    /// `seed` decides the jitter only.
    pub(crate) fn new(seed: u64) -> Self {
        // A xorshift generator must not start at zero.
        let failures = VecDeque::new();
        Self { failures, quick_level: 0, slow_level: 0, obstacle_level: 0, shortage_level: 0, random: seed | 1 }
    }

    /// A child ended that nobody had asked to end, after it had run for `ran`.
    pub(crate) fn failed(&mut self, now: Instant, ran: Duration) -> Verdict {
        while self.failures.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        // What a module in slow retries has behind it is more than the window can hold.
        if self.slow_level > 0 || self.failures.len() >= MAX_FAILURES {
            return Verdict::Slow(self.slow_wait(|budget| &mut budget.slow_level));
        }
        if ran >= RAN_WELL {
            self.quick_level = 0;
            return Verdict::Quick(Duration::ZERO);
        }
        let wait = doubled(QUICK_FIRST, self.quick_level, QUICK_CAP);
        self.quick_level += 1;
        Verdict::Quick(self.jitter(wait))
    }

    /// The wait before something that stood in the way from outside (a missing program, a taken port) is looked at
    /// again. Not a failure of the module.
    pub(crate) fn obstacle(&mut self) -> Duration {
        self.slow_wait(|budget| &mut budget.obstacle_level)
    }

    /// The wait after the machine was short of processes or memory. Not a failure of the module.
    pub(crate) fn shortage(&mut self) -> Duration {
        let wait = doubled(QUICK_FIRST, self.shortage_level, QUICK_CAP);
        self.shortage_level += 1;
        self.jitter(wait)
    }

    /// There is a child: nothing stood in its way, and the machine had room for it.
    pub(crate) fn way_is_clear(&mut self) {
        self.obstacle_level = 0;
        self.shortage_level = 0;
    }

    /// Forgives everything: after healthy running, or by hand.
    pub(crate) fn reset(&mut self) {
        self.failures.clear();
        self.quick_level = 0;
        self.slow_level = 0;
        self.way_is_clear();
    }

    /// Whether [`Budget::reset`] would change anything.
    pub(crate) fn is_fresh(&self) -> bool {
        self.failures.is_empty() && self.quick_level == 0 && self.slow_level == 0
    }

    /// Failures inside the window when the last one happened.
    pub(crate) fn failures_in_window(&self) -> u32 {
        u32::try_from(self.failures.len()).unwrap_or(u32::MAX)
    }

    fn slow_wait(&mut self, level: fn(&mut Self) -> &mut u32) -> Duration {
        let level = level(self);
        let wait = doubled(SLOW_FIRST, *level, SLOW_CAP);
        *level += 1;
        self.jitter(wait)
    }

    fn jitter(&mut self, wait: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let percent = 100 - JITTER_PERCENT + self.random % (2 * JITTER_PERCENT + 1);
        wait * u32::try_from(percent).unwrap_or(100) / 100
    }
}

fn doubled(first: Duration, level: u32, cap: Duration) -> Duration {
    first.saturating_mul(1u32.checked_shl(level).unwrap_or(u32::MAX)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(wait: Duration, expected_ms: u64) -> bool {
        (expected_ms * 90 / 100..=expected_ms * 110 / 100).contains(&(wait.as_millis() as u64))
    }

    #[test]
    fn the_third_failure_inside_the_window_is_the_last_quick_one() {
        for (failures_at_s, slow) in [
            (&[0, 1][..], false),
            (&[0, 1, 2], true),
            (&[0, 30, 60], false),
            (&[0, 30, 59], true),
            (&[0, 61, 122], false),
        ] {
            let start = Instant::now();
            let mut budget = Budget::new(7);
            let mut last = None;
            for second in failures_at_s {
                last = Some(budget.failed(start + Duration::from_secs(*second), Duration::ZERO));
            }
            assert_eq!(matches!(last, Some(Verdict::Slow(_))), slow, "failures at {failures_at_s:?} s");
        }
    }

    #[test]
    fn waits_double_and_stay_within_the_jitter() {
        let start = Instant::now();
        let mut budget = Budget::new(99);
        // Far enough apart to stay out of the crash window.
        for (index, expected_ms) in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].into_iter().enumerate() {
            match budget.failed(start + WINDOW * index as u32, Duration::from_secs(1)) {
                Verdict::Quick(wait) => assert!(within(wait, expected_ms), "failure {index}: {wait:?}"),
                Verdict::Slow(wait) => panic!("failure {index} is slow: {wait:?}"),
            }
        }
        let mut budget = Budget::new(99);
        for expected_ms in [30_000, 60_000, 120_000, 240_000, 300_000, 300_000] {
            assert!(within(budget.obstacle(), expected_ms), "{expected_ms}");
        }
        for expected_ms in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            assert!(within(budget.shortage(), expected_ms), "{expected_ms}");
        }
        budget.way_is_clear();
        assert!(within(budget.shortage(), 500), "there was room in between");
    }

    #[test]
    fn modules_that_failed_together_do_not_return_together() {
        let waits: Vec<u128> = (0..100).map(|seed| Budget::new(seed).shortage().as_millis()).collect();
        for (word, part) in [("shorter", 450..475), ("longer", 526..551)] {
            assert!(waits.iter().any(|wait| part.contains(wait)), "nobody waits {word}: {waits:?}");
        }
    }

    #[test]
    fn who_ran_well_is_back_at_once_but_not_for_ever() {
        let start = Instant::now();
        let mut budget = Budget::new(3);
        for (at_s, expected_slow) in [(0, false), (11, false), (22, true)] {
            let verdict = budget.failed(start + Duration::from_secs(at_s), RAN_WELL);
            assert_eq!(matches!(verdict, Verdict::Slow(_)), expected_slow, "at {at_s} s: {verdict:?}");
            if !expected_slow {
                assert_eq!(verdict, Verdict::Quick(Duration::ZERO), "at {at_s} s");
            }
        }
    }

    #[test]
    fn who_ran_well_begins_with_the_first_wait_again() {
        let start = Instant::now();
        let mut budget = Budget::new(3);
        for (index, (ran, expected_ms)) in
            [(Duration::ZERO, 500), (Duration::ZERO, 1000), (RAN_WELL, 0), (Duration::ZERO, 500)]
                .into_iter()
                .enumerate()
        {
            let verdict = budget.failed(start + WINDOW * index as u32, ran);
            assert!(
                matches!(verdict, Verdict::Quick(wait) if within(wait, expected_ms)),
                "failure {index}: {verdict:?}"
            );
        }
    }

    #[test]
    fn what_stood_in_the_way_is_no_failure_and_is_forgotten_once_there_is_a_child() {
        let start = Instant::now();
        let mut budget = Budget::new(3);
        for expected_ms in [30_000, 60_000] {
            assert!(within(budget.obstacle(), expected_ms), "{expected_ms}");
        }
        let verdict = budget.failed(start, Duration::ZERO);
        assert!(matches!(verdict, Verdict::Quick(wait) if within(wait, 500)), "{verdict:?}");
        budget.way_is_clear();
        assert!(within(budget.obstacle(), 30_000), "what comes in the way later is something else");
    }

    #[test]
    fn in_slow_retries_every_failure_stays_slow_until_it_is_forgiven() {
        let start = Instant::now();
        let mut budget = Budget::new(3);
        for second in 0..3 {
            budget.failed(start + Duration::from_secs(second), Duration::ZERO);
        }
        assert!(matches!(budget.failed(start + Duration::from_secs(600), Duration::ZERO), Verdict::Slow(_)));
        assert!(!budget.is_fresh());
        assert!(within(budget.obstacle(), 30_000));
        budget.reset();
        assert!(budget.is_fresh());
        assert!(within(budget.obstacle(), 30_000), "what was in its way is forgiven as well");
        assert!(matches!(budget.failed(start + Duration::from_secs(601), Duration::ZERO), Verdict::Quick(_)));
    }
}
