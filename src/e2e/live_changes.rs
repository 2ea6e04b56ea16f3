//! What changes in the files that the routes come from is live at once.

use crate::origin::{ask, web};
use crate::support::{Connection, Home, Hub, Module, eventually, module};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn a_change_of_the_rows_is_live_at_once_and_ends_no_stream() {
    let (row, other) = (web("web"), web("other"));
    let hub = Hub::start(std::slice::from_ref(&row));
    hub.until_ready("web");
    let mut stream = Connection::open(hub.port);
    stream.ask("GET", "/web/sse", "");
    assert_eq!(stream.head().expect("a head").status, 200);
    let mut next = || String::from_utf8(stream.chunk().expect("the stream goes on").expect("an event")).expect("text");
    assert_eq!(next(), "data: 1\n\n");

    assert_eq!(ask(&hub, "/again/a", &[]).status, 404);
    hub.home.install(&row.clone().row("paths", json!(["/web", "/again"])));
    assert_eq!(ask(&hub, "/again/a", &[]).status, 200);
    assert_eq!(ask(&hub, "/web/tick", &[]).status, 200);
    assert_eq!(next(), "data: 2\n\n");

    hub.home.install(&row.clone().row("stripPrefix", json!(true)));
    let stripped = ask(&hub, "/web/a", &[]).text();
    assert!(stripped.ends_with(" GET /a\n"), "{stripped}");
    assert_eq!(ask(&hub, "/again/a", &[]).status, 404);

    // A row that nobody has started is a mount all the same: it is known, and down.
    let without = hub.home.read("services.json");
    hub.home.install(&other);
    assert_ne!(ask(&hub, "/other/a", &[]).status, 404);
    hub.home.write("services.json", &without);
    assert_eq!(ask(&hub, "/other/a", &[]).status, 404);
    assert_eq!(ask(&hub, "/web/tick", &[]).status, 200);
    assert_eq!(next(), "data: 3\n\n");

    // What cannot be read changes nothing.
    hub.home.write("services.json", "{\"services\": [");
    assert_eq!(ask(&hub, "/web/a", &[]).status, 200);
}

#[test]
fn a_change_of_module_json_alone_is_live_at_once() {
    let home = Home::new();
    let row = web("web");
    home.install(&row);
    home.install(&web("other"));
    let manifest = home.package("web").join(".parachute/module.json");
    let plain = fs::read_to_string(&manifest).expect("it is there");
    let stripped = plain.replacen('{', "{\"stripPrefix\": true, ", 1);
    let hub = Hub::start_in(home, &[]);
    hub.until_ready("web");
    let answer = || ask(&hub, "/web/a", &[]).text();
    let sees = |target: &str| {
        let answer = answer();
        assert!(answer.ends_with(&format!(" GET {target}\n")), "{answer} instead of {target}");
    };
    // Once everybody has closed it who has it open, as a child may that another test is just forking.
    let comes_to_see = |target: &str| {
        eventually(target, || answer().ends_with(&format!(" GET {target}\n")).then_some(()));
    };
    sees("/web/a");
    fs::write(&manifest, &stripped).expect("written in place");
    comes_to_see("/a");
    let beside = manifest.with_extension("new");
    fs::write(&beside, &plain).expect("written");
    fs::rename(&beside, &manifest).expect("replaced");
    sees("/web/a");

    // A package that is replaced as a whole.
    let package = hub.home.package("web");
    fs::rename(&package, package.with_extension("old")).expect("moved away");
    fs::create_dir_all(package.join(".parachute")).expect("made");
    fs::write(&manifest, &stripped).expect("written");
    hub.run(&["restart", "web"]).succeeds();
    sees("/a");
    fs::write(&manifest, &plain).expect("written");
    comes_to_see("/web/a");
    fs::remove_dir_all(&package).expect("removed");
    sees("/web/a");
    fs::create_dir_all(package.join(".parachute")).expect("made");
    fs::write(&manifest, &stripped).expect("written");
    comes_to_see("/a");
}

#[test]
fn a_list_of_modules_that_is_a_link_is_live_as_well() {
    let home = Home::new();
    home.install(&web("web"));
    let rows = home.read("services.json");
    home.install(&web("other"));
    let both = home.read("services.json");
    home.write("elsewhere/a/list", &rows);
    home.write("elsewhere/b/list", &rows);
    let list = home.path().join("services.json");
    fs::remove_file(&list).expect("removed");
    symlink("elsewhere/a/list", &list).expect("linked");
    let hub = Hub::start_in(home, &[]);
    hub.until_ready("web");
    let has_other = || ask(&hub, "/other/a", &[]).status != 404;
    assert!(!has_other());
    hub.home.write("elsewhere/a/list", &both);
    assert!(has_other(), "written where the link leads");
    symlink("elsewhere/b/list", list.with_extension("new")).expect("linked");
    fs::rename(list.with_extension("new"), &list).expect("renamed");
    assert!(!has_other(), "another link");
    hub.home.write("elsewhere/b/list", &both);
    assert!(has_other(), "written where that leads");
}

