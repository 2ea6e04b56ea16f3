//! Archives as files: what goes in comes out, standard tools read it, and a hostile one makes nothing.

use super::stage::Stage;
use super::tar::{BLOCK_BYTES, Header, Kind, Owner, encode, padding};
use super::*;
use crate::store::{Create, Home, StoreError};
use crate::sys::fault::{Fault, play};
use crate::sys::random;
use crate::sys::testdir::TestDir;
use crate::token::digest::Digest;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

const NOW: Duration = Duration::from_secs(1_800_000_000);
const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EIO: i32 = 5;
/// What writers that died have left in the home.
const TEMPORARY: [&str; 3] =
    [".services.json.0123456789abcdef.tmp", ".hub.db.0123456789abcdef.tmp-journal", "wiki/..env.0123456789abcdef.tmp"];

const LOGS: [&str; 4] =
    ["wiki/logs/wiki.log", "wiki/logs/wiki.log.1", "wiki/logs/wiki.log.12", "hub/logs/access.log.2"];

const OURS: Owner = Owner { uid: 0, gid: 0 };

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

fn put(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().expect("below")).expect("made");
    fs::write(path, bytes).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

/// A home with a bit of everything, below `dir`.
fn home(dir: &TestDir) -> Home {
    let home = Home::open(&dir.join("home"), Create::Yes).expect("a home");
    let path = |name: &str| home.path().join(name);
    put(&path("services.json"), "{\"services\":[]}\n", 0o644);
    put(&path("operator.token"), "secret\n", 0o600);
    put(&path("wiki/.env"), "A=1\n", 0o600);
    put(&path("wiki/data/big"), vec![b'x'; PIECE_BYTES + 513], 0o700);
    put(&path("wiki/data/empty"), "", 0o640);
    put(&path("wiki/data/hub.key.spare"), "the module's own", 0o600);
    put(&path("modules/logs/.parachute/module.json"), "{}", 0o644);
    put(&path("photos/logs/important"), "the module's own", 0o600);
    put(&path("photos/logs/photos.log.old"), "the owner's own", 0o600);
    put(&path("photos/data\\x2d1"), "as systemd writes a name", 0o600);
    put(&path("wiki/.draft.tmp"), "the module's own", 0o600);
    put(&path(".notes.0123.tmp"), "the owner's own", 0o600);
    put(&path("wiki/run/hub.key"), "secret\n", 0o600);
    put(&path(&format!("wiki/data/{}", "n".repeat(150))), "long", 0o666);
    fs::create_dir(path("wiki/data/none")).expect("made");
    let db = crate::db::Db::open(&path("hub.db")).expect("a database");
    db.settings().put("a", "kept", 1).expect("stored");
    // What stays behind.
    put(&path("hub/run/hub.pid"), "1 2 x\n", 0o600);
    LOGS.iter().for_each(|name| put(&path(name), "printed\n", 0o600));
    put(&path("wiki/run/hub.key.spare"), "void\n", 0o600);
    put(&path("services.json.lock"), "", 0o600);
    TEMPORARY.iter().for_each(|name| put(&path(name), "half", 0o600));
    home
}

fn verified(archive: &Path) -> Result<Contents, ArchiveError> {
    read::verify(fs::File::open(archive).expect("there"), archive)
}

