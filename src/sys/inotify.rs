//! Changes of files, told by the kernel.

use super::{cvt, poll};
use std::collections::HashMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What counts as a change: written and closed, made, taken away, moved in or out.
const CHANGES: u32 = libc::IN_CLOSE_WRITE | libc::IN_CREATE | libc::IN_DELETE | libc::IN_MOVED_TO | libc::IN_MOVED_FROM;
/// What can mean that a name leads to another file than before: the file was renamed, or lost a name.
const MOVES: u32 = libc::IN_ATTRIB | libc::IN_MOVE_SELF | libc::IN_DELETE_SELF;
/// What means that a watched directory is not where it was.
const GONE: u32 = libc::IN_MOVE_SELF | libc::IN_DELETE_SELF | libc::IN_UNMOUNT;
/// Looks for a directory that goes away again and again.
const TRIES: usize = 16;
/// Links that lead to links to a file; the kernel follows more, nobody makes them.
const MAX_LINKS: usize = 8;
/// Room for many events at once; the kernel hands over whole ones only.
const BUFFER_BYTES: usize = 4096;
/// wd, mask, cookie and the length of the name, four bytes each (inotify(7)).
const HEADER_BYTES: usize = 16;

/// Some directories and files under watch. Watches go with it.
#[derive(Debug)]
pub(crate) struct Inotify {
    fd: OwnedFd,
    /// What is meant of each watch.
    watches: HashMap<i32, Vec<Meant>>,
}

/// What a watch is for.
#[derive(Debug)]
enum Meant {
    /// All that is told of it.
    All,
    /// One name in its directory.
    Name(OsString),
    /// That, and what becomes of the directory itself.
    Followed(OsString),
}

/// How following files went.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// Something was not under watch before: nobody has told what became of it until now.
    pub(crate) has_new: bool,
    /// The files that cannot be watched.
    pub(crate) failed: Vec<(PathBuf, io::Error)>,
}

impl Inotify {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: inotify_init1 takes no pointer.
        let fd = cvt(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
        // SAFETY: the descriptor is new and owned by nobody else.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, watches: HashMap::new() })
    }

    /// Watches a directory's entries, not those below them, or one file, which may be replaced or not be there yet.
    pub(crate) fn add(&mut self, path: &Path) -> io::Result<()> {
        let (directory, name) = match (path.is_dir(), path.parent(), path.file_name()) {
            (false, Some(parent), Some(name)) => (parent, Meant::Name(name.to_owned())),
            _ => (path, Meant::All),
        };
        let watch = self.watch(directory, CHANGES)?;
        self.watches.entry(watch).or_default().push(name);
        Ok(())
    }

    /// Watches what stands at `path` now, and not what takes its place: for being renamed or removed. More than that may
    /// count as a change.
    pub(crate) fn add_itself(&mut self, path: &Path) -> io::Result<()> {
        let watch = self.watch(path, MOVES)?;
        self.watches.entry(watch).or_default().push(Meant::All);
        Ok(())
    }

    /// Watches these files, and nothing else any more. Each of them may be a link, or not be there yet, nor its directory;
    /// what became of the links and directories since is seen when they are followed anew, which every change is a
    /// reason for. Of the directories on the way to one only the last is watched.
    pub(crate) fn follow(&mut self, files: &[PathBuf]) -> Followed {
        let (mut watches, mut followed) = (HashMap::<i32, Vec<Meant>>::new(), Followed::default());
        for file in files {
            match self.follow_one(file, &mut watches) {
                Ok(has_new) => followed.has_new |= has_new,
                Err(error) => followed.failed.push((file.clone(), error)),
            }
        }
        for watch in self.watches.keys().filter(|watch| !watches.contains_key(watch)) {
            self.remove(*watch);
        }
        self.watches = watches;
        followed
    }

    /// Whether something was not under watch before. What could be watched until an error is.
    fn follow_one(&self, file: &Path, watches: &mut HashMap<i32, Vec<Meant>>) -> io::Result<bool> {
        let mut has_new = false;
        let mut tries = 0..TRIES;
        loop {
            let mut failure = None;
            for (directory, name) in names_of(file) {
                match self.watch(&directory, CHANGES | GONE) {
                    Ok(watch) => {
                        has_new |= !self.watches.contains_key(&watch);
                        watches.entry(watch).or_default().push(Meant::Followed(name));
                    }
                    Err(error) => failure = Some(error),
                }
            }
            match failure {
                None => return Ok(has_new),
                // A directory went away meanwhile, and nobody will tell when it is back: one above it has to.
                Some(error) if error.kind() == io::ErrorKind::NotFound && tries.next().is_some() => {}
                Some(error) => return Err(error),
            }
        }
    }

    /// Watches nothing any more. The kernel forgets a watch some milliseconds after it is told to, and whoever closes the
    /// descriptor waits for that: this does not, so that the wait is over by then.
    pub(crate) fn release(&mut self) {
        for watch in std::mem::take(&mut self.watches).into_keys() {
            self.remove(watch);
        }
    }

