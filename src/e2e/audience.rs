//! Pages of modules that not everybody may see.

use crate::database::sql;
use crate::login::{open, raw};
use crate::support::http::{self, Response};
use crate::support::tokens::{mint, post};
use crate::support::{Connection, Home, Hub, Module, eventually, free_port, module, testchild};
use crate::websockets::{chat, shake_hands};
use serde_json::{Value, json};

const HTML: &str = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
const PUBLIC: &str = "https://hub.example";
/// What a proxy on this machine passes on for somebody elsewhere.
const ELSEWHERE: [&str; 3] = ["Host: hub.example", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https"];

fn ui(path: &str, audience: &str, scopes: &[&str]) -> Value {
    json!({ "displayName": "A page", "path": path, "audience": audience, "scopes_required": scopes })
}

/// A module with a page for everybody, with and without scopes for the hub's users, and for the operator.
fn web() -> Module {
    module("web", testchild(&["http"])).row(
        "uis",
        json!({
            "app": ui("/web/app", "hub-users", &[]),
            "notes": ui("/web/notes", "hub-users", &["web:*"]),
            "admin": ui("/web/admin", "operator", &[]),
            "help": ui("/web/app/help", "public", &[]),
            "old": { "displayName": "An old page", "path": "/web/old", "public": true },
            "plain": { "displayName": "A page", "path": "/web/plain" },
            "away": ui("/other", "operator", &[]),
        }),
    )
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

/// A request on this machine, with these lines besides.
#[track_caller]
fn ask(hub: &Hub, request: &str, fields: &[&str]) -> Response {
    let host = format!("Host: 127.0.0.1:{}", hub.port);
    raw(hub, request, &[&[host.as_str()], fields].concat())
}

/// The cookie of a browser that was let in here, and where it was led.
#[track_caller]
fn let_in(hub: &Hub, args: &[&str]) -> (String, String) {
    let (_, path) = open(hub, args);
    let answer = ask(hub, &format!("GET {path}"), &[]);
    let cookie = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    (format!("Cookie: {cookie}"), answer.header("location").expect("a way on").to_owned())
}

#[test]
fn each_page_is_shown_to_whom_it_is_for() {
    let hub = Hub::start(&[web(), module("other", testchild(&["http"]))]);
    hub.until_ready("web");
    hub.until_ready("other");
    let (cookie, to) = let_in(&hub, &["/web/app?x=1"]);
    assert_eq!(to, "/web/app?x=1");
    let operator = bearer(&hub.token());
    let (reads, elsewhere) = (bearer(&mint(&hub, "web:read")), bearer(&mint(&hub, "other:read")));
    let minted = post(&hub, "/api/auth/mint-token", &hub.token(), &json!({ "scope": "web:read" })).json();
    let said = |field: &str| minted[field].as_str().unwrap_or_else(|| panic!("no {field}: {minted}")).to_owned();
    let (jti, revoked) = (said("jti"), bearer(&said("token")));
    assert_eq!(ask(&hub, "GET /web/app", &[&revoked]).status, 200);
    hub.run(&["auth", "revoke-token", &jti]).succeeds();
    let deep = bearer(&mint(&hub, "web:pages:read"));
    for (who, shown, expected) in [
        ("nobody", "X: x", [401, 401, 401]),
        ("the operator's token", operator.as_str(), [200, 403, 200]),
        ("the module's, with the scope", &reads, [200, 200, 403]),
        ("the module's, without the scope", &deep, [200, 403, 403]),
        ("another module's", &elsewhere, [401, 401, 401]),
        ("revoked", &revoked, [401, 401, 401]),
        ("junk", "Authorization: Bearer junk", [401, 401, 401]),
        ("two", &format!("{operator}\r\n{operator}"), [401, 401, 401]),
        ("a browser", &cookie, [200, 200, 200]),
        ("two cookies", &format!("{cookie}\r\n{cookie}"), [401, 401, 401]),
        ("a browser that speaks with its module", &format!("{cookie}\r\n{elsewhere}"), [200, 200, 200]),
    ] {
        let pages = ["/web/app", "/web/notes/x", "/web/admin"];
        let found = pages.map(|page| ask(&hub, &format!("GET {page}"), &[shown]).status);
        assert_eq!(found, expected, "{who}");
        for page in ["/web", "/web/app/help", "/web/old/x", "/web/elsewhere", "/other"] {
            assert_eq!(ask(&hub, &format!("GET {page}"), &[shown]).status, 200, "{who} at {page}");
        }
        let plain = ask(&hub, "GET /web/plain", &[shown]).status;
        assert_eq!(plain, expected[0], "{who}: what says nothing is for the hub's users");
    }
    for (page, shown, status, error) in [
        ("/web/app", "X: x", 401, "unauthenticated"),
        ("/web/notes", &operator, 403, "insufficient_scope"),
        ("/web/admin", &reads, 403, "not_admin"),
    ] {
        let answer = ask(&hub, &format!("GET {page}"), &[shown]);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{page}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{page}");
        assert_eq!(answer.header("www-authenticate") == Some("Bearer"), status == 401, "{page}");
    }
    // What lets somebody in stays with the hub.
    let seen = ask(&hub, "GET /web/app/echo", &[&cookie, &operator]).text();
    assert!(seen.starts_with("GET /web/app/echo ") && !seen.contains("parachute_hub") && !seen.contains("Bearer"));
    hub.says("refused \"a page of web\": revoked: it was revoked");

    let page = ask(&hub, "GET /web/app/x", &[HTML]);
    assert_eq!((page.status, page.header("content-type")), (401, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("<code>parachute open /web/app/x</code>"), "{}", page.text());
    assert!(ask(&hub, "HEAD /web/app", &[HTML]).body.is_empty());

    hub.run(&["auth", "rotate-operator"]).succeeds();
    for page in ["/web/app", "/web/admin"] {
        assert_eq!(ask(&hub, &format!("GET {page}"), &[&cookie]).status, 401, "its token was taken back");
    }
}

#[test]
fn no_other_mount_of_a_module_leads_around_its_pages() {
    let installed = |name: &str, paths: Value, page: &str| {
        let row = module(name, testchild(&["http"])).row("paths", paths);
        row.row("uis", json!({ "admin": ui(page, "operator", &[]) }))
    };
    let hub = Hub::start(&[
        installed("both", json!(["/both", "/alt"]), "/both/admin").row("stripPrefix", json!(true)),
        installed("wiki", json!(["/", "/pub"]), "/pub/admin"),
    ]);
    hub.until_ready("both");
    hub.until_ready("wiki");
    let token = bearer(&hub.token());
    for (path, seen) in [
        ("/both/admin/echo", "/admin/echo"),
        ("/alt/admin/echo", "/admin/echo"),
        ("/alt/Admin/echo", "/Admin/echo"),
        ("/pub/admin/echo", "/pub/admin/echo"),
        ("/wiki/pub/admin/echo", "/pub/admin/echo"),
    ] {
        let answer = ask(&hub, &format!("GET {path}"), &[]);
        assert_eq!(answer.status, 401, "{path}: {answer:?}");
        let answer = ask(&hub, &format!("GET {path}"), &[&token]);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private")), "{path}");
        assert!(answer.text().starts_with(&format!("GET {seen} ")), "{path}: {}", answer.text());
    }
    for path in ["/both", "/alt/echo", "/alt/both/admin", "/pub/echo", "/wiki/admin", "/wiki/pub"] {
        assert_eq!(ask(&hub, &format!("GET {path}"), &[]).status, 200, "{path}");
    }
}

#[test]
fn no_row_of_the_same_process_leads_around_a_page() {
    let port = free_port();
    let vault = |name: &str, path: &str| {
        let row = module(name, testchild(&["http"])).row("port", json!(port)).row("paths", json!([path]));
        row.row("stripPrefix", json!(true))
    };
    let keys = json!({ "keys": ui("/vault/b/keys", "operator", &[]) });
    let hub =
        Hub::start(&[vault("parachute-vault", "/vault/a"), vault("parachute-vault-b", "/vault/b").row("uis", keys)]);
    hub.until_ready("vault");
    let token = bearer(&hub.token());
    for path in ["/vault/b/keys/echo", "/vault/a/keys/echo", "/vault/a/Keys;x/echo", "/vault/a//keys/echo"] {
        assert_eq!(ask(&hub, &format!("GET {path}"), &[]).status, 401, "{path}");
        assert_eq!(ask(&hub, &format!("GET {path}"), &[&token]).status, 200, "{path}");
    }
    for path in ["/vault/a/echo", "/vault/b/echo", "/vault/admin/keys", "/mcp"] {
        assert_eq!(ask(&hub, &format!("GET {path}"), &[]).status, 200, "{path}");
    }
}

#[test]
fn a_cookie_changes_something_from_pages_of_ours_alone() {
    let hub = Hub::start(&[web(), chat().row("uis", json!({ "room": ui("/chat/room", "hub-users", &[]) }))]);
    hub.until_ready("web");
    hub.until_ready("chat");
    let (cookie, to) = let_in(&hub, &[]);
    assert_eq!(to, "/");
    let own = format!("Origin: http://127.0.0.1:{}", hub.port);
    let near = format!("Origin: http://127.0.0.1:{}", hub.port - 1);
    let token = bearer(&mint(&hub, "web:read"));
    let (required, mismatch) = (Some("csrf_origin_required"), Some("csrf_origin_mismatch"));
    for (fields, expected) in [
        (&[cookie.as_str()][..], required),
        (&[&cookie, "Sec-Fetch-Site: same-origin"], required),
        (&[&cookie, "Sec-Fetch-Site: cross-site"], mismatch),
        (&[&cookie, "Origin: http://evil.example"], mismatch),
        (&[&cookie, "Origin: null"], mismatch),
        (&[&cookie, &near], mismatch),
        (&[&cookie, &own, &own], mismatch),
        (&[&cookie, &own], None),
        // No page can make up a token.
        (&[&token], None),
        (&[&token, "Origin: http://evil.example"], None),
    ] {
        let refused = |answer: &Response| answer.json()["error"].as_str().map(str::to_owned);
        for method in ["POST", "DELETE", "PATCH"] {
            let answer = ask(&hub, &format!("{method} /web/app"), fields);
            assert_eq!(answer.status, if expected.is_some() { 403 } else { 200 }, "{method} {fields:?}");
            assert_eq!(expected, if answer.status == 403 { refused(&answer) } else { None }.as_deref(), "{fields:?}");
        }
        assert_eq!(ask(&hub, "GET /web/app", fields).status, 200, "{fields:?}");
    }
    let room = bearer(&mint(&hub, "chat:read"));
    for (lines, status) in [
        (&[][..], 401),
        (&["Origin: http://evil.example"], 401),
        (&[cookie.as_str()], 403),
        (&[&cookie, "Origin: http://evil.example"], 403),
        (&[&cookie, &own], 101),
        (&[&room], 101),
        (&[&token], 401),
    ] {
        let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let (answer, _connection) = shake_hands(&hub, "/chat/room", &more);
        assert_eq!(answer.status, status, "{lines:?}: {answer:?}");
    }
    assert_eq!(shake_hands(&hub, "/web/app", "").0.status, 401, "whether it takes any is not said");
    assert_eq!(shake_hands(&hub, "/web/app", &format!("{token}\r\n")).0.status, 426);
    assert_eq!(shake_hands(&hub, "/chat/lobby", "").0.status, 101);
}

#[test]
fn a_body_comes_through_to_a_page_that_takes_a_token() {
    let hub = Hub::start(&[web()]);
    hub.until_ready("web");
    let token = bearer(&mint(&hub, "web:read"));
    let mut connection = Connection::open(hub.port);
    connection.ask("POST", "/web/app/echo", &format!("{token}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"));
    assert_eq!(connection.head().expect("an answer").status, 100);
    connection.send(b"hello");
    assert!(connection.answer("POST").expect("an answer").text().ends_with("\r\n\r\nhello"));
    connection.ask("POST", "/web/app/echo", &format!("{token}\r\nTransfer-Encoding: chunked\r\n"));
    connection.send(b"3\r\nhel\r\n");
    connection.send(b"2\r\nlo\r\n0\r\n\r\n");
    assert!(connection.answer("POST").expect("an answer").text().ends_with("\r\n\r\nhello"));
    // One connection carries what is for everybody, what is not, and the next of each.
    connection.ask("GET", "/web/app", "");
    connection.ask("GET", "/web", "");
    connection.ask("HEAD", "/web/app", &format!("{token}\r\n"));
    connection.ask("POST", "/web/app", "Content-Length: 5\r\nExpect: 100-continue\r\n");
    let statuses = ["GET", "GET", "HEAD", "POST"].map(|method| connection.answer(method).expect("an answer").status);
    assert_eq!(statuses, [401, 200, 200, 401]);
    connection.until_closed();
}

#[test]
fn other_pages_hold_for_the_next_request_and_end_no_stream() {
    let hub = Hub::start(&[web()]);
    hub.until_ready("web");
    let mut stream = Connection::open(hub.port);
    stream.ask("GET", "/web/sse", "");
    assert_eq!(stream.head().expect("an answer").status, 200);
    assert_eq!(stream.chunk().expect("a chunk"), Some(b"data: 1\n\n".to_vec()));
    let install = |uis: Value| {
        let mut rows: Value = serde_json::from_str(&hub.home.read("services.json")).expect("rows");
        rows["services"][0]["uis"] = uis;
        hub.home.write("services.json", &rows.to_string());
    };
    let until = |status: u16| eventually("other pages", || (hub.get("/web/x").status == status).then_some(()));
    install(json!({ "all": ui("/web", "operator", &[]), "tick": ui("/web/tick", "public", &[]) }));
    until(401);
    assert_eq!(ask(&hub, "GET /web/x", &[&bearer(&hub.token())]).status, 200);
    assert_eq!(hub.get("/web/tick").status, 200);
    assert_eq!(stream.chunk().expect("a chunk"), Some(b"data: 2\n\n".to_vec()));
    install(json!({ "all": ui("/web", "public", &[]) }));
    until(200);
    assert_eq!(hub.get("/web/tick").status, 200);
    assert_eq!(stream.chunk().expect("a chunk"), Some(b"data: 3\n\n".to_vec()));
    // A row whose pages cannot be understood is no module's.
    install(json!({ "all": ui("/web", "friends", &[]) }));
    until(404);
}

#[test]
fn from_elsewhere_the_same_holds_and_what_is_for_this_machine_is_not_there() {
    let cloaked = module("mine", testchild(&["http"])).row("publicExposure", json!("loopback"));
    let cloaked = cloaked.row("uis", json!({ "app": ui("/mine", "hub-users", &[]) }));
    let hub = Hub::start_with(&[web(), cloaked], &[("PARACHUTE_HUB_ORIGIN", PUBLIC)]);
    hub.until_ready("web");
    hub.until_ready("mine");
    let token = bearer(&mint(&hub, "web:read"));
    let mine = bearer(&mint(&hub, "mine:read"));
    let ask = |request: &str, fields: &[&str]| raw(&hub, request, &[&ELSEWHERE[..], fields].concat());
    let (_, path) = open(&hub, &["/web/admin"]);
    let login = ask(&format!("GET {path}"), &[]);
    assert_eq!((login.status, login.header("location")), (303, Some("/web/admin")), "{login:?}");
    let cookie = login.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie");
    let cookie = format!("Cookie: {cookie}");
    assert_eq!(ask("GET /web/app", &[]).status, 401);
    assert_eq!(ask("GET /web/app", &[&token]).status, 200);
    assert_eq!(ask("GET /web/admin", &[&cookie]).status, 200);
    assert_eq!(ask("POST /web/admin", &[&cookie, "Origin: https://hub.example"]).status, 200);
    for origin in ["Origin: http://hub.example", "Origin: https://hub.example:8443", "Origin: http://localhost"] {
        assert_eq!(ask("POST /web/admin", &[&cookie, origin]).status, 403, "{origin}");
    }
    let page = ask("GET /web/admin", &[HTML]);
    assert!(page.status == 401 && page.text().contains("parachute open /web/admin"), "{page:?}");
    for shown in ["X: x", &mine, &cookie] {
        assert_eq!(ask("GET /mine", &[shown]).status, 404, "it looks as if it was not there");
    }
    assert_eq!(ask("GET /no/such", &[]).body.len(), ask("GET /mine/xx", &[]).body.len());

    // Whoever guesses is soon no longer looked at, here as at the hub's own API.
    let junk = "Authorization: Bearer junk";
    for _ in 0..10 {
        assert_eq!(ask("GET /web/app", &[junk]).status, 401);
        assert_eq!(ask("GET /web/app", &[junk, &cookie]).status, 200);
    }
    for (request, shown) in [("GET /web/app", &token), ("GET /web/app", &junk.to_owned()), ("GET /api/hub", &token)] {
        let answer = ask(request, &[shown]);
        assert!(answer.status == 429 && answer.header("retry-after").is_some(), "{request}: {answer:?}");
    }
    assert_eq!(ask("GET /web/app", &[&cookie]).status, 200);
    assert_eq!(ask("GET /web/app", &[]).status, 401, "no token is no attempt");
    assert_eq!(http::get(hub.port, "/web/app").expect("an answer").status, 401, "nor is this machine limited");
}

#[test]
fn without_a_database_nobody_is_let_in_and_what_is_for_everybody_is_there() {
    let hub = Hub::start(&[web()]);
    hub.until_ready("web");
    let (cookie, _) = let_in(&hub, &[]);
    let shown = [cookie, bearer(&hub.token()), bearer(&mint(&hub, "web:read"))];
    sql(&hub.home, "ALTER TABLE tokens RENAME TO elsewhere");
    for fields in &shown {
        for page in ["/web/app", "/web/admin"] {
            let answer = ask(&hub, &format!("GET {page}"), &[fields]);
            assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("auth_unavailable")), "{page}");
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
    }
    assert_eq!(ask(&hub, "GET /web/app", &[]).status, 401);
    for page in ["/web", "/web/app/help"] {
        assert_eq!(ask(&hub, &format!("GET {page}"), &[&shown[1]]).status, 200, "{page}");
    }
    sql(&hub.home, "ALTER TABLE elsewhere RENAME TO tokens");
    assert_eq!(shown.map(|fields| ask(&hub, "GET /web/app", &[&fields]).status), [200; 3]);
}

#[test]
fn who_is_let_in_waits_for_a_restart_and_nobody_else_does() {
    let hub = Hub::start(&[web()]);
    let before = hub.until_ready("web");
    let token = bearer(&hub.token());
    hub.run(&["restart", "web"]).succeeds();
    assert_eq!(ask(&hub, "GET /web/app", &[&token]).status, 200);
    assert_ne!(hub.until_ready("web"), before);
    hub.run(&["stop", "web"]).succeeds();
    assert_eq!(ask(&hub, "GET /web/app", &[&token]).status, 502);
    for fields in [&[][..], &["Authorization: Bearer junk"], &[HTML]] {
        let answer = ask(&hub, "GET /web/app", fields);
        assert_eq!(answer.status, 401, "how the module stands is nobody else's business: {answer:?}");
    }
}

#[test]
fn a_module_that_is_told_of_its_callers_is_told_of_those_who_were_let_in() {
    const NAME: &str = "proves-python";
    let home = Home::new();
    let argv = ["/usr/bin/python3", "server.py"].map(str::to_owned).to_vec();
    let run = json!({ "ready": { "probe": "http", "timeoutMs": 60_000 }, "proofHeaders": true });
    let page = json!({ "app": ui(&format!("/{NAME}/app"), "hub-users", &[]) });
    home.install(&module(NAME, argv).run(run).row("uis", page));
    home.copy_example(NAME, "server.py");
    let hub = Hub::start_in(home, &[]);
    hub.until_ready(NAME);
    let (cookie, _) = let_in(&hub, &[]);
    let token = bearer(&mint(&hub, &format!("{NAME}:read")));
    let get = |fields: &[&str]| ask(&hub, &format!("GET /{NAME}/app"), fields);
    let told = get(&[&token]);
    assert_eq!((told.status, told.header("cache-control")), (200, Some("private")), "{told:?}");
    assert!(told.json()["subject"].is_string(), "{told:?}");
    assert_eq!(get(&[&token, &cookie]).status, 200);
    // These were let in, and the module knows nobody: it is its own 401, and not the hub's.
    for shown in [cookie.as_str(), &bearer(&hub.token())] {
        let answer = get(&[shown]);
        assert!(answer.status == 401 && !answer.text().contains("parachute open"), "{answer:?}");
    }
    assert!(get(&[]).text().contains("parachute open"));
}
