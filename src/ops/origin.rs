//! The hub's origin: showing it, changing it, and who follows a change (expose §9).
//!
//! Tokens, pages and the edge follow at once; a child is told at its next spawn, and a vault is given one. It may also be run by something
//! else, which reads nothing but its `.env`: there the public origin is kept for it (files §11).

use super::auth::{Asker, AuthError, Authority, OriginChange};
use super::{Hub, lock, verify_keys};
use crate::db::{DbError, Via};
use crate::manifest::Short;
use crate::manifest::services::Listing;
use crate::origin::{self, Origins};
use crate::store::dotenv::{self, DotEnv};
use crate::store::{Home, StoreError, exposure};
use crate::supervisor::Status;
use crate::wire::origin::OriginReply;
use std::sync::Arc;
use std::thread;

/// The variable that a vault takes the hub's origin from.
const VARIABLE: &str = "PARACHUTE_HUB_ORIGIN";
/// Of the thread that follows an exposure: SQLite writes on it.
const STACK_BYTES: usize = 256 * 1024;
/// The one module that is told in its `.env`.
const VAULT: &str = "vault";

impl Hub {
    pub(crate) fn origin(&self) -> Result<OriginReply, DbError> {
        shown(&self.parts.authority)
    }

    /// Stores another origin, or with `None` none, and has everybody follow. `peer` is who asks.
    pub(crate) fn set_origin(
        self: &Arc<Self>,
        origin: Option<&str>,
        peer: Option<&str>,
    ) -> Result<OriginReply, AuthError> {
        let asker = Asker { via: Via::Http, peer };
        // Without a readable list the modules are not known, and nothing of theirs changes.
        let document = self.reconcile().ok();
        let mut reply = set(&self.parts.authority, &self.parts.home, document.as_deref(), origin, asker)?;
        (self.parts.on_origins)(&self.parts.authority.origins());
        reply.notes.extend(self.tell_vault(document.as_deref()));
        if reply.changed {
            (self.parts.log)(&format!("the origin is {} now ({})", reply.resolved_issuer, reply.source));
        }
        reply.notes.iter().for_each(|note| (self.parts.log)(note));
        Ok(reply)
    }

    /// Has everybody follow when `expose-state.json` is another than before. Costs a `stat`; the rest, which waits for the
    /// disk, is done elsewhere.
    pub(crate) fn look_at_exposure(self: &Arc<Self>) {
        let found = exposure::stamp(&self.parts.home);
        let mut known = lock(&self.exposure);
        if *known == found {
            return;
        }
        let hub = Arc::clone(self);
        let work = move || hub.follow_exposure();
        match thread::Builder::new().name("hub/origin".to_owned()).stack_size(STACK_BYTES).spawn(work) {
            Ok(_) => *known = found,
            // The next look tries again.
            Err(error) => (self.parts.log)(&format!("cannot look whether the hub is exposed: {error}")),
        }
    }

    fn follow_exposure(self: &Arc<Self>) {
        let (authority, log) = (&self.parts.authority, &self.parts.log);
        let mut notices = authority.follow_exposure().unwrap_or_else(|error| vec![error.to_string()]);
        (self.parts.on_origins)(&authority.origins());
        if let Err(error) = exposure::read(&self.parts.home) {
            notices.push(format!("{error}; until then the hub is taken not to be exposed"));
        }
        let document = self.reconcile().ok();
        renew_verify_keys(authority, document.as_deref(), &mut notices);
        notices.extend(self.tell_vault(document.as_deref()));
        notices.iter().for_each(|notice| log(notice));
    }
}

