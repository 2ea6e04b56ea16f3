//! Modules behind the edge: real TCP servers that do what a test tells them.

use super::mount;
use super::support::{Client, PATIENCE, Reply, World};
use crate::edge::{Routes, Routing, Table};
use crate::manifest::Port;
use crate::manifest::mounts::Mount;
use crate::supervisor::standing::{Board, Standing};
use std::collections::HashMap;
use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

const WIKI: &str = "wiki";
pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn wiki(port: u16) -> Mount {
    let port = Port::new(u64::from(port)).expect("a port");
    Mount { port, hold: Duration::from_secs(30), ..mount("/wiki") }
}

/// One module, its standing, and the edge in front of it.
pub(super) struct Wiki {
    pub(super) world: World,
    board: Arc<Board>,
    listener: Option<TcpListener>,
    port: u16,
}

impl Wiki {
    pub(super) fn new(change: impl FnOnce(&mut Mount)) -> Self {
        Self::over(TcpListener::bind("127.0.0.1:0").expect("bind"), change)
    }

    fn over(listener: TcpListener, change: impl FnOnce(&mut Mount)) -> Self {
        let port = listener.local_addr().expect("address").port();
        let mut mount = wiki(port);
        change(&mut mount);
        let board = Arc::new(Board::new());
        board.set(Standing::Up { since: Instant::now() });
        let boards = HashMap::from([(mount.process.clone(), Arc::clone(&board))]);
        Self { world: World::with_modules(vec![mount], boards), board, listener: Some(listener), port }
    }

    pub(super) fn stands(&self, standing: Standing) {
        self.board.set(standing);
        self.world.bell.ring();
    }

    /// The next connection; a test that waits in vain fails.
    pub(super) fn accept(&self) -> Client {
        let listener = self.listener.as_ref().expect("listens");
        listener.set_nonblocking(true).expect("nonblocking");
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "accept"),
            }
            assert!(Instant::now() < deadline, "nobody has connected");
            std::thread::yield_now();
        };
        stream.set_nonblocking(false).expect("blocking");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Client::over(stream)
    }

    pub(super) fn stop_listening(&mut self) {
        self.listener = None;
    }

    pub(super) fn listen_again(&mut self) {
        // The port was free a moment ago, and connections of ours to it may linger.
        self.listener = Some(TcpListener::bind(("127.0.0.1", self.port)).expect("bind again"));
    }

    fn ask(&self, target: &str) -> Client {
        let mut client = self.world.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        client
    }
}

#[test]
fn a_module_answers_for_its_mount_and_the_hub_for_the_rest() {
    let wiki = Wiki::new(|mount| mount.strip = true);
    let mut client = wiki.ask("/wiki/page?x");
    let mut module = wiki.accept();
    let head = module.until("\r\n\r\n");
    assert!(head.starts_with("GET /page?x HTTP/1.1\r\nHost: localhost\r\n"), "{head}");
    assert!(head.contains("\r\nX-Forwarded-Prefix: /wiki\r\n"), "{head}");
    module.send(OK.as_bytes());
    assert_eq!(client.reply().body, "ok");
    client.send(b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.reply().body.starts_with("GET /other "));
    // The same socket is used again, and by another client.
    let mut other = wiki.ask("/wiki");
    assert!(module.until("\r\n\r\n").starts_with("GET / HTTP/1.1\r\n"));
    module.send(OK.as_bytes());
    assert_eq!(other.reply().status, 200);
}

#[test]
fn a_row_with_the_hubs_own_port_does_not_have_the_edge_call_itself() {
    let own = Arc::new(OnceLock::new());
    let port = Arc::clone(&own);
    let routes: Routes = Arc::new(move |before| {
        let mounts = port.get().map(|port| wiki(*port)).into_iter().collect();
        Some(Routing { table: Table::new(mounts, |_| Arc::new(Board::new()), before), manifests: Vec::new() })
    });
    let world = World::routing(|_| {}, Arc::new(|_| {}), routes).with_backend();
    own.set(world.address.port()).expect("once");
    world.bell.reroute();
    let reply = world.ask("GET /wiki HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n");
    assert!(reply.status == 502 && reply.body.contains("\"service\":\"wiki\""), "{reply:?}");
    assert_eq!(world.edge.as_ref().expect("runs").counters().requests(), 1);
}

