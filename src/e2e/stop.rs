//! A stop ends all of a module, and nothing brings it back but a start.

use crate::support::{
    Finished, Home, Hub, Module, WITHOUT_GROUPS, eventually, is_alive, is_free, kill, module, start_without_groups,
    testchild,
};
use serde_json::json;
use std::fs;
use std::thread;

/// A shell that runs the test child with this subcommand and waits for it.
fn wrapped(subcommand: &str) -> Vec<String> {
    let script = format!("{:?} {subcommand} & wait", testchild(&[])[0]);
    ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
}

#[test]
fn stop_also_ends_a_grandchild_that_ignores_term() {
    let wrap = module("wrap", wrapped("fork-and-ignore-term")).run(json!({ "stopTimeoutMs": 200 }));
    let port = wrap.port;
    let hub = start_without_groups(&[wrap]);
    hub.until_ready("wrap");
    let grandchild = hub.number_after("wrap", "grandchild ");
    hub.run(&["stop", "wrap"]).succeeds();
    assert!(!is_alive(grandchild), "stop has returned before the grandchild was gone");
    hub.has_nothing_left("wrap", port);
    assert_eq!(hub.module("wrap")["supervisor_status"], "stopped");
}

/// Each link that ends hands the next one to the hub, while the hub looks who is left.
#[test]
fn nothing_is_left_of_a_long_chain_whose_last_ignores_term() {
    let names: Vec<String> = (0..8).map(|n| format!("chain{n}")).collect();
    let modules: Vec<_> = names
        .iter()
        .map(|name| module(name, testchild(&["chain", "30"])).run(json!({ "stopTimeoutMs": 200 })))
        .collect();
    let hub = start_without_groups(&modules);
    let last: Vec<u32> = names
        .iter()
        .map(|name| {
            hub.until_ready(name);
            hub.number_after(name, "last ")
        })
        .collect();
    hub.run(&[vec!["stop"], names.iter().map(String::as_str).collect()].concat()).succeeds();
    for pid in last {
        assert!(!is_alive(pid), "stop has returned before {pid}, the last of a chain, was gone");
    }
}

/// One that the hub has found ends, and another thread collects it, before the hub knows whose it was.
#[test]
fn what_one_hands_over_that_ends_while_the_hub_looks_is_ended_too() {
    let deaf = format!("{:?} ignore-term", testchild(&[])[0]);
    let between = format!(
        r#"trap "sleep 0.3; exit" TERM; (trap "" TERM; exec {deaf}) & echo between $$; while :; do wait; done"#
    );
    let leader = r#"trap "sleep 0.05; exit" TERM; /bin/sh -c "$0" & while :; do wait; done"#;
    let argv = ["/bin/sh", "-c", leader, &between].map(str::to_owned).to_vec();
    let handed = module("handed", argv).run(json!({ "stopTimeoutMs": 1500 }));
    let port = handed.port;
    let hub = start_without_groups(&[handed]);
    hub.until_ready("handed");
    let (between, last) = (hub.number_after("handed", "between "), hub.number_after("handed", "ready "));
    let slow = hub.inject("openat", "delay_enter=600000", &["-P", &format!("/proc/{between}/stat")]);
    let answer = hub.api("POST", "/api/modules/handed/stop");
    slow.end();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!is_alive(last), "stop has returned before {last} was gone");
    hub.has_nothing_left("handed", port);
}

#[test]
fn a_child_that_ignores_term_is_killed() {
    let deaf = module("deaf", testchild(&["ignore-term"])).run(json!({ "stopTimeoutMs": 100 }));
    let port = deaf.port;
    let hub = start_without_groups(&[deaf]);
    hub.until_ready("deaf");
    hub.run(&["stop", "deaf"]).succeeds();
    hub.has_nothing_left("deaf", port);
    hub.says("deaf: did not end in time, sending KILL");
    assert!(!hub.output().contains("memory"), "that KILL was ours: {}", hub.output());
    let state = hub.module("deaf");
    assert_eq!(state["supervisor_status"], "stopped", "{state:#}");
    assert_eq!(state["restarts_in_window"], 0, "a stop is not a crash: {state:#}");
}

#[test]
fn a_child_may_end_in_its_own_time() {
    let slow = module("slow", testchild(&["slow-term", "300"])).run(json!({ "ready": "none" }));
    let port = slow.port;
    let hub = start_without_groups(&[slow]);
    let pid = hub.number_after("slow", "ready ");
    hub.run(&["stop", "slow"]).succeeds();
    hub.has_nothing_left("slow", port);
    assert_eq!(hub.number_after("slow", "term "), pid);
    assert!(!hub.output().contains("sending KILL"), "{}", hub.output());
}

