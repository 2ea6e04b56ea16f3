//! Ends what a killed hub left behind, before this one starts anything: only processes that are provably its own.

use super::environment::LINEAGE;
use crate::sys::cgroup::Group;
use crate::sys::poll::PollSet;
use crate::sys::proc::{self, Stat};
use crate::sys::process::{self, Held, Pid, Signal};
use crate::sys::signals::{Sender, Signals};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// From TERM to KILL. The children had TERM as their parent-death signal already.
const GRACE: Duration = Duration::from_secs(5);
/// What KILL gets to take effect.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// While some are left whose end nothing announces.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Whoever waits for longer is told whom for.
const QUIET: Duration = Duration::from_millis(300);

/// A leader that an earlier hub of this home wrote down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) short: String,
    pub(crate) pid: Pid,
    /// Proves that the pid still means that process.
    pub(crate) start_ticks: u64,
    /// Its hub's, and so its group's; `None` where that is not known.
    pub(crate) session: Option<Pid>,
}

/// What was found and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) ended: Vec<Pid>,
    /// Still there after KILL.
    pub(crate) left: Vec<Pid>,
    /// Who has asked this hub to end meanwhile.
    pub(crate) asked_by: Option<Sender>,
}

/// One of the earlier hub's processes.
#[derive(Debug)]
enum Found {
    Held(Held),
    /// Where the kernel lets nobody hold a process: its start time tells it from another of its number.
    Unheld {
        pid: Pid,
        start_ticks: u64,
    },
}

impl Found {
    fn pid(&self) -> Pid {
        match self {
            Self::Held(held) => held.pid(),
            Self::Unheld { pid, .. } => *pid,
        }
    }

    fn held(&self) -> Option<&Held> {
        match self {
            Self::Held(held) => Some(held),
            Self::Unheld { .. } => None,
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match self {
            Self::Held(held) => held.signal(signal),
            Self::Unheld { pid, start_ticks } => {
                process::signal_unheld(*pid, signal, || proc::is_alive(*pid, *start_ticks))
            }
        }
    }
}

/// How a wait has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    OneEnded,
    InVain,
    /// This hub is to end.
    Asked(Sender),
}

/// Ends the recorded leaders, which may be none, with their groups, whatever carries the earlier hub's `instance` in its
/// environment, whoever is in its control `group`, and all descendants of these. The record must be of this boot. Blocks
/// for ten seconds at most, and `on_wait` hears whom it waits for when it is not over at once; a signal that asks us to end
/// has them killed, and a second one ends the wait (supervisor B1). Fails when it cannot be told now who is left, as when
/// descriptors have run out.
pub(crate) fn end_previous(
    instance: &str,
    leaders: &[Leader],
    group: Option<&Group>,
    signals: &Signals,
    on_wait: impl Fn(&[Pid]),
) -> io::Result<Report> {
    let mut report = Report::default();
    let mut speak_at = Some(Instant::now() + QUIET);
    for (signal, wait) in [(Signal::Term, GRACE), (Signal::Kill, KILL_WAIT)] {
        let deadline = Instant::now() + wait;
        if signal == Signal::Kill {
            kill(group)?;
        }
        // What they forked meanwhile is found by looking again.
        loop {
            let found = find(instance, leaders, group)?;
            report.left = found.iter().map(Found::pid).collect();
            if found.is_empty() {
                give_back(group);
                return Ok(report);
            }
            for process in &found {
                if !report.ended.contains(&process.pid()) || signal == Signal::Kill {
                    let _ = process.signal(signal);
                    report.ended.push(process.pid());
                }
            }
            report.ended.sort_unstable();
            report.ended.dedup();
            let look_again_at =
                found.iter().any(|process| process.held().is_none()).then(|| Instant::now() + LOOK_AGAIN);
            let until = [speak_at, look_again_at].into_iter().flatten().fold(deadline, Instant::min);
            match wait_for_one(&found, signals, until)? {
                Waited::Asked(sender) => {
                    report.asked_by = Some(sender);
                    break;
                }
                Waited::OneEnded | Waited::InVain if Instant::now() >= deadline => break,
                Waited::OneEnded => {}
                Waited::InVain => {
                    if speak_at.take_if(|at| Instant::now() >= *at).is_some() {
                        on_wait(&report.left);
                    }
                }
            }
        }
    }
    report.left = find(instance, leaders, group)?.iter().map(Found::pid).collect();
    give_back(group);
    report.ended.retain(|pid| !report.left.contains(pid));
    Ok(report)
}

