//! All modules under one origin: which request goes where, what a module gets to see of it, and what a caller is told
//! while its module is away.

use crate::support::http::{self, Response};
use crate::support::{Connection, Home, Hub, Module, eventually, is_alive, kill, module, testchild};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Longer than any test may take: what waits for a module is to be answered by it, and not by the clock.
const PATIENCE_MS: u32 = 600_000;

pub(crate) fn web(name: &str) -> Module {
    module(name, testchild(&["http"]))
}

/// A request whose head is written by the test, but for the end of it.
#[track_caller]
fn raw(hub: &Hub, head: &str) -> Response {
    let answer = http::exchange(hub.port, format!("{head}\r\nConnection: close\r\n\r\n").as_bytes());
    let answer = answer.and_then(|bytes| Response::parse(&bytes));
    answer.unwrap_or_else(|error| panic!("{head}: {error}"))
}

#[track_caller]
pub(crate) fn ask(hub: &Hub, path: &str, fields: &[(&str, &str)]) -> Response {
    http::request(hub.port, "GET", path, fields, b"").unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

/// The values of a field in the head that a module has echoed.
fn seen<'a>(echo: &'a str, name: &str) -> Vec<&'a str> {
    let fields = echo.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn a_request_goes_to_the_module_with_the_longest_mount() {
    let hub = Hub::start(&[
        web("plain"),
        web("deep").row("paths", json!(["/plain/deep", "/other"])),
        web("strip").row("stripPrefix", json!(true)),
    ]);
    let (plain, deep, strip) = (hub.until_ready("plain"), hub.until_ready("deep"), hub.until_ready("strip"));
    for (path, pid, target) in [
        ("/plain", plain, "/plain"),
        ("/plain/", plain, "/plain/"),
        ("/plain/a?b=/strip", plain, "/plain/a?b=/strip"),
        ("/plain/deeper", plain, "/plain/deeper"),
        ("/plain/x/../y", plain, "/plain/y"),
        ("/plain/deep", deep, "/plain/deep"),
        ("/plain/deep/a", deep, "/plain/deep/a"),
        ("/pl%61in/deep/a", deep, "/plain/deep/a"),
        ("/strip/../plain/deep/a", deep, "/plain/deep/a"),
        ("/other/a", deep, "/other/a"),
        ("/strip", strip, "/"),
        ("/strip/", strip, "/"),
        ("/strip?a", strip, "/?a"),
        ("/strip/a/b?c", strip, "/a/b?c"),
        ("/strip//a", strip, "//a"),
    ] {
        let answer = ask(&hub, path, &[]);
        assert_eq!((answer.status, answer.text()), (200, format!("testchild {pid} GET {target}\n")), "{path}");
    }
    assert_eq!(seen(&ask(&hub, "/strip/echo", &[]).text(), "X-Forwarded-Prefix"), ["/strip"]);
    assert!(seen(&ask(&hub, "/plain/echo", &[]).text(), "X-Forwarded-Prefix").is_empty());
    let unknown = ask(&hub, "/no-such-thing", &[("Accept", "application/json")]);
    assert_eq!(unknown.status, 404);
    for path in ["/plainer", "/PLAIN", "/x/plain", "/othe"] {
        let answer = ask(&hub, path, &[("Accept", "application/json")]);
        assert_eq!((answer.status, answer.json()["error"].clone()), (404, unknown.json()["error"].clone()), "{path}");
    }
    for path in ["/plain%2fdeep", "/plain%5cdeep", "/plain/%00", "/plain/../..", "/plain/%zz", "/plain\\deep"] {
        assert_eq!(ask(&hub, path, &[]).status, 400, "{path}");
    }
}

