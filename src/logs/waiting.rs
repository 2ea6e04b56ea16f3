//! The ring as threads share it: one writer, any number of readers that may wait for more.

use super::Stream;
use super::ring::{Batch, Lines};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The last lines of a module, numbered. Kept across restarts of the module; an idle one holds no memory of its own.
#[derive(Debug)]
pub(crate) struct Ring {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    lines: Lines,
    /// Threads inside `wait_after`; while it is 0 a push signals nobody and makes no system call.
    waiting: usize,
    /// Counts `wake`, so that one between a reader's check and its wait is not lost.
    wakes: u64,
    /// Nobody writes to it any more.
    closed: bool,
}

impl Ring {
    /// A ring for at most `limit_bytes` of lines with their newlines, numbered from after `begin` on.
    pub(crate) fn new(limit_bytes: usize, begin: u64) -> Self {
        let state = State { lines: Lines::new(limit_bytes, begin), waiting: 0, wakes: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Takes a block of whole lines, each with its newline. Returns how many there are.
    pub(crate) fn push(&self, block: &[u8], at_ms: u64, stream: Stream, generation: u32) -> u64 {
        let mut state = self.lock();
        let lines = state.lines.push(block, at_ms, stream, generation);
        let waiting = state.waiting;
        drop(state);
        if waiting > 0 {
            self.changed.notify_all();
        }
        lines
    }

    /// The lines after number `seq`, oldest first, as many as fit `max_bytes` but at least one. A number that was
    /// never given out is one of an earlier ring of this name, so that all lines are after it. Does not wait.
    pub(crate) fn after(&self, seq: u64, max_bytes: usize) -> Batch {
        let copied = self.lock().lines.copy_after(seq, max_bytes);
        copied.into_batch()
    }

    /// Like [`Ring::after`], but while there is nothing after `seq` it blocks until there is, the ring is closed,
    /// `cancelled` says true (asked before waiting and after every [`Ring::wake`]), or `deadline` is past; then the batch
    /// is empty.
    pub(crate) fn wait_after(
        &self,
        seq: u64,
        max_bytes: usize,
        deadline: Instant,
        cancelled: &dyn Fn() -> bool,
    ) -> Batch {
        let mut state = self.lock();
        let seq = state.lines.known(seq);
        loop {
            let wakes = state.wakes;
            if state.lines.newest() > seq || state.closed {
                break;
            }
            drop(state);
            let give_up = cancelled();
            state = self.lock();
            if give_up {
                break;
            }
            state.waiting += 1;
            while state.lines.newest() <= seq && state.wakes == wakes {
                let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                    break;
                };
                state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            state.waiting -= 1;
            if state.wakes == wakes {
                break;
            }
        }
        let copied = state.lines.copy_after(seq, max_bytes);
        drop(state);
        copied.into_batch()
    }

    /// Makes every waiting reader ask whether it is cancelled.
    pub(crate) fn wake(&self) {
        self.lock().wakes += 1;
        self.changed.notify_all();
    }

    /// Its module is forgotten: nothing comes after what is there, and nobody waits for it. Returns the newest number.
    pub(crate) fn close(&self) -> u64 {
        let mut state = self.lock();
        state.closed = true;
        let newest = state.lines.newest();
        drop(state);
        self.wake();
        newest
    }

    /// Whether there will never be a line after number `seq`.
    pub(crate) fn ends_with(&self, seq: u64) -> bool {
        let state = self.lock();
        state.closed && state.lines.newest() <= seq
    }

    /// A panic elsewhere while it was locked leaves at worst a line less: the ring goes on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_reader_sees_every_line_or_an_exact_gap() {
        const LINES: u64 = 20_000;
        let ring = Arc::new(Ring::new(4096, 0));
        let writer = {
            let ring = Arc::clone(&ring);
            std::thread::spawn(move || {
                for n in 1..=LINES {
                    ring.push(format!("line {n}\n").as_bytes(), n, Stream::Out, 0);
                }
            })
        };
        let (mut seq, mut seen, mut missed) = (0, 0, 0);
        while seq < LINES {
            let batch = ring.wait_after(seq, 1000, far(), &|| false);
            missed += batch.missed;
            seq += batch.missed;
            for line in &batch.lines {
                seq += 1;
                assert_eq!((line.seq, line.text.as_str()), (seq, format!("line {seq}").as_str()));
            }
            seen += batch.lines.len() as u64;
            assert_eq!(batch.next, seq);
        }
        assert_eq!(seen + missed, LINES);
        writer.join().unwrap();
    }

    #[test]
    fn a_waiting_reader_is_released_by_wake_and_by_its_deadline() {
        let ring = Arc::new(Ring::new(4096, 0));
        ring.push(b"a\n", 0, Stream::Out, 0);
        let past = ring.wait_after(1, 1000, Instant::now(), &|| false);
        assert_eq!((past.lines.len(), past.next, past.missed), (0, 1, 0));

        let cancelled = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicBool::new(false));
        let reader = {
            let (ring, cancelled, asked) = (Arc::clone(&ring), Arc::clone(&cancelled), Arc::clone(&asked));
            std::thread::spawn(move || {
                ring.wait_after(1, 1000, far(), &|| {
                    asked.store(true, Ordering::SeqCst);
                    cancelled.load(Ordering::SeqCst)
                })
            })
        };
        while !asked.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // A wake without a reason leaves the reader waiting; one with a reason ends it.
        ring.wake();
        cancelled.store(true, Ordering::SeqCst);
        ring.wake();
        assert!(reader.join().unwrap().lines.is_empty());
    }

    #[test]
    fn a_closed_ring_gives_out_what_it_has_and_lets_nobody_wait() {
        let ring = Arc::new(Ring::new(4096, 0));
        ring.push(b"a\n", 0, Stream::Out, 0);
        let reader = {
            let ring = Arc::clone(&ring);
            std::thread::spawn(move || ring.wait_after(1, 1000, far(), &|| false))
        };
        assert!(!ring.ends_with(1));
        ring.close();
        assert!(reader.join().unwrap().lines.is_empty());
        assert_eq!(ring.wait_after(0, 1000, far(), &|| false).lines.len(), 1);
        assert_eq!((ring.ends_with(0), ring.ends_with(1)), (false, true));
    }

    #[test]
    fn a_number_never_given_out_is_before_all() {
        let ring = Ring::new(4096, 70);
        let nothing = ring.wait_after(900, 1000, Instant::now(), &|| false);
        assert_eq!((nothing.lines.len(), nothing.next, nothing.missed), (0, 70, 0));
        ring.push(b"a\nb\n", 0, Stream::Out, 0);
        for never in [0, 69, 70, 900] {
            for batch in [ring.after(never, 1000), ring.wait_after(never, 1000, far(), &|| false)] {
                let numbers: Vec<u64> = batch.lines.iter().map(|line| line.seq).collect();
                assert_eq!((numbers, batch.next, batch.missed), (vec![71, 72], 72, 0), "{never}");
            }
        }
        ring.push(&b"many\n".repeat(1_000), 0, Stream::Out, 0);
        let late = ring.after(3, 100_000);
        assert_eq!((late.missed + late.lines.len() as u64, late.next), (1_002, 1_072), "what it dropped was not read");
    }
}
