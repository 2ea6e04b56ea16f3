//! Runs modules: one thread each, a pure state machine deciding, the main thread forking.
//!
//! Knows nothing of HTTP, argv or the files of the home: what to run comes from a [`PlanSource`], and what the next
//! hub must know of our children goes to [`Recorder`].

mod budget;
mod environment;
mod inbox;
pub(crate) mod inputs;
mod lifecycle;
mod listener;
mod main_loop;
mod order;
pub(crate) mod orphans;
mod output;
mod plan;
mod preflight;
mod probe;
mod published;
mod readers;
mod remains;
mod settings;
mod snapshot;
pub(crate) mod standing;
mod waiters;
mod watch;
mod words;
mod worker;

pub(crate) use main_loop::{Duties, Ended, main_loop};
pub(crate) use snapshot::{Snapshot, StartError, StartErrorKind, Status};

use crate::logs::{Console, RING_BYTES, Ring};
use crate::manifest::Short;
use crate::sys::cgroup::Locked;
use crate::sys::process::{self, Family};
use inbox::{ForMain, ForWorker, Inbox, Reply};
use order::Order;
use published::Published;
use standing::{Board, Boards, OnChange};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use worker::Worker;

/// A worker's stack. What it keeps lives on the heap; the deepest call is a write to the log file.
const WORKER_STACK_BYTES: usize = 128 * 1024;

/// Inbox, pidfd, two pipes and the log file.
const DESCRIPTORS_PER_MODULE: usize = 5;
/// What the hub has open besides, and some connections.
const OTHER_DESCRIPTORS: usize = 256;

/// When a start, stop or restart is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    WhenDone,
    /// With the state before anything of it is done. What is refused later stands in the module's log alone.
    AtOnce,
}

/// A start, stop or restart that did not reach what was asked.
#[derive(Debug, Clone)]
pub(crate) enum OpFailure {
    /// The supervisor does not know the module.
    NotSupervised,
    /// It ended, or never came up; the snapshot says how.
    NotStarted(Box<Snapshot>),
    /// Processes were left after KILL.
    StopTimeout(Box<Snapshot>),
    /// A later request took over.
    Superseded(Box<Snapshot>),
    /// The hub is on its way down.
    ShuttingDown,
}

/// What the files say of a module now. Called before every spawn, and before a restart while the old child runs on; of
/// what that child was handed it changes nothing. Blocks for small reads.
pub(crate) type PlanSource = Arc<dyn Fn(&Short) -> Result<inputs::Inputs, StartError> + Send + Sync>;

/// Writes what the next child of a module is handed by file; whether it is there, or else it says why not. Called when
/// nothing but the fork is left to do, and no child of the module is alive. Blocks for small writes.
pub(crate) type HandOver = Arc<dyn Fn(&Short, &inputs::Credentials) -> bool + Send + Sync>;

/// What becomes of a module's leaders, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leader {
    /// The one before it is gone, and the next one may run at any moment.
    Forking,
    Forked {
        pid: i32,
        /// In clock ticks.
        start_ticks: u64,
    },
    /// It has ended, or it never came to be. Others of its group may still be there.
    Over,
}

/// Hears of every leader, on the module's own thread: for the hub that comes after a killed one, and for what a leader
/// has for as long as it lives.
pub(crate) type Recorder = Arc<dyn Fn(&Short, Leader) + Send + Sync>;

/// What the supervisor needs from the rest of the hub.
pub(crate) struct Hooks {
    pub(crate) source: PlanSource,
    pub(crate) hand_over: HandOver,
    pub(crate) record: Recorder,
    pub(crate) console: Console,
    pub(crate) facts: inputs::Facts,
    pub(crate) on_change: OnChange,
    /// Where each module gets a control group of its own; `None` where there can be none.
    pub(crate) groups: Option<Locked>,
}

