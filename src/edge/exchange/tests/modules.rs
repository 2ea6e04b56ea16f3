//! Requests for modules that come and go: who waits, what is sent again, and how WebSockets end.

use super::*;
use crate::edge::tests::mount;
use crate::manifest::Port;
use crate::manifest::gates::{Gate, Needs, Whom};
use crate::manifest::mounts::Mount;
use crate::supervisor::standing::{Board, Standing};

const HOLD: Duration = Duration::from_secs(5);
const GET_M: &[u8] = b"GET /m HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n";
const PUT_M: &[u8] = b"PUT /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
const POST_M: &[u8] = b"POST /m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
const SOCKET_M: &[u8] = b"GET /m HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The module stands differently, and whoever waits is told.
fn stands(play: &mut Play, board: &Board, standing: Standing) {
    board.set(standing);
    play.settle();
}

fn up(play: &Play) -> Standing {
    Standing::Up { since: play.now }
}

#[test]
fn a_request_waits_for_a_module_that_comes_back() {
    for request in [GET_M, POST_M, SOCKET_M] {
        let (mut play, board) = Play::with_module(HOLD);
        board.set(Standing::Restarting);
        play.client(request, usize::MAX);
        assert!(play.connection.is_waiting() && play.opens == 0 && play.to_client.is_empty());
        let standing = up(&play);
        stands(&mut play, &board, standing);
        assert!(!play.connection.is_waiting());
        assert_eq!((play.opens, play.upstreams.len()), (1, 1));
        play.upstream(OK, usize::MAX);
        assert!(play.said().starts_with("HTTP/1.1 200 "), "{}", play.said());
    }
}

#[test]
fn who_waits_is_sent_where_the_module_is_by_then_unless_more_of_it_has_changed() {
    let before = || Mount { websocket: true, hold: HOLD, ..mount("/m") };
    let moved = || Mount { port: Port::new(2001).expect("a port"), ..before() };
    let gate = || Gate { path: "/m".to_owned(), needs: Needs { whom: Whom::HubUsers, ..Needs::NONE } };
    for (name, after, opens) in [
        ("nothing", Some(before()), true),
        ("its port", Some(moved()), true),
        ("a page that not everybody may see", Some(Mount { gates: Some([gate()].into()), ..moved() }), false),
        ("what it sees of its paths", Some(Mount { strip: true, ..before() }), false),
        ("for whom it is", Some(Mount { local_only: true, ..before() }), false),
        ("all of it", None, false),
    ] {
        // One is held before anything is tried, the other was cut off by the restart.
        for was_sent in [false, true] {
            let (mut play, board) = Play::with_mount(before());
            board.set(if was_sent { up(&play) } else { Standing::Restarting });
            play.client(GET_M, usize::MAX);
            if was_sent {
                board.set(Standing::Restarting);
                play.upstream_ends();
            }
            assert!(play.connection.is_waiting(), "{name}");
            let mounts = after.clone().into_iter().collect();
            play.rules.table = Arc::new(Table::new(mounts, |_| Arc::clone(&board), &play.rules.table));
            play.now += Duration::from_millis(1);
            let standing = up(&play);
            stands(&mut play, &board, standing);
            let to = play.connection.relay().map(Relay::destination);
            let port = after.as_ref().map(|mount| Destination::Port(mount.port.get()));
            assert_eq!(to, port.filter(|_| opens), "{name}");
            assert_eq!((play.open, play.said().starts_with("HTTP/1.1 503 ")), (opens, !opens), "{name}");
        }
    }
}

#[test]
fn a_row_with_the_hubs_own_port_leads_nowhere() {
    let (mut play, board) = Play::with_module(HOLD);
    play.rules.own_ports = vec![1939, 2000];
    for standing in [up(&play), Standing::Restarting] {
        board.set(standing);
        play.client(GET_M, usize::MAX);
    }
    assert_eq!((play.opens, play.said().matches("HTTP/1.1 502 ").count()), (0, 2), "{}", play.said());
}

