use super::*;
use crate::sys::fault::{Fault, play};
use crate::sys::random;
use crate::sys::testdir::TestDir;
use std::process::{Child, Command};

const EMFILE: i32 = 24;
const PATIENCE: Duration = Duration::from_secs(60);

/// A group of a test's own, with nobody in it once it is dropped.
struct Playground(Group);

impl Playground {
    fn new() -> Self {
        let own = Own::find().expect("these tests need control groups of version 2, mounted and writable");
        let group = own.below(&format!("test-{}", random::hex(8)));
        group.make().expect("these tests need control groups of version 2, mounted and writable");
        Self(group)
    }
}

impl Drop for Playground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let until = Instant::now() + PATIENCE;
        while self.0.remove().is_err() && Instant::now() < until {
            std::thread::yield_now();
        }
    }
}

/// A process in the group.
fn member(group: &Group) -> Child {
    let script = r#"echo 0 >"$0/cgroup.procs" && exec sleep 600"#;
    let child = Command::new("/bin/sh").args(["-c", script]).arg(&group.directory).spawn().expect("a child");
    let pid = Pid::try_from(child.id()).expect("a pid");
    let until = Instant::now() + PATIENCE;
    while !group.members().expect("read").contains(&pid) {
        assert!(Instant::now() < until, "it never joins");
        std::thread::yield_now();
    }
    child
}

fn pid_of(child: &Child) -> Pid {
    Pid::try_from(child.id()).expect("a pid")
}

#[test]
fn groups_are_removed_however_deep_they_are_and_however_many() {
    let playground = Playground::new();
    let group = &playground.0;
    std::fs::create_dir_all(group.directory.join("deep/".repeat(400))).expect("made");
    assert_eq!(group.leave().expect("removed"), None);
    assert!(!group.directory.exists());
    let many = group.directory.join("many");
    for number in 0..GROUPS_MAX + 10 {
        std::fs::create_dir_all(many.join(format!("{number}/in"))).expect("made");
    }
    // Each makes room for the next.
    let removals = (0..4).take_while(|_| group.remove().is_err()).count();
    assert!(!group.directory.exists(), "after {removals}");
}

#[test]
fn our_group_is_found_below_the_mount_that_shows_it() {
    let whole = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
    let hybrid = "30 23 0:26 / /sys/fs/cgroup/cpu rw shared:4 - cgroup cgroup rw,cpu\n\
                  31 23 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    let part = r"31 23 0:27 /box/a /mnt/a\040b\134c rw - cgroup2 none rw";
    for (mounts, groups, expected) in [
        (whole, "0::/\n", Some(("/sys/fs/cgroup", true))),
        (whole, "0::/system.slice/p.service\n", Some(("/sys/fs/cgroup/system.slice/p.service", false))),
        (hybrid, "9:cpu:/x\n0::/y\n", Some(("/sys/fs/cgroup/unified/y", false))),
        (part, "0::/box/a/c\n", Some((r"/mnt/a b\c/c", false))),
        (part, "0::/box/ab\n", None),
        (part, "0::/\n", None),
        (whole, "0::/../other\n", None),
        (whole, "0::/gone (deleted)\n", None),
        (whole, "9:cpu:/x\n", None),
        (whole, "0::x\n", None),
        (whole, "", None),
        ("30 23 0:26 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu", "0::/\n", None),
        ("30 23 0:26 / /sys/fs/cgroup rw shared:4 cgroup2 cgroup2 rw", "0::/\n", None),
        ("30 23 / -\n\n - cgroup2", "0::/\n", None),
        (&format!("{whole}\n{}", whole.replace("/sys/fs/cgroup", "/over")), "0::/\n", Some(("/over", true))),
    ] {
        let found = own_group(mounts.as_bytes(), groups.as_bytes());
        let expected = expected.map(|(path, is_top)| Own { directory: path.into(), is_top });
        assert_eq!(found, expected, "{mounts:?} {groups:?}");
    }
}

#[test]
fn who_is_in_a_group_is_told_until_nobody_is_left() {
    let ground = Playground::new();
    let group = ground.0.clone();
    let inner = Group { directory: group.directory.join("inner") };
    inner.make().expect("made");
    let (mut first, mut second) = (member(&group), member(&inner));
    let both = [pid_of(&first), pid_of(&second)];
    assert_eq!(group.members().expect("read"), both);
    assert_eq!(group.leave().expect("read"), Some(both.to_vec()));
    first.kill().expect("it is ours");
    first.wait().expect("it is ours");
    assert_eq!(group.leave().expect("read"), Some(vec![pid_of(&second)]), "below it counts");
    assert!(group.remove().is_err(), "somebody is in it");
    second.kill().expect("it is ours");
    second.wait().expect("it is ours");
    assert_eq!(group.leave().expect("read"), None);
    assert!(!group.directory.exists());
    for _ in 0..2 {
        assert_eq!(group.leave().expect("read"), None, "it is gone");
        group.remove().expect("it is gone");
        group.kill().expect("it is gone");
        assert_eq!(group.members().expect("read"), [0; 0]);
    }
}

