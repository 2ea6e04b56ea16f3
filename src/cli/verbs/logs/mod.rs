//! `logs`: from the hub's ring while it is up, which survives restarts, and from the module's files what is older, or
//! all of it while the hub is down.

mod seam;

use super::{lifecycle, names};
use crate::cli::exit::Failure;
use crate::cli::out::{Out, Report};
use crate::cli::reach::{self, HEALTH_TIMEOUT, OP_TIMEOUT, Up};
use crate::config::Config;
use crate::logs::follow::{self, FileLine, FollowError, Follower};
use crate::manifest::Short;
use crate::stamp;
use crate::store::services::Services;
use crate::store::{Create, Home};
use crate::sys::fs::pause;
use crate::wire::{Code, LogLine, LogsReply};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long the hub holds a request for the next line. Short enough that a hub that went away is noticed.
const POLL_WAIT: Duration = Duration::from_secs(25);
/// More lines than a module prints between the answer of the hub and the look into the file, unless it floods.
const LATER_LINES: usize = 10_000;
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
    if follow {
        out.follow("logs");
    }
    let home = Home::open(&config.home, Create::No).map_err(|error| reach::store_failure(&error))?;
    if name == "hub" {
        return Err(Failure::new(
            Code::NoUnit,
            "the hub prints to where it was started, and parachute keeps nothing of it",
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
        let mut source = Source { up, home: &home, config, short: &short };
        match source.show(follow, lines, out) {
            // Only its files can tell what it said.
            Err(failure) if is_not_run(&failure) => {}
            outcome => return outcome,
        }
    }
    from_files(&lifecycle::log_path(&home, &short), &short, follow, lines, out)
}

/// The hub as the source of a module's lines.
struct Source<'a> {
    up: &'a mut Up,
    home: &'a Home,
    config: &'a Config,
    short: &'a Short,
}

impl Source<'_> {
    fn show(&mut self, follow: bool, lines: usize, out: &mut Out) -> Result<Report, Failure> {
        let mut batch = self.ask(None)?;
        let skipped = batch.entries.len().saturating_sub(lines);
        let shown = batch.entries.split_off(skipped);
        if shown.len() < lines {
            let path = lifecycle::log_path(self.home, self.short);
            print(older(&path, &shown, lines - shown.len(), out).iter().map(of_file), out);
        }
        print(shown.iter().map(of_hub), out);
        while follow && !out.is_closed() {
            batch = match self.ask(Some(batch.next)) {
                Err(failure) if is_not_run(&failure) => {
                    out.warn(&format!("{} was removed, so that nothing more comes of it", self.short));
                    break;
                }
                next => next?,
            };
            if batch.missed > 0 {
                out.warn(&format!("{} lines came too fast and are only in the log file", batch.missed));
            }
            print(batch.entries.iter().map(of_hub), out);
        }
        Ok(Report::streamed())
    }

    /// What there is, or the next lines after one. The token may be replaced while lines are followed: each new one asks
    /// for the same lines again.
    fn ask(&mut self, after: Option<u64>) -> Result<LogsReply, Failure> {
        let wait = after.map_or(Duration::ZERO, |_| POLL_WAIT);
        loop {
            match self.up.client.logs(self.short.as_str(), after, wait) {
                Ok(reply) => return Ok(reply),
                Err(error)
                    if matches!(error.code(), Code::Unauthenticated | Code::TokenExpired)
                        && self.up.authorise_anew(self.home, self.config)? => {}
                Err(error) => return Err(Failure::of_client(&error)),
            }
        }
    }
}

/// Whether the hub does not run the module.
fn is_not_run(failure: &Failure) -> bool {
    matches!(failure.code, Code::NotSupervised | Code::NotFound | Code::NotInstalled)
}

/// The last `wanted` lines of the file before those that the hub has told.
fn older(path: &Path, told: &[LogLine], wanted: usize, out: &mut Out) -> Vec<FileLine> {
    let looked_for = wanted.saturating_add(told.len()).saturating_add(LATER_LINES);
    let (mut file, is_cut) = match Follower::open(path, looked_for) {
        Ok((file, follower)) => (file, follower.is_cut()),
        // It has printed nothing before, or keeps no file.
        Err(FollowError::Missing { .. }) => return Vec::new(),
        Err(error) => {
            out.warn(&format!("older lines are missing: {error}"));
            return Vec::new();
        }
    };
    let before = seam::before(&file, told);
    if before.gap {
        out.warn("the log file does not reach what the hub has in memory; lines may be missing in between");
    }
    file.truncate(before.lines);
    file.drain(..file.len().saturating_sub(wanted));
    if file.len() < wanted {
        say_cut(is_cut, path, out);
    }
    file
}

fn say_cut(is_cut: bool, path: &Path, out: &mut Out) {
    if is_cut {
        let looked_at_mib = follow::TAIL_BYTES >> 20;
        out.warn(&format!(
            "older lines were not looked for: they are more than {looked_at_mib} MiB back in {} and the files beside it",
            path.display()
        ));
    }
}

fn from_files(path: &Path, short: &Short, follow: bool, lines: usize, out: &mut Out) -> Result<Report, Failure> {
    let failed = |error: FollowError| Failure::new(Code::Failed, error.to_string(), "see: parachute check");
    if !follow {
        return match Follower::open(path, lines) {
            Ok((tail, follower)) => {
                say_cut(follower.is_cut(), path, out);
                print(tail.iter().map(of_file), out);
                Ok(Report::streamed())
            }
            Err(FollowError::Missing { .. }) => {
                out.warn(&format!("{short} has printed nothing yet; start it with: parachute start {short}"));
                Ok(Report::streamed())
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
    say_cut(follower.is_cut(), path, out);
    print(tail.iter().map(of_file), out);
    while !out.is_closed() {
        let news = follower.poll().map_err(failed)?;
        if news.gap {
            out.warn("the log file was replaced; lines may be missing here");
        }
        let any = !news.lines.is_empty();
        print(news.lines.iter().map(of_file), out);
        if !any && !news.more {
            pause(FILE_PAUSE);
        }
    }
    Ok(Report::streamed())
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
        "stream": line.stream.map(|stream| stream.name()),
        "text": line.text,
    });
    Shown { text: &line.text, object }
}

/// Prints lines as they come; with `--json` each is an object of its own, because a stream of them has no end to wait
/// for.
fn print<'l>(lines: impl Iterator<Item = Shown<'l>>, out: &mut Out) {
    if out.is_json() {
        for line in lines {
            out.object(&line.object);
        }
        return;
    }
    let text: String = lines.flat_map(|line| [line.text, "\n"]).collect();
    if !text.is_empty() {
        out.data(&text);
    }
}
