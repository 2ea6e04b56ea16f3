//! The hub's origin as a setting: who follows a change, and when.

use crate::support::http::{self, Response};
use crate::support::{Home, Hub, eventually, module, testchild, tokens};
use serde_json::{Value, json};

const NEW: &str = "https://new.example";

#[track_caller]
fn put(hub: &Hub, body: &str) -> Response {
    let bearer = format!("Bearer {}", hub.token());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    http::request(hub.port, "PUT", "/api/settings/hub-origin", &headers, body.as_bytes()).expect("an answer")
}

fn shown(hub: &Hub) -> Value {
    let mut shown = hub.run(&["hub", "show-origin", "--json"]).succeeds().json()["data"].clone();
    let told = shown.as_object_mut().expect("an object");
    told.retain(|key, _| matches!(key.as_str(), "hub_origin" | "resolved_issuer" | "source"));
    shown
}

/// A public caller's view.
fn from_elsewhere(hub: &Hub, host: &str) -> u16 {
    let head =
        format!("GET /api/hub HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n\r\n");
    let answer = http::exchange(hub.port, head.as_bytes()).expect("an answer");
    Response::parse(&answer).expect("an answer").status
}

fn environment(hub: &Hub, pid: u32, name: &str) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).expect("it runs");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let start = format!("{name}=");
    assert!(text.contains("PARACHUTE_HOME="), "the whole environment of {pid} under {}", hub.port);
    text.split('\0').find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
}

fn own(hub: &Hub) -> String {
    format!("http://127.0.0.1:{}", hub.port)
}

#[test]
fn a_new_origin_holds_at_once_for_tokens_and_callers_and_for_modules_at_their_next_start() {
    let home = Home::new();
    home.write("vault/.env", "A=1\nPARACHUTE_HUB_ORIGIN=http://localhost:1939\n");
    home.install(&module("vault", testchild(&["http"])).row("paths", json!(["/vault/default"])));
    home.install(&module("web", testchild(&["http"])));
    let mut hub = Hub::start_in(home, &[]);
    let (vault, web) = (hub.until_ready("vault"), hub.until_ready("web"));
    assert_eq!(shown(&hub), json!({ "hub_origin": null, "resolved_issuer": own(&hub), "source": "request" }));
    assert_eq!(environment(&hub, web, "PARACHUTE_HUB_ORIGIN"), Some(own(&hub)));
    assert_eq!(from_elsewhere(&hub, "new.example"), 421);
    let (before, minted) = (hub.token(), tokens::mint(&hub, "web:read"));

    let set = hub.run(&["hub", "set-origin", "https://New.example:443", "--json"]).succeeds().json()["data"].clone();
    assert_eq!((&set["hub_origin"], &set["source"], &set["changed"]), (&json!(NEW), &json!("settings"), &json!(true)));
    assert_eq!(from_elsewhere(&hub, "new.example"), 401, "its host is ours from the next request on");
    assert_eq!(
        hub.api("GET", "/.well-known/parachute.json").json()["services"][0]["url"]
            .as_str()
            .map(|url| url.starts_with(NEW)),
        Some(true)
    );
    assert_ne!(hub.token(), before, "the operator's token is issued anew");
    let issued = hub.run(&["auth", "show-token", "--json"]).succeeds().json();
    assert_eq!(issued["data"]["claims"]["iss"], NEW, "{issued}");
    let key = tokens::module_key(&hub, "web");
    assert_eq!(tokens::introspect(&hub, &key, &minted).json()["active"], true, "old tokens stay good");
    assert_eq!(hub.home.read("vault/.env"), format!("A=1\nPARACHUTE_HUB_ORIGIN={NEW}\n"));

    // The vault is restarted, because it refuses tokens under another origin than its own; whoever else is, is told.
    assert!(set["notes"].to_string().contains("vault is being restarted"), "{set}");
    let vault = hub.until_replaced("vault", vault);
    assert_eq!(environment(&hub, vault, "PARACHUTE_HUB_ORIGIN").as_deref(), Some(NEW));
    assert_eq!(hub.until_ready("web"), web);
    hub.run(&["restart", "web"]).succeeds();
    let web = hub.until_ready("web");
    assert_eq!(environment(&hub, web, "PARACHUTE_HUB_ORIGIN").as_deref(), Some(NEW));
    let set = environment(&hub, web, "PARACHUTE_HUB_ORIGINS").expect("the set");
    assert!(set.starts_with(NEW) && set.split(',').any(|origin| origin == own(&hub)), "{set}");

    // Again the same: nothing happens.
    let token = hub.token();
    let again = hub.run(&["hub", "set-origin", NEW, "--json"]).succeeds().json()["data"].clone();
    assert_eq!((&again["changed"], hub.token()), (&json!(false), token.clone()));
    assert_eq!(hub.until_ready("vault"), vault);

    // The next hub has it, too, also after a kill.
    hub.kill();
    hub.start_again();
    assert_eq!(shown(&hub), json!({ "hub_origin": NEW, "resolved_issuer": NEW, "source": "settings" }));
    assert_eq!(hub.token(), token);
    hub.run(&["hub", "set-origin", "--unset"]).succeeds();
    assert_eq!(shown(&hub), json!({ "hub_origin": null, "resolved_issuer": own(&hub), "source": "request" }));
    assert_eq!(hub.home.read("vault/.env"), "A=1\n");
    assert_eq!(hub.token(), token, "never under a name of this machine");
    assert_eq!(from_elsewhere(&hub, "new.example"), 421);
    hub.run(&["status"]).succeeds();
}

