//! What `add` and `install` share: a module becomes a row of services.json, and the hub is told.

use super::discovery;
use super::lifecycle::{self, Verdict};
use super::ports::{self, Holder, Surroundings, Wish};
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report};
use crate::cli::parse::AfterRegistering;
use crate::cli::reach::{self, HEALTH_TIMEOUT, OP_TIMEOUT};
use crate::client::Op;
use crate::config::Config;
use crate::manifest::json::Packed;
use crate::manifest::services::{Document, Entry, Exposure, Listing};
use crate::manifest::{Problem, Short, known};
use crate::store::intent::Intent;
use crate::store::services::{EditError, Services};
use crate::store::{Create, Home, StoreError, identity};
use crate::sys::proc;
use crate::wire::Code;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

/// What to do about a manifest that cannot be used, or not here.
pub(super) const CORRECT: &str = "correct its .parachute/module.json, then install it again";
/// Enough of a command line to recognise a program.
const COMMAND_LINE_BYTES: usize = 512;

/// The row as it is to be.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) short: Short,
    pub(super) port: Wish,
    pub(super) paths: Vec<String>,
    pub(super) health: String,
    pub(super) version: String,
    pub(super) install_dir: PathBuf,
    pub(super) extras: Extras,
}

/// The fields beyond the required ones.
#[derive(Debug, Clone)]
pub(super) enum Extras {
    /// The command line says it all: what it leaves out is taken away.
    Exactly { run: Option<Value>, strip_prefix: Option<bool>, exposure: Option<Exposure> },
    /// The module's manifest decides, and the operator's own settings in the row stay.
    AsTheyAre,
}

/// What registering came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Unchanged,
    Added,
    Replaced,
}

/// Opens the home; an empty one is made, so that modules can be added before the first `serve`.
pub(super) fn home(config: &Config) -> Result<Home, Failure> {
    Home::open(&config.home, Create::Yes).map_err(|error| reach::store_failure(&error))
}

/// Writes the row under the lock of services.json. `prepare` runs with the port that was found, before the row is
/// written, and says whether the files beside the row changed; it may run again when somebody else writes in between.
pub(super) fn register(
    home: &Home,
    config: &Config,
    wanted: &Wanted,
    replace: bool,
    prepare: &dyn Fn(u16, Prepare) -> Result<bool, Failure>,
    out: &mut Out,
) -> Result<(u16, Change), Failure> {
    let hub = identity::read(home).map_or(config.port, |identity| identity.port);
    if wanted.install_dir.to_str().is_none() {
        return Err(Failure::new(
            Code::InvalidConfig,
            format!("{} is not UTF-8, which services.json needs", wanted.install_dir.display()),
            "give the home another name, and say so by PARACHUTE_HOME",
        ));
    }
    let mut written = None;
    let outcome = edit(&Services::new(home.clone()), out, |document| {
        let (port, change) = match decide(document, wanted, hub, replace, prepare, &is_free, &holder) {
            Ok(decided) => decided,
            Err(failure) => return Ok(Err(failure)),
        };
        if change == Change::Unchanged {
            return Ok(Ok((port, change)));
        }
        let before = document.clone();
        for field in stale_fields(document, wanted) {
            document.set_field(&wanted.name, field, None)?;
        }
        document.upsert(row(wanted, port))?;
        // Last, so that a refused row leaves no file behind, and before the row, which the hub acts on.
        if let Err(failure) = prepare(port, Prepare::Write) {
            *document = before;
            return Ok(Err(failure));
        }
        written = Some(port);
        Ok(Ok((port, change)))
    });
    let failure = match outcome {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(failure)) => failure,
        // The row is there, and what stands beside it belongs to it.
        Err(error @ EditError::Store(StoreError::Unsettled { .. })) => return Err(edit_failure(&error)),
        Err(error @ EditError::Refused(_)) if matches!(wanted.extras, Extras::AsTheyAre) => {
            Failure { hint: CORRECT.to_owned(), ..edit_failure(&error) }
        }
        Err(error) => edit_failure(&error),
    };
    match written.map_or(Ok(true), |port| prepare(port, Prepare::TakeBack)) {
        Ok(_) => Err(failure),
        Err(worse) => {
            let message = format!("{}; its manifest is changed already: {}", failure.message, worse.message);
            Err(Failure { message, ..failure })
        }
    }
}