#[test]
fn from_elsewhere_a_module_of_this_machine_looks_as_if_it_was_not_there() {
    let home = Home::new();
    home.install(&web("open"));
    home.install(&web("mine").row("publicExposure", json!("loopback")));
    let hub = Hub::start_in(home, &[("PARACHUTE_HUB_ORIGIN", "https://hub.example")]);
    hub.until_ready("mine");
    hub.until_ready("open");
    assert_eq!(ask(&hub, "/mine/a", &[]).status, 200);
    for evidence in [
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-For: 203.0.113.7\r\nX-Parachute-Layer: loopback",
        "Forwarded: for=127.0.0.1",
        "X-Forwarded-Host: localhost",
        "X-Forwarded-Proto: https",
        "X-Real-IP: 127.0.0.1",
        "True-Client-IP: 127.0.0.1",
        "Via: 1.1 box",
        "CF-Ray: 1",
        "Tailscale-User-Login: a@b",
    ] {
        let from_elsewhere = |path: &str| raw(&hub, &format!("GET {path} HTTP/1.1\r\nHost: hub.example\r\n{evidence}"));
        assert_eq!(from_elsewhere("/open/a").status, 200, "{evidence}");
        let (mine, unknown) = (from_elsewhere("/mine/a"), from_elsewhere("/none/a"));
        assert_eq!(unknown.status, 404, "{evidence}");
        let told = |answer: &Response, path: &str| {
            let fields = answer.headers.iter().filter(|(name, _)| name != "date" && name != "content-length");
            let fields: Vec<_> = fields.cloned().collect();
            (answer.status, fields, answer.text().replace(path, "PATH"))
        };
        assert_eq!(told(&mine, "/mine/a"), told(&unknown, "/none/a"), "{evidence}");
        let foreign = raw(&hub, &format!("GET /mine/a HTTP/1.1\r\nHost: 127.0.0.1\r\n{evidence}"));
        assert_eq!(foreign.status, 421, "{evidence}");
    }
}

#[test]
fn a_module_is_told_the_way_of_a_request_and_no_forgery_of_it() {
    let hub = Hub::start_with(&[web("web")], &[("PARACHUTE_ALLOWED_HOSTS", "public.example")]);
    hub.until_ready("web");
    let host = format!("127.0.0.1:{}", hub.port);
    let direct = ask(&hub, "/web/echo", &[("X-Parachute-Layer", "tailnet"), ("X-Parachute-Client-IP", "9.9.9.9")]);
    let proxied = ask(
        &hub,
        "/web/echo",
        &[
            ("X-Forwarded-For", "9.9.9.9, 203.0.113.7"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "public.example"),
            ("X-Forwarded-Prefix", "/forged"),
            ("X-Parachute-Layer", "loopback"),
            ("X-Parachute-Client-IP", "127.0.0.1"),
            ("X-Parachute-Anything", "x"),
        ],
    );
    let poisoned = ask(
        &hub,
        "/web/echo",
        &[
            ("X-Forwarded-Host", "evil.example"),
            ("X-Forwarded-Proto", "javascript"),
            ("Forwarded", "for=9.9.9.9"),
            ("Forwarded", "for=203.0.113.7"),
        ],
    );
    for (echo, name, expected) in [
        (&direct, "Host", &[host.as_str()][..]),
        (&direct, "X-Forwarded-For", &["127.0.0.1"]),
        (&direct, "X-Forwarded-Proto", &["http"]),
        (&direct, "X-Forwarded-Host", &[&host]),
        (&direct, "X-Parachute-Layer", &["loopback"]),
        (&direct, "X-Parachute-Client-IP", &["127.0.0.1"]),
        (&proxied, "X-Forwarded-For", &["9.9.9.9, 203.0.113.7, 127.0.0.1"]),
        (&proxied, "X-Forwarded-Proto", &["https"]),
        (&proxied, "X-Forwarded-Host", &["public.example"]),
        (&proxied, "X-Forwarded-Prefix", &[]),
        (&proxied, "X-Parachute-Layer", &["public"]),
        (&proxied, "X-Parachute-Client-IP", &["203.0.113.7"]),
        (&proxied, "X-Parachute-Anything", &[]),
        (&poisoned, "X-Forwarded-Host", &[&host]),
        (&poisoned, "X-Forwarded-Proto", &["http"]),
        (&poisoned, "Forwarded", &["for=9.9.9.9, for=203.0.113.7, for=127.0.0.1"]),
    ] {
        assert_eq!(seen(&echo.text(), name), expected, "{name} in {}", echo.text());
    }
}

