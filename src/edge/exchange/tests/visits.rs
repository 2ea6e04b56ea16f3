//! Pages that not everybody may see.

use super::play::Play;
use super::*;
use crate::edge::denial::Denial;
use crate::edge::tests::mount;
use crate::manifest::gates::{Gate, Needs, Whom};
use crate::manifest::mounts::Mount;
use crate::supervisor::standing::{Board, Standing};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const SHOWN: &str = "Authorization: Bearer x\r\n";
const COOKIE: &str = "Cookie: parachute_hub_session=x\r\n";
const HTML: &str = "Accept: text/html\r\n";
const SOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
const PASSES: Verdict = Verdict::Passes(None);

fn denied(why: Denial) -> Verdict {
    Verdict::Denied { why, lacks: None }
}

fn gate(path: &str, whom: Whom) -> Gate {
    Gate { path: path.to_owned(), needs: Needs { whom, ..Needs::NONE } }
}

/// A module below `/m` whose page at `/m/app` is for the hub's users, and takes WebSockets.
fn play(change: impl FnOnce(&mut Mount)) -> (Play, Arc<Board>) {
    let gates = [gate("/m/app", Whom::HubUsers)];
    let mut mount = Mount { websocket: true, gates: Some(gates.into()), ..mount("/m") };
    change(&mut mount);
    let (play, board) = Play::with_mount(mount);
    board.set(Standing::Up { since: play.now });
    (play, board)
}

