//! Callers that mean no good. Each test ends with a hub that answers and has given everything back.

use crate::pattern::{BLOCK_BYTES, Pattern};
use crate::support::http::{self, Response};
use crate::support::{Connection, Hub, Spawned, eventually, module, testchild};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;

const MIB: u64 = 1024 * 1024;
/// What no attack may add to the hub's memory: far less than any of them sends or asks for.
const ALLOWANCE_BYTES: u64 = 24 * MIB;

/// A hub with the module `web`, and what it used before it was attacked.
struct Victim {
    hub: Hub,
    threads: usize,
    descriptors: usize,
    peak_bytes: u64,
}

impl Victim {
    #[track_caller]
    fn new() -> Self {
        let hub = Hub::start(&[module("web", testchild(&["http"]))]);
        hub.until_ready("web");
        // What is made for the first requests belongs to the hub.
        for _ in 0..20 {
            assert_eq!((hub.get("/health").status, hub.get("/web/a").status), (200, 200));
        }
        let (threads, descriptors, peak_bytes) = (threads(&hub), descriptors(&hub), peak_bytes(&hub));
        Self { hub, threads, descriptors, peak_bytes }
    }

    #[track_caller]
    fn raw(&self, request: &[u8]) -> Response {
        let answer = http::exchange(self.hub.port, request).and_then(|bytes| Response::parse(&bytes));
        answer.unwrap_or_else(|error| panic!("{}: {error}", request[..request.len().min(200)].escape_ascii()))
    }

    #[track_caller]
    fn memory_is_flat(&self) {
        let peak_bytes = peak_bytes(&self.hub);
        assert!(
            peak_bytes < self.peak_bytes + ALLOWANCE_BYTES,
            "the hub's memory grew from {} to {peak_bytes} bytes",
            self.peak_bytes
        );
    }

    /// The hub answers, for itself and for its module.
    #[track_caller]
    fn answers(&self) {
        assert_eq!(self.hub.get("/health").status, 200);
        assert_eq!(self.hub.get("/web/a").status, 200);
    }

    /// Waits until a number of bytes grows no more, while other callers are served; what they cause does not count.
    #[track_caller]
    fn comes_to_a_standstill(&self, what: &str, mut look: impl FnMut() -> u64) -> u64 {
        const NOISE_BYTES: u64 = 64 * 1024;
        let (mut last, mut same) = (0, 0);
        eventually(&format!("an end of {what}"), || {
            self.answers();
            let now = look();
            same = if now < last + NOISE_BYTES { same + 1 } else { 0 };
            last = now;
            (same >= 8).then_some(now)
        })
    }

    #[track_caller]
    fn has_recovered(&self) {
        self.answers();
        self.memory_is_flat();
        eventually(&format!("at most {} threads again", self.threads), || {
            (threads(&self.hub) <= self.threads).then_some(())
        });
        eventually(&format!("at most {} descriptors again", self.descriptors), || {
            (descriptors(&self.hub) <= self.descriptors).then_some(())
        });
        assert!(!self.hub.output().contains("panicked"), "{}", self.hub.output());
    }
}

fn entries(hub: &Hub, directory: &str) -> usize {
    fs::read_dir(format!("/proc/{}/{directory}", hub.pid())).expect("the hub runs, and is ours").count()
}

fn threads(hub: &Hub) -> usize {
    entries(hub, "task")
}

fn descriptors(hub: &Hub) -> usize {
    entries(hub, "fd")
}

/// The most that the hub has had in memory so far.
fn peak_bytes(hub: &Hub) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", hub.pid())).expect("the hub runs, and is ours");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.expect("Linux says so") * 1024
}

/// What a process has given to `write` so far.
fn written_bytes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("the module runs, and is ours");
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).expect("Linux says so")
}

fn attacker(victim: &Victim, kind: &str, count: usize) -> Spawned {
    assert!(Path::new("/usr/bin/python3").exists(), "python3 is missing: apt-get install python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/children/attacker.py");
    let script = script.to_str().expect("the source directory is UTF-8");
    let (port, count) = (victim.hub.port.to_string(), count.to_string());
    Spawned::start(&["/usr/bin/python3", script, &port, kind, &count].map(str::to_owned))
}

#[test]
fn a_tebibyte_for_the_hub_is_refused_and_one_for_a_module_streams_through() {
    let victim = Victim::new();
    let head = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1099511627776\r\n\r\n");
    for path in ["/api/modules", "/health", "/none", "/"] {
        assert_eq!(victim.raw(head(path).as_bytes()).status, 413, "{path}");
    }
    // As many chunks as anybody likes are no way around the limit.
    let mut chunks = b"POST /none HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..=MIB / 1000 + 100 {
        chunks.extend_from_slice(b"3e8\r\n");
        chunks.extend_from_slice(&[b'x'; 1000]);
        chunks.extend_from_slice(b"\r\n");
    }
    assert_eq!(victim.raw(&chunks).status, 413);
    for length in ["99999999999999999999", "-1", "0x10", "1, 1", "18446744073709551616", ""] {
        let head = format!("POST /web/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        assert_eq!(victim.raw(head.as_bytes()).status, 400, "{length:?}");
    }

    let mut upload = Connection::open(victim.hub.port);
    upload.send(head("/web/upload").as_bytes());
    let pattern = Pattern::new();
    for at in (0..128 * MIB).step_by(BLOCK_BYTES) {
        upload.send(pattern.at(at, BLOCK_BYTES));
    }
    victim.memory_is_flat();
    drop(upload);
    victim.has_recovered();
}

