//! Notices that the file changed which the routes come from.

use super::Log;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::inotify::Inotify;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// A watched file. Where the kernel can watch no more, one that must be looked at again and again.
pub(crate) struct Watch {
    inotify: Option<Inotify>,
    /// There is no file.
    idle: bool,
}

impl Watch {
    /// Puts the file under watch; `epoll` names it by `token`.
    pub(crate) fn new(file: &Option<std::path::PathBuf>, epoll: &Epoll, token: u64, log: &Log) -> Self {
        let Some(file) = file else { return Self { inotify: None, idle: true } };
        match watched(file, epoll, token) {
            Ok(inotify) => Self { inotify: Some(inotify), idle: false },
            Err(error) => {
                log(&format!("[edge] cannot watch {}, looking at it for every request: {error}", file.display()));
                Self { inotify: None, idle: false }
            }
        }
    }

    /// Nobody says when it changes.
    pub(crate) fn is_blind(&self) -> bool {
        self.inotify.is_none() && !self.idle
    }

    /// Whether it has changed since the last time.
    pub(crate) fn changed(&mut self) -> bool {
        // What cannot be read may have said so.
        self.inotify.as_mut().is_some_and(|inotify| inotify.changed().unwrap_or(true))
    }
}

fn watched(file: &Path, epoll: &Epoll, token: u64) -> io::Result<Inotify> {
    let mut inotify = Inotify::new()?;
    inotify.add(file)?;
    epoll.add(inotify.as_fd(), token, Interest::Read)?;
    Ok(inotify)
}
