//! Whose listener it is that a probe has reached (supervisor B13).
//!
//! Asked once for each child, when its port answers for the first time. A listener counts as the module's when a process
//! of it holds the socket: its leader, a descendant, a member of its group, or one that carries its mark. It is a
//! stranger's only when that is certain. It is believed when
//!
//! - the kernel does not say which socket it is, or nobody whose descriptors may be looked at holds it: a process of
//!   another user, such as the proxy of a container engine that root runs;
//! - its holder belongs to another service of this machine's service manager, or is that manager: a daemon may listen on
//!   behalf of the module's command, as a container engine does for `docker run -p` and a manager for a socket unit.
//!
//! Whoever else listens for a module needs `run.ready` to be `none`.

use super::probe::{self, Holder};
use super::remains;
use crate::sys::process::Pid;
use crate::sys::{listener, proc};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The stranger that listens on the port of a module with this leader, if it is one for certain. Takes a few small
/// reads when the module itself listens, and looks through /proc only when none of its processes is found to.
pub(super) fn stranger(port: u16, leader: Pid, lineage_word: &str) -> Option<Holder> {
    let at = |ip| listener::inode(SocketAddr::new(ip, port)).ok();
    // In the order in which the probe connects.
    let inode = match at(IpAddr::V4(Ipv4Addr::LOCALHOST))? {
        Some(inode) => inode,
        None => at(IpAddr::V6(Ipv6Addr::LOCALHOST))??,
    };
    let holds = |pid: &Pid| proc::holds_socket(*pid, &[inode]) == Some(true);
    let mut family = vec![leader];
    let mut index = 0;
    while let Some(pid) = family.get(index).copied() {
        if holds(&pid) {
            return None;
        }
        family.extend(proc::children(pid).into_iter().filter(|child| !family.contains(child)).collect::<Vec<_>>());
        index += 1;
    }
    let is_own = |pid: Pid| {
        proc::stat(pid).is_some_and(|stat| stat.group == leader)
            || remains::carries(pid, lineage_word).is_ok_and(|carries| carries)
    };
    let own_service = proc::service(leader);
    let serves_others = |pid: Pid| proc::service(pid).is_some_and(|service| Some(service) != own_service);
    let holders: Vec<Pid> = proc::pids().ok()?.into_iter().filter(holds).collect();
    if holders.iter().any(|pid| is_own(*pid) || serves_others(*pid)) {
        return None;
    }
    holders.first().map(|pid| probe::process(*pid))
}
