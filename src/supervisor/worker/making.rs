//! From a wish to a child: its settings, the fork that the main thread makes, and whether its program came to run.

use super::{Birth, Living, Worker, ending};
use crate::supervisor::inbox::ForMain;
use crate::supervisor::lifecycle::Event;
use crate::supervisor::settings::{self, Occasion, Prepared, Purpose, Settings};
use crate::supervisor::watch::Watch;
use crate::supervisor::words::{self, Killer};
use crate::supervisor::{Leader, StartError};
use crate::sys::poll::PollSet;
use crate::sys::proc;
use crate::sys::process::{Child, Signal};
use crate::sys::spawn::{Newborn, Outcome, SpawnFailure, Spawned};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// Most children are at their program in less than a millisecond. One that is not is looked at so often, since until then
/// the main thread stands still.
const BIRTH_LOOK: Duration = Duration::from_secs(1);
/// Whoever is stopped at so many looks is killed.
const STOPPED_LOOKS: u32 = 3;
/// Whoever is on its way for so many looks is killed: a disk that slept is awake by then.
const BIRTH_LOOKS: u32 = 12;

impl Birth {
    fn is_over(&self) -> bool {
        self.stopped >= STOPPED_LOOKS || self.seen >= BIRTH_LOOKS
    }
}

impl Worker {
    /// Reads the settings anew.
    pub(super) fn prepare(&self, purpose: Purpose) -> Prepared {
        let occasion = if self.child == 0 { Occasion::First } else { Occasion::Later };
        settings::prepare(&self.context, &self.short, occasion, purpose)
    }

    /// Asks the main thread for a child of this number, if there can be one.
    pub(super) fn spawn(&mut self, child: u64) {
        let Prepared { settings, spec } = self.prepare(Purpose::Fork);
        self.child = child;
        self.probe = None;
        self.trouble = None;
        self.stranger = None;
        self.killer = Killer::Unknown;
        self.clearing = false;
        self.look_again_at = None;
        self.remains.clear();
        if let Some(settings) = settings {
            self.live_by(settings);
        }
        match spec {
            Ok(spec) => {
                self.record(Leader::Forking);
                let newborn = Arc::new(Newborn::default());
                let look_at = Instant::now() + BIRTH_LOOK;
                self.birth = Some(Birth { newborn: Arc::clone(&newborn), look_at, seen: 0, stopped: 0 });
                let group = self.group.as_ref().and_then(|group| {
                    let opened = group.open();
                    opened.inspect_err(|error| self.tell_of_group(error)).ok()
                });
                let reply_to = Arc::clone(&self.inbox);
                self.context.main.send(ForMain::Fork { spec, group, newborn, child, reply_to });
            }
            Err(error) => {
                self.refuse(error);
                self.events.push_back(Event::Refused { child });
            }
        }
    }

    /// It does without a control group. Once for all modules: what is in the way of one usually is in that of all.
    fn tell_of_group(&self, error: &io::Error) {
        if !self.context.has_told_of_groups.swap(true, Ordering::Relaxed) {
            let text = format!("{} runs outside of a control group of its own: {error}", self.short);
            self.context.console.line("[supervisor] ", &text);
        }
    }

    /// From now on these settings hold, for the child that is coming and for what follows when it cannot come.
    fn live_by(&mut self, settings: Settings) {
        self.module.set_policy(settings.policy);
        self.published.set_depends_on(&settings.depends_on);
        self.tap.configure(settings.tap.clone());
        self.settings = settings;
    }

    /// Looks after a child that is long in coming: somebody may have stopped it.
    pub(super) fn look_at_birth(&mut self) {
        let now = Instant::now();
        let Some(birth) = self.birth.as_mut().filter(|birth| now >= birth.look_at) else { return };
        birth.look_at = now + BIRTH_LOOK;
        // Before its turn there is nobody.
        let Some(pid) = birth.newborn.pid() else { return };
        birth.seen += 1;
        birth.stopped += u32::from(proc::stat(pid).is_some_and(proc::Stat::is_stopped));
        if birth.is_over() {
            birth.newborn.kill();
        } else {
            birth.newborn.resume();
        }
    }

