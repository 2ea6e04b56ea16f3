//! The database in an archive, with what may stand beside it.

use super::hand::made;
use super::*;

#[test]
fn a_database_that_cannot_be_used_is_kept_as_it_is_and_named() {
    let dir = TestDir::new("archive-database");
    let home = home(&dir);
    let at = |name: &str| home.path().join(name);
    for name in ["hub.db", "hub.db-wal"] {
        put(&at(name), [b'x'; 8192], 0o600);
    }
    let before = names(home.path());
    let written = write(&home, &dir.join("a.tar"), now()).expect("written");
    // That one is SQLite's, which begins to read.
    fs::remove_file(at("hub.db-shm")).expect("there");
    assert!(
        matches!(&written.missing[..], [told] if told.contains("hub.db is in the archive as it is")),
        "{written:?}"
    );
    assert_eq!(names(home.path()), before, "nothing was made in the home");
    let restored = unpack(&dir.join("a.tar"), &dir.join("new")).expect("restored");
    let there = dir.join("new/hub.db");
    assert!(!restored.is_older_copy && restored.warnings[0].contains(&*there.to_string_lossy()), "{restored:?}");
    for name in ["hub.db", "hub.db-wal"] {
        assert_eq!(fs::read(dir.join("new").join(name)).expect("there"), [b'x'; 8192], "{name}");
    }
    // Who mends it has an older copy.
    assert_eq!(fs::read_to_string(dir.join("new/hub/run/epoch")).expect("noted"), "4294967296\n");

    for name in ["hub.db", "hub.db-wal"] {
        fs::remove_file(at(name)).expect("there");
    }
    let written = write(&home, &dir.join("none.tar"), now()).expect("written");
    assert!(written.missing.is_empty(), "no hub has run: {written:?}");
    assert!(!unpack(&dir.join("none.tar"), &dir.join("none")).expect("restored").is_older_copy);
    put(&at("hub/run/epoch"), "1\n", 0o600);
    let written = write(&home, &dir.join("lost.tar"), now()).expect("written");
    assert!(matches!(&written.missing[..], [told] if told.contains("a hub has had one")), "{written:?}");
}

#[test]
fn what_stands_in_the_place_of_a_database_is_told_once() {
    let dir = TestDir::new("archive-no-file");
    let home = home(&dir);
    let at = |name: &str| home.path().join(name);
    let link = || symlink("/etc/hostname", at("hub.db")).expect("linked");
    let fifo = || assert!(Command::new("mkfifo").arg(at("hub.db")).status().expect("run").success());
    let folder = || fs::create_dir(at("hub.db")).expect("made");
    fs::remove_file(at("hub.db")).expect("there");
    for (what, make) in [("a link", &link as &dyn Fn()), ("a FIFO", &fifo), ("a directory", &folder)] {
        make();
        let written = write(&home, &dir.join(what), now()).expect("written");
        let is_told = matches!(&written.missing[..], [told] if told.contains("hub.db is not in the archive"));
        assert!(is_told && written.left_out.is_empty(), "{what}: {written:?}");
        let _ = fs::remove_file(at("hub.db"));
    }
}

/// It is the next hub that plays it back; until then nobody knows how old the database is.
#[test]
fn a_database_with_a_journal_or_a_log_is_restored_with_it_alone() {
    let dir = TestDir::new("archive-journal");
    let home = home(&dir);
    let database = fs::read(home.path().join("hub.db")).expect("there");
    for (what, noted) in [("hub.db-journal", "4294967296\n"), ("hub.db-wal", "1\n")] {
        let archive = made(|hand| {
            hand.directory(ROOT);
            hand.file("parachute-home/hub.db", &database);
            hand.file(&format!("parachute-home/{what}"), &[b'x'; 8192]);
        });
        fs::write(dir.join("a.tar"), archive).expect("written");
        let to = dir.join(what);
        let restored = unpack(&dir.join("a.tar"), &to).expect("restored");
        assert!(restored.is_older_copy && restored.warnings.is_empty(), "{what}: {restored:?}");
        assert_eq!(fs::read_to_string(to.join("hub/run/epoch")).expect("noted"), noted, "{what}");
        assert_eq!(names(&to), ["hub", "hub.db", what]);
        let db = crate::db::Db::open(&to.join("hub.db")).expect("a database");
        assert_eq!(db.settings().get_or_insert("a", "lost", 1).expect("read"), "kept", "{what}");
    }
}
