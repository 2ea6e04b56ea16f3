//! Who may ask the hub for what: the token design of operator-token Part B, with the database behind it.
//!
//! `token` decides what is genuine, `db` knows what was issued and revoked; here the two meet. A token that was accepted
//! is remembered by its hash for as long as nobody writes to the database, so that a request costs one hash and one
//! look at a counter.

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

pub(crate) use checkup::{About, Weight, checkup};
pub(crate) use error::{AuthError, Reason, Refusal, RolledBack, TokenOpError};
pub(super) use failures::Failures;
pub(crate) use key_file::check_key_file;
pub(crate) use keys::{KeyChange, Overlap};
pub(crate) use mint::{Asker, Handed};
pub(crate) use modules::{Active, Grants, KeyOwner, Proof, Rejected};
pub(crate) use operator::{Renewal, Renewed};
pub(crate) use origins::{OriginChange, Surroundings, origins_beside};

use error::Rejection;
use modules::SpawnKeys;
use noted::Noted;
use origins::{As, Found};

use super::Log;
pub(crate) use crate::db::Via;
use crate::db::{Db, DbError, DbHealth, KeyState, TokenRow, Tokens, Version};
use crate::manifest::Short;
use crate::origin::Origins;
use crate::store::{Home, epoch, exposure};
use crate::sys::random;
use crate::token::claims::{self, Claims};
use crate::token::keyring::{self, FileKey, Keyring, Master, MasterState, Secret};
use crate::token::scope::Scopes;
use crate::token::verify::{self, Accept, Expect, TokenError, Verified};
use crate::token::{TOKEN_LIMIT_BYTES, b64, same_hash, sha256};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The database's name below the home.
const DATABASE_NAME: &str = "hub.db";
/// `client_id` of what the hub mints.
const CLIENT_ID: &str = "parachute-hub";
/// What the management API accepts (B4, step 7).
const AUDIENCES: [&str; 2] = [claims::AUDIENCE_OPERATOR, claims::AUDIENCE_HUB];
/// Accepted tokens that are remembered; more than ever are in use at once.
const REMEMBERED_LIMIT: usize = 64;
/// An unknown key may have been made by another process a moment ago (B8). That is looked up so many times in this
/// span, so that a new key holds at once and junk in the shape of ours cannot keep the database busy.
const LOOKUPS: u32 = 8;
const LOOKUP_SPAN: Duration = Duration::from_secs(1);
/// How often a running hub deletes what is over.
const TIDY_EVERY: Duration = Duration::from_secs(86_400);
/// What a module's key has the length of: 32 bytes in base64url.
const MODULE_KEY_CHARS: usize = 43;
/// Stack of the thread that notes a use: SQLite writes on it.
const STACK_BYTES: usize = 256 * 1024;
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

#[derive(Clone)]
struct Remembered {
    caller: Caller,
    /// The state of the database that this was true of.
    version: Version,
    /// First second at which it is no longer good.
    until_unix: i64,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) claims: Arc<Claims>,
    pub(crate) scopes: Scopes,
}

impl Caller {
    pub(crate) fn jti(&self) -> &str {
        &self.claims.jti
    }
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

