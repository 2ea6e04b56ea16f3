//! The test child as a server: a few answers, chosen by the last segment of the path; a thread for each connection.
//!
//! | Path ends in | Answer |
//! |---|---|
//! | `/health` | `ok` |
//! | `/echo` | the request's head as it came, and its body |
//! | `/sse` | `data: 1` at once, and the next number with every `/tick`; then says `gone TARGET` when the client has gone |
//! | `/big?BYTES` | so much of the pattern; says `gone TARGET` when the client goes before the end |
//! | `/upload` | reads the body; `BYTES right`, or `wrong at OFFSET` when it is not the pattern |
//! | anything else | who answers, and what was asked |

use super::pattern::{BLOCK_BYTES, Pattern};
use super::say;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::id;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A request's head; what is longer is not read.
const HEAD_LIMIT_BYTES: u64 = 64 * 1024;

static TICKS: Mutex<u64> = Mutex::new(0);
static TICKED: Condvar = Condvar::new();

fn ticks() -> MutexGuard<'static, u64> {
    TICKS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn serve(listener: TcpListener) {
    for stream in listener.incoming().flatten() {
        // One thread a connection: a proxy keeps several open. A peer that breaks off is its own affair.
        thread::spawn(move || {
            let mut reader = BufReader::with_capacity(BLOCK_BYTES, &stream);
            while answer(&mut reader).unwrap_or(false) {}
        });
    }
}

/// What is read of a request before its body.
#[derive(Default)]
struct Head {
    /// As it came, without the empty line.
    bytes: Vec<u8>,
    method: String,
    target: String,
    length_bytes: u64,
    chunked: bool,
    last: bool,
}

impl Head {
    /// `None` when the connection ends instead.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut limited = reader.take(HEAD_LIMIT_BYTES);
        let mut head = Self::default();
        let mut line = Vec::new();
        while limited.read_until(b'\n', &mut line)? != 0 && !line.trim_ascii().is_empty() {
            head.bytes.extend_from_slice(&line);
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            match text.to_ascii_lowercase().split_once(':').map(|(name, value)| (name, value.trim())) {
                _ if head.method.is_empty() => {
                    let mut words = text.split_whitespace().map(str::to_owned);
                    head.method = words.next().unwrap_or_default();
                    head.target = words.next().unwrap_or_default();
                }
                Some(("content-length", value)) => head.length_bytes = value.parse().unwrap_or(0),
                Some(("transfer-encoding", _)) => head.chunked = true,
                Some(("connection", "close")) => head.last = true,
                _ => {}
            }
            line.clear();
        }
        Ok((!head.method.is_empty()).then_some(head))
    }
}

/// Answers one request; says whether the connection can carry another.
fn answer(reader: &mut BufReader<&TcpStream>) -> io::Result<bool> {
    let Some(head) = Head::read(reader)? else { return Ok(false) };
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    let text = match path.rsplit('/').next().unwrap_or_default() {
        "sse" => return stream_events(reader.get_ref(), &head.target).map(|()| false),
        "big" => return send_pattern(reader.get_ref(), &head.target, query.parse().unwrap_or(0)).map(|()| !head.last),
        "upload" => check_pattern(reader, &head)?.into_bytes(),
        "echo" => {
            let mut text = [&head.bytes[..], b"\r\n"].concat();
            read_body(reader, &head, |part| text.extend_from_slice(part))?;
            text
        }
        last => {
            read_body(reader, &head, |_| {})?;
            if last == "tick" {
                *ticks() += 1;
                TICKED.notify_all();
            }
            match last {
                "health" => b"ok\n".to_vec(),
                _ => format!("testchild {} {} {}\n", id(), head.method, head.target).into_bytes(),
            }
        }
    };
    let body = if head.method == "HEAD" { &[][..] } else { &text };
    let reply = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n", text.len());
    reader.get_mut().write_all(&[reply.as_bytes(), body].concat())?;
    Ok(!head.last)
}

/// Hands the body to `sink`, part by part.
fn read_body(reader: &mut impl BufRead, head: &Head, mut sink: impl FnMut(&[u8])) -> io::Result<()> {
    if !head.chunked {
        return read_part(reader, head.length_bytes, &mut sink);
    }
    let mut line = String::new();
    loop {
        line.clear();
        reader.take(HEAD_LIMIT_BYTES).read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim_end(), 16).map_err(|error| io::Error::other(error.to_string()))?;
        read_part(reader, size, &mut sink)?;
        line.clear();
        reader.take(HEAD_LIMIT_BYTES).read_line(&mut line)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn read_part(reader: &mut impl BufRead, mut bytes: u64, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
    while bytes > 0 {
        let part = reader.fill_buf()?;
        if part.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = usize::try_from(bytes).unwrap_or(usize::MAX).min(part.len());
        sink(&part[..taken]);
        reader.consume(taken);
        bytes -= taken as u64;
    }
    Ok(())
}

fn check_pattern(reader: &mut impl BufRead, head: &Head) -> io::Result<String> {
    let pattern = Pattern::new();
    let (mut bytes, mut wrong) = (0, None);
    read_body(reader, head, |part| {
        wrong = wrong.or_else(|| pattern.first_difference(bytes, part));
        bytes += part.len() as u64;
    })?;
    Ok(wrong.map_or_else(|| format!("{bytes} right\n"), |at| format!("wrong at {at}\n")))
}

fn send_pattern(mut stream: &TcpStream, target: &str, bytes: u64) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n");
    let pattern = Pattern::new();
    let mut sent = 0;
    let mut result = stream.write_all(head.as_bytes());
    while result.is_ok() && sent < bytes {
        let block = pattern.at(sent, usize::try_from(bytes - sent).unwrap_or(usize::MAX));
        result = stream.write_all(block);
        sent += block.len() as u64;
    }
    if result.is_err() {
        say("gone", target);
    }
    result
}

fn stream_events(mut stream: &TcpStream, target: &str) -> io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head)?;
    let gone = Arc::new(AtomicBool::new(false));
    let (mut client, target, is_gone) = (stream.try_clone()?, target.to_owned(), Arc::clone(&gone));
    // Nothing more is asked on this connection: what can still come is its end.
    thread::spawn(move || {
        // It ends with an error as well as without.
        let _ = io::copy(&mut client, &mut io::sink());
        say("gone", target);
        let _ticks = ticks();
        is_gone.store(true, Ordering::Relaxed);
        TICKED.notify_all();
    });
    let mut now = ticks();
    let (before, mut sent) = (*now, 0);
    while !gone.load(Ordering::Relaxed) {
        while sent <= *now - before {
            sent += 1;
            let event = format!("data: {sent}\n\n");
            stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
        }
        now = TICKED.wait(now).unwrap_or_else(PoisonError::into_inner);
    }
    Ok(())
}
