use super::*;
use crate::edge::head;
use crate::edge::layer::Proxies;
use std::net::Ipv4Addr;

const AT_MS: u64 = 1_767_323_045_006;

/// What is logged of this request in both formats, 1.5 ms after it began.
fn logged(head: &[u8], outcome: Outcome<'_>) -> (String, serde_json::Value, String) {
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 5000));
    let (start, wall) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_millis(AT_MS));
    let now = start + Duration::from_micros(1500);
    let line = |format| {
        let mut journal = Journal::new(Some(format), (start, wall));
        journal.set_clocks((now, wall + Duration::from_micros(1500)));
        let entry = match head::request(head) {
            Ok(request) => {
                let client = Proxies::default().client_ip(peer.ip(), &request.fields);
                journal.open(&request, peer, client, start)
            }
            Err(_) => journal.open_unread(head, peer, start),
        };
        journal.close(entry, &outcome, now);
        let (text, lines) = journal.take().expect("a line");
        assert!(lines == 1 && journal.take().is_none());
        let text = String::from_utf8(text).expect("ASCII");
        assert!(text.trim_end_matches('\n').bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
        assert_eq!(text.find('\n'), Some(text.len() - 1), "one line: {text:?}");
        text.trim_end().to_owned()
    };
    let json = line(AccessFormat::Json);
    let value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    (line(AccessFormat::Combined), value, json)
}

