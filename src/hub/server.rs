//! The only tiny_http: socket to [`Req`], [`Reply`] to socket, worker threads, rebuild, stop.
//!
//! A few workers block in tiny_http's queue and answer what is quick. Whatever takes its time (a start, a long poll, a
//! stream, a body that is still on its way) goes to a short-lived thread, so that it never keeps others waiting.
//! Answers are written by hand: tiny_http would leave out lengths and hold streams back (http-api §16.1).
//!
//! Every answer asks the client to close the connection: tiny_http gives each open one a thread, and one that arrives
//! together with others may be left waiting for a thread that another, idle one holds (see [`Shared::nudge`]).

mod rebuild;

use super::reply::{Outcome, Reply, Streaming, stream_head};
use super::request;
use super::request::{Body, Req};
use super::waiters::{Kind, Waiters};
use crate::ops::Log;
use crate::wire::Code;
use rebuild::{accepting, hear_of_panics};
use std::any::Any;
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// Threads for quick routes. More than one, because the database may make one of them wait.
const WORKERS: usize = 3;
/// Slow answers at once, streams included; one more is a 503.
const SLOW_LIMIT: usize = 64;
/// Stack of each thread here: the deepest is SQLite checking a token.
const STACK_BYTES: usize = 256 * 1024;
/// Longest body that is read over and thrown away. The edge holds the same limit.
const BODY_LIMIT_BYTES: u64 = 1024 * 1024;
/// What is kept of a body: more than any route takes, and little enough that a thousand slow ones are no burden.
const BODY_KEPT_BYTES: u64 = 16 * 1024;
/// tiny_http hands a request out once a body of this size is there; longer ones are read from the socket.
const READ_AHEAD_BYTES: usize = 1024;
/// What the kernel takes of an answer at once, whether or not its reader reads. The rest of a larger one leaves as slowly as
/// the reader likes: that is waited for on a thread of its own. The edge gives up readers that take too long, and lets
/// nobody have more than a part of all connections.
const QUICK_REPLY_BYTES: usize = 32 * 1024;
/// How long `stop` waits for the workers to finish what they are at.
const STOP_DEADLINE: Duration = Duration::from_secs(1);

/// Makes an outcome of a request. Called on the workers, so it must be quick.
pub(crate) type App = Arc<dyn Fn(Req) -> Outcome + Send + Sync>;

/// The control server. Whoever started it calls [`Server::stop`].
pub(crate) struct Server {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    listener: UnixListener,
    app: App,
    log: Log,
    waiters: Waiters,
    slow: AtomicUsize,
    faults: AtomicUsize,
    /// Heard of in threads that nobody has named, such as those of tiny_http.
    panics: AtomicUsize,
    life: Mutex<Life>,
    changed: Condvar,
}

struct Life {
    /// `None` once the server is to stop.
    current: Option<Arc<tiny_http::Server>>,
    /// The number of the descriptor that the accept loop of `current` has of the listener.
    listens: RawFd,
    /// A worker is about to put another in the place of `current`.
    is_being_replaced: bool,
    workers: usize,
    /// Workers that serve `current` and no earlier one.
    moved: usize,
    rebuilt: Option<(Instant, Duration)>,
}

/// Starts the workers on a listener that is bound to a path.
pub(crate) fn start(listener: UnixListener, app: App, log: Log) -> io::Result<Server> {
    let (first, listens) = accepting(&listener)?;
    let shared = Arc::new(Shared {
        listener,
        app,
        log,
        waiters: Waiters::default(),
        slow: AtomicUsize::new(0),
        faults: AtomicUsize::new(0),
        panics: AtomicUsize::new(0),
        life: Mutex::new(Life {
            current: Some(Arc::new(first)),
            listens,
            is_being_replaced: false,
            workers: 0,
            moved: 0,
            rebuilt: None,
        }),
        changed: Condvar::new(),
    });
    hear_of_panics(&shared);
    let server = Server { shared, workers: Mutex::default() };
    for number in 1..=WORKERS {
        let shared = Arc::clone(&server.shared);
        lock(&shared.life).workers += 1;
        let spawned =
            thread::Builder::new().name(format!("hub/{number}")).stack_size(STACK_BYTES).spawn(move || shared.work());
        match spawned {
            Ok(worker) => lock(&server.workers).push(worker),
            Err(error) => {
                lock(&server.shared.life).workers -= 1;
                server.stop();
                return Err(error);
            }
        }
    }
    Ok(server)
}

impl Server {
    /// The client of this exchange hung up: whatever waits for it ends. Does not block.
    pub(crate) fn client_gone(&self, exchange: u64) {
        self.shared.waiters.client_gone(exchange);
    }

    /// Ends streams and long polls, also those that are yet to come; everything else is answered as before.
    pub(crate) fn end_waits(&self) {
        self.shared.waiters.close();
    }