/// Waits until one of them has ended, somebody has asked us to end, or the deadline has passed.
fn wait_for_one(found: &[Found], signals: &Signals, deadline: Instant) -> io::Result<Waited> {
    let mut polls = PollSet::default();
    loop {
        polls.clear();
        let signal = polls.readable(signals.as_fd());
        let slots: Vec<_> = found.iter().filter_map(Found::held).map(|held| polls.readable(held.pidfd())).collect();
        polls.wait(Some(deadline))?;
        if polls.is_ready(signal)
            && let Some(sender) = signals.take_terminate()?
        {
            return Ok(Waited::Asked(sender));
        }
        if slots.into_iter().any(|slot| polls.is_ready(slot)) {
            return Ok(Waited::OneEnded);
        }
        // Another signal ends no wait.
        if Instant::now() >= deadline {
            return Ok(Waited::InVain);
        }
    }
}

/// Ends the earlier hub's control group as a whole, unless we were started in it.
fn kill(group: Option<&Group>) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    let members = group.members()?;
    let mut line = std::iter::successors(Some(process::own_pid()), |pid| {
        proc::stat(*pid).map(|stat| stat.parent).filter(|parent| *parent > 1 && parent != pid)
    });
    if !line.any(|pid| members.contains(&pid)) {
        // Each of them is killed besides.
        let _ = group.kill();
    }
    Ok(())
}

/// Whoever is left in the earlier hub's control group cannot be told by us, or is our own ancestor, or we ourselves.
fn give_back(group: Option<&Group>) {
    if let Some(group) = group {
        let _in_use = group.remove();
    }
}

/// The earlier hub's processes that live now, held so that none can become another, where the kernel lets us.
fn find(instance: &str, leaders: &[Leader], group: Option<&Group>) -> io::Result<Vec<Found>> {
    let mut stats = proc::stats()?;
    // Behind the others, so that whoever is left when these have ended meanwhile is seen.
    let members = group.map(Group::members).transpose()?.unwrap_or_default();
    for pid in &members {
        if !stats.contains_key(pid) {
            stats.extend(proc::look_at(*pid)?.map(|stat| (*pid, stat)));
        }
    }
    let mut carriers: HashSet<Pid> = members.into_iter().collect();
    for (pid, stat) in &stats {
        if !stat.is_zombie() && carries(*pid, instance)? {
            carriers.insert(*pid);
        }
    }
    let mut found = Vec::new();
    for pid in belonging(&stats, leaders, process::own_pid(), |pid| carriers.contains(&pid)) {
        if let Some(stat) = stats.get(&pid).filter(|stat| !stat.is_zombie()) {
            found.extend(hold(pid, *stat)?);
        }
    }
    Ok(found)
}

/// `None` when it has gone.
fn hold(pid: Pid, stat: Stat) -> io::Result<Option<Found>> {
    let start_ticks = stat.start_ticks;
    match Held::open(pid, || proc::is_alive(pid, start_ticks)) {
        Ok(held) => Ok(held.map(Found::Held)),
        Err(error) if process::has_no_pidfds(&error) => {
            Ok(proc::is_alive(pid, start_ticks).then_some(Found::Unheld { pid, start_ticks }))
        }
        Err(error) => Err(error),
    }
}

fn carries(pid: Pid, instance: &str) -> io::Result<bool> {
    let lineage = proc::environment_value(pid, LINEAGE)?;
    let is_theirs = |word: &str| word.split_once('/').is_some_and(|(theirs, _)| theirs == instance);
    Ok(lineage.is_some_and(|lineage| lineage.split(';').any(is_theirs)))
}

