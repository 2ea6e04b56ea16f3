//! One call of the binary from start to end.

use super::secrets;
use super::wait::{deadline, within};
use std::fmt;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    command: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Runs `command` with empty stdin; fails the test when it does not end in time.
    #[track_caller]
    pub(crate) fn run(command: Command) -> Self {
        Self::run_within(deadline(), command)
    }

    /// The same with a deadline of its own, for programs that are large.
    #[track_caller]
    pub(crate) fn run_within(limit: Duration, mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().map(read_all);
        let stderr = child.stderr.take().map(read_all);
        let status = within(limit, || child.try_wait().expect("a child of ours can be waited for"));
        let status = status.unwrap_or_else(|| {
            // It may have ended at this moment; either way it is gone after the wait.
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} did not end within {limit:?}")
        });
        let text = |reader: Option<thread::JoinHandle<Vec<u8>>>| {
            let bytes = reader.map(|reader| reader.join().expect("reading a pipe does not panic")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        secrets::not_printed(&command, &stdout, &stderr);
        Self { command: format!("{command:?}"), status, stdout, stderr }
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.fails_with(0)
    }

    /// Checks the exit code; death by a signal is none.
    #[track_caller]
    pub(crate) fn fails_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "exit code of {self}");
        self
    }

    /// The exit code; `None` for death by a signal.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// stdout as one JSON value.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON ({error}): {self}"))
    }
}

impl fmt::Display for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\nstdout:\n{}stderr:\n{}", self.command, self.status, self.stdout, self.stderr)
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still what was printed.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
