use super::*;
use crate::store::testing::{TestHome, fifo};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

fn mode_of(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn a_write_makes_directories_and_leaves_only_the_file() {
    let home = TestHome::new();
    write(&home, "hub/deep/state.json", b"{}", PRIVATE).expect("a write");
    assert_eq!(home.text("hub/deep/state.json"), "{}");
    for (path, mode) in [("hub", 0o700), ("hub/deep", 0o700), ("hub/deep/state.json", 0o600)] {
        assert_eq!(mode_of(&home.path().join(path)), mode, "{path}");
    }
    assert_eq!(std::fs::read_dir(home.path().join("hub/deep")).expect("a directory").count(), 1);
}

#[test]
fn a_stricter_mode_stays_and_a_looser_one_does_not() {
    for (old, asked, expected) in [(0o600, PUBLIC, 0o600), (0o666, PUBLIC, 0o644), (0o644, PRIVATE, 0o600)] {
        let home = TestHome::new();
        let path = home.put("a", "old");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(old)).expect("a mode");
        write(&home, "a", b"new", asked).expect("a write");
        assert_eq!((mode_of(&path), home.text("a").as_str()), (expected, "new"), "{old:o}");
    }
}

#[test]
fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
    let home = TestHome::new();
    home.put("a/keep", "x");
    // A directory in the target's place lets everything succeed but the last step.
    let target = Target::locate(&home, Path::new("a"), Links::Refuse).expect("a target").expect("a directory");
    let staged = target.stage(b"new", PRIVATE).expect("a temporary file");
    staged.commit(Rename::Replace).expect_err("a directory cannot be replaced");
    drop(staged);
    assert_eq!(home.names(), ["a"]);
    // So it is refused before.
    let error = write(&home, "a", b"new", PRIVATE).expect_err("a directory cannot be replaced");
    assert!(matches!(&error, StoreError::NotRegular { path } if *path == home.path().join("a")), "{error}");
    assert_eq!(home.names(), ["a"]);
    assert_eq!(home.text("a/keep"), "x");
}

#[test]
fn a_staged_file_that_is_not_committed_is_gone() {
    let home = TestHome::new();
    home.put("a", "old");
    let target = Target::locate(&home, Path::new("a"), Links::Refuse).expect("a target").expect("a directory");
    let staged = target.stage(b"new", PRIVATE).expect("a temporary file");
    assert_eq!(home.names().len(), 2);
    drop(staged);
    assert_eq!((home.names(), home.text("a")), (vec!["a".to_owned()], "old".to_owned()));
}

#[test]
fn another_name_of_the_old_file_keeps_the_old_bytes() {
    let home = TestHome::new();
    let path = home.put("a", "old");
    std::fs::hard_link(&path, home.path().join("b")).expect("a hard link");
    write(&home, "a", b"new", PRIVATE).expect("a write");
    assert_eq!((home.text("a").as_str(), home.text("b").as_str()), ("new", "old"));
    // Also where the disk is not waited for, and whatever else stood there.
    std::fs::hard_link(&path, home.path().join("c")).expect("a hard link");
    write_volatile(&home, Path::new("a"), b"newer", PRIVATE).expect("a write");
    assert_eq!((home.text("a").as_str(), home.text("c").as_str()), ("newer", "new"));
    std::fs::remove_file(&path).expect("removed");
    fifo(&path);
    for text in ["newest", "last"] {
        write_volatile(&home, Path::new("a"), text.as_bytes(), PRIVATE).expect("a write");
        assert_eq!((home.text("a").as_str(), mode_of(&path)), (text, PRIVATE));
    }
    assert_eq!(home.names(), ["a", "b", "c"]);
}

#[test]
fn two_private_files_of_ours_alone_change_places() {
    let home = TestHome::new();
    let inode = |name: &str| std::fs::symlink_metadata(home.path().join(name)).expect("a file").ino();
    let swap = |text: &str| swap_volatile(&home, Path::new("key"), text.as_bytes());
    swap("one").expect("a first file");
    assert_eq!((home.names(), home.text("key.spare").as_str()), (vec!["key".into(), "key.spare".into()], ""));
    let (first, second) = (inode("key"), inode("key.spare"));
    swap("two").expect("the empty one is used");
    assert_eq!((inode("key"), inode("key.spare")), (second, first));
    for (text, before, at) in [("red", "two", first), ("tan", "red", second), ("fawn", "tan", first)] {
        // The last one is longer than what the spare has.
        let is_made = text.len() != before.len();
        swap(text).expect(text);
        assert_eq!((home.text("key").as_str(), home.text("key.spare").as_str()), (text, before));
        assert!(is_made || inode("key") == at, "{text}: no file is made");
        assert_eq!(["key", "key.spare"].map(|name| mode_of(&home.path().join(name))), [PRIVATE; 2]);
    }
    assert_eq!(home.names(), ["key", "key.spare"]);
    std::fs::remove_file(home.path().join("key.spare")).expect("removed");
    swap("deer").expect("a spare one is made");
    assert_eq!((home.text("key").as_str(), home.text("key.spare").as_str()), ("deer", "fawn"));
}

