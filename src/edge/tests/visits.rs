//! Pages that not everybody may see, in front of a real module.

use super::modules::{OK, Wiki};
use super::mount;
use super::support::{Client, PATIENCE, Reply, World, known};
use crate::edge::{Denial, Routing, Table, Verdict};
use crate::manifest::Port;
use crate::manifest::gates::{Gate, Needs, Served, Way, Whom};
use crate::manifest::mounts::Mount;
use crate::supervisor::standing::{Board, Standing};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Instant;

fn gate(path: &str, whom: Whom) -> Gate {
    Gate { path: path.to_owned(), needs: Needs { whom, ..Needs::NONE } }
}

/// `/wiki` with these pages.
fn wiki(gates: &[Gate]) -> Wiki {
    Wiki::new(|mount| mount.gates = Some(gates.into()))
}

fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

fn ask(wiki: &Wiki, target: &str, fields: &str) -> Client {
    let mut client = wiki.world.client();
    client.send(request("GET", target, fields).as_bytes());
    client
}

/// What a caller gets whom the module is to answer, over a connection of its own.
fn answered(wiki: &Wiki, client: &mut Client) -> (String, Reply) {
    let mut module = wiki.accept();
    let head = module.until("\r\n\r\n");
    module.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    (head, client.reply())
}

#[test]
fn no_trick_with_a_path_leads_around_a_page() {
    let wiki = wiki(&[
        gate("/wiki/app", Whom::HubUsers),
        gate("/wiki/app/open", Whom::Anybody),
        gate("/elsewhere", Whom::Operator),
    ]);
    for (target, is_open) in [
        ("/wiki", true),
        ("/wiki/", true),
        ("/wiki/apps", true),
        ("/wiki/elsewhere", true),
        ("/wiki/app/open/x", true),
        ("/wiki/app/../x", true),
        ("/wiki/app", false),
        ("/wiki/app/", false),
        ("/wiki/app?open", false),
        ("/wiki/app/open/../x", false),
        ("/wiki/open/../app", false),
        ("/wiki/./app", false),
        ("/wiki/%61pp", false),
        ("/wiki/x/%2e%2E/app", false),
        ("/wiki/x/.%2e/app/", false),
        ("/wiki//app", false),
        ("//wiki/app", true),
        ("/wiki/APP", false),
        ("/wiki/app;x=1/y", false),
        ("/wiki/x/..;/app", false),
        ("http://localhost/wiki/app", false),
        ("/elsewhere/../wiki/app", false),
    ] {
        let mut client = ask(&wiki, target, "");
        if !is_open {
            assert_eq!(client.reply().status, 401, "{target}");
        } else if target.starts_with("//") {
            assert!(client.reply().body.starts_with("GET //wiki/app "), "no mount of the module: the hub answers");
        } else {
            assert_eq!(answered(&wiki, &mut client).1.status, 200, "{target}");
        }
    }
    for target in ["/wiki/app%2fx", "/wiki/x%5c..%5capp", "/wiki/app%00", "/wiki/%c0%ae%c0%ae/wiki/app", "/wiki\\app"] {
        assert_eq!(ask(&wiki, target, "").reply().status, 400, "{target}");
    }
}

#[test]
fn no_other_mount_leads_around_a_page() {
    let wiki: Arc<[Gate]> = [gate("/wiki/keys", Whom::Operator), gate("/wiki/keys/help", Whom::Anybody)].into();
    let strip = |path: &str, strip| Way { path: path.to_owned(), strip };
    let served: Arc<[Served]> = [
        Served { ways: vec![strip("/wiki", true), strip("/alt", true)], gates: Some(Arc::clone(&wiki)) },
        Served { ways: vec![strip("/other", true), strip("/keys", false)], gates: None },
    ]
    .into();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = Port::new(u64::from(listener.local_addr().expect("address").port())).expect("a port");
    let board = Arc::new(Board::new());
    board.set(Standing::Up { since: Instant::now() });
    let routes = move |before: &Table| {
        let mounts = [("/wiki", true, true), ("/alt", true, true), ("/other", true, false), ("/keys", false, false)];
        let mount = |(path, strip, has_gates): (&str, bool, bool)| Mount {
            port,
            strip,
            gates: has_gates.then(|| Arc::clone(&wiki)),
            served: Some(Arc::clone(&served)),
            ..mount(path)
        };
        let table = Table::new(mounts.map(mount).into(), |_| Arc::clone(&board), before);
        Some(Routing { table, manifests: Vec::new() })
    };
    let world = World::routing(|_| {}, Arc::new(|_| {}), Arc::new(routes)).with_backend();
    for (target, seen) in [
        ("/wiki/keys", None),
        ("/alt/keys", None),
        ("/alt/keys/", None),
        ("/alt/KEYS/x", None),
        ("/alt/keys;x", None),
        ("/alt/%6beys", None),
        ("/alt//keys", None),
        ("/alt/x/../keys?y", None),
        ("/other/keys", None),
        ("/other//x", None),
        ("/keys", None),
        ("/keys/x", None),
        ("/alt/wiki/keys", Some("/wiki/keys")),
        ("/alt/keyss", Some("/keyss")),
        ("/alt", Some("/")),
        ("/other/", Some("/")),
        ("/wiki/keys/help", Some("/keys/help")),
        ("/alt/keys/help?x", Some("/keys/help?x")),
        ("/other/keys/help/x", Some("/keys/help/x")),
    ] {
        let mut client = world.client();
        client.send(request("GET", target, "X-Original-URL: /keys\r\n").as_bytes());
        let Some(seen) = seen else {
            assert_eq!(client.reply().status, 401, "{target}");
            continue;
        };
        let mut module = Client::over(listener.accept().expect("accept").0);
        let head = module.until("\r\n\r\n");
        assert!(head.starts_with(&format!("GET {seen} HTTP/1.1\r\n")), "{target}: {head}");
        assert!(!head.contains("X-Original-URL"), "{target}: {head}");
        module.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        assert_eq!(client.reply().status, 200, "{target}");
    }
}

