//! When a module counts as up, and what is told when it does not come up.

use crate::support::{Home, Hub, Module, eventually, free_port, is_alive, module, pid_of, testchild};
use serde_json::{Value, json};
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[test]
fn a_module_that_never_binds_runs_with_a_note() {
    let mute = module("mute", testchild(&["never-bind"])).run(json!({ "ready": { "timeoutMs": 100 } }));
    let port = mute.port;
    let hub = Hub::start(&[mute]);
    let state = hub.until("mute", "running with a note", |state| state["supervisor_start_error"].is_object());
    assert_eq!(state["supervisor_status"], "running", "{state:#}");
    assert_eq!(state["ready"], false, "{state:#}");
    let error = &state["supervisor_start_error"];
    assert_eq!(error["error_type"], "started_but_unbound", "{state:#}");
    let text = error["error_description"].as_str().expect("text");
    let expected = format!("nothing listens on 127.0.0.1:{port} after 100 ms (pid {} lives)", pid_of(&state));
    assert!(text.starts_with(&expected), "{text}");

    let status = hub.run(&["status"]).succeeds().stdout;
    assert!(status.contains(&expected), "{status}");
    // Alive without listening is a success of start, unless it is to be waited for.
    let restarted = hub.run(&["restart", "mute"]).succeeds();
    assert!(format!("{restarted}").contains("nothing listens on"), "{restarted}");
    hub.run(&["restart", "--wait", "mute"]).fails_with(6);
}

#[test]
fn the_note_goes_when_the_module_binds_late() {
    let late = module("late", testchild(&["bind-late", "1000"])).run(json!({ "ready": { "timeoutMs": 50 } }));
    let hub = Hub::start(&[late]);
    let noted = hub
        .until("late", "noted or bound", |state| state["supervisor_start_error"].is_object() || state["ready"] == true);
    let pid = pid_of(&noted);
    assert_eq!(hub.until_ready("late"), pid, "it is the same child");
    assert!(hub.module("late")["supervisor_start_error"].is_null());
    hub.says("late: nothing listens on");
    hub.says("late: is bound now");
}

#[test]
fn a_module_that_binds_at_once_gets_no_note() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    assert!(hub.module("web")["supervisor_start_error"].is_null());
    assert!(!hub.output().contains("nothing listens"), "{}", hub.output());
    assert_eq!(hub.get("/api/ready").json()["ready"], true);
}

#[test]
fn without_a_probe_alive_is_ready() {
    let hub = Hub::start(&[module("mute", testchild(&["never-bind"])).run(json!({ "ready": "none" }))]);
    hub.until_ready("mute");
    assert!(hub.module("mute")["supervisor_start_error"].is_null());
}

#[test]
fn a_stranger_that_takes_the_port_of_a_running_module_does_not_make_it_ready() {
    let mute = module("mute", testchild(&["never-bind"])).run(json!({ "ready": { "timeoutMs": 3000 } }));
    let port = mute.port;
    let hub = Hub::start(&[mute]);
    let pid = hub.number_after("mute", "ready ");
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody has it");
    let state =
        hub.until("mute", "judged", |state| state["supervisor_start_error"].is_object() || state["ready"] == true);
    assert_eq!((pid_of(&state), &state["ready"]), (pid, &json!(false)), "{state:#}");
    let error = &state["supervisor_start_error"];
    assert_eq!(error["error_type"], "started_but_unbound", "{state:#}");
    let text = error["error_description"].as_str().expect("text");
    assert!(text.contains(&format!("held by process {} ", std::process::id())), "{text}");
    drop(stranger);
}

/// The first run ends early, which is said until the second one runs; that never listens, which is said of it.
#[test]
fn what_is_said_of_a_child_goes_with_it() {
    let home = Home::new();
    let ran = home.path().join("ran");
    let (ran, program) = (ran.to_str().expect("UTF-8"), &testchild(&[])[0]);
    let script = format!("[ -e {ran:?} ] && exec {program:?} never-bind; touch {ran:?}; exit 3");
    let argv = ["/bin/sh", "-c", &script].map(str::to_owned).to_vec();
    home.install(&module("web", argv).run(json!({ "ready": { "timeoutMs": 1000 } })));
    let hub = Hub::start_in(home, &[]);
    let second = hub.number_after("web", "ready ");
    let state = hub.until("web", "judged", |state| state["supervisor_status"] == "running");
    assert_eq!(pid_of(&state), second);
    assert_eq!(state["supervisor_start_error"]["error_type"], "started_but_unbound", "{state:#}");
    hub.says("web: nothing listens on");
}

