//! What others are told of a module, state by state.

use super::*;

/// All that is asked of a module, in words.
fn shown(module: &Module) -> Vec<&'static str> {
    [
        ("up", module.is_up()),
        ("ready", module.is_ready()),
        ("unbound", module.is_unbound()),
        ("forking", module.is_forking()),
        ("at rest", module.is_at_rest()),
        ("done", module.is_done()),
        ("settled", module.is_settled()),
        ("stuck", module.is_stuck()),
    ]
    .into_iter()
    .filter_map(|(word, holds)| holds.then_some(word))
    .collect()
}

#[test]
fn every_state_is_told_as_it_is() {
    let gives_up = Policy { give_up: true, ..policy() };
    let rows: &[(Policy, &[&str], Status, &[&str])] = &[
        (policy(), &[], Status::Stopped, &["at rest", "settled"]),
        (policy(), &["start"], Status::Starting, &["forking"]),
        (policy(), &["start", "running"], Status::Starting, &["up"]),
        (policy(), &["start", "running", "probe ok"], Status::Running, &["up", "ready", "settled"]),
        (policy(), &["start", "running", "deadline"], Status::Running, &["up", "unbound", "settled"]),
        (policy(), &["start", "running", "stop"], Status::Running, &[]),
        (policy(), &["start", "running", "restart"], Status::Restarting, &[]),
        (policy(), &["start", "running", "exited 1"], Status::Restarting, &[]),
        (policy(), &["start", "running", "stop", "deadline"], Status::Running, &[]),
        (policy(), &["start", "running", "stop", "deadline", "deadline"], Status::Crashed, &["settled", "stuck"]),
        (policy(), &["start", "running", "restart", "deadline", "deadline"], Status::Restarting, &["settled", "stuck"]),
        (policy(), &["start", "running", "exited 1", "gone"], Status::Restarting, &["settled"]),
        (policy(), &["start", "refused"], Status::Crashed, &["settled"]),
        (policy(), &["start", "shortage"], Status::Restarting, &["settled"]),
        (gives_up, &["start", "refused"], Status::Crashed, &["at rest", "done", "settled"]),
        (policy(), &["start", "running", "stop", "gone"], Status::Stopped, &["at rest", "settled"]),
        // Who comes back by itself is restarting; who is brought back by hand is starting.
        (policy(), &["start", "running", "exited 1", "gone", "deadline"], Status::Restarting, &["forking"]),
        (policy(), &["start", "running", "exited 1", "gone", "deadline", "start"], Status::Starting, &["forking"]),
        (policy(), &["start", "running", "exited 1", "gone", "deadline", "restart"], Status::Starting, &["forking"]),
        (policy(), &["start", "running", "probe ok", "deadline", "exited 1", "gone"], Status::Restarting, &["forking"]),
        (policy(), &["start", "running", "restart", "gone"], Status::Starting, &["forking"]),
    ];
    for (policy, events, status, words) in rows {
        let (module, _) = after(*policy, events, Instant::now());
        assert_eq!((module.status(), shown(&module).as_slice()), (*status, *words), "after {events:?}");
    }
}

#[test]
fn a_restart_is_counted_when_it_was_not_asked_for() {
    for (events, restarts) in [
        (&["start", "running", "restart", "gone", "running"][..], 0),
        (&["start", "running", "exited 1", "gone"], 0),
        (&["start", "running", "exited 1", "gone", "deadline"], 1),
        (&["start", "running", "probe ok", "deadline", "exited 1", "gone"], 1),
        (&["start", "refused", "deadline", "refused", "deadline"], 2),
    ] {
        let (module, _) = after(policy(), events, Instant::now());
        assert_eq!(module.restarts_total(), restarts, "after {events:?}");
    }
}

/// By hand means that nothing counts any more, also while a fork is on its way.
#[test]
fn a_start_by_hand_is_shown_without_failures() {
    let failed = ["start", "running", "exited 1", "gone"];
    for more in [&["start"][..], &["restart"], &["deadline", "start"], &["stop", "start"]] {
        let events: Vec<&str> = failed.iter().chain(more).copied().collect();
        let (module, _) = after(policy(), &events, Instant::now());
        assert_eq!(module.failures_in_window(), 0, "after {events:?}");
    }
}
