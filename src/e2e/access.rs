//! Who may ask the hub for what, what is refused at the door, and that no secret leaves the home.

use crate::support::{Home, Hub, Spawned, eventually, http, module, testchild};
use serde_json::json;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Every route that needs a token.
const GUARDED: &[(&str, &str)] = &[
    ("GET", "/api/hub"),
    ("GET", "/api/modules"),
    ("GET", "/api/modules/web"),
    ("GET", "/api/modules/unknown"),
    ("POST", "/api/modules/web/start"),
    ("POST", "/api/modules/web/stop"),
    ("POST", "/api/modules/web/restart"),
    ("GET", "/api/modules/web/logs"),
    ("GET", "/api/modules/web/logs?follow=1"),
    ("GET", "/api/modules/web/logs?wait=60"),
];

fn web_hub() -> Hub {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    eventually("web running", || {
        (hub.api("GET", "/api/modules/web").json()["supervisor_status"] == "running").then_some(())
    });
    hub
}

/// A part of a token with another first character, which is all payload, so that it always means something else.
pub(crate) fn flipped(text: &str) -> String {
    if text.starts_with('A') { text.replacen('A', "B", 1) } else { format!("A{}", &text[1..]) }
}

#[test]
fn without_a_genuine_token_every_route_answers_the_same_401() {
    let hub = web_hub();
    let token = hub.token();
    let parts: Vec<&str> = token.split('.').collect();
    // {"alg":"none","typ":"JWT"}
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let rows = [
        ("none", None),
        ("empty", Some(String::new())),
        ("another scheme", Some(format!("Basic {token}"))),
        ("no scheme", Some(token.clone())),
        ("junk", Some("Bearer junk".to_owned())),
        ("dots", Some("Bearer ..".to_owned())),
        ("long", Some(format!("Bearer {}", "x".repeat(8000)))),
        ("another signature", Some(format!("Bearer {}.{}.{}", parts[0], parts[1], flipped(parts[2])))),
        ("another payload", Some(format!("Bearer {}.{}.{}", parts[0], flipped(parts[1]), parts[2]))),
        ("alg none", Some(format!("Bearer {unsigned}"))),
        ("no signature", Some(format!("Bearer {}.{}", parts[0], parts[1]))),
        ("twice", Some(format!("Bearer {token}, Bearer {token}"))),
    ];
    let mut bodies = Vec::new();
    for (what, value) in rows {
        for (method, path) in GUARDED {
            let headers: Vec<(&str, &str)> = value.iter().map(|value| ("Authorization", value.as_str())).collect();
            let answer = http::request(hub.port, method, path, &headers, b"")
                .unwrap_or_else(|error| panic!("{what}, {method} {path}: {error}"));
            assert_eq!(answer.status, 401, "{what}, {method} {path}: {answer:?}");
            bodies.push((what, *path, answer.text()));
        }
    }
    let first = bodies[0].2.clone();
    for (what, path, body) in &bodies {
        assert_eq!(*body, first, "{what}, {path}: nobody learns why");
    }
    assert_eq!(hub.api("GET", "/api/modules").status, 200, "the operator's own is good");
    let running = hub.api("GET", "/api/modules/web").json();
    assert_eq!(running["supervisor_status"], "running", "nothing was stopped: {running}");
}

#[test]
fn a_foreign_host_is_misdirected_and_no_header_from_outside_opens_a_door() {
    let hub = web_hub();
    for (host, status) in [
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LOCALHOST", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("0.0.0.0", 421),
        ("169.254.169.254", 421),
    ] {
        let head = format!("GET /health HTTP/1.1\r\nHost: {host}:{}\r\nConnection: close\r\n\r\n", hub.port);
        let bytes = http::exchange(hub.port, head.as_bytes()).unwrap_or_else(|error| panic!("{host}: {error}"));
        let answer = http::Response::parse(&bytes).unwrap_or_else(|error| panic!("{host}: {error}"));
        assert_eq!(answer.status, status, "{host}: {answer:?}");
        if status == 421 {
            assert_eq!(answer.json()["error"], "misdirected_request", "{host}");
            assert!(answer.text().contains("PARACHUTE_ALLOWED_HOSTS"), "{host}: how to allow it: {answer:?}");
        }
    }
    for name in
        ["X-Parachute-Layer", "X-Parachute-User", "X-Parachute-Scope", "X-Parachute-Internal", "X-Parachute-Exchange"]
    {
        for value in ["loopback", "operator", "parachute:host:admin", "1", ""] {
            let answer = http::request(hub.port, "GET", "/api/hub", &[(name, value)], b"").expect("an answer");
            assert_eq!(answer.status, 401, "{name}: {value}: {answer:?}");
        }
    }
    // With a forwarding header the caller is the public: only configured hosts reach the control API.
    let bearer = format!("Bearer {}", hub.token());
    let forwarded = [("Authorization", bearer.as_str()), ("X-Forwarded-For", "203.0.113.7")];
    let answer = http::request(hub.port, "GET", "/api/modules", &forwarded, b"").expect("an answer");
    assert_eq!(answer.status, 421, "{answer:?}");
}

