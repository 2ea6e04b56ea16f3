//! The database as files: whose it is, whether it is sound, and what two openers do to each other.

use super::error::Class;
use super::{CreatedVia, Db, DbError, DbHealth, Entry, KeyState, NewToken, Replacing, Via, verify};
use super::{EPOCH_MAX, epoch};
use crate::sys::fault::{Fault, play};
use crate::sys::testdir::TestDir;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

mod taken_back;

const NOW: i64 = 1_800_000_000;
const EIO: i32 = 5;

fn open(path: &Path) -> Db {
    Db::open(path).unwrap_or_else(|error| panic!("{error}"))
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
}

fn names(dir: &TestDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
        .collect();
    names.sort();
    names
}

/// Makes a database of somebody else with `sql`, closed when this returns.
fn foreign(path: &Path, sql: &str) {
    Connection::open(path).expect("opened").execute_batch(sql).expect("made");
}

fn token<'a>(jti: &'a str, sha256: &'a [u8; 32]) -> NewToken<'a> {
    NewToken {
        jti,
        sha256,
        kid: "k1",
        sub: "operator",
        aud: "operator",
        scope: "a:b",
        client_id: "parachute-hub",
        created_via: CreatedVia::OperatorMint,
        parent_jti: None,
        iat: NOW,
        exp: NOW + 100,
        permissions: None,
    }
}

const ENTRY: Entry<'static> =
    Entry { action: "test", jti: None, parent_jti: None, sub: None, via: Via::Hub, peer: None, result: "ok" };

#[test]
fn a_new_database_is_private_and_of_the_newest_schema() {
    let dir = TestDir::new("db-new");
    let path = dir.join("hub.db");
    let db = open(&path);
    db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect("stored");
    for name in ["hub.db", "hub.db-wal", "hub.db-shm"] {
        assert_eq!(mode(&dir.join(name)), 0o600, "{name}");
    }
    assert_eq!(db.notices(), &[] as &[String]);
    assert_eq!(db.check(), DbHealth::Ok);
    let inside = |pragma: &str| -> i64 { db.lock().pragma_query_value(None, pragma, |row| row.get(0)).expect("asked") };
    for (pragma, value) in [
        ("application_id", i64::from(super::open::APPLICATION_ID)),
        ("user_version", 2),
        ("busy_timeout", 5000),
        ("trusted_schema", 0),
        ("foreign_keys", 1),
        ("secure_delete", 1),
        ("synchronous", 2),
    ] {
        assert_eq!(inside(pragma), value, "{pragma}");
    }
    drop(db);
    assert_eq!(open(&path).keys().usable(NOW).expect("read").len(), 1, "the second open finds what the first left");
}

#[test]
fn first_openers_at_the_same_time_make_one_schema_and_one_key() {
    let dir = TestDir::new("db-race");
    let path = dir.join("hub.db");
    const OPENERS: usize = 6;
    let together = Barrier::new(OPENERS);
    let kids: Vec<Vec<String>> = std::thread::scope(|scope| {
        let openers: Vec<_> = (0..OPENERS)
            .map(|number| {
                let (path, together) = (&path, &together);
                scope.spawn(move || {
                    together.wait();
                    let db = open(path);
                    db.keys().ensure_active(&format!("k{number}"), &[1; 32], 0, NOW, NOW).expect("stored");
                    db.keys().usable(NOW).expect("read").into_iter().map(|row| row.kid).collect()
                })
            })
            .collect();
        openers.into_iter().map(|opener| opener.join().expect("no panic")).collect()
    });
    assert_eq!(kids[0].len(), 1);
    assert!(kids.iter().all(|seen| *seen == kids[0]), "{kids:?}");
}

