//! `add`: any command becomes a module, with a manifest of its own below the home.

use super::ports::Wish;
use super::program;
use super::register::{self, Extras, Prepare, Wanted};
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report, printable};
use crate::cli::parse::{Add, Reachable};
use crate::cli::reach;
use crate::config::Config;
use crate::manifest::module::{self, Manifest};
use crate::manifest::run::Run;
use crate::manifest::services::Exposure;
use crate::manifest::{Problem, Short, known};
use crate::store::{Home, StoreError, modules};
use crate::wire::Code;
use serde_json::{Map, Value, json};
use std::cell::OnceCell;
use std::time::Duration;

/// Stands in for the port that is not chosen yet.
const ANY_PORT: u16 = 1;
/// Where health is asked when nothing is said; the contract wants a path.
const DEFAULT_HEALTH: &str = "/";

pub(super) fn run(add: Add, timeout: Option<Duration>, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let short = module::name(&json!(add.name)).map_err(|problem| usage(&problem))?;
    if let Some(known) =
        known::by_short(short.as_str()).or_else(|| known::by_short(known::short_of_row_name(&add.name)))
    {
        return Err(Failure::new(
            Code::Conflict,
            format!("{} is the name of a first-party module ({})", add.name, known.package),
            "choose another name, or install that module: parachute install DIRECTORY",
        ));
    }
    let home = register::home(config)?;
    let add = Add { cwd: Some(directory(&add)?), ..add };
    let wanted = wanted(&add, &short, &home)?;
    let argv = program::absolute(&add.argv);
    // Whatever the port will be: a bad value is told before anything is looked for.
    Manifest::from_value(&manifest(&add, &wanted, &argv, ANY_PORT)).map_err(|problem| usage(&problem))?;
    program::find(&argv, &home.adopted_dir(&short), config)?;
    let before = OnceCell::new();
    let prepare = |port: u16, how: Prepare| {
        prepare(&home, &short, &manifest(&add, &wanted, &argv, port), how, &before)
            .map_err(|error| reach::store_failure(&error))
    };
    let outcome = register::register(&home, config, &wanted, add.after.replace, &prepare, out)?;
    register::finish(&home, config, &wanted, outcome, add.after, timeout, out)
}

/// Where the command is to run, absolute: the service has no directory of the caller's to be relative to.
fn directory(add: &Add) -> Result<String, Failure> {
    let directory = std::path::absolute(add.cwd.as_deref().unwrap_or("."));
    let usable = directory.ok().filter(|path| path.is_dir()).and_then(|path| path.to_str().map(str::to_owned));
    usable.ok_or_else(|| {
        Failure::new(
            Code::Usage,
            format!("--cwd {} is not a directory that can be used", add.cwd.as_deref().unwrap_or(".")),
            "give one that is there: parachute add NAME --cwd DIR -- COMMAND...",
        )
    })
}

/// Checks what the flags say, in the words of the command line.
fn wanted(add: &Add, short: &Short, home: &Home) -> Result<Wanted, Failure> {
    let run = run_settings(add);
    Run::resolve(None, run.as_ref()).map_err(|problem| usage(&problem))?;
    let health = add.health.clone().unwrap_or_else(|| DEFAULT_HEALTH.to_owned());
    let path = add.path.clone().unwrap_or_else(|| format!("/{short}"));
    let exposure = add.exposure.map(|exposure| match exposure {
        Reachable::Public => Exposure::Allowed,
        Reachable::Private => Exposure::Loopback,
    });
    Ok(Wanted {
        name: add.name.clone(),
        short: short.clone(),
        port: add.port.map_or(Wish::Any, Wish::Exactly),
        paths: vec![path],
        health,
        version: modules::NO_VERSION.to_owned(),
        install_dir: home.adopted_dir(short),
        extras: Extras::Exactly { run, strip_prefix: add.strip_prefix.then_some(true), exposure },
    })
}