fn request(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

#[test]
fn who_shows_nothing_is_sent_away_at_once_and_may_go_on_to_ask() {
    for (method, fields, keep) in [
        ("GET", "", true),
        ("POST", "Content-Length: 0\r\n", true),
        ("HEAD", "", true),
        ("GET", "Cookie: session=x\r\n", true),
        ("GET", SOCKET, true),
        ("PUT", "Content-Length: 5\r\n", false),
        ("POST", "Transfer-Encoding: chunked\r\n", false),
        ("POST", "Content-Length: 5\r\nExpect: 100-continue\r\n", false),
        ("GET", "Connection: close\r\n", false),
    ] {
        let (mut play, _board) = play(|_| {});
        play.client(&request(method, "/m/app", fields), usize::MAX);
        let said = play.said();
        assert!(said.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{method} {fields:?}: {said}");
        assert!(said.contains("\r\nWWW-Authenticate: Bearer\r\n") && said.contains("\r\nCache-Control: no-store\r\n"));
        assert_eq!(said.ends_with("\r\n\r\n"), method == "HEAD", "{said}");
        assert_eq!((play.asked.len(), play.opens, play.is_over()), (0, 0, !keep), "{method} {fields:?}");
        if keep {
            play.client(&request("GET", "/m", ""), usize::MAX);
            play.upstream(OK, usize::MAX);
            assert!(play.said().ends_with("\r\n\r\nok"), "what is for anybody is there: {}", play.said());
        }
    }
}

#[test]
fn nothing_is_done_for_anybody_before_the_hub_has_let_them_in() {
    for standing in [Standing::Restarting, Standing::Stopped, Standing::Crashed, Standing::Starting] {
        for (verdict, status) in [(denied(Denial::Unauthenticated), "401"), (denied(Denial::NotAdmin), "403")] {
            let (mut play, board) = play(|mount| mount.hold = Duration::from_secs(5));
            board.set(standing);
            play.client(&request("GET", "/m/app", SHOWN), usize::MAX);
            assert!(!play.connection.is_waiting() && play.opens == 0 && play.said().is_empty(), "{standing:?}");
            assert_eq!(play.asked.len(), 1, "{standing:?}");
            play.answer(&verdict);
            assert!(play.said().starts_with(&format!("HTTP/1.1 {status} ")), "{standing:?}: {}", play.said());
            assert!(play.opens == 0 && !play.is_over(), "{standing:?}");
        }
    }
    let (mut play, board) = play(|mount| mount.hold = Duration::from_secs(5));
    board.set(Standing::Restarting);
    play.client(&request("GET", "/m/app", COOKIE), usize::MAX);
    play.answer(&PASSES);
    assert!(play.connection.is_waiting() && play.opens == 0);
    board.set(Standing::Up { since: play.now });
    play.settle();
    // It may have been a while.
    assert_eq!((play.asked.len(), play.opens), (2, 0));
    play.answer(&PASSES);
    play.upstream(OK, usize::MAX);
    assert!(play.said().starts_with("HTTP/1.1 200 "), "{}", play.said());
}

#[test]
fn the_question_has_all_that_is_shown_and_who_sends_it() {
    let (mut play, _board) = play(|mount| mount.strip = true);
    let fields = format!("{SHOWN}{COOKIE}Origin: http://localhost\r\nX-Parachute-Layer: public\r\n");
    play.client(&request("POST", "/m/app/x?y", &fields), usize::MAX);
    let question = Arc::clone(&play.asked[0].1);
    assert_eq!(question.authorization.as_deref(), Some("Bearer x"));
    assert!(!question.is_to_tell, "the module has not asked for it");
    let visit = question.visit.as_ref().expect("a visit");
    assert!(visit.can_change && visit.needs.whom == Whom::HubUsers);
    assert_eq!(visit.cookies, ["parachute_hub_session=x"]);
    let of = |name: &str| visit.sender.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
    let said: Vec<Vec<&str>> = ["Host", "Origin", "X-Parachute-Layer", "X-Parachute-Client-IP"].map(of).into();
    assert_eq!(said, [["localhost"], ["http://localhost"], ["loopback"], ["127.0.0.1"]]);
    for (method, fields, can_change) in
        [("GET", "", false), ("HEAD", "", false), ("OPTIONS", "", false), ("GET", SOCKET, true), ("PATCH", "", true)]
    {
        let (mut play, _board) = self::play(|_| {});
        play.client(&request(method, "/m/app", &format!("{COOKIE}{fields}")), usize::MAX);
        assert_eq!(play.asked[0].1.visit.as_ref().map(|visit| visit.can_change), Some(can_change), "{method} {fields}");
    }
}

#[test]
fn a_body_waits_and_comes_through_whole() {
    let chunked: &[u8] = b"5\r\nhello\r\n6;x\r\n world\r\n0\r\nT: x\r\n\r\n";
    // Chunks are passed on as they come.
    let plain = |text: &str| text.replace(|c: char| c.is_ascii_hexdigit() || c.is_whitespace(), "");
    for (fields, body) in
        [("Content-Length: 11\r\n", b"hello world".as_slice()), ("Transfer-Encoding: chunked\r\n", chunked)]
    {
        for early in [0, 1, 7, body.len()] {
            let (mut play, _board) = play(|mount| mount.proof_headers = true);
            let head = request("PUT", "/m/app", &format!("{SHOWN}{fields}"));
            play.client(&[&head, &body[..early]].concat(), usize::MAX);
            assert_eq!((play.opens, play.asked.len()), (0, 1), "{early} bytes early");
            play.answer(&PASSES);
            play.client(&body[early..], usize::MAX);
            play.upstream(OK, usize::MAX);
            let sent = String::from_utf8(play.upstreams.concat()).expect("text");
            let content = sent.split_once("\r\n\r\n").expect("a head").1;
            assert_eq!(plain(content), plain("hello world"), "{early} bytes early: {sent}");
            assert!(play.said().ends_with("\r\n\r\nok") && !play.is_over(), "{early} bytes early: {}", play.said());
            assert_eq!(play.asked.len(), 1);
        }
    }
}

#[test]
fn a_body_is_asked_for_once_its_sender_is_let_in() {
    let expects = request("PUT", "/m/app", &format!("{SHOWN}Content-Length: 5\r\nExpect: 100-continue\r\n"));
    let (mut play, _board) = play(|_| {});
    play.client(&expects, usize::MAX);
    assert_eq!(play.said(), "");
    play.answer(&PASSES);
    assert_eq!(play.said(), "HTTP/1.1 100 Continue\r\n\r\n");
    play.client(b"hello", usize::MAX);
    play.upstream(OK, usize::MAX);
    assert!(play.upstreams[0].ends_with(b"\r\n\r\nhello") && play.said().ends_with("ok"));

    let (mut play, _board) = self::play(|_| {});
    play.client(&expects, usize::MAX);
    play.answer(&denied(Denial::Unauthenticated));
    assert!(play.said().starts_with("HTTP/1.1 401 ") && !play.said().contains("100 Continue"), "{}", play.said());
    assert!(play.is_over(), "what comes next may be the body");

    // Whether it is sent after all nobody knows.
    let (mut play, _board) = self::play(|_| {});
    play.client(&request("PUT", "/m/app", &format!("{SHOWN}Content-Length: 5\r\nExpect: something\r\n")), usize::MAX);
    assert!(play.said().starts_with("HTTP/1.1 417 "), "{}", play.said());
}

#[test]
fn a_websocket_takes_its_place_once_it_is_let_in() {
    let socket = request("GET", "/m/app", &format!("{COOKIE}{SOCKET}"));
    for (takes_any, places, verdict, status) in [
        (true, 9, PASSES, "101"),
        (true, 9, denied(Denial::OriginRequired), "403"),
        (true, 0, denied(Denial::Unauthenticated), "401"),
        (true, 0, PASSES, "429"),
        (false, 9, denied(Denial::Unauthenticated), "401"),
        (false, 9, PASSES, "426"),
    ] {
        let (mut play, _board) = play(|mount| mount.websocket = takes_any);
        play.rules.settings.limits.websockets = places;
        play.client(&socket, usize::MAX);
        assert_eq!((play.rules.websockets.taken(), play.opens, play.asked.len()), (0, 0, 1));
        play.answer(&verdict);
        if status == "101" {
            assert_eq!(play.rules.websockets.taken(), 1);
            play.upstream(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi",
                usize::MAX,
            );
        }
        let said = play.said();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{takes_any} {places} {verdict:?}: {said}");
        let places = play.rules.websockets.taken();
        assert_eq!((places, play.opens), if status == "101" { (1, 1) } else { (0, 0) }, "{verdict:?}");
    }
}

#[test]
fn while_the_hub_cannot_say_nobody_gets_through() {
    let (mut play, _board) = play(|_| {});
    play.client(&request("GET", "/m/app", &format!("{SHOWN}{HTML}")), usize::MAX);
    play.answer(&Verdict::Unavailable);
    let said = play.said();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("\r\nRetry-After: 1\r\n"), "{said}");
    assert!(!said.contains("wiki") && said.contains("<h1>Not now</h1>"), "nothing is said of the module: {said}");

    let (mut play, _board) = self::play(|_| {});
    play.client(&request("GET", "/m/app", SHOWN), usize::MAX);
    play.wait();
    let said = play.said();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("\"auth_unavailable\""), "{said}");
    assert_eq!(play.opens, 0);
    // What comes too late lets nobody in any more.
    play.answer(&PASSES);
    assert!(play.opens == 0 && play.said() == said);
}

