//! Where a request's body ends (RFC 9112 §6, §7): the lies that request smuggling is made of.

use super::corpus::{BAD, check, check_for_module};

/// Field lines, what comes behind the head, and what becomes of a POST with them.
const BODIES: &[(&str, &[u8], &[u8], &str)] = &[
    ("no body", b"", b"", "POST /a"),
    ("a length", b"Content-Length: 5\r\n", b"hello", "POST /a hello"),
    ("a length of nothing", b"Content-Length: 0\r\n", b"", "POST /a"),
    ("a length with zeros in front", b"Content-Length: 0005\r\n", b"hello", "POST /a hello"),
    ("a length that is not there yet", b"Content-Length: 6\r\n", b"hello", "waits"),
    ("less length than body", b"Content-Length: 5\r\n", b"hello\0", "POST /a hello waits"),
    ("a request as a body", b"Content-Length: 18\r\n", b"GET /b HTTP/1.1\r\n\r", "POST /a GET /b HTTP/1.1\r\n\r"),
    ("chunks", b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", "POST /a chunked hello"),
    ("chunks in capitals", b"transfer-encoding: Chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", "POST /a chunked hello"),
    ("the body is announced", b"Content-Length: 5\r\nExpect: 100-continue\r\n", b"hello", "POST /a hello"),
    ("an unknown expectation before a body", b"Content-Length: 5\r\nExpect: x\r\n", b"hello", "417 end"),
    // Both at once: CL.TE and TE.CL.
    ("CL.TE", b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG", BAD),
    ("TE.CL", b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"5c\r\nGPOST / HTTP/1.1\r\n", BAD),
    ("CL.TE of the same length", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("no length and chunks", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("a length and identity", b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n", b"hello", BAD),
    ("a length and an empty encoding", b"Content-Length: 5\r\nTransfer-Encoding:\r\n", b"hello", BAD),
    ("a bad length and chunks", b"Content-Length: x\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("CL.TE with a space", b"Content-Length: 5\r\nTransfer-Encoding : chunked\r\n", b"0\r\n\r\n", BAD),
    // Encodings that only one of two readers takes for chunked.
    ("space before the colon", b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n", BAD),
    ("tab before the colon", b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n", BAD),
    ("space in front of the name", b" Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("in the line before", b"X: y\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("in the next line", b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n", BAD),
    ("behind LF", b"X: y\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("behind CR", b"X: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("tab in front of the value", b"Transfer-Encoding:\tchunked\r\n", b"0\r\n\r\n", "POST /a chunked"),
    ("vertical tab in front of the value", b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n", BAD),
    ("vertical tab behind the value", b"Transfer-Encoding: chunked\x0b\r\n", b"0\r\n\r\n", BAD),
    ("form feed behind the value", b"Transfer-Encoding: chunked\x0c\r\n", b"0\r\n\r\n", BAD),
    ("NUL behind the value", b"Transfer-Encoding: chunked\0\r\n", b"0\r\n\r\n", BAD),
    ("CR behind the value", b"Transfer-Encoding: chunked\r\r\n", b"0\r\n\r\n", BAD),
    ("no-break space in front of the value", b"Transfer-Encoding: \xa0chunked\r\n", b"0\r\n\r\n", BAD),
    ("xchunked", b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n", BAD),
    ("chunkedx", b"Transfer-Encoding: chunkedx\r\n", b"0\r\n\r\n", BAD),
    ("chunk", b"Transfer-Encoding: chunk\r\n", b"0\r\n\r\n", BAD),
    ("chunked with the Kelvin sign", b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n", b"0\r\n\r\n", BAD),
    ("in quotes", b"Transfer-Encoding: \"chunked\"\r\n", b"0\r\n\r\n", BAD),
    ("in other quotes", b"Transfer-Encoding: 'chunked'\r\n", b"0\r\n\r\n", BAD),
    ("with a parameter", b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n", BAD),
    ("chunked, identity", b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n", BAD),
    ("identity, chunked", b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n", BAD),
    ("gzip, chunked (stricter)", b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n", BAD),
    ("chunked, chunked", b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n", BAD),
    ("a comma in front (stricter)", b"Transfer-Encoding: , chunked\r\n", b"0\r\n\r\n", BAD),
    ("a comma behind (stricter)", b"Transfer-Encoding: chunked,\r\n", b"0\r\n\r\n", BAD),
    ("empty", b"Transfer-Encoding:\r\n", b"0\r\n\r\n", BAD),
    ("identity", b"Transfer-Encoding: identity\r\n", b"", BAD),
    ("chunked twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("chunked and nonsense", b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n", b"0\r\n\r\n", BAD),
    ("nonsense and chunked", b"Transfer-Encoding: cow\r\nTransfer-encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    ("empty and chunked", b"Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
    (
        "an underscore is another name",
        b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n",
        b"0\r\n\r\n",
        "POST /a 0\r\n\r\n",
    ),
    ("Connection does not hide it", b"Connection: transfer-encoding\r\nTransfer-Encoding: cow\r\n", b"0\r\n\r\n", BAD),
    ("Connection hides no length", b"Connection: content-length\r\nContent-Length: 5\r\n", b"hello", "POST /a hello"),
    // Lengths that are not one number.
    ("two lengths", b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello", BAD),
    ("the same length twice (stricter)", b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello", BAD),
    ("a list of lengths", b"Content-Length: 5, 6\r\n", b"hello", BAD),
    ("a list of the same length (stricter)", b"Content-Length: 5, 5\r\n", b"hello", BAD),
    ("a length and a comma", b"Content-Length: 5,\r\n", b"hello", BAD),
    ("a length that is empty", b"Content-Length:\r\n", b"", BAD),
    ("a length with a plus", b"Content-Length: +5\r\n", b"hello", BAD),
    ("a length with a minus", b"Content-Length: -5\r\n", b"hello", BAD),
    ("minus nothing", b"Content-Length: -0\r\n", b"", BAD),
    ("a length in hex", b"Content-Length: 0x5\r\n", b"hello", BAD),
    ("a length in letters", b"Content-Length: a\r\n", b"0123456789", BAD),
    ("a length in parts", b"Content-Length: 5.0\r\n", b"hello", BAD),
    ("a length with an exponent", b"Content-Length: 5e0\r\n", b"hello", BAD),
    ("a length with an underscore", b"Content-Length: 1_0\r\n", b"0123456789", BAD),
    ("a length with a space inside", b"Content-Length: 1 0\r\n", b"0123456789", BAD),
    ("a length in quotes", b"Content-Length: \"5\"\r\n", b"hello", BAD),
    ("a length and a parameter", b"Content-Length: 5;x\r\n", b"hello", BAD),
    ("a length in other digits", b"Content-Length: \xd9\xa5\r\n", b"hello", BAD),
    ("a length with NUL", b"Content-Length: 5\0\r\n", b"hello", BAD),
    ("a length with vertical tab", b"Content-Length: \x0b5\r\n", b"hello", BAD),
    ("a length before a space and a colon", b"Content-Length : 5\r\n", b"hello", BAD),
    ("a length in the next line", b"Content-Length:\r\n 5\r\n", b"hello", BAD),
    ("a length that goes on in the next line", b"Content-Length: 1\r\n 0\r\n", b"0123456789", BAD),
    ("2^63", b"Content-Length: 9223372036854775808\r\n", b"hello", BAD),
    ("2^64 + 5", b"Content-Length: 18446744073709551621\r\n", b"hello", BAD),
    ("2^32 + 5 is more than the hub takes", b"Content-Length: 4294967301\r\n", b"hello", "413 end"),
    ("so is 1 TiB", b"Content-Length: 1099511627776\r\n", b"hello", "413 end"),
    ("a length in twenty digits (stricter)", b"Content-Length: 00000000000000000005\r\n", b"hello", BAD),
];

/// What comes behind the head of a chunked POST.
const CHUNKS: &[(&str, &[u8], &str)] = &[
    ("none", b"0\r\n\r\n", "POST /a chunked"),
    ("several", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", "POST /a chunked hello"),
    ("a size with zeros in front", b"0005\r\nhello\r\n000\r\n\r\n", "POST /a chunked hello"),
    ("a size in capitals", b"A\r\n0123456789\r\n0\r\n\r\n", "POST /a chunked 0123456789"),
    ("an extension", b"5;a=b\r\nhello\r\n0;c\r\n\r\n", "POST /a chunked hello"),
    ("a quoted extension", b"5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", "POST /a chunked hello"),
    ("an empty extension", b"5;\r\nhello\r\n0\r\n\r\n", "POST /a chunked hello"),
    ("line ends in a chunk", b"4\r\n\r\n\r\n\r\n0\r\n\r\n", "POST /a chunked \r\n\r\n"),
    ("a trailer", b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", "POST /a chunked hello"),
    ("a trailer that is a length", b"0\r\nContent-Length: 50\r\n\r\n", "POST /a chunked"),
    ("a trailer that is an encoding", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "POST /a chunked"),
    ("a trailer that is a host", b"0\r\nHost: evil.example\r\n\r\n", "POST /a chunked"),
    ("no end yet", b"5\r\nhello\r\n0\r\n", "waits"),
    ("half a chunk", b"5\r\nhel", "waits"),
    ("half a size", b"5", "waits"),
    ("no size", b"\r\nhello\r\n0\r\n\r\n", BAD),
    ("only an extension", b";a\r\nhello\r\n0\r\n\r\n", BAD),
    ("a size with a plus", b"+5\r\nhello\r\n0\r\n\r\n", BAD),
    ("a size with a minus", b"-5\r\nhello\r\n0\r\n\r\n", BAD),
    ("a size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n", BAD),
    ("a size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n", BAD),
    ("a size with a point", b"5.0\r\nhello\r\n0\r\n\r\n", BAD),
    ("a size that is no number", b"xyz\r\nhello\r\n0\r\n\r\n", BAD),
    ("space in front of a size", b" 5\r\nhello\r\n0\r\n\r\n", BAD),
    ("tab in front of a size", b"\t5\r\nhello\r\n0\r\n\r\n", BAD),
    ("space behind a size (stricter before an extension)", b"5 \r\nhello\r\n0\r\n\r\n", BAD),
    ("space before an extension (stricter)", b"5 ;a\r\nhello\r\n0\r\n\r\n", BAD),
    ("NUL behind a size", b"5\0\r\nhello\r\n0\r\n\r\n", BAD),
    ("2^60", b"1000000000000000\r\nhello\r\n0\r\n\r\n", BAD),
    ("2^64", b"10000000000000000\r\nhello\r\n0\r\n\r\n", BAD),
    ("2^64 + 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n", BAD),
    ("a size of sixteen digits (stricter)", b"0000000000000005\r\nhello\r\n0\r\n\r\n", BAD),
    ("LF behind a size", b"5\nhello\r\n0\r\n\r\n", BAD),
    ("CR behind a size", b"5\rhello\r\n0\r\n\r\n", BAD),
    ("LF behind an extension", b"5;a\nhello\r\n0\r\n\r\n", BAD),
    ("CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n", BAD),
    ("NUL in an extension", b"5;a\0\r\nhello\r\n0\r\n\r\n", BAD),
    ("LF in a quoted extension", b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", BAD),
    ("nothing behind a chunk", b"5\r\nhello0\r\n\r\n", BAD),
    ("LF behind a chunk", b"5\r\nhello\n0\r\n\r\n", BAD),
    ("CR behind a chunk", b"5\r\nhello\r0\r\n\r\n", BAD),
    ("two line ends behind a chunk", b"5\r\nhello\r\n\r\n0\r\n\r\n", BAD),
    ("more than its size", b"5\r\nhello world\r\n0\r\n\r\n", BAD),
    ("less than its size", b"6\r\nhello\r\n0\r\n\r\n", BAD),
    ("LF behind the last chunk", b"0\n\r\n", BAD),
    ("LF at the end", b"0\r\n\n", BAD),
    ("CR CR LF at the end", b"0\r\n\r\r\n", BAD),
    ("a trailer with LF", b"0\r\nX: y\n\r\n", BAD),
    ("a trailer with CR", b"0\r\nX: y\rZ: 0\r\n\r\n", BAD),
    ("a trailer with NUL", b"0\r\nX: \0\r\n\r\n", BAD),
    ("a trailer that goes on", b"0\r\nX: y\r\n z\r\n\r\n", BAD),
    ("a trailer without a colon", b"0\r\nX\r\n\r\n", BAD),
    ("a trailer without a name", b"0\r\n: y\r\n\r\n", BAD),
    ("a trailer with a space before the colon", b"0\r\nX : y\r\n\r\n", BAD),
    ("no end, and the next request", b"0\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD),
];

fn post(fields: &[u8], body: &[u8]) -> Vec<u8> {
    [b"POST /a HTTP/1.1\r\nHost: localhost\r\n", fields, b"\r\n", body].concat()
}

#[test]
fn a_body_has_one_end_or_is_refused() {
    for (name, fields, body, expected) in BODIES {
        check(name, &post(fields, body), expected);
    }
}

#[test]
fn chunks_have_one_meaning_or_are_refused() {
    for (name, chunks, expected) in CHUNKS {
        check(name, &post(b"Transfer-Encoding: chunked\r\n", chunks), expected);
        check_for_module(name, &post(b"Transfer-Encoding: chunked\r\n", chunks), expected);
    }
    let long = [&b"5;a=\""[..], &[b'x'; 300], b"\"\r\nhello\r\n0\r\n\r\n"].concat();
    check("a long extension", &post(b"Transfer-Encoding: chunked\r\n", &long), BAD);
    let long = [&b"0\r\nX: "[..], &[b'x'; 9_000], b"\r\n\r\n"].concat();
    check("a long trailer", &post(b"Transfer-Encoding: chunked\r\n", &long), BAD);
    let many = [&b"0\r\n"[..], &b"X: y\r\n".repeat(3_000), b"\r\n"].concat();
    check("many trailers", &post(b"Transfer-Encoding: chunked\r\n", &many), BAD);
}

#[test]
fn http_1_0_knows_no_chunks() {
    let old = |fields: &[u8], body: &[u8]| [b"POST /a HTTP/1.0\r\n", fields, b"\r\n", body].concat();
    for (name, fields, body, expected) in [
        ("chunks", &b"Transfer-Encoding: chunked\r\n"[..], &b"0\r\n\r\n"[..], BAD),
        ("chunks and kept alive", b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
        ("chunks and a length", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n", BAD),
        ("a length", b"Content-Length: 5\r\n", b"hello", "POST /a hello end"),
        ("an expectation is nothing", b"Content-Length: 5\r\nExpect: 100-continue\r\n", b"hello", "POST /a hello end"),
        ("nothing", b"", b"", "POST /a end"),
    ] {
        check(name, &old(fields, body), expected);
    }
}

/// For the mutations of `fuzz`.
pub(super) fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let bodies = BODIES.iter().map(|(_, fields, body, _)| post(fields, body));
    bodies.chain(CHUNKS.iter().map(|(_, chunks, _)| post(b"Transfer-Encoding: chunked\r\n", chunks)))
}