    /// Whether the bearer of this token has one of `scopes`; none of them means that any good token does. `bearer` is
    /// the token itself; see [`crate::token::from_authorization`]. Waits for at most the database's busy timeout, and
    /// junk not even that.
    pub(crate) fn authorize(&self, bearer: Option<&str>, scopes: &[&'static str]) -> Result<Caller, Refusal> {
        self.authorize_at(bearer, scopes, unix_now())
    }

    fn authorize_at(&self, bearer: Option<&str>, scopes: &[&'static str], now_unix: i64) -> Result<Caller, Refusal> {
        let token = bearer.ok_or(Refusal::Unauthenticated { reason: Reason::Missing, jti: None })?;
        if token.len() > TOKEN_LIMIT_BYTES {
            return Err(Rejection::from(TokenError::Encoding).into());
        }
        let caller = match self.recall(&sha256(token.as_bytes()), now_unix)? {
            Some(caller) => caller,
            None => self.examine(token, now_unix)?,
        };
        match scopes.first() {
            Some(first) if !scopes.iter().any(|scope| caller.scopes.contains(scope)) => {
                Err(Refusal::InsufficientScope { required: (*first).to_owned(), jti: caller.jti().to_owned() })
            }
            _ => Ok(caller),
        }
    }

    /// The caller behind an accepted token, while it is in force and nobody has written to the database since.
    fn recall(&self, hash: &[u8; 32], now_unix: i64) -> Result<Option<Caller>, Refusal> {
        let Some(known) = self.current_state().remembered.get(hash).cloned() else { return Ok(None) };
        let unchanged = self.refresh(now_unix)? == known.version;
        Ok((unchanged && now_unix < known.until_unix).then_some(known.caller))
    }

    /// Whether the token that a caller has shown earlier still stands, and its key with it.
    pub(crate) fn is_in_force(&self, caller: &Caller) -> Result<bool, Refusal> {
        self.is_in_force_at(caller, unix_now())
    }

    fn is_in_force_at(&self, caller: &Caller, now_unix: i64) -> Result<bool, Refusal> {
        self.refresh(now_unix)?;
        if let Some(rolled_back) = self.rolled_back() {
            return Err(Refusal::RolledBack(rolled_back));
        }
        Ok(self.db.tokens().is_good(caller.jti(), now_unix)?)
    }

    /// Checks a token for the management API from the start: keys, claims, registry.
    fn examine(&self, token: &str, now_unix: i64) -> Result<Caller, Rejection> {
        let origins = self.origins();
        let expect =
            Expect { issuers: Some(&origins.issuers), audience: Accept::Named(&AUDIENCES), hid: &self.hid, now_unix };
        let (verified, row, version) = self.verify(token, claims::OWNER_HUB, &expect)?;
        let jti = verified.claims.jti.clone();
        let until_unix =
            in_force(&verified, row.as_ref(), now_unix).map_err(|error| Rejection::Token { error, jti: Some(jti) })?;
        let caller = Caller { claims: Arc::new(verified.claims), scopes: verified.scopes };
        self.remember(verified.sha256, Remembered { caller: caller.clone(), version, until_unix });
        if let Some(row) = row {
            self.note_use(caller.jti(), &row, now_unix);
        }
        Ok(caller)
    }

    /// Everything about a token of `owner` that does not depend on its row, and the row. Junk is refused without a
    /// look at the database, but for a look once a second whether there are new keys.
    fn verify(
        &self,
        token: &str,
        owner: &str,
        expect: &Expect<'_>,
    ) -> Result<(Verified, Option<TokenRow>, Version), Rejection> {
        let (mut version, keys) = {
            let state = self.current_state();
            (state.version, Arc::clone(&state.keys))
        };
        let mut checked = keys.check(token, owner, expect);
        let database_may_know = match &checked {
            // One under an origin that we do not know was signed by us all the same: another process may have issued it.
            Ok(_) | Err(TokenError::Issuer) => true,
            Err(TokenError::Key) => keyring::is_shaped_like_ours(token) && self.may_look_up(Instant::now()),
            Err(_) => false,
        };
        if database_may_know {
            let newest = self.refresh(expect.now_unix)?;
            let (origins, newest_keys) = (self.origins(), self.keys());
            let are_other_keys = !Arc::ptr_eq(&keys, &newest_keys);
            if newest != version || are_other_keys || expect.issuers.is_some_and(|known| known != origins.issuers) {
                version = newest;
                let issuers = expect.issuers.map(|_| origins.issuers.as_slice());
                checked = newest_keys.check(token, owner, &Expect { issuers, ..*expect });
            }
        }
        let rolled_back = self.rolled_back();
        if let (Some(rolled_back), Err(TokenError::Key)) = (rolled_back, &checked) {
            // The copy may be older than the key: to ask for another token would help nobody.
            return Err(Rejection::RolledBack(rolled_back));
        }
        let verified = checked.map_err(|error| {
            let said = error.is_of_a_genuine_token().then(|| claims::unverified(token)).flatten();
            let jti = said.map(|claims| claims.jti).filter(|jti| claims::is_jti(jti));
            Rejection::Token { error, jti }
        })?;
        if let Some(rolled_back) = rolled_back {
            return Err(Rejection::RolledBack(rolled_back));
        }
        let row = self.db.tokens().find(&verified.claims.jti)?;
        Ok((verified, row, version))
    }

    /// Whether the database may be asked about something unknown now.
    fn may_look_up(&self, now: Instant) -> bool {
        let mut state = self.current_state();
        let (began, count) = &mut state.lookups;
        if now.saturating_duration_since(*began) >= LOOKUP_SPAN {
            (*began, *count) = (now, 0);
        }
        *count += 1;
        *count <= LOOKUPS
    }

    fn remember(&self, hash: [u8; 32], what: Remembered) {
        let mut state = self.current_state();
        if state.version != what.version {
            return;
        }
        if state.remembered.len() >= REMEMBERED_LIMIT {
            state.remembered.clear();
        }
        state.remembered.insert(hash, what);
    }

    /// Notes on a thread of its own that a token was used, at most once an hour. Whether that works matters to nobody.
    fn note_use(&self, jti: &str, row: &TokenRow, now_unix: i64) {
        if !Tokens::is_use_worth_noting(row, now_unix) || self.noting_use.swap(true, Ordering::AcqRel) {
            return;
        }
        let (db, jti, noting) = (Arc::clone(&self.db), jti.to_owned(), Arc::clone(&self.noting_use));
        let note = move || {
            // It is for people to look at; a full disk must not fail what the token was used for.
            let _noted = db.tokens().touch(&jti, now_unix);
            noting.store(false, Ordering::Release);
        };
        let spawned = thread::Builder::new().name("hub/use".to_owned()).stack_size(STACK_BYTES).spawn(note);
        if spawned.is_err() {
            self.noting_use.store(false, Ordering::Release);
        }
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

/// Step 8 of B4: until when a genuine token is good, given its row.
fn in_force(verified: &Verified, row: Option<&TokenRow>, now_unix: i64) -> Result<i64, TokenError> {
    let exp = as_unix(verified.claims.exp);
    let row = row
        .filter(|row| same_hash(&row.sha256, &verified.sha256) && row.exp == exp && row.kid == verified.kid)
        .ok_or(TokenError::Unregistered)?;
    let ends_early = row.revoke_after.unwrap_or(exp);
    if row.revoked_at.is_some() || now_unix >= ends_early {
        return Err(TokenError::Revoked);
    }
    Ok(exp.min(ends_early).min(verified.key_usable_until.unwrap_or(exp)))
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