#[test]
fn before_another_try_it_is_asked_again() {
    for (verdict, status) in [(PASSES, "200"), (denied(Denial::Unauthenticated), "401")] {
        let (mut play, _board) = play(|_| {});
        for _ in 0..2 {
            play.client(&request("GET", "/m/app", SHOWN), usize::MAX);
            play.answer(&PASSES);
            if play.upstreams.len() == 1 {
                play.upstream(OK, usize::MAX);
            }
        }
        play.to_client.clear();
        // The idle socket that it was sent to has been closed.
        play.upstream_ends();
        assert_eq!((play.asked.len(), play.opens), (3, 2));
        play.answer(&verdict);
        if status == "200" {
            play.upstream(OK, usize::MAX);
        }
        assert!(play.said().starts_with(&format!("HTTP/1.1 {status} ")), "{}", play.said());
        assert_eq!(play.opens, if status == "200" { 3 } else { 2 });
    }
}

#[test]
fn a_denial_is_a_page_for_whoever_names_html_and_says_nothing_of_the_module() {
    for (method, path, fields, page, command) in [
        ("GET", "/m/app/x?secret=1", HTML, true, "parachute open /m/app/x"),
        ("HEAD", "/m/app/x", HTML, true, ""),
        ("GET", "/m/app/%24(reboot)", HTML, true, "parachute open"),
        ("GET", "/m/app/$(reboot)", HTML, true, "parachute open"),
        ("GET", "/m/app/'\"<b>&", HTML, true, "parachute open"),
        ("POST", "/m/app", HTML, false, ""),
        ("GET", "/m/app", "Accept: */*\r\n", false, ""),
        ("GET", "/m/app", "", false, ""),
    ] {
        for shown in ["", SHOWN] {
            let (mut play, _board) = play(|_| {});
            play.client(&request(method, path, &format!("{shown}{fields}")), usize::MAX);
            if !shown.is_empty() {
                play.answer(&denied(Denial::Unauthenticated));
            }
            let said = play.said();
            assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
            assert_eq!(said.contains("\r\nContent-Type: text/html"), page, "{method} {path}: {said}");
            assert!(!said.contains("wiki") && !said.contains("secret") && !said.contains("<b>"), "{said}");
            assert!(!said.contains("reboot") || path.contains('%') && !said.contains('$'), "{said}");
            if method == "GET" && page {
                assert!(said.contains(&format!("<code>{command}")), "{path}: {said}");
            }
        }
    }
    let (mut play, _board) = play(|_| {});
    play.client(&request("GET", "/m/app", SHOWN), usize::MAX);
    play.answer(&Verdict::Denied { why: Denial::InsufficientScope, lacks: Some("wiki:<read>".to_owned()) });
    let said = play.said();
    assert!(said.starts_with("HTTP/1.1 403 ") && said.contains("lacks the scope wiki:<read>\""), "{said}");
    assert!(said.contains("\r\nWWW-Authenticate: Bearer error=\"insufficient_scope\"\r\n"), "{said}");
    let (mut play, _board) = self::play(|_| {});
    play.client(&request("GET", "/m/app", SHOWN), usize::MAX);
    play.answer(&denied(Denial::TooManyFailures { retry_after_s: 17 }));
    assert!(play.said().starts_with("HTTP/1.1 429 ") && play.said().contains("\r\nRetry-After: 17\r\n"));
}

