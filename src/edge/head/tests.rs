use super::*;
use crate::sys::testrandom::Random;

/// What the whole way from bytes to a checked head says: the end is found first, then it is read.
fn read(bytes: &[u8]) -> Result<(String, String), BadHead> {
    let mut scanned = 0;
    let end = end(bytes, &mut scanned)?.ok_or(BadHead::TooLarge)?;
    let request = request(bytes.get(..end).expect("an end within"))?;
    Ok((request.method.to_owned(), request.target.to_owned()))
}

#[test]
fn a_good_head_is_read() {
    for (text, method, target) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/"),
        ("GET / HTTP/1.0\r\n\r\n", "GET", "/"),
        ("GET /a?b HTTP/1.1\r\nhOsT:a\r\n\r\n", "GET", "/a?b"),
        ("GET / HTTP/1.1\r\nHost:\t a:80 \t\r\n\r\n", "GET", "/"),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET", "/"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n", "GET", "/"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: caf\u{e9}\r\n\r\n", "GET", "/"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\r\n\r\n", "GET", "/"),
        ("M-SEARCH /x HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH", "/x"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS", "*"),
        ("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/b?c"),
        ("GET HTTP://A:80/ HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET", "/"),
        ("GET https://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/"),
    ] {
        assert_eq!(read(text.as_bytes()), Ok((method.to_owned(), target.to_owned())), "{text:?}");
    }
}

#[test]
fn a_head_that_two_readers_could_take_for_two_things_is_refused() {
    use BadHead as Bad;
    for (text, expected) in [
        // Line ends.
        ("GET / HTTP/1.1\nHost: a\n\n", Bad::BareLineEnd),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Bad::BareLineEnd),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Bad::BareLineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Bad::BareLineEnd),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::BareLineEnd),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", Bad::BareLineEnd),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Bad::BareLineEnd),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", Bad::FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Bad::FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n", Bad::BareLineEnd),
        // The first line.
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Bad::BareLineEnd),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET /\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET\r\n\r\n", Bad::RequestLine),
        ("GET / \r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("/ HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("AMETHODTHATISFARTOOLONGTOBETRUE / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::Method),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", Bad::Method),
        ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", Bad::Method),
        // Versions.
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Bad::Version),
        ("PRI * HTTP/2.0\r\n\r\n", Bad::Version),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Bad::Version),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", Bad::Version),
        ("GET / HTTP/1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", Bad::BareLineEnd),
        ("GET / HTTP/01.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET / HTTP/x.1\r\nHost: a\r\n\r\n", Bad::RequestLine),
        ("GET / HTTP/1.x\r\nHost: a\r\n\r\n", Bad::RequestLine),
        // Fields.
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(: b\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\0\r\n\r\n", Bad::FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n", Bad::FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", Bad::FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n", Bad::FieldValue),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", Bad::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tc\r\n\r\n", Bad::FieldName),
        // Hosts.
        ("GET / HTTP/1.1\r\n\r\n", Bad::MissingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Bad::SeveralHosts),
        ("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", Bad::SeveralHosts),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Bad::SeveralHosts),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: a:\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: a:0\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: [a]\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: .a\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: .\r\n\r\n", Bad::Host),
        ("GET / HTTP/1.1\r\nHost: caf\u{e9}\r\n\r\n", Bad::Host),
        // Targets.
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", Bad::Target),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Bad::Target),
        ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", Bad::Target),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Bad::Target),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Bad::Target),
        ("GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", Bad::Target),
        ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Bad::TargetIsNotHost),
        ("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", Bad::TargetIsNotHost),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Bad::TargetIsNotHost),
        ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", Bad::TargetIsNotHost),
        ("GET http://a/ HTTP/1.0\r\n\r\n", Bad::TargetIsNotHost),
    ] {
        let refused = read(text.as_bytes());
        assert_eq!(refused, Err(expected), "{text:?}");
        assert!((400..=505).contains(&expected.status()), "{text:?}");
    }
}

#[test]
fn a_head_has_limits() {
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert!(read(fields(MAX_FIELDS).as_bytes()).is_ok());
    assert_eq!(read(fields(MAX_FIELDS + 1).as_bytes()), Err(BadHead::TooManyFields));

    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let filled = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame));
    assert!(read(filled(MAX_HEAD_BYTES).as_bytes()).is_ok());
    assert_eq!(read(filled(MAX_HEAD_BYTES + 1).as_bytes()), Err(BadHead::TooLarge));
    let mut scanned = 0;
    assert_eq!(end(&vec![b'x'; MAX_HEAD_BYTES], &mut scanned), Err(BadHead::TooLarge));
    let bad_line_behind = [vec![b'x'; MAX_HEAD_BYTES], b"\n\r\n".to_vec()].concat();
    assert_eq!(end(&bad_line_behind, &mut 0), Err(BadHead::TooLarge));
}

#[test]
fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
    let (long, too_long) = ("x".repeat(253), "x".repeat(254));
    for (host, expected) in [
        ("a", Some("a")),
        ("my-box_1.a.example:8080", Some("my-box_1.a.example")),
        ("a.example.", Some("a.example")),
        ("[::1]:80", Some("::1")),
        ("[::1]", Some("::1")),
        (&long, Some(&*long)),
        (&too_long, None),
        ("", None),
        (".", None),
        (".a", None),
        ("a:", None),
        ("a:0", None),
        ("a:65536", None),
        ("a:+80", None),
        ("a/b", None),
        ("u@a", None),
        ("[::1", None),
        ("[::1]x", None),
        ("[a]", None),
    ] {
        assert_eq!(host_name(host), expected, "{host:?}");
    }
}