    /// Ends streams and long polls, lets the workers finish, closes and removes the socket. Blocks for at most
    /// [`STOP_DEADLINE`]; a worker that takes longer ends with the process. Idempotent.
    pub(crate) fn stop(&self) {
        let shared = &self.shared;
        let Some(server) = lock(&shared.life).current.take() else { return };
        shared.changed.notify_all();
        shared.waiters.close();
        (0..WORKERS).for_each(|_| server.unblock());
        let life = lock(&shared.life);
        let waited = shared.changed.wait_timeout_while(life, STOP_DEADLINE, |life| life.workers > 0);
        let all_ended = !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
        if all_ended {
            // They still have to let go of what they share, tiny_http and the database among it.
            for worker in std::mem::take(&mut *lock(&self.workers)) {
                let _ = worker.join();
            }
        }
        // The last owner's drop ends tiny_http's accept thread and removes the socket.
        drop(server);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// The life of one worker. Sleeps in tiny_http's queue, without a timeout.
    fn work(self: &Arc<Self>) {
        let mut mine = None;
        while let Some(server) = self.current(&mut mine) {
            match server.recv() {
                Ok(request) => self.survive(|| self.take(request)),
                Err(error) => self.replace(&server, &error),
            }
        }
        lock(&self.life).workers -= 1;
        self.changed.notify_all();
    }

    /// The tiny_http to serve; `mine` is the one served so far. `None` once the server is to stop.
    fn current(&self, mine: &mut Option<Arc<tiny_http::Server>>) -> Option<Arc<tiny_http::Server>> {
        let mut life = lock(&self.life);
        let current = life.current.clone()?;
        if mine.as_ref().is_none_or(|mine| !Arc::ptr_eq(mine, &current)) {
            life.moved += 1;
            self.changed.notify_all();
            *mine = Some(Arc::clone(&current));
        }
        Some(current)
    }

    /// One request, as tiny_http has it.
    fn take(self: &Arc<Self>, mut request: tiny_http::Request) {
        if body_is_here(&request) {
            // Whoever announces less than they send, or breaks off, is a client that is gone.
            let body = read_body(&mut request).unwrap_or_default();
            return self.answer(request, body);
        }
        // Even the refusal has to take the body off the connection, which lasts as long as the client likes. There are
        // never more of these than connections, and those the edge counts.
        self.detach(request, None, |shared, mut request| match read_body(&mut request) {
            Ok(body) => shared.answer(request, body),
            Err(TooLarge) => {
                let description = format!("the body is larger than {BODY_LIMIT_BYTES} bytes");
                let manner = Manner::of(&request);
                send(request, manner, &Reply::error(413, Code::TooLarge, description));
            }
        });
    }

    fn answer(self: &Arc<Self>, request: tiny_http::Request, body: Body) {
        let headers = request.headers().iter().map(|h| (h.field.as_str().as_str(), h.value.as_str()));
        let req = Req::from_head(request.method().as_str(), request.url(), headers);
        let req = req.map(|mut req| {
            req.body = body;
            req
        });
        let exchange = req.as_ref().ok().and_then(|req| req.exchange);
        let manner = Manner::of(&request);
        let outcome = match req {
            Ok(req) => self.guarded(|| (self.app)(req)).unwrap_or_else(Outcome::Done),
            Err(bad) => Outcome::Done(Reply::error(400, Code::InvalidRequest, bad.to_string())),
        };
        match outcome {
            Outcome::Done(reply) if reply.body.len() <= QUICK_REPLY_BYTES || manner.head_only => {
                send(request, manner, &reply);
            }
            Outcome::Done(reply) => self.detach(request, None, move |_, request| send(request, manner, &reply)),
            Outcome::Later(work) => self.detach(request, Some(SLOW_LIMIT), move |shared, request| {
                let entry = shared.waiters.enter(exchange, Kind::Once);
                let reply = shared.guarded(|| work(&entry.waiting)).unwrap_or_else(|failed| failed);
                send(request, manner, &reply);
            }),
            Outcome::Stream(work) => self.detach(request, Some(SLOW_LIMIT), move |shared, request| {
                shared.stream(request, manner, exchange, work);
            }),
        }
    }

    fn stream(&self, request: tiny_http::Request, manner: Manner, exchange: Option<u64>, work: Streaming) {
        let entry = self.waiters.enter(exchange, Kind::Stream);
        let mut writer = request.into_writer();
        let head = stream_head(SystemTime::now());
        if writer.write_all(&head).and_then(|()| writer.flush()).is_err() || manner.head_only {
            return;
        }
        let mut chunk = Vec::new();
        let mut push = |bytes: &[u8]| -> io::Result<()> {
            if bytes.is_empty() {
                return Ok(()); // a chunk of length 0 would be the end
            }
            chunk.clear();
            chunk.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
            chunk.extend_from_slice(bytes);
            chunk.extend_from_slice(b"\r\n");
            writer.write_all(&chunk)?;
            writer.flush()
        };
        // An error is the client's hang-up. After a panic the end of the stream is still marked, or the client would
        // wait for more.
        let ended = self.guarded(|| work(&entry.waiting, &mut push));
        if !matches!(ended, Ok(Err(_))) && !entry.waiting.gave_way() {
            let _gone = writer.write_all(b"0\r\n\r\n").and_then(|()| writer.flush());
        }
    }

    /// Gives the request to a thread of its own, unless `limit` of them are busy.
    fn detach(
        self: &Arc<Self>,
        request: tiny_http::Request,
        limit: Option<usize>,
        work: impl FnOnce(&Arc<Self>, tiny_http::Request) + Send + 'static,
    ) {
        let manner = Manner::of(&request);
        if !manner.closes {
            self.nudge();
        }
        let slot = match limit {
            None => None,
            Some(limit) => match Slot::take(self, limit) {
                None => return send(request, manner, &Reply::busy()),
                slot => slot,
            },
        };
        // The request stays reachable from here, because a thread that cannot be started drops what it was given.
        let parcel = Arc::new(Mutex::new(Some(request)));
        let (shared, theirs) = (Arc::clone(self), Arc::clone(&parcel));
        let spawned = thread::Builder::new().name("hub/slow".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let _slot = slot;
            let request = lock(&theirs).take();
            if let Some(request) = request {
                shared.survive(|| work(&shared, request));
            }
        });
        if let Err(error) = spawned {
            (self.log)(&format!("cannot start a thread for a slow request: {error}"));
            let request = lock(&parcel).take();
            if let Some(request) = request {
                send(request, manner, &Reply::busy());
            }
        }
    }

