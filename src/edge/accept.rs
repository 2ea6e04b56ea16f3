//! Accepting connections, whatever goes wrong meanwhile.

use super::Log;
use super::answer::{Answer, Manner};
use super::date::Date;
use super::head;
use crate::sys::{epoll::Epoll, epoll::Interest, socket};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Accepted from one listener before the connections that are there get their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// After an error that is not about one connection, such as no memory for sockets.
const RETRY: Duration = Duration::from_millis(100);

/// A peer that drops off the network says nothing, and a WebSocket or a stream may be silent for good: after two minutes
/// without a sign of life from its kernel it is given up.
const VANISHED_IDLE_S: i32 = 60;
const VANISHED_INTERVAL_S: i32 = 15;
const VANISHED_PROBES: i32 = 4;

/// The listeners.
pub(crate) struct Acceptor {
    listeners: Vec<Listener>,
    /// Given up when there is no other descriptor left, so that a waiting client is told off and does not stay
    /// in the queue, for which the listener would be ready for ever.
    spare: Option<OwnedFd>,
    retry_at: Option<Instant>,
    complaints: Complaints,
}

struct Listener {
    socket: TcpListener,
    /// Somebody may wait in its queue.
    ready: bool,
}

/// What one turn brought.
pub(crate) struct Turn {
    pub(crate) accepted: Vec<(OwnedFd, SocketAddr)>,
    /// Somebody may still wait.
    pub(crate) more: bool,
}

impl Acceptor {
    /// Watches the listeners; `token` names the one with a number.
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        epoll: &Epoll,
        token: impl Fn(usize) -> u64,
        log: Log,
    ) -> io::Result<Self> {
        for (number, listener) in listeners.iter().enumerate() {
            listener.set_nonblocking(true)?;
            socket::send_at_once(listener.as_fd())?;
            socket::keep_alive(listener.as_fd(), VANISHED_IDLE_S, VANISHED_INTERVAL_S, VANISHED_PROBES)?;
            epoll.add(listener.as_fd(), token(number), Interest::Read)?;
        }
        let listeners = listeners.into_iter().map(|socket| Listener { socket, ready: true }).collect();
        Ok(Self { listeners, spare: socket::spare_descriptor().ok(), retry_at: None, complaints: Complaints::new(log) })
    }

    /// The addresses that we listen on.
    pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
        listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Epoll says that somebody waits.
    pub(crate) fn ready(&mut self, number: usize) {
        if let Some(listener) = self.listeners.get_mut(number) {
            listener.ready = true;
        }
    }

    /// When to try again without being told.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Accepts no more.
    pub(crate) fn close(&mut self) {
        self.listeners.clear();
        self.retry_at = None;
    }

    /// Takes those who wait, at most so many that others get their turn.
    pub(crate) fn accept(&mut self, now: Instant) -> Turn {
        let mut turn = Turn { accepted: Vec::new(), more: false };
        if self.retry_at.is_some_and(|at| now < at) {
            return turn;
        }
        self.retry_at = None;
        for listener in self.listeners.iter_mut().filter(|listener| listener.ready) {
            let mut failures = 0;
            for _ in 0..ACCEPTS_PER_TURN {
                let error = match socket::accept(&listener.socket) {
                    Ok(accepted) => {
                        turn.accepted.push(accepted);
                        continue;
                    }
                    Err(error) => error,
                };
                if error.kind() == io::ErrorKind::WouldBlock {
                    listener.ready = false;
                    break;
                }
                self.complaints.say("cannot accept a connection", &error);
                let refused = socket::is_out_of_descriptors(&error) && turn_away(&mut self.spare, &listener.socket);
                // Any other error is about the connection that could not be accepted, and the next may be fine.
                if !refused && (socket::is_out_of_descriptors(&error) || socket::is_out_of_memory(&error)) {
                    self.retry_at = Some(now + RETRY);
                    break;
                }
                failures += usize::from(!refused);
            }
            // Unless all that a turn brought were errors: whatever they are about, it lasts.
            if failures == ACCEPTS_PER_TURN {
                self.retry_at = Some(now + RETRY);
            }
            turn.more |= listener.ready && self.retry_at.is_none();
        }
        turn
    }
}

