//! HTTP by hand over a plain socket, so that a test can also send what no client would.

use super::wait::deadline;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// An answer, its body in one piece.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case, in the order of the answer.
    pub(crate) headers: Vec<(String, String)>,
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
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {}", bytes.escape_ascii()));
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| bad("no whole head"))?;
        let head = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("a head that is not UTF-8"))?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| bad("no status line"))?;
        let split = |line: &str| line.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()));
        let headers: Vec<_> = lines.filter_map(split).collect();

        let mut response = Self { status, headers, body: bytes[end + 4..].to_vec() };
        if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            response.body = join_chunks(&response.body).ok_or_else(|| bad("broken chunks"))?;
        } else if let Some(length) = response.header("content-length") {
            let length: usize = length.parse().map_err(|_| bad("a length that is no number"))?;
            // The answer to HEAD states the length of a body that it does not have.
            if !response.body.is_empty() && response.body.len() != length {
                return Err(bad("a body of another length than stated"));
            }
        }
        Ok(response)
    }
}

/// The data of a chunked body that is complete; extensions and trailers are passed over.
fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
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
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(deadline()))?;
    stream.set_write_timeout(Some(deadline()))?;
    Ok(stream)
}
