//! What the rest of the hub hears of a module: its snapshot, the answers to those who wait, and word to the main thread.

use super::{Heard, Worker};
use crate::supervisor::inbox::ForMain;
use crate::supervisor::{Snapshot, Status};
use std::time::Instant;

impl Worker {
    pub(super) fn snapshot(&self) -> Snapshot {
        let living = self.living.as_ref().filter(|living| !living.ended);
        Snapshot {
            short: self.short.clone(),
            status: self.module.status(),
            ready: self.module.is_ready(),
            pid: living.map(|living| living.child.pid()),
            started_at: living.map(|living| living.started_at),
            started: living.map(|living| living.started),
            restarts_in_window: self.module.failures_in_window(),
            restarts_total: self.module.restarts_total(),
            last_crash_at: self.last_crash_at,
            last_exit: self.last_exit,
            retry_at: self.module.retry_at(),
            start_error: self.start_error.as_deref().cloned(),
            // The worker is not told.
            waits_for: Vec::new(),
        }
    }

    /// When the child that is there now was started.
    pub(super) fn child_since(&self) -> Instant {
        self.living.as_ref().map_or_else(Instant::now, |living| living.started)
    }

    /// Shows the new state and answers whoever waited for it.
    pub(super) fn publish(&mut self) {
        // What wakes all workers alike is no news of one that waits for its turn: those that wait for it would go on.
        if self.heard == Heard::Nobody {
            return;
        }
        // A job may be quicker than its probe.
        let ended_well = self.module.is_done() && self.module.status() == Status::Stopped;
        if self.module.is_ready() || ended_well {
            self.start_error = None;
        }
        let snapshot = self.snapshot();
        self.waiters.answer(&self.module, &snapshot);
        self.published.set(snapshot, self.child_since());
        self.tell_main();
    }

    fn tell_main(&mut self) {
        let told = self.module.is_settled().then(|| self.module.is_at_rest());
        if told.is_none() || told == self.told {
            self.told = told;
            return;
        }
        self.told = told;
        // It may stay like this for weeks.
        self.went_deep = true;
        let at_rest = self.module.is_at_rest();
        if self.settings.essential && self.module.is_done() {
            let crashed = self.module.status() == Status::Crashed;
            self.context.main.send(ForMain::EssentialDown { short: self.short.clone(), crashed });
        }
        self.context.main.send(ForMain::Settled { short: self.short.clone(), at_rest });
    }
}