#[test]
fn the_time_for_an_answer_begins_when_it_can_be_asked() {
    let (mut play, board) = Play::with_module(Duration::from_secs(3_600));
    board.set(Standing::Restarting);
    play.client(GET_M, usize::MAX);
    play.now += 2 * play.rules.settings.limits.module_answer_timeout;
    board.set(up(&play));
    let asks = play.connection.advance(play.now, &mut play.rules);
    assert!(asks.open.is_some() && !play.connection.is_waiting());
    play.connection.upstream_opened(false);
    play.connection.advance(play.now, &mut play.rules);
    assert!(play.connection.to_client().is_empty(), "it has not even been asked");
    assert!(!play.connection.to_upstream().is_empty());
}

#[test]
fn waiting_ends_with_what_becomes_of_the_module() {
    for (standing, status) in [
        (Standing::Crashed, "502"),
        (Standing::Stopped, "502"),
        (Standing::Starting, "503"),
        (Standing::Restarting, "503"),
    ] {
        let (mut play, board) = Play::with_module(HOLD);
        board.set(Standing::Restarting);
        play.client(GET_M, usize::MAX);
        stands(&mut play, &board, standing);
        let before = play.now;
        if play.connection.is_waiting() {
            play.wait();
            assert_eq!(play.now, before + HOLD, "{standing:?}");
        }
        assert!(play.said().starts_with(&format!("HTTP/1.1 {status} ")), "{standing:?}: {}", play.said());
        assert!(play.opens == 0 && !play.is_over(), "{standing:?}");
    }
}

#[test]
fn who_is_not_waited_for_is_told_at_once() {
    for (standing, status) in [(Standing::Restarting, "503"), (Standing::Starting, "503"), (Standing::Crashed, "502")] {
        let (mut play, board) = Play::with_module(Duration::ZERO);
        play.listening = false;
        board.set(standing);
        play.client(GET_M, usize::MAX);
        assert!(play.said().starts_with(&format!("HTTP/1.1 {status} ")), "{standing:?}: {}", play.said());
        assert!(!play.connection.is_waiting());
    }
}

#[test]
fn a_module_that_should_be_there_gets_a_moment() {
    let (mut play, board) = Play::with_module(HOLD);
    play.listening = false;
    board.set(up(&play));
    let before = play.now;
    play.client(POST_M, usize::MAX);
    assert!(play.connection.is_waiting() && play.opens == 1);
    // The supervisor has noticed: it is waited for.
    stands(&mut play, &board, Standing::Restarting);
    assert!(play.connection.is_waiting());
    play.listening = true;
    let standing = up(&play);
    stands(&mut play, &board, standing);
    play.upstream(OK, usize::MAX);
    assert!(play.said().starts_with("HTTP/1.1 200 "), "{}", play.said());

    let (mut play, board) = Play::with_module(HOLD);
    play.listening = false;
    board.set(up(&play));
    play.client(GET_M, usize::MAX);
    play.wait();
    assert!(play.said().starts_with("HTTP/1.1 503 "), "{}", play.said());
    assert!(play.now - before < HOLD);
}

/// A module that comes and goes: the whole wait is as long as one.
#[test]
fn waiting_does_not_begin_again_with_every_restart() {
    let (mut play, board) = Play::with_module(HOLD);
    play.listening = false;
    board.set(Standing::Restarting);
    play.client(GET_M, usize::MAX);
    let begin = play.now;
    for _ in 0..20 {
        if !play.connection.is_waiting() {
            break;
        }
        play.now += Duration::from_secs(1);
        let standing = up(&play);
        stands(&mut play, &board, standing);
        stands(&mut play, &board, Standing::Restarting);
    }
    assert!(play.said().starts_with("HTTP/1.1 503 "), "{}", play.said());
    assert!(play.now - begin <= HOLD, "{:?}", play.now - begin);
}

/// The module hangs up on every request that reaches it, while it is being restarted again and again.
fn hung_up_on(request: &[u8]) -> (Play, Arc<Board>) {
    let (mut play, board) = Play::with_module(HOLD);
    board.set(up(&play));
    play.client(request, usize::MAX);
    for _ in 0..10 {
        if !play.open {
            break;
        }
        board.set(Standing::Restarting);
        play.upstream_ends();
        play.now += Duration::from_millis(1);
        let standing = up(&play);
        stands(&mut play, &board, standing);
    }
    (play, board)
}

