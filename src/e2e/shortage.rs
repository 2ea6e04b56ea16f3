//! A machine that has no process or no descriptor left: an attempt that fails is no crash, and the hub lives on.

use crate::support::{Hub, eventually, kill, module, testchild};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// How each C library ends its own words for EMFILE.
const TOO_MANY_OPEN_FILES: &str = "(os error 24)";

/// What the hub says of one module.
fn told(hub: &Hub, short: &str) -> Value {
    hub.api("GET", &format!("/api/modules/{short}")).json()
}

#[test]
fn a_fork_that_fails_is_a_failed_attempt_and_no_crash() {
    let hub = Hub::start(&[
        module("web", testchild(&["sleep"])).run(json!({"ready": "none"})),
        module("other", testchild(&["sleep"])).run(json!({"ready": "none"})),
    ]);
    let first = hub.number_after("web", "ready ");
    let other = hub.number_after("other", "ready ");

    let without_forks = hub.inject("fork,vfork,clone,clone3", "error=EAGAIN", &[]);
    kill(first, "KILL");
    let failed = eventually("an attempt that fails for want of a process", || {
        let told = told(&hub, "web");
        told["supervisor_start_error"].is_object().then_some(told)
    });
    assert!(failed["next_retry_at"].is_string(), "the next attempt is planned: {failed}");
    assert!(failed["pid"].is_null(), "there is no process: {failed}");
    // The kill from outside is the one failure; what cannot be forked did not crash.
    assert!(failed["restarts_in_window"].as_u64().is_some_and(|count| count <= 1), "no crash: {failed}");
    assert_ne!(failed["supervisor_status"], "crashed", "{failed}");
    let error = failed["supervisor_start_error"].to_string();
    assert!(error.contains("Resource temporarily unavailable") || error.contains("EAGAIN"), "says why: {failed}");
    assert_eq!(told(&hub, "other")["pid"], other, "the others run on");
    let status = hub.run(&["status"]);
    assert!(status.stdout.contains("failed to start"), "{status}");

    without_forks.end();
    eventually("the module is back", || hub.number_after("web", "ready ").ne(&first).then_some(()));
    let back = eventually("the hub says so", || {
        let told = told(&hub, "web");
        (told["supervisor_status"] == "running").then_some(told)
    });
    assert!(back["supervisor_start_error"].is_null(), "the error is gone: {back}");
}

/// From now on the hub can open no descriptor whose number is this or above.
fn limit(hub: &Hub, soft: usize) {
    let target = format!("--pid={}", hub.pid());
    let done = Command::new("prlimit").args([&target, &format!("--nofile={soft}:")]).output();
    let done = done.unwrap_or_else(|error| panic!("cannot run prlimit (Debian: util-linux): {error}"));
    assert!(done.status.success(), "prlimit: {}", String::from_utf8_lossy(&done.stderr));
}

/// A process's descriptors, and what each is.
fn descriptors(pid: u32) -> BTreeMap<usize, String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").flatten();
    let entries = entries.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
        Some((entry.file_name().to_str()?.parse().ok()?, target))
    });
    entries.collect()
}