/// What every worker shares.
struct Context {
    source: PlanSource,
    hand_over: HandOver,
    record: Recorder,
    console: Console,
    facts: inputs::Facts,
    family: Family,
    main: Inbox<ForMain>,
    on_change: OnChange,
    groups: Option<Locked>,
    /// A module is not in a control group of its own, although it should be, and that was said.
    has_told_of_groups: AtomicBool,
    /// The hub is on its way down. Set under the lock of the modules.
    closing: AtomicBool,
}

struct Handle {
    inbox: Arc<Inbox<ForWorker>>,
    published: Arc<Published>,
    ring: Arc<Ring>,
    /// `None` once somebody waits for its end.
    thread: Option<JoinHandle<()>>,
    /// `Some` from the moment on that it is being forgotten: what is asked until that is done is asked of the one that
    /// begins anew under its name.
    leaving: Option<Vec<ForWorker>>,
}

impl Handle {
    /// Sends an order, or keeps it for the next worker.
    fn order(&mut self, message: ForWorker) {
        match &mut self.leaving {
            None => self.inbox.send(message),
            Some(later) => later.push(message),
        }
    }
}

/// All modules of one hub.
pub(crate) struct Supervisor {
    context: Arc<Context>,
    modules: Mutex<BTreeMap<Short, Handle>>,
    boards: Mutex<Boards>,
    /// Who waits for whom, while booting and while shutting down.
    order: Mutex<Order>,
    /// Those that are started at boot, until the main thread counts who has come up.
    booting: Mutex<BTreeSet<Short>>,
    /// The highest number of a line of a module that was forgotten. One that comes later numbers its lines from there:
    /// whoever has read the earlier one's, of the same name, misses none.
    lines_of_forgotten: AtomicU64,
}

impl Supervisor {
    /// A supervisor without modules. Nothing runs before [`main_loop`] does, which forks for it.
    pub(crate) fn new(hooks: Hooks) -> io::Result<Self> {
        let Hooks { source, hand_over, record, console, facts, on_change, groups } = hooks;
        let context = Context {
            source,
            hand_over,
            record,
            console,
            facts,
            family: Family::new()?,
            main: Inbox::new()?,
            on_change,
            groups,
            has_told_of_groups: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        };
        Ok(Self {
            context: Arc::new(context),
            modules: Mutex::default(),
            boards: Mutex::default(),
            order: Mutex::default(),
            booting: Mutex::default(),
            lines_of_forgotten: AtomicU64::new(0),
        })
    }

    fn modules(&self) -> MutexGuard<'_, BTreeMap<Short, Handle>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory below which each module has its control group; `None` when they run without.
    pub(crate) fn groups_directory(&self) -> Option<&Path> {
        self.context.groups.as_ref().map(|groups| groups.directory())
    }

