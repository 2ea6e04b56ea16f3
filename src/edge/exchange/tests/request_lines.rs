//! First lines, and what stands before them (RFC 9112 §2.2, §2.3, §3).

use super::corpus::{BAD, check};

/// A line, and what becomes of a request that has nothing else but `Host: localhost`.
const LINES: &[(&str, &[u8], &str)] = &[
    ("plain", b"GET /a HTTP/1.1", "GET /a"),
    ("HTTP/1.0 ends with its answer", b"GET /a HTTP/1.0", "GET /a end"),
    ("a method nobody knows", b"M-SEARCH /a HTTP/1.1", "M-SEARCH /a"),
    ("methods are case-sensitive", b"get /a HTTP/1.1", "get /a"),
    ("one empty line in front", b"\r\nGET /a HTTP/1.1", "GET /a"),
    // Before and between the parts.
    ("two empty lines in front", b"\r\n\r\nGET /a HTTP/1.1", BAD),
    ("LF in front", b"\nGET /a HTTP/1.1", BAD),
    ("CR in front", b"\rGET /a HTTP/1.1", BAD),
    ("CR CR LF in front", b"\r\r\nGET /a HTTP/1.1", BAD),
    ("space in front", b" GET /a HTTP/1.1", BAD),
    ("tab in front", b"\tGET /a HTTP/1.1", BAD),
    ("NUL in front", b"\0GET /a HTTP/1.1", BAD),
    ("byte order mark in front", b"\xef\xbb\xbfGET /a HTTP/1.1", BAD),
    ("two spaces before the target", b"GET  /a HTTP/1.1", BAD),
    ("two spaces before the version", b"GET /a  HTTP/1.1", BAD),
    ("tab before the target", b"GET\t/a HTTP/1.1", BAD),
    ("tab before the version", b"GET /a\tHTTP/1.1", BAD),
    ("vertical tab before the version", b"GET /a\x0bHTTP/1.1", BAD),
    ("space behind the version", b"GET /a HTTP/1.1 ", BAD),
    ("CR behind the version", b"GET /a HTTP/1.1\r", BAD),
    ("CR instead of CR LF", b"GET /a HTTP/1.1\rX: y", BAD),
    ("LF instead of CR LF", b"GET /a HTTP/1.1\nX: y", BAD),
    ("a second request line", b"GET /a HTTP/1.1\r\nGET /b HTTP/1.1", BAD),
    // Methods.
    ("no method", b"/a HTTP/1.1", BAD),
    ("method with a parenthesis", b"G(T /a HTTP/1.1", BAD),
    ("method with a colon", b"GET: /a HTTP/1.1", BAD),
    ("method with NUL", b"GE\0T /a HTTP/1.1", BAD),
    ("method with a high byte", b"G\xc9T /a HTTP/1.1", BAD),
    ("method that is too long (stricter)", b"AMETHODTHATISFARTOOLONGTOBETRUE /a HTTP/1.1", BAD),
    ("CONNECT with an authority", b"CONNECT localhost:80 HTTP/1.1", BAD),
    ("CONNECT with a path", b"CONNECT /a HTTP/1.1", BAD),
    ("connect in lower case", b"connect localhost:80 HTTP/1.1", BAD),
    // Versions.
    ("no version", b"GET /a", BAD),
    ("no target", b"GET HTTP/1.1", BAD),
    ("no target and no version", b"GET", BAD),
    ("nothing behind the target", b"GET /a ", BAD),
    ("HTTP/0.9", b"GET /a HTTP/0.9", "505 end"),
    ("HTTP/1.2 (stricter)", b"GET /a HTTP/1.2", "505 end"),
    ("HTTP/2.0", b"GET /a HTTP/2.0", "505 end"),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0", "505 end"),
    ("version in lower case", b"GET /a http/1.1", BAD),
    ("version without minor", b"GET /a HTTP/1", BAD),
    ("version without dot", b"GET /a HTTP/11", BAD),
    ("version with two digits", b"GET /a HTTP/1.10", BAD),
    ("version with a leading zero", b"GET /a HTTP/01.1", BAD),
    ("version with a sign", b"GET /a HTTP/+1.1", BAD),
    ("version of another protocol", b"GET /a HTTPS/1.1", BAD),
    ("version with space", b"GET /a HTTP /1.1", BAD),
    ("something behind the version", b"GET /a HTTP/1.1 x", BAD),
    ("something between target and version", b"GET /a b HTTP/1.1", BAD),
    // Forms of targets.
    ("absolute form", b"GET http://localhost/a?b HTTP/1.1", "GET /a?b"),
    ("absolute form, upper case", b"GET HTTP://LOCALHOST/a HTTP/1.1", "GET /a"),
    ("absolute form without a path", b"GET http://localhost HTTP/1.1", "GET /"),
    ("absolute form of another host (stricter)", b"GET http://evil.example/a HTTP/1.1", BAD),
    ("absolute form with the default port (stricter)", b"GET http://localhost:80/a HTTP/1.1", BAD),
    ("absolute form with user", b"GET http://u:p@localhost/a HTTP/1.1", BAD),
    ("absolute form with our host as user", b"GET http://localhost@evil.example/a HTTP/1.1", BAD),
    ("absolute form with a backslash", b"GET http://localhost\\@evil.example/a HTTP/1.1", BAD),
    ("absolute form with a query only", b"GET http://localhost?b HTTP/1.1", BAD),
    ("absolute form with a fragment only", b"GET http://localhost#b HTTP/1.1", BAD),
    ("absolute form without a host", b"GET http:///a HTTP/1.1", BAD),
    ("absolute form with one slash", b"GET http:/localhost/a HTTP/1.1", BAD),
    ("absolute form of another scheme", b"GET ftp://localhost/a HTTP/1.1", BAD),
    ("a scheme that is a script", b"GET javascript://localhost/a HTTP/1.1", BAD),
    ("authority form", b"GET localhost:80 HTTP/1.1", BAD),
    ("a path without a slash", b"GET a HTTP/1.1", BAD),
    ("a query without a path", b"GET ?a HTTP/1.1", BAD),
    ("asterisk", b"OPTIONS * HTTP/1.1", "OPTIONS *"),
    ("asterisk of another method", b"GET * HTTP/1.1", BAD),
    ("asterisk and more", b"OPTIONS *a HTTP/1.1", BAD),
    ("two slashes are a path", b"GET //evil.example/a HTTP/1.1", "GET //evil.example/a"),
    // What is wrong with a path only is told, and the next request is heard.
    ("fragment", b"GET /a#b HTTP/1.1", "400"),
    ("fragment behind the query", b"GET /a?b#c HTTP/1.1", "400"),
    ("backslash", b"GET /a\\b HTTP/1.1", "400"),
    ("encoded backslash", b"GET /a%5Cb HTTP/1.1", "400"),
    ("encoded slash", b"GET /a%2fb HTTP/1.1", "400"),
    ("encoded NUL", b"GET /a%00 HTTP/1.1", "400"),
    ("NUL", b"GET /a\0 HTTP/1.1", BAD),
    ("DEL", b"GET /a\x7f HTTP/1.1", BAD),
    ("a control character", b"GET /a\x1b HTTP/1.1", BAD),
    ("UTF-8 that is not encoded", b"GET /caf\xc3\xa9 HTTP/1.1", "400"),
    ("what is no UTF-8", b"GET /caf\xe9 HTTP/1.1", BAD),
    ("slash in two bytes", b"GET /a\xc0\xafb HTTP/1.1", BAD),
    ("slash in two encoded bytes", b"GET /a%c0%afb HTTP/1.1", "400"),
    ("dot in two encoded bytes", b"GET /%c0%ae%c0%ae/b HTTP/1.1", "400"),
    ("half an escape", b"GET /a% HTTP/1.1", "400"),
    ("an escape of no digits", b"GET /a%zz HTTP/1.1", "400"),
    ("above the root", b"GET /../a HTTP/1.1", "400"),
    ("above the root, encoded", b"GET /a/%2e%2E/.%2e/b HTTP/1.1", "400"),
    ("dot segments", b"GET /b/../a/./c/.. HTTP/1.1", "GET /a/"),
    ("encoded dot segments", b"GET /b/%2e%2e/a HTTP/1.1", "GET /a"),
    ("encoded twice stays encoded once", b"GET /%252e%252e/a HTTP/1.1", "GET /%252e%252e/a"),
    ("encoded letters", b"GET /%61 HTTP/1.1", "GET /a"),
    ("encoded line ends stay encoded", b"GET /a%0d%0aX:%20y HTTP/1.1", "GET /a%0D%0AX:%20y"),
    ("a query is nobody's business", b"GET /a?../%2f%00&b=\\ HTTP/1.1", "GET /a?../%2f%00&b=\\"),
];

