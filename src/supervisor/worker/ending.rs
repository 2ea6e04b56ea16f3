//! The end of a child and of all that it leaves: seeing it, hastening it, and when nothing is left any more.

use super::{Living, Worker};
use crate::supervisor::lifecycle::{Ended, Event};
use crate::supervisor::remains::Marks;
use crate::supervisor::words::Killer;
use crate::supervisor::{Leader, environment};
use crate::sys::cgroup::Group;
use crate::sys::process::{self, Exit, Signal};
use std::cell::OnceCell;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

/// After a look at what a child left behind that has failed, as when descriptors have run out, or has found what
/// nothing announces the end of.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Worker {
    /// Looks whether the leader has ended, without collecting it.
    pub(super) fn look_at_child(&mut self) {
        // An exit can be seen before the word over the pipe has been read.
        if self.living.as_ref().is_some_and(|living| living.outcome.is_some()) {
            self.look_at_outcome();
        }
        let Some(living) = &mut self.living else { return };
        if living.ended {
            return;
        }
        let exit = match living.child.peek() {
            Ok(None) => return,
            Ok(Some(exit)) => exit,
            // Somebody else collected it, which only a bug can do; it is gone either way.
            Err(_) => Exit::Code(-1),
        };
        living.ended = true;
        self.record(Leader::Over);
        self.last_exit = Some((exit, SystemTime::now()));
        self.probe = None;
        // What it printed last is often why.
        self.output.drain(&mut self.tap);
        let ended = if exit == Exit::Code(0) { Ended::Success } else { Ended::Failure };
        self.events.push_back(Event::Exited { child: self.child, ended });
    }

    /// To the group, while its leader keeps the number ours, to the leader, and to everything that left the group.
    pub(super) fn signal(&mut self, signal: Signal) {
        let lives = self.living.as_ref().is_some_and(|living| !living.ended);
        if signal == Signal::Kill && lives {
            self.killer = Killer::Us;
        }
        if let Some(living) = &self.living {
            // A hub that ends takes along whoever is left, and nobody need know whose it was.
            if lives && !self.context.closing.load(Ordering::Acquire) {
                self.remains.hold_escaped(living.child.pid());
            }
            if let Err(error) = living.child.signal(signal) {
                self.said.push(format!("cannot signal group {}: {error}", living.child.pid()));
            }
        }
        if signal == Signal::Kill {
            self.remains.take_escaped();
            // Also who is just being forked, and who is another user's.
            if let Some(Err(error)) = self.group.as_ref().map(kill) {
                self.said.push(format!("cannot kill its control group: {error}"));
            }
        }
        self.remains.signal(signal);
        if self.clearing {
            // They may be gone before anybody polls for it.
            self.clear();
        } else if lives {
            // Those that cannot be found now are looked for again once the leader has ended, as it may have already.
            let _ = self.look_for_remains();
        }
    }

    /// Returns whether anything but the leader is left.
    pub(super) fn look_for_remains(&mut self) -> io::Result<bool> {
        let mut remains = std::mem::take(&mut self.remains);
        let left = remains.look(&self.context.family, &self.marks(&self.lineage_word()));
        self.remains = remains;
        left
    }

    /// By what its processes are known.
    pub(super) fn marks<'a>(&'a self, lineage_word: &'a str) -> Marks<'a> {
        Marks {
            leader: self.living.as_ref().map(|living| living.child.pid()),
            leader_lives: self.living.as_ref().is_some_and(|living| !living.ended),
            group: self.group.as_ref(),
            lineage_word,
            since_ticks: self.since_ticks,
            port: self.settings.port,
            output: &self.output,
            shared: OnceCell::new(),
        }
    }

    pub(super) fn lineage_word(&self) -> String {
        environment::lineage_word(&self.context.facts.instance, &self.short)
    }

    /// Collects the leader once nothing else of the module is left; until then it keeps the group's number ours.
    pub(super) fn clear(&mut self) {
        if self.clearing {
            self.remains.take_escaped();
        }
        let left = self.look_for_remains();
        if let Err(error) = &left
            && self.look_again_at.is_none()
        {
            self.said.push(format!("cannot tell whether anything of it is left, looking again: {error}"));
        }
        let look_again = left.is_err() || self.remains.has_unheld();
        self.look_again_at = look_again.then(|| Instant::now() + LOOK_AGAIN);
        self.output.drain(&mut self.tap);
        if !self.clearing || left.unwrap_or(true) {
            return;
        }
        if let Some(living) = self.living.take() {
            let Living { child, outcome, started, started_at, .. } = *living;
            if let Err(child) = child.reap(&self.context.family) {
                let living = Living { child, outcome, ended: false, started, started_at };
                self.living = Some(Box::new(living));
                return;
            }
        }
        self.clearing = false;
        self.remains.clear();
        self.output.finish(&mut self.tap);
        self.events.push_back(Event::Gone { child: self.child });
    }
}

/// Ends all of the group, unless we are among them, where only root can have put us.
pub(super) fn kill(group: &Group) -> io::Result<()> {
    let are_in = group.members().is_ok_and(|members| members.contains(&process::own_pid()));
    if are_in { Ok(()) } else { group.kill() }
}
