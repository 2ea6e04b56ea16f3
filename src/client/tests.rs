use super::*;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;

const HEALTH: &str = r#"{"status":"ok","service":"parachute","version":"0.7.0","db":"ok","instance":"abc"}"#;
/// Far beyond what a loopback answer takes, also on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// What the tiny server does with the n-th request of any connection.
#[derive(Clone)]
enum Reply {
    Raw(Vec<u8>),
    /// Bytes, then the connection is closed.
    Cut(Vec<u8>),
    /// Bytes, then silence until the client goes away.
    Hang(Vec<u8>),
    /// The hub's answer to `GET /health`, with the proof that this secret gives on the server's port, or `beside` it.
    Proof {
        secret: u8,
        beside: u16,
    },
}

fn ok(body: &str) -> Reply {
    status(200, body)
}

fn status(status: u16, body: &str) -> Reply {
    Reply::Raw(
        format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

struct Server {
    port: u16,
    heads: mpsc::Receiver<String>,
    connections: mpsc::Receiver<()>,
    _thread: JoinHandle<()>,
}

fn serve(replies: Vec<Reply>) -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let (head_tx, heads) = mpsc::channel();
    let (connection_tx, connections) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut replies = replies.into_iter();
        while let Ok((stream, _)) = listener.accept() {
            connection_tx.send(()).ok();
            if !answer(stream, port, &mut replies, &head_tx) {
                return;
            }
        }
    });
    Server { port, heads, connections, _thread: thread }
}

/// Answers one connection; false when there is nothing left to say.
fn answer(
    mut stream: TcpStream,
    port: u16,
    replies: &mut impl Iterator<Item = Reply>,
    heads: &mpsc::Sender<String>,
) -> bool {
    loop {
        let mut head = Vec::new();
        let mut byte = [0; 1];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return true,
            }
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let reply = match replies.next() {
            Some(Reply::Proof { secret, beside }) => ok(&proven_by(secret, &head, port + beside)),
            Some(reply) => reply,
            None => return false,
        };
        heads.send(head).ok();
        match reply {
            Reply::Raw(bytes) => stream.write_all(&bytes).unwrap_or(()),
            Reply::Cut(bytes) => {
                stream.write_all(&bytes).unwrap_or(());
                return true;
            }
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).unwrap_or(());
                stream.read_to_end(&mut Vec::new()).ok();
                return true;
            }
            Reply::Proof { .. } => unreachable!("it was made into an answer"),
        }
    }
}

fn secret(byte: u8) -> BootSecret {
    BootSecret::take(&mut [byte; 32])
}

/// What comes after `challenge=` in the head of a request.
fn challenge_in(head: &str) -> Option<Challenge> {
    let (_, rest) = head.split_once("challenge=")?;
    Challenge::parse(rest.split(' ').next()?)
}

