//! WebSockets between a server for Node and a client that is strict about every frame.

use crate::pattern::{BLOCK_BYTES, Pattern};
use crate::support::http::Response;
use crate::support::{Connection, Finished, Hub, Module, deadline, kill, module, testchild};
use serde_json::json;
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

/// A module that sends back what it is sent.
pub(crate) fn chat() -> Module {
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
        let (answer, connection) = shake_hands(hub, path, "");
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT), "{answer:?}");
        let (path_there, protocol) = (answer.header("x-path"), answer.header("sec-websocket-protocol"));
        assert_eq!((path_there, protocol), (Some(path), Some("first")), "{answer:?}");
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

/// Asks for a WebSocket with these lines besides.
pub(crate) fn shake_hands(hub: &Hub, path: &str, more: &str) -> (Response, Connection) {
    let mut connection = Connection::open(hub.port);
    let fields = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Protocol: first, second\r\n{more}"
    );
    connection.ask("GET", path, &fields);
    (connection.head().expect("an answer"), connection)
}

#[test]
fn a_hundred_websockets_at_once_carry_large_messages_both_ways() {
    const SOCKETS: usize = 100;
    let cap = SOCKETS.to_string();
    let hub = Hub::start_with(&[chat()], &[("PARACHUTE_WS_MAX_PER_IP", &cap)]);
    hub.until_ready("chat");
    let pattern = Pattern::new();
    let large: Vec<u8> =
        (0..MIB).step_by(BLOCK_BYTES).flat_map(|at| pattern.at(offset(at), BLOCK_BYTES)).copied().collect();
    let large_frame = frame(BINARY, &large);
    let sockets: Vec<WebSocket> = (0..SOCKETS).map(|_| WebSocket::open(&hub, "/chat/room")).collect();
    hub.until_line("chat", "open ", &cap);
    thread::scope(|scope| {
        for (number, mut socket) in sockets.into_iter().enumerate() {
            let (large, large_frame) = (&large, &large_frame);
            scope.spawn(move || {
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
fn a_hundred_websockets_of_a_client_that_many_use_do_the_same() {
    let hub = Hub::start_with(&[chat()], &[("PARACHUTE_WS_MAX_PER_IP", "100")]);
    hub.until_ready("chat");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/children/websocket-client.py");
    let mut command = Command::new("/usr/bin/python3");
    // It would take a proxy of the environment for one that leads to the hub.
    command.env_clear().env("PATH", "/usr/bin:/bin").arg(client);
    command.args([&format!("ws://127.0.0.1:{}/chat/room", hub.port), "100"]);
    // `No module named 'websockets'`: apt-get install python3-websockets
    let done = Finished::run_within(deadline() * 5, command).succeeds();
    assert_eq!(done.stdout, "open 100\ndone 100\n", "{done}");
    hub.until_line("chat", "closed ", "0");
    assert_eq!(hub.lines_after("chat", "open ").last().map(String::as_str), Some("100"), "all of them at once");
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
    let (answer, _connection) = shake_hands(&hub, "/web/a", "");
    assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")), "{answer:?}");
    // The hub itself has none, and a plain request to one who has is a plain request.
    let (answer, _connection) = shake_hands(&hub, "/health", "");
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
    let (answer, connection) = shake_hands(&hub, "/chat/a", "");
    assert_eq!(answer.status, 429, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    drop(connection);
    open.pop();
    hub.until_line("chat", "closed ", &(CAP - 1).to_string());
    WebSocket::open(&hub, "/chat/b");
}
