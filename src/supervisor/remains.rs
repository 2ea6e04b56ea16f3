//! What a module leaves behind besides its leader: members of its group and descendants that left it.
//!
//! The hub is a subreaper, so every descendant whose parents are gone becomes its child. No such stranger proves that
//! nothing is left; only when there are some is /proc looked through.

use super::environment;
use super::output::Output;
use crate::sys::cgroup::Group;
use crate::sys::proc::{self, Stat};
use crate::sys::process::{self, Family, Held, Pid, Signal};
use std::cell::OnceCell;
use std::collections::HashSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long, and how often, is looked at least while strangers come and go, where one look that sees all of them proves
/// that nothing is left. It takes a fraction of a millisecond, and longer on a machine that is busy with them.
const LOOK_TIME: Duration = Duration::from_millis(100);
const LOOKS_MIN: u32 = 16;

/// By what the processes of a module are known.
pub(crate) struct Marks<'a> {
    /// Its leader, whose process group counts while it is not collected.
    pub(crate) leader: Option<Pid>,
    pub(crate) leader_lives: bool,
    /// Its control group.
    pub(crate) group: Option<&'a Group>,
    pub(crate) lineage_word: &'a str,
    /// When its first leader was started; `None` when it had none.
    pub(crate) since_ticks: Option<u64>,
    pub(crate) port: u16,
    pub(crate) output: &'a Output,
    /// What of the module's a process without an environment may have open, once it was needed: it takes longer to find
    /// out than all the rest.
    pub(crate) shared: OnceCell<Vec<PathBuf>>,
}

impl Marks<'_> {
    /// Whether a process was started by the module, or by what that has started. It is known by its groups, by what stands
    /// in its environment and, where it has written a title over that, as servers do, by what it has open and by what it
    /// hands on.
    pub(crate) fn are_of(&self, pid: Pid, stat: Stat, family: &Family) -> io::Result<bool> {
        if Some(stat.group) == self.leader {
            return Ok(true);
        }
        if let Some(group) = self.group
            && group.members()?.contains(&pid)
        {
            return Ok(true);
        }
        if let Some(lineage) = proc::environment_value(pid, environment::LINEAGE)? {
            return Ok(environment::is_of_lineage(&lineage, self.lineage_word));
        }
        // Nobody but a child of ours that no module leads. What was there before the module, such as what was left to us
        // by whoever became this program, is nobody's.
        let may_be = stat.parent == process::own_pid()
            && self.since_ticks.is_some_and(|since| stat.start_ticks >= since)
            && !family.is_leader(pid);
        Ok(may_be && (self.are_open_in(pid)? || self.are_handed_on_by(pid)?))
    }

    /// Whether what it has started has the module's word in its environment: nobody else has that to hand on.
    fn are_handed_on_by(&self, pid: Pid) -> io::Result<bool> {
        let mut descendants = proc::children(pid);
        while let Some(pid) = descendants.pop() {
            match proc::environment_value(pid, environment::LINEAGE)? {
                Some(lineage) if environment::is_of_lineage(&lineage, self.lineage_word) => return Ok(true),
                Some(_) => {}
                None => descendants.extend(proc::children(pid)),
            }
        }
        Ok(false)
    }

    /// Whether it writes to the module's output, or listens on its port.
    fn are_open_in(&self, pid: Pid) -> io::Result<bool> {
        let Some(files) = proc::open_files(pid)? else { return Ok(false) };
        let shared = match self.shared.get() {
            Some(shared) => shared,
            None => {
                let mut shared = self.output.names()?;
                shared.extend(proc::listening_inodes(self.port).into_iter().map(proc::name_of_socket));
                self.shared.get_or_init(|| shared)
            }
        };
        Ok(shared.iter().any(|name| files.contains(name)))
    }
}

/// Processes of one module beside its leader, each held by a pidfd where the kernel has them.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    held: Vec<Held>,
    /// Those that cannot be held and have heard the last signal, with their start times.
    told: Vec<(Pid, u64)>,
    /// There are some that cannot be held, so that nothing announces their end.
    has_unheld: bool,
    /// Descendants of the leader that left its group. Until it has ended they are its own affair and hear of no signal.
    escaped: Vec<Held>,
    /// The last signal that went to all of them; newcomers get it too.
    signal: Option<Signal>,
}

