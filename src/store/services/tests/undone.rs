//! Writers that know no lock, and what becomes of what they overwrite.

use super::*;
use crate::store::Create;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::sync::atomic::Ordering;

/// The variable that tells a process which writer it is: kind, number and home.
const PART: &str = "PARACHUTE_TEST_WRITER";
/// How long a foreign writer waits for its turn: as good as for ever.
const TURN_WAIT: Duration = Duration::from_secs(600);
/// Of each kind.
const WRITERS: u16 = 4;
const CHANGES: u64 = 500;
/// Of each writer. Few, so that a change is soon followed by another of the same row.
const ROWS: u64 = 2;
/// How long a foreign writer has the list before it writes it: long enough for edits of ours to come in between.
const FOREIGN_HOLD: Duration = Duration::from_millis(2);

/// Row and version that a change leaves; every tenth takes the row away.
fn change(kind: char, writer: u16, change: u64) -> (String, Option<Value>) {
    let of = change % ROWS;
    let name = format!("{kind}{writer}-{of}");
    let base = if kind == 'l' { 2000 } else { 3000 };
    let mut row = row(&name, base + writer * 10 + u16::try_from(of).expect("small"));
    row["version"] = json!(change.to_string());
    (name, (kind == 'f' || change % 10 != 9).then_some(row))
}

/// A writer of its own, as another process would be: nothing of it is shared but the files.
fn own(home: &Home) -> Services {
    Services::new(Home::open(home.path(), Create::No).expect("the home"))
}

fn lock_and_change(services: &Services, name: &str, row: Option<&Value>) {
    loop {
        let outcome = services.edit(|document| match row {
            Some(row) => document.upsert(row.clone()),
            None => {
                document.remove(name);
                Ok(())
            }
        });
        match outcome {
            // Many writers on a slow machine: it tries again, as it is told.
            Err(EditError::Store(StoreError::Locked { .. })) => {}
            outcome => return outcome.expect("an edit"),
        }
    }
}

/// A module of the reference: reads, takes its time, renames, and knows no lock.
fn write_without_lock(home: &Home, name: &str, row: Value) {
    let path = home.services_json();
    let mut document = Document::parse(&std::fs::read(&path).expect("never away")).expect("never torn");
    crate::sys::fs::pause(FOREIGN_HOLD);
    document.upsert(row).expect("a free port");
    let temp = path.with_file_name(format!("{name}.tmp"));
    std::fs::write(&temp, document.to_bytes()).expect("a temporary file");
    std::fs::rename(&temp, &path).expect("a rename");
}

fn versions(document: &Listing) -> BTreeMap<String, String> {
    let rows = document.entries().iter().filter_map(|entry| entry.row.as_ref().ok());
    rows.map(|row| (row.name.clone(), row.version.clone())).collect()
}

/// What one writer of `c15_04_…` does, in a process of its own.
#[test]
#[ignore = "c15_04_… runs it, and says in the environment whose part it plays"]
fn one_writer_of_case_four() {
    #[expect(clippy::disallowed_methods, reason = "so a process is told of a test what its part is")]
    let part = std::env::var(PART).expect("c15_04_… sets it");
    let (kind, writer, home) = part
        .split_once(' ')
        .and_then(|(kind, rest)| {
            let (writer, home) = rest.split_once(' ')?;
            Some((kind, writer.parse().ok()?, Home::open(Path::new(home), Create::No).ok()?))
        })
        .expect("kind, number and home");
    let progress = home.path().join("progress");
    if kind == "l" {
        let mut made = std::fs::File::options().append(true).open(&progress).expect("a file");
        let services = own(&home);
        for number in 0..CHANGES {
            let (name, row) = change('l', writer, number);
            lock_and_change(&services, &name, row.as_ref());
            made.write_all(b".").expect("room");
        }
        return;
    }
    let made = || std::fs::metadata(&progress).expect("there").len();
    for number in 0..CHANGES {
        // All along, and not all at the beginning because they wait for nobody.
        while made() < number * u64::from(WRITERS) {
            crate::sys::fs::pause(Duration::from_millis(10));
        }
        let (name, row) = change('f', writer, number);
        // What foreign writers do to each other is nobody's to mend, so they take turns.
        let turn = Dir::open(home.path()).and_then(|dir| dir.open_lock(OsStr::new("turn"), PRIVATE)).expect("a file");
        let _turn = FileLock::acquire(turn, Instant::now() + TURN_WAIT).expect("its turn");
        write_without_lock(&home, &name, row.expect("it removes none"));
    }
}

