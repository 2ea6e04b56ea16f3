//! Modules that ask the hub about the tokens of their callers; the numbers are those of operator-token Part C.

use crate::access::flipped;
use crate::support::tokens::{FORM, introspect, introspect_with, mint, module_key, post, web};
use crate::support::{Connection, Finished, Home, Hub, eventually, http, module, testchild};
use serde_json::json;
use std::fs;
use std::process::Command;

/// The header of a token of the hub, but for the number of its key.
const UNKNOWN_KEY: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6IkFBQUFBQUFBQUFBLmh1YiJ9";

/// Registers one of the example modules under its own name, and starts it with the hub.
fn example(home: &Home, name: &str, argv: &[&str], file: &str) {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    home.install(&module(name, argv).run(json!({ "ready": { "probe": "http", "timeoutMs": 60_000 } })));
    home.copy_example(name, file);
}

#[test]
fn a_module_that_is_told_by_the_hub_believes_nobody_else() {
    const NAME: &str = "proves-python";
    let home = Home::new();
    let argv = ["/usr/bin/python3", "server.py"].map(str::to_owned).to_vec();
    let run = json!({ "ready": { "probe": "http", "timeoutMs": 60_000 }, "proofHeaders": true });
    let proves = module(NAME, argv).run(run);
    home.install(&proves);
    home.copy_example(NAME, "server.py");
    let hub = Hub::start_in(home, &[]);
    hub.until_ready(NAME);
    let tokens = ["ann", "bob"].map(|subject| {
        let wanted = json!({ "scope": format!("{NAME}:read"), "subject": subject });
        let minted = post(&hub, "/api/auth/mint-token", &hub.token(), &wanted).json();
        let said = |field: &str| minted[field].as_str().unwrap_or_else(|| panic!("no {field}: {minted}")).to_owned();
        (said("token"), said("jti"))
    });
    let (token, jti) = &tokens[0];
    let elsewhere = mint(&hub, "other:read");
    let narrow = mint(&hub, &format!("{NAME}:write"));
    let ask = |port: u16, path: &str, token: &str, more: &[(&str, &str)]| {
        let bearer = format!("Bearer {token}");
        let headers: Vec<_> = [("Authorization", bearer.as_str())].iter().chain(more).copied().collect();
        http::request(port, "GET", path, &headers, b"").expect("an answer")
    };
    let path = format!("/{NAME}/a%20b?c=d&e");
    for (what, token, status) in [
        ("good", token.as_str(), 200),
        ("without the scope", narrow.as_str(), 403),
        ("another module's", elsewhere.as_str(), 401),
        ("the hub's", hub.token().as_str(), 401),
        ("none of ours", "x.y.z", 401),
        ("cut", &token[..token.len() - 1], 401),
    ] {
        let answer = ask(hub.port, &path, token, &[]);
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    assert_eq!(ask(hub.port, &path, token, &[]).json()["subject"], "ann");
    let forged = [
        ("X-Parachute-Subject", "eve"),
        ("X-Parachute-Scope", "proves-python:read"),
        ("X-Parachute-Token-Id", "AAAAAAAAAAAAAAAAAAAAAA"),
        ("X-Parachute-Proof-Time", "1800000000"),
        ("X-Parachute-Proof", "00"),
    ];
    assert_eq!(ask(hub.port, &path, "x", &forged).status, 401, "through the hub");
    assert_eq!(ask(hub.port, &path, token, &forged).json()["subject"], "ann", "only the hub's words arrive");
    assert_eq!(ask(proves.port, &path, token, &forged).status, 401, "past the hub");

    // Many at once: everybody is who they are.
    std::thread::scope(|scope| {
        for turn in 0..8 {
            let (ask, path, tokens) = (&ask, &path, &tokens);
            scope.spawn(move || {
                for round in 0..25 {
                    let which = (turn + round) % 3;
                    let token = tokens.get(which).map_or("x.y.z", |(token, _)| token);
                    let answer = ask(hub.port, path, token, &[]);
                    let expected = [json!("ann"), json!("bob"), json!(null)];
                    assert_eq!(answer.json()["subject"], expected[which], "{answer:?}");
                }
            });
        }
    });

    hub.run(&["restart", NAME]).succeeds();
    assert_eq!(ask(hub.port, &path, token, &[]).status, 200, "the next child has a key of its own");
    hub.run(&["auth", "revoke-token", jti]).succeeds();
    assert_eq!(ask(hub.port, &path, token, &[]).status, 401, "a revocation holds at once");
}

#[test]
fn the_example_modules_let_in_whoever_has_a_good_token_for_them() {
    let home = Home::new();
    example(&home, "checks-node", &["node", "server.js"], "server.js");
    example(&home, "checks-python", &["/usr/bin/python3", "server.py"], "server.py");
    let hub = Hub::start_in(home, &[]);
    for name in ["checks-node", "checks-python"] {
        hub.until_ready(name);
        let path = format!("/{name}/page");
        let ask = |token: Option<&str>| {
            let bearer = token.map(|token| format!("Bearer {token}"));
            let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
            http::request(hub.port, "GET", &path, &headers, b"").expect("an answer")
        };
        let minted =
            hub.run(&["auth", "mint-token", "--scope", &format!("{name}:read"), "--sub", "ann", "--ephemeral"]);
        let token = minted.succeeds().stdout.trim_end().to_owned();
        let good = ask(Some(&token));
        assert_eq!((good.status, good.json()["subject"].clone()), (200, json!("ann")), "{name}: {good:?}");
        let operator = hub.token();
        let (others, narrow) = (mint(&hub, "other:read"), mint(&hub, &format!("{name}:write")));
        for (what, token, status) in [
            ("none", None, 401),
            ("junk", Some("junk"), 401),
            ("the operator's", Some(operator.as_str()), 401),
            ("another module's", Some(others.as_str()), 401),
            ("too narrow", Some(narrow.as_str()), 403),
            ("remembered", Some(token.as_str()), 200),
        ] {
            let answer = ask(token);
            assert_eq!(answer.status, status, "{name}, {what}: {answer:?}");
        }
        let jti =
            introspect(&hub, &module_key(&hub, name), &token).json()["jti"].as_str().expect("a good token").to_owned();
        hub.run(&["auth", "revoke-token", &jti]).succeeds();
        eventually(&format!("{name} to forget a revoked token"), || (ask(Some(&token)).status == 401).then_some(()));
    }
}

/// C47 is measured by `scripts/bench timing`; what its tool takes the time of are refusals, and none is put off.
#[test]
fn c47_the_tool_that_measures_refusals_gets_them_at_once() {
    const SAMPLES: &str = "50";
    let hub = Hub::start(&[web()]);
    hub.until_ready("web");
    let (key, token) = (hub.home.path().join("web/run/hub.key"), hub.home.path().with_file_name("token"));
    let [key, token] = [&key, &token].map(|path| path.to_str().expect("a temporary directory is UTF-8"));
    hub.run(&["auth", "mint-token", "--scope", "web:read", "--token-file", token]).succeeds();
    for guess in ["mac", "key"] {
        let argv = testchild(&["timing", &hub.port.to_string(), guess, key, token, SAMPLES, "3600"]);
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        let measured = Finished::run(command).succeeds();
        let value = |key: &str| {
            let line = measured.stdout.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {key}: {measured}")).to_owned()
        };
        assert_eq!(value("samples"), SAMPLES, "{guess}");
        for key in ["first_us", "last_us", "t"] {
            let number: f64 = value(key).parse().unwrap_or_else(|_| panic!("{key}: {measured}"));
            assert!(key == "t" || number > 0.0, "{key}: {measured}");
        }
    }
}

/// C44, C45
#[test]
fn c44_c45_only_a_living_module_on_this_machine_is_told_and_only_of_its_own() {
    let hub = Hub::start(&[web(), module("other", testchild(&["http"]))]);
    let (first, _) = (hub.until_ready("web"), hub.until_ready("other"));
    let (key, others_key) = (module_key(&hub, "web"), module_key(&hub, "other"));
    let (token, others) = (mint(&hub, "web:read"), mint(&hub, "other:read"));
    let told = introspect(&hub, &key, &token);
    assert_eq!(told.status, 200, "{told:?}");
    assert_eq!(told.header("cache-control"), Some("no-store"));
    let said = told.json();
    for (field, value) in [
        ("active", json!(true)),
        ("aud", json!("web")),
        ("scope", json!("web:read")),
        ("sub", json!("operator")),
        ("token_type", json!("Bearer")),
        ("vault_scope", json!([])),
        ("iss", json!(format!("http://127.0.0.1:{}", hub.port))),
    ] {
        assert_eq!(said[field], value, "{field}: {said}");
    }

    let operator = hub.token();
    let short_lived = json!({ "scope": "web:read", "expires_in": 1 });
    let expired = post(&hub, "/api/auth/mint-token", &operator, &short_lived).json()["token"].clone();
    let expired = expired.as_str().expect("a token").to_owned();
    eventually("a token of one second at its end", || {
        (introspect(&hub, &key, &expired).json()["active"] == false).then_some(())
    });
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let tampered = format!("{signed}.{}", flipped(signature));
    let unknown_key = format!("{UNKNOWN_KEY}.{}", token.split_once('.').expect("three parts").1);
    let mut refusals = Vec::new();
    for (what, token) in [
        ("another module's", others.as_str()),
        ("the operator's", &operator),
        ("expired", &expired),
        ("tampered", &tampered),
        ("of an unknown key", &unknown_key),
        ("garbage", "garbage"),
        ("empty", ""),
        ("long", &"x".repeat(5_000)),
    ] {
        let answer = introspect(&hub, &key, token);
        assert_eq!((answer.status, answer.text().as_str()), (200, "{\"active\":false}\n"), "{what}");
        let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        refusals.push((what, headers));
    }
    for (what, headers) in &refusals {
        assert_eq!(*headers, refusals[0].1, "{what}: nor do the headers tell");
    }
    assert_eq!(introspect(&hub, &others_key, &others).json()["active"], true);

    let unauthenticated = http::request(hub.port, "GET", "/api/modules", &[], b"").expect("an answer").text();
    for (what, key) in [("wrong", "A".repeat(43)), ("no key", String::new()), ("a token", operator.clone())] {
        let answer = introspect(&hub, &key, &token);
        assert_eq!((answer.status, answer.text()), (401, unauthenticated.clone()), "{what}");
    }
    for header in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("CF-Connecting-IP", "127.0.0.1"),
        ("CF-Visitor", "x"),
        ("Tailscale-User-Login", "a@example.org"),
        ("Tailscale-User-Name", "a"),
        ("Origin", "http://127.0.0.1:1939"),
        ("Origin", "null"),
    ] {
        let answer = introspect_with(&hub, &key, &[header], &token);
        assert!(matches!(answer.status, 403 | 421), "{header:?}: {answer:?}");
        assert!(!answer.text().contains("active"), "{header:?}: {answer:?}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example", "169.254.169.254"] {
        let body = format!("token={token}");
        let request = format!(
            "POST /oauth/introspect HTTP/1.1\r\nHost: {host}:{}\r\nAuthorization: Bearer {key}\r\n{}: {}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            hub.port,
            FORM.0,
            FORM.1,
            body.len()
        );
        let answer = http::exchange(hub.port, request.as_bytes()).and_then(|bytes| http::Response::parse(&bytes));
        assert_eq!(answer.expect("an answer").status, 421, "rebinding as {host}");
    }
    for (method, body, status) in [("GET", "", 405), ("POST", "token=a&token=b", 400), ("POST", "x=1", 400)] {
        let bearer = format!("Bearer {key}");
        let headers = [("Authorization", bearer.as_str()), FORM];
        let answer =
            http::request(hub.port, method, "/oauth/introspect", &headers, body.as_bytes()).expect("an answer");
        assert_eq!(answer.status, status, "{method} {body}: {answer:?}");
    }
    let bearer = format!("Bearer {key}");
    let as_json = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let answer = http::request(hub.port, "POST", "/oauth/introspect", &as_json, b"token=a").expect("an answer");
    assert_eq!(answer.status, 415, "{answer:?}");

    hub.run(&["restart", "web"]).succeeds();
    hub.until_replaced("web", first);
    assert_eq!(introspect(&hub, &key, &token).status, 401, "a dead child's key");
    let second = module_key(&hub, "web");
    assert_eq!(introspect(&hub, &second, &token).json()["active"], true);
    hub.run(&["stop", "web"]).succeeds();
    assert_eq!(introspect(&hub, &second, &token).status, 401, "a stopped module's key");

    let external = hub.run(&["auth", "module-key", "web"]).succeeds().stdout.trim().to_owned();
    assert_eq!(introspect(&hub, &external, &token).json()["active"], true, "something else runs it");
    hub.run(&["auth", "module-key", "web", "--remove"]).succeeds();
    assert_eq!(introspect(&hub, &external, &token).status, 401);
    // One line for each cause, however many refusals came at once.
    for line in [
        "inactive for web: malformed: ",
        "inactive for web: key: ",
        "inactive for web: signature: ",
        "inactive for web: expired: ",
        "module_key: no module of this hub has this key",
        "module_key: the child of web that had it is gone",
        "not a program on this machine",
    ] {
        hub.says(line);
    }
}

/// C46
#[test]
fn c46_a_flood_of_junk_keeps_nobody_else_waiting() {
    let hub = Hub::start(&[web()]);
    hub.until_ready("web");
    let (key, token) = (module_key(&hub, "web"), mint(&hub, "web:read"));
    let (front, _) = token.rsplit_once('.').expect("three parts");
    let forged = format!("{front}.{}", "A".repeat(43));
    let unknown_key = format!("{UNKNOWN_KEY}.{}", forged.split_once('.').expect("three parts").1);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (key, forged, unknown_key, port) = (&key, &forged, &unknown_key, hub.port);
            scope.spawn(move || {
                let mut connection = Connection::open(port);
                for round in 0..200 {
                    let (key, junk) = match (number + round) % 4 {
                        0 => (key.as_str(), forged.as_str()),
                        1 => (key.as_str(), "junk"),
                        2 => (key.as_str(), unknown_key.as_str()),
                        _ => ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", forged.as_str()),
                    };
                    let body = format!("token={junk}");
                    let request = format!(
                        "POST /oauth/introspect HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\
                         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    connection.send(request.as_bytes());
                    let answer = connection.answer("POST").expect("an answer on a kept connection");
                    assert!(matches!(answer.status, 200 | 401), "{answer:?}");
                    assert!(!answer.text().contains("true"), "{answer:?}");
                }
            });
        }
        for _ in 0..20 {
            assert_eq!(introspect(&hub, &key, &token).json()["active"], true);
            assert_eq!(hub.get("/health").json()["db"], "ok");
        }
    });
    let said = hub.output().lines().filter(|line| line.contains("inactive for web")).count();
    assert!(said < 200, "the log is not flooded: {said} lines");
}

