//! One file per verb. Each `run` reads, asks the hub, prints through `Out` and leaves a `Report` or a `Failure`.

mod add;
mod auth;
mod backup;
mod check;
mod discovery;
mod doctor;
mod hub;
mod install;
mod lifecycle;
mod logs;
mod names;
mod open;
mod ports;
mod program;
mod register;
mod remove;
mod status;

use super::exit::Failure;
use super::out::{Out, Report};
use super::parse::{Command, Globals};
use super::reach;
use crate::config::Config;
use crate::store::services::Services;
use crate::store::{Create, Home, StoreError};
use serde_json::{Value, json};
use std::sync::Arc;

/// Runs a verb that needs a home; the others never come here.
pub(super) fn run(command: Command, globals: &Globals, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let timeout = globals.timeout;
    match command {
        Command::Lifecycle { op, names, wait } => lifecycle::run(op, &names, wait, timeout, config, out),
        Command::Status { names, how } => status::run(&names, how, timeout, config, out),
        Command::Logs { name, follow, lines } => logs::run(&name, follow, lines, timeout, config, out),
        Command::Add(add) => add::run(*add, timeout, config, out),
        Command::Install(install) => install::run(&install, timeout, config, out),
        Command::Remove { name } => remove::run(&name, timeout, config, out),
        Command::Check => check::run(config, out),
        Command::Open { path, here } => open::run(path.as_deref(), here, timeout, config, out),
        Command::Auth(auth) => auth::run(*auth, timeout, config, out),
        Command::Hub(of_hub) => hub::run(&of_hub, timeout, config, out),
        Command::Doctor { fix } => doctor::run(fix, config, out),
        Command::Backup { file } => backup::write(&file, config, out),
        Command::Restore { file } => backup::restore(&file, config, out),
        Command::Help { .. } | Command::Version | Command::Completions { .. } | Command::Serve { .. } => {
            Ok(Report::of(Value::Null))
        }
    }
}

/// The installed modules, one a line, for the completion scripts.
pub(super) fn module_names(config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let document = match Home::open(&config.home, Create::No) {
        Ok(home) => Services::new(home).read().map_err(|error| reach::store_failure(&error))?,
        Err(StoreError::NoHome { .. }) => Arc::default(),
        Err(error) => return Err(reach::store_failure(&error)),
    };
    let names: Vec<&str> = names::installed(&document).collect();
    out.data(&names.iter().map(|name| format!("{name}\n")).collect::<String>());
    Ok(Report::of(json!({ "modules": names })))
}
