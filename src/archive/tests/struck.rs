//! Makers that fail, are killed, or are not alone.

use super::*;
use crate::archive::stage::Stage;
use crate::sys::fault::{Fault, play};
use std::os::unix::fs::chown;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

const ENOENT: i32 = 2;
const EIO: i32 = 5;

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
