//! The main thread's loop: our own signals, forks, orphans that end, and the end of everything.

use super::Supervisor;
use super::inbox::{ForMain, ForWorker};
use crate::manifest::Short;
use crate::sys::inotify::Inotify;
use crate::sys::poll::PollSet;
use crate::sys::process::{Held, Pid, Signal};
use crate::sys::signals::{Received, Signals};
use crate::sys::spawn::{SpawnFailure, Spawner};
use crate::sys::{fs, memory, proc};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// All modules together get this long to end by themselves; container runtimes wait ten seconds before they kill.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);
/// What is left after KILL is waited for this long.
const LAST_WAIT: Duration = Duration::from_secs(7);
/// The same for orphans, when others were waited for in vain.
const STRANGERS_WAIT: Duration = Duration::from_secs(1);
/// How often the home is looked at where the kernel does not tell (files §14.5).
const HOME_LOOK: Duration = Duration::from_secs(5);
/// While processes are left that cannot be held, as when descriptors have run out, and while the kernel lets nobody wait.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// So long after the boot its memory is given back: then the other threads have heard of its end. And so long the hub
/// itself waits after the modules' threads.
const TIDY_AFTER: Duration = Duration::from_secs(1);

/// Why the loop ended; all modules are down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// SIGTERM or SIGINT.
    Asked,
    /// A module without which the hub is not to run is down for good, as its policy allows or `crashed`.
    Essential { short: Short, crashed: bool },
    /// The home is gone, or another has its place.
    HomeLost,
    /// Nobody serves the network any more.
    EdgeLost,
    /// It would be a good end, and processes are left that KILL did not end.
    Unfinished,
}

/// What the main thread does for others beside its own work.
pub(crate) struct Duties<'a> {
    pub(crate) spawner: Spawner,
    /// Called on SIGHUP.
    pub(crate) reload: &'a dyn Fn(),
    /// Whether the home is still there, with the files that the hub has open; says it when not.
    pub(crate) has_home: &'a dyn Fn() -> bool,
    /// Called once, when the hub begins to end.
    pub(crate) on_end: &'a dyn Fn(),
    /// Tells when to ask that. Without it the answer is looked for every [`HOME_LOOK`].
    pub(crate) home_watch: Option<Inotify>,
}

/// Who is to give back next what the boot took.
#[derive(Debug, Clone, Copy)]
enum Giver {
    Workers,
    Hub,
}

/// How far the end has come.
enum Phase {
    Running,
    Stopping { why: Ended, hurry_at: Instant, resting: BTreeSet<Short> },
    Hurrying { why: Ended, give_up_at: Instant, resting: BTreeSet<Short> },
}

