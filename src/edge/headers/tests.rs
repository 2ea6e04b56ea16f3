use super::*;
use crate::edge::date::Date;
use crate::edge::framing::Body;
use crate::edge::layer::Proxies;
use crate::edge::tests::mount as plain_mount;
use crate::edge::{head, path};
use crate::manifest::gates::{Gate, Needs};
use crate::manifest::mounts::Mount;
use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

/// The fields that the hub gets, without the two lines that every request has, as `name: value` lines.
fn passed(peer: &str, fields: &str) -> String {
    let text = String::from_utf8(written("GET /a?b", peer, fields, Recipient::Hub)).expect("text");
    let rest = text.strip_prefix("GET /a?b HTTP/1.1\r\nHost: Box\r\n").expect("the canonical beginning");
    rest.strip_suffix("\r\n\r\n").expect("an end").replace("\r\n", "\n")
}

fn written(line: &str, peer: &str, fields: &str, to: Recipient<'_>) -> Vec<u8> {
    let text = format!("{line} HTTP/1.1\r\nHost: Box\r\n{fields}\r\n");
    let request = head::request(text.as_bytes()).expect("a good head");
    let peer: SocketAddr = peer.parse().expect("address");
    let (proxies, fields) = (Proxies::default(), &request.fields);
    let (is_believed, layer) = (proxies.believe(peer.ip()), proxies.layer(peer.ip(), fields));
    let client = proxies.client_ip(peer.ip(), fields);
    let host = fields.first("x-forwarded-host").and_then(|host| std::str::from_utf8(host).ok());
    let from = Provenance {
        exchange: 7,
        peer,
        is_believed,
        layer,
        client,
        host: host.filter(|host| is_believed && *host == "public.example"),
    };
    let mut out = Vec::new();
    write_request(&request, &path::normalise(request.target).expect("path"), Body::Empty, &from, to, &mut out);
    out
}

fn mount(strip: bool, hub_credentials: bool) -> Mount {
    Mount { strip, hub_credentials, ..plain_mount("/wi ki") }
}

/// The request that a module gets, from this machine.
fn for_module(target: &str, fields: &str, mount: &Mount, websocket: bool) -> String {
    let to =
        Recipient::Module { mount, spelling: "/wi%20ki", websocket, is_hub_bearer: |value| value == b"Bearer hub" };
    String::from_utf8_lossy(&written(&format!("GET {target}"), "127.0.0.1:9", fields, to)).replace("\r\n", "\n")
}

#[test]
fn a_module_sees_its_own_paths() {
    for (target, strip, first, prefix) in [
        ("/wi%20ki/a?b=/wi", false, "GET /wi%20ki/a?b=/wi HTTP/1.1", None),
        ("/wi%20ki/a?b", true, "GET /a?b HTTP/1.1", Some("/wi%20ki")),
        ("/wi%20ki", true, "GET / HTTP/1.1", Some("/wi%20ki")),
        ("/wi%20ki/", true, "GET / HTTP/1.1", Some("/wi%20ki")),
        ("/wi%20ki?x", true, "GET /?x HTTP/1.1", Some("/wi%20ki")),
    ] {
        let request = for_module(target, "X-Forwarded-Prefix: /forged\r\n", &mount(strip, false), false);
        assert_eq!(request.lines().next(), Some(first), "{target}");
        let line = request.lines().find(|line| line.starts_with("X-Forwarded-Prefix"));
        assert_eq!(line.and_then(|line| line.strip_prefix("X-Forwarded-Prefix: ")), prefix, "{target}");
    }
}

