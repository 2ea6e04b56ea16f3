//! Pure: from the hub's answer to what the user is told. The returned state decides, not the HTTP status alone.

use super::Answer;
use crate::cli::exit::Failure;
use crate::cli::out::printable;
use crate::cli::parse::Wait;
use crate::cli::verbs::names;
use crate::cli::verbs::status::exit_words;
use crate::client::{ClientError, Op};
use crate::manifest::Short;
use crate::wire::{Code, ErrorBody, ModuleState, OpReply, StartError, Status};
use serde::Deserialize;

/// What became of one target.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli::verbs) enum Verdict {
    Done {
        line: String,
        state: Option<Box<ModuleState>>,
    },
    /// Done, with a doubt.
    Warned {
        line: String,
        state: Option<Box<ModuleState>>,
    },
    Failed {
        failure: Box<Failure>,
        state: Option<Box<ModuleState>>,
    },
}

/// What the hub's answer to `op` means, going by what was waited for.
pub(in crate::cli::verbs) fn judge(op: Op, short: &Short, answer: &Answer, wait: Wait) -> Verdict {
    match (op, answer) {
        (_, Ok(OpReply { state: Some(state), stopped: None, .. })) if wait == Wait::Ordered => {
            ordered(op, short, state)
        }
        (Op::Stop, Ok(reply)) => stopped(short, reply.stopped, reply.state.as_ref()),
        (Op::Stop, Err(error)) if error.code() == Code::NotSupervised => not_running(short, None),
        (Op::Start | Op::Restart, Ok(reply)) => started(op, short, reply.state.as_ref(), wait),
        (_, Err(error)) => refused(op, short, error),
    }
}

fn stopped(short: &Short, stopped: Option<bool>, state: Option<&ModuleState>) -> Verdict {
    match state.map(|state| state.status) {
        Some(status @ (Status::Running | Status::Starting | Status::Restarting)) => Verdict::failed(
            Failure::new(
                Code::StopTimeout,
                format!("{short} did not stop: it is {}", status.as_str()),
                format!("see: parachute logs {short}"),
            ),
            state.cloned(),
        ),
        Some(Status::Stopped | Status::Crashed) | None if stopped == Some(false) => not_running(short, state),
        Some(Status::Stopped | Status::Crashed) | None => {
            Verdict::Done { line: format!("{short} stopped"), state: state.cloned().map(Box::new) }
        }
    }
}

/// The state is the one before anything of it is done.
fn ordered(op: Op, short: &Short, state: &ModuleState) -> Verdict {
    if op == Op::Stop && state.status == Status::Stopped {
        return not_running(short, Some(state));
    }
    Verdict::Done {
        line: format!("{} of {short} ordered; it was {}", op.as_str(), state.status.as_str()),
        state: Some(Box::new(state.clone())),
    }
}

fn not_running(short: &Short, state: Option<&ModuleState>) -> Verdict {
    Verdict::Done { line: format!("{short} was not running"), state: state.cloned().map(Box::new) }
}

fn started(op: Op, short: &Short, state: Option<&ModuleState>, wait: Wait) -> Verdict {
    let Some(state) = state else {
        let failure = Failure::new(Code::Failed, format!("{short}: the hub did not say what became of it"), SEE_STATUS);
        return Verdict::failed(failure, None);
    };
    let done = if op == Op::Restart { "restarted" } else { "started" };
    let pid = state.pid.map_or(String::new(), |pid| format!(" (pid {pid})"));
    match (state.status, &state.start_error) {
        (Status::Running, None) => {
            Verdict::Done { line: format!("{short} {done}{pid}"), state: Some(Box::new(state.clone())) }
        }
        (Status::Running, Some(error)) if wait != Wait::Reachable => Verdict::Warned {
            line: format!("{short} {done}{pid}, but: {}", first_line(error)),
            state: Some(Box::new(state.clone())),
        },
        // By its own policy that is no failure; see the waiters of the supervisor.
        (Status::Stopped, None) if wait != Wait::Reachable => {
            Verdict::Done { line: format!("{short} {done}, and has ended well"), state: Some(Box::new(state.clone())) }
        }
        _ => not_started(format!("{short} failed to start"), short, state.start_error.as_ref(), Some(state)),
    }
}

const SEE_STATUS: &str = "see: parachute status";

/// The message is one line; what else there is to say of the error is in the details, see [`on_terminal`].
fn not_started(what: String, short: &Short, error: Option<&StartError>, state: Option<&ModuleState>) -> Verdict {
    let reason = match (error, state) {
        (Some(error), _) => first_line(error),
        (None, Some(state)) => state_words(state),
        (None, None) => "the hub gave no reason".to_owned(),
    };
    let failure = Failure::new(Code::StartFailed, format!("{what}: {reason}"), format!("see: parachute logs {short}"));
    let failure = match error.and_then(|error| serde_json::to_value(error).ok()) {
        Some(details) => failure.with_details(details),
        None => failure,
    };
    Verdict::failed(failure, state.cloned())
}

