//! What a hub can do, one file per ability. Knows neither HTTP nor argv.

pub(crate) mod auth;
mod control;
pub(crate) mod discovery;
mod error;
mod info;
mod list;
pub(crate) mod login;
pub(crate) mod manifests;
pub(crate) mod metrics;
pub(crate) mod mounts;
pub(crate) mod origin;
pub(crate) mod plan_source;
mod reconcile;
mod refusals;
mod state;
pub(crate) mod tokens;
pub(crate) mod verify_keys;
pub(crate) mod visits;

pub(crate) use crate::supervisor::Answer;
pub(crate) use error::OpError;

use self::auth::logins::Logins;
use self::auth::{Authority, Caller, Failures, Reason, Refusal};
use self::manifests::Manifests;
use self::metrics::Traffic;
use self::refusals::{Cause, Of, Refusals};
use crate::logs::Ring;
use crate::manifest::Short;
use crate::manifest::services::Listing;
use crate::origin::Origins;
use crate::store::Home;
use crate::store::exposure::Stamp;
use crate::store::identity::Identity;
use crate::store::intent::Intent;
use crate::store::services::Services;
use crate::supervisor::Supervisor;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Takes one line for the hub's own log, without prefix and newline. Never blocks.
pub(crate) type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What a hub is made of.
pub(crate) struct Parts {
    pub(crate) home: Home,
    pub(crate) services: Arc<Services>,
    pub(crate) manifests: Arc<Manifests>,
    pub(crate) intent: Arc<Intent>,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) identity: Identity,
    /// Hears of other origins of this hub, at once.
    pub(crate) on_origins: Arc<dyn Fn(&Origins) + Send + Sync>,
    /// `PARACHUTE_BUILD_TIME` of a container image.
    pub(crate) build_time: Option<String>,
    /// Asks the edge what goes through it.
    pub(crate) traffic: Arc<dyn Fn() -> Traffic + Send + Sync>,
    /// From one address in a minute.
    pub(crate) bad_tokens: usize,
    pub(crate) log: Log,
}

/// The running hub. Shared by all threads that answer requests.
pub(crate) struct Hub {
    parts: Parts,
    started: Instant,
    /// The document that the supervisor was last brought in line with.
    reconciled: Mutex<Option<Arc<Listing>>>,
    /// Somebody is doing again what was undone in services.json.
    mending: Arc<AtomicBool>,
    backing_up: Arc<reconcile::BackingUp>,
    refusals: Mutex<Refusals>,
    failures: Mutex<Failures>,
    logins: Mutex<Logins>,
    /// `expose-state.json` as it was when everybody was told of it.
    exposure: Mutex<Option<Stamp>>,
    /// The origin that modules were last told of.
    told_origin: Mutex<String>,
    /// The manifests that the discovery document does without, with the reasons that the log has.
    unusable_manifests: Mutex<BTreeMap<Short, String>>,
}

impl Hub {
    pub(crate) fn new(parts: Parts) -> Self {
        let failures = Mutex::new(Failures::new(parts.bad_tokens));
        Self {
            exposure: Mutex::new(parts.authority.known_exposure()),
            told_origin: Mutex::new(parts.authority.origins().canonical.clone()),
            parts,
            started: Instant::now(),
            reconciled: Mutex::new(None),
            mending: Arc::default(),
            backing_up: Arc::default(),
            refusals: Mutex::default(),
            failures,
            logins: Mutex::default(),
            unusable_manifests: Mutex::default(),
        }
    }

    /// Whether the bearer of this token has one of `scopes`, or with none of them is anybody at all. `from` is who is
    /// held to account for bad tokens, if anybody is; after too many none of theirs is looked at for a while. No token
    /// at all is no attempt.
    pub(crate) fn authorize(
        &self,
        bearer: Option<&str>,
        scopes: &[&'static str],
        from: Option<IpAddr>,
    ) -> Result<Caller, Refusal> {
        let from = from.filter(|_| bearer.is_some());
        self.may_try(from)?;
        let decided = self.parts.authority.authorize(bearer, scopes);
        if let Err(refusal) = &decided {
            self.note_failure(from, refusal);
        }
        decided
    }

    /// Whether a token of theirs is looked at now.
    fn may_try(&self, from: Option<IpAddr>) -> Result<(), Refusal> {
        let Some(from) = from else { return Ok(()) };
        let wait = lock(&self.failures).wait(from, Instant::now());
        wait.map_or(Ok(()), |retry_after| Err(Refusal::TooManyFailures { from, retry_after }))
    }

    /// Holds them to account for a token that was no good.
    fn note_failure(&self, from: Option<IpAddr>, refusal: &Refusal) {
        if let (Some(from), Refusal::Unauthenticated { .. }) = (from, refusal) {
            lock(&self.failures).record(from, Instant::now());
        }
    }

    /// Says why somebody was refused who asked for `path`, which is that of a route: what a caller has put into a path is
    /// not for the log. A request without any token is no event.
    pub(crate) fn log_refusal(&self, path: &str, refusal: &Refusal) {
        if !matches!(refusal, Refusal::Unauthenticated { reason: Reason::Missing, .. }) {
            self.say_refused(path, Cause { of: Of::Caller, why: refusal.cause() }, &refusal);
        }
    }

    /// Says why the hub could not do what somebody may well ask of it; the answer does not tell.
    pub(crate) fn log_failure(&self, path: &str, why: &dyn std::fmt::Display) {
        self.say_refused(path, Cause { of: Of::Hub, why: "failed" }, why);
    }

    /// Says a refusal, and how many more of the same cause were not said.
    fn say_refused(&self, path: &str, cause: Cause, why: &dyn std::fmt::Display) {
        let Some(unsaid) = lock(&self.refusals).count(cause, Instant::now()) else { return };
        let more = if unsaid == 0 { String::new() } else { format!(" ({unsaid} more like it since the last line)") };
        (self.parts.log)(&format!("refused {path:?}: {why}{more}"));
    }

    /// What the module has printed; kept across restarts.
    pub(crate) fn ring(&self, short: &Short) -> Result<Arc<Ring>, OpError> {
        let process = match self.reconcile() {
            Ok(document) => document.process_of(short),
            // The supervisor still knows what it runs.
            Err(_) => short.clone(),
        };
        self.parts.supervisor.ring(&process).ok_or_else(|| match self.parts.supervisor.is_closing() {
            true => OpError::ShuttingDown,
            false => OpError::NotSupervised { short: short.clone() },
        })
    }
}

/// A panic while one of these short sections held the lock leaves the data as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod testing;
