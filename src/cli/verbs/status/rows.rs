//! Pure: what the files and the hub say, as rows of the table.

use super::when::{unix_ms, until};
use crate::cli::out::printable;
use crate::cli::reach::START_HUB;
use crate::client::ClientError;
use crate::manifest::Short;
use crate::manifest::discovery::address;
use crate::manifest::services::{Entry, Listing, Row};
use crate::manifest::{known, mounts};
use crate::store::identity::Identity;
use crate::wire::{Health, LastExit, ModuleInfo, ModuleList, StartError, Status};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// What became of a row, in the words of cli §4, and one for a row that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Active,
    Pending,
    Inactive,
    Failing,
    Invalid,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Inactive => "inactive",
            Self::Failing => "failing",
            Self::Invalid => "invalid",
        }
    }

    fn of(status: Option<Status>) -> Self {
        match status {
            Some(Status::Running) => Self::Active,
            Some(Status::Crashed) => Self::Failing,
            Some(Status::Starting | Status::Restarting) => Self::Pending,
            Some(Status::Stopped) | None => Self::Inactive,
        }
    }
}

/// One module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ModuleRow {
    pub(super) name: String,
    pub(super) short: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) version: String,
    pub(super) state: State,
    pub(super) url: Option<String>,
    pub(super) source: String,
    /// How long its health path took to answer, when it was asked.
    pub(super) latency: Option<Duration>,
    /// The hub's own words; `None` while it is down or does not know the module.
    pub(super) live: Option<Box<ModuleInfo>>,
    pub(super) start_error: Option<StartError>,
    /// Why it is not well, and other things to know; one line each.
    pub(super) notes: Vec<String>,
}

impl ModuleRow {
    /// By the hub's word it runs, and does not answer where it should; one that need not answer is ready at once.
    pub(super) fn is_unready(&self) -> bool {
        let is_unready = |info: &ModuleInfo| info.supervisor_status == Some(Status::Running) && !info.ready;
        self.live.as_deref().is_some_and(is_unready)
    }
}

/// The hub's own row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct HubRow {
    pub(super) port: u16,
    pub(super) version: String,
    pub(super) state: State,
    pub(super) pid: Option<u32>,
    pub(super) uptime_s: Option<u64>,
    pub(super) instance: Option<String>,
    pub(super) health: Option<String>,
    /// What it says of its database, if that is not well.
    pub(super) database: Option<String>,
    /// How long its `/health` took to answer.
    pub(super) latency: Option<Duration>,
    pub(super) notes: Vec<String>,
}

impl HubRow {
    /// `age` is that of its process; of an older hub it is not known, and the clock may have been set since its start.
    pub(super) fn up(health: &Health, identity: &Identity, age: Option<Duration>, now_ms: i64) -> Self {
        let database = Some(health.db.clone()).filter(|db| db != "ok");
        let by_the_clock = || {
            let started_ms = identity.started_at.as_deref().and_then(unix_ms)?;
            u64::try_from((now_ms - started_ms) / 1000).ok()
        };
        Self {
            port: identity.port,
            version: health.version.clone(),
            state: State::Active,
            pid: Some(identity.pid),
            uptime_s: age.map(|age| age.as_secs()).or_else(by_the_clock),
            instance: Some(health.instance.clone()),
            health: Some(health.status.clone()),
            latency: None,
            notes: database.iter().map(|database| format!("database: {database}")).collect(),
            database,
        }
    }

    pub(super) fn down(port: u16, notes: Vec<String>) -> Self {
        Self {
            port,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: State::Inactive,
            pid: None,
            uptime_s: None,
            instance: None,
            health: None,
            database: None,
            latency: None,
            notes: [vec![format!("hub is down; {START_HUB}")], notes].concat(),
        }
    }

    /// It has published its port, and what answers there is not it or does not answer as it should.
    pub(super) fn unwell(port: u16, error: &ClientError) -> Self {
        Self { state: State::Failing, notes: vec![format!("probe: {error}")], ..Self::down(port, Vec::new()) }
    }
}

