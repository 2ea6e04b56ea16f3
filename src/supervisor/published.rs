//! What the rest of the hub sees of a worker.

use super::standing::{self, Board, OnChange, Standing};
use super::{Snapshot, Status};
use crate::manifest::Short;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A module's last state, shown by its worker and read by everybody.
pub(super) struct Published {
    snapshot: Mutex<Snapshot>,
    /// `None` once the module is forgotten.
    board: Mutex<Option<Arc<Board>>>,
    /// It has been up since it was last stopped or had crashed for good. Written by its worker only.
    was_up: AtomicBool,
    /// The worker has told of the module. Changed with the snapshot locked.
    is_told: AtomicBool,
    on_change: OnChange,
    /// As its settings said at its last start.
    depends_on: Mutex<Vec<Short>>,
}

impl Published {
    /// `board` is that of the module; it shows from now on that the module is stopped.
    pub(super) fn new(snapshot: Snapshot, board: Arc<Board>, on_change: OnChange) -> Self {
        board.set(Standing::Stopped);
        Self {
            snapshot: Mutex::new(snapshot),
            board: Mutex::new(Some(board)),
            was_up: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            on_change,
            depends_on: Mutex::default(),
        }
    }

    /// Leaves the board to the next worker of the module, if there will be one. What this one shows from now on is seen in
    /// its snapshot only.
    pub(super) fn leave_board(&self) {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner).take();
        if board.is_some_and(|board| board.clear()) {
            (self.on_change)();
        }
    }

    fn show_on_board(&self, standing: Standing) {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = board.as_ref().is_some_and(|board| board.set(standing));
        drop(board);
        if is_new {
            (self.on_change)();
        }
    }

    pub(super) fn set_depends_on(&self, others: &[Short]) {
        *self.depends_on.lock().unwrap_or_else(PoisonError::into_inner) = others.to_vec();
    }

    pub(super) fn depends_on(&self) -> Vec<Short> {
        self.depends_on.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn get(&self) -> Snapshot {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its turn to be started comes without anybody asking: until then it is told that it is on its way.
    pub(super) fn await_turn(&self) {
        let mut snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever was quicker than the boot has ordered something else.
        if !self.is_told.load(Ordering::Relaxed) {
            snapshot.status = Status::Starting;
            self.show_on_board(Standing::Starting);
        }
    }

    /// Shows a new state. `since`: when the child was started that the state is about.
    pub(super) fn set(&self, snapshot: Snapshot, since: Instant) {
        let was_up = match snapshot.status {
            Status::Running if snapshot.ready => true,
            Status::Stopped | Status::Crashed => false,
            Status::Running | Status::Starting | Status::Restarting => self.was_up.load(Ordering::Relaxed),
        };
        self.was_up.store(was_up, Ordering::Relaxed);
        let standing = standing::standing(snapshot.status, snapshot.ready, was_up, since);
        self.show(snapshot);
        // Behind the snapshot: whoever hears of the change sees all of it.
        self.show_on_board(standing);
    }

    fn show(&self, snapshot: Snapshot) {
        let mut shown = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_told.store(true, Ordering::Relaxed);
        *shown = snapshot;
    }
}