/// Mode and content of all below `path`; of directories the mode only.
fn tree(path: &Path) -> BTreeMap<PathBuf, (u32, Option<Vec<u8>>)> {
    let mut tree = BTreeMap::new();
    let mut pending = vec![path.to_owned()];
    while let Some(next) = pending.pop() {
        let facts = fs::symlink_metadata(&next).expect("there");
        if facts.is_dir() {
            pending.extend(fs::read_dir(&next).expect("listed").map(|entry| entry.expect("an entry").path()));
        }
        let content = facts.is_file().then(|| fs::read(&next).expect("read"));
        let below = next.strip_prefix(path).expect("below").to_owned();
        tree.insert(below, (facts.permissions().mode() & 0o7777, content));
    }
    tree
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("listed");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("one").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn a_home_comes_back_as_it_was_into_nothing_and_into_an_empty_directory() {
    let dir = TestDir::new("archive");
    let home = home(&dir);
    symlink("/etc/hostname", home.path().join("link")).expect("linked");
    let archive = dir.join("a.tar");
    let written = write(&home, &archive, now()).expect("written");
    assert_eq!(fs::metadata(&archive).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!((written.contents.files, written.left_out.len()), (15, 1), "{written:?}");
    assert!(written.left_out[0].contains("/link is not in the archive"), "{written:?}");

    fs::create_dir(dir.join("empty")).expect("made");
    fs::create_dir(dir.join("disk")).expect("made");
    symlink("disk", dir.join("mounted")).expect("linked");
    for to in ["new/home", "empty", "mounted/home"] {
        let to = dir.join(to);
        assert_eq!(unpack(&archive, &to).expect("restored").contents, written.contents);
        let (mut before, mut after) = (tree(home.path()), tree(&to));
        let of_modules = ["wiki/run/hub.key.spare", "link"];
        let of_hub = ["hub.db", "hub.db-wal", "hub.db-shm", "hub/run/hub.pid", "hub/run", "services.json.lock"];
        for name in of_modules.iter().chain(&of_hub).chain(&TEMPORARY).chain(&LOGS) {
            before.remove(Path::new(name));
        }
        // The database is another file of the same content.
        assert_eq!(after.remove(Path::new("hub.db")).map(|(mode, _)| mode), Some(0o600));
        // It is known as an older copy, whatever the database was told before: nothing was, so it stands at 0.
        assert_eq!(after.remove(Path::new("hub/run/epoch")), Some((0o600, Some(b"1\n".to_vec()))));
        assert_eq!(after.remove(Path::new("hub/run")), Some((0o700, None)));
        // Others may not write what was restored.
        before.values_mut().for_each(|(mode, _)| *mode &= 0o755);
        assert_eq!(after, before, "{}", to.display());
        let db = crate::db::Db::open(&to.join("hub.db")).expect("a database");
        assert_eq!(db.settings().get_or_insert("a", "lost", 1).expect("read"), "kept");
        drop(db);
        assert!(matches!(unpack(&archive, &to), Err(ArchiveError::Exists { .. })), "not twice");
    }
    assert_eq!(names(dir.path()), ["a.tar", "disk", "empty", "home", "mounted", "new"], "nothing else is left");
}

#[test]
fn what_we_write_through_a_link_is_archived_as_what_the_link_leads_to() {
    let dir = TestDir::new("archive-links");
    let home = home(&dir);
    let at = |name: &str| home.path().join(name);
    put(&dir.join("disk/rows.json"), "{\"services\":[1]}\n", 0o644);
    put(&dir.join("disk/wiki.env"), "A=2\n", 0o600);
    put(&dir.join("disk/data"), "elsewhere", 0o600);
    for (name, to) in [
        ("services.json", "disk/rows.json"),
        ("wiki/.env", "disk/wiki.env"),
        ("wiki/data/empty", "disk/data"),
        ("notes/.env", "disk/nowhere"),
        ("loop/.env", "home/loop/.env"),
        ("folder/.env", "disk"),
    ] {
        let _not_there = fs::remove_file(at(name));
        fs::create_dir_all(at(name).parent().expect("below")).expect("made");
        symlink(dir.join(to), at(name)).expect("linked");
    }
    let written = write(&home, &dir.join("a.tar"), now()).expect("written");
    for name in ["wiki/data/empty", "notes/.env", "loop/.env", "folder/.env"] {
        let told = written
            .left_out
            .iter()
            .chain(&written.missing)
            .any(|line| line.contains(&format!("/{name} is not in the archive")));
        assert!(told, "{name}: {written:?}");
    }
    assert_eq!(
        (written.left_out.len(), written.missing.len()),
        (3, 1),
        "a link that only leads in a circle is a mistake"
    );
    unpack(&dir.join("a.tar"), &dir.join("new")).expect("restored");
    for (name, content, mode) in [("services.json", "{\"services\":[1]}\n", 0o644), ("wiki/.env", "A=2\n", 0o600)] {
        let facts = fs::symlink_metadata(dir.join("new").join(name)).expect(name);
        assert_eq!((facts.is_file(), facts.permissions().mode() & 0o777), (true, mode), "{name}");
        assert_eq!(fs::read_to_string(dir.join("new").join(name)).expect(name), content);
    }
    assert!(at("services.json").is_symlink(), "the home is as it was");
}

#[test]
fn standard_tools_read_it() {
    let dir = TestDir::new("archive-tools");
    write(&home(&dir), &dir.join("a.tar"), now()).expect("written");
    let script = "tar xf a.tar && sha256sum --quiet -c SHA256SUMS && tar tvf a.tar | wc -l";
    let done = Command::new("/bin/sh").args(["-c", script]).current_dir(dir.path()).output().expect("a shell");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "30");
    assert!(dir.join("parachute-home/photos/data\\x2d1").exists());
    assert_eq!(fs::read(dir.join("parachute-home/operator.token")).expect("unpacked"), b"secret\n");
}

#[test]
fn nothing_is_overwritten_and_no_half_file_left() {
    let dir = TestDir::new("archive-refused");
    let home = home(&dir);
    fs::write(dir.join("there"), "mine").expect("written");
    assert!(matches!(write(&home, &dir.join("there"), now()), Err(ArchiveError::Exists { .. })));
    assert!(matches!(write(&home, &home.path().join("a.tar"), now()), Err(ArchiveError::InsideHome { .. })));
    assert!(matches!(write(&home, &home.path().join("wiki/a.tar"), now()), Err(ArchiveError::InsideHome { .. })));
    assert!(matches!(write(&home, &dir.join("nowhere/a.tar"), now()), Err(ArchiveError::Write { .. })));
    assert!(matches!(write(&home, Path::new("/"), now()), Err(ArchiveError::Write { .. })));
    assert_eq!(fs::read(dir.join("there")).expect("read"), b"mine");
    assert_eq!(names(dir.path()), ["home", "there"]);
    for missing in ["nowhere", "home"] {
        assert!(unpack(&dir.join(missing), &dir.join("new")).is_err());
        assert!(!dir.join("new").exists());
    }
}

/// An archive entry by entry, with the sums that belong to it unless `sums` says otherwise.
struct Hand {
    bytes: Vec<u8>,
    sums: String,
    owner: Owner,
}

impl Hand {
    fn new() -> Self {
        let mut hand = Self { bytes: Vec::new(), sums: String::new(), owner: OURS };
        hand.file(ABOUT, br#"{"format":1,"version":"0","created_at":"x"}"#);
        hand
    }

    fn header(&mut self, name: &str, kind: Kind, size_bytes: u64) {
        let (name, owner) = (name.to_owned(), self.owner);
        self.bytes.extend(encode(&Header { name, kind, mode: 0o755, owner, size_bytes, mtime_s: 0 }));
    }

    fn directory(&mut self, name: &str) {
        self.header(name, Kind::Directory, 0);
    }

    fn file(&mut self, name: &str, content: &[u8]) {
        self.header(name, Kind::File, content.len() as u64);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len() + padding(content.len() as u64), 0);
        let mut digest = Digest::default();
        digest.update(content);
        self.sums.push_str(&sum_line(&digest.hex(), name));
    }

    fn end(mut self) -> Vec<u8> {
        let sums = std::mem::take(&mut self.sums);
        self.file(SUMS, sums.as_bytes());
        self.bytes.resize(self.bytes.len() + 2 * BLOCK_BYTES, 0);
        self.bytes
    }
}

fn made(make: impl FnOnce(&mut Hand)) -> Vec<u8> {
    let mut hand = Hand::new();
    make(&mut hand);
    hand.end()
}

#[test]
fn a_hostile_archive_makes_nothing() {
    let good = made(|hand| {
        hand.directory(ROOT);
        hand.file("parachute-home/a", b"abc");
    });
    let inside = |make: fn(&mut Hand)| {
        made(|hand| {
            hand.directory(ROOT);
            make(hand);
        })
    };
    let changed = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).expect("there");
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "ends too early"),
        ("garbage", vec![b'x'; 4096], "no tar archive"),
        ("zeros", vec![0; 4096], "no backup"),
        ("no root", made(|_| {}), ""),
        ("cut off in the end", good[..good.len() - BLOCK_BYTES].to_vec(), "ends too early"),
        ("cut off", good[..good.len() / 2].to_vec(), ""),
        ("something behind the end", [&good[..], b"x"].concat(), "ends too early"),
        ("a block behind the end", [&good[..], &[7; BLOCK_BYTES]].concat(), "behind its end"),
        ("much behind the end", [&good[..], &[0; 80 << 10]].concat(), "behind its end"),
        ("another content", changed(b"abc", b"abd"), "not what its hash says"),
        ("something between", changed(b"abc\0", b"abcx"), "between two entries"),
        ("a later format", changed(b"\"format\":1", b"\"format\":2"), "does not know"),
        ("outside", made(|hand| hand.file("a", b"")), "outside of the home"),
        ("absolute", inside(|hand| hand.file("/etc/passwd", b"")), "leads elsewhere"),
        ("up", inside(|hand| hand.file("parachute-home/../a", b"")), "leads elsewhere"),
        ("up by a directory", inside(|hand| hand.directory("parachute-home/..")), "leads elsewhere"),
        ("without its directory", inside(|hand| hand.file("parachute-home/b/c", b"")), "outside of the home"),
        (
            "a file as directory",
            inside(|hand| {
                hand.file("parachute-home/b", b"");
                hand.file("parachute-home/b/c", b"");
            }),
            "outside of the home",
        ),
        (
            "twice",
            inside(|hand| {
                hand.file("parachute-home/b", b"1");
                hand.file("parachute-home/b", b"2");
            }),
            "twice",
        ),
        ("the home as a file", made(|hand| hand.file(ROOT, b"")), "outside of the home"),
        ("a lying length", inside(|hand| hand.header("parachute-home/b", Kind::File, 1 << 40)), "longer than"),
        ("the largest length", inside(|hand| hand.header("parachute-home/b", Kind::File, u64::MAX)), "longer than"),
        (
            "no sums",
            {
                let mut hand = Hand::new();
                hand.directory(ROOT);
                hand.bytes.resize(hand.bytes.len() + 2 * BLOCK_BYTES, 0);
                hand.bytes
            },
            "has no SHA256SUMS",
        ),
        (
            "long words about itself",
            {
                let mut hand = Hand { bytes: Vec::new(), sums: String::new(), owner: OURS };
                hand.file(ABOUT, &[b' '; 100 << 10]);
                hand.end()
            },
            "too long",
        ),
    ];
    let dir = TestDir::new("archive-hostile");
    let archive = dir.join("a.tar");
    for (what, bytes, reason) in cases {
        fs::write(&archive, bytes).expect("written");
        match unpack(&archive, &dir.join("home")) {
            // A home without anything in it is odd, and harmless.
            Ok(restored) => assert_eq!((what, restored.contents.files), ("no root", 0)),
            Err(error) => assert!(error.to_string().contains(reason), "{what}: {error}"),
        }
        let _ = fs::remove_dir_all(dir.join("home"));
        assert_eq!(names(dir.path()), ["a.tar"], "{what}");
    }
    // Another program's trailing zeros are fine.
    fs::write(&archive, [&good[..], &[0; 8 * BLOCK_BYTES]].concat()).expect("written");
    unpack(&archive, &dir.join("home")).expect("restored");
    assert_eq!(fs::read(dir.join("home/a")).expect("read"), b"abc");

    // What another hub had for itself says nothing of this one.
    let of_run = inside(|hand| {
        hand.directory("parachute-home/hub");
        hand.directory(RUN);
        hand.file(&format!("{RUN}/epoch"), b"9007199254740992\n");
        hand.file("parachute-home/hub/runs", b"");
    });
    fs::write(&archive, of_run).expect("written");
    let restored = unpack(&archive, &dir.join("fresh")).expect("restored");
    assert!(!restored.is_older_copy && restored.warnings.is_empty(), "{restored:?}");
    assert_eq!(names(&dir.join("fresh/hub")), ["runs"]);
}

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

