//! Pure: what a module does next. Every state answers every event; time comes in as an argument.
//!
//! A child has a number, and an event of an earlier child changes nothing. States carry what only they have, so that
//! "ending without a deadline" cannot be written down, except where no deadline is left to set.
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]

mod step;
#[cfg(test)]
mod tests;

pub(crate) use step::step;

use super::Status;
use super::budget::{Budget, FORGIVE_AFTER, Verdict};
use crate::manifest::run::Restart;
use std::time::{Duration, Instant};

/// The waits between probes of a module that is not bound yet: they double from the first to the last.
const PROBE_FIRST: Duration = Duration::from_millis(1);
const PROBE_CAP: Duration = Duration::from_millis(200);
/// How long, and how often, a module that missed its gate is looked at (supervisor §10.3).
const LATE_WATCH: Duration = Duration::from_secs(60);
const LATE_PROBE: Duration = Duration::from_secs(1);
/// What KILL gets to take effect. Longer means a process that the kernel cannot end now (supervisor B23).
const KILL_WAIT: Duration = Duration::from_secs(5);

/// What of the settings decides; set anew at every spawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    /// `crashed` is final.
    pub(crate) give_up: bool,
    /// From the stop signal to KILL.
    pub(crate) stop_timeout: Duration,
    /// How long a new child has to become ready; `None`: it is ready as soon as it runs.
    pub(crate) gate: Option<Duration>,
    pub(crate) live: Option<Liveness>,
}

/// A repeated look at a module that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Liveness {
    pub(crate) interval: Duration,
    /// Failed looks in a row that count as a failure of the module.
    pub(crate) failures: u32,
}

/// How a child ended, as far as the policy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Success,
    Failure,
}

/// All that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Asked for by hand, or at boot.
    Start,
    Stop,
    /// Asked for by hand; a new child can be started, as far as its settings tell now.
    Restart,
    /// Skip the rest of the grace.
    Hurry,
    /// The child's program runs.
    Running {
        child: u64,
    },
    /// There is no child: something outside the module stands in the way.
    Refused {
        child: u64,
    },
    /// There is no child: the machine was short of something.
    Shortage {
        child: u64,
    },
    /// The probe found the child bound.
    ProbeOk {
        child: u64,
    },
    ProbeFailed {
        child: u64,
    },
    /// The leader has ended; its group is to be looked at.
    Exited {
        child: u64,
        ended: Ended,
    },
    /// The leader is collected and nothing of its group or offspring is left.
    Gone {
        child: u64,
    },
    /// The time that [`deadline`] named has come.
    Deadline,
}

/// All it can ask for; results come back as events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read the settings anew, look whether they can work, fork.
    Spawn {
        child: u64,
    },
    /// Connect to the child's port, or ask its health path.
    Probe {
        child: u64,
    },
    /// Send the stop signal to the group and to all that left it.
    Terminate {
        child: u64,
    },
    /// Send KILL to the group and to all that left it.
    Kill {
        child: u64,
    },
    /// Start looking whether anything of the child is left; ends in [`Event::Gone`].
    Clear {
        child: u64,
    },
    Say(Notice),
}

/// What is worth a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// An unrequested end, and when it is tried again.
    Restarting {
        failures: u32,
        after: Duration,
    },
    /// Too many failures; `after` is `None` when it is final.
    Crashed {
        failures: u32,
        after: Option<Duration>,
    },
    /// Something outside stands in the way; `after` is `None` when it is final.
    Blocked {
        after: Option<Duration>,
    },
    Shortage {
        after: Duration,
    },
    /// It ended and its policy does not restart it.
    Finished,
    /// It was asked to end and nothing of it is left.
    Stopped,
    Unbound,
    BoundLate,
    NotAlive {
        failures: u32,
    },
    Killing,
    Stuck,
}

/// What comes after the end of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Stop,
    Start,
    /// It ended by itself.
    Judge {
        ended: Ended,
        ran: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Stopped,
    /// Ended as its policy allows, or crashed for good.
    Done {
        crashed: bool,
    },
    /// A fork is asked for; `then` is what was asked meanwhile.
    Spawning {
        by_hand: bool,
        then: Option<Then>,
    },
    /// The child runs and is not bound yet.
    Starting {
        since: Instant,
        gate_at: Instant,
        probe_at: Option<Instant>,
        probe_wait: Duration,
    },
    Running {
        since: Instant,
        bound: bool,
        watch: Watch,
        forgive_at: Option<Instant>,
    },
    /// The child, or what is left of it, is being ended. `kill_at` is `None` when nobody was told to end yet.
    Ending {
        phase: Phase,
        then: Then,
    },
    Waiting {
        until: Instant,
        crashed: bool,
    },
}

