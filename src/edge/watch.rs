//! Notices that a file changed which the routes, or the hub's own hosts, come from.

use super::Log;
use crate::sys::epoll::{Epoll, Interest};
use crate::sys::inotify::Inotify;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

/// The files under watch, all with one descriptor. Where the kernel can watch no more, the list of modules must be
/// looked at again and again; what a manifest says holds from the next start of its module on, if not sooner.
pub(crate) struct Watch {
    inotify: Option<Inotify>,
    /// What is watched whatever the routes are, the list of modules first; empty: there is nothing to watch.
    always: Vec<PathBuf>,
    /// Nobody tells when one of these changes.
    is_blind: bool,
    /// What cannot be watched has been said.
    has_complained: bool,
    log: Log,
}

impl Watch {
    /// Puts what is always watched under watch; `epoll` names it by `token`.
    pub(crate) fn new(always: &[PathBuf], epoll: &Epoll, token: u64, log: &Log) -> Self {
        let (always, log) = (always.to_vec(), Log::clone(log));
        let mut watch = Self { inotify: None, always, is_blind: false, has_complained: false, log };
        let Some(list) = watch.always.first() else { return watch };
        match watched(epoll, token) {
            Ok(inotify) => watch.inotify = Some(inotify),
            Err(error) => {
                watch.is_blind = true;
                (watch.log)(&format!(
                    "[edge] cannot watch {}, looking at it for every request: {error}",
                    list.display()
                ));
            }
        }
        watch.follow(Vec::new());
        watch
    }

    /// Nobody says when what is always watched changes.
    pub(crate) fn is_blind(&self) -> bool {
        self.is_blind
    }

    /// Whether something has changed since the last time.
    pub(crate) fn changed(&mut self) -> bool {
        // What cannot be read may have said so.
        self.inotify.as_mut().is_some_and(|inotify| inotify.changed().unwrap_or(true))
    }

    /// Watches nothing any more, see [`Inotify::release`].
    pub(crate) fn release(&mut self) {
        if let Some(inotify) = &mut self.inotify {
            inotify.release();
        }
    }

    /// Watches what is always watched and these manifests, and nothing else any more. True when something was not watched
    /// before: it has to be read again, because what became of it until now was told to nobody.
    pub(crate) fn follow(&mut self, manifests: Vec<PathBuf>) -> bool {
        let Some(inotify) = &mut self.inotify else { return false };
        // The first is the last to go without.
        let mut files = self.always.clone();
        files.extend(manifests);
        let followed = inotify.follow(&files);
        self.is_blind = followed.failed.iter().any(|(file, _)| self.always.contains(file));
        if let Some((file, error)) = followed.failed.first()
            && !self.has_complained
        {
            self.has_complained = true;
            (self.log)(&format!(
                "[edge] cannot watch {} of {} files, the first is {}: {error}; a change of module.json there counts from the \
                 next start of its module on; the kernel's limits are fs.inotify.max_user_watches and max_user_instances",
                followed.failed.len(),
                files.len(),
                file.display()
            ));
        }
        followed.has_new
    }
}

fn watched(epoll: &Epoll, token: u64) -> io::Result<Inotify> {
    let inotify = Inotify::new()?;
    epoll.add(inotify.as_fd(), token, Interest::Read)?;
    Ok(inotify)
}
