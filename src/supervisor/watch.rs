//! Files whose change restarts a module (`run.watch`).

use crate::sys::inotify::Inotify;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A build writes many files; the restart waits until nothing has changed for this long.
const QUIET: Duration = Duration::from_millis(200);

/// The watched files of one child.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Inotify,
    due: Option<Instant>,
}

impl Watch {
    /// Watches all of these; `None` when there are none.
    pub(super) fn begin(paths: &[PathBuf]) -> io::Result<Option<Self>> {
        if paths.is_empty() {
            return Ok(None);
        }
        let mut inotify = Inotify::new()?;
        for path in paths {
            inotify.add(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        }
        Ok(Some(Self { inotify, due: None }))
    }

    /// Takes what the kernel has told.
    pub(super) fn look(&mut self, now: Instant) {
        // An unreadable inotify says nothing more; the module lives on unwatched.
        if self.inotify.changed().unwrap_or(false) {
            self.due = Some(now + QUIET);
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
