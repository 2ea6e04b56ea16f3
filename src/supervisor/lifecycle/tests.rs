use super::*;

mod orders;
mod shown;
mod times;

const SECOND: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy {
        restart: Restart::Always,
        give_up: false,
        stop_timeout: 5 * SECOND,
        gate: Some(4 * SECOND),
        live: Some(Liveness { interval: 10 * SECOND, failures: 2 }),
    }
}

/// Every event, for the newest child.
const EVENTS: [&str; 13] = [
    "start",
    "stop",
    "restart",
    "hurry",
    "running",
    "refused",
    "shortage",
    "probe ok",
    "probe failed",
    "exited 0",
    "exited 1",
    "gone",
    "deadline",
];

fn event(name: &str, child: u64) -> Event {
    match name {
        "start" => Event::Start,
        "stop" => Event::Stop,
        "restart" => Event::Restart,
        "hurry" => Event::Hurry,
        "running" => Event::Running { child },
        "refused" => Event::Refused { child },
        "shortage" => Event::Shortage { child },
        "probe ok" => Event::ProbeOk { child },
        "probe failed" => Event::ProbeFailed { child },
        "exited 0" => Event::Exited { child, ended: Ended::Success },
        "exited 1" => Event::Exited { child, ended: Ended::Failure },
        "gone" => Event::Gone { child },
        "deadline" => Event::Deadline,
        other => panic!("no event {other}"),
    }
}

/// A module after these events, a tenth of a second apart; a deadline comes when it is due.
fn after(policy: Policy, events: &[&str], start: Instant) -> (Module, Instant) {
    let mut module = Module::new(policy, 1);
    let mut now = start;
    for name in events {
        now += SECOND / 10;
        if *name == "deadline" {
            now = deadline(&module).expect("a deadline is due").max(now);
        }
        let child = module.child;
        step(&mut module, event(name, child), now);
    }
    (module, now)
}

fn name(action: Action) -> &'static str {
    match action {
        Action::Spawn { .. } => "spawn",
        Action::Probe { .. } => "probe",
        Action::Terminate { .. } => "term",
        Action::Kill { .. } => "kill",
        Action::Clear { .. } => "clear",
        Action::Say(_) => "say",
    }
}

/// The internal state in a word: finer than the five of the API.
fn state(module: &Module) -> &'static str {
    match module.state {
        State::Stopped => "stopped",
        State::Done { crashed: false } => "done",
        State::Done { crashed: true } => "crashed",
        State::Spawning { then: None, .. } => "spawning",
        State::Spawning { then: Some(Then::Stop), .. } => "spawning>stop",
        State::Spawning { then: Some(Then::Start | Then::Judge { .. }), .. } => "spawning>start",
        State::Starting { .. } => "starting",
        State::Running { bound: true, .. } => "running",
        State::Running { bound: false, .. } => "unbound",
        State::Ending { phase: Phase::Stuck, .. } => "stuck",
        State::Ending { then: Then::Stop, .. } => "ending>stop",
        State::Ending { then: Then::Start, .. } => "ending>start",
        State::Ending { then: Then::Judge { .. }, .. } => "ending>judge",
        State::Waiting { crashed: false, .. } => "waiting",
        State::Waiting { crashed: true, .. } => "waiting slow",
    }
}

