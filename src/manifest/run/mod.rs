//! Pure: the object `run`, how a module wants to be run (design §4).
//!
//! It stands in `module.json` and, key by key stronger, in the row. Every key is checked and an unknown one is an
//! error: a typing mistake in a stop timeout must not stay silent.

mod parse;
#[cfg(test)]
mod tests;

use super::json::Packed;
use super::module::Manifest;
use super::services::Row;
use super::{Problem, Short};
use serde_json::Value;
use std::time::Duration;

/// When a child that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Restart {
    #[default]
    Always,
    /// Not after exit code 0.
    OnFailure,
    Never,
}

/// The first signal of a stop; KILL follows after the grace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum StopSignal {
    #[default]
    Term,
    Int,
    Hup,
    Quit,
    Usr1,
    Usr2,
    Kill,
    Winch,
}

/// How it is found out that a module answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Its port accepts a connection.
    Port,
    /// Its health path answers.
    Http,
    /// Not at all: alive is enough.
    None,
}

/// When a child counts as up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) probe: Probe,
    pub(crate) timeout: Duration,
}

/// A check while it runs; a child that fails it is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Live {
    /// Never [`Probe::None`].
    pub(crate) probe: Probe,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// That many failures in a row are too many.
    pub(crate) failures: u32,
}

/// Resource limits of the child, soft and hard alike; `None` leaves the hub's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Limits {
    pub(crate) nofile: Option<u64>,
    pub(crate) core: Option<u64>,
    pub(crate) fsize: Option<u64>,
    /// Address space in bytes, `as` in JSON.
    pub(crate) as_bytes: Option<u64>,
    pub(crate) nproc: Option<u64>,
    /// Seconds.
    pub(crate) cpu: Option<u64>,
    pub(crate) memlock: Option<u64>,
    pub(crate) stack: Option<u64>,
}

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// A file is rotated when it would grow past this.
    pub(crate) max_bytes: u64,
    /// How many files are kept, the current one included.
    pub(crate) files: u32,
    pub(crate) file: bool,
    pub(crate) console: bool,
}

/// What the child's environment is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EnvSettings {
    /// The hub's own environment less what is denied; otherwise a short list of harmless names.
    pub(crate) inherit: bool,
    /// Names are valid and unique, values hold no NUL.
    pub(crate) set: Vec<(String, String)>,
}

/// All settings, each with its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) restart: Restart,
    /// Makes `crashed` final instead of retrying slowly.
    pub(crate) give_up: bool,
    pub(crate) stop_signal: StopSignal,
    /// From the stop signal to KILL.
    pub(crate) stop_timeout: Duration,
    pub(crate) depends_on: Vec<Short>,
    pub(crate) ready: Ready,
    pub(crate) live: Option<Live>,
    /// The hub ends when this module ends for good.
    pub(crate) essential: bool,
    pub(crate) limits: Limits,
    pub(crate) user: Option<String>,
    pub(crate) group: Option<String>,
    /// 0..0o777.
    pub(crate) umask: Option<u32>,
    /// Its directory; a relative one is below its installDir, which is also the default.
    pub(crate) cwd: Option<String>,
    pub(crate) logs: LogSettings,
    pub(crate) env: EnvSettings,
    /// Paths whose change restarts the module.
    pub(crate) watch: Vec<String>,
    /// How long a request waits for it while it is being restarted; zero: not at all.
    pub(crate) hold: Duration,
    /// It gets the hub's own bearers and cookies, which are kept back otherwise.
    pub(crate) hub_credentials: bool,
    /// It gets keys to check tokens with, and could forge tokens for itself with them.
    pub(crate) verify_keys: bool,
    /// Requests for it say who its caller is, with a proof that the hub says so.
    pub(crate) proof_headers: bool,
}

impl Default for Ready {
    fn default() -> Self {
        Self { probe: Probe::Port, timeout: Duration::from_secs(4) }
    }
}

impl Default for Live {
    fn default() -> Self {
        Self { probe: Probe::Http, interval: Duration::from_secs(10), timeout: Duration::from_secs(1), failures: 3 }
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { max_bytes: 2 << 20, files: 5, file: true, console: true }
    }
}

impl Default for EnvSettings {
    fn default() -> Self {
        Self { inherit: true, set: Vec::new() }
    }
}

impl Default for Run {
    fn default() -> Self {
        Self {
            restart: Restart::default(),
            give_up: false,
            stop_signal: StopSignal::default(),
            stop_timeout: Duration::from_secs(5),
            depends_on: Vec::new(),
            ready: Ready::default(),
            live: None,
            essential: false,
            limits: Limits::default(),
            user: None,
            group: None,
            umask: None,
            cwd: None,
            logs: LogSettings::default(),
            env: EnvSettings::default(),
            watch: Vec::new(),
            hold: Duration::from_secs(5),
            hub_credentials: false,
            verify_keys: false,
            proof_headers: false,
        }
    }
}

impl Run {
    /// What a module's own manifest says, overridden by its row.
    pub(crate) fn of(manifest: Option<&Manifest>, row: Option<&Row>) -> Result<Self, Problem> {
        let said = [manifest.and_then(|manifest| manifest.run.as_ref()), row.and_then(|row| row.run.as_ref())];
        let [manifest, row] = said.map(|run| run.map(Packed::value));
        Self::resolve(manifest.as_ref(), row.as_ref())
    }

    /// The defaults, overridden by the manifest's `run`, overridden by the row's. Objects inside are overridden key by
    /// key as well, arrays as a whole. A [`Problem`] names the key as `run.<key>`.
    pub(crate) fn resolve(manifest: Option<&Value>, row: Option<&Value>) -> Result<Self, Problem> {
        let mut run = Self::default();
        for layer in [manifest, row].into_iter().flatten() {
            parse::apply(&mut run, layer).map_err(|problem| problem.within("run"))?;
        }
        Ok(run)
    }
}
