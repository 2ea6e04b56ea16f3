//! Pure: one `run` object laid over settings.

use super::{EnvSettings, Limits, Live, LogSettings, Probe, Ready, Restart, Run, StopSignal};
use crate::manifest::fields::{boolean, filled, is_variable_name, object, string, strings, whole, wrong};
use crate::manifest::{Problem, Short};
use serde_json::Value;
use std::time::Duration;

/// Longer waits are typing mistakes: nothing should hold a stop or a start for over an hour.
const WAIT_MAX_MS: u64 = 3_600_000;
/// A live check more often than this is load, not a check.
const LIVE_INTERVAL_MIN_MS: u64 = 100;
const LIVE_FAILURES_MAX: u64 = 1_000;
/// Smaller log files would rotate within a handful of lines.
const LOG_MIN_BYTES: u64 = 4 << 10;
const LOG_MAX_BYTES: u64 = 1 << 30;
const LOG_FILES_MAX: u64 = 100;
/// The bits that a umask can take away.
const UMASK_MAX: u32 = 0o777;
/// What the hub decides and a setting must not contradict.
const FIXED_VARIABLES: &[&str] = &["PORT", "PARACHUTE_HOME"];

/// Overrides what `layer` names. Fields of a problem are relative to `run`.
pub(super) fn apply(run: &mut Run, layer: &Value) -> Result<(), Problem> {
    for (key, value) in object(layer, "")? {
        match key.as_str() {
            "restart" => run.restart = restart(value)?,
            "giveUp" => run.give_up = boolean(value, key)?,
            "stopSignal" => run.stop_signal = stop_signal(value)?,
            "stopTimeoutMs" => run.stop_timeout = wait(value, key, 0)?,
            "dependsOn" => run.depends_on = shorts(value, key)?,
            "ready" => ready(&mut run.ready, value).map_err(|problem| problem.within(key))?,
            "live" => live(&mut run.live, value).map_err(|problem| problem.within(key))?,
            "essential" => run.essential = boolean(value, key)?,
            "limits" => limits(&mut run.limits, value).map_err(|problem| problem.within(key))?,
            "user" => run.user = Some(filled(value, key)?.to_owned()),
            "group" => run.group = Some(filled(value, key)?.to_owned()),
            "umask" => run.umask = Some(umask(value)?),
            "cwd" => run.cwd = Some(filled(value, key)?.to_owned()),
            "logs" => logs(&mut run.logs, value).map_err(|problem| problem.within(key))?,
            "env" => env(&mut run.env, value).map_err(|problem| problem.within(key))?,
            "watch" => run.watch = paths(value, key)?,
            "holdMs" => run.hold = wait(value, key, 0)?,
            "hubCredentials" => run.hub_credentials = boolean(value, key)?,
            "verifyKeys" => run.verify_keys = boolean(value, key)?,
            "proofHeaders" => run.proof_headers = boolean(value, key)?,
            _ => return Err(unknown(key)),
        }
    }
    Ok(())
}

fn unknown(key: &str) -> Problem {
    Problem::new(key, "is not a setting")
}

fn wait(value: &Value, field: &str, least_ms: u64) -> Result<Duration, Problem> {
    whole(value, field, least_ms, WAIT_MAX_MS).map(Duration::from_millis)
}

fn restart(value: &Value) -> Result<Restart, Problem> {
    match value.as_str() {
        Some("always") => Ok(Restart::Always),
        Some("on-failure") => Ok(Restart::OnFailure),
        Some("never") => Ok(Restart::Never),
        _ => Err(wrong("restart", "\"always\", \"on-failure\" or \"never\"", value)),
    }
}

fn stop_signal(value: &Value) -> Result<StopSignal, Problem> {
    match value.as_str().map(|text| text.strip_prefix("SIG").unwrap_or(text)) {
        Some("TERM") => Ok(StopSignal::Term),
        Some("INT") => Ok(StopSignal::Int),
        Some("HUP") => Ok(StopSignal::Hup),
        Some("QUIT") => Ok(StopSignal::Quit),
        Some("USR1") => Ok(StopSignal::Usr1),
        Some("USR2") => Ok(StopSignal::Usr2),
        Some("KILL") => Ok(StopSignal::Kill),
        Some("WINCH") => Ok(StopSignal::Winch),
        _ => Err(wrong("stopSignal", "TERM, INT, HUP, QUIT, USR1, USR2, KILL or WINCH", value)),
    }
}

fn shorts(value: &Value, field: &str) -> Result<Vec<Short>, Problem> {
    let one = |(index, name): (usize, &String)| {
        Short::parse(name).map_err(|problem| Problem::new(format!("{field}[{index}]"), problem.reason))
    };
    strings(value, field)?.iter().enumerate().map(one).collect()
}