/// The `run` object of the row; `None` when every setting keeps its default.
fn run_settings(add: &Add) -> Option<Value> {
    let mut run = Map::new();
    let texts = [("cwd", &add.cwd), ("restart", &add.restart), ("stopSignal", &add.stop_signal), ("ready", &add.ready)];
    for (key, value) in texts {
        run.extend(value.as_ref().map(|value| (key.to_owned(), json!(value))));
    }
    if !add.env.is_empty() {
        // Of a variable that is given twice the last value holds, as in a shell.
        let set: Map<String, Value> = add.env.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        run.insert("env".into(), json!({ "set": set }));
    }
    (!run.is_empty()).then_some(Value::Object(run))
}

fn manifest(add: &Add, wanted: &Wanted, argv: &[String], port: u16) -> Value {
    json!({
        "name": wanted.short.as_str(),
        "manifestName": add.name,
        "port": port,
        "paths": wanted.paths,
        "health": wanted.health,
        "startCmd": argv,
    })
}

/// `before` is what stood there before the first write.
fn prepare(
    home: &Home,
    short: &Short,
    manifest: &Value,
    how: Prepare,
    before: &OnceCell<Option<Vec<u8>>>,
) -> Result<bool, StoreError> {
    let new = Manifest::from_value(manifest).ok();
    // One that cannot be read is replaced like one that says something else.
    let same = modules::read_manifest(&home.adopted_dir(short)).is_ok_and(|old| old.is_some() && old == new);
    match how {
        Prepare::Look => {}
        Prepare::Write if same => {}
        Prepare::Write => {
            if before.get().is_none()
                && let Ok(kept) = modules::kept_manifest(home, short)
            {
                let _first = before.set(kept);
            }
            modules::write_manifest(home, short, manifest)?;
        }
        Prepare::TakeBack => {
            if let Some(kept) = before.get() {
                modules::put_manifest_back(home, short, kept.as_deref())?;
            }
        }
    }
    Ok(!same)
}

/// A flag's value that no module may have.
fn usage(problem: &Problem) -> Failure {
    let flag = match problem.field.as_str() {
        "name" => "NAME".to_owned(),
        "paths" | "paths[0]" => "--path".to_owned(),
        "health" => "--health".to_owned(),
        "run.restart" => "--restart".to_owned(),
        "run.stopSignal" => "--stop-signal".to_owned(),
        "run.ready" => "--ready".to_owned(),
        field => match field.strip_prefix("run.env.set.") {
            Some(variable) => format!("--env {}", printable(variable)),
            None => format!("field {field}"),
        },
    };
    Failure::new(Code::Usage, format!("add: {flag} {}", problem.reason), "see: parachute add --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_run_settings_that_resolve() {
        let plain = Add { name: "wiki".into(), argv: vec!["true".into()], ..Add::default() };
        assert_eq!(run_settings(&plain), None);
        let full = Add {
            env: vec![("A".into(), "1".into()), ("A".into(), "2".into())],
            stop_signal: Some("INT".into()),
            restart: Some("on-failure".into()),
            ready: Some("none".into()),
            ..plain.clone()
        };
        let settings = run_settings(&full).expect("settings");
        assert_eq!(settings, json!({"restart":"on-failure","stopSignal":"INT","ready":"none","env":{"set":{"A":"2"}}}));
        Run::resolve(None, Some(&settings)).expect("every value of the table is known to the manifest");
        let bad = run_settings(&Add { stop_signal: Some("BOO".into()), ..plain }).expect("settings");
        let failure = usage(&Run::resolve(None, Some(&bad)).expect_err("no such signal"));
        assert!(failure.message.starts_with("add: --stop-signal "), "{}", failure.message);
        assert_eq!(failure.exit.number(), 2);
        for (name, value, reason) in
            [("PORT", "3", "is set by the hub"), ("1A", "x", "is not a variable's name"), ("A", "\0", "")]
        {
            let add = Add { env: vec![(name.into(), value.into())], ..Add::default() };
            let failure = usage(&Run::resolve(None, run_settings(&add).as_ref()).expect_err("refused"));
            assert!(failure.message.starts_with(&format!("add: --env {name} {reason}")), "{}", failure.message);
        }
    }
}