fn state_words(state: &ModuleState) -> String {
    let exit = state.last_exit.as_ref().map_or(String::new(), |exit| format!(": {}", exit_words(exit)));
    format!("it is {}{exit}", state.status.as_str())
}

fn first_line(error: &StartError) -> String {
    printable(error.error_description.lines().next().unwrap_or(&error.error_type))
}

/// The message with what to do about a missing program below it.
pub(super) fn on_terminal(failure: &Failure) -> String {
    let error = failure.details.as_deref().and_then(|details| StartError::deserialize(details).ok());
    let missing = error.filter(StartError::is_missing_dependency);
    let headline = missing.as_ref().and_then(|error| failure.message.strip_suffix(&first_line(error)));
    match (missing, headline) {
        (Some(error), Some(headline)) => format!("{}{}", headline.trim_end(), missing_block(&error)),
        _ => failure.message.clone(),
    }
}

/// The install block of cli §14, indented below its headline.
fn missing_block(error: &StartError) -> String {
    let mut text = String::new();
    for line in error.error_description.lines() {
        text.push_str(&format!("\n  {}", printable(line)));
    }
    for (system, how) in error.install.iter().flatten() {
        text.push_str(&format!("\n  {}: {}", printable(system), printable(how)));
    }
    for more in [&error.docs_url, &error.sysadmin_hint].into_iter().flatten() {
        text.push_str(&format!("\n  {}", printable(more)));
    }
    text
}

fn refused(op: Op, short: &Short, error: &ClientError) -> Verdict {
    let ClientError::Refused { body, .. } = error else {
        return Verdict::failed(prefixed(short, Failure::of_client(error)), None);
    };
    let ErrorBody { state, error_detail, .. } = &**body;
    match error.code() {
        Code::StartFailed => {
            let detail = error_detail.as_ref().or(state.as_ref().and_then(|state| state.start_error.as_ref()));
            let what = match state {
                // What cannot start is seen before the child that runs is touched.
                Some(ModuleState { status: Status::Running, pid: Some(pid), .. }) if op == Op::Restart => {
                    format!("{short} is not restarted and runs on as it was (pid {pid})")
                }
                _ => format!("{short} failed to start"),
            };
            match (detail, state) {
                (None, None) => not_started(what, short, Some(&described(body)), None),
                _ => not_started(what, short, detail, state.as_ref()),
            }
        }
        Code::NotInstalled => Verdict::failed(names::not_installed(short.as_str()), state.clone()),
        Code::NoStartCmd => Verdict::failed(
            Failure::new(
                Code::NoStartCmd,
                format!("{short}: {}", printable(&body.error_description)),
                "give its .parachute/module.json a startCmd, then: parachute check",
            ),
            state.clone(),
        ),
        code @ (Code::InvalidRow | Code::InvalidConfig) => Verdict::failed(
            Failure::new(
                code,
                format!("{short}: {}", printable(&body.error_description)),
                "correct it, then: parachute check",
            ),
            state.clone(),
        ),
        Code::StopTimeout if op == Op::Stop => Verdict::failed(
            Failure::new(
                Code::StopTimeout,
                format!("{short} did not stop: {}", printable(&body.error_description)),
                format!("see: parachute logs {short}"),
            ),
            state.clone(),
        ),
        _ => Verdict::failed(prefixed(short, Failure::of_client(error)), state.clone()),
    }
}

/// A refusal without details, as a start error of its own.
fn described(body: &ErrorBody) -> StartError {
    StartError {
        error_type: body.error.clone(),
        error_description: body.error_description.clone(),
        binary: None,
        why: None,
        docs_url: None,
        install: None,
        sysadmin_hint: None,
        at: String::new(),
    }
}

fn prefixed(short: &Short, failure: Failure) -> Failure {
    let message = format!("{short}: {}", printable(&failure.message));
    Failure { message, ..failure }
}

/// The failure with the module's last lines, in the layout of cli §3.10 that scripts know.
pub(super) fn failure_block(message: &str, lines: &[String], path: &str) -> String {
    let mut text = format!("✗ {message}\n");
    if lines.is_empty() {
        text.push_str(&format!("  it printed nothing; its log file is {path}\n"));
        return text;
    }
    text.push_str(&format!("  ── last {} log line(s) ({path}) ──\n", lines.len()));
    for line in lines {
        text.push_str(&format!("  │ {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests;
