//! Who is waiting for something, so that a wait ends when its client has gone.
//!
//! The edge numbers every exchange and says when a client hung up; the thread of that exchange may be asleep on a ring
//! at that moment, or may not have got that far.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Endless streams at once; one more breaks the oldest off. Half of the slow threads stay for everything else.
pub(super) const STREAM_LIMIT: usize = 32;
/// Exchanges that were given up before their thread began to wait; older ones have long been answered.
const GONE_LIMIT: usize = 256;

/// One exchange that may wait.
pub(crate) struct Waiting {
    exchange: Option<u64>,
    cancelled: AtomicBool,
    gave_way: AtomicBool,
    wake: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl Waiting {
    fn new(exchange: Option<u64>) -> Self {
        let (cancelled, gave_way) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { exchange, cancelled, gave_way, wake: Mutex::new(None) }
    }

    #[cfg(test)]
    pub(super) fn for_test() -> Self {
        Self::new(None)
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// Whether it was cancelled for another one that needed its place: what it has sent is not all, and must not look so.
    pub(super) fn gave_way(&self) -> bool {
        self.gave_way.load(Ordering::SeqCst)
    }

    /// Says how to wake the thread. It must ask [`Self::cancelled`] after this and before it sleeps.
    pub(crate) fn wake_with(&self, wake: impl Fn() + Send + 'static) {
        *lock(&self.wake) = Some(Box::new(wake));
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        if let Some(wake) = &*lock(&self.wake) {
            wake();
        }
    }
}

/// All exchanges that may wait.
#[derive(Default)]
pub(super) struct Waiters {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    /// By age: the first is the oldest.
    live: BTreeMap<u64, (Arc<Waiting>, Kind)>,
    gone: VecDeque<u64>,
    closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ends by itself.
    Once,
    /// Goes on until somebody ends it.
    Stream,
}

/// Takes the exchange off the list when it is over.
pub(super) struct Entry<'a> {
    waiters: &'a Waiters,
    key: u64,
    pub(super) waiting: Arc<Waiting>,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        lock(&self.waiters.inner).live.remove(&self.key);
    }
}

impl Waiters {
    /// Puts an exchange on the list. One whose client has gone already is cancelled from the start.
    pub(super) fn enter(&self, exchange: Option<u64>, kind: Kind) -> Entry<'_> {
        let waiting = Arc::new(Waiting::new(exchange));
        let mut inner = lock(&self.inner);
        let key = inner.next;
        inner.next += 1;
        let gone = exchange.is_some_and(|exchange| inner.gone.contains(&exchange));
        let oldest = (kind == Kind::Stream).then(|| inner.oldest_stream_over_limit()).flatten();
        inner.live.insert(key, (Arc::clone(&waiting), kind));
        let closed = inner.closed;
        drop(inner);
        if gone || closed {
            waiting.cancel();
        }
        if let Some(oldest) = oldest {
            oldest.gave_way.store(true, Ordering::SeqCst);
            oldest.cancel();
        }
        Entry { waiters: self, key, waiting }
    }

    /// The client of this exchange hung up.
    pub(super) fn client_gone(&self, exchange: u64) {
        let mut inner = lock(&self.inner);
        let found: Vec<_> = inner
            .live
            .values()
            .filter(|(waiting, _)| waiting.exchange == Some(exchange))
            .map(|(waiting, _)| Arc::clone(waiting))
            .collect();
        if found.is_empty() {
            if inner.gone.len() == GONE_LIMIT {
                inner.gone.pop_front();
            }
            inner.gone.push_back(exchange);
        }
        drop(inner);
        found.iter().for_each(|waiting| waiting.cancel());
    }

    /// Ends every wait, also those that are yet to begin.
    pub(super) fn close(&self) {
        let mut inner = lock(&self.inner);
        inner.closed = true;
        let all: Vec<_> = inner.live.values().map(|(waiting, _)| Arc::clone(waiting)).collect();
        drop(inner);
        all.iter().for_each(|waiting| waiting.cancel());
    }
}

