//! A hub that says what it got and misbehaves when asked to, and a client that reads answers to the letter.

use crate::edge::{
    self, AccessLog, Bell, Denial, EdgeHandle, OnClientGone, Question, Routes, Routing, Settings, Table, Ticket,
    Verdict,
};
use crate::manifest::Short;
use crate::manifest::mounts::Mount;
use crate::supervisor::standing::Board;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// So long does a test wait for what must come, before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An edge with a backend of its own.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) edge: Option<EdgeHandle>,
    /// The numbers of exchanges whose clients have gone.
    pub(crate) gone: Receiver<u64>,
    /// What the backend has seen: `METHOD TARGET`.
    pub(crate) seen: Receiver<String>,
    /// Lets a backend that waits go on.
    pub(crate) go: Sender<()>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    /// What is asked about callers who show `later`, for the test to answer.
    pub(crate) asked: Receiver<(Ticket, Arc<Question>)>,
    /// Rung when a module stands differently.
    pub(crate) bell: Arc<Bell>,
    dir: PathBuf,
}

struct Backend {
    seen: Sender<String>,
    go: Mutex<Receiver<()>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let (gone_sender, gone) = channel();
        let on_client_gone = Arc::new(move |id| {
            let _ = gone_sender.send(id);
        });
        let mut world = Self::calling(change, on_client_gone).with_backend();
        world.gone = gone;
        world
    }

    /// Listens on the hub's socket.
    pub(crate) fn with_backend(mut self) -> Self {
        let (seen_sender, seen) = channel();
        let (go, go_receiver) = channel();
        let backend = Arc::new(Backend { seen: seen_sender, go: Mutex::new(go_receiver) });
        let listener = UnixListener::bind(self.dir.join("hub.sock")).expect("bind the backend");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let backend = Arc::clone(&backend);
                let stream = stream.expect("accept");
                std::thread::spawn(move || while backend.serve_one(&stream) {});
            }
        });
        self.seen = seen;
        self.go = go;
        self
    }

    /// An edge with these modules besides, each with the standing that it shows.
    pub(crate) fn with_modules(mounts: Vec<Mount>, boards: HashMap<Short, Arc<Board>>) -> Self {
        let board_of = move |short: &Short| boards.get(short).cloned().unwrap_or_else(|| Arc::new(Board::new()));
        let routes: Routes = Arc::new(move |before| {
            Some(Routing { table: Table::new(mounts.clone(), &board_of, before), manifests: Vec::new() })
        });
        Self::routing(|_| {}, Arc::new(|_| {}), routes).with_backend()
    }

    /// Only the edge.
    pub(crate) fn calling(change: impl FnOnce(&mut Settings), on_client_gone: OnClientGone) -> Self {
        Self::routing(change, on_client_gone, Arc::new(|_| None))
    }

    /// An edge that asks `routes` where its modules are.
    pub(crate) fn routing(change: impl FnOnce(&mut Settings), on_client_gone: OnClientGone, routes: Routes) -> Self {
        Self::logging(change, on_client_gone, routes, None)
    }

    /// The same with an access log.
    pub(crate) fn logging(
        change: impl FnOnce(&mut Settings),
        on_client_gone: OnClientGone,
        routes: Routes,
        access_log: Option<AccessLog>,
    ) -> Self {
        let name = format!("parachute-edge-{}-{}", std::process::id(), crate::sys::random::hex(6));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).expect("a directory");
        let mut settings = Settings::new(edge::OwnHosts::of(&["https://box.example"]), vec!["lan.example".to_owned()]);
        change(&mut settings);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("address");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let bell = edge::Bell::new().expect("a bell");
        let answers = Arc::clone(&bell);
        let (later, asked) = channel();
        let identify = move |ticket, question: Arc<Question>| match question.authorization.as_deref() {
            Some("Bearer later") => later.send((ticket, question)).unwrap_or_default(),
            _ => answers.answer(ticket, verdict(&question)),
        };
        let edge = edge::start(
            settings,
            vec![listener],
            dir.join("hub.sock"),
            edge::Hooks {
                routes,
                on_client_gone,
                identify: Box::new(identify),
                counters: Arc::default(),
                on_lost: Box::new(|| {}),
                log: Arc::new(move |line: &str| lines.lock().expect("log").push(line.to_owned())),
                access_log,
            },
            Arc::clone(&bell),
        );
        let (go, seen, gone) = (channel().0, channel().1, channel().1);
        Self { address, edge: Some(edge.expect("start")), gone, seen, go, log, asked, bell, dir }
    }

    pub(crate) fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        stream.set_nodelay(true).expect("nodelay");
        Client { stream, buffer: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &str) -> Reply {
        let mut client = self.client();
        client.send(request.as_bytes());
        client.reply()
    }
}

/// What the hub of this world says about callers.
fn verdict(question: &Question) -> Verdict {
    match question.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer ")) {
        Some("unclear") => Verdict::Unavailable,
        Some(name @ ("ann" | "bob")) => known(question, name),
        _ if question.visit.is_some() => Verdict::Denied { why: Denial::Unauthenticated, lacks: None },
        _ => Verdict::Passes(None),
    }
}

