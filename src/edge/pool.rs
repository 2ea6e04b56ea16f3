//! Pure: which open upstream sockets wait for their next request.

use super::slab::Key;

/// More would hold a thread each in the hub for nothing.
const MAX_IDLE: usize = 4;

/// Idle sockets to the hub, the one used last on top: it is the least likely to have been closed by the other side.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Vec<Key>,
}

impl Pool {
    pub(crate) fn take(&mut self) -> Option<Key> {
        self.idle.pop()
    }

    /// Keeps a socket; gives back the one to close instead when there are enough.
    pub(crate) fn put(&mut self, key: Key) -> Option<Key> {
        self.idle.push(key);
        if self.idle.len() > MAX_IDLE { Some(self.idle.remove(0)) } else { None }
    }

    /// Forgets a socket that says something without being asked, or has been closed.
    pub(crate) fn remove(&mut self, key: Key) {
        self.idle.retain(|idle| *idle != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::slab::Slab;

    #[test]
    fn the_newest_is_used_first_and_the_oldest_gives_way() {
        let mut slab = Slab::default();
        let keys: Vec<Key> = (0..6).map(|n| slab.insert(n)).collect();
        let mut pool = Pool::default();
        let evicted: Vec<Option<Key>> = keys.iter().map(|key| pool.put(*key)).collect();
        assert_eq!(evicted, [None, None, None, None, Some(keys[0]), Some(keys[1])]);
        pool.remove(keys[4]);
        let taken: Vec<Key> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken, [keys[5], keys[3], keys[2]]);
    }
}
