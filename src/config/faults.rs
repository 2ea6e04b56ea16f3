//! The variables of a build that can make kernel calls go wrong.

use std::path::PathBuf;

/// What is to go wrong in a build that can make it: see `sys::fault`.
pub(crate) struct Faults {
    /// `PARACHUTE_FAULT_AT`: the number of the call, from 1; 0 only traces.
    pub(crate) at: u64,
    /// `PARACHUTE_FAULT_ERRNO`; without it the process is killed there.
    pub(crate) errno: Option<i32>,
    /// `PARACHUTE_FAULT_TRACE`: the file that gets the number and the name of every call.
    pub(crate) trace: Option<PathBuf>,
}

impl Faults {
    /// `None` without `PARACHUTE_FAULT_AT`.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks for the environment")]
    pub(crate) fn of_process() -> Option<Self> {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
        Some(Self {
            at: number("PARACHUTE_FAULT_AT")?.into(),
            errno: number("PARACHUTE_FAULT_ERRNO").and_then(|errno| i32::try_from(errno).ok()),
            trace: std::env::var_os("PARACHUTE_FAULT_TRACE").map(PathBuf::from),
        })
    }
}