#[test]
fn nothing_is_left_of_a_daemon_after_a_stop() {
    let daemon = module("daemon", testchild(&["daemonize", "stay"])).run(json!({ "stopTimeoutMs": 500 }));
    let port = daemon.port;
    let hub = start_without_groups(&[daemon]);
    hub.until_ready("daemon");
    let pid = hub.number_after("daemon", "daemon ");
    assert!(is_alive(pid));
    hub.run(&["stop", "daemon"]).succeeds();
    assert!(!is_alive(pid));
    hub.has_nothing_left("daemon", port);
}

#[test]
fn nothing_is_left_of_a_daemon_whose_leader_has_gone() {
    let daemon = module("daemon", testchild(&["daemonize"])).run(json!({ "restart": "never", "ready": "none" }));
    let port = daemon.port;
    let hub = start_without_groups(&[daemon]);
    let pid = hub.number_after("daemon", "daemon ");
    hub.until_status("daemon", "stopped");
    assert!(!is_alive(pid));
    hub.has_nothing_left("daemon", port);
}

/// A dozen processes that ignore TERM, and that fork and end after a fiftieth of a second; what is before each command says
/// what is left to know them by.
fn hops(home: &Home, before: &str) -> Module {
    let hop = format!(r#"trap '' TERM; {before} /bin/sh "$0" "$1" >/dev/null 2>&1 & echo >>"$1"; sleep 0.02"#);
    home.write("hop", &hop);
    let script = format!(
        "for each in 1 2 3 4 5 6 7 8 9 10 11 12; do \
         {before} /bin/sh \"$PARACHUTE_HOME/hop\" \"$PARACHUTE_HOME/hopped\" >/dev/null 2>&1 & done; exec sleep 600"
    );
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    module("hops", argv).run(json!({ "restart": "never", "ready": "none", "stopTimeoutMs": 200 }))
}

fn until_they_hop(hub: &Hub) {
    let hops = hub.home.read("hopped").len();
    eventually("a hundred hops", || (hub.home.read("hopped").len() > hops + 100).then_some(()));
    eventually("one that hops", || who_hops(hub).first().cloned());
}

/// The commands of those that are at it: each is given the file that it writes to.
fn who_hops(hub: &Hub) -> Vec<String> {
    let file = hub.home.path().join("hopped").display().to_string();
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let commands = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    commands.map(|command| String::from_utf8_lossy(&command).replace('\0', " ")).filter(|c| c.contains(&file)).collect()
}

/// They are nobody's for all that the hub can tell, and new ones come while it looks.
#[test]
fn no_stop_waits_for_processes_that_hide_and_fork_and_end_without_a_pause() {
    let home = Home::new();
    home.install(&hops(&home, "env -i setsid"));
    let web = module("web", wrapped("fork-and-ignore-term")).run(json!({ "stopTimeoutMs": 200 }));
    let port = web.port;
    home.install(&web);
    let mut hub = Hub::start_in(home, WITHOUT_GROUPS);
    hub.until_ready("web");
    until_they_hop(&hub);
    let grandchild = hub.number_after("web", "grandchild ");
    hub.run(&["restart", "web"]).succeeds();
    assert!(!is_alive(grandchild), "restart has returned before the grandchild was gone");
    for name in ["web", "hops"] {
        hub.run(&["stop", name]).succeeds();
    }
    hub.has_nothing_left("web", port);
    until_they_hop(&hub);
    // The end of the hub is theirs, too.
    assert_eq!(hub.end().code(), Some(0));
    assert_eq!(who_hops(&hub), [""; 0]);
}

#[test]
fn whoever_forks_and_ends_without_a_pause_does_not_outrun_a_stop() {
    let home = Home::new();
    home.install(&hops(&home, "setsid"));
    let hub = Hub::start_in(home, WITHOUT_GROUPS);
    until_they_hop(&hub);
    hub.run(&["stop", "hops"]).succeeds();
    assert_eq!(who_hops(&hub), [""; 0]);
    let hops = hub.home.read("hopped").len();
    hub.run(&["status"]).succeeds();
    assert_eq!(hub.home.read("hopped").len(), hops);
}

/// As servers that write a title over their environment: what they have open tells whose they are.
#[test]
fn nothing_is_left_of_a_daemon_without_an_environment_whose_leader_has_gone() {
    let home = Home::new();
    let bare = format!("exec env -i PORT=$PORT {:?}", testchild(&[])[0]);
    let listens = format!("{bare} daemonize >$PARACHUTE_HOME/noted 2>&1 </dev/null");
    for (name, script) in [("listens", listens), ("prints", format!("{bare} hold-pipe"))] {
        let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
        home.install(&module(name, argv).run(json!({ "restart": "never", "ready": "none" })));
    }
    let hub = Hub::start_in(home, WITHOUT_GROUPS);
    let said = |text: &str, key: &str| -> Option<u32> { text.strip_prefix(key)?.strip_suffix('\n')?.parse().ok() };
    let listens = eventually("a daemon", || said(&hub.home.read("noted"), "daemon "));
    let prints = hub.number_after("prints", "grandchild ");
    for (name, daemon) in [("listens", listens), ("prints", prints)] {
        hub.until_status(name, "stopped");
        assert!(!is_alive(daemon), "{name} counts as stopped before {daemon} was gone");
    }
}

/// It is known by what it hands on to those that it starts.
#[test]
fn nothing_is_left_of_a_daemon_without_an_environment_that_starts_others_with_one() {
    let program = &testchild(&[])[0];
    let script = format!(
        "(env -i setsid /bin/sh -c 'PARACHUTE_LINEAGE=$0 PARACHUTE_HOME=$1 PARACHUTE_MODULE=master {program:?} sleep >$2 & wait' \
         $PARACHUTE_LINEAGE $PARACHUTE_HOME $PARACHUTE_HOME/noted >/dev/null 2>&1 &); exec {program:?} sleep"
    );
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let master = module("master", argv).run(json!({ "ready": "none" }));
    let port = master.port;
    let hub = start_without_groups(&[master]);
    let noted = || -> Option<u32> { hub.home.read("noted").strip_prefix("ready ")?.strip_suffix('\n')?.parse().ok() };
    let worker = eventually("a worker", noted);
    hub.run(&["stop", "master"]).succeeds();
    assert!(!is_alive(worker), "stop has returned before {worker} was gone");
    hub.has_nothing_left("master", port);
}

/// It is below the hub like a module's, and nothing tells whose it is.
#[test]
fn a_daemon_that_was_there_before_the_hub_is_left_alone() {
    let home = Home::new();
    let web = module("web", testchild(&["exit", "0"])).run(json!({ "restart": "never", "ready": "none" }));
    let before = format!(
        r#"env -i PORT={} {:?} http >/dev/null 2>&1 & echo $! >"$PARACHUTE_HOME/before"; exec "$0" "$@""#,
        web.port,
        testchild(&[])[0]
    );
    home.install(&web);
    let mut hub = Hub::start_through(&["/bin/sh", "-c", &before], home);
    let pid: u32 = hub.home.read("before").trim().parse().expect("a pid");
    eventually("it listens", || (!is_free(web.port)).then_some(()));
    hub.run(&["start", "web"]).succeeds();
    hub.until_status("web", "stopped");
    let code = hub.end().code();
    let lives = is_alive(pid);
    kill(pid, "KILL");
    assert_eq!((code, lives), (Some(0), true));
}

#[test]
fn nothing_is_left_of_daemons_when_the_hub_ends() {
    let stays = module("stays", testchild(&["daemonize", "stay"]));
    let deaf = module("deaf", wrapped("fork-and-ignore-term")).run(json!({ "stopTimeoutMs": 200 }));
    let ports = [stays.port, deaf.port];
    let mut hub = start_without_groups(&[stays, deaf]);
    hub.until_ready("stays");
    hub.until_ready("deaf");
    assert_eq!(hub.end().code(), Some(0));
    hub.has_nothing_left("stays", ports[0]);
    hub.has_nothing_left("deaf", ports[1]);
}

/// In the group and outside it. /proc calls such a process a zombie, and shows nothing of it but through its other
/// threads.
#[test]
fn nothing_is_left_of_a_process_whose_first_thread_has_ended() {
    let program = &testchild(&[])[0];
    let script = format!("setsid {program:?} headless & wait");
    let outside = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let modules = [("inside", wrapped("headless")), ("outside", outside)]
        .map(|(name, argv)| module(name, argv).run(json!({ "ready": "none", "stopTimeoutMs": 200 })));
    let ports = modules.each_ref().map(|module| module.port);
    let hub = start_without_groups(&modules);
    for (name, port) in ["inside", "outside"].into_iter().zip(ports) {
        let pid = hub.number_after(name, "ready ");
        assert!(is_alive(pid), "{name}: it lives without its first thread");
        hub.run(&["stop", name]).succeeds();
        assert!(!is_alive(pid), "{name}: stop has returned before {pid} was gone");
        hub.has_nothing_left(name, port);
    }
}

/// Below the leader and below a member of its group. Nothing but their parents tells whose they are, for as long as
/// these live.
#[test]
fn nothing_is_left_of_those_that_left_the_group_and_emptied_their_environment() {
    let bare = format!("env -i setsid {:?} sleep", testchild(&[])[0]);
    let script = format!("{bare} & ({bare}; true) & wait");
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let hub = start_without_groups(&[module("bare", argv).run(json!({ "ready": "none" }))]);
    let mut runs = Vec::new();
    for verb in ["restart", "stop"] {
        let pids = eventually("both of this run", || {
            let all = hub.lines_after("bare", "ready ");
            let new: Vec<u32> =
                all.iter().filter_map(|pid| pid.parse().ok()).filter(|pid| !runs.contains(pid)).collect();
            (new.len() == 2).then_some(new)
        });
        assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
        hub.run(&[verb, "bare"]).succeeds();
        assert!(!pids.iter().any(|pid| is_alive(*pid)), "{verb} has returned before {pids:?} were gone");
        runs.extend(pids);
    }
}

#[test]
fn a_leader_that_left_its_group_is_stopped_and_killed_like_any_other() {
    let polite = module("polite", testchild(&["leave-group"]));
    let deaf = module("deaf", testchild(&["leave-group", "ignore-term"])).run(json!({ "stopTimeoutMs": 200 }));
    let ports = [polite.port, deaf.port];
    let mut hub = start_without_groups(&[polite, deaf]);
    for (name, port) in ["polite", "deaf"].into_iter().zip(ports) {
        hub.until_ready(name);
        hub.run(&["stop", name]).succeeds();
        hub.has_nothing_left(name, port);
        hub.run(&["start", name]).succeeds();
    }
    assert_eq!(hub.module("polite")["last_exit"]["signal"], 15);
    assert_eq!(hub.module("deaf")["last_exit"]["signal"], 9);
    assert_eq!(hub.end().code(), Some(0));
    assert!(!hub.output().contains("giving up"), "{}", hub.output());
}

#[test]
fn a_grandchild_that_keeps_the_pipe_open_does_not_hold_up_a_stop() {
    let program = &testchild(&[])[0];
    let script = format!("{program:?} hold-pipe; exec {program:?} sleep");
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    let piped = module("piped", argv).run(json!({ "ready": "none" }));
    let port = piped.port;
    let hub = start_without_groups(&[piped]);
    let grandchild = hub.number_after("piped", "grandchild ");
    hub.line_after("piped", "ready ");
    hub.run(&["stop", "piped"]).succeeds();
    assert!(!is_alive(grandchild));
    hub.has_nothing_left("piped", port);
}

#[test]
fn a_stop_is_remembered_until_a_start() {
    let mut hub = start_without_groups(&[module("web", testchild(&["http"])), module("other", testchild(&["http"]))]);
    hub.until_ready("web");
    hub.run(&["stop", "web"]).succeeds();
    // What is asked for holds already.
    hub.run(&["stop", "web"]).succeeds();

    hub.end();
    hub.start_again();
    hub.until_ready("other");
    assert_eq!(hub.module("web")["supervisor_status"], "stopped");
    assert!(hub.processes("web").is_empty());

    hub.run(&["start", "web"]).succeeds();
    hub.end();
    hub.start_again();
    hub.until_ready("web");
}

#[test]
fn a_stop_takes_back_a_restart_that_waits() {
    let home = Home::new();
    let file = |name: &str| home.path().join(name).to_str().expect("a temporary directory is UTF-8").to_owned();
    let quick = module("quick", testchild(&["crash-times", "99", &file("quick-runs")]));
    let crashed = module("crashed", testchild(&["crash-times", "99", &file("crashed-runs")]));
    home.install(&quick);
    home.install(&crashed);
    let mut hub = Hub::start_in(home, WITHOUT_GROUPS);

    // Whatever it is at now, between its first crash and the wait after the third: it is over.
    hub.line_after("quick", "crash ");
    hub.run(&["stop", "quick"]).succeeds();
    let runs_then = hub.home.read("quick-runs");
    hub.until_status("crashed", "crashed");
    hub.run(&["stop", "crashed"]).succeeds();

    for short in ["quick", "crashed"] {
        let state = hub.module(short);
        assert_eq!(state["supervisor_status"], "stopped", "{state:#}");
        assert!(state["next_retry_at"].is_null(), "{state:#}");
    }
    assert_eq!(hub.end().code(), Some(0));
    assert_eq!(hub.home.read("quick-runs"), runs_then, "a child after the stop");
    assert_eq!(hub.home.read("crashed-runs"), "...");
}

#[test]
fn what_is_stopped_without_a_hub_stays_stopped_and_what_cannot_be_kept_is_a_failure() {
    let home = Home::new();
    for name in ["web", "wiki"] {
        home.install(&module(name, testchild(&["sleep"])).run(json!({ "ready": "none" })));
    }
    let stopped = Finished::run(home.command(&["stop", "web"])).succeeds();
    assert!(stopped.stdout.contains("web is already stopped: the hub is down; it stays stopped until: "), "{stopped}");
    let mut hub = Hub::start_in(home, WITHOUT_GROUPS);
    hub.line_after("wiki", "ready ");
    assert_eq!(hub.module("web")["supervisor_status"], "stopped");
    assert!(hub.lines_after("web", "ready ").is_empty(), "{}", hub.output());
    hub.run(&["start", "web"]).succeeds();
    hub.line_after("web", "ready ");

    assert!(hub.end().success(), "{}", hub.output());
    std::fs::rename(hub.home.path().join("hub"), hub.home.path().join("aside")).expect("it is there");
    hub.home.write("hub", "a file where the directory belongs");
    let refused = hub.run(&["stop", "web"]).fails_with(78);
    assert!(refused.stderr.contains("✗ web: the hub is down; that web is to stay stopped is not kept: "), "{refused}");
}

#[test]
fn restarts_at_the_same_time_leave_one_child() {
    let hub = start_without_groups(&[module("web", testchild(&["http"]))]);
    let first = hub.until_ready("web");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| hub.run(&["restart", "web"]));
        }
    });
    hub.until_replaced("web", first);
    eventually("one child", || (hub.processes("web").len() == 1).then_some(()));
    let mut ready = hub.lines_after("web", "ready ");
    let last = ready.pop().expect("it was started");
    assert_eq!(hub.until_ready("web").to_string(), last);
    assert!(ready.iter().all(|pid| !is_alive(pid.parse().expect("a pid"))), "{ready:?}");
}

