use super::*;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::mpsc;

/// Long enough for the slowest machine; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than any socket takes while nobody reads from it.
const LARGE_BYTES: usize = 16 * 1024 * 1024;

/// Routes of these tests: what blocks is let go by the test itself.
struct Fixture {
    server: Server,
    socket: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
    /// Pieces for `/follow`.
    pieces: Arc<(Mutex<Vec<&'static str>>, Condvar)>,
    /// Says that a stream's thread has ended.
    ended: mpsc::Receiver<()>,
}

impl Fixture {
    fn start() -> Self {
        let name = format!("parachute-hub-{}-{}.sock", std::process::id(), crate::sys::random::hex(6));
        let socket = std::env::temp_dir().join(name);
        let listener = UnixListener::bind(&socket).expect("a temp dir can hold a socket");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let pieces: Arc<(Mutex<Vec<&'static str>>, Condvar)> = Arc::default();
        let (ending, ended) = mpsc::channel();
        let (kept, source) = (Arc::clone(&log), Arc::clone(&pieces));
        let app: App = Arc::new(move |req| match req.path.as_str() {
            "/large" => Reply { body: vec![b'x'; LARGE_BYTES], ..Reply::json(200, &"") }.into(),
            "/quick" => Reply::json(200, &"quick").into(),
            "/panic" => panic!("on purpose"),
            "/panic-later" => Outcome::Later(Box::new(|_| panic!("later"))),
            "/poll" => {
                let source = Arc::clone(&source);
                Outcome::Later(Box::new(move |waiting| {
                    next(&source, waiting);
                    Reply::json(200, &"polled")
                }))
            }
            "/follow" => {
                let (source, ending) = (Arc::clone(&source), ending.clone());
                Outcome::Stream(Box::new(move |waiting, push| {
                    let result = (|| {
                        while let Some(piece) = next(&source, waiting) {
                            push(piece.as_bytes())?;
                        }
                        Ok(())
                    })();
                    let _nobody_asks = ending.send(());
                    result
                }))
            }
            _ => Reply::error(404, Code::NotFound, "no such route").into(),
        });
        let logging: Log = Arc::new(move |line| lock(&kept).push(line.to_owned()));
        let server = start(listener, app, logging).expect("threads can be started");
        Self { server, socket, log, pieces, ended }
    }

    fn connect(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        Client(BufReader::new(stream))
    }

    /// A connection that says at once what it wants. A silent one can keep another waiting for a thread, see
    /// [`Shared::nudge`]; no client of the hub connects before it has a request.
    fn open(&self, request: &str) -> Client {
        let mut client = self.connect();
        client.send(request);
        client
    }

    fn ask(&self, request: &str) -> (u16, String) {
        self.open(request).answer()
    }

    fn push(&self, piece: &'static str) {
        lock(&self.pieces.0).push(piece);
        self.pieces.1.notify_all();
    }
}

/// The next piece, or `None` when the wait was given up.
fn next(
    source: &Arc<(Mutex<Vec<&'static str>>, Condvar)>,
    waiting: &crate::hub::waiters::Waiting,
) -> Option<&'static str> {
    let theirs = Arc::clone(source);
    waiting.wake_with(move || {
        drop(lock(&theirs.0));
        theirs.1.notify_all();
    });
    let pieces = lock(&source.0);
    let mut pieces =
        source.1.wait_while(pieces, |pieces| pieces.is_empty() && !waiting.cancelled()).expect("not poisoned");
    pieces.pop()
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn send(&mut self, request: &str) {
        self.0.get_mut().write_all(request.as_bytes()).expect("the server reads");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server answers");
        line.trim_end().to_owned()
    }

    /// Status and, by its length, the body.
    fn answer(&mut self) -> (u16, String) {
        let (status, headers) = self.head();
        let length = headers.iter().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        self.0.read_exact(&mut body).expect("the whole body");
        (status, String::from_utf8(body).expect("text"))
    }

    fn head(&mut self) -> (u16, Vec<String>) {
        let status = self.line().split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        (status, std::iter::from_fn(|| Some(self.line()).filter(|line| !line.is_empty())).collect())
    }

    fn chunk(&mut self) -> String {
        let length = usize::from_str_radix(&self.line(), 16).expect("a chunk length");
        let mut piece = vec![0; length + 2];
        self.0.read_exact(&mut piece).expect("a whole chunk");
        piece.truncate(length);
        String::from_utf8(piece).expect("text")
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

#[test]
fn answers_are_complete_json_and_a_head_has_no_body() {
    let fixture = Fixture::start();
    let mut client = fixture.connect();
    for (path, expected) in [("/quick", 200), ("/nothing", 404), ("/quick?a=%zz", 400)] {
        client.send(&get(path));
        let (status, body) = client.answer();
        assert_eq!(status, expected, "{path}: {body}");
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_ok(), "{path}: {body}");
    }
    client.send("HEAD /quick HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let (status, headers) = client.head();
    assert_eq!(status, 200);
    assert!(headers.iter().any(|line| line == "content-length: 8"), "{headers:?}");
    assert_eq!(client.line(), "", "no body, and the connection is closed");
}

#[test]
fn a_panic_is_a_500_with_a_number_and_the_workers_live_on() {
    let fixture = Fixture::start();
    for path in ["/panic", "/panic-later"].repeat(WORKERS + 1) {
        let (status, body) = fixture.ask(&get(path));
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let id = body["request_id"].as_str().expect("a number for the log").to_owned();
        assert_eq!((status, body["error"].as_str()), (500, Some("internal_error")));
        assert!(lock(&fixture.log).iter().any(|line| line.contains(&id)), "{path} {id} is in the log");
    }
    assert_eq!(fixture.ask(&get("/quick")).0, 200);
}

#[test]
fn long_polls_do_not_keep_quick_routes_waiting() {
    let fixture = Fixture::start();
    let mut polls: Vec<_> = (0..WORKERS * 2).map(|_| fixture.open(&get("/poll"))).collect();
    assert_eq!(fixture.ask(&get("/quick")).0, 200);
    for _ in &polls {
        fixture.push("x");
    }
    for poll in &mut polls {
        assert_eq!(poll.answer().0, 200);
    }
}

#[test]
fn one_slow_request_too_many_is_told_to_come_back() {
    let fixture = Fixture::start();
    let mut polls = Vec::new();
    while polls.len() < SLOW_LIMIT {
        polls.push(fixture.open(&get("/poll")));
        // A quick answer on the same connection cannot overtake, so one on another tells that the queue went on.
        while fixture.server.shared.slow.load(Ordering::SeqCst) < polls.len() {
            assert_eq!(fixture.ask(&get("/quick")).0, 200);
        }
    }
    let (status, body) = fixture.ask(&get("/poll"));
    assert_eq!((status, body.contains("\"busy\"")), (503, true), "{body}");
    fixture.server.stop();
    assert!(polls.iter_mut().all(|poll| poll.answer().0 == 200), "stopping lets every poll answer");
}

#[test]
fn a_stream_sends_each_piece_at_once_and_ends_with_its_client() {
    let fixture = Fixture::start();
    let mut client = fixture.connect();
    client.send("GET /follow HTTP/1.1\r\nhost: x\r\nX-Parachute-Exchange: 77\r\n\r\n");
    let (status, headers) = client.head();
    assert_eq!((status, headers.contains(&"transfer-encoding: chunked".to_owned())), (200, true), "{headers:?}");
    for piece in ["one\n", "two\n"] {
        fixture.push(piece);
        assert_eq!(client.chunk(), piece);
    }
    fixture.server.client_gone(78);
    fixture.push("three\n");
    assert_eq!(client.chunk(), "three\n");
    fixture.server.client_gone(77);
    fixture.ended.recv_timeout(PATIENCE).expect("the thread ends");
    assert_eq!((client.line(), client.line()), ("0".to_owned(), String::new()));
}

/// Its client is to know that there would have been more.
#[test]
fn a_stream_that_gives_way_to_another_is_broken_off() {
    let fixture = Fixture::start();
    let mut streams: Vec<Client> = Vec::new();
    for _ in 0..=crate::hub::waiters::STREAM_LIMIT {
        // As the edge asks.
        let mut client = fixture.open("GET /follow HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        assert_eq!(client.head().0, 200);
        streams.push(client);
    }
    fixture.ended.recv_timeout(PATIENCE).expect("one too many");
    let mut rest = String::new();
    streams[0].0.read_to_string(&mut rest).expect("closed");
    assert_eq!(rest, "", "the last chunk is missing");
    fixture.server.stop();
    assert_eq!((streams[1].line(), streams[1].line()), ("0".to_owned(), String::new()));
}

#[test]
fn a_stream_whose_client_vanished_ends_at_the_next_piece() {
    let fixture = Fixture::start();
    let mut client = fixture.connect();
    client.send(&get("/follow"));
    assert_eq!(client.head().0, 200);
    drop(client);
    fixture.push("x");
    // The first write may still find room in the socket.
    while fixture.ended.try_recv().is_err() {
        fixture.push("y");
        thread::yield_now();
    }
}

#[test]
fn a_body_is_read_over_up_to_its_limit() {
    let fixture = Fixture::start();
    let limit = usize::try_from(BODY_LIMIT_BYTES).expect("fits");
    let chunked =
        |size: usize| format!("transfer-encoding: chunked\r\n\r\n{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size));
    let counted = |size: usize| format!("content-length: {size}\r\n\r\n{}", "x".repeat(size));
    for (what, rest, expected) in [
        ("small", counted(10), 200),
        ("at the limit", counted(limit), 200),
        ("over the limit", counted(limit + 1), 413),
        ("chunked", chunked(limit), 200),
    ] {
        let mut client = fixture.connect();
        client.send(&format!("POST /quick HTTP/1.1\r\nhost: x\r\n{rest}"));
        let (status, body) = client.answer();
        assert_eq!(status, expected, "{what}: {body}");
        if expected == 200 {
            client.send(&get("/quick"));
            assert_eq!(client.answer().0, 200, "the next request after {what}");
        }
    }
}

#[test]
fn a_body_that_never_comes_keeps_nobody_waiting() {
    let fixture = Fixture::start();
    let begun = "POST /quick HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\nx";
    let _slow: Vec<_> = (0..WORKERS * 2).map(|_| fixture.open(begun)).collect();
    assert_eq!(fixture.ask(&get("/quick")).0, 200);
}

#[test]
fn a_failed_accept_loop_is_replaced_and_old_connections_go_on() {
    let fixture = Fixture::start();
    let mut old = fixture.connect();
    old.send(&get("/quick"));
    assert_eq!(old.answer().0, 200);
    // Shared with tiny_http's copy: the accept after the next one fails, and with it the loop ends.
    fixture.server.shared.listener.set_nonblocking(true).expect("a listener takes it");
    while !lock(&fixture.log).iter().any(|line| line.contains("starting it again")) {
        assert_eq!(fixture.ask(&get("/quick")).0, 200);
    }
    assert_eq!(fixture.ask(&get("/quick")).0, 200);
    old.send(&get("/quick"));
    assert_eq!(old.answer().0, 200);
}

#[test]
fn many_who_suspect_a_failed_accept_loop_have_it_replaced_once() {
    let fixture = Fixture::start();
    let replaced = || lock(&fixture.log).iter().filter(|line| line.contains("starting it again")).count();
    for round in 1..=5 {
        fixture.server.shared.listener.set_nonblocking(true).expect("a listener takes it");
        while replaced() < round {
            assert_eq!(fixture.ask(&get("/quick")).0, 200);
        }
        // The pause before the new one is not over.
        (1..WORKERS).for_each(|_| fixture.server.shared.suspect());
        for _ in 0..WORKERS {
            assert_eq!(fixture.ask(&get("/quick")).0, 200, "round {round}");
        }
        assert_eq!(replaced(), round, "{:?}", lock(&fixture.log));
        assert!(fixture.socket.exists(), "round {round}");
    }
}

#[test]
fn stopping_ends_streams_and_removes_the_socket() {
    let fixture = Fixture::start();
    let mut client = fixture.connect();
    client.send(&get("/follow"));
    assert_eq!(client.head().0, 200);
    fixture.server.stop();
    fixture.ended.recv_timeout(PATIENCE).expect("the thread ends");
    assert!(!fixture.socket.exists());
    fixture.server.stop();
}

#[test]
fn who_does_not_read_a_large_answer_keeps_no_worker_busy() {
    let fixture = Fixture::start();
    let mut unread: Vec<Client> = (0..2 * WORKERS).map(|_| fixture.open(&get("/large"))).collect();
    for client in &mut unread {
        assert_eq!(client.line(), "HTTP/1.1 200 OK");
    }
    assert_eq!(fixture.ask(&get("/quick")).0, 200);
    let mut last = unread.pop().expect("one of them");
    while !last.line().is_empty() {}
    last.0.read_exact(&mut vec![0; LARGE_BYTES]).expect("it is whole for who reads it");
}
