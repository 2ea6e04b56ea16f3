//! Epoll: readiness and deadlines to connections, and what they ask for to sockets. Whatever goes wrong for one connection
//! ends that one only, and what goes wrong for all of them is tried again; a loop that cannot serve any more says so.

mod admission;
mod client;
mod upstreams;

use super::accept::{Acceptor, Complaints};
use super::access::Journal;
use super::asks::{Asks, Release};
use super::crowd::Crowd;
use super::date::Date;
use super::identity::Ticket;
use super::places::{Places, PlacesOf};
use super::pool::Pool;
use super::route::{Hosts, Table};
use super::rules::Rules;
use super::slab::{Key, Slab};
use super::watch::Watch;
use super::{Hooks, Routing, Settings, Shared};
use crate::sys::epoll::{Epoll, Event, Interest};
use crate::sys::{fs, memory};
use client::Client;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use upstreams::UpstreamSocket;

/// Rounds of one connection before the others get their turn: about 2 MiB in one direction.
const ROUNDS_PER_TURN: usize = 32;

/// What was read before it was watched is read once more, so often at once.
const RELOADS: usize = 4;

/// Before the next turn after one that failed, doubled while they go on to fail.
const TROUBLE_PAUSE: Duration = Duration::from_millis(10);
const TROUBLE_PAUSE_MAX: Duration = Duration::from_millis(500);
/// A loop that has had no good turn for so long will have none: who keeps the hub running is to start it again.
const TROUBLE_LASTS: Duration = Duration::from_secs(10);

/// Lines of the access log wait for the end of a turn, but not more of them.
const JOURNAL_BYTES: usize = 64 * 1024;

/// The two upper bits of a token say whose it is.
const KIND_SHIFT: u32 = 62;
const CLIENT: u64 = 0;
const UPSTREAM: u64 = 1;
const LISTENER: u64 = 2;
/// The waker has number 0, what watches the routes has number 1.
const OTHERS: u64 = 3;
const WAKER: u64 = OTHERS << KIND_SHIFT;
const WATCH: u64 = WAKER | 1;

pub(crate) struct EventLoop {
    epoll: Epoll,
    acceptor: Acceptor,
    rules: Rules,
    hub_socket: PathBuf,
    clients: Slab<Client>,
    clients_of: HashMap<IpAddr, usize>,
    crowd: Crowd,
    upstreams: Slab<UpstreamSocket>,
    pool: Pool,
    /// At most one for each client, never later than the one it wants; a client whose turn comes early is asked again.
    deadlines: BTreeSet<(Instant, Key)>,
    /// What epoll has said and nobody has heard yet.
    events: Vec<Event>,
    /// The token of the event that is being handled.
    handling: Option<u64>,
    /// Clients that had more to do when their turn ended.
    unfinished: Vec<Key>,
    accept_again: bool,
    /// Newcomers for whom there is a place in the next turn, perhaps.
    delayed: Vec<(OwnedFd, SocketAddr)>,
    stop_by: Option<Instant>,
    complaints: Complaints,
    watch: Watch,
    hooks: Hooks,
    shared: Arc<Shared>,
}

/// What a round came to.
enum Round {
    Moved,
    Waits,
    Closed,
}

impl EventLoop {
    pub(crate) fn new(
        settings: Settings,
        listeners: Vec<TcpListener>,
        hub_socket: PathBuf,
        hooks: Hooks,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(shared.bell.waker.fd(), WAKER, Interest::Read)?;
        let watch = Watch::new(&settings.watched, &epoll, WATCH, &hooks.log);
        let log = hooks.log.clone();
        let table = Table::empty(shared.bell.waiting.clone());
        let (addresses, own_ports) = Acceptor::addresses(&listeners).iter().map(|at| (at.ip(), at.port())).unzip();
        let hosts = Hosts::new(settings.own_hosts.clone(), &settings.allowed_hosts, addresses);
        let format = hooks.access_log.as_ref().map(|log| log.format);
        let acceptor = Acceptor::new(listeners, &epoll, |number| LISTENER << KIND_SHIFT | number as u64, log.clone())?;
        Ok(Self {
            epoll,
            acceptor,
            rules: Rules {
                settings,
                hosts,
                own_ports,
                table: Arc::new(table),
                websockets: shared.counters.websockets.clone(),
                websockets_of: PlacesOf::default(),
                introspections: Places::default(),
                hub: Places::default(),
                hub_of: PlacesOf::default(),
                large_bodies: Places::default(),
                streams: Places::default(),
                last_exchange: 0,
                date: Date::of(SystemTime::now()),
                requests: 0,
                refused: 0,
                journal: Journal::new(format, (Instant::now(), SystemTime::now())),
            },
            hub_socket,
            clients: Slab::default(),
            clients_of: HashMap::new(),
            crowd: Crowd::default(),
            upstreams: Slab::default(),
            pool: Pool::default(),
            deadlines: BTreeSet::new(),
            events: Vec::new(),
            handling: None,
            unfinished: Vec::new(),
            accept_again: true,
            delayed: Vec::new(),
            stop_by: None,
            complaints: Complaints::new(log),
            watch,
            hooks,
            shared,
        })
    }

