//! Who a module's caller is, told to the module that asks for it.

use super::modules::{OK, Wiki};
use super::support::{Client, PATIENCE, known};
use crate::supervisor::standing::Standing;
use std::time::{Duration, Instant};

fn wiki() -> Wiki {
    Wiki::new(|mount| (mount.strip, mount.proof_headers) = (true, true))
}

/// A request with these fields, each with its line end.
fn ask(wiki: &Wiki, method: &str, fields: &str) -> Client {
    let mut client = wiki.world.client();
    client.send(format!("{method} /wiki/page?x HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes());
    client
}

/// The values of what the hub says about the caller, in order.
fn told(head: &str) -> Vec<&str> {
    let ours = |line: &&str| {
        let is = |name| line.starts_with(&format!("X-Parachute-{name}: "));
        ["Subject", "Scope", "Token-Id", "Proof-Time", "Proof"].into_iter().any(is)
    };
    head.lines().filter(ours).filter_map(|line| Some(line.split_once(": ")?.1)).collect()
}

fn about(name: &str, method: &str) -> Vec<String> {
    let proof = format!("wiki {method} /page?x");
    [name, "wiki:read", "AAAAAAAAAAAAAAAAAAAAAA", "1800000000", &proof].map(str::to_owned).to_vec()
}

#[test]
fn a_module_hears_who_shows_a_good_token_and_nothing_of_anybody_else() {
    let wiki = wiki();
    let forged = "X-Parachute-Subject: eve\r\nX_Parachute_Proof: x\r\nx-parachute-scope: wiki:admin\r\n";
    let both = "Authorization: Bearer ann\r\nAuthorization: Bearer bob\r\n";
    for (fields, caller) in [
        ("Authorization: Bearer ann\r\n", Some("ann")),
        ("authorization: Bearer bob\r\n", Some("bob")),
        ("", None),
        ("Authorization: Bearer eve\r\n", None),
        ("Authorization: Basic ann\r\n", None),
        ("Authorization:\r\n", None),
        (both, None),
    ] {
        for fields in [fields.to_owned(), format!("{forged}{fields}"), format!("{fields}{forged}")] {
            let mut client = ask(&wiki, "GET", &fields);
            let mut module = wiki.accept();
            let head = module.until("\r\n\r\n");
            assert_eq!(told(&head), caller.map(|name| about(name, "GET")).unwrap_or_default(), "{fields:?}: {head}");
            assert!(!head.contains("wiki:admin"), "{head}");
            module.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            assert_eq!(client.reply().status, 200);
        }
    }
}

#[test]
fn a_module_that_has_not_asked_for_it_hears_nothing() {
    let wiki = Wiki::new(|mount| mount.strip = true);
    let mut client = ask(&wiki, "GET", "Authorization: Bearer ann\r\n");
    let mut module = wiki.accept();
    let head = module.until("\r\n\r\n");
    assert!(told(&head).is_empty() && head.contains("\r\nAuthorization: Bearer ann\r\n"), "{head}");
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn a_body_comes_behind_what_is_told_whole() {
    let wiki = wiki();
    let body = "0123456789".repeat(30_000);
    let fields = format!("Authorization: Bearer ann\r\nContent-Length: {}\r\n", body.len());
    let mut client = ask(&wiki, "POST", &fields);
    client.send(body.as_bytes());
    let mut module = wiki.accept();
    let head = module.until("\r\n\r\n");
    assert_eq!(told(&head), about("ann", "POST"));
    module.exactly(body.len());
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);
    // The next request on the same connection is another question.
    client.send(b"GET /wiki/page?x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer bob\r\n\r\n");
    assert_eq!(told(&module.until("\r\n\r\n")), about("bob", "GET"));
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn while_the_hub_cannot_say_nobody_gets_through_with_a_token() {
    let wiki = wiki();
    let reply = ask(&wiki, "GET", "Authorization: Bearer unclear\r\nAccept: application/json\r\n").reply();
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.has("Retry-After: 1") && reply.body.contains("auth_unavailable"), "{reply:?}");
    let mut client = ask(&wiki, "GET", "");
    let mut module = wiki.accept();
    module.until("\r\n\r\n");
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200, "who shows none needs no answer");
}

#[test]
fn a_request_that_is_sent_again_is_told_anew_and_once() {
    let mut wiki = wiki();
    let mut client = ask(&wiki, "GET", "Authorization: Bearer ann\r\n");
    let mut module = wiki.accept();
    assert_eq!(told(&module.until("\r\n\r\n")), about("ann", "GET"));
    wiki.stop_listening();
    // Before its end: the edge gives a module that failed a moment only to be said to be on its way back.
    wiki.stands(Standing::Restarting);
    drop(module);
    wiki.listen_again();
    wiki.stands(Standing::Up { since: Instant::now() + Duration::from_secs(1) });
    let mut module = wiki.accept();
    assert_eq!(told(&module.until("\r\n\r\n")), about("ann", "GET"));
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn what_was_known_before_a_restart_is_asked_again_after_it() {
    let wiki = wiki();
    let mut client = ask(&wiki, "GET", "Authorization: Bearer later\r\n");
    let next = || wiki.world.asked.recv_timeout(PATIENCE).expect("a question");
    let (ticket, question) = next();
    wiki.stands(Standing::Restarting);
    wiki.world.bell.answer(ticket, known(&question, "ann"));
    // Once the hub has answered another one, this is waiting for its module.
    assert_eq!(wiki.world.ask("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    wiki.stands(Standing::Up { since: Instant::now() });
    // The proof is made under the key of the child that gets it.
    let (ticket, question) = next();
    wiki.world.bell.answer(ticket, known(&question, "bob"));
    let mut module = wiki.accept();
    assert_eq!(told(&module.until("\r\n\r\n")), about("bob", "GET"));
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn an_answer_for_somebody_who_has_gone_harms_nobody() {
    let wiki = wiki();
    for _ in 0..50 {
        drop(ask(&wiki, "GET", "Authorization: Bearer ann\r\n"));
    }
    let mut client = wiki.world.client();
    client.send(b"GET /elsewhere HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.reply().status, 200);
}