#[test]
fn a_pooled_socket_that_was_closed_is_replaced_for_what_may_be_repeated() {
    let wiki = Wiki::new(|_| {});
    let mut client = wiki.ask("/wiki");
    let mut module = wiki.accept();
    module.until("\r\n\r\n");
    module.send(OK.as_bytes());
    client.reply();
    client.send(b"GET /wiki/2 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    // It hangs up on the request that it has just got.
    module.until("\r\n\r\n");
    drop(module);
    let mut module = wiki.accept();
    assert!(module.until("\r\n\r\n").starts_with("GET /wiki/2 "));
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);

    client.send(b"POST /wiki/3 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
    module.until("hi");
    drop(module);
    assert_eq!(client.reply().status, 502, "a POST is not sent twice");
}

#[test]
fn a_request_waits_while_its_module_is_restarted() {
    let mut wiki = Wiki::new(|_| {});
    wiki.stands(Standing::Restarting);
    wiki.stop_listening();
    let (mut first, mut second) = (wiki.ask("/wiki/1"), wiki.ask("/wiki/2"));
    // The hub answers meanwhile.
    assert_eq!(wiki.world.ask("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n").status, 200);
    wiki.listen_again();
    wiki.stands(Standing::Up { since: Instant::now() });
    let mut modules: Vec<Client> = (0..2).map(|_| wiki.accept()).collect();
    for module in &mut modules {
        module.until("\r\n\r\n");
        module.send(OK.as_bytes());
    }
    assert_eq!((first.reply().status, second.reply().status), (200, 200));
}

#[test]
fn a_request_that_a_restart_cut_off_is_sent_to_the_next_child() {
    let mut wiki = Wiki::new(|_| {});
    let mut client = wiki.ask("/wiki/1");
    let mut module = wiki.accept();
    module.until("\r\n\r\n");
    wiki.stop_listening();
    // Before its end: the edge gives a module that failed a moment only to be said to be on its way back.
    wiki.stands(Standing::Restarting);
    drop(module);
    wiki.listen_again();
    wiki.stands(Standing::Up { since: Instant::now() + Duration::from_secs(1) });
    let mut module = wiki.accept();
    assert!(module.until("\r\n\r\n").starts_with("GET /wiki/1 "));
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn a_module_that_is_not_there_is_told_by_its_standing() {
    let mut wiki = Wiki::new(|mount| mount.hold = Duration::ZERO);
    wiki.stop_listening();
    for (standing, status, error) in [
        (Standing::Starting, 503, "upstream_starting"),
        (Standing::Restarting, 503, "upstream_starting"),
        (Standing::Up { since: Instant::now() }, 503, "upstream_starting"),
        (Standing::Crashed, 502, "upstream_unreachable"),
        (Standing::Stopped, 502, "upstream_unreachable"),
    ] {
        wiki.stands(standing);
        let ask = |accept: &str| {
            let mut client = wiki.world.client();
            client.send(format!("GET /wiki/x HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n").as_bytes());
            client.reply()
        };
        let json: Reply = ask("application/json");
        assert_eq!(json.status, status, "{standing:?}: {json:?}");
        let body: serde_json::Value = serde_json::from_str(&json.body).expect("json");
        assert_eq!((&body["error"], &body["service"]), (&error.into(), &WIKI.into()), "{standing:?}");
        let page = ask("text/html");
        assert_eq!(page.status, status, "{standing:?}");
        assert!(page.body.starts_with("<!doctype html>") && page.body.contains(WIKI), "{page:?}");
    }
}

#[test]
fn too_many_requests_do_not_wait() {
    let mut wiki = Wiki::new(|_| {});
    wiki.stands(Standing::Restarting);
    wiki.stop_listening();
    let mut waiting: Vec<Client> = (0..64).map(|n| wiki.ask(&format!("/wiki/{n}"))).collect();
    // Those that came first have the places once one is told off.
    let mut told = wiki.ask("/wiki/late");
    let mut clients: Vec<Client> = Vec::new();
    let reply = loop {
        told.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("timeout");
        if told.stream.peek(&mut [0; 1]).is_ok() {
            break told.reply();
        }
        clients.push(std::mem::replace(&mut told, wiki.ask("/wiki/later")));
        assert!(clients.len() < 64, "somebody is told off");
    };
    assert_eq!(reply.status, 503);
    wiki.stands(Standing::Crashed);
    for client in waiting.iter_mut().chain(&mut clients) {
        assert_eq!(client.reply().status, 502, "whoever waits is told at once");
    }
}

/// What a WebSocket client says first.
const HANDSHAKE: &[u8] = b"GET /wiki/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

#[test]
fn a_websocket_is_a_tunnel_until_one_side_ends() {
    let wiki = Wiki::new(|mount| mount.websocket = true);
    for client_ends in [true, false] {
        let mut client = wiki.world.client();
        client.send(HANDSHAKE);
        let mut module = wiki.accept();
        assert!(module.until("\r\n\r\n").contains("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"));
        module.send(&[SWITCH, b"first"].concat());
        assert!(client.until("\r\n\r\n").starts_with("HTTP/1.1 101 "));
        client.until("first");
        let big = vec![b'x'; 3 << 20];
        let (sent, mut to_send) = (big.clone(), client.stream.try_clone().expect("clone"));
        let sender = std::thread::spawn(move || to_send.write_all(&sent).expect("send"));
        module.exactly(big.len());
        sender.join().expect("sent");
        let mut back = module.stream.try_clone().expect("clone");
        let size = big.len();
        let sender = std::thread::spawn(move || back.write_all(&big).expect("send"));
        client.exactly(size);
        sender.join().expect("sent");
        if client_ends {
            client.send(b"last");
            drop(client);
            module.until("last");
            assert!(module.ends());
        } else {
            module.send(b"last");
            drop(module);
            client.until("last");
            assert!(client.ends());
        }
    }
}

#[test]
fn a_websocket_needs_a_module_that_takes_it_and_a_place() {
    let wiki = Wiki::new(|_| {});
    let mut client = wiki.world.client();
    client.send(HANDSHAKE);
    let refused = client.reply();
    assert_eq!(refused.status, 426, "{refused:?}");
    assert!(refused.has("upgrade: websocket") && refused.body.contains("websocket_not_supported"), "{refused:?}");

    let wiki = Wiki::new(|mount| mount.websocket = true);
    let mut open = Vec::new();
    for _ in 0..32 {
        let mut client = wiki.world.client();
        client.send(HANDSHAKE);
        let mut module = wiki.accept();
        module.until("\r\n\r\n");
        module.send(SWITCH);
        client.until("\r\n\r\n");
        open.push((client, module));
    }
    let mut client = wiki.world.client();
    client.send(HANDSHAKE);
    let refused = client.reply();
    assert_eq!((refused.status, refused.body.contains("too_many_connections")), (429, true), "{refused:?}");
    let (gone, mut module) = open.pop().expect("one");
    drop(gone);
    assert!(module.ends(), "the module hears of it, and the place is free");
    client.send(HANDSHAKE);
    wiki.accept().until("\r\n\r\n");
}

#[test]
fn a_module_that_declines_a_websocket_answers_like_any_other() {
    let wiki = Wiki::new(|mount| mount.websocket = true);
    let mut client = wiki.world.client();
    client.send(HANDSHAKE);
    let mut module = wiki.accept();
    module.until("\r\n\r\n");
    module.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let reply = client.reply();
    assert_eq!((reply.status, reply.body.as_str()), (403, "no"));
    client.send(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.reply().status, 200, "the connection goes on");
}

#[test]
fn lies_of_a_module_are_a_clean_failure_and_its_socket_is_not_used_again() {
    let wiki = Wiki::new(|mount| mount.hold = Duration::ZERO);
    let endless = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40);
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (answer, status, whole) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", 200, false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 200, false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", 200, false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok", 502, true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", 502, true),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", 502, true),
        ("HTTP/2 200\r\n\r\n", 502, true),
        ("nonsense\r\n\r\n", 502, true),
        ("", 502, true),
        (&endless, 502, true),
        (&huge, 502, true),
    ] {
        let mut client = wiki.ask("/wiki");
        let mut module = wiki.accept();
        module.until("\r\n\r\n");
        let shown: String = answer.chars().take(80).collect();
        // The edge may hang up before it has read all of it.
        let _ = module.stream.write_all(answer.as_bytes());
        let _ = module.stream.shutdown(std::net::Shutdown::Write);
        let reply = client.reply();
        assert_eq!((reply.status, reply.whole), (status, whole), "{shown:?}: {reply:?}");
    }
    let mut client = wiki.ask("/wiki");
    let mut module = wiki.accept();
    module.until("\r\n\r\n");
    module.send(OK.as_bytes());
    assert_eq!(client.reply().status, 200, "the next request works");
}

