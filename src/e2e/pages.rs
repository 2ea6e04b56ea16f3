//! The pages of the hub, as browsers and strangers see them, and what a foreign page cannot do.

use crate::support::http::{self, Response};
use crate::support::{Home, Hub, module, testchild};
use serde_json::json;

const HTML: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[track_caller]
fn ask(hub: &Hub, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    http::request(hub.port, method, path, headers, b"").unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// What a proxy on this machine passes on for somebody elsewhere who asked `hub.example`.
#[track_caller]
fn ask_from_elsewhere(hub: &Hub, path: &str) -> Response {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: hub.example\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n\
         X-Parachute-Layer: loopback\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    let bytes = http::exchange(hub.port, head.as_bytes()).unwrap_or_else(|error| panic!("{path}: {error}"));
    Response::parse(&bytes).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_start_page_shows_modules_here_and_nothing_of_them_elsewhere() {
    let home = Home::new();
    let hostile = "<script>alert(1)</script>\" onclick=\"x";
    home.install(&module("web", testchild(&["http"])).manifest("displayName", json!(hostile)));
    home.install(&module("away", testchild(&["http"])).manifest("uiUrl", json!("https://elsewhere.example/ui")));
    let hub = Hub::start_in(home, &[("PARACHUTE_HUB_ORIGIN", "https://hub.example")]);
    // Of both: the page has the state of each.
    for name in ["web", "away"] {
        hub.until_ready(name);
    }
    assert!(hub.get("/").text().contains("<td>running</td>"), "{}", hub.get("/").text());
    for path in ["/", "/hub.html"] {
        let page = ask(&hub, "GET", path, &[HTML]);
        let text = page.text();
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
        assert!(
            text.contains("<a href=\"/web\">&lt;script&gt;alert(1)&lt;/script&gt;&quot; onclick=&quot;x</a>"),
            "{text}"
        );
        assert!(text.contains("<a href=\"https://elsewhere.example/ui\">away</a>"), "{text}");
        assert!(text.contains("href=\"/.well-known/parachute.json\""), "{text}");
        assert!(!text.contains("<script"), "{text}");
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
        ] {
            assert!(page.header(name).is_some_and(|value| value.contains(part)), "{path}, {name}: {page:?}");
        }
        let length = page.header("content-length").map(str::to_owned);
        let head = ask(&hub, "HEAD", path, &[HTML]);
        assert_eq!((head.status, head.header("content-length").map(str::to_owned)), (200, length), "{path}: {head:?}");
        assert!(head.body.is_empty(), "{path}: {head:?}");
        let posted = ask(&hub, "POST", path, &[]);
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")), "{path}: {posted:?}");

        let page = ask_from_elsewhere(&hub, path);
        let text = page.text();
        assert_eq!(page.status, 200, "{page:?}");
        assert!(text.contains("Sign in"), "{text}");
        for word in ["web", "away", "elsewhere", "script", env!("CARGO_PKG_VERSION")] {
            assert!(!text.contains(word), "{path} tells strangers of {word}: {text}");
        }
    }
}

#[test]
fn what_is_not_there_is_a_page_for_browsers_and_json_for_programs() {
    let hub = Hub::start(&[]);
    let page = ask(&hub, "GET", "/no/<such>", &[HTML]);
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")), "{page:?}");
    assert!(!page.text().contains("<such>"), "{page:?}");
    for headers in [&[][..], &[("Accept", "application/json")], &[("Accept", "*/*")]] {
        let answer = ask(&hub, "GET", "/no/such", headers);
        assert_eq!((answer.status, &answer.json()["error"]), (404, &json!("not_found")), "{headers:?}");
    }
    let moved = ask(&hub, "GET", "/hub?x=1", &[HTML]);
    assert_eq!((moved.status, moved.header("location")), (301, Some("/?x=1")), "{moved:?}");
    assert_eq!(ask(&hub, "GET", "/notes/x", &[]).status, 404, "there is no surface to lead to");
}

#[test]
fn a_foreign_page_cannot_stop_a_module() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let path = "/api/modules/web/stop";
    let own = format!("http://localhost:{}", hub.port);
    for (headers, status, code) in [
        (&[("Origin", "https://evil.example")][..], 403, "csrf_origin_mismatch"),
        (&[("Origin", "null")], 403, "csrf_origin_mismatch"),
        (&[("Sec-Fetch-Site", "cross-site")], 403, "csrf_origin_mismatch"),
        (&[("Origin", own.as_str())], 401, "unauthenticated"),
    ] {
        let answer = ask(&hub, "POST", path, headers);
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(code)), "{headers:?}");
    }
    assert_eq!(hub.api("GET", "/api/modules/web").json()["supervisor_status"], "running");
    assert_eq!(hub.api("POST", path).status, 200);
}
