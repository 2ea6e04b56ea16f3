//! Upstreams that neither take a connection nor refuse it.

use super::*;
use crate::supervisor::standing::Standing;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn an_upstream_that_does_not_take_a_connection_is_given_up_after_two_seconds() {
    // A module that has just begun is told as starting, as where it refuses.
    for (age, status, error) in [(60, "502", "upstream_unreachable"), (1, "503", "upstream_starting")] {
        for request in [
            "GET /m HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n",
            "POST /m HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nContent-Length: 2\r\n\r\nhi",
        ] {
            let case = format!("{age} s old, {request}");
            let (mut play, board) = Play::with_module(Duration::ZERO);
            board.set(Standing::Up { since: play.now });
            play.now += Duration::from_secs(age);
            play.unreachable = true;
            play.client(request.as_bytes(), usize::MAX);
            let begin = play.now;
            assert_eq!(play.connection.deadline(&play.rules.settings), Some(begin + CONNECT_TIMEOUT), "{case}");
            play.now = begin + CONNECT_TIMEOUT - Duration::from_millis(1);
            play.settle();
            assert!(play.to_client.is_empty() && play.released.is_empty(), "{case}: before its time");

            play.wait();
            assert_eq!(play.now, begin + CONNECT_TIMEOUT, "{case}");
            assert_eq!(play.released, [Release::Close], "{case}: the attempt is let go");
            let said = play.said();
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")) && said.contains(error), "{case}: {said}");
            assert!(said.contains("Content-Type: application/json\r\n"), "{case}: {said}");
            assert_eq!((play.opens, play.upstreams.len()), (1, 0), "{case}: nothing was sent, nor tried twice");

            // The client's connection is as good as before.
            assert!(!play.is_over(), "{case}");
            (play.unreachable, play.to_client) = (false, Vec::new());
            play.client(request.as_bytes(), usize::MAX);
            play.upstream(OK, usize::MAX);
            assert!(play.said().starts_with("HTTP/1.1 200 "), "{case}: {}", play.said());
        }
    }
}

/// Its listener took nothing, and then it was restarted: the old attempt may still succeed, and nobody must hear of it.
#[test]
fn an_attempt_that_has_taken_too_long_is_let_go_before_the_next_one_begins() {
    for request in [
        "GET /m HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi",
    ] {
        let (mut play, board) = Play::with_module(Duration::ZERO);
        board.set(Standing::Up { since: play.now });
        play.now += Duration::from_secs(60);
        play.unreachable = true;
        play.client(request.as_bytes(), usize::MAX);
        play.now += CONNECT_TIMEOUT / 2;
        board.set(Standing::Up { since: play.now });
        play.settle();
        assert_eq!((play.opens, play.released.len()), (1, 0), "{request}: it has its time");
        play.unreachable = false;
        play.wait();
        assert_eq!((play.opens, play.released.as_slice()), (2, &[Release::Close][..]), "{request}");
        play.upstream(OK, usize::MAX);
        assert!(play.said().starts_with("HTTP/1.1 200 "), "{request}: {}", play.said());
    }
}
