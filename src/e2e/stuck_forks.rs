//! A child that is held up on its way to its program: the main thread, which waits for it, goes on all the same.

use crate::support::{Home, Hub, eventually, free_port, module, testchild};
use serde_json::{Value, json};
use std::fs;

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

/// Nothing that it is asked for meanwhile keeps the worker from seeing to it, not even why it could not start.
#[test]
fn a_restart_while_the_fork_is_held_up_waits_for_it() {
    let home = Home::new();
    let (other, program) = (free_port(), &testchild(&[])[0]);
    let script = format!("PORT={other} {program:?} http & exec {program:?} http");
    home.install(&module("web", ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()));
    home.install(&module("held", testchild(&["http"])));
    let package = home.package("held");
    let package = package.to_str().expect("UTF-8");
    let stop = ["-P", package, "-e", "trace=chdir", "-e", "inject=chdir:signal=STOP"];
    let strace = [&["strace", "-D", "-f", "-o", "/dev/null"][..], &stop].concat();
    let mut hub = Hub::start_through(&strace, home);
    let web = hub.until_ready("web");
    hub.until_ready("held");
    hub.run(&["stop", "held"]).succeeds();
    // A port that a process of another module has.
    let mut document: Value = serde_json::from_str(&hub.home.read("services.json")).expect("JSON");
    document["services"][1]["port"] = json!(other);
    hub.run(&["start", "held", "--no-wait"]).succeeds();
    eventually("a fork that is held up", || {
        let wchan = fs::read_to_string(format!("/proc/{}/task/{}/syscall", hub.pid(), hub.pid()));
        // clone and clone3, which has the same number everywhere.
        let clones = [if cfg!(target_arch = "x86_64") { "56 " } else { "220 " }, "435 "];
        wchan.is_ok_and(|call| clones.iter().any(|clone| call.starts_with(clone))).then_some(())
    });
    hub.home.write("services.json", &document.to_string());
    hub.run(&["restart", "held", "--no-wait"]).succeeds();
    hub.says("held: cannot be started: port ");
    assert_eq!(hub.until_ready("web"), web);
    assert_eq!(hub.end().code(), Some(0));
}