    /// Makes tiny_http look again whether a connection waits for a thread. It queues a connection when it believes a
    /// thread to be idle, also when that one was just given another connection; and then nothing but a thread that
    /// gets free, or a further connection, helps. Called when a connection is about to hold its thread for long.
    fn nudge(&self) {
        let address = self.listener.local_addr();
        if let Some(path) = address.as_ref().ok().and_then(|address| address.as_pathname()) {
            // When even this fails there is no connection that could wait.
            let _closed_at_once = UnixStream::connect(path);
        }
    }

    /// Runs a handler. A panic becomes the answer 500 with a number that the log has as well.
    fn guarded<T>(&self, handler: impl FnOnce() -> T) -> Result<T, Reply> {
        catch_unwind(AssertUnwindSafe(handler)).map_err(|panic| {
            // With the pid the number is unique in a log that several boots share.
            let number = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
            let request_id = format!("{}-{number}", std::process::id());
            (self.log)(&format!("request {request_id} failed: {}", panic_text(&*panic)));
            Reply::internal_error(request_id)
        })
    }

    /// Keeps a thread alive through a panic outside of any handler.
    fn survive(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            (self.log)(&format!("a request was dropped: {}", panic_text(&*panic)));
        }
    }
}

/// One of the limited number of slow answers.
struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>, limit: usize) -> Option<Self> {
        shared
            .slow
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |busy| (busy < limit).then_some(busy + 1))
            .ok()
            .map(|_| Self(Arc::clone(shared)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.slow.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How a request wants its answer.
#[derive(Debug, Clone, Copy)]
struct Manner {
    head_only: bool,
    /// tiny_http ends the connection's thread by itself.
    closes: bool,
}

impl Manner {
    fn of(request: &tiny_http::Request) -> Self {
        let closes = request
            .headers()
            .iter()
            .any(|header| header.field.equiv("Connection") && request::lists_token(header.value.as_str(), "close"));
        Self { head_only: *request.method() == tiny_http::Method::Head, closes }
    }
}

fn send(request: tiny_http::Request, manner: Manner, reply: &Reply) {
    let mut writer = request.into_writer();
    // An error means that the client has gone, so there is nobody to tell.
    let _gone = reply.write(&mut writer, manner.head_only, SystemTime::now());
}

/// Whether reading the body, or dropping the request, cannot wait for the client.
fn body_is_here(request: &tiny_http::Request) -> bool {
    let waits = |name: &'static str| request.headers().iter().any(|header| header.field.equiv(name));
    !waits("Transfer-Encoding")
        && !waits("Expect")
        && request.body_length().is_none_or(|length| length <= READ_AHEAD_BYTES)
}

/// The body is larger than [`BODY_LIMIT_BYTES`].
struct TooLarge;

/// Takes the body off the connection, where the next request would otherwise begin, and keeps the beginning of it.
fn read_body(request: &mut tiny_http::Request) -> Result<Body, TooLarge> {
    let announced = request.body_length().and_then(|length| u64::try_from(length).ok());
    if announced.is_some_and(|length| length > BODY_LIMIT_BYTES) {
        return Err(TooLarge);
    }
    let reader = request.as_reader();
    let mut bytes = Vec::new();
    // A body that breaks off takes its connection along; the answer finds nobody.
    let _broken_off = reader.take(BODY_KEPT_BYTES).read_to_end(&mut bytes);
    match io::copy(&mut reader.take(BODY_LIMIT_BYTES + 1 - BODY_KEPT_BYTES), &mut io::sink()) {
        Ok(rest) if bytes.len() as u64 + rest > BODY_LIMIT_BYTES => Err(TooLarge),
        Ok(rest) => Ok(Body::new(bytes, rest > 0)),
        Err(_) => Ok(Body::new(bytes, true)),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic without a message")
}

/// A panic while one of these short sections held the lock leaves the data as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
