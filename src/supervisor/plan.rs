//! Pure: what the files say and what the hub knows, to the command, the environment and the limits of a child.

use super::StartErrorKind;
use super::environment::{self, Environment};
use super::inputs::{Facts, Inputs};
use crate::manifest::Short;
use crate::manifest::run::{Limits, Probe, Run, StopSignal};
use crate::sys::process::Signal;
use crate::sys::spawn::{Limit, Resource};
use std::path::Path;
use std::time::Duration;

/// A command that is ready to be looked at and run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan<'a> {
    pub(crate) argv: Vec<String>,
    pub(crate) environment: Environment<'a>,
    pub(crate) cwd: Option<&'a Path>,
}

/// A name or value that no process can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanProblem {
    pub(crate) kind: StartErrorKind,
    pub(crate) reason: String,
}

/// Puts together what the child gets.
pub(crate) fn build<'a>(inputs: &'a Inputs, facts: &'a Facts, short: &'a Short) -> Result<Plan<'a>, PlanProblem> {
    let port = inputs.row.port.get().to_string();
    let argv: Vec<String> = inputs.argv.iter().map(|word| word.replace("{port}", &port)).collect();
    let refuse = |reason: String| Err(PlanProblem { kind: StartErrorKind::InvalidSettings, reason });
    match argv.first() {
        None => return refuse("the start command is empty".into()),
        Some(program) if program.is_empty() => return refuse("the start command's first word is empty".into()),
        Some(_) => {}
    }
    if let Some(index) = argv.iter().position(|word| word.contains('\0')) {
        return refuse(format!("word {index} of the start command holds a NUL byte"));
    }
    Ok(Plan { argv, environment: environment::build(inputs, facts, short, &port), cwd: inputs.cwd.as_deref() })
}

/// The limits of a child: what its settings say, soft and hard alike, else what the hub was started with where it has
/// changed its own.
pub(crate) fn limits(limits: &Limits, inherited_nofile: Option<(u64, u64)>, inherited_core: Option<u64>) -> Vec<Limit> {
    let set = [
        (Resource::Nofile, limits.nofile, inherited_nofile.map(|(soft, _)| soft)),
        (Resource::Core, limits.core, inherited_core),
        (Resource::Fsize, limits.fsize, None),
        (Resource::AddressSpace, limits.as_bytes, None),
        (Resource::Nproc, limits.nproc, None),
        (Resource::Cpu, limits.cpu, None),
        (Resource::Memlock, limits.memlock, None),
        (Resource::Stack, limits.stack, None),
    ];
    let limit = |(resource, set, inherited): (Resource, Option<u64>, Option<u64>)| match (set, inherited) {
        (Some(both), _) => Some(Limit { resource, soft: both, hard: Some(both) }),
        (None, Some(soft)) => Some(Limit { resource, soft, hard: None }),
        (None, None) => None,
    };
    set.into_iter().filter_map(limit).collect()
}

/// The kernel's signal for the one that the settings name.
pub(crate) fn stop_signal(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::Term,
        StopSignal::Int => Signal::Int,
        StopSignal::Hup => Signal::Hup,
        StopSignal::Quit => Signal::Quit,
        StopSignal::Usr1 => Signal::Usr1,
        StopSignal::Usr2 => Signal::Usr2,
        StopSignal::Kill => Signal::Kill,
        StopSignal::Winch => Signal::Winch,
    }
}

/// How long the child has to become ready; `None` when nothing is looked at.
pub(crate) fn gate(run: &Run) -> Option<Duration> {
    (run.ready.probe != Probe::None).then_some(run.ready.timeout)
}

#[cfg(test)]
pub(super) mod tests;
