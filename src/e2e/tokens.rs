//! Tokens from their making to their end; the numbers are those of operator-token Part C.

use crate::support::tokens::{introspect, mint, module_key, post, web};
use crate::support::{Finished, Home, Hub, eventually, http, module, testchild};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

/// C23, C24, C26, C27, C29, C50, C52
#[test]
fn c23_c24_c26_c27_c29_c49_c50_c52_the_api_mints_lists_and_revokes_by_the_same_rules() {
    let hub = Hub::start(&[web()]);
    let operator = hub.token();
    for (body, status, code) in [
        (json!({"scope": "parachute:host:admin"}), 400, "invalid_scope"),
        (json!({"scope": "web:read\tweb:write"}), 400, "invalid_scope"),
        (json!({"scope": "vault:nowhere:read"}), 400, "invalid_scope"),
        (json!({"scope": "web:read", "audience": "operator"}), 400, "invalid_request"),
        (json!({"scope": "web:read other:read"}), 400, "invalid_request"),
        (json!({"scope": "web:read", "expires_in": 0}), 400, "invalid_request"),
        (json!({"scope": "web:read", "expires_in": 31_536_001}), 400, "invalid_request"),
        (json!({"scope": "web:read", "expires_in": "60"}), 400, "invalid_request"),
        (json!({"scope": "web:read", "aud": "web"}), 400, "invalid_request"),
        (json!({"scope": "web:read", "permissions": []}), 400, "invalid_request"),
        (json!({"scope": "web:read", "subject": ""}), 400, "invalid_request"),
        (json!({"scope": "web:read", "subject": "a\nb"}), 400, "invalid_request"),
        (json!({}), 400, "invalid_request"),
        (json!([]), 400, "invalid_request"),
        (json!({"scope": "x".repeat(20_000)}), 413, "too_large"),
    ] {
        let answer = post(&hub, "/api/auth/mint-token", &operator, &body);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(code)), "{body:.80}: {answer:?}");
    }
    let minted = post(
        &hub,
        "/api/auth/mint-token",
        &operator,
        &json!({"scope": "web:read", "subject": "ann", "expires_in": 60}),
    )
    .json();
    let (token, jti) = (minted["token"].as_str().expect("a token"), minted["jti"].as_str().expect("a number"));
    assert_eq!(
        (&minted["audience"], &minted["subject"], &minted["scope"]),
        (&json!("web"), &json!("ann"), &json!("web:read"))
    );

    let bearer = format!("Bearer {operator}");
    let twice = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
    let lower = format!("bearer  {operator}");
    let cookie = format!("token={operator}");
    for (what, headers, status) in [
        ("lower case, two spaces", &[("Authorization", lower.as_str())][..], 200),
        ("twice", &twice, 401),
        ("a module's", &[("Authorization", &format!("Bearer {token}"))], 401),
        ("in a cookie", &[("Cookie", &cookie)], 401),
    ] {
        let answer = http::request(hub.port, "GET", "/api/auth/tokens", headers, b"").expect("an answer");
        assert_eq!(answer.status, status, "{what}: {answer:?}");
    }
    assert_eq!(hub.get(&format!("/api/auth/tokens?access_token={operator}")).status, 401);

    let list = hub.api("GET", "/api/auth/tokens?subject=ann").json();
    assert_eq!(list["tokens"][0]["jti"], jti, "{list}");
    assert_eq!(hub.api("GET", &format!("/api/auth/tokens/{jti}")).json()["created_via"], "cli_mint");
    for query in ["revoked=maybe", "active=maybe", "created_via=magic", "cursor=junk"] {
        assert_eq!(hub.api("GET", &format!("/api/auth/tokens?{query}")).status, 400, "{query}");
    }
    let revoke = |jti: &str| post(&hub, "/api/auth/revoke-token", &operator, &json!({ "jti": jti }));
    let first = revoke(jti).json();
    assert_eq!(first["revoked"], 1, "{first}");
    let again = revoke(jti).json();
    assert_eq!((&again["revoked"], &again["revoked_at"]), (&json!(0), &first["revoked_at"]));
    for (jti, status) in [("unknown", 404), (&*"x".repeat(257), 400), ("a\nb", 400), ("", 400)] {
        assert_eq!(revoke(jti).status, status, "{jti:.20}");
    }
    let revoked = hub.get("/.well-known/parachute-revocation.json");
    assert_eq!(
        (revoked.json()["jtis"].clone(), revoked.header("cache-control")),
        (json!([jti]), Some("public, max-age=60"))
    );
    assert_eq!(revoked.header("access-control-allow-origin"), Some("*"));
    // C49
    assert_eq!(hub.get("/.well-known/jwks.json").json(), json!({ "keys": [] }));
    let log = hub.api("GET", "/api/auth/log?n=2").json();
    assert_eq!(
        (&log["entries"][0]["action"], &log["entries"][0]["peer"]),
        (&json!("token.revoke"), &json!("this machine")),
        "{log}"
    );

    hub.run(&["auth", "rotate-operator", "--scope-set", "start"]).succeeds();
    let narrow = hub.token();
    for (path, body) in [("mint-token", json!({"scope": "web:read"})), ("revoke-token", json!({ "jti": jti }))] {
        assert_eq!(post(&hub, &format!("/api/auth/{path}"), &narrow, &body).status, 403, "{path}");
    }
    assert_eq!(hub.api("GET", "/api/auth/tokens").status, 403);
    hub.run(&["stop", "web"]).succeeds();
    hub.run(&["start", "web"]).succeeds();
    assert_eq!(hub.api("GET", "/api/modules/web/logs").status, 200, "what the set is for");
    assert_eq!(hub.api("GET", "/api/hub").status, 403);
}

