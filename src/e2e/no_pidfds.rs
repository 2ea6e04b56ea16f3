//! A kernel, or a sandbox, that lets nobody have a pidfd: SIGCHLD tells of every end.

use crate::support::{Home, Hub, eventually, is_alive, kill, module, start_without_groups, testchild};
use serde_json::json;

const STRACE: &[&str] = &["strace", "-D", "-f", "-o", "/dev/null", "-e", "inject=pidfd_open:error=ENOSYS"];

/// Signals that come while one of their kind is waiting are lost, and the first one names its own child only.
#[test]
fn an_end_that_another_one_hides_is_seen() {
    let home = Home::new();
    home.install(&module("daemon", testchild(&["daemonize", "stay"])).run(json!({ "ready": "none" })));
    home.install(&module("web", testchild(&["sleep"])).run(json!({ "ready": "none" })));
    let hub = Hub::start_through(STRACE, home);
    let (daemon, web) = (hub.number_after("daemon", "daemon "), hub.number_after("web", "ready "));
    kill(hub.pid(), "STOP");
    for pid in [daemon, web] {
        kill(pid, "KILL");
        eventually("its end", || (!is_alive(pid)).then_some(()));
    }
    kill(hub.pid(), "CONT");
    eventually("the module is back", || (hub.number_after("web", "ready ") != web).then_some(()));
}

/// Their numbers and start times are all that tells them from others.
#[test]
fn the_next_hub_ends_what_a_killed_one_has_left() {
    let mut hub = start_without_groups(&[
        module("fork", testchild(&["fork-and-ignore-term"])),
        module("deaf", testchild(&["ignore-term"])).run(json!({ "ready": "none" })),
    ]);
    let orphans = [hub.number_after("fork", "grandchild "), hub.number_after("deaf", "ready ")];
    hub.kill();
    assert!(orphans.into_iter().all(is_alive), "they ignore TERM");
    hub.start_again_through(STRACE);
    assert!(!orphans.into_iter().any(is_alive));
    for name in ["fork", "deaf"] {
        hub.until_status(name, "running");
    }
}