impl Hub {
    /// A vault that runs goes on under the origin that it was started with, and refuses tokens of another: it is
    /// restarted when that has changed (expose §9.2). Not waited for; what is done, as a sentence.
    fn tell_vault(self: &Arc<Self>, document: Option<&Listing>) -> Option<String> {
        let canonical = self.parts.authority.origins().canonical.clone();
        let before = std::mem::replace(&mut *lock(&self.told_origin), canonical.clone());
        let short = vault(document).filter(|_| before != canonical)?;
        let runs = self.parts.supervisor.snapshot(&document?.process_of(&short))?;
        // One that waits for its turn at boot has not been told any.
        if !matches!(runs.status, Status::Running | Status::Starting) || !runs.waits_for.is_empty() {
            return None;
        }
        let (hub, module) = (Arc::clone(self), short.clone());
        let work = move || {
            if let Err(error) = hub.restart(&module, super::Answer::WhenDone) {
                (hub.parts.log)(&format!("{module} may have the old origin: {error}; see: parachute restart {module}"));
            }
        };
        let spawned = thread::Builder::new().name("hub/vault".to_owned()).stack_size(STACK_BYTES).spawn(work);
        Some(match spawned {
            Ok(_) => format!("{short} is being restarted, so that it has the new origin"),
            Err(error) => format!("{short} has the old origin ({error}) until: parachute restart {short}"),
        })
    }
}

/// What the origin is, and why.
pub(crate) fn shown(authority: &Authority) -> Result<OriginReply, DbError> {
    let origins = authority.origins();
    Ok(OriginReply {
        hub_origin: authority.stored_origin()?,
        resolved_issuer: origins.canonical.clone(),
        source: origins.source.as_str().to_owned(),
        changed: false,
        notes: Vec::new(),
    })
}

/// Stores another origin on the database of `home`; the hub and, while it is down, a command do it alike.
pub(crate) fn set(
    authority: &Authority,
    home: &Home,
    document: Option<&Listing>,
    origin: Option<&str>,
    asker: Asker<'_>,
) -> Result<OriginReply, AuthError> {
    let OriginChange { before, now, mut notices } = authority.set_origin(origin, asker)?;
    renew_verify_keys(authority, document, &mut notices);
    if let Some(vault) = vault(document) {
        match persist(home, &vault, &before, &now) {
            Ok(true) => notices.push(format!("{vault}/.env follows the origin")),
            Ok(false) => {}
            Err(error) => notices.push(format!("{vault}/.env does not follow the origin: {error}")),
        }
    }
    let changed = before.canonical != now.canonical || before.source != now.source;
    Ok(OriginReply { changed, notes: notices, ..shown(authority)? })
}

/// Tells the modules that check tokens themselves of the origins.
fn renew_verify_keys(authority: &Authority, document: Option<&Listing>, notices: &mut Vec<String>) {
    for (short, done) in document.map(|document| verify_keys::renew(authority, document)).unwrap_or_default() {
        if let Err(error) = done {
            notices.push(format!("{short} still has the old origins to check tokens with: {error}"));
        }
    }
}

/// The vault, if there is one.
fn vault(document: Option<&Listing>) -> Option<Short> {
    let vault = Short::parse(VAULT).ok()?;
    document?.find(&vault).is_some().then_some(vault)
}

/// After an explicit change: the public origin is written over whatever stands there. Without one what we have written
/// is taken away, and nothing else. Whether the file changed.
fn persist(home: &Home, vault: &Short, before: &Origins, now: &Origins) -> Result<bool, StoreError> {
    let found = dotenv::read(home, vault)?;
    match now.public() {
        Some(public) => dotenv::set(home, vault, VARIABLE, Some(public)),
        None if value(&found).is_some_and(|value| value == before.canonical || origin::is_this_machine(value)) => {
            dotenv::set(home, vault, VARIABLE, None)
        }
        None => Ok(false),
    }
}

/// Before a spawn: a vault that is told nothing, or an origin that holds on this machine only, is told the public one.
/// Another public one may be meant so.
pub(super) fn heal_dotenv(home: &Home, short: &Short, found: &DotEnv, now: &Origins) -> Result<bool, StoreError> {
    match now.public() {
        Some(public) if short.as_str() == VAULT && value(found).is_none_or(origin::is_this_machine) => {
            dotenv::set(home, short, VARIABLE, Some(public))
        }
        Some(_) | None => Ok(false),
    }
}

