//! Faults on demand: makes the N-th kernel call that opens, writes, syncs, renames, removes, locks or forks fail, or
//! ends the process at it, so that a test can walk N over a whole scenario.
//!
//! Exists in tests, where each thread counts its own calls, and in a build with the feature `fault-injection`, where
//! the process counts all of them. In every other build [`point`] and [`before_write`] are nothing.

use std::fs::File;
use std::io;

/// What the N-th call comes to.
#[cfg(any(test, feature = "fault-injection"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails with this errno; the calls after it do not.
    Errno(i32),
    /// Nothing that comes after it reaches the kernel, as if the process had been killed there: what is on the disk
    /// stays as it is.
    #[cfg(test)]
    Dead,
    /// The process is killed there, in truth.
    #[cfg(not(test))]
    Kill,
}

/// Passed before each kernel call named `call`; an error stands for the call's own.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline(always)]
pub(super) fn point(_call: &'static str) -> io::Result<()> {
    Ok(())
}

/// The same before `bytes` are written to `file`. A fault leaves a torn write: half of them are written.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline(always)]
pub(super) fn before_write(_file: &File, _bytes: &[u8]) -> io::Result<()> {
    Ok(())
}

#[cfg(all(feature = "fault-injection", not(test)))]
pub(crate) use armed::arm;
#[cfg(test)]
pub(crate) use armed::{Played, play};
#[cfg(any(test, feature = "fault-injection"))]
pub(super) use armed::{before_write, point};

#[cfg(any(test, feature = "fault-injection"))]
mod armed {
    use super::{Fault, File, io};
    use std::io::Write;

    /// The plan, and how far it has come.
    struct State {
        /// The call that goes wrong, counted from 1; 0 is none.
        at: u64,
        fault: Fault,
        taken: u64,
        /// Gets the number and the name of every call.
        note: Box<dyn FnMut(u64, &'static str) + Send>,
    }

    /// What a call comes to.
    enum Strike {
        /// The first that fails: a write is torn.
        First(io::Error),
        #[cfg(test)]
        AfterDeath,
        #[cfg(not(test))]
        Kill,
    }

    impl State {
        fn strike(&mut self, call: &'static str) -> Option<Strike> {
            self.taken += 1;
            (self.note)(self.taken, call);
            let first = self.taken == self.at;
            match self.fault {
                Fault::Errno(errno) => first.then(|| Strike::First(io::Error::from_raw_os_error(errno))),
                #[cfg(test)]
                Fault::Dead if first => Some(Strike::First(io::ErrorKind::Other.into())),
                #[cfg(test)]
                Fault::Dead => (self.at != 0 && self.taken > self.at).then_some(Strike::AfterDeath),
                #[cfg(not(test))]
                Fault::Kill => first.then_some(Strike::Kill),
            }
        }
    }

    pub(in crate::sys) fn point(call: &'static str) -> io::Result<()> {
        match strike(call) {
            None => Ok(()),
            Some(Strike::First(error)) => Err(error),
            #[cfg(test)]
            Some(Strike::AfterDeath) => Err(io::ErrorKind::Other.into()),
            #[cfg(not(test))]
            Some(Strike::Kill) => die(),
        }
    }

    pub(in crate::sys) fn before_write(mut file: &File, bytes: &[u8]) -> io::Result<()> {
        // What a full disk or a killed writer leaves.
        let mut tear = || drop(file.write(bytes.get(..bytes.len() / 2).unwrap_or_default()));
        match strike("write") {
            None => Ok(()),
            Some(Strike::First(error)) => {
                tear();
                Err(error)
            }
            #[cfg(test)]
            Some(Strike::AfterDeath) => Err(io::ErrorKind::Other.into()),
            #[cfg(not(test))]
            Some(Strike::Kill) => {
                tear();
                die()
            }
        }
    }

    #[cfg(not(test))]
    fn die() -> ! {
        // SAFETY: kill touches no memory of ours, and the pid is our own.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        // Whoever blocks even that ends all the same.
        std::process::abort()
    }

