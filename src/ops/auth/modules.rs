//! Modules before the hub: how one is known, and what it is told about a token that somebody showed it
//! (operator-token B9).

use super::bearer::in_force;
use super::error::Rejection;
use super::{Asker, AuthError, Authority, Caller, Keys, MODULE_KEY_CHARS, Refusal, random_name, unix_now};
use crate::db::{DbError, Entry};
use crate::manifest::Short;
use crate::store::module_secrets;
use crate::sys::random;
use crate::token::attest::Attested;
use crate::token::claims::Claims;
use crate::token::keyring::{MasterState, Secret};
use crate::token::verify::{Accept, Expect, Verified};
use crate::token::{b64, sha256};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The keys of the children that this hub has started, by their hashes; the key itself is kept only where the hub
/// proves something to the child with it.
#[derive(Default)]
pub(super) struct SpawnKeys(Mutex<Issuance>);

#[derive(Default)]
struct Issuance {
    /// Of living children, and of those that ended last.
    owners: HashMap<[u8; 32], KeyOwner>,
    by_module: HashMap<Short, OfModule>,
}

/// A child is prepared while the one before it may still run, and goes on if that comes to nothing.
#[derive(Default)]
struct OfModule {
    running: Option<SpawnKey>,
    prepared: Option<SpawnKey>,
    /// Of the child that ended last, so that the log can tell.
    dead: Option<[u8; 32]>,
}

struct SpawnKey {
    hash: [u8; 32],
    /// For the proofs that the child asked for.
    secret: Option<Secret>,
}

impl SpawnKeys {
    fn prepare(&self, short: &Short, key: SpawnKey) {
        self.with(|all| all.by_module.entry(short.clone()).or_default().prepared = Some(key));
    }

    fn spawned(&self, short: &Short) {
        self.with(|all| {
            let Some(of_module) = all.by_module.get_mut(short) else { return };
            let Some(prepared) = of_module.prepared.take() else { return };
            all.owners.insert(prepared.hash, KeyOwner::Child(short.clone()));
            let before = of_module.running.replace(prepared).map(|dead| dead.hash);
            for gone in [before, of_module.dead.take()].into_iter().flatten() {
                all.owners.remove(&gone);
            }
        });
    }

    fn ended(&self, short: &Short) {
        self.with(|all| {
            let Some(of_module) = all.by_module.get_mut(short) else { return };
            let Some(SpawnKey { hash, .. }) = of_module.running.take() else { return };
            all.owners.insert(hash, KeyOwner::Gone(short.clone()));
            if let Some(earlier) = of_module.dead.replace(hash) {
                all.owners.remove(&earlier);
            }
        });
    }

    /// Of a module that has no child, and none on its way.
    fn forget(&self, short: &Short) {
        self.with(|all| {
            if let Some(OfModule { running: None, prepared: None, dead }) = all.by_module.get(short) {
                dead.inspect(|dead| drop(all.owners.remove(dead)));
                all.by_module.remove(short);
            }
        });
    }

    fn owner(&self, hash: &[u8; 32]) -> Option<KeyOwner> {
        self.with(|all| all.owners.get(hash).cloned())
    }

    /// The proof for the running child of a module that asked for such.
    fn prove(&self, short: &Short, attested: &Attested<'_>) -> Option<String> {
        self.with(|all| {
            let key = all.by_module.get(short)?.running.as_ref()?;
            Some(attested.under(key.secret.as_ref()?))
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut Issuance) -> T) -> T {
        // Each change leaves both maps sound at every step that could panic.
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whom a module's key belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyOwner {
    /// A child of this hub that lives.
    Child(Short),
    /// One that has ended: it is good for nothing any more.
    Gone(Short),
    /// A module that another keeper runs.
    External(Short),
}

/// What a child is given besides its key.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Grants {
    /// Keys to check tokens with.
    pub(crate) verify_keys: bool,
    /// Proofs of who its callers are.
    pub(crate) proofs: bool,
}

/// What is said of a token that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Active(pub(crate) Box<Claims>);

impl Authority {
    /// Writes the key, and whatever else is granted, that the next child of the module gets.
    pub(crate) fn issue_module_key(&self, short: &Short, grants: Grants) -> Result<(), AuthError> {
        let keys = self.keys();
        let master = keys.active().ok_or(AuthError::NoKey)?;
        let mut nonce = [0; 16];
        random::fill(&mut nonce);
        let secret = master.module_key(short.as_str(), &nonce);
        let key = b64::encode(secret.expose());
        module_secrets::write_key(&self.home, short, &key)?;
        if grants.verify_keys {
            self.checking().insert(short.clone());
            self.write_verify_keys(&keys, short)?;
        } else {
            self.take_verify_keys(short)?;
        }
        let secret = grants.proofs.then_some(secret);
        self.spawn_keys.prepare(short, SpawnKey { hash: sha256(key.as_bytes()), secret });
        Ok(())
    }

