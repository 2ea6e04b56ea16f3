//! Who may ask the hub for what: the token design of operator-token Part B, with the database behind it.
//!
//! `token` decides what is genuine, `db` knows what was issued and revoked; here the two meet. A token that was accepted
//! is remembered by its hash for as long as nobody writes to the database, so that a request costs one hash and one
//! look at a counter.

mod bearer;
mod checkup;
mod clock;
mod error;
mod failures;
mod key_file;
mod keys;
pub(super) mod logins;
mod mint;
mod modules;
mod noted;
mod operator;
mod origins;
#[cfg(test)]
mod tests;

pub(crate) use bearer::Caller;
pub(crate) use checkup::{About, Weight, checkup};
pub(crate) use error::{AuthError, Reason, Refusal, RolledBack, TokenOpError};
pub(super) use failures::Failures;
pub(crate) use key_file::check_key_file;
pub(crate) use keys::{KeyChange, Overlap};
pub(crate) use mint::{Asker, Handed};
pub(crate) use modules::{Active, Grants, KeyOwner, Proof, Rejected};
pub(crate) use operator::{Renewal, Renewed};
pub(crate) use origins::{OriginChange, Surroundings, origins_beside};

use bearer::Remembered;
use modules::SpawnKeys;
use noted::Noted;
use origins::{As, Found};

use super::Log;
pub(crate) use crate::db::Via;
use crate::db::{Db, DbError, DbHealth, KeyState, Version};
use crate::manifest::Short;
use crate::origin::Origins;
use crate::store::{Home, epoch, exposure};
use crate::sys::random;
use crate::token::b64;
use crate::token::claims;
use crate::token::keyring::{FileKey, Keyring, Master, MasterState, Secret};
use crate::token::verify::{self, Expect, TokenError, Verified};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The database's name below the home.
const DATABASE_NAME: &str = "hub.db";
/// `client_id` of what the hub mints.
const CLIENT_ID: &str = "parachute-hub";
/// How often a running hub deletes what is over.
const TIDY_EVERY: Duration = Duration::from_secs(86_400);
/// What a module's key has the length of: 32 bytes in base64url.
const MODULE_KEY_CHARS: usize = 43;
/// Setting that holds the hub's id.
const HID_KEY: &str = "hid";
/// Outside of 2024 to 2100 the clock was never set, and a token minted now would be of no use once it is.
const PLAUSIBLE_UNIX: std::ops::Range<i64> = 1_704_067_200..4_102_444_800;

/// Decides about bearers. Shared by all threads that answer requests.
pub(crate) struct Authority {
    db: Arc<Db>,
    home: Home,
    hid: String,
    surroundings: Surroundings,
    /// Read once; a new one counts from the next start on.
    file_key: Option<FileKey>,
    who: As,
    /// What follows from them, from the database and from `expose-state.json`.
    origins: Mutex<Arc<Origins>>,
    /// That file as it was when they were looked up.
    exposure: Mutex<Option<exposure::Stamp>>,
    state: Mutex<State>,
    /// The highest epoch that was ever seen, in the database or in the file beside it.
    epoch: AtomicU64,
    /// The file holds no number, so that the one above stands for one that nobody knows any more.
    is_epoch_lost: bool,
    spawn_keys: SpawnKeys,
    /// The modules whose last child was given keys to check tokens with.
    checking: Mutex<BTreeSet<Short>>,
    noting_use: Arc<AtomicBool>,
    /// When what is over was deleted last.
    tidied: Mutex<Instant>,
    is_damage_said: AtomicBool,
    log: Log,
}

/// What was read from the database, and what of it.
struct State {
    version: Version,
    /// By the clock of that moment.
    read_at_unix: i64,
    /// When the present span of lookups began, and how many it has had.
    lookups: (Instant, u32),
    keys: Arc<Keys>,
    /// The database's epoch, when it is below one that was seen before.
    rolled_back: Option<u64>,
    remembered: HashMap<[u8; 32], Remembered>,
}

/// All that signs, verifies and tells modules apart.
struct Keys {
    masters: Vec<Master>,
    /// The hub's own keys, at hand because every request needs them.
    hub: Keyring,
    /// Modules that another keeper runs, by the hash of their key.
    external: HashMap<[u8; 32], String>,
}