/// Runs until a signal or the loss of the home ends the hub, then takes all modules down. Must be called on the main
/// thread: the parent-death signal of the children follows it.
pub(crate) fn main_loop(supervisor: &Supervisor, signals: &Signals, mut duties: Duties<'_>) -> io::Result<Ended> {
    let context = &supervisor.context;
    // Children that are not ours by any account: whoever exec'ed this program may have left us some.
    let adopted: BTreeSet<Pid> = context.family.strangers()?.into_iter().collect();
    // Without those that are to stay stopped: of them nothing would ever be heard.
    let mut booting = std::mem::take(&mut *supervisor.booting());
    let mut tidy = booting.is_empty().then(|| (Instant::now() + TIDY_AFTER, Giver::Hub));
    let mut polls = PollSet::default();
    let mut look_at_home_at = Instant::now() + HOME_LOOK;
    let mut phase = Phase::Running;
    let mut has_trouble = false;
    loop {
        polls.clear();
        let inbox = polls.readable(context.main.as_fd());
        let signal = polls.readable(signals.as_fd());
        let home = duties.home_watch.as_ref().map(|watch| polls.readable(watch.as_fd()));
        let deadline = match &phase {
            Phase::Running => {
                [tidy.map(|(at, _)| at), home.is_none().then_some(look_at_home_at)].into_iter().flatten().min()
            }
            Phase::Stopping { hurry_at, .. } => Some(*hurry_at),
            Phase::Hurrying { give_up_at, .. } => Some(*give_up_at),
        };
        match polls.wait(deadline) {
            Ok(()) => has_trouble = false,
            // ENOMEM is the only error that poll can have here. Whoever ended now would leave the modules alone.
            Err(error) => {
                if !std::mem::replace(&mut has_trouble, true) {
                    context.console.line("[supervisor] ", &format!("cannot wait for signals, trying again: {error}"));
                }
                fs::pause(LOOK_AGAIN);
            }
        }
        if let Some((at, giver)) = tidy
            && Instant::now() >= at
        {
            // A thousand children were prepared at once; nothing needs that much again.
            tidy = match giver {
                // They need the program for their part.
                Giver::Workers => {
                    supervisor.send_to_all(|| ForWorker::GiveBack);
                    Some((Instant::now() + TIDY_AFTER, Giver::Hub))
                }
                Giver::Hub => {
                    memory::give_back_heap();
                    memory::give_back_program();
                    None
                }
            };
        }

        let mut look_at_home = home.is_none() && Instant::now() >= look_at_home_at;
        if home.is_some_and(|home| polls.is_ready(home))
            && let Some(watch) = &mut duties.home_watch
        {
            // What cannot be read may have said so.
            look_at_home |= watch.changed().unwrap_or(true);
        }
        if polls.is_ready(inbox) {
            for message in context.main.take() {
                match message {
                    ForMain::Fork { spec, group, newborn, child, reply_to } => {
                        let group = group.as_ref().map(AsFd::as_fd);
                        let result = match &phase {
                            Phase::Running => duties.spawner.spawn(&spec, &newborn, &context.family, group),
                            Phase::Stopping { .. } | Phase::Hurrying { .. } => Err(SpawnFailure::cancelled()),
                        };
                        if let Err(unread) = reply_to.deliver(ForWorker::Forked { child, result }) {
                            unread.end_child(&context.family);
                        }
                    }
                    ForMain::Settled { short, at_rest } => {
                        supervisor.settled(&short, at_rest);
                        if booting.remove(&short) && booting.is_empty() {
                            tidy = Some((Instant::now() + TIDY_AFTER, Giver::Workers));
                        }
                        if let Phase::Stopping { resting, .. } | Phase::Hurrying { resting, .. } = &mut phase
                            && at_rest
                        {
                            resting.insert(short);
                        }
                    }
                    // Once the hub is on its way down, the end of another one hurries nobody.
                    ForMain::EssentialDown { .. } if !matches!(phase, Phase::Running) => {}
                    ForMain::EssentialDown { short, crashed } => {
                        let why = Ended::Essential { short, crashed };
                        context.console.line("[supervisor] ", &format!("{}, taking the hub down", why.describe()));
                        phase = phase.stop(supervisor, &mut duties, why);
                    }
                    ForMain::LookAtHome => look_at_home = true,
                    ForMain::EdgeLost => {
                        let why = Ended::EdgeLost;
                        context.console.line("[supervisor] ", &format!("{}, taking the hub down", why.describe()));
                        phase = phase.stop(supervisor, &mut duties, why);
                    }
                }
            }
        }
        if look_at_home {
            look_at_home_at = Instant::now() + HOME_LOOK;
            if matches!(phase, Phase::Running) && !(duties.has_home)() {
                phase = phase.stop(supervisor, &mut duties, Ended::HomeLost);
            }
        }
        if polls.is_ready(signal) {
            while let Some(received) = signals.next()? {
                match received {
                    Received::Terminate(sender) => {
                        let what = if matches!(phase, Phase::Running) { "taking the hub down" } else { "hurrying" };
                        context.console.line("[supervisor] ", &format!("{sender}, {what}"));
                        phase = phase.stop(supervisor, &mut duties, Ended::Asked);
                    }
                    Received::Reload => (duties.reload)(),
                    Received::Child(pid) => child_ended(supervisor, pid),
                }
            }
        }
        phase = match phase {
            Phase::Running => Phase::Running,
            Phase::Stopping { why, resting, .. } | Phase::Hurrying { why, resting, .. }
                if supervisor.all_rest(&resting) =>
            {
                if !end_strangers(supervisor, &adopted, Instant::now() + LAST_WAIT) {
                    return Ok(why.given_up(supervisor));
                }
                supervisor.close();
                return Ok(why);
            }
            Phase::Stopping { why, hurry_at, resting } if Instant::now() >= hurry_at => {
                Phase::hurry(supervisor, why, resting)
            }
            Phase::Hurrying { why, give_up_at, .. } if Instant::now() >= give_up_at => {
                // Their threads wait for processes that the kernel does not end; the process's end takes them along.
                end_strangers(supervisor, &adopted, Instant::now() + STRANGERS_WAIT);
                return Ok(why.given_up(supervisor));
            }
            other => other,
        };
    }
}

