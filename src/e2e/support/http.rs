//! HTTP by hand over a plain socket, so that a test can also send what no client would.

use super::wait::deadline;
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};

/// An answer, its body in one piece.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case, in the order of the answer.
    pub(crate) headers: Fields,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The first header of this lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// Reads an answer from all that a connection gave until it was closed.
    pub(crate) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let mut rest = bytes;
        let answer = Self::read_head(&mut rest).and_then(|mut answer| {
            // The answer to HEAD states the length of a body that it does not have.
            if !rest.is_empty() {
                answer.body =
                    read_body(&mut rest, &answer.headers)?.unwrap_or_else(|| std::mem::take(&mut rest).into());
            }
            if rest.is_empty() { Ok(answer) } else { Err(bad("more than was stated")) }
        });
        answer.map_err(|error| bad(&format!("{error}: {}", bytes.escape_ascii())))
    }

    /// The head of the next answer.
    pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Self> {
        let (line, headers) = read_head(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| bad(&format!("no status line: {line}")))?;
        Ok(Self { status, headers, body: Vec::new() })
    }
}

/// Name in lower case and value of each field, in the order of the head.
pub(crate) type Fields = Vec<(String, String)>;

/// The first line and the fields of the next message; `None` when the connection ends instead.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<(String, Fields)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if reader.read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
    let text = String::from_utf8_lossy(&head);
    let mut lines = text.trim_end().split("\r\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let split = |line: &str| line.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()));
    Ok(Some((first, lines.filter_map(split).collect())))
}

/// The body that the fields announce; `None` when they announce none.
pub(crate) fn read_body(reader: &mut impl BufRead, fields: &Fields) -> io::Result<Option<Vec<u8>>> {
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if field("transfer-encoding").is_some() {
        let mut body = Vec::new();
        while let Some(chunk) = read_chunk(reader)? {
            body.extend_from_slice(&chunk);
        }
        return Ok(Some(body));
    }
    let Some(length) = field("content-length") else { return Ok(None) };
    let length = length.parse().map_err(|_| bad("a length that is no number"))?;
    read_exactly(reader, length).map(Some)
}

/// The next chunk of a body; `None` at its end. Extensions and trailers are passed over.
pub(crate) fn read_chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let line = read_line(reader)?;
    let size = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(size, 16).map_err(|_| bad(&format!("no chunk: {line:?}")))?;
    if size == 0 {
        while !read_line(reader)?.is_empty() {}
        return Ok(None);
    }
    let chunk = read_exactly(reader, size)?;
    if read_line(reader)?.is_empty() { Ok(Some(chunk)) } else { Err(bad("a chunk that is longer than stated")) }
}

/// Exactly so many of the next bytes.
pub(crate) fn read_exactly(reader: &mut impl BufRead, bytes: usize) -> io::Result<Vec<u8>> {
    let mut taken = vec![0; bytes];
    reader.read_exact(&mut taken)?;
    Ok(taken)
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// `GET path` on 127.0.0.1.
pub(crate) fn get(port: u16, path: &str) -> io::Result<Response> {
    request(port, "GET", path, &[], b"")
}

/// One request on a connection of its own. `Host`, `Connection: close` and, for a body, its length are added.
pub(crate) fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PUT" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    Response::parse(&exchange(port, &[head.as_bytes(), body].concat())?)
}

/// Sends exactly these bytes and returns all that comes back until the other side closes or falls silent past the
/// deadline, which is an error.
pub(crate) fn exchange(port: u16, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(port)?;
    // Who refuses a request early need not read the rest of it; the answer tells.
    let sent = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        // A reset after the answer: not all that was sent was read.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !answer.is_empty() => {}
        Err(error) => return Err(error),
    }
    if answer.is_empty() { sent.map(|()| answer) } else { Ok(answer) }
}

/// A connection whose reads and writes have the tests' deadline.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    connect_at(Ipv4Addr::LOCALHOST.into(), port)
}

pub(super) fn connect_at(address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((address, port))?;
    stream.set_read_timeout(Some(deadline()))?;
    stream.set_write_timeout(Some(deadline()))?;
    Ok(stream)
}
