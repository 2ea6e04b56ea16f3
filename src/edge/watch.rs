//! Notices that a file changed which the routes, or the hub's own hosts, come from.

use super::Log;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::inotify::Inotify;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// Some watched files. Where the kernel can watch no more, some that must be looked at again and again.
pub(crate) struct Watch {
    inotify: Option<Inotify>,
    /// There are none.
    idle: bool,
}

impl Watch {
    /// Puts the files under watch; `epoll` names them by `token`.
    pub(crate) fn new(files: &[PathBuf], epoll: &Epoll, token: u64, log: &Log) -> Self {
        let Some(first) = files.first() else { return Self { inotify: None, idle: true } };
        match watched(files, epoll, token) {
            Ok(inotify) => Self { inotify: Some(inotify), idle: false },
            Err(error) => {
                log(&format!("[edge] cannot watch {}, looking at it for every request: {error}", first.display()));
                Self { inotify: None, idle: false }
            }
        }
    }

    /// Nobody says when they change.
    pub(crate) fn is_blind(&self) -> bool {
        self.inotify.is_none() && !self.idle
    }

    /// Whether any has changed since the last time.
    pub(crate) fn changed(&mut self) -> bool {
        // What cannot be read may have said so.
        self.inotify.as_mut().is_some_and(|inotify| inotify.changed().unwrap_or(true))
    }
}

fn watched(files: &[PathBuf], epoll: &Epoll, token: u64) -> io::Result<Inotify> {
    let mut inotify = Inotify::new()?;
    for file in files {
        inotify.add(file)?;
    }
    epoll.add(inotify.as_fd(), token, Interest::Read)?;
    Ok(inotify)
}
