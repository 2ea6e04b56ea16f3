//! Every request that was answered, or could not be, has one line in the access log, at its end.

use super::fuzz::mutated;
use super::*;
use super::{request_bodies, request_fields, request_lines};
use serde_json::{Value, json};
use std::time::SystemTime;

/// Has it keep a journal, which starts with 1970.
pub(super) fn keep(play: &mut Play, format: AccessFormat) {
    play.rules.journal = Journal::new(Some(format), (play.now, SystemTime::UNIX_EPOCH));
}

fn play() -> (Play, Arc<crate::supervisor::standing::Board>) {
    let (mut play, board) = Play::with_module(Duration::ZERO);
    board.set(crate::supervisor::standing::Standing::Up { since: play.now });
    keep(&mut play, AccessFormat::Json);
    (play, board)
}

fn lines(play: &mut Play) -> Vec<Value> {
    let (text, lines) = play.rules.journal.take().unwrap_or_default();
    let text = String::from_utf8(text).expect("text");
    let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!(u64::try_from(values.len()), Ok(lines));
    values
}

/// Status, author, bytes, received bytes and whether it was complete.
fn told(line: &Value) -> Value {
    json!(["status", "answered_by", "bytes", "received_bytes", "complete"].map(|field| line[field].clone()))
}

/// The same of the only line.
#[track_caller]
fn only(play: &mut Play) -> Value {
    let lines = lines(play);
    assert_eq!(lines.len(), 1, "{lines:?}");
    told(&lines[0])
}

const MODULE: &[u8] = b"GET /m/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn an_answer_is_logged_when_it_is_complete() {
    for (request, answer, expected) in [
        (GET, LENGTH, json!([200, "hub", 5, 0, true])),
        (POST, LENGTH, json!([200, "hub", 5, 11, true])),
        (MODULE, LENGTH, json!([200, "module", 5, 0, true])),
        (
            MODULE,
            b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            json!([404, "module", 3, 0, true]),
        ),
        (
            b"HEAD /m HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            json!([200, "module", 0, 0, true]),
        ),
    ] {
        let (mut play, _board) = play();
        play.client(request, usize::MAX);
        let (all_but_one, last) = answer.split_at(answer.len() - 1);
        play.upstream(all_but_one, usize::MAX);
        assert_eq!(lines(&mut play), Vec::<Value>::new(), "{}: too early", request.escape_ascii());
        play.now += Duration::from_millis(250);
        play.upstream(last, usize::MAX);
        let line = lines(&mut play).pop().expect("a line");
        assert_eq!(line["duration_ms"], 250.0, "{line}");
        assert_eq!(told(&line), expected, "{}", request.escape_ascii());
    }
}

#[test]
fn what_was_broken_off_is_not_complete() {
    let (mut cut, _board) = play();
    cut.client(MODULE, usize::MAX);
    cut.upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", usize::MAX);
    cut.upstream_ends();
    assert_eq!(only(&mut cut), json!([200, "module", 5, 0, false]), "the module hung up");

    let (mut left, _board) = play();
    left.client(MODULE, usize::MAX);
    left.client_hangs_up();
    left.settle();
    assert_eq!(only(&mut left), json!([499, "edge", 0, 0, false]), "the client left before the answer");

    let (mut broke, _board) = play();
    broke.client(MODULE, usize::MAX);
    broke.connection.upstream_tail().expect("room").extend_from_slice(&LENGTH[..LENGTH.len() - 1]);
    broke.connection.advance(broke.now, &mut broke.rules);
    broke.connection.client_broke(broke.now);
    broke.settle();
    assert_eq!(only(&mut broke), json!([200, "module", 0, 0, false]), "nothing of it was sent");

    let (mut closed, _board) = play();
    closed.client(MODULE, usize::MAX);
    closed.upstream(&LENGTH[..LENGTH.len() - 1], usize::MAX);
    closed.connection.give_up(closed.now, &mut closed.rules.journal);
    assert_eq!(only(&mut closed), json!([200, "module", 4, 0, false]), "the loop ended");
    closed.connection.give_up(closed.now, &mut closed.rules.journal);
    assert_eq!(lines(&mut closed), Vec::<Value>::new(), "once");
}

