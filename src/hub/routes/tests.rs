use super::*;
use crate::hub::request::Body;
use crate::ops::testing::Fixture;
use crate::token::proof::{BootSecret, Challenge};
use serde_json::{Value, json};
use std::time::Duration;

mod minting;
mod refusals;

fn rows() -> Value {
    json!([
        {"name": "parachute-vault", "port": 1940, "paths": ["/vault/default"], "health": "/health", "version": "0.5.1"},
        {"name": "tool", "port": 4001, "paths": ["/tool"], "health": "/health", "version": ""},
        {"name": "bad", "port": "4002", "paths": [], "health": "/health", "version": ""}
    ])
}

fn request(method: &str, target: &str, token: Option<&str>) -> Req {
    let header = token.map(|token| format!("Bearer {token}"));
    let headers = header.iter().map(|value| ("Authorization", value.as_str())).chain([LOCAL, HOST]);
    Req::from_head(method, target, headers).expect("a good target")
}

/// The whole answer; what would run on a thread of its own runs here.
fn ask(fixture: &Fixture, method: &str, target: &str, token: Option<&str>) -> (Reply, Value) {
    let reply = match answer(&fixture.hub, request(method, target, token)) {
        Outcome::Done(reply) => reply,
        Outcome::Later(work) => work(&crate::hub::waiters::Waiting::for_test()),
        Outcome::Stream(_) => panic!("{target} is a stream"),
    };
    let body = serde_json::from_slice(&reply.body).expect("every answer is JSON");
    (reply, body)
}

#[test]
fn every_route_that_is_not_open_wants_a_token_and_checks_the_method_first() {
    let fixture = Fixture::new(&rows());
    let mut seen = std::collections::HashSet::new();
    for Route(accepts, pattern, access, _) in ROUTES {
        assert!(seen.insert((*pattern, format!("{accepts:?}"))), "{pattern} is there once");
        let path = pattern.replace("{short}", "vault");
        if is_no_json(&path) {
            continue;
        }
        let method = match accepts {
            Post => "POST",
            Put => "PUT",
            Any | Get | Public => "GET",
        };
        let tampered = format!("{}x", fixture.token);
        for token in [None, Some("junk"), Some(tampered.as_str())] {
            let (reply, body) = ask(&fixture, method, &path, token);
            let refused = reply.status == 401 && body["error"] == "unauthenticated";
            assert_eq!(refused, *access != Open, "{method} {path} with {token:?}: {body}");
            if refused {
                assert!(reply.headers.iter().any(|(name, _)| *name == "www-authenticate"), "{path}");
            }
        }
        let (reply, body) = ask(&fixture, "DELETE", &path, None);
        assert_eq!(
            reply.status == 405 && body["error"] == "method_not_allowed",
            *accepts != Any,
            "DELETE {path}: {body}"
        );
    }
}

/// Its answers are HTML or plain text, and looked at by tests of their own.
fn is_no_json(path: &str) -> bool {
    matches!(path, "/" | "/hub.html" | "/metrics" | "/admin/login" | "/admin/logout")
}

/// An answer that is there at once, as text. `headers` are those of the edge and of the client.
fn ask_with(fixture: &Fixture, method: &str, target: &str, headers: &[(&str, &str)]) -> (Reply, String) {
    let req = Req::from_head(method, target, headers.iter().copied()).expect("a good target");
    let Outcome::Done(reply) = answer(&fixture.hub, req) else { panic!("{target} is answered at once") };
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    (reply, text)
}

fn header<'a>(reply: &'a Reply, wanted: &str) -> Option<&'a str> {
    reply.headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
}

const HOST: (&str, &str) = ("Host", "127.0.0.1:1939");
const LOCAL: (&str, &str) = ("X-Parachute-Layer", "loopback");
const HTML: (&str, &str) = ("Accept", "text/html");

