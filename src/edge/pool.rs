//! Pure: which open upstream sockets wait for their next request.

use super::asks::{Destination, History};
use super::slab::Key;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// More would hold a thread each in the hub for nothing.
const MAX_IDLE_TO_HUB: usize = 4;
/// As many as callers that ask again and again at the same time: with fewer, each of the others would connect anew.
const MAX_IDLE_TO_PORT: usize = 256;
/// Servers close idle connections after five seconds at the earliest (Node's default); who asks later gets a new one.
pub(crate) const MAX_IDLE: Duration = Duration::from_secs(4);
/// A socket used so lately is not being closed by its other side.
const JUST_NOW: Duration = Duration::from_secs(1);

/// Idle sockets, the one used last on top: it is the least likely to have been closed by the other side.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: BTreeMap<Destination, Vec<(Instant, Key)>>,
    /// No socket has been idle for too long before then, so that nobody need look; one may have been taken since.
    look_at: Option<Instant>,
}

impl Pool {
    pub(crate) fn take(&mut self, to: Destination, history: History, now: Instant) -> Option<Key> {
        let longest = match history {
            History::Any => MAX_IDLE,
            History::JustUsed => JUST_NOW,
            History::Fresh => return None,
        };
        let idle = self.idle.get_mut(&to)?;
        let (since, _) = idle.last()?;
        if now.saturating_duration_since(*since) > longest {
            return None;
        }
        idle.pop().map(|(_, key)| key)
    }

    /// Keeps a socket; gives back the one to close instead when there are enough.
    pub(crate) fn put(&mut self, to: Destination, key: Key, now: Instant) -> Option<Key> {
        let most = if to == Destination::Hub { MAX_IDLE_TO_HUB } else { MAX_IDLE_TO_PORT };
        let idle = self.idle.entry(to).or_default();
        idle.push((now, key));
        self.look_at.get_or_insert(now + MAX_IDLE);
        (idle.len() > most).then(|| idle.remove(0).1)
    }

    /// Forgets a socket that says something without being asked, or has been closed.
    pub(crate) fn remove(&mut self, to: Destination, key: Key) {
        if let Some(idle) = self.idle.get_mut(&to) {
            idle.retain(|(_, idle)| *idle != key);
        }
    }

    /// When to ask for the next that may have been idle for too long.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// Those that have been idle for too long, to be closed. Costs nothing before the deadline, however many
    /// destinations there are.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<Key> {
        let mut expired = Vec::new();
        if self.look_at.is_none_or(|at| now < at) {
            return expired;
        }
        self.idle.retain(|_, idle| {
            let fresh = idle.partition_point(|(since, _)| *since + MAX_IDLE <= now);
            expired.extend(idle.drain(..fresh).map(|(_, key)| key));
            !idle.is_empty()
        });
        self.look_at = self.idle.values().filter_map(|idle| idle.first()).map(|(since, _)| *since + MAX_IDLE).min();
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::slab::Slab;

    const PORT: Destination = Destination::Port(2000);

    fn keys(count: usize) -> Vec<Key> {
        let mut slab = Slab::default();
        (0..count).map(|n| slab.insert(n)).collect()
    }

    #[test]
    fn the_newest_is_used_first_and_the_oldest_gives_way() {
        let (keys, now, mut pool) = (keys(6), Instant::now(), Pool::default());
        let evicted: Vec<Option<Key>> = keys.iter().map(|key| pool.put(Destination::Hub, *key, now)).collect();
        assert_eq!(evicted, [None, None, None, None, Some(keys[0]), Some(keys[1])]);
        pool.remove(Destination::Hub, keys[4]);
        assert_eq!(pool.take(PORT, History::Any, now), None, "of another port");
        let taken: Vec<Key> = std::iter::from_fn(|| pool.take(Destination::Hub, History::Any, now)).collect();
        assert_eq!(taken, [keys[5], keys[3], keys[2]]);
    }

    #[test]
    fn a_socket_ages() {
        let (keys, start, mut pool) = (keys(2), Instant::now(), Pool::default());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(pool.deadline(), None);
        pool.put(PORT, keys[0], start);
        pool.put(PORT, keys[1], after(500));
        assert_eq!(pool.deadline(), Some(start + MAX_IDLE));
        assert_eq!(pool.take(PORT, History::Fresh, after(500)), None);
        assert_eq!(pool.take(PORT, History::JustUsed, after(1501)), None);
        assert_eq!(pool.take(PORT, History::JustUsed, after(1500)), Some(keys[1]));
        assert_eq!(pool.take(PORT, History::Any, after(4001)), None);
        assert_eq!(pool.expired(after(3999)), []);
        assert_eq!(pool.expired(after(4000)), [keys[0]]);
        assert_eq!(pool.deadline(), None);
        // For one that was taken meanwhile there is one look too many, and no second.
        pool.put(PORT, keys[0], after(5000));
        assert_eq!(pool.take(PORT, History::Any, after(5000)), Some(keys[0]));
        pool.put(PORT, keys[1], after(6000));
        assert_eq!(pool.deadline(), Some(after(5000) + MAX_IDLE));
        assert_eq!(pool.expired(after(9000)), []);
        assert_eq!(pool.deadline(), Some(after(6000) + MAX_IDLE));
        assert_eq!(pool.expired(after(10_000)), [keys[1]]);
        assert_eq!(pool.deadline(), None);
    }
}