#[test]
fn every_state_answers_every_event() {
    let started = &["start", "running"][..];
    let up = &["start", "running", "probe ok"][..];
    let rows: &[(&[&str], [&str; 13])] = &[
        // The order of the columns is that of EVENTS.
        (
            &[],
            [
                "spawning:spawn",
                "stopped",
                "spawning:spawn",
                "stopped",
                "stopped",
                "stopped",
                "stopped",
                "stopped",
                "stopped",
                "stopped",
                "stopped",
                "stopped",
                "stopped",
            ],
        ),
        (
            &["start"],
            [
                "spawning",
                "spawning>stop",
                "spawning>start",
                "spawning",
                "starting:probe",
                "waiting slow:say",
                "waiting:say",
                "spawning",
                "spawning",
                "ending>judge:term,clear",
                "ending>judge:term,clear",
                "spawning",
                "spawning",
            ],
        ),
        (
            &["start", "stop"],
            [
                "spawning",
                "spawning>stop",
                "spawning>start",
                "spawning>stop",
                "ending>stop:term",
                "stopped:say",
                "stopped:say",
                "spawning>stop",
                "spawning>stop",
                "ending>stop:term,clear",
                "ending>stop:term,clear",
                "spawning>stop",
                "spawning>stop",
            ],
        ),
        (
            &["start", "restart"],
            [
                "spawning",
                "spawning>stop",
                "spawning>start",
                "spawning>start",
                "ending>start:term",
                "spawning:spawn",
                "spawning:spawn",
                "spawning>start",
                "spawning>start",
                "ending>start:term,clear",
                "ending>start:term,clear",
                "spawning>start",
                "spawning>start",
            ],
        ),
        (
            started,
            [
                "starting",
                "ending>stop:term",
                "ending>start:term",
                "starting",
                "starting",
                "starting",
                "starting",
                "running",
                "starting",
                "ending>judge:term,clear",
                "ending>judge:term,clear",
                "starting",
                "unbound:say",
            ],
        ),
        (
            up,
            [
                "running",
                "ending>stop:term",
                "ending>start:term",
                "running",
                "running",
                "running",
                "running",
                "running",
                "running",
                "ending>judge:term,clear",
                "ending>judge:term,clear",
                "running",
                "running:probe",
            ],
        ),
        (
            &["start", "running", "deadline"],
            [
                "unbound",
                "ending>stop:term",
                "ending>start:term",
                "unbound",
                "unbound",
                "unbound",
                "unbound",
                "running:say",
                "unbound",
                "ending>judge:term,clear",
                "ending>judge:term,clear",
                "unbound",
                "unbound:probe",
            ],
        ),
        (
            &["start", "running", "probe ok", "stop"],
            [
                "ending>start",
                "ending>stop",
                "ending>start",
                "ending>stop:say,kill",
                "ending>stop",
                "ending>stop",
                "ending>stop",
                "ending>stop",
                "ending>stop",
                "ending>stop:clear",
                "ending>stop:clear",
                "stopped:say",
                "ending>stop:say,kill",
            ],
        ),
        (
            &["start", "running", "probe ok", "restart"],
            [
                "ending>start",
                "ending>stop",
                "ending>start",
                "ending>start:say,kill",
                "ending>start",
                "ending>start",
                "ending>start",
                "ending>start",
                "ending>start",
                "ending>start:clear",
                "ending>start:clear",
                "spawning:spawn",
                "ending>start:say,kill",
            ],
        ),
        (
            &["start", "running", "probe ok", "exited 1"],
            [
                "ending>start",
                "ending>stop",
                "ending>start",
                "ending>judge:say,kill",
                "ending>judge",
                "ending>judge",
                "ending>judge",
                "ending>judge",
                "ending>judge",
                "ending>judge:clear",
                "ending>judge:clear",
                "waiting:say",
                "ending>judge:say,kill",
            ],
        ),
        (
            &["start", "running", "probe ok", "stop", "deadline"],
            [
                "ending>start",
                "ending>stop",
                "ending>start",
                "ending>stop",
                "ending>stop",
                "ending>stop",
                "ending>stop",
                "ending>stop",
                "ending>stop",
                "ending>stop:clear",
                "ending>stop:clear",
                "stopped:say",
                "stuck:say",
            ],
        ),
        (
            &["start", "running", "probe ok", "stop", "deadline", "deadline"],
            [
                "ending>start:say,kill",
                "ending>stop:say,kill",
                "ending>start:say,kill",
                "stuck",
                "stuck",
                "stuck",
                "stuck",
                "stuck",
                "stuck",
                "stuck:clear",
                "stuck:clear",
                "stopped:say",
                "stuck",
            ],
        ),
        (
            &["start", "running", "probe ok", "exited 1", "gone"],
            [
                "spawning:spawn",
                "stopped",
                "spawning:spawn",
                "waiting",
                "waiting",
                "waiting",
                "waiting",
                "waiting",
                "waiting",
                "waiting",
                "waiting",
                "waiting",
                "spawning:spawn",
            ],
        ),
        (
            &["start", "refused"],
            [
                "spawning:spawn",
                "stopped",
                "spawning:spawn",
                "waiting slow",
                "waiting slow",
                "waiting slow",
                "waiting slow",
                "waiting slow",
                "waiting slow",
                "waiting slow",
                "waiting slow",
                "waiting slow",
                "spawning:spawn",
            ],
        ),
    ];
    for (events, expected) in rows {
        answers(policy(), events, expected);
    }
}