#[test]
fn times_and_owners_come_back() {
    let dir = TestDir::new("archive-owners");
    let home = home(&dir);
    let at = |name: &str| home.path().join(name);
    let facts = |root: &Path, name: &str| {
        let facts = fs::metadata(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        (facts.mtime(), facts.uid(), facts.gid(), facts.mode() & 0o7777)
    };
    let is_root = fs::metadata(home.path()).expect("there").uid() == 0;
    let far = 3_000_000_000;
    // As one is that was made in a directory that hands on its group.
    if is_root {
        chown(at("hub.db"), None, Some(33)).expect("root may");
    }
    for (name, uid) in [("wiki/data/big", 33), ("wiki/data", 33), ("services.json", 0), ("modules", far)] {
        if is_root {
            chown(at(name), Some(uid), Some(uid)).expect("root may");
        }
        let file = fs::File::open(at(name)).expect("opened");
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + u64::from(uid))).expect("set");
    }
    let file = fs::File::open(at("hub.db")).expect("opened");
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("set");
    fs::set_permissions(at("wiki/data/big"), fs::Permissions::from_mode(0o6755)).expect("set");
    write(&home, &dir.join("a.tar"), now()).expect("written");
    fs::create_dir(dir.join("empty")).expect("made");
    for to in ["new", "empty"].map(|to| dir.join(to)) {
        let restored = unpack(&dir.join("a.tar"), &to).expect("restored");
        assert!(restored.warnings.is_empty(), "{restored:?}");
        for name in ["services.json", "hub.db", "operator.token", "wiki/data", "wiki/data/none", "modules"] {
            assert_eq!(facts(&to, name), facts(home.path(), name), "{name}");
        }
        let (mtime, uid, gid, mode) = facts(home.path(), "wiki/data/big");
        assert_eq!(facts(&to, "wiki/data/big"), (mtime, uid, gid, mode & 0o755), "nothing runs as its owner");
    }
}

