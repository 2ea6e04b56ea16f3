//! What a module leaves behind besides its leader: members of its group and descendants that left it.
//!
//! The hub is a subreaper, so every descendant whose parents are gone becomes its child. No such stranger proves that
//! nothing is left; only when there are some is /proc looked through.

use super::plan;
use crate::sys::process::{Family, Held, Pid, Signal};
use crate::sys::{proc, process};
use std::collections::HashMap;
use std::os::fd::BorrowedFd;

/// Processes of one module beside its leader, each held by a pidfd.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    held: Vec<Held>,
    /// The last signal that went to all of them; newcomers get it too.
    signal: Option<Signal>,
}

impl Remains {
    /// Sends `signal` to all that are there, and later to those that turn up.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.signal = Some(signal);
        for held in &self.held {
            // One that has become another user's process meanwhile cannot be ended by us; it is reported as stuck.
            let _ = held.signal(signal);
        }
    }

    /// Looks again who is left. `leader` is the module's leader, whose group counts while it is not collected.
    /// Returns whether anybody is.
    pub(crate) fn look(&mut self, family: &Family, leader: Option<Pid>, lineage_word: &str) -> bool {
        // An unreadable /proc proves nothing, but without it nobody can be found either.
        let strangers = family.strangers().unwrap_or_default();
        if strangers.is_empty() {
            self.held.clear();
            return false;
        }
        let found = descendants(&strangers, family, leader, lineage_word);
        self.held.retain(|held| found.iter().any(|(pid, _)| *pid == held.pid()));
        for (pid, start_ticks) in found {
            if self.held.iter().any(|held| held.pid() == pid) {
                continue;
            }
            let still = || proc::stat(pid).is_some_and(|stat| stat.start_ticks == start_ticks && !stat.is_zombie());
            if let Some(held) = Held::open(pid, still) {
                if let Some(signal) = self.signal {
                    let _ = held.signal(signal);
                }
                self.held.push(held);
            }
        }
        !self.held.is_empty()
    }

    /// Readable when one of them has ended.
    pub(crate) fn pidfds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.held.iter().map(Held::pidfd)
    }

    pub(crate) fn clear(&mut self) {
        self.held.clear();
        self.signal = None;
    }
}

/// The strangers that belong to the module, and everything below them, with their start times.
fn descendants(strangers: &[Pid], family: &Family, leader: Option<Pid>, lineage_word: &str) -> Vec<(Pid, u64)> {
    let own = process::own_pid();
    let stats: HashMap<Pid, proc::Stat> =
        proc::pids().unwrap_or_default().into_iter().filter_map(|pid| Some((pid, proc::stat(pid)?))).collect();
    let mut found: Vec<Pid> = strangers
        .iter()
        .copied()
        .filter(|pid| {
            stats.get(pid).is_some_and(|stat| Some(stat.group) == leader)
                || proc::environment_value(*pid, plan::LINEAGE)
                    .is_some_and(|lineage| plan::is_of_lineage(&lineage, lineage_word))
        })
        .collect();
    // Everything below them, generation by generation.
    let mut index = 0;
    while let Some(parent) = found.get(index).copied() {
        index += 1;
        let children = stats.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid);
        for child in children {
            if child != own && !found.contains(&child) && !family.is_leader(child) {
                found.push(child);
            }
        }
    }
    found
        .into_iter()
        .filter_map(|pid| stats.get(&pid).filter(|stat| !stat.is_zombie()).map(|stat| (pid, stat.start_ticks)))
        .collect()
}
