//! A small loop that plays client, upstream and clock. It checks what holds at all times.

use super::super::*;
use crate::edge::access::Journal;
use crate::edge::asks::History;
use crate::edge::identity::Question;
use crate::edge::places::{Places, PlacesOf};
use crate::edge::relay::LARGE_READ_BYTES;
use crate::edge::route::{Hosts, Table};
use crate::edge::tests::mount;
use crate::edge::{OwnHosts, Settings};
use crate::manifest::mounts::Mount;
use crate::supervisor::standing::{Board, Standing};
use leaving::HALF_CLOSED;
use std::sync::Arc;
use std::time::SystemTime;

/// Plays one connection. Whatever the machine says to the client and to its upstreams is kept.
pub(super) struct Play {
    pub(super) connection: Connection,
    pub(super) rules: Rules,
    pub(super) now: Instant,
    pub(super) to_client: Vec<u8>,
    /// For every upstream that was opened, what it got.
    pub(super) upstreams: Vec<Vec<u8>>,
    /// The last of them is still there.
    pub(super) open: bool,
    /// There is a socket to an upstream, whatever became of it, or an attempt to get one.
    holds: bool,
    /// Somebody takes connections to upstreams.
    pub(super) listening: bool,
    /// Nothing becomes of an attempt to reach an upstream, neither good nor bad.
    pub(super) unreachable: bool,
    /// How often an upstream was asked for.
    pub(super) opens: usize,
    pub(super) released: Vec<Release>,
    pub(super) gone: Vec<u64>,
    /// What the hub was asked about callers; a test answers the last.
    pub(super) asked: Vec<(u64, Arc<Question>)>,
    pub(super) shut_down: bool,
    pub(super) closed: bool,
}

