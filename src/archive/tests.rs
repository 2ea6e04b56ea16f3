//! Archives as files: what goes in comes out, and standard tools read it.

mod database;
mod hand;
mod hostile;
mod owners;
mod struck;

use super::*;
use crate::store::{Create, Home};
use crate::sys::testdir::TestDir;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

const NOW: Duration = Duration::from_secs(1_800_000_000);
/// What writers that died have left in the home.
const TEMPORARY: [&str; 3] =
    [".services.json.0123456789abcdef.tmp", ".hub.db.0123456789abcdef.tmp-journal", "wiki/..env.0123456789abcdef.tmp"];

const LOGS: [&str; 4] =
    ["wiki/logs/wiki.log", "wiki/logs/wiki.log.1", "wiki/logs/wiki.log.12", "hub/logs/access.log.2"];

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