/// An address of this machine that is not loopback, as the kernel would take it for a packet to anywhere. Without one
/// there is no peer from elsewhere, and what the hub makes of one would pass unseen.
#[track_caller]
pub(crate) fn own_address() -> IpAddr {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a datagram socket");
    // Connecting a datagram socket sends nothing.
    let address = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()).map(|address| address.ip());
    match address {
        Ok(address) if !address.is_loopback() => address,
        other => panic!("this machine has nothing but loopback ({other:?}); as root: ip addr add 192.0.2.1/32 dev lo"),
    }
}

/// A request with these fields to the hub at this address, which is then also where it comes from.
#[track_caller]
fn ask_at(address: IpAddr, hub: &Hub, path: &str, fields: &str) -> Response {
    let mut stream = TcpStream::connect((address, hub.port)).expect("the hub listens there");
    stream.set_read_timeout(Some(crate::support::deadline())).expect("a socket has one");
    let head = format!("GET {path} HTTP/1.1\r\n{fields}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    Response::parse(&answer).expect("an answer")
}

#[test]
fn a_proxy_elsewhere_is_believed_when_it_is_named_and_comes_from_anywhere() {
    let address = own_address();
    let home = Home::new();
    home.install(&web("web"));
    home.install(&web("mine").row("publicExposure", json!("loopback")));
    let proxies = format!("192.0.2.0/24, {address}");
    let environment = [
        ("PARACHUTE_BIND_HOST", "0.0.0.0"),
        ("PARACHUTE_HUB_ORIGIN", "https://hub.example"),
        ("PARACHUTE_TRUSTED_PROXIES", proxies.as_str()),
    ];
    let hub = Hub::start_in(home, &environment);
    hub.until_ready("web");
    hub.until_ready("mine");
    let from = |client: &str| format!("Host: hub.example\r\nX-Forwarded-For: 6.6.6.6, {client}, 192.0.2.9");
    let ask = |path: &str, client: &str, fields: &str| {
        ask_at(address, &hub, path, &format!("{}\r\nX-Forwarded-Proto: https{fields}", from(client)))
    };
    let echo = ask("/web/echo", "203.0.113.7", "").text();
    let way = format!("6.6.6.6, 203.0.113.7, 192.0.2.9, {address}");
    for (name, expected) in [
        ("X-Forwarded-For", way.as_str()),
        ("X-Forwarded-Proto", "https"),
        ("X-Parachute-Layer", "public"),
        ("X-Parachute-Client-IP", "203.0.113.7"),
    ] {
        assert_eq!(seen(&echo, name), [expected], "{name} in {echo}");
    }
    assert_eq!(ask("/mine/a", "127.0.0.1", "").status, 404);
    assert_eq!(ask_at(address, &hub, "/mine/a", "Host: 127.0.0.1").status, 421, "a proxy that says nothing");

    // Who is wrong too often is one client of the proxy, and not all of them.
    let wrong = |client: &str| ask("/api/modules", client, "\r\nAuthorization: Bearer wrong").status;
    eventually("one client limited", || (wrong("203.0.113.7") == 429).then_some(()));
    assert_eq!(wrong("203.0.113.8"), 401);
    hub.run(&["status"]).succeeds();
}

#[test]
fn a_peer_from_elsewhere_cannot_claim_to_be_near() {
    let address = own_address();
    let home = Home::new();
    home.install(&web("web"));
    home.install(&web("mine").row("publicExposure", json!("loopback")));
    let hub = Hub::start_in(home, &[("PARACHUTE_BIND_HOST", "0.0.0.0")]);
    hub.until_ready("web");
    let ask = |path: &str| {
        let said = "Host: localhost\r\nX-Forwarded-For: 127.0.0.1\r\nX-Parachute-Layer: loopback\r\nX-Real-IP: 127.0.0.1\r\n\
            Forwarded: for=127.0.0.1\r\nX-Forwarded-Proto: https\r\nTailscale-User-Login: a@b\r\n\
            CF-Connecting-IP: 127.0.0.1";
        ask_at(address, &hub, path, said)
    };
    let echo = ask("/web/echo").text();
    for (name, expected) in [
        ("X-Forwarded-For", &[address.to_string().as_str()][..]),
        ("X-Forwarded-Proto", &["http"]),
        ("X-Parachute-Layer", &["public"]),
        ("X-Parachute-Client-IP", &[&address.to_string()]),
        ("X-Real-IP", &[]),
        ("Forwarded", &[]),
        ("Tailscale-User-Login", &[]),
        ("CF-Connecting-IP", &[]),
    ] {
        assert_eq!(seen(&echo, name), expected, "{name} in {echo}");
    }
    for path in ["/mine/a", "/none/a", "/api/modules"] {
        assert_eq!(ask(path).status, 421, "{path}");
    }
}

#[test]
fn a_foreign_page_can_change_nothing_in_a_module_of_this_machine() {
    let mine = web("mine").row("publicExposure", json!("loopback")).row("websocket", json!(true));
    let hub = Hub::start(&[web("open"), mine]);
    hub.until_ready("open");
    hub.until_ready("mine");
    let own = format!("http://localhost:{}", hub.port);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let post = "POST /mine/a HTTP/1.1\r\nContent-Length: 0";
    let socket = format!("GET /mine/ws HTTP/1.1\r\n{upgrade}");
    for (request, fields, refused) in [
        (post, "", false),
        (post, &format!("Origin: {own}"), false),
        (post, "Origin: http://evil.example", true),
        (post, "Origin: http://localhost:3000", true),
        (post, "Origin: null", true),
        (post, "Sec-Fetch-Site: cross-site", true),
        ("DELETE /mine/a HTTP/1.1", "Origin: http://evil.example", true),
        ("GET /mine/a HTTP/1.1", "Sec-Fetch-Site: cross-site", false),
        ("POST /open/a HTTP/1.1\r\nContent-Length: 0", "Origin: http://evil.example", false),
        (&socket, "Origin: http://evil.example", true),
    ] {
        let answer = raw(
            &hub,
            &format!(
                "{request}\r\nHost: 127.0.0.1:{}\r\n{}",
                hub.port,
                if fields.is_empty() { "A: b" } else { fields }
            ),
        );
        assert_eq!(answer.status == 403, refused, "{request} {fields}: {}", answer.text());
        if refused {
            assert_eq!(answer.json()["error"], "csrf_origin_mismatch", "{request} {fields}");
        }
    }
}

#[test]
fn what_opens_the_hub_reaches_a_module_only_when_it_asks_for_it() {
    let hub = Hub::start(&[web("closed"), web("trusted").run(json!({ "hubCredentials": true }))]);
    hub.until_ready("closed");
    hub.until_ready("trusted");
    let operator = format!("Bearer {}", hub.token());
    let own = "Bearer module-secret";
    for (path, bearer, cookie, expected_bearer, expected_cookie) in [
        ("/closed/echo", operator.as_str(), "a=1; parachute_hub_session=x; b=2", &[][..], &["a=1; b=2"][..]),
        ("/closed/echo", own, "parachute_hub_csrf=x", &[own], &[]),
        ("/trusted/echo", &operator, "a=1; parachute_hub_session=x", &[&operator], &["a=1; parachute_hub_session=x"]),
    ] {
        let echo = ask(&hub, path, &[("Authorization", bearer), ("Cookie", cookie)]);
        assert_eq!(echo.status, 200, "{path}");
        let echo = echo.text();
        assert!(seen(&echo, "Authorization") == expected_bearer, "the bearer of {path} with cookies {cookie}");
        assert_eq!(seen(&echo, "Cookie"), expected_cookie, "{path}");
    }
}

#[test]
fn a_page_that_points_its_own_name_at_this_machine_gets_nothing() {
    let home = Home::new();
    home.install(&web("web"));
    let hub = Hub::start_in(home, &[("PARACHUTE_ALLOWED_HOSTS", "lan.example")]);
    hub.until_ready("web");
    for path in ["/", "/web/a", "/health", "/api/modules", "/.well-known/parachute.json"] {
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.example", "0.0.0.0", "[::]"] {
            let answer = raw(&hub, &format!("GET {path} HTTP/1.1\r\nHost: {host}"));
            assert_eq!(answer.status, 421, "{host}{path}");
            assert!(answer.text().contains("PARACHUTE_ALLOWED_HOSTS"), "{host}{path}: {}", answer.text());
        }
        for host in ["LocalHost", "lan.example:80", "[::1]", "127.0.0.2"] {
            let answer = raw(&hub, &format!("GET {path} HTTP/1.1\r\nHost: {host}"));
            assert_ne!(answer.status, 421, "{host}{path}");
        }
    }
}

