use super::*;
use crate::edge::head;
use crate::sys::testrandom::Random;

fn body_of(version: &str, fields: &str) -> Result<Body, BadFraming> {
    let text = format!("POST / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
    let request = head::request(text.as_bytes()).expect("a good head");
    request_body(&request.fields, request.version)
}

#[test]
fn a_request_has_one_length_or_is_refused() {
    use BadFraming as Bad;
    for (fields, expected) in [
        ("", Ok(Body::Empty)),
        ("Content-Length: 0\r\n", Ok(Body::Empty)),
        ("Content-Length: 7\r\n", Ok(Body::Length(7))),
        ("Content-Length: 007\r\n", Ok(Body::Length(7))),
        ("Content-Length: 9223372036854775807\r\n", Ok(Body::Length((1 << 63) - 1))),
        ("Content-Length: 9223372036854775808\r\n", Err(Bad::Length)),
        ("Transfer-Encoding: chunked\r\n", Ok(Body::Chunked)),
        ("transfer-encoding: CHUNKED\r\n", Ok(Body::Chunked)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(Bad::LengthAndEncoding)),
        ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", Err(Bad::LengthAndEncoding)),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(Bad::SeveralLengths)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(Bad::SeveralLengths)),
        ("Content-Length: 5, 5\r\n", Err(Bad::Length)),
        ("Content-Length: +5\r\n", Err(Bad::Length)),
        ("Content-Length: -5\r\n", Err(Bad::Length)),
        ("Content-Length: 0x5\r\n", Err(Bad::Length)),
        ("Content-Length: 5 5\r\n", Err(Bad::Length)),
        ("Content-Length: 5.0\r\n", Err(Bad::Length)),
        ("Content-Length: five\r\n", Err(Bad::Length)),
        ("Content-Length:\r\n", Err(Bad::Length)),
        ("Content-Length: 99999999999999999999\r\n", Err(Bad::Length)),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(Bad::Encoding)),
        ("Transfer-Encoding: chunked, chunked\r\n", Err(Bad::Encoding)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Bad::Encoding)),
        ("Transfer-Encoding: identity\r\n", Err(Bad::Encoding)),
        ("Transfer-Encoding: xchunked\r\n", Err(Bad::Encoding)),
        ("Transfer-Encoding: \"chunked\"\r\n", Err(Bad::Encoding)),
        ("Transfer-Encoding: chunked;q=1\r\n", Err(Bad::Encoding)),
        ("Transfer-Encoding:\r\n", Err(Bad::Encoding)),
    ] {
        assert_eq!(body_of("1.1", fields), expected, "{fields:?}");
    }
    assert_eq!(body_of("1.0", "Transfer-Encoding: chunked\r\n"), Err(Bad::Encoding));
    assert_eq!(body_of("1.0", "Content-Length: 7\r\n"), Ok(Body::Length(7)));
}

