//! Modules that register themselves and are killed at it, and ports that are taken (files §15, cases 13 and 19).

use crate::support::{Finished, Home, Hub, Module, eventually, free_port, is_alive, kill, module, testchild};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};

fn sleeper(name: &str) -> Module {
    module(name, testchild(&["sleep"])).run(json!({"ready": "none"}))
}

fn rows(home: &Home) -> Option<BTreeSet<String>> {
    let document: Value = serde_json::from_str(&home.read("services.json")).ok()?;
    let rows = document["services"].as_array()?;
    Some(rows.iter().filter_map(|row| Some(row["name"].as_str()?.to_owned())).collect())
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A module that does `work` in its first run, says so, and waits to be killed.
fn registering(work: &str) -> Module {
    let script = format!(
        "cd \"$PARACHUTE_HOME\"; if [ -e first ]; then echo ready $$; else : > first; {work}; echo half $$; fi; \
         exec sleep 100000"
    );
    module("half", ["/bin/sh", "-c", &script].map(str::to_owned).into()).run(json!({"ready": "none"}))
}

#[test]
fn c15_19_a_module_that_is_killed_while_it_registers_costs_nobody_a_row() {
    for (what, work, is_torn) in [
        ("a temporary file of its own", "printf '{\"services\":[' > services.json.tmp-$$-1", false),
        ("a temporary file like ours", "printf '{' > .services.json.0123456789abcdef.tmp", false),
        ("a lock that nobody holds", ": > services.json.lock", false),
        // A writer that truncates in place, which none should.
        ("the list itself, cut off", "head -c 60 services.json > x; cat x > services.json", true),
        ("the list itself, empty", ": > services.json", true),
    ] {
        let home = Home::new();
        home.install(&registering(work));
        home.install(&sleeper("web"));
        let mut hub = Hub::start_in(home, &[]);
        let web = hub.number_after("web", "ready ");
        let half = hub.number_after("half", "half ");
        kill(half, "KILL");
        eventually(&format!("{what}: it is gone"), || (!is_alive(half)).then_some(()));
        eventually(&format!("{what}: another row"), || {
            hub.run(&["add", "new", "--no-start", "--", "/bin/true"]).status.success().then_some(())
        });
        // Where the list was torn its start may have been refused until this edit.
        hub.run(&["start", "half"]).succeeds();
        assert_ne!(hub.number_after("half", "ready "), half, "{what}");
        let expected = set(&["half", "new", "web"]);
        eventually(&format!("{what}: every row"), || (rows(&hub.home)? == expected).then_some(()));
        assert_eq!(hub.number_after("web", "ready "), web, "{what}: nobody else was restarted");
        assert!(is_alive(web), "{what}");
        let aside = fs::read_dir(hub.home.path()).expect("ours").flatten();
        let aside = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("services.json.corrupt-"));
        assert_eq!(aside.count() > 0, is_torn, "{what}: what was torn is kept: {}", hub.output());
        assert!(hub.end().success(), "{what}: {}", hub.output());
        hub.start_again();
        assert_eq!(rows(&hub.home), Some(expected), "{what}");
        hub.line_after("web", "ready ");
    }
}

#[test]
fn a_module_that_was_removed_is_not_remembered_as_stopped() {
    let mut hub = Hub::start(&[sleeper("web")]);
    let command =
        [&["add", "wiki", "--ready", "none", "--"][..], &["/bin/sh", "-c", "echo up; exec sleep 100000"]].concat();
    let is_remembered = |hub: &Hub| hub.home.read("hub/intent.json").contains("wiki");
    for (what, is_up) in [("with the hub up", true), ("with the hub down", false)] {
        hub.run(&command).succeeds();
        hub.run(&["stop", "wiki"]).succeeds();
        assert!(is_remembered(&hub), "{what}");
        if !is_up {
            assert!(hub.end().success(), "{what}: {}", hub.output());
        }
        hub.run(&["remove", "wiki"]).succeeds();
        eventually(&format!("{what}: the stop is forgotten"), || {
            // It looks at the list whenever somebody asks.
            let _looked = is_up.then(|| hub.api("GET", "/api/modules"));
            (!is_remembered(&hub)).then_some(())
        });
    }
    // Left by a hub that was killed in between; who registers a module wants it up.
    hub.home.write("hub/intent.json", "{\"stopped\":[\"wiki\"]}\n");
    let added = hub.run(&command).succeeds();
    assert!(added.stdout.contains("it starts with the hub"), "{added}");
    hub.start_again();
    hub.line_after("wiki", "up");
}