#[test]
fn a_head_without_end_is_cut_off() {
    let victim = Victim::new();
    let line = [&b"X-More: "[..], &[b'x'; 1000], b"\r\n"].concat();
    for endless in [&line[..], &[b'x'; 1000]] {
        let mut connection = Connection::open(victim.hub.port);
        connection.send(b"GET /web/a HTTP/1.1\r\nHost: localhost\r\nX-First: ");
        // It goes on until nobody listens any more.
        let mut writer = connection.writer();
        while writer.write_all(endless).is_ok() {}
        assert_eq!(connection.answer("GET").expect("an answer").status, 431);
    }
    for (count, status) in [(10_000, 431), (64, 431), (60, 200)] {
        let fields = "A: b\r\n".repeat(count);
        let head = format!("GET /web/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n");
        assert_eq!(victim.raw(head.as_bytes()).status, status, "{count} fields");
    }
    let target = "a".repeat(20_000);
    assert_eq!(victim.raw(format!("GET /web/{target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).status, 431);
    victim.has_recovered();
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order() {
    const REQUESTS: usize = 10_000;
    let victim = Victim::new();
    let mut connection = Connection::open(victim.hub.port);
    let mut writer = connection.writer();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..REQUESTS {
                let request = format!("GET /web/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                writer.write_all(request.as_bytes()).expect("it reads on");
            }
        });
        for number in 0..REQUESTS {
            let answer = connection.answer("GET").expect("an answer");
            let text = answer.text();
            assert!(answer.status == 200 && text.ends_with(&format!(" /web/{number}\n")), "{number}: {text}");
        }
    });
    // Nor is it a way to have answers heaped up that nobody reads.
    let unread = Connection::open(victim.hub.port);
    let mut writer = unread.writer();
    writer.set_nonblocking(true).expect("a socket can be");
    let request = b"GET /web/echo HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    let mut sent = 0;
    victim.comes_to_a_standstill("the hub reading", || {
        while let Ok(count @ 1..) = writer.write(&request) {
            sent += count as u64;
            assert!(sent < 256 * MIB, "the hub reads for ever what it cannot answer");
        }
        sent
    });
    victim.memory_is_flat();
    drop((unread, writer));
    victim.has_recovered();
}

#[test]
fn slow_heads_keep_nobody_waiting_and_are_told_off() {
    const SLOW: usize = 300;
    let victim = Victim::new();
    let slow = attacker(&victim, "slow", SLOW);
    assert_eq!(slow.line_after("open "), SLOW.to_string());
    for _ in 0..10 {
        victim.answers();
    }
    // Their time for a head runs out.
    eventually("all of them closed", || (slow.line_after("closed ") == SLOW.to_string()).then_some(()));
    victim.has_recovered();
}

#[test]
fn who_never_reads_a_big_answer_costs_no_memory() {
    let victim = Victim::new();
    let module = victim.hub.until_ready("web");
    let mut unread: Vec<Connection> = (0..4).map(|_| Connection::open(victim.hub.port)).collect();
    for connection in &mut unread {
        connection.ask("GET", "/web/big?1073741824", "");
        connection.take(100_000).expect("the answer has begun");
    }
    // It is full when every buffer on the way is.
    let written = victim.comes_to_a_standstill("the module writing", || written_bytes(module));
    assert!(written < 256 * MIB, "{written} bytes were taken for callers who read nothing");
    victim.memory_is_flat();
    drop(unread);
    eventually("all four ends heard", || (victim.hub.lines_after("web", "gone ").len() == 4).then_some(()));
    victim.has_recovered();
}

#[test]
fn idle_connections_give_way_to_new_ones() {
    /// More than the hub keeps.
    const IDLE: usize = 1_200;
    const KEPT: usize = 1_024;
    let victim = Victim::new();
    let idle = attacker(&victim, "idle", IDLE);
    assert_eq!(idle.line_after("open "), IDLE.to_string());
    for _ in 0..10 {
        victim.answers();
    }
    eventually("the oldest closed", || {
        let closed: usize = idle.line_after("closed ").parse().expect("a number");
        (closed >= IDLE - KEPT).then_some(())
    });
    assert!(descriptors(&victim.hub) < KEPT + 100, "{} descriptors", descriptors(&victim.hub));
    assert!(threads(&victim.hub) <= victim.threads + 4, "{} threads", threads(&victim.hub));
    drop(idle);
    victim.has_recovered();
}

#[test]
fn connections_that_break_off_at_any_moment_leave_nothing_behind() {
    const RESETS: usize = 2_000;
    let victim = Victim::new();
    let mut flood = attacker(&victim, "reset", RESETS);
    assert_eq!(flood.line_after("done "), RESETS.to_string());
    assert!(flood.wait().success(), "{}", flood.output());
    victim.has_recovered();
}
