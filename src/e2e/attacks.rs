//! Callers that say what nobody should. Each test ends with a hub that answers and has given everything back.

use crate::pattern::{BLOCK_BYTES, Pattern};
use crate::support::{Connection, Victim, eventually};
use std::fs;
use std::io::Write;
use std::thread;

const MIB: u64 = 1024 * 1024;

/// What a process has given to `write` so far.
fn written_bytes(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("the module runs, and is ours");
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).expect("Linux says so")
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
fn a_hundred_thousand_pipelined_requests_are_answered_in_order() {
    const REQUESTS: usize = 100_000;
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

/// C12: what is sent is far more than the hub's memory may grow by.
#[test]
fn c12_a_huge_token_line_or_number_of_fields_is_refused_in_flat_memory() {
    let victim = Victim::new();
    let token = victim.hub.token();
    let start = "GET /api/modules HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ";
    let (megabyte, fields) = ("x".repeat(1 << 20), "X-More: 1\r\n".repeat(10_000));
    let cases = [
        ("a megabyte of token", format!("{start}{megabyte}\r\n\r\n"), 431),
        ("a megabyte behind a token", format!("{start}{token}\r\nX-Long: {megabyte}\r\n\r\n"), 431),
        ("10,000 fields behind a token", format!("{start}{token}\r\n{fields}\r\n"), 431),
        (
            "10,000 tokens",
            format!("{start}{token}\r\n{}\r\n", format!("Authorization: Bearer {token}\r\n").repeat(10_000)),
            431,
        ),
        ("a token of 4,097 bytes", format!("{start}{}\r\n\r\n", "x".repeat(4_097)), 401),
        ("a token of 15,000 bytes", format!("{start}{}\r\n\r\n", "x".repeat(15_000)), 401),
        ("a good one", format!("{start}{token}\r\n\r\n"), 200),
    ];
    for round in 0..12 {
        for (what, head, status) in &cases {
            let mut connection = Connection::open(victim.hub.port);
            // Who refuses it need not read all of it.
            let _cut_off = connection.writer().write_all(head.as_bytes());
            let answer = connection.answer("GET").unwrap_or_else(|error| panic!("{what}, round {round}: {error}"));
            assert_eq!(answer.status, *status, "{what}, round {round}: {answer:?}");
        }
    }
    victim.has_recovered();
}
