//! `logs`: from the hub's ring while it is up, which survives restarts, else from the module's files.

use super::{lifecycle, names};
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report};
use crate::cli::reach::{self, HEALTH_TIMEOUT, OP_TIMEOUT, Up};
use crate::client::ClientError;
use crate::config::Config;
use crate::logs::follow::{self, FileLine, FollowError, Follower};
use crate::manifest::Short;
use crate::stamp;
use crate::store::services::Services;
use crate::store::{Create, Home};
use crate::sys::fs::pause;
use crate::wire::{Code, LogLine};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the hub holds a request for the next line. Short enough that a hub that went away is noticed.
const POLL_WAIT: Duration = Duration::from_secs(25);
/// How often the files are looked at while no hub could tell.
const FILE_PAUSE: Duration = Duration::from_millis(200);

pub(super) fn run(
    name: &str,
    follow: bool,
    lines: usize,
    timeout: Option<Duration>,
    config: &Config,
    out: &mut Out,
) -> Result<Report, Failure> {
    let home = Home::open(&config.home, Create::No).map_err(|error| reach::store_failure(&error))?;
    if name == "hub" {
        return Err(Failure::new(
            Code::NoUnit,
            "the hub prints to where it was started; no service manager keeps it",
            "look at the terminal, container or journal of: parachute serve",
        ));
    }
    let document = Services::new(home.clone()).read().unwrap_or_else(|error| {
        out.warn(&error.to_string());
        Arc::default()
    });
    let short = match names::resolve(&document, name) {
        Ok(short) => short,
        // A removed module's files are still there.
        Err(failure) => match Short::parse(name).ok().filter(|short| lifecycle::log_path(&home, short).is_file()) {
            Some(short) => short,
            None => return Err(failure),
        },
    };
    let mut hub = reach::hub(&home, HEALTH_TIMEOUT).unwrap_or_else(|error| {
        out.warn(&error.to_string());
        None
    });
    if let Some(mut up) = hub.take() {
        match up.authorise(&home, config, out) {
            Ok(()) => hub = Some(up),
            Err(failure) => out.warn(&format!("{}; showing the log file", failure.message)),
        }
    }
    if let Some(up) = hub.as_mut() {
        up.client.set_timeout(timeout.unwrap_or(OP_TIMEOUT));
        match from_hub(up, &short, follow, lines, out) {
            // The hub does not run it: only its files can tell what it said.
            Err(error) if matches!(error.code(), Code::NotSupervised | Code::NotFound | Code::NotInstalled) => {}
            Err(error) => return Err(Failure::of_client(&error)),
            Ok(report) => return Ok(report),
        }
    }
    from_files(&lifecycle::log_path(&home, &short), &short, follow, lines, out)
}

fn from_hub(up: &Up, short: &Short, follow: bool, lines: usize, out: &mut Out) -> Result<Report, ClientError> {
    let mut batch = up.client.logs(short.as_str(), None, Duration::ZERO)?;
    let skipped = batch.entries.len().saturating_sub(lines);
    let shown = batch.entries.split_off(skipped);
    let mut printer = Printer { out, follow };
    let lines = printer.print(shown.iter().map(of_hub));
    while follow && !printer.out.is_closed() {
        batch = up.client.logs(short.as_str(), Some(batch.next), POLL_WAIT)?;
        if batch.missed > 0 {
            printer.out.warn(&format!("{} lines came too fast and are only in the log file", batch.missed));
        }
        printer.print(batch.entries.iter().map(of_hub));
    }
    Ok(Report::of(json!({ "module": short.as_str(), "source": "hub", "lines": lines })))
}

fn from_files(path: &Path, short: &Short, follow: bool, lines: usize, out: &mut Out) -> Result<Report, Failure> {
    let report = |lines: Vec<Value>| Report::of(json!({ "module": short.as_str(), "source": "file", "lines": lines }));
    let failed = |error: FollowError| Failure::new(Code::Failed, error.to_string(), "see: parachute check");
    if !follow {
        return match follow::tail(path, lines) {
            Ok(tail) => Ok(report(Printer { out, follow }.print(tail.iter().map(of_file)))),
            Err(FollowError::Missing { .. }) => {
                out.warn(&format!("{short} has printed nothing yet; start it with: parachute start {short}"));
                Ok(report(Vec::new()))
            }
            Err(error) => Err(failed(error)),
        };
    }
    let (tail, mut follower) = Follower::open(path, lines).map_err(|error| match error {
        // There is nothing to follow, and nobody to say when there will be.
        FollowError::Missing { path } => Failure::new(
            Code::HubDown,
            format!("{short} has printed nothing yet: there is no {}", path.display()),
            reach::START_HUB,
        ),
        FollowError::Read { .. } => failed(error),
    })?;
    Printer { out, follow }.print(tail.iter().map(of_file));
    while !out.is_closed() {
        let news = follower.poll().map_err(failed)?;
        if news.gap {
            out.warn("the log file was replaced; lines may be missing here");
        }
        let any = !news.lines.is_empty();
        Printer { out, follow }.print(news.lines.iter().map(of_file));
        if !any && !news.more {
            pause(FILE_PAUSE);
        }
    }
    Ok(report(Vec::new()))
}

/// A line on its way out: for text, and for `--json`.
struct Shown<'a> {
    text: &'a str,
    object: Value,
}

fn of_hub(line: &LogLine) -> Shown<'_> {
    Shown {
        text: &line.text,
        object: json!({ "seq": line.seq, "at": line.at, "stream": line.stream, "text": line.text }),
    }
}

fn of_file(line: &FileLine) -> Shown<'_> {
    let object = json!({
        "seq": null,
        "at": line.at_ms.map(stamp::iso8601),
        "stream": line.stream.map(|stream| stream.tag()),
        "text": line.text,
    });
    Shown { text: &line.text, object }
}

struct Printer<'a> {
    out: &'a mut Out,
    follow: bool,
}

impl Printer<'_> {
    /// Prints lines as they come. Only a listing in JSON collects them: a stream of objects has no end to wait for.
    fn print<'l>(&mut self, lines: impl Iterator<Item = Shown<'l>>) -> Vec<Value> {
        if self.out.is_json() {
            let objects = lines.map(|line| line.object);
            if !self.follow {
                return objects.collect();
            }
            for object in objects {
                self.out.object(&object);
            }
        } else {
            let text: String = lines.flat_map(|line| [line.text, "\n"]).collect();
            if !text.is_empty() {
                self.out.data(&text);
            }
        }
        Vec::new()
    }
}