#[test]
fn what_others_may_have_in_hand_is_neither_written_into_nor_kept() {
    let (home, elsewhere) = (TestHome::new(), TestHome::new());
    let swap = |text: &str| swap_volatile(&home, Path::new("key"), text.as_bytes());
    // By all but its other name it could be a spare one.
    let victim = elsewhere.put("victim", "whole");
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(PRIVATE)).expect("a mode");
    let spare = home.path().join("key.spare");
    type Trap<'a> = (&'a str, &'a dyn Fn(&Path));
    let traps: [Trap<'_>; 4] = [
        ("a link", &|at| symlink(&victim, at).expect("a link")),
        ("another name of a file", &|at| std::fs::hard_link(&victim, at).expect("a hard link")),
        ("a fifo", &|at| fifo(at)),
        ("an open file", &|at| {
            std::fs::write(at, "loose").expect("a file");
            std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o644)).expect("a mode");
        }),
    ];
    for (what, trap) in traps {
        let _ = std::fs::remove_file(&spare);
        trap(&spare);
        for text in ["a key", "b key"] {
            swap(text).expect(what);
            assert_eq!(home.text("key"), text, "{what} in the spare's place");
        }
        assert_eq!(mode_of(&spare), PRIVATE, "{what}: the spare is ours");
        // In the place of the file itself a link is refused, and everything else makes way.
        std::fs::remove_file(home.path().join("key")).expect("removed");
        trap(&home.path().join("key"));
        let done = swap("c key");
        assert_eq!(done.is_err(), what == "a link", "{what}: {done:?}");
        assert!(!spare.exists() || home.text("key.spare").is_empty(), "{what}: an old key stays nowhere");
        let _ = std::fs::remove_file(home.path().join("key"));
        swap("d key").expect(what);
        assert_eq!((home.text("key").as_str(), elsewhere.text("victim").as_str()), ("d key", "whole"), "{what}");
    }
}

#[test]
fn links_are_not_followed_where_secrets_are() {
    let (home, elsewhere) = (TestHome::new(), TestHome::new());
    let victim = elsewhere.put("victim", "untouched");
    symlink(&victim, home.path().join("file")).expect("a link");
    symlink(elsewhere.path(), home.path().join("folder")).expect("a link");
    symlink("/nonexistent/x", home.path().join("dangling")).expect("a link");
    for relative in ["file", "folder/victim", "dangling"] {
        let read = read(&home, relative, 100).expect_err(relative);
        assert!(matches!(read, StoreError::Symlink { .. }), "{relative}: {read}");
        let write = write(&home, relative, b"new", PRIVATE).expect_err(relative);
        assert!(matches!(write, StoreError::Symlink { .. }), "{relative}: {write}");
    }
    assert_eq!(elsewhere.text("victim"), "untouched");
    assert_eq!(elsewhere.names(), ["victim"]);
}

#[test]
fn what_is_no_file_is_refused_without_blocking() {
    let home = TestHome::new();
    fifo(&home.path().join("fifo"));
    let _socket = UnixListener::bind(home.path().join("socket")).expect("a socket");
    std::fs::create_dir(home.path().join("directory")).expect("a directory");
    for relative in ["fifo", "socket", "directory"] {
        let error = read(&home, relative, 100).expect_err(relative);
        assert!(matches!(error, StoreError::NotRegular { .. }), "{relative}: {error}");
    }
    let device = Target::outside(Path::new("/dev/zero")).expect("a target").expect("a directory");
    assert!(matches!(device.read(100), Err(StoreError::NotRegular { .. })));
}

