use super::recover::Instead;
use super::*;
use crate::manifest::Short;
use crate::manifest::services::{Document, Exposure, Listing};
use crate::store::atomic::PRIVATE;
use crate::store::modules;
use crate::store::testing::TestHome;
use crate::sys::fs::{self, Dir};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

mod undone;

/// Enough rows for writers to meet often, few enough for a slow disk.
const EDITS: u16 = 50;

fn row(name: &str, port: u16) -> Value {
    json!({ "name": name, "port": port, "paths": [], "health": "/", "version": "" })
}

fn names(document: &Listing) -> BTreeSet<String> {
    document.entries().iter().map(|entry| entry.name.clone()).collect()
}

/// A writer that never rests can keep another from the lock for its two seconds: that one tries again, as it is told.
fn upsert(services: &Services, name: &str, port: u16) {
    loop {
        match services.edit(|document| document.upsert(row(name, port))) {
            Err(EditError::Store(StoreError::Locked { .. })) => {}
            outcome => return outcome.expect("an edit"),
        }
    }
}

/// A module of the reference: reads, changes, renames, and knows no lock.
fn foreign_upsert(home: &Home, name: &str, port: u16) {
    let path = home.services_json();
    let bytes = std::fs::read(&path).expect("the file is never away");
    let mut document = Document::parse(&bytes).expect("the file is never torn");
    document.upsert(row(name, port)).expect("a free port");
    let temp = path.with_file_name(format!("{name}.tmp"));
    std::fs::write(&temp, document.to_bytes()).expect("a temporary file");
    std::fs::rename(&temp, &path).expect("a rename");
}

#[test]
fn a_missing_file_is_an_empty_list_and_reading_makes_none() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    assert!(services.read().expect("empty").entries().is_empty());
    services.edit(|_| Ok(())).expect("nothing to do");
    assert_eq!(home.names(), ["hub", "services.json.lock"]);
}

#[test]
fn a_file_that_is_away_for_a_moment_says_what_it_said() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    upsert(&services, "web", 1950);
    assert_eq!(names(&services.read().expect("a list")), ["web".to_owned()].into());
    let (path, aside) = (home.services_json(), home.path().join("services.json~"));
    std::fs::rename(&path, &aside).expect("as an editor does");
    assert_eq!(names(&services.read().expect("what it said")), ["web".to_owned()].into());
    assert!(services.has_gone() && !services.has_gone(), "told once");
    assert_eq!(names(&Services::new(home.clone()).read().expect("nothing")), [].into(), "who comes new knows of none");
    std::fs::rename(&aside, &path).expect("put back");
    services.read().expect("a list");
    assert!(!services.has_gone());
    std::fs::write(&path, "{\"services\": []}").expect("somebody else's");
    assert_eq!(names(&services.read().expect("a list without modules")), [].into());
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(names(&services.read().expect("nothing")), [].into());
}

#[test]
fn an_edit_is_seen_by_the_next_read_and_leaves_nothing_behind() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    upsert(&services, "wiki", 3000);
    upsert(&services, "notes", 3001);
    let other = Services::new(home.clone());
    assert_eq!(names(&other.read().expect("a document")), ["notes", "wiki"].map(str::to_owned).into());
    other.edit(|document| Ok(document.remove("wiki"))).expect("an edit");
    assert_eq!(names(&services.read().expect("a document")), ["notes".to_owned()].into());
    assert_eq!(home.names(), ["hub", "services.json", "services.json.lock"]);
}

#[test]
fn an_unchanged_file_is_parsed_once() {
    let home = TestHome::new();
    let path = home.put("services.json", r#"{"services":[]}"#);
    let old = std::fs::File::options().write(true).open(&path).expect("the file");
    old.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("a time");
    let services = Services::new(home.clone());
    // The change time cannot be set back: until it has aged, a read looks at the bytes.
    let first = services.read().expect("a document");
    let settled = std::iter::repeat_with(|| {
        fs::pause(fs::RACY);
        services.read().expect("a document")
    })
    .find(|_| services.cache().as_ref().is_some_and(|seen| seen.digest.is_none()))
    .expect("it settles");
    assert!(Arc::ptr_eq(&first, &settled) && Arc::ptr_eq(&first, &services.read().expect("a document")));
    home.put("services.json", br#"{"services":[1]}"#);
    assert_eq!(services.read().expect("a document").entries().len(), 1);
}

/// The kernel's clock for a file's times stands still for some milliseconds.
#[test]
fn a_change_that_no_time_shows_is_seen() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    for number in 100..300 {
        let name = format!("wiki{number}");
        let row = json!({"name": name, "port": 3000, "paths": [], "health": "/", "version": ""});
        home.put("services.json", json!({"services": [row]}).to_string());
        let read = services.read().expect("a document");
        assert!(Arc::ptr_eq(&read, &services.read().expect("a document")), "{name} is parsed once");
        assert_eq!(names(&read), [name].into());
    }
}

#[test]
fn an_edit_without_effect_writes_nothing() {
    let home = TestHome::new();
    let odd = "{ \"services\" :[{\"name\":\"wiki\",\"port\":3000,\"paths\":[],\"health\":\"/\",\"version\":\"\"}]}";
    home.put("services.json", odd);
    upsert(&Services::new(home.clone()), "wiki", 3000);
    assert_eq!(home.text("services.json"), odd);
}

#[test]
fn a_refused_edit_writes_nothing() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    upsert(&services, "wiki", 3000);
    let before = home.text("services.json");
    let outcome = services.edit(|document| document.upsert(row("notes", 3000)));
    assert!(matches!(outcome, Err(EditError::Refused(problem)) if problem.field == "port"));
    assert_eq!(home.text("services.json"), before);
}

