//! argv in, exit code out: the verbs, as a table. Decisions are pure (`spec`, `parse`, `help`, `exit`, `verbs/*`'s
//! rendering); only `out`, `reach` and the verbs' `run` touch anything. Must not know how the hub does its work.

mod at_home;
mod completions;
mod exit;
mod help;
mod out;
mod parse;
mod reach;
#[cfg(test)]
mod readme;
mod spec;
mod suggest;
mod verbs;

use crate::config::{Config, ConfigError};
use crate::shell;
use crate::wire::Code;
use exit::{Exit, Failure};
use out::{Out, Report, Style};
use parse::{Command, Globals, Invocation, Refused};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program and says how it ended.
pub(crate) fn run() -> ExitCode {
    ExitCode::from(run_with(std::env::args_os().skip(1).collect()))
}

fn run_with(args: Vec<OsString>) -> u8 {
    match parse::parse(args) {
        Ok(Invocation { globals, command: Command::Serve { port } }) => serve(&globals, port),
        Ok(Invocation { globals, command }) => {
            let mut out = out(&globals);
            let name = verb_name(&command);
            let outcome = dispatch(&globals, command, &mut out, configuration);
            out.finish(name, outcome).number()
        }
        Err(refused) => {
            let mut out = Out::of_process(Style { json: refused.json, quiet: false });
            out.finish("", Err(usage_failure(&refused))).number()
        }
    }
}

fn out(globals: &Globals) -> Out {
    let mut out = Out::of_process(Style { json: globals.json, quiet: globals.quiet });
    out.set_home(globals.home.as_deref().map(shell::word));
    out
}

/// The hub itself: it says what it does on its own, and returns when it is down again.
fn serve(globals: &Globals, port: Option<u16>) -> u8 {
    let failure = match configuration(globals).map(|config| crate::serve::run(config, port)) {
        Ok(Ok(exit)) => return exit,
        Ok(Err(not_up)) if !globals.json => {
            out(globals).problem(&format!("parachute serve: {not_up}\n"));
            return Exit::of(not_up.code()).number();
        }
        Ok(Err(not_up)) => {
            let hint = match not_up.code() {
                Code::PortInUse | Code::Busy => "see: parachute status",
                Code::InvalidConfig => "see: parachute check",
                _ => "see: parachute doctor",
            };
            Failure::new(not_up.code(), not_up.to_string(), hint)
        }
        Err(failure) => failure,
    };
    out(globals).finish("serve", Err(failure)).number()
}

/// Only what needs the surroundings asks for them: help and version work on a broken machine.
fn dispatch(
    globals: &Globals,
    command: Command,
    out: &mut Out,
    configuration: impl FnOnce(&Globals) -> Result<Config, Failure>,
) -> Result<Report, Failure> {
    match command {
        Command::Help { verb } => {
            let page = help::page(verb);
            out.data(&page);
            Ok(Report::of(serde_json::json!({ "text": page })))
        }
        Command::Version => {
            out.data(concat!(env!("CARGO_PKG_VERSION"), "\n"));
            Ok(Report::of(serde_json::json!({ "version": env!("CARGO_PKG_VERSION") })))
        }
        Command::Completions { kind } => match completions::script(kind) {
            Some(script) => {
                out.data(&script);
                Ok(Report::of(serde_json::json!({ "text": script })))
            }
            None => verbs::module_names(&configuration(globals)?, out),
        },
        other => verbs::run(other, globals, &configuration(globals)?, out),
    }
}

/// The surroundings, with `--home` put before `$PARACHUTE_HOME`.
fn configuration(globals: &Globals) -> Result<Config, Failure> {
    let config = match &globals.home {
        None => Config::from_process(),
        Some(home) => {
            let home = std::path::absolute(home).map_err(|error| {
                Failure::new(
                    Code::InvalidConfig,
                    format!("--home {} cannot be made absolute: {error}", home.display()),
                    "give an absolute path",
                )
            })?;
            Config::from_process_at(&home)
        }
    };
    config.map_err(|error| config_failure(&error))
}

fn config_failure(error: &ConfigError) -> Failure {
    let hint = match error {
        ConfigError::NoHome | ConfigError::RelativeHome { .. } => "or give the home by: --home DIR".to_owned(),
        ConfigError::NotText { variable } | ConfigError::Invalid { variable, .. } => {
            format!("correct it, or do without it: unset {variable}")
        }
    };
    Failure::new(Code::InvalidConfig, error.to_string(), hint)
}

fn usage_failure(refused: &Refused) -> Failure {
    let (message, hint) = match refused.verb {
        Some(verb) => (
            format!("{}: {}", verb.path(), refused.error),
            format!("usage: {}; see: parachute {} --help", help::usage(verb), verb.path()),
        ),
        None => (refused.error.to_string(), "see: parachute --help".to_owned()),
    };
    Failure::new(Code::Usage, message, hint)
}

/// `command` of `--json`.
fn verb_name(command: &Command) -> &'static str {
    match command {
        Command::Help { .. } => "help",
        Command::Version => "version",
        Command::Completions { .. } => "completions",
        Command::Serve { .. } => "serve",
        Command::Lifecycle { op, .. } => op.as_str(),
        Command::Status { .. } => "status",
        Command::Logs { .. } => "logs",
        Command::Add(_) => "add",
        Command::Install(_) => "install",
        Command::Remove { .. } => "remove",
        Command::Check => "check",
        Command::Open { .. } => "open",
        Command::Auth(auth) => auth.name(),
        Command::Hub(of_hub) => of_hub.name(),
        Command::Doctor { .. } => "doctor",
        Command::Backup { .. } => "backup",
        Command::Restore { .. } => "restore",
    }
}

#[cfg(test)]
mod tests;
