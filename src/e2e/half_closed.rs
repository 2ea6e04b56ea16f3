//! Clients that say all that they have to say, close their half of the connection, and wait.

use crate::support::{Connection, Home, Hub, module, services_at, testchild};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

/// Between what fits into all buffers on the way and what leaves some of it with the client: which of these the kernel
/// keeps for the hub to read is its business.
const BODIES_BYTES: [usize; 6] = [1_000_000, 4_000_000, 4_500_000, 5_000_000, 5_500_000, 6_000_000];

#[test]
fn who_sends_no_more_behind_a_request_gets_its_answer() {
    let hub = Hub::start(&[module("web", testchild(&["http"]))]);
    hub.until_ready("web");
    for path in ["/health", "/web/a"] {
        let mut connection = Connection::open(hub.port);
        connection.ask("GET", path, "");
        connection.writer().shutdown(Shutdown::Write).expect("a socket can be");
        assert_eq!(connection.answer("GET").expect("an answer").status, 200, "{path}");
        assert_eq!(connection.until_closed(), b"", "{path}");
    }
}

/// Reads a head and, once it is told to, a body of so many bytes; answers with their number.
fn late_reader(listener: TcpListener, length: usize, told: mpsc::Receiver<()>) -> io::Result<()> {
    let (mut caller, _) = listener.accept()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        caller.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    // Whoever is to tell has gone only when the test has failed.
    let _ = told.recv();
    let mut body = vec![0; length];
    caller.read_exact(&mut body)?;
    let sum: usize = body.iter().map(|byte| usize::from(*byte)).sum();
    write!(caller, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{sum}", sum.to_string().len())
}

#[test]
fn an_upload_whose_end_is_still_with_the_kernel_is_not_broken_off() {
    for length in BODIES_BYTES {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let home = Home::new();
        home.write("services.json", &services_at(listener.local_addr().expect("bound").port()));
        let (tell, told) = mpsc::channel();
        let reader = thread::spawn(move || late_reader(listener, length, told));
        let hub = Hub::start_in(home, &[]);

        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, hub.port)).expect("connected");
        let head = format!("POST /web/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).expect("taken");
        let body = vec![1; length];
        let mut taken = 0;
        client.set_nonblocking(true).expect("a socket can be");
        while let Some(rest) = body.get(taken..).filter(|rest| !rest.is_empty()) {
            match client.write(rest) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{length}: {error} after {taken} bytes"),
            }
        }
        client.set_nonblocking(false).expect("a socket can be");
        if taken < length {
            // Somebody has to take some of it first.
            tell.send(()).expect("the module waits");
        }
        client.write_all(&body[taken..]).expect("taken");
        client.shutdown(Shutdown::Write).expect("a socket can be");
        let _ = tell.send(());
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{length}: {error}"));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&format!("\r\n\r\n{length}")), "{answer}");
        reader.join().expect("no panic").expect("all of it");
    }
}

#[test]
fn requests_behind_one_that_takes_long_are_answered_though_their_client_sends_no_more() {
    const REFUSED: usize = 1_000;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let home = Home::new();
    home.write("services.json", &services_at(listener.local_addr().expect("bound").port()));
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || late_reader(listener, 0, told));
    let hub = Hub::start_in(home, &[]);
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, hub.port)).expect("connected");
    let mut text = "GET /web/slow HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    text.push_str(&"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".repeat(REFUSED));
    text.push_str("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.write_all(text.as_bytes()).expect("taken");
    client.shutdown(Shutdown::Write).expect("a socket can be");
    tell.send(()).expect("the module waits");
    let mut answers = String::new();
    client.read_to_string(&mut answers).expect("an end without a reset");
    let count = |start: &str| answers.matches(start).count();
    assert_eq!((count("HTTP/1.1 200 "), count("HTTP/1.1 421 ")), (2, REFUSED));
    reader.join().expect("no panic").expect("asked");
}
