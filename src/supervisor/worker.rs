//! The one thread of a module: waits for everything that can happen to it, lets the state machine decide, acts,
//! publishes.

mod ending;
mod making;
mod report;

use super::inbox::{ForMain, ForWorker, Inbox, Reply};
use super::lifecycle::{self, Action, Event, Module};
use super::listener;
use super::output::Output;
use super::probe::{Holder, Probe, Trouble};
use super::published::Published;
use super::remains::Remains;
use super::settings::{Purpose, Settings};
use super::waiters::{Waiters, Wants};
use super::watch::{Pace, Watch};
use super::words::{self, Killer};
use super::{Context, Leader, OpFailure, StartError, StartErrorKind};
use crate::logs::{Ring, Tap};
use crate::manifest::Short;
use crate::sys::cgroup::Group;
use crate::sys::poll::{PollSet, Slot};
use crate::sys::process::{Child, Exit, Signal};
use crate::sys::spawn::{Newborn, Outcome};
use crate::sys::{fs, memory, random};
use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// After a wait that the kernel has refused.
const TROUBLE_PAUSE: Duration = Duration::from_millis(100);

/// A child that this module has now.
#[derive(Debug)]
struct Living {
    child: Child,
    /// `None` once its program runs.
    outcome: Option<Outcome>,
    /// It has ended and waits to be collected, which keeps its group's number ours.
    ended: bool,
    started: Instant,
    started_at: SystemTime,
}

/// A child that the main thread was asked for.
#[derive(Debug)]
struct Birth {
    newborn: Arc<Newborn>,
    look_at: Instant,
    /// At so many looks it was on its way.
    seen: u32,
    /// At so many of these it was stopped.
    stopped: u32,
}

pub(super) struct Worker {
    short: Short,
    context: Arc<Context>,
    inbox: Arc<Inbox<ForWorker>>,
    published: Arc<Published>,
    module: Module,
    settings: Settings,
    tap: Tap,
    output: Output,
    /// A child that is being forked.
    birth: Option<Birth>,
    living: Option<Box<Living>>,
    /// Where its children are born; there while one of them is.
    group: Option<Group>,
    remains: Remains,
    /// Nothing but the remains of a child are left, and they are being looked for.
    clearing: bool,
    /// When to look for them without being told: the last look has failed.
    look_again_at: Option<Instant>,
    probe: Option<Box<Probe>>,
    /// Why the last look at its health path failed.
    trouble: Option<Trouble>,
    watch: Option<Box<Watch>>,
    watch_pace: Pace,
    waiters: Waiters,
    events: VecDeque<Event>,
    /// What is still to be noted of them: a new child, or its end, does not wait for the log.
    said: Vec<String>,
    /// When its first child was started.
    since_ticks: Option<u64>,
    /// The number of the newest child that the state machine asked for.
    child: u64,
    /// Who was found to listen on its port in its place.
    stranger: Option<Holder>,
    /// Of the newest child.
    killer: Killer,
    last_exit: Option<(Exit, SystemTime)>,
    last_crash_at: Option<SystemTime>,
    start_error: Option<Box<StartError>>,
    /// What the main thread was last told.
    told: Option<bool>,
    /// Preparing a child, or bringing it up, needs a deep stack, and waiting for it does not.
    went_deep: bool,
    /// The thread ends once the module is at rest.
    is_quitting: bool,
    heard: Heard,
}

/// Who has had a say so far in whether the module runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    /// It waits for its turn at boot, or for somebody to start it: nothing is to be told of it.
    Nobody,
    Turn,
    /// It was started, stopped or restarted by hand, which holds against its turn.
    Order,
}

/// What one wait waits for, beside the deadline.
#[derive(Default)]
struct Slots {
    pidfd: Option<Slot>,
    probe: Option<Slot>,
    watch: Option<Slot>,
    remains: Vec<Slot>,
}