#[test]
fn an_answers_body_follows_from_status_and_method() {
    for (status, to_head, fields, expected) in [
        (200, false, "", Ok(Body::UntilClose)),
        (200, false, "Content-Length: 0\r\n", Ok(Body::Empty)),
        (200, false, "Content-Length: 3\r\n", Ok(Body::Length(3))),
        (200, false, "Transfer-Encoding: chunked\r\n", Ok(Body::Chunked)),
        (200, true, "Content-Length: 3\r\n", Ok(Body::Empty)),
        (200, true, "Transfer-Encoding: chunked\r\n", Ok(Body::Empty)),
        (100, false, "", Ok(Body::Empty)),
        (199, false, "Content-Length: 3\r\n", Ok(Body::Empty)),
        (204, false, "", Ok(Body::Empty)),
        (304, false, "Content-Length: 3\r\n", Ok(Body::Empty)),
        (304, false, "Content-Length: x\r\n", Err(BadFraming::Length)),
        (200, true, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", Err(BadFraming::LengthAndEncoding)),
    ] {
        let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let response = head::response(text.as_bytes()).expect("a good head");
        let body = response_body(&response.fields, response.version, response.status, to_head);
        assert_eq!(body, expected, "{status} {to_head} {fields:?}");
    }
}

/// The body, how many bytes belonged to it, and whether it is complete; fed in steps of at most `step` bytes.
fn decode(body: Body, input: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), BadFraming> {
    let mut reader = Reader::new(body);
    let mut decoded = Vec::new();
    let mut used = 0;
    for part in input.chunks(step) {
        let mut rest = part;
        while !rest.is_empty() && !reader.is_done() {
            let Piece { skip, take } = reader.next(rest)?;
            assert!(skip + take > 0, "a piece of nothing would never end");
            decoded.extend_from_slice(&rest[skip..skip + take]);
            used += skip + take;
            rest = &rest[skip + take..];
        }
    }
    Ok((decoded, used, reader.is_done()))
}

#[test]
fn a_chunked_body_is_read_however_it_arrives() {
    use BadFraming as Bad;
    let extension = |bytes: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(bytes));
    let (whole_extension, long_extension) = (extension(256), extension(257));
    // As much as a trailer may have, in all of its lines and without their ends.
    let trailer = |value: usize| format!("0\r\nX: y\r\nZ: {}\r\n\r\n", "x".repeat(value));
    let (whole_trailer, long_trailer) = (trailer(8192 - 7), trailer(8192 - 6));
    let long_name = format!("0\r\n{}", "x".repeat(8193));
    let many_lines = format!("0\r\n{}\r\n", "X:\r\n".repeat(4097));
    for (input, expected) in [
        ("0\r\n\r\n", Ok(("", "", true))),
        ("5\r\nhello\r\n0\r\n\r\n", Ok(("hello", "", true))),
        ("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", Ok(("hello world", "GET /", true))),
        ("0005\r\nhello\r\n000\r\n\r\n", Ok(("hello", "", true))),
        ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", Ok(("01234567890123456789", "", true))),
        ("5;name=value\r\nhello\r\n0;x\r\n\r\n", Ok(("hello", "", true))),
        ("5;\r\nhello\r\n0\r\n\r\n", Ok(("hello", "", true))),
        ("2\r\n\r\n\r\n0\r\n\r\n", Ok(("\r\n", "", true))),
        ("0\r\nX: y\r\nZ: 0\r\n\r\nrest", Ok(("", "rest", true))),
        ("5\r\nhel", Ok(("hel", "", false))),
        ("", Ok(("", "", false))),
        ("0\r\n", Ok(("", "", false))),
        ("\r\n", Err(Bad::ChunkSize)),
        ("\r\nhello", Err(Bad::ChunkSize)),
        (";x\r\n", Err(Bad::ChunkSize)),
        ("x\r\n", Err(Bad::ChunkSize)),
        ("-1\r\n", Err(Bad::ChunkSize)),
        ("+5\r\n", Err(Bad::ChunkSize)),
        ("0x5\r\n", Err(Bad::ChunkSize)),
        (" 5\r\n", Err(Bad::ChunkSize)),
        ("5 \r\nhello", Err(Bad::ChunkSize)),
        ("5\nhello", Err(Bad::ChunkSize)),
        ("5\rhello", Err(Bad::ChunkSize)),
        ("5\0\r\n", Err(Bad::ChunkSize)),
        ("0000000000000005\r\nhello\r\n", Err(Bad::ChunkSize)),
        ("ffffffffffffffff\r\n", Err(Bad::ChunkSize)),
        ("10000000000000000\r\n", Err(Bad::ChunkSize)),
        ("5;a\nhello\r\n0\r\n\r\n", Err(Bad::Extension)),
        ("5;a\0\r\nhello\r\n0\r\n\r\n", Err(Bad::Extension)),
        ("5;a\tb c=\u{e9}~\r\nhello\r\n0\r\n\r\n", Ok(("hello", "", true))),
        ("5;a\x7f\r\nhello\r\n0\r\n\r\n", Err(Bad::Extension)),
        (whole_extension.as_str(), Ok(("a", "", true))),
        (long_extension.as_str(), Err(Bad::Extension)),
        ("5;a\rhello", Err(Bad::ChunkSize)),
        ("5\r\nhelloX", Err(Bad::ChunkEnd)),
        ("5\r\nhello\n", Err(Bad::ChunkEnd)),
        ("5\r\nhello\rX", Err(Bad::ChunkEnd)),
        ("5\r\nhello world", Err(Bad::ChunkEnd)),
        ("0\r\nX: y\n\r\n", Err(Bad::Trailer)),
        ("0\r\nX: \0\r\n\r\n", Err(Bad::Trailer)),
        ("0\r\nX: \x7f\r\n\r\n", Err(Bad::Trailer)),
        ("0\r\nX: y\rZ", Err(Bad::Trailer)),
        ("0\r\n\n", Err(Bad::Trailer)),
        ("0\r\n\rX", Err(Bad::Trailer)),
        ("0\r\nX:\r\n\r\n", Ok(("", "", true))),
        ("0\r\nX\r\n\r\n", Err(Bad::Trailer)),
        ("0\r\n: y\r\n\r\n", Err(Bad::Trailer)),
        ("0\r\nX : y\r\n\r\n", Err(Bad::Trailer)),
        ("0\r\nX: y\r\n z\r\n\r\n", Err(Bad::Trailer)),
        ("0\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", Err(Bad::Trailer)),
        (whole_trailer.as_str(), Ok(("", "", true))),
        (long_trailer.as_str(), Err(Bad::Trailer)),
        (long_name.as_str(), Err(Bad::Trailer)),
        (many_lines.as_str(), Err(Bad::Trailer)),
    ] {
        let expected = expected.map(|(body, rest, done)| (body.as_bytes().to_vec(), input.len() - rest.len(), done));
        for step in [1, 2, 3, 7, 100_000] {
            assert_eq!(decode(Body::Chunked, input.as_bytes(), step), expected, "{input:?} in steps of {step}");
        }
    }
}

