//! A kernel, or a sandbox, that lets nobody have a pidfd: SIGCHLD tells of every end.

use crate::support::{Home, Hub, eventually, is_alive, kill, module, testchild};
use serde_json::json;

/// Signals that come while one of their kind is waiting are lost, and the first one names its own child only.
#[test]
fn an_end_that_another_one_hides_is_seen() {
    let home = Home::new();
    home.install(&module("daemon", testchild(&["daemonize", "stay"])).run(json!({ "ready": "none" })));
    home.install(&module("web", testchild(&["sleep"])).run(json!({ "ready": "none" })));
    let strace = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "inject=pidfd_open:error=ENOSYS"];
    let hub = Hub::start_through(&strace, home);
    let (daemon, web) = (hub.number_after("daemon", "daemon "), hub.number_after("web", "ready "));
    kill(hub.pid(), "STOP");
    for pid in [daemon, web] {
        kill(pid, "KILL");
        eventually("its end", || (!is_alive(pid)).then_some(()));
    }
    kill(hub.pid(), "CONT");
    eventually("the module is back", || (hub.number_after("web", "ready ") != web).then_some(()));
}
