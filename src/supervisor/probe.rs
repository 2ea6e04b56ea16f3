//! Whether a module answers: a connection to its port, or a look at its health path. Waits for nothing itself: the
//! worker polls the probe's socket beside everything else.

use super::environment::LINEAGE;
use crate::sys::process::{self, Family};
use crate::sys::{connect, poll, proc};
use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The connection, and on a health path its answer, must come within this (supervisor §10.2).
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// A status line is shorter.
const STATUS_LINE_BYTES: usize = 64;
/// Nobody's descent is longer, or else pids were given away anew during the look.
const ANCESTORS_LIMIT: usize = 256;
/// Enough of a command line to recognise a program.
const COMMAND_LINE_BYTES: usize = 512;

/// One look at a module.
#[derive(Debug)]
pub(crate) struct Probe {
    stage: Stage,
    /// Tried next when nobody listens on this address.
    fallback: Option<SocketAddr>,
    request: Option<Vec<u8>>,
    answer: Vec<u8>,
    trouble: Option<Trouble>,
    deadline: Instant,
}

/// What is wrong with the answer on a health path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// None came in time.
    Silent,
    HungUp,
    NotHttp,
    Status([u8; 3]),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("gives no answer"),
            Self::HungUp => f.write_str("hangs up without an answer"),
            Self::NotHttp => f.write_str("answers something that is no HTTP"),
            Self::Status(digits) => write!(f, "answers with status {}", String::from_utf8_lossy(digits)),
        }
    }
}

#[derive(Debug)]
enum Stage {
    Connecting(TcpStream),
    Answering(TcpStream),
    Decided(bool),
}

impl Probe {
    /// Begins to connect to the port on 127.0.0.1, then on ::1. With a `path` its answer is asked for as well.
    pub(crate) fn begin(port: u16, path: Option<&str>, timeout: Option<Duration>, now: Instant) -> Self {
        let request = path.map(|path| {
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n").into_bytes()
        });
        let mut probe = Self {
            stage: Stage::Decided(false),
            fallback: Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port)),
            request,
            answer: Vec::new(),
            trouble: None,
            deadline: now + timeout.unwrap_or(PROBE_TIMEOUT),
        };
        probe.connect(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        probe
    }

    fn connect(&mut self, address: SocketAddr) {
        match connect::begin(address) {
            Ok(attempt) if attempt.connected => self.connected(attempt.stream),
            Ok(attempt) => self.stage = Stage::Connecting(attempt.stream),
            Err(_) => self.refused(),
        }
    }

    fn refused(&mut self) {
        self.stage = Stage::Decided(false);
        if let Some(address) = self.fallback.take() {
            self.connect(address);
        }
    }

    /// It is known how connecting went.
    fn connected(&mut self, mut stream: TcpStream) {
        if connect::decided(stream.as_fd()).is_err() {
            return self.refused();
        }
        self.stage = match self.request.take() {
            None => Stage::Decided(true),
            // So short a request fits into a new socket's buffer.
            Some(request) => match stream.write(&request) {
                Ok(written) if written == request.len() => Stage::Answering(stream),
                Ok(_) | Err(_) => Stage::Decided(false),
            },
        };
    }

    /// The socket to wait for, and whether for writing.
    pub(crate) fn waits_for(&self) -> Option<(BorrowedFd<'_>, bool)> {
        match &self.stage {
            Stage::Connecting(stream) => Some((stream.as_fd(), true)),
            Stage::Answering(stream) => Some((stream.as_fd(), false)),
            Stage::Decided(_) => None,
        }
    }

    /// When it counts as failed.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The answer, once there is one. `ready` says that the socket had something to tell.
    pub(crate) fn result(&mut self, ready: bool, now: Instant) -> Option<bool> {
        if ready {
            self.advance();
        }
        match self.stage {
            Stage::Decided(answer) => Some(answer),
            Stage::Connecting(_) if now >= self.deadline => Some(false),
            Stage::Answering(_) if now >= self.deadline => {
                self.trouble = Some(Trouble::Silent);
                Some(false)
            }
            Stage::Connecting(_) | Stage::Answering(_) => None,
        }
    }

    /// Why a look has failed at whose other end somebody listens.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    fn fail(&mut self, trouble: Trouble) {
        self.trouble = Some(trouble);
        self.stage = Stage::Decided(false);
    }

    fn advance(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Decided(false)) {
            Stage::Connecting(stream) => self.connected(stream),
            Stage::Answering(stream) => {
                let mut buffer = [0u8; STATUS_LINE_BYTES];
                match poll::read_some(stream.as_fd(), &mut buffer) {
                    Ok(None) => self.stage = Stage::Answering(stream),
                    Ok(Some(0)) | Err(_) => self.fail(Trouble::HungUp),
                    Ok(Some(read)) => {
                        self.answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
                        match health_of(&self.answer) {
                            Some(Ok(())) => self.stage = Stage::Decided(true),
                            Some(Err(trouble)) => self.fail(trouble),
                            None if self.answer.len() >= STATUS_LINE_BYTES => self.fail(Trouble::NotHttp),
                            None => self.stage = Stage::Answering(stream),
                        }
                    }
                }
            }
            decided @ Stage::Decided(_) => self.stage = decided,
        }
    }
}

