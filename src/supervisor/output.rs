//! A child's stdout and stderr: from the pipes to the tap, in big blocks.

use crate::logs::{Stream, Tap};
use crate::sys::poll::{self, PollSet, Slot};
use crate::sys::proc;
use crate::sys::spawn::enlarge_pipe;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// One read takes at most this much.
const BLOCK_BYTES: usize = 256 * 1024;
/// One turn takes at most this much of one stream, so that a flood does not keep the worker from an exit or a stop.
const TURN_BYTES: usize = 4 * 1024 * 1024;
/// A pipe that was found full is made this large.
const BUSY_PIPE_BYTES: i32 = 1024 * 1024;
/// A pipe holds this much before it is enlarged (pipe(7)).
const PIPE_BYTES: usize = 64 * 1024;
/// Buffers that are kept for the next reader; more are needed only while more modules flood at once.
const KEPT_BUFFERS: usize = 2;

/// Both streams of one child. Closed ones are `None`.
#[derive(Debug, Default)]
pub(super) struct Output {
    out: Option<Pipe>,
    err: Option<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    fd: OwnedFd,
    enlarged: bool,
}

/// Where the streams sit in a poll set.
pub(super) struct OutputSlots {
    out: Option<Slot>,
    err: Option<Slot>,
}

impl Output {
    /// Both are non-blocking.
    pub(super) fn connect(&mut self, out: OwnedFd, err: OwnedFd) {
        self.out = Some(Pipe { fd: out, enlarged: false });
        self.err = Some(Pipe { fd: err, enlarged: false });
    }

    pub(super) fn register(&self, polls: &mut PollSet) -> OutputSlots {
        let mut slot = |pipe: &Option<Pipe>| pipe.as_ref().map(|pipe| polls.readable(pipe.fd.as_fd()));
        OutputSlots { out: slot(&self.out), err: slot(&self.err) }
    }

    /// What the pipes are called among the open files of whoever holds their other ends.
    pub(super) fn names(&self) -> io::Result<Vec<PathBuf>> {
        let pipes = [&self.out, &self.err].into_iter().flatten();
        pipes.map(|pipe| proc::name_of(pipe.fd.as_fd())).collect()
    }

    /// Reads what the poll found.
    pub(super) fn read(&mut self, polls: &PollSet, slots: &OutputSlots, tap: &mut Tap) {
        let ready = |slot: Option<Slot>| slot.is_some_and(|slot| polls.is_ready(slot));
        if ready(slots.out) {
            read_stream(&mut self.out, Stream::Out, tap);
        }
        if ready(slots.err) {
            read_stream(&mut self.err, Stream::Err, tap);
        }
    }

    /// Reads what is there now, without waiting.
    pub(super) fn drain(&mut self, tap: &mut Tap) {
        read_stream(&mut self.out, Stream::Out, tap);
        read_stream(&mut self.err, Stream::Err, tap);
    }

    /// The child is gone: takes what is there and closes. Whoever still holds the other end writes into nothing.
    pub(super) fn finish(&mut self, tap: &mut Tap) {
        self.drain(tap);
        self.out = None;
        self.err = None;
        tap.end(Stream::Out);
        tap.end(Stream::Err);
    }
}

fn read_stream(slot: &mut Option<Pipe>, stream: Stream, tap: &mut Tap) {
    let Some(pipe) = slot else { return };
    let mut buffer = take_buffer();
    let mut taken = 0;
    let open = loop {
        match poll::read_some(pipe.fd.as_fd(), &mut buffer) {
            Ok(None) => break true,
            Ok(Some(0)) | Err(_) => break false,
            Ok(Some(read)) => {
                tap.feed(stream, buffer.get(..read).unwrap_or_default());
                taken += read;
                if read >= PIPE_BYTES && !pipe.enlarged {
                    pipe.enlarged = true;
                    enlarge_pipe(pipe.fd.as_fd(), BUSY_PIPE_BYTES);
                }
                // A read that left room in the buffer has emptied the pipe, as far as anybody can tell.
                if read < buffer.len() || taken >= TURN_BYTES {
                    break true;
                }
            }
        }
    };
    give_back(buffer);
    if !open {
        *slot = None;
        tap.end(stream);
    }
}

/// Read buffers, shared by all workers: most modules print little, and a buffer each would cost more than the rest.
static BUFFERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

fn take_buffer() -> Vec<u8> {
    let kept = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner).pop();
    kept.unwrap_or_else(|| vec![0; BLOCK_BYTES])
}

fn give_back(buffer: Vec<u8>) {
    let mut kept = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < KEPT_BUFFERS {
        kept.push(buffer);
    }
}