impl Worker {
    pub(super) fn new(
        short: Short,
        context: Arc<Context>,
        inbox: Arc<Inbox<ForWorker>>,
        published: Arc<Published>,
        ring: Arc<Ring>,
    ) -> Self {
        let settings = Settings::unknown();
        let mut seed = [0u8; 8];
        random::fill(&mut seed);
        let tap = Tap::new(short.as_ref(), settings.tap.clone(), ring, context.console.clone());
        Self {
            module: Module::new(settings.policy, u64::from_ne_bytes(seed)),
            // No file of the kernel's in there is called like that.
            group: context.groups.as_ref().map(|groups| groups.below(&format!("{short}.module"))),
            short,
            context,
            inbox,
            published,
            settings,
            tap,
            output: Output::default(),
            birth: None,
            living: None,
            remains: Remains::default(),
            clearing: false,
            look_again_at: None,
            probe: None,
            trouble: None,
            watch: None,
            watch_pace: Pace::default(),
            waiters: Waiters::default(),
            events: VecDeque::new(),
            said: Vec::new(),
            since_ticks: None,
            child: 0,
            stranger: None,
            killer: Killer::Unknown,
            last_exit: None,
            last_crash_at: None,
            start_error: None,
            told: None,
            went_deep: false,
            is_quitting: false,
            heard: Heard::Nobody,
        }
    }

    /// The thread's whole life: until it is told to quit, and nothing of the module is left or on its way.
    pub(super) fn run(mut self: Box<Self>) {
        let mut polls = PollSet::default();
        while !self.is_quitting || !self.module.is_at_rest() {
            self.wait(&mut polls);
            while let Some(event) = self.events.pop_front() {
                let now = Instant::now();
                self.before(event, now);
                for action in lifecycle::step(&mut self.module, event, now) {
                    self.perform(action);
                }
            }
            for text in std::mem::take(&mut self.said) {
                self.tap.notice(&text);
            }
            self.publish();
            // A hub that ends gives back everything in a moment.
            if std::mem::take(&mut self.went_deep) && !self.context.closing.load(Ordering::Acquire) {
                memory::give_back_stack();
            }
        }
    }

    /// Blocks until something happens and turns it into events.
    fn wait(&mut self, polls: &mut PollSet) {
        polls.clear();
        let inbox = polls.readable(self.inbox.as_fd());
        let mut slots = Slots::default();
        if let Some(living) = &self.living {
            if let Some(outcome) = &living.outcome {
                polls.readable(outcome.as_fd());
            }
            if !living.ended {
                slots.pidfd = living.child.pidfd().map(|fd| polls.readable(fd));
            }
        }
        let output = self.output.register(polls);
        if let Some((socket, for_writing)) = self.probe.as_ref().and_then(|probe| probe.waits_for()) {
            slots.probe = Some(if for_writing { polls.writable(socket) } else { polls.readable(socket) });
        }
        slots.watch = self.watch.as_ref().map(|watch| polls.readable(watch.as_fd()));
        slots.remains = self.remains.pidfds().map(|fd| polls.readable(fd)).collect();

        let deadline = [
            lifecycle::deadline(&self.module),
            self.probe.as_ref().map(|probe| probe.deadline()),
            self.watch.as_ref().and_then(|watch| watch.deadline()),
            self.look_again_at,
            self.birth.as_ref().map(|birth| birth.look_at),
        ];
        if let Err(error) = polls.wait(deadline.into_iter().flatten().min()) {
            // ENOMEM is the only error that poll can have here; the module lives on and is looked at again.
            self.tap.notice(&format!("the hub cannot wait for it, trying again: {error}"));
            fs::pause(TROUBLE_PAUSE);
        }

        // A program is there before it prints its first line, and that it is there is said before it; also where the poll
        // has seen the line alone.
        self.look_at_outcome();
        // Output next, so that a line that was printed before an exit stands before what is said about it.
        self.output.read(polls, &output, &mut self.tap);
        let look = slots.pidfd.is_some_and(|slot| polls.is_ready(slot));
        if look {
            self.look_at_child();
        }
        self.look_at_probe(slots.probe.is_some_and(|slot| polls.is_ready(slot)));
        self.look_at_watch(slots.watch.is_some_and(|slot| polls.is_ready(slot)));
        if slots.remains.iter().any(|slot| polls.is_ready(*slot))
            || self.look_again_at.is_some_and(|at| Instant::now() >= at)
        {
            self.clear();
        }
        if polls.is_ready(inbox) {
            for message in ForWorker::without_idle_looks(self.inbox.take()) {
                self.hear(message);
            }
        }
        self.look_at_birth();
        if lifecycle::deadline(&self.module).is_some_and(|at| Instant::now() >= at) {
            self.events.push_back(Event::Deadline);
        }
    }

