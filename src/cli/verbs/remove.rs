//! `remove`: stops a module and drops its row. Its data, its `.env` and its logs stay; the row is kept aside.

use super::{discovery, lifecycle, names, register};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{Out, Report};
use crate::cli::parse::Wait;
use crate::cli::reach::{self, HEALTH_TIMEOUT, OP_TIMEOUT};
use crate::client::Op;
use crate::config::Config;
use crate::manifest::Short;
use crate::manifest::services::Entry;
use crate::shell::quoted;
use crate::store::intent::Intent;
use crate::store::services::Services;
use crate::store::{Create, Home, StoreError, atomic, module_secrets, modules};
use crate::wire::Code;
use serde_json::{Value, json};
use std::time::Duration;

/// JSON lines, one for every row that was ever removed (files §14.3).
const REMOVED: &str = "services.json.removed";
/// When more than this is kept already, the oldest rows are dropped first.
const REMOVED_LIMIT_BYTES: usize = 512 * 1024;
/// That, and all rows of one list behind it.
const REMOVED_MAX_BYTES: u64 = 2 * 1024 * 1024;

pub(super) fn run(name: &str, timeout: Option<Duration>, config: &Config, out: &mut Out) -> Result<Report, Failure> {
    let home = Home::open(&config.home, Create::No).map_err(|error| reach::store_failure(&error))?;
    let services = Services::new(home.clone());
    let document = services.read().map_err(|error| reach::store_failure(&error))?;
    let (row_name, short) = find(document.entries(), name).map_or_else(
        || names::resolve(&document, name).map(|short| (name.to_owned(), Some(short))),
        |entry| Ok((entry.name.clone(), entry.short.clone())),
    )?;
    let stopped_by_hub = match &short {
        Some(short) => stop(&home, short, timeout, config, out)?,
        None => false,
    };
    let stays = |failure: Failure| match short.as_ref().filter(|_| stopped_by_hub) {
        Some(short) => {
            let message = format!("{}; {short} keeps its row and is stopped", failure.message);
            let hint = format!("{}; to have it run: parachute start {short}", failure.hint);
            Failure { message, hint, ..failure }
        }
        None => failure,
    };
    let mut kept_row = None;
    let row = register::edit(&services, out, |document| {
        let before = document.clone();
        let row = document.remove(&row_name);
        // Before it is gone, so that it is in one place at least; once, however often the edit is made.
        if row.is_some() && row != kept_row {
            if let Err(error) = keep(&home, row.as_slice()) {
                *document = before;
                return Ok(Err(reach::store_failure(&error)));
            }
            kept_row.clone_from(&row);
        }
        Ok(Ok(row))
    })
    .map_err(|error| register::edit_failure(&error))
    .and_then(|kept| kept)
    .map_err(stays)?;
    let Some(row) = row else {
        return Err(Failure::new(
            Code::NotInstalled,
            format!("services.json has no row {row_name} any more"),
            "see: parachute status",
        ));
    };
    if let Some(short) = &short
        && !stopped_by_hub
        && let Err(error) = Intent::set_without_hub(&home, short, false)
    {
        out.warn(&format!("that {short} was stopped is still remembered: {error}"));
    }
    discovery::refresh(&home, config, out);
    let argv = short
        .as_ref()
        .and_then(|short| modules::read_manifest(&home.adopted_dir(short)).ok().flatten())
        .and_then(|manifest| manifest.start_cmd);
    if let Some(short) = &short {
        modules::remove_manifest(&home, short).map_err(|error| reach::store_failure(&error))?;
        // Its tokens may outlive it, and whoever has these keys could forge more of them.
        module_secrets::remove_verify_keys(&home, short).map_err(|error| reach::store_failure(&error))?;
    }
    let kept = short.as_ref().map(|short| home.module_dir(short)).filter(|dir| dir.exists());
    out.done(&format!("✓ {} removed", short.as_ref().map_or(row_name.as_str(), Short::as_str)));
    if let Some(dir) = &kept {
        out.done(&format!("  its data and logs are still in {}", dir.display()));
    }
    out.done(&format!("  its row is kept in {}", home.path().join(REMOVED).display()));
    let back = back(&row, argv.as_deref());
    if let Some(back) = &back {
        let but = match unsaid(&row, argv.is_some()).as_slice() {
            [] => String::new(),
            fields => format!(", but for {}", fields.join(", ")),
        };
        out.done(&format!("  to have it back{but}: {back}"));
    }
    let module = short.as_ref().map(Short::as_str);
    let kept = kept.as_ref().map(|dir| dir.to_string_lossy());
    Ok(Report::of(json!({ "module": module, "row": row, "kept": kept, "undo": back })))
}