    /// Gives the control groups back, as far as nobody is left in them.
    pub(crate) fn remove_groups(&self) {
        if let Some(groups) = &self.context.groups {
            // The next hub sweeps.
            let _in_use = groups.remove();
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.context.closing.load(Ordering::Acquire)
    }

    /// Makes the module known, without starting it. A known one stays as it is. Fails when the machine has no thread
    /// or descriptor for it, which is said on the console; each start tries it again.
    pub(crate) fn register(&self, short: &Short) -> Result<(), OpFailure> {
        self.register_among(&mut self.modules(), short).map(drop)
    }

    fn register_among<'a>(
        &self,
        modules: &'a mut BTreeMap<Short, Handle>,
        short: &Short,
    ) -> Result<&'a mut Handle, OpFailure> {
        let vacant = match modules.entry(short.clone()) {
            Entry::Occupied(known) => return Ok(known.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        if self.is_closing() {
            return Err(OpFailure::ShuttingDown);
        }
        let handle = self.start_worker(short).map_err(|error| {
            let refused = words::not_registered(short, &error);
            self.context.console.line("[supervisor] ", &format!("{short}: {}", refused.description));
            let crashed =
                Snapshot { status: Status::Crashed, start_error: Some(refused), ..Snapshot::stopped(short.clone()) };
            OpFailure::NotStarted(Box::new(crashed))
        })?;
        Ok(vacant.insert(handle))
    }

    fn start_worker(&self, short: &Short) -> io::Result<Handle> {
        let inbox = Arc::new(Inbox::new()?);
        let on_change = Arc::clone(&self.context.on_change);
        let published = Arc::new(Published::new(Snapshot::stopped(short.clone()), self.board(short), on_change));
        let ring = Arc::new(Ring::new(RING_BYTES, self.lines_of_forgotten.load(Ordering::Relaxed)));
        let (short, context) = (short.clone(), Arc::clone(&self.context));
        let (to_worker, shown, lines) = (Arc::clone(&inbox), Arc::clone(&published), Arc::clone(&ring));
        let thread = std::thread::Builder::new()
            .name(format!("{short}/worker"))
            .stack_size(WORKER_STACK_BYTES)
            .spawn(move || Box::new(Worker::new(short, context, to_worker, shown, lines)).run())?;
        Ok(Handle { inbox, published, ring, thread: Some(thread), leaving: None })
    }

    /// Sends a request to the module's worker and waits for its answer, if that is wanted.
    fn ask(
        &self,
        short: &Short,
        answer: Answer,
        message: fn(Option<Reply>) -> ForWorker,
    ) -> Result<Snapshot, OpFailure> {
        let (reply, result) = mpsc::sync_channel(1);
        let published = {
            let mut modules = self.modules();
            let handle = modules.get_mut(short).ok_or(OpFailure::NotSupervised)?;
            // Under the lock, so that no request slips in behind the stop of a shutdown.
            if self.is_closing() {
                return Err(OpFailure::ShuttingDown);
            }
            // What is ordered by hand before its turn at boot holds. Under the same lock: the order is not yet that of a
            // shutdown.
            self.order().forget(short);
            if answer == Answer::AtOnce {
                let before = handle.published.get();
                handle.order(message(None));
                return Ok(before);
            }
            handle.order(message(Some(reply)));
            Arc::clone(&handle.published)
        };
        // The worker answers every request, or drops it when it ends: forgotten meanwhile, or by a bug, which is said.
        result.recv().unwrap_or_else(|_| {
            let last = Box::new(published.get());
            Err(if last.start_error.is_some() { OpFailure::NotStarted(last) } else { OpFailure::Superseded(last) })
        })
    }

    /// Starts it and waits until it is ready, failed, or up but unbound (then `Ok` with `start_error`).
    /// Registers it first when needed. Idempotent while it runs. Blocks for at most its readiness gate, and when it is
    /// just being stopped for the rest of that.
    pub(crate) fn start(&self, short: &Short, answer: Answer) -> Result<Snapshot, OpFailure> {
        self.register(short)?;
        self.ask(short, answer, ForWorker::Start)
    }

    /// Stops it and waits until nothing of it is left. Idempotent. Blocks for at most its stop timeout and five
    /// seconds more.
    pub(crate) fn stop(&self, short: &Short, answer: Answer) -> Result<Snapshot, OpFailure> {
        self.ask(short, answer, ForWorker::Stop)
    }

    /// Stops and starts it with settings read anew. Refuses, with the old child untouched, what cannot start. Blocks
    /// for as long as a stop and a start together.
    pub(crate) fn restart(&self, short: &Short, answer: Answer) -> Result<Snapshot, OpFailure> {
        self.ask(short, answer, ForWorker::Restart)
    }

    /// Stops it and forgets it, whatever start was asked for until now. What is asked from now on begins anew, once
    /// nothing of it is left. Blocks as a stop; not when somebody else forgets it already.
    pub(crate) fn forget(&self, short: &Short) -> Result<(), OpFailure> {
        let (reply, stopped) = mpsc::sync_channel(1);
        {
            let mut modules = self.modules();
            let handle = modules.get_mut(short).ok_or(OpFailure::NotSupervised)?;
            if self.is_closing() {
                return Err(OpFailure::ShuttingDown);
            }
            if let Some(later) = &mut handle.leaving {
                later.retain(|message| matches!(message, ForWorker::Stop(_)));
                return Ok(());
            }
            // Under the same lock as the mark: this stop is the last order that the worker hears.
            handle.inbox.send(ForWorker::Stop(Some(reply)));
            handle.leaving = Some(Vec::new());
        }
        // Without an answer its worker has gone, with its child.
        if let Ok(Err(failure)) = stopped.recv() {
            self.keep(short);
            return Err(failure);
        }
        let thread = self.modules().get_mut(short).and_then(|handle| {
            handle.inbox.send(ForWorker::Quit);
            handle.thread.take()
        });
        // A worker that panicked has said so; there is nothing left to wait for.
        let _ = thread.map(JoinHandle::join);
        self.begin_anew(short);
        Ok(())
    }

    /// It could not be stopped, so it is not forgotten either, and hears what was asked meanwhile.
    fn keep(&self, short: &Short) {
        let mut modules = self.modules();
        let Some(handle) = modules.get_mut(short) else { return };
        for message in handle.leaving.take().unwrap_or_default() {
            if self.is_closing() {
                message.answer(Err(OpFailure::ShuttingDown));
            } else {
                handle.inbox.send(message);
            }
        }
    }

    /// Its worker has gone: a new one gets what was asked meanwhile, unless that was nothing but to stop.
    fn begin_anew(&self, short: &Short) {
        let mut modules = self.modules();
        let Some(old) = modules.remove(short) else { return };
        // Before anybody can register the module anew.
        old.published.leave_board();
        self.lines_of_forgotten.fetch_max(old.ring.close(), Ordering::Relaxed);
        let later = old.leaving.unwrap_or_default();
        if later.iter().all(|message| matches!(message, ForWorker::Stop(_))) {
            let last = old.published.get();
            return later.into_iter().for_each(|message| message.answer(Ok(last.clone())));
        }
        match self.register_among(&mut modules, short) {
            Ok(handle) => later.into_iter().for_each(|message| handle.inbox.send(message)),
            Err(failure) => later.into_iter().for_each(|message| message.answer(Err(failure.clone()))),
        }
    }

    /// Every registered module, by name.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let mut snapshots: Vec<Snapshot> = self.modules().values().map(|handle| handle.published.get()).collect();
        self.tell_waits(&mut snapshots);
        snapshots
    }