    fn hear(&mut self, message: ForWorker) {
        if matches!(message, ForWorker::Start(_) | ForWorker::Stop(_) | ForWorker::Restart(_)) {
            self.heard = Heard::Order;
        }
        match message {
            ForWorker::Turn if self.heard == Heard::Order => {}
            ForWorker::Turn => {
                self.heard = Heard::Turn;
                self.events.push_back(Event::Start);
            }
            ForWorker::Start(reply) => {
                self.expect(Wants::Up, reply);
                self.events.push_back(Event::Start);
            }
            ForWorker::Stop(reply) => {
                self.expect(Wants::Down, reply);
                // A shutdown counts on hearing of everybody, also of who is at rest already.
                self.told = None;
                self.events.push_back(Event::Stop);
            }
            ForWorker::Restart(reply) => self.restart(reply),
            ForWorker::Hurry => self.events.push_back(Event::Hurry),
            ForWorker::Forked { child, result } => self.forked(child, result),
            ForWorker::Look => {
                self.look_at_child();
                if self.clearing {
                    self.clear();
                }
            }
            ForWorker::GiveBack => self.went_deep = true,
            ForWorker::Quit => {
                self.is_quitting = true;
                self.events.push_back(Event::Stop);
            }
        }
    }

    /// Refuses what cannot start before the old child is touched (supervisor B9).
    fn restart(&mut self, reply: Option<Reply>) {
        // Until the fork is over nobody else sees to it that it is: neither a lock that the main thread has in it nor a
        // disk that hangs may hold us up. And there is no old child.
        if self.birth.is_some() {
            self.expect(Wants::Up, reply);
            self.events.push_back(Event::Restart);
            return;
        }
        // One that is being forked may have bound it before we hear that it is there.
        let has_child = self.living.is_some() || self.module.is_forking();
        match self.prepare(Purpose::Look { own_port: has_child.then_some(self.settings.port) }).spec {
            // What it was prepared with is not kept: its spawn comes after the old child's grace, or never.
            Ok(_) => {
                self.expect(Wants::Up, reply);
                self.events.push_back(Event::Restart);
            }
            // There is no old child, or none that runs on: this is a start that fails.
            Err(_) if !self.module.is_up() && !self.module.is_forking() => {
                self.expect(Wants::Up, reply);
                self.events.push_back(Event::Restart);
            }
            Err(error) => {
                self.tap.notice(&format!("is not restarted, the old child runs on: {}", error.description));
                let mut snapshot = self.snapshot();
                snapshot.start_error = Some(error);
                if let Some(reply) = reply {
                    let _ = reply.send(Err(OpFailure::NotStarted(Box::new(snapshot))));
                }
            }
        }
    }

    /// Restarts it when its files have changed and are quiet again, unless it is on its way down: what was asked for
    /// then, or decided about a failure, is not undone by a change of files.
    fn look_at_watch(&mut self, ready: bool) {
        let Some(watch) = &mut self.watch else { return };
        let now = Instant::now();
        if ready {
            watch.look(now);
        }
        if watch.take_due(now) && self.module.is_up() && !self.context.closing.load(Ordering::Acquire) {
            self.watch_pace.restarted(now);
            self.tap.notice("its files have changed, restarting it");
            self.restart(None);
        }
    }

    fn expect(&mut self, wants: Wants, reply: Option<Reply>) {
        let snapshot = self.snapshot();
        self.waiters.expect(wants, reply, &snapshot);
    }

    fn look_at_probe(&mut self, ready: bool) {
        let Some(probe) = &mut self.probe else { return };
        let Some(bound) = probe.result(ready, Instant::now()) else { return };
        self.trouble = probe.trouble();
        self.probe = None;
        self.stranger = None;
        let bound = bound && self.is_own_listener();
        let event = if bound { Event::ProbeOk { child: self.child } } else { Event::ProbeFailed { child: self.child } };
        self.events.push_back(event);
    }

    /// Whether it is the module that has answered. Asked until it is ready: from then on the port is its own.
    fn is_own_listener(&mut self) -> bool {
        let Some(living) = self.living.as_ref().filter(|_| !self.module.is_ready()) else { return true };
        let word = self.lineage_word();
        let marks = self.marks(&word);
        self.stranger = listener::stranger(living.child.pid(), &marks, &self.context.family);
        self.stranger.is_none()
    }

