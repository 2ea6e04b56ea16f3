//! What takes long or is large: WebSockets, event streams, big bodies both ways, and real clients.

use crate::pattern::{BLOCK_BYTES, Pattern};
use crate::support::http::{self, Response};
use crate::support::{Connection, Finished, Home, Hub, Module, kill, module, testchild};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;

/// The example of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const MIB: usize = 1024 * 1024;
const LARGE_BYTES: usize = 64 * MIB;

fn chat() -> Module {
    assert!(Path::new("/usr/bin/node").exists(), "node is missing: apt-get install nodejs");
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/children/websocket-echo.js");
    let server = server.to_str().expect("the source directory is UTF-8");
    module("chat", ["/usr/bin/node", server].map(str::to_owned).to_vec()).row("websocket", json!(true))
}

fn offset(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("it fits")
}

/// The client's end of a WebSocket.
struct WebSocket(Connection);

impl WebSocket {
    #[track_caller]
    fn open(hub: &Hub, path: &str) -> Self {
        let (answer, connection) = shake_hands(hub, path);
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT), "{answer:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), Some(path), "{answer:?}");
        Self(connection)
    }

    #[track_caller]
    fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.0.send(&frame(opcode, payload));
    }

    #[track_caller]
    fn receive(&mut self) -> (u8, Vec<u8>) {
        let head = self.0.take(2).expect("a frame");
        assert_eq!(head[0] & 0xf0, 0x80, "one frame a message");
        let size = match head[1] {
            126 => u64::from(u16::from_be_bytes(self.0.take(2).expect("a size").try_into().expect("two bytes"))),
            127 => u64::from_be_bytes(self.0.take(8).expect("a size").try_into().expect("eight bytes")),
            short => u64::from(short),
        };
        (head[0] & 0x0f, self.0.take(usize::try_from(size).expect("it fits")).expect("a payload"))
    }
}

/// A whole message as a client sends it.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).expect("less than 126")),
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&offset(long).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn shake_hands(hub: &Hub, path: &str) -> (Response, Connection) {
    let mut connection = Connection::open(hub.port);
    let fields = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    connection.ask("GET", path, &fields);
    (connection.head().expect("an answer"), connection)
}

#[test]
fn twenty_websockets_carry_large_messages_both_ways() {
    let hub = Hub::start(&[chat()]);
    hub.until_ready("chat");
    let pattern = Pattern::new();
    let large: Vec<u8> =
        (0..MIB).step_by(BLOCK_BYTES).flat_map(|at| pattern.at(offset(at), BLOCK_BYTES)).copied().collect();
    let large_frame = frame(BINARY, &large);
    thread::scope(|scope| {
        for number in 0..20 {
            let (hub, large, large_frame) = (&hub, &large, &large_frame);
            scope.spawn(move || {
                let mut socket = WebSocket::open(hub, "/chat/room");
                let own = format!("only for number {number}").into_bytes();
                for _ in 0..2 {
                    socket.0.send(large_frame);
                    let (opcode, echo) = socket.receive();
                    assert!((opcode, &echo) == (BINARY, large), "connection {number}: {} bytes", echo.len());
                    socket.send(TEXT, &own);
                    assert_eq!(socket.receive(), (TEXT, own.clone()), "connection {number}");
                    socket.send(PING, &own);
                    assert_eq!(socket.receive(), (PONG, own.clone()), "connection {number}");
                }
                socket.send(CLOSE, &1000_u16.to_be_bytes());
                assert_eq!(socket.receive(), (CLOSE, 1000_u16.to_be_bytes().to_vec()), "connection {number}");
                assert_eq!(socket.0.until_closed(), b"", "connection {number}");
            });
        }
    });
    hub.until_line("chat", "closed ", "0");
    assert_eq!(hub.get("/chat/plain").text(), "plain /chat/plain\n");
}