/// Checks what a module after these events makes of each event; `expected` in the order of EVENTS.
#[track_caller]
fn answers(policy: Policy, events: &[&str], expected: &[&str; 13]) {
    for (name_of_event, expected) in EVENTS.iter().zip(expected) {
        let (mut module, mut now) = after(policy, events, Instant::now());
        now += SECOND / 10;
        if *name_of_event == "deadline" {
            now = now.max(deadline(&module).unwrap_or(now));
        }
        let child = module.child;
        let actions = step(&mut module, event(name_of_event, child), now);
        let names: Vec<&str> = actions.into_iter().map(name).collect();
        let got = match names.as_slice() {
            [] => state(&module).to_owned(),
            names => format!("{}:{}", state(&module), names.join(",")),
        };
        assert_eq!(got, *expected, "after {events:?}, {name_of_event}");
    }
}

/// Who came to rest by itself stays there until it is started by hand.
#[test]
fn whoever_is_done_is_brought_back_by_hand_alone() {
    let finished = Policy { restart: Restart::Never, ..policy() };
    let gives_up = Policy { give_up: true, ..policy() };
    for (policy, events, state) in [
        (finished, &["start", "running", "probe ok", "exited 0", "gone"][..], "done"),
        (finished, &["start", "running", "probe ok", "exited 1", "gone"], "crashed"),
        (gives_up, &["start", "refused"], "crashed"),
    ] {
        let mut expected = [state; 13];
        (expected[0], expected[1], expected[2]) = ("spawning:spawn", "stopped", "spawning:spawn");
        answers(policy, events, &expected);
    }
}

/// What comes after the end may change while KILL takes effect, or has not; that it ends does not.
#[test]
fn what_follows_an_end_by_force_is_what_was_asked_last() {
    for (how, follows, gone) in
        [("restart", "ending>start", "spawning:spawn"), ("exited 1", "ending>judge", "waiting:say")]
    {
        let cleared = format!("{follows}:clear");
        let mut expected = [follows; 13];
        (expected[0], expected[1], expected[2]) = ("ending>start", "ending>stop", "ending>start");
        (expected[9], expected[10], expected[11], expected[12]) = (&cleared, &cleared, gone, "stuck:say");
        answers(policy(), &["start", "running", "probe ok", how, "deadline"], &expected);

        // Then whoever asks has it tried again.
        let (start, stop) = ("ending>start:say,kill", "ending>stop:say,kill");
        let mut expected = ["stuck"; 13];
        (expected[0], expected[1], expected[2]) = (start, stop, start);
        (expected[9], expected[10], expected[11]) = ("stuck:clear", "stuck:clear", gone);
        answers(policy(), &["start", "running", "probe ok", how, "deadline", "deadline"], &expected);
    }
}

#[test]
fn without_a_liveness_probe_nothing_is_looked_at_once_it_runs() {
    let quiet = Policy { live: None, ..policy() };
    for (policy, events) in
        [(quiet, &["start", "running", "probe ok"][..]), (Policy { gate: None, ..quiet }, &["start", "running"])]
    {
        let mut expected = ["running"; 13];
        (expected[1], expected[2]) = ("ending>stop:term", "ending>start:term");
        (expected[9], expected[10]) = ("ending>judge:term,clear", "ending>judge:term,clear");
        answers(policy, events, &expected);
        assert_eq!(deadline(&after(policy, events, Instant::now()).0), None, "it wakes nobody");
    }
}

#[test]
fn the_policy_says_who_comes_back() {
    for (restart, ended, expected) in [
        (Restart::Always, "exited 0", "waiting"),
        (Restart::Always, "exited 1", "waiting"),
        (Restart::OnFailure, "exited 0", "done"),
        (Restart::OnFailure, "exited 1", "waiting"),
        (Restart::Never, "exited 0", "done"),
        (Restart::Never, "exited 1", "crashed"),
    ] {
        let (module, _) =
            after(Policy { restart, ..policy() }, &["start", "running", "probe ok", ended, "gone"], Instant::now());
        assert_eq!(state(&module), expected, "{restart:?} after {ended}");
    }
}

