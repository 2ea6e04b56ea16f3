//! The hub's own life: it is the only one in its home, starts in order, ends in order and leaves nothing behind.

use crate::support::{
    Finished, Home, Hub, Spawned, WITHOUT_GROUPS, children, eventually, free_port, is_alive, is_free, kill, module,
    pid_of, start_without_groups, testchild, through,
};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// The files that tell others of a running hub.
const IDENTITY: [&str; 3] = ["hub/run/hub.pid", "hub/run/hub.port", "hub-instance.json"];

/// What a hub has started, for the one that comes after it was killed.
const RECORD: &str = "hub/run/children";

fn in_home(home: &Home, file: &str) -> String {
    home.path().join(file).to_str().expect("a temporary directory is UTF-8").to_owned()
}

/// A shell that writes down when it starts and when it is told to end, around a test child that listens.
fn noted(name: &str, file: &str) -> Vec<String> {
    let program = &testchild(&[])[0];
    let script = format!(
        "trap 'echo stop {name} >>{file:?}; exit 0' TERM; echo start {name} >>{file:?}; {program:?} http & wait"
    );
    ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
}

#[test]
fn a_second_hub_in_the_same_home_is_refused_and_touches_nothing() {
    let hub = start_without_groups(&[module("web", testchild(&["http"]))]);
    let pid = hub.until_ready("web");
    let files = IDENTITY.iter().chain(&["services.json", "operator.token"]);
    let before: Vec<String> = files.clone().map(|file| hub.home.read(file)).collect();
    assert!(before.iter().all(|text| !text.is_empty()), "{before:?}");

    let port = free_port().to_string();
    let refused = hub.run(&["serve", "--port", &port]).fails_with(8);
    assert!(refused.stderr.contains(&hub.pid().to_string()), "the message names the pid: {refused}");
    assert!(refused.stderr.contains("no module was touched"), "{refused}");

    assert_eq!(files.map(|file| hub.home.read(file)).collect::<Vec<_>>(), before);
    assert_eq!(hub.until_ready("web"), pid);
    assert_eq!(hub.processes("web").len(), 1);
}

/// The lock is in a file, and whoever removes that takes nothing from the hub that has it.
#[test]
fn a_second_hub_is_refused_also_when_the_lock_of_the_first_was_removed() {
    let mut hub = start_without_groups(&[module("web", testchild(&["http"]))]);
    let pid = hub.until_ready("web");
    fs::remove_file(hub.home.path().join("hub/run/hub.lock")).expect("removed");
    hub.says("hub.lock was removed: ");
    refused_while_it_lives(&hub);
    // Nobody takes its other files for those of a hub that is gone.
    assert!(!hub.run(&["doctor", "--fix"]).stdout.contains("it named a hub that is gone"));
    assert_eq!(hub.until_ready("web"), pid, "commands reach it");
    // Away at once: the hub may be about to make a file in it.
    let away = hub.home.path().join("away");
    fs::rename(hub.home.path().join("hub/run"), &away).expect("ours");
    fs::remove_dir_all(away).expect("removed");
    refused_while_it_lives(&hub);
    for args in [&["stop", "web"][..], &["start", "web"], &["stop", "hub"], &["auth", "list-tokens"]] {
        let done = hub.run(args).fails_with(5);
        assert!(done.stderr.contains(&format!("the hub runs as process {}", hub.pid())), "{done}");
    }
    for args in [&["status"][..], &["doctor"]] {
        let shown = hub.run(args);
        assert!(shown.stdout.contains(&format!("kill {}", hub.pid())) && shown.code() != Some(0), "{shown}");
    }
    assert_eq!(hub.processes("web").into_iter().map(|(pid, _)| pid).collect::<Vec<_>>(), [pid]);
    assert_eq!(hub.output().matches("hub.lock was removed").count(), 1, "{}", hub.output());
    assert_eq!(hub.end().code(), Some(0));
    assert!(hub.processes("web").is_empty());
    assert_eq!(IDENTITY.map(|file| hub.home.read(file)), ["", "", ""], "nothing tells of a hub any more");
    hub.start_again();
    hub.until_ready("web");
}

#[track_caller]
fn refused_while_it_lives(hub: &Hub) {
    let refused = hub.run(&["serve", "--port", &free_port().to_string()]).fails_with(8);
    assert!(refused.stderr.contains(&format!("end it with: kill {}", hub.pid())), "{refused}");
    assert!(refused.stderr.contains("no module was touched"), "{refused}");
}