#[test]
fn what_is_not_for_everybody_is_kept_for_nobody_else() {
    for (path, said, added) in [
        ("/m/app", "", true),
        ("/m/app", "Cache-Control: public, max-age=9\r\n", true),
        ("/m/app", "Cache-Control: private=\"x\"\r\n", true),
        ("/m/app", "cache-control: max-age=9, Private\r\n", false),
        ("/m/app", "Cache-Control: max-age=9\r\nCache-Control: no-store\r\n", false),
        ("/m/other", "Cache-Control: public, max-age=9\r\n", false),
    ] {
        let (mut play, _board) = play(|_| {});
        play.client(&request("GET", path, SHOWN), usize::MAX);
        if !play.asked.is_empty() {
            play.answer(&PASSES);
        }
        play.upstream(format!("HTTP/1.1 200 OK\r\n{said}Content-Length: 2\r\n\r\nok").as_bytes(), usize::MAX);
        let expected = if added { "Cache-Control: private\r\n" } else { "" };
        let expected = format!("HTTP/1.1 200 OK\r\n{said}{expected}Content-Length: 2\r\n\r\nok");
        assert_eq!(play.said(), expected, "{path} {said:?}");
    }
}

/// Whatever comes in whatever order: nobody gets to the module whom the hub has not let in for this try.
#[test]
fn random_events_let_nobody_in() {
    let mut random = Random::new();
    let seed = random.seed;
    let requests = [
        request("GET", "/m/app", SHOWN),
        request("GET", "/m/app/x", COOKIE),
        request("GET", "/m/app", ""),
        request("POST", "/m//app", &format!("{SHOWN}Content-Length: 2\r\n\r\nhi")),
        request("GET", "/m/app", &format!("{COOKIE}{SOCKET}")),
        request("PUT", "/m/app", &format!("{COOKIE}Content-Length: 2\r\nExpect: 100-continue\r\n")),
        b"hi".to_vec(),
    ];
    for game in 0..2_000 {
        let (mut play, board) = play(|mount| mount.hold = Duration::from_secs(5));
        let mut let_in = 0;
        for _ in 0..random.below(20) {
            let asked = play.asked.len();
            match random.below(10) {
                0..=3 => {
                    let bytes = requests[random.below(requests.len())].clone();
                    play.client(&bytes, 1 + random.below(99));
                }
                4 | 5 if asked > 0 => {
                    let verdict = match random.below(4) {
                        0 => denied(Denial::Unauthenticated),
                        1 => Verdict::Unavailable,
                        _ => PASSES,
                    };
                    let_in += usize::from(verdict == PASSES);
                    play.answer(&verdict);
                }
                6 if play.open => play.upstream_ends(),
                7 if play.open => {
                    play.upstream(OK, 1 + random.below(99));
                }
                8 => {
                    board.set([Standing::Restarting, Standing::Up { since: play.now }][random.below(2)]);
                    play.settle();
                }
                9 => play.wait(),
                _ => {}
            }
            assert!(play.opens <= let_in, "game {game}, seed {seed}");
            if play.closed {
                break;
            }
        }
        play.client_hangs_up();
        play.settle();
        play.wait();
        play.wait();
        assert!(play.closed, "game {game}, seed {seed}");
    }
}