#[test]
fn a_first_line_has_one_meaning_or_none() {
    for (name, line, expected) in LINES {
        check(name, &[line, &b"\r\nHost: localhost\r\n\r\n"[..]].concat(), expected);
    }
}

/// Whole requests, line ends and all.
const WHOLE: &[(&str, &[u8], &str)] = &[
    ("only LFs", b"GET /a HTTP/1.1\nHost: localhost\n\n", BAD),
    ("the last line end is LF", b"GET /a HTTP/1.1\r\nHost: localhost\r\n\n", BAD),
    ("LF CR instead of CR LF", b"GET /a HTTP/1.1\n\rHost: localhost\n\r\n\r", BAD),
    ("a request of HTTP/0.9", b"GET /a\r\n\r\n", BAD),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", BAD),
    ("a proxy's own protocol", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 80\r\nGET /a HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD),
    ("nothing", b"", ""),
    ("an empty line and nothing else", b"\r\n", ""),
    ("three empty lines", b"\r\n\r\n\r\n", BAD),
    ("half a head", b"GET /a HTTP/1.1\r\nHost: localhost\r\n", "waits"),
    ("HTTP/1.0 may leave the host out", b"GET /a HTTP/1.0\r\n\r\n", "GET /a end"),
    ("absolute form of HTTP/1.0 without a host (stricter)", b"GET http://localhost/a HTTP/1.0\r\n\r\n", BAD),
    ("HTTP/1.0 stays closed", b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /a end"),
    ("the last request", b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: x, Close\r\n\r\n", "GET /a end"),
    (
        "two requests",
        b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /a GET /b",
    ),
    (
        "a good one and a bad one",
        b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET /a 400 end",
    ),
    (
        "a bad one and a good one",
        b"GET /b HTTP/1.1\r\nHost : localhost\r\n\r\nGET /a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        BAD,
    ),
    (
        "an empty line behind a body",
        b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi\r\n",
        "POST /a hi",
    ),
];

#[test]
fn a_whole_request_has_one_meaning_or_none() {
    for (name, bytes, expected) in WHOLE {
        check(name, bytes, expected);
    }
}

/// For the mutations of `fuzz`.
pub(super) fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let lines = LINES.iter().map(|(_, line, _)| [line, &b"\r\nHost: localhost\r\n\r\n"[..]].concat());
    lines.chain(WHOLE.iter().map(|(_, bytes, _)| bytes.to_vec()))
}