/// Whoever looked for one would wait for ever when no descriptor is left.
#[test]
fn that_nobody_is_left_is_told_without_a_descriptor() {
    let ground = Playground::new();
    let told = play(2, Fault::Errno(EMFILE), || ground.0.leave());
    assert_eq!((told.calls, told.outcome.expect("told")), (vec!["rmdir"], None));
    ground.0.make().expect("made");
    let mut child = member(&ground.0);
    let told = play(2, Fault::Errno(EMFILE), || ground.0.leave());
    assert_eq!(told.outcome.expect_err("it cannot be told").raw_os_error(), Some(EMFILE));
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
}

#[test]
fn all_in_a_group_and_below_it_are_killed() {
    let ground = Playground::new();
    let inner = Group { directory: ground.0.directory.join("inner") };
    inner.make().expect("made");
    let mut children = [member(&ground.0), member(&inner)];
    ground.0.kill().expect("killed");
    for child in &mut children {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().expect("it is ours").signal(), Some(libc::SIGKILL));
    }
}

#[test]
fn groups_of_those_that_have_gone_are_swept_and_others_are_not() {
    let ground = Playground::new();
    let own = Own { directory: ground.0.directory.clone(), is_top: true };
    let locked = Locked::make(own.below("hub-lives")).expect("made");
    locked.below("web").make().expect("made");
    let left = Locked::make(own.below("hub-left")).expect("made");
    left.below("web").make().expect("made");
    drop(left);
    let in_use = own.below("hub-in-use");
    in_use.make().expect("made");
    let mut child = member(&in_use);
    own.below("other").make().expect("made");
    own.sweep("hub-");
    let there = |name: &str| ground.0.directory.join(name).is_dir();
    assert_eq!(
        ["hub-lives/web", "hub-left", "hub-in-use", "other"].map(there),
        [true, false, true, true],
        "somebody has the first, somebody is in the third, and the last is no hub's"
    );
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    locked.remove().expect("nobody is in it");
    assert!(!there("hub-lives"));
}

#[test]
fn a_group_is_locked_for_one_at_a_time() {
    let ground = Playground::new();
    let group = Group { directory: ground.0.directory.join("hub") };
    let locked = Locked::make(group.clone()).expect("made");
    assert_eq!(Locked::make(group).expect_err("it is somebody's").kind(), io::ErrorKind::WouldBlock);
    drop(locked);
}

/// It may be taken away before it is locked, and be locked by whoever takes it away.
#[test]
fn whoever_begins_while_others_sweep_gets_a_group() {
    let ground = Playground::new();
    let own = Own { directory: ground.0.directory.clone(), is_top: true };
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                own.sweep("hub-");
            }
        });
        for round in 0..300 {
            let made = Locked::make(own.below("hub-1"));
            let stays = made.as_ref().is_ok_and(|locked| locked.directory().is_dir());
            if !stays {
                is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            assert!(stays, "round {round}: {:?}", made.err());
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// As on kernels of before 5.14.
#[test]
fn a_group_that_cannot_be_killed_at_once_is_given_back() {
    let dir = TestDir::new("no-kill");
    let group = Group { directory: dir.join("hub") };
    std::fs::create_dir(&group.directory).expect("made");
    std::fs::create_dir(group.directory.join(PROCESSES)).expect("made");
    assert_eq!(Locked::make(group.clone()).expect_err("no kill").kind(), io::ErrorKind::Unsupported);
    assert!(!group.directory.exists());
}

#[test]
fn only_a_mark_says_that_a_group_is_ours_to_divide() {
    let ground = Playground::new();
    let own = |is_top| Own { directory: ground.0.directory.clone(), is_top };
    assert!(own(true).is_delegated());
    assert!(!own(false).is_delegated());
    let mark = |value: &str| {
        let path = CString::new(ground.0.directory.as_os_str().as_bytes()).expect("a path");
        // SAFETY: all pointers are those of live strings.
        cvt(unsafe {
            libc::setxattr(path.as_ptr(), c"trusted.delegate".as_ptr(), value.as_ptr().cast(), value.len(), 0)
        })
        .expect("marked");
    };
    for (value, delegated) in [("1", true), ("0", false), ("10", false), ("", false)] {
        mark(value);
        assert_eq!(own(false).is_delegated(), delegated, "{value:?}");
    }
}