/// As somebody makes one to try something out. What it says of the hub of the other is nothing to it.
#[test]
fn a_copy_of_a_home_in_use_has_a_hub_of_its_own_and_leaves_the_other_alone() {
    let hub = start_without_groups(&[module("job", testchild(&["sleep"])).run(json!({ "ready": "none" }))]);
    let pid = hub.number_after("job", "ready ");
    let copy = in_home(&hub.home, "../copy");
    let copied = Command::new("cp").args(["-a", &in_home(&hub.home, "."), &copy]).status().expect("cp runs");
    assert!(copied.success());
    let of_copy = |args: &[&str]| {
        let mut command = hub.home.command(args);
        command.env("PARACHUTE_HOME", &copy);
        command
    };
    Finished::run(of_copy(&["stop", "job"])).succeeds();
    assert!(is_alive(pid), "it is not the copy's");
    Finished::run(of_copy(&["start", "job"])).fails_with(5);
    let mut second = Spawned::spawn(of_copy(&["serve", "--port", "0"]));
    second.line_after("[hub] listening on");
    assert!(!second.output().contains("left behind"), "{}", second.output());
    kill(second.pid(), "TERM");
    assert_eq!(second.wait().code(), Some(0), "{}", second.output());
    assert!(is_alive(pid) && hub.run(&["status", "--check"]).code() == Some(0));
}

#[test]
fn a_lock_that_another_program_holds_names_no_hub_that_is_gone() {
    let mut hub = start_without_groups(&[]);
    let gone = hub.pid();
    assert!(hub.end().success());
    let lock = in_home(&hub.home, "hub/run/hub.lock");
    let holder =
        Spawned::start(&["/usr/bin/flock", &lock, "/bin/sh", "-c", "echo held; exec sleep 600"].map(str::to_owned));
    holder.line_after("held");
    let refused = hub.run(&["serve"]).fails_with(8);
    assert!(refused.stderr.contains("is locked by another process"), "{refused}");
    assert!(!refused.stderr.contains(&gone.to_string()), "{refused}");
}

/// What the killed hub has left says where the next one listens, and is not what that one says of itself.
#[test]
fn a_command_that_comes_while_the_next_hub_ends_orphans_is_for_that_one() {
    let mut hub = start_without_groups(&[module("deaf", testchild(&["ignore-term"]))]);
    hub.until_ready("deaf");
    hub.kill();
    let mut next = Spawned::spawn(hub.home.command(&["serve", "--port", &hub.port.to_string()]));
    next.line_after("[hub] waiting for processes that an earlier hub left behind to end: ");
    Finished::run(hub.home.command(&["stop", "deaf"])).succeeds();
    kill(next.pid(), "TERM");
    assert_eq!(next.wait().code(), Some(0), "{}", next.output());
    assert!(hub.processes("deaf").is_empty());
}

#[test]
fn orphans_are_ended_also_when_the_directory_of_their_record_is_gone() {
    let mut hub = start_without_groups(&[module("deaf", testchild(&["ignore-term"]))]);
    let orphan = hub.until_ready("deaf");
    hub.kill();
    fs::remove_dir_all(hub.home.path().join("hub/run")).expect("removed");
    assert!(is_alive(orphan), "it ignores TERM");
    hub.start_again();
    hub.says("ended processes that an earlier hub left behind");
    assert!(!is_alive(orphan));
    hub.until_ready("deaf");
}

/// Supervisor B1: the wait for what another hub left is a part of the boot.
#[test]
fn a_signal_during_the_wait_for_orphans_kills_them_and_starts_nothing() {
    let mut hub = start_without_groups(&[module("deaf", testchild(&["ignore-term"]))]);
    let orphan = hub.until_ready("deaf");
    hub.kill();
    let mut next = Spawned::spawn(hub.home.command(&["serve", "--port", "0"]));
    let left = next.line_after("[hub] waiting for processes that an earlier hub left behind to end: ");
    assert!(left.contains(&orphan.to_string()) && is_alive(orphan), "{left}");
    for signal in ["HUP", "TERM"] {
        kill(next.pid(), signal);
    }
    assert_eq!(next.wait().code(), Some(0));
    let output = next.whole_output();
    assert!(!is_alive(orphan), "{output}");
    assert!(output.contains("[hub] SIGTERM from process "), "{output}");
    assert!(output.contains("), before any module was started"), "{output}");
    for told in ["listening on", "cannot be started", "[deaf]"] {
        assert!(!output.contains(told), "{told}: {output}");
    }
    assert_eq!(hub.home.read("hub/run/hub.pid").split_whitespace().next(), Some(&*hub.pid().to_string()));
}

