//! Callers from elsewhere who hold many connections: those of one address have their own, smaller number of places.

use crate::origin::own_address;
use crate::support::http::Response;
use crate::support::{Connection, Hub, Module, eventually, module, testchild};

const CAP: usize = 4;

fn web() -> Module {
    module("web", testchild(&["http"]))
}

fn start(more: &[(&str, &str)]) -> Hub {
    let cap = CAP.to_string();
    let environment = [("PARACHUTE_BIND_HOST", "0.0.0.0"), ("PARACHUTE_MAX_CONNECTIONS_PER_IP", cap.as_str())];
    let hub = Hub::start_with(&[web()], &[&environment, more].concat());
    hub.until_ready("web");
    hub
}

/// A connection from elsewhere that has its place, and keeps it.
#[track_caller]
fn holds(hub: &Hub) -> Connection {
    let mut connection = Connection::open_at(own_address(), hub.port);
    assert_eq!(connection.get("/web/a").expect("an answer").status, 200);
    connection
}

/// What a caller gets that says nothing: whoever has no place is told so, and hung up on.
fn told(hub: &Hub) -> Response {
    let said = Connection::open_at(own_address(), hub.port).until_closed();
    Response::parse(&said).unwrap_or_else(|error| panic!("{}: {error}", said.escape_ascii()))
}

#[test]
fn one_address_elsewhere_takes_no_more_than_its_places_and_nobody_elses() {
    let hub = start(&[]);
    let mut held: Vec<_> = (0..CAP).map(|_| holds(&hub)).collect();
    for _ in 0..3 {
        let refused = told(&hub);
        assert_eq!((refused.status, refused.header("connection")), (503, Some("close")), "{refused:?}");
    }
    for connection in &mut held {
        assert_eq!(connection.get("/web/a").expect("an answer").status, 200, "who has a place keeps it");
    }
    // Programs on this machine are not counted.
    let mut near: Vec<_> = (0..3 * CAP).map(|_| Connection::open(hub.port)).collect();
    for connection in &mut near {
        assert_eq!(connection.get("/web/a").expect("an answer").status, 200);
    }
    assert_eq!(told(&hub).status, 503, "nor do they make room");

    for round in 0..2 {
        // One goes after the other, and each leaves a place for one.
        for _ in 0..CAP {
            drop(held.remove(0));
            held.push(eventually(&format!("a place again, round {round}"), || {
                let mut next = Connection::open_at(own_address(), hub.port);
                next.get("/web/a").is_ok_and(|answer| answer.status == 200).then_some(next)
            }));
        }
        assert_eq!(told(&hub).status, 503, "round {round}");
    }
    hub.run(&["status", "--check"]).succeeds();
}

#[test]
fn who_has_its_last_answer_and_closes_late_takes_no_place_of_its_address() {
    let hub = start(&[]);
    // Fewer than its places, so that there is somebody among whom the right one is found.
    let mut held: Vec<_> = (1..CAP).map(|_| holds(&hub)).collect();
    let mut late = Vec::new();
    for round in 0..2 * CAP {
        let mut next = Connection::open_at(own_address(), hub.port);
        next.send(b"GET /web/a HTTP/1.0\r\nHost: localhost\r\n\r\n");
        let said = next.until_closed();
        assert!(said.starts_with(b"HTTP/1.1 200 "), "round {round}: {}", said.escape_ascii());
        late.push(next);
    }
    for connection in &mut held {
        assert_eq!(connection.get("/web/a").expect("an answer").status, 200, "who has a place keeps it");
    }
}

#[test]
fn a_proxy_that_is_trusted_has_as_many_connections_as_there_are() {
    let address = own_address().to_string();
    let origin = ("PARACHUTE_HUB_ORIGIN", "https://hub.example");
    let hub = start(&[("PARACHUTE_TRUSTED_PROXIES", &address), origin]);
    let fields = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n";
    let mut held: Vec<_> = (0..3 * CAP).map(|_| Connection::open_at(own_address(), hub.port)).collect();
    for connection in &mut held {
        connection.send(format!("GET /web/a HTTP/1.1\r\nHost: hub.example\r\n{fields}\r\n").as_bytes());
        assert_eq!(connection.answer("GET").expect("an answer").status, 200);
    }
}