#[test]
fn nobody_notices_a_restart() {
    let hub = Hub::start(&[web("web").run(json!({ "holdMs": PATIENCE_MS }))]);
    hub.until_ready("web");
    let enough = AtomicBool::new(false);
    let callers = |keep: bool| {
        let (hub, enough) = (&hub, &enough);
        move || {
            let mut answers = Vec::new();
            let mut connection = keep.then(|| Connection::open(hub.port));
            while !enough.load(Ordering::Relaxed) {
                let answer = match &mut connection {
                    Some(connection) => connection.get("/web/a"),
                    None => http::get(hub.port, "/web/a"),
                };
                answers.push(answer.map(|answer| (answer.status, answer.text())).map_err(|error| error.to_string()));
            }
            answers
        }
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = [true, true, false, false].map(|keep| scope.spawn(callers(keep))).into();
        // The callers end whatever becomes of the restarts.
        let restarts: Vec<_> = (0..3).map(|_| hub.run(&["restart", "web"])).collect();
        enough.store(true, Ordering::Relaxed);
        for restart in restarts {
            restart.succeeds();
        }
        threads.into_iter().flat_map(|thread| thread.join().expect("a caller does not panic")).collect()
    });
    let bad: Vec<_> = answers.iter().filter(|answer| !matches!(answer, Ok((200, _)))).collect();
    assert!(bad.is_empty(), "{} of {} answers: {:?}", bad.len(), answers.len(), &bad[..bad.len().min(3)]);
    let mut texts: Vec<_> = answers.iter().flatten().map(|(_, text)| text).collect();
    texts.sort();
    texts.dedup();
    assert!(texts.len() > 1, "one child only has answered {} requests", answers.len());
}

