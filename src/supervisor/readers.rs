//! A few threads that do something for whoever waits for it, and end when there is nothing left to do.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

type Work = Box<dyn FnOnce() + Send>;
/// Whoever takes it does it.
type Slot = Arc<Mutex<Option<Work>>>;

/// At most so many threads, and what waits for one of them.
pub(super) struct Readers {
    limit: usize,
    stack_bytes: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Slot>,
    threads: usize,
}

impl Readers {
    pub(super) const fn new(limit: usize, stack_bytes: usize) -> Self {
        let queue = Queue { waiting: VecDeque::new(), threads: 0 };
        Self { limit, stack_bytes, queue: Mutex::new(queue) }
    }

    /// Has one of the threads do it, and waits for that. What none of them has begun within `patience`, and what no
    /// thread can be had for, is done here. A panic goes on here, too.
    pub(super) fn run<T: Send + 'static>(
        &'static self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (done, outcome) = sync_channel::<Result<T, Box<dyn Any + Send>>>(1);
        let work: Work = Box::new(move || {
            // It is waited for, to the end.
            let _ = done.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let slot: Slot = Arc::new(Mutex::new(Some(work)));
        let mut outcome_now = Err(RecvTimeoutError::Timeout);
        if self.enqueue(&slot) {
            outcome_now = outcome.recv_timeout(patience);
        }
        if let Some(work) = take(&slot) {
            work();
        }
        let outcome = outcome_now.or_else(|_| outcome.recv());
        outcome.unwrap_or_else(|gone| Err(Box::new(gone))).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Whether there is a thread that will come to it.
    fn enqueue(&'static self, slot: &Slot) -> bool {
        let mut queue = self.lock();
        queue.waiting.push_back(Arc::clone(slot));
        if queue.threads < self.limit {
            let thread = thread::Builder::new().name("settings".to_owned()).stack_size(self.stack_bytes);
            queue.threads += usize::from(thread.spawn(|| self.work_off()).is_ok());
        }
        queue.threads > 0
    }

    fn work_off(&self) {
        while let Some(slot) = self.next() {
            if let Some(work) = take(&slot) {
                work();
            }
        }
    }

    /// `None` ends the thread that asks.
    fn next(&self) -> Option<Slot> {
        let mut queue = self.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.threads -= 1;
            // A thousand may have waited.
            queue.waiting = VecDeque::new();
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(slot: &Slot) -> Option<Work> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    const LONG: Duration = Duration::from_secs(600);
    const STACK_BYTES: usize = 128 * 1024;

    #[test]
    fn no_more_than_the_limit_go_at_a_time_and_all_are_done() {
        static READERS: Readers = Readers::new(2, STACK_BYTES);
        static NOW: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        thread::scope(|scope| {
            let each = (0..20).map(|number| {
                scope.spawn(move || {
                    READERS.run(LONG, move || {
                        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        NOW.fetch_sub(1, Ordering::SeqCst);
                        number
                    })
                })
            });
            let each: Vec<_> = each.collect();
            for (number, thread) in each.into_iter().enumerate() {
                assert_eq!(thread.join().expect("an answer"), number);
            }
        });
        assert!((1..=2).contains(&MOST.load(Ordering::SeqCst)), "{MOST:?}");
    }

    #[test]
    fn who_has_no_patience_does_it_alone() {
        static READERS: Readers = Readers::new(1, STACK_BYTES);
        let (held, go_on) = channel::<()>();
        let (begun, has_begun) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                READERS.run(LONG, move || {
                    begun.send(()).expect("somebody listens");
                    // Ends with the sender.
                    let _ = go_on.recv();
                })
            });
            has_begun.recv().expect("the only thread is taken");
            let here = thread::current().id();
            assert_eq!(READERS.run(Duration::from_millis(1), || thread::current().id()), here);
            drop(held);
        });
        let here = thread::current().id();
        assert_ne!(READERS.run(LONG, || thread::current().id()), here);
    }

    #[test]
    fn a_panic_is_the_callers_and_the_next_one_is_served() {
        static READERS: Readers = Readers::new(1, STACK_BYTES);
        let panic = catch_unwind(|| READERS.run(LONG, || panic!("a bug"))).expect_err("a panic");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug"));
        assert_eq!(READERS.run(LONG, || 7), 7);
    }
}