/// What the file says; an empty value is none.
fn value(found: &DotEnv) -> Option<&str> {
    let pair = found.pairs.iter().find(|(name, _)| name == VARIABLE);
    pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Facts, resolve};
    use crate::store::Create;
    use crate::sys::testdir::TestDir;

    fn origins(stored: Option<&str>) -> Origins {
        resolve(&Facts { port: 1939, stored, ..Facts::default() }).expect("a good origin")
    }

    /// files §15, case 17: each cell of the table in §11, twice.
    #[test]
    fn a_vaults_env_follows_the_public_origin_and_no_other() {
        const NEW: &str = "PARACHUTE_HUB_ORIGIN=https://new.example";
        let none: Option<&str> = None;
        let vault = Short::parse(VAULT).expect("a name");
        for (env, now, persisted, healed) in [
            ("", Some("https://new.example"), format!("{NEW}\n"), format!("{NEW}\n")),
            ("A=1\n", Some("https://new.example"), format!("A=1\n{NEW}\n"), format!("A=1\n{NEW}\n")),
            ("PARACHUTE_HUB_ORIGIN=\n", Some("https://new.example"), format!("{NEW}\n"), format!("{NEW}\n")),
            (
                "PARACHUTE_HUB_ORIGIN=http://127.0.0.1:1939\n# x\n",
                Some("https://new.example"),
                format!("{NEW}\n# x\n"),
                format!("{NEW}\n# x\n"),
            ),
            ("PARACHUTE_HUB_ORIGIN=http://0.0.0.0:1939", Some("https://new.example"), NEW.to_owned(), NEW.to_owned()),
            (NEW, Some("https://new.example"), NEW.to_owned(), NEW.to_owned()),
            (
                "PARACHUTE_HUB_ORIGIN=https://other.example",
                Some("https://new.example"),
                NEW.to_owned(),
                "PARACHUTE_HUB_ORIGIN=https://other.example".to_owned(),
            ),
            (
                "PARACHUTE_HUB_ORIGIN=not an origin",
                Some("https://new.example"),
                NEW.to_owned(),
                "PARACHUTE_HUB_ORIGIN=not an origin".to_owned(),
            ),
            ("A=1\n", none, "A=1\n".to_owned(), "A=1\n".to_owned()),
            ("A=1\n", Some("http://localhost:8080"), "A=1\n".to_owned(), "A=1\n".to_owned()),
            (
                "A=1\nPARACHUTE_HUB_ORIGIN=https://old.example\n",
                none,
                "A=1\n".to_owned(),
                "A=1\nPARACHUTE_HUB_ORIGIN=https://old.example\n".to_owned(),
            ),
            (
                "PARACHUTE_HUB_ORIGIN=https://other.example\n",
                none,
                "PARACHUTE_HUB_ORIGIN=https://other.example\n".to_owned(),
                "PARACHUTE_HUB_ORIGIN=https://other.example\n".to_owned(),
            ),
        ] {
            let (before, now) = (origins(Some("https://old.example")), origins(now));
            for (explicit, expected) in [(true, &persisted), (false, &healed)] {
                let dir = TestDir::new("ops-origin");
                let home = Home::open(dir.path(), Create::Yes).expect("a new home");
                std::fs::create_dir(dir.join("vault")).expect("made");
                std::fs::write(dir.join("vault/.env"), env).expect("written");
                for round in 1..=2 {
                    let found = dotenv::read(&home, &vault).expect("readable");
                    let done = if explicit {
                        persist(&home, &vault, &before, &now)
                    } else {
                        heal_dotenv(&home, &vault, &found, &now)
                    };
                    let changed = done.expect("writable");
                    let text = std::fs::read_to_string(dir.join("vault/.env")).expect("there");
                    let row = format!("{env:?}, {:?}, explicit {explicit}, round {round}", now.canonical);
                    assert_eq!(&text, expected, "{row}");
                    assert_eq!(changed, round == 1 && text != env, "{row}");
                }
            }
        }
        let dir = TestDir::new("ops-origin");
        let home = Home::open(dir.path(), Create::Yes).expect("a new home");
        let other = Short::parse("notes").expect("a name");
        let now = origins(Some("https://new.example"));
        assert!(!heal_dotenv(&home, &other, &DotEnv::default(), &now).expect("nothing to do"));
        assert!(!dir.join("notes").exists());
    }
}