#[test]
fn a_request_to_a_module_that_was_just_killed_is_answered_by_the_next_child() {
    let hub = Hub::start(&[web("web").run(json!({ "holdMs": PATIENCE_MS }))]);
    let mut connection = Connection::open(hub.port);
    // A third end within a minute would be one too many to be restarted at once.
    for _ in 0..2 {
        let first = hub.until_ready("web");
        // This leaves a pooled socket to the child behind.
        assert_eq!(connection.get("/web/a").expect("an answer").text(), format!("testchild {first} GET /web/a\n"));
        kill(first, "KILL");
        eventually("the child gone", || (!is_alive(first)).then_some(()));
        let answer = connection.get("/web/a").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let second = hub.until_replaced("web", first);
        assert_eq!(answer.text(), format!("testchild {second} GET /web/a\n"));
    }
}

#[test]
fn a_module_that_was_removed_and_put_back_while_it_was_ending_is_waited_for_like_any_other() {
    // Its end takes a while, so that the row is back before the module is forgotten.
    let run = json!({ "holdMs": PATIENCE_MS, "stopTimeoutMs": 1500 });
    let hub = Hub::start(&[module("web", testchild(&["ignore-term"])).run(run)]);
    let first = hub.until_ready("web");
    let rows = hub.home.read("services.json");
    hub.home.write("services.json", "{\"services\": []}");
    eventually("its row gone", || (ask(&hub, "/web/a", &[]).status == 404).then_some(()));
    hub.home.write("services.json", &rows);
    eventually("its row back", || (ask(&hub, "/web/a", &[]).status != 404).then_some(()));
    hub.says("web: its row is there again, starting it");
    assert!(!is_alive(first));
    hub.run(&["start", "web"]).succeeds();
    let second = hub.until_ready("web");
    assert_ne!(second, first);
    kill(second, "KILL");
    eventually("the child gone", || (!is_alive(second)).then_some(()));
    let answer = ask(&hub, "/web/a", &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Checks both languages of an answer about a module.
#[track_caller]
fn is_told(hub: &Hub, path: &str, status: u16, error: &str, retry_after: Option<&str>) {
    for (accept, is_page) in
        [("text/html,*/*;q=0.8", true), ("*/*", true), ("application/json", false), ("application/json, */*", false)]
    {
        let answer = ask(hub, path, &[("Accept", accept)]);
        assert_eq!(answer.status, status, "{accept}: {}", answer.text());
        assert_eq!(answer.header("retry-after"), retry_after, "{accept}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{accept}");
        let short = path.trim_matches('/').split('/').next().expect("a mount");
        if is_page {
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{accept}");
            assert!(answer.text().contains(short), "{}", answer.text());
        } else {
            let body = answer.json();
            assert_eq!((&body["error"], &body["service"]), (&json!(error), &json!(short)), "{body}");
        }
    }
    let head = http::request(hub.port, "HEAD", path, &[], b"").expect("an answer");
    assert_eq!((head.status, head.body.len()), (status, 0));
}

#[test]
fn a_module_that_is_down_is_told_as_down_and_one_that_starts_as_starting() {
    let hub = Hub::start(&[
        web("web"),
        module("broken", testchild(&["exit", "3"])),
        module("slow", testchild(&["never-bind"])).run(json!({ "ready": { "timeoutMs": PATIENCE_MS } })),
        module("late", testchild(&["bind-late", "1500"])).run(json!({ "ready": { "timeoutMs": PATIENCE_MS } })),
    ]);
    // The hub answers a moment before it knows its modules.
    eventually("the slow module started", || (ask(&hub, "/slow/a", &[]).status == 503).then_some(()));
    is_told(&hub, "/slow/a", 503, "upstream_starting", Some("2"));
    eventually("the late module answering", || (ask(&hub, "/late/a", &[]).status == 200).then_some(()));

    hub.until_status("broken", "crashed");
    is_told(&hub, "/broken/a", 502, "upstream_unreachable", None);

    hub.until_ready("web");
    assert_eq!(ask(&hub, "/web/a", &[]).status, 200);
    hub.run(&["stop", "web"]).succeeds();
    is_told(&hub, "/web/a", 502, "upstream_unreachable", None);
    hub.run(&["start", "web"]).succeeds();
    hub.until_ready("web");
    assert_eq!(ask(&hub, "/web/a", &[]).status, 200);
}

#[test]
fn a_module_whose_turn_comes_is_told_as_starting_and_a_stop_before_it_holds() {
    let waits = json!({ "ready": { "timeoutMs": PATIENCE_MS } });
    let after = json!({ "dependsOn": ["first"] });
    let hub = Hub::start(&[
        module("first", testchild(&["never-bind"])).run(waits),
        web("second").run(after.clone()),
        web("third").run(after),
    ]);
    eventually("the second module known", || (ask(&hub, "/second/a", &[]).status == 503).then_some(()));
    is_told(&hub, "/second/a", 503, "upstream_starting", Some("2"));
    is_told(&hub, "/third/a", 503, "upstream_starting", Some("2"));
    hub.run(&["stop", "second"]).succeeds();
    is_told(&hub, "/second/a", 502, "upstream_unreachable", None);

    // Nothing to wait for any more: the third goes on.
    hub.run(&["stop", "first"]).succeeds();
    hub.until_ready("third");
    assert_eq!(hub.until_status("second", "stopped")["pid"], json!(null));
    assert!(hub.processes("second").is_empty());
}

#[test]
fn a_module_that_may_not_be_waited_for_is_told_as_starting_at_once() {
    let run = json!({ "holdMs": 0, "ready": { "timeoutMs": PATIENCE_MS } });
    let row = web("web").run(run);
    let hub = Hub::start(std::slice::from_ref(&row));
    let pid = hub.until_ready("web");
    // The next child keeps everybody waiting.
    hub.home.install(&row.manifest("startCmd", json!(testchild(&["never-bind"]))));
    kill(pid, "KILL");
    eventually("the child gone", || (!is_alive(pid)).then_some(()));
    is_told(&hub, "/web/a", 503, "upstream_starting", Some("2"));
}
