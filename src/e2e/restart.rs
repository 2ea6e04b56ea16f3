//! What follows when a module ends by itself, and what a restart by hand takes up.

use crate::support::{Home, Hub, eventually, http, is_alive, kill, module, pid_of, testchild};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

/// How many times a child that counts its runs in this file of the home has run.
fn runs(hub: &Hub, file: &str) -> usize {
    hub.home.read(file).len()
}

fn in_home(home: &Home, file: &str) -> String {
    home.path().join(file).to_str().expect("a temporary directory is UTF-8").to_owned()
}

#[test]
fn a_killed_module_comes_back_with_a_new_pid() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    let first = hub.until_ready("web");
    kill(first, "KILL");
    let second = hub.until_replaced("web", first);
    assert!(!is_alive(first));
    let state = hub.module("web");
    assert_eq!((&state["restarts_total"], &state["restarts_in_window"]), (&json!(1), &json!(1)), "{state:#}");
    assert_eq!(state["last_exit"]["signal"], 9, "{state:#}");
    let port = u16::try_from(state["port"].as_u64().expect("a port")).expect("a port");
    assert_eq!(http::get(port, "/x").expect("it is ready").text(), format!("testchild {second} GET /x\n"));
}

#[test]
fn three_quick_crashes_end_in_crashed_and_a_start_by_hand_forgives() {
    let home = Home::new();
    let count = in_home(&home, "runs");
    home.install(&module("web", testchild(&["crash-times", "3", &count])));
    home.install(&module("other", testchild(&["sleep"])).run(json!({ "ready": "none" })));
    let mut hub = Hub::start_in(home, &[]);

    let state = hub.until_status("web", "crashed");
    assert_eq!(runs(&hub, "runs"), 3, "exactly three children\n{state:#}");
    assert!(state["next_retry_at"].is_string(), "{state:#}");
    assert_eq!(state["last_exit"]["code"], 1, "{state:#}");
    assert_eq!(state["restarts_in_window"], 3, "{state:#}");
    assert_eq!(state["supervisor_start_error"]["error_type"], "exited_early", "{state:#}");

    let text = hub.run(&["status"]).fails_with(1).stdout;
    assert!(text.contains("crashed: exit code 1, 3 failures in 60 s; next retry in "), "{text}");
    let json = hub.run(&["status", "--json"]).fails_with(1).json();
    let row = &json["data"]["modules"][0];
    assert_eq!((&row["state"], &row["status"]), (&json!("failing"), &json!("crashed")), "{json:#}");
    assert_eq!(row["last_exit"]["code"], 1, "{json:#}");
    assert!(row["next_retry_at"].is_string(), "{json:#}");

    let only = hub.run(&["status", "web", "--json"]).fails_with(1).json();
    assert_eq!(only["data"]["modules"].as_array().map(Vec::len), Some(1), "{only:#}");
    let only = hub.run(&["status", "other", "--check"]).succeeds().stdout;
    assert!(only.contains("other") && !only.contains("web") && !only.contains("parachute-hub"), "{only}");
    let only = hub.run(&["status", "hub"]).succeeds().stdout;
    assert!(only.contains("parachute-hub") && !only.contains("web") && !only.contains("other"), "{only}");
    hub.run(&["status", "others"]).fails_with(9);

    hub.run(&["start", "web"]).succeeds();
    let state = hub.module("web");
    assert_eq!(state["supervisor_status"], "running", "{state:#}");
    assert_eq!(state["restarts_in_window"], 0, "{state:#}");
    assert!(state["next_retry_at"].is_null() && state["supervisor_start_error"].is_null(), "{state:#}");
    assert_eq!(runs(&hub, "runs"), 4);

    assert_eq!(hub.end().code(), Some(0));
    let down = hub.run(&["status", "other"]).succeeds().stdout;
    assert!(down.contains("! hub is down") && !down.contains("web"), "{down}");
    hub.run(&["status", "other", "--check"]).fails_with(6);
}

#[test]
fn a_start_by_hand_grants_all_quick_attempts_again() {
    let home = Home::new();
    let count = in_home(&home, "runs");
    home.install(&module("web", testchild(&["crash-times", "5", &count])));
    let hub = Hub::start_in(home, &[]);
    hub.until_status("web", "crashed");
    // The fourth child crashes as well: a start that ends so has failed, but it is tried twice more without long waits.
    hub.run(&["start", "web"]).fails_with(6);
    hub.until_ready("web");
    assert_eq!(runs(&hub, "runs"), 6);
}