#[test]
fn whoever_of_a_module_listens_makes_it_ready() {
    let program = &testchild(&[])[0];
    // A grandchild in a session of its own, under a leader that waits for it.
    let script = format!("setsid {program:?} http & wait");
    let below = module("below", ["/bin/sh", "-c", &script].map(str::to_owned).to_vec());
    let group = module("group", testchild(&["fork-and-ignore-term"])).run(json!({ "stopTimeoutMs": 200 }));
    let daemon = module("daemon", testchild(&["daemonize", "stay"])).run(json!({ "stopTimeoutMs": 200 }));
    let hub = Hub::start(&[below, group, daemon]);
    for name in ["below", "group", "daemon"] {
        hub.until_ready(name);
    }
}

/// A script for `/usr/bin/python3` that answers every request with this status.
fn answers(status: u16) -> Vec<String> {
    let script = format!(
        "import os, http.server as h\n\
         class A(h.BaseHTTPRequestHandler):\n\
         \x20def do_GET(self):\n\
         \x20 self.send_response({status}); self.end_headers()\n\
         h.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), A).serve_forever()"
    );
    ["/usr/bin/python3", "-c", &script].map(str::to_owned).to_vec()
}

#[test]
fn an_http_probe_takes_any_answer_that_is_no_server_error() {
    assert!(Path::new("/usr/bin/python3").exists(), "python3 is missing: apt-get install python3");
    let run = json!({ "ready": { "probe": "http", "timeoutMs": 30_000 } });
    let well = module("well", testchild(&["http"])).run(run.clone());
    let locked = module("locked", answers(401)).run(run);
    let broken = module("broken", answers(503)).run(json!({ "ready": { "probe": "http", "timeoutMs": 5_000 } }));
    let hub = Hub::start(&[well, locked, broken]);
    hub.until_ready("well");
    hub.until_ready("locked");
    let state = hub.until("broken", "running with a note", |state| state["supervisor_start_error"].is_object());
    assert_eq!((&state["supervisor_status"], &state["ready"]), (&json!("running"), &json!(false)), "{state:#}");
    let words = format!("http://127.0.0.1:{}/health answers with status 503 after 5000 ms", state["port"]);
    check_error(&state["supervisor_start_error"], "started_but_unbound", &words, "broken");
}

#[test]
fn a_stranger_on_the_port_is_named_and_left_alone() {
    let home = Home::new();
    let started = home.path().join("started");
    let port = free_port();
    let squatter = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    let argv = testchild(&["sleep", started.to_str().expect("UTF-8")]);
    home.install(&module("web", argv).manifest("port", json!(port)).row("port", json!(port)));
    let hub = Hub::start_in(home, &[]);
    let state = hub.until_status("web", "crashed");
    let error = &state["supervisor_start_error"];
    assert_eq!(error["error_type"], "port_squatter", "{state:#}");
    let text = error["error_description"].as_str().expect("text");
    assert!(text.contains(&port.to_string()) && text.contains(&std::process::id().to_string()), "{text}");
    let status = hub.run(&["status"]).fails_with(1).stdout;
    assert!(status.contains(&std::process::id().to_string()), "{status}");
    assert_eq!(hub.home.read("started"), "", "no child was started");
    assert!(hub.processes("web").is_empty());

    drop(squatter);
    hub.home.install(&module("web", testchild(&["http"])).manifest("port", json!(port)).row("port", json!(port)));
    hub.run(&["start", "web"]).succeeds();
}

#[test]
fn nobody_is_told_to_end_the_hub_or_a_module_of_it_for_a_port() {
    let home = Home::new();
    let port = free_port();
    let argv = [vec!["/usr/bin/env".to_owned(), format!("PORT={port}")], testchild(&["http"])].concat();
    home.install(&module("first", argv).run(json!({"ready": "none"})));
    let hub = Hub::start_in(home, &[]);
    hub.line_after("first", "ready ");

    let on = |port: u64| module("web", testchild(&["http"])).manifest("port", json!(port)).row("port", json!(port));
    for (what, port, kind, words) in [
        ("a module's", u64::from(port), "port_squatter", "another module has the port"),
        ("the hub's", u64::from(hub.port), "invalid_settings", "is the hub's own"),
    ] {
        hub.home.install(&on(port));
        let failed = hub.run(&["start", "web"]).fails_with(6);
        check_error(&hub.module("web")["supervisor_start_error"], kind, words, what);
        assert!(failed.stderr.contains(words) && !failed.stderr.contains("kill"), "{what}: {failed}");
        assert!(!hub.run(&["status"]).stdout.contains("kill "), "{what}");
    }
    assert!(hub.run(&["check"]).fails_with(78).stdout.contains("is the hub's own"), "check sees it, too");
}