#[test]
fn the_end_is_found_however_the_bytes_arrive() {
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n",
        "\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "a\r\n\r\r\n\r\n",
    ] {
        let whole = end(text.as_bytes(), &mut 0);
        let mut scanned = 0;
        let piecemeal = (1..=text.len())
            .map(|length| end(text.as_bytes().get(..length).expect("within"), &mut scanned))
            .find(|found| *found != Ok(None));
        assert_eq!(piecemeal, Some(whole), "{text:?}");
    }
}

#[test]
fn an_answers_head_is_read_as_strictly() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\n\r\n", Ok(200)),
        ("HTTP/1.0 404\r\n\r\n", Ok(404)),
        ("HTTP/1.1 599 Whatever it takes\r\nA: b\r\n\r\n", Ok(599)),
        ("HTTP/1.1 600 No\r\n\r\n", Err(BadHead::StatusLine)),
        ("HTTP/1.1 099 No\r\n\r\n", Err(BadHead::StatusLine)),
        ("HTTP/1.1 20 OK\r\n\r\n", Err(BadHead::StatusLine)),
        ("HTTP/1.1 2000 OK\r\n\r\n", Err(BadHead::StatusLine)),
        ("HTTP/2 200 OK\r\n\r\n", Err(BadHead::Version)),
        ("ICY 200 OK\r\n\r\n", Err(BadHead::Version)),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", Err(BadHead::StatusLine)),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Err(BadHead::FieldName)),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Err(BadHead::FieldName)),
        ("HTTP/1.1 200 OK\r\nA: \x01\r\n\r\n", Err(BadHead::FieldValue)),
    ] {
        assert_eq!(response(text.as_bytes()).map(|response| response.status), expected, "{text:?}");
    }
}

#[test]
fn another_protocol_is_known_by_its_first_bytes() {
    for (bytes, expected) in [
        ("", true),
        ("H", true),
        ("HTTP/1.", true),
        ("HTTP/1.1 200 OK", true),
        ("HTTP/2 200", false),
        ("http/1.1 200", false),
        ("SSH-2.0-OpenSSH", false),
        ("\r\nHTTP/1.1 200", false),
    ] {
        assert_eq!(may_begin_answer(bytes.as_bytes()), expected, "{bytes:?}");
    }
}

#[test]
fn mutated_heads_are_refused_or_harmless() {
    let mut random = Random::new();
    let seed = random.seed;
    let good =
        b"POST /a/b?c=d HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 5\r\nX: y\r\nConnection: close\r\n\r\n";
    let spice = [b'\r', b'\n', b' ', b'\t', b':', 0, 0x7f, 0xff, b'a', b'/', b',', b'%'];
    for _ in 0..5_000 {
        let mut bytes = good.to_vec();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            let byte = spice[random.below(spice.len())];
            match random.below(3) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let Ok(Some(end)) = end(&bytes, &mut 0) else { continue };
        let Ok(request) = request(&bytes[..end]) else { continue };
        let shown = String::from_utf8_lossy(&bytes);
        let clean = |text: &str| text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        assert!(clean(request.method) && clean(request.target), "{shown:?}, seed {seed}");
        assert!(request.target.starts_with('/'), "{shown:?}, seed {seed}");
        assert_eq!(request.fields.all("host").count(), 1, "{shown:?}, seed {seed}");
        for field in request.fields.iter() {
            let control = |byte: &u8| *byte < b' ' && *byte != b'\t';
            assert!(clean(field.name) && !field.value.iter().any(control), "{shown:?}, seed {seed}");
        }
    }
}

#[test]
fn no_place_in_a_value_lets_a_control_character_through() {
    // The parser looks at many bytes at a time, and at the last ones in another way.
    for (place, byte) in (0..70).flat_map(|place| (0..=255).map(move |byte| (place, byte))) {
        let value = [b"a".repeat(place), vec![byte], b"b".repeat(70 - place)].concat();
        let fields = |first: &[u8]| [first, b"\r\nHost: a\r\nX: ", &value[..], b"\r\n\r\n"].concat();
        let (request_head, response_head) = (fields(b"GET / HTTP/1.1"), fields(b"HTTP/1.1 200 OK"));
        let read = [
            request(&request_head).map(|request| request.fields.first("x") == Some(value.trim_ascii())),
            response(&response_head).map(|response| response.fields.first("x") == Some(value.trim_ascii())),
        ];
        let good = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        for read in read {
            assert!(if good { read == Ok(true) } else { read.is_err() }, "{byte:#x} at {place}: {read:?}");
        }
    }
}

#[test]
fn an_end_is_found_wherever_the_bytes_are_cut() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\nbody\n";
    let ends = head.len() - b"body\n".len();
    for first in 0..=head.len() {
        for second in first..=head.len() {
            let mut scanned = 0;
            let found: Vec<_> = [first, second, head.len()].map(|cut| end(&head[..cut], &mut scanned)).into();
            let expected = [first, second, head.len()].map(|cut| Ok((cut >= ends).then_some(ends)));
            // What has been found is not looked for again.
            let until = expected.iter().position(|found| *found != Ok(None)).unwrap_or_default();
            assert_eq!(found[..=until], expected[..=until], "{first}, {second}");
        }
    }
}
