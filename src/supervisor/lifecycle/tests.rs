use super::*;

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
                "stuck",
                "stuck",
                "stuck",
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
        for (name_of_event, expected) in EVENTS.iter().zip(expected) {
            let (mut module, mut now) = after(policy(), events, Instant::now());
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

/// A world around the state machine that keeps count of the children.
struct World {
    module: Module,
    now: Instant,
    /// Forks that were asked for and not answered.
    forking: Vec<u64>,
    /// Children that run: number, and whether the leader has ended.
    living: Vec<(u64, bool)>,
}

impl World {
    fn apply(&mut self, event: Event, context: &str) {
        let stopped_before = self.module.is_at_rest();
        for action in step(&mut self.module, event, self.now) {
            match action {
                Action::Spawn { child } => {
                    assert!(self.forking.is_empty() && self.living.is_empty(), "a second child: {context}");
                    assert!(
                        !stopped_before || matches!(event, Event::Start | Event::Restart),
                        "a spawn after stop: {context}"
                    );
                    self.forking.push(child);
                }
                Action::Terminate { child } | Action::Kill { child } | Action::Clear { child } => {
                    assert!(self.living.iter().any(|(each, _)| *each == child), "{action:?} of nobody: {context}");
                }
                Action::Probe { .. } | Action::Say(_) => {}
            }
        }
        if let Some(at) = deadline(&self.module) {
            // A deadline that has passed must come to something, or the worker would spin.
            if event == Event::Deadline {
                assert!(at > self.now, "a deadline behind: {context}");
            }
        }
    }
}

#[test]
fn random_orders_of_events_never_make_two_children() {
    for seed in 1..=400u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let restart = [Restart::Always, Restart::OnFailure, Restart::Never][next(3) as usize];
        let gate = (next(2) == 0).then_some(4 * SECOND);
        let policy = Policy { restart, give_up: next(2) == 0, gate, ..policy() };
        let mut world =
            World { module: Module::new(policy, seed), now: Instant::now(), forking: Vec::new(), living: Vec::new() };
        for turn in 0..300 {
            let context = format!("seed {seed}, turn {turn}");
            world.now += Duration::from_millis(next(3000));
            // A deadline that has come is delivered first, as the worker does.
            while deadline(&world.module).is_some_and(|at| at <= world.now) {
                world.apply(Event::Deadline, &context);
            }
            let event = match next(12) {
                0 => Event::Start,
                1 => Event::Stop,
                2 => Event::Restart,
                3 => Event::Hurry,
                4..=6 => match world.forking.pop() {
                    None => continue,
                    Some(child) => match next(4) {
                        0 => Event::Refused { child },
                        1 => Event::Shortage { child },
                        _ => {
                            world.living.push((child, false));
                            Event::Running { child }
                        }
                    },
                },
                7 => Event::ProbeOk { child: next(5) + world.module.child.saturating_sub(3) },
                8 => Event::ProbeFailed { child: next(5) + world.module.child.saturating_sub(3) },
                9 | 10 => match world.living.first_mut() {
                    Some((child, ended)) if !*ended => {
                        *ended = true;
                        let ended = if next(2) == 0 { Ended::Success } else { Ended::Failure };
                        Event::Exited { child: *child, ended }
                    }
                    Some(_) | None => continue,
                },
                _ => match world.living.pop() {
                    Some((child, true)) => Event::Gone { child },
                    Some(alive) => {
                        world.living.push(alive);
                        continue;
                    }
                    None => continue,
                },
            };
            world.apply(event, &context);
            if world.module.is_at_rest() {
                assert!(world.forking.is_empty() && world.living.is_empty(), "at rest with a child: {context}");
            }
        }
    }
}