/// Every row of services.json in its order, then what the hub runs without a row; `None` for a list that cannot be read.
pub(super) fn modules(
    document: Option<&Listing>,
    list: Option<&ModuleList>,
    home: &Path,
    now_ms: i64,
) -> Vec<ModuleRow> {
    let no_row = match document {
        Some(_) => "the hub runs it, services.json has no row for it",
        None => "the hub runs it, services.json cannot be read",
    };
    let nothing = Listing::default();
    let document = document.unwrap_or(&nothing);
    // Two rows may be of one module, of which one can be used.
    let live = |short: &Short| {
        let name = document.find(short).map(|entry| entry.name.as_str());
        let mut of_short = list?.modules.iter().filter(|info| info.short == short.as_str());
        let first = of_short.clone().next();
        of_short.find(|info| Some(info.name.as_str()) == name).or(first)
    };
    let mut rows: Vec<ModuleRow> =
        document.entries().iter().map(|entry| of_entry(entry, &live, home, now_ms)).collect();
    let known_to_files = |info: &ModuleInfo| rows.iter().any(|row| row.short.as_deref() == Some(&info.short));
    let orphans: Vec<ModuleRow> = list
        .map_or(&[][..], |list| &list.modules)
        .iter()
        .filter(|info| info.supervisor_status.is_some() && !known_to_files(info))
        .map(|info| without_row(info, no_row, now_ms))
        .collect();
    rows.extend(orphans);
    rows
}

fn of_entry<'a>(
    entry: &Entry,
    live: &impl Fn(&Short) -> Option<&'a ModuleInfo>,
    home: &Path,
    now_ms: i64,
) -> ModuleRow {
    let short = entry.short.as_ref().map(|short| short.as_str().to_owned());
    let row = match &entry.row {
        Ok(row) => row,
        Err(problem) => {
            return ModuleRow {
                name: entry.name.clone(),
                short,
                port: None,
                version: "-".to_owned(),
                state: State::Invalid,
                url: None,
                source: "-".to_owned(),
                latency: None,
                live: None,
                start_error: None,
                notes: vec![format!("row cannot be used: {problem}")],
            };
        }
    };
    let info = live(entry.served_by.as_ref().unwrap_or(&row.short));
    let start_error = match info {
        Some(info) => info.supervisor_start_error.clone(),
        None => row.last_start_error.as_ref().and_then(persisted),
    };
    let mut notes = info.map_or(Vec::new(), |info| why_not_well(info, now_ms));
    if let Some(first) = &entry.served_by {
        notes.push(format!("served by {first}"));
    }
    if let Some(known) = known::by_short(row.short.as_str()).filter(|known| known.port != row.port.get()) {
        notes.push(format!("canonical port is {}", known.port));
    }
    notes.extend(row.refused_paths.iter().map(|problem| format!("not served: {problem}")));
    notes.extend(
        start_error.as_ref().map(|error| start_error_line(error, info.and_then(|info| info.supervisor_status))),
    );
    ModuleRow {
        name: row.name.clone(),
        short,
        port: Some(row.port.get()),
        version: version(info, row),
        state: State::of(info.and_then(|info| info.supervisor_status)),
        // What the manifest says of it is the hub's to know: no command reads them all for this.
        url: Some(url(row, mounts::strips(row, None) || info.is_some_and(|info| info.strip_prefix))),
        source: source(row, home),
        latency: None,
        live: info.cloned().map(Box::new),
        start_error,
        notes,
    }
}

