//! `status --watch`: what `status` shows, again whenever it has changed; a terminal shows it as it is now.

use super::gather;
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report};
use crate::config::Config;
use crate::stamp;
use crate::sys::fs::pause;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// How long what is shown may be out of date.
const EVERY: Duration = Duration::from_secs(1);
/// What changes all the time, or says again what another field says, and is no news.
const RESTLESS: [&str; 4] = ["at", "uptime_s", "latency_ms", "notes"];

pub(super) fn run(
    names: &[String],
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<Report, Failure> {
    out.follow("status");
    let on_terminal = out.is_terminal() && !is_dumb(config);
    let mut told: Option<Value> = None;
    while !out.is_closed() {
        // What there is to warn of is told once; what comes later stands in the rows.
        let shown = match &told {
            None => gather(names, timeout, config, out)?,
            Some(_) => gather(names, timeout, config, &mut Out::silent())?,
        };
        let shown = shown.at_home(out);
        let mut object = shown.object();
        object["at"] = stamp::iso(SystemTime::now()).into();
        let news = lasting(&object);
        match &told {
            _ if on_terminal => out.data(&screen(&shown.text(), told.is_none())),
            Some(before) if *before == news => {}
            _ if out.is_json() => out.object(&object),
            None => out.data(&shown.text()),
            Some(_) => out.data(&format!("\n{}", shown.text())),
        }
        told = Some(news);
        pause(EVERY);
    }
    Ok(Report::streamed())
}

/// Whether the terminal says of itself that it can only print.
fn is_dumb(config: &Config) -> bool {
    config.environment.iter().any(|(name, value)| name == "TERM" && value == "dumb")
}

/// Without what is [`RESTLESS`], however deep.
fn lasting(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let news = fields.iter().filter(|(key, _)| !RESTLESS.contains(&key.as_str()));
            news.map(|(key, value)| (key.clone(), lasting(value))).collect()
        }
        Value::Array(items) => items.iter().map(lasting).collect(),
        plain => plain.clone(),
    }
}

/// Over what a terminal shows. Nothing flickers: only the rest of each line, and what is below, is wiped.
fn screen(text: &str, is_first: bool) -> String {
    let wipe = if is_first { "\x1b[2J" } else { "" };
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("{wipe}\x1b[H{lines}\x1b[J")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn time_that_passes_is_no_news() {
        let at = |uptime: u64, pid: u64| {
            json!({ "at": uptime, "hub": { "pid": 1, "uptime_s": uptime, "notes": [uptime] },
                "modules": [{ "pid": pid, "latency_ms": uptime, "last_exit": { "code": 1, "at": "then" } }] })
        };
        assert_eq!(lasting(&at(1, 7)), lasting(&at(2, 7)));
        assert_ne!(lasting(&at(1, 7)), lasting(&at(1, 8)));
        assert_eq!(
            lasting(&at(1, 7)),
            json!({ "hub": { "pid": 1 }, "modules": [{ "pid": 7, "last_exit": { "code": 1 } }] })
        );
    }

    #[test]
    fn a_shorter_table_leaves_nothing_of_a_longer_one() {
        assert_eq!(screen("ab\nc\n", true), "\x1b[2J\x1b[Hab\x1b[K\nc\x1b[K\n\x1b[J");
        assert_eq!(screen("", false), "\x1b[H\x1b[J");
    }
}
