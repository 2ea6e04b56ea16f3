//! Why a module operation did not do what was asked.

use crate::manifest::{Problem, Short};
use crate::store::StoreError;
use crate::supervisor::OpFailure;
use crate::wire::{Code, ModuleState};
use std::fmt;

#[derive(Debug)]
pub(crate) enum OpError {
    /// `services.json` has no such row.
    NotInstalled { short: Short },
    /// The row is there and cannot be used.
    InvalidRow { short: Short, problem: Problem },
    /// Neither the module's manifest nor the table of known modules says how to start it.
    NoStartCommand { short: Short },
    /// The module's own manifest cannot be used.
    Manifest { short: Short, source: StoreError },
    /// The supervisor does not run it.
    NotSupervised { short: Short },
    /// It ended, or never came up.
    StartFailed { state: Box<ModuleState> },
    /// Processes were left after KILL.
    StopTimeout { state: Box<ModuleState> },
    /// A later request took over.
    Superseded { state: Box<ModuleState> },
    /// The hub is on its way down.
    ShuttingDown,
    /// `services.json` cannot be read.
    Services { source: StoreError },
}

impl OpError {
    pub(super) fn from_supervisor(short: &Short, failure: OpFailure) -> Self {
        let state = |snapshot: Box<crate::supervisor::Snapshot>| {
            Box::new(super::state::module_state(&snapshot, snapshot.next_retry_at()))
        };
        match failure {
            OpFailure::NotSupervised => Self::NotSupervised { short: short.clone() },
            OpFailure::NotStarted(snapshot) => Self::StartFailed { state: state(snapshot) },
            OpFailure::StopTimeout(snapshot) => Self::StopTimeout { state: state(snapshot) },
            OpFailure::Superseded(snapshot) => Self::Superseded { state: state(snapshot) },
            OpFailure::ShuttingDown => Self::ShuttingDown,
        }
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NotInstalled { .. } => Code::NotInstalled,
            Self::InvalidRow { .. } => Code::InvalidRow,
            Self::NoStartCommand { .. } => Code::NoStartCmd,
            Self::NotSupervised { .. } => Code::NotSupervised,
            Self::StartFailed { .. } => Code::StartFailed,
            Self::StopTimeout { .. } => Code::StopTimeout,
            Self::Superseded { .. } => Code::Conflict,
            Self::ShuttingDown => Code::ServiceUnavailable,
            Self::Manifest { source, .. } | Self::Services { source } if source.is_invalid() => Code::InvalidConfig,
            Self::Manifest { .. } | Self::Services { .. } => Code::ModuleOpFailed,
        }
    }

    /// How the module is doing after the attempt, when the attempt got that far.
    pub(crate) fn state(&self) -> Option<&ModuleState> {
        match self {
            Self::StartFailed { state } | Self::StopTimeout { state } | Self::Superseded { state } => Some(state),
            Self::NotInstalled { .. }
            | Self::InvalidRow { .. }
            | Self::NoStartCommand { .. }
            | Self::Manifest { .. }
            | Self::NotSupervised { .. }
            | Self::ShuttingDown
            | Self::Services { .. } => None,
        }
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInstalled { short } => {
                write!(f, "{short} is not installed: services.json has no row for it; see: parachute status")
            }
            Self::InvalidRow { short, problem } => {
                write!(f, "the services.json row of {short} cannot be used: {problem}; correct it and try again")
            }
            Self::NoStartCommand { short } => write!(
                f,
                "nothing says how to start {short}: set startCmd in .parachute/module.json below its installDir"
            ),
            Self::Manifest { short, source } => write!(f, "cannot start {short}: {source}"),
            Self::NotSupervised { short } => {
                write!(f, "{short} is not supervised; start it with: parachute start {short}")
            }
            Self::StartFailed { state } => match &state.start_error {
                Some(error) => write!(f, "{} did not start: {}", state.short, error.error_description),
                None => write!(
                    f,
                    "{0} did not start and is {1}; see: parachute logs {0}",
                    state.short,
                    state.status.as_str()
                ),
            },
            Self::StopTimeout { state } => write!(
                f,
                "{} did not end in time: processes of it are left after SIGKILL; see: parachute logs {0}",
                state.short
            ),
            Self::Superseded { state } => {
                write!(f, "a later request for {} took over; it is {} now", state.short, state.status.as_str())
            }
            Self::ShuttingDown => f.write_str("the hub is shutting down; try again once it is back"),
            Self::Services { source } => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for OpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Manifest { source, .. } | Self::Services { source } => Some(source),
            Self::NotInstalled { .. }
            | Self::InvalidRow { .. }
            | Self::NoStartCommand { .. }
            | Self::NotSupervised { .. }
            | Self::StartFailed { .. }
            | Self::StopTimeout { .. }
            | Self::Superseded { .. }
            | Self::ShuttingDown => None,
        }
    }
}
