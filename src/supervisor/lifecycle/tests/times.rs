//! When things are due.

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

/// How long it is from the last of the events to the deadline that it leaves, and where a wait has its jitter, how much
/// that may be.
#[test]
fn what_is_due_next_and_when() {
    let exact = Duration::ZERO;
    let quiet = Policy { live: None, ..policy() };
    let hasty = Policy { gate: Some(SECOND / 10 + MILLISECOND / 2), ..policy() };
    let slow = 30 * SECOND;
    let life = ["running", "exited 1", "gone", "deadline"];
    let crashed: Vec<&str> = ["start"].iter().chain(&life).chain(&life).chain(&life[..3]).copied().collect();
    let rows: &[(Policy, &[&str], Option<Duration>, Duration)] = &[
        (policy(), &[], None, exact),
        (policy(), &["start"], None, exact),
        (policy(), &["start", "running"], Some(4 * SECOND), exact),
        (policy(), &["start", "running", "probe failed"], Some(MILLISECOND), exact),
        // The next look would come after the gate.
        (hasty, &["start", "running", "probe failed"], Some(MILLISECOND / 2), exact),
        (policy(), &["start", "running", "deadline"], Some(LATE_PROBE), exact),
        (policy(), &["start", "running", "probe ok"], Some(10 * SECOND), exact),
        (policy(), &["start", "running", "probe ok", "deadline", "probe ok"], Some(10 * SECOND), exact),
        (policy(), &["start", "running", "probe ok", "deadline", "probe failed"], Some(10 * SECOND), exact),
        (policy(), &["start", "running", "probe ok", "deadline"], None, exact),
        (quiet, &["start", "running", "probe ok"], None, exact),
        (policy(), &["start", "running", "stop"], Some(5 * SECOND), exact),
        (policy(), &["start", "running", "exited 1"], Some(5 * SECOND), exact),
        (policy(), &["start", "running", "stop", "deadline"], Some(KILL_WAIT), exact),
        (policy(), &["start", "running", "stop", "deadline", "deadline"], None, exact),
        (policy(), &["start", "running", "exited 1", "gone"], Some(SECOND / 2), SECOND / 20),
        (policy(), &["start", "shortage"], Some(SECOND / 2), SECOND / 20),
        (policy(), &crashed, Some(slow), slow / 10),
        // It is forgiven when nobody looks at it as well.
        (
            quiet,
            &["start", "running", "exited 1", "gone", "deadline", "running", "probe ok"],
            Some(FORGIVE_AFTER),
            exact,
        ),
        (policy(), &["start", "refused"], Some(slow), slow / 10),
        (policy(), &["start", "refused", "deadline", "refused"], Some(2 * slow), slow / 5),
        // What stood in its way before it ran once has nothing to do with what does so afterwards.
        (
            policy(),
            &["start", "refused", "deadline", "running", "stop", "gone", "start", "refused"],
            Some(slow),
            slow / 10,
        ),
        (
            policy(),
            &["start", "refused", "deadline", "running", "exited 1", "gone", "deadline", "refused"],
            Some(slow),
            slow / 10,
        ),
    ];
    for (policy, events, expected, jitter) in rows {
        let (module, now) = after(*policy, events, Instant::now());
        let due = deadline(&module).map(|at| at.duration_since(now));
        match (due, expected) {
            (Some(due), Some(expected)) => {
                assert!(due >= *expected - *jitter && due <= *expected + *jitter, "after {events:?}: {due:?}");
            }
            (due, expected) => assert_eq!(due, *expected, "after {events:?}"),
        }
    }
}

/// Whoever is not bound yet is looked at often at first, and never as seldom as to make the caller wait.
#[test]
fn the_looks_at_a_new_child_become_fewer() {
    let (mut module, mut now) = after(policy(), &["start", "running"], Instant::now());
    for expected_ms in [1, 2, 4, 8, 16, 32, 64, 128, 200, 200] {
        step(&mut module, Event::ProbeFailed { child: 1 }, now);
        let at = deadline(&module).expect("a look is due");
        assert_eq!(at - now, expected_ms * MILLISECOND);
        assert_eq!(step(&mut module, Event::Deadline, at), [Action::Probe { child: 1 }], "{expected_ms} ms");
        now = at;
    }
}

/// Nothing happens before its time.
#[test]
fn a_deadline_that_comes_early_changes_nothing() {
    for events in [
        &["start", "running"][..],
        &["start", "running", "probe failed"],
        &["start", "running", "deadline"],
        &["start", "running", "probe ok"],
        &["start", "running", "stop"],
        &["start", "running", "stop", "deadline"],
        &["start", "running", "exited 1", "gone"],
        &["start", "running", "exited 1", "gone", "deadline", "running", "probe ok"],
    ] {
        let (mut module, _) = after(policy(), events, Instant::now());
        let early = deadline(&module).expect("something is due") - MILLISECOND / 2;
        let before = module.state;
        assert_eq!(step(&mut module, Event::Deadline, early), [], "after {events:?}");
        assert_eq!(module.state, before, "after {events:?}");
    }
}

#[test]
fn a_minute_of_healthy_running_forgives_and_less_does_not() {
    let live = Some(Liveness { interval: 45 * SECOND, failures: 2 });
    let life = ["running", "exited 1", "gone", "deadline"];
    let mut events = vec!["start"];
    events.extend(life.iter().chain(&life).chain(&life));
    events.extend(["running", "probe ok"]);
    let (crashed, up_at) = after(Policy { live, ..policy() }, &events, Instant::now());
    for (runs_for_s, forgiven) in [(59, false), (60, true)] {
        let mut module = crashed.clone();
        let mut probed_after = Vec::new();
        while let Some(at) = deadline(&module).filter(|at| *at <= up_at + runs_for_s * SECOND) {
            let child = module.child;
            for action in step(&mut module, Event::Deadline, at) {
                assert_eq!(action, Action::Probe { child });
                probed_after.push((at - up_at).as_secs());
                step(&mut module, Event::ProbeOk { child }, at);
            }
        }
        assert_eq!(probed_after, [45], "forgiving is no reason to look at it");
        let child = module.child;
        let end = up_at + runs_for_s * SECOND;
        step(&mut module, Event::Exited { child, ended: Ended::Failure }, end);
        step(&mut module, Event::Gone { child }, end);
        assert_eq!(state(&module), if forgiven { "spawning" } else { "waiting slow" }, "after {runs_for_s} s");
    }
}

/// A hub that is told to hurry leaves nobody any grace, until somebody starts the module again.
#[test]
fn there_is_no_grace_once_it_is_to_hurry() {
    for (events, expected) in [
        (&["start", "running", "hurry"][..], Action::Kill { child: 1 }),
        (&["start", "hurry", "running"], Action::Kill { child: 1 }),
        (&["hurry", "start", "running"], Action::Terminate { child: 1 }),
        (&["start", "hurry", "start", "running"], Action::Terminate { child: 1 }),
        (&["start", "running", "stop", "hurry", "gone", "start", "running"], Action::Terminate { child: 2 }),
    ] {
        let (mut module, now) = after(policy(), events, Instant::now());
        let actions = step(&mut module, Event::Stop, now);
        assert!(actions.contains(&expected), "after {events:?}: {actions:?}");
    }
}
