//! Files whose change restarts a module (`run.watch`).

use crate::sys::inotify::Inotify;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A build writes many files; the restart waits until nothing has changed for this long.
const QUIET: Duration = Duration::from_millis(200);

/// A module that changes what it watches would be restarted for ever: from the second restart within so long on ...
const CALM: Duration = Duration::from_secs(10);
/// ... each waits twice as long as the one before it.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// How quickly restarts may follow each other.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<Instant>,
    pause: Duration,
}

impl Pace {
    /// One is made.
    pub(super) fn restarted(&mut self, now: Instant) {
        let is_calm = self.last.is_none_or(|last| now >= last + self.pause + CALM);
        self.pause = if is_calm { Duration::ZERO } else { (self.pause * 2).clamp(PAUSES.0, PAUSES.1) };
        self.last = Some(now);
    }

    /// Before then there is no other.
    fn not_before(&self) -> Option<Instant> {
        self.last.map(|last| last + self.pause)
    }
}

/// The watched files of one child.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Inotify,
    due: Option<Instant>,
    not_before: Option<Instant>,
}

impl Watch {
    /// Watches all of these; `None` when there are none.
    pub(super) fn begin(paths: &[PathBuf], pace: &Pace) -> io::Result<Option<Self>> {
        if paths.is_empty() {
            return Ok(None);
        }
        let mut inotify = Inotify::new()?;
        for path in paths {
            inotify.add(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        }
        Ok(Some(Self { inotify, due: None, not_before: pace.not_before() }))
    }

    /// Takes what the kernel has told.
    pub(super) fn look(&mut self, now: Instant) {
        // An unreadable inotify says nothing more; the module lives on unwatched.
        if self.inotify.changed().unwrap_or(false) {
            self.due = Some(self.not_before.map_or(now + QUIET, |at| at.max(now + QUIET)));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the restart is due now; says so once.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let due = self.due.is_some_and(|at| now >= at);
        if due {
            self.due = None;
        }
        due
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_itself_is_restarted_more_and_more_seldom() {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        assert_eq!(pace.not_before(), None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.restarted(now);
            let next = pace.not_before().expect("there was one");
            pauses.push((next - now).as_secs());
            now = next.max(now + QUIET);
        }
        assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
        now += CALM;
        pace.restarted(now);
        assert_eq!(pace.not_before(), Some(now), "somebody edits it again");
    }
}