#[test]
fn the_modules_are_shown_on_this_machine_and_nowhere_else() {
    let fixture = Fixture::new(&rows());
    for path in ["/", "/hub.html"] {
        let (reply, text) = ask_with(&fixture, "GET", path, &[LOCAL]);
        assert_eq!((reply.status, reply.content_type), (200, "text/html; charset=utf-8"), "{path}");
        assert!(text.contains("href=\"/vault/default\"") && text.contains("href=\"/tool\""), "{text}");
        for headers in [&[][..], &[("X-Parachute-Layer", "public")], &[("X-Parachute-Layer", "tailnet")]] {
            let (reply, text) = ask_with(&fixture, "GET", path, headers);
            assert_eq!(reply.status, 200, "{path} {headers:?}");
            assert!(text.contains("Sign in"), "{text}");
            for word in ["vault", "tool", env!("CARGO_PKG_VERSION")] {
                assert!(!text.contains(word), "{path} {headers:?} tells strangers of {word}: {text}");
            }
        }
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
        ] {
            assert!(header(&reply, name).is_some_and(|value| value.contains(part)), "{path}: {name}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let (reply, _) = ask_with(&fixture, method, path, &[LOCAL]);
            assert_eq!((reply.status, header(&reply, "allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
}

#[test]
fn what_is_not_there_is_a_page_for_browsers_and_json_for_others() {
    let fixture = Fixture::new(&rows());
    for (headers, is_page) in [(&[HTML][..], true), (&[HTML, LOCAL], true), (&[], false), (&[("Accept", "*/*")], false)]
    {
        let (reply, text) = ask_with(&fixture, "GET", "/<nowhere>", headers);
        assert_eq!(reply.status, 404, "{headers:?}");
        assert_eq!(text.contains("&lt;nowhere&gt;"), is_page, "{headers:?}: {text}");
        let error = serde_json::from_str::<Value>(&text).ok().map(|body| body["error"].clone());
        assert_eq!(error, (!is_page).then(|| json!("not_found")), "{headers:?}: {text}");
    }
}

#[test]
fn earlier_paths_lead_on_only_where_something_is() {
    let row = |name: &str, exposure: &str| {
        json!({"name": name, "port": 4000, "paths": [format!("/{name}")], "health": "/", "version": "1",
               "publicExposure": exposure})
    };
    for (rows, headers, target, expected) in [
        (json!([]), &[][..], "/hub?x=1", Some("/?x=1")),
        (json!([]), &[], "/notes/a", None),
        (json!([row("surface", "allowed")]), &[], "/notes/a?b=%20&c", Some("/surface/notes/a?b=%20&c")),
        (json!([row("surface", "loopback")]), &[], "/notes/a", None),
        (json!([row("surface", "loopback")]), &[LOCAL], "/notes/a", Some("/surface/notes/a")),
        (json!([]), &[], "/admin/config", None),
        (json!([]), &[], "/vault", None),
    ] {
        let fixture = Fixture::new(&rows);
        let (reply, _) = ask_with(&fixture, "GET", target, headers);
        assert_eq!(header(&reply, "location"), expected, "{target} with {rows}");
        assert_eq!(reply.status, if expected.is_some() { 301 } else { 404 }, "{target} with {rows}");
    }
}

#[test]
fn who_asks_a_vault_itself_is_told_where_its_protocol_is() {
    let row = |exposure: &str| {
        json!([{"name": "parachute-vault", "port": 1940, "paths": ["/vault/default"], "health": "/", "version": "1",
                "publicExposure": exposure}])
    };
    let host = ("Host", "box.lan:1939");
    for (exposure, headers, method, target, expected) in [
        ("allowed", &[LOCAL, host][..], "POST", "/vault/default?a=1", 308),
        ("allowed", &[host], "POST", "/vault/default?a=1", 308),
        ("loopback", &[host], "POST", "/vault/default", 404),
        ("allowed", &[LOCAL], "POST", "/vault/none", 404),
        ("allowed", &[LOCAL], "DELETE", "/vault/default", 404),
        ("allowed", &[LOCAL], "GET", "/vault", 301),
        ("loopback", &[], "GET", "/vault", 404),
    ] {
        let fixture = Fixture::new(&row(exposure));
        let (reply, text) = ask_with(&fixture, method, target, headers);
        assert_eq!(reply.status, expected, "{method} {target} {headers:?}: {text}");
        match expected {
            308 => {
                assert_eq!(header(&reply, "location"), Some("/vault/default/mcp?a=1"), "{reply:?}");
                let body: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(body["error"], "missing_mcp_suffix", "{text}");
                let url = body["mcp_url"].as_str().expect("a URL");
                assert!(url.starts_with("http") && url.ends_with("/vault/default/mcp"), "{text}");
                assert!(body["message"].is_string() && body["error_description"] == body["message"], "{text}");
            }
            301 => assert_eq!(header(&reply, "location"), Some("/vault/admin/"), "{reply:?}"),
            _ => assert_eq!(header(&reply, "location"), None, "{reply:?}"),
        }
    }
}

#[test]
fn without_a_vault_its_protocol_is_answered_for() {
    let row = |name: &str, path: &str, exposure: &str| json!([{"name": name, "port": 1940, "paths": [path], "health": "/", "version": "1", "publicExposure": exposure}]);
    const OTHER: &str = "not_found";
    const MISSED: &str = "vault_module_not_running";
    for (rows, headers, method, target, expected) in [
        (json!([]), &[][..], "POST", "/mcp", MISSED),
        (json!([]), &[HTML, LOCAL], "GET", "/mcp/x?a=1", MISSED),
        (row("tool", "/tool", "allowed"), &[LOCAL], "DELETE", "/mcp", MISSED),
        (row("tool", "/tool", "allowed"), &[LOCAL], "POST", "/mcpx", OTHER),
        // It is on its way to the edge.
        (row("parachute-vault", "/vault/default", "allowed"), &[], "POST", "/mcp", OTHER),
        (row("tool", "/mcp", "allowed"), &[], "POST", "/mcp", OTHER),
        // From elsewhere it looks as if it was not there.
        (row("parachute-vault", "/vault/default", "loopback"), &[], "POST", "/mcp", MISSED),
        (row("tool", "/mcp", "loopback"), &[], "POST", "/mcp", MISSED),
    ] {
        let fixture = Fixture::new(&rows);
        let (reply, text) = ask_with(&fixture, method, target, headers);
        let body: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((reply.status, body["error"].as_str()), (404, Some(expected)), "{method} {target} with {rows}");
        assert_eq!(body["message"].is_string(), expected == MISSED, "{text}");
        assert!(body["error_description"].is_string(), "{text}");
    }
}

#[test]
fn a_page_of_another_origin_can_change_nothing() {
    let fixture = Fixture::new(&rows());
    let bearer = format!("Bearer {}", fixture.token);
    let host = ("Host", "127.0.0.1:1939");
    for (headers, status) in [
        (&[][..], 401),
        (&[("Origin", "http://127.0.0.1:1939")], 401),
        (&[("Origin", "http://localhost:1939")], 401),
        (&[("Origin", "http://lan.example"), ("Host", "lan.example")], 401),
        (&[("Origin", "http://evil.example"), host], 403),
        (&[("Origin", "http://127.0.0.1:3000"), host], 403),
        (&[("Origin", "null"), host], 403),
        (&[("Sec-Fetch-Site", "cross-site"), host], 403),
        (&[("Origin", "http://evil.example"), host, ("Authorization", "Bearer x")], 401),
        (&[("Origin", "http://evil.example"), host, ("Authorization", bearer.as_str())], 404),
    ] {
        let headers: Vec<_> = headers.iter().copied().chain([LOCAL]).collect();
        let path = "/api/modules/a%2fb/stop"; // no module can be called that, so nothing comes of it
        let (reply, text) = ask_with(&fixture, "POST", path, &headers);
        assert_eq!(reply.status, status, "{headers:?}: {text}");
        assert_eq!(text.contains("csrf_origin_mismatch"), status == 403, "{headers:?}: {text}");
    }
    let (reply, _) = ask_with(&fixture, "GET", "/health", &[("Origin", "http://evil.example")]);
    assert_eq!(reply.status, 200, "what changes nothing is not asked where it comes from");
}

#[test]
fn who_shows_too_many_bad_tokens_has_to_wait_unless_it_is_this_machine() {
    let fixture = Fixture::new(&rows());
    let good = format!("Bearer {}", fixture.token);
    let stranger = |client: &'static str| [("X-Parachute-Layer", "public"), ("X-Parachute-Client-IP", client)];
    let ask = |from: &[(&str, &str)], target: &str, token: Option<&str>| {
        let token = token.map(|token| ("Authorization", token));
        let headers: Vec<_> = from.iter().copied().chain(token).collect();
        ask_with(&fixture, "GET", target, &headers)
    };
    let (first, second) = (stranger("203.0.113.7"), stranger("203.0.113.8"));
    for number in 0..10 {
        assert_eq!(ask(&first, "/api/modules", None).0.status, 401, "no token is no attempt");
        // Readiness is open and yet tells a good token from a bad one.
        let target = if number % 2 == 0 { "/api/modules" } else { "/api/ready" };
        assert_ne!(ask(&first, target, Some("Bearer junk")).0.status, 429, "attempt {number}");
    }
    let (reply, text) = ask(&first, "/api/modules", Some("Bearer junk"));
    assert_eq!(reply.status, 429, "{text}");
    assert!(text.contains("too_many_failures"), "{text}");
    let seconds: u64 = header(&reply, "retry-after").and_then(|text| text.parse().ok()).expect("a number");
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(ask(&first, "/api/modules", Some(&good)).0.status, 429, "not even a good one is looked at");
    assert_eq!(ask(&first, "/api/modules", None).0.status, 401);
    assert_eq!(ask(&second, "/api/modules", Some(&good)).0.status, 200, "another address");
    for number in 0..20 {
        assert_eq!(ask(&[LOCAL], "/api/modules", Some("Bearer junk")).0.status, 401, "local attempt {number}");
    }
    assert_eq!(ask(&[LOCAL], "/api/modules", Some(&good)).0.status, 200);
}

#[test]
fn the_numbers_are_for_this_machine_and_for_holders_of_a_token() {
    let fixture = Fixture::new(&rows());
    let bearer = format!("Bearer {}", fixture.token);
    let good = ("Authorization", bearer.as_str());
    for (headers, status) in [
        (&[LOCAL][..], 200),
        (&[], 401),
        (&[("X-Parachute-Layer", "tailnet")], 401),
        (&[("Authorization", "Bearer junk")], 401),
        (&[good], 200),
    ] {
        let (reply, text) = ask_with(&fixture, "GET", "/metrics", headers);
        assert_eq!(reply.status, status, "{headers:?}: {text}");
        assert_eq!(text.contains("\nparachute_module_up{module=\"vault\"} 0\n"), status == 200, "{headers:?}: {text}");
    }
    let (reply, text) = ask_with(&fixture, "GET", "/metrics", &[LOCAL]);
    assert_eq!(reply.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains(&format!("parachute_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))), "{text}");
    let series: Vec<_> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|l| l.rsplit_once(' ')).collect();
    let names: std::collections::HashSet<_> = series.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), series.len(), "each series is there once: {text}");
    assert!(
        series.iter().all(|(name, value)| name.starts_with("parachute_") && value.parse::<f64>().is_ok()),
        "{text}"
    );
}

#[test]
fn what_is_not_there_is_json_too() {
    let fixture = Fixture::new(&rows());
    let token = Some(fixture.token.as_str());
    for (method, target, status, code) in [
        ("POST", "/", 405, "method_not_allowed"),
        ("GET", "/api/modules/", 404, "not_found"),
        ("GET", "/API/modules", 404, "not_found"),
        ("GET", "/api/modules/vault/nothing", 404, "not_found"),
        ("GET", "/api/modules/vault/start/x", 404, "not_found"),
        ("GET", "/api/modules/vault/start", 405, "method_not_allowed"),
        ("POST", "/api/modules", 405, "method_not_allowed"),
        ("GET", "/api/modules/%zz", 400, "invalid_request"),
        ("GET", "/api/modules/%ff", 400, "invalid_request"),
        ("POST", "/api/modules/a%2/start", 400, "invalid_request"),
        ("GET", "/api/modules/..", 404, "not_found"),
        ("GET", "/api/modules/%2e%2e", 404, "not_found"),
        ("POST", "/api/modules/hub/stop", 404, "not_found"),
        ("POST", "/api/modules/a%2fb/start", 404, "not_found"),
        ("GET", "/api/modules/nobody", 404, "not_installed"),
        ("POST", "/api/modules/nobody/start", 400, "not_installed"),
        ("POST", "/api/modules/nobody/restart", 400, "not_installed"),
        ("GET", "/api/modules/nobody/logs", 404, "not_supervised"),
        ("POST", "/api/modules/bad/start", 422, "invalid_row"),
        ("POST", "/api/modules/tool/start", 422, "no_start_cmd"),
        ("POST", "/api/modules/tool/restart", 422, "no_start_cmd"),
        ("GET", "/api/modules/vault/logs?wait=61", 400, "invalid_request"),
    ] {
        let (reply, body) = ask(&fixture, method, target, token);
        assert_eq!((reply.status, body["error"].as_str()), (status, Some(code)), "{method} {target}: {body}");
        assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {target}: {body}");
    }
}

/// Also to a browser, which is shown a page only where there is nothing.
#[test]
fn a_wrong_method_is_told_with_those_that_are_right() {
    let fixture = Fixture::new(&rows());
    for (method, target, allowed) in [
        ("GET", "/admin/logout", "POST"),
        ("POST", "/api/modules", "GET, HEAD"),
        ("DELETE", "/api/settings/hub-origin", "GET, HEAD, PUT"),
        ("DELETE", "/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
    ] {
        let (reply, text) = ask_with(&fixture, method, target, &[LOCAL, HOST, HTML]);
        assert_eq!((reply.status, header(&reply, "allow")), (405, Some(allowed)), "{method} {target}: {text}");
    }
}

#[test]
fn whoever_waits_as_long_as_told_is_let_in() {
    for (left_ms, seconds) in [(0, "1"), (999, "1"), (1_500, "2")] {
        let retry_after = Duration::from_millis(left_ms);
        let from = "203.0.113.7".parse().expect("an address");
        let reply = super::refused(&Refusal::TooManyFailures { from, retry_after });
        assert_eq!((reply.status, header(&reply, "retry-after")), (429, Some(seconds)), "{left_ms} ms");
    }
}

#[test]
fn the_open_routes_answer_and_readiness_names_nobody_to_strangers() {
    let fixture = Fixture::new(&json!([]));
    let token = Some(fixture.token.as_str());
    let (reply, body) = ask(&fixture, "POST", "/health", None);
    assert_eq!(reply.status, 200);
    let version = env!("CARGO_PKG_VERSION");
    let health = json!({"status": "ok", "service": "parachute-hub", "version": version, "db": "ok", "instance": "test-instance"});
    assert_eq!(body, health);
    let secret = BootSecret::take(&mut [7; 32]);
    for good in ["a", "Az09-_", &"f".repeat(64)] {
        let (reply, body) = ask(&fixture, "GET", &format!("/health?x&challenge={good}"), None);
        assert_eq!(reply.status, 200, "{good}");
        let proof = secret.proof(&Challenge::parse(good).expect("a challenge"), 1939);
        assert_eq!(body["proof"], json!(proof), "{good}");
        assert_eq!(body.as_object().expect("an object").len(), 6, "nothing else is added: {body}");
    }
    for bad in ["", "a+b", "a%20b", "%C3%A9", "a.b", &"f".repeat(65)] {
        let (reply, body) = ask(&fixture, "GET", &format!("/health?challenge={bad}"), None);
        assert_eq!((reply.status, &body["error"]), (400, &json!("invalid_request")), "{bad}");
    }
    let nothing = json!({"ready": true, "ready_modules": [], "transient_modules": [], "persistent_modules": []});
    for token in [None, token] {
        let (reply, body) = ask(&fixture, "GET", "/api/ready", token);
        assert_eq!((reply.status, &body), (200, &nothing));
    }
    let (_, body) = ask(&fixture, "GET", "/api/hub", token);
    assert_eq!(
        (body["pid"].as_u64(), body["port"].as_u64(), body["source"].as_str()),
        (Some(42), Some(1939), Some("binary"))
    );
}

#[test]
fn the_list_shows_every_row_and_follows_the_file() {
    let fixture = Fixture::new(&rows());
    let token = Some(fixture.token.as_str());
    let list = || ask(&fixture, "GET", "/api/modules", token).1;
    let shown = |list: &Value| -> Vec<(String, Value, bool)> {
        let modules = list["modules"].as_array().expect("a list").iter();
        modules
            .map(|m| {
                (m["short"].as_str().unwrap_or("?").to_owned(), m["supervisor_status"].clone(), m["problem"].is_null())
            })
            .collect()
    };
    let known = |name: &str, status: Value, good: bool| (name.to_owned(), status, good);
    let expected =
        [known("vault", json!("stopped"), true), known("tool", Value::Null, true), known("bad", Value::Null, false)];
    assert_eq!(shown(&list()), expected);
    let (_, one) = ask(&fixture, "GET", "/api/modules/vault", token);
    assert_eq!((one["package"].as_str(), one["port"].as_u64()), (Some("@openparachute/vault"), Some(1940)));

    let (reply, body) = ask(&fixture, "POST", "/api/modules/nobody/stop", token);
    assert_eq!((reply.status, body), (200, json!({"short": "nobody", "stopped": false})));
    let (reply, body) = ask(&fixture, "GET", "/api/modules/vault/logs", token);
    let logs = json!({"short": "vault", "lines": [], "text": "", "entries": [], "next": 0, "missed": 0});
    assert_eq!((reply.status, body), (200, logs));

    let mut more = rows();
    more.as_array_mut()
        .expect("a list")
        .push(json!({"name": "parachute-scribe", "port": 1943, "paths": [], "health": "/health", "version": "1"}));
    fixture.write_rows(&more);
    assert_eq!(shown(&list()).last(), Some(&known("scribe", json!("stopped"), true)), "a new row is known at once");
    std::fs::write(fixture.home().join("services.json"), "{").expect("writable");
    let broken = list();
    assert!(broken["problem"].as_str().is_some_and(|text| text.contains("services.json")), "{broken}");
    assert_eq!(broken["supervised"].as_array().map(Vec::len), Some(2), "what is supervised stays so: {broken}");
}

#[test]
fn what_is_well_known_can_be_read_by_pages_of_anybody() {
    let fixture = Fixture::new(&rows());
    for target in ["/.well-known/parachute.json", "/.well-known/jwks.json"] {
        for (method, status) in [("GET", 200), ("HEAD", 200), ("OPTIONS", 204), ("POST", 405)] {
            let Outcome::Done(reply) = answer(&fixture.hub, request(method, target, None)) else {
                panic!("{target} is answered at once");
            };
            assert_eq!(reply.status, status, "{method} {target}");
            let header = |wanted: &str| reply.headers.iter().find(|(name, _)| *name == wanted).map(|(_, v)| v.as_str());
            let expected = (status < 400).then_some("*");
            assert_eq!(header("access-control-allow-origin"), expected, "{method} {target}");
            assert_eq!(header("access-control-allow-methods"), expected.and(Some("GET, OPTIONS")), "{method} {target}");
            assert_eq!(header("allow"), (status == 405).then_some("GET, HEAD, OPTIONS"), "{method} {target}");
        }
    }
    assert_eq!(ask(&fixture, "GET", "/.well-known/jwks.json", None).1, json!({"keys": []}));
    for target in ["/api/modules", "/health", "/api/modules/tool/start"] {
        let Outcome::Done(reply) = answer(&fixture.hub, request("OPTIONS", target, None)) else {
            panic!("{target} is answered at once");
        };
        let cors = reply.headers.iter().any(|(name, _)| name.starts_with("access-control-"));
        assert!(!cors, "{target} is for nobody else's pages");
    }
}

#[test]
fn the_discovery_document_outlives_bad_rows_manifests_and_files() {
    let fixture = Fixture::new(&json!([]));
    let packages = fixture.home().join("packages");
    let package = |name: &str, manifest: &str| {
        let dir = packages.join(name);
        std::fs::create_dir_all(dir.join(".parachute")).expect("writable");
        std::fs::write(dir.join(".parachute/module.json"), manifest).expect("writable");
        dir
    };
    let good =
        json!({"name": "a", "manifestName": "a", "port": 1, "paths": [], "health": "/", "uiUrl": "ui/"}).to_string();
    let row = |name: &str, port: u16, dir: &std::path::Path| json!({"name": name, "port": port, "paths": [format!("/{name}")], "health": "/", "version": "1", "installDir": dir});
    fixture.write_rows(&json!([
        row("a", 4001, &package("a", &good)),
        row("b", 4002, &package("b", "{\"uiUrl\": ")),
        {"name": "bad", "port": "x"},
        row("c", 4003, &packages.join("nowhere")),
    ]));
    let document = || {
        let mut request = request("GET", "/.well-known/parachute.json", None);
        for (name, value) in [("Host", "lan.example:1939"), ("X-Forwarded-Proto", "https")] {
            request.sender.read(name, value);
        }
        let Outcome::Done(reply) = answer(&fixture.hub, request) else { panic!("it is answered at once") };
        (reply.status, serde_json::from_slice::<Value>(&reply.body).expect("JSON"))
    };
    let (status, found) = document();
    let services = found["services"].as_array().expect("a list").iter();
    let services: Vec<_> = services.map(|item| (item["url"].as_str(), item["uiUrl"].as_str())).collect();
    assert_eq!(status, 200);
    let at = "https://lan.example:1939";
    let (a, ui, b, c) = (format!("{at}/a"), format!("{at}/a/ui/"), format!("{at}/b"), format!("{at}/c"));
    assert_eq!(services, [(Some(&*a), Some(&*ui)), (Some(&*b), None), (Some(&*c), None)], "{found}");
    let file = fixture.home().join("services.json");
    let empty = json!({"vaults": [], "services": []});
    std::fs::write(&file, "{").expect("writable");
    assert_eq!(document(), (200, empty), "not JSON");
    std::fs::remove_file(&file).expect("there");
    assert_eq!(document(), (200, found), "one that is away is the last one that could be read");
    std::fs::create_dir(&file).expect("writable");
    let (status, found) = document();
    assert_eq!((status, &found["error"]), (500, &json!("internal_error")), "{found}");
    assert!(!found.to_string().contains("services.json"), "{found}");
}
