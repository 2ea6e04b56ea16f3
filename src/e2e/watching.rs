//! What brings a module down that runs on its own: a change of the files that it watches, a look at it that fails, and
//! what the end of one that is essential means.

use crate::support::{Home, Hub, Module, eventually, is_alive, kill, module, pid_of, testchild};
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
    hub.says(&format!("{name}: its files have changed, restarting it"));
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

#[test]
fn a_module_that_says_that_it_is_not_well_is_restarted() {
    assert!(Path::new("/usr/bin/python3").exists(), "python3 is missing: apt-get install python3");
    // The first child is sick once there is a file of this name, and takes it along.
    let script = "import os, http.server as h\n\
         class A(h.BaseHTTPRequestHandler):\n\
         \x20def do_GET(self):\n\
         \x20 self.send_response(503 if os.path.exists('sick') else 200); self.end_headers()\n\
         if os.path.exists('sick'): os.remove('sick')\n\
         h.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), A).serve_forever()";
    let argv = ["/usr/bin/python3", "-c", script].map(str::to_owned).to_vec();
    let live = json!({ "probe": "http", "intervalMs": 100, "timeoutMs": 10_000, "failures": 2 });
    let web = module("web", argv).run(json!({ "live": live, "ready": { "probe": "http", "timeoutMs": 30_000 } }));
    let hub = Hub::start(&[web]);
    let first = hub.until_ready("web");
    assert!(!hub.output().contains("liveness"), "{}", hub.output());
    touch(&hub.home.package("web").join("sick"));
    let second = hub.until_replaced("web", first);
    assert!(!is_alive(first));
    hub.says("web: did not answer 2 liveness probes in a row, ending it");
    let state = hub.module("web");
    assert_eq!((pid_of(&state), &state["restarts_in_window"]), (second, &json!(1)), "{state:#}");
}

#[test]
fn a_module_that_hangs_is_restarted() {
    let live = json!({ "probe": "http", "intervalMs": 100, "timeoutMs": 300, "failures": 3 });
    let web = module("web", testchild(&["http"])).run(json!({ "live": live, "stopTimeoutMs": 100 }));
    let hub = Hub::start(&[web]);
    let first = hub.until_ready("web");
    kill(first, "STOP");
    eventually("another child", || {
        hub.lines_after("web", "ready ").iter().any(|pid| *pid != first.to_string()).then_some(())
    });
    assert!(!is_alive(first));
    hub.says("web: did not answer 3 liveness probes in a row, ending it");
    assert!(!hub.output().contains("memory"), "that KILL was ours: {}", hub.output());
}

#[test]
fn the_hub_ends_with_an_essential_module_that_ends_for_good_and_with_no_other() {
    let never = json!({ "restart": "never", "ready": "none" });
    let essential = json!({ "restart": "never", "ready": "none", "essential": true });
    let heart = module("heart", testchild(&["sleep"])).run(essential);
    let other = module("other", testchild(&["sleep"])).run(never);
    let mut hub = Hub::start(&[heart, other]);
    let [heart, other] = ["heart", "other"].map(|name| hub.number_after(name, "ready "));
    kill(other, "KILL");
    hub.until_status("other", "crashed");
    assert_eq!(hub.get("/health").status, 200, "{}", hub.output());
    kill(heart, "KILL");
    assert_eq!(hub.until_it_ends().code(), Some(6));
    let output = hub.output();
    assert!(output.contains("heart is essential and down for good"), "{output}");
}

#[test]
fn the_hub_ends_well_with_an_essential_module_that_does_and_outlives_one_that_is_stopped() {
    for restart in ["never", "on-failure"] {
        let run = json!({ "restart": restart, "ready": "none", "essential": true });
        // It waits, so that the hub is up before.
        let job = module("job", testchild(&["slow-term", "0"])).run(run);
        let mut hub = Hub::start(&[job]);
        hub.number_after("job", "ready ");
        hub.run(&["stop", "job"]).succeeds();
        assert_eq!(hub.get("/health").status, 200, "{restart}: a stop is meant: {}", hub.output());
        hub.run(&["start", "job"]).succeeds();
        let ready = eventually("the second child", || hub.lines_after("job", "ready ").get(1).cloned());
        kill(ready.parse().expect("a pid"), "TERM");
        assert_eq!(hub.until_it_ends().code(), Some(0), "{restart}: {}", hub.output());
        hub.says("job is essential and has ended well, taking the hub down");
    }
}

/// Its settings hold although there has never been a child.
#[test]
fn giving_up_and_being_essential_count_for_a_module_whose_program_is_missing() {
    let missing = |name: &str, run: serde_json::Value| module(name, vec!["no-such-program".into()]).run(run);
    let mut hub = Hub::start(&[missing("lost", json!({ "giveUp": true }))]);
    let state = hub.until_status("lost", "crashed");
    assert!(state["next_retry_at"].is_null(), "{state:#}");
    let log = eventually("the refusal in the file", || {
        Some(hub.home.read("lost/logs/lost.log")).filter(|log| log.contains("giving up as run.giveUp says"))
    });
    assert!(log.contains("cannot be started: no-such-program was not found"), "{log}");
    assert_eq!(hub.end().code(), Some(0));

    let home = Home::new();
    home.install(&missing("heart", json!({ "giveUp": true, "essential": true })));
    let ended = match Hub::try_start_in(home, &[]) {
        Ok(mut hub) => hub.until_it_ends(),
        Err(refused) => refused.status,
    };
    assert_eq!(ended.code(), Some(6));
}

#[test]
fn an_essential_module_that_comes_back_takes_nothing_down() {
    let heart = module("heart", testchild(&["sleep"])).run(json!({ "ready": "none", "essential": true }));
    let hub = Hub::start(&[heart]);
    let first = hub.number_after("heart", "ready ");
    kill(first, "KILL");
    hub.until_replaced("heart", first);
}

#[test]
fn a_second_essential_module_that_ends_meanwhile_hurries_nobody() {
    let essential = json!({ "restart": "never", "ready": "none", "essential": true });
    let one = module("one", testchild(&["sleep"])).run(essential.clone());
    let two = module("two", testchild(&["sleep"])).run(essential);
    // The second one is not told to end before this one is down, which needs it.
    let slow = module("slow", testchild(&["slow-term", "1500"])).run(json!({ "ready": "none", "dependsOn": ["two"] }));
    let mut hub = Hub::start(&[one, two, slow]);
    let [one, two, _] = ["one", "two", "slow"].map(|name| hub.number_after(name, "ready "));
    kill(one, "KILL");
    hub.line_after("slow", "term ");
    kill(two, "KILL");
    assert_eq!(hub.until_it_ends().code(), Some(6));
    let output = hub.output();
    assert!(output.contains("slow: stopped: it exited with code 0") && !output.contains("sending KILL"), "{output}");
    assert!(!output.contains("two is essential"), "{output}");
}