#[test]
fn a_client_that_has_gone_frees_its_module() {
    let wiki = Wiki::new(|_| {});
    let client = wiki.ask("/wiki");
    let mut module = wiki.accept();
    module.until("\r\n\r\n");
    module.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    drop(client);
    assert!(module.ends());
}

#[test]
fn a_stream_is_passed_on_as_it_comes() {
    let wiki = Wiki::new(|_| {});
    let mut client = wiki.ask("/wiki");
    let mut module = wiki.accept();
    module.until("\r\n\r\n");
    module.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    client.until("\r\n\r\n");
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        module.send(event.as_bytes());
        client.until(event);
    }
}

#[test]
fn an_answer_before_the_end_of_the_request_is_passed_on() {
    let wiki = Wiki::new(|_| {});
    let mut client = wiki.world.client();
    client.send(b"POST /wiki HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nbegin");
    let mut module = wiki.accept();
    module.until("begin");
    module.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
    let reply = client.reply();
    assert_eq!((reply.status, reply.body.as_str()), (413, "no!"));
    assert!(reply.has("connection: close"), "{reply:?}");
}

#[test]
fn a_server_on_the_other_loopback_address_is_found() {
    // Nothing but this test shows that the second address is tried, so it does not pass unseen without one.
    let bind = || {
        let listener = TcpListener::bind("[::1]:0");
        listener.expect("this machine has no ::1; as root: sysctl -w net.ipv6.conf.lo.disable_ipv6=0")
    };
    // Somebody else may have the number on the first one.
    let is_free = |listener: &TcpListener| {
        TcpListener::bind(("127.0.0.1", listener.local_addr().expect("address").port())).is_ok()
    };
    let listener = std::iter::repeat_with(bind).find(is_free).expect("there is no end of them");
    let wiki = Wiki::over(listener, |_| {});
    let mut client = wiki.ask("/wiki");
    wiki.accept().send(OK.as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn bodies_without_a_limit_pass_in_both_directions() {
    let wiki = Wiki::new(|_| {});
    let (size, block) = (24usize << 20, vec![b'y'; 1 << 20]);
    let mut client = wiki.world.client();
    client.send(format!("PUT /wiki HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n").as_bytes());
    let mut upload = client.stream.try_clone().expect("clone");
    let (sent, received): (_, Receiver<usize>) = channel();
    let mut module = wiki.accept();
    let echo = std::thread::spawn(move || {
        module.until("\r\n\r\n");
        module.exactly(size);
        sent.send(size).expect("told");
        module.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").as_bytes());
        for _ in 0..size >> 20 {
            module.send(&vec![b'z'; 1 << 20]);
        }
    });
    for _ in 0..size >> 20 {
        upload.write_all(&block).expect("upload");
    }
    assert_eq!(received.recv_timeout(PATIENCE), Ok(size));
    let reply = client.reply();
    assert!(reply.whole && reply.body.len() == size && reply.body.bytes().all(|byte| byte == b'z'));
    echo.join().expect("echo");
}