/// The pipes of a new child fit, and what would tell of its end does not: then there must be no child.
#[test]
fn a_child_whose_end_nobody_could_see_is_not_made() {
    let hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({"ready": "none"}))]);
    let first = hub.number_after("web", "ready ");
    // What is free once the first child is gone: its two pipes and its pidfd are.
    let child = descriptors(first);
    let pipes = [&child[&1], &child[&2]];
    let held = descriptors(hub.pid());
    let stays =
        |number: &usize| held.get(number).is_some_and(|what| !pipes.contains(&what) && !what.contains("[pidfd]"));
    let mut free = (0..).filter(|number| !stays(number)).skip(3);
    // Room for less than three pipes, and with each attempt for one more: a connection may have ended meanwhile.
    let mut raise = || limit(&hub, free.next().expect("numbers do not end"));
    let complaints = |what: &str| {
        let says_it = |line: &&str| line.contains(what) && line.contains(TOO_MANY_OPEN_FILES);
        hub.output().lines().filter(says_it).count()
    };
    raise();
    kill(first, "KILL");
    let mut attempts = 0;
    while complaints("cannot be started: fork failed: ") == 0 {
        // The last line of each: whoever raised between two of them would leave one step out.
        eventually("an attempt that fails", || (complaints("; next attempt in ") > attempts).then_some(()));
        attempts += 1;
        raise();
    }
    limit(&hub, 8192);
    let second = eventually("a second child", || Some(hub.number_after("web", "ready ")).filter(|pid| *pid != first));
    hub.run(&["start", "web"]).succeeds();
    kill(second, "KILL");
    eventually("a third child", || (hub.number_after("web", "ready ") != second).then_some(()));
}

#[test]
fn a_hub_without_descriptors_lives_on_and_recovers() {
    let hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({"ready": "none"}))]);
    let first = hub.number_after("web", "ready ");
    // Below what it has open already: whatever it opens next fails.
    limit(&hub, 3);
    kill(first, "KILL");
    eventually("it says what is missing", || hub.output().contains(TOO_MANY_OPEN_FILES).then_some(()));
    assert!(crate::support::is_alive(hub.pid()), "the hub lives: {}", hub.output());
    limit(&hub, 8192);
    eventually("the module is back", || (hub.number_after("web", "ready ") != first).then_some(()));
    eventually("the hub answers", || {
        crate::support::http::get(hub.port, "/health").is_ok_and(|answer| answer.status == 200).then_some(())
    });
    hub.run(&["status", "--check"]).succeeds();
}

/// The edge is woken, so that it waits anew.
fn wake(hub: &Hub) {
    let _nobody_answers = crate::support::http::connect(hub.port);
}

#[test]
fn a_hub_that_the_kernel_lets_wait_for_nothing_keeps_its_modules() {
    let hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({"ready": "none"}))]);
    let child = hub.number_after("web", "ready ");
    let deaf = hub.inject("poll,ppoll", "error=ENOMEM", &[]);
    // Wakes it, so that it waits anew.
    kill(hub.pid(), "HUP");
    hub.says("cannot wait for signals, trying again");
    deaf.end();
    assert_eq!(hub.output().matches("cannot wait for signals").count(), 1, "{}", hub.output());
    assert_eq!(hub.number_after("web", "ready "), child, "the module is the same");
    kill(child, "KILL");
    eventually("the module is back", || (hub.number_after("web", "ready ") != child).then_some(()));
    hub.run(&["status", "--check"]).succeeds();
}

#[test]
fn an_edge_that_cannot_wait_tries_again() {
    let hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({"ready": "none"}))]);
    let child = hub.number_after("web", "ready ");
    let deaf = hub.inject("epoll_wait,epoll_pwait", "error=ENOMEM", &[]);
    wake(&hub);
    hub.says("cannot wait for connections");
    deaf.end();
    eventually("the hub answers", || {
        crate::support::http::get(hub.port, "/health").is_ok_and(|answer| answer.status == 200).then_some(())
    });
    assert_eq!(hub.output().matches("cannot wait for connections").count(), 1, "{}", hub.output());
    assert_eq!(hub.number_after("web", "ready "), child, "the module is the same");
}

#[test]
fn a_hub_whose_edge_is_lost_ends_so_that_it_can_be_started_again() {
    let mut hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({"ready": "none"}))]);
    let child = hub.number_after("web", "ready ");
    let deaf = hub.inject("epoll_wait,epoll_pwait", "error=EBADF", &[]);
    wake(&hub);
    hub.says("taking the hub down");
    deaf.end();
    assert_eq!(hub.until_it_ends().code(), Some(1), "{}", hub.output());
    eventually("its module gone", || (!crate::support::is_alive(child)).then_some(()));
}