    /// Serves until it is stopped, and closes what is left then. False when it had to give up before.
    pub(crate) fn run(mut self) -> bool {
        // Here, and not where it was made: reading takes a while when there are many modules, and they can start meanwhile.
        self.reload();
        let was_stopped = self.serve();
        let left: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        let now = Instant::now();
        left.into_iter().for_each(|key| self.close(key, now));
        self.write_journal();
        was_stopped
    }

    fn serve(&mut self) -> bool {
        let mut trouble: Option<(Instant, Duration)> = None;
        loop {
            // Whatever goes wrong outside of serving one connection ends the turn and no more.
            let why = match panic::catch_unwind(AssertUnwindSafe(|| self.turn())) {
                Ok(Ok(true)) => return true,
                Ok(Ok(false)) => {
                    trouble = None;
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    self.after_panic();
                    io::Error::other("a bug: a turn of the edge panicked")
                }
            };
            let (since, pause) = trouble
                .map_or((Instant::now(), TROUBLE_PAUSE), |(since, pause)| (since, (pause * 2).min(TROUBLE_PAUSE_MAX)));
            if since.elapsed() >= TROUBLE_LASTS {
                (self.hooks.log)(&format!("[edge] cannot serve connections: {why}; giving up"));
                return false;
            }
            self.complaints.say("cannot wait for connections, trying again", &why);
            trouble = Some((since, pause));
            fs::pause(pause);
        }
    }

    /// Nobody knows what the event that was being handled has led to: whose it was is closed. The others are still there.
    fn after_panic(&mut self) {
        let now = Instant::now();
        let key = self.handling.map(Key::from_bits);
        let owner = match self.handling.take().map(|token| token >> KIND_SHIFT) {
            Some(CLIENT) => key,
            Some(UPSTREAM) => key.and_then(|key| self.upstreams.remove(key)).and_then(|upstream| upstream.owner),
            _ => None,
        };
        if let Some(owner) = owner {
            self.close(owner, now);
        }
        self.accept_again = true;
    }

    /// Waits, and does what is due then. True when the loop is over.
    fn turn(&mut self) -> io::Result<bool> {
        // What a turn that failed has left is done first: an edge comes once.
        if self.events.is_empty() {
            let timeout = self.timeout(Instant::now());
            self.epoll.wait(&mut self.events, timeout)?;
            // New routes hold for requests that come after them, and what an idle upstream says is heard before another
            // request is given to it: it would be taken for the answer.
            self.events.sort_by_key(|event: &Event| match (event.token, event.token >> KIND_SHIFT) {
                (WATCH, _) => 0,
                (_, UPSTREAM) => 1,
                (WAKER, _) => 2,
                _ => 3,
            });
            // They are taken from the end, and who came first has the first turn.
            self.events.reverse();
        }
        let now = Instant::now();
        let today = SystemTime::now();
        self.rules.date = Date::renewed(self.rules.date, today);
        if self.rules.journal.is_on() {
            self.rules.journal.set_clocks((now, today));
        }
        if self.watch.is_blind() {
            self.reload();
        }
        while let Some(event) = self.events.pop() {
            self.handling = Some(event.token);
            self.dispatch(event, now);
        }
        self.handling = None;
        for key in mem::take(&mut self.unfinished) {
            self.drive(key, now);
        }
        self.expire(now);
        for key in self.pool.expired(now) {
            self.upstreams.remove(key);
        }
        if mem::take(&mut self.accept_again) || self.acceptor.deadline().is_some_and(|at| at <= now) {
            self.accept(now);
        }
        self.write_journal();
        Ok(self.is_over(now))
    }

