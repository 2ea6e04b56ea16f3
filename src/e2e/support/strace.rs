//! A kernel that does what a test wants of it, for a hub that runs.

use super::hub::Hub;
use super::process::{Spawned, kill};
use super::wait::eventually;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Calls of a hub that go wrong, or slowly. Dropping it lets them go right again, too.
pub(crate) struct Injected {
    strace: Spawned,
}

impl Hub {
    /// Has `effect`, in the words of strace(1) such as `error=EAGAIN`, happen to these calls of the hub from now on, or
    /// to those of them that its further options leave. Threads and children that come later have nothing of it.
    #[track_caller]
    pub(crate) fn inject(&self, calls: &str, effect: &str, options: &[&str]) -> Injected {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the hub runs");
        let threads: Vec<_> = threads.map(|thread| thread.expect("listed").file_name()).collect();
        let mut command = Command::new("strace");
        for thread in &threads {
            command.arg("-p").arg(thread);
        }
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{effect}")]);
        command.args(["-o", "/dev/null"]).args(options);
        let mut strace = Spawned::spawn(command);
        eventually("strace attached", || {
            assert!(strace.ended().is_none(), "strace (Debian: strace) must be allowed to trace: {}", strace.output());
            let (told, tasks) = (strace.output(), Path::new("/proc").join(self.pid().to_string()).join("task"));
            // One that has ended meanwhile cannot be attached to any more.
            let is_done = |thread: &OsString| {
                told.contains(&format!("Process {} attached", thread.display())) || !tasks.join(thread).exists()
            };
            threads.iter().all(is_done).then_some(())
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
