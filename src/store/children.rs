//! The runtime record: which processes the hub has started, so that the next one can end what it left behind and
//! nothing else (supervisor B21).
//!
//! Text, one line each: a header `parachute-children 1 <instance> <boot id> <hub pid> <hub start> <mark of the home>
//! <session>`,
//! then `<short> <pid> <start>`. A line is written in one call; a torn one at the end is no line, and nothing is put behind it.

use super::atomic::{self, PRIVATE};
use super::{Home, StoreError};
use crate::manifest::{Problem, Short};
use crate::sys::{fs, proc, process};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const RUN_DIR: &str = "hub/run";
const CHILDREN: &str = "hub/run/children";
const NAME: &str = "children";
const MAGIC: &str = "parachute-children 1";

/// Past this only the newest line of each module is kept: about 40,000 starts.
const COMPACT_BYTES: u64 = 1 << 20;
/// What is read back at most: a full journal and a line that could not be compacted.
const READ_MAX_BYTES: u64 = 2 * COMPACT_BYTES;

/// The hub that wrote the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) instance: String,
    /// The kernel's boot id: pids of another boot mean nothing.
    pub(crate) boot_id: String,
    pub(crate) hub_pid: u32,
    /// Clock ticks since boot, as in `/proc/<pid>/stat`.
    pub(crate) hub_start_ticks: u64,
    /// [`Home::mark`]; `None` where an older release wrote it.
    pub(crate) home: Option<String>,
    /// The hub's, in which its children are too; `None` where an older release wrote it.
    pub(crate) session: Option<process::Pid>,
}

impl Header {
    /// Whether it tells of a hub of this home, and did not come into it with a copy of another one.
    pub(super) fn is_of(&self, home: &Home) -> bool {
        self.home.as_ref().is_none_or(|mark| home.has_mark(mark))
    }

    /// Whether it tells of a hub that runs on in the home that this one was copied from.
    pub(crate) fn is_of_another(&self, home: &Home) -> bool {
        !self.is_of(home) && self.lives()
    }

    /// Whether that hub's process still runs, and is not this one.
    pub(super) fn lives(&self) -> bool {
        let Ok(pid) = process::Pid::try_from(self.hub_pid) else { return false };
        self.boot_id == proc::boot_id() && pid != process::own_pid() && proc::is_alive(pid, self.hub_start_ticks)
    }
}

/// A process group's leader that the hub has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) short: Short,
    pub(crate) pid: i32,
    pub(crate) start_ticks: u64,
}

/// The record of the running hub. Shared between threads.
#[derive(Debug)]
pub(crate) struct Journal {
    home: Home,
    header: Header,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    size_bytes: u64,
    /// The last line may be written in part, so that a further one would become part of it.
    is_torn: bool,
    /// All that the file is to say.
    newest: BTreeMap<Short, Child>,
}

impl Journal {
    /// Begins a new record in the place of the old one: read that with [`read_previous`] before.
    pub(crate) fn begin(home: &Home, header: &Header) -> Result<Self, StoreError> {
        let newest = BTreeMap::new();
        let (file, size_bytes) = rewrite(home, header, &newest)?;
        let open = Open { file, size_bytes, is_torn: false, newest };
        Ok(Self { home: home.clone(), header: header.clone(), open: Mutex::new(open) })
    }

    /// Notes a child, right after its start. Does not wait for the disk: a reboot makes it void anyway. One that could
    /// not be noted is with the next one.
    pub(crate) fn append(&self, child: &Child) -> Result<(), StoreError> {
        // What is to be in the file is changed first and stays, so a panic elsewhere leaves it sound.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.newest.insert(child.short.clone(), child.clone());
        if !open.is_torn {
            let line = line_of(child);
            if let Err(source) = fs::write_all(&open.file, line.as_bytes()) {
                open.is_torn = true;
                return Err(StoreError::Write { path: path(&self.home), source });
            }
            open.size_bytes += u64::try_from(line.len()).unwrap_or(0);
        }
        if open.is_torn || open.size_bytes > COMPACT_BYTES {
            let (file, size_bytes) = rewrite(&self.home, &self.header, &open.newest)?;
            (open.file, open.size_bytes, open.is_torn) = (file, size_bytes, false);
        }
        Ok(())
    }
}

/// What an earlier hub noted: its header and the newest child of each module. `None` when there is no record;
/// [`StoreError::Syntax`] when nothing in it can be believed.
pub(crate) fn read_previous(home: &Home) -> Result<Option<(Header, Vec<Child>)>, StoreError> {
    let Some(bytes) = atomic::read(home, CHILDREN, READ_MAX_BYTES)? else { return Ok(None) };
    let damaged = || {
        let problem = Problem::new("", "its first line does not tell which hub wrote it");
        StoreError::Syntax { path: path(home), problem }
    };
    parse(&String::from_utf8_lossy(&bytes)).map(Some).ok_or_else(damaged)
}