#[test]
fn what_authenticates_to_the_hub_stays_with_the_hub() {
    for (fields, open, expected) in [
        ("Authorization: Bearer hub\r\n", false, ""),
        ("Authorization: Bearer hub\r\n", true, "Authorization: Bearer hub\n"),
        ("authorization: Bearer own\r\n", false, "authorization: Bearer own\n"),
        ("Cookie: a=1; parachute_hub_session=x;b=2\r\n", false, "Cookie: a=1; b=2\n"),
        ("Cookie: parachute_hub_csrf=x\r\n", false, ""),
        ("Cookie: parachute_hub_csrf=x; a=1\r\n", true, "Cookie: parachute_hub_csrf=x; a=1\n"),
        ("Cookie: a=parachute_hub_; b=\r\n", false, "Cookie: a=parachute_hub_; b=\n"),
        ("Cookie: a=1;b=2;;\r\n", false, "Cookie: a=1;b=2;;\n"),
        ("Cookie: a=1;; parachute_hub_csrf=x;\r\n", false, "Cookie: a=1\n"),
        ("X-Text: caf\u{e9}\r\n", false, "X-Text: caf\u{e9}\n"),
        ("X-Text: a;parachute_hub_csrf=x\r\n", false, "X-Text: a;parachute_hub_csrf=x\n"),
        ("X-Text: Bearer hub\r\n", false, "X-Text: Bearer hub\n"),
    ] {
        let request = for_module("/wi%20ki", fields, &mount(false, open), false);
        let expected = format!(
            "GET /wi%20ki HTTP/1.1\nHost: Box\n{expected}X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\n\
             X-Forwarded-Host: Box\nX-Parachute-Layer: loopback\nX-Parachute-Client-IP: 127.0.0.1\n\n"
        );
        assert_eq!(request, expected, "{fields:?}");
    }
}

#[test]
fn no_field_names_another_path_where_not_everybody_may_see_all() {
    let fields = "X-Original-URL: /a\r\nx_rewrite_url: /a\r\nX-Original-URI: /a\r\nX-Original: /a\r\n";
    let gate = Gate { path: "/wi ki/app".to_owned(), needs: Needs::NONE };
    for (gates, kept) in [(None, 4), (Some([gate].into()), 1)] {
        let request = for_module("/wi%20ki", fields, &Mount { gates, ..mount(false, false) }, false);
        assert_eq!(request.matches(": /a\n").count(), kept, "{request}");
    }
}

#[test]
fn a_websocket_is_asked_for_in_our_own_words() {
    let fields = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
    let request = for_module("/wi%20ki", fields, &mount(false, false), true);
    assert!(request.contains("\nSec-WebSocket-Key: k\n"), "{request}");
    assert!(request.ends_with("\nConnection: Upgrade\nUpgrade: websocket\n\n"), "{request}");
    let plain = for_module("/wi%20ki", fields, &mount(false, false), false);
    assert!(!plain.contains("Upgrade"), "{plain}");
    let response = head::response(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
          Set-Cookie: parachute_hub_session=x\r\nSec-WebSocket-Accept: a\r\n\r\n",
    );
    let mut out = Vec::new();
    write_switch(&response.expect("a good head"), &mut out);
    let expected = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: a\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn what_only_a_proxy_can_know_is_believed_from_this_machine_only() {
    let fields = "X-Real-IP: 1.2.3.4\r\nCF-Connecting-IP: 1.2.3.4\r\nTailscale-User-Login: a@b\r\nAccept: */*\r\n";
    let mount = mount(false, false);
    let to = Recipient::Module { mount: &mount, spelling: "/wi%20ki", websocket: false, is_hub_bearer: |_| false };
    for (peer, kept, client) in [("127.0.0.1:9", 4, "1.2.3.4"), ("10.0.0.1:9", 1, "10.0.0.1")] {
        let text = String::from_utf8(written("GET /x", peer, fields, to)).expect("text");
        let said = text.lines().filter(|line| fields.contains(line) && line.contains(": ")).count();
        assert_eq!(said, kept, "{peer}: {text}");
        assert!(text.contains(&format!("X-Parachute-Client-IP: {client}\r\n")), "{peer}: {text}");
    }
}

#[test]
fn pages_of_modules_are_kept_out_of_foreign_frames() {
    for (fields, by, expected) in [
        ("Content-Type: text/html\r\n", Author::Module, 2),
        ("Content-Type: Text/HTML; charset=x\r\n", Author::Module, 2),
        ("Content-Type: text/html\r\n", Author::Hub, 0),
        ("Content-Type: text/plain\r\n", Author::Module, 0),
        ("Content-Type: text/html\r\nX-Frame-Options: DENY\r\n", Author::Module, 1),
        ("Content-Type: text/html\r\nContent-Security-Policy: default-src 'self'\r\n", Author::Module, 2),
        ("Content-Type: text/html\r\nContent-Security-Policy: img-src frame-ancestors\r\n", Author::Module, 2),
        ("Content-Type: text/html\r\nContent-Security-Policy: a;\tFrame-Ancestors *\r\n", Author::Module, 1),
        ("Content-Type: text/html\r\nContent-Security-Policy: a, frame-ancestors\r\n", Author::Module, 1),
        (
            "Content-Type: text/html\r\nContent-Security-Policy: a\r\nContent-Security-Policy: frame-ancestors a\r\n\
             X-Content-Type-Options: nosniff\r\n",
            Author::Module,
            0,
        ),
        ("Content-Type: text/html\r\nContent-Security-Policy-Report-Only: frame-ancestors a\r\n", Author::Module, 2),
    ] {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{fields}Set-Cookie: parachute_hub_session=x\r\nSet-Cookie: a=b\r\n\
                set-cookie: =parachute_hub_session=y\r\nSet-Cookie: = \t= parachute_hub_csrf\r\n\r\n"
        );
        let response = head::response(head.as_bytes()).expect("a good head");
        let mut out = Vec::new();
        write_response(
            &response,
            Framed { body: Body::UntilClose, close: false, date: None, is_private: false },
            by,
            &mut out,
        );
        let text = String::from_utf8(out).expect("text");
        let added = text.lines().filter(|line| !head.contains(line)).count();
        assert_eq!(added, expected, "{fields:?}: {text}");
        assert!(text.matches("nosniff").count() <= 1, "{fields:?}: {text}");
        assert_eq!(text.contains("parachute_hub_"), by == Author::Hub, "{text}");
        assert!(text.contains("Set-Cookie: a=b\r\n"), "{text}");
    }
}