    /// A module that has no child and no row is not told of any more, also not by its last key.
    pub(crate) fn forget_dead_child(&self, short: &Short) {
        self.spawn_keys.forget(short);
    }

    /// The child that the last key was made for begins to run: from now on that key is good, and no earlier one.
    pub(crate) fn module_spawned(&self, short: &Short) {
        self.spawn_keys.spawned(short);
    }

    /// The child has ended, and with it its key.
    pub(crate) fn module_ended(&self, short: &Short) {
        self.spawn_keys.ended(short);
    }

    /// Makes a key for a module that another keeper runs; only its hash stays here.
    pub(crate) fn make_external_key(&self, short: &Short, asker: Asker<'_>) -> Result<String, AuthError> {
        let key = random_name::<32>();
        let entry = about_module(short, "module-key.create", asker);
        self.db.module_keys().put(short.as_str(), &sha256(key.as_bytes()), &entry, unix_now())?;
        self.note_epoch();
        Ok(key)
    }

    /// Takes such a key back; whether there was one.
    pub(crate) fn remove_external_key(&self, short: &Short, asker: Asker<'_>) -> Result<bool, AuthError> {
        let entry = about_module(short, "module-key.remove", asker);
        let removed = self.db.module_keys().remove(short.as_str(), &entry, unix_now())?;
        if removed {
            self.note_epoch();
        }
        Ok(removed)
    }

    /// Whose key this is. Asks the database now and then whether there are new ones.
    pub(crate) fn owner_of_key(&self, key: &str) -> Result<Option<KeyOwner>, DbError> {
        if key.len() != MODULE_KEY_CHARS {
            return Ok(None);
        }
        let hash = sha256(key.as_bytes());
        if let Some(owner) = self.spawn_keys.owner(&hash) {
            return Ok(Some(owner));
        }
        // A key that was taken back must not be known any more, either.
        if self.keys().external.contains_key(&hash) || self.may_look_up(Instant::now()) {
            self.refresh(unix_now())?;
        }
        let keys = self.keys();
        let owner = keys.external.get(&hash).and_then(|short| Short::parse(short).ok());
        Ok(owner.map(KeyOwner::External))
    }

    /// What the module `short` is told about a token: its claims when it is good and meant for that module, otherwise
    /// nothing, whatever the reason. The reason comes back for the log.
    pub(crate) fn introspect(&self, short: &Short, token: &str) -> Result<Result<Active, Rejected>, DbError> {
        self.introspect_at(short, token, unix_now())
    }

    pub(super) fn introspect_at(
        &self,
        short: &Short,
        token: &str,
        now_unix: i64,
    ) -> Result<Result<Active, Rejected>, DbError> {
        match self.examine_for(short, token, now_unix) {
            Ok(verified) => Ok(Ok(Active(Box::new(verified.claims)))),
            Err(Rejection::Db(error)) => Err(error),
            Err(rejection) => Ok(Err(Rejected { cause: rejection.cause(), text: rejection.to_string() })),
        }
    }

    /// Whose token this is, if it is good and meant for the module `short`.
    pub(crate) fn authorize_for(&self, short: &Short, token: &str) -> Result<Caller, Refusal> {
        let Verified { claims, scopes, .. } = self.examine_for(short, token, unix_now())?;
        Ok(Caller { claims: Arc::new(claims), scopes })
    }