/// C19
#[test]
fn c19_no_request_puts_its_host_among_the_issuers() {
    let hub = Hub::start_with(&[web()], &[("PARACHUTE_ALLOWED_HOSTS", "evil.example")]);
    hub.until_ready("web");
    let body = json!({"scope": "web:read"}).to_string();
    let head = format!(
        "POST /api/auth/mint-token HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\n\
         X-Forwarded-Proto: https\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        hub.token(),
        body.len()
    );
    let answer = http::exchange(hub.port, head.as_bytes()).expect("an answer");
    let answer = http::Response::parse(&answer).expect("whole");
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.json()["token"].as_str().expect("a token").to_owned();
    let said = introspect(&hub, &module_key(&hub, "web"), &token).json();
    assert_eq!(said["iss"], format!("http://127.0.0.1:{}", hub.port), "{said}");
}

#[test]
fn the_verbs_do_the_same_with_the_hub_up_and_down() {
    let mut hub = Hub::start(&[web()]);
    for is_up in [true, false] {
        if !is_up {
            hub.end();
        }
        let file = hub.home.path().join(format!("token-{is_up}"));
        let path = file.to_str().expect("UTF-8");
        let minted = hub.run(&["auth", "mint-token", "--scope", "web:read", "--token-file", path, "--json"]).succeeds();
        let data = minted.json()["data"].clone();
        let token = fs::read_to_string(&file).expect("written").trim().to_owned();
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o7777, 0o600);
        assert!(!minted.to_string().contains(&token) && data["token_file"] == path, "{minted}");
        hub.run(&["auth", "mint-token", "--scope", "web:read", "--token-file", path]).fails_with(7);
        // It was asked for there, and belongs nowhere in a home.
        fs::remove_file(&file).expect("it is there");
        let jti = data["jti"].as_str().expect("a number");
        let shown = hub.run(&["auth", "show-token", jti, "--json"]).succeeds().json();
        assert_eq!(shown["data"]["audience"], "web", "up: {is_up}");
        let list = hub.run(&["auth", "list-tokens", "--active"]).succeeds();
        assert!(list.stdout.contains(jti) && list.stdout.starts_with("JTI"), "{list}");
        hub.run(&["auth", "revoke-token", jti]).succeeds();
        let again = hub.run(&["auth", "revoke-token", jti]).succeeds();
        assert!(again.stdout.contains("already"), "{again}");
        let list = hub.run(&["auth", "list-tokens", "--active"]).succeeds();
        assert!(!list.stdout.contains(jti), "{list}");
        for (args, exit) in [
            (&["auth", "revoke-token", "unknown"][..], 1),
            (&["auth", "show-token", "unknown"], 1),
            (&["auth", "mint-token", "--scope", "hub:admin"], 1),
            (&["auth", "mint-token", "--scope", "x"], 1),
            (&["auth", "mint-token"], 2),
            (&["auth", "nonsense"], 2),
            (&["auth", "module-key", "../x"], 9),
        ] {
            hub.run(args).fails_with(exit);
        }
        let long = "s".repeat(129);
        for (args, hint) in [
            (&["auth", "revoke-token", "unknown"][..], "see: parachute auth list-tokens"),
            (&["auth", "show-token", "abcdefghijklmnopqrstuv"], "see: parachute auth list-tokens"),
            (&["auth", "mint-token", "--scope", "web:read", "--sub", &long], "see: parachute auth"),
        ] {
            let done = hub.run(args).fails_with(1);
            assert!(done.stderr.contains(hint), "up: {is_up}: {done}");
        }
        let log = hub.run(&["auth", "log", "-n", "3"]).succeeds();
        assert!(
            log.stdout.contains("token.revoke") && log.stdout.contains(if is_up { "via http" } else { "via cli" }),
            "{log}"
        );
        let own = hub.run(&["auth", "show-token"]).succeeds();
        assert!(own.stdout.contains("admin") && !own.stdout.contains(&hub.token()), "{own}");

        let before = hub.token();
        hub.run(&["auth", "rotate-operator"]).succeeds();
        assert_ne!(hub.token(), before);
        hub.run(&["auth", "list-tokens"]).succeeds();
        let environment = |token: &str| {
            let mut command = hub.home.command(&["auth", "list-tokens"]);
            command.env("PARACHUTE_OPERATOR_TOKEN", token);
            Finished::run(command)
        };
        environment(&before).fails_with(11);
        environment(&hub.token()).succeeds();
        let revoked = hub.run(&["auth", "revoke-all", "--subject", "nobody", "--json"]).succeeds().json();
        assert_eq!(revoked["data"]["revoked"], 0);
    }
}

