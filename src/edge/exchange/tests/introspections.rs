//! Questions about tokens are counted, and others never get to the hub.

use super::play::Play;

const ASK: &[u8] = b"POST /oauth/introspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\ntoken=a";

fn asks(play: &mut Play, request: &[u8]) -> bool {
    play.client(request, usize::MAX);
    play.opens > 0
}

#[test]
fn the_65th_question_at_a_time_is_told_to_come_again_and_reaches_nobody() {
    let mut first = Play::new();
    let places = first.rules.introspections.clone();
    assert!(asks(&mut first, ASK));
    assert_eq!(places.taken(), 1);
    let others: Vec<_> = (1..64).map(|_| places.take(64).expect("a place")).collect();

    let mut one_too_many = Play::new();
    one_too_many.rules.introspections = places.clone();
    assert!(!asks(&mut one_too_many, ASK));
    let said = one_too_many.said();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("\r\nRetry-After: 1\r\n"), "{said}");

    // Other requests, and questions from where nobody is answered, take no place.
    for other in [
        &b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"POST /oauth/introspect/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    ] {
        let mut play = Play::new();
        play.rules.introspections = places.clone();
        assert!(asks(&mut play, other), "{}", other.escape_ascii());
    }

    // A question that is answered gives its place to the next.
    first.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", usize::MAX);
    assert_eq!(places.taken(), 63);
    let mut next = Play::new();
    next.rules.introspections = places.clone();
    assert!(asks(&mut next, ASK));
    // So does one whose client has gone.
    drop(next);
    assert_eq!(places.taken(), 63);
    drop(others);
}
