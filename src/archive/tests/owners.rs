//! Whose files they were, and whose they are afterwards.

use super::hand::made;
use super::*;
use crate::archive::tar::Owner;
use crate::store::StoreError;
use crate::sys::fault::{Fault, play};
use std::os::unix::fs::chown;

const EPERM: i32 = 1;

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
