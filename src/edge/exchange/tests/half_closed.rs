//! A client that sends no more, while some of what it has sent is still with the kernel.

use super::*;

const SOCKET_M: &[u8] = b"GET /m HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// The head of a request for the module with so long a body.
fn upload(length: usize) -> Vec<u8> {
    format!("POST /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

#[test]
fn a_body_that_is_still_with_the_kernel_when_its_client_sends_no_more_is_read() {
    const LENGTH: usize = 3 * MAX_BUFFER_BYTES;
    for (unread, complete) in [(LENGTH - MAX_BUFFER_BYTES, true), (LENGTH - MAX_BUFFER_BYTES - 1, false)] {
        let (mut play, _board) = Play::with_module(Duration::ZERO);
        play.client(&upload(LENGTH), usize::MAX);
        // The module takes nothing now, so that nothing more is read.
        play.connection.client_tail().extend(std::iter::repeat_n(b'x', MAX_BUFFER_BYTES));
        play.connection.advance(play.now, &mut play.rules);
        assert_eq!(play.connection.client_room(), 0);
        play.connection.client_will_end(unread, play.now);
        let asks = play.connection.advance(play.now, &mut play.rules);
        assert_eq!(asks.release.is_none(), complete, "{unread} unread");
        if !complete {
            continue;
        }
        // It takes its time for the rest.
        play.now += HALF_CLOSED * 3;
        play.settle();
        assert!(play.client(&vec![b'x'; unread], usize::MAX).is_empty() && !play.closed);
        play.connection.client_hung_up(play.now);
        play.settle();
        play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
        assert!(play.said().ends_with("ok") && play.closed, "{}", play.said());
        assert!(play.upstreams[0].ends_with(&[b'x'; LENGTH]));
    }
}

#[test]
fn requests_that_are_still_with_the_kernel_when_their_client_sends_no_more_are_answered() {
    for later in [GET, REFUSED] {
        let mut play = Play::new();
        play.client(GET, usize::MAX);
        play.connection.client_will_end(3 * later.len(), play.now);
        play.settle();
        for number in 0..4 {
            if later == GET || number == 0 {
                play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", usize::MAX);
            }
            assert!(!play.closed, "{number}");
            if number < 3 {
                play.client(later, usize::MAX);
            }
        }
        play.connection.client_hung_up(play.now);
        play.settle();
        assert_eq!(play.said().matches("HTTP/1.1 ").count(), 4, "{}", play.said());
        assert!(play.closed);
    }
    // Nobody waits longer for the first of them than for a last one.
    let mut play = Play::new();
    play.client(GET, usize::MAX);
    play.connection.client_will_end(GET.len(), play.now);
    play.now += HALF_CLOSED;
    play.settle();
    assert!(play.closed);
}

#[test]
fn what_a_client_says_last_in_a_tunnel_arrives() {
    let (mut play, _board) = Play::with_module(Duration::ZERO);
    play.client(SOCKET_M, usize::MAX);
    play.upstream(SWITCH, usize::MAX);
    play.connection.client_tail().extend(std::iter::repeat_n(b'x', MAX_BUFFER_BYTES));
    play.connection.advance(play.now, &mut play.rules);
    assert_eq!(play.connection.client_room(), 0);
    play.connection.client_will_end(5, play.now);
    play.settle();
    play.client(b"bye\r\n", usize::MAX);
    play.connection.client_hung_up(play.now);
    play.settle();
    assert!(play.upstreams[0].ends_with(b"xbye\r\n") && play.closed);
}