#[test]
fn who_is_let_in_gets_to_the_module_and_leaves_the_keys_behind() {
    let wiki = wiki(&[gate("/wiki", Whom::HubUsers)]);
    for fields in
        ["Authorization: Bearer ann\r\n", "Authorization: Bearer ann\r\nCookie: parachute_hub_session=x; a=b\r\n"]
    {
        let mut client = ask(&wiki, "/wiki", fields);
        let (head, reply) = answered(&wiki, &mut client);
        assert_eq!(reply.status, 200, "{fields:?}");
        assert!(reply.has("Cache-Control: private"), "{reply:?}");
        assert!(!head.contains("parachute_hub") && !head.contains("X-Parachute-Subject"), "{head}");
        assert!(head.contains("\r\nAuthorization: Bearer ann\r\n"), "it is no bearer of the hub's: {head}");
    }
    for fields in ["", "Authorization: Bearer eve\r\n", "Cookie: parachute_hub_session=x\r\n"] {
        let reply = ask(&wiki, "/wiki", fields).reply();
        assert_eq!((reply.status, reply.has("WWW-Authenticate: Bearer")), (401, true), "{fields:?}");
        assert!(reply.has("Cache-Control: no-store"), "{reply:?}");
    }
    let bodies = ["", "Authorization: Bearer eve\r\n"].map(|fields| ask(&wiki, "/wiki", fields).reply().body);
    assert_eq!(bodies[0], bodies[1], "every 401 reads the same");
    let unclear = ask(&wiki, "/wiki", "Authorization: Bearer unclear\r\n").reply();
    assert_eq!((unclear.status, unclear.has("Retry-After: 1")), (503, true), "{unclear:?}");
}

#[test]
fn a_module_is_told_of_whom_it_lets_in_by_the_same_question() {
    let wiki = Wiki::new(|mount| {
        mount.proof_headers = true;
        mount.gates = Some([gate("/wiki/app", Whom::HubUsers)].into());
    });
    let mut client = wiki.world.client();
    client.send(request("POST", "/wiki/app", "Authorization: Bearer later\r\nContent-Length: 5\r\n").as_bytes());
    client.send(b"hel");
    let (ticket, question) = wiki.world.asked.recv_timeout(PATIENCE).expect("a question");
    assert!(question.is_to_tell && question.visit.as_ref().is_some_and(|visit| visit.can_change));
    wiki.world.bell.answer(ticket, known(&question, "ann"));
    let mut module = wiki.accept();
    let head = module.until("\r\n\r\n");
    assert!(head.contains("\r\nX-Parachute-Subject: ann\r\n"), "{head}");
    client.send(b"lo");
    module.exactly(5);
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);
    assert!(wiki.world.asked.try_recv().is_err(), "one question is enough");
}