/// operator-token Part D: what `doctor` says of tokens, with a hub and without.
#[test]
fn doctor_knows_how_long_the_token_is_good_and_whether_modules_are_answered() {
    let home = Home::new();
    home.install(&web());
    home.install(&module("other", testchild(&["http"])));
    let mut hub = Hub::start_in(home, &[]);
    hub.number_after("web", "ready ");
    hub.number_after("other", "ready ");
    let told = hub.run(&["doctor"]).succeeds();
    for sentence in
        ["operator.token: is good until ", "; set admin", "its signing key is 0 days old", "of 2 modules about tokens"]
    {
        assert!(told.stdout.contains(sentence), "{sentence}: {told}");
    }
    let data = hub.run(&["doctor", "--json"]).succeeds().json();
    assert_eq!(data.pointer("/data/invalid"), Some(&json!(0)), "{data}");
    // What a backup that was put back over a running module's home would look like.
    hub.home.write("web/run/hub.key", &format!("{}\n", "k".repeat(43)));
    let told = hub.run(&["doctor"]);
    assert!(told.code() == Some(6) && told.stdout.contains("parachute restart web"), "{told}");
    hub.run(&["restart", "web"]).succeeds();
    hub.run(&["doctor"]).succeeds();
    // Whoever made it narrow has not broken it.
    hub.run(&["auth", "rotate-operator", "--scope-set", "start"]).succeeds();
    let told = hub.run(&["doctor"]).succeeds();
    assert!(told.stdout.contains("the operator's token does not show how the modules are"), "{told}");
    hub.run(&["auth", "rotate-operator", "--scope-set", "admin"]).succeeds();
    hub.end();
    let token = hub.home.read("operator.token");
    let told = hub.run(&["doctor"]).succeeds();
    assert!(told.stdout.contains("operator.token: is good until "), "without a hub, too: {told}");
    hub.run(&["auth", "rotate-operator"]).succeeds();
    hub.home.write("operator.token", &token);
    let told = hub.run(&["doctor"]);
    assert!(told.code() == Some(6) && told.stdout.contains("was revoked on "), "{told}");
}