/// As editors save, and scripts that move a file away before they write it anew.
#[test]
fn a_list_that_is_away_for_a_moment_stops_nobody_and_forgets_no_stop() {
    let hub = Hub::start(&[web("web"), web("held")]);
    let child = hub.until_ready("web");
    hub.until_ready("held");
    hub.run(&["stop", "held"]).succeeds();
    let (list, aside) = (hub.home.path().join("services.json"), hub.home.path().join("services.json~"));
    fs::rename(&list, &aside).expect("ours");
    hub.says("services.json is not there any more");
    assert_eq!(ask(&hub, "/web/a", &[]).status, 200);
    hub.run(&["status"]);
    hub.run(&["restart", "web"]).succeeds();
    let begun_anew = hub.run(&["add", "new", "--", "true"]).fails_with(78);
    assert!(begun_anew.stderr.contains("services.json.bak has its rows"), "{begun_anew}");
    // vim makes a new file, others put back the old one.
    fs::copy(&aside, &list).expect("ours");
    hub.run(&["restart", "web"]).succeeds();
    assert!(!hub.output().contains("was removed from services.json"), "{}", hub.output());
    assert_ne!(hub.until_ready("web"), child, "by that order alone");
    assert!(hub.home.read("hub/intent.json").contains("held"), "it stays stopped");
    // One that is there and has no modules is meant.
    hub.home.write("services.json", "{\"services\": []}\n");
    hub.says("web: its row was removed from services.json, stopping it");
    eventually("web is gone", || (ask(&hub, "/web/a", &[]).status == 404).then_some(()));
}

/// Who finds no list, but the backup of one, does not take that for a home without modules.
#[test]
fn a_list_that_was_away_before_anybody_read_it_is_missed_by_all() {
    let mut hub = Hub::start(&[web("web")]);
    hub.until_ready("web");
    let backup = hub.home.path().join("services.json.bak");
    eventually("a backup", || backup.exists().then_some(()));
    assert!(hub.end().success());
    let (list, aside) = (hub.home.path().join("services.json"), hub.home.path().join("services.json~"));
    fs::rename(&list, &aside).expect("ours");
    let said = "is not there, and ";
    let misses = |hub: &Hub, args: &[&str], code: i32| {
        let finished = hub.run(args).fails_with(code);
        assert!(format!("{}{}", finished.stdout, finished.stderr).contains(said), "{finished}");
    };
    for (args, code) in [(&["status"][..], 1), (&["start", "web"], 78), (&["check"], 78)] {
        misses(&hub, args, code);
    }
    hub.start_again();
    hub.says("no module is started: ");
    for (args, code) in [(&["status"][..], 1), (&["status", "--check"], 6), (&["start", "web"], 78)] {
        misses(&hub, args, code);
    }
    assert_eq!(hub.get("/api/ready").json()["ready"], false);
    let told = hub.api("GET", "/api/modules").json();
    assert!(told["problem"].as_str().is_some_and(|problem| problem.contains(said)), "{told:#}");
    fs::rename(&aside, &list).expect("ours");
    hub.run(&["start", "web"]).succeeds();
    hub.run(&["status", "--check"]).succeeds();
    assert_eq!(hub.get("/api/ready").json()["ready"], true);
}

const MAY_END: &str = "may-end";

/// A module that on TERM waits until it may end, by a file that it takes away.
fn held(home: &Home) -> Module {
    const SCRIPT: &str = r#"
        trap 'until rm "$1"; do sleep 0.05; done 2>/dev/null; exit' TERM
        echo "ready $$"
        while :; do sleep 3600 & wait; done
    "#;
    let file = home.path().join(MAY_END);
    let argv = ["/bin/sh", "-c", SCRIPT, "sh", file.to_str().expect("a temporary directory is UTF-8")];
    module("slow", argv.map(str::to_owned).to_vec()).run(json!({ "ready": "none", "stopTimeoutMs": 600_000 }))
}

/// A row that goes and comes while its module takes its time to end.
#[test]
fn a_row_that_comes_back_brings_its_module_back() {
    let home = Home::new();
    home.install(&held(&home));
    let hub = Hub::start_in(home, &[]);
    let first = hub.number_after("slow", "ready ");
    let list = hub.home.read("services.json");
    hub.home.write("services.json", "{\"services\": []}\n");
    hub.says("slow: its row was removed from services.json, stopping it");
    hub.home.write("services.json", &list);
    hub.home.write(MAY_END, "");
    hub.says("slow: its row is there again, starting it");
    eventually("another child", || (hub.number_after("slow", "ready ") != first).then_some(()));
    hub.run(&["status", "--check"]).succeeds();
    hub.home.write(MAY_END, "");
}

/// It is on its way down because of the row, and now because of the operator as well.
#[test]
fn a_stop_holds_although_the_row_comes_back() {
    let home = Home::new();
    home.install(&held(&home));
    let mut hub = Hub::start_in(home, &[]);
    hub.line_after("slow", "ready ");
    let list = hub.home.read("services.json");
    hub.home.write("services.json", "{\"services\": []}\n");
    hub.says("slow: its row was removed from services.json, stopping it");
    hub.home.write("services.json", &list);
    hub.run(&["stop", "slow", "--no-wait"]).succeeds();
    hub.home.write(MAY_END, "");
    hub.run(&["stop", "slow"]).succeeds();
    assert_eq!(hub.end().code(), Some(0));
    assert!(!hub.output().contains("its row is there again"), "{}", hub.output());
    assert!(hub.home.read("hub/intent.json").contains("slow"), "it stays stopped");
}