    #[cfg(not(test))]
    static PLAN: std::sync::Mutex<Option<State>> = std::sync::Mutex::new(None);

    #[cfg(not(test))]
    fn strike(call: &'static str) -> Option<Strike> {
        let mut plan = PLAN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        plan.as_mut().and_then(|state| state.strike(call))
    }

    /// From now on the `at`-th call of this process goes wrong, none for 0. Number and name of each are appended to
    /// `trace`, one line a call.
    #[cfg(not(test))]
    pub(crate) fn arm(at: u64, fault: Fault, trace: Option<&std::path::Path>) {
        let mut trace = trace.and_then(|path| File::options().create(true).append(true).open(path).ok());
        // What cannot be traced goes wrong all the same.
        let note = Box::new(move |number, call| {
            let _ = trace.as_mut().map(|file| file.write_all(format!("{number} {call}\n").as_bytes()));
        });
        let mut plan = PLAN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *plan = Some(State { at, fault, taken: 0, note });
    }

    #[cfg(test)]
    thread_local! {
        static PLAN: std::cell::RefCell<Option<State>> = const { std::cell::RefCell::new(None) };
    }

    #[cfg(test)]
    fn strike(call: &'static str) -> Option<Strike> {
        PLAN.with_borrow_mut(|plan| plan.as_mut().and_then(|state| state.strike(call)))
    }

    /// How a scenario went.
    #[cfg(test)]
    pub(crate) struct Played<T> {
        pub(crate) outcome: T,
        /// The names of this thread's calls, in order; the first one is number 1.
        pub(crate) calls: Vec<&'static str>,
    }

    /// Runs `scenario` on this thread with its `at`-th call going wrong, none for 0.
    #[cfg(test)]
    pub(crate) fn play<T>(at: u64, fault: Fault, scenario: impl FnOnce() -> T) -> Played<T> {
        let (sender, noted) = std::sync::mpsc::channel();
        let note = Box::new(move |_, call| {
            // Whoever runs the scenario reads them afterwards.
            let _ = sender.send(call);
        });
        PLAN.set(Some(State { at, fault, taken: 0, note }));
        let outcome = scenario();
        PLAN.set(None);
        Played { outcome, calls: noted.iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fs::{self, Dir};
    use crate::sys::testdir::TestDir;
    use std::ffi::OsStr;

    fn write(dir: &Dir) -> io::Result<()> {
        let name = OsStr::new("a");
        let file = dir.create_new(name, 0o600)?;
        fs::write_all(&file, b"abcdef")?;
        fs::sync(&file)?;
        dir.unlink(name)
    }

    #[test]
    fn one_call_fails_and_the_others_do_not() {
        let calls = ["open", "write", "fsync", "unlink"];
        for (at, left) in [(0, None), (1, None), (2, Some(3)), (3, Some(6)), (4, Some(6)), (5, None)] {
            let home = TestDir::new("fault");
            let dir = Dir::open(home.path()).expect("a directory");
            let played = play(at, Fault::Errno(libc::ENOSPC), || write(&dir));
            let reached = if at == 0 { 4 } else { usize::try_from(at).expect("small").min(4) };
            assert_eq!(played.calls, calls[..reached], "{at}");
            let errno = played.outcome.err().and_then(|error| error.raw_os_error());
            assert_eq!(errno, (1..=4).contains(&at).then_some(libc::ENOSPC), "{at}");
            assert_eq!(std::fs::metadata(home.join("a")).ok().map(|facts| facts.len()), left, "{at}");
        }
    }

    #[test]
    fn the_dead_do_nothing_any_more() {
        let home = TestDir::new("fault");
        let dir = Dir::open(home.path()).expect("a directory");
        let played = play(2, Fault::Dead, || {
            assert!(write(&dir).is_err());
            assert!(dir.unlink(OsStr::new("a")).is_err());
        });
        assert_eq!(played.calls, ["open", "write", "unlink"]);
        assert_eq!(std::fs::read(home.join("a")).expect("left"), b"abc");
        dir.unlink(OsStr::new("a")).expect("alive again");
    }
}
