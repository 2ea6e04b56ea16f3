//! Modules that break the protocol. Their callers see a clean failure and never a part of another answer, and the next
//! request works.

use crate::support::{Backend, Connection, Home, Hub, Recorded, Said, services_at};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

/// What the caller of a lie gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// 502, and nothing of what the module has said.
    Refused,
    /// The beginning of an answer, whose end is missing so that it can be seen.
    CutOff,
    /// What is in order, and not what comes behind it.
    Fine,
}
use Outcome::{CutOff, Fine, Refused};

/// What the module answers to `/web/<name>`, `@` for the end of a line; whether it hangs up then; and what comes of it.
const LIES: &[(&str, &str, bool, Outcome)] = &[
    ("silence", "", true, Refused),
    ("half-a-head", "HTTP/1.1 200 OK@Content-Le", true, Refused),
    ("no-http", "SSH-2.0-OpenSSH_9.2@", false, Refused),
    ("newer-http", "HTTP/2 200@@", false, Refused),
    ("no-status", "HTTP/1.1 OK@@", false, Refused),
    ("bad-field", "HTTP/1.1 200 OK@X Bad: 1@@", false, Refused),
    ("continued-field", "HTTP/1.1 200 OK@X-Bad: 1@ 2@@", false, Refused),
    ("two-lengths", "HTTP/1.1 200 OK@Content-Length: 2@Content-Length: 3@@oks", false, Refused),
    ("negative-length", "HTTP/1.1 200 OK@Content-Length: -2@@ok", false, Refused),
    ("length-and-chunks", "HTTP/1.1 200 OK@Content-Length: 2@Transfer-Encoding: chunked@@0@@", false, Refused),
    ("another-coding", "HTTP/1.1 200 OK@Transfer-Encoding: gzip@@ok", false, Refused),
    ("unasked-upgrade", "HTTP/1.1 101 Switching Protocols@Connection: Upgrade@Upgrade: websocket@@", false, Refused),
    ("huge-field", "HTTP/1.1 200 OK@X-Huge: ~@@", false, Refused),
    ("endless-interim", "~~103", false, Refused),
    ("short", "HTTP/1.1 200 OK@Content-Length: 9@@four", true, CutOff),
    ("no-chunk", "HTTP/1.1 200 OK@Transfer-Encoding: chunked@@zz@", false, CutOff),
    ("half-a-chunk", "HTTP/1.1 200 OK@Transfer-Encoding: chunked@@9@four", true, CutOff),
    ("no-last-chunk", "HTTP/1.1 200 OK@Transfer-Encoding: chunked@@2@ok@", true, CutOff),
    ("long-chunk", "HTTP/1.1 200 OK@Transfer-Encoding: chunked@@2@okay@0@@", false, CutOff),
    ("long", "HTTP/1.1 200 OK@Content-Length: 2@@ok and much more", false, Fine),
    ("second-answer", "HTTP/1.1 200 OK@Content-Length: 2@@okHTTP/1.1 200 OK@Content-Length: 4@@evil", false, Fine),
    ("body-of-nothing", "HTTP/1.1 204 No Content@@HTTP/1.1 200 OK@Content-Length: 4@@evil", false, Fine),
    ("honest", "HTTP/1.1 200 OK@Content-Length: 2@@ok", false, Fine),
];

/// Lies by the last segment of the path; who asks for none of them is hung up on.
fn lie(request: &Recorded) -> Said {
    let known = LIES.iter().find(|(name, ..)| *name == request.name());
    let Some((_, answer, hangs_up, _)) = known else { return Said::AndHangsUp(Vec::new()) };
    let answer = match *answer {
        "~~103" => "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(10_000),
        plain => plain.replace('@', "\r\n").replace('~', &"x".repeat(1_000_000)),
    };
    if *hangs_up { Said::AndHangsUp(answer.into()) } else { Said::AndWaits(answer.into()) }
}

fn hub_of_liar() -> (Hub, Backend) {
    let liar = Backend::start(lie);
    let home = Home::new();
    home.write("services.json", &liar.services());
    (Hub::start_in(home, &[]), liar)
}

#[test]
fn whatever_a_module_says_its_callers_see_a_clean_answer_or_none() {
    let (hub, _) = hub_of_liar();
    for (name, answer, _, outcome) in LIES {
        // The module has a socket in the pool, and the lie may come over it or over another.
        let mut connection = Connection::open(hub.port);
        assert_eq!(connection.get("/web/honest").expect("an answer").text(), "ok", "before {name}");
        connection.ask("GET", &format!("/web/{name}"), "Accept: application/json\r\n");
        let result = connection.answer("GET");
        match (outcome, &result) {
            (Refused, Ok(failure)) => {
                assert_eq!(failure.status, 502, "{name}: {failure:?}");
                assert!(failure.json()["error"].is_string(), "{name}: {failure:?}");
            }
            (CutOff, Err(error)) => assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "{name}: it is not closed"),
            (Fine, Ok(fine)) => {
                let expected = if answer.contains(" 204 ") { (204, "") } else { (200, "ok") };
                assert_eq!((fine.status, fine.text().as_str()), expected, "{name}");
            }
            _ => panic!("{name} is to be {outcome:?} and became {result:?}"),
        }
        if *outcome == CutOff {
            connection = Connection::open(hub.port);
        }
        for _ in 0..3 {
            let next = connection.get("/web/honest").unwrap_or_else(|error| panic!("after {name}: {error}"));
            assert_eq!((next.status, next.text().as_str()), (200, "ok"), "after {name}");
        }
    }
    assert_eq!(hub.get("/health").status, 200);
}