#[test]
fn a_database_that_is_not_ours_is_refused_and_not_touched() {
    type Refused = fn(&DbError) -> bool;
    let cases: [(&str, &str, Refused); 6] = [
        (
            "the TypeScript hub's",
            "PRAGMA journal_mode = WAL; CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT);
             INSERT INTO schema_version VALUES (11, 'x'); CREATE TABLE tokens (jti TEXT PRIMARY KEY);",
            |e| matches!(e, DbError::Predecessor { .. }),
        ),
        ("some program's", "CREATE TABLE t (a);", |e| matches!(e, DbError::NotOurs { application_id: 0, .. })),
        ("marked", "PRAGMA application_id = 7; CREATE TABLE t (a);", |e| {
            matches!(e, DbError::NotOurs { application_id: 7, .. })
        }),
        ("marked and empty", "PRAGMA application_id = 7;", |e| matches!(e, DbError::NotOurs { application_id: 7, .. })),
        (
            "a later release's",
            "PRAGMA application_id = 1346458177; PRAGMA user_version = 3; CREATE TABLE t (a);",
            |e| matches!(e, DbError::Newer { found: 3, known: 2, .. }),
        ),
        (
            "of a version that no release has",
            "PRAGMA application_id = 1346458177; PRAGMA user_version = -3; CREATE TABLE t (a);",
            |e| matches!(e, DbError::NotOurs { version: -3, .. }),
        ),
    ];
    for (name, sql, refused) in cases {
        let dir = TestDir::new("db-foreign");
        let path = dir.join("hub.db");
        foreign(&path, sql);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        let before = fs::read(&path).expect("read");
        let error = match Db::open(&path) {
            Ok(_) => panic!("{name}: was opened"),
            Err(error) => error,
        };
        assert!(refused(&error), "{name}: {error}");
        let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, if error.is_foreign() { 0o644 } else { 0o600 }, "{name}");
        assert_eq!(fs::read(&path).expect("read"), before, "{name}");
    }
    assert_eq!(super::open::APPLICATION_ID, 1_346_458_177);
}

#[test]
fn one_that_lacks_a_table_is_damaged_to_whoever_looks_and_to_whoever_opens_it() {
    for table in ["settings", "hs_keys", "tokens", "auth_log", "module_keys"] {
        let dir = TestDir::new("db-table");
        let path = dir.join("hub.db");
        drop(open(&path));
        foreign(&path, &format!("PRAGMA foreign_keys = OFF; DROP TABLE {table};"));
        let error = verify(&path).expect_err("a table is missing");
        assert!(error.is_damage() && error.to_string().contains(&format!("table {table} is missing")), "{error}");
        let db = open(&path);
        assert!(db.notices().iter().any(|notice| notice.contains("hub.db.corrupt-")), "{table}: {:?}", db.notices());
        assert_eq!(db.check(), DbHealth::Ok, "{table}");
    }
}

#[test]
fn damage_that_comes_while_it_is_open_is_seen_although_the_pages_in_memory_are_sound() {
    let dir = TestDir::new("db-open-damage");
    let path = dir.join("hub.db");
    let db = open(&path);
    db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect("stored");
    db.execute_for_test("PRAGMA wal_checkpoint(TRUNCATE)");
    assert_eq!(db.check(), DbHealth::Ok);
    let sound = fs::read(&path).expect("read");
    for (damaged, told) in [
        (&[][..], "error: corrupt"),
        (&sound[..sound.len() / 2], "error: corrupt"),
        (&[b'x'; 60_000], "error: not a database"),
    ] {
        // In place: a file that takes its place is another.
        let mut file = fs::File::options().write(true).truncate(true).open(&path).expect("open");
        std::io::Write::write_all(&mut file, damaged).expect("written");
        let health = db.check();
        assert!(health.is_damage() && health.to_string() == told, "{} bytes: {health}", damaged.len());
    }
}

#[test]
fn a_look_from_outside_tells_damage_and_leaves_no_trace() {
    let dir = TestDir::new("db-look");
    // Every character that SQLite would take for a part of an address.
    let path = dir.join("a b%20?mode=rwc#hub.db");
    verify(&path).expect("none is fine");
    let db = open(&path);
    db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect("stored");
    verify(&path).expect("one that is open");
    drop(db);
    let closed = names(&dir);
    assert_eq!(closed.len(), 1, "{closed:?}");
    verify(&path).expect("one that is closed");
    let sound = fs::read(&path).expect("read");
    for damaged in [&sound[..3_000], &sound[..sound.len() / 2], &[b'x'; 8_192]] {
        fs::write(&path, damaged).expect("written");
        let error = verify(&path).expect_err("damaged");
        assert!(error.is_damage() && error.to_string().contains("?mode=rwc#hub.db: cannot"), "{error}");
    }
    assert_eq!(names(&dir), closed);
}

#[test]
fn an_empty_file_becomes_a_database() {
    let dir = TestDir::new("db-empty");
    let path = dir.join("hub.db");
    fs::write(&path, b"").expect("written");
    assert_eq!(open(&path).check(), DbHealth::Ok);
}