impl Authority {
    /// Opens the home's database for the hub, creating it, the hub's id and the signing key where they are missing.
    /// The origins of the last 90 days are accepted beside those that hold now.
    pub(crate) fn open(home: &Home, surroundings: Surroundings, log: Log) -> Result<Self, AuthError> {
        Self::open_at(home, surroundings, log, unix_now())
    }

    /// The same for a command: what it mints is issued under the origin of the last hub, unless one was given. But
    /// for that origin nothing is written that is not the command's own work.
    pub(crate) fn open_beside(home: &Home, surroundings: Surroundings, log: Log) -> Result<Self, AuthError> {
        let now_unix = unix_now();
        let db = Db::open(&home.path().join(DATABASE_NAME))?;
        let origins = Self::origins_of_last_hub(&db, home, &surroundings, now_unix)?;
        origins::note_issuer(&db, &origins.origins.canonical, now_unix)?;
        Self::prepare(&db, home, now_unix)?;
        Self::with_db(home, db, surroundings, origins, log, now_unix)
    }

    /// The same for a command that only shows something: nothing is written, and whatever would write fails. Where there
    /// is no database, none is made.
    pub(crate) fn look_beside(home: &Home, surroundings: Surroundings, log: Log) -> Result<Self, AuthError> {
        let now_unix = unix_now();
        let path = home.path().join(DATABASE_NAME);
        let Some(db) = Db::look(&path)? else { return Err(AuthError::NoDatabase { path }) };
        let origins = Self::origins_of_last_hub(&db, home, &surroundings, now_unix)?;
        Self::with_db(home, db, surroundings, origins, log, now_unix)
    }

    /// What a command goes by, if it may work with the keys at all.
    fn origins_of_last_hub(
        db: &Db,
        home: &Home,
        surroundings: &Surroundings,
        now_unix: i64,
    ) -> Result<Found, AuthError> {
        let origins = Found::look_up(db, home, surroundings, As::Command, now_unix)?;
        if key_file::compare(db, key_file::read(surroundings)?.as_ref())? == key_file::Bound::Otherwise {
            return Err(AuthError::OtherKeyFile);
        }
        Ok(origins)
    }

    fn open_at(home: &Home, surroundings: Surroundings, log: Log, now_unix: i64) -> Result<Self, AuthError> {
        let db = Db::open(&home.path().join(DATABASE_NAME))?;
        let origins = Found::look_up(&db, home, &surroundings, As::Hub, now_unix)?;
        let settled_unix = clock::settled(&db, now_unix)?;
        origins::remember(&db, &origins.origins, now_unix, settled_unix)?;
        // The origin of the hub before is an earlier one from now on.
        let origins = Found::look_up(&db, home, &surroundings, As::Hub, now_unix)?;
        db.tokens().purge(settled_unix)?;
        let is_fresh = db.keys().usable(now_unix)?.is_empty();
        Self::prepare(&db, home, now_unix)?;
        let authority = Self::with_db(home, db, surroundings, origins, log, now_unix)?;
        authority.remember_ttl(now_unix)?;
        // The last that asks what was seen before has done so.
        clock::note(&authority.db, now_unix)?;
        if let Some(void) = authority.adopt_key_file(is_fresh, now_unix)? {
            let line = format!(
                "the keys are bound to the file of PARACHUTE_SIGNING_KEY_FILE from now on; {void} tokens are void"
            );
            (authority.log)(&line);
        }
        Ok(authority)
    }

    /// Makes the hub's id, its first key and the note of its epoch where they are missing.
    fn prepare(db: &Db, home: &Home, now_unix: i64) -> Result<(), AuthError> {
        db.settings().get_or_insert(HID_KEY, &random::hex(16), now_unix)?;
        let secret = random_secret();
        let settled_unix = clock::settled_for_keys(db, now_unix)?;
        let noted = Noted::read(home)?;
        let least_epoch = noted.least(db.epoch()?);
        db.keys().ensure_active(&random_name::<8>(), secret.expose(), least_epoch, now_unix, settled_unix)?;
        let found = db.epoch()?;
        if !matches!(noted, Noted::Epoch(_)) && found >= least_epoch {
            epoch::note(home, found)?;
        }
        Ok(())
    }