#[test]
fn a_home_of_another_user_is_theirs_again_and_who_may_not_give_it_away_says_so() {
    let dir = TestDir::new("archive-theirs");
    let theirs = made(|hand| {
        hand.owner = Owner { uid: 1234, gid: 1235 };
        hand.directory(ROOT);
        hand.file("parachute-home/hub.db", &[b'x'; 8192]);
        hand.owner = Owner { uid: 33, gid: 1235 };
        hand.file("parachute-home/a", b"abc");
    });
    fs::write(dir.join("a.tar"), theirs).expect("written");
    fs::create_dir(dir.join("empty")).expect("made");
    for to in ["new", "empty"].map(|to| dir.join(to)) {
        let restored = unpack(&dir.join("a.tar"), &to).expect("restored");
        let told = |what: &str| restored.warnings.iter().any(|line| line.contains(what));
        let uid = |name: &str| fs::metadata(to.join(name)).expect("there").uid();
        match fs::metadata(dir.path()).expect("there").uid() {
            0 => {
                assert!(told("belongs to user 1234, group 1235"), "{restored:?}");
                let uids = ["", "hub.db", "hub", "hub/run", "hub/run/epoch", "a"].map(uid);
                assert_eq!(uids, [1234, 1234, 1234, 1234, 1234, 33]);
            }
            ours => {
                assert!(told("1 of its files and directories belonged to other"), "{restored:?}");
                assert_eq!(["", "a"].map(uid), [ours; 2]);
            }
        }
    }
}

