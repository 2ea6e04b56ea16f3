//! Whole lines on their way to the one thread that writes them: putting never waits for that, a full queue drops its
//! oldest lines, and what was dropped is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// Told when the queue gets something while the writer sleeps, when it is to finish, and when the writer is done.
    changed: Condvar,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) pieces: VecDeque<Piece>,
    pub(super) bytes: usize,
    /// Lines dropped from before the first piece, not yet told.
    dropped: u64,
    /// The writer waits for work: only then does a producer pay for waking it.
    idle: bool,
    /// Nothing is taken any more: finishing, or nobody reads.
    pub(super) closed: bool,
    /// Nobody waits for the writer any more.
    abandoned: bool,
    /// The writer has ended.
    done: bool,
}

/// Whole lines.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
    /// Lines that were never taken, between the piece before and this one.
    pub(super) skipped: u64,
}

/// Whether more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Enough,
    /// Older lines would be dropped for it.
    Full,
    Closed,
}

impl Queue {
    pub(super) fn new(limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), limit_bytes })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn room(&self, bytes: usize) -> Room {
        let state = self.lock();
        match (state.closed, state.bytes + bytes > self.limit_bytes) {
            (true, _) => Room::Closed,
            (false, true) => Room::Full,
            (false, false) => Room::Enough,
        }
    }

    pub(super) fn put(&self, piece: Piece) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.bytes += piece.text.len();
        state.pieces.push_back(piece);
        state.trim(self.limit_bytes);
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// Takes nothing more, waits until all that was taken is written, at most until `deadline`, and lets the writer
    /// end. Returns false when it was too slow: then the rest is not written, or will never be.
    pub(super) fn finish(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        while !state.done {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                state.abandoned = true;
                state.discard();
                return false;
            };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.dropped == 0
    }

    /// For the writer: waits for a piece, and says how many lines are missing before it; `None` when finishing and
    /// everything was taken.
    pub(super) fn next(&self) -> Option<(Piece, u64)> {
        let mut state = self.lock();
        loop {
            if let Some(taken) = state.take() {
                return Some(taken);
            }
            if state.closed {
                return None;
            }
            state.idle = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// For the writer: waits before the next attempt. Returns whether there should be one.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.abandoned
    }

    /// For the writer: these lines were taken and are not written.
    pub(super) fn lose(&self, lines: u64) {
        self.lock().dropped += lines;
    }

    /// For the writer: nothing is written any more, nor these lines.
    pub(super) fn close(&self, lines: u64) {
        let mut state = self.lock();
        state.closed = true;
        state.discard();
        state.dropped += lines;
    }

    /// For the writer: it has ended.
    pub(super) fn end(&self) {
        self.lock().done = true;
        self.changed.notify_all();
    }
}

impl State {
    /// Drops the oldest pieces until the limit holds, but never the newest.
    fn trim(&mut self, limit_bytes: usize) {
        while self.bytes > limit_bytes && self.pieces.len() > 1 {
            if let Some(oldest) = self.pieces.pop_front() {
                self.bytes -= oldest.text.len();
                self.dropped += oldest.lines + oldest.skipped;
            }
        }
    }

    fn discard(&mut self) {
        self.dropped += self.pieces.drain(..).map(|piece| piece.lines + piece.skipped).sum::<u64>();
        self.bytes = 0;
    }

    /// The oldest piece and how many lines are missing before it.
    fn take(&mut self) -> Option<(Piece, u64)> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.text.len();
        let missing = std::mem::take(&mut self.dropped) + piece.skipped;
        Some((piece, missing))
    }
}