#[test]
fn what_can_be_done_twice_is_sent_again_and_the_rest_is_not() {
    for (request, sent) in [(GET_M, 2), (PUT_M, 2), (SOCKET_M, 2), (POST_M, 1)] {
        let (play, _board) = hung_up_on(request);
        let shown = String::from_utf8_lossy(request);
        assert_eq!(play.upstreams.len(), sent, "{shown}");
        assert!(play.upstreams.iter().all(|got| *got == play.upstreams[0]), "{shown}");
        assert!(play.said().starts_with("HTTP/1.1 502 "), "{shown}: {}", play.said());
        assert!(play.released.iter().all(|release| *release == Release::Close), "{shown}");
    }
}

/// A child on its way down hangs up on an idle socket and then on the one that takes its place, before anybody knows that
/// it is being restarted.
#[test]
fn a_child_that_hangs_up_twice_is_one_child() {
    let (mut play, board) = Play::with_module(HOLD);
    board.set(up(&play));
    play.client(GET_M, usize::MAX);
    play.upstream(OK, usize::MAX);
    play.client(GET_M, usize::MAX);
    assert_eq!(play.opens, 2);
    play.upstream_ends();
    assert_eq!(play.opens, 3, "the idle socket was stale");
    play.upstream_ends();
    assert!(play.connection.is_waiting() && play.opens == 3);
    stands(&mut play, &board, Standing::Restarting);
    play.now += Duration::from_millis(1);
    let standing = up(&play);
    stands(&mut play, &board, standing);
    assert_eq!(play.opens, 4);
    play.upstream(OK, usize::MAX);
    assert_eq!(play.said().matches("HTTP/1.1 200 ").count(), 2, "{}", play.said());

    // The second child is the last that gets it, also over a socket that was idle.
    play.client(GET_M, usize::MAX);
    for end in 0..2 {
        board.set(Standing::Restarting);
        play.upstream_ends();
        play.now += Duration::from_millis(1);
        let standing = up(&play);
        stands(&mut play, &board, standing);
        assert_eq!(play.opens, 6, "after {end}");
    }
    assert!(play.said().contains("HTTP/1.1 502 "), "{}", play.said());
}

#[test]
fn what_has_been_answered_in_part_is_not_sent_again() {
    for part in [&b"H"[..], b"HTTP/1.1 103 X\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"] {
        let (mut play, board) = Play::with_module(HOLD);
        board.set(up(&play));
        play.client(GET_M, usize::MAX);
        play.upstream(part, usize::MAX);
        board.set(Standing::Restarting);
        play.upstream_ends();
        assert_eq!(play.opens, 1, "{}", String::from_utf8_lossy(part));
        assert!(!play.connection.is_waiting() && play.released == [Release::Close]);
    }
}

#[test]
fn who_waits_is_counted_for_as_long_as_it_waits() {
    let (mut play, board) = Play::with_module(HOLD);
    board.set(Standing::Restarting);
    play.client(GET_M, usize::MAX);
    let Some(module) = play.connection.relay().and_then(|relay| relay.module.clone()) else { panic!("no module") };
    let others: Vec<_> = std::iter::from_fn(|| module.wait(64)).collect();
    assert_eq!(others.len(), 63);
    play.client_hangs_up();
    play.settle();
    assert!(play.closed && module.wait(64).is_some());
}

#[test]
fn a_websocket_passes_everything_until_one_side_ends() {
    let open = || {
        let (mut play, board) = Play::with_module(HOLD);
        board.set(up(&play));
        play.client(SOCKET_M, usize::MAX);
        // The first frame comes with the head.
        play.upstream(&[SWITCH, b"\x81\x02hi"].concat(), usize::MAX);
        play.client(b"\x81\x82abcd\r\n\r\n", 3);
        assert!(play.upstreams[0].ends_with(b"\x81\x82abcd\r\n\r\n") && play.to_client.ends_with(b"\x81\x02hi"));
        assert_eq!(play.rules.websockets.taken(), 1);
        play
    };
    let mut play = open();
    play.upstream(b"\x88\x00", usize::MAX);
    play.upstream_ends();
    assert!(play.shut_down && play.to_client.ends_with(b"\x88\x00") && play.released == [Release::Close]);

    // What the client has said last arrives although it has gone.
    let mut play = open();
    play.connection.client_tail().extend_from_slice(b"\x88\x80");
    play.client_hangs_up();
    play.settle();
    assert!(play.closed && play.upstreams[0].ends_with(b"\x88\x80") && play.released == [Release::Close]);
    assert_eq!(play.rules.websockets.taken(), 0);

    let mut play = open();
    play.upstream_breaks();
    assert!(play.shut_down && play.released == [Release::Close]);
}

