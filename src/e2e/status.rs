//! `status` of some, and `--watch`: whoever watches hears of every change that lasts, and of nothing else.

use crate::support::{Finished, Home, Hub, Spawned, eventually, kill, module, testchild};
use serde_json::{Value, json};
use std::fs;

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
        assert_eq!(done.status.code(), Some(9), "{done}");
        assert!(done.stderr.contains("services.json") && done.stdout.is_empty(), "{done}");
    }
}