#[test]
fn what_is_too_large_or_no_request_is_refused_and_the_next_one_served() {
    let hub = web_hub();
    let bearer = format!("Authorization: Bearer {}", hub.token());
    let host = format!("Host: 127.0.0.1:{}", hub.port);
    let many: String = (0..65).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = "x".repeat(17 * 1024);
    let (stop, close) = ("POST /api/modules/web/stop HTTP/1.1", "Connection: close");
    for (what, bytes, status) in [
        ("long field", format!("GET /health HTTP/1.1\r\n{host}\r\nX: {long}\r\n\r\n"), 431),
        ("long target", format!("GET /{long} HTTP/1.1\r\n{host}\r\n\r\n"), 431),
        ("many fields", format!("GET /health HTTP/1.1\r\n{host}\r\n{many}\r\n"), 431),
        ("no host", "GET /health HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("two hosts", format!("GET /health HTTP/1.1\r\n{host}\r\n{host}\r\n\r\n"), 400),
        ("junk", "junk\r\n\r\n".to_owned(), 400),
        ("body of 1 TiB", format!("{stop}\r\n{host}\r\n{bearer}\r\nContent-Length: 1099511627776\r\n\r\n"), 413),
        ("body of 1 MiB and 1", format!("{stop}\r\n{host}\r\n{bearer}\r\nContent-Length: 1048577\r\n\r\n"), 413),
        ("two lengths", format!("{stop}\r\n{host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), 400),
        ("negative length", format!("{stop}\r\n{host}\r\nContent-Length: -1\r\n\r\n"), 400),
        (
            "length and chunks",
            format!("{stop}\r\n{host}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        ("malformed encoding", format!("GET /api/modules/%zz HTTP/1.1\r\n{host}\r\n{bearer}\r\n{close}\r\n\r\n"), 400),
    ] {
        let answer = http::exchange(hub.port, bytes.as_bytes()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let answer = http::Response::parse(&answer).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        assert!(answer.json()["error"].is_string(), "{what}: {answer:?}");
        assert_eq!(hub.get("/health").status, 200, "{what}: the next one is served");
    }
    let running = hub.api("GET", "/api/modules/web").json();
    assert_eq!(running["supervisor_status"], "running", "nothing was stopped: {running}");
}

#[test]
fn a_wrong_method_or_path_is_told_in_json() {
    let hub = web_hub();
    for (method, path, status, allow) in [
        ("POST", "/api/modules", 405, Some("GET, HEAD")),
        ("DELETE", "/api/modules/web", 405, Some("GET, HEAD")),
        ("GET", "/api/modules/web/start", 405, Some("POST")),
        ("PUT", "/api/hub", 405, Some("GET, HEAD")),
        ("GET", "/api/modules/web/unknown", 404, None),
        ("GET", "/api", 404, None),
        ("GET", "/api/modules/", 404, None),
        ("GET", "/nowhere", 404, None),
    ] {
        let answer = hub.api(method, path);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
        assert!(answer.json()["error"].is_string(), "{method} {path}: {answer:?}");
    }
}

#[test]
fn what_holds_a_secret_is_readable_by_its_owner_alone() {
    let hub = web_hub();
    for (path, mode) in [
        ("", 0o700),
        ("operator.token", 0o600),
        ("hub.db", 0o600),
        ("hub.db-wal", 0o600),
        ("hub.db-shm", 0o600),
        ("hub/run", 0o700),
        ("hub/run/hub.sock", 0o600),
        ("hub/run/hub.pid", 0o600),
        ("hub/run/hub.port", 0o600),
        ("hub/run/children", 0o600),
        ("web/logs", 0o700),
    ] {
        let Ok(facts) = fs::symlink_metadata(hub.home.path().join(path)) else {
            assert!(path.starts_with("hub.db-"), "{path} is missing");
            continue;
        };
        assert_eq!(facts.permissions().mode() & 0o7777, mode, "{path:?}");
    }
}

#[test]
fn long_polls_streams_and_a_slow_start_starve_nobody() {
    let home = Home::new();
    home.install(&module("web", testchild(&["http"])));
    home.install(&module("slow", testchild(&["bind-late", "3600000"])));
    let hub = Hub::start_in(home, &[]);
    hub.line_after("web", "ready ");
    let token = hub.token();
    let mut waiting = Vec::new();
    for number in 0..32 {
        let query = if number % 2 == 0 { "wait=60&n=0" } else { "follow=1" };
        let head = format!(
            "GET /api/modules/web/logs?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let mut stream = http::connect(hub.port).expect("a connection");
        stream.write_all(head.as_bytes()).expect("sent");
        if number % 2 == 1 {
            // Its head has come: it is being followed.
            stream.read_exact(&mut [0; 12]).expect("the beginning of an answer");
        }
        waiting.push(stream);
    }
    let mut slow = Spawned::spawn(hub.home.command(&["restart", "slow"]));
    eventually("the slow one is being started", || (hub.lines_after("slow", "waiting ").len() >= 2).then_some(()));
    assert_eq!(hub.get("/health").status, 200);
    assert_eq!(hub.api("GET", "/api/modules").status, 200);
    let status = hub.run(&["status", "--json"]);
    assert!(status.stdout.contains("\"slow\""), "{status}");
    hub.run(&["restart", "web"]).succeeds();
    drop(waiting);
    slow.wait();
    assert_eq!(hub.get("/health").status, 200);
}

#[test]
fn the_operator_token_is_nowhere_but_in_its_file() {
    let home = Home::new();
    home.install(&module("web", testchild(&["print-env"])).run(json!({"ready": "none"})));
    let secrets = [
        ("PARACHUTE_OPERATOR_TOKEN", "secret-of-the-environment"),
        ("PARACHUTE_INITIAL_ADMIN_PASSWORD", "password-of-the-environment"),
        ("NOTIFY_SOCKET", "@socket-of-the-manager"),
    ];
    let hub = Hub::start_in(home, &secrets);
    hub.line_after("web", "ready ");
    let token = hub.token();
    let bearer = format!("Bearer {token}");
    let junk = [("Authorization", "Bearer junk-that-somebody-sent")];
    http::request(hub.port, "GET", "/api/modules", &junk, b"").expect("an answer");
    let mut seen = vec![("the hub's output".to_owned(), hub.output())];
    for args in
        [&["status"][..], &["status", "--json"], &["logs", "web"], &["check", "--json"], &["start", "web", "--json"]]
    {
        let done = hub.run(args);
        seen.push((format!("{args:?}"), done.to_string()));
    }
    for path in ["/api/modules", "/api/modules/web", "/api/hub", "/api/modules/web/logs", "/health", "/api/ready"] {
        let answer = http::request(hub.port, "GET", path, &[("Authorization", &bearer)], b"").expect("an answer");
        seen.push((path.to_owned(), answer.text()));
    }
    for entry in fs::read_dir("/proc").expect("Linux").flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        seen.push((entry.path().display().to_string(), String::from_utf8_lossy(&line).into_owned()));
    }
    let environment =
        fs::read(format!("/proc/{}/environ", hub.number_after("web", "ready "))).expect("the module runs");
    seen.push(("the module's environment".to_owned(), String::from_utf8_lossy(&environment).into_owned()));
    seen.push(("the module's log".to_owned(), hub.home.read("web/logs/web.log")));
    let words = [token.as_str(), secrets[0].1, secrets[1].1, secrets[2].1, "junk-that-somebody-sent"];
    for (place, text) in &seen {
        for word in words {
            // The socket is the hub's to write to, and it may say that nobody is there.
            let told = word == secrets[2].1 && place == "the hub's output";
            assert!(told || !text.contains(word), "{place} holds {word}");
        }
    }
    let grep = Command::new("grep").arg("-rlF").arg(&token).arg(hub.home.path()).output().expect("grep runs");
    let files = String::from_utf8_lossy(&grep.stdout).into_owned();
    assert!(files.lines().all(|file| file.ends_with("/operator.token")), "{files}");
}