/// As in a container without the right to.
#[test]
fn a_root_that_may_not_give_files_away_is_told_where_one_may() {
    let dir = TestDir::in_memory("archive-no-chown");
    let theirs = made(|hand| {
        hand.owner = Owner { uid: 1500, gid: 1500 };
        hand.directory(ROOT);
    });
    fs::write(dir.join("a.tar"), theirs).expect("written");
    let run = || {
        let _ = fs::remove_dir_all(dir.join("new"));
        unpack(&dir.join("a.tar"), &dir.join("new"))
    };
    let calls = play(0, Fault::Dead, run).calls;
    // Who is not root does not try.
    let Some(at) = (1..).zip(&calls).find_map(|(at, call)| (*call == "chown").then_some(at)) else { return };
    let restored = play(at, Fault::Errno(EPERM), run).outcome.expect("restored");
    let told = "1 of its files and directories belonged to other users or groups and are yours now; to have them back, \
                restore where root may give files away";
    assert_eq!(restored.warnings, [told]);
}

/// Whoever comes second is told that somebody was there, and takes nothing of it back.
#[test]
fn of_many_who_restore_to_one_place_at_once_one_does() {
    const MAKERS: usize = 4;
    let dir = TestDir::in_memory("archive-race");
    let good = dir.join("good.tar");
    write(&home(&dir), &good, now()).expect("written");
    unpack(&good, &dir.join("alone")).expect("restored");
    for round in 0..100 {
        let to = dir.join(&format!("to-{round}"));
        let is_empty = round % 2 == 1;
        if is_empty {
            fs::create_dir(&to).expect("made");
        }
        let begin = Barrier::new(MAKERS);
        let unpack = || {
            begin.wait();
            unpack(&good, &to)
        };
        let made: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..MAKERS).map(|_| scope.spawn(unpack)).collect();
            makers.into_iter().map(|maker| maker.join().expect("no panic")).collect()
        });
        let done = made.iter().filter(|made| made.is_ok()).count();
        let expected = if done == 1 { names(&dir.join("alone")) } else { Vec::new() };
        assert_eq!(names(&to), expected, "round {round}: {made:?}");
        // Those who see each other in an empty directory may all leave it.
        assert!(done == 1 || is_empty && done == 0, "round {round}: {made:?}");
        for error in made.into_iter().filter_map(Result::err) {
            assert!(matches!(error, ArchiveError::Exists { .. }), "round {round}: {error}");
        }
    }
}

