//! Whose listener it is that a probe has reached (supervisor B13).
//!
//! Asked once for each child, when its port answers for the first time. A listener counts as the module's when a process
//! of it holds the socket: its leader, a descendant, or one that is known by its [`Marks`]. It is a stranger's only when
//! that is certain. It is believed when
//!
//! - the kernel does not say which sockets it may be, or nobody whose descriptors may be looked at holds it: a process of
//!   another user, such as the proxy of a container engine that root runs;
//! - its holder belongs to another service of this machine's service manager, or is that manager: a daemon may listen on
//!   behalf of the module's command, as a container engine does for `docker run -p` and a manager for a socket unit.
//!
//! Whoever else listens for a module needs `run.ready` to be `none`.

use super::probe::{self, Holder};
use super::remains::Marks;
use crate::sys::process::{self, Family, Pid};
use crate::sys::{listener, proc};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The stranger that listens on the port of the module with this leader, if it is one for certain. Takes a few small
/// reads when the module itself listens, and looks through /proc only when none of its processes is found to.
pub(super) fn stranger(leader: Pid, marks: &Marks<'_>, family: &Family) -> Option<Holder> {
    let inodes = reached(marks.port);
    if inodes.is_empty() {
        return None;
    }
    let holds = |pid: &Pid| proc::holds_socket(*pid, &inodes) == Some(true);
    let mut descendants = vec![leader];
    let mut index = 0;
    while let Some(pid) = descendants.get(index).copied() {
        if holds(&pid) {
            return None;
        }
        let children = proc::children(pid).into_iter().filter(|child| !descendants.contains(child));
        descendants.extend(children.collect::<Vec<_>>());
        index += 1;
    }
    let is_own =
        |pid: Pid| proc::stat(pid).is_some_and(|stat| marks.are_of(pid, stat, family).is_ok_and(|are_of| are_of));
    // In a control group of its own it may be in none by name.
    let own_services = [leader, process::own_pid()].map(proc::service);
    let serves_others = |pid: Pid| proc::service(pid).is_some_and(|service| !own_services.contains(&Some(service)));
    let holders: Vec<Pid> = proc::pids().ok()?.into_iter().filter(holds).collect();
    if holders.iter().any(|pid| is_own(*pid) || serves_others(*pid)) {
        return None;
    }
    holders.first().map(|pid| probe::process(*pid))
}

/// The socket that the probe has reached, or, where the kernel cannot be asked for one address, all that it may be.
fn reached(port: u16) -> Vec<u64> {
    let at = |ip| listener::inode(SocketAddr::new(ip, port));
    // In the order in which the probe connects.
    let asked = match at(IpAddr::V4(Ipv4Addr::LOCALHOST)) {
        Ok(None) => at(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        other => other,
    };
    asked.map_or_else(|_| proc::listening_inodes(port), |inode| inode.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::output::Output;
    use crate::sys::fault::{Fault, play};
    use std::cell::OnceCell;
    use std::net::TcpListener;
    use std::process::Command;

    const ENOENT: i32 = 2;

    #[test]
    fn a_stranger_is_found_also_where_the_kernel_cannot_be_asked_for_one_address() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = socket.local_addr().expect("bound").port();
        let mut child = Command::new("/bin/sleep").arg("600").spawn().expect("a child");
        let other = Pid::try_from(child.id()).expect("a pid");
        let (family, output) = (Family::new().expect("a family"), Output::default());
        let stranger = |leader: Pid| {
            let (leader_too, lineage_word) = (Some(leader), "nobody's");
            let marks = Marks {
                leader: leader_too,
                leader_lives: true,
                group: None,
                lineage_word,
                since_ticks: None,
                port,
                output: &output,
                shared: OnceCell::new(),
            };
            super::stranger(leader, &marks, &family)
        };
        for at in [0, 1] {
            let asked = |leader| play(at, Fault::Errno(ENOENT), || stranger(leader));
            let found = asked(other);
            assert_eq!(found.calls, ["sock_diag"], "{at}");
            assert!(matches!(found.outcome, Some(Holder::Process { pid, .. }) if pid == process::own_pid()), "{at}");
            // Our own listener is no stranger's.
            assert!(asked(process::own_pid()).outcome.is_none(), "{at}");
        }
        drop(socket);
        for at in [0, 1] {
            assert!(play(at, Fault::Errno(ENOENT), || stranger(other)).outcome.is_none(), "{at}");
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
}