fn find<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    let by_short = entries.iter().find(|entry| entry.short.as_ref().is_some_and(|short| short.as_str() == name));
    by_short.or_else(|| entries.iter().find(|entry| entry.name == name))
}

/// Whether there was a hub to stop it: a module whose hub is down does not run. One that cannot be stopped keeps its row.
fn stop(
    home: &Home,
    short: &Short,
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<bool, Failure> {
    let up = reach::hub(home, HEALTH_TIMEOUT).map_err(|error| Failure::of_client(&error))?;
    let Some(mut up) = up else { return Ok(false) };
    up.authorise(home, config, out)?;
    up.client.set_timeout(timeout.unwrap_or(OP_TIMEOUT));
    match lifecycle::act(&up.client, Op::Stop, short, Wait::Done, out) {
        // A row that the hub cannot use has no process.
        lifecycle::Verdict::Failed { failure, .. }
            if failure.exit != Exit::InvalidConfig && failure.exit != Exit::UnknownModule =>
        {
            Err(Failure { message: format!("{short} keeps its row: {}", failure.message), ..*failure })
        }
        _ => Ok(true),
    }
}

/// Adds the rows to those that were removed before.
pub(super) fn keep(home: &Home, rows: &[Value]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut kept = atomic::read(home, REMOVED, REMOVED_MAX_BYTES)?.unwrap_or_default();
    let surplus = kept.len().saturating_sub(REMOVED_LIMIT_BYTES);
    if surplus > 0 {
        // Whole rows, with the one in which the surplus ends.
        let end = kept.iter().skip(surplus - 1).position(|byte| *byte == b'\n');
        kept.drain(..end.map_or(kept.len(), |at| surplus + at));
    }
    for row in rows {
        kept.extend_from_slice(format!("{row}\n").as_bytes());
    }
    atomic::write(home, REMOVED, &kept, atomic::PRIVATE)
}

/// The command that registers the same again, as far as the row says it.
fn back(row: &Value, argv: Option<&[String]>) -> Option<String> {
    let text = |key: &str| row.get(key).and_then(Value::as_str);
    let port = row.get("port").and_then(Value::as_u64).map(|port| format!(" --port {port}")).unwrap_or_default();
    let Some(argv) = argv else {
        return text("installDir").map(|dir| format!("parachute install {}{port}", quoted(dir)));
    };
    let mut flags = port;
    for (flag, pointer) in [
        ("path", "/paths/0"),
        ("health", "/health"),
        ("cwd", "/run/cwd"),
        ("restart", "/run/restart"),
        ("stop-signal", "/run/stopSignal"),
        ("ready", "/run/ready"),
    ] {
        if let Some(value) = row.pointer(pointer).and_then(Value::as_str) {
            flags.push_str(&format!(" --{flag} {}", quoted(value)));
        }
    }
    if row.get("stripPrefix").and_then(Value::as_bool) == Some(true) {
        flags.push_str(" --strip-prefix");
    }
    match text("publicExposure") {
        Some("allowed") => flags.push_str(" --public"),
        Some("loopback") => flags.push_str(" --private"),
        Some(_) | None => {}
    }
    let command: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    Some(format!("parachute add {}{flags} -- {}", quoted(text("name")?), command.join(" ")))
}

/// What of the row the command that registers it again does not say: what no flag says, and variables, which may be
/// secrets and belong into no terminal. A module with a package (`is_adopted`: none) has its settings in that, but for
/// those of the row.
fn unsaid(row: &Value, is_adopted: bool) -> Vec<String> {
    let said: &[&str] = if is_adopted { &["cwd", "restart", "stopSignal", "ready"] } else { &[] };
    let run = row.get("run").and_then(Value::as_object);
    let is_said = |key: &str, value: &Value| said.contains(&key) && value.is_string();
    let settings = run.into_iter().flatten().filter(|(key, value)| !is_said(key, value));
    let mut fields: Vec<String> = settings.map(|(key, _)| format!("run.{key}")).collect();
    if is_adopted && row.get("paths").and_then(Value::as_array).is_some_and(|paths| paths.len() > 1) {
        fields.push("its other paths".to_owned());
    }
    let others: &[&str] =
        if is_adopted { &["websocket", "uis"] } else { &["websocket", "uis", "stripPrefix", "publicExposure"] };
    fields.extend(others.iter().filter(|key| row.get(**key).is_some()).map(|key| (*key).to_owned()));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;

    #[test]
    fn the_oldest_rows_are_dropped_and_never_one_that_was_just_removed() {
        let dir = TestDir::new("removed");
        let home = Home::open(dir.path(), Create::Yes).expect("a home");
        let row = |name: &str, bytes: usize| json!({"name": name, "note": "x".repeat(bytes)});
        let kept = || -> Vec<String> {
            let text = std::fs::read_to_string(home.path().join(REMOVED)).expect("kept");
            let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("whole rows"));
            rows.map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
        };
        let remove = |rows: &[Value]| keep(&home, rows).expect("kept");
        remove(&[row("old", 10)]);
        remove(&[row("big", 600_000)]);
        assert_eq!(kept(), ["old", "big"], "however large it is");
        remove(&[row("next", 500_000), row("last", 400_000)]);
        assert_eq!(kept(), ["next", "last"], "the oldest give way");
        remove(&[row("new", 10)]);
        assert_eq!(kept(), ["last", "new"]);
    }

    #[test]
    fn what_was_removed_can_be_had_back() {
        let argv = ["python3", "-m", "x y", "{port}", "it's", ""].map(str::to_owned);
        for (row, argv, expected) in [
            (
                json!({"name":"wiki","port":1950,"paths":["/wiki"],"installDir":"/p/modules/wiki"}),
                Some(&argv[..]),
                Some(r"parachute add wiki --port 1950 --path /wiki -- python3 -m 'x y' '{port}' 'it'\''s' ''"),
            ),
            (
                json!({
                    "name":"w","port":7,"paths":["/w"],"health":"/up","stripPrefix":true,"publicExposure":"loopback",
                    "run":{"cwd":"/a b","restart":"never","stopSignal":"INT","ready":"none","env":{"set":{"A":"1 2"}}},
                }),
                Some(&argv[..1]),
                Some(
                    "parachute add w --port 7 --path /w --health /up --cwd '/a b' --restart never --stop-signal INT \
                     --ready none --strip-prefix --private -- python3",
                ),
            ),
            (json!({"name":"v","port":7,"installDir":"/a b"}), None, Some("parachute install '/a b' --port 7")),
            (json!({"name":"v","port":"x"}), None, None),
            (json!(3), None, None),
        ] {
            assert_eq!(back(&row, argv).as_deref(), expected, "{row}");
        }
    }

    #[test]
    fn what_the_command_does_not_say_is_named() {
        let row = json!({
            "name": "w", "port": 7, "paths": ["/w", "/x"], "publicExposure": "loopback", "websocket": true,
            "run": {"cwd": "/a", "ready": {"http": "/up"}, "user": "www-data", "env": {"set": {"A": "1"}}},
        });
        assert_eq!(unsaid(&row, true), ["run.ready", "run.user", "run.env", "its other paths", "websocket"]);
        let all = ["run.cwd", "run.ready", "run.user", "run.env", "websocket", "publicExposure"];
        assert_eq!(unsaid(&row, false), all);
        assert_eq!(unsaid(&json!({"name": "w", "paths": ["/w"], "run": {"cwd": "/a"}}), true), [] as [String; 0]);
    }
}
