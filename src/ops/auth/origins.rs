//! The origins of this hub: what the surroundings say and the database remembers, made into one set that tokens are
//! issued under and checked against, that children are told, and that the operator's token follows (operator-token B5).

use super::{Asker, AuthError, Authority, DATABASE_NAME, clock, unix_now};
use crate::db::{Db, DbError, Entry};
use crate::origin::{self, Facts, OriginError, Origins};
use crate::store::{Home, StoreError, exposure};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

/// Setting that holds what `parachute hub set-origin` was told.
const STORED_KEY: &str = "hub_origin";
/// Setting that holds the origin that the last hub issued under, for commands that work while it is down.
const ISSUER_KEY: &str = "issuer";
/// Settings that hold the origins this hub has had, one each.
const ORIGIN_PREFIX: &str = "origin:";
/// An earlier origin's tokens are accepted for as long as an operator token lives (B5).
pub(super) const ORIGIN_KEPT_S: i64 = 90 * 86_400;
/// Earlier origins that are accepted: a hub on changing ports must not collect them without end.
const ORIGINS_LIMIT: u32 = 64;
/// The stored time of the present origin is renewed when it is older: not a write at every start.
const ORIGIN_RENEWED_AFTER_S: i64 = 86_400;

/// What this process knows by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    pub(crate) port: u16,
    /// As given.
    pub(crate) configured: Option<String>,
    /// How long new operator tokens live, if that was said.
    pub(crate) operator_ttl_s: Option<u64>,
    /// The key without which the database signs nothing.
    pub(crate) signing_key_file: Option<PathBuf>,
}

/// What a change of the stored origin came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OriginChange {
    pub(crate) before: Arc<Origins>,
    pub(crate) now: Arc<Origins>,
    /// What happened to the operator's token, as sentences for the log.
    pub(crate) notices: Vec<String>,
}

/// Whose word counts where nobody has given an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    /// It issues under this machine's name for its port.
    Hub,
    /// It follows the last hub, whose surroundings it does not know.
    Command,
}

/// The origins for a command that needs no more of the database, which may not be there yet. Changes nothing.
pub(crate) fn origins_beside(home: &Home, surroundings: &Surroundings) -> Result<Origins, AuthError> {
    match Db::look(&home.path().join(DATABASE_NAME))? {
        Some(db) => look_up(&db, home, surroundings, As::Command, unix_now()),
        None => Ok(resolved(home, surroundings, None, None, &[])?),
    }
}

/// Origins, with what they were found by.
pub(super) struct Found {
    pub(super) who: As,
    pub(super) origins: Origins,
    /// `expose-state.json`, as it was before it was read: a change after that is seen by the next look at it.
    pub(super) exposure: Option<exposure::Stamp>,
}

impl Found {
    pub(super) fn look_up(
        db: &Db,
        home: &Home,
        surroundings: &Surroundings,
        who: As,
        now_unix: i64,
    ) -> Result<Self, AuthError> {
        let exposure = exposure::stamp(home);
        Ok(Self { who, origins: look_up(db, home, surroundings, who, now_unix)?, exposure })
    }
}

pub(super) fn look_up(
    db: &Db,
    home: &Home,
    surroundings: &Surroundings,
    who: As,
    now_unix: i64,
) -> Result<Origins, AuthError> {
    let settings = db.settings();
    let stored = settings.get(STORED_KEY)?;
    let last = if who == As::Command { settings.get(ISSUER_KEY)? } else { None };
    let earlier = settings.below(ORIGIN_PREFIX, ORIGINS_LIMIT)?;
    let earlier: Vec<String> =
        earlier.into_iter().filter(|(_, at)| now_unix - at < ORIGIN_KEPT_S).map(|(origin, _)| origin).collect();
    Ok(resolved(home, surroundings, stored.as_deref(), last.as_deref(), &earlier)?)
}

fn resolved(
    home: &Home,
    surroundings: &Surroundings,
    stored: Option<&str>,
    last: Option<&str>,
    earlier: &[String],
) -> Result<Origins, OriginError> {
    let configured = surroundings.configured.as_deref();
    // One that cannot be read is none; the hub and `check` say so.
    let exposure = exposure::read(home).ok().flatten();
    let exposed = exposure.as_ref().map(|exposure| exposure.origin.as_str());
    origin::resolve(&Facts { port: surroundings.port, stored, configured, exposed, last, earlier })
}

/// Stores that `origins` hold from now on, and forgets those that no living token can name at the settled time. What
/// was issued under until now was so until this moment, however long ago that hub was started.
pub(super) fn remember(db: &Db, origins: &Origins, now_unix: i64, settled_unix: i64) -> Result<(), DbError> {
    let settings = db.settings();
    let canonical = origins.canonical.as_str();
    let last = settings.get(ISSUER_KEY)?;
    if last.as_deref() != Some(canonical) {
        if let Some(last) = last {
            settings.put(&format!("{ORIGIN_PREFIX}{last}"), "", now_unix)?;
        }
        settings.put(ISSUER_KEY, canonical, now_unix)?;
    }
    if note_issuer(db, canonical, now_unix)? {
        settings.forget_below(ORIGIN_PREFIX, settled_unix - ORIGIN_KEPT_S)?;
    }
    Ok(())
}