impl Inner {
    /// The stream to end so that one more fits; one that is ending already is not counted.
    fn oldest_stream_over_limit(&self) -> Option<Arc<Waiting>> {
        let mut streams =
            self.live.values().filter(|(waiting, kind)| *kind == Kind::Stream && !waiting.cancelled()).peekable();
        let oldest = streams.peek().map(|(waiting, _)| Arc::clone(waiting));
        (streams.count() >= STREAM_LIMIT).then_some(oldest).flatten()
    }
}

/// A panic while one of these short sections held the lock leaves the data as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_client_that_goes_wakes_its_own_wait_only() {
        let waiters = Waiters::default();
        let (first, second) = (waiters.enter(Some(1), Kind::Once), waiters.enter(Some(2), Kind::Stream));
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        second.waiting.wake_with(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        waiters.client_gone(2);
        assert_eq!((first.waiting.cancelled(), second.waiting.cancelled()), (false, true));
        assert_eq!(woken.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_client_that_went_before_the_wait_began_is_remembered() {
        let waiters = Waiters::default();
        waiters.client_gone(7);
        assert!(waiters.enter(Some(7), Kind::Once).waiting.cancelled());
        assert!(!waiters.enter(Some(8), Kind::Once).waiting.cancelled());
        assert!(!waiters.enter(None, Kind::Once).waiting.cancelled());
        (100..100 + GONE_LIMIT as u64).for_each(|exchange| waiters.client_gone(exchange));
        assert!(!waiters.enter(Some(7), Kind::Once).waiting.cancelled(), "forgotten after {GONE_LIMIT} others");
    }

    #[test]
    fn one_stream_too_many_ends_the_oldest() {
        let waiters = Waiters::default();
        let poll = waiters.enter(None, Kind::Once);
        let streams: Vec<_> = (0..STREAM_LIMIT).map(|_| waiters.enter(None, Kind::Stream)).collect();
        assert!(streams.iter().all(|stream| !stream.waiting.cancelled()));
        let more: Vec<_> = (0..2).map(|_| waiters.enter(None, Kind::Stream)).collect();
        let ended: Vec<_> = streams.iter().map(|stream| stream.waiting.cancelled()).collect();
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 2, "{ended:?}");
        assert_eq!(ended.first_chunk(), Some(&[true, true]));
        assert!(streams.iter().all(|stream| stream.waiting.gave_way() == stream.waiting.cancelled()));
        assert!(more.iter().chain([&poll]).all(|entry| !entry.waiting.cancelled()));
    }

    #[test]
    fn nothing_is_kept_of_what_is_over() {
        let waiters = Waiters::default();
        for exchange in 0..2 * GONE_LIMIT as u64 {
            let entry = waiters.enter(Some(exchange), Kind::Stream);
            assert_eq!(lock(&waiters.inner).live.len(), 1);
            drop(entry);
            waiters.client_gone(exchange);
        }
        let inner = lock(&waiters.inner);
        assert_eq!((inner.live.len(), inner.gone.len()), (0, GONE_LIMIT));
    }

    #[test]
    fn whoever_is_woken_was_not_gone_before() {
        let waiters = Waiters::default();
        let waits = waiters.enter(Some(1), Kind::Once);
        waiters.client_gone(1);
        assert!(waits.waiting.cancelled() && lock(&waiters.inner).gone.is_empty());
    }

    #[test]
    fn closing_ends_waits_that_run_and_waits_that_come() {
        let waiters = Waiters::default();
        let running = waiters.enter(None, Kind::Stream);
        waiters.close();
        assert_eq!((running.waiting.cancelled(), running.waiting.gave_way()), (true, false));
        assert!(waiters.enter(None, Kind::Once).waiting.cancelled());
    }
}
