//! Pure: one function per state, each answering every event.

use super::{
    Action, Ended, Event, LATE_PROBE, LATE_WATCH, Module, Notice, PROBE_CAP, PROBE_FIRST, Phase, State, Then, Watch,
};
use std::time::{Duration, Instant};

/// What follows from `event`. Reads no clock and touches no process; the effects are what it returns.
pub(crate) fn step(m: &mut Module, event: Event, now: Instant) -> Vec<Action> {
    if let Event::Running { child }
    | Event::Refused { child }
    | Event::Shortage { child }
    | Event::ProbeOk { child }
    | Event::ProbeFailed { child }
    | Event::Exited { child, .. }
    | Event::Gone { child } = event
        && child != m.child
    {
        return Vec::new();
    }
    if event == Event::Hurry {
        m.hurried = true;
    }
    match m.state {
        State::Stopped | State::Done { .. } => at_rest(m, event),
        State::Spawning { by_hand, then } => spawning(m, by_hand, then, event, now),
        State::Starting { since, gate_at, probe_at, probe_wait } => {
            starting(m, since, gate_at, probe_at, probe_wait, event, now)
        }
        State::Running { since, bound, watch, forgive_at } => running(m, since, bound, watch, forgive_at, event, now),
        State::Ending { phase, then } => ending(m, phase, then, event, now),
        State::Waiting { until, .. } => waiting(m, until, event, now),
    }
}

fn at_rest(m: &mut Module, event: Event) -> Vec<Action> {
    match event {
        Event::Start | Event::Restart => m.start_by_hand(),
        Event::Stop => {
            m.state = State::Stopped;
            Vec::new()
        }
        Event::Hurry
        | Event::Running { .. }
        | Event::Refused { .. }
        | Event::Shortage { .. }
        | Event::ProbeOk { .. }
        | Event::ProbeFailed { .. }
        | Event::Exited { .. }
        | Event::Gone { .. }
        | Event::Deadline => Vec::new(),
    }
}

fn spawning(m: &mut Module, by_hand: bool, then: Option<Then>, event: Event, now: Instant) -> Vec<Action> {
    match event {
        // A fork cannot be taken back; what was asked last happens once it is there.
        Event::Start => {
            m.forgive_by_hand();
            m.state = State::Spawning { by_hand: true, then: None };
            Vec::new()
        }
        Event::Stop => {
            m.state = State::Spawning { by_hand, then: Some(Then::Stop) };
            Vec::new()
        }
        Event::Restart => {
            m.state = State::Spawning { by_hand: true, then: Some(Then::Start) };
            Vec::new()
        }
        Event::Running { .. } => {
            m.budget.way_is_clear();
            match (then, m.policy.gate) {
                (Some(then), _) => m.terminate(then, now),
                (None, Some(gate)) => {
                    m.state =
                        State::Starting { since: now, gate_at: now + gate, probe_at: None, probe_wait: PROBE_FIRST };
                    vec![Action::Probe { child: m.child }]
                }
                (None, None) => m.up(now, now),
            }
        }
        Event::Refused { .. } => match then {
            Some(Then::Stop) => m.gone(Then::Stop, now),
            Some(Then::Start) => m.start_by_hand(),
            None | Some(Then::Judge { .. }) if m.policy.give_up => {
                m.state = State::Done { crashed: true };
                vec![Action::Say(Notice::Blocked { after: None })]
            }
            None | Some(Then::Judge { .. }) => {
                let after = m.budget.obstacle();
                m.state = State::Waiting { until: now + after, crashed: true };
                vec![Action::Say(Notice::Blocked { after: Some(after) })]
            }
        },
        Event::Shortage { .. } => match then {
            Some(Then::Stop) => m.gone(Then::Stop, now),
            Some(Then::Start) => m.start_by_hand(),
            None | Some(Then::Judge { .. }) => {
                let after = m.budget.shortage();
                m.state = State::Waiting { until: now + after, crashed: false };
                vec![Action::Say(Notice::Shortage { after })]
            }
        },
        // It ended before we heard that it runs.
        Event::Exited { ended, .. } => match then {
            Some(then) => {
                let mut actions = m.terminate(then, now);
                actions.push(Action::Clear { child: m.child });
                actions
            }
            None => m.ended_by_itself(ended, Duration::ZERO, now),
        },
        Event::Hurry | Event::ProbeOk { .. } | Event::ProbeFailed { .. } | Event::Gone { .. } | Event::Deadline => {
            Vec::new()
        }
    }
}

fn starting(
    m: &mut Module,
    since: Instant,
    gate_at: Instant,
    probe_at: Option<Instant>,
    probe_wait: Duration,
    event: Event,
    now: Instant,
) -> Vec<Action> {
    match event {
        Event::Start | Event::Hurry | Event::Running { .. } | Event::Refused { .. } | Event::Shortage { .. } => {
            Vec::new()
        }
        Event::Stop => m.terminate(Then::Stop, now),
        Event::Restart => m.terminate(Then::Start, now),
        Event::ProbeOk { .. } => m.up(since, now),
        Event::ProbeFailed { .. } => {
            m.state = State::Starting {
                since,
                gate_at,
                probe_at: Some(now + probe_wait),
                probe_wait: (probe_wait * 2).min(PROBE_CAP),
            };
            Vec::new()
        }
        Event::Exited { ended, .. } => m.ended_by_itself(ended, now.duration_since(since), now),
        Event::Gone { .. } => Vec::new(),
        Event::Deadline if now >= gate_at => {
            let watch = Watch::Late { until: now + LATE_WATCH, probe_at: Some(now + LATE_PROBE) };
            m.state = State::Running { since, bound: false, watch, forgive_at: None };
            vec![Action::Say(Notice::Unbound)]
        }
        Event::Deadline if probe_at.is_some_and(|at| now >= at) => {
            m.state = State::Starting { since, gate_at, probe_at: None, probe_wait };
            vec![Action::Probe { child: m.child }]
        }
        Event::Deadline => Vec::new(),
    }
}

