//! A thousand modules under one hub.

use crate::support::{Home, Hub, eventually, free_port, is_alive, kill, module, testchild};
use serde_json::{Value, json};
use std::fs;

const MODULES: usize = 1_000;
/// Main, console, edge, the control API's: what the hub has beside one thread for each module.
const OTHER_THREADS: usize = 12;

#[test]
fn a_thousand_modules_run_are_listed_and_end_together() {
    let home = Home::new();
    let sleeper = module("sleeper", testchild(&["sleep"])).run(json!({"ready": "none", "logs": {"file": false}}));
    home.install(&sleeper);
    let package = home.package("sleeper");
    let row = |number: usize| {
        let name = format!("m{number:04}");
        json!({
            "name": name, "port": free_port(), "paths": [format!("/{name}")], "health": "/health", "version": "1",
            "installDir": package,
        })
    };
    let rows: Vec<Value> = (0..MODULES).map(row).collect();
    home.write("services.json", &json!({ "services": rows }).to_string());

    let mut hub = Hub::start_in(home, &[]);
    // Each look must find more than the one before: however slow the machine, it must go on. The hub's own output is
    // asked, because requests are slow while it forks a process that has a thousand stacks.
    let mut pids: Vec<u32> = Vec::new();
    while pids.len() < MODULES {
        let before = pids.len();
        pids = eventually(&format!("more than {before} modules started"), || {
            let output = hub.output();
            let started = output.lines().filter_map(|line| line.split_once(": started, pid ")?.1.parse().ok());
            let pids: Vec<u32> = started.collect();
            (pids.len() > before).then_some(pids)
        });
    }
    eventually("all of them running", || {
        let list = hub.api("GET", "/api/modules").json();
        let all = list["modules"].as_array()?;
        (all.iter().filter(|module| module["supervisor_status"] == "running").count() == MODULES).then_some(())
    });

    let status = hub.run(&["status", "--json"]).succeeds();
    let listed = status.stdout.matches("\"m0").count() + status.stdout.matches("\"m1").count();
    assert!(listed >= MODULES, "status lists all: {listed}");
    assert_eq!(hub.get("/health").status, 200);
    let threads = threads_of(hub.pid());
    assert!(threads <= MODULES + OTHER_THREADS, "{threads} threads for {MODULES} modules");
    assert!(hub.output().lines().all(|line| !line.contains("panicked")), "{}", hub.output());

    kill(hub.pid(), "TERM");
    let mut left = MODULES + 1;
    while left > 0 {
        left = eventually(&format!("fewer than {left} modules left"), || {
            let alive = pids.iter().filter(|pid| is_alive(**pid)).count();
            (alive < left).then_some(alive)
        });
    }
    assert!(hub.end().success(), "the hub ends well");
}

/// `man 5 proc_pid_status`.
fn threads_of(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the hub runs");
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a number of threads")
}
