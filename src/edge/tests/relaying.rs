//! What a well-behaved client sees.

use super::support::{PATIENCE, World};
use std::time::{Duration, Instant};

const GET: &str = "GET /hello?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn requests_follow_each_other_on_one_connection() {
    let world = World::new();
    let mut client = world.client();
    for _ in 0..5 {
        client.send(GET.as_bytes());
        let reply = client.reply();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.body.starts_with("GET /hello?x=1 HTTP/1.1\r\nHost: localhost\r\n"), "{reply:?}");
        assert!(reply.body.contains("\r\nX-Parachute-Layer: loopback\r\n"), "{reply:?}");
    }
    client.send(b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.reply().body, "5");
    let counters = world.edge.as_ref().expect("running").counters();
    // The loop counts at the end of its turn, which the answer may overtake.
    let deadline = Instant::now() + PATIENCE;
    while (counters.connections(), counters.requests()) != (1, 6) {
        assert!(Instant::now() < deadline, "{counters:?}");
        std::thread::yield_now();
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let world = World::new();
    let mut client = world.client();
    let mut all = Vec::new();
    for number in 0..50 {
        all.extend_from_slice(format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        all.extend_from_slice(b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc");
        all.extend_from_slice(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    }
    client.send(&all);
    for number in 0..50 {
        let reply = client.reply();
        assert!(reply.body.starts_with(&format!("GET /{number} ")), "{reply:?}");
        assert_eq!(client.reply().body, "3");
        assert_eq!(client.reply().status, 421);
    }
}

#[test]
fn a_body_passes_by_length_and_in_chunks() {
    let world = World::new();
    let mut client = world.client();
    let body = "0123456789abcdef".repeat(64 * 1024);
    client
        .send(format!("POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    client.send(body.as_bytes());
    assert_eq!(client.reply().body, (1024 * 1024).to_string());

    client.send(b"PUT /length HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for part in body.as_bytes().chunks(10_000) {
        client.send(format!("{:x};ext=1\r\n", part.len()).as_bytes());
        client.send(part);
        client.send(b"\r\n");
    }
    client.send(b"0\r\nTrailer: dropped\r\n\r\n");
    assert_eq!(client.reply().body, (1024 * 1024).to_string());
}

#[test]
fn a_large_answer_arrives_whole_with_its_length() {
    let world = World::new();
    let mut client = world.client();
    for _ in 0..2 {
        client.send(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = client.reply();
        assert!(reply.has("Content-Length: 3145728") && reply.whole, "{}", reply.head);
        assert!(reply.body.len() == 3 * 1024 * 1024 && reply.body.bytes().all(|byte| byte == b'x'));
    }
}

#[test]
fn the_first_part_of_a_stream_is_there_before_the_second_is_sent() {
    let world = World::new();
    let mut client = world.client();
    client.send(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let head = client.until("\r\n\r\n");
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    assert_eq!(client.until("first\r\n"), "5\r\nfirst\r\n");
    world.go.send(()).expect("the backend waits");
    assert_eq!(client.until("0\r\n\r\n"), "6\r\nsecond\r\n0\r\n\r\n");
    client.send(GET.as_bytes());
    assert_eq!(client.reply().status, 200, "the connection is still good");
}

#[test]
fn http_1_0_gets_a_plain_body_that_ends_with_the_connection() {
    let world = World::new();
    for request in ["GET /stream HTTP/1.0\r\n\r\n", "GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n"] {
        world.go.send(()).expect("the backend runs");
        let mut client = world.client();
        client.send(request.as_bytes());
        let reply = client.reply();
        assert!(!reply.has("Transfer-Encoding: chunked") && reply.has("Connection: close"), "{reply:?}");
        assert_eq!(reply.body, "firstsecond");
        assert!(client.ends());
    }
}

#[test]
fn a_body_that_ends_with_the_upstreams_connection_is_chunked() {
    let world = World::new();
    let mut client = world.client();
    for _ in 0..2 {
        client.send(b"GET /until-close HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let reply = client.reply();
        assert!(reply.has("Transfer-Encoding: chunked") && reply.whole, "{reply:?}");
        assert_eq!(reply.body, "to the end");
    }
}

#[test]
fn head_gets_the_length_and_no_body() {
    let world = World::new();
    let mut client = world.client();
    client.send(b"HEAD /x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let reply = client.reply_to("HEAD");
    assert!(reply.status == 200 && reply.head.contains("\r\nContent-Length: "), "{reply:?}");
    client.send(GET.as_bytes());
    assert_eq!(client.reply().status, 200);
    client.send(b"HEAD /x HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_eq!(client.reply_to("HEAD").status, 421);
    client.send(GET.as_bytes());
    assert_eq!(client.reply().status, 200);
}

#[test]
fn connection_close_is_obeyed() {
    let world = World::new();
    let mut client = world.client();
    client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(client.reply().has("Connection: close"));
    assert!(client.ends());
}

#[test]
fn interim_answers_are_left_out_and_expectations_are_met() {
    let world = World::new();
    let mut client = world.client();
    client.send(b"GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.reply().body, "ok");
    client.send(b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"body");
    assert_eq!(client.reply().body, "4");
    client.send(b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: magic\r\n\r\n");
    assert_eq!(client.reply().status, 417);
}

#[test]
fn a_pooled_socket_that_was_closed_meanwhile_is_not_noticed() {
    let world = World::new();
    let mut client = world.client();
    for _ in 0..20 {
        client.send(b"GET /stale HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.reply().body, "ok");
    }
    for _ in 0..5 {
        client.send(b"GET /too-much HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(client.reply().body, "ok");
        client.send(GET.as_bytes());
        assert!(client.reply().body.starts_with("GET /hello"), "left-over bytes answer nobody");
    }
}

#[test]
fn an_exchange_without_a_client_is_reported_and_ended() {
    let world = World::new();
    let mut client = world.client();
    client.send(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(world.seen.recv_timeout(PATIENCE).expect("seen"), "GET /hang");
    drop(client);
    assert_eq!(world.gone.recv_timeout(PATIENCE).expect("reported"), 1);
    assert_eq!(world.seen.recv_timeout(PATIENCE).expect("seen"), "hang ended 0");
}

#[test]
fn stopping_lets_a_running_exchange_end_and_idle_ones_go() {
    let mut world = World::new();
    let mut idle = world.client();
    idle.send(GET.as_bytes());
    assert_eq!(idle.reply().status, 200);
    assert_eq!(world.seen.recv_timeout(PATIENCE).expect("seen"), "GET /hello?x=1");
    let mut busy = world.client();
    busy.send(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(world.seen.recv_timeout(PATIENCE).expect("seen"), "GET /wait");
    let edge = world.edge.take().expect("running");
    let stopping = std::thread::spawn(move || edge.stop(Instant::now() + PATIENCE));
    assert!(idle.ends());
    world.go.send(()).expect("the backend waits");
    let reply = busy.reply();
    assert!(reply.body == "ok" && reply.has("Connection: close"), "{reply:?}");
    assert!(busy.ends());
    stopping.join().expect("stopped");
    assert!(std::net::TcpStream::connect(world.address).is_err(), "nobody listens any more");
}

#[test]
fn stopping_cuts_off_what_does_not_end() {
    let mut world = World::new();
    let mut busy = world.client();
    busy.send(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(world.seen.recv_timeout(PATIENCE).expect("seen"), "GET /hang");
    world.edge.take().expect("running").stop(Instant::now() + Duration::from_millis(1));
    assert!(busy.ends());
}