/// A module whose package holds a file that this function makes; the command names it.
fn with_file(home: &Home, name: &str, command: &str, make: impl FnOnce(&Path)) -> Module {
    let package = home.package(name);
    fs::create_dir_all(&package).expect("the directory of the modules is ours");
    make(&package);
    module(name, vec![command.to_owned()]).run(json!({ "ready": "none" }))
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).expect("the package is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the package is ours");
}

#[test]
fn a_command_that_cannot_run_is_told_before_anything_is_started() {
    let home = Home::new();
    let none = json!({ "ready": "none" });
    let modules = [
        module("missing", vec!["no-such-program".to_owned()]).run(none.clone()),
        module("absent", vec!["/no/such/program".to_owned()]).run(none.clone()),
        with_file(&home, "plain", "./run", |dir| write(&dir.join("run"), "#!/bin/sh\n", 0o644)),
        with_file(&home, "folder", "./run", |dir| fs::create_dir(dir.join("run")).expect("ours")),
        with_file(&home, "script", "./run", |dir| write(&dir.join("run"), "#!/no/such/shell\n", 0o755)),
        module("lost", testchild(&["sleep"])).run(none).row("installDir", json!(home.path().join("lost-directory"))),
    ];
    fs::create_dir_all(home.path().join("lost-directory/.parachute")).expect("the home is ours");
    for module in &modules {
        home.install(module);
    }
    fs::copy(
        home.package("lost").join(".parachute/module.json"),
        home.path().join("lost-directory/.parachute/module.json"),
    )
    .expect("the home is ours");
    let hub = Hub::start_in(home, &[]);
    for (short, kind, words) in [
        ("missing", "missing_dependency", "no-such-program was not found on its PATH"),
        ("absent", "missing_dependency", "/no/such/program cannot be found"),
        ("plain", "non_executable", "is not executable; allow it with: chmod +x"),
        ("folder", "non_executable", "is not a regular file"),
        ("script", "missing_dependency", "is a script for /no/such/shell, which is not installed"),
    ] {
        let state = hub.until_status(short, "crashed");
        check_error(&state["supervisor_start_error"], kind, words, short);
        assert!(state["pid"].is_null() && state["last_exit"].is_null(), "there was a child: {state:#}");
        let failed = hub.run(&["start", short]).fails_with(6);
        assert!(failed.stderr.contains(words), "{failed}");
    }

    let child = hub.until_ready("lost");
    hub.run(&["stop", "lost"]).succeeds();
    fs::remove_dir_all(hub.home.path().join("lost-directory")).expect("the home is ours");
    assert!(!is_alive(child));
    let failed = hub.run(&["start", "lost"]);
    let state = hub.module("lost");
    assert_ne!(state["supervisor_status"], "running", "{failed}");
    assert!(format!("{failed}").contains("lost-directory"), "{failed}");
}

#[track_caller]
fn check_error(error: &Value, kind: &str, words: &str, case: &str) {
    assert_eq!(error["error_type"], kind, "{case}: {error:#}");
    let text = error["error_description"].as_str().unwrap_or_default();
    assert!(text.contains(words), "{case}: {text}");
}

#[test]
fn a_directory_that_vanishes_is_told_and_the_next_start_finds_it_again() {
    let cwd = module("cwd", testchild(&["http"]));
    let hub = Hub::start(std::slice::from_ref(&cwd));
    hub.until_ready("cwd");
    let package = hub.home.package("cwd");
    fs::rename(&package, package.with_extension("away")).expect("the directory of the modules is ours");
    let failed = hub.run(&["restart", "cwd"]);
    assert_ne!(failed.code(), Some(0), "{failed}");
    assert!(failed.stderr.contains("cwd"), "{failed}");
    hub.until_ready("cwd");
    fs::rename(package.with_extension("away"), &package).expect("the directory of the modules is ours");
    hub.run(&["restart", "cwd"]).succeeds();
}

#[test]
fn a_relative_command_is_looked_up_in_the_directory_of_the_module() {
    let home = Home::new();
    let near = with_file(&home, "near", "./run", |dir| {
        write(&dir.join("run"), "#!/bin/sh\necho here $(pwd)\nexec sleep 3600\n", 0o755);
    });
    home.install(&near);
    let expected = fs::canonicalize(home.package("near")).expect("it is there");
    let hub = Hub::start_in(home, &[]);
    assert_eq!(hub.line_after("near", "here "), expected.display().to_string());
}

#[test]
fn a_program_that_ends_before_it_is_ready_has_failed_to_start() {
    let hub = Hub::start(&[module("brief", testchild(&["exit", "4"]))]);
    let failed = eventually("an answer that is not about a crash before", || {
        let answer = hub.run(&["start", "brief"]);
        (answer.code() == Some(6)).then_some(answer)
    });
    assert!(failed.stderr.contains("exited with code 4"), "{failed}");
}