fn running(
    m: &mut Module,
    since: Instant,
    bound: bool,
    watch: Watch,
    forgive_at: Option<Instant>,
    event: Event,
    now: Instant,
) -> Vec<Action> {
    let stay = |m: &mut Module, watch: Watch| {
        m.state = State::Running { since, bound, watch, forgive_at };
    };
    match event {
        Event::Start | Event::Hurry | Event::Running { .. } | Event::Refused { .. } | Event::Shortage { .. } => {
            Vec::new()
        }
        Event::Gone { .. } => Vec::new(),
        Event::Stop => m.terminate(Then::Stop, now),
        Event::Restart => m.terminate(Then::Start, now),
        Event::Exited { ended, .. } => m.ended_by_itself(ended, now.duration_since(since), now),
        Event::ProbeOk { .. } => match (watch, m.policy.live) {
            (Watch::Late { .. }, _) => {
                let mut actions = m.up(since, now);
                actions.push(Action::Say(Notice::BoundLate));
                actions
            }
            (Watch::Live { .. }, Some(live)) => {
                stay(m, Watch::Live { probe_at: Some(now + live.interval), failures: 0 });
                Vec::new()
            }
            (Watch::Live { .. }, None) | (Watch::No, _) => {
                stay(m, Watch::No);
                Vec::new()
            }
        },
        Event::ProbeFailed { .. } => match (watch, m.policy.live) {
            (Watch::Late { until, .. }, _) => {
                let probe_at = now + LATE_PROBE;
                stay(m, if probe_at <= until { Watch::Late { until, probe_at: Some(probe_at) } } else { Watch::No });
                Vec::new()
            }
            (Watch::Live { failures, .. }, Some(live)) if failures + 1 >= live.failures => {
                let ran = now.duration_since(since);
                let mut actions = vec![Action::Say(Notice::NotAlive { failures: failures + 1 })];
                actions.extend(m.terminate(Then::Judge { ended: Ended::Failure, ran }, now));
                actions
            }
            (Watch::Live { failures, .. }, Some(live)) => {
                stay(m, Watch::Live { probe_at: Some(now + live.interval), failures: failures + 1 });
                Vec::new()
            }
            (Watch::Live { .. }, None) | (Watch::No, _) => {
                stay(m, Watch::No);
                Vec::new()
            }
        },
        Event::Deadline => {
            let mut actions = Vec::new();
            let forgive_at = match forgive_at {
                Some(at) if now >= at => {
                    m.budget.reset();
                    None
                }
                other => other,
            };
            let due = |at: Option<Instant>| at.is_some_and(|at| now >= at);
            let watch = match watch {
                Watch::Late { until, probe_at } if due(probe_at) => {
                    actions.push(Action::Probe { child: m.child });
                    Watch::Late { until, probe_at: None }
                }
                Watch::Live { probe_at, failures } if due(probe_at) => {
                    actions.push(Action::Probe { child: m.child });
                    Watch::Live { probe_at: None, failures }
                }
                Watch::Late { .. } | Watch::Live { .. } | Watch::No => watch,
            };
            m.state = State::Running { since, bound, watch, forgive_at };
            actions
        }
    }
}

fn ending(m: &mut Module, phase: Phase, then: Then, event: Event, now: Instant) -> Vec<Action> {
    match event {
        // The last intent wins: what follows the end changes, the end itself goes on, or is tried again.
        Event::Start | Event::Restart | Event::Stop => {
            let then = if event == Event::Stop { Then::Stop } else { Then::Start };
            match phase {
                Phase::Stuck => m.kill(then, now),
                Phase::Grace { .. } | Phase::Killed { .. } => {
                    m.state = State::Ending { phase, then };
                    Vec::new()
                }
            }
        }
        Event::Hurry => match phase {
            Phase::Grace { .. } => m.kill(then, now),
            Phase::Killed { .. } | Phase::Stuck => Vec::new(),
        },
        Event::Exited { .. } => vec![Action::Clear { child: m.child }],
        Event::Gone { .. } => m.gone(then, now),
        Event::Deadline => match phase {
            Phase::Grace { kill_at } if now >= kill_at => m.kill(then, now),
            Phase::Killed { stuck_at } if now >= stuck_at => {
                m.state = State::Ending { phase: Phase::Stuck, then };
                vec![Action::Say(Notice::Stuck)]
            }
            Phase::Grace { .. } | Phase::Killed { .. } | Phase::Stuck => Vec::new(),
        },
        Event::Running { .. }
        | Event::Refused { .. }
        | Event::Shortage { .. }
        | Event::ProbeOk { .. }
        | Event::ProbeFailed { .. } => Vec::new(),
    }
}

fn waiting(m: &mut Module, until: Instant, event: Event, now: Instant) -> Vec<Action> {
    match event {
        Event::Start | Event::Restart => m.start_by_hand(),
        Event::Stop => {
            m.state = State::Stopped;
            Vec::new()
        }
        Event::Deadline if now >= until => {
            m.restarts_total += 1;
            m.spawn(false)
        }
        Event::Deadline
        | Event::Hurry
        | Event::Running { .. }
        | Event::Refused { .. }
        | Event::Shortage { .. }
        | Event::ProbeOk { .. }
        | Event::ProbeFailed { .. }
        | Event::Exited { .. }
        | Event::Gone { .. } => Vec::new(),
    }
}
