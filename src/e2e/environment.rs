//! What a child is handed: process group, descriptors, signals, limits, identity and environment.

use crate::support::{Home, Hub, Spawned, kill, module, testchild, through};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// The variables of a module that runs `print-env`.
#[track_caller]
fn variables(hub: &Hub, short: &str) -> BTreeMap<String, String> {
    hub.line_after(short, "ready ");
    let lines = hub.lines_after(short, "env ");
    lines.iter().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// The soft and the hard limit of a process as `/proc` names it.
#[track_caller]
fn limit(pid: u32, name: &str) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("the process lives");
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {limits}"));
    let mut words = line.split_whitespace().map(str::to_owned);
    [words.next(), words.next()].map(|word| word.expect("two limits"))
}

#[test]
fn a_child_begins_clean() {
    let none = json!({ "ready": "none" });
    let args = module("args", testchild(&["args", "one", "two words", "", "ümläut"])).run(none.clone());
    let stdin = module("stdin", testchild(&["stdin"])).run(none);
    let hub = Hub::start(&[args, stdin]);
    let pid = hub.number_after("args", "ready ");
    for (index, word) in ["args", "one", "two words", "", "ümläut"].iter().enumerate() {
        assert_eq!(hub.line_after("args", &format!("argv {index} ")), *word);
    }
    assert_eq!(hub.number_after("args", "pid "), pid);
    assert_eq!(hub.number_after("args", "pgid "), pid, "a process group of its own");
    assert_eq!(hub.number_after("args", "ppid "), hub.pid(), "a child of the hub itself");
    assert_eq!(hub.line_after("args", "sigblk "), "0000000000000000", "no signal is blocked");
    // The lower half are the signals that have names; a runtime above the tests may ignore one of the others.
    let ignored = u64::from_str_radix(&hub.line_after("args", "sigign "), 16).expect("a mask");
    assert_eq!(ignored & 0x7FFF_FFFF, 0, "none is ignored, SIGPIPE neither");
    assert_eq!(hub.line_after("args", "fds "), "0 1 2", "no descriptor of the hub");
    let expected = fs::canonicalize(hub.home.package("args")).expect("it is there");
    assert_eq!(hub.line_after("args", "cwd "), expected.display().to_string());
    assert_eq!(hub.line_after("stdin", "stdin "), "eof");
}

#[test]
fn what_the_hub_was_started_with_and_changed_is_given_back() {
    let home = Home::new();
    home.install(&module("args", testchild(&["args"])).run(json!({ "ready": "none" })));
    // The shell sets what the hub then changes for itself, and leaves it a descriptor too many.
    let serve = home.command(&["serve", "--port", "0"]);
    let script = "umask 027; ulimit -S -n 300; exec 7</dev/null; exec \"$@\"";
    let child = Spawned::spawn(through(&["/bin/sh", "-c", script, "sh"], &serve));
    let pid: u32 = child.line_after("[args] ready ").parse().expect("a pid");
    assert_eq!(child.line_after("[args] umask "), "0027");
    assert_eq!(child.line_after("[args] fds "), "0 1 2");
    assert_eq!(limit(pid, "Max open files")[0], "300");
    let mode = |file: &str| fs::metadata(home.path().join(file)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode("operator.token"), 0o600, "the hub's own files do not follow that umask");
}

#[test]
fn a_hub_whose_starter_ignores_signals_hears_them_and_its_children_ignore_none() {
    let home = Home::new();
    home.install(&module("args", testchild(&["args"])).run(json!({ "ready": "none" })));
    home.install(&module("leaves", testchild(&["exit", "3", "300"])).run(json!({ "ready": "none" })));
    let serve = home.command(&["serve", "--port", "0"]);
    let mut hub = Spawned::spawn(through(&["env", "--ignore-signal=CHLD,HUP,INT,TERM,PIPE"], &serve));
    let ignored = u64::from_str_radix(&hub.line_after("[args] sigign "), 16).expect("a mask");
    assert_eq!(ignored & 0x7FFF_FFFF, 0);
    hub.line_after("[supervisor] leaves: exited with code 3");
    kill(hub.pid(), "TERM");
    assert!(hub.wait().success());
}

