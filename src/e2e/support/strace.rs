//! A kernel that does what a test wants of it, for a hub that runs.

use super::hub::Hub;
use super::process::{Spawned, kill};
use super::wait::eventually;
use std::process::Command;

/// Calls of a hub that go wrong, or slowly. Dropping it lets them go right again, too.
pub(crate) struct Injected {
    strace: Spawned,
}

impl Hub {
    /// Has `effect`, in the words of strace(1) such as `error=EAGAIN`, happen to these calls of the hub from now on, or
    /// to those of them that its further options leave.
    #[track_caller]
    pub(crate) fn inject(&self, calls: &str, effect: &str, options: &[&str]) -> Injected {
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &self.pid().to_string(), "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{effect}"), "-o", "/dev/null"]).args(options);
        let mut strace = Spawned::spawn(command);
        eventually("strace attached", || {
            assert!(strace.ended().is_none(), "strace (Debian: strace) must be allowed to trace: {}", strace.output());
            strace.output().contains("attached").then_some(())
        });
        Injected { strace }
    }
}

impl Injected {
    /// From now on the calls go right.
    pub(crate) fn end(mut self) {
        kill(self.strace.pid(), "INT");
        self.strace.wait();
    }
}