/// Spoils the database at a path.
type Damage = fn(&Path);

#[test]
fn a_damaged_database_is_kept_aside_with_its_log_and_replaced() {
    let garbage = |path: &Path| fs::write(path, vec![b'x'; 8192]).expect("written");
    let scribbled = |path: &Path| {
        let db = open(path);
        db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect("stored");
        drop(db);
        let mut bytes = fs::read(path).expect("read");
        bytes[4096..].fill(0xff);
        fs::write(path, bytes).expect("written");
    };
    let cut = |path: &Path| {
        drop(open(path));
        let bytes = fs::read(path).expect("read");
        fs::write(path, &bytes[..bytes.len() - 4096]).expect("written");
    };
    for (name, damage) in [("garbage", garbage as Damage), ("scribbled", scribbled), ("cut", cut)] {
        let dir = TestDir::new("db-damaged");
        let path = dir.join("hub.db");
        damage(&path);
        fs::write(dir.join("hub.db-wal"), b"old log").expect("written");
        let damaged = fs::read(&path).expect("read");

        let db = open(&path);
        assert!(db.notices().iter().any(|notice| notice.contains("hub.db.corrupt-")), "{name}: {:?}", db.notices());
        assert_eq!(db.check(), DbHealth::Ok, "{name}");
        assert!(db.keys().usable(NOW).expect("read").is_empty(), "{name}");
        let kept = names(&dir).into_iter().find(|n| n.starts_with("hub.db.corrupt-") && n.ends_with('Z'));
        let kept = kept.unwrap_or_else(|| panic!("{name}: {:?}", names(&dir)));
        assert_eq!(fs::read(dir.join(&kept)).expect("read"), damaged, "{name}");
        assert_eq!(fs::read(dir.join(&format!("{kept}-wal"))).expect("read"), b"old log", "{name}");
    }
}

/// A file system without shared memory gets a rollback journal instead of WAL, and a crash may leave it full.
#[test]
fn a_rollback_journal_of_a_crash_is_played_back() {
    let dir = TestDir::new("db-journal");
    let (path, crashed) = (dir.join("hub.db"), dir.join("crashed.db"));
    drop(open(&path));
    let writer = Connection::open(&path).expect("opened");
    writer
        .execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1; BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO settings SELECT 'o:' || i, hex(randomblob(500)), i FROM n;",
        )
        .expect("written, not committed");
    fs::copy(&path, &crashed).expect("copied");
    fs::copy(dir.join("hub.db-journal"), dir.join("crashed.db-journal")).expect("copied");
    let db = open(&crashed);
    assert!(db.settings().below("o:", 9).expect("read").is_empty());
    assert_eq!(db.check(), DbHealth::Ok);
}

#[test]
fn what_must_not_hold_keys_is_refused() {
    let dir = TestDir::new("db-refused");
    drop(open(&dir.join("real.db")));
    symlink("real.db", dir.join("link.db")).expect("linked");
    fs::create_dir(dir.join("dir.db")).expect("made");
    assert!(matches!(Db::open(&dir.join("link.db")), Err(DbError::Symlink { .. })));
    assert!(matches!(Db::open(&dir.join("dir.db")), Err(DbError::NotRegular { .. })));
    assert!(matches!(Db::open(&dir.join("nowhere/hub.db")), Err(DbError::Files { .. })));
    symlink("real.db", dir.join("hub.db-wal")).expect("linked");
    drop(fs::File::create(dir.join("hub.db")).expect("made"));
    assert!(Db::open(&dir.join("hub.db")).is_err(), "a link in place of the log");

    // A link further up is nobody's attack: a home may lie behind one.
    fs::create_dir(dir.join("home")).expect("made");
    symlink("home", dir.join("way")).expect("linked");
    drop(open(&dir.join("way").join("hub.db")));
    assert!(dir.join("home").join("hub.db").exists());
}

#[test]
fn a_loose_mode_is_tightened_and_said() {
    let dir = TestDir::new("db-mode");
    let path = dir.join("hub.db");
    drop(open(&path));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
    let db = open(&path);
    assert_eq!(mode(&path), 0o600);
    assert!(db.notices().iter().any(|notice| notice.contains("from 0644 to 0600")), "{:?}", db.notices());
}

