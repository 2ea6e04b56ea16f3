//! `start`, `stop`, `restart`: calls to the running hub, and what their answers mean.

mod judge;

pub(super) use judge::{Verdict, judge};

use super::names::{self, HUB};
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report, printable};
use crate::cli::parse::Wait;
use crate::cli::reach::{self, BOOT_TIMEOUT, OP_TIMEOUT, Up};
use crate::client::{Client, ClientError, Op};
use crate::config::Config;
use crate::logs::follow;
use crate::manifest::Short;
use crate::store::intent::Intent;
use crate::store::services::Services;
use crate::store::{Create, Home, StoreError};
use crate::wire::{Code, ModuleState, OpReply};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How many of the last lines a failure shows.
const LINES_SHOWN: usize = 20;

pub(super) fn run(
    op: Op,
    names: &[String],
    wait: Wait,
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<Report, Failure> {
    let home = match Home::open(&config.home, Create::No) {
        Ok(home) => home,
        // No home, so no hub either.
        Err(StoreError::NoHome { .. }) if op == Op::Stop && names.iter().all(|name| name == HUB) => {
            out.done("✓ hub is already stopped");
            return Ok(Report::of(json!({ "results": [] })));
        }
        Err(error) => return Err(reach::store_failure(&error)),
    };
    let hub_only = [HUB.to_owned()];
    let names = if names.is_empty() { &hub_only } else { names };
    let list = Services::new(home.clone()).read();
    let resolve = |name: &str| match &list {
        Ok(document) => names::resolve(document, name),
        // A hub that runs knows its modules by the list as it was.
        Err(error) => Short::parse(name).map_err(|_| reach::store_failure(error)),
    };
    // A mistyped name is told before anything is started or stopped.
    let targets = names
        .iter()
        .map(|name| if name == HUB { Ok(None) } else { resolve(name).map(Some) })
        .collect::<Result<Vec<Option<Short>>, Failure>>()?;
    let find_hub = || {
        reach::hub(&home, BOOT_TIMEOUT.min(timeout.unwrap_or(OP_TIMEOUT))).map_err(|error| Failure::of_client(&error))
    };
    let mut hub = find_hub()?;
    let has_modules = targets.iter().any(Option::is_some);
    match (&list, &hub) {
        (Err(error), None) if op != Op::Stop && has_modules => return Err(reach::store_failure(error)),
        (Err(error), _) => out.warn(&error.to_string()),
        (Ok(_), _) => {}
    }
    let mut unkept = BTreeMap::new();
    if hub.is_none() && op == Op::Stop && has_modules {
        for short in targets.iter().flatten() {
            let process = list.as_ref().map_or_else(|_| short.clone(), |list| list.process_of(short));
            if let Err(error) = Intent::set_without_hub(&home, &process, true) {
                unkept.insert(short.clone(), error);
            }
        }
        // One that has begun meanwhile may have started them before it could know.
        hub = find_hub()?;
    }
    if let Some(up) = hub.as_mut().filter(|_| has_modules) {
        up.authorise(&home, config, out)?;
        up.client.set_timeout(timeout.unwrap_or(OP_TIMEOUT));
    }
    // Asked once, however many targets need it.
    let down = match &hub {
        None if op != Op::Stop && has_modules => Some(reach::down(&home, config)),
        None | Some(_) => None,
    };
    let mut results = Vec::new();
    let mut first_failure = None;
    for target in &targets {
        let outcome = match (target, &hub) {
            (None, hub) => of_hub(op, hub.as_ref()),
            (Some(short), Some(up)) => Ok(act(&up.client, op, short, wait, out)),
            (Some(short), None) => match (&down, unkept.get(short)) {
                (None, None) => Ok(Verdict::done(format!(
                    "{short} is already stopped: the hub is down; it stays stopped until: parachute start {short}"
                ))),
                (None, Some(error)) => Err(not_kept(short, error)),
                (Some(failure), _) => {
                    Err(Failure { message: format!("{short}: {}", failure.message), ..failure.clone() })
                }
            },
        };
        let name = target.as_ref().map_or(HUB, |short| short.as_str());
        let outcome = outcome.unwrap_or_else(|failure| Verdict::failed(failure, None));
        let client = hub.as_ref().map(|up| &up.client);
        results.push(to_json(name, &outcome, out));
        if let Some(failure) = show(&outcome, target.as_ref(), client, &home, out) {
            first_failure.get_or_insert(failure);
        }
    }
    Ok(Report { data: json!({ "results": results }), failure: first_failure })
}

/// It does not run, but the next hub will start it.
fn not_kept(short: &Short, error: &StoreError) -> Failure {
    let failure = reach::store_failure(error);
    let message = format!("{short}: the hub is down; that {short} is to stay stopped is not kept: {}", failure.message);
    Failure { message, ..failure }
}

/// The hub as a target. What started it ends it, and who that is cannot be known: it is only looked at.
fn of_hub(op: Op, hub: Option<&Up>) -> Result<Verdict, Failure> {
    match (op, hub) {
        (Op::Start, Some(up)) => Ok(Verdict::done(format!(
            "hub is up on 127.0.0.1:{} (pid {}); how its modules are: parachute status",
            up.identity.port, up.identity.pid
        ))),
        (Op::Stop, None) => Ok(Verdict::done("hub is already stopped".to_owned())),
        (Op::Stop | Op::Restart, Some(up)) => {
            let pid = up.identity.pid;
            let verb = op.as_str();
            let then = if op == Op::Restart { "; then start it there again" } else { "" };
            // In another pid namespace its number is that of somebody else here.
            let (place, kill) = match up.identity.is_alive() {
                true => (format!("(pid {pid})"), format!(", or: kill -TERM {pid}")),
                false => (format!("in another container or pid namespace (pid {pid} there)"), String::new()),
            };
            Err(Failure::new(
                Code::NoUnit,
                format!("parachute does not {verb} the hub itself, which runs {place}"),
                format!("end it where it was started: with Ctrl-C or its service manager{kill}{then}"),
            ))
        }
        (Op::Start | Op::Restart, None) => Err(Failure::new(
            Code::HubDown,
            "the hub is down, and parachute does not start it in the background",
            "start it by its service manager, or with: parachute serve",
        )),
    }
}

/// Does it, says what the hub warns of, and judges the answer. A restart of what does not run is a start.
pub(super) fn act(client: &Client, op: Op, short: &Short, wait: Wait, out: &mut Out) -> Verdict {
    let ask = |op| match wait {
        Wait::Ordered => client.order(short.as_str(), op),
        Wait::Done | Wait::Reachable => client.op(short.as_str(), op),
    };
    let (op, answer) = match ask(op) {
        Err(error) if op == Op::Restart && error.code() == Code::NotSupervised => (Op::Start, ask(Op::Start)),
        answer => (op, answer),
    };
    answer.iter().flat_map(|reply| &reply.warnings).for_each(|warning| out.warn(&printable(warning)));
    judge(op, short, &answer, wait)
}

/// Prints what became of one target; the failure comes back, its reason already shown.
pub(super) fn show(
    verdict: &Verdict,
    short: Option<&Short>,
    client: Option<&Client>,
    home: &Home,
    out: &mut Out,
) -> Option<Failure> {
    match verdict {
        Verdict::Done { line, .. } => {
            out.done(&format!("✓ {line}"));
            None
        }
        Verdict::Warned { line, .. } => {
            out.warn(line);
            None
        }
        Verdict::Failed { failure, .. } => {
            let mut text = format!("✗ {}\n", failure.message);
            if let Some(short) = short.filter(|_| failure.code == Code::StartFailed) {
                let path = log_path(home, short);
                let lines = last_lines(client, short, &path);
                text = judge::failure_block(&judge::on_terminal(failure), &lines, &path.display().to_string());
            }
            out.problem(&format!("{text}  {}\n", failure.hint));
            Some(failure.clone().already_shown())
        }
    }
}

pub(super) fn log_path(home: &Home, short: &Short) -> PathBuf {
    home.log_dir(short).join(format!("{short}.log"))
}

/// What the module said last: from the hub, which knows more, else from its file.
fn last_lines(client: Option<&Client>, short: &Short, path: &std::path::Path) -> Vec<String> {
    let from_hub = client.and_then(|client| client.logs(short.as_str(), None, Duration::ZERO).ok());
    let mut lines: Vec<String> = match from_hub {
        Some(reply) => reply.entries.into_iter().map(|entry| entry.text).collect(),
        None => follow::tail(path, LINES_SHOWN).unwrap_or_default().into_iter().map(|line| line.text).collect(),
    };
    lines.drain(..lines.len().saturating_sub(LINES_SHOWN));
    lines.iter().map(|line| printable(line)).collect()
}

fn to_json(name: &str, verdict: &Verdict, out: &Out) -> Value {
    match verdict {
        Verdict::Done { line, state } => {
            json!({ "module": name, "ok": true, "message": out.at_home(line), "state": state })
        }
        Verdict::Warned { line, state } => {
            json!({ "module": name, "ok": true, "message": out.at_home(line), "warning": true, "state": state })
        }
        Verdict::Failed { failure, state } => json!({
            "module": name, "ok": false, "message": out.at_home(&failure.message), "code": failure.code,
            "exit": failure.exit.number(), "state": state,
        }),
    }
}

/// What `judge` works on.
type Answer = Result<OpReply, ClientError>;

impl Verdict {
    fn done(line: String) -> Self {
        Self::Done { line, state: None }
    }

    pub(super) fn failed(failure: Failure, state: Option<ModuleState>) -> Self {
        Self::Failed { failure: Box::new(failure), state: state.map(Box::new) }
    }
}
