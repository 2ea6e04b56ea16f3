//! Processes as the tests see them: alive or gone, signals, the test child, and whose environment names a home.

use super::wait::{deadline, eventually, within};
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What is kept of a program's output; the oldest goes first, so that a child that floods ends no test run.
const OUTPUT_LIMIT_BYTES: usize = 8 * 1024 * 1024;
/// All that a program started by a test finds on PATH.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether a process has this number and runs, with one thread at least. A zombie counts as gone.
pub(crate) fn is_alive(pid: u32) -> bool {
    // `man 5 proc_pid_stat`: the state follows the name, which is in parentheses and may hold anything.
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.iter().rposition(|byte| *byte == b')').map(|end| &stat[end + 1..]);
    let text = String::from_utf8_lossy(after_name.unwrap_or_default());
    let fields: Vec<&str> = text.split_whitespace().collect();
    // The state is field 3, and that of the first thread alone; the number of threads is field 20.
    let has_others = || fields.get(20 - 3).and_then(|number| number.parse().ok()).is_some_and(|number: u32| number > 1);
    fields.first().is_some_and(|state| !matches!(*state, "Z" | "X") || has_others())
}

/// Of every thread of the process, also those that have ended and are not collected.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect::<Vec<_>>()).collect()
}

/// Sends a signal by its name (`TERM`, `KILL`, `STOP`). A process that is gone is no error.
pub(crate) fn kill(pid: u32, signal: &str) {
    // The shell's own `kill`: the package with the other one may be missing.
    let status = Command::new("/bin/sh")
        .args(["-c", r#"kill -s "$1" "$2""#, "kill", signal, &pid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(status.is_ok(), "cannot run /bin/sh to send {signal} to {pid}: {status:?}");
}

/// The argv of the test child with this subcommand.
pub(crate) fn testchild(args: &[&str]) -> Vec<String> {
    let beside = Path::new(env!("CARGO_BIN_EXE_parachute")).with_file_name("examples");
    let program = beside.join("testchild");
    assert!(program.is_file(), "{} is missing; run plain cargo test, which builds it", program.display());
    let program = program.to_str().expect("the build directory is UTF-8");
    [program].iter().chain(args).map(|word| (*word).to_owned()).collect()
}

/// Every living process whose environment says `PARACHUTE_HOME=<home>`, with its command line.
pub(super) fn with_home(home: &Path) -> Vec<(u32, String)> {
    with_variables(&[[b"PARACHUTE_HOME=", home.as_os_str().as_bytes()].concat()])
}

/// The same of one module.
pub(super) fn with_module(home: &Path, short: &str) -> Vec<(u32, String)> {
    let home = [b"PARACHUTE_HOME=", home.as_os_str().as_bytes()].concat();
    with_variables(&[home, format!("PARACHUTE_MODULE={short}").into_bytes()])
}

fn with_variables(wanted: &[Vec<u8>]) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Empty for a zombie, unreadable for what is gone or somebody else's: neither is ours.
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let has = |wanted: &Vec<u8>| environment.split(|byte| *byte == 0).any(|variable| variable == wanted);
        if wanted.iter().all(has) && is_alive(pid) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ").trim_end().to_owned()));
        }
    }
    found
}

/// A program that a test has started, and what it has printed so far. Dropping it ends it.
pub(crate) struct Spawned {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Spawned {
    /// Starts `argv` with an environment of only PATH.
    pub(crate) fn start(argv: &[String]) -> Self {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env_clear().env("PATH", PATH);
        Self::spawn(command)
    }

    /// Starts `command` as it is, with empty stdin. stdout and stderr are read into one text, by threads that end with
    /// the pipes.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|pipe| collect(pipe, Arc::clone(&output))));
        readers.extend(child.stderr.take().map(|pipe| collect(pipe, Arc::clone(&output))));
        Self { child, output, readers }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed, both streams, invalid UTF-8 replaced.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The same once nobody can print any more: the process, and whoever has its pipes, must end.
    pub(crate) fn whole_output(&self) -> String {
        eventually("the end of the output", || self.readers.iter().all(thread::JoinHandle::is_finished).then_some(()));
        self.output()
    }

    /// Waits for a line that begins with `key` and returns the rest of the newest one.
    pub(crate) fn line_after(&self, key: &str) -> String {
        eventually(&format!("a line that begins with {key:?}"), || {
            complete_lines(&self.output()).rev().find_map(|line| line.strip_prefix(key).map(str::to_owned))
        })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of ours can be waited for")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let pid = self.pid();
        eventually(&format!("the end of process {pid}"), || self.ended())
    }

    /// Asks it to end, and makes it end when it does not. Never panics.
    pub(super) fn finish(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        kill(self.child.id(), "TERM");
        if within(deadline(), || self.child.try_wait().ok().flatten()).is_none() {
            // It may have ended at this moment; either way it is gone after the wait.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The lines of `text` that have their line end: the last piece may still be growing.
pub(super) fn complete_lines(text: &str) -> impl DoubleEndedIterator<Item = &str> {
    text.rfind('\n').map_or("", |end| &text[..end]).lines()
}

fn collect(mut pipe: impl Read + Send + 'static, output: Arc<Mutex<Vec<u8>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        loop {
            let read = match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.extend_from_slice(&buffer[..read]);
            if output.len() > OUTPUT_LIMIT_BYTES {
                let excess = output.len() - OUTPUT_LIMIT_BYTES / 2;
                output.drain(..excess);
            }
        }
    })
}

/// The directory for everything that tests write.
pub(super) fn scratch() -> PathBuf {
    std::env::temp_dir()
}