    /// Hands on the lines of the access log.
    fn write_journal(&mut self) {
        if let (Some(log), Some((text, lines))) = (&self.hooks.access_log, self.rules.journal.take()) {
            (log.write)(text, lines);
        }
    }

    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.accept_again || !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let first = self.deadlines.first().map(|(at, _)| *at);
        let next = [first, self.acceptor.deadline(), self.pool.deadline(), self.stop_by].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    fn dispatch(&mut self, event: Event, now: Instant) {
        let key = Key::from_bits(event.token);
        match event.token >> KIND_SHIFT {
            CLIENT => {
                if let Some(client) = self.clients.get_mut(key) {
                    client.socket.note(event);
                    self.drive(key, now);
                }
            }
            UPSTREAM => {
                let Some(upstream) = self.upstreams.get_mut(key) else { return };
                upstream.socket.note(event);
                match upstream.owner {
                    // Its client has been given another, or has gone.
                    Some(owner) if self.clients.get_mut(owner).is_none_or(|client| client.upstream != Some(key)) => {
                        self.upstreams.remove(key);
                    }
                    Some(owner) => {
                        if upstream.connecting.is_some() {
                            self.connected(key, owner);
                        }
                        self.drive(owner, now);
                    }
                    // Nobody has asked it anything: it has been closed, or it is out of step.
                    None if upstream.socket.is_readable() => {
                        self.pool.remove(upstream.to, key);
                        self.upstreams.remove(key);
                    }
                    None => {}
                }
            }
            LISTENER => {
                self.acceptor.ready(usize::try_from(event.token & !(LISTENER << KIND_SHIFT)).unwrap_or(usize::MAX));
                self.accept_again = true;
            }
            _ if event.token == WATCH => {
                if self.watch.changed() {
                    self.reload();
                }
            }
            _ => self.woken(now),
        }
    }