impl Remains {
    /// Sends `signal` to all that are held, and at the next look to the others and to those that turn up.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.signal = Some(signal);
        self.told.clear();
        for held in &self.held {
            // One that has become another user's process meanwhile cannot be ended by us; it is reported as stuck.
            let _ = held.signal(signal);
        }
    }

    /// Holds what has left the group of the leader, which lives: once its parents have gone, one that has emptied its
    /// environment is not known any more as the module's. Whoever cannot be held now is found later, or not.
    pub(crate) fn hold_escaped(&mut self, leader: Pid) {
        let mut descendants: Vec<(Held, bool)> = Vec::new();
        let (mut parent, mut index) = (leader, 0);
        loop {
            for pid in proc::children(parent) {
                let mut has_left = false;
                let is_child = || {
                    let stat = proc::stat(pid).filter(|stat| stat.parent == parent);
                    has_left = stat.is_some_and(|stat| stat.group != leader);
                    stat.is_some()
                };
                let held = Held::open(pid, is_child);
                // The leader is not collected before it was seen to end; the number of another may be somebody else's.
                if index > 0 && descendants.get(index - 1).is_none_or(|(parent, _)| parent.has_ended()) {
                    break;
                }
                if let Ok(Some(held)) = held {
                    descendants.push((held, has_left));
                }
            }
            let Some((next, _)) = descendants.get(index) else { break };
            (parent, index) = (next.pid(), index + 1);
        }
        // Those from before may have lost their parents since.
        self.escaped.retain(|held| !held.has_ended());
        for (held, has_left) in descendants {
            if has_left && self.escaped.iter().all(|known| known.pid() != held.pid()) {
                self.escaped.push(held);
            }
        }
    }

    /// The leader has ended or gets no more time: whoever left its group hears now what all others have heard.
    pub(crate) fn take_escaped(&mut self) {
        for held in std::mem::take(&mut self.escaped) {
            if self.held.iter().any(|known| known.pid() == held.pid()) {
                continue;
            }
            self.take(held);
        }
    }

    /// Looks again who is left. Returns whether anybody is. An error means that it cannot be told now, as when
    /// descriptors have run out.
    pub(crate) fn look(&mut self, family: &Family, marks: &Marks<'_>) -> io::Result<bool> {
        let until = Instant::now() + LOOK_TIME;
        loop {
            // Whoever was found once belongs to the module until it has ended, however it looks now. Before the others
            // are looked for: what it leaves behind is to be among them.
            self.held.retain(|held| !held.has_ended());
            self.has_unheld = false;
            let found = self.find(family, marks, until)?;
            for process in descendants(&found, family)? {
                self.hold(family, process)?;
            }
            // Until the leader has ended they are its own affair.
            if let Some(group) = marks.group.filter(|_| !marks.leader_lives) {
                self.hold_members(group, marks.leader)?;
            }
            // If all that were found have gone meanwhile, whom they left behind has not been looked for.
            let is_left = self.has_unheld || !self.held.is_empty();
            if is_left || found.is_empty() {
                return Ok(is_left);
            }
            if Instant::now() >= until {
                return Err(io::Error::other("its processes come and go faster than they can be held"));
            }
        }
    }

    /// The strangers that are the module's, with their start times. Each is held at once: one that forks and ends is not
    /// to get to fork again before it hears what the others have heard. Empty when nothing is left of the module: for
    /// certain, unless some have ended before it was known whose they were in every look until `until`, and in
    /// [`LOOKS_MIN`]. Whoever lives for longer than a look is found then, too.
    fn find(&mut self, family: &Family, marks: &Marks<'_>, until: Instant) -> io::Result<Vec<(Pid, u64)>> {
        // Those that were looked at before.
        let (mut seen, mut unseen) = (HashSet::new(), HashSet::new());
        let mut looks = 0;
        loop {
            looks += 1;
            let (mut found, mut has_ended) = (Vec::new(), false);
            for pid in family.strangers()? {
                let Some(stat) = proc::look_at(pid)? else {
                    // One that is there again is another user's, in a /proc that does not show those: nothing can be done
                    // about it.
                    has_ended |= unseen.insert(pid);
                    continue;
                };
                let process = (pid, stat.start_ticks);
                if !seen.insert(process) {
                    continue;
                }
                if !stat.is_zombie() && marks.are_of(pid, stat, family)? {
                    found.push(process);
                    self.hold(family, process)?;
                } else if !proc::is_alive(pid, stat.start_ticks) {
                    has_ended = true;
                }
            }
            // Whoever ended before it was known whose it was has left us its children as new strangers. Who comes without
            // that descends from one that lived when it was seen to be another module's, and so is that one's too.
            let is_over = looks >= LOOKS_MIN && Instant::now() >= until;
            if !found.is_empty() || !has_ended || is_over {
                return Ok(found);
            }
        }
    }

    /// Holds who is in the control group, and has them hear what the others have heard: whom nothing else tells.
    fn hold_members(&mut self, group: &Group, leader: Option<Pid>) -> io::Result<()> {
        let Some(mut members) = group.leave()? else { return Ok(()) };
        // Root may have put us there. It is no place to end ourselves.
        let we = process::own_pid();
        if members == [we] {
            return Ok(());
        }
        members.retain(|pid| *pid != we && Some(*pid) != leader);
        let mut newcomers = Vec::new();
        for pid in members {
            if self.held.iter().any(|held| held.pid() == pid) {
                continue;
            }
            match Held::open(pid, || true) {
                Ok(held) => newcomers.extend(held),
                Err(error) if process::has_no_pidfds(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // Whoever is still listed is the one that is held.
        let still = if newcomers.is_empty() { Vec::new() } else { group.members()? };
        for held in newcomers.into_iter().filter(|held| still.contains(&held.pid())) {
            self.take(held);
        }
        // Somebody is in there who cannot be told, or has ended and is not gone yet. KILL reaches everybody.
        self.has_unheld |= self.held.is_empty();
        Ok(())
    }

    fn take(&mut self, held: Held) {
        if let Some(signal) = self.signal {
            let _ = held.signal(signal);
        }
        self.held.push(held);
    }

    /// Holds a process that was found, and has it hear what the others have heard.
    fn hold(&mut self, family: &Family, process: (Pid, u64)) -> io::Result<()> {
        let (pid, start_ticks) = process;
        if self.held.iter().any(|held| held.pid() == pid) {
            return Ok(());
        }
        let still = || proc::stat(pid).is_some_and(|stat| stat.start_ticks == start_ticks);
        match Held::open(pid, still) {
            Ok(Some(held)) => self.take(held),
            Ok(None) => {}
            Err(error) if process::has_no_pidfds(&error) => {
                self.has_unheld = true;
                if let Some(signal) = self.signal
                    && !self.told.contains(&process)
                    // One that is not our child yet is told once its parent has gone.
                    && family.signal_stranger(pid, signal, still).is_ok_and(|told| told)
                {
                    self.told.push(process);
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Readable when one of them has ended.
    pub(crate) fn pidfds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.held.iter().map(Held::pidfd)
    }

    /// Whether some are left whose end nothing announces.
    pub(crate) fn has_unheld(&self) -> bool {
        self.has_unheld
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Everything below these, with start times.
fn descendants(ancestors: &[(Pid, u64)], family: &Family) -> io::Result<Vec<(Pid, u64)>> {
    if ancestors.is_empty() {
        return Ok(Vec::new());
    }
    // Where the kernel lists no children everybody is asked for the parent.
    let everybody = if family.lists_children() { None } else { Some(proc::stats()?) };
    let children = |parent: Pid| -> Vec<(Pid, Stat)> {
        let is_child = |stat: &Stat| stat.parent == parent;
        match &everybody {
            Some(stats) => stats.iter().map(|(pid, stat)| (*pid, *stat)).filter(|(_, stat)| is_child(stat)).collect(),
            None => {
                let listed = proc::children(parent).into_iter();
                listed.filter_map(|pid| Some((pid, proc::stat(pid).filter(is_child)?))).collect()
            }
        }
    };
    let (own, mut line, mut index) = (process::own_pid(), ancestors.to_vec(), 0);
    // Generation by generation.
    while let Some((parent, _)) = line.get(index).copied() {
        index += 1;
        for (pid, stat) in children(parent) {
            let process = (pid, stat.start_ticks);
            if pid != own && !stat.is_zombie() && !line.contains(&process) && !family.is_leader(pid) {
                line.push(process);
            }
        }
    }
    Ok(line.split_off(ancestors.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testdir::TestDir;

    #[test]
    fn one_look_at_a_stranger_that_lives_is_enough() {
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().expect("a child");
        let stranger = Pid::try_from(child.id()).expect("a pid");
        let dir = TestDir::new("remains");
        let list = dir.join("children");
        std::fs::write(&list, format!("{stranger} ")).expect("written");
        let (family, output) = (Family::listed_in(&list), Output::default());
        let marks = Marks {
            leader: None,
            leader_lives: false,
            group: None,
            lineage_word: "nobody's",
            since_ticks: None,
            port: 1,
            output: &output,
            shared: OnceCell::new(),
        };
        assert_eq!(Remains::default().find(&family, &marks, Instant::now()).expect("there is no time for another"), []);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
}