/// What a status line says of the module: anything below 500 is an answer of a program that works, 401 on a guarded
/// health path included. `None` while the line is too short to tell.
fn health_of(answer: &[u8]) -> Option<Result<(), Trouble>> {
    const PREFIX: &[u8] = b"HTTP/1.";
    let seen = answer.get(..PREFIX.len().min(answer.len()))?;
    if !PREFIX.starts_with(seen) {
        return Some(Err(Trouble::NotHttp));
    }
    let status: [u8; 3] = answer.get(PREFIX.len() + 2..PREFIX.len() + 5)?.try_into().ok()?;
    Some(match status[0] {
        _ if !status.iter().all(u8::is_ascii_digit) => Err(Trouble::NotHttp),
        b'1'..=b'4' => Ok(()),
        _ => Err(Trouble::Status(status)),
    })
}

/// Who listens on a port, seen from a module that wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    Nobody,
    /// Somebody whose descriptors may not be looked at.
    Unknown,
    Process {
        pid: i32,
        command: Option<String>,
    },
}

impl Holder {
    /// `process 4711 (nginx: master)`, for a sentence.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Nobody => "nobody".into(),
            Self::Unknown => "a process of another user".into(),
            Self::Process { pid, command: Some(command) } => format!("process {pid} ({command})"),
            Self::Process { pid, command: None } => format!("process {pid}"),
        }
    }
}

/// Whether the process is the hub itself or of one of its modules, so that nobody is told to end it by hand. One that has
/// come to the hub, and that nobody knows by its environment, is nobody's.
pub(crate) fn is_ours(pid: i32, family: &Family) -> bool {
    let own = process::own_pid();
    let parent = |pid: &i32| proc::stat(*pid).map(|stat| stat.parent).filter(|parent| *parent > 1 || *parent == own);
    let line: Vec<i32> = std::iter::successors(Some(pid), parent).take(ANCESTORS_LIMIT).collect();
    let Some(place) = line.iter().position(|pid| *pid == own) else { return false };
    let is_of_module = |pid: &i32| {
        family.is_leader(*pid) || proc::environment_value(*pid, LINEAGE).is_ok_and(|lineage| lineage.is_some())
    };
    place == 0 || line.iter().take(place).any(is_of_module)
}

/// Whether anything answers on the port: the quick look before a start. On loopback the kernel decides at once, or
/// when it comes to it on a busy machine.
pub(crate) fn is_taken(port: u16) -> bool {
    let mut probe = Probe::begin(port, None, None, Instant::now());
    let mut polls = poll::PollSet::default();
    loop {
        let ready = match probe.waits_for() {
            None => false,
            Some((socket, _)) => {
                polls.clear();
                let slot = polls.writable(socket);
                polls.wait(Some(probe.deadline())).is_ok() && polls.is_ready(slot)
            }
        };
        if let Some(answer) = probe.result(ready, Instant::now()) {
            return answer;
        }
    }
}

/// Looks through /proc for the holder of a taken port. Slow: only for the diagnosis.
pub(crate) fn holder(port: u16) -> Holder {
    let inodes = proc::listening_inodes(port);
    if inodes.is_empty() {
        return Holder::Nobody;
    }
    let pids = proc::pids().unwrap_or_default();
    match pids.into_iter().find(|pid| proc::holds_socket(*pid, &inodes) == Some(true)) {
        Some(pid) => process(pid),
        None => Holder::Unknown,
    }
}

/// A holder that is known, with its command line.
pub(crate) fn process(pid: i32) -> Holder {
    Holder::Process { pid, command: proc::command_line(pid, COMMAND_LINE_BYTES) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_judged_as_soon_as_it_can_be() {
        for (answer, expected) in [
            (&b""[..], None),
            (b"HTTP/1.1 20", None),
            (b"HTTP/1.1 200", Some(Ok(()))),
            (b"HTTP/1.0 401 no\r\n", Some(Ok(()))),
            (b"HTTP/1.1 404 \r\n", Some(Ok(()))),
            (b"HTTP/1.1 503 \r\n", Some(Err(Trouble::Status(*b"503")))),
            (b"HTTP/1.1 abc", Some(Err(Trouble::NotHttp))),
            (b"SSH-2.0-x", Some(Err(Trouble::NotHttp))),
            (b"HTTQ", Some(Err(Trouble::NotHttp))),
        ] {
            assert_eq!(health_of(answer), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_port_is_taken_while_somebody_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let port = listener.local_addr().expect("bound").port();
        assert!(is_taken(port));
        let own = crate::sys::process::own_pid();
        assert!(matches!(holder(port), Holder::Process { pid, .. } if pid == own));
        let family = Family::new().expect("a family");
        assert!(is_ours(own, &family) && !is_ours(1, &family));
        for (word, expected) in [("outer/wiki", true), ("", false)] {
            let mut sleep = std::process::Command::new("/bin/sleep");
            sleep.arg("600").env_clear().envs((!word.is_empty()).then_some((LINEAGE, word)));
            let mut child = sleep.spawn().expect("a child");
            let pid = process::Pid::try_from(child.id()).expect("a pid");
            // Its program has begun a moment before its words and its environment are there.
            while proc::command_line(pid, 64).is_none_or(|line| !line.contains("sleep")) {
                std::thread::yield_now();
            }
            assert_eq!(is_ours(pid, &family), expected, "a child that carries {word:?}");
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
        drop(listener);
        assert!(!is_taken(port));
        assert_eq!(holder(port), Holder::Nobody);
    }
}