#[test]
fn a_busy_port_is_told_and_no_module_is_started() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port().to_string();
    let home = Home::new();
    home.install(&module("web", testchild(&["sleep", &in_home(&home, "started")])).run(json!({ "ready": "none" })));
    let refused = Finished::run(home.command(&["serve", "--port", &port])).fails_with(7);
    assert!(refused.stderr.contains(&format!("port {port} on 127.0.0.1 is in use")), "{refused}");
    assert_eq!(home.read("started"), "", "no module was started");
    assert_eq!(IDENTITY.map(|file| home.read(file)), ["", "", ""], "nothing tells of a hub");
}

#[test]
fn a_killed_hub_leaves_no_orphan_and_no_duplicate_to_the_next_one() {
    let none = json!({ "ready": "none" });
    let polite = module("polite", testchild(&["sleep"])).run(none);
    let deaf = module("deaf", testchild(&["ignore-term"]));
    let daemon = module("daemon", testchild(&["daemonize", "stay"]));
    let wrap = module("wrap", testchild(&["fork-and-ignore-term"]));
    let mut hub = start_without_groups(&[polite, deaf, daemon, wrap]);
    let all = ["polite", "deaf", "daemon", "wrap"];
    all.iter().for_each(|short| _ = hub.until_ready(short));
    let old: Vec<Vec<u32>> =
        all.iter().map(|short| hub.processes(short).into_iter().map(|(pid, _)| pid).collect()).collect();
    let number_of_each = [1, 1, 2, 2];
    assert_eq!(old.iter().map(Vec::len).collect::<Vec<_>>(), number_of_each, "{old:?}");

    hub.kill();
    eventually("the parent-death signal at work", || (!is_alive(old[0][0])).then_some(()));
    assert!(is_alive(old[1][0]), "it ignores TERM");

    hub.start_again();
    let left: Vec<&u32> = old.iter().flatten().filter(|pid| is_alive(**pid)).collect();
    assert!(left.is_empty(), "alive beside the new hub's: {left:?}");
    for (short, number) in all.iter().zip(number_of_each) {
        hub.until_ready(short);
        assert_eq!(hub.processes(short).len(), number, "{short}");
    }
    hub.says("ended processes that an earlier hub left behind");
}

#[test]
fn an_orphan_that_the_killed_hub_had_no_time_to_note_is_ended_too() {
    let mut hub = start_without_groups(&[module("deaf", testchild(&["ignore-term"]))]);
    let orphan = hub.until_ready("deaf");
    hub.kill();
    let record = hub.home.read(RECORD);
    let (header, children) = record.split_once('\n').expect("a header");
    assert!(children.contains(&orphan.to_string()), "{record:?}");
    hub.home.write(RECORD, &format!("{header}\n"));
    assert!(is_alive(orphan), "it ignores TERM");

    hub.start_again();
    assert!(!is_alive(orphan));
    assert_ne!(hub.until_ready("deaf"), orphan);
    assert_eq!(hub.end().code(), Some(0));
    assert!(!hub.home.path().join(RECORD).exists(), "after a clean end there is nobody to look for");
}

/// A server that has written a title over its environment, behind a shell that the parent-death signal ends.
#[test]
fn an_orphan_is_known_by_the_group_of_its_leader_that_has_gone() {
    let script = format!("env -i PORT=$PORT {:?} http & echo behind $!; wait", testchild(&[])[0]);
    let mut hub = start_without_groups(&[module("titled", ["/bin/sh", "-c", &script].map(str::to_owned).to_vec())]);
    let leader = hub.until_ready("titled");
    let orphan = hub.number_after("titled", "behind ");
    hub.kill();
    eventually("the parent-death signal at work", || (!is_alive(leader)).then_some(()));
    assert!(is_alive(orphan), "nobody tells it");
    hub.start_again();
    assert!(!is_alive(orphan));
    hub.until_ready("titled");
}