/// That it is this caller who asks.
pub(crate) fn known(question: &Question, name: &str) -> Verdict {
    let Question { module, method, target, .. } = question;
    if !question.is_to_tell {
        return Verdict::Passes(None);
    }
    Verdict::Passes(Some(edge::Caller {
        subject: name.to_owned(),
        scope: format!("{module}:read"),
        token_id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
        proven_at: 1_800_000_000,
        proof: format!("{module} {method} {target}"),
    }))
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(edge) = self.edge.take() {
            edge.stop(Instant::now());
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Backend {
    /// Serves one request; false when the connection is over.
    fn serve_one(&self, mut stream: &UnixStream) -> bool {
        let Some((head, body)) = read_message(stream) else { return false };
        let first = head.lines().next().unwrap_or_default().to_owned();
        let target = first.split(' ').nth(1).unwrap_or_default();
        let _ = self.seen.send(first.trim_end_matches(" HTTP/1.1").to_owned());
        let send = |text: &str| (&*stream).write_all(text.as_bytes()).is_ok();
        let last = |text: &str| {
            send(text);
            false
        };
        let wait = || self.go.lock().expect("go").recv().is_ok();
        match target {
            // A stream in two chunks, the second when the test says so.
            "/stream" => {
                send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
                    && wait()
                    && send("6\r\nsecond\r\n0\r\n\r\n")
            }
            "/until-close" => last("HTTP/1.1 200 OK\r\n\r\nto the end"),
            "/die-in-length" => last("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
            "/die-in-chunk" => last("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly"),
            "/bad-chunk" => send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nonlyXX"),
            "/die" => false,
            "/nonsense" => send("SSH-2.0-OpenSSH_9\r\n\r\n"),
            "/two-lengths" => send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            "/early" => send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            "/too-much" => send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"),
            // Waits until the edge hangs up.
            "/hang" => {
                let ended = stream.read(&mut [0; 1]);
                let _ = self.seen.send(format!("hang ended {:?}", ended.unwrap_or_default()));
                false
            }
            // Answers, and closes although it has not said so.
            "/stale" => last("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            "/wait" => wait() && send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            "/big" => {
                let big = "x".repeat(3 * 1024 * 1024);
                send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{big}", big.len()))
            }
            "/length" => send(&reply(&first, &body.len().to_string())),
            _ => send(&reply(&first, &format!("{head}{}", String::from_utf8_lossy(&body)))),
        }
    }
}

fn reply(first: &str, body: &str) -> String {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", body.len());
    if first.starts_with("HEAD ") { head } else { head + body }
}

/// Reads a head and its body, by length or in chunks; `None` at the end of the connection.
fn read_message(stream: &UnixStream) -> Option<(String, Vec<u8>)> {
    let exactly = |count: usize| {
        let mut bytes = vec![0; count];
        let mut input = stream;
        input.read_exact(&mut bytes).ok()?;
        Some(bytes)
    };
    let read_until = |end: &str| {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push(char::from(exactly(1)?[0]));
        }
        Some(text)
    };
    let head = read_until("\r\n\r\n")?;
    let lower = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
        loop {
            let size = usize::from_str_radix(read_until("\r\n")?.trim_end(), 16).expect("a chunk size");
            let chunk = exactly(size + 2)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Some((head, body));
            }
        }
    }
    if let Some((_, rest)) = lower.split_once("\r\ncontent-length: ") {
        body = exactly(rest.split('\r').next().expect("a line").parse().expect("a length"))?;
    }
    Some((head, body))
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The body ended as its framing said.
    pub(crate) whole: bool,
}

impl Reply {
    pub(crate) fn has(&self, field: &str) -> bool {
        self.head.to_ascii_lowercase().contains(&format!("\r\n{}\r\n", field.to_ascii_lowercase()))
    }
}

impl Client {
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Reads so many bytes, whatever they are.
    pub(crate) fn exactly(&mut self, count: usize) {
        let mut left = count;
        loop {
            let taken = left.min(self.buffer.len());
            self.buffer.drain(..taken);
            left -= taken;
            if left == 0 {
                return;
            }
            assert!(self.fill(), "the stream has ended {left} bytes too early");
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("send");
    }

    /// Reads on; false at the end of the connection.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.buffer.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer: {error}; so far {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// Everything up to and with `end`.
    pub(crate) fn until(&mut self, end: &str) -> String {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end.as_bytes()) {
                return self.take(at + end.len());
            }
            assert!(self.fill(), "{end:?} did not come, only {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    /// The other side has closed, and nothing more was said.
    pub(crate) fn ends(&mut self) -> bool {
        while self.fill() {}
        self.buffer.is_empty()
    }

    fn take(&mut self, count: usize) -> String {
        String::from_utf8_lossy(&self.buffer.drain(..count).collect::<Vec<u8>>()).into_owned()
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.reply_to("GET")
    }

    pub(crate) fn reply_to(&mut self, method: &str) -> Reply {
        let head = self.until("\r\n\r\n");
        let status: u16 = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        let lower = head.to_ascii_lowercase();
        let length = lower
            .split_once("\r\ncontent-length: ")
            .map(|(_, rest)| rest.split('\r').next().expect("a line").parse::<usize>().expect("a length"));
        let (body, whole) = if method == "HEAD" || status == 204 || status == 304 {
            (String::new(), true)
        } else if lower.contains("\r\ntransfer-encoding: chunked\r\n") {
            self.chunks()
        } else if let Some(length) = length {
            while self.buffer.len() < length && self.fill() {}
            let whole = self.buffer.len() >= length;
            (self.take(length.min(self.buffer.len())), whole)
        } else {
            while self.fill() {}
            (self.take(self.buffer.len()), true)
        };
        Reply { status, head, body, whole }
    }

    fn chunks(&mut self) -> (String, bool) {
        let mut body = String::new();
        loop {
            while !self.buffer.contains(&b'\n') {
                if !self.fill() {
                    return (body, false);
                }
            }
            let size = usize::from_str_radix(self.until("\r\n").trim_end(), 16).expect("a chunk size");
            while self.buffer.len() < size + 2 {
                if !self.fill() {
                    return (body, false);
                }
            }
            let chunk = self.take(size + 2);
            if size == 0 {
                return (body, true);
            }
            body.push_str(&chunk[..size]);
        }
    }
}