    /// Takes over the routes as they are now. Those that cannot be read stay as they were; the hub says why. Whoever makes
    /// them reads files of the user's: not even a bug there ends the edge.
    fn reload(&mut self) {
        if self.shared.keeps_routes.load(Ordering::Acquire) {
            return;
        }
        for _ in 0..RELOADS {
            // Whoever reads files that have changed says so; they are read in this round.
            let _answered = self.shared.bell.takes_reroute();
            match panic::catch_unwind(AssertUnwindSafe(|| (self.hooks.routes)(&self.rules.table))) {
                Ok(Some(Routing { table, manifests })) => {
                    self.rules.table = Arc::new(table);
                    if !self.watch.follow(manifests) {
                        return;
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    return (self.hooks.log)("[edge] a bug: reading the routes panicked; they stay as they were");
                }
            }
        }
        // Somebody is at work there.
        self.shared.bell.reroute();
    }

    /// The loop is to stop, the routes are to be made anew, it is known who some callers are, or a module stands
    /// differently, for which requests wait.
    fn woken(&mut self, now: Instant) {
        self.begin_to_stop();
        if self.shared.keeps_routes.load(Ordering::Acquire) {
            self.watch.release();
        } else if self.shared.bell.takes_reroute() {
            self.reload();
        }
        for (ticket, verdict) in self.shared.bell.take_verdicts() {
            if let Some(client) = self.clients.get_mut(ticket.client) {
                client.connection.identified(ticket.exchange, &verdict);
                self.drive(ticket.client, now);
            }
        }
        let waiting: Vec<Key> =
            self.clients.iter().filter(|(_, client)| client.connection.is_waiting()).map(|(key, _)| key).collect();
        for key in waiting {
            self.drive(key, now);
        }
    }

    fn begin_to_stop(&mut self) {
        let stop_by = *self.shared.stop_by.lock().unwrap_or_else(PoisonError::into_inner);
        if stop_by.is_none() {
            return;
        }
        self.stop_by = stop_by;
        self.acceptor.close();
        self.accept_again = false;
        let keys: Vec<Key> = self.clients.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(client) = self.clients.get_mut(key) {
                client.connection.drain();
                self.unfinished.push(key);
            }
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let is_done = |client: &Client| client.connection.is_done(|| client.socket.unread());
        self.stop_by.is_some_and(|by| by <= now || self.clients.iter().all(|(_, client)| is_done(client)))
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.deadlines.first().copied() {
            if now < at {
                return;
            }
            self.deadlines.pop_first();
            if let Some(client) = self.clients.get_mut(key) {
                client.deadline = None;
                self.drive(key, now);
            }
        }
    }

    /// Does everything that can be done for a client now. A panic ends that client only.
    fn drive(&mut self, key: Key, now: Instant) {
        let driven = panic::catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..ROUNDS_PER_TURN {
                match self.round(key, now) {
                    Round::Moved => {}
                    Round::Waits => return self.schedule(key),
                    Round::Closed => return self.close(key, now),
                }
            }
            if !self.unfinished.contains(&key) {
                self.unfinished.push(key);
            }
        }));
        if driven.is_err() {
            (self.hooks.log)("[edge] a bug: serving a connection panicked; only that connection has been closed");
            self.close(key, now);
        }
        if self.rules.journal.waiting_bytes() >= JOURNAL_BYTES {
            self.write_journal();
        }
    }

    fn round(&mut self, key: Key, now: Instant) -> Round {
        let Some(client) = self.clients.get_mut(key) else { return Round::Closed };
        let mut moved = client.read(now);
        if let Some(upstream) = client.upstream.and_then(|key| self.upstreams.get_mut(key)) {
            moved |= client.read_upstream(upstream, now);
        }
        let asks = client.connection.advance(now, &mut self.rules);
        // Before anybody can hear of a request, or a refusal, it has been counted.
        self.shared.counters.requests.store(self.rules.requests, Ordering::Relaxed);
        self.shared.counters.refused.store(self.rules.refused, Ordering::Relaxed);
        if asks.close {
            self.perform(key, &asks, now);
            return Round::Closed;
        }
        if asks != Asks::default() {
            moved = true;
            self.perform(key, &asks, now);
        }
        let Some(client) = self.clients.get_mut(key) else { return Round::Closed };
        if let Some(upstream) = client.upstream.and_then(|key| self.upstreams.get_mut(key)) {
            moved |= client.write_upstream(upstream, &self.epoll, now);
        }
        moved |= client.write(&self.epoll, now);
        if moved { Round::Moved } else { Round::Waits }
    }

    fn perform(&mut self, key: Key, asks: &Asks, now: Instant) {
        let Some(client) = self.clients.get_mut(key) else { return };
        if asks.shut_down {
            client.socket.shut_down_write();
        }
        // Never two at once: what is left of an earlier attempt would be taken for the one that is asked next.
        let release = asks.release.or(asks.open.map(|_| Release::Close));
        if let Some(upstream) = release.and_then(|_| client.upstream.take()) {
            self.release(upstream, release, now);
        }
        if let Some(id) = asks.gone {
            (self.hooks.on_client_gone)(id);
        }
        if let Some((exchange, question)) = &asks.identify {
            (self.hooks.identify)(Ticket { client: key, exchange: *exchange }, Arc::clone(question));
        }
        if let Some(open) = asks.open {
            self.open(open, key, now);
        }
    }

    /// Makes sure that the client gets its turn in time.
    fn schedule(&mut self, key: Key) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(wanted) = client.connection.deadline(&self.rules.settings) else { return };
        // A turn that comes too early costs one look; moving the entry for every request would cost more.
        if client.deadline.is_some_and(|at| at <= wanted) {
            return;
        }
        if let Some(later) = client.deadline.replace(wanted) {
            self.deadlines.remove(&(later, key));
        }
        self.deadlines.insert((wanted, key));
    }

    fn close(&mut self, key: Key, now: Instant) {
        let Some(mut client) = self.clients.remove(key) else { return };
        if client.connection.must_reset() {
            client.socket.reset_on_close();
        }
        client.connection.give_up(now, &mut self.rules.journal);
        if let Some(at) = client.deadline {
            self.deadlines.remove(&(at, key));
        }
        if let Some(upstream) = client.upstream {
            self.upstreams.remove(upstream);
        }
        if let Some(count) = self.clients_of.get_mut(&client.network) {
            *count -= 1;
            if *count == 0 {
                self.clients_of.remove(&client.network);
            }
        }
        self.count();
    }

    /// After every change of their number.
    fn count(&mut self) {
        let clients = self.clients.len();
        self.shared.counters.connections.store(clients, Ordering::Relaxed);
        if self.crowd.has_gone(clients) {
            memory::give_back_heap();
        }
    }
}