    fn with_db(
        home: &Home,
        db: Db,
        surroundings: Surroundings,
        origins: Found,
        log: Log,
        now_unix: i64,
    ) -> Result<Self, AuthError> {
        let hid = db.settings().get(HID_KEY)?.ok_or(AuthError::NoKey)?;
        let file_key = key_file::read(&surroundings)?;
        // In this order: who raises the epoch writes it to the database first. The other way round a change between the
        // two looks would look like an older copy of the database.
        let noted = Noted::read(home)?;
        let found = db.epoch()?;
        let highest = found.max(noted.least(found));
        let version = db.version()?;
        let state = State {
            version,
            read_at_unix: now_unix,
            lookups: (Instant::now(), 0),
            keys: Arc::new(Keys::load(&db, file_key.as_ref(), now_unix)?),
            rolled_back: (found < highest).then_some(found),
            remembered: HashMap::new(),
        };
        Ok(Self {
            db: Arc::new(db),
            home: home.clone(),
            hid,
            surroundings,
            file_key,
            who: origins.who,
            origins: Mutex::new(Arc::new(origins.origins)),
            exposure: Mutex::new(origins.exposure),
            state: Mutex::new(state),
            epoch: AtomicU64::new(highest),
            is_epoch_lost: matches!(noted, Noted::Lost),
            spawn_keys: SpawnKeys::default(),
            checking: Mutex::default(),
            noting_use: Arc::default(),
            tidied: Mutex::new(Instant::now()),
            is_damage_said: AtomicBool::new(false),
            log,
        })
    }

    /// Deletes tokens that expired long ago, keys and origins whose time is over, as every start does, when that is a day
    /// ago: a hub may run for years.
    fn tidy(&self, now: Instant, now_unix: i64) {
        {
            let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_duration_since(*tidied) < TIDY_EVERY {
                return;
            }
            *tidied = now;
        }
        let purged = clock::settled(&self.db, now_unix)
            .and_then(|settled_unix| self.db.tokens().purge(settled_unix))
            .and_then(|()| clock::note(&self.db, now_unix));
        if let Err(error) = purged {
            (self.log)(&format!("tokens that are over could not be deleted: {error}"));
        }
        self.bury_keys(now_unix);
        self.look_up_origins(now_unix);
    }

    /// Wipes the secrets of keys whose time has been over for a day.
    fn bury_keys(&self, now_unix: i64) {
        let buried = clock::settled_for_keys(&self.db, now_unix).and_then(|over_unix| self.db.keys().bury(over_unix));
        if let Err(error) = buried {
            (self.log)(&format!("a key that is over still has its secret: {error}"));
        }
    }

    /// What opening had to put right, as sentences for the log.
    pub(crate) fn notices(&self) -> &[String] {
        self.db.notices()
    }

    /// For `/health`. That the file is damaged is said once for every time that it becomes so, with what to do.
    pub(crate) fn db_health(&self) -> DbHealth {
        let health = self.db.check();
        let was_damaged = self.is_damage_said.swap(health.is_damage(), Ordering::Relaxed);
        if health.is_damage() && !was_damaged {
            (self.log)(&format!(
                "{} is damaged ({health}), so that tokens can no longer be relied on; the modules run on; end the hub, put a \
                 backup back or leave it to be kept aside and made anew, and start the hub again with: parachute serve",
                self.home.path().join(DATABASE_NAME).display()
            ));
        }
        health
    }

    /// Whether the database's file is gone from its path; what is written now would be lost.
    pub(crate) fn db_lost(&self) -> Option<DbHealth> {
        self.db.lost()
    }

    /// Closes the database, see [`Db::close`].
    pub(crate) fn close(&self) {
        self.db.close();
    }