/// files §15, case 4: every writer is a process.
#[test]
fn c15_04_eight_writers_of_which_half_know_no_lock_lose_nothing_that_one_pass_does_not_bring_back() {
    let home = TestHome::in_memory();
    lock_and_change(&own(&home), "seed", Some(&row("seed", 1999)));
    home.put("progress", "");
    let program = std::env::current_exe().expect("this program");
    let (_, path) = module_path!().split_once("::").expect("the name of the crate is in front");
    thread::scope(|scope| {
        for (kind, writer) in ["l", "f"].into_iter().flat_map(|kind| (0..WRITERS).map(move |writer| (kind, writer))) {
            let mut process = std::process::Command::new(&program);
            process.args(["--ignored", "--exact", "--nocapture", &format!("{path}::one_writer_of_case_four")]);
            process.env(PART, format!("{kind} {writer} {}", home.path().display()));
            scope.spawn(move || {
                let done = process.output().expect("a process");
                let told = String::from_utf8_lossy(&done.stdout) + String::from_utf8_lossy(&done.stderr);
                assert!(done.status.success() && told.contains("1 passed"), "{kind}{writer}: {told}");
            });
        }
    });
    let made = std::fs::metadata(home.path().join("progress")).expect("there").len();
    assert_eq!(made, CHANGES * u64::from(WRITERS));
    let services = own(&home);
    services.repair().expect("one pass");
    let mut expected: BTreeMap<String, String> = [("seed".to_owned(), String::new())].into();
    for (kind, writer, number) in ['l', 'f']
        .into_iter()
        .flat_map(|kind| (0..WRITERS).flat_map(move |writer| (0..CHANGES).map(move |number| (kind, writer, number))))
    {
        match change(kind, writer, number) {
            (name, Some(_)) => drop(expected.insert(name, number.to_string())),
            (name, None) => drop(expected.remove(&name)),
        }
    }
    assert_eq!(versions(&services.read().expect("a document")), expected);
    assert!(services.take_recoveries().is_empty(), "the file was never torn");
    assert_eq!(services.repair().expect("a second pass"), [] as [String; 0], "nothing is left to do");
}

#[test]
fn what_an_older_list_undid_is_done_again_by_the_next_edit_and_by_a_pass() {
    for by_pass in [false, true] {
        let home = TestHome::new();
        let services = own(&home);
        for (name, port) in [("kept", 2000), ("gone", 2001), ("moved", 2002)] {
            lock_and_change(&services, name, Some(&row(name, port)));
        }
        let old = home.text("services.json");
        lock_and_change(&services, "gone", None);
        lock_and_change(&services, "moved", Some(&row("moved", 2003)));
        lock_and_change(&services, "new", Some(&row("new", 2004)));
        let wanted = home.text("services.json");
        assert_eq!(services.undone().expect("a look"), [] as [String; 0]);

        // Not a writer of ours, and one that had the list since before.
        home.put("services.json", &old);
        assert_eq!(own(&home).undone().expect("a look"), ["gone", "moved", "new"]);
        assert_eq!(home.text("services.json"), old, "a look changes nothing");
        if by_pass {
            assert_eq!(own(&home).repair().expect("a pass"), ["gone", "moved", "new"]);
        } else {
            own(&home).edit(|_| Ok(())).expect("an edit of nothing");
        }
        assert_eq!(home.text("services.json"), wanted, "by a pass {by_pass}");
    }
}

#[test]
fn what_somebody_decided_afterwards_and_what_is_long_past_stays() {
    let home = TestHome::new();
    let services = own(&home);
    lock_and_change(&services, "wiki", Some(&row("wiki", 2000)));
    lock_and_change(&services, "wiki", Some(&row("wiki", 2001)));
    // The port that the module is moved to is neither the old one nor ours.
    let by_hand = home.text("services.json").replace("2001", "2002");
    home.put("services.json", &by_hand);
    assert_eq!(own(&home).repair().expect("a pass"), [] as [String; 0]);
    assert_eq!(home.text("services.json"), by_hand);

    // The same, undone, but noted an hour ago; or by a clock that was an hour ahead; or nothing of it readable.
    let undone = home.text("services.json").replace("2002", "2000");
    home.put("services.json", &undone);
    assert_eq!(own(&home).undone().expect("a look"), ["wiki"]);
    let journal = home.text("hub/run/services.edits");
    let at = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["at"].as_u64().expect("a time");
    let shifted = |by: &dyn Fn(u64) -> u64| {
        let lines = journal.lines().map(|line| line.replace(&at(line).to_string(), &by(at(line)).to_string()));
        lines.collect::<Vec<_>>().join("\n")
    };
    for (what, text) in [
        ("an hour ago", shifted(&|at| at - 3_600_000)),
        ("an hour ahead", shifted(&|at| at + 3_600_000)),
        ("torn", journal.chars().take(20).collect()),
        ("empty", String::new()),
        ("no objects", "1\n[]\n{}\n{\"at\":1}\n\0\n".to_owned()),
    ] {
        home.put("hub/run/services.edits", &text);
        assert_eq!(own(&home).repair().expect("a pass"), [] as [String; 0], "{what}");
        assert_eq!(home.text("services.json"), undone, "{what}");
    }
}

#[test]
fn a_writer_that_never_rests_keeps_nobody_from_the_lock() {
    let home = TestHome::in_memory();
    let (greedy, patient) = (own(&home), own(&home));
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // At once again, after having had it nearly all the time.
                let lock = greedy.lock();
                crate::sys::fs::pause(Duration::from_millis(20));
                drop(lock);
            }
        });
        let refused = (0..20).find(|number| {
            let (name, row) = change('l', 0, *number);
            let outcome = patient.edit(|document| document.upsert(row.clone().unwrap_or_else(|| self::row(&name, 9))));
            matches!(outcome, Err(EditError::Store(StoreError::Locked { .. })))
        });
        over.store(true, Ordering::Relaxed);
        assert_eq!(refused, None, "an edit that never had its turn");
    });
}
