//! Pure: the newest lines of a module as bytes, numbered, within a limit.
#![forbid(unsafe_code)]

use super::Stream;
use super::line::{self, clean};
use std::collections::VecDeque;

/// What [`super::Ring`] guards. Lines lie behind each other with their newlines; the facts about them (time, stream,
/// generation) are kept once for all lines that arrived together, so a line costs no allocation and no index.
#[derive(Debug)]
pub(super) struct Lines {
    limit_bytes: usize,
    bytes: VecDeque<u8>,
    runs: VecDeque<Run>,
    /// The number before the first line there was.
    begin: u64,
    /// The number of the newest line; `begin` before the first.
    newest: u64,
    /// How many lines `bytes` holds.
    held: u64,
}

/// Lines that arrived together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    at_ms: u64,
    bytes: u32,
    lines: u32,
    generation: u32,
    stream: Stream,
}

/// Bytes of text that a run must be worth on average: it bounds the index to less than the text it describes when a
/// module prints thousands of tiny lines one by one.
const BYTES_PER_RUN: usize = 32;

/// Some lines as they lie in the ring, copied out so that splitting and decoding happen without its lock.
#[derive(Debug, Default)]
pub(super) struct Copied {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    first: u64,
    missed: u64,
}

/// One line of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counts up without gaps, over all restarts of the module: from 1, or from where one of its name that was forgotten
    /// cannot have got to.
    pub(crate) seq: u64,
    /// Milliseconds since 1970 when the hub read it.
    pub(crate) at_ms: u64,
    pub(crate) stream: Stream,
    /// The child that printed it, as told by [`super::Tap::set_generation`].
    pub(crate) generation: u32,
    /// Without newline, safe to show (see [`line::clean`]).
    pub(crate) text: String,
}

/// Lines after some number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) lines: Vec<Line>,
    /// What to ask after next time.
    pub(crate) next: u64,
    /// Lines between the number asked for and the first one here that were dropped already.
    pub(crate) missed: u64,
}

impl Lines {
    pub(super) fn new(limit_bytes: usize, begin: u64) -> Self {
        Self { limit_bytes, bytes: VecDeque::new(), runs: VecDeque::new(), begin, newest: begin, held: 0 }
    }

    /// The number of the newest line, or the one before the first.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// `seq`, or the number before the first line for one that was never given out: who asks after that has read the
    /// lines of an earlier module or hub.
    pub(super) fn known(&self, seq: u64) -> u64 {
        if (self.begin..=self.newest).contains(&seq) { seq } else { self.begin }
    }

    /// Takes a block of whole lines, dropping old ones as needed. Returns how many lines it has. Of a block larger
    /// than the limit only the end is copied, but all lines are counted.
    pub(super) fn push(&mut self, block: &[u8], at_ms: u64, stream: Stream, generation: u32) -> u64 {
        let lines = line::count_newlines(block);
        self.newest += lines;
        let start = line::newest_lines(block, self.limit_bytes);
        let (skipped, kept) = block.split_at(start);
        let kept_lines = lines - if skipped.is_empty() { 0 } else { line::count_newlines(skipped) };
        let run = Run { at_ms, bytes: kept.len() as u32, lines: kept_lines as u32, generation, stream };
        if skipped.is_empty() {
            self.make_room(&run);
        } else {
            self.bytes.clear();
            self.runs.clear();
            self.held = 0;
        }
        self.grow(kept.len());
        self.bytes.extend(kept);
        self.held += kept_lines;
        match self.runs.back_mut() {
            Some(last) if last.arrived_with(&run) => {
                last.bytes += run.bytes;
                last.lines += run.lines;
            }
            _ => self.runs.push_back(run),
        }
        lines
    }

    /// The lines after number `seq`, oldest first, as many as fit `max_bytes` but at least one.
    pub(super) fn copy_after(&self, seq: u64, max_bytes: usize) -> Copied {
        let before_first = self.newest - self.held;
        let seq = self.known(seq);
        let missed = before_first.saturating_sub(seq);
        let mut copied = Copied { first: seq.max(before_first) + 1, missed, ..Copied::default() };
        let mut skip = seq.saturating_sub(before_first);
        let mut at = 0;
        for run in &self.runs {
            let whole = run.bytes as usize;
            if skip >= u64::from(run.lines) {
                skip -= u64::from(run.lines);
                at += whole;
                continue;
            }
            let from = self.skip_lines(at, skip);
            let room = max_bytes.saturating_sub(copied.bytes.len());
            let (bytes, lines) = self.measure(from, at + whole, room, copied.bytes.is_empty());
            if lines > 0 {
                copied.bytes.extend(self.bytes.range(from..from + bytes));
                copied.runs.push(Run { bytes: bytes as u32, lines: lines as u32, ..*run });
            }
            if from + bytes < at + whole {
                break;
            }
            skip = 0;
            at += whole;
        }
        copied
    }

