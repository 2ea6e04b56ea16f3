//! A child that is held up on its way to its program: the main thread, which waits for it, goes on all the same.

use crate::support::{Home, Hub, eventually, module, testchild};
use serde_json::json;

/// As a process of the user that the child has become can: with `strace`, nobody need be root for it.
#[test]
fn a_child_that_was_stopped_before_its_program_goes_on() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    let strace = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=chdir", "-e", "inject=chdir:signal=STOP"];
    let mut hub = Hub::start_through(&strace, home);
    hub.until_ready("web");
    assert_eq!(hub.module("web")["restarts_total"], 0, "{}", hub.output());
    assert_eq!(hub.end().code(), Some(0));
}

/// A child makes that call three times, on machines that have it, and nobody else makes it.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
#[test]
fn a_child_that_is_stopped_again_and_again_is_a_fork_that_failed() {
    let home = Home::new();
    home.install(&module("held", testchild(&["sleep"])).run(json!({ "ready": "none" })));
    let strace = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=dup2", "-e", "inject=dup2:signal=STOP"];
    let mut hub = Hub::start_through(&strace, home);
    hub.says("held: cannot be started: reaching its program failed: ");
    let state = eventually("the next attempt", || {
        let state = hub.module("held");
        (state["supervisor_status"] == "restarting").then_some(state)
    });
    assert_eq!(state["restarts_in_window"], 0, "an attempt is no crash: {state:#}");
    hub.run(&["stop", "held"]).succeeds();
    assert_eq!(hub.end().code(), Some(0));
}
