//! The state machine without a socket.

mod corpus;
mod fuzz;
mod half_closed;
mod hub_bodies;
mod introspections;
mod journal;
mod modules;
mod opening;
mod play;
mod request_bodies;
mod request_fields;
mod request_lines;
mod responses;
mod visits;

use super::*;
use crate::config::AccessFormat;
use crate::edge::asks::History;
use crate::edge::date::Date;
use crate::edge::relay::{LARGE_READ_BYTES, MAX_STREAMS};
use crate::edge::route::Table;
use crate::sys::testrandom::Random;
use leaving::HALF_CLOSED;
use play::Play;
use std::sync::Arc;
use std::time::SystemTime;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n";
const POST: &[u8] = b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhello\r\n6;x\r\n world\r\n0\r\nT: x\r\n\r\n";

const REFUSED: &[u8] = b"\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n";

#[test]
fn the_same_bytes_mean_the_same_however_they_arrive() {
    let answers: [(&[u8], bool); 9] = [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        (b"HTTP/1.1 204 No Content\r\n\r\n", false),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", false),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", true),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", true),
        (b"SSH-2.0\r\n\r\n", true),
    ];
    for request in [GET, POST, REFUSED, b"\r\n\r\n", b"GET / HTTP/1.1\nHost: x\r\n\r\n"] {
        for (answer, ends) in answers {
            let run = |step: usize| {
                let mut play = Play::new();
                play.client(request, step);
                play.upstream(answer, step);
                if ends {
                    play.upstream_ends();
                }
                (play.said(), play.upstreams.concat(), play.released, play.closed)
            };
            // Chunks are passed on as they come: the whole body in one, or every byte in its own.
            let bodies = |run: &(String, Vec<u8>, Vec<Release>, bool)| {
                let plain = |text: &str| text.replace(|c: char| c.is_ascii_hexdigit() || c.is_whitespace(), "");
                (plain(&run.0), plain(&String::from_utf8_lossy(&run.1)), run.2.clone(), run.3)
            };
            let whole = run(usize::MAX);
            for step in [1, 2, 5] {
                let shown = (String::from_utf8_lossy(request), String::from_utf8_lossy(answer));
                assert_eq!(bodies(&run(step)), bodies(&whole), "{shown:?} in steps of {step}");
            }
        }
    }
}

