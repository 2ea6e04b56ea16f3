//! `GET /api/modules/<short>/logs`: what is in the ring, what comes next (long poll), or all of it as it comes.

use super::{bad_number, short};
use crate::hub::reply::{Outcome, Reply};
use crate::hub::request::{BadNumber, Req};
use crate::hub::waiters::Waiting;
use crate::logs::{Batch, Line, Ring, Stream};
use crate::manifest::Short;
use crate::ops::Hub;
use crate::stamp;
use crate::wire::{LogLine, LogsReply};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest long poll, in seconds.
const WAIT_LIMIT_SECONDS: u64 = 60;
/// More lines than a ring can hold.
const LINES_LIMIT: u64 = 1_000_000;
/// A stream waits in pieces of this; it is woken when there is something to do, so the length does not matter.
const FOLLOW_PIECE: Duration = Duration::from_secs(3600);

pub(in crate::hub) fn logs(hub: &Arc<Hub>, req: &Req) -> Outcome {
    let (short, asked) = match short(req).and_then(|short| Ok((short, Asked::from(req).map_err(bad_number)?))) {
        Ok(both) => both,
        Err(reply) => return reply.into(),
    };
    let ring = match hub.ring(&short) {
        Ok(ring) => ring,
        Err(error) => return Reply::op_error(&error).into(),
    };
    match asked {
        Asked::Now { from } => reply(&short, &from.read(&ring)).into(),
        Asked::Wait { from, wait } => {
            Outcome::Later(Box::new(move |waiting| reply(&short, &wait_for(&ring, from, wait, waiting))))
        }
        Asked::Follow { from } => {
            Outcome::Stream(Box::new(move |waiting, push| follow(&short, &ring, from, waiting, push)))
        }
    }
}

/// What the query asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Now {
        from: From,
    },
    /// The same, but an empty answer waits for what comes next.
    Wait {
        from: From,
        wait: Duration,
    },
    Follow {
        from: From,
    },
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// So many lines back.
    Last(usize),
    After(u64),
}

impl Asked {
    /// `after` wins over `n`, `follow` over `wait`.
    fn from(req: &Req) -> Result<Self, BadNumber> {
        let after = req.number("after", u64::MAX)?;
        let last = req.number("n", LINES_LIMIT)?.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let wait = req.number("wait", WAIT_LIMIT_SECONDS)?.filter(|seconds| *seconds > 0);
        let from = after.map_or(From::Last(last), From::After);
        Ok(match (req.flag("follow"), wait) {
            (true, _) => Self::Follow { from },
            (false, Some(seconds)) => Self::Wait { from, wait: Duration::from_secs(seconds) },
            (false, None) => Self::Now { from },
        })
    }
}

impl From {
    fn read(self, ring: &Ring) -> Batch {
        match self {
            Self::After(seq) => ring.after(seq, usize::MAX),
            Self::Last(lines) => {
                let mut batch = ring.after(0, usize::MAX);
                // Older lines were not asked for, so none of them is missed.
                batch.missed = 0;
                batch.lines.drain(..batch.lines.len().saturating_sub(lines));
                batch
            }
        }
    }
}

fn wait_for(ring: &Arc<Ring>, from: From, wait: Duration, waiting: &Waiting) -> Batch {
    let there = from.read(ring);
    if !there.lines.is_empty() {
        return there;
    }
    waiting.wake_with(waker(ring));
    ring.wait_after(there.next, usize::MAX, Instant::now() + wait, &|| waiting.cancelled())
}

/// Sends what there is and then every line as soon as it is in the ring, until the module is forgotten.
fn follow(
    short: &Short,
    ring: &Arc<Ring>,
    from: From,
    waiting: &Waiting,
    push: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    waiting.wake_with(waker(ring));
    let mut batch = from.read(ring);
    loop {
        push(text(short, &batch).as_bytes())?;
        if waiting.cancelled() || ring.ends_with(batch.next) {
            return Ok(());
        }
        batch = ring.wait_after(batch.next, usize::MAX, Instant::now() + FOLLOW_PIECE, &|| waiting.cancelled());
    }
}

fn waker(ring: &Arc<Ring>) -> impl Fn() + Send + 'static {
    let ring = Arc::clone(ring);
    move || ring.wake()
}