/// C40 with the hub running, and C41 from two processes
#[test]
fn c40_c41_a_running_hub_knows_a_new_key_at_once() {
    let hub = Hub::start(&[web()]);
    hub.until_ready("web");
    let (old_operator, token) = (hub.token(), mint(&hub, "web:read"));
    let key = module_key(&hub, "web");
    hub.run(&["auth", "rotate-key"]).succeeds();
    hub.run(&["status"]).succeeds();
    assert_eq!(introspect(&hub, &key, &token).json()["active"], true, "it overlaps");
    let old = format!("Bearer {old_operator}");
    assert_eq!(
        http::request(hub.port, "GET", "/api/hub", &[("Authorization", &old)], b"").expect("an answer").status,
        200
    );

    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| hub.run(&["auth", "rotate-key"]).succeeds());
        }
    });
    hub.run(&["auth", "rotate-key"]).fails_with(7);
    let ended = hub.run(&["auth", "rotate-key", "--now", "--json"]).succeeds().json();
    assert!(ended["data"]["ending_early"].as_array().is_some_and(|tokens| tokens.len() >= 2), "{ended}");
    hub.run(&["auth", "list-tokens"]).succeeds();
    assert_eq!(introspect(&hub, &key, &token).json()["active"], false);
    assert_eq!(
        http::request(hub.port, "GET", "/api/hub", &[("Authorization", &old)], b"").expect("an answer").status,
        401
    );
}

#[test]
fn c40_the_old_key_goes_on_for_the_grace_that_the_command_was_given() {
    let hub = Hub::start(&[web()]);
    hub.until_ready("web");
    let (key, token) = (module_key(&hub, "web"), mint(&hub, "web:read"));
    let long_lived = post(&hub, "/api/auth/mint-token", &hub.token(), &json!({"scope": "web:read"})).json();
    let number = long_lived["jti"].as_str().expect("a number");
    let rotated = hub.run(&["auth", "rotate-key", "--grace", "2h", "--json"]).succeeds().json();
    let data = &rotated["data"];
    assert!(data["old_key_until"].is_string(), "{rotated}");
    let ending: Vec<_> = data["ending_early"].as_array().expect("a list").iter().map(|token| &token["jti"]).collect();
    assert_eq!(ending, [number], "what lives for an hour ends by itself, and the operator's has been replaced");
    for token in [token.as_str(), long_lived["token"].as_str().expect("a token")] {
        assert_eq!(introspect(&hub, &key, token).json()["active"], true, "{rotated}");
    }
    hub.run(&["auth", "list-tokens"]).succeeds();

    let token = mint(&hub, "web:read");
    let rotated = hub.run(&["auth", "rotate-key", "--grace", "1s"]).succeeds();
    assert!(rotated.stdout.contains("are good until") && rotated.stdout.contains("end before their time"), "{rotated}");
    eventually("an end of the grace", || (introspect(&hub, &key, &token).json()["active"] == false).then_some(()));
    hub.says("inactive for web: key: ");
    hub.run(&["auth", "list-tokens"]).succeeds();
}

