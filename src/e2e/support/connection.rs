//! One connection that carries request after request, for what a call of `http::request` cannot show.

use super::http::{self, Response, connect_at};
use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};

pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    port: u16,
}

impl Connection {
    #[track_caller]
    pub(crate) fn open(port: u16) -> Self {
        Self::open_at(Ipv4Addr::LOCALHOST.into(), port)
    }

    /// The same to this address of this machine, which is then also where it comes from.
    #[track_caller]
    pub(crate) fn open_at(address: IpAddr, port: u16) -> Self {
        let stream = connect_at(address, port);
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {address}, port {port}: {error}"));
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
        answer.body = match http::read_body(&mut self.reader, &answer.headers)? {
            Some(body) => body,
            None => {
                let mut rest = Vec::new();
                self.reader.read_to_end(&mut rest)?;
                rest
            }
        };
        Ok(answer)
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> io::Result<Response> {
        Response::read_head(&mut self.reader)
    }

    /// The next chunk of a body; `None` at its end, trailers left out.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        http::read_chunk(&mut self.reader)
    }

    /// Exactly so many of the next bytes.
    pub(crate) fn take(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        http::read_exactly(&mut self.reader, bytes)
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
