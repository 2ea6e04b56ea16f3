//! The sentences about a module, with their numbers. The same words go to the log, to the API and to the CLI.

use super::budget::{MAX_FAILURES, WINDOW};
use super::lifecycle::Notice;
use super::probe::{Holder, Trouble};
use super::{StartError, StartErrorKind};
use crate::manifest::Short;
use crate::sys::process::Exit;
use crate::sys::spawn::{SpawnFailure, Step};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Who may have sent KILL to a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Killer {
    Us,
    /// Perhaps the kernel, for want of memory (supervisor B16).
    Unknown,
}

/// `exited with code 1`, `was ended by signal 9 (KILL)`.
pub(crate) fn exit(exit: Exit, killer: Killer) -> String {
    match (exit, killer) {
        (Exit::Code(code), _) => format!("exited with code {code}"),
        (Exit::Signal(9), Killer::Us) => "was ended by signal 9 (KILL)".into(),
        (Exit::Signal(9), Killer::Unknown) => "was ended by signal 9 (KILL), perhaps because memory ran out".into(),
        (Exit::Signal(signal), _) => match signal_name(signal) {
            Some(name) => format!("was ended by signal {signal} ({name})"),
            None => format!("was ended by signal {signal}"),
        },
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        8 => "FPE",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => return None,
    })
}

/// `500 ms`, `28 s`, `5 min`.
pub(crate) fn duration(wait: Duration) -> String {
    match wait.as_millis() {
        ms if ms < 10_000 => format!("{ms} ms"),
        ms if ms < 120_000 => format!("{} s", ms / 1000),
        ms => format!("{} min", ms / 60_000),
    }
}

/// The line for the log. `last` is how the last child ended.
pub(crate) fn notice(notice: Notice, last: Option<(Exit, Killer)>, error: Option<&StartError>) -> String {
    let ended = last.map_or_else(|| "ended".to_owned(), |(ended, killer)| exit(ended, killer));
    let reason = error.map_or("it cannot be started", |error| error.description.as_str());
    let window_s = WINDOW.as_secs();
    match notice {
        Notice::Restarting { failures, after } if after.is_zero() => {
            format!("{ended}, failure {failures} of {MAX_FAILURES} in {window_s} s, restarting at once")
        }
        Notice::Restarting { failures, after } => {
            format!("{ended}, failure {failures} of {MAX_FAILURES} in {window_s} s, restarting in {}", duration(after))
        }
        Notice::Crashed { failures, after: Some(after) } => {
            format!("{ended}, crashed: {} in {window_s} s, next retry in {}", failure_count(failures), duration(after))
        }
        Notice::Crashed { failures, after: None } => {
            format!("{ended}, crashed: {} in {window_s} s, giving up as run.giveUp says", failure_count(failures))
        }
        Notice::Blocked { after: Some(after) } => format!("crashed: {reason}; next retry in {}", duration(after)),
        Notice::Blocked { after: None } => format!("crashed: {reason}; giving up as run.giveUp says"),
        Notice::Shortage { after } => format!("{reason}; next attempt in {}", duration(after)),
        Notice::Finished => format!("{ended}, not restarted as run.restart says"),
        Notice::Stopped if last.is_none() => "stopped: it had not started".into(),
        Notice::Stopped => format!("stopped: it {ended}"),
        Notice::Unbound => format!("{reason}; it is watched for another minute"),
        Notice::BoundLate => "is bound now".into(),
        Notice::NotAlive { failures } => {
            format!("did not answer {failures} liveness probes in a row, ending it")
        }
        Notice::Killing => "did not end in time, sending KILL".into(),
        Notice::Stuck => "is still there after KILL; the kernel cannot end it now".into(),
    }
}

/// A later failure of a module in slow retries may be alone in the window.
fn failure_count(failures: u32) -> String {
    format!("{failures} failure{}", if failures == 1 { "" } else { "s" })
}

/// A child that did not reach `program`.
pub(crate) fn spawn_failure(failure: SpawnFailure, program: &Path) -> StartError {
    let SpawnFailure { step, .. } = failure;
    let program = (step == Step::Exec).then(|| program.display().to_string());
    let (kind, hint) = match step {
        Step::Directory => (StartErrorKind::MissingCwd, "; bring its directory back or install the module anew"),
        // The file was found before the fork.
        Step::Exec if failure.is_not_found() => (
            StartErrorKind::NonExecutable,
            "; the file is there and its interpreter or loader is not: install that, or build the program for this machine",
        ),
        Step::Exec if failure.is_not_a_program() => (
            StartErrorKind::NonExecutable,
            "; a script needs a first line like #!/bin/sh, a program has to be built for this machine",
        ),
        Step::Limit(_) if failure.is_not_permitted() => {
            (StartErrorKind::InvalidSettings, "; it is above the hub's own hard limit, which nobody here may raise")
        }
        Step::OnTheWay => (
            StartErrorKind::SpawnFailed,
            "; somebody keeps stopping it, or its directory or program lies on a disk that hangs, so it was killed",
        ),
        Step::Credentials => (StartErrorKind::SpawnFailed, "; run.user and run.group need a hub that runs as root"),
        _ => (StartErrorKind::SpawnFailed, ""),
    };
    let of_program = program.as_ref().map(|program| format!(" of {program}")).unwrap_or_default();
    let description = format!("{}{of_program} failed: {}{hint}", step.as_str(), failure.error());
    StartError { kind, description, binary: program, at: SystemTime::now() }
}