impl Play {
    /// The hub is the upstream of everything, so that it is asked once a request is there as a whole.
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            connection: Connection::new("127.0.0.1:5000".parse().expect("address"), now),
            rules: Rules {
                settings: Settings::new(OwnHosts::default(), Vec::new()),
                hosts: Hosts::new(OwnHosts::default(), &[], Vec::new()),
                own_ports: Vec::new(),
                table: Arc::default(),
                websockets: Places::default(),
                websockets_of: PlacesOf::default(),
                introspections: Places::default(),
                hub: Places::default(),
                hub_of: PlacesOf::default(),
                large_bodies: Places::default(),
                streams: Places::default(),
                last_exchange: 0,
                date: None,
                requests: 0,
                refused: 0,
                journal: Journal::new(None, (now, SystemTime::UNIX_EPOCH)),
            },
            now,
            to_client: Vec::new(),
            upstreams: Vec::new(),
            open: false,
            holds: false,
            listening: true,
            unreachable: false,
            opens: 0,
            released: Vec::new(),
            gone: Vec::new(),
            asked: Vec::new(),
            shut_down: false,
            closed: false,
        }
    }

    /// A module has the paths below `/m`. It takes WebSockets and stands as the board says.
    pub(super) fn with_module(hold: Duration) -> (Self, Arc<Board>) {
        Self::with_module_at("/m", hold)
    }

    /// The same below this path.
    pub(super) fn with_module_at(path: &str, hold: Duration) -> (Self, Arc<Board>) {
        Self::with_mount(Mount { websocket: true, hold, ..mount(path) })
    }

    /// The same with this mount.
    pub(super) fn with_mount(mount: Mount) -> (Self, Arc<Board>) {
        // First, for nothing that stands on a board is older than the first of them.
        let board = Arc::new(Board::new());
        board.set(Standing::Stopped);
        let mut play = Self::new();
        play.rules.table = Arc::new(Table::new(vec![mount], |_| Arc::clone(&board), &Table::default()));
        (play, board)
    }

    /// Lets the machine do all it can; every socket takes everything.
    pub(super) fn settle(&mut self) {
        while !self.closed {
            let asks = self.connection.advance(self.now, &mut self.rules);
            self.check_bounds();
            let mut moved = asks != Asks::default();
            if let Some(release) = asks.release {
                self.released.push(release);
                self.open = false;
                self.holds = false;
            }
            self.gone.extend(asks.gone);
            self.asked.extend(asks.identify);
            self.shut_down |= asks.shut_down;
            self.closed = asks.close;
            if let Some(open) = asks.open {
                self.opens += 1;
                assert!(!self.holds, "what is left of an earlier attempt could take the place of this one");
                self.holds = self.unreachable || self.listening;
                if self.unreachable {
                    // The connection has its own deadline for that.
                } else if self.listening {
                    let reused = open.history == History::Any && self.released.last() == Some(&Release::Reuse);
                    self.upstreams.push(Vec::new());
                    self.open = true;
                    self.connection.upstream_opened(reused);
                } else {
                    self.connection.upstream_refused(Unavailable::Down);
                }
            }
            let pending = self.connection.to_upstream().to_vec();
            if !pending.is_empty() {
                self.upstreams.last_mut().expect("opened").extend_from_slice(&pending);
                self.connection.upstream_sent(pending.len(), self.now);
                moved = true;
            }
            let pending = self.connection.to_client().to_vec();
            if !pending.is_empty() {
                self.to_client.extend_from_slice(&pending);
                self.connection.client_sent(pending.len(), self.now);
                moved = true;
            }
            if !moved {
                let deadline = self.connection.deadline(&self.rules.settings);
                assert!(
                    deadline.is_none_or(|at| at > self.now),
                    "a deadline that has passed would come again for ever"
                );
                return;
            }
        }
    }

    fn check_bounds(&self) {
        let is_stream = self.connection.relay().is_some_and(|relay| relay.stream.is_some());
        let most = MAX_HEAD_BYTES + if is_stream { LARGE_READ_BYTES } else { MAX_BUFFER_BYTES };
        assert!(self.connection.from_client.len() <= most && self.connection.to_client.len() <= most);
        if let Some(relay) = self.connection.relay() {
            let whole = if relay.hub_bound.is_some() { 1024 * 1024 } else { 0 };
            assert!(relay.from_upstream.len() <= most && relay.to_upstream.len() <= most + whole);
            assert!(relay.to_upstream.held() <= most + MAX_BUFFER_BYTES + whole);
        }
    }

    /// The hub's answer to the last question.
    pub(super) fn answer(&mut self, verdict: &Verdict) {
        let (exchange, _) = self.asked.last().expect("a question");
        self.connection.identified(*exchange, verdict);
        self.settle();
    }

    /// The client sends, in steps of at most `step` bytes, as far as it is read; gives back the rest.
    pub(super) fn client<'a>(&mut self, bytes: &'a [u8], step: usize) -> &'a [u8] {
        let mut rest = bytes;
        while !rest.is_empty() && !self.closed {
            let count = self.connection.client_room().min(step).min(rest.len());
            if count == 0 {
                break;
            }
            let (part, later) = rest.split_at(count);
            self.connection.client_tail().extend_from_slice(part);
            self.connection.client_read(count, self.now);
            self.settle();
            rest = later;
        }
        rest
    }

    /// The same for the upstream.
    pub(super) fn upstream<'a>(&mut self, bytes: &'a [u8], step: usize) -> &'a [u8] {
        let mut rest = bytes;
        while !rest.is_empty() && !self.closed {
            let count = self.connection.upstream_room().min(step).min(rest.len());
            if count == 0 {
                break;
            }
            let (part, later) = rest.split_at(count);
            self.connection.upstream_tail().expect("room").extend_from_slice(part);
            self.connection.upstream_read(self.now);
            self.settle();
            rest = later;
        }
        rest
    }

    pub(super) fn upstream_ends(&mut self) {
        self.connection.upstream_ended(true);
        self.settle();
    }

    pub(super) fn upstream_breaks(&mut self) {
        self.connection.upstream_ended(false);
        self.settle();
    }

    /// The client goes, and the time passes in which it could be waiting for its answer.
    pub(super) fn client_hangs_up(&mut self) {
        self.connection.client_hung_up(self.now);
        self.settle();
        if !self.closed && self.connection.relay().is_some() {
            self.now += HALF_CLOSED;
        }
    }

    /// Lets the time pass up to the next deadline, if there is one.
    pub(super) fn wait(&mut self) {
        if let Some(deadline) = self.connection.deadline(&self.rules.settings) {
            self.now = self.now.max(deadline);
            self.settle();
        }
    }

    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&self.to_client).into_owned()
    }

    /// No further request will be taken.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.connection.state, State::Closing { .. } | State::Lingering { .. } | State::Closed)
    }

    /// Nobody but the edge has heard of its request.
    pub(super) fn is_collecting(&self) -> bool {
        self.connection.relay().is_some_and(Relay::is_collecting)
    }

    /// A part of a request is there, and the rest is not.
    pub(super) fn waits_for_client(&self) -> bool {
        match &self.connection.state {
            State::Head { .. } => true,
            State::Relaying(relay) => !relay.request.body.is_done(),
            State::Idle { .. } | State::Closing { .. } | State::Lingering { .. } | State::Closed => false,
        }
    }
}