#[test]
fn an_end_that_the_policy_allows_is_no_crash() {
    for (policy, code, status, restarted) in
        [("on-failure", "0", "stopped", false), ("never", "0", "stopped", false), ("never", "3", "crashed", false)]
    {
        let short = module("job", testchild(&["exit", code])).run(json!({ "restart": policy, "ready": "none" }));
        let hub = Hub::start(&[short]);
        let state = hub.until("job", status, |state| state["last_exit"].is_object());
        let case = format!("policy {policy}, exit code {code}");
        let state = if state["supervisor_status"] == status { state } else { hub.until_status("job", status) };
        assert_eq!(state["last_exit"]["code"], json!(code.parse::<u32>().expect("a number")), "{case}: {state:#}");
        assert!(state["next_retry_at"].is_null(), "{case}: {state:#}");
        assert_eq!(state["restarts_total"], u32::from(restarted), "{case}: {state:#}");
        assert_eq!(hub.lines_after("job", "exiting "), [code], "{case}");
    }
}

/// The verb, the API and the exit code agree.
#[test]
fn a_job_that_is_quicker_than_its_probe_has_not_failed() {
    let [well, badly] = ["0", "3"].map(|code| module(&format!("job{code}"), testchild(&["exit", code])));
    let hub = Hub::start(&[well, badly].map(|job| job.run(json!({ "restart": "never" }))));
    let state = hub.until_status("job0", "stopped");
    assert!(state["supervisor_start_error"].is_null(), "{state:#}");
    let ran = hub.run(&["start", "job0"]).succeeds();
    assert!(ran.stdout.contains("job0 started, and has ended well"), "{ran}");
    let answer = hub.api("POST", "/api/modules/job0/start");
    assert_eq!((answer.status, &answer.json()["state"]["startError"]), (200, &json!(null)), "{}", answer.text());
    hub.run(&["start", "job0", "--wait"]).fails_with(6);
    hub.run(&["start", "job3"]).fails_with(6);
    assert_eq!(hub.api("POST", "/api/modules/job3/start").json()["error"], "start_failed");
}

#[test]
fn a_failure_is_restarted_under_on_failure_and_a_success_under_always() {
    for (policy, code) in [("on-failure", "3"), ("always", "0")] {
        let short = module("job", testchild(&["exit", code])).run(json!({ "restart": policy, "ready": "none" }));
        let hub = Hub::start(&[short]);
        eventually(&format!("a second child, policy {policy}, exit code {code}"), || {
            (hub.lines_after("job", "exiting ").len() > 1).then_some(())
        });
    }
}

#[test]
fn giving_up_is_final() {
    let home = Home::new();
    let count = in_home(&home, "runs");
    home.install(&module("web", testchild(&["crash-times", "9", &count])).run(json!({ "giveUp": true })));
    let hub = Hub::start_in(home, &[]);
    let state = hub.until_status("web", "crashed");
    assert!(state["next_retry_at"].is_null(), "{state:#}");
    assert_eq!(runs(&hub, "runs"), 3);
    let text = hub.run(&["status"]).fails_with(1).stdout;
    assert!(text.contains("it stays down until: parachute start web"), "{text}");
    hub.says("giving up");
}

#[test]
fn a_crash_of_the_leader_ends_the_rest_of_its_group_before_the_respawn() {
    let wrap = module("wrap", testchild(&["fork-and-ignore-term"])).run(json!({ "stopTimeoutMs": 100 }));
    let port = wrap.port;
    let hub = Hub::start(&[wrap]);
    let leader = hub.until_ready("wrap");
    let grandchild = hub.number_after("wrap", "grandchild ");
    kill(leader, "KILL");
    hub.until_replaced("wrap", leader);
    assert!(!is_alive(grandchild), "the grandchild of the crashed leader still holds the port");
    let heir = eventually("a second grandchild", || {
        hub.lines_after("wrap", "grandchild ").pop().filter(|pid| *pid != grandchild.to_string())
    });
    assert_eq!(http::get(port, "/").expect("it is ready").text(), format!("testchild {heir} GET /\n"));
    assert_eq!(hub.processes("wrap").len(), 2);
}

#[test]
fn every_spawn_reads_its_settings_anew() {
    let home = Home::new();
    home.write("show/.env", "COLOUR=red\n");
    let show = module("show", testchild(&["print-env"])).run(json!({ "ready": "none" }));
    home.install(&show);
    let hub = Hub::start_in(home, &[]);
    hub.until_line("show", "env COLOUR=", "red");

    hub.home.write("show/.env", "COLOUR=blue\n");
    hub.home.install(&show.run(json!({ "ready": "none", "env": { "set": { "SHAPE": "round" } } })));
    hub.run(&["restart", "show"]).succeeds();
    hub.until_line("show", "env COLOUR=", "blue");
    hub.until_line("show", "env SHAPE=", "round");

    hub.home.write("show/.env", "COLOUR=green\n");
    kill(pid_of(&hub.module("show")), "KILL");
    hub.until_line("show", "env COLOUR=", "green");
    hub.until_line("show", "env SHAPE=", "round");
}

