//! `status`: every module and the hub, from the hub where it answers and from the files where it does not.

mod probe;
mod rows;
mod table;
mod when;

use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{Out, Report};
use crate::cli::reach::{self, HEALTH_TIMEOUT, START_HUB, Up};
use crate::client::ClientError;
use crate::config::Config;
use crate::manifest::services::Listing;
use crate::store::services::Services;
use crate::store::{Create, Home, StoreError};
use crate::wire::{Code, ModuleList};
pub(super) use rows::exit_words;
use rows::{HubRow, ModuleRow, State};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) fn run(check: bool, timeout: Option<Duration>, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let timeout = timeout.unwrap_or(HEALTH_TIMEOUT);
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let (hub, modules) = match Home::open(&config.home, Create::No) {
        Ok(home) => look(&home, config, timeout, now_ms, out),
        // A fresh machine: nothing is installed, and nothing is wrong with that.
        Err(StoreError::NoHome { .. }) => (HubRow::down(config.port, Vec::new()), Vec::new()),
        Err(error) => return Err(reach::store_failure(&error)),
    };
    out.data(&table::render(&modules, &hub));
    Ok(Report { data: table::to_json(&modules, &hub), failure: verdict(&modules, &hub, check) })
}

fn look(home: &Home, config: &Config, timeout: Duration, now_ms: i64, out: &mut Out) -> (HubRow, Vec<ModuleRow>) {
    for warning in home.warnings() {
        out.warn(warning);
    }
    let mut notes = Vec::new();
    let document = Services::new(home.clone()).read().unwrap_or_else(|error| {
        notes.push(error.to_string());
        Arc::default()
    });
    let (mut hub, states) = match reach::hub(home, timeout) {
        Ok(Some(up)) => {
            let hub = HubRow { latency: Some(up.latency), ..HubRow::up(&up.health, &up.identity, now_ms) };
            let states = states(up, home, config, timeout, out);
            (hub, states)
        }
        Ok(None) => (HubRow::down(config.port, Vec::new()), Err(None)),
        Err(error) => (HubRow::unwell(config.port, &error), Err(None)),
    };
    hub.notes.extend(notes);
    let (list, trouble) = match states {
        Ok(list) => {
            hub.notes.extend(list.problem.clone());
            (Some(list), None)
        }
        Err(trouble) => (None, trouble),
    };
    let mut modules = rows::modules(&document, list.as_ref(), home.path(), now_ms);
    let hub_is_up = hub.state == State::Active;
    if let Some(trouble) = trouble {
        if hub_is_up {
            ask_modules(&document, &mut modules);
        }
        match modules.first_mut() {
            Some(first) => first.notes.push(trouble),
            None => hub.notes.push(trouble),
        }
    } else if !hub_is_up {
        for module in modules.iter_mut().filter(|module| module.state == State::Inactive) {
            module.notes.insert(0, "hub is down".to_owned());
        }
    }
    (hub, modules)
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

/// The hub's own word on its modules, or the one note on why there is none.
fn states(
    mut up: Up,
    home: &Home,
    config: &Config,
    timeout: Duration,
    out: &mut Out,
) -> Result<ModuleList, Option<String>> {
    let note = |failure: Failure| Some(format!("states unknown: {}; {}", failure.message, failure.hint));
    up.authorise(home, config, out).map_err(note)?;
    up.client.set_timeout(timeout);
    up.client.modules().map_err(|error: ClientError| note(Failure::of_client(&error)))
}

/// Why the exit code is not 0. Pending and inactive never fail a plain `status`.
fn verdict(modules: &[ModuleRow], hub: &HubRow, check: bool) -> Option<Failure> {
    let of = |states: &[State]| -> Vec<&str> {
        modules.iter().filter(|row| states.contains(&row.state)).map(|row| row.name.as_str()).collect()
    };
    let bad = if check { of(&[State::Failing, State::Invalid, State::Pending]) } else { of(&[State::Failing]) };
    let exit = if check { Exit::Unhealthy } else { Exit::Failed };
    if let Some(first) = bad.first() {
        let message = format!("{} of {} modules not well: {}", bad.len(), modules.len(), bad.join(", "));
        return Some(Failure::new(Code::Failed, message, format!("see: parachute logs {first}")).with_exit(exit));
    }
    match hub.state {
        State::Active => None,
        State::Failing => {
            let message = hub.notes.first().cloned().unwrap_or_else(|| "the hub is failing".to_owned());
            Some(Failure::new(Code::Failed, message, START_HUB).with_exit(exit))
        }
        State::Pending | State::Inactive | State::Invalid => {
            check.then(|| Failure::new(Code::HubDown, "the hub is down", START_HUB).with_exit(exit))
        }
    }
}

#[cfg(test)]
mod tests;
