//! Messages between the main thread and the workers: a queue, and an eventfd that the reader polls.

use super::{OpFailure, Snapshot};
use crate::manifest::Short;
use crate::sys::poll::Waker;
use crate::sys::spawn::{SpawnFailure, SpawnSpec, Spawned};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

/// A queue that one thread reads while it polls other things as well. Senders never block; how much can lie in it is
/// bounded by its senders: each asks once and waits for the answer.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    queue: Mutex<Vec<T>>,
    waker: Waker,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { queue: Mutex::new(Vec::new()), waker: Waker::new()? })
    }

    pub(crate) fn send(&self, message: T) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(message);
        // Whoever put in the first message has woken the reader, who takes all.
        let first = queue.len() == 1;
        drop(queue);
        if first {
            self.waker.wake();
        }
    }

    /// Everything that was sent so far.
    pub(crate) fn take(&self) -> Vec<T> {
        self.waker.drain();
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> AsFd for Inbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }
}

/// Where the answer to a start, a stop or a restart goes.
pub(crate) type Reply = SyncSender<Result<Snapshot, OpFailure>>;

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum ForWorker {
    Start(Option<Reply>),
    Stop(Option<Reply>),
    Restart(Reply),
    /// Skip the rest of the grace.
    Hurry,
    /// The fork it asked for.
    Forked {
        child: u64,
        result: Result<Spawned, SpawnFailure>,
    },
    /// Some child ended, on a kernel without pidfd.
    Look,
    /// End the thread; comes when the module is at rest.
    Quit,
}

/// What the main thread is told.
#[derive(Debug)]
pub(crate) enum ForMain {
    /// Fork this and send the result to `reply_to`.
    Fork { spec: Box<SpawnSpec>, child: u64, reply_to: Arc<Inbox<ForWorker>> },
    /// The module came up, failed or came to rest.
    Settled { short: Short, at_rest: bool },
    /// A module that the hub is not to outlive is down for good.
    EssentialDown(Short),
    /// The home may not be the one any more that the hub was started in.
    LookAtHome,
}