#[test]
fn the_limit_is_exact() {
    let home = TestHome::new();
    for (size, ok) in [(0, true), (100, true), (101, false), (100_000, false)] {
        home.put("a", vec![b'x'; size]);
        let outcome = read(&home, "a", 100);
        assert_eq!(outcome.is_ok(), ok, "{size}");
        if let Err(error) = outcome {
            assert!(matches!(error, StoreError::TooLarge { limit_bytes: 100, .. }), "{error}");
        }
    }
    assert!(read(&home, "missing", 100).expect("nothing").is_none());
    assert!(read(&home, "missing/too", 100).expect("nothing").is_none());
}

#[test]
fn a_file_of_another_user_is_refused() {
    let home = TestHome::new();
    let path = home.put("a", "x");
    // Only root can give a file away; without that the rule cannot be shown.
    if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
        return;
    }
    let error = read(&home, "a", 100).expect_err("foreign");
    assert!(matches!(error, StoreError::ForeignOwner { owner_uid: 65_534, .. }), "{error}");
    // Nor does a link make it ours.
    symlink(&path, home.path().join("link")).expect("a link");
    let error = real_path(&home, Path::new("link")).expect_err("foreign");
    assert!(matches!(error, StoreError::ForeignOwner { owner_uid: 65_534, .. }), "{error}");
}

#[test]
fn only_old_files_of_our_pattern_are_swept() {
    let home = TestHome::new();
    let now = SystemTime::now() + Duration::from_secs(7_200);
    for (name, swept) in [
        (".services.json.0123456789abcdef.tmp", true),
        ("hub/run/.hub.pid.0123456789abcdef.tmp", true),
        (".hub.db.0123456789abcdef.tmp-journal", true),
        (".hub.db.0123456789abcdef-journal", false),
        (".hub.db.tmp-journal", false),
        ("hub.db-journal", false),
        (".services.json.0123.tmp", false),
        (".services.json.0123456789abcdeg.tmp", false),
        ("services.json.0123456789abcdef.tmp", false),
        (".0123456789abcdef.tmp", false),
        ("..0123456789abcdef.tmp", false),
        (".env", false),
    ] {
        home.put(name, "x");
        assert_eq!(sweep(&home, SystemTime::now(), Sweep::OwnFiles).expect("a sweep"), 0, "{name} is young");
        assert_eq!(sweep(&home, now, Sweep::OwnFiles).expect("a sweep"), usize::from(swept), "{name}");
        assert_eq!(home.path().join(name).exists(), !swept, "{name}");
    }
    let deeper = ["wiki/..env", "wiki/run/.hub.key", "modules/wiki/.parachute/.module.json"];
    for name in deeper.map(|name| format!("{name}.0123456789abcdef.tmp")) {
        home.put(&name, "x");
        assert_eq!(sweep(&home, now, Sweep::OwnFiles).expect("a sweep"), 0, "{name}: a boot has no time for it");
        assert_eq!(sweep(&home, now, Sweep::Everywhere).expect("a sweep"), 1, "{name}");
    }
    assert!(is_temp_name(&temp_name(OsStr::new("a"))));
}

/// C38: somebody has put something under the very name that a temporary file is about to get.
#[test]
fn c38_what_waits_under_the_name_of_a_temporary_file_is_neither_followed_nor_written_to() {
    let home = TestHome::new();
    let victim = home.put("victim", "untouched");
    let target = Target::locate(&home, Path::new("operator.token"), Links::Refuse).expect("located").expect("a home");
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 4] = [
        ("a link", |victim, at| symlink(victim, at).expect("linked")),
        ("a hard link", |victim, at| std::fs::hard_link(victim, at).expect("linked")),
        ("a dangling link", |victim, at| symlink(victim.with_extension("new"), at).expect("linked")),
        ("a fifo", |_, at| crate::store::testing::fifo(at)),
    ];
    for (what, plant) in plants {
        let name = temp_name(&target.name);
        plant(&victim, &home.path().join(&name));
        let refused = target.dir.create_new(&name, PRIVATE).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::AlreadyExists), "{what}");
        assert_eq!(home.text("victim"), "untouched", "{what}");
    }
    assert!(!home.path().join("victim.new").exists());
    // And nobody knows it beforehand.
    let names: std::collections::HashSet<_> = (0..1_000).map(|_| temp_name(&target.name)).collect();
    assert_eq!(names.len(), 1_000);
    write(&home, "operator.token", b"new", PRIVATE).expect("another name is free");
    assert_eq!((home.text("operator.token").as_str(), home.text("victim").as_str()), ("new", "untouched"));
}