#[test]
fn a_hub_that_is_down_finds_the_origin_that_was_set_meanwhile() {
    let mut hub = Hub::start(&[module("web", testchild(&["http"]))]);
    let before = hub.token();
    hub.end();
    let set = hub.run(&["hub", "set-origin", NEW]).succeeds();
    assert!(set.stdout.contains(NEW) || set.stderr.contains(NEW), "{set}");
    assert_ne!(hub.token(), before);
    assert_eq!(shown(&hub)["resolved_issuer"], NEW);
    hub.start_again();
    assert_eq!(shown(&hub)["source"], "settings");
    assert_eq!(environment(&hub, hub.until_ready("web"), "PARACHUTE_HUB_ORIGIN").as_deref(), Some(NEW));
}

#[test]
fn what_is_no_origin_changes_nothing() {
    let hub = Hub::start(&[]);
    for bad in [
        "new.example",
        "https://new.example/",
        "https://new.example/x",
        "ftp://new.example",
        "https://u:p@new.example",
        "https://",
        "https://a b",
    ] {
        hub.run(&["hub", "set-origin", bad]).fails_with(2);
        let answer = put(&hub, &json!({ "hub_origin": bad }).to_string());
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_hub_origin")), "{bad}");
    }
    for bad in ["", "{}", "[]", "null", "{\"hub_origin\": 1}", "{\"hub_origin\": null, \"x\": 1}"] {
        let answer = put(&hub, bad);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{bad}");
    }
    let narrow = http::request(hub.port, "PUT", "/api/settings/hub-origin", &[], b"{\"hub_origin\": null}");
    assert_eq!(narrow.expect("an answer").status, 401);
    assert_eq!(shown(&hub)["hub_origin"], Value::Null);
    assert_eq!(put(&hub, "{\"hub_origin\": \"\"}").status, 200);
}

/// What somebody writes down who exposes the hub under `origin`.
fn state(origin: &str) -> String {
    json!({
        "version": 1, "layer": "public", "mode": "path", "canonicalFqdn": "box.tail.example", "port": 443,
        "funnel": true, "hubOrigin": origin, "entries": [],
    })
    .to_string()
}

/// Commands and the hub must not differ about the issuer, whoever of them looks first.
#[test]
fn a_hub_that_is_exposed_while_it_runs_has_that_origin_at_once() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    let hub = Hub::start_in(home, &[]);
    let before = hub.token();
    for (origin, then) in [("https://one.example", "one.example"), ("https://two.example", "two.example")] {
        hub.home.write("expose-state.json", &state(origin));
        hub.run(&["auth", "rotate-operator"]).succeeds();
        assert_eq!(hub.run(&["auth", "show-token", "--json"]).succeeds().json()["data"]["claims"]["iss"], origin);
        hub.run(&["start", "web"]).succeeds();
        assert_eq!(shown(&hub), json!({ "hub_origin": null, "resolved_issuer": origin, "source": "expose" }));
        eventually("its host being ours", || (from_elsewhere(&hub, then) == 401).then_some(()));
        let minted = tokens::mint(&hub, "web:read");
        hub.run(&["restart", "web"]).succeeds();
        let told = environment(&hub, hub.until_ready("web"), "PARACHUTE_HUB_ORIGIN");
        assert_eq!(told.as_deref(), Some(origin));
        let key = tokens::module_key(&hub, "web");
        assert_eq!(tokens::introspect(&hub, &key, &minted).json()["iss"], origin);
    }
    // Nobody looks: the operator's token follows all the same.
    assert_ne!(hub.token(), before);
    hub.home.write("expose-state.json", &state("https://three.example"));
    eventually("the operator's token under it", || {
        let shown = hub.run(&["auth", "show-token", "--json"]).succeeds().json();
        (shown["data"]["claims"]["iss"] == "https://three.example").then_some(())
    });
    // What was issued under it stays good when it is gone.
    std::fs::remove_file(hub.home.path().join("expose-state.json")).expect("it is ours");
    eventually("its host being nobody's", || (from_elsewhere(&hub, "three.example") == 421).then_some(()));
    hub.run(&["status"]).succeeds();
    hub.run(&["restart", "web"]).succeeds();
    assert_eq!(shown(&hub)["source"], "request");
}

/// files §9: whoever exposed the hub wrote down how.
#[test]
fn a_hub_has_the_origin_that_it_is_exposed_under_unless_another_was_given() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    home.write("expose-state.json", &state("https://exposed.example"));
    let mut hub = Hub::start_in(home, &[]);
    let pid = hub.number_after("web", "ready ");
    assert_eq!(environment(&hub, pid, "PARACHUTE_HUB_ORIGIN").as_deref(), Some("https://exposed.example"));
    let told = shown(&hub);
    assert_eq!((&told["resolved_issuer"], &told["source"]), (&json!("https://exposed.example"), &json!("expose")));
    assert_eq!(from_elsewhere(&hub, "exposed.example"), 401, "its host is ours");
    hub.run(&["hub", "set-origin", "https://given.example"]).succeeds();
    assert_eq!(shown(&hub)["source"], "settings");
    hub.run(&["hub", "set-origin", "--unset"]).succeeds();
    assert_eq!(shown(&hub)["source"], "expose");
    hub.end();
    // Tokens that were issued under it stay good when it is gone.
    hub.home.write("expose-state.json", "{\"version\":1}");
    hub.start_again();
    assert_eq!(shown(&hub)["source"], "request");
    hub.says("expose-state.json cannot be used: field \"layer\": must be tailnet or public");
    let told = hub.run(&["check"]).fails_with(78);
    assert!(told.stdout.contains("expose-state.json: cannot be used"), "{told}");
    assert_eq!(hub.home.read("expose-state.json"), "{\"version\":1}");
}