impl Ended {
    fn describe(&self) -> String {
        match self {
            Self::Asked => "asked to end".into(),
            Self::Essential { short, crashed: true } => format!("{short} is essential and down for good"),
            Self::Essential { short, crashed: false } => format!("{short} is essential and has ended well"),
            Self::HomeLost => "the home is lost".into(),
            Self::EdgeLost => "the edge has ended and nothing can reach the hub".into(),
            Self::Unfinished => "processes are left that KILL did not end; giving up on them".into(),
        }
    }

    /// What the end has come to with processes left: nothing good.
    fn given_up(self, supervisor: &Supervisor) -> Self {
        supervisor.context.console.line("[supervisor] ", &Self::Unfinished.describe());
        match self {
            Self::Asked | Self::Essential { crashed: false, .. } => Self::Unfinished,
            Self::Essential { crashed: true, .. } | Self::HomeLost | Self::EdgeLost | Self::Unfinished => self,
        }
    }
}

impl Phase {
    /// The first request stops everything; a second one hurries.
    fn stop(self, supervisor: &Supervisor, duties: &mut Duties<'_>, why: Ended) -> Self {
        match self {
            Self::Running => {
                let resting = BTreeSet::new();
                // First of all: the kernel takes longer to forget what was watched than modules may take to end.
                (duties.on_end)();
                duties.home_watch.iter_mut().for_each(Inotify::release);
                supervisor.begin_shutdown();
                Self::Stopping { why, hurry_at: Instant::now() + SHUTDOWN_GRACE, resting }
            }
            Self::Stopping { why, resting, .. } => Self::hurry(supervisor, why, resting),
            hurrying @ Self::Hurrying { .. } => hurrying,
        }
    }

    fn hurry(supervisor: &Supervisor, why: Ended, resting: BTreeSet<Short>) -> Self {
        supervisor.hurry();
        Self::Hurrying { why, give_up_at: Instant::now() + LAST_WAIT, resting }
    }
}

/// A child ended that no worker waits for by pidfd: an orphan is collected, and where the kernel has no pidfd every
/// worker looks. Children that end at the same time are told of as one, so that `pid` may not be the only one.
fn child_ended(supervisor: &Supervisor, pid: Pid) {
    let family = &supervisor.context.family;
    if !family.has_pidfds() {
        supervisor.send_to_all(|| ForWorker::Look);
    }
    if !family.has_pidfds() || !family.is_leader(pid) {
        // Listing collects those that have ended.
        let _ = family.strangers();
    }
}

/// The modules are down, or given up on: whatever still came to us as an orphan goes too, except what was there before
/// us. Returns whether all of it has gone.
fn end_strangers(supervisor: &Supervisor, adopted: &BTreeSet<Pid>, deadline: Instant) -> bool {
    let family = &supervisor.context.family;
    loop {
        let now = Instant::now();
        let strangers = family.strangers().map(|pids| pids.into_iter().filter(|pid| !adopted.contains(pid)).collect());
        let are_gone = strangers.as_ref().is_ok_and(Vec::is_empty);
        if are_gone || now >= deadline {
            return are_gone;
        }
        let strangers: Vec<Pid> = strangers.unwrap_or_default();
        if !family.has_pidfds() {
            for pid in &strangers {
                let _ = family.signal_stranger(*pid, Signal::Kill, || true);
            }
        }
        let held: Vec<Held> = strangers
            .into_iter()
            .filter_map(|pid| Held::open(pid, || proc::stat(pid).is_some_and(|stat| !stat.is_zombie())).ok()?)
            .collect();
        let mut polls = PollSet::default();
        for held in &held {
            let _ = held.signal(Signal::Kill);
            polls.readable(held.pidfd());
        }
        // Whom nothing announces is looked for again.
        let look_again_at = if held.is_empty() { now + LOOK_AGAIN } else { deadline };
        if polls.wait(Some(look_again_at)).is_err() {
            return false;
        }
    }
}
