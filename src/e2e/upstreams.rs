//! Modules that break the protocol. Their callers see a clean failure and never a part of another answer, and the next
//! request works.

use crate::support::{Backend, Connection, Home, Hub, Recorded, Said};
use std::io;

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