const LOCAL_END: &str = "X-Forwarded-For: 127.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: Box\n\
    X-Parachute-Layer: loopback\nX-Parachute-Client-IP: 127.0.0.1\nX-Parachute-Exchange: 7\nConnection: close";

#[test]
fn only_end_to_end_fields_reach_the_hub() {
    for (fields, expected) in [
        ("", ""),
        ("Accept: */*\r\nCookie: a=b\r\n", "Accept: */*\nCookie: a=b\n"),
        ("Accept-Encoding: gzip\r\nAuthorization: Bearer x\r\n", "Accept-Encoding: gzip\nAuthorization: Bearer x\n"),
        ("Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-Stay: 2\r\n", "X-Stay: 2\n"),
        ("Connection: a\r\nConnection: b\r\nA: 1\r\nB: 2\r\nC: 3\r\n", "C: 3\n"),
        ("Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nTrailer: X\r\nUpgrade: websocket\r\n", ""),
        ("Proxy-Authorization: x\r\nProxy-Authenticate: y\r\nExpect: 100-continue\r\n", ""),
        ("X-Parachute-Layer: loopback\r\nx-parachute-client-ip: 1\r\nX-PARACHUTE-Exchange: 1\r\n", ""),
        ("x_parachute_layer: loopback\r\nX-Parachute_Client_IP: 1\r\n", ""),
        ("Transfer_Encoding: chunked\r\nContent_Length: 5\r\nX_Own: 1\r\n", "X_Own: 1\n"),
        ("Upgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", ""),
        ("X-Text: caf\u{e9}\r\nX-Stay: 2\r\n", "X-Stay: 2\n"),
        ("X-Text: parachute_hub_csrf=x; caf\u{e9}\r\n", ""),
        ("Cookie: a=caf\u{e9}; parachute_hub_csrf=x\r\n", "Cookie: parachute_hub_csrf=x\n"),
        ("Cookie: a=caf\u{e9}\r\n", ""),
    ] {
        assert_eq!(passed("127.0.0.1:9", fields), format!("{expected}{LOCAL_END}"), "{fields:?}");
    }
    // As good as said by a proxy, and not believed.
    let public_end = LOCAL_END.replace("loopback", "public");
    assert_eq!(passed("127.0.0.1:9", "X_Forwarded_For: 1.2.3.4\r\n"), public_end);
}

