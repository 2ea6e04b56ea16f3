//! Bodies of requests for the hub, which hears of them once they are there.

use super::*;
use crate::edge::places::Places;

/// What may be behind a head that announces so many bytes.
const MIB: usize = 1024 * 1024;

fn head(path: &str, length: usize) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

#[test]
fn the_hub_hears_of_a_request_once_its_body_is_there() {
    for length in [1, 1000, 100_000, MIB] {
        let mut play = Play::new();
        let body = vec![b'x'; length];
        play.client(&head("/a", length), usize::MAX);
        assert_eq!(play.client(&body[1..], 4096), b"", "{length}: all of it is taken");
        assert_eq!(play.opens, 0, "{length}: the hub is left alone");
        play.client(b"x", 1);
        assert!(play.upstreams.concat().ends_with(&[b"\r\n\r\n", &body[..]].concat()), "{length}");
        play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
        assert!(play.said().starts_with("HTTP/1.1 200 OK"), "{length}: {}", play.said());
    }
    let (mut play, _board) = Play::with_module(Duration::ZERO);
    play.client(&head("/m", 9), usize::MAX);
    assert_eq!(play.opens, 1, "a module gets its bodies as they come");
}

#[test]
fn a_body_for_the_hub_has_one_time_for_all_of_it() {
    let mut play = Play::new();
    let timeout = play.rules.settings.limits.hub_body_timeout;
    let start = play.now;
    play.client(&head("/a", MIB), usize::MAX);
    while play.said().is_empty() {
        play.client(b"x", 1);
        play.now += Duration::from_secs(1);
        play.settle();
        assert!(play.now <= start + timeout, "it goes on for as long as bytes come");
    }
    assert!(play.said().starts_with("HTTP/1.1 408 ") && play.now == start + timeout, "{}", play.said());
    assert_eq!(play.opens, 0);
}

#[test]
fn large_bodies_for_the_hub_are_few() {
    let mut plays: Vec<Play> = Vec::new();
    let large = Places::default();
    let refused = (0..100).find(|_| {
        let mut play = Play::new();
        play.rules.large_bodies = large.clone();
        play.client(&head("/a", MIB), usize::MAX);
        play.client(&vec![b'x'; 100_000], usize::MAX);
        let refused = play.said().starts_with("HTTP/1.1 503 ");
        plays.push(play);
        refused
    });
    assert_eq!(refused, Some(16));
    // A small one needs no such place.
    let mut play = Play::new();
    play.rules.large_bodies = large.clone();
    play.client(&[&head("/a", 1000)[..], &[b'x'; 1000]].concat(), usize::MAX);
    assert_eq!(play.opens, 1);
    drop((plays, play));
    assert_eq!(large.taken(), 0);
}

#[test]
fn a_body_in_tiny_chunks_is_bounded_by_what_it_takes_up() {
    let mut play = Play::new();
    play.client(b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", usize::MAX);
    let chunks = b"1\r\nx\r\n".repeat(1000);
    let mut sent = 0;
    while play.said().is_empty() && sent < 10 * MIB {
        play.client(&chunks, usize::MAX);
        sent += chunks.len();
    }
    assert!(sent < MIB + 200_000, "{sent}");
    assert!(play.said().starts_with("HTTP/1.1 413 ") && play.opens == 0, "{}", play.said());
}
