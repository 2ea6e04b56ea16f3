//! Runs modules: one thread each, a pure state machine deciding, the main thread forking.
//!
//! Knows nothing of HTTP, argv or the files of the home: what to run comes from a [`PlanSource`].

use crate::logs::Ring;
use crate::manifest::Short;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The five words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Starting,
    Running,
    Stopped,
    Crashed,
    Restarting,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// Why a module is not well (supervisor §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartError {
    pub(crate) kind: StartErrorKind,
    /// A sentence with the real values and what to do.
    pub(crate) description: String,
    /// The program that is missing or cannot be executed.
    pub(crate) binary: Option<String>,
    pub(crate) at: SystemTime,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartErrorKind {
    MissingDependency,
    NonExecutable,
    MissingCwd,
    PortSquatter,
    StartedButUnbound,
    /// The row, the manifest or the `.env` cannot be used.
    InvalidSettings,
    /// fork, exec or a step between them failed.
    SpawnFailed,
    /// It ended before it was ready.
    ExitedEarly,
}

/// What the world may know of a module; published by its worker after every step.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) short: Short,
    pub(crate) status: Status,
    pub(crate) ready: bool,
    pub(crate) pid: Option<i32>,
    pub(crate) started_at: Option<SystemTime>,
    pub(crate) restarts_in_window: u32,
    pub(crate) restarts_total: u64,
    pub(crate) last_crash_at: Option<SystemTime>,
    pub(crate) last_exit: Option<(Exit, SystemTime)>,
    pub(crate) next_retry_at: Option<SystemTime>,
    pub(crate) start_error: Option<StartError>,
}

/// A start, stop or restart that did not reach what was asked.
#[derive(Debug, Clone)]
pub(crate) enum OpFailure {
    /// The supervisor does not know the module.
    NotSupervised,
    /// It ended, or never came up; the snapshot says how.
    NotStarted(Box<Snapshot>),
    /// Processes were left after KILL.
    StopTimeout(Box<Snapshot>),
    /// A later request took over.
    Superseded(Box<Snapshot>),
    /// The hub is on its way down.
    ShuttingDown,
}

/// All modules of one hub.
pub(crate) struct Supervisor {}

impl Supervisor {
    /// Makes the module known, without starting it. A known one stays as it is.
    pub(crate) fn register(&self, _short: &Short) {
        unimplemented!()
    }

    /// Starts it and waits until it is ready, failed, or up but unbound (then `Ok` with `start_error`).
    /// Registers it first when needed. Idempotent while it runs. Blocks for at most its readiness gate and a second.
    pub(crate) fn start(&self, _short: &Short) -> Result<Snapshot, OpFailure> {
        unimplemented!()
    }

    /// Stops it and waits until nothing of it is left. Idempotent.
    pub(crate) fn stop(&self, _short: &Short) -> Result<Snapshot, OpFailure> {
        unimplemented!()
    }

    /// Stops and starts it with settings read anew. Refuses, with the old child untouched, what cannot start.
    pub(crate) fn restart(&self, _short: &Short) -> Result<Snapshot, OpFailure> {
        unimplemented!()
    }

    /// Stops it and forgets it.
    pub(crate) fn forget(&self, _short: &Short) -> Result<(), OpFailure> {
        unimplemented!()
    }

    /// Every registered module, by name.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        unimplemented!()
    }

    pub(crate) fn snapshot(&self, _short: &Short) -> Option<Snapshot> {
        unimplemented!()
    }

    /// The module's output; kept across restarts.
    pub(crate) fn ring(&self, _short: &Short) -> Option<Arc<Ring>> {
        unimplemented!()
    }

    /// Starts all of these in parallel, a module after those it depends on, and returns at once.
    pub(crate) fn boot(&self, _shorts: &[Short]) {
        unimplemented!()
    }

    /// Stops all modules in parallel, in reverse order of dependency, under one deadline. No start is accepted after.
    pub(crate) fn shutdown(&self, _deadline: Duration) {
        unimplemented!()
    }
}