/// Servers wait for a body, or refuse the request, where one is usual and nothing says that there is none.
#[test]
fn a_request_that_usually_has_a_body_says_that_it_has_none() {
    for (method, is_said) in [("GET", false), ("DELETE", false), ("POST", true), ("PUT", true), ("PATCH", true)] {
        let request = written(&format!("{method} /a"), "127.0.0.1:9", "", Recipient::Hub);
        let request = String::from_utf8(request).expect("text");
        assert_eq!(request.contains("\r\nContent-Length: 0\r\n"), is_said, "{request}");
    }
}

#[test]
fn forwarding_fields_are_believed_from_this_machine_only() {
    let said = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Host: public.example\r\nForwarded: for=1.2.3.4\r\nForwarded: for=5.6.7.8, for=unknown\r\n";
    for (peer, expected) in [
        (
            "127.0.0.1:9",
            "X-Forwarded-For: 1.2.3.4, 5.6.7.8, 127.0.0.1\nX-Forwarded-Proto: https\n\
             X-Forwarded-Host: public.example\nForwarded: for=1.2.3.4, for=5.6.7.8, for=unknown, for=127.0.0.1\n\
             X-Parachute-Layer: public\nX-Parachute-Client-IP: 5.6.7.8\nX-Parachute-Exchange: 7\nConnection: close",
        ),
        (
            "10.0.0.1:9",
            "X-Forwarded-For: 10.0.0.1\nX-Forwarded-Proto: http\nX-Forwarded-Host: Box\n\
             X-Parachute-Layer: public\nX-Parachute-Client-IP: 10.0.0.1\nX-Parachute-Exchange: 7\nConnection: close",
        ),
    ] {
        assert_eq!(passed(peer, said), expected, "{peer}");
    }
    for (said, expected) in [
        ("X-Forwarded-Proto: HTTPS, http\r\n", "X-Forwarded-Proto: https\nX-Forwarded-Host: Box\n"),
        ("X-Forwarded-Proto: javascript\r\n", "X-Forwarded-Proto: http\nX-Forwarded-Host: Box\n"),
        ("X-Forwarded-Host: evil.example\r\n", "X-Forwarded-Proto: http\nX-Forwarded-Host: Box\n"),
        (
            "X-Forwarded-For:\r\nX-Forwarded-For: caf\u{e9}\r\nX-Forwarded-For: 1.2.3.4\r\n",
            "X-Forwarded-For: 1.2.3.4, ::1\n",
        ),
        ("Forwarded: for=a\r\n", "X-Forwarded-Host: Box\nForwarded: for=a, for=\"[::1]\"\n"),
    ] {
        assert!(passed("[::1]:9", said).contains(expected), "{said:?}");
    }
}