#[test]
fn a_good_exchange_leaves_both_connections_open() {
    let mut play = Play::new();
    for _ in 0..3 {
        play.client(GET, usize::MAX);
        play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
    }
    assert_eq!(play.said(), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".repeat(3));
    assert_eq!(play.released, [Release::Reuse; 3]);
    assert!(play.connection.dispensable(play.now).is_some_and(|(how, _)| how == Dispensable::Idle) && !play.closed);
    assert_eq!(play.rules.last_exchange, 3);
}

/// RFC 9110 §9.3.2: what follows the head would be taken for the next answer.
#[test]
fn a_head_is_answered_without_content_whatever_is_wrong_with_it() {
    let long = format!("HEAD /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD_BYTES));
    for (head, status) in [
        ("HEAD /a HTTP/1.1\r\n\r\n", 400),
        ("HEAD a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("HEAD /a HTTP/2.0\r\nHost: localhost\r\n\r\n", 505),
        ("\r\nHEAD /a HTTP/1.1\r\nHost: localhost\n", 400),
        ("HEAD /a HTTP/1.1\r\nHost: local", 408),
        (&long, 431),
    ] {
        let mut play = Play::new();
        play.client(head.as_bytes(), usize::MAX);
        if status == 408 {
            play.wait();
        }
        let said = play.said();
        let start = format!("HTTP/1.1 {status} ");
        assert!(said.starts_with(&start) && said.ends_with("\r\n\r\n") && play.is_over(), "{head:.60}: {said}");
    }
}

#[test]
fn what_waits_is_bounded_in_both_directions() {
    let (mut play, _board) = Play::with_module(Duration::ZERO);
    play.client(b"PUT /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", usize::MAX);
    // The upstream takes nothing more.
    let mut taken = 0;
    while play.connection.client_room() > 0 {
        let room = play.connection.client_room();
        play.connection.client_tail().extend(std::iter::repeat_n(b'x', room));
        play.connection.advance(play.now, &mut play.rules);
        taken += room;
    }
    assert_eq!(taken, MAX_BUFFER_BYTES);

    let mut play = Play::new();
    play.client(GET, usize::MAX);
    play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", usize::MAX);
    let mut taken = 0;
    while play.connection.upstream_room() > 0 {
        let room = play.connection.upstream_room();
        play.connection.upstream_tail().expect("room").extend(std::iter::repeat_n(b'x', room));
        play.connection.advance(play.now, &mut play.rules);
        taken += room;
    }
    assert_eq!(taken, MAX_BUFFER_BYTES);

    // Much has passed: more is read at once, while nothing waits, and by so many only.
    for (taken_places, expected) in [(0, LARGE_READ_BYTES), (MAX_STREAMS, MAX_BUFFER_BYTES)] {
        let mut play = Play::new();
        let places = play.rules.streams.clone();
        let _others: Vec<_> = (0..taken_places).map(|_| places.take(MAX_STREAMS)).collect();
        play.client(GET, usize::MAX);
        play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", usize::MAX);
        play.upstream(&vec![b'x'; 2 << 20], usize::MAX);
        assert_eq!(play.connection.upstream_room(), expected);
        play.connection.upstream_tail().expect("room").extend_from_slice(b"y");
        play.connection.advance(play.now, &mut play.rules);
        assert!(play.connection.upstream_room() < MAX_BUFFER_BYTES, "something waits");
    }

    // Somebody who asks without listening: refusals are answers, too.
    let mut play = Play::new();
    let refused = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".repeat(90);
    for _ in 0..1000 {
        let room = play.connection.client_room().min(refused.len());
        play.connection.client_tail().extend_from_slice(&refused[..room]);
        play.connection.advance(play.now, &mut play.rules);
    }
    assert!(play.connection.to_client().len() < MAX_BUFFER_BYTES + 1024, "{}", play.connection.to_client().len());
}

#[test]
fn an_idle_socket_that_was_closed_is_replaced_when_that_is_safe() {
    let cases: [(&[u8], bool); 4] = [
        (GET, true),
        (b"PUT /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi", true),
        (b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi", false),
        (POST, false),
    ];
    for (request, answered) in cases {
        let mut play = Play::new();
        play.client(GET, usize::MAX);
        play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
        play.client(request, usize::MAX);
        play.upstream_ends();
        let shown = String::from_utf8_lossy(request).into_owned();
        if answered {
            assert_eq!(play.upstreams.len(), 3, "{shown}");
            assert_eq!(play.upstreams[1], play.upstreams[2], "{shown}");
            // A fresh one that does the same is not replaced again.
            play.upstream_ends();
            assert_eq!(play.upstreams.len(), 3, "{shown}");
        }
        assert!(play.said().contains("HTTP/1.1 502 "), "{shown}: {}", play.said());
    }
}

#[test]
fn a_post_that_was_not_sent_is_sent_to_another_socket() {
    let mut play = Play::new();
    play.client(GET, usize::MAX);
    play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
    let post = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
    play.connection.client_tail().extend_from_slice(post);
    let asks = play.connection.advance(play.now, &mut play.rules);
    assert_eq!(asks.open, Some(Open { to: Destination::Hub, history: History::JustUsed }));
    play.connection.upstream_opened(true);
    assert!(!play.connection.to_upstream().is_empty());
    play.connection.upstream_deaf();
    play.connection.upstream_ended(true);
    play.settle();
    play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
    assert_eq!(play.said().matches("HTTP/1.1 200 OK").count(), 2, "{}", play.said());
    assert!(play.upstreams.last().expect("opened").ends_with(b"\r\n\r\nhi"));
}

#[test]
fn every_wait_ends() {
    let mut head = Play::new();
    head.client(b"GET / HTTP/1.1\r\nHo", 1);
    head.wait();
    assert!(head.said().starts_with("HTTP/1.1 408 ") && head.shut_down && !head.closed);
    head.wait();
    assert!(head.closed, "a client that does not hang up is hung up on");

    let mut body = Play::new();
    body.client(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf", usize::MAX);
    body.wait();
    assert!(body.said().starts_with("HTTP/1.1 408 "), "{}", body.said());
    assert_eq!((body.gone.as_slice(), body.released.as_slice()), (&[1][..], &[Release::Close][..]));

    // A byte now and then is no body.
    let (mut drip, _board) = Play::with_module(Duration::ZERO);
    let start = drip.now;
    drip.client(b"POST /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n", usize::MAX);
    while drip.said().is_empty() {
        drip.client(b"x", 1);
        drip.now += Duration::from_secs(1);
        drip.settle();
    }
    assert!(drip.said().starts_with("HTTP/1.1 408 "), "{}", drip.said());
    assert!(drip.now <= start + Duration::from_secs(31), "it goes on for as long as bytes come");

    let mut answer = Play::new();
    answer.client(GET, usize::MAX);
    answer.wait();
    assert!(answer.said().starts_with("HTTP/1.1 504 "), "{}", answer.said());

    let (mut drip, _board) = Play::with_module(Duration::ZERO);
    let (start, timeout) = (drip.now, drip.rules.settings.limits.module_answer_timeout);
    drip.client(b"GET /m HTTP/1.1\r\nHost: localhost\r\n\r\n", usize::MAX);
    drip.upstream(b"HTTP/1.1 200 OK\r\nX: ", usize::MAX);
    while drip.said().is_empty() {
        drip.upstream(b"x", 1);
        drip.now += Duration::from_secs(1);
        drip.settle();
    }
    assert!(drip.said().starts_with("HTTP/1.1 504 ") && drip.now == start + timeout, "{}", drip.said());

    let mut stream = Play::new();
    stream.client(GET, usize::MAX);
    stream.upstream(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", usize::MAX);
    assert_eq!(stream.connection.deadline(&stream.rules.settings), None, "a silent stream may be silent for ever");

    let mut idle = Play::new();
    idle.wait();
    assert!(idle.closed && idle.said().is_empty());
}

#[test]
fn the_time_for_an_answer_does_not_run_while_the_client_sends() {
    let (mut play, _board) = Play::with_module(Duration::ZERO);
    play.rules.settings.limits.module_answer_timeout = Duration::from_secs(1);
    let start = play.now;
    play.client(b"POST /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc", usize::MAX);
    play.now += Duration::from_secs(20);
    play.settle();
    play.client(b"defghij", usize::MAX);
    assert!(play.said().is_empty(), "{}", play.said());
    play.wait();
    assert!(play.said().starts_with("HTTP/1.1 504 "), "{}", play.said());
    assert_eq!(play.now - start, Duration::from_secs(21));
}

#[test]
fn a_large_body_may_take_its_time_and_its_upstream_too() {
    const LENGTH: usize = 400 * 300;
    let (mut play, _board) = Play::with_module(Duration::ZERO);
    let head = format!("POST /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LENGTH}\r\n\r\n");
    play.client(head.as_bytes(), usize::MAX);
    for _ in 0..LENGTH / 300 - 1 {
        play.now += Duration::from_secs(1);
        play.client(&[b'x'; 300], usize::MAX);
        assert_eq!(play.connection.dispensable(play.now), None);
    }
    // The upstream takes nothing for a while: that is not the client's fault.
    play.connection.client_tail().push(b'x');
    play.connection.client_read(1, play.now);
    play.connection.advance(play.now, &mut play.rules);
    play.now += Duration::from_secs(50);
    play.connection.advance(play.now, &mut play.rules);
    play.settle();
    play.client(&[b'x'; 299], usize::MAX);
    play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
    assert!(play.said().starts_with("HTTP/1.1 200 "), "{}", play.said());
}

#[test]
fn who_is_too_slow_gives_way_and_sooner_than_it_is_given_up() {
    let (mut upload, _board) = Play::with_module(Duration::ZERO);
    upload.client(b"POST /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000\r\n\r\n", usize::MAX);
    for _ in 0..4 {
        upload.now += Duration::from_secs(1);
        upload.client(b"x", 1);
        assert_eq!(upload.connection.dispensable(upload.now), None);
    }
    upload.now += Duration::from_secs(2);
    assert!(upload.connection.dispensable(upload.now).is_some_and(|(how, _)| how == Dispensable::Slow));
    assert!(Dispensable::Idle < Dispensable::Unfinished && Dispensable::Unfinished < Dispensable::Slow);
    // Who waits for an answer is not slow.
    let (mut waiting, _board) = Play::with_module(Duration::ZERO);
    waiting.client(b"GET /m HTTP/1.1\r\nHost: localhost\r\n\r\n", usize::MAX);
    waiting.now += Duration::from_secs(50);
    assert_eq!(waiting.connection.dispensable(waiting.now), None);
}

#[test]
fn a_connection_to_which_all_has_been_sent_waits_for_its_client_and_is_the_first_to_give_way() {
    let closing = b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let old = b"GET /a HTTP/1.0\r\nHost: localhost\r\n\r\n";
    for (request, stays) in [(&closing[..], true), (old, true), (REFUSED, false), (GET, false)] {
        let mut play = Play::new();
        play.client(request, usize::MAX);
        play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
        let shown = String::from_utf8_lossy(request);
        assert_eq!((play.shut_down, play.closed), (stays, false), "{shown}");
        let why = play.connection.dispensable(play.now).map(|(why, _)| why);
        assert_eq!(why, Some(if stays { Dispensable::Lingering } else { Dispensable::Idle }), "{shown}");
        // The end of the hub does not wait for it, unless what it has sent would make a reset of that.
        let is_done = |unread| play.connection.is_done(|| unread);
        assert_eq!((is_done(0), is_done(1)), (stays, false), "{shown}");
        assert!(play.client(b"\r\nmore", usize::MAX).is_empty(), "{shown}: it is read");
        play.client_hangs_up();
        play.settle();
        assert!(play.closed, "{shown}");
    }
    assert!(Dispensable::Lingering < Dispensable::Idle);
    // Who has sent its end already is not waited for.
    let mut play = Play::new();
    play.client(closing, usize::MAX);
    play.connection.client_hung_up(play.now);
    play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
    assert!(play.closed && !play.shut_down);
}

#[test]
fn who_has_just_come_gives_way_like_one_whose_head_is_under_way() {
    let mut stranger = Play::new();
    stranger.client(b"G", usize::MAX);
    let mut play = Play::new();
    play.connection = Connection::new("127.0.0.1:5000".parse().expect("address"), stranger.now + FRESH / 2);
    play.now = stranger.now + FRESH;
    let ranks = |play: &Play| play.connection.dispensable(play.now).expect("it gives way");
    let came = stranger.now + FRESH / 2;
    assert_eq!(ranks(&play), (Dispensable::Unfinished, came));
    assert!(ranks(&stranger) < ranks(&play), "who came first is the first to go");
    play.now = came + FRESH;
    assert_eq!(ranks(&play), (Dispensable::Idle, came), "it has had its time");
    play.client(GET, usize::MAX);
    play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
    assert_eq!(ranks(&play), (Dispensable::Idle, play.now), "it has its answer");
}

#[test]
fn a_place_that_is_kept_for_this_machine_is_not_for_whom_a_proxy_brings() {
    for (fields, status) in [("", 200), ("X-Forwarded-For: 192.0.2.1\r\n", 503), ("CF-Ray: x\r\n", 503)] {
        let mut play = Play::new();
        play.connection = Connection::reserved("127.0.0.1:5000".parse().expect("address"), play.now);
        play.client(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes(), usize::MAX);
        play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
        assert!(play.said().starts_with(&format!("HTTP/1.1 {status} ")), "{fields:?}: {}", play.said());
        assert_eq!(play.rules.refused, u64::from(status == 503), "{fields:?}");
    }
}

#[test]
fn who_sends_no_more_gets_a_quick_answer_and_one_that_it_takes() {
    const STEP: Duration = Duration::from_millis(400);
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
    // How much later head and content come, and whether they are waited for.
    for (head, content, complete) in [(0, 0, true), (1, 1, true), (2, 0, false), (1, 2, false)] {
        let mut play = Play::new();
        play.client(GET, usize::MAX);
        play.connection.client_hung_up(play.now);
        play.settle();
        for (steps, part) in [(head, HEAD), (content, b"okok")] {
            play.now += STEP * steps;
            play.settle();
            play.upstream(part, usize::MAX);
        }
        assert_eq!(play.said().ends_with("okok"), complete, "{head} and {content}: {}", play.said());
        assert!(play.closed, "{head} and {content}");
    }
    let mut broken = Play::new();
    broken.client(GET, usize::MAX);
    broken.connection.client_broke(broken.now);
    broken.settle();
    assert!(broken.closed && broken.gone == [1], "it takes nothing, so there is nothing to wait for");
    let mut half = Play::new();
    half.client(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf", usize::MAX);
    half.connection.client_hung_up(half.now);
    half.settle();
    assert!(half.closed, "the rest of its request will never come");
}

/// The module has said all, and the client takes the end of it too slowly: to a client that knows no chunks an ordinary
/// end of the connection is the end of the answer.
#[test]
fn an_answer_that_ends_with_the_connection_is_not_cut_off_as_if_it_were_whole() {
    for (version, resets) in [("1.0", true), ("1.1", false)] {
        let mut play = Play::new();
        play.client(format!("GET /a HTTP/{version}\r\nHost: localhost\r\n\r\n").as_bytes(), usize::MAX);
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        play.connection.upstream_tail().expect("room").extend_from_slice(answer);
        play.connection.upstream_read(play.now);
        play.connection.advance(play.now, &mut play.rules);
        assert!(play.connection.to_client().ends_with(if resets { b"hello" } else { b"\r\n\r\n" }), "{version}");
        assert_eq!(play.connection.must_reset(), resets, "{version}: none of it has been taken");
        play.settle();
        assert!(!play.connection.must_reset(), "{version}: all of it has");
        assert_eq!(play.shut_down, resets, "{version}");
    }
}

#[test]
fn every_answer_says_when_it_was_made_and_what_does_so_itself_is_believed() {
    let ours = "Date: Fri, 02 Jan 2026 03:04:05 GMT\r\n";
    let theirs = "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    let own = format!("HTTP/1.1 200 OK\r\n{theirs}Content-Length: 0\r\n\r\n");
    for (request, answer, expected) in [
        (GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ours),
        (GET, "HTTP/1.1 304 Not Modified\r\n\r\n", ours),
        (GET, own.as_str(), theirs),
        (GET, "nonsense\r\n\r\n", ours),
        (REFUSED, "", ours),
        (b"GET / HTTP/9\r\n\r\n", "", ours),
    ] {
        let mut play = Play::new();
        play.rules.date = Date::of(SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_006));
        play.client(request, usize::MAX);
        play.upstream(answer.as_bytes(), usize::MAX);
        let said = play.said();
        assert!(said.contains(expected) && said.to_ascii_lowercase().matches("\r\ndate: ").count() == 1, "{said}");
    }
}

#[test]
fn a_part_that_looks_like_the_whole_is_reset() {
    let chunks: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let length: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello";
    let close: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nhello";
    for (version, answer, cleanly, resets) in [
        ("1.0", chunks, true, true),
        ("1.0", close, false, true),
        ("1.0", close, true, false),
        ("1.0", length, true, false),
        ("1.1", chunks, true, false),
        ("1.1", close, false, false),
    ] {
        let mut play = Play::new();
        play.client(format!("GET /a HTTP/{version}\r\nHost: localhost\r\n\r\n").as_bytes(), usize::MAX);
        play.upstream(answer, usize::MAX);
        if cleanly {
            play.upstream_ends()
        } else {
            play.upstream_breaks()
        }
        let shown = String::from_utf8_lossy(answer);
        assert_eq!(play.connection.must_reset(), resets, "HTTP/{version}, cleanly: {cleanly}: {shown}");
    }
}

#[test]
fn an_answer_before_the_end_of_the_request_ends_the_connection() {
    let (mut play, _board) = Play::with_module(Duration::ZERO);
    play.client(b"POST /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf", usize::MAX);
    play.upstream(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno", usize::MAX);
    assert_eq!(play.said(), "HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    assert!(play.shut_down && !play.closed, "the rest of the request is read and thrown away");
    play.client(b" rest", usize::MAX);
    play.client_hangs_up();
    play.settle();
    assert!(play.closed);
    assert_eq!(play.released, [Release::Close]);
}

/// Whatever comes in whatever order: the machine never panics, never spins, and ends when everybody has gone.
#[test]
fn random_events_never_break_the_machine() {
    let mut random = Random::new();
    let seed = random.seed;
    let client: [&[u8]; 8] = [
        GET,
        POST,
        b"GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        b"hello",
        b"HEAD /a HTTP/1.0\r\n\r\n",
        b"\r\n",
        b"\n",
    ];
    let upstream: [&[u8]; 7] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"hello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ];
    for game in 0..1_000 {
        let mut play = Play::new();
        journal::keep(&mut play, AccessFormat::Combined);
        for _ in 0..random.below(30) {
            let step = 1 + random.below(40);
            match random.below(12) {
                0..=4 => {
                    play.client(random.pick(&client), step);
                }
                5..=9 if play.open => {
                    play.upstream(random.pick(&upstream), step);
                }
                10 if play.open => play.upstream_ends(),
                11 => play.wait(),
                _ => {}
            }
            if play.closed {
                break;
            }
            let wants_one = play.connection.relay().is_some() && !play.is_collecting();
            assert_eq!(play.open, wants_one, "game {game}, seed {seed}");
        }
        play.client_hangs_up();
        play.settle();
        play.wait();
        assert!(play.closed, "game {game}, seed {seed}");
        let exchanges = usize::try_from(play.rules.last_exchange).expect("few");
        assert!(play.released.len() >= exchanges, "every exchange gives its upstream back, game {game}, seed {seed}");
        let lines = play.rules.journal.take().map_or(0, |(_, lines)| lines);
        assert_eq!(lines, play.rules.requests, "every request has its line, game {game}, seed {seed}");
    }
}