#[test]
fn the_end_of_one_side_of_a_websocket_is_the_end_of_the_other() {
    let hub = Hub::start(&[chat()]);
    let server = hub.until_ready("chat");
    let mut stays = WebSocket::open(&hub, "/chat/a");
    let goes = WebSocket::open(&hub, "/chat/b");
    hub.until_line("chat", "open ", "2");
    drop(goes);
    hub.until_line("chat", "closed ", "1");
    stays.send(TEXT, b"still here");
    assert_eq!(stays.receive(), (TEXT, b"still here".to_vec()));
    kill(server, "KILL");
    assert_eq!(stays.0.until_closed(), b"");
    hub.until_replaced("chat", server);
    WebSocket::open(&hub, "/chat/c").send(TEXT, b"again");
}

#[test]
fn a_module_that_has_not_said_so_takes_no_websocket() {
    let hub = Hub::start(&[module("web", testchild(&["http"])), chat()]);
    hub.until_ready("web");
    hub.until_ready("chat");
    let (answer, _connection) = shake_hands(&hub, "/web/a");
    assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")), "{answer:?}");
    // The hub itself has none, and a plain request to one who has is a plain request.
    let (answer, _connection) = shake_hands(&hub, "/health");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(hub.get("/chat/a").text(), "plain /chat/a\n");
}

#[test]
fn too_many_websockets_of_one_client_are_refused_and_closed_ones_count_no_more() {
    /// The cap for one client.
    const CAP: usize = 32;
    let hub = Hub::start(&[chat()]);
    hub.until_ready("chat");
    let mut open: Vec<WebSocket> = (0..CAP).map(|_| WebSocket::open(&hub, "/chat/a")).collect();
    let (answer, connection) = shake_hands(&hub, "/chat/a");
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    drop(connection);
    open.pop();
    hub.until_line("chat", "closed ", &(CAP - 1).to_string());
    WebSocket::open(&hub, "/chat/b");
}

#[test]
fn an_event_arrives_when_it_is_said_and_the_end_of_its_reader_is_heard() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let mut stream = Connection::open(hub.port);
    stream.ask("GET", "/web/sse", "Accept: text/event-stream\r\n");
    let head = stream.head().expect("an answer");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{head:?}");
    // Nothing more is said until somebody asks for it: what arrives has not waited for what follows.
    for number in 1..=3 {
        let event = stream.chunk().expect("the stream goes on").expect("an event");
        assert_eq!(String::from_utf8_lossy(&event), format!("data: {number}\n\n"));
        assert_eq!(hub.get("/web/tick").status, 200);
    }
    assert!(hub.lines_after("web", "gone ").is_empty(), "it is still there");
    drop(stream);
    hub.until_line("web", "gone ", "/web/sse");

    let mut unread = Connection::open(hub.port);
    unread.ask("GET", "/web/big?1099511627776", "");
    assert_eq!(unread.head().expect("an answer").status, 200);
    drop(unread);
    hub.until_line("web", "gone ", "/web/big?1099511627776");
}

#[test]
fn large_bodies_arrive_as_they_were_sent() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let pattern = Pattern::new();
    let mut connection = Connection::open(hub.port);

    connection.ask("GET", &format!("/web/big?{LARGE_BYTES}"), "");
    let head = connection.head().expect("an answer");
    assert_eq!(head.header("content-length"), Some(LARGE_BYTES.to_string().as_str()), "{head:?}");
    for at in (0..LARGE_BYTES).step_by(MIB) {
        let part = connection.take(MIB).expect("the body goes on");
        assert_eq!(pattern.first_difference(offset(at), &part), None);
    }

    let head = |framing: &str| format!("POST /web/upload HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
    connection.send(head(&format!("Content-Length: {LARGE_BYTES}")).as_bytes());
    for at in (0..LARGE_BYTES).step_by(BLOCK_BYTES) {
        connection.send(pattern.at(offset(at), BLOCK_BYTES));
    }
    let answer = connection.answer("POST").expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, format!("{LARGE_BYTES} right\n")));

    // Chunks of odd sizes, so that their borders meet those of buffers everywhere.
    connection.send(head("Transfer-Encoding: chunked").as_bytes());
    let (mut at, mut size) = (0, 1);
    while at < 8 * MIB {
        let part = pattern.at(offset(at), size);
        connection.send(&[format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat());
        at += part.len();
        size = (size * 7 + 3) % BLOCK_BYTES + 1;
    }
    connection.send(b"0\r\n\r\n");
    let answer = connection.answer("POST").expect("an answer");
    assert_eq!((answer.status, answer.text()), (200, format!("{at} right\n")));
}