/// Edits services.json, and tells what had to be put aside for that.
pub(super) fn edit<T>(
    services: &Services,
    out: &mut Out,
    edit: impl FnMut(&mut Document) -> Result<T, Problem>,
) -> Result<T, EditError> {
    let outcome = services.edit(edit);
    for recovery in services.take_recoveries() {
        out.warn(&recovery.to_string());
    }
    outcome
}

/// What `prepare` is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prepare {
    /// Only say whether something would change.
    Look,
    Write,
    /// The row could not be written: what stood there before stands there again.
    TakeBack,
}

fn decide(
    document: &Listing,
    wanted: &Wanted,
    hub: u16,
    replace: bool,
    prepare: &dyn Fn(u16, Prepare) -> Result<bool, Failure>,
    is_free: &dyn Fn(u16) -> bool,
    holder: &dyn Fn(u16) -> Option<Holder>,
) -> Result<(u16, Change), Failure> {
    let ours = |entry: &&Entry| entry.name == wanted.name || entry.short.as_ref() == Some(&wanted.short);
    let own = document.entries().iter().find(ours);
    if let Some(other) = own.filter(|entry| entry.name != wanted.name) {
        return Err(conflict(
            format!("{} is already the module of the row {}", wanted.short, other.name),
            format!("remove it first: parachute remove {}", wanted.short),
        ));
    }
    let others = || document.entries().iter().filter(|entry| !ours(entry)).filter_map(|entry| entry.row.as_ref().ok());
    let rows: BTreeMap<u16, String> = others().map(|row| (row.port.get(), row.name.clone())).collect();
    let around = Surroundings {
        own: own.and_then(|entry| entry.row.as_ref().ok()).map(|row| row.port.get()),
        rows: &rows,
        hub,
        is_anothers: &|port| known::by_port(port).is_some_and(|known| known.short != wanted.short.as_str()),
        is_free,
        holder,
    };
    let port = ports::choose(wanted.port, &around)?;
    for path in &wanted.paths {
        if let Some(holder) = others().find(|row| row.paths.iter().any(|other| same_mount(other, path))) {
            return Err(conflict(
                format!("the path {path} is already the path of {}", holder.name),
                "give another path, or remove that module first".to_owned(),
            ));
        }
    }
    match own {
        None => Ok((port, Change::Added)),
        Some(entry) if is_as_wanted(entry, wanted, port) && !prepare(port, Prepare::Look)? => {
            Ok((port, Change::Unchanged))
        }
        Some(_) if replace => Ok((port, Change::Replaced)),
        Some(_) => Err(conflict(
            format!("{} exists and is not the same", wanted.short),
            format!("change it with: --replace, or remove it: parachute remove {}", wanted.short),
        )),
    }
}

fn conflict(message: String, hint: String) -> Failure {
    Failure::new(Code::Conflict, message, hint)
}

fn same_mount(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn is_as_wanted(entry: &Entry, wanted: &Wanted, port: u16) -> bool {
    let Ok(row) = &entry.row else { return false };
    let extras = match &wanted.extras {
        Extras::AsTheyAre => true,
        Extras::Exactly { run, strip_prefix, exposure } => {
            row.run.as_ref().map(Packed::value) == *run
                && row.strip_prefix == *strip_prefix
                && row.public_exposure == *exposure
        }
    };
    extras
        && row.port.get() == port
        && row.paths == wanted.paths
        && row.refused_paths.is_empty()
        && row.health == wanted.health
        && row.install_dir.as_deref() == Some(wanted.install_dir.as_path())
}

/// Fields of the row that the new command line no longer sets.
fn stale_fields(document: &Listing, wanted: &Wanted) -> Vec<&'static str> {
    let Extras::Exactly { run, strip_prefix, exposure } = &wanted.extras else { return Vec::new() };
    if !document.entries().iter().any(|entry| entry.name == wanted.name) {
        return Vec::new();
    }
    [("run", run.is_none()), ("stripPrefix", strip_prefix.is_none()), ("publicExposure", exposure.is_none())]
        .into_iter()
        .filter_map(|(field, stale)| stale.then_some(field))
        .collect()
}

