//! `/.well-known/*`, and the copy of the discovery document in the home.

use crate::support::http::{self, Response};
use crate::support::{Home, Hub, module, testchild};
use serde_json::{Value, json};

const DOCUMENT: &str = "/.well-known/parachute.json";
/// A proxy on this machine passes on what somebody elsewhere asked.
const FROM_ELSEWHERE: (&str, &str) = ("X-Forwarded-For", "203.0.113.7");

#[track_caller]
fn ask(hub: &Hub, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    http::request(hub.port, method, path, headers, b"").unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

fn names(document: &Value) -> Vec<&str> {
    let services = document["services"].as_array().expect("a list").iter();
    services.map(|service| service["name"].as_str().expect("a name")).collect()
}

#[test]
fn the_document_says_where_modules_are_and_hides_what_is_for_this_machine() {
    let hub = Hub::start(&[
        module("web", testchild(&["http"])).manifest("uiUrl", json!("ui/")).manifest("displayName", json!("The Web")),
        module("private", testchild(&["http"])).row("publicExposure", json!("loopback")),
    ]);
    let origin = format!("http://127.0.0.1:{}", hub.port);
    let answer = hub.get(DOCUMENT);
    assert_eq!(answer.status, 200, "{answer:?}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, OPTIONS"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let document = answer.json();
    assert_eq!(names(&document), ["web", "private"], "{document}");
    let web = json!({
        "name": "web", "url": format!("{origin}/web"), "path": "/web", "version": "1.0.0",
        "infoUrl": format!("{origin}/web/.parachute/info"), "displayName": "The Web", "uiUrl": format!("{origin}/web/ui/")
    });
    assert_eq!(document["services"][0], web, "{document}");
    assert_eq!(document["web"], json!([{"url": format!("{origin}/web"), "version": "1.0.0"}]), "{document}");

    for headers in [&[FROM_ELSEWHERE][..], &[FROM_ELSEWHERE, ("X-Parachute-Layer", "loopback")], &[("CF-Ray", "1")]] {
        let answer = ask(&hub, "GET", DOCUMENT, headers);
        assert_eq!((answer.status, names(&answer.json())), (200, vec!["web"]), "{headers:?}");
        assert!(!answer.text().contains("private"), "{headers:?}: {answer:?}");
    }
    let secure = ask(&hub, "GET", DOCUMENT, &[FROM_ELSEWHERE, ("X-Forwarded-Proto", "https")]).json();
    assert_eq!(secure["services"][0]["url"], format!("https://127.0.0.1:{}/web", hub.port), "{secure}");

    let preflight = ask(&hub, "OPTIONS", DOCUMENT, &[("Origin", "https://anybody.example")]);
    assert_eq!((preflight.status, preflight.text().as_str()), (204, ""), "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    let keys = hub.get("/.well-known/jwks.json");
    assert_eq!((keys.json(), keys.header("access-control-allow-origin")), (json!({"keys": []}), Some("*")));
    for path in ["/api/modules", "/health"] {
        let answer = ask(&hub, "GET", path, &[("Origin", "https://anybody.example")]);
        let cors = answer.headers.iter().any(|(name, _)| name.starts_with("access-control-"));
        assert!(!cors, "{path} is for nobody else's pages: {answer:?}");
    }
}

/// What the document and `status` say is an address that answers, whatever letters the path of the row has.
#[test]
fn a_path_that_no_address_can_hold_is_told_as_one_that_leads_there() {
    for (path, spelled) in [("/a b", "/a%20b"), ("/ä", "/%C3%A4"), ("/%41", "/%41")] {
        let hub = Hub::start(&[module("web", testchild(&["http"])).row("paths", json!([path]))]);
        hub.until_ready("web");
        let url = hub.get(DOCUMENT).json()["services"][0]["url"].clone();
        assert_eq!(url, json!(format!("http://127.0.0.1:{}{spelled}", hub.port)));
        let answer = hub.get(&format!("{spelled}/x"));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let status = hub.run(&["status", "--json"]).succeeds().json();
        let said = status["data"]["modules"][0]["url"].as_str().expect("an address").to_owned();
        assert!(said.ends_with(spelled), "{path}: {said}");
    }
}

#[test]
fn a_configured_origin_is_told_whatever_host_was_asked() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    let hub = Hub::start_in(home, &[("PARACHUTE_HUB_ORIGIN", "https://Hub.example/")]);
    for headers in [&[][..], &[FROM_ELSEWHERE], &[("X-Forwarded-Host", "evil.example")]] {
        let document = ask(&hub, "GET", DOCUMENT, headers).json();
        assert_eq!(document["services"][0]["url"], "https://hub.example/web", "{headers:?}");
    }
}

#[test]
fn bad_neighbours_leave_the_document_whole_and_a_change_is_live_at_once() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    home.install(&module("broken", testchild(&["http"])).manifest("uiUrl", json!("javascript:alert(1)")));
    home.install(&module("vaults", testchild(&["http"])));
    let mut file: Value = serde_json::from_str(&home.read("services.json")).expect("JSON");
    file["services"].as_array_mut().expect("a list").push(json!({"name": "bad", "port": "x"}));
    home.write("services.json", &file.to_string());
    let hub = Hub::start_in(home, &[]);
    let document = hub.get(DOCUMENT).json();
    assert_eq!(names(&document), ["web", "broken", "vaults"], "{document}");
    assert_eq!(document["vaults"], json!([]), "{document}");
    assert!(!document.to_string().contains("javascript"), "{document}");

    hub.home.install(&module("late", testchild(&["http"])));
    assert!(names(&hub.get(DOCUMENT).json()).contains(&"late"), "the next request knows it");
    hub.home.write("services.json", "{\"services\": [");
    let answer = hub.get(DOCUMENT);
    assert_eq!((answer.status, answer.json()), (200, json!({"vaults": [], "services": []})));
}

#[test]
fn the_home_holds_a_copy_that_follows_add_and_remove() {
    let hub = Hub::start(&[]);
    let copy = || -> Value { serde_json::from_str(&hub.home.read("well-known/parachute.json")).expect("JSON") };
    let child = testchild(&["http"]);
    let args: Vec<&str> = ["add", "web", "--"].into_iter().chain(child.iter().map(String::as_str)).collect();
    hub.run(&args).succeeds();
    assert_eq!(copy(), hub.get(DOCUMENT).json());
    assert_eq!(names(&copy()), ["web"]);
    for name in ["vaults", "services"] {
        let refused = hub.run(&["add", name, "--", "true"]);
        assert!(refused.stderr.contains("discovery document"), "{refused}");
    }
    hub.run(&["remove", "web"]).succeeds();
    assert_eq!(copy(), json!({"vaults": [], "services": []}));
}