#[test]
fn what_must_not_be_done_twice_is_asked_once() {
    let (hub, liar) = hub_of_liar();
    for (method, at_most) in [("POST", 1), ("PATCH", 1), ("PUT", 2), ("DELETE", 2)] {
        let mut connection = Connection::open(hub.port);
        // A pooled socket is no reason to send it again, once the module has read it.
        assert_eq!(connection.get("/web/honest").expect("an answer").status, 200);
        connection.send(
            format!("{method} /web/silence HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc").as_bytes(),
        );
        assert_eq!(connection.answer(method).expect("an answer").status, 502, "{method}");
        let heard = liar.take();
        let times = heard.iter().filter(|request| request.method() == method && request.name() == "silence").count();
        assert!((1..=at_most).contains(&times), "{method} was asked {times} times");
    }
}

/// Reads one byte after the other, so that what is behind the head stays in the socket.
fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|bytes| bytes == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A socket that is closed with something unread in it is reset (tcp(7)); `peek` waits until there is something.
fn reset(stream: TcpStream) {
    stream.peek(&mut [0]).expect("a body that nobody reads");
    drop(stream);
}

#[test]
fn a_module_that_resets_is_a_clean_failure_before_its_answer_and_an_end_that_shows_within_it() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (seen, half_is_seen) = mpsc::channel::<()>();
    thread::spawn(move || {
        // One connection after the other: none of them carries a second request.
        for mut stream in listener.incoming().flatten() {
            let head = head_of(&mut stream);
            if head.contains("/web/honest ") {
                stream.write_all(OK).expect("the hub waits for it");
            } else if head.contains("/web/before ") {
                reset(stream);
            } else {
                let half = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour";
                stream.write_all(half).expect("the hub waits for it");
                half_is_seen.recv().expect("the client has seen it");
                reset(stream);
            }
        }
    });
    let home = Home::new();
    home.write("services.json", &services_at(port));
    let hub = Hub::start_in(home, &[]);
    for what in ["before", "within", "before", "within"] {
        let mut connection = Connection::open(hub.port);
        let head = format!("POST /web/{what} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000\r\n\r\n");
        connection.send(&[head.as_bytes(), &[b'x'; 3000]].concat());
        if what == "before" {
            assert_eq!(connection.answer("POST").expect("an answer").status, 502);
        } else {
            assert_eq!(connection.head().expect("half an answer").status, 200);
            assert_eq!(connection.take(4).expect("half a body"), b"four");
            seen.send(()).expect("the module waits for it");
            let error = connection.take(5).expect_err("the module has said no more");
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "it is not closed");
        }
        for _ in 0..3 {
            let next = Connection::open(hub.port).get("/web/honest").expect("an answer");
            assert_eq!((next.status, next.text().as_str()), (200, "ok"), "after a reset {what}");
        }
    }
}

#[test]
fn what_comes_behind_an_answer_is_nobody_elses() {
    const LATE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (answered, may_go_on) = mpsc::channel::<()>();
    let (gone, is_gone) = mpsc::channel::<()>();
    thread::spawn(move || {
        // One connection after the other, each for as long as it is kept.
        for mut stream in listener.incoming().flatten() {
            loop {
                let head = head_of(&mut stream);
                let answer: &[u8] = match head.split([' ', '/']).nth(3).unwrap_or_default() {
                    "304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n",
                    "late" if head.starts_with("HEAD ") => b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
                    _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                };
                if head.is_empty() || stream.write_all(answer).is_err() {
                    break;
                }
                if !head.contains("/web/honest ") {
                    may_go_on.recv().expect("the client has its answer");
                    // It may have been hung up on by now, which is as well.
                    let _hung_up = stream.write_all(LATE);
                    // The hub has nothing more to do with it, and says so.
                    while stream.read(&mut [0]).is_ok_and(|bytes| bytes == 1) {}
                    gone.send(()).expect("the test waits");
                    break;
                }
            }
        }
    });
    let home = Home::new();
    home.write("services.json", &services_at(port));
    let hub = Hub::start_in(home, &[]);
    for (method, path, status) in
        [("HEAD", "/web/late", 200), ("GET", "/web/304", 304), ("GET", "/web/late", 200), ("HEAD", "/web/late", 200)]
    {
        let mut connection = Connection::open(hub.port);
        connection.ask(method, path, "");
        assert_eq!(connection.answer(method).expect("an answer").status, status, "{method} {path}");
        answered.send(()).expect("the module waits");
        is_gone.recv().expect("the module has said it, and was hung up on");
        for _ in 0..3 {
            let next = Connection::open(hub.port).get("/web/honest").expect("an answer");
            assert_eq!((next.status, next.text().as_str()), (200, "ok"), "after {method} {path}");
        }
    }
}

#[test]
fn a_request_that_the_kernel_takes_no_part_of_is_answered_at_once_and_the_next_one_passes() {
    let (hub, liar) = hub_of_liar();
    let mut connection = Connection::open(hub.port);
    let starved = hub.inject("sendto", "error=ENOBUFS:when=1", &[]);
    // Nothing but a failure could be known of it: it is not to be asked twice.
    connection.ask("POST", "/web/honest", "Accept: application/json\r\nContent-Length: 0\r\n");
    let failure = connection.answer("POST").expect("an answer, and not the silence of who still waits for the request");
    assert_eq!(failure.status, 502, "{failure:?}");
    starved.end();
    assert_eq!(liar.take().len(), 0, "the module has had nothing");
    assert_eq!(connection.get("/web/honest").expect("an answer").text(), "ok");
}