#[test]
fn a_start_during_a_stop_comes_after_it() {
    let slow = module("slow", testchild(&["slow-term", "300"])).run(json!({ "ready": "none" }));
    let hub = start_without_groups(&[slow]);
    let first = hub.number_after("slow", "ready ");
    thread::scope(|scope| {
        let stop = scope.spawn(|| hub.run(&["stop", "slow"]));
        hub.line_after("slow", "term ");
        hub.run(&["start", "slow"]).succeeds();
        // Whoever asked last is right; the stop has an answer all the same.
        stop.join().expect("the stop ends");
    });
    let second = hub.until_replaced("slow", first);
    assert!(!is_alive(first));
    assert_eq!(hub.processes("slow").iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [second]);
}

/// Nothing runs on: it is a start that fails, and what was asked for is what is remembered.
#[test]
fn a_restart_of_what_is_being_stopped_and_cannot_start_is_a_failed_start() {
    let slow = module("slow", testchild(&["slow-term", "700"])).run(json!({ "ready": "none" }));
    let hub = start_without_groups(std::slice::from_ref(&slow));
    hub.line_after("slow", "ready ");
    hub.run(&["stop", "slow", "--no-wait"]).succeeds();
    hub.line_after("slow", "term ");
    hub.home.install(&slow.run(json!({ "ready": "none", "cwd": "/nonexistent" })));
    let refused = hub.run(&["restart", "slow"]).fails_with(6);
    assert!(refused.stderr.contains("slow failed to start") && !refused.stderr.contains("runs on"), "{refused}");
    assert!(!hub.home.read("hub/intent.json").contains("slow"), "it is to run");
    let state = hub.until_status("slow", "crashed");
    assert_eq!(state["supervisor_start_error"]["error_type"], "missing_cwd", "{state:#}");
    assert!(state["next_retry_at"].is_string(), "{state:#}");
}

#[test]
fn another_stop_signal_ends_a_module_and_one_that_is_stopped_hears_its_own() {
    let int = module("int", testchild(&["http"])).run(json!({ "stopSignal": "INT" }));
    let frozen = module("frozen", testchild(&["http"])).run(json!({ "stopTimeoutMs": 600_000 }));
    let ports = [int.port, frozen.port];
    let hub = start_without_groups(&[int, frozen]);
    hub.until_ready("int");
    kill(hub.until_ready("frozen"), "STOP");
    hub.run(&["stop", "int", "frozen"]).succeeds();
    hub.has_nothing_left("int", ports[0]);
    hub.has_nothing_left("frozen", ports[1]);
    assert_eq!(hub.module("int")["last_exit"]["signal"], 2);
    assert_eq!(hub.module("frozen")["last_exit"]["signal"], 15, "it has heard of the end");
}