    pub(crate) fn snapshot(&self, short: &Short) -> Option<Snapshot> {
        let mut snapshot = self.modules().get(short).map(|handle| handle.published.get())?;
        self.tell_waits(std::slice::from_mut(&mut snapshot));
        Some(snapshot)
    }

    /// Adds for whom they wait to those whose turn at boot has not come. On the way down nobody waits to be started.
    fn tell_waits(&self, snapshots: &mut [Snapshot]) {
        let order = self.order();
        if self.is_closing() {
            return;
        }
        for snapshot in snapshots.iter_mut().filter(|snapshot| snapshot.status == Status::Starting) {
            snapshot.waits_for = order.waited_for(&snapshot.short);
        }
    }

    /// Where the module shows how it stands towards its callers, also once it is registered (anew).
    pub(crate) fn board(&self, short: &Short) -> Arc<Board> {
        self.boards.lock().unwrap_or_else(PoisonError::into_inner).of(short)
    }

    /// The module's output; kept across restarts.
    pub(crate) fn ring(&self, short: &Short) -> Option<Arc<Ring>> {
        self.modules().get(short).map(|handle| Arc::clone(&handle.ring))
    }

    /// Starts all of these in parallel, a module after those beside it in the list came up or failed, and returns at
    /// once. What a module is started with is read when its turn comes.
    pub(crate) fn boot(&self, modules: Vec<(Short, Vec<Short>)>) {
        let descriptors = DESCRIPTORS_PER_MODULE.saturating_mul(modules.len()).saturating_add(OTHER_DESCRIPTORS);
        if descriptors > process::USUAL_DESCRIPTORS {
            process::reserve_descriptors(self.context.main.as_fd(), descriptors);
        }
        // Who cannot be registered is said on the console; the others boot, and nobody waits for it.
        let modules = modules.into_iter().filter(|(short, _)| self.register(short).is_ok()).collect::<Vec<_>>();
        for (short, _) in &modules {
            if let Some(handle) = self.modules().get(short) {
                handle.published.await_turn();
            }
        }
        *self.booting() = modules.iter().map(|(short, _)| short.clone()).collect();
        let free = {
            let mut current = self.order();
            *current = Order::new(modules);
            current.take_free()
        };
        self.send_to(&free, || ForWorker::Turn);
    }

