//! A real browser in front of the hub: pages of modules with all that belongs to them, the page that is shown while a
//! module starts, and the hub's own.

use crate::support::{Finished, Home, Hub, Module, Spawned, deadline, eventually_within, module, testchild};
use crate::websockets::chat;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Longer than any test may take: a module that waits for its gate is starting all that time.
const PATIENCE_MS: u32 = 600_000;

/// A browser takes seconds of a processor before it asks for anything.
fn patience() -> Duration {
    deadline() * 5
}

/// Chromium without a screen, with a profile of its own.
fn chromium(profile: &Home, args: &[&str]) -> Command {
    assert!(Path::new("/usr/bin/chromium").exists(), "chromium is missing: apt-get install chromium");
    let dir = profile.path().join("profile");
    let mut command = Command::new("/usr/bin/chromium");
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", profile.path()).env("TMPDIR", profile.path());
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"]);
    command.args(["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    // What the page's console says goes to stderr.
    command.arg("--enable-logging=stderr").arg(format!("--user-data-dir={}", dir.display())).args(args);
    command
}

fn site(name: &str, args: &[&str]) -> Module {
    assert!(Path::new("/usr/bin/node").exists(), "node is missing: apt-get install nodejs");
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/children/site.js");
    let server = server.to_str().expect("the source directory is UTF-8");
    module(name, ["/usr/bin/node", server].iter().chain(args).map(|word| (*word).to_owned()).collect())
}

/// What the page of a module has found, once it has.
#[track_caller]
fn report(hub: &Hub, short: &str, browser: &mut Spawned) -> Value {
    let text = eventually_within(patience(), &format!("a report of the page of {short}"), || {
        assert!(browser.ended().is_none(), "the browser ended: {}", browser.output());
        hub.lines_after(short, "report ").pop()
    });
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("no report ({error}): {text}"))
}

#[test]
fn a_page_of_a_module_has_its_style_its_script_its_data_and_its_sockets() {
    const SOCKETS: u32 = 10;
    let hub = Hub::start(&[site("plain", &[]), site("strip", &[]).row("stripPrefix", json!(true)), chat()]);
    let profile = Home::new();
    for short in ["plain", "strip", "chat"] {
        hub.until_ready(short);
    }
    for short in ["plain", "strip"] {
        let url = format!("http://localhost:{}/{short}/?sockets={SOCKETS}&at=/chat/room", hub.port);
        let mut browser = Spawned::spawn(chromium(&profile, &[&url]));
        let found = report(&hub, short, &mut browser);
        let expected = json!({
            "path": format!("/{short}/"), "color": "rgb(1, 2, 3)", "data": {"from": "the module"},
            "echoes": SOCKETS, "arrived": "navigate",
        });
        assert_eq!(found, expected, "{}", browser.output());
    }
}

#[test]
fn the_waiting_page_becomes_the_page_of_the_module() {
    let home = Home::new();
    let gate = home.path().join("gate");
    let ready = json!({ "ready": { "timeoutMs": PATIENCE_MS } });
    home.install(&site("late", &[gate.to_str().expect("UTF-8")]).run(ready));
    let (hub, profile) = (Hub::start_in(home, &[]), Home::new());
    hub.number_after("late", "waiting ");

    let mut own_requests = 0;
    let mut requests = || {
        own_requests += 1;
        let text = hub.get("/metrics").text();
        let count = text.lines().find_map(|line| line.strip_prefix("parachute_edge_requests_total "));
        count.and_then(|count| count.trim().parse::<u64>().ok()).expect("a number of requests") - own_requests
    };
    let before = requests();
    let url = format!("http://127.0.0.1:{}/late/", hub.port);
    let mut browser = Spawned::spawn(chromium(&profile, &[&url]));
    eventually_within(patience(), "a request of the browser", || {
        assert!(browser.ended().is_none(), "the browser ended: {}", browser.output());
        (requests() > before).then_some(())
    });
    assert!(hub.lines_after("late", "ready ").is_empty(), "nobody but the hub has answered it");
    fs::write(&gate, "").expect("the home is ours");
    let found = report(&hub, "late", &mut browser);
    assert_eq!((&found["color"], &found["arrived"]), (&json!("rgb(1, 2, 3)"), &json!("reload")), "{found}");
}

#[test]
fn the_pages_of_the_hub_are_shown_as_they_are_meant() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])).manifest("displayName", json!("<b>Web & more</b>")));
    let (hub, profile) = (Hub::start_in(home, &[]), Home::new());
    hub.until_ready("web");
    let dump = |path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", hub.port);
        let done = Finished::run_within(patience(), chromium(&profile, &["--dump-dom", &url])).succeeds();
        // A policy that forbids its own page something is said on the console.
        assert!(!done.stderr.contains("Content Security Policy"), "{done}");
        done.stdout
    };
    let page = dump("/");
    assert!(page.contains("<td><a href=\"/web\">&lt;b&gt;Web &amp; more&lt;/b&gt;</a></td>"), "{page}");
    assert!(page.contains("<td>running</td>"), "{page}");
    assert!(dump("/no/such/thing").contains("<h1>Nothing here</h1>"));

    hub.run(&["stop", "web"]).succeeds();
    let down = dump("/web/");
    assert!(down.contains("<h1>Module unreachable</h1>") && down.contains("<strong>web</strong>"), "{down}");
}

#[test]
fn a_browser_that_is_let_in_comes_to_the_page_that_it_was_kept_from() {
    let page = json!({ "app": { "displayName": "A page", "path": "/web/app", "audience": "operator" } });
    let (hub, profile) = (Hub::start(&[module("web", testchild(&["http"])).row("uis", page)]), Home::new());
    hub.until_ready("web");
    let dump = |url: &str| Finished::run_within(patience(), chromium(&profile, &["--dump-dom", url])).succeeds().stdout;
    let kept_from = dump(&format!("http://127.0.0.1:{}/web/app/x", hub.port));
    assert!(kept_from.contains("<h1>Sign in</h1>"), "{kept_from}");
    let command =
        kept_from.split("<code>parachute ").nth(1).and_then(|rest| rest.split('<').next()).expect("a command");
    let args: Vec<&str> = command.split(' ').collect();
    assert_eq!(args, ["open", "/web/app/x"]);
    let there = dump(hub.run(&args).succeeds().stdout.trim_end());
    assert!(there.contains(" GET /web/app/x"), "{there}");
}