/// Each sweeps what the others have made and not yet locked.
#[test]
fn who_sweeps_takes_nothing_from_who_lives() {
    const ROUNDS: usize = 1000;
    let dir = TestDir::in_memory("archive-crowd");
    let makers_left = AtomicUsize::new(4);
    let make = || {
        for round in 0..ROUNDS {
            let stage = Stage::new(dir.path()).unwrap_or_else(|error| panic!("round {round}: {error}"));
            stage::sweep(dir.path());
            assert!(stage.path.exists(), "round {round}");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let made = std::panic::catch_unwind(make);
                makers_left.fetch_sub(1, Ordering::Relaxed);
                made.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
            scope.spawn(|| {
                while makers_left.load(Ordering::Relaxed) > 0 {
                    stage::sweep(dir.path());
                }
            });
        }
    });
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}

/// A maker that was killed has left what it had made, and nobody else has.
#[test]
fn what_was_killed_leaves_nothing_for_long() {
    let dir = TestDir::new("archive-swept");
    let home = home(&dir);
    let stage = |digits: &str| dir.join(&format!(".parachute.{digits}.tmp"));
    let (killed, held) = (stage("0123456789abcdef"), stage("1123456789abcdef"));
    let others = [stage("0123"), stage("g123456789abcdef"), stage("2123456789abcdef")];
    for path in others.iter().chain([&killed, &held]) {
        put(&path.join("hub.db"), "secret", 0o600);
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("set");
    }
    // Not one of ours: others may read it.
    fs::set_permissions(&others[2], fs::Permissions::from_mode(0o755)).expect("set");
    let lock = fs::File::open(&held).expect("opened");
    lock.try_lock().expect("nobody has it");
    write(&home, &dir.join("a.tar"), now()).expect("written");
    assert!(!killed.exists() && held.exists() && others.iter().all(|path| path.exists()), "{:?}", names(dir.path()));
    drop(lock);
    // In a directory that hands on its group, so do those in it; and one may be given away already.
    let inherits = stage("3123456789abcdef");
    let given = stage("4123456789abcdef");
    for (path, mode) in [(&inherits, 0o2700), (&given, 0o700)] {
        put(&path.join("hub.db"), "secret", 0o600);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }
    // Without that there is no root who could have given it away.
    let _ = chown(&given, Some(1500), Some(1500));
    unpack(&dir.join("a.tar"), &dir.join("new")).expect("restored");
    assert!(!held.exists() && !inherits.exists() && !given.exists(), "{:?}", names(dir.path()));

    // A home that was empty before is so again.
    let left = dir.join("empty/.parachute.0123456789abcdef.tmp");
    put(&left.join("operator.token"), "secret", 0o600);
    fs::set_permissions(&left, fs::Permissions::from_mode(0o700)).expect("set");
    unpack(&dir.join("a.tar"), &dir.join("empty")).expect("restored");
    assert!(!left.exists());
}

/// Bounded; what broke it is in the message.
#[test]
fn a_mutated_archive_is_the_same_or_refused() {
    let good = made(|hand| {
        hand.directory(ROOT);
        hand.directory("parachute-home/d");
        hand.file(&format!("parachute-home/d/{}", "n".repeat(120)), b"abc");
        hand.file("parachute-home/a", &[7; 700]);
    });
    let dir = TestDir::new("archive-fuzz");
    let archive = dir.join("a.tar");
    fs::write(&archive, &good).expect("written");
    let whole = verified(&archive).expect("good");
    for round in 0..600 {
        let mut random = [0; 8];
        random::fill(&mut random);
        let at = usize::from(u16::from_le_bytes([random[0], random[1]])) % good.len();
        let mut bytes = good.clone();
        match random[2] % 4 {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << (random[3] % 8),
            2 => drop(bytes.splice(at..(at + 512).min(good.len()), [])),
            _ => drop(bytes.splice(at..at, random)),
        }
        fs::write(&archive, &bytes).expect("written");
        if let Ok(contents) = verified(&archive) {
            // Only what no hash covers may differ: modes, times, and zeros behind the end.
            assert_eq!(contents, whole, "round {round}, {random:?} at {at}");
        }
    }
}

