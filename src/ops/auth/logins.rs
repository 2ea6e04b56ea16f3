//! Pure: codes that are good once and for a minute, and what a browser has for one (design §6; init-ui, "Safety").
//!
//! Only hashes are kept, in memory: a hub that starts anew knows no browser.

use super::Caller;
use crate::token::same_hash;
use std::time::{Duration, Instant};

/// From `parachute open` to the browser.
pub(crate) const CODE_LIFE: Duration = Duration::from_secs(60);
/// As long as a browser's token lives in the original (operator-token A4).
pub(crate) const SESSION_LIFE: Duration = Duration::from_secs(600);
/// Codes and browsers that are remembered; one more takes the place of the oldest.
const KEPT: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Logins {
    codes: Vec<Held>,
    sessions: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    hash: [u8; 32],
    /// On whose token it rests.
    caller: Caller,
    /// Where the browser goes with it.
    path: String,
    until: Instant,
}

impl Logins {
    /// A code that stands for `caller`, once, and leads to `path`.
    pub(crate) fn issue(&mut self, code: [u8; 32], caller: Caller, path: &str, now: Instant) {
        keep(&mut self.codes, Held { hash: code, caller, path: path.to_owned(), until: now + CODE_LIFE }, now);
    }

    /// Exchanges a code for a session; whose it is, and where it leads. The code is gone, whatever comes of it.
    pub(crate) fn redeem(&mut self, code: &[u8; 32], session: [u8; 32], now: Instant) -> Option<(Caller, String)> {
        let at = self.codes.iter().position(|held| same_hash(&held.hash, code))?;
        let found = self.codes.swap_remove(at);
        if now >= found.until {
            return None;
        }
        let (caller, until) = (found.caller.clone(), now + SESSION_LIFE);
        keep(&mut self.sessions, Held { hash: session, caller: found.caller, path: String::new(), until }, now);
        Some((caller, found.path))
    }

    /// Whose session this is. It is not made longer by being used.
    pub(crate) fn whose(&self, session: &[u8; 32], now: Instant) -> Option<Caller> {
        let found = self.sessions.iter().find(|held| same_hash(&held.hash, session))?;
        (now < found.until).then(|| found.caller.clone())
    }

    pub(crate) fn end(&mut self, session: &[u8; 32]) {
        self.sessions.retain(|held| !same_hash(&held.hash, session));
    }
}

fn keep(all: &mut Vec<Held>, one: Held, now: Instant) {
    all.retain(|held| now < held.until);
    if all.len() >= KEPT {
        all.remove(0);
    }
    all.push(one);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::Fixture;
    use serde_json::json;

    fn caller() -> Caller {
        let fixture = Fixture::new(&json!([]));
        fixture.hub.authorize(Some(&fixture.token), &[], None).expect("the operator's token is good")
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute_and_a_session_for_ten() {
        let (caller, start) = (caller(), Instant::now());
        let mut logins = Logins::default();
        for (after, good) in [(Duration::ZERO, true), (CODE_LIFE - Duration::from_nanos(1), true), (CODE_LIFE, false)] {
            logins.issue([1; 32], caller.clone(), "/", start);
            assert_eq!(logins.redeem(&[1; 32], [2; 32], start + after).is_some(), good, "{after:?}");
            assert!(logins.redeem(&[1; 32], [3; 32], start).is_none(), "it is gone: {after:?}");
        }
        assert!(logins.redeem(&[9; 32], [3; 32], start).is_none());
        assert!(logins.whose(&[1; 32], start).is_none(), "a code is no session");
        let mut logins = Logins::default();
        logins.issue([1; 32], caller.clone(), "/", start);
        logins.redeem(&[1; 32], [2; 32], start);
        for (after, good) in
            [(Duration::ZERO, true), (SESSION_LIFE - Duration::from_nanos(1), true), (SESSION_LIFE, false)]
        {
            assert_eq!(logins.whose(&[2; 32], start + after), good.then(|| caller.clone()), "{after:?}");
        }
        logins.end(&[2; 32]);
        assert!(logins.whose(&[2; 32], start).is_none());
    }

    #[test]
    fn there_are_never_many() {
        let (caller, now) = (caller(), Instant::now());
        let mut logins = Logins::default();
        for number in 0..100 {
            logins.issue([number; 32], caller.clone(), "/", now);
        }
        assert_eq!(logins.codes.len(), KEPT);
        assert!(logins.redeem(&[83; 32], [0; 32], now).is_none() && logins.redeem(&[84; 32], [0; 32], now).is_some());
        for number in 0..100 {
            logins.issue([number; 32], caller.clone(), "/", now);
            logins.redeem(&[number; 32], [number; 32], now);
        }
        assert_eq!(logins.sessions.len(), KEPT);
        logins.issue([1; 32], caller, "/", now + SESSION_LIFE);
        logins.redeem(&[1; 32], [1; 32], now + SESSION_LIFE);
        assert_eq!((logins.codes.len(), logins.sessions.len()), (0, 1), "what is over is forgotten");
    }
}