#[test]
fn a_websocket_needs_a_clear_answer() {
    for (answer, expected) in [
        (&b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n"[..], "HTTP/1.1 502 "),
        (b"HTTP/1.1 101 X\r\nConnection: upgrade\r\n\r\n", "HTTP/1.1 502 "),
        (b"HTTP/1.0 101 X\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 502 "),
        (b"HTTP/1.1 426 X\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 426 "),
        (b"HTTP/1.1 200 X\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 "),
    ] {
        let (mut play, board) = Play::with_module(HOLD);
        board.set(up(&play));
        play.client(SOCKET_M, usize::MAX);
        play.upstream(answer, usize::MAX);
        assert!(play.said().starts_with(expected), "{}", play.said());
        assert!(!play.said().contains("101"), "{}", play.said());
        assert_eq!(play.rules.websockets.taken(), 0, "a place is given back");
        // What looks like frames is the next request, and a bad one.
        play.client(b"\x81\x82abcd\r\n\r\n", usize::MAX);
        assert!(play.said().contains("HTTP/1.1 400 ") && play.is_over(), "{}", play.said());
    }
}

#[test]
fn a_body_for_a_module_is_as_long_as_the_operator_lets_it_be() {
    let most = 1 << 10;
    for (framing, bodies) in [
        (format!("Content-Length: {most}"), vec!["x".repeat(most)]),
        (format!("Content-Length: {}", most + 1), vec![]),
        (
            "Transfer-Encoding: chunked".to_owned(),
            vec![format!("400\r\n{}\r\n", "x".repeat(most)), "1\r\nx\r\n".to_owned()],
        ),
    ] {
        for limit in [None, Some(most as u64)] {
            let (mut play, board) = Play::with_module(HOLD);
            play.rules.settings.limits.module_body_bytes = limit;
            board.set(up(&play));
            let head = format!("POST /m HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
            play.client(head.as_bytes(), usize::MAX);
            for body in &bodies {
                play.client(body.as_bytes(), usize::MAX);
            }
            let refused = play.said().contains("HTTP/1.1 413 ") && play.said().contains("larger than 1024 bytes");
            let expected = limit.is_some() && !framing.ends_with(&format!(" {most}"));
            assert_eq!(refused, expected, "{framing} {limit:?}: {}", play.said());
        }
    }
}

/// A client that reads slowly is no module that is silent.
#[test]
fn silence_counts_only_while_somebody_listens() {
    let (mut play, board) = Play::with_module(HOLD);
    play.rules.settings.limits.module_silence = Some(Duration::from_secs(10));
    board.set(up(&play));
    play.client(GET_M, usize::MAX);
    play.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", usize::MAX);
    // The client takes nothing, until there is no more room for it.
    while play.connection.upstream_room() > 0 {
        let room = play.connection.upstream_room();
        play.connection.upstream_tail().expect("room").extend(std::iter::repeat_n(b'x', room));
        play.connection.upstream_read(play.now);
        play.connection.advance(play.now, &mut play.rules);
        play.connection.client_sent(0, play.now);
    }
    let begin = play.now;
    let stalled = play.connection.deadline(&play.rules.settings);
    assert_eq!(stalled, Some(begin + play.rules.settings.limits.stall_timeout));
    play.now += Duration::from_secs(20);
    play.settle();
    assert!(!play.is_over(), "the client has taken something");
    play.wait();
    assert!(play.shut_down && play.now == begin + Duration::from_secs(30), "now it is the module that is silent");
}