/// Vanished between two looks, or on a spot of the disk that is bad: all else is in the archive, and what is not is told.
#[test]
fn what_cannot_be_read_keeps_nothing_else_out() {
    let dir = TestDir::in_memory("archive-unread");
    let home = home(&dir);
    let to = dir.join("to.tar");
    let run = || write(&home, &to, now());
    let whole = play(0, Fault::Dead, run);
    let (whole, calls) = (whole.outcome.expect("it works").contents, whole.calls);
    for (errno, is_told) in [(ENOENT, false), (EIO, true)] {
        let mut without = 0;
        for (at, call) in (1..).zip(&calls) {
            let _ = fs::remove_file(&to);
            let what = format!("errno {errno} at call {at}, {call}");
            match play(at, Fault::Errno(errno), run).outcome {
                Ok(written) => {
                    let lacks = written.contents.files < whole.files;
                    without += u32::from(lacks);
                    // Of the database it is told that it is not checked.
                    let database = format!("{} is in the archive as it is", home.path().join(DATABASE).display());
                    let missing = written.missing.iter().filter(|told| !told.starts_with(&database)).count();
                    assert!(is_told || missing == 0, "{what}: {written:?}");
                    assert!(!is_told || !lacks || !written.missing.is_empty(), "{what}: {written:?}");
                    assert_eq!(verified(&to).expect("whole"), written.contents, "{what}");
                }
                Err(ArchiveError::Read { path, .. }) => {
                    let needed = [home.path().to_owned(), home.path().join(DATABASE), to.clone()];
                    assert!(needed.contains(&path), "{what}: all fails for {}", path.display());
                }
                Err(_) => {}
            }
        }
        assert!(without > 10, "errno {errno}: {without}");
    }
}

#[test]
fn the_file_systems_own_directory_is_no_part_of_a_home() {
    let dir = TestDir::new("archive-volume");
    let home = home(&dir);
    put(&home.path().join("lost+found/#12"), "of another file", 0o600);
    put(&home.path().join("wiki/lost+found/mine"), "the module's own", 0o600);
    let written = write(&home, &dir.join("a.tar"), now()).expect("written");
    assert_eq!((written.contents.files, written.left_out.len(), written.missing.len()), (16, 0, 0), "{written:?}");
    fs::create_dir_all(dir.join("volume/lost+found")).expect("made");
    unpack(&dir.join("a.tar"), &dir.join("volume")).expect("restored");
    assert!(names(&dir.join("volume/lost+found")).is_empty());
    assert!(dir.join("volume/wiki/lost+found/mine").exists() && dir.join("volume/services.json").exists());
    put(&dir.join("taken/lost+found"), "a file", 0o600);
    fs::create_dir_all(dir.join("used/wiki")).expect("made");
    for taken in ["taken", "used"] {
        assert!(matches!(unpack(&dir.join("a.tar"), &dir.join(taken)), Err(ArchiveError::Exists { .. })), "{taken}");
    }
}

#[test]
fn what_comes_back_can_be_used_by_its_owner_and_the_home_by_nobody_else() {
    let dir = TestDir::new("archive-modes");
    let home = home(&dir);
    put(&home.path().join("wiki/data/fixed"), "read only", 0o400);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("set");
    write(&home, &dir.join("a.tar"), now()).expect("written");
    fs::create_dir(dir.join("empty")).expect("made");
    for to in ["new", "empty"].map(|to| dir.join(to)) {
        unpack(&dir.join("a.tar"), &to).expect("restored");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&to), mode(&to.join("wiki/data/fixed"))), (0o700, 0o600), "{}", to.display());
    }
}

#[test]
fn a_path_that_is_no_text_is_one_all_the_same() {
    let dir = TestDir::new("archive-bytes");
    let at = |name: &[u8]| dir.path().join(OsStr::from_bytes(name));
    let home = Home::open(&at(b"h\xff"), Create::Yes).expect("a home");
    put(&home.path().join("services.json"), r#"{"services":[{"name":"wiki","installDir":"/nowhere"}]}"#, 0o644);
    drop(crate::db::Db::open(&home.path().join("hub.db")).expect("a database"));
    let written = write(&home, &at(b"a\xff.tar"), now()).expect("written");
    assert_eq!((written.contents.files, written.contents.home), (2, None));
    let restored = unpack(&at(b"a\xff.tar"), &at(b"n\xff")).expect("restored");
    assert_eq!((restored.moved_rows, restored.warnings.len()), (0, 1), "{restored:?}");
    drop(crate::db::Db::open(&at(b"n\xff").join("hub.db")).expect("a database"));
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 3, "nothing else is left");
}

#[test]
fn an_empty_directory_of_another_user_is_not_filled() {
    let dir = TestDir::new("archive-foreign");
    write(&home(&dir), &dir.join("a.tar"), now()).expect("written");
    fs::create_dir(dir.join("theirs")).expect("made");
    // Only root can give a directory away; without that the rule cannot be shown.
    if chown(dir.join("theirs"), Some(65_534), None).is_ok() {
        let refused = unpack(&dir.join("a.tar"), &dir.join("theirs")).expect_err("refused");
        assert!(matches!(refused, ArchiveError::Store(StoreError::ForeignOwner { .. })), "{refused}");
        assert!(names(&dir.join("theirs")).is_empty());
    }
}