    /// The place `lines` lines after the line that starts at `at`.
    fn skip_lines(&self, mut at: usize, lines: u64) -> usize {
        for _ in 0..lines {
            at = self.line_end(at);
        }
        at
    }

    /// Bytes and number of the lines in `from..to` that fit `room`; one always fits when `at_least_one`.
    fn measure(&self, from: usize, to: usize, room: usize, at_least_one: bool) -> (usize, u64) {
        let (mut at, mut lines) = (from, 0);
        while at < to {
            let end = self.line_end(at);
            if end - from > room && !(at_least_one && lines == 0) {
                break;
            }
            at = end;
            lines += 1;
        }
        (at - from, lines)
    }

    /// The place after the newline of the line that starts at `at`.
    fn line_end(&self, at: usize) -> usize {
        let (front, back) = self.bytes.as_slices();
        let found = match front.get(at..) {
            Some(tail) => {
                line::find_newline(tail).map(|n| at + n).or_else(|| line::find_newline(back).map(|n| front.len() + n))
            }
            None => back.get(at - front.len()..).and_then(line::find_newline).map(|n| at + n),
        };
        found.map_or(self.bytes.len(), |newline| newline + 1)
    }

    /// Drops the oldest lines until `new` fits.
    fn make_room(&mut self, new: &Run) {
        let runs_limit = (self.limit_bytes / BYTES_PER_RUN).max(1);
        let merges = self.runs.back().is_some_and(|last| last.arrived_with(new));
        while self.runs.len() + usize::from(!merges) > runs_limit {
            self.drop_run();
        }
        let incoming = new.bytes as usize;
        while self.bytes.len() + incoming > self.limit_bytes {
            let excess = self.bytes.len() + incoming - self.limit_bytes;
            match self.runs.front() {
                Some(run) if run.bytes as usize > excess => return self.drop_bytes_of_front(excess),
                Some(_) => self.drop_run(),
                None => return,
            }
        }
    }

    fn drop_run(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            self.bytes.drain(..run.bytes as usize);
            self.held -= u64::from(run.lines);
        }
    }

    /// Drops whole lines of the oldest run, at least `excess` bytes, which it is longer than.
    fn drop_bytes_of_front(&mut self, excess: usize) {
        let end = self.line_end(excess - 1);
        let dropped = {
            let (front, back) = self.bytes.as_slices();
            let in_front = end.min(front.len());
            line::count_newlines(&front[..in_front]) + line::count_newlines(&back[..end - in_front])
        };
        self.bytes.drain(..end);
        self.held -= dropped;
        if let Some(run) = self.runs.front_mut() {
            run.bytes -= end as u32;
            run.lines -= dropped as u32;
            if run.bytes == 0 {
                self.runs.pop_front();
            }
        }
    }

    /// Doubles what is allocated, but never beyond the limit: a module that prints little costs little.
    fn grow(&mut self, incoming: usize) {
        let needed = self.bytes.len() + incoming;
        if needed > self.bytes.capacity() {
            let target = (self.bytes.capacity() * 2).min(self.limit_bytes).max(needed);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
    }
}

impl Run {
    /// Whether both can be one run.
    fn arrived_with(&self, other: &Run) -> bool {
        (self.at_ms, self.stream, self.generation) == (other.at_ms, other.stream, other.generation)
    }
}

impl Copied {
    /// Splits and decodes.
    pub(super) fn into_batch(self) -> Batch {
        let mut lines = Vec::new();
        let mut rest = self.bytes.as_slice();
        let mut seq = self.first;
        for run in &self.runs {
            let (mut block, after) = rest.split_at((run.bytes as usize).min(rest.len()));
            rest = after;
            while let Some(at) = line::find_newline(block) {
                let text = clean(&block[..at]).into_owned();
                lines.push(Line { seq, at_ms: run.at_ms, stream: run.stream, generation: run.generation, text });
                seq += 1;
                block = &block[at + 1..];
            }
        }
        Batch { lines, next: seq - 1, missed: self.missed }
    }
}

#[cfg(test)]
mod tests;
