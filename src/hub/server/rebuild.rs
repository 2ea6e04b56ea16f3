//! A tiny_http whose accept loop has ended is replaced by another on the kept listener (http-api §16.1). It ends for
//! good with the first error of accepting, and by a panic where a connection cannot be duplicated.

use super::{STACK_BYTES, STOP_DEADLINE, Shared, WORKERS, lock};
use crate::sys::socket;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

/// Before the first rebuild, doubled while they come thick and fast: what made accepting fail (no descriptor is free)
/// may well last.
const REBUILD_PAUSE: Duration = Duration::from_millis(10);
/// The hub is to answer soon after it could again; one attempt costs a few threads for a moment.
const REBUILD_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Rebuilds further apart than this have nothing to do with each other.
const REBUILD_CALM: Duration = Duration::from_secs(60);
/// How long connections to a tiny_http that has been replaced may be silent. No answer lets a connection live on, and a
/// request is with the workers once its head and at most a kilobyte of its body are: longer than the edge's 30 s for the
/// next byte is enough.
const REPLACED_QUIET: Duration = Duration::from_secs(45);
/// How long after a panic the accept loop may take to be gone, and how often it is looked for.
const END_PATIENCE: Duration = Duration::from_secs(5);
const END_LOOK: Duration = Duration::from_millis(10);

impl Shared {
    /// A thread of tiny_http may have panicked. Its accept loop does so when it has accepted a connection and can
    /// neither duplicate it nor start a thread for it, and tells nobody: a worker is woken to look. Does not block.
    pub(super) fn suspect(&self) {
        self.panics.fetch_add(1, Ordering::SeqCst);
        if let Some(current) = &lock(&self.life).current {
            current.unblock();
        }
    }

    /// Whether the accept loop of `server`, if it is the current one, ends within [`END_PATIENCE`]: a panic is heard of
    /// before it has taken its course.
    fn ends(&self, server: &Arc<tiny_http::Server>) -> bool {
        let started = Instant::now();
        let mut life = lock(&self.life);
        while life.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, server)) {
            if !socket::is_copy(life.listens, self.listener.as_fd()) {
                return true;
            }
            if started.elapsed() >= END_PATIENCE {
                return false;
            }
            life = self.changed.wait_timeout(life, END_LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    /// Puts a new tiny_http on the kept listener after the accept loop of `failed` has ended for good. Also called by
    /// the workers that are woken because of that, because of a panic, or because the server stops; then there may be
    /// nothing to do.
    pub(super) fn replace(self: &Arc<Self>, failed: &Arc<tiny_http::Server>, error: &io::Error) {
        // What the kernel said is why the loop ended; being woken is no reason by itself.
        let woken = error.raw_os_error().is_none();
        if woken && !self.ends(failed) {
            return;
        }
        {
            let mut life = lock(&self.life);
            let is_current = life.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, failed));
            // A second one at the same time would put another in the place of the first one's, whose drop removes the
            // socket of both.
            if !is_current || std::mem::replace(&mut life.is_being_replaced, true) {
                return;
            }
        }
        let why = if woken { "its accept loop panicked".to_owned() } else { error.to_string() };
        loop {
            let mut life = lock(&self.life);
            if life.current.is_none() {
                return;
            }
            let before = life.rebuilt.filter(|(at, _)| at.elapsed() < REBUILD_CALM).map(|(_, pause)| pause);
            let pause = before.map_or(REBUILD_PAUSE, |before| (before * 2).min(REBUILD_PAUSE_MAX));
            // What lasts is not said for ever: the last line names the pause that it stays with.
            let is_news = before != Some(REBUILD_PAUSE_MAX);
            life.rebuilt = Some((Instant::now(), pause));
            if is_news {
                let pause_ms = pause.as_millis();
                (self.log)(&format!("the control server cannot accept: {why}; starting it again in {pause_ms} ms"));
            }
            let waited = self.changed.wait_timeout_while(life, pause, |life| life.current.is_some());
            drop(waited);
            let panics = self.panics.load(Ordering::SeqCst);
            match accepting(&self.listener) {
                Ok((server, listens)) => {
                    self.install(Arc::new(server), listens, failed);
                    // A panic meanwhile may have been that of the new loop, which nobody was told to look for.
                    if self.panics.load(Ordering::SeqCst) != panics {
                        self.suspect();
                    }
                    return;
                }
                Err(error) if is_news => (self.log)(&format!("the control server cannot be started again: {error}")),
                Err(_) => {}
            }
        }
    }

    fn install(self: &Arc<Self>, server: Arc<tiny_http::Server>, listens: RawFd, failed: &Arc<tiny_http::Server>) {
        // Its drop would remove the socket that the new one listens on, so the old one is never dropped.
        std::mem::forget(Arc::clone(failed));
        {
            let mut life = lock(&self.life);
            if life.current.is_none() {
                return;
            }
            life.current = Some(server);
            life.is_being_replaced = false;
            life.listens = listens;
            life.moved = 0;
        }
        (1..WORKERS).for_each(|_| failed.unblock());
        // Only then is there nobody left whom the next one could rob of being woken.
        let life = lock(&self.life);
        let waited = self.changed.wait_timeout_while(life, STOP_DEADLINE, |life| life.moved + 1 < WORKERS);
        drop(waited);
        let (shared, old) = (Arc::clone(self), Arc::clone(failed));
        let spawned = thread::Builder::new()
            .name("hub/replaced".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || shared.serve_replaced(&old));
        if let Err(error) = spawned {
            (self.log)(&format!("connections made before are lost: {error}"));
        }
    }

    /// Connections that a replaced tiny_http had accepted go on putting requests into its queue.
    fn serve_replaced(self: &Arc<Self>, old: &tiny_http::Server) {
        let mut last = Instant::now();
        while last.elapsed() < REPLACED_QUIET {
            if let Ok(Some(request)) = old.recv_timeout(REPLACED_QUIET) {
                self.survive(|| self.take(request));
                last = Instant::now();
            }
        }
    }
}

/// A tiny_http on a copy of the listener; its accept loop is running when this returns. The number is that of the copy,
/// which the loop closes when it ends, however it does.
pub(super) fn accepting(kept: &UnixListener) -> io::Result<(tiny_http::Server, RawFd)> {
    let listener = kept.try_clone()?;
    // Shared by all copies; a listener that does not block would end the accept loop at once.
    listener.set_nonblocking(false)?;
    let number = listener.as_raw_fd();
    // It panics when it cannot start its thread.
    let server = panic::catch_unwind(AssertUnwindSafe(|| tiny_http::Server::from_listener(listener, None)))
        .map_err(|_| io::Error::other("it cannot start its thread"))?
        .map_err(io::Error::other)?;
    Ok((server, number))
}

/// Those who want to hear of panics; a process has one hook for all of them.
static LISTENING: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Tells `shared` of panics in threads without a name: all of ours have one, those of tiny_http have none.
pub(super) fn hear_of_panics(shared: &Arc<Shared>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            before(info);
            if thread::current().name().is_none() {
                lock(&LISTENING).iter().filter_map(Weak::upgrade).for_each(|shared| shared.suspect());
            }
        }));
    });
    let mut listening = lock(&LISTENING);
    listening.retain(|one| one.strong_count() > 0);
    listening.push(Arc::downgrade(shared));
}
