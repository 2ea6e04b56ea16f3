//! `status` of some, and `--watch`: whoever watches hears of every change that lasts, and of nothing else.

use crate::database::sql;
use crate::support::{Finished, Home, Hub, Spawned, eventually, kill, module, testchild};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn objects(watcher: &Spawned) -> Vec<Value> {
    let output = watcher.output();
    let whole = output.rfind('\n').map_or("", |end| &output[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn each_change_is_an_object_and_nothing_else_is() {
    let sleeper = |name| module(name, testchild(&["sleep"])).run(json!({ "ready": "none" }));
    let mut hub = Hub::start(&[sleeper("web"), sleeper("other")]);
    let first = hub.number_after("web", "ready ");
    let watcher = Spawned::spawn(hub.home.command(&["status", "web", "--watch", "--json"]));
    let until = |what: &str, is: &dyn Fn(&Value) -> bool| {
        eventually(what, || objects(&watcher).last().filter(|object| is(object)).cloned())
    };
    let seen = until("the module as it is", &|object| object["modules"][0]["pid"] == first);
    assert!(seen["at"].is_string() && seen["hub"]["state"] == "active", "{seen:#}");
    assert_eq!(seen["modules"].as_array().map(Vec::len), Some(1), "{seen:#}");

    kill(first, "KILL");
    until("another child", &|object| object["modules"][0]["pid"].as_u64().is_some_and(|pid| pid != u64::from(first)));
    hub.run(&["stop", "other"]).succeeds();
    hub.run(&["stop", "web"]).succeeds();
    until("a module at rest", &|object| object["modules"][0]["state"] == "inactive");
    assert_eq!(hub.end().code(), Some(0));
    until("a hub that is down", &|object| object["hub"]["state"] == "inactive");

    // Time that passes, and notes that tell of it, are no change.
    let news = |mut object: Value| {
        for part in ["", "/hub", "/modules/0"] {
            let fields = object.pointer_mut(part).and_then(Value::as_object_mut).expect("an object");
            fields.retain(|field, _| !["at", "uptime_s", "latency_ms", "notes"].contains(&field.as_str()));
        }
        object
    };
    let told: Vec<Value> = objects(&watcher).into_iter().map(news).collect();
    assert!(told.windows(2).all(|pair| pair[0] != pair[1]), "{told:#?}");
}

#[test]
fn as_text_it_is_the_table_again() {
    let hub = Hub::start(&[module("web", testchild(&["sleep"])).run(json!({ "ready": "none" }))]);
    hub.number_after("web", "ready ");
    let watcher = Spawned::spawn(hub.home.command(&["status", "-w"]));
    let tables = || watcher.output().matches("SERVICE").count();
    eventually("a table", || (tables() == 1).then_some(()));
    hub.run(&["stop", "web"]).succeeds();
    eventually("another table", || (tables() == 2).then_some(()));
    assert!(!watcher.output().contains('\x1b'), "nobody's screen is to be wiped");
}

#[test]
fn only_a_terminal_that_can_is_told_to_wipe_its_screen() {
    let home = Home::new();
    for (term, wipes) in [("xterm", true), ("dumb", false)] {
        // It gives a command a terminal of its own.
        let command = format!("exec {} status -w", env!("CARGO_BIN_EXE_parachute"));
        let mut script = home.command_of(Path::new("script"), &["-qfc", &command, "/dev/null"]);
        script.env("TERM", term);
        let watcher = Spawned::spawn(script);
        eventually("the hub's row", || watcher.output().contains("hub is down").then_some(()));
        assert_eq!(watcher.output().contains('\x1b'), wipes, "{term}: {}", watcher.output());
    }
}

#[test]
fn a_module_that_is_not_there_cannot_be_watched() {
    let home = Home::new();
    Finished::run(home.command(&["status", "web", "--watch"])).fails_with(9);
}

#[test]
fn who_is_not_found_in_a_list_that_cannot_be_read_is_told_of_the_list() {
    let home = Home::new();
    fs::write(home.path().join("services.json"), "{").expect("written");
    for args in [&["status", "web"][..], &["status", "web", "--json"], &["status", "web", "--watch"]] {
        let done = Finished::run(home.command(args));
        assert_eq!(done.status.code(), Some(78), "it may be in there: {done}");
        assert!(done.stderr.contains("services.json") && done.stdout.is_empty(), "{done}");
    }
}

#[test]
fn a_check_fails_unless_it_is_known_that_all_is_well() {
    let mute = module("mute", testchild(&["never-bind"])).run(json!({ "ready": { "timeoutMs": 100 } }));
    let quiet = module("quiet", testchild(&["never-bind"])).run(json!({ "ready": "none" }));
    let hub = Hub::start(&[mute, quiet]);
    hub.until("mute", "running with a note", |state| state["supervisor_start_error"].is_object());
    hub.until_ready("quiet");
    hub.run(&["status"]).succeeds();
    let done = hub.run(&["status", "--check"]).fails_with(6);
    assert!(done.stderr.contains("1 of 2 modules not well: mute (runs, not ready)"), "{done}");
    hub.run(&["status", "--check", "quiet", "hub"]).succeeds();
    hub.run(&["stop", "mute"]).succeeds();
    hub.run(&["status", "--check"]).succeeds();

    let token = hub.home.path().join("operator.token");
    fs::rename(&token, hub.home.path().join("kept")).expect("ours");
    hub.run(&["status"]).succeeds();
    let done = hub.run(&["status", "--check", "--json"]).fails_with(6);
    let told: Value = serde_json::from_str(&done.stderr).expect("one object");
    assert_eq!((&done.json()["ok"], &told["error"]["code"]), (&json!(false), &json!("no_operator_token")), "{done}");
    assert!(done.stderr.contains("how the modules are is not known: no operator token at"), "{done}");
    hub.run(&["status", "--check", "hub"]).succeeds();
    fs::rename(hub.home.path().join("kept"), &token).expect("ours");
    hub.run(&["status", "--check"]).succeeds();

    sql(&hub.home, "alter table settings rename to gone");
    hub.run(&["status"]).succeeds();
    let done = hub.run(&["status", "--check"]).fails_with(6);
    assert!(done.stderr.contains("database"), "{done}");
}

/// Whoever says so, the row or the manifest.
#[test]
fn the_address_that_it_shows_of_a_module_is_one_that_the_module_knows() {
    let web = |name: &str| module(name, testchild(&["http"]));
    let modules =
        [web("plain"), web("row").row("stripPrefix", json!(true)), web("own").manifest("stripPrefix", json!(true))];
    let home = Home::new();
    modules.iter().for_each(|module| home.install(module));
    let mut hub = Hub::start_in(home, &[]);
    let shows = |hub: &Hub, paths: [&str; 3]| {
        let status = hub.run(&["status", "--json"]).json();
        for (at, (module, path)) in modules.iter().zip(paths).enumerate() {
            let expected = format!("http://127.0.0.1:{}{path}", module.port);
            assert_eq!(status["data"]["modules"][at]["url"], expected, "{}: {status:#}", module.name);
        }
    };
    shows(&hub, ["/plain", "", ""]);
    hub.end();
    // No command reads all manifests for that.
    shows(&hub, ["/plain", "", "/own"]);
}