#[test]
fn curl_with_the_old_protocol_gets_and_sends_whole_bodies() {
    const BYTES: usize = 3 * MIB + 17;
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    let (down, up) = (hub.home.path().join("down"), hub.home.path().join("up"));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", hub.port);
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail", "--noproxy", "*"]).args(args);
        Finished::run(command).succeeds()
    };
    let down_path = down.to_str().expect("UTF-8");
    for version in ["--http1.0", "--http1.1"] {
        curl(&[version, "--output", down_path, &url(&format!("/web/big?{BYTES}"))]);
        let got = fs::read(&down).expect("curl has written it");
        assert_eq!((got.len(), Pattern::new().first_difference(0, &got)), (BYTES, None), "{version}");

        fs::File::create(&up).and_then(|mut file| file.write_all(&got)).expect("the home is ours");
        let file = format!("@{}", up.display());
        // With 1.1 it waits for `100 Continue` first, because the body is large.
        let sent = curl(&[version, "--data-binary", &file, &url("/web/upload")]);
        assert_eq!(sent.stdout, format!("{BYTES} right\n"), "{version}");
    }
    // The module is asked in the new protocol all the same.
    let echo = curl(&["--http1.0", &url("/web/echo")]).stdout;
    assert!(echo.starts_with("GET /web/echo HTTP/1.1\r\n"), "{echo}");
    assert_eq!(http::get(hub.port, "/health").expect("the hub lives").status, 200);
}

#[test]
fn git_pushes_and_clones_over_http() {
    const BYTES: usize = 3 * MIB + 17;
    let home = Home::new();
    let (user, repositories) = (home.path().join("git-user"), home.path().join("repositories"));
    for dir in [&user, &repositories] {
        fs::create_dir(dir).expect("the home is ours");
    }
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command
            .env("HOME", &user)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_DIR");
        command.args(["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "http.proxy="]).args(args);
        Finished::run(command).succeeds()
    };
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let bare = text(&repositories.join("notes.git"));
    git(&["init", "--quiet", "--bare", "--initial-branch=main", &bare]);

    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/children/git-server.py");
    let argv = ["/usr/bin/python3".to_owned(), text(&server), text(&repositories)].to_vec();
    home.install(&module("code", argv).row("stripPrefix", json!(true)));
    let hub = Hub::start_in(home, &[]);
    hub.until_ready("code");

    let url = format!("http://127.0.0.1:{}/code/notes.git", hub.port);
    let (first, second) = (user.join("first"), user.join("second"));
    git(&["init", "--quiet", "--initial-branch=main", &text(&first)]);
    // No two blocks are alike, so that it stays large when it is compressed.
    let mut state = 1_u32;
    let content: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(BYTES)
    .collect();
    fs::write(first.join("large"), &content).expect("the home is ours");
    let in_first = |args: &[&str]| git(&[&["-C", &text(&first)], args].concat());
    in_first(&["add", "large"]);
    in_first(&["commit", "--quiet", "--message=one"]);
    // More than git sends in one piece of known length: it goes in chunks.
    in_first(&["push", "--quiet", &url, "main"]);
    git(&["clone", "--quiet", &url, &text(&second)]);
    assert!(fs::read(second.join("large")).expect("it was cloned") == content, "the clone has another content");
}
