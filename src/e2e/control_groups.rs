//! Modules in control groups of their own: whatever they do, all that they started is known as theirs.

use crate::support::{Home, Hub, Module, Spawned, children, eventually, is_alive, kill, module, testchild, through};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

const WITH_GROUPS: &[(&str, &str)] = &[("PARACHUTE_CGROUPS", "on")];

#[track_caller]
fn start(modules: &[Module]) -> Hub {
    Hub::start_with(modules, WITH_GROUPS)
}

/// A daemon without an environment, a parent, an open file or a group of its module; its number is in `noted` then.
const HIDES: &str = "env -i setsid sh -c 'echo $$ >\"$0\"; exec sleep 600' \"$PARACHUTE_HOME/noted\" >/dev/null 2>&1 & \
                     until [ -s \"$PARACHUTE_HOME/noted\" ]; do :; done";

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn noted(hub: &Hub) -> u32 {
    eventually("the daemon's number", || hub.home.read("noted").trim().parse().ok())
}

/// The directory of the hub's group, as it says.
fn directory(hub: &Hub) -> PathBuf {
    let said = hub.says("each module runs in a control group of its own below ");
    let (_, directory) = said.rsplit_once(" below ").expect("a path follows");
    PathBuf::from(directory.trim())
}

/// The path of the process's group of version 2.
fn group_of(pid: u32) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
}

/// Where control groups of version 2 are mounted.
fn cgroup_mount() -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let mount = mounts.lines().rfind(|line| line.contains(" - cgroup2 ")).expect("control groups of version 2");
    mount.split(' ').nth(4).expect("a mount point").to_owned()
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned()
}

#[test]
fn each_module_has_a_group_for_as_long_as_anything_of_it_runs() {
    let mut hub = start(&[module("web", testchild(&["http"])), module("other", testchild(&["http"]))]);
    let groups = directory(&hub);
    for short in ["web", "other"] {
        let pid = hub.until_ready(short);
        assert!(group_of(pid).ends_with(&format!("/{}/{short}.module", name(&groups))), "{}", group_of(pid));
    }
    assert!(!group_of(hub.pid()).contains("parachute-"), "the hub stays where it was");
    assert_eq!(hub.api("GET", "/api/hub").json()["control_groups"], groups.to_str().expect("text"));
    let doctor = hub.run(&["doctor"]).succeeds();
    let told = format!("each module runs in a control group of its own below {}", groups.display());
    assert!(doctor.stdout.contains(&told), "{doctor}");
    let of_web = groups.join("web.module");
    hub.run(&["stop", "web"]).succeeds();
    assert!(!of_web.exists());
    hub.run(&["start", "web"]).succeeds();
    let before = hub.until_ready("web");
    hub.run(&["restart", "web"]).succeeds();
    let after = hub.until_ready("web");
    assert_ne!(before, after);
    assert_eq!(fs::read_to_string(of_web.join("cgroup.procs")).expect("it is there").trim(), after.to_string());
    hub.run(&["remove", "web"]).succeeds();
    assert!(!of_web.exists());
    assert_eq!(hub.end().code(), Some(0));
    assert!(!groups.exists(), "nothing is left of a hub that has ended");
}

#[test]
fn whom_nothing_else_tells_ends_with_its_leader() {
    let hides = module("hides", shell(HIDES)).run(json!({ "restart": "never", "ready": "none" }));
    let hub = start(&[hides]);
    let hidden = noted(&hub);
    hub.until_status("hides", "stopped");
    assert!(!is_alive(hidden), "it counts as stopped before {hidden} was gone");
}

#[test]
fn whom_nothing_else_tells_ends_with_a_stop_and_a_restart() {
    let script = format!("{HIDES}; exec {:?} http", testchild(&[])[0]);
    let hub = start(&[module("hides", shell(&format!("({script})")))]);
    let mut before = None;
    for verb in ["restart", "stop"] {
        hub.until_ready("hides");
        let hidden = eventually("the daemon of this run", || Some(noted(&hub)).filter(|pid| Some(*pid) != before));
        assert!(is_alive(hidden));
        hub.home.write("noted", "");
        hub.run(&[verb, "hides"]).succeeds();
        assert!(!is_alive(hidden), "{verb} has returned before {hidden} was gone");
        before = Some(hidden);
    }
}