/// Running, but nothing answers, or not as it should on its health path.
pub(crate) fn unbound(
    short: &Short,
    pid: i32,
    port: u16,
    gate: Duration,
    answer: Option<(&str, Trouble)>,
) -> StartError {
    let what = match answer {
        None => format!("nothing listens on 127.0.0.1:{port}"),
        Some((path, trouble)) => format!("http://127.0.0.1:{port}{path} {trouble}"),
    };
    let description = format!("{what} after {} ms (pid {pid} lives); see: parachute logs {short}", gate.as_millis());
    StartError { kind: StartErrorKind::StartedButUnbound, description, binary: None, at: SystemTime::now() }
}

/// The hub cannot look after it.
pub(crate) fn not_registered(short: &Short, error: &io::Error) -> StartError {
    let description = format!(
        "the hub has no thread or descriptor left for it: {error}; make room on the machine, then: parachute start {short}"
    );
    StartError { kind: StartErrorKind::SpawnFailed, description, binary: None, at: SystemTime::now() }
}

/// Running, and somebody else answers in its place.
pub(crate) fn bound_by(short: &Short, pid: i32, port: u16, stranger: &Holder) -> StartError {
    let description = format!(
        "127.0.0.1:{port} is held by {}, which is not of {short} (pid {pid} lives); end it, or set run.ready to none if \
         it listens for {short}",
        stranger.describe()
    );
    StartError { kind: StartErrorKind::StartedButUnbound, description, binary: None, at: SystemTime::now() }
}

/// Ended before it was ready.
pub(crate) fn exited_early(ended: Exit, killer: Killer, ran: Duration, short: &Short) -> StartError {
    let (ended, ran_ms) = (exit(ended, killer), ran.as_millis());
    let description = format!("it {ended} {ran_ms} ms after its start; see: parachute logs {short}");
    StartError { kind: StartErrorKind::ExitedEarly, description, binary: None, at: SystemTime::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_suspected_only_of_a_kill_that_is_not_ours() {
        for (signal, killer, suspected) in
            [(9, Killer::Unknown, true), (9, Killer::Us, false), (15, Killer::Unknown, false)]
        {
            let said = exit(Exit::Signal(signal), killer);
            assert_eq!(said.contains("perhaps because memory ran out"), suspected, "{said}");
        }
    }

    #[test]
    fn what_was_asked_and_answered_is_said() {
        let short = Short::parse("wiki").expect("a short");
        for (answer, expected) in [
            (None, "nothing listens on 127.0.0.1:1950 after 4000 ms (pid 7 lives); see: parachute logs wiki"),
            (
                Some(("/up", Trouble::Status(*b"503"))),
                "http://127.0.0.1:1950/up answers with status 503 after 4000 ms (pid 7 lives); see: parachute logs wiki",
            ),
            (
                Some(("/up", Trouble::Silent)),
                "http://127.0.0.1:1950/up gives no answer after 4000 ms (pid 7 lives); see: parachute logs wiki",
            ),
        ] {
            assert_eq!(unbound(&short, 7, 1950, Duration::from_secs(4), answer).description, expected);
        }
    }

    #[test]
    fn a_line_says_what_happened_and_what_comes_next() {
        let after = Duration::from_millis(500);
        for (given, last, expected) in [
            (
                Notice::Restarting { failures: 2, after },
                Some(Exit::Code(1)),
                "exited with code 1, failure 2 of 3 in 60 s, restarting in 500 ms",
            ),
            (
                Notice::Restarting { failures: 1, after: Duration::ZERO },
                Some(Exit::Signal(11)),
                "was ended by signal 11 (SEGV), failure 1 of 3 in 60 s, restarting at once",
            ),
            (
                Notice::Crashed { failures: 3, after: Some(Duration::from_secs(30)) },
                Some(Exit::Code(7)),
                "exited with code 7, crashed: 3 failures in 60 s, next retry in 30 s",
            ),
            (
                Notice::Crashed { failures: 1, after: None },
                Some(Exit::Code(7)),
                "exited with code 7, crashed: 1 failure in 60 s, giving up as run.giveUp says",
            ),
            (Notice::Blocked { after: None }, None, "crashed: it cannot be started; giving up as run.giveUp says"),
            (Notice::Stopped, Some(Exit::Code(0)), "stopped: it exited with code 0"),
            (Notice::Stopped, None, "stopped: it had not started"),
        ] {
            assert_eq!(notice(given, last.map(|exit| (exit, Killer::Us)), None), expected);
        }
    }
}