fn row(wanted: &Wanted, port: u16) -> Value {
    let mut row = Map::new();
    row.insert("name".into(), json!(wanted.name));
    row.insert("port".into(), json!(port));
    row.insert("paths".into(), json!(wanted.paths));
    row.insert("health".into(), json!(wanted.health));
    row.insert("version".into(), json!(wanted.version));
    row.insert("installDir".into(), json!(wanted.install_dir.to_string_lossy()));
    if let Extras::Exactly { run, strip_prefix, exposure } = &wanted.extras {
        let exposure = exposure.map(Exposure::as_str);
        let fields = [("stripPrefix", json!(strip_prefix)), ("publicExposure", json!(exposure)), ("run", json!(run))];
        row.extend(fields.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.into(), value)));
    }
    Value::Object(row)
}

/// Binds and closes: a program that listens on one address only is noticed too, also on one that this machine may not
/// have. Rust sets SO_REUSEADDR, which on Linux does not let a second listener in.
fn is_free(port: u16) -> bool {
    let addresses = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()];
    let is_taken = |error: io::Error| error.kind() == io::ErrorKind::AddrInUse;
    !addresses.into_iter().any(|address| TcpListener::bind((address, port)).is_err_and(is_taken))
}

/// Looks through /proc, which is slow: only for the diagnosis. `None` also for a process that may not be looked at.
fn holder(port: u16) -> Option<Holder> {
    let inodes = proc::listening_inodes(port);
    let mut pids = proc::pids().unwrap_or_default().into_iter();
    let pid = pids.find(|pid| !inodes.is_empty() && proc::holds_socket(*pid, &inodes) == Some(true))?;
    Some(Holder { pid, command: proc::command_line(pid, COMMAND_LINE_BYTES) })
}

pub(super) fn edit_failure(error: &EditError) -> Failure {
    match error {
        EditError::Store(error) => reach::store_failure(error),
        EditError::Refused(problem) => refused(problem),
    }
}

/// A value that services.json cannot take.
fn refused(problem: &Problem) -> Failure {
    let message = format!("services.json cannot take this module: {problem}");
    Failure::new(Code::Conflict, message, "give it another value; see: parachute add --help")
}

/// Says what was registered and has the hub start it, unless it is down or is not to.
pub(super) fn finish(
    home: &Home,
    config: &Config,
    wanted: &Wanted,
    (port, change): (u16, Change),
    after: AfterRegistering,
    timeout: Option<Duration>,
    out: &mut Out,
) -> Result<Report, Failure> {
    discovery::refresh(home, config, out);
    let short = &wanted.short;
    let words = match change {
        Change::Unchanged => "unchanged",
        Change::Added => "registered",
        Change::Replaced => "replaced",
    };
    let data = |verdict: Option<&Verdict>| {
        json!({
            "module": short.as_str(), "change": words, "port": port, "paths": wanted.paths,
            "started": verdict.is_some_and(|verdict| !matches!(verdict, Verdict::Failed { .. })),
        })
    };
    let at = wanted.paths.first().map_or(String::new(), |path| format!(" at {path}"));
    if after.no_start {
        // It may run, as what it was.
        let verb = if change == Change::Replaced { "restart" } else { "start" };
        out.done(&format!("✓ {short} {words}: port {port}{at}; {verb} it with: parachute {verb} {short}"));
        return Ok(Report::of(data(None)));
    }
    let mut up = match reach::hub(home, HEALTH_TIMEOUT) {
        Ok(Some(up)) => up,
        Ok(None) => {
            // Of an earlier module of this name, or of this one: to register it again is to want it up.
            Intent::set_without_hub(home, short, false)
                .map_err(|error| not_started(short, words, reach::store_failure(&error)))?;
            out.done(&format!("✓ {short} {words}: port {port}{at}; it starts with the hub: parachute serve"));
            return Ok(Report::of(data(None)));
        }
        Err(error) => return Err(not_started(short, words, Failure::of_client(&error))),
    };
    up.authorise(home, config, out).map_err(|failure| not_started(short, words, failure))?;
    up.client.set_timeout(timeout.unwrap_or(OP_TIMEOUT));
    out.done(&format!("✓ {short} {words}: port {port}{at}"));
    // An unchanged one that runs stays as it is: `start` is idempotent.
    let op = if change == Change::Replaced { Op::Restart } else { Op::Start };
    let verdict = lifecycle::act(&up.client, op, short, after.wait, out);
    let failure = lifecycle::show(&verdict, Some(short), Some(&up.client), home, out);
    Ok(Report { data: data(Some(&verdict)), failure })
}

fn not_started(short: &Short, words: &str, failure: Failure) -> Failure {
    let message = format!("{short} is {words}, but cannot be started: {}", failure.message);
    Failure { message, ..failure }
}

#[cfg(test)]
mod tests;