    /// Checks a token for a module from the start: keys, claims, registry.
    fn examine_for(&self, short: &Short, token: &str, now_unix: i64) -> Result<Verified, Rejection> {
        let owner = short.as_str();
        let origins = self.origins();
        let expect =
            Expect { issuers: Some(&origins.issuers), audience: Accept::OwnedBy(owner), hid: &self.hid, now_unix };
        let (verified, row, _) = self.verify(token, owner, &expect)?;
        let jti = verified.claims.jti.clone();
        in_force(&verified, row.as_ref(), now_unix).map_err(|error| Rejection::Token { error, jti: Some(jti) })?;
        if let Some(row) = row {
            self.note_use(&verified.claims.jti, &row, now_unix);
        }
        Ok(verified)
    }

    /// Proves to the running child of `short` that the hub says who its caller is; `None` when that child was not
    /// promised any proof.
    pub(crate) fn prove(&self, short: &Short, active: &Active, method: &str, target: &str) -> Option<Proof> {
        let at = u64::try_from(unix_now()).unwrap_or(0);
        let Active(claims) = active;
        let mac = self.spawn_keys.prove(short, &Attested { method, target, claims, at })?;
        Some(Proof { at, mac })
    }

    /// Writes the keys of a module that has some anew, after the hub's own key or its origin has changed. One that is
    /// not `granted` any by now loses those of its child. Whether it has the new ones.
    pub(crate) fn renew_verify_keys(&self, short: &Short, granted: bool) -> Result<bool, AuthError> {
        if !module_secrets::has_verify_keys(&self.home, short) {
            return Ok(false);
        }
        if !granted {
            self.take_verify_keys(short)?;
            return Ok(false);
        }
        self.write_verify_keys(&self.keys(), short)?;
        Ok(true)
    }

    fn take_verify_keys(&self, short: &Short) -> Result<(), AuthError> {
        self.checking().remove(short);
        Ok(module_secrets::remove_verify_keys(&self.home, short)?)
    }

    /// After the hub's keys have changed: the children that this hub gave some to hear of it.
    pub(super) fn spread_keys(&self) {
        let keys = self.keys();
        let checking = self.checking().clone();
        // What a command took away meanwhile stays away.
        for short in checking.iter().filter(|short| module_secrets::has_verify_keys(&self.home, short)) {
            if let Err(error) = self.write_verify_keys(&keys, short) {
                (self.log)(&format!("{short} still has the old keys to check tokens with: {error}"));
            }
        }
    }

    fn checking(&self) -> MutexGuard<'_, BTreeSet<Short>> {
        self.checking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_verify_keys(&self, keys: &Keys, short: &Short) -> Result<(), AuthError> {
        let list: Vec<Value> = keys
            .masters
            .iter()
            .map(|master| {
                let mut key = json!({ "kid": master.kid, "k": b64::encode(master.key_of(short.as_str()).expose()) });
                if let (MasterState::VerifyUntil(until), Some(key)) = (master.state, key.as_object_mut()) {
                    key.insert("until".to_owned(), until.into());
                }
                key
            })
            .collect();
        let origins = self.origins();
        let document =
            json!({ "keys": list, "issuers": origins.issuers, "audience_owner": short.as_str(), "hid": self.hid });
        Ok(module_secrets::write_verify_keys(&self.home, short, format!("{document:#}\n").as_bytes())?)
    }
}

/// For half a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Unix seconds.
    pub(crate) at: u64,
    /// In hex.
    pub(crate) mac: String,
}

/// Why a token was refused, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// One of a few words.
    pub(crate) cause: &'static str,
    pub(crate) text: String,
}

fn about_module<'a>(short: &'a Short, action: &'a str, asker: Asker<'a>) -> Entry<'a> {
    let sub = Some(short.as_str());
    Entry { action, jti: None, parent_jti: None, sub, via: asker.via, peer: asker.peer, result: "ok" }
}
