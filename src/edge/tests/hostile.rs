//! What the others see when somebody misbehaves.

use super::support::{PATIENCE, World};
use crate::config::AccessFormat;
use crate::edge::{AccessLog, Routes};
use crate::sys::testdir::TestDir;
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn still_answers(world: &World) {
    let reply = world.ask(GET);
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let world = World::new();
    for head in ["Content-Length: 1048577", "Content-Length: 1099511627776", "Content-Length: 9223372036854775807"] {
        let mut client = world.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\nsome of it").as_bytes());
        let reply = client.reply();
        assert_eq!(reply.status, 413, "{head}: {reply:?}");
        assert!(client.ends(), "{head}");
    }
    let mut client = world.client();
    client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    // The edge may hang up before it has all been sent.
    let mut sent = Ok(());
    for _ in 0..17 {
        sent = sent.and_then(|()| client.stream.write_all(b"10000\r\n"));
        sent = sent.and_then(|()| client.stream.write_all(&[b'x'; 0x10000]));
        sent = sent.and_then(|()| client.stream.write_all(b"\r\n"));
    }
    assert_eq!(client.reply().status, 413);
    still_answers(&world);
}

#[test]
fn a_head_that_never_ends_is_refused() {
    let world = World::new();
    let mut endless = world.client();
    endless.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ");
    let _ = endless.stream.write_all(&vec![b'x'; 100_000]);
    assert_eq!(endless.reply().status, 431);

    let mut many = world.client();
    many.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n");
    let _ = many.stream.write_all("A: b\r\n".repeat(10_000).as_bytes());
    assert_eq!(many.reply().status, 431);

    let fields = "A: b\r\n".repeat(64);
    assert_eq!(world.ask(&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).status, 431);
    still_answers(&world);
}

#[test]
fn a_malformed_request_is_refused_and_the_connection_ends() {
    let world = World::new();
    for request in [
        "GET / HTTP/1.1\nHost: localhost\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ] {
        let mut client = world.client();
        client.send(request.as_bytes());
        let reply = client.reply();
        assert_eq!(reply.status, 400, "{request:?}: {reply:?}");
        assert!(reply.has("Connection: close") && reply.body.contains("\"invalid_request\""), "{reply:?}");
        assert!(client.ends(), "{request:?}");
    }
    assert_eq!(world.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status, 505);
    still_answers(&world);
}

#[test]
fn slow_heads_hold_nobody_up_and_are_given_up() {
    let world = World::with(|settings| settings.limits.head_timeout = Duration::from_millis(500));
    let mut slow: Vec<_> = (0..200).map(|_| world.client()).collect();
    for client in &mut slow {
        client.send(b"GET / HTTP/1.1\r\nHost: loc");
    }
    still_answers(&world);
    for client in &mut slow {
        assert_eq!(client.reply().status, 408);
        assert!(client.ends());
    }
}

#[test]
fn a_foreign_host_is_refused_before_anything_else() {
    let world = World::new();
    for (host, more, path, status) in [
        ("evil.example", "", "/", 421),
        ("evil.example:1939", "", "/api/modules", 421),
        ("0.0.0.0", "", "/", 421),
        ("box.example", "", "/api/modules", 200),
        ("lan.example:80", "", "/api/modules", 200),
        ("localhost", "X-Forwarded-For: 1.2.3.4\r\n", "/api/modules", 421),
        ("evil.example", "X-Forwarded-For: 1.2.3.4\r\n", "/health", 200),
        ("box.example", "X-Forwarded-For: 1.2.3.4\r\n", "/api/modules", 200),
    ] {
        let reply = world.ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"));
        assert_eq!(reply.status, status, "{host} {more:?} {path}: {reply:?}");
        if status == 421 {
            assert!(reply.body.contains("PARACHUTE_ALLOWED_HOSTS"), "{reply:?}");
        }
    }
}

#[test]
fn what_breaks_off_does_not_look_complete() {
    let world = World::new();
    for target in ["/die-in-length", "/die-in-chunk", "/bad-chunk"] {
        let mut client = world.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let reply = client.reply();
        assert!(reply.status == 200 && !reply.whole, "{target}: {reply:?}");
        assert!(reply.body.starts_with("only") || target != "/die-in-length", "{target}: {reply:?}");
        assert!(client.ends(), "{target}");
    }
    for target in ["/die", "/nonsense", "/two-lengths"] {
        let mut client = world.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        let reply = client.reply();
        assert_eq!(reply.status, 502, "{target}: {reply:?}");
        assert!(reply.body.contains("\"upstream_unreachable\""), "{target}: {reply:?}");
        client.send(GET.as_bytes());
        assert_eq!(client.reply().status, 200, "{target}: the connection is still good");
    }
}