/// Notes that tokens are issued under `canonical`, so that they are good for every hub of the next 90 days; whether
/// that was not noted lately. A command has to, too: it may name another origin than any hub of this home has had.
pub(super) fn note_issuer(db: &Db, canonical: &str, now_unix: i64) -> Result<bool, DbError> {
    let settings = db.settings();
    let known = settings.below(ORIGIN_PREFIX, ORIGINS_LIMIT)?;
    if known.iter().any(|(origin, at)| origin == canonical && now_unix - at < ORIGIN_RENEWED_AFTER_S) {
        return Ok(false);
    }
    settings.put(&format!("{ORIGIN_PREFIX}{canonical}"), "", now_unix)?;
    Ok(true)
}

impl Authority {
    /// Looks whether the hub is exposed otherwise than before, and has the operator's token follow; what happened to
    /// that, as sentences for the log.
    pub(crate) fn follow_exposure(&self) -> Result<Vec<String>, AuthError> {
        let now_unix = unix_now();
        self.look_at_exposure(now_unix);
        self.follow_origin(now_unix)
    }

    /// The one set of origins, as it is now.
    pub(crate) fn origins(&self) -> Arc<Origins> {
        Arc::clone(&self.origins.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks the origins up anew when `expose-state.json` is another than the last time. Costs a `stat` as a rule.
    pub(super) fn look_at_exposure(&self, now_unix: i64) {
        // Held while they are looked up, so that nobody goes on with the old ones who comes a moment later.
        let mut known = self.exposure.lock().unwrap_or_else(PoisonError::into_inner);
        let found = exposure::stamp(&self.home);
        if *known != found {
            *known = found;
            self.look_up_origins(now_unix);
        }
    }

    /// Looks the origins up anew, for a hub: a command has those of its start. What cannot be read leaves them as they
    /// are.
    pub(super) fn look_up_origins(&self, now_unix: i64) {
        // A file that cannot be read for want of a descriptor says nothing of how the hub is exposed.
        if self.who == As::Command || matches!(exposure::read(&self.home), Err(StoreError::Read { .. })) {
            return;
        }
        let look_up = || look_up(&self.db, &self.home, &self.surroundings, As::Hub, now_unix);
        let renewed = look_up().and_then(|found| {
            if found.canonical == self.origins().canonical {
                return Ok(found);
            }
            remember(&self.db, &found, now_unix, clock::settled(&self.db, now_unix)?)?;
            (self.log)(&format!("the origin is {} now ({})", found.canonical, found.source.as_str()));
            // The origin before is an earlier one from now on.
            look_up()
        });
        match renewed {
            Ok(found) => self.replace_origins(found),
            Err(error) => (self.log)(&format!("the hub's origins stay as they are: {error}")),
        }
    }

    fn replace_origins(&self, found: Origins) {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if **origins != found {
            *origins = Arc::new(found);
        }
    }

    /// `expose-state.json` as it was when the origins were looked up.
    pub(crate) fn known_exposure(&self) -> Option<exposure::Stamp> {
        *self.exposure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was stored for the origin.
    pub(crate) fn stored_origin(&self) -> Result<Option<String>, DbError> {
        self.db.settings().get(STORED_KEY)
    }

    /// Stores what the origin is to be, or with `None` that nobody says so, and has the operator's token follow. It
    /// holds from now on; earlier origins stay issuers for as long as their tokens live.
    pub(crate) fn set_origin(&self, origin: Option<&str>, asker: Asker<'_>) -> Result<OriginChange, AuthError> {
        self.set_origin_at(origin, asker, unix_now())
    }

    pub(super) fn set_origin_at(
        &self,
        origin: Option<&str>,
        asker: Asker<'_>,
        now_unix: i64,
    ) -> Result<OriginChange, AuthError> {
        let stored = origin.map(origin::to_store).transpose()?;
        let before = self.origins();
        if self.stored_origin()? != stored {
            let action = if stored.is_some() { "hub-origin.set" } else { "hub-origin.unset" };
            let sub = stored.as_deref();
            let entry =
                Entry { action, jti: None, parent_jti: None, sub, via: asker.via, peer: asker.peer, result: "ok" };
            self.db.settings().replace(STORED_KEY, sub, &entry, now_unix)?;
        }
        // As a hub: that an earlier one had the origin that is taken back is no reason to keep it.
        let now = look_up(&self.db, &self.home, &self.surroundings, As::Hub, now_unix)?;
        remember(&self.db, &now, now_unix, clock::settled(&self.db, now_unix)?)?;
        // The origin before is an earlier one from now on.
        let now = Arc::new(look_up(&self.db, &self.home, &self.surroundings, As::Hub, now_unix)?);
        *self.origins.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&now);
        let notices = self.follow_origin(now_unix)?;
        Ok(OriginChange { before, now, notices })
    }
}