/// C37
#[test]
fn c37_an_operator_token_that_is_not_ours_alone_is_refused_and_nobody_hangs() {
    let hub = Hub::start(&[]);
    let token = hub.token();
    let path = hub.home.path().join("operator.token");
    let beside = hub.home.path().join("beside");
    let line = format!("{token}\n");
    type Make<'a> = &'a dyn Fn();
    let put = |text: &str, mode: u32| {
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
    };
    let cases: [(&str, Make<'_>, i32); 15] = [
        (
            "symlink",
            &|| {
                put(&line, 0o600);
                fs::rename(&path, &beside).expect("moved");
                symlink(&beside, &path).expect("linked")
            },
            11,
        ),
        (
            "hard link",
            &|| {
                put(&line, 0o600);
                fs::hard_link(&path, &beside).expect("linked")
            },
            11,
        ),
        ("directory", &|| fs::create_dir(&path).expect("made"), 11),
        ("fifo", &|| assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success()), 11),
        ("loose", &|| put(&line, 0o644), 0),
        // Nobody else can get at it, and root can; whoever is not root is looked at elsewhere.
        ("mode 0000", &|| put(&line, 0o000), 0),
        ("read-only", &|| put(&line, 0o400), 0),
        (
            "foreign owner",
            &|| {
                put(&line, 0o600);
                chown(&path, Some(65_534), None).expect("root gives files away")
            },
            11,
        ),
        ("dangling link", &|| symlink(&beside, &path).expect("linked"), 11),
        ("missing", &|| {}, 11),
        ("empty", &|| put("", 0o600), 11),
        ("carriage return", &|| put(&format!("{token}\r\n"), 0o600), 0),
        ("two lines", &|| put(&format!("{token}\n{token}\n"), 0o600), 11),
        ("a megabyte", &|| put(&"x".repeat(1 << 20), 0o600), 11),
        ("junk", &|| put("junk\n", 0o600), 11),
    ];
    for (name, make, exit) in cases {
        let _whatever_is_there = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        let _may_be_missing = fs::remove_file(&beside);
        make();
        let facts =
            || fs::symlink_metadata(&path).map(|facts| (facts.ino(), facts.mode(), facts.uid(), facts.len())).ok();
        let before = facts();
        let done = hub.run(&["auth", "list-tokens"]);
        assert_eq!(done.code(), Some(exit), "{name}: {done}");
        assert_eq!(facts() == before, name != "loose", "{name}: only a loose mode is mended");
        let says_what_to_do = done.stderr.contains("rotate-operator") && done.stderr.contains("operator.token");
        assert!(exit == 0 || name == "junk" || says_what_to_do, "{name}: {done}");
        assert!(!done.stderr.contains(&token), "{name}: {done}");
        assert_eq!(done.stderr.contains("tightened"), name == "loose", "{name}: {done}");
    }
}