fn without_row(info: &ModuleInfo, no_row: &str, now_ms: i64) -> ModuleRow {
    let mut notes = why_not_well(info, now_ms);
    notes.push(no_row.to_owned());
    ModuleRow {
        name: info.name.clone(),
        short: Some(info.short.clone()),
        port: info.port,
        version: info.installed_version.clone().unwrap_or_else(|| "-".to_owned()),
        state: State::of(info.supervisor_status),
        url: None,
        source: "-".to_owned(),
        latency: None,
        live: Some(Box::new(info.clone())),
        start_error: info.supervisor_start_error.clone(),
        notes,
    }
}

fn version(info: Option<&ModuleInfo>, row: &Row) -> String {
    let version = info.and_then(|info| info.installed_version.as_deref()).unwrap_or(&row.version);
    if version.is_empty() { "-".to_owned() } else { version.to_owned() }
}

/// Where the row's program comes from.
fn source(row: &Row, home: &Path) -> String {
    match &row.install_dir {
        None => "unknown".to_owned(),
        Some(dir) if dir.starts_with(home.join("modules")) => "command".to_owned(),
        Some(dir) => format!("directory {}", dir.display()),
    }
}

/// The module's own address, where its mount is part of that only if it gets to see it.
fn url(row: &Row, strips: bool) -> String {
    let port = row.port;
    let own = format!("http://127.0.0.1:{port}");
    let mount = row.paths.first().filter(|_| !strips).map_or("", |path| path.trim_end_matches('/'));
    match row.short.as_str() {
        "scribe" => own,
        "vault" => format!("{}/mcp", address(&own, mount)),
        _ => address(&own, mount),
    }
}

/// `crashed: exit code 1, 3 failures in 60 s; next retry in 28 s`
fn why_not_well(info: &ModuleInfo, now_ms: i64) -> Vec<String> {
    let status = match info.supervisor_status {
        Some(status @ (Status::Crashed | Status::Restarting)) => status,
        Some(Status::Starting | Status::Running | Status::Stopped) | None => {
            let waits = Some(&info.waits_for).filter(|others| !others.is_empty());
            let waits = waits.map(|others| format!("it is started after {}", others.join(", ")));
            return waits.into_iter().chain(info.problem.clone()).collect();
        }
    };
    let mut line = status.as_str().to_owned();
    let mut separator = ": ";
    if let Some(exit) = &info.last_exit {
        line.push_str(separator);
        line.push_str(&exit_words(exit));
        separator = ", ";
    }
    if info.restarts_in_window > 0 {
        let plural = if info.restarts_in_window == 1 { "" } else { "s" };
        line.push_str(&format!("{separator}{} failure{plural} in 60 s", info.restarts_in_window));
    }
    match info.next_retry_at.as_deref().map(|at| (at, unix_ms(at))) {
        Some((_, Some(at_ms))) => line.push_str(&format!("; next retry {}", until(at_ms, now_ms))),
        Some((at, None)) => line.push_str(&format!("; next retry at {at}")),
        None if status == Status::Crashed => {
            line.push_str(&format!("; it stays down until: parachute start {}", info.short));
        }
        None => {}
    }
    [Some(line), info.problem.clone()].into_iter().flatten().collect()
}

pub(in crate::cli::verbs) fn exit_words(exit: &LastExit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

fn start_error_line(error: &StartError, status: Option<Status>) -> String {
    let first = printable(error.error_description.lines().next().unwrap_or_default());
    let missing = error.binary.as_deref().filter(|_| error.is_missing_dependency());
    match (missing, status) {
        (Some(binary), _) => format!("failed to start: {} is missing", printable(binary)),
        // It lives and may still bind.
        (None, Some(Status::Running)) => format!("not reachable yet: {first}"),
        (None, _) => format!("failed to start: {first}"),
    }
}

/// What an earlier start left in the row.
fn persisted(value: &Value) -> Option<StartError> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(StartError {
        error_type: text("error_type")?,
        error_description: text("error_description")?,
        binary: text("binary"),
        why: text("why"),
        docs_url: text("docs_url"),
        install: None,
        sysadmin_hint: text("sysadmin_hint"),
        at: text("at").unwrap_or_default(),
    })
}