/// A backup or a restore that fails at any call leaves nothing, and one that is killed leaves no file of the name. What is
/// there although its name is not known to be on the disk says so.
#[test]
fn at_every_call_that_fails_there_is_the_whole_or_nothing() {
    let dir = TestDir::in_memory("archive-faults");
    let home = home(&dir);
    let good = dir.join("good.tar");
    write(&home, &good, now()).expect("written");
    for (what, at_home) in [("backup", false), ("restore", true), ("restore into an empty one", true)] {
        let to = dir.join(if at_home { "to" } else { "to.tar" });
        let run = || match at_home {
            true => unpack(&good, &to).map(|restored| restored.unsettled.is_some()),
            false => write(&home, &to, now()).map(|written| written.unsettled.is_some()),
        };
        let mode = || fs::metadata(&to).map(|facts| facts.permissions().mode()).ok();
        let clean = || {
            let _ = fs::remove_file(&to);
            let _ = fs::remove_dir_all(&to);
            for name in names(dir.path()).iter().filter(|name| name.starts_with('.')) {
                let _ = fs::remove_dir_all(dir.join(name));
                let _ = fs::remove_file(dir.join(name));
            }
            if what.ends_with("empty one") {
                fs::create_dir(&to).expect("made");
            }
        };
        clean();
        let whole = play(0, Fault::Dead, run);
        whole.outcome.expect("it works");
        let expected = names(dir.path());
        for (at, call) in (1..).zip(&whole.calls) {
            for fault in [Fault::Errno(EIO), Fault::Dead] {
                clean();
                let (before, mode_before) = (names(dir.path()), mode());
                let outcome = play(at, fault, run).outcome;
                let what = format!("{what}: {fault:?} at call {at}, {call}");
                let left: Vec<_> = names(dir.path()).into_iter().filter(|name| !name.starts_with('.')).collect();
                let is_whole = match at_home {
                    true => to.join("services.json").exists(),
                    false => to.exists(),
                };
                let secrets =
                    names(dir.path()).into_iter().filter(|name| name.starts_with('.') && dir.join(name).is_file());
                assert_eq!(secrets.count(), 0, "{what}: what nobody sweeps");
                if outcome.is_ok() {
                    assert!(is_whole && left == expected, "{what}: {left:?}");
                }
                if is_whole && !at_home {
                    verified(&to).unwrap_or_else(|error| panic!("{what}: half an archive: {error}"));
                }
                if is_whole && at_home {
                    assert!(to.join("operator.token").exists() && to.join("hub.db").exists(), "{what}");
                }
                if let (Ok(unsettled), Fault::Errno(_)) = (&outcome, fault) {
                    let last = whole.calls.iter().rposition(|call| *call == "fsync of the directory");
                    assert_eq!(*unsettled, last.is_some_and(|last| last as u64 + 1 == at), "{what}");
                }
                if fault != Fault::Dead && outcome.is_err() {
                    assert_eq!((names(dir.path()), mode()), (before, mode_before), "{what}: something is left");
                    assert!(!at_home || !to.exists() || names(&to).is_empty(), "{what}: {:?}", names(&to));
                }
            }
        }
        clean();
        let _ = fs::remove_dir(&to);
    }
}

#[test]
fn what_an_archive_without_the_path_of_its_home_names_elsewhere_is_told() {
    let dir = TestDir::new("archive-old");
    let rows = format!(
        r#"{{"services":[{{"name":"gone","installDir":"/nowhere/modules/gone"}},{{"name":"far","installDir":"{}"}}]}}"#,
        dir.path().display(),
    );
    let archive = dir.join("a.tar");
    let bytes = made(|hand| {
        hand.directory(ROOT);
        hand.file("parachute-home/services.json", rows.as_bytes());
    });
    fs::write(&archive, bytes).expect("written");
    let restored = unpack(&archive, &dir.join("new")).expect("restored");
    assert_eq!((restored.moved_rows, restored.warnings.len()), (0, 1), "{restored:?}");
    assert!(restored.warnings[0].contains("/nowhere/modules/gone does not exist"), "{restored:?}");
    assert_eq!(fs::read_to_string(dir.join("new/services.json")).expect("there"), rows);

    let spoilt = made(|hand| {
        hand.directory(ROOT);
        hand.file("parachute-home/services.json", b"{");
    });
    fs::write(&archive, spoilt).expect("written");
    let restored = unpack(&archive, &dir.join("spoilt")).expect("the home is as it was");
    assert!(restored.warnings[0].contains("list of modules"), "{restored:?}");
}