#[test]
fn a_held_lock_ends_in_an_error_that_names_the_file() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    let lock = Dir::open(home.path())
        .and_then(|dir| dir.open_lock(OsStr::new(LOCK), PRIVATE))
        .and_then(|file| FileLock::acquire(file, Instant::now()))
        .expect("a free lock");
    let error = services.edit(|document| document.upsert(row("wiki", 3000))).expect_err("busy");
    assert!(matches!(error, EditError::Store(StoreError::Locked { .. })), "{error}");
    assert!(error.to_string().contains("services.json.lock is locked by another process"), "{error}");
    drop(lock);
    upsert(&services, "wiki", 3000);
}

#[test]
fn four_writers_lose_nothing() {
    let home = TestHome::new();
    let shared = Services::new(home.clone());
    thread::scope(|scope| {
        for writer in 0..4_u16 {
            // Two share a handle, two have their own, as two processes would.
            let services = if writer < 2 { None } else { Some(Services::new(home.clone())) };
            let shared = &shared;
            scope.spawn(move || {
                for edit in 0..EDITS {
                    upsert(
                        services.as_ref().unwrap_or(shared),
                        &format!("m{writer}-{edit}"),
                        2000 + writer * EDITS + edit,
                    );
                }
            });
        }
    });
    assert_eq!(names(&shared.read().expect("a document")).len(), usize::from(4 * EDITS));
    assert_eq!(home.names(), ["hub", "services.json", "services.json.lock"]);
}

#[test]
fn a_change_during_the_edit_begins_it_anew() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    upsert(&services, "seed", 1999);
    let mut calls = 0;
    services
        .edit(|document| {
            calls += 1;
            if calls == 1 {
                foreign_upsert(&home, "foreign", 2000);
            }
            document.upsert(row("ours", 2001))
        })
        .expect("an edit");
    assert_eq!(calls, 2);
    let expected = ["foreign", "ours", "seed"].map(str::to_owned);
    assert_eq!(names(&services.read().expect("a document")), expected.into());
    // A file that changes every time gets both.
    let mut port = 3000;
    services
        .edit(|document| {
            port += 1;
            foreign_upsert(&home, "restless", port);
            document.upsert(row("patient", 2002))
        })
        .expect("an edit");
    let document = services.read().expect("a document");
    assert_eq!(names(&document), ["foreign", "ours", "patient", "restless", "seed"].map(str::to_owned).into());
    let restless = document.find(&Short::parse("restless").expect("a short")).expect("there");
    assert_eq!(restless.row.as_ref().expect("good").port.get(), port, "the last foreign version");
    assert_eq!(home.names(), ["hub", "services.json", "services.json.lock"]);
}

#[test]
fn a_file_that_cannot_be_parsed_is_an_error_to_readers_and_kept_by_writers() {
    for (backup, content) in [(true, ""), (true, "{\"services\":["), (false, "\0\0\0")] {
        let home = TestHome::new();
        let services = Services::new(home.clone());
        upsert(&services, "wiki", 3000);
        if backup {
            services.save_backup(&Listing::default()).expect("a backup");
        }
        home.put("services.json", content);
        let error = services.read().expect_err("unusable");
        assert!(matches!(&error, StoreError::Syntax { path, .. } if *path == home.services_json()), "{error}");
        assert_eq!(home.text("services.json"), content, "a read changes nothing");

        upsert(&services, "notes", 3001);
        // Without a backup what was written a moment ago is still noted.
        let expected = ["notes", "wiki"].map(str::to_owned);
        assert_eq!(names(&services.read().expect("a document")), expected.into(), "{content:?}");
        let recoveries = services.take_recoveries();
        let [recovery] = &recoveries[..] else { panic!("{recoveries:?}") };
        assert_eq!(std::fs::read_to_string(&recovery.saved).expect("kept"), content);
        assert_eq!(recovery.instead, if backup { Instead::Backup } else { Instead::EmptyList });
        assert!(services.take_recoveries().is_empty());
    }
}