/// They are known by what they carry, and so is it that another hub's are not.
#[test]
fn orphans_are_ended_also_when_their_record_cannot_be_used() {
    let other = start_without_groups(&[module("fork", testchild(&["fork-and-ignore-term"]))]);
    let spared = [other.until_ready("fork"), other.number_after("fork", "grandchild ")];
    let mut hub = start_without_groups(&[module("fork", testchild(&["fork-and-ignore-term"]))]);
    hub.until_ready("fork");
    let orphan = hub.number_after("fork", "grandchild ");
    hub.kill();
    hub.home.write(RECORD, "\u{fffd} \0 x");
    assert!(is_alive(orphan), "it ignores TERM");

    hub.start_again();
    hub.says(&format!("{RECORD} cannot be used: "));
    hub.says("ended processes that an earlier hub left behind");
    assert!(!is_alive(orphan));
    hub.until_ready("fork");
    assert!(spared.into_iter().all(is_alive), "they are another hub's");
}

#[test]
fn a_record_that_cannot_be_used_beside_files_that_tell_of_no_hub_is_said() {
    let mut hub = start_without_groups(&[module("web", testchild(&["http"]))]);
    let orphan = hub.until_ready("web");
    hub.kill();
    for file in [RECORD, IDENTITY[0], IDENTITY[2]] {
        hub.home.write(file, "x");
    }
    eventually("the parent-death signal at work", || (!is_alive(orphan)).then_some(()));
    hub.start_again();
    hub.says("what the last hub may have left behind is not known");
    hub.until_ready("web");
}

/// As on a kernel of before there were any, or in a sandbox.
#[test]
fn without_pidfds_nothing_is_left_of_daemons_either() {
    let home = Home::new();
    for name in ["stopped", "left"] {
        home.install(&module(name, testchild(&["daemonize", "stay"])).run(json!({ "stopTimeoutMs": 500 })));
    }
    let bare = ["/bin/sh", "-c", "env -i setsid sh -c 'echo bare $$; exec sleep 600' & wait"].map(str::to_owned);
    home.install(&module("bare", bare.to_vec()).run(json!({ "ready": "none", "stopTimeoutMs": 500 })));
    let serve = home.command(&["serve", "--port", "0"]);
    let none = ["strace", "-f", "-o", "/dev/null", "-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS"];
    let mut strace = Spawned::spawn(through(&none, &serve));
    let daemon_of =
        |name: &str, key: &str| -> u32 { strace.line_after(&format!("[{name}] {key} ")).parse().expect("a pid") };
    let (stopped, left) = (daemon_of("stopped", "daemon"), daemon_of("left", "daemon"));
    let bare = daemon_of("bare", "bare");
    Finished::run(home.command(&["stop", "stopped"])).succeeds();
    assert!(!is_alive(stopped), "stop has returned before {stopped} was gone");
    assert!(is_alive(left) && is_alive(bare), "they are other modules'");
    let [pid] = children(strace.pid())[..] else { panic!("{}", strace.output()) };
    kill(pid, "TERM");
    assert!(strace.wait().success(), "{}", strace.output());
    assert!(!is_alive(left) && !is_alive(bare), "{}", strace.output());
    assert!(!home.path().join(RECORD).exists(), "all were down: {}", strace.output());
}

#[test]
fn the_end_of_a_hub_with_fifty_modules_leaves_nothing() {
    let run = json!({ "ready": "none" });
    let modules: Vec<_> = (0..50).map(|n| module(&format!("m{n}"), testchild(&["http"])).run(run.clone())).collect();
    let mut hub = start_without_groups(&modules);
    for module in &modules {
        hub.until_ready(&module.name);
    }
    assert_eq!(hub.end().code(), Some(0));
    for module in &modules {
        hub.has_nothing_left(&module.name, module.port);
    }
    assert_eq!(IDENTITY.map(|file| hub.home.read(file)), ["", "", ""], "nothing tells of a hub any more");
    assert!(is_free(hub.port));
}