#[test]
fn what_the_edge_answers_itself_is_logged_as_its_own() {
    for (request, status) in [
        (&b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"[..], 421),
        (b"GET /..%2f HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
        (b"GET / HTTP/3.0\r\nHost: localhost\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\n\r\n", 417),
    ] {
        let (mut play, _board) = play();
        play.client(request, usize::MAX);
        let line = lines(&mut play).pop().expect("a line");
        assert_eq!((&line["status"], &line["answered_by"]), (&json!(status), &json!("edge")), "{line}");
        let (_, body) = play.said().split_once("\r\n\r\n").map(|(a, b)| (a.to_owned(), b.len())).expect("an answer");
        assert_eq!(line["bytes"], body, "{line}");
    }
    let (mut large, _board) = play();
    large.client(&[b"GET /", &b"x".repeat(20_000)[..]].concat(), usize::MAX);
    assert_eq!(lines(&mut large).pop().expect("a line")["status"], 431);

    let (mut slow, _board) = play();
    slow.client(b"GET /a HTT", usize::MAX);
    slow.wait();
    let line = lines(&mut slow).pop().expect("a line");
    assert_eq!((&line["status"], &line["method"], &line["path"]), (&json!(408), &json!("GET"), &json!("/a HTT")));
    assert_eq!(line["duration_ms"], 10_000.0, "{line}");

    let (mut down, board) = play();
    board.set(crate::supervisor::standing::Standing::Stopped);
    down.listening = false;
    down.client(MODULE, usize::MAX);
    let line = lines(&mut down).pop().expect("a line");
    assert_eq!((&line["status"], &line["module"], &line["answered_by"]), (&json!(502), &json!("wiki"), &json!("edge")));

    let (mut silent, _board) = play();
    silent.client(MODULE, usize::MAX);
    silent.wait();
    assert_eq!(lines(&mut silent).pop().expect("a line")["status"], 504);
}

#[test]
fn a_websocket_is_logged_at_its_end_with_what_went_through_it() {
    for client_ends in [true, false] {
        let (mut play, _board) = play();
        play.client(
            b"GET /m HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            usize::MAX,
        );
        play.upstream(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", usize::MAX);
        play.client(b"12345", usize::MAX);
        play.upstream(b"123", usize::MAX);
        assert_eq!(lines(&mut play), Vec::<Value>::new(), "it runs");
        if client_ends {
            play.client_hangs_up();
            play.settle();
        } else {
            play.upstream_ends();
        }
        assert_eq!(only(&mut play), json!([101, "module", 3, 5, true]), "client ends: {client_ends}");
    }
}

#[test]
fn nothing_asked_is_nothing_logged() {
    let (mut play, _board) = play();
    play.client(b"\r\n", usize::MAX);
    play.client_hangs_up();
    play.settle();
    assert_eq!(lines(&mut play), Vec::<Value>::new());
    let (mut half, _board) = self::play();
    half.client(b"GET / HT", usize::MAX);
    half.client_hangs_up();
    half.settle();
    assert_eq!(lines(&mut half), Vec::<Value>::new(), "a head that the client gave up");
}

#[test]
fn every_mutated_request_has_one_printable_line() {
    let seeds: Vec<_> = request_lines::seeds().chain(request_fields::seeds()).chain(request_bodies::seeds()).collect();
    let mut random = Random::new();
    let seed = random.seed;
    for round in 0..1_500 {
        let bytes = mutated(&seeds, &mut random);
        let format = if random.below(2) == 0 { AccessFormat::Json } else { AccessFormat::Combined };
        let mut play = Play::new();
        keep(&mut play, format);
        play.client(&bytes, 1 + random.below(200));
        if random.below(2) == 0 {
            play.wait();
        }
        play.client_hangs_up();
        play.settle();
        play.wait();
        let (text, lines) = play.rules.journal.take().unwrap_or_default();
        let shown =
            format!("{:?}, round {round}, seed {seed}: {}", bytes.escape_ascii().to_string(), text.escape_ascii());
        assert_eq!(lines, play.rules.requests, "{shown}");
        assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{shown}");
        let text = String::from_utf8(text).expect("ASCII");
        assert_eq!(u64::try_from(text.lines().count()), Ok(lines), "{shown}");
        for line in text.lines() {
            match format {
                AccessFormat::Json => assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object())),
                AccessFormat::Combined => assert!(line.starts_with("127.0.0.1 - - [01/Jan/1970:"), "{shown}"),
            }
        }
    }
}
