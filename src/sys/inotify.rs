//! Changes of files, told by the kernel.

use super::{cvt, poll};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What counts as a change: written and closed, made, taken away, moved in or out.
const CHANGES: u32 = libc::IN_CLOSE_WRITE | libc::IN_CREATE | libc::IN_DELETE | libc::IN_MOVED_TO | libc::IN_MOVED_FROM;
/// What can mean that a name leads to another file than before: the file was renamed, or lost a name.
const MOVES: u32 = libc::IN_ATTRIB | libc::IN_MOVE_SELF | libc::IN_DELETE_SELF;
/// Room for many events at once; the kernel hands over whole ones only.
const BUFFER_BYTES: usize = 4096;
/// wd, mask, cookie and the length of the name, four bytes each (inotify(7)).
const HEADER_BYTES: usize = 16;

/// Some directories and files under watch. Watches go with it.
#[derive(Debug)]
pub(crate) struct Inotify {
    fd: OwnedFd,
    /// A watch, and the one name in its directory that is meant; `None` means all of them.
    watches: Vec<(i32, Option<OsString>)>,
}

impl Inotify {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: inotify_init1 takes no pointer.
        let fd = cvt(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
        // SAFETY: the descriptor is new and owned by nobody else.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, watches: Vec::new() })
    }

    /// Watches a directory's entries, not those below them, or one file, which may be replaced or not be there yet.
    pub(crate) fn add(&mut self, path: &Path) -> io::Result<()> {
        let (directory, name) = match (path.is_dir(), path.parent(), path.file_name()) {
            (false, Some(parent), Some(name)) => (parent, Some(name.to_owned())),
            _ => (path, None),
        };
        let watch = self.watch(directory, CHANGES)?;
        self.watches.push((watch, name));
        Ok(())
    }

    /// Watches what stands at `path` now, and not what takes its place: for being renamed or removed. More than that may
    /// count as a change.
    pub(crate) fn add_itself(&mut self, path: &Path) -> io::Result<()> {
        let watch = self.watch(path, MOVES)?;
        self.watches.push((watch, None));
        Ok(())
    }

    fn watch(&self, path: &Path, what: u32) -> io::Result<i32> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the pointer is that of a live, terminated string.
        cvt(unsafe { libc::inotify_add_watch(self.fd.as_raw_fd(), path.as_ptr(), what) })
    }

    /// Takes what the kernel has told so far; whether anything that is meant has changed.
    pub(crate) fn changed(&mut self) -> io::Result<bool> {
        let mut buffer = [0u8; BUFFER_BYTES];
        let mut changed = false;
        while let Some(read) = poll::read_some(self.fd.as_fd(), &mut buffer)? {
            if read == 0 {
                break;
            }
            let events = buffer.get(..read).unwrap_or_default();
            changed |= Events { rest: events }.any(|event| self.is_meant(&event));
        }
        Ok(changed)
    }

    fn is_meant(&self, event: &Event) -> bool {
        // Too much at once: something has changed, nobody knows what.
        event.mask & libc::IN_Q_OVERFLOW != 0
            || self.watches.iter().any(|(watch, name)| {
                *watch == event.watch && name.as_deref().is_none_or(|name| name == event.name.as_os_str())
            })
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Event {
    watch: i32,
    mask: u32,
    name: OsString,
}

/// The events in a buffer that the kernel filled.
struct Events<'a> {
    rest: &'a [u8],
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (header, rest) = self.rest.split_at_checked(HEADER_BYTES)?;
        let word = |index: usize| {
            let bytes = header.get(index * 4..index * 4 + 4).unwrap_or_default();
            bytes.try_into().map_or(0, u32::from_ne_bytes)
        };
        let (name, rest) = rest.split_at_checked(word(3) as usize)?;
        self.rest = rest;
        // The name is padded with NULs.
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Some(Event { watch: word(0) as i32, mask: word(1), name: OsStr::from_bytes(name).to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;
    use std::fs;

    #[test]
    fn a_buffer_is_cut_into_whole_events() {
        let mut bytes = Vec::new();
        for (watch, mask, name) in [(1i32, 8u32, &b"a\0\0\0"[..]), (2, 0x4000, b"")] {
            bytes.extend(watch.to_ne_bytes());
            bytes.extend(mask.to_ne_bytes());
            bytes.extend(0u32.to_ne_bytes());
            bytes.extend((name.len() as u32).to_ne_bytes());
            bytes.extend(name);
        }
        let events: Vec<Event> = Events { rest: &bytes }.collect();
        assert_eq!(events.len(), 2);
        assert_eq!(events.first().map(|event| event.name.clone()), Some(OsString::from("a")));
        for cut in 1..HEADER_BYTES {
            assert_eq!(Events { rest: &bytes[..cut] }.count(), 0, "cut at {cut}");
        }
    }

    #[test]
    fn only_what_is_meant_counts() {
        let directory = TestDir::new("inotify");
        let file = directory.path().join("server.js");
        fs::write(&file, "1").expect("written");
        let mut inotify = Inotify::new().expect("inotify");
        inotify.add(&file).expect("watched");
        assert!(!inotify.changed().expect("read"));
        fs::write(directory.path().join("other"), "x").expect("written");
        assert!(!inotify.changed().expect("read"), "another file");
        fs::write(directory.path().join("new"), "2").expect("written");
        fs::rename(directory.path().join("new"), &file).expect("replaced");
        assert!(inotify.changed().expect("read"), "replaced");
    }

    #[test]
    fn what_is_watched_itself_tells_when_it_loses_its_name() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 3] = [
            ("renamed", |file| fs::rename(file, file.with_extension("old")).expect("renamed")),
            ("removed", |file| fs::remove_file(file).expect("removed")),
            ("replaced", |file| {
                fs::write(file.with_extension("new"), "2").expect("written");
                fs::rename(file.with_extension("new"), file).expect("replaced");
            }),
        ];
        for (what, change) in changes {
            let directory = TestDir::new("inotify-itself");
            let file = directory.path().join("hub.db");
            fs::write(&file, "1").expect("written");
            let held = fs::File::open(&file).expect("open");
            let mut inotify = Inotify::new().expect("inotify");
            inotify.add_itself(&file).expect("watched");
            fs::write(&file, "more").expect("written");
            assert!(!inotify.changed().expect("read"), "{what}: a write is none of it");
            change(&file);
            assert!(inotify.changed().expect("read"), "{what}");
            drop(held);
        }
    }
}
