//! A few threads that do something for whoever waits for it, and end when there is nothing left to do.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// At most so many threads, and what waits for one of them.
pub(super) struct Readers {
    limit: usize,
    stack_bytes: usize,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<dyn Errand>>,
    threads: usize,
}

/// Done once, by whoever comes to it first.
trait Errand: Send + Sync {
    fn run(&self);
}

/// All of it in one block: what a module's thread frees the C library keeps for it.
struct Task<T, W> {
    stage: Mutex<Stage<T, W>>,
    is_done: Condvar,
}

enum Stage<T, W> {
    Waiting(W),
    Begun,
    Done(thread::Result<T>),
}

impl<T: Send, W: FnOnce() -> T + Send> Errand for Task<T, W> {
    fn run(&self) {
        let work = {
            let mut stage = lock(&self.stage);
            if !matches!(*stage, Stage::Waiting(_)) {
                return;
            }
            std::mem::replace(&mut *stage, Stage::Begun)
        };
        if let Stage::Waiting(work) = work {
            *lock(&self.stage) = Stage::Done(catch_unwind(AssertUnwindSafe(work)));
            self.is_done.notify_one();
        }
    }
}

impl<T, W> Task<T, W> {
    /// What came of it; `None` when nobody has begun by `until`.
    fn outcome(&self, until: Option<Instant>) -> Option<thread::Result<T>> {
        let mut stage = lock(&self.stage);
        loop {
            match (&*stage, until.map(|until| until.saturating_duration_since(Instant::now()))) {
                (Stage::Done(_), _) => {
                    let Stage::Done(outcome) = std::mem::replace(&mut *stage, Stage::Begun) else { return None };
                    return Some(outcome);
                }
                (Stage::Waiting(_), None | Some(Duration::ZERO)) => return None,
                (Stage::Waiting(_), Some(left)) => {
                    stage = self.is_done.wait_timeout(stage, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                (Stage::Begun, _) => stage = self.is_done.wait(stage).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
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
        let task = Arc::new(Task { stage: Mutex::new(Stage::Waiting(work)), is_done: Condvar::new() });
        let until = self.enqueue(Arc::clone(&task) as Arc<dyn Errand>).then(|| Instant::now() + patience);
        let outcome = task.outcome(until).or_else(|| {
            task.run();
            task.outcome(None)
        });
        match outcome {
            Some(Ok(value)) => value,
            Some(Err(panic)) => resume_unwind(panic),
            None => unreachable!("it has been begun, and whoever began it ends it"),
        }
    }

    /// Whether there is a thread that will come to it.
    fn enqueue(&'static self, errand: Arc<dyn Errand>) -> bool {
        let mut queue = lock(&self.queue);
        queue.waiting.push_back(errand);
        if queue.threads < self.limit {
            let thread = thread::Builder::new().name("settings".to_owned()).stack_size(self.stack_bytes);
            queue.threads += usize::from(thread.spawn(|| self.work_off()).is_ok());
        }
        queue.threads > 0
    }

    fn work_off(&self) {
        while let Some(errand) = self.next() {
            errand.run();
        }
    }

    /// `None` ends the thread that asks.
    fn next(&self) -> Option<Arc<dyn Errand>> {
        let mut queue = lock(&self.queue);
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.threads -= 1;
            // A thousand may have waited.
            queue.waiting = VecDeque::new();
        }
        next
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