/// Which of these processes are the earlier hub's; zombies, which prove whose their group is, may be among them. Pure but
/// for `carries`.
///
/// A leader that was collected leaves a group of its number, which the kernel gives nobody while that has a member. Unless
/// somebody has the number by now, a group in the hub's session whose members came after the leader is the leader's: it
/// would be another's only if a shell of that very session had come by the same number for a job, whose leader is gone too.
fn belonging(stats: &HashMap<Pid, Stat>, leaders: &[Leader], own: Pid, carries: impl Fn(Pid) -> bool) -> BTreeSet<Pid> {
    let is_recorded = |pid: Pid| {
        stats.get(&pid).is_some_and(|stat| leaders.iter().any(|l| l.pid == pid && l.start_ticks == stat.start_ticks))
    };
    let is_left_of_one = |stat: &Stat| {
        let is_its_hubs = |l: &Leader| l.session == Some(stat.session) && stat.start_ticks >= l.start_ticks;
        !stats.contains_key(&stat.group) && leaders.iter().any(|l| l.pid == stat.group && is_its_hubs(l))
    };
    let is_theirs =
        |pid: Pid, stat: &Stat| is_recorded(pid) || is_recorded(stat.group) || is_left_of_one(stat) || carries(pid);
    let mut found: Vec<Pid> =
        stats.iter().filter(|(pid, stat)| **pid != own && is_theirs(**pid, stat)).map(|(pid, _)| *pid).collect();
    let mut index = 0;
    while let Some(parent) = found.get(index).copied() {
        index += 1;
        for (child, _) in stats.iter().filter(|(_, stat)| stat.parent == parent) {
            if *child != own && !found.contains(child) {
                found.push(*child);
            }
        }
    }
    // We may have been started by one of them: a module that ran `parachute serve`.
    let mut ancestor = Some(own);
    while let Some(pid) = ancestor {
        found.retain(|each| *each != pid);
        ancestor = stats.get(&pid).map(|stat| stat.parent).filter(|parent| *parent > 1 && *parent != pid);
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fault::{Fault, play};

    const EMFILE: i32 = 24;

    #[test]
    fn only_what_is_provably_the_earlier_hubs_is_found() {
        let of =
            |state, session, group, start_ticks| Stat { state, parent: 1, group, session, threads: 1, start_ticks };
        let process = |parent, group, start_ticks| Stat { parent, ..of(b'S', 50, group, start_ticks) };
        let stats = HashMap::from([
            (1, process(0, 1, 0)),
            (100, process(1, 100, 500)),   // a recorded leader
            (101, process(100, 100, 501)), // in its group
            (102, process(101, 102, 502)), // below it, in a group of its own
            (200, process(1, 200, 777)),   // a recorded pid that means another process now
            (201, process(200, 200, 778)), // in that one's group
            (300, process(1, 300, 600)),   // carries the instance
            (400, process(1, 400, 601)),   // a stranger
            (500, process(300, 500, 900)), // we, started by one of them
            (600, of(b'Z', 60, 600, 500)), // a recorded leader that nobody has collected
            (601, of(b'S', 60, 600, 501)), // in its group
            (701, of(b'S', 50, 700, 501)), // in the group of a recorded leader that was collected
            (801, of(b'S', 60, 800, 501)), // in a group of such a number, of another session
            (901, of(b'S', 50, 900, 499)), // the same, and there before the leader
        ]);
        let leader = |pid, start_ticks| Leader { short: "x".into(), pid, start_ticks, session: Some(50) };
        let leaders =
            [(100, 500), (200, 555), (600, 500), (700, 500), (800, 500), (900, 500)].map(|(pid, at)| leader(pid, at));
        let found = belonging(&stats, &leaders, 500, |pid| pid == 300);
        assert_eq!(found, BTreeSet::from([100, 101, 102, 600, 601, 701]), "our own ancestor is spared");
        let leaders = leaders.map(|leader| Leader { session: None, ..leader });
        let found = belonging(&stats, &leaders, 500, |_| false);
        assert_eq!(found, BTreeSet::from([100, 101, 102, 600, 601]), "as an older release has noted them");
        let found = belonging(&stats, &[], 400, |pid| pid == 300);
        assert_eq!(found, BTreeSet::from([300, 500]));
    }

    /// A boot that took them for gone would start a second child beside each.
    #[test]
    fn who_cannot_be_held_now_does_not_count_as_gone() {
        let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().expect("a child");
        let pid = Pid::try_from(child.id()).expect("a pid");
        let start_ticks = proc::stat(pid).expect("it lives").start_ticks;
        let leaders = [Leader { short: "x".into(), pid, start_ticks, session: None }];
        let signals = Signals::block().expect("signals");
        let failed = play(1, Fault::Errno(EMFILE), || end_previous("nobody's", &leaders, None, &signals, |_| {}));
        assert_eq!(failed.calls.first(), Some(&"pidfd_open"));
        assert_eq!(failed.outcome.expect_err("it cannot be told").raw_os_error(), Some(EMFILE));
        assert_eq!(child.try_wait().expect("ours"), None, "it was left alone");
        // A zombie is no process any more, and this one is ours to collect.
        let report = end_previous("nobody's", &leaders, None, &signals, |_| {}).expect("told");
        assert_eq!(report, Report { ended: vec![pid], left: Vec::new(), asked_by: None });
        child.wait().expect("collected");
    }
}