/// C48
#[test]
fn c48_no_token_and_no_key_is_anywhere_but_where_it_belongs() {
    let home = Home::new();
    home.install(&module("web", testchild(&["print-env"])).run(json!({"ready": "none", "verifyKeys": true})));
    let hub = Hub::start_in(home, &[]);
    let pid = hub.number_after("web", "ready ");
    let file = hub.home.path().join("minted");
    let path = file.to_str().expect("UTF-8");
    let mut seen = Vec::new();
    for args in [
        &["auth", "mint-token", "--scope", "web:read", "--token-file", path][..],
        &["auth", "list-tokens", "--json"],
        &["auth", "show-token", "--json"],
        &["auth", "log", "--json"],
        &["auth", "rotate-key", "--json"],
        &["auth", "rotate-operator", "--json"],
        &["status", "--json"],
        &["check", "--json"],
    ] {
        seen.push((format!("{args:?}"), hub.run(args).succeeds().to_string()));
    }
    let minted = fs::read_to_string(&file).expect("written").trim().to_owned();
    let key = module_key(&hub, "web");
    for body in [json!({"scope": minted}), json!({"scope": "web:read", "subject": "a\n", "permissions": {"x": minted}})]
    {
        seen.push(("an error".to_owned(), post(&hub, "/api/auth/mint-token", &hub.token(), &body).text()));
    }
    for (key, token) in [(&minted, &key), (&key, &hub.token()), (&key, &format!("{minted}x"))] {
        seen.push(("introspection".to_owned(), introspect(&hub, key, token).text()));
    }
    for path in ["/api/auth/tokens", "/api/auth/log", "/api/modules", "/.well-known/parachute-revocation.json"] {
        seen.push((path.to_owned(), hub.api("GET", path).text()));
    }
    seen.push(("the hub's output".to_owned(), hub.output()));
    for pid in [pid, hub.pid()] {
        for name in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).expect("it lives");
            seen.push((format!("{name} of {pid}"), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", hub.pid())).expect("it lives");
    assert!(limits.lines().any(|line| line.starts_with("Max core file size        0 ")), "{limits}");
    let verify = hub.home.read("web/run/verify-keys.json");
    let verify: Value = serde_json::from_str(&verify).expect("JSON");
    let derived = verify["keys"][0]["k"].as_str().expect("a key").to_owned();
    for (what, secret) in
        [("operator", &hub.token()), ("token", &minted), ("module key", &key), ("derived key", &derived)]
    {
        for (place, text) in &seen {
            assert!(!text.contains(secret.as_str()), "{place} holds the {what}");
        }
        let grep =
            Command::new("grep").arg("-rlF").arg("--").arg(secret).arg(hub.home.path()).output().expect("grep runs");
        let files = String::from_utf8_lossy(&grep.stdout).into_owned();
        let belongs =
            ["/operator.token", "/minted", "/web/run/hub.key", "/web/run/hub.key.spare", "/web/run/verify-keys.json"];
        assert!(files.lines().all(|file| belongs.iter().any(|end| file.ends_with(end))), "{what}: {files}");
    }
    let shown = hub.home.read("web/run/hub.key");
    assert!(!shown.is_empty());
    for name in ["web/run/hub.key", "web/run/verify-keys.json", "hub/run/epoch", "hub/run/operator.lock"] {
        let facts = fs::symlink_metadata(hub.home.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(facts.permissions().mode() & 0o7777, 0o600, "{name}");
    }
    // Where it was asked for.
    fs::remove_file(&file).expect("it is there");
}

/// B10
#[test]
fn a_token_whose_key_is_over_is_listed_as_such_and_not_as_active() {
    let hub = Hub::start(&[]);
    let minted = post(&hub, "/api/auth/mint-token", &hub.token(), &json!({ "scope": "web:read" })).json();
    let jti = minted["jti"].as_str().expect("a number");
    let line = |args: &[&str]| {
        let listed = hub.run(&[&["auth", "list-tokens"], args].concat()).succeeds();
        listed.stdout.lines().find(|line| line.starts_with(jti)).map(str::to_owned)
    };
    assert!(line(&["--active"]).is_some_and(|line| line.contains(" good ")));
    hub.run(&["auth", "rotate-key", "--grace", "1s"]).succeeds();
    eventually("the end of its key", || line(&["--active"]).is_none().then_some(()));
    assert!(line(&[]).is_some_and(|line| line.contains(" void ")));
    assert_eq!(line(&["--revoked"]), None);
    let state = |tokens: &Value| {
        let tokens = tokens["tokens"].as_array().expect("a list");
        tokens.iter().find(|token| token["jti"] == jti).map(|token| token["state"].clone())
    };
    let said = hub.run(&["auth", "list-tokens", "--json"]).succeeds().json();
    assert_eq!(state(&said["data"]), Some(json!("void")));
    for (query, expected) in [("", Some(json!("void"))), ("?active=false", Some(json!("void"))), ("?active=true", None)]
    {
        assert_eq!(state(&hub.api("GET", &format!("/api/auth/tokens{query}")).json()), expected, "{query}");
    }
    let shown = hub.run(&["auth", "show-token", jti]).succeeds();
    assert!(shown.stdout.contains("state       void"), "{shown}");
}
