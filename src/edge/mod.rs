//! The only code that reads the network; the only place that names `httparse`.
//!
//! One thread, one edge-triggered epoll loop. Every decision about bytes is made by pure code (`exchange` and what it
//! uses); `event_loop` and `accept` move bytes between it and the sockets. Must not know what the upstream does.
//!
//! Two things of HTTP/1.1 are left out by rule:
//!
//! - **Trailers**, in both directions. They are checked like fields, so that they hide nothing, and dropped, which is
//!   left to whoever takes a chunked body apart (RFC 9112 §7.1.2). What comes behind a body would say something about
//!   a message that was judged and acted upon by its head. Nobody misses them: browsers show them to no script,
//!   gRPC-web has its own in the body, and gRPC needs HTTP/2. `TE` and `Trailer` are dropped with them, so that neither
//!   side is promised any.
//! - **Interim answers** of upstreams. `100` is the edge's own to say, because it takes `Expect` away. `102` and `103`
//!   help no browser, which heeds hints over HTTP/2 and later only, and harm other clients: many take the first head
//!   that is not `100` for the answer (Python's `http.client` does). That is why RFC 8297 §3 lets a server keep hints
//!   from HTTP/1.1 clients of which it knows nothing. `101` is an answer, to a WebSocket alone.

mod accept;
mod access;
mod answer;
mod asks;
mod begin;
mod buffer;
mod crowd;
mod date;
mod denial;
mod event_loop;
mod exchange;
mod framing;
mod gates;
mod head;
mod headers;
mod hold;
mod identity;
mod initiator;
mod layer;
mod own_hosts;
mod pace;
mod page;
mod path;
mod places;
mod pool;
mod relay;
mod route;
mod rules;
mod slab;
mod socket;
#[cfg(test)]
mod tests;
mod visit;
mod watch;

pub(crate) use denial::Denial;
pub(crate) use headers::IsHubBearer;
pub(crate) use identity::{Caller, Question, Ticket, Verdict};
pub(crate) use layer::Proxies;
pub(crate) use own_hosts::OwnHosts;
pub(crate) use route::Table;
pub(crate) use visit::Visit;

use crate::config::{AccessFormat, Limits};
use crate::sys::epoll::Waker;
use places::Places;
use std::io;
use std::mem;
use std::net::TcpListener;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// The loop keeps no large values on its stack.
const STACK_BYTES: usize = 256 * 1024;

/// Says something to the log. Called on the edge's thread: it must not block.
pub(crate) type Log = Arc<dyn Fn(&str) + Send + Sync>;
/// Hears the number of an exchange whose client has gone. Called on the edge's thread: it must not block.
pub(crate) type OnClientGone = Arc<dyn Fn(u64) + Send + Sync>;

/// Hears that the edge serves nobody any more.
pub(crate) type OnLost = Box<dyn Fn() + Send>;

/// Makes the routes anew, given those that hold now; `None` when they cannot be read, which it has said. Called on the
/// edge's thread when a file has changed that they come from: it may block for reading small files.
pub(crate) type Routes = Arc<dyn Fn(&Table) -> Option<Routing> + Send + Sync>;

/// The routes, and what they were read from beside the list of modules.
pub(crate) struct Routing {
    pub(crate) table: Table,
    pub(crate) manifests: Vec<PathBuf>,
}

/// Finds out who a caller is, and whether it may see what it asks for, and rings the bell with the answer. Called on the
/// edge's thread: it must not block.
pub(crate) type Identify = Box<dyn Fn(Ticket, Arc<Question>) + Send>;

/// Where the lines of the access log go.
pub(crate) struct AccessLog {
    pub(crate) format: AccessFormat,
    /// Takes whole lines, so many of them. Called on the edge's thread: it must not block.
    pub(crate) write: Box<dyn Fn(Vec<u8>, u64) + Send>,
}

/// What the edge needs from the rest of the hub.
pub(crate) struct Hooks {
    pub(crate) routes: Routes,
    pub(crate) on_client_gone: OnClientGone,
    pub(crate) identify: Identify,
    pub(crate) counters: Arc<Counters>,
    /// Called when the edge has ended although nobody has stopped it. Called on its thread: it must not block.
    pub(crate) on_lost: OnLost,
    pub(crate) log: Log,
    /// `None`: requests are not logged.
    pub(crate) access_log: Option<AccessLog>,
}