#[test]
fn a_hub_without_a_path_finds_the_systems_programs() {
    let home = Home::new();
    let argv = ["sh", "-c", "echo path $PATH; exec sleep 600"].map(str::to_owned).to_vec();
    home.install(&module("shell", argv).run(json!({ "ready": "none" })));
    let mut command = home.command(&["serve", "--port", "0"]);
    command.env_remove("PATH");
    let mut hub = Spawned::spawn(command);
    let path = hub.line_after("[shell] path ");
    assert!(path.ends_with("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), "{path}");
    kill(hub.pid(), "TERM");
    assert!(hub.wait().success());
}

#[test]
fn the_port_of_the_row_wins_and_the_secrets_of_the_hub_stay_with_it() {
    let home = Home::new();
    home.write("show/.env", "PORT=1\nCOLOUR=red\nPATH=/opt/own:/usr/bin:/bin\nSHAPE=round\n");
    let run = json!({ "ready": "none", "env": { "set": { "SHAPE": "square", "SIZE": "big" } } });
    let show = module("show", testchild(&["print-env"])).run(run);
    let port = show.port.to_string();
    home.install(&show);
    let denied = [
        "PARACHUTE_INITIAL_ADMIN_PASSWORD",
        "PARACHUTE_OPERATOR_TOKEN",
        "PARACHUTE_SIGNING_KEY",
        "LISTEN_FDS",
        "LISTEN_PID",
        "WATCHDOG_USEC",
    ];
    let mut given: Vec<(&str, &str)> = denied.iter().map(|name| (*name, "0")).collect();
    given.push(("API_KEY", "from the container"));
    let hub = Hub::start_in(home, &given);
    let seen = variables(&hub, "show");
    let get = |name: &str| seen.get(name).map(String::as_str);
    for (name, value) in [
        ("PORT", Some(&*port)),
        ("COLOUR", Some("red")),
        ("PATH", Some("/opt/own:/usr/bin:/bin")),
        ("SHAPE", Some("round")),
        ("SIZE", Some("big")),
        ("API_KEY", Some("from the container")),
        ("PARACHUTE_HOME", hub.home.path().to_str()),
        ("PARACHUTE_HUB_ORIGIN", Some(&*format!("http://127.0.0.1:{}", hub.port))),
    ] {
        assert_eq!(get(name), value, "{name}");
    }
    for name in denied {
        assert_eq!(get(name), None, "{name}");
    }
}

#[test]
fn without_inheritance_only_harmless_variables_are_passed_on() {
    let run = json!({ "ready": "none", "env": { "inherit": false, "set": { "SIZE": "big" } } });
    let show = module("show", testchild(&["print-env"])).run(run);
    let given = [("API_KEY", "secret"), ("LC_ALL", "C"), ("https_proxy", "http://127.0.0.1:1")];
    let hub = Hub::start_with(&[show], &given);
    let seen = variables(&hub, "show");
    assert!(!seen.contains_key("API_KEY"), "{seen:?}");
    for name in ["PATH", "HOME", "LC_ALL", "https_proxy", "SIZE", "PORT"] {
        assert!(seen.contains_key(name), "{name}: {seen:?}");
    }
}

#[test]
fn umask_and_limits_are_as_the_settings_say() {
    let run = json!({ "ready": "none", "umask": "077", "limits": { "nofile": 200, "core": 0, "fsize": 1_048_576 } });
    let hub = Hub::start(&[module("args", testchild(&["args"])).run(run)]);
    let pid = hub.number_after("args", "ready ");
    assert_eq!(hub.line_after("args", "umask "), "0077");
    for (name, value) in [("Max open files", "200"), ("Max core file size", "0"), ("Max file size", "1048576")] {
        assert_eq!(limit(pid, name), [value, value], "{name}, soft and hard");
    }
}

#[test]
fn a_limit_that_nobody_may_raise_is_named() {
    // Above what the kernel gives to anybody, root included.
    let run = json!({ "ready": "none", "limits": { "nofile": 1_u64 << 40 } });
    let hub = Hub::start(&[module("args", testchild(&["args"])).run(run)]);
    let state = hub.until_status("args", "crashed");
    let text = state["supervisor_start_error"]["error_description"].to_string();
    assert!(text.contains("setting run.limits.nofile failed: Operation not permitted"), "{state:#}");
}

/// Needs root: only then can a child be somebody else. Otherwise the start has to fail and say so.
#[test]
fn a_module_runs_as_the_user_of_its_settings() {
    let home = Home::new();
    let is_root = fs::metadata(home.path()).expect("it is ours").uid() == 0;
    // Somebody else can run no program of ours: the directories above it may be closed to him.
    let argv = ["/bin/sh", "-c", "echo ids $(id -u) $(id -g) $(id -G); exec sleep 3600"].map(str::to_owned).to_vec();
    let other = module("other", argv.clone()).run(json!({ "ready": "none", "user": "nobody" }));
    // In 16 bits, which is what some calls of a 32-bit machine have for them, both would be root's.
    let high = module("high", argv).run(json!({ "ready": "none", "user": "65536", "group": "131072" }));
    home.install(&other);
    home.install(&high);
    // Whoever is not root has to get through to the module's own directory.
    for dir in [home.path().parent(), home.package("other").parent()].into_iter().flatten() {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o711)).expect("it is ours");
    }
    let mut hub = Hub::start_in(home, &[]);
    if is_root {
        let (uid, gid) = account("nobody");
        assert_eq!(hub.line_after("other", "ids "), format!("{uid} {gid} {gid}"));
        assert_eq!(hub.line_after("high", "ids "), "65536 131072 131072");
        assert_eq!(hub.end().code(), Some(0));
        assert!(hub.processes("other").is_empty() && hub.processes("high").is_empty());
    } else {
        for short in ["other", "high"] {
            let state = hub.until_status(short, "crashed");
            assert_eq!(state["supervisor_start_error"]["error_type"], "spawn_failed", "{state:#}");
        }
    }
}

/// User and primary group of a name, from `/etc/passwd`.
fn account(name: &str) -> (String, String) {
    let text = fs::read_to_string("/etc/passwd").expect("there is a passwd");
    let line = text.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("the user exists");
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].to_owned(), fields[3].to_owned())
}