#[test]
fn a_list_without_a_backup_is_rebuilt_from_what_is_known_of_it() {
    let wiki = Short::parse("wiki").expect("a short");
    let manifest = json!({
        "name": "wiki", "manifestName": "wiki", "port": 3000, "paths": ["/wiki"], "health": "/", "startCmd": ["true"]
    });
    let mut listed = Document::empty();
    listed.upsert(row("running", 3002)).expect("a row");
    let (listed, unknown) = (Listing::from(listed), Listing::default());
    for (what, in_backup, last, salvaged, adopted, expected) in [
        ("rows of the file", false, &unknown, &["notes"][..], &["wiki"][..], &["notes", "other", "wiki"][..]),
        ("rows of the backup", true, &unknown, &["notes"], &["wiki"], &["notes", "other", "wiki"]),
        ("what the hub knows", false, &listed, &[], &[], &["notes", "other", "running", "wiki"]),
    ] {
        let home = TestHome::new();
        let services = Services::new(home.clone());
        modules::write_manifest(&home, &wiki, &manifest).expect("written");
        upsert(&services, "notes", 3001);
        // What was noted of that edit is not to help.
        std::fs::remove_file(home.path().join("hub/run/services.edits")).expect("noted");
        let torn = home.text("services.json").trim_end().trim_end_matches('}').to_owned();
        home.put("services.json", if in_backup { "" } else { &torn });
        if in_backup {
            home.put("services.json.bak", &torn);
        }
        if !last.entries().is_empty() {
            services.save_backup(last).expect("a backup");
        }
        upsert(&services, "other", 3003);
        let document = services.read().expect("a document");
        assert_eq!(names(&document), expected.iter().map(|name| (*name).to_owned()).collect(), "{what}");
        let row = document.find(&wiki).expect("there").row.as_ref().expect("good");
        assert_eq!(row.public_exposure, Some(Exposure::Loopback), "{what}: who might reach it is not known");
        assert_eq!(row.install_dir.as_deref(), Some(home.adopted_dir(&wiki).as_path()));
        let recoveries = services.take_recoveries();
        let [recovery] = &recoveries[..] else { panic!("{what}: {recoveries:?}") };
        assert_eq!(recovery.rebuilt.salvaged, salvaged, "{what}");
        assert_eq!(recovery.rebuilt.adopted, adopted, "{what}");
    }
}

#[test]
fn what_takes_the_place_of_a_lost_list_is_said_as_it_is() {
    for (what, is_noted, said) in [
        ("nothing is known", false, "and the list begins empty"),
        ("an edit was noted", true, "and no backup can be used; changes of the last seconds were made again: notes"),
    ] {
        let home = TestHome::new();
        let services = Services::new(home.clone());
        upsert(&services, "notes", 3001);
        if !is_noted {
            std::fs::remove_file(home.path().join("hub/run/services.edits")).expect("noted");
        }
        home.put("services.json", "no list");
        upsert(&services, "other", 3003);
        let expected = if is_noted { &["notes", "other"][..] } else { &["other"] };
        let document = services.read().expect("a document");
        assert_eq!(names(&document), expected.iter().map(|name| (*name).to_owned()).collect(), "{what}");
        let recoveries = services.take_recoveries();
        let [recovery] = &recoveries[..] else { panic!("{what}: {recoveries:?}") };
        assert!(recovery.to_string().ends_with(said), "{what}: {recovery}");
    }
}

#[test]
fn an_empty_list_does_not_replace_a_backup() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    upsert(&services, "wiki", 3000);
    services.save_backup(&Listing::default()).expect("a backup");
    let saved = home.text("services.json.bak");
    services.edit(|document| Ok(document.remove("wiki"))).expect("an edit");
    services.save_backup(&Listing::default()).expect("nothing to do");
    assert_eq!(home.text("services.json.bak"), saved);
}