fn paths(value: &Value, field: &str) -> Result<Vec<String>, Problem> {
    let paths = strings(value, field)?;
    match paths.iter().position(String::is_empty) {
        Some(index) => Err(Problem::new(format!("{field}[{index}]"), "must not be empty")),
        None => Ok(paths),
    }
}

fn probe(value: &Value, field: &str) -> Result<Probe, Problem> {
    match value.as_str() {
        Some("port") => Ok(Probe::Port),
        Some("http") => Ok(Probe::Http),
        Some("none") => Ok(Probe::None),
        _ => Err(wrong(field, "\"port\", \"http\" or \"none\"", value)),
    }
}

fn ready(ready: &mut Ready, value: &Value) -> Result<(), Problem> {
    if value.is_string() {
        ready.probe = probe(value, "")?;
        return Ok(());
    }
    for (key, value) in object(value, "")? {
        match key.as_str() {
            "probe" => ready.probe = probe(value, key)?,
            "timeoutMs" => ready.timeout = wait(value, key, 1)?,
            _ => return Err(unknown(key)),
        }
    }
    Ok(())
}

/// `"none"`, alone or as the probe, takes away what an earlier layer asked for.
fn live(live: &mut Option<Live>, value: &Value) -> Result<(), Problem> {
    let mut check = live.take().unwrap_or_default();
    if value.is_string() {
        check.probe = probe(value, "")?;
    } else {
        for (key, value) in object(value, "")? {
            match key.as_str() {
                "probe" => check.probe = probe(value, key)?,
                "intervalMs" => check.interval = wait(value, key, LIVE_INTERVAL_MIN_MS)?,
                "timeoutMs" => check.timeout = wait(value, key, 1)?,
                "failures" => check.failures = small(value, key, LIVE_FAILURES_MAX)?,
                _ => return Err(unknown(key)),
            }
        }
    }
    *live = (check.probe != Probe::None).then_some(check);
    Ok(())
}

fn small(value: &Value, field: &str, most: u64) -> Result<u32, Problem> {
    let number = whole(value, field, 1, most)?;
    u32::try_from(number).map_err(|_| wrong(field, &format!("an integer 1..{most}"), value))
}

fn limits(limits: &mut Limits, value: &Value) -> Result<(), Problem> {
    for (key, value) in object(value, "")? {
        let limit = match key.as_str() {
            "nofile" => &mut limits.nofile,
            "core" => &mut limits.core,
            "fsize" => &mut limits.fsize,
            "as" => &mut limits.as_bytes,
            "nproc" => &mut limits.nproc,
            "cpu" => &mut limits.cpu,
            "memlock" => &mut limits.memlock,
            "stack" => &mut limits.stack,
            _ => return Err(unknown(key)),
        };
        *limit = Some(whole(value, key, 0, u64::MAX)?);
    }
    Ok(())
}

/// Octal digits in a string: a JSON number would be read as decimal.
fn umask(value: &Value) -> Result<u32, Problem> {
    let digits =
        value.as_str().filter(|text| (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()));
    digits
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .filter(|mask| *mask <= UMASK_MAX)
        .ok_or_else(|| wrong("umask", "a string of octal digits up to \"777\", such as \"027\"", value))
}

fn logs(logs: &mut LogSettings, value: &Value) -> Result<(), Problem> {
    for (key, value) in object(value, "")? {
        match key.as_str() {
            "maxBytes" => logs.max_bytes = whole(value, key, LOG_MIN_BYTES, LOG_MAX_BYTES)?,
            "files" => logs.files = small(value, key, LOG_FILES_MAX)?,
            "file" => logs.file = boolean(value, key)?,
            "console" => logs.console = boolean(value, key)?,
            _ => return Err(unknown(key)),
        }
    }
    Ok(())
}

fn env(env: &mut EnvSettings, value: &Value) -> Result<(), Problem> {
    for (key, value) in object(value, "")? {
        match key.as_str() {
            "inherit" => env.inherit = boolean(value, key)?,
            "set" => {
                for (name, value) in object(value, key)? {
                    variable(&mut env.set, name, value).map_err(|problem| problem.within(key))?;
                }
            }
            _ => return Err(unknown(key)),
        }
    }
    Ok(())
}

fn variable(set: &mut Vec<(String, String)>, name: &str, value: &Value) -> Result<(), Problem> {
    if !is_variable_name(name) {
        return Err(Problem::new(
            name,
            "is not a variable's name: letters, digits and \"_\", not beginning with a digit",
        ));
    }
    if FIXED_VARIABLES.contains(&name) {
        return Err(Problem::new(name, "is set by the hub and cannot be set here"));
    }
    let value = string(value, name)?.to_owned();
    match set.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => set.push((name.to_owned(), value)),
    }
    Ok(())
}