/// Tells the edge, which need not run yet, that a module stands differently, who a caller is, or that the routes are
/// not what they were.
pub(crate) struct Bell {
    waker: Waker,
    is_to_reroute: AtomicBool,
    /// Of requests that wait for a module.
    waiting: Places,
    /// Answers that the edge has not taken yet; a request waits for each.
    verdicts: Mutex<Vec<(Ticket, Verdict)>>,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            waker: Waker::new()?,
            is_to_reroute: AtomicBool::new(false),
            waiting: Places::default(),
            verdicts: Mutex::default(),
        }))
    }

    /// Requests that wait for a module.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.taken()
    }

    /// Never blocks, and wakes nobody for whom it makes no difference.
    pub(crate) fn ring(&self) {
        if self.waiting() > 0 {
            self.waker.wake();
        }
    }

    /// The routes have to be made anew. Never blocks.
    pub(crate) fn reroute(&self) {
        if !self.is_to_reroute.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    fn takes_reroute(&self) -> bool {
        self.is_to_reroute.swap(false, Ordering::AcqRel)
    }

    /// The answer to a question of the edge.
    pub(crate) fn answer(&self, ticket: Ticket, verdict: Verdict) {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).push((ticket, verdict));
        self.waker.wake();
    }

    fn take_verdicts(&self) -> Vec<(Ticket, Verdict)> {
        std::mem::take(&mut *self.verdicts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What can be set about the edge.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Hosts of the hub's own origins: they may use everything from everywhere.
    pub(crate) own_hosts: OwnHosts,
    /// Further hosts of that kind, with or without a port.
    pub(crate) allowed_hosts: Vec<String>,
    /// Those elsewhere whose word about their clients is believed.
    pub(crate) proxies: Proxies,
    /// With more connections than these, the one that has been idle for longest gives way. Those of one address count
    /// for addresses other than loopback and those of proxies, behind which are many clients.
    pub(crate) limits: Limits,
    /// What stays with the hub.
    pub(crate) is_hub_bearer: IsHubBearer,
    /// The list of modules first, then whatever else the routes, or the hub's own hosts, come from; not the manifests.
    pub(crate) watched: Vec<PathBuf>,
}

impl Settings {
    pub(crate) fn new(own_hosts: OwnHosts, allowed_hosts: Vec<String>) -> Self {
        Self {
            own_hosts,
            allowed_hosts,
            proxies: Proxies::default(),
            limits: Limits::default(),
            is_hub_bearer: |_| false,
            watched: Vec::new(),
        }
    }
}

/// What the edge is doing and has done; read by whoever shows it.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    connections: AtomicUsize,
    requests: AtomicU64,
    refused: AtomicU64,
    websockets: Places,
}

impl Counters {
    /// Connections of clients that are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests since the start, refused ones included.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Clients since the start for whom there was no place.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// WebSockets that are open.
    pub(crate) fn websockets(&self) -> usize {
        self.websockets.taken()
    }
}

/// What the loop shares with its handle.
struct Shared {
    bell: Arc<Bell>,
    /// The routes stay as they are.
    keeps_routes: AtomicBool,
    stop_by: Mutex<Option<Instant>>,
    counters: Arc<Counters>,
}

/// A running edge. Dropping it leaves the edge running; [`EdgeHandle::stop`] ends it.
pub(crate) struct EdgeHandle {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl EdgeHandle {
    /// From now on the routes stay as they are, and no file is watched. The end of watching takes the kernel a while,
    /// for which [`EdgeHandle::stop`] would wait.
    pub(crate) fn keep_routes(&self) {
        self.shared.keeps_routes.store(true, Ordering::Release);
        self.shared.bell.waker.wake();
    }

    /// Accepts no more, lets running exchanges end until `deadline`, then closes everything. Blocks until then.
    pub(crate) fn stop(self, deadline: Instant) {
        *self.shared.stop_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        self.shared.bell.waker.wake();
        // A loop that has panicked has closed its sockets, too.
        let _ = self.thread.join();
    }

    #[cfg(test)]
    pub(crate) fn counters(&self) -> &Counters {
        &self.shared.counters
    }
}

/// Serves `listeners` until the handle stops it. Requests that are for no module go to the hub at `hub_socket`, which
/// need not listen yet.
pub(crate) fn start(
    settings: Settings,
    listeners: Vec<TcpListener>,
    hub_socket: PathBuf,
    mut hooks: Hooks,
    bell: Arc<Bell>,
) -> io::Result<EdgeHandle> {
    let counters = Arc::clone(&hooks.counters);
    let shared = Arc::new(Shared { bell, keeps_routes: AtomicBool::new(false), stop_by: Mutex::new(None), counters });
    let on_lost = mem::replace(&mut hooks.on_lost, Box::new(|| {}));
    let event_loop = event_loop::EventLoop::new(settings, listeners, hub_socket, hooks, Arc::clone(&shared))?;
    let thread = std::thread::Builder::new().name("edge".to_owned()).stack_size(STACK_BYTES).spawn(move || {
        if !panic::catch_unwind(AssertUnwindSafe(|| event_loop.run())).unwrap_or(false) {
            on_lost();
        }
    })?;
    Ok(EdgeHandle { shared, thread })
}
