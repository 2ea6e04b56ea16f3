use super::*;
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
            if !answer(stream, &mut replies, &head_tx) {
                return;
            }
        }
    });
    Server { port, heads, connections, _thread: thread }
}

/// Answers one connection; false when there is nothing left to say.
fn answer(mut stream: TcpStream, replies: &mut impl Iterator<Item = Reply>, heads: &mpsc::Sender<String>) -> bool {
    loop {
        let mut head = Vec::new();
        let mut byte = [0; 1];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return true,
            }
        }
        heads.send(String::from_utf8_lossy(&head).into_owned()).ok();
        match replies.next() {
            None => return false,
            Some(Reply::Raw(bytes)) => stream.write_all(&bytes).unwrap_or(()),
            Some(Reply::Cut(bytes)) => {
                stream.write_all(&bytes).unwrap_or(());
                return true;
            }
            Some(Reply::Hang(bytes)) => {
                stream.write_all(&bytes).unwrap_or(());
                stream.read_to_end(&mut Vec::new()).ok();
                return true;
            }
        }
    }
}

fn reach(server: &Server, timeout: Duration) -> Result<(Client, Health), ClientError> {
    Client::reach(server.port, Some("abc"), timeout)
}

#[test]
fn two_calls_share_one_connection_and_the_bearer_goes_only_with_the_second() {
    let list = r#"{"modules":[],"supervised":[],"supervisor_available":true,"module_install_channel":"latest"}"#;
    let server = serve(vec![ok(HEALTH), ok(list)]);
    let (mut client, health) = reach(&server, PATIENT).expect("our hub");
    assert_eq!(health.instance, "abc");
    client.set_bearer("secret");
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
        ("silence", Reply::Hang(Vec::new()), Code::RequestTimeout),
        ("half a head", Reply::Hang(b"HTTP/1.1 200 X\r\ncont".to_vec()), Code::RequestTimeout),
        ("half a body", Reply::Hang(head.clone()), Code::RequestTimeout),
        ("hung up before the head", Reply::Cut(Vec::new()), Code::HubNotReady),
        ("hung up in the head", Reply::Cut(b"HTTP/1.1 200".to_vec()), Code::HubNotReady),
        ("hung up in the body", Reply::Cut(head), Code::HubNotReady),
        ("not HTTP", Reply::Cut(b"220 mail ready\r\n\r\n".to_vec()), Code::HubNotReady),
        (
            "a huge head",
            Reply::Cut([b"HTTP/1.1 200 X\r\nx: ".to_vec(), vec![b'a'; 100_000]].concat()),
            Code::HubNotReady,
        ),
    ] {
        let patience = if code == Code::RequestTimeout { SHORT } else { PATIENT };
        let error = reach(&serve(vec![reply]), patience).expect_err(name);
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
    let error = Client::reach(port, Some("abc"), PATIENT).expect_err("nothing listens");
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