/// Each process of it is gone before anybody could open or signal it.
#[test]
fn whoever_forks_and_ends_without_a_pause_does_not_outrun_a_stop() {
    let home = Home::new();
    home.write("hop", "trap '' TERM; env -i setsid /bin/sh \"$0\" \"$1\" >/dev/null 2>&1 & echo >>\"$1\"");
    let script =
        "env -i setsid /bin/sh \"$PARACHUTE_HOME/hop\" \"$PARACHUTE_HOME/hopped\" >/dev/null 2>&1 & exec sleep 600";
    home.install(
        &module("hops", shell(script)).run(json!({ "restart": "never", "ready": "none", "stopTimeoutMs": 200 })),
    );
    let hub = Hub::start_in(home, WITH_GROUPS);
    let group = directory(&hub).join("hops.module");
    eventually("some hops", || (hub.home.read("hopped").len() > 20).then_some(()));
    hub.run(&["stop", "hops"]).succeeds();
    assert!(!group.exists(), "somebody is left");
    let hops = hub.home.read("hopped").len();
    hub.run(&["status"]).succeeds();
    assert_eq!(hub.home.read("hopped").len(), hops);
}

#[test]
fn the_next_hub_ends_whom_nothing_else_tells() {
    let script = format!("{HIDES}; exec {:?} http", testchild(&[])[0]);
    let mut hub = start(&[module("hides", shell(&format!("({script})")))]);
    hub.until_ready("hides");
    let (hidden, before) = (noted(&hub), directory(&hub));
    hub.kill();
    assert!(is_alive(hidden), "nobody tells it");
    assert!(before.exists());
    hub.start_again();
    assert!(!is_alive(hidden));
    assert!(!before.exists());
    assert_ne!(directory(&hub), before);
    hub.until_ready("hides");
}

/// It is in the group of the module that it was started by, and ends the rest of it, but not itself.
#[test]
fn a_hub_that_a_module_of_the_killed_one_starts_ends_the_others() {
    let home = Home::new();
    let next = "trap '' TERM; while kill -0 $PPID 2>/dev/null; do :; done; \
                trap - TERM; \"$PARACHUTE_BIN\" serve --port 0 >\"$PARACHUTE_HOME/said\" 2>&1";
    let script = format!("{HIDES}; export PARACHUTE_BIN={:?}; {next}", env!("CARGO_BIN_EXE_parachute"));
    let run = json!({ "restart": "never", "ready": "none" });
    home.install(&module("next", shell(&script)).run(run));
    let mut hub = Hub::start_in(home, WITH_GROUPS);
    let (hidden, old) = (noted(&hub), directory(&hub));
    // The one that comes starts nothing.
    hub.home.write("services.json", r#"{"services":[]}"#);
    hub.kill();
    let listens = eventually("the next hub", || {
        let said = hub.home.read("said");
        (said.contains("[hub] listening on ") || said.contains("error")).then_some(said)
    });
    assert!(listens.contains("ended processes that an earlier hub left behind"), "{listens}");
    assert!(!is_alive(hidden), "{listens}");
    let pid: u32 = hub.home.read("hub/run/hub.pid").split_whitespace().next().expect("a pid").parse().expect("a pid");
    assert!(group_of(pid).ends_with(&format!("/{}/next.module", name(&old))), "{}", group_of(pid));
    kill(pid, "TERM");
    eventually("its end", || (!is_alive(pid)).then_some(()));
}

#[test]
fn where_no_group_can_be_made_modules_run_without() {
    let script = format!("mount -o remount,bind,ro {} && exec \"$0\" \"$@\"", cgroup_mount());
    let read_only = ["unshare", "--mount", "/bin/sh", "-c", &script];
    for (setting, said) in [("auto", None), ("on", Some("cannot make control groups")), ("off", None)] {
        let home = Home::new();
        home.install(&module("web", testchild(&["http"])));
        let setting = format!("PARACHUTE_CGROUPS={setting}");
        let wrapper: Vec<&str> = ["env", &setting].into_iter().chain(read_only).collect();
        let mut hub = Hub::start_through(&wrapper, home);
        let pid = hub.until_ready("web");
        assert_eq!(group_of(pid), group_of(hub.pid()), "{setting}");
        assert!(hub.api("GET", "/api/hub").json()["control_groups"].is_null(), "{setting}");
        let doctor = hub.run(&["doctor"]).succeeds();
        assert!(doctor.stdout.contains("run without control groups of their own"), "{setting}: {doctor}");
        hub.run(&["stop", "web"]).succeeds();
        hub.end();
        let output = hub.output();
        assert_eq!(output.contains("control group"), said.is_some(), "{setting}: {output}");
        assert!(said.is_none_or(|said| output.contains(said)), "{setting}: {output}");
    }
}

/// As on kernels of before 5.7, and where a filter knows no clone3.
#[test]
fn a_module_that_cannot_be_born_in_its_group_joins_it() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    let none = ["strace", "-f", "-o", "/dev/null", "-e", "trace=clone3", "-e", "inject=clone3:error=ENOSYS"];
    let mut serve = home.command(&["serve", "--port", "0"]);
    serve.envs(WITH_GROUPS.iter().copied());
    let mut strace = Spawned::spawn(through(&none, &serve));
    let groups = strace.line_after("[hub] each module runs in a control group of its own below ");
    let pid: u32 = strace.line_after("[supervisor] web: started, pid ").parse().expect("a pid");
    assert!(group_of(pid).ends_with(&format!("/{}/web.module", name(Path::new(&groups)))), "{}", group_of(pid));
    let [serve] = children(strace.pid())[..] else { panic!("{}", strace.output()) };
    kill(serve, "TERM");
    assert!(strace.wait().success(), "{}", strace.output());
    assert!(!Path::new(&groups).exists());
}