#[test]
fn a_restart_of_what_cannot_start_leaves_the_child_running() {
    let web = module("web", testchild(&["http"]));
    let hub = Hub::start(std::slice::from_ref(&web));
    let pid = hub.until_ready("web");
    hub.home.install(&web.clone().manifest("startCmd", json!(["no-such-program"])));
    let failed = hub.run(&["restart", "web"]).fails_with(6);
    assert!(failed.stderr.contains("no-such-program"), "{failed}");
    let said = format!("web is not restarted and runs on as it was (pid {pid}):");
    assert!(failed.stderr.contains(&said) && !failed.stderr.contains("failed to start"), "{failed}");
    let failed = hub.run(&["restart", "web", "--json"]).fails_with(6).stderr;
    let told: Value = serde_json::from_str(&failed).expect("one object");
    let message = told["error"]["message"].as_str().expect("a sentence");
    assert!(message.starts_with(&said) && message.contains("no-such-program"), "{told}");
    assert!(!message.contains('\n'), "{told}");
    assert_eq!(hub.until_ready("web"), pid);
    assert_eq!(hub.processes("web").len(), 1);
    hub.home.install(&web);

    // Longer than exec hands on.
    hub.home.write("web/.env", &format!("HUGE={}\n", "x".repeat(131_067)));
    let failed = hub.run(&["restart", "web"]).fails_with(6);
    assert!(failed.stderr.contains("the variable HUGE has 131072 bytes"), "{failed}");
    assert_eq!(hub.until_ready("web"), pid);
    hub.home.write("web/.env", &format!("HUGE={}\n", "x".repeat(131_066)));
    if cfg!(target_arch = "x86_64") {
        hub.run(&["restart", "web"]).succeeds();
        hub.until_replaced("web", pid);
    }
    hub.home.write("web/.env", "");
    let pid = hub.until_ready("web");

    hub.run(&["restart", "web"]).succeeds();
    hub.until_replaced("web", pid);
}

#[test]
fn a_restart_onto_a_port_that_is_taken_leaves_the_child_running() {
    let web = module("web", testchild(&["http"]));
    let hub = Hub::start(std::slice::from_ref(&web));
    let pid = hub.until_ready("web");
    let squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = squatter.local_addr().expect("it is bound").port();
    hub.home.install(&web.row("port", json!(port)));
    let failed = hub.run(&["restart", "web"]).fails_with(6);
    assert!(failed.stderr.contains(&format!("port {port} is already held")), "{failed}");
    assert_eq!(hub.until_ready("web"), pid);
    drop(squatter);
    hub.run(&["restart", "web"]).succeeds();
    hub.until_replaced("web", pid);
}

#[test]
fn a_start_after_a_restart_that_was_taken_back_reads_its_settings_anew() {
    let home = Home::new();
    home.write("show/.env", "COLOUR=red\n");
    let argv = [
        "/bin/sh",
        "-c",
        "trap 'echo term now; sleep 2; exit 0' TERM; echo colour $COLOUR; while :; do sleep 0.1; done",
    ];
    home.install(&module("show", argv.map(str::to_owned).to_vec()).run(json!({ "ready": "none" })));
    let hub = Hub::start_in(home, &[]);
    hub.until_line("show", "colour ", "red");
    thread::scope(|scope| {
        let restart = scope.spawn(|| hub.run(&["restart", "show"]));
        hub.line_after("show", "term ");
        hub.run(&["stop", "show"]).succeeds();
        restart.join().expect("the restart has an answer");
    });
    hub.home.write("show/.env", "COLOUR=blue\n");
    hub.run(&["start", "show"]).succeeds();
    hub.until_line("show", "colour ", "blue");
}

/// The port is looked at, and the settings are read, when the old child is gone: not when the restart was asked for.
#[test]
fn a_restart_sees_who_has_taken_the_port_meanwhile() {
    let mute = module("mute", testchild(&["never-bind"])).run(json!({ "ready": { "timeoutMs": 100 } }));
    let port = mute.port;
    let hub = Hub::start(&[mute]);
    hub.until("mute", "running with a note", |state| state["supervisor_start_error"].is_object());
    let squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody has it");
    hub.run(&["restart", "--wait", "mute"]).fails_with(6);
    let state = hub.until_status("mute", "crashed");
    let error = &state["supervisor_start_error"];
    assert_eq!(error["error_type"], "port_squatter", "{state:#}");
    assert!(error["error_description"].to_string().contains(&std::process::id().to_string()), "{state:#}");
    drop(squatter);
    hub.run(&["start", "mute"]).succeeds();
}
