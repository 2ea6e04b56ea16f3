//! Messages between the main thread and the workers: a queue, and an eventfd that the reader polls.

use super::{OpFailure, Snapshot};
use crate::manifest::Short;
use crate::sys::poll::Waker;
use crate::sys::process::Family;
use crate::sys::spawn::{Newborn, SpawnFailure, SpawnSpec, Spawned};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A queue that one thread reads while it polls other things as well. Senders never block; how much can lie in it is
/// bounded by its senders: each asks once and waits for the answer.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    /// `None` once its reader has gone.
    queue: Mutex<Option<Vec<T>>>,
    waker: Waker,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { queue: Mutex::new(Some(Vec::new())), waker: Waker::new()? })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<T>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What comes when the reader has gone is dropped, and with it the way to answer it: whoever waits hears that.
    pub(crate) fn send(&self, message: T) {
        drop(self.deliver(message));
    }

    /// The same, but what comes when the reader has gone is handed back.
    pub(crate) fn deliver(&self, message: T) -> Result<(), T> {
        let mut lock = self.lock();
        let Some(queue) = lock.as_mut() else { return Err(message) };
        queue.push(message);
        // Whoever put in the first message has woken the reader, who takes all.
        let first = queue.len() == 1;
        drop(lock);
        if first {
            self.waker.wake();
        }
        Ok(())
    }

    /// Everything that was sent so far.
    pub(crate) fn take(&self) -> Vec<T> {
        self.waker.drain();
        self.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Nobody reads it any more: what lies in it is handed back, and what comes is dropped.
    pub(crate) fn close(&self) -> Vec<T> {
        self.lock().take().unwrap_or_default()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_none()
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
    /// Its turn has come at boot: to start, if nobody has given it an order before.
    Turn,
    Start(Option<Reply>),
    Stop(Option<Reply>),
    Restart(Option<Reply>),
    /// Skip the rest of the grace.
    Hurry,
    /// The fork it asked for.
    Forked {
        child: u64,
        result: Result<Spawned, SpawnFailure>,
    },
    /// Some child ended, on a kernel without pidfd.
    Look,
    /// The boot is over: what a module has printed during it may have been the last for weeks.
    GiveBack,
    /// End the thread once the module is at rest, and with it all that was heard before.
    Quit,
}

impl ForWorker {
    /// Leaves out all looks but the last, which tells of everything that had ended by the others. Where children end faster
    /// than a worker looks, it would else come to nothing but looks, and have more of them each time.
    pub(super) fn without_idle_looks(mut messages: Vec<Self>) -> Vec<Self> {
        let is_look = |message: &Self| matches!(message, Self::Look);
        let mut looks = messages.iter().filter(|message| is_look(message)).count();
        messages.retain(|message| {
            looks -= usize::from(is_look(message));
            !is_look(message) || looks == 0
        });
        messages
    }

    /// Tells whoever waits for a start, a stop or a restart what has come of it, in place of the worker.
    pub(crate) fn answer(self, answer: Result<Snapshot, OpFailure>) {
        if let Self::Start(Some(reply)) | Self::Stop(Some(reply)) | Self::Restart(Some(reply)) = self {
            // Whoever gave up waiting needs no answer.
            let _ = reply.send(answer);
        }
    }

    /// Ends the child that nobody is there to look after, if this is about one.
    pub(crate) fn end_child(self, family: &Family) {
        if let Self::Forked { result: Ok(spawned), .. } = self {
            spawned.child.abandon(family);
        }
    }
}

/// What the main thread is told.
#[derive(Debug)]
pub(crate) enum ForMain {
    /// Fork this, into the control group that is open, and send the result to `reply_to`.
    Fork {
        spec: Box<SpawnSpec>,
        group: Option<OwnedFd>,
        newborn: Arc<Newborn>,
        child: u64,
        reply_to: Arc<Inbox<ForWorker>>,
    },
    /// The module came up, failed or came to rest.
    Settled { short: Short, at_rest: bool },
    /// A module that the hub is not to outlive is down for good, by itself.
    EssentialDown { short: Short, crashed: bool },
    /// The home may not be the one any more that the hub was started in.
    LookAtHome,
    /// Nobody serves the network any more.
    EdgeLost,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An end that was announced behind another message is looked for behind it.
    #[test]
    fn of_all_looks_the_last_one_is_left() {
        let (look, start, quit) = (|| ForWorker::Look, || ForWorker::Start(None), || ForWorker::Quit);
        for (messages, left) in [
            (vec![], "[]"),
            (vec![look()], "[Look]"),
            (vec![start(), quit()], "[Start(None), Quit]"),
            (vec![look(), look(), start()], "[Look, Start(None)]"),
            (vec![look(), start(), look(), quit(), look(), look()], "[Start(None), Quit, Look]"),
        ] {
            let before = format!("{messages:?}");
            assert_eq!(format!("{:?}", ForWorker::without_idle_looks(messages)), left, "{before}");
        }
    }
}
