//! Pure: whether a request waits for its module, and what its caller is told otherwise (design §5, "Holding"; http-api
//! §10).

use crate::supervisor::standing::Standing;
use std::time::{Duration, Instant};

/// A module that came up so lately may still be making itself ready behind its port.
const YOUNG: Duration = Duration::from_secs(30);
/// A child's end is known to its worker within milliseconds; so long is waited for the word when the module that is
/// said to be up cannot be reached.
pub(crate) const SETTLE: Duration = Duration::from_millis(250);

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Connect,
    /// It is on its way back: wait for it.
    Hold,
    /// It should be there and is not: wait a moment for what the supervisor makes of it.
    Settle,
    /// 503: it will be there.
    Starting,
    /// 502: nobody knows that it will be.
    Unreachable,
}

/// Before anything was tried. A module that nobody supervises has no standing.
pub(crate) fn before(standing: Option<Standing>) -> Next {
    match standing {
        Some(Standing::Restarting) => Next::Hold,
        Some(
            Standing::Up { .. } | Standing::Unbound { .. } | Standing::Starting | Standing::Crashed | Standing::Stopped,
        )
        | None => Next::Connect,
    }
}

/// After it could not be reached. `settled`: that was waited for already.
pub(crate) fn after_failure(standing: Option<Standing>, settled: bool, now: Instant) -> Next {
    let by_age = |since: Instant| {
        if now.saturating_duration_since(since) < YOUNG { Next::Starting } else { Next::Unreachable }
    };
    match standing {
        Some(Standing::Restarting) => Next::Hold,
        Some(Standing::Up { .. }) if !settled => Next::Settle,
        Some(Standing::Up { since } | Standing::Unbound { since }) => by_age(since),
        Some(Standing::Starting) => Next::Starting,
        Some(Standing::Crashed | Standing::Stopped) | None => Next::Unreachable,
    }
}

/// While a request waits. `failed`: it stood like this when it could not be reached, and all that is waited for is what
/// the supervisor makes of that. A child that took the place of that one meanwhile is younger.
pub(crate) fn while_waiting(standing: Option<Standing>, failed: Option<Standing>, over: bool, now: Instant) -> Next {
    match standing {
        Some(Standing::Up { .. }) if standing == failed && !over => Next::Settle,
        Some(Standing::Up { .. }) if standing == failed => after_failure(standing, true, now),
        Some(Standing::Up { .. } | Standing::Unbound { .. }) => Next::Connect,
        Some(Standing::Restarting) if over && failed.is_none() => Next::Starting,
        Some(Standing::Restarting) => Next::Hold,
        Some(Standing::Starting | Standing::Crashed | Standing::Stopped) | None => after_failure(standing, true, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_its_way_back_is_waited_for() {
        let now = Instant::now() + Duration::from_secs(100);
        let (young, old) = (now - Duration::from_secs(29), now - Duration::from_secs(31));
        let up = |since| Some(Standing::Up { since });
        let unbound = |since| Some(Standing::Unbound { since });
        for (standing, first, failed, settled) in [
            (None, Next::Connect, Next::Unreachable, Next::Unreachable),
            (up(young), Next::Connect, Next::Settle, Next::Starting),
            (up(old), Next::Connect, Next::Settle, Next::Unreachable),
            (unbound(young), Next::Connect, Next::Starting, Next::Starting),
            (unbound(old), Next::Connect, Next::Unreachable, Next::Unreachable),
            (Some(Standing::Starting), Next::Connect, Next::Starting, Next::Starting),
            (Some(Standing::Restarting), Next::Hold, Next::Hold, Next::Hold),
            (Some(Standing::Crashed), Next::Connect, Next::Unreachable, Next::Unreachable),
            (Some(Standing::Stopped), Next::Connect, Next::Unreachable, Next::Unreachable),
        ] {
            assert_eq!(before(standing), first, "{standing:?}");
            assert_eq!(after_failure(standing, false, now), failed, "{standing:?}");
            assert_eq!(after_failure(standing, true, now), settled, "{standing:?}");
        }
    }

    #[test]
    fn waiting_ends_with_the_module_or_with_the_time() {
        let now = Instant::now() + Duration::from_secs(100);
        let up = Some(Standing::Up { since: now });
        let before = Some(Standing::Up { since: now - Duration::from_secs(50) });
        for (standing, failed, over, expected) in [
            (up, None, false, Next::Connect),
            (up, up, false, Next::Settle),
            (up, up, true, Next::Starting),
            (up, before, false, Next::Connect),
            (up, before, true, Next::Connect),
            (before, before, true, Next::Unreachable),
            (Some(Standing::Unbound { since: now }), None, false, Next::Connect),
            (Some(Standing::Restarting), None, false, Next::Hold),
            (Some(Standing::Restarting), up, true, Next::Hold),
            (Some(Standing::Restarting), None, true, Next::Starting),
            (Some(Standing::Crashed), None, false, Next::Unreachable),
            (Some(Standing::Stopped), up, false, Next::Unreachable),
            (None, None, false, Next::Unreachable),
        ] {
            assert_eq!(while_waiting(standing, failed, over, now), expected, "{standing:?} {failed:?} {over}");
        }
    }
}
