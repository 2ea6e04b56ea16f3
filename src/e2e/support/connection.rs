//! One connection that carries request after request, for what a call of `http::request` cannot show.

use super::http::{Response, connect};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    port: u16,
}

impl Connection {
    #[track_caller]
    pub(crate) fn open(port: u16) -> Self {
        let stream = connect(port).unwrap_or_else(|error| panic!("cannot connect to port {port}: {error}"));
        Self { reader: BufReader::new(stream), port }
    }

    /// The socket itself, for who sends on another thread.
    #[track_caller]
    pub(crate) fn writer(&self) -> TcpStream {
        self.reader.get_ref().try_clone().expect("a socket can be duplicated")
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// Sends a request without a body; `fields` are whole lines.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, path: &str, fields: &str) {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{fields}\r\n", self.port).as_bytes());
    }

    /// Asks, and reads the whole answer.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<Response> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", self.port);
        self.reader.get_mut().write_all(request.as_bytes())?;
        self.answer("GET")
    }

    /// The next answer, to a request of this method; one that ends with the connection included.
    pub(crate) fn answer(&mut self, method: &str) -> io::Result<Response> {
        let mut answer = self.head()?;
        if method == "HEAD" || matches!(answer.status, 100..=199 | 204 | 304) {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                answer.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| io::Error::other("a length that is no number"))?;
            answer.body = self.take(length)?;
        } else {
            self.reader.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> io::Result<Response> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.reader.read_until(b'\n', &mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {text}")))?;
        let split = |line: &str| line.split_once(':').map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()));
        Ok(Response { status, headers: lines.filter_map(split).collect(), body: Vec::new() })
    }

    /// The next chunk of a body; `None` at its end, trailers left out.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| io::Error::other(format!("no chunk: {size:?}")))?;
        if size == 0 {
            while !self.line()?.is_empty() {}
            return Ok(None);
        }
        let chunk = self.take(size)?;
        self.line()?;
        Ok(Some(chunk))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Exactly so many of the next bytes.
    pub(crate) fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut taken = vec![0; bytes];
        self.reader.read_exact(&mut taken)?;
        Ok(taken)
    }

    /// Waits for the other side to close, and returns what it still said. That it broke counts as well.
    pub(crate) fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("it is not closed: {error}"),
            Ok(_) | Err(_) => rest,
        }
    }
}