fn outcome(status: u16, by: Author<'_>, bytes: u64) -> Outcome<'_> {
    Outcome { status: Some(status), by, bytes, received_bytes: 0, complete: true }
}

#[test]
fn a_line_says_who_asked_what_and_what_became_of_it() {
    let head = b"GET /wiki/a?b=c HTTP/1.1\r\nHost: hub.example:8443\r\nX-Forwarded-For: 203.0.113.7\r\n\
        Referer: https://a.example/?code=1\r\nUser-Agent: curl/8\r\nX-Request-ID: r-1\r\n\
        Authorization: Bearer hush\r\nCookie: a=hush\r\nProxy-Authorization: hush\r\n\r\n";
    let by = Author::Module("wiki");
    let whole = Outcome { status: Some(200), by, bytes: 12, received_bytes: 3, complete: false };
    let (combined, json, text) = logged(head, whole);
    assert_eq!(
        combined,
        "203.0.113.7 - - [02/Jan/2026:03:04:05 +0000] \"GET /wiki/a?b=c HTTP/1.1\" 200 12 \
         \"https://a.example/?code=***\" \"curl/8\""
    );
    let expected = "{\"time\":\"2026-01-02T03:04:05.006Z\",\"client\":\"203.0.113.7\",\"peer\":\"127.0.0.1\",\
        \"method\":\"GET\",\"path\":\"/wiki/a?b=c\",\"protocol\":\"HTTP/1.1\",\"host\":\"hub.example:8443\",\
        \"status\":200,\"bytes\":12,\"received_bytes\":3,\"duration_ms\":1.5,\"module\":\"wiki\",\
        \"answered_by\":\"module\",\"complete\":false,\"referer\":\"https://a.example/?code=***\",\
        \"user_agent\":\"curl/8\",\"request_id\":\"r-1\"}";
    assert_eq!(text, expected);
    assert!(!combined.contains("hush") && !text.contains("hush"), "{json}");
}

#[test]
fn what_is_not_there_is_a_dash_or_null() {
    let (combined, json, _) = logged(b"GET / HTTP/1.0\r\n\r\n", outcome(304, Author::Hub, 0));
    assert!(combined.ends_with("] \"GET / HTTP/1.0\" 304 - \"-\" \"-\""), "{combined}");
    for field in ["host", "module", "referer", "user_agent", "request_id"] {
        assert!(json[field].is_null(), "{field}: {json}");
    }
    assert_eq!((&json["answered_by"], &json["bytes"]), (&"hub".into(), &0.into()));
    let gone = Outcome { status: None, by: Author::Edge(Some("wiki")), bytes: 0, received_bytes: 0, complete: false };
    let (combined, json, _) = logged(b"GET / HTTP/1.0\r\n\r\n", gone);
    assert!(combined.contains("\" 499 - \""), "{combined}");
    assert_eq!((&json["status"], &json["module"], &json["answered_by"]), (&499.into(), &"wiki".into(), &"edge".into()));
}

#[test]
fn no_byte_of_a_client_leaves_its_place() {
    for (agent, combined, json) in [
        (&b"a\" 200 1 \"b"[..], "\"a\\\" 200 1 \\\"b\"", "a\" 200 1 \"b"),
        (b"a\\", "\"a\\\\\"", "a\\"),
        (b"a\tb", "\"a\\x09b\"", "a\tb"),
        (b"caf\xc3\xa9", "\"caf\\xc3\\xa9\"", "caf\u{e9}"),
        (b"\xff\xfe", "\"\\xff\\xfe\"", "\u{fffd}\u{fffd}"),
        // A terminal takes the first for the start of a command, and a viewer turns the line at the second.
        (b"\xc2\x9b31m", "\"\\xc2\\x9b31m\"", "\u{9b}31m"),
        (b"\xe2\x80\xae", "\"\\xe2\\x80\\xae\"", "\u{202e}"),
        (b"\xf0\x9f\x98\x80", "\"\\xf0\\x9f\\x98\\x80\"", "\u{1f600}"),
    ] {
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: ", agent, b"\r\n\r\n"].concat();
        let (line, value, _) = logged(&head, outcome(200, Author::Hub, 1));
        assert!(line.ends_with(combined), "{line} {combined}");
        assert_eq!(value["user_agent"], json, "{line}");
    }
}

#[test]
fn a_head_that_is_none_is_shown_for_what_it_looks_like() {
    for (head, combined, method, path, protocol) in [
        (&b""[..], "\"\"", None, "", None),
        (b"\r\n", "\"\"", None, "", None),
        (b"GET", "\"GET\"", None, "GET", None),
        (b"GET /a", "\"GET /a\"", Some("GET"), "/a", None),
        (
            b"GET /a?token=x HTTP/1.1\nHost: a",
            "\"GET /a?token=*** HTTP/1.1\"",
            Some("GET"),
            "/a?token=***",
            Some("HTTP/1.1"),
        ),
        (b"GET /a?token=x y z HTTP/9\r\n", "\"GET /a?token=*** HTTP/9\"", Some("GET"), "/a?token=***", Some("HTTP/9")),
        (b"GET /a?token=x HTTP/1.1=y\r\n", "\"GET /a?token=***\"", Some("GET"), "/a?token=***", None),
        (b"/a?token=x GET HTTP/1.1\r\n", "\"/a?token=*** HTTP/1.1\"", None, "/a?token=***", Some("HTTP/1.1")),
        (b"token=x\r\n", "\"token=***\"", None, "token=***", None),
        (
            b"\x16\x03\x01\x00\xa5\x01\r\n",
            "\"\\x16\\x03\\x01\\x00\\xa5\\x01\"",
            None,
            "\u{16}\u{3}\u{1}\0\u{fffd}\u{1}",
            None,
        ),
        (b"\x1b[31mGET / HTTP/1.1\r\n", "\"\\x1b[31mGET / HTTP/1.1\"", None, "\u{1b}[31mGET /", Some("HTTP/1.1")),
    ] {
        let (line, value, _) = logged(head, outcome(400, Author::Edge(None), 1));
        assert!(line.contains(&format!("] {combined} 400 1 \"-\"")), "{line} {combined}");
        let got = (value["method"].as_str(), value["path"].as_str(), value["protocol"].as_str());
        assert_eq!(got, (method, Some(path), protocol), "{line}");
    }
}

#[test]
fn a_line_has_an_end() {
    let long = "x".repeat(10_000);
    for head in [
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nReferer: {long}\r\nUser-Agent: {long}\r\nX-Request-ID: {long}\r\n\r\n"),
        format!("{long} / HTTP/1.1"),
        format!("G / HTTP/{long}"),
        "\u{1}".repeat(16 * 1024),
    ] {
        let (combined, _, json) = logged(head.as_bytes(), outcome(200, Author::Hub, 1));
        let most = 6 * (2 * ADDRESS_BYTES + 4 * FIELD_BYTES) + 1000;
        assert!(combined.len() < most && json.len() < most, "{} {}", combined.len(), json.len());
        assert!(combined.contains("..."), "{combined}");
    }
}

#[test]
fn nothing_is_kept_while_nobody_asks_for_it() {
    let mut journal = Journal::new(None, (Instant::now(), SystemTime::UNIX_EPOCH));
    let request = head::request(b"GET / HTTP/1.0\r\n\r\n").expect("a good head");
    let entry = journal.open(&request, (Ipv4Addr::LOCALHOST, 1).into(), Ipv4Addr::LOCALHOST.into(), Instant::now());
    assert!(entry.is_none() && !journal.is_on());
    journal.close(entry, &outcome(200, Author::Hub, 1), Instant::now());
    assert!(journal.take().is_none());
}