    fn booting(&self) -> MutexGuard<'_, BTreeSet<Short>> {
        self.booting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_to(&self, shorts: &[Short], message: impl Fn() -> ForWorker) {
        let modules = self.modules();
        for handle in shorts.iter().filter_map(|short| modules.get(short)) {
            handle.inbox.send(message());
        }
    }

    fn send_to_all(&self, message: impl Fn() -> ForWorker) {
        for handle in self.modules().values() {
            handle.inbox.send(message());
        }
    }

    /// A module came up, failed, or came to rest: whoever waited for that goes on.
    fn settled(&self, short: &Short, at_rest: bool) {
        let closing = self.is_closing();
        if closing && !at_rest {
            return;
        }
        let free = {
            let mut order = self.order();
            if !closing {
                // It came to rest before its turn, such as by the loss of its row.
                order.forget(short);
            }
            order.done(short)
        };
        if closing {
            self.send_to(&free, || ForWorker::Stop(None));
        } else {
            self.send_to(&free, || ForWorker::Turn);
        }
    }

    /// Has the main thread look whether the home is still there; it ends the hub if not.
    pub(crate) fn look_at_home(&self) {
        self.context.main.send(ForMain::LookAtHome);
    }

    /// Has the main thread end the hub, which nobody can reach any more: whoever keeps it running starts it again.
    pub(crate) fn edge_lost(&self) {
        self.context.main.send(ForMain::EdgeLost);
    }

    /// From now on nothing starts; every module is stopped once those that depend on it are down.
    fn begin_shutdown(&self) {
        let needs: Vec<(Short, Vec<Short>)> = {
            let modules = self.modules();
            self.context.closing.store(true, Ordering::Release);
            // Whose worker has gone comes to rest no more, so nobody is to wait for it.
            let alive = modules.iter().filter(|(_, handle)| !handle.inbox.is_closed());
            alive.map(|(short, handle)| (short.clone(), handle.published.depends_on())).collect()
        };
        let order = Order::new(reversed(&needs));
        let free = {
            let mut current = self.order();
            *current = order;
            current.take_free()
        };
        self.send_to(&free, || ForWorker::Stop(None));
    }

    /// Whether everybody who is there is among those at rest, or has no worker any more, which has ended its child. One
    /// that was forgotten meanwhile may be among those at rest, too.
    fn all_rest(&self, resting: &BTreeSet<Short>) -> bool {
        self.modules().iter().all(|(short, handle)| resting.contains(short) || handle.inbox.is_closed())
    }

    /// No more grace for anybody.
    fn hurry(&self) {
        let waiting = self.order().take_all();
        self.send_to(&waiting, || ForWorker::Stop(None));
        self.send_to_all(|| ForWorker::Hurry);
    }

    /// Forgets all modules, which are at rest. Their threads have nothing to do any more and end with the process: to
    /// wake each of them for that would take as long as to stop what they ran.
    fn close(&self) {
        for handle in std::mem::take(&mut *self.modules()).values() {
            handle.ring.wake();
        }
    }
}

#[cfg(test)]
mod tests;

/// Each module with those that need it.
fn reversed(needs: &[(Short, Vec<Short>)]) -> BTreeMap<Short, Vec<Short>> {
    let mut dependents: BTreeMap<Short, Vec<Short>> =
        needs.iter().map(|(short, _)| (short.clone(), Vec::new())).collect();
    for (short, needed) in needs {
        for other in needed {
            if let Some(dependents) = dependents.get_mut(other) {
                dependents.push(short.clone());
            }
        }
    }
    dependents
}