    /// Reads keys and origins anew and forgets what was remembered when anybody has written to the database, and the
    /// origins when the hub is exposed otherwise than before. A key whose time is over goes at the first call after that,
    /// and comes back when it was the clock that was wrong. The newest version.
    fn refresh(&self, now_unix: i64) -> Result<Version, DbError> {
        self.look_at_exposure(now_unix);
        self.tidy(Instant::now(), now_unix);
        let version = self.db.version()?;
        let is_other_time = {
            let state = self.current_state();
            now_unix < state.read_at_unix || state.keys.masters.iter().any(|master| master.is_over(now_unix))
        };
        if is_other_time || self.current_state().version != version {
            let keys = Arc::new(Keys::load(&self.db, self.file_key.as_ref(), now_unix)?);
            // In this order, as when it is opened.
            let seen = self.epoch.load(Ordering::Relaxed);
            let found = self.db.epoch()?;
            self.epoch.fetch_max(found, Ordering::Relaxed);
            let mut state = self.current_state();
            let is_other =
                !keys.masters.iter().map(Master::standing).eq(state.keys.masters.iter().map(Master::standing));
            state.version = version;
            state.read_at_unix = now_unix;
            state.keys = keys;
            state.rolled_back = (found < seen).then_some(found);
            state.remembered.clear();
            drop(state);
            self.look_up_origins(now_unix);
            if is_other {
                self.spread_keys();
            }
        }
        Ok(version)
    }

    /// Whether the database is an older copy, or may be one.
    fn rolled_back(&self) -> Option<RolledBack> {
        let found = self.current_state().rolled_back?;
        Some(RolledBack { found, seen: (!self.is_epoch_lost).then(|| self.epoch.load(Ordering::Relaxed)) })
    }

    /// Notes the epoch beside the database, after a commit that raised it. That of an older copy says nothing.
    fn note_epoch(&self) {
        let noted = self.db.epoch().map_err(AuthError::from).and_then(|epoch| {
            if epoch < self.epoch.fetch_max(epoch, Ordering::Relaxed) {
                return Ok(());
            }
            epoch::note(&self.home, epoch).map_err(AuthError::from)
        });
        if let Err(error) = noted {
            (self.log)(&format!("a copy of the database that is put back later will not be known as such: {error}"));
        }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.current_state().keys)
    }

    /// The state; never held while the database is asked.
    fn current_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn load(db: &Db, file_key: Option<&FileKey>, now_unix: i64) -> Result<Self, DbError> {
        let masters: Vec<Master> = db
            .keys()
            .usable(now_unix)?
            .into_iter()
            .map(|mut row| Master {
                kid: row.kid,
                secret: bound(Secret::take(&mut row.secret), file_key),
                state: match row.state {
                    KeyState::Active => MasterState::Active,
                    KeyState::VerifyUntil(until) => MasterState::VerifyUntil(until),
                },
            })
            .collect();
        let external = db.module_keys().all()?.into_iter().map(|(short, hash)| (hash, short)).collect();
        Ok(Self { hub: Keyring::new(&masters, &[claims::OWNER_HUB]), masters, external })
    }

    fn check(&self, token: &str, owner: &str, expect: &Expect<'_>) -> Result<Verified, TokenError> {
        match owner {
            claims::OWNER_HUB => verify::check(token, &self.hub, expect),
            module => verify::check(token, &Keyring::new(&self.masters, &[module]), expect),
        }
    }

    fn active(&self) -> Option<&Master> {
        self.masters.iter().find(|master| master.state == MasterState::Active)
    }
}

/// The master that a stored secret stands for.
fn bound(stored: Secret, file_key: Option<&FileKey>) -> Secret {
    match file_key {
        Some(file_key) => file_key.master(&stored),
        None => stored,
    }
}

fn random_secret() -> Secret {
    let mut secret = [0; 32];
    random::fill(&mut secret);
    Secret::take(&mut secret)
}

/// The time as a token's stamp, while the clock can be right.
fn stamp(now_unix: i64) -> Result<u64, AuthError> {
    match u64::try_from(now_unix) {
        Ok(stamp) if PLAUSIBLE_UNIX.contains(&now_unix) => Ok(stamp),
        _ => Err(AuthError::Clock { now_unix }),
    }
}

/// `BYTES` random bytes in base64url.
pub(super) fn random_name<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    random::fill(&mut bytes);
    b64::encode(&bytes)
}

/// A token's number: 16 random bytes in base64url, without a dash in front, because on a command line that would begin
/// a flag.
fn random_jti() -> String {
    loop {
        let jti = random_name::<16>();
        if !jti.starts_with('-') {
            return jti;
        }
    }
}

/// Claims stay below 2^53.
fn as_unix(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn unix_now() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => as_unix(since.as_secs()),
        Err(_) => 0,
    }
}
