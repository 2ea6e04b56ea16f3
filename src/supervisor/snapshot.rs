//! What the world may know of a module, and why it is not well.

use crate::manifest::Short;
use crate::sys::process::Exit;
use std::time::{Instant, SystemTime};

/// The five words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Starting,
    Running,
    Stopped,
    Crashed,
    Restarting,
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
    /// Its row is gone.
    NotInstalled,
    /// Nothing says which command starts it.
    NoStartCommand,
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
    /// The same by the clock that nobody sets.
    pub(crate) started: Option<Instant>,
    pub(crate) restarts_in_window: u32,
    pub(crate) restarts_total: u64,
    pub(crate) last_crash_at: Option<SystemTime>,
    pub(crate) last_exit: Option<(Exit, SystemTime)>,
    /// By the clock that nobody sets, see [`Snapshot::next_retry_at`].
    pub(crate) retry_at: Option<Instant>,
    pub(crate) start_error: Option<StartError>,
    /// Those that have to come up or fail before its turn to be started comes.
    pub(crate) waits_for: Vec<Short>,
}

impl Snapshot {
    /// A module that nothing has happened to.
    pub(crate) fn stopped(short: Short) -> Self {
        Self {
            short,
            status: Status::Stopped,
            ready: false,
            pid: None,
            started_at: None,
            started: None,
            restarts_in_window: 0,
            restarts_total: 0,
            last_crash_at: None,
            last_exit: None,
            retry_at: None,
            start_error: None,
            waits_for: Vec::new(),
        }
    }

    /// When it is tried again, by the wall clock as it stands now: a machine without a clock of its own sets it late.
    pub(crate) fn next_retry_at(&self) -> Option<SystemTime> {
        self.retry_at.map(|at| SystemTime::now() + at.saturating_duration_since(Instant::now()))
    }
}