/// Whoever began a new list then would stop the modules of the one that is away.
#[test]
fn a_list_that_is_away_is_not_begun_anew_while_its_backup_has_rows() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    upsert(&services, "wiki", 3000);
    services.save_backup(&Listing::default()).expect("a backup");
    let [list, away, backup] = ["services.json", "away", "services.json.bak"].map(|name| home.path().join(name));
    std::fs::rename(&list, &away).expect("moved");
    let refused = services.edit(|document| document.upsert(row("notes", 3001))).expect_err("refused");
    assert!(matches!(refused, EditError::Store(StoreError::NoList { .. })), "{refused}");
    assert!(refused.to_string().contains("services.json.bak has its rows"), "{refused}");
    for reader in [&services, &Services::new(home.clone())] {
        assert!(matches!(reader.read(), Err(StoreError::NoList { .. })), "it is not a list without modules either");
    }
    services.restore().expect("nothing that could be");
    assert!(!list.exists());
    std::fs::rename(&away, &list).expect("moved back");
    upsert(&services, "notes", 3001);
    std::fs::remove_file(&list).expect("removed");
    std::fs::rename(&backup, &away).expect("moved");
    upsert(&services, "scribe", 3002);
    assert!(services.read().expect("a list").entries().iter().any(|entry| entry.name == "scribe"));
}

#[test]
fn a_link_is_written_through_and_stays_a_link() {
    let (home, disk) = (TestHome::new(), TestHome::new());
    let real = disk.put("real.json", r#"{"services":[]}"#);
    symlink(&real, home.services_json()).expect("a link");
    let services = Services::new(home.clone());
    upsert(&services, "wiki", 3000);
    assert!(home.services_json().is_symlink());
    assert!(disk.text("real.json").contains("wiki"));
    let short = Short::parse("wiki").expect("a short");
    assert!(services.read().expect("a document").find(&short).is_some());
}

#[test]
fn the_file_is_public_only_in_a_private_home_and_never_more_than_before() {
    for (home_mode, old_mode, expected) in [(0o700, 0o644, 0o644), (0o700, 0o600, 0o600), (0o755, 0o644, 0o600)] {
        let home = TestHome::new();
        let path = home.put("services.json", r#"{"services":[]}"#);
        for (path, mode) in [(home.path(), home_mode), (&path, old_mode)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
        }
        let reopened = Home::open(home.path(), crate::store::Create::No).expect("a home");
        upsert(&Services::new(reopened), "wiki", 3000);
        let mode = std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777;
        assert_eq!(mode, expected, "home {home_mode:o}, file {old_mode:o}");
    }
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    let mut document = json!({ "services": [row("old", 1950)], "blob": vec![1; 110_000] });
    let compact = format!("{document}\n");
    home.put("services.json", &compact);
    upsert(&services, "new", 1951);
    let read = services.read().expect("a list that can be read again");
    assert_eq!(names(&read), ["new", "old"].map(str::to_owned).into(), "where indentation does not fit, there is none");
    services.save_backup(&read).expect("a backup");
    services.look_at_backup().expect("that can be read");

    document["blob"] = json!("x".repeat(1_048_000));
    let full = format!("{document}\n");
    home.put("services.json", &full);
    let added = services.edit(|document| document.upsert(json!({"name": "n".repeat(60), "port": 1952, "paths": ["/n"], "health": "/", "version": "1", "note": "x".repeat(2_000)})));
    let error = added.expect_err("no room");
    assert!(matches!(error, EditError::Store(StoreError::Overfull { .. })), "{error}");
    assert_eq!(std::fs::read_to_string(home.path().join("services.json")).expect("there"), full);
}

/// The last try of an edit writes, whatever is written in between, and merges that.
#[test]
fn what_cannot_be_merged_stands_as_somebody_else_wrote_it() {
    let home = TestHome::new();
    let services = Services::new(home.clone());
    upsert(&services, "old", 1950);
    let half = "x".repeat(600_000);
    let mut tries = 0;
    let edited = services.edit(|document| {
        tries += 1;
        let large = if tries < 5 { "" } else { &half };
        let foreign = json!({ "services": [row("foreign", 1951 + tries)], "theirs": large });
        home.put("services.json", format!("{foreign}\n"));
        let mut ours = row("ours", 1990);
        ours["note"] = json!(half);
        document.upsert(ours)
    });
    let error = edited.expect_err("both do not fit into one file");
    assert!(matches!(error, EditError::Store(StoreError::Overfull { .. })), "{error}");
    assert_eq!(names(&services.read().expect("readable")), ["foreign".to_owned()].into(), "after {tries} tries");
    assert!(home.text("services.json").len() > half.len(), "{tries} tries: the last of theirs");
    assert_eq!(services.take_recoveries(), [], "nothing had to be put aside");
    assert_eq!(home.names().iter().filter(|name| name.ends_with(".tmp")).count(), 0, "{:?}", home.names());
}