#[test]
fn an_answer_loses_what_was_meant_for_us() {
    for (head, body, close, expected) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Type: a\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nContent-Length: 3\r\n\r\n",
            Body::Length(3),
            false,
            "HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Length: 3\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 Very good\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nX-Parachute-Layer: x\r\n\r\n",
            Body::Chunked,
            true,
            "HTTP/1.1 200 Very good\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"x\"\r\n\r\n",
            Body::Empty,
            false,
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n",
        ),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", Body::Empty, false, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "HTTP/1.1 204 No Content\r\nContent-Length: 00\r\n\r\n",
            Body::Empty,
            false,
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 00\r\n\r\n",
            Body::Empty,
            false,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0012\r\n\r\n",
            Body::Empty,
            false,
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 012\r\n\r\n",
            Body::Length(12),
            false,
            "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
        ),
        (
            "HTTP/1.1 304 Not Modified\r\nConnection: Content-Length\r\nContent-Length: 09\r\n\r\n",
            Body::Empty,
            false,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        ),
        ("HTTP/1.0 200\r\n\r\n", Body::UntilClose, true, "HTTP/1.1 200 \r\nConnection: close\r\n\r\n"),
    ] {
        let response = head::response(head.as_bytes()).expect("a good head");
        let mut out = Vec::new();
        write_response(&response, Framed { body, close, date: None, is_private: false }, Author::Hub, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}

#[test]
fn what_an_answer_says_to_us_alone_is_said_to_the_client_anew() {
    const HTML: &str = "Content-Type: text/html\r\n";
    const SAFETY: &str = "X-Content-Type-Options: nosniff\nContent-Security-Policy: frame-ancestors 'self'\n";
    let date = Date::of(SystemTime::UNIX_EPOCH).expect("a date");
    let dated = "Date: Thu, 01 Jan 1970 00:00:00 GMT\n";
    for (connection, said, expected) in [
        ("X", "Date: x\r\nCache-Control: no-store\r\n".to_owned(), "Date: x\nCache-Control: no-store\n".to_owned()),
        ("date", "Date: x\r\nCache-Control: no-store\r\n".to_owned(), format!("Cache-Control: no-store\n{dated}")),
        (
            "Cache-Control, X",
            "Date: x\r\nCache-Control: no-store\r\n".to_owned(),
            "Date: x\nCache-Control: private\n".to_owned(),
        ),
        (
            "Date, Content-Type, X-Content-Type-Options",
            format!("Date: x\r\n{HTML}X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"),
            format!("X-Frame-Options: DENY\nX-Content-Type-Options: nosniff\nCache-Control: private\n{dated}"),
        ),
        (
            "X-Frame-Options, x-content-type-options",
            format!("{HTML}X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"),
            format!("Content-Type: text/html\n{SAFETY}Cache-Control: private\n{dated}"),
        ),
        (
            "Content-Security-Policy",
            format!("{HTML}Content-Security-Policy: frame-ancestors a\r\n"),
            format!("Content-Type: text/html\n{SAFETY}Cache-Control: private\n{dated}"),
        ),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: {connection}\r\n{said}\r\n");
        let response = head::response(head.as_bytes()).expect("a good head");
        let framed = Framed { body: Body::UntilClose, close: false, date: Some(date), is_private: true };
        let mut out = Vec::new();
        write_response(&response, framed, Author::Module, &mut out);
        let text = String::from_utf8(out).expect("text").replace("\r\n", "\n");
        assert_eq!(text, format!("HTTP/1.1 200 OK\n{expected}\n"), "{connection}");
    }
}

#[test]
fn numbers_and_addresses_are_written_as_std_shows_them() {
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    };
    for number in [0, 9, 10, 99, 100, 404, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(written(&|out| write_number(number, out)), number.to_string());
    }
    for text in ["0.0.0.0", "127.0.0.1", "255.10.0.99", "::1", "::ffff:1.2.3.4", "2001:db8::1"] {
        let address: IpAddr = text.parse().expect("an address");
        assert_eq!(written(&|out| write_address(address, out)), address.to_string());
    }
}

#[test]
fn names_of_any_length_are_found_and_left_out() {
    let long = "x".repeat(70);
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: 1\r\nTE: 2\r\nConnection: Keep-Alive, {long}, te\r\n\r\n");
    let request = head::request(text.as_bytes()).expect("a good head");
    assert!(names_some(&request.fields));
    let passed_on = |field: &Field<'_>| !is_hop_by_hop(*field, &request.fields, true);
    let kept: Vec<&str> = request.fields.iter().filter(passed_on).map(|field| field.name).collect();
    assert_eq!(kept, ["Host"]);
    for (value, expected) in
        [("keep-alive", false), (" Upgrade ,keep-alive,", false), ("close", true), ("x, upgrade", true)]
    {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {value}\r\n\r\n");
        let request = head::request(text.as_bytes()).expect("a good head");
        assert_eq!(names_some(&request.fields), expected, "{value}");
    }
}

#[test]
fn what_any_module_has_set_takes_nobodys_cookie_of_the_hub_away() {
    for (value, expected) in [
        (
            &b"a=1; parachute_hub_session=x; theme=d\xc3\xbcnkel;parachute_hub_csrf=y"[..],
            "parachute_hub_session=x; parachute_hub_csrf=y",
        ),
        (b"theme=d\xfcnkel", ""),
        (b"parachute_hub_session=\xff; parachute_hub_csrf=y", "parachute_hub_csrf=y"),
    ] {
        assert_eq!(String::from_utf8(hub_cookies(value)).expect("ASCII"), expected);
    }
}