fn reply(short: &Short, batch: &Batch) -> Reply {
    let lines: Vec<String> = batch.lines.iter().map(|line| prefixed(short, line)).collect();
    let entries = batch.lines.iter().map(|line| LogLine {
        seq: line.seq,
        at: stamp::iso8601(line.at_ms),
        stream: line.stream.name().to_owned(),
        text: line.text.clone(),
    });
    let entries = entries.collect();
    let text = lines.concat();
    Reply::json(
        200,
        &LogsReply { short: short.to_string(), lines, text, entries, next: batch.next, missed: batch.missed },
    )
}

/// The lines of a batch as a stream shows them, with a mark where some were lost.
fn text(short: &Short, batch: &Batch) -> String {
    let gap = match batch.missed {
        0 => String::new(),
        missed => format!("[supervisor] {short}: {missed} lines are missing here, the reader was too slow\n"),
    };
    batch.lines.iter().fold(gap, |text, line| text + &prefixed(short, line))
}

/// As on the hub's console (supervisor §10.1).
fn prefixed(short: &Short, line: &Line) -> String {
    match line.stream {
        Stream::Out | Stream::Err => format!("[{short}] {}\n", line.text),
        Stream::Supervisor => format!("{}\n", line.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_says_what_is_asked_for() {
        let (all, second) = (From::Last(usize::MAX), Duration::from_secs(1));
        for (query, expected) in [
            ("", Some(Asked::Now { from: all })),
            ("?n=5", Some(Asked::Now { from: From::Last(5) })),
            ("?after=7&n=5", Some(Asked::Now { from: From::After(7) })),
            ("?after=7&wait=0", Some(Asked::Now { from: From::After(7) })),
            ("?after=7&wait=1", Some(Asked::Wait { from: From::After(7), wait: second })),
            ("?wait=1", Some(Asked::Wait { from: all, wait: second })),
            ("?n=0&wait=1", Some(Asked::Wait { from: From::Last(0), wait: second })),
            ("?n=5&after=7&wait=1", Some(Asked::Wait { from: From::After(7), wait: second })),
            ("?follow=1", Some(Asked::Follow { from: all })),
            ("?follow=true&n=2&wait=9", Some(Asked::Follow { from: From::Last(2) })),
            ("?follow=0", Some(Asked::Now { from: all })),
            ("?wait=61", None),
            ("?after=-1", None),
            ("?n=all", None),
        ] {
            let target = format!("/x{query}");
            let req = Req::from_head("GET", &target, std::iter::empty()).expect("a path");
            assert_eq!(Asked::from(&req).ok(), expected, "{query}");
        }
    }

    #[test]
    fn only_what_would_be_empty_waits() {
        let ring = Arc::new(Ring::new(4096, 0));
        let texts = |batch: &Batch| batch.lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>();
        ring.push(b"a\nb\n", 0, Stream::Out, 0);
        for (from, expected) in [
            (From::Last(1), &["b"][..]),
            (From::Last(9), &["a", "b"]),
            (From::After(0), &["a", "b"]),
            (From::After(1), &["b"]),
            (From::After(900), &["a", "b"]),
        ] {
            let there = wait_for(&ring, from, Duration::from_secs(3_600), &Waiting::for_test());
            assert_eq!((texts(&there), there.next), (expected.iter().map(|text| (*text).to_owned()).collect(), 2));
        }
        for from in [From::Last(0), From::After(2)] {
            let ring = Arc::new(Ring::new(4096, 0));
            ring.push(b"a\nb\n", 0, Stream::Out, 0);
            let nothing = wait_for(&ring, from, Duration::ZERO, &Waiting::for_test());
            assert_eq!((texts(&nothing).len(), nothing.next), (0, 2), "{from:?}");
            let theirs = Arc::clone(&ring);
            let reader =
                std::thread::spawn(move || wait_for(&theirs, from, Duration::from_secs(3_600), &Waiting::for_test()));
            // The first of these may come before it looks for the newest one.
            while !reader.is_finished() {
                ring.push(b"c\n", 0, Stream::Out, 0);
                std::thread::yield_now();
            }
            assert_eq!(texts(&reader.join().expect("no panic")).first().map(String::as_str), Some("c"), "{from:?}");
        }
    }
}
