//! Pure: the supervisor's words in the words of the API.

use crate::stamp::iso;
use crate::supervisor::{Snapshot, StartError, StartErrorKind, Status};
use crate::sys::process::Exit;
use crate::wire;
use std::time::SystemTime;

/// `next_retry_at` is the snapshot's, which takes a clock to tell.
pub(crate) fn module_state(snapshot: &Snapshot, next_retry_at: Option<SystemTime>) -> wire::ModuleState {
    wire::ModuleState {
        short: snapshot.short.to_string(),
        status: status(snapshot.status),
        ready: snapshot.ready,
        pid: snapshot.pid,
        started_at: snapshot.started_at.map(iso),
        restarts_in_window: snapshot.restarts_in_window,
        restarts_total: snapshot.restarts_total,
        last_crash_at: snapshot.last_crash_at.map(iso),
        last_exit_code: snapshot.last_exit.map(|(exit, _)| exit_code(exit)),
        last_exit: snapshot.last_exit.map(last_exit),
        next_retry_at: next_retry_at.map(iso),
        start_error: snapshot.start_error.as_ref().map(start_error),
    }
}

pub(crate) fn status(status: Status) -> wire::Status {
    match status {
        Status::Starting => wire::Status::Starting,
        Status::Running => wire::Status::Running,
        Status::Stopped => wire::Status::Stopped,
        Status::Crashed => wire::Status::Crashed,
        Status::Restarting => wire::Status::Restarting,
    }
}

/// Supervisor §8; the words after `started_but_unbound` are ours.
pub(crate) fn start_error(error: &StartError) -> wire::StartError {
    let error_type = match error.kind {
        StartErrorKind::NotInstalled => "not_installed",
        StartErrorKind::NoStartCommand => "no_start_cmd",
        StartErrorKind::MissingDependency => wire::StartError::MISSING_DEPENDENCY,
        StartErrorKind::NonExecutable => "non_executable",
        StartErrorKind::MissingCwd => "missing_cwd",
        StartErrorKind::PortSquatter => "port_squatter",
        StartErrorKind::StartedButUnbound => "started_but_unbound",
        StartErrorKind::InvalidSettings => "invalid_settings",
        StartErrorKind::SpawnFailed => "spawn_failed",
        StartErrorKind::ExitedEarly => "exited_early",
    };
    wire::StartError {
        error_type: error_type.to_owned(),
        error_description: error.description.clone(),
        binary: error.binary.clone(),
        why: None,
        docs_url: None,
        install: None,
        sysadmin_hint: None,
        at: iso(error.at),
    }
}

pub(crate) fn last_exit((exit, at): (Exit, SystemTime)) -> wire::LastExit {
    let (code, signal) = match exit {
        Exit::Code(code) => (Some(code), None),
        Exit::Signal(signal) => (None, Some(signal)),
    };
    wire::LastExit { code, signal, at: iso(at) }
}

/// What a shell would show: death by signal n is 128+n (supervisor §12).
fn exit_code(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => signal.saturating_add(128),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::manifest::Short;
    use std::time::{Duration, UNIX_EPOCH};

    /// A module of which only this is known.
    pub(in crate::ops) fn snapshot(short: &str, status: Status) -> Snapshot {
        Snapshot { status, ..Snapshot::stopped(Short::parse(short).expect("a short")) }
    }

    #[test]
    fn a_crashed_module_reads_as_the_contract_has_it() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let snapshot = Snapshot {
            pid: Some(7),
            started_at: Some(at(1)),
            started: None,
            restarts_in_window: 3,
            restarts_total: 9,
            last_crash_at: Some(at(2)),
            last_exit: Some((Exit::Signal(9), at(2))),
            start_error: Some(StartError {
                kind: StartErrorKind::PortSquatter,
                description: "port 1940 is held".to_owned(),
                binary: None,
                at: at(2),
            }),
            ..snapshot("vault", Status::Crashed)
        };
        let state = module_state(&snapshot, Some(at(3)));
        assert_eq!(
            serde_json::to_string(&state).expect("plain data"),
            "{\"short\":\"vault\",\"status\":\"crashed\",\"ready\":false,\"pid\":7,\
             \"startedAt\":\"1970-01-01T00:00:01.000Z\",\"restartsInWindow\":3,\"restartsTotal\":9,\
             \"lastCrashAt\":\"1970-01-01T00:00:02.000Z\",\"lastExitCode\":137,\
             \"lastExit\":{\"code\":null,\"signal\":9,\"at\":\"1970-01-01T00:00:02.000Z\"},\
             \"nextRetryAt\":\"1970-01-01T00:00:03.000Z\",\
             \"startError\":{\"error_type\":\"port_squatter\",\"error_description\":\"port 1940 is held\",\
             \"at\":\"1970-01-01T00:00:02.000Z\"}}"
        );
    }

    #[test]
    fn what_is_not_known_of_a_missing_program_is_told_as_such() {
        let of = |kind| {
            let binary = Some("ffmpeg".to_owned());
            let error = StartError { kind, description: "no".to_owned(), binary, at: UNIX_EPOCH };
            serde_json::to_string(&start_error(&error)).expect("plain data")
        };
        let at = "\"at\":\"1970-01-01T00:00:00.000Z\"}";
        assert_eq!(
            of(StartErrorKind::MissingDependency),
            format!(
                "{{\"error_type\":\"missing_dependency\",\"error_description\":\"no\",\"binary\":\"ffmpeg\",\
                 \"why\":null,\"docs_url\":null,\"install\":{{}},{at}"
            )
        );
        assert_eq!(
            of(StartErrorKind::NonExecutable),
            format!("{{\"error_type\":\"non_executable\",\"error_description\":\"no\",\"binary\":\"ffmpeg\",{at}")
        );
    }
}
