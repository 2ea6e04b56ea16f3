//! The only sleep of the tests, and their only deadline.

use std::time::{Duration, Instant};

/// How long anything may take that a test waits for; generous, because machines are slow and a failure is rare.
const DEADLINE: Duration = Duration::from_secs(60);
/// Looks begin this far apart and get rarer up to the cap: what is there soon is seen soon, and what takes longer is
/// not slowed down by being looked at. A look may be an HTTP request, which leaves a socket in TIME_WAIT.
const LOOK_FIRST: Duration = Duration::from_millis(2);
const LOOK_CAP: Duration = Duration::from_millis(200);

/// `PARACHUTE_TEST_DEADLINE_S`, else 60 seconds.
#[expect(clippy::disallowed_methods, reason = "the one setting of the tests themselves")]
pub(crate) fn deadline() -> Duration {
    let seconds = std::env::var("PARACHUTE_TEST_DEADLINE_S").ok().and_then(|text| text.parse().ok());
    seconds.map_or(DEADLINE, Duration::from_secs)
}

/// Looks until `look` finds something. Past the deadline the test fails with `what`, and each hub that it holds shows
/// its output and files.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    eventually_within(deadline(), what, look)
}

/// The same with a deadline of its own, for programs that are large.
#[track_caller]
pub(crate) fn eventually_within<T>(limit: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    match within(limit, look) {
        Some(found) => found,
        None => panic!("waited {limit:?} in vain: {what}"),
    }
}

/// Looks for at most `limit`, at least once.
#[expect(clippy::disallowed_methods, reason = "the one sleep of the tests")]
pub(super) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    let mut pause = LOOK_FIRST;
    loop {
        // Asked before the look: the last look comes after the end, however late this thread is woken.
        let last = Instant::now() >= end;
        match look() {
            Some(found) => return Some(found),
            None if last => return None,
            None => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(LOOK_CAP);
    }
}
