//! `status`: every module and the hub, from the hub where it answers and from the files where it does not.

mod probe;
mod rows;
mod table;
mod watch;
mod when;

use super::names::{self, HUB};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{Out, Report};
use crate::cli::parse::How;
use crate::cli::reach::{self, HEALTH_TIMEOUT, START_HUB, Up};
use crate::config::Config;
use crate::manifest::services::Listing;
use crate::shell::quoted;
use crate::store::services::Services;
use crate::store::{Create, Home, StoreError, identity};
use crate::sys::proc;
use crate::wire::{Code, ModuleList};
pub(super) use rows::exit_words;
use rows::{HubRow, ModuleRow, State};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is shown: every module and the hub, or only those that were named.
#[derive(Debug)]
struct Shown {
    hub: HubRow,
    modules: Vec<ModuleRow>,
    with_hub: bool,
    /// Why the list of modules cannot be read: there may be others.
    unread: Option<String>,
    /// Why the hub, which is up, did not say how its modules are: what the rows say of them is a guess.
    unknown: Option<Failure>,
}

impl Shown {
    /// With commands that are for the home that was named.
    fn at_home(mut self, out: &Out) -> Self {
        let notes = self.modules.iter_mut().map(|row| &mut row.notes).chain([&mut self.hub.notes]).flatten();
        notes.for_each(|note| *note = out.at_home(note));
        self
    }

    fn text(&self) -> String {
        table::render(&self.modules, Some(&self.hub).filter(|_| self.with_hub))
    }

    fn object(&self) -> Value {
        table::to_json(&self.modules, &self.hub)
    }
}

pub(super) fn run(
    names: &[String],
    how: How,
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<Report, Failure> {
    if how == How::Watch {
        return watch::run(names, timeout, config, out);
    }
    let shown = gather(names, timeout, config, out)?.at_home(out);
    out.data(&shown.text());
    Ok(Report { data: shown.object(), failure: verdict(&shown, how == How::Check) })
}

fn gather(names: &[String], timeout: Option<Duration>, config: &Config, out: &mut Out) -> Result<Shown, Failure> {
    let timeout = timeout.unwrap_or(HEALTH_TIMEOUT);
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    match Home::open(&config.home, Create::No) {
        Ok(home) => look(&home, names, config, timeout, now_ms, out),
        // A fresh machine: nothing is installed, and nothing is wrong with that.
        Err(StoreError::NoHome { .. }) => {
            let (modules, with_hub) = chosen(names, Vec::new(), &Listing::default())?;
            Ok(Shown { hub: HubRow::down(config.port, Vec::new()), modules, with_hub, unread: None, unknown: None })
        }
        Err(error) => Err(reach::store_failure(&error)),
    }
}

/// The rows of the modules that were named, in that order and each once, and whether the hub's is one of them. Without
/// names it is all of them.
fn chosen(names: &[String], rows: Vec<ModuleRow>, document: &Listing) -> Result<(Vec<ModuleRow>, bool), Failure> {
    if names.is_empty() {
        return Ok((rows, true));
    }
    let mut wanted = Vec::new();
    for name in names.iter().filter(|name| *name != HUB) {
        let at = |is_meant: &dyn Fn(&ModuleRow) -> bool| -> Vec<usize> {
            rows.iter().enumerate().filter(|(_, row)| is_meant(row)).map(|(index, _)| index).collect()
        };
        // More than one row where another has superseded it.
        let mut found = at(&|row| row.short.as_ref() == Some(name));
        if found.is_empty() {
            found = at(&|row| row.name == *name);
        }
        if found.is_empty() {
            return Err(names::unknown(document, name));
        }
        found.retain(|index| !wanted.contains(index));
        wanted.extend(found);
    }
    let modules = wanted.into_iter().filter_map(|index| rows.get(index).cloned()).collect();
    Ok((modules, names.iter().any(|name| name == HUB)))
}

fn look(
    home: &Home,
    names: &[String],
    config: &Config,
    timeout: Duration,
    now_ms: i64,
    out: &mut Out,
) -> Result<Shown, Failure> {
    for warning in home.warnings() {
        out.warn(warning);
    }
    let read = Services::new(home.clone()).read();
    let unread = read.as_ref().err().map(StoreError::to_string);
    let document = read.as_ref().map_or_else(|_| Arc::default(), Arc::clone);
    let (mut hub, states) = match reach::hub(home, timeout) {
        Ok(Some(up)) => {
            let age = Some(up.identity.start_ticks).filter(|ticks| *ticks > 0).and_then(proc::age);
            let hub = HubRow { latency: Some(up.latency), ..HubRow::up(&up.health, &up.identity, age, now_ms) };
            let states = states(up, home, config, timeout, out).map_err(Some);
            (hub, states)
        }
        Ok(None) => (HubRow::down(config.port, Vec::new()), Err(None)),
        Err(error) => {
            let port = identity::read(home).map_or(config.port, |identity| identity.port);
            (HubRow::unwell(port, &error), Err(None))
        }
    };
    hub.notes.extend(unread.clone());
    let (list, trouble) = match states {
        Ok(list) => {
            // The hub has read the same, a moment later.
            hub.notes.extend(list.problem.clone().filter(|_| unread.is_none()));
            (Some(list), None)
        }
        Err(trouble) => (None, trouble),
    };
    let listed = Some(&*document).filter(|_| unread.is_none());
    let mut rows = rows::modules(listed, list.as_ref(), home.path(), now_ms);
    let hub_is_up = hub.state == State::Active;
    if trouble.is_some() && hub_is_up {
        ask_modules(&document, &mut rows);
    }
    let chosen = chosen(names, rows, &document);
    let (mut modules, with_hub) = match (chosen, &read) {
        (Ok(chosen), _) => chosen,
        // Whoever is not found may well be in there.
        (Err(_), Err(error)) => return Err(reach::store_failure(error)),
        (Err(unknown), Ok(_)) => return Err(unknown),
    };
    // The row of the hub says it where that is shown.
    if !with_hub {
        unread.iter().for_each(|unread| out.warn(unread));
    }
    if let Some(trouble) = &trouble {
        let note = format!("states unknown: {}; {}", trouble.message, trouble.hint);
        match modules.first_mut() {
            Some(first) => first.notes.push(note),
            None => hub.notes.push(note),
        }
    } else if !hub_is_up {
        for module in modules.iter_mut().filter(|module| module.state == State::Inactive) {
            let why = if hub.state == State::Failing { "hub does not answer" } else { "hub is down" };
            module.notes.insert(0, why.to_owned());
        }
    }
    // Who names the hub alone does not ask for them.
    let unknown = trouble.filter(|_| names.is_empty() || !modules.is_empty());
    Ok(Shown { hub, modules, with_hub, unread, unknown })
}

/// What modules themselves say, which is less than what the hub knows.
fn ask_modules(document: &Listing, modules: &mut [ModuleRow]) {
    let health: Vec<(usize, (u16, &str))> = document
        .entries()
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| entry.row.as_ref().ok().map(|row| (index, (row.port.get(), row.health.as_str()))))
        .collect();
    let asked: Vec<(u16, &str)> = health.iter().map(|(_, module)| *module).collect();
    for ((index, _), latency) in health.iter().zip(probe::latencies(&asked)) {
        if let Some(row) = modules.get_mut(*index).filter(|_| latency.is_some()) {
            row.state = State::Active;
            row.latency = latency;
            row.notes.push("its health path answers; more is not known of it".to_owned());
        }
    }
}