/// The removed one counts no more; it is at rest before the other, and the hub must not end with it.
#[test]
fn a_module_that_is_being_removed_does_not_cut_short_the_grace_of_another() {
    let none = json!({ "ready": "none" });
    let gone = module("gone", testchild(&["slow-term", "1000"])).run(none.clone());
    let busy = module("busy", testchild(&["slow-term", "2500"])).run(none);
    let mut hub = start_without_groups(&[gone, busy]);
    for name in ["gone", "busy"] {
        hub.number_after(name, "ready ");
    }
    let mut list: Value = serde_json::from_str(&hub.home.read("services.json")).expect("a list");
    list["services"].as_array_mut().expect("rows").retain(|row| row["name"] != "gone");
    hub.home.write("services.json", &list.to_string());
    hub.api("GET", "/api/modules");
    hub.line_after("gone", "term ");
    kill(hub.pid(), "TERM");
    assert_eq!(hub.until_it_ends().code(), Some(0));
    let output = hub.output();
    assert!(output.contains("busy: stopped: it exited with code 0"), "{output}");
}

#[test]
fn a_second_signal_hurries_the_end() {
    let slow = module("slow", testchild(&["slow-term", "3600000"])).run(json!({ "ready": "none" }));
    let port = slow.port;
    let mut hub = start_without_groups(&[slow]);
    hub.line_after("slow", "ready ");
    // Whoever looks for the reason is told who it was.
    let sender = Command::new("/bin/sh")
        .args(["-c", r#"kill -s TERM "$1"; read -r _"#, "sh", &hub.pid().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let uid = fs::metadata(format!("/proc/{}", sender.id())).expect("it waits").uid();
    hub.says(&format!("[supervisor] SIGTERM from process {} (sh, user {uid}), taking the hub down", sender.id()));
    sender.wait_with_output().expect("it has read the end");
    hub.line_after("slow", "term ");
    kill(hub.pid(), "INT");
    assert_eq!(hub.until_it_ends().code(), Some(0));
    hub.says("[supervisor] SIGINT from process ");
    hub.says("), hurrying");
    hub.has_nothing_left("slow", port);
}

#[test]
fn a_signal_during_the_boot_ends_it() {
    let home = Home::new();
    let waits = json!({ "ready": { "probe": "port", "timeoutMs": 3_600_000 } });
    home.install(&module("first", testchild(&["bind-late", "3600000"])).run(waits));
    let second = module("second", testchild(&["sleep", &in_home(&home, "started")]));
    home.install(&second.run(json!({ "ready": "none", "dependsOn": ["first"] })));
    let mut hub = Hub::start_in(home, WITHOUT_GROUPS);
    hub.line_after("first", "waiting ");
    assert_eq!(hub.end().code(), Some(0));
    assert!(hub.processes("first").is_empty());
    assert_eq!(hub.home.read("started"), "", "the second module was still waiting for the first");
}

#[test]
fn modules_start_after_what_they_depend_on_and_end_before_it() {
    let home = Home::new();
    let order = in_home(&home, "order");
    // Listed against the order, so that the order is not that of the file.
    for (name, others) in [("top", json!(["middle"])), ("middle", json!(["base", "nobody"])), ("base", json!([]))] {
        home.install(&module(name, noted(name, &order)).run(json!({ "dependsOn": others })));
    }
    for (name, other) in [("left", "right"), ("right", "left")] {
        home.install(&module(name, testchild(&["http"])).run(json!({ "dependsOn": [other] })));
    }
    let mut document: Value = serde_json::from_str(&home.read("services.json")).expect("JSON");
    document["services"].as_array_mut().expect("rows").push(json!({"name": "odd\u{1b}", "port": "x"}));
    home.write("services.json", &document.to_string());
    let mut hub = Hub::start_in(home, WITHOUT_GROUPS);
    hub.until_ready("top");
    hub.until_ready("left");
    hub.says("middle: does not wait for nobody, which services.json does not have");
    hub.says("left, right: depend on each other; none of them waits for another");
    hub.says("the row \"odd\\u{1b}\" of services.json cannot be used: ");
    assert_eq!(hub.end().code(), Some(0));
    let expected = ["start base", "start middle", "start top", "stop top", "stop middle", "stop base"];
    assert_eq!(hub.home.read("order").lines().collect::<Vec<_>>(), expected);
}

/// It is on its way, and a health check is not to be content with it.
#[test]
fn a_module_that_waits_for_others_at_boot_is_shown_to_wait() {
    let home = Home::new();
    let (told, program) = (in_home(&home, "bind-now"), &testchild(&[])[0]);
    let script = format!("echo waiting; while [ ! -e {told:?} ]; do sleep 0.05; done; exec {program:?} http");
    let patient = json!({ "ready": { "probe": "port", "timeoutMs": 3_600_000 } });
    home.install(&module("first", ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()).run(patient));
    let others = json!({ "ready": "none", "dependsOn": ["first"] });
    home.install(&module("second", testchild(&["sleep"])).run(others.clone()));
    home.install(&module("third", testchild(&["sleep"])).run(others));
    let hub = Hub::start_in(home, WITHOUT_GROUPS);
    hub.line_after("first", "waiting");
    let waits = hub.run(&["status", "--check", "second", "--json"]).fails_with(6).json();
    let row = &waits["data"]["modules"][0];
    assert_eq!((&row["state"], &row["status"]), (&json!("pending"), &json!("starting")), "{waits:#}");
    assert_eq!(row["notes"], json!(["it is started after first"]), "{waits:#}");
    let listed = hub.api("GET", "/api/modules/second").json();
    assert_eq!((&listed["waits_for"], &listed["pid"]), (&json!(["first"]), &json!(null)), "{listed:#}");
    let ready = hub.api("GET", "/api/ready").json();
    assert_eq!(ready["transient_modules"], json!(["first", "second", "third"]), "{ready:#}");
    // Whoever orders it does not wait for that.
    hub.run(&["start", "third", "--no-wait"]).succeeds();
    let third = hub.until("third", "a child", |state| state["pid"].is_number());
    assert_eq!(third.get("waits_for"), None, "{third:#}");
    hub.home.write("bind-now", "");
    hub.until_ready("second");
    let ran = hub.api("GET", "/api/modules/second").json();
    assert_eq!(ran.get("waits_for"), None, "{ran:#}");
    hub.run(&["status", "--check", "second"]).succeeds();
}

#[test]
fn rows_that_come_and_go_need_no_restart_of_the_hub() {
    let hub = start_without_groups(&[module("old", testchild(&["http"]))]);
    let old = hub.until_ready("old");

    let new = module("new", testchild(&["http"]));
    let port = new.port;
    hub.home.install(&new);
    hub.run(&["start", "new"]).succeeds();
    hub.until_ready("new");
    assert_eq!(hub.until_ready("old"), old, "the other one is left alone");

    let mut document: Value = serde_json::from_str(&hub.home.read("services.json")).expect("JSON");
    let rows = document["services"].as_array_mut().expect("rows");
    rows.retain(|row| row["name"] != "new");
    hub.home.write("services.json", &document.to_string());
    eventually("the module of the removed row forgotten", || {
        (hub.api("GET", "/api/modules/new").status == 404).then_some(())
    });
    eventually("nothing left of it", || (hub.processes("new").is_empty() && is_free(port)).then_some(()));
    assert_eq!(hub.until_ready("old"), old);
}

/// As in a container without an init: everything that loses its parent comes to the hub, and no signal has a default
/// action. Needs root, or a kernel that lets others have a namespace.
#[test]
fn a_hub_that_is_process_1_collects_what_comes_to_it_and_ends_when_told() {
    let home = Home::new();
    let argv = ["/bin/sh", "-c", "(true & true & true &); echo forked; exec sleep 600"].map(str::to_owned).to_vec();
    home.install(&module("parent", argv).run(json!({ "ready": "none" })));
    home.install(&module("daemon", testchild(&["daemonize", "stay"])).run(json!({ "ready": "none" })));
    home.install(&module("web", testchild(&["http"])));
    for killed in [true, false] {
        let serve = home.command(&["serve", "--port", "0"]);
        let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
        let mut unshare = Spawned::spawn(through(&unshare, &serve));
        unshare.line_after("[web] ready ");
        unshare.line_after("[parent] forked");
        unshare.line_after("[daemon] daemon ");
        let [pid] = children(unshare.pid())[..] else { panic!("{}", unshare.output()) };
        eventually("nothing but the modules", || (children(pid).len() == 4).then_some(()));
        let status = Finished::run(home.command(&["status", "--json"])).succeeds();
        assert!(status.json()["data"]["modules"].as_array().is_some_and(|rows| rows.len() == 3), "{status}");
        // Here its number is that of somebody else.
        for op in ["stop", "restart"] {
            let told = Finished::run(home.command(&[op, "hub"])).fails_with(10);
            assert!(told.stderr.contains("pid namespace (pid 1 there)") && !told.stderr.contains("kill"), "{told}");
        }
        if killed {
            kill(pid, "KILL");
            unshare.wait();
            continue;
        }
        Finished::run(home.command(&["stop", "parent", "daemon", "web"])).succeeds();
        eventually("nothing left", || children(pid).is_empty().then_some(()));
        kill(pid, "TERM");
        assert!(unshare.wait().success(), "{}", unshare.output());
    }
}

#[test]
fn a_hub_tells_who_it_is_and_where() {
    let mut hub = start_without_groups(&[]);
    let health = hub.get("/health").json();
    let record: Value = serde_json::from_str(&hub.home.read("hub-instance.json")).expect("JSON");
    assert_eq!(record["instance"], health["instance"]);
    assert_eq!(pid_of(&record), hub.pid());
    assert_eq!(record["port"], hub.port);
    assert_eq!(hub.home.read("hub/run/hub.port").trim(), hub.port.to_string());
    let pid_file = hub.home.read("hub/run/hub.pid");
    let words: Vec<&str> = pid_file.split_whitespace().collect();
    assert_eq!(words.len(), 4, "pid, start, instance, secret");
    let is_hex = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    assert!(words[3].len() == 64 && is_hex(words[3]), "32 bytes in hex");
    let proven = hub.get("/health?challenge=abc").json();
    let proof = proven["proof"].as_str().expect("a proof");
    assert!(proof.len() == 64 && is_hex(proof) && proof != words[3], "{proven}");
    for answer in [&health, &record, &hub.api("GET", "/api/hub").json(), &proven] {
        assert!(!answer.to_string().contains(words[3]), "{answer}");
    }
    assert_eq!((words[0], words[2]), (&*hub.pid().to_string(), health["instance"].as_str().expect("text")));

    hub.kill();
    hub.start_again();
    assert_ne!(hub.get("/health").json()["instance"], health["instance"], "another boot is another instance");
    let secret = hub.home.read("hub/run/hub.pid").split_whitespace().nth(3).map(str::to_owned);
    assert_ne!(secret.as_deref(), Some(words[3]), "and has another secret");
    assert_eq!(hub.end().code(), Some(0));
    assert_eq!(IDENTITY.map(|file| hub.home.read(file)), ["", "", ""]);
}

#[test]
fn a_port_file_that_leads_nowhere_is_no_hub_that_is_down() {
    let hub = start_without_groups(&[]);
    let nowhere = crate::support::free_port();
    hub.home.write("hub/run/hub.port", &format!("{nowhere}\n"));
    let said = format!("the hub runs as process {}, and no command reaches it", hub.pid());
    for (args, code) in [(&["status"][..], 1), (&["status", "--check"], 6), (&["doctor"], 6), (&["open"], 5)] {
        let told = hub.run(args).fails_with(code);
        assert!(format!("{}{}", told.stdout, told.stderr).contains(&said), "{told}");
    }
    hub.home.write("hub/run/hub.port", &format!("{}\n", hub.port));
    hub.run(&["status", "--check"]).succeeds();
}

/// It is no clean end, and whoever else is left goes all the same.
#[test]
fn a_hub_that_gives_up_on_a_process_says_so_and_ends_the_rest() {
    let home = Home::new();
    let script = "env -i setsid sh -c 'echo $$ >\"$0\"; exec sleep 600' \"$PARACHUTE_HOME/noted\" >/dev/null 2>&1 & \
                  until [ -s \"$PARACHUTE_HOME/noted\" ]; do :; done";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    home.install(&module("bare", argv).run(json!({ "restart": "never", "ready": "none" })));
    home.install(&module("deaf", testchild(&["ignore-term"])));
    let mut hub = Hub::start_in(home, WITHOUT_GROUPS);
    hub.until_status("bare", "stopped");
    let bare: u32 = hub.home.read("noted").trim().parse().expect("a pid");
    let deaf = hub.until_ready("deaf");
    assert!(is_alive(bare), "nothing tells whose it is");
    // Groups are signalled by it, and nobody else.
    let deaf_to_us = hub.inject("kill", "error=EPERM", &[]);
    kill(hub.pid(), "TERM");
    hub.says("deaf: cannot signal group");
    kill(hub.pid(), "TERM");
    let status = hub.until_it_ends();
    drop(deaf_to_us);
    let told = hub.output();
    assert!(!is_alive(bare), "{told}");
    assert!(told.contains("processes are left that KILL did not end"), "{told}");
    kill(deaf, "KILL");
    assert_eq!(status.code(), Some(1), "{told}");
}