#[test]
fn a_length_is_counted_and_the_end_of_a_connection_is_not() {
    for step in [1, 3, 100] {
        assert_eq!(decode(Body::Length(5), b"hello world", step), Ok((b"hello".to_vec(), 5, true)));
        assert_eq!(decode(Body::Length(50), b"hello", step), Ok((b"hello".to_vec(), 5, false)));
        assert_eq!(decode(Body::UntilClose, b"hello", step), Ok((b"hello".to_vec(), 5, false)));
        assert_eq!(decode(Body::Empty, b"hello", step), Ok((Vec::new(), 0, true)));
    }
    assert_eq!(Reader::new(Body::Empty).next(b"hello"), Ok(Piece { skip: 0, take: 0 }));
}

#[test]
fn a_part_of_nothing_ends_no_body() {
    for coding in [Coding::Plain, Coding::Chunked] {
        let mut out = Vec::new();
        coding.write(b"", &mut out);
        assert_eq!(out, b"", "{coding:?}");
    }
}

#[test]
fn what_is_written_in_chunks_reads_back() {
    let mut random = Random::new();
    for _ in 0..500 {
        let mut encoded = Vec::new();
        let mut body = Vec::new();
        for _ in 0..random.below(5) {
            let part = vec![b'x'; random.below(5000)];
            Coding::Chunked.write(&part, &mut encoded);
            body.extend_from_slice(&part);
        }
        Coding::Chunked.finish(&mut encoded);
        let step = 1 + random.below(3000);
        assert_eq!(decode(Body::Chunked, &encoded, step), Ok((body, encoded.len(), true)), "seed {}", random.seed);
    }
}

#[test]
fn random_chunks_mean_the_same_however_they_arrive() {
    let mut random = Random::new();
    let parts =
        ["0", "1", "5", "a", "\r\n", "\r\n", "\r", "\n", ";x", "hello", " ", "X: y", "\r\n\r\n", "5\r\nhello\r\n"];
    for _ in 0..5_000 {
        let mut input = String::new();
        for _ in 0..random.below(10) {
            input.push_str(random.pick(&parts));
        }
        let whole = decode(Body::Chunked, input.as_bytes(), usize::MAX);
        let piecemeal = decode(Body::Chunked, input.as_bytes(), 1 + random.below(3));
        assert_eq!(piecemeal, whole, "{input:?}, seed {}", random.seed);
    }
}

#[test]
fn mutated_chunks_and_noise_mean_the_same_however_they_arrive() {
    let good: [&[u8]; 4] = [
        b"5\r\nhello\r\n0\r\n\r\n",
        b"1\r\na\r\nB;x=y\r\nhello world\r\n00\r\nX: y\r\n\r\n",
        b"3;a=\"b\"\r\n\r\n0\r\n0\r\n\r\nrest",
        b"ffffffffffffffff\r\nx",
    ];
    let spice: [&[u8]; 12] =
        [b"\r\n", b"\r", b"\n", b"0", b"0\r\n\r\n", b"-", b"+", b"0x", b" ", b";", b"\0", b"7fffffffffffffff"];
    let mut random = Random::new();
    let mut whole_ones = 0;
    for round in 0..20_000 {
        let bytes = match round % 4 {
            0 => random.bytes(40),
            _ => random.mutated(good[round / 4 % good.len()], &spice),
        };
        let whole = decode(Body::Chunked, &bytes, usize::MAX);
        let piecemeal = decode(Body::Chunked, &bytes, 1 + random.below(5));
        assert_eq!(piecemeal, whole, "{:?}, seed {}", String::from_utf8_lossy(&bytes), random.seed);
        let Ok((body, taken, true)) = whole else { continue };
        whole_ones += 1;
        assert!(body.len() < taken && taken <= bytes.len(), "{bytes:?}, seed {}", random.seed);
        assert!(bytes[..taken].ends_with(b"\r\n"), "{bytes:?}, seed {}", random.seed);
    }
    assert!(whole_ones > 500, "only {whole_ones} had an end, seed {}", random.seed);
}