/// Takes the record away: every child has ended, and there is nobody for the next hub to look for.
pub(crate) fn remove(home: &Home) -> Result<(), StoreError> {
    atomic::remove(home, Path::new(CHILDREN))
}

pub(super) fn path(home: &Home) -> PathBuf {
    home.path().join(CHILDREN)
}

/// The new file, and how large it is.
fn rewrite(home: &Home, header: &Header, newest: &BTreeMap<Short, Child>) -> Result<(File, u64), StoreError> {
    let Header { instance, boot_id, hub_pid, hub_start_ticks, home: mark, session } = header;
    let mut text = format!("{MAGIC} {instance} {boot_id} {hub_pid} {hub_start_ticks}");
    if let Some(mark) = mark {
        text.extend([" ", mark]);
        text.extend(session.iter().flat_map(|session| [" ".to_owned(), session.to_string()]));
    }
    text.push('\n');
    text.extend(newest.values().map(line_of));
    atomic::write_volatile(home, Path::new(CHILDREN), text.as_bytes(), PRIVATE)?;
    let file = home
        .make_dir(Path::new(RUN_DIR))?
        .open_append(OsStr::new(NAME), PRIVATE)
        .map_err(|source| StoreError::Write { path: path(home), source })?;
    Ok((file, u64::try_from(text.len()).unwrap_or(u64::MAX)))
}

fn line_of(child: &Child) -> String {
    let mut line = String::new();
    let Child { short, pid, start_ticks } = child;
    writeln!(line, "{short} {pid} {start_ticks}").expect("a String takes everything");
    line
}

/// Pure: believes whole lines only, and skips those that make no sense.
fn parse(text: &str) -> Option<(Header, Vec<Child>)> {
    let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let mut words = lines.next()?.strip_prefix(MAGIC)?.split_whitespace();
    let header = Header {
        instance: words.next()?.to_owned(),
        boot_id: words.next()?.to_owned(),
        hub_pid: words.next()?.parse().ok()?,
        hub_start_ticks: words.next()?.parse().ok()?,
        home: words.next().map(str::to_owned),
        session: words.next().and_then(|session| session.parse().ok()),
    };
    let mut newest = BTreeMap::new();
    for child in lines.filter_map(child_of) {
        newest.insert(child.short.clone(), child);
    }
    Some((header, newest.into_values().collect()))
}

