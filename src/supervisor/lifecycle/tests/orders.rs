//! Events in random orders, and what holds after each.

use super::*;

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