    /// One that is gone already is refused and harms nobody.
    fn remove(&self, watch: i32) {
        // SAFETY: inotify_rm_watch takes no pointer.
        let _gone = unsafe { libc::inotify_rm_watch(self.fd.as_raw_fd(), watch) };
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
        if event.mask & libc::IN_Q_OVERFLOW != 0 {
            return true;
        }
        self.watches.get(&event.watch).into_iter().flatten().any(|meant| match meant {
            Meant::All => true,
            Meant::Name(name) => *name == event.name,
            Meant::Followed(name) => *name == event.name || event.mask & GONE != 0,
        })
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The names whose change can make `file` another one, each with its directory: its own, and those of the files that it
/// is a link to. Where a directory is not there, the name in the nearest one above that has to come first, and that one's.
fn names_of(file: &Path) -> Vec<(PathBuf, OsString)> {
    let (mut names, mut path) = (Vec::new(), file.to_owned());
    for _ in 0..=MAX_LINKS {
        let there = path.ancestors().find(|above| above.parent().is_some_and(Path::is_dir));
        let Some((directory, name)) = there.and_then(|there| Some((there.parent()?, there.file_name()?))) else {
            break;
        };
        names.push((directory.to_owned(), name.to_owned()));
        if there != Some(&path) {
            // One that is removed says so itself only once nobody works in it any more.
            names
                .extend(directory.parent().zip(directory.file_name()).map(|(above, name)| (above.into(), name.into())));
            break;
        }
        match fs::read_link(&path) {
            Ok(target) => path = directory.join(target),
            Err(_) => break,
        }
    }
    names
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
    use std::os::unix::fs::symlink;

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

    #[test]
    fn what_was_released_tells_nothing_and_can_be_watched_again() {
        let directory = TestDir::new("inotify-release");
        let file = directory.path().join("list");
        fs::write(&file, "1").expect("written");
        let mut inotify = Inotify::new().expect("inotify");
        inotify.add_itself(&file).expect("watched");
        assert!(inotify.follow(std::slice::from_ref(&file)).has_new);
        inotify.release();
        fs::remove_file(&file).expect("removed");
        assert!(!inotify.changed().expect("read"), "nobody watches");
        assert!(inotify.follow(std::slice::from_ref(&file)).has_new);
        fs::write(&file, "2").expect("written");
        assert!(inotify.changed().expect("read"), "watched again");
    }

    /// What was told since the last time, taking up whatever is there now, as whoever follows files does.
    fn changed(inotify: &mut Inotify, files: &[PathBuf]) -> bool {
        let changed = inotify.changed().expect("read");
        assert!(inotify.follow(files).failed.is_empty());
        changed
    }

    #[test]
    fn a_followed_file_is_told_wherever_its_links_lead_and_also_before_it_is_there() {
        let directory = TestDir::new("inotify-follow");
        let at = |name: &str| directory.path().join(name);
        for name in ["home", "conf", "other"] {
            fs::create_dir(at(name)).expect("made");
        }
        fs::write(at("conf/list"), "1").expect("written");
        fs::write(at("other/list"), "1").expect("written");
        symlink("../conf/list", at("home/list")).expect("linked");
        let files = [at("home/list"), at("module/.parachute/module.json")];
        let mut inotify = Inotify::new().expect("inotify");
        assert!(inotify.follow(&files).has_new);
        assert!(!inotify.follow(&files).has_new, "nothing new the second time");
        let told = |inotify: &mut Inotify, what: &str| assert!(changed(inotify, &files), "{what}");

        assert!(!changed(&mut inotify, &files));
        fs::write(at("conf/list"), "2").expect("written");
        told(&mut inotify, "what it is a link to");
        symlink(at("other/list"), at("home/new")).expect("linked");
        fs::rename(at("home/new"), at("home/list")).expect("renamed");
        told(&mut inotify, "another link");
        fs::write(at("conf/list"), "3").expect("written");
        assert!(!changed(&mut inotify, &files), "it leads there no more");
        fs::write(at("other/list"), "2").expect("written");
        told(&mut inotify, "what it is a link to now");
        fs::remove_file(at("other/list")).expect("removed");
        told(&mut inotify, "a link to nothing");

        fs::write(at("unrelated"), "").expect("written");
        assert!(!changed(&mut inotify, &files), "beside the directory that is not there");
        fs::create_dir(at("module")).expect("made");
        told(&mut inotify, "the directory above");
        fs::create_dir(at("module/.parachute")).expect("made");
        told(&mut inotify, "its directory");
        fs::write(at("module/.parachute/module.json"), "{}").expect("written");
        told(&mut inotify, "the file");
        fs::remove_dir_all(at("module")).expect("removed");
        told(&mut inotify, "all of it removed");
        fs::create_dir_all(at("module/.parachute")).expect("made");
        told(&mut inotify, "its directory once more");
        // Who works in a directory keeps it from telling that it was removed.
        let _kept = fs::File::open(at("module")).expect("open");
        fs::remove_dir(at("module/.parachute")).expect("removed");
        told(&mut inotify, "only its directory removed");
        fs::remove_dir(at("module")).expect("removed");
        told(&mut inotify, "the directory above, in which somebody works");
        fs::create_dir_all(at("module/.parachute")).expect("made");
        told(&mut inotify, "another one in its place");
        fs::write(at("module/.parachute/module.json"), "{}").expect("written");
        told(&mut inotify, "the file once more");
        assert!(!changed(&mut inotify, &files), "nothing since");
    }
}