    /// What an event changes beside the state.
    fn before(&mut self, event: Event, now: Instant) {
        match event {
            Event::Exited { .. } if !self.module.is_ready() && self.module.status() == super::Status::Starting => {
                if let (Some((exit, _)), Some(living)) = (self.last_exit, &self.living) {
                    let ran = now.duration_since(living.started);
                    self.start_error = Some(Box::new(words::exited_early(exit, self.killer, ran, &self.short)));
                }
            }
            Event::Start | Event::Stop | Event::Restart
                if self.module.is_at_rest() || self.module.retry_at().is_some() =>
            {
                self.start_error = None;
            }
            Event::Start
            | Event::Stop
            | Event::Restart
            | Event::Hurry
            | Event::Running { .. }
            | Event::Refused { .. }
            | Event::Shortage { .. }
            | Event::ProbeOk { .. }
            | Event::ProbeFailed { .. }
            | Event::Exited { .. }
            | Event::Gone { .. }
            | Event::Deadline => {}
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Spawn { child } => self.spawn(child),
            Action::Probe { .. } => {
                if self.probe.is_none() {
                    let live = self.module.is_ready();
                    let settings = &self.settings;
                    let path = if live { &settings.live_path } else { &settings.ready_path };
                    let timeout = settings.live_timeout.filter(|_| live);
                    self.probe = Some(Box::new(Probe::begin(settings.port, path.as_deref(), timeout, Instant::now())));
                    // On loopback the answer is usually there at once.
                    self.look_at_probe(false);
                }
            }
            Action::Terminate { .. } => self.signal(self.settings.stop_signal),
            Action::Kill { .. } => self.signal(Signal::Kill),
            Action::Clear { .. } => {
                self.clearing = true;
                self.clear();
            }
            Action::Say(notice) => {
                if notice == lifecycle::Notice::Unbound {
                    let pid = self.living.as_ref().map_or(0, |living| living.child.pid());
                    let port = self.settings.port;
                    let error = match &self.stranger {
                        Some(stranger) => words::bound_by(&self.short, pid, port, stranger),
                        None => {
                            let gate = self.settings.policy.gate.unwrap_or_default();
                            let answer = self.settings.ready_path.as_deref().zip(self.trouble);
                            words::unbound(&self.short, pid, port, gate, answer)
                        }
                    };
                    self.start_error = Some(Box::new(error));
                }
                if matches!(notice, lifecycle::Notice::Restarting { .. } | lifecycle::Notice::Crashed { .. }) {
                    self.last_crash_at = self.last_exit.map(|(_, at)| at);
                }
                let last = self.last_exit.map(|(exit, _)| (exit, self.killer));
                let text = words::notice(notice, last, self.start_error.as_deref());
                self.said.push(text);
            }
        }
    }
}

#[cfg(test)]
mod tests;

/// A worker's thread ends only after its module; whatever panics in between must not leave a child alone.
impl Drop for Worker {
    fn drop(&mut self) {
        if self.living.is_some() {
            self.signal(Signal::Kill);
            // Nobody does so after this.
            let _ = self.look_for_remains();
        }
        let living = self.living.take();
        if living.is_some() || self.module.is_forking() {
            self.record(Leader::Over);
        }
        if let Some(living) = living {
            living.child.abandon(&self.context.family);
        }
        if std::thread::panicking() {
            self.start_error = Some(Box::new(StartError {
                kind: StartErrorKind::SpawnFailed,
                description: "its worker thread ended by a bug of the hub; restart the hub".into(),
                binary: None,
                at: SystemTime::now(),
            }));
            let mut snapshot = self.snapshot();
            snapshot.status = super::Status::Crashed;
            snapshot.pid = None;
            let since = self.child_since();
            self.published.set(snapshot, since);
        }
        // Behind the reason, for whoever is told by this that there is no answer.
        for unread in self.inbox.close() {
            unread.end_child(&self.context.family);
        }
        self.waiters = Waiters::default();
        // A shutdown may count on hearing that from it.
        self.context.main.send(ForMain::Settled { short: self.short.clone(), at_rest: true });
    }
}