/// C44: what a child was handed by file is its own until it is gone.
#[test]
fn a_restart_takes_nothing_from_the_child_that_still_lives() {
    const SLOW: [&str; 3] = [
        "/bin/sh",
        "-c",
        "trap 'echo term now; while [ ! -e go ]; do sleep 0.05; done; exit 0' TERM; echo up now; while :; do sleep 0.05; done",
    ];
    const VERIFY_KEYS: &str = "web/run/verify-keys.json";
    let slow = |verify: bool| {
        module("web", SLOW.map(str::to_owned).to_vec()).run(json!({ "ready": "none", "verifyKeys": verify }))
    };
    let hub = Hub::start(&[slow(true)]);
    hub.until_line("web", "up ", "now");
    let (pid, token) = (hub.until_ready("web"), mint(&hub, "web:read"));
    let key = module_key(&hub, "web");
    let is_active = |key: &str| introspect(&hub, key, &token).json()["active"] == true;
    let keeps_all = |when: &str| {
        assert_eq!(module_key(&hub, "web"), key, "{when}");
        assert!(is_active(&key), "{when}");
        assert!(hub.home.path().join(VERIFY_KEYS).exists(), "{when}");
    };
    keeps_all("at first");
    for broken in [
        slow(false).manifest("startCmd", json!(["/nonexistent/prog"])),
        slow(false).run(json!({ "ready": "none", "user": "nosuchuser" })),
    ] {
        hub.home.install(&broken);
        hub.run(&["restart", "web"]).fails_with(6);
        assert_eq!(hub.until_ready("web"), pid);
        keeps_all("after a restart that was refused");
    }

    hub.home.install(&slow(false));
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| hub.run(&["restart", "web"]));
        hub.line_after("web", "term ");
        keeps_all("while it is being stopped");
        fs::write(hub.home.package("web").join("go"), "").expect("written");
        restart.join().expect("the restart has an answer").succeeds();
    });
    hub.until_replaced("web", pid);
    let next = module_key(&hub, "web");
    assert!(next != key && is_active(&next), "the new child's own");
    assert_eq!(introspect(&hub, &key, &token).status, 401);
    assert!(!hub.home.path().join(VERIFY_KEYS).exists(), "taken back with the setting");
}