    /// The main thread's answer.
    pub(super) fn forked(&mut self, child: u64, result: Result<Spawned, SpawnFailure>) {
        let birth = self.birth.take();
        match result {
            Ok(spawned) if birth.is_some_and(|birth| birth.is_over()) => {
                // It may have got there after all, and have children.
                let _ = spawned.child.signal(Signal::Kill);
                let _ = self.group.as_ref().map(ending::kill);
                self.collect_failed(spawned.child);
                self.not_spawned(SpawnFailure::took_too_long());
            }
            Ok(spawned) => {
                let Spawned { child: forked, stdout, stderr, outcome, outside } = spawned;
                outside.iter().for_each(|error| self.tell_of_group(error));
                let start_ticks = proc::stat(forked.pid()).map(|stat| stat.start_ticks);
                self.since_ticks = self.since_ticks.or(start_ticks);
                self.record(Leader::Forked { pid: forked.pid(), start_ticks: start_ticks.unwrap_or(0) });
                self.output.connect(stdout, stderr);
                self.went_deep = true;
                self.tap.set_generation(u32::try_from(child).unwrap_or(u32::MAX));
                self.living = Some(Box::new(Living {
                    child: forked,
                    outcome: Some(outcome),
                    ended: false,
                    started: Instant::now(),
                    started_at: SystemTime::now(),
                }));
                // It may be there already.
                self.look_at_outcome();
            }
            Err(failure) => self.not_spawned(failure),
        }
    }

    pub(super) fn look_at_outcome(&mut self) {
        let Some(living) = &mut self.living else { return };
        match living.outcome.as_ref().and_then(Outcome::get) {
            None => {}
            Some(Ok(())) => {
                living.outcome = None;
                // Whatever it said was about an attempt or a child before this one (supervisor §7).
                self.start_error = None;
                self.tap.notice(&format!("started, pid {}", living.child.pid()));
                self.watch = Watch::begin(&self.settings.watch, &self.watch_pace)
                    .map(|watch| watch.map(Box::new))
                    .unwrap_or_else(|error| {
                        self.tap.notice(&format!("run.watch: {error}; its files are not watched"));
                        None
                    });
                self.events.push_back(Event::Running { child: self.child });
            }
            Some(Err(failure)) => {
                living.outcome = None;
                // It ends by itself at once; collecting it is all that is left to do.
                if let Some(living) = self.living.take() {
                    self.collect_failed(living.child);
                }
                self.output.finish(&mut self.tap);
                self.not_spawned(failure);
            }
        }
    }

    /// A child whose exec failed, or which was killed before it, is on its way to its end, which nothing can hold up.
    fn collect_failed(&self, mut child: Child) {
        let mut polls = PollSet::default();
        loop {
            match child.reap(&self.context.family) {
                Ok(_) => return,
                Err(not_yet) => child = not_yet,
            }
            polls.clear();
            match child.pidfd() {
                Some(fd) => drop(polls.readable(fd)),
                None => std::thread::yield_now(),
            }
            if child.pidfd().is_some() && polls.wait(None).is_err() {
                std::thread::yield_now();
            }
        }
    }

    pub(super) fn record(&self, leader: Leader) {
        (self.context.record)(&self.short, leader);
    }

    fn not_spawned(&mut self, failure: SpawnFailure) {
        self.record(Leader::Over);
        if failure.is_cancelled() {
            // Nothing is wrong with it: the hub is on its way down, as it has told every module by now.
            self.events.push_back(Event::Refused { child: self.child });
            return;
        }
        let event = if failure.is_transient() {
            Event::Shortage { child: self.child }
        } else {
            Event::Refused { child: self.child }
        };
        self.refuse(words::spawn_failure(failure, &self.settings.program));
        self.events.push_back(event);
    }

    pub(super) fn refuse(&mut self, error: StartError) {
        self.said.push(format!("cannot be started: {}", error.description));
        self.start_error = Some(Box::new(error));
    }
}
