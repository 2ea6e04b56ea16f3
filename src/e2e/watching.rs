//! What brings a module down that runs on its own: a change of the files that it watches, a look at it that fails, and
//! what the end of one that is essential means.

use crate::support::{Hub, Module, eventually, is_alive, kill, module, testchild};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

/// A module that watches a file beside its package's manifest, and that file.
fn watching(name: &str, argv: Vec<String>, settings: serde_json::Value) -> Module {
    let mut run = settings;
    run["watch"] = json!(["watched"]);
    run["ready"] = json!("none");
    module(name, argv).run(run)
}

fn touch(path: &Path) {
    fs::write(path, "changed").expect("the package is ours");
}

fn watched(hub: &Hub, name: &str) -> PathBuf {
    hub.home.package(name).join("watched")
}

/// The hub has heard of a change of another module that watches the same file.
fn until_heard(hub: &Hub, name: &str) {
    eventually("the change was heard of", || {
        hub.output().contains(&format!("{name}: its files have changed, restarting it")).then_some(())
    });
}

#[test]
fn a_change_of_a_watched_file_restarts_a_module() {
    let hub = Hub::start(&[watching("web", testchild(&["sleep"]), json!({}))]);
    let first = hub.number_after("web", "ready ");
    touch(&watched(&hub, "web"));
    let second = hub.until_replaced("web", first);
    assert!(!is_alive(first));
    // The watch goes over to the next child.
    touch(&watched(&hub, "web"));
    hub.until_replaced("web", second);
    let state = hub.module("web");
    assert_eq!(state["restarts_in_window"], 0, "it is no crash: {state:#}");
}

#[test]
fn a_change_while_a_module_is_being_stopped_brings_nothing_back() {
    let run = json!({ "stopTimeoutMs": 60_000 });
    let slow = watching("slow", testchild(&["slow-term", "1500"]), run);
    let other = module("other", testchild(&["sleep"]));
    let hub = Hub::start(&[slow]);
    let pid = hub.number_after("slow", "ready ");
    // Watches the same file, and shows that the kernel has told.
    let same = watched(&hub, "slow").to_str().expect("UTF-8").to_owned();
    hub.home.install(&other.run(json!({ "watch": [same], "ready": "none" })));
    hub.run(&["start", "other"]).succeeds();
    thread::scope(|scope| {
        let stop = scope.spawn(|| hub.run(&["stop", "slow"]).succeeds());
        hub.line_after("slow", "term ");
        touch(&watched(&hub, "slow"));
        until_heard(&hub, "other");
        stop.join().expect("the stop ends well");
    });
    assert_eq!(hub.module("slow")["supervisor_status"], "stopped");
    assert_eq!(hub.lines_after("slow", "ready "), [pid.to_string()], "there was no other child");
}

#[test]
fn a_change_while_the_hub_ends_brings_nothing_back() {
    // The first one waits for its end until the second one, which needs it, is down.
    let first = watching("first", testchild(&["sleep"]), json!({}));
    let second = watching("second", testchild(&["slow-term", "1500"]), json!({ "dependsOn": ["first"] }));
    let mut hub = Hub::start(&[first, second]);
    let pids = ["first", "second"].map(|name| hub.number_after(name, "ready "));
    kill(hub.pid(), "TERM");
    hub.line_after("second", "term ");
    for name in ["first", "second"] {
        touch(&watched(&hub, name));
    }
    assert_eq!(hub.until_it_ends().code(), Some(0));
    let output = hub.output();
    assert!(!output.contains("its files have changed") && !output.contains("KILL"), "{output}");
    for (name, pid) in ["first", "second"].iter().zip(pids) {
        assert_eq!(hub.lines_after(name, "ready "), [pid.to_string()], "{output}");
    }
    assert!(!hub.home.path().join("hub/run/children").exists(), "a clean end leaves nobody to look for");
}
