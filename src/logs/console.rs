//! The one writer of the hub's standard output: a bounded queue and a thread, so that a slow or stuck reader never
//! holds up a module (supervisor §19.5 B33).

use super::line::{self, clean};
use super::queue::{Piece, Queue, Room};
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes that may wait for the reader: some seconds of an ordinary terminal's speed.
const QUEUE_BYTES: usize = 1024 * 1024;
/// Largest piece put into the queue; what is dropped as oldest is dropped in these.
const PIECE_BYTES: usize = 64 * 1024;
/// How much of a block is still taken when the queue is full. The newest lines are worth having when the reader comes
/// back; preparing more of a flood that nobody reads would only cost time.
const TAIL_BYTES: usize = 8 * 1024;
/// How long to wait before trying again when standard output is in non-blocking mode (another program that shares the
/// terminal can set that) and cannot take more. Only while it is in the way.
const RETRY_AFTER: Duration = Duration::from_millis(20);
/// The queue and formatting need little; the default stack of 2 MiB would count in no measurement but in limits.
const STACK_BYTES: usize = 64 * 1024;

/// A handle on the console; cheap to clone. No call but [`Console::finish`] waits for the reader.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    queue: Arc<Queue>,
}

impl Console {
    /// Starts the writer thread on `out`, best an unbuffered one (a `File` of standard output). The thread ends after
    /// [`Console::finish`], unless `out` blocks for ever; then it ends with the process.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<(Self, JoinHandle<()>)> {
        Self::with_limit(out, QUEUE_BYTES)
    }

    fn with_limit(out: impl Write + Send + 'static, limit_bytes: usize) -> io::Result<(Self, JoinHandle<()>)> {
        let queue = Queue::new(limit_bytes);
        let taken = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("console".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || run(&taken, out))?;
        Ok((Self { queue }, thread))
    }

    /// Says one line, cleaned. `prefix` as it is, such as `[supervisor] `.
    pub(crate) fn line(&self, prefix: &str, text: &str) {
        let line = format!("{}\n", text.replace('\n', " "));
        self.block(prefix, line.as_bytes(), 1);
    }

    /// Says whole lines (`lines` of them), each cleaned and with the prefix. When the reader is behind by the whole
    /// queue, the oldest lines are dropped and counted, and of this block only the end is taken.
    pub(crate) fn block(&self, prefix: &str, block: &[u8], lines: u64) {
        let full = match self.queue.room(block.len()) {
            Room::Closed => return,
            room => room == Room::Full,
        };
        let (skip, tail) = if full { block.split_at(line::newest_lines(block, TAIL_BYTES)) } else { (&[][..], block) };
        let mut skipped = if skip.is_empty() { 0 } else { line::count_newlines(skip) };
        let mut piece_lines = 0;
        let clean_as_it_is = line::is_clean(tail);
        let expected = tail.len() + prefix.len().saturating_mul((lines - skipped) as usize);
        let mut text = Vec::with_capacity(expected.min(PIECE_BYTES));
        let mut rest = tail;
        while let Some(at) = line::find_newline(rest) {
            let (bytes, after) = rest.split_at(at + 1);
            rest = after;
            if !text.is_empty() && text.len() + prefix.len() + bytes.len() > PIECE_BYTES {
                let full = std::mem::take(&mut text);
                self.queue.put(Piece { text: full, lines: piece_lines, skipped });
                (piece_lines, skipped) = (0, 0);
            }
            text.extend_from_slice(prefix.as_bytes());
            if clean_as_it_is {
                text.extend_from_slice(bytes);
            } else {
                text.extend_from_slice(clean(&bytes[..at]).as_bytes());
                text.push(b'\n');
            }
            piece_lines += 1;
        }
        if piece_lines > 0 {
            self.queue.put(Piece { text, lines: piece_lines, skipped });
        }
    }

    /// Takes nothing more, waits until all that was taken is written, at most until `deadline`, and lets the thread
    /// end. Returns false when the reader was too slow: then the rest is not written, or will never be.
    pub(crate) fn finish(&self, deadline: Instant) -> bool {
        self.queue.finish(deadline)
    }
}

/// The writer thread.
fn run(queue: &Queue, mut out: impl Write) {
    let mut torn = false;
    while let Some((piece, missing)) = queue.next() {
        let mut text = Vec::new();
        if torn {
            text.push(b'\n');
        }
        if missing > 0 {
            text.extend(format!("[supervisor] console: {missing} lines dropped\n").into_bytes());
        }
        let head = text.len();
        if head == 0 {
            text = piece.text;
        } else {
            text.extend(piece.text);
        }
        match write(queue, &mut out, &text) {
            Ok(()) => torn = false,
            Err(Failed { error, .. }) if error.kind() == ErrorKind::BrokenPipe => {
                stop_printing(queue, piece.lines + missing, &error);
                break;
            }
            Err(Failed { written, .. }) => {
                // A full disk or a terminal that hung up: later lines may go through again.
                torn = if written == 0 { torn } else { text[written - 1] != b'\n' };
                let printed = text.get(head..written).map_or(0, line::count_newlines);
                queue.lose(piece.lines - printed + if written < head { missing } else { 0 });
            }
        }
    }
    queue.end();
}

/// Writes all of it, or says how much was written before it failed.
fn write(queue: &Queue, out: &mut impl Write, text: &[u8]) -> Result<(), Failed> {
    let mut written = 0;
    while written < text.len() {
        match out.write(&text[written..]) {
            Ok(0) => return Err(Failed { error: ErrorKind::WriteZero.into(), written }),
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && queue.pause(RETRY_AFTER) => {}
            Err(error) => return Err(Failed { error, written }),
        }
    }
    out.flush().map_err(|error| Failed { error, written })
}

/// Nobody reads standard output any more: says so once where it may still be read, and takes nothing from now on.
fn stop_printing(queue: &Queue, lines: u64, error: &io::Error) {
    queue.close(lines);
    // When standard error is closed as well there is nobody left to tell.
    let _ = writeln!(io::stderr(), "[supervisor] console: standard output is closed ({error}); printing no more");
}

struct Failed {
    error: io::Error,
    written: usize,
}

#[cfg(test)]
mod tests;