/// The hub's own word on its modules, or why there is none.
fn states(mut up: Up, home: &Home, config: &Config, timeout: Duration, out: &mut Out) -> Result<ModuleList, Failure> {
    up.authorise(home, config, out)?;
    up.client.set_timeout(timeout);
    up.client.modules().map_err(|error| Failure::of_client(&error))
}

/// Why the exit code is not 0. Pending, inactive and what is not known never fail a plain `status`; with `check` all that
/// is shown must be known to be well.
fn verdict(Shown { modules, hub, with_hub, unread, unknown }: &Shown, check: bool) -> Option<Failure> {
    let is_bad = |row: &ModuleRow| match row.state {
        State::Failing => true,
        State::Invalid | State::Pending => check,
        State::Active => check && row.is_unready(),
        State::Inactive => false,
    };
    let bad: Vec<&ModuleRow> = modules.iter().filter(|row| is_bad(row)).collect();
    let exit = if check { Exit::Unhealthy } else { Exit::Failed };
    if let Some(first) = bad.first() {
        let names: Vec<String> = bad
            .iter()
            .map(|row| if row.is_unready() { format!("{} (runs, not ready)", row.name) } else { row.name.clone() })
            .collect();
        let message = format!("{} of {} modules not well: {}", bad.len(), modules.len(), names.join(", "));
        let hint = match first.state {
            State::Invalid => "see: parachute check".to_owned(),
            // Modules write their rows, whose names may be anything.
            _ => format!("see: parachute logs {}", quoted(first.short.as_deref().unwrap_or(&first.name))),
        };
        return Some(Failure::new(Code::Failed, message, hint).with_exit(exit));
    }
    // Of those that were named alone it is known that they are well.
    if let Some(unread) = unread.as_ref().filter(|_| *with_hub) {
        return Some(Failure::new(Code::InvalidConfig, unread.clone(), "see: parachute check").with_exit(exit));
    }
    if let Some(unknown) = unknown.as_ref().filter(|_| check) {
        let message = format!("how the modules are is not known: {}", unknown.message);
        return Some(Failure { message, ..unknown.clone() }.with_exit(exit));
    }
    match hub.state {
        State::Active => {
            let database = hub.database.as_ref().filter(|_| check && *with_hub)?;
            let message = format!("the hub's database is not well: {database}");
            Some(Failure::new(Code::Failed, message, "see: parachute doctor").with_exit(exit))
        }
        State::Failing => {
            let message = hub.notes.first().cloned().unwrap_or_else(|| "the hub is failing".to_owned());
            Some(Failure::new(Code::Failed, message, "see: parachute doctor").with_exit(exit))
        }
        State::Pending | State::Inactive | State::Invalid => {
            check.then(|| Failure::new(Code::HubDown, "the hub is down", START_HUB).with_exit(exit))
        }
    }
}

#[cfg(test)]
mod tests;