#[test]
fn c15_13_a_port_that_somebody_holds_on_any_address_is_not_handed_out() {
    let home = Home::new();
    let port_of = |name: &str| -> Option<u64> {
        let list: Value = serde_json::from_str(&home.read("services.json")).ok()?;
        list["services"].as_array()?.iter().find(|row| row["name"] == name)?["port"].as_u64()
    };
    let held: Vec<_> = ["0.0.0.0", "127.0.0.1", "::", "::1"]
        .into_iter()
        .filter_map(|address| {
            let port = free_port();
            Some((address, port, TcpListener::bind((address, port)).ok()?))
        })
        .collect();
    assert!(held.len() >= 2, "the addresses of this machine");
    for (address, port, _listener) in &held {
        let number = port.to_string();
        let refused = Finished::run(home.command(&["add", "wiki", "--port", &number, "--no-start", "--", "/bin/true"]));
        let refused = refused.fails_with(7);
        assert!(refused.stderr.contains(&number), "{address}: {refused}");
        assert_eq!(port_of("wiki"), None, "{address}");
        // What a manifest asks for is a wish: another is found.
        home.install(&sleeper("other").manifest("port", json!(port)));
        home.write("services.json", "{\"services\":[]}\n");
        let package = home.package("other");
        let directory = package.to_str().expect("UTF-8");
        Finished::run(home.command(&["install", directory, "--no-start"])).succeeds();
        let given = port_of("other").unwrap_or_else(|| panic!("{address}: {}", home.read("services.json")));
        assert_ne!(given, u64::from(*port), "{address}");
        let given = u16::try_from(given).expect("a port");
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, given)).is_ok(), "{address}: {given} is free");
    }
    for (number, code) in [("0", 2), ("65536", 2), ("-1", 2), ("65535", 0)] {
        let args = ["add", "last", "--port", number, "--no-start", "--", "/bin/true"];
        let done = Finished::run(home.command(&args));
        // 7: somebody else on this machine has the last one.
        assert!(done.code() == Some(code) || code == 0 && done.code() == Some(7), "{number}: {done}");
    }
}

/// Who says --replace has changed something, and be it in the manifest alone, which nobody has kept as it was.
#[test]
fn a_module_that_is_installed_in_place_of_itself_runs_as_its_manifest_says_now() {
    let hub = Hub::start(&[sleeper("wiki")]);
    let first = hub.number_after("wiki", "ready ");
    let package = hub.home.package("wiki");
    let install = |more: &[&str]| hub.run(&[&["install", package.to_str().expect("UTF-8")], more].concat()).succeeds();
    let again = install(&[]);
    assert!(again.stdout.contains("wiki unchanged") && again.stdout.contains(&format!("(pid {first})")), "{again}");
    let file = package.join(".parachute/module.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&file).expect("there")).expect("JSON");
    manifest["run"]["env"] = json!({"set": {"NEW": "1"}});
    fs::write(&file, manifest.to_string()).expect("ours");
    let replaced = install(&["--replace"]);
    assert!(replaced.stdout.contains("wiki replaced") && replaced.stdout.contains("wiki restarted"), "{replaced}");
    let second = hub.next_line_after("wiki", "ready ", &first.to_string());
    assert!(fs::read_to_string(format!("/proc/{second}/environ")).expect("it runs").contains("NEW=1"));
}