/// Accepts one client with the spare descriptor and hangs up on it; false when that did not work either.
fn turn_away(spare: &mut Option<OwnedFd>, listener: &TcpListener) -> bool {
    if spare.take().is_none() {
        *spare = socket::spare_descriptor().ok();
        return false;
    }
    let accepted = socket::accept(listener);
    let worked = accepted.is_ok();
    drop(accepted);
    *spare = socket::spare_descriptor().ok();
    worked
}

/// What is read of the request of a client for whom there is no place.
const REFUSED_READ_BYTES: usize = 4 * 1024;

/// Tells a client that there is no place for it. It may have gone, or not read it: nothing can be done then.
pub(crate) fn refuse(client: &OwnedFd, date: Option<Date>) {
    let (mut request, mut bytes) = (Vec::new(), Vec::new());
    // What is left unread makes a reset of the end.
    let _ = socket::receive(client.as_fd(), &mut request, REFUSED_READ_BYTES);
    let head_only = head::is_of_head_request(&request);
    Answer::Busy.write(Manner { head_only, ..Manner::closing(date) }, &mut bytes);
    let _ = socket::send(client.as_fd(), &bytes);
    socket::shutdown_write(client.as_fd());
}

/// Every kind of trouble is said once in that time: what happens for each of ten thousand connections is one line, and
/// what comes back months later is another.
const COMPLAINT_EVERY: Duration = Duration::from_secs(3600);

/// Says what goes wrong.
pub(crate) struct Complaints {
    said: HashMap<(&'static str, Option<i32>), Instant>,
    log: Log,
}

impl Complaints {
    pub(crate) fn new(log: Log) -> Self {
        Self { said: HashMap::new(), log }
    }

    pub(crate) fn say(&mut self, what: &'static str, error: &io::Error) {
        self.say_at(what, error, Instant::now());
    }

    fn say_at(&mut self, what: &'static str, error: &io::Error, now: Instant) {
        let kind = (what, error.raw_os_error());
        if self.said.get(&kind).is_none_or(|said| now.saturating_duration_since(*said) >= COMPLAINT_EVERY) {
            self.said.insert(kind, now);
            (self.log)(&format!("[edge] {what}: {error}; said once an hour for the same reason"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_turn_of_nothing_but_errors_is_tried_again_at_leisure() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let stream = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        // It is connected and listens to nobody: each accept is an error.
        let deaf = TcpListener::from(OwnedFd::from(stream));
        let epoll = Epoll::new().expect("epoll");
        let mut acceptor = Acceptor::new(vec![deaf], &epoll, |_| 0, Arc::new(|_| {})).expect("options that there are");
        let now = Instant::now();
        for at in [now, now + RETRY, now + 2 * RETRY] {
            let turn = acceptor.accept(at);
            assert!(turn.accepted.is_empty() && !turn.more);
            assert_eq!(acceptor.deadline(), Some(at + RETRY));
        }
    }

    #[test]
    fn without_a_descriptor_a_client_is_turned_away_and_the_spare_is_back() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let mut client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
        let mut spare = socket::spare_descriptor().ok();
        assert!(turn_away(&mut spare, &listener));
        assert!(spare.is_some());
        assert_eq!(client.read(&mut [0; 1]).unwrap_or_default(), 0, "it was hung up on");
        assert!(!turn_away(&mut None, &listener), "without a spare nothing can be done");
    }

    #[test]
    fn each_kind_of_trouble_is_said_once_an_hour() {
        let lines = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&lines);
        let mut complaints = Complaints::new(Arc::new(move |_: &str| *counted.lock().expect("count") += 1));
        let start = Instant::now();
        for (after, expected) in
            [(Duration::ZERO, 2), (COMPLAINT_EVERY - Duration::from_millis(1), 2), (COMPLAINT_EVERY, 4)]
        {
            for _ in 0..3 {
                for reason in [24, 103] {
                    let error = io::Error::from_raw_os_error(reason);
                    complaints.say_at("cannot accept a connection", &error, start + after);
                }
            }
            assert_eq!(*lines.lock().expect("count"), expected, "{after:?}");
        }
    }
}