/// Why and when a running module is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    No,
    /// It missed its gate.
    Late {
        until: Instant,
        probe_at: Option<Instant>,
    },
    Live {
        probe_at: Option<Instant>,
        failures: u32,
    },
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The stop signal is sent; KILL follows.
    Grace {
        kill_at: Instant,
    },
    Killed {
        stuck_at: Instant,
    },
    /// KILL did not take effect; only the kernel can help.
    Stuck,
}

/// One module, as far as decisions go.
#[derive(Debug, Clone)]
pub(crate) struct Module {
    state: State,
    policy: Policy,
    /// The number of the newest child.
    child: u64,
    budget: Budget,
    restarts_total: u64,
    failures_shown: u32,
    /// No grace for what ends from now on; a start by hand brings it back.
    hurried: bool,
}

impl Module {
    /// A stopped module; `seed` decides the jitter of its waits.
    pub(crate) fn new(policy: Policy, seed: u64) -> Self {
        let budget = Budget::new(seed);
        Self { state: State::Stopped, policy, child: 0, budget, restarts_total: 0, failures_shown: 0, hurried: false }
    }

    /// The settings that hold from now on.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    pub(crate) fn status(&self) -> Status {
        match self.state {
            State::Stopped => Status::Stopped,
            State::Done { crashed: false } => Status::Stopped,
            State::Done { crashed: true } => Status::Crashed,
            State::Spawning { by_hand: true, .. } => Status::Starting,
            State::Spawning { by_hand: false, .. } => Status::Restarting,
            State::Starting { .. } => Status::Starting,
            State::Running { .. } => Status::Running,
            State::Ending { then: Then::Stop, phase: Phase::Stuck } => Status::Crashed,
            // Until it is gone it runs: whoever asked for the stop waits for `Stopped`.
            State::Ending { then: Then::Stop, .. } => Status::Running,
            State::Ending { then: Then::Start | Then::Judge { .. }, .. } => Status::Restarting,
            State::Waiting { crashed: false, .. } => Status::Restarting,
            State::Waiting { crashed: true, .. } => Status::Crashed,
        }
    }

    /// Its program runs, and nobody is ending it.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Starting { .. } | State::Running { .. })
    }

    /// Bound, or running without a gate.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, State::Running { bound: true, .. })
    }

    /// Running, but it missed its gate.
    pub(crate) fn is_unbound(&self) -> bool {
        matches!(self.state, State::Running { bound: false, .. })
    }

    /// A fork is asked for, and whether there will be a child is not known yet.
    pub(crate) fn is_forking(&self) -> bool {
        matches!(self.state, State::Spawning { .. })
    }

    /// Nothing of it is left and nothing is coming.
    pub(crate) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Stopped | State::Done { .. })
    }

    /// It ended by itself, and only a start by hand brings it back.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done { .. })
    }

    /// Whether whoever asked for a start has an answer: it is up, or this attempt is over.
    pub(crate) fn is_settled(&self) -> bool {
        match self.state {
            State::Stopped | State::Done { .. } | State::Running { .. } | State::Waiting { .. } => true,
            State::Ending { phase: Phase::Stuck, .. } => true,
            State::Spawning { .. } | State::Starting { .. } | State::Ending { .. } => false,
        }
    }

    /// KILL did not end it.
    pub(crate) fn is_stuck(&self) -> bool {
        matches!(self.state, State::Ending { phase: Phase::Stuck, .. })
    }

    /// When the next attempt is made.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            State::Stopped
            | State::Done { .. }
            | State::Spawning { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Ending { .. } => None,
        }
    }

    pub(crate) fn restarts_total(&self) -> u64 {
        self.restarts_total
    }

    /// Failures inside the window when the last one happened; zero after a start by hand.
    pub(crate) fn failures_in_window(&self) -> u32 {
        self.failures_shown
    }

    fn spawn(&mut self, by_hand: bool) -> Vec<Action> {
        self.child += 1;
        self.state = State::Spawning { by_hand, then: None };
        vec![Action::Spawn { child: self.child }]
    }

    fn start_by_hand(&mut self) -> Vec<Action> {
        self.forgive_by_hand();
        self.spawn(true)
    }

    fn forgive_by_hand(&mut self) {
        self.budget.reset();
        self.failures_shown = 0;
        self.hurried = false;
    }

    fn terminate(&mut self, then: Then, now: Instant) -> Vec<Action> {
        if self.hurried {
            return self.kill(then, now);
        }
        self.state = State::Ending { phase: Phase::Grace { kill_at: now + self.policy.stop_timeout }, then };
        vec![Action::Terminate { child: self.child }]
    }

    fn kill(&mut self, then: Then, now: Instant) -> Vec<Action> {
        self.state = State::Ending { phase: Phase::Killed { stuck_at: now + KILL_WAIT }, then };
        vec![Action::Say(Notice::Killing), Action::Kill { child: self.child }]
    }

    /// The leader ended by itself: what is left of its group goes, then it is judged.
    fn ended_by_itself(&mut self, ended: Ended, ran: Duration, now: Instant) -> Vec<Action> {
        let mut actions = self.terminate(Then::Judge { ended, ran }, now);
        actions.push(Action::Clear { child: self.child });
        actions
    }

    /// Nothing is left of the child.
    fn gone(&mut self, then: Then, now: Instant) -> Vec<Action> {
        match then {
            Then::Stop => {
                self.state = State::Stopped;
                vec![Action::Say(Notice::Stopped)]
            }
            Then::Start => self.start_by_hand(),
            Then::Judge { ended, ran } => self.judge(ended, ran, now),
        }
    }

    fn judge(&mut self, ended: Ended, ran: Duration, now: Instant) -> Vec<Action> {
        let restart = match (self.policy.restart, ended) {
            (Restart::Always, _) | (Restart::OnFailure, Ended::Failure) => true,
            (Restart::OnFailure, Ended::Success) | (Restart::Never, _) => false,
        };
        if !restart {
            self.state = State::Done { crashed: ended == Ended::Failure };
            return vec![Action::Say(Notice::Finished)];
        }
        let verdict = self.budget.failed(now, ran);
        let failures = self.budget.failures_in_window();
        self.failures_shown = failures;
        match verdict {
            Verdict::Quick(after) if after.is_zero() => {
                let mut actions = vec![Action::Say(Notice::Restarting { failures, after })];
                self.restarts_total += 1;
                actions.extend(self.spawn(false));
                actions
            }
            Verdict::Quick(after) => {
                self.state = State::Waiting { until: now + after, crashed: false };
                vec![Action::Say(Notice::Restarting { failures, after })]
            }
            Verdict::Slow(_) if self.policy.give_up => {
                self.state = State::Done { crashed: true };
                vec![Action::Say(Notice::Crashed { failures, after: None })]
            }
            Verdict::Slow(after) => {
                self.state = State::Waiting { until: now + after, crashed: true };
                vec![Action::Say(Notice::Crashed { failures, after: Some(after) })]
            }
        }
    }

    /// Bound, or without a gate.
    fn up(&mut self, since: Instant, now: Instant) -> Vec<Action> {
        let watch = match self.policy.live {
            Some(live) => Watch::Live { probe_at: Some(now + live.interval), failures: 0 },
            None => Watch::No,
        };
        let forgive_at = (!self.budget.is_fresh()).then(|| now + FORGIVE_AFTER);
        self.state = State::Running { since, bound: true, watch, forgive_at };
        Vec::new()
    }
}

/// When the worker owes an [`Event::Deadline`]; `None` means never.
pub(crate) fn deadline(m: &Module) -> Option<Instant> {
    match m.state {
        State::Stopped | State::Done { .. } | State::Spawning { .. } => None,
        State::Starting { gate_at, probe_at, .. } => Some(probe_at.map_or(gate_at, |at| at.min(gate_at))),
        State::Running { watch, forgive_at, .. } => {
            let probe_at = match watch {
                Watch::No => None,
                Watch::Late { probe_at, .. } | Watch::Live { probe_at, .. } => probe_at,
            };
            match (probe_at, forgive_at) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        }
        State::Ending { phase: Phase::Grace { kill_at }, .. } => Some(kill_at),
        State::Ending { phase: Phase::Killed { stuck_at }, .. } => Some(stuck_at),
        State::Ending { phase: Phase::Stuck, .. } => None,
        State::Waiting { until, .. } => Some(until),
    }
}