#[test]
fn a_request_that_must_not_be_done_twice_is_not() {
    let world = World::new();
    let mut client = world.client();
    client.send(GET.as_bytes());
    assert_eq!(client.reply().status, 200);
    client.send(b"POST /die HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.reply().status, 502);
    client.send(GET.as_bytes());
    assert_eq!(client.reply().status, 200);
    let seen: Vec<String> = (0..3).map(|_| world.seen.recv_timeout(PATIENCE).expect("seen")).collect();
    assert_eq!(seen, ["GET /", "POST /die", "GET /"]);
}

#[test]
fn without_a_hub_the_edge_says_so_once_in_the_log() {
    let world = World::calling(|_| {}, Arc::new(|_| {}));
    let mut client = world.client();
    for _ in 0..3 {
        client.send(GET.as_bytes());
        let reply = client.reply();
        assert!(reply.status == 503 && reply.has("Retry-After: 1"), "{reply:?}");
    }
    assert_eq!(world.log.lock().expect("log").len(), 1, "{:?}", world.log);
}

#[test]
fn a_full_edge_gives_up_the_oldest_idle_connection() {
    let world = World::with(|settings| settings.limits.connections = 3);
    let mut clients: Vec<_> = (0..3).map(|_| world.client()).collect();
    for client in clients.iter_mut().rev() {
        client.send(GET.as_bytes());
        assert_eq!(client.reply().status, 200);
    }
    // The last of them was idle first.
    still_answers(&world);
    assert!(clients.pop().expect("three").ends());

    // That freed one place, which is taken again; then nobody is idle.
    let mut busy: Vec<_> = (0..3).map(|_| world.client()).collect();
    for client in &mut busy {
        client.send(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n");
        while world.seen.recv_timeout(PATIENCE).expect("seen") != "GET /hang" {}
    }
    let mut refused = world.client();
    let reply = refused.reply();
    assert!(reply.status == 503 && reply.body.contains("\"busy\""), "{reply:?}");
    assert!(refused.ends());
}

/// Those for whom there is no place come all at once, with their requests, while the edge has no time for them.
#[test]
fn a_crowd_that_a_proxy_brings_is_told_off_and_gets_no_place_that_is_kept_for_this_machine() {
    let (gone, is_gone) = channel();
    let (go, goes) = channel::<()>();
    let goes = Mutex::new(goes);
    let on_client_gone = Arc::new(move |_| {
        let _ = gone.send(());
        let _ = goes.lock().expect("go").recv();
    });
    // Two of them are kept.
    let world = World::calling(|settings| settings.limits.connections = 64, on_client_gone).with_backend();
    let hang = || {
        let mut client = world.client();
        client.send(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n");
        while world.seen.recv_timeout(PATIENCE).expect("seen") != "GET /hang" {}
        client
    };
    let mut busy: Vec<_> = (0..62).map(|_| hang()).collect();
    for _ in 0..3 {
        drop(busy.pop());
        is_gone.recv_timeout(PATIENCE).expect("noticed");
        let mut crowd: Vec<_> = (0..9).map(|_| world.client()).collect();
        for (number, client) in crowd.iter_mut().enumerate() {
            let method = if number == 8 { "HEAD" } else { "GET" };
            let request = format!("{method} /hang HTTP/1.1\r\nHost: box.example\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
            client.send(request.as_bytes());
        }
        let mut behind = world.client();
        behind.send(GET.as_bytes());
        go.send(()).expect("the edge waits");
        let first = crowd.remove(0);
        for (number, client) in crowd.iter_mut().enumerate() {
            let reply = client.reply_to(if number == 7 { "HEAD" } else { "GET" });
            assert!(reply.status == 503 && reply.whole, "{number}: {reply:?}");
            assert!(client.ends(), "{number}");
        }
        while world.seen.recv_timeout(PATIENCE).expect("seen") != "GET /hang" {}
        assert_eq!(behind.reply().status, 200, "a program on this machine that came with them");
        // None of them has hung up, and programs on this machine are served all the same.
        still_answers(&world);
        busy.push(first);
    }
    assert_eq!(world.edge.as_ref().expect("runs").counters().refused(), 3 * 8);
    drop(go);
}

#[test]
fn what_a_client_sends_behind_its_last_request_does_not_cost_it_the_answer() {
    let world = World::new();
    for (version, fields, more) in
        [("1.1", "Connection: close\r\n", "\r\n"), ("1.1", "Connection: close\r\n", GET), ("1.0", "", "\r\n")]
    {
        let mut client = world.client();
        let head = format!("POST /wait HTTP/{version}\r\nHost: localhost\r\n{fields}Content-Length: 3\r\n\r\nabc");
        client.send(head.as_bytes());
        assert_eq!(world.seen.recv_timeout(PATIENCE).expect("seen"), "POST /wait");
        client.send(more.as_bytes());
        world.go.send(()).expect("the backend waits");
        let mut answer = String::new();
        client.stream.read_to_string(&mut answer).expect("an end that is no reset");
        assert!(answer.ends_with("\r\n\r\nok"), "{version} {more:?}: {answer}");
    }
}

#[test]
fn a_bug_in_reading_the_routes_is_not_the_end() {
    let dir = TestDir::new("edge-routes");
    let file = dir.join("routes");
    std::fs::write(&file, "1").expect("written");
    let asked = AtomicUsize::new(0);
    let routes: Routes = Arc::new(move |_| {
        assert!(asked.fetch_add(1, Ordering::Relaxed) == 0, "a bug");
        None
    });
    let watched = file.clone();
    let world = World::routing(|settings| settings.watched = vec![watched], Arc::new(|_| {}), routes).with_backend();
    std::fs::write(&file, "2").expect("written");
    let deadline = Instant::now() + PATIENCE;
    while !world.log.lock().expect("log").iter().any(|line| line.contains("reading the routes panicked")) {
        assert!(Instant::now() < deadline, "{:?}", world.log);
        std::thread::yield_now();
    }
    still_answers(&world);
}

#[test]
fn heads_that_do_not_end_keep_nobody_out() {
    let world = World::with(|settings| settings.limits.connections = 4);
    let mut slow: Vec<_> = (0..4)
        .map(|_| {
            let mut client = world.client();
            client.send(b"G");
            client
        })
        .collect();
    // Nobody gives way in the turn in which it came.
    let deadline = Instant::now() + PATIENCE;
    while world.edge.as_ref().expect("runs").counters().connections() < slow.len() {
        assert!(Instant::now() < deadline, "not all of them are let in");
        std::thread::yield_now();
    }
    for _ in 0..8 {
        let mut client = world.client();
        client.send(GET.as_bytes());
        assert_eq!(client.reply().status, 200);
        // Somebody who is idle gives way before anybody who may still go on.
        still_answers(&world);
    }
    assert!(slow.iter_mut().any(super::support::Client::ends));
}

#[test]
fn a_client_that_does_not_listen_is_given_up() {
    let world = World::with(|settings| settings.limits.stall_timeout = Duration::from_millis(300));
    let mut client = world.client();
    // More answers than the buffers of both kernels and ours hold.
    for _ in 0..20 {
        client.send(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    world.gone.recv_timeout(PATIENCE).expect("given up");
    let mut silent = world.client();
    silent.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!(silent.reply().status, 408);
    still_answers(&world);
}

#[test]
fn an_upstream_that_does_not_answer_is_given_up() {
    let world = World::with(|settings| settings.limits.hub_answer_timeout = Duration::from_secs(2));
    assert_eq!(world.ask("GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 504);
    world.gone.recv_timeout(PATIENCE).expect("reported");
    still_answers(&world);
}

#[test]
fn an_idle_connection_ends_after_its_time() {
    let world = World::with(|settings| settings.limits.idle_timeout = Duration::from_secs(2));
    let mut client = world.client();
    client.send(GET.as_bytes());
    assert_eq!(client.reply().status, 200);
    assert!(client.ends());
    assert!(world.client().ends(), "also without a request");
}

#[test]
fn a_panic_ends_one_connection_only() {
    let world = World::calling(|_| {}, Arc::new(|_| panic!("a bug, for the test"))).with_backend();
    let mut other = world.client();
    other.send(GET.as_bytes());
    assert_eq!(other.reply().status, 200);
    let mut client = world.client();
    client.send(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while world.seen.recv_timeout(PATIENCE).expect("seen") != "GET /hang" {}
    drop(client);
    assert_eq!(world.seen.recv_timeout(PATIENCE).expect("seen"), "hang ended 0");
    other.send(GET.as_bytes());
    assert_eq!(other.reply().status, 200, "the other connection is still good");
    still_answers(&world);
    assert!(world.log.lock().expect("log").iter().any(|line| line.contains("panicked")), "{:?}", world.log);
}

#[test]
fn more_than_the_hub_takes_is_refused() {
    let world = World::with(|settings| settings.limits.hub_connections = 1);
    let mut first = world.client();
    first.send(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(world.seen.recv_timeout(PATIENCE).expect("seen"), "GET /wait");
    let reply = world.ask(GET);
    assert!(reply.status == 503 && reply.body.contains("\"busy\"") && reply.has("Retry-After: 1"), "{reply:?}");
    world.go.send(()).expect("the backend waits");
    assert_eq!(first.reply().body, "ok");
    still_answers(&world);
}

#[test]
fn a_part_of_an_answer_that_ends_with_the_connection_ends_with_a_reset() {
    let world = World::new();
    for (target, complete) in [("/die-in-chunk", false), ("/until-close", true)] {
        let mut client = world.client();
        client.send(format!("GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes());
        let ended = client.stream.read_to_end(&mut Vec::new());
        assert_eq!(
            ended.map_err(|error| error.kind()).err(),
            (!complete).then_some(ErrorKind::ConnectionReset),
            "{target}"
        );
    }
}

#[test]
fn a_panic_outside_of_any_connection_ends_none() {
    let panics = AtomicUsize::new(0);
    let write = move |_, _| {
        if panics.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            panic!("on purpose");
        }
    };
    let access_log = AccessLog { format: AccessFormat::Json, write: Box::new(write) };
    let world = World::logging(|_| {}, Arc::new(|_| {}), Arc::new(|_| None), Some(access_log)).with_backend();
    let mut client = world.client();
    for _ in 0..4 {
        client.send(GET.as_bytes());
        assert_eq!(client.reply().status, 200, "the connection is still good");
        still_answers(&world);
    }
    let log = world.log.lock().expect("log");
    assert_eq!(log.iter().filter(|line| line.contains("panicked")).count(), 1, "{log:?}");
}