/// However high it is; SQLite makes a float of more than 64 bits.
#[test]
fn an_epoch_stays_a_number_and_never_goes_down() {
    let dir = TestDir::new("db-epoch");
    for (value, raised) in [("0", 1), ("9007199254740991", EPOCH_MAX), ("9223372036854775807", EPOCH_MAX)] {
        let db = open(&dir.join("hub.db"));
        db.execute_for_test(&format!("REPLACE INTO settings (key, value, updated_at) VALUES ('epoch', '{value}', 1)"));
        for least in [0, 0, u64::MAX] {
            db.write("raise it", |transaction| {
                epoch::raise_to(transaction, least, 1)?;
                epoch::raise(transaction, 1)
            })
            .expect("raised");
            assert!(db.epoch().expect("read") >= raised && db.epoch().expect("read") <= EPOCH_MAX, "{value} {least}");
        }
        assert_eq!(db.epoch().expect("read"), EPOCH_MAX, "{value}");
    }
}

#[test]
fn health_notices_a_file_that_is_gone_or_another() {
    let dir = TestDir::new("db-health");
    let path = dir.join("hub.db");
    let db = open(&path);
    assert_eq!(db.check().to_string(), "ok");
    fs::rename(&path, dir.join("moved.db")).expect("moved");
    assert_eq!(db.check().to_string(), "error: path-gone");
    fs::write(&path, b"").expect("written");
    assert_eq!(db.check().to_string(), "error: path-replaced");
    fs::rename(dir.join("moved.db"), &path).expect("moved back");
    assert_eq!(db.check().to_string(), "ok");
    // A disk that does not answer now has not lost it.
    let unknown = play(1, Fault::Errno(EIO), || db.lost());
    assert_eq!((unknown.calls.first(), unknown.outcome), (Some(&"stat"), None));
    db.lock().execute_batch("DROP TABLE tokens; DROP TABLE hs_keys").expect("dropped");
    assert_eq!(db.check().to_string(), "error: other");
}

#[test]
fn the_version_changes_with_every_write_of_anybody() {
    let dir = TestDir::new("db-version");
    let (one, other) = (open(&dir.join("hub.db")), open(&dir.join("hub.db")));
    let first = one.version().expect("asked");
    assert_eq!(one.version().expect("asked"), first);
    one.settings().put("a", "1", NOW).expect("stored");
    let second = one.version().expect("asked");
    assert_ne!(second, first);
    other.settings().put("a", "2", NOW).expect("stored");
    let third = one.version().expect("asked");
    assert_ne!(third, second);
    assert_eq!(one.version().expect("asked"), third);
}

#[test]
fn keys_are_usable_by_state_and_time() {
    let dir = TestDir::new("db-keys");
    let db = open(&dir.join("hub.db"));
    db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect("stored");
    db.keys().ensure_active("k2", &[2; 32], 0, NOW, NOW).expect("no second one");
    let until = NOW + 10;
    db.lock()
        .execute_batch(&format!(
            "INSERT INTO hs_keys VALUES ('v', randomblob(32), 'verify', 1, 2, {until}), ('d', zeroblob(32), 'dead', 1, 2, NULL)"
        ))
        .expect("stored");
    for (now, expected) in [
        (until - 1, &[("k1", KeyState::Active), ("v", KeyState::VerifyUntil(until))][..]),
        (until, &[("k1", KeyState::Active)]),
    ] {
        let rows = db.keys().usable(now).expect("read");
        let found: Vec<_> = rows.iter().map(|row| (row.kid.as_str(), row.state)).collect();
        assert_eq!(found, expected, "{now}");
        assert_eq!(rows.first().map(|row| row.secret), Some([1; 32]));
    }
    let second = db.lock().execute_batch("INSERT INTO hs_keys VALUES ('k3', randomblob(32), 'active', 1, NULL, NULL)");
    assert!(second.is_err(), "two active keys");
    let short = db.lock().execute_batch("INSERT INTO hs_keys VALUES ('k4', randomblob(31), 'verify', 1, NULL, 2)");
    assert!(short.is_err(), "a short secret");
}