fn with_proof(proof: &str) -> String {
    HEALTH.replace('}', &format!(r#","proof":{proof}}}"#))
}

fn proven_by(byte: u8, head: &str, port: u16) -> String {
    let challenge = challenge_in(head).expect("a challenge");
    with_proof(&format!("{:?}", secret(byte).proof(&challenge, port)))
}

/// A hub that was started before there were proofs.
fn older() -> Option<Expected> {
    Some(Expected { instance: "abc".to_owned(), secret: None })
}

/// The hub of this home, with the secret 7.
fn ours() -> Option<Expected> {
    Some(Expected { instance: "abc".to_owned(), secret: Some(secret(7)) })
}

fn reach(server: &Server, timeout: Duration) -> Result<(Client, Health), ClientError> {
    Client::reach(server.port, older(), timeout)
}

const LIST: &str = r#"{"modules":[],"supervised":[],"supervisor_available":true,"module_install_channel":"latest"}"#;

#[test]
fn the_bearer_goes_to_who_proves_to_be_the_hub_and_each_challenge_is_new() {
    let server = serve(vec![Reply::Proof { secret: 7, beside: 0 }, ok(LIST), Reply::Proof { secret: 7, beside: 0 }]);
    let (mut client, _) = Client::reach(server.port, ours(), PATIENT).expect("our hub");
    client.set_bearer("secret", None);
    client.modules().expect("a list");
    drop(client);
    Client::reach(server.port, ours(), PATIENT).expect("our hub");
    let heads: Vec<String> = server.heads.try_iter().collect();
    assert!(heads[1].contains("authorization: Bearer secret\r\n"), "{heads:?}");
    let (first, second) = (challenge_in(&heads[0]).expect("asked"), challenge_in(&heads[2]).expect("asked"));
    assert_eq!(first.as_str().len(), 64, "32 random bytes");
    assert_ne!(first, second);
}

#[test]
fn who_cannot_prove_it_is_not_the_hub() {
    let earlier = secret(7).proof(&Challenge::of(&[1; 32]), 1939);
    for (name, reply) in [
        ("an answer of before there were proofs", ok(HEALTH)),
        ("another home's hub", Reply::Proof { secret: 8, beside: 0 }),
        ("our hub on another port, asked in between", Reply::Proof { secret: 7, beside: 1 }),
        ("an earlier proof", ok(&with_proof(&format!("{earlier:?}")))),
        ("an empty one", ok(&with_proof("\"\""))),
        ("null", ok(&with_proof("null"))),
    ] {
        let server = serve(vec![reply]);
        let error = Client::reach(server.port, ours(), PATIENT).expect_err(name);
        assert!(matches!(error, ClientError::Unproven { .. }), "{name}: {error}");
        assert_eq!(error.code(), Code::WrongHub, "{name}");
        assert!(error.to_string().ends_with("; nothing was sent to it"), "{error}");
    }
    let server = serve(vec![ok(&with_proof("17"))]);
    let error = Client::reach(server.port, ours(), PATIENT).expect_err("no text");
    assert!(matches!(error, ClientError::WrongHub { found: None, .. }), "{error}");
}

#[test]
fn another_connection_needs_another_proof_before_the_bearer() {
    let closing = |body: &str| {
        let head = format!("HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        Reply::Cut([head.as_bytes(), body.as_bytes()].concat())
    };
    let proof = Reply::Proof { secret: 7, beside: 0 };
    let impostor = Reply::Proof { secret: 8, beside: 0 };
    let server = serve(vec![proof.clone(), closing(LIST), impostor.clone(), impostor, proof, ok(LIST)]);
    let (mut client, _) = Client::reach(server.port, ours(), PATIENT).expect("our hub");
    client.set_bearer("secret", None);
    client.modules().expect("a list");
    // The second time the impostor's connection is still there.
    for _ in 0..2 {
        let error = client.set_origin(None).expect_err("somebody else took the port");
        assert!(matches!(error, ClientError::Unproven { .. }), "{error}");
    }
    client.modules().expect("the hub is back");
    let heads: Vec<String> = server.heads.try_iter().collect();
    let bearers: Vec<bool> = heads.iter().map(|head| head.contains("authorization: Bearer secret\r\n")).collect();
    assert_eq!(bearers, [false, true, false, false, false, true], "{heads:?}");
    assert_eq!(heads.iter().filter(|head| head.starts_with("GET /health?challenge=")).count(), 4, "{heads:?}");
}

#[test]
fn a_hub_that_closes_every_connection_gets_no_bearer() {
    let body = HEALTH;
    let closing = format!("HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let server = serve(vec![Reply::Cut(closing.clone().into_bytes()), Reply::Cut(closing.into_bytes())]);
    let (mut client, _) = reach(&server, PATIENT).expect("our hub");
    client.set_bearer("secret", None);
    let error = client.modules().expect_err("there is no proven connection");
    assert_eq!(error.code(), Code::HubNotReady, "{error}");
    assert!(server.heads.try_iter().all(|head| head.starts_with("GET /health ")), "{error}");
}

#[test]
fn who_hangs_up_before_the_proof_is_asked_again_and_not_for_ever() {
    let (proof, cut) = (Reply::Proof { secret: 7, beside: 0 }, Reply::Cut(Vec::new()));
    for (cuts, code) in [(0, None), (2, None), (3, Some(Code::HubNotReady))] {
        let server = serve([vec![cut.clone(); cuts], vec![proof.clone()]].concat());
        let reached = Client::reach(server.port, ours(), PATIENT);
        assert_eq!(reached.err().map(|error| error.code()), code, "{cuts}");
        let heads: Vec<String> = server.heads.try_iter().collect();
        let challenges: BTreeSet<&str> =
            heads.iter().filter_map(|head| head.split_once("challenge=")).map(|(_, rest)| rest).collect();
        assert_eq!((heads.len(), challenges.len()), ((cuts + 1).min(3), (cuts + 1).min(3)), "{heads:?}");
    }
}

#[test]
fn what_only_looks_is_asked_again_where_the_kept_connection_ends_meanwhile() {
    let proof = Reply::Proof { secret: 7, beside: 0 };
    let impostor = Reply::Proof { secret: 8, beside: 0 };
    let cut = Reply::Cut(Vec::new());
    for (replies, code, lists) in [
        (vec![proof.clone(), cut.clone(), proof.clone(), ok(LIST)], None, 2),
        (vec![proof.clone(), cut.clone(), proof.clone(), cut.clone()], Some(Code::HubNotReady), 2),
        (vec![proof.clone(), cut.clone(), impostor], Some(Code::WrongHub), 1),
    ] {
        let server = serve(replies);
        let (client, _) = Client::reach(server.port, ours(), PATIENT).expect("our hub");
        assert_eq!(client.modules().err().map(|error| error.code()), code);
        let heads: Vec<String> = server.heads.try_iter().collect();
        assert_eq!(heads.iter().filter(|head| head.starts_with("GET /api/modules ")).count(), lists, "{heads:?}");
    }
    // Nobody knows whether an order was taken.
    let server = serve(vec![proof.clone(), cut, proof, ok(LIST)]);
    let (client, _) = Client::reach(server.port, ours(), PATIENT).expect("our hub");
    assert_eq!(client.op("web", Op::Stop).expect_err("it hung up").code(), Code::HubNotReady);
    assert_eq!(server.heads.try_iter().filter(|head| head.starts_with("POST ")).count(), 1);
}

#[test]
fn two_calls_share_one_connection_and_the_bearer_goes_only_with_the_second() {
    let server = serve(vec![ok(HEALTH), ok(LIST)]);
    let (mut client, health) = reach(&server, PATIENT).expect("our hub");
    assert_eq!(health.instance, "abc");
    client.set_bearer("secret", None);
    assert_eq!(client.modules().expect("a list").modules.len(), 0);
    let first = server.heads.recv().expect("asked");
    let second = server.heads.recv().expect("asked");
    assert!(first.starts_with("GET /health HTTP/1.1\r\n"), "{first}");
    assert!(!first.to_lowercase().contains("authorization") && !first.contains("accept-encoding"), "{first}");
    assert!(second.starts_with("GET /api/modules HTTP/1.1\r\n"), "{second}");
    assert!(second.contains("authorization: Bearer secret\r\n"), "{second}");
    assert_eq!(server.connections.try_iter().count(), 1);
}

#[test]
fn whoever_is_not_the_hub_of_this_home_gets_nothing() {
    let other = HEALTH.replace("abc", "xyz");
    for (name, reply, found) in [
        ("another hub", ok(&other), Some("xyz")),
        ("401", status(401, "{}"), None),
        ("404 page", status(404, "<html>no</html>"), None),
        ("a redirect", status(302, ""), None),
        ("a web page", ok("<html>hello</html>"), None),
        ("half of a JSON object", ok("{\"status\":\"ok\""), None),
        ("the wrong JSON", ok("[1,2,3]"), None),
        ("deeply nested JSON", ok(&"[".repeat(100_000)), None),
        ("invalid UTF-8", Reply::Raw(b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n\xff\xfe".to_vec()), None),
    ] {
        let server = serve(vec![reply]);
        match reach(&server, PATIENT) {
            Err(ClientError::WrongHub { found: got, .. }) => assert_eq!(got.as_deref(), found, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let server = serve(vec![ok(HEALTH)]);
    let error = Client::reach(server.port, None, PATIENT).expect_err("no identity is known");
    assert_eq!(error.code(), Code::WrongHub);
}

#[test]
fn an_answer_that_does_not_come_or_breaks_off_is_a_named_failure() {
    let head = b"HTTP/1.1 200 X\r\ncontent-length: 500\r\n\r\n{\"status\"".to_vec();
    for (name, reply, code) in [
        ("silence", Reply::Hang(Vec::new()), Code::HubNotReady),
        ("half a head", Reply::Hang(b"HTTP/1.1 200 X\r\ncont".to_vec()), Code::HubNotReady),
        ("half a body", Reply::Hang(head.clone()), Code::HubNotReady),
        ("hung up before the head", Reply::Cut(Vec::new()), Code::HubNotReady),
        ("hung up in the head", Reply::Cut(b"HTTP/1.1 200".to_vec()), Code::HubNotReady),
        ("hung up in the body", Reply::Cut(head), Code::HubNotReady),
        ("not HTTP", Reply::Cut(b"220 mail ready\r\n\r\n".to_vec()), Code::HubNotReady),
        (
            "a huge head",
            Reply::Cut([b"HTTP/1.1 200 X\r\nx: ".to_vec(), vec![b'a'; 100_000]].concat()),
            Code::HubNotReady,
        ),
        (
            "no place for a request",
            status(503, r#"{"error":"service_unavailable","error_description":"the hub does not answer"}"#),
            Code::HubNotReady,
        ),
        (
            "its control server hangs up",
            status(502, r#"{"error":"upstream_unreachable","error_description":"it closed the connection"}"#),
            Code::HubNotReady,
        ),
        ("another server's 503", status(503, "busy"), Code::WrongHub),
    ] {
        // Nothing but who it is was asked: what was not asked is not still being done.
        let patience = if matches!(reply, Reply::Hang(_)) { SHORT } else { PATIENT };
        let error = reach(&serve(vec![reply; 3]), patience).expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error}");
        assert!(!error.to_string().contains('\n'), "{name}: {error}");
    }
}

#[test]
fn a_huge_body_is_not_read_to_its_end() {
    let body = "x".repeat(ANSWER_LIMIT_BYTES as usize + 1);
    let server = serve(vec![ok(HEALTH), ok(&body)]);
    let (client, _) = reach(&server, PATIENT).expect("our hub");
    let error = client.modules().expect_err("too large");
    assert!(matches!(error, ClientError::TooLarge { limit_bytes: ANSWER_LIMIT_BYTES, .. }), "{error}");
}

#[test]
fn a_refusal_keeps_the_hubs_words_and_a_bare_status_is_named() {
    for (status_code, body, code, text) in [
        (
            401,
            r#"{"error":"token_expired","error_description":"expired"}"#,
            Code::TokenExpired,
            "token_expired: expired",
        ),
        (401, r#"{"error":"bad_signature","error_description":"no"}"#, Code::Unauthenticated, "bad_signature: no"),
        (404, r#"{"error":"not_supervised","error_description":"x"}"#, Code::NotSupervised, "not_supervised: x"),
        (404, "not found", Code::NotFound, "the hub answered the start with HTTP 404 and no reason"),
        (500, "", Code::Failed, "the hub answered the start with HTTP 500 and no reason"),
        (503, "{}", Code::ServiceUnavailable, "the hub answered the start with HTTP 503 and no reason"),
    ] {
        let server = serve(vec![ok(HEALTH), status(status_code, body)]);
        let (client, _) = reach(&server, PATIENT).expect("our hub");
        let error = client.op("vault", Op::Start).expect_err("refused");
        assert_eq!((error.code(), error.to_string().as_str()), (code, text), "{status_code} {body}");
        server.heads.recv().expect("health");
        let head = server.heads.recv().expect("asked");
        assert!(head.starts_with("POST /api/modules/vault/start HTTP/1.1\r\n"), "{head}");
    }
}

#[test]
fn nothing_on_the_port_is_a_hub_that_is_down() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let error = Client::reach(port, older(), PATIENT).expect_err("nothing listens");
    assert_eq!(error.code(), Code::HubDown);
    assert!(error.to_string().starts_with(&format!("hub not answering on 127.0.0.1:{port}: ")), "{error}");
}

#[test]
fn following_logs_asks_for_later_lines_and_waits_longer_than_the_hub() {
    let reply = r#"{"short":"vault","lines":[],"text":"","entries":[],"next":7,"missed":0}"#;
    let server = serve(vec![ok(HEALTH), ok(reply), ok(reply)]);
    let (client, _) = reach(&server, PATIENT).expect("our hub");
    client.logs("vault", None, Duration::ZERO).expect("a snapshot");
    assert_eq!(client.logs("vault", Some(7), Duration::from_secs(25)).expect("nothing new").next, 7);
    let heads: Vec<String> = server.heads.try_iter().collect();
    assert!(heads[1].starts_with("GET /api/modules/vault/logs HTTP/1.1\r\n"), "{heads:?}");
    assert!(heads[2].starts_with("GET /api/modules/vault/logs?after=7&wait=25 HTTP/1.1\r\n"), "{heads:?}");
}