fn child_of(line: &str) -> Option<Child> {
    let mut words = line.split_whitespace();
    let short = Short::parse(words.next()?).ok()?;
    // Signalling 0, 1 or a negative pid would reach others than a child.
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 1)?;
    let start_ticks = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Child { short, pid, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{TestHome, short};
    use crate::sys::fault::{Fault, play};

    const ENOSPC: i32 = 28;

    fn header() -> Header {
        Header {
            instance: "3f2a".into(),
            boot_id: "b-o-o-t".into(),
            hub_pid: 100,
            hub_start_ticks: 7,
            home: None,
            session: None,
        }
    }

    fn child(name: &str, pid: i32, start_ticks: u64) -> Child {
        Child { short: short(name), pid, start_ticks }
    }

    #[test]
    fn the_next_hub_reads_the_newest_child_of_each_module() {
        let home = TestHome::new();
        assert_eq!(read_previous(&home).expect("nothing"), None);
        let journal = Journal::begin(&home, &header()).expect("a journal");
        assert_eq!(read_previous(&home).expect("a journal"), Some((header(), Vec::new())));
        for line in [child("wiki", 200, 8), child("vault", 201, 9), child("wiki", 202, 10)] {
            journal.append(&line).expect("a line");
        }
        let expected = vec![child("vault", 201, 9), child("wiki", 202, 10)];
        assert_eq!(read_previous(&home).expect("a journal"), Some((header(), expected)));
        for header in [header(), Header { home: Some("1-2/3f".into()), session: Some(50), ..header() }] {
            Journal::begin(&home, &header).expect("a new journal");
            assert_eq!(read_previous(&home).expect("a journal"), Some((header, Vec::new())));
        }
        remove(&home).expect("removed");
        assert_eq!(read_previous(&home).expect("nothing"), None);
    }

    #[test]
    fn a_torn_or_senseless_line_is_no_child() {
        let first = "parachute-children 1 3f2a b-o-o-t 100 7\n";
        for (rest, children) in [
            ("", vec![]),
            ("wiki 200 8", vec![]),
            ("wiki 200 8\nvault 20", vec![child("wiki", 200, 8)]),
            ("wiki 200 8\n\0\0\0\n\u{fffd}\nvault 201 9\n", vec![child("vault", 201, 9), child("wiki", 200, 8)]),
            ("wiki 1 8\nwiki 0 8\nwiki -5 8\nwiki 99999999999 8\n", vec![]),
            ("wiki 200\nwiki 200 8 9\n../x 200 8\n", vec![]),
        ] {
            assert_eq!(parse(&format!("{first}{rest}")), Some((header(), children)), "{rest:?}");
        }
        for garbage in
            ["", "\n", "parachute-children 1 3f2a b 100 7", "parachute-children 1 3f2a\n", "{}\n", "wiki 2 3\n"]
        {
            assert_eq!(parse(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn a_long_journal_keeps_one_line_for_each_module() {
        let home = TestHome::new();
        let journal = Journal::begin(&home, &header()).expect("a journal");
        let names: Vec<_> = (0..3).map(|module| format!("{module}{}", "m".repeat(60))).collect();
        let mut pid = 1_000_000;
        let mut largest = 0;
        for _ in 0..5_000 {
            for name in &names {
                pid += 1;
                journal.append(&child(name, pid, u64::MAX)).expect("a line");
            }
            largest = largest.max(std::fs::metadata(path(&home)).expect("the file").len());
        }
        assert!(largest <= COMPACT_BYTES, "{largest}");
        let (_, children) = read_previous(&home).expect("a journal").expect("there");
        let newest: Vec<_> = names.iter().zip(pid - 2..).map(|(name, pid)| child(name, pid, u64::MAX)).collect();
        assert_eq!(children, newest);
    }

    #[test]
    fn a_torn_line_takes_nothing_along_and_comes_with_the_next_one() {
        let home = TestHome::new();
        let journal = Journal::begin(&home, &header()).expect("a journal");
        let torn = play(1, Fault::Errno(ENOSPC), || journal.append(&child("wiki", 200, 8)));
        assert_eq!(torn.calls, ["write"]);
        torn.outcome.expect_err("the disk is full");
        assert_eq!(read_previous(&home).expect("a journal"), Some((header(), Vec::new())));
        journal.append(&child("vault", 201, 9)).expect("a line");
        let both = vec![child("vault", 201, 9), child("wiki", 200, 8)];
        assert_eq!(read_previous(&home).expect("a journal"), Some((header(), both)));
    }

    #[test]
    fn a_journal_that_could_not_be_shortened_loses_nobody() {
        let modules = ["base", "last", "vault", "wiki"];
        let scenario = |at| {
            let home = TestHome::new();
            let journal = Journal::begin(&home, &header()).expect("a journal");
            for name in &modules[2..] {
                journal.append(&child(name, 200, 8)).expect("a line");
            }
            journal.open.lock().expect("nobody panicked").size_bytes = COMPACT_BYTES;
            // The first call is the line itself.
            let played = play(at, Fault::Errno(ENOSPC), || journal.append(&child("base", 200, 8)));
            journal.append(&child("last", 200, 8)).expect("a line");
            let (_, children) = read_previous(&home).expect("a journal").expect("there");
            assert_eq!(children, modules.map(|name| child(name, 200, 8)), "call {at} of {:?}", played.calls);
            played.calls.len()
        };
        let calls = scenario(0);
        assert!(calls > 2, "it was shortened: {calls} calls");
        (1..=calls).for_each(|at| _ = scenario(u64::try_from(at).expect("a small number")));
    }

    #[test]
    fn a_record_of_nobody_is_not_taken_for_none() {
        let home = TestHome::new();
        drop(Journal::begin(&home, &header()).expect("a journal"));
        std::fs::write(path(&home), "x").expect("written");
        let error = read_previous(&home).expect_err("it tells of nobody");
        assert!(matches!(&error, StoreError::Syntax { path: named, .. } if *named == path(&home)), "{error}");
    }

    #[test]
    fn threads_write_whole_lines() {
        let home = TestHome::new();
        let journal = Journal::begin(&home, &header()).expect("a journal");
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let journal = &journal;
                scope.spawn(move || {
                    for module in 0..50 {
                        journal.append(&child(&format!("m{thread}-{module}"), 1_000 + module, 1)).expect("a line");
                    }
                });
            }
        });
        assert_eq!(read_previous(&home).expect("a journal").expect("there").1.len(), 200);
    }
}