#[test]
fn requests_behind_one_that_is_sent_away_are_answered_in_order() {
    let wiki = wiki(&[gate("/wiki/app", Whom::HubUsers)]);
    let mut client = wiki.world.client();
    let asked = [
        request("GET", "/wiki/app", ""),
        request("GET", "/first", ""),
        request("GET", "/wiki/app", "Authorization: Bearer later\r\n"),
        request("HEAD", "/wiki/app", ""),
        request("GET", "/second", ""),
        request("POST", "/wiki/app", "Content-Length: 2\r\n"),
    ];
    client.send(asked.concat().as_bytes());
    assert_eq!(client.reply().status, 401);
    assert!(client.reply().body.starts_with("GET /first "));
    let (ticket, _) = wiki.world.asked.recv_timeout(PATIENCE).expect("a question");
    wiki.world.bell.answer(ticket, Verdict::Denied { why: Denial::NotAdmin, lacks: None });
    let reply = client.reply();
    assert!(reply.status == 403 && reply.body.contains("\"not_admin\""), "{reply:?}");
    assert_eq!(client.reply_to("HEAD").status, 401);
    assert!(client.reply().body.starts_with("GET /second "));
    let last = client.reply();
    assert_eq!((last.status, last.has("Connection: close")), (401, true), "its body will not be read");
    assert!(client.ends());
}

#[test]
fn a_request_that_waits_for_its_module_is_asked_about_again() {
    let mut wiki = wiki(&[gate("/wiki", Whom::HubUsers)]);
    wiki.stands(Standing::Restarting);
    wiki.stop_listening();
    let (mut stays, mut goes) = (
        ask(&wiki, "/wiki/1", "Authorization: Bearer ann\r\n"),
        ask(&wiki, "/wiki/2", "Authorization: Bearer later\r\n"),
    );
    let next = |wiki: &Wiki| wiki.world.asked.recv_timeout(PATIENCE).expect("a question");
    let (ticket, question) = next(&wiki);
    wiki.world.bell.answer(ticket, known(&question, "bob"));
    // Nobody is kept waiting who shows nothing.
    assert_eq!(ask(&wiki, "/wiki/3", "").reply().status, 401);
    wiki.listen_again();
    wiki.stands(Standing::Up { since: Instant::now() });
    let (ticket, _) = next(&wiki);
    wiki.world.bell.answer(ticket, Verdict::Denied { why: Denial::Unauthenticated, lacks: None });
    assert_eq!(goes.reply().status, 401, "it was taken back meanwhile");
    assert_eq!(answered(&wiki, &mut stays).1.status, 200);
}

#[test]
fn from_elsewhere_a_page_of_a_module_for_this_machine_is_not_there() {
    let wiki = Wiki::new(|mount| {
        mount.local_only = true;
        mount.gates = Some([gate("/wiki", Whom::Operator)].into());
    });
    let here = ask(&wiki, "/wiki", "").reply();
    assert_eq!(here.status, 401);
    for fields in ["", "Authorization: Bearer ann\r\n"] {
        let head = format!("GET /wiki HTTP/1.1\r\nHost: box.example\r\nX-Forwarded-For: 192.0.2.1\r\n{fields}\r\n");
        let reply = wiki.world.ask(&head);
        assert!(reply.status == 200 && reply.body.starts_with("GET /wiki "), "the hub answers: {reply:?}");
    }
}

#[test]
fn other_pages_hold_from_the_next_request_on_and_end_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = Port::new(u64::from(listener.local_addr().expect("address").port())).expect("a port");
    let gates: Arc<Mutex<Option<Arc<[Gate]>>>> = Arc::default();
    let (now, board) = (Arc::clone(&gates), Arc::new(Board::new()));
    board.set(Standing::Up { since: Instant::now() });
    let routes = move |before: &Table| {
        let mount = Mount { port, gates: now.lock().expect("gates").clone(), ..mount("/wiki") };
        Some(Routing { table: Table::new(vec![mount], |_| Arc::clone(&board), before), manifests: Vec::new() })
    };
    let world = World::routing(|_| {}, Arc::new(|_| {}), Arc::new(routes)).with_backend();
    let mut stream = world.client();
    stream.send(request("GET", "/wiki", "").as_bytes());
    let mut module = Client::over(listener.accept().expect("accept").0);
    module.until("\r\n\r\n");
    module.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    stream.until("first");

    *gates.lock().expect("gates") = Some([gate("/wiki", Whom::HubUsers)].into());
    world.bell.reroute();
    assert_eq!(world.ask(&request("GET", "/wiki", "")).status, 401);
    module.send(b"6\r\nsecond\r\n0\r\n\r\n");
    stream.until("second");
}

#[test]
fn a_thousand_pages_stand_side_by_side() {
    let gates: Vec<Gate> = (0..1000)
        .map(|number| gate(&format!("/wiki/{number}"), if number % 2 == 0 { Whom::Operator } else { Whom::Anybody }))
        .collect();
    let wiki = wiki(&gates);
    for number in [0, 1, 498, 499, 998, 999] {
        let mut client = ask(&wiki, &format!("/wiki/{number}/x"), "");
        if number % 2 == 0 {
            assert_eq!(client.reply().status, 401, "{number}");
        } else {
            assert_eq!(answered(&wiki, &mut client).1.status, 200, "{number}");
        }
    }
}