#[test]
fn a_token_is_registered_once_and_replacing_revokes_the_live_ones() {
    let dir = TestDir::new("db-tokens");
    let db = open(&dir.join("hub.db"));
    db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect("stored");
    let tokens = db.tokens();
    assert_eq!(tokens.register(&token("a", &[1; 32]), Replacing::Nothing, &ENTRY, NOW).expect("stored"), 0);
    assert!(tokens.register(&token("a", &[2; 32]), Replacing::Nothing, &ENTRY, NOW).is_err(), "the same jti");
    assert!(tokens.register(&token("b", &[1; 32]), Replacing::Nothing, &ENTRY, NOW).is_err(), "the same hash");
    let stranger = NewToken { kid: "k9", ..token("c", &[3; 32]) };
    assert!(tokens.register(&stranger, Replacing::Nothing, &ENTRY, NOW).is_err(), "a key that is not there");
    assert_eq!(tokens.count_live("operator", NOW + 99).expect("counted"), 1);
    assert_eq!(tokens.count_live("operator", NOW + 100).expect("counted"), 0);
    assert_eq!(tokens.count_live("hub", NOW).expect("counted"), 0);

    let lost = Replacing::Now { aud: "operator", reason: "lost" };
    // A replacement that cannot be stored revokes nothing.
    assert!(tokens.register(&token("b", &[1; 32]), lost, &ENTRY, NOW + 1).is_err());
    assert_eq!(tokens.count_live("operator", NOW + 1).expect("counted"), 1);
    assert_eq!(tokens.register(&token("b", &[2; 32]), lost, &ENTRY, NOW + 2).expect("stored"), 1);
    let old = tokens.find("a").expect("read").expect("kept on record");
    assert_eq!((old.revoked_at, old.exp, old.sha256), (Some(NOW + 2), NOW + 100, [1; 32]));
    assert_eq!(tokens.find("b").expect("read").expect("there").revoked_at, None);
    for jti in ["", "c", "' OR 1=1 --", "a\0"] {
        assert_eq!(tokens.find(jti).expect("no error"), None, "{jti:?}");
    }

    tokens.purge(NOW + 100 + 30 * 86_400).expect("nothing old enough");
    assert!(tokens.find("a").expect("read").is_some());
    tokens.purge(NOW + 101 + 30 * 86_400).expect("deleted");
    assert!(tokens.find("a").expect("read").is_none());
}

#[test]
fn settings_are_found_by_prefix_and_forgotten_by_age() {
    let dir = TestDir::new("db-settings");
    let db = open(&dir.join("hub.db"));
    let settings = db.settings();
    assert_eq!(settings.get_or_insert("hid", "first", NOW).expect("stored"), "first");
    assert_eq!(settings.get_or_insert("hid", "second", NOW).expect("read"), "first");
    for (key, at) in [("o:a", NOW), ("o:b", NOW + 2), ("o:c", NOW + 1), ("p:%", NOW)] {
        settings.put(key, "", at).expect("stored");
    }
    let found = |limit| settings.below("o:", limit).expect("read");
    assert_eq!(found(2), [("b".to_owned(), NOW + 2), ("c".to_owned(), NOW + 1)]);
    assert_eq!(settings.below("%", 9).expect("read"), []);
    settings.forget_below("o:", NOW + 1).expect("deleted");
    assert_eq!(found(9).len(), 2);
    assert_eq!(settings.below("p:", 9).expect("read").len(), 1);
}

/// C39
#[test]
fn c39_what_is_wrong_with_the_database_is_an_error_and_never_a_key() {
    let dir = TestDir::new("db-wrong");
    let path = dir.join("hub.db");
    let db = open(&path);
    db.lock().busy_timeout(Duration::from_millis(20)).expect("set");
    let other = Connection::open(&path).expect("opened");
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let busy = db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect_err("somebody else writes");
    assert!(matches!(busy, DbError::Sqlite { class: Class::Busy, .. }), "{busy}");
    assert_eq!(db.tokens().find("a").expect("reading goes on"), None);
    other.execute_batch("ROLLBACK").expect("free again");
    db.keys().ensure_active("k1", &[1; 32], 0, NOW, NOW).expect("and then it works");
    other.execute_batch("DROP TABLE tokens").expect("dropped");
    for refused in [
        db.tokens().find("a").err(),
        db.tokens().register(&token("a", &[1; 32]), Replacing::Nothing, &ENTRY, NOW).err(),
        db.tokens().revoke("a", true, &ENTRY, NOW).err(),
    ] {
        let text = refused.expect("there is no table").to_string();
        assert!(text.contains("hub.db") && text.contains("tokens"), "{text}");
    }
    drop(db);
    // Only root can give a file away; without that the rule cannot be shown.
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
        assert!(matches!(Db::open(&path), Err(DbError::ForeignOwner { uid: 65_534, .. })));
    }
}