#[test]
fn the_third_failure_crashes_it_and_only_give_up_is_final() {
    let life = ["running", "exited 1", "gone", "deadline"];
    for (give_up, expected, status) in [(false, "waiting slow", Status::Crashed), (true, "crashed", Status::Crashed)] {
        let mut events = vec!["start"];
        events.extend(life.iter().chain(&life).chain(&life[..3]));
        let (module, _) = after(Policy { give_up, ..policy() }, &events, Instant::now());
        assert_eq!(state(&module), expected, "giveUp {give_up}");
        assert_eq!(module.status(), status, "giveUp {give_up}");
        assert_eq!(module.failures_in_window(), 3);
        assert_eq!(module.restarts_total(), 2, "initial run and two respawns");
        assert_eq!(module.retry_at().is_some(), !give_up);
    }
}

#[test]
fn a_start_by_hand_forgives() {
    let life = ["running", "exited 1", "gone", "deadline"];
    let mut events = vec!["start"];
    events.extend(life.iter().chain(&life[..3]));
    events.extend(["start", "running", "exited 1", "gone"]);
    let (module, _) = after(policy(), &events, Instant::now());
    assert_eq!(state(&module), "waiting");
    assert_eq!(module.failures_in_window(), 1);
}

#[test]
fn a_shortage_is_not_a_failure_of_the_module() {
    let mut events = vec!["start"];
    events.extend(std::iter::repeat_n(["shortage", "deadline"], 8).flatten());
    events.push("shortage");
    let (module, _) = after(policy(), &events, Instant::now());
    assert_eq!(state(&module), "waiting");
    assert_eq!((module.status(), module.failures_in_window()), (Status::Restarting, 0));
}

/// Nor is what was in its way, such as a port that somebody else held: its restarts are its own.
#[test]
fn an_obstacle_is_not_a_failure_of_the_module() {
    let obstacles = ["start", "refused", "deadline", "refused", "deadline"];
    for life in
        [&["running", "probe ok", "exited 1", "gone"][..], &["running", "exited 1", "gone"], &["exited 1", "gone"]]
    {
        let events: Vec<&str> = obstacles.iter().chain(life).copied().collect();
        let (module, now) = after(policy(), &events, Instant::now());
        assert_eq!((state(&module), module.failures_in_window()), ("waiting", 1), "{life:?}");
        assert!(module.retry_at().is_some_and(|at| at < now + SECOND), "{life:?}");
    }
}

#[test]
fn liveness_counts_failures_in_a_row() {
    let up = ["start", "running", "probe ok"];
    for (probes, expected) in [
        (&["deadline", "probe failed"][..], "running"),
        (&["deadline", "probe failed", "deadline", "probe ok", "deadline", "probe failed"], "running"),
        (&["deadline", "probe failed", "deadline", "probe failed"], "ending>judge"),
    ] {
        let events: Vec<&str> = up.iter().chain(probes).copied().collect();
        // The tenth of a second between the events is far below a minute, so no forgiving comes in between.
        let (module, _) = after(policy(), &events, Instant::now());
        assert_eq!(state(&module), expected, "{probes:?}");
    }
    let live = Some(Liveness { interval: SECOND, failures: 4 });
    for (looks, expected) in [(3, "running"), (4, "ending>judge")] {
        let probes = std::iter::repeat_n(["deadline", "probe failed"], looks).flatten();
        let events: Vec<&str> = up.iter().copied().chain(probes).collect();
        let (module, _) = after(Policy { live, ..policy() }, &events, Instant::now());
        assert_eq!(state(&module), expected, "{looks} looks");
    }
}

#[test]
fn a_late_bind_is_seen_for_a_minute_and_not_after() {
    let (mut module, _) = after(policy(), &["start", "running", "deadline"], Instant::now());
    let mut probes = 0;
    while let Some(now) = deadline(&module) {
        let child = module.child;
        let probed = step(&mut module, Event::Deadline, now).contains(&Action::Probe { child });
        assert!(probed, "nothing else is due");
        probes += 1;
        step(&mut module, Event::ProbeFailed { child }, now);
    }
    assert_eq!((probes, state(&module)), (60, "unbound"));
}

#[test]
fn events_of_an_earlier_child_change_nothing() {
    for name_of_event in &EVENTS[4..12] {
        let (mut module, now) = after(
            policy(),
            &["start", "running", "exited 1", "gone", "deadline", "running", "probe ok"],
            Instant::now(),
        );
        let before = module.state;
        let old = module.child - 1;
        assert_eq!(step(&mut module, event(name_of_event, old), now), [], "{name_of_event}");
        assert_eq!(module.state, before, "{name_of_event}");
    }
}