#[test]
fn a_group_that_was_taken_away_keeps_no_module_from_running() {
    let hub = start(&[module("web", testchild(&["http"]))]);
    let groups = directory(&hub);
    hub.until_ready("web");
    hub.run(&["stop", "web"]).succeeds();
    fs::remove_dir(&groups).expect("nobody is in it");
    hub.run(&["start", "web"]).succeeds();
    hub.says("web runs outside of a control group of its own: ");
    hub.until_ready("web");
    hub.run(&["stop", "web"]).succeeds();
}

/// Root may. It is known by what it carries then.
#[test]
fn whoever_leaves_the_group_is_ended_all_the_same() {
    let script = format!(
        "echo 0 >\"$(cat $PARACHUTE_HOME/top)/cgroup.procs\"; setsid {:?} hold-pipe; echo moved $$; exec sleep 600",
        testchild(&[])[0]
    );
    let home = Home::new();
    home.install(&module("moves", shell(&script)).run(json!({ "ready": "none" })));
    home.write("hub/intent.json", r#"{"stopped":["moves"]}"#);
    let hub = Hub::start_in(home, WITH_GROUPS);
    let groups = directory(&hub);
    hub.home.write("top", groups.parent().and_then(Path::to_str).expect("a path"));
    hub.run(&["start", "moves"]).succeeds();
    let leader = hub.number_after("moves", "moved ");
    let grandchild = hub.number_after("moves", "grandchild ");
    assert_eq!(group_of(leader), group_of(hub.pid()));
    hub.run(&["stop", "moves"]).succeeds();
    assert!(!is_alive(leader) && !is_alive(grandchild));
}

/// Systemd marks what it has left to somebody; the topmost is nobody else's.
#[test]
fn without_a_word_groups_are_made_where_they_may_be() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    let pid = hub.until_ready("web");
    let is_top = group_of(hub.pid()) == "/";
    assert_eq!(group_of(pid).ends_with("/web.module"), is_top, "{}", group_of(pid));
    assert_eq!(hub.output().contains("control group"), is_top, "{}", hub.output());
}

/// It stays alive, and no stop waits for it.
#[test]
fn a_hub_that_a_module_has_put_into_its_group_is_not_ended_with_it() {
    let script = "group=$(sed -n 's/^0:://p' /proc/self/cgroup); echo $PPID >\"$(cat $PARACHUTE_HOME/mount)$group/cgroup.procs\"; \
                  trap '' TERM; echo put $$; exec sleep 600";
    let home = Home::new();
    home.install(&module("puts", shell(script)).run(json!({ "ready": "none", "stopTimeoutMs": 200 })));
    home.write("mount", cgroup_mount().as_str());
    let mut hub = Hub::start_in(home, WITH_GROUPS);
    let leader = hub.number_after("puts", "put ");
    assert!(group_of(hub.pid()).ends_with("/puts.module"), "{}", group_of(hub.pid()));
    hub.run(&["stop", "puts"]).succeeds();
    assert!(!is_alive(leader));
    hub.run(&["start", "puts"]).succeeds();
    hub.run(&["restart", "puts"]).succeeds();
    assert_eq!(hub.end().code(), Some(0));
}
